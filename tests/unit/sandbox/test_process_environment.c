#include "node/sandbox/process_environment.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* The value of a variable; NULL when it is not there, fails when it is there twice. */
static const char *find(struct buffer *block, const char *name)
{
    const char *end = (const char *)block->data + block->size;
    const char *found = NULL;

    for (const char *at = (const char *)block->data; at < end; at += strlen(at) + 1) {
        size_t size = strlen(name);

        if (strncmp(at, name, size) == 0 && at[size] == '=') {
            assert_null(found);
            found = at + size + 1;
        }
    }
    return found;
}

static void process_environment__functions_variables__replace_all_but_the_reserved(void **state)
{
    Skein__Wire__EnvironmentVariable own[4] = {
        SKEIN__WIRE__ENVIRONMENT_VARIABLE__INIT, SKEIN__WIRE__ENVIRONMENT_VARIABLE__INIT,
        SKEIN__WIRE__ENVIRONMENT_VARIABLE__INIT, SKEIN__WIRE__ENVIRONMENT_VARIABLE__INIT};
    Skein__Wire__EnvironmentVariable *list[] = {&own[0], &own[1], &own[2], &own[3]};
    Skein__Wire__Function function = SKEIN__WIRE__FUNCTION__INIT;
    struct sandbox_spec spec = {.function = &function,
                                .region = "eu-west-1",
                                .log_group = "/aws/lambda/fn",
                                .log_stream = "stream"};
    const char *const extra[] = {"PUBSUB_EMULATOR_HOST=127.0.0.1:4566", NULL};
    struct process_environment environment = {.spec = &spec,
                                              .runtime_address = "127.0.0.1:9001",
                                              .task_root = "/var/task",
                                              .endpoint = "http://127.0.0.1:4566",
                                              .access_key_id = "AKID",
                                              .secret_access_key = "secret",
                                              .extra = extra};
    AUTO(buffer) block = BUFFER_INIT(BUFFER_UNLIMITED);

    (void)state;
    own[0].name = (char *)"STAGE";
    own[0].value = (char *)"a=b";
    own[1].name = (char *)"AWS_REGION";
    own[1].value = (char *)"mars-1";
    own[2].name = (char *)"TZ";
    own[2].value = (char *)"Europe/Berlin";
    own[3].name = (char *)"AWS_LAMBDA_RUNTIME_API";
    own[3].value = (char *)"elsewhere";
    function.name = (char *)"fn";
    function.runtime = (char *)"python3.9";
    function.handler = (char *)"app.lambda_handler";
    function.memory_mb = 256;
    function.environment = list;
    function.n_environment = 4;

    process_environment_put(&environment, &block);

    assert_string_equal(find(&block, "STAGE"), "a=b");
    assert_string_equal(find(&block, "AWS_REGION"), "eu-west-1");
    assert_string_equal(find(&block, "TZ"), "Europe/Berlin");
    assert_string_equal(find(&block, "AWS_LAMBDA_RUNTIME_API"), "127.0.0.1:9001");
    assert_string_equal(find(&block, "_HANDLER"), "app.lambda_handler");
    assert_string_equal(find(&block, "AWS_EXECUTION_ENV"), "AWS_Lambda_python3.9");
    assert_string_equal(find(&block, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE"), "256");
    assert_string_equal(find(&block, "AWS_ENDPOINT_URL"), "http://127.0.0.1:4566");
    assert_string_equal(find(&block, "PUBSUB_EMULATOR_HOST"), "127.0.0.1:4566");
    assert_int_equal(block.data[block.size - 1], '\0');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(process_environment__functions_variables__replace_all_but_the_reserved),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
