#include "node/aws/lambda_change.h"

#include "node/aws/aws_fault.h"
#include "node/aws/aws_reply.h"
#include "node/aws/aws_wire.h"
#include "node/aws/lambda_config.h"
#include "node/sandbox/package.h"
#include "proto/base/check.h"
#include "proto/base/encode.h"

#include <openssl/evp.h>

#define COMMIT_DEADLINE_MS 15000
#define DOCUMENT_BYTES_MAX (64u << 10)

static void on_checked(struct env_work *check);
static void on_stored(struct blob_transfer *transfer, enum error rc, struct buffer *content);
static void on_committed(struct view_update *update, enum error rc);
static void on_released(struct blob_transfer *transfer, enum error rc, struct buffer *content);

void lambda_change_free(struct lambda_change *change)
{
    list_remove(&change->link);
    blob_cancel(&change->transfer);
    view_update_cancel(&change->update);
    buffer_close(&change->zip);
    free(change);
}

static struct lambda_claim claim_of(const Skein__Wire__Function *function)
{
    struct lambda_claim claim = {0};

    if (function->code_sha256.len != BLOB_SHA256_BYTES ||
        function->code_owner.len != BLOB_OWNER_BYTES)
        return claim;
    memcpy(claim.sha256, function->code_sha256.data, BLOB_SHA256_BYTES);
    memcpy(claim.owner, function->code_owner.data, BLOB_OWNER_BYTES);
    claim.chunk_count = function->code_chunk_count;
    return claim;
}

/* The answer is out. Give up the package nobody refers to any more, and end. */
static void release(struct lambda_change *change, const struct lambda_claim *claim)
{
    buffer_close(&change->zip);
    change->request = NULL;
    change->function = NULL;
    if (claim->chunk_count == 0) {
        lambda_change_free(change);
        return;
    }
    blob_release(change->with->router, &change->transfer, claim->sha256, claim->owner,
                 claim->chunk_count, on_released);
}

static void on_released(struct blob_transfer *transfer, enum error rc, struct buffer *content)
{
    (void)rc;
    (void)content;
    lambda_change_free(container_of(transfer, struct lambda_change, transfer));
}

static void answer_success(struct lambda_change *change)
{
    struct buffer body = BUFFER_INIT(DOCUMENT_BYTES_MAX);
    struct json_write json = json_write_to(&body);

    if (change->is_delete) {
        aws_reply(change->request, change->success_status, NULL);
        return;
    }
    lambda_config_write(&json, change->function, change->request->region);
    aws_reply(change->request, change->success_status, &body);
}

static void answer_failure(struct lambda_change *change, enum error rc)
{
    struct arena *arena = &change->request->exchange->arena;
    const char *name = change->function->name;
    bool is_create = change->expected_revision == VIEW_REVISION_NONE;

    if (rc == ERR_CONFLICT && is_create)
        aws_fault_respond(change->request, 409, "ResourceConflictException",
                          arena_printf(arena, "Function already exist: %s", name));
    else if (rc == ERR_CONFLICT)
        aws_fault_respond(
            change->request, 409, "ResourceConflictException",
            arena_printf(arena,
                         "The operation cannot be performed at this time. An update is in progress "
                         "for resource: %s",
                         lambda_config_arn(arena, change->request->region, name, "")));
    else if (rc == ERR_INVALID || rc == ERR_CORRUPT) /* not the client's fault */
        aws_fault_respond_error(change->request, ERR_INTERNAL);
    else
        aws_fault_respond_error(change->request, rc);
}

static void fail(struct lambda_change *change, enum error rc, bool may_be_committed)
{
    static const struct lambda_claim nothing = {0};

    answer_failure(change, rc);
    release(change, may_be_committed ? &nothing : &change->fresh);
}

static void commit(struct lambda_change *change)
{
    struct arena *arena = &change->request->exchange->arena;
    struct view_change record = {
        .key = arena_printf(arena, "function/%s", change->function->name),
        .is_delete = change->is_delete,
        .expected_revision = change->expected_revision,
    };

    if (!change->is_delete)
        record.value = aws_wire_pack(arena, &change->function->base);
    view_update_start(change->with->view, &change->update, &record, 1, COMMIT_DEADLINE_MS,
                      on_committed);
}

static void on_stored(struct blob_transfer *transfer, enum error rc, struct buffer *content)
{
    struct lambda_change *change = container_of(transfer, struct lambda_change, transfer);

    (void)content;
    buffer_close(&change->zip);
    if (rc == OK)
        commit(change);
    else
        fail(change, rc, false);
}

/* An update whose first answer was lost may have been sent again and met its own effect. The
 * record's revision id is ours alone, so it tells. */
static bool is_committed_all_the_same(const struct lambda_change *change)
{
    struct arena *arena = &change->request->exchange->arena;
    ProtobufCAllocator allocator = aws_wire_allocator(arena);
    const Skein__Wire__Function *found;
    struct slice value;
    enum error rc =
        view_get(change->with->view, arena_printf(arena, "function/%s", change->function->name),
                 &value, NULL);

    if (rc != OK || change->is_delete)
        return rc == ERR_NOT_FOUND && change->is_delete;
    found = skein__wire__function__unpack(&allocator, value.size, value.data);
    return found != NULL && strcmp(found->revision_id, change->function->revision_id) == 0;
}

static void on_committed(struct view_update *update, enum error rc)
{
    struct lambda_change *change = container_of(update, struct lambda_change, update);

    if (rc == OK || is_committed_all_the_same(change)) {
        answer_success(change);
        release(change, &change->stale);
    } else {
        fail(change, rc, error_effect(rc) == ERROR_EFFECT_MAYBE);
    }
}

/* What every new version of a record gets. */
static void stamp(struct lambda_change *change)
{
    Skein__Wire__Function *function = change->function;
    struct arena *arena = &change->request->exchange->arena;
    struct env *env = change->with->env;
    uint8_t random[16];

    env->dice->random_bytes(env, random, sizeof(random));
    function->revision_id = arena_alloc(arena, UUID_TEXT_BYTES);
    encode_uuid(random, function->revision_id);
    function->modified_ms = env_wall_ms(env);
    function->generation++;
}

/* Let the record refer to the new package. */
static void adopt_zip(struct lambda_change *change)
{
    Skein__Wire__Function *function = change->function;
    struct arena *arena = &change->request->exchange->arena;
    struct env *env = change->with->env;
    struct lambda_claim *fresh = &change->fresh;
    struct slice sha256 = {fresh->sha256, BLOB_SHA256_BYTES};
    struct slice owner = {fresh->owner, BLOB_OWNER_BYTES};

    env->dice->random_bytes(env, fresh->owner, BLOB_OWNER_BYTES);
    fresh->chunk_count = blob_chunk_count(change->zip.size);
    sha256 = arena_copy(arena, sha256);
    owner = arena_copy(arena, owner);
    function->code_sha256 = (ProtobufCBinaryData){sha256.size, (uint8_t *)sha256.data};
    function->code_owner = (ProtobufCBinaryData){owner.size, (uint8_t *)owner.data};
    function->code_bytes = change->zip.size;
    function->code_chunk_count = fresh->chunk_count;
}

/* On a worker thread. */
static void check_zip(struct env_work *check)
{
    struct lambda_change *change = container_of(check, struct lambda_change, check);
    struct slice zip = buffer_slice(&change->zip);
    char why[ERROR_WHY_BYTES];

    change->check_rc = package_check(zip, NULL, why);
    CHECK(EVP_Digest(zip.data, zip.size, change->fresh.sha256, NULL, EVP_sha256(), NULL) == 1);
}

static void refuse_zip(struct lambda_change *change, const char *message)
{
    aws_fault_respond(change->request, 400, "InvalidParameterValueException", message);
    lambda_change_free(change);
}

static void on_checked(struct env_work *check)
{
    struct lambda_change *change = container_of(check, struct lambda_change, check);

    if (change->check_rc == ERR_TOO_LARGE) {
        refuse_zip(change, "Unzipped size must be smaller than 262144000 bytes");
    } else if (change->check_rc != OK) {
        refuse_zip(change, "Could not unzip uploaded file. Please check your file, then try to "
                           "upload again.");
    } else {
        adopt_zip(change);
        blob_put(change->with->router, &change->transfer, change->fresh.sha256, change->fresh.owner,
                 buffer_slice(&change->zip), on_stored);
    }
}

void lambda_change_start(const struct lambda_options *with, struct list *changes,
                         const struct lambda_change_plan *plan)
{
    struct lambda_change *change = check_calloc(1, sizeof(*change));

    change->with = with;
    change->request = plan->request;
    change->function = plan->function;
    change->expected_revision = plan->expected_revision;
    change->success_status = plan->success_status;
    change->is_delete = plan->is_delete;
    list_append(changes, &change->link);
    if (plan->is_delete || plan->zip != NULL)
        change->stale = claim_of(plan->function);
    if (!plan->is_delete)
        stamp(change);
    if (plan->zip == NULL) {
        commit(change);
        return;
    }
    change->zip = buffer_take(plan->zip);
    change->check.run = check_zip;
    change->check.done = on_checked;
    with->env->worker->queue(with->env, &change->check);
}
