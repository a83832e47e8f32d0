/* The write-ahead log on the simulated disk: what an opening finds after which accident. */

#include "proto/base/check.h"
#include "proto/env/env_sim.h"
#include "proto/store/journal.h"
#include "proto/store/journal_format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define SECOND 1000000u
#define GROUPS 4
#define ENTRIES_MAX 4096
#define FOLDER "journal"

struct entry {
    uint64_t term;
    uint64_t size;
    uint8_t fill;
};

struct log { /* of one group, as the visitor was told */
    uint64_t first;
    uint64_t last;
    bool has_gap;
    struct entry entries[ENTRIES_MAX]; /* by index */
};

struct fixture {
    struct sim *sim;
    struct env *env;
    struct journal_options options;
    struct journal *journal;
    struct log *logs; /* of GROUPS groups, ids from 1 */
    int fatals;
    int laggards[GROUPS + 1];
    int done; /* callbacks */
};

struct op {
    struct journal_op base;
    struct fixture *f;
    int order; /* of its callback, from 1; 0 = not yet */
};

/* ---- visitor ---- */

static struct log *log_of(struct fixture *f, uint64_t group)
{
    assert_in_range(group, 1, GROUPS);
    return &f->logs[group - 1];
}

static void on_entry(void *user, uint64_t group, uint64_t index, const struct journal_entry *entry,
                     bool again)
{
    struct log *log = log_of(user, group);

    assert_in_range(index, 1, ENTRIES_MAX - 1);
    if (log->last < log->first)
        log->first = index;
    else if (index > log->last + 1)
        log->has_gap = true;
    if (!again || index > log->last)
        log->last = index;
    log->entries[index] = (struct entry){
        .term = entry->term,
        .size = entry->data.size,
        .fill = entry->data.size > 0 ? entry->data.data[0] : 0,
    };
    for (size_t i = 0; i < entry->data.size; i++)
        assert_int_equal(entry->data.data[i], log->entries[index].fill);
}

static void on_truncate(void *user, uint64_t group, uint64_t index)
{
    struct log *log = log_of(user, group);

    if (index <= log->first)
        *log = (struct log){.first = 1};
    else if (index <= log->last)
        log->last = index - 1;
}

static void on_release(void *user, uint64_t group, uint64_t first)
{
    struct log *log = log_of(user, group);

    if (first > log->last)
        *log = (struct log){.first = 1};
    else if (first > log->first)
        log->first = first;
}

/* ---- fixture ---- */

static void on_fatal(void *user, enum error rc, const char *why)
{
    struct fixture *f = user;

    assert_int_equal(rc, ERR_IO);
    assert_non_null(why);
    f->fatals++;
}

static void on_laggard(void *user, uint64_t group)
{
    struct fixture *f = user;

    f->laggards[group]++;
}

static void open_again(struct fixture *f)
{
    const struct journal_visitor visitor = {f, on_entry, on_truncate, on_release};

    for (size_t i = 0; i < GROUPS; i++)
        f->logs[i] = (struct log){.first = 1};
    f->options.user = f;
    assert_int_equal(journal_open(f->env, &f->options, &visitor, &f->journal), OK);
}

static void fixture_open(struct fixture *f, uint64_t seed, uint64_t segment_bytes)
{
    struct sim_options options = sim_options_default(seed);

    *f = (struct fixture){
        .sim = sim_new(&options),
        .logs = check_calloc(GROUPS, sizeof(struct log)),
        .options = {.folder = FOLDER,
                    .segment_bytes = segment_bytes,
                    .segments_soft = 4,
                    .on_fatal = on_fatal,
                    .on_laggard = on_laggard},
    };
    f->env = sim_process_start(f->sim, 1);
    open_again(f);
}

static void crash(struct fixture *f, unsigned how)
{
    sim_crash(f->sim, 1, how);
    journal_free(f->journal);
    f->journal = NULL;
}

static void restart(struct fixture *f)
{
    f->env = sim_process_start(f->sim, 1);
    open_again(f);
}

static void fixture_close(struct fixture *f)
{
    if (f->journal != NULL)
        crash(f, SIM_CRASH_KILL);
    sim_free(f->sim);
    free(f->logs);
}

static void settle(struct fixture *f)
{
    sim_run_until(f->sim, sim_now_us(f->sim) + SECOND / 10);
}

static void prove(struct fixture *f)
{
    sim_run_until(f->sim, sim_now_us(f->sim) + 2 * SECOND);
}

static void on_done(struct journal_op *base)
{
    struct op *op = container_of(base, struct op, base);

    op->order = ++op->f->done;
}

static struct op *op_init(struct fixture *f, struct op *op)
{
    *op = (struct op){.f = f, .base.cb = on_done};
    return op;
}

static void append(struct fixture *f, struct op *op, uint64_t group, uint64_t index, uint64_t term,
                   size_t size)
{
    uint8_t *bytes = check_malloc(size + 1);
    struct journal_entry entry = {term, 1, slice_of(bytes, size)};

    memset(bytes, (int)(uint8_t)(index * 7 + group), size);
    journal_append(f->journal, op != NULL ? &op_init(f, op)->base : NULL, group, index, &entry, 1);
    free(bytes);
}

static struct journal_state state_of(struct fixture *f, uint64_t group)
{
    struct journal_state state = {0};

    assert_true(journal_find(f->journal, group, &state));
    return state;
}

static void assert_log(struct fixture *f, uint64_t group, uint64_t first, uint64_t last)
{
    struct log *log = log_of(f, group);

    assert_int_equal(log->first, first);
    assert_int_equal(log->last, last);
    assert_false(log->has_gap);
    for (uint64_t i = first; i <= last; i++)
        if (log->entries[i].size > 0)
            assert_int_equal(log->entries[i].fill, (uint8_t)(i * 7 + group));
}

static uint64_t damaged_count(struct fixture *f)
{
    uint64_t count = 0;

    for (uint64_t group = 1; group <= GROUPS; group++) {
        struct journal_state state;

        count += journal_find(f->journal, group, &state) && state.is_damaged;
    }
    return count;
}

/* ---- the normal course ---- */

static void journal__empty__finds_nothing(void **unused)
{
    struct fixture f;
    struct journal_state state;

    (void)unused;
    fixture_open(&f, 1, 65536);

    assert_false(journal_find(f.journal, 1, &state));

    crash(&f, SIM_CRASH_LOSE);
    restart(&f);
    assert_false(journal_find(f.journal, 1, &state));
    assert_false(journal_is_damaged(f.journal));
    fixture_close(&f);
}

static void journal__one_turn__one_sync_and_callbacks_in_order(void **unused)
{
    struct fixture f;
    struct journal_stats stats;
    struct op ops[6];

    (void)unused;
    fixture_open(&f, 2, 65536);

    for (uint64_t i = 0; i < 6; i++)
        append(&f, &ops[i], 1 + i % 3, 1 + i / 3, 5, 100);
    assert_int_equal(f.done, 0);
    settle(&f);

    for (int i = 0; i < 6; i++)
        assert_int_equal(ops[i].order, i + 1);
    journal_stats(f.journal, &stats);
    assert_int_equal(stats.syncs, 1);
    assert_int_equal(stats.records, 6);
    fixture_close(&f);
}

static void journal__power_loss__everything_confirmed_is_there(void **unused)
{
    struct fixture f;
    struct op op;
    struct journal_state state;

    (void)unused;
    fixture_open(&f, 3, 65536);

    journal_set_state(f.journal, NULL, 1, 7, 3, 1);
    for (uint64_t i = 1; i <= 20; i++)
        append(&f, NULL, 1, i, 7, i * 13);
    journal_truncate(f.journal, 1, 15);
    append(&f, NULL, 1, 15, 8, 0);
    journal_mark(f.journal, NULL, 1, 12, 7, 9, SLICE_LITERAL("manifest"));
    append(&f, &op, 2, 1, 1, 50);
    settle(&f);
    assert_int_equal(op.order, 1);
    crash(&f, SIM_CRASH_LOSE);
    restart(&f);

    state = state_of(&f, 1);
    assert_int_equal(state.term, 7);
    assert_int_equal(state.vote, 3);
    assert_int_equal(state.flags, 1);
    assert_int_equal(state.mark_index, 12);
    assert_int_equal(state.mark_term, 7);
    assert_true(slice_equal_text(state.mark_data, "manifest"));
    assert_int_equal(state.first, 9);
    assert_int_equal(state.last, 15);
    assert_int_equal(log_of(&f, 1)->first, 9);
    assert_int_equal(log_of(&f, 1)->last, 15);
    assert_int_equal(log_of(&f, 1)->entries[15].term, 8);
    assert_int_equal(log_of(&f, 1)->entries[15].size, 0);
    assert_log(&f, 2, 1, 1);
    assert_int_equal(damaged_count(&f), 0);
    fixture_close(&f);
}

static void journal__not_confirmed__may_be_lost_but_nothing_is_damaged(void **unused)
{
    (void)unused;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct fixture f;
        struct op ops[40];

        fixture_open(&f, seed, 8192);
        for (uint64_t i = 1; i <= 40; i++) {
            append(&f, &ops[i - 1], 1, i, 3, 300);
            sim_run_until(f.sim, sim_now_us(f.sim) + rng_below(sim_rng(f.sim), 300));
        }
        uint64_t confirmed = (uint64_t)f.done;

        crash(&f, seed % 3 == 0 ? SIM_CRASH_KILL : seed % 3 == 1 ? SIM_CRASH_LOSE : SIM_CRASH_TEAR);
        restart(&f);

        assert_in_range(log_of(&f, 1)->last, confirmed, 40);
        assert_log(&f, 1, 1, log_of(&f, 1)->last);
        assert_int_equal(damaged_count(&f), 0);
        assert_false(journal_is_damaged(f.journal));
        fixture_close(&f);
    }
}

static void journal__cancelled_op__no_callback(void **unused)
{
    struct fixture f;
    struct op op;

    (void)unused;
    fixture_open(&f, 4, 65536);

    append(&f, &op, 1, 1, 1, 10);
    journal_cancel(&op.base);
    journal_cancel(&op.base);
    settle(&f);

    assert_int_equal(f.done, 0);
    crash(&f, SIM_CRASH_LOSE);
    restart(&f);
    assert_log(&f, 1, 1, 1);
    fixture_close(&f);
}

/* ---- segments ---- */

static void journal__released_segments__are_used_again(void **unused)
{
    struct fixture f;
    struct journal_stats stats;

    (void)unused;
    fixture_open(&f, 5, 4096);

    for (uint64_t i = 1; i <= 400; i++) {
        append(&f, NULL, 1, i, 2, 200);
        if (i % 10 == 0)
            journal_mark(f.journal, NULL, 1, i, 2, i - 4, slice_of(NULL, 0));
        settle(&f);
    }
    journal_stats(f.journal, &stats);
    assert_in_range(stats.segments, 1, 3);
    crash(&f, SIM_CRASH_LOSE);
    restart(&f);

    assert_log(&f, 1, 396, 400);
    assert_int_equal(state_of(&f, 1).mark_index, 400);
    assert_int_equal(damaged_count(&f), 0);
    fixture_close(&f);
}

static void journal__crashes_while_segments_are_used_again__nothing_stale_comes_back(void **unused)
{
    (void)unused;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct fixture f;
        uint64_t last[GROUPS + 1] = {0};
        uint64_t term = 1;

        fixture_open(&f, seed, 4096);
        for (int life = 0; life < 6; life++) {
            struct rng *rng = sim_rng(f.sim);
            int steps = 20 + (int)rng_below(rng, 100);
            struct op ops[120];
            uint64_t group_of[120];
            uint64_t confirmed[GROUPS + 1];

            memcpy(confirmed, last, sizeof(confirmed));
            term++;
            for (int i = 0; i < steps; i++) {
                uint64_t group = 1 + rng_below(rng, GROUPS);

                group_of[i] = group;
                append(&f, &ops[i], group, ++last[group], term, rng_below(rng, 500));
                if (last[group] % 5 == 0)
                    journal_mark(f.journal, NULL, group, last[group], term, last[group] - 2,
                                 slice_of(NULL, 0));
                if (rng_below(rng, 3) == 0)
                    sim_run_until(f.sim, sim_now_us(f.sim) + rng_below(rng, 2000));
            }
            for (int i = 0; i < steps; i++)
                if (ops[i].order > 0)
                    confirmed[group_of[i]]++;
            crash(&f, (unsigned)rng_below(rng, 3));
            restart(&f);
            assert_int_equal(damaged_count(&f), 0);
            assert_false(journal_is_damaged(f.journal));
            for (uint64_t group = 1; group <= GROUPS; group++) {
                struct log *log = log_of(&f, group);
                struct journal_state state;

                if (!journal_find(f.journal, group, &state)) {
                    assert_int_equal(confirmed[group], 0);
                    last[group] = 0;
                    continue;
                }
                assert_in_range(state.last, confirmed[group], last[group]);
                if (state.last >= state.first)
                    assert_log(&f, group, state.first, state.last);
                else
                    assert_true(log->last < log->first);
                last[group] = state.last;
            }
        }
        fixture_close(&f);
    }
}

static void journal__group_that_releases_nothing__is_named_as_laggard(void **unused)
{
    struct fixture f;
    struct journal_stats stats;

    (void)unused;
    fixture_open(&f, 6, 8192);

    append(&f, NULL, 2, 1, 1, 10);
    append(&f, NULL, 2, 2, 1, 10);
    for (uint64_t i = 1; i <= 150; i++) {
        append(&f, NULL, 1, i, 2, 200);
        journal_mark(f.journal, NULL, 1, i, 2, i + 1, slice_of(NULL, 0));
        settle(&f);
    }
    assert_int_equal(f.laggards[1], 0);
    assert_in_range(f.laggards[2], 1, 20);

    struct journal_entry entry = {1, 1, {0}};
    uint8_t bytes[10];

    journal_append_again_begin(f.journal, 2);
    for (uint64_t i = 1; i <= 2; i++) {
        memset(bytes, (int)(i * 7 + 2), sizeof(bytes));
        entry.data = slice_of(bytes, sizeof(bytes));
        journal_append_again(f.journal, 2, i, &entry);
    }
    for (uint64_t i = 151; i <= 200; i++) {
        append(&f, NULL, 1, i, 2, 200);
        journal_mark(f.journal, NULL, 1, i, 2, i + 1, slice_of(NULL, 0));
        settle(&f);
    }
    journal_stats(f.journal, &stats);
    assert_in_range(stats.segments, 1, 6);
    crash(&f, SIM_CRASH_LOSE);
    restart(&f);

    assert_log(&f, 2, 1, 2);
    assert_int_equal(damaged_count(&f), 0);
    fixture_close(&f);
}

static void journal__entry_larger_than_a_segment__has_one_of_its_own(void **unused)
{
    struct fixture f;

    (void)unused;
    fixture_open(&f, 7, 4096);

    for (uint64_t i = 1; i <= 30; i++) {
        append(&f, NULL, 1, i, 2, i % 10 == 0 ? 30000 : 100);
        if (i % 4 == 0)
            settle(&f);
    }
    settle(&f);
    crash(&f, SIM_CRASH_LOSE);
    restart(&f);

    assert_log(&f, 1, 1, 30);
    assert_int_equal(log_of(&f, 1)->entries[20].size, 30000);
    assert_int_equal(damaged_count(&f), 0);
    fixture_close(&f);
}

static void journal__largest_entry__fits(void **unused)
{
    struct fixture f;

    (void)unused;
    fixture_open(&f, 8, 16u << 20);

    append(&f, NULL, 1, 1, 2, JOURNAL_ENTRY_BYTES_MAX);
    append(&f, NULL, 1, 2, 2, JOURNAL_ENTRY_BYTES_MAX);
    append(&f, NULL, 1, 3, 2, 5);
    settle(&f);
    crash(&f, SIM_CRASH_LOSE);
    restart(&f);

    assert_log(&f, 1, 1, 3);
    fixture_close(&f);
}

/* ---- marks, forgetting ---- */

static void journal__mark_reset__replaces_the_log(void **unused)
{
    struct fixture f;
    struct journal_state state;

    (void)unused;
    fixture_open(&f, 9, 65536);

    for (uint64_t i = 1; i <= 9; i++)
        append(&f, NULL, 1, i, 2, 20);
    journal_mark_reset(f.journal, NULL, 1, 100, 6, SLICE_LITERAL("x"));
    append(&f, NULL, 1, 101, 6, 20);
    settle(&f);
    crash(&f, SIM_CRASH_LOSE);
    restart(&f);

    state = state_of(&f, 1);
    assert_int_equal(state.mark_index, 100);
    assert_int_equal(state.first, 101);
    assert_log(&f, 1, 101, 101);
    fixture_close(&f);
}

static void journal__forgotten_group__starts_from_nothing(void **unused)
{
    struct fixture f;
    struct journal_state state;

    (void)unused;
    fixture_open(&f, 10, 4096);

    journal_set_state(f.journal, NULL, 1, 9, 2, 0);
    append(&f, NULL, 1, 1, 9, 20);
    append(&f, NULL, 2, 1, 9, 20);
    journal_forget(f.journal, 1);
    settle(&f);
    assert_false(journal_find(f.journal, 1, &state));
    crash(&f, SIM_CRASH_LOSE);
    restart(&f);
    assert_false(journal_find(f.journal, 1, &state));
    append(&f, NULL, 1, 1, 1, 20);
    for (uint64_t i = 2; i < 60; i++) { /* over several segments */
        append(&f, NULL, 2, i, 9, 200);
        settle(&f);
    }
    crash(&f, SIM_CRASH_LOSE);
    restart(&f);

    assert_int_equal(state_of(&f, 1).term, 0);
    assert_log(&f, 1, 1, 1);
    assert_int_equal(damaged_count(&f), 0);
    fixture_close(&f);
}

/* ---- torn tails and damage ---- */

static char *only_file(struct fixture *f, char path[64])
{
    (void)f;
    snprintf(path, 64, "%s/%08x.log", FOLDER, 0);
    return path;
}

/* Where batch `number` begins in the first segment. */
static struct journal_batch batch_at(struct fixture *f, uint64_t number)
{
    char path[64];
    struct slice content = {0};
    struct journal_batch batch;
    uint64_t at = 0;

    assert_int_equal(sim_disk_content(f->sim, 1, only_file(f, path), &content), OK);
    while (journal_batch_find(content, at, &batch)) {
        if (batch.record.number == number)
            return batch;
        at = journal_batch_end(&batch);
    }
    fail_msg("no batch %u", (unsigned)number);
    abort();
}

static void journal__last_batch_cut_at_any_byte__torn_tail_and_life_goes_on(void **unused)
{
    (void)unused;
    for (uint64_t cut = 0;; cut += 7) {
        struct fixture f;
        struct journal_batch batch;
        char path[64];

        fixture_open(&f, 11, 16384);
        append(&f, NULL, 1, 1, 2, 40);
        settle(&f);
        append(&f, NULL, 2, 1, 2, 100);
        append(&f, NULL, 1, 2, 2, 70);
        settle(&f);
        batch = batch_at(&f, 2);
        crash(&f, SIM_CRASH_KILL);
        if (cut >= journal_batch_end(&batch) - batch.record.index) {
            fixture_close(&f);
            break;
        }
        assert_int_equal(sim_disk_truncate(f.sim, 1, only_file(&f, path), batch.record.index + cut),
                         OK);
        restart(&f);

        assert_log(&f, 1, 1, 1);
        assert_true(log_of(&f, 2)->last < log_of(&f, 2)->first);
        assert_int_equal(damaged_count(&f), 0);
        assert_false(journal_is_damaged(f.journal));

        append(&f, NULL, 1, 2, 3, 10);
        settle(&f);
        crash(&f, SIM_CRASH_LOSE);
        restart(&f);
        assert_log(&f, 1, 1, 2);
        assert_int_equal(log_of(&f, 1)->entries[2].term, 3);
        fixture_close(&f);
    }
}

/* It was confirmed, and no torn write looks like that. */
static void journal__last_batch_flipped_at_any_byte__damage(void **unused)
{
    (void)unused;
    for (uint64_t at = 0;; at += 3) {
        struct fixture f;
        struct journal_batch batch;
        char path[64];

        fixture_open(&f, 12, 16384);
        append(&f, NULL, 1, 1, 2, 40);
        settle(&f);
        append(&f, NULL, 1, 2, 2, 700); /* two blocks */
        settle(&f);
        batch = batch_at(&f, 2);
        crash(&f, SIM_CRASH_KILL);
        if (at >= journal_batch_end(&batch) - batch.record.index) {
            fixture_close(&f);
            break;
        }
        assert_int_equal(sim_disk_flip(f.sim, 1, only_file(&f, path), batch.record.index + at), OK);
        restart(&f);

        if (log_of(&f, 1)->last == 2) { /* padding: nothing is missing */
            fixture_close(&f);
            continue;
        }
        assert_true(state_of(&f, 1).is_damaged);
        crash(&f, SIM_CRASH_KILL);
        restart(&f); /* and is seen again */
        assert_true(state_of(&f, 1).is_damaged);
        journal_forget(f.journal, 1);
        journal_set_state(f.journal, NULL, 1, 2, 0, 1);
        settle(&f);
        crash(&f, SIM_CRASH_LOSE);
        restart(&f);
        assert_false(state_of(&f, 1).is_damaged);
        assert_int_equal(state_of(&f, 1).term, 2);
        fixture_close(&f);
    }
}

/* Any flipped byte below the newest batch: either nothing is missing, or the groups that miss
 * something say so. */
static void journal__proven_batch_flipped_at_any_byte__missing_records_are_reported(void **unused)
{
    unsigned reported = 0;

    (void)unused;
    for (uint64_t at = 0;; at += 3) {
        struct fixture f;
        struct journal_batch second;
        struct journal_batch batch;
        char path[64];

        fixture_open(&f, 13, 16384);
        append(&f, NULL, 1, 1, 2, 40);
        append(&f, NULL, 2, 1, 2, 40);
        append(&f, NULL, 3, 1, 2, 40);
        settle(&f);
        append(&f, NULL, 1, 2, 2, 40);
        append(&f, NULL, 2, 2, 2, 40);
        settle(&f);
        append(&f, NULL, 1, 3, 2, 40);
        append(&f, NULL, 3, 2, 2, 40);
        settle(&f);
        second = batch_at(&f, 2);
        batch = batch_at(&f, 3);
        crash(&f, SIM_CRASH_KILL);
        if (at >= batch.record.index) {
            fixture_close(&f);
            break;
        }
        assert_int_equal(sim_disk_flip(f.sim, 1, only_file(&f, path), at), OK);
        restart(&f);

        static const uint64_t last[] = {3, 2, 2};

        for (uint64_t group = 1; group <= 3; group++) {
            struct journal_state state;
            struct log *log = log_of(&f, group);
            bool is_whole = log->first == 1 && log->last == last[group - 1] && !log->has_gap;
            bool is_known = journal_find(f.journal, group, &state);

            if (!is_whole)
                assert_true(is_known ? state.is_damaged : journal_is_damaged(f.journal));
            reported += is_known && state.is_damaged;
        }
        if (at >= second.record.index)
            assert_false(state_of(&f, 3).is_damaged); /* its next record proves it */
        fixture_close(&f);
    }
    assert_true(reported > 100);
}

static void journal__damaged_data__only_its_group_is_reported(void **unused)
{
    struct fixture f;
    char path[64];

    (void)unused;
    fixture_open(&f, 14, 16384);
    append(&f, NULL, 1, 1, 2, 1000);
    append(&f, NULL, 2, 1, 2, 1000);
    append(&f, NULL, 3, 1, 2, 1000);
    prove(&f);
    crash(&f, SIM_CRASH_LOSE);
    assert_int_equal(sim_disk_flip(f.sim, 1, only_file(&f, path), 1500), OK);

    restart(&f);

    assert_false(state_of(&f, 1).is_damaged);
    assert_true(state_of(&f, 2).is_damaged);
    assert_false(state_of(&f, 3).is_damaged);
    fixture_close(&f);
}

static void journal__quiet_second__last_batch_is_proven(void **unused)
{
    struct fixture f;
    struct journal_stats stats;
    char path[64];

    (void)unused;
    fixture_open(&f, 15, 16384);
    append(&f, NULL, 1, 1, 2, 40);
    prove(&f);
    journal_stats(f.journal, &stats);
    assert_int_equal(stats.syncs, 2);
    prove(&f);
    journal_stats(f.journal, &stats);
    assert_int_equal(stats.syncs, 2); /* and that is all */
    crash(&f, SIM_CRASH_LOSE);
    assert_int_equal(sim_disk_flip(f.sim, 1, only_file(&f, path), 8 + 64 + 50), OK);

    restart(&f);

    assert_true(state_of(&f, 1).is_damaged);
    fixture_close(&f);
}

/* One bad spot anywhere: the vote is still known. */
static void journal__vote_record_flipped__second_copy_counts(void **unused)
{
    (void)unused;
    for (uint64_t at = 0; at < 512; at += 3) {
        struct fixture f;
        struct journal_state state;
        char path[64];

        fixture_open(&f, 16, 16384);
        journal_set_state(f.journal, NULL, 1, 9, 2, 0);
        append(&f, NULL, 1, 1, 2, 40);
        prove(&f);
        crash(&f, SIM_CRASH_LOSE);
        assert_int_equal(sim_disk_flip(f.sim, 1, only_file(&f, path), at), OK);
        restart(&f);

        state = state_of(&f, 1);
        assert_int_equal(state.term, 9);
        assert_int_equal(state.vote, 2);
        fixture_close(&f);
    }
}

static void journal__damage_then_forgotten__is_clean_at_the_next_opening(void **unused)
{
    struct fixture f;
    char path[64];

    (void)unused;
    fixture_open(&f, 17, 16384);
    append(&f, NULL, 1, 1, 2, 100);
    prove(&f);
    crash(&f, SIM_CRASH_LOSE);
    assert_int_equal(sim_disk_flip(f.sim, 1, only_file(&f, path), 8 + 64 + 50), OK);
    restart(&f);
    assert_true(state_of(&f, 1).is_damaged);

    journal_forget(f.journal, 1);
    journal_set_state(f.journal, NULL, 1, 5, 0, 1);
    settle(&f);
    crash(&f, SIM_CRASH_LOSE);
    restart(&f);

    assert_false(state_of(&f, 1).is_damaged);
    assert_int_equal(state_of(&f, 1).term, 5);
    assert_int_equal(state_of(&f, 1).flags, 1);
    fixture_close(&f);
}

static void journal__sector_that_cannot_be_read__is_damage_not_an_end(void **unused)
{
    struct fixture f;
    char path[64];

    (void)unused;
    fixture_open(&f, 18, 65536);
    for (uint64_t i = 1; i <= 20; i++) {
        append(&f, NULL, 1 + i % 2, 1 + (i - 1) / 2, 2, 1000);
        settle(&f);
    }
    append(&f, NULL, 3, 1, 2, 10);
    prove(&f);
    crash(&f, SIM_CRASH_LOSE);
    assert_int_equal(sim_disk_bad_sector(f.sim, 1, only_file(&f, path), 6000), OK);

    restart(&f);

    assert_true(damaged_count(&f) >= 1);
    assert_false(state_of(&f, 3).is_damaged && !journal_is_damaged(f.journal));
    fixture_close(&f);
}

static void journal__missing_segment__its_groups_are_reported(void **unused)
{
    struct fixture f;
    struct journal_stats stats;

    (void)unused;
    fixture_open(&f, 19, 4096);
    for (uint64_t i = 1; i <= 60; i++) {
        append(&f, NULL, 1, i, 2, 200);
        settle(&f);
    }
    journal_stats(f.journal, &stats);
    assert_in_range(stats.segments, 4, 60);
    crash(&f, SIM_CRASH_LOSE);
    f.env = sim_process_start(f.sim, 1);
    assert_int_equal(f.env->disk->remove(f.env, FOLDER "/00000002.log"), OK);
    sim_crash(f.sim, 1, SIM_CRASH_KILL);

    restart(&f);

    assert_true(state_of(&f, 1).is_damaged);
    fixture_close(&f);
}

/* ---- failing disks ---- */

static void journal__write_fails__fatal_once_and_silence(void **unused)
{
    struct fixture f;
    struct op ops[2];

    (void)unused;
    fixture_open(&f, 20, 65536);

    append(&f, &ops[0], 1, 1, 2, 40);
    sim_disk_fail_call(f.sim, 1, 1);
    settle(&f);
    assert_int_equal(f.fatals, 1);
    append(&f, &ops[1], 1, 2, 2, 40);
    settle(&f);
    prove(&f);

    assert_int_equal(f.fatals, 1);
    assert_int_equal(f.done, 0);
    fixture_close(&f);
}

static void journal__full_disk__fatal_and_what_was_confirmed_stays(void **unused)
{
    struct fixture f;
    struct op ops[400];
    uint64_t confirmed;

    (void)unused;
    fixture_open(&f, 21, 4096);
    sim_disk_space(f.sim, 1, 30000);

    for (uint64_t i = 1; i <= 400 && f.fatals == 0; i++) {
        append(&f, &ops[i - 1], 1, i, 2, 200);
        settle(&f);
    }
    assert_int_equal(f.fatals, 1);
    confirmed = (uint64_t)f.done;
    assert_true(confirmed > 20);
    crash(&f, SIM_CRASH_LOSE);
    sim_disk_space(f.sim, 1, UINT64_MAX);
    restart(&f);

    assert_in_range(log_of(&f, 1)->last, confirmed, confirmed + 1);
    assert_log(&f, 1, 1, log_of(&f, 1)->last);
    assert_int_equal(damaged_count(&f), 0);
    fixture_close(&f);
}

static void journal__opening_meets_a_failing_disk__error_and_nothing_leaks(void **unused)
{
    int call = 0;

    (void)unused;
    for (bool met = true; met; call++) {
        const struct journal_visitor visitor = {NULL, on_entry, on_truncate, on_release};
        struct fixture f;
        enum error rc;

        fixture_open(&f, 22, 4096);
        crash(&f, SIM_CRASH_KILL);
        f.env = sim_process_start(f.sim, 1);
        sim_disk_fail_call(f.sim, 1, (uint64_t)call + 1);
        rc = journal_open(f.env, &f.options, &visitor, &f.journal);
        met = sim_disk_fault_met(f.sim, 1);
        if (!met)
            assert_int_equal(rc, OK);
        fixture_close(&f);
    }
    assert_true(call > 2);
}

/* ---- the bytes ---- */

static void journal_record__golden_bytes(void **unused)
{
    static const uint8_t golden[] = {
        0x57, 0x46, 0x65, 0x15, 0x30, 0x48, 0x40, 0x6d, 0x05, 0x00, 0x00, 0x00, 0x04, 0x01,
        0x01, 0x00, 0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01, 0x09, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x0a, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0b, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 'h',  'e',  'l',  'l',  'o',  0x00, 0x00, 0x00,
    };
    const struct journal_record record = {
        .type = JOURNAL_ENTRY,
        .kind = 1,
        .flags = JOURNAL_FLAG_AGAIN,
        .group = 0x0102030405060708,
        .number = 9,
        .index = 10,
        .term = 11,
        .data = SLICE_LITERAL("hello"),
    };
    struct buffer bytes = BUFFER_INIT(1024);
    struct journal_record read;
    size_t size;

    (void)unused;
    journal_record_put(&bytes, 77, &record);

    assert_int_equal(bytes.size, sizeof(golden));
    assert_memory_equal(bytes.data, golden, sizeof(golden));
    assert_int_equal(journal_record_get(buffer_slice(&bytes), 77, &read, &size), OK);
    assert_int_equal(size, sizeof(golden));
    assert_int_equal(read.group, record.group);
    assert_true(slice_equal(read.data, record.data));
    assert_int_equal(journal_record_get(buffer_slice(&bytes), 78, &read, &size), ERR_INVALID);
    buffer_close(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(journal__empty__finds_nothing),
        cmocka_unit_test(journal__one_turn__one_sync_and_callbacks_in_order),
        cmocka_unit_test(journal__power_loss__everything_confirmed_is_there),
        cmocka_unit_test(journal__not_confirmed__may_be_lost_but_nothing_is_damaged),
        cmocka_unit_test(journal__cancelled_op__no_callback),
        cmocka_unit_test(journal__released_segments__are_used_again),
        cmocka_unit_test(journal__crashes_while_segments_are_used_again__nothing_stale_comes_back),
        cmocka_unit_test(journal__group_that_releases_nothing__is_named_as_laggard),
        cmocka_unit_test(journal__entry_larger_than_a_segment__has_one_of_its_own),
        cmocka_unit_test(journal__largest_entry__fits),
        cmocka_unit_test(journal__mark_reset__replaces_the_log),
        cmocka_unit_test(journal__forgotten_group__starts_from_nothing),
        cmocka_unit_test(journal__last_batch_cut_at_any_byte__torn_tail_and_life_goes_on),
        cmocka_unit_test(journal__last_batch_flipped_at_any_byte__damage),
        cmocka_unit_test(journal__proven_batch_flipped_at_any_byte__missing_records_are_reported),
        cmocka_unit_test(journal__damaged_data__only_its_group_is_reported),
        cmocka_unit_test(journal__quiet_second__last_batch_is_proven),
        cmocka_unit_test(journal__vote_record_flipped__second_copy_counts),
        cmocka_unit_test(journal__damage_then_forgotten__is_clean_at_the_next_opening),
        cmocka_unit_test(journal__sector_that_cannot_be_read__is_damage_not_an_end),
        cmocka_unit_test(journal__missing_segment__its_groups_are_reported),
        cmocka_unit_test(journal__write_fails__fatal_once_and_silence),
        cmocka_unit_test(journal__full_disk__fatal_and_what_was_confirmed_stays),
        cmocka_unit_test(journal__opening_meets_a_failing_disk__error_and_nothing_leaks),
        cmocka_unit_test(journal_record__golden_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
