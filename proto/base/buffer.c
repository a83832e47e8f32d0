#include "proto/base/buffer.h"

#include "proto/base/check.h"

#include <stdarg.h>
#include <stdio.h>

#define CAPACITY_MIN 64

int slice_compare(struct slice a, struct slice b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common > 0 ? memcmp(a.data, b.data, common) : 0;

    if (order != 0)
        return order;
    return a.size < b.size ? -1 : a.size > b.size;
}

char *slice_strdup(struct slice a)
{
    return check_strndup((const char *)a.data, a.size);
}

void buffer_close(struct buffer *buffer)
{
    free(buffer->data);
    *buffer = BUFFER_INIT(buffer->limit);
}

enum error buffer_reserve(struct buffer *buffer, size_t bytes)
{
    if (bytes > buffer->limit || buffer->size > buffer->limit - bytes)
        return ERR_TOO_LARGE;
    size_t wanted = buffer->size + bytes;

    if (wanted <= buffer->capacity)
        return OK;
    size_t capacity = buffer->capacity < CAPACITY_MIN ? CAPACITY_MIN : buffer->capacity * 2;

    if (capacity < wanted)
        capacity = wanted;
    buffer->data = check_realloc(buffer->data, capacity);
    buffer->capacity = capacity;
    return OK;
}

enum error buffer_append(struct buffer *buffer, const void *data, size_t size)
{
    enum error rc = buffer_reserve(buffer, size);

    if (rc == OK && size > 0) {
        memcpy(buffer->data + buffer->size, data, size);
        buffer->size += size;
    }
    return rc;
}

enum error buffer_append_slice(struct buffer *buffer, struct slice bytes)
{
    return buffer_append(buffer, bytes.data, bytes.size);
}

enum error buffer_append_text(struct buffer *buffer, const char *text)
{
    return buffer_append(buffer, text, strlen(text));
}

enum error buffer_append_u8(struct buffer *buffer, uint8_t value)
{
    return buffer_append(buffer, &value, 1);
}

static void store_little(uint8_t *to, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        to[i] = (uint8_t)(value >> (8 * i));
}

enum error buffer_append_u32(struct buffer *buffer, uint32_t value)
{
    uint8_t bytes[4];

    store_little(bytes, value, 4);
    return buffer_append(buffer, bytes, sizeof(bytes));
}

enum error buffer_append_u64(struct buffer *buffer, uint64_t value)
{
    uint8_t bytes[8];

    store_little(bytes, value, 8);
    return buffer_append(buffer, bytes, sizeof(bytes));
}

static enum error __attribute__((format(printf, 2, 0)))
append_format(struct buffer *buffer, const char *format, va_list arguments)
{
    va_list again;

    va_copy(again, arguments);
    int size = vsnprintf(NULL, 0, format, arguments);
    enum error rc = buffer_reserve(buffer, (size_t)size + 1);

    if (rc == OK) {
        (void)vsnprintf((char *)buffer->data + buffer->size, (size_t)size + 1, format, again);
        buffer->size += (size_t)size;
    }
    va_end(again);
    return rc;
}

enum error buffer_printf(struct buffer *buffer, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    enum error rc = append_format(buffer, format, arguments);

    va_end(arguments);
    return rc;
}

void buffer_put(struct buffer *buffer, const void *data, size_t size)
{
    CHECK(buffer_append(buffer, data, size) == OK);
}

void buffer_put_slice(struct buffer *buffer, struct slice bytes)
{
    buffer_put(buffer, bytes.data, bytes.size);
}

void buffer_put_text(struct buffer *buffer, const char *text)
{
    buffer_put(buffer, text, strlen(text));
}

void buffer_put_u8(struct buffer *buffer, uint8_t value)
{
    buffer_put(buffer, &value, 1);
}

void buffer_put_u32(struct buffer *buffer, uint32_t value)
{
    CHECK(buffer_append_u32(buffer, value) == OK);
}

void buffer_put_u64(struct buffer *buffer, uint64_t value)
{
    CHECK(buffer_append_u64(buffer, value) == OK);
}

void buffer_put_u64_big(struct buffer *buffer, uint64_t value)
{
    uint64_t big = __builtin_bswap64(value);

    buffer_put(buffer, &big, sizeof(big));
}

void buffer_putf(struct buffer *buffer, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    CHECK(append_format(buffer, format, arguments) == OK);
    va_end(arguments);
}

void buffer_consume(struct buffer *buffer, size_t bytes)
{
    CHECK(bytes <= buffer->size);
    buffer->size -= bytes;
    if (buffer->size > 0)
        memmove(buffer->data, buffer->data + bytes, buffer->size);
}

struct buffer buffer_take(struct buffer *from)
{
    struct buffer taken = *from;

    *from = BUFFER_INIT(taken.limit);
    return taken;
}

const char *buffer_text(struct buffer *buffer)
{
    if (buffer->size == buffer->capacity) {
        buffer->data = check_realloc(buffer->data, buffer->capacity + 1);
        buffer->capacity++;
    }
    buffer->data[buffer->size] = '\0';
    return (const char *)buffer->data;
}

struct slice reader_bytes(struct reader *reader, size_t size)
{
    if (!reader->ok || reader->rest.size < size) {
        reader->ok = false;
        return (struct slice){NULL, 0};
    }
    struct slice bytes = {reader->rest.data, size};

    if (size > 0)
        reader->rest.data += size;
    reader->rest.size -= size;
    return bytes;
}

static uint64_t load_little(struct reader *reader, size_t bytes)
{
    struct slice from = reader_bytes(reader, bytes);
    uint64_t value = 0;

    for (size_t i = from.size; i > 0; i--)
        value = value << 8 | from.data[i - 1];
    return value;
}

uint8_t reader_u8(struct reader *reader)
{
    return (uint8_t)load_little(reader, 1);
}

uint32_t reader_u32(struct reader *reader)
{
    return (uint32_t)load_little(reader, 4);
}

uint64_t reader_u64(struct reader *reader)
{
    return load_little(reader, 8);
}

uint64_t reader_u64_big(struct reader *reader)
{
    return __builtin_bswap64(load_little(reader, 8));
}
