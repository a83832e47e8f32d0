/* Functions in real processes, well-behaved and hostile.
 *
 * usage: test_sandbox            as whoever runs it, with the best isolation there is
 *        test_sandbox rootless   gives up root first
 *        test_sandbox landlock   without namespaces */

#include "tests/component/sandbox/sandbox_fixture.h"

#include "proto/base/check.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <openssl/evp.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define TIMEOUT_MS 5000
#define MEMORY_MB 256

static enum launcher_tier best; /* of this run */
static char bootstrap_path[400];

static const char article[] =
    "import json\n"
    "import boto3\n"
    "\n"
    "dynamodb = boto3.resource('dynamodb')\n"
    "orders_table = dynamodb.Table('Orders')\n"
    "\n"
    "def lambda_handler(event, context):\n"
    "    order_data = json.loads(event['body'])\n"
    "    orders_table.put_item(Item=order_data)\n"
    "\n"
    "    return {\n"
    "        'statusCode': 200,\n"
    "        'body': json.dumps({'message': 'Order processed successfully'})\n"
    "    }\n";

/* Whatever it is told, with what came of it. */
static const char obedient[] =
    "import ctypes, json, mmap, os, signal, socket, subprocess, sys, time\n"
    "def lambda_handler(event, context):\n"
    "    return eval(event['do'])\n";

static void assert_contains(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("no \"%s\" in \"%.600s\"", part, text);
}

static void assert_lacks(const char *text, const char *part)
{
    if (strstr(text, part) != NULL)
        fail_msg("\"%s\" in \"%.600s\"", part, text);
}

static void open_python(struct sandbox_fixture *f, const char *source)
{
    sandbox_fixture_open(f, best);
    sandbox_fixture_python(f, "fn", source, TIMEOUT_MS, MEMORY_MB);
}

/* What the obedient function makes of an expression. */
static void ask(struct sandbox_fixture *f, const char *expression, struct answer *answer)
{
    char payload[1024];

    (void)snprintf(payload, sizeof(payload), "{\"do\": \"%s\"}", expression);
    sandbox_fixture_invoke(f, "fn", payload, answer);
}

/* ---- well-behaved -------------------------------------------------------------------------- */

static void sandbox__article_handler__puts_the_order_and_answers(void **state)
{
    struct sandbox_fixture f;
    struct answer cold;
    struct answer warm;

    (void)state;
    open_python(&f, article);

    sandbox_fixture_invoke(&f, "fn", "{\"body\": \"{\\\"order_id\\\": \\\"7\\\"}\"}", &cold);
    sandbox_fixture_invoke(&f, "fn", "{\"body\": \"{\\\"order_id\\\": \\\"8\\\"}\"}", &warm);

    assert_int_equal(cold.outcome, INVOKE_OK);
    assert_string_equal(cold.payload, "{\"statusCode\": 200, \"body\": \"{\\\"message\\\": "
                                      "\\\"Order processed successfully\\\"}\"}");
    assert_contains(cold.log, "START RequestId: 8476a536-e9f4-11e8-9739-2dfe598c3fcd Version: "
                              "$LATEST\n");
    assert_contains(cold.log, "\tMemory Size: 256 MB\tMax Memory Used: ");
    assert_contains(cold.log, "\tInit Duration: ");
    assert_true(cold.init_us > 0);
    assert_true(cold.memory_used_mb > 0 && cold.memory_used_mb < MEMORY_MB);
    assert_int_equal(warm.outcome, INVOKE_OK);
    assert_int_equal(warm.init_us, 0);
    assert_lacks(warm.log, "Init Duration");
    const char *request = buffer_text(&f.last_request);
    assert_contains(request, "X-Amz-Target: DynamoDB_20120810.PutItem");
    assert_contains(request, "\"Item\": {\"order_id\": {\"S\": \"8\"}}");
    assert_contains(request, "Credential=AKIDTEST/");
    assert_contains(request, "/eu-west-1/dynamodb/aws4_request");
    answer_close(&cold);
    answer_close(&warm);
    sandbox_fixture_close(&f);
}

static void sandbox__context_and_environment__are_lambdas(void **state)
{
    struct sandbox_fixture f;
    struct answer answer;

    (void)state;
    open_python(&f, "import os\n"
                    "def lambda_handler(event, context):\n"
                    "    names = ['function_name', 'function_version', 'invoked_function_arn',\n"
                    "             'memory_limit_in_mb', 'aws_request_id', 'log_group_name']\n"
                    "    left = context.get_remaining_time_in_millis()\n"
                    "    return [event, context.log_stream_name[10:20]] + [\n"
                    "        getattr(context, name) for name in names] + [\n"
                    "        0 < left <= 5000, context.identity.cognito_identity_id,\n"
                    "        context.client_context.custom['a'],\n"
                    "        context.client_context.client.app_title] + [\n"
                    "        os.environ[name] for name in ('STAGE', 'AWS_REGION', '_HANDLER',\n"
                    "        'AWS_EXECUTION_ENV', '_X_AMZN_TRACE_ID', 'TZ')]\n");
    answer = (struct answer){
        .invoke = {.function = "fn",
                   .request_id = "8476a536-e9f4-11e8-9739-2dfe598c3fcd",
                   .client_context = SLICE_LITERAL("{\"custom\": {\"a\": 7},\n"
                                                   " \"client\": {\"app_title\": \"shop\"}}"),
                   .region = "eu-west-1",
                   .trace_header = "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700"}};

    sandbox_fixture_call(&f, &answer);

    assert_string_equal(
        answer.payload,
        "[{}, \"/[$LATEST]\", \"fn\", \"$LATEST\", "
        "\"arn:aws:lambda:eu-west-1:000000000000:function:fn\", \"256\", "
        "\"8476a536-e9f4-11e8-9739-2dfe598c3fcd\", \"/aws/lambda/fn\", true, null, 7, \"shop\", "
        "\"test\", \"eu-west-1\", \"app.lambda_handler\", \"AWS_Lambda_python3.9\", "
        "\"Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700\", \":UTC\"]");
    answer_close(&answer);
    sandbox_fixture_close(&f);
}

static void sandbox__handler_raises__error_as_lambda_words_it(void **state)
{
    struct sandbox_fixture f;
    struct answer answer;

    (void)state;
    open_python(&f, "def inner(x):\n"
                    "    return {}[x]\n"
                    "def lambda_handler(event, context):\n"
                    "    print('before')\n"
                    "    return inner('gone')\n");

    sandbox_fixture_invoke(&f, "fn", "{}", &answer);

    assert_int_equal(answer.outcome, INVOKE_FUNCTION_ERROR);
    assert_contains(answer.payload, "{\"errorMessage\": \"'gone'\", \"errorType\": \"KeyError\", "
                                    "\"requestId\": \"8476a536-e9f4-11e8-9739-2dfe598c3fcd\", "
                                    "\"stackTrace\": [\"  File \\\"");
    assert_contains(answer.payload, "/app.py\\\", line 5, in lambda_handler\\n    return "
                                    "inner('gone')\\n\", ");
    assert_lacks(answer.payload, "bootstrap.py");
    assert_contains(answer.log, "before\n[ERROR] KeyError: 'gone'\nTraceback");
    answer_close(&answer);
    sandbox_fixture_close(&f);
}

static void expect_error(const char *source, const char *type, const char *message)
{
    struct sandbox_fixture f;
    struct answer answer;

    open_python(&f, source);
    sandbox_fixture_invoke(&f, "fn", "{}", &answer);
    assert_int_equal(answer.outcome, INVOKE_FUNCTION_ERROR);
    assert_contains(answer.payload, type);
    assert_contains(answer.payload, message);
    answer_close(&answer);
    sandbox_fixture_close(&f);
}

static void sandbox__init_fails__documented_errors(void **state)
{
    (void)state;
    expect_error("import nothing_there\n", "\"errorType\": \"Runtime.ImportModuleError\"",
                 "Unable to import module 'app': No module named 'nothing_there'");
    expect_error("x = 1\n", "\"errorType\": \"Runtime.HandlerNotFound\"",
                 "Handler 'lambda_handler' missing on module 'app'");
    expect_error("def lambda_handler(:\n", "\"errorType\": \"Runtime.UserCodeSyntaxError\"",
                 "Syntax error in module 'app'");
    expect_error("raise ValueError('at import')\n", "\"errorType\": \"ValueError\"", "at import");
    expect_error("import sys\nsys.exit(4)\n", "\"errorType\":\"Runtime.ExitError\"",
                 "Runtime exited with error: exit status 4");
}

static void sandbox__result_is_no_json__marshal_error(void **state)
{
    (void)state;
    expect_error("def lambda_handler(e, c):\n    return {'x': object()}\n",
                 "\"errorType\": \"Runtime.MarshalError\"",
                 "Unable to marshal response: Object of type object is not JSON serializable");
}

static void sandbox__custom_runtime__runs_unchanged(void **state)
{
    struct sandbox_fixture f;
    struct answer answer;

    (void)state;
    if (access(bootstrap_path, R_OK) != 0) {
        print_message("skipped: %s cannot be read\n", bootstrap_path);
        skip();
    }
    sandbox_fixture_open(&f, best);
    sandbox_fixture_bootstrap(&f, "native", bootstrap_path);

    sandbox_fixture_invoke(&f, "native", "{\"a\": 1}", &answer);

    assert_int_equal(answer.outcome, INVOKE_OK);
    assert_string_equal(answer.payload, "{\"a\": 1}");
    assert_contains(answer.log, "echo from native uid ");
    answer_close(&answer);
    sandbox_fixture_close(&f);
}

static void sandbox__burst_of_calls__several_sandboxes_share_them(void **state)
{
    enum { CALLS = 10 };
    struct answer answers[CALLS];
    struct pool_stats stats;
    struct sandbox_fixture f;

    (void)state;
    open_python(&f, "import time\n"
                    "def lambda_handler(event, context):\n"
                    "    time.sleep(0.5)\n");

    for (size_t i = 0; i < CALLS; i++)
        sandbox_fixture_start(&f, "fn", "{}", &answers[i]);
    for (size_t i = 0; i < CALLS; i++)
        sandbox_fixture_await(&f, &answers[i]);

    pool_stats(f.pool, &stats);
    assert_in_range(stats.cold_starts, 2, CALLS);
    for (size_t i = 0; i < CALLS; i++)
        assert_int_equal(answers[i].outcome, INVOKE_OK);
    for (size_t i = 0; i < CALLS; i++)
        answer_close(&answers[i]);
    sandbox_fixture_close(&f);
}

static void sandbox__large_payloads__pass_up_to_the_limit(void **state)
{
    struct sandbox_fixture f;
    struct answer answer;
    AUTO(buffer) payload = BUFFER_INIT(BUFFER_UNLIMITED);

    (void)state;
    open_python(&f, "def lambda_handler(event, context):\n"
                    "    return 'x' * event['size'] if 'size' in event else len(event['x'])\n");
    buffer_put_text(&payload, "{\"x\": \"");
    while (payload.size < INVOKE_PAYLOAD_BYTES_MAX - 100)
        buffer_put_text(&payload, "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy");
    buffer_put_text(&payload, "\"}");

    sandbox_fixture_invoke(&f, "fn", buffer_text(&payload), &answer);
    assert_int_equal(answer.outcome, INVOKE_OK);
    assert_int_equal(atoi(answer.payload), payload.size - 9);
    answer_close(&answer);
    sandbox_fixture_invoke(&f, "fn", "{\"size\": 6291454}", &answer); /* and two quotes */
    assert_int_equal(answer.outcome, INVOKE_OK);
    assert_int_equal(strlen(answer.payload), INVOKE_PAYLOAD_BYTES_MAX);
    answer_close(&answer);
    sandbox_fixture_invoke(&f, "fn", "{\"size\": 6291455}", &answer);
    assert_int_equal(answer.outcome, INVOKE_FUNCTION_ERROR);
    assert_contains(answer.payload, "Function.ResponseSizeTooLarge");
    answer_close(&answer);
    sandbox_fixture_invoke(&f, "fn", "{\"size\": 3}", &answer); /* it lives on */
    assert_int_equal(answer.outcome, INVOKE_OK);
    assert_int_equal(answer.init_us, 0);
    answer_close(&answer);
    sandbox_fixture_close(&f);
}

static void sandbox__new_generation__answers_from_the_new_code(void **state)
{
    struct sandbox_fixture f;
    struct answer old;
    struct answer new;

    (void)state;
    open_python(&f, "import time\ndef lambda_handler(e, c):\n    time.sleep(0.3)\n    return 1\n");

    sandbox_fixture_start(&f, "fn", "{}", &old);
    while (f.process != NULL && old.is_there == false) {
        struct pool_stats stats;

        (void)uv_run(&f.base.loop, UV_RUN_ONCE);
        pool_stats(f.pool, &stats);
        if (stats.busy == 1)
            break;
    }
    sandbox_fixture_python(&f, "fn", "def lambda_handler(e, c):\n    return 2\n", TIMEOUT_MS,
                           MEMORY_MB);
    sandbox_fixture_invoke(&f, "fn", "{}", &new);
    sandbox_fixture_await(&f, &old);

    assert_string_equal(new.payload, "2");
    assert_string_equal(old.payload, "1");
    answer_close(&old);
    answer_close(&new);
    sandbox_fixture_close(&f);
}

struct unpacking {
    struct sandbox_code code;
    bool is_done;
    enum error rc;
    char folder[SANDBOX_PATH_BYTES];
};

static void on_unpacked(struct sandbox_code *code, enum error rc, const char *folder)
{
    struct unpacking *unpacking = container_of(code, struct unpacking, code);

    unpacking->is_done = true;
    unpacking->rc = rc;
    (void)snprintf(unpacking->folder, sizeof(unpacking->folder), "%s", folder);
}

static void unpack(struct sandbox_fixture *f, struct unpacking *unpacking, const uint8_t *sha256)
{
    /* made by zip(1) of one empty file "app.py" */
    static const uint8_t zip[] = {
        0x50, 0x4b, 0x03, 0x04, 0x0a, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x21, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x06, 0x00,
        0x00, 0x00, 0x61, 0x70, 0x70, 0x2e, 0x70, 0x79, 0x50, 0x4b, 0x01, 0x02, 0x1e, 0x03,
        0x0a, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x21, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x06, 0x00, 0x00, 0x00, 0x00, 0x00,
        0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xa4, 0x81, 0x00, 0x00, 0x00, 0x00, 0x61, 0x70,
        0x70, 0x2e, 0x70, 0x79, 0x50, 0x4b, 0x05, 0x06, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00,
        0x01, 0x00, 0x34, 0x00, 0x00, 0x00, 0x24, 0x00, 0x00, 0x00, 0x00, 0x00};
    struct buffer bytes = BUFFER_INIT(BUFFER_UNLIMITED);
    uint8_t own[EVP_MAX_MD_SIZE];

    buffer_put(&bytes, zip, sizeof(zip));
    assert_int_equal(EVP_Digest(zip, sizeof(zip), own, NULL, EVP_sha256(), NULL), 1);
    *unpacking = (struct unpacking){0};
    f->env->sandbox->code_store(f->env, &unpacking->code,
                                slice_of(sha256 != NULL ? sha256 : own, SANDBOX_SHA256_BYTES),
                                &bytes, on_unpacked);
    fixture_until(&f->base, fixture_is_set, &unpacking->is_done);
    if (sha256 == NULL && unpacking->rc == OK) {
        char folder[SANDBOX_PATH_BYTES];

        assert_int_equal(
            f->env->sandbox->code_find(f->env, slice_of(own, SANDBOX_SHA256_BYTES), folder), OK);
        assert_string_equal(folder, unpacking->folder);
    }
}

static void sandbox__package_stored__found_by_its_hash_only_if_that_is_right(void **state)
{
    const uint8_t wrong[SANDBOX_SHA256_BYTES] = {1};
    struct sandbox_fixture f;
    struct unpacking unpacking;
    char path[SANDBOX_PATH_BYTES + 16];

    (void)state;
    sandbox_fixture_open(&f, best);

    unpack(&f, &unpacking, wrong);
    assert_int_equal(unpacking.rc, ERR_CORRUPT);
    unpack(&f, &unpacking, NULL);
    assert_int_equal(unpacking.rc, OK);
    (void)snprintf(path, sizeof(path), "%s/app.py", unpacking.folder);
    assert_int_equal(access(path, R_OK), 0);
    unpack(&f, &unpacking, NULL); /* once more: it is there already */
    assert_int_equal(unpacking.rc, OK);
    sandbox_fixture_close(&f);
}

/* ---- misbehaved ---------------------------------------------------------------------------- */

static void sandbox__loops_past_its_time_out__is_killed_and_replaced(void **state)
{
    struct sandbox_fixture f;
    struct answer answer;

    (void)state;
    sandbox_fixture_open(&f, best);
    sandbox_fixture_python(&f, "fn",
                           "def lambda_handler(event, context):\n"
                           "    while event['loop']: pass\n",
                           1000, 128);

    sandbox_fixture_invoke(&f, "fn", "{\"loop\": 1}", &answer);
    assert_int_equal(answer.outcome, INVOKE_FUNCTION_ERROR);
    assert_contains(answer.payload, "Z 8476a536-e9f4-11e8-9739-2dfe598c3fcd Task timed out after "
                                    "1.00 seconds\"}");
    assert_contains(answer.log, "Task timed out after 1.00 seconds");
    assert_true(answer.duration_us >= 1000000 && answer.duration_us < 1500000);
    answer_close(&answer);

    sandbox_fixture_invoke(&f, "fn", "{\"loop\": 0}", &answer);
    assert_int_equal(answer.outcome, INVOKE_OK);
    assert_true(answer.init_us > 0);
    answer_close(&answer);
    sandbox_fixture_close(&f);
}

static void sandbox__exits__says_how_and_is_replaced(void **state)
{
    struct sandbox_fixture f;
    struct answer answer;

    (void)state;
    open_python(&f, obedient);

    ask(&f, "os._exit(1)", &answer);
    assert_int_equal(answer.outcome, INVOKE_FUNCTION_ERROR);
    assert_string_equal(answer.payload,
                        "{\"errorType\":\"Runtime.ExitError\",\"errorMessage\":\"RequestId: "
                        "8476a536-e9f4-11e8-9739-2dfe598c3fcd Error: Runtime exited with error: "
                        "exit status 1\"}");
    answer_close(&answer);
    ask(&f, "sys.exit(0)", &answer);
    assert_contains(answer.payload, "Runtime exited without providing a reason");
    answer_close(&answer);
    ask(&f, "1 + 1", &answer);
    assert_string_equal(answer.payload, "2");
    answer_close(&answer);
    sandbox_fixture_close(&f);
}

static void sandbox__megabytes_of_output__tail_is_kept(void **state)
{
    struct sandbox_fixture f;
    struct answer answer;

    (void)state;
    open_python(&f, "def lambda_handler(event, context):\n"
                    "    for i in range(100): print('x' * 100000)\n"
                    "    print('the end')\n"
                    "    return 'done'\n");

    sandbox_fixture_invoke(&f, "fn", "{}", &answer);

    assert_int_equal(answer.outcome, INVOKE_OK);
    assert_int_equal(strlen(answer.log), INVOKE_LOG_TAIL_BYTES);
    assert_contains(answer.log, "x\nthe end\nEND RequestId: ");
    answer_close(&answer);
    sandbox_fixture_close(&f);
}

static void sandbox__takes_too_much_memory__is_killed(void **state)
{
    struct sandbox_fixture f;
    struct answer answer;

    (void)state;
    open_python(&f, obedient);

    ask(&f, "[bytearray(400 << 20), time.sleep(3)]", &answer);

    assert_int_equal(answer.outcome, INVOKE_FUNCTION_ERROR);
    assert_contains(answer.payload, "Runtime exited with error: signal: killed");
    assert_int_equal(answer.memory_used_mb, MEMORY_MB);
    answer_close(&answer);
    ask(&f, "2", &answer);
    assert_int_equal(answer.outcome, INVOKE_OK);
    answer_close(&answer);
    sandbox_fixture_close(&f);
}

static void sandbox__fork_bomb__stops_at_its_limit(void **state)
{
    struct sandbox_fixture f;
    struct answer answer;

    (void)state;
    if (best >= LAUNCHER_TIER_LANDLOCK) {
        print_message("skipped: nothing counts processes without namespaces\n");
        skip();
    }
    open_python(&f, "import os, signal\n"
                    "def lambda_handler(event, context):\n"
                    "    count = 0\n"
                    "    try:\n"
                    "        while count < 1000:\n"
                    "            if os.fork() == 0:\n"
                    "                signal.pause()\n"
                    "            count += 1\n"
                    "    except OSError:\n"
                    "        pass\n"
                    "    return count\n");

    sandbox_fixture_invoke(&f, "fn", "{}", &answer);

    assert_int_equal(answer.outcome, INVOKE_OK);
    assert_in_range(atoi(answer.payload), 10, 64);
    answer_close(&answer);
    sandbox_fixture_close(&f);
}

static int listen_on_loopback(uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

static void sandbox__hosts_loopback__cannot_be_reached(void **state)
{
    struct sandbox_fixture f;
    struct answer answer;
    char expression[200];
    uint16_t port;
    int fd = listen_on_loopback(&port);

    (void)state;
    open_python(&f, obedient);
    (void)snprintf(expression, sizeof(expression),
                   "socket.create_connection(('127.0.0.1', %u), 1) and 'reached'", port);

    ask(&f, expression, &answer);
    assert_int_equal(answer.outcome, INVOKE_FUNCTION_ERROR);
    assert_lacks(answer.payload, "reached");
    answer_close(&answer);
    ask(&f, "socket.socket(40, 1, 0) and 'reached'", &answer); /* AF_VSOCK */
    assert_contains(answer.payload, "Address family not supported");
    answer_close(&answer);
    close(fd);
    sandbox_fixture_close(&f);
}

static void expect_denied(struct sandbox_fixture *f, const char *expression)
{
    struct answer answer;

    ask(f, expression, &answer);
    if (answer.outcome != INVOKE_FUNCTION_ERROR)
        fail_msg("%s: %s", expression, answer.payload);
    answer_close(&answer);
}

static void sandbox__machine_and_other_functions__cannot_be_touched(void **state)
{
    struct sandbox_fixture f;
    struct answer answer;
    char expression[600];

    (void)state;
    open_python(&f, obedient);

    (void)snprintf(expression, sizeof(expression), "open('%s/secret').read()", f.data);
    expect_denied(&f, expression);
    (void)snprintf(expression, sizeof(expression), "os.listdir('%s')", f.code);
    expect_denied(&f, expression);
    expect_denied(&f, "open('/etc/shadow').read()");
    expect_denied(&f, "open(os.environ['LAMBDA_TASK_ROOT'] + '/new', 'w')");
    expect_denied(&f, "open('/usr/new', 'w')");
    expect_denied(&f, "os.setuid(0 if os.getuid() else 1)");
    expect_denied(&f, "os.listdir('/sys/fs/cgroup')");
    (void)snprintf(expression, sizeof(expression), "os.kill(%d, 0)", getpid());
    expect_denied(&f, expression);
    ask(&f,
        "[ctypes.CDLL(None).unshare(0x10000000), ctypes.CDLL(None).mount(0,0,0,0,0),"
        " ctypes.CDLL(None).ptrace(16,1,0,0), ctypes.CDLL(None).prctl(1,0,0,0,0)]",
        &answer);
    assert_string_equal(answer.payload, "[-1, -1, -1, -1]");
    answer_close(&answer);
    ask(&f,
        "[l.split()[1] for l in open('/proc/self/status') if l.startswith(('CapEff', 'CapPrm',"
        " 'NoNewPrivs', 'Seccomp:'))]",
        &answer);
    assert_string_equal(answer.payload, "[\"0000000000000000\", \"0000000000000000\", \"1\", "
                                        "\"2\"]");
    answer_close(&answer);
    ask(&f, /* /dev/null, its output twice, the Runtime API, and what a library may hold */
        "[l for l in (os.path.realpath('/proc/self/fd/' + n) for n in os.listdir('/proc/self/fd'))"
        " if not l.endswith(('/dev/null', '/dev/urandom', '/fd'))]",
        &answer);
    assert_lacks(answer.payload, "memfd:");
    assert_lacks(answer.payload, "mnt:");
    assert_non_null(strstr(strstr(answer.payload, "pipe:") + 1, "pipe:"));
    assert_lacks(strstr(strstr(answer.payload, "pipe:") + 1, "pipe:") + 1, "pipe:");
    answer_close(&answer);
    ask(&f, "open((os.environ.get('TMPDIR') or '/tmp') + '/mine', 'w').write('ok')", &answer);
    assert_string_equal(answer.payload, "2");
    answer_close(&answer);
    sandbox_fixture_close(&f);
}

/* ---- death --------------------------------------------------------------------------------- */

/* Descriptors of all processes whose command line names `word`. */
static size_t find_processes(const char *word, struct pollfd *processes, size_t max)
{
    DIR *folder = opendir("/proc");
    struct dirent *entry;
    size_t count = 0;

    while ((entry = readdir(folder)) != NULL && count < max) {
        char path[300];
        char line[4096];
        ssize_t size;
        int fd;

        (void)snprintf(path, sizeof(path), "/proc/%s/cmdline", entry->d_name);
        fd = atoi(entry->d_name) > 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        size = fd >= 0 ? read(fd, line, sizeof(line)) : 0;
        if (fd >= 0)
            close(fd);
        if (size <= 0 || memmem(line, (size_t)size, word, strlen(word)) == NULL)
            continue;
        fd = (int)syscall(SYS_pidfd_open, atoi(entry->d_name), 0);
        if (fd >= 0)
            processes[count++] = (struct pollfd){.fd = fd, .events = POLLIN};
    }
    closedir(folder);
    return count;
}

/* What the test below kills: a node with a busy function whose children try to get away. Writes the
 * name of its folder to standard output and waits. */
static void run_victim(void)
{
    struct sandbox_fixture f;
    struct answer answer;

    open_python(&f, "import os, signal\n"
                    "def lambda_handler(event, context):\n"
                    "    for i in range(3):\n"
                    "        if os.fork() == 0:\n"
                    "            try: os.setsid()\n"
                    "            except OSError: pass\n"
                    "            if os.fork() == 0: signal.pause()\n"
                    "            os._exit(0)\n"
                    "    return 1\n");
    sandbox_fixture_invoke(&f, "fn", "{}", &answer);
    CHECK(answer.outcome == INVOKE_OK);
    CHECK(write(STDOUT_FILENO, f.base.folder, sizeof(f.base.folder)) > 0);
    for (;;)
        pause();
}

static void sandbox__node_is_killed__nothing_survives_it(void **state)
{
    struct pollfd processes[64];
    char folder[128] = "";
    char tier[8];
    size_t count;
    int report[2];
    pid_t node;

    (void)state;
    (void)snprintf(tier, sizeof(tier), "%d", (int)best);
    assert_int_equal(pipe2(report, O_CLOEXEC), 0);
    node = fork();
    if (node == 0) {
        if (dup2(report[1], STDOUT_FILENO) >= 0)
            execl("/proc/self/exe", "test_sandbox", "victim", tier, (char *)NULL);
        _exit(1);
    }
    close(report[1]);
    assert_true(read(report[0], folder, sizeof(folder)) > 0);
    close(report[0]);
    count = find_processes(folder, processes, 64);
    assert_true(count >= 6); /* launchers, the sandbox, its three children, stems */

    assert_int_equal(kill(node, SIGKILL), 0);

    assert_int_equal(waitpid(node, NULL, 0), node);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(poll(&processes[i], 1, 5000), 1);
        close(processes[i].fd);
    }
    assert_int_equal(find_processes(folder, processes, 64), 0);
    assert_int_equal(nftw(folder, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static void sandbox__zygote_is_killed__calls_fail_clearly_then_it_works_again(void **state)
{
    struct pollfd processes[64];
    struct sandbox_fixture f;
    struct answer answer;
    char folder[200];
    size_t count;

    (void)state;
    open_python(&f, "import time\n"
                    "def lambda_handler(event, context):\n"
                    "    time.sleep(event)\n"
                    "    return 1\n");
    sandbox_fixture_invoke(&f, "fn", "0", &answer);
    assert_int_equal(answer.outcome, INVOKE_OK);
    answer_close(&answer);

    sandbox_fixture_start(&f, "fn", "3", &answer);
    (void)uv_run(&f.base.loop, UV_RUN_NOWAIT);
    (void)snprintf(folder, sizeof(folder), "%s/sandbox-python", f.data);
    count = find_processes(folder, processes, 64);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(syscall(SYS_pidfd_send_signal, processes[i].fd, SIGKILL, NULL, 0), 0);
        close(processes[i].fd);
    }
    sandbox_fixture_await(&f, &answer);
    assert_true(answer.outcome == INVOKE_UNAVAILABLE || answer.outcome == INVOKE_FUNCTION_ERROR);
    answer_close(&answer);

    for (int attempt = 0; attempt < 1000; attempt++) {
        sandbox_fixture_invoke(&f, "fn", "0", &answer);
        if (answer.outcome == INVOKE_OK)
            break;
        answer_close(&answer);
        (void)uv_run(&f.base.loop, UV_RUN_ONCE);
    }
    assert_int_equal(answer.outcome, INVOKE_OK);
    answer_close(&answer);
    sandbox_fixture_close(&f);
}

static void sandbox__closed__leaves_no_control_groups(void **state)
{
    struct sandbox_fixture f;
    struct answer answer;
    struct process_status status;

    (void)state;
    open_python(&f, "def lambda_handler(e, c): return open('/proc/self/cgroup').read()\n");

    sandbox_fixture_invoke(&f, "fn", "{}", &answer);
    process_status(f.process, &status);

    print_message("tier: %s (missing: %s)\n", status.tier_text, status.missing);
    assert_int_equal(status.tier, geteuid() == 0 && best == LAUNCHER_TIER_FULL
                                      ? LAUNCHER_TIER_FULL
                                      : (best == LAUNCHER_TIER_FULL ? LAUNCHER_TIER_USER : best));
    answer_close(&answer);
    sandbox_fixture_close(&f);
}

/* ---- which tier ---------------------------------------------------------------------------- */

static void find_bootstrap(void)
{
    ssize_t size = readlink("/proc/self/exe", bootstrap_path, sizeof(bootstrap_path) - 32);

    CHECK(size > 0);
    bootstrap_path[size] = '\0';
    strcpy(strrchr(bootstrap_path, '/'), "/sandbox_bootstrap");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sandbox__article_handler__puts_the_order_and_answers),
        cmocka_unit_test(sandbox__context_and_environment__are_lambdas),
        cmocka_unit_test(sandbox__handler_raises__error_as_lambda_words_it),
        cmocka_unit_test(sandbox__init_fails__documented_errors),
        cmocka_unit_test(sandbox__result_is_no_json__marshal_error),
        cmocka_unit_test(sandbox__custom_runtime__runs_unchanged),
        cmocka_unit_test(sandbox__burst_of_calls__several_sandboxes_share_them),
        cmocka_unit_test(sandbox__large_payloads__pass_up_to_the_limit),
        cmocka_unit_test(sandbox__new_generation__answers_from_the_new_code),
        cmocka_unit_test(sandbox__package_stored__found_by_its_hash_only_if_that_is_right),
        cmocka_unit_test(sandbox__loops_past_its_time_out__is_killed_and_replaced),
        cmocka_unit_test(sandbox__exits__says_how_and_is_replaced),
        cmocka_unit_test(sandbox__megabytes_of_output__tail_is_kept),
        cmocka_unit_test(sandbox__takes_too_much_memory__is_killed),
        cmocka_unit_test(sandbox__fork_bomb__stops_at_its_limit),
        cmocka_unit_test(sandbox__hosts_loopback__cannot_be_reached),
        cmocka_unit_test(sandbox__machine_and_other_functions__cannot_be_touched),
        cmocka_unit_test(sandbox__node_is_killed__nothing_survives_it),
        cmocka_unit_test(sandbox__zygote_is_killed__calls_fail_clearly_then_it_works_again),
        cmocka_unit_test(sandbox__closed__leaves_no_control_groups),
    };

    find_bootstrap();
    if (argc > 1 && strcmp(argv[1], "rootless") == 0 && geteuid() == 0)
        CHECK(setgroups(0, NULL) == 0 && setgid(65534) == 0 && setuid(65534) == 0);
    if (argc > 1 && strcmp(argv[1], "landlock") == 0)
        best = LAUNCHER_TIER_LANDLOCK;
    if (argc > 2 && strcmp(argv[1], "victim") == 0) {
        best = (enum launcher_tier)atoi(argv[2]);
        run_victim();
    }
    if (argc > 2)
        cmocka_set_test_filter(argv[2]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
