#include "proto/env/env_uv.h"

#include "proto/base/check.h"
#include "proto/base/rng.h"
#include "proto/env/disk_uv.h"
#include "proto/env/disk_uv_posix.h"
#include "proto/store/kv_leveldb.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define LOCK_FILE "LOCK"
#define LOCK_PATIENCE_MS 2000u
#define LOCK_POLL_MS 10u
#define KV_CACHE_BYTES (16u << 20)
#define NOT_ARMED UINT64_MAX

/* docs/decisions/0008 */
#define PACE_US_PER_WRITE 200u /* between two turns, for each one more than few */
#define PACE_US_MAX 1000u

struct env_uv {
    struct env env;
    uv_loop_t *loop;
    uv_timer_t alarm;    /* for the first of `timers` */
    uv_prepare_t before; /* about to block */
    uv_check_t after;    /* input was handled */
    struct heap timers;
    uint64_t armed_us; /* when `alarm` is set to go off; NOT_ARMED */
    uint64_t now_us;
    bool is_now_fresh; /* now_us was read in this turn */
    uint64_t paced_us; /* when the last turn was let go */
    struct list tasks;
    struct rng rng;
    size_t works_running; /* on worker threads, or waiting for one */
    bool is_stopped;
    int handles_open;
    int lock_fd;
    struct disk_uv *disk;
    struct kv_leveldb *kv;
    struct mesh *mesh;
    struct shim *shim;
};

static struct env_uv *env_uv_of(struct env *env)
{
    return container_of(env->impl, struct env_uv, env);
}

/* ---- clock ---- */

static uint64_t clock_now_us(struct env *env)
{
    struct env_uv *uv = env_uv_of(env);

    if (!uv->is_now_fresh) {
        uv->now_us = uv_hrtime() / 1000;
        uv->is_now_fresh = true;
    }
    return uv->now_us;
}

static uint64_t clock_wall_ms(struct env *env)
{
    struct timespec now;

    (void)env;
    CHECK(clock_gettime(CLOCK_REALTIME, &now) == 0);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void clock_timer_start(struct env *env, struct env_timer *timer, uint64_t delay_us)
{
    struct env_uv *uv = env_uv_of(env);
    uint64_t now_us = clock_now_us(env);

    heap_remove(&uv->timers, &timer->node);
    heap_insert(&uv->timers, &timer->node,
                delay_us < NOT_ARMED - 1 - now_us ? now_us + delay_us : NOT_ARMED - 1);
}

static void clock_timer_stop(struct env *env, struct env_timer *timer)
{
    heap_remove(&env_uv_of(env)->timers, &timer->node);
}

static void clock_defer(struct env *env, struct env_task *task)
{
    if (task->link.next == NULL)
        list_append(&env_uv_of(env)->tasks, &task->link);
}

static void clock_defer_cancel(struct env *env, struct env_task *task)
{
    (void)env;
    if (task->link.next == NULL)
        return;
    list_remove(&task->link);
    task->link.next = NULL;
}

static void run_tasks(struct env_uv *uv)
{
    struct list *link;

    while (!uv->is_stopped && (link = list_pop(&uv->tasks)) != NULL) {
        struct env_task *task = container_of(link, struct env_task, link);

        link->next = NULL;
        task->cb(task);
    }
}

static void on_alarm(uv_timer_t *alarm);

/* Set the one uv timer to the first of ours. Rounded up: never early, at most a millisecond late.
 */
static void arm(struct env_uv *uv)
{
    struct heap_node *first = heap_first(&uv->timers);
    uint64_t due_us = first != NULL ? first->key : NOT_ARMED;

    if (due_us == uv->armed_us)
        return;
    uv->armed_us = due_us;
    if (first == NULL) {
        (void)uv_timer_stop(&uv->alarm);
        return;
    }
    uint64_t now_us = uv_hrtime() / 1000;
    uint64_t delay_us = due_us > now_us ? due_us - now_us : 0;

    uv_update_time(uv->loop);
    CHECK(uv_timer_start(&uv->alarm, on_alarm, (delay_us + 999) / 1000, 0) == 0);
}

/* Timers that are started meanwhile wait for the next turn, even with no delay. */
static void on_alarm(uv_timer_t *alarm)
{
    struct env_uv *uv = container_of(alarm, struct env_uv, alarm);
    uint64_t order_end = uv->timers.order_next;
    struct heap_node *first;

    uv->armed_us = NOT_ARMED;
    uv->is_now_fresh = false;
    uint64_t now_us = clock_now_us(&uv->env);

    while (!uv->is_stopped && (first = heap_first(&uv->timers)) != NULL && first->key <= now_us &&
           first->order < order_end) {
        struct env_timer *timer = container_of(first, struct env_timer, node);

        heap_remove(&uv->timers, first);
        timer->cb(timer);
    }
}

static void on_after_input(uv_check_t *after)
{
    run_tasks(container_of(after, struct env_uv, after));
}

/* While many writes wait, turns start some time apart: what comes in meanwhile shares one turn, and
 * with it one sync of the journal and one frame to each peer. */
static void pace(struct env_uv *uv)
{
    size_t waiting = uv->env.writes_waiting;
    uint64_t wanted_us;
    uint64_t now_us;

    if (waiting <= ENV_WRITES_FEW)
        return;
    wanted_us = (waiting - ENV_WRITES_FEW) * PACE_US_PER_WRITE;
    if (wanted_us > PACE_US_MAX)
        wanted_us = PACE_US_MAX;
    now_us = uv_hrtime() / 1000;
    if (now_us - uv->paced_us < wanted_us) {
        uint64_t rest_us = wanted_us - (now_us - uv->paced_us);
        struct timespec rest = {.tv_nsec = (long)rest_us * 1000};

        (void)nanosleep(&rest, NULL);
        now_us += rest_us;
    }
    uv->paced_us = now_us;
}

/* Whatever was deferred since, by timers for instance, still runs before the loop blocks. */
static void on_before_block(uv_prepare_t *before)
{
    struct env_uv *uv = container_of(before, struct env_uv, before);

    run_tasks(uv);
    while (!uv->is_stopped && disk_uv_sync_next(uv->disk))
        uv->is_now_fresh = false;
    run_tasks(uv); /* of those who waited for the writes */
    if (!uv->is_stopped) {
        pace(uv);
        disk_uv_turn(uv->disk);
        arm(uv);
    }
    uv->is_now_fresh = false;
}

static const struct env_clock env_uv_clock = {
    .now_us = clock_now_us,
    .wall_ms = clock_wall_ms,
    .timer_start = clock_timer_start,
    .timer_stop = clock_timer_stop,
    .defer = clock_defer,
    .defer_cancel = clock_defer_cancel,
};

/* ---- dice ---- */

static uint64_t dice_next(struct env *env)
{
    return rng_next(&env_uv_of(env)->rng);
}

static void dice_random_bytes(struct env *env, void *to, size_t size)
{
    uint8_t *next = to;

    (void)env;
    while (size > 0) {
        ssize_t got = getrandom(next, size, 0);

        CHECK(got > 0 || errno == EINTR);
        if (got > 0) {
            next += got;
            size -= (size_t)got;
        }
    }
}

static const struct env_dice env_uv_dice = {
    .next = dice_next,
    .random_bytes = dice_random_bytes,
};

/* ---- worker ---- */

struct running_work {
    uv_work_t request;
    struct env_uv *uv;
    struct env_work *work;
};

static void on_work(uv_work_t *request)
{
    struct env_work *work = container_of(request, struct running_work, request)->work;

    work->run(work);
}

static void on_work_done(uv_work_t *request, int status)
{
    struct running_work *running = container_of(request, struct running_work, request);
    struct env_uv *uv = running->uv;
    struct env_work *work = running->work;

    CHECK(status == 0); /* nothing here cancels work */
    free(running);
    uv->works_running--;
    work->impl = NULL;
    if (!uv->is_stopped)
        work->done(work);
}

static void worker_queue(struct env *env, struct env_work *work)
{
    struct env_uv *uv = env_uv_of(env);
    struct running_work *running = check_malloc(sizeof(*running));

    CHECK(!uv->is_stopped && work->impl == NULL);
    running->uv = uv;
    running->work = work;
    work->impl = running;
    uv->works_running++;
    CHECK(uv_queue_work(uv->loop, &running->request, on_work, on_work_done) == 0);
}

static const struct env_worker env_uv_worker = {.queue = worker_queue};

/* ---- life ---- */

/* The folder's lock dies with the process, whatever it dies of; a killed one that has much memory
 * to give back holds it for a moment more. */
static bool lock_patiently(int fd)
{
    const struct timespec pause = {.tv_nsec = LOCK_POLL_MS * 1000000L};

    for (unsigned waited_ms = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; waited_ms += LOCK_POLL_MS) {
        if (waited_ms >= LOCK_PATIENCE_MS)
            return false;
        (void)nanosleep(&pause, NULL);
    }
    return true;
}

static enum error lock_folder(struct env_uv *uv, int folder_fd, const char *folder, char *why)
{
    char holder[32] = "";
    int fd = openat(folder_fd, LOCK_FILE, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0) {
        (void)snprintf(why, ERROR_WHY_BYTES, "%s/" LOCK_FILE ": %s", folder, strerror(errno));
        return ERR_IO;
    }
    if (!lock_patiently(fd)) {
        if (pread(fd, holder, sizeof(holder) - 1, 0) <= 0)
            (void)snprintf(holder, sizeof(holder), "unknown");
        (void)snprintf(why, ERROR_WHY_BYTES, "data folder %s is in use by process %s", folder,
                       holder);
        (void)close(fd);
        return ERR_EXISTS;
    }
    int size = snprintf(holder, sizeof(holder), "%d", (int)getpid());

    if (ftruncate(fd, 0) != 0 || pwrite(fd, holder, (size_t)size, 0) != size) {
        (void)snprintf(why, ERROR_WHY_BYTES, "%s/" LOCK_FILE ": %s", folder, strerror(errno));
        (void)close(fd);
        return ERR_IO;
    }
    uv->lock_fd = fd;
    return OK;
}

static enum error open_folder(struct env_uv *uv, const char *folder, char *why)
{
    enum error rc = disk_uv_posix_make_folders(AT_FDCWD, folder);
    int fd = rc == OK ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

    if (fd < 0) {
        (void)snprintf(why, ERROR_WHY_BYTES, "data folder %s: %s", folder, strerror(errno));
        return rc != OK ? rc : ERR_IO;
    }
    rc = lock_folder(uv, fd, folder, why);
    if (rc != OK) {
        (void)close(fd);
        return rc;
    }
    uv->disk = disk_uv_new(&uv->env, fd);
    uv->env.disk = disk_uv_table(uv->disk);
    return OK;
}

static void open_handles(struct env_uv *uv)
{
    CHECK(uv_timer_init(uv->loop, &uv->alarm) == 0);
    CHECK(uv_prepare_init(uv->loop, &uv->before) == 0);
    CHECK(uv_check_init(uv->loop, &uv->after) == 0);
    CHECK(uv_prepare_start(&uv->before, on_before_block) == 0);
    CHECK(uv_check_start(&uv->after, on_after_input) == 0);
    uv_unref((uv_handle_t *)&uv->before);
    uv_unref((uv_handle_t *)&uv->after);
    uv->handles_open = 3;
}

enum error env_uv_open(uv_loop_t *loop, const struct env_uv_options *options, struct env **env,
                       char why[ERROR_WHY_BYTES])
{
    struct env_uv *uv = check_calloc(1, sizeof(*uv));
    uint64_t seed;

    CHECK(options->self != 0);
    uv->loop = loop;
    uv->lock_fd = -1;
    uv->armed_us = NOT_ARMED;
    heap_init(&uv->timers);
    list_init(&uv->tasks);
    dice_random_bytes(&uv->env, &seed, sizeof(seed));
    rng_init(&uv->rng, seed);
    uv->env.clock = &env_uv_clock;
    uv->env.dice = &env_uv_dice;
    uv->env.worker = &env_uv_worker;
    uv->env.impl = &uv->env;
    open_handles(uv);
    enum error rc = open_folder(uv, options->data_folder, why);

    if (rc == OK) {
        uv->kv =
            kv_leveldb_new(&uv->env, options->data_folder,
                           options->kv_cache_bytes > 0 ? options->kv_cache_bytes : KV_CACHE_BYTES);
        uv->env.kv = kv_leveldb_table(uv->kv);
        rc = mesh_open(loop, &uv->env, options->self, &options->mesh, &uv->mesh, why);
    }
    if (rc != OK) {
        env_uv_close(&uv->env);
        return rc;
    }
    uv->env.link = mesh_table(uv->mesh);
    uv->shim = shim_new(&uv->env, options->mesh.silent_ms);
    uv->env.link = shim_table(uv->shim);
    *env = &uv->env;
    return OK;
}

void env_uv_stop(struct env *env)
{
    struct env_uv *uv = env_uv_of(env);

    if (uv->is_stopped)
        return;
    uv->is_stopped = true;
    mesh_stop(uv->mesh);
    while (uv->works_running > 0)
        (void)uv_run(uv->loop, UV_RUN_ONCE);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct env_uv *uv = handle->data;

    uv->handles_open--;
}

static void close_handle(struct env_uv *uv, uv_handle_t *handle)
{
    handle->data = uv;
    uv_close(handle, on_handle_closed);
}

void env_uv_close(struct env *env)
{
    if (env == NULL)
        return;
    struct env_uv *uv = env_uv_of(env);

    env_uv_stop(env);
    shim_free(uv->shim);
    mesh_free(uv->mesh);
    close_handle(uv, (uv_handle_t *)&uv->alarm);
    close_handle(uv, (uv_handle_t *)&uv->before);
    close_handle(uv, (uv_handle_t *)&uv->after);
    while (uv->handles_open > 0)
        (void)uv_run(uv->loop, UV_RUN_ONCE);
    kv_leveldb_free(uv->kv);
    disk_uv_free(uv->disk);
    if (uv->lock_fd >= 0)
        (void)close(uv->lock_fd);
    heap_close(&uv->timers);
    free(uv);
}

const char *env_uv_endpoint(struct env *env)
{
    return mesh_endpoint(env_uv_of(env)->mesh);
}

uint64_t env_uv_disk_free_bytes(const char *folder)
{
    struct statvfs disk = {0};

    (void)statvfs(folder, &disk);
    return (uint64_t)disk.f_bavail * disk.f_frsize;
}

struct shim *env_uv_shim(struct env *env)
{
    return env_uv_of(env)->shim;
}
