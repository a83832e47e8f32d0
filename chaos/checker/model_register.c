/* A register: read, write, cas with v = [from, to]. It is born null. A cas that fails found
 * another value than `from`. */

#include "chaos/checker/model.h"
#include "chaos/checker/search.h"
#include "chaos/checker/zones.h"
#include "proto/base/check.h"

enum { READ = ZONES_READ, WRITE = ZONES_WRITE, CAS, MISSED_CAS };

#define NOBODY_READS (-1) /* stands for all values that no operation can tell from each other */
#define ROUNDS_MAX 64

static void prepare(struct history *history)
{
    (void)intern_put(&history->values, SLICE_LITERAL("null")); /* id 0 */
}

static const char *on_invoke(struct history *history, struct operation *operation, const json_t *v)
{
    if (operation->function == WRITE) {
        if (v == NULL)
            return "a write needs a \"v\"";
        operation->a = model_json_put(&history->values, v);
    }
    if (operation->function == CAS) {
        if (json_array_size(v) != 2)
            return "a cas needs \"v\": [from, to]";
        operation->a = model_json_put(&history->values, json_array_get(v, 0));
        operation->b = model_json_put(&history->values, json_array_get(v, 1));
    }
    return NULL;
}

static const char *on_return(struct history *history, struct operation *operation, const json_t *v)
{
    if (operation->function == READ && operation->outcome == OUTCOME_OK)
        operation->a = model_json_put(&history->values, v);
    else if (operation->function == READ)
        operation->outcome = OUTCOME_VOID; /* nobody learned anything */
    if (operation->outcome == OUTCOME_FAIL) {
        if (operation->function == CAS)
            operation->function = MISSED_CAS;
        else
            operation->outcome = OUTCOME_VOID;
    }
    return NULL;
}

static void put_value(const struct history *history, int64_t value, struct buffer *text)
{
    if (value == NOBODY_READS)
        buffer_put_text(text, "(a value that nobody read)");
    else
        buffer_put_slice(text, intern_get(&history->values, (uint32_t)value));
}

static void describe(const struct history *history, const struct operation *operation,
                     struct buffer *text)
{
    switch (operation->function) {
    case READ:
        buffer_put_text(text, "read");
        if (operation->outcome != OUTCOME_OK)
            return;
        buffer_put_text(text, " -> ");
        break;
    case WRITE:
        buffer_put_text(text, "write ");
        break;
    default:
        buffer_put_text(text, "cas ");
        put_value(history, operation->a, text);
        buffer_put_text(text, " to ");
        put_value(history, operation->b, text);
        return;
    }
    put_value(history, operation->a, text);
}

/* ---- search ---- */

struct self {
    const struct history *history;
    struct map told; /* value -> its place in `until`, + 1: values that a read or a cas names */
    uint32_t *until; /* the last line whose operation can tell that value from another */
    size_t count;
    int64_t untold; /* the name of all others */
    bool has_untold;
};

static uint32_t *until_of(struct self *self, int64_t value)
{
    uintptr_t place = (uintptr_t)map_find_u64(&self->told, (uint64_t)value);

    return place == 0 ? NULL : &self->until[place - 1];
}

static void note_told(struct self *self, int64_t value, uint32_t line)
{
    uint32_t *until = until_of(self, value);

    if (until == NULL) {
        until = &self->until[self->count++];
        *until = 0;
        (void)map_set_u64(&self->told, (uint64_t)value, (void *)(uintptr_t)self->count);
    }
    if (*until < line)
        *until = line;
}

/* A cas of unknown outcome may carry a value on to another, and matters as long as that one does:
 * a shortest fixed point over such steps. False: not found soon. */
static bool carry_on(struct self *self, const struct search_op *ops, size_t count)
{
    bool is_settled = false;

    for (int round = 0; round < ROUNDS_MAX && !is_settled; round++) {
        is_settled = true;
        for (size_t i = 0; i < count; i++) {
            const uint32_t *to;
            uint32_t *from;

            if (ops[i].function != CAS || !ops[i].is_free)
                continue;
            from = until_of(self, ops[i].a);
            to = until_of(self, ops[i].b);
            if (to != NULL && *from < *to) {
                *from = *to;
                is_settled = false;
            }
        }
    }
    return is_settled;
}

/* The last return of a missed cas, and of one with another `from` than that: one of the two can
 * tell a value apart from what it expects. */
struct misses {
    uint32_t last, last_other;
    int64_t from;
};

static void note_miss(struct misses *misses, const struct search_op *op)
{
    if (op->a == misses->from || misses->last == 0) {
        misses->from = op->a;
        if (misses->last < op->back)
            misses->last = op->back;
    } else if (misses->last < op->back) {
        misses->last_other = misses->last;
        misses->last = op->back;
        misses->from = op->a;
    } else if (misses->last_other < op->back) {
        misses->last_other = op->back;
    }
}

static uint32_t last_use(struct self *self, const struct misses *misses, int64_t value)
{
    const uint32_t *until = until_of(self, value);
    uint32_t line = value == misses->from ? misses->last_other : misses->last;

    return until != NULL && *until > line ? *until : line;
}

/* Values that no read returned and no cas expects are all the same to everybody: one name for all
 * of them makes the writes of them equal. When there is but one it keeps its own. */
static void note_untold(struct self *self, int64_t value)
{
    if (until_of(self, value) != NULL || (self->has_untold && self->untold == value))
        return;
    self->untold = self->has_untold ? NOBODY_READS : value;
    self->has_untold = true;
}

static int64_t told_value(struct self *self, int64_t value)
{
    return until_of(self, value) != NULL ? value : self->untold;
}

static void *open_register(const struct history *history, struct search_op *ops, size_t count)
{
    struct self *self = check_calloc(1, sizeof(*self));
    struct misses misses = {0};

    self->history = history;
    self->until = check_calloc(count + 1, sizeof(*self->until));
    for (size_t i = 0; i < count; i++) {
        if (ops[i].function != WRITE)
            note_told(self, ops[i].a,
                      ops[i].is_free || ops[i].function == MISSED_CAS ? 0 : ops[i].back);
        if (ops[i].function == MISSED_CAS)
            note_miss(&misses, &ops[i]);
    }
    bool is_known = carry_on(self, ops, count);

    for (size_t i = 0; i < count; i++)
        if (ops[i].function == WRITE || ops[i].function == CAS)
            note_untold(self, ops[i].function == WRITE ? ops[i].a : ops[i].b);
    for (size_t i = 0; i < count; i++) {
        struct search_op *op = &ops[i];

        if (op->function == WRITE)
            op->a = told_value(self, op->a);
        if (op->function == CAS)
            op->b = told_value(self, op->b);
        op->is_blind = op->is_always = op->function == WRITE;
        if (op->function == WRITE || op->function == CAS)
            op->produces = op->function == WRITE ? op->a : op->b;
        if (op->function == READ || op->function == CAS)
            op->wants = op->a;
        if (op->is_free && is_known)
            op->back = last_use(self, &misses, op->produces);
    }
    return self;
}

static void close_register(void *user)
{
    struct self *self = user;

    map_close(&self->told);
    free(self->until);
    free(self);
}

static int64_t initial(void *user)
{
    (void)user;
    return 0;
}

static bool is_quiet(void *user, const struct search_op *op, int64_t state)
{
    (void)user;
    if (op->function == MISSED_CAS)
        return state != op->a;
    return state == op->a && (op->function != CAS || op->a == op->b);
}

static bool step(void *user, const struct search_op *op, int64_t state, int64_t *after)
{
    (void)user;
    if (op->function != WRITE && (op->function != CAS || state != op->a))
        return false;
    *after = op->function == WRITE ? op->a : op->b;
    return true;
}

static bool is_lost(void *user, const struct search_op *op, int64_t state)
{
    (void)user;
    return (op->function == READ || op->function == CAS) && state != op->a;
}

static void describe_state(void *user, int64_t state, struct buffer *text)
{
    const struct self *self = user;

    put_value(self->history, state, text);
}

static const struct search_model search_register = {
    .open = open_register,
    .close = close_register,
    .initial = initial,
    .is_quiet = is_quiet,
    .step = step,
    .is_lost = is_lost,
    .describe = describe_state,
};

static const struct model_function functions[] = {{"read", READ}, {"write", WRITE}, {"cas", CAS}};

const struct model model_register = {
    .name = "register",
    .functions = functions,
    .function_count = ARRAY_COUNT(functions),
    .functions_text = "read, write and cas",
    .is_split = true,
    .prepare = prepare,
    .on_invoke = on_invoke,
    .on_return = on_return,
    .describe = describe,
    .quick = zones_check,
    .search = &search_register,
};
