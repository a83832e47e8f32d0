/* Put-if-absent: a key is put once and then keeps its value. A put that fails found the key there;
 * a get (or read) of an absent key returns null.
 *
 * Decided in linear time, for there is one event to place: the instant when the winning put took
 * effect. It lies within that put, after the call of every operation that found nothing, and
 * before the return of every operation that found something. */

#include "chaos/checker/model.h"
#include "chaos/checker/verdict.h"
#include "proto/base/check.h"

enum { GET, PUT };

#define ABSENT 0 /* id of null */

static void prepare(struct history *history)
{
    (void)intern_put(&history->values, SLICE_LITERAL("null"));
}

static const char *on_invoke(struct history *history, struct operation *operation, const json_t *v)
{
    if (operation->function != PUT)
        return NULL;
    if (v == NULL || json_is_null(v))
        return "a put needs a \"v\", and not null";
    operation->a = model_json_put(&history->values, v);
    return NULL;
}

static const char *on_return(struct history *history, struct operation *operation, const json_t *v)
{
    if (operation->function == PUT)
        return NULL;
    if (operation->outcome == OUTCOME_OK)
        operation->a = model_json_put(&history->values, v);
    else
        operation->outcome = OUTCOME_VOID;
    return NULL;
}

static void describe(const struct history *history, const struct operation *operation,
                     struct buffer *text)
{
    if (operation->function == GET && operation->outcome != OUTCOME_OK) {
        buffer_put_text(text, "get");
        return;
    }
    buffer_put_text(text, operation->function == GET ? "get -> " : "put ");
    buffer_put_slice(text, intern_get(&history->values, (uint32_t)operation->a));
}

struct facts {
    const struct operation *winner;        /* a put that was told it won; NULL: none was */
    const struct operation *last_absent;   /* the last call of those that found nothing */
    const struct operation *first_present; /* the first return of those that found something */
    const struct operation *seen;          /* a get that found something; NULL: none did */
};

static void note_present(struct facts *facts, const struct operation *operation)
{
    if (facts->first_present == NULL || operation->back < facts->first_present->back)
        facts->first_present = operation;
}

static void two_differ(const struct operation *a, const struct operation *b, const char *why,
                       struct verdict *verdict)
{
    verdict_fail(verdict, a->back > b->back ? a : b, "%s", why);
    verdict_show(verdict, a);
    verdict_show(verdict, b);
}

/* False: two operations contradict each other whenever they took effect. */
static bool gather(struct facts *facts, const struct operation *operation, struct verdict *verdict)
{
    if (operation->outcome == OUTCOME_INFO)
        return true;
    if (operation->function == PUT && operation->outcome == OUTCOME_OK) {
        if (facts->winner != NULL) {
            two_differ(facts->winner, operation, "two puts were told that they were first",
                       verdict);
            return false;
        }
        facts->winner = operation;
    } else if (operation->function == GET && operation->a == ABSENT) {
        if (facts->last_absent == NULL || operation->call > facts->last_absent->call)
            facts->last_absent = operation;
    } else {
        note_present(facts, operation);
        if (operation->function == PUT)
            return true;
        if (facts->seen != NULL && facts->seen->a != operation->a) {
            two_differ(facts->seen, operation, "two gets returned different values", verdict);
            return false;
        }
        facts->seen = operation;
    }
    return true;
}

/* Without a put that was told it won, some unknown one did, if anything was found: of those with
 * the right value, the one that began first leaves the most room. */
static void find_winner(struct facts *facts, const struct operation *const *operations,
                        size_t count)
{
    for (size_t i = 0; i < count && facts->winner == NULL && facts->first_present != NULL; i++)
        if (operations[i]->function == PUT && operations[i]->outcome == OUTCOME_INFO &&
            (facts->seen == NULL || operations[i]->a == facts->seen->a))
            facts->winner = operations[i];
}

static void judge(const struct facts *facts, struct verdict *verdict)
{
    const struct operation *winner = facts->winner;
    const struct operation *absent = facts->last_absent;
    const struct operation *present = facts->first_present;

    if (winner == NULL && present == NULL)
        return;
    if (winner == NULL)
        verdict_fail(verdict, present, "it found a value that nobody could have put");
    else if (facts->seen != NULL && facts->seen->a != winner->a)
        two_differ(winner, facts->seen, "a get returned another value than the put that won",
                   verdict);
    else if (present != NULL && present->back < winner->call)
        two_differ(winner, present, "a value was found before the put that won was called",
                   verdict);
    else if (absent != NULL && winner->back < absent->call)
        two_differ(winner, absent, "nothing was found after the put that won had returned",
                   verdict);
    else if (absent != NULL && present != NULL && present->back < absent->call)
        two_differ(present, absent, "nothing was found after something had been", verdict);
}

static void check_once(const struct history *history, const struct operation *const *operations,
                       size_t count, struct verdict *verdict)
{
    struct facts facts = {0};

    (void)history;
    verdict->kind = VERDICT_VALID;
    for (size_t i = 0; i < count; i++)
        if (!gather(&facts, operations[i], verdict))
            return;
    find_winner(&facts, operations, count);
    judge(&facts, verdict);
    if (verdict->kind == VERDICT_INVALID && facts.winner != NULL)
        verdict_show(verdict, facts.winner);
}

static const struct model_function functions[] = {
    {"get", GET}, {"read", GET}, {"put", PUT}, {"put-if-absent", PUT}};

const struct model model_once = {
    .name = "put-if-absent",
    .functions = functions,
    .function_count = ARRAY_COUNT(functions),
    .functions_text = "put (or put-if-absent) and get (or read)",
    .is_split = true,
    .prepare = prepare,
    .on_invoke = on_invoke,
    .on_return = on_return,
    .describe = describe,
    .quick = check_once,
};
