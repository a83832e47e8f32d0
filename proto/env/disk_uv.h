/* The disk of the production environment: POSIX calls below one folder; what must be durable and
 * may not block the loop runs on the worker threads.
 * Every path is relative to the folder. */

#ifndef PROTO_ENV_DISK_UV_H
#define PROTO_ENV_DISK_UV_H

#include "proto/env/env.h"

struct disk_uv;

/* `folder_fd` is taken: disk_uv_free closes it. Uses env->worker. */
struct disk_uv *disk_uv_new(struct env *env, int folder_fd);
/* No worker may be running one of its operations any more; open files are the caller's. */
void disk_uv_free(struct disk_uv *disk);
const struct env_disk *disk_uv_table(struct disk_uv *disk);

/* While many writes wait and the disk is quick, small synced writes are kept for the end of the
 * turn and done on the loop's thread: it saves a hand-over to a worker and back, and a turn. Does
 * the first of them and calls its callback; false: there is none. What callbacks start goes to a
 * worker, until disk_uv_turn. */
bool disk_uv_sync_next(struct disk_uv *disk);
void disk_uv_turn(struct disk_uv *disk); /* another turn begins */

#endif
