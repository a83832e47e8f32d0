/* A counter, born 0: add (or inc) v, 1 if there is none; add-and-get, which returns the sum after
 * it; read. */

#include "chaos/checker/bounds.h"
#include "chaos/checker/model.h"
#include "chaos/checker/search.h"
#include "proto/base/check.h"

enum { READ = BOUNDS_READ, ADD = BOUNDS_ADD, ADD_AND_GET = BOUNDS_ADD_AND_GET };

static void prepare(struct history *history)
{
    (void)history;
}

static const char *on_invoke(struct history *history, struct operation *operation, const json_t *v)
{
    (void)history;
    operation->a = 1;
    if (operation->function != READ && v != NULL && !json_is_null(v) &&
        !model_amount(v, &operation->a))
        return "\"v\" is no whole number of at most 2^40";
    return NULL;
}

static const char *on_return(struct history *history, struct operation *operation, const json_t *v)
{
    (void)history;
    if (operation->outcome == OUTCOME_FAIL ||
        (operation->outcome == OUTCOME_INFO && operation->function == READ))
        operation->outcome = OUTCOME_VOID; /* no condition that could have failed */
    if (operation->outcome == OUTCOME_OK && operation->function != ADD &&
        !model_total(v, &operation->result))
        return "\"v\" is no whole number of at most 2^53";
    return NULL;
}

static void describe(const struct history *history, const struct operation *operation,
                     struct buffer *text)
{
    static const char *const words[] = {"read", "add", "add-and-get"};

    (void)history;
    buffer_put_text(text, words[operation->function]);
    if (operation->function != READ)
        buffer_putf(text, " %" JSON_INTEGER_FORMAT, (json_int_t)operation->a);
    if (operation->function != ADD && operation->outcome == OUTCOME_OK)
        buffer_putf(text, " -> %" JSON_INTEGER_FORMAT, (json_int_t)operation->result);
}

/* ---- search ---- */

struct self {
    bool has_negative; /* the counter may go down */
};

static void *open_counter(const struct history *history, struct search_op *ops, size_t count)
{
    struct self *self = check_calloc(1, sizeof(*self));
    uint32_t last_told = 0; /* the last return of an operation that shows the sum */

    (void)history;
    for (size_t i = 0; i < count; i++) {
        struct search_op *op = &ops[i];

        self->has_negative |= op->function != READ && op->a < 0;
        if (op->function == ADD_AND_GET && op->is_free)
            op->function = ADD; /* nobody saw what it returned */
        op->is_plain = op->is_always = op->function == ADD;
        if (op->function != ADD && op->back > last_told)
            last_told = op->back;
    }
    for (size_t i = 0; i < count; i++)
        if (ops[i].is_free)
            ops[i].back = last_told;
    return self;
}

static int64_t initial(void *user)
{
    (void)user;
    return 0;
}

static bool is_quiet(void *user, const struct search_op *op, int64_t state)
{
    (void)user;
    if (op->function == READ)
        return op->result == state;
    return op->a == 0 && (op->function == ADD || op->result == state);
}

static bool step(void *user, const struct search_op *op, int64_t state, int64_t *after)
{
    (void)user;
    if (op->function == READ || (op->function == ADD_AND_GET && op->result != state + op->a))
        return false;
    *after = state + op->a;
    return true;
}

/* What only grows has passed it for good. */
static bool is_lost(void *user, const struct search_op *op, int64_t state)
{
    const struct self *self = user;

    if (self->has_negative || op->function == ADD)
        return false;
    return op->function == READ ? state > op->result : state + op->a > op->result;
}

static bool commutes(void *user, int64_t state)
{
    (void)user;
    (void)state;
    return true;
}

static void describe_state(void *user, int64_t state, struct buffer *text)
{
    (void)user;
    buffer_putf(text, "%" JSON_INTEGER_FORMAT, (json_int_t)state);
}

static const struct search_model search_counter = {
    .open = open_counter,
    .close = free,
    .initial = initial,
    .is_quiet = is_quiet,
    .step = step,
    .is_lost = is_lost,
    .commutes = commutes,
    .describe = describe_state,
};

static const struct model_function functions[] = {
    {"read", READ}, {"add", ADD}, {"inc", ADD}, {"add-and-get", ADD_AND_GET}};

const struct model model_counter = {
    .name = "counter",
    .functions = functions,
    .function_count = ARRAY_COUNT(functions),
    .functions_text = "read, add, inc and add-and-get",
    .is_split = true,
    .prepare = prepare,
    .on_invoke = on_invoke,
    .on_return = on_return,
    .describe = describe,
    .quick = bounds_check,
    .search = &search_counter,
};
