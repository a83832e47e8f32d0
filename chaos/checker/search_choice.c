#include "chaos/checker/search_impl.h"

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

void search_choice_find(struct search *search)
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

bool search_choice_makes_idle(const struct search *search, const struct candidate *candidate)
{
    const struct search_op *op = &search->ops[candidate->op];
    const struct search_op *first = returning(search);

    if (search->model->commutes != NULL)
        return op != first && op->is_plain && first->is_plain && commutes(search) &&
               is_legal(search, first, state_of(search));
    return op != first && (op->is_always || !bit_has(must_of(search), op->slot));
}
