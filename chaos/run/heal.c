#include "chaos/run/heal.h"

#include "chaos/run/breaker.h"
#include "deploy/status.h"
#include "proto/base/check.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RUNNER_MS 40000u /* for a runner to heal and end */
#define HEALTHY_MS 60000u
#define POLL_MS 200u
#define GUARD_WAIT_MS 20000u /* somebody may mend it by hand meanwhile */
#define STATUS_MS 1500u
#define LOOK_MS 300u

static void sleep_ms(unsigned ms)
{
    const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = (ms % 1000) * 1000000L};

    (void)nanosleep(&pause, NULL);
}

bool heal_is_healthy(struct cluster *cluster)
{
    struct status status;
    bool is_healthy;

    status_gather(cluster, STATUS_MS, &status);
    is_healthy = status_is_healthy(cluster, &status);
    if (!is_healthy && status_is_serving(&status)) { /* under load no two are asked at once */
        sleep_ms(LOOK_MS);
        status_look_again(cluster, STATUS_MS, &status);
        is_healthy = status_is_healthy(cluster, &status);
    }
    for (size_t i = 0; i < status.node_count; i++)
        is_healthy &= status.nodes[i].voteless == 0;
    status_close(&status);
    return is_healthy;
}

/* ---- skein heal ---- */

/* The lock, once whoever had it has healed and gone; -1. */
static int take_over(const struct cluster *cluster, bool is_json)
{
    pid_t holder = 0;
    int lock = open_faults_lock(cluster, &holder);

    if (lock == -1 && holder > 0) {
        if (!is_json)
            (void)printf("a chaos run is at work (process %d): telling it to stop\n", (int)holder);
        (void)kill(holder, SIGTERM);
    }
    for (unsigned waited = 0; lock == -1 && waited < RUNNER_MS; waited += POLL_MS) {
        sleep_ms(POLL_MS);
        lock = open_faults_lock(cluster, &holder);
    }
    return lock;
}

static void on_done(void *user, const char *text)
{
    if (!*(const bool *)user)
        (void)printf("%s\n", text);
    (void)fflush(stdout);
}

static void tell_open(const struct cluster *cluster, bool is_json)
{
    struct open_faults open;

    open_faults_load(cluster, &open);
    for (size_t i = 0; i < open.count && !is_json; i++)
        (void)printf("left open by %s: %s %s\n", open.list[i].scenario, open.list[i].what,
                     open.list[i].names);
}

static bool wait_healthy(struct cluster *cluster)
{
    for (unsigned waited = 0; waited < HEALTHY_MS; waited += POLL_MS) {
        if (heal_is_healthy(cluster))
            return true;
        sleep_ms(POLL_MS);
    }
    return false;
}

enum error heal(struct cluster *cluster, bool is_json, char why[ERROR_WHY_BYTES])
{
    int lock = take_over(cluster, is_json);
    enum error rc;

    if (lock < 0) {
        (void)snprintf(why, ERROR_WHY_BYTES,
                       "a chaos run does not let go of the cluster; end it, then heal again");
        return ERR_DENIED;
    }
    tell_open(cluster, is_json);
    rc = breaker_mend_all(cluster, &is_json, on_done, why);
    if (rc == OK && !wait_healthy(cluster)) {
        (void)snprintf(why, ERROR_WHY_BYTES,
                       "everything is mended, and not healthy yet; see: skein status");
        rc = ERR_TIMEOUT;
    }
    if (rc == OK && !is_json)
        (void)printf("healthy: every process runs, every shard is led, all replicas are equal\n");
    if (rc == OK && is_json)
        (void)printf("{\"healthy\":true}\n");
    (void)close(lock);
    return rc;
}

/* ---- the guard ---- */

/* In the guard's process, once the runner is gone. */
static void watch_over(struct cluster *cluster)
{
    char why[ERROR_WHY_BYTES];
    pid_t holder;

    for (unsigned waited = 0; waited < GUARD_WAIT_MS; waited += POLL_MS) {
        if (!open_faults_exist(cluster))
            return;
        sleep_ms(POLL_MS);
    }
    int lock = open_faults_lock(cluster, &holder);

    if (lock >= 0 && open_faults_exist(cluster))
        (void)!breaker_mend_all(cluster, NULL, NULL, why);
}

static void guard(struct cluster *cluster, int runner)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    char byte;

    (void)setsid();
    (void)signal(SIGINT, SIG_IGN);
    (void)dup2(null, 0);
    (void)dup2(null, 1);
    (void)dup2(null, 2);
    if (read(runner, &byte, 1) == 0) /* it ended and did not say goodbye */
        watch_over(cluster);
    _exit(0);
}

int heal_guard_start(struct cluster *cluster)
{
    int ends[2];
    pid_t child;

    if (pipe2(ends, O_CLOEXEC) != 0)
        return -1;
    (void)fflush(stdout);
    child = fork();
    if (child == 0) {
        pid_t grandchild;

        (void)close(ends[1]);
        grandchild = fork(); /* nobody's child: nobody has to reap it */
        if (grandchild == 0)
            guard(cluster, ends[0]);
        _exit(0);
    }
    (void)close(ends[0]);
    if (child > 0)
        (void)waitpid(child, NULL, 0);
    return ends[1];
}

void heal_guard_dismiss(int guard)
{
    if (guard < 0)
        return;
    (void)!write(guard, "", 1);
    (void)close(guard);
}
