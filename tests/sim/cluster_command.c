#include "tests/sim/cluster_command.h"

#include "proto/base/check.h"
#include "tests/sim/cluster.h"
#include "tests/sim/seeds.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char help[] =
    "usage: skein-sim-cluster [options]\n"
    "  --seed S      the first seed (default: SKEIN_SEED, or else 1)\n"
    "  --fresh       the first seed is one nobody ran yet, unless SKEIN_SEED says\n"
    "  --count N     so many seeds from there on (1)\n"
    "  --ms N        simulated milliseconds of faults (20000)\n"
    "  --scenario S  faults: every kind, drawn from the seed; overload: more writes at once than\n"
    "                a shard takes; repair: a node stays away until its replicas were built\n"
    "                elsewhere, and comes back (faults)\n"
    "  --jobs N      processes at a time (one for each core)\n"
    "  --twice       run each seed two times; the traces must be equal\n"
    "  --expect-failure  succeed when a seed fails, and stop there\n"
    "  --story       tell the faults and how the cluster takes them\n"
    "  --verbose     tell every event\n";

static const struct option options_known[] = {
    {"seed", required_argument, NULL, 's'},
    {"fresh", no_argument, NULL, 'f'},
    {"count", required_argument, NULL, 'c'},
    {"ms", required_argument, NULL, 'm'},
    {"scenario", required_argument, NULL, 'S'},
    {"jobs", required_argument, NULL, 'j'},
    {"twice", no_argument, NULL, 't'},
    {"expect-failure", no_argument, NULL, 'e'},
    {"story", no_argument, NULL, 'o'},
    {"trace", no_argument, NULL, 'o'}, /* as skein-sim calls it */
    {"verbose", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static const char *const fact_texts[] = {"writes acknowledged", "strong reads", "faults",
                                         "crashes"};

static const char *const scenarios[] = {"faults", "overload", "repair"}; /* by enum */

static bool scenario_choose(struct cluster_sim_options *options, const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(scenarios); i++) {
        if (strcmp(scenarios[i], name) != 0)
            continue;
        options->scenario = (enum cluster_scenario)i;
        if (options->scenario == CLUSTER_REPAIR)
            options->repair_after_ms = 3000;
        return true;
    }
    return false;
}

static void run(void *user, uint64_t seed, struct seed_result *result)
{
    struct cluster_sim_options options = *(const struct cluster_sim_options *)user;
    struct cluster_sim_result found;

    options.seed = seed;
    cluster_sim_run(&options, &found);
    result->trace_hash = found.trace_hash;
    result->events = found.events;
    result->facts[0] = found.acknowledged;
    result->facts[1] = found.reads;
    result->facts[2] = found.faults;
    result->facts[3] = found.crashes;
    result->is_failed = !found.is_ok;
    (void)snprintf(result->why, sizeof(result->why), "%s", found.why);
}

int cluster_command(int count, char **words)
{
    struct cluster_sim_options options = cluster_sim_options_default(0);
    const char *seed_text = getenv("SKEIN_SEED");
    char replay[64] = "";
    struct seeds_options seeds = {.first = seed_text != NULL ? strtoull(seed_text, NULL, 10) : 1,
                                  .count = 1,
                                  .seconds_max = 300,
                                  .replay = replay,
                                  .user = &options,
                                  .run = run};
    struct seeds_summary summary;
    int letter;

    while ((letter = getopt_long(count, words, "", options_known, NULL)) != -1)
        switch (letter) {
        case 's':
            seeds.first = strtoull(optarg, NULL, 10);
            break;
        case 'f':
            if (seed_text == NULL)
                seeds.first = (uint64_t)time(NULL) * 1000;
            break;
        case 'c':
            seeds.count = strtoull(optarg, NULL, 10);
            break;
        case 'm':
            options.ms = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'S':
            if (!scenario_choose(&options, optarg)) {
                (void)fputs(help, stderr);
                return 2;
            }
            break;
        case 'j':
            seeds.jobs = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 't':
            seeds.twice = true;
            break;
        case 'e':
            seeds.stop_at_failure = seeds.quiet = true;
            break;
        case 'v':
            options.is_verbose = true;
            options.has_story = true;
            break;
        case 'o':
            options.has_story = true;
            break;
        case 'h':
            (void)fputs(help, stdout);
            return 0;
        default:
            (void)fputs(help, stderr);
            return 2;
        }
    (void)printf(
        "seeds %" PRIu64 " to %" PRIu64 ", %u nodes and %u controllers, %u ms of faults each\n",
        seeds.first, seeds.first + seeds.count - 1, options.nodes, options.controllers, options.ms);
    (void)fflush(stdout);
    (void)snprintf(replay, sizeof(replay), "skein-sim-cluster --scenario %s --ms %u",
                   scenarios[options.scenario], options.ms);
    seeds_run(&seeds, &summary);
    for (size_t i = 0; i < ARRAY_COUNT(fact_texts); i++)
        (void)printf("  %10" PRIu64 "  %s\n", summary.facts[i], fact_texts[i]);
    (void)printf("%.2f seeds per second, %.0f events per second\n",
                 (double)summary.run / summary.seconds, (double)summary.events / summary.seconds);
    (void)printf("traces %016" PRIx64 "\n", summary.trace_hash);
    if (seeds.twice && summary.failed == 0)
        (void)printf("each seed was run two times with the same trace\n");
    (void)printf("seeds %" PRIu64 ": ok %" PRIu64 ", failed %" PRIu64, summary.run,
                 summary.run - summary.failed, summary.failed);
    if (summary.failed > 0)
        (void)printf(" (first seed %" PRIu64 ": %s)", summary.failed_first, summary.why_first);
    (void)printf("\n");
    return (summary.failed > 0) == seeds.stop_at_failure ? 0 : 1;
}
