/* A REST API's record, edited in memory: resources form a tree by their path parts, each with
 * methods, each with an integration.
 *
 * Everything lies in the arena the record was unpacked into. Functions that may refuse give NULL or
 * what is wrong, in API Gateway's words. */

#ifndef NODE_AWS_API_MODEL_H
#define NODE_AWS_API_MODEL_H

#include "node/aws/openapi.h"
#include "proto/env/env.h"
#include "proto/wire/api.pb-c.h"

#define API_ID_BYTES 10
#define API_RESOURCES_MAX 300
#define API_DEPLOYMENTS_KEPT 20
#define API_STAGES_MAX 10
#define API_RECORD_BYTES_MAX (1u << 20)

/* Ten lower-case letters and digits, from the environment's good dice. */
char *api_model_new_id(struct arena *arena, struct env *env);

/* A record with nothing but the root resource. */
Skein__Wire__Api *api_model_new(struct arena *arena, struct env *env, const char *name);

/* NULL when absent. */
Skein__Wire__ApiResource *api_model_find_resource(const Skein__Wire__Api *api, const char *id);
Skein__Wire__ApiMethod *api_model_find_method(const Skein__Wire__ApiResource *resource,
                                              const char *http_method);
Skein__Wire__ApiDeployment *api_model_find_deployment(const Skein__Wire__Api *api, const char *id);
Skein__Wire__ApiStage *api_model_find_stage(const Skein__Wire__Api *api, const char *name);

/* A child of `parent`. NULL: refused, `why` says why and `is_conflict` that it is there already. */
Skein__Wire__ApiResource *api_model_add_resource(struct arena *arena, struct env *env,
                                                 Skein__Wire__Api *api,
                                                 const Skein__Wire__ApiResource *parent,
                                                 const char *path_part, bool *is_conflict,
                                                 const char **why);
/* With everything below it. Not the root. */
void api_model_remove_resource(Skein__Wire__Api *api, Skein__Wire__ApiResource *resource);

/* Adds it when absent. */
Skein__Wire__ApiMethod *api_model_put_method(struct arena *arena,
                                             Skein__Wire__ApiResource *resource,
                                             const char *http_method);
void api_model_remove_method(Skein__Wire__ApiResource *resource, Skein__Wire__ApiMethod *method);

Skein__Wire__ApiIntegration *api_model_new_integration(struct arena *arena,
                                                       const struct openapi_integration *from);

/* Put the document's paths and methods in; `is_overwrite` empties the tree first. NULL when it went
 * well, else what is wrong. */
const char *api_model_import(struct arena *arena, struct env *env, Skein__Wire__Api *api,
                             const struct openapi *document, bool is_overwrite);

/* A snapshot of what the resources are now, for `stage` unless that is NULL. Deployments past
 * API_DEPLOYMENTS_KEPT that no stage uses go, the oldest first. NULL: refused. */
Skein__Wire__ApiDeployment *api_model_deploy(struct arena *arena, struct env *env,
                                             Skein__Wire__Api *api, const char *description,
                                             Skein__Wire__ApiStage *stage, const char **why);
/* NULL: refused. */
Skein__Wire__ApiStage *api_model_add_stage(struct arena *arena, struct env *env,
                                           Skein__Wire__Api *api, const char *name,
                                           const char **why);
void api_model_remove_stage(Skein__Wire__Api *api, Skein__Wire__ApiStage *stage);
void api_model_remove_deployment(Skein__Wire__Api *api, Skein__Wire__ApiDeployment *deployment);
bool api_model_is_deployed(const Skein__Wire__Api *api, const char *deployment_id);

#endif
