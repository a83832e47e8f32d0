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

#endif
