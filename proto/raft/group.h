/* One Raft group: a replicated log of entries applied to a state machine.
 *
 * libraft 0.15 behind our own I/O and guards (group_io.c, guard.c); nothing outside this room sees
 * a raft_ name. Ongaro and Ousterhout 2014, Ongaro's thesis 2014 (ReadIndex, transfer, membership).
 * Loop thread only. */

#ifndef PROTO_RAFT_GROUP_H
#define PROTO_RAFT_GROUP_H

#include "proto/env/env.h"

#define GROUP_MEMBERS_MAX 9
#define GROUP_ENTRY_BYTES_MAX (8u << 20)

struct group;

enum group_role { GROUP_FOLLOWER, GROUP_CANDIDATE, GROUP_LEADER };

/* What the group calls. The state machine is deterministic: no clock, no dice, no I/O but its own
 * store. */
struct group_machine {
    void *user;

    /* The last index its state contains, asked once when the group starts. Entries up to it are
     * not applied again. */
    uint64_t (*applied)(void *user);

    /* Apply one entry. Cannot fail: a business error is part of the state machine's reply. Called
     * in order of index; indexes of the group's own entries (barriers, configurations) are left
     * out, so they grow but are not consecutive. */
    void (*apply)(void *user, uint64_t index, uint64_t term, struct slice entry);

    /* All state up to the last applied entry must survive power loss once `cb` says OK; then a
     * prefix of the log may go. ERR_IO: the process stops. */
    void (*make_durable)(void *user, struct env_disk_op *op, env_disk_cb cb);

    /* Sending a snapshot: pin the state as it is now, read it in chunks, unpin. `position` is empty
     * at first and is replaced by where to go on; is_last is set with the last chunk. The chunks'
     * form is the state machine's. */
    void *(*snapshot_pin)(void *user);
    enum error (*snapshot_read)(void *user, void *pin, struct buffer *position, size_t chunk_bytes,
                                struct buffer *chunk, bool *is_last);
    void (*snapshot_unpin)(void *user, void *pin);

    /* Receiving one: begin (forget an unfinished one), chunks in order into a staging store, then
     * install: afterwards `applied` gives the snapshot's index. A crash before, in or after it
     * leaves the old state or the new one, whole: the new one is durable before the old one goes
     * (env_kv.sync). */
    enum error (*snapshot_begin)(void *user);
    enum error (*snapshot_chunk)(void *user, struct slice chunk);
    enum error (*snapshot_install)(void *user, uint64_t index);

    /* Role or leader changed. `leader` 0 = unknown. A new leader is told once its own term's
     * barrier has been applied, so that what it reads is complete. */
    void (*on_role)(void *user, enum group_role role, uint64_t term, uint64_t leader);
};

/* ---- proposing ---- */

struct group_proposal;
/* OK: applied here (machine.apply ran just before), `index` says where. ERR_NOT_LEADER,
 * ERR_OVERLOADED: nothing happened. ERR_LOST: leadership lost, may yet be applied. */
typedef void (*group_proposal_cb)(struct group_proposal *proposal, enum error rc, uint64_t index);

struct group_proposal { /* embedded; the group's until the callback */
    group_proposal_cb cb;
    struct list link;
    uint64_t index;
    uint64_t term;
};

/* Copies `entry`. Entries proposed in one turn go to the log together. Exactly one callback. */
void group_propose(struct group *group, struct group_proposal *proposal, struct slice entry,
                   group_proposal_cb cb);

/* ---- linearizable reads (ReadIndex, no log write; one probe per turn for all groups) ---- */

struct group_read;
/* OK: this replica has applied everything acknowledged before group_read_start was called.
 * ERR_NOT_LEADER; ERR_TIMEOUT: no majority answered within an election timeout. */
typedef void (*group_read_cb)(struct group_read *read, enum error rc);

struct group_read { /* embedded; the group's until the callback */
    group_read_cb cb;
    struct list link;
    uint64_t index;
    uint64_t probe;
};

void group_read_start(struct group *group, struct group_read *read, group_read_cb cb);

/* ---- state ---- */

struct group_member {
    uint64_t id;
    bool is_voter;
    uint64_t match_index; /* known to the leader; 0 elsewhere */
};

uint64_t group_id(const struct group *group);
enum group_role group_role(const struct group *group);
bool group_is_leader(const struct group *group);  /* and its barrier has been applied */
uint64_t group_leader(const struct group *group); /* 0 = unknown */
uint64_t group_term(const struct group *group);
uint64_t group_applied(const struct group *group);
uint64_t group_committed(const struct group *group);
uint64_t group_last(const struct group *group); /* last index in the log */
/* False: its disk is new or damaged, and it counts for nothing until it has fetched what it lost.
 */
bool group_has_vote(const struct group *group);
size_t group_members(const struct group *group, struct group_member members[GROUP_MEMBERS_MAX]);

/* ---- leadership and membership; one change at a time, leader only ---- */

struct group_change;
typedef void (*group_change_cb)(struct group_change *change, enum error rc);

struct group_change { /* embedded; the group's until the callback */
    group_change_cb cb;
    uint64_t peer;
    void *impl;
};

/* Hand leadership to `peer` (0 = the most up-to-date voter). ERR_TIMEOUT: still the leader. */
void group_transfer(struct group *group, struct group_change *change, uint64_t peer,
                    group_change_cb cb);
/* Add as a learner, let it catch up, promote it to voter. Goes on where an earlier attempt ended.
 * ERR_UNREACHABLE: no majority, or not the peer, is connected. */
void group_add(struct group *group, struct group_change *change, uint64_t peer, group_change_cb cb);
/* A leader that is to remove itself hands leadership away and ends with ERR_NOT_LEADER: ask the
 * next one. */
void group_remove(struct group *group, struct group_change *change, uint64_t peer,
                  group_change_cb cb);

#endif
