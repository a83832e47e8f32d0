/* The simulated disk: what survives which crash, and the faults it can be told to have. */

#include "proto/base/check.h"
#include "proto/env/env_sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define SECOND 1000000u

struct fixture {
    struct sim *sim;
    struct env *env;
    struct env_file *file;
    struct env_disk_op op;
    int called;
    enum error rc;
};

static void on_done(struct env_disk_op *op, enum error rc)
{
    struct fixture *f = container_of(op, struct fixture, op);

    f->called++;
    f->rc = rc;
}

static void fixture_open(struct fixture *f, uint64_t seed)
{
    struct sim_options options = sim_options_default(seed);

    *f = (struct fixture){.sim = sim_new(&options)};
    f->env = sim_process_start(f->sim, 1);
    assert_int_equal(f->env->disk->make_folder(f->env, "log/old"), OK);
    assert_int_equal(f->env->disk->open(f->env, "log/1", true, &f->file), OK);
}

static void fixture_close(struct fixture *f)
{
    sim_free(f->sim);
}

static void restart(struct fixture *f, unsigned how)
{
    sim_crash(f->sim, 1, how);
    f->env->disk->close(f->env, f->file); /* as an x_free would */
    f->env = sim_process_start(f->sim, 1);
    assert_int_equal(f->env->disk->open(f->env, "log/1", false, &f->file), OK);
}

static void settle(struct fixture *f)
{
    sim_run_until(f->sim, sim_now_us(f->sim) + SECOND);
}

static size_t count_byte(struct fixture *f, uint8_t byte)
{
    struct slice bytes = {0};
    size_t count = 0;

    assert_int_equal(sim_disk_content(f->sim, 1, "log/1", &bytes), OK);
    for (size_t i = 0; i < bytes.size; i++)
        count += bytes.data[i] == byte;
    return count;
}

static void put(struct fixture *f, uint64_t offset, uint8_t byte, size_t size)
{
    uint8_t bytes[8192];

    memset(bytes, byte, size);
    assert_int_equal(f->env->disk->write(f->env, f->file, offset, slice_of(bytes, size)), OK);
}

static void sync_file(struct fixture *f)
{
    f->called = 0;
    f->env->disk->write_sync(f->env, &f->op, f->file, 0, slice_of(NULL, 0), on_done);
    assert_int_equal(f->called, 0);
    settle(f);
    assert_int_equal(f->called, 1);
    assert_int_equal(f->rc, OK);
}

static void write__synced__survives_everything(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, 1);
    put(&f, 0, 'a', 5000);
    sync_file(&f);
    restart(&f, SIM_CRASH_LOSE);
    assert_int_equal(count_byte(&f, 'a'), 5000);
    restart(&f, SIM_CRASH_TEAR);
    assert_int_equal(count_byte(&f, 'a'), 5000);
    fixture_close(&f);
}

static void write__not_synced__lost_with_power_kept_on_kill(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, 1);
    put(&f, 0, 'a', 1000);
    sync_file(&f);
    put(&f, 500, 'b', 1000);
    restart(&f, SIM_CRASH_KILL);
    assert_int_equal(count_byte(&f, 'b'), 1000);
    restart(&f, SIM_CRASH_LOSE); /* nobody has synced it since */
    assert_int_equal(count_byte(&f, 'a'), 1000);
    assert_int_equal(count_byte(&f, 'b'), 0);
    fixture_close(&f);
}

static void write__torn__only_whole_sectors_and_every_outcome_occurs(void **state)
{
    bool is_seen[3] = {false}; /* none, some, all */

    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct fixture f;
        struct slice bytes = {0};
        size_t count;

        fixture_open(&f, seed);
        put(&f, 0, 'a', 4096);
        sync_file(&f);
        put(&f, 0, 'b', 4096);
        restart(&f, SIM_CRASH_TEAR);
        count = count_byte(&f, 'b');
        assert_int_equal(count % 512, 0);
        assert_int_equal(count_byte(&f, 'a'), 4096 - count);
        assert_int_equal(sim_disk_content(f.sim, 1, "log/1", &bytes), OK);
        for (size_t i = 0; i < 4096; i++)
            assert_int_equal(bytes.data[i], bytes.data[i / 512 * 512]);
        is_seen[count == 0 ? 0 : count < 4096 ? 1 : 2] = true;
        fixture_close(&f);
    }
    assert_true(is_seen[0] && is_seen[1] && is_seen[2]);
}

static void write__newer_one_survives__older_one_in_its_sector_too(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct fixture f;
        struct slice bytes = {0};

        fixture_open(&f, seed);
        put(&f, 0, 'a', 512);
        sync_file(&f);
        put(&f, 0, 'b', 256);
        put(&f, 256, 'c', 256);
        restart(&f, SIM_CRASH_TEAR);
        assert_int_equal(sim_disk_content(f.sim, 1, "log/1", &bytes), OK);
        if (bytes.data[256] == 'c')
            assert_int_equal(bytes.data[0], 'b');
        fixture_close(&f);
    }
}

static void write__past_the_end_lost__file_is_short_again(void **state)
{
    struct fixture f;
    uint64_t bytes = 0;

    (void)state;
    fixture_open(&f, 1);
    put(&f, 0, 'a', 100);
    sync_file(&f);
    put(&f, 100, 'b', 5000);
    restart(&f, SIM_CRASH_LOSE);
    assert_int_equal(f.env->disk->size(f.env, f.file, &bytes), OK);
    assert_int_equal(bytes, 100);
    fixture_close(&f);
}

static void write_sync__in_flight_at_power_loss__may_or_may_not_have_happened(void **state)
{
    size_t kept = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct fixture f;

        fixture_open(&f, seed);
        f.env->disk->write_sync(f.env, &f.op, f.file, 0, SLICE_LITERAL("hello"), on_done);
        restart(&f, seed % 2 == 0 ? SIM_CRASH_TEAR : SIM_CRASH_KILL);
        settle(&f);
        assert_int_equal(f.called, 0);
        kept += count_byte(&f, 'l') == 2;
        fixture_close(&f);
    }
    assert_in_range(kept, 10, 50);
}

struct ordered {
    struct env_disk_op op;
    int *next;
    int number;
};

static void on_ordered(struct env_disk_op *op, enum error rc)
{
    struct ordered *it = container_of(op, struct ordered, op);

    assert_int_equal(rc, OK);
    assert_int_equal((*it->next)++, it->number);
}

static void write_sync__several__end_in_order(void **state)
{
    struct fixture f;
    struct ordered ops[20] = {0};
    int next = 0;

    (void)state;
    fixture_open(&f, 3);
    for (int i = 0; i < 20; i++) {
        ops[i].next = &next;
        ops[i].number = i;
        f.env->disk->write_sync(f.env, &ops[i].op, f.file, (uint64_t)i, SLICE_LITERAL("x"),
                                on_ordered);
    }
    settle(&f);
    assert_int_equal(next, 20);
    fixture_close(&f);
}

static void replace__crash_at_any_time__old_or_new(void **state)
{
    bool is_seen[2] = {false};

    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct fixture f;
        struct slice bytes = {0};

        fixture_open(&f, seed);
        f.env->disk->replace(f.env, &f.op, "log/1", SLICE_LITERAL("old"), on_done);
        settle(&f);
        assert_int_equal(f.called, 1);
        f.env->disk->replace(f.env, &f.op, "log/1", SLICE_LITERAL("newer"), on_done);
        restart(&f, SIM_CRASH_TEAR);
        assert_int_equal(sim_disk_content(f.sim, 1, "log/1", &bytes), OK);
        if (slice_equal_text(bytes, "old"))
            is_seen[0] = true;
        else if (slice_equal_text(bytes, "newer"))
            is_seen[1] = true;
        else
            fail();
        fixture_close(&f);
    }
    assert_true(is_seen[0] && is_seen[1]);
}

static void file__removed__may_come_back_until_the_folder_is_synced(void **state)
{
    struct fixture f;
    struct slice bytes;

    (void)state;
    fixture_open(&f, 1);
    f.env->disk->replace(f.env, &f.op, "log/2", SLICE_LITERAL("two"), on_done);
    settle(&f);
    assert_int_equal(f.env->disk->remove(f.env, "log/2"), OK);
    assert_int_equal(sim_disk_content(f.sim, 1, "log/2", &bytes), ERR_NOT_FOUND);
    restart(&f, SIM_CRASH_LOSE);
    assert_int_equal(sim_disk_content(f.sim, 1, "log/2", &bytes), OK);

    assert_int_equal(f.env->disk->remove(f.env, "log/2"), OK);
    f.env->disk->replace(f.env, &f.op, "log/3", SLICE_LITERAL("three"), on_done);
    settle(&f);
    restart(&f, SIM_CRASH_LOSE);
    assert_int_equal(sim_disk_content(f.sim, 1, "log/2", &bytes), ERR_NOT_FOUND);
    fixture_close(&f);
}

static void add_name(void *user, const char *name)
{
    struct buffer *names = user;

    buffer_put_text(names, name);
    buffer_put_u8(names, ' ');
}

static void folder__renamed__everything_in_it_moves(void **state)
{
    struct fixture f;
    struct buffer names = BUFFER_INIT(1000);
    struct buffer bytes = BUFFER_INIT(2);

    (void)state;
    fixture_open(&f, 1);
    put(&f, 0, 'a', 3);
    assert_int_equal(f.env->disk->rename(f.env, "log", "journal"), OK);
    assert_int_equal(f.env->disk->list(f.env, "log", &names, add_name), ERR_NOT_FOUND);
    assert_int_equal(f.env->disk->list(f.env, "journal/", &names, add_name), OK);
    assert_string_equal(buffer_text(&names), "1 old ");
    assert_int_equal(f.env->disk->load(f.env, "journal/1", &bytes), ERR_TOO_LARGE);
    assert_int_equal(f.env->disk->rename(f.env, "journal/1", "nowhere/1"), ERR_NOT_FOUND);
    assert_int_equal(f.env->disk->remove(f.env, "journal"), OK);
    assert_int_equal(f.env->disk->list(f.env, "journal/old", &names, add_name), ERR_NOT_FOUND);
    assert_int_equal(f.env->disk->load(f.env, "journal/1", &bytes), ERR_NOT_FOUND);
    buffer_close(&names);
    buffer_close(&bytes);
    fixture_close(&f);
}

static void read__beyond_the_end__gives_what_is_there(void **state)
{
    struct fixture f;
    struct buffer bytes = BUFFER_INIT(1000);

    (void)state;
    fixture_open(&f, 1);
    put(&f, 0, 'a', 10);
    assert_int_equal(f.env->disk->read(f.env, f.file, 8, 10, &bytes), OK);
    assert_int_equal(bytes.size, 2);
    assert_int_equal(f.env->disk->read(f.env, f.file, 80, 10, &bytes), OK);
    assert_int_equal(bytes.size, 2);
    assert_int_equal(f.env->disk->resize(f.env, f.file, 100), OK);
    buffer_clear(&bytes);
    assert_int_equal(f.env->disk->read(f.env, f.file, 0, 1000, &bytes), OK);
    assert_int_equal(bytes.size, 100);
    assert_int_equal(bytes.data[99], 0);
    buffer_close(&bytes);
    fixture_close(&f);
}

static void fault__nth_call__fails_once(void **state)
{
    struct fixture f;
    uint64_t bytes;

    (void)state;
    fixture_open(&f, 1);
    sim_disk_fail_call(f.sim, 1, 2);
    assert_int_equal(f.env->disk->size(f.env, f.file, &bytes), OK);
    assert_false(sim_disk_fault_met(f.sim, 1));
    f.env->disk->write_sync(f.env, &f.op, f.file, 0, SLICE_LITERAL("x"), on_done);
    assert_true(sim_disk_fault_met(f.sim, 1));
    settle(&f);
    assert_int_equal(f.called, 1);
    assert_int_equal(f.rc, ERR_IO);
    assert_int_equal(f.env->disk->size(f.env, f.file, &bytes), OK);
    fixture_close(&f);
}

static void fault__disk_full__until_there_is_room(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, 1);
    sim_disk_space(f.sim, 1, 1000);
    put(&f, 0, 'a', 900);
    assert_int_equal(f.env->disk->write(f.env, f.file, 900, slice_of("01234567890123456789", 20)),
                     OK);
    assert_int_equal(f.env->disk->resize(f.env, f.file, 5000), ERR_IO);
    sim_disk_space(f.sim, 1, UINT64_MAX);
    assert_int_equal(f.env->disk->resize(f.env, f.file, 5000), OK);
    fixture_close(&f);
}

static void fault__flip_truncate_bad_sector__are_seen_by_readers(void **state)
{
    struct fixture f;
    struct buffer bytes = BUFFER_INIT(10000);

    (void)state;
    fixture_open(&f, 1);
    put(&f, 0, 0, 3000);
    assert_int_equal(sim_disk_flip(f.sim, 1, "log/1", 7), OK);
    assert_int_equal(count_byte(&f, 0), 2999);
    assert_int_equal(sim_disk_flip(f.sim, 1, "log/1", 3000), ERR_INVALID);
    assert_int_equal(sim_disk_flip(f.sim, 1, "log/9", 0), ERR_NOT_FOUND);

    assert_int_equal(sim_disk_bad_sector(f.sim, 1, "log/1", 600), OK);
    assert_int_equal(f.env->disk->read(f.env, f.file, 0, 512, &bytes), OK);
    assert_int_equal(f.env->disk->read(f.env, f.file, 1023, 1, &bytes), ERR_IO);
    put(&f, 512, 0, 512);
    assert_int_equal(f.env->disk->read(f.env, f.file, 0, 3000, &bytes), OK);

    assert_int_equal(sim_disk_truncate(f.sim, 1, "log/1", 10), OK);
    assert_int_equal(count_byte(&f, 0), 9);
    buffer_close(&bytes);
    fixture_close(&f);
}

static void disk__wiped__is_empty(void **state)
{
    struct fixture f;
    struct env_file *file;

    (void)state;
    fixture_open(&f, 1);
    sim_crash(f.sim, 1, SIM_CRASH_KILL);
    sim_disk_wipe(f.sim, 1);
    f.env = sim_process_start(f.sim, 1);
    assert_int_equal(f.env->disk->open(f.env, "log/1", false, &file), ERR_NOT_FOUND);
    assert_int_equal(f.env->disk->open(f.env, "log/1", true, &file), ERR_NOT_FOUND);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(write__synced__survives_everything),
        cmocka_unit_test(write__not_synced__lost_with_power_kept_on_kill),
        cmocka_unit_test(write__torn__only_whole_sectors_and_every_outcome_occurs),
        cmocka_unit_test(write__newer_one_survives__older_one_in_its_sector_too),
        cmocka_unit_test(write__past_the_end_lost__file_is_short_again),
        cmocka_unit_test(write_sync__in_flight_at_power_loss__may_or_may_not_have_happened),
        cmocka_unit_test(write_sync__several__end_in_order),
        cmocka_unit_test(replace__crash_at_any_time__old_or_new),
        cmocka_unit_test(file__removed__may_come_back_until_the_folder_is_synced),
        cmocka_unit_test(folder__renamed__everything_in_it_moves),
        cmocka_unit_test(read__beyond_the_end__gives_what_is_there),
        cmocka_unit_test(fault__nth_call__fails_once),
        cmocka_unit_test(fault__disk_full__until_there_is_room),
        cmocka_unit_test(fault__flip_truncate_bad_sector__are_seen_by_readers),
        cmocka_unit_test(disk__wiped__is_empty),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
