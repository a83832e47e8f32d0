/* Heartbeats: they register this node and renew its lease.
 *
 * The leading controller gets them; while none is known to lead, all of them do. Whoever answers
 * OK leads. */

#include "node/view/view_state.h"
#include "proto/base/check.h"
#include "proto/base/log.h"

#include <inttypes.h>

#define ANSWER_HEARTBEATS 3 /* an answer is waited for this long */

static void beat(struct view *view);

static void on_heartbeat(struct env_timer *timer)
{
    struct view *view = container_of(timer, struct view, heartbeat);

    env_timer_start(view->env, &view->heartbeat, view->heartbeat_us, on_heartbeat);
    beat(view);
}

/* ---- answers ---- */

/* What an operator must know, said once. */
static void complain(struct view *view, enum error outcome)
{
    if (view->complaint == outcome)
        return;
    view->complaint = outcome;
    if (outcome == ERR_CONFLICT)
        log_error("view.foreign_cluster revision=%" PRIu64
                  " why=\"the controllers know less than this copy\"",
                  view_revision(view));
    else
        log_error("view.refused rc=%s", error_name(outcome));
}

/* Another process was this node at a higher incarnation (or this one's clock went back). */
static void raise_incarnation(struct view *view, uint64_t above)
{
    if (view->node->incarnation > above)
        return;
    view->node->incarnation = above + 1;
    log_warn("view.incarnation_raised to=%" PRIu64, view->node->incarnation);
}

static void on_answer(struct view *view, size_t controller,
                      const Skein__Wire__RegisterAnswer *answer)
{
    bool was_connected = view_is_connected(view);

    view->heard_us = env_now_us(view->env);
    if (!was_connected)
        log_info("view.connected controller=%" PRIu64 " revision=%" PRIu64 " newest=%" PRIu64,
                 view->controllers[controller].id, view_revision(view), answer->revision);
    if (answer->outcome == OK) {
        view->led_us = view->heard_us;
        if (answer->revision > view->newest)
            view->newest = answer->revision;
        view->leader = controller;
        view->complaint = OK;
        return;
    }
    if (view->leader == controller)
        view->leader = VIEW_NO_CONTROLLER;
    if (answer->outcome == ERR_STALE_EPOCH)
        raise_incarnation(view, answer->incarnation);
    else if (answer->outcome != ERR_NOT_LEADER)
        complain(view, (enum error)answer->outcome);
}

static void on_call(struct call *call, enum error rc, struct slice body)
{
    struct view_controller *controller = container_of(call, struct view_controller, call);
    struct view *view = controller->view;
    size_t place = (size_t)(controller - view->controllers);
    Skein__Wire__RegisterAnswer *answer = NULL;

    if (rc == OK)
        answer = skein__wire__register_answer__unpack(NULL, body.size, body.data);
    if (answer != NULL) {
        on_answer(view, place, answer);
        skein__wire__register_answer__free_unpacked(answer, NULL);
    } else if (view->leader == place) {
        log_debug("view.leader_silent controller=%" PRIu64 " rc=%s", controller->id,
                  error_name(rc));
        view->leader = VIEW_NO_CONTROLLER;
        beat(view); /* the others, at once */
    }
}

/* ---- beating ---- */

static void beat_one(struct view *view, struct view_controller *controller, struct slice body)
{
    if (controller->call.calls != NULL || !view->env->link->is_up(view->env, controller->id))
        return;
    call_start(view->calls, &controller->call, controller->id, CALL_REGISTER, body,
               (uint32_t)(ANSWER_HEARTBEATS * view->heartbeat_us / 1000), on_call);
}

static void beat(struct view *view)
{
    Skein__Wire__RegisterRequest request = SKEIN__WIRE__REGISTER_REQUEST__INIT;

    if (view->has_failed)
        return;
    if (view->leader != VIEW_NO_CONTROLLER &&
        !view->env->link->is_up(view->env, view->controllers[view->leader].id))
        view->leader = VIEW_NO_CONTROLLER;
    request.node = view->node;
    request.revision = view_revision(view);
    size_t size = skein__wire__register_request__get_packed_size(&request);
    uint8_t *bytes = check_malloc(size);

    (void)skein__wire__register_request__pack(&request, bytes);
    for (size_t i = 0; i < view->controller_count; i++)
        if (view->leader == VIEW_NO_CONTROLLER || view->leader == i)
            beat_one(view, &view->controllers[i], slice_of(bytes, size));
    free(bytes);
}

static void on_up(void *user, uint64_t peer)
{
    struct view *view = user;

    if (view_controller_find(view, peer) != VIEW_NO_CONTROLLER &&
        view->leader == VIEW_NO_CONTROLLER)
        beat(view);
}

static void on_down(void *user, uint64_t peer, enum env_down_reason reason)
{
    struct view *view = user;

    (void)reason;
    if (view->leader != VIEW_NO_CONTROLLER && view->controllers[view->leader].id == peer)
        view->leader = VIEW_NO_CONTROLLER;
}

/* ---- life ---- */

/* Higher than at any earlier start of this node, as far as its clock and its copy know. */
static uint64_t next_incarnation(const struct view *view)
{
    char key[32];
    AUTO(buffer) text = BUFFER_INIT(sizeof(key));
    uint64_t incarnation = env_wall_ms(view->env);
    const struct record *record;

    buffer_putf(&text, "node/%" PRIu64, view->node->id);
    record = records_find(view->records, buffer_text(&text));
    if (record == NULL)
        return incarnation;
    Skein__Wire__Node *before =
        skein__wire__node__unpack(NULL, record->value.size, record->value.data);

    if (before != NULL) {
        if (before->incarnation >= incarnation)
            incarnation = before->incarnation + 1;
        skein__wire__node__free_unpacked(before, NULL);
    }
    return incarnation;
}

enum error view_heartbeat_open(struct view *view, const struct view_options *options)
{
    view->node =
        skein__wire__node__unpack(NULL, options->registration.size, options->registration.data);
    if (view->node == NULL)
        return ERR_INVALID;
    view->node->incarnation = next_incarnation(view);
    view->controllers = check_calloc(options->controller_count + 1, sizeof(*view->controllers));
    view->controller_count = options->controller_count;
    for (size_t i = 0; i < options->controller_count; i++) {
        view->controllers[i].id = options->controller_ids[i];
        view->controllers[i].view = view;
    }
    view->leader = VIEW_NO_CONTROLLER;
    view->heartbeat_us = (uint64_t)options->heartbeat_ms * 1000;
    view->link_watcher =
        (struct env_link_watcher){.user = view, .on_up = on_up, .on_down = on_down};
    view->env->link->watch(view->env, &view->link_watcher);
    env_timer_start(view->env, &view->heartbeat, 0, on_heartbeat);
    return OK;
}

void view_heartbeat_close(struct view *view)
{
    env_timer_stop(view->env, &view->heartbeat);
    view->env->link->unwatch(view->env, &view->link_watcher);
    for (size_t i = 0; i < view->controller_count; i++)
        call_cancel(&view->controllers[i].call);
    free(view->controllers);
    skein__wire__node__free_unpacked(view->node, NULL);
}
