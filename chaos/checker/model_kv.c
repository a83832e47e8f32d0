/* Keys with strings: get, put, append. A key without a value holds "", and a get may call that
 * null.
 */

#include "chaos/checker/model.h"
#include "chaos/checker/search.h"
#include "proto/base/check.h"

enum { GET, PUT, APPEND };

#define LAST_USE_BYTES_MAX (1ull << 30) /* looked through for the last use of unknown outcomes */

static void prepare(struct history *history)
{
    (void)intern_put(&history->values, slice_of("", 0)); /* id 0 */
}

static bool text_put(struct history *history, const json_t *v, int64_t *id)
{
    if (!json_is_string(v))
        return false;
    *id = intern_put(&history->values, slice_of(json_string_value(v), json_string_length(v)));
    return true;
}

static const char *on_invoke(struct history *history, struct operation *operation, const json_t *v)
{
    if (operation->function != GET && !text_put(history, v, &operation->a))
        return "a put or an append needs a text as \"v\"";
    return NULL;
}

static const char *on_return(struct history *history, struct operation *operation, const json_t *v)
{
    if (operation->outcome == OUTCOME_FAIL ||
        (operation->outcome == OUTCOME_INFO && operation->function == GET))
        operation->outcome = OUTCOME_VOID; /* no condition that could have failed */
    if (operation->outcome == OUTCOME_OK && operation->function == GET && v != NULL &&
        !json_is_null(v) && !text_put(history, v, &operation->a))
        return "a get returns a text or null";
    return NULL;
}

static void put_text(struct slice value, struct buffer *text)
{
    json_t *string = json_stringn((const char *)value.data, value.size);
    char *shown = json_dumps(string, JSON_ENCODE_ANY);

    CHECK(shown != NULL);
    buffer_put_text(text, shown);
    free(shown);
    json_decref(string);
}

static void describe(const struct history *history, const struct operation *operation,
                     struct buffer *text)
{
    static const char *const words[] = {[GET] = "get", [PUT] = "put ", [APPEND] = "append "};

    buffer_put_text(text, words[operation->function]);
    if (operation->function == GET && operation->outcome != OUTCOME_OK)
        return;
    if (operation->function == GET)
        buffer_put_text(text, " -> ");
    put_text(intern_get(&history->values, (uint32_t)operation->a), text);
}

/* ---- search ---- */

struct self {
    struct intern texts;   /* states and values, by id */
    struct map appended;   /* (state, value) -> state, + 1 */
    struct buffer scratch; /* one text behind the other */
};

static struct slice text_of(const struct self *self, int64_t id)
{
    return intern_get(&self->texts, (uint32_t)id);
}

static bool can_tell(const struct self *self, const struct search_op *get,
                     const struct search_op *op)
{
    struct slice seen = text_of(self, get->a);
    struct slice written = text_of(self, op->a);

    if (op->function == PUT)
        return slice_starts_with(seen, written);
    return memmem(seen.data, seen.size, written.data, written.size) != NULL;
}

/* An unknown put or append matters up to the last get that shows its text: one that takes effect
 * later, or whose text is overwritten, is told by nobody. */
static void find_last_uses(const struct self *self, struct search_op *ops, size_t count)
{
    uint64_t get_bytes = 0;
    uint64_t free_count = 0;

    for (size_t i = 0; i < count; i++) {
        free_count += ops[i].is_free;
        if (ops[i].function == GET)
            get_bytes += 1 + text_of(self, ops[i].a).size;
    }
    if (free_count * get_bytes > LAST_USE_BYTES_MAX)
        return;
    for (size_t i = 0; i < count; i++) {
        if (!ops[i].is_free)
            continue;
        ops[i].back = 0;
        for (size_t j = 0; j < count; j++)
            if (ops[j].function == GET && ops[j].back > ops[i].back &&
                can_tell(self, &ops[j], &ops[i]))
                ops[i].back = ops[j].back;
    }
}

/* What a get returned begins with what some put wrote, unless nothing was put before. */
struct puts {
    struct map texts;   /* text -> its id + 1 */
    struct map lengths; /* bytes -> not NULL */
};

static void note_put(struct puts *puts, const struct self *self, const struct search_op *put)
{
    struct slice text = text_of(self, put->a);

    (void)map_set(&puts->texts, text, (void *)(uintptr_t)(put->a + 1));
    (void)map_set_u64(&puts->lengths, text.size, puts);
}

/* The text whose put could help a get, once the state cannot grow into what it returned. */
static int64_t put_wanted(const struct puts *puts, struct slice seen)
{
    int64_t wanted = SEARCH_NO_TOPIC;
    const struct map_entry *length;
    size_t position = 0;

    while ((length = map_next(&puts->lengths, &position)) != NULL) {
        uint64_t size;
        uintptr_t found;

        memcpy(&size, length->key.data, sizeof(size));
        if (size > seen.size)
            continue;
        found = (uintptr_t)map_find(&puts->texts, slice_of(seen.data, size));
        if (found != 0)
            wanted = wanted == SEARCH_NO_TOPIC ? (int64_t)found - 1 : SEARCH_ANY_TOPIC;
    }
    return wanted;
}

static void find_topics(const struct self *self, struct search_op *ops, size_t count)
{
    struct puts puts = {0};

    for (size_t i = 0; i < count; i++) {
        if (ops[i].function != PUT)
            continue;
        ops[i].produces = ops[i].a;
        note_put(&puts, self, &ops[i]);
    }
    for (size_t i = 0; i < count; i++)
        if (ops[i].function == GET)
            ops[i].wants = put_wanted(&puts, text_of(self, ops[i].a));
    map_close(&puts.texts);
    map_close(&puts.lengths);
}

static void *open_kv(const struct history *history, struct search_op *ops, size_t count)
{
    struct self *self = check_calloc(1, sizeof(*self));

    buffer_init(&self->scratch, BUFFER_UNLIMITED);
    (void)intern_put(&self->texts, slice_of("", 0)); /* id 0 */
    for (size_t i = 0; i < count; i++) {
        struct search_op *op = &ops[i];

        op->a = intern_put(&self->texts, intern_get(&history->values, (uint32_t)op->a));
        op->is_always = op->function != GET;
        op->is_blind = op->function == PUT;
    }
    find_topics(self, ops, count);
    find_last_uses(self, ops, count);
    return self;
}

static void close_kv(void *user)
{
    struct self *self = user;

    intern_close(&self->texts);
    map_close(&self->appended);
    buffer_close(&self->scratch);
    free(self);
}

static size_t bytes_held(const void *user)
{
    const struct self *self = user;

    return self->texts.bytes + self->appended.entry_capacity * 2 * sizeof(struct map_entry);
}

static int64_t initial(void *user)
{
    (void)user;
    return 0;
}

static bool is_quiet(void *user, const struct search_op *op, int64_t state)
{
    (void)user;
    return op->function == APPEND ? op->a == 0 : op->a == state;
}

static int64_t append(struct self *self, int64_t state, int64_t value)
{
    const int64_t both[] = {state, value};
    struct slice key = slice_of(both, sizeof(both));
    uintptr_t known = (uintptr_t)map_find(&self->appended, key);
    uint32_t id;

    if (known != 0)
        return (int64_t)known - 1;
    buffer_clear(&self->scratch);
    buffer_put_slice(&self->scratch, text_of(self, state));
    buffer_put_slice(&self->scratch, text_of(self, value));
    id = intern_put(&self->texts, buffer_slice(&self->scratch));
    (void)map_set(&self->appended, key, (void *)(uintptr_t)(id + (uintptr_t)1));
    return id;
}

static bool step(void *user, const struct search_op *op, int64_t state, int64_t *after)
{
    if (op->function == GET)
        return false; /* quiet, or not legal */
    *after = op->function == PUT ? op->a : append(user, state, op->a);
    return true;
}

/* Appending cannot mend a beginning. */
static bool is_lost(void *user, const struct search_op *op, int64_t state)
{
    const struct self *self = user;

    return op->function == GET && !slice_starts_with(text_of(self, op->a), text_of(self, state));
}

static void describe_state(void *user, int64_t state, struct buffer *text)
{
    put_text(text_of(user, state), text);
}

static const struct search_model search_kv = {
    .open = open_kv,
    .close = close_kv,
    .bytes = bytes_held,
    .initial = initial,
    .is_quiet = is_quiet,
    .step = step,
    .is_lost = is_lost,
    .describe = describe_state,
};

static const struct model_function functions[] = {{"get", GET}, {"put", PUT}, {"append", APPEND}};

const struct model model_kv = {
    .name = "kv",
    .functions = functions,
    .function_count = ARRAY_COUNT(functions),
    .functions_text = "get, put and append",
    .is_split = true,
    .prepare = prepare,
    .on_invoke = on_invoke,
    .on_return = on_return,
    .describe = describe,
    .search = &search_kv,
};
