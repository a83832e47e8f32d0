#include "tests/unit/table/table_fixture.h"

#include "proto/base/check.h"
#include "proto/base/encode.h"

#include <ctype.h>

struct text {
    const char *at;
};

static void put_value(struct buffer *to, struct text *text);

static void skip_space(struct text *text)
{
    while (isspace((unsigned char)*text->at))
        text->at++;
}

static bool skip(struct text *text, char sign)
{
    skip_space(text);
    if (*text->at != sign)
        return false;
    text->at++;
    return true;
}

static struct slice quoted(struct text *text)
{
    const char *end;
    struct slice found;

    CHECK(skip(text, '\''));
    end = strchr(text->at, '\'');
    CHECK(end != NULL);
    found = slice_of(text->at, (size_t)(end - text->at));
    text->at = end + 1;
    return found;
}

/* The bytes of a scalar as they are stored; the type of it. */
static enum item_type read_scalar(struct text *text, struct buffer *bytes)
{
    uint8_t packed[NUMBER_PACKED_BYTES_MAX];
    struct number number;
    size_t size;

    skip_space(text);
    if (*text->at == '\'') {
        buffer_put_slice(bytes, quoted(text));
        return ITEM_S;
    }
    if (text->at[0] == 'x' && text->at[1] == '\'') {
        uint8_t raw[256];
        struct slice hex;

        text->at++;
        hex = quoted(text);
        CHECK(hex.size / 2 <= sizeof(raw));
        CHECK(decode_hex(hex, raw, hex.size / 2) == OK);
        buffer_put(bytes, raw, hex.size / 2);
        return ITEM_B;
    }
    size = strspn(text->at, "+-.0123456789eE");
    CHECK(number_parse(slice_of(text->at, size), &number) == NUMBER_OK);
    text->at += size;
    buffer_put(bytes, packed, number_pack(&number, packed));
    return ITEM_N;
}

static void put_scalar(struct buffer *to, struct text *text)
{
    AUTO(buffer) bytes = BUFFER_INIT(BUFFER_UNLIMITED);
    enum item_type type = read_scalar(text, &bytes);
    struct item_value value = {type, buffer_slice(&bytes)};

    item_put_value(to, &value);
}

static void put_list(struct buffer *to, struct text *text)
{
    size_t begin = item_begin(to, ITEM_L);
    uint32_t count = 0;

    CHECK(skip(text, '['));
    while (!skip(text, ']')) {
        put_value(to, text);
        (void)skip(text, ',');
        count++;
    }
    item_end(to, begin, count);
}

static void put_set(struct buffer *to, struct text *text)
{
    size_t begin = item_begin(to, ITEM_SS);
    size_t type_at = begin - 9;
    uint32_t count = 0;

    CHECK(skip(text, '<'));
    while (!skip(text, '>')) {
        AUTO(buffer) bytes = BUFFER_INIT(BUFFER_UNLIMITED);
        enum item_type type = read_scalar(text, &bytes);

        to->data[type_at] = type == ITEM_S ? ITEM_SS : type == ITEM_N ? ITEM_NS : ITEM_BS;
        item_put_element(to, buffer_slice(&bytes));
        (void)skip(text, ',');
        count++;
    }
    item_end(to, begin, count);
}

struct entry {
    struct slice name;
    struct buffer value;
};

static int compare_entries(const void *a, const void *b)
{
    return slice_compare(((const struct entry *)a)->name, ((const struct entry *)b)->name);
}

static uint32_t put_entries(struct buffer *to, struct text *text)
{
    struct entry entries[64];
    size_t count = 0;

    CHECK(skip(text, '{'));
    while (!skip(text, '}')) {
        struct entry *entry = &entries[count++];
        size_t size;

        CHECK(count <= ARRAY_COUNT(entries));
        skip_space(text);
        size = strcspn(text->at, " :");
        entry->name = slice_of(text->at, size);
        text->at += size;
        CHECK(skip(text, ':'));
        buffer_init(&entry->value, BUFFER_UNLIMITED);
        put_value(&entry->value, text);
        (void)skip(text, ',');
    }
    qsort(entries, count, sizeof(entries[0]), compare_entries);
    for (size_t i = 0; i < count; i++) {
        item_put_name(to, entries[i].name);
        buffer_put_slice(to, buffer_slice(&entries[i].value));
        buffer_close(&entries[i].value);
    }
    return (uint32_t)count;
}

static bool skip_word(struct text *text, const char *word)
{
    if (strncmp(text->at, word, strlen(word)) != 0)
        return false;
    text->at += strlen(word);
    return true;
}

static void put_value(struct buffer *to, struct text *text)
{
    skip_space(text);
    if (*text->at == '[') {
        put_list(to, text);
    } else if (*text->at == '<') {
        put_set(to, text);
    } else if (*text->at == '{') {
        size_t begin = item_begin(to, ITEM_M);

        item_end(to, begin, put_entries(to, text));
    } else if (skip_word(text, "true")) {
        item_put_bool(to, true);
    } else if (skip_word(text, "false")) {
        item_put_bool(to, false);
    } else if (skip_word(text, "null")) {
        buffer_put_u8(to, ITEM_NULL);
    } else {
        put_scalar(to, text);
    }
}

void fixture_put_value(struct buffer *to, const char *text)
{
    struct text cursor = {text};

    put_value(to, &cursor);
    skip_space(&cursor);
    CHECK(*cursor.at == '\0');
}

void fixture_put_item(struct buffer *to, const char *text)
{
    struct text cursor = {text};
    size_t begin = item_begin_whole(to);

    item_end_whole(to, begin, put_entries(to, &cursor));
}

/* ---- back to text ---- */

static void write_value(struct buffer *text, const struct item_value *value);

static void write_entries(struct buffer *text, const struct item_value *container,
                          const char *brackets)
{
    struct item_cursor cursor = item_walk(container);
    struct item_value value;
    struct slice name;
    bool is_first = true;

    buffer_put_u8(text, (uint8_t)brackets[0]);
    while (item_next(&cursor, &name, &value)) {
        if (!is_first)
            buffer_put_text(text, ", ");
        is_first = false;
        if (container->type == ITEM_M) {
            buffer_put_slice(text, name);
            buffer_put_text(text, ": ");
        }
        write_value(text, &value);
    }
    buffer_put_u8(text, (uint8_t)brackets[1]);
}

static void write_value(struct buffer *text, const struct item_value *value)
{
    char digits[NUMBER_TEXT_BYTES];
    char hex[513];
    struct number number;

    switch (value->type) {
    case ITEM_S:
        buffer_put_u8(text, '\'');
        buffer_put_slice(text, value->bytes);
        buffer_put_u8(text, '\'');
        break;
    case ITEM_N:
        CHECK(number_unpack(value->bytes, &number) == OK);
        number_text(&number, digits);
        buffer_put_text(text, digits);
        break;
    case ITEM_B:
        CHECK(value->bytes.size <= 256);
        encode_hex(value->bytes, hex);
        buffer_putf(text, "x'%s'", hex);
        break;
    case ITEM_BOOL:
        buffer_put_text(text, value->bytes.data[0] != 0 ? "true" : "false");
        break;
    case ITEM_NULL:
        buffer_put_text(text, "null");
        break;
    case ITEM_M:
        write_entries(text, value, "{}");
        break;
    case ITEM_L:
        write_entries(text, value, "[]");
        break;
    case ITEM_SS:
    case ITEM_NS:
    case ITEM_BS:
        write_entries(text, value, "<>");
        break;
    }
}

void fixture_write_item(struct buffer *text, struct slice item)
{
    struct item_value root = item_root(item);

    write_entries(text, &root, "{}");
}

/* ---- bindings ---- */

static int compare_bindings(const void *a, const void *b)
{
    return slice_compare(((const struct expression_binding *)a)->placeholder,
                         ((const struct expression_binding *)b)->placeholder);
}

struct expression_source fixture_source(struct arena *arena, const char *const *bindings)
{
    struct expression_source source = {.arena = arena};

    source.names.entries = arena_alloc(arena, 32 * sizeof(*source.names.entries));
    source.values.entries = arena_alloc(arena, 32 * sizeof(*source.values.entries));
    for (; bindings != NULL && *bindings != NULL; bindings++) {
        bool is_name = **bindings == '#';
        struct expression_bindings *list = is_name ? &source.names : &source.values;
        struct expression_binding *binding = &list->entries[list->count++];
        const char *equals = strchr(*bindings, '=');

        CHECK(equals != NULL && list->count <= 32);
        binding->placeholder = slice_of(*bindings, (size_t)(equals - *bindings));
        if (is_name) {
            binding->name = slice_text(equals + 1);
        } else {
            AUTO(buffer) value = BUFFER_INIT(BUFFER_UNLIMITED);

            fixture_put_value(&value, equals + 1);
            CHECK(item_check_value(arena_copy(arena, buffer_slice(&value)), &binding->value) == OK);
        }
    }
    qsort(source.names.entries, source.names.count, sizeof(*source.names.entries),
          compare_bindings);
    qsort(source.values.entries, source.values.count, sizeof(*source.values.entries),
          compare_bindings);
    return source;
}
