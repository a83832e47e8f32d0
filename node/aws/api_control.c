#include "node/aws/api_control.h"

#include "node/aws/api_change.h"
#include "node/aws/api_document.h"
#include "node/aws/api_model.h"
#include "node/aws/aws_input.h"
#include "node/aws/aws_path.h"
#include "node/aws/aws_reply.h"
#include "node/aws/aws_wire.h"
#include "proto/base/check.h"

#include <strings.h>

#define DOCUMENT_BYTES_MAX (4u << 20)
#define LIST_APIS_DEFAULT 25
#define LIST_APIS_MAX 500

struct api_control {
    struct env *env;
    struct view *view;
    struct list changes;
};

/* One request, and what its path names. */
struct control_call {
    struct api_control *control;
    struct aws_request *request;
    struct arena *arena;
    struct aws_path path;
    Skein__Wire__Api *api;
    uint64_t revision;
    Skein__Wire__ApiResource *resource;
    Skein__Wire__ApiMethod *method;
    Skein__Wire__ApiDeployment *deployment;
    Skein__Wire__ApiStage *stage;
    struct aws_input input; /* the body, for those that read one */
    struct buffer body;     /* the answer, written before the commit */
    struct json_write json;
};

struct api_control *api_control_new(struct env *env, struct view *view)
{
    struct api_control *control = check_calloc(1, sizeof(*control));

    control->env = env;
    control->view = view;
    list_init(&control->changes);
    return control;
}

void api_control_free(struct api_control *control)
{
    if (control == NULL)
        return;
    LIST_EACH_SAFE(&control->changes, link)
    {
        api_change_free(container_of(link, struct api_change, link));
    }
    free(control);
}

/* ---- answers ---- */

static void refuse(struct control_call *call, const char *why)
{
    aws_fault_respond(call->request, 400, "BadRequestException", why);
}

static void refuse_missing(struct control_call *call, const char *what)
{
    aws_fault_respond(call->request, 404, "NotFoundException",
                      arena_printf(call->arena, "Invalid %s identifier specified", what));
}

static void refuse_conflict(struct control_call *call, const char *why)
{
    aws_fault_respond(call->request, 409, "ConflictException", why);
}

/* Answer with what was written into call->json. */
static void reply(struct control_call *call)
{
    if (call->json.rc != OK) {
        aws_fault_respond_error(call->request, ERR_INTERNAL);
        return;
    }
    aws_reply(call->request, 200, &call->body);
}

/* Commit call->api and then answer with what was written into call->json. */
static void commit(struct control_call *call, int success_status, bool is_delete)
{
    const struct api_change_plan plan = {
        .env = call->control->env,
        .view = call->control->view,
        .request = call->request,
        .api = call->api,
        .expected_revision = call->revision,
        .success_status = success_status,
        .is_delete = is_delete,
    };

    api_change_start(&call->control->changes, &plan, call->body.size > 0 ? &call->body : NULL);
}

/* The body as JSON. False: the request was answered. */
static bool read_input(struct control_call *call)
{
    call->input = aws_input_read(call->arena, call->request->exchange->body, "BadRequestException");
    if (!aws_input_has_fault(&call->input))
        return true;
    aws_fault_send(call->request, &call->input.fault);
    return false;
}

static bool input_is_good(struct control_call *call)
{
    if (!aws_input_has_fault(&call->input))
        return true;
    aws_fault_send(call->request, &call->input.fault);
    return false;
}

static const char *text_or_empty(struct control_call *call, const char *key)
{
    const char *text = aws_input_text(&call->input, call->input.root, key);

    return text != NULL ? arena_text(call->arena, slice_text(text)) : "";
}

/* ---- APIs ---- */

/* The strings of a list member, in the arena. */
static size_t read_texts(struct control_call *call, const json_t *object, const char *key,
                         char ***texts)
{
    const json_t *list = aws_input_array(&call->input, object, key);
    size_t count = json_array_size(list);

    *texts = arena_alloc(call->arena, (count + 1) * sizeof(char *));
    for (size_t i = 0; i < count; i++) {
        const char *text = json_string_value(json_array_get(list, i));

        if (text == NULL)
            aws_input_refuse(&call->input, 400, "BadRequestException",
                             "Unexpected type: '%s' must be a list of strings", key);
        (*texts)[i] = arena_text(call->arena, slice_text(text != NULL ? text : ""));
    }
    return count;
}

static void create_api(struct control_call *call)
{
    const char *name;

    if (!read_input(call))
        return;
    name = text_or_empty(call, "name");
    call->api = api_model_new(call->arena, call->control->env, name);
    call->api->description = (char *)text_or_empty(call, "description");
    call->api->version = (char *)text_or_empty(call, "version");
    call->api->n_binary_media_types =
        read_texts(call, call->input.root, "binaryMediaTypes", &call->api->binary_media_types);
    call->api->n_endpoint_types =
        read_texts(call, aws_input_object(&call->input, call->input.root, "endpointConfiguration"),
                   "types", &call->api->endpoint_types);
    if (!input_is_good(call))
        return;
    if (name[0] == 0) {
        refuse(call, "API name must be specified");
        return;
    }
    if (json_object_get(call->input.root, "cloneFrom") != NULL) {
        refuse(call, "cloneFrom is not supported by this cluster");
        return;
    }
    api_document_write(&call->json, call->api, NULL);
    commit(call, 201, false);
}

static bool fails_on_warnings(struct control_call *call)
{
    struct slice value = http_query_find(call->request->exchange, "failonwarnings");

    return value.size == 4 && strncasecmp((const char *)value.data, "true", 4) == 0;
}

/* The document in the body. False: the request was answered. */
static bool read_document(struct control_call *call, struct openapi *document)
{
    const char *why;

    if (openapi_read(call->arena, call->request->exchange->body, document, &why) != OK) {
        refuse(call, why);
        return false;
    }
    if (document->warning_count > 0 && fails_on_warnings(call)) {
        refuse(call, arena_printf(call->arena, "Warnings found during import: %s",
                                  document->warnings[0]));
        return false;
    }
    return true;
}

static void import_document(struct control_call *call, const struct openapi *document,
                            bool is_overwrite, int success_status)
{
    const char *why =
        api_model_import(call->arena, call->control->env, call->api, document, is_overwrite);

    if (why != NULL) {
        refuse(call, why);
        return;
    }
    api_document_write(&call->json, call->api, document);
    commit(call, success_status, false);
}

static void import_api(struct control_call *call)
{
    struct slice type = http_query_find(call->request->exchange, "endpointConfigurationTypes");
    struct openapi document;

    if (!read_document(call, &document))
        return;
    call->api = api_model_new(call->arena, call->control->env, document.title);
    if (type.size > 0) {
        call->api->endpoint_types = arena_alloc(call->arena, sizeof(char *));
        call->api->endpoint_types[0] = arena_text(call->arena, type);
        call->api->n_endpoint_types = 1;
    }
    import_document(call, &document, true, 201);
}

static void create_or_import_api(struct control_call *call)
{
    if (slice_equal_text(http_query_find(call->request->exchange, "mode"), "import"))
        import_api(call);
    else
        create_api(call);
}

static void put_api(struct control_call *call)
{
    struct slice mode = http_query_find(call->request->exchange, "mode");
    struct openapi document;

    if (mode.size > 0 && !slice_equal_text(mode, "merge") && !slice_equal_text(mode, "overwrite"))
        refuse(call, "mode must be merge or overwrite");
    else if (read_document(call, &document))
        import_document(call, &document, slice_equal_text(mode, "overwrite"), 200);
}

static void get_api(struct control_call *call)
{
    api_document_write(&call->json, call->api, NULL);
    reply(call);
}

static void delete_api(struct control_call *call)
{
    commit(call, 202, true);
}

struct listing {
    struct control_call *call;
    const char *after; /* ids up to this one were in an earlier page */
    const char *last;
    uint64_t limit;
    uint64_t count;
    bool has_more;
};

static void list_one(void *user, const char *key, struct slice value, uint64_t revision)
{
    struct listing *listing = user;
    ProtobufCAllocator allocator = aws_wire_allocator(listing->call->arena);
    const Skein__Wire__Api *api;

    (void)revision;
    if (strcmp(key + strlen("api/"), listing->after) <= 0)
        return;
    if (listing->count == listing->limit) {
        listing->has_more = true;
        return;
    }
    api = skein__wire__api__unpack(&allocator, value.size, value.data);
    if (api == NULL)
        return;
    api_document_write(&listing->call->json, api, NULL);
    listing->last = api->id;
    listing->count++;
}

/* 0: not a number between 1 and 500. */
static uint64_t list_limit(struct slice text)
{
    uint64_t limit = 0;

    if (text.data == NULL)
        return LIST_APIS_DEFAULT;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || limit > LIST_APIS_MAX)
            return 0;
        limit = limit * 10 + (uint64_t)(text.data[i] - '0');
    }
    return limit <= LIST_APIS_MAX ? limit : 0;
}

static void list_apis(struct control_call *call)
{
    struct http_exchange *exchange = call->request->exchange;
    struct listing listing = {
        .call = call,
        .after = arena_text(call->arena, http_query_find(exchange, "position")),
        .limit = list_limit(http_query_find(exchange, "limit")),
    };

    if (listing.limit == 0) {
        refuse(call, "limit must be between 1 and 500");
        return;
    }
    json_begin_object(&call->json);
    json_key(&call->json, "item");
    json_begin_array(&call->json);
    view_each(call->control->view, "api/", &listing, list_one);
    json_end_array(&call->json);
    if (listing.has_more)
        json_member_text(&call->json, "position", listing.last);
    json_end_object(&call->json);
    reply(call);
}

/* ---- resources ---- */

static bool wants_methods(struct control_call *call)
{
    return slice_equal_text(http_query_find(call->request->exchange, "embed"), "methods");
}

static void list_resources(struct control_call *call)
{
    json_begin_object(&call->json);
    json_key(&call->json, "item");
    json_begin_array(&call->json);
    for (size_t i = 0; i < call->api->n_resources; i++)
        api_document_write_resource(&call->json, call->api->resources[i], wants_methods(call));
    json_end_array(&call->json);
    json_end_object(&call->json);
    reply(call);
}

static void get_resource(struct control_call *call)
{
    api_document_write_resource(&call->json, call->resource, wants_methods(call));
    reply(call);
}

static void create_resource(struct control_call *call)
{
    Skein__Wire__ApiResource *resource;
    bool is_conflict;
    const char *why;
    const char *part;

    if (!read_input(call))
        return;
    part = text_or_empty(call, "pathPart");
    if (!input_is_good(call))
        return;
    resource = api_model_add_resource(call->arena, call->control->env, call->api, call->resource,
                                      part, &is_conflict, &why);
    if (resource == NULL && is_conflict) {
        refuse_conflict(call, why);
    } else if (resource == NULL) {
        refuse(call, why);
    } else {
        api_document_write_resource(&call->json, resource, false);
        commit(call, 201, false);
    }
}

static void delete_resource(struct control_call *call)
{
    if (call->resource->parent_id[0] == 0) {
        refuse(call, "Root resource cannot be deleted");
        return;
    }
    api_model_remove_resource(call->api, call->resource);
    commit(call, 202, false);
}

/* ---- methods and integrations ---- */

static bool is_http_method(const char *name)
{
    static const char *const known[] = {"GET",   "PUT",     "POST", "DELETE",
                                        "PATCH", "OPTIONS", "HEAD", "ANY"};

    for (size_t i = 0; i < ARRAY_COUNT(known); i++) {
        if (strcmp(known[i], name) == 0)
            return true;
    }
    return false;
}

static void put_method(struct control_call *call)
{
    const char *name = call->path.segments[5];
    const char *authorization;
    Skein__Wire__ApiMethod *method;

    if (!read_input(call))
        return;
    authorization = text_or_empty(call, "authorizationType");
    if (!is_http_method(name)) {
        refuse(call, "Invalid HTTP method specified");
    } else if (call->method != NULL) {
        refuse_conflict(call, "Method already exists for this resource");
    } else if (strcmp(authorization, "NONE") != 0 ||
               aws_input_bool(&call->input, call->input.root, "apiKeyRequired", false)) {
        refuse(call, "Only methods with the authorization type NONE and without an API key are "
                     "supported by this cluster yet");
    } else {
        method = api_model_put_method(call->arena, call->resource, name);
        method->operation_name = (char *)text_or_empty(call, "operationName");
        if (!input_is_good(call))
            return;
        api_document_write_method(&call->json, method, call->resource->id);
        commit(call, 201, false);
    }
}

static void get_method(struct control_call *call)
{
    api_document_write_method(&call->json, call->method, call->resource->id);
    reply(call);
}

static void delete_method(struct control_call *call)
{
    api_model_remove_method(call->resource, call->method);
    commit(call, 204, false);
}

static void put_integration(struct control_call *call)
{
    struct openapi_integration integration = {0};
    int64_t timeout_ms;
    const char *why;

    if (!read_input(call))
        return;
    timeout_ms =
        aws_input_integer(&call->input, call->input.root, "timeoutInMillis", OPENAPI_TIMEOUT_MS);
    integration.type = text_or_empty(call, "type");
    integration.http_method = text_or_empty(call, "httpMethod");
    integration.uri = text_or_empty(call, "uri");
    integration.passthrough_behavior = text_or_empty(call, "passthroughBehavior");
    integration.timeout_ms =
        timeout_ms < 0 || timeout_ms > OPENAPI_TIMEOUT_MS ? 0 : (uint32_t)timeout_ms;
    if (!input_is_good(call))
        return;
    why = openapi_check_integration(call->arena, &integration);
    if (why != NULL) {
        refuse(call, why);
        return;
    }
    call->method->integration = api_model_new_integration(call->arena, &integration);
    api_document_write_integration(&call->json, call->method->integration, call->resource->id);
    commit(call, 201, false);
}

static void get_integration(struct control_call *call)
{
    if (call->method->integration == NULL) {
        refuse_missing(call, "Integration");
        return;
    }
    api_document_write_integration(&call->json, call->method->integration, call->resource->id);
    reply(call);
}

static void delete_integration(struct control_call *call)
{
    if (call->method->integration == NULL) {
        refuse_missing(call, "Integration");
        return;
    }
    call->method->integration = NULL;
    commit(call, 204, false);
}

/* ---- deployments and stages ---- */

/* Put the member `variables` into the stage. */
static void read_variables(struct control_call *call, Skein__Wire__ApiStage *stage)
{
    json_t *variables = aws_input_object(&call->input, call->input.root, "variables");
    size_t count = json_object_size(variables);
    const char *name;
    json_t *value;

    if (variables == NULL)
        return;
    stage->variables = arena_alloc(call->arena, (count + 1) * sizeof(*stage->variables));
    stage->n_variables = 0;
    json_object_foreach(variables, name, value)
    {
        Skein__Wire__ApiStageVariable *variable = arena_alloc(call->arena, sizeof(*variable));
        const char *text = aws_input_text(&call->input, variables, name);

        skein__wire__api_stage_variable__init(variable);
        variable->name = arena_text(call->arena, slice_text(name));
        variable->value = arena_text(call->arena, slice_text(text != NULL ? text : ""));
        stage->variables[stage->n_variables++] = variable;
    }
}

/* The stage a new deployment goes to, made when it is not there. NULL: refused with `why`. */
static Skein__Wire__ApiStage *stage_for(struct control_call *call, const char *name,
                                        const char **why)
{
    Skein__Wire__ApiStage *stage = api_model_find_stage(call->api, name);

    return stage != NULL
               ? stage
               : api_model_add_stage(call->arena, call->control->env, call->api, name, why);
}

static void create_deployment(struct control_call *call)
{
    Skein__Wire__ApiDeployment *deployment;
    Skein__Wire__ApiStage *stage = NULL;
    const char *stage_name;
    const char *why = NULL;

    if (!read_input(call))
        return;
    stage_name = text_or_empty(call, "stageName");
    if (stage_name[0] != 0) {
        stage = stage_for(call, stage_name, &why);
        if (stage == NULL) {
            refuse(call, why);
            return;
        }
        read_variables(call, stage);
    }
    deployment = api_model_deploy(call->arena, call->control->env, call->api,
                                  text_or_empty(call, "description"), stage, &why);
    if (!input_is_good(call))
        return;
    if (deployment == NULL) {
        refuse(call, why);
        return;
    }
    api_document_write_deployment(&call->json, deployment);
    commit(call, 201, false);
}

static void list_deployments(struct control_call *call)
{
    json_begin_object(&call->json);
    json_key(&call->json, "item");
    json_begin_array(&call->json);
    for (size_t i = 0; i < call->api->n_deployments; i++)
        api_document_write_deployment(&call->json, call->api->deployments[i]);
    json_end_array(&call->json);
    json_end_object(&call->json);
    reply(call);
}

static void get_deployment(struct control_call *call)
{
    api_document_write_deployment(&call->json, call->deployment);
    reply(call);
}

static void delete_deployment(struct control_call *call)
{
    if (api_model_is_deployed(call->api, call->deployment->id)) {
        refuse(call, "Active stages pointing to this deployment must be moved or deleted");
        return;
    }
    api_model_remove_deployment(call->api, call->deployment);
    commit(call, 202, false);
}

static void create_stage(struct control_call *call)
{
    Skein__Wire__ApiStage *stage;
    const char *name;
    const char *deployment_id;
    const char *why = NULL;

    if (!read_input(call))
        return;
    name = text_or_empty(call, "stageName");
    deployment_id = text_or_empty(call, "deploymentId");
    if (api_model_find_deployment(call->api, deployment_id) == NULL) {
        refuse(call, "Deployment id does not exist");
        return;
    }
    if (api_model_find_stage(call->api, name) != NULL) {
        refuse_conflict(call, "Stage already exists");
        return;
    }
    stage = api_model_add_stage(call->arena, call->control->env, call->api, name, &why);
    if (stage == NULL) {
        refuse(call, why);
        return;
    }
    stage->deployment_id = (char *)deployment_id;
    stage->description = (char *)text_or_empty(call, "description");
    read_variables(call, stage);
    if (!input_is_good(call))
        return;
    api_document_write_stage(&call->json, stage);
    commit(call, 201, false);
}

static void list_stages(struct control_call *call)
{
    struct slice wanted = http_query_find(call->request->exchange, "deploymentId");

    json_begin_object(&call->json);
    json_key(&call->json, "item");
    json_begin_array(&call->json);
    for (size_t i = 0; i < call->api->n_stages; i++) {
        if (wanted.size == 0 || slice_equal_text(wanted, call->api->stages[i]->deployment_id))
            api_document_write_stage(&call->json, call->api->stages[i]);
    }
    json_end_array(&call->json);
    json_end_object(&call->json);
    reply(call);
}

static void get_stage(struct control_call *call)
{
    api_document_write_stage(&call->json, call->stage);
    reply(call);
}

static void delete_stage(struct control_call *call)
{
    api_model_remove_stage(call->api, call->stage);
    commit(call, 202, false);
}

/* ---- routes: what a path names must exist, except the last part of a PUT ---- */

struct route {
    const char *method;
    const char *path; /* '*' stands for any one segment */
    void (*run)(struct control_call *call);
};

static const struct route routes[] = {
    {"POST", "restapis", create_or_import_api},
    {"GET", "restapis", list_apis},
    {"PUT", "restapis/*", put_api},
    {"GET", "restapis/*", get_api},
    {"DELETE", "restapis/*", delete_api},
    {"GET", "restapis/*/resources", list_resources},
    {"GET", "restapis/*/resources/*", get_resource},
    {"POST", "restapis/*/resources/*", create_resource},
    {"DELETE", "restapis/*/resources/*", delete_resource},
    {"PUT", "restapis/*/resources/*/methods/*", put_method},
    {"GET", "restapis/*/resources/*/methods/*", get_method},
    {"DELETE", "restapis/*/resources/*/methods/*", delete_method},
    {"PUT", "restapis/*/resources/*/methods/*/integration", put_integration},
    {"GET", "restapis/*/resources/*/methods/*/integration", get_integration},
    {"DELETE", "restapis/*/resources/*/methods/*/integration", delete_integration},
    {"POST", "restapis/*/deployments", create_deployment},
    {"GET", "restapis/*/deployments", list_deployments},
    {"GET", "restapis/*/deployments/*", get_deployment},
    {"DELETE", "restapis/*/deployments/*", delete_deployment},
    {"POST", "restapis/*/stages", create_stage},
    {"GET", "restapis/*/stages", list_stages},
    {"GET", "restapis/*/stages/*", get_stage},
    {"DELETE", "restapis/*/stages/*", delete_stage},
};

static bool path_matches(const struct aws_path *path, const char *pattern)
{
    for (size_t i = 0; i < path->count; i++) {
        size_t size = strcspn(pattern, "/");
        bool is_any = size == 1 && *pattern == '*';

        if (!is_any &&
            (strlen(path->segments[i]) != size || memcmp(path->segments[i], pattern, size) != 0))
            return false;
        pattern += size;
        if (*pattern == 0)
            return i + 1 == path->count;
        pattern++;
    }
    return false;
}

static const struct route *find_route(const struct control_call *call)
{
    for (size_t i = 0; i < ARRAY_COUNT(routes); i++) {
        if (slice_equal_text(call->request->exchange->method, routes[i].method) &&
            path_matches(&call->path, routes[i].path))
            return &routes[i];
    }
    return NULL;
}

static void find_api(struct control_call *call)
{
    ProtobufCAllocator allocator = aws_wire_allocator(call->arena);
    struct slice value;

    if (view_get(call->control->view, arena_printf(call->arena, "api/%s", call->path.segments[1]),
                 &value, &call->revision) == OK)
        call->api = skein__wire__api__unpack(&allocator, value.size, value.data);
}

/* What the path names. False: something is not there, and the request was answered. */
static bool find_parts(struct control_call *call, const struct route *route)
{
    const struct aws_path *path = &call->path;

    if (path->count < 2)
        return true;
    find_api(call);
    if (call->api == NULL) {
        refuse_missing(call, "API");
        return false;
    }
    if (path->count >= 4 && aws_path_is(path, 2, "resources")) {
        call->resource = api_model_find_resource(call->api, path->segments[3]);
        if (call->resource != NULL && path->count >= 6)
            call->method = api_model_find_method(call->resource, path->segments[5]);
        if (call->resource == NULL)
            refuse_missing(call, "Resource");
        else if (path->count >= 6 && call->method == NULL && route->run != put_method)
            refuse_missing(call, "Method");
        else
            return true;
        return false;
    }
    if (path->count == 4 && aws_path_is(path, 2, "deployments")) {
        call->deployment = api_model_find_deployment(call->api, path->segments[3]);
        if (call->deployment == NULL)
            refuse_missing(call, "Deployment");
        return call->deployment != NULL;
    }
    if (path->count == 4) {
        call->stage = api_model_find_stage(call->api, path->segments[3]);
        if (call->stage == NULL)
            refuse_missing(call, "stage");
        return call->stage != NULL;
    }
    return true;
}

void api_control_on_request(void *user, struct aws_request *request)
{
    struct control_call call = {
        .control = user,
        .request = request,
        .arena = &request->exchange->arena,
        .body = BUFFER_INIT(DOCUMENT_BYTES_MAX),
    };
    const struct route *route = NULL;

    call.json = json_write_to(&call.body);
    if (aws_path_split(call.arena, request->exchange->path, &call.path) == OK)
        route = find_route(&call);
    if (route == NULL)
        aws_fault_respond_unknown_operation(request);
    else if (find_parts(&call, route))
        route->run(&call);
    aws_input_close(&call.input);
    buffer_close(&call.body);
}
