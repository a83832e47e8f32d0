/* How long a function's first answer takes, and its next ones; sandboxes as in production, the
 * database a stub that answers at once.
 *
 * usage: bench_cold_start [ROUNDS] */

#include "tests/component/sandbox/sandbox_fixture.h"

#include "proto/base/check.h"

#define ROUNDS 60
#define WARM_CALLS 5000

static const char article[] = "import json\n"
                              "import boto3\n"
                              "dynamodb = boto3.resource('dynamodb')\n"
                              "orders_table = dynamodb.Table('Orders')\n"
                              "def lambda_handler(event, context):\n"
                              "    order_data = json.loads(event['body'])\n"
                              "    orders_table.put_item(Item=order_data)\n"
                              "    return {'statusCode': 200,\n"
                              "            'body': json.dumps({'message': 'Order processed'})}\n";
static const char no_op[] = "def lambda_handler(event, context):\n"
                            "    return {'statusCode': 200}\n";
static const char event[] = "{\"body\": \"{\\\"order_id\\\": \\\"7\\\", \\\"total\\\": 1999}\"}";

static int compare(const void *a, const void *b)
{
    const uint64_t *left = a;
    const uint64_t *right = b;

    return *left < *right ? -1 : *left > *right;
}

static void print(const char *what, uint64_t *us, size_t count)
{
    qsort(us, count, sizeof(*us), compare);
    printf("%-34s n=%-5zu p50 %8.2f ms   p99 %8.2f ms   max %8.2f ms\n", what, count,
           (double)us[count / 2] / 1000, (double)us[count * 99 / 100] / 1000,
           (double)us[count - 1] / 1000);
}

static uint64_t call(struct sandbox_fixture *f, const char *name)
{
    struct answer answer;
    uint64_t started = uv_hrtime();

    sandbox_fixture_start(f, name, event, &answer);
    while (!answer.is_there)
        (void)uv_run(&f->base.loop, UV_RUN_ONCE);
    if (answer.outcome != INVOKE_OK) {
        (void)fprintf(stderr, "outcome %d: %s\n%s\n", answer.outcome, answer.payload, answer.log);
        exit(1);
    }
    answer_close(&answer);
    return (uv_hrtime() - started) / 1000;
}

/* Let stems be made and rehearsed: the pool hit is what is measured. */
static void turn(struct sandbox_fixture *f, uint64_t ms)
{
    bool is_over = false;
    uv_timer_t timer;

    CHECK(uv_timer_init(&f->base.loop, &timer) == 0);
    timer.data = &is_over;
    CHECK(uv_timer_start(&timer, fixture_out_of_patience, ms, 0) == 0);
    while (!is_over)
        (void)uv_run(&f->base.loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
}

static void measure_cold(struct sandbox_fixture *f, const char *what, const char *source,
                         size_t rounds, uint64_t pause_ms)
{
    uint64_t *us = check_calloc(rounds, sizeof(*us));
    char name[32];

    for (size_t i = 0; i < rounds; i++) {
        (void)snprintf(name, sizeof(name), "cold-%u", f->generation);
        sandbox_fixture_python(f, name, source, 10000, 256);
        turn(f, pause_ms);
        us[i] = call(f, name);
        pool_function_remove(f->pool, name, 0);
    }
    print(what, us, rounds);
    free(us);
}

static void measure_warm(struct sandbox_fixture *f, const char *what, const char *source,
                         size_t calls)
{
    uint64_t *us = check_calloc(calls, sizeof(*us));
    uint64_t started;

    sandbox_fixture_python(f, "warm", source, 10000, 1769);
    for (size_t i = 0; i < 50; i++)
        (void)call(f, "warm");
    started = uv_hrtime();
    for (size_t i = 0; i < calls; i++)
        us[i] = call(f, "warm");
    print(what, us, calls);
    printf("%-34s %.0f per second\n", "", (double)calls * 1e9 / (double)(uv_hrtime() - started));
    free(us);
}

int main(int argc, char **argv)
{
    size_t rounds = argc > 1 ? strtoul(argv[1], NULL, 10) : ROUNDS;
    struct sandbox_fixture f;
    struct process_status status;

    sandbox_fixture_open(&f, LAUNCHER_TIER_FULL);
    sandbox_fixture_python(&f, "first", no_op, 10000, 256);
    printf("%-34s %.2f ms\n", "very first call, zygote starting", (double)call(&f, "first") / 1000);
    process_status(f.process, &status);
    printf("isolation: %s\n", status.tier_text);
    measure_cold(&f, "article handler, cold, pool hit", article, rounds, 150);
    measure_cold(&f, "no-op handler, cold, pool hit", no_op, rounds, 150);
    measure_cold(&f, "article handler, cold, back to back", article, rounds, 0);
    measure_warm(&f, "no-op handler, warm", no_op, WARM_CALLS);
    measure_warm(&f, "article handler, warm", article, WARM_CALLS / 5);
    sandbox_fixture_close(&f);
    return 0;
}
