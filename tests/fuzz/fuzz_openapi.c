/* OpenAPI documents from strangers: read, and when they are good, made into resources and into a
 * route table that is asked for every path of the document. */

#include "node/aws/api_model.h"
#include "node/aws/gateway_route.h"
#include "proto/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void count_up(struct env *env, void *to, size_t size)
{
    uint64_t *next = env->impl;

    for (size_t i = 0; i < size; i++)
        ((uint8_t *)to)[i] = (uint8_t)((*next)++ * 0x9e3779b97f4a7c15u >> 56);
}

static uint64_t no_time(struct env *env)
{
    (void)env;
    return 0;
}

static void ask_routes(struct arena *arena, const Skein__Wire__Api *api,
                       const struct openapi *document)
{
    const struct gateway_node *routes =
        gateway_route_compile(arena, api->resources, api->n_resources);

    for (size_t i = 0; i < document->path_count; i++) {
        struct gateway_match match;
        enum error rc = gateway_route_find(routes, arena, slice_text(document->paths[i].path),
                                           SLICE_LITERAL("GET"), &match);

        CHECK(rc != OK || match.parameter_count <= GATEWAY_PARAMETERS_MAX);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct env_dice dice = {.random_bytes = count_up};
    static const struct env_clock clock = {.wall_ms = no_time};
    uint64_t counter = 0;
    struct env env = {.dice = &dice, .clock = &clock, .impl = &counter};
    struct openapi document;
    struct arena arena;
    const char *why = NULL;

    arena_init(&arena);
    if (openapi_read(&arena, slice_of(data, size), &document, &why) != OK) {
        CHECK(why != NULL);
    } else {
        Skein__Wire__Api *api = api_model_new(&arena, &env, document.title);

        if (api_model_import(&arena, &env, api, &document, true) == NULL)
            ask_routes(&arena, api, &document);
    }
    arena_close(&arena);
    return 0;
}
