#include "node/aws/lambda_config_more.h"

#include "proto/base/check.h"

#include <stdio.h>

#define SUBNETS_MAX 16
#define GROUPS_MAX 5
#define LOG_GROUP_BYTES_MAX 512
#define CHOICES_MAX 6

static const char parameter_code[] = "InvalidParameterValueException";
static const char validation_code[] = "ValidationException";

/* ---- reading --------------------------------------------------------------------------------- */

/* One of the choices, kept in `to`; untouched when absent. The list of choices ends with NULL. */
static bool read_choice(struct aws_input *input, const json_t *object, const char *key,
                        const char *member, const char *const choices[CHOICES_MAX + 1], char **to)
{
    const char *text = aws_input_text(input, object, key);
    char set[128] = "";

    if (text == NULL || aws_input_has_fault(input))
        return !aws_input_has_fault(input);
    for (size_t i = 0; choices[i] != NULL; i++) {
        size_t used = strlen(set);

        if (strcmp(text, choices[i]) == 0) {
            *to = (char *)(uintptr_t)choices[i];
            return true;
        }
        (void)snprintf(set + used, sizeof(set) - used, "%s%s", i > 0 ? ", " : "", choices[i]);
    }
    return aws_input_refuse(input, 400, validation_code,
                            "1 validation error detected: Value '%s' at '%s' failed to satisfy "
                            "constraint: Member must satisfy enum value set: [%s]",
                            text, member, set);
}

/* An ARN, or an empty text, which takes it out. */
static bool read_arn(struct aws_input *input, const json_t *object, const char *key,
                     const char *member, char **to)
{
    const char *text = aws_input_text(input, object, key);

    if (text == NULL || aws_input_has_fault(input))
        return !aws_input_has_fault(input);
    if (text[0] != '\0' && strncmp(text, "arn:", 4) != 0)
        return aws_input_refuse(input, 400, validation_code,
                                "1 validation error detected: Value '%s' at '%s' failed to satisfy "
                                "constraint: Member must satisfy regular expression pattern: "
                                "(arn:(aws[a-zA-Z-]*)?:[a-z0-9-.]+:.*)|()",
                                text, member);
    *to = arena_text(input->arena, slice_text(text));
    return true;
}

static bool is_of_service(const char *arn, const char *service)
{
    const char *found = strchr(arn + 4, ':');

    return found != NULL && strncmp(found + 1, service, strlen(service)) == 0;
}

static bool read_dead_letter(struct aws_input *input, Skein__Wire__Function *function)
{
    const json_t *config = aws_input_object(input, input->root, "DeadLetterConfig");
    char *arn = function->dead_letter_arn;

    if (aws_input_has_fault(input) ||
        !read_arn(input, config, "TargetArn", "deadLetterConfig.targetArn", &arn))
        return false;
    if (arn[0] != '\0' && !is_of_service(arn, "sqs:") && !is_of_service(arn, "sns:"))
        return aws_input_refuse(input, 400, parameter_code,
                                "The provided target arn %s is invalid. DeadLetterConfig takes "
                                "the ARN of an SQS queue or an SNS topic.",
                                arn);
    function->dead_letter_arn = arn;
    return true;
}

static bool read_names(struct aws_input *input, const json_t *object, const char *key,
                       const char *member, size_t max, size_t *count, char ***names)
{
    return aws_input_texts(input, object, key, count, names) &&
           (*count <= max ||
            aws_input_refuse(input, 400, validation_code,
                             "1 validation error detected: Value at '%s' failed to satisfy "
                             "constraint: Member must have length less than or equal to %zu",
                             member, max));
}

static bool read_network(struct aws_input *input, Skein__Wire__Function *function)
{
    const json_t *config = aws_input_object(input, input->root, "VpcConfig");
    Skein__Wire__FunctionNetwork *network;

    if (config == NULL || aws_input_has_fault(input))
        return !aws_input_has_fault(input);
    network = arena_alloc(input->arena, sizeof(*network));
    skein__wire__function_network__init(network);
    if (function->network != NULL)
        *network = *function->network;
    network->allows_ipv6 =
        aws_input_bool(input, config, "Ipv6AllowedForDualStack", network->allows_ipv6);
    if (!read_names(input, config, "SubnetIds", "vpcConfig.subnetIds", SUBNETS_MAX,
                    &network->n_subnet_ids, &network->subnet_ids) ||
        !read_names(input, config, "SecurityGroupIds", "vpcConfig.securityGroupIds", GROUPS_MAX,
                    &network->n_security_group_ids, &network->security_group_ids))
        return false;
    if ((network->n_subnet_ids == 0) != (network->n_security_group_ids == 0))
        return aws_input_refuse(input, 400, parameter_code,
                                "SubnetIds and SecurityIds must coexist or be both empty list.");
    function->network = network->n_subnet_ids > 0 ? network : NULL;
    return true;
}

/* Levels are for lines that are JSON. */
static bool check_levels(struct aws_input *input, const Skein__Wire__FunctionLogging *logging)
{
    return strcmp(logging->format, "JSON") == 0 ||
           (logging->application_level[0] == '\0' && logging->system_level[0] == '\0') ||
           aws_input_refuse(input, 400, parameter_code,
                            "You must specify your log format as JSON to use ApplicationLogLevel "
                            "or SystemLogLevel.");
}

static bool check_group(struct aws_input *input, const char *group)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                  ".-_/#";
    size_t size = strlen(group);

    return (size > 0 && size <= LOG_GROUP_BYTES_MAX && strspn(group, allowed) == size) ||
           aws_input_refuse(input, 400, validation_code,
                            "1 validation error detected: Value '%s' at 'loggingConfig.logGroup' "
                            "failed to satisfy constraint: Member must satisfy regular expression "
                            "pattern: [\\.\\-_/#A-Za-z0-9]+",
                            group);
}

static bool read_logging(struct aws_input *input, Skein__Wire__Function *function)
{
    static const char *const formats[CHOICES_MAX + 1] = {"JSON", "Text"};
    static const char *const levels[CHOICES_MAX + 1] = {"TRACE", "DEBUG", "INFO",
                                                        "WARN",  "ERROR", "FATAL"};
    static const char *const system_levels[CHOICES_MAX + 1] = {"DEBUG", "INFO", "WARN"};
    const json_t *config = aws_input_object(input, input->root, "LoggingConfig");
    const char *group = aws_input_text(input, config, "LogGroup");
    Skein__Wire__FunctionLogging *logging;

    if (config == NULL || aws_input_has_fault(input))
        return !aws_input_has_fault(input);
    logging = arena_alloc(input->arena, sizeof(*logging));
    skein__wire__function_logging__init(logging);
    if (!read_choice(input, config, "LogFormat", "loggingConfig.logFormat", formats,
                     &logging->format) ||
        !read_choice(input, config, "ApplicationLogLevel", "loggingConfig.applicationLogLevel",
                     levels, &logging->application_level) ||
        !read_choice(input, config, "SystemLogLevel", "loggingConfig.systemLogLevel", system_levels,
                     &logging->system_level) ||
        !check_levels(input, logging) || (group != NULL && !check_group(input, group)))
        return false;
    if (group != NULL)
        logging->group = arena_text(input->arena, slice_text(group));
    function->logging = logging;
    return true;
}

bool lambda_config_more_read(struct aws_input *input, Skein__Wire__Function *function)
{
    static const char *const modes[CHOICES_MAX + 1] = {"Active", "PassThrough"};
    static const char *const snapshots[CHOICES_MAX + 1] = {"PublishedVersions", "None"};
    const json_t *tracing = aws_input_object(input, input->root, "TracingConfig");
    const json_t *snap_start = aws_input_object(input, input->root, "SnapStart");

    return !aws_input_has_fault(input) &&
           read_choice(input, tracing, "Mode", "tracingConfig.mode", modes,
                       &function->tracing_mode) &&
           read_choice(input, snap_start, "ApplyOn", "snapStart.applyOn", snapshots,
                       &function->snap_start) &&
           read_arn(input, input->root, "KMSKeyArn", "kMSKeyArn", &function->kms_key_arn) &&
           read_dead_letter(input, function) && read_network(input, function) &&
           read_logging(input, function);
}

/* ---- writing --------------------------------------------------------------------------------- */

static const char *or_default(const char *text, const char *otherwise)
{
    return text[0] != '\0' ? text : otherwise;
}

static void write_names(struct json_write *json, const char *key, char *const *names, size_t count)
{
    json_key(json, key);
    json_begin_array(json);
    for (size_t i = 0; i < count; i++)
        json_text(json, names[i]);
    json_end_array(json);
}

static void write_network(struct json_write *json, const Skein__Wire__FunctionNetwork *network)
{
    if (network == NULL)
        return;
    json_key(json, "VpcConfig");
    json_begin_object(json);
    write_names(json, "SubnetIds", network->subnet_ids, network->n_subnet_ids);
    write_names(json, "SecurityGroupIds", network->security_group_ids,
                network->n_security_group_ids);
    json_member_text(json, "VpcId", "");
    json_member_bool(json, "Ipv6AllowedForDualStack", network->allows_ipv6);
    json_end_object(json);
}

static void write_logging(struct json_write *json, const Skein__Wire__Function *function)
{
    static const Skein__Wire__FunctionLogging defaults = SKEIN__WIRE__FUNCTION_LOGGING__INIT;
    const Skein__Wire__FunctionLogging *logging =
        function->logging != NULL ? function->logging : &defaults;
    bool is_json = strcmp(logging->format, "JSON") == 0;
    char group[96];

    (void)snprintf(group, sizeof(group), "/aws/lambda/%s", function->name);
    json_key(json, "LoggingConfig");
    json_begin_object(json);
    json_member_text(json, "LogFormat", or_default(logging->format, "Text"));
    if (is_json) {
        json_member_text(json, "ApplicationLogLevel",
                         or_default(logging->application_level, "INFO"));
        json_member_text(json, "SystemLogLevel", or_default(logging->system_level, "INFO"));
    }
    json_member_text(json, "LogGroup", or_default(logging->group, group));
    json_end_object(json);
}

void lambda_config_more_write(struct json_write *json, const Skein__Wire__Function *function)
{
    write_network(json, function->network);
    if (function->dead_letter_arn[0] != '\0') {
        json_key(json, "DeadLetterConfig");
        json_begin_object(json);
        json_member_text(json, "TargetArn", function->dead_letter_arn);
        json_end_object(json);
    }
    if (function->kms_key_arn[0] != '\0')
        json_member_text(json, "KMSKeyArn", function->kms_key_arn);
    json_key(json, "TracingConfig");
    json_begin_object(json);
    json_member_text(json, "Mode", or_default(function->tracing_mode, "PassThrough"));
    json_end_object(json);
    json_key(json, "SnapStart");
    json_begin_object(json);
    json_member_text(json, "ApplyOn", or_default(function->snap_start, "None"));
    json_member_text(json, "OptimizationStatus", "Off");
    json_end_object(json);
    write_logging(json, function);
}
