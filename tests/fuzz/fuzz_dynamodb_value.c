/* Items in JSON: what is accepted is a well-formed item, and its JSON read again gives the same
 * bytes. */

#include "node/aws/dynamodb_members.h"
#include "node/aws/dynamodb_value.h"
#include "proto/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool read_item(struct arena *arena, struct slice text, struct buffer *item)
{
    static const struct shape members[] = {{"Item", SHAPE_MAP, .of = dynamodb_attribute_element},
                                           MEMBER_END};
    json_t *root = json_loadb((const char *)text.data, text.size, JSON_ALLOW_NUL, NULL);
    const json_t *map = json_object_get(root, "Item");
    bool is_read = json_is_object(root) && json_is_object(map) &&
                   dynamodb_shape_types(arena, members, root) == NULL &&
                   dynamodb_shape_constraints(arena, members, root) == NULL &&
                   dynamodb_value_put_item(arena, item, map) == NULL;

    json_decref(root);
    return is_read;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = {0};
    AUTO(buffer) item = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) again = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);

    if (read_item(&arena, slice_of(data, size), &item)) {
        struct json_write json = json_write_to(&text);

        CHECK(item_check(buffer_slice(&item)) == OK);
        json_begin_object(&json);
        json_key(&json, "Item");
        dynamodb_value_write_item(&json, buffer_slice(&item));
        json_end_object(&json);
        CHECK(json.rc == OK);
        CHECK(read_item(&arena, buffer_slice(&text), &again));
        CHECK(slice_equal(buffer_slice(&item), buffer_slice(&again)));
    }
    arena_close(&arena);
    return 0;
}
