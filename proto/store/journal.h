/* One write-ahead log for all Raft groups of a process.
 *
 * What one turn of the loop appends leaves in one batch: one write, one sync; the next batch
 * gathers meanwhile. Batches fill segment files in order; a segment whose entries every group has
 * released is used again, oldest first. Terms, votes, truncations and snapshot marks are records
 * like entries, so what was appended first is durable first, across all groups.
 *
 * Only one batch is on its way to the disk at a time, so each batch proves that all before it were
 * durable. After a crash a bad last batch is a torn tail, cut off silently; anything bad before it
 * is damage, and the groups that may have lost records are reported. A batch without records
 * follows after a quiet second, so that the last real one is proven too. Terms and votes are
 * written twice, in different batches: one bad spot never takes a vote away.
 *
 * Bytes on disk: journal_format.h. After ERR_IO nothing is written or called back any more, except
 * on_fatal, once. */

#ifndef PROTO_STORE_JOURNAL_H
#define PROTO_STORE_JOURNAL_H

#include "proto/env/env.h"

#define JOURNAL_ENTRY_BYTES_MAX ((8u << 20) + 4096u)
#define JOURNAL_MARK_BYTES_MAX 4096u

struct journal;

struct journal_options {
    const char *folder;
    uint64_t segment_bytes;
    uint32_t segments_soft; /* with more in use, on_laggard names who holds the oldest */
    void *user;
    void (*on_fatal)(void *user, enum error rc, const char *why);
    /* The group should release its oldest entries; repeated with every new segment until then. */
    void (*on_laggard)(void *user, uint64_t group);
};

struct journal_entry {
    uint64_t term;
    uint8_t kind; /* the caller's */
    struct slice data;
};

/* Told of what the journal holds, in the order it was appended. */
struct journal_visitor {
    void *user;
    /* Entries are given in order of index. `again`: the entry may have been given before, with the
     * same content. Anything else at or above the index is gone. `entry` is lent for the call. */
    void (*on_entry)(void *user, uint64_t group, uint64_t index, const struct journal_entry *entry,
                     bool again);
    void (*on_truncate)(void *user, uint64_t group, uint64_t index); /* entries from index on */
    void (*on_release)(void *user, uint64_t group, uint64_t first);  /* entries below first */
};

/* What is known of one group besides its entries. */
struct journal_state {
    uint64_t term;
    uint64_t vote;
    uint32_t flags;      /* the caller's */
    uint64_t mark_index; /* of the last snapshot mark; 0 = none */
    uint64_t mark_term;
    struct slice mark_data; /* lent until the group's next mark */
    uint64_t first;         /* entries kept: first .. last; none when last is first - 1 */
    uint64_t last;
    bool is_damaged; /* records of it may be lost (found when opened) */
};

/* Blocking, for start-up. ERR_IO. Damage is not an error. */
enum error journal_open(struct env *env, const struct journal_options *options,
                        const struct journal_visitor *visitor, struct journal **journal);
/* What was not written is not written any more; no callback comes. NULL is fine. */
void journal_free(struct journal *journal);

/* False when nothing is stored of the group. */
bool journal_find(const struct journal *journal, uint64_t group, struct journal_state *state);
/* Records were lost of which even the group is unknown. */
bool journal_is_damaged(const struct journal *journal);

/* ---- appending; everything is copied before the call returns ---- */

/* Told once the record it was given to is durable, and with it all records before. */
struct journal_op;
typedef void (*journal_cb)(struct journal_op *op);

struct journal_op { /* embedded; zeroed at first; the journal's until the callback */
    struct list link;
    journal_cb cb;
};

/* No callback will come. Nothing if the op is not under way. */
void journal_cancel(struct journal_op *op);

/* In all of these `op` may be NULL. */
void journal_set_state(struct journal *journal, struct journal_op *op, uint64_t group,
                       uint64_t term, uint64_t vote, uint32_t flags);
/* Entries `index`, `index` + 1, ...; index is at most last + 1. */
void journal_append(struct journal *journal, struct journal_op *op, uint64_t group, uint64_t index,
                    const struct journal_entry *entries, size_t count);
/* The same entries that are stored already, all of first .. last in one or more calls, so that old
 * segments get free. Begin with journal_append_again_begin. */
void journal_append_again_begin(struct journal *journal, uint64_t group);
void journal_append_again(struct journal *journal, uint64_t group, uint64_t index,
                          const struct journal_entry *entry);
void journal_truncate(struct journal *journal, uint64_t group, uint64_t index);
/* A snapshot at `index` is durable: entries below `first` (at most index + 1) are released. */
void journal_mark(struct journal *journal, struct journal_op *op, uint64_t group, uint64_t index,
                  uint64_t term, uint64_t first, struct slice data);
/* A snapshot at `index` replaces the whole log, whatever it holds. */
void journal_mark_reset(struct journal *journal, struct journal_op *op, uint64_t group,
                        uint64_t index, uint64_t term, struct slice data);
/* Term, vote, mark and entries are gone. */
void journal_forget(struct journal *journal, uint64_t group);

struct journal_stats {
    uint64_t syncs;
    uint64_t records;
    uint64_t bytes;
    uint64_t segments; /* in use */
};

void journal_stats(const struct journal *journal, struct journal_stats *stats);

#endif
