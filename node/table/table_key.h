/* Keys: which attributes make up the key of a table, and the key of a row in its shard.
 *
 *   row key = 01, table id (16 bytes), hash part, sort part (when the table has a sort key)
 *
 * The hash part decides the shard. Both parts mark their own end and sort as their values do:
 *   S, B   the bytes, each 00 as 00 FF, then 00 01
 *   N      packed (number.h)
 * so that all rows of one hash key stand together, in the order of their sort keys.
 *
 *   index row key = 02, table id, number of the index, hash part, sort part of the index, sort part
 *
 * An index row's value is the key of the row it stands for, which is in the same shard.
 *
 *   row key of a global index = 08, table id, number of the index (4 bytes, big endian), hash part
 * of the index, its sort part if it has one, hash part and sort part of the row it stands for
 *
 * Number and hash part of the index decide its shard. The value is what the index has of the item.
 */

#ifndef NODE_TABLE_TABLE_KEY_H
#define NODE_TABLE_TABLE_KEY_H

#include "node/table/item.h"

#define TABLE_ID_BYTES 16
#define TABLE_HASH_BYTES_MAX 2048
#define TABLE_SORT_BYTES_MAX 1024
#define TABLE_KEY_PARTS_MAX 2
#define TABLE_INDEXES_MAX 5 /* local ones */
#define TABLE_GLOBAL_INDEXES_MAX 20
#define TABLE_KEY_END_BYTES 2 /* what marks the end of an S or B */
/* Every byte may need two, and each part its end. An index row's key is longer by one part. */
#define TABLE_KEY_BYTES_MAX                                                                        \
    (1 + TABLE_ID_BYTES + 2 * (TABLE_HASH_BYTES_MAX + TABLE_SORT_BYTES_MAX) + 4)

struct table_key_part {
    struct slice name;   /* of the attribute; borrowed */
    enum item_type type; /* S, N or B */
};

struct table_schema {
    struct table_key_part parts[TABLE_KEY_PARTS_MAX]; /* the hash key, then the sort key */
    size_t part_count;
};

enum table_key_fault {
    TABLE_KEY_OK,
    TABLE_KEY_MISSING,  /* the attribute is not there */
    TABLE_KEY_TYPE,     /* another type than the schema's */
    TABLE_KEY_EMPTY,    /* an S or B of no bytes */
    TABLE_KEY_TOO_LARGE /* more bytes than a key may have */
};

/* Checks the key attributes of an M. `part` is the one at fault, or else the part count. */
enum table_key_fault table_key_check(const struct table_schema *schema,
                                     const struct item_value *attributes, size_t *part);

/* Appends one part. The value is a checked S, N or B. */
void table_key_put_part(struct buffer *to, const struct item_value *value);

/* Where the rows of a table begin. */
void table_key_put_table(struct buffer *to, const uint8_t table_id[TABLE_ID_BYTES]);
/* Where the rows of one of its local indexes begin, or those of all (`number` TABLE_INDEXES_MAX).
 */
void table_key_put_index(struct buffer *to, const uint8_t table_id[TABLE_ID_BYTES], size_t number);

/* The key of the index row for a row with this key, whose hash part has `hash_bytes`, when the
 * attribute the index sorts by has that value. */
void table_key_put_index_row(struct buffer *to, struct slice row_key, size_t hash_bytes,
                             size_t number, const struct item_value *value);

/* Where the rows of one of its global indexes begin, or of all (UINT32_MAX). */
void table_key_put_global(struct buffer *to, const uint8_t table_id[TABLE_ID_BYTES],
                          uint32_t number);

/* The key of its row for a row with this key, whose `attributes` have those of the index's schema.
 * `partition` is lent as `hash_part` below: what decides the shard. */
void table_key_put_global_row(struct buffer *to, struct slice row_key, uint32_t number,
                              const struct table_schema *index, const struct item_value *attributes,
                              struct slice *partition);

/* Of the row key of a global index: its table's id, and its number. False: it is none. */
bool table_key_read_global(struct slice key, struct slice *table_id, uint32_t *number);

/* The whole row key of an M that passed table_key_check. `hash_part` is lent: it lies in `to`,
 * until its next change. */
void table_key_put_row(struct buffer *to, const uint8_t table_id[TABLE_ID_BYTES],
                       const struct table_schema *schema, const struct item_value *attributes,
                       struct slice *hash_part);

/* The smallest key above all keys that start with `prefix`: changes it in place. Row keys never
 * consist of FF only. */
void table_key_after_prefix(struct buffer *prefix);

#endif
