#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/table/number.h"
#include "proto/base/check.h"
#include "proto/base/rng.h"

#include <stdio.h>

#define NINES "99999999999999999999999999999999999999" /* 38 of them */
#define ZEROS_124                                                                                  \
    "0000000000000000000000000000000000000000"                                                     \
    "0000000000000000000000000000000000000000"                                                     \
    "00000000000000000000000000000000000000000000"

static void parse(const char *text, struct number *number)
{
    enum number_fault fault = number_parse(slice_text(text), number);

    if (fault != NUMBER_OK)
        fail_msg("%s: fault %d", text, (int)fault);
}

static void number_parse__any_way_to_write_it__plain_text(void **state)
{
    static const struct {
        const char *text;
        const char *plain;
    } cases[] = {
        {"0", "0"},
        {"-0", "0"},
        {"0.000", "0"},
        {"0e999999999", "0"},
        {"1", "1"},
        {"+1", "1"},
        {"-1", "-1"},
        {"007", "7"},
        {"12.50", "12.5"},
        {"-56.7890", "-56.789"},
        {".5", "0.5"},
        {"5.", "5"},
        {"1e2", "100"},
        {"1E+2", "100"},
        {"1.5e3", "1500"},
        {"100e-2", "1"},
        {"1e-13", "0.0000000000001"},
        {"-0.0000000000000123400", "-0.00000000000001234"},
        {"123456789.987654321", "123456789.987654321"},
        {NINES, NINES},
        {"0." NINES, "0." NINES},
        {"1"
         "0000000000000000000000000000000000000000",
         "10000000000000000000000000000000000000000"},
        {"1e125", "10" ZEROS_124},
        {"-1e125", "-10" ZEROS_124},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct number number;
        char text[NUMBER_TEXT_BYTES];
        size_t size;

        parse(cases[i].text, &number);
        size = number_text(&number, text);
        assert_string_equal(text, cases[i].plain);
        assert_int_equal(size, strlen(cases[i].plain));
    }
}

static void number_parse__not_a_number_or_out_of_range__fault(void **state)
{
    static const struct {
        const char *text;
        enum number_fault fault;
    } cases[] = {
        {"", NUMBER_MALFORMED},
        {".", NUMBER_MALFORMED},
        {"-", NUMBER_MALFORMED},
        {"e5", NUMBER_MALFORMED},
        {"1e", NUMBER_MALFORMED},
        {"1e+", NUMBER_MALFORMED},
        {"1.2.3", NUMBER_MALFORMED},
        {"--1", NUMBER_MALFORMED},
        {" 1", NUMBER_MALFORMED},
        {"1 ", NUMBER_MALFORMED},
        {"0x10", NUMBER_MALFORMED},
        {"NaN", NUMBER_MALFORMED},
        {"Infinity", NUMBER_MALFORMED},
        {"1,5", NUMBER_MALFORMED},
        {"1e5.5", NUMBER_MALFORMED},
        {NINES "9", NUMBER_TOO_PRECISE},
        {"1." NINES, NUMBER_TOO_PRECISE},
        {"1" NINES "e-200", NUMBER_TOO_PRECISE},
        {"1e126", NUMBER_OVERFLOW},
        {"-1e126", NUMBER_OVERFLOW},
        {"1e99999999999999999999", NUMBER_OVERFLOW},
        {"10e125", NUMBER_OVERFLOW},
        {"1e-131", NUMBER_UNDERFLOW},
        {"0.1e-130", NUMBER_UNDERFLOW},
        {"1e-99999999999999999999", NUMBER_UNDERFLOW},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct number number = {.exponent = 77};

        assert_int_equal(number_parse(slice_text(cases[i].text), &number), cases[i].fault);
        assert_int_equal(number.exponent, 77);
    }
}

static void number_parse__edges_of_the_range__kept(void **state)
{
    static const char *const edges[] = {"1e-130", "-1e-130",
                                        "9."
                                        "9999999999999999999999999999999999999"
                                        "e125",
                                        "-9."
                                        "9999999999999999999999999999999999999"
                                        "e125",
                                        "1."
                                        "0000000000000000000000000000000000001"
                                        "e-130"};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(edges); i++) {
        struct number number;
        struct number again;
        char text[NUMBER_TEXT_BYTES];

        parse(edges[i], &number);
        assert_true(number_text(&number, text) < NUMBER_TEXT_BYTES);
        parse(text, &again);
        assert_int_equal(number_compare(&number, &again), 0);
    }
}

static void number_add__cases__exact(void **state)
{
    static const struct {
        const char *a;
        const char *b;
        const char *sum;
    } cases[] = {
        {"0", "0", "0"},
        {"0", "-5", "-5"},
        {"1", "2", "3"},
        {"5", "5", "10"},
        {"999", "1", "1000"},
        {"1.5", "-1.5", "0"},
        {"0.1", "0.2", "0.3"},
        {"-7", "3", "-4"},
        {"3", "-7", "-4"},
        {"100", "-0.01", "99.99"},
        {"1e37", "1", "10000000000000000000000000000000000001"},
        {NINES, "1", "100000000000000000000000000000000000000"},
        {"1e125", "-1e125", "0"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct number a;
        struct number b;
        char text[NUMBER_TEXT_BYTES];

        parse(cases[i].a, &a);
        parse(cases[i].b, &b);
        assert_int_equal(number_add(&a, &b, &a), NUMBER_OK);
        number_text(&a, text);
        assert_string_equal(text, cases[i].sum);
    }
}

static void number_add__not_exact_or_out_of_range__fault(void **state)
{
    struct number a;
    struct number b;

    (void)state;
    parse("1e50", &a);
    parse("1", &b);
    assert_int_equal(number_add(&a, &b, &a), NUMBER_TOO_PRECISE);
    parse("9e125", &a);
    assert_int_equal(number_add(&a, &a, &a), NUMBER_OVERFLOW);
    parse("1.1e-130", &a);
    parse("1e-130", &b);
    assert_int_equal(number_subtract(&a, &b, &a), NUMBER_UNDERFLOW);
}

static void number_from_u64__edges__exact(void **state)
{
    static const uint64_t values[] = {0, 1, 10, 99, 100, 12300, UINT64_MAX};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(values); i++) {
        struct number number;
        struct number parsed;
        char text[32];

        number_from_u64(values[i], &number);
        (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)values[i]);
        parse(text, &parsed);
        assert_memory_equal(&number, &parsed, sizeof(number));
    }
}

/* Of all sizes, and often close to each other. */
static void random_number(struct rng *rng, struct number *number)
{
    char text[96];
    size_t size = 0;
    size_t digits = 1 + rng_below(rng, rng_below(rng, 2) == 0 ? 3 : NUMBER_DIGITS_MAX);
    int exponent =
        rng_below(rng, 2) == 0 ? (int)rng_below(rng, 4) - 2 : (int)rng_below(rng, 200) - 110;

    if (rng_below(rng, 2) == 0)
        text[size++] = '-';
    for (size_t i = 0; i < digits; i++) {
        text[size++] = (char)('0' + rng_below(rng, 10));
        if (i == 0)
            text[size++] = '.';
    }
    (void)snprintf(text + size, sizeof(text) - size, "e%d", exponent);
    if (number_parse(slice_text(text), number) != NUMBER_OK)
        parse("0", number);
}

static int sign(int order)
{
    return (order > 0) - (order < 0);
}

static void number_pack__random_numbers__order_of_bytes_is_order_of_numbers(void **state)
{
    struct rng rng;

    (void)state;
    rng_init(&rng, 20261123);
    for (int i = 0; i < 200000; i++) {
        struct number a;
        struct number b;
        struct number difference;
        uint8_t packed_a[NUMBER_PACKED_BYTES_MAX];
        uint8_t packed_b[NUMBER_PACKED_BYTES_MAX];
        struct slice bytes_a;
        struct slice bytes_b;
        int order;

        random_number(&rng, &a);
        random_number(&rng, &b);
        bytes_a = slice_of(packed_a, number_pack(&a, packed_a));
        bytes_b = slice_of(packed_b, number_pack(&b, packed_b));
        order = sign(number_compare(&a, &b));
        assert_int_equal(sign(slice_compare(bytes_a, bytes_b)), order);
        if (number_subtract(&a, &b, &difference) == NUMBER_OK) {
            struct number zero;

            parse("0", &zero);
            assert_int_equal(sign(number_compare(&difference, &zero)), order);
        }
    }
}

static void number_pack__random_numbers__come_back(void **state)
{
    struct rng rng;

    (void)state;
    rng_init(&rng, 8812);
    for (int i = 0; i < 100000; i++) {
        struct number number;
        struct number again;
        uint8_t packed[NUMBER_PACKED_BYTES_MAX + 1];
        char text[NUMBER_TEXT_BYTES];
        size_t size;

        random_number(&rng, &number);
        size = number_pack(&number, packed);
        packed[size] = (uint8_t)rng_next(&rng);
        assert_int_equal(number_packed_size(slice_of(packed, size + 1)), size);
        assert_int_equal(number_unpack(slice_of(packed, size), &again), OK);
        assert_memory_equal(&number, &again, sizeof(number));
        number_text(&number, text);
        parse(text, &again);
        assert_memory_equal(&number, &again, sizeof(number));
    }
}

/* Small enough for the machine's own integers to check. */
static void number_add__random_integers__as_the_machine_adds(void **state)
{
    struct rng rng;

    (void)state;
    rng_init(&rng, 4711);
    for (int i = 0; i < 100000; i++) {
        int64_t a = (int64_t)(rng_next(&rng) >> (2 + rng_below(&rng, 60)));
        int64_t b = (int64_t)(rng_next(&rng) >> (2 + rng_below(&rng, 60)));
        struct number left;
        struct number right;
        char text[NUMBER_TEXT_BYTES];
        char wanted[32];

        a = rng_below(&rng, 2) == 0 ? a : -a;
        (void)snprintf(text, sizeof(text), "%lld", (long long)a);
        parse(text, &left);
        (void)snprintf(text, sizeof(text), "%lld", (long long)b);
        parse(text, &right);
        assert_int_equal(number_subtract(&left, &right, &left), NUMBER_OK);
        number_text(&left, text);
        (void)snprintf(wanted, sizeof(wanted), "%lld", (long long)(a - b));
        assert_string_equal(text, wanted);
    }
}

static void number_unpack__not_canonical__refused(void **state)
{
    static const struct {
        uint8_t bytes[8];
        size_t size;
    } cases[] = {
        {{0x80, 0x00}, 2},                   /* zero and more */
        {{0xC0}, 1},                         /* cut off */
        {{0xC0, 0x82, 0x00}, 3},             /* no digits */
        {{0xC0, 0x82, 0x0B}, 3},             /* no end */
        {{0xC0, 0x82, 0x06, 0x00}, 4},       /* the first digit is 0 */
        {{0xC0, 0x82, 0x0B, 0x01, 0x00}, 5}, /* trailing zeros */
        {{0xC0, 0x82, 0x66, 0x00}, 4},       /* a pair above 99 */
        {{0x40, 0x7D, 0xF4, 0x00}, 4},       /* the end of the other sign */
        {{0x55, 0x82, 0x0B, 0x00}, 4},       /* no mark */
    };
    struct number number;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        assert_int_equal(number_unpack(slice_of(cases[i].bytes, cases[i].size), &number),
                         ERR_INVALID);
}

static void number_item_size__as_the_service_counts(void **state)
{
    static const struct {
        const char *text;
        size_t size;
    } cases[] = {{"0", 1},  {"1", 2},   {"12", 2},   {"1.2", 3}, {"123", 3},  {"100", 2},
                 {"-1", 3}, {"-12", 3}, {"1234", 3}, {"0.5", 2}, {"0.05", 2}, {NINES, 20}};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct number number;
        uint8_t packed[NUMBER_PACKED_BYTES_MAX];

        parse(cases[i].text, &number);
        assert_int_equal(number_item_size(slice_of(packed, number_pack(&number, packed))),
                         cases[i].size);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(number_parse__any_way_to_write_it__plain_text),
        cmocka_unit_test(number_parse__not_a_number_or_out_of_range__fault),
        cmocka_unit_test(number_parse__edges_of_the_range__kept),
        cmocka_unit_test(number_add__cases__exact),
        cmocka_unit_test(number_add__not_exact_or_out_of_range__fault),
        cmocka_unit_test(number_from_u64__edges__exact),
        cmocka_unit_test(number_pack__random_numbers__order_of_bytes_is_order_of_numbers),
        cmocka_unit_test(number_pack__random_numbers__come_back),
        cmocka_unit_test(number_add__random_integers__as_the_machine_adds),
        cmocka_unit_test(number_unpack__not_canonical__refused),
        cmocka_unit_test(number_item_size__as_the_service_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
