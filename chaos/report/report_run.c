#include "chaos/report/report_member.h"
#include "proto/base/check.h"

#include <errno.h>
#include <stdio.h>

static const char *const file_names[REPORT_FILE_COUNT] = {
    [REPORT_FILE_RUN] = "run.json",
    [REPORT_FILE_EVENTS] = "events.jsonl",
    [REPORT_FILE_SAMPLES] = "samples.jsonl",
    [REPORT_FILE_LEADERS] = "leaders.jsonl",
};
static const char *const verdict_names[] = {
    [REPORT_PASS] = "PASS",
    [REPORT_FAIL] = "FAIL",
    [REPORT_UNDECIDED] = "UNDECIDED",
    [REPORT_SKIPPED] = "SKIPPED",
};
static const char *const kind_names[] = {
    [REPORT_FAULT] = "fault",
    [REPORT_UNDO] = "undo",
    [REPORT_NOTE] = "note",
};

const char *report_run_file_name(enum report_file file)
{
    return file_names[file];
}

const char *report_run_verdict_name(enum report_verdict verdict)
{
    return verdict_names[verdict];
}

void report_run_init(struct report_run *run)
{
    *run = (struct report_run){.scenario = "", .title = "", .layer = "", .seed = "", .started = ""};
    run->why = "";
    arena_init(&run->arena);
    map_init(&run->shards.places);
    map_init(&run->nodes.places);
}

static void names_close(struct report_names *names)
{
    free(names->names);
    map_close(&names->places);
}

void report_run_close(struct report_run *run)
{
    free(run->regions);
    free(run->invariants);
    free(run->events);
    free(run->faults);
    free(run->samples);
    free(run->leads);
    names_close(&run->shards);
    names_close(&run->nodes);
    arena_close(&run->arena);
}

/* Room for one more in an array that doubles. */
static void *grown(void *array, size_t count, size_t *capacity, size_t bytes)
{
    if (count < *capacity)
        return array;
    *capacity = *capacity == 0 ? 256 : *capacity * 2;
    return check_realloc(array, *capacity * bytes);
}

static enum error take_invariant(const struct report_place *place, const json_t *object,
                                 struct report_invariant *invariant)
{
    const json_t *holds = json_object_get(object, "ok");
    enum error rc;

    if (!json_is_object(object))
        return report_member_wrong(place, "one of \"invariants\" is no object");
    rc = report_member_text(place, object, "name", &invariant->name);
    if (rc != OK)
        return rc;
    if (holds != NULL && !json_is_boolean(holds) && !json_is_null(holds))
        return report_member_wrong(
            place, "\"ok\" of the invariant \"%.40s\" is neither true, false nor null",
            invariant->name);
    invariant->threshold = report_member_any(place, json_object_get(object, "threshold"));
    invariant->measured = report_member_any(place, json_object_get(object, "measured"));
    invariant->outcome = json_is_true(holds)    ? REPORT_HOLDS
                         : json_is_false(holds) ? REPORT_BROKEN
                                                : REPORT_OPEN;
    return OK;
}

static enum error take_invariants(const struct report_place *place, const json_t *object)
{
    struct report_run *run = place->run;
    const json_t *all = json_object_get(object, "invariants");

    if (all == NULL || json_is_null(all))
        return OK;
    if (!json_is_array(all))
        return report_member_wrong(place, "\"invariants\" is no array");
    run->invariants = check_calloc(json_array_size(all) + 1, sizeof(run->invariants[0]));
    for (size_t i = 0; i < json_array_size(all); i++) {
        enum error rc = take_invariant(place, json_array_get(all, i), &run->invariants[i]);

        if (rc != OK)
            return rc;
        run->invariant_count++;
    }
    return OK;
}

static enum error take_cluster(const struct report_place *place, const json_t *object)
{
    struct report_run *run = place->run;
    const json_t *cluster = json_object_get(object, "cluster");
    const json_t *regions = json_object_get(cluster, "regions");
    enum error rc;

    if (cluster == NULL || json_is_null(cluster))
        return OK;
    if (!json_is_object(cluster))
        return report_member_wrong(place, "\"cluster\" is no object");
    rc = report_member_count(place, cluster, "nodes", &run->node_count);
    if (rc == OK)
        rc = report_member_count(place, cluster, "controllers", &run->controller_count);
    if (rc != OK || regions == NULL || json_is_null(regions))
        return rc;
    if (!json_is_array(regions))
        return report_member_wrong(place, "\"regions\" is no array");
    run->regions = check_calloc(json_array_size(regions) + 1, sizeof(run->regions[0]));
    for (; run->region_count < json_array_size(regions); run->region_count++)
        run->regions[run->region_count] =
            report_member_any(place, json_array_get(regions, run->region_count));
    return OK;
}

static enum error take_verdict(const struct report_place *place, const json_t *object)
{
    const char *verdict = json_string_value(json_object_get(object, "verdict"));

    for (size_t i = 0; verdict != NULL && i < ARRAY_COUNT(verdict_names); i++)
        if (strcmp(verdict, verdict_names[i]) == 0) {
            place->run->verdict = (enum report_verdict)i;
            return OK;
        }
    return report_member_wrong(place, "\"verdict\" is none of PASS, FAIL, UNDECIDED and SKIPPED");
}

static enum error take_run(const struct report_place *place, const json_t *object)
{
    struct report_run *run = place->run;
    const struct {
        const char *member;
        const char **to;
    } texts[] = {{"scenario", &run->scenario},
                 {"title", &run->title},
                 {"layer", &run->layer},
                 {"started", &run->started},
                 {"why", &run->why}};
    enum error rc = take_verdict(place, object);

    for (size_t i = 0; i < ARRAY_COUNT(texts) && rc == OK; i++)
        rc = report_member_text(place, object, texts[i].member, texts[i].to);
    if (rc == OK && run->scenario[0] == '\0')
        rc = report_member_wrong(place, "no \"scenario\"");
    if (rc == OK)
        rc = report_member_number(place, object, "seconds", REPORT_SECONDS_MAX, &run->seconds);
    if (rc == OK)
        rc = take_invariants(place, object);
    if (rc == OK)
        rc = take_cluster(place, object);
    run->seed = report_member_any(place, json_object_get(object, "seed"));
    return rc;
}

static enum error take_event(const struct report_place *place, const json_t *object)
{
    struct report_run *run = place->run;
    const char *kind = json_string_value(json_object_get(object, "kind"));
    const json_t *id = json_object_get(object, "id");
    struct report_event event = {.line = place->line, .fault = REPORT_NO_FAULT};
    enum error rc = report_member_time(place, object, &event.at_s);
    size_t i = 0;

    while (kind != NULL && i < ARRAY_COUNT(kind_names) && strcmp(kind, kind_names[i]) != 0)
        i++;
    if (rc == OK && (kind == NULL || i == ARRAY_COUNT(kind_names)))
        return report_member_wrong(place, "\"kind\" is none of fault, undo and note");
    event.kind = (enum report_kind)i;
    if (rc == OK && event.kind != REPORT_NOTE && !json_is_integer(id))
        return report_member_wrong(place, "\"id\" is no whole number");
    event.id = json_integer_value(id);
    if (rc == OK)
        rc = report_member_text(place, object, "what", &event.what);
    if (rc == OK)
        rc = report_member_text(place, object, "target", &event.target);
    if (rc == OK)
        rc = report_member_text(place, object, "text", &event.text);
    if (rc == OK && run->event_count == REPORT_RECORDS_MAX)
        return report_member_wrong(place, "more than %u events", REPORT_RECORDS_MAX);
    if (rc != OK)
        return rc;
    run->events = grown(run->events, run->event_count, &run->event_capacity, sizeof(event));
    run->events[run->event_count++] = event;
    return OK;
}

static enum error take_sample(const struct report_place *place, const json_t *object)
{
    struct report_run *run = place->run;
    struct report_sample sample = {.line = place->line, .p50_ms = -1, .p99_ms = -1, .max_ms = -1};
    double *const latencies[] = {&sample.p50_ms, &sample.p99_ms, &sample.max_ms};
    enum error rc = report_member_time(place, object, &sample.at_s);

    if (rc == OK)
        rc = report_member_count(place, object, "ok", &sample.ok);
    if (rc == OK)
        rc = report_member_count(place, object, "failed", &sample.failed);
    if (rc == OK)
        rc = report_member_number(place, object, "p50_ms", REPORT_NUMBER_MAX, &sample.p50_ms);
    if (rc == OK)
        rc = report_member_number(place, object, "p99_ms", REPORT_NUMBER_MAX, &sample.p99_ms);
    if (rc == OK)
        rc = report_member_number(place, object, "max_ms", REPORT_NUMBER_MAX, &sample.max_ms);
    if (rc == OK && run->sample_count == REPORT_RECORDS_MAX)
        return report_member_wrong(place, "more than %u samples", REPORT_RECORDS_MAX);
    if (rc != OK)
        return rc;
    for (size_t i = 0; i < ARRAY_COUNT(latencies); i++)
        if (*latencies[i] == 0) /* stands for "nothing to measure" */
            *latencies[i] = -1;
    run->samples = grown(run->samples, run->sample_count, &run->sample_capacity, sizeof(sample));
    run->samples[run->sample_count++] = sample;
    return OK;
}

static enum error take_lead(const struct report_place *place, const json_t *object)
{
    struct report_run *run = place->run;
    struct report_lead lead = {.line = place->line, .node = REPORT_NO_NODE};
    enum error rc = report_member_time(place, object, &lead.at_s);

    if (rc == OK)
        rc = report_member_name(place, object, "shard", &run->shards, &lead.shard);
    if (rc == OK && !json_is_null(json_object_get(object, "leader")))
        rc = report_member_name(place, object, "leader", &run->nodes, &lead.node);
    if (rc == OK && run->lead_count == REPORT_RECORDS_MAX)
        return report_member_wrong(place, "more than %u changes of leaders", REPORT_RECORDS_MAX);
    if (rc != OK)
        return rc;
    run->leads = grown(run->leads, run->lead_count, &run->lead_capacity, sizeof(lead));
    run->leads[run->lead_count++] = lead;
    return OK;
}

typedef enum error (*take_object)(const struct report_place *place, const json_t *object);

static enum error parse_object(struct report_place *place, struct slice text, take_object take)
{
    json_error_t problem;
    json_t *object = json_loadb((const char *)text.data, text.size, 0, &problem);
    enum error rc;

    if (object == NULL) {
        if (place->line == 0 && problem.line > 0)
            place->line = (uint32_t)problem.line;
        return report_member_wrong(place, "no JSON: %s", problem.text);
    }
    rc =
        json_is_object(object) ? take(place, object) : report_member_wrong(place, "no JSON object");
    json_decref(object);
    return rc;
}

static bool is_blank(struct slice line)
{
    for (size_t i = 0; i < line.size; i++)
        if (line.data[i] != ' ' && line.data[i] != '\t' && line.data[i] != '\r')
            return false;
    return true;
}

static enum error parse_lines(struct report_place *place, struct slice rest, take_object take)
{
    enum error rc = OK;

    while (rc == OK && rest.size > 0) {
        const uint8_t *end = memchr(rest.data, '\n', rest.size);
        struct slice line = slice_of(rest.data, end ? (size_t)(end - rest.data) : rest.size);

        place->line++;
        if (!is_blank(line))
            rc = parse_object(place, line, take);
        if (end == NULL)
            break;
        rest = slice_of(end + 1, rest.size - line.size - 1);
    }
    return rc;
}

enum error report_run_parse(struct report_run *run, enum report_file file, struct slice content,
                            char why[ERROR_WHY_BYTES])
{
    static const take_object takes[REPORT_FILE_COUNT] = {
        [REPORT_FILE_RUN] = take_run,
        [REPORT_FILE_EVENTS] = take_event,
        [REPORT_FILE_SAMPLES] = take_sample,
        [REPORT_FILE_LEADERS] = take_lead,
    };
    struct report_place place = {run, file_names[file], 0, why};

    return file == REPORT_FILE_RUN ? parse_object(&place, content, takes[file])
                                   : parse_lines(&place, content, takes[file]);
}

static enum error read_file(const char *folder, enum report_file file, struct buffer *content,
                            char why[ERROR_WHY_BYTES])
{
    AUTO(buffer) path = BUFFER_INIT(BUFFER_UNLIMITED);
    uint8_t chunk[16384];
    enum error rc = OK;
    FILE *from;
    size_t size;

    buffer_putf(&path, "%s/%s", folder, file_names[file]);
    from = fopen(buffer_text(&path), "re");
    if (from == NULL) {
        rc = errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
        (void)snprintf(why, ERROR_WHY_BYTES, "%s: %s", file_names[file], strerror(errno));
        return rc;
    }
    while (rc == OK && (size = fread(chunk, 1, sizeof(chunk), from)) > 0)
        rc = buffer_append(content, chunk, size);
    if (rc != OK)
        (void)snprintf(why, ERROR_WHY_BYTES, "%s: more than %zu MiB", file_names[file],
                       REPORT_FILE_BYTES_MAX >> 20);
    else if (ferror(from)) {
        rc = ERR_IO;
        (void)snprintf(why, ERROR_WHY_BYTES, "%s: %s", file_names[file], strerror(errno));
    }
    (void)fclose(from);
    return rc;
}

enum error report_run_read(struct report_run *run, const char *folder, char why[ERROR_WHY_BYTES])
{
    enum error rc = OK;

    for (size_t i = 0; i < REPORT_FILE_COUNT && rc == OK; i++) {
        bool never_began =
            i != REPORT_FILE_RUN && (run->verdict == REPORT_SKIPPED || run->seconds == 0);
        AUTO(buffer) content = BUFFER_INIT(REPORT_FILE_BYTES_MAX);

        rc = read_file(folder, (enum report_file)i, &content, why);
        if (rc == ERR_NOT_FOUND && never_began)
            rc = OK;
        else if (rc == OK)
            rc = report_run_parse(run, (enum report_file)i, buffer_slice(&content), why);
    }
    return rc == OK ? report_run_end(run, why) : rc;
}
