#include "chaos/run/chaos_command.h"

#include "chaos/run/heal.h"
#include "chaos/scenario/scenario_library.h"
#include "proto/base/check.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#define SECONDS_MAX_OF_ALL 600u /* what takes longer is run by its name */

struct tally {
    json_t *runs; /* for --json */
    unsigned counts[RUN_SKIPPED + 1];
    unsigned refused; /* could not begin: as good as failed */
    bool is_interrupted;
};

static int complain(const char *why)
{
    (void)fprintf(stderr, "skein: %s\n", why);
    return CHAOS_FAILED;
}

/* ---- scenarios ---- */

static enum error parse(const char *name, struct slice text, struct scenario *scenario)
{
    char why[ERROR_WHY_BYTES] = "";
    enum error rc = scenario_parse(text, scenario, why);

    if (rc != OK)
        (void)fprintf(stderr, "skein: %s: %s\n", name, why);
    return rc;
}

static enum error load_file(const char *path, struct scenario *scenario)
{
    AUTO(buffer) text = BUFFER_INIT(SCENARIO_BYTES_MAX + 1);
    char part[4096];
    FILE *file = fopen(path, "re");
    enum error rc = OK;
    size_t size;

    if (file == NULL) {
        (void)fprintf(stderr, "skein: %s: %s\n", path, strerror(errno));
        return ERR_NOT_FOUND;
    }
    while (rc == OK && (size = fread(part, 1, sizeof(part), file)) > 0)
        rc = buffer_append(&text, part, size);
    (void)fclose(file);
    if (rc == OK)
        return parse(path, buffer_slice(&text), scenario);
    (void)fprintf(stderr, "skein: %s: longer than %u bytes\n", path, SCENARIO_BYTES_MAX);
    return rc;
}

/* "s01-kill-leader", or "s01" alone. */
static const struct scenario_text *find(const char *name)
{
    size_t size = strlen(name);

    for (const struct scenario_text *text = scenario_library; text->name != NULL; text++)
        if (strcmp(text->name, name) == 0 ||
            (size >= 3 && strncmp(text->name, name, size) == 0 && text->name[size] == '-'))
            return text;
    return NULL;
}

/* ---- list ---- */

static json_t *entry_of(const struct scenario *scenario, bool can_run, const char *why)
{
    return json_pack("{s:s, s:s, s:i, s:b, s:s}", "name", scenario->name, "title", scenario->title,
                     "seconds", (int)scenario->seconds, "runs", can_run, "why", why);
}

static int list(bool is_json)
{
    json_t *entries = json_array();

    for (const struct scenario_text *text = scenario_library; text->name != NULL; text++) {
        struct scenario *scenario = check_calloc(1, sizeof(*scenario));
        char why[ERROR_WHY_BYTES] = "";

        if (parse(text->name, slice_text(text->text), scenario) == OK) {
            bool can_run = scenario_can_run(scenario, SCENARIO_LAPTOP, why);

            (void)json_array_append_new(entries, entry_of(scenario, can_run, why));
            if (!is_json)
                (void)printf("%-30s %5u s  %s%s%s%s\n", scenario->name, scenario->seconds,
                             scenario->title, can_run ? "" : "  [skipped here, ", why,
                             can_run ? "" : "]");
        }
        free(scenario);
    }
    if (is_json) {
        (void)json_dumpf(entries, stdout, JSON_INDENT(1));
        (void)printf("\n");
    }
    json_decref(entries);
    return CHAOS_PASSED;
}

/* ---- run ---- */

static json_t *result_of(const struct scenario *scenario, const struct chaos_run_result *result,
                         uint64_t seed)
{
    const struct assessment *assessment = &result->assessment;
    json_t *figures = json_object();

    for (size_t i = 0; i < assessment->count; i++) {
        const struct assess_invariant *invariant = &assessment->invariants[i];

        (void)json_object_set_new(
            figures, scenario_measure_name(invariant->expect.measure),
            invariant->measured.is_known ? json_real(invariant->measured.value) : json_null());
    }
    return json_pack("{s:s, s:I, s:s, s:s, s:s, s:s, s:o}", "scenario", scenario->name, "seed",
                     (json_int_t)seed, "verdict", assess_verdict_name(assessment->verdict), "why",
                     assessment->why, "folder", result->folder, "report", result->report, "figures",
                     figures);
}

static void run_one(struct cluster *cluster, const struct scenario *scenario,
                    const struct chaos_command_options *options, unsigned time, struct tally *tally)
{
    const struct chaos_run_options run = {.seconds = options->seconds,
                                          .seed = options->seed + time,
                                          .rate_percent = options->rate_percent,
                                          .is_json = options->is_json,
                                          .folder = options->folder,
                                          .api = options->api,
                                          .stage = options->stage,
                                          .table = options->table};
    struct chaos_run_result *result = check_calloc(1, sizeof(*result));
    char why[ERROR_WHY_BYTES] = "";

    if (chaos_run(cluster, scenario, &run, result, why) != OK) {
        (void)fprintf(stderr, "skein: %s: %s\n", scenario->name, why);
        tally->refused++;
    } else {
        tally->counts[result->assessment.verdict]++;
        tally->is_interrupted |= result->is_interrupted;
        (void)json_array_append_new(tally->runs, result_of(scenario, result, run.seed));
        if (!options->is_json && result->assessment.verdict == RUN_SKIPPED)
            (void)printf("SKIPPED  %s: %s\n", scenario->name, result->assessment.why);
        (void)fflush(stdout);
    }
    free(result);
}

static void run_times(struct cluster *cluster, const struct scenario *scenario,
                      const struct chaos_command_options *options, struct tally *tally)
{
    for (unsigned i = 0; i < options->times && !tally->is_interrupted; i++)
        run_one(cluster, scenario, options, i, tally);
}

static void skip(const struct scenario *scenario, const char *why, bool is_json,
                 struct tally *tally)
{
    struct chaos_run_result *result = check_calloc(1, sizeof(*result));

    result->assessment.verdict = RUN_SKIPPED;
    (void)snprintf(result->assessment.why, ERROR_WHY_BYTES, "%s", why);
    (void)json_array_append_new(tally->runs, result_of(scenario, result, 0));
    tally->counts[RUN_SKIPPED]++;
    if (!is_json)
        (void)printf("SKIPPED  %s: %s\n", scenario->name, why);
    free(result);
}

static enum error run_all(struct cluster *cluster, const struct chaos_command_options *options,
                          struct scenario *scenario, struct tally *tally)
{
    for (const struct scenario_text *text = scenario_library;
         text->name != NULL && !tally->is_interrupted; text++) {
        if (parse(text->name, slice_text(text->text), scenario) != OK)
            return ERR_INVALID;
        if (options->seconds == 0 && scenario->seconds > SECONDS_MAX_OF_ALL)
            skip(scenario, "takes hours: run it by its name", options->is_json, tally);
        else
            run_times(cluster, scenario, options, tally);
    }
    return OK;
}

static int conclude(const struct tally *tally, bool is_json)
{
    unsigned ran = tally->counts[RUN_PASS] + tally->counts[RUN_FAIL] +
                   tally->counts[RUN_UNDECIDED] + tally->refused;

    if (is_json) {
        json_t *whole =
            json_pack("{s:O, s:i, s:i, s:i, s:i, s:i}", "runs", tally->runs, "passed",
                      (int)tally->counts[RUN_PASS], "failed", (int)tally->counts[RUN_FAIL],
                      "undecided", (int)tally->counts[RUN_UNDECIDED], "skipped",
                      (int)tally->counts[RUN_SKIPPED], "refused", (int)tally->refused);

        (void)json_dumpf(whole, stdout, JSON_COMPACT | JSON_REAL_PRECISION(8));
        (void)printf("\n");
        json_decref(whole);
    } else if (ran + tally->counts[RUN_SKIPPED] > 1) {
        (void)printf("\n%u passed, %u failed, %u undecided, %u skipped, %u could not begin\n",
                     tally->counts[RUN_PASS], tally->counts[RUN_FAIL], tally->counts[RUN_UNDECIDED],
                     tally->counts[RUN_SKIPPED], tally->refused);
    }
    if (tally->counts[RUN_FAIL] + tally->refused > 0)
        return CHAOS_FAILED;
    return tally->counts[RUN_UNDECIDED] > 0 || ran == 0 ? CHAOS_UNDECIDED : CHAOS_PASSED;
}

static enum error run_named(struct cluster *cluster, const struct chaos_command_options *options,
                            const char *name, struct scenario *scenario, struct tally *tally)
{
    const struct scenario_text *text = find(name);
    enum error rc;

    if (text == NULL) {
        (void)fprintf(stderr, "skein: no scenario is called '%s'; see: skein chaos list\n", name);
        return ERR_NOT_FOUND;
    }
    rc = parse(text->name, slice_text(text->text), scenario);
    if (rc == OK)
        run_times(cluster, scenario, options, tally);
    return rc;
}

static int run(struct cluster *cluster, const struct chaos_command_options *options, int count,
               char **words)
{
    struct scenario *scenario = check_calloc(1, sizeof(*scenario));
    struct tally tally = {.runs = json_array()};
    enum error rc = OK;
    int code = CHAOS_USAGE;

    if (options->file != NULL) {
        rc = load_file(options->file, scenario);
        if (rc == OK)
            run_times(cluster, scenario, options, &tally);
    }
    for (int i = 0; i < count && rc == OK && !tally.is_interrupted; i++)
        rc = strcmp(words[i], "all") == 0 ? run_all(cluster, options, scenario, &tally)
                                          : run_named(cluster, options, words[i], scenario, &tally);
    if (rc == OK)
        code = conclude(&tally, options->is_json);
    json_decref(tally.runs);
    free(scenario);
    return code;
}

/* ---- words ---- */

static int usage(void)
{
    (void)fprintf(stderr,
                  "skein chaos list\n"
                  "skein chaos run NAME...|all|--file FILE [--seconds N] [--seed N] [--times N]\n"
                  "                [--rate PERCENT] [--out FOLDER] [--json]\n"
                  "skein chaos demo [--seconds-each 40]\n");
    return CHAOS_USAGE;
}

int chaos_command(const struct chaos_command_options *options, int count, char **words)
{
    const char *name = count > 0 ? words[0] : "";
    bool is_demo = strcmp(name, "demo") == 0;
    char why[ERROR_WHY_BYTES] = "";
    struct cluster cluster;
    int code;

    if (strcmp(name, "list") == 0)
        return list(options->is_json);
    if (!is_demo && (strcmp(name, "run") != 0 || (count == 1 && options->file == NULL)))
        return usage();
    if (cluster_load(options->data, &cluster, why) != OK)
        return complain(why);
    code = is_demo ? chaos_demo(&cluster, options) : run(&cluster, options, count - 1, words + 1);
    cluster_close(&cluster);
    return code;
}

int chaos_command_heal(struct cluster *cluster, bool is_json)
{
    char why[ERROR_WHY_BYTES] = "";

    return heal(cluster, is_json, why) == OK ? CHAOS_PASSED : complain(why);
}
