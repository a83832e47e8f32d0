#include "node/aws/dynamodb_transact.h"

#include "node/aws/dynamodb_value.h"

/* ---- cancellation ---------------------------------------------------------------------------- */

struct dynamodb_reason dynamodb_reason_invalid(const char *why)
{
    return (struct dynamodb_reason){.code = "ValidationError", .message = why};
}

struct dynamodb_reason dynamodb_reason_conflict(void)
{
    return (struct dynamodb_reason){.code = "TransactionConflict",
                                    .message = "Transaction is ongoing for the item"};
}

static void put_message(struct buffer *text, const struct dynamodb_reason *reasons, size_t count)
{
    buffer_put_text(text, "Transaction cancelled, please refer cancellation reasons for specific "
                          "reasons [");
    for (size_t i = 0; i < count; i++)
        buffer_putf(text, "%s%s", i > 0 ? ", " : "",
                    reasons[i].code != NULL ? reasons[i].code : "None");
    buffer_put_text(text, "]");
}

static void write_reason(struct json_write *json, const struct dynamodb_reason *reason)
{
    json_begin_object(json);
    json_member_text(json, "Code", reason->code != NULL ? reason->code : "None");
    if (reason->item.size > 0) {
        json_key(json, "Item");
        dynamodb_value_write_item(json, reason->item);
    }
    if (reason->message != NULL)
        json_member_text(json, "Message", reason->message);
    json_end_object(json);
}

void dynamodb_cancel(struct dynamodb_call *call, const struct dynamodb_reason *reasons,
                     size_t count)
{
    struct buffer extra = BUFFER_INIT(BUFFER_UNLIMITED);
    struct buffer message = BUFFER_INIT(BUFFER_UNLIMITED);
    struct json_write json = json_write_to(&extra);

    put_message(&message, reasons, count);
    json_key(&json, "CancellationReasons");
    json_begin_array(&json);
    for (size_t i = 0; i < count; i++)
        write_reason(&json, &reasons[i]);
    json_end_array(&json);
    json_member_slice(&json, "Message", buffer_slice(&message));
    dynamodb_refuse_with(call, "TransactionCanceledException", NULL, buffer_slice(&extra));
    buffer_close(&message);
    buffer_close(&extra);
}

/* ---- capacity -------------------------------------------------------------------------------- */

static void write_units(struct json_write *json, uint64_t units, bool is_read)
{
    json_key(json, "CapacityUnits");
    json_fixed(json, units * 10, 1);
    json_key(json, is_read ? "ReadCapacityUnits" : "WriteCapacityUnits");
    json_fixed(json, units * 10, 1);
}

static bool is_first_of_table(const struct dynamodb_action_use *uses, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (uses[i].table == uses[at].table)
            return false;
    return true;
}

static void write_table(struct json_write *json, const struct dynamodb_call *call,
                        const struct dynamodb_action_use *uses, size_t count, size_t first,
                        bool is_read)
{
    uint64_t units = 0;

    for (size_t i = first; i < count; i++)
        if (uses[i].table == uses[first].table)
            units += uses[i].units;
    json_begin_object(json);
    json_member_text(json, "TableName", uses[first].table->record->name);
    write_units(json, units, is_read);
    if (dynamodb_text_is(call, "ReturnConsumedCapacity", "INDEXES")) {
        json_key(json, "Table");
        json_begin_object(json);
        write_units(json, units, is_read);
        json_end_object(json);
    }
    json_end_object(json);
}

void dynamodb_write_action_uses(struct json_write *json, const struct dynamodb_call *call,
                                const struct dynamodb_action_use *uses, size_t count, bool is_read)
{
    if (!dynamodb_wants_capacity(call))
        return;
    json_key(json, "ConsumedCapacity");
    json_begin_array(json);
    for (size_t i = 0; i < count; i++)
        if (is_first_of_table(uses, i))
            write_table(json, call, uses, count, i, is_read);
    json_end_array(json);
}
