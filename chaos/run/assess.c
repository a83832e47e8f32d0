#include "chaos/run/assess.h"

#include "proto/base/check.h"

#include <math.h>
#include <stdio.h>

#define RECOVERY_S_MAX 60

static const char *const verdict_names[] = {[RUN_PASS] = "PASS",
                                            [RUN_FAIL] = "FAIL",
                                            [RUN_UNDECIDED] = "UNDECIDED",
                                            [RUN_SKIPPED] = "SKIPPED"};

static const enum scenario_measure for_orders[] = {MEASURE_LOST, MEASURE_DUPLICATED};
static const enum scenario_measure for_all[] = {MEASURE_TWO_LEADERS, MEASURE_TERMS_BACK,
                                                MEASURE_UNEQUAL};

const char *assess_verdict_name(enum run_verdict verdict)
{
    return verdict_names[verdict];
}

void assess_number(double value, char text[32])
{
    if (value == floor(value) && fabs(value) < 1e15)
        (void)snprintf(text, 32, "%.0f", value);
    else
        (void)snprintf(text, 32, "%.1f", value);
}

static bool holds(const struct scenario_expect *expect, double value)
{
    switch (expect->relation) {
    case RELATION_EQUAL:
        return value == expect->threshold;
    case RELATION_AT_MOST:
        return value <= expect->threshold;
    case RELATION_AT_LEAST:
        return value >= expect->threshold;
    }
    return false;
}

/* The first broken one is the reason; without one, the first that could not be measured. */
static void judge(struct assessment *assessment, struct assess_invariant *invariant)
{
    const struct scenario_expect *expect = &invariant->expect;
    const char *name = scenario_measure_name(expect->measure);
    char threshold[32];
    char value[32];

    assess_number(expect->threshold, threshold);
    assess_number(invariant->measured.value, value);
    invariant->is_ok = invariant->measured.is_known && holds(expect, invariant->measured.value);
    if (!invariant->measured.is_known && assessment->verdict == RUN_PASS) {
        assessment->verdict = RUN_UNDECIDED;
        (void)snprintf(assessment->why, ERROR_WHY_BYTES, "%s could not be measured", name);
    } else if (invariant->measured.is_known && !invariant->is_ok &&
               assessment->verdict != RUN_FAIL) {
        assessment->verdict = RUN_FAIL;
        (void)snprintf(assessment->why, ERROR_WHY_BYTES, "%s is %s, expected %s %s", name, value,
                       scenario_relation_text(expect->relation), threshold);
    }
}

static void add(struct assessment *assessment, const struct scenario_expect *expect,
                const struct assess_figure figures[MEASURE_COUNT])
{
    struct assess_invariant *invariant = &assessment->invariants[assessment->count++];

    *invariant = (struct assess_invariant){*expect, figures[expect->measure], false};
    judge(assessment, invariant);
}

static bool is_expected(const struct scenario *scenario, enum scenario_measure measure)
{
    for (size_t i = 0; i < scenario->expect_count; i++)
        if (scenario->expects[i].measure == measure)
            return true;
    return false;
}

static void add_always(struct assessment *assessment, const struct scenario *scenario,
                       const enum scenario_measure *measures, size_t count,
                       const struct assess_figure figures[MEASURE_COUNT])
{
    for (size_t i = 0; i < count; i++)
        if (!is_expected(scenario, measures[i]))
            add(assessment,
                &(struct scenario_expect){.measure = measures[i], .relation = RELATION_EQUAL},
                figures);
}

void assess(const struct scenario *scenario, const struct assess_figure figures[MEASURE_COUNT],
            struct assessment *assessment)
{
    static const enum scenario_measure for_histories[] = {MEASURE_WRONG_HISTORIES};
    bool has_history = scenario->is_used[SCENARIO_REGISTER] ||
                       scenario->is_used[SCENARIO_COUNTER] || scenario->is_used[SCENARIO_ORDERS];

    *assessment = (struct assessment){.verdict = RUN_PASS};
    if (scenario->is_used[SCENARIO_CHECKOUT])
        add_always(assessment, scenario, for_orders, ARRAY_COUNT(for_orders), figures);
    if (has_history)
        add_always(assessment, scenario, for_histories, 1, figures);
    add_always(assessment, scenario, for_all, ARRAY_COUNT(for_all), figures);
    for (size_t i = 0; i < scenario->expect_count; i++)
        add(assessment, &scenario->expects[i], figures);
    if (!is_expected(scenario, MEASURE_RECOVERY))
        add(assessment,
            &(struct scenario_expect){MEASURE_RECOVERY, RELATION_AT_MOST, RECOVERY_S_MAX}, figures);
}

void assess_cut_short(struct assessment *assessment, const char *why)
{
    if (assessment->verdict == RUN_FAIL)
        return;
    assessment->verdict = RUN_UNDECIDED;
    (void)snprintf(assessment->why, ERROR_WHY_BYTES, "%s", why);
}

/* ---- gaps ---- */

void assess_gaps(const struct assess_gap *gaps, size_t gap_count, const uint64_t *at_us,
                 size_t fault_count, uint64_t window_us, uint64_t *longest_us)
{
    for (size_t f = 0; f < fault_count; f++) {
        uint64_t end_us = at_us[f] + window_us;

        if (f + 1 < fault_count && at_us[f + 1] < end_us)
            end_us = at_us[f + 1];
        longest_us[f] = 0;
        for (size_t g = 0; g < gap_count; g++) {
            uint64_t size_us = gaps[g].to_us - gaps[g].from_us;

            if (gaps[g].to_us > at_us[f] && gaps[g].from_us < end_us && size_us > longest_us[f])
                longest_us[f] = size_us;
        }
    }
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

uint64_t assess_percentile(uint64_t *values, size_t count, double part)
{
    size_t rank = (size_t)ceil(part * (double)count);

    if (count == 0)
        return 0;
    qsort(values, count, sizeof(*values), compare);
    return values[rank == 0 ? 0 : rank - 1];
}
