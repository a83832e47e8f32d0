#include "tests/sim/machine.h"

#include "proto/base/check.h"

#include <inttypes.h>
#include <stdio.h>

#define KEY_META SLICE_LITERAL("meta")
#define META_BYTES 16u
#define REGISTER_COUNT 64u

struct pin {
    struct list link;
    struct machine *machine;
    struct kv_snapshot *snapshot;
};

void machine_command(struct buffer *command, uint64_t id, uint32_t key, size_t padding_bytes)
{
    buffer_put_u64(command, id);
    buffer_put_u32(command, key);
    CHECK(buffer_reserve(command, padding_bytes) == OK);
    memset(command->data + command->size, (int)(id & 0xff), padding_bytes);
    command->size += padding_bytes;
}

/* ---- the state on disk ---- */

static enum error state_write(struct machine *machine, struct kv *kv, const struct kv_write *more)
{
    uint64_t meta[2] = {machine->applied, machine->hash};
    struct kv_write writes[2] = {
        {.key = KEY_META, .value = slice_of(meta, sizeof(meta))},
    };

    if (more != NULL)
        writes[1] = *more;
    return machine->env->kv->write(machine->env, kv, writes, more != NULL ? 2 : 1);
}

static enum error state_read(struct machine *machine)
{
    struct buffer meta = BUFFER_INIT(META_BYTES);
    enum error rc = machine->env->kv->get(machine->env, machine->kv, NULL, KEY_META, &meta);
    struct reader reader = reader_of(buffer_slice(&meta));

    if (rc == OK || rc == ERR_NOT_FOUND) {
        machine->applied = rc == OK ? reader_u64(&reader) : 0;
        machine->hash = rc == OK ? reader_u64(&reader) : 0;
        rc = OK;
    }
    buffer_close(&meta);
    return rc;
}

static enum error state_open(struct machine *machine)
{
    struct env *env = machine->env;
    enum error rc = env->kv->open(env, machine->path, &machine->kv);

    if (rc == ERR_CORRUPT) {
        rc = env->disk->remove(env, machine->path);
        if (rc == OK)
            rc = env->kv->open(env, machine->path, &machine->kv);
    }
    return rc == OK ? state_read(machine) : rc;
}

static void aside_path(const struct machine *machine, char path[MACHINE_PATH_BYTES])
{
    (void)snprintf(path, MACHINE_PATH_BYTES, "state/%zu.old", machine->group);
}

/* A crash came while a snapshot was installed. */
static enum error replace_finish(struct machine *machine)
{
    struct env *env = machine->env;
    char aside[MACHINE_PATH_BYTES];
    enum error rc;

    aside_path(machine, aside);
    rc = env->disk->rename(env, aside, machine->path);
    if (rc == ERR_EXISTS)
        rc = env->disk->remove(env, aside);
    return rc == ERR_NOT_FOUND ? OK : rc;
}

enum error machine_open(struct machine *machine, struct env *env, struct checker *checker,
                        size_t group)
{
    enum error rc;

    *machine = (struct machine){.env = env, .checker = checker, .group = group};
    list_init(&machine->pins);
    (void)snprintf(machine->path, sizeof(machine->path), "state/%zu", group);
    rc = env->disk->make_folder(env, "state");
    if (rc == OK)
        rc = replace_finish(machine);
    if (rc == OK)
        rc = state_open(machine);
    return rc;
}

void machine_close(struct machine *machine)
{
    struct list *link;

    if (machine->env == NULL)
        return;
    while ((link = list_pop(&machine->pins)) != NULL) {
        struct pin *pin = container_of(link, struct pin, link);

        machine->env->kv->snapshot_release(machine->env, machine->kv, pin->snapshot);
        free(pin);
    }
    if (machine->staging != NULL)
        machine->env->kv->close(machine->env, machine->staging);
    if (machine->kv != NULL)
        machine->env->kv->close(machine->env, machine->kv);
    *machine = (struct machine){0};
}

enum error machine_remove(struct machine *machine)
{
    struct env *env = machine->env;
    char path[MACHINE_PATH_BYTES];

    memcpy(path, machine->path, sizeof(path));
    machine_close(machine);
    return env->disk->remove(env, path);
}

/* ---- what the group calls ---- */

static uint64_t machine_applied(void *user)
{
    struct machine *machine = user;

    return machine->applied;
}

static uint64_t node_of(const struct machine *machine)
{
    return env_self(machine->env);
}

static void machine_apply(void *user, uint64_t index, uint64_t term, struct slice entry)
{
    struct machine *machine = user;
    struct reader reader = reader_of(entry);
    uint64_t id = reader_u64(&reader);
    uint32_t key = reader_u32(&reader) % REGISTER_COUNT;
    struct kv_write write = {.key = slice_of(&key, sizeof(key)),
                             .value = slice_of(&id, sizeof(id))};

    if (!reader.ok || id == 0) {
        checker_fail(machine->checker, "node %" PRIu64 " was given a mangled entry at %" PRIu64,
                     node_of(machine), index);
        return;
    }
    if (index <= machine->applied)
        checker_fail(machine->checker, "node %" PRIu64 " applied %" PRIu64 " after %" PRIu64,
                     node_of(machine), index, machine->applied);
    if (machine->skips && env_random(machine->env) % 200 == 0)
        return;
    machine->applied = index;
    machine->hash = checker_hash(machine->hash, index, term, id);
    checker_on_apply(machine->checker, machine->group, node_of(machine), index, term, id,
                     machine->hash);
    if (state_write(machine, machine->kv, &write) != OK)
        machine->on_fatal(machine->user, "the store failed while an entry was applied");
}

static void machine_on_durable(struct env_disk_op *op, enum error rc)
{
    struct machine *machine = container_of(op, struct machine, durable_op);

    machine->is_making_durable = false;
    machine->group_cb(machine->group_op, rc);
}

static void machine_make_durable(void *user, struct env_disk_op *op, env_disk_cb cb)
{
    struct machine *machine = user;

    CHECK(!machine->is_making_durable);
    machine->is_making_durable = true;
    machine->group_op = op;
    machine->group_cb = cb;
    machine->env->kv->make_durable(machine->env, machine->kv, &machine->durable_op,
                                   machine_on_durable);
}

static void *machine_snapshot_pin(void *user)
{
    struct machine *machine = user;
    struct pin *pin = check_malloc(sizeof(*pin));

    pin->machine = machine;
    pin->snapshot = machine->env->kv->snapshot(machine->env, machine->kv);
    list_append(&machine->pins, &pin->link);
    return pin;
}

static void machine_snapshot_unpin(void *user, void *pin)
{
    struct machine *machine = user;
    struct pin *it = pin;

    list_remove(&it->link);
    machine->env->kv->snapshot_release(machine->env, machine->kv, it->snapshot);
    free(it);
}

static enum error machine_snapshot_read(void *user, void *pin, struct buffer *position,
                                        size_t chunk_bytes, struct buffer *chunk, bool *is_last)
{
    struct machine *machine = user;
    const struct pin *it = pin;
    const struct env_kv *kv = machine->env->kv;
    struct kv_cursor *cursor = kv->cursor(machine->env, machine->kv, it->snapshot);
    size_t start = chunk->size;

    kv->cursor_seek(cursor, buffer_slice(position));
    while (kv->cursor_valid(cursor) && chunk->size - start < chunk_bytes) {
        struct slice key = kv->cursor_key(cursor);
        struct slice value = kv->cursor_value(cursor);

        buffer_put_u32(chunk, (uint32_t)key.size);
        buffer_put_u32(chunk, (uint32_t)value.size);
        buffer_put_slice(chunk, key);
        buffer_put_slice(chunk, value);
        kv->cursor_next(cursor);
    }
    *is_last = !kv->cursor_valid(cursor);
    buffer_clear(position);
    if (!*is_last)
        buffer_put_slice(position, kv->cursor_key(cursor));
    kv->cursor_close(cursor);
    return OK;
}

static void staging_path(const struct machine *machine, char path[MACHINE_PATH_BYTES])
{
    (void)snprintf(path, MACHINE_PATH_BYTES, "state/%zu.new", machine->group);
}

static enum error machine_snapshot_begin(void *user)
{
    struct machine *machine = user;
    struct env *env = machine->env;
    char path[MACHINE_PATH_BYTES];
    enum error rc;

    staging_path(machine, path);
    if (machine->staging != NULL)
        env->kv->close(env, machine->staging);
    machine->staging = NULL;
    rc = env->disk->remove(env, path);
    return rc == OK || rc == ERR_NOT_FOUND ? env->kv->open(env, path, &machine->staging) : rc;
}

static enum error machine_snapshot_chunk(void *user, struct slice chunk)
{
    struct machine *machine = user;
    struct reader reader = reader_of(chunk);
    enum error rc = OK;

    if (machine->staging == NULL)
        return ERR_INVALID;
    while (rc == OK && reader.rest.size > 0) {
        uint32_t key_bytes = reader_u32(&reader);
        uint32_t value_bytes = reader_u32(&reader);
        struct slice key = reader_bytes(&reader, key_bytes);
        struct slice value = reader_bytes(&reader, value_bytes);
        struct kv_write write = {.key = key, .value = value};

        rc = reader.ok ? machine->env->kv->write(machine->env, machine->staging, &write, 1)
                       : ERR_INVALID;
    }
    return rc;
}

static enum error remove_if_there(struct env *env, const char *path)
{
    enum error rc = env->disk->remove(env, path);

    return rc == ERR_NOT_FOUND ? OK : rc;
}

/* One of the two is there at any moment, by its name or the name it stepped aside to. */
static enum error store_replace(struct machine *machine, const char *from)
{
    struct env *env = machine->env;
    char aside[MACHINE_PATH_BYTES];
    enum error rc;

    aside_path(machine, aside);
    rc = remove_if_there(env, aside);
    if (rc == OK)
        rc = env->disk->rename(env, machine->path, aside);
    if (rc == OK)
        rc = env->disk->rename(env, from, machine->path);
    return rc == OK ? remove_if_there(env, aside) : rc;
}

/* The new state is on disk, with its index, before it takes the place of the old one. */
static enum error staging_finish(struct machine *machine, uint64_t index)
{
    struct env *env = machine->env;
    struct kv *kv = machine->kv;
    enum error rc;

    machine->kv = machine->staging;
    rc = state_read(machine);
    if (rc == OK && machine->applied > index)
        checker_fail(machine->checker,
                     "node %" PRIu64 " was told its snapshot is of %" PRIu64 ", it is of %" PRIu64,
                     node_of(machine), index, machine->applied);
    machine->applied = index;
    if (rc == OK)
        rc = state_write(machine, machine->staging, NULL);
    if (rc == OK)
        rc = env->kv->sync(env, machine->staging);
    machine->kv = kv;
    return rc;
}

static enum error machine_snapshot_install(void *user, uint64_t index)
{
    struct machine *machine = user;
    struct env *env = machine->env;
    char path[MACHINE_PATH_BYTES];
    enum error rc;

    if (machine->staging == NULL)
        return ERR_INVALID;
    if (!list_is_empty(&machine->pins) || machine->is_making_durable)
        return ERR_CONFLICT; /* both need the store that would be closed */
    rc = staging_finish(machine, index);
    staging_path(machine, path);
    env->kv->close(env, machine->staging);
    env->kv->close(env, machine->kv);
    machine->staging = NULL;
    machine->kv = NULL;
    if (rc == OK)
        rc = store_replace(machine, path);
    if (rc == OK)
        rc = state_open(machine);
    if (rc != OK) {
        machine->on_fatal(machine->user, "the store failed while a snapshot was installed");
        return rc;
    }
    machine->snapshots_installed++;
    checker_on_state(machine->checker, machine->group, node_of(machine), index, machine->hash,
                     "snapshot");
    return OK;
}

static void machine_on_role(void *user, enum group_role role, uint64_t term, uint64_t leader)
{
    struct machine *machine = user;

    (void)leader;
    if (role == GROUP_LEADER)
        checker_on_leader(machine->checker, machine->group, node_of(machine), term);
}

struct group_machine machine_table(struct machine *machine)
{
    return (struct group_machine){
        .user = machine,
        .applied = machine_applied,
        .apply = machine_apply,
        .make_durable = machine_make_durable,
        .snapshot_pin = machine_snapshot_pin,
        .snapshot_read = machine_snapshot_read,
        .snapshot_unpin = machine_snapshot_unpin,
        .snapshot_begin = machine_snapshot_begin,
        .snapshot_chunk = machine_snapshot_chunk,
        .snapshot_install = machine_snapshot_install,
        .on_role = machine_on_role,
    };
}
