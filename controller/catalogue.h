/* The catalogue's state machine: commands in, revisions out.
 *
 * Every controller applies the same entries in the same order, so all agree on each outcome. A
 * command that changes anything is one revision; revisions have no gaps. The state, the applied
 * index and the answers to recent commands are one kv batch, so a crash neither loses nor repeats
 * a change, and a command sent twice (after a failover) gets its first answer again. */

#ifndef CONTROLLER_CATALOGUE_H
#define CONTROLLER_CATALOGUE_H

#include "proto/records/records.h"

#define CATALOGUE_VALUE_BYTES_MAX (1u << 20)
#define CATALOGUE_COMMAND_BYTES_MAX (4u << 20)
#define CATALOGUE_OPERATIONS_MAX 1024
#define CATALOGUE_RECORDS_MAX 65536
#define CATALOGUE_BYTES_MAX (64u << 20)
#define CATALOGUE_ANSWERS_MAX 4096u /* of the newest commands, remembered for retries */
#define CATALOGUE_HISTORY_MAX 4096  /* newest revisions kept for watchers, in memory */
#define CATALOGUE_HISTORY_BYTES_MAX (8u << 20)

struct catalogue;

/* ERR_CORRUPT: the folder is to be removed. ERR_IO. */
enum error catalogue_open(struct env *env, const char *folder, struct catalogue **catalogue);
void catalogue_free(struct catalogue *catalogue);

uint64_t catalogue_applied(const struct catalogue *catalogue); /* index of the last entry */
uint64_t catalogue_revision(const struct catalogue *catalogue);
struct records *catalogue_records(const struct catalogue *catalogue);

/* Told of every change after it was made, and with key NULL when everything was replaced. */
typedef void (*catalogue_on_change)(void *user, const char *key);
void catalogue_listen(struct catalogue *catalogue, void *user, catalogue_on_change on_change);

/* Apply a packed CatalogueCommand. OK: `revision` is the change's, or the present one when there
 * was nothing to change (deleting what is absent). ERR_CONFLICT: a record has not the expected
 * revision. ERR_INVALID, ERR_TOO_LARGE. After any of these the entry counts as applied and an
 * error has changed nothing. ERR_IO is final: the process must stop. */
enum error catalogue_apply(struct catalogue *catalogue, uint64_t index, struct slice command,
                           uint64_t *revision);

/* The records of one past revision as a packed WatchRevision; valid until the next change. Empty
 * when it is no longer (or not yet) known. */
struct slice catalogue_history(const struct catalogue *catalogue, uint64_t revision);

/* The state machine's part in snapshots (proto/raft/group.h). A received one is staged in memory
 * and installed in one batch. */
void catalogue_make_durable(struct catalogue *catalogue, struct env_disk_op *op, env_disk_cb cb);
struct records_pin *catalogue_pin(struct catalogue *catalogue);
void catalogue_snapshot_begin(struct catalogue *catalogue);
enum error catalogue_snapshot_chunk(struct catalogue *catalogue, struct slice chunk);
enum error catalogue_snapshot_install(struct catalogue *catalogue, uint64_t index);

#endif
