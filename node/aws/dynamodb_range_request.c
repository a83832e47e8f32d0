#include "node/aws/dynamodb_range_request.h"

#include "node/aws/dynamodb_legacy.h"
#include "node/aws/dynamodb_members.h"
#include "node/aws/dynamodb_value.h"
#include "node/table/table_engine.h"
#include "proto/base/check.h"

#define SEGMENTS_MAX 1000000

/* ---- shapes ---------------------------------------------------------------------------------- */

#define SELECT                                                                                     \
    {                                                                                              \
        "Select", SHAPE_STRING,                                                                    \
            .choices = "SPECIFIC_ATTRIBUTES, COUNT, ALL_ATTRIBUTES, ALL_PROJECTED_ATTRIBUTES"      \
    }
#define INDEX_NAME                                                                                 \
    {                                                                                              \
        "IndexName", SHAPE_STRING, .min = 3, .max = 255, .pattern = SHAPE_NAME_PATTERN             \
    }
#define START_KEY                                                                                  \
    {                                                                                              \
        "ExclusiveStartKey", SHAPE_MAP, .of = dynamodb_attribute_element                           \
    }

/* The order matters: of many violations only the first ten are told. */
const struct shape range_scan_shape[] = {
    SELECT,
    INDEX_NAME,
    {"TotalSegments", SHAPE_INTEGER, .min = 1, .max = SEGMENTS_MAX},
    MEMBER_CAPACITY,
    MEMBER_TABLE_NAME,
    {"ConditionalOperator", SHAPE_STRING, .choices = "OR, AND"},
    {"ScanFilter", SHAPE_MAP, .of = dynamodb_condition_element},
    {"Segment", SHAPE_INTEGER, .max = SEGMENTS_MAX - 1, .is_natural = true},
    {"Limit", SHAPE_INTEGER, .min = 1},
    MEMBER_ATTRIBUTES_TO_GET,
    START_KEY,
    {.name = "ProjectionExpression", .kind = SHAPE_STRING},
    {.name = "FilterExpression", .kind = SHAPE_STRING},
    MEMBER_NAMES,
    MEMBER_VALUES,
    {.name = "ConsistentRead", .kind = SHAPE_BOOLEAN},
    MEMBER_END};

const struct shape range_query_shape[] = {
    SELECT,
    INDEX_NAME,
    MEMBER_CAPACITY,
    {"QueryFilter", SHAPE_MAP, .of = dynamodb_condition_element},
    MEMBER_TABLE_NAME,
    {"ConditionalOperator", SHAPE_STRING, .choices = "OR, AND"},
    MEMBER_ATTRIBUTES_TO_GET,
    {"Limit", SHAPE_INTEGER, .min = 1},
    {"KeyConditions", SHAPE_MAP, .of = dynamodb_condition_element},
    {.name = "ConsistentRead", .kind = SHAPE_BOOLEAN},
    {.name = "ScanIndexForward", .kind = SHAPE_BOOLEAN},
    START_KEY,
    {.name = "ProjectionExpression", .kind = SHAPE_STRING},
    {.name = "FilterExpression", .kind = SHAPE_STRING},
    {.name = "KeyConditionExpression", .kind = SHAPE_STRING},
    MEMBER_NAMES,
    MEMBER_VALUES,
    MEMBER_END};

static const char *const scan_expressions[] = {"ProjectionExpression", "FilterExpression", NULL};
static const char *const scan_legacy[] = {"AttributesToGet", "ScanFilter", "ConditionalOperator",
                                          NULL};
static const struct dynamodb_expression_rules scan_rules = {.expressions = scan_expressions,
                                                            .legacy = scan_legacy};
static const char *const query_expressions[] = {"ProjectionExpression", "FilterExpression",
                                                "KeyConditionExpression", NULL};
static const char *const query_legacy[] = {"AttributesToGet", "QueryFilter", "ConditionalOperator",
                                           "KeyConditions", NULL};
static const char *const query_legacy_beside[] = {"AttributesToGet", "QueryFilter",
                                                  "ConditionalOperator", NULL};
static const struct dynamodb_expression_rules query_rules = {query_expressions, query_legacy,
                                                             query_legacy_beside};

/* ---- what both have -------------------------------------------------------------------------- */

static const json_t *member_of(const struct range_request *request, const char *name)
{
    return dynamodb_member(request->call, name);
}

/* QueryFilter or ScanFilter. */
static const char *read_legacy_filter(struct range_request *request, const char *member)
{
    const json_t *conditions = member_of(request, member);
    bool is_or;
    const char *why = dynamodb_legacy_operator(dynamodb_text(request->call, "ConditionalOperator"),
                                               conditions, &is_or);

    if (why == NULL && conditions != NULL)
        why = dynamodb_legacy_conditions(request->call->arena, conditions, is_or, &request->filter);
    return why;
}

/* The service says where a bad value was, but not for all that can be wrong with one. */
static const char *about_start(struct arena *arena, const char *why)
{
    static const char *const plain[] = {"contains duplicates", "number set", "numeric value",
                                        "significant digits", "number with magnitude"};

    for (size_t i = 0; i < ARRAY_COUNT(plain); i++)
        if (strstr(why, plain[i]) != NULL)
            return why;
    return arena_printf(arena, RANGE_BAD_START ": %s", why);
}

static const char *read_start_values(struct range_request *request)
{
    const json_t *start = member_of(request, "ExclusiveStartKey");
    const char *why;

    if (start == NULL)
        return NULL;
    why = dynamodb_value_put_item(request->call->arena, &request->start, start);
    return why != NULL ? about_start(request->call->arena, why) : NULL;
}

static const char *read_attributes(struct range_request *request)
{
    const json_t *attributes = member_of(request, "AttributesToGet");

    if (attributes == NULL)
        return NULL;
    return dynamodb_read_attributes_to_get(request->call->arena, attributes, &request->projection);
}

static const char *read_filter_and_projection(struct range_request *request)
{
    struct dynamodb_expressions *expressions = &request->expressions;
    const struct expression *filter = NULL;
    const char *why = dynamodb_parse_condition(expressions, "FilterExpression", &filter);

    if (filter != NULL)
        request->filter = filter;
    if (why == NULL && member_of(request, "ProjectionExpression") != NULL)
        why = dynamodb_parse_projection(expressions, "ProjectionExpression", &request->projection);
    return why != NULL ? why : dynamodb_expressions_close(expressions);
}

/* Select and a projection. `prefix` is in front of some words of a Query. */
static const char *check_select(const struct range_request *request, const char *prefix)
{
    const char *select = dynamodb_text(request->call, "Select");
    bool is_legacy = member_of(request, "AttributesToGet") != NULL;
    bool is_count = select != NULL && strcmp(select, "COUNT") == 0;

    if (select == NULL)
        return NULL;
    if (strcmp(select, "SPECIFIC_ATTRIBUTES") == 0)
        return request->projection.count > 0 ? NULL
                                             : "Must specify the AttributesToGet or "
                                               "ProjectionExpression when choosing to get "
                                               "SPECIFIC_ATTRIBUTES";
    if (request->projection.count > 0)
        return arena_printf(request->call->arena, "%sCannot specify the %s when choosing to get %s",
                            is_legacy ? "" : prefix,
                            is_legacy ? "AttributesToGet" : "ProjectionExpression",
                            is_count ? "only the Count" : select);
    if (strcmp(select, "ALL_PROJECTED_ATTRIBUTES") == 0 && member_of(request, "IndexName") == NULL)
        return "ALL_PROJECTED_ATTRIBUTES can be used only when Querying using an IndexName";
    return NULL;
}

void range_request_init(struct range_request *request, struct dynamodb_call *call)
{
    *request = (struct range_request){.call = call, .start = BUFFER_INIT(BUFFER_UNLIMITED)};
    request->segment_count = 1;
}

void range_request_close(struct range_request *request)
{
    buffer_close(&request->start);
}

/* ---- Scan ---------------------------------------------------------------------------------------
 */

static const char *read_segments(struct range_request *request)
{
    const json_t *segment = member_of(request, "Segment");
    const json_t *count = member_of(request, "TotalSegments");

    if (segment == NULL && count == NULL)
        return NULL;
    if (segment == NULL)
        return "The Segment parameter is required but was not present in the request when "
               "parameter TotalSegments is present";
    if (count == NULL)
        return "The TotalSegments parameter is required but was not present in the request when "
               "Segment parameter is present";
    request->segment = (uint32_t)dynamodb_shape_integer(segment);
    request->segment_count = (uint32_t)dynamodb_shape_integer(count);
    if (request->segment < request->segment_count)
        return NULL;
    return arena_printf(request->call->arena,
                        "The Segment parameter is zero-based and must be less than parameter "
                        "TotalSegments: Segment: %u is not less than TotalSegments: %u",
                        request->segment, request->segment_count);
}

const char *range_request_read_scan(struct range_request *request)
{
    struct dynamodb_call *call = request->call;
    const char *why =
        dynamodb_expressions_check(&request->expressions, call->arena, call->input, &scan_rules);

    if (why == NULL)
        why = read_attributes(request);
    if (why == NULL)
        why = read_legacy_filter(request, "ScanFilter");
    if (why == NULL)
        why = read_start_values(request);
    if (why == NULL)
        why = read_segments(request);
    if (why == NULL)
        why = dynamodb_expressions_bind(&request->expressions);
    if (why == NULL)
        why = read_filter_and_projection(request);
    return why != NULL ? why : check_select(request, "");
}

/* ---- Query --------------------------------------------------------------------------------------
 */

static const char *read_key_terms(struct range_request *request, const struct expression *condition)
{
    struct arena *arena = request->call->arena;
    const char *why;

    if (condition != NULL)
        return dynamodb_key_terms(arena, condition, &request->terms);
    why = dynamodb_legacy_conditions(arena, member_of(request, "KeyConditions"), false, &condition);
    return why != NULL ? why : dynamodb_key_terms_of_legacy(condition, &request->terms);
}

const char *range_request_read_query(struct range_request *request)
{
    struct dynamodb_call *call = request->call;
    const struct expression *condition = NULL;
    const char *why =
        dynamodb_expressions_check(&request->expressions, call->arena, call->input, &query_rules);

    if (why == NULL)
        why = read_legacy_filter(request, "QueryFilter");
    if (why == NULL)
        why = read_attributes(request);
    if (why == NULL)
        why = read_start_values(request);
    if (why == NULL && member_of(request, "KeyConditions") == NULL &&
        member_of(request, "KeyConditionExpression") == NULL)
        why = "Either the KeyConditions or KeyConditionExpression parameter must be specified in "
              "the request.";
    if (why == NULL)
        why = dynamodb_expressions_bind(&request->expressions);
    if (why == NULL)
        why = dynamodb_parse_condition(&request->expressions, "KeyConditionExpression", &condition);
    if (why == NULL)
        why = read_filter_and_projection(request);
    if (why == NULL)
        why = read_key_terms(request, condition);
    return why != NULL ? why : check_select(request, "1 validation error detected: ");
}

/* ---- what the table says ------------------------------------------------------------------------
 */

/* A global index is read by itself: what it has not, it cannot give, and it may trail. */
static const char *use_global(struct range_request *request, size_t position)
{
    const struct dynamodb_call *call = request->call;
    const Skein__Wire__TableGlobalIndex *index = call->table->record->global_indexes[position];

    request->global = position;
    request->schema = &call->table->global_schemas[position];
    if (dynamodb_flag(call, "ConsistentRead", false))
        return "Consistent reads are not supported on global secondary indexes";
    if (index->status == TABLE_INDEX_CREATING)
        return arena_printf(call->arena, "Cannot read from backfilling global secondary index: %s",
                            index->name);
    if (dynamodb_text_is(call, "Select", "ALL_ATTRIBUTES") &&
        index->projection != TABLE_PROJECTION_ALL)
        return arena_printf(call->arena,
                            "One or more parameter values were invalid: Select type ALL_ATTRIBUTES "
                            "is not supported for global secondary index %s because its projection "
                            "type is not ALL",
                            index->name);
    return NULL;
}

const char *range_request_find_index(struct range_request *request)
{
    const struct dynamodb_table *table = request->call->table;
    const Skein__Wire__Table *record = table->record;
    const char *name = dynamodb_text(request->call, "IndexName");

    request->index = RANGE_NO_INDEX;
    request->global = RANGE_NO_INDEX;
    request->schema = &table->schema;
    if (name == NULL)
        return NULL;
    for (size_t i = 0; i < record->n_local_indexes; i++)
        if (strcmp(record->local_indexes[i]->name, name) == 0) {
            request->index = i;
            request->schema = &table->index_schemas[i];
            return NULL;
        }
    for (size_t i = 0; i < record->n_global_indexes; i++)
        if (strcmp(record->global_indexes[i]->name, name) == 0 &&
            record->global_indexes[i]->status != TABLE_INDEX_DELETING)
            return use_global(request, i);
    return arena_printf(request->call->arena, "The table does not have the specified index: %s",
                        name);
}

bool range_request_has_index(const struct range_request *request)
{
    return request->index != RANGE_NO_INDEX || request->global != RANGE_NO_INDEX;
}

size_t range_request_position(const struct range_request *request,
                              struct slice names[RANGE_POSITION_PARTS_MAX])
{
    const struct table_schema *const schemas[] = {&request->call->table->schema, request->schema};
    size_t count = 0;

    for (size_t i = 0; i < ARRAY_COUNT(schemas); i++)
        for (size_t k = 0; k < schemas[i]->part_count; k++) {
            size_t at = 0;

            while (at < count && !slice_equal(names[at], schemas[i]->parts[k].name))
                at++;
            if (at == count)
                names[count++] = schemas[i]->parts[k].name;
        }
    return count;
}

/* One attribute of the starting key. */
static const char *check_start_part(const struct range_request *request, size_t index)
{
    const struct table_key_part *part = &request->schema->parts[index];
    struct table_schema one = {.parts = {*part}, .part_count = 1};
    struct item_value attributes = item_root(buffer_slice(&request->start));
    struct item_value value;

    if (!item_find(&attributes, part->name, &value))
        return RANGE_BAD_START;
    return dynamodb_check_key(request->call->arena, &one, buffer_slice(&request->start), true);
}

static const char *check_start_row(const struct range_request *request)
{
    const char *why = dynamodb_check_key(request->call->arena, &request->call->table->schema,
                                         buffer_slice(&request->start), true);

    return why != NULL ? arena_printf(request->call->arena, RANGE_BAD_START ": %s", why) : NULL;
}

static bool has_all_attributes(const struct range_request *request)
{
    struct item_value attributes = item_root(buffer_slice(&request->start));
    struct slice names[RANGE_POSITION_PARTS_MAX];

    return item_count(&attributes) == range_request_position(request, names);
}

const char *range_request_check_scan_start(const struct range_request *request)
{
    const char *why = NULL;

    if (request->start.size == 0)
        return NULL;
    if (!has_all_attributes(request))
        return range_request_has_index(request) ? RANGE_BAD_START
                                                : RANGE_BAD_START
                   ": The provided key element does not match the schema";
    for (size_t i = 0;
         i < request->schema->part_count && range_request_has_index(request) && why == NULL; i++)
        why = check_start_part(request, i);
    return why != NULL ? why : check_start_row(request);
}

const char *range_request_check_query_keys(const struct range_request *request)
{
    bool has_start = request->start.size > 0;
    const char *why = has_start && !has_all_attributes(request) ? RANGE_BAD_START : NULL;

    for (size_t i = 0; i < request->schema->part_count && why == NULL; i++) {
        if (has_start)
            why = check_start_part(request, i);
        if (why == NULL)
            why =
                dynamodb_key_terms_check(request->call->arena, request->schema, &request->terms, i);
    }
    return why == NULL && has_start ? check_start_row(request) : why;
}

/* A global index gives what it projects and nothing else. */
static const char *check_projected(const struct range_request *request)
{
    const Skein__Wire__TableGlobalIndex *index;
    struct slice names[RANGE_POSITION_PARTS_MAX];
    size_t count = range_request_position(request, names);
    struct arena *arena = request->call->arena;
    const char *missing = NULL;

    if (request->global == RANGE_NO_INDEX)
        return NULL;
    index = request->call->table->record->global_indexes[request->global];
    if (index->projection == TABLE_PROJECTION_ALL)
        return NULL;
    for (size_t i = 0; i < request->projection.count; i++) {
        struct slice name = request->projection.paths[i].steps[0].name;
        bool is_there = false;

        for (size_t k = 0; k < count; k++)
            is_there = is_there || slice_equal(names[k], name);
        for (size_t k = 0; k < index->n_included; k++)
            is_there = is_there || slice_equal_text(name, index->included[k]);
        if (!is_there)
            missing =
                arena_printf(arena, "%s%s%.*s", missing != NULL ? missing : "",
                             missing != NULL ? ", " : "", (int)name.size, (const char *)name.data);
    }
    if (missing == NULL)
        return NULL;
    return arena_printf(arena,
                        "One or more parameter values were invalid: Global secondary index %s does "
                        "not project [%s]",
                        index->name, missing);
}

const char *range_request_check_paths(const struct range_request *request, bool is_query)
{
    const struct table_key_part *key = NULL;
    const char *why;

    if (is_query && request->filter != NULL)
        key = dynamodb_key_in_filter(request->schema, request->filter);
    if (key != NULL)
        return arena_printf(request->call->arena,
                            "%s can only contain non-primary key attributes: Primary key "
                            "attribute: %.*s",
                            member_of(request, "QueryFilter") != NULL ? "QueryFilter"
                                                                      : "Filter Expression",
                            (int)key->name.size, (const char *)key->name.data);
    why = dynamodb_expressions_check_table(&request->expressions, request->call->table);
    return why != NULL ? why : check_projected(request);
}
