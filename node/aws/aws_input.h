/* Members of a JSON request body, read with their types checked.
 *
 * A wrong type is noted once in `fault`; readers then give "absent", so a caller reads all it wants
 * and looks at the fault at the end. Texts live as long as the document. */

#ifndef NODE_AWS_AWS_INPUT_H
#define NODE_AWS_AWS_INPUT_H

#include "node/aws/aws_fault.h"

#include <jansson.h>

struct aws_input {
    struct arena *arena; /* of fault messages */
    json_t *root;        /* owned; NULL when the body was refused */
    struct aws_fault fault;
    const char *fault_code;
};

/* Parse the body; an empty one is {}. `fault_code` names what the service says to malformed input
 * ("SerializationException"). */
struct aws_input aws_input_read(struct arena *arena, struct slice body, const char *fault_code);
void aws_input_close(struct aws_input *input);

static inline bool aws_input_has_fault(const struct aws_input *input)
{
    return input->fault.code != NULL;
}

/* Note a fault; the first one counts. Always false, for `return aws_input_refuse(...)`. */
bool aws_input_refuse(struct aws_input *input, int status, const char *code, const char *format,
                      ...) __attribute__((format(printf, 4, 5)));

/* NULL or `missing` when absent or null. `object` is `input->root` or lies in it. */
const char *aws_input_text(struct aws_input *input, const json_t *object, const char *key);
int64_t aws_input_integer(struct aws_input *input, const json_t *object, const char *key,
                          int64_t missing);
bool aws_input_bool(struct aws_input *input, const json_t *object, const char *key, bool missing);
json_t *aws_input_object(struct aws_input *input, const json_t *object, const char *key);
json_t *aws_input_array(struct aws_input *input, const json_t *object, const char *key);

/* A list of strings, copied into the arena; nothing is touched when it is absent. False: see the
 * fault. */
bool aws_input_texts(struct aws_input *input, const json_t *object, const char *key, size_t *count,
                     char ***texts);

/* How many items a page may have, from a query parameter: `missing` when it is not there, at most
 * `max`. 0: it is no number between 1 and `max`. */
uint64_t aws_input_page(struct slice text, uint64_t missing, uint64_t max);

#endif
