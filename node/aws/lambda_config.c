#include "node/aws/lambda_config.h"

#include "node/aws/lambda_config_more.h"
#include "proto/base/check.h"
#include "proto/base/encode.h"
#include "proto/base/utf8.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>

#define ENVIRONMENT_BYTES_MAX 4096
#define HANDLER_BYTES_MAX 128
#define DESCRIPTION_CHARACTERS_MAX 256

static const char parameter_code[] = "InvalidParameterValueException";
static const char validation_code[] = "ValidationException";

static const char *const runtimes[] = {
    "python3.8",  "python3.9",  "python3.10", "python3.11", "python3.12",   "python3.13",
    "nodejs18.x", "nodejs20.x", "nodejs22.x", "provided",   "provided.al2", "provided.al2023",
};

static const char *const reserved_variables[] = {
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
};

/* Members that would change what a function does and that nothing here honours: refused by name
 * instead of ignored. */
static const char *const refused_members[] = {
    "CapacityProviderConfig", "CodeSigningConfigArn", "DurableConfig",
    "FileSystemConfigs",      "ImageConfig",          "Layers",
    "TenancyConfig",
};

void lambda_config_init(Skein__Wire__Function *function)
{
    skein__wire__function__init(function);
    function->timeout_ms = 3000;
    function->memory_mb = 128;
    function->ephemeral_mb = 512;
    function->architecture = (char *)"x86_64";
}

/* ---- checks ---- */

static bool refuse_parameter(struct aws_input *input, const char *message)
{
    return aws_input_refuse(input, 400, parameter_code, "%s", message);
}

static bool check_runtime(struct aws_input *input, const char *runtime)
{
    struct buffer names = BUFFER_INIT(BUFFER_UNLIMITED);

    for (size_t i = 0; i < ARRAY_COUNT(runtimes); i++) {
        if (strcmp(runtimes[i], runtime) == 0) {
            buffer_close(&names);
            return true;
        }
        buffer_putf(&names, "%s%s", names.size > 0 ? ", " : "", runtimes[i]);
    }
    aws_input_refuse(input, 400, parameter_code,
                     "Value %s at 'runtime' failed to satisfy constraint: Member must satisfy enum "
                     "value set: [%s] or be a valid ARN",
                     runtime, buffer_text(&names));
    buffer_close(&names);
    return false;
}

/* arn:aws*:iam::ACCOUNT:role/NAME */
static bool is_role(const char *role)
{
    const char *rest = strstr(role, ":iam::");
    size_t digits;

    if (strncmp(role, "arn:aws", 7) != 0 || rest == NULL)
        return false;
    rest += strlen(":iam::");
    digits = strspn(rest, "0123456789");
    if (digits != 12 || strncmp(rest + digits, ":role", 5) != 0)
        return false;
    rest += digits + 5;
    return *rest != 0 && rest[strspn(rest, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                           "0123456789+=,.@-_/")] == 0;
}

static bool check_role(struct aws_input *input, const char *role)
{
    if (is_role(role))
        return true;
    return aws_input_refuse(
        input, 400, validation_code,
        "1 validation error detected: Value '%s' at 'role' failed to satisfy constraint: Member "
        "must satisfy regular expression pattern: "
        "arn:(aws[a-zA-Z-]*)?:iam::\\d{12}:role/?[a-zA-Z_0-9+=,.@\\-_/]+",
        role);
}

static bool check_handler(struct aws_input *input, const char *handler)
{
    size_t size = strlen(handler);

    if (size > HANDLER_BYTES_MAX)
        return aws_input_refuse(input, 400, validation_code,
                                "1 validation error detected: Value '%s' at 'handler' failed to "
                                "satisfy constraint: Member must have length less than or equal "
                                "to %d",
                                handler, HANDLER_BYTES_MAX);
    if (size == 0 || strcspn(handler, " \t\r\n\v\f") != size)
        return aws_input_refuse(input, 400, validation_code,
                                "1 validation error detected: Value '%s' at 'handler' failed to "
                                "satisfy constraint: Member must satisfy regular expression "
                                "pattern: [^\\s]+",
                                handler);
    return true;
}

/* A number within its bounds, or `unset` when the request has none. */
static bool read_bounded(struct aws_input *input, const json_t *object, const char *key,
                         const char *member, int64_t min, int64_t max, uint32_t scale,
                         uint32_t *number)
{
    int64_t value = aws_input_integer(input, object, key, INT64_MIN);

    if (aws_input_has_fault(input))
        return false;
    if (value == INT64_MIN)
        return true;
    if (value < min || value > max)
        return aws_input_refuse(
            input, 400, validation_code,
            "1 validation error detected: Value '%lld' at '%s' failed to satisfy constraint: "
            "Member must have value %s than or equal to %lld",
            (long long)value, member, value < min ? "greater" : "less",
            (long long)(value < min ? min : max));
    *number = (uint32_t)value * scale;
    return true;
}

static bool is_variable_name(const char *name)
{
    if (!isalpha((unsigned char)name[0]) || name[1] == 0)
        return false;
    for (const char *c = name + 1; *c != 0; c++) {
        if (!isalnum((unsigned char)*c) && *c != '_')
            return false;
    }
    return true;
}

static bool check_variable(struct aws_input *input, const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(reserved_variables); i++) {
        if (strcmp(reserved_variables[i], name) == 0)
            return aws_input_refuse(
                input, 400, parameter_code,
                "Lambda was unable to configure your environment variables because the environment "
                "variables you have provided contains reserved keys that are currently not "
                "supported for modification. Reserved keys used in this request: %s",
                name);
    }
    if (is_variable_name(name))
        return true;
    return aws_input_refuse(input, 400, validation_code,
                            "1 validation error detected: Value at 'environment.variables' failed "
                            "to satisfy constraint: Map keys must satisfy constraint: [Member must "
                            "satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+] (%s)",
                            name);
}

static bool read_environment(struct aws_input *input, Skein__Wire__Function *function)
{
    const json_t *environment = aws_input_object(input, input->root, "Environment");
    json_t *variables = aws_input_object(input, environment, "Variables");
    size_t count = json_object_size(variables);
    Skein__Wire__EnvironmentVariable *variable;
    size_t bytes = 0;
    const char *name;
    json_t *value;

    if (environment == NULL)
        return !aws_input_has_fault(input);
    function->environment = arena_alloc(input->arena, (count + 1) * sizeof(variable));
    function->n_environment = 0;
    json_object_foreach(variables, name, value)
    {
        const char *text = aws_input_text(input, variables, name);

        if (!check_variable(input, name))
            return false;
        variable = arena_alloc(input->arena, sizeof(*variable));
        skein__wire__environment_variable__init(variable);
        variable->name = arena_text(input->arena, slice_text(name));
        variable->value = arena_text(input->arena, slice_text(text != NULL ? text : ""));
        function->environment[function->n_environment++] = variable;
        bytes += strlen(variable->name) + strlen(variable->value);
    }
    if (bytes > ENVIRONMENT_BYTES_MAX)
        return refuse_parameter(input,
                                "Lambda was unable to configure your environment variables because "
                                "the environment variables you have provided exceeded the 4KB "
                                "limit.");
    return !aws_input_has_fault(input);
}

bool lambda_config_read_architecture(struct aws_input *input, Skein__Wire__Function *function)
{
    const json_t *list = aws_input_array(input, input->root, "Architectures");
    const char *architecture;

    if (list == NULL)
        return !aws_input_has_fault(input);
    architecture = json_string_value(json_array_get(list, 0));
    if (json_array_size(list) != 1 || architecture == NULL ||
        (strcmp(architecture, "x86_64") != 0 && strcmp(architecture, "arm64") != 0))
        return aws_input_refuse(input, 400, validation_code,
                                "1 validation error detected: Value at 'architectures' failed to "
                                "satisfy constraint: Member must satisfy constraint: [Member must "
                                "satisfy enum value set: [x86_64, arm64]]");
    function->architecture = arena_text(input->arena, slice_text(architecture));
    return true;
}

static bool check_refused_members(struct aws_input *input)
{
    const char *package_type = aws_input_text(input, input->root, "PackageType");

    for (size_t i = 0; i < ARRAY_COUNT(refused_members); i++) {
        const json_t *value = json_object_get(input->root, refused_members[i]);

        if (json_is_string(value) || json_object_size(value) > 0 || json_array_size(value) > 0)
            return aws_input_refuse(input, 400, parameter_code,
                                    "%s is not supported by this cluster yet.", refused_members[i]);
    }
    if (package_type != NULL && strcmp(package_type, "Zip") != 0)
        return refuse_parameter(input, "Only the package type Zip is supported by this cluster.");
    return !aws_input_has_fault(input);
}

/* ---- the whole ---- */

static char *keep(struct aws_input *input, const char *text)
{
    return arena_text(input->arena, slice_text(text));
}

bool lambda_config_read_description(struct aws_input *input, const char **description)
{
    const char *text = aws_input_text(input, input->root, "Description");

    if (aws_input_has_fault(input))
        return false;
    if (text != NULL && utf8_count(slice_text(text)) > DESCRIPTION_CHARACTERS_MAX)
        return aws_input_refuse(
            input, 400, validation_code,
            "1 validation error detected: Value '%s' at 'description' failed to "
            "satisfy constraint: Member must have length less than or equal "
            "to %d",
            text, DESCRIPTION_CHARACTERS_MAX);
    *description = text != NULL ? keep(input, text) : NULL;
    return true;
}

static bool read_texts(struct aws_input *input, Skein__Wire__Function *function)
{
    const char *runtime = aws_input_text(input, input->root, "Runtime");
    const char *role = aws_input_text(input, input->root, "Role");
    const char *handler = aws_input_text(input, input->root, "Handler");
    const char *description;

    if (aws_input_has_fault(input) || (role != NULL && !check_role(input, role)) ||
        (handler != NULL && !check_handler(input, handler)) ||
        (runtime != NULL && !check_runtime(input, runtime)) ||
        !lambda_config_read_description(input, &description))
        return false;
    if (runtime != NULL)
        function->runtime = keep(input, runtime);
    if (role != NULL)
        function->role = keep(input, role);
    if (handler != NULL)
        function->handler = keep(input, handler);
    if (description != NULL)
        function->description = (char *)(uintptr_t)description;
    return true;
}

static bool check_mandatory(struct aws_input *input, const Skein__Wire__Function *function)
{
    if (function->role[0] == 0)
        return aws_input_refuse(input, 400, validation_code,
                                "1 validation error detected: Value null at 'role' failed to "
                                "satisfy constraint: Member must not be null");
    if (function->runtime[0] == 0 || function->handler[0] == 0)
        return refuse_parameter(input, "Runtime and Handler are mandatory parameters for functions "
                                       "created with deployment packages.");
    return true;
}

bool lambda_config_read(struct aws_input *input, bool is_create, Skein__Wire__Function *function)
{
    const json_t *ephemeral = aws_input_object(input, input->root, "EphemeralStorage");

    return !aws_input_has_fault(input) && check_refused_members(input) &&
           read_texts(input, function) &&
           read_bounded(input, input->root, "Timeout", "timeout", 1, 900, 1000,
                        &function->timeout_ms) &&
           read_bounded(input, input->root, "MemorySize", "memorySize", 128, 10240, 1,
                        &function->memory_mb) &&
           read_bounded(input, ephemeral, "Size", "ephemeralStorage.size", 512, 10240, 1,
                        &function->ephemeral_mb) &&
           (!is_create || lambda_config_read_architecture(input, function)) &&
           read_environment(input, function) && lambda_config_more_read(input, function) &&
           (!is_create || check_mandatory(input, function));
}

/* ---- the document ---- */

char *lambda_config_arn(struct arena *arena, struct slice region, const char *name,
                        const char *qualifier)
{
    return arena_printf(arena, "arn:aws:lambda:%.*s:" AWS_ACCOUNT_ID ":function:%s%s%s",
                        (int)region.size, (const char *)region.data, name,
                        qualifier[0] != 0 ? ":" : "", qualifier);
}

static void write_environment(struct json_write *json, const Skein__Wire__Function *function)
{
    if (function->n_environment == 0)
        return;
    json_key(json, "Environment");
    json_begin_object(json);
    json_key(json, "Variables");
    json_begin_object(json);
    for (size_t i = 0; i < function->n_environment; i++)
        json_member_text(json, function->environment[i]->name, function->environment[i]->value);
    json_end_object(json);
    json_end_object(json);
}

void lambda_config_write_time(struct json_write *json, const char *key, uint64_t wall_ms)
{
    char text[TIME_TEXT_BYTES];
    char lambda_text[TIME_TEXT_BYTES + 5];

    encode_time(wall_ms, text);
    snprintf(lambda_text, sizeof(lambda_text), "%.*s+0000", (int)strlen(text) - 1, text);
    json_member_text(json, key, lambda_text);
}

void lambda_config_write(struct json_write *json, const Skein__Wire__Function *function,
                         struct slice region, const char *qualifier)
{
    const char *version;
    struct arena arena;

    arena_init(&arena);
    version = function->version == 0 ? LAMBDA_LATEST
                                     : arena_printf(&arena, "%" PRIu64, function->version);
    if (qualifier == NULL)
        qualifier = function->version == 0 ? "" : version;
    json_begin_object(json);
    json_member_text(json, "FunctionName", function->name);
    json_member_text(json, "FunctionArn",
                     lambda_config_arn(&arena, region, function->name, qualifier));
    json_member_text(json, "Runtime", function->runtime);
    json_member_text(json, "Role", function->role);
    json_member_text(json, "Handler", function->handler);
    json_member_u64(json, "CodeSize", function->code_bytes);
    json_member_text(json, "Description", function->description);
    json_member_u64(json, "Timeout", function->timeout_ms / 1000);
    json_member_u64(json, "MemorySize", function->memory_mb);
    lambda_config_write_time(json, "LastModified", function->modified_ms);
    json_key(json, "CodeSha256");
    json_base64(json, slice_of(function->code_sha256.data, function->code_sha256.len));
    json_member_text(json, "Version", version);
    write_environment(json, function);
    lambda_config_more_write(json, function);
    json_member_text(json, "RevisionId", function->revision_id);
    json_member_text(json, "State", "Active");
    json_member_text(json, "LastUpdateStatus", "Successful");
    json_member_text(json, "PackageType", "Zip");
    json_key(json, "Architectures");
    json_begin_array(json);
    json_text(json, function->architecture);
    json_end_array(json);
    json_key(json, "EphemeralStorage");
    json_begin_object(json);
    json_member_u64(json, "Size", function->ephemeral_mb);
    json_end_object(json);
    json_end_object(json);
    arena_close(&arena);
}
