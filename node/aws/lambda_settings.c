#include "node/aws/lambda_settings.h"

#include "node/aws/aws_wire.h"
#include "node/aws/lambda_change.h"

#include <inttypes.h>

#define KEY_PREFIX "settings/"

char *lambda_settings_key(struct arena *arena, const char *function)
{
    return arena_printf(arena, KEY_PREFIX "%s", function);
}

struct lambda_settings lambda_settings_load(const struct lambda_call *call)
{
    ProtobufCAllocator allocator = aws_wire_allocator(call->arena);
    struct lambda_settings settings = {.revision = VIEW_REVISION_NONE};
    struct slice value;

    if (view_get(call->lambda->with.view, lambda_settings_key(call->arena, call->name.name), &value,
                 &settings.revision) == OK)
        settings.record =
            skein__wire__function_settings__unpack(&allocator, value.size, value.data);
    if (settings.record != NULL)
        return settings;
    settings.record = arena_alloc(call->arena, sizeof(*settings.record));
    skein__wire__function_settings__init(settings.record);
    settings.record->function = arena_text(call->arena, slice_text(call->name.name));
    return settings;
}

const char *lambda_settings_qualifier(const struct lambda_call *call)
{
    return lambda_name_is_latest(&call->name) ? "" : call->name.qualifier;
}

/* ---- the parts ------------------------------------------------------------------------------ */

Skein__Wire__FunctionQualifierSettings *
lambda_settings_find(const Skein__Wire__FunctionSettings *record, const char *qualifier)
{
    for (size_t i = 0; i < record->n_qualifiers; i++)
        if (strcmp(record->qualifiers[i]->qualifier, qualifier) == 0)
            return record->qualifiers[i];
    return NULL;
}

Skein__Wire__FunctionQualifierSettings *lambda_settings_need(struct arena *arena,
                                                             Skein__Wire__FunctionSettings *record,
                                                             const char *qualifier)
{
    Skein__Wire__FunctionQualifierSettings *part = lambda_settings_find(record, qualifier);
    Skein__Wire__FunctionQualifierSettings **parts;

    if (part != NULL)
        return part;
    part = arena_alloc(arena, sizeof(*part));
    skein__wire__function_qualifier_settings__init(part);
    part->qualifier = arena_text(arena, slice_text(qualifier));
    parts = arena_alloc(arena, (record->n_qualifiers + 1) * sizeof(*parts));
    for (size_t i = 0; i < record->n_qualifiers; i++)
        parts[i] = record->qualifiers[i];
    parts[record->n_qualifiers++] = part;
    record->qualifiers = parts;
    return part;
}

static void drop_empty_parts(Skein__Wire__FunctionSettings *record)
{
    size_t kept = 0;

    for (size_t i = 0; i < record->n_qualifiers; i++) {
        Skein__Wire__FunctionQualifierSettings *part = record->qualifiers[i];

        if (part->n_permissions > 0 || part->event_config != NULL || part->url != NULL ||
            part->provisioned > 0)
            record->qualifiers[kept++] = part;
    }
    record->n_qualifiers = kept;
}

/* ---- changing ------------------------------------------------------------------------------- */

bool lambda_settings_change(const struct lambda_call *call, const struct lambda_settings *settings,
                            struct view_change *change)
{
    Skein__Wire__FunctionSettings *record = settings->record;

    drop_empty_parts(record);
    *change = (struct view_change){
        .key = lambda_settings_key(call->arena, call->name.name),
        .is_delete = !record->has_reserved && record->n_tags == 0 && record->n_qualifiers == 0,
        .expected_revision = settings->revision,
    };
    if (!change->is_delete)
        change->value = aws_wire_pack(call->arena, &record->base);
    return change->value.size <= LAMBDA_SETTINGS_BYTES_MAX;
}

bool lambda_settings_forget(const struct lambda_call *call, const char *qualifier,
                            struct view_change *change)
{
    const struct lambda_settings settings = lambda_settings_load(call);
    Skein__Wire__FunctionQualifierSettings *part = lambda_settings_find(settings.record, qualifier);

    if (part == NULL)
        return false;
    part->n_permissions = 0;
    part->event_config = NULL;
    part->url = NULL;
    part->provisioned = 0;
    return lambda_settings_change(call, &settings, change);
}

void lambda_settings_commit(struct lambda_call *call, const struct lambda_settings *settings,
                            const struct view_change *more, size_t more_count,
                            struct buffer *answer, int success_status)
{
    struct view_change *records = arena_alloc(call->arena, (more_count + 1) * sizeof(*records));
    struct lambda_change_plan plan = {
        .request = call->request,
        .function = call->function,
        .expected_revision = call->revision,
        .more = records,
        .answer = answer,
        .success_status = success_status,
        .is_setting = true,
        .is_repeatable = true,
        .attempt = call->attempt,
    };

    for (size_t i = 0; i < more_count; i++)
        records[plan.more_count++] = more[i];
    if (!lambda_settings_change(call, settings, &records[plan.more_count])) {
        if (answer != NULL)
            buffer_close(answer);
        lambda_call_refuse(call, 400, "InvalidParameterValueException",
                           "What is set for one function may have at most 512 KB here.");
        return;
    }
    if (!records[plan.more_count].is_delete || settings->revision != VIEW_REVISION_NONE)
        plan.more_count++;
    lambda_change_start(&call->lambda->with, &call->lambda->changes, &plan);
}

/* ---- all of them ---------------------------------------------------------------------------- */

struct walk {
    struct arena *arena;
    void *user;
    void (*each)(void *user, const Skein__Wire__FunctionSettings *record);
};

static void on_record(void *user, const char *key, struct slice value, uint64_t revision)
{
    const struct walk *walk = user;
    ProtobufCAllocator allocator = aws_wire_allocator(walk->arena);
    const Skein__Wire__FunctionSettings *record =
        skein__wire__function_settings__unpack(&allocator, value.size, value.data);

    (void)key;
    (void)revision;
    if (record != NULL)
        walk->each(walk->user, record);
}

void lambda_settings_each(const struct view *view, struct arena *arena, void *user,
                          void (*each)(void *user, const Skein__Wire__FunctionSettings *record))
{
    struct walk walk = {arena, user, each};

    view_each(view, KEY_PREFIX, &walk, on_record);
}

/* ---- pages ---------------------------------------------------------------------------------- */

bool lambda_settings_page(struct lambda_call *call, struct lambda_page *page)
{
    struct slice marker = http_query_find(call->request->exchange, "Marker");

    *page = (struct lambda_page){.arena = call->arena, .limit = lambda_call_page(call)};
    if (page->limit == 0)
        return false;
    if (marker.size == 0)
        return true;
    page->skip = aws_input_page(marker, 0, LAMBDA_SETTINGS_BYTES_MAX);
    if (page->skip > 0)
        return true;
    lambda_call_refuse(call, 400, "InvalidParameterValueException", "Invalid Marker");
    return false;
}

bool lambda_settings_page_takes(struct lambda_page *page)
{
    uint64_t at = page->seen++;

    return at >= page->skip && at < page->skip + page->limit;
}

void lambda_settings_page_end(const struct lambda_page *page, struct json_write *json)
{
    if (page->seen > page->skip + page->limit)
        json_member_text(json, "NextMarker",
                         arena_printf(page->arena, "%" PRIu64, page->skip + page->limit));
}

void lambda_settings_list(struct lambda_call *call, const struct lambda_settings_kind *kind)
{
    const struct lambda_settings settings = lambda_settings_load(call);
    struct lambda_page page;
    struct buffer body = BUFFER_INIT(LAMBDA_DOCUMENT_BYTES_MAX);
    struct json_write json = json_write_to(&body);

    if (!lambda_settings_page(call, &page))
        return;
    json_begin_object(&json);
    json_key(&json, kind->list);
    json_begin_array(&json);
    for (size_t i = 0; i < settings.record->n_qualifiers; i++)
        if (kind->has(settings.record->qualifiers[i]) && lambda_settings_page_takes(&page))
            kind->write(call, &json, settings.record->qualifiers[i]);
    json_end_array(&json);
    lambda_settings_page_end(&page, &json);
    json_end_object(&json);
    lambda_call_reply(call, &body, &json);
}
