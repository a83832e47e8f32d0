/* Tags of functions. */

#ifndef NODE_AWS_LAMBDA_TAG_H
#define NODE_AWS_LAMBDA_TAG_H

#include "node/aws/lambda_call.h"

#define LAMBDA_TAGS_MAX 50

/* Does the request name a function by the ARN in its path, and may that have tags? False: the
 * request was answered. */
bool lambda_tag_read_resource(struct lambda_call *call, const char *arn);

/* Operations; the function is there. */
void lambda_tag_list(struct lambda_call *call);
void lambda_tag_add(struct lambda_call *call);
void lambda_tag_remove(struct lambda_call *call);

/* The tags of CreateFunction, put into `record`. False: see the input's fault. */
bool lambda_tag_read(struct aws_input *input, Skein__Wire__FunctionSettings *record);

/* One object. */
void lambda_tag_write(struct json_write *json, const Skein__Wire__FunctionSettings *record);

#endif
