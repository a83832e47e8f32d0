/* How requests went: their number and latencies since the last look, and since the beginning. */

#ifndef CHAOS_RUN_PULSE_H
#define CHAOS_RUN_PULSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pulse {
    uint64_t ok, failed;
    uint64_t *latencies_us; /* of the good ones */
    size_t count, capacity;
};

struct pulse_look {
    uint64_t ok, failed;
    bool has_latency;
    double p50_ms, p99_ms, max_ms;
};

void pulse_init(struct pulse *pulse);
void pulse_close(struct pulse *pulse);
void pulse_note(struct pulse *pulse, bool is_ok, uint64_t latency_us);
/* What came since the last time; the pulse is empty afterwards. */
void pulse_take(struct pulse *pulse, struct pulse_look *look);

#endif
