#include "chaos/checker/model.h"

#include "proto/base/check.h"

#define TOTAL_MAX (1ll << 53)

static const struct model *const models[] = {&model_register, &model_kv, &model_counter,
                                             &model_once, &model_bank};

const struct model *model_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(models); i++)
        if (strcmp(models[i]->name, name) == 0)
            return models[i];
    return NULL;
}

bool model_function_find(const struct model *model, const char *name, uint8_t *code)
{
    for (size_t i = 0; i < model->function_count; i++) {
        if (strcmp(model->functions[i].name, name) == 0) {
            *code = model->functions[i].code;
            return true;
        }
    }
    return false;
}

uint32_t model_json_put(struct intern *values, const json_t *value)
{
    const size_t flags = JSON_ENCODE_ANY | JSON_SORT_KEYS | JSON_COMPACT;
    char text[256];
    size_t size;

    if (value == NULL)
        return intern_put(values, SLICE_LITERAL("null"));
    if (json_is_integer(value)) { /* by far the most frequent */
        size = (size_t)snprintf(text, sizeof(text), "%" JSON_INTEGER_FORMAT,
                                json_integer_value(value));
        return intern_put(values, slice_of(text, size));
    }
    size = json_dumpb(value, text, sizeof(text), flags);
    if (size <= sizeof(text))
        return intern_put(values, slice_of(text, size));
    char *longer = check_malloc(size);
    uint32_t id;

    size = json_dumpb(value, longer, size, flags);
    id = intern_put(values, slice_of(longer, size));
    free(longer);
    return id;
}

static bool is_within(const json_t *value, int64_t most, int64_t *number)
{
    int64_t got = json_integer_value(value);

    if (!json_is_integer(value) || got > most || got < -most)
        return false;
    *number = got;
    return true;
}

bool model_amount(const json_t *value, int64_t *amount)
{
    return is_within(value, HISTORY_AMOUNT_MAX, amount);
}

bool model_total(const json_t *value, int64_t *total)
{
    return is_within(value, TOTAL_MAX, total);
}
