/* In which boot of the machine was a LevelDB's write-ahead log written?
 *
 * In this one: its pages were in the kernel's hands ever since, so the log is whole, even if the
 * process was killed. In another: a log that was not synced may have lost pages in its middle and
 * kept later ones, and LevelDB would apply what is behind the hole. Then it is dropped; the synced
 * tables stay, which hold a prefix of all writes. */

#ifndef PROTO_STORE_KV_LEVELDB_BOOT_H
#define PROTO_STORE_KV_LEVELDB_BOOT_H

#include "proto/base/buffer.h"

#define KV_LEVELDB_BOOT_ID_BYTES 64

/* Empty when the system does not tell: then no log is trusted. */
void kv_leveldb_boot_read_id(char boot_id[KV_LEVELDB_BOOT_ID_BYTES]);

/* Before LevelDB opens the folder `path`. ERR_CORRUPT: there was a store, and its root is gone. */
enum error kv_leveldb_boot_prepare(const char *boot_id, const char *path);

/* Once it is open: what it logs from now on belongs to this boot. */
enum error kv_leveldb_boot_mark(const char *boot_id, const char *path);

#endif
