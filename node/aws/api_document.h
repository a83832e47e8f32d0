/* The parts of a REST API as clients read them, each as one JSON object. */

#ifndef NODE_AWS_API_DOCUMENT_H
#define NODE_AWS_API_DOCUMENT_H

#include "node/aws/openapi.h"
#include "proto/base/json_write.h"
#include "proto/wire/api.pb-c.h"

/* `warnings` may be NULL. */
void api_document_write(struct json_write *json, const Skein__Wire__Api *api,
                        const struct openapi *warnings);
void api_document_write_integration(struct json_write *json,
                                    const Skein__Wire__ApiIntegration *integration,
                                    const char *resource_id);
void api_document_write_method(struct json_write *json, const Skein__Wire__ApiMethod *method,
                               const char *resource_id);
/* `has_methods`: whole methods instead of empty objects. */
void api_document_write_resource(struct json_write *json, const Skein__Wire__ApiResource *resource,
                                 bool has_methods);
void api_document_write_deployment(struct json_write *json,
                                   const Skein__Wire__ApiDeployment *deployment);
void api_document_write_stage(struct json_write *json, const Skein__Wire__ApiStage *stage);

#endif
