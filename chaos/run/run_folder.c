#include "chaos/run/run_folder.h"

#include "proto/base/check.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <time.h>

#define PATH_BYTES 700

enum file { FILE_EVENTS, FILE_SAMPLES, FILE_LEADERS, FILE_HISTORY, FILE_COUNT };

struct run_folder {
    char path[600];
    FILE *files[FILE_COUNT];
};

static const char *const names[FILE_COUNT] = {"events.jsonl", "samples.jsonl", "leaders.jsonl",
                                              "history.jsonl"};

struct run_folder *run_folder_new(const char *path, char why[ERROR_WHY_BYTES])
{
    struct run_folder *folder = check_calloc(1, sizeof(*folder));
    char file[PATH_BYTES];

    (void)snprintf(folder->path, sizeof(folder->path), "%s", path);
    if (cluster_make_folder(path) != OK) {
        (void)snprintf(why, ERROR_WHY_BYTES, "the folder %.100s cannot be made: %s", path,
                       strerror(errno));
        free(folder);
        return NULL;
    }
    for (size_t i = 0; i < FILE_COUNT; i++) {
        (void)snprintf(file, sizeof(file), "%s/%s", path, names[i]);
        folder->files[i] = fopen(file, "we");
        if (folder->files[i] != NULL)
            continue;
        (void)snprintf(why, ERROR_WHY_BYTES, "%.100s: %s", file, strerror(errno));
        run_folder_free(folder);
        return NULL;
    }
    return folder;
}

void run_folder_free(struct run_folder *folder)
{
    if (folder == NULL)
        return;
    for (size_t i = 0; i < FILE_COUNT; i++)
        if (folder->files[i] != NULL)
            (void)fclose(folder->files[i]);
    free(folder);
}

const char *run_folder_path(const struct run_folder *folder)
{
    return folder->path;
}

/* Takes `line`. */
static void put(FILE *file, json_t *line)
{
    CHECK(line != NULL);
    (void)json_dumpf(line, file, JSON_COMPACT | JSON_REAL_PRECISION(8));
    (void)fputc('\n', file);
    json_decref(line);
}

void run_folder_event(struct run_folder *folder, const struct run_event *event)
{
    json_t *line = json_pack("{s:f, s:s, s:s, s:s, s:s}", "t", event->at_s, "kind", event->kind,
                             "what", event->what, "target", event->target, "text", event->text);

    if (strcmp(event->kind, "note") != 0)
        (void)json_object_set_new(line, "id", json_integer(event->id));
    put(folder->files[FILE_EVENTS], line);
    (void)fflush(folder->files[FILE_EVENTS]);
}

void run_folder_sample(struct run_folder *folder, const struct run_sample *sample)
{
    json_t *line = json_pack("{s:f, s:I, s:I}", "t", sample->at_s, "ok", (json_int_t)sample->ok,
                             "failed", (json_int_t)sample->failed);

    if (sample->has_latency) {
        (void)json_object_set_new(line, "p50_ms", json_real(sample->p50_ms));
        (void)json_object_set_new(line, "p99_ms", json_real(sample->p99_ms));
        (void)json_object_set_new(line, "max_ms", json_real(sample->max_ms));
    }
    put(folder->files[FILE_SAMPLES], line);
}

void run_folder_leader(struct run_folder *folder, double at_s, unsigned shard, const char *leader)
{
    put(folder->files[FILE_LEADERS],
        json_pack("{s:f, s:i, s:s?}", "t", at_s, "shard", (int)shard, "leader", leader));
}

void run_folder_history(struct run_folder *folder, struct slice line)
{
    (void)fwrite(line.data, 1, line.size, folder->files[FILE_HISTORY]);
}

void run_folder_flush(struct run_folder *folder)
{
    for (size_t i = 0; i < FILE_COUNT; i++)
        if (fflush(folder->files[i]) != 0)
            (void)fprintf(stderr, "skein: %s/%s is not whole: %s\n", folder->path, names[i],
                          strerror(errno));
}

static json_t *invariant_of(const struct assess_invariant *invariant)
{
    char threshold[48];
    char number[32];

    assess_number(invariant->expect.threshold, number);
    (void)snprintf(threshold, sizeof(threshold), "%s %s",
                   scenario_relation_text(invariant->expect.relation), number);
    assess_number(invariant->measured.value, number);
    return json_pack("{s:s, s:s, s:s, s:o}", "name",
                     scenario_measure_name(invariant->expect.measure), "threshold", threshold,
                     "measured", invariant->measured.is_known ? number : "not measured", "ok",
                     invariant->measured.is_known ? json_boolean(invariant->is_ok) : json_null());
}

static json_t *cluster_of(const struct cluster *cluster)
{
    json_t *regions = json_array();

    for (size_t i = 0; i < cluster->region_count; i++)
        (void)json_array_append_new(regions, json_string(cluster->regions[i]));
    return json_pack("{s:I, s:I, s:o}", "nodes", (json_int_t)cluster->file.node_count,
                     "controllers", (json_int_t)cluster->controller_count, "regions", regions);
}

void run_folder_summary(struct run_folder *folder, const struct run_summary *summary)
{
    const struct assessment *assessment = summary->assessment;
    json_t *invariants = json_array();
    time_t started = (time_t)summary->started_s;
    char path[PATH_BYTES];
    char text[40] = "";
    struct tm parts;

    if (gmtime_r(&started, &parts) != NULL)
        (void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
    for (size_t i = 0; i < assessment->count; i++)
        (void)json_array_append_new(invariants, invariant_of(&assessment->invariants[i]));
    json_t *run = json_pack("{s:s, s:s, s:s, s:I, s:s, s:f, s:s, s:s, s:o, s:o}", "scenario",
                            summary->scenario->name, "title", summary->scenario->title, "layer",
                            summary->layer, "seed", (json_int_t)summary->seed, "started", text,
                            "seconds", summary->seconds, "verdict",
                            assess_verdict_name(assessment->verdict), "why", assessment->why,
                            "invariants", invariants, "cluster", cluster_of(summary->cluster));

    CHECK(run != NULL);
    (void)snprintf(path, sizeof(path), "%s/run.json", folder->path);
    if (json_dump_file(run, path, JSON_INDENT(2) | JSON_REAL_PRECISION(8)) != 0)
        (void)fprintf(stderr, "skein: %s cannot be written: %s\n", path, strerror(errno));
    json_decref(run);
}
