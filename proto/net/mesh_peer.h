/* One peer of the mesh, as seen from here: the socket that speaks to it, what waits to be said, and
 * whether it is there. */

#ifndef PROTO_NET_MESH_PEER_H
#define PROTO_NET_MESH_PEER_H

#include "proto/net/frame.h"
#include "proto/net/mesh.h"

struct mesh_peer;

struct mesh_ground { /* what all peers of a mesh share; outlives them */
    uv_loop_t *loop;
    struct env *env;
    void *context; /* ZeroMQ's */
    struct mesh_options options;
    uint64_t sockets_made; /* for the names of the monitors */
    bool is_stopped;
    void *user;
    /* Called from inside; they only note it. */
    void (*on_up)(void *user, uint64_t peer);
    void (*on_down)(void *user, uint64_t peer, enum env_down_reason reason);
};

/* Starts to connect. An impossible address or key is logged, and the peer never comes up. Connects
 * again after every loss and failure, 5 ms later at first, then ever more slowly. */
struct mesh_peer *mesh_peer_new(struct mesh_ground *ground, uint64_t id, const char *endpoint,
                                const char *public_key);
/* Nothing more is called back or sent. */
void mesh_peer_stop(struct mesh_peer *peer);
void mesh_peer_free(struct mesh_peer *peer);
/* Another address or key: goes down if it was up, and connects anew. */
void mesh_peer_move(struct mesh_peer *peer, const char *endpoint, const char *public_key);

uint64_t mesh_peer_id(const struct mesh_peer *peer);
bool mesh_peer_is_connected(const struct mesh_peer *peer);
/* The watchers are being told: from now on it counts as up, or down. */
void mesh_peer_told(struct mesh_peer *peer, bool is_up);
bool mesh_peer_is_up(const struct mesh_peer *peer); /* connected, and they know */
const char *mesh_peer_endpoint(const struct mesh_peer *peer);
const char *mesh_peer_public_key(const struct mesh_peer *peer);

/* As env_link.send. */
enum error mesh_peer_send(struct mesh_peer *peer, enum env_channel channel, struct slice message);

/* A frame came in on `connection`. False when it must be dropped (frame_order_accepts). */
bool mesh_peer_accepts(struct mesh_peer *peer, uint64_t connection, const struct frame *frame);

#endif
