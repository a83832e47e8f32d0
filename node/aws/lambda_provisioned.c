#include "node/aws/lambda_provisioned.h"

#include "node/aws/lambda_concurrency.h"
#include "node/aws/lambda_config.h"
#include "node/aws/lambda_qualifier.h"
#include "node/aws/lambda_settings.h"
#include "proto/base/check.h"

#include <inttypes.h>

static const char parameter_code[] = "InvalidParameterValueException";

/* ---- the document -----------------------------------------------------------------------------
 */

static void write_members(struct json_write *json,
                          const Skein__Wire__FunctionQualifierSettings *part, uint32_t ready)
{
    uint32_t allocated = ready < part->provisioned ? ready : part->provisioned;

    json_member_u64(json, "RequestedProvisionedConcurrentExecutions", part->provisioned);
    json_member_u64(json, "AvailableProvisionedConcurrentExecutions", allocated);
    json_member_u64(json, "AllocatedProvisionedConcurrentExecutions", allocated);
    json_member_text(json, "Status", allocated == part->provisioned ? "READY" : "IN_PROGRESS");
    lambda_config_write_time(json, "LastModified", part->provisioned_modified_ms);
}

/* ---- asking the nodes --------------------------------------------------------------------------
 */

struct question { /* about one part after the other; in the arena of the request */
    struct lambda_ready asked;
    struct lambda_call call;
    struct lambda_page page;
    const Skein__Wire__FunctionQualifierSettings **parts;
    uint32_t *ready; /* of each */
    size_t count;
    size_t next;
    bool is_list;
};

/* The version that a qualifier means; 0: none. */
static uint64_t version_of(const struct lambda_call *call, const char *qualifier)
{
    const Skein__Wire__FunctionAlias *alias;
    uint64_t version = 0;

    if (lambda_qualifier_parse(qualifier, &version) == OK)
        return version;
    alias = lambda_call_find_alias(call, qualifier, NULL);
    return alias != NULL ? alias->version : 0;
}

static void write_item(const struct question *question, struct json_write *json, size_t i)
{
    const struct lambda_call *call = &question->call;

    json_begin_object(json);
    if (question->is_list)
        json_member_text(json, "FunctionArn",
                         lambda_config_arn(call->arena, call->request->region, call->name.name,
                                           question->parts[i]->qualifier));
    write_members(json, question->parts[i], question->ready[i]);
    json_end_object(json);
}

static void answer(struct question *question)
{
    struct buffer body = BUFFER_INIT(LAMBDA_DOCUMENT_BYTES_MAX);
    struct json_write json = json_write_to(&body);

    if (question->is_list) {
        json_begin_object(&json);
        json_key(&json, "ProvisionedConcurrencyConfigs");
        json_begin_array(&json);
    }
    for (size_t i = 0; i < question->count; i++)
        write_item(question, &json, i);
    if (question->is_list) {
        json_end_array(&json);
        lambda_settings_page_end(&question->page, &json);
        json_end_object(&json);
    }
    lambda_call_reply(&question->call, &body, &json);
}

static void on_counted(struct lambda_ready *asked, uint32_t ready);

static void ask_next(struct question *question)
{
    const struct lambda_call *call = &question->call;
    const struct lambda_ready_counter *counter = &call->lambda->with.ready_counter;

    if (question->next == question->count)
        answer(question);
    else
        counter->start(counter->user, &question->asked, call->name.name,
                       version_of(call, question->parts[question->next]->qualifier), on_counted);
}

static void on_counted(struct lambda_ready *asked, uint32_t ready)
{
    struct question *question = container_of(asked, struct question, asked);

    question->ready[question->next++] = ready;
    ask_next(question);
}

static struct question *question_new(const struct lambda_call *call, size_t count_max)
{
    struct question *question = arena_alloc(call->arena, sizeof(*question));

    question->call = *call;
    question->parts = arena_alloc(call->arena, (count_max + 1) * sizeof(*question->parts));
    question->ready = arena_alloc(call->arena, (count_max + 1) * sizeof(*question->ready));
    return question;
}

static bool is_provisioned(const Skein__Wire__FunctionQualifierSettings *part)
{
    return part != NULL && part->provisioned > 0;
}

static void list(struct lambda_call *call)
{
    const Skein__Wire__FunctionSettings *record = lambda_settings_load(call).record;
    struct question *question = question_new(call, record->n_qualifiers);

    question->is_list = true;
    if (!lambda_settings_page(call, &question->page))
        return;
    for (size_t i = 0; i < record->n_qualifiers; i++)
        if (is_provisioned(record->qualifiers[i]) && lambda_settings_page_takes(&question->page))
            question->parts[question->count++] = record->qualifiers[i];
    ask_next(question);
}

/* ---- operations --------------------------------------------------------------------------------
 */

/* Not of $LATEST, which changes. */
static bool check_qualifier(struct lambda_call *call)
{
    if (call->name.qualifier[0] == '\0')
        lambda_call_refuse(call, 400, "ValidationException",
                           "1 validation error detected: Value null at 'qualifier' failed to "
                           "satisfy constraint: Member must not be null");
    else if (lambda_name_is_latest(&call->name))
        lambda_call_refuse(call, 400, parameter_code,
                           "Provisioned Concurrency Configs cannot be applied to unpublished "
                           "function versions.");
    else
        return true;
    return false;
}

/* A version is provisioned by its number or by one alias. */
static bool check_overlap(const struct lambda_call *call, struct aws_input *input,
                          const Skein__Wire__FunctionSettings *record)
{
    const char *qualifier = call->name.qualifier;
    uint64_t number;
    bool is_alias = lambda_qualifier_parse(qualifier, &number) != OK;

    for (size_t i = 0; i < record->n_qualifiers; i++) {
        const Skein__Wire__FunctionQualifierSettings *other = record->qualifiers[i];

        if (other->provisioned == 0 || strcmp(other->qualifier, qualifier) == 0 ||
            version_of(call, other->qualifier) != version_of(call, qualifier))
            continue;
        return aws_input_refuse(
            input, 409, "ResourceConflictException", "%s",
            is_alias ? "Alias can't be used for Provisioned Concurrency configuration on an "
                       "already Provisioned version"
                     : "Version is pointed by a Provisioned Concurrency alias");
    }
    return true;
}

static bool check_room(const struct lambda_call *call, struct aws_input *input,
                       const Skein__Wire__FunctionSettings *record, uint64_t wanted)
{
    const struct lambda_options *with = &call->lambda->with;
    uint32_t unreserved_min = lambda_concurrency_unreserved_min(with);

    for (size_t i = 0; i < record->n_qualifiers; i++)
        if (strcmp(record->qualifiers[i]->qualifier, call->name.qualifier) != 0)
            wanted += record->qualifiers[i]->provisioned;
    if (record->has_reserved && wanted > record->reserved)
        return aws_input_refuse(input, 400, parameter_code,
                                "Requested Provisioned Concurrency should not be greater than the "
                                "reservedConcurrentExecution for function");
    return record->has_reserved || wanted + unreserved_min <= with->account_concurrency ||
           aws_input_refuse(input, 400, parameter_code,
                            "Specified ConcurrentExecutions for function decreases account's "
                            "UnreservedConcurrentExecution below its minimum value of "
                            "[%" PRIu32 "].",
                            unreserved_min);
}

static bool read_wanted(const struct lambda_call *call, struct aws_input *input,
                        const Skein__Wire__FunctionSettings *record, uint32_t *wanted)
{
    int64_t value =
        aws_input_integer(input, input->root, "ProvisionedConcurrentExecutions", INT64_MIN);

    if (aws_input_has_fault(input))
        return false;
    if (value == INT64_MIN)
        return aws_input_refuse(input, 400, "ValidationException",
                                "1 validation error detected: Value null at "
                                "'provisionedConcurrentExecutions' failed to satisfy constraint: "
                                "Member must not be null");
    if (value < 1)
        return aws_input_refuse(input, 400, "ValidationException",
                                "1 validation error detected: Value '%" PRId64 "' at "
                                "'provisionedConcurrentExecutions' failed to satisfy constraint: "
                                "Member must have value greater than or equal to 1",
                                value);
    if (!check_overlap(call, input, record) || !check_room(call, input, record, (uint64_t)value))
        return false;
    *wanted = (uint32_t)value;
    return true;
}

void lambda_provisioned_put(struct lambda_call *call)
{
    struct lambda_settings settings = lambda_settings_load(call);
    struct buffer answer = BUFFER_INIT(LAMBDA_DOCUMENT_BYTES_MAX);
    struct json_write json = json_write_to(&answer);
    Skein__Wire__FunctionQualifierSettings *part;
    struct aws_input input;
    uint32_t wanted = 0;
    bool is_good;

    if (!check_qualifier(call))
        return;
    input = lambda_call_read(call);
    is_good = !aws_input_has_fault(&input) && read_wanted(call, &input, settings.record, &wanted);
    aws_input_close(&input);
    if (!is_good) {
        aws_fault_send(call->request, &input.fault);
        return;
    }
    part = lambda_settings_need(call->arena, settings.record, call->name.qualifier);
    part->provisioned = wanted;
    part->provisioned_modified_ms = env_wall_ms(call->lambda->with.env);
    json_begin_object(&json);
    write_members(&json, part, 0);
    json_end_object(&json);
    lambda_settings_commit(call, &settings, NULL, 0, &answer, 202);
}

static void refuse_missing(struct lambda_call *call)
{
    if (view_is_current(call->lambda->with.view))
        lambda_call_refuse(call, 404, "ProvisionedConcurrencyConfigNotFoundException",
                           "No Provisioned Concurrency Config found for this function");
    else
        aws_fault_respond_error(call->request, ERR_UNREACHABLE);
}

void lambda_provisioned_get(struct lambda_call *call)
{
    const Skein__Wire__FunctionQualifierSettings *part;
    struct question *question;

    if (slice_equal_text(http_query_find(call->request->exchange, "List"), "ALL")) {
        list(call);
        return;
    }
    if (!check_qualifier(call))
        return;
    part = lambda_settings_find(lambda_settings_load(call).record, call->name.qualifier);
    if (!is_provisioned(part)) {
        refuse_missing(call);
        return;
    }
    question = question_new(call, 1);
    question->parts[question->count++] = part;
    ask_next(question);
}

void lambda_provisioned_delete(struct lambda_call *call)
{
    struct lambda_settings settings = lambda_settings_load(call);
    Skein__Wire__FunctionQualifierSettings *part;

    if (!check_qualifier(call))
        return;
    part = lambda_settings_find(settings.record, call->name.qualifier);
    if (is_provisioned(part))
        part->provisioned = 0;
    /* what is not there is gone already, as Lambda has it */
    lambda_settings_commit(call, &settings, NULL, 0, NULL, 204);
}
