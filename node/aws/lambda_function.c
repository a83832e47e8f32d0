#include "node/aws/lambda_function.h"

#include "node/aws/aws_wire.h"
#include "node/aws/lambda_alias.h"
#include "node/aws/lambda_change.h"
#include "node/aws/lambda_code.h"
#include "node/aws/lambda_config.h"
#include "node/aws/lambda_settings.h"
#include "node/aws/lambda_tag.h"
#include "node/aws/lambda_version.h"
#include "node/sandbox/sandbox.h"
#include "proto/base/check.h"

#include <inttypes.h>

void lambda_function_refuse_name(struct aws_request *request, const char *text)
{
    aws_fault_respond(
        request, 400, "ValidationException",
        arena_printf(&request->exchange->arena,
                     "1 validation error detected: Value '%s' at 'functionName' failed to satisfy "
                     "constraint: Member must satisfy regular expression pattern: %s",
                     text, LAMBDA_NAME_PATTERN));
}

/* ---- operations on one function ---- */

void lambda_function_get_configuration(struct lambda_call *call)
{
    struct buffer body = BUFFER_INIT(LAMBDA_DOCUMENT_BYTES_MAX);
    struct json_write json = json_write_to(&body);

    lambda_config_write(&json, lambda_call_find_qualified(call), call->request->region,
                        call->name.qualifier);
    lambda_call_reply(call, &body, &json);
}

void lambda_function_get(struct lambda_call *call)
{
    const Skein__Wire__FunctionSettings *settings = lambda_settings_load(call).record;
    struct buffer body = BUFFER_INIT(LAMBDA_DOCUMENT_BYTES_MAX);
    struct json_write json = json_write_to(&body);

    json_begin_object(&json);
    json_key(&json, "Configuration");
    lambda_config_write(&json, lambda_call_find_qualified(call), call->request->region,
                        call->name.qualifier);
    json_key(&json, "Code");
    json_raw(&json, SLICE_LITERAL("{\"RepositoryType\":\"S3\"}"));
    json_key(&json, "Tags");
    lambda_tag_write(&json, settings);
    if (settings->has_reserved) {
        json_key(&json, "Concurrency");
        json_begin_object(&json);
        json_member_u64(&json, "ReservedConcurrentExecutions", settings->reserved);
        json_end_object(&json);
    }
    json_end_object(&json);
    lambda_call_reply(call, &body, &json);
}

struct deletion {
    struct arena *arena;
    struct view_change records[LAMBDA_VERSIONS_MAX + LAMBDA_ALIASES_MAX + 1];
    size_t count;
};

static void delete_one(void *user, const char *key, struct slice value, uint64_t revision)
{
    struct deletion *deletion = user;

    (void)value;
    (void)revision;
    if (deletion->count < ARRAY_COUNT(deletion->records))
        deletion->records[deletion->count++] =
            (struct view_change){.key = arena_text(deletion->arena, slice_text(key)),
                                 .is_delete = true,
                                 .expected_revision = VIEW_REVISION_ANY};
}

/* With its versions, aliases and settings, which only change together with its own record. */
void lambda_function_delete(struct lambda_call *call)
{
    struct view *view = call->lambda->with.view;
    const char *name = call->name.name;
    struct deletion *deletion;

    if (call->name.qualifier[0] != '\0') {
        lambda_version_delete(call);
        return;
    }
    deletion = arena_alloc(call->arena, sizeof(*deletion));
    deletion->arena = call->arena;
    view_each(view, arena_printf(call->arena, "version/%s/", name), deletion, delete_one);
    view_each(view, arena_printf(call->arena, "alias/%s/", name), deletion, delete_one);
    if (lambda_settings_load(call).revision != VIEW_REVISION_NONE)
        delete_one(deletion, lambda_settings_key(call->arena, name), (struct slice){0}, 0);
    const struct lambda_change_plan plan = {
        .request = call->request,
        .function = call->function,
        .expected_revision = call->revision,
        .more = deletion->records,
        .more_count = deletion->count,
        .success_status = 204,
        .is_delete = true,
    };

    lambda_change_start(&call->lambda->with, &call->lambda->changes, &plan);
}

/* Nodes of a cluster are taken to be alike: what cannot run on this one would run nowhere. */
static bool check_runtime_is_installed(const struct lambda_call *call, struct aws_input *input,
                                       const Skein__Wire__Function *function)
{
    struct env *env = call->lambda->with.env;

    return env->sandbox->supports(env, function->runtime) ||
           aws_input_refuse(input, 400, "InvalidParameterValueException",
                            "The runtime %s is not installed on this machine: \"skein status\" "
                            "says what is missing.",
                            function->runtime);
}

void lambda_function_update_configuration(struct lambda_call *call)
{
    struct aws_input input = lambda_call_read(call);
    const struct lambda_change_plan plan = {
        .request = call->request,
        .function = call->function,
        .expected_revision = call->revision,
        .success_status = 200,
    };

    if (lambda_config_read(&input, false, call->function) &&
        check_runtime_is_installed(call, &input, call->function) &&
        lambda_call_check_revision(&input, call->function->revision_id))
        lambda_change_start(&call->lambda->with, &call->lambda->changes, &plan);
    else
        aws_fault_send(call->request, &input.fault);
    aws_input_close(&input);
}

void lambda_function_update_code(struct lambda_call *call)
{
    struct aws_input input = lambda_call_read(call);
    struct buffer zip = {0};
    const struct lambda_change_plan plan = {
        .request = call->request,
        .function = call->function,
        .zip = &zip,
        .expected_revision = call->revision,
        .success_status = 200,
        .publishes = aws_input_bool(&input, input.root, "Publish", false),
    };
    bool is_good = !aws_input_has_fault(&input) &&
                   lambda_config_read_architecture(&input, call->function) &&
                   lambda_call_check_revision(&input, call->function->revision_id) &&
                   lambda_code_read(&input, input.root, "UpdateFunctionCode", &zip);
    bool is_dry_run = aws_input_bool(&input, input.root, "DryRun", false);

    aws_input_close(&input);
    if (!is_good)
        aws_fault_send(call->request, &input.fault);
    else if (plan.publishes && lambda_version_count(call) >= LAMBDA_VERSIONS_MAX)
        lambda_call_refuse(call, 400, "CodeStorageExceededException",
                           "A function has at most 500 versions here. Delete some first.");
    else if (is_dry_run)
        lambda_function_get_configuration(call);
    else
        lambda_change_start(&call->lambda->with, &call->lambda->changes, &plan);
    buffer_close(&zip);
}

/* ---- operations on all of them ---- */

static void create_from(struct lambda_call *call, struct aws_input *input)
{
    Skein__Wire__Function *function = arena_alloc(call->arena, sizeof(*function));
    struct lambda_settings settings = lambda_settings_load(call);
    struct view_change tags;
    struct buffer zip = {0};
    struct lambda_change_plan plan = {
        .request = call->request,
        .function = function,
        .zip = &zip,
        .expected_revision = VIEW_REVISION_NONE,
        .more = &tags,
        .success_status = 201,
        .publishes = aws_input_bool(input, input->root, "Publish", false),
    };
    bool is_good;

    lambda_config_init(function);
    function->name = arena_text(call->arena, slice_text(call->name.name));
    is_good = lambda_config_read(input, true, function) &&
              check_runtime_is_installed(call, input, function) &&
              lambda_tag_read(input, settings.record) &&
              lambda_code_read(input, aws_input_object(input, input->root, "Code"),
                               "CreateFunction", &zip);
    call->function = lambda_call_find(call, 0, &call->revision);
    if (settings.record->n_tags > 0 && lambda_settings_change(call, &settings, &tags))
        plan.more_count = 1;
    if (!is_good)
        aws_fault_send(call->request, &input->fault);
    else if (call->function != NULL)
        aws_fault_respond(call->request, 409, "ResourceConflictException",
                          arena_printf(call->arena, "Function already exist: %s", function->name));
    else
        lambda_change_start(&call->lambda->with, &call->lambda->changes, &plan);
    buffer_close(&zip);
}

void lambda_function_create(struct lambda_call *call)
{
    struct aws_input input = lambda_call_read(call);
    const char *text = aws_input_text(&input, input.root, "FunctionName");

    if (aws_input_has_fault(&input))
        aws_fault_send(call->request, &input.fault);
    else if (text == NULL || lambda_name_parse(slice_text(text), &call->name) != OK ||
             call->name.qualifier[0] != 0)
        lambda_function_refuse_name(call->request, text != NULL ? text : "");
    else
        create_from(call, &input);
    aws_input_close(&input);
}

/* ---- the list of them ---- */

struct listing {
    struct lambda_call *call;
    struct json_write json;
    const char *after; /* "NAME", or "NAME:VERSION": up to this one they were in an earlier page */
    const char *last;
    uint64_t limit;
    uint64_t count;
    bool has_more;
    bool has_versions; /* FunctionVersion=ALL */
};

/* Is "NAME:VERSION" on an earlier page? Versions come behind their $LATEST. */
static bool is_before(const struct listing *listing, const Skein__Wire__Function *function)
{
    const char *colon = strchr(listing->after, ':');
    size_t size = colon != NULL ? (size_t)(colon - listing->after) : strlen(listing->after);
    int order = slice_compare(slice_text(function->name), slice_of(listing->after, size));

    if (order != 0)
        return order < 0;
    return !listing->has_versions ||
           (colon != NULL && function->version <= strtoull(colon + 1, NULL, 10));
}

static void list_function(struct listing *listing, const Skein__Wire__Function *function)
{
    struct lambda_call *call = listing->call;

    if (listing->after[0] != '\0' && is_before(listing, function))
        return;
    if (listing->count == listing->limit) {
        listing->has_more = true;
        return;
    }
    lambda_config_write(&listing->json, function, call->request->region,
                        listing->has_versions && function->version == 0 ? LAMBDA_LATEST : NULL);
    listing->last = listing->has_versions ? arena_printf(call->arena, "%s:%" PRIu64, function->name,
                                                         function->version)
                                          : function->name;
    listing->count++;
}

static void list_one(void *user, const char *key, struct slice value, uint64_t revision)
{
    struct listing *listing = user;
    struct lambda_call *call = listing->call;
    ProtobufCAllocator allocator = aws_wire_allocator(call->arena);
    const Skein__Wire__Function *function;
    uint64_t count;

    (void)key;
    (void)revision;
    if (listing->has_more)
        return;
    function = skein__wire__function__unpack(&allocator, value.size, value.data);
    if (function == NULL)
        return;
    list_function(listing, function);
    if (!listing->has_versions)
        return;
    memcpy(call->name.name, function->name, strlen(function->name) + 1);
    Skein__Wire__Function *const *versions = lambda_version_find_all(call, &count);

    for (uint64_t i = 0; i < count; i++)
        list_function(listing, versions[i]);
}

void lambda_function_list(struct lambda_call *call)
{
    struct http_exchange *exchange = call->request->exchange;
    struct buffer body = BUFFER_INIT(LAMBDA_DOCUMENT_BYTES_MAX);
    struct slice which = http_query_find(exchange, "FunctionVersion");
    struct listing listing = {
        .call = call,
        .json = json_write_to(&body),
        .after = arena_text(call->arena, http_query_find(exchange, "Marker")),
        .has_versions = slice_equal_text(which, "ALL"),
        .limit = lambda_call_page(call),
    };

    if (listing.limit == 0)
        return;
    if (which.size > 0 && !listing.has_versions) {
        lambda_call_refuse(call, 400, "ValidationException",
                           "1 validation error detected: Value at 'functionVersion' failed to "
                           "satisfy constraint: Member must satisfy enum value set: [ALL]");
        return;
    }
    json_begin_object(&listing.json);
    json_key(&listing.json, "Functions");
    json_begin_array(&listing.json);
    view_each(call->lambda->with.view, "function/", &listing, list_one);
    json_end_array(&listing.json);
    if (listing.has_more)
        json_member_text(&listing.json, "NextMarker", listing.last);
    json_end_object(&listing.json);
    lambda_call_reply(call, &body, &listing.json);
}
