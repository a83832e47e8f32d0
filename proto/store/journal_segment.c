/* Segment files: one being written, the ones before it that are still needed, and spares. */

#include "proto/base/check.h"
#include "proto/store/journal_impl.h"

#include <inttypes.h>
#include <stdio.h>

#define PREPARE_BYTES (1u << 20) /* zeros written at a time into a new segment */

/* ---- failure ---- */

void journal_fail(struct journal *journal, enum error rc, const char *why)
{
    if (journal->has_failed)
        return;
    journal->has_failed = true;
    env_timer_stop(journal->env, &journal->proof_timer);
    journal->options.on_fatal(journal->options.user, rc, why);
}

/* ---- segments ---- */

void journal_path(const struct journal *journal, uint64_t slot, char path[JOURNAL_PATH_BYTES])
{
    snprintf(path, JOURNAL_PATH_BYTES, "%s/%08" PRIx64 ".log", journal->folder, slot);
}

struct journal_segment *journal_segment_new(struct journal *journal, uint64_t slot)
{
    struct journal_segment *segment = check_calloc(1, sizeof(*segment));

    segment->slot = slot;
    if (slot >= journal->slot_next)
        journal->slot_next = slot + 1;
    list_init(&segment->link);
    return segment;
}

struct journal_segment *journal_newest(const struct journal *journal)
{
    return container_of(journal->segments.previous, struct journal_segment, link);
}

/* A file written to has been released by an earlier batch, and batches reach the disk in order: so
 * a released segment may be used again at once. */
void journal_reclaim(struct journal *journal)
{
    uint64_t oldest = journal_oldest(journal);

    LIST_EACH_SAFE(&journal->segments, link)
    {
        struct journal_segment *segment = container_of(link, struct journal_segment, link);

        if (segment->life >= oldest)
            break;
        list_remove(link);
        list_append(&journal->spares, link);
    }
}

size_t journal_segment_count(const struct journal *journal)
{
    size_t count = 0;

    LIST_EACH(&journal->segments, link)
    count++;
    return count;
}

/* A new file, still empty. NULL after a failure. */
static struct journal_segment *create_segment(struct journal *journal)
{
    struct journal_segment *segment = journal_segment_new(journal, journal->slot_next);
    char path[JOURNAL_PATH_BYTES];
    enum error rc;

    journal_path(journal, segment->slot, path);
    rc = journal->env->disk->open(journal->env, path, true, &segment->file);
    if (rc == OK)
        return segment;
    free(segment);
    journal_fail(journal, rc, "a new journal segment could not be created");
    return NULL;
}

static void prepare_on_done(struct env_disk_op *op, enum error rc)
{
    struct journal *journal = container_of(op, struct journal, prepare_op);
    struct journal_segment *segment = journal->preparing;

    if (rc != OK) { /* a full disk: go on with what there is, the next batch will tell */
        journal->preparing = NULL;
        list_append(&journal->spares, &segment->link);
        buffer_close(&journal->zeros);
        return;
    }
    journal->prepared_bytes += journal->zeros.size;
    if (journal->prepared_bytes < journal->options.segment_bytes) {
        uint64_t rest = journal->options.segment_bytes - journal->prepared_bytes;

        if (rest < journal->zeros.size)
            journal->zeros.size = (size_t)rest;
        journal->env->disk->write_sync(journal->env, &journal->prepare_op, segment->file,
                                       journal->prepared_bytes, buffer_slice(&journal->zeros),
                                       prepare_on_done);
        return;
    }
    journal->preparing = NULL;
    list_append(&journal->spares, &segment->link);
    buffer_close(&journal->zeros);
}

/* Fills a new file with zeros on a worker thread, so that no batch has to wait for the file system
 * to find room. */
static void prepare_spare(struct journal *journal)
{
    size_t bytes = PREPARE_BYTES;

    if (journal->preparing != NULL || !list_is_empty(&journal->spares) || journal->has_failed)
        return;
    journal->preparing = create_segment(journal);
    if (journal->preparing == NULL)
        return;
    if (bytes > journal->options.segment_bytes)
        bytes = (size_t)journal->options.segment_bytes;
    CHECK(buffer_reserve(&journal->zeros, bytes) == OK);
    memset(journal->zeros.data, 0, bytes);
    journal->zeros.size = bytes;
    journal->prepared_bytes = 0;
    journal->env->disk->write_sync(journal->env, &journal->prepare_op, journal->preparing->file, 0,
                                   buffer_slice(&journal->zeros), prepare_on_done);
}

/* Batches go to another segment from now on. False after a failure. */
bool journal_roll(struct journal *journal)
{
    uint64_t life = journal_newest(journal)->life + 1;
    struct journal_segment *segment;
    struct list *spare;

    journal_reclaim(journal);
    spare = list_pop(&journal->spares);
    segment =
        spare != NULL ? container_of(spare, struct journal_segment, link) : create_segment(journal);
    if (segment == NULL)
        return false;
    segment->life = life;
    segment->used = 0;
    list_append(&journal->segments, &segment->link);
    prepare_spare(journal);
    return true;
}

enum error journal_create_first(struct journal *journal)
{
    struct journal_segment *segment = journal_segment_new(journal, journal->slot_next);
    char path[JOURNAL_PATH_BYTES];
    enum error rc;

    list_append(&journal->segments, &segment->link);
    segment->life = 1;
    journal_path(journal, segment->slot, path);
    rc = journal->env->disk->open(journal->env, path, true, &segment->file);
    if (rc == OK)
        rc =
            journal->env->disk->resize(journal->env, segment->file, journal->options.segment_bytes);
    return rc;
}

static void segments_free(struct journal *journal, struct list *segments)
{
    struct list *link;

    while ((link = list_pop(segments)) != NULL) {
        struct journal_segment *segment = container_of(link, struct journal_segment, link);

        if (segment->file != NULL)
            journal->env->disk->close(journal->env, segment->file);
        free(segment);
    }
}

void journal_segments_free(struct journal *journal)
{
    if (journal->preparing != NULL)
        list_append(&journal->spares, &journal->preparing->link);
    segments_free(journal, &journal->segments);
    segments_free(journal, &journal->spares);
    buffer_close(&journal->zeros);
}
