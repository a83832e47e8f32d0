#include "node/aws/lambda.h"

#include "node/aws/aws_path.h"
#include "node/aws/aws_reply.h"
#include "node/aws/aws_wire.h"
#include "node/aws/lambda_alias.h"
#include "node/aws/lambda_call.h"
#include "node/aws/lambda_change.h"
#include "node/aws/lambda_code.h"
#include "node/aws/lambda_config.h"
#include "node/aws/lambda_invoke.h"
#include "node/aws/lambda_qualifier.h"
#include "node/aws/lambda_version.h"
#include "proto/base/check.h"

struct lambda *lambda_new(const struct lambda_options *options)
{
    struct lambda *lambda = check_calloc(1, sizeof(*lambda));

    lambda->with = *options;
    list_init(&lambda->changes);
    return lambda;
}

void lambda_free(struct lambda *lambda)
{
    if (lambda == NULL)
        return;
    LIST_EACH_SAFE(&lambda->changes, link)
    {
        lambda_change_free(container_of(link, struct lambda_change, link));
    }
    free(lambda);
}

/* ---- faults ---- */

static void refuse_name(struct aws_request *request, const char *text)
{
    aws_fault_respond(
        request, 400, "ValidationException",
        arena_printf(&request->exchange->arena,
                     "1 validation error detected: Value '%s' at 'functionName' failed to satisfy "
                     "constraint: Member must satisfy regular expression pattern: %s",
                     text, LAMBDA_NAME_PATTERN));
}

/* Answer with the input's fault. */
static void refuse_input(struct lambda_call *call, struct aws_input *input)
{
    aws_fault_send(call->request, &input->fault);
}

/* ---- operations on one function ---- */

/* The function, version or alias that is meant, which was seen to be there. */
static const Skein__Wire__Function *find_qualified(const struct lambda_call *call)
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

static void get_configuration(struct lambda_call *call)
{
    struct buffer body = BUFFER_INIT(LAMBDA_DOCUMENT_BYTES_MAX);
    struct json_write json = json_write_to(&body);

    lambda_config_write(&json, find_qualified(call), call->request->region, call->name.qualifier);
    lambda_call_reply(call, &body, &json);
}

static void get_function(struct lambda_call *call)
{
    struct buffer body = BUFFER_INIT(LAMBDA_DOCUMENT_BYTES_MAX);
    struct json_write json = json_write_to(&body);

    json_begin_object(&json);
    json_key(&json, "Configuration");
    lambda_config_write(&json, find_qualified(call), call->request->region, call->name.qualifier);
    json_key(&json, "Code");
    json_raw(&json, SLICE_LITERAL("{\"RepositoryType\":\"S3\"}"));
    json_key(&json, "Tags");
    json_raw(&json, SLICE_LITERAL("{}"));
    json_end_object(&json);
    lambda_call_reply(call, &body, &json);
}

static void get_code_signing(struct lambda_call *call)
{
    struct buffer body = BUFFER_INIT(LAMBDA_DOCUMENT_BYTES_MAX);
    struct json_write json = json_write_to(&body);

    json_begin_object(&json);
    json_member_text(&json, "FunctionName", call->function->name);
    json_end_object(&json);
    lambda_call_reply(call, &body, &json);
}

static void get_policy(struct lambda_call *call)
{
    aws_fault_respond(call->request, 404, "ResourceNotFoundException",
                      "The resource you requested does not exist.");
}

struct deletion {
    struct arena *arena;
    struct view_change records[LAMBDA_VERSIONS_MAX + LAMBDA_ALIASES_MAX];
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

/* With all its versions and aliases, which only change together with its own record. */
static void delete_function(struct lambda_call *call)
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

static void invoke_function(struct lambda_call *call)
{
    lambda_invoke_start(&call->lambda->with, call->request, &call->name);
}

static void update_configuration(struct lambda_call *call)
{
    struct aws_input input =
        aws_input_read(call->arena, call->request->exchange->body, "SerializationException");
    const struct lambda_change_plan plan = {
        .request = call->request,
        .function = call->function,
        .expected_revision = call->revision,
        .success_status = 200,
    };

    if (lambda_config_read(&input, false, call->function) &&
        lambda_call_check_revision(&input, call->function->revision_id))
        lambda_change_start(&call->lambda->with, &call->lambda->changes, &plan);
    else
        refuse_input(call, &input);
    aws_input_close(&input);
}

static void update_code(struct lambda_call *call)
{
    struct aws_input input =
        aws_input_read(call->arena, call->request->exchange->body, "SerializationException");
    struct buffer zip = {0};
    const struct lambda_change_plan plan = {
        .request = call->request,
        .function = call->function,
        .zip = &zip,
        .expected_revision = call->revision,
        .success_status = 200,
        .publishes = aws_input_bool(&input, input.root, "Publish", false),
    };
    bool is_good = lambda_config_read(&input, false, call->function) &&
                   lambda_call_check_revision(&input, call->function->revision_id) &&
                   lambda_code_read(&input, input.root, "UpdateFunctionCode", &zip);
    bool is_dry_run = aws_input_bool(&input, input.root, "DryRun", false);

    aws_input_close(&input);
    if (!is_good)
        refuse_input(call, &input);
    else if (plan.publishes && lambda_version_count(call) >= LAMBDA_VERSIONS_MAX)
        lambda_call_refuse(call, 400, "CodeStorageExceededException",
                           "A function has at most 500 versions here. Delete some first.");
    else if (is_dry_run)
        get_configuration(call);
    else
        lambda_change_start(&call->lambda->with, &call->lambda->changes, &plan);
    buffer_close(&zip);
}

/* ---- operations on all of them ---- */

static void create_from(struct lambda_call *call, struct aws_input *input)
{
    Skein__Wire__Function *function = arena_alloc(call->arena, sizeof(*function));
    struct buffer zip = {0};
    const struct lambda_change_plan plan = {
        .request = call->request,
        .function = function,
        .zip = &zip,
        .expected_revision = VIEW_REVISION_NONE,
        .success_status = 201,
        .publishes = aws_input_bool(input, input->root, "Publish", false),
    };
    bool is_good;

    lambda_config_init(function);
    function->name = arena_text(call->arena, slice_text(call->name.name));
    is_good = lambda_config_read(input, true, function) &&
              lambda_code_read(input, aws_input_object(input, input->root, "Code"),
                               "CreateFunction", &zip);
    call->function = lambda_call_find(call, 0, &call->revision);
    if (!is_good)
        refuse_input(call, input);
    else if (call->function != NULL)
        aws_fault_respond(call->request, 409, "ResourceConflictException",
                          arena_printf(call->arena, "Function already exist: %s", function->name));
    else
        lambda_change_start(&call->lambda->with, &call->lambda->changes, &plan);
    buffer_close(&zip);
}

static void create_function(struct lambda_call *call)
{
    struct aws_input input =
        aws_input_read(call->arena, call->request->exchange->body, "SerializationException");
    const char *text = aws_input_text(&input, input.root, "FunctionName");

    if (aws_input_has_fault(&input))
        refuse_input(call, &input);
    else if (text == NULL || lambda_name_parse(slice_text(text), &call->name) != OK ||
             call->name.qualifier[0] != 0)
        refuse_name(call->request, text != NULL ? text : "");
    else
        create_from(call, &input);
    aws_input_close(&input);
}

struct listing {
    struct lambda_call *call;
    struct json_write json;
    const char *after; /* names up to this one were in an earlier page */
    const char *last;
    uint64_t limit;
    uint64_t count;
    bool has_more;
};

static void list_one(void *user, const char *key, struct slice value, uint64_t revision)
{
    struct listing *listing = user;
    ProtobufCAllocator allocator = aws_wire_allocator(listing->call->arena);
    Skein__Wire__Function *function;

    (void)revision;
    if (strcmp(key + strlen("function/"), listing->after) <= 0)
        return;
    if (listing->count == listing->limit) {
        listing->has_more = true;
        return;
    }
    function = skein__wire__function__unpack(&allocator, value.size, value.data);
    if (function == NULL)
        return;
    lambda_config_write(&listing->json, function, listing->call->request->region, NULL);
    listing->last = function->name;
    listing->count++;
}

static void list_functions(struct lambda_call *call)
{
    struct http_exchange *exchange = call->request->exchange;
    struct buffer body = BUFFER_INIT(LAMBDA_DOCUMENT_BYTES_MAX);
    struct listing listing = {
        .call = call,
        .json = json_write_to(&body),
        .after = arena_text(call->arena, http_query_find(exchange, "Marker")),
        .limit = lambda_call_page(call),
    };

    if (listing.limit == 0)
        return;
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

static void list_tags(struct lambda_call *call)
{
    struct buffer body = BUFFER_INIT(LAMBDA_DOCUMENT_BYTES_MAX);

    buffer_put_text(&body, "{\"Tags\":{}}");
    aws_reply(call->request, 200, &body);
}

struct usage {
    struct arena *arena;
    uint64_t count;
    uint64_t bytes;
};

static void count_usage(void *user, const char *key, struct slice value, uint64_t revision)
{
    struct usage *usage = user;
    ProtobufCAllocator allocator = aws_wire_allocator(usage->arena);
    const Skein__Wire__Function *function =
        skein__wire__function__unpack(&allocator, value.size, value.data);

    (void)key;
    (void)revision;
    usage->count++;
    usage->bytes += function != NULL ? function->code_bytes : 0;
}

static void get_account(struct lambda_call *call)
{
    struct buffer body = BUFFER_INIT(LAMBDA_DOCUMENT_BYTES_MAX);
    struct json_write json = json_write_to(&body);
    struct usage usage = {.arena = call->arena};

    view_each(call->lambda->with.view, "function/", &usage, count_usage);
    json_begin_object(&json);
    json_key(&json, "AccountLimit");
    json_begin_object(&json);
    json_member_u64(&json, "TotalCodeSize", 80530636800);
    json_member_u64(&json, "CodeSizeUnzipped", LAMBDA_UNZIPPED_BYTES_MAX);
    json_member_u64(&json, "CodeSizeZipped", LAMBDA_ZIP_BYTES_MAX);
    json_member_u64(&json, "ConcurrentExecutions", LAMBDA_CONCURRENCY_MAX);
    json_member_u64(&json, "UnreservedConcurrentExecutions", LAMBDA_CONCURRENCY_MAX);
    json_end_object(&json);
    json_key(&json, "AccountUsage");
    json_begin_object(&json);
    json_member_u64(&json, "TotalCodeSize", usage.bytes);
    json_member_u64(&json, "FunctionCount", usage.count);
    json_end_object(&json);
    json_end_object(&json);
    lambda_call_reply(call, &body, &json);
}

/* ---- routes: /DATE/RESOURCE[/NAME[/TAIL[/ALIAS]]], each operation with a date of its own ---- */

enum route_scope {
    ROUTE_ALL,       /* no name */
    ROUTE_FUNCTION,  /* the name of a function, $LATEST */
    ROUTE_QUALIFIED, /* or of a version or an alias */
    ROUTE_ALIAS      /* a function, and an alias behind the tail */
};

struct route {
    const char *method;
    const char *resource;
    const char *tail; /* NULL: none */
    enum route_scope scope;
    void (*run)(struct lambda_call *call);
};

static const struct route routes[] = {
    {"POST", "functions", "invocations", ROUTE_QUALIFIED, invoke_function},
    {"POST", "functions", NULL, ROUTE_ALL, create_function},
    {"GET", "functions", NULL, ROUTE_ALL, list_functions},
    {"GET", "functions", NULL, ROUTE_QUALIFIED, get_function},
    {"GET", "functions", "configuration", ROUTE_QUALIFIED, get_configuration},
    {"PUT", "functions", "configuration", ROUTE_FUNCTION, update_configuration},
    {"PUT", "functions", "code", ROUTE_FUNCTION, update_code},
    {"DELETE", "functions", NULL, ROUTE_QUALIFIED, delete_function},
    {"GET", "functions", "versions", ROUTE_FUNCTION, lambda_version_list},
    {"POST", "functions", "versions", ROUTE_FUNCTION, lambda_version_publish},
    {"GET", "functions", "aliases", ROUTE_FUNCTION, lambda_alias_list},
    {"POST", "functions", "aliases", ROUTE_FUNCTION, lambda_alias_create},
    {"GET", "functions", "aliases", ROUTE_ALIAS, lambda_alias_get},
    {"PUT", "functions", "aliases", ROUTE_ALIAS, lambda_alias_update},
    {"DELETE", "functions", "aliases", ROUTE_ALIAS, lambda_alias_delete},
    {"GET", "functions", "policy", ROUTE_QUALIFIED, get_policy},
    {"GET", "functions", "code-signing-config", ROUTE_FUNCTION, get_code_signing},
    {"GET", "account-settings", NULL, ROUTE_ALL, get_account},
};

static bool route_matches(const struct route *route, struct slice method,
                          const struct aws_path *path)
{
    size_t tail_at = route->scope == ROUTE_ALL ? 2 : 3;
    size_t count =
        tail_at + (route->tail != NULL ? 1u : 0) + (route->scope == ROUTE_ALIAS ? 1u : 0);

    return path->count == count && slice_equal_text(method, route->method) &&
           aws_path_is(path, 1, route->resource) &&
           (route->tail == NULL || aws_path_is(path, tail_at, route->tail));
}

/* The name in the path, with the Qualifier of the query. False: the request was answered. */
static bool read_name(struct lambda_call *call, const char *text)
{
    struct slice qualifier = http_query_find(call->request->exchange, "Qualifier");

    if (lambda_name_parse(slice_text(text), &call->name) != OK) {
        refuse_name(call->request, text);
        return false;
    }
    if (qualifier.size > LAMBDA_QUALIFIER_BYTES_MAX) {
        refuse_name(call->request, text);
        return false;
    }
    if (qualifier.size > 0) {
        memcpy(call->name.qualifier, qualifier.data, qualifier.size);
        call->name.qualifier[qualifier.size] = 0;
    }
    return true;
}

static bool is_there(struct lambda_call *call, enum route_scope scope)
{
    call->function = lambda_call_find(call, 0, &call->revision);
    if (call->function == NULL)
        return false;
    return scope == ROUTE_QUALIFIED ? find_qualified(call) != NULL
                                    : lambda_name_is_latest(&call->name);
}

static void run_on_function(struct lambda_call *call, const struct route *route,
                            const struct aws_path *path)
{
    if (!read_name(call, path->segments[2]))
        return;
    if (route->scope == ROUTE_ALIAS)
        call->alias = path->segments[4];
    if (is_there(call, route->scope))
        route->run(call);
    else
        lambda_call_refuse_missing(call);
}

void lambda_on_request(void *user, struct aws_request *request)
{
    struct lambda_call call = {
        .lambda = user,
        .request = request,
        .arena = &request->exchange->arena,
    };
    struct aws_path path;

    if (aws_path_split(call.arena, request->exchange->path, &path) != OK) {
        aws_fault_respond_unknown_operation(request);
        return;
    }
    if (path.count == 3 && aws_path_is(&path, 1, "tags") &&
        slice_equal_text(request->exchange->method, "GET")) {
        list_tags(&call);
        return;
    }
    for (size_t i = 0; i < ARRAY_COUNT(routes); i++) {
        if (!route_matches(&routes[i], request->exchange->method, &path))
            continue;
        if (routes[i].scope != ROUTE_ALL)
            run_on_function(&call, &routes[i], &path);
        else
            routes[i].run(&call);
        return;
    }
    aws_fault_respond_unknown_operation(request);
}
