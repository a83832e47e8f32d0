#include "node/aws/openapi.h"

#include "node/aws/json_check.h"
#include "node/aws/lambda_name.h"
#include "proto/base/check.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

#define WARNINGS_MAX 50
#define PLACE_BYTES 512
#define WHY_BYTES 1024

struct reading {
    struct arena *arena;
    struct openapi *document;
    const char *why; /* the first complaint */
};

static const char *const methods[] = {"get", "put", "post", "delete", "options", "head", "patch"};

#define ANY_METHOD "x-amazon-apigateway-any-method"

/* ---- complaints ---- */

static char *format(struct arena *arena, const char *place, const char *text, va_list arguments)
    __attribute__((format(printf, 3, 0)));

static char *format(struct arena *arena, const char *place, const char *text, va_list arguments)
{
    char why[WHY_BYTES];

    vsnprintf(why, sizeof(why), text, arguments);
    return arena_printf(arena, "%s: %s", place, why);
}

/* Note what is wrong; the first complaint counts. Always false. */
static bool refuse(struct reading *reading, const char *place, const char *text, ...)
    __attribute__((format(printf, 3, 4)));

static bool refuse(struct reading *reading, const char *place, const char *text, ...)
{
    va_list arguments;

    if (reading->why != NULL)
        return false;
    va_start(arguments, text);
    reading->why = format(reading->arena, place, text, arguments);
    va_end(arguments);
    return false;
}

static void warn(struct reading *reading, const char *place, const char *text)
{
    struct openapi *document = reading->document;

    if (document->warning_count < WARNINGS_MAX)
        document->warnings[document->warning_count++] =
            arena_printf(reading->arena, "%s: %s", place, text);
}

static void place_of(char place[PLACE_BYTES], const char *parent, const char *key)
{
    int size = snprintf(place, PLACE_BYTES, "%s%s%s", parent, parent[0] != 0 ? "." : "", key);

    if (size >= PLACE_BYTES)
        memcpy(place + PLACE_BYTES - 4, "...", 4);
}

/* ---- members ---- */

/* True when absent, null or of that type; `value` is NULL for the first two. */
static bool member(struct reading *reading, const json_t *object, const char *parent,
                   const char *key, json_type type, const char *wanted, json_t **value)
{
    char place[PLACE_BYTES];

    *value = json_object_get(object, key);
    if (*value == NULL || json_is_null(*value)) {
        *value = NULL;
        return true;
    }
    if (json_typeof(*value) == type)
        return true;
    place_of(place, parent, key);
    return refuse(reading, place, "must be %s", wanted);
}

static bool text_member(struct reading *reading, const json_t *object, const char *parent,
                        const char *key, const char **text)
{
    json_t *value;

    if (!member(reading, object, parent, key, JSON_STRING, "a string", &value))
        return false;
    *text = value != NULL ? arena_text(reading->arena, slice_of(json_string_value(value),
                                                                json_string_length(value)))
                          : "";
    return true;
}

/* ---- integrations ---- */

static const char *integration_type(const char *given)
{
    static const char *const known[] = {"AWS_PROXY", "MOCK", "AWS", "HTTP", "HTTP_PROXY"};

    for (size_t i = 0; i < ARRAY_COUNT(known); i++) {
        if (strcasecmp(given, known[i]) == 0)
            return known[i];
    }
    return NULL;
}

const char *openapi_check_integration(struct arena *arena, struct openapi_integration *integration)
{
    const char *type = integration_type(integration->type);
    struct lambda_name name;

    if (type == NULL)
        return arena_printf(arena, "type: '%s' is no integration type", integration->type);
    integration->type = type;
    integration->function = "";
    integration->qualifier = "";
    if (integration->timeout_ms < 50 || integration->timeout_ms > OPENAPI_TIMEOUT_MS)
        return "timeoutInMillis: Timeout should be between 50 ms and 29000 ms";
    if (strcmp(type, "MOCK") == 0)
        return NULL;
    if (strcmp(type, "AWS_PROXY") != 0)
        return arena_printf(arena,
                            "type: %s integrations are not supported by this cluster yet, only "
                            "AWS_PROXY and MOCK",
                            type);
    if (integration->http_method[0] == 0)
        return "httpMethod: Enumeration value for HttpMethod must be non-empty";
    if (lambda_name_parse_integration(slice_text(integration->uri), &name) != OK)
        return "uri: Invalid ARN specified in the request";
    integration->function = arena_text(arena, slice_text(name.name));
    if (!lambda_name_is_latest(&name))
        integration->qualifier = arena_text(arena, slice_text(name.qualifier));
    return NULL;
}

static bool read_integration(struct reading *reading, const json_t *operation, const char *parent,
                             struct openapi_integration *integration)
{
    static const char key[] = "x-amazon-apigateway-integration";
    char place[PLACE_BYTES];
    json_t *object;
    json_t *timeout;
    const char *why;

    if (!member(reading, operation, parent, key, JSON_OBJECT, "an object", &object))
        return false;
    place_of(place, parent, key);
    if (object == NULL) {
        warn(reading, parent, "has no x-amazon-apigateway-integration and cannot be deployed");
        return true;
    }
    if (!text_member(reading, object, place, "type", &integration->type) ||
        !text_member(reading, object, place, "httpMethod", &integration->http_method) ||
        !text_member(reading, object, place, "uri", &integration->uri) ||
        !text_member(reading, object, place, "passthroughBehavior",
                     &integration->passthrough_behavior) ||
        !member(reading, object, place, "timeoutInMillis", JSON_INTEGER, "an integer", &timeout))
        return false;
    integration->timeout_ms = OPENAPI_TIMEOUT_MS;
    if (timeout != NULL) {
        json_int_t ms = json_integer_value(timeout);

        integration->timeout_ms = ms < 0 || ms > OPENAPI_TIMEOUT_MS ? 0 : (uint32_t)ms;
    }
    why = openapi_check_integration(reading->arena, integration);
    if (why != NULL)
        return refuse(reading, place, "%s", why);
    if (strcmp(integration->type, "MOCK") == 0 && json_object_get(object, "responses") != NULL)
        warn(reading, place, "responses are passed over: a MOCK integration answers 200, empty");
    return true;
}

/* ---- paths ---- */

/* Requirements nobody would enforce. */
static bool check_security(struct reading *reading, const json_t *object, const char *parent)
{
    static const char *const keys[] = {"security", "x-amazon-apigateway-auth",
                                       "x-amazon-apigateway-policy"};

    for (size_t i = 0; i < ARRAY_COUNT(keys); i++) {
        const json_t *value = json_object_get(object, keys[i]);
        char place[PLACE_BYTES];

        place_of(place, parent, keys[i]);
        if (json_array_size(value) > 0 || json_object_size(value) > 0)
            return refuse(reading, place,
                          "is not supported by this cluster yet: the API would be open");
    }
    return true;
}

static bool read_operation(struct reading *reading, const json_t *object, const char *place,
                           struct openapi_operation *operation)
{
    if (!json_is_object(object))
        return refuse(reading, place, "must be an object");
    return check_security(reading, object, place) &&
           text_member(reading, object, place, "operationId", &operation->name) &&
           read_integration(reading, object, place, &operation->integration);
}

/* "POST" for "post", "ANY" for the extension, NULL for anything else. */
static const char *method_of(struct arena *arena, const char *key)
{
    if (strcmp(key, ANY_METHOD) == 0)
        return "ANY";
    for (size_t i = 0; i < ARRAY_COUNT(methods); i++) {
        if (strcmp(methods[i], key) == 0) {
            char *method = arena_text(arena, slice_text(key));

            for (char *c = method; *c != 0; c++)
                *c = (char)(*c - 'a' + 'A');
            return method;
        }
    }
    return NULL;
}

static bool is_known_key(const char *key)
{
    static const char *const known[] = {"summary", "description", "parameters", "servers"};

    for (size_t i = 0; i < ARRAY_COUNT(known); i++) {
        if (strcmp(known[i], key) == 0)
            return true;
    }
    return strncmp(key, "x-", 2) == 0;
}

static bool read_path(struct reading *reading, json_t *item, const char *place,
                      struct openapi_path *path)
{
    char inner[PLACE_BYTES];
    const char *key;
    json_t *value;

    if (!json_is_object(item))
        return refuse(reading, place, "must be an object");
    path->operations =
        arena_alloc(reading->arena, (ARRAY_COUNT(methods) + 1) * sizeof(*path->operations));
    json_object_foreach(item, key, value)
    {
        const char *method = method_of(reading->arena, key);

        place_of(inner, place, key);
        if (strcmp(key, "$ref") == 0)
            return refuse(reading, inner, "references are not supported here");
        if (method == NULL) {
            if (!is_known_key(key))
                warn(reading, inner, "is not known and was passed over");
            continue;
        }
        path->operations[path->operation_count].method = method;
        if (!read_operation(reading, value, inner, &path->operations[path->operation_count++]))
            return false;
    }
    return true;
}

/* Without the slash at the end, unless it is all there is. */
static const char *plain_path(struct arena *arena, const char *text)
{
    size_t size = strlen(text);

    if (size > 1 && text[size - 1] == '/')
        size--;
    return arena_text(arena, slice_of(text, size));
}

static bool is_duplicate(const struct openapi *document, const char *path)
{
    for (size_t i = 0; i < document->path_count; i++) {
        if (strcmp(document->paths[i].path, path) == 0)
            return true;
    }
    return false;
}

static bool read_paths(struct reading *reading, const json_t *root)
{
    struct openapi *document = reading->document;
    char place[PLACE_BYTES];
    json_t *paths;
    const char *key;
    json_t *value;

    if (!member(reading, root, "", "paths", JSON_OBJECT, "an object", &paths))
        return false;
    if (paths == NULL)
        return refuse(reading, "paths", "is missing");
    if (json_object_size(paths) > OPENAPI_PATHS_MAX)
        return refuse(reading, "paths", "more than %d paths", OPENAPI_PATHS_MAX);
    document->paths =
        arena_alloc(reading->arena, (json_object_size(paths) + 1) * sizeof(*document->paths));
    json_object_foreach(paths, key, value)
    {
        const char *path = plain_path(reading->arena, key);

        if (strncmp(key, "x-", 2) == 0)
            continue;
        place_of(place, "paths", key);
        if (key[0] != '/')
            return refuse(reading, place, "a path must start with a slash");
        if (is_duplicate(document, path))
            return refuse(reading, place, "the path is there twice");
        document->paths[document->path_count].path = path;
        if (!read_path(reading, value, place, &document->paths[document->path_count++]))
            return false;
    }
    return true;
}

/* ---- the whole ---- */

static bool read_head(struct reading *reading, const json_t *root)
{
    struct openapi *document = reading->document;
    const char *version;
    const char *swagger;
    json_t *info;

    if (!text_member(reading, root, "", "openapi", &version) ||
        !text_member(reading, root, "", "swagger", &swagger) ||
        !member(reading, root, "", "info", JSON_OBJECT, "an object", &info))
        return false;
    if (strncmp(version, "3.", 2) != 0 && strcmp(swagger, "2.0") != 0)
        return refuse(reading, "openapi",
                      "the document must say which version it is: \"openapi\": \"3.0.1\" or "
                      "\"swagger\": \"2.0\"");
    if (!text_member(reading, info, "info", "title", &document->title) ||
        !text_member(reading, info, "info", "description", &document->description) ||
        !text_member(reading, info, "info", "version", &document->version))
        return false;
    if (document->title[0] == 0)
        return refuse(reading, "info.title", "is missing");
    return check_security(reading, root, "");
}

static bool read_binary_media_types(struct reading *reading, const json_t *root)
{
    static const char key[] = "x-amazon-apigateway-binary-media-types";
    struct openapi *document = reading->document;
    json_t *list;
    size_t index;
    json_t *value;

    if (!member(reading, root, "", key, JSON_ARRAY, "a list", &list))
        return false;
    document->binary_media_types = arena_alloc(
        reading->arena, (json_array_size(list) + 1) * sizeof(*document->binary_media_types));
    json_array_foreach(list, index, value)
    {
        if (!json_is_string(value))
            return refuse(reading, key, "must be a list of strings");
        document->binary_media_types[document->binary_media_type_count++] =
            arena_text(reading->arena, slice_text(json_string_value(value)));
    }
    return true;
}

static bool read_root(struct reading *reading, const json_t *root)
{
    if (!json_is_object(root))
        return refuse(reading, "document", "must be an object");
    return read_head(reading, root) && read_paths(reading, root) &&
           read_binary_media_types(reading, root);
}

static bool is_json(struct slice text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (strchr(" \t\r\n", text.data[i]) == NULL || text.data[i] == 0)
            return text.data[i] == '{';
    }
    return false;
}

static bool read_text(struct reading *reading, struct slice text)
{
    json_error_t error = {0};
    json_t *root;
    bool is_good;

    if (text.size == 0)
        return refuse(reading, "document", "is empty");
    if (!is_json(text))
        return refuse(reading, "document",
                      "only JSON is read by this cluster; convert YAML to JSON first");
    root = json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL)
        return refuse(reading, "document", "%s at line %d, column %d", error.text, error.line,
                      error.column);
    is_good = json_check(text, OPENAPI_DEPTH_MAX)
                  ? read_root(reading, root)
                  : refuse(reading, "document", "more than %d levels deep", OPENAPI_DEPTH_MAX);
    json_decref(root);
    return is_good;
}

enum error openapi_read(struct arena *arena, struct slice text, struct openapi *document,
                        const char **why)
{
    struct openapi found = {.warnings = arena_alloc(arena, WARNINGS_MAX * sizeof(char *))};
    struct reading reading = {.arena = arena, .document = &found};

    if (text.size > OPENAPI_BYTES_MAX) {
        *why = "document: larger than 6 MB";
        return ERR_TOO_LARGE;
    }
    if (!read_text(&reading, text)) {
        *why = reading.why;
        return ERR_INVALID;
    }
    *document = found;
    return OK;
}
