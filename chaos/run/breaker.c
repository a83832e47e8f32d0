#include "chaos/run/breaker.h"

#include "chaos/run/aim.h"
#include "chaos/run/heal.h"
#include "chaos/run/rot.h"
#include "proto/base/check.h"

#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <uv.h>

#define END_MS 15000u /* a process that was told to end has done so by then */
#define LINK_TRIES 8

static uint64_t wall_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void breaker_init(struct breaker *breaker, struct cluster *cluster, const char *scenario,
                  uint64_t seed)
{
    *breaker = (struct breaker){.cluster = cluster};
    (void)snprintf(breaker->scenario, sizeof(breaker->scenario), "%s", scenario);
    rng_init(&breaker->rng, seed);
    open_faults_load(cluster, &breaker->open);
    link_faults_init(&breaker->links, cluster);
}

void breaker_close(struct breaker *breaker)
{
    link_faults_close(&breaker->links);
}

/* ---- processes ---- */

/* How many of the target the signal reached. */
static size_t signal_all(const struct target *target, int number)
{
    size_t count = 0;

    for (size_t i = 0; i < target->count; i++)
        count += daemon_signal(target->daemons[i], number) == OK;
    return count;
}

static enum error wait_all(const struct target *target)
{
    enum error rc = OK;

    for (size_t i = 0; i < target->count && rc == OK; i++)
        rc = daemon_wait(target->daemons[i], END_MS);
    return rc;
}

static enum error start_all(const struct target *target, char why[ERROR_WHY_BYTES])
{
    enum error rc = OK;

    for (size_t i = 0; i < target->count; i++) {
        enum error started = daemon_start(target->daemons[i]);

        if (started == OK)
            continue;
        rc = started;
        (void)snprintf(why, ERROR_WHY_BYTES, "%s could not be started: %s",
                       target->daemons[i]->name, error_text(started));
    }
    return rc;
}

/* ---- data ---- */

/* Data may be taken from one process only while every other has its own, and its vote. */
static bool all_is_whole(struct cluster *cluster, char why[ERROR_WHY_BYTES])
{
    bool is_whole = heal_is_healthy(cluster);

    if (!is_whole)
        (void)snprintf(why, ERROR_WHY_BYTES,
                       "left out: another replica is not whole yet, and two at once are more "
                       "than it must survive");
    return is_whole;
}

static enum error damage(struct breaker *breaker, struct injection *injection)
{
    const struct scenario_fault *fault = injection->fault;
    char text[ROT_TEXT_BYTES] = "nothing is left on its disk";
    enum error rc = OK;

    for (size_t i = 0; i < injection->target.count && rc == OK; i++) {
        const struct daemon *daemon = injection->target.daemons[i];

        if (fault->verb->action == ACTION_WIPE)
            rc = rot_empty(daemon);
        else if (fault->verb->action == ACTION_FLIP)
            rc = rot_flip(daemon, fault->words[0], &breaker->rng, text);
        else
            rc = rot_truncate(daemon, fault->words[0], &breaker->rng, text);
    }
    if (rc == OK)
        (void)snprintf(injection->target.why, sizeof(injection->target.why), "%s", text);
    return rc;
}

/* ---- links ---- */

static bool is_in(const struct target *target, const struct daemon *daemon)
{
    for (size_t i = 0; i < target->count; i++)
        if (target->daemons[i] == daemon)
            return true;
    return false;
}

/* What it does to what `from` sends to `to`; `to_target`: it goes to the target. */
static struct link_edge edge_of(const struct scenario_fault *fault, bool to_target)
{
    struct link_edge edge = {0};
    uint32_t number = (uint32_t)strtoul(fault->words[0], NULL, 10);

    switch (fault->verb->action) {
    case ACTION_CUT:
        edge.is_cut = true;
        break;
    case ACTION_MUTE:
        edge.drop_permille = to_target ? 0 : 1000;
        break;
    case ACTION_DEAFEN:
        edge.drop_permille = to_target ? 1000 : 0;
        break;
    case ACTION_DELAY:
        edge.delay_ms = number;
        break;
    case ACTION_LOSE:
        edge.drop_permille = number < 100 ? number * 10 : 1000;
        break;
    case ACTION_KILL:
    case ACTION_PAUSE:
    case ACTION_STOP:
    case ACTION_WIPE:
    case ACTION_FLIP:
    case ACTION_TRUNCATE:
    case ACTION_ELSEWHERE:
        break;
    }
    return edge;
}

static void add_edge(struct breaker *breaker, const struct injection *injection, size_t from,
                     size_t to, bool to_target, uint64_t until_ms)
{
    struct link_edge edge = edge_of(injection->fault, to_target);

    edge.fault = injection->id;
    edge.from = from;
    edge.to = to;
    edge.until_ms = until_ms;
    if (edge.is_cut || edge.delay_ms > 0 || edge.drop_permille > 0)
        link_faults_add(&breaker->links, &edge);
}

static void add_edges(struct breaker *breaker, const struct injection *injection,
                      const struct target *others, uint64_t until_ms)
{
    struct cluster *cluster = breaker->cluster;

    for (size_t i = 0; i < cluster->daemon_count; i++)
        for (size_t j = 0; j < cluster->daemon_count; j++) {
            if (!is_in(&injection->target, &cluster->daemons[i]) ||
                is_in(&injection->target, &cluster->daemons[j]) ||
                (others->count > 0 && !is_in(others, &cluster->daemons[j])))
                continue;
            add_edge(breaker, injection, i, j, false, until_ms);
            add_edge(breaker, injection, j, i, true, until_ms);
        }
}

static void mark_ends(const struct breaker *breaker, unsigned fault, bool *who)
{
    for (size_t i = 0; i < breaker->links.count; i++)
        if (breaker->links.edges[i].fault == fault)
            who[breaker->links.edges[i].from] = who[breaker->links.edges[i].to] = true;
}

static enum error break_links(struct breaker *breaker, struct injection *injection,
                              const struct target *others, uint32_t for_ms,
                              char why[ERROR_WHY_BYTES])
{
    bool *who = check_calloc(breaker->cluster->daemon_count + 1, sizeof(*who));
    uint64_t now_ms = wall_ms();
    enum error rc;

    add_edges(breaker, injection, others, now_ms + for_ms);
    mark_ends(breaker, injection->id, who);
    rc = link_faults_tell(&breaker->links, who, now_ms, why);
    /* One end is enough for a cut, and whoever could not be told is most likely dead. */
    if (rc == ERR_UNREACHABLE)
        rc = OK;
    free(who);
    return rc;
}

/* One that was started a moment ago does not listen yet. */
static enum error tell_patiently(const struct link_faults *links, const bool *who,
                                 char why[ERROR_WHY_BYTES])
{
    const struct timespec pause = {.tv_nsec = 300000000L};
    enum error rc = ERR_UNREACHABLE;

    for (int i = 0; i < LINK_TRIES && rc != OK; i++) {
        if (i > 0)
            (void)nanosleep(&pause, NULL);
        rc = link_faults_tell(links, who, wall_ms(), why);
    }
    return rc;
}

static enum error mend_links(struct breaker *breaker, const struct injection *injection,
                             char why[ERROR_WHY_BYTES])
{
    bool *who = check_calloc(breaker->cluster->daemon_count + 1, sizeof(*who));
    enum error rc;

    mark_ends(breaker, injection->id, who);
    link_faults_remove(&breaker->links, injection->id);
    rc = tell_patiently(&breaker->links, who, why);
    link_faults_forget(&breaker->links);
    free(who);
    return rc;
}

/* ---- one fault ---- */

static bool is_of_links(const struct scenario_fault *fault)
{
    switch (fault->verb->action) {
    case ACTION_CUT:
    case ACTION_MUTE:
    case ACTION_DEAFEN:
    case ACTION_DELAY:
    case ACTION_LOSE:
        return true;
    case ACTION_KILL:
    case ACTION_PAUSE:
    case ACTION_STOP:
    case ACTION_WIPE:
    case ACTION_FLIP:
    case ACTION_TRUNCATE:
    case ACTION_ELSEWHERE:
        break;
    }
    return false;
}

bool breaker_takes_data(const struct scenario_fault *fault)
{
    return fault->verb->action == ACTION_WIPE || fault->verb->action == ACTION_FLIP ||
           fault->verb->action == ACTION_TRUNCATE;
}

static enum error carry_out(struct breaker *breaker, struct injection *injection,
                            const struct target *others, uint32_t for_ms, char why[ERROR_WHY_BYTES])
{
    const struct target *target = &injection->target;
    enum error rc;

    (void)snprintf(why, ERROR_WHY_BYTES, "left out: %.120s does not run", injection->names);
    if (is_of_links(injection->fault))
        return break_links(breaker, injection, others, for_ms, why);
    switch (injection->fault->verb->action) {
    case ACTION_PAUSE:
        return signal_all(target, SIGSTOP) > 0 ? OK : ERR_NOT_FOUND;
    case ACTION_STOP:
        return signal_all(target, SIGTERM) > 0 ? OK : ERR_NOT_FOUND;
    case ACTION_KILL:
        return signal_all(target, SIGKILL) > 0 ? OK : ERR_NOT_FOUND;
    case ACTION_WIPE:
    case ACTION_FLIP:
    case ACTION_TRUNCATE:
        (void)signal_all(target, SIGKILL);
        rc = wait_all(target);
        return rc == OK ? damage(breaker, injection) : rc;
    case ACTION_CUT:
    case ACTION_MUTE:
    case ACTION_DEAFEN:
    case ACTION_DELAY:
    case ACTION_LOSE:
    case ACTION_ELSEWHERE:
        break;
    }
    return ERR_INVALID;
}

static void name_all(struct injection *injection)
{
    size_t size = 0;

    for (size_t i = 0; i < injection->target.count && size < sizeof(injection->names); i++)
        size += (size_t)snprintf(injection->names + size, sizeof(injection->names) - size, "%s%s",
                                 i > 0 ? " " : "", injection->target.daemons[i]->name);
}

/* Behind its number or file name: TARGET, or TARGET from TARGET. */
static enum error find_targets(struct breaker *breaker, struct injection *injection,
                               unsigned number, struct target *others, char why[ERROR_WHY_BYTES])
{
    const struct scenario_fault *fault = injection->fault;
    const char *words[SCENARIO_WORDS_MAX];
    size_t first = fault->verb->words_min - 1;
    size_t end = first;
    enum error rc;

    for (size_t i = 0; i < fault->word_count; i++)
        words[i] = fault->words[i];
    while (end < fault->word_count && strcmp(words[end], "from") != 0)
        end++;
    *others = (struct target){0};
    rc = aim(breaker->cluster, words + first, end - first, number, &breaker->rng,
             &injection->target, why);
    if (rc == OK && end + 1 < fault->word_count)
        rc = aim(breaker->cluster, words + end + 1, fault->word_count - end - 1, number,
                 &breaker->rng, others, why);
    name_all(injection);
    return rc;
}

static void describe(struct breaker *breaker, struct injection *injection,
                     const struct target *others)
{
    const struct target *target = &injection->target;
    const struct scenario_fault *fault = injection->fault;
    const char *place =
        target->count == 1 ? cluster_region_of(breaker->cluster, target->daemons[0]) : "";
    char detail[64] = "";

    if (fault->verb->action == ACTION_DELAY)
        (void)snprintf(detail, sizeof(detail), " by %.10s ms each way", fault->words[0]);
    if (fault->verb->action == ACTION_LOSE)
        (void)snprintf(detail, sizeof(detail), ", %.10s %% of it lost", fault->words[0]);
    (void)snprintf(injection->text, sizeof(injection->text), "%s %s%s%s%s%s%s%s%s%s",
                   fault->verb->past, injection->names, place[0] != '\0' ? " (" : "", place,
                   place[0] != '\0' ? ")" : "", others->count > 0 ? " from " : "",
                   others->count > 0 ? others->why : "", detail, target->why[0] != '\0' ? ": " : "",
                   target->why);
}

enum error breaker_do(struct breaker *breaker, const struct scenario_fault *fault, unsigned number,
                      uint32_t for_ms, struct injection *injection, char why[ERROR_WHY_BYTES])
{
    struct open_fault open = {.until_ms = wall_ms() + for_ms};
    struct target others;
    enum error rc;

    *injection = (struct injection){.id = ++breaker->ids, .fault = fault};
    rc = find_targets(breaker, injection, number, &others, why);
    if (rc == OK && breaker_takes_data(fault) && !all_is_whole(breaker->cluster, why))
        rc = ERR_CONFLICT;
    if (rc != OK)
        return rc;
    open.id = injection->id;
    (void)snprintf(open.what, sizeof(open.what), "%s", fault->verb->name);
    (void)snprintf(open.scenario, sizeof(open.scenario), "%s", breaker->scenario);
    (void)snprintf(open.names, sizeof(open.names), "%s", injection->names);
    rc = open_faults_add(&breaker->open, &open);
    if (rc != OK) {
        (void)snprintf(why, ERROR_WHY_BYTES, "left out: %.100s cannot be written",
                       breaker->open.path);
        return rc;
    }
    rc = carry_out(breaker, injection, &others, for_ms, why);
    injection->done_us = uv_hrtime() / 1000;
    if (rc == ERR_NOT_FOUND)
        open_faults_remove(&breaker->open, injection->id);
    describe(breaker, injection, &others);
    return rc;
}

enum error breaker_undo(struct breaker *breaker, struct injection *injection,
                        char why[ERROR_WHY_BYTES])
{
    const struct scenario_fault *fault = injection->fault;
    const char *words = "started again";
    enum error rc = OK;

    if (is_of_links(fault)) {
        rc = mend_links(breaker, injection, why);
        words = "links mended";
    } else if (fault->verb->action == ACTION_PAUSE) {
        (void)signal_all(&injection->target, SIGCONT);
        words = "goes on";
    } else {
        if (fault->verb->action == ACTION_STOP)
            rc = wait_all(&injection->target);
        if (rc == OK)
            rc = start_all(&injection->target, why);
    }
    (void)snprintf(injection->text, sizeof(injection->text), "%s: %s", injection->names, words);
    if (rc == OK)
        open_faults_remove(&breaker->open, injection->id);
    return rc;
}

/* ---- everything ---- */

struct mending {
    void *user;
    void (*on_done)(void *user, const char *text);
};

static void say(const struct mending *mending, const char *name, const char *what)
{
    char text[BREAKER_TEXT_BYTES];

    (void)snprintf(text, sizeof(text), "%s%s%s", name, name[0] != '\0' ? " " : "", what);
    if (mending->on_done != NULL)
        mending->on_done(mending->user, text);
}

static void resume_all(struct cluster *cluster, const struct mending *mending)
{
    for (size_t i = 0; i < cluster->daemon_count; i++)
        if (daemon_is_paused(&cluster->daemons[i]) &&
            daemon_signal(&cluster->daemons[i], SIGCONT) == OK)
            say(mending, cluster->daemons[i].name, "goes on");
}

static enum error start_dead(struct cluster *cluster, const struct mending *mending,
                             char why[ERROR_WHY_BYTES])
{
    enum error rc = OK;

    for (size_t i = 0; i < cluster->daemon_count; i++) {
        const struct daemon *daemon = &cluster->daemons[i];
        enum error started;

        if (daemon_pid(daemon) != 0)
            continue;
        started = daemon_start(daemon);
        if (started == OK) {
            say(mending, daemon->name, "started");
            continue;
        }
        rc = started;
        (void)snprintf(why, ERROR_WHY_BYTES, "%s cannot be started: %s", daemon->name,
                       error_text(started));
    }
    return rc;
}

static enum error mend_all_links(const struct cluster *cluster, char why[ERROR_WHY_BYTES])
{
    struct link_faults none;
    enum error rc;

    link_faults_init(&none, cluster);
    rc = tell_patiently(&none, NULL, why);
    link_faults_close(&none);
    return rc;
}

enum error breaker_mend_all(struct cluster *cluster, void *user,
                            void (*on_done)(void *user, const char *text),
                            char why[ERROR_WHY_BYTES])
{
    const struct mending mending = {user, on_done};
    struct open_faults open;
    enum error started;
    enum error told;

    resume_all(cluster, &mending);
    told = mend_all_links(cluster, why);
    if (told == OK)
        say(&mending, "", "all links are whole");
    started = start_dead(cluster, &mending, why); /* a new process has no broken links */
    open_faults_load(cluster, &open);
    if (started == OK && told == OK)
        open_faults_clear(&open);
    return started != OK ? started : told;
}
