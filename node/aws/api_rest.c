#include "node/aws/api_rest.h"

#include "node/aws/api_document.h"
#include "node/aws/api_model.h"
#include "node/aws/aws_wire.h"

#include <strings.h>

#define LIST_DEFAULT 25
#define LIST_MAX 500

/* The strings of a list member, in the arena. */
static size_t read_texts(struct api_request *call, const json_t *object, const char *key,
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

static void create_api(struct api_request *call)
{
    const char *name;

    if (!api_request_read(call))
        return;
    name = api_request_text(call, "name");
    call->api = api_model_new(call->arena, call->env, name);
    call->api->description = api_request_text(call, "description");
    call->api->version = api_request_text(call, "version");
    call->api->n_binary_media_types =
        read_texts(call, call->input.root, "binaryMediaTypes", &call->api->binary_media_types);
    call->api->n_endpoint_types =
        read_texts(call, aws_input_object(&call->input, call->input.root, "endpointConfiguration"),
                   "types", &call->api->endpoint_types);
    if (!api_request_is_good(call))
        return;
    if (name[0] == 0) {
        api_request_refuse(call, "API name must be specified");
        return;
    }
    if (json_object_get(call->input.root, "cloneFrom") != NULL) {
        api_request_refuse(call, "cloneFrom is not supported by this cluster");
        return;
    }
    api_document_write(&call->json, call->api, NULL);
    api_request_commit(call, 201, false);
}

static bool fails_on_warnings(struct api_request *call)
{
    struct slice value = http_query_find(call->request->exchange, "failonwarnings");

    return value.size == 4 && strncasecmp((const char *)value.data, "true", 4) == 0;
}

/* The document in the body. False: the request was answered. */
static bool read_document(struct api_request *call, struct openapi *document)
{
    const char *why;

    if (openapi_read(call->arena, call->request->exchange->body, document, &why) != OK) {
        api_request_refuse(call, why);
        return false;
    }
    if (document->warning_count > 0 && fails_on_warnings(call)) {
        api_request_refuse(call, arena_printf(call->arena, "Warnings found during import: %s",
                                              document->warnings[0]));
        return false;
    }
    return true;
}

static void import_document(struct api_request *call, const struct openapi *document,
                            bool is_overwrite, int success_status)
{
    const char *why = api_model_import(call->arena, call->env, call->api, document, is_overwrite);

    if (why != NULL) {
        api_request_refuse(call, why);
        return;
    }
    api_document_write(&call->json, call->api, document);
    api_request_commit(call, success_status, false);
}

static void import_api(struct api_request *call)
{
    struct slice type = http_query_find(call->request->exchange, "endpointConfigurationTypes");
    struct openapi document;

    if (!read_document(call, &document))
        return;
    call->api = api_model_new(call->arena, call->env, document.title);
    if (type.size > 0) {
        call->api->endpoint_types = arena_alloc(call->arena, sizeof(char *));
        call->api->endpoint_types[0] = arena_text(call->arena, type);
        call->api->n_endpoint_types = 1;
    }
    import_document(call, &document, true, 201);
}

void api_rest_create(struct api_request *call)
{
    if (slice_equal_text(http_query_find(call->request->exchange, "mode"), "import"))
        import_api(call);
    else
        create_api(call);
}

void api_rest_put(struct api_request *call)
{
    struct slice mode = http_query_find(call->request->exchange, "mode");
    struct openapi document;

    if (mode.size > 0 && !slice_equal_text(mode, "merge") && !slice_equal_text(mode, "overwrite"))
        api_request_refuse(call, "mode must be merge or overwrite");
    else if (read_document(call, &document))
        import_document(call, &document, slice_equal_text(mode, "overwrite"), 200);
}

void api_rest_get(struct api_request *call)
{
    api_document_write(&call->json, call->api, NULL);
    api_request_reply(call);
}

void api_rest_delete(struct api_request *call)
{
    api_request_commit(call, 202, true);
}

struct listing {
    struct api_request *call;
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

void api_rest_list(struct api_request *call)
{
    struct http_exchange *exchange = call->request->exchange;
    struct listing listing = {
        .call = call,
        .after = arena_text(call->arena, http_query_find(exchange, "position")),
        .limit = aws_input_page(http_query_find(exchange, "limit"), LIST_DEFAULT, LIST_MAX),
    };

    if (listing.limit == 0) {
        api_request_refuse(call, "limit must be between 1 and 500");
        return;
    }
    json_begin_object(&call->json);
    json_key(&call->json, "item");
    json_begin_array(&call->json);
    view_each(call->view, "api/", &listing, list_one);
    json_end_array(&call->json);
    if (listing.has_more)
        json_member_text(&call->json, "position", listing.last);
    json_end_object(&call->json);
    api_request_reply(call);
}
