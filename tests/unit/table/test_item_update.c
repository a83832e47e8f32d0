#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/base/check.h"
#include "proto/base/rng.h"
#include "tests/unit/table/table_fixture.h"

static const char *const bindings[] = {"#s=status",
                                       ":paid='PAID'",
                                       ":one=1",
                                       ":two=2",
                                       ":x='x'",
                                       ":list=['c']",
                                       ":empty=[]",
                                       ":names=<'b', 'c'>",
                                       ":codes=<1>",
                                       ":map={k: 1}",
                                       ":names2=<'a', 'b'>",
                                       ":big=1e125",
                                       ":tiny=0.0000000000000000000000000000000000000001",
                                       NULL};

static enum item_update_fault run(const char *update_text, const char *item_text,
                                  struct buffer *text)
{
    struct arena arena = {0};
    struct expression_source source = fixture_source(&arena, bindings);
    AUTO(buffer) item = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) encoded = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) changed = BUFFER_INIT(BUFFER_UNLIMITED);
    struct item_update update;
    enum item_update_fault fault;

    if (expression_parse_update(&source, slice_text(update_text), &update) != OK)
        fail_msg("%s: %s", update_text, source.why);
    item_update_put(&encoded, &update);
    fixture_put_item(&item, item_text);
    fault = item_update_apply(buffer_slice(&encoded), buffer_slice(&item), &changed);
    if (fault == ITEM_UPDATE_OK) {
        assert_int_equal(item_check(buffer_slice(&changed)), OK);
        fixture_write_item(text, buffer_slice(&changed));
    } else {
        assert_int_equal(changed.size, 0);
    }
    arena_close(&arena);
    return fault;
}

static void item_update_apply__actions__as_the_service_does(void **state)
{
    static const struct {
        const char *update;
        const char *before;
        const char *after;
    } cases[] = {
        {"SET #s = :paid", "{id: 'o'}", "{id: 'o', status: 'PAID'}"},
        {"SET #s = :paid", "{id: 'o', status: 'NEW'}", "{id: 'o', status: 'PAID'}"},
        {"SET a = b, b = a", "{a: 1, b: 2}", "{a: 2, b: 1}"},
        {"SET n = n + :one", "{n: 41}", "{n: 42}"},
        {"SET n = n - :two", "{n: 1.5}", "{n: -0.5}"},
        {"SET n = if_not_exists(n, :one) + :one", "{}", "{n: 2}"},
        {"SET n = if_not_exists(n, :one) + :one", "{n: 7}", "{n: 8}"},
        {"SET a = if_not_exists(b, :x)", "{b: 1}", "{a: 1, b: 1}"},
        {"SET l = list_append(l, :list)", "{l: ['a', 'b']}", "{l: ['a', 'b', 'c']}"},
        {"SET l = list_append(:list, l)", "{l: ['a']}", "{l: ['c', 'a']}"},
        {"SET l = list_append(if_not_exists(l, :empty), :list)", "{}", "{l: ['c']}"},
        {"SET m.a.b = :one", "{m: {a: {c: 1}}}", "{m: {a: {b: 1, c: 1}}}"},
        {"SET l[1] = :x", "{l: [1, 2, 3]}", "{l: [1, 'x', 3]}"},
        {"SET l[9] = :x, l[5] = :one", "{l: [1]}", "{l: [1, 1, 'x']}"},
        {"SET l[0].a = :x", "{l: [{}]}", "{l: [{a: 'x'}]}"},
        {"REMOVE a, b", "{a: 1, b: 2, c: 3}", "{c: 3}"},
        {"REMOVE absent", "{a: 1}", "{a: 1}"},
        {"REMOVE l[0], l[2]", "{l: [1, 2, 3]}", "{l: [2]}"},
        {"REMOVE l[7]", "{l: [1]}", "{l: [1]}"},
        {"REMOVE m.a", "{m: {a: 1, b: 2}}", "{m: {b: 2}}"},
        {"REMOVE l[1] SET l[0] = :x", "{l: [1, 2, 3]}", "{l: ['x', 3]}"},
        {"ADD n :two", "{n: 40}", "{n: 42}"},
        {"ADD n :two", "{}", "{n: 2}"},
        {"ADD s :names", "{s: <'a', 'b'>}", "{s: <'a', 'b', 'c'>}"},
        {"ADD s :names", "{}", "{s: <'b', 'c'>}"},
        {"ADD m.n :one", "{m: {n: 1}}", "{m: {n: 2}}"},
        {"DELETE s :names", "{s: <'a', 'b'>}", "{s: <'a'>}"},
        {"DELETE s :names2", "{s: <'a', 'b'>}", "{}"},
        {"DELETE s :names", "{t: 1}", "{t: 1}"},
        {"SET a = :one REMOVE b ADD c :two DELETE d :names", "{b: 1, d: <'b', 'z'>}",
         "{a: 1, c: 2, d: <'z'>}"},
        {"set a = (:one + :two) remove b", "{b: 1}", "{a: 3}"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);
        enum item_update_fault fault = run(cases[i].update, cases[i].before, &text);

        if (fault != ITEM_UPDATE_OK)
            fail_msg("%s on %s: fault %d", cases[i].update, cases[i].before, (int)fault);
        assert_string_equal(buffer_text(&text), cases[i].after);
    }
}

static void item_update_apply__impossible__fault(void **state)
{
    static const struct {
        const char *update;
        const char *before;
        enum item_update_fault fault;
    } cases[] = {
        {"SET a = b", "{}", ITEM_UPDATE_NO_ATTRIBUTE},
        {"SET n = n + :one", "{}", ITEM_UPDATE_NO_ATTRIBUTE},
        {"SET n = n + :one", "{n: '1'}", ITEM_UPDATE_WRONG_TYPE},
        {"SET l = list_append(l, :list)", "{l: 1}", ITEM_UPDATE_WRONG_TYPE},
        {"SET m.a = :one", "{}", ITEM_UPDATE_NO_PATH},
        {"SET m.a = :one", "{m: 1}", ITEM_UPDATE_NO_PATH},
        {"SET m[0] = :one", "{m: {}}", ITEM_UPDATE_NO_PATH},
        {"SET l.a = :one", "{l: []}", ITEM_UPDATE_NO_PATH},
        {"REMOVE m.a", "{}", ITEM_UPDATE_NO_PATH},
        {"ADD n :one", "{n: 'x'}", ITEM_UPDATE_WRONG_TYPE},
        {"ADD s :codes", "{s: <'a'>}", ITEM_UPDATE_WRONG_TYPE},
        {"DELETE s :codes", "{s: <'a'>}", ITEM_UPDATE_WRONG_TYPE},
        {"SET n = n + :tiny", "{n: 1}", ITEM_UPDATE_TOO_PRECISE},
        {"SET n = n + :big", "{n: 9e125}", ITEM_UPDATE_OVERFLOW},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);

        assert_int_equal(run(cases[i].update, cases[i].before, &text), cases[i].fault);
    }
}

static void item_update_apply__too_deep__fault(void **state)
{
    AUTO(buffer) before = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) path = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);

    (void)state;
    buffer_put_text(&before, "{a: ");
    buffer_put_text(&path, "SET a");
    for (int i = 0; i < ITEM_DEPTH_MAX - 2; i++) {
        buffer_put_text(&before, "{a: ");
        buffer_put_text(&path, ".a");
    }
    buffer_put_text(&before, "1");
    for (int i = 0; i < ITEM_DEPTH_MAX - 1; i++)
        buffer_put_text(&before, "}");
    buffer_put_text(&path, " = :map");
    assert_int_equal(run(buffer_text(&path), buffer_text(&before), &text), ITEM_UPDATE_OK);
    buffer_clear(&path);
    buffer_put_text(&path, "SET a");
    for (int i = 0; i < ITEM_DEPTH_MAX - 2; i++)
        buffer_put_text(&path, ".a");
    buffer_put_text(&path, " = x");
    buffer_clear(&before);
    buffer_put_text(&before, "{x: {k: {k: 1}}, a: ");
    for (int i = 0; i < ITEM_DEPTH_MAX - 2; i++)
        buffer_put_text(&before, "{a: ");
    buffer_put_text(&before, "1");
    for (int i = 0; i < ITEM_DEPTH_MAX - 1; i++)
        buffer_put_text(&before, "}");
    assert_int_equal(run(buffer_text(&path), buffer_text(&before), &text), ITEM_UPDATE_TOO_DEEP);
}

static void item_update_apply__too_large__fault(void **state)
{
    struct arena arena = {0};
    struct expression_source source = fixture_source(&arena, bindings);
    AUTO(buffer) item = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) encoded = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) changed = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) bytes = BUFFER_INIT(BUFFER_UNLIMITED);
    struct item_update update;
    struct item_value value;
    size_t begin;

    (void)state;
    for (size_t i = 0; i < ITEM_BYTES_MAX - 1; i++)
        buffer_put_u8(&bytes, 'x');
    value = (struct item_value){ITEM_S, buffer_slice(&bytes)};
    begin = item_begin_whole(&item);
    item_put_name(&item, SLICE_LITERAL("a"));
    item_put_value(&item, &value);
    item_end_whole(&item, begin, 1);
    assert_int_equal(expression_parse_update(&source, SLICE_LITERAL("SET b = :one"), &update), OK);
    item_update_put(&encoded, &update);

    assert_int_equal(item_size_whole(buffer_slice(&item)), ITEM_BYTES_MAX);
    assert_int_equal(item_update_apply(buffer_slice(&encoded), buffer_slice(&item), &changed),
                     ITEM_UPDATE_TOO_LARGE);
    arena_close(&arena);
}

static void item_update_apply__damaged__never_read_outside(void **state)
{
    struct arena arena = {0};
    struct expression_source source = fixture_source(&arena, bindings);
    AUTO(buffer) item = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) encoded = BUFFER_INIT(BUFFER_UNLIMITED);
    struct item_update update;
    struct rng rng;

    (void)state;
    fixture_put_item(&item, "{n: 1, l: [1, {a: 2}], s: <'a', 'b'>, m: {k: {k: 1}}}");
    assert_int_equal(
        expression_parse_update(&source,
                                SLICE_LITERAL("SET n = if_not_exists(q, :one) + n, l[1].a = "
                                              "list_append(:list, l), m.k.z = :map REMOVE l[0] ADD "
                                              "s :names DELETE t :names"),
                                &update),
        OK);
    item_update_put(&encoded, &update);
    rng_init(&rng, 5);
    for (int i = 0; i < 20000; i++) {
        AUTO(buffer) changed = BUFFER_INIT(BUFFER_UNLIMITED);
        size_t size = rng_below(&rng, 4) == 0 ? rng_below(&rng, encoded.size) : encoded.size;
        uint8_t *exact = check_malloc(size + 1);
        struct reader reader;

        memcpy(exact, encoded.data, size);
        if (size > 0)
            exact[rng_below(&rng, size)] ^= (uint8_t)(1u << rng_below(&rng, 8));
        reader = reader_of(slice_of(exact, size));
        (void)item_update_paths(&reader, &arena);
        if (item_update_apply(slice_of(exact, size), buffer_slice(&item), &changed) ==
            ITEM_UPDATE_OK)
            assert_int_equal(item_check(buffer_slice(&changed)), OK);
        free(exact);
        if (i % 100 == 0)
            arena_close(&arena);
        if (i % 100 == 0)
            arena_init(&arena);
    }
    arena_close(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(item_update_apply__actions__as_the_service_does),
        cmocka_unit_test(item_update_apply__impossible__fault),
        cmocka_unit_test(item_update_apply__too_deep__fault),
        cmocka_unit_test(item_update_apply__too_large__fault),
        cmocka_unit_test(item_update_apply__damaged__never_read_outside),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
