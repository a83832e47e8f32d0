/* A bank: transfer with v = {"from", "to", "amount"}, read of all balances {"account": balance}.
 *
 * A transfer never creates or destroys money nor overdraws an account; an acknowledged one did
 * happen, a failed one did not, for whatever reason. Balances at birth are not told: the state
 * holds what transfers changed until the first read says on top of what. An account that a read
 * does not name holds 0 in it. */

#include "chaos/checker/model.h"
#include "chaos/checker/search.h"
#include "chaos/checker/verdict.h"
#include "proto/base/check.h"

#include <inttypes.h>

enum { READ, TRANSFER };

static void prepare(struct history *history)
{
    (void)history;
}

/* Names are texts, since the members of a read's object are; a number is taken as one. */
static bool account_put(struct history *history, const json_t *name, int64_t *id)
{
    if (json_is_integer(name))
        *id = model_json_put(&history->values, name);
    else if (json_is_string(name))
        *id = intern_put(&history->values, slice_text(json_string_value(name)));
    return json_is_integer(name) || json_is_string(name);
}

static const char *on_invoke(struct history *history, struct operation *operation, const json_t *v)
{
    if (operation->function == READ)
        return NULL;
    if (!account_put(history, json_object_get(v, "from"), &operation->a) ||
        !account_put(history, json_object_get(v, "to"), &operation->b))
        return "a transfer needs \"from\" and \"to\" in its \"v\"";
    if (!model_amount(json_object_get(v, "amount"), &operation->c) || operation->c < 0)
        return "a transfer needs an \"amount\" in its \"v\", a whole number from 0 to 2^40";
    return NULL;
}

/* A row in history.vectors: the number of pairs, then the account and balance of each. */
static const char *read_put(struct history *history, struct operation *operation, json_t *v)
{
    int64_t pair[2] = {(int64_t)json_object_size(v), 0};
    const char *name;
    json_t *balance;

    if (!json_is_object(v))
        return "a read returns {\"account\": balance, ...}";
    operation->result = (int64_t)(history->vectors.size / sizeof(int64_t));
    buffer_put(&history->vectors, pair, sizeof(int64_t));
    json_object_foreach(v, name, balance)
    {
        pair[0] = intern_put(&history->values, slice_text(name));
        if (!model_total(balance, &pair[1]))
            return "a balance is no whole number of at most 2^53";
        buffer_put(&history->vectors, pair, sizeof(pair));
    }
    return NULL;
}

static const char *on_return(struct history *history, struct operation *operation, const json_t *v)
{
    if (operation->outcome == OUTCOME_FAIL ||
        (operation->outcome == OUTCOME_INFO && operation->function == READ))
        operation->outcome = OUTCOME_VOID;
    if (operation->outcome == OUTCOME_OK && operation->function == READ)
        return read_put(history, operation, (json_t *)(uintptr_t)v);
    return NULL;
}

static const int64_t *row_of(const struct history *history, const struct operation *operation,
                             size_t *pairs)
{
    const int64_t *row = (const int64_t *)(const void *)history->vectors.data + operation->result;

    *pairs = (size_t)row[0];
    return row + 1;
}

static void put_name(const struct history *history, int64_t account, struct buffer *text)
{
    buffer_put_slice(text, intern_get(&history->values, (uint32_t)account));
}

static void describe(const struct history *history, const struct operation *operation,
                     struct buffer *text)
{
    const int64_t *row;
    size_t pairs;

    if (operation->function == TRANSFER) {
        buffer_putf(text, "transfer %" PRId64 " from ", operation->c);
        put_name(history, operation->a, text);
        buffer_put_text(text, " to ");
        put_name(history, operation->b, text);
        return;
    }
    buffer_put_text(text, "read");
    if (operation->outcome != OUTCOME_OK)
        return;
    buffer_put_text(text, " ->");
    row = row_of(history, operation, &pairs);
    for (size_t i = 0; i < pairs; i++) {
        buffer_put_text(text, " ");
        put_name(history, row[2 * i], text);
        buffer_putf(text, ":%" PRId64, row[2 * i + 1]);
    }
}

/* ---- totals: linear ---- */

static void check_totals(const struct history *history, const struct operation *const *operations,
                         size_t count, struct verdict *verdict)
{
    const struct operation *first = NULL;
    int64_t total_first = 0;

    verdict->kind = VERDICT_UNDECIDED;
    for (size_t i = 0; i < count; i++) {
        int64_t total = 0;
        const int64_t *row;
        size_t pairs;

        if (operations[i]->function != READ)
            continue;
        row = row_of(history, operations[i], &pairs);
        for (size_t j = 0; j < pairs; j++) {
            total += row[2 * j + 1];
            if (row[2 * j + 1] < 0) {
                verdict_fail(verdict, operations[i], "a balance is negative");
                return;
            }
        }
        if (first == NULL) {
            first = operations[i];
            total_first = total;
        } else if (total != total_first) {
            verdict_fail(verdict, operations[i],
                         "the balances add up to %" PRId64 ", but in line %u to %" PRId64, total,
                         first->back, total_first);
            verdict_show(verdict, first);
            return;
        }
    }
}

/* ---- search ---- */

/* A state is a row of numbers: whether balances are known, each account's balance (or change, until
 * they are), and while they are not, how far each account's change went down. */
struct self {
    const struct history *history;
    size_t account_count;
    struct intern states;
    int64_t *wanted;  /* by read: its balances, one for each account */
    int64_t *scratch; /* a state */
};

static size_t state_words(const struct self *self)
{
    return 1 + 2 * self->account_count;
}

static int64_t *balances(int64_t *state)
{
    return state + 1;
}

static int64_t *lowest(const struct self *self, int64_t *state)
{
    return state + 1 + self->account_count;
}

static int64_t state_put(struct self *self, const int64_t *state)
{
    return intern_put(&self->states, slice_of(state, state_words(self) * sizeof(*state)));
}

static const int64_t *state_get(const struct self *self, int64_t id)
{
    return (const int64_t *)(const void *)intern_get(&self->states, (uint32_t)id).data;
}

/* The accounts' names share history.values with nothing else, so their ids are places. */
static void *open_bank(const struct history *history, struct search_op *ops, size_t count)
{
    struct self *self = check_calloc(1, sizeof(*self));
    size_t reads = 0;
    uint32_t last_back = 0;

    self->history = history;
    self->account_count = intern_count(&history->values);
    self->scratch = check_calloc(state_words(self), sizeof(*self->scratch));
    for (size_t i = 0; i < count; i++) {
        reads += ops[i].function == READ;
        if (!ops[i].is_free && ops[i].back > last_back)
            last_back = ops[i].back;
    }
    self->wanted = check_calloc(reads * self->account_count + 1, sizeof(*self->wanted));
    reads = 0;
    for (size_t i = 0; i < count; i++) {
        struct search_op *op = &ops[i];

        op->is_plain = op->function == TRANSFER;
        if (op->is_free)
            op->back = last_back; /* it could still pay for a later transfer */
        if (op->function == READ) {
            size_t pairs;
            const int64_t *row = row_of(history, op->source, &pairs);

            op->a = (int64_t)(reads++ * self->account_count);
            for (size_t j = 0; j < pairs; j++)
                self->wanted[op->a + row[2 * j]] = row[2 * j + 1];
        }
    }
    return self;
}

static void close_bank(void *user)
{
    struct self *self = user;

    intern_close(&self->states);
    free(self->wanted);
    free(self->scratch);
    free(self);
}

static size_t bytes_held(const void *user)
{
    const struct self *self = user;

    return self->states.bytes;
}

static int64_t initial(void *user)
{
    struct self *self = user;

    memset(self->scratch, 0, state_words(self) * sizeof(*self->scratch));
    return state_put(self, self->scratch);
}

/* A read of known balances changes nothing; the first one makes them known, so it does. */
static bool is_quiet(void *user, const struct search_op *op, int64_t id)
{
    const struct self *self = user;
    const int64_t *state = state_get(self, id);

    if (op->function == READ)
        return state[0] != 0 &&
               memcmp(state + 1, self->wanted + op->a, self->account_count * sizeof(*state)) == 0;
    return op->c == 0 || (op->a == op->b && state[0] != 0 && state[1 + op->a] >= op->c);
}

static bool learn(struct self *self, const int64_t *wanted, int64_t *state)
{
    for (size_t i = 0; i < self->account_count; i++) {
        if (wanted[i] - balances(state)[i] + lowest(self, state)[i] < 0)
            return false; /* it would have been overdrawn before */
        balances(state)[i] = wanted[i];
        lowest(self, state)[i] = 0;
    }
    state[0] = 1;
    return true;
}

static bool transfer(struct self *self, const struct search_op *op, int64_t *state)
{
    int64_t *from = &balances(state)[op->a];
    int64_t *low = &lowest(self, state)[op->a];

    *from -= op->c;
    if (state[0] != 0 && *from < 0)
        return false;
    if (state[0] == 0 && *from < *low)
        *low = *from;
    balances(state)[op->b] += op->c;
    return true;
}

static bool step(void *user, const struct search_op *op, int64_t id, int64_t *after)
{
    struct self *self = user;
    int64_t *state = self->scratch;

    memcpy(state, state_get(self, id), state_words(self) * sizeof(*state));
    if (op->function == TRANSFER) {
        if (!transfer(self, op, state))
            return false;
    } else if (state[0] != 0 || !learn(self, self->wanted + op->a, state)) {
        return false;
    }
    *after = state_put(self, state);
    return true;
}

static bool is_lost(void *user, const struct search_op *op, int64_t state)
{
    (void)user;
    (void)op;
    (void)state;
    return false;
}

static bool commutes(void *user, int64_t state)
{
    return state_get(user, state)[0] != 0;
}

static void describe_state(void *user, int64_t id, struct buffer *text)
{
    const struct self *self = user;
    const int64_t *state = state_get(self, id);

    if (state[0] == 0)
        buffer_put_text(text, "(balances not known yet, changed by)");
    for (size_t i = 0; i < self->account_count; i++) {
        buffer_put_text(text, text->size > 0 ? " " : "");
        put_name(self->history, (int64_t)i, text);
        buffer_putf(text, ":%" PRId64, state[1 + i]);
    }
}

static const struct search_model search_bank = {
    .open = open_bank,
    .close = close_bank,
    .bytes = bytes_held,
    .initial = initial,
    .is_quiet = is_quiet,
    .step = step,
    .is_lost = is_lost,
    .commutes = commutes,
    .describe = describe_state,
};

static const struct model_function functions[] = {{"read", READ}, {"transfer", TRANSFER}};

const struct model model_bank = {
    .name = "bank",
    .functions = functions,
    .function_count = ARRAY_COUNT(functions),
    .functions_text = "read and transfer",
    .is_split = false,
    .prepare = prepare,
    .on_invoke = on_invoke,
    .on_return = on_return,
    .describe = describe,
    .quick = check_totals,
    .search = &search_bank,
};
