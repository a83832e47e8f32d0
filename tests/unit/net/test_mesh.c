/* The mesh between environments on one loop, and with a real second process (this program once
 * more, with arguments) that gets killed and stopped. */

#include "tests/lib/loop_fixture.h"

#include "proto/base/check.h"
#include "proto/base/log.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define SILENT_MS 10000 /* a busy machine is not taken for a silent peer */
#define SILENT_SOON_MS 400

extern char **environ;

/* ---- one end of the mesh ---- */

struct end {
    struct env *env;
    uint64_t id;
    char public_key[MESH_KEY_BYTES];
    char secret_key[MESH_KEY_BYTES];
    struct env_link_watcher watcher;
    struct buffer events;   /* "+2 -2closed -2refused " */
    struct buffer messages; /* "2:text " */
    size_t message_count;
    size_t message_bytes;
    uint64_t heard_us; /* the last message */
    size_t wanted;     /* for has_messages */
    uint32_t silent_ms;
};

static void on_up(void *user, uint64_t peer)
{
    buffer_putf(&((struct end *)user)->events, "+%d ", (int)peer);
}

static void on_down(void *user, uint64_t peer, enum env_down_reason reason)
{
    static const char *const names[] = {"refused", "closed", "silent"};
    struct end *end = user;

    assert_false(end->env->link->is_up(end->env, peer));
    buffer_putf(&end->events, "-%d%s ", (int)peer, names[reason]);
}

static void on_message(void *user, uint64_t peer, struct slice message)
{
    struct end *end = user;

    end->heard_us = env_now_us(end->env);
    end->message_count++;
    end->message_bytes += message.size;
    if (message.size < 32)
        buffer_putf(&end->messages, "%d:%.*s ", (int)peer, (int)message.size, message.data);
}

static void end_make(struct end *end, uint64_t id)
{
    *end = (struct end){.id = id, .silent_ms = SILENT_MS};
    buffer_init(&end->events, 1u << 20);
    buffer_init(&end->messages, 1u << 20);
    mesh_make_keys(end->public_key, end->secret_key);
}

static void end_listen(struct fixture *f, struct end *end, const char *endpoint)
{
    char folder[160];
    char why[ERROR_WHY_BYTES] = "";

    (void)snprintf(folder, sizeof(folder), "%s/%d", f->folder, (int)end->id);
    struct env_uv_options options = {.data_folder = folder,
                                     .self = end->id,
                                     .mesh = {.listen = endpoint,
                                              .public_key = end->public_key,
                                              .secret_key = end->secret_key,
                                              .heartbeat_ms = SILENT_SOON_MS / 8,
                                              .silent_ms = end->silent_ms,
                                              .queue_bytes_max = 4u << 20,
                                              .message_bytes_max = 16u << 20}};

    if (env_uv_open(&f->loop, &options, &end->env, why) != OK)
        fail_msg("env_uv_open: %s", why);
    end->watcher = (struct env_link_watcher){.user = end, .on_up = on_up, .on_down = on_down};
    end->env->link->watch(end->env, &end->watcher);
    for (size_t i = 0; i < ENV_CHANNEL_COUNT; i++)
        end->env->link->handle(end->env, (enum env_channel)i,
                               (struct env_link_handler){end, on_message});
}

static void end_open(struct fixture *f, struct end *end, uint64_t id)
{
    end_make(end, id);
    end_listen(f, end, "tcp://127.0.0.1:*");
}

static void end_close(struct end *end)
{
    env_uv_close(end->env);
    buffer_close(&end->events);
    buffer_close(&end->messages);
}

static void know(struct end *end, const struct end *peer)
{
    end->env->link->peer_set(end->env, peer->id, env_uv_endpoint(peer->env), peer->public_key);
}

static const char *events_of(struct end *end)
{
    return buffer_text(&end->events);
}

struct expectation {
    struct end *end;
    const char *events;
};

static bool has_events(void *user)
{
    struct expectation *expectation = user;

    return strstr(events_of(expectation->end), expectation->events) != NULL;
}

static void expect_events(struct fixture *f, struct end *end, const char *events)
{
    struct expectation expectation = {end, events};

    if (!fixture_runs_until(f, has_events, &expectation, FIXTURE_PATIENCE_MS))
        fail_msg("expected %s, got %s", events, events_of(end));
}

static bool has_messages(void *user)
{
    struct end *end = user;

    return end->message_count >= end->wanted;
}

static void expect_messages(struct fixture *f, struct end *end, size_t count)
{
    end->wanted = count;
    fixture_until(f, has_messages, end);
}

static enum error say(struct end *end, uint64_t peer, enum env_channel channel, const char *text)
{
    return env_send(end->env, peer, channel, slice_text(text));
}

static bool never(void *user)
{
    (void)user;
    return false;
}

/* Two ends that know each other, both up. */
static void pair_open(struct fixture *f, struct end *a, struct end *b)
{
    end_open(f, a, 1);
    end_open(f, b, 2);
    know(a, b);
    know(b, a);
    expect_events(f, a, "+2 ");
    expect_events(f, b, "+1 ");
}

/* ---- up, order, batches ---- */

static void mesh_send__both_know_each_other__arrives_both_ways(void **state)
{
    struct fixture f;
    struct end a;
    struct end b;

    (void)state;
    fixture_open(&f);
    pair_open(&f, &a, &b);

    assert_true(a.env->link->is_up(a.env, 2));
    assert_int_equal(env_self(a.env), 1);
    assert_int_equal(say(&a, 2, ENV_CHANNEL_CALL, "hello"), OK);
    assert_int_equal(say(&b, 1, ENV_CHANNEL_RAFT, "goose"), OK);
    expect_messages(&f, &a, 1);
    expect_messages(&f, &b, 1);

    assert_string_equal(buffer_text(&b.messages), "1:hello ");
    assert_string_equal(buffer_text(&a.messages), "2:goose ");
    end_close(&a);
    end_close(&b);
    fixture_close(&f);
}

static void mesh_send__three_ends__each_message_names_its_true_sender(void **state)
{
    struct fixture f;
    struct end ends[3];

    (void)state;
    fixture_open(&f);
    for (uint64_t i = 0; i < 3; i++)
        end_open(&f, &ends[i], i + 1);
    for (size_t i = 0; i < 3; i++)
        for (size_t k = 0; k < 3; k++)
            know(&ends[i], &ends[k]);
    expect_events(&f, &ends[0], "+3 ");
    expect_events(&f, &ends[1], "+3 ");

    assert_int_equal(say(&ends[0], 3, ENV_CHANNEL_CALL, "first"), OK);
    expect_messages(&f, &ends[2], 1);
    assert_int_equal(say(&ends[1], 3, ENV_CHANNEL_CALL, "second"), OK);
    expect_messages(&f, &ends[2], 2);

    assert_string_equal(buffer_text(&ends[2].messages), "1:first 2:second ");
    for (size_t i = 0; i < 3; i++)
        end_close(&ends[i]);
    fixture_close(&f);
}

static void mesh_send__peer_unknown_or_never_up__unreachable(void **state)
{
    struct fixture f;
    struct end a;
    struct end b;

    (void)state;
    fixture_open(&f);
    end_open(&f, &a, 1);
    end_make(&b, 2);

    assert_int_equal(say(&a, 2, ENV_CHANNEL_RAFT, "x"), ERR_UNREACHABLE);
    a.env->link->peer_set(a.env, 2, "tcp://127.0.0.1:1", b.public_key);
    assert_false(fixture_runs_until(&f, never, NULL, 50));
    assert_int_equal(say(&a, 2, ENV_CHANNEL_RAFT, "x"), ERR_UNREACHABLE);
    assert_string_equal(events_of(&a), "");
    a.env->link->peer_set(a.env, 3, "nonsense", b.public_key);
    a.env->link->peer_set(a.env, 4, "tcp://127.0.0.1:1", "nonsense");
    assert_int_equal(say(&a, 4, ENV_CHANNEL_RAFT, "x"), ERR_UNREACHABLE);
    end_close(&a);
    buffer_close(&b.events);
    fixture_close(&f);
}

static void mesh_send__many_in_one_turn__in_order_and_raft_first(void **state)
{
    struct fixture f;
    struct end a;
    struct end b;
    char text[16];

    (void)state;
    fixture_open(&f);
    pair_open(&f, &a, &b);

    for (int i = 0; i < 3; i++) {
        (void)snprintf(text, sizeof(text), "c%d", i);
        assert_int_equal(say(&a, 2, ENV_CHANNEL_CALL, text), OK);
        (void)snprintf(text, sizeof(text), "r%d", i);
        assert_int_equal(say(&a, 2, ENV_CHANNEL_RAFT, text), OK);
        (void)snprintf(text, sizeof(text), "s%d", i);
        assert_int_equal(say(&a, 2, ENV_CHANNEL_SNAPSHOT, text), OK);
    }
    expect_messages(&f, &b, 9);

    assert_string_equal(buffer_text(&b.messages), "1:r0 1:r1 1:r2 1:c0 1:s0 1:c1 1:s1 1:c2 1:s2 ");
    end_close(&a);
    end_close(&b);
    fixture_close(&f);
}

static void mesh_send__thousands_of_all_sizes__all_arrive_in_order(void **state)
{
    struct fixture f;
    struct end a;
    struct end b;
    size_t bytes = 0;
    AUTO(buffer) expected = BUFFER_INIT(1u << 20);

    (void)state;
    fixture_open(&f);
    pair_open(&f, &a, &b);

    for (int i = 0; i < 3000; i++) {
        uint8_t message[1200];
        int size = snprintf((char *)message, sizeof(message), "%d", i);

        if (i % 10 != 0)
            buffer_putf(&expected, "1:%d ", i);
        memset(message + size, 'x', sizeof(message) - (size_t)size);
        if (i % 10 == 0)
            size = (int)sizeof(message);
        assert_int_equal(env_send(a.env, 2, ENV_CHANNEL_CALL, slice_of(message, (size_t)size)), OK);
        bytes += (size_t)size;
    }
    expect_messages(&f, &b, 3000);

    assert_int_equal(b.message_bytes, bytes);
    assert_string_equal(buffer_text(&b.messages), buffer_text(&expected));
    end_close(&a);
    end_close(&b);
    fixture_close(&f);
}

static void step_both(struct fixture *f, struct fixture *g)
{
    assert_false(fixture_runs_until(f, never, NULL, 2));
    assert_false(fixture_runs_until(g, never, NULL, 2));
}

/* Two ends on loops of their own, up. */
static void apart_open(struct fixture *f, struct end *a, struct fixture *g, struct end *b)
{
    fixture_open(f);
    fixture_open(g);
    end_open(f, a, 1);
    end_open(g, b, 2);
    know(b, a);
    know(a, b);
    for (int i = 0; i < 5000 && (a->events.size == 0 || b->events.size == 0); i++)
        step_both(f, g);
    assert_string_equal(events_of(a), "+2 ");
    assert_string_equal(events_of(b), "+1 ");
}

/* The receiver, on a loop of its own, finds many frames waiting, and nothing comes after them. */
static void mesh_receive__many_frames_waiting__all_read(void **state)
{
    struct fixture f;
    struct fixture g;
    struct end a;
    struct end b;

    (void)state;
    apart_open(&f, &a, &g, &b);

    for (int i = 0; i < 300; i++) {
        assert_int_equal(say(&a, 2, ENV_CHANNEL_CALL, "."), OK);
        assert_false(fixture_runs_until(&f, never, NULL, 1)); /* one frame each */
    }
    expect_messages(&g, &b, 300);

    end_close(&a);
    end_close(&b);
    fixture_close(&f);
    fixture_close(&g);
}

/* Until nothing more is taken for a peer whose loop stands still. */
static size_t flood(struct fixture *f, struct end *a)
{
    uint8_t *message = check_calloc(1, 100000);
    size_t count = 0;

    while (env_send(a->env, 2, ENV_CHANNEL_SNAPSHOT, slice_of(message, 100000)) == OK) {
        count++;
        assert_false(fixture_runs_until(f, never, NULL, 1));
    }
    free(message);
    return count;
}

static void mesh_send__loop_of_the_peer_stands_still__window_and_queue_then_all_arrive(void **state)
{
    struct fixture f;
    struct fixture g;
    struct end a;
    struct end b;

    (void)state;
    apart_open(&f, &a, &g, &b);

    size_t count = flood(&f, &a);

    assert_in_range(count * 100000, 11u << 20, 13u << 20); /* 8 MiB under way, 4 MiB waiting */
    assert_int_equal(say(&a, 2, ENV_CHANNEL_RAFT, "vote"), OK);
    assert_false(fixture_runs_until(&f, never, NULL, 20));
    for (int i = 0; i < 5000 && b.message_count < count + 1; i++)
        step_both(&f, &g);

    assert_int_equal(b.message_bytes, count * 100000 + strlen("vote"));
    end_close(&a);
    end_close(&b);
    fixture_close(&f);
    fixture_close(&g);
}

/* What libzmq 4.3 does not always survive when its sockets are what holds a sender back: with
 * heartbeats between the frames that wait. */
static void mesh_receive__sender_dies_before_all_is_read__what_came_in_is_read(void **state)
{
    struct fixture f;
    struct fixture g;
    struct end a;
    struct end b;

    (void)state;
    apart_open(&f, &a, &g, &b);

    for (int i = 0; i < 300; i++) {
        assert_int_equal(say(&a, 2, ENV_CHANNEL_CALL, "."), OK);
        assert_false(fixture_runs_until(&f, never, NULL, 1));
    }
    end_close(&a);
    expect_events(&g, &b, "-1refused ");

    assert_in_range(b.message_count, 1, 300);
    end_close(&b);
    fixture_close(&f);
    fixture_close(&g);
}

static void mesh_send__largest_message__passes_and_larger_is_refused(void **state)
{
    struct fixture f;
    struct end a;
    struct end b;
    size_t size = 16u << 20;

    (void)state;
    fixture_open(&f);
    pair_open(&f, &a, &b);
    uint8_t *big = check_calloc(1, size + 1);

    assert_int_equal(env_send(a.env, 2, ENV_CHANNEL_CALL, slice_of(big, size + 1)), ERR_TOO_LARGE);
    assert_int_equal(env_send(a.env, 2, ENV_CHANNEL_CALL, slice_of(big, size)), OK);
    assert_int_equal(say(&a, 2, ENV_CHANNEL_RAFT, "ahead"), OK);
    expect_messages(&f, &b, 2);

    assert_int_equal(b.message_bytes, size + strlen("ahead"));
    free(big);
    end_close(&a);
    end_close(&b);
    fixture_close(&f);
}

static void mesh_send__to_oneself__delivered_later_in_order(void **state)
{
    struct fixture f;
    struct end a;

    (void)state;
    fixture_open(&f);
    end_open(&f, &a, 1);

    assert_true(a.env->link->is_up(a.env, 1));
    assert_int_equal(say(&a, 1, ENV_CHANNEL_CALL, "one"), OK);
    assert_int_equal(say(&a, 1, ENV_CHANNEL_WATCH, "two"), OK);
    assert_int_equal(a.message_count, 0);
    expect_messages(&f, &a, 2);

    assert_string_equal(buffer_text(&a.messages), "1:one 1:two ");
    end_close(&a);
    fixture_close(&f);
}

static void env_uv_shim__delay_set__holds_messages_back(void **state)
{
    struct fixture f;
    struct end a;
    struct end b;

    (void)state;
    fixture_open(&f);
    pair_open(&f, &a, &b);

    shim_set(env_uv_shim(a.env), 2, 30000, 0, false);
    uint64_t sent_us = env_now_us(a.env);

    assert_int_equal(say(&a, 2, ENV_CHANNEL_CALL, "slow"), OK);
    expect_messages(&f, &b, 1);

    assert_true(b.heard_us >= sent_us + 30000);
    end_close(&a);
    end_close(&b);
    fixture_close(&f);
}

/* ---- peers come and go ---- */

static void mesh_peer__closed_and_back_at_the_same_endpoint__up_again(void **state)
{
    struct fixture f;
    struct end a;
    struct end b;
    char endpoint[128];

    (void)state;
    fixture_open(&f);
    pair_open(&f, &a, &b);
    (void)snprintf(endpoint, sizeof(endpoint), "%s", env_uv_endpoint(b.env));

    env_uv_close(b.env);
    expect_events(&f, &a, "-2refused ");
    assert_false(a.env->link->is_up(a.env, 2));
    assert_int_equal(say(&a, 2, ENV_CHANNEL_RAFT, "x"), ERR_UNREACHABLE);
    buffer_clear(&a.events);
    end_listen(&f, &b, endpoint);
    know(&b, &a);
    expect_events(&f, &a, "+2 ");
    assert_int_equal(say(&a, 2, ENV_CHANNEL_CALL, "again"), OK);
    expect_messages(&f, &b, 1);

    assert_string_equal(buffer_text(&b.messages), "1:again ");
    end_close(&a);
    end_close(&b);
    fixture_close(&f);
}

static void mesh_peer_set__new_endpoint_of_the_same_peer__follows_it(void **state)
{
    struct fixture f;
    struct end a;
    struct end b;

    (void)state;
    fixture_open(&f);
    pair_open(&f, &a, &b);

    env_uv_close(b.env);
    expect_events(&f, &a, "-2refused ");
    end_listen(&f, &b, "tcp://127.0.0.1:*");
    know(&b, &a);
    buffer_clear(&a.events);
    know(&a, &b);
    expect_events(&f, &a, "+2 ");
    assert_int_equal(say(&a, 2, ENV_CHANNEL_CALL, "moved"), OK);
    expect_messages(&f, &b, 1);
    know(&a, &b); /* nothing changed: nothing happens */
    assert_true(a.env->link->is_up(a.env, 2));

    end_close(&a);
    end_close(&b);
    fixture_close(&f);
}

static void mesh_peer_remove__peer_up__told_later_and_silent_from_then_on(void **state)
{
    struct fixture f;
    struct end a;
    struct end b;

    (void)state;
    fixture_open(&f);
    pair_open(&f, &a, &b);

    a.env->link->peer_remove(a.env, 2);
    a.env->link->peer_remove(a.env, 2);
    assert_string_equal(events_of(&a), "+2 ");
    expect_events(&f, &a, "-2closed ");
    assert_int_equal(say(&a, 2, ENV_CHANNEL_CALL, "x"), ERR_UNREACHABLE);
    assert_int_equal(say(&b, 1, ENV_CHANNEL_CALL, "still allowed in?"), OK);
    assert_false(fixture_runs_until(&f, never, NULL, 50));
    assert_int_equal(a.message_count, 0);

    know(&a, &b); /* its connection to us never ended, and counts again */
    expect_events(&f, &a, "-2closed +2 ");
    assert_int_equal(say(&b, 1, ENV_CHANNEL_CALL, "back"), OK);
    expect_messages(&f, &a, 1);
    assert_string_equal(buffer_text(&a.messages), "2:back ");
    end_close(&a);
    end_close(&b);
    fixture_close(&f);
}

/* ---- who may come in ---- */

static void mesh_auth__key_not_known__kept_out_until_it_is(void **state)
{
    struct fixture f;
    struct end a;
    struct end b;

    (void)state;
    fixture_open(&f);
    end_open(&f, &a, 1);
    end_open(&f, &b, 2);

    know(&b, &a); /* but a has never heard of b */
    assert_false(fixture_runs_until(&f, never, NULL, 150));
    assert_string_equal(events_of(&b), "");
    assert_int_equal(say(&b, 1, ENV_CHANNEL_CALL, "x"), ERR_UNREACHABLE);
    know(&a, &b);
    expect_events(&f, &b, "+1 ");
    assert_int_equal(say(&b, 1, ENV_CHANNEL_CALL, "now"), OK);
    expect_messages(&f, &a, 1);

    end_close(&a);
    end_close(&b);
    fixture_close(&f);
}

static void mesh_auth__somebody_else_at_the_endpoint__never_up(void **state)
{
    struct fixture f;
    struct end a;
    struct end b;
    struct end impostor;

    (void)state;
    fixture_open(&f);
    end_open(&f, &a, 1);
    end_make(&b, 2);
    end_open(&f, &impostor, 3);

    know(&impostor, &a);
    a.env->link->peer_set(a.env, 2, env_uv_endpoint(impostor.env), b.public_key);
    assert_false(fixture_runs_until(&f, never, NULL, 150));
    assert_string_equal(events_of(&a), "");
    assert_false(a.env->link->is_up(a.env, 2));

    end_close(&a);
    end_close(&impostor);
    fixture_close(&f);
}

static int connect_raw(const char *endpoint)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)atoi(strrchr(endpoint, ':') + 1)),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void mesh_receive__garbage_on_the_port__harmless(void **state)
{
    const struct slice garbage[] = {
        SLICE_LITERAL("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        SLICE_LITERAL("\xff\0\0\0\0\0\0\0\x01\x7f\x03\0NULL\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
                      "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"),
        SLICE_LITERAL("\xff\0\0\0\0\0\0\0\x01\x7f\x03\0CURVE\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
                      "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x04\xc8\x05HELLO\x01"),
        SLICE_LITERAL("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
    };
    int sockets[ARRAY_COUNT(garbage)];
    struct fixture f;
    struct end a;
    struct end b;

    (void)state;
    fixture_open(&f);
    pair_open(&f, &a, &b);

    for (size_t i = 0; i < ARRAY_COUNT(garbage); i++) {
        sockets[i] = connect_raw(env_uv_endpoint(a.env));
        assert_int_equal(send(sockets[i], garbage[i].data, garbage[i].size, MSG_NOSIGNAL),
                         garbage[i].size);
    }
    assert_false(fixture_runs_until(&f, never, NULL, 50));
    assert_int_equal(say(&b, 1, ENV_CHANNEL_CALL, "fine"), OK);
    expect_messages(&f, &a, 1);

    assert_string_equal(buffer_text(&a.messages), "2:fine ");
    assert_string_equal(events_of(&a), "+2 ");
    for (size_t i = 0; i < ARRAY_COUNT(garbage); i++)
        assert_int_equal(close(sockets[i]), 0);
    end_close(&a);
    end_close(&b);
    fixture_close(&f);
}

/* ---- a real second process ---- */

/* What it does: sends every message back. Arguments: folder, own keys, the first end's address and
 * key, where to listen. Prints its address. */
static void on_echo(void *user, uint64_t peer, struct slice message)
{
    struct env *env = user;

    (void)env_send(env, peer, ENV_CHANNEL_CALL, message);
}

static int run_second_process(char **argv)
{
    uv_loop_t loop;
    struct env *env;
    char why[ERROR_WHY_BYTES];
    struct env_uv_options options = {
        .data_folder = argv[2],
        .self = 2,
        .mesh = {.listen = argv[7], .public_key = argv[3], .secret_key = argv[4]}};

    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) /* a test that dies takes it along */
        return 1;
    if (uv_loop_init(&loop) != 0 || env_uv_open(&loop, &options, &env, why) != OK)
        return 1;
    env->link->handle(env, ENV_CHANNEL_CALL, (struct env_link_handler){env, on_echo});
    env->link->peer_set(env, 1, argv[5], argv[6]);
    printf("%s\n", env_uv_endpoint(env));
    (void)fflush(stdout);
    return uv_run(&loop, UV_RUN_DEFAULT);
}

struct process {
    pid_t pid;
    char endpoint[128];
};

static void process_start(struct fixture *f, struct process *process, struct end *first,
                          struct end *second, const char *listen)
{
    posix_spawn_file_actions_t actions;
    int output[2];
    char folder[160];

    (void)snprintf(folder, sizeof(folder), "%s/2", f->folder);
    char *argv[] = {(char[]){"test_mesh"},
                    (char[]){"--second"},
                    folder,
                    second->public_key,
                    second->secret_key,
                    (char *)(uintptr_t)env_uv_endpoint(first->env),
                    first->public_key,
                    (char *)(uintptr_t)listen,
                    NULL};

    assert_int_equal(pipe2(output, O_CLOEXEC), 0);
    assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
    assert_int_equal(posix_spawn_file_actions_adddup2(&actions, output[1], STDOUT_FILENO), 0);
    assert_int_equal(posix_spawn(&process->pid, "/proc/self/exe", &actions, NULL, argv, environ),
                     0);
    (void)posix_spawn_file_actions_destroy(&actions);
    assert_int_equal(close(output[1]), 0);
    ssize_t size = read(output[0], process->endpoint, sizeof(process->endpoint) - 1);

    assert_true(size > 0);
    process->endpoint[size - 1] = '\0';
    assert_int_equal(close(output[0]), 0);
}

static void process_end(struct process *process)
{
    int status;

    assert_int_equal(kill(process->pid, SIGKILL), 0);
    assert_int_equal(waitpid(process->pid, &status, 0), process->pid);
}

/* The first end here, the second in a process of its own, up. */
static void process_pair_open(struct fixture *f, struct process *process, struct end *a,
                              struct end *b, uint32_t silent_ms)
{
    end_make(a, 1);
    a->silent_ms = silent_ms;
    end_listen(f, a, "tcp://127.0.0.1:*");
    end_make(b, 2);
    process_start(f, process, a, b, "tcp://127.0.0.1:*");
    a->env->link->peer_set(a->env, 2, process->endpoint, b->public_key);
    expect_events(f, a, "+2 ");
}

static bool is_answered(void *user)
{
    struct end *end = user;

    if (end->message_count == 0) /* the second process may not have reached us yet */
        (void)say(end, 2, ENV_CHANNEL_CALL, "ping");
    return end->message_count > 0;
}

static void mesh_down__process_killed__refused_at_once(void **state)
{
    struct fixture f;
    struct process process;
    struct end a;
    struct end b;

    (void)state;
    fixture_open(&f);
    process_pair_open(&f, &process, &a, &b, SILENT_MS);
    fixture_until(&f, is_answered, &a);

    uint64_t before_us = uv_hrtime() / 1000;

    process_end(&process);
    expect_events(&f, &a, "-2refused ");
    uint64_t took_us = uv_hrtime() / 1000 - before_us;

    assert_in_range(took_us, 0, 10000000); /* usually below ten milliseconds */
    print_message("refused after %d us\n", (int)took_us);
    end_close(&a);
    fixture_close(&f);
}

static void mesh_down__process_killed_and_restarted__nothing_old_arrives(void **state)
{
    struct fixture f;
    struct process process;
    struct end a;
    struct end b;

    (void)state;
    fixture_open(&f);
    process_pair_open(&f, &process, &a, &b, SILENT_MS);
    fixture_until(&f, is_answered, &a);

    process_end(&process);
    expect_events(&f, &a, "-2refused ");
    buffer_clear(&a.events);
    a.message_count = 0;
    process_start(&f, &process, &a, &b, process.endpoint);
    expect_events(&f, &a, "+2 ");
    fixture_until(&f, is_answered, &a);

    process_end(&process);
    end_close(&a);
    fixture_close(&f);
}

static void mesh_down__process_stopped__silent_and_up_when_it_continues(void **state)
{
    struct fixture f;
    struct process process;
    struct end a;
    struct end b;

    (void)state;
    fixture_open(&f);
    process_pair_open(&f, &process, &a, &b, SILENT_SOON_MS);
    fixture_until(&f, is_answered, &a);

    assert_int_equal(kill(process.pid, SIGSTOP), 0);
    expect_events(&f, &a, "-2silent ");
    assert_int_equal(kill(process.pid, SIGCONT), 0);
    expect_events(&f, &a, "+2 -2silent +2 ");
    a.message_count = 0;
    fixture_until(&f, is_answered, &a);

    process_end(&process);
    end_close(&a);
    fixture_close(&f);
}

static void mesh_down__stopped_process_killed__silent_then_refused(void **state)
{
    struct fixture f;
    struct process process;
    struct end a;
    struct end b;

    (void)state;
    fixture_open(&f);
    process_pair_open(&f, &process, &a, &b, SILENT_SOON_MS);

    assert_int_equal(kill(process.pid, SIGSTOP), 0);
    expect_events(&f, &a, "-2silent ");
    process_end(&process);
    expect_events(&f, &a, "-2silent -2refused ");

    end_close(&a);
    fixture_close(&f);
}

static void mesh_send__peer_stopped__queue_is_bounded_except_for_raft(void **state)
{
    struct fixture f;
    struct process process;
    struct end a;
    struct end b;
    enum error rc = OK;
    size_t sent = 0;
    uint8_t *message = check_calloc(1, 100000);

    (void)state;
    fixture_open(&f);
    process_pair_open(&f, &process, &a, &b, SILENT_SOON_MS);

    assert_int_equal(kill(process.pid, SIGSTOP), 0);
    while ((rc = env_send(a.env, 2, ENV_CHANNEL_SNAPSHOT, slice_of(message, 100000))) == OK) {
        sent += 100000;
        if (sent % 1000000 == 0)
            (void)uv_run(&f.loop, UV_RUN_NOWAIT);
    }
    assert_int_equal(rc, ERR_OVERLOADED);
    assert_in_range(sent, 4u << 20, 40u << 20); /* ours, ZeroMQ's, the kernel's */
    assert_int_equal(env_send(a.env, 2, ENV_CHANNEL_CALL, slice_of(message, 100000)),
                     ERR_OVERLOADED);
    assert_int_equal(env_send(a.env, 2, ENV_CHANNEL_RAFT, slice_of(message, 100000)), OK);
    expect_events(&f, &a, "-2silent ");
    assert_int_equal(say(&a, 2, ENV_CHANNEL_RAFT, "x"), ERR_UNREACHABLE);

    free(message);
    process_end(&process);
    end_close(&a);
    fixture_close(&f);
}

static void env_uv_open__port_taken__says_so(void **state)
{
    struct fixture f;
    struct end a;
    struct end b;
    char folder[160];
    char why[ERROR_WHY_BYTES] = "";

    (void)state;
    fixture_open(&f);
    end_open(&f, &a, 1);
    end_make(&b, 2);
    (void)snprintf(folder, sizeof(folder), "%s/2", f.folder);
    struct env_uv_options options = {.data_folder = folder,
                                     .self = 2,
                                     .mesh = {.listen = env_uv_endpoint(a.env),
                                              .public_key = b.public_key,
                                              .secret_key = b.secret_key}};

    assert_int_equal(env_uv_open(&f.loop, &options, &b.env, why), ERR_IO);
    assert_non_null(strstr(why, "in use"));
    options.mesh.secret_key = "short";
    assert_int_equal(env_uv_open(&f.loop, &options, &b.env, why), ERR_INVALID);
    end_close(&a);
    fixture_close(&f);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mesh_send__both_know_each_other__arrives_both_ways),
        cmocka_unit_test(mesh_send__three_ends__each_message_names_its_true_sender),
        cmocka_unit_test(mesh_send__peer_unknown_or_never_up__unreachable),
        cmocka_unit_test(mesh_send__many_in_one_turn__in_order_and_raft_first),
        cmocka_unit_test(mesh_send__thousands_of_all_sizes__all_arrive_in_order),
        cmocka_unit_test(mesh_receive__many_frames_waiting__all_read),
        cmocka_unit_test(
            mesh_send__loop_of_the_peer_stands_still__window_and_queue_then_all_arrive),
        cmocka_unit_test(mesh_receive__sender_dies_before_all_is_read__what_came_in_is_read),
        cmocka_unit_test(mesh_send__largest_message__passes_and_larger_is_refused),
        cmocka_unit_test(mesh_send__to_oneself__delivered_later_in_order),
        cmocka_unit_test(env_uv_shim__delay_set__holds_messages_back),
        cmocka_unit_test(mesh_peer__closed_and_back_at_the_same_endpoint__up_again),
        cmocka_unit_test(mesh_peer_set__new_endpoint_of_the_same_peer__follows_it),
        cmocka_unit_test(mesh_peer_remove__peer_up__told_later_and_silent_from_then_on),
        cmocka_unit_test(mesh_auth__key_not_known__kept_out_until_it_is),
        cmocka_unit_test(mesh_auth__somebody_else_at_the_endpoint__never_up),
        cmocka_unit_test(mesh_receive__garbage_on_the_port__harmless),
        cmocka_unit_test(mesh_down__process_killed__refused_at_once),
        cmocka_unit_test(mesh_down__process_killed_and_restarted__nothing_old_arrives),
        cmocka_unit_test(mesh_down__process_stopped__silent_and_up_when_it_continues),
        cmocka_unit_test(mesh_down__stopped_process_killed__silent_then_refused),
        cmocka_unit_test(mesh_send__peer_stopped__queue_is_bounded_except_for_raft),
        cmocka_unit_test(env_uv_open__port_taken__says_so),
    };

    if (argc == 8 && strcmp(argv[1], "--second") == 0)
        return run_second_process(argv);
    log_set_level(LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
