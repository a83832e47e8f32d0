/* Who may come in: answers what ZeroMQ asks for each new connection (its ZAP, RFC 27), once CURVE
 * has proved that the other side owns its key. */

#ifndef PROTO_NET_MESH_AUTH_H
#define PROTO_NET_MESH_AUTH_H

#include "proto/net/mesh_socket.h"

struct mesh_auth;

/* `key`: 40 characters of Z85. */
typedef bool (*mesh_auth_is_known)(void *user, const char *key);

struct mesh_auth *mesh_auth_new(uv_loop_t *loop, void *context, void *user,
                                mesh_auth_is_known is_known);
void mesh_auth_stop(struct mesh_auth *auth); /* NULL is fine, here and below */
void mesh_auth_free(struct mesh_auth *auth); /* stopped before */

/* The key that the sender of a message proved, lent by the message, and the number of its
 * connection: later ones have greater numbers. NULL when it proved none. */
const char *mesh_auth_key_of(zmq_msg_t *message, uint64_t *connection);

#endif
