#include "chaos/report/report_bucket.h"

#include "proto/base/check.h"

static struct report_bucket bucket_of(const struct report_sample *samples, size_t count)
{
    struct report_bucket bucket = {.from_s = samples[0].from_s,
                                   .until_s = samples[count - 1].at_s,
                                   .p99_ms = -1,
                                   .max_ms = -1};
    double span = bucket.until_s - bucket.from_s;
    double ok = 0, failed = 0, weight = 0, p50_sum = 0;

    for (size_t i = 0; i < count; i++) {
        const struct report_sample *sample = &samples[i];
        double rate = (double)sample->ok / (sample->at_s - sample->from_s);

        ok += (double)sample->ok;
        failed += (double)sample->failed;
        if (i == 0 || rate < bucket.rate_least)
            bucket.rate_least = rate;
        if (rate > bucket.rate_most)
            bucket.rate_most = rate;
        if (sample->p50_ms >= 0) {
            p50_sum += sample->p50_ms * ((double)sample->ok + 1);
            weight += (double)sample->ok + 1;
        }
        if (sample->p99_ms > bucket.p99_ms)
            bucket.p99_ms = sample->p99_ms;
        if (sample->max_ms > bucket.max_ms)
            bucket.max_ms = sample->max_ms;
    }
    bucket.rate = ok / span;
    bucket.failed_rate = failed / span;
    bucket.p50_ms = weight > 0 ? p50_sum / weight : -1;
    return bucket;
}

void report_buckets_init(struct report_buckets *buckets, const struct report_run *run,
                         size_t count_max)
{
    size_t each = (run->sample_count + count_max - 1) / count_max;

    *buckets = (struct report_buckets){.is_merged = each > 1};
    buckets->buckets = check_calloc(count_max + 1, sizeof(buckets->buckets[0]));
    for (size_t at = 0; at < run->sample_count; at += each) {
        size_t rest = run->sample_count - at;

        buckets->buckets[buckets->count++] =
            bucket_of(&run->samples[at], rest < each ? rest : each);
    }
}

static int by_number(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;

    return left < right ? -1 : left > right;
}

double report_buckets_rate_end(const struct report_buckets *buckets, bool *is_cut)
{
    double *rates = check_calloc(buckets->count + 1, sizeof(rates[0]));
    double most = 0, usual;

    for (size_t i = 0; i < buckets->count; i++)
        rates[i] = buckets->buckets[i].rate_most;
    qsort(rates, buckets->count, sizeof(rates[0]), by_number);
    if (buckets->count > 0)
        most = rates[buckets->count - 1];
    usual = rates[buckets->count * 97 / 100];
    free(rates);
    *is_cut = usual > 0 && most > 1.5 * usual;
    return *is_cut ? 1.5 * usual : most;
}

void report_buckets_close(struct report_buckets *buckets)
{
    free(buckets->buckets);
}
