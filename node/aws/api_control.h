/* API Gateway's control API, version 1 (REST APIs): translate requests into changes of records. */

#ifndef NODE_AWS_API_CONTROL_H
#define NODE_AWS_API_CONTROL_H

#include "node/aws/aws_request.h"
#include "node/view/view.h"

struct api_control;

struct api_control *api_control_new(struct env *env, struct view *view);
void api_control_free(struct api_control *control);

/* An aws_handler whose user is the api_control. */
void api_control_on_request(void *control, struct aws_request *request);

#endif
