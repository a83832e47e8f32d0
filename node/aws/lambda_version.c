#include "node/aws/lambda_version.h"

#include "node/aws/aws_reply.h"
#include "node/aws/aws_wire.h"
#include "node/aws/lambda_alias.h"
#include "node/aws/lambda_change.h"
#include "node/aws/lambda_config.h"
#include "node/aws/lambda_qualifier.h"
#include "node/aws/lambda_settings.h"
#include "proto/base/check.h"
#include "proto/base/encode.h"

#include <inttypes.h>

/* ---- listing -------------------------------------------------------------------------------- */

struct listing {
    struct arena *arena;
    Skein__Wire__Function *versions[LAMBDA_VERSIONS_MAX];
    size_t count;
};

static void add_version(void *user, const char *key, struct slice value, uint64_t revision)
{
    struct listing *listing = user;
    ProtobufCAllocator allocator = aws_wire_allocator(listing->arena);
    Skein__Wire__Function *version =
        skein__wire__function__unpack(&allocator, value.size, value.data);

    (void)key;
    (void)revision;
    if (version != NULL && listing->count < LAMBDA_VERSIONS_MAX)
        listing->versions[listing->count++] = version;
}

static int by_number(const void *a, const void *b)
{
    const Skein__Wire__Function *x = *(Skein__Wire__Function *const *)a;
    const Skein__Wire__Function *y = *(Skein__Wire__Function *const *)b;

    return (x->version > y->version) - (x->version < y->version);
}

/* All versions, by number: the catalogue has them by text. */
static struct listing *find_versions(const struct lambda_call *call)
{
    struct listing *listing = arena_alloc(call->arena, sizeof(*listing));

    listing->arena = call->arena;
    view_each(call->lambda->with.view, arena_printf(call->arena, "version/%s/", call->name.name),
              listing, add_version);
    qsort(listing->versions, listing->count, sizeof(listing->versions[0]), by_number);
    return listing;
}

static void count_one(void *user, const char *key, struct slice value, uint64_t revision)
{
    (void)key;
    (void)value;
    (void)revision;
    ++*(uint64_t *)user;
}

Skein__Wire__Function *const *lambda_version_find_all(const struct lambda_call *call,
                                                      uint64_t *count)
{
    const struct listing *listing = find_versions(call);

    *count = listing->count;
    return listing->versions;
}

uint64_t lambda_version_count(const struct lambda_call *call)
{
    uint64_t count = 0;

    view_each(call->lambda->with.view, arena_printf(call->arena, "version/%s/", call->name.name),
              &count, count_one);
    return count;
}

/* The marker is the number that the next page begins with; the first begins with $LATEST, 0. */
void lambda_version_list(struct lambda_call *call)
{
    const char *marker =
        arena_text(call->arena, http_query_find(call->request->exchange, "Marker"));
    const struct listing *listing = find_versions(call);
    struct buffer body = BUFFER_INIT(LAMBDA_DOCUMENT_BYTES_MAX);
    struct json_write json = json_write_to(&body);
    uint64_t left = lambda_call_page(call);
    uint64_t first = 0;
    size_t i = 0;

    if (left == 0)
        return;
    if (marker[0] != '\0' && lambda_qualifier_parse(marker, &first) != OK) {
        lambda_call_refuse(call, 400, "InvalidParameterValueException", "Invalid Marker");
        return;
    }
    json_begin_object(&json);
    json_key(&json, "Versions");
    json_begin_array(&json);
    if (first == 0) {
        lambda_config_write(&json, call->function, call->request->region, LAMBDA_LATEST);
        left--;
    }
    while (i < listing->count && listing->versions[i]->version < first)
        i++;
    for (; i < listing->count && left > 0; i++, left--)
        lambda_config_write(&json, listing->versions[i], call->request->region, NULL);
    json_end_array(&json);
    if (i < listing->count)
        json_member_text(&json, "NextMarker",
                         arena_printf(call->arena, "%" PRIu64, listing->versions[i]->version));
    json_end_object(&json);
    lambda_call_reply(call, &body, &json);
}

/* ---- publishing ----------------------------------------------------------------------------- */

static bool check_hash(struct lambda_call *call, struct aws_input *input)
{
    const char *wanted = aws_input_text(input, input->root, "CodeSha256");
    AUTO(buffer) current = BUFFER_INIT(BUFFER_UNLIMITED);

    if (wanted == NULL)
        return !aws_input_has_fault(input);
    CHECK(encode_base64(slice_of(call->function->code_sha256.data, call->function->code_sha256.len),
                        &current) == OK);
    return strcmp(wanted, buffer_text(&current)) == 0 ||
           aws_input_refuse(input, 400, "InvalidParameterValueException",
                            "CodeSHA256 (%s) is different from current CodeSHA256 in $LATEST (%s). "
                            "Please try again with the CodeSHA256 in $LATEST.",
                            wanted, buffer_text(&current));
}

/* What has not changed since is not published again. */
static bool answer_last(struct lambda_call *call)
{
    const Skein__Wire__Function *last;
    struct buffer body = BUFFER_INIT(LAMBDA_DOCUMENT_BYTES_MAX);
    struct json_write json = json_write_to(&body);

    if (call->function->last_version == 0 ||
        call->function->last_generation != call->function->generation)
        return false;
    last = lambda_call_find(call, call->function->last_version, NULL);
    if (last == NULL)
        return false;
    lambda_config_write(&json, last, call->request->region, NULL);
    aws_reply(call->request, 201, &body);
    return true;
}

void lambda_version_publish(struct lambda_call *call)
{
    struct aws_input input = lambda_call_read(call);
    const char *description = NULL;
    bool is_good = !aws_input_has_fault(&input) &&
                   lambda_call_check_revision(&input, call->function->revision_id) &&
                   check_hash(call, &input) && lambda_config_read_description(&input, &description);
    const struct lambda_change_plan plan = {
        .request = call->request,
        .function = call->function,
        .expected_revision = call->revision,
        .description = description,
        .success_status = 201,
        .is_setting = true,
        .publishes = true,
    };

    aws_input_close(&input);
    if (!is_good)
        aws_fault_send(call->request, &input.fault);
    else if (answer_last(call))
        return;
    else if (lambda_version_count(call) >= LAMBDA_VERSIONS_MAX)
        lambda_call_refuse(call, 400, "CodeStorageExceededException",
                           "A function has at most 500 versions here. Delete some first.");
    else
        lambda_change_start(&call->lambda->with, &call->lambda->changes, &plan);
}

/* ---- deleting ------------------------------------------------------------------------------- */

void lambda_version_delete(struct lambda_call *call)
{
    const Skein__Wire__Function *version;
    struct view_change records[2] = {{.is_delete = true}};
    bool has_settings;
    uint64_t number;

    if (lambda_qualifier_parse(call->name.qualifier, &number) != OK) {
        lambda_call_refuse(call, 400, "InvalidParameterValueException",
                           "Deletion of aliases is not currently supported. Use DeleteAlias.");
        return;
    }
    if (number == 0) {
        lambda_call_refuse(call, 400, "InvalidParameterValueException",
                           "$LATEST version cannot be deleted without deleting the function.");
        return;
    }
    version = lambda_call_find(call, number, &records[0].expected_revision);
    if (version == NULL) {
        lambda_call_refuse_missing(call);
        return;
    }
    if (lambda_alias_has(call, number)) {
        lambda_call_refuse(call, 409, "ResourceConflictException",
                           arena_printf(call->arena,
                                        "Function version %" PRIu64 " is referenced by an alias. "
                                        "Delete the alias, or point it elsewhere, first.",
                                        number));
        return;
    }
    records[0].key = lambda_call_version_key(call->arena, call->name.name, number);
    has_settings = lambda_settings_forget(call, call->name.qualifier, &records[1]);
    const struct lambda_change_plan plan = {
        .request = call->request,
        .function = call->function,
        .expected_revision = call->revision,
        .more = records,
        .more_count = has_settings ? 2 : 1,
        .removed = version,
        .success_status = 204,
        .is_setting = true,
    };

    lambda_change_start(&call->lambda->with, &call->lambda->changes, &plan);
}
