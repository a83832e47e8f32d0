#include "controller/update.h"

#include "proto/base/check.h"
#include "proto/base/log.h"
#include "proto/wire/watch.pb-c.h"

#include <inttypes.h>

#define OUTCOMES 1024 /* remembered; more than can be applied before their callbacks run */

_Static_assert(OUTCOMES > UPDATES_IN_FLIGHT_MAX, "a proposal finds its outcome");

struct outcome {
    uint64_t index;
    enum error rc;
    uint64_t revision;
};

struct update {
    struct group_proposal proposal;
    struct list link;
    struct updates *updates;
    struct call_request *request;
    bool is_committed;
    uint64_t revision;
    uint64_t until_ms;
};

struct updates {
    struct env *env;
    struct group *group;
    void *user;
    bool (*is_everywhere)(void *user, uint64_t revision);
    struct list list; /* struct update, oldest first */
    size_t count;
    struct outcome outcomes[OUTCOMES]; /* of index i at i modulo OUTCOMES */
};

struct updates *updates_new(struct env *env, void *user,
                            bool (*is_everywhere)(void *user, uint64_t revision))
{
    struct updates *updates = check_calloc(1, sizeof(*updates));

    updates->env = env;
    updates->user = user;
    updates->is_everywhere = is_everywhere;
    list_init(&updates->list);
    return updates;
}

void updates_attach(struct updates *updates, struct group *group)
{
    updates->group = group;
}

void updates_free(struct updates *updates)
{
    struct list *link;

    if (updates == NULL)
        return;
    while ((link = list_pop(&updates->list)) != NULL)
        free(container_of(link, struct update, link));
    free(updates);
}

size_t updates_count(const struct updates *updates)
{
    return updates->count;
}

static void answer(struct updates *updates, struct call_request *request, enum error rc,
                   uint64_t revision)
{
    Skein__Wire__UpdateAnswer message = SKEIN__WIRE__UPDATE_ANSWER__INIT;
    uint8_t bytes[64];

    message.outcome = (uint32_t)rc;
    message.revision = rc == OK ? revision : 0;
    message.leader = rc == ERR_NOT_LEADER ? group_leader(updates->group) : 0;
    CHECK(skein__wire__update_answer__get_packed_size(&message) <= sizeof(bytes));
    size_t size = skein__wire__update_answer__pack(&message, bytes);

    call_answer(request, OK, slice_of(bytes, size));
}

static void finish(struct update *update, enum error rc)
{
    answer(update->updates, update->request, rc, update->revision);
    list_remove(&update->link);
    update->updates->count--;
    free(update);
}

static bool is_done(const struct update *update)
{
    const struct updates *updates = update->updates;

    if (!update->is_committed)
        return false;
    if (updates->is_everywhere(updates->user, update->revision))
        return true;
    if (env_now_ms(updates->env) < update->until_ms)
        return false;
    log_warn("update.not_everywhere revision=%" PRIu64 " waited_ms=%d", update->revision,
             UPDATE_WAIT_MS_MAX);
    return true;
}

void updates_check(struct updates *updates)
{
    LIST_EACH_SAFE(&updates->list, link)
    {
        struct update *update = container_of(link, struct update, link);

        if (is_done(update))
            finish(update, OK);
    }
}

void updates_give_up(struct updates *updates)
{
    LIST_EACH_SAFE(&updates->list, link)
    {
        struct update *update = container_of(link, struct update, link);

        if (update->is_committed)
            finish(update, ERR_LOST);
    }
}

void updates_on_applied(struct updates *updates, uint64_t index, enum error rc, uint64_t revision)
{
    updates->outcomes[index % OUTCOMES] = (struct outcome){index, rc, revision};
}

enum error updates_outcome(const struct updates *updates, uint64_t index, uint64_t *revision)
{
    const struct outcome *outcome = &updates->outcomes[index % OUTCOMES];

    if (outcome->index != index)
        return ERR_LOST;
    if (outcome->rc == OK)
        *revision = outcome->revision;
    return outcome->rc;
}

static void on_proposed(struct group_proposal *proposal, enum error rc, uint64_t index)
{
    struct update *update = container_of(proposal, struct update, proposal);

    if (rc == OK)
        rc = updates_outcome(update->updates, index, &update->revision);
    if (rc != OK) {
        finish(update, rc);
        return;
    }
    update->is_committed = true;
    if (is_done(update))
        finish(update, OK);
}

/* Identity is what makes a retry harmless, so nobody may use another's. */
static enum error check_command(const struct call_request *request)
{
    Skein__Wire__CatalogueCommand *command;
    enum error rc = OK;

    if (request->body.size > CATALOGUE_COMMAND_BYTES_MAX)
        return ERR_TOO_LARGE;
    command = skein__wire__catalogue_command__unpack(NULL, request->body.size, request->body.data);
    if (command == NULL)
        return ERR_INVALID;
    if (command->origin != request->peer)
        rc = ERR_DENIED;
    skein__wire__catalogue_command__free_unpacked(command, NULL);
    return rc;
}

void updates_on_request(struct updates *updates, struct call_request *request)
{
    enum error rc = OK;
    struct update *update;

    if (!group_is_leader(updates->group))
        rc = ERR_NOT_LEADER;
    else if (updates->count >= UPDATES_IN_FLIGHT_MAX)
        rc = ERR_OVERLOADED;
    else
        rc = check_command(request);
    if (rc != OK) {
        answer(updates, request, rc, 0);
        return;
    }
    update = check_calloc(1, sizeof(*update));
    update->updates = updates;
    update->request = request;
    update->until_ms = env_now_ms(updates->env) + UPDATE_WAIT_MS_MAX;
    list_append(&updates->list, &update->link);
    updates->count++;
    group_propose(updates->group, &update->proposal, request->body, on_proposed);
}
