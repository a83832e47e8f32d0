/* The figures of a run: how long nobody was answered, and what each fault did to the clients.
 *
 * Everything comes from samples, so nothing shorter than the time between two of them (`period_s`)
 * is seen: a gap of 0 means less than that. A gap is a time without any answer to anybody; clients
 * of a shard may wait longer than that, which latencies show. Rates are acknowledged requests a
 * second. */

#ifndef CHAOS_REPORT_REPORT_DIGEST_H
#define CHAOS_REPORT_REPORT_DIGEST_H

#include "chaos/report/report_run.h"

#define REPORT_AROUND_S 5.0   /* so long before and after a fault rates are compared */
#define REPORT_DIP_SHARE 0.5  /* of the rate before: less is a dip, unless chance explains it */
#define REPORT_DIP_S 0.5      /* a dip shows in one sample, or in so many seconds of them */
#define REPORT_BACK_SHARE 0.9 /* of the rate before, over ... */
#define REPORT_BACK_S 1.0     /* ... this time: it has recovered */

struct report_gap {
    double seconds; /* 0: none that samples can show */
    double at_s;    /* when it began */
};

enum report_recovery {
    REPORT_RECOVERY_UNKNOWN, /* nothing was acknowledged before the fault */
    REPORT_RECOVERY_NO_DIP,
    REPORT_RECOVERY_DONE,
    REPORT_RECOVERY_NEVER, /* not until the end of the run */
};

/* What clients and shards saw from a fault's begin until REPORT_AROUND_S after its end, but no
 * longer than until the next fault. */
struct report_effect {
    double rate_before, rate_during, rate_after; /* below 0: no samples there */
    uint64_t failed;
    double p99_ms; /* the worst; below 0: no answer */
    struct report_gap gap;
    double leaderless_s; /* longest time without a leader of any shard */
    enum report_recovery recovery;
    double recovery_s; /* since the begin of the fault; of REPORT_RECOVERY_DONE */
};

struct report_digest {
    uint64_t ok, failed;
    double rate;                   /* over all samples; below 0: no samples */
    double p50_ms;                 /* median of the samples'; below 0: no answer */
    double p99_ms, p99_worst_ms;   /* median of the samples', and the worst */
    double max_ms;                 /* the slowest request */
    double period_s;               /* median time between samples */
    struct report_gap gap;         /* without an acknowledged request */
    struct report_gap leaderless;  /* of one shard, after it had its first leader */
    uint32_t leaderless_shard;     /* index of the run's shards */
    size_t leader_changes;         /* a shard got another leader than its last one */
    struct report_effect *effects; /* as many as the run has faults */
    double *ok_until;              /* requests acknowledged before each sample; count + 1 */
};

void report_digest_init(struct report_digest *digest, const struct report_run *run);
void report_digest_close(struct report_digest *digest);

/* Acknowledged requests a second between two times; a sample that is partly within counts in
 * part. Below 0: no samples there. */
double report_digest_rate(const struct report_digest *digest, const struct report_run *run,
                          double from_s, double until_s);

#endif
