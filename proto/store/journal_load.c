/* Opening a journal.
 *
 * Pass one finds out which life each file holds, the newest batch there is and the oldest life in
 * use. Pass two reads the lives in order. A bad place is damage if a batch is known behind it, or
 * if one of its blocks is neither new nor as before; else it is the torn tail. Around damage all
 * that is readable is used, and the groups that miss a record (their numbers have a gap) or may
 * miss one (nothing of them follows) are marked. */

#include "proto/base/check.h"
#include "proto/base/log.h"
#include "proto/store/journal_impl.h"

#include <inttypes.h>
#include <stdio.h>

#define READ_UNIT_BYTES 4096u /* around bytes the disk cannot read */

struct found { /* a segment file, while looking */
    struct journal_segment *segment;
    uint64_t life; /* 0 = holds nothing */
};

struct loading {
    struct journal *journal;
    const struct journal_visitor *visitor;
    struct found *files;
    size_t file_count;
    uint64_t oldest;     /* life in use */
    uint64_t batch_last; /* number of the newest batch whose own record is readable */
    uint64_t expected;   /* number of the next batch; 0 = any */
    bool at_end;         /* the torn tail was reached */
    bool tail_is_damaged;
};

/* ---- files ---- */

static void on_name(void *user, const char *name)
{
    struct loading *loading = user;
    struct slice text = slice_text(name);
    char *end;
    uint64_t slot;

    if (text.size != 12 || strcmp(name + 8, ".log") != 0)
        return;
    slot = strtoull(name, &end, 16);
    if (end != name + 8)
        return;
    loading->files =
        check_realloc(loading->files, (loading->file_count + 1) * sizeof(*loading->files));
    loading->files[loading->file_count++] = (struct found){
        .segment = journal_segment_new(loading->journal, slot),
    };
}

/* After a mere kill the last batch may be readable without being on disk: it counts only once it
 * is, since a group acts on what it finds. Setting the size makes it so. */
static enum error sync_segment(struct journal *journal, struct env_file *file)
{
    uint64_t bytes;
    enum error rc = journal->env->disk->size(journal->env, file, &bytes);

    return rc == OK ? journal->env->disk->resize(journal->env, file, bytes) : rc;
}

/* What the disk does not give is found damaged like any other bad bytes. */
static enum error read_segment(struct journal *journal, struct env_file *file,
                               struct buffer *content)
{
    struct env *env = journal->env;
    uint64_t bytes;
    enum error rc = env->disk->size(env, file, &bytes);

    buffer_clear(content);
    if (rc != OK || bytes == 0)
        return rc;
    CHECK(buffer_reserve(content, (size_t)bytes) == OK);
    if (env->disk->read(env, file, 0, (size_t)bytes, content) == OK && content->size == bytes)
        return OK;
    buffer_clear(content);
    for (uint64_t at = 0; at < bytes; at += READ_UNIT_BYTES) {
        size_t unit = bytes - at < READ_UNIT_BYTES ? (size_t)(bytes - at) : READ_UNIT_BYTES;

        if (env->disk->read(env, file, at, unit, content) == OK && content->size == at + unit)
            continue;
        log_warn("journal.unreadable folder=%s offset=%" PRIu64, journal->folder, at);
        content->size = (size_t)at;
        memset(content->data + at, JOURNAL_UNREADABLE, unit);
        content->size += unit;
    }
    return OK;
}

/* ---- pass one ---- */

/* All records of a batch are there and good. */
static bool batch_is_whole(struct slice content, const struct journal_batch *batch)
{
    struct buffer bytes = BUFFER_INIT(BUFFER_UNLIMITED);
    struct slice rest;
    bool is_whole = journal_batch_end(batch) <= content.size;

    if (is_whole)
        journal_batch_records(content, batch, &bytes);
    rest = buffer_slice(&bytes);
    while (is_whole && rest.size > 0) {
        struct journal_record record;
        size_t size = 0;

        is_whole = journal_record_get(rest, batch->record.number, &record, &size) == OK;
        rest = slice_of(rest.data + size, rest.size - size);
    }
    buffer_close(&bytes);
    return is_whole;
}

static void survey(struct loading *loading, struct found *file, struct slice content)
{
    struct journal_batch batch;
    uint64_t at = 0;

    while (journal_batch_find(content, at, &batch)) {
        if (batch.record.group > file->life)
            file->life = batch.record.group;
        if (batch.record.number > loading->batch_last)
            loading->batch_last = batch.record.number;
        if (batch.record.term > loading->oldest && batch_is_whole(content, &batch))
            loading->oldest = batch.record.term; /* a torn one has not released anything */
        at = journal_batch_end(&batch);
    }
}

static int by_life(const void *a, const void *b)
{
    const struct found *left = a;
    const struct found *right = b;

    if (left->life != right->life)
        return left->life < right->life ? -1 : 1;
    return left->segment->slot < right->segment->slot ? -1 : 1;
}

static enum error survey_all(struct loading *loading)
{
    struct journal *journal = loading->journal;
    struct buffer content = BUFFER_INIT(BUFFER_UNLIMITED);
    char path[JOURNAL_PATH_BYTES];
    enum error rc = OK;

    for (size_t i = 0; i < loading->file_count && rc == OK; i++) {
        struct found *file = &loading->files[i];

        journal_path(journal, file->segment->slot, path);
        rc = journal->env->disk->open(journal->env, path, false, &file->segment->file);
        if (rc == OK)
            rc = sync_segment(journal, file->segment->file);
        if (rc == OK)
            rc = read_segment(journal, file->segment->file, &content);
        if (rc == OK)
            survey(loading, file, buffer_slice(&content));
    }
    buffer_close(&content);
    if (rc == OK && loading->file_count > 0)
        qsort(loading->files, loading->file_count, sizeof(*loading->files), by_life);
    return rc;
}

/* ---- pass two: records ---- */

static void damage_unknown(struct loading *loading)
{
    struct map_entry *entry;
    size_t i = 0;

    loading->journal->is_damaged = true;
    while ((entry = map_next(&loading->journal->groups, &i)) != NULL)
        ((struct journal_group *)entry->value)->is_suspect = true;
}

static void tell(struct loading *loading, const struct journal_record *record,
                 const struct journal_group *group)
{
    const struct journal_visitor *visitor = loading->visitor;
    struct journal_entry entry = {record->term, record->kind, record->data};

    switch ((enum journal_type)record->type) {
    case JOURNAL_ENTRY:
        visitor->on_entry(visitor->user, group->id, record->index, &entry,
                          (record->flags & JOURNAL_FLAG_AGAIN) != 0);
        break;
    case JOURNAL_TRUNCATE:
        visitor->on_truncate(visitor->user, group->id, group->last + 1);
        break;
    case JOURNAL_MARK:
        if ((record->flags & JOURNAL_FLAG_RESET) != 0)
            visitor->on_truncate(visitor->user, group->id, 0);
        else
            visitor->on_release(visitor->user, group->id, group->first);
        break;
    case JOURNAL_FORGET:
        visitor->on_truncate(visitor->user, group->id, 0);
        break;
    case JOURNAL_CHECKPOINT:
        visitor->on_release(visitor->user, group->id, group->first);
        break;
    case JOURNAL_STATE:
    case JOURNAL_BATCH:
        break;
    }
}

static void take(struct loading *loading, const struct journal_record *record, uint64_t life)
{
    struct journal_group *group = journal_group_find(loading->journal, record->group);
    bool is_checkpoint = record->type == JOURNAL_CHECKPOINT;
    bool is_new = group == NULL;
    uint64_t wanted;

    if (is_new)
        group = journal_group_get(loading->journal, record->group);
    wanted = is_checkpoint ? group->number : group->number + 1;
    if (record->type == JOURNAL_FORGET) {
        group->is_suspect = false; /* whatever is missing does not matter any more */
    } else if (record->number == wanted) {
        group->is_suspect = false;
    } else if (!is_checkpoint || !is_new) {
        group->is_damaged = true;
        group->is_suspect = false;
    }
    if (journal_group_take(group, record, life) != OK) {
        group->is_damaged = true;
        return;
    }
    tell(loading, record, group);
}

/* Takes what is readable. */
static void take_batch(struct loading *loading, struct slice content,
                       const struct journal_batch *batch)
{
    uint64_t number = batch->record.number;
    uint64_t life = batch->record.group;
    struct buffer records = BUFFER_INIT(BUFFER_UNLIMITED);
    struct slice bytes;

    journal_batch_records(content, batch, &records);
    bytes = buffer_slice(&records);
    while (bytes.size > 0) {
        struct journal_record record;
        size_t size;
        enum error rc = journal_record_get(bytes, number, &record, &size);

        if (rc == OK && record.type != JOURNAL_BATCH)
            take(loading, &record, life);
        if (rc == ERR_CORRUPT) {
            log_warn("journal.damaged_record folder=%s group=%" PRIu64 " index=%" PRIu64,
                     loading->journal->folder, record.group, record.index);
            journal_group_get(loading->journal, record.group)->is_damaged = true;
        }
        if (rc == ERR_INVALID) { /* its length is lost too: look for the next header */
            damage_unknown(loading);
            size = JOURNAL_ALIGNMENT < bytes.size ? JOURNAL_ALIGNMENT : bytes.size;
        }
        bytes = slice_of(bytes.data + size, bytes.size - size);
    }
    buffer_close(&records);
}

/* ---- pass two: batches ---- */

/* The newest batch, or what there is of it: was it ever whole? A bad block that another of its
 * blocks follows was; so was one that only a flipped bit keeps from being good, or that the disk
 * does not give, unless it is in a file that nothing says the batch went to. `end` 0: not known,
 * since its own record is not readable. */
static bool is_damaged(struct slice content, uint64_t at, uint64_t end, uint32_t batch,
                       bool is_spare)
{
    uint64_t stop = end > 0 ? end : content.size;
    uint64_t bad = UINT64_MAX;
    uint32_t number;

    for (; at < stop; at += JOURNAL_BLOCK_BYTES) {
        enum journal_block block = journal_block_get(content, at, &number);
        bool is_of_batch = block == JOURNAL_BLOCK_GOOD && number == batch;

        if (is_of_batch && bad != UINT64_MAX)
            return true;
        if (block == JOURNAL_BLOCK_BAD)
            bad = at;
        else if (!is_of_batch && (bad == UINT64_MAX || end > 0))
            return false; /* one as it was before: never written whole, nor confirmed */
    }
    return bad != UINT64_MAX && journal_block_was_good(content, bad, &number) &&
           (number == batch || (number == UINT32_MAX && !is_spare));
}

static bool is_next(const struct loading *loading, const struct journal_batch *batch, uint64_t life)
{
    if (batch->record.group != life)
        return false;
    return loading->expected == 0 || batch->record.number >= loading->expected;
}

/* The next batch of this life at or after `at`, right there or behind a bad place. */
static bool next_batch(struct loading *loading, struct slice content, uint64_t at, uint64_t life,
                       struct journal_batch *batch)
{
    while (journal_batch_find(content, at, batch)) {
        if (is_next(loading, batch, life))
            return true;
        at = batch->record.index + JOURNAL_BLOCK_BYTES;
    }
    return false;
}

static void load_segment(struct loading *loading, struct journal_segment *segment,
                         struct slice content)
{
    struct journal *journal = loading->journal;
    struct journal_batch batch;

    while (!loading->at_end && next_batch(loading, content, segment->used, segment->life, &batch)) {
        if (batch.record.number >= loading->batch_last && !batch_is_whole(content, &batch) &&
            !is_damaged(content, batch.record.index, journal_batch_end(&batch),
                        (uint32_t)batch.record.number, false)) {
            loading->at_end = true; /* the torn tail */
            return;
        }
        if (loading->expected == 0
                ? batch.record.index != 0
                : batch.record.number != loading->expected || batch.before != journal->seal) {
            log_warn("journal.damaged folder=%s batch=%" PRIu64 " next=%" PRIu64, journal->folder,
                     loading->expected, batch.record.number);
            damage_unknown(loading);
        }
        take_batch(loading, content, &batch);
        journal->seal = batch.seal;
        loading->expected = batch.record.number + 1;
        segment->used = journal_batch_end(&batch);
    }
}

static void check_tail(struct loading *loading, struct slice content, uint64_t at, bool is_spare)
{
    if (!is_damaged(content, at, 0, (uint32_t)loading->expected, is_spare))
        return;
    log_warn("journal.damaged_tail folder=%s batch=%" PRIu64, loading->journal->folder,
             loading->expected);
    loading->tail_is_damaged = true;
    damage_unknown(loading);
}

static enum error load_segments(struct loading *loading)
{
    struct journal *journal = loading->journal;
    struct buffer content = BUFFER_INIT(BUFFER_UNLIMITED);
    enum error rc = OK;

    LIST_EACH(&journal->segments, link)
    {
        struct journal_segment *segment = container_of(link, struct journal_segment, link);

        if (link->previous != &journal->segments &&
            container_of(link->previous, struct journal_segment, link)->life + 1 != segment->life)
            damage_unknown(loading);
        rc = read_segment(journal, segment->file, &content);
        if (rc != OK)
            break;
        load_segment(loading, segment, buffer_slice(&content));
        if (link->next == &journal->segments && !loading->at_end)
            check_tail(loading, buffer_slice(&content), segment->used, false);
    }
    /* The next batch may have been the first of another file. */
    LIST_EACH(&journal->spares, link)
    {
        if (rc == OK)
            rc = read_segment(journal, container_of(link, struct journal_segment, link)->file,
                              &content);
        if (rc == OK && !loading->at_end)
            check_tail(loading, buffer_slice(&content), 0, true);
    }
    if (loading->tail_is_damaged)
        loading->expected++; /* that number is taken: the gap stays seen */
    buffer_close(&content);
    return rc;
}

static void settle(struct loading *loading)
{
    struct journal *journal = loading->journal;
    struct map_entry *entry;
    size_t i = 0;

    journal->batch_next = loading->expected != 0 ? loading->expected : 1;
    while ((entry = map_next(&journal->groups, &i)) != NULL) {
        struct journal_group *group = entry->value;

        if (group->is_suspect)
            group->is_damaged = true;
        group->is_suspect = false;
        if (group->is_damaged)
            log_warn("journal.damaged_group folder=%s group=%" PRIu64, journal->folder, group->id);
    }
}

enum error journal_load(struct journal *journal, const struct journal_visitor *visitor)
{
    struct loading loading = {.journal = journal, .visitor = visitor};
    enum error rc = journal->env->disk->list(journal->env, journal->folder, &loading, on_name);

    if (rc == OK)
        rc = survey_all(&loading);
    for (size_t i = 0; i < loading.file_count; i++) {
        struct found *file = &loading.files[i];
        bool in_use = file->life > 0 && file->life >= loading.oldest;

        file->segment->life = file->life;
        list_append(in_use ? &journal->segments : &journal->spares, &file->segment->link);
    }
    free(loading.files);
    if (rc == OK)
        rc = load_segments(&loading);
    if (rc == OK)
        settle(&loading);
    return rc;
}
