/* All Raft groups of a process: one journal, one tick, one probe message per turn.
 *
 * The host owns ENV_CHANNEL_RAFT and ENV_CHANNEL_SNAPSHOT of the environment's link, and the
 * journal folder. When a peer is refused on reconnect, every group it led elects at once. */

#ifndef PROTO_RAFT_HOST_H
#define PROTO_RAFT_HOST_H

#include "proto/raft/group.h"

struct host;

struct host_options {
    const char *folder;        /* of the journal, in the data folder */
    uint32_t heartbeat_ms;     /* 100 */
    uint32_t election_ms;      /* 1000, randomised to 1-2 times */
    uint32_t snapshot_entries; /* 2048: applied entries between log releases */
    uint64_t snapshot_bytes;   /* 4 MiB: or that many bytes */
    uint32_t trailing_entries; /* 1024: kept behind for slow followers */
    uint64_t segment_bytes;    /* 16 MiB */
    uint64_t append_bytes;     /* 1 MiB: of entries in one message, unless it is a single one */
    uint64_t disable_guards;   /* bit mask, tests only; 0 */
    void *user;
    /* The journal or a state could not be written: the process must stop acting at once. */
    void (*on_fatal)(void *user, enum error rc, const char *why);
};

/* Reads the journal (blocking; start-up). ERR_CORRUPT never comes back: damaged groups are marked,
 * see host_group_is_damaged. ERR_IO. */
enum error host_open(struct env *env, const struct host_options *options, struct host **host);

/* Frees everything at once, as a crash would: nothing more is written, no callback comes. */
void host_free(struct host *host);

/* Hand all leaderships away, then call back (within two election timeouts at the latest). */
void host_drain(struct host *host, void *user, void (*done)(void *user));

struct group_options {
    uint64_t id; /* the same on every member; 0 is reserved */
    const uint64_t
        *born_with;         /* the first configuration: voters; needed on their first start only */
    size_t born_with_count; /* 0: join an existing group, wait to be added */
    struct group_machine machine;
};

/* Starts it: entries above machine.applied() that are known committed get applied as usual, later.
 * A group whose log was damaged starts without a vote until it has refetched (its log is wiped, it
 * takes part again once the leader brought it up to where it may have acknowledged). */
enum error host_group_start(struct host *host, const struct group_options *options,
                            struct group **group);
/* Stops it and forgets its log and its vote for good: it was removed from the configuration. All
 * that is open is answered before this returns; the state machine is not called again, but a
 * make_durable that is under way still ends in its callback. */
void host_group_forget(struct host *host, struct group *group);

struct group *host_group_find(struct host *host, uint64_t id); /* NULL */
bool host_group_is_damaged(const struct host *host, uint64_t id);
/* The journal holds something of it, started or not. */
bool host_group_is_known(const struct host *host, uint64_t id);

struct host_stats {
    uint64_t journal_syncs;
    uint64_t journal_records;
    uint64_t journal_bytes;
    uint64_t segments;
    uint64_t elections_started;
    uint64_t hints_taken; /* elections started because a leader's process refused */
    uint64_t snapshots_sent;
    uint64_t snapshots_received;
    uint64_t damaged_groups; /* now: without a vote because of damage, until they have it back */
    uint64_t announcements;  /* messages that only tell a follower what is committed */
};

void host_stats(const struct host *host, struct host_stats *stats);

#endif
