#include "node/table/item.h"

#include "node/table/varint.h"
#include "proto/base/check.h"
#include "proto/base/utf8.h"

#define QUADRATIC_MAX 16 /* up to so many elements, comparing each with each is the quickest */

const char *item_type_name(enum item_type type)
{
    static const char *const names[] = {"?", "S", "N",  "B",  "BOOL", "NULL",
                                        "M", "L", "SS", "NS", "BS"};

    return (size_t)type < ARRAY_COUNT(names) ? names[type] : names[0];
}

enum item_type item_element_type(enum item_type set)
{
    if (set == ITEM_SS)
        return ITEM_S;
    return set == ITEM_NS ? ITEM_N : ITEM_B;
}

/* ---- reading ------------------------------------------------------------------------------- */

bool item_read_value(struct reader *reader, struct item_value *value)
{
    uint8_t type = reader_u8(reader);

    value->type = (enum item_type)type;
    value->bytes = slice_of(NULL, 0);
    switch (value->type) {
    case ITEM_S:
    case ITEM_N:
    case ITEM_B:
        value->bytes = varint_read_bytes(reader);
        break;
    case ITEM_BOOL:
        value->bytes = reader_bytes(reader, 1);
        break;
    case ITEM_NULL:
        break;
    case ITEM_M:
    case ITEM_L:
    case ITEM_SS:
    case ITEM_NS:
    case ITEM_BS: {
        uint32_t size = reader_u32(reader);

        value->bytes = reader_bytes(reader, size);
        break;
    }
    default:
        reader->ok = false;
    }
    return reader->ok;
}

struct item_value item_root(struct slice item)
{
    if (item.size == 0)
        return (struct item_value){ITEM_M, item};
    return (struct item_value){ITEM_M, slice_of(item.data + 1, item.size - 1)};
}

uint32_t item_count(const struct item_value *container)
{
    struct reader reader = reader_of(container->bytes);

    return reader_u32(&reader);
}

struct item_cursor item_walk(const struct item_value *container)
{
    struct item_cursor cursor = {.reader = reader_of(container->bytes), .type = container->type};

    cursor.left = reader_u32(&cursor.reader);
    return cursor;
}

bool item_next(struct item_cursor *cursor, struct slice *name, struct item_value *value)
{
    if (cursor->left == 0)
        return false;
    cursor->left--;
    *name = slice_of(NULL, 0);
    if (item_is_set(cursor->type)) {
        value->type = item_element_type(cursor->type);
        value->bytes = varint_read_bytes(&cursor->reader);
        return cursor->reader.ok;
    }
    if (cursor->type == ITEM_M)
        *name = varint_read_bytes(&cursor->reader);
    return item_read_value(&cursor->reader, value);
}

bool item_find(const struct item_value *map, struct slice name, struct item_value *value)
{
    struct item_cursor cursor;
    struct item_value at;
    struct slice at_name;

    if (map->type != ITEM_M)
        return false;
    cursor = item_walk(map);
    while (item_next(&cursor, &at_name, &at)) {
        int order = slice_compare(at_name, name);

        if (order > 0)
            return false;
        if (order == 0) {
            *value = at;
            return true;
        }
    }
    return false;
}

bool item_at(const struct item_value *list, uint32_t index, struct item_value *value)
{
    struct item_cursor cursor;
    struct item_value at;
    struct slice name;

    if (list->type != ITEM_L)
        return false;
    cursor = item_walk(list);
    if (index >= cursor.left)
        return false;
    while (item_next(&cursor, &name, &at)) {
        if (index-- == 0) {
            *value = at;
            return true;
        }
    }
    return false;
}

bool item_set_contains(const struct item_value *set, struct slice element)
{
    struct item_cursor cursor = item_walk(set);
    struct item_value at;
    struct slice name;

    while (item_next(&cursor, &name, &at))
        if (slice_equal(at.bytes, element))
            return true;
    return false;
}

/* ---- checking ------------------------------------------------------------------------------ */

static bool check_value(const struct item_value *value, unsigned depth);

static bool check_number(struct slice packed)
{
    struct number number;

    return number_unpack(packed, &number) == OK;
}

static bool check_scalar(const struct item_value *value)
{
    if (value->type == ITEM_S)
        return utf8_is_valid(value->bytes);
    if (value->type == ITEM_N)
        return check_number(value->bytes);
    if (value->type == ITEM_BOOL)
        return value->bytes.data[0] <= 1;
    return true;
}

/* Every entry is well formed, names go up, and nothing is left behind the last one. */
static bool check_container(const struct item_value *container, unsigned depth)
{
    struct item_cursor cursor = item_walk(container);
    struct slice last_name = {0};
    struct slice name;
    struct item_value value;
    uint32_t total = cursor.left;

    if (!cursor.reader.ok || (total == 0 && item_is_set(container->type)))
        return false;
    for (uint32_t i = 0; i < total; i++) {
        if (!item_next(&cursor, &name, &value) || !check_value(&value, depth))
            return false;
        if (container->type != ITEM_M)
            continue;
        if (name.size > ITEM_NAME_BYTES_MAX || !utf8_is_valid(name))
            return false;
        if (i > 0 && slice_compare(last_name, name) >= 0)
            return false;
        last_name = name;
    }
    return cursor.reader.rest.size == 0;
}

static bool check_value(const struct item_value *value, unsigned depth)
{
    if (value->type < ITEM_M)
        return check_scalar(value);
    if (item_is_set(value->type))
        return check_container(value, depth);
    return depth < ITEM_DEPTH_MAX && check_container(value, depth + 1);
}

enum error item_check(struct slice item)
{
    struct item_value root = item_root(item);

    if (item.size == 0)
        return ERR_INVALID;
    if (item.data[0] != ITEM_VERSION)
        return ERR_VERSION;
    return check_container(&root, 1) ? OK : ERR_INVALID;
}

enum error item_check_value(struct slice bytes, struct item_value *value)
{
    struct reader reader = reader_of(bytes);
    struct item_value read;

    if (!item_read_value(&reader, &read) || reader.rest.size != 0 || !check_value(&read, 1))
        return ERR_INVALID;
    *value = read;
    return OK;
}

/* ---- comparing ----------------------------------------------------------------------------- */

static int compare_slices(const void *a, const void *b)
{
    return slice_compare(*(const struct slice *)a, *(const struct slice *)b);
}

static void set_elements(const struct item_value *set, uint32_t count, struct slice *elements)
{
    struct item_cursor cursor = item_walk(set);
    struct item_value value;
    struct slice name;

    for (uint32_t i = 0; i < count && item_next(&cursor, &name, &value); i++)
        elements[i] = value.bytes;
}

static bool sets_equal_sorted(const struct item_value *a, const struct item_value *b,
                              uint32_t count)
{
    struct slice *elements = check_calloc(2 * (size_t)count, sizeof(*elements));
    bool is_equal = true;

    set_elements(a, count, elements);
    set_elements(b, count, elements + count);
    qsort(elements, count, sizeof(*elements), compare_slices);
    qsort(elements + count, count, sizeof(*elements), compare_slices);
    for (uint32_t i = 0; i < count && is_equal; i++)
        is_equal = slice_equal(elements[i], elements[count + i]);
    free(elements);
    return is_equal;
}

static bool sets_equal(const struct item_value *a, const struct item_value *b)
{
    uint32_t count = item_count(a);
    struct item_cursor cursor = item_walk(a);
    struct item_value value;
    struct slice name;

    if (count != item_count(b) || a->bytes.size != b->bytes.size)
        return false;
    if (count > QUADRATIC_MAX)
        return sets_equal_sorted(a, b, count);
    while (item_next(&cursor, &name, &value))
        if (!item_set_contains(b, value.bytes))
            return false;
    return true;
}

bool item_equal(const struct item_value *a, const struct item_value *b)
{
    struct item_cursor cursor_a;
    struct item_cursor cursor_b;
    struct slice name_a;
    struct slice name_b;
    struct item_value value_a;
    struct item_value value_b;

    if (a->type != b->type || a->bytes.size != b->bytes.size)
        return false;
    if (slice_equal(a->bytes, b->bytes))
        return true;
    if (item_is_set(a->type))
        return sets_equal(a, b);
    if (a->type != ITEM_M && a->type != ITEM_L)
        return false;
    cursor_a = item_walk(a); /* a set somewhere inside may be in another order */
    cursor_b = item_walk(b);
    while (item_next(&cursor_a, &name_a, &value_a))
        if (!item_next(&cursor_b, &name_b, &value_b) || !slice_equal(name_a, name_b) ||
            !item_equal(&value_a, &value_b))
            return false;
    return cursor_b.left == 0;
}

int item_compare(const struct item_value *a, const struct item_value *b)
{
    return slice_compare(a->bytes, b->bytes); /* packed numbers sort as bytes */
}

size_t item_find_duplicate(const struct slice *elements, size_t count)
{
    struct slice *sorted;
    size_t found = count;

    if (count <= QUADRATIC_MAX) {
        for (size_t i = 1; i < count; i++)
            for (size_t j = 0; j < i; j++)
                if (slice_equal(elements[i], elements[j]))
                    return i;
        return count;
    }
    sorted = check_calloc(count, sizeof(*sorted));
    memcpy(sorted, elements, count * sizeof(*sorted));
    qsort(sorted, count, sizeof(*sorted), compare_slices);
    for (size_t i = 1; i < count && found == count; i++)
        if (slice_equal(sorted[i - 1], sorted[i]))
            found = i;
    if (found < count) { /* where it is among the unsorted ones */
        struct slice twice = sorted[found];

        for (size_t i = 0; i < count; i++)
            if (slice_equal(elements[i], twice))
                found = i;
    }
    free(sorted);
    return found;
}

/* ---- size ---------------------------------------------------------------------------------- */

size_t item_size(const struct item_value *value)
{
    struct item_cursor cursor;
    struct item_value entry;
    struct slice name;
    size_t size;

    switch (value->type) {
    case ITEM_S:
    case ITEM_B:
        return value->bytes.size;
    case ITEM_N:
        return number_item_size(value->bytes);
    case ITEM_BOOL:
    case ITEM_NULL:
        return 1;
    case ITEM_M:
    case ITEM_L:
        size = 3 + item_count(value);
        break;
    case ITEM_SS:
    case ITEM_NS:
    case ITEM_BS:
    default:
        size = 0;
    }
    cursor = item_walk(value);
    while (item_next(&cursor, &name, &entry))
        size += name.size + item_size(&entry);
    return size;
}

size_t item_size_whole(struct slice item)
{
    struct item_value root = item_root(item);
    struct item_cursor cursor = item_walk(&root);
    struct item_value value;
    struct slice name;
    size_t size = 0;

    while (item_next(&cursor, &name, &value))
        size += name.size + item_size(&value);
    return size;
}

/* ---- writing ------------------------------------------------------------------------------- */

void item_put_value(struct buffer *to, const struct item_value *value)
{
    buffer_put_u8(to, (uint8_t)value->type);
    if (value->type < ITEM_BOOL)
        varint_put(to, (uint32_t)value->bytes.size);
    else if (value->type > ITEM_NULL)
        buffer_put_u32(to, (uint32_t)value->bytes.size);
    buffer_put_slice(to, value->bytes);
}

void item_put_number(struct buffer *to, const struct number *number)
{
    uint8_t packed[NUMBER_PACKED_BYTES_MAX];
    struct item_value value = {ITEM_N, slice_of(packed, number_pack(number, packed))};

    item_put_value(to, &value);
}

void item_put_bool(struct buffer *to, bool value)
{
    buffer_put_u8(to, ITEM_BOOL);
    buffer_put_u8(to, value);
}

/* Both numbers are filled in by item_end. */
size_t item_begin(struct buffer *to, enum item_type type)
{
    buffer_put_u8(to, (uint8_t)type);
    buffer_put_u64(to, 0);
    return to->size;
}

static void set_u32(uint8_t *at, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

void item_end(struct buffer *to, size_t begin, uint32_t count)
{
    CHECK(begin >= 8 && begin <= to->size);
    set_u32(to->data + begin - 8, (uint32_t)(to->size - begin + 4));
    set_u32(to->data + begin - 4, count);
}

void item_put_name(struct buffer *to, struct slice name)
{
    varint_put_bytes(to, name);
}

void item_put_element(struct buffer *to, struct slice element)
{
    varint_put_bytes(to, element);
}

size_t item_begin_whole(struct buffer *to)
{
    buffer_put_u8(to, ITEM_VERSION);
    buffer_put_u32(to, 0);
    return to->size;
}

void item_end_whole(struct buffer *to, size_t begin, uint32_t count)
{
    CHECK(begin >= 4 && begin <= to->size);
    set_u32(to->data + begin - 4, count);
}
