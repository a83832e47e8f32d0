/* What the journal holds, until the groups start; and what a group may start with.
 *
 * A log that may miss what it acknowledged, or a state that may miss what was applied, is worse
 * than none: the group then begins with nothing, and without a vote. */

#include "proto/base/check.h"
#include "proto/base/log.h"
#include "proto/raft/configuration.h"
#include "proto/raft/group_impl.h"

#include <inttypes.h>

static struct loaded_log *loaded_get(struct host *host, uint64_t id)
{
    struct loaded_log *log = map_find_u64(&host->loaded, id);

    if (log == NULL) {
        log = check_calloc(1, sizeof(*log));
        map_set_u64(&host->loaded, id, log);
    }
    return log;
}

static void loaded_drop_from(struct loaded_log *log, size_t position)
{
    while (log->count > position)
        raft_free(log->entries[--log->count].bytes.base);
}

static void loaded_clear(struct loaded_log *log)
{
    loaded_drop_from(log, 0);
    free(log->entries);
    *log = (struct loaded_log){0};
}

static void on_loaded_entry(void *user, uint64_t id, uint64_t index,
                            const struct journal_entry *entry, bool again)
{
    struct loaded_log *log = loaded_get(user, id);
    struct loaded_entry *loaded;

    if (again && log->count > 0 && index < log->first)
        loaded_clear(log); /* the first entries were met for the second time only: all come now */
    if (log->count == 0)
        log->first = index;
    if (index < log->first || index > log->first + log->count) {
        log->has_gap = true;
        return;
    }
    if (index < log->first + log->count) {
        if (again)
            return; /* the same content */
        loaded_drop_from(log, (size_t)(index - log->first));
    }
    if (log->count == log->capacity) {
        log->capacity = log->capacity * 2 + 64;
        log->entries = check_realloc(log->entries, log->capacity * sizeof(*log->entries));
    }
    loaded = &log->entries[log->count++];
    *loaded = (struct loaded_entry){.term = entry->term, .kind = entry->kind};
    loaded->bytes.len = entry->data.size;
    loaded->bytes.base = raft_malloc(entry->data.size > 0 ? entry->data.size : 1);
    CHECK(loaded->bytes.base != NULL);
    if (entry->data.size > 0)
        memcpy(loaded->bytes.base, entry->data.data, entry->data.size);
}

static void on_loaded_truncate(void *user, uint64_t id, uint64_t index)
{
    struct loaded_log *log = loaded_get(user, id);

    if (index <= log->first)
        loaded_clear(log);
    else if (index < log->first + log->count)
        loaded_drop_from(log, (size_t)(index - log->first));
}

static void on_loaded_release(void *user, uint64_t id, uint64_t first)
{
    struct loaded_log *log = loaded_get(user, id);
    size_t count;

    if (log->count == 0 || first <= log->first)
        return;
    count = first - log->first < log->count ? (size_t)(first - log->first) : log->count;
    for (size_t i = 0; i < count; i++)
        raft_free(log->entries[i].bytes.base);
    memmove(log->entries, log->entries + count, (log->count - count) * sizeof(*log->entries));
    log->count -= count;
    log->first += count;
}

struct journal_visitor host_load_visitor(struct host *host)
{
    return (struct journal_visitor){
        .user = host,
        .on_entry = on_loaded_entry,
        .on_truncate = on_loaded_truncate,
        .on_release = on_loaded_release,
    };
}

void host_load_close(struct host *host)
{
    struct map_entry *entry;
    size_t i = 0;

    while ((entry = map_next(&host->loaded, &i)) != NULL) {
        loaded_clear(entry->value);
        free(entry->value);
    }
    map_close(&host->loaded);
}

/* ---- what a group starts with ---- */

/* Are the entries that the journal speaks of really there? */
static bool log_is_whole(const struct loaded_log *log, const struct journal_state *state)
{
    if (log->has_gap)
        return false;
    if (log->count == 0)
        return state->last < state->first &&
               (state->mark_index > 0 || (state->flags & GROUP_FLAG_VOTELESS) != 0);
    if (log->first != state->first || log->first + log->count - 1 != state->last)
        return false;
    return state->mark_index > 0 || (log->first == 1 && log->entries[0].kind == RAFT_CHANGE);
}

/* Can the state machine go on from where it is? Applies again what a mark says it had. */
static bool state_is_whole(struct group *group, const struct loaded_log *log,
                           const struct journal_state *state)
{
    const struct group_machine *machine = &group->machine;
    uint64_t applied = machine->applied(machine->user);
    uint64_t state_index;
    uint64_t configuration_index;
    struct slice configuration;

    group->skip = applied;
    if (state->mark_index == 0)
        return true;
    if (group_put_read(state->mark_data, &state_index, &configuration_index, &configuration) != OK)
        return false;
    if (applied >= state_index)
        return true;
    if (log->count == 0 || log->first > applied + 1)
        return false;
    for (uint64_t index = applied + 1; index <= state->mark_index; index++) {
        const struct loaded_entry *entry = &log->entries[index - log->first];

        if (index - log->first >= log->count)
            return false;
        if (entry->kind == RAFT_COMMAND)
            machine->apply(machine->user, index, entry->term,
                           slice_of(entry->bytes.base, entry->bytes.len));
    }
    group->skip = state->mark_index;
    return true;
}

static uint64_t last_term(const struct loaded_log *log)
{
    return log->count > 0 ? log->entries[log->count - 1].term : 0;
}

/* Its log may lack what it acknowledged: begin with nothing, and without a vote. */
static void start_damaged(struct group *group, struct loaded_log *log)
{
    log_warn("host.damaged_group group=%" PRIu64 " term=%" PRIu64, group->id, group->term);
    loaded_clear(log);
    journal_forget(group->host->journal, group->id);
    group->is_damaged = true;
    group_io_set_voteless(group, true);
}

static int by_id(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;

    return left < right ? -1 : left > right;
}

/* The first entry of every log of a group: the same bytes on all members. */
static void start_born(struct group *group, const struct group_options *options)
{
    struct raft_configuration configuration;
    struct buffer bytes = BUFFER_INIT(CONFIGURATION_BYTES_MAX);
    struct journal_entry entry = {1, RAFT_CHANGE, {0}};
    uint64_t ids[GROUP_MEMBERS_MAX];

    memcpy(ids, options->born_with, options->born_with_count * sizeof(ids[0]));
    qsort(ids, options->born_with_count, sizeof(ids[0]), by_id);
    raft_configuration_init(&configuration);
    for (size_t i = 0; i < options->born_with_count; i++) {
        char address[CONFIGURATION_ADDRESS_BYTES];

        configuration_address(ids[i], address);
        CHECK(raft_configuration_add(&configuration, ids[i], address, RAFT_VOTER) == 0);
    }
    configuration_put(&bytes, &configuration);
    raft_configuration_close(&configuration);
    entry.data = buffer_slice(&bytes);
    journal_append(group->host->journal, NULL, group->id, 1, &entry, 1);
    on_loaded_entry(group->host, group->id, 1, &entry, false);
    buffer_close(&bytes);
    group->term = 1;
    group_io_set_voteless(group, false);
}

static void start_found(struct group *group, struct loaded_log *log,
                        const struct journal_state *state)
{
    bool is_whole =
        !state->is_damaged && log_is_whole(log, state) && state_is_whole(group, log, state);

    group->term = state->term;
    group->vote = state->vote;
    if (last_term(log) > group->term) {
        group->term = last_term(log);
        group->vote = 0;
    }
    group->is_voteless = (state->flags & GROUP_FLAG_VOTELESS) != 0;
    group->is_damaged = (state->flags & GROUP_FLAG_DAMAGED) != 0;
    if (is_whole)
        group->at_start = *state;
    else
        start_damaged(group, log);
}

void host_load_group(struct group *group, const struct group_options *options)
{
    struct host *host = group->host;
    struct loaded_log *log = loaded_get(host, group->id);
    struct journal_state state;

    group->skip = group->machine.applied(group->machine.user);
    if (journal_find(host->journal, group->id, &state))
        start_found(group, log, &state);
    else if (journal_is_damaged(host->journal) || group->skip > 0)
        start_damaged(group, log);
    else if (options->born_with_count > 0)
        start_born(group, options);
    else
        group_io_set_voteless(group, true);
    map_remove_u64(&host->loaded, group->id);
    group->loaded = *log;
    free(log);
}
