#include "node/aws/api_document.h"

/* Epoch seconds. */
static void write_time(struct json_write *json, const char *key, uint64_t wall_ms)
{
    json_member_u64(json, key, wall_ms / 1000);
}

static void write_optional(struct json_write *json, const char *key, const char *text)
{
    if (text[0] != 0)
        json_member_text(json, key, text);
}

static void write_texts(struct json_write *json, const char *key, char *const *texts, size_t count)
{
    json_key(json, key);
    json_begin_array(json);
    for (size_t i = 0; i < count; i++)
        json_text(json, texts[i]);
    json_end_array(json);
}

static void write_warnings(struct json_write *json, const struct openapi *document)
{
    json_key(json, "warnings");
    json_begin_array(json);
    for (size_t i = 0; i < document->warning_count; i++)
        json_text(json, document->warnings[i]);
    json_end_array(json);
}

void api_document_write(struct json_write *json, const Skein__Wire__Api *api,
                        const struct openapi *warnings)
{
    static char edge[] = "EDGE";
    static char *const edge_only[] = {edge};
    bool has_types = api->n_endpoint_types > 0;

    json_begin_object(json);
    json_member_text(json, "id", api->id);
    json_member_text(json, "name", api->name);
    write_optional(json, "description", api->description);
    write_optional(json, "version", api->version);
    write_time(json, "createdDate", api->created_ms);
    if (warnings != NULL && warnings->warning_count > 0)
        write_warnings(json, warnings);
    if (api->n_binary_media_types > 0)
        write_texts(json, "binaryMediaTypes", api->binary_media_types, api->n_binary_media_types);
    json_member_text(json, "apiKeySource", "HEADER");
    json_key(json, "endpointConfiguration");
    json_begin_object(json);
    write_texts(json, "types", has_types ? api->endpoint_types : edge_only,
                has_types ? api->n_endpoint_types : 1);
    json_end_object(json);
    json_member_bool(json, "disableExecuteApiEndpoint", false);
    json_member_text(json, "rootResourceId", api->n_resources > 0 ? api->resources[0]->id : "");
    json_end_object(json);
}

void api_document_write_integration(struct json_write *json,
                                    const Skein__Wire__ApiIntegration *integration,
                                    const char *resource_id)
{
    json_begin_object(json);
    json_member_text(json, "type", integration->type);
    write_optional(json, "httpMethod", integration->http_method);
    write_optional(json, "uri", integration->uri);
    json_member_text(json, "passthroughBehavior", integration->passthrough_behavior);
    json_member_u64(json, "timeoutInMillis", integration->timeout_ms);
    json_member_text(json, "cacheNamespace", resource_id);
    json_key(json, "cacheKeyParameters");
    json_begin_array(json);
    json_end_array(json);
    json_end_object(json);
}

void api_document_write_method(struct json_write *json, const Skein__Wire__ApiMethod *method,
                               const char *resource_id)
{
    json_begin_object(json);
    json_member_text(json, "httpMethod", method->http_method);
    json_member_text(json, "authorizationType", method->authorization_type);
    json_member_bool(json, "apiKeyRequired", method->api_key_required);
    write_optional(json, "operationName", method->operation_name);
    if (method->integration != NULL) {
        json_key(json, "methodIntegration");
        api_document_write_integration(json, method->integration, resource_id);
    }
    json_end_object(json);
}

void api_document_write_resource(struct json_write *json, const Skein__Wire__ApiResource *resource,
                                 bool has_methods)
{
    json_begin_object(json);
    json_member_text(json, "id", resource->id);
    write_optional(json, "parentId", resource->parent_id);
    write_optional(json, "pathPart", resource->path_part);
    json_member_text(json, "path", resource->path);
    if (resource->n_methods > 0) {
        json_key(json, "resourceMethods");
        json_begin_object(json);
        for (size_t i = 0; i < resource->n_methods; i++) {
            json_key(json, resource->methods[i]->http_method);
            if (has_methods)
                api_document_write_method(json, resource->methods[i], resource->id);
            else
                json_raw(json, SLICE_LITERAL("{}"));
        }
        json_end_object(json);
    }
    json_end_object(json);
}

void api_document_write_deployment(struct json_write *json,
                                   const Skein__Wire__ApiDeployment *deployment)
{
    json_begin_object(json);
    json_member_text(json, "id", deployment->id);
    write_optional(json, "description", deployment->description);
    write_time(json, "createdDate", deployment->created_ms);
    json_end_object(json);
}

void api_document_write_stage(struct json_write *json, const Skein__Wire__ApiStage *stage)
{
    json_begin_object(json);
    json_member_text(json, "deploymentId", stage->deployment_id);
    json_member_text(json, "stageName", stage->name);
    write_optional(json, "description", stage->description);
    json_member_bool(json, "cacheClusterEnabled", false);
    json_member_text(json, "cacheClusterStatus", "NOT_AVAILABLE");
    json_key(json, "methodSettings");
    json_raw(json, SLICE_LITERAL("{}"));
    if (stage->n_variables > 0) {
        json_key(json, "variables");
        json_begin_object(json);
        for (size_t i = 0; i < stage->n_variables; i++)
            json_member_text(json, stage->variables[i]->name, stage->variables[i]->value);
        json_end_object(json);
    }
    json_member_bool(json, "tracingEnabled", false);
    write_time(json, "createdDate", stage->created_ms);
    write_time(json, "lastUpdatedDate", stage->updated_ms);
    json_end_object(json);
}
