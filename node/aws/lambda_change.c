#include "node/aws/lambda_change.h"

#include "node/aws/aws_fault.h"
#include "node/aws/aws_reply.h"
#include "node/aws/aws_wire.h"
#include "node/aws/lambda_call.h"
#include "node/aws/lambda_config.h"
#include "node/sandbox/package.h"
#include "proto/base/check.h"

#include <openssl/evp.h>

#define COMMIT_DEADLINE_MS 15000
#define DOCUMENT_BYTES_MAX (64u << 10)
#define ATTEMPTS_MAX 8
#define AGAIN_MS 20 /* for the other change to reach this node; longer with each attempt */

static void on_checked(struct env_work *check);
static void on_stored(struct blob_transfer *transfer, enum error rc, struct buffer *content);
static void on_committed(struct view_update *update, enum error rc);
static void on_released(struct blob_transfer *transfer, enum error rc, struct buffer *content);

void lambda_change_free(struct lambda_change *change)
{
    list_remove(&change->link);
    blob_cancel(&change->transfer);
    view_update_cancel(&change->update);
    env_timer_stop(change->with->env, &change->again);
    buffer_close(&change->zip);
    buffer_close(&change->answer);
    free(change->stale);
    free(change);
}

/* ---- claims on packages --------------------------------------------------------------------- */

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

struct claims { /* that the records of a function hold, each once */
    const struct lambda_change_plan *plan;
    struct lambda_change *change;
};

static void add_stale(struct lambda_change *change, const Skein__Wire__Function *function)
{
    struct lambda_claim claim = claim_of(function);

    if (claim.chunk_count == 0)
        return;
    for (size_t i = 0; i < change->stale_count; i++)
        if (memcmp(change->stale[i].owner, claim.owner, BLOB_OWNER_BYTES) == 0)
            return;
    change->stale =
        check_realloc(change->stale, (change->stale_count + 1) * sizeof(*change->stale));
    change->stale[change->stale_count++] = claim;
}

static void drop_stale(struct lambda_change *change, const Skein__Wire__Function *function)
{
    struct lambda_claim claim = claim_of(function);

    for (size_t i = 0; i < change->stale_count; i++)
        if (memcmp(change->stale[i].owner, claim.owner, BLOB_OWNER_BYTES) == 0)
            change->stale[i--] = change->stale[--change->stale_count];
}

static void on_version(void *user, const char *key, struct slice value, uint64_t revision)
{
    struct claims *claims = user;
    struct arena *arena = &claims->plan->request->exchange->arena;
    ProtobufCAllocator allocator = aws_wire_allocator(arena);
    const Skein__Wire__Function *version =
        skein__wire__function__unpack(&allocator, value.size, value.data);
    const Skein__Wire__Function *removed = claims->plan->removed;

    (void)key;
    (void)revision;
    if (version == NULL)
        return;
    if (claims->plan->is_delete)
        add_stale(claims->change, version);
    else if (removed == NULL || removed->version != version->version)
        drop_stale(claims->change, version);
}

/* Which claims no record holds once the plan is done. Versions cannot come or go meanwhile: each of
 * their changes changes the function's record, too. */
static void find_stale(struct lambda_change *change, const struct lambda_change_plan *plan)
{
    struct arena *arena = &plan->request->exchange->arena;
    struct claims claims = {.plan = plan, .change = change};

    if (plan->removed != NULL)
        add_stale(change, plan->removed);
    if (plan->is_delete || plan->zip != NULL)
        add_stale(change, plan->function);
    else
        drop_stale(change, plan->function);
    view_each(change->with->view, arena_printf(arena, "version/%s/", plan->function->name), &claims,
              on_version);
}

static void release_next(struct lambda_change *change)
{
    const struct lambda_claim *claim;

    if (change->stale_next == change->stale_count) {
        lambda_change_free(change);
        return;
    }
    claim = &change->stale[change->stale_next++];
    blob_release(change->with->router, &change->transfer, claim->sha256, claim->owner,
                 claim->chunk_count, on_released);
}

/* The answer is out. Give up the packages nobody refers to any more, and end. */
static void release(struct lambda_change *change)
{
    buffer_close(&change->zip);
    change->request = NULL;
    change->function = NULL;
    change->version = NULL;
    release_next(change);
}

static void on_released(struct blob_transfer *transfer, enum error rc, struct buffer *content)
{
    (void)rc;
    (void)content;
    release_next(container_of(transfer, struct lambda_change, transfer));
}

/* ---- answers -------------------------------------------------------------------------------- */

static void answer_success(struct lambda_change *change)
{
    struct buffer body = BUFFER_INIT(DOCUMENT_BYTES_MAX);
    struct json_write json = json_write_to(&body);

    if (change->success_status == 204) {
        aws_reply(change->request, change->success_status, NULL);
        return;
    }
    if (change->answer.size > 0) {
        aws_reply(change->request, change->success_status, &change->answer);
        return;
    }
    lambda_config_write(&json, change->version != NULL ? change->version : change->function,
                        change->request->region, NULL);
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
    answer_failure(change, rc);
    change->stale_count = 0;
    if (!may_be_committed && change->fresh.chunk_count > 0) {
        change->stale = check_realloc(change->stale, sizeof(*change->stale));
        change->stale[change->stale_count++] = change->fresh;
    }
    release(change);
}

/* ---- the commit ----------------------------------------------------------------------------- */

static char *new_revision_id(struct lambda_change *change)
{
    return lambda_call_new_id(&change->request->exchange->arena, change->with->env);
}

/* The function as it is, under the next number. */
static void make_version(struct lambda_change *change)
{
    Skein__Wire__Function *function = change->function;
    Skein__Wire__Function *version =
        arena_alloc(&change->request->exchange->arena, sizeof(*version));

    function->last_version++;
    function->last_generation = function->generation;
    *version = *function;
    version->version = function->last_version;
    version->last_version = 0;
    version->last_generation = 0;
    version->revision_id = new_revision_id(change);
    if (change->description != NULL)
        version->description = (char *)(uintptr_t)change->description;
    change->version = version;
}

static void commit(struct lambda_change *change)
{
    struct arena *arena = &change->request->exchange->arena;
    const char *name = change->function->name;
    struct view_change *record = &change->records[change->record_count++];

    if (change->publishes)
        make_version(change);
    *record = (struct view_change){
        .key = lambda_call_function_key(arena, name),
        .is_delete = change->is_delete,
        .expected_revision = change->expected_revision,
    };
    if (!change->is_delete)
        record->value = aws_wire_pack(arena, &change->function->base);
    if (change->version != NULL)
        change->records[change->record_count++] = (struct view_change){
            .key = lambda_call_version_key(arena, name, change->version->version),
            .value = aws_wire_pack(arena, &change->version->base),
            .expected_revision = VIEW_REVISION_NONE,
        };
    view_update_start(change->with->view, &change->update, change->records, change->record_count,
                      COMMIT_DEADLINE_MS, on_committed);
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

/* An update whose first answer was lost may have been sent again and met its own effect. */
static bool is_committed_all_the_same(const struct lambda_change *change)
{
    for (size_t i = 0; i < change->record_count; i++) {
        const struct view_change *record = &change->records[i];
        struct slice value;
        enum error rc = view_get(change->with->view, record->key, &value, NULL);

        if (record->is_delete ? rc != ERR_NOT_FOUND
                              : rc != OK || !slice_equal(value, record->value))
            return false;
    }
    return true;
}

static void begin_again(struct env_timer *timer)
{
    struct lambda_change *change = container_of(timer, struct lambda_change, again);
    struct lambda *lambda = container_of(change->with, struct lambda, with);
    struct aws_request *request = change->request;
    unsigned attempt = change->attempt + 1;

    lambda_change_free(change);
    lambda_call_run(lambda, request, attempt);
}

static void on_committed(struct view_update *update, enum error rc)
{
    struct lambda_change *change = container_of(update, struct lambda_change, update);

    if (rc == OK || is_committed_all_the_same(change)) {
        answer_success(change);
        release(change);
    } else if (rc == ERR_CONFLICT && change->is_repeatable && change->attempt < ATTEMPTS_MAX) {
        env_timer_start(change->with->env, &change->again,
                        (uint64_t)AGAIN_MS * 1000 * (change->attempt + 1), begin_again);
    } else {
        fail(change, rc, error_effect(rc) == ERROR_EFFECT_MAYBE);
    }
}

/* What every new version of a record gets. */
static void stamp(struct lambda_change *change)
{
    Skein__Wire__Function *function = change->function;

    function->revision_id = new_revision_id(change);
    function->modified_ms = env_wall_ms(change->with->env);
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
    change->is_repeatable = plan->is_repeatable;
    change->attempt = plan->attempt;
    change->publishes = plan->publishes;
    change->description = plan->description;
    change->records = arena_alloc(&plan->request->exchange->arena,
                                  (plan->more_count + 2) * sizeof(*change->records));
    for (size_t i = 0; i < plan->more_count; i++)
        change->records[change->record_count++] = plan->more[i];
    buffer_init(&change->answer, BUFFER_UNLIMITED);
    if (plan->answer != NULL)
        change->answer = buffer_take(plan->answer);
    list_append(changes, &change->link);
    find_stale(change, plan);
    if (!plan->is_delete && !plan->is_setting)
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
