/* report_run_end: what only all files of a run together tell. */

#include "chaos/report/report_run.h"

#include "proto/base/check.h"

#include <stdio.h>

#define PERIOD_S 0.1 /* of samples, about */

/* By time; what has the same time keeps the order of its lines. */
#define BY_TIME(name, type)                                                                        \
    static int name(const void *a, const void *b)                                                  \
    {                                                                                              \
        const struct type *left = a, *right = b;                                                   \
                                                                                                   \
        if (left->at_s != right->at_s)                                                             \
            return left->at_s < right->at_s ? -1 : 1;                                              \
        return left->line < right->line ? -1 : 1;                                                  \
    }
BY_TIME(by_event_time, report_event)
BY_TIME(by_sample_time, report_sample)
BY_TIME(by_lead_time, report_lead)

static void sort(void *array, size_t count, size_t bytes, int (*order)(const void *, const void *))
{
    if (count > 1)
        qsort(array, count, bytes, order);
}

static int by_name(const void *a, const void *b)
{
    return strverscmp(*(const char *const *)a, *(const char *const *)b);
}

/* Puts the names in order and says where each one went: place[old index] = new index. The caller
 * frees it. */
static uint32_t *order_names(struct report_names *names)
{
    uint32_t *place = check_calloc(names->count + 1, sizeof(place[0]));

    sort(names->names, names->count, sizeof(names->names[0]), by_name);
    for (size_t i = 0; i < names->count; i++) {
        struct slice name = slice_text(names->names[i]);
        uintptr_t old = (uintptr_t)map_set(&names->places, name, (void *)(i + 1));

        place[old - 1] = (uint32_t)i;
    }
    return place;
}

static void order_leads(struct report_run *run)
{
    uint32_t *shard = order_names(&run->shards);
    uint32_t *node = order_names(&run->nodes);

    for (size_t i = 0; i < run->lead_count; i++) {
        struct report_lead *lead = &run->leads[i];

        lead->shard = shard[lead->shard];
        if (lead->node != REPORT_NO_NODE)
            lead->node = node[lead->node];
    }
    free(shard);
    free(node);
    sort(run->leads, run->lead_count, sizeof(run->leads[0]), by_lead_time);
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

static void merge_sample(struct report_sample *into, const struct report_sample *sample)
{
    into->at_s = sample->at_s;
    into->ok += sample->ok;
    into->failed += sample->failed;
    into->p50_ms = larger(into->p50_ms, sample->p50_ms);
    into->p99_ms = larger(into->p99_ms, sample->p99_ms);
    into->max_ms = larger(into->max_ms, sample->max_ms);
}

/* At one time, or so soon after a sample that is not long itself. */
static bool is_together(const struct report_sample *sample, double at_s)
{
    return at_s <= sample->at_s ||
           (at_s - sample->at_s < PERIOD_S * 0.4 && at_s - sample->from_s < PERIOD_S * 1.6);
}

/* Each sample gets the time since the one before. One that comes right
 * after another is put together with it: a rate over next to no time says nothing. */
static void order_samples(struct report_run *run)
{
    struct report_sample *samples = run->samples;
    size_t kept = 0;

    sort(samples, run->sample_count, sizeof(samples[0]), by_sample_time);
    for (size_t i = 0; i < run->sample_count; i++) {
        struct report_sample *last = kept > 0 ? &samples[kept - 1] : NULL;

        if (last != NULL && is_together(last, samples[i].at_s)) {
            merge_sample(last, &samples[i]);
            continue;
        }
        samples[kept] = samples[i];
        samples[kept].from_s = last != NULL ? last->at_s : samples[i].at_s - PERIOD_S;
        kept++;
    }
    run->sample_count = kept;
}

/* What is sampled after the run's time, while nobody asks anything any more, is not part of it. */
static void drop_silence(struct report_run *run)
{
    while (run->sample_count > 0) {
        const struct report_sample *last = &run->samples[run->sample_count - 1];

        if (last->ok + last->failed > 0 || last->from_s < run->seconds)
            return;
        run->sample_count--;
    }
}

static enum error add_fault(struct report_run *run, struct map *known, size_t index,
                            char why[ERROR_WHY_BYTES])
{
    struct report_event *event = &run->events[index];
    struct report_fault *fault = &run->faults[run->fault_count];

    if (map_find_u64(known, (uint64_t)event->id) != NULL) {
        (void)snprintf(why, ERROR_WHY_BYTES, "events.jsonl:%u: fault %lld is there twice",
                       event->line, (long long)event->id);
        return ERR_INVALID;
    }
    event->fault = run->fault_count++;
    *fault = (struct report_fault){.event = index, .from_s = event->at_s, .until_s = run->end_s};
    (void)map_set_u64(known, (uint64_t)event->id, (void *)(uintptr_t)run->fault_count);
    return OK;
}

/* The first undo of a fault ends it; to undo it once more is no mistake. */
static enum error end_fault(struct report_run *run, const struct map *known, size_t index,
                            char why[ERROR_WHY_BYTES])
{
    struct report_event *event = &run->events[index];
    uintptr_t fault = (uintptr_t)map_find_u64(known, (uint64_t)event->id);

    if (fault == 0) {
        (void)snprintf(why, ERROR_WHY_BYTES,
                       "events.jsonl:%u: no fault %lld before that it could undo", event->line,
                       (long long)event->id);
        return ERR_INVALID;
    }
    event->fault = fault - 1;
    if (!run->faults[fault - 1].is_undone) {
        run->faults[fault - 1].until_s = event->at_s;
        run->faults[fault - 1].is_undone = true;
    }
    return OK;
}

static enum error match_faults(struct report_run *run, char why[ERROR_WHY_BYTES])
{
    enum error rc = OK;
    size_t count = 0;
    struct map known;

    for (size_t i = 0; i < run->event_count; i++)
        count += run->events[i].kind == REPORT_FAULT;
    if (count > REPORT_FAULTS_MAX) {
        (void)snprintf(why, ERROR_WHY_BYTES, "events.jsonl: more than %u faults",
                       REPORT_FAULTS_MAX);
        return ERR_TOO_LARGE;
    }
    run->faults = check_calloc(count + 1, sizeof(run->faults[0]));
    map_init(&known);
    for (size_t i = 0; i < run->event_count && rc == OK; i++) {
        if (run->events[i].kind == REPORT_FAULT)
            rc = add_fault(run, &known, i, why);
        else if (run->events[i].kind == REPORT_UNDO)
            rc = end_fault(run, &known, i, why);
    }
    map_close(&known);
    return rc;
}

/* A report must never look better than what was measured. */
static enum error check_verdict(const struct report_run *run, char why[ERROR_WHY_BYTES])
{
    if (run->verdict != REPORT_PASS)
        return OK;
    if (run->invariant_count == 0) {
        (void)snprintf(why, ERROR_WHY_BYTES, "run.json: PASS, but no invariant was checked");
        return ERR_INVALID;
    }
    for (size_t i = 0; i < run->invariant_count; i++)
        if (run->invariants[i].outcome != REPORT_HOLDS) {
            (void)snprintf(why, ERROR_WHY_BYTES, "run.json: PASS, but \"%.60s\" does not hold",
                           run->invariants[i].name);
            return ERR_INVALID;
        }
    return OK;
}

enum error report_run_end(struct report_run *run, char why[ERROR_WHY_BYTES])
{
    enum error rc = check_verdict(run, why);

    if (rc != OK)
        return rc;
    sort(run->events, run->event_count, sizeof(run->events[0]), by_event_time);
    order_samples(run);
    drop_silence(run);
    order_leads(run);
    run->end_s = run->seconds;
    if (run->event_count > 0)
        run->end_s = larger(run->end_s, run->events[run->event_count - 1].at_s);
    if (run->sample_count > 0)
        run->end_s = larger(run->end_s, run->samples[run->sample_count - 1].at_s);
    if (run->lead_count > 0)
        run->end_s = larger(run->end_s, run->leads[run->lead_count - 1].at_s);
    return match_faults(run, why);
}
