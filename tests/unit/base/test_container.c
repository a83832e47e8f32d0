/* map, heap and list: against simple models where that says more than examples. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/base/check.h"
#include "proto/base/error.h"
#include "proto/base/heap.h"
#include "proto/base/list.h"
#include "proto/base/map.h"
#include "proto/base/rng.h"

/* ---- map ---- */

static void map__set_find_remove__as_said(void **state)
{
    struct map map;
    int a;
    int b;

    (void)state;
    map_init(&map);
    assert_null(map_find(&map, SLICE_LITERAL("x")));
    assert_null(map_remove(&map, SLICE_LITERAL("x")));
    assert_null(map_set(&map, SLICE_LITERAL("x"), &a));
    assert_ptr_equal(map_set(&map, SLICE_LITERAL("x"), &b), &a);
    assert_null(map_set(&map, SLICE_LITERAL(""), &a)); /* an empty key is a key */
    assert_ptr_equal(map_find(&map, SLICE_LITERAL("x")), &b);
    assert_ptr_equal(map_find(&map, SLICE_LITERAL("")), &a);
    assert_int_equal(map.count, 2);
    assert_ptr_equal(map_remove(&map, SLICE_LITERAL("x")), &b);
    assert_null(map_find(&map, SLICE_LITERAL("x")));
    assert_int_equal(map.count, 1);
    map_close(&map);
}

#define MODEL_KEYS 300

static void map__random_changes__match_a_model(void **state)
{
    struct map map;
    struct rng rng;
    char values[MODEL_KEYS];
    bool model[MODEL_KEYS] = {false};
    size_t count = 0;

    (void)state;
    map_init(&map);
    rng_init(&rng, 20261123);
    for (int step = 0; step < 50000; step++) {
        uint64_t key = rng_below(&rng, MODEL_KEYS);

        if (rng_below(&rng, 2) == 0) {
            assert_int_equal(map_set_u64(&map, key, &values[key]) != NULL, model[key]);
            count += !model[key];
            model[key] = true;
        } else {
            assert_int_equal(map_remove_u64(&map, key) != NULL, model[key]);
            count -= model[key];
            model[key] = false;
        }
        assert_int_equal(map.count, count);
    }
    for (uint64_t key = 0; key < MODEL_KEYS; key++)
        assert_ptr_equal(map_find_u64(&map, key), model[key] ? &values[key] : NULL);
    map_close(&map);
}

static void map_next__entries_removed_on_the_way__order_of_insertion(void **state)
{
    struct map map;
    struct map_entry *entry;
    size_t position = 0;
    int values[100];
    int expected = 0;

    (void)state;
    map_init(&map);
    for (int i = 0; i < 100; i++) {
        values[i] = i;
        (void)map_set_u64(&map, (uint64_t)i * 7919 % 100, &values[i]);
    }
    while ((entry = map_next(&map, &position)) != NULL) {
        assert_int_equal(*(int *)entry->value, expected++);
        if (expected % 2 == 0)
            (void)map_remove(&map, entry->key);
    }
    assert_int_equal(expected, 100);
    assert_int_equal(map.count, 50);
    map_close(&map);
}

/* ---- heap ---- */

static void heap__equal_keys__leave_in_the_order_they_came(void **state)
{
    struct heap heap;
    struct heap_node nodes[50] = {0};

    (void)state;
    heap_init(&heap);
    assert_null(heap_first(&heap));
    for (size_t i = 0; i < 50; i++)
        heap_insert(&heap, &nodes[i], 5);
    for (size_t i = 0; i < 50; i++) {
        assert_ptr_equal(heap_first(&heap), &nodes[i]);
        heap_remove(&heap, &nodes[i]);
        heap_remove(&heap, &nodes[i]);
    }
    assert_null(heap_first(&heap));
    heap_close(&heap);
}

static void heap__random_inserts_and_removals__first_is_always_the_least(void **state)
{
    struct heap heap;
    struct heap_node nodes[200] = {0};
    struct rng rng;

    (void)state;
    heap_init(&heap);
    rng_init(&rng, 20261123);
    for (int step = 0; step < 20000; step++) {
        struct heap_node *node = &nodes[rng_below(&rng, 200)];

        if (node->place == 0)
            heap_insert(&heap, node, rng_below(&rng, 100));
        else
            heap_remove(&heap, node);
        uint64_t least = UINT64_MAX;

        for (size_t i = 0; i < 200; i++)
            if (nodes[i].place != 0 && nodes[i].key < least)
                least = nodes[i].key;
        assert_true(heap_first(&heap) == NULL ? least == UINT64_MAX
                                              : heap_first(&heap)->key == least);
    }
    heap_close(&heap);
}

/* ---- list ---- */

struct element {
    struct list link;
    int number;
};

static void list__append_prepend_remove_move__order_kept(void **state)
{
    struct list head;
    struct list other;
    struct element elements[4] = {{.number = 0}, {.number = 1}, {.number = 2}, {.number = 3}};
    int sum = 0;

    (void)state;
    list_init(&head);
    assert_null(list_pop(&head));
    list_append(&head, &elements[1].link);
    list_append(&head, &elements[2].link);
    list_prepend(&head, &elements[0].link);
    list_append(&head, &elements[3].link);
    list_remove(&elements[2].link);
    list_remove(&elements[2].link);
    list_move(&other, &head);
    assert_true(list_is_empty(&head));
    LIST_EACH(&other, link)
    {
        sum = sum * 10 + container_of(link, struct element, link)->number;
    }
    assert_int_equal(sum, 13); /* 0, 1, 3 */
    LIST_EACH_SAFE(&other, link)
    {
        list_remove(link);
    }
    assert_true(list_is_empty(&other));
    list_move(&head, &other);
    assert_true(list_is_empty(&head));
}

/* ---- errors and dice ---- */

static void error__every_code__has_a_name_and_an_effect(void **state)
{
    (void)state;
    for (int rc = OK; rc < ERROR_COUNT; rc++) {
        assert_string_not_equal(error_name((enum error)rc), "ERR_UNKNOWN");
        assert_true(strlen(error_text((enum error)rc)) > 0);
    }
    assert_string_equal(error_name((enum error)999), "ERR_UNKNOWN");
    assert_int_equal(error_effect((enum error)999), ERROR_EFFECT_MAYBE);
    assert_int_equal(error_effect(ERR_UNREACHABLE), ERROR_EFFECT_NONE);
    assert_int_equal(error_effect(ERR_TIMEOUT), ERROR_EFFECT_MAYBE);
}

static void rng_below__a_bound__evenly_below_it_and_repeatable(void **state)
{
    struct rng rng;
    struct rng again;
    int counts[10] = {0};

    (void)state;
    rng_init(&rng, 0);
    rng_init(&again, 0);
    for (int i = 0; i < 100000; i++) {
        uint64_t drawn = rng_below(&rng, 10);

        assert_in_range(drawn, 0, 9);
        assert_int_equal(rng_below(&again, 10), drawn);
        counts[drawn]++;
    }
    for (int i = 0; i < 10; i++)
        assert_in_range(counts[i], 9500, 10500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(map__set_find_remove__as_said),
        cmocka_unit_test(map__random_changes__match_a_model),
        cmocka_unit_test(map_next__entries_removed_on_the_way__order_of_insertion),
        cmocka_unit_test(heap__equal_keys__leave_in_the_order_they_came),
        cmocka_unit_test(heap__random_inserts_and_removals__first_is_always_the_least),
        cmocka_unit_test(list__append_prepend_remove_move__order_kept),
        cmocka_unit_test(error__every_code__has_a_name_and_an_effect),
        cmocka_unit_test(rng_below__a_bound__evenly_below_it_and_repeatable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
