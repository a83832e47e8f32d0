#include "node/aws/aws_input.h"

#include <stdarg.h>
#include <stdio.h>

#define WHY_BYTES 512

bool aws_input_refuse(struct aws_input *input, int status, const char *code, const char *format,
                      ...)
{
    char why[WHY_BYTES];
    va_list arguments;

    if (aws_input_has_fault(input))
        return false;
    va_start(arguments, format);
    vsnprintf(why, sizeof(why), format, arguments);
    va_end(arguments);
    input->fault = (struct aws_fault){
        .status = status,
        .code = code,
        .message = arena_text(input->arena, slice_text(why)),
    };
    return false;
}

struct aws_input aws_input_read(struct arena *arena, struct slice body, const char *fault_code)
{
    struct aws_input input = {.arena = arena, .fault_code = fault_code};
    json_error_t error = {0};

    if (body.size == 0)
        input.root = json_object();
    else
        input.root = json_loadb((const char *)body.data, body.size, 0, &error);
    if (input.root == NULL)
        aws_input_refuse(&input, 400, fault_code,
                         "Could not parse request body into json: %s at line %d, column %d",
                         error.text, error.line, error.column);
    else if (!json_is_object(input.root))
        aws_input_refuse(&input, 400, fault_code,
                         "Could not parse request body into json: an object is expected");
    return input;
}

void aws_input_close(struct aws_input *input)
{
    json_decref(input->root);
    input->root = NULL;
}

/* The member; NULL when absent, null, or of a type that `is_wanted` is false for. */
static json_t *member(struct aws_input *input, const json_t *object, const char *key,
                      const char *wanted, int type)
{
    json_t *value = json_object_get(object, key);

    if (value == NULL || json_is_null(value))
        return NULL;
    if ((int)json_typeof(value) == type || (type == JSON_TRUE && json_is_false(value)))
        return value;
    aws_input_refuse(input, 400, input->fault_code, "Unexpected type: '%s' must be %s", key,
                     wanted);
    return NULL;
}

const char *aws_input_text(struct aws_input *input, const json_t *object, const char *key)
{
    return json_string_value(member(input, object, key, "a string", JSON_STRING));
}

int64_t aws_input_integer(struct aws_input *input, const json_t *object, const char *key,
                          int64_t missing)
{
    const json_t *value = member(input, object, key, "an integer", JSON_INTEGER);

    return value != NULL ? json_integer_value(value) : missing;
}

bool aws_input_bool(struct aws_input *input, const json_t *object, const char *key, bool missing)
{
    const json_t *value = member(input, object, key, "a boolean", JSON_TRUE);

    return value != NULL ? json_is_true(value) : missing;
}

json_t *aws_input_object(struct aws_input *input, const json_t *object, const char *key)
{
    return member(input, object, key, "an object", JSON_OBJECT);
}

json_t *aws_input_array(struct aws_input *input, const json_t *object, const char *key)
{
    return member(input, object, key, "a list", JSON_ARRAY);
}

bool aws_input_texts(struct aws_input *input, const json_t *object, const char *key, size_t *count,
                     char ***texts)
{
    const json_t *list = aws_input_array(input, object, key);
    size_t size = json_array_size(list);
    char **found;

    if (list == NULL || aws_input_has_fault(input))
        return !aws_input_has_fault(input);
    found = arena_alloc(input->arena, (size + 1) * sizeof(*found));
    for (size_t i = 0; i < size; i++) {
        const char *text = json_string_value(json_array_get(list, i));

        if (text == NULL)
            return aws_input_refuse(input, 400, input->fault_code,
                                    "Unexpected type: '%s' must be a list of strings", key);
        found[i] = arena_text(input->arena, slice_text(text));
    }
    *count = size;
    *texts = found;
    return true;
}

uint64_t aws_input_page(struct slice text, uint64_t missing, uint64_t max)
{
    uint64_t count = 0;

    if (text.data == NULL)
        return missing;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || count > max)
            return 0;
        count = count * 10 + (uint64_t)(text.data[i] - '0');
    }
    return count <= max ? count : 0;
}
