/* One change of an API's record: commit it under the revision it was read at, then answer. */

#ifndef NODE_AWS_API_CHANGE_H
#define NODE_AWS_API_CHANGE_H

#include "node/aws/aws_request.h"
#include "node/view/view.h"
#include "proto/wire/api.pb-c.h"

struct api_change {
    struct list link; /* in the caller's list, until it is gone */
    struct view *view;
    struct aws_request *request;
    struct view_update update;
    struct buffer body; /* of the answer */
    const char *key;    /* this and the next in the request's arena */
    const char *stamp;  /* ours alone; NULL when the record is deleted */
    int success_status;
};

struct api_change_plan {
    struct env *env;
    struct view *view;
    struct aws_request *request;
    Skein__Wire__Api *api;      /* as it shall be; lives in the request's arena */
    uint64_t expected_revision; /* of the record */
    int success_status;
    bool is_delete;
};

/* `body` is taken; NULL: none. The change puts itself into `changes`. */
void api_change_start(struct list *changes, const struct api_change_plan *plan,
                      struct buffer *body);
/* For the end of the process: no answer, no callback. */
void api_change_free(struct api_change *change);

#endif
