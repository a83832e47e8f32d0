/* Stored items: what item_check accepts can be walked, measured, compared, projected and written
 * again, and comes out as the same bytes. */

#include "node/table/expression.h"
#include "node/table/item.h"
#include "proto/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void copy_value(struct buffer *to, const struct item_value *value);

static uint32_t copy_entries(struct buffer *to, const struct item_value *container)
{
    struct item_cursor cursor = item_walk(container);
    struct item_value value;
    struct slice name;
    uint32_t count = 0;

    while (item_next(&cursor, &name, &value)) {
        struct item_value found;

        if (container->type == ITEM_M) {
            CHECK(item_find(container, name, &found) && item_equal(&found, &value));
            item_put_name(to, name);
        }
        if (container->type == ITEM_L)
            CHECK(item_at(container, count, &found) && item_equal(&found, &value));
        if (item_is_set(container->type)) {
            CHECK(item_set_contains(container, value.bytes));
            item_put_element(to, value.bytes);
        } else {
            copy_value(to, &value);
        }
        count++;
    }
    CHECK(cursor.left == 0 && cursor.reader.ok);
    return count;
}

static void copy_value(struct buffer *to, const struct item_value *value)
{
    if (value->type < ITEM_M) {
        item_put_value(to, value);
    } else {
        size_t begin = item_begin(to, value->type);

        item_end(to, begin, copy_entries(to, value));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO(buffer) copy = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) part = BUFFER_INIT(BUFFER_UNLIMITED);
    struct slice item = slice_of(data, size);
    struct expression_step step = {.name = SLICE_LITERAL("a")};
    struct expression_path path = {&step, 1};
    struct expression_paths paths = {&path, 1};
    struct item_value root;
    size_t begin;

    if (item_check(item) != OK)
        return 0;
    root = item_root(item);
    CHECK(item_size_whole(item) <= 4 * size + 64);
    begin = item_begin_whole(&copy);
    item_end_whole(&copy, begin, copy_entries(&copy, &root));
    CHECK(slice_equal(buffer_slice(&copy), item));
    expression_project(&paths, &root, &part);
    CHECK(item_check(buffer_slice(&part)) == OK);
    return 0;
}
