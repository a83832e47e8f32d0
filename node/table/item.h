/* Items and attribute values in the form they are stored, sent and compared in.
 *
 * One run of bytes, read in place: a `struct item_value` is a type and a borrowed slice.
 *
 *   item    = version (1), map
 *   map     = u32 count, then per attribute: name, value; sorted by the bytes of the name
 *   value   = type (enum item_type), then by type:
 *     S, B    varint length, bytes                 N     varint length, packed number (number.h)
 *     BOOL    0 or 1                               NULL  nothing
 *     M       u32 length of what follows, map
 *     L       u32 length, u32 count, values
 *     SS, NS, BS   u32 length, u32 count, elements; an element is a varint length and bytes
 *   name    = varint length, bytes
 *
 * Integers are little endian. Names are unique. Sets keep the order they were given in; their
 * equality does not mind. Everything that comes from outside goes through item_check once; the
 * readers below are then safe, and on unchecked bytes they stop early but never read outside. */

#ifndef NODE_TABLE_ITEM_H
#define NODE_TABLE_ITEM_H

#include "node/table/number.h"
#include "proto/base/buffer.h"

#define ITEM_VERSION 1
#define ITEM_BYTES_MAX (400u * 1024) /* counted by item_size */
#define ITEM_DEPTH_MAX 32            /* of attributes inside attributes */
#define ITEM_NAME_BYTES_MAX 65535

enum item_type { /* stored: never renumber */
                 ITEM_S = 1,
                 ITEM_N = 2,
                 ITEM_B = 3,
                 ITEM_BOOL = 4,
                 ITEM_NULL = 5,
                 ITEM_M = 6,
                 ITEM_L = 7,
                 ITEM_SS = 8,
                 ITEM_NS = 9,
                 ITEM_BS = 10
};

struct item_value {
    enum item_type type;
    struct slice
        bytes; /* S, B: the bytes. N: packed. BOOL: one byte. M, L, sets: from the count on */
};

/* "S", "N", ... */
const char *item_type_name(enum item_type type);

/* ---- reading ---- */

/* ERR_VERSION, ERR_INVALID: not exactly one well-formed item. */
enum error item_check(struct slice item);
/* Likewise for one value (with its type byte) that fills `bytes`; it then goes to `value`. */
enum error item_check_value(struct slice bytes, struct item_value *value);

/* The attributes of a checked item, as one M. */
struct item_value item_root(struct slice item);
/* The next value; false at the end or when there is none. */
bool item_read_value(struct reader *reader, struct item_value *value);

static inline bool item_is_set(enum item_type type)
{
    return type == ITEM_SS || type == ITEM_NS || type == ITEM_BS;
}

/* S for SS, and so on. */
enum item_type item_element_type(enum item_type set);

/* Entries of an M, L or set. */
uint32_t item_count(const struct item_value *container);

struct item_cursor {
    struct reader reader;
    uint32_t left;
    enum item_type type; /* of the container */
};

/* Walk an M, L or set. `name` is empty unless it is an M. */
struct item_cursor item_walk(const struct item_value *container);
bool item_next(struct item_cursor *cursor, struct slice *name, struct item_value *value);

/* False when `map` is no M or has no such attribute. */
bool item_find(const struct item_value *map, struct slice name, struct item_value *value);
/* False when `list` is no L or shorter. */
bool item_at(const struct item_value *list, uint32_t index, struct item_value *value);
bool item_set_contains(const struct item_value *set, struct slice element);

bool item_equal(const struct item_value *a, const struct item_value *b);
/* Of two values of the same type S, N or B: as memcmp. */
int item_compare(const struct item_value *a, const struct item_value *b);

/* Bytes as the size limits and capacity units count them. */
size_t item_size(const struct item_value *value);
/* Of a whole item: its names and values. */
size_t item_size_whole(struct slice item);

/* ---- writing: appends to a buffer that is large enough by its limit ---- */

void item_put_value(struct buffer *to, const struct item_value *value);
void item_put_number(struct buffer *to, const struct number *number);
void item_put_bool(struct buffer *to, bool value);

/* An M, L or set: item_begin, then the entries (an M: item_put_name and a value each, sorted by
 * name; an L: values; a set: item_put_element), then item_end with what item_begin gave. */
size_t item_begin(struct buffer *to, enum item_type type);
void item_end(struct buffer *to, size_t begin, uint32_t count);
void item_put_name(struct buffer *to, struct slice name);
void item_put_element(struct buffer *to, struct slice element);

/* A whole item, likewise. */
size_t item_begin_whole(struct buffer *to);
void item_end_whole(struct buffer *to, size_t begin, uint32_t count);

/* Finds two equal elements: gives the position of the later one, or `count`. */
size_t item_find_duplicate(const struct slice *elements, size_t count);

#endif
