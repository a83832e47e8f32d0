#include "node/aws/api_control.h"

#include "node/aws/api_change.h"
#include "node/aws/api_model.h"
#include "node/aws/api_resource.h"
#include "node/aws/api_rest.h"
#include "node/aws/api_stage.h"
#include "node/aws/aws_wire.h"
#include "proto/base/check.h"

#define DOCUMENT_BYTES_MAX (4u << 20)

struct api_control {
    struct env *env;
    struct view *view;
    struct list changes;
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

/* ---- routes: what a path names must exist, except the method of PutMethod ---- */

struct route {
    const char *method;
    const char *path; /* '*' stands for any one segment */
    void (*run)(struct api_request *call);
};

static const struct route routes[] = {
    {"POST", "restapis", api_rest_create},
    {"GET", "restapis", api_rest_list},
    {"PUT", "restapis/*", api_rest_put},
    {"GET", "restapis/*", api_rest_get},
    {"DELETE", "restapis/*", api_rest_delete},
    {"GET", "restapis/*/resources", api_resource_list},
    {"GET", "restapis/*/resources/*", api_resource_get},
    {"POST", "restapis/*/resources/*", api_resource_create},
    {"DELETE", "restapis/*/resources/*", api_resource_delete},
    {"PUT", "restapis/*/resources/*/methods/*", api_resource_put_method},
    {"GET", "restapis/*/resources/*/methods/*", api_resource_get_method},
    {"DELETE", "restapis/*/resources/*/methods/*", api_resource_delete_method},
    {"PUT", "restapis/*/resources/*/methods/*/integration", api_resource_put_integration},
    {"GET", "restapis/*/resources/*/methods/*/integration", api_resource_get_integration},
    {"DELETE", "restapis/*/resources/*/methods/*/integration", api_resource_delete_integration},
    {"POST", "restapis/*/deployments", api_stage_create_deployment},
    {"GET", "restapis/*/deployments", api_stage_list_deployments},
    {"GET", "restapis/*/deployments/*", api_stage_get_deployment},
    {"DELETE", "restapis/*/deployments/*", api_stage_delete_deployment},
    {"POST", "restapis/*/stages", api_stage_create},
    {"GET", "restapis/*/stages", api_stage_list},
    {"GET", "restapis/*/stages/*", api_stage_get},
    {"DELETE", "restapis/*/stages/*", api_stage_delete},
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

static const struct route *find_route(const struct api_request *call)
{
    for (size_t i = 0; i < ARRAY_COUNT(routes); i++) {
        if (slice_equal_text(call->request->exchange->method, routes[i].method) &&
            path_matches(&call->path, routes[i].path))
            return &routes[i];
    }
    return NULL;
}

static void find_api(struct api_request *call)
{
    ProtobufCAllocator allocator = aws_wire_allocator(call->arena);
    struct slice value;

    if (view_get(call->view, arena_printf(call->arena, "api/%s", call->path.segments[1]), &value,
                 &call->revision) == OK)
        call->api = skein__wire__api__unpack(&allocator, value.size, value.data);
}

static bool found(struct api_request *call, const void *thing, const char *what)
{
    if (thing == NULL)
        api_request_refuse_missing(call, what);
    return thing != NULL;
}

static bool find_resource(struct api_request *call, const struct route *route)
{
    const struct aws_path *path = &call->path;

    call->resource = api_model_find_resource(call->api, path->segments[3]);
    if (!found(call, call->resource, "Resource"))
        return false;
    if (path->count < 6)
        return true;
    call->method = api_model_find_method(call->resource, path->segments[5]);
    return route->run == api_resource_put_method || found(call, call->method, "Method");
}

/* What the path names. False: something is not there, and the request was answered. */
static bool find_parts(struct api_request *call, const struct route *route)
{
    const struct aws_path *path = &call->path;

    if (path->count < 2)
        return true;
    find_api(call);
    if (!found(call, call->api, "API") || path->count < 4)
        return call->api != NULL;
    if (aws_path_is(path, 2, "resources"))
        return find_resource(call, route);
    if (aws_path_is(path, 2, "deployments")) {
        call->deployment = api_model_find_deployment(call->api, path->segments[3]);
        return found(call, call->deployment, "Deployment");
    }
    call->stage = api_model_find_stage(call->api, path->segments[3]);
    return found(call, call->stage, "stage");
}

void api_control_on_request(void *user, struct aws_request *request)
{
    struct api_control *control = user;
    struct api_request call = {
        .env = control->env,
        .view = control->view,
        .changes = &control->changes,
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
