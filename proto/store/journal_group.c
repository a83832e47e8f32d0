/* What the records say about one group. Writing and opening go through the same function, so that
 * what is in memory is always what an opening would find. */

#include "proto/base/check.h"
#include "proto/store/journal_impl.h"

struct journal_group *journal_group_find(const struct journal *journal, uint64_t id)
{
    return map_find_u64(&journal->groups, id);
}

struct journal_group *journal_group_get(struct journal *journal, uint64_t id)
{
    struct journal_group *group = journal_group_find(journal, id);

    if (group != NULL)
        return group;
    group = check_calloc(1, sizeof(*group));
    group->id = id;
    group->first = 1;
    buffer_init(&group->mark_data, JOURNAL_MARK_BYTES_MAX);
    map_set_u64(&journal->groups, id, group);
    return group;
}

void journal_group_free(struct journal_group *group)
{
    buffer_close(&group->mark_data);
    free(group->notes);
    free(group);
}

/* ---- which segments hold its entries ---- */

static void notes_drop(struct journal_group *group, size_t count)
{
    group->note_count -= count;
    if (count > 0 && group->note_count > 0)
        memmove(group->notes, group->notes + count, group->note_count * sizeof(*group->notes));
}

static void notes_release(struct journal_group *group)
{
    size_t count = 0;

    while (count < group->note_count && group->notes[count].index_max < group->first)
        count++;
    notes_drop(group, count);
}

void journal_group_drop_notes(struct journal_group *group, uint64_t life)
{
    size_t count = 0;

    while (count < group->note_count && group->notes[count].life < life)
        count++;
    notes_drop(group, count);
}

static void notes_add(struct journal_group *group, uint64_t life, uint64_t index)
{
    struct journal_note *last = group->note_count > 0 ? &group->notes[group->note_count - 1] : NULL;

    if (last != NULL && last->life == life) {
        if (last->index_max < index)
            last->index_max = index;
        return;
    }
    if (group->note_count == group->note_capacity) {
        group->note_capacity = group->note_capacity * 2 + 4;
        group->notes = check_realloc(group->notes, group->note_capacity * sizeof(*group->notes));
    }
    group->notes[group->note_count++] = (struct journal_note){life, index};
}

static void notes_truncate(struct journal_group *group, uint64_t index)
{
    for (size_t i = 0; i < group->note_count; i++)
        if (group->notes[i].index_max >= index)
            group->notes[i].index_max = index - 1;
    notes_release(group);
}

uint64_t journal_group_oldest(const struct journal_group *group)
{
    return group->note_count > 0 ? group->notes[0].life : UINT64_MAX;
}

uint64_t journal_oldest(const struct journal *journal)
{
    uint64_t oldest = container_of(journal->segments.previous, struct journal_segment, link)->life;
    struct map_entry *entry;
    size_t i = 0;

    while ((entry = map_next(&journal->groups, &i)) != NULL) {
        uint64_t needed = journal_group_oldest(entry->value);

        if (needed < oldest)
            oldest = needed;
    }
    return oldest;
}

/* ---- records ---- */

static void forget(struct journal_group *group)
{
    group->exists = false;
    group->is_damaged = false;
    group->number = 0;
    group->term = 0;
    group->vote = 0;
    group->flags = 0;
    group->mark_index = 0;
    group->mark_term = 0;
    buffer_close(&group->mark_data);
    group->first = 1;
    group->last = 0;
    group->state_batch = 0;
    group->note_count = 0;
}

static enum error take_entry(struct journal_group *group, const struct journal_record *record,
                             uint64_t life)
{
    bool is_again = (record->flags & JOURNAL_FLAG_AGAIN) != 0;

    if (record->index == 0)
        return ERR_INVALID;
    if (!is_again) {
        if (record->index <= group->last)
            notes_truncate(group, record->index);
        group->last = record->index;
    } else if (record->index > group->last) {
        group->last = record->index;
    }
    notes_add(group, life, record->index);
    return OK;
}

static void take_truncate(struct journal_group *group, uint64_t index)
{
    if (index < group->first)
        index = group->first;
    if (index > group->last)
        return;
    group->last = index - 1;
    notes_truncate(group, index);
}

static enum error take_mark(struct journal_group *group, const struct journal_record *record)
{
    struct reader reader = reader_of(record->data);
    uint64_t first = reader_u64(&reader);

    if (!reader.ok || first > record->index + 1 || reader.rest.size > JOURNAL_MARK_BYTES_MAX)
        return ERR_INVALID;
    group->mark_index = record->index;
    group->mark_term = record->term;
    buffer_clear(&group->mark_data);
    buffer_put_slice(&group->mark_data, reader.rest);
    if ((record->flags & JOURNAL_FLAG_RESET) != 0) {
        group->first = first;
        group->last = first - 1;
        group->note_count = 0;
    } else {
        if (first > group->first)
            group->first = first;
        if (group->last < group->first - 1)
            group->last = group->first - 1;
        notes_release(group);
    }
    return OK;
}

static enum error take_checkpoint(struct journal_group *group, const struct journal_record *record)
{
    struct reader reader = reader_of(record->data);
    uint64_t term = reader_u64(&reader);
    uint64_t vote = reader_u64(&reader);
    uint32_t flags = reader_u32(&reader);
    uint64_t first = reader_u64(&reader);
    uint64_t last = reader_u64(&reader);

    if (!reader.ok || first == 0 || last < first - 1 || reader.rest.size > JOURNAL_MARK_BYTES_MAX)
        return ERR_INVALID;
    group->term = term;
    group->vote = vote;
    group->flags = flags;
    group->first = first;
    group->last = last;
    group->mark_index = record->index;
    group->mark_term = record->term;
    buffer_clear(&group->mark_data);
    buffer_put_slice(&group->mark_data, reader.rest);
    return OK;
}

void journal_group_checkpoint(const struct journal_group *group, struct journal_record *record,
                              struct buffer *data)
{
    buffer_clear(data);
    buffer_put_u64(data, group->term);
    buffer_put_u64(data, group->vote);
    buffer_put_u32(data, group->flags);
    buffer_put_u64(data, group->first);
    buffer_put_u64(data, group->last);
    buffer_put_slice(data, buffer_slice(&group->mark_data));
    *record = (struct journal_record){
        .type = JOURNAL_CHECKPOINT,
        .group = group->id,
        .number = group->number,
        .index = group->mark_index,
        .term = group->mark_term,
        .data = buffer_slice(data),
    };
}

enum error journal_group_take(struct journal_group *group, const struct journal_record *record,
                              uint64_t life)
{
    enum error rc = OK;

    switch ((enum journal_type)record->type) {
    case JOURNAL_CHECKPOINT:
        rc = take_checkpoint(group, record);
        break;
    case JOURNAL_STATE:
        group->term = record->term;
        group->vote = record->index;
        group->flags = record->kind;
        break;
    case JOURNAL_ENTRY:
        rc = take_entry(group, record, life);
        break;
    case JOURNAL_TRUNCATE:
        take_truncate(group, record->index);
        break;
    case JOURNAL_MARK:
        rc = take_mark(group, record);
        break;
    case JOURNAL_FORGET:
        forget(group);
        return OK;
    case JOURNAL_BATCH:
    default:
        rc = ERR_INVALID;
    }
    if (rc != OK)
        return rc;
    group->number = record->number;
    group->exists = true;
    return OK;
}
