/* skein-sim: runs of the whole thing on simulated machines, each from one seed. */

#include "proto/base/check.h"
#include "proto/raft/guard.h"
#include "tests/sim/consensus.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: skein-sim consensus [options]    Raft groups under faults\n"
    "\n"
    "  --seed S             the first seed (default: SKEIN_SEED, or else 1)\n"
    "  --count N            so many seeds from there on (1)\n"
    "  --nodes 3|5          voters at birth; two more stand by (3)\n"
    "  --groups G           Raft groups (1)\n"
    "  --ms N               simulated milliseconds of faults, before all is healed (20000)\n"
    "  --profile P          swarm: everything, a random half at a time;\n"
    "                       tails: leaders fall as they rise;\n"
    "                       stalls: so, on disks slower than elections;\n"
    "                       quorum: as tails, and then only a majority heals (swarm)\n"
    "  --disable-guard G    leave out one of the guards around libraft (may be repeated)\n"
    "  --plant BUG          plant a bug (sync-lies, durable-lies, amnesia, early-read,\n"
    "                       skipped-apply)\n"
    "  --without FAULT      leave out a kind of fault (may be repeated)\n"
    "  --jobs N             processes at a time (one for each core)\n"
    "  --twice              run each seed two times; the traces must be equal\n"
    "  --expect-failure     succeed when a seed fails, and stop there\n"
    "  --require-all        fail unless every kind of event was met at least once\n"
    "  --trace              print the faults of a run\n"
    "  --verbose            print every event and log line of it\n";

struct arguments {
    struct consensus_options consensus;
    struct seeds_options seeds;
    bool expect_failure;
    bool require_all;
    char replay[512];
};

static void run_consensus(void *user, uint64_t seed, struct seed_result *result)
{
    consensus_run(user, seed, result);
}

static int wrong(const char *what, const char *value)
{
    (void)fprintf(stderr, "skein-sim: %s: %s\n%s", what, value, help);
    return 2;
}

/* Decimal, at least `min`; 0 when it is something else. */
static uint64_t number(const char *text, uint64_t min)
{
    char *end;
    uint64_t value = strtoull(text, &end, 10);

    return *text != '\0' && *end == '\0' && value >= min ? value : 0;
}

static uint64_t seed_default(void)
{
    const char *text = getenv("SKEIN_SEED");
    uint64_t seed = text != NULL ? number(text, 1) : 1;

    return seed > 0 ? seed : 1;
}

enum flag {
    FLAG_SEED = 1000,
    FLAG_COUNT,
    FLAG_NODES,
    FLAG_GROUPS,
    FLAG_MS,
    FLAG_PROFILE,
    FLAG_DISABLE_GUARD,
    FLAG_PLANT,
    FLAG_WITHOUT,
    FLAG_JOBS,
    FLAG_TWICE,
    FLAG_EXPECT_FAILURE,
    FLAG_REQUIRE_ALL,
    FLAG_TRACE,
    FLAG_VERBOSE,
    FLAG_HELP
};

static const struct option options_known[] = {
    {"seed", required_argument, NULL, FLAG_SEED},
    {"count", required_argument, NULL, FLAG_COUNT},
    {"nodes", required_argument, NULL, FLAG_NODES},
    {"groups", required_argument, NULL, FLAG_GROUPS},
    {"ms", required_argument, NULL, FLAG_MS},
    {"profile", required_argument, NULL, FLAG_PROFILE},
    {"disable-guard", required_argument, NULL, FLAG_DISABLE_GUARD},
    {"plant", required_argument, NULL, FLAG_PLANT},
    {"without", required_argument, NULL, FLAG_WITHOUT},
    {"jobs", required_argument, NULL, FLAG_JOBS},
    {"twice", no_argument, NULL, FLAG_TWICE},
    {"expect-failure", no_argument, NULL, FLAG_EXPECT_FAILURE},
    {"require-all", no_argument, NULL, FLAG_REQUIRE_ALL},
    {"trace", no_argument, NULL, FLAG_TRACE},
    {"verbose", no_argument, NULL, FLAG_VERBOSE},
    {"help", no_argument, NULL, FLAG_HELP},
    {NULL, 0, NULL, 0},
};

/* By enum consensus_profile. */
static const char *const profiles[] = {"swarm", "tails", "stalls", "quorum"};

static const struct guard_name {
    const char *name;
    uint64_t bit;
} guards[] = {
    {"ack-clamp", GUARD_ACK_CLAMP},
    {"commit-clamp", GUARD_COMMIT_CLAMP},
    {"own-term-commit", GUARD_OWN_TERM_COMMIT},
    {"persisted-vote", GUARD_PERSISTED_VOTE},
    {"conflict-hint", GUARD_CONFLICT_HINT},
    {"prevote-term", GUARD_PREVOTE_TERM},
    {"commit-stall", GUARD_COMMIT_STALL},
};

static const struct plant_name {
    const char *name;
    enum consensus_plant plant;
} plants[] = {
    {"sync-lies", CONSENSUS_PLANT_SYNC_LIES},
    {"durable-lies", CONSENSUS_PLANT_DURABLE_LIES},
    {"amnesia", CONSENSUS_PLANT_AMNESIA},
    {"early-read", CONSENSUS_PLANT_EARLY_READ},
    {"skipped-apply", CONSENSUS_PLANT_SKIPPED_APPLY},
};

static enum consensus_plant plant_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(plants); i++)
        if (strcmp(plants[i].name, name) == 0)
            return plants[i].plant;
    return CONSENSUS_PLANT_NONE;
}

static uint64_t guard_bit(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(guards); i++)
        if (strcmp(guards[i].name, name) == 0)
            return guards[i].bit;
    return 0;
}

/* False: the option's value is wrong, and that was said. */
static bool take_option(struct arguments *arguments, int option, const char *value)
{
    struct consensus_options *consensus = &arguments->consensus;
    struct seeds_options *seeds = &arguments->seeds;
    uint64_t n = value != NULL ? number(value, 1) : 1;

    switch ((enum flag)option) {
    case FLAG_SEED:
        seeds->first = n;
        break;
    case FLAG_COUNT:
        seeds->count = n;
        break;
    case FLAG_NODES:
        consensus->nodes = (uint32_t)n;
        if (n != 3 && n != 5)
            n = 0;
        break;
    case FLAG_GROUPS:
        consensus->groups = (uint32_t)n;
        if (n > CONSENSUS_GROUPS_MAX)
            n = 0;
        break;
    case FLAG_MS:
        consensus->ms = (uint32_t)n;
        if (n > UINT32_MAX)
            n = 0;
        break;
    case FLAG_PROFILE:
        for (n = ARRAY_COUNT(profiles); n > 0 && strcmp(profiles[n - 1], value) != 0;)
            n--;
        consensus->profile = n > 0 ? (enum consensus_profile)(n - 1) : CONSENSUS_SWARM;
        break;
    case FLAG_DISABLE_GUARD:
        n = guard_bit(value);
        consensus->disable_guards |= n;
        break;
    case FLAG_PLANT:
        consensus->plant = plant_find(value);
        n = consensus->plant != CONSENSUS_PLANT_NONE;
        break;
    case FLAG_WITHOUT:
        n = consensus_fault_bit(value);
        consensus->without |= (uint32_t)n;
        break;
    case FLAG_JOBS:
        seeds->jobs = (unsigned)n;
        break;
    case FLAG_TWICE:
        seeds->twice = true;
        break;
    case FLAG_EXPECT_FAILURE:
        arguments->expect_failure = seeds->stop_at_failure = seeds->quiet = true;
        break;
    case FLAG_REQUIRE_ALL:
        arguments->require_all = true;
        break;
    case FLAG_TRACE:
        consensus->trace = true;
        break;
    case FLAG_VERBOSE:
        consensus->trace = consensus->verbose = true;
        break;
    case FLAG_HELP:
        (void)fputs(help, stdout);
        exit(0);
    }
    if (n == 0)
        (void)wrong("not a value for this option", value);
    return n > 0;
}

/* The command line without what picks seeds, so that a failing one can be run again. */
static void replay_put(char replay[static 512], int count, char *const words[])
{
    size_t size = 0;

    for (int i = 0; i < count && size < 512; i++) {
        if (strcmp(words[i], "--seed") == 0 || strcmp(words[i], "--count") == 0 ||
            strcmp(words[i], "--jobs") == 0) {
            i++;
            continue;
        }
        if (strcmp(words[i], "--expect-failure") != 0 && strcmp(words[i], "--require-all") != 0 &&
            strcmp(words[i], "--twice") != 0)
            size += (size_t)snprintf(replay + size, 512 - size, "%s%s", i > 0 ? " " : "", words[i]);
    }
}

static bool facts_print(const struct seeds_summary *summary)
{
    bool has_all = true;

    for (size_t i = 0; i < CONSENSUS_FACT_COUNT; i++) {
        (void)printf("  %10" PRIu64 "  %s\n", summary->facts[i],
                     consensus_fact_text((enum consensus_fact)i));
        has_all &= summary->facts[i] > 0;
    }
    return has_all;
}

static int consensus_main(struct arguments *arguments)
{
    struct seeds_summary summary;
    bool has_all;

    (void)printf("seeds %" PRIu64 " to %" PRIu64 ", %u nodes, %u groups, %u ms each\n",
                 arguments->seeds.first, arguments->seeds.first + arguments->seeds.count - 1,
                 arguments->consensus.nodes, arguments->consensus.groups, arguments->consensus.ms);
    arguments->seeds.user = &arguments->consensus;
    arguments->seeds.run = run_consensus;
    seeds_run(&arguments->seeds, &summary);
    has_all = facts_print(&summary);
    (void)printf("%.1f seeds per second, %.0f events per second\n",
                 (double)summary.run / summary.seconds, (double)summary.events / summary.seconds);
    (void)printf("traces %016" PRIx64 "\n", summary.trace_hash);
    (void)printf("seeds %" PRIu64 ": ok %" PRIu64 ", failed %" PRIu64, summary.run,
                 summary.run - summary.failed, summary.failed);
    if (summary.failed > 0)
        (void)printf(" (first seed %" PRIu64 ": %s)", summary.failed_first, summary.why_first);
    (void)printf("\n");
    if (arguments->expect_failure)
        return summary.failed > 0 ? 0 : 1;
    if (arguments->require_all && !has_all) {
        (void)printf("some kind of event was never met\n");
        return 1;
    }
    return summary.failed > 0 ? 1 : 0;
}

int main(int count, char *words[])
{
    struct arguments arguments = {
        .consensus = {.nodes = 3, .groups = 1, .ms = 20000},
        .seeds = {.first = seed_default(), .count = 1, .seconds_max = 120},
    };
    int option;

    replay_put(arguments.replay, count, words);
    arguments.seeds.replay = arguments.replay;
    while ((option = getopt_long(count, words, "", options_known, NULL)) != -1)
        if (option == '?' || !take_option(&arguments, option, optarg))
            return 2;
    if (optind + 1 != count)
        return wrong("one command is wanted", optind < count ? words[optind + 1] : "none");
    if (strcmp(words[optind], "consensus") == 0)
        return consensus_main(&arguments);
    return wrong("unknown command", words[optind]);
}
