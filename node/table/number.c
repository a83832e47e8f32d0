#include "node/table/number.h"

#include "proto/base/check.h"

#define MARK_NEGATIVE 0x40
#define MARK_ZERO 0x80
#define MARK_POSITIVE 0xC0

/* Room for the digits of two numbers laid over each other, with a carry in front: their exponents
 * go from 125 down to -130 - 37. */
#define LOWEST_EXPONENT (NUMBER_EXPONENT_MIN - (NUMBER_DIGITS_MAX - 1))
#define SPAN_DIGITS (NUMBER_EXPONENT_MAX - LOWEST_EXPONENT + 2)

#define EXPONENT_CLAMP 1000000

static const struct number zero;

/* ---- text ---------------------------------------------------------------------------------- */

static bool is_digit(struct slice text, size_t at)
{
    return at < text.size && text.data[at] >= '0' && text.data[at] <= '9';
}

static bool is_sign(struct slice text, size_t at)
{
    return at < text.size && (text.data[at] == '+' || text.data[at] == '-');
}

/* Reads an optional "e+12" that must end the text. */
static bool parse_exponent(struct slice text, size_t at, int64_t *exponent)
{
    bool is_negative = false;

    *exponent = 0;
    if (at == text.size)
        return true;
    if (text.data[at] != 'e' && text.data[at] != 'E')
        return false;
    at++;
    if (is_sign(text, at))
        is_negative = text.data[at++] == '-';
    if (!is_digit(text, at))
        return false;
    for (; is_digit(text, at); at++)
        if (*exponent < EXPONENT_CLAMP)
            *exponent = *exponent * 10 + (text.data[at] - '0');
    if (is_negative)
        *exponent = -*exponent;
    return at == text.size;
}

static enum number_fault check_range(int64_t exponent)
{
    if (exponent > NUMBER_EXPONENT_MAX)
        return NUMBER_OVERFLOW;
    return exponent < NUMBER_EXPONENT_MIN ? NUMBER_UNDERFLOW : NUMBER_OK;
}

enum number_fault number_parse(struct slice text, struct number *number)
{
    struct number result = zero;
    size_t at = 0;
    int64_t whole_digits = 0; /* before the point */
    int64_t place = 0;        /* digits seen so far */
    int64_t first = 0;        /* place of the first significant one */
    size_t significant = 0;
    int64_t exponent;
    bool has_point = false;
    bool is_too_precise = false;

    if (is_sign(text, at))
        result.is_negative = text.data[at++] == '-';
    for (; is_digit(text, at) || (at < text.size && text.data[at] == '.' && !has_point); at++) {
        uint8_t digit = (uint8_t)(text.data[at] - '0');

        if (text.data[at] == '.') {
            has_point = true;
            continue;
        }
        if (significant == 0 && digit != 0)
            first = place;
        if (significant > 0 || digit != 0) {
            if (significant < NUMBER_DIGITS_MAX)
                result.digits[significant] = digit;
            else if (digit != 0)
                is_too_precise = true;
            significant++;
            if (digit != 0 && significant <= NUMBER_DIGITS_MAX)
                result.digit_count = (uint8_t)significant;
        }
        place++;
        whole_digits += !has_point;
    }
    if (place == 0 || !parse_exponent(text, at, &exponent))
        return NUMBER_MALFORMED;
    if (significant == 0) {
        *number = zero;
        return NUMBER_OK;
    }
    if (is_too_precise)
        return NUMBER_TOO_PRECISE;
    exponent += whole_digits - 1 - first;
    enum number_fault fault = check_range(exponent);

    if (fault != NUMBER_OK)
        return fault;
    for (size_t i = result.digit_count; i < NUMBER_DIGITS_MAX; i++)
        result.digits[i] = 0;
    result.exponent = (int16_t)exponent;
    *number = result;
    return NUMBER_OK;
}

size_t number_text(const struct number *number, char text[NUMBER_TEXT_BYTES])
{
    size_t size = 0;
    int place = number->exponent; /* of the digit to write next */

    if (number->digit_count == 0) {
        memcpy(text, "0", 2);
        return 1;
    }
    if (number->is_negative)
        text[size++] = '-';
    if (place < 0) { /* the zeros in front */
        text[size++] = '0';
        text[size++] = '.';
        for (int i = -1; i > place; i--)
            text[size++] = '0';
    }
    for (size_t i = 0; i < number->digit_count; i++, place--) {
        if (i > 0 && place == -1)
            text[size++] = '.';
        text[size++] = (char)('0' + number->digits[i]);
    }
    for (; place >= 0; place--) /* the zeros behind */
        text[size++] = '0';
    text[size] = '\0';
    return size;
}

void number_from_u64(uint64_t value, struct number *number)
{
    uint8_t reversed[20];
    size_t count = 0;

    *number = zero;
    for (; value > 0; value /= 10)
        reversed[count++] = (uint8_t)(value % 10);
    if (count == 0)
        return;
    number->exponent = (int16_t)(count - 1);
    for (size_t i = 0; i < count; i++) {
        number->digits[i] = reversed[count - 1 - i];
        if (number->digits[i] != 0)
            number->digit_count = (uint8_t)(i + 1);
    }
}

/* ---- order and arithmetic ------------------------------------------------------------------ */

/* Of the magnitudes; neither is zero. Digits past the last are 0. */
static int compare_magnitude(const struct number *a, const struct number *b)
{
    if (a->exponent != b->exponent)
        return a->exponent < b->exponent ? -1 : 1;
    return memcmp(a->digits, b->digits, NUMBER_DIGITS_MAX);
}

static int sign_of(const struct number *number)
{
    if (number->digit_count == 0)
        return 0;
    return number->is_negative ? -1 : 1;
}

int number_compare(const struct number *a, const struct number *b)
{
    int sign = sign_of(a);

    if (sign != sign_of(b))
        return sign < sign_of(b) ? -1 : 1;
    if (sign == 0)
        return 0;
    return sign * compare_magnitude(a, b);
}

/* Index into a span of the digit at `place` of a number. */
static size_t span_index(const struct number *number, size_t place)
{
    return (size_t)(NUMBER_EXPONENT_MAX + 1 - number->exponent) + place;
}

/* The number whose digits are `span`, the first one of exponent NUMBER_EXPONENT_MAX + 1. */
static enum number_fault from_span(const int8_t span[SPAN_DIGITS], bool is_negative,
                                   struct number *number)
{
    struct number result = {.is_negative = is_negative};
    size_t first = 0;
    size_t last = SPAN_DIGITS;

    while (first < SPAN_DIGITS && span[first] == 0)
        first++;
    if (first == SPAN_DIGITS) {
        *number = zero;
        return NUMBER_OK;
    }
    while (span[last - 1] == 0)
        last--;
    if (last - first > NUMBER_DIGITS_MAX)
        return NUMBER_TOO_PRECISE;
    enum number_fault fault = check_range(NUMBER_EXPONENT_MAX + 1 - (int64_t)first);

    if (fault != NUMBER_OK)
        return fault;
    result.exponent = (int16_t)(NUMBER_EXPONENT_MAX + 1 - (int)first);
    result.digit_count = (uint8_t)(last - first);
    for (size_t i = first; i < last; i++)
        result.digits[i - first] = (uint8_t)span[i];
    *number = result;
    return NUMBER_OK;
}

/* larger + factor * smaller, both as magnitudes, with the sign of the larger. */
static enum number_fault combine(const struct number *larger, const struct number *smaller,
                                 int factor, bool is_negative, struct number *result)
{
    int8_t span[SPAN_DIGITS] = {0};
    int carry = 0;

    for (size_t i = 0; i < larger->digit_count; i++)
        span[span_index(larger, i)] = (int8_t)larger->digits[i];
    for (size_t i = 0; i < smaller->digit_count; i++) {
        size_t at = span_index(smaller, i);

        span[at] = (int8_t)(span[at] + factor * smaller->digits[i]);
    }
    for (size_t i = SPAN_DIGITS; i-- > 0;) {
        int digit = span[i] + carry;

        carry = digit < 0 ? -1 : digit / 10;
        span[i] = (int8_t)(digit - carry * 10);
    }
    CHECK(carry == 0);
    return from_span(span, is_negative, result);
}

enum number_fault number_add(const struct number *a, const struct number *b, struct number *sum)
{
    if (a->digit_count == 0 || b->digit_count == 0) {
        *sum = a->digit_count == 0 ? *b : *a;
        return NUMBER_OK;
    }
    bool a_is_larger = compare_magnitude(a, b) >= 0;
    const struct number *larger = a_is_larger ? a : b;
    const struct number *smaller = a_is_larger ? b : a;

    return combine(larger, smaller, a->is_negative == b->is_negative ? 1 : -1, larger->is_negative,
                   sum);
}

enum number_fault number_subtract(const struct number *a, const struct number *b,
                                  struct number *difference)
{
    struct number negated = *b;

    if (negated.digit_count > 0)
        negated.is_negative = !negated.is_negative;
    return number_add(a, &negated, difference);
}

/* ---- packed form --------------------------------------------------------------------------- */

size_t number_pack(const struct number *number, uint8_t packed[NUMBER_PACKED_BYTES_MAX])
{
    uint8_t flip = number->is_negative ? 0xFF : 0;
    size_t size = 0;

    if (number->digit_count == 0) {
        packed[0] = MARK_ZERO;
        return 1;
    }
    packed[size++] = number->is_negative ? MARK_NEGATIVE : MARK_POSITIVE;
    packed[size++] = (uint8_t)(number->exponent - NUMBER_EXPONENT_MIN) ^ flip;
    for (size_t i = 0; i < number->digit_count; i += 2) {
        unsigned low = i + 1 < number->digit_count ? number->digits[i + 1] : 0;

        packed[size++] = (uint8_t)(number->digits[i] * 10 + low + 1) ^ flip;
    }
    packed[size++] = flip;
    return size;
}

size_t number_packed_size(struct slice bytes)
{
    size_t at = 2;
    uint8_t terminator;

    if (bytes.size == 0)
        return 0;
    if (bytes.data[0] == MARK_ZERO)
        return 1;
    if (bytes.data[0] != MARK_POSITIVE && bytes.data[0] != MARK_NEGATIVE)
        return 0;
    terminator = bytes.data[0] == MARK_NEGATIVE ? 0xFF : 0;
    while (at < bytes.size && at < NUMBER_PACKED_BYTES_MAX && bytes.data[at] != terminator)
        at++;
    return at < bytes.size && at < NUMBER_PACKED_BYTES_MAX ? at + 1 : 0;
}

enum error number_unpack(struct slice packed, struct number *number)
{
    struct number result = zero;
    size_t size = number_packed_size(packed);
    uint8_t flip;

    if (size == 0 || size != packed.size)
        return ERR_INVALID;
    if (size == 1) {
        *number = zero;
        return OK;
    }
    if (size < 4)
        return ERR_INVALID;
    result.is_negative = packed.data[0] == MARK_NEGATIVE;
    flip = result.is_negative ? 0xFF : 0;
    result.exponent = (int16_t)((packed.data[1] ^ flip) + NUMBER_EXPONENT_MIN);
    for (size_t i = 2; i < size - 1; i++) {
        unsigned pair = (unsigned)(packed.data[i] ^ flip) - 1;

        if (pair > 99)
            return ERR_INVALID;
        result.digits[result.digit_count++] = (uint8_t)(pair / 10);
        result.digits[result.digit_count++] = (uint8_t)(pair % 10);
    }
    if (result.digits[result.digit_count - 1] == 0)
        result.digit_count--;
    if (result.digits[0] == 0 || result.digits[result.digit_count - 1] == 0)
        return ERR_INVALID;
    *number = result;
    return OK;
}

size_t number_item_size(struct slice packed)
{
    if (packed.size < 4)
        return 1;
    bool is_negative = packed.data[0] == MARK_NEGATIVE;
    uint8_t flip = is_negative ? 0xFF : 0;
    unsigned last_pair = (unsigned)(packed.data[packed.size - 2] ^ flip) - 1;
    bool is_even = last_pair % 10 != 0;                   /* count of digits */
    bool is_shifted = ((packed.data[1] ^ flip) & 1) == 0; /* the first digit is alone in its pair */
    size_t pairs = packed.size - 3;

    return 1 + pairs + (is_even && is_shifted) + is_negative;
}
