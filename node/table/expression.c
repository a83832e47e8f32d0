#include "node/table/expression.h"

#include "node/table/varint.h"
#include "proto/base/check.h"
#include "proto/base/utf8.h"

#define STEP_NAME 0
#define STEP_INDEX 1

/* ---- encoding ------------------------------------------------------------------------------ */

void expression_put_path(struct buffer *to, const struct expression_path *path)
{
    varint_put(to, (uint32_t)path->step_count);
    for (size_t i = 0; i < path->step_count; i++) {
        const struct expression_step *step = &path->steps[i];

        buffer_put_u8(to, step->name.data != NULL ? STEP_NAME : STEP_INDEX);
        if (step->name.data != NULL)
            varint_put_bytes(to, step->name);
        else
            varint_put(to, step->index);
    }
}

void expression_put_paths(struct buffer *to, const struct expression_paths *paths)
{
    varint_put(to, (uint32_t)paths->count);
    for (size_t i = 0; i < paths->count; i++)
        expression_put_path(to, &paths->paths[i]);
}

void expression_put(struct buffer *to, const struct expression *expression)
{
    buffer_put_u8(to, (uint8_t)expression->kind);
    if (expression->kind == EXPRESSION_PATH) {
        expression_put_path(to, &expression->path);
    } else if (expression->kind == EXPRESSION_VALUE) {
        item_put_value(to, &expression->value);
    } else {
        varint_put(to, (uint32_t)expression->child_count);
        for (size_t i = 0; i < expression->child_count; i++)
            expression_put(to, expression->children[i]);
    }
}

/* ---- paths --------------------------------------------------------------------------------- */

static struct expression_step read_step(struct reader *reader)
{
    struct expression_step step = {0};
    uint8_t kind = reader_u8(reader);

    if (kind == STEP_NAME) {
        step.name = varint_read_bytes(reader);
        reader->ok = reader->ok && step.name.size > 0;
    } else if (kind == STEP_INDEX) {
        step.index = varint_read(reader);
    } else {
        reader->ok = false;
    }
    return step;
}

static uint32_t read_step_count(struct reader *reader)
{
    uint32_t count = varint_read(reader);

    if (count == 0 || count > EXPRESSION_STEPS_MAX)
        reader->ok = false;
    return reader->ok ? count : 0;
}

bool expression_follow(struct reader *reader, const struct item_value *root,
                       struct item_value *value)
{
    uint32_t count = read_step_count(reader);
    struct item_value at = *root;
    bool is_there = true;

    for (uint32_t i = 0; i < count && reader->ok; i++) {
        struct expression_step step = read_step(reader);

        if (!reader->ok || !is_there)
            continue;
        is_there =
            step.name.data != NULL ? item_find(&at, step.name, &at) : item_at(&at, step.index, &at);
    }
    if (reader->ok && is_there)
        *value = at;
    return reader->ok && is_there;
}

struct expression_path expression_read_path(struct reader *reader, struct arena *arena)
{
    struct expression_path path = {0};
    uint32_t count = read_step_count(reader);

    if (count > 0)
        path.steps = arena_alloc(arena, count * sizeof(*path.steps));
    for (; path.step_count < count && reader->ok; path.step_count++)
        path.steps[path.step_count] = read_step(reader);
    return path;
}

struct expression_paths expression_read_paths(struct reader *reader, struct arena *arena)
{
    struct expression_paths paths = {0};
    uint32_t count = varint_read(reader);

    if (count > reader->rest.size) /* a path has at least one byte */
        reader->ok = false;
    if (!reader->ok)
        return paths;
    paths.paths = arena_alloc(arena, (count + 1) * sizeof(*paths.paths));
    for (; paths.count < count && reader->ok; paths.count++)
        paths.paths[paths.count] = expression_read_path(reader, arena);
    return paths;
}

/* ---- conditions ---------------------------------------------------------------------------- */

struct evaluation {
    struct reader reader;
    const struct item_value *attributes;
};

struct operand {
    bool is_there;
    struct item_value value;
    uint8_t packed[NUMBER_PACKED_BYTES_MAX]; /* a computed number, which `value` then borrows */
};

static bool condition_holds(struct evaluation *evaluation, unsigned depth);

/* What size() gives; false for types that have none. */
static bool size_of(const struct item_value *value, uint64_t *size)
{
    if (value->type == ITEM_S)
        *size = utf8_count(value->bytes);
    else if (value->type == ITEM_B)
        *size = value->bytes.size;
    else if (value->type >= ITEM_M)
        *size = item_count(value);
    else
        return false;
    return true;
}

static uint32_t read_child_count(struct evaluation *evaluation, uint32_t least, uint32_t most)
{
    uint32_t count = varint_read(&evaluation->reader);

    if (count < least || count > most)
        evaluation->reader.ok = false;
    return evaluation->reader.ok ? count : 0;
}

static void read_operand(struct evaluation *evaluation, struct operand *operand, unsigned depth)
{
    enum expression_kind kind = (enum expression_kind)reader_u8(&evaluation->reader);
    uint64_t size;

    operand->is_there = false;
    if (kind == EXPRESSION_PATH) {
        operand->is_there =
            expression_follow(&evaluation->reader, evaluation->attributes, &operand->value);
    } else if (kind == EXPRESSION_VALUE) {
        operand->is_there = item_read_value(&evaluation->reader, &operand->value);
    } else if (kind == EXPRESSION_SIZE && depth < EXPRESSION_DEPTH_MAX) {
        struct number number;

        if (read_child_count(evaluation, 1, 1) == 0)
            return;
        read_operand(evaluation, operand, depth + 1);
        operand->is_there = operand->is_there && size_of(&operand->value, &size);
        if (!operand->is_there)
            return;
        number_from_u64(size, &number);
        operand->value.type = ITEM_N;
        operand->value.bytes = slice_of(operand->packed, number_pack(&number, operand->packed));
    } else {
        evaluation->reader.ok = false;
    }
}

static bool is_ordered(enum item_type type)
{
    return type == ITEM_S || type == ITEM_N || type == ITEM_B;
}

static bool is_equal(const struct operand *a, const struct operand *b)
{
    return a->is_there && b->is_there && item_equal(&a->value, &b->value);
}

static bool compares(enum expression_kind kind, const struct operand *a, const struct operand *b)
{
    int order;

    if (kind == EXPRESSION_EQ)
        return is_equal(a, b);
    if (kind == EXPRESSION_NE)
        return !is_equal(a, b);
    if (!a->is_there || !b->is_there || a->value.type != b->value.type ||
        !is_ordered(a->value.type))
        return false;
    order = item_compare(&a->value, &b->value);
    if (kind == EXPRESSION_LT)
        return order < 0;
    if (kind == EXPRESSION_LE)
        return order <= 0;
    return kind == EXPRESSION_GT ? order > 0 : order >= 0;
}

static bool begins_with(const struct operand *a, const struct operand *b)
{
    return a->is_there && b->is_there && a->value.type == b->value.type &&
           (a->value.type == ITEM_S || a->value.type == ITEM_B) &&
           slice_starts_with(a->value.bytes, b->value.bytes);
}

static bool list_contains(const struct item_value *list, const struct item_value *wanted)
{
    struct item_cursor cursor = item_walk(list);
    struct item_value value;
    struct slice name;

    while (item_next(&cursor, &name, &value))
        if (item_equal(&value, wanted))
            return true;
    return false;
}

static bool contains(const struct operand *a, const struct operand *b)
{
    if (!a->is_there || !b->is_there)
        return false;
    if (a->value.type == ITEM_L)
        return list_contains(&a->value, &b->value);
    if (item_is_set(a->value.type))
        return b->value.type == item_element_type(a->value.type) &&
               item_set_contains(&a->value, b->value.bytes);
    if (a->value.type != b->value.type || (a->value.type != ITEM_S && a->value.type != ITEM_B))
        return false;
    return b->value.bytes.size == 0 || memmem(a->value.bytes.data, a->value.bytes.size,
                                              b->value.bytes.data, b->value.bytes.size) != NULL;
}

static bool has_type(const struct operand *a, const struct operand *name)
{
    return a->is_there && name->is_there && name->value.type == ITEM_S &&
           slice_equal_text(name->value.bytes, item_type_name(a->value.type));
}

static bool two_operands_hold(struct evaluation *evaluation, enum expression_kind kind,
                              unsigned depth)
{
    struct operand a;
    struct operand b;

    if (read_child_count(evaluation, 2, 2) == 0)
        return false;
    read_operand(evaluation, &a, depth);
    read_operand(evaluation, &b, depth);
    if (!evaluation->reader.ok)
        return false;
    if (kind == EXPRESSION_TYPE)
        return has_type(&a, &b);
    if (kind == EXPRESSION_BEGINS_WITH)
        return begins_with(&a, &b);
    if (kind == EXPRESSION_CONTAINS)
        return contains(&a, &b);
    return compares(kind, &a, &b);
}

static bool between_holds(struct evaluation *evaluation, unsigned depth)
{
    struct operand value;
    struct operand low;
    struct operand high;

    if (read_child_count(evaluation, 3, 3) == 0)
        return false;
    read_operand(evaluation, &value, depth);
    read_operand(evaluation, &low, depth);
    read_operand(evaluation, &high, depth);
    return evaluation->reader.ok && compares(EXPRESSION_GE, &value, &low) &&
           compares(EXPRESSION_LE, &value, &high);
}

static bool in_holds(struct evaluation *evaluation, unsigned depth)
{
    uint32_t count = read_child_count(evaluation, 2, UINT32_MAX);
    struct operand value;
    struct operand other;
    bool is_in = false;

    if (count == 0)
        return false;
    read_operand(evaluation, &value, depth);
    for (uint32_t i = 1; i < count && evaluation->reader.ok; i++) {
        read_operand(evaluation, &other, depth);
        is_in = is_in || (evaluation->reader.ok && is_equal(&value, &other));
    }
    return is_in;
}

/* AND of all, or OR: the first that decides, though the others are read too. */
static bool combination_holds(struct evaluation *evaluation, bool decides, unsigned depth)
{
    uint32_t count = read_child_count(evaluation, 1, UINT32_MAX);
    bool is_decided = false;

    for (uint32_t i = 0; i < count && evaluation->reader.ok; i++)
        if (condition_holds(evaluation, depth) == decides)
            is_decided = true;
    return is_decided ? decides : !decides;
}

static bool exists(struct evaluation *evaluation, unsigned depth)
{
    struct operand operand = {0};

    if (read_child_count(evaluation, 1, 1) != 0)
        read_operand(evaluation, &operand, depth);
    return operand.is_there;
}

static bool condition_holds(struct evaluation *evaluation, unsigned depth)
{
    enum expression_kind kind = (enum expression_kind)reader_u8(&evaluation->reader);

    if (depth > EXPRESSION_DEPTH_MAX)
        evaluation->reader.ok = false;
    if (!evaluation->reader.ok)
        return false;
    switch (kind) {
    case EXPRESSION_EQ:
    case EXPRESSION_NE:
    case EXPRESSION_LT:
    case EXPRESSION_LE:
    case EXPRESSION_GT:
    case EXPRESSION_GE:
    case EXPRESSION_TYPE:
    case EXPRESSION_BEGINS_WITH:
    case EXPRESSION_CONTAINS:
        return two_operands_hold(evaluation, kind, depth + 1);
    case EXPRESSION_BETWEEN:
        return between_holds(evaluation, depth + 1);
    case EXPRESSION_IN:
        return in_holds(evaluation, depth + 1);
    case EXPRESSION_AND:
        return combination_holds(evaluation, false, depth + 1);
    case EXPRESSION_OR:
        return combination_holds(evaluation, true, depth + 1);
    case EXPRESSION_NOT:
        return read_child_count(evaluation, 1, 1) != 0 && !condition_holds(evaluation, depth + 1);
    case EXPRESSION_EXISTS:
        return exists(evaluation, depth + 1);
    case EXPRESSION_NOT_EXISTS:
        return !exists(evaluation, depth + 1);
    case EXPRESSION_PATH:
    case EXPRESSION_VALUE:
    case EXPRESSION_SIZE:
    case EXPRESSION_IF_NOT_EXISTS:
    case EXPRESSION_LIST_APPEND:
    case EXPRESSION_PLUS:
    case EXPRESSION_MINUS:
    default:
        evaluation->reader.ok = false;
        return false;
    }
}

enum error expression_holds(struct slice condition, const struct item_value *attributes,
                            bool *holds)
{
    struct evaluation evaluation = {reader_of(condition), attributes};
    bool result = condition_holds(&evaluation, 0);

    if (!evaluation.reader.ok || evaluation.reader.rest.size != 0)
        return ERR_INVALID;
    *holds = result;
    return OK;
}

/* ---- projection ---------------------------------------------------------------------------- */

static void project_value(const struct expression_paths *paths, size_t depth,
                          const struct item_value *value, struct buffer *to);

static bool step_matches(const struct expression_step *step, const struct slice *name,
                         uint32_t index)
{
    if (name != NULL)
        return step->name.data != NULL && slice_equal(step->name, *name);
    return step->name.data == NULL && step->index == index;
}

/* Those of `paths` whose step at `depth` is this entry. The array of `chosen` has room for all. */
static void choose(const struct expression_paths *paths, size_t depth, const struct slice *name,
                   uint32_t index, struct expression_paths *chosen)
{
    chosen->count = 0;
    for (size_t i = 0; i < paths->count; i++)
        if (depth < paths->paths[i].step_count &&
            step_matches(&paths->paths[i].steps[depth], name, index))
            chosen->paths[chosen->count++] = paths->paths[i];
}

/* Does one of the paths lead to something in `value`? */
static bool leads_somewhere(const struct expression_paths *paths, size_t depth,
                            const struct item_value *value)
{
    for (size_t i = 0; i < paths->count; i++) {
        const struct expression_path *path = &paths->paths[i];
        struct item_value at = *value;
        bool is_there = true;

        for (size_t k = depth; k < path->step_count && is_there; k++)
            is_there = path->steps[k].name.data != NULL ? item_find(&at, path->steps[k].name, &at)
                                                        : item_at(&at, path->steps[k].index, &at);
        if (is_there)
            return true;
    }
    return false;
}

/* Writes the chosen entries and returns how many. */
static uint32_t project_entries(const struct expression_paths *paths, size_t depth,
                                const struct item_value *container, struct buffer *to)
{
    struct expression_paths chosen = {check_calloc(paths->count + 1, sizeof(*chosen.paths)), 0};
    struct item_cursor cursor = item_walk(container);
    bool is_map = container->type == ITEM_M;
    struct item_value value;
    struct slice name;
    uint32_t count = 0;

    for (uint32_t index = 0; item_next(&cursor, &name, &value); index++) {
        choose(paths, depth, is_map ? &name : NULL, index, &chosen);
        if (!leads_somewhere(&chosen, depth + 1, &value))
            continue;
        if (is_map)
            item_put_name(to, name);
        project_value(&chosen, depth + 1, &value, to);
        count++;
    }
    free(chosen.paths);
    return count;
}

static void project_value(const struct expression_paths *paths, size_t depth,
                          const struct item_value *value, struct buffer *to)
{
    for (size_t i = 0; i < paths->count; i++) {
        if (paths->paths[i].step_count == depth) { /* it ends here: all of the value */
            item_put_value(to, value);
            return;
        }
    }
    size_t begin = item_begin(to, value->type);

    item_end(to, begin, project_entries(paths, depth, value, to));
}

void expression_project(const struct expression_paths *paths, const struct item_value *attributes,
                        struct buffer *item)
{
    size_t begin = item_begin_whole(item);

    item_end_whole(item, begin, project_entries(paths, 0, attributes, item));
}

const char *expression_type_name(enum item_type type)
{
    static const char *const names[] = {"?",          "STRING",     "NUMBER",    "BINARY",
                                        "BOOLEAN",    "NULL",       "MAP",       "LIST",
                                        "STRING_SET", "NUMBER_SET", "BINARY_SET"};

    return (size_t)type < ARRAY_COUNT(names) ? names[type] : names[0];
}
