/* The view against two scripted controllers. */

#include "node/view/view.h"
#include "proto/base/check.h"
#include "proto/env/env_sim.h"
#include "proto/wire/watch.pb-c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define NODE 1
#define CONTROLLERS 2
#define CONTROLLER(i) (ENV_CONTROLLER_ID_MIN + 1 + (i))
#define HEARTBEAT_MS 200
#define MS 1000u
#define NO_ANSWER ERROR_COUNT /* the request is dropped */

struct fake { /* a controller */
    struct env *env;
    struct calls *calls;
    enum error register_outcome;
    enum error update_outcome;
    uint64_t hint;
    uint64_t update_revision;
    size_t heartbeats;
    uint64_t incarnation; /* of the last heartbeat */
    uint64_t revision;
    size_t updates;
    struct buffer update; /* the last one */
    size_t acks;
    uint64_t ack_stream;
    uint64_t ack_number;
    uint64_t ack_revision;
    bool ack_is_gap;
};

struct fixture {
    struct sim *sim;
    struct env *env;
    struct calls *calls;
    struct view *view;
    struct fake fakes[CONTROLLERS];
    struct view_update update;
    int update_calls;
    enum error update_rc;
};

/* ---- the scripted controllers ---- */

static void fake_on_register(void *user, struct call_request *request)
{
    struct fake *fake = user;
    Skein__Wire__RegisterRequest *message =
        skein__wire__register_request__unpack(NULL, request->body.size, request->body.data);
    Skein__Wire__RegisterAnswer answer = SKEIN__WIRE__REGISTER_ANSWER__INIT;
    uint8_t bytes[64];

    assert_non_null(message);
    assert_int_equal(message->node->id, NODE);
    assert_string_equal(message->node->name, "node-1");
    fake->heartbeats++;
    fake->incarnation = message->node->incarnation;
    fake->revision = message->revision;
    skein__wire__register_request__free_unpacked(message, NULL);
    answer.outcome = fake->register_outcome;
    answer.leader = fake->hint;
    answer.incarnation = 77777777777777;
    size_t size = skein__wire__register_answer__pack(&answer, bytes);

    call_answer(request, OK, slice_of(bytes, size));
}

static void fake_on_update(void *user, struct call_request *request)
{
    struct fake *fake = user;
    Skein__Wire__UpdateAnswer answer = SKEIN__WIRE__UPDATE_ANSWER__INIT;
    uint8_t bytes[64];

    fake->updates++;
    buffer_clear(&fake->update);
    buffer_put_slice(&fake->update, request->body);
    if (fake->update_outcome == NO_ANSWER)
        return;
    answer.outcome = fake->update_outcome;
    answer.leader = fake->hint;
    answer.revision = fake->update_revision;
    size_t size = skein__wire__update_answer__pack(&answer, bytes);

    call_answer(request, OK, slice_of(bytes, size));
}

static void fake_on_ack(void *user, uint64_t peer, struct slice bytes)
{
    struct fake *fake = user;
    Skein__Wire__WatchAck *ack = skein__wire__watch_ack__unpack(NULL, bytes.size, bytes.data);

    assert_int_equal(peer, NODE);
    assert_non_null(ack);
    fake->acks++;
    fake->ack_stream = ack->stream;
    fake->ack_number = ack->number;
    fake->ack_revision = ack->revision;
    fake->ack_is_gap = ack->is_gap;
    skein__wire__watch_ack__free_unpacked(ack, NULL);
}

static void fake_start(struct fixture *f, size_t i)
{
    struct fake *fake = &f->fakes[i];

    fake->env = sim_process_start(f->sim, CONTROLLER(i));
    fake->env->link->peer_set(fake->env, NODE, "", "");
    fake->calls = calls_new(fake->env);
    buffer_init(&fake->update, BUFFER_UNLIMITED);
    calls_handle(fake->calls, CALL_REGISTER, fake, fake_on_register);
    calls_handle(fake->calls, CALL_CATALOGUE_UPDATE, fake, fake_on_update);
    fake->env->link->handle(fake->env, ENV_CHANNEL_WATCH,
                            (struct env_link_handler){fake, fake_on_ack});
}

static void fake_stop(struct fixture *f, size_t i)
{
    if (f->fakes[i].calls == NULL)
        return;
    sim_crash(f->sim, CONTROLLER(i), SIM_CRASH_KILL);
    calls_free(f->fakes[i].calls);
    buffer_close(&f->fakes[i].update);
    f->fakes[i].calls = NULL;
}

static void send_push(struct fixture *f, Skein__Wire__WatchPush *push)
{
    uint8_t bytes[4096];

    assert_true(skein__wire__watch_push__get_packed_size(push) <= sizeof(bytes));
    size_t size = skein__wire__watch_push__pack(push, bytes);

    assert_int_equal(env_send(f->fakes[0].env, NODE, ENV_CHANNEL_WATCH, slice_of(bytes, size)), OK);
}

static Skein__Wire__CatalogueRecord record_of(const char *key, const char *value, uint64_t revision)
{
    Skein__Wire__CatalogueRecord record = SKEIN__WIRE__CATALOGUE_RECORD__INIT;

    record.key = (char *)(uintptr_t)key;
    record.revision = revision;
    record.is_delete = value == NULL;
    record.value.data = (uint8_t *)(uintptr_t)value;
    record.value.len = value != NULL ? strlen(value) : 0;
    return record;
}

/* One revision with one record. */
static void push_change(struct fixture *f, uint64_t stream, uint64_t number, uint64_t revision,
                        const char *key, const char *value)
{
    Skein__Wire__WatchPush push = SKEIN__WIRE__WATCH_PUSH__INIT;
    Skein__Wire__WatchRevision message = SKEIN__WIRE__WATCH_REVISION__INIT;
    Skein__Wire__CatalogueRecord record = record_of(key, value, revision);
    Skein__Wire__CatalogueRecord *records = &record;
    uint8_t packed[1024];
    ProtobufCBinaryData bytes = {0, packed};

    message.revision = revision;
    message.records = &records;
    message.n_records = 1;
    bytes.len = skein__wire__watch_revision__pack(&message, packed);
    push.stream = stream;
    push.number = number;
    push.revisions = &bytes;
    push.n_revisions = 1;
    send_push(f, &push);
}

static void push_copy(struct fixture *f, uint64_t stream, uint64_t number, uint64_t revision,
                      const char *key, const char *value, uint64_t key_revision, bool is_last)
{
    Skein__Wire__WatchPush push = SKEIN__WIRE__WATCH_PUSH__INIT;
    Skein__Wire__CatalogueRecord record = record_of(key, value, key_revision);
    Skein__Wire__CatalogueRecord *records = &record;

    push.stream = stream;
    push.number = number;
    push.is_copy = true;
    push.copy_revision = revision;
    push.records = &records;
    push.n_records = 1;
    push.is_last = is_last;
    send_push(f, &push);
}

/* ---- the node ---- */

static void run_ms(struct fixture *f, uint64_t ms)
{
    sim_run_until(f->sim, sim_now_us(f->sim) + ms * MS);
}

static enum error try_open(struct fixture *f)
{
    const uint64_t ids[CONTROLLERS] = {CONTROLLER(0), CONTROLLER(1)};
    Skein__Wire__Node node = SKEIN__WIRE__NODE__INIT;
    uint8_t registration[256];
    struct view_options options = {.folder = "view",
                                   .controller_ids = ids,
                                   .controller_count = CONTROLLERS,
                                   .heartbeat_ms = HEARTBEAT_MS};

    node.id = NODE;
    node.name = (char *)(uintptr_t) "node-1";
    node.region = (char *)(uintptr_t) "us-east-1";
    node.host = (char *)(uintptr_t) "h";
    options.registration = slice_of(registration, skein__wire__node__pack(&node, registration));
    f->env = sim_process_start(f->sim, NODE);
    for (size_t i = 0; i < CONTROLLERS; i++)
        f->env->link->peer_set(f->env, CONTROLLER(i), "", "");
    f->calls = calls_new(f->env);
    return view_open(f->env, f->calls, &options, &f->view);
}

static void node_stop(struct fixture *f, unsigned how)
{
    sim_crash(f->sim, NODE, how);
    view_free(f->view);
    calls_free(f->calls);
    f->view = NULL;
    f->calls = NULL;
}

static void fixture_open(struct fixture *f)
{
    struct sim_options options = sim_options_default(1);

    *f = (struct fixture){.sim = sim_new(&options)};
    for (size_t i = 0; i < CONTROLLERS; i++)
        fake_start(f, i);
    f->fakes[1].register_outcome = ERR_NOT_LEADER;
    f->fakes[1].update_outcome = ERR_NOT_LEADER;
    f->fakes[1].hint = CONTROLLER(0);
    assert_int_equal(try_open(f), OK);
    run_ms(f, 500);
}

static void fixture_close(struct fixture *f)
{
    view_free(f->view);
    calls_free(f->calls);
    for (size_t i = 0; i < CONTROLLERS; i++)
        fake_stop(f, i);
    sim_free(f->sim);
}

static void assert_value(struct fixture *f, const char *key, const char *value, uint64_t revision)
{
    struct slice found;
    uint64_t found_revision;

    assert_int_equal(view_get(f->view, key, &found, &found_revision), OK);
    assert_true(slice_equal_text(found, value));
    assert_int_equal(found_revision, revision);
}

static void assert_absent(struct fixture *f, const char *key)
{
    struct slice found;

    assert_int_equal(view_get(f->view, key, &found, NULL), ERR_NOT_FOUND);
}

static void assert_ack(struct fixture *f, uint64_t stream, uint64_t number, uint64_t revision,
                       bool is_gap)
{
    const struct fake *fake = &f->fakes[0];

    assert_int_equal(fake->ack_stream, stream);
    assert_int_equal(fake->ack_number, number);
    assert_int_equal(fake->ack_revision, revision);
    assert_int_equal(fake->ack_is_gap, is_gap);
}

/* ---- pushes ---- */

static void push__next_revision__taken_and_acknowledged(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    push_change(&f, 1, 1, 1, "table/Orders", "a");
    push_change(&f, 1, 2, 2, "table/Orders", "b");
    push_change(&f, 1, 3, 3, "table/Items", "c");
    run_ms(&f, 50);

    assert_value(&f, "table/Orders", "b", 2);
    assert_value(&f, "table/Items", "c", 3);
    assert_int_equal(view_revision(f.view), 3);
    assert_int_equal(f.fakes[0].acks, 3);
    assert_ack(&f, 1, 3, 3, false);
    fixture_close(&f);
}

static void push__revision_missing__gap_reported_until_a_new_stream(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    push_change(&f, 1, 1, 1, "a", "1");
    push_change(&f, 1, 2, 3, "b", "3");
    run_ms(&f, 50);
    assert_ack(&f, 1, 1, 1, true);

    push_change(&f, 1, 3, 2, "b", "2"); /* of the broken stream */
    run_ms(&f, 50);
    assert_int_equal(f.fakes[0].acks, 2);
    assert_absent(&f, "b");

    push_change(&f, 2, 1, 2, "b", "2");
    run_ms(&f, 50);
    assert_value(&f, "b", "2", 2);
    assert_ack(&f, 2, 1, 2, false);
    fixture_close(&f);
}

static void push__number_missing_or_repeated__gap_or_ignored(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    push_change(&f, 5, 1, 1, "a", "1");
    push_change(&f, 5, 1, 1, "a", "1");
    push_change(&f, 4, 2, 2, "a", "of an old leader");
    run_ms(&f, 50);
    assert_int_equal(f.fakes[0].acks, 1);

    push_change(&f, 5, 3, 2, "a", "2");
    run_ms(&f, 50);
    assert_ack(&f, 5, 1, 1, true);
    assert_value(&f, "a", "1", 1);
    fixture_close(&f);
}

static void push__already_known_revision__skipped(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    push_change(&f, 1, 1, 1, "a", "1");
    push_change(&f, 2, 1, 1, "a", "1");
    push_change(&f, 2, 2, 2, "a", "2");
    run_ms(&f, 50);

    assert_value(&f, "a", "2", 2);
    assert_ack(&f, 2, 2, 2, false);
    fixture_close(&f);
}

static void push__from_somebody_else__ignored(void **state)
{
    struct fixture f;
    struct env *stranger;

    (void)state;
    fixture_open(&f);
    stranger = sim_process_start(f.sim, 2);
    stranger->link->peer_set(stranger, NODE, "", "");
    f.env->link->peer_set(f.env, 2, "", "");
    run_ms(&f, 50);
    f.fakes[0].env = stranger;

    push_change(&f, 9, 1, 1, "a", "1");
    run_ms(&f, 50);

    assert_int_equal(view_revision(f.view), 0);
    fixture_close(&f);
}

static void push__disk_refuses__not_acknowledged_and_no_more_heartbeats(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    push_change(&f, 1, 1, 1, "a", "1");
    run_ms(&f, 50);
    sim_disk_fail_call(f.sim, NODE, 1);

    push_change(&f, 1, 2, 2, "a", "2");
    run_ms(&f, 50);
    size_t heartbeats = f.fakes[0].heartbeats;

    run_ms(&f, 1000);

    assert_ack(&f, 1, 1, 1, false);
    assert_value(&f, "a", "1", 1);
    assert_int_equal(f.fakes[0].heartbeats, heartbeats);
    fixture_close(&f);
}

/* ---- whole copies ---- */

static void copy__in_parts__replaces_all_at_once(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    push_change(&f, 1, 1, 1, "old", "1");
    push_copy(&f, 2, 1, 40, "a", "x", 12, false);
    run_ms(&f, 50);
    assert_value(&f, "old", "1", 1);
    assert_absent(&f, "a");
    assert_ack(&f, 2, 1, 1, false);

    push_copy(&f, 2, 2, 40, "b", "y", 40, true);
    push_change(&f, 2, 3, 41, "c", "z");
    run_ms(&f, 50);

    assert_absent(&f, "old");
    assert_value(&f, "a", "x", 12);
    assert_value(&f, "b", "y", 40);
    assert_value(&f, "c", "z", 41);
    assert_ack(&f, 2, 3, 41, false);
    fixture_close(&f);
}

static void copy__record_changed_meanwhile__new_value(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    push_change(&f, 1, 1, 1, "a", "old");
    push_copy(&f, 2, 1, 9, "a", "new", 8, true);
    run_ms(&f, 50);

    assert_value(&f, "a", "new", 8);
    fixture_close(&f);
}

static void copy__left_unfinished__forgotten_by_the_next_stream(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    push_copy(&f, 1, 1, 40, "a", "x", 12, false);
    push_copy(&f, 2, 1, 50, "b", "y", 13, true);
    run_ms(&f, 50);

    assert_absent(&f, "a");
    assert_value(&f, "b", "y", 13);
    assert_int_equal(view_revision(f.view), 50);
    fixture_close(&f);
}

static void copy__keys_out_of_order__gap(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    push_copy(&f, 1, 1, 40, "b", "x", 12, false);
    push_copy(&f, 1, 2, 40, "a", "x", 12, true);
    run_ms(&f, 50);

    assert_int_equal(view_revision(f.view), 0);
    assert_ack(&f, 1, 1, 0, true);
    fixture_close(&f);
}

/* ---- listeners ---- */

struct heard {
    struct view *view;
    struct view_listener listener;
    struct buffer text;
    struct view_listener *drop; /* another to stop when told */
};

static void on_change(void *user, const char *key, struct slice value, uint64_t revision,
                      bool is_delete)
{
    struct heard *heard = user;

    buffer_putf(&heard->text, "%s%s=%.*s@%u ", is_delete ? "-" : "", key, (int)value.size,
                value.size > 0 ? (const char *)value.data : "", (unsigned)revision);
    if (heard->drop != NULL)
        view_unlisten(heard->view, heard->drop);
    heard->drop = NULL;
}

static void listen(struct fixture *f, struct heard *heard, const char *prefix)
{
    *heard = (struct heard){.view = f->view, .text = BUFFER_INIT(BUFFER_UNLIMITED)};
    heard->listener =
        (struct view_listener){.prefix = prefix, .user = heard, .on_change = on_change};
    view_listen(f->view, &heard->listener);
}

static void listener__changes_and_copies__told_of_the_difference(void **state)
{
    struct fixture f;
    struct heard heard;

    (void)state;
    fixture_open(&f);
    push_change(&f, 1, 1, 1, "table/a", "1");
    push_change(&f, 1, 2, 2, "topic/t", "2");
    run_ms(&f, 50);

    listen(&f, &heard, "table/");
    push_change(&f, 1, 3, 3, "table/b", "3");
    push_change(&f, 1, 4, 4, "topic/u", "4");
    push_change(&f, 1, 5, 5, "table/b", NULL);
    push_copy(&f, 2, 1, 9, "table/a", "1", 1, false);
    push_copy(&f, 2, 2, 9, "table/c", "9", 9, true);
    push_change(&f, 2, 3, 10, "table/a", NULL);
    run_ms(&f, 50);
    assert_string_equal(buffer_text(&heard.text),
                        "table/a=1@1 table/b=3@3 -table/b=@5 table/c=9@9 -table/a=@10 ");

    view_unlisten(f.view, &heard.listener);
    push_change(&f, 2, 4, 11, "table/a", "11");
    run_ms(&f, 50);
    assert_null(strstr(buffer_text(&heard.text), "@11"));
    buffer_close(&heard.text);
    fixture_close(&f);
}

static void listener__stops_the_next_one_while_told__safe(void **state)
{
    struct fixture f;
    struct heard first;
    struct heard second;
    struct heard third;

    (void)state;
    fixture_open(&f);
    listen(&f, &first, "");
    listen(&f, &second, "");
    listen(&f, &third, "");
    first.drop = &second.listener;
    third.drop = &third.listener;

    push_change(&f, 1, 1, 1, "a", "1");
    push_change(&f, 1, 2, 2, "a", "2");
    run_ms(&f, 50);

    assert_string_equal(buffer_text(&first.text), "a=1@1 a=2@2 ");
    assert_string_equal(buffer_text(&second.text), "");
    assert_string_equal(buffer_text(&third.text), "a=1@1 ");
    buffer_close(&first.text);
    buffer_close(&second.text);
    buffer_close(&third.text);
    fixture_close(&f);
}

static void collect(void *user, const char *key, struct slice value, uint64_t revision)
{
    (void)value;
    (void)revision;
    buffer_putf(user, "%s ", key);
}

static void each__prefix__in_order_of_key(void **state)
{
    struct fixture f;
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);

    (void)state;
    fixture_open(&f);
    push_change(&f, 1, 1, 1, "node/2", "1");
    push_change(&f, 1, 2, 2, "node/1", "1");
    push_change(&f, 1, 3, 3, "nodes", "1");
    push_change(&f, 1, 4, 4, "a", "1");
    run_ms(&f, 50);

    view_each(f.view, "node/", &text, collect);
    assert_string_equal(buffer_text(&text), "node/1 node/2 ");
    fixture_close(&f);
}

/* ---- restarts ---- */

static void open__after_a_kill__copy_is_there_and_incarnation_grows(void **state)
{
    struct fixture f;
    uint64_t incarnation;

    (void)state;
    fixture_open(&f);
    push_change(&f, 1, 1, 1, "a", "1");
    run_ms(&f, 300);
    incarnation = f.fakes[0].incarnation;
    assert_int_equal(f.fakes[0].revision, 1);
    node_stop(&f, SIM_CRASH_KILL);

    assert_int_equal(try_open(&f), OK);
    assert_value(&f, "a", "1", 1);
    run_ms(&f, 500);
    assert_true(f.fakes[0].incarnation > incarnation);
    assert_int_equal(f.fakes[0].revision, 1);
    push_change(&f, 1, 1, 2, "a", "2"); /* the new process knows no stream yet */
    run_ms(&f, 50);
    assert_value(&f, "a", "2", 2);
    fixture_close(&f);
}

static void open__power_lost_or_damaged__starts_from_what_is_there(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    push_change(&f, 1, 1, 1, "a", "1");
    run_ms(&f, 300);
    node_stop(&f, SIM_CRASH_LOSE);
    assert_int_equal(try_open(&f), OK);
    assert_int_equal(view_revision(f.view), 0);
    node_stop(&f, SIM_CRASH_KILL);

    assert_int_equal(sim_disk_spoil_store(f.sim, NODE, "view"), OK);
    assert_int_equal(try_open(&f), OK);
    assert_int_equal(view_revision(f.view), 0);
    fixture_close(&f);
}

static void controllers__all_gone__the_copy_still_answers(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    push_change(&f, 1, 1, 1, "a", "1");
    run_ms(&f, 300);
    assert_true(view_is_connected(f.view));

    fake_stop(&f, 0);
    fake_stop(&f, 1);
    run_ms(&f, 5000);
    assert_false(view_is_connected(f.view));
    assert_value(&f, "a", "1", 1);

    fake_start(&f, 1);
    f.fakes[1].register_outcome = OK;
    f.fakes[1].heartbeats = 0;
    run_ms(&f, 5000);
    assert_true(view_is_connected(f.view));
    assert_true(f.fakes[1].heartbeats > 5);
    fixture_close(&f);
}

/* ---- heartbeats ---- */

static void heartbeat__leader_known__only_to_it(void **state)
{
    struct fixture f;
    size_t others;

    (void)state;
    fixture_open(&f);
    others = f.fakes[1].heartbeats;
    f.fakes[0].heartbeats = 0;

    run_ms(&f, 2000);

    assert_in_range(f.fakes[0].heartbeats, 9, 11);
    assert_int_equal(f.fakes[1].heartbeats, others);
    fixture_close(&f);
}

static void heartbeat__leader_paused__the_other_is_asked(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    f.fakes[1].register_outcome = OK;
    f.fakes[1].heartbeats = 0;
    sim_pause(f.sim, CONTROLLER(0));

    run_ms(&f, 2000);

    assert_true(f.fakes[1].heartbeats >= 5);
    assert_true(view_is_connected(f.view));
    sim_resume(f.sim, CONTROLLER(0));
    fixture_close(&f);
}

static void heartbeat__clock_went_back__incarnation_above_the_recorded_one(void **state)
{
    struct fixture f;
    Skein__Wire__Node node = SKEIN__WIRE__NODE__INIT;
    char packed[64] = "";

    (void)state;
    fixture_open(&f);
    node.id = NODE;
    node.incarnation = 0x7070707070707070; /* no zero byte in it: push_change sends a text */
    (void)skein__wire__node__pack(&node, (uint8_t *)packed);
    push_change(&f, 1, 1, 1, "node/1", packed);
    run_ms(&f, 50);
    node_stop(&f, SIM_CRASH_KILL);
    assert_int_equal(try_open(&f), OK);
    run_ms(&f, 500);

    assert_int_equal(f.fakes[0].incarnation, 0x7070707070707071);
    fixture_close(&f);
}

static void heartbeat__stale_incarnation__raised_above(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    f.fakes[0].register_outcome = ERR_STALE_EPOCH;
    run_ms(&f, 500);

    assert_int_equal(f.fakes[0].incarnation, 77777777777778);
    fixture_close(&f);
}

/* ---- updates ---- */

static void on_updated(struct view_update *update, enum error rc)
{
    struct fixture *f = container_of(update, struct fixture, update);

    f->update_calls++;
    f->update_rc = rc;
}

static void start_update(struct fixture *f, uint32_t deadline_ms)
{
    const struct view_change changes[] = {
        {"table/Orders", SLICE_LITERAL("v"), false, VIEW_REVISION_NONE},
        {"table/Old", SLICE_LITERAL(""), true, 7},
        {"any", SLICE_LITERAL("w"), false, VIEW_REVISION_ANY}};

    view_update_start(f->view, &f->update, changes, 3, deadline_ms, on_updated);
    assert_int_equal(f->update_calls, 0);
}

static void update__committed__answered_when_this_copy_has_it(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    f.fakes[0].update_revision = 2;
    push_change(&f, 1, 1, 1, "a", "1");
    start_update(&f, 5000);
    run_ms(&f, 200);
    assert_int_equal(f.fakes[0].updates, 1);
    assert_int_equal(f.update_calls, 0);

    push_change(&f, 1, 2, 2, "table/Orders", "v");
    run_ms(&f, 50);

    assert_int_equal(f.update_calls, 1);
    assert_int_equal(f.update_rc, OK);
    Skein__Wire__CatalogueCommand *command = skein__wire__catalogue_command__unpack(
        NULL, f.fakes[0].update.size, f.fakes[0].update.data);

    assert_int_equal(command->origin, NODE);
    assert_int_equal(command->incarnation, f.fakes[0].incarnation);
    assert_int_equal(command->sequence, 1);
    assert_int_equal(command->n_operations, 3);
    assert_true(command->operations[0]->has_expectation);
    assert_int_equal(command->operations[0]->expected_revision, 0);
    assert_true(command->operations[1]->is_delete);
    assert_int_equal(command->operations[1]->expected_revision, 7);
    assert_false(command->operations[2]->has_expectation);
    skein__wire__catalogue_command__free_unpacked(command, NULL);
    fixture_close(&f);
}

static void update__refused__at_once(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    f.fakes[0].update_outcome = ERR_CONFLICT;
    start_update(&f, 5000);
    run_ms(&f, 200);

    assert_int_equal(f.update_calls, 1);
    assert_int_equal(f.update_rc, ERR_CONFLICT);
    fixture_close(&f);
}

static void update__not_the_leader__hint_followed(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    f.fakes[0].update_outcome = ERR_NOT_LEADER;
    f.fakes[0].hint = CONTROLLER(1);
    f.fakes[1].update_outcome = OK;
    start_update(&f, 5000);
    run_ms(&f, 40); /* without a pause */

    assert_int_equal(f.update_calls, 1);
    assert_int_equal(f.update_rc, OK);
    fixture_close(&f);
}

static void update__nobody_leads__asks_on_until_the_deadline(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    f.fakes[0].update_outcome = ERR_NOT_LEADER;
    f.fakes[0].hint = CONTROLLER(1); /* who says that the first one leads */
    start_update(&f, 1000);
    run_ms(&f, 900);
    assert_int_equal(f.update_calls, 0);
    run_ms(&f, 200);

    assert_int_equal(f.update_calls, 1);
    assert_int_equal(f.update_rc, ERR_UNREACHABLE);
    assert_in_range(f.fakes[0].updates + f.fakes[1].updates, 10, 100);
    fixture_close(&f);
}

static void update__no_answer__maybe_and_the_same_command_to_the_other(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    f.fakes[0].update_outcome = NO_ANSWER;
    f.fakes[1].update_outcome = NO_ANSWER;
    start_update(&f, 4000);
    run_ms(&f, 5000);

    assert_int_equal(f.update_calls, 1);
    assert_int_equal(f.update_rc, ERR_TIMEOUT);
    assert_true(f.fakes[1].updates > 0);
    assert_true(slice_equal(buffer_slice(&f.fakes[0].update), buffer_slice(&f.fakes[1].update)));
    fixture_close(&f);
}

static void update__controllers_gone__unreachable(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    fake_stop(&f, 0);
    fake_stop(&f, 1);
    run_ms(&f, 1000);
    start_update(&f, 1000);
    run_ms(&f, 1100);

    assert_int_equal(f.update_calls, 1);
    assert_int_equal(f.update_rc, ERR_UNREACHABLE);
    fixture_close(&f);
}

static void update__leader_dies_meanwhile__the_next_one_answers(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    f.fakes[0].update_outcome = NO_ANSWER;
    f.fakes[1].update_outcome = OK;
    start_update(&f, 5000);
    run_ms(&f, 50);
    fake_stop(&f, 0);
    run_ms(&f, 1000);

    assert_int_equal(f.update_calls, 1);
    assert_int_equal(f.update_rc, OK);
    fixture_close(&f);
}

static void update__deadline_passed_before_it_began__still_answered_later(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    start_update(&f, 0);
    run_ms(&f, 1);

    assert_int_equal(f.update_calls, 1);
    assert_int_equal(f.update_rc, ERR_UNREACHABLE);
    fixture_close(&f);
}

static void update__given_up__no_callback(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    view_update_cancel(&f.update); /* never started */
    start_update(&f, 1000);
    view_update_cancel(&f.update);
    start_update(&f, 1000);
    run_ms(&f, 1);
    view_update_cancel(&f.update);
    view_update_cancel(&f.update);
    run_ms(&f, 3000);

    assert_int_equal(f.update_calls, 0);
    fixture_close(&f);
}

static void free__update_in_flight__nothing_leaks(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    f.fakes[0].update_outcome = NO_ANSWER;
    push_copy(&f, 1, 1, 40, "a", "x", 12, false);
    start_update(&f, 5000);
    run_ms(&f, 50);
    node_stop(&f, SIM_CRASH_KILL);

    assert_int_equal(f.update_calls, 0);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(push__next_revision__taken_and_acknowledged),
        cmocka_unit_test(push__revision_missing__gap_reported_until_a_new_stream),
        cmocka_unit_test(push__number_missing_or_repeated__gap_or_ignored),
        cmocka_unit_test(push__already_known_revision__skipped),
        cmocka_unit_test(push__from_somebody_else__ignored),
        cmocka_unit_test(push__disk_refuses__not_acknowledged_and_no_more_heartbeats),
        cmocka_unit_test(copy__in_parts__replaces_all_at_once),
        cmocka_unit_test(copy__record_changed_meanwhile__new_value),
        cmocka_unit_test(copy__left_unfinished__forgotten_by_the_next_stream),
        cmocka_unit_test(copy__keys_out_of_order__gap),
        cmocka_unit_test(listener__changes_and_copies__told_of_the_difference),
        cmocka_unit_test(listener__stops_the_next_one_while_told__safe),
        cmocka_unit_test(each__prefix__in_order_of_key),
        cmocka_unit_test(open__after_a_kill__copy_is_there_and_incarnation_grows),
        cmocka_unit_test(open__power_lost_or_damaged__starts_from_what_is_there),
        cmocka_unit_test(controllers__all_gone__the_copy_still_answers),
        cmocka_unit_test(heartbeat__leader_known__only_to_it),
        cmocka_unit_test(heartbeat__leader_paused__the_other_is_asked),
        cmocka_unit_test(heartbeat__clock_went_back__incarnation_above_the_recorded_one),
        cmocka_unit_test(heartbeat__stale_incarnation__raised_above),
        cmocka_unit_test(update__committed__answered_when_this_copy_has_it),
        cmocka_unit_test(update__refused__at_once),
        cmocka_unit_test(update__not_the_leader__hint_followed),
        cmocka_unit_test(update__nobody_leads__asks_on_until_the_deadline),
        cmocka_unit_test(update__no_answer__maybe_and_the_same_command_to_the_other),
        cmocka_unit_test(update__controllers_gone__unreachable),
        cmocka_unit_test(update__leader_dies_meanwhile__the_next_one_answers),
        cmocka_unit_test(update__deadline_passed_before_it_began__still_answered_later),
        cmocka_unit_test(update__given_up__no_callback),
        cmocka_unit_test(free__update_in_flight__nothing_leaks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
