/* A request to the Lambda API for one function, and what its operations share: finding records,
 * reading, refusing, answering. lambda.c routes requests to the operations in the other files. */

#ifndef NODE_AWS_LAMBDA_CALL_H
#define NODE_AWS_LAMBDA_CALL_H

#include "node/aws/aws_fault.h"
#include "node/aws/aws_input.h"
#include "node/aws/lambda.h"
#include "node/aws/lambda_name.h"
#include "proto/base/json_write.h"
#include "proto/wire/function.pb-c.h"

#define LAMBDA_DOCUMENT_BYTES_MAX (4u << 20)
#define LAMBDA_PAGE_MAX 50

struct lambda {
    struct lambda_options with;
    struct list changes;
};

struct lambda_call { /* on the stack of lambda_on_request; all else lives in the request's arena */
    struct lambda *lambda;
    struct aws_request *request;
    struct arena *arena;
    struct lambda_name name;
    const char *item;                /* in the path, behind the tail: an alias, a statement */
    Skein__Wire__Function *function; /* $LATEST; NULL: there is none */
    uint64_t revision;               /* of its record */
    unsigned attempt;                /* how often it was begun before, and met another change */
};

/* Looks at a request and runs what it asks for, from the beginning. */
void lambda_call_run(struct lambda *lambda, struct aws_request *request, unsigned attempt);

/* The record "function/NAME", or with a version other than 0 "version/NAME/VERSION". NULL: there is
 * none. `revision` may be NULL. */
Skein__Wire__Function *lambda_call_find(const struct lambda_call *call, uint64_t version,
                                        uint64_t *revision);
Skein__Wire__FunctionAlias *lambda_call_find_alias(const struct lambda_call *call, const char *name,
                                                   uint64_t *revision);

char *lambda_call_function_key(struct arena *arena, const char *name);
char *lambda_call_version_key(struct arena *arena, const char *name, uint64_t version);
char *lambda_call_alias_key(struct arena *arena, const char *name, const char *alias);

/* The function, version or alias that is meant; of an alias the version it points to. NULL: there
 * is none. */
const Skein__Wire__Function *lambda_call_find_qualified(const struct lambda_call *call);

/* "$LATEST", "7". */
const char *lambda_call_version_text(struct arena *arena, uint64_t version);
/* The ARN of what is meant, as it was named. */
char *lambda_call_arn(const struct lambda_call *call);
/* A fresh RevisionId. */
char *lambda_call_new_id(struct arena *arena, struct env *env);
struct aws_input lambda_call_read(const struct lambda_call *call);

/* Nothing of that name and qualifier: "not found", or "try again" while the view is not current. */
void lambda_call_refuse_missing(struct lambda_call *call);
void lambda_call_refuse(struct lambda_call *call, int status, const char *code,
                        const char *message);
/* Does the RevisionId of the input, if there is one, name `current`? False: see its fault. */
bool lambda_call_check_revision(struct aws_input *input, const char *current);

/* 200, or another status, with the document, which is taken. */
void lambda_call_reply(struct lambda_call *call, struct buffer *body,
                       const struct json_write *json);
void lambda_call_reply_status(struct lambda_call *call, int status, struct buffer *body,
                              const struct json_write *json);

/* MaxItems of the query, at most LAMBDA_PAGE_MAX; 0: the request was answered. */
uint64_t lambda_call_page(struct lambda_call *call);

#endif
