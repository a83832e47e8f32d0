#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/base/check.h"
#include "proto/base/rng.h"
#include "tests/unit/table/table_fixture.h"

#include <stdio.h>

#define ITEM                                                                                       \
    "{id: 'o1', price: 12.5, kind: 'book', tags: <'new', 'red'>, codes: <1, 2>, "                  \
    "entries: [{sku: 'a', qty: 2}, {sku: 'b', qty: 1}], address: {city: 'Oslo', zip: null}, "      \
    "bin: x'0102', paid: false, word: 'h\xC3\xA9llo'}"

static const char *const bindings[] = {"#k=kind",
                                       "#d=a.b",
                                       ":one=1",
                                       ":two=2",
                                       ":book='book'",
                                       ":bo='bo'",
                                       ":new='new'",
                                       ":x='x'",
                                       ":n=12.50",
                                       ":low=10",
                                       ":high=20",
                                       ":oslo='Oslo'",
                                       ":N='N'",
                                       ":S='S'",
                                       ":SS='SS'",
                                       ":NULL='NULL'",
                                       ":bad='Q'",
                                       ":f=false",
                                       ":l=[1]",
                                       ":raw=x'01'",
                                       ":five=5",
                                       ":line={sku: 'a', qty: 2}",
                                       ":codes=<2, 1>",
                                       ":empty=''",
                                       NULL};

static bool holds(const char *condition, const char *text)
{
    struct arena arena = {0};
    struct expression_source source = fixture_source(&arena, bindings);
    AUTO(buffer) item = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) encoded = BUFFER_INIT(BUFFER_UNLIMITED);
    const struct expression *tree = NULL;
    struct item_value attributes;
    bool result = false;

    fixture_put_item(&item, text);
    if (expression_parse_condition(&source, slice_text(condition), &tree) != OK)
        fail_msg("%s: %s", condition, source.why);
    expression_put(&encoded, tree);
    attributes = item_root(buffer_slice(&item));
    assert_int_equal(expression_holds(buffer_slice(&encoded), &attributes, &result), OK);
    arena_close(&arena);
    return result;
}

static void expression_holds__conditions__as_the_service_decides(void **state)
{
    static const struct {
        const char *condition;
        bool holds;
    } cases[] = {
        {"price = :n", true},
        {"price <> :n", false},
        {"#k = :book", true},
        {"absent = :book", false},
        {"absent <> :book", true},
        {"price < :high", true},
        {"price < :book", false},
        {"price <= :n AND price >= :n", true},
        {"price > :n OR #k = :book", true},
        {"NOT price > :n", true},
        {"NOT #k = :book OR paid = :f", true},
        {"price BETWEEN :low AND :high", true},
        {"price BETWEEN :one AND :low", false},
        {"#k IN (:x, :new, :book)", true},
        {"#k IN (:x)", false},
        {"absent IN (:x)", false},
        {"attribute_exists(id)", true},
        {"attribute_exists(address.city)", true},
        {"attribute_exists(address.country)", false},
        {"attribute_not_exists(id)", false},
        {"attribute_not_exists(#d)", true},
        {"attribute_exists(entries[1].sku)", true},
        {"attribute_exists(entries[2])", false},
        {"attribute_exists(id.x)", false},
        {"attribute_type(price, :N)", true},
        {"attribute_type(price, :S)", false},
        {"attribute_type(tags, :SS)", true},
        {"attribute_type(address.zip, :NULL)", true},
        {"begins_with(#k, :bo)", true},
        {"begins_with(#k, :x)", false},
        {"begins_with(price, :bo)", false},
        {"begins_with(bin, :raw)", true},
        {"contains(#k, :bo)", true},
        {"contains(#k, :empty)", true},
        {"contains(tags, :new)", true},
        {"contains(tags, :x)", false},
        {"contains(codes, :two)", true},
        {"contains(entries, :line)", true},
        {"contains(absent, :x)", false},
        {"size(tags) = :two", true},
        {"size(word) = :five", true},
        {"size(bin) = :two", true},
        {"size(entries) > :one", true},
        {"size(absent) = :two", false},
        {"size(price) = :two", false},
        {":two = size(tags)", true},
        {"codes = :codes", true},
        {"entries[0] = :line", true},
        {"entries[0].qty > entries[1].qty", true},
        {"address.city = :oslo", true},
        {"(#k = :book AND (paid = :f OR price = :one))", true},
        {"#k = :x AND paid = :f OR price = :n", true},
        {"#k = :x AND (paid = :f OR price = :n)", false},
        {"attribute_not_exists(id) OR price <= :high", true},
        {"(price) = :n", true},
        {"not attribute_exists(absent) and id <> :x", true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        if (holds(cases[i].condition, ITEM) != cases[i].holds)
            fail_msg("%s: should be %d", cases[i].condition, cases[i].holds);
}

static void expression_holds__no_item__only_absence_holds(void **state)
{
    (void)state;
    assert_true(holds("attribute_not_exists(id)", "{}"));
    assert_false(holds("attribute_exists(id)", "{}"));
    assert_false(holds("price = :n", "{}"));
    assert_true(holds("price <> :n", "{}"));
}

/* What boto3's condition builder makes. */
static void expression_holds__nested_parentheses_of_boto3__read(void **state)
{
    (void)state;
    assert_true(holds("((#k = :book AND price BETWEEN :low AND :high) OR (NOT paid = :f))", ITEM));
    assert_true(holds("(begins_with(#k, :bo) OR attribute_not_exists(#k))", ITEM));
}

static const char *fault_of(struct arena *arena, const char *what, const char *text)
{
    struct expression_source source = fixture_source(arena, bindings);
    const struct expression *tree;
    struct item_update update;
    struct expression_paths paths;
    enum error rc;

    if (what[0] == 'C')
        rc = expression_parse_condition(&source, slice_text(text), &tree);
    else if (what[0] == 'U')
        rc = expression_parse_update(&source, slice_text(text), &update);
    else
        rc = expression_parse_projection(&source, slice_text(text), &paths);
    return rc == OK ? "" : source.why;
}

static void expression_parse__faults__in_the_service_words(void **state)
{
    static const struct {
        const char *what;
        const char *text;
        const char *why;
    } cases[] = {
        {"C", "", "The expression can not be empty;"},
        {"C", "  ", "The expression can not be empty;"},
        {"C", "a", "Syntax error; token: \"<EOF>\", near: \"a\""},
        {"C", "a =", "Syntax error; token: \"<EOF>\", near: \"=\""},
        {"C", "a = :one b", "Syntax error; token: \"b\", near: \":one b\""},
        {"C", "a == :one", "Syntax error; token: \"=\", near: \"== :one\""},
        {"C", "a ! :one", "Syntax error; token: \"!\", near: \"a ! :one\""},
        {"C", "a = :one AND", "Syntax error; token: \"<EOF>\", near: \"AND\""},
        {"C", "(a = :one", "Syntax error; token: \"<EOF>\", near: \":one\""},
        {"C", "a[b] = :one", "Syntax error; token: \"b\", near: \"[b]\""},
        {"C", "a..b = :one", "Syntax error; token: \".\", near: \"..b\""},
        {"C", "status = :one", "Attribute name is a reserved keyword; reserved keyword: status"},
        {"C", "a.Size = :one", "Attribute name is a reserved keyword; reserved keyword: Size"},
        {"C", "a = :zz",
         "An expression attribute value used in expression is not defined; attribute value: :zz"},
        {"C", "#zz = :one",
         "An expression attribute name used in the document path is not defined; attribute name: "
         "#zz"},
        {"C", "frobnicate(a)", "Invalid function name; function: frobnicate"},
        {"C", "attribute_exists(a, b)",
         "Incorrect number of operands for operator or function; operator or function: "
         "attribute_exists, number of operands: 2"},
        {"C", "attribute_exists(:one)",
         "Operator or function requires a document path; operator or function: attribute_exists"},
        {"C", "begins_with(a, :one)",
         "Incorrect operand type for operator or function; operator or function: begins_with, "
         "operand type: N"},
        {"C", "a < :f",
         "Incorrect operand type for operator or function; operator or function: <, operand type: "
         "BOOL"},
        {"C", "size(:one) = :one",
         "Incorrect operand type for operator or function; operator or function: size, operand "
         "type: N"},
        {"C", "attribute_type(a, :bad)",
         "Invalid attribute type name found; type: Q, valid types: "
         "{B,NULL,SS,BOOL,L,BS,N,NS,S,M}"},
        {"C", "size(a)",
         "The function is not allowed to be used this way in an expression; function: size"},
        {"C", "attribute_exists(a) = :one",
         "The function is not allowed to be used this way in an expression; function: "
         "attribute_exists"},
        {"C", "if_not_exists(a, :one) = :one",
         "The function is not allowed in a condition expression; function: if_not_exists"},
        {"C", "a = a",
         "The first operand must be distinct from the remaining operands for this operator or "
         "function; operator: =, first operand: [a]"},
        {"C", "a.b[1] IN (:one, a.b[1])",
         "The first operand must be distinct from the remaining operands for this operator or "
         "function; operator: IN, first operand: [a, b, [1]]"},
        {"C", "((a = :one))", "The expression has redundant parentheses;"},
        {"C", "a BETWEEN :high AND :low",
         "The BETWEEN operator requires upper bound to be greater than or equal to lower bound; "
         "lower bound operand: AttributeValue: {N:20}, upper bound operand: AttributeValue: "
         "{N:10}"},
        {"C", "a BETWEEN :one AND :x",
         "The BETWEEN operator requires same data type for lower and upper bounds; lower bound "
         "operand: AttributeValue: {N:1}, upper bound operand: AttributeValue: {S:x}"},
        {"C", "a[99999999999] = :one",
         "List index is not within the allowable range; index: [99999999999]"},
        {"U", "", "The expression can not be empty;"},
        {"U", "a = :one", "Syntax error; token: \"a\", near: \"a =\""},
        {"U", "SET a", "Syntax error; token: \"<EOF>\", near: \"a\""},
        {"U", "SET a = :one, SET b = :one", "Syntax error; token: \"SET\", near: \", SET b\""},
        {"U", "SET a = :one SET b = :one",
         "The \"SET\" section can only be used once in an update expression;"},
        {"U", "SET a = :one + :x",
         "Incorrect operand type for operator or function; operator or function: +, operand type: "
         "S"},
        {"U", "SET a = list_append(a, :one)",
         "Incorrect operand type for operator or function; operator or function: list_append, "
         "operand type: N"},
        {"U", "SET a = if_not_exists(:one, :one)",
         "Operator or function requires a document path; operator or function: if_not_exists"},
        {"U", "SET a = size(b)",
         "The function is not allowed in an update expression; function: size"},
        {"U", "SET #no = :no REMOVE ABORT",
         "Attribute name is a reserved keyword; reserved keyword: ABORT"},
        {"C", "a = :no AND whatever(:one)", "Invalid function name; function: whatever"},
        {"C", "a between b", "Syntax error; token: \"<EOF>\", near: \"b\""},
        {"U", "ADD a :x",
         "Incorrect operand type for operator or function; operator: ADD, operand type: STRING"},
        {"U", "DELETE a :one",
         "Incorrect operand type for operator or function; operator: DELETE, operand type: "
         "NUMBER"},
        {"U", "SET a = :one REMOVE a",
         "Two document paths overlap with each other; must remove or rewrite one of these paths; "
         "path one: [a], path two: [a]"},
        {"U", "SET a.b = :one, a = :x",
         "Two document paths overlap with each other; must remove or rewrite one of these paths; "
         "path one: [a, b], path two: [a]"},
        {"U", "SET a.b = :one, a[0] = :x",
         "Two document paths conflict with each other; must remove or rewrite one of these paths; "
         "path one: [a, b], path two: [a, [0]]"},
        {"P", "a, b, a",
         "Two document paths overlap with each other; must remove or rewrite one of these paths; "
         "path one: [a], path two: [a]"},
        {"P", "a,", "Syntax error; token: \"<EOF>\", near: \",\""},
        {"P", "a b", "Syntax error; token: \"b\", near: \"a b\""},
    };
    struct arena arena = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++)
        assert_string_equal(fault_of(&arena, cases[i].what, cases[i].text), cases[i].why);
    arena_close(&arena);
}

static void expression_parse__too_much__refused(void **state)
{
    struct arena arena = {0};
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);

    (void)state;
    for (int i = 0; i < 5000; i++)
        buffer_put_u8(&text, 'a');
    assert_string_equal(fault_of(&arena, "C", buffer_text(&text)),
                        "Expression size has exceeded the maximum allowed size; expression size: "
                        "5000");
    buffer_clear(&text);
    for (int i = 0; i < 4000; i++)
        buffer_put_u8(&text, '(');
    assert_non_null(strstr(fault_of(&arena, "C", buffer_text(&text)), "Syntax error"));
    buffer_clear(&text);
    for (int i = 0; i < 1000; i++)
        buffer_put_text(&text, "NOT ");
    assert_non_null(strstr(fault_of(&arena, "C", buffer_text(&text)), "Syntax error"));
    buffer_clear(&text);
    for (int i = 0; i < 301; i++)
        buffer_putf(&text, "%sa=:x", i > 0 ? " OR " : "");
    assert_string_equal(fault_of(&arena, "C", buffer_text(&text)),
                        "The expression contains too many operators; operator count: 601");
    buffer_clear(&text);
    buffer_put_text(&text, "a IN (:x");
    for (int i = 0; i < 100; i++)
        buffer_put_text(&text, ",:x");
    buffer_put_text(&text, ")");
    assert_string_equal(fault_of(&arena, "C", buffer_text(&text)),
                        "The IN operator is provided with too many operands; number of operands: "
                        "101");
    buffer_clear(&text);
    buffer_put_text(&text, "a");
    for (int i = 0; i < 40; i++)
        buffer_put_text(&text, ".b");
    assert_string_equal(fault_of(&arena, "P", buffer_text(&text)),
                        "The document path has too many nesting elements; nesting levels: 41");
    arena_close(&arena);
}

static void project(const char *paths, const char *item_text, const char *wanted)
{
    struct arena arena = {0};
    struct expression_source source = fixture_source(&arena, bindings);
    AUTO(buffer) item = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) encoded = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) projected = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);
    struct expression_paths projection;
    struct item_value attributes;
    struct reader reader;

    fixture_put_item(&item, item_text);
    assert_int_equal(expression_parse_projection(&source, slice_text(paths), &projection), OK);
    expression_put_paths(&encoded, &projection);
    reader = reader_of(buffer_slice(&encoded));
    projection = expression_read_paths(&reader, &arena);
    assert_true(reader.ok && reader.rest.size == 0);
    attributes = item_root(buffer_slice(&item));
    expression_project(&projection, &attributes, &projected);
    assert_int_equal(item_check(buffer_slice(&projected)), OK);
    fixture_write_item(&text, buffer_slice(&projected));
    assert_string_equal(buffer_text(&text), wanted);
    arena_close(&arena);
}

static void expression_project__paths__the_parts_they_name(void **state)
{
    (void)state;
    project("id, price, absent", ITEM, "{id: 'o1', price: 12.5}");
    project("address.city, address.country", ITEM, "{address: {city: 'Oslo'}}");
    project("address.country", ITEM, "{}");
    project("entries[1], entries[7]", ITEM, "{entries: [{qty: 1, sku: 'b'}]}");
    project("entries[1].sku, entries[0].qty", ITEM, "{entries: [{qty: 2}, {sku: 'b'}]}");
    project("#d", "{a.b: 1, a: {b: 2}}", "{a.b: 1}");
    project("a.b.c, a.b.d, a.e", "{a: {b: {c: 1, x: 2}, e: [], f: 3}}", "{a: {b: {c: 1}, e: []}}");
}

static void expression_holds__damaged__refused_or_decided_never_read_outside(void **state)
{
    struct arena arena = {0};
    struct expression_source source = fixture_source(&arena, bindings);
    AUTO(buffer) item = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) encoded = BUFFER_INIT(BUFFER_UNLIMITED);
    const struct expression *tree = NULL;
    struct item_value attributes;
    struct rng rng;

    (void)state;
    fixture_put_item(&item, ITEM);
    attributes = item_root(buffer_slice(&item));
    assert_int_equal(
        expression_parse_condition(
            &source,
            SLICE_LITERAL(
                "(NOT #k IN (:x, :new) AND size(tags) = :two) OR contains(entries, :line) OR "
                "price BETWEEN :low AND :high"),
            &tree),
        OK);
    expression_put(&encoded, tree);
    rng_init(&rng, 31);
    for (int i = 0; i < 20000; i++) {
        size_t size = rng_below(&rng, 4) == 0 ? rng_below(&rng, encoded.size) : encoded.size;
        uint8_t *exact = check_malloc(size + 1);
        bool result;

        memcpy(exact, encoded.data, size);
        if (size > 0)
            exact[rng_below(&rng, size)] ^= (uint8_t)(1u << rng_below(&rng, 8));
        if (expression_holds(slice_of(exact, size), &attributes, &result) == OK)
            assert_int_equal(size, encoded.size);
        free(exact);
    }
    arena_close(&arena);
}

static void expression_is_reserved__any_case(void **state)
{
    (void)state;
    assert_true(expression_is_reserved(SLICE_LITERAL("status")));
    assert_true(expression_is_reserved(SLICE_LITERAL("Name")));
    assert_true(expression_is_reserved(SLICE_LITERAL("ABORT")));
    assert_true(expression_is_reserved(SLICE_LITERAL("zone")));
    assert_false(expression_is_reserved(SLICE_LITERAL("order_id")));
    assert_false(expression_is_reserved(SLICE_LITERAL("")));
    assert_false(expression_is_reserved(SLICE_LITERAL("a_name_longer_than_any_word_there_is")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(expression_holds__conditions__as_the_service_decides),
        cmocka_unit_test(expression_holds__no_item__only_absence_holds),
        cmocka_unit_test(expression_holds__nested_parentheses_of_boto3__read),
        cmocka_unit_test(expression_parse__faults__in_the_service_words),
        cmocka_unit_test(expression_parse__too_much__refused),
        cmocka_unit_test(expression_project__paths__the_parts_they_name),
        cmocka_unit_test(expression_holds__damaged__refused_or_decided_never_read_outside),
        cmocka_unit_test(expression_is_reserved__any_case),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
