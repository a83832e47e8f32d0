/* The production environment: one libuv loop, ZeroMQ, LevelDB, the disk below one data folder.
 *
 * The loop thread owns everything. Deferred tasks run at the end of each turn, before the loop
 * blocks; now_us is read once per turn. Timers are exact to about a millisecond. */

#ifndef PROTO_ENV_ENV_UV_H
#define PROTO_ENV_ENV_UV_H

#include "proto/env/env.h"
#include "proto/net/mesh.h"
#include "proto/net/shim.h"

#include <uv.h>

struct env_uv_options {
    const char *data_folder; /* made when absent; locked against a second process */
    uint64_t self;           /* this process's id; never 0 */
    size_t kv_cache_bytes;   /* block cache shared by all stores; 0 = 16 MiB */
    struct mesh_options mesh;
};

/* ERR_INVALID, ERR_IO, ERR_DENIED; ERR_EXISTS when another process uses the data folder. `why`
 * then says it in words. Runs on `loop`, which is the caller's. */
enum error env_uv_open(uv_loop_t *loop, const struct env_uv_options *options, struct env **env,
                       char why[ERROR_WHY_BYTES]);

/* No callback comes after this returned. Waits for what the worker threads are running. What was
 * built on the environment is freed after this and before env_uv_close: stopping timers, closing
 * files and stores still work. */
void env_uv_stop(struct env *env);

/* Stops it if need be and frees it. Turns the loop until the environment's handles are closed, so
 * other handles on it may get callbacks meanwhile. NULL is fine. */
void env_uv_close(struct env *env);

/* The address others reach this process at, "tcp://host:port", the port filled in when it was
 * asked for as "*"; NULL when it does not listen. */
const char *env_uv_endpoint(struct env *env);

/* What the disk that holds this folder has left, for who has to say why something failed there. */
uint64_t env_uv_disk_free_bytes(const char *folder);

/* Delay, loss and cuts on the links, for experiments (net/shim.h). */
struct shim *env_uv_shim(struct env *env);

#endif
