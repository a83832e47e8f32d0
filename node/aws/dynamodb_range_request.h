/* What a Query or a Scan asks for, read and checked in the service's order and words.
 *
 * First what needs no table (range_request_read_*), then, with the table held in the call, its
 * index, its keys and the starting key. Every function gives NULL, or what is wrong. */

#ifndef NODE_AWS_DYNAMODB_RANGE_REQUEST_H
#define NODE_AWS_DYNAMODB_RANGE_REQUEST_H

#include "node/aws/dynamodb_call.h"
#include "node/aws/dynamodb_expression.h"
#include "node/aws/dynamodb_key_condition.h"

#define RANGE_NO_INDEX SIZE_MAX
#define RANGE_BAD_START "The provided starting key is invalid"

struct range_request {
    struct dynamodb_call *call;
    struct dynamodb_expressions expressions;
    const struct expression *filter; /* NULL: none */
    struct expression_paths projection;
    struct dynamodb_key_terms terms; /* of a Query */
    struct buffer start;             /* ExclusiveStartKey as an item; empty: none */
    uint32_t segment;
    uint32_t segment_count;
    size_t index;                      /* local index, or RANGE_NO_INDEX */
    size_t global;                     /* global index, or RANGE_NO_INDEX */
    const struct table_schema *schema; /* of the index or of the table */
};

extern const struct shape range_scan_shape[];
extern const struct shape range_query_shape[];

void range_request_init(struct range_request *request, struct dynamodb_call *call);
void range_request_close(struct range_request *request);

const char *range_request_read_scan(struct range_request *request);
const char *range_request_read_query(struct range_request *request);

const char *range_request_find_index(struct range_request *request);
/* Of one of its two kinds. */
bool range_request_has_index(const struct range_request *request);
/* The names of the attributes that say where a row is: the keys of table and index, each once. */
#define RANGE_POSITION_PARTS_MAX (2 * TABLE_KEY_PARTS_MAX)
size_t range_request_position(const struct range_request *request,
                              struct slice names[RANGE_POSITION_PARTS_MAX]);
/* The starting key, if there is one, and what a Query asks of the keys. */
const char *range_request_check_scan_start(const struct range_request *request);
const char *range_request_check_query_keys(const struct range_request *request);
/* Key attributes in a filter, or looked into by an expression. */
const char *range_request_check_paths(const struct range_request *request, bool is_query);

#endif
