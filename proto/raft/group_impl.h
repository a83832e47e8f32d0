/* Inside of the room: a group and its host, shared by group.c, group_io.c, group_read.c,
 * group_change.c, snapshot_stream.c and host.c. Nothing else includes this.
 *
 * libraft is not re-entrant: every call into it stands between group_enter and group_leave, which
 * settles what the call left owing (completions, changes of role). The group's own functions may
 * be called from any callback; what needs libraft waits for the end of the turn. */

#ifndef PROTO_RAFT_GROUP_IMPL_H
#define PROTO_RAFT_GROUP_IMPL_H

#include "proto/base/map.h"
#include "proto/raft/group_message.h"
#include "proto/raft/guard.h"
#include "proto/raft/host.h"
#include "proto/store/journal.h"

#include <raft.h>

/* In the journal's state. */
#define GROUP_FLAG_VOTELESS 1u
#define GROUP_FLAG_DAMAGED 2u

/* An entry found in the journal, until its group starts. */
struct loaded_entry {
    uint64_t term;
    uint8_t kind;
    struct raft_buffer bytes; /* raft_malloc */
};

struct loaded_log {
    uint64_t first;
    size_t count;
    size_t capacity;
    struct loaded_entry *entries;
    bool has_gap;
};

/* Asked of the state machine; outlives a group that is forgotten meanwhile. */
struct durable_request {
    struct env_disk_op op;
    struct list link; /* in host.durable_requests */
    struct group *group;
};

/* A snapshot on its way into the journal: libraft's, or one that only shortens the journal. */
struct group_put {
    bool is_active;
    bool is_install;                      /* the state was received, the log starts anew */
    struct raft_io_snapshot_put *request; /* NULL: only the journal's */
    raft_io_snapshot_put_cb cb;
    struct raft_buffer *bufs; /* libraft's, for when it forgets to free them */
    uint64_t index;
    uint64_t term;
    uint64_t first;
    struct buffer data;
    struct durable_request *durable;
    struct journal_op op;
};

struct stream_in { /* a snapshot being received */
    uint64_t id;   /* 0 = none */
    uint64_t next;
    bool is_complete;
};

struct read_ack {
    uint64_t peer;
    uint64_t probe; /* newest one it agreed to in this term */
};

struct follower { /* what its last answer in this term said */
    uint64_t peer;
    uint32_t life;
    bool is_voteless;
    uint64_t probe; /* to be agreed to by a majority without it */
    bool is_confirmed;
};

struct told { /* the commit index that a follower was sent, in this term */
    uint64_t peer;
    uint64_t commit;
};

struct group {
    struct list link; /* in host.groups */
    struct host *host;
    uint64_t id;
    struct group_machine machine;

    struct raft raft;
    struct raft_io io;
    struct raft_fsm fsm;
    struct guard guard;
    raft_io_tick_cb core_tick;
    raft_io_recv_cb core_receive;
    bool is_inside;
    bool is_started; /* libraft runs */
    bool is_closing;
    bool is_doomed; /* to be freed at the end of the turn */

    /* group_io.c */
    struct loaded_log loaded; /* what libraft is to load */
    struct journal_state at_start;
    struct list appends; /* struct append, in order */
    struct list sent;    /* struct completion, owed to libraft */
    struct list outbox;  /* struct waiting, until term and vote are durable */
    struct list held;    /* struct waiting, messages that may not be taken yet */
    size_t held_count;
    struct journal_op state_op;
    uint64_t term;
    uint64_t vote;
    uint64_t append_next;  /* index */
    uint64_t stored;       /* last index on disk */
    struct buffer encoded; /* the last AppendEntries, for the next follower */
    struct raft_append_entries encoded_as;
    unsigned encoded_first;
    unsigned encoded_count;
    struct group_put put;

    /* Without a vote: its log is not known to hold all it may have acknowledged. */
    bool is_voteless;
    bool is_damaged; /* that is why */
    uint64_t started_us;
    uint64_t rejoin_term; /* of a leader that was confirmed without us */
    uint64_t rejoin_commit;
    struct follower followers[GROUP_MEMBERS_MAX]; /* as leader */
    size_t follower_count;

    /* applying */
    uint64_t skip; /* what the state machine had when the group started */
    uint64_t bytes_since_snapshot;

    /* role */
    enum group_role role_told;
    uint64_t term_told;
    uint64_t leader_told;
    bool is_raft_leader; /* seen by group_leave */
    uint64_t leading_term;
    bool is_leading; /* and the barrier is applied */

    /* proposals */
    struct list queued;               /* not in the log yet */
    struct list in_flight;            /* in the log, by index */
    struct list failed;               /* to be told at the end of the turn */
    struct raft_buffer *queued_bytes; /* of `queued`, in order */
    size_t queued_count;
    size_t queued_capacity;
    size_t in_flight_count;
    size_t bytes_open; /* of both */

    /* reads */
    struct list reads_new; /* since the last probe */
    struct list reads;     /* by probe */
    struct list reads_failed;
    struct read_ack acks[GROUP_MEMBERS_MAX];
    size_t ack_count;

    /* group_announce.c, as leader */
    struct env_timer announce_timer;
    uint64_t announce_commit; /* the commit index when it was started */
    struct told told[GROUP_MEMBERS_MAX];
    size_t told_count;

    struct change *change; /* NULL: none under way */
    struct list changes_refused;
    struct list streams; /* struct stream_out */
    struct stream_in stream_in;

    /* the leader's process is gone: stand for election */
    uint64_t hint_peer; /* 0 = no hint */
    uint64_t hint_term;
    uint64_t hint_at_us;
};

struct peer {
    uint64_t id;
    uint32_t life; /* 0 = not known */
    uint32_t life_before;
    struct buffer probe; /* items of the probe of this turn */
};

struct host {
    struct env *env;
    struct host_options options;
    struct journal *journal;
    struct map loaded; /* id -> struct loaded_log */
    struct map groups_by_id;
    struct list groups;
    struct list durable_requests;
    struct map peers;
    struct env_link_watcher watcher;
    bool is_watching;
    uint32_t life;
    struct env_task turn_task;
    struct env_timer tick_timer;
    uint64_t tick_us;
    uint64_t tick_due_us;
    uint64_t ticks;
    struct env_timer hint_timer;
    uint64_t probe_last;
    uint64_t stream_last;
    bool has_failed;
    bool is_freeing;

    bool is_draining;
    uint64_t drain_until_us;
    void *drain_user;
    void (*drain_done)(void *user);

    struct buffer scratch; /* for encoding */
    struct host_stats stats;
};

/* ---- group.c ---- */

void group_init(struct group *group, struct host *host, const struct group_options *options);
/* Starts libraft with what is in `loaded`, `at_start`, `term` and `vote`. */
void group_run(struct group *group);
void group_enter(struct group *group);
void group_leave(struct group *group);
void group_tick(struct group *group, bool is_heartbeat);
void group_turn(struct group *group);  /* at the end of a turn in which something was asked */
void group_touch(struct group *group); /* see to it that group_turn gets called */
void group_fatal(struct group *group, enum error rc, const char *why);
void group_free(struct group *group); /* at once, without callbacks */
/* Answers everything that is open; from now on neither the state machine nor the journal hears of
 * it. It is freed at the end of the turn. */
void group_doom(struct group *group);
bool group_is_connected(const struct group *group, uint64_t peer);

/* ---- group_io.c ---- */

void group_io_init(struct group *group);
uint16_t group_io_result_flags(struct group *group);
void group_io_drain_sent(struct group *group);
void group_io_detach(struct group *group); /* from the journal and the state machine */
void group_io_send(struct group *group, uint64_t peer, const struct group_message *message);
bool group_io_is_appending(const struct group *group);
void group_io_set_voteless(struct group *group, bool is_voteless);
void group_io_complete(struct group *group, struct raft_io_send *request, raft_io_send_cb cb,
                       int status);

/* ---- group_receive.c ---- */

void group_receive(struct group *group, uint64_t peer, struct slice bytes,
                   const struct group_message *message);
void group_receive_held(struct group *group); /* what had to wait for something that is done */
void group_receive_close(struct group *group);

/* ---- group_propose.c ---- */

void group_propose_init(struct group *group);
void group_propose_turn(struct group *group);
void group_propose_lost(struct group *group);   /* not the leader any more */
void group_propose_answer(struct group *group); /* all that are open */
void group_propose_close(struct group *group);

/* ---- group_hint.c ---- */

/* The process of `peer` is gone: if it leads the group, stand in its place, soon. */
void group_hint(struct group *group, uint64_t peer);
void group_hint_check(struct group *group);

/* ---- group_put.c ---- */

int group_put_start(struct group *group, unsigned trailing, struct raft_io_snapshot_put *request,
                    const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb cb);
void group_put_detach(struct group *group);
void group_put_close(struct group *group);
/* Give the journal its oldest segment back. */
void group_compact(struct group *group);
/* Reads the data of a snapshot mark. */
enum error group_put_read(struct slice data, uint64_t *state_index, uint64_t *configuration_index,
                          struct slice *configuration);

/* ---- group_read.c ---- */

void group_read_turn(struct group *group);
void group_read_tick(struct group *group);
void group_read_on_result(struct group *group, uint64_t peer, uint64_t term, uint64_t probe);
bool group_read_agrees(const struct group *group, uint64_t term);
void group_read_lost(struct group *group); /* not the leader any more */

void group_read_probe(struct group *group);
/* The newest probe that a majority of the voters agreed to, not counting `without`; 0 = nobody. */
uint64_t group_read_confirmed(const struct group *group, uint64_t without);

/* ---- group_rejoin.c ---- */

void group_rejoin_clear(struct group *group);
void group_rejoin_on_result(struct group *group, uint64_t peer,
                            const struct group_message *message);
void group_rejoin_turn(struct group *group);
uint16_t group_rejoin_flags(struct group *group, uint64_t peer);
bool group_rejoin_has_vote(struct group *group, uint64_t peer);
void group_rejoin_on_append(struct group *group, const struct group_message *message);
void group_rejoin_check(struct group *group);

/* ---- group_announce.c ---- */

void group_announce_check(struct group *group); /* something may have been committed or stored */
/* The first `count` entries of `append` go to `peer`. */
void group_announce_on_append(struct group *group, uint64_t peer,
                              const struct raft_append_entries *append, unsigned count);
void group_announce_stop(struct group *group);

/* ---- group_change.c ---- */

void group_change_turn(struct group *group);
void group_change_close(struct group *group);  /* without callbacks */
void group_change_answer(struct group *group); /* all that are open, for good */
/* A transfer nobody waits for. False if there is nobody to transfer to, or one is under way. */
bool group_change_drain(struct group *group);

/* ---- snapshot_stream.c ---- */

int snapshot_stream_start(struct group *group, struct raft_io_send *request,
                          const struct raft_message *message, raft_io_send_cb cb);
void snapshot_stream_tick(struct group *group);
void snapshot_stream_on_up(struct group *group, uint64_t peer);
void snapshot_stream_receive(struct group *group, uint64_t peer,
                             const struct group_message *message);
/* Ends those that should not go on; all of them when closing. */
void snapshot_stream_sweep(struct group *group);
bool snapshot_stream_is_complete(const struct group *group, uint64_t stream);

/* ---- host_load.c ---- */

struct journal_visitor host_load_visitor(struct host *host);
/* Term, vote, log: as found, wiped, or new. */
void host_load_group(struct group *group, const struct group_options *options);
void host_load_close(struct host *host);

/* ---- host.c ---- */

uint32_t host_peer_life(struct host *host, uint64_t peer);
void host_probe(struct group *group, uint64_t peer);
uint64_t host_probe_number(struct host *host);
void host_touch(struct host *host);

#endif
