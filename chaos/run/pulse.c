#include "chaos/run/pulse.h"

#include "chaos/run/assess.h"
#include "proto/base/check.h"

void pulse_init(struct pulse *pulse)
{
    *pulse = (struct pulse){0};
}

void pulse_close(struct pulse *pulse)
{
    free(pulse->latencies_us);
    *pulse = (struct pulse){0};
}

void pulse_note(struct pulse *pulse, bool is_ok, uint64_t latency_us)
{
    if (!is_ok) {
        pulse->failed++;
        return;
    }
    pulse->ok++;
    if (pulse->count == pulse->capacity) {
        pulse->capacity = pulse->capacity == 0 ? 256 : pulse->capacity * 2;
        pulse->latencies_us =
            check_realloc(pulse->latencies_us, pulse->capacity * sizeof(*pulse->latencies_us));
    }
    pulse->latencies_us[pulse->count++] = latency_us;
}

void pulse_take(struct pulse *pulse, struct pulse_look *look)
{
    *look = (struct pulse_look){
        .ok = pulse->ok, .failed = pulse->failed, .has_latency = pulse->count > 0};
    look->p50_ms = (double)assess_percentile(pulse->latencies_us, pulse->count, 0.5) / 1000.0;
    look->p99_ms = (double)assess_percentile(pulse->latencies_us, pulse->count, 0.99) / 1000.0;
    look->max_ms = (double)assess_percentile(pulse->latencies_us, pulse->count, 1) / 1000.0;
    pulse->ok = pulse->failed = 0;
    pulse->count = 0;
}
