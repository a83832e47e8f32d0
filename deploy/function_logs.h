/* `skein logs FUNCTION`: what a function printed, on whatever nodes it ran. Each node keeps files
 * (node/sandbox/function_log.h); here they become one stream, in order of time. */

#ifndef DEPLOY_FUNCTION_LOGS_H
#define DEPLOY_FUNCTION_LOGS_H

#include "deploy/cluster.h"

struct function_logs_options {
    unsigned lines;    /* the last so many */
    bool is_following; /* and whatever comes, until interrupted */
    bool is_json;      /* an object a line: time, node, stream, text */
};

/* ERR_NOT_FOUND: no node has a log of it. */
enum error function_logs_show(const struct cluster *cluster, const char *function,
                              const struct function_logs_options *options);

/* " Name" of every function that has a log, on standard error. */
void function_logs_tell_names(const struct cluster *cluster);

#endif
