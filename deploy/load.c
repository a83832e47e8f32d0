#include "deploy/load.h"

#include "deploy/checkout.h"
#include "proto/base/check.h"
#include "proto/base/rng.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>

#define INTERRUPTED_MS 3000u /* what is in flight may take so long yet */

struct victim {
    struct load *load;
    struct daemon *daemon;
    uv_timer_t timer;
};

struct load {
    struct cluster *cluster;
    const struct load_options *options;
    struct load_result *result;
    struct checkout *checkout;
    uv_loop_t loop;
    uv_timer_t tell;
    uv_timer_t kill;
    uv_timer_t deadline; /* after an interrupt */
    uv_signal_t signals[3];
    struct rng rng;
    uint64_t told_acknowledged;
    size_t told_next;
    unsigned second;
    char event[64]; /* what was killed or started since the last line */
    struct victim *victims;
    size_t victim_count;
};

static void on_done(void *user)
{
    struct load *load = user;

    (void)uv_timer_stop(&load->kill);
    uv_stop(&load->loop);
}

/* ---- killing
 * --------------------------------------------------------------------------------------- */

static void note_event(struct load *load, const char *what, const char *name)
{
    (void)snprintf(load->event, sizeof(load->event), "%s %s", what, name);
}

static void on_restart(uv_timer_t *timer)
{
    struct victim *victim = timer->data;

    if (daemon_start(victim->daemon) == OK)
        note_event(victim->load, "started", victim->daemon->name);
}

static void on_kill(uv_timer_t *timer)
{
    struct load *load = timer->data;
    struct daemon *daemon =
        &load->cluster->daemons[rng_below(&load->rng, load->cluster->daemon_count)];
    struct victim *victim = &load->victims[daemon - load->cluster->daemons];

    if (checkout_counts(load->checkout)->sent ==
            (uint64_t)load->options->rate * load->options->seconds ||
        daemon_signal(daemon, SIGKILL) != OK)
        return;
    note_event(load, "killed", daemon->name);
    load->result->kills++;
    victim->daemon = daemon;
    (void)uv_timer_start(&victim->timer, on_restart, load->options->restart_after_ms, 0);
}

static void restart_victims(struct load *load)
{
    for (size_t i = 0; i < load->victim_count; i++) {
        struct victim *victim = &load->victims[i];

        (void)uv_timer_stop(&victim->timer);
        if (victim->daemon != NULL && daemon_start(victim->daemon) != OK)
            (void)fprintf(stderr, "skein: could not start %s again\n", victim->daemon->name);
    }
}

/* ---- an interrupt
 * --------------------------------------------------------------------------------------- */

static void on_deadline(uv_timer_t *timer)
{
    uv_stop(timer->loop);
}

/* The first: send nothing more. The next: do not even wait for what is in flight. */
static void on_signal(uv_signal_t *signal, int number)
{
    struct load *load = signal->data;

    (void)number;
    if (load->result->is_interrupted) {
        uv_stop(&load->loop);
        return;
    }
    load->result->is_interrupted = true;
    (void)fprintf(stderr, "interrupted: starting what was killed, waiting for %" PRIu64 " orders\n",
                  checkout_in_flight(load->checkout));
    (void)uv_timer_stop(&load->kill);
    restart_victims(load);
    (void)uv_timer_start(&load->deadline, on_deadline, INTERRUPTED_MS, 0);
    checkout_stop(load->checkout);
}

static void watch_signals(struct load *load)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};

    for (size_t i = 0; i < ARRAY_COUNT(numbers); i++) {
        CHECK(uv_signal_init(&load->loop, &load->signals[i]) == 0);
        load->signals[i].data = load;
        (void)uv_signal_start(&load->signals[i], on_signal, numbers[i]);
    }
}

/* ---- what people see while it runs
 * -------------------------------------------------------------------- */

static void on_tell(uv_timer_t *timer)
{
    struct load *load = timer->data;
    const struct checkout_counts *counts = checkout_counts(load->checkout);
    size_t count;
    uint64_t *sorted = checkout_latencies(load->checkout, load->told_next, counts->sent, &count);

    load->second++;
    if (!load->options->is_json) {
        (void)printf("%4us  sent %5zu/s  acknowledged %5" PRIu64
                     "/s  p50 %7.1f ms  p99 %7.1f ms  in flight %5" PRIu64 "  %s\n",
                     load->second, counts->sent - load->told_next,
                     counts->acknowledged - load->told_acknowledged,
                     checkout_percentile_ms(sorted, count, 0.5),
                     checkout_percentile_ms(sorted, count, 0.99),
                     checkout_in_flight(load->checkout), load->event);
        (void)fflush(stdout);
    }
    free(sorted);
    load->event[0] = '\0';
    load->told_next = counts->sent;
    load->told_acknowledged = counts->acknowledged;
}

/* ---- the whole
 * --------------------------------------------------------------------------------------------------
 */

static enum error check_all_regions(struct load *load, char why[ERROR_WHY_BYTES])
{
    for (size_t i = 0; i < load->cluster->region_count; i++) {
        const char *region = load->cluster->regions[i];
        struct checkout_ledger ledger;
        enum error rc = checkout_verify(load->checkout, region, &ledger, why);

        if (rc != OK)
            return rc;
        if (!load->options->is_json)
            (void)printf("  %-16s all %" PRIu64 " acknowledged orders read back: %" PRIu64
                         " lost, %" PRIu64 " duplicated\n",
                         region, load->result->acknowledged, ledger.lost, ledger.duplicated);
        load->result->lost += ledger.lost;
        load->result->duplicated += ledger.duplicated;
    }
    return OK;
}

static void run(struct load *load)
{
    const struct load_options *options = load->options;
    uv_timer_t *const timers[] = {&load->tell, &load->kill, &load->deadline};

    CHECK(uv_loop_init(&load->loop) == 0);
    for (size_t i = 0; i < ARRAY_COUNT(timers); i++) {
        CHECK(uv_timer_init(&load->loop, timers[i]) == 0);
        timers[i]->data = load;
    }
    for (size_t i = 0; i < load->victim_count; i++) {
        load->victims[i].load = load;
        CHECK(uv_timer_init(&load->loop, &load->victims[i].timer) == 0);
        load->victims[i].timer.data = &load->victims[i];
    }
    checkout_start(load->checkout, &load->loop);
    (void)uv_timer_start(&load->tell, on_tell, 1000, 1000);
    if (options->kill_every_ms > 0)
        (void)uv_timer_start(&load->kill, on_kill, options->kill_every_ms, options->kill_every_ms);
    watch_signals(load);
    (void)uv_run(&load->loop, UV_RUN_DEFAULT);
    restart_victims(load);
    for (size_t i = 0; i < ARRAY_COUNT(timers); i++)
        uv_close((uv_handle_t *)timers[i], NULL);
    for (size_t i = 0; i < ARRAY_COUNT(load->signals); i++)
        uv_close((uv_handle_t *)&load->signals[i], NULL);
    for (size_t i = 0; i < load->victim_count; i++)
        uv_close((uv_handle_t *)&load->victims[i].timer, NULL);
    checkout_close(load->checkout);
    (void)uv_run(&load->loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&load->loop) == 0);
}

static void sum_up(struct load *load)
{
    const struct checkout_counts *counts = checkout_counts(load->checkout);
    struct load_result *result = load->result;
    size_t count;
    uint64_t *sorted = checkout_latencies(load->checkout, 0, counts->sent, &count);

    result->sent = counts->sent;
    result->acknowledged = counts->acknowledged;
    result->failed = counts->failed;
    result->retries = counts->retries;
    result->gap_ms = counts->gap_ms;
    result->unanswered = counts->unanswered;
    result->p50_ms = checkout_percentile_ms(sorted, count, 0.5);
    result->p90_ms = checkout_percentile_ms(sorted, count, 0.9);
    result->p99_ms = checkout_percentile_ms(sorted, count, 0.99);
    result->max_ms = checkout_percentile_ms(sorted, count, 1);
    free(sorted);
}

enum error load_checkout(struct cluster *cluster, const struct load_options *options,
                         struct load_result *result, char why[ERROR_WHY_BYTES])
{
    struct load *load = check_calloc(1, sizeof(*load));
    const struct checkout_options checkout = {.rate = options->rate,
                                              .orders = (size_t)options->rate * options->seconds,
                                              .seed = options->seed,
                                              .api = options->api,
                                              .stage = options->stage,
                                              .table = options->table,
                                              .user = load,
                                              .on_done = on_done};
    enum error rc;

    *result = (struct load_result){0};
    load->cluster = cluster;
    load->options = options;
    load->result = result;
    load->victim_count = cluster->daemon_count;
    load->victims = check_calloc(load->victim_count, sizeof(*load->victims));
    rng_init(&load->rng, options->seed);
    rc = checkout_new(cluster, &checkout, &load->checkout, why);
    if (rc == OK) {
        run(load);
        sum_up(load);
        if (!options->is_json)
            (void)printf("reading every acknowledged order back from every region\n");
        rc = check_all_regions(load, why);
        checkout_free(load->checkout);
    }
    free(load->victims);
    free(load);
    return rc;
}
