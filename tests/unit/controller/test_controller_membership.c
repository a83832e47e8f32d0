#include "controller/membership.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define LEASE_MS 1000

static void renew__unknown_node__alive_for_a_lease(void **state)
{
    struct membership membership;

    (void)state;
    membership_init(&membership, LEASE_MS);

    assert_true(membership_renew(&membership, 7, 100));
    assert_false(membership_renew(&membership, 7, 200));
    assert_false(membership_tick(&membership, 1199));
    assert_int_equal(membership_alive(&membership), 1);
    assert_true(membership_tick(&membership, 1200));
    assert_int_equal(membership_alive(&membership), 0);
    assert_int_equal(membership_find(&membership, 7)->lost_ms, 1200);
    assert_false(membership_tick(&membership, 5000)); /* news once */
    assert_int_equal(membership_find(&membership, 7)->lost_ms, 1200);
    membership_close(&membership);
}

static void renew__lost_node__news_again(void **state)
{
    struct membership membership;

    (void)state;
    membership_init(&membership, LEASE_MS);
    (void)membership_renew(&membership, 7, 0);
    (void)membership_tick(&membership, LEASE_MS);

    assert_true(membership_renew(&membership, 7, 1500));
    assert_true(membership_find(&membership, 7)->is_alive);
    membership_close(&membership);
}

static void add__new_leader__everybody_alive_gets_a_full_lease(void **state)
{
    struct membership membership;

    (void)state;
    membership_init(&membership, LEASE_MS);
    membership_add(&membership, 2, true, 10000);
    membership_add(&membership, 1, false, 10000);

    assert_false(membership_tick(&membership, 10999));
    assert_true(membership_find(&membership, 2)->is_alive);
    assert_false(membership_find(&membership, 1)->is_alive);
    assert_int_equal(membership_find(&membership, 1)->lost_ms, 10000);
    assert_true(membership_tick(&membership, 11000));
    membership_close(&membership);
}

static void lose__process_known_to_be_gone__at_once(void **state)
{
    struct membership membership;

    (void)state;
    membership_init(&membership, LEASE_MS);
    (void)membership_renew(&membership, 7, 0);

    assert_true(membership_lose(&membership, 7, 5));
    assert_false(membership_lose(&membership, 7, 6));
    assert_false(membership_lose(&membership, 8, 6));
    assert_int_equal(membership_find(&membership, 7)->lost_ms, 5);
    membership_close(&membership);
}

static void members__any_order__kept_by_id(void **state)
{
    struct membership membership;

    (void)state;
    membership_init(&membership, LEASE_MS);
    for (uint64_t i = 0; i < 100; i++)
        (void)membership_renew(&membership, i * 37 % 101 + 1, 0);
    membership_remove(&membership, 50);
    membership_remove(&membership, 500);

    assert_int_equal(membership.count, 99);
    for (size_t i = 1; i < membership.count; i++)
        assert_true(membership.members[i - 1].id < membership.members[i].id);
    assert_null(membership_find(&membership, 50));
    assert_non_null(membership_find(&membership, 51));
    membership_close(&membership);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(renew__unknown_node__alive_for_a_lease),
        cmocka_unit_test(renew__lost_node__news_again),
        cmocka_unit_test(add__new_leader__everybody_alive_gets_a_full_lease),
        cmocka_unit_test(lose__process_known_to_be_gone__at_once),
        cmocka_unit_test(members__any_order__kept_by_id),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
