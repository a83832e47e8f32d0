/* Node.js functions in real processes, well-behaved and hostile.
 *
 * usage: test_sandbox_node [rootless | landlock]   see test_sandbox.c */

#include "tests/component/sandbox/sandbox_fixture.h"

#include "proto/base/check.h"

#include <arpa/inet.h>
#include <grp.h>
#include <sys/socket.h>
#include <unistd.h>

#define NODE_JS "/usr/bin/node"
#define TIMEOUT_MS 5000
#define MEMORY_MB 256
#define REQUEST "8476a536-e9f4-11e8-9739-2dfe598c3fcd"

static enum launcher_tier best; /* of this run */

/* Whatever it is told, with what came of it. */
static const char obedient[] = "exports.handler = async (event) => eval(event.do);\n";

static void assert_contains(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("no \"%s\" in \"%.900s\"", part, text);
}

static void open_node(struct sandbox_fixture *f, const char *file, const char *source)
{
    sandbox_fixture_open(f, best);
    sandbox_fixture_node(f, "fn", file, source, TIMEOUT_MS, MEMORY_MB);
}

static void ask(struct sandbox_fixture *f, const char *expression, struct answer *answer)
{
    char payload[1024];

    (void)snprintf(payload, sizeof(payload), "{\"do\": \"%s\"}", expression);
    sandbox_fixture_invoke(f, "fn", payload, answer);
}

/* The function's code is `source` from now on; what it makes of an empty event. */
static void run(struct sandbox_fixture *f, const char *file, const char *source,
                struct answer *answer)
{
    sandbox_fixture_node(f, "fn", file, source, TIMEOUT_MS, MEMORY_MB);
    sandbox_fixture_invoke(f, "fn", "{}", answer);
}

static void expect(struct sandbox_fixture *f, const char *file, const char *source,
                   const char *payload)
{
    struct answer answer;

    run(f, file, source, &answer);
    if (answer.outcome != INVOKE_OK || strcmp(answer.payload, payload) != 0)
        fail_msg("%s: %d: %s\n%s", source, (int)answer.outcome, answer.payload, answer.log);
    answer_close(&answer);
}

static void expect_error(struct sandbox_fixture *f, const char *source, const char *type,
                         const char *message)
{
    struct answer answer;

    run(f, "index.js", source, &answer);
    assert_int_equal(answer.outcome, INVOKE_FUNCTION_ERROR);
    assert_contains(answer.payload, type);
    assert_contains(answer.payload, message);
    answer_close(&answer);
}

/* ---- well-behaved -------------------------------------------------------------------------- */

static void node__handler_forms__answer_as_lambdas_do(void **state)
{
    struct sandbox_fixture f;

    (void)state;
    sandbox_fixture_open(&f, best);
    expect(&f, "index.js", "exports.handler = async (event) => ({statusCode: 200, event});",
           "{\"statusCode\":200,\"event\":{}}");
    expect(&f, "index.mjs",
           "import { setTimeout as wait } from 'timers/promises';\n"
           "const ready = await wait(5, 'ready');\n"
           "export const handler = async () => ready;",
           "\"ready\"");
    expect(&f, "index.cjs", "module.exports = {handler: () => Promise.resolve([1])};", "[1]");
    expect(&f, "index.js", "exports.handler = (event, context, done) => done(null, {a: 1});",
           "{\"a\":1}");
    expect(&f, "index.js",
           "exports.handler = (event, context, done) => {\n"
           "    let late = 'no';\n"
           "    setTimeout(() => { late = 'yes'; }, 30);\n"
           "    done(null, {get late() { return late; }});\n"
           "};",
           "{\"late\":\"yes\"}");
    expect(&f, "index.js",
           "exports.handler = (event, context, done) => {\n"
           "    context.callbackWaitsForEmptyEventLoop = false;\n"
           "    setTimeout(() => {}, 60000);\n"
           "    done(null, 'at once');\n"
           "};",
           "\"at once\"");
    expect(&f, "index.js", "exports.handler = (event, context) => context.succeed('old');",
           "\"old\"");
    expect(&f, "index.js", "exports.handler = () => 'ignored';", "null");
    expect(&f, "index.js", "exports.handler = async () => undefined;", "null");
    expect(&f, "index.js", "exports.handler = () => new Promise(() => {});", "null");
    expect(&f, "index.js",
           "exports.handler = awslambda.streamifyResponse(async (event, stream) => {\n"
           "    stream.setContentType('text/plain');\n"
           "    stream.write('in ');\n"
           "    stream.end('pieces');\n"
           "});",
           "in pieces");
    sandbox_fixture_close(&f);
}

static void node__package_says_module__js_files_are_es_modules(void **state)
{
    static const char package[] = "{\"type\": \"module\"}";
    struct sandbox_fixture f;
    struct answer answer;
    char folder[300];

    (void)state;
    open_node(&f, "index.js",
              "import fs from 'fs';\n"
              "export async function handler() { return typeof fs.readFile; }");
    (void)snprintf(folder, sizeof(folder), "%s/fn-%u", f.code, f.generation);
    sandbox_fixture_write(folder, "package.json", package, strlen(package), 0644);

    sandbox_fixture_invoke(&f, "fn", "{}", &answer);

    assert_string_equal(answer.payload, "\"function\"");
    answer_close(&answer);
    sandbox_fixture_close(&f);
}

static void node__context_and_environment__are_lambdas(void **state)
{
    struct sandbox_fixture f;
    struct answer answer;

    (void)state;
    open_node(&f, "index.js",
              "exports.handler = async (event, context) => {\n"
              "    const left = context.getRemainingTimeInMillis();\n"
              "    console.log('hello %s', 'you', {a: 1});\n"
              "    console.error('bad');\n"
              "    return [context.functionName, context.functionVersion,\n"
              "        context.invokedFunctionArn, context.memoryLimitInMB, context.awsRequestId,\n"
              "        context.logGroupName, context.logStreamName.slice(10),\n"
              "        context.callbackWaitsForEmptyEventLoop, left > 0 && left <= 5000,\n"
              "        context.clientContext.custom.a, process.env.STAGE, process.env.AWS_REGION,\n"
              "        process.env._HANDLER, process.env.AWS_EXECUTION_ENV,\n"
              "        process.env._X_AMZN_TRACE_ID, process.cwd() === __dirname,\n"
              "        require('os').homedir(), Object.keys(process.env).includes('_')];\n"
              "};");
    answer = (struct answer){.invoke = {.function = "fn",
                                        .request_id = REQUEST,
                                        .client_context = SLICE_LITERAL("{\"custom\": {\"a\": 7}}"),
                                        .region = "eu-west-1",
                                        .trace_header = "Root=1-5bef4de7-ad49b0e87f6ef6c8"}};

    sandbox_fixture_call(&f, &answer);

    assert_contains(answer.payload,
                    "[\"fn\",\"$LATEST\",\"arn:aws:lambda:eu-west-1:000000000000:function:fn\","
                    "\"256\",\"" REQUEST "\",\"/aws/lambda/fn\",\"/[$LATEST]");
    assert_contains(answer.payload, ",true,true,7,\"test\",\"eu-west-1\",\"index.handler\","
                                    "\"AWS_Lambda_nodejs20.x\",\"Root=1-5bef4de7-ad49b0e87f6ef6c8\""
                                    ",true,\"/tmp\",false]");
    assert_contains(answer.log, "Z\t" REQUEST "\tINFO\thello you { a: 1 }\n");
    assert_contains(answer.log, "Z\t" REQUEST "\tERROR\tbad\n");
    assert_contains(answer.log, "START RequestId: " REQUEST " Version: $LATEST\n");
    answer_close(&answer);
    sandbox_fixture_close(&f);
}

static void node__aws_endpoint__is_reached_and_process_is_kept(void **state)
{
    struct sandbox_fixture f;
    struct answer answer;

    (void)state;
    open_node(&f, "index.js",
              "const http = require('http');\n"
              "let calls = 0;\n"
              "exports.handler = (event) => new Promise((resolve, reject) => {\n"
              "    const url = process.env.AWS_ENDPOINT_URL + '/orders';\n"
              "    const request = http.request(url, {method: 'POST'}, (response) =>\n"
              "        resolve([response.statusCode, ++calls]));\n"
              "    request.on('error', reject);\n"
              "    request.end('{\\\"id\\\": 7}');\n"
              "});");

    sandbox_fixture_invoke(&f, "fn", "{}", &answer);
    assert_string_equal(answer.payload, "[200,1]");
    assert_true(answer.init_us > 0);
    answer_close(&answer);
    sandbox_fixture_invoke(&f, "fn", "{}", &answer);
    assert_string_equal(answer.payload, "[200,2]");
    assert_int_equal(answer.init_us, 0);
    answer_close(&answer);

    assert_contains(buffer_text(&f.last_request), "POST /orders HTTP/1.1\r\n");
    sandbox_fixture_close(&f);
}

static void node__handler_fails__errors_in_lambdas_shape(void **state)
{
    struct sandbox_fixture f;
    struct answer answer;

    (void)state;
    sandbox_fixture_open(&f, best);
    run(&f, "index.js", "exports.handler = async () => { null.x; };", &answer);
    assert_int_equal(answer.outcome, INVOKE_FUNCTION_ERROR);
    assert_contains(answer.payload,
                    "{\"errorType\":\"TypeError\",\"errorMessage\":\"Cannot read properties of "
                    "null (reading 'x')\",\"trace\":[\"TypeError: Cannot read properties of null "
                    "(reading 'x')\",\"    at ");
    assert_contains(answer.payload, "/index.js:1:");
    assert_contains(answer.log, "\t" REQUEST "\tERROR\tInvoke Error \t{\"errorType\":\"TypeError\""
                                ",\"errorMessage\":\"Cannot read");
    answer_close(&answer);
    expect_error(&f, "exports.handler = () => { throw new RangeError('sync'); };",
                 "\"errorType\":\"RangeError\"", "\"errorMessage\":\"sync\"");
    expect_error(&f, "exports.handler = (e, c, done) => done(new Error('told'));",
                 "\"errorType\":\"Error\"", "\"errorMessage\":\"told\"");
    expect_error(&f, "exports.handler = () => Promise.reject('text');",
                 "{\"errorType\":\"string\",\"errorMessage\":\"text\",\"trace\":[]}", "");
    expect_error(&f, "exports.handler = async () => { const a = {}; a.a = a; return a; };",
                 "\"errorType\":\"Error\"", "Unable to stringify response body");
    expect_error(&f,
                 "exports.handler = () => { setTimeout(() => { throw new Error('x'); }, 1); "
                 "return new Promise(() => {}); };",
                 "\"errorType\":\"Error\"", "\"errorMessage\":\"x\"");
    expect_error(&f,
                 "exports.handler = () => { Promise.reject(new Error('y')); "
                 "return new Promise((r) => setTimeout(r, 100)); };",
                 "\"errorType\":\"Runtime.UnhandledPromiseRejection\"",
                 "\"errorMessage\":\"Error: y\"");
    expect_error(&f, "exports.handler = async () => process.exit(3);",
                 "\"errorType\":\"Runtime.ExitError\"", "Runtime exited with error: exit status 3");
    expect(&f, "index.js", "exports.handler = async () => 'well again';", "\"well again\"");
    sandbox_fixture_close(&f);
}

static void node__init_fails__documented_errors(void **state)
{
    struct sandbox_fixture f;
    struct answer answer;

    (void)state;
    sandbox_fixture_open(&f, best);
    expect_error(&f, "require('nothing-there');", "\"errorType\":\"Runtime.ImportModuleError\"",
                 "Error: Cannot find module 'nothing-there'\\nRequire stack:\\n- ");
    expect_error(&f, "exports.other = 1;", "\"errorType\":\"Runtime.HandlerNotFound\"",
                 "index.handler is undefined or not exported");
    expect_error(&f, "exports.handler = 1;", "\"errorType\":\"Runtime.HandlerNotFound\"",
                 "index.handler is not a function");
    expect_error(&f, "exports.handler = (;", "\"errorType\":\"Runtime.UserCodeSyntaxError\"",
                 "SyntaxError: Unexpected token ';'");
    expect_error(&f, "throw new TypeError('at load');", "\"errorType\":\"TypeError\"", "at load");
    expect_error(&f, "process.exit(4);", "\"errorType\":\"Runtime.ExitError\"", "exit status 4");
    run(&f, "index.mjs", "export const handler = await Promise.reject(new Error('top'));", &answer);
    assert_contains(answer.payload, "\"errorMessage\":\"top\"");
    answer_close(&answer);
    run(&f, "other.js", "exports.handler = async () => 1;", &answer);
    assert_contains(answer.payload, "Cannot find module 'index'");
    answer_close(&answer);
    sandbox_fixture_close(&f);
}

static void node__large_payloads__pass_up_to_the_limit(void **state)
{
    struct sandbox_fixture f;
    struct answer answer;
    AUTO(buffer) payload = BUFFER_INIT(BUFFER_UNLIMITED);

    (void)state;
    open_node(&f, "index.js",
              "exports.handler = async (event) =>\n"
              "    event.size ? 'x'.repeat(event.size) : event.x.length;");
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
    assert_contains(answer.payload, "Function.ResponseSizeTooLarge");
    answer_close(&answer);
    sandbox_fixture_close(&f);
}

/* ---- misbehaved ---------------------------------------------------------------------------- */

static void node__loops_past_its_time_out__is_killed_and_replaced(void **state)
{
    struct sandbox_fixture f;
    struct answer answer;

    (void)state;
    sandbox_fixture_open(&f, best);
    sandbox_fixture_node(&f, "fn", "index.js",
                         "exports.handler = async (event) => { while (event.loop) ; };", 1000, 128);

    sandbox_fixture_invoke(&f, "fn", "{\"loop\": 1}", &answer);
    assert_contains(answer.payload, "Z " REQUEST " Task timed out after 1.00 seconds\"}");
    answer_close(&answer);
    sandbox_fixture_invoke(&f, "fn", "{\"loop\": 0}", &answer);
    assert_int_equal(answer.outcome, INVOKE_OK);
    answer_close(&answer);
    sandbox_fixture_close(&f);
}

static void node__garbage__is_collected_below_the_memory_limit(void **state)
{
    struct sandbox_fixture f;
    struct answer answer;

    (void)state;
    sandbox_fixture_open(&f, best);
    sandbox_fixture_node(&f, "fn", "index.js",
                         "exports.handler = async () => {\n"
                         "    let kept = [];\n"
                         "    for (let i = 0; i < 1e6; i++) {\n"
                         "        kept.push({i, text: 'x' + i});\n"
                         "        if (kept.length > 50000) kept = [];\n"
                         "    }\n"
                         "    return 'done';\n"
                         "};",
                         TIMEOUT_MS * 2, 128);

    sandbox_fixture_invoke(&f, "fn", "{}", &answer);

    if (answer.outcome != INVOKE_OK)
        fail_msg("%s", answer.log);
    answer_close(&answer);
    sandbox_fixture_close(&f);
}

static void node__takes_too_much_memory__is_killed(void **state)
{
    struct sandbox_fixture f;
    struct answer answer;

    (void)state;
    open_node(&f, "index.js", obedient);

    ask(&f,
        "(globalThis.kept = Buffer.alloc(400 << 20, 1)) && new Promise(r => setTimeout(r, 3000))",
        &answer);
    assert_int_equal(answer.outcome, INVOKE_FUNCTION_ERROR);
    assert_contains(answer.payload, "Runtime exited with error: signal: killed");
    answer_close(&answer);
    ask(&f, "2", &answer);
    assert_string_equal(answer.payload, "2");
    answer_close(&answer);
    sandbox_fixture_close(&f);
}

static void node__fork_bomb__stops_at_its_limit(void **state)
{
    struct sandbox_fixture f;
    struct answer answer;

    (void)state;
    if (best >= LAUNCHER_TIER_LANDLOCK) {
        print_message("skipped: nothing counts processes without namespaces\n");
        skip();
    }
    open_node(&f, "index.js",
              "const { spawn } = require('child_process');\n"
              "exports.handler = async () => {\n"
              "    let count = 0;\n"
              "    for (let i = 0; i < 70; i++)\n"
              "        try {\n"
              "            const child = spawn('/bin/sleep', ['60']);\n"
              "            child.on('error', () => {});\n"
              "            count += child.pid !== undefined;\n"
              "        } catch {}\n"
              "    return count;\n"
              "};");

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

static void expect_denied(struct sandbox_fixture *f, const char *expression)
{
    struct answer answer;

    ask(f, expression, &answer);
    if (answer.outcome != INVOKE_FUNCTION_ERROR)
        fail_msg("%s: %s", expression, answer.payload);
    answer_close(&answer);
}

static void node__machine_and_other_functions__cannot_be_touched(void **state)
{
    struct sandbox_fixture f;
    struct answer answer;
    char expression[600];
    uint16_t port;
    int fd = listen_on_loopback(&port);

    (void)state;
    open_node(&f, "index.js", obedient);

    (void)snprintf(expression, sizeof(expression), "require('fs').readFileSync('%s/secret')",
                   f.data);
    expect_denied(&f, expression);
    (void)snprintf(expression, sizeof(expression), "require('fs').readdirSync('%s')", f.code);
    expect_denied(&f, expression);
    expect_denied(&f, "require('fs').readFileSync('/etc/shadow')");
    expect_denied(&f, "require('fs').writeFileSync(process.env.LAMBDA_TASK_ROOT + '/new', '')");
    expect_denied(&f, "require('fs').writeFileSync('/usr/new', '')");
    expect_denied(&f, "require('fs').readdirSync('/sys/fs/cgroup')");
    expect_denied(&f, "process.setuid(process.getuid() ? 0 : 1)");
    (void)snprintf(expression, sizeof(expression), "process.kill(%d, 0)", getpid());
    expect_denied(&f, expression);
    (void)snprintf(
        expression, sizeof(expression),
        "new Promise((y, n) => require('net').connect(%u, '127.0.0.1', y).on('error', n))", port);
    expect_denied(&f, expression);
    ask(&f,
        "require('fs').readFileSync('/proc/self/status', 'utf8').split('\\\\n').filter((l) =>"
        " /^(CapEff|CapPrm|NoNewPrivs|Seccomp):/.test(l)).map((l) => l.split('\\\\t')[1])",
        &answer);
    assert_string_equal(answer.payload, "[\"0000000000000000\",\"0000000000000000\",\"1\",\"2\"]");
    answer_close(&answer);
    ask(&f,
        "require('fs').readdirSync('/proc/self/fd').map((n) => { try { return"
        " require('fs').readlinkSync('/proc/self/fd/' + n); } catch { return ''; } }).filter((l) =>"
        " /memfd|mnt:|pid:|bootstrap/.test(l))",
        &answer);
    assert_string_equal(answer.payload, "[]");
    answer_close(&answer);
    ask(&f,
        "require('fs').writeFileSync((process.env.TMPDIR || '/tmp') + '/mine', 'ok') ?? 'written'",
        &answer);
    assert_string_equal(answer.payload, "\"written\"");
    answer_close(&answer);
    close(fd);
    sandbox_fixture_close(&f);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest well_behaved[] = {
        /* the same wherever it runs */
        cmocka_unit_test(node__handler_forms__answer_as_lambdas_do),
        cmocka_unit_test(node__package_says_module__js_files_are_es_modules),
        cmocka_unit_test(node__handler_fails__errors_in_lambdas_shape),
        cmocka_unit_test(node__init_fails__documented_errors),
        cmocka_unit_test(node__large_payloads__pass_up_to_the_limit),
        cmocka_unit_test(node__garbage__is_collected_below_the_memory_limit),
    };
    const struct CMUnitTest isolated[] = {
        /* tier by tier */
        cmocka_unit_test(node__context_and_environment__are_lambdas),
        cmocka_unit_test(node__aws_endpoint__is_reached_and_process_is_kept),
        cmocka_unit_test(node__loops_past_its_time_out__is_killed_and_replaced),
        cmocka_unit_test(node__takes_too_much_memory__is_killed),
        cmocka_unit_test(node__fork_bomb__stops_at_its_limit),
        cmocka_unit_test(node__machine_and_other_functions__cannot_be_touched),
    };
    int failed = 0;

    if (access(NODE_JS, X_OK) != 0) {
        print_message("skipped: %s is not there\n", NODE_JS);
        return 0;
    }
    if (argc > 1 && strcmp(argv[1], "rootless") == 0 && geteuid() == 0)
        CHECK(setgroups(0, NULL) == 0 && setgid(65534) == 0 && setuid(65534) == 0);
    if (argc > 1 && strcmp(argv[1], "landlock") == 0)
        best = LAUNCHER_TIER_LANDLOCK;
    if (argc == 1)
        failed = cmocka_run_group_tests(well_behaved, NULL, NULL);
    return failed + cmocka_run_group_tests(isolated, NULL, NULL);
}
