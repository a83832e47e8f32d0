/* Operations on whole REST APIs: create, import, put, get, list, delete. */

#ifndef NODE_AWS_API_REST_H
#define NODE_AWS_API_REST_H

#include "node/aws/api_request.h"

void api_rest_create(struct api_request *call);
void api_rest_put(struct api_request *call);
void api_rest_get(struct api_request *call);
void api_rest_delete(struct api_request *call);
void api_rest_list(struct api_request *call);

#endif
