#include "node/aws/api_model.h"

#include "proto/base/check.h"

#include <ctype.h>

char *api_model_new_id(struct arena *arena, struct env *env)
{
    static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    char *id = arena_alloc(arena, API_ID_BYTES + 1);
    uint64_t dice[API_ID_BYTES];

    env->dice->random_bytes(env, dice, sizeof(dice));
    for (size_t i = 0; i < API_ID_BYTES; i++)
        id[i] = alphabet[dice[i] % (sizeof(alphabet) - 1)];
    return id;
}

static char *keep(struct arena *arena, const char *text)
{
    return arena_text(arena, slice_text(text));
}

/* A list of pointers with one more at its end. */
static void *grow(struct arena *arena, void *items, size_t count, void *item)
{
    void **grown = arena_alloc(arena, (count + 1) * sizeof(*grown));

    if (count > 0)
        memcpy(grown, items, count * sizeof(*grown));
    grown[count] = item;
    return grown;
}

/* Take `item` out of a list of pointers; gives the new count. */
static size_t take_out(void *items, size_t count, const void *item)
{
    void **list = items;
    size_t kept = 0;

    for (size_t i = 0; i < count; i++) {
        if (list[i] != item)
            list[kept++] = list[i];
    }
    return kept;
}

/* ---- finding ---- */

Skein__Wire__ApiResource *api_model_find_resource(const Skein__Wire__Api *api, const char *id)
{
    for (size_t i = 0; i < api->n_resources; i++) {
        if (strcmp(api->resources[i]->id, id) == 0)
            return api->resources[i];
    }
    return NULL;
}

Skein__Wire__ApiMethod *api_model_find_method(const Skein__Wire__ApiResource *resource,
                                              const char *http_method)
{
    for (size_t i = 0; i < resource->n_methods; i++) {
        if (strcmp(resource->methods[i]->http_method, http_method) == 0)
            return resource->methods[i];
    }
    return NULL;
}

Skein__Wire__ApiDeployment *api_model_find_deployment(const Skein__Wire__Api *api, const char *id)
{
    for (size_t i = 0; i < api->n_deployments; i++) {
        if (strcmp(api->deployments[i]->id, id) == 0)
            return api->deployments[i];
    }
    return NULL;
}

Skein__Wire__ApiStage *api_model_find_stage(const Skein__Wire__Api *api, const char *name)
{
    for (size_t i = 0; i < api->n_stages; i++) {
        if (strcmp(api->stages[i]->name, name) == 0)
            return api->stages[i];
    }
    return NULL;
}

/* ---- resources ---- */

static Skein__Wire__ApiResource *push_resource(struct arena *arena, struct env *env,
                                               Skein__Wire__Api *api, const char *parent_id,
                                               const char *path_part, const char *path)
{
    Skein__Wire__ApiResource *resource = arena_alloc(arena, sizeof(*resource));

    skein__wire__api_resource__init(resource);
    resource->id = api_model_new_id(arena, env);
    resource->parent_id = keep(arena, parent_id);
    resource->path_part = keep(arena, path_part);
    resource->path = keep(arena, path);
    api->resources = grow(arena, api->resources, api->n_resources++, resource);
    return resource;
}

Skein__Wire__Api *api_model_new(struct arena *arena, struct env *env, const char *name)
{
    Skein__Wire__Api *api = arena_alloc(arena, sizeof(*api));

    skein__wire__api__init(api);
    api->id = api_model_new_id(arena, env);
    api->name = keep(arena, name);
    api->created_ms = env_wall_ms(env);
    push_resource(arena, env, api, "", "", "/");
    return api;
}

static bool is_variable(const char *part)
{
    return part[0] == '{';
}

static bool is_greedy(const char *part)
{
    size_t size = strlen(part);

    return is_variable(part) && size > 3 && part[size - 2] == '+';
}

/* "orders", "{id}" or "{proxy+}". */
static bool is_path_part(const char *part)
{
    size_t size = strlen(part);
    size_t start = is_variable(part) ? 1 : 0;
    size_t end = size - start - (is_greedy(part) ? 1 : 0);

    if (size == 0 || (is_variable(part) && (size < 3 || part[size - 1] != '}')))
        return false;
    for (size_t i = start; i < end; i++) {
        if (!isalnum((unsigned char)part[i]) && strchr("._-:", part[i]) == NULL)
            return false;
    }
    return true;
}

/* What stands against `part` below `parent`. */
static const char *check_siblings(struct arena *arena, const Skein__Wire__Api *api,
                                  const Skein__Wire__ApiResource *parent, const char *part,
                                  bool *is_conflict)
{
    for (size_t i = 0; i < api->n_resources; i++) {
        const Skein__Wire__ApiResource *other = api->resources[i];

        if (strcmp(other->parent_id, parent->id) != 0)
            continue;
        if (strcmp(other->path_part, part) == 0) {
            *is_conflict = true;
            return arena_printf(
                arena, "Another resource with the same parent already has this name: %s", part);
        }
        if (is_variable(part) && is_variable(other->path_part) &&
            is_greedy(part) == is_greedy(other->path_part))
            return arena_printf(arena,
                                "A sibling (%s) of this resource already has a variable path part "
                                "-- only one unique variable path part is allowed",
                                other->path_part);
    }
    return NULL;
}

Skein__Wire__ApiResource *api_model_add_resource(struct arena *arena, struct env *env,
                                                 Skein__Wire__Api *api,
                                                 const Skein__Wire__ApiResource *parent,
                                                 const char *path_part, bool *is_conflict,
                                                 const char **why)
{
    bool is_below_root = parent->parent_id[0] == 0;

    *is_conflict = false;
    if (!is_path_part(path_part)) {
        *why = "Resource's path part only allow a-zA-Z0-9._-: or a valid greedy path variable and "
               "curly braces at the beginning and the end.";
        return NULL;
    }
    if (is_greedy(parent->path_part)) {
        *why = "Cannot create a child of a resource with a greedy path variable: "
               "the greedy path variable must be at the end.";
        return NULL;
    }
    if (api->n_resources >= API_RESOURCES_MAX) {
        *why = "Maximum number of resources for this API has been reached.";
        return NULL;
    }
    *why = check_siblings(arena, api, parent, path_part, is_conflict);
    if (*why != NULL)
        return NULL;
    return push_resource(
        arena, env, api, parent->id, path_part,
        arena_printf(arena, "%s/%s", is_below_root ? "" : parent->path, path_part));
}

static bool is_below(const Skein__Wire__Api *api, const Skein__Wire__ApiResource *resource,
                     const char *ancestor_id)
{
    while (resource != NULL && strcmp(resource->id, ancestor_id) != 0)
        resource = api_model_find_resource(api, resource->parent_id);
    return resource != NULL;
}

void api_model_remove_resource(Skein__Wire__Api *api, Skein__Wire__ApiResource *resource)
{
    for (size_t i = api->n_resources; i-- > 0;) { /* children come after their parents */
        if (is_below(api, api->resources[i], resource->id) && api->resources[i] != resource)
            api->n_resources = take_out(api->resources, api->n_resources, api->resources[i]);
    }
    api->n_resources = take_out(api->resources, api->n_resources, resource);
}

/* ---- methods and integrations ---- */

Skein__Wire__ApiMethod *api_model_put_method(struct arena *arena,
                                             Skein__Wire__ApiResource *resource,
                                             const char *http_method)
{
    Skein__Wire__ApiMethod *method = api_model_find_method(resource, http_method);

    if (method != NULL)
        return method;
    method = arena_alloc(arena, sizeof(*method));
    skein__wire__api_method__init(method);
    method->http_method = keep(arena, http_method);
    method->authorization_type = keep(arena, "NONE");
    resource->methods = grow(arena, resource->methods, resource->n_methods++, method);
    return method;
}

void api_model_remove_method(Skein__Wire__ApiResource *resource, Skein__Wire__ApiMethod *method)
{
    resource->n_methods = take_out(resource->methods, resource->n_methods, method);
}

Skein__Wire__ApiIntegration *api_model_new_integration(struct arena *arena,
                                                       const struct openapi_integration *from)
{
    Skein__Wire__ApiIntegration *integration = arena_alloc(arena, sizeof(*integration));

    skein__wire__api_integration__init(integration);
    integration->type = keep(arena, from->type);
    integration->http_method = keep(arena, from->http_method);
    integration->uri = keep(arena, from->uri);
    integration->function = keep(arena, from->function);
    integration->qualifier = keep(arena, from->qualifier);
    integration->passthrough_behavior = keep(
        arena, from->passthrough_behavior[0] != 0 ? from->passthrough_behavior : "WHEN_NO_MATCH");
    integration->timeout_ms = from->timeout_ms;
    return integration;
}

/* ---- import ---- */

static Skein__Wire__ApiResource *
find_child(const Skein__Wire__Api *api, const Skein__Wire__ApiResource *parent, const char *part)
{
    for (size_t i = 0; i < api->n_resources; i++) {
        if (strcmp(api->resources[i]->parent_id, parent->id) == 0 &&
            strcmp(api->resources[i]->path_part, part) == 0)
            return api->resources[i];
    }
    return NULL;
}

/* The resource of a path, made with all those above it when it is not there. */
static Skein__Wire__ApiResource *resource_of_path(struct arena *arena, struct env *env,
                                                  Skein__Wire__Api *api, const char *path,
                                                  const char **why)
{
    Skein__Wire__ApiResource *resource = api->resources[0];
    const char *rest = path + 1;
    bool is_conflict;

    while (*rest != 0 && resource != NULL) {
        size_t size = strcspn(rest, "/");
        const char *part = arena_text(arena, slice_of(rest, size));
        Skein__Wire__ApiResource *child = find_child(api, resource, part);

        if (child == NULL)
            child = api_model_add_resource(arena, env, api, resource, part, &is_conflict, why);
        resource = child;
        rest += size + (rest[size] == '/');
    }
    return resource;
}

static void set_binary_media_types(struct arena *arena, Skein__Wire__Api *api,
                                   const struct openapi *document)
{
    api->binary_media_types =
        arena_alloc(arena, (document->binary_media_type_count + 1) * sizeof(char *));
    api->n_binary_media_types = document->binary_media_type_count;
    for (size_t i = 0; i < document->binary_media_type_count; i++)
        api->binary_media_types[i] = keep(arena, document->binary_media_types[i]);
}

static void import_operation(struct arena *arena, Skein__Wire__ApiResource *resource,
                             const struct openapi_operation *operation)
{
    Skein__Wire__ApiMethod *method = api_model_put_method(arena, resource, operation->method);

    method->operation_name = keep(arena, operation->name);
    method->integration = operation->integration.type != NULL
                              ? api_model_new_integration(arena, &operation->integration)
                              : NULL;
}

const char *api_model_import(struct arena *arena, struct env *env, Skein__Wire__Api *api,
                             const struct openapi *document, bool is_overwrite)
{
    if (is_overwrite) {
        api->n_resources = 1; /* the root keeps its id */
        api->resources[0]->n_methods = 0;
        api->name = keep(arena, document->title);
    }
    if (is_overwrite || document->description[0] != 0)
        api->description = keep(arena, document->description);
    if (is_overwrite || document->binary_media_type_count > 0)
        set_binary_media_types(arena, api, document);
    api->version = keep(arena, document->version);
    for (size_t i = 0; i < document->path_count; i++) {
        const struct openapi_path *path = &document->paths[i];
        const char *why = NULL;
        Skein__Wire__ApiResource *resource = resource_of_path(arena, env, api, path->path, &why);

        if (resource == NULL)
            return arena_printf(arena, "Unable to create resource at path '%s': %s", path->path,
                                why);
        for (size_t k = 0; k < path->operation_count; k++)
            import_operation(arena, resource, &path->operations[k]);
    }
    return NULL;
}

/* ---- deployments and stages ---- */

bool api_model_is_deployed(const Skein__Wire__Api *api, const char *deployment_id)
{
    for (size_t i = 0; i < api->n_stages; i++) {
        if (strcmp(api->stages[i]->deployment_id, deployment_id) == 0)
            return true;
    }
    return false;
}

static void drop_old_deployments(Skein__Wire__Api *api)
{
    for (size_t i = 0; i < api->n_deployments && api->n_deployments >= API_DEPLOYMENTS_KEPT;) {
        Skein__Wire__ApiDeployment *deployment = api->deployments[i];

        if (api_model_is_deployed(api, deployment->id))
            i++;
        else
            api->n_deployments = take_out(api->deployments, api->n_deployments, deployment);
    }
}

static const char *check_deployable(const Skein__Wire__Api *api)
{
    size_t method_count = 0;

    for (size_t i = 0; i < api->n_resources; i++) {
        for (size_t k = 0; k < api->resources[i]->n_methods; k++) {
            if (api->resources[i]->methods[k]->integration == NULL)
                return "No integration defined for method";
            method_count++;
        }
    }
    return method_count == 0 ? "The REST API doesn't contain any methods" : NULL;
}

Skein__Wire__ApiDeployment *api_model_deploy(struct arena *arena, struct env *env,
                                             Skein__Wire__Api *api, const char *description,
                                             Skein__Wire__ApiStage *stage, const char **why)
{
    Skein__Wire__ApiDeployment *deployment;

    *why = check_deployable(api);
    if (*why != NULL)
        return NULL;
    deployment = arena_alloc(arena, sizeof(*deployment));
    skein__wire__api_deployment__init(deployment);
    deployment->id = api_model_new_id(arena, env);
    deployment->description = keep(arena, description);
    deployment->created_ms = env_wall_ms(env);
    deployment->resources = api->resources; /* packed with the record: a copy from then on */
    deployment->n_resources = api->n_resources;
    deployment->binary_media_types = api->binary_media_types;
    deployment->n_binary_media_types = api->n_binary_media_types;
    if (stage != NULL) {
        stage->deployment_id = deployment->id;
        stage->updated_ms = deployment->created_ms;
    }
    drop_old_deployments(api);
    api->deployments = grow(arena, api->deployments, api->n_deployments++, deployment);
    return deployment;
}

static bool is_stage_name(const char *name)
{
    size_t size = strlen(name);

    for (size_t i = 0; i < size; i++) {
        if (!isalnum((unsigned char)name[i]) && name[i] != '_' && name[i] != '-')
            return false;
    }
    return size > 0 && size <= 128;
}

Skein__Wire__ApiStage *api_model_add_stage(struct arena *arena, struct env *env,
                                           Skein__Wire__Api *api, const char *name,
                                           const char **why)
{
    Skein__Wire__ApiStage *stage;

    if (!is_stage_name(name)) {
        *why = "Stage name only allows a-zA-Z0-9_-";
        return NULL;
    }
    if (api->n_stages >= API_STAGES_MAX) {
        *why = "Maximum number of stages for this API has been reached.";
        return NULL;
    }
    stage = arena_alloc(arena, sizeof(*stage));
    skein__wire__api_stage__init(stage);
    stage->name = keep(arena, name);
    stage->created_ms = env_wall_ms(env);
    stage->updated_ms = stage->created_ms;
    api->stages = grow(arena, api->stages, api->n_stages++, stage);
    return stage;
}

void api_model_remove_stage(Skein__Wire__Api *api, Skein__Wire__ApiStage *stage)
{
    api->n_stages = take_out(api->stages, api->n_stages, stage);
}

void api_model_remove_deployment(Skein__Wire__Api *api, Skein__Wire__ApiDeployment *deployment)
{
    api->n_deployments = take_out(api->deployments, api->n_deployments, deployment);
}
