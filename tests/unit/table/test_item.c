#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/base/check.h"
#include "proto/base/rng.h"
#include "tests/unit/table/table_fixture.h"

#define EVERYTHING                                                                                 \
    "{B: x'00ff', L: ['a', 1, {x: []}], M: {a: {b: {c: 1}}}, N: -12.5, S: 'text', "                \
    "SS: <'b', 'a'>, bs: <x'01', x''>, empty: '', no: false, ns: <2, 1>, null: null, yes: true}"

static struct item_value value_of(struct buffer *bytes, const char *text)
{
    struct item_value value;

    fixture_put_value(bytes, text);
    assert_int_equal(item_check_value(buffer_slice(bytes), &value), OK);
    return value;
}

static void item__every_type__comes_back(void **state)
{
    AUTO(buffer) item = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);

    (void)state;
    fixture_put_item(&item, EVERYTHING);

    assert_int_equal(item_check(buffer_slice(&item)), OK);
    fixture_write_item(&text, buffer_slice(&item));
    assert_string_equal(buffer_text(&text), EVERYTHING);
}

static void item__golden_bytes(void **state)
{
    AUTO(buffer) item = BUFFER_INIT(BUFFER_UNLIMITED);
    static const uint8_t wanted[] = {
        ITEM_VERSION,
        3,
        0,
        0,
        0, /* three attributes */
        1,
        'l',
        ITEM_L,
        7,
        0,
        0,
        0,
        2,
        0,
        0,
        0,
        ITEM_NULL,
        ITEM_BOOL,
        1,
        1,
        'n',
        ITEM_N,
        4,
        0xC0,
        0x83,
        0x0D,
        0x00, /* 12 */
        2,
        's',
        's',
        ITEM_SS,
        6,
        0,
        0,
        0,
        1,
        0,
        0,
        0,
        1,
        'x',
    };

    (void)state;
    fixture_put_item(&item, "{l: [null, true], n: 12, ss: <'x'>}");

    assert_int_equal(item.size, sizeof(wanted));
    assert_memory_equal(item.data, wanted, sizeof(wanted));
}

static void item_find__names__found_or_not(void **state)
{
    AUTO(buffer) item = BUFFER_INIT(BUFFER_UNLIMITED);
    struct item_value root;
    struct item_value found;
    struct item_value inner;

    (void)state;
    fixture_put_item(&item, EVERYTHING);
    root = item_root(buffer_slice(&item));

    assert_true(item_find(&root, SLICE_LITERAL("S"), &found));
    assert_int_equal(found.type, ITEM_S);
    assert_true(slice_equal_text(found.bytes, "text"));
    assert_false(item_find(&root, SLICE_LITERAL("T"), &found));
    assert_false(item_find(&root, SLICE_LITERAL("zzz"), &found));
    assert_true(item_find(&root, SLICE_LITERAL("L"), &found));
    assert_true(item_at(&found, 1, &inner));
    assert_int_equal(inner.type, ITEM_N);
    assert_false(item_at(&found, 3, &inner));
    assert_int_equal(item_count(&found), 3);
}

static void item_equal__values__as_the_service_compares(void **state)
{
    static const struct {
        const char *a;
        const char *b;
        bool is_equal;
    } cases[] = {
        {"1", "1.0", true},
        {"1", "'1'", false},
        {"'a'", "'b'", false},
        {"<1, 2, 3>", "<3, 1, 2>", true},
        {"<1, 2, 3>", "<3, 1, 4>", false},
        {"<'a'>", "<x'61'>", false},
        {"['a', 'b']", "['b', 'a']", false},
        {"{a: 1, b: [<'x', 'y'>]}", "{b: [<'y', 'x'>], a: 1.00}", true},
        {"{a: 1, b: [<'x', 'y'>]}", "{b: [<'y', 'z'>], a: 1}", false},
        {"{a: 1}", "{b: 1}", false},
        {"null", "null", true},
        {"true", "false", false},
        {"<1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18>",
         "<18,17,16,15,14,13,12,11,10,9,8,7,6,5,4,3,2,1>", true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        AUTO(buffer) left = BUFFER_INIT(BUFFER_UNLIMITED);
        AUTO(buffer) right = BUFFER_INIT(BUFFER_UNLIMITED);
        struct item_value a = value_of(&left, cases[i].a);
        struct item_value b = value_of(&right, cases[i].b);

        assert_int_equal(item_equal(&a, &b), cases[i].is_equal);
        assert_int_equal(item_equal(&b, &a), cases[i].is_equal);
    }
}

static void item_size__values__as_the_service_counts(void **state)
{
    static const struct {
        const char *item;
        size_t size;
    } cases[] = {
        {"{}", 0},
        {"{abc: 'hello'}", 8},
        {"{a: 'h\xC3\xA9'}", 4},
        {"{n: 0}", 2},
        {"{n: 12.5}", 4},
        {"{n: -12.5}", 5},
        {"{b: x'000102'}", 4},
        {"{t: true, u: null}", 4},
        {"{m: {}}", 4},
        {"{l: []}", 4},
        {"{l: ['a', 'b']}", 8},
        {"{m: {k: 'v'}}", 7},
        {"{s: <'a', 'bcd'>}", 5},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        AUTO(buffer) item = BUFFER_INIT(BUFFER_UNLIMITED);

        fixture_put_item(&item, cases[i].item);
        assert_int_equal(item_size_whole(buffer_slice(&item)), cases[i].size);
    }
}

static void put_nested(struct buffer *item, unsigned levels)
{
    size_t begins[64];
    size_t whole = item_begin_whole(item);

    item_put_name(item, SLICE_LITERAL("a"));
    for (unsigned i = 0; i < levels; i++)
        begins[i] = item_begin(item, ITEM_L);
    item_put_bool(item, true);
    for (unsigned i = levels; i-- > 0;)
        item_end(item, begins[i], 1);
    item_end_whole(item, whole, 1);
}

static void item_check__nested_too_deep__refused(void **state)
{
    AUTO(buffer) item = BUFFER_INIT(BUFFER_UNLIMITED);

    (void)state;
    put_nested(&item, ITEM_DEPTH_MAX - 1);
    assert_int_equal(item_check(buffer_slice(&item)), OK);
    buffer_clear(&item);
    put_nested(&item, ITEM_DEPTH_MAX);
    assert_int_equal(item_check(buffer_slice(&item)), ERR_INVALID);
}

static void item_check__any_prefix_or_tail__refused(void **state)
{
    AUTO(buffer) item = BUFFER_INIT(BUFFER_UNLIMITED);

    (void)state;
    fixture_put_item(&item, EVERYTHING);
    for (size_t size = 0; size < item.size; size++) {
        uint8_t *exact = check_malloc(size + 1); /* so that a read past the end is seen */

        memcpy(exact, item.data, size);
        assert_int_not_equal(item_check(slice_of(exact, size)), OK);
        free(exact);
    }
    buffer_put_u8(&item, 0);
    assert_int_equal(item_check(buffer_slice(&item)), ERR_INVALID);
    item.data[0] = ITEM_VERSION + 1;
    assert_int_equal(item_check(buffer_slice(&item)), ERR_VERSION);
}

static void item_check__names_not_sorted_or_twice__refused(void **state)
{
    static const char *const names[][2] = {{"b", "a"}, {"a", "a"}, {"ab", "a"}};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        AUTO(buffer) item = BUFFER_INIT(BUFFER_UNLIMITED);
        size_t begin = item_begin_whole(&item);

        for (size_t k = 0; k < 2; k++) {
            item_put_name(&item, slice_text(names[i][k]));
            item_put_bool(&item, true);
        }
        item_end_whole(&item, begin, 2);
        assert_int_equal(item_check(buffer_slice(&item)), ERR_INVALID);
    }
}

static void item_check__flipped_bits__never_read_outside(void **state)
{
    AUTO(buffer) item = BUFFER_INIT(BUFFER_UNLIMITED);
    struct rng rng;

    (void)state;
    fixture_put_item(&item, EVERYTHING);
    rng_init(&rng, 7);
    for (int i = 0; i < 20000; i++) {
        uint8_t *exact = check_malloc(item.size);
        struct slice bytes = slice_of(exact, item.size);

        memcpy(exact, item.data, item.size);
        exact[rng_below(&rng, item.size)] ^= (uint8_t)(1u << rng_below(&rng, 8));
        exact[rng_below(&rng, item.size)] ^= (uint8_t)(1u << rng_below(&rng, 8));
        if (item_check(bytes) == OK)
            (void)item_size_whole(bytes);
        free(exact);
    }
}

static void item_find_duplicate__small_and_large_sets(void **state)
{
    char texts[100][4];
    struct slice elements[100];

    (void)state;
    for (size_t i = 0; i < 100; i++) {
        texts[i][0] = (char)('0' + i / 10);
        texts[i][1] = (char)('0' + i % 10);
        elements[i] = slice_of(texts[i], 2);
    }
    assert_int_equal(item_find_duplicate(elements, 10), 10);
    assert_int_equal(item_find_duplicate(elements, 100), 100);
    elements[70] = elements[7];
    assert_int_equal(item_find_duplicate(elements, 100), 70);
    elements[9] = elements[2];
    assert_int_equal(item_find_duplicate(elements, 10), 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(item__every_type__comes_back),
        cmocka_unit_test(item__golden_bytes),
        cmocka_unit_test(item_find__names__found_or_not),
        cmocka_unit_test(item_equal__values__as_the_service_compares),
        cmocka_unit_test(item_size__values__as_the_service_counts),
        cmocka_unit_test(item_check__nested_too_deep__refused),
        cmocka_unit_test(item_check__any_prefix_or_tail__refused),
        cmocka_unit_test(item_check__names_not_sorted_or_twice__refused),
        cmocka_unit_test(item_check__flipped_bits__never_read_outside),
        cmocka_unit_test(item_find_duplicate__small_and_large_sets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
