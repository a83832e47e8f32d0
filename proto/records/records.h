/* Records: a sorted map of versioned records, held in memory and written through to a kv store.
 *
 * The catalogue of a controller and the view of a node are both one. A record is a text key, a
 * value of bytes and the revision of the change that wrote it; the whole has the revision of its
 * newest change. A change is one kv batch, so a crash leaves it made or not made.
 *
 * In the store: "m" is the revision, "r" KEY a record; keys that begin with "x" are the owner's. */

#ifndef PROTO_RECORDS_RECORDS_H
#define PROTO_RECORDS_RECORDS_H

#include "proto/env/env.h"

#define RECORDS_KEY_BYTES_MAX 512

struct records;

struct record {
    char *key;
    struct slice value;
    uint64_t revision;
};

struct record_change {
    const char *key;
    struct slice value; /* ignored for a deletion */
    uint64_t revision;
    bool is_delete;
};

/* Reads everything. ERR_CORRUPT: the caller removes the folder and starts empty. ERR_IO. */
enum error records_open(struct env *env, const char *folder, struct records **records);
void records_free(struct records *records); /* pins included */

/* 1 to RECORDS_KEY_BYTES_MAX printable ASCII characters, no space. */
bool records_key_is_valid(struct slice key);

uint64_t records_revision(const struct records *records);
size_t records_count(const struct records *records);
size_t records_bytes(const struct records *records); /* of all keys and values */

/* NULL when there is none. A record and its bytes are valid until it is changed and
 * records_sweep was called after that. */
const struct record *records_find(const struct records *records, const char *key);

/* Walking: places 0 .. count-1 are in order of key. */
size_t records_seek(const struct records *records, const char *key); /* first key >= `key` */
const struct record *records_at(const struct records *records,
                                size_t place); /* NULL past the end */
/* The record at *place if its key starts with `prefix`, and moves *place on; else NULL. */
const struct record *records_next(const struct records *records, const char *prefix, size_t *place);

/* Make all changes in one batch, with the owner's own writes ("x" keys). Keys are valid and
 * distinct; deleting what is absent is fine. ERR_IO is final: the process must stop. */
enum error records_write(struct records *records, uint64_t revision,
                         const struct record_change *changes, size_t count,
                         const struct kv_write *extra, size_t extra_count);

/* Frees what changes have replaced. Called by the owner when nobody can hold such bytes. */
void records_sweep(struct records *records);
bool records_needs_sweep(const struct records *records);

struct kv *records_kv(const struct records *records); /* for the owner's own keys */

/* ---- pins: the state of one moment, read in parts while changes go on ---- */

struct records_pin;

struct records_pin *records_pin(struct records *records);
void records_unpin(struct records_pin *pin);
uint64_t records_pin_revision(const struct records_pin *pin);

/* Records after the key in `position` (empty at first; replaced by where to go on) until
 * `bytes_max` are reached, at least one. ERR_CORRUPT, ERR_IO. */
enum error records_pin_read(struct records_pin *pin, struct buffer *position, size_t bytes_max,
                            void *user,
                            void (*on_record)(void *user, struct slice key, struct slice value,
                                              uint64_t revision),
                            bool *is_last);

/* The raw store likewise, the owner's keys included, appended to `chunk` in the form that
 * records_install takes; chunks may be concatenated. */
enum error records_pin_dump(struct records_pin *pin, struct buffer *position, size_t bytes_max,
                            struct buffer *chunk, bool *is_last);

/* Replace everything by a dump, in one batch; `extra` writes win over the dump's. ERR_CORRUPT:
 * malformed, nothing changed. ERR_IO is final. */
enum error records_install(struct records *records, struct slice dump, const struct kv_write *extra,
                           size_t extra_count);

#endif
