#include "controller/catalogue.h"

#include "proto/base/check.h"
#include "proto/env/env_sim.h"
#include "proto/wire/catalogue.pb-c.h"
#include "proto/wire/watch.pb-c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define ANY UINT64_MAX
#define OPERATIONS_MAX 4

struct fixture {
    struct sim *sim;
    struct env *env;
    struct catalogue *catalogue;
    uint64_t index;
    uint64_t revision; /* what the last apply gave */
};

struct operation {
    const char *key;
    const char *value; /* NULL = delete */
    uint64_t expected;
};

static void fixture_open(struct fixture *f)
{
    struct sim_options options = sim_options_default(1);

    *f = (struct fixture){.sim = sim_new(&options)};
    f->env = sim_process_start(f->sim, 1);
    assert_int_equal(catalogue_open(f->env, "catalogue", &f->catalogue), OK);
}

static void fixture_close(struct fixture *f)
{
    catalogue_free(f->catalogue);
    sim_free(f->sim);
}

static void reopen(struct fixture *f)
{
    sim_crash(f->sim, 1, SIM_CRASH_KILL);
    catalogue_free(f->catalogue);
    f->catalogue = NULL;
    f->env = sim_process_start(f->sim, 1);
    assert_int_equal(catalogue_open(f->env, "catalogue", &f->catalogue), OK);
}

/* Applies operations at the next index, as the `sequence`-th command of node `origin`. */
static enum error apply_as(struct fixture *f, uint64_t origin, uint64_t sequence,
                           const struct operation *operations, size_t count)
{
    Skein__Wire__CatalogueCommand command = SKEIN__WIRE__CATALOGUE_COMMAND__INIT;
    Skein__Wire__CatalogueOperation messages[OPERATIONS_MAX];
    Skein__Wire__CatalogueOperation *pointers[OPERATIONS_MAX];
    uint8_t bytes[1024];

    for (size_t i = 0; i < count; i++) {
        skein__wire__catalogue_operation__init(&messages[i]);
        messages[i].key = (char *)(uintptr_t)operations[i].key;
        messages[i].is_delete = operations[i].value == NULL;
        messages[i].value.data = (uint8_t *)(uintptr_t)operations[i].value;
        messages[i].value.len = operations[i].value != NULL ? strlen(operations[i].value) : 0;
        messages[i].has_expectation = operations[i].expected != ANY;
        messages[i].expected_revision = operations[i].expected != ANY ? operations[i].expected : 0;
        pointers[i] = &messages[i];
    }
    command.operations = pointers;
    command.n_operations = count;
    command.origin = origin;
    command.incarnation = 1;
    command.sequence = sequence;
    assert_true(skein__wire__catalogue_command__get_packed_size(&command) <= sizeof(bytes));
    size_t size = skein__wire__catalogue_command__pack(&command, bytes);

    return catalogue_apply(f->catalogue, ++f->index, slice_of(bytes, size), &f->revision);
}

static enum error apply(struct fixture *f, const struct operation *operations, size_t count)
{
    return apply_as(f, 0, 0, operations, count);
}

static enum error put(struct fixture *f, const char *key, const char *value, uint64_t expected)
{
    return apply(f, &(struct operation){key, value, expected}, 1);
}

static const struct record *find(struct fixture *f, const char *key)
{
    return records_find(catalogue_records(f->catalogue), key);
}

static void apply__changes__one_revision_each_without_gaps(void **state)
{
    struct fixture f;
    const struct operation two[] = {{"a", "2", ANY}, {"b", "2", 0}};

    (void)state;
    fixture_open(&f);

    assert_int_equal(put(&f, "a", "1", 0), OK);
    assert_int_equal(f.revision, 1);
    assert_int_equal(apply(&f, two, 2), OK);
    assert_int_equal(f.revision, 2);
    assert_int_equal(put(&f, "a", NULL, 2), OK);
    assert_int_equal(f.revision, 3);

    assert_null(find(&f, "a"));
    assert_int_equal(find(&f, "b")->revision, 2);
    assert_int_equal(catalogue_revision(f.catalogue), 3);
    assert_int_equal(catalogue_applied(f.catalogue), 3);
    fixture_close(&f);
}

static void apply__nothing_to_change__no_revision(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    (void)put(&f, "a", "1", ANY);

    assert_int_equal(put(&f, "b", NULL, ANY), OK);

    assert_int_equal(f.revision, 1);
    assert_int_equal(catalogue_revision(f.catalogue), 1);
    assert_int_equal(catalogue_applied(f.catalogue), 2);
    fixture_close(&f);
}

static void apply__one_expectation_fails__nothing_happens(void **state)
{
    struct fixture f;
    const struct operation operations[] = {{"new", "x", ANY}, {"a", "2", 0}};

    (void)state;
    fixture_open(&f);
    (void)put(&f, "a", "1", ANY);

    assert_int_equal(apply(&f, operations, 2), ERR_CONFLICT);
    assert_int_equal(put(&f, "a", "2", 7), ERR_CONFLICT);
    assert_int_equal(put(&f, "gone", NULL, 1), ERR_CONFLICT);

    assert_null(find(&f, "new"));
    assert_true(slice_equal_text(find(&f, "a")->value, "1"));
    assert_int_equal(catalogue_revision(f.catalogue), 1);
    assert_int_equal(catalogue_applied(f.catalogue), 4);
    fixture_close(&f);
}

static void apply__malformed__refused_and_counted_as_applied(void **state)
{
    struct fixture f;
    const struct operation twice[] = {{"a", "1", ANY}, {"a", "2", ANY}};

    (void)state;
    fixture_open(&f);

    assert_int_equal(
        catalogue_apply(f.catalogue, ++f.index, SLICE_LITERAL("\xff\xff"), &f.revision),
        ERR_INVALID);
    assert_int_equal(apply(&f, NULL, 0), ERR_INVALID);
    assert_int_equal(apply(&f, twice, 2), ERR_INVALID);
    assert_int_equal(put(&f, "a b", "1", ANY), ERR_INVALID);
    assert_int_equal(put(&f, "", "1", ANY), ERR_INVALID);

    assert_int_equal(catalogue_applied(f.catalogue), 5);
    assert_int_equal(records_count(catalogue_records(f.catalogue)), 0);
    fixture_close(&f);
}

static enum error put_sized(struct fixture *f, const char *key, size_t bytes)
{
    Skein__Wire__CatalogueCommand command = SKEIN__WIRE__CATALOGUE_COMMAND__INIT;
    Skein__Wire__CatalogueOperation operation = SKEIN__WIRE__CATALOGUE_OPERATION__INIT;
    Skein__Wire__CatalogueOperation *pointer = &operation;

    operation.key = (char *)(uintptr_t)key;
    operation.value.data = check_calloc(bytes, 1);
    operation.value.len = bytes;
    command.operations = &pointer;
    command.n_operations = 1;
    uint8_t *packed = check_malloc(skein__wire__catalogue_command__get_packed_size(&command));
    size_t size = skein__wire__catalogue_command__pack(&command, packed);
    enum error rc = catalogue_apply(f->catalogue, ++f->index, slice_of(packed, size), &f->revision);

    free(packed);
    free(operation.value.data);
    return rc;
}

static void apply__larger_than_a_limit__too_large(void **state)
{
    struct fixture f;
    char key[16];
    size_t fitted = 0;

    (void)state;
    fixture_open(&f);

    assert_int_equal(put_sized(&f, "a", CATALOGUE_VALUE_BYTES_MAX + 1), ERR_TOO_LARGE);
    assert_int_equal(put_sized(&f, "a", CATALOGUE_COMMAND_BYTES_MAX + 1), ERR_TOO_LARGE);
    for (enum error rc = OK; rc == OK;) {
        (void)snprintf(key, sizeof(key), "big/%zu", fitted);
        rc = put_sized(&f, key, CATALOGUE_VALUE_BYTES_MAX);
        fitted += rc == OK;
        assert_true(rc == OK || rc == ERR_TOO_LARGE);
    }
    assert_int_equal(fitted, CATALOGUE_BYTES_MAX / CATALOGUE_VALUE_BYTES_MAX - 1);
    assert_int_equal(put(&f, "big/0", NULL, ANY), OK); /* room can always be made */
    assert_int_equal(put_sized(&f, key, CATALOGUE_VALUE_BYTES_MAX), OK);
    fixture_close(&f);
}

/* ---- retries ---- */

static void apply__command_sent_twice__first_answer_again(void **state)
{
    struct fixture f;
    const struct operation create = {"table/Orders", "v", 0};

    (void)state;
    fixture_open(&f);
    assert_int_equal(apply_as(&f, 3, 1, &create, 1), OK);
    assert_int_equal(apply_as(&f, 3, 2, &create, 1), ERR_CONFLICT);
    (void)put(&f, "other", "v", ANY);

    f.revision = 0;
    assert_int_equal(apply_as(&f, 3, 1, &create, 1), OK);
    assert_int_equal(f.revision, 1);
    assert_int_equal(apply_as(&f, 3, 2, &create, 1), ERR_CONFLICT);
    assert_int_equal(apply_as(&f, 4, 1, &create, 1), ERR_CONFLICT); /* another's command */

    assert_int_equal(catalogue_revision(f.catalogue), 2);
    fixture_close(&f);
}

static void apply__sent_again_after_a_restart__first_answer_again(void **state)
{
    struct fixture f;
    const struct operation create = {"table/Orders", "v", 0};
    const struct operation remove = {"table/Orders", NULL, ANY};

    (void)state;
    fixture_open(&f);
    (void)apply_as(&f, 3, 1, &create, 1);
    (void)apply_as(&f, 3, 2, &remove, 1);
    reopen(&f);

    assert_int_equal(apply_as(&f, 3, 3, &remove, 1), OK); /* takes a slot of its own */
    reopen(&f);
    assert_int_equal(apply_as(&f, 3, 1, &create, 1), OK);

    assert_int_equal(f.revision, 1);
    assert_int_equal(apply_as(&f, 3, 2, &create, 1), OK);
    assert_int_equal(f.revision, 2);
    assert_null(find(&f, "table/Orders"));
    fixture_close(&f);
}

static void apply__sent_again_after_very_many_others__forgotten(void **state)
{
    struct fixture f;
    const struct operation set = {"k", "v", ANY};

    (void)state;
    fixture_open(&f);
    for (uint64_t i = 0; i < CATALOGUE_ANSWERS_MAX + 10; i++)
        assert_int_equal(apply_as(&f, 3, i, &set, 1), OK);

    assert_int_equal(apply_as(&f, 3, CATALOGUE_ANSWERS_MAX, &set, 1), OK);
    assert_int_equal(f.revision, CATALOGUE_ANSWERS_MAX + 1);
    assert_int_equal(apply_as(&f, 3, 5, &set, 1), OK);
    assert_int_equal(f.revision, CATALOGUE_ANSWERS_MAX + 11);
    fixture_close(&f);
}

/* ---- restarts and the disk ---- */

static void open__after_a_kill__state_and_place_are_back(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    (void)put(&f, "a", "1", ANY);
    (void)put(&f, "a", "2", 9);

    reopen(&f);

    assert_int_equal(catalogue_applied(f.catalogue), 2);
    assert_int_equal(catalogue_revision(f.catalogue), 1);
    assert_true(slice_equal_text(find(&f, "a")->value, "1"));
    assert_int_equal(catalogue_history(f.catalogue, 1).size, 0); /* only what it saw itself */
    fixture_close(&f);
}

static void apply__disk_refuses__final_error_nothing_changed(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    (void)put(&f, "a", "1", ANY);
    sim_disk_fail_call(f.sim, 1, 1);

    assert_int_equal(put(&f, "a", "2", ANY), ERR_IO);

    assert_int_equal(catalogue_applied(f.catalogue), 1);
    assert_int_equal(catalogue_revision(f.catalogue), 1);
    fixture_close(&f);
}

/* ---- history ---- */

static void history__recent_revision__its_records(void **state)
{
    struct fixture f;
    const struct operation two[] = {{"a", NULL, ANY}, {"b", "x", ANY}};

    (void)state;
    fixture_open(&f);
    (void)put(&f, "a", "1", ANY);
    (void)apply(&f, two, 2);

    struct slice past = catalogue_history(f.catalogue, 2);
    Skein__Wire__WatchRevision *message =
        skein__wire__watch_revision__unpack(NULL, past.size, past.data);

    assert_non_null(message);
    assert_int_equal(message->revision, 2);
    assert_int_equal(message->n_records, 2);
    assert_string_equal(message->records[0]->key, "a");
    assert_true(message->records[0]->is_delete);
    assert_string_equal(message->records[1]->key, "b");
    assert_int_equal(message->records[1]->value.len, 1);
    assert_int_equal(catalogue_history(f.catalogue, 3).size, 0);
    assert_int_equal(catalogue_history(f.catalogue, 0).size, 0);
    skein__wire__watch_revision__free_unpacked(message, NULL);
    fixture_close(&f);
}

static void history__many_revisions__the_newest_are_kept(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    for (size_t i = 0; i < CATALOGUE_HISTORY_MAX + 5; i++)
        (void)put(&f, "k", "v", ANY);

    assert_int_equal(catalogue_history(f.catalogue, 5).size, 0);
    assert_int_not_equal(catalogue_history(f.catalogue, 6).size, 0);
    assert_int_not_equal(catalogue_history(f.catalogue, CATALOGUE_HISTORY_MAX + 5).size, 0);
    fixture_close(&f);
}

static void history__large_revisions__bounded_in_bytes(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    for (size_t i = 0; i < 20; i++)
        (void)put_sized(&f, "k", CATALOGUE_VALUE_BYTES_MAX);

    assert_int_equal(catalogue_history(f.catalogue, 10).size, 0);
    assert_int_not_equal(catalogue_history(f.catalogue, 20).size, 0);
    assert_int_not_equal(catalogue_history(f.catalogue, 14).size, 0);
    fixture_close(&f);
}

/* ---- snapshots ---- */

static void count_resets(void *user, const char *key)
{
    *(int *)user += key == NULL;
}

static void snapshot__installed_elsewhere__same_state_answers_and_place(void **state)
{
    struct fixture f;
    struct fixture g;
    const struct operation create = {"table/Orders", "v", 0};
    const struct operation other = {"table/Other", "v", 0};
    AUTO(buffer) position = BUFFER_INIT(BUFFER_UNLIMITED);
    bool is_last = false;
    int resets = 0;

    (void)state;
    fixture_open(&f);
    fixture_open(&g);
    (void)apply_as(&f, 3, 1, &create, 1);
    (void)put(&f, "a", "1", ANY);
    (void)put(&g, "stale", "1", ANY);
    catalogue_listen(g.catalogue, &resets, count_resets);
    struct records_pin *pin = catalogue_pin(f.catalogue);

    (void)put(&f, "later", "1", ANY);
    catalogue_snapshot_begin(g.catalogue);
    assert_int_equal(catalogue_snapshot_chunk(g.catalogue, SLICE_LITERAL("unfinished")), OK);
    catalogue_snapshot_begin(g.catalogue);
    while (!is_last) {
        AUTO(buffer) chunk = BUFFER_INIT(BUFFER_UNLIMITED);

        assert_int_equal(records_pin_dump(pin, &position, 20, &chunk, &is_last), OK);
        assert_int_equal(catalogue_snapshot_chunk(g.catalogue, buffer_slice(&chunk)), OK);
    }
    assert_int_equal(catalogue_snapshot_install(g.catalogue, 17), OK);
    records_unpin(pin);

    assert_int_equal(resets, 1);
    reopen(&g);
    assert_int_equal(catalogue_applied(g.catalogue), 17);
    assert_int_equal(catalogue_revision(g.catalogue), 2);
    assert_null(find(&g, "stale"));
    assert_null(find(&g, "later"));
    assert_true(slice_equal_text(find(&g, "a")->value, "1"));
    g.index = 17;
    assert_int_equal(apply_as(&g, 4, 1, &other, 1), OK); /* takes a slot of its own */
    assert_int_equal(apply_as(&g, 3, 1, &create, 1), OK);
    assert_int_equal(g.revision, 1);
    fixture_close(&f);
    fixture_close(&g);
}

static void snapshot__damaged__refused_old_state_kept(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    (void)put(&f, "a", "1", ANY);
    catalogue_snapshot_begin(f.catalogue);
    assert_int_equal(catalogue_snapshot_chunk(f.catalogue, SLICE_LITERAL("no snapshot")), OK);

    assert_int_equal(catalogue_snapshot_install(f.catalogue, 9), ERR_CORRUPT);

    assert_int_equal(catalogue_applied(f.catalogue), 1);
    assert_non_null(find(&f, "a"));
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(apply__changes__one_revision_each_without_gaps),
        cmocka_unit_test(apply__nothing_to_change__no_revision),
        cmocka_unit_test(apply__one_expectation_fails__nothing_happens),
        cmocka_unit_test(apply__malformed__refused_and_counted_as_applied),
        cmocka_unit_test(apply__larger_than_a_limit__too_large),
        cmocka_unit_test(apply__command_sent_twice__first_answer_again),
        cmocka_unit_test(apply__sent_again_after_a_restart__first_answer_again),
        cmocka_unit_test(apply__sent_again_after_very_many_others__forgotten),
        cmocka_unit_test(open__after_a_kill__state_and_place_are_back),
        cmocka_unit_test(apply__disk_refuses__final_error_nothing_changed),
        cmocka_unit_test(history__recent_revision__its_records),
        cmocka_unit_test(history__many_revisions__the_newest_are_kept),
        cmocka_unit_test(history__large_revisions__bounded_in_bytes),
        cmocka_unit_test(snapshot__installed_elsewhere__same_state_answers_and_place),
        cmocka_unit_test(snapshot__damaged__refused_old_state_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
