#include "chaos/checker/search_impl.h"
#include "proto/base/check.h"

#include <time.h>

#define STEPS_PER_LOOK 1024 /* at the clock and at the memory */
#define FREE_FIRST 1        /* free operations at one event, in the first round */
#define FREE_LAST 4

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
    search_step_back_to(search, (uint32_t)frame[0]); /* the event's bits */
    search_choice_find(search);
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
    if (!search_step_settle(search))
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
        search_step_take(search, &candidate);
        if (!search_step_settle(search))
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
    search_events_make(search);
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
