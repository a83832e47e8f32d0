/* Bytes: `struct slice` borrows them, `struct buffer` owns them.
 *
 * A slice is valid until the call it was passed to returns, unless the header says longer.
 * A buffer is born with a limit; an append past it fails with ERR_TOO_LARGE and changes nothing. */

#ifndef PROTO_BASE_BUFFER_H
#define PROTO_BASE_BUFFER_H

#include "proto/base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct slice {
    const uint8_t *data;
    size_t size; /* bytes */
};

struct buffer {
    uint8_t *data;
    size_t size;     /* bytes used */
    size_t capacity; /* bytes allocated */
    size_t limit;    /* bytes it may ever hold */
};

#define SLICE_LITERAL(text) ((struct slice){(const uint8_t *)(text), sizeof(text) - 1})

static inline struct slice slice_of(const void *data, size_t size)
{
    return (struct slice){data, size};
}

static inline struct slice slice_text(const char *text)
{
    return (struct slice){(const uint8_t *)text, text != NULL ? strlen(text) : 0};
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static inline bool slice_equal_text(struct slice a, const char *text)
{
    return slice_equal(a, slice_text(text));
}

static inline bool slice_starts_with(struct slice a, struct slice prefix)
{
    return a.size >= prefix.size && slice_equal(slice_of(a.data, prefix.size), prefix);
}

/* Order of memcmp; a prefix comes before what it is a prefix of. */
int slice_compare(struct slice a, struct slice b);

/* A NUL-terminated copy on the heap; the caller frees it. */
char *slice_strdup(struct slice a);

#define BUFFER_INIT(bytes_max) ((struct buffer){NULL, 0, 0, (bytes_max)})
#define BUFFER_UNLIMITED SIZE_MAX

static inline void buffer_init(struct buffer *buffer, size_t limit)
{
    *buffer = BUFFER_INIT(limit);
}

/* Frees the bytes; the buffer is empty and may be used again, with the same limit. */
void buffer_close(struct buffer *buffer);

/* Make room for `bytes` more. ERR_TOO_LARGE past the limit. */
enum error buffer_reserve(struct buffer *buffer, size_t bytes);

enum error buffer_append(struct buffer *buffer, const void *data, size_t size);
enum error buffer_append_slice(struct buffer *buffer, struct slice bytes);
enum error buffer_append_text(struct buffer *buffer, const char *text);
enum error buffer_append_u8(struct buffer *buffer, uint8_t value);
/* Little endian. */
enum error buffer_append_u32(struct buffer *buffer, uint32_t value);
enum error buffer_append_u64(struct buffer *buffer, uint64_t value);
enum error buffer_printf(struct buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* For buffers whose content our own code bounds: append, and CHECK that it fitted. */
void buffer_put(struct buffer *buffer, const void *data, size_t size);
void buffer_put_slice(struct buffer *buffer, struct slice bytes);
void buffer_put_text(struct buffer *buffer, const char *text);
void buffer_put_u8(struct buffer *buffer, uint8_t value);
void buffer_put_u32(struct buffer *buffer, uint32_t value);
void buffer_put_u64(struct buffer *buffer, uint64_t value);
void buffer_put_u64_big(struct buffer *buffer, uint64_t value); /* big endian: sorts as bytes */
void buffer_putf(struct buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Drop the first `bytes` bytes. */
void buffer_consume(struct buffer *buffer, size_t bytes);

static inline void buffer_clear(struct buffer *buffer)
{
    buffer->size = 0;
}

static inline struct slice buffer_slice(const struct buffer *buffer)
{
    return (struct slice){buffer->data, buffer->size};
}

/* Moves the bytes out: `from` is empty afterwards, with its limit kept. */
struct buffer buffer_take(struct buffer *from);

/* The content with a NUL behind it (not counted in size), valid until the next change. */
const char *buffer_text(struct buffer *buffer);

/* A cursor that reads what the buffer_put_* functions wrote. After the first short read `ok` is
 * false for good and all reads give zero or an empty slice. */
struct reader {
    struct slice rest;
    bool ok;
};

static inline struct reader reader_of(struct slice bytes)
{
    return (struct reader){bytes, true};
}

uint8_t reader_u8(struct reader *reader);
uint32_t reader_u32(struct reader *reader);
uint64_t reader_u64(struct reader *reader);
uint64_t reader_u64_big(struct reader *reader);
struct slice reader_bytes(struct reader *reader, size_t size);

#define AUTO(type) __attribute__((cleanup(type##_close))) struct type

#endif
