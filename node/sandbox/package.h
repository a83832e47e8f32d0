/* Function packages: zip archives from strangers, unpacked into a folder of their own.
 *
 * Blocks: runs on a worker thread (env->worker). Nothing is ever written outside the folder:
 * absolute paths, "..", backslashes, links and special files are refused, as are archives that
 * hold more than they may, counted in bytes that really came out. */

#ifndef NODE_SANDBOX_PACKAGE_H
#define NODE_SANDBOX_PACKAGE_H

#include "proto/base/buffer.h"

#define PACKAGE_BYTES_MAX (250ull << 20) /* unzipped, as in Lambda */
#define PACKAGE_ENTRIES_MAX 20000u
#define PACKAGE_PATH_BYTES 512

struct package_limits { /* NULL = the above */
    uint64_t bytes_max;
    uint32_t entries_max;
};

/* Check without writing. ERR_INVALID: no zip archive, or one that must not be unpacked; `why` says
 * what is wrong with it. ERR_TOO_LARGE: past a limit. */
enum error package_check(struct slice zip, const struct package_limits *limits,
                         char why[ERROR_WHY_BYTES]);

/* Unpack into `folder`, which is made and must not exist. Folders get mode 0755, files 0644 or
 * 0755 when the archive says executable. After an error the folder is gone again. Errors as above,
 * and ERR_IO. */
enum error package_unpack(struct slice zip, const char *folder, const struct package_limits *limits,
                          char why[ERROR_WHY_BYTES]);

/* Remove a folder and all in it; not following links. */
enum error package_remove(const char *folder);

#endif
