/* The root file system all sandboxes of a launcher share: a small read-only tmpfs with the
 * system's /usr, a few files of /etc and the harmless devices.
 *
 * Each sandbox gets its own mount namespace in which /tmp, /proc and /var/task are its own. */

#ifndef NODE_SANDBOX_ISOLATE_ROOT_H
#define NODE_SANDBOX_ISOLATE_ROOT_H

#include <stdbool.h>

struct isolate_failure;

/* Mount it on `folder`, in the calling process's mount namespace. */
bool isolate_root_build(const char *folder, struct isolate_failure *failure);

/* Read-only, no setuid, no devices; `fd` is a mount. Recursive. */
bool isolate_root_protect(int fd, bool has_devices);

/* In a fresh mount namespace: own /tmp and /proc, then make `folder` the root. */
bool isolate_root_enter(const char *folder, struct isolate_failure *failure);

#endif
