/* What libraft 0.15.0 needs around it to be safe and live under crashes and partitions.
 *
 * The bare core lets two members apply different commands at one index. Seven guards correct what
 * goes in and comes out of it; each can be switched off, so that the simulator can show that it is
 * needed. This is the only file that looks into struct raft: another version of libraft needs a
 * fresh look at every function here, which the assertion below enforces.
 *
 * Beyond the seven: a configuration that was not committed can be rolled back although the
 * committed one has left the log; a member that does not know yet that it is a voter votes when it
 * is asked; a member that lost its log is sent it again; a snapshot that got lost on its way is
 * sent again soon; entries that a follower's snapshot covers are not appended once more. */

#ifndef PROTO_RAFT_GUARD_H
#define PROTO_RAFT_GUARD_H

#include "proto/base/buffer.h"

#include <raft.h>

_Static_assert(sizeof(struct raft) == 656, "guard.c was written for libraft 0.15.0");

enum guard_bit {
    /* A follower acknowledges only what an AppendEntries of this term confirmed, not a longer tail
     * that is left over from an older term. */
    GUARD_ACK_CLAMP = 1,
    /* A follower commits no further than the AppendEntries at hand confirms. */
    GUARD_COMMIT_CLAMP = 2,
    /* A leader counts replicas only for entries of its own term (the barrier it begins with). */
    GUARD_OWN_TERM_COMMIT = 4,
    /* Votes and candidacies wait while an append is on its way, and so rest on the log on disk. The
     * order of the journal would see to that much; but the core passes over a change of members
     * whose append ends while it is a candidate, and then has other members than its log says. */
    GUARD_PERSISTED_VOTE = 8,
    /* A follower whose tail conflicts points the leader at its commit index, not one entry back. */
    GUARD_CONFLICT_HINT = 16,
    /* A refused pre-vote tells the refuser's term, so that a member that lags catches up: of a
     * majority that is left, the one with the longer log may have the older term. */
    GUARD_PREVOTE_TERM = 32,
    /* A leader commits up to what a majority stores, not only when that is all it stores itself. */
    GUARD_COMMIT_STALL = 64
};

#define GUARD_UNCOUNTED_MAX 9

struct guard {
    struct raft *raft;
    uint64_t disabled;

    uint64_t accepted_term; /* the term `accepted` belongs to */
    uint64_t accepted;      /* our log equals the leader's up to here */
    uint64_t offered;       /* so it will up to here, if the message at hand is accepted */
    bool is_receiving;
    bool has_appended;

    uint64_t own_first; /* as leader: the barrier's index */
    uint64_t stored;    /* the true last_stored while it is lowered */
    bool is_lowered;
    struct raft_server *lent_vote; /* a voter for the message at hand only */
    int role_before;

    uint64_t uncounted[GUARD_UNCOUNTED_MAX]; /* peers */
    uint64_t hidden[GUARD_UNCOUNTED_MAX];    /* their true match_index while it is 0 */
    size_t uncounted_count;
    bool is_hiding;

    uint64_t committed_index;     /* of the last committed configuration */
    struct raft_buffer committed; /* encoded; base NULL = none yet */
};

void guard_init(struct guard *guard, struct raft *raft, uint64_t disabled);
void guard_close(struct guard *guard);

/* After raft_start. The configuration as of the snapshot that was loaded, if any, is committed;
 * later ones in the log may not be. Index 0 = no snapshot. */
void guard_on_started(struct guard *guard, uint64_t snapshot_index, uint64_t configuration_index,
                      struct slice configuration);

/* ---- round the calls into the core ---- */

/* The message has to wait until what is being appended is on disk. */
bool guard_holds(const struct guard *guard, unsigned type, uint64_t term, bool is_appending);
bool guard_holds_tick(const struct guard *guard, bool is_appending);
void guard_before_tick(struct guard *guard);
void guard_before_receive(struct guard *guard, struct raft_message *message);
void guard_after_receive(struct guard *guard);
/* Corrects what is about to be sent. `stored` is the last index on disk. */
void guard_on_send(struct guard *guard, struct raft_message *message, uint64_t stored);
void guard_on_append(struct guard *guard);
/* Entries up to `last` are on disk (0: they were truncated meanwhile); round telling the core. */
void guard_before_stored(struct guard *guard, uint64_t last);
void guard_after_stored(struct guard *guard);
/* A snapshot was installed; before and after the core is told. */
void guard_before_installed(struct guard *guard, uint64_t index);
void guard_after_installed(struct guard *guard);
/* It became leader; the barrier is proposed next. `applied`: what the state machine holds, from an
 * earlier life perhaps, was committed, and the log of a leader holds all that was. */
void guard_on_leader(struct guard *guard, uint64_t applied);
/* After every call into the core. */
void guard_after_call(struct guard *guard);

/* ---- looking into the core ---- */

uint64_t guard_term(const struct guard *guard);
uint64_t guard_committed(const struct guard *guard);
uint64_t guard_term_of(const struct guard *guard, uint64_t index); /* 0 = not in the log */
const struct raft_entry *guard_entry(const struct guard *guard, uint64_t index); /* NULL */
bool guard_is_transferring(const struct guard *guard);
bool guard_has_voted_for_other(const struct guard *guard);

const struct raft_configuration *guard_configuration(const struct guard *guard);
bool guard_configuration_is_committed(const struct guard *guard);
bool guard_is_voter(const struct guard *guard, uint64_t id);

/* ---- steering it ---- */

/* A snapshot is taken once so many entries are applied since the last; so many stay behind it. */
void guard_set_snapshot(struct guard *guard, unsigned threshold, unsigned trailing);

/* As leader, about one follower; nothing and 0 if it is not in the configuration. */
uint64_t guard_match(const struct guard *guard, uint64_t peer);
bool guard_is_probing(const struct guard *guard, uint64_t peer);
bool guard_is_pipelining(const struct guard *guard, uint64_t peer);
bool guard_is_snapshotting(const struct guard *guard, uint64_t peer);
void guard_snapshot_goes_on(struct guard *guard, uint64_t peer);
void guard_snapshot_sent(struct guard *guard, uint64_t peer, uint64_t index);
void guard_snapshot_lost(struct guard *guard, uint64_t peer);
/* A voter that is not counted where a leader needs a majority. */
void guard_set_counted(struct guard *guard, uint64_t peer, bool is_counted);
/* It answered `rejected` and says that its log is empty. */
void guard_log_lost(struct guard *guard, uint64_t peer, uint64_t rejected);

#endif
