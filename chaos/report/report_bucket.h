/* Samples put together until there are no more of them than a chart has room for. */

#ifndef CHAOS_REPORT_REPORT_BUCKET_H
#define CHAOS_REPORT_REPORT_BUCKET_H

#include "chaos/report/report_run.h"

struct report_bucket {
    double from_s, until_s;
    double rate, rate_least,
        rate_most; /* acknowledged requests a second: all, worst, best sample */
    double failed_rate;
    double p50_ms;         /* mean of the samples', by their requests; below 0: no answer */
    double p99_ms, max_ms; /* worst */
};

struct report_buckets {
    struct report_bucket *buckets;
    size_t count;
    bool is_merged; /* some are of more than one sample */
};

void report_buckets_init(struct report_buckets *buckets, const struct report_run *run,
                         size_t count_max);
/* Where an axis of rates should end: one that few buckets are far above of is not made for these.
 */
double report_buckets_rate_end(const struct report_buckets *buckets, bool *is_cut);
void report_buckets_close(struct report_buckets *buckets);

#endif
