#include "node/aws/api_resource.h"

#include "node/aws/api_document.h"
#include "node/aws/api_model.h"
#include "proto/base/check.h"

/* ---- resources ---- */

static bool wants_methods(struct api_request *call)
{
    return slice_equal_text(http_query_find(call->request->exchange, "embed"), "methods");
}

void api_resource_list(struct api_request *call)
{
    json_begin_object(&call->json);
    json_key(&call->json, "item");
    json_begin_array(&call->json);
    for (size_t i = 0; i < call->api->n_resources; i++)
        api_document_write_resource(&call->json, call->api->resources[i], wants_methods(call));
    json_end_array(&call->json);
    json_end_object(&call->json);
    api_request_reply(call);
}

void api_resource_get(struct api_request *call)
{
    api_document_write_resource(&call->json, call->resource, wants_methods(call));
    api_request_reply(call);
}

void api_resource_create(struct api_request *call)
{
    Skein__Wire__ApiResource *resource;
    bool is_conflict;
    const char *why;
    const char *part;

    if (!api_request_read(call))
        return;
    part = api_request_text(call, "pathPart");
    if (!api_request_is_good(call))
        return;
    resource = api_model_add_resource(call->arena, call->env, call->api, call->resource, part,
                                      &is_conflict, &why);
    if (resource == NULL && is_conflict) {
        api_request_refuse_conflict(call, why);
    } else if (resource == NULL) {
        api_request_refuse(call, why);
    } else {
        api_document_write_resource(&call->json, resource, false);
        api_request_commit(call, 201, false);
    }
}

void api_resource_delete(struct api_request *call)
{
    if (call->resource->parent_id[0] == 0) {
        api_request_refuse(call, "Root resource cannot be deleted");
        return;
    }
    api_model_remove_resource(call->api, call->resource);
    api_request_commit(call, 202, false);
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

void api_resource_put_method(struct api_request *call)
{
    const char *name = call->path.segments[5];
    const char *authorization;
    Skein__Wire__ApiMethod *method;

    if (!api_request_read(call))
        return;
    authorization = api_request_text(call, "authorizationType");
    if (!is_http_method(name)) {
        api_request_refuse(call, "Invalid HTTP method specified");
    } else if (call->method != NULL) {
        api_request_refuse_conflict(call, "Method already exists for this resource");
    } else if (strcmp(authorization, "NONE") != 0 ||
               aws_input_bool(&call->input, call->input.root, "apiKeyRequired", false)) {
        api_request_refuse(
            call, "Only methods with the authorization type NONE and without an API key are "
                  "supported by this cluster yet");
    } else {
        method = api_model_put_method(call->arena, call->resource, name);
        method->operation_name = api_request_text(call, "operationName");
        if (!api_request_is_good(call))
            return;
        api_document_write_method(&call->json, method, call->resource->id);
        api_request_commit(call, 201, false);
    }
}

void api_resource_get_method(struct api_request *call)
{
    api_document_write_method(&call->json, call->method, call->resource->id);
    api_request_reply(call);
}

void api_resource_delete_method(struct api_request *call)
{
    api_model_remove_method(call->resource, call->method);
    api_request_commit(call, 204, false);
}

void api_resource_put_integration(struct api_request *call)
{
    struct openapi_integration integration = {0};
    int64_t timeout_ms;
    const char *why;

    if (!api_request_read(call))
        return;
    timeout_ms =
        aws_input_integer(&call->input, call->input.root, "timeoutInMillis", OPENAPI_TIMEOUT_MS);
    integration.type = api_request_text(call, "type");
    integration.http_method = api_request_text(call, "httpMethod");
    integration.uri = api_request_text(call, "uri");
    integration.passthrough_behavior = api_request_text(call, "passthroughBehavior");
    integration.timeout_ms =
        timeout_ms < 0 || timeout_ms > OPENAPI_TIMEOUT_MS ? 0 : (uint32_t)timeout_ms;
    if (!api_request_is_good(call))
        return;
    why = openapi_check_integration(call->arena, &integration);
    if (why != NULL) {
        api_request_refuse(call, why);
        return;
    }
    call->method->integration = api_model_new_integration(call->arena, &integration);
    api_document_write_integration(&call->json, call->method->integration, call->resource->id);
    api_request_commit(call, 201, false);
}

void api_resource_get_integration(struct api_request *call)
{
    if (call->method->integration == NULL) {
        api_request_refuse_missing(call, "Integration");
        return;
    }
    api_document_write_integration(&call->json, call->method->integration, call->resource->id);
    api_request_reply(call);
}

void api_resource_delete_integration(struct api_request *call)
{
    if (call->method->integration == NULL) {
        api_request_refuse_missing(call, "Integration");
        return;
    }
    call->method->integration = NULL;
    api_request_commit(call, 204, false);
}
