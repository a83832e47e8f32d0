/* A function's configuration: from the members of a request, with the documented checks, and to the
 * document that clients read. */

#ifndef NODE_AWS_LAMBDA_CONFIG_H
#define NODE_AWS_LAMBDA_CONFIG_H

#include "node/aws/aws_input.h"
#include "node/aws/lambda_name.h"
#include "proto/base/json_write.h"
#include "proto/wire/function.pb-c.h"

#define LAMBDA_ZIP_BYTES_MAX (50u << 20)
#define LAMBDA_UNZIPPED_BYTES_MAX 262144000u

/* What a new function has unless the request says otherwise. */
void lambda_config_init(Skein__Wire__Function *function);

/* Put what the request says into `function` (whose members then lie in the input's arena).
 * `is_create`: the members that creation demands must be there. False: see the input's fault. */
bool lambda_config_read(struct aws_input *input, bool is_create, Skein__Wire__Function *function);

/* The member Description, in the arena; NULL: there is none. False: see the input's fault. */
bool lambda_config_read_description(struct aws_input *input, const char **description);

/* The member Architectures, which belongs to the code. False: see the input's fault. */
bool lambda_config_read_architecture(struct aws_input *input, Skein__Wire__Function *function);

/* The members of the configuration document, as one object. `qualifier`: of its ARN; "" = none,
 * NULL = the version, if it is one. */
void lambda_config_write(struct json_write *json, const Skein__Wire__Function *function,
                         struct slice region, const char *qualifier);

/* "2024-01-01T00:00:00.000+0000": Lambda alone writes the zone so. */
void lambda_config_write_time(struct json_write *json, const char *key, uint64_t wall_ms);

/* "arn:aws:lambda:us-east-1:000000000000:function:N", with ":QUALIFIER" unless it is empty. */
char *lambda_config_arn(struct arena *arena, struct slice region, const char *name,
                        const char *qualifier);

#endif
