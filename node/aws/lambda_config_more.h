/* The members of a function's configuration that describe its surroundings: tracing, network, keys,
 * logging, snapshots, the queue of what failed. They are checked, kept and shown; what each of them
 * does here is said in docs/compatibility.md. */

#ifndef NODE_AWS_LAMBDA_CONFIG_MORE_H
#define NODE_AWS_LAMBDA_CONFIG_MORE_H

#include "node/aws/aws_input.h"
#include "proto/base/json_write.h"
#include "proto/wire/function.pb-c.h"

/* False: see the input's fault. */
bool lambda_config_more_read(struct aws_input *input, Skein__Wire__Function *function);
void lambda_config_more_write(struct json_write *json, const Skein__Wire__Function *function);

#endif
