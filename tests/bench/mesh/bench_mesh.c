/* What the mesh carries between processes on one machine, CURVE included.
 *
 * usage: bench_mesh
 *
 * Starts peers (itself, once more) and prints: messages of 300 bytes per second one way, in batches
 * of 100 per turn; the round trip of one message, and of 64 kept in flight; what eight idle peers
 * cost. */

#include "proto/base/check.h"
#include "proto/env/env_uv.h"

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define MESSAGE_BYTES 300
#define BATCH 100
#define MESSAGES 2000000
#define ROUND_TRIPS 50000
#define PEERS 8
#define IDLE_US 5000000

extern char **environ;

struct peer {
    pid_t pid;
    char endpoint[128];
    char public_key[MESH_KEY_BYTES];
    char secret_key[MESH_KEY_BYTES];
};

struct bench {
    uv_loop_t loop;
    struct env *env;
    char folder[64];
    char public_key[MESH_KEY_BYTES];
    char secret_key[MESH_KEY_BYTES];
    struct peer peers[PEERS];
    struct env_link_watcher watcher;
    size_t up;
    bool is_done;
    uint64_t *latencies_us;
    size_t round_trips;
    uint64_t acknowledged;
};

/* ---- the other side: sends calls back, counts snapshot messages and tells every 1000th ---- */

struct echo {
    struct env *env;
    uint64_t count;
};

static void on_echo_call(void *user, uint64_t peer, struct slice message)
{
    CHECK(env_send(((struct echo *)user)->env, peer, ENV_CHANNEL_CALL, message) == OK);
}

static void on_echo_snapshot(void *user, uint64_t peer, struct slice message)
{
    struct echo *echo = user;

    (void)message;
    if (++echo->count % 1000 == 0)
        CHECK(env_send(echo->env, peer, ENV_CHANNEL_SNAPSHOT,
                       slice_of(&echo->count, sizeof(echo->count))) == OK);
}

/* argv: program --peer id folder public secret endpoint-of-0 key-of-0 */
static int run_peer(char **argv)
{
    uv_loop_t loop;
    struct echo echo = {0};
    char why[ERROR_WHY_BYTES];
    struct env_uv_options options = {
        .data_folder = argv[3],
        .self = strtoull(argv[2], NULL, 10),
        .mesh = {.listen = "tcp://127.0.0.1:*", .public_key = argv[4], .secret_key = argv[5]}};

    CHECK(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0);
    CHECK(uv_loop_init(&loop) == 0);
    CHECK(env_uv_open(&loop, &options, &echo.env, why) == OK);
    echo.env->link->handle(echo.env, ENV_CHANNEL_CALL,
                           (struct env_link_handler){&echo, on_echo_call});
    echo.env->link->handle(echo.env, ENV_CHANNEL_SNAPSHOT,
                           (struct env_link_handler){&echo, on_echo_snapshot});
    echo.env->link->peer_set(echo.env, 1, argv[6], argv[7]);
    printf("%s\n", env_uv_endpoint(echo.env));
    (void)fflush(stdout);
    return uv_run(&loop, UV_RUN_DEFAULT);
}

static void start_peer(struct bench *bench, size_t i)
{
    struct peer *peer = &bench->peers[i];
    posix_spawn_file_actions_t actions;
    char folder[96];
    char id[16];
    int output[2];

    mesh_make_keys(peer->public_key, peer->secret_key);
    (void)snprintf(folder, sizeof(folder), "%s/%zu", bench->folder, i + 2);
    (void)snprintf(id, sizeof(id), "%zu", i + 2);
    char *argv[] = {(char[]){"bench_mesh"},
                    (char[]){"--peer"},
                    id,
                    folder,
                    peer->public_key,
                    peer->secret_key,
                    (char *)(uintptr_t)env_uv_endpoint(bench->env),
                    bench->public_key,
                    NULL};

    CHECK(pipe2(output, O_CLOEXEC) == 0);
    CHECK(posix_spawn_file_actions_init(&actions) == 0);
    CHECK(posix_spawn_file_actions_adddup2(&actions, output[1], STDOUT_FILENO) == 0);
    CHECK(posix_spawn(&peer->pid, "/proc/self/exe", &actions, NULL, argv, environ) == 0);
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)close(output[1]);
    ssize_t size = read(output[0], peer->endpoint, sizeof(peer->endpoint) - 1);

    CHECK(size > 0);
    peer->endpoint[size - 1] = '\0';
    (void)close(output[0]);
    bench->env->link->peer_set(bench->env, i + 2, peer->endpoint, peer->public_key);
}

/* ---- this side ---- */

static void run_until_done(struct bench *bench)
{
    bench->is_done = false;
    while (!bench->is_done)
        (void)uv_run(&bench->loop, UV_RUN_ONCE);
}

static void on_up(void *user, uint64_t peer)
{
    struct bench *bench = user;

    (void)peer;
    bench->is_done = ++bench->up == PEERS;
}

static void on_down(void *user, uint64_t peer, enum env_down_reason reason)
{
    (void)user;
    (void)peer;
    (void)reason;
}

static void on_acknowledged(void *user, uint64_t peer, struct slice message)
{
    struct bench *bench = user;

    (void)peer;
    memcpy(&bench->acknowledged, message.data, sizeof(bench->acknowledged));
}

/* Keeps at most 100,000 unacknowledged. */
static void measure_throughput(struct bench *bench)
{
    uint8_t message[MESSAGE_BYTES] = {0};
    uint64_t sent = 0;
    uint64_t before = uv_hrtime();

    while (bench->acknowledged < MESSAGES) {
        for (int i = 0; i < BATCH && sent < MESSAGES && sent - bench->acknowledged < 100000; i++)
            if (env_send(bench->env, 2, ENV_CHANNEL_SNAPSHOT, slice_of(message, sizeof(message))) ==
                OK)
                sent++;
        (void)uv_run(&bench->loop, sent - bench->acknowledged < 100000 && sent < MESSAGES
                                       ? UV_RUN_NOWAIT
                                       : UV_RUN_ONCE);
    }
    double seconds = (double)(uv_hrtime() - before) / 1e9;

    printf("one way, %d bytes, batches of %d: %.0f messages/s, %.0f MB/s\n", MESSAGE_BYTES, BATCH,
           MESSAGES / seconds, MESSAGES / seconds * MESSAGE_BYTES / 1e6);
}

static void ping(struct bench *bench)
{
    uint8_t message[MESSAGE_BYTES] = {0};
    uint64_t now = uv_hrtime();

    memcpy(message, &now, sizeof(now));
    CHECK(env_send(bench->env, 2, ENV_CHANNEL_CALL, slice_of(message, sizeof(message))) == OK);
}

static void on_pong(void *user, uint64_t peer, struct slice message)
{
    struct bench *bench = user;
    uint64_t sent;

    (void)peer;
    if (bench->is_done)
        return;
    memcpy(&sent, message.data, sizeof(sent));
    bench->latencies_us[bench->round_trips++] = (uv_hrtime() - sent) / 1000;
    bench->is_done = bench->round_trips == ROUND_TRIPS;
    ping(bench);
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static void measure_round_trips(struct bench *bench, int in_flight)
{
    uint64_t before = uv_hrtime();

    bench->round_trips = 0;
    bench->is_done = false;
    for (int i = 0; i < in_flight; i++)
        ping(bench);
    run_until_done(bench);
    double seconds = (double)(uv_hrtime() - before) / 1e9;

    qsort(bench->latencies_us, ROUND_TRIPS, sizeof(uint64_t), compare);
    printf("round trips, %d in flight: %.0f/s, p50 %d us, p99 %d us, p99.9 %d us\n", in_flight,
           ROUND_TRIPS / seconds, (int)bench->latencies_us[ROUND_TRIPS / 2],
           (int)bench->latencies_us[ROUND_TRIPS / 100 * 99],
           (int)bench->latencies_us[ROUND_TRIPS / 1000 * 999]);
}

static void on_idle_over(struct env_timer *timer)
{
    (void)timer;
}

static void measure_idle(struct bench *bench)
{
    struct env_timer timer = {0};
    struct rusage before;
    struct rusage after;
    uint64_t start = uv_hrtime();

    CHECK(getrusage(RUSAGE_SELF, &before) == 0);
    env_timer_start(bench->env, &timer, IDLE_US, on_idle_over);
    while (env_timer_is_running(&timer))
        (void)uv_run(&bench->loop, UV_RUN_ONCE);
    CHECK(getrusage(RUSAGE_SELF, &after) == 0);
    double used_us = (double)(after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1e6 +
                     (double)(after.ru_utime.tv_usec - before.ru_utime.tv_usec) +
                     (double)(after.ru_stime.tv_sec - before.ru_stime.tv_sec) * 1e6 +
                     (double)(after.ru_stime.tv_usec - before.ru_stime.tv_usec);

    printf("idle with %d peers: %.2f %% of a core, %ld MiB resident at most\n", PEERS,
           used_us * 100 * 1000 / (double)(uv_hrtime() - start), after.ru_maxrss / 1024);
}

static int remove_one(const char *path, const struct stat *about, int type, struct FTW *walk)
{
    (void)about;
    (void)type;
    (void)walk;
    return remove(path);
}

int main(int argc, char **argv)
{
    struct bench bench = {.folder = "/tmp/skein-bench-XXXXXX"};
    char why[ERROR_WHY_BYTES] = "";
    char folder[96];

    if (argc == 8 && strcmp(argv[1], "--peer") == 0)
        return run_peer(argv);
    CHECK(mkdtemp(bench.folder) != NULL);
    CHECK(uv_loop_init(&bench.loop) == 0);
    mesh_make_keys(bench.public_key, bench.secret_key);
    (void)snprintf(folder, sizeof(folder), "%s/1", bench.folder);
    struct env_uv_options options = {.data_folder = folder,
                                     .self = 1,
                                     .mesh = {.listen = "tcp://127.0.0.1:*",
                                              .public_key = bench.public_key,
                                              .secret_key = bench.secret_key}};

    CHECK(env_uv_open(&bench.loop, &options, &bench.env, why) == OK);
    bench.watcher = (struct env_link_watcher){.user = &bench, .on_up = on_up, .on_down = on_down};
    bench.env->link->watch(bench.env, &bench.watcher);
    bench.env->link->handle(bench.env, ENV_CHANNEL_CALL,
                            (struct env_link_handler){&bench, on_pong});
    bench.env->link->handle(bench.env, ENV_CHANNEL_SNAPSHOT,
                            (struct env_link_handler){&bench, on_acknowledged});
    bench.latencies_us = check_calloc(ROUND_TRIPS, sizeof(uint64_t));
    for (size_t i = 0; i < PEERS; i++)
        start_peer(&bench, i);
    run_until_done(&bench);
    measure_idle(&bench);
    measure_round_trips(&bench, 1);
    measure_round_trips(&bench, 64);
    measure_throughput(&bench);
    for (size_t i = 0; i < PEERS; i++) {
        (void)kill(bench.peers[i].pid, SIGKILL);
        (void)waitpid(bench.peers[i].pid, NULL, 0);
    }
    env_uv_close(bench.env);
    CHECK(nftw(bench.folder, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0);
    (void)uv_loop_close(&bench.loop);
    free(bench.latencies_us);
    return 0;
}
