/* A function's package as it comes in a request: base64 of a zip archive. Whether it can be
 * unpacked is looked at later, off the loop (lambda_change.h). */

#ifndef NODE_AWS_LAMBDA_CODE_H
#define NODE_AWS_LAMBDA_CODE_H

#include "node/aws/aws_input.h"

/* What the members ZipFile, S3Bucket and ImageUri of `code` say; `zip` gets the archive.
 * `operation` is named in messages. False: see the input's fault. */
bool lambda_code_read(struct aws_input *input, const json_t *code, const char *operation,
                      struct buffer *zip);

#endif
