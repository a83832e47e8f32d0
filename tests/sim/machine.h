/* The state machine the consensus simulation replicates: a few registers and a hash over all that
 * was applied, in the environment's store, as a shard keeps its state.
 *
 * A command is: id u64 (never 0), key u32, padding. */

#ifndef TESTS_SIM_MACHINE_H
#define TESTS_SIM_MACHINE_H

#include "proto/raft/group.h"
#include "tests/sim/checker.h"

#define MACHINE_PATH_BYTES 64
#define MACHINE_COMMAND_BYTES_MIN 12u

struct machine {
    struct env *env;
    struct checker *checker;
    size_t group; /* the checker's number for it */
    char path[MACHINE_PATH_BYTES];
    struct kv *kv;
    struct kv *staging; /* NULL: no snapshot is being received */
    struct list pins;
    bool is_making_durable;
    struct env_disk_op durable_op; /* ours, around the group's */
    struct env_disk_op *group_op;
    env_disk_cb group_cb;
    void *user;
    void (*on_fatal)(void *user, const char *why); /* the store failed: the process must stop */
    bool skips;                                    /* a planted bug: some entries are left out */
    uint64_t applied; /* the last index that changed the state, or a snapshot's */
    uint64_t hash;
    uint64_t snapshots_installed;
};

/* A damaged store is thrown away and begun anew. ERR_IO. The caller sets user and on_fatal. */
enum error machine_open(struct machine *machine, struct env *env, struct checker *checker,
                        size_t group);
void machine_close(struct machine *machine);
struct group_machine machine_table(struct machine *machine);
/* Forget the state for good, with the group. Closes it. */
enum error machine_remove(struct machine *machine);

void machine_command(struct buffer *command, uint64_t id, uint32_t key, size_t padding_bytes);

#endif
