#include "node/node_limit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void node_limit_part__all_nodes__add_up_to_the_whole(void **state)
{
    (void)state;
    for (uint64_t whole = 0; whole < 40; whole++)
        for (size_t count = 1; count < 9; count++) {
            uint64_t sum = 0;

            for (size_t i = 0; i < count; i++)
                sum += node_limit_part(whole, i, count);
            assert_int_equal(sum, whole);
        }
}

static void node_limit_part__any_two_nodes__differ_by_one_at_most(void **state)
{
    (void)state;
    assert_int_equal(node_limit_part(7, 0, 3), 3);
    assert_int_equal(node_limit_part(7, 1, 3), 2);
    assert_int_equal(node_limit_part(7, 2, 3), 2);
    assert_int_equal(node_limit_part(1, 1, 6), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(node_limit_part__all_nodes__add_up_to_the_whole),
        cmocka_unit_test(node_limit_part__any_two_nodes__differ_by_one_at_most),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
