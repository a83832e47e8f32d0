#include "node/table/item_update.h"

#include "node/table/varint.h"
#include "proto/base/check.h"

/* ---- a document that can be changed --------------------------------------------------------
 *
 * A node stands for a value. It borrows the stored bytes until something inside it changes; only
 * then are its entries laid out. */

struct node {
    struct item_value value;
    bool is_open; /* its entries stand for it, not its bytes */
    struct entry *entries;
    size_t count;
    size_t capacity;
};

struct entry {
    struct slice name; /* in an M: sorted */
    uint32_t index;    /* in an L: as it was before the update, so sorted too */
    bool is_removed;
    struct node *node;
};

struct update_run {
    struct arena arena;
    struct reader reader;
    struct item_value before; /* the item the operands see */
    struct node root;
};

static void reserve_entries(struct arena *arena, struct node *node, size_t wanted)
{
    struct entry *old = node->entries;

    if (wanted <= node->capacity)
        return;
    node->capacity = wanted * 2;
    node->entries = arena_alloc(arena, node->capacity * sizeof(*node->entries));
    if (old != NULL)
        memcpy(node->entries, old, node->count * sizeof(*old));
}

static void open_node(struct arena *arena, struct node *node)
{
    struct item_cursor cursor;
    struct item_value value;
    struct slice name;

    if (node->is_open)
        return;
    node->is_open = true;
    reserve_entries(arena, node, (size_t)item_count(&node->value) + 1);
    cursor = item_walk(&node->value);
    for (uint32_t i = 0; item_next(&cursor, &name, &value); i++) {
        struct node *child = arena_alloc(arena, sizeof(*child));

        child->value = value;
        node->entries[node->count++] = (struct entry){.name = name, .index = i, .node = child};
    }
}

static bool step_fits(const struct node *node, const struct expression_step *step)
{
    return node->value.type == (step->name.data != NULL ? ITEM_M : ITEM_L);
}

/* Where the entry is, or where it would have to be put. `node` is open. */
static size_t find_place(const struct node *node, const struct expression_step *step, bool *found)
{
    size_t at = 0;
    int order = 1;

    for (; at < node->count; at++) {
        const struct entry *entry = &node->entries[at];

        if (step->name.data != NULL)
            order = slice_compare(entry->name, step->name);
        else
            order = entry->index < step->index ? -1 : entry->index > step->index;
        if (order >= 0)
            break;
    }
    *found = at < node->count && order == 0;
    return at;
}

/* The node that holds the last step of a path; NULL when there is none of the right type. */
static struct node *find_holder(struct update_run *run, const struct expression_path *path)
{
    struct node *node = &run->root;

    for (size_t i = 0; i < path->step_count; i++) {
        bool found;
        size_t at;

        if (!step_fits(node, &path->steps[i]))
            return NULL;
        open_node(&run->arena, node);
        if (i + 1 == path->step_count)
            return node;
        at = find_place(node, &path->steps[i], &found);
        if (!found || node->entries[at].is_removed)
            return NULL;
        node = node->entries[at].node;
    }
    return NULL;
}

static void set_entry(struct update_run *run, struct node *holder,
                      const struct expression_step *step, const struct item_value *value)
{
    struct node *node = arena_alloc(&run->arena, sizeof(*node));
    bool found;
    size_t at = find_place(holder, step, &found);

    node->value = *value;
    if (!found) {
        reserve_entries(&run->arena, holder, holder->count + 1);
        memmove(holder->entries + at + 1, holder->entries + at,
                (holder->count - at) * sizeof(*holder->entries));
        holder->count++;
    }
    holder->entries[at] = (struct entry){.name = step->name, .index = step->index, .node = node};
}

static void remove_entry(struct node *holder, const struct expression_step *step)
{
    bool found;
    size_t at = find_place(holder, step, &found);

    if (found)
        holder->entries[at].is_removed = true;
}

/* ---- writing the document ------------------------------------------------------------------ */

static uint32_t write_entries(const struct node *node, struct buffer *to);

static void write_node(const struct node *node, struct buffer *to)
{
    size_t begin;

    if (!node->is_open) {
        item_put_value(to, &node->value);
        return;
    }
    begin = item_begin(to, node->value.type);
    item_end(to, begin, write_entries(node, to));
}

static uint32_t write_entries(const struct node *node, struct buffer *to)
{
    uint32_t count = 0;

    for (size_t i = 0; i < node->count; i++) {
        const struct entry *entry = &node->entries[i];

        if (entry->is_removed)
            continue;
        if (node->value.type == ITEM_M)
            item_put_name(to, entry->name);
        write_node(entry->node, to);
        count++;
    }
    return count;
}

/* ---- operands: each reads all of its bytes, also when it fails ------------------------------- */

static enum item_update_fault evaluate(struct update_run *run, struct item_value *value,
                                       unsigned depth);

static enum item_update_fault number_fault_of(enum number_fault fault)
{
    switch (fault) {
    case NUMBER_OK:
        return ITEM_UPDATE_OK;
    case NUMBER_TOO_PRECISE:
        return ITEM_UPDATE_TOO_PRECISE;
    case NUMBER_OVERFLOW:
        return ITEM_UPDATE_OVERFLOW;
    case NUMBER_UNDERFLOW:
        return ITEM_UPDATE_UNDERFLOW;
    case NUMBER_MALFORMED:
        break;
    }
    return ITEM_UPDATE_MALFORMED;
}

static enum item_update_fault sum_of(struct arena *arena, const struct item_value *a,
                                     const struct item_value *b, bool is_minus,
                                     struct item_value *sum)
{
    uint8_t packed[NUMBER_PACKED_BYTES_MAX];
    struct number left;
    struct number right;
    enum number_fault fault;

    if (a->type != ITEM_N || b->type != ITEM_N)
        return ITEM_UPDATE_WRONG_TYPE;
    if (number_unpack(a->bytes, &left) != OK || number_unpack(b->bytes, &right) != OK)
        return ITEM_UPDATE_MALFORMED;
    fault = is_minus ? number_subtract(&left, &right, &left) : number_add(&left, &right, &left);
    if (fault != NUMBER_OK)
        return number_fault_of(fault);
    sum->type = ITEM_N;
    sum->bytes = arena_copy(arena, slice_of(packed, number_pack(&left, packed)));
    return ITEM_UPDATE_OK;
}

/* The content of `to`, whose first value is a container, as a value in the arena. */
static struct item_value keep_value(struct arena *arena, struct buffer *to)
{
    struct slice copy = arena_copy(arena, buffer_slice(to));
    struct reader reader = reader_of(copy);
    struct item_value value;
    bool is_read = item_read_value(&reader, &value);

    CHECK(is_read);
    buffer_close(to);
    return value;
}

static uint32_t append_entries(struct buffer *to, const struct item_value *from)
{
    struct item_cursor cursor = item_walk(from);
    struct item_value value;
    struct slice name;
    uint32_t count = 0;

    while (item_next(&cursor, &name, &value)) {
        item_put_value(to, &value);
        count++;
    }
    return count;
}

static enum item_update_fault joined(struct arena *arena, const struct item_value *a,
                                     const struct item_value *b, struct item_value *list)
{
    struct buffer to = BUFFER_INIT(BUFFER_UNLIMITED);
    uint32_t count;
    size_t begin;

    if (a->type != ITEM_L || b->type != ITEM_L)
        return ITEM_UPDATE_WRONG_TYPE;
    begin = item_begin(&to, ITEM_L);
    count = append_entries(&to, a);
    count += append_entries(&to, b);
    item_end(&to, begin, count);
    *list = keep_value(arena, &to);
    return ITEM_UPDATE_OK;
}

static enum item_update_fault evaluate_pair(struct update_run *run, enum expression_kind kind,
                                            struct item_value *value, unsigned depth)
{
    struct item_value a = {0};
    struct item_value b = {0};
    enum item_update_fault fault_a;
    enum item_update_fault fault_b;

    if (varint_read(&run->reader) != 2 || depth > EXPRESSION_DEPTH_MAX)
        return ITEM_UPDATE_MALFORMED;
    fault_a = evaluate(run, &a, depth);
    fault_b = evaluate(run, &b, depth);
    if (fault_b == ITEM_UPDATE_MALFORMED)
        return fault_b;
    if (kind == EXPRESSION_IF_NOT_EXISTS) {
        *value = fault_a == ITEM_UPDATE_OK ? a : b;
        return fault_a == ITEM_UPDATE_NO_ATTRIBUTE ? fault_b : fault_a;
    }
    if (fault_a != ITEM_UPDATE_OK || fault_b != ITEM_UPDATE_OK)
        return fault_a != ITEM_UPDATE_OK ? fault_a : fault_b;
    if (kind == EXPRESSION_LIST_APPEND)
        return joined(&run->arena, &a, &b, value);
    return sum_of(&run->arena, &a, &b, kind == EXPRESSION_MINUS, value);
}

static enum item_update_fault evaluate(struct update_run *run, struct item_value *value,
                                       unsigned depth)
{
    enum expression_kind kind = (enum expression_kind)reader_u8(&run->reader);

    if (kind == EXPRESSION_PATH) {
        if (expression_follow(&run->reader, &run->before, value))
            return ITEM_UPDATE_OK;
        return run->reader.ok ? ITEM_UPDATE_NO_ATTRIBUTE : ITEM_UPDATE_MALFORMED;
    }
    if (kind == EXPRESSION_VALUE)
        return item_read_value(&run->reader, value) ? ITEM_UPDATE_OK : ITEM_UPDATE_MALFORMED;
    if (kind >= EXPRESSION_IF_NOT_EXISTS && kind <= EXPRESSION_MINUS)
        return evaluate_pair(run, kind, value, depth + 1);
    return ITEM_UPDATE_MALFORMED;
}

/* ---- actions ------------------------------------------------------------------------------- */

static int compare_slices(const void *a, const void *b)
{
    return slice_compare(*(const struct slice *)a, *(const struct slice *)b);
}

/* The elements of a set, sorted, in the arena. */
static struct slice *sorted_elements(struct arena *arena, const struct item_value *set,
                                     size_t *count)
{
    struct slice *elements = arena_alloc(arena, (item_count(set) + 1) * sizeof(*elements));
    struct item_cursor cursor = item_walk(set);
    struct item_value value;
    struct slice name;

    *count = 0;
    while (item_next(&cursor, &name, &value))
        elements[(*count)++] = value.bytes;
    qsort(elements, *count, sizeof(*elements), compare_slices);
    return elements;
}

/* Appends the elements of `set` that `other` has not; returns how many. */
static uint32_t append_others(struct arena *arena, struct buffer *to, const struct item_value *set,
                              const struct item_value *other)
{
    size_t other_count;
    struct slice *others = sorted_elements(arena, other, &other_count);
    struct item_cursor cursor = item_walk(set);
    struct item_value value;
    struct slice name;
    uint32_t count = 0;

    while (item_next(&cursor, &name, &value)) {
        if (bsearch(&value.bytes, others, other_count, sizeof(*others), compare_slices) != NULL)
            continue;
        item_put_element(to, value.bytes);
        count++;
    }
    return count;
}

/* `old` with the elements of `change` added, or without them. Returns how many are left. */
static uint32_t change_set(struct arena *arena, const struct item_value *old,
                           const struct item_value *change, bool is_add, struct item_value *set)
{
    struct buffer to = BUFFER_INIT(BUFFER_UNLIMITED);
    struct item_value nothing = {old->type, {NULL, 0}};
    size_t begin = item_begin(&to, old->type);
    uint32_t count = append_others(arena, &to, old, is_add ? &nothing : change);

    if (is_add)
        count += append_others(arena, &to, change, old);
    item_end(&to, begin, count);
    *set = keep_value(arena, &to);
    return count;
}

/* ADD and DELETE: what the attribute becomes. `remains` false: it goes. */
static enum item_update_fault amended(struct update_run *run, enum item_update_kind kind,
                                      const struct item_value *old,
                                      const struct item_value *operand, struct item_value *value,
                                      bool *remains)
{
    bool is_add = kind == ITEM_UPDATE_ADD;

    *remains = true;
    if (is_add && operand->type == ITEM_N)
        return sum_of(&run->arena, old, operand, false, value);
    if (!item_is_set(operand->type) || old->type != operand->type)
        return ITEM_UPDATE_WRONG_TYPE;
    *remains = change_set(&run->arena, old, operand, is_add, value) > 0;
    return ITEM_UPDATE_OK;
}

static bool lookup(const struct item_value *root, const struct expression_path *path,
                   struct item_value *value)
{
    struct item_value at = *root;

    for (size_t i = 0; i < path->step_count; i++) {
        const struct expression_step *step = &path->steps[i];

        if (step->name.data != NULL ? !item_find(&at, step->name, &at)
                                    : !item_at(&at, step->index, &at))
            return false;
    }
    *value = at;
    return true;
}

static enum item_update_fault run_action(struct update_run *run)
{
    enum item_update_kind kind = (enum item_update_kind)reader_u8(&run->reader);
    struct expression_path path = expression_read_path(&run->reader, &run->arena);
    enum item_update_fault fault = ITEM_UPDATE_OK;
    struct item_value value = {0};
    struct item_value old;
    struct node *holder;
    bool remains = kind != ITEM_UPDATE_REMOVE;

    if (!run->reader.ok || kind < ITEM_UPDATE_SET || kind > ITEM_UPDATE_DELETE)
        return ITEM_UPDATE_MALFORMED;
    if (kind != ITEM_UPDATE_REMOVE)
        fault = evaluate(run, &value, 0);
    if (fault != ITEM_UPDATE_OK)
        return fault;
    if (kind == ITEM_UPDATE_ADD || kind == ITEM_UPDATE_DELETE) {
        struct item_value operand = value;

        if (lookup(&run->before, &path, &old))
            fault = amended(run, kind, &old, &operand, &value, &remains);
        else
            remains = kind == ITEM_UPDATE_ADD;
        if (fault != ITEM_UPDATE_OK)
            return fault;
    }
    holder = find_holder(run, &path);
    if (holder == NULL)
        return ITEM_UPDATE_NO_PATH;
    if (remains)
        set_entry(run, holder, &path.steps[path.step_count - 1], &value);
    else
        remove_entry(holder, &path.steps[path.step_count - 1]);
    return ITEM_UPDATE_OK;
}

static enum item_update_fault run_actions(struct update_run *run)
{
    uint32_t count = varint_read(&run->reader);

    for (uint32_t i = 0; i < count && run->reader.ok; i++) {
        enum item_update_fault fault = run_action(run);

        if (fault != ITEM_UPDATE_OK)
            return fault;
    }
    if (!run->reader.ok || run->reader.rest.size != 0)
        return ITEM_UPDATE_MALFORMED;
    return ITEM_UPDATE_OK;
}

enum item_update_fault item_update_apply(struct slice update, struct slice item,
                                         struct buffer *changed)
{
    struct update_run run = {.reader = reader_of(update), .before = item_root(item)};
    size_t old_size = changed->size;
    enum item_update_fault fault;

    run.root.value = run.before;
    fault = run_actions(&run);
    if (fault == ITEM_UPDATE_OK) {
        size_t begin;
        struct slice result;

        open_node(&run.arena, &run.root);
        begin = item_begin_whole(changed);
        item_end_whole(changed, begin, write_entries(&run.root, changed));
        result = slice_of(changed->data + old_size, changed->size - old_size);
        if (item_check(result) != OK) /* its parts were well formed, so it can only be too deep */
            fault = ITEM_UPDATE_TOO_DEEP;
        else if (item_size_whole(result) > ITEM_BYTES_MAX)
            fault = ITEM_UPDATE_TOO_LARGE;
        if (fault != ITEM_UPDATE_OK)
            changed->size = old_size;
    }
    arena_close(&run.arena);
    return fault;
}

/* ---- encoding ------------------------------------------------------------------------------ */

void item_update_put(struct buffer *to, const struct item_update *update)
{
    varint_put(to, (uint32_t)update->action_count);
    for (size_t i = 0; i < update->action_count; i++) {
        const struct item_update_action *action = &update->actions[i];

        buffer_put_u8(to, (uint8_t)action->kind);
        expression_put_path(to, &action->path);
        if (action->kind != ITEM_UPDATE_REMOVE)
            expression_put(to, action->operand);
    }
}

/* Skips an operand of an update. */
static void skip_operand(struct reader *reader, struct arena *arena, unsigned depth)
{
    enum expression_kind kind = (enum expression_kind)reader_u8(reader);
    struct item_value value;

    if (kind == EXPRESSION_PATH) {
        (void)expression_read_path(reader, arena);
    } else if (kind == EXPRESSION_VALUE) {
        (void)item_read_value(reader, &value);
    } else {
        uint32_t count = varint_read(reader);

        if (count != 2 || depth > EXPRESSION_DEPTH_MAX)
            reader->ok = false;
        for (uint32_t i = 0; i < count && reader->ok; i++)
            skip_operand(reader, arena, depth + 1);
    }
}

struct expression_paths item_update_paths(struct reader *reader, struct arena *arena)
{
    struct expression_paths paths = {0};
    uint32_t count = varint_read(reader);

    if (count > reader->rest.size)
        reader->ok = false;
    if (!reader->ok)
        return paths;
    paths.paths = arena_alloc(arena, (count + 1) * sizeof(*paths.paths));
    for (; paths.count < count && reader->ok; paths.count++) {
        enum item_update_kind kind = (enum item_update_kind)reader_u8(reader);

        paths.paths[paths.count] = expression_read_path(reader, arena);
        if (kind != ITEM_UPDATE_REMOVE)
            skip_operand(reader, arena, 0);
    }
    return paths;
}
