#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/table/table_key.h"
#include "proto/base/check.h"
#include "proto/base/rng.h"
#include "tests/unit/table/table_fixture.h"

static const uint8_t table_id[TABLE_ID_BYTES] = "sixteen bytes !";

static const struct table_schema schema = {
    {{{(const uint8_t *)"id", 2}, ITEM_S}, {{(const uint8_t *)"at", 2}, ITEM_N}}, 2};

static void put_row(struct buffer *key, const char *text)
{
    AUTO(buffer) item = BUFFER_INIT(BUFFER_UNLIMITED);
    struct item_value attributes;
    struct slice hash_part;

    fixture_put_item(&item, text);
    attributes = item_root(buffer_slice(&item));
    table_key_put_row(key, table_id, &schema, &attributes, &hash_part);
}

static void table_key_check__attributes__the_fault_and_where(void **state)
{
    static const struct {
        const char *item;
        enum table_key_fault fault;
        size_t part;
    } cases[] = {
        {"{id: 'a', at: 1, more: true}", TABLE_KEY_OK, 2},
        {"{at: 1}", TABLE_KEY_MISSING, 0},
        {"{id: 'a'}", TABLE_KEY_MISSING, 1},
        {"{id: 1, at: 1}", TABLE_KEY_TYPE, 0},
        {"{id: 'a', at: '1'}", TABLE_KEY_TYPE, 1},
        {"{id: '', at: 1}", TABLE_KEY_EMPTY, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        AUTO(buffer) item = BUFFER_INIT(BUFFER_UNLIMITED);
        struct item_value attributes;
        size_t part;

        fixture_put_item(&item, cases[i].item);
        attributes = item_root(buffer_slice(&item));
        assert_int_equal(table_key_check(&schema, &attributes, &part), cases[i].fault);
        assert_int_equal(part, cases[i].part);
    }
}

/* Each row stands where it should, whatever bytes the hash key before has. */
static void table_key_put_row__sorted_rows__sorted_keys(void **state)
{
    static const char *const rows[] = {
        "{id: 'a', at: -1e100}", "{id: 'a', at: -5}",   "{id: 'a', at: -4.99}",
        "{id: 'a', at: 0}",      "{id: 'a', at: 1e-9}", "{id: 'a', at: 9}",
        "{id: 'a', at: 10}",     "{id: 'aa', at: -7}",  "{id: 'ab', at: 3}",
        "{id: 'b', at: -9e120}",
    };
    AUTO(buffer) last = BUFFER_INIT(BUFFER_UNLIMITED);

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        AUTO(buffer) key = BUFFER_INIT(BUFFER_UNLIMITED);

        put_row(&key, rows[i]);
        assert_true(slice_compare(buffer_slice(&last), buffer_slice(&key)) < 0);
        buffer_clear(&last);
        buffer_put_slice(&last, buffer_slice(&key));
    }
}

/* Strings of few different bytes, zeros among them, so that one is often the beginning of another.
 */
static struct slice random_bytes(struct rng *rng, uint8_t *bytes)
{
    static const uint8_t alphabet[] = {0x00, 0x01, 0x02, 0xFE, 0xFF};
    size_t size = rng_below(rng, 6);

    for (size_t i = 0; i < size; i++)
        bytes[i] = alphabet[rng_below(rng, sizeof(alphabet))];
    return slice_of(bytes, size);
}

static void table_key_put_part__random_bytes__sort_as_they_do_and_none_begins_another(void **state)
{
    struct rng rng;

    (void)state;
    rng_init(&rng, 99);
    for (int i = 0; i < 50000; i++) {
        uint8_t bytes_a[8];
        uint8_t bytes_b[8];
        struct item_value a = {ITEM_B, random_bytes(&rng, bytes_a)};
        struct item_value b = {ITEM_B, random_bytes(&rng, bytes_b)};
        AUTO(buffer) key_a = BUFFER_INIT(BUFFER_UNLIMITED);
        AUTO(buffer) key_b = BUFFER_INIT(BUFFER_UNLIMITED);
        int order = slice_compare(a.bytes, b.bytes);
        int key_order;

        table_key_put_part(&key_a, &a);
        table_key_put_part(&key_b, &b);
        key_order = slice_compare(buffer_slice(&key_a), buffer_slice(&key_b));
        assert_int_equal((order > 0) - (order < 0), (key_order > 0) - (key_order < 0));
        if (order != 0)
            assert_false(slice_starts_with(buffer_slice(&key_a), buffer_slice(&key_b)));
    }
}

static void table_key_after_prefix__keys_with_the_prefix__below(void **state)
{
    AUTO(buffer) prefix = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) key = BUFFER_INIT(BUFFER_UNLIMITED);

    (void)state;
    buffer_put(&prefix, "a\x01\xFF", 3);
    buffer_put(&key, "a\x01\xFF\xFF\xFF\xFF", 6);

    table_key_after_prefix(&prefix);

    assert_true(slice_compare(buffer_slice(&key), buffer_slice(&prefix)) < 0);
    assert_memory_equal(prefix.data, "a\x02", 2);
    assert_int_equal(prefix.size, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_key_check__attributes__the_fault_and_where),
        cmocka_unit_test(table_key_put_row__sorted_rows__sorted_keys),
        cmocka_unit_test(table_key_put_part__random_bytes__sort_as_they_do_and_none_begins_another),
        cmocka_unit_test(table_key_after_prefix__keys_with_the_prefix__below),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
