/* `skein chaos demo`: five minutes on a laptop cluster under orders, told in plain words. */

#include "chaos/run/chaos_command.h"
#include "proto/base/check.h"

#include <inttypes.h>
#include <stdio.h>

struct step {
    const char *fault;     /* without its times */
    unsigned hold_percent; /* of the step */
    const char *story;
};

static const struct step steps[] = {
    {"kill busiest-leader", 40,
     "A machine dies. The one that matters most: the node that leads most shards gets SIGKILL,\n"
     "as a power switch would do it. Orders go on; another replica leads within a moment."},
    {"kill controller-leader", 40,
     "Now the mind of the cluster: the controller that leads is killed. Controllers decide where\n"
     "things run, and are in no request's path: no order should wait at all."},
    {"cut region:1", 50,
     "A cable is cut: the first region sees neither of the others any more. Its leaders step "
     "down,\n"
     "the other two regions go on as the majority; the lonely one acknowledges nothing."},
    {"pause random-node", 30,
     "A node stands still. It is there, its connections are open, and it says nothing: harder to\n"
     "notice than a dead one, as nobody refuses anything."},
    {"kill region:2", 50,
     "A whole region burns down: every process in it is killed at once. Two of three replicas of\n"
     "everything are left, and that is a majority. Then it comes back and catches up."},
    {"wipe random-node", 40,
     "A machine is replaced: a node is killed and its disk emptied. It comes back with nothing "
     "and\n"
     "fetches its replicas from the others; until then it has no vote."},
};

#define STEPS ARRAY_COUNT(steps)

static void put_scenario(struct buffer *text, unsigned each)
{
    unsigned each_ms = each * 1000;

    buffer_putf(text,
                "name demo\n"
                "title Orders, while the cluster loses one part after the other\n"
                "layers laptop\nseconds %zu\n"
                "workload checkout rate=50\nworkload register rate=50\nworkload counter rate=50\n",
                (STEPS + 1) * each);
    for (size_t i = 0; i < STEPS; i++)
        buffer_putf(text, "fault at %zums for %ums %s\n", i * each_ms + each_ms / 2,
                    each_ms * steps[i].hold_percent / 100, steps[i].fault);
    buffer_put_text(text, "expect recovery-s <= 30\n");
}

int chaos_demo(struct cluster *cluster, const struct chaos_command_options *options)
{
    struct scenario *scenario = check_calloc(1, sizeof(*scenario));
    struct chaos_run_result *result = check_calloc(1, sizeof(*result));
    AUTO(buffer) text = BUFFER_INIT(SCENARIO_BYTES_MAX);
    char why[ERROR_WHY_BYTES] = "";
    const char *stories[STEPS];
    const struct chaos_run_options run = {.seed = options->seed,
                                          .rate_percent = options->rate_percent,
                                          .is_json = options->is_json,
                                          .folder = options->folder,
                                          .api = options->api,
                                          .stage = options->stage,
                                          .table = options->table,
                                          .stories = stories};
    int code = CHAOS_FAILED;

    for (size_t i = 0; i < STEPS; i++)
        stories[i] = steps[i].story;
    put_scenario(&text, options->seconds_each);
    CHECK(scenario_parse(buffer_slice(&text), scenario, why) == OK);
    if (!options->is_json)
        (void)printf("Customers place orders all the time, through the API gateway and a Python\n"
                     "function, into a table in three regions. Each line below is one second.\n"
                     "(A full disk cannot be had without root; see docs/testing.md.)\n\n");
    if (chaos_run(cluster, scenario, &run, result, why) != OK) {
        (void)fprintf(stderr, "skein: %s\n", why);
    } else if (result->assessment.verdict == RUN_SKIPPED) {
        (void)fprintf(stderr, "skein: %s\n", result->assessment.why);
        code = CHAOS_UNDECIDED;
    } else {
        if (options->is_json)
            (void)printf("{\"verdict\":\"%s\",\"acknowledged\":%" PRIu64 ",\"lost\":%" PRIu64
                         ",\"duplicated\":%" PRIu64 ",\"failed\":%" PRIu64 "}\n",
                         assess_verdict_name(result->assessment.verdict),
                         result->orders_acknowledged, result->orders_lost,
                         result->orders_duplicated, result->orders_failed);
        else
            (void)printf("\nThe ledger: %" PRIu64 " orders acknowledged, %" PRIu64 " lost, %" PRIu64
                         " duplicated, %" PRIu64 " failed.\nThe report: %s\n",
                         result->orders_acknowledged, result->orders_lost,
                         result->orders_duplicated, result->orders_failed,
                         result->report[0] != '\0' ? result->report : result->folder);
        code = result->assessment.verdict == RUN_PASS        ? CHAOS_PASSED
               : result->assessment.verdict == RUN_UNDECIDED ? CHAOS_UNDECIDED
                                                             : CHAOS_FAILED;
    }
    free(result);
    free(scenario);
    return code;
}
