#include "chaos/run/chaos_run.h"

#include "chaos/report/chaos_report.h"
#include "chaos/run/breaker.h"
#include "chaos/run/chaos_histories.h"
#include "chaos/run/chaos_tell.h"
#include "chaos/run/heal.h"
#include "chaos/run/key_load.h"
#include "chaos/run/key_request.h"
#include "chaos/run/leader_watch.h"
#include "chaos/run/pulse.h"
#include "chaos/run/run_folder.h"
#include "chaos/scenario/schedule.h"
#include "deploy/checkout.h"
#include "proto/base/check.h"
#include "proto/base/list.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#define STEP_MS 10u /* how often it is looked what is due */
#define SAMPLE_MS 100u
#define HEALTHY_MS 60000u
#define HEALTHY_MS_INTERRUPTED 15000u
#define CALM_MS 1000u    /* of load after all is healthy again */
#define FINISH_MS 30000u /* for the last reads */
#define DRAIN_MS 40000u  /* for orders in flight: longer than their own patience */
#define WARM_MS 1000u    /* before what is served counts as the usual */
#define GAP_WINDOW_US 5000000u

/* What happens, in order:
 *
 *   BREAKING -> MENDING -> HEALTHY_WAIT -> CALM -> FINISHING -> (loop ends) -> checks, verdict
 *
 * MENDING undoes what is open; FINISHING reads every key once more and lets orders end. */
enum phase { BREAKING, MENDING, HEALTHY_WAIT, CALM, FINISHING };

enum job_kind { JOB_DO, JOB_UNDO, JOB_MEND_ALL, JOB_LOOK };

/* Work that may block, one at a time, on a thread of its own. */
struct job {
    struct list link;
    uv_work_t work;
    struct chaos_run *run;
    enum job_kind kind;
    const struct schedule_action *action;
    struct open *open;
    enum error rc;
    bool is_healthy;
    char why[ERROR_WHY_BYTES];
};

struct open { /* a fault that was done and is not undone */
    struct list link;
    struct injection injection;
    uint64_t end_ms; /* since the run began */
    bool is_ending;
};

struct chaos_run {
    struct cluster *cluster;
    const struct scenario *scenario;
    const struct chaos_run_options *options;
    struct chaos_run_result *result;
    struct chaos_tell tell;
    struct schedule schedule;
    struct breaker breaker;
    struct run_folder *folder;
    struct chaos_histories *histories;
    struct checkout *checkout; /* NULL = not used */
    struct key_load *keys;     /* NULL = not used */
    struct leader_watch *leaders;
    uv_loop_t loop;
    uv_timer_t step;
    uv_timer_t sample;
    uv_signal_t signals[3];
    struct list jobs; /* waiting; the first may be at work */
    bool is_working;
    struct list open;
    size_t next_action;
    enum phase phase;
    uint64_t start_us;
    uint64_t started_s;
    uint64_t seconds;
    uint64_t phase_us; /* when it began */
    uint64_t look_us;  /* of the last look whether all is healthy */
    uint64_t mended_us, healthy_us;
    bool keys_done, orders_done;
    struct pulse pulse, second, reads, writes;
    unsigned samples;
    uint64_t ok_total, failed_total;
    uint64_t told_ok, told_failed, slowest_us; /* since the last story */
    uint64_t ok_before, ok_during; /* before the first fault; from then until the mending */
    uint64_t first_fault_us;
    uint64_t *fault_us; /* when each took effect */
    size_t fault_count;
    double ran_s;
};

static uint64_t now_us(void)
{
    return uv_hrtime() / 1000;
}

static uint64_t since_us(const struct chaos_run *run)
{
    return now_us() - run->start_us;
}

static double since_s(const struct chaos_run *run)
{
    return (double)since_us(run) / 1e6;
}

/* ---- what happens, told and written down
 * ------------------------------------------------------------ */

static void note(struct chaos_run *run, const char *kind, unsigned id, const char *what,
                 const char *target, const char *text)
{
    const struct run_event event = {
        .at_s = since_s(run), .kind = kind, .id = id, .what = what, .target = target, .text = text};

    run_folder_event(run->folder, &event);
    chaos_tell_event(&run->tell, event.at_s,
                     strcmp(kind, "fault") == 0  ? '!'
                     : strcmp(kind, "undo") == 0 ? '+'
                                                 : '-',
                     text);
}

static void on_leader(void *user, unsigned shard, const char *leader)
{
    struct chaos_run *run = user;

    run_folder_leader(run->folder, since_s(run), shard, leader);
}

static void count(struct chaos_run *run, bool is_ok, uint64_t latency_us)
{
    uint64_t at_us = since_us(run);

    pulse_note(&run->pulse, is_ok, latency_us);
    pulse_note(&run->second, is_ok, latency_us);
    run->ok_total += is_ok;
    run->failed_total += !is_ok;
    if (latency_us > run->slowest_us)
        run->slowest_us = latency_us;
    if (run->first_fault_us == 0)
        run->ok_before += is_ok && at_us >= WARM_MS * 1000;
    else if (run->phase == BREAKING)
        run->ok_during += is_ok;
}

static void on_order(void *user, bool is_acknowledged, uint64_t latency_us)
{
    count(user, is_acknowledged, latency_us);
}

static void on_attempt(void *user, bool is_ok, bool is_write, uint64_t latency_us)
{
    struct chaos_run *run = user;

    count(run, is_ok, latency_us);
    pulse_note(is_write ? &run->writes : &run->reads, is_ok, latency_us);
}

static void on_history(void *user, enum scenario_workload workload, struct slice line)
{
    struct chaos_run *run = user;

    run_folder_history(run->folder, line);
    chaos_histories_take(run->histories, workload, line);
}

static void name_broken(const struct chaos_run *run, char *text, size_t bytes)
{
    size_t size = 0;

    text[0] = '\0';
    LIST_EACH(&run->open, link)
    {
        const struct open *open = container_of(link, struct open, link);
        const struct injection *injection = &open->injection;

        if (size >= bytes)
            return;
        size += (size_t)snprintf(text + size, bytes - size, "%s%.20s %.50s", size > 0 ? ", " : "",
                                 injection->fault->verb->past, injection->names);
    }
}

static void on_sample(uv_timer_t *timer)
{
    struct chaos_run *run = timer->data;
    struct pulse_look look;
    char broken[200];

    pulse_take(&run->pulse, &look);
    run_folder_sample(run->folder, &(struct run_sample){.at_s = since_s(run),
                                                        .ok = look.ok,
                                                        .failed = look.failed,
                                                        .has_latency = look.has_latency,
                                                        .p50_ms = look.p50_ms,
                                                        .p99_ms = look.p99_ms,
                                                        .max_ms = look.max_ms});
    if (++run->samples % (1000 / SAMPLE_MS) != 0)
        return;
    pulse_take(&run->second, &look);
    name_broken(run, broken, sizeof(broken));
    chaos_tell_second(&run->tell, since_s(run), &look, broken);
}

/* ---- jobs
 * ------------------------------------------------------------------------------------------ */

static void work(uv_work_t *work)
{
    struct job *job = work->data;
    struct chaos_run *run = job->run;
    const struct schedule_action *action = job->action;

    switch (job->kind) {
    case JOB_DO:
        job->rc = breaker_do(&run->breaker, &run->scenario->faults[action->fault], action->number,
                             action->end_ms - action->at_ms, &job->open->injection, job->why);
        break;
    case JOB_UNDO:
        job->rc = breaker_undo(&run->breaker, &job->open->injection, job->why);
        break;
    case JOB_MEND_ALL:
        job->rc = breaker_mend_all(run->cluster, NULL, NULL, job->why);
        break;
    case JOB_LOOK:
        job->is_healthy = heal_is_healthy(run->cluster);
        break;
    }
}

static void begin_phase(struct chaos_run *run, enum phase phase)
{
    run->phase = phase;
    run->phase_us = now_us();
}

/* ERR_CONFLICT and ERR_NOT_FOUND: nothing was done. Else it may have been done in part, and is
 * undone like one that was. */
static void note_done(struct chaos_run *run, struct job *job)
{
    struct injection *injection = &job->open->injection;
    const char *verb = injection->fault->verb->name;

    if (job->rc == ERR_CONFLICT || job->rc == ERR_NOT_FOUND) {
        note(run, "note", 0, verb, injection->names, job->why);
        free(job->open);
        return;
    }
    if (job->rc != OK)
        note(run, "note", 0, verb, injection->names, job->why);
    if (breaker_takes_data(injection->fault))
        for (size_t i = 0; i < injection->target.count; i++)
            leader_watch_forget(run->leaders, injection->target.daemons[i]->name);
    if (run->first_fault_us == 0)
        run->first_fault_us = injection->done_us - run->start_us;
    run->fault_us[run->fault_count++] = injection->done_us;
    /* It is to last as long as was drawn, however long finding its target took. */
    job->open->end_ms =
        (injection->done_us - run->start_us) / 1000 + (job->action->end_ms - job->action->at_ms);
    list_append(&run->open, &job->open->link);
    note(run, "fault", injection->id, verb, injection->names, injection->text);
}

static void tell_story(struct chaos_run *run, size_t fault)
{
    if (run->options->stories == NULL)
        return;
    chaos_tell_line(&run->tell, CHAOS_BOLD, "\n%s", run->options->stories[fault]);
    run->told_ok = run->ok_total;
    run->told_failed = run->failed_total;
    run->slowest_us = 0;
}

static void tell_outcome(struct chaos_run *run)
{
    if (run->options->stories != NULL)
        chaos_tell_line(&run->tell, CHAOS_BOLD,
                        "          Meanwhile %" PRIu64 " requests were answered, the slowest after "
                        "%.0f ms; %" PRIu64 " attempts had to be repeated.",
                        run->ok_total - run->told_ok, (double)run->slowest_us / 1000.0,
                        run->failed_total - run->told_failed);
}

static void note_undone(struct chaos_run *run, struct job *job)
{
    struct injection *injection = &job->open->injection;

    note(run, job->rc == OK ? "undo" : "note", injection->id, injection->fault->verb->name,
         injection->names, job->rc == OK ? injection->text : job->why);
    tell_outcome(run);
    list_remove(&job->open->link);
    free(job->open);
}

static void note_looked(struct chaos_run *run, bool is_healthy)
{
    uint64_t limit_ms = run->result->is_interrupted ? HEALTHY_MS_INTERRUPTED : HEALTHY_MS;

    if (run->phase != HEALTHY_WAIT)
        return;
    if (is_healthy) {
        run->healthy_us = now_us();
        note(run, "note", 0, "healthy", "", "every process runs, all replicas are equal");
        begin_phase(run, CALM);
    } else if (now_us() - run->phase_us > limit_ms * 1000) {
        note(run, "note", 0, "unhealthy", "", "still not healthy; see: skein status");
        begin_phase(run, CALM);
    }
}

static void work_on(struct chaos_run *run);

static void on_worked(uv_work_t *work, int status)
{
    struct job *job = work->data;
    struct chaos_run *run = job->run;

    (void)status;
    run->is_working = false;
    list_remove(&job->link);
    switch (job->kind) {
    case JOB_DO:
        note_done(run, job);
        break;
    case JOB_UNDO:
        note_undone(run, job);
        break;
    case JOB_MEND_ALL:
        if (job->rc != OK)
            note(run, "note", 0, "mend", "", job->why);
        run->mended_us = now_us();
        begin_phase(run, HEALTHY_WAIT);
        break;
    case JOB_LOOK:
        note_looked(run, job->is_healthy);
        break;
    }
    free(job);
    work_on(run);
}

static void work_on(struct chaos_run *run)
{
    struct job *job;

    if (run->is_working || list_is_empty(&run->jobs))
        return;
    job = container_of(run->jobs.next, struct job, link);
    run->is_working = true;
    CHECK(uv_queue_work(&run->loop, &job->work, work, on_worked) == 0);
}

static struct job *add_job(struct chaos_run *run, enum job_kind kind)
{
    struct job *job = check_calloc(1, sizeof(*job));

    job->run = run;
    job->kind = kind;
    job->work.data = job;
    list_append(&run->jobs, &job->link);
    return job;
}

/* ---- what is due
 * ----------------------------------------------------------------------------------- */

static void do_what_is_due(struct chaos_run *run)
{
    uint64_t now_ms = since_us(run) / 1000;

    while (run->next_action < run->schedule.count &&
           run->schedule.actions[run->next_action].at_ms <= now_ms) {
        struct job *job = add_job(run, JOB_DO);

        job->action = &run->schedule.actions[run->next_action++];
        job->open = check_calloc(1, sizeof(*job->open));
        list_init(&job->open->link);
        tell_story(run, job->action->fault);
        work_on(run);
    }
}

static void undo_what_is_due(struct chaos_run *run, bool all)
{
    uint64_t now_ms = since_us(run) / 1000;

    LIST_EACH(&run->open, link)
    {
        struct open *open = container_of(link, struct open, link);

        if (open->is_ending || (!all && open->end_ms > now_ms))
            continue;
        open->is_ending = true;
        add_job(run, JOB_UNDO)->open = open;
        work_on(run);
    }
}

static void finish_load(struct chaos_run *run)
{
    run->keys_done = run->keys == NULL;
    run->orders_done = run->checkout == NULL;
    begin_phase(run, FINISHING);
    if (run->checkout != NULL)
        checkout_stop(run->checkout);
    if (run->keys != NULL)
        key_load_finish(run->keys, FINISH_MS);
}

static void stop_if_finished(struct chaos_run *run)
{
    if (run->phase == FINISHING && run->keys_done && run->orders_done)
        uv_stop(&run->loop);
}

static void on_keys_done(void *user)
{
    struct chaos_run *run = user;

    run->keys_done = true;
    stop_if_finished(run);
}

static void on_orders_done(void *user)
{
    struct chaos_run *run = user;

    run->orders_done = true;
    stop_if_finished(run);
}

static void on_step(uv_timer_t *timer)
{
    struct chaos_run *run = timer->data;
    uint64_t in_phase_us = now_us() - run->phase_us;

    switch (run->phase) {
    case BREAKING:
        do_what_is_due(run);
        undo_what_is_due(run, false);
        if (since_us(run) >= run->seconds * 1000000 || run->result->is_interrupted) {
            run->ran_s = since_s(run);
            begin_phase(run, MENDING);
        }
        break;
    case MENDING: /* until a fault that is just being done is known, and all are undone */
        undo_what_is_due(run, true);
        if (list_is_empty(&run->jobs) && list_is_empty(&run->open) && run->mended_us == 0) {
            (void)add_job(run, JOB_MEND_ALL);
            work_on(run);
        }
        break;
    case HEALTHY_WAIT:
        if (list_is_empty(&run->jobs) && now_us() - run->look_us > SAMPLE_MS * 1000) {
            run->look_us = now_us();
            (void)add_job(run, JOB_LOOK);
            work_on(run);
        }
        break;
    case CALM:
        if (in_phase_us > CALM_MS * 1000)
            finish_load(run);
        break;
    case FINISHING:
        if (in_phase_us > DRAIN_MS * 1000)
            uv_stop(&run->loop);
        break;
    }
}

static void on_signal(uv_signal_t *signal, int number)
{
    struct chaos_run *run = signal->data;

    (void)number;
    if (run->result->is_interrupted) {
        uv_stop(&run->loop);
        return;
    }
    run->result->is_interrupted = true;
    note(run, "note", 0, "interrupted", "", "interrupted: mending everything");
}

/* ---- figures
 * ------------------------------------------------------------------------------------ */

static struct assess_figure known(double value)
{
    return (struct assess_figure){true, value};
}

static void measure_gaps(struct chaos_run *run, struct assess_figure *figures)
{
    const struct assess_gap *gaps = NULL;
    size_t gap_count = run->keys != NULL ? key_load_gaps(run->keys, &gaps) : 0;
    uint64_t *longest;
    uint64_t max_us = 0;

    if (run->keys == NULL || run->fault_count == 0)
        return;
    longest = check_calloc(run->fault_count, sizeof(*longest));
    assess_gaps(gaps, gap_count, run->fault_us, run->fault_count, GAP_WINDOW_US, longest);
    for (size_t i = 0; i < gap_count; i++)
        if (gaps[i].to_us > run->fault_us[0] && gaps[i].to_us - gaps[i].from_us > max_us)
            max_us = gaps[i].to_us - gaps[i].from_us;
    figures[MEASURE_GAP_P50] =
        known((double)assess_percentile(longest, run->fault_count, 0.5) / 1000.0);
    figures[MEASURE_GAP_P99] =
        known((double)assess_percentile(longest, run->fault_count, 0.99) / 1000.0);
    figures[MEASURE_GAP_MAX] = known((double)max_us / 1000.0);
    free(longest);
}

static void measure_load(struct chaos_run *run, struct assess_figure *figures)
{
    const struct checkout_counts *orders =
        run->checkout != NULL ? checkout_counts(run->checkout) : NULL;
    double before_s = (double)run->first_fault_us / 1e6 - WARM_MS / 1000.0;
    double during_s = run->ran_s - (double)run->first_fault_us / 1e6;
    struct pulse_look look;

    if (orders != NULL)
        figures[MEASURE_FAILED].value += (double)orders->failed;
    if (run->keys != NULL)
        figures[MEASURE_FAILED].value += (double)key_load_counts(run->keys)->failed_requests;
    figures[MEASURE_FAILED].is_known = run->ok_total > 0;
    if (run->ok_total + run->failed_total > 0)
        figures[MEASURE_FAILED_PERCENT] =
            known(100.0 * (double)run->failed_total / (double)(run->ok_total + run->failed_total));
    pulse_take(&run->reads, &look);
    if (look.has_latency)
        figures[MEASURE_READ_P99] = known(look.p99_ms);
    pulse_take(&run->writes, &look);
    if (look.has_latency)
        figures[MEASURE_WRITE_P50] = known(look.p50_ms);
    if (before_s > 1 && during_s > 1 && run->ok_before > 0)
        figures[MEASURE_GOODPUT] = known(100.0 * ((double)run->ok_during / during_s) /
                                         ((double)run->ok_before / before_s));
}

static void measure_leaders(struct chaos_run *run, struct assess_figure *figures)
{
    const struct leader_watch_counts *counts = leader_watch_counts(run->leaders);

    if (counts->looks == 0)
        return;
    figures[MEASURE_TWO_LEADERS] = known((double)counts->two_leaders);
    figures[MEASURE_TERMS_BACK] = known((double)counts->terms_back);
    figures[MEASURE_UNEQUAL] = known((double)counts->unequal_states);
    figures[MEASURE_LEADER_CHANGES] = known((double)counts->changes);
    figures[MEASURE_TERMS] = known((double)counts->terms);
}

/* Every acknowledged order, in every region. */
static void measure_orders(struct chaos_run *run, struct assess_figure *figures)
{
    struct chaos_run_result *result = run->result;
    const struct checkout_counts *counts = checkout_counts(run->checkout);
    char why[ERROR_WHY_BYTES];

    result->orders_acknowledged = counts->acknowledged;
    result->orders_failed = counts->failed;
    for (size_t i = 0; i < run->cluster->region_count; i++) {
        const char *region = run->cluster->regions[i];
        struct checkout_ledger ledger = {0};

        if (checkout_verify(run->checkout, region, &ledger, why) != OK) {
            chaos_tell_line(&run->tell, CHAOS_YELLOW, "  %s", why);
            return;
        }
        result->orders_lost += ledger.lost;
        result->orders_duplicated += ledger.duplicated;
        chaos_tell_line(&run->tell, CHAOS_PLAIN,
                        "  %-14s %" PRIu64 " acknowledged orders: %" PRIu64 " lost, %" PRIu64
                        " duplicated",
                        region, counts->acknowledged, ledger.lost, ledger.duplicated);
    }
    figures[MEASURE_LOST] = known((double)result->orders_lost);
    figures[MEASURE_DUPLICATED] = known((double)result->orders_duplicated);
}

static void measure(struct chaos_run *run, struct assess_figure *figures)
{
    if (run->mended_us > 0) {
        uint64_t until_us = run->healthy_us > 0 ? run->healthy_us : now_us();
        double waited_s = (double)(until_us - run->mended_us) / 1e6;

        /* Never: longer than anybody allows. */
        figures[MEASURE_RECOVERY] = known(run->healthy_us > 0 ? waited_s : 1e6);
    }
    measure_gaps(run, figures);
    measure_load(run, figures);
    measure_leaders(run, figures);
    chaos_tell_line(&run->tell, CHAOS_DIM, "checking what clients saw, and every order");
    if (run->keys != NULL) {
        figures[MEASURE_WRONG_HISTORIES] = chaos_histories_judge(
            run->histories, run_folder_path(run->folder), !run->tell.is_silent);
        if (key_load_counts(run->keys)->unread > 0 && figures[MEASURE_WRONG_HISTORIES].value == 0)
            figures[MEASURE_WRONG_HISTORIES].is_known = false;
    }
    if (run->checkout != NULL)
        measure_orders(run, figures);
}

/* ---- the whole
 * ---------------------------------------------------------------------------------- */

/* What it needs, before anything is started. */
static enum error prepare(struct chaos_run *run, char why[ERROR_WHY_BYTES])
{
    const struct chaos_run_options *options = run->options;
    const struct scenario *scenario = run->scenario;
    unsigned rate =
        scenario->rates[SCENARIO_CHECKOUT] > 0 ? scenario->rates[SCENARIO_CHECKOUT] : 60;
    enum error rc = OK;

    rate = rate * options->rate_percent / 100 > 0 ? rate * options->rate_percent / 100 : 1;
    const struct checkout_options checkout = {.rate = rate,
                                              .orders = (size_t)rate * (run->seconds + 200),
                                              .seed = options->seed,
                                              .api = options->api,
                                              .stage = options->stage,
                                              .table = options->table,
                                              .user = run,
                                              .on_order = on_order,
                                              .on_done = on_orders_done};

    if (scenario->is_used[SCENARIO_CHECKOUT])
        rc = checkout_new(run->cluster, &checkout, &run->checkout, why);
    if (rc == OK && (scenario->is_used[SCENARIO_REGISTER] || scenario->is_used[SCENARIO_COUNTER] ||
                     scenario->is_used[SCENARIO_ORDERS])) {
        run->histories = chaos_histories_new(scenario);
        rc = key_request_make_table(run->cluster, why);
    }
    return rc;
}

static void start(struct chaos_run *run)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    const struct key_load_options keys = {.cluster = run->cluster,
                                          .scenario = run->scenario,
                                          .seed = run->options->seed,
                                          .start_us = run->start_us,
                                          .rate_percent = run->options->rate_percent,
                                          .user = run,
                                          .on_attempt = on_attempt,
                                          .on_history = on_history,
                                          .on_done = on_keys_done};

    for (size_t i = 0; i < ARRAY_COUNT(numbers); i++) {
        CHECK(uv_signal_init(&run->loop, &run->signals[i]) == 0);
        run->signals[i].data = run;
        (void)uv_signal_start(&run->signals[i], on_signal, numbers[i]);
    }
    CHECK(uv_timer_init(&run->loop, &run->step) == 0);
    CHECK(uv_timer_init(&run->loop, &run->sample) == 0);
    run->step.data = run->sample.data = run;
    (void)uv_timer_start(&run->step, on_step, STEP_MS, STEP_MS);
    (void)uv_timer_start(&run->sample, on_sample, SAMPLE_MS, SAMPLE_MS);
    run->leaders = leader_watch_new(&run->loop, run->cluster, run, on_leader);
    if (run->histories != NULL)
        run->keys = key_load_new(&run->loop, &keys);
    if (run->checkout != NULL)
        checkout_start(run->checkout, &run->loop);
}

/* Faults whose undo did not get its turn, after a second interrupt. */
static void drop_rest(struct chaos_run *run)
{
    char why[ERROR_WHY_BYTES];
    struct list *link;

    while ((link = list_pop(&run->jobs)) != NULL) {
        struct job *job = container_of(link, struct job, link);

        if (job->kind == JOB_DO)
            free(job->open);
        free(job);
    }
    while ((link = list_pop(&run->open)) != NULL)
        free(container_of(link, struct open, link));
    if (run->mended_us == 0 && breaker_mend_all(run->cluster, NULL, NULL, why) != OK)
        (void)fprintf(stderr, "skein: not all could be mended (%s); see: skein heal\n", why);
}

static void stop(struct chaos_run *run)
{
    for (size_t i = 0; i < ARRAY_COUNT(run->signals); i++)
        uv_close((uv_handle_t *)&run->signals[i], NULL);
    uv_close((uv_handle_t *)&run->step, NULL);
    uv_close((uv_handle_t *)&run->sample, NULL);
    leader_watch_close(run->leaders);
    if (run->keys != NULL)
        key_load_close(run->keys);
    if (run->checkout != NULL)
        checkout_close(run->checkout);
    (void)uv_run(&run->loop, UV_RUN_DEFAULT); /* also waits for the job at work */
    drop_rest(run);
    (void)uv_run(&run->loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&run->loop) == 0);
}

static void conclude(struct chaos_run *run)
{
    struct chaos_run_result *result = run->result;
    struct assess_figure figures[MEASURE_COUNT] = {0};
    char why[ERROR_WHY_BYTES] = "";

    measure(run, figures);
    assess(run->scenario, figures, &result->assessment);
    if (result->is_interrupted)
        assess_cut_short(&result->assessment, "interrupted");
    else if (run->fault_count == 0 && run->scenario->fault_count > 0)
        assess_cut_short(&result->assessment, "no fault took place");
    run_folder_summary(run->folder, &(struct run_summary){.scenario = run->scenario,
                                                          .cluster = run->cluster,
                                                          .assessment = &result->assessment,
                                                          .layer = "laptop",
                                                          .seed = run->options->seed,
                                                          .started_s = run->started_s,
                                                          .seconds = run->ran_s});
    run_folder_flush(run->folder);
    if (chaos_report_write(run_folder_path(run->folder), why) == OK)
        (void)snprintf(result->report, sizeof(result->report), "%s/report.html",
                       run_folder_path(run->folder));
    else
        (void)fprintf(stderr, "skein: no report: %s\n", why);
}

static void run_all(struct chaos_run *run)
{
    CHECK(uv_loop_init(&run->loop) == 0);
    run->start_us = now_us();
    run->phase_us = run->start_us;
    start(run);
    (void)uv_run(&run->loop, UV_RUN_DEFAULT);
    if (run->ran_s == 0)
        run->ran_s = since_s(run);
    stop(run);
    conclude(run);
}

static enum error open_folder(struct chaos_run *run, char why[ERROR_WHY_BYTES])
{
    struct chaos_run_result *result = run->result;
    time_t now = time(NULL);
    char stamp[32];
    struct tm parts;

    run->started_s = (uint64_t)now;
    (void)gmtime_r(&now, &parts);
    (void)strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &parts);
    if (run->options->folder != NULL)
        (void)snprintf(result->folder, sizeof(result->folder), "%s", run->options->folder);
    else
        (void)snprintf(result->folder, sizeof(result->folder), "%s/chaos/%s-%s", run->cluster->data,
                       run->scenario->name, stamp);
    run->folder = run_folder_new(result->folder, why);
    return run->folder != NULL ? OK : ERR_IO;
}

/* With the lock held, and a guard that mends everything should this process be killed. */
static enum error run_guarded(struct chaos_run *run, char why[ERROR_WHY_BYTES])
{
    enum error rc = open_folder(run, why);
    int guard;

    if (rc != OK)
        return rc;
    guard = heal_guard_start(run->cluster);
    chaos_tell_title(&run->tell, run->scenario->name, run->scenario->title);
    run_all(run);
    heal_guard_dismiss(guard);
    chaos_tell_verdict(&run->tell, run->scenario->name, &run->result->assessment);
    chaos_tell_line(&run->tell, CHAOS_DIM, "  seed %" PRIu64 ", %s", run->options->seed,
                    run->result->report[0] != '\0' ? run->result->report : run->result->folder);
    if (run->histories != NULL)
        key_request_drop_table(run->cluster);
    return OK;
}

static void skip(struct chaos_run_result *result, const char *why)
{
    result->assessment = (struct assessment){.verdict = RUN_SKIPPED};
    (void)snprintf(result->assessment.why, ERROR_WHY_BYTES, "%s", why);
}

static void close_run(struct chaos_run *run)
{
    chaos_histories_free(run->histories);
    key_load_free(run->keys);
    checkout_free(run->checkout);
    leader_watch_free(run->leaders);
    run_folder_free(run->folder);
    breaker_close(&run->breaker);
    schedule_close(&run->schedule);
    pulse_close(&run->pulse);
    pulse_close(&run->second);
    pulse_close(&run->reads);
    pulse_close(&run->writes);
    free(run->fault_us);
    free(run);
}

static struct chaos_run *open_run(struct cluster *cluster, const struct scenario *scenario,
                                  const struct chaos_run_options *options,
                                  struct chaos_run_result *result)
{
    struct chaos_run *run = check_calloc(1, sizeof(*run));

    run->cluster = cluster;
    run->scenario = scenario;
    run->options = options;
    run->result = result;
    run->seconds = options->seconds > 0 ? options->seconds : scenario->seconds;
    list_init(&run->jobs);
    list_init(&run->open);
    chaos_tell_init(&run->tell, options->is_json);
    breaker_init(&run->breaker, cluster, scenario->name, options->seed);
    schedule_make(scenario, (unsigned)run->seconds, options->seed, &run->schedule);
    run->fault_us = check_calloc(run->schedule.count + 1, sizeof(*run->fault_us));
    return run;
}

enum error chaos_run(struct cluster *cluster, const struct scenario *scenario,
                     const struct chaos_run_options *options, struct chaos_run_result *result,
                     char why[ERROR_WHY_BYTES])
{
    struct chaos_run *run;
    pid_t holder = 0;
    enum error rc = OK;
    int lock;

    *result = (struct chaos_run_result){0};
    if (!scenario_can_run(scenario, SCENARIO_LAPTOP, why)) {
        skip(result, why);
        return OK;
    }
    lock = open_faults_lock(cluster, &holder);
    if (lock < 0) {
        (void)snprintf(why, ERROR_WHY_BYTES, "another chaos run is at work (process %d)",
                       (int)holder);
        return ERR_DENIED;
    }
    if (!heal_is_healthy(cluster)) {
        (void)snprintf(why, ERROR_WHY_BYTES,
                       "the cluster is not healthy to begin with; try: skein heal, skein status");
        (void)close(lock);
        return ERR_CONFLICT;
    }
    run = open_run(cluster, scenario, options, result);
    rc = prepare(run, why);
    if (rc == ERR_NOT_FOUND) { /* what it loads is not deployed */
        skip(result, why);
        rc = OK;
    } else if (rc == OK) {
        rc = run_guarded(run, why);
    }
    close_run(run);
    (void)close(lock);
    return rc;
}
