/* OpenAPI documents (3.x, and Swagger 2.0) with API Gateway's extensions, in JSON: what of them
 * makes a REST API.
 *
 * A pure reader: the same bytes give the same document, and every complaint names its place. What
 * would weaken an API when ignored (security requirements, policies) is refused; what only
 * describes it (schemas, validators) is passed over with a warning. */

#ifndef NODE_AWS_OPENAPI_H
#define NODE_AWS_OPENAPI_H

#include "proto/base/arena.h"

#define OPENAPI_BYTES_MAX (6u << 20)
#define OPENAPI_DEPTH_MAX 64
#define OPENAPI_PATHS_MAX 300
#define OPENAPI_TIMEOUT_MS 29000

struct openapi_integration {
    const char *type;        /* "AWS_PROXY" or "MOCK"; NULL = the operation has no integration */
    const char *http_method; /* "" when not given */
    const char *uri;         /* as written; "" for MOCK */
    const char *function;    /* the name in it; "" for MOCK */
    const char *qualifier;   /* the version or alias in it; "" for $LATEST */
    const char *passthrough_behavior;
    uint32_t timeout_ms;
};

struct openapi_operation {
    const char *method; /* "POST", "ANY" */
    const char *name;   /* operationId, or "" */
    struct openapi_integration integration;
};

struct openapi_path {
    const char *path; /* "/orders/{id}", no slash at the end */
    struct openapi_operation *operations;
    size_t operation_count;
};

struct openapi { /* everything lies in the arena */
    const char *title;
    const char *description;
    const char *version;
    struct openapi_path *paths;
    size_t path_count;
    const char **binary_media_types;
    size_t binary_media_type_count;
    const char **warnings;
    size_t warning_count;
};

/* ERR_INVALID: `why` (in the arena) says what is wrong and where. ERR_TOO_LARGE likewise. */
enum error openapi_read(struct arena *arena, struct slice text, struct openapi *document,
                        const char **why);

/* An integration as the document or PutIntegration describes it, checked. NULL when it is fine,
 * else what is wrong. `integration` has the members as given; type and function are filled in. */
const char *openapi_check_integration(struct arena *arena, struct openapi_integration *integration);

#endif
