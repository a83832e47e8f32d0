/* Signed DynamoDB requests, as bytes for load_client.h. */

#ifndef CHAOS_RUN_KEY_REQUEST_H
#define CHAOS_RUN_KEY_REQUEST_H

#include "deploy/cluster.h"
#include "proto/base/buffer.h"

#define KEY_REQUEST_TABLE "SkeinChaos"

struct key_request_signer; /* remembers the day's key */

/* For requests to 127.0.0.1, the cluster's own port. */
struct key_request_signer *key_request_signer_new(const struct cluster *cluster);
void key_request_signer_free(struct key_request_signer *signer);

/* `operation`: "PutItem". Appends the whole request. */
void key_request_put(struct key_request_signer *signer, const char *operation, struct slice body,
                     struct buffer *bytes);

/* The table of the workloads (blocking). ERR_TIMEOUT and `why` when it cannot be made. */
enum error key_request_make_table(const struct cluster *cluster, char why[ERROR_WHY_BYTES]);
void key_request_drop_table(const struct cluster *cluster);

#endif
