#include "node/aws/dynamodb_update.h"

static const char *check_no_key(struct arena *arena, const struct table_schema *schema,
                                const struct item_update *update)
{
    for (size_t i = 0; i < update->action_count; i++)
        for (size_t k = 0; k < schema->part_count; k++)
            if (slice_equal(update->actions[i].path.steps[0].name, schema->parts[k].name))
                return arena_printf(arena,
                                    "One or more parameter values were invalid: Cannot update "
                                    "attribute %.*s. This attribute is part of the key",
                                    (int)schema->parts[k].name.size,
                                    (const char *)schema->parts[k].name.data);
    return NULL;
}

/* What an action certainly makes of its attribute; 0 when the item decides. */
static enum item_type type_after(const struct item_update_action *action)
{
    if (action->operand == NULL)
        return 0;
    if (action->operand->kind == EXPRESSION_PLUS || action->operand->kind == EXPRESSION_MINUS)
        return ITEM_N;
    if (action->operand->kind == EXPRESSION_LIST_APPEND)
        return ITEM_L;
    return action->operand->kind == EXPRESSION_VALUE ? action->operand->value.type : 0;
}

static const char *check_index_types(struct arena *arena, const struct dynamodb_table *table,
                                     const struct item_update *update)
{
    for (size_t i = 0; i < table->record->n_local_indexes; i++)
        for (size_t k = 0; k < update->action_count; k++) {
            const struct table_key_part *part = &table->index_schemas[i].parts[1];
            const struct item_update_action *action = &update->actions[k];
            enum item_type type = type_after(action);

            if (type == 0 || type == part->type || action->path.step_count != 1 ||
                !slice_equal(action->path.steps[0].name, part->name))
                continue;
            return arena_printf(arena,
                                "One or more parameter values were invalid: Type mismatch for "
                                "Index Key %.*s Expected: %s Actual: %s IndexName: %s",
                                (int)part->name.size, (const char *)part->name.data,
                                item_type_name(part->type), item_type_name(type),
                                table->record->local_indexes[i]->name);
        }
    return NULL;
}

const char *dynamodb_check_update(struct arena *arena, const struct dynamodb_table *table,
                                  const struct item_update *update)
{
    const char *why = check_no_key(arena, &table->schema, update);

    return why != NULL ? why : check_index_types(arena, table, update);
}

bool dynamodb_update_may_create(const struct item_update *update)
{
    for (size_t i = 0; i < update->action_count; i++)
        if (update->actions[i].kind == ITEM_UPDATE_SET ||
            update->actions[i].kind == ITEM_UPDATE_ADD)
            return true;
    return update->action_count == 0;
}
