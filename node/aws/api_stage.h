/* Operations on deployments, and on the stages that point to them. */

#ifndef NODE_AWS_API_STAGE_H
#define NODE_AWS_API_STAGE_H

#include "node/aws/api_request.h"

void api_stage_create_deployment(struct api_request *call);
void api_stage_list_deployments(struct api_request *call);
void api_stage_get_deployment(struct api_request *call);
void api_stage_delete_deployment(struct api_request *call);
void api_stage_create(struct api_request *call);
void api_stage_list(struct api_request *call);
void api_stage_get(struct api_request *call);
void api_stage_delete(struct api_request *call);

#endif
