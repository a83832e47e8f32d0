/* Requests made by hand, answered into memory: routing, authentication, STS. */

#include "node/auth/sigv4.h"
#include "node/aws/aws_fault.h"
#include "node/aws/aws_reply.h"
#include "node/aws/aws_router.h"
#include "node/aws/sts.h"
#include "proto/base/check.h"
#include "tests/lib/fake_env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <strings.h>

#include <cmocka.h>

#define DATE "20261123T203516Z" /* FAKE_ENV_WALL_MS */
#define HEADERS_MAX 16

struct fixture {
    struct fake_env fake;
    struct aws_router *router;
    struct sts sts;
    struct sigv4 *signer;
    struct http_exchange exchange;
    struct http_header headers[HEADERS_MAX];
    int status; /* of the answer; 0 before */
    struct buffer answer_headers;
    struct buffer answer;
    int handled;
    enum aws_service handled_by;
    char handled_region[32];
    char handled_operation[64];
    char handled_key[32];
    bool handled_signed;
};

static void on_respond(struct http_exchange *exchange, int status,
                       const struct http_header *headers, size_t count, struct buffer *body)
{
    struct fixture *f = container_of(exchange, struct fixture, exchange);

    assert_int_equal(f->status, 0);
    f->status = status;
    for (size_t i = 0; i < count; i++)
        buffer_putf(&f->answer_headers, "%.*s: %.*s\n", (int)headers[i].name.size,
                    (const char *)headers[i].name.data, (int)headers[i].value.size,
                    (const char *)headers[i].value.data);
    if (body != NULL) {
        buffer_put_slice(&f->answer, buffer_slice(body));
        buffer_close(body);
    }
    arena_close(&exchange->arena);
}

static void copy_text(char *to, size_t size, struct slice text)
{
    (void)snprintf(to, size, "%.*s", (int)text.size, (const char *)text.data);
}

static void on_request(void *user, struct aws_request *request)
{
    struct fixture *f = user;

    f->handled++;
    f->handled_by = request->service;
    f->handled_signed = request->identity != NULL;
    copy_text(f->handled_region, sizeof(f->handled_region), request->region);
    copy_text(f->handled_operation, sizeof(f->handled_operation), request->operation);
    copy_text(f->handled_key, sizeof(f->handled_key), request->access_key);
    aws_reply(request, 200, NULL);
}

static void fixture_open_with(struct fixture *f, bool any_key)
{
    const struct aws_key keys[] = {{"AKIDOTHER", "other"}, {"AKIDEXAMPLE", "secret"}};
    const struct aws_router_options options = {
        .region = "eu-west-1", .keys = keys, .key_count = 2, .any_key = any_key};

    *f = (struct fixture){.answer = BUFFER_INIT(BUFFER_UNLIMITED),
                          .answer_headers = BUFFER_INIT(BUFFER_UNLIMITED)};
    fake_env_init(&f->fake);
    f->router = aws_router_new(&f->fake.env, &options);
    f->signer = sigv4_new(aws_router_find_secret, f->router);
    for (int i = AWS_SERVICE_NONE + 1; i < AWS_SERVICE_COUNT; i++)
        if (i != AWS_SERVICE_SNS)
            aws_router_handle(f->router, (enum aws_service)i, f, on_request);
    f->sts = (struct sts){&f->fake.env, f->router};
    aws_router_handle(f->router, AWS_SERVICE_STS, &f->sts, sts_on_request);
}

static void fixture_open(struct fixture *f)
{
    fixture_open_with(f, false);
}

static void fixture_close(struct fixture *f)
{
    arena_close(&f->exchange.arena);
    sigv4_free(f->signer);
    aws_router_free(f->router);
    fake_env_close(&f->fake);
    buffer_close(&f->answer);
    buffer_close(&f->answer_headers);
}

/* ---- making requests ------------------------------------------------------------------------ */

static void add_header(struct fixture *f, const char *name, const char *value)
{
    assert_true(f->exchange.header_count < HEADERS_MAX);
    f->headers[f->exchange.header_count++] =
        (struct http_header){slice_text(name), slice_text(value)};
}

static void begin(struct fixture *f, const char *method, const char *target, const char *body)
{
    size_t path_size = strcspn(target, "?");

    arena_close(&f->exchange.arena);
    f->status = 0;
    f->handled_by = AWS_SERVICE_NONE;
    buffer_clear(&f->answer);
    buffer_clear(&f->answer_headers);
    f->exchange = (struct http_exchange){
        .method = slice_text(method),
        .target = slice_text(target),
        .path = slice_of(target, path_size),
        .query = slice_text(target + path_size + (target[path_size] == '?')),
        .headers = f->headers,
        .body = slice_text(body),
        .request_id = "00000000-0000-4000-8000-000000000000",
        .respond = on_respond,
    };
    add_header(f, "Host", "127.0.0.1:4566");
}

static int header_compare(const void *a, const void *b)
{
    const struct http_header *left = a;
    const struct http_header *right = b;

    return strcasecmp((const char *)left->name.data, (const char *)right->name.data);
}

/* Sign what was made: all headers there are, with this secret. */
static void sign(struct fixture *f, const char *service, const char *secret)
{
    struct arena *arena = &f->exchange.arena;
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) names = BUFFER_INIT(BUFFER_UNLIMITED);
    char hash[SIGV4_HEX_BYTES + 1];
    char signature[SIGV4_HEX_BYTES + 1];
    uint8_t key[SIGV4_KEY_BYTES];

    add_header(f, "x-amz-date", DATE);
    qsort(f->headers, f->exchange.header_count, sizeof(f->headers[0]), header_compare);
    buffer_putf(&text, "%s\n%.*s\n%s\n", (const char *)f->exchange.method.data,
                (int)f->exchange.path.size, (const char *)f->exchange.path.data, "");
    for (size_t i = 0; i < f->exchange.header_count; i++) {
        char *name = arena_text(arena, f->headers[i].name);

        for (char *c = name; *c != '\0'; c++)
            *c = (char)(*c >= 'A' && *c <= 'Z' ? *c | 0x20 : *c);
        buffer_putf(&text, "%s:%.*s\n", name, (int)f->headers[i].value.size,
                    (const char *)f->headers[i].value.data);
        buffer_putf(&names, "%s%s", i > 0 ? ";" : "", name);
    }
    sigv4_hash(f->signer, f->exchange.body, hash);
    buffer_putf(&text, "\n%s\n%s", buffer_text(&names), hash);
    sigv4_hash(f->signer, buffer_slice(&text), hash);
    buffer_clear(&text);
    buffer_putf(&text, "AWS4-HMAC-SHA256\n%s\n20261123/us-east-1/%s/aws4_request\n%s", DATE,
                service, hash);
    sigv4_derive_key(f->signer, slice_text(secret), SLICE_LITERAL("20261123"),
                     SLICE_LITERAL("us-east-1"), slice_text(service), key);
    sigv4_sign(f->signer, key, buffer_slice(&text), signature);
    add_header(f, "Authorization",
               arena_printf(arena,
                            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261123/us-east-1/%s/"
                            "aws4_request, SignedHeaders=%s, Signature=%s",
                            service, buffer_text(&names), signature));
}

static void send(struct fixture *f)
{
    aws_router_on_exchange(f->router, &f->exchange);
    assert_int_not_equal(f->status, 0);
}

static void assert_answer(struct fixture *f, int status, const char *text)
{
    if (f->status != status || strstr(buffer_text(&f->answer), text) == NULL)
        fail_msg("%d instead of %d, no '%s' in: %s", f->status, status, text,
                 buffer_text(&f->answer));
}

static void assert_header(struct fixture *f, const char *line)
{
    if (strstr(buffer_text(&f->answer_headers), line) == NULL)
        fail_msg("no '%s' in: %s", line, buffer_text(&f->answer_headers));
}

/* ---- signed requests ------------------------------------------------------------------------ */

static void aws_router__signed__scope_decides(void **state)
{
    static const struct {
        const char *scope;
        enum aws_service service;
    } cases[] = {
        {"dynamodb", AWS_SERVICE_DYNAMODB},
        {"lambda", AWS_SERVICE_LAMBDA},
        {"apigateway", AWS_SERVICE_APIGATEWAY},
        {"execute-api", AWS_SERVICE_EXECUTE_API},
        {"s3", AWS_SERVICE_S3},
        {"sqs", AWS_SERVICE_SQS},
        {"monitoring", AWS_SERVICE_MONITORING},
        {"logs", AWS_SERVICE_LOGS},
        {"iam", AWS_SERVICE_IAM},
    };
    struct fixture f;

    (void)state;
    fixture_open(&f);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        begin(&f, "POST", "/", "{}");
        sign(&f, cases[i].scope, "secret");
        send(&f);
        assert_int_equal(f.status, 200);
        assert_int_equal(f.handled_by, cases[i].service);
        assert_string_equal(f.handled_region, "us-east-1");
        assert_string_equal(f.handled_key, "AKIDEXAMPLE");
        assert_true(f.handled_signed);
        assert_int_equal(aws_router_counters(f.router, cases[i].service)->requests, 1);
    }
    fixture_close(&f);
}

static void aws_router__target_or_action__operation(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    begin(&f, "POST", "/", "{}");
    add_header(&f, "X-Amz-Target", "DynamoDB_20120810.PutItem");
    sign(&f, "dynamodb", "secret");
    send(&f);
    assert_int_equal(f.handled_by, AWS_SERVICE_DYNAMODB);
    assert_string_equal(f.handled_operation, "PutItem");

    begin(&f, "POST", "/", "Action=ListRoles&Version=2010-05-08");
    add_header(&f, "Content-Type", "application/x-www-form-urlencoded; charset=utf-8");
    sign(&f, "iam", "secret");
    send(&f);
    assert_int_equal(f.handled_by, AWS_SERVICE_IAM);
    assert_string_equal(f.handled_operation, "ListRoles");
    fixture_close(&f);
}

static void aws_router__wrong_secret__each_service_says_no_in_its_way(void **state)
{
    static const struct {
        const char *scope;
        int status;
        const char *text;
    } cases[] = {
        {"dynamodb", 403,
         "\"__type\":\"com.amazonaws.dynamodb.v20120810#InvalidSignatureException\""},
        {"logs", 403, "\"__type\":\"InvalidSignatureException\""},
        {"lambda", 403, "\"message\":\"The request signature we calculated"},
        {"sts", 403, "<Code>SignatureDoesNotMatch</Code>"},
        {"s3", 403, "<Error><Code>SignatureDoesNotMatch</Code>"},
    };
    struct fixture f;

    (void)state;
    fixture_open(&f);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        begin(&f, "POST", "/", "");
        sign(&f, cases[i].scope, "wrong");
        send(&f);
        assert_answer(&f, cases[i].status, cases[i].text);
    }
    assert_int_equal(f.handled, 0);
    assert_int_equal(aws_router_counters(f.router, AWS_SERVICE_LAMBDA)->auth_failures, 1);
    assert_int_equal(aws_router_counters(f.router, AWS_SERVICE_LAMBDA)->client_faults, 1);
    fixture_close(&f);
}

static void aws_router__service_without_handler__unknown_operation(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    begin(&f, "POST", "/", "");
    sign(&f, "sns", "secret");
    send(&f);
    assert_answer(&f, 400, "<ErrorResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\">");
    assert_answer(&f, 400, "<Code>InvalidAction</Code>");

    begin(&f, "POST", "/", "");
    sign(&f, "ec2", "secret");
    send(&f);
    assert_answer(&f, 404, "not known");
    fixture_close(&f);
}

/* ---- unsigned requests ---------------------------------------------------------------------- */

static void aws_router__unsigned__refused_in_the_shape_of_the_service(void **state)
{
    static const struct {
        const char *target;
        const char *header;
        const char *value;
        const char *text;
    } cases[] = {
        {"/", "X-Amz-Target", "DynamoDB_20120810.GetItem", "#MissingAuthenticationTokenException"},
        {"/", "X-Amz-Target", "Logs_20140328.PutLogEvents",
         "\"__type\":\"MissingAuthenticationTokenException\""},
        {"/?Action=GetCallerIdentity&Version=2011-06-15", "Accept", "*/*",
         "<Code>MissingAuthenticationToken</Code>"},
        {"/2015-03-31/functions", "Accept", "*/*", "\"message\":\"Missing Authentication Token\""},
        {"/restapis/abc", "Accept", "*/*", "\"message\":\"Missing Authentication Token\""},
        {"/restapis/abc/resources/r/_user_request_", "Accept", "*/*", ""},
        {"/bkt?AWSAccessKeyId=A&Signature=S&Expires=1", "Accept", "*/*",
         "<Code>InvalidRequest</Code>"},
        {"/bkt", "x-amz-content-sha256", "UNSIGNED-PAYLOAD", "<Code>AccessDenied</Code>"},
        {"/anything", "Authorization", "Bearer x", "\"message\":\"Missing Authentication Token\""},
    };
    struct fixture f;

    (void)state;
    fixture_open(&f);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        bool is_v2 = strstr(cases[i].target, "AWSAccessKeyId") != NULL;

        begin(&f, "GET", cases[i].target, "");
        add_header(&f, cases[i].header, cases[i].value);
        send(&f);
        assert_answer(&f, is_v2 ? 400 : 403, cases[i].text);
    }
    assert_int_equal(f.handled, 0);
    fixture_close(&f);
}

static void aws_router__invocations_and_own_paths__need_no_signature(void **state)
{
    static const struct {
        const char *host;
        const char *target;
        enum aws_service service;
    } cases[] = {
        {"h", "/restapis/abc/prod/_user_request_", AWS_SERVICE_EXECUTE_API},
        {"h", "/restapis/abc/prod/_user_request_/orders?x=1", AWS_SERVICE_EXECUTE_API},
        {"h", "/_aws/execute-api/abc/prod/orders", AWS_SERVICE_EXECUTE_API},
        {"abc.execute-api.local:4566", "/prod/orders", AWS_SERVICE_EXECUTE_API},
        {"abc.execute-api.eu.amazonaws.com", "/_skein/status", AWS_SERVICE_EXECUTE_API},
        {"h", "/_skein/status", AWS_SERVICE_ADMIN},
        {"h", "/_skein", AWS_SERVICE_ADMIN},
    };
    struct fixture f;

    (void)state;
    fixture_open(&f);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        begin(&f, "POST", cases[i].target, "");
        f.headers[0].value = slice_text(cases[i].host);
        add_header(&f, "Authorization", "Bearer of-the-user");
        send(&f);
        assert_int_equal(f.status, 200);
        assert_int_equal(f.handled_by, cases[i].service);
        assert_string_equal(f.handled_region, "eu-west-1");
        assert_false(f.handled_signed);
    }
    begin(&f, "POST", "/_skein/status", "");
    add_header(&f, "x-skein-region", "ap-southeast-1");
    send(&f);
    assert_string_equal(f.handled_region, "ap-southeast-1");
    fixture_close(&f);
}

static void aws_router__signed_invocation__verified(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    begin(&f, "POST", "/_aws/execute-api/abc/prod/x", "");
    sign(&f, "execute-api", "secret");
    send(&f);
    assert_int_equal(f.handled_by, AWS_SERVICE_EXECUTE_API);
    assert_true(f.handled_signed);

    begin(&f, "POST", "/_aws/execute-api/abc/prod/x", "");
    sign(&f, "execute-api", "wrong");
    send(&f);
    assert_answer(&f, 403, "\"message\":");
    fixture_close(&f);
}

static void aws_router__any_key__everything_believed(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open_with(&f, true);
    begin(&f, "POST", "/", "{}");
    sign(&f, "dynamodb", "wrong");
    send(&f);
    assert_int_equal(f.handled_by, AWS_SERVICE_DYNAMODB);
    assert_string_equal(f.handled_key, "AKIDEXAMPLE");

    begin(&f, "POST", "/", "{}");
    add_header(&f, "X-Amz-Target", "DynamoDB_20120810.PutItem");
    send(&f);
    assert_int_equal(f.handled_by, AWS_SERVICE_DYNAMODB);
    assert_string_equal(f.handled_operation, "PutItem");
    assert_string_equal(f.handled_key, "");

    begin(&f, "POST", "/", "{}");
    add_header(&f, "Authorization",
               "AWS4-HMAC-SHA256 Credential=test/20200101/us-west-2/lambda/aws4_request");
    send(&f);
    assert_int_equal(f.handled_by, AWS_SERVICE_LAMBDA);
    assert_string_equal(f.handled_region, "us-west-2");
    fixture_close(&f);
}

/* ---- STS ------------------------------------------------------------------------------------ */

static void call_sts(struct fixture *f, const char *form)
{
    begin(f, "POST", "/", form);
    add_header(f, "Content-Type", "application/x-www-form-urlencoded; charset=utf-8");
    sign(f, "sts", "secret");
    send(f);
}

static void sts__caller_identity__account_and_key(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    call_sts(&f, "Action=GetCallerIdentity&Version=2011-06-15");
    assert_answer(&f, 200,
                  "<GetCallerIdentityResponse "
                  "xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>"
                  "<Arn>arn:aws:iam::000000000000:root</Arn><UserId>AKIDEXAMPLE</UserId>"
                  "<Account>000000000000</Account></GetCallerIdentityResult><ResponseMetadata>"
                  "<RequestId>00000000-0000-4000-8000-000000000000</RequestId>"
                  "</ResponseMetadata></GetCallerIdentityResponse>");
    assert_header(&f, "Content-Type: text/xml\n");
    assert_header(&f, "x-amzn-RequestId: 00000000-0000-4000-8000-000000000000\n");
    fixture_close(&f);
}

static void sts__sessions__usable_everywhere(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    call_sts(&f, "Action=GetSessionToken&Version=2011-06-15&DurationSeconds=900");
    assert_answer(&f, 200,
                  "<Credentials><AccessKeyId>AKIDEXAMPLE</AccessKeyId>"
                  "<SecretAccessKey>secret</SecretAccessKey><SessionToken>");
    assert_answer(&f, 200, "<Expiration>2026-11-23T20:50:16.123Z</Expiration>");

    call_sts(&f,
             "Action=AssumeRole&Version=2011-06-15&RoleSessionName=s1&RoleArn=arn%3Aaws%3Aiam%3A"
             "%3A123456789012%3Arole%2Fpath%2Flambda-role");
    assert_answer(&f, 200, "<Arn>arn:aws:sts::000000000000:assumed-role/lambda-role/s1</Arn>");
    fixture_close(&f);
}

static void sts__bad_parameters__validation_error(void **state)
{
    static const char *const forms[] = {
        "Action=GetSessionToken&DurationSeconds=899",
        "Action=GetSessionToken&DurationSeconds=129601",
        "Action=GetSessionToken&DurationSeconds=99999999999999999999",
        "Action=GetSessionToken&DurationSeconds=x",
        "Action=AssumeRole&RoleSessionName=s1",
        "Action=AssumeRole&RoleArn=nonsense&RoleSessionName=s1",
        "Action=AssumeRole&RoleArn=arn:aws:iam::1:user/x&RoleSessionName=s1",
        "Action=AssumeRole&RoleArn=arn:aws:iam::1:role/&RoleSessionName=s1",
        "Action=AssumeRole&RoleArn=arn:aws:iam::1:role/x",
    };
    struct fixture f;

    (void)state;
    fixture_open(&f);
    for (size_t i = 0; i < ARRAY_COUNT(forms); i++) {
        call_sts(&f, forms[i]);
        assert_answer(&f, 400, "<Type>Sender</Type><Code>ValidationError</Code>");
    }
    call_sts(&f, "Action=Nothing");
    assert_answer(&f, 400, "<Code>InvalidAction</Code>");
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(aws_router__signed__scope_decides),
        cmocka_unit_test(aws_router__target_or_action__operation),
        cmocka_unit_test(aws_router__wrong_secret__each_service_says_no_in_its_way),
        cmocka_unit_test(aws_router__service_without_handler__unknown_operation),
        cmocka_unit_test(aws_router__unsigned__refused_in_the_shape_of_the_service),
        cmocka_unit_test(aws_router__invocations_and_own_paths__need_no_signature),
        cmocka_unit_test(aws_router__signed_invocation__verified),
        cmocka_unit_test(aws_router__any_key__everything_believed),
        cmocka_unit_test(sts__caller_identity__account_and_key),
        cmocka_unit_test(sts__sessions__usable_everywhere),
        cmocka_unit_test(sts__bad_parameters__validation_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
