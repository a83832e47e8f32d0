#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/aws/lambda_name.h"
#include "proto/base/check.h"

struct name_case {
    const char *text;
    const char *name;
    const char *qualifier;
};

static void lambda_name__documented_forms__name_and_qualifier(void **state)
{
    static const struct name_case cases[] = {
        {"ProcessOrder", "ProcessOrder", ""},
        {"ProcessOrder:live", "ProcessOrder", "live"},
        {"ProcessOrder:$LATEST", "ProcessOrder", "$LATEST"},
        {"function:ProcessOrder", "ProcessOrder", ""},
        {"123456789012:function:ProcessOrder", "ProcessOrder", ""},
        {"123456789012:function:ProcessOrder:7", "ProcessOrder", "7"},
        {"arn:aws:lambda:us-east-1:123456789012:function:Process_Order-1", "Process_Order-1", ""},
        {"arn:aws-cn:lambda:cn-north-1:123456789012:function:N:live", "N", "live"},
    };
    struct lambda_name name;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        assert_int_equal(lambda_name_parse(slice_text(cases[i].text), &name), OK);
        assert_string_equal(name.name, cases[i].name);
        assert_string_equal(name.qualifier, cases[i].qualifier);
    }
}

static void lambda_name__anything_else__refused(void **state)
{
    static const char *const cases[] = {
        "",
        ":",
        "a b",
        "a/b",
        "N:",
        ":live",
        "N:a:b",
        "N:$OTHER",
        "12345:function:N",
        "arn:aws:lambda:us-east-1:123456789012:function:",
        "arn:aws:lambda:us-east-1:123456789012:layer:N",
        "arn:aws:s3:us-east-1:123456789012:function:N",
        "arn:aws:lambda:us-east-1:12345678901x:function:N",
        "arn:aws:lambda:us-east-1:123456789012:function:N:a:b",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", /* 65 */
    };
    struct lambda_name name;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        assert_int_equal(lambda_name_parse(slice_text(cases[i]), &name), ERR_INVALID);
    assert_int_equal(lambda_name_parse(slice_of(NULL, 0), &name), ERR_INVALID);
}

static void lambda_name__integration_uris__the_function_in_them(void **state)
{
    static const struct name_case cases[] = {
        {"arn:aws:lambda:us-east-1:123456789012:function:ProcessOrder", "ProcessOrder", ""},
        {"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/"
         "arn:aws:lambda:eu-west-1:000000000000:function:ProcessOrder/invocations",
         "ProcessOrder", ""},
        {"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/"
         "arn:aws:lambda:eu-west-1:000000000000:function:N:live/invocations",
         "N", "live"},
    };
    static const char *const wrong[] = {
        "ProcessOrder",
        "https://example.com/",
        "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/N",
        "arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/invocations",
        "arn:aws:apigateway:us-east-1:lambda:path/functions//invocations",
        "arn:aws:apigateway:us-east-1:s3:path/bucket",
        "arn:aws:lambda:us-east-1:123456789012:function:${stageVariables.f}",
    };
    struct lambda_name name;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        assert_int_equal(lambda_name_parse_integration(slice_text(cases[i].text), &name), OK);
        assert_string_equal(name.name, cases[i].name);
        assert_string_equal(name.qualifier, cases[i].qualifier);
    }
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++)
        assert_int_equal(lambda_name_parse_integration(slice_text(wrong[i]), &name), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lambda_name__documented_forms__name_and_qualifier),
        cmocka_unit_test(lambda_name__anything_else__refused),
        cmocka_unit_test(lambda_name__integration_uris__the_function_in_them),
    };

    return cmocka_run_group_tests_name("lambda_name", tests, NULL, NULL);
}
