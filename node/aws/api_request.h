/* One request to API Gateway's control API: what its path names, what its body says, and the ways
 * to answer it. It lives on the stack while its operation decides; a change of a record goes on in
 * api_change.h. */

#ifndef NODE_AWS_API_REQUEST_H
#define NODE_AWS_API_REQUEST_H

#include "node/aws/aws_input.h"
#include "node/aws/aws_path.h"
#include "node/view/view.h"
#include "proto/base/json_write.h"
#include "proto/wire/api.pb-c.h"

struct api_request {
    struct env *env;
    struct view *view;
    struct list *changes; /* of api_control.c */
    struct aws_request *request;
    struct arena *arena;
    struct aws_path path;
    Skein__Wire__Api *api; /* this and what follows: NULL unless the path names it */
    uint64_t revision;     /* of the API's record */
    Skein__Wire__ApiResource *resource;
    Skein__Wire__ApiMethod *method;
    Skein__Wire__ApiDeployment *deployment;
    Skein__Wire__ApiStage *stage;
    struct aws_input input; /* the body, for operations that read one */
    struct buffer body;     /* the answer, written before the commit */
    struct json_write json; /* into `body` */
};

/* The last thing an operation does: exactly one of these. */
void api_request_refuse(struct api_request *call, const char *why);
void api_request_refuse_missing(struct api_request *call, const char *what);
void api_request_refuse_conflict(struct api_request *call, const char *why);
/* 200 with what was written into `json`. */
void api_request_reply(struct api_request *call);
/* Commit `api`, then answer with what was written into `json`. */
void api_request_commit(struct api_request *call, int success_status, bool is_delete);

/* The body as a JSON object. False: the request was answered. */
bool api_request_read(struct api_request *call);
/* No wrong type was met in it so far. False: the request was answered. */
bool api_request_is_good(struct api_request *call);
/* A member of it, in the arena; "" when absent. */
char *api_request_text(struct api_request *call, const char *key);

#endif
