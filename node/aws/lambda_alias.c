#include "node/aws/lambda_alias.h"

#include "node/aws/aws_wire.h"
#include "node/aws/lambda_change.h"
#include "node/aws/lambda_config.h"
#include "node/aws/lambda_qualifier.h"
#include "node/aws/lambda_settings.h"
#include "proto/base/check.h"
#include "proto/base/encode.h"
#include "proto/base/utf8.h"

#include <inttypes.h>
#include <stdio.h>

#define DESCRIPTION_CHARACTERS_MAX 256

static const char parameter_code[] = "InvalidParameterValueException";

/* ---- the document --------------------------------------------------------------------------- */

static void write_routing(struct arena *arena, struct json_write *json,
                          const Skein__Wire__FunctionAlias *alias)
{
    char weight[32];

    if (alias->other_version == 0)
        return;
    (void)snprintf(weight, sizeof(weight), "%.10g", alias->other_weight);
    json_key(json, "RoutingConfig");
    json_begin_object(json);
    json_key(json, "AdditionalVersionWeights");
    json_begin_object(json);
    json_key(json, lambda_call_version_text(arena, alias->other_version));
    json_raw(json, slice_text(weight));
    json_end_object(json);
    json_end_object(json);
}

static void write_alias(const struct lambda_call *call, struct json_write *json,
                        const Skein__Wire__FunctionAlias *alias)
{
    json_begin_object(json);
    json_member_text(
        json, "AliasArn",
        lambda_config_arn(call->arena, call->request->region, alias->function, alias->name));
    json_member_text(json, "Name", alias->name);
    json_member_text(json, "FunctionVersion",
                     lambda_call_version_text(call->arena, alias->version));
    json_member_text(json, "Description", alias->description);
    write_routing(call->arena, json, alias);
    json_member_text(json, "RevisionId", alias->revision_id);
    json_end_object(json);
}

/* ---- finding -------------------------------------------------------------------------------- */

struct search {
    struct arena *arena;
    uint64_t version;
    bool is_found;
    uint64_t count;
};

static void look_at(void *user, const char *key, struct slice value, uint64_t revision)
{
    struct search *search = user;
    ProtobufCAllocator allocator = aws_wire_allocator(search->arena);
    const Skein__Wire__FunctionAlias *alias =
        skein__wire__function_alias__unpack(&allocator, value.size, value.data);

    (void)key;
    (void)revision;
    search->count++;
    if (alias != NULL)
        search->is_found |=
            alias->version == search->version || alias->other_version == search->version;
}

static struct search look_for(const struct lambda_call *call, uint64_t version)
{
    struct search search = {.arena = call->arena, .version = version};

    view_each(call->lambda->with.view, arena_printf(call->arena, "alias/%s/", call->name.name),
              &search, look_at);
    return search;
}

bool lambda_alias_has(const struct lambda_call *call, uint64_t version)
{
    return look_for(call, version).is_found;
}

static void refuse_missing_alias(struct lambda_call *call)
{
    if (!view_is_current(call->lambda->with.view)) {
        aws_fault_respond_error(call->request, ERR_UNREACHABLE);
        return;
    }
    lambda_call_refuse(call, 404, "ResourceNotFoundException",
                       arena_printf(call->arena, "Cannot find alias arn: %s",
                                    lambda_config_arn(call->arena, call->request->region,
                                                      call->name.name, call->item)));
}

/* ---- the members of a request ---------------------------------------------------------------- */

/* A version that exists. */
static bool read_version(const struct lambda_call *call, struct aws_input *input, const char *text,
                         uint64_t *version)
{
    if (lambda_qualifier_parse(text, version) != OK)
        return aws_input_refuse(input, 400, "ValidationException",
                                "1 validation error detected: Value '%s' at 'functionVersion' "
                                "failed to satisfy constraint: Member must satisfy regular "
                                "expression pattern: (\\$LATEST|[0-9]+)",
                                text);
    return lambda_call_find(call, *version, NULL) != NULL ||
           aws_input_refuse(
               input, 404, "ResourceNotFoundException", "Function not found: %s",
               lambda_config_arn(call->arena, call->request->region, call->name.name, text));
}

static bool read_routing(const struct lambda_call *call, struct aws_input *input,
                         Skein__Wire__FunctionAlias *alias)
{
    const json_t *routing = aws_input_object(input, input->root, "RoutingConfig");
    json_t *weights = aws_input_object(input, routing, "AdditionalVersionWeights");
    const char *version;
    json_t *weight;

    if (routing == NULL || aws_input_has_fault(input))
        return !aws_input_has_fault(input);
    alias->other_version = 0;
    alias->other_weight = 0;
    if (json_object_size(weights) > 1)
        return aws_input_refuse(input, 400, parameter_code,
                                "Number of items in AdditionalVersionWeights cannot be greater "
                                "than 1");
    json_object_foreach(weights, version, weight)
    {
        if (!json_is_number(weight) || json_number_value(weight) < 0 ||
            json_number_value(weight) > 1)
            return aws_input_refuse(input, 400, "ValidationException",
                                    "1 validation error detected: Value at "
                                    "'routingConfig.additionalVersionWeights' failed to satisfy "
                                    "constraint: Map value must satisfy constraint: [Member must "
                                    "have value between 0.0 and 1.0]");
        if (!read_version(call, input, version, &alias->other_version))
            return false;
        if (alias->other_version == 0)
            return aws_input_refuse(input, 400, parameter_code,
                                    "$LATEST is not supported in the routing configuration of an "
                                    "alias");
        alias->other_weight = json_number_value(weight);
    }
    return true;
}

/* What the two versions must be to each other. */
static bool check_routing(struct aws_input *input, const Skein__Wire__FunctionAlias *alias)
{
    if (alias->other_version == 0)
        return true;
    if (alias->version == 0)
        return aws_input_refuse(input, 400, parameter_code,
                                "$LATEST is not supported for an alias pointing to more than 1 "
                                "version");
    return alias->version != alias->other_version ||
           aws_input_refuse(input, 400, parameter_code,
                            "Invalid function version %" PRIu64 ". Function version %" PRIu64
                            " is already included in routing configuration.",
                            alias->version, alias->version);
}

static bool read_alias(const struct lambda_call *call, struct aws_input *input,
                       Skein__Wire__FunctionAlias *alias)
{
    const char *version = aws_input_text(input, input->root, "FunctionVersion");
    const char *description = NULL;

    if (aws_input_has_fault(input) || !lambda_config_read_description(input, &description) ||
        (version != NULL && !read_version(call, input, version, &alias->version)) ||
        !read_routing(call, input, alias) || !check_routing(input, alias))
        return false;
    if (description != NULL)
        alias->description = (char *)(uintptr_t)description;
    return true;
}

/* Letters, digits, - and _, but no number: that would be a version. */
static bool check_name(struct aws_input *input, const char *name)
{
    size_t size = name != NULL ? strlen(name) : 0;
    bool is_word = size > 0 && size <= LAMBDA_QUALIFIER_BYTES_MAX &&
                   strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "-_") == size;

    if (is_word && strspn(name, "0123456789") != size)
        return true;
    return aws_input_refuse(input, 400, "ValidationException",
                            "1 validation error detected: Value '%s' at 'name' failed to satisfy "
                            "constraint: Member must satisfy regular expression pattern: "
                            "(?!^[0-9]+$)([a-zA-Z0-9-_]+)",
                            name != NULL ? name : "");
}

/* ---- changing ------------------------------------------------------------------------------- */

/* The function's record is written too, as it is: so the versions that an alias names cannot go
 * meanwhile. */
static void commit(struct lambda_call *call, Skein__Wire__FunctionAlias *alias, uint64_t revision,
                   int success_status)
{
    struct buffer answer = BUFFER_INIT(LAMBDA_DOCUMENT_BYTES_MAX);
    struct json_write json = json_write_to(&answer);
    struct view_change record = {
        .key = lambda_call_alias_key(call->arena, call->name.name, alias->name),
        .expected_revision = revision,
    };

    alias->revision_id = lambda_call_new_id(call->arena, call->lambda->with.env);
    record.value = aws_wire_pack(call->arena, &alias->base);
    write_alias(call, &json, alias);
    const struct lambda_change_plan plan = {
        .request = call->request,
        .function = call->function,
        .expected_revision = call->revision,
        .more = &record,
        .more_count = 1,
        .answer = &answer,
        .success_status = success_status,
        .is_setting = true,
        .is_repeatable = true,
        .attempt = call->attempt,
    };

    lambda_change_start(&call->lambda->with, &call->lambda->changes, &plan);
}

static bool check_new(struct lambda_call *call, struct aws_input *input, const char *name)
{
    if (aws_input_text(input, input->root, "FunctionVersion") == NULL)
        return aws_input_refuse(input, 400, "ValidationException",
                                "1 validation error detected: Value null at 'functionVersion' "
                                "failed to satisfy constraint: Member must not be null");
    if (lambda_call_find_alias(call, name, NULL) != NULL)
        return aws_input_refuse(
            input, 409, "ResourceConflictException", "Alias already exists: %s",
            lambda_config_arn(call->arena, call->request->region, call->name.name, name));
    return look_for(call, 0).count < LAMBDA_ALIASES_MAX ||
           aws_input_refuse(input, 400, parameter_code, "A function has at most %d aliases here.",
                            LAMBDA_ALIASES_MAX);
}

void lambda_alias_create(struct lambda_call *call)
{
    struct aws_input input = lambda_call_read(call);
    Skein__Wire__FunctionAlias *alias = arena_alloc(call->arena, sizeof(*alias));
    const char *name = aws_input_text(&input, input.root, "Name");
    bool is_good;

    skein__wire__function_alias__init(alias);
    alias->function = call->function->name;
    is_good = !aws_input_has_fault(&input) && check_name(&input, name) &&
              check_new(call, &input, name) && read_alias(call, &input, alias);
    if (is_good)
        alias->name = arena_text(call->arena, slice_text(name));
    aws_input_close(&input);
    if (is_good)
        commit(call, alias, VIEW_REVISION_NONE, 201);
    else
        aws_fault_send(call->request, &input.fault);
}

void lambda_alias_update(struct lambda_call *call)
{
    struct aws_input input;
    uint64_t revision;
    Skein__Wire__FunctionAlias *alias = lambda_call_find_alias(call, call->item, &revision);
    bool is_good;

    if (alias == NULL) {
        refuse_missing_alias(call);
        return;
    }
    input = lambda_call_read(call);
    is_good = !aws_input_has_fault(&input) &&
              lambda_call_check_revision(&input, alias->revision_id) &&
              read_alias(call, &input, alias);
    aws_input_close(&input);
    if (is_good)
        commit(call, alias, revision, 200);
    else
        aws_fault_send(call->request, &input.fault);
}

void lambda_alias_delete(struct lambda_call *call)
{
    struct view_change records[2] = {{
        .key = lambda_call_alias_key(call->arena, call->name.name, call->item),
        .is_delete = true,
        .expected_revision = VIEW_REVISION_ANY,
    }};
    const struct lambda_change_plan plan = {
        .request = call->request,
        .function = call->function,
        .expected_revision = call->revision,
        .more = records,
        .more_count = lambda_settings_forget(call, call->item, &records[1]) ? 2 : 1,
        .success_status = 204,
        .is_setting = true,
        .is_repeatable = true,
        .attempt = call->attempt,
    };

    if (lambda_call_find_alias(call, call->item, NULL) == NULL)
        refuse_missing_alias(call);
    else
        lambda_change_start(&call->lambda->with, &call->lambda->changes, &plan);
}

/* ---- reading -------------------------------------------------------------------------------- */

void lambda_alias_get(struct lambda_call *call)
{
    const Skein__Wire__FunctionAlias *alias = lambda_call_find_alias(call, call->item, NULL);
    struct buffer body = BUFFER_INIT(LAMBDA_DOCUMENT_BYTES_MAX);
    struct json_write json = json_write_to(&body);

    if (alias == NULL) {
        refuse_missing_alias(call);
        return;
    }
    write_alias(call, &json, alias);
    lambda_call_reply(call, &body, &json);
}

struct alias_listing {
    struct lambda_call *call;
    struct json_write json;
    const char *after;
    const char *last;
    const char *version; /* "" = any */
    uint64_t left;
    bool has_more;
};

static void list_one(void *user, const char *key, struct slice value, uint64_t revision)
{
    struct alias_listing *listing = user;
    struct arena *arena = listing->call->arena;
    ProtobufCAllocator allocator = aws_wire_allocator(arena);
    const Skein__Wire__FunctionAlias *alias =
        skein__wire__function_alias__unpack(&allocator, value.size, value.data);

    (void)key;
    (void)revision;
    if (alias == NULL || strcmp(alias->name, listing->after) <= 0 ||
        (listing->version[0] != '\0' &&
         strcmp(listing->version, lambda_call_version_text(arena, alias->version)) != 0 &&
         strcmp(listing->version, lambda_call_version_text(arena, alias->other_version)) != 0))
        return;
    if (listing->left == 0) {
        listing->has_more = true;
        return;
    }
    write_alias(listing->call, &listing->json, alias);
    listing->last = alias->name;
    listing->left--;
}

void lambda_alias_list(struct lambda_call *call)
{
    struct http_exchange *exchange = call->request->exchange;
    struct buffer body = BUFFER_INIT(LAMBDA_DOCUMENT_BYTES_MAX);
    struct alias_listing listing = {
        .call = call,
        .json = json_write_to(&body),
        .after = arena_text(call->arena, http_query_find(exchange, "Marker")),
        .version = arena_text(call->arena, http_query_find(exchange, "FunctionVersion")),
        .left = lambda_call_page(call),
    };

    if (listing.left == 0)
        return;
    json_begin_object(&listing.json);
    json_key(&listing.json, "Aliases");
    json_begin_array(&listing.json);
    view_each(call->lambda->with.view, arena_printf(call->arena, "alias/%s/", call->name.name),
              &listing, list_one);
    json_end_array(&listing.json);
    if (listing.has_more)
        json_member_text(&listing.json, "NextMarker", listing.last);
    json_end_object(&listing.json);
    lambda_call_reply(call, &body, &listing.json);
}
