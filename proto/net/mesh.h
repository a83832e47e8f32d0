/* The link of the production environment: ZeroMQ with CURVE on the uv loop.
 *
 * Each process binds one PULL socket for what it hears and has one PUSH socket per peer for what it
 * says; a link is up when our PUSH socket has shaken hands with the peer. Both ends prove their
 * key, and a message counts as coming from the peer whose key its connection proved: nobody can
 * speak as another. Only keys named by peer_set get in, from the moment they are named.
 *
 * Raft messages go ahead of all others; the others keep their order among themselves. What the
 * peer's loop did not take yet is bounded by a window of 8 MiB (for all but Raft); what is behind
 * that waits here, bounded in bytes too.
 *
 * Down: CLOSED when the connection ends; SILENT when it ends and nothing had been heard from the
 * peer for silent_ms; REFUSED when a probe of its port finds nobody, at once after the loss and
 * again after each failed reconnect. */

#ifndef PROTO_NET_MESH_H
#define PROTO_NET_MESH_H

#include "proto/env/env.h"

#include <uv.h>

#define MESH_KEY_BYTES 41 /* 40 characters of Z85 and a NUL */
#define MESH_SILENT_MS 1000

struct mesh;

struct mesh_options {   /* zero means the default in brackets */
    const char *listen; /* "tcp://127.0.0.1:7001", port "*" = any; NULL: no links but to itself */
    const char *public_key;
    const char *secret_key;
    uint32_t heartbeat_ms; /* [250] between signs of life on an idle connection */
    /* [1000] without one the connection is given up. Above the time the slowest path needs to
     * drain the kernel's send buffer (up to 4 MiB), or bulk data looks like silence. */
    uint32_t silent_ms;
    uint32_t reconnect_ms_min; /* [5] after the first loss, then doubled */
    uint32_t reconnect_ms_max; /* [100] */
    size_t queue_bytes_max;    /* [32 MiB] waiting for one peer, not counting Raft */
    size_t message_bytes_max;  /* [64 MiB] */
};

/* A fresh CURVE key pair. */
void mesh_make_keys(char public_key[MESH_KEY_BYTES], char secret_key[MESH_KEY_BYTES]);

/* ERR_INVALID: a bad address or key. ERR_IO: cannot listen there. `why` says it. Until mesh_table
 * is in env->link, only the loop and the env's clock, dice and worker are used. */
enum error mesh_open(uv_loop_t *loop, struct env *env, uint64_t self,
                     const struct mesh_options *options, struct mesh **mesh,
                     char why[ERROR_WHY_BYTES]);
/* No callback comes after this; sending is ERR_UNREACHABLE. NULL is fine. */
void mesh_stop(struct mesh *mesh);
/* Stops it if need be. Its uv handles are closed within the loop's next turn. NULL is fine. */
void mesh_free(struct mesh *mesh);

const struct env_link *mesh_table(struct mesh *mesh);
const char *mesh_endpoint(const struct mesh *mesh); /* where it listens, port included; or NULL */

#endif
