/* Operations on the resources of an API, their methods and integrations. */

#ifndef NODE_AWS_API_RESOURCE_H
#define NODE_AWS_API_RESOURCE_H

#include "node/aws/api_request.h"

void api_resource_list(struct api_request *call);
void api_resource_get(struct api_request *call);
void api_resource_create(struct api_request *call);
void api_resource_delete(struct api_request *call);
void api_resource_put_method(struct api_request *call);
void api_resource_get_method(struct api_request *call);
void api_resource_delete_method(struct api_request *call);
void api_resource_put_integration(struct api_request *call);
void api_resource_get_integration(struct api_request *call);
void api_resource_delete_integration(struct api_request *call);

#endif
