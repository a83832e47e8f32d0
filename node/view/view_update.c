/* Updates: changes of the catalogue that this node asks the controllers for.
 *
 *   ASKING -+-> COMMITTED -> (this copy has it) -> callback(OK)
 *     ^     |
 *     +-----+ not the leader, no answer: the next one, after a pause
 *
 * A definite refusal ends it at any time; so does the deadline. */

#include "node/view/view_state.h"
#include "proto/base/check.h"
#include "proto/base/log.h"

#include <inttypes.h>

#define ATTEMPT_MS_MAX 3000 /* above what a controller may wait for acknowledgements */
#define PAUSE_MS 50
#define HOPS_MAX 3 /* hints followed in a row without a pause */

static void ask(struct view_update *update);

/* Out of flight, without a word to its owner. */
static void take_back(struct view_update *update)
{
    list_remove(&update->link);
    env_timer_stop(update->view->env, &update->timer);
    call_cancel(&update->call);
    buffer_close(&update->body);
    update->view = NULL;
}

static void finish(struct view_update *update, enum error rc)
{
    take_back(update);
    update->cb(update, rc);
}

void view_update_cancel(struct view_update *update)
{
    if (update->view != NULL)
        take_back(update);
}

static void on_timer(struct env_timer *timer)
{
    ask(container_of(timer, struct view_update, timer));
}

/* Wake up after `delay_ms`, at the deadline at the latest. */
static void wait(struct view_update *update, uint64_t delay_ms)
{
    uint64_t now_us = env_now_us(update->view->env);
    uint64_t left_us = update->deadline_us > now_us ? update->deadline_us - now_us : 0;
    uint64_t delay_us = delay_ms * 1000;

    env_timer_start(update->view->env, &update->timer, delay_us < left_us ? delay_us : left_us,
                    on_timer);
}

static void ask_next(struct view_update *update)
{
    const struct view *view = update->view;

    if (view->controller_count > 0)
        update->controller = (update->controller + 1) % view->controller_count;
    update->hops = 0;
    wait(update, PAUSE_MS);
}

static void follow_hint(struct view_update *update, uint64_t leader)
{
    size_t place = view_controller_find(update->view, leader);

    if (place == VIEW_NO_CONTROLLER || place == update->controller || update->hops >= HOPS_MAX) {
        ask_next(update);
        return;
    }
    update->controller = place;
    update->hops++;
    wait(update, 0);
}

static void settle(struct view_update *update)
{
    if (view_revision(update->view) >= update->revision)
        finish(update, OK);
    else
        wait(update, UINT32_MAX); /* until view_update_wake or the deadline */
}

static void on_outcome(struct view_update *update, const Skein__Wire__UpdateAnswer *answer)
{
    switch ((int)answer->outcome) {
    case OK:
        update->is_committed = true;
        update->revision = answer->revision;
        settle(update);
        return;
    case ERR_NOT_LEADER:
        follow_hint(update, answer->leader);
        return;
    case ERR_OVERLOADED:
        wait(update, PAUSE_MS);
        return;
    case ERR_LOST:
    case ERR_TIMEOUT:
        update->may_have_happened = true;
        ask_next(update);
        return;
    default:
        finish(update, answer->outcome < ERROR_COUNT ? (enum error)answer->outcome : ERR_INTERNAL);
        return;
    }
}

static void on_call(struct call *call, enum error rc, struct slice body)
{
    struct view_update *update = container_of(call, struct view_update, call);
    Skein__Wire__UpdateAnswer *answer = NULL;

    if (rc == OK)
        answer = skein__wire__update_answer__unpack(NULL, body.size, body.data);
    if (answer != NULL) {
        Skein__Wire__UpdateAnswer copy = *answer;

        skein__wire__update_answer__free_unpacked(answer, NULL);
        on_outcome(update, &copy);
        return;
    }
    if (rc == OK || error_effect(rc) == ERROR_EFFECT_MAYBE)
        update->may_have_happened = true;
    ask_next(update);
}

static void ask(struct view_update *update)
{
    struct view *view = update->view;
    uint64_t now_us = env_now_us(view->env);

    if (now_us >= update->deadline_us || view->controller_count == 0) {
        finish(update,
               update->is_committed || update->may_have_happened ? ERR_TIMEOUT : ERR_UNREACHABLE);
        return;
    }
    if (update->is_committed) {
        settle(update);
        return;
    }
    uint64_t left_ms = (update->deadline_us - now_us + 999) / 1000;

    call_start(view->calls, &update->call, view->controllers[update->controller].id,
               CALL_CATALOGUE_UPDATE, buffer_slice(&update->body),
               (uint32_t)(left_ms < ATTEMPT_MS_MAX ? left_ms : ATTEMPT_MS_MAX), on_call);
}

/* ---- starting ---- */

static void pack(struct view_update *update, const struct view_change *changes, size_t count)
{
    Skein__Wire__CatalogueCommand command = SKEIN__WIRE__CATALOGUE_COMMAND__INIT;
    Skein__Wire__CatalogueOperation *operations = check_calloc(count + 1, sizeof(*operations));
    Skein__Wire__CatalogueOperation **pointers = check_calloc(count + 1, sizeof(*pointers));
    struct view *view = update->view;

    for (size_t i = 0; i < count; i++) {
        Skein__Wire__CatalogueOperation *operation = &operations[i];

        skein__wire__catalogue_operation__init(operation);
        operation->key = (char *)(uintptr_t)changes[i].key;
        operation->is_delete = changes[i].is_delete;
        operation->has_expectation = changes[i].expected_revision != VIEW_REVISION_ANY;
        operation->expected_revision =
            operation->has_expectation ? changes[i].expected_revision : 0;
        if (!changes[i].is_delete) {
            operation->value.data = (uint8_t *)(uintptr_t)changes[i].value.data;
            operation->value.len = changes[i].value.size;
        }
        pointers[i] = operation;
    }
    command.operations = pointers;
    command.n_operations = count;
    command.origin = view->node->id;
    command.incarnation = view->node->incarnation;
    command.sequence = ++view->update_sequence;
    size_t size = skein__wire__catalogue_command__get_packed_size(&command);

    buffer_init(&update->body, BUFFER_UNLIMITED);
    CHECK(buffer_reserve(&update->body, size) == OK);
    update->body.size = skein__wire__catalogue_command__pack(&command, update->body.data);
    free(pointers);
    free(operations);
}

void view_update_start(struct view *view, struct view_update *update,
                       const struct view_change *changes, size_t count, uint32_t deadline_ms,
                       view_update_cb cb)
{
    *update =
        (struct view_update){.cb = cb,
                             .view = view,
                             .deadline_us = env_now_us(view->env) + (uint64_t)deadline_ms * 1000};
    pack(update, changes, count);
    update->controller = view->leader != VIEW_NO_CONTROLLER ? view->leader : 0;
    list_append(&view->updates, &update->link);
    wait(update, 0); /* no callback before this returned */
}

/* ---- the copy has come further ---- */

/* In a turn of its own: whoever changed the copy is not done with it yet. */
void view_update_wake(struct view *view)
{
    LIST_EACH(&view->updates, link)
    {
        struct view_update *update = container_of(link, struct view_update, link);

        if (update->is_committed && view_revision(view) >= update->revision)
            wait(update, 0);
    }
}

void view_update_close(struct view *view)
{
    while (!list_is_empty(&view->updates))
        take_back(container_of(view->updates.next, struct view_update, link));
}
