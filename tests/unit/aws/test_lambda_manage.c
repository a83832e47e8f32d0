#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/aws/function_url.h"
#include "node/aws/lambda.h"
#include "node/sandbox/sandbox.h"
#include "proto/base/check.h"
#include "proto/wire/function.pb-c.h"
#include "tests/lib/fake_env.h"
#include "tests/lib/fake_exchange.h"
#include "tests/lib/fake_invoker.h"
#include "tests/lib/fake_view.h"

#include <stdio.h>

#define N "/2015-03-31/functions/N"
#define POLICY N "/policy"
#define CONCURRENCY "/2017-10-31/functions/N/concurrency"
#define PROVISIONED "/2019-09-30/functions/N/provisioned-concurrency"
#define EVENT_CONFIG "/2019-09-25/functions/N/event-invoke-config"
#define URL "/2021-10-31/functions/N/url"
#define TAGS "/2017-03-31/tags/arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3AN"
#define ARN "arn:aws:lambda:us-east-1:000000000000:function:N"

struct fixture {
    struct fake_env env;
    struct view *view;
    struct fake_invoker invoker;
    struct lambda *lambda;
    struct function_url *urls;
    struct fake_answer answer;
    uint32_t ready; /* sandboxes, as the counter says */
    struct lambda_ready *asked;
    struct env_task answer_task;
};

static bool supports(struct env *env, const char *runtime)
{
    (void)env;
    (void)runtime;
    return true;
}

static const struct env_sandbox machine = {.supports = supports};

static void answer_ready(struct env_task *task)
{
    struct fixture *f = container_of(task, struct fixture, answer_task);

    f->asked->cb(f->asked, f->ready);
}

static void count_ready(void *user, struct lambda_ready *asked, const char *function,
                        uint64_t version, lambda_ready_cb cb)
{
    struct fixture *f = user;

    assert_string_equal(function, "N");
    assert_int_equal(version, 1);
    asked->cb = cb;
    f->asked = asked;
    env_defer(&f->env.env, &f->answer_task, answer_ready);
}

static void put_function(struct fixture *f, uint64_t version, const char *revision_id)
{
    Skein__Wire__Function function = SKEIN__WIRE__FUNCTION__INIT;
    uint8_t bytes[512];

    function.name = (char *)"N";
    function.runtime = (char *)"python3.11";
    function.role = (char *)"arn:aws:iam::000000000000:role/r";
    function.handler = (char *)"app.handler";
    function.architecture = (char *)"x86_64";
    function.revision_id = (char *)(uintptr_t)revision_id;
    function.version = version;
    function.last_version = version == 0 ? 1 : 0;
    function.code_bytes = 100;
    assert_true(skein__wire__function__get_packed_size(&function) <= sizeof(bytes));
    fake_view_set(f->view, version == 0 ? "function/N" : "version/N/1",
                  slice_of(bytes, skein__wire__function__pack(&function, bytes)));
}

static void put_alias(struct fixture *f)
{
    Skein__Wire__FunctionAlias alias = SKEIN__WIRE__FUNCTION_ALIAS__INIT;
    uint8_t bytes[256];

    alias.name = (char *)"live";
    alias.function = (char *)"N";
    alias.version = 1;
    alias.revision_id = (char *)"alias-revision";
    fake_view_set(f->view, "alias/N/live",
                  slice_of(bytes, skein__wire__function_alias__pack(&alias, bytes)));
}

static int set_up(void **state)
{
    struct fixture *f = check_calloc(1, sizeof(*f));

    fake_env_init(&f->env);
    f->env.env.sandbox = &machine;
    f->view = fake_view_new(&f->env.env);
    const struct lambda_options options = {
        .env = &f->env.env,
        .view = f->view,
        .invoker = fake_invoker_as_invoker(&f->invoker),
        .ready_counter = {.user = f, .start = count_ready},
    };

    f->lambda = lambda_new(&options);
    f->urls = function_url_new(&options);
    put_function(f, 0, "first-revision");
    put_function(f, 1, "version-revision");
    put_alias(f);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    function_url_free(f->urls);
    lambda_free(f->lambda);
    fake_answer_close(&f->answer);
    view_free(f->view);
    fake_env_close(&f->env);
    free(f);
    return 0;
}

/* ---- asking ---- */

static int call(struct fixture *f, const char *method, const char *target, const char *body)
{
    struct http_exchange *exchange =
        fake_exchange_new(&f->answer, method, target, slice_text(body));

    fake_exchange_add_header(exchange, "Host", "127.0.0.1:4566");
    lambda_on_request(f->lambda, fake_exchange_request(exchange, AWS_SERVICE_LAMBDA));
    fake_env_advance(&f->env, 200000);
    assert_int_equal(f->answer.count, 1);
    return f->answer.status;
}

static void expect(struct fixture *f, int status, const char *method, const char *target,
                   const char *body, const char *part)
{
    int found = call(f, method, target, body);
    const char *text = fake_answer_text(&f->answer);

    if (found != status || strstr(text, part) == NULL)
        fail_msg("%s %s %s: wanted %d %s, got %d %s", method, target, body, status, part, found,
                 text);
}

static void expect_fault(struct fixture *f, const char *code, const char *method,
                         const char *target, const char *body, const char *part)
{
    const char *type;

    (void)call(f, method, target, body);
    type = fake_answer_header(&f->answer, "x-amzn-ErrorType");
    if (type == NULL || strcmp(type, code) != 0 ||
        strstr(fake_answer_text(&f->answer), part) == NULL)
        fail_msg("%s %s %s: wanted %s %s, got %s %s", method, target, body, code, part,
                 type != NULL ? type : "no fault", fake_answer_text(&f->answer));
}

/* ---- permissions ---- */

static void lambda_permission__added__policy_in_lambdas_own_words(void **state)
{
    struct fixture *f = *state;

    expect(f, 201, "POST", POLICY,
           "{\"StatementId\":\"s\",\"Action\":\"lambda:InvokeFunction\",\"Principal\":"
           "\"s3.amazonaws.com\",\"SourceArn\":\"arn:aws:s3:::b\",\"SourceAccount\":"
           "\"123456789012\"}",
           "{\"Statement\":\"{\\\"Sid\\\":\\\"s\\\",\\\"Effect\\\":\\\"Allow\\\",\\\"Principal\\\":"
           "{\\\"Service\\\":\\\"s3.amazonaws.com\\\"},\\\"Action\\\":\\\"lambda:InvokeFunction\\\""
           ",\\\"Resource\\\":\\\"" ARN "\\\",\\\"Condition\\\":{\\\"StringEquals\\\":"
           "{\\\"AWS:SourceAccount\\\":\\\"123456789012\\\"},\\\"ArnLike\\\":{"
           "\\\"AWS:SourceArn\\\":\\\"arn:aws:s3:::b\\\"}}}\"}");
    expect(f, 200, "GET", POLICY, "", "\\\"Id\\\":\\\"default\\\"");
    expect(f, 201, "POST", POLICY "?Qualifier=live",
           "{\"StatementId\":\"s\",\"Action\":\"*\",\"Principal\":\"111122223333\"}",
           "{\\\"AWS\\\":\\\"arn:aws:iam::111122223333:root\\\"}");
    expect(f, 200, "GET", POLICY "?Qualifier=live", "", "\\\"Resource\\\":\\\"" ARN ":live\\\"");
    expect_fault(f, "ResourceNotFoundException", "GET", POLICY "?Qualifier=1", "",
                 "The resource you requested does not exist.");
}

static void lambda_permission__bad_members__documented_errors(void **state)
{
    struct fixture *f = *state;

    expect_fault(f, "ValidationException", "POST", POLICY, "{}", "Value null at 'statementId'");
    expect_fault(f, "ValidationException", "POST", POLICY,
                 "{\"StatementId\":\"a b\",\"Action\":\"*\",\"Principal\":\"*\"}",
                 "Value 'a b' at 'statementId'");
    expect_fault(f, "ValidationException", "POST", POLICY,
                 "{\"StatementId\":\"a\",\"Action\":\"s3:x\",\"Principal\":\"*\"}",
                 "Value 's3:x' at 'action'");
    expect_fault(f, "InvalidParameterValueException", "POST", POLICY,
                 "{\"StatementId\":\"a\",\"Action\":\"*\",\"Principal\":\"nobody\"}",
                 "The provided principal was invalid");
    expect_fault(f, "InvalidParameterValueException", "POST", POLICY "?Qualifier=%24LATEST",
                 "{\"StatementId\":\"a\",\"Action\":\"*\",\"Principal\":\"*\"}", "for $LATEST");
    assert_int_equal(fake_view_count(f->view), 3);
}

static void lambda_permission__revision_id__changes_with_the_policy_and_is_checked(void **state)
{
    struct fixture *f = *state;

    expect_fault(
        f, "PreconditionFailedException", "POST", POLICY,
        "{\"StatementId\":\"a\",\"Action\":\"*\",\"Principal\":\"*\",\"RevisionId\":\"x\"}",
        "does not match");
    expect(f, 201, "POST", POLICY,
           "{\"StatementId\":\"a\",\"Action\":\"*\",\"Principal\":\"*\",\"RevisionId\":"
           "\"first-revision\"}",
           "Statement");
    expect_fault(f, "ResourceConflictException", "POST", POLICY,
                 "{\"StatementId\":\"a\",\"Action\":\"*\",\"Principal\":\"*\"}",
                 "The statement id (a) provided already exists");
    expect_fault(f, "PreconditionFailedException", "DELETE", POLICY "/a?RevisionId=first-revision",
                 "", "does not match");
    expect_fault(f, "ResourceNotFoundException", "DELETE", POLICY "/b", "", "Statement b is not");
    expect(f, 204, "DELETE", POLICY "/a", "", "");
    expect_fault(f, "ResourceNotFoundException", "DELETE", POLICY "/a", "", "No policy is");
    assert_int_equal(fake_view_count(f->view), 3); /* a record without content is gone */
}

static void lambda_permission__too_long__refused(void **state)
{
    struct fixture *f = *state;
    char body[512];
    int status = 201;

    for (int i = 0; i < 200 && status == 201; i++) {
        snprintf(body, sizeof(body),
                 "{\"StatementId\":\"statement-%d\",\"Action\":\"lambda:InvokeFunction\","
                 "\"Principal\":\"s3.amazonaws.com\"}",
                 i);
        status = call(f, "POST", POLICY, body);
    }
    assert_string_equal(fake_answer_header(&f->answer, "x-amzn-ErrorType"),
                        "PolicyLengthExceededException");
}

/* ---- concurrency ---- */

static void lambda_concurrency__put_get_delete__and_the_account_knows(void **state)
{
    struct fixture *f = *state;

    expect(f, 200, "GET", CONCURRENCY, "", "{}");
    expect(f, 200, "PUT", CONCURRENCY, "{\"ReservedConcurrentExecutions\":5}",
           "{\"ReservedConcurrentExecutions\":5}");
    expect(f, 200, "GET", N, "", "\"Concurrency\":{\"ReservedConcurrentExecutions\":5}");
    expect(f, 200, "GET", "/2016-08-19/account-settings", "",
           "\"ConcurrentExecutions\":1000,\"UnreservedConcurrentExecutions\":995},"
           "\"AccountUsage\":{\"TotalCodeSize\":200,\"FunctionCount\":1}}");
    expect(f, 204, "DELETE", CONCURRENCY, "", "");
    expect(f, 200, "GET", CONCURRENCY, "", "{}");
    expect_fault(f, "InvalidParameterValueException", "PUT", CONCURRENCY,
                 "{\"ReservedConcurrentExecutions\":901}", "below its minimum value of [100]");
    expect_fault(f, "ValidationException", "PUT", CONCURRENCY,
                 "{\"ReservedConcurrentExecutions\":-1}", "greater than or equal to 0");
    expect_fault(f, "ValidationException", "PUT", CONCURRENCY, "{}", "Value null");
    expect_fault(f, "InvalidParameterValueException", "PUT", CONCURRENCY "?Qualifier=1",
                 "{\"ReservedConcurrentExecutions\":1}", "permitted on Lambda functions only");
}

static void lambda_provisioned__put_get_list_delete__ready_when_the_nodes_say_so(void **state)
{
    struct fixture *f = *state;

    expect_fault(f, "ProvisionedConcurrencyConfigNotFoundException", "GET",
                 PROVISIONED "?Qualifier=live", "", "No Provisioned Concurrency Config found");
    expect(f, 202, "PUT", PROVISIONED "?Qualifier=live", "{\"ProvisionedConcurrentExecutions\":2}",
           "\"AllocatedProvisionedConcurrentExecutions\":0,\"Status\":\"IN_PROGRESS\"");
    f->ready = 1;
    expect(f, 200, "GET", PROVISIONED "?Qualifier=live", "",
           "\"AllocatedProvisionedConcurrentExecutions\":1,\"Status\":\"IN_PROGRESS\"");
    f->ready = 3;
    expect(f, 200, "GET", PROVISIONED "?Qualifier=live", "",
           "{\"RequestedProvisionedConcurrentExecutions\":2,"
           "\"AvailableProvisionedConcurrentExecutions\":2,"
           "\"AllocatedProvisionedConcurrentExecutions\":2,\"Status\":\"READY\"");
    expect(f, 200, "GET", PROVISIONED "?List=ALL", "",
           "{\"ProvisionedConcurrencyConfigs\":[{\"FunctionArn\":\"" ARN ":live\"");
    expect_fault(f, "ResourceConflictException", "PUT", PROVISIONED "?Qualifier=1",
                 "{\"ProvisionedConcurrentExecutions\":2}", "Version is pointed by");
    expect_fault(f, "InvalidParameterValueException", "PUT", CONCURRENCY,
                 "{\"ReservedConcurrentExecutions\":1}", "total provisioned concurrency [2]");
    expect(f, 204, "DELETE", PROVISIONED "?Qualifier=live", "", "");
    expect_fault(f, "InvalidParameterValueException", "PUT", PROVISIONED "?Qualifier=%24LATEST",
                 "{\"ProvisionedConcurrentExecutions\":2}", "unpublished function versions");
    expect_fault(f, "ValidationException", "PUT", PROVISIONED "?Qualifier=1",
                 "{\"ProvisionedConcurrentExecutions\":0}", "greater than or equal to 1");
}

/* ---- tags, configuration of asynchronous calls ---- */

static void lambda_tag__set_and_removed__as_asked(void **state)
{
    struct fixture *f = *state;

    expect(f, 204, "POST", TAGS, "{\"Tags\":{\"a\":\"1\",\"b c\":\"2\"}}", "");
    expect(f, 204, "POST", TAGS, "{\"Tags\":{\"a\":\"3\"}}", "");
    expect(f, 200, "GET", TAGS, "", "{\"Tags\":{\"a\":\"3\",\"b c\":\"2\"}}");
    expect(f, 200, "GET", N, "", "\"Tags\":{\"a\":\"3\",\"b c\":\"2\"}");
    expect(f, 204, "DELETE", TAGS "?tagKeys=b%20c&tagKeys=zzz", "", "");
    expect(f, 200, "GET", TAGS, "", "{\"Tags\":{\"a\":\"3\"}}");
    expect_fault(f, "ValidationException", "DELETE", TAGS, "", "Value null at 'tagKeys'");
    expect_fault(f, "InvalidParameterValueException", "POST", TAGS, "{\"Tags\":{}}", "An error");
    expect_fault(f, "InvalidParameterValueException", "POST", TAGS "%3A1", "{\"Tags\":{}}",
                 "aliases and versions are not supported");
    expect_fault(f, "ValidationException", "GET", "/2017-03-31/tags/N", "", "at 'resource'");
}

static void lambda_event_config__life__documented_answers(void **state)
{
    struct fixture *f = *state;

    expect_fault(f, "ResourceNotFoundException", "GET", EVENT_CONFIG, "",
                 "The function " ARN ":$LATEST doesn't have an EventInvokeConfig");
    expect_fault(f, "InvalidParameterValueException", "PUT", EVENT_CONFIG, "{}",
                 "You must specify at least one");
    expect(f, 200, "PUT", EVENT_CONFIG "?Qualifier=live", "{\"MaximumRetryAttempts\":0}",
           "\"FunctionArn\":\"" ARN ":live\",\"MaximumRetryAttempts\":0,\"DestinationConfig\":"
           "{\"OnSuccess\":{},\"OnFailure\":{}}}");
    expect(f, 200, "POST", EVENT_CONFIG "?Qualifier=live",
           "{\"MaximumEventAgeInSeconds\":60,\"DestinationConfig\":{\"OnFailure\":{\"Destination\":"
           "\"arn:aws:sqs:us-east-1:000000000000:q\"}}}",
           "\"MaximumRetryAttempts\":0,\"MaximumEventAgeInSeconds\":60");
    expect(f, 200, "PUT", EVENT_CONFIG "?Qualifier=live", "{\"MaximumEventAgeInSeconds\":61}",
           ":live\",\"MaximumEventAgeInSeconds\":61");
    expect(f, 200, "GET", EVENT_CONFIG "/list", "", "{\"FunctionEventInvokeConfigs\":[{");
    expect_fault(f, "ValidationException", "PUT", EVENT_CONFIG, "{\"MaximumRetryAttempts\":3}",
                 "less than or equal to 2");
    expect_fault(f, "InvalidParameterValueException", "PUT", EVENT_CONFIG,
                 "{\"DestinationConfig\":{\"OnSuccess\":{\"Destination\":\"" ARN "\"}}}",
                 "for itself");
    expect(f, 204, "DELETE", EVENT_CONFIG "?Qualifier=live", "", "");
}

/* ---- what goes with what ---- */

static void lambda_settings__alias_and_function_deleted__go_with_them(void **state)
{
    struct fixture *f = *state;

    expect(f, 200, "PUT", EVENT_CONFIG "?Qualifier=live", "{\"MaximumRetryAttempts\":0}", "");
    assert_int_equal(fake_view_count(f->view), 4);
    expect(f, 204, "DELETE", N "/aliases/live", "", "");
    assert_int_equal(fake_view_count(f->view), 2);

    expect(f, 204, "POST", TAGS, "{\"Tags\":{\"a\":\"1\"}}", "");
    expect(f, 204, "DELETE", N, "", "");
    assert_int_equal(fake_view_count(f->view), 0);
}

static void delete_settings(void *user, struct view *view)
{
    (void)user;
    fake_view_set(view, "settings/N", (struct slice){0});
}

static void lambda_settings__changed_meanwhile__begun_again_on_what_is_there(void **state)
{
    struct fixture *f = *state;

    expect(f, 204, "POST", TAGS, "{\"Tags\":{\"a\":\"1\"}}", "");
    fake_view_before_update(f->view, NULL, delete_settings);
    expect(f, 204, "POST", TAGS, "{\"Tags\":{\"b\":\"1\"}}", "");
    expect(f, 200, "GET", TAGS, "", "{\"Tags\":{\"b\":\"1\"}}");
}

static void delete_function(void *user, struct view *view)
{
    (void)user;
    fake_view_set(view, "function/N", (struct slice){0});
}

static void lambda_settings__function_deleted_meanwhile__not_found(void **state)
{
    struct fixture *f = *state;

    fake_view_before_update(f->view, NULL, delete_function);
    expect_fault(f, "ResourceNotFoundException", "POST", TAGS, "{\"Tags\":{\"b\":\"1\"}}",
                 "Function not found: " ARN);
}

/* ---- the configuration ---- */

static void lambda_configuration__surroundings__kept_and_shown(void **state)
{
    struct fixture *f = *state;

    expect(f, 200, "GET", N "/configuration", "",
           "\"TracingConfig\":{\"Mode\":\"PassThrough\"},\"SnapStart\":{\"ApplyOn\":\"None\","
           "\"OptimizationStatus\":\"Off\"},\"LoggingConfig\":{\"LogFormat\":\"Text\",\"LogGroup\":"
           "\"/aws/lambda/N\"}");
    expect(f, 200, "PUT", N "/configuration",
           "{\"VpcConfig\":{\"SubnetIds\":[\"s\"],\"SecurityGroupIds\":[\"g\"]},\"KMSKeyArn\":"
           "\"arn:aws:kms:x\",\"DeadLetterConfig\":{\"TargetArn\":\"arn:aws:sqs:q\"},"
           "\"TracingConfig\":{\"Mode\":\"Active\"},\"LoggingConfig\":{\"LogFormat\":\"JSON\","
           "\"SystemLogLevel\":\"WARN\"}}",
           "\"VpcConfig\":{\"SubnetIds\":[\"s\"],\"SecurityGroupIds\":[\"g\"],\"VpcId\":\"\","
           "\"Ipv6AllowedForDualStack\":false},\"DeadLetterConfig\":{\"TargetArn\":"
           "\"arn:aws:sqs:q\"},\"KMSKeyArn\":\"arn:aws:kms:x\",\"TracingConfig\":{\"Mode\":"
           "\"Active\"}");
    expect(f, 200, "GET", N "/configuration", "", "\"SystemLogLevel\":\"WARN\"");
    expect(f, 200, "PUT", N "/configuration",
           "{\"VpcConfig\":{\"SubnetIds\":[],\"SecurityGroupIds\":[]}}",
           "\"Version\":\"$LATEST\","
           "\"DeadLetterConfig\"");
    expect_fault(f, "ValidationException", "PUT", N "/configuration",
                 "{\"TracingConfig\":{\"Mode\":\"On\"}}", "enum value set: [Active, PassThrough]");
    expect_fault(f, "InvalidParameterValueException", "PUT", N "/configuration",
                 "{\"DeadLetterConfig\":{\"TargetArn\":\"arn:aws:s3:::b\"}}", "is invalid");
    expect_fault(f, "InvalidParameterValueException", "PUT", N "/configuration",
                 "{\"LoggingConfig\":{\"LogFormat\":\"Text\",\"SystemLogLevel\":\"WARN\"}}",
                 "log format as JSON");
}

static void lambda_list__function_version_all__versions_behind_their_latest(void **state)
{
    struct fixture *f = *state;

    expect(f, 200, "GET", "/2015-03-31/functions?FunctionVersion=ALL&MaxItems=1", "",
           "\"FunctionArn\":\"" ARN ":$LATEST\"");
    expect(f, 200, "GET", "/2015-03-31/functions?FunctionVersion=ALL&MaxItems=1&Marker=N%3A0", "",
           "\"FunctionArn\":\"" ARN ":1\"");
    expect(f, 200, "GET", "/2015-03-31/functions?FunctionVersion=ALL&Marker=N%3A1", "",
           "{\"Functions\":[]}");
    expect_fault(f, "ValidationException", "GET", "/2015-03-31/functions?FunctionVersion=1", "",
                 "functionVersion");
}

static void lambda_unsupported__refused_by_name(void **state)
{
    struct fixture *f = *state;

    expect_fault(f, "InvalidParameterValueException", "GET", "/2015-03-31/event-source-mappings",
                 "", "Event source mappings are not supported");
    expect_fault(f, "InvalidParameterValueException", "POST", "/2020-04-22/code-signing-configs",
                 "{}", "Code signing configurations are not");
}

/* ---- URLs ---- */

/* The path form of the URL that was made. */
static void make_url(struct fixture *f, const char *body, char path[128])
{
    const char *start;
    size_t size;

    assert_int_equal(call(f, "POST", URL, body), 201);
    start = strstr(fake_answer_text(&f->answer), "/_aws/lambda-url/");
    assert_non_null(start);
    size = strcspn(start, "\"");
    snprintf(path, 128, "%.*s", (int)size, start);
}

static struct http_exchange *ask_url(struct fixture *f, const char *method, const char *path,
                                     const char *more, const char *body)
{
    char target[256];

    snprintf(target, sizeof(target), "%s%s", path, more);
    return fake_exchange_new(&f->answer, method, target, slice_text(body));
}

static void start_url(struct fixture *f, struct http_exchange *exchange)
{
    function_url_on_request(f->urls, fake_exchange_request(exchange, AWS_SERVICE_FUNCTION_URL));
}

static void lambda_url__life__documented_answers(void **state)
{
    struct fixture *f = *state;
    char path[128];

    expect_fault(f, "ValidationException", "POST", URL, "{}", "Value null at 'authType'");
    expect_fault(f, "ValidationException", "POST", URL, "{\"AuthType\":\"X\"}", "[NONE, AWS_IAM]");
    expect_fault(f, "ValidationException", "POST", URL "?Qualifier=1", "{\"AuthType\":\"NONE\"}",
                 "Value '1' at 'qualifier'");
    expect_fault(f, "ResourceNotFoundException", "GET", URL, "", "The resource you requested");
    make_url(f, "{\"AuthType\":\"NONE\",\"Cors\":{\"AllowOrigins\":[\"*\"],\"MaxAge\":5}}", path);
    expect_fault(f, "ResourceConflictException", "POST", URL, "{\"AuthType\":\"NONE\"}",
                 "FunctionUrlConfig exists");
    expect(f, 200, "GET", URL, "", "\"Cors\":{\"AllowOrigins\":[\"*\"],\"MaxAge\":5}");
    expect(f, 200, "PUT", URL, "{\"AuthType\":\"AWS_IAM\"}", "\"AuthType\":\"AWS_IAM\",\"Cors\"");
    expect(f, 200, "GET", "/2021-10-31/functions/N/urls", "", "{\"FunctionUrlConfigs\":[{");
    expect(f, 204, "DELETE", URL, "", "");
    start_url(f, ask_url(f, "GET", path, "", ""));
    assert_int_equal(f->answer.status, 403);
}

static void function_url__request__is_an_event_of_format_2(void **state)
{
    struct fixture *f = *state;
    static const char *const parts[] = {
        ("{\"version\":\"2.0\",\"routeKey\":\"$default\",\"rawPath\":\"/a/b%20c\","
         "\"rawQueryString\":\"x=1&y=2&x=3\""),
        "\"queryStringParameters\":{\"x\":\"1,3\",\"y\":\"2\"}",
        "\"cookies\":[\"one=1\",\"two=2\"]",
        "\"x-a\":\"1,2\"",
        "\"accountId\":\"anonymous\"",
        "\"http\":{\"method\":\"POST\",\"path\":\"/a/b%20c\"",
        "\"stage\":\"$default\"",
        "\"body\":\"{\\\"k\\\":1}\",\"isBase64Encoded\":false}",
    };
    struct http_exchange *exchange;
    char path[128];
    char *event;

    make_url(f, "{\"AuthType\":\"NONE\"}", path);
    exchange = ask_url(f, "POST", path, "a/b%20c?x=1&y=2&x=3", "{\"k\":1}");
    fake_exchange_add_header(exchange, "Content-Type", "application/json");
    fake_exchange_add_header(exchange, "Cookie", "one=1; two=2");
    fake_exchange_add_header(exchange, "X-A", "1");
    fake_exchange_add_header(exchange, "x-a", "2");
    start_url(f, exchange);

    assert_non_null(fake_invoker_first(&f->invoker));
    event = slice_strdup(fake_invoker_first(&f->invoker)->payload);
    for (size_t i = 0; i < ARRAY_COUNT(parts); i++)
        if (strstr(event, parts[i]) == NULL)
            fail_msg("no %s in %s", parts[i], event);
    free(event);
    fake_invoker_finish(&f->invoker, INVOKE_OK,
                        "{\"statusCode\":201,\"headers\":{\"X-B\":\"2\"},\"cookies\":[\"c=1\"],"
                        "\"body\":\"made\"}");
    assert_int_equal(f->answer.status, 201);
    assert_string_equal(fake_answer_text(&f->answer), "made");
    assert_string_equal(fake_answer_header(&f->answer, "Set-Cookie"), "c=1");
}

static void function_url__outcomes__documented_answers(void **state)
{
    struct fixture *f = *state;
    static const struct {
        enum invoke_outcome outcome;
        const char *payload;
        int status;
        const char *text;
    } cases[] = {
        {INVOKE_OK, "\"hello\"", 200, "\"hello\""},
        {INVOKE_OK, "{\"a\":1}", 200, "{\"a\":1}"},
        {INVOKE_OK, "{\"statusCode\":\"x\"}", 502, "Internal Server Error"},
        {INVOKE_OK, "{\"statusCode\":200,\"body\":\"aGk=\",\"isBase64Encoded\":true}", 200, "hi"},
        {INVOKE_FUNCTION_ERROR, "{}", 502, "Internal Server Error"},
        {INVOKE_THROTTLED, "", 429, "ConcurrentInvocationLimitExceeded"},
        {INVOKE_UNAVAILABLE, "", 503, "Service Unavailable"},
    };
    char path[128];

    make_url(f, "{\"AuthType\":\"NONE\"}", path);
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        start_url(f, ask_url(f, "GET", path, "", ""));
        fake_invoker_finish(&f->invoker, cases[i].outcome, cases[i].payload);
        assert_int_equal(f->answer.status, cases[i].status);
        assert_non_null(strstr(fake_answer_text(&f->answer), cases[i].text));
    }
}

static void function_url__aws_iam_unsigned__forbidden_and_nothing_runs(void **state)
{
    struct fixture *f = *state;
    char path[128];

    make_url(f, "{\"AuthType\":\"AWS_IAM\"}", path);
    start_url(f, ask_url(f, "GET", path, "", ""));
    assert_int_equal(f->answer.status, 403);
    assert_int_equal(f->invoker.started, 0);
}

static void function_url__cors__preflight_is_answered_and_answers_have_headers(void **state)
{
    struct fixture *f = *state;
    struct http_exchange *exchange;
    char path[128];

    make_url(f,
             "{\"AuthType\":\"NONE\",\"Cors\":{\"AllowOrigins\":[\"https://a.b\"],\"AllowMethods\":"
             "[\"GET\",\"PUT\"],\"AllowCredentials\":true,\"MaxAge\":9}}",
             path);
    exchange = ask_url(f, "OPTIONS", path, "", "");
    fake_exchange_add_header(exchange, "Origin", "https://a.b");
    fake_exchange_add_header(exchange, "Access-Control-Request-Method", "PUT");
    start_url(f, exchange);
    assert_int_equal(f->answer.status, 200);
    assert_int_equal(f->invoker.started, 0);
    assert_string_equal(fake_answer_header(&f->answer, "Access-Control-Allow-Methods"), "GET, PUT");
    assert_string_equal(fake_answer_header(&f->answer, "Access-Control-Max-Age"), "9");

    exchange = ask_url(f, "GET", path, "", "");
    fake_exchange_add_header(exchange, "Origin", "https://a.b");
    start_url(f, exchange);
    fake_invoker_finish(&f->invoker, INVOKE_OK, "1");
    assert_string_equal(fake_answer_header(&f->answer, "Access-Control-Allow-Origin"),
                        "https://a.b");

    exchange = ask_url(f, "GET", path, "", "");
    fake_exchange_add_header(exchange, "Origin", "https://other");
    start_url(f, exchange);
    fake_invoker_finish(&f->invoker, INVOKE_OK, "1");
    assert_null(fake_answer_header(&f->answer, "Access-Control-Allow-Origin"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(lambda_permission__added__policy_in_lambdas_own_words),
        TEST(lambda_permission__bad_members__documented_errors),
        TEST(lambda_permission__revision_id__changes_with_the_policy_and_is_checked),
        TEST(lambda_permission__too_long__refused),
        TEST(lambda_concurrency__put_get_delete__and_the_account_knows),
        TEST(lambda_provisioned__put_get_list_delete__ready_when_the_nodes_say_so),
        TEST(lambda_tag__set_and_removed__as_asked),
        TEST(lambda_event_config__life__documented_answers),
        TEST(lambda_settings__alias_and_function_deleted__go_with_them),
        TEST(lambda_settings__changed_meanwhile__begun_again_on_what_is_there),
        TEST(lambda_settings__function_deleted_meanwhile__not_found),
        TEST(lambda_configuration__surroundings__kept_and_shown),
        TEST(lambda_list__function_version_all__versions_behind_their_latest),
        TEST(lambda_unsupported__refused_by_name),
        TEST(lambda_url__life__documented_answers),
        TEST(function_url__request__is_an_event_of_format_2),
        TEST(function_url__outcomes__documented_answers),
        TEST(function_url__aws_iam_unsigned__forbidden_and_nothing_runs),
        TEST(function_url__cors__preflight_is_answered_and_answers_have_headers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
