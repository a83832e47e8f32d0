#include "chaos/checker/search_impl.h"

static void cross_forward(struct search *search)
{
    const struct event *event = &search->events[search->cursor++];
    const struct search_op *op = &search->ops[event->op];

    if (event->is_return) {
        bit_clear(search->open, op->slot);
        return;
    }
    bit_set(search->open, op->slot);
    search->slot_op[op->slot] = event->op;
}

void search_step_back_to(struct search *search, uint32_t at)
{
    while (search->cursor > at) {
        const struct event *event = &search->events[--search->cursor];
        const struct search_op *op = &search->ops[event->op];

        if (event->is_return) {
            bit_set(search->open, op->slot);
            search->slot_op[op->slot] = event->op;
        } else {
            bit_clear(search->open, op->slot);
        }
    }
}

static void note_stuck(struct search *search, uint32_t at)
{
    int64_t state = state_of(search);

    if (at < search->stuck_at)
        return;
    if (at > search->stuck_at) {
        search->stuck_at = at;
        search->stuck_state_count = 0;
        search->has_more_states = false;
    }
    for (size_t i = 0; i < search->stuck_state_count; i++)
        if (search->stuck_states[i] == state)
            return;
    if (search->stuck_state_count == VERDICT_STATES_MAX)
        search->has_more_states = true;
    else
        search->stuck_states[search->stuck_state_count++] = state;
}

static bool is_producer(const struct search_op *op, int64_t topic)
{
    return op->produces == topic || (topic == SEARCH_ANY_TOPIC && op->produces != SEARCH_NO_TOPIC);
}

static bool has_producer(const struct search *search, const struct search_op *op)
{
    uint32_t slot;

    if (op->wants == SEARCH_NO_TOPIC)
        return false;
    if (op->producer_at >= search->cursor)
        return true; /* still to come */
    EACH_SLOT(search, search->open, done_of(search), slot)
    if (op_in(search, slot) != op && is_producer(op_in(search, slot), op->wants))
        return true;
    return false;
}

/* No operation that must take effect is lost; else the one that is. */
static const struct search_op *find_lost(const struct search *search)
{
    uint32_t slot;

    EACH_SLOT(search, search->open, NULL, slot)
    {
        const struct search_op *op = op_in(search, slot);

        if (bit_has(must_of(search), slot) &&
            search->model->is_lost(search->self, op, state_of(search)) && !has_producer(search, op))
            return op;
    }
    return NULL;
}

static bool drop_quiet(struct search *search)
{
    uint64_t *must = must_of(search);
    bool was_any = false;
    uint32_t slot;

    EACH_SLOT(search, search->open, NULL, slot)
    {
        if (bit_has(must, slot) &&
            search->model->is_quiet(search->self, op_in(search, slot), state_of(search))) {
            bit_clear(must, slot);
            was_any = true;
        }
    }
    return was_any;
}

/* An operation must be decided about at its return: one that has to take effect, and one that was
 * hidden and could take effect for the last time. */
static bool is_to_decide(const struct search *search, const struct search_op *op)
{
    if (bit_has(must_of(search), op->slot))
        return true;
    return op->is_always && !op->is_free && !bit_has(done_of(search), op->slot);
}

bool search_step_settle(struct search *search)
{
    uint64_t *must = must_of(search);
    uint32_t from = search->cursor;
    bool was_quiet = drop_quiet(search);
    const struct search_op *lost;

    while (search->cursor < search->event_count) {
        const struct event *event = &search->events[search->cursor];
        const struct search_op *op = &search->ops[event->op];

        if (event->is_return && is_to_decide(search, op))
            break;
        cross_forward(search);
        if (event->is_return)
            bit_clear(done_of(search), op->slot);
        else if (!op->is_free && !search->model->is_quiet(search->self, op, state_of(search)))
            bit_set(must, op->slot);
    }
    if (search->cursor > from)
        search->now[0] = search->cursor;
    if (was_quiet || search->cursor > from)
        bit_clear(must, IDLE_SLOT);
    if (search->cursor == search->event_count)
        return true;
    lost = find_lost(search);
    note_stuck(search, lost != NULL ? lost->returns_at : search->cursor);
    return lost == NULL;
}

void search_step_take(struct search *search, const struct candidate *candidate)
{
    const struct search_op *op = &search->ops[candidate->op];
    uint64_t *must = must_of(search);
    bool is_idle = search_choice_makes_idle(search, candidate);
    uint32_t slot;

    bit_set(done_of(search), op->slot);
    bit_clear(must, op->slot);
    if (candidate->is_pass)
        return; /* done or not is the same once it has returned */
    if (op->is_blind) {
        EACH_SLOT(search, search->open, NULL, slot)
        if (op_in(search, slot)->is_always)
            bit_clear(must, slot);
    }
    if (is_idle)
        bit_set(must, IDLE_SLOT);
    else
        bit_clear(must, IDLE_SLOT);
    search->now[1] = (uint64_t)candidate->after;
    if (op->is_free && search->free_max != FREE_UNLIMITED)
        search->now[0] += 1ull << EVENT_BITS;
}
