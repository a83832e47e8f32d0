/* Connections between simulated processes.
 *
 * A pair of machines has one connection, a way in each direction, and at each end a view of it
 * (up or down) that lags behind the truth. It forms when both processes run and know each other and
 * nothing is cut; it breaks when
 *   - a process dies: the other end sees CLOSED a moment later, then REFUSED when it tries again;
 *   - something is cut, or one end is paused (or died without a word), for longer than the
 *     heartbeat time-out: an end that still hears is SILENT; the other sees CLOSED or SILENT;
 *   - it is reset.
 * A new one is tried only once both ends know of the loss of the old. */

#include "proto/env/env_sim_impl.h"

#define RECONNECT_MIN_US 1000u
#define RECONNECT_MAX_US 10000u

struct message {
    struct list link;
    uint64_t due;
    enum env_channel channel;
    size_t size;
    uint8_t bytes[];
};

struct sim_way {
    struct sim_machine *from;
    struct sim_machine *to;
    struct sim_range latency;
    uint32_t loss;      /* parts in a million */
    uint32_t duplicate; /* likewise */
    bool is_cut;
    struct list messages; /* in order; while it is cut they wait */
    size_t queued_bytes;
    uint64_t due_last;  /* no later message arrives before */
    uint64_t sent_turn; /* messages of one turn travel together */
    uint64_t sent_time;
    struct sim_event arrival;
};

struct end {
    struct sim_pair *pair;
    bool knows;             /* its process was told of the other one */
    bool is_up;             /* what its process believes */
    bool owes_refusal;      /* it went down, and REFUSED was not told since */
    struct sim_event up;    /* the connection was made */
    struct sim_event down;  /* it was closed */
    struct sim_event quiet; /* the heartbeat time-out */
    struct sim_event refused;
};

struct sim_pair {
    struct list link; /* in sim.pairs */
    struct sim *sim;
    struct sim_machine *machines[2];
    struct sim_way ways[2]; /* from machines[i] to the other */
    struct end ends[2];     /* of machines[i] */
    bool is_live;           /* the connection exists, whatever the ends believe */
    struct sim_event attempt;
};

/* ---- messages ---- */

static void way_init(struct sim_way *way, struct sim_machine *from, struct sim_machine *to)
{
    way->from = from;
    way->to = to;
    way->latency = from->sim->options.latency;
    list_init(&way->messages);
}

static void message_drop(struct sim_way *way, struct message *message)
{
    list_remove(&message->link);
    way->queued_bytes -= message->size;
    free(message);
}

/* Drops what would arrive later than `time`. */
static void way_drop_after(struct sim_way *way, uint64_t time)
{
    LIST_EACH_SAFE(&way->messages, link)
    {
        struct message *message = container_of(link, struct message, link);

        if (way->is_cut || message->due > time)
            message_drop(way, message);
    }
    if (list_is_empty(&way->messages))
        sim_cancel(way->from->sim, &way->arrival);
}

static void way_close(struct sim_way *way)
{
    LIST_EACH_SAFE(&way->messages, link)
    message_drop(way, container_of(link, struct message, link));
}

static void arrival_fire(struct sim_event *event);

static void way_schedule_arrival(struct sim_way *way)
{
    struct message *first;

    if (list_is_empty(&way->messages) || way->is_cut || way->to->process == NULL ||
        way->arrival.is_pending)
        return;
    first = container_of(way->messages.next, struct message, link);
    way->arrival.process = way->to->process;
    way->arrival.kind = SIM_KIND_MESSAGE;
    way->arrival.fire = arrival_fire;
    sim_schedule(way->from->sim, &way->arrival, first->due);
}

/* Everything that is there by now, in one turn. */
static void arrival_fire(struct sim_event *event)
{
    struct sim_way *way = container_of(event, struct sim_way, arrival);
    struct sim *sim = way->from->sim;
    struct sim_process *process = way->to->process;

    while (process->is_alive && !list_is_empty(&way->messages)) {
        struct message *message = container_of(way->messages.next, struct message, link);
        const struct env_link_handler *handler = &process->handlers[message->channel];

        if (message->due > sim->now)
            break;
        list_remove(&message->link);
        way->queued_bytes -= message->size;
        sim_note(sim, process, SIM_KIND_MESSAGE, way->from->id, message->size);
        if (handler->on_message != NULL)
            handler->on_message(handler->user, way->from->id,
                                slice_of(message->bytes, message->size));
        free(message);
    }
    if (process->is_alive)
        way_schedule_arrival(way);
}

static void way_put(struct sim_way *way, enum env_channel channel, struct slice bytes)
{
    struct sim *sim = way->from->sim;
    struct message *message = check_malloc(sizeof(*message) + bytes.size);

    if (way->sent_turn != sim->turn_count || way->sent_time != sim->now) {
        uint64_t due = sim->now + sim_draw(sim, way->latency);

        way->sent_turn = sim->turn_count;
        way->sent_time = sim->now;
        way->due_last = due > way->due_last ? due : way->due_last;
    }
    message->due = way->due_last;
    message->channel = channel;
    message->size = bytes.size;
    if (bytes.size > 0)
        memcpy(message->bytes, bytes.data, bytes.size);
    list_append(&way->messages, &message->link);
    way->queued_bytes += bytes.size;
    way_schedule_arrival(way);
}

/* ---- pairs ---- */

static struct sim_pair *pair_find(const struct sim_machine *machine, const struct sim_machine *peer)
{
    return peer->index < machine->pair_count ? machine->pairs[peer->index] : NULL;
}

static void pair_attach(struct sim_machine *machine, const struct sim_machine *peer,
                        struct sim_pair *pair)
{
    size_t count = peer->index + 1;

    if (machine->pair_count < count) {
        machine->pairs = check_realloc(machine->pairs, count * sizeof(struct sim_pair *));
        for (size_t i = machine->pair_count; i < count; i++)
            machine->pairs[i] = NULL;
        machine->pair_count = count;
    }
    machine->pairs[peer->index] = pair;
}

static void attempt_fire(struct sim_event *event);
static void up_fire(struct sim_event *event);
static void closed_fire(struct sim_event *event);
static void quiet_fire(struct sim_event *event);
static void refused_fire(struct sim_event *event);

static void end_init(struct end *end, struct sim_pair *pair)
{
    end->pair = pair;
    end->up.kind = SIM_KIND_UP;
    end->up.fire = up_fire;
    end->down.kind = end->quiet.kind = end->refused.kind = SIM_KIND_DOWN;
    end->down.fire = closed_fire;
    end->quiet.fire = quiet_fire;
    end->refused.fire = refused_fire;
}

static struct sim_pair *pair_get(struct sim_machine *machine, struct sim_machine *peer)
{
    struct sim_pair *pair = pair_find(machine, peer);

    CHECK(machine != peer);
    if (pair != NULL)
        return pair;
    pair = check_calloc(1, sizeof(*pair));
    pair->sim = machine->sim;
    pair->machines[0] = machine;
    pair->machines[1] = peer;
    way_init(&pair->ways[0], machine, peer);
    way_init(&pair->ways[1], peer, machine);
    end_init(&pair->ends[0], pair);
    end_init(&pair->ends[1], pair);
    pair->attempt.kind = SIM_KIND_CONNECT;
    pair->attempt.fire = attempt_fire;
    pair_attach(machine, peer, pair);
    pair_attach(peer, machine, pair);
    list_append(&machine->sim->pairs, &pair->link);
    return pair;
}

static size_t pair_side(const struct sim_pair *pair, const struct sim_machine *machine)
{
    return pair->machines[0] == machine ? 0 : 1;
}

static bool end_is_running(const struct sim_pair *pair, size_t side)
{
    const struct sim_process *process = pair->machines[side]->process;

    return process != NULL && !process->is_paused;
}

/* ---- what an end gets to know ---- */

/* Watchers may come and go meanwhile, and the process may end. */
static void tell(struct sim_pair *pair, size_t side, const enum env_down_reason *reason)
{
    struct sim_process *process = pair->machines[side]->process;
    uint64_t peer = pair->machines[1 - side]->id;
    struct list todo;
    struct list *link;

    list_move(&todo, &process->watchers);
    while ((link = list_pop(&todo)) != NULL) {
        struct env_link_watcher *watcher = container_of(link, struct env_link_watcher, link);

        list_append(&process->watchers, link);
        if (!process->is_alive)
            continue;
        if (reason != NULL && watcher->on_down != NULL)
            watcher->on_down(watcher->user, peer, *reason);
        if (reason == NULL && watcher->on_up != NULL)
            watcher->on_up(watcher->user, peer);
    }
}

static void tell_down(struct sim_pair *pair, size_t side, enum env_down_reason reason)
{
    sim_note(pair->sim, pair->machines[side]->process, SIM_KIND_DOWN, pair->machines[1 - side]->id,
             reason);
    tell(pair, side, &reason);
}

static void tell_up(struct sim_pair *pair, size_t side)
{
    sim_note(pair->sim, pair->machines[side]->process, SIM_KIND_UP, pair->machines[1 - side]->id,
             0);
    tell(pair, side, NULL);
}

/* ---- the life of a connection ---- */

static size_t end_side(const struct end *end)
{
    return (size_t)(end - end->pair->ends);
}

/* An event in the end's process, `delay` from now; one that is pending stays as it is. */
static void end_schedule(struct end *end, struct sim_event *event, uint64_t delay)
{
    struct sim *sim = end->pair->sim;

    if (event->is_pending)
        return;
    event->process = end->pair->machines[end_side(end)]->process;
    sim_schedule(sim, event, sim->now + delay);
}

static uint64_t way_delay(const struct sim_way *way)
{
    return sim_draw(way->from->sim, way->latency);
}

static void attempt_later(struct sim_pair *pair)
{
    struct sim_range wait = {RECONNECT_MIN_US, RECONNECT_MAX_US};

    if (!pair->attempt.is_pending)
        sim_schedule(pair->sim, &pair->attempt, pair->sim->now + sim_draw(pair->sim, wait));
}

/* The end's process finds out in its own turn; the way there is open. */
static void close_later(struct sim_pair *pair, size_t side, uint64_t delay)
{
    if (pair->ends[side].is_up)
        end_schedule(&pair->ends[side], &pair->ends[side].down, delay);
}

/* What is in flight is lost; what a paused process has received already is not. */
static void pair_break(struct sim_pair *pair)
{
    pair->is_live = false;
    for (size_t side = 0; side < 2; side++) {
        way_drop_after(&pair->ways[side], pair->sim->now);
        sim_cancel(pair->sim, &pair->ends[side].up);
    }
}

/* Does an end of the connection hear nothing from the other, though that one may still exist? */
static bool pair_is_impaired(const struct sim_pair *pair)
{
    for (size_t side = 0; side < 2; side++) {
        const struct sim_machine *machine = pair->machines[side];

        if (pair->ways[side].is_cut)
            return true;
        if (machine->process == NULL ? machine->is_silent : machine->process->is_paused)
            return true;
    }
    return false;
}

/* Call after anything that makes the connection worse or better. */
static void pair_update(struct sim_pair *pair)
{
    uint64_t timeout = pair->sim->options.heartbeat_timeout_us;
    struct sim_range patience = {timeout, timeout + timeout / 4};
    bool is_impaired = pair_is_impaired(pair);

    for (size_t side = 0; side < 2; side++) {
        struct end *end = &pair->ends[side];

        if (!is_impaired || !end->is_up || !end_is_running(pair, side))
            sim_cancel(pair->sim, &end->quiet);
        else if (!end->quiet.is_pending)
            end_schedule(end, &end->quiet, sim_draw(pair->sim, patience));
        if (!is_impaired && !pair->is_live)
            close_later(pair, side, way_delay(&pair->ways[1 - side]));
    }
    if (!is_impaired && !pair->is_live)
        attempt_later(pair);
}

static void end_went_down(struct end *end, enum env_down_reason reason)
{
    struct sim_pair *pair = end->pair;

    end->is_up = false;
    end->owes_refusal = true;
    sim_cancel(pair->sim, &end->quiet);
    sim_cancel(pair->sim, &end->down);
    attempt_later(pair);
    tell_down(pair, end_side(end), reason);
}

static void closed_fire(struct sim_event *event)
{
    struct end *end = container_of(event, struct end, down);

    if (end->is_up)
        end_went_down(end, ENV_DOWN_CLOSED);
}

static void quiet_fire(struct sim_event *event)
{
    struct end *end = container_of(event, struct end, quiet);
    struct sim_pair *pair = end->pair;
    size_t side = end_side(end);

    if (pair->is_live) {
        pair_break(pair);
        if (!pair->ways[side].is_cut)
            close_later(pair, 1 - side, way_delay(&pair->ways[side]));
    }
    end_went_down(end, ENV_DOWN_SILENT);
}

static void refused_fire(struct sim_event *event)
{
    struct end *end = container_of(event, struct end, refused);

    if (!end->owes_refusal)
        return;
    end->owes_refusal = false;
    tell_down(end->pair, end_side(end), ENV_DOWN_REFUSED);
}

static void up_fire(struct sim_event *event)
{
    struct end *end = container_of(event, struct end, up);

    end->is_up = true;
    end->owes_refusal = false;
    pair_update(end->pair);
    tell_up(end->pair, end_side(end));
}

static void pair_connect(struct sim_pair *pair)
{
    pair->is_live = true;
    for (size_t side = 0; side < 2; side++) {
        struct end *end = &pair->ends[side];
        struct sim_way *way_in = &pair->ways[1 - side];
        uint64_t delay = way_delay(&pair->ways[0]) + way_delay(&pair->ways[1]);

        end_schedule(end, &end->up, delay);
        if (way_in->due_last < pair->sim->now + delay)
            way_in->due_last = pair->sim->now + delay;
    }
}

/* No attempt is repeated by itself: whatever stands in its way schedules another when it goes. */
static void attempt_fire(struct sim_event *event)
{
    struct sim_pair *pair = container_of(event, struct sim_pair, attempt);
    bool is_running[2] = {end_is_running(pair, 0), end_is_running(pair, 1)};

    if (pair->is_live || pair->ends[0].is_up || pair->ends[1].is_up || pair_is_impaired(pair))
        return;
    for (size_t side = 0; side < 2; side++) {
        struct end *end = &pair->ends[side];

        if (!is_running[side] || !end->knows)
            continue;
        if (is_running[1 - side] && pair->ends[1 - side].knows) {
            pair_connect(pair);
            return;
        }
        if (!is_running[1 - side] && end->owes_refusal)
            end_schedule(end, &end->refused, way_delay(&pair->ways[1 - side]));
    }
}

/* ---- machines come and go ---- */

void sim_link_machine_init(struct sim_machine *machine)
{
    machine->self = check_calloc(1, sizeof(*machine->self));
    way_init(machine->self, machine, machine);
    machine->self->latency = (struct sim_range){1, 20};
}

void sim_link_machine_close(struct sim_machine *machine)
{
    way_close(machine->self);
    free(machine->self);
    free(machine->pairs);
}

void sim_link_pairs_free(struct sim *sim)
{
    struct list *link;

    while ((link = list_pop(&sim->pairs)) != NULL) {
        struct sim_pair *pair = container_of(link, struct sim_pair, link);

        way_close(&pair->ways[0]);
        way_close(&pair->ways[1]);
        free(pair);
    }
}

void sim_link_on_start(struct sim_machine *machine)
{
    machine->is_silent = false;
    sim_link_on_pause_changed(machine);
}

void sim_link_on_pause_changed(struct sim_machine *machine)
{
    for (size_t i = 0; i < machine->pair_count; i++)
        if (machine->pairs[i] != NULL)
            pair_update(machine->pairs[i]);
}

static void pair_on_crash(struct sim_pair *pair, size_t side)
{
    struct end *end = &pair->ends[side];
    struct sim_way *way_out = &pair->ways[side];
    uint64_t delay = way_delay(way_out);
    bool is_told = pair->is_live && !pair->machines[side]->is_silent && !way_out->is_cut;

    end->knows = end->is_up = end->owes_refusal = false;
    way_close(&pair->ways[1 - side]);
    if (is_told) { /* what it sent last may still come before the end of the stream */
        way_drop_after(way_out, pair->sim->now + delay);
        pair->is_live = false;
        sim_cancel(pair->sim, &pair->ends[1 - side].up);
        close_later(pair, 1 - side, delay);
    } else if (pair->is_live) {
        pair_break(pair);
    }
    pair_update(pair);
}

void sim_link_on_crash(struct sim_machine *machine)
{
    way_close(machine->self);
    for (size_t i = 0; i < machine->pair_count; i++)
        if (machine->pairs[i] != NULL)
            pair_on_crash(machine->pairs[i], pair_side(machine->pairs[i], machine));
}

/* ---- what the process calls ---- */

static enum error link_send(struct env *env, uint64_t peer, enum env_channel channel,
                            struct slice message)
{
    struct sim_process *process = sim_process_of(env);
    struct sim_machine *machine = process->machine;
    struct sim *sim = process->sim;

    if (!process->is_alive)
        return ERR_UNREACHABLE;
    if (peer == machine->id) {
        way_put(machine->self, channel, message);
        return OK;
    }

    struct sim_pair *pair = pair_find(machine, sim_machine_get(sim, peer));
    size_t side = pair != NULL ? pair_side(pair, machine) : 0;

    if (pair == NULL || !pair->ends[side].is_up)
        return ERR_UNREACHABLE;

    struct sim_way *way = &pair->ways[side];

    if (channel != ENV_CHANNEL_RAFT &&
        way->queued_bytes + message.size > sim->options.queue_bytes_max)
        return ERR_OVERLOADED;
    if (!pair->is_live || sim_chance(sim, way->loss))
        return OK; /* nobody will ever see it */
    way_put(way, channel, message);
    if (sim_chance(sim, way->duplicate))
        way_put(way, channel, message);
    return OK;
}

static bool link_is_up(struct env *env, uint64_t peer)
{
    struct sim_process *process = sim_process_of(env);

    if (!process->is_alive)
        return false;
    if (peer == process->machine->id)
        return true;
    struct sim_pair *pair = pair_find(process->machine, sim_machine_get(process->sim, peer));

    return pair != NULL && pair->ends[pair_side(pair, process->machine)].is_up;
}

static uint64_t link_self(struct env *env)
{
    return sim_process_of(env)->machine->id;
}

static void link_peer_set(struct env *env, uint64_t peer, const char *endpoint,
                          const char *public_key)
{
    struct sim_process *process = sim_process_of(env);

    (void)endpoint; /* everybody is found by id */
    (void)public_key;
    if (!process->is_alive || peer == process->machine->id)
        return;

    struct sim_pair *pair = pair_get(process->machine, sim_machine_get(process->sim, peer));
    struct end *end = &pair->ends[pair_side(pair, process->machine)];

    if (end->knows)
        return;
    end->knows = true;
    attempt_later(pair);
}

static void link_peer_remove(struct env *env, uint64_t peer)
{
    struct sim_process *process = sim_process_of(env);
    struct sim_pair *pair;

    if (!process->is_alive || peer == process->machine->id)
        return;
    pair = pair_find(process->machine, sim_machine_get(process->sim, peer));
    if (pair == NULL)
        return;

    size_t side = pair_side(pair, process->machine);
    struct end *end = &pair->ends[side];

    end->knows = end->is_up = end->owes_refusal = false;
    if (pair->is_live)
        pair_break(pair);
    pair_update(pair);
}

static void link_handle(struct env *env, enum env_channel channel, struct env_link_handler handler)
{
    sim_process_of(env)->handlers[channel] = handler;
}

static void link_watch(struct env *env, struct env_link_watcher *watcher)
{
    list_append(&sim_process_of(env)->watchers, &watcher->link);
}

static void link_unwatch(struct env *env, struct env_link_watcher *watcher)
{
    if (sim_process_of(env)->is_alive) /* else its neighbours may be gone */
        list_remove(&watcher->link);
}

const struct env_link sim_link = {
    .send = link_send,
    .is_up = link_is_up,
    .self = link_self,
    .peer_set = link_peer_set,
    .peer_remove = link_peer_remove,
    .handle = link_handle,
    .watch = link_watch,
    .unwatch = link_unwatch,
};

/* ---- what the harness does ---- */

static struct sim_way *way_get(struct sim *sim, uint64_t from, uint64_t to)
{
    struct sim_machine *machine = sim_machine_get(sim, from);
    struct sim_pair *pair = pair_get(machine, sim_machine_get(sim, to));

    return &pair->ways[pair_side(pair, machine)];
}

void sim_link_latency(struct sim *sim, uint64_t from, uint64_t to, struct sim_range latency)
{
    way_get(sim, from, to)->latency = latency;
}

void sim_link_loss(struct sim *sim, uint64_t from, uint64_t to, uint32_t parts)
{
    way_get(sim, from, to)->loss = parts;
}

void sim_link_duplicate(struct sim *sim, uint64_t from, uint64_t to, uint32_t parts)
{
    way_get(sim, from, to)->duplicate = parts;
}

void sim_link_cut(struct sim *sim, uint64_t from, uint64_t to)
{
    struct sim_way *way = way_get(sim, from, to);

    if (way->is_cut)
        return;
    way->is_cut = true;
    sim_cancel(sim, &way->arrival);
    pair_update(pair_find(way->from, way->to));
}

void sim_link_heal(struct sim *sim, uint64_t from, uint64_t to)
{
    struct sim_way *way = way_get(sim, from, to);
    uint64_t due = sim->now + way_delay(way);

    if (!way->is_cut)
        return;
    way->is_cut = false;
    LIST_EACH(&way->messages, link)
    {
        struct message *message = container_of(link, struct message, link);

        if (message->due < due)
            message->due = due;
        if (way->due_last < message->due)
            way->due_last = message->due;
    }
    way_schedule_arrival(way);
    pair_update(pair_find(way->from, way->to));
}

void sim_link_heal_all(struct sim *sim)
{
    LIST_EACH(&sim->pairs, link)
    {
        struct sim_pair *pair = container_of(link, struct sim_pair, link);

        for (size_t side = 0; side < 2; side++) {
            struct sim_way *way = &pair->ways[side];

            way->loss = way->duplicate = 0;
            sim_link_heal(sim, way->from->id, way->to->id);
        }
    }
}

void sim_link_reset(struct sim *sim, uint64_t a, uint64_t b)
{
    struct sim_pair *pair = pair_get(sim_machine_get(sim, a), sim_machine_get(sim, b));

    if (!pair->is_live)
        return;
    pair_break(pair);
    close_later(pair, 0, way_delay(&pair->ways[1]));
    close_later(pair, 1, way_delay(&pair->ways[0]));
    attempt_later(pair);
}
