#include "controller/catalogue.h"

#include "proto/base/check.h"
#include "proto/base/log.h"
#include "proto/base/map.h"
#include "proto/wire/catalogue.pb-c.h"
#include "proto/wire/watch.pb-c.h"

/* The owner's keys in the store: "xa" where we are, "xu" SLOT a remembered answer. */
#define ANSWER_KEY_BYTES 6
#define ANSWER_BYTES 36
#define STAGED_BYTES_MAX (2 * (size_t)CATALOGUE_BYTES_MAX)

struct command_id {
    uint64_t origin;
    uint64_t incarnation;
    uint64_t sequence;
};

struct answer { /* to an identified command; origin 0 = slot not used yet */
    struct command_id id;
    enum error rc;
    uint64_t revision;
};

struct past { /* one revision, packed */
    uint8_t *data;
    size_t size;
};

struct catalogue {
    struct env *env;
    struct records *records;
    uint64_t applied;
    uint64_t answered; /* identified commands so far; the next answer's slot is this modulo max */
    struct answer answers[CATALOGUE_ANSWERS_MAX];
    struct map answer_of;                       /* struct command_id -> its answer */
    struct past history[CATALOGUE_HISTORY_MAX]; /* of revision r at r modulo max */
    uint64_t history_first;                     /* revisions history_first .. revision are there */
    size_t history_bytes;
    struct buffer staged;
    void *user;
    catalogue_on_change on_change;
};

static struct slice key_of_id(const struct command_id *id)
{
    return slice_of(id, sizeof(*id));
}

/* ---- remembered answers ---- */

static void answer_key(size_t slot, uint8_t key[ANSWER_KEY_BYTES])
{
    key[0] = 'x';
    key[1] = 'u';
    for (size_t i = 0; i < 4; i++)
        key[2 + i] = (uint8_t)(slot >> (24 - 8 * i));
}

static void remember(struct catalogue *catalogue, size_t slot, const struct answer *answer)
{
    struct answer *place = &catalogue->answers[slot];

    if (place->id.origin != 0)
        (void)map_remove(&catalogue->answer_of, key_of_id(&place->id));
    *place = *answer;
    (void)map_set(&catalogue->answer_of, key_of_id(&place->id), place);
}

static void put_answer(struct buffer *bytes, const struct answer *answer)
{
    buffer_put_u64(bytes, answer->id.origin);
    buffer_put_u64(bytes, answer->id.incarnation);
    buffer_put_u64(bytes, answer->id.sequence);
    buffer_put_u32(bytes, (uint32_t)answer->rc);
    buffer_put_u64(bytes, answer->revision);
}

static enum error load_answer(struct catalogue *catalogue, struct slice key, struct slice value)
{
    struct reader reader = reader_of(value);
    struct answer answer = {0};
    size_t slot = 0;

    for (size_t i = 2; i < key.size; i++)
        slot = slot << 8 | key.data[i];
    answer.id.origin = reader_u64(&reader);
    answer.id.incarnation = reader_u64(&reader);
    answer.id.sequence = reader_u64(&reader);
    uint32_t rc = reader_u32(&reader);

    answer.rc = (enum error)rc;
    answer.revision = reader_u64(&reader);
    if (!reader.ok || key.size != ANSWER_KEY_BYTES || slot >= CATALOGUE_ANSWERS_MAX ||
        answer.id.origin == 0 || rc >= ERROR_COUNT)
        return ERR_CORRUPT;
    remember(catalogue, slot, &answer);
    return OK;
}

static void forget_answers(struct catalogue *catalogue)
{
    map_close(&catalogue->answer_of);
    memset(catalogue->answers, 0, sizeof(catalogue->answers));
}

/* ---- opening ---- */

static enum error load_place(struct catalogue *catalogue)
{
    AUTO(buffer) value = BUFFER_INIT(16);
    struct env *env = catalogue->env;
    enum error rc =
        env->kv->get(env, records_kv(catalogue->records), NULL, SLICE_LITERAL("xa"), &value);
    struct reader reader = reader_of(buffer_slice(&value));

    if (rc == ERR_NOT_FOUND && records_count(catalogue->records) == 0)
        return OK;
    if (rc != OK)
        return rc == ERR_NOT_FOUND ? ERR_CORRUPT : rc;
    catalogue->applied = reader_u64(&reader);
    catalogue->answered = reader_u64(&reader);
    return reader.ok ? OK : ERR_CORRUPT;
}

static enum error load_answers(struct catalogue *catalogue)
{
    const struct env_kv *kv = catalogue->env->kv;
    struct kv_cursor *cursor = kv->cursor(catalogue->env, records_kv(catalogue->records), NULL);
    enum error rc = OK;

    for (kv->cursor_seek(cursor, SLICE_LITERAL("xu")); rc == OK && kv->cursor_valid(cursor);
         kv->cursor_next(cursor)) {
        if (!slice_starts_with(kv->cursor_key(cursor), SLICE_LITERAL("xu")))
            break;
        rc = load_answer(catalogue, kv->cursor_key(cursor), kv->cursor_value(cursor));
    }
    if (rc == OK)
        rc = kv->cursor_error(cursor);
    kv->cursor_close(cursor);
    return rc;
}

static enum error load(struct catalogue *catalogue)
{
    enum error rc = load_place(catalogue);

    forget_answers(catalogue);
    if (rc == OK)
        rc = load_answers(catalogue);
    catalogue->history_first = records_revision(catalogue->records) + 1;
    return rc;
}

enum error catalogue_open(struct env *env, const char *folder, struct catalogue **catalogue)
{
    struct catalogue *opened = check_calloc(1, sizeof(*opened));

    opened->env = env;
    buffer_init(&opened->staged, STAGED_BYTES_MAX);
    enum error rc = records_open(env, folder, &opened->records);

    if (rc == OK)
        rc = load(opened);
    if (rc != OK) {
        catalogue_free(opened);
        return rc;
    }
    *catalogue = opened;
    return OK;
}

static void forget_history(struct catalogue *catalogue)
{
    for (size_t i = 0; i < CATALOGUE_HISTORY_MAX; i++) {
        free(catalogue->history[i].data);
        catalogue->history[i] = (struct past){0};
    }
    catalogue->history_bytes = 0;
}

void catalogue_free(struct catalogue *catalogue)
{
    if (catalogue == NULL)
        return;
    forget_history(catalogue);
    map_close(&catalogue->answer_of);
    buffer_close(&catalogue->staged);
    records_free(catalogue->records);
    free(catalogue);
}

uint64_t catalogue_applied(const struct catalogue *catalogue)
{
    return catalogue->applied;
}

uint64_t catalogue_revision(const struct catalogue *catalogue)
{
    return records_revision(catalogue->records);
}

struct records *catalogue_records(const struct catalogue *catalogue)
{
    return catalogue->records;
}

void catalogue_listen(struct catalogue *catalogue, void *user, catalogue_on_change on_change)
{
    catalogue->user = user;
    catalogue->on_change = on_change;
}

/* ---- history ---- */

static struct past *past_of(struct catalogue *catalogue, uint64_t revision)
{
    return &catalogue->history[revision % CATALOGUE_HISTORY_MAX];
}

static void drop_oldest(struct catalogue *catalogue)
{
    struct past *past = past_of(catalogue, catalogue->history_first++);

    catalogue->history_bytes -= past->size;
    free(past->data);
    *past = (struct past){0};
}

static void add_to_history(struct catalogue *catalogue, const struct record_change *changes,
                           size_t count, uint64_t revision)
{
    Skein__Wire__WatchRevision message = SKEIN__WIRE__WATCH_REVISION__INIT;
    Skein__Wire__CatalogueRecord *records = check_calloc(count, sizeof(*records));
    Skein__Wire__CatalogueRecord **pointers = check_calloc(count, sizeof(*pointers));

    for (size_t i = 0; i < count; i++) {
        skein__wire__catalogue_record__init(&records[i]);
        records[i].key = (char *)(uintptr_t)changes[i].key;
        records[i].revision = revision;
        records[i].is_delete = changes[i].is_delete;
        if (!changes[i].is_delete) {
            records[i].value.data = (uint8_t *)(uintptr_t)changes[i].value.data;
            records[i].value.len = changes[i].value.size;
        }
        pointers[i] = &records[i];
    }
    message.revision = revision;
    message.records = pointers;
    message.n_records = count;
    size_t size = skein__wire__watch_revision__get_packed_size(&message);
    uint8_t *data = check_malloc(size);

    (void)skein__wire__watch_revision__pack(&message, data);
    free(pointers);
    free(records);
    if (revision - catalogue->history_first >= CATALOGUE_HISTORY_MAX)
        drop_oldest(catalogue);
    *past_of(catalogue, revision) = (struct past){data, size};
    catalogue->history_bytes += size;
    while (catalogue->history_bytes > CATALOGUE_HISTORY_BYTES_MAX &&
           catalogue->history_first < revision)
        drop_oldest(catalogue);
}

struct slice catalogue_history(const struct catalogue *catalogue, uint64_t revision)
{
    const struct past *past = &catalogue->history[revision % CATALOGUE_HISTORY_MAX];

    if (revision < catalogue->history_first || revision > catalogue_revision(catalogue))
        return slice_of(NULL, 0);
    return slice_of(past->data, past->size);
}

/* ---- applying ---- */

static uint64_t revision_of(const struct catalogue *catalogue, const char *key)
{
    const struct record *record = records_find(catalogue->records, key);

    return record != NULL ? record->revision : 0;
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool keys_are_distinct(const Skein__Wire__CatalogueCommand *command)
{
    const char **keys = check_calloc(command->n_operations, sizeof(*keys));
    bool are_distinct = true;

    for (size_t i = 0; i < command->n_operations; i++)
        keys[i] = command->operations[i]->key;
    qsort(keys, command->n_operations, sizeof(*keys), compare_keys);
    for (size_t i = 1; i < command->n_operations; i++)
        are_distinct = are_distinct && strcmp(keys[i - 1], keys[i]) != 0;
    free(keys);
    return are_distinct;
}

static enum error check_shape(const Skein__Wire__CatalogueCommand *command)
{
    if (command->n_operations == 0)
        return ERR_INVALID;
    if (command->n_operations > CATALOGUE_OPERATIONS_MAX)
        return ERR_TOO_LARGE;
    for (size_t i = 0; i < command->n_operations; i++) {
        if (!records_key_is_valid(slice_text(command->operations[i]->key)))
            return ERR_INVALID;
        if (command->operations[i]->value.len > CATALOGUE_VALUE_BYTES_MAX)
            return ERR_TOO_LARGE;
    }
    return keys_are_distinct(command) ? OK : ERR_INVALID;
}

static enum error check_expectations(const struct catalogue *catalogue,
                                     const Skein__Wire__CatalogueCommand *command)
{
    for (size_t i = 0; i < command->n_operations; i++) {
        const Skein__Wire__CatalogueOperation *operation = command->operations[i];

        if (operation->has_expectation &&
            revision_of(catalogue, operation->key) != operation->expected_revision)
            return ERR_CONFLICT;
    }
    return OK;
}

/* The changes a command makes; deletions of absent records are left out. Keys and values are the
 * command's. */
static size_t changes_of(const struct catalogue *catalogue,
                         const Skein__Wire__CatalogueCommand *command,
                         struct record_change *changes)
{
    size_t count = 0;

    for (size_t i = 0; i < command->n_operations; i++) {
        const Skein__Wire__CatalogueOperation *operation = command->operations[i];

        if (operation->is_delete && revision_of(catalogue, operation->key) == 0)
            continue;
        changes[count++] =
            (struct record_change){.key = operation->key,
                                   .value = slice_of(operation->value.data, operation->value.len),
                                   .revision = catalogue_revision(catalogue) + 1,
                                   .is_delete = operation->is_delete};
    }
    return count;
}

static enum error check_room(const struct catalogue *catalogue, const struct record_change *changes,
                             size_t count)
{
    size_t records = records_count(catalogue->records);
    size_t bytes = records_bytes(catalogue->records);

    for (size_t i = 0; i < count; i++) {
        if (changes[i].is_delete)
            return OK; /* never in the way of making room */
        records += revision_of(catalogue, changes[i].key) == 0;
        bytes += strlen(changes[i].key) + changes[i].value.size;
    }
    return records > CATALOGUE_RECORDS_MAX || bytes > CATALOGUE_BYTES_MAX ? ERR_TOO_LARGE : OK;
}

/* What the command comes to; `changes` is filled when OK. */
static enum error decide(const struct catalogue *catalogue,
                         const Skein__Wire__CatalogueCommand *command,
                         struct record_change *changes, size_t *count)
{
    enum error rc = check_shape(command);

    if (rc == OK)
        rc = check_expectations(catalogue, command);
    if (rc != OK)
        return rc;
    size_t made = changes_of(catalogue, command, changes);

    rc = check_room(catalogue, changes, made);
    if (rc == OK)
        *count = made;
    return rc;
}

/* One batch: the changes, the applied index, the answer if the command has an id. */
static enum error commit(struct catalogue *catalogue, uint64_t index, uint64_t revision,
                         const struct record_change *changes, size_t count,
                         const struct answer *answer)
{
    AUTO(buffer) place = BUFFER_INIT(16);
    AUTO(buffer) bytes = BUFFER_INIT(ANSWER_BYTES);
    uint8_t key[ANSWER_KEY_BYTES];
    struct kv_write extra[2];
    size_t slot = catalogue->answered % CATALOGUE_ANSWERS_MAX;
    bool has_id = answer != NULL && answer->id.origin != 0;

    buffer_put_u64(&place, index);
    buffer_put_u64(&place, catalogue->answered + has_id);
    extra[0] = (struct kv_write){SLICE_LITERAL("xa"), buffer_slice(&place), false};
    if (has_id) {
        answer_key(slot, key);
        put_answer(&bytes, answer);
        extra[1] = (struct kv_write){slice_of(key, sizeof(key)), buffer_slice(&bytes), false};
    }
    enum error rc =
        records_write(catalogue->records, revision, changes, count, extra, has_id ? 2 : 1);

    if (rc != OK)
        return ERR_IO;
    catalogue->applied = index;
    if (has_id) {
        remember(catalogue, slot, answer);
        catalogue->answered++;
    }
    return OK;
}

static void announce(struct catalogue *catalogue, const struct record_change *changes, size_t count)
{
    for (size_t i = 0; i < count && catalogue->on_change != NULL; i++)
        catalogue->on_change(catalogue->user, changes[i].key);
}

static enum error apply_command(struct catalogue *catalogue, uint64_t index,
                                const Skein__Wire__CatalogueCommand *command, uint64_t *revision)
{
    struct answer answer = {.id = {command->origin, command->incarnation, command->sequence}};
    const struct answer *before = map_find(&catalogue->answer_of, key_of_id(&answer.id));
    struct record_change *changes;
    size_t count = 0;

    if (before != NULL) {
        if (before->rc == OK)
            *revision = before->revision;
        answer = *before;
        return commit(catalogue, index, catalogue_revision(catalogue), NULL, 0, NULL) == OK
                   ? answer.rc
                   : ERR_IO;
    }
    changes = check_calloc(command->n_operations + 1, sizeof(*changes));
    answer.rc = decide(catalogue, command, changes, &count);
    answer.revision = catalogue_revision(catalogue) + (count > 0);
    enum error rc = commit(catalogue, index, answer.revision, changes, count, &answer);

    if (rc == OK && count > 0) {
        add_to_history(catalogue, changes, count, answer.revision);
        announce(catalogue, changes, count);
    }
    if (rc == OK && answer.rc == OK)
        *revision = answer.revision;
    free(changes);
    return rc == OK ? answer.rc : rc;
}

enum error catalogue_apply(struct catalogue *catalogue, uint64_t index, struct slice command,
                           uint64_t *revision)
{
    Skein__Wire__CatalogueCommand *message = NULL;
    enum error rc = ERR_TOO_LARGE;

    CHECK(index > catalogue->applied);
    records_sweep(catalogue->records);
    if (command.size <= CATALOGUE_COMMAND_BYTES_MAX) {
        message = skein__wire__catalogue_command__unpack(NULL, command.size, command.data);
        rc = ERR_INVALID;
    }
    if (message == NULL) {
        enum error written = commit(catalogue, index, catalogue_revision(catalogue), NULL, 0, NULL);

        return written == OK ? rc : written;
    }
    rc = apply_command(catalogue, index, message, revision);
    skein__wire__catalogue_command__free_unpacked(message, NULL);
    return rc;
}

/* ---- snapshots ---- */

void catalogue_make_durable(struct catalogue *catalogue, struct env_disk_op *op, env_disk_cb cb)
{
    catalogue->env->kv->make_durable(catalogue->env, records_kv(catalogue->records), op, cb);
}

struct records_pin *catalogue_pin(struct catalogue *catalogue)
{
    return records_pin(catalogue->records);
}

void catalogue_snapshot_begin(struct catalogue *catalogue)
{
    buffer_close(&catalogue->staged);
}

enum error catalogue_snapshot_chunk(struct catalogue *catalogue, struct slice chunk)
{
    return buffer_append_slice(&catalogue->staged, chunk);
}

/* The number of answers given so far is part of the dump; only the index is ours to set: entries
 * without a command (elections, members) move it on without our hearing of them. */
static enum error staged_place(const struct buffer *staged, uint64_t *answered)
{
    struct reader reader = reader_of(buffer_slice(staged));

    while (reader.ok && reader.rest.size > 0) {
        uint32_t key_bytes = reader_u32(&reader);
        uint32_t value_bytes = reader_u32(&reader);
        struct slice key = reader_bytes(&reader, key_bytes);
        struct reader value = reader_of(reader_bytes(&reader, value_bytes));

        if (reader.ok && slice_equal_text(key, "xa")) {
            (void)reader_u64(&value);
            *answered = reader_u64(&value);
            return value.ok ? OK : ERR_CORRUPT;
        }
    }
    *answered = 0;
    return reader.ok ? OK : ERR_CORRUPT;
}

enum error catalogue_snapshot_install(struct catalogue *catalogue, uint64_t index)
{
    AUTO(buffer) place = BUFFER_INIT(16);
    uint64_t answered;
    enum error rc = staged_place(&catalogue->staged, &answered);

    if (rc != OK)
        return rc;
    buffer_put_u64(&place, index);
    buffer_put_u64(&place, answered);
    struct kv_write extra = {SLICE_LITERAL("xa"), buffer_slice(&place), false};

    rc = records_install(catalogue->records, buffer_slice(&catalogue->staged), &extra, 1);
    buffer_close(&catalogue->staged);
    if (rc != OK)
        return rc;
    forget_history(catalogue);
    rc = load(catalogue);
    if (rc == OK && catalogue->on_change != NULL)
        catalogue->on_change(catalogue->user, NULL);
    return rc;
}
