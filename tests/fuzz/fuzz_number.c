/* Text that is a number comes back as the same number by way of its plain text and of its packed
 * form; and packed bytes that are accepted are the only form of their number. */

#include "node/table/number.h"
#include "proto/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_number(const struct number *number)
{
    uint8_t packed[NUMBER_PACKED_BYTES_MAX];
    char text[NUMBER_TEXT_BYTES];
    struct number again;
    size_t packed_size = number_pack(number, packed);
    size_t text_size = number_text(number, text);

    CHECK(number_unpack(slice_of(packed, packed_size), &again) == OK);
    CHECK(number_compare(number, &again) == 0);
    CHECK(number_item_size(slice_of(packed, packed_size)) <= 21 + 1);
    CHECK(text_size < NUMBER_TEXT_BYTES);
    CHECK(number_parse(slice_of(text, text_size), &again) == NUMBER_OK);
    CHECK(number_compare(number, &again) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct number number;
    struct number other;
    struct number sum;

    if (number_parse(slice_of(data, size), &number) == NUMBER_OK) {
        check_number(&number);
        number_from_u64(size * 1000003, &other);
        if (number_add(&number, &other, &sum) == NUMBER_OK) {
            check_number(&sum);
            CHECK(number_subtract(&sum, &other, &sum) == NUMBER_OK);
            CHECK(number_compare(&sum, &number) == 0);
        }
    }
    if (number_unpack(slice_of(data, size), &number) == OK) {
        uint8_t packed[NUMBER_PACKED_BYTES_MAX];
        size_t packed_size = number_pack(&number, packed);

        CHECK(slice_equal(slice_of(data, size), slice_of(packed, packed_size)));
    }
    return 0;
}
