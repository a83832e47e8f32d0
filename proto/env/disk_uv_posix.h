/* What the disk of env_uv does to files: plain POSIX calls, made whole and made durable. They
 * block; any thread may call them.
 *
 * Paths are relative to `folder_fd`, or absolute. Files are made 0600, folders 0700. */

#ifndef PROTO_ENV_DISK_UV_POSIX_H
#define PROTO_ENV_DISK_UV_POSIX_H

#include "proto/base/buffer.h"

#define DISK_UV_POSIX_TEMPORARY_SUFFIX ".new"

/* ERR_NOT_FOUND, ERR_EXISTS, ERR_DENIED, else ERR_IO. */
enum error disk_uv_posix_error(int code);

/* A file that was made is in its folder for good. */
enum error disk_uv_posix_open(int folder_fd, const char *path, bool create, int *fd);
enum error disk_uv_posix_write(int fd, uint64_t offset, struct slice bytes);
/* Appends to `to`, until `size` or the end of the file. */
enum error disk_uv_posix_read(int fd, uint64_t offset, size_t size, struct buffer *to);
enum error disk_uv_posix_write_zeros(int fd, uint64_t from, uint64_t to);
enum error disk_uv_posix_rename(int folder_fd, const char *from, const char *to);
enum error disk_uv_posix_remove(int folder_fd, const char *path); /* with all that is in it */
enum error disk_uv_posix_replace(int folder_fd, const char *path, struct slice content);
/* "a/b/c": makes a, a/b and a/b/c. What exists is fine. */
enum error disk_uv_posix_make_folders(int folder_fd, const char *path);

#endif
