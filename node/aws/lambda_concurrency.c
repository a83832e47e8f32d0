#include "node/aws/lambda_concurrency.h"

#include "node/aws/aws_wire.h"
#include "node/aws/lambda_config.h"
#include "node/aws/lambda_settings.h"

#include <inttypes.h>

#define UNRESERVED_MIN 100
#define TOTAL_CODE_BYTES_MAX 80530636800 /* 75 GiB, as Lambda has it */

static const char parameter_code[] = "InvalidParameterValueException";

uint32_t lambda_concurrency_unreserved_min(const struct lambda_options *with)
{
    uint32_t tenth = with->account_concurrency / 10;

    return tenth < UNRESERVED_MIN ? tenth : UNRESERVED_MIN;
}

/* ---- reserving ------------------------------------------------------------------------------ */

struct reservations {
    const char *except;
    uint64_t sum;
};

static void add_reservation(void *user, const Skein__Wire__FunctionSettings *record)
{
    struct reservations *reservations = user;

    if (record->has_reserved && strcmp(record->function, reservations->except) != 0)
        reservations->sum += record->reserved;
}

/* Of all functions but one. */
static uint64_t reserved_beside(const struct lambda_call *call, const char *except)
{
    struct reservations reservations = {.except = except};

    lambda_settings_each(call->lambda->with.view, call->arena, &reservations, add_reservation);
    return reservations.sum;
}

static bool check_provisioned(struct aws_input *input, const Skein__Wire__FunctionSettings *record,
                              int64_t wanted)
{
    uint64_t provisioned = 0;

    for (size_t i = 0; i < record->n_qualifiers; i++)
        provisioned += record->qualifiers[i]->provisioned;
    return (uint64_t)wanted >= provisioned ||
           aws_input_refuse(input, 400, parameter_code,
                            "ReservedConcurrentExecutions %" PRId64 " should not be lower than "
                            "function's total provisioned concurrency [%" PRIu64 "].",
                            wanted, provisioned);
}

static bool check_account(struct lambda_call *call, struct aws_input *input, int64_t wanted)
{
    const struct lambda_options *with = &call->lambda->with;
    uint32_t unreserved_min = lambda_concurrency_unreserved_min(with);

    return wanted == 0 ||
           (uint64_t)wanted + reserved_beside(call, call->name.name) + unreserved_min <=
               with->account_concurrency ||
           aws_input_refuse(input, 400, parameter_code,
                            "Specified ReservedConcurrentExecutions for function decreases "
                            "account's UnreservedConcurrentExecution below its minimum value of "
                            "[%" PRIu32 "].",
                            unreserved_min);
}

static bool read_reserved(struct lambda_call *call, struct aws_input *input,
                          Skein__Wire__FunctionSettings *record)
{
    int64_t wanted =
        aws_input_integer(input, input->root, "ReservedConcurrentExecutions", INT64_MIN);

    if (aws_input_has_fault(input))
        return false;
    if (wanted == INT64_MIN)
        return aws_input_refuse(input, 400, "ValidationException",
                                "1 validation error detected: Value null at "
                                "'reservedConcurrentExecutions' failed to satisfy constraint: "
                                "Member must not be null");
    if (wanted < 0)
        return aws_input_refuse(input, 400, "ValidationException",
                                "1 validation error detected: Value '%" PRId64 "' at "
                                "'reservedConcurrentExecutions' failed to satisfy constraint: "
                                "Member must have value greater than or equal to 0",
                                wanted);
    if (!check_account(call, input, wanted) || !check_provisioned(input, record, wanted))
        return false;
    record->has_reserved = true;
    record->reserved = (uint32_t)wanted;
    return true;
}

static void write_reserved(struct json_write *json, const Skein__Wire__FunctionSettings *record)
{
    json_begin_object(json);
    if (record->has_reserved)
        json_member_u64(json, "ReservedConcurrentExecutions", record->reserved);
    json_end_object(json);
}

/* Versions and aliases share what their function has. */
static bool is_unqualified(struct lambda_call *call)
{
    if (call->name.qualifier[0] == '\0')
        return true;
    lambda_call_refuse(call, 400, parameter_code,
                       "This operation is permitted on Lambda functions only. Aliases and versions "
                       "do not support this operation. Please specify either a function name or an "
                       "unqualified function ARN.");
    return false;
}

void lambda_concurrency_put(struct lambda_call *call)
{
    struct lambda_settings settings = lambda_settings_load(call);
    struct buffer answer = BUFFER_INIT(LAMBDA_DOCUMENT_BYTES_MAX);
    struct json_write json = json_write_to(&answer);
    struct aws_input input;
    bool is_good;

    if (!is_unqualified(call))
        return;
    input = lambda_call_read(call);
    is_good = !aws_input_has_fault(&input) && read_reserved(call, &input, settings.record);
    aws_input_close(&input);
    if (!is_good) {
        aws_fault_send(call->request, &input.fault);
        return;
    }
    write_reserved(&json, settings.record);
    lambda_settings_commit(call, &settings, NULL, 0, &answer, 200);
}

void lambda_concurrency_get(struct lambda_call *call)
{
    struct buffer body = BUFFER_INIT(LAMBDA_DOCUMENT_BYTES_MAX);
    struct json_write json = json_write_to(&body);

    if (!is_unqualified(call))
        return;
    write_reserved(&json, lambda_settings_load(call).record);
    lambda_call_reply(call, &body, &json);
}

void lambda_concurrency_delete(struct lambda_call *call)
{
    struct lambda_settings settings = lambda_settings_load(call);

    if (!is_unqualified(call))
        return;
    settings.record->has_reserved = false;
    settings.record->reserved = 0;
    lambda_settings_commit(call, &settings, NULL, 0, NULL, 204);
}

/* ---- the account ---------------------------------------------------------------------------- */

struct usage {
    struct arena *arena;
    uint64_t count; /* functions, without their versions */
    uint64_t bytes; /* packages, those of versions included */
};

static void count_usage(void *user, const char *key, struct slice value, uint64_t revision)
{
    struct usage *usage = user;
    ProtobufCAllocator allocator = aws_wire_allocator(usage->arena);
    const Skein__Wire__Function *function =
        skein__wire__function__unpack(&allocator, value.size, value.data);

    (void)key;
    (void)revision;
    if (function == NULL)
        return;
    usage->count += function->version == 0;
    usage->bytes += function->code_bytes;
}

void lambda_concurrency_get_account(struct lambda_call *call)
{
    const struct lambda_options *with = &call->lambda->with;
    uint64_t reserved = reserved_beside(call, "");
    struct buffer body = BUFFER_INIT(LAMBDA_DOCUMENT_BYTES_MAX);
    struct json_write json = json_write_to(&body);
    struct usage usage = {.arena = call->arena};

    view_each(with->view, "function/", &usage, count_usage);
    view_each(with->view, "version/", &usage, count_usage);
    json_begin_object(&json);
    json_key(&json, "AccountLimit");
    json_begin_object(&json);
    json_member_u64(&json, "TotalCodeSize", TOTAL_CODE_BYTES_MAX);
    json_member_u64(&json, "CodeSizeUnzipped", LAMBDA_UNZIPPED_BYTES_MAX);
    json_member_u64(&json, "CodeSizeZipped", LAMBDA_ZIP_BYTES_MAX);
    json_member_u64(&json, "ConcurrentExecutions", with->account_concurrency);
    json_member_u64(&json, "UnreservedConcurrentExecutions",
                    with->account_concurrency > reserved ? with->account_concurrency - reserved
                                                         : 0);
    json_end_object(&json);
    json_key(&json, "AccountUsage");
    json_begin_object(&json);
    json_member_u64(&json, "TotalCodeSize", usage.bytes);
    json_member_u64(&json, "FunctionCount", usage.count);
    json_end_object(&json);
    json_end_object(&json);
    lambda_call_reply(call, &body, &json);
}
