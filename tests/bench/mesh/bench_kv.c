/* What a shard's store costs: batches of writes as an apply makes them, point reads, make_durable.
 *
 * usage: bench_kv */

#include "proto/base/check.h"
#include "proto/base/rng.h"
#include "proto/env/env_uv.h"

#include <ftw.h>
#include <stdio.h>

#define STORES 6
#define KEYS 100000
#define BATCHES 20000
#define BATCH 10
#define VALUE_BYTES 300

struct bench {
    uv_loop_t loop;
    struct env *env;
    struct kv *stores[STORES];
    struct rng rng;
    struct env_disk_op op;
    bool is_done;
};

static long resident_kib(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    long total;
    long resident;

    CHECK(file != NULL && fscanf(file, "%ld %ld", &total, &resident) == 2);
    (void)fclose(file);
    return resident * 4;
}

static void on_durable(struct env_disk_op *op, enum error rc)
{
    CHECK(rc == OK);
    container_of(op, struct bench, op)->is_done = true;
}

static void make_durable(struct bench *bench, struct kv *kv)
{
    bench->is_done = false;
    bench->env->kv->make_durable(bench->env, kv, &bench->op, on_durable);
    while (!bench->is_done)
        (void)uv_run(&bench->loop, UV_RUN_ONCE);
}

/* Half of a value is text that compresses, as JSON does. */
static void write_batch(struct bench *bench, struct kv *kv)
{
    char keys[BATCH][32];
    uint8_t values[BATCH][VALUE_BYTES];
    struct kv_write writes[BATCH];

    for (size_t i = 0; i < BATCH; i++) {
        int size =
            snprintf(keys[i], sizeof(keys[i]), "order#%08d", (int)rng_below(&bench->rng, KEYS));

        memset(values[i], 'x', VALUE_BYTES);
        for (size_t k = 0; k < VALUE_BYTES / 2; k++)
            values[i][k] = (uint8_t)rng_next(&bench->rng);
        writes[i] = (struct kv_write){slice_of(keys[i], (size_t)size),
                                      slice_of(values[i], VALUE_BYTES), false};
    }
    CHECK(bench->env->kv->write(bench->env, kv, writes, BATCH) == OK);
}

static void measure_writes(struct bench *bench)
{
    uint64_t before = uv_hrtime();
    uint64_t longest = 0;

    for (size_t i = 0; i < BATCHES; i++) {
        uint64_t start = uv_hrtime();

        write_batch(bench, bench->stores[i % STORES]);
        if (uv_hrtime() - start > longest)
            longest = uv_hrtime() - start;
    }
    double seconds = (double)(uv_hrtime() - before) / 1e9;

    printf("writes: %.0f/s in batches of %d over %d stores, longest batch %.1f ms, %ld MiB\n",
           BATCHES * BATCH / seconds, BATCH, STORES, (double)longest / 1e6, resident_kib() / 1024);
}

static void measure_reads(struct bench *bench, const char *what, size_t keys)
{
    AUTO(buffer) value = BUFFER_INIT(BUFFER_UNLIMITED);
    uint64_t before = uv_hrtime();
    size_t found = 0;

    for (size_t i = 0; i < 200000; i++) {
        char key[32];
        int size = snprintf(key, sizeof(key), "order#%08d", (int)rng_below(&bench->rng, keys));

        buffer_clear(&value);
        found += bench->env->kv->get(bench->env, bench->stores[i % STORES], NULL,
                                     slice_of(key, (size_t)size), &value) == OK;
    }
    double seconds = (double)(uv_hrtime() - before) / 1e9;

    printf("reads, %s: %.0f/s, %zu found, %ld MiB\n", what, 200000 / seconds, found,
           resident_kib() / 1024);
}

static int remove_one(const char *path, const struct stat *about, int type, struct FTW *walk)
{
    (void)about;
    (void)type;
    (void)walk;
    return remove(path);
}

int main(void)
{
    struct bench bench = {0};
    char folder[] = "/tmp/skein-bench-XXXXXX";
    char why[ERROR_WHY_BYTES] = "";
    struct env_uv_options options = {.data_folder = folder, .self = 1};

    CHECK(mkdtemp(folder) != NULL);
    CHECK(uv_loop_init(&bench.loop) == 0);
    CHECK(env_uv_open(&bench.loop, &options, &bench.env, why) == OK);
    rng_init(&bench.rng, 1);
    for (size_t i = 0; i < STORES; i++) {
        char path[16];

        (void)snprintf(path, sizeof(path), "s%zu", i);
        CHECK(bench.env->kv->open(bench.env, path, &bench.stores[i]) == OK);
    }
    printf("empty: %ld MiB\n", resident_kib() / 1024);
    measure_writes(&bench);
    uint64_t before = uv_hrtime();

    for (size_t i = 0; i < STORES; i++)
        make_durable(&bench, bench.stores[i]);
    printf("make_durable: %.1f ms a store\n", (double)(uv_hrtime() - before) / 1e6 / STORES);
    measure_reads(&bench, "a few hot keys", 1000);
    measure_reads(&bench, "all keys", KEYS);
    for (size_t i = 0; i < STORES; i++)
        bench.env->kv->close(bench.env, bench.stores[i]);
    env_uv_close(bench.env);
    (void)uv_loop_close(&bench.loop);
    CHECK(nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0);
    return 0;
}
