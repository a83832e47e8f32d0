#include "tests/sim/seeds.h"

#include "proto/base/check.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct job {
    pid_t pid; /* 0 = free */
    int fd;    /* where its result comes from */
    uint64_t seed;
};

static double seconds_now(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void run_once_or_twice(const struct seeds_options *options, uint64_t seed,
                              struct seed_result *result)
{
    struct seed_result again = {0};

    options->run(options->user, seed, result);
    if (!options->twice || result->is_failed)
        return;
    options->run(options->user, seed, &again);
    if (again.trace_hash == result->trace_hash)
        return;
    result->is_failed = true;
    (void)snprintf(result->why, sizeof(result->why),
                   "two runs differ: trace %016" PRIx64 " after %" PRIu64
                   " events, then %016" PRIx64 " after %" PRIu64,
                   result->trace_hash, result->events, again.trace_hash, again.events);
}

static void write_all(int fd, const void *data, size_t size)
{
    const char *bytes = data;

    while (size > 0) {
        ssize_t written = write(fd, bytes, size);

        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return; /* then the parent sees no result, which is a failure */
        bytes += written;
        size -= (size_t)written;
    }
}

static void job_start(const struct seeds_options *options, struct job *job, uint64_t seed)
{
    int fds[2];

    CHECK(pipe(fds) == 0);
    (void)fflush(NULL);
    job->pid = fork();
    CHECK(job->pid >= 0);
    if (job->pid == 0) {
        struct seed_result result = {0};

        (void)close(fds[0]);
        (void)alarm(options->seconds_max);
        run_once_or_twice(options, seed, &result);
        write_all(fds[1], &result, sizeof(result));
        exit(0); /* not _exit: the leak checker speaks at exit */
    }
    (void)close(fds[1]);
    job->fd = fds[0];
    job->seed = seed;
}

static size_t read_all(int fd, void *data, size_t size)
{
    size_t got = 0;

    while (got < size) {
        ssize_t n = read(fd, (char *)data + got, size - got);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        got += (size_t)n;
    }
    return got;
}

/* How the process ended says more than its result, if it ended badly. */
static void job_end(struct job *job, int status, struct seed_result *result)
{
    bool has_result = read_all(job->fd, result, sizeof(*result)) == sizeof(*result);

    (void)close(job->fd);
    job->pid = 0;
    if (WIFSIGNALED(status)) {
        result->is_failed = true;
        (void)snprintf(result->why, sizeof(result->why), "%s",
                       WTERMSIG(status) == SIGALRM ? "hangs (or is far too slow)"
                                                   : strsignal(WTERMSIG(status)));
    } else if ((!has_result || WEXITSTATUS(status) != 0) && !result->is_failed) {
        result->is_failed = true;
        (void)snprintf(result->why, sizeof(result->why), "exit code %d%s", WEXITSTATUS(status),
                       has_result ? " after the run (a leak?)" : "");
    }
}

static void take_result(const struct seeds_options *options, struct seeds_summary *summary,
                        uint64_t seed, const struct seed_result *result)
{
    summary->run++;
    summary->trace_hash += result->trace_hash; /* runs end in any order */
    summary->events += result->events;
    for (size_t i = 0; i < SEEDS_FACTS_MAX; i++)
        summary->facts[i] += result->facts[i];
    if (!result->is_failed)
        return;
    if (!options->quiet)
        (void)printf("seed %" PRIu64 ": %s\n    replay: %s --seed %" PRIu64 " --trace\n", seed,
                     result->why, options->replay, seed);
    (void)fflush(stdout);
    if (summary->failed == 0 || seed < summary->failed_first) {
        summary->failed_first = seed;
        (void)snprintf(summary->why_first, sizeof(summary->why_first), "%s", result->why);
    }
    summary->failed++;
}

void seeds_run(const struct seeds_options *options, struct seeds_summary *summary)
{
    unsigned jobs_max = options->jobs > 0 ? options->jobs : (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    struct job *jobs = check_calloc(jobs_max, sizeof(*jobs));
    double start = seconds_now();
    uint64_t next = 0;
    unsigned running = 0;

    *summary = (struct seeds_summary){0};
    for (;;) {
        bool is_enough = options->stop_at_failure && summary->failed > 0;

        for (unsigned i = 0; i < jobs_max && next < options->count && !is_enough; i++) {
            if (jobs[i].pid != 0)
                continue;
            job_start(options, &jobs[i], options->first + next++);
            running++;
        }
        if (running == 0)
            break;

        int status = 0;
        pid_t pid = wait(&status);

        for (unsigned i = 0; i < jobs_max; i++) {
            struct seed_result result = {0};

            if (pid <= 0 || jobs[i].pid != pid)
                continue;
            job_end(&jobs[i], status, &result);
            take_result(options, summary, jobs[i].seed, &result);
            running--;
        }
    }
    summary->seconds = seconds_now() - start;
    free(jobs);
}
