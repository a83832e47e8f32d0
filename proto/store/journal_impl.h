/* Inside of the journal: what journal.c (writing), journal_segment.c (files), journal_load.c
 * (opening) and journal_group.c (what the records say about a group) share. For these files only.
 */

#ifndef PROTO_STORE_JOURNAL_IMPL_H
#define PROTO_STORE_JOURNAL_IMPL_H

#include "proto/base/map.h"
#include "proto/store/journal.h"
#include "proto/store/journal_format.h"

/* The highest entry a segment holds of a group; the segment is needed until that is released. */
struct journal_note {
    uint64_t life;
    uint64_t index_max;
};

struct journal_group {
    uint64_t id;
    bool exists;     /* something is stored since it was last forgotten */
    bool is_damaged; /* records are missing */
    bool is_suspect; /* records may be missing, until its next one proves they are not */
    uint64_t number; /* of its last record */
    uint64_t term;
    uint64_t vote;
    uint32_t flags;
    uint64_t mark_index;
    uint64_t mark_term;
    struct buffer mark_data;
    uint64_t first;
    uint64_t last;
    uint64_t state_batch; /* the batch its state was last written in; 0 = written twice already */
    uint64_t again_life;  /* where the copies being appended again begin; 0 = not yet */
    struct journal_note *notes; /* by life, oldest first */
    size_t note_count;
    size_t note_capacity;
};

/* A segment file. Each use of it is a life, numbered without a gap. */
struct journal_segment {
    struct list link; /* in journal.segments or journal.spares */
    uint64_t life;
    uint64_t slot; /* names the file */
    struct env_file *file;
    uint64_t used; /* bytes taken by batches, also those not written yet */
};

struct journal {
    struct env *env;
    struct journal_options options;
    char *folder;
    struct map groups;
    struct list segments; /* in use, oldest life first; batches go to the last */
    struct list spares;
    uint64_t slot_next;

    struct list batches; /* to be written, oldest first; the last may be open */
    struct list idle_batches;
    struct journal_batch_buffer *open;
    struct journal_batch_buffer *writing;
    uint64_t batch_next;
    uint64_t seal; /* of the last sealed batch */
    struct env_disk_op write_op;
    struct env_task flush_task;
    struct env_timer proof_timer;

    struct journal_segment *preparing; /* a new file that is being filled with zeros */
    uint64_t prepared_bytes;
    struct env_disk_op prepare_op;
    struct buffer zeros;

    bool is_damaged;
    bool has_failed;
    struct journal_stats stats;
};

struct journal_batch_buffer {
    struct list link;
    struct buffer bytes;
    struct buffer framed; /* once sealed */
    struct list ops;
    uint64_t number;
    struct journal_segment *segment;
    uint64_t offset;
    size_t head_bytes; /* its own record, and the checkpoints at the start of a segment */
    bool has_records;  /* others than copies */
};

/* ---- journal_group.c ---- */

struct journal_group *journal_group_get(struct journal *journal, uint64_t id);
struct journal_group *journal_group_find(const struct journal *journal, uint64_t id);
void journal_group_free(struct journal_group *group);

/* Note what a record says; it stands in the segment with this life. The record's number must be
 * right. ERR_INVALID: it makes no sense, nothing was changed. */
enum error journal_group_take(struct journal_group *group, const struct journal_record *record,
                              uint64_t life);
void journal_group_checkpoint(const struct journal_group *group, struct journal_record *record,
                              struct buffer *data);
/* What it needs of lives before this one stands in later ones too by now. */
void journal_group_drop_notes(struct journal_group *group, uint64_t life);
/* The oldest life it still needs; UINT64_MAX = none. */
uint64_t journal_group_oldest(const struct journal_group *group);
uint64_t journal_oldest(const struct journal *journal);

/* ---- journal_load.c ---- */

/* Finds the segments, tells the visitor what they hold, leaves the journal ready to append. */
enum error journal_load(struct journal *journal, const struct journal_visitor *visitor);

/* ---- journal_segment.c ---- */

#define JOURNAL_PATH_BYTES 512

void journal_fail(struct journal *journal, enum error rc, const char *why);
void journal_path(const struct journal *journal, uint64_t slot, char path[JOURNAL_PATH_BYTES]);
struct journal_segment *journal_segment_new(struct journal *journal, uint64_t slot);
struct journal_segment *journal_newest(const struct journal *journal);
size_t journal_segment_count(const struct journal *journal);
enum error journal_create_first(struct journal *journal);
void journal_reclaim(struct journal *journal);
/* Batches go to another segment from now on. False after a failure. */
bool journal_roll(struct journal *journal);
void journal_segments_free(struct journal *journal);

#endif
