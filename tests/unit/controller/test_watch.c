/* A catalogue with a watch, against two scripted nodes. */

#include "controller/watch.h"

#include "proto/base/check.h"
#include "proto/env/env_sim.h"
#include "proto/wire/catalogue.pb-c.h"
#include "proto/wire/watch.pb-c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define CONTROLLER (ENV_CONTROLLER_ID_MIN + 1)
#define NODES 2
#define TERM 3
#define BIG_BYTES 100000 /* three fill a push */

struct fake { /* a node */
    struct env *env;
    bool acknowledges;
    size_t pushes;
    size_t copies;
    size_t records;
    uint64_t stream; /* of the last push */
    uint64_t number;
    uint64_t revision; /* of the last one it was sent */
    bool was_last;
};

struct fixture {
    struct sim *sim;
    struct env *env;
    struct catalogue *catalogue;
    struct watch *watch;
    struct fake fakes[NODES];
    uint64_t index;
    size_t acks;
};

/* ---- the scripted nodes ---- */

static void send_ack(struct fake *fake, uint64_t stream, uint64_t number, uint64_t revision,
                     bool is_gap)
{
    Skein__Wire__WatchAck ack = SKEIN__WIRE__WATCH_ACK__INIT;
    uint8_t bytes[64];

    ack.stream = stream;
    ack.number = number;
    ack.revision = revision;
    ack.is_gap = is_gap;
    size_t size = skein__wire__watch_ack__pack(&ack, bytes);

    assert_int_equal(env_send(fake->env, CONTROLLER, ENV_CHANNEL_WATCH, slice_of(bytes, size)), OK);
}

static void take_revisions(struct fake *fake, const Skein__Wire__WatchPush *push)
{
    for (size_t i = 0; i < push->n_revisions; i++) {
        Skein__Wire__WatchRevision *message = skein__wire__watch_revision__unpack(
            NULL, push->revisions[i].len, push->revisions[i].data);

        assert_non_null(message);
        assert_int_equal(message->revision, fake->revision + 1);
        fake->revision = message->revision;
        fake->records += message->n_records;
        skein__wire__watch_revision__free_unpacked(message, NULL);
    }
}

static void fake_on_push(void *user, uint64_t peer, struct slice bytes)
{
    struct fake *fake = user;
    Skein__Wire__WatchPush *push = skein__wire__watch_push__unpack(NULL, bytes.size, bytes.data);

    assert_int_equal(peer, CONTROLLER);
    assert_non_null(push);
    assert_int_equal(push->number, push->stream == fake->stream ? fake->number + 1 : 1);
    fake->pushes++;
    fake->stream = push->stream;
    fake->number = push->number;
    if (push->is_copy) {
        fake->copies++;
        fake->records += push->n_records;
        fake->was_last = push->is_last;
        if (push->is_last)
            fake->revision = push->copy_revision;
    } else {
        take_revisions(fake, push);
    }
    if (fake->acknowledges)
        send_ack(fake, fake->stream, fake->number, fake->revision, false);
    skein__wire__watch_push__free_unpacked(push, NULL);
}

/* ---- the controller ---- */

static void on_ack(void *user, uint64_t node)
{
    struct fixture *f = user;

    (void)node;
    f->acks++;
}

static void run_ms(struct fixture *f, uint64_t ms)
{
    sim_run_until(f->sim, sim_now_us(f->sim) + ms * 1000);
}

static void fixture_open(struct fixture *f)
{
    struct sim_options options = sim_options_default(1);

    *f = (struct fixture){.sim = sim_new(&options)};
    f->env = sim_process_start(f->sim, CONTROLLER);
    assert_int_equal(catalogue_open(f->env, "catalogue", &f->catalogue), OK);
    f->watch = watch_new(f->env, f->catalogue, f, on_ack);
    for (size_t i = 0; i < NODES; i++) {
        struct fake *fake = &f->fakes[i];

        fake->env = sim_process_start(f->sim, i + 1);
        fake->acknowledges = true;
        fake->env->link->handle(fake->env, ENV_CHANNEL_WATCH,
                                (struct env_link_handler){fake, fake_on_push});
        fake->env->link->peer_set(fake->env, CONTROLLER, "sim", "sim");
        f->env->link->peer_set(f->env, i + 1, "sim", "sim");
    }
    run_ms(f, 100);
    watch_start(f->watch, TERM);
}

static void fixture_close(struct fixture *f)
{
    watch_free(f->watch);
    catalogue_free(f->catalogue);
    sim_free(f->sim);
}

static void change(struct fixture *f, const char *key, size_t bytes)
{
    Skein__Wire__CatalogueCommand command = SKEIN__WIRE__CATALOGUE_COMMAND__INIT;
    Skein__Wire__CatalogueOperation operation = SKEIN__WIRE__CATALOGUE_OPERATION__INIT;
    Skein__Wire__CatalogueOperation *pointer = &operation;
    uint64_t revision = 0;

    operation.key = (char *)(uintptr_t)key;
    operation.value.data = check_calloc(bytes + 1, 1);
    operation.value.len = bytes;
    command.operations = &pointer;
    command.n_operations = 1;
    uint8_t *packed = check_malloc(skein__wire__catalogue_command__get_packed_size(&command));
    size_t size = skein__wire__catalogue_command__pack(&command, packed);

    assert_int_equal(catalogue_apply(f->catalogue, ++f->index, slice_of(packed, size), &revision),
                     OK);
    watch_wake(f->watch);
    free(packed);
    free(operation.value.data);
}

static void change_many(struct fixture *f, unsigned count, size_t bytes)
{
    char key[16];

    for (unsigned i = 0; i < count; i++) {
        (void)snprintf(key, sizeof(key), "key/%u", i);
        change(f, key, bytes);
    }
}

static void heard(struct fixture *f, uint64_t node, uint64_t incarnation, uint64_t revision)
{
    f->fakes[node - 1].revision = revision;
    watch_heard(f->watch, node, incarnation, revision);
}

/* ---- tests ---- */

static void heard__copy_is_behind__sent_what_follows(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    change_many(&f, 10, 1);
    heard(&f, 1, 1, 4);
    run_ms(&f, 50);

    assert_int_equal(f.fakes[0].records, 6);
    assert_int_equal(f.fakes[0].copies, 0);
    assert_int_equal(f.fakes[0].pushes, 1); /* all in one */
    assert_int_equal(watch_acked(f.watch, 1), 10);
    assert_int_equal(watch_acked(f.watch, 2), 0);
    assert_true(f.acks >= 1);

    change(&f, "later", 1);
    run_ms(&f, 50);
    assert_int_equal(watch_acked(f.watch, 1), 11);
    assert_int_equal(f.fakes[1].pushes, 0); /* never heard of */
    fixture_close(&f);
}

static void heard__nothing_in_the_history__whole_copy_in_parts(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    change_many(&f, 30, BIG_BYTES);
    change_many(&f, 100, BIG_BYTES); /* more than the history holds; the first 30 again */
    heard(&f, 1, 1, 0);
    run_ms(&f, 200);

    assert_int_equal(f.fakes[0].records, 100);
    assert_true(f.fakes[0].copies > 10);
    assert_true(f.fakes[0].was_last);
    assert_int_equal(watch_acked(f.watch, 1), 130);
    change(&f, "later", 1);
    run_ms(&f, 50);
    assert_int_equal(watch_acked(f.watch, 1), 131);
    fixture_close(&f);
}

static void push__not_acknowledged__no_more_than_the_credit(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    f.fakes[0].acknowledges = false;
    heard(&f, 1, 1, 0);
    heard(&f, 2, 1, 0);
    for (int i = 0; i < 20; i++) {
        change(&f, "k", 1);
        run_ms(&f, 10);
    }

    assert_int_equal(f.fakes[0].pushes, WATCH_CREDIT);
    assert_int_equal(watch_acked(f.watch, 1), 0);
    assert_int_equal(watch_acked(f.watch, 2), 20); /* does not wait for the other */

    f.fakes[0].acknowledges = true;
    send_ack(&f.fakes[0], f.fakes[0].stream, f.fakes[0].number, f.fakes[0].revision, false);
    run_ms(&f, 50);
    assert_int_equal(watch_acked(f.watch, 1), 20);
    fixture_close(&f);
}

static void ack__gap__new_stream_from_there_at_once(void **state)
{
    struct fixture f;
    uint64_t stream;

    (void)state;
    fixture_open(&f);
    f.fakes[0].acknowledges = false;
    change_many(&f, 5, 1);
    heard(&f, 1, 1, 0);
    run_ms(&f, 50);
    stream = f.fakes[0].stream;
    f.fakes[0].acknowledges = true;
    f.fakes[0].revision = 2; /* say, it got only so far */

    send_ack(&f.fakes[0], stream, 0, 2, true);
    run_ms(&f, 20);

    assert_true(f.fakes[0].stream > stream);
    assert_int_equal(f.fakes[0].revision, 5);
    assert_int_equal(watch_acked(f.watch, 1), 5);
    fixture_close(&f);
}

static void ack__of_an_old_stream_or_impossible__ignored(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    f.fakes[0].acknowledges = false;
    change_many(&f, 5, 1);
    heard(&f, 1, 1, 0);
    run_ms(&f, 50);
    uint64_t stream = f.fakes[0].stream;

    send_ack(&f.fakes[0], stream - 1, 1, 5, false);
    send_ack(&f.fakes[0], stream, 1, 6, false); /* a revision that does not exist */
    assert_int_equal(
        env_send(f.fakes[0].env, CONTROLLER, ENV_CHANNEL_WATCH, SLICE_LITERAL("\xff no message")),
        OK);
    run_ms(&f, 50);

    assert_int_equal(watch_acked(f.watch, 1), 0);
    fixture_close(&f);
}

static void push__lost__new_stream_after_a_stall(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    change_many(&f, 5, 1);
    sim_link_loss(f.sim, CONTROLLER, 1, 1000000);
    heard(&f, 1, 1, 0);
    run_ms(&f, 50);
    sim_link_heal_all(f.sim);
    run_ms(&f, WATCH_STALL_MS - 200);
    heard(&f, 1, 1, 0);
    run_ms(&f, 50);
    assert_int_equal(f.fakes[0].pushes, 0);

    run_ms(&f, 200);
    heard(&f, 1, 1, 0);
    run_ms(&f, 50);
    assert_int_equal(watch_acked(f.watch, 1), 5);
    fixture_close(&f);
}

static void heard__process_restarted__new_stream_from_what_it_has(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    change_many(&f, 5, 1);
    heard(&f, 1, 1, 0);
    run_ms(&f, 50);
    assert_int_equal(watch_acked(f.watch, 1), 5);

    heard(&f, 1, 2, 3); /* power was lost, and with it two revisions */
    assert_int_equal(watch_acked(f.watch, 1), 3);
    run_ms(&f, 50);
    assert_int_equal(watch_acked(f.watch, 1), 5);
    assert_int_equal(f.fakes[0].records, 5 + 2);
    fixture_close(&f);
}

static void link__reset__goes_on_with_the_next_heartbeat(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    heard(&f, 1, 1, 0);
    run_ms(&f, 50);
    sim_link_reset(f.sim, CONTROLLER, 1);
    run_ms(&f, 100);
    change_many(&f, 5, 1);
    run_ms(&f, 50);
    assert_int_equal(f.fakes[0].pushes, 0);

    heard(&f, 1, 1, 0);
    run_ms(&f, 50);
    assert_int_equal(watch_acked(f.watch, 1), 5);
    fixture_close(&f);
}

static void stop__no_longer_leader__silent_until_the_next_term(void **state)
{
    struct fixture f;
    uint64_t stream;

    (void)state;
    fixture_open(&f);
    change_many(&f, 2, 1);
    heard(&f, 1, 1, 0);
    run_ms(&f, 50);
    stream = f.fakes[0].stream;
    watch_stop(f.watch);
    change_many(&f, 2, 1);
    heard(&f, 1, 1, 2);
    run_ms(&f, 50);
    assert_int_equal(f.fakes[0].pushes, 1);
    assert_int_equal(watch_acked(f.watch, 1), 0);

    watch_start(f.watch, TERM + 1);
    heard(&f, 1, 1, 2);
    run_ms(&f, 50);
    assert_true(f.fakes[0].stream > stream);
    assert_int_equal(watch_acked(f.watch, 1), 4);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heard__copy_is_behind__sent_what_follows),
        cmocka_unit_test(heard__nothing_in_the_history__whole_copy_in_parts),
        cmocka_unit_test(push__not_acknowledged__no_more_than_the_credit),
        cmocka_unit_test(ack__gap__new_stream_from_there_at_once),
        cmocka_unit_test(ack__of_an_old_stream_or_impossible__ignored),
        cmocka_unit_test(push__lost__new_stream_after_a_stall),
        cmocka_unit_test(heard__process_restarted__new_stream_from_what_it_has),
        cmocka_unit_test(link__reset__goes_on_with_the_next_heartbeat),
        cmocka_unit_test(stop__no_longer_leader__silent_until_the_next_term),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
