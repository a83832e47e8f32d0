#include "node/aws/lambda_call.h"

#include "node/aws/aws_reply.h"
#include "node/aws/aws_wire.h"
#include "node/aws/lambda_config.h"
#include "node/aws/lambda_qualifier.h"
#include "proto/base/encode.h"

#include <inttypes.h>

#define PAGE_ITEMS_MAX 10000

char *lambda_call_function_key(struct arena *arena, const char *name)
{
    return arena_printf(arena, "function/%s", name);
}

char *lambda_call_version_key(struct arena *arena, const char *name, uint64_t version)
{
    return arena_printf(arena, "version/%s/%" PRIu64, name, version);
}

char *lambda_call_alias_key(struct arena *arena, const char *name, const char *alias)
{
    return arena_printf(arena, "alias/%s/%s", name, alias);
}

Skein__Wire__Function *lambda_call_find(const struct lambda_call *call, uint64_t version,
                                        uint64_t *revision)
{
    ProtobufCAllocator allocator = aws_wire_allocator(call->arena);
    const char *key = version == 0 ? lambda_call_function_key(call->arena, call->name.name)
                                   : lambda_call_version_key(call->arena, call->name.name, version);
    struct slice value;

    if (view_get(call->lambda->with.view, key, &value, revision) != OK)
        return NULL;
    return skein__wire__function__unpack(&allocator, value.size, value.data);
}

Skein__Wire__FunctionAlias *lambda_call_find_alias(const struct lambda_call *call, const char *name,
                                                   uint64_t *revision)
{
    ProtobufCAllocator allocator = aws_wire_allocator(call->arena);
    const char *key = lambda_call_alias_key(call->arena, call->name.name, name);
    struct slice value;

    if (view_get(call->lambda->with.view, key, &value, revision) != OK)
        return NULL;
    return skein__wire__function_alias__unpack(&allocator, value.size, value.data);
}

const Skein__Wire__Function *lambda_call_find_qualified(const struct lambda_call *call)
{
    const char *qualifier = call->name.qualifier;
    const Skein__Wire__FunctionAlias *alias;
    uint64_t version = 0;

    if (qualifier[0] != '\0' && lambda_qualifier_parse(qualifier, &version) != OK) {
        alias = lambda_call_find_alias(call, qualifier, NULL);
        if (alias == NULL)
            return NULL;
        version = alias->version;
    }
    return version == 0 ? call->function : lambda_call_find(call, version, NULL);
}

const char *lambda_call_version_text(struct arena *arena, uint64_t version)
{
    return version == 0 ? LAMBDA_LATEST : arena_printf(arena, "%" PRIu64, version);
}

char *lambda_call_arn(const struct lambda_call *call)
{
    return lambda_config_arn(call->arena, call->request->region, call->name.name,
                             call->name.qualifier);
}

char *lambda_call_new_id(struct arena *arena, struct env *env)
{
    char *text = arena_alloc(arena, UUID_TEXT_BYTES);
    uint8_t random[16];

    env->dice->random_bytes(env, random, sizeof(random));
    encode_uuid(random, text);
    return text;
}

struct aws_input lambda_call_read(const struct lambda_call *call)
{
    return aws_input_read(call->arena, call->request->exchange->body, "SerializationException");
}

void lambda_call_refuse(struct lambda_call *call, int status, const char *code, const char *message)
{
    aws_fault_respond(call->request, status, code, message);
}

void lambda_call_refuse_missing(struct lambda_call *call)
{
    if (!view_is_current(call->lambda->with.view)) { /* it may have been made meanwhile */
        aws_fault_respond_error(call->request, ERR_UNREACHABLE);
        return;
    }
    lambda_call_refuse(call, 404, "ResourceNotFoundException",
                       arena_printf(call->arena, "Function not found: %s", lambda_call_arn(call)));
}

bool lambda_call_check_revision(struct aws_input *input, const char *current)
{
    const char *wanted = aws_input_text(input, input->root, "RevisionId");

    if (wanted == NULL || strcmp(wanted, current) == 0)
        return !aws_input_has_fault(input);
    return aws_input_refuse(input, 412, "PreconditionFailedException",
                            "The RevisionId provided does not match the latest RevisionId. Call "
                            "the GetFunction/GetAlias API to retrieve the latest RevisionId");
}

void lambda_call_reply_status(struct lambda_call *call, int status, struct buffer *body,
                              const struct json_write *json)
{
    if (json->rc == OK) {
        aws_reply(call->request, status, body);
        return;
    }
    buffer_close(body);
    aws_fault_respond_error(call->request, ERR_INTERNAL);
}

void lambda_call_reply(struct lambda_call *call, struct buffer *body, const struct json_write *json)
{
    lambda_call_reply_status(call, 200, body, json);
}

uint64_t lambda_call_page(struct lambda_call *call)
{
    uint64_t limit = aws_input_page(http_query_find(call->request->exchange, "MaxItems"),
                                    LAMBDA_PAGE_MAX, PAGE_ITEMS_MAX);

    if (limit == 0)
        lambda_call_refuse(call, 400, "ValidationException",
                           "1 validation error detected: Value at 'maxItems' failed to satisfy "
                           "constraint: Member must have value between 1 and 10000");
    return limit < LAMBDA_PAGE_MAX ? limit : LAMBDA_PAGE_MAX;
}
