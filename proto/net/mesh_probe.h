/* Is anybody listening at a TCP address? Connects and hangs up at once.
 *
 * ZeroMQ tells that an attempt to connect failed, not why; only a refusal proves that the process
 * is gone. */

#ifndef PROTO_NET_MESH_PROBE_H
#define PROTO_NET_MESH_PROBE_H

#include "proto/env/env.h"

#include <uv.h>

struct mesh_probe;
/* `is_refused`: the host answered that nobody listens. False when it was anything else, a
 * connection included. Frees the probe. */
typedef void (*mesh_probe_cb)(void *user, bool is_refused);

/* `endpoint` is "tcp://host:port"; a name is looked up on a worker thread. */
struct mesh_probe *mesh_probe_start(uv_loop_t *loop, struct env *env, const char *endpoint,
                                    void *user, mesh_probe_cb cb);
/* No callback comes after this. `is_stopped`: the environment delivers nothing any more, so that a
 * look-up in flight will not come back to free itself. NULL is fine. */
void mesh_probe_cancel(struct mesh_probe *probe, bool is_stopped);

#endif
