#include "node/event/event_engine.h"

#include "tests/lib/fake_state.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define LEASE 1000

static struct shard_state *shard;

static int set_up(void **state)
{
    (void)state;
    shard = fake_state_new();
    fake_state_set_forget(shard, event_engine.forget);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_state_free(shard);
    return 0;
}

static enum error apply(uint64_t now_ms, const Skein__Wire__EventCommand *command)
{
    const struct shard_moment moment = {.index = 1, .wall_ms = now_ms};
    AUTO(buffer) bytes = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) reply = BUFFER_INIT(BUFFER_UNLIMITED);

    event_engine_put_command(&bytes, command);
    fake_state_begin_command(shard);
    event_engine.apply(shard, &moment, buffer_slice(&bytes), &reply);
    return event_engine_verdict(buffer_slice(&reply));
}

static enum error put(uint64_t now_ms, const char *id)
{
    Skein__Wire__EventCommand command = SKEIN__WIRE__EVENT_COMMAND__INIT;
    Skein__Wire__Event event = SKEIN__WIRE__EVENT__INIT;

    event.id = (char *)(uintptr_t)id;
    event.function = (char *)"fn";
    event.payload = (ProtobufCBinaryData){2, (uint8_t *)"{}"};
    command.kind = EVENT_PUT;
    command.event = &event;
    return apply(now_ms, &command);
}

static enum error tell(uint64_t now_ms, enum event_command_kind kind, const char *id,
                       uint64_t holder, uint64_t delay_ms)
{
    Skein__Wire__EventCommand command = SKEIN__WIRE__EVENT_COMMAND__INIT;

    command.kind = kind;
    command.id = (char *)(uintptr_t)id;
    command.holder = holder;
    command.delay_ms = delay_ms;
    command.failures = 1;
    return apply(now_ms, &command);
}

static Skein__Wire__EventReply *ask(const char *id, uint64_t now_ms, uint32_t limit)
{
    Skein__Wire__EventQuery query = SKEIN__WIRE__EVENT_QUERY__INIT;
    AUTO(buffer) bytes = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) reply = BUFFER_INIT(BUFFER_UNLIMITED);
    Skein__Wire__EventReply *message;

    query.id = (char *)(uintptr_t)id;
    query.now_ms = now_ms;
    query.limit = limit;
    event_engine_put_query(&bytes, &query);
    fake_state_begin_command(shard);
    event_engine.read(shard, buffer_slice(&bytes), &reply);
    message = event_engine_reply(buffer_slice(&reply));
    assert_non_null(message);
    return message;
}

static void reply_free(Skein__Wire__EventReply *reply)
{
    skein__wire__event_reply__free_unpacked(reply, NULL);
}

/* The ids that are due, one after the other, and when the next one is. */
static void assert_due(uint64_t now_ms, uint32_t limit, const char *ids, uint64_t next_ms)
{
    Skein__Wire__EventReply *reply = ask("", now_ms, limit);
    char found[64] = "";

    assert_int_equal(reply->error, OK);
    for (size_t i = 0; i < reply->n_due; i++)
        strcat(found, reply->due[i]->id);
    assert_string_equal(found, ids);
    assert_int_equal(reply->next_ms, next_ms);
    reply_free(reply);
}

static void event_engine__put__is_due_at_once_and_once(void **state)
{
    Skein__Wire__EventReply *reply;

    (void)state;
    assert_due(50, 9, "", 0);
    assert_int_equal(put(100, "a"), OK);
    assert_int_equal(put(200, "a"), OK); /* asked for twice */
    assert_int_equal(put(150, "b"), OK);

    assert_due(100, 9, "a", 150);
    assert_due(150, 9, "ab", 0);
    assert_due(150, 1, "a", 150);
    assert_due(99, 9, "", 100);
    reply = ask("a", 0, 0);
    assert_string_equal(reply->event->function, "fn");
    assert_int_equal(reply->state->accepted_ms, 100);
    reply_free(reply);
}

static void event_engine__claimed__nobody_elses_until_the_lease_ends(void **state)
{
    (void)state;
    assert_int_equal(put(100, "a"), OK);

    assert_int_equal(tell(100, EVENT_CLAIM, "a", 7, LEASE), OK);

    assert_due(1099, 9, "", 1100);
    assert_int_equal(tell(1099, EVENT_CLAIM, "a", 8, LEASE), ERR_CONFLICT);
    assert_int_equal(tell(1000, EVENT_RENEW, "a", 7, LEASE), OK);
    assert_int_equal(tell(1100, EVENT_CLAIM, "a", 8, LEASE), ERR_CONFLICT);
    assert_int_equal(tell(2000, EVENT_CLAIM, "a", 8, LEASE), OK);
    assert_int_equal(tell(2001, EVENT_RENEW, "a", 7, LEASE), ERR_CONFLICT);
    assert_int_equal(tell(2001, EVENT_DEFER, "a", 7, 5), ERR_CONFLICT);
    assert_due(2999, 9, "", 3000);
}

static void event_engine__deferred__due_again_later_with_its_history(void **state)
{
    Skein__Wire__EventReply *reply;

    (void)state;
    assert_int_equal(put(100, "a"), OK);
    assert_int_equal(tell(100, EVENT_CLAIM, "a", 7, LEASE), OK);

    assert_int_equal(tell(200, EVENT_DEFER, "a", 7, 60000), OK);

    assert_due(60199, 9, "", 60200);
    assert_due(60200, 9, "a", 0);
    reply = ask("a", 0, 0);
    assert_int_equal(reply->state->failures, 1);
    assert_int_equal(reply->state->holder, 0);
    assert_int_equal(reply->state->accepted_ms, 100);
    reply_free(reply);
}

static void event_engine__removed__leaves_nothing_and_stays_away(void **state)
{
    Skein__Wire__EventReply *reply;

    (void)state;
    assert_int_equal(put(100, "a"), OK);
    assert_int_equal(tell(100, EVENT_CLAIM, "a", 7, LEASE), OK);

    assert_int_equal(tell(5000, EVENT_REMOVE, "a", 8, 0), OK); /* succeeded after its lease */

    assert_int_equal(fake_state_count(shard), 0);
    assert_int_equal(tell(5000, EVENT_REMOVE, "a", 8, 0), OK);
    assert_int_equal(tell(5000, EVENT_RENEW, "a", 7, LEASE), ERR_NOT_FOUND);
    assert_int_equal(tell(5000, EVENT_DEFER, "a", 7, 1), ERR_NOT_FOUND);
    assert_due(9000, 9, "", 0);
    reply = ask("a", 0, 0);
    assert_int_equal(reply->error, ERR_NOT_FOUND);
    reply_free(reply);
}

static void event_engine__memory_is_lost__finds_the_same(void **state)
{
    (void)state;
    assert_int_equal(put(100, "a"), OK);
    assert_int_equal(tell(100, EVENT_CLAIM, "a", 7, LEASE), OK);
    assert_due(200, 9, "", 1100);

    fake_state_forget(shard);

    assert_due(200, 9, "", 1100);
    assert_due(1100, 9, "a", 0);
}

static void event_engine__malformed__changes_nothing(void **state)
{
    const struct shard_moment moment = {.index = 1};
    char id[EVENT_ID_BYTES_MAX + 2];
    AUTO(buffer) reply = BUFFER_INIT(BUFFER_UNLIMITED);

    (void)state;
    memset(id, 'x', sizeof(id) - 1);
    id[sizeof(id) - 1] = '\0';
    assert_int_equal(put(100, id), ERR_INVALID);
    assert_int_equal(put(100, ""), ERR_INVALID);
    assert_int_equal(tell(100, EVENT_CLAIM, "a", 0, LEASE), ERR_INVALID);
    assert_int_equal(tell(100, (enum event_command_kind)9, "a", 7, LEASE), ERR_INVALID);
    event_engine.apply(shard, &moment, SLICE_LITERAL("\xff\xff"), &reply);
    assert_int_equal(event_engine_verdict(buffer_slice(&reply)), ERR_INVALID);
    buffer_clear(&reply);
    event_engine.read(shard, SLICE_LITERAL("\xff\xff"), &reply);
    assert_int_equal(event_engine_verdict(buffer_slice(&reply)), ERR_INVALID);
    assert_int_equal(fake_state_count(shard), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(event_engine__put__is_due_at_once_and_once),
        TEST(event_engine__claimed__nobody_elses_until_the_lease_ends),
        TEST(event_engine__deferred__due_again_later_with_its_history),
        TEST(event_engine__removed__leaves_nothing_and_stays_away),
        TEST(event_engine__memory_is_lost__finds_the_same),
        TEST(event_engine__malformed__changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
