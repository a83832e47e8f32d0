/* The environment variables of a sandbox, as Lambda sets them. */

#ifndef NODE_SANDBOX_PROCESS_ENVIRONMENT_H
#define NODE_SANDBOX_PROCESS_ENVIRONMENT_H

#include "node/sandbox/sandbox.h"

struct process_environment {
    const struct sandbox_spec *spec;
    const char *runtime_address; /* "127.0.0.1:9001" */
    const char *task_root;       /* the code folder, as the function sees it */
    const char *endpoint;        /* "http://127.0.0.1:4566" */
    const char *access_key_id;
    const char *secret_access_key;
    const char *const *extra; /* "NAME=value", for every function; ends with NULL; may be NULL */
};

/* Appends "NAME=value" strings, each with a NUL behind it. The function's own variables come last
 * but cannot replace the reserved ones. */
void process_environment_put(const struct process_environment *environment, struct buffer *to);

#endif
