#include "chaos/report/report_json.h"

#include <math.h>

void report_json_number(struct json_write *json, double number)
{
    if (number < 0)
        json_none(json);
    else
        json_fixed(json, (uint64_t)llround(number * 1000), 3);
}

void report_json_member(struct json_write *json, const char *key, double number)
{
    json_key(json, key);
    report_json_number(json, number);
}

static void write_invariants(struct json_write *json, const struct report_run *run)
{
    json_key(json, "invariants");
    json_begin_array(json);
    for (size_t i = 0; i < run->invariant_count; i++) {
        const struct report_invariant *invariant = &run->invariants[i];

        json_begin_object(json);
        json_member_text(json, "name", invariant->name);
        json_member_text(json, "threshold", invariant->threshold);
        json_member_text(json, "measured", invariant->measured);
        if (invariant->outcome == REPORT_OPEN) {
            json_key(json, "ok");
            json_none(json);
        } else
            json_member_bool(json, "ok", invariant->outcome == REPORT_HOLDS);
        json_end_object(json);
    }
    json_end_array(json);
}

static void write_cluster(struct json_write *json, const struct report_run *run)
{
    json_key(json, "cluster");
    json_begin_object(json);
    json_member_u64(json, "nodes", run->node_count);
    json_member_u64(json, "controllers", run->controller_count);
    json_key(json, "regions");
    json_begin_array(json);
    for (size_t i = 0; i < run->region_count; i++)
        json_text(json, run->regions[i]);
    json_end_array(json);
    json_end_object(json);
}

static void write_gap(struct json_write *json, const char *key, const struct report_gap *gap)
{
    json_key(json, key);
    json_begin_object(json);
    report_json_member(json, "seconds", gap->seconds);
    report_json_member(json, "at", gap->seconds > 0 ? gap->at_s : -1);
    json_end_object(json);
}

static void write_totals(struct json_write *json, const struct report_run *run,
                         const struct report_digest *digest)
{
    json_member_u64(json, "ok", digest->ok);
    json_member_u64(json, "failed", digest->failed);
    report_json_member(json, "rate", digest->rate);
    json_key(json, "latency_ms");
    json_begin_object(json);
    report_json_member(json, "p50", digest->p50_ms);
    report_json_member(json, "p99", digest->p99_ms);
    report_json_member(json, "p99_worst", digest->p99_worst_ms);
    report_json_member(json, "max", digest->max_ms);
    json_end_object(json);
    report_json_member(json, "sample_seconds", digest->period_s);
    write_gap(json, "gap", &digest->gap);
    json_member_u64(json, "leader_changes", digest->leader_changes);
    write_gap(json, "leaderless", &digest->leaderless);
    if (digest->leaderless.seconds > 0)
        json_member_text(json, "leaderless_shard", run->shards.names[digest->leaderless_shard]);
}

static void write_fault(struct json_write *json, const struct report_run *run, size_t index,
                        const struct report_effect *effect)
{
    static const char *const recoveries[] = {
        [REPORT_RECOVERY_UNKNOWN] = "unknown",
        [REPORT_RECOVERY_NO_DIP] = "no dip",
        [REPORT_RECOVERY_DONE] = "recovered",
        [REPORT_RECOVERY_NEVER] = "not recovered",
    };
    const struct report_fault *fault = &run->faults[index];
    const struct report_event *event = &run->events[fault->event];

    json_begin_object(json);
    json_member_u64(json, "number", index + 1);
    json_key(json, "id");
    json_i64(json, event->id);
    json_member_text(json, "what", event->what);
    json_member_text(json, "target", event->target);
    report_json_member(json, "from", fault->from_s);
    report_json_member(json, "until", fault->is_undone ? fault->until_s : -1);
    report_json_member(json, "rate_before", effect->rate_before);
    report_json_member(json, "rate_during", effect->rate_during);
    report_json_member(json, "rate_after", effect->rate_after);
    json_member_u64(json, "failed", effect->failed);
    report_json_member(json, "p99_worst_ms", effect->p99_ms);
    write_gap(json, "gap", &effect->gap);
    report_json_member(json, "leaderless_seconds", effect->leaderless_s);
    json_member_text(json, "recovery", recoveries[effect->recovery]);
    report_json_member(json, "recovery_seconds",
                       effect->recovery == REPORT_RECOVERY_DONE     ? effect->recovery_s
                       : effect->recovery == REPORT_RECOVERY_NO_DIP ? 0
                                                                    : -1);
    json_end_object(json);
}

void report_json_write(struct json_write *json, const struct report_run *run,
                       const struct report_digest *digest)
{
    json_begin_object(json);
    json_member_text(json, "scenario", run->scenario);
    json_member_text(json, "title", run->title);
    json_member_text(json, "layer", run->layer);
    json_member_text(json, "seed", run->seed);
    json_member_text(json, "started", run->started);
    report_json_member(json, "seconds", run->seconds);
    json_member_text(json, "verdict", report_run_verdict_name(run->verdict));
    json_member_text(json, "why", run->why);
    write_cluster(json, run);
    write_invariants(json, run);
    write_totals(json, run, digest);
    json_key(json, "faults");
    json_begin_array(json);
    for (size_t i = 0; i < run->fault_count; i++)
        write_fault(json, run, i, &digest->effects[i]);
    json_end_array(json);
    json_end_object(json);
}
