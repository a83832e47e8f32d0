/* The canonical form of a request: what client and server must agree on to the byte.
 *
 * S3 signs the path as sent; every other service signs it encoded once more, without dot segments
 * and doubled slashes. Query parameters are decoded, encoded in one way, and sorted. Header values
 * are trimmed, with inner blanks collapsed. */

#ifndef NODE_AUTH_SIGV4_CANONICAL_H
#define NODE_AUTH_SIGV4_CANONICAL_H

#include "node/auth/sigv4.h"

#define SIGV4_PARAMETERS_MAX 500 /* of a query */

/* Append the canonical request, its last line being `payload_hash`.
 * ERR_INVALID: broken escape, or too many parameters. */
enum error sigv4_canonical_request(const struct sigv4_request *request,
                                   const struct sigv4_identity *identity, struct slice payload_hash,
                                   struct buffer *to);

/* Header names in any case. */
bool sigv4_is_header(const struct sigv4_header *header, struct slice name);

#endif
