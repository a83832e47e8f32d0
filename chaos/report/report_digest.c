#include "chaos/report/report_digest.h"

#include "proto/base/check.h"

#include <math.h>

static double smaller(double a, double b)
{
    return a < b ? a : b;
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

/* The first sample that ends after `at_s`; the count when there is none. */
static size_t sample_after(const struct report_run *run, double at_s)
{
    size_t low = 0, high = run->sample_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (run->samples[middle].at_s <= at_s)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Acknowledged before `at_s`, as if a sample's came evenly. */
static double ok_before(const struct report_digest *digest, const struct report_run *run,
                        double at_s)
{
    size_t i = sample_after(run, at_s);
    const struct report_sample *sample = &run->samples[i];

    if (i == run->sample_count || at_s <= sample->from_s)
        return digest->ok_until[i];
    return digest->ok_until[i] +
           (double)sample->ok * (at_s - sample->from_s) / (sample->at_s - sample->from_s);
}

double report_digest_rate(const struct report_digest *digest, const struct report_run *run,
                          double from_s, double until_s)
{
    if (run->sample_count == 0)
        return -1;
    from_s = larger(from_s, run->samples[0].from_s);
    until_s = smaller(until_s, run->samples[run->sample_count - 1].at_s);
    if (!(from_s < until_s))
        return -1;
    return (ok_before(digest, run, until_s) - ok_before(digest, run, from_s)) / (until_s - from_s);
}

/* The longest time without an acknowledged request, of samples that end between two times: one that
 * reaches over the begin of the next fault belongs to that. */
static struct report_gap longest_gap(const struct report_run *run, double from_s, double until_s)
{
    struct report_gap longest = {0, 0};
    double since = -1;

    for (size_t i = sample_after(run, from_s); i < run->sample_count; i++) {
        const struct report_sample *sample = &run->samples[i];

        if (sample->at_s > until_s)
            break;
        if (sample->ok > 0) {
            since = -1;
            continue;
        }
        if (since < 0)
            since = larger(sample->from_s, 0);
        if (sample->at_s - since > longest.seconds)
            longest = (struct report_gap){sample->at_s - since, since};
    }
    return longest;
}

/* Without a leader, between two times, of the one shard for which it was longest. Before a shard's
 * first leader is named nobody knows. */
static struct report_gap longest_leaderless(const struct report_run *run, double from_s,
                                            double until_s, uint32_t *shard)
{
    double *since = check_calloc(run->shards.count + 1, sizeof(since[0]));
    bool *had_leader = check_calloc(run->shards.count + 1, sizeof(had_leader[0]));
    struct report_gap longest = {0, 0};

    for (size_t i = 0; i < run->shards.count; i++)
        since[i] = -1;
    for (size_t i = 0; i < run->lead_count + run->shards.count; i++) {
        /* after the last change, every shard once more, at the end */
        bool is_end = i >= run->lead_count;
        const struct report_lead end = {.at_s = until_s, .shard = (uint32_t)(i - run->lead_count)};
        const struct report_lead *lead = is_end ? &end : &run->leads[i];
        double begin = larger(since[lead->shard], from_s);
        double span = smaller(lead->at_s, until_s) - begin;

        if (since[lead->shard] >= 0 && span > longest.seconds) {
            longest = (struct report_gap){span, begin};
            *shard = lead->shard;
        }
        if (lead->node != REPORT_NO_NODE)
            since[lead->shard] = -1;
        else if (had_leader[lead->shard] && since[lead->shard] < 0)
            since[lead->shard] = lead->at_s;
        had_leader[lead->shard] |= lead->node != REPORT_NO_NODE;
    }
    free(since);
    free(had_leader);
    return longest;
}

static size_t count_leader_changes(const struct report_run *run)
{
    uint32_t *last = check_calloc(run->shards.count + 1, sizeof(last[0]));
    size_t count = 0;

    for (size_t i = 0; i < run->shards.count; i++)
        last[i] = REPORT_NO_NODE;
    for (size_t i = 0; i < run->lead_count; i++) {
        const struct report_lead *lead = &run->leads[i];

        if (lead->node == REPORT_NO_NODE)
            continue;
        count += last[lead->shard] != REPORT_NO_NODE && last[lead->shard] != lead->node;
        last[lead->shard] = lead->node;
    }
    free(last);
    return count;
}

/* Does so little between two times mean anything? Requests that come by chance are now and then
 * few; three standard deviations fewer they hardly ever are. */
static bool is_dip(const struct report_digest *digest, const struct report_run *run, double before,
                   double from_s, double until_s)
{
    double expected = before * (until_s - from_s);
    double found = ok_before(digest, run, until_s) - ok_before(digest, run, from_s);

    return found < expected * REPORT_DIP_SHARE && found < expected - 3 * sqrt(expected);
}

/* In this sample alone, or in the half second up to its end, since the fault. */
static bool is_dip_at(const struct report_digest *digest, const struct report_run *run,
                      const struct report_fault *fault, double before, size_t sample)
{
    double until_s = run->samples[sample].at_s;

    return is_dip(digest, run, before, run->samples[sample].from_s, until_s) ||
           is_dip(digest, run, before, larger(until_s - REPORT_DIP_S, fault->from_s), until_s);
}

/* When, since the fault began, the rate was back to what it was before. */
static void find_recovery(const struct report_digest *digest, const struct report_run *run,
                          const struct report_fault *fault, double window_end_s,
                          struct report_effect *effect)
{
    double before = effect->rate_before;
    size_t i = sample_after(run, fault->from_s);

    effect->recovery = REPORT_RECOVERY_UNKNOWN;
    if (before <= 0)
        return;
    effect->recovery = REPORT_RECOVERY_NO_DIP;
    while (i < run->sample_count && run->samples[i].at_s <= window_end_s &&
           !is_dip_at(digest, run, fault, before, i))
        i++;
    if (i == run->sample_count || run->samples[i].at_s > window_end_s)
        return;
    effect->recovery = REPORT_RECOVERY_NEVER;
    for (; i < run->sample_count && effect->recovery == REPORT_RECOVERY_NEVER; i++) {
        double at_s = run->samples[i].at_s;
        bool is_next_dip = i + 1 < run->sample_count &&
                           is_dip(digest, run, before, at_s, run->samples[i + 1].at_s);

        if (!is_next_dip && report_digest_rate(digest, run, at_s, at_s + REPORT_BACK_S) >=
                                before * REPORT_BACK_SHARE) {
            effect->recovery = REPORT_RECOVERY_DONE;
            effect->recovery_s = at_s - fault->from_s;
        }
    }
}

static void digest_fault(struct report_digest *digest, const struct report_run *run, size_t index)
{
    const struct report_fault *fault = &run->faults[index];
    struct report_effect *effect = &digest->effects[index];
    double end_s = fault->until_s + REPORT_AROUND_S;
    uint32_t shard;

    for (size_t i = index + 1; i < run->fault_count; i++)
        if (run->faults[i].from_s > fault->from_s) {
            end_s = smaller(end_s, run->faults[i].from_s);
            break;
        }
    effect->rate_before =
        report_digest_rate(digest, run, fault->from_s - REPORT_AROUND_S, fault->from_s);
    effect->rate_during = report_digest_rate(
        digest, run, fault->from_s, larger(fault->until_s, fault->from_s + digest->period_s));
    effect->rate_after = fault->is_undone ? report_digest_rate(digest, run, fault->until_s,
                                                               fault->until_s + REPORT_AROUND_S)
                                          : -1;
    effect->p99_ms = -1;
    for (size_t i = sample_after(run, fault->from_s);
         i < run->sample_count && run->samples[i].at_s <= end_s; i++) {
        effect->failed += run->samples[i].failed;
        effect->p99_ms = larger(effect->p99_ms, run->samples[i].p99_ms);
    }
    effect->gap = longest_gap(run, fault->from_s, end_s);
    effect->leaderless_s =
        longest_leaderless(run, fault->from_s, smaller(end_s, run->end_s), &shard).seconds;
    find_recovery(digest, run, fault, end_s, effect);
}

static int by_number(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;

    return left < right ? -1 : left > right;
}

/* Of the numbers that are not below 0; below 0 when there are none. */
static double median(double *numbers, size_t count)
{
    size_t first = 0;

    if (count == 0)
        return -1;
    qsort(numbers, count, sizeof(numbers[0]), by_number);
    while (first < count && numbers[first] < 0)
        first++;
    return first == count ? -1 : numbers[first + (count - first - 1) / 2];
}

static void digest_samples(struct report_digest *digest, const struct report_run *run)
{
    size_t count = run->sample_count;
    double *numbers = check_calloc(count + 1, sizeof(numbers[0]));

    for (size_t i = 0; i < count; i++) {
        const struct report_sample *sample = &run->samples[i];

        digest->ok_until[i] = (double)digest->ok;
        digest->ok += sample->ok;
        digest->failed += sample->failed;
        digest->p99_worst_ms = larger(digest->p99_worst_ms, sample->p99_ms);
        digest->max_ms = larger(digest->max_ms, larger(sample->max_ms, sample->p99_ms));
        numbers[i] = sample->at_s - sample->from_s;
    }
    digest->ok_until[count] = (double)digest->ok;
    digest->period_s = larger(median(numbers, count), 0);
    for (size_t i = 0; i < count; i++)
        numbers[i] = run->samples[i].p50_ms;
    digest->p50_ms = median(numbers, count);
    for (size_t i = 0; i < count; i++)
        numbers[i] = run->samples[i].p99_ms;
    digest->p99_ms = median(numbers, count);
    free(numbers);
}

void report_digest_init(struct report_digest *digest, const struct report_run *run)
{
    *digest = (struct report_digest){.p99_worst_ms = -1, .max_ms = -1};
    digest->effects = check_calloc(run->fault_count + 1, sizeof(digest->effects[0]));
    digest->ok_until = check_calloc(run->sample_count + 1, sizeof(digest->ok_until[0]));
    digest_samples(digest, run);
    digest->rate = report_digest_rate(digest, run, 0, run->end_s);
    digest->gap = longest_gap(run, 0, run->end_s);
    digest->leaderless = longest_leaderless(run, 0, run->end_s, &digest->leaderless_shard);
    digest->leader_changes = count_leader_changes(run);
    for (size_t i = 0; i < run->fault_count; i++)
        digest_fault(digest, run, i);
}

void report_digest_close(struct report_digest *digest)
{
    free(digest->effects);
    free(digest->ok_until);
}
