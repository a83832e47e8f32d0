#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/aws/openapi.h"
#include "proto/base/check.h"

#define INTEGRATION                                                                                \
    "{\"x-amazon-apigateway-integration\":{\"type\":\"aws_proxy\",\"httpMethod\":\"POST\","        \
    "\"uri\":\"arn:aws:lambda:us-east-1:123456789012:function:F\"}}"
#define DOCUMENT(paths)                                                                            \
    "{\"openapi\":\"3.0.1\",\"info\":{\"title\":\"T\",\"version\":\"1\"},\"paths\":" paths "}"

static enum error read_text(struct arena *arena, const char *text, struct openapi *document,
                            const char **why)
{
    *why = "";
    return openapi_read(arena, slice_text(text), document, why);
}

static void openapi__the_articles_document__one_path_one_function(void **state)
{
    static const char text[] =
        "{\n  \"openapi\": \"3.0.1\",\n  \"info\": {\n    \"title\": \"E-Commerce API\",\n"
        "    \"version\": \"1.0\"\n  },\n  \"paths\": {\n    \"/orders\": {\n      \"post\": {\n"
        "        \"x-amazon-apigateway-integration\": {\n          \"httpMethod\": \"POST\",\n"
        "          \"uri\": \"arn:aws:lambda:us-east-1:123456789012:function:ProcessOrder\",\n"
        "          \"type\": \"AWS_PROXY\"\n        }\n      }\n    }\n  }\n}\n";
    struct openapi document;
    struct arena arena;
    const char *why;

    (void)state;
    arena_init(&arena);
    assert_int_equal(read_text(&arena, text, &document, &why), OK);

    assert_string_equal(document.title, "E-Commerce API");
    assert_string_equal(document.version, "1.0");
    assert_int_equal(document.path_count, 1);
    assert_string_equal(document.paths[0].path, "/orders");
    assert_int_equal(document.paths[0].operation_count, 1);
    assert_string_equal(document.paths[0].operations[0].method, "POST");
    assert_string_equal(document.paths[0].operations[0].integration.type, "AWS_PROXY");
    assert_string_equal(document.paths[0].operations[0].integration.function, "ProcessOrder");
    assert_int_equal(document.paths[0].operations[0].integration.timeout_ms, 29000);
    assert_int_equal(document.warning_count, 0);
    arena_close(&arena);
}

static void openapi__swagger_2_any_method_and_path_uri__are_read(void **state)
{
    static const char text[] =
        "{\"swagger\":\"2.0\",\"info\":{\"title\":\"S\",\"version\":\"2\"},"
        "\"x-amazon-apigateway-binary-media-types\":[\"image/png\"],"
        "\"paths\":{\"/{proxy+}/\":{\"x-amazon-apigateway-any-method\":{\"operationId\":\"all\","
        "\"x-amazon-apigateway-integration\":{\"type\":\"AWS_PROXY\",\"httpMethod\":\"POST\","
        "\"timeoutInMillis\":5000,"
        "\"uri\":\"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/"
        "arn:aws:lambda:us-east-1:000000000000:function:All/invocations\"}},"
        "\"options\":{\"x-amazon-apigateway-integration\":{\"type\":\"mock\"}}}}}";
    struct openapi document;
    struct arena arena;
    const char *why;

    (void)state;
    arena_init(&arena);
    assert_int_equal(read_text(&arena, text, &document, &why), OK);

    assert_string_equal(document.paths[0].path, "/{proxy+}");
    assert_string_equal(document.paths[0].operations[0].method, "ANY");
    assert_string_equal(document.paths[0].operations[0].name, "all");
    assert_string_equal(document.paths[0].operations[0].integration.function, "All");
    assert_int_equal(document.paths[0].operations[0].integration.timeout_ms, 5000);
    assert_string_equal(document.paths[0].operations[1].method, "OPTIONS");
    assert_string_equal(document.paths[0].operations[1].integration.type, "MOCK");
    assert_string_equal(document.binary_media_types[0], "image/png");
    arena_close(&arena);
}

static void openapi__wrong_documents__say_what_and_where(void **state)
{
    static const struct {
        const char *text;
        const char *why;
    } cases[] = {
        {"", "document: is empty"},
        {"openapi: 3.0.1\n", "document: only JSON is read by this cluster; convert YAML to JSON "
                             "first"},
        {"{\"openapi\":\"3.0.1\"", "document: '}' expected near end of file at line 1, column 18"},
        {"{}", "openapi: the document must say which version it is: \"openapi\": \"3.0.1\" or "
               "\"swagger\": \"2.0\""},
        {"{\"openapi\":3}", "openapi: must be a string"},
        {"{\"openapi\":\"3.0.1\",\"info\":[]}", "info: must be an object"},
        {"{\"openapi\":\"3.0.1\",\"info\":{}}", "info.title: is missing"},
        {"{\"openapi\":\"3.0.1\",\"info\":{\"title\":1}}", "info.title: must be a string"},
        {"{\"openapi\":\"3.0.1\",\"info\":{\"title\":\"T\"}}", "paths: is missing"},
        {DOCUMENT("[]"), "paths: must be an object"},
        {DOCUMENT("{\"orders\":{}}"), "paths.orders: a path must start with a slash"},
        {DOCUMENT("{\"/a\":{},\"/a/\":{}}"), "paths./a/: the path is there twice"},
        {DOCUMENT("{\"/a\":1}"), "paths./a: must be an object"},
        {DOCUMENT("{\"/a\":{\"$ref\":\"#/x\"}}"), "paths./a.$ref: references are not supported "
                                                  "here"},
        {DOCUMENT("{\"/a\":{\"get\":1}}"), "paths./a.get: must be an object"},
        {DOCUMENT("{\"/a\":{\"get\":{\"security\":[{\"k\":[]}]}}}"),
         "paths./a.get.security: is not supported by this cluster yet: the API would be open"},
        {DOCUMENT("{\"/a\":{\"get\":{\"x-amazon-apigateway-integration\":7}}}"),
         "paths./a.get.x-amazon-apigateway-integration: must be an object"},
        {DOCUMENT("{\"/a\":{\"get\":{\"x-amazon-apigateway-integration\":{\"type\":7}}}}"),
         "paths./a.get.x-amazon-apigateway-integration.type: must be a string"},
        {DOCUMENT("{\"/a\":{\"get\":{\"x-amazon-apigateway-integration\":{\"type\":\"x\"}}}}"),
         "paths./a.get.x-amazon-apigateway-integration: type: 'x' is no integration type"},
        {DOCUMENT("{\"/a\":{\"get\":{\"x-amazon-apigateway-integration\":{\"type\":\"HTTP\"}}}}"),
         "paths./a.get.x-amazon-apigateway-integration: type: HTTP integrations are not supported "
         "by this cluster yet, only AWS_PROXY and MOCK"},
        {DOCUMENT("{\"/a\":{\"get\":{\"x-amazon-apigateway-integration\":{\"type\":\"AWS_PROXY\","
                  "\"httpMethod\":\"POST\",\"uri\":\"nonsense\"}}}}"),
         "paths./a.get.x-amazon-apigateway-integration: uri: Invalid ARN specified in the request"},
        {DOCUMENT("{\"/a\":{\"get\":{\"x-amazon-apigateway-integration\":{\"type\":\"MOCK\","
                  "\"timeoutInMillis\":29001}}}}"),
         "paths./a.get.x-amazon-apigateway-integration: timeoutInMillis: Timeout should be between "
         "50 ms and 29000 ms"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct openapi document;
        struct arena arena;
        const char *why;

        arena_init(&arena);
        assert_int_equal(read_text(&arena, cases[i].text, &document, &why), ERR_INVALID);
        assert_string_equal(why, cases[i].why);
        arena_close(&arena);
    }
}

static void openapi__duplicate_keys__refused_with_their_place(void **state)
{
    struct openapi document;
    struct arena arena;
    const char *why;

    (void)state;
    arena_init(&arena);
    assert_int_equal(read_text(&arena, DOCUMENT("{\"/a\":{},\n\"/a\":{}}"), &document, &why),
                     ERR_INVALID);

    assert_non_null(strstr(why, "duplicate object key"));
    assert_non_null(strstr(why, "line 2"));
    arena_close(&arena);
}

static void openapi__what_only_describes__passed_over_with_a_warning(void **state)
{
    static const char text[] = DOCUMENT("{\"/a\":{\"parameters\":[],\"trace\":{},"
                                        "\"get\":{\"responses\":{}},\"post\":" INTEGRATION "}}");
    struct openapi document;
    struct arena arena;
    const char *why;

    (void)state;
    arena_init(&arena);
    assert_int_equal(read_text(&arena, text, &document, &why), OK);

    assert_int_equal(document.warning_count, 2);
    assert_string_equal(document.warnings[0], "paths./a.trace: is not known and was passed over");
    assert_string_equal(document.warnings[1],
                        "paths./a.get: has no x-amazon-apigateway-integration and cannot be "
                        "deployed");
    assert_int_equal(document.paths[0].operation_count, 2);
    arena_close(&arena);
}

static void openapi__too_deep_or_too_many__refused(void **state)
{
    struct buffer text = BUFFER_INIT(1u << 20);
    struct openapi document;
    struct arena arena;
    const char *why = "";

    (void)state;
    arena_init(&arena);
    buffer_put_text(&text, "{\"openapi\":\"3.0.1\",\"info\":{\"title\":\"T\"},\"paths\":{},\"x\":");
    for (int i = 0; i < OPENAPI_DEPTH_MAX; i++)
        buffer_put_text(&text, "[");
    for (int i = 0; i < OPENAPI_DEPTH_MAX; i++)
        buffer_put_text(&text, "]");
    buffer_put_text(&text, "}");
    assert_int_equal(openapi_read(&arena, buffer_slice(&text), &document, &why), ERR_INVALID);
    assert_string_equal(why, "document: more than 64 levels deep");

    buffer_clear(&text);
    buffer_put_text(&text, "{\"openapi\":\"3.0.1\",\"info\":{\"title\":\"T\"},\"paths\":{\"/\":{}");
    for (int i = 0; i < OPENAPI_PATHS_MAX; i++)
        buffer_putf(&text, ",\"/%d\":{}", i);
    buffer_put_text(&text, "}}");
    assert_int_equal(openapi_read(&arena, buffer_slice(&text), &document, &why), ERR_INVALID);
    assert_string_equal(why, "paths: more than 300 paths");

    buffer_close(&text);
    arena_close(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(openapi__the_articles_document__one_path_one_function),
        cmocka_unit_test(openapi__swagger_2_any_method_and_path_uri__are_read),
        cmocka_unit_test(openapi__wrong_documents__say_what_and_where),
        cmocka_unit_test(openapi__duplicate_keys__refused_with_their_place),
        cmocka_unit_test(openapi__what_only_describes__passed_over_with_a_warning),
        cmocka_unit_test(openapi__too_deep_or_too_many__refused),
    };

    return cmocka_run_group_tests_name("openapi", tests, NULL, NULL);
}
