#include "proto/base/check.h"
#include "proto/base/log.h"
#include "proto/store/journal_impl.h"

#define PROOF_DELAY_US 1000000u   /* quiet time before the last batch is proven durable */
#define IDLE_BYTES_MAX (4u << 20) /* a batch's memory is kept for the next one up to this */
#define CHECKPOINT_BYTES_MAX (JOURNAL_MARK_BYTES_MAX + 64u)

static void write_next(struct journal *journal);

/* ---- batches ---- */

static void put(struct journal *journal, struct journal_batch_buffer *batch,
                const struct journal_record *record)
{
    journal_record_put(&batch->bytes, batch->number, record);
    journal->stats.records++;
}

static void put_checkpoints(struct journal *journal, struct journal_batch_buffer *batch)
{
    struct buffer data = BUFFER_INIT(CHECKPOINT_BYTES_MAX);
    struct map_entry *entry;
    size_t i = 0;

    while ((entry = map_next(&journal->groups, &i)) != NULL) {
        struct journal_group *group = entry->value;
        struct journal_record record;

        if (!group->exists)
            continue;
        journal_group_checkpoint(group, &record, &data);
        put(journal, batch, &record);
        group->state_batch = 0;
    }
    buffer_close(&data);
}

static void put_state(struct journal *journal, struct journal_batch_buffer *batch,
                      struct journal_group *group, uint64_t term, uint64_t vote, uint32_t flags)
{
    struct journal_record record = {
        .type = JOURNAL_STATE,
        .kind = (uint8_t)flags,
        .group = group->id,
        .number = group->number + 1,
        .index = vote,
        .term = term,
    };

    put(journal, batch, &record);
    CHECK(journal_group_take(group, &record, batch->segment->life) == OK);
}

/* The second copies of terms and votes that the batches before carried. */
static void put_copies(struct journal *journal, struct journal_batch_buffer *batch)
{
    struct map_entry *entry;
    size_t i = 0;

    while ((entry = map_next(&journal->groups, &i)) != NULL) {
        struct journal_group *group = entry->value;

        if (group->state_batch == 0)
            continue;
        group->state_batch = 0;
        put_state(journal, batch, group, group->term, group->vote, group->flags);
    }
}

static struct journal_batch_buffer *open_batch(struct journal *journal)
{
    struct list *idle = list_pop(&journal->idle_batches);
    struct journal_batch_buffer *batch = idle != NULL
                                             ? container_of(idle, struct journal_batch_buffer, link)
                                             : check_calloc(1, sizeof(*batch));

    if (idle == NULL) {
        buffer_init(&batch->bytes, BUFFER_UNLIMITED);
        buffer_init(&batch->framed, BUFFER_UNLIMITED);
        list_init(&batch->ops);
    }
    batch->number = journal->batch_next++;
    batch->segment = journal_newest(journal);
    batch->offset = batch->segment->used;
    batch->has_records = false;
    CHECK(buffer_reserve(&batch->bytes, JOURNAL_BATCH_BYTES) == OK);
    batch->bytes.size = JOURNAL_BATCH_BYTES; /* its own record, written when it is sealed */
    if (batch->offset == 0)
        put_checkpoints(journal, batch);
    batch->head_bytes = batch->bytes.size;
    put_copies(journal, batch);
    list_append(&journal->batches, &batch->link);
    journal->open = batch;
    return batch;
}

static void seal(struct journal *journal)
{
    struct journal_batch_buffer *batch = journal->open;
    struct journal_record record = {
        .type = JOURNAL_BATCH,
        .group = batch->segment->life,
        .number = batch->number,
        .index = batch->offset,
        .term = journal_oldest(journal),
    };

    journal->seal = journal_batch_put(batch->bytes.data, &record, batch->bytes.size, journal->seal);
    journal_frame(&batch->framed, buffer_slice(&batch->bytes), batch->number, batch->offset);
    batch->segment->used = batch->offset + batch->framed.size;
    journal->open = NULL;
}

static void flush_on_turn_end(struct env_task *task)
{
    write_next(container_of(task, struct journal, flush_task));
}

static bool fits(const struct journal *journal, uint64_t offset, uint64_t bytes)
{
    return offset + journal_framed_bytes(bytes) <= journal->options.segment_bytes;
}

/* The batch that a record of so many bytes goes to. A record that is larger than a whole segment
 * gets one of its own, which grows. NULL after a failure. */
static struct journal_batch_buffer *room(struct journal *journal, size_t bytes)
{
    struct journal_batch_buffer *batch;

    if (journal->has_failed)
        return NULL;
    if (journal->open == NULL &&
        journal_newest(journal)->used + JOURNAL_BATCH_BYTES + bytes >
            journal->options.segment_bytes &&
        journal_newest(journal)->used > 0 && !journal_roll(journal))
        return NULL;
    batch = journal->open != NULL ? journal->open : open_batch(journal);
    if (batch->offset + batch->bytes.size + bytes > journal->options.segment_bytes &&
        (batch->offset > 0 || batch->bytes.size > batch->head_bytes)) {
        seal(journal);
        if (!journal_roll(journal))
            return NULL;
        batch = open_batch(journal);
    }
    batch->has_records = true;
    env_defer(journal->env, &journal->flush_task, flush_on_turn_end);
    return batch;
}

static void batch_retire(struct journal *journal, struct journal_batch_buffer *batch)
{
    if (batch->bytes.capacity > IDLE_BYTES_MAX) {
        buffer_close(&batch->bytes);
        buffer_close(&batch->framed);
    }
    buffer_clear(&batch->bytes);
    buffer_clear(&batch->framed);
    list_append(&journal->idle_batches, &batch->link);
}

static void report_laggards(struct journal *journal)
{
    uint64_t oldest;
    struct map_entry *entry;
    size_t i = 0;

    journal_reclaim(journal);
    if (journal_segment_count(journal) <= journal->options.segments_soft)
        return;
    oldest = journal_oldest(journal);
    while ((entry = map_next(&journal->groups, &i)) != NULL) {
        struct journal_group *group = entry->value;

        if (journal_group_oldest(group) == oldest)
            journal->options.on_laggard(journal->options.user, group->id);
    }
}

/* Nothing follows the last batch: prove it durable by one more, which is empty. */
static void proof_on_timer(struct env_timer *timer)
{
    struct journal *journal = container_of(timer, struct journal, proof_timer);

    if (journal->has_failed || !list_is_empty(&journal->batches))
        return;
    if (!fits(journal, journal_newest(journal)->used, JOURNAL_BATCH_BYTES) &&
        !journal_roll(journal))
        return;
    open_batch(journal);
    write_next(journal);
}

static void write_on_done(struct env_disk_op *op, enum error rc)
{
    struct journal *journal = container_of(op, struct journal, write_op);
    struct journal_batch_buffer *batch = journal->writing;
    bool is_first = batch->offset == 0;
    struct list *link;

    journal->writing = NULL;
    if (rc != OK) {
        journal_fail(journal, rc, "the journal could not be written");
        return;
    }
    list_remove(&batch->link);
    journal->stats.syncs++;
    journal->stats.bytes += batch->framed.size;
    write_next(journal);
    if (journal->writing == NULL && batch->has_records)
        env_timer_start(journal->env, &journal->proof_timer, PROOF_DELAY_US, proof_on_timer);
    while ((link = list_pop(&batch->ops)) != NULL) {
        struct journal_op *done = container_of(link, struct journal_op, link);

        link->next = NULL;
        done->cb(done);
    }
    batch_retire(journal, batch);
    if (is_first)
        report_laggards(journal);
}

static void write_next(struct journal *journal)
{
    struct journal_batch_buffer *batch;

    if (journal->writing != NULL || journal->has_failed || list_is_empty(&journal->batches))
        return;
    batch = container_of(journal->batches.next, struct journal_batch_buffer, link);
    if (batch == journal->open)
        seal(journal);
    journal->writing = batch;
    env_timer_stop(journal->env, &journal->proof_timer);
    journal->env->disk->write_sync(journal->env, &journal->write_op, batch->segment->file,
                                   batch->offset, buffer_slice(&batch->framed), write_on_done);
}

/* ---- appending ---- */

static void attach(struct journal_batch_buffer *batch, struct journal_op *op)
{
    if (op != NULL)
        list_append(&batch->ops, &op->link);
}

void journal_cancel(struct journal_op *op)
{
    if (op->link.next == NULL)
        return;
    list_remove(&op->link);
    op->link.next = NULL;
}

/* Numbers the record, writes it, notes what it says. NULL after a failure. */
static struct journal_batch_buffer *append(struct journal *journal, struct journal_group *group,
                                           struct journal_record *record)
{
    struct journal_batch_buffer *batch = room(journal, journal_record_bytes(record->data.size));

    if (batch == NULL)
        return NULL;
    record->group = group->id;
    record->number = group->number + 1; /* after room(), which may have put a copy */
    put(journal, batch, record);
    CHECK(journal_group_take(group, record, batch->segment->life) == OK);
    return batch;
}

void journal_set_state(struct journal *journal, struct journal_op *op, uint64_t id, uint64_t term,
                       uint64_t vote, uint32_t flags)
{
    struct journal_group *group = journal_group_get(journal, id);
    struct journal_record record = {
        .type = JOURNAL_STATE,
        .kind = (uint8_t)flags,
        .index = vote,
        .term = term,
    };
    struct journal_batch_buffer *batch = append(journal, group, &record);

    if (batch == NULL)
        return;
    group->state_batch = batch->number;
    attach(batch, op);
}

void journal_append(struct journal *journal, struct journal_op *op, uint64_t id, uint64_t index,
                    const struct journal_entry *entries, size_t count)
{
    struct journal_group *group = journal_group_get(journal, id);
    struct journal_batch_buffer *batch = NULL;

    CHECK(index <= group->last + 1 && count > 0);
    for (size_t i = 0; i < count; i++) {
        struct journal_record record = {
            .type = JOURNAL_ENTRY,
            .kind = entries[i].kind,
            .index = index + i,
            .term = entries[i].term,
            .data = entries[i].data,
        };

        batch = append(journal, group, &record);
        if (batch == NULL)
            return;
    }
    attach(batch, op);
}

void journal_append_again_begin(struct journal *journal, uint64_t id)
{
    journal_group_get(journal, id)->again_life = 0;
}

void journal_append_again(struct journal *journal, uint64_t id, uint64_t index,
                          const struct journal_entry *entry)
{
    struct journal_group *group = journal_group_get(journal, id);
    struct journal_record record = {
        .type = JOURNAL_ENTRY,
        .kind = entry->kind,
        .flags = JOURNAL_FLAG_AGAIN,
        .index = index,
        .term = entry->term,
        .data = entry->data,
    };
    struct journal_batch_buffer *batch;

    CHECK(index >= group->first && index <= group->last);
    batch = append(journal, group, &record);
    if (batch == NULL)
        return;
    if (group->again_life == 0)
        group->again_life = batch->segment->life;
    if (index == group->last) /* until now a batch on disk might have been without the rest */
        journal_group_drop_notes(group, group->again_life);
}

void journal_truncate(struct journal *journal, uint64_t id, uint64_t index)
{
    struct journal_record record = {.type = JOURNAL_TRUNCATE, .index = index};

    append(journal, journal_group_get(journal, id), &record);
}

static void mark(struct journal *journal, struct journal_op *op, uint64_t id,
                 struct journal_record *record, uint64_t first, struct slice caller_data)
{
    struct buffer data = BUFFER_INIT(CHECKPOINT_BYTES_MAX);
    struct journal_batch_buffer *batch;

    CHECK(caller_data.size <= JOURNAL_MARK_BYTES_MAX && first <= record->index + 1);
    buffer_put_u64(&data, first);
    buffer_put_slice(&data, caller_data);
    record->type = JOURNAL_MARK;
    record->data = buffer_slice(&data);
    batch = append(journal, journal_group_get(journal, id), record);
    if (batch != NULL)
        attach(batch, op);
    buffer_close(&data);
}

void journal_mark(struct journal *journal, struct journal_op *op, uint64_t id, uint64_t index,
                  uint64_t term, uint64_t first, struct slice data)
{
    struct journal_record record = {.index = index, .term = term};

    mark(journal, op, id, &record, first, data);
}

void journal_mark_reset(struct journal *journal, struct journal_op *op, uint64_t id, uint64_t index,
                        uint64_t term, struct slice data)
{
    struct journal_record record = {.flags = JOURNAL_FLAG_RESET, .index = index, .term = term};

    mark(journal, op, id, &record, index + 1, data);
}

void journal_forget(struct journal *journal, uint64_t id)
{
    struct journal_group *group = journal_group_find(journal, id);
    struct journal_record record = {.type = JOURNAL_FORGET};

    if (group != NULL && (group->exists || group->is_damaged))
        append(journal, group, &record);
}

/* ---- asking ---- */

bool journal_find(const struct journal *journal, uint64_t id, struct journal_state *state)
{
    const struct journal_group *group = journal_group_find(journal, id);

    if (group == NULL || (!group->exists && !group->is_damaged))
        return false;
    *state = (struct journal_state){
        .term = group->term,
        .vote = group->vote,
        .flags = group->flags,
        .mark_index = group->mark_index,
        .mark_term = group->mark_term,
        .mark_data = buffer_slice(&group->mark_data),
        .first = group->first,
        .last = group->last,
        .is_damaged = group->is_damaged,
    };
    return true;
}

bool journal_is_damaged(const struct journal *journal)
{
    return journal->is_damaged;
}

void journal_stats(const struct journal *journal, struct journal_stats *stats)
{
    *stats = journal->stats;
    stats->segments = journal_segment_count(journal);
}

/* ---- opening and freeing ---- */

enum error journal_open(struct env *env, const struct journal_options *options,
                        const struct journal_visitor *visitor, struct journal **journal_out)
{
    struct journal *journal = check_calloc(1, sizeof(*journal));
    enum error rc;

    journal->env = env;
    journal->options = *options;
    journal->options.segment_bytes =
        (options->segment_bytes + JOURNAL_BLOCK_BYTES - 1) & ~(uint64_t)(JOURNAL_BLOCK_BYTES - 1);
    journal->folder = check_strdup(options->folder);
    journal->batch_next = 1;
    map_init(&journal->groups);
    list_init(&journal->segments);
    list_init(&journal->spares);
    list_init(&journal->batches);
    list_init(&journal->idle_batches);
    buffer_init(&journal->zeros, BUFFER_UNLIMITED);
    rc = env->disk->make_folder(env, options->folder);
    if (rc == OK)
        rc = journal_load(journal, visitor);
    if (rc == OK && list_is_empty(&journal->segments))
        rc = journal_create_first(journal);
    if (rc != OK) {
        journal_free(journal);
        return rc;
    }
    *journal_out = journal;
    return OK;
}

static void batches_free(struct list *batches)
{
    struct list *link;

    while ((link = list_pop(batches)) != NULL) {
        struct journal_batch_buffer *batch = container_of(link, struct journal_batch_buffer, link);

        buffer_close(&batch->bytes);
        buffer_close(&batch->framed);
        free(batch);
    }
}

void journal_free(struct journal *journal)
{
    struct map_entry *entry;
    size_t i = 0;

    if (journal == NULL)
        return;
    env_timer_stop(journal->env, &journal->proof_timer);
    env_defer_cancel(journal->env, &journal->flush_task);
    journal_segments_free(journal);
    batches_free(&journal->batches);
    batches_free(&journal->idle_batches);
    while ((entry = map_next(&journal->groups, &i)) != NULL)
        journal_group_free(entry->value);
    map_close(&journal->groups);
    free(journal->folder);
    free(journal);
}
