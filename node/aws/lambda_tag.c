#include "node/aws/lambda_tag.h"

#include "node/aws/lambda_settings.h"
#include "proto/base/encode.h"
#include "proto/base/utf8.h"

#define KEY_CHARACTERS_MAX 128
#define VALUE_CHARACTERS_MAX 256

static const char parameter_code[] = "InvalidParameterValueException";

void lambda_tag_write(struct json_write *json, const Skein__Wire__FunctionSettings *record)
{
    json_begin_object(json);
    for (size_t i = 0; i < record->n_tags; i++)
        json_member_text(json, record->tags[i]->key, record->tags[i]->value);
    json_end_object(json);
}

/* ---- changing them in memory ------------------------------------------------------------------
 */

static size_t find_tag(const Skein__Wire__FunctionSettings *record, const char *key)
{
    size_t i = 0;

    while (i < record->n_tags && strcmp(record->tags[i]->key, key) != 0)
        i++;
    return i;
}

static void set_tag(struct arena *arena, Skein__Wire__FunctionSettings *record, const char *key,
                    const char *value)
{
    size_t at = find_tag(record, key);
    Skein__Wire__FunctionTag **tags;

    if (at == record->n_tags) {
        tags = arena_alloc(arena, (record->n_tags + 1) * sizeof(*tags));
        for (size_t i = 0; i < record->n_tags; i++)
            tags[i] = record->tags[i];
        tags[at] = arena_alloc(arena, sizeof(**tags));
        skein__wire__function_tag__init(tags[at]);
        tags[at]->key = arena_text(arena, slice_text(key));
        record->tags = tags;
        record->n_tags++;
    }
    record->tags[at]->value = arena_text(arena, slice_text(value));
}

static bool check_tag(struct aws_input *input, const char *key, const json_t *value)
{
    size_t characters = utf8_count(slice_text(key));

    if (!json_is_string(value))
        return aws_input_refuse(input, 400, input->fault_code,
                                "Unexpected type: the value of tag '%s' must be a string", key);
    if (characters == 0 || characters > KEY_CHARACTERS_MAX || strncmp(key, "aws:", 4) == 0)
        return aws_input_refuse(input, 400, parameter_code,
                                "The tag key '%s' is invalid: 1 to %d characters that do not begin "
                                "with 'aws:'.",
                                key, KEY_CHARACTERS_MAX);
    return utf8_count(slice_text(json_string_value(value))) <= VALUE_CHARACTERS_MAX ||
           aws_input_refuse(input, 400, parameter_code,
                            "The value of the tag '%s' is longer than %d characters.", key,
                            VALUE_CHARACTERS_MAX);
}

bool lambda_tag_read(struct aws_input *input, Skein__Wire__FunctionSettings *record)
{
    json_t *tags = aws_input_object(input, input->root, "Tags");
    const char *key;
    json_t *value;

    if (aws_input_has_fault(input))
        return false;
    json_object_foreach(tags, key, value)
    {
        if (!check_tag(input, key, value))
            return false;
        set_tag(input->arena, record, key, json_string_value(value));
    }
    return record->n_tags <= LAMBDA_TAGS_MAX ||
           aws_input_refuse(input, 400, parameter_code,
                            "Number of tags exceeds resource tag limit.");
}

/* ---- operations -------------------------------------------------------------------------------
 */

bool lambda_tag_read_resource(struct lambda_call *call, const char *arn)
{
    if (strncmp(arn, "arn:", 4) != 0 || lambda_name_parse(slice_text(arn), &call->name) != OK) {
        lambda_call_refuse(
            call, 400, "ValidationException",
            arena_printf(call->arena,
                         "1 validation error detected: Value '%s' at 'resource' failed to satisfy "
                         "constraint: Member must satisfy regular expression pattern: "
                         "arn:(aws[a-zA-Z-]*):lambda:[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\\d{1}"
                         ":\\d{12}:(function:[a-zA-Z0-9-_]+(:(\\$LATEST|[a-zA-Z0-9-_]+))?|layer:"
                         "([a-zA-Z0-9-_]+)|code-signing-config:csc-[a-z0-9]{17}|event-source-"
                         "mapping:[a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{12})",
                         arn));
        return false;
    }
    if (call->name.qualifier[0] == '\0')
        return true;
    lambda_call_refuse(call, 400, parameter_code,
                       "Tags on function aliases and versions are not supported. Please specify "
                       "a function ARN.");
    return false;
}

void lambda_tag_list(struct lambda_call *call)
{
    struct buffer body = BUFFER_INIT(LAMBDA_DOCUMENT_BYTES_MAX);
    struct json_write json = json_write_to(&body);

    json_begin_object(&json);
    json_key(&json, "Tags");
    lambda_tag_write(&json, lambda_settings_load(call).record);
    json_end_object(&json);
    lambda_call_reply(call, &body, &json);
}

void lambda_tag_add(struct lambda_call *call)
{
    struct lambda_settings settings = lambda_settings_load(call);
    struct aws_input input = lambda_call_read(call);
    const json_t *tags = aws_input_object(&input, input.root, "Tags");
    bool is_good = !aws_input_has_fault(&input);

    if (is_good && tags == NULL)
        is_good = aws_input_refuse(&input, 400, "ValidationException",
                                   "1 validation error detected: Value null at 'tags' failed to "
                                   "satisfy constraint: Member must not be null");
    if (is_good && json_object_size(tags) == 0)
        is_good = aws_input_refuse(&input, 400, parameter_code,
                                   "An error occurred and the request cannot be processed.");
    is_good = is_good && lambda_tag_read(&input, settings.record);
    aws_input_close(&input);
    if (is_good)
        lambda_settings_commit(call, &settings, NULL, 0, NULL, 204);
    else
        aws_fault_send(call->request, &input.fault);
}

static void drop_tag(Skein__Wire__FunctionSettings *record, const char *key)
{
    size_t at = find_tag(record, key);

    if (at == record->n_tags)
        return;
    record->n_tags--;
    for (; at < record->n_tags; at++)
        record->tags[at] = record->tags[at + 1];
}

/* Every tagKeys=KEY of a query; how many there are. */
static size_t drop_tags(struct arena *arena, struct slice query,
                        Skein__Wire__FunctionSettings *record)
{
    const struct slice name = SLICE_LITERAL("tagKeys=");
    size_t count = 0;

    while (query.size > 0) {
        const uint8_t *end = memchr(query.data, '&', query.size);
        struct slice part =
            slice_of(query.data, end != NULL ? (size_t)(end - query.data) : query.size);
        AUTO(buffer) key = BUFFER_INIT(part.size);

        if (slice_starts_with(part, name) &&
            decode_percent(slice_of(part.data + name.size, part.size - name.size), true, &key) ==
                OK) {
            drop_tag(record, arena_text(arena, buffer_slice(&key)));
            count++;
        }
        if (end == NULL)
            break;
        query = slice_of(end + 1, query.size - part.size - 1);
    }
    return count;
}

void lambda_tag_remove(struct lambda_call *call)
{
    struct lambda_settings settings = lambda_settings_load(call);

    if (drop_tags(call->arena, call->request->exchange->query, settings.record) > 0)
        lambda_settings_commit(call, &settings, NULL, 0, NULL, 204);
    else
        lambda_call_refuse(call, 400, "ValidationException",
                           "1 validation error detected: Value null at 'tagKeys' failed to satisfy "
                           "constraint: Member must not be null");
}
