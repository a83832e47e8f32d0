#include "node/sandbox/process_environment.h"

#include "proto/base/check.h"

#include <inttypes.h>

#define NODE_PATH "/opt/nodejs/node_modules:/var/runtime/node_modules:/var/runtime:/var/task"

static void put(struct buffer *to, const char *name, const char *value)
{
    buffer_put_text(to, name);
    buffer_put_u8(to, '=');
    buffer_put_text(to, value);
    buffer_put_u8(to, '\0');
}

/* Names a function may not give itself: what Lambda reserves, and what decides where it runs. */
static bool is_reserved(const char *name)
{
    static const char *const names[] = {
        "_HANDLER",          "_X_AMZN_TRACE_ID",  "AWS_DEFAULT_REGION",    "AWS_REGION",
        "AWS_ACCESS_KEY",    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
        "AWS_EXECUTION_ENV", "LAMBDA_TASK_ROOT",  "LAMBDA_RUNTIME_DIR"};

    for (size_t i = 0; i < ARRAY_COUNT(names); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return strncmp(name, "AWS_LAMBDA_", strlen("AWS_LAMBDA_")) == 0;
}

static bool is_overridden(const Skein__Wire__Function *function, const char *name)
{
    for (size_t i = 0; i < function->n_environment; i++)
        if (strcmp(function->environment[i]->name, name) == 0)
            return true;
    return false;
}

/* What a function may replace. */
static void put_defaults(const struct process_environment *environment, struct buffer *to)
{
    const char *const defaults[][2] = {{"PATH", "/usr/local/bin:/usr/bin:/bin:/opt/bin"},
                                       {"LD_LIBRARY_PATH", "/var/task:/var/task/lib:/opt/lib"},
                                       {"LANG", "C.UTF-8"},
                                       {"TZ", ":UTC"},
                                       {"HOME", "/tmp"},
                                       {"PYTHONPATH", "/var/runtime"},
                                       {"NODE_PATH", NODE_PATH},
                                       {"AWS_EC2_METADATA_DISABLED", "true"},
                                       {"AWS_ENDPOINT_URL", environment->endpoint}};
    const Skein__Wire__Function *function = environment->spec->function;

    for (size_t i = 0; i < ARRAY_COUNT(defaults); i++)
        if (!is_overridden(function, defaults[i][0]))
            put(to, defaults[i][0], defaults[i][1]);
}

static void put_reserved(const struct process_environment *environment, struct buffer *to)
{
    const struct sandbox_spec *spec = environment->spec;
    const Skein__Wire__Function *function = spec->function;
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);

    put(to, "_HANDLER", function->handler);
    put(to, "LAMBDA_TASK_ROOT", environment->task_root);
    put(to, "LAMBDA_RUNTIME_DIR", "/var/runtime");
    put(to, "AWS_REGION", spec->region);
    put(to, "AWS_DEFAULT_REGION", spec->region);
    put(to, "AWS_ACCESS_KEY_ID", environment->access_key_id);
    put(to, "AWS_SECRET_ACCESS_KEY", environment->secret_access_key);
    buffer_putf(&text, "AWS_Lambda_%s", function->runtime);
    put(to, "AWS_EXECUTION_ENV", buffer_text(&text));
    put(to, "AWS_LAMBDA_RUNTIME_API", environment->runtime_address);
    put(to, "AWS_LAMBDA_FUNCTION_NAME", function->name);
    buffer_clear(&text);
    if (function->version == 0)
        buffer_put_text(&text, "$LATEST");
    else
        buffer_putf(&text, "%" PRIu64, function->version);
    put(to, "AWS_LAMBDA_FUNCTION_VERSION", buffer_text(&text));
    buffer_clear(&text);
    buffer_putf(&text, "%u", function->memory_mb);
    put(to, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", buffer_text(&text));
    put(to, "AWS_LAMBDA_LOG_GROUP_NAME", spec->log_group);
    put(to, "AWS_LAMBDA_LOG_STREAM_NAME", spec->log_stream);
    put(to, "AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand");
}

void process_environment_put(const struct process_environment *environment, struct buffer *to)
{
    const Skein__Wire__Function *function = environment->spec->function;

    put_reserved(environment, to);
    put_defaults(environment, to);
    for (size_t i = 0; environment->extra != NULL && environment->extra[i] != NULL; i++)
        buffer_put(to, environment->extra[i], strlen(environment->extra[i]) + 1);
    for (size_t i = 0; i < function->n_environment; i++)
        if (!is_reserved(function->environment[i]->name))
            put(to, function->environment[i]->name, function->environment[i]->value);
}
