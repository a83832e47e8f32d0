/* Decimal numbers, exactly: up to 38 significant digits, magnitudes from 1E-130 to
 * 9.9999999999999999999999999999999999999E+125, and zero.
 *
 * The packed form is what is stored. It is canonical (equal numbers have equal bytes), marks its
 * own end, and sorts by memcmp as the numbers do:
 *   zero       80
 *   positive   C0, exponent + 130, each pair of digits as pair + 1, 00
 *   negative   40, then all bytes of the positive form after the first, inverted
 * where the number is d.ddd * 10^exponent and an odd last digit is paired with 0. */

#ifndef NODE_TABLE_NUMBER_H
#define NODE_TABLE_NUMBER_H

#include "proto/base/buffer.h"

#define NUMBER_DIGITS_MAX 38
#define NUMBER_EXPONENT_MIN (-130)
#define NUMBER_EXPONENT_MAX 125
#define NUMBER_PACKED_BYTES_MAX 22
#define NUMBER_TEXT_BYTES 176 /* the longest text, with its NUL */

struct number {
    uint8_t digits[NUMBER_DIGITS_MAX]; /* 0 to 9; neither the first nor the last is 0 */
    uint8_t digit_count;               /* 0 for zero */
    bool is_negative;
    int16_t exponent; /* of the first digit */
};

enum [[nodiscard]] number_fault{NUMBER_OK, NUMBER_MALFORMED, NUMBER_TOO_PRECISE, NUMBER_OVERFLOW,
                                NUMBER_UNDERFLOW};

/* Text as in "-12.50", ".5", "+1E-7". `number` is untouched on failure. */
enum number_fault number_parse(struct slice text, struct number *number);

/* Without exponent, without needless zeros: "-12.5", "0.00001". Returns the length. */
size_t number_text(const struct number *number, char text[NUMBER_TEXT_BYTES]);

void number_from_u64(uint64_t value, struct number *number);

/* As memcmp. */
int number_compare(const struct number *a, const struct number *b);

/* Exact, or NUMBER_TOO_PRECISE, NUMBER_OVERFLOW, NUMBER_UNDERFLOW. `sum` may be `a` or `b`. */
enum number_fault number_add(const struct number *a, const struct number *b, struct number *sum);
enum number_fault number_subtract(const struct number *a, const struct number *b,
                                  struct number *difference);

/* Returns the bytes written. */
size_t number_pack(const struct number *number, uint8_t packed[NUMBER_PACKED_BYTES_MAX]);
/* ERR_INVALID unless `packed` is exactly what number_pack writes. */
enum error number_unpack(struct slice packed, struct number *number);
/* Bytes of the packed number at the start of `bytes`; 0 when there is none. Finds the end only. */
size_t number_packed_size(struct slice bytes);

/* What a number counts for in the size of an item: a byte per two digits (of base 100), one more,
 * and one for a sign. `packed` is well formed. */
size_t number_item_size(struct slice packed);

#endif
