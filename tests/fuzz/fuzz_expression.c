/* Expressions: the first byte chooses condition, update or projection; the rest is the text. What
 * is accepted can be encoded, and evaluated on an item. The text is also taken as encoded bytes. */

#include "node/table/expression_parse.h"
#include "proto/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* {a: {b: "x"}, l: [1], n: 1, s: <"x">} */
static void make_item(struct buffer *item, const struct number *one)
{
    size_t whole = item_begin_whole(item);
    const struct item_value text = {ITEM_S, SLICE_LITERAL("x")};
    size_t begin;

    item_put_name(item, SLICE_LITERAL("a"));
    begin = item_begin(item, ITEM_M);
    item_put_name(item, SLICE_LITERAL("b"));
    item_put_value(item, &text);
    item_end(item, begin, 1);
    item_put_name(item, SLICE_LITERAL("l"));
    begin = item_begin(item, ITEM_L);
    item_put_number(item, one);
    item_end(item, begin, 1);
    item_put_name(item, SLICE_LITERAL("n"));
    item_put_number(item, one);
    item_put_name(item, SLICE_LITERAL("s"));
    begin = item_begin(item, ITEM_SS);
    item_put_element(item, text.bytes);
    item_end(item, begin, 1);
    item_end_whole(item, whole, 4);
}

static void run_condition(struct slice encoded, struct slice item, bool must_be_right)
{
    struct item_value attributes = item_root(item);
    bool holds;

    CHECK(expression_holds(encoded, &attributes, &holds) == OK || !must_be_right);
}

static void run_update(struct slice encoded, struct slice item, bool must_be_right)
{
    AUTO(buffer) changed = BUFFER_INIT(BUFFER_UNLIMITED);
    enum item_update_fault fault = item_update_apply(encoded, item, &changed);

    CHECK(fault != ITEM_UPDATE_MALFORMED || !must_be_right);
    CHECK(fault != ITEM_UPDATE_OK || item_check(buffer_slice(&changed)) == OK);
}

static void run_projection(struct arena *arena, struct slice encoded, struct slice item)
{
    AUTO(buffer) part = BUFFER_INIT(BUFFER_UNLIMITED);
    struct reader reader = reader_of(encoded);
    struct expression_paths paths = expression_read_paths(&reader, arena);
    struct item_value attributes = item_root(item);

    CHECK(reader.ok && reader.rest.size == 0);
    expression_project(&paths, &attributes, &part);
    CHECK(item_check(buffer_slice(&part)) == OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t packed_one[] = {0xC0, 0x82, 0x0B, 0x00};
    struct arena arena = {0};
    struct expression_binding names[] = {{SLICE_LITERAL("#n"), SLICE_LITERAL("n"), {0}, false}};
    struct expression_binding values[] = {
        {SLICE_LITERAL(":n"), {NULL, 0}, {ITEM_N, {packed_one, sizeof(packed_one)}}, false},
        {SLICE_LITERAL(":s"), {NULL, 0}, {ITEM_S, SLICE_LITERAL("x")}, false}};
    struct expression_source source = {.arena = &arena, .names = {names, 1}, .values = {values, 2}};
    AUTO(buffer) item = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) encoded = BUFFER_INIT(BUFFER_UNLIMITED);
    const struct expression *condition;
    struct item_update update;
    struct expression_paths projection;
    struct slice text = slice_of(data + 1, size - 1);
    struct number one;

    if (size == 0)
        return 0;
    CHECK(number_unpack(slice_of(packed_one, sizeof(packed_one)), &one) == OK);
    make_item(&item, &one);
    CHECK(item_check(buffer_slice(&item)) == OK);
    run_condition(text, buffer_slice(&item), false);
    run_update(text, buffer_slice(&item), false);
    if (data[0] % 3 == 0 && expression_parse_condition(&source, text, &condition) == OK) {
        expression_put(&encoded, condition);
        run_condition(buffer_slice(&encoded), buffer_slice(&item), true);
    }
    if (data[0] % 3 == 1 && expression_parse_update(&source, text, &update) == OK) {
        item_update_put(&encoded, &update);
        run_update(buffer_slice(&encoded), buffer_slice(&item), true);
    }
    if (data[0] % 3 == 2 && expression_parse_projection(&source, text, &projection) == OK) {
        expression_put_paths(&encoded, &projection);
        run_projection(&arena, buffer_slice(&encoded), buffer_slice(&item));
    }
    arena_close(&arena);
    return 0;
}
