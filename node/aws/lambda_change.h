/* One change of a function: look at the new package, store it, commit the record, answer, give up
 * the old package.
 *
 *   CHECKING -> STORING -> COMMITTING -> (answer) -> RELEASING -> gone
 *      |           |            |                        ^
 *      +-----------+------------+-- failed: (answer) ----+  what was stored is given up, unless
 *                                                           the commit may have happened
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
    struct lambda_claim fresh;       /* on the new package */
    struct lambda_claim stale;       /* on the old one */
    struct env_work check;
    enum error check_rc; /* of the worker thread, like fresh.sha256 */
    struct blob_transfer transfer;
    struct view_update update;
    uint64_t expected_revision;
    int success_status;
    bool is_delete;
};

struct lambda_change_plan {
    struct aws_request *request;
    Skein__Wire__Function *function; /* as it shall be, or as it is when deleted; lives in the
                                        request's arena */
    struct buffer *zip;              /* a new package, taken; NULL = the code stays */
    uint64_t expected_revision;      /* of the record */
    int success_status;
    bool is_delete;
};

/* Does it and answers the request. The change puts itself into `changes`. */
void lambda_change_start(const struct lambda_options *with, struct list *changes,
                         const struct lambda_change_plan *plan);
/* For the end of the process: no answer, no callback. */
void lambda_change_free(struct lambda_change *change);

#endif
