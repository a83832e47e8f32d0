#include "proto/base/check.h"
#include "proto/env/env_sim.h"
#include "proto/records/records.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

struct fixture {
    struct sim *sim;
    struct env *env;
    struct records *records;
};

static void fixture_open(struct fixture *f)
{
    struct sim_options options = sim_options_default(1);

    *f = (struct fixture){.sim = sim_new(&options)};
    f->env = sim_process_start(f->sim, 1);
    assert_int_equal(records_open(f->env, "state", &f->records), OK);
}

static void fixture_close(struct fixture *f)
{
    records_free(f->records);
    sim_free(f->sim);
}

static void reopen(struct fixture *f)
{
    sim_crash(f->sim, 1, SIM_CRASH_KILL);
    records_free(f->records);
    f->records = NULL;
    f->env = sim_process_start(f->sim, 1);
    assert_int_equal(records_open(f->env, "state", &f->records), OK);
}

static void put(struct fixture *f, uint64_t revision, const char *key, const char *value)
{
    struct record_change change = {key, slice_text(value), revision, false};

    assert_int_equal(records_write(f->records, revision, &change, 1, NULL, 0), OK);
}

static void delete (struct fixture *f, uint64_t revision, const char *key)
{
    struct record_change change = {key, slice_text(""), revision, true};

    assert_int_equal(records_write(f->records, revision, &change, 1, NULL, 0), OK);
}

static void assert_record(struct fixture *f, const char *key, const char *value, uint64_t revision)
{
    const struct record *record = records_find(f->records, key);

    assert_non_null(record);
    assert_true(slice_equal_text(record->value, value));
    assert_int_equal(record->revision, revision);
}

static void write__some_changes__found_in_order_of_key(void **state)
{
    struct fixture f;
    size_t place;

    (void)state;
    fixture_open(&f);
    put(&f, 1, "table/b", "1");
    put(&f, 2, "table/a", "2");
    put(&f, 3, "topic/x", "3");
    put(&f, 4, "shard/1", "4");
    put(&f, 5, "table/b", "5");
    delete (&f, 6, "shard/1");
    delete (&f, 7, "never/there");

    assert_int_equal(records_revision(f.records), 7);
    assert_int_equal(records_count(f.records), 3);
    assert_int_equal(records_bytes(f.records), 3 * (strlen("table/a") + 1));
    assert_record(&f, "table/b", "5", 5);
    assert_null(records_find(f.records, "shard/1"));
    assert_null(records_find(f.records, "table/"));
    place = records_seek(f.records, "table/");
    assert_string_equal(records_next(f.records, "table/", &place)->key, "table/a");
    assert_string_equal(records_next(f.records, "table/", &place)->key, "table/b");
    assert_null(records_next(f.records, "table/", &place));
    fixture_close(&f);
}

static void find__record_replaced__old_bytes_until_sweep(void **state)
{
    struct fixture f;
    struct slice old;

    (void)state;
    fixture_open(&f);
    put(&f, 1, "k", "old");
    old = records_find(f.records, "k")->value;

    put(&f, 2, "k", "new");

    assert_true(slice_equal_text(old, "old"));
    assert_true(records_needs_sweep(f.records));
    records_sweep(f.records);
    assert_false(records_needs_sweep(f.records));
    assert_record(&f, "k", "new", 2);
    fixture_close(&f);
}

static void open__after_a_kill__everything_there(void **state)
{
    struct fixture f;
    char key[16];

    (void)state;
    fixture_open(&f);
    for (uint64_t i = 0; i < 300; i++) {
        (void)snprintf(key, sizeof(key), "key/%u", (unsigned)(i * 7919 % 300));
        put(&f, i + 1, key, key);
    }
    delete (&f, 301, "key/7");

    reopen(&f);

    assert_int_equal(records_revision(f.records), 301);
    assert_int_equal(records_count(f.records), 299);
    assert_record(&f, "key/8", "key/8", records_find(f.records, "key/8")->revision);
    assert_null(records_find(f.records, "key/7"));
    for (size_t i = 1; i < 299; i++)
        assert_true(strcmp(records_at(f.records, i - 1)->key, records_at(f.records, i)->key) < 0);
    assert_null(records_at(f.records, 299));
    fixture_close(&f);
}

static void write__disk_refuses__nothing_changed(void **state)
{
    struct fixture f;
    struct record_change change = {"k", SLICE_LITERAL("new"), 2, false};

    (void)state;
    fixture_open(&f);
    put(&f, 1, "k", "old");
    sim_disk_fail_call(f.sim, 1, 1);

    assert_int_equal(records_write(f.records, 2, &change, 1, NULL, 0), ERR_IO);

    assert_record(&f, "k", "old", 1);
    assert_int_equal(records_revision(f.records), 1);
    fixture_close(&f);
}

static void key__form__checked(void **state)
{
    char long_key[RECORDS_KEY_BYTES_MAX + 1];

    (void)state;
    memset(long_key, 'k', sizeof(long_key));
    assert_true(records_key_is_valid(SLICE_LITERAL("table/Orders~1")));
    assert_false(records_key_is_valid(SLICE_LITERAL("")));
    assert_false(records_key_is_valid(SLICE_LITERAL("a b")));
    assert_false(records_key_is_valid(SLICE_LITERAL("a\0b")));
    assert_false(records_key_is_valid(SLICE_LITERAL("\xc3\xa4")));
    assert_true(records_key_is_valid(slice_of(long_key, RECORDS_KEY_BYTES_MAX)));
    assert_false(records_key_is_valid(slice_of(long_key, RECORDS_KEY_BYTES_MAX + 1)));
}

/* ---- pins and dumps ---- */

struct seen {
    size_t count;
    uint64_t revisions;
};

static void on_record(void *user, struct slice key, struct slice value, uint64_t revision)
{
    struct seen *seen = user;

    assert_true(slice_equal(key, value));
    seen->count++;
    seen->revisions += revision;
}

static void fill(struct fixture *f, uint64_t count)
{
    char key[16];

    for (uint64_t i = 1; i <= count; i++) {
        (void)snprintf(key, sizeof(key), "key/%03u", (unsigned)i);
        put(f, i, key, key);
    }
}

static void pin__changes_go_on__reads_what_was(void **state)
{
    struct fixture f;
    struct seen seen = {0};
    AUTO(buffer) position = BUFFER_INIT(BUFFER_UNLIMITED);
    struct records_pin *pin;
    bool is_last = false;
    size_t parts = 0;

    (void)state;
    fixture_open(&f);
    fill(&f, 100);
    pin = records_pin(f.records);

    while (!is_last) {
        assert_int_equal(records_pin_read(pin, &position, 100, &seen, on_record, &is_last), OK);
        put(&f, 101 + parts, "key/050", "changed");
        parts++;
    }

    assert_int_equal(seen.count, 100);
    assert_int_equal(seen.revisions, 5050);
    assert_true(parts > 5);
    assert_int_equal(records_pin_revision(pin), 100);
    records_unpin(pin);
    fixture_close(&f);
}

static void pin__empty_store__one_last_part(void **state)
{
    struct fixture f;
    struct seen seen = {0};
    AUTO(buffer) position = BUFFER_INIT(BUFFER_UNLIMITED);
    bool is_last = false;

    (void)state;
    fixture_open(&f);
    struct records_pin *pin = records_pin(f.records);

    assert_int_equal(records_pin_read(pin, &position, 100, &seen, on_record, &is_last), OK);
    assert_true(is_last);
    assert_int_equal(seen.count, 0);
    fixture_close(&f); /* the pin goes with it */
}

static void dump_all(struct records *records, size_t bytes_max, struct buffer *dump)
{
    AUTO(buffer) position = BUFFER_INIT(BUFFER_UNLIMITED);
    struct records_pin *pin = records_pin(records);
    bool is_last = false;

    while (!is_last)
        assert_int_equal(records_pin_dump(pin, &position, bytes_max, dump, &is_last), OK);
    records_unpin(pin);
}

static void install__dump_of_another__same_records_and_owners_keys(void **state)
{
    struct fixture f;
    struct fixture g;
    AUTO(buffer) dump = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) value = BUFFER_INIT(BUFFER_UNLIMITED);
    struct kv_write owner = {SLICE_LITERAL("xa"), SLICE_LITERAL("from f"), false};
    struct kv_write late = {SLICE_LITERAL("xb"), SLICE_LITERAL("extra"), false};
    struct kv_write stale = {SLICE_LITERAL("xc"), SLICE_LITERAL("of g"), false};

    (void)state;
    fixture_open(&f);
    fixture_open(&g);
    fill(&f, 50);
    assert_int_equal(records_write(f.records, 50, NULL, 0, &owner, 1), OK);
    put(&g, 1, "old", "old");
    assert_int_equal(records_write(g.records, 1, NULL, 0, &stale, 1), OK);
    dump_all(f.records, 64, &dump);

    assert_int_equal(records_install(g.records, buffer_slice(&dump), &late, 1), OK);
    reopen(&g);

    assert_int_equal(records_count(g.records), 50);
    assert_int_equal(records_revision(g.records), 50);
    assert_record(&g, "key/017", "key/017", 17);
    assert_int_equal(g.env->kv->get(g.env, records_kv(g.records), NULL, owner.key, &value), OK);
    assert_true(slice_equal(buffer_slice(&value), owner.value));
    assert_int_equal(g.env->kv->get(g.env, records_kv(g.records), NULL, late.key, &value), OK);
    assert_int_equal(g.env->kv->get(g.env, records_kv(g.records), NULL, stale.key, &value),
                     ERR_NOT_FOUND);
    fixture_close(&f);
    fixture_close(&g);
}

static void install__any_cut_of_a_dump__refused_or_shorter_never_a_crash(void **state)
{
    struct fixture f;
    AUTO(buffer) dump = BUFFER_INIT(BUFFER_UNLIMITED);

    (void)state;
    fixture_open(&f);
    fill(&f, 5);
    dump_all(f.records, 1u << 20, &dump);

    for (size_t size = 0; size < dump.size; size++) {
        enum error rc = records_install(f.records, slice_of(dump.data, size), NULL, 0);

        assert_true(rc == OK || rc == ERR_CORRUPT);
    }
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(write__some_changes__found_in_order_of_key),
        cmocka_unit_test(find__record_replaced__old_bytes_until_sweep),
        cmocka_unit_test(open__after_a_kill__everything_there),
        cmocka_unit_test(write__disk_refuses__nothing_changed),
        cmocka_unit_test(key__form__checked),
        cmocka_unit_test(pin__changes_go_on__reads_what_was),
        cmocka_unit_test(pin__empty_store__one_last_part),
        cmocka_unit_test(install__dump_of_another__same_records_and_owners_keys),
        cmocka_unit_test(install__any_cut_of_a_dump__refused_or_shorter_never_a_crash),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
