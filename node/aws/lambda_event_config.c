#include "node/aws/lambda_event_config.h"

#include "node/aws/lambda_config.h"
#include "node/aws/lambda_settings.h"
#include "proto/base/check.h"

#include <inttypes.h>

static const char parameter_code[] = "InvalidParameterValueException";

/* ---- the document ---------------------------------------------------------------------------- */

static const char *arn_of(const struct lambda_call *call, const char *qualifier)
{
    return lambda_config_arn(call->arena, call->request->region, call->name.name,
                             qualifier[0] != '\0' ? qualifier : LAMBDA_LATEST);
}

static void write_destination(struct json_write *json, const char *key, const char *arn)
{
    json_key(json, key);
    json_begin_object(json);
    if (arn[0] != '\0')
        json_member_text(json, "Destination", arn);
    json_end_object(json);
}

static void write_config(const struct lambda_call *call, struct json_write *json,
                         const Skein__Wire__FunctionQualifierSettings *part)
{
    const Skein__Wire__FunctionEventConfig *config = part->event_config;

    json_begin_object(json);
    json_key(json, "LastModified");
    json_fixed(json, config->modified_ms, 3);
    json_member_text(json, "FunctionArn", arn_of(call, part->qualifier));
    if (config->has_retries)
        json_member_u64(json, "MaximumRetryAttempts", config->retries);
    if (config->has_age)
        json_member_u64(json, "MaximumEventAgeInSeconds", config->age_seconds);
    json_key(json, "DestinationConfig");
    json_begin_object(json);
    write_destination(json, "OnSuccess", config->on_success_arn);
    write_destination(json, "OnFailure", config->on_failure_arn);
    json_end_object(json);
    json_end_object(json);
}

/* ---- the members of a request -----------------------------------------------------------------
 */

/* A number within its bounds; `has` tells whether there is one. */
static bool read_number(struct aws_input *input, const char *key, const char *member, int64_t min,
                        int64_t max, protobuf_c_boolean *has, uint32_t *number)
{
    int64_t value = aws_input_integer(input, input->root, key, INT64_MIN);

    if (value == INT64_MIN || aws_input_has_fault(input))
        return !aws_input_has_fault(input);
    if (value < min || value > max)
        return aws_input_refuse(input, 400, "ValidationException",
                                "1 validation error detected: Value '%" PRId64 "' at '%s' failed "
                                "to satisfy constraint: Member must have value %s than or equal to "
                                "%" PRId64,
                                value, member, value < min ? "greater" : "less",
                                value < min ? min : max);
    *has = true;
    *number = (uint32_t)value;
    return true;
}

/* arn:aws:sqs:..., of a service that takes results. */
static bool is_destination(const char *arn)
{
    static const char *const services[] = {"sqs:", "sns:", "lambda:", "events:", "s3:"};
    const char *service = strncmp(arn, "arn:aws", 7) == 0 ? strchr(arn + 4, ':') : NULL;

    for (size_t i = 0; service != NULL && i < ARRAY_COUNT(services); i++)
        if (strncmp(service + 1, services[i], strlen(services[i])) == 0)
            return true;
    return false;
}

static bool is_itself(const struct lambda_call *call, const char *arn)
{
    struct lambda_name name;

    return lambda_name_parse(slice_text(arn), &name) == OK &&
           strcmp(name.name, call->name.name) == 0;
}

/* An empty one takes the destination out. */
static bool read_destination(const struct lambda_call *call, struct aws_input *input,
                             const json_t *config, const char *key, char **arn)
{
    const json_t *object = aws_input_object(input, config, key);
    const char *text = aws_input_text(input, object, "Destination");

    if (object == NULL || aws_input_has_fault(input))
        return !aws_input_has_fault(input);
    if (text != NULL && text[0] != '\0' && !is_destination(text))
        return aws_input_refuse(input, 400, parameter_code,
                                "The provided destination config DestinationConfig(%s=%s("
                                "destination=%s)) is invalid.",
                                strcmp(key, "OnSuccess") == 0 ? "onSuccess" : "onFailure", key,
                                text);
    if (text != NULL && is_itself(call, text))
        return aws_input_refuse(input, 400, parameter_code,
                                "You can't specify the function as a destination for itself.");
    *arn = arena_text(input->arena, slice_text(text != NULL ? text : ""));
    return true;
}

static bool read_config(const struct lambda_call *call, struct aws_input *input,
                        Skein__Wire__FunctionEventConfig *config)
{
    const json_t *destinations = aws_input_object(input, input->root, "DestinationConfig");

    if (!aws_input_has_fault(input) && destinations == NULL &&
        json_object_get(input->root, "MaximumRetryAttempts") == NULL &&
        json_object_get(input->root, "MaximumEventAgeInSeconds") == NULL)
        return aws_input_refuse(input, 400, parameter_code,
                                "You must specify at least one of error handling or destination "
                                "setting.");
    return !aws_input_has_fault(input) &&
           read_number(input, "MaximumRetryAttempts", "maximumRetryAttempts", 0, 2,
                       &config->has_retries, &config->retries) &&
           read_number(input, "MaximumEventAgeInSeconds", "maximumEventAgeInSeconds", 60, 21600,
                       &config->has_age, &config->age_seconds) &&
           read_destination(call, input, destinations, "OnSuccess", &config->on_success_arn) &&
           read_destination(call, input, destinations, "OnFailure", &config->on_failure_arn);
}

/* ---- operations -------------------------------------------------------------------------------
 */

/* Puts what the request says into the configuration of `part` and commits. */
static void set_config(struct lambda_call *call, const struct lambda_settings *settings,
                       Skein__Wire__FunctionQualifierSettings *part)
{
    struct aws_input input = lambda_call_read(call);
    struct buffer answer = BUFFER_INIT(LAMBDA_DOCUMENT_BYTES_MAX);
    struct json_write json = json_write_to(&answer);
    bool is_good = !aws_input_has_fault(&input) && read_config(call, &input, part->event_config);

    aws_input_close(&input);
    if (!is_good) {
        aws_fault_send(call->request, &input.fault);
        return;
    }
    part->event_config->modified_ms = env_wall_ms(call->lambda->with.env);
    write_config(call, &json, part);
    lambda_settings_commit(call, settings, NULL, 0, &answer, 200);
}

void lambda_event_config_put(struct lambda_call *call)
{
    const struct lambda_settings settings = lambda_settings_load(call);
    Skein__Wire__FunctionQualifierSettings *part =
        lambda_settings_need(call->arena, settings.record, lambda_settings_qualifier(call));

    part->event_config = arena_alloc(call->arena, sizeof(*part->event_config));
    skein__wire__function_event_config__init(part->event_config);
    set_config(call, &settings, part);
}

/* The part that has a configuration; NULL: the request was answered. */
static Skein__Wire__FunctionQualifierSettings *find_config(struct lambda_call *call,
                                                           const struct lambda_settings *settings)
{
    const char *qualifier = lambda_settings_qualifier(call);
    Skein__Wire__FunctionQualifierSettings *part =
        lambda_settings_find(settings->record, qualifier);

    if (part != NULL && part->event_config != NULL)
        return part;
    if (view_is_current(call->lambda->with.view))
        lambda_call_refuse(call, 404, "ResourceNotFoundException",
                           arena_printf(call->arena,
                                        "The function %s doesn't have an EventInvokeConfig",
                                        arn_of(call, qualifier)));
    else
        aws_fault_respond_error(call->request, ERR_UNREACHABLE);
    return NULL;
}

void lambda_event_config_update(struct lambda_call *call)
{
    const struct lambda_settings settings = lambda_settings_load(call);
    Skein__Wire__FunctionQualifierSettings *part = find_config(call, &settings);

    if (part != NULL)
        set_config(call, &settings, part);
}

void lambda_event_config_get(struct lambda_call *call)
{
    const struct lambda_settings settings = lambda_settings_load(call);
    const Skein__Wire__FunctionQualifierSettings *part = find_config(call, &settings);
    struct buffer body = BUFFER_INIT(LAMBDA_DOCUMENT_BYTES_MAX);
    struct json_write json = json_write_to(&body);

    if (part == NULL)
        return;
    write_config(call, &json, part);
    lambda_call_reply(call, &body, &json);
}

void lambda_event_config_delete(struct lambda_call *call)
{
    const struct lambda_settings settings = lambda_settings_load(call);
    Skein__Wire__FunctionQualifierSettings *part = find_config(call, &settings);

    if (part == NULL)
        return;
    part->event_config = NULL;
    lambda_settings_commit(call, &settings, NULL, 0, NULL, 204);
}

static bool has_config(const Skein__Wire__FunctionQualifierSettings *part)
{
    return part->event_config != NULL;
}

void lambda_event_config_list(struct lambda_call *call)
{
    static const struct lambda_settings_kind kind = {"FunctionEventInvokeConfigs", has_config,
                                                     write_config};

    lambda_settings_list(call, &kind);
}
