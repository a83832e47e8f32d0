#include "chaos/checker/search.h"

#include "chaos/checker/memo.h"
#include "chaos/checker/verdict.h"
#include "proto/base/check.h"

#include <time.h>

#define CONFIGURATION_HEAD 2 /* words: event and state; done and must follow */
#define IDLE_SLOT 0          /* a bit of `must` that no operation has: the last one was idle */
#define STEPS_PER_LOOK 1024  /* at the clock and at the memory */
#define FREE_FIRST 1         /* free operations at one event, in the first round */
#define FREE_LAST 4
#define FREE_UNLIMITED UINT32_MAX
#define EVENT_BITS 32 /* of the first word; how many free ones took effect there is above them */

struct event {
    uint32_t op;
    bool is_return;
};

struct candidate {
    uint32_t op;
    bool is_pass; /* the returning operation is left alone: it was hidden before */
    bool is_help; /* after it the returning operation is legal, and was not before */
    int64_t after;
};

struct search {
    const struct search_model *model;
    void *self;
    struct search_op *ops;
    size_t count;
    struct event *events;
    uint32_t event_count;
    uint32_t sort_count;
    size_t set_words; /* of `done`, and of `must` */

    /* The present configuration, and what is open at its event. */
    uint64_t *now;
    uint32_t cursor;
    uint64_t *open;
    uint32_t *slot_op;

    uint64_t *stack; /* a configuration and the next candidate to try, each */
    size_t depth;
    size_t depth_max;
    struct candidate *candidates;
    size_t candidate_count;
    uint64_t *sort_seen; /* round of `candidates` in which a free one was seen; then a must */
    uint64_t round;
    struct memo memo;
    uint64_t steps;
    uint32_t free_max; /* so many of unknown outcome may take effect at one event */
    bool was_cut;      /* one more was wanted */

    /* The furthest event that stopped a configuration, and the states it stopped in. */
    uint32_t stuck_at;
    int64_t stuck_states[VERDICT_STATES_MAX];
    size_t stuck_state_count;
    bool has_more_states;
};

static bool bit_has(const uint64_t *set, uint32_t slot)
{
    return (set[slot / 64] >> slot % 64 & 1) != 0;
}

static void bit_set(uint64_t *set, uint32_t slot)
{
    set[slot / 64] |= 1ull << slot % 64;
}

static void bit_clear(uint64_t *set, uint32_t slot)
{
    set[slot / 64] &= ~(1ull << slot % 64);
}

static uint64_t *done_of(const struct search *search)
{
    return search->now + CONFIGURATION_HEAD;
}

static uint64_t *must_of(const struct search *search)
{
    return search->now + CONFIGURATION_HEAD + search->set_words;
}

static int64_t state_of(const struct search *search)
{
    return (int64_t)search->now[1];
}

static uint32_t free_used(const struct search *search)
{
    return (uint32_t)(search->now[0] >> EVENT_BITS);
}

static size_t configuration_words(const struct search *search)
{
    return CONFIGURATION_HEAD + 2 * search->set_words;
}

/* A walk over the members of one set that are not in another. */
struct walk {
    size_t word;
    uint64_t rest;
};

static bool walk_next(struct walk *walk, const uint64_t *set, const uint64_t *without, size_t words,
                      uint32_t *slot)
{
    while (walk->rest == 0) {
        if (walk->word == words)
            return false;
        walk->rest = set[walk->word] & ~(without != NULL ? without[walk->word] : 0);
        walk->word++;
    }
    *slot = (uint32_t)((walk->word - 1) * 64) + (uint32_t)__builtin_ctzll(walk->rest);
    walk->rest &= walk->rest - 1;
    return true;
}

#define EACH_SLOT(search, set, without, slot)                                                      \
    for (struct walk walk = {0}; walk_next(&walk, (set), (without), (search)->set_words, &(slot));)

static struct search_op *op_in(const struct search *search, uint32_t slot)
{
    return &search->ops[search->slot_op[slot]];
}

/* ---- events ---- */

static int event_compare(const void *left, const void *right)
{
    const uint64_t *a = left;
    const uint64_t *b = right;

    if (a[0] != b[0])
        return a[0] < b[0] ? -1 : 1;
    return a[1] < b[1] ? -1 : a[1] > b[1];
}

/* Two operations never share a line, unless it is the last use of both. */
static void make_events(struct search *search)
{
    size_t count = 0;
    uint64_t(*keys)[2] = check_malloc(2 * search->count * sizeof(*keys));

    for (size_t i = 0; i < search->count; i++) {
        const struct search_op *op = &search->ops[i];

        if (op->back < op->call)
            continue; /* a free one without a use */
        keys[count][0] = (uint64_t)op->call << 1;
        keys[count++][1] = (uint64_t)i << 1;
        keys[count][0] = (uint64_t)op->back << 1 | op->is_free;
        keys[count++][1] = (uint64_t)i << 1 | 1;
    }
    qsort(keys, count, sizeof(*keys), event_compare);
    search->events = check_malloc(count * sizeof(*search->events));
    search->event_count = (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        search->events[i] = (struct event){(uint32_t)(keys[i][1] >> 1), (keys[i][1] & 1) != 0};
        if (search->events[i].is_return)
            search->ops[search->events[i].op].returns_at = (uint32_t)i;
    }
    free(keys);
}

/* A slot is free again once its operation returned: the sets stay as small as the history's
 * concurrency. */
static void give_slots(struct search *search)
{
    uint32_t *unused = check_malloc((search->count + 1) * sizeof(*unused));
    uint32_t unused_count = 0;
    uint32_t slot_count = IDLE_SLOT + 1;

    for (uint32_t i = 0; i < search->event_count; i++) {
        struct search_op *op = &search->ops[search->events[i].op];

        if (search->events[i].is_return)
            unused[unused_count++] = op->slot;
        else
            op->slot = unused_count > 0 ? unused[--unused_count] : slot_count++;
    }
    free(unused);
    search->set_words = (slot_count + 63) / 64;
    search->open = check_calloc(search->set_words, sizeof(*search->open));
    search->slot_op = check_calloc(search->set_words * 64, sizeof(*search->slot_op));
    search->candidates = check_calloc(slot_count + 1, sizeof(*search->candidates));
}

static void find_producers(struct search *search)
{
    struct map last; /* topic -> event of the last producer's call, + 1 */

    map_init(&last);
    for (uint32_t i = 0; i < search->event_count; i++) {
        struct search_op *op = &search->ops[search->events[i].op];

        if (!search->events[i].is_return && op->produces != SEARCH_NO_TOPIC) {
            (void)map_set_u64(&last, (uint64_t)op->produces, (void *)(uintptr_t)(i + 1));
            (void)map_set_u64(&last, (uint64_t)SEARCH_ANY_TOPIC, (void *)(uintptr_t)(i + 1));
        }
        if (search->events[i].is_return && op->wants != SEARCH_NO_TOPIC) {
            uintptr_t at = (uintptr_t)map_find_u64(&last, (uint64_t)op->wants);

            op->producer_at = at == 0 ? 0 : (uint32_t)at - 1;
        }
    }
    map_close(&last);
}

static void sort_ops(struct search *search)
{
    struct intern sorts;

    intern_init(&sorts);
    for (size_t i = 0; i < search->count; i++) {
        struct search_op *op = &search->ops[i];
        const int64_t effect[] = {op->function, op->a, op->b, op->c, op->result};

        op->sort = intern_put(&sorts, slice_of(effect, sizeof(effect)));
    }
    search->sort_count = (uint32_t)intern_count(&sorts);
    search->sort_seen = check_calloc(2 * (size_t)search->sort_count + 1, sizeof(uint64_t));
    intern_close(&sorts);
}

/* ---- configurations ---- */

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

/* Only ever backward to an event where the search was before. */
static void cross_back_to(struct search *search, uint32_t at)
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

/* After the state changed: drop what is quiet, and pass events up to a return that has to be
 * decided about. False when the configuration leads nowhere. */
static bool settle(struct search *search)
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

/* ---- candidates ---- */

static const struct search_op *returning(const struct search *search)
{
    return &search->ops[search->events[search->cursor].op];
}

static bool commutes(const struct search *search)
{
    return search->model->commutes != NULL &&
           search->model->commutes(search->self, state_of(search));
}

static bool is_legal(const struct search *search, const struct search_op *op, int64_t state)
{
    int64_t after;

    return search->model->is_quiet(search->self, op, state) ||
           search->model->step(search->self, op, state, &after);
}

/* Everything else that must take effect commutes with the returning operation, which is legal: so
 * whatever is to come may come after it (idle). */
static bool only_returning(const struct search *search)
{
    const struct search_op *first = returning(search);
    uint32_t slot;

    if (!first->is_plain || !commutes(search) || !is_legal(search, first, state_of(search)))
        return false;
    EACH_SLOT(search, search->open, NULL, slot)
    if (bit_has(must_of(search), slot) && !op_in(search, slot)->is_plain)
        return false;
    return true;
}

static bool is_idle_after_idle(const struct search *search, const struct search_op *op)
{
    if (!bit_has(must_of(search), IDLE_SLOT))
        return false;
    return op->is_blind || (search->model->commutes != NULL && op == returning(search));
}

static int candidate_compare(const void *left, const void *right, void *user)
{
    const struct search *search = user;
    const struct candidate *a = left;
    const struct candidate *b = right;
    uint32_t a_at = search->ops[a->op].returns_at;
    uint32_t b_at = search->ops[b->op].returns_at;

    if (a->is_pass != b->is_pass)
        return a->is_pass ? -1 : 1;
    if (a->is_help != b->is_help)
        return a->is_help ? -1 : 1;
    return a_at < b_at ? -1 : a_at > b_at;
}

/* Of those with the same effect, the ones that the rule "same" leaves. All of one sort are helps
 * or none is, so within a sort the order is that of their returns. */
static void keep_one_of_each_sort(struct search *search)
{
    size_t kept = 0;

    search->round++;
    for (size_t i = 0; i < search->candidate_count; i++) {
        const struct search_op *op = &search->ops[search->candidates[i].op];
        uint64_t *seen_free = &search->sort_seen[2 * (size_t)op->sort];
        uint64_t *seen_must = seen_free + 1;
        bool is_must = bit_has(must_of(search), op->slot);

        if (!search->candidates[i].is_pass &&
            (*seen_must == search->round || (*seen_free == search->round && !is_must)))
            continue;
        if (!search->candidates[i].is_pass)
            *(is_must ? seen_must : seen_free) = search->round;
        search->candidates[kept++] = search->candidates[i];
    }
    search->candidate_count = kept;
}

/* What may take effect next, the most promising first. A pure function of the configuration, so
 * that the stack need not hold it. */
static void find_candidates(struct search *search)
{
    const struct search_op *first = returning(search);
    const bool is_first_legal = is_legal(search, first, state_of(search));
    const bool only_first = only_returning(search);
    uint32_t slot;

    search->candidate_count = 0;
    if (!bit_has(must_of(search), first->slot) && !bit_has(must_of(search), IDLE_SLOT))
        search->candidates[search->candidate_count++] = (struct candidate){
            .op = search->events[search->cursor].op, .is_pass = true, .after = state_of(search)};
    EACH_SLOT(search, search->open, done_of(search), slot)
    {
        const struct search_op *op = op_in(search, slot);
        int64_t after;

        if ((only_first && op != first) || is_idle_after_idle(search, op) ||
            !search->model->step(search->self, op, state_of(search), &after))
            continue;
        if (after == state_of(search) && !bit_has(must_of(search), slot) && !op->is_blind)
            continue; /* a blind one may still hide others */
        if (op->is_free && free_used(search) >= search->free_max) {
            search->was_cut = true;
            continue;
        }
        search->candidates[search->candidate_count++] = (struct candidate){
            .op = search->slot_op[slot],
            .is_help = !is_first_legal && op != first && is_legal(search, first, after),
            .after = after,
        };
    }
    if (search->candidate_count > 1)
        qsort_r(search->candidates, search->candidate_count, sizeof(*search->candidates),
                candidate_compare, search);
    keep_one_of_each_sort(search);
}

static bool makes_idle(const struct search *search, const struct search_op *op, bool was_must)
{
    const struct search_op *first = returning(search);

    if (search->model->commutes != NULL)
        return op != first && op->is_plain && first->is_plain && commutes(search) &&
               is_legal(search, first, state_of(search));
    return op != first && (op->is_always || !was_must);
}

static void take_effect(struct search *search, const struct candidate *candidate)
{
    const struct search_op *op = &search->ops[candidate->op];
    uint64_t *must = must_of(search);
    bool is_idle = makes_idle(search, op, bit_has(must, op->slot));
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

/* ---- the search ---- */

static void push(struct search *search)
{
    size_t words = configuration_words(search);

    if (search->depth == search->depth_max) {
        search->depth_max = search->depth_max == 0 ? 64 : search->depth_max * 2;
        search->stack =
            check_realloc(search->stack, search->depth_max * (words + 1) * sizeof(uint64_t));
    }
    uint64_t *frame = search->stack + search->depth++ * (words + 1);

    memcpy(frame, search->now, words * sizeof(*frame));
    frame[words] = 0;
}

/* Back to the configuration on top, and its next candidate. False: it has no more. */
static bool next_candidate(struct search *search, struct candidate *candidate)
{
    size_t words = configuration_words(search);
    uint64_t *frame = search->stack + (search->depth - 1) * (words + 1);

    memcpy(search->now, frame, words * sizeof(*frame));
    cross_back_to(search, (uint32_t)frame[0]); /* the event's bits */
    find_candidates(search);
    if (frame[words] >= search->candidate_count)
        return false;
    *candidate = search->candidates[frame[words]++];
    if (frame[words] == search->candidate_count)
        search->depth--; /* nothing to come back for */
    return true;
}

static uint64_t now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* NULL, or which limit is reached. */
static const char *over_limit(struct search *search, const struct search_limits *limits)
{
    size_t bytes = search->depth_max * (configuration_words(search) + 1) * sizeof(uint64_t);

    if (search->model->bytes != NULL)
        bytes += search->model->bytes(search->self);
    bytes += memo_bytes(&search->memo) * (search->memo.count == search->memo.capacity ? 2 : 1);
    if (bytes > limits->memory_bytes)
        return "more memory than it may use (--memory)";
    if (search->steps % STEPS_PER_LOOK == 0 && now_ns() >= limits->until_ns)
        return "more time than it may use (--timeout)";
    return NULL;
}

static enum verdict_kind run(struct search *search, const struct search_limits *limits,
                             const char **limit)
{
    struct candidate candidate;

    search->now[1] = (uint64_t)search->model->initial(search->self);
    if (!settle(search))
        return VERDICT_INVALID;
    if (search->cursor == search->event_count)
        return VERDICT_VALID;
    push(search);
    while (search->depth > 0) {
        *limit = over_limit(search, limits);
        if (*limit != NULL)
            return VERDICT_UNDECIDED;
        search->steps++;
        if (!next_candidate(search, &candidate)) {
            search->depth--;
            continue;
        }
        take_effect(search, &candidate);
        if (!settle(search))
            continue;
        if (search->cursor == search->event_count)
            return VERDICT_VALID;
        if (!memo_add(&search->memo, search->now))
            push(search);
    }
    return VERDICT_INVALID;
}

static void begin_again(struct search *search)
{
    size_t words = configuration_words(search);

    memo_close(&search->memo);
    memo_init(&search->memo, words);
    memset(search->now, 0, words * sizeof(*search->now));
    memset(search->open, 0, search->set_words * sizeof(*search->open));
    search->cursor = 0;
    search->was_cut = false;
    search->stuck_at = 0;
}

/* Operations of unknown outcome are what makes a search explode, and few of them are needed to
 * explain what was seen: so the whole search is done with few at each event, then with more.
 * Without any left out, or when none was wanted, its answer is final. */
static enum verdict_kind run_widening(struct search *search, const struct search_limits *limits,
                                      const char **limit)
{
    enum verdict_kind kind;

    for (search->free_max = FREE_FIRST;; search->free_max *= 2) {
        if (search->free_max > FREE_LAST)
            search->free_max = FREE_UNLIMITED;
        kind = run(search, limits, limit);
        if (kind != VERDICT_INVALID || !search->was_cut)
            return kind;
        begin_again(search);
    }
}

static void open_search(struct search *search, const struct history *history,
                        const struct operation *const *operations, size_t count)
{
    search->ops = check_calloc(count, sizeof(*search->ops));
    search->count = count;
    for (size_t i = 0; i < count; i++) {
        search->ops[i] = (struct search_op){
            .source = operations[i],
            .call = operations[i]->call,
            .back = operations[i]->back,
            .function = operations[i]->function,
            .is_free = operations[i]->outcome == OUTCOME_INFO,
            .a = operations[i]->a,
            .b = operations[i]->b,
            .c = operations[i]->c,
            .result = operations[i]->result,
            .wants = SEARCH_NO_TOPIC,
            .produces = SEARCH_NO_TOPIC,
        };
    }
    search->self = search->model->open(history, search->ops, count);
    make_events(search);
    give_slots(search);
    find_producers(search);
    sort_ops(search);
    search->now = check_calloc(configuration_words(search), sizeof(*search->now));
    memo_init(&search->memo, configuration_words(search));
}

static void close_search(struct search *search)
{
    search->model->close(search->self);
    memo_close(&search->memo);
    free(search->ops);
    free(search->events);
    free(search->now);
    free(search->open);
    free(search->slot_op);
    free(search->stack);
    free(search->candidates);
    free(search->sort_seen);
}

static void tell_stuck(struct search *search, const struct operation *const *operations,
                       size_t count, struct verdict *verdict)
{
    const struct search_op *stuck = &search->ops[search->events[search->stuck_at].op];

    verdict_fail(verdict, stuck->source, "no order of the operations up to line %u explains it",
                 stuck->source->back);
    for (size_t i = 0; i < search->stuck_state_count; i++)
        search->model->describe(search->self, search->stuck_states[i],
                                &verdict->states[verdict->state_count++]);
    verdict->has_more_states = search->has_more_states;
    verdict_show_around(verdict, operations, count);
}

void search_run(const struct search_model *model, const struct history *history,
                const struct operation *const *operations, size_t count,
                const struct search_limits *limits, struct verdict *verdict)
{
    struct search search = {.model = model};
    const char *limit = NULL;

    open_search(&search, history, operations, count);
    verdict->kind = run_widening(&search, limits, &limit);
    verdict->step_count += search.steps;
    if (verdict->kind == VERDICT_INVALID)
        tell_stuck(&search, operations, count, verdict);
    if (verdict->kind == VERDICT_UNDECIDED)
        (void)snprintf(verdict->why, sizeof(verdict->why), "the search needs %s, after %llu steps",
                       limit, (unsigned long long)search.steps);
    close_search(&search);
}
