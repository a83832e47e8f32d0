/* One change of a function: look at the new package, store it, commit the record, answer, give up
 * the old package.
 *
 *   CHECKING -> STORING -> COMMITTING -> (answer) -> RELEASING -> gone
 *      |           |            |                        ^
 *      +-----------+------------+-- failed: (answer) ----+  what was stored is given up, unless
 *                                                           the commit may have happened
 *
 * What is only set for a function begins again, a little later, when another change of the function
 * came first: such changes do not exclude each other.
 *
 * Checking and hashing run on a worker thread. The answer does not wait for the release; a release
 * that fails leaves unreachable bytes. */

#ifndef NODE_AWS_LAMBDA_CHANGE_H
#define NODE_AWS_LAMBDA_CHANGE_H

#include "node/aws/aws_request.h"
#include "node/aws/lambda.h"
#include "node/object/blob.h"
#include "proto/wire/function.pb-c.h"

struct lambda_claim { /* on the chunks of a package */
    uint8_t sha256[BLOB_SHA256_BYTES];
    uint8_t owner[BLOB_OWNER_BYTES];
    uint32_t chunk_count; /* 0 = none */
};

struct lambda_change {
    struct list link; /* in the caller's list, until it is gone */
    const struct lambda_options *with;
    struct aws_request *request;     /* NULL once answered */
    Skein__Wire__Function *function; /* to write or delete; in the request's arena */
    struct buffer zip;               /* the new package */
    Skein__Wire__Function *version;  /* published by it; NULL: none */
    const char *description;         /* of that; NULL: the function's */
    struct buffer answer;            /* empty: the configuration, or nothing */
    struct view_change *records;     /* what is committed, in the request's arena */
    size_t record_count;
    struct lambda_claim fresh;  /* on the new package */
    struct lambda_claim *stale; /* those that no record has any more afterwards */
    size_t stale_count;
    size_t stale_next;
    struct env_work check;
    enum error check_rc; /* of the worker thread, like fresh.sha256 */
    struct blob_transfer transfer;
    struct view_update update;
    struct env_timer again; /* until the request is begun again */
    uint64_t expected_revision;
    int success_status;
    unsigned attempt;
    bool is_delete;
    bool is_repeatable;
    bool publishes;
};

struct lambda_change_plan {
    struct aws_request *request;
    Skein__Wire__Function *function; /* $LATEST as it shall be, or as it is when deleted; lives in
                                        the request's arena */
    struct buffer *zip;              /* a new package, taken; NULL = the code stays */
    uint64_t expected_revision;      /* of the record */
    const struct view_change *more;  /* committed together with it; in the arena */
    size_t more_count;
    const Skein__Wire__Function *removed; /* a version whose record `more` deletes */
    const char *description;              /* of the version to publish; NULL: the function's */
    struct buffer *answer;                /* taken; NULL: the configuration, or nothing */
    int success_status;
    bool is_delete;     /* of the function; its versions and aliases are in `more` */
    bool is_setting;    /* nothing that a sandbox or a RevisionId would know of */
    bool is_repeatable; /* the request may be begun again after a conflict */
    unsigned attempt;   /* of the call */
    bool publishes;     /* also a version of what it then is; that is answered */
};

/* Does it and answers the request. The change puts itself into `changes`. */
void lambda_change_start(const struct lambda_options *with, struct list *changes,
                         const struct lambda_change_plan *plan);
/* For the end of the process: no answer, no callback. */
void lambda_change_free(struct lambda_change *change);

#endif
