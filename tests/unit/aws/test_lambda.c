#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/aws/lambda.h"
#include "node/event/event_engine.h"
#include "node/object/blob_engine.h"
#include "node/sandbox/sandbox.h"
#include "proto/base/check.h"
#include "proto/base/encode.h"
#include "proto/wire/function.pb-c.h"
#include "tests/lib/fake_env.h"
#include "tests/lib/fake_exchange.h"
#include "tests/lib/fake_invoker.h"
#include "tests/lib/fake_router.h"
#include "tests/lib/fake_view.h"

#include <zip.h>

#define FUNCTIONS "/2015-03-31/functions"
#define ROLE "arn:aws:iam::000000000000:role/lambda-role"
#define ARN "arn:aws:lambda:us-east-1:000000000000:function:"

struct fixture {
    struct fake_env env;
    struct view *view;
    struct shard_router *router;
    struct fake_invoker invoker;
    struct lambda *lambda;
    struct fake_answer answer;
    struct buffer zip; /* base64 of an archive with one file */
};

/* A machine without Node.js. */
static bool supports(struct env *env, const char *runtime)
{
    (void)env;
    return strncmp(runtime, "nodejs", 6) != 0;
}

static const struct env_sandbox machine = {.supports = supports};

/* An archive with one stored file, as base64. */
static void make_zip(const char *name, const char *content, struct buffer *base64)
{
    zip_error_t error;
    zip_source_t *source;
    zip_t *archive;
    zip_stat_t stat;
    char *bytes;

    zip_error_init(&error);
    source = zip_source_buffer_create(NULL, 0, 0, &error);
    archive = zip_open_from_source(source, ZIP_TRUNCATE, &error);
    zip_source_keep(source);
    assert_true(zip_file_add(archive, name, zip_source_buffer(archive, content, strlen(content), 0),
                             0) >= 0);
    assert_int_equal(zip_file_set_mtime(archive, 0, 1700000000, 0), 0);
    assert_int_equal(zip_close(archive), 0);
    assert_int_equal(zip_source_open(source), 0);
    assert_int_equal(zip_source_stat(source, &stat), 0);
    bytes = check_malloc(stat.size);
    assert_int_equal(zip_source_read(source, bytes, stat.size), (zip_int64_t)stat.size);
    zip_source_close(source);
    zip_source_free(source);
    buffer_clear(base64);
    assert_int_equal(encode_base64(slice_of(bytes, stat.size), base64), OK);
    free(bytes);
}

static int set_up(void **state)
{
    struct fixture *f = check_calloc(1, sizeof(*f));
    struct lambda_options options;

    fake_env_init(&f->env);
    f->env.env.sandbox = &machine;
    f->view = fake_view_new(&f->env.env);
    f->router = fake_router_new(&f->env.env, 12);
    fake_router_add_engine(f->router, &blob_engine);
    fake_router_add_engine(f->router, &event_engine);
    options = (struct lambda_options){.env = &f->env.env,
                                      .view = f->view,
                                      .router = f->router,
                                      .invoker = fake_invoker_as_invoker(&f->invoker)};
    f->lambda = lambda_new(&options);
    buffer_init(&f->zip, BUFFER_UNLIMITED);
    make_zip("order.py", "def lambda_handler(event, context): return 1\n", &f->zip);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    lambda_free(f->lambda);
    fake_answer_close(&f->answer);
    fake_router_free(f->router);
    view_free(f->view);
    fake_env_close(&f->env);
    buffer_close(&f->zip);
    free(f);
    return 0;
}

/* ---- requests ---- */

/* Send without waiting for the answer. */
static struct http_exchange *ask(struct fixture *f, const char *method, const char *target,
                                 struct slice body)
{
    return fake_exchange_new(&f->answer, method, target, body);
}

static void start(struct fixture *f, struct http_exchange *exchange)
{
    lambda_on_request(f->lambda, fake_exchange_request(exchange, AWS_SERVICE_LAMBDA));
}

static void settle(struct fixture *f)
{
    fake_env_advance(&f->env, 10000);
    assert_int_equal(f->answer.count, 1);
}

static int call(struct fixture *f, const char *method, const char *target, const char *body)
{
    start(f, ask(f, method, target, slice_text(body)));
    settle(f);
    return f->answer.status;
}

/* `members` replace what is wanted of the rest: "\"Timeout\":5,". */
static int create(struct fixture *f, const char *name, const char *members)
{
    struct buffer body = BUFFER_INIT(BUFFER_UNLIMITED);
    int status;

    buffer_putf(&body,
                "{%s\"FunctionName\":\"%s\",\"Runtime\":\"python3.9\",\"Role\":\"" ROLE
                "\",\"Handler\":\"order.lambda_handler\",\"Code\":{\"ZipFile\":\"%s\"}}",
                members, name, buffer_text(&f->zip));
    status = call(f, "POST", FUNCTIONS, buffer_text(&body));
    buffer_close(&body);
    return status;
}

static int update_code(struct fixture *f, const char *name, const char *content)
{
    struct buffer body = BUFFER_INIT(BUFFER_UNLIMITED);
    char target[200];
    int status;

    make_zip("order.py", content, &f->zip);
    buffer_putf(&body, "{\"ZipFile\":\"%s\"}", buffer_text(&f->zip));
    snprintf(target, sizeof(target), FUNCTIONS "/%s/code", name);
    status = call(f, "PUT", target, buffer_text(&body));
    buffer_close(&body);
    return status;
}

static void expect_fault(struct fixture *f, int status, const char *code, const char *message)
{
    const char *type = fake_answer_header(&f->answer, "x-amzn-ErrorType");

    assert_int_equal(f->answer.status, status);
    assert_non_null(type);
    assert_string_equal(type, code);
    if (strstr(fake_answer_text(&f->answer), message) == NULL)
        fail_msg("no \"%s\" in %s", message, fake_answer_text(&f->answer));
}

static void expect_part(struct fixture *f, const char *part)
{
    if (strstr(fake_answer_text(&f->answer), part) == NULL)
        fail_msg("no %s in %s", part, fake_answer_text(&f->answer));
}

/* ---- create ---- */

static void lambda_create__the_articles_function__is_active_and_stored(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(create(f, "ProcessOrder", ""), 201);

    expect_part(f, "\"FunctionName\":\"ProcessOrder\",\"FunctionArn\":\"" ARN "ProcessOrder\","
                   "\"Runtime\":\"python3.9\",\"Role\":\"" ROLE "\","
                   "\"Handler\":\"order.lambda_handler\"");
    expect_part(f, "\"Timeout\":3,\"MemorySize\":128,"
                   "\"LastModified\":\"2026-11-23T20:35:16.123+0000\"");
    expect_part(f, "\"State\":\"Active\",\"LastUpdateStatus\":\"Successful\","
                   "\"PackageType\":\"Zip\",\"Architectures\":[\"x86_64\"]");
    assert_int_equal(fake_view_count(f->view), 1);
    assert_int_equal(fake_router_key_count(f->router), 3); /* a chunk, its owner, their number */
}

static void lambda_create__exists__conflict_and_nothing_more_is_stored(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(create(f, "N", ""), 201);
    create(f, "N", "");

    expect_fault(f, 409, "ResourceConflictException", "Function already exist: N");
    assert_int_equal(fake_router_key_count(f->router), 3);
}

static void make_n_elsewhere(void *user, struct view *view)
{
    (void)user;
    fake_view_set(view, "function/N", SLICE_LITERAL("\x0a\x01N"));
}

static void lambda_create__another_node_was_quicker__conflict_and_the_package_goes(void **state)
{
    struct fixture *f = *state;

    fake_view_before_update(f->view, NULL, make_n_elsewhere);
    create(f, "N", "");

    expect_fault(f, 409, "ResourceConflictException", "Function already exist: N");
    assert_int_equal(fake_router_key_count(f->router), 0);
}

static void lambda_create__bad_members__documented_errors_and_no_trace(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *body; /* %s: the package */
        int status;
        const char *code;
        const char *message;
    } cases[] = {
        {"{", 400, "SerializationException", "Could not parse request body into json"},
        {"[]", 400, "SerializationException", "an object is expected"},
        {"{}", 400, "ValidationException", "'functionName' failed to satisfy constraint"},
        {"{\"FunctionName\":7}", 400, "SerializationException", "'FunctionName' must be a string"},
        {"{\"FunctionName\":\"a b\"}", 400, "ValidationException", "Value 'a b' at 'functionName'"},
        {"{\"FunctionName\":\"N:live\"}", 400, "ValidationException", "'functionName'"},
        {"{\"FunctionName\":\"N\"}", 400, "ValidationException", "Value null at 'role'"},
        {"{\"FunctionName\":\"N\",\"Role\":\"x\"}", 400, "ValidationException",
         "Value 'x' at 'role' failed to satisfy constraint"},
        {"{\"FunctionName\":\"N\",\"Role\":\"" ROLE "\"}", 400, "InvalidParameterValueException",
         "Runtime and Handler are mandatory"},
        {"{\"FunctionName\":\"N\",\"Role\":\"" ROLE "\",\"Runtime\":\"python2.7\"}", 400,
         "InvalidParameterValueException",
         "Value python2.7 at 'runtime' failed to satisfy constraint: Member must satisfy enum "
         "value "
         "set: [python3.8, "},
        {"{\"FunctionName\":\"N\",\"Role\":\"" ROLE "\",\"Runtime\":\"nodejs20.x\","
         "\"Handler\":\"index.handler\"}",
         400, "InvalidParameterValueException", "nodejs20.x is not installed on this machine"},
        {"{\"FunctionName\":\"N\",\"Role\":\"" ROLE
         "\",\"Runtime\":\"python3.9\",\"Handler\":\"a b\"}",
         400, "ValidationException", "Value 'a b' at 'handler'"},
        {"{\"FunctionName\":\"N\",\"Role\":\"" ROLE "\",\"Timeout\":901}", 400,
         "ValidationException",
         "Value '901' at 'timeout' failed to satisfy constraint: Member must have value less than "
         "or equal to 900"},
        {"{\"FunctionName\":\"N\",\"Role\":\"" ROLE "\",\"Timeout\":0}", 400, "ValidationException",
         "Member must have value greater than or equal to 1"},
        {"{\"FunctionName\":\"N\",\"Role\":\"" ROLE "\",\"Timeout\":\"3\"}", 400,
         "SerializationException", "'Timeout' must be an integer"},
        {"{\"FunctionName\":\"N\",\"Role\":\"" ROLE "\",\"MemorySize\":127}", 400,
         "ValidationException", "Value '127' at 'memorySize'"},
        {"{\"FunctionName\":\"N\",\"Role\":\"" ROLE "\",\"MemorySize\":10241}", 400,
         "ValidationException", "less than or equal to 10240"},
        {"{\"FunctionName\":\"N\",\"Role\":\"" ROLE
         "\",\"Environment\":{\"Variables\":{\"AWS_REGION\":\"x\"}}}",
         400, "InvalidParameterValueException", "Reserved keys used in this request: AWS_REGION"},
        {"{\"FunctionName\":\"N\",\"Role\":\"" ROLE
         "\",\"Environment\":{\"Variables\":{\"9A\":\"x\"}}}",
         400, "ValidationException", "environment.variables"},
        {"{\"FunctionName\":\"N\",\"Role\":\"" ROLE "\",\"Layers\":[\"arn\"]}", 400,
         "InvalidParameterValueException", "Layers is not supported"},
        {"{\"FunctionName\":\"N\",\"Role\":\"" ROLE "\",\"Architectures\":[\"mips\"]}", 400,
         "ValidationException", "'architectures'"},
        {"{\"FunctionName\":\"N\",\"Role\":\"" ROLE "\",\"PackageType\":\"Image\"}", 400,
         "InvalidParameterValueException", "package type Zip"},
    };

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        call(f, "POST", FUNCTIONS "/", cases[i].body);
        expect_fault(f, cases[i].status, cases[i].code, cases[i].message);
    }
    assert_int_equal(fake_view_count(f->view), 0);
    assert_int_equal(fake_router_write_count(f->router), 0);
}

static void lambda_create__bad_packages__documented_errors_and_no_trace(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *code;
        const char *type;
        const char *message;
    } cases[] = {
        {"{}", "InvalidParameterValueException", "Please provide a source for function code."},
        {"{\"ZipFile\":\"\"}", "InvalidParameterValueException",
         "Uploaded file must be a non-empty zip"},
        {"{\"ZipFile\":\"AAAA\"}", "InvalidParameterValueException",
         "Could not unzip uploaded file. Please check your file, then try to upload again."},
        {"{\"ZipFile\":\"!\"}", "SerializationException", "not a valid base64"},
        {"{\"S3Bucket\":\"b\",\"S3Key\":\"k\"}", "InvalidParameterValueException",
         "S3 Error Code: NoSuchBucket"},
        {"{\"ImageUri\":\"x\"}", "InvalidParameterValueException", "Container images"},
    };
    char body[1000];

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        snprintf(body, sizeof(body),
                 "{\"FunctionName\":\"N\",\"Runtime\":\"python3.12\",\"Role\":\"" ROLE
                 "\",\"Handler\":\"a.b\",\"Code\":%s}",
                 cases[i].code);
        call(f, "POST", FUNCTIONS, body);
        expect_fault(f, 400, cases[i].type, cases[i].message);
    }
    assert_int_equal(fake_view_count(f->view), 0);
    assert_int_equal(fake_router_write_count(f->router), 0);
}

static void lambda_create__package_escapes_its_folder__refused(void **state)
{
    struct fixture *f = *state;

    make_zip("../../etc/passwd", "x", &f->zip);
    create(f, "N", "");

    expect_fault(f, 400, "InvalidParameterValueException", "Could not unzip uploaded file.");
    assert_int_equal(fake_router_write_count(f->router), 0);
}

static void lambda_create__shards_fail__error_to_retry_and_no_record(void **state)
{
    struct fixture *f = *state;

    fake_router_fail(f->router, 0, ERR_TIMEOUT, true);
    create(f, "N", "");

    assert_true(f->answer.status >= 500);
    assert_int_equal(fake_view_count(f->view), 0);
    assert_int_equal(fake_router_key_count(f->router), 0); /* given up again */
}

static void lambda_create__commit_may_have_happened__the_package_stays(void **state)
{
    struct fixture *f = *state;

    fake_view_fail(f->view, ERR_TIMEOUT, false);
    create(f, "N", "");

    assert_true(f->answer.status >= 500);
    assert_int_equal(fake_router_key_count(f->router), 3);
}

static void lambda_create__answer_to_the_commit_was_lost__success_all_the_same(void **state)
{
    struct fixture *f = *state;

    fake_view_fail(f->view, ERR_LOST, true);

    assert_int_equal(create(f, "N", ""), 201);
    assert_int_equal(fake_view_count(f->view), 1);
}

static void lambda_create__environment_and_limits__are_kept(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(create(f, "N",
                            "\"Timeout\":900,\"MemorySize\":10240,\"Description\":\"d\","
                            "\"EphemeralStorage\":{\"Size\":1024},\"Architectures\":[\"arm64\"],"
                            "\"Environment\":{\"Variables\":{\"TABLE\":\"Orders\"}},"),
                     201);
    assert_int_equal(call(f, "GET", FUNCTIONS "/N/configuration", ""), 200);

    expect_part(f, "\"Timeout\":900,\"MemorySize\":10240");
    expect_part(f, "\"Environment\":{\"Variables\":{\"TABLE\":\"Orders\"}}");
    expect_part(f, "\"Architectures\":[\"arm64\"],\"EphemeralStorage\":{\"Size\":1024}");
    expect_part(f, "\"Description\":\"d\"");
}

/* ---- get, list, update, delete ---- */

static void lambda_get__names_arns_and_slashes__all_mean_the_function(void **state)
{
    struct fixture *f = *state;
    static const char *const targets[] = {
        FUNCTIONS "/N",
        FUNCTIONS "/N/",
        FUNCTIONS "/N?Qualifier=%24LATEST",
        FUNCTIONS "/N%3A%24LATEST",
        FUNCTIONS "/000000000000%3Afunction%3AN",
        FUNCTIONS "/arn%3Aaws%3Alambda%3Aeu-west-1%3A123456789012%3Afunction%3AN",
    };

    assert_int_equal(create(f, "N", ""), 201);
    for (size_t i = 0; i < ARRAY_COUNT(targets); i++) {
        assert_int_equal(call(f, "GET", targets[i], ""), 200);
        expect_part(f, "{\"Configuration\":{\"FunctionName\":\"N\"");
        expect_part(f, "\"Code\":{\"RepositoryType\":\"S3\"},\"Tags\":{}}");
    }
}

static void lambda_get__missing_or_unknown_version__not_found_with_the_arn(void **state)
{
    struct fixture *f = *state;

    call(f, "GET", FUNCTIONS "/Nope", "");
    expect_fault(f, 404, "ResourceNotFoundException", "Function not found: " ARN "Nope");

    assert_int_equal(create(f, "N", ""), 201);
    call(f, "GET", FUNCTIONS "/N?Qualifier=7", "");
    expect_fault(f, 404, "ResourceNotFoundException", "Function not found: " ARN "N:7");

    call(f, "GET", FUNCTIONS "/a%20b", "");
    expect_fault(f, 400, "ValidationException", "Value 'a b' at 'functionName'");
}

static void lambda_list__pages__follow_the_marker(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(create(f, "A", ""), 201);
    assert_int_equal(create(f, "B", ""), 201);
    assert_int_equal(create(f, "C", ""), 201);

    assert_int_equal(call(f, "GET", FUNCTIONS "/?MaxItems=2", ""), 200);
    expect_part(f, "{\"Functions\":[{\"FunctionName\":\"A\"");
    expect_part(f, "],\"NextMarker\":\"B\"}");
    assert_int_equal(call(f, "GET", FUNCTIONS "?MaxItems=2&Marker=B", ""), 200);
    expect_part(f, "{\"Functions\":[{\"FunctionName\":\"C\"");
    assert_null(strstr(fake_answer_text(&f->answer), "NextMarker"));
    call(f, "GET", FUNCTIONS "?MaxItems=0", "");
    expect_fault(f, 400, "ValidationException", "maxItems");
}

static void lambda_update_code__new_package__replaces_and_frees_the_old_one(void **state)
{
    struct fixture *f = *state;
    char before[2000];

    assert_int_equal(create(f, "N", ""), 201);
    snprintf(before, sizeof(before), "%s", strstr(fake_answer_text(&f->answer), "CodeSha256"));

    assert_int_equal(update_code(f, "N", "other\n"), 200);

    assert_string_not_equal(strstr(fake_answer_text(&f->answer), "CodeSha256"), before);
    assert_int_equal(fake_router_key_count(f->router), 3);
}

static void lambda_update_code__same_package__stays_readable(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(update_code(f, "N", "x"), 404);
    assert_int_equal(create(f, "N", ""), 201);
    assert_int_equal(create(f, "M", ""), 201);
    assert_int_equal(fake_router_key_count(f->router), 4); /* one chunk, two owners */

    assert_int_equal(call(f, "DELETE", FUNCTIONS "/N", ""), 204);

    assert_int_equal(fake_router_key_count(f->router), 3);
}

static void touch_n_elsewhere(void *user, struct view *view)
{
    struct slice value;
    struct buffer copy = BUFFER_INIT(65536);

    (void)user;
    assert_int_equal(view_get(view, "function/N", &value, NULL), OK);
    buffer_put_slice(&copy, value);
    fake_view_set(view, "function/N", buffer_slice(&copy));
    buffer_close(&copy);
}

static void lambda_update_code__record_changed_meanwhile__conflict_old_code_stays(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(create(f, "N", ""), 201);
    fake_view_before_update(f->view, NULL, touch_n_elsewhere);
    update_code(f, "N", "other\n");

    expect_fault(f, 409, "ResourceConflictException",
                 "An update is in progress for resource: " ARN "N");
    assert_int_equal(fake_router_key_count(f->router), 3);
}

static void lambda_update_configuration__one_member__keeps_the_others(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(create(f, "N", "\"Timeout\":7,"), 201);
    assert_int_equal(call(f, "PUT", FUNCTIONS "/N/configuration", "{\"MemorySize\":256}"), 200);

    expect_part(f, "\"Handler\":\"order.lambda_handler\"");
    expect_part(f, "\"Timeout\":7,\"MemorySize\":256");
    assert_int_equal(fake_router_key_count(f->router), 3);
    call(f, "PUT", FUNCTIONS "/N/configuration", "{\"RevisionId\":\"x\"}");
    expect_fault(f, 412, "PreconditionFailedException", "RevisionId provided does not match");
}

static void lambda_delete__twice__then_not_found_and_nothing_left(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(create(f, "N", ""), 201);
    assert_int_equal(call(f, "DELETE", FUNCTIONS "/N", ""), 204);
    assert_int_equal(f->answer.body.size, 0);

    assert_int_equal(call(f, "DELETE", FUNCTIONS "/N", ""), 404);
    assert_int_equal(fake_view_count(f->view), 0);
    assert_int_equal(fake_router_key_count(f->router), 0);
}

#define TAGS_ARN "arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3A"

static void lambda_others__account_tags_versions_policy__answer(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(create(f, "N", ""), 201);
    assert_int_equal(call(f, "GET", "/2016-08-19/account-settings/", ""), 200);
    expect_part(f, "\"FunctionCount\":1}");
    assert_int_equal(call(f, "GET", "/2017-03-31/tags/" TAGS_ARN "N", ""), 200);
    expect_part(f, "{\"Tags\":{}}");
    assert_int_equal(call(f, "GET", FUNCTIONS "/N/versions", ""), 200);
    expect_part(f, "{\"Versions\":[{\"FunctionName\":\"N\"");
    assert_int_equal(call(f, "GET", FUNCTIONS "/N/policy", ""), 404);
    assert_true(call(f, "PATCH", FUNCTIONS "/N", "") >= 400);
    assert_true(call(f, "GET", "/%zz/functions", "") >= 400);
}

/* ---- invoke ---- */

#define INVOKE FUNCTIONS "/N/invocations"

static struct http_exchange *ask_invoke(struct fixture *f, const char *payload)
{
    if (fake_view_count(f->view) == 0)
        assert_int_equal(create(f, "N", ""), 201);
    return ask(f, "POST", INVOKE, slice_text(payload));
}

static void lambda_invoke__payload__goes_in_and_the_result_comes_out(void **state)
{
    struct fixture *f = *state;
    struct http_exchange *exchange = ask_invoke(f, "{\"a\": 12345678901234567890}");

    fake_exchange_add_header(exchange, "X-Amzn-Trace-Id", "Root=1-2-3");
    fake_exchange_add_header(exchange, "X-Amz-Client-Context", "eyJhIjoxfQ==");
    start(f, exchange);
    const struct invoke *invoke = fake_invoker_first(&f->invoker);

    assert_string_equal(invoke->function, "N");
    assert_string_equal(invoke->request_id, FAKE_REQUEST_ID);
    assert_string_equal(invoke->region, "us-east-1");
    assert_string_equal(invoke->trace_header, "Root=1-2-3");
    assert_true(slice_equal_text(invoke->client_context, "{\"a\":1}"));
    assert_true(slice_equal_text(invoke->payload, "{\"a\": 12345678901234567890}"));
    fake_invoker_finish(&f->invoker, INVOKE_OK, "{\"b\":2}");

    settle(f);
    assert_int_equal(f->answer.status, 200);
    assert_string_equal(fake_answer_text(&f->answer), "{\"b\":2}");
    assert_string_equal(fake_answer_header(&f->answer, "X-Amz-Executed-Version"), "$LATEST");
    assert_null(fake_answer_header(&f->answer, "X-Amz-Function-Error"));
    assert_null(fake_answer_header(&f->answer, "X-Amz-Log-Result"));
}

static void lambda_invoke__no_payload__is_an_empty_object(void **state)
{
    struct fixture *f = *state;

    start(f, ask_invoke(f, ""));

    assert_true(slice_equal_text(fake_invoker_first(&f->invoker)->payload, "{}"));
    fake_invoker_finish(&f->invoker, INVOKE_OK, "null");
    settle(f);
}

static void lambda_invoke__log_type_tail__log_in_a_header(void **state)
{
    struct fixture *f = *state;
    struct http_exchange *exchange = ask_invoke(f, "{}");

    fake_exchange_add_header(exchange, "x-amz-log-type", "Tail");
    start(f, exchange);
    fake_invoker_finish(&f->invoker, INVOKE_OK, "1");

    settle(f);
    assert_string_equal(fake_answer_header(&f->answer, "X-Amz-Log-Result"), "U1RBUlQKUkVQT1JUCg==");
}

static void lambda_invoke__outcomes__documented_answers(void **state)
{
    struct fixture *f = *state;
    static const struct {
        enum invoke_outcome outcome;
        int status;
        const char *code;
        const char *text;
    } cases[] = {
        {INVOKE_THROTTLED, 429, "TooManyRequestsException",
         "\"Reason\":\"ConcurrentInvocationLimitExceeded\""},
        {INVOKE_NOT_FOUND, 404, "ResourceNotFoundException", "Function not found: " ARN "N"},
        {INVOKE_UNAVAILABLE, 503, "ServiceException", "may have been started"},
        {INVOKE_CANCELLED, 503, "ServiceException", "before the function was started"},
    };

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        start(f, ask_invoke(f, "{}"));
        fake_invoker_finish(&f->invoker, cases[i].outcome, "");
        settle(f);
        expect_fault(f, cases[i].status, cases[i].code, cases[i].text);
    }
}

static void lambda_invoke__function_failed__still_200_with_the_header(void **state)
{
    struct fixture *f = *state;

    start(f, ask_invoke(f, "{}"));
    fake_invoker_finish(&f->invoker, INVOKE_FUNCTION_ERROR,
                        "{\"errorMessage\":\"m\",\"errorType\":\"KeyError\"}");
    settle(f);

    assert_int_equal(f->answer.status, 200);
    assert_string_equal(fake_answer_header(&f->answer, "X-Amz-Function-Error"), "Unhandled");
    expect_part(f, "KeyError");

    start(f, ask_invoke(f, "{}"));
    fake_invoker_finish(&f->invoker, INVOKE_TOO_LARGE, "");
    settle(f);
    assert_int_equal(f->answer.status, 200);
    expect_part(f, "Function.ResponseSizeTooLarge");
}

static void lambda_invoke__lost_with_an_idempotency_key__runs_once_more(void **state)
{
    struct fixture *f = *state;
    struct http_exchange *exchange = ask_invoke(f, "{}");

    fake_exchange_add_header(exchange, "Idempotency-Key", "k1");
    start(f, exchange);
    fake_invoker_finish(&f->invoker, INVOKE_UNAVAILABLE, "");
    assert_int_equal(f->answer.count, 0);
    fake_invoker_finish(&f->invoker, INVOKE_OK, "7");

    settle(f);
    assert_int_equal(f->answer.status, 200);
    assert_int_equal(f->invoker.started, 2);

    exchange = ask_invoke(f, "{}");
    fake_exchange_add_header(exchange, "X-Idempotency-Key", "k2");
    start(f, exchange);
    fake_invoker_finish(&f->invoker, INVOKE_UNAVAILABLE, "");
    fake_invoker_finish(&f->invoker, INVOKE_UNAVAILABLE, "");
    settle(f);
    assert_int_equal(f->answer.status, 503); /* not a third time */
}

static void lambda_invoke__client_gone__cancelled_and_not_run_once_more(void **state)
{
    struct fixture *f = *state;
    struct http_exchange *exchange = ask_invoke(f, "{}");

    fake_exchange_add_header(exchange, "Idempotency-Key", "k1");
    start(f, exchange);
    exchange->is_abandoned = true;
    exchange->on_abandoned(exchange);
    assert_ptr_equal(f->invoker.cancelled, fake_invoker_first(&f->invoker));
    fake_invoker_finish(&f->invoker, INVOKE_UNAVAILABLE, "");

    settle(f);
    assert_int_equal(f->invoker.started, 1);
}

static void lambda_invoke__dry_run__runs_nothing(void **state)
{
    struct fixture *f = *state;
    struct http_exchange *exchange = ask_invoke(f, "{}");

    fake_exchange_add_header(exchange, "X-Amz-Invocation-Type", "DryRun");
    start(f, exchange);
    settle(f);
    assert_int_equal(f->answer.status, 204);
    assert_int_equal(f->invoker.started, 0);
}

static void start_event(struct fixture *f, struct slice payload)
{
    struct http_exchange *exchange = ask(f, "POST", INVOKE, payload);

    fake_exchange_add_header(exchange, "X-Amz-Invocation-Type", "Event");
    start(f, exchange);
    settle(f);
}

static void lambda_invoke__event__accepted_when_it_is_stored(void **state)
{
    struct fixture *f = *state;
    AUTO(buffer) large = BUFFER_INIT(BUFFER_UNLIMITED);
    size_t keys;

    assert_int_equal(create(f, "N", ""), 201);
    keys = fake_router_key_count(f->router);

    fake_router_fail(f->router, 0, ERR_TIMEOUT, false);
    start_event(f, SLICE_LITERAL("{}"));
    assert_true(f->answer.status >= 500);
    assert_int_equal(fake_router_key_count(f->router), keys);

    start_event(f, SLICE_LITERAL("{\"a\": 1}"));
    assert_int_equal(f->answer.status, 202);
    assert_int_equal(f->answer.body.size, 0);
    assert_true(fake_router_key_count(f->router) > keys);

    keys = fake_router_key_count(f->router);
    assert_int_equal(buffer_reserve(&large, EVENT_PAYLOAD_BYTES_MAX + 1), OK);
    memset(large.data, ' ', EVENT_PAYLOAD_BYTES_MAX + 1);
    large.size = EVENT_PAYLOAD_BYTES_MAX + 1;
    start_event(f, buffer_slice(&large));
    expect_fault(f, 413, "RequestEntityTooLargeException", "(limit 262144 bytes)");
    assert_int_equal(fake_router_key_count(f->router), keys);
    assert_int_equal(f->invoker.started, 0);
}

static void lambda_invoke__bad_input__refused_before_anything_runs(void **state)
{
    struct fixture *f = *state;
    struct buffer large = BUFFER_INIT(BUFFER_UNLIMITED);
    struct http_exchange *exchange = ask_invoke(f, "{\"a\":}");

    start(f, exchange);
    settle(f);
    expect_fault(f, 400, "InvalidRequestContentException", "Could not parse request body");

    exchange = ask_invoke(f, "{}");
    fake_exchange_add_header(exchange, "X-Amz-Client-Context", "bm8=");
    start(f, exchange);
    settle(f);
    expect_fault(f, 400, "InvalidRequestContentException", "Client context must be");

    assert_int_equal(buffer_reserve(&large, INVOKE_PAYLOAD_BYTES_MAX + 1), OK);
    memset(large.data, ' ', INVOKE_PAYLOAD_BYTES_MAX + 1);
    large.size = INVOKE_PAYLOAD_BYTES_MAX + 1;
    start(f, ask(f, "POST", INVOKE, buffer_slice(&large)));
    settle(f);
    expect_fault(f, 413, "RequestTooLargeException", "6291456");

    call(f, "POST", FUNCTIONS "/Nope/invocations", "{}");
    expect_fault(f, 404, "ResourceNotFoundException", "Function not found: " ARN "Nope");
    assert_int_equal(f->invoker.started, 0);
    buffer_close(&large);
}

/* ---- ends ---- */

static void lambda_free__at_any_moment__nothing_leaks_and_nobody_is_called(void **state)
{
    struct fixture *f = *state;
    struct buffer body = BUFFER_INIT(BUFFER_UNLIMITED);

    buffer_putf(&body,
                "{\"FunctionName\":\"N\",\"Runtime\":\"python3.9\",\"Role\":\"" ROLE
                "\",\"Handler\":\"a.b\",\"Code\":{\"ZipFile\":\"%s\"}}",
                buffer_text(&f->zip));
    for (int stage = 0; stage < 3; stage++) {
        struct lambda_options options = {.env = &f->env.env,
                                         .view = f->view,
                                         .router = f->router,
                                         .invoker = fake_invoker_as_invoker(&f->invoker)};

        fake_router_hold(f->router, stage == 1);
        fake_view_hold(f->view, stage == 2);
        start(f, ask(f, "POST", FUNCTIONS, buffer_slice(&body)));
        if (stage > 0)
            fake_env_advance(&f->env, 10000);
        lambda_free(f->lambda);
        if (stage == 0) { /* its work is queued still: a crash drops that too */
            fake_env_close(&f->env);
            view_free(f->view);
            fake_router_free(f->router);
            fake_env_init(&f->env);
            f->env.env.sandbox = &machine;
            f->view = fake_view_new(&f->env.env);
            f->router = fake_router_new(&f->env.env, 12);
            fake_router_add_engine(f->router, &blob_engine);
            fake_router_add_engine(f->router, &event_engine);
            options.view = f->view;
            options.router = f->router;
        }
        fake_router_hold(f->router, false);
        fake_view_hold(f->view, false);
        fake_env_run(&f->env);
        assert_int_equal(f->answer.count, 0);
        f->lambda = lambda_new(&options);
    }
    buffer_close(&body);
}

/* ---- versions and aliases ---- */

static size_t stored_keys(struct fixture *f)
{
    return fake_router_key_count(f->router);
}

static void lambda_version__published__never_changes_and_keeps_its_package(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(create(f, "N", ""), 201);
    assert_int_equal(call(f, "POST", FUNCTIONS "/N/versions", "{\"Description\":\"first\"}"), 201);
    expect_part(f, "\"FunctionArn\":\"" ARN "N:1\"");
    expect_part(f, "\"Version\":\"1\"");
    assert_int_equal(call(f, "POST", FUNCTIONS "/N/versions", "{}"), 201); /* nothing has changed */
    expect_part(f, "\"Version\":\"1\"");
    assert_int_equal(update_code(f, "N", "def lambda_handler(event, context): return 2\n"), 200);
    assert_int_equal(stored_keys(f), 6); /* both packages */
    assert_int_equal(call(f, "POST", FUNCTIONS "/N/versions", "{}"), 201);
    expect_part(f, "\"Version\":\"2\"");

    assert_int_equal(call(f, "GET", FUNCTIONS "/N/configuration?Qualifier=1", ""), 200);
    expect_part(f, "\"Description\":\"first\"");
    assert_int_equal(call(f, "GET", FUNCTIONS "/N/versions?MaxItems=2", ""), 200);
    expect_part(f, "\"Version\":\"$LATEST\"");
    expect_part(f, "\"NextMarker\":\"2\"");
    assert_int_equal(call(f, "GET", FUNCTIONS "/N/versions?Marker=2", ""), 200);
    assert_null(strstr(fake_answer_text(&f->answer), "\"Version\":\"1\""));

    assert_int_equal(call(f, "DELETE", FUNCTIONS "/N?Qualifier=1", ""), 204);
    assert_int_equal(stored_keys(f), 3);
    assert_int_equal(call(f, "DELETE", FUNCTIONS "/N?Qualifier=2", ""), 204);
    assert_int_equal(stored_keys(f), 3); /* $LATEST has the same package */
    call(f, "GET", FUNCTIONS "/N?Qualifier=1", "");
    expect_fault(f, 404, "ResourceNotFoundException", "Function not found: " ARN "N:1");
}

static void lambda_version__function_deleted__nothing_of_it_is_left(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(create(f, "N", "\"Publish\":true,"), 201);
    expect_part(f, "\"Version\":\"1\"");
    assert_int_equal(update_code(f, "N", "def lambda_handler(event, context): return 2\n"), 200);
    assert_int_equal(
        call(f, "POST", FUNCTIONS "/N/aliases", "{\"Name\":\"live\",\"FunctionVersion\":\"1\"}"),
        201);
    assert_int_equal(fake_view_count(f->view), 3);

    assert_int_equal(call(f, "DELETE", FUNCTIONS "/N", ""), 204);

    assert_int_equal(fake_view_count(f->view), 0);
    assert_int_equal(stored_keys(f), 0);
}

static void lambda_version__bad_requests__documented_errors(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(create(f, "N", "\"Publish\":true,"), 201);
    call(f, "POST", FUNCTIONS "/N/versions", "{\"CodeSha256\":\"x\"}");
    expect_fault(f, 400, "InvalidParameterValueException", "CodeSHA256 (x) is different");
    call(f, "POST", FUNCTIONS "/N/versions", "{\"RevisionId\":\"x\"}");
    expect_fault(f, 412, "PreconditionFailedException", "RevisionId");
    call(f, "DELETE", FUNCTIONS "/N?Qualifier=$LATEST", "");
    expect_fault(f, 400, "InvalidParameterValueException", "$LATEST version cannot be deleted");
    call(f, "POST", FUNCTIONS "/N/aliases", "{\"Name\":\"live\",\"FunctionVersion\":\"1\"}");
    call(f, "DELETE", FUNCTIONS "/N?Qualifier=1", "");
    expect_fault(f, 409, "ResourceConflictException", "referenced by an alias");
}

static void lambda_alias__life__as_documented(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(create(f, "N", "\"Publish\":true,"), 201);
    update_code(f, "N", "def lambda_handler(event, context): return 2\n");
    call(f, "POST", FUNCTIONS "/N/versions", "{}");
    assert_int_equal(call(f, "POST", FUNCTIONS "/N/aliases",
                          "{\"Name\":\"live\",\"FunctionVersion\":\"1\",\"RoutingConfig\":"
                          "{\"AdditionalVersionWeights\":{\"2\":0.25}}}"),
                     201);
    expect_part(f, "\"AliasArn\":\"" ARN "N:live\"");
    expect_part(f, "\"AdditionalVersionWeights\":{\"2\":0.25}");
    assert_int_equal(call(f, "GET", FUNCTIONS "/N/aliases?FunctionVersion=2", ""), 200);
    expect_part(f, "\"Name\":\"live\"");
    call(f, "PUT", FUNCTIONS "/N/aliases/live", "{\"RevisionId\":\"old\"}");
    expect_fault(f, 412, "PreconditionFailedException", "RevisionId");
    assert_int_equal(call(f, "PUT", FUNCTIONS "/N/aliases/live",
                          "{\"FunctionVersion\":\"2\",\"RoutingConfig\":{}}"),
                     200);
    assert_null(strstr(fake_answer_text(&f->answer), "RoutingConfig"));
    assert_int_equal(call(f, "GET", FUNCTIONS "/N?Qualifier=live", ""), 200);
    expect_part(f, "\"FunctionArn\":\"" ARN "N:live\"");
    expect_part(f, "\"Version\":\"2\"");
    assert_int_equal(call(f, "DELETE", FUNCTIONS "/N/aliases/live", ""), 204);
    call(f, "GET", FUNCTIONS "/N/aliases/live", "");
    expect_fault(f, 404, "ResourceNotFoundException", "Cannot find alias arn: " ARN "N:live");
}

static void lambda_alias__bad_requests__documented_errors_and_no_trace(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *body;
        int status;
        const char *code;
    } cases[] = {
        {"{\"Name\":\"7\",\"FunctionVersion\":\"1\"}", 400, "ValidationException"},
        {"{\"Name\":\"a/b\",\"FunctionVersion\":\"1\"}", 400, "ValidationException"},
        {"{\"Name\":\"a\"}", 400, "ValidationException"},
        {"{\"Name\":\"a\",\"FunctionVersion\":\"x\"}", 400, "ValidationException"},
        {"{\"Name\":\"a\",\"FunctionVersion\":\"9\"}", 404, "ResourceNotFoundException"},
        {"{\"Name\":\"a\",\"FunctionVersion\":\"1\",\"RoutingConfig\":"
         "{\"AdditionalVersionWeights\":{\"1\":0.5}}}",
         400, "InvalidParameterValueException"},
        {"{\"Name\":\"a\",\"FunctionVersion\":\"1\",\"RoutingConfig\":"
         "{\"AdditionalVersionWeights\":{\"1\":1.5}}}",
         400, "ValidationException"},
        {"{\"Name\":\"a\",\"FunctionVersion\":\"$LATEST\",\"RoutingConfig\":"
         "{\"AdditionalVersionWeights\":{\"1\":0.5}}}",
         400, "InvalidParameterValueException"},
    };

    assert_int_equal(create(f, "N", "\"Publish\":true,"), 201);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        call(f, "POST", FUNCTIONS "/N/aliases", cases[i].body);
        expect_fault(f, cases[i].status, cases[i].code, "");
    }
    assert_int_equal(fake_view_count(f->view), 2);
}

static void lambda_alias__invoked_with_weights__each_version_gets_its_part(void **state)
{
    struct fixture *f = *state;
    unsigned counts[3] = {0};

    assert_int_equal(create(f, "N", "\"Publish\":true,"), 201);
    update_code(f, "N", "def lambda_handler(event, context): return 2\n");
    call(f, "POST", FUNCTIONS "/N/versions", "{}");
    call(f, "POST", FUNCTIONS "/N/aliases",
         "{\"Name\":\"live\",\"FunctionVersion\":\"1\",\"RoutingConfig\":"
         "{\"AdditionalVersionWeights\":{\"2\":0.25}}}");
    for (int i = 0; i < 400; i++) {
        const struct invoke *invoke;

        start(f, ask(f, "POST", FUNCTIONS "/N:live/invocations", SLICE_LITERAL("{}")));
        invoke = fake_invoker_first(&f->invoker);
        assert_string_equal(invoke->qualifier, "live");
        assert_true(invoke->version == 1 || invoke->version == 2);
        counts[invoke->version]++;
        fake_invoker_finish(&f->invoker, INVOKE_OK, "1");
        settle(f);
    }

    assert_in_range(counts[2], 60, 140);
    call(f, "POST", FUNCTIONS "/N:gone/invocations", "{}");
    expect_fault(f, 404, "ResourceNotFoundException", "Function not found: " ARN "N:gone");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(lambda_create__the_articles_function__is_active_and_stored),
        TEST(lambda_create__exists__conflict_and_nothing_more_is_stored),
        TEST(lambda_create__another_node_was_quicker__conflict_and_the_package_goes),
        TEST(lambda_create__bad_members__documented_errors_and_no_trace),
        TEST(lambda_create__bad_packages__documented_errors_and_no_trace),
        TEST(lambda_create__package_escapes_its_folder__refused),
        TEST(lambda_create__shards_fail__error_to_retry_and_no_record),
        TEST(lambda_create__commit_may_have_happened__the_package_stays),
        TEST(lambda_create__answer_to_the_commit_was_lost__success_all_the_same),
        TEST(lambda_create__environment_and_limits__are_kept),
        TEST(lambda_get__names_arns_and_slashes__all_mean_the_function),
        TEST(lambda_get__missing_or_unknown_version__not_found_with_the_arn),
        TEST(lambda_list__pages__follow_the_marker),
        TEST(lambda_update_code__new_package__replaces_and_frees_the_old_one),
        TEST(lambda_update_code__same_package__stays_readable),
        TEST(lambda_update_code__record_changed_meanwhile__conflict_old_code_stays),
        TEST(lambda_update_configuration__one_member__keeps_the_others),
        TEST(lambda_delete__twice__then_not_found_and_nothing_left),
        TEST(lambda_others__account_tags_versions_policy__answer),
        TEST(lambda_invoke__payload__goes_in_and_the_result_comes_out),
        TEST(lambda_invoke__no_payload__is_an_empty_object),
        TEST(lambda_invoke__log_type_tail__log_in_a_header),
        TEST(lambda_invoke__outcomes__documented_answers),
        TEST(lambda_invoke__function_failed__still_200_with_the_header),
        TEST(lambda_invoke__lost_with_an_idempotency_key__runs_once_more),
        TEST(lambda_invoke__client_gone__cancelled_and_not_run_once_more),
        TEST(lambda_version__published__never_changes_and_keeps_its_package),
        TEST(lambda_version__function_deleted__nothing_of_it_is_left),
        TEST(lambda_version__bad_requests__documented_errors),
        TEST(lambda_alias__life__as_documented),
        TEST(lambda_alias__bad_requests__documented_errors_and_no_trace),
        TEST(lambda_alias__invoked_with_weights__each_version_gets_its_part),
        TEST(lambda_invoke__dry_run__runs_nothing),
        TEST(lambda_invoke__event__accepted_when_it_is_stored),
        TEST(lambda_invoke__bad_input__refused_before_anything_runs),
        TEST(lambda_free__at_any_moment__nothing_leaks_and_nobody_is_called),
    };

    return cmocka_run_group_tests_name("lambda", tests, NULL, NULL);
}
