/* A checker nobody has seen fail proves nothing: each of its rules, broken once. */

#include "proto/base/check.h"
#include "tests/sim/checker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Two replicas that applied commands 11, 12, 13 at indexes 2, 3, 5 (4 was a barrier). */
struct fixture {
    struct checker checker;
    uint64_t hashes[2];
};

static void apply(struct fixture *f, uint64_t node, uint64_t index, uint64_t term, uint64_t id)
{
    uint64_t *hash = &f->hashes[node - 1];

    *hash = checker_hash(*hash, index, term, id);
    checker_on_apply(&f->checker, 0, node, index, term, id, *hash);
}

static void fixture_open(struct fixture *f)
{
    *f = (struct fixture){0};
    checker_init(&f->checker, 1);
    for (uint64_t node = 1; node <= 2; node++) {
        apply(f, node, 2, 1, 11);
        apply(f, node, 3, 1, 12);
        apply(f, node, 5, 2, 13);
    }
    checker_on_ack(&f->checker, 0, 1, 5, 13);
    checker_on_read(&f->checker, 0, 2, 5, 5);
    checker_on_leader(&f->checker, 0, 1, 1);
    checker_on_leader(&f->checker, 0, 1, 1);
    checker_on_leader(&f->checker, 0, 2, 2);
    checker_on_state(&f->checker, 0, 3, 0, 0, "disk");
    checker_on_state(&f->checker, 0, 2, 6, f->hashes[1], "disk");
    checker_on_refused(&f->checker, 99);
    assert_false(f->checker.is_failed);
}

static void expect_breach(struct fixture *f, const char *first_words)
{
    assert_true(f->checker.is_failed);
    if (strstr(f->checker.why, first_words) == NULL)
        fail_msg("'%s' was expected to say '%s'", f->checker.why, first_words);
    checker_close(&f->checker);
}

static void apply__other_command_at_an_index__diverged(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    apply(&f, 1, 7, 2, 14);
    apply(&f, 2, 7, 2, 15);
    expect_breach(&f, "diverged");
}

static void apply__same_command_of_another_term__diverged(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    apply(&f, 1, 7, 2, 14);
    apply(&f, 2, 7, 3, 14);
    expect_breach(&f, "diverged");
}

static void apply__one_command_skipped__states_differ(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    apply(&f, 1, 6, 2, 14);
    apply(&f, 1, 7, 2, 15);
    apply(&f, 2, 7, 2, 15);
    expect_breach(&f, "states differ");
}

static void apply__command_where_others_had_none__breach(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    apply(&f, 1, 4, 2, 14);
    expect_breach(&f, "where others");
}

static void apply__refused_command__breach(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    apply(&f, 1, 6, 2, 99);
    expect_breach(&f, "which was refused");
}

static void ack__of_what_was_not_applied_there__breach(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    checker_on_ack(&f.checker, 0, 1, 3, 13);
    expect_breach(&f, "acknowledged");
}

static void read__older_than_an_acknowledgement__stale(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    checker_on_read(&f.checker, 0, 1, 4, 5);
    expect_breach(&f, "stale read");
}

static void leaders__two_in_a_term__breach(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    checker_on_leader(&f.checker, 0, 2, 1);
    expect_breach(&f, "two leaders");
}

static void state__not_the_one_of_its_index__wrong(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    checker_on_state(&f.checker, 0, 1, 3, f.hashes[0], "snapshot");
    expect_breach(&f, "wrong state");
}

static void breach__several__the_first_is_kept(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    checker_on_leader(&f.checker, 0, 2, 1);
    checker_on_read(&f.checker, 0, 1, 4, 5);
    expect_breach(&f, "two leaders");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(apply__other_command_at_an_index__diverged),
        cmocka_unit_test(apply__same_command_of_another_term__diverged),
        cmocka_unit_test(apply__one_command_skipped__states_differ),
        cmocka_unit_test(apply__command_where_others_had_none__breach),
        cmocka_unit_test(apply__refused_command__breach),
        cmocka_unit_test(ack__of_what_was_not_applied_there__breach),
        cmocka_unit_test(read__older_than_an_acknowledgement__stale),
        cmocka_unit_test(leaders__two_in_a_term__breach),
        cmocka_unit_test(state__not_the_one_of_its_index__wrong),
        cmocka_unit_test(breach__several__the_first_is_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
