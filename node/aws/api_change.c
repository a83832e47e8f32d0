#include "node/aws/api_change.h"

#include "node/aws/api_model.h"
#include "node/aws/aws_fault.h"
#include "node/aws/aws_reply.h"
#include "node/aws/aws_wire.h"
#include "proto/base/check.h"

#define COMMIT_DEADLINE_MS 15000

void api_change_free(struct api_change *change)
{
    list_remove(&change->link);
    view_update_cancel(&change->update);
    buffer_close(&change->body);
    free(change);
}

/* An update whose first answer was lost may have been sent again and met its own effect: the stamp
 * tells. */
static bool is_committed_all_the_same(const struct api_change *change)
{
    ProtobufCAllocator allocator = aws_wire_allocator(&change->request->exchange->arena);
    const Skein__Wire__Api *found;
    struct slice value;
    enum error rc = view_get(change->view, change->key, &value, NULL);

    if (rc != OK || change->stamp == NULL)
        return rc == ERR_NOT_FOUND && change->stamp == NULL;
    found = skein__wire__api__unpack(&allocator, value.size, value.data);
    return found != NULL && strcmp(found->stamp, change->stamp) == 0;
}

static void on_committed(struct view_update *update, enum error rc)
{
    struct api_change *change = container_of(update, struct api_change, update);

    if (rc == OK || is_committed_all_the_same(change))
        aws_reply(change->request, change->success_status,
                  change->body.size > 0 ? &change->body : NULL);
    else if (rc == ERR_CONFLICT)
        aws_fault_respond(change->request, 409, "ConflictException",
                          "Unable to complete operation due to concurrent modification. Please "
                          "try again later.");
    else
        aws_fault_respond_error(change->request, rc);
    api_change_free(change);
}

void api_change_start(struct list *changes, const struct api_change_plan *plan, struct buffer *body)
{
    struct arena *arena = &plan->request->exchange->arena;
    struct view_change record = {
        .key = arena_printf(arena, "api/%s", plan->api->id),
        .is_delete = plan->is_delete,
        .expected_revision = plan->expected_revision,
    };
    struct api_change *change;

    if (!plan->is_delete) {
        plan->api->stamp = api_model_new_id(arena, plan->env);
        record.value = aws_wire_pack(arena, &plan->api->base);
    }
    if (record.value.size > API_RECORD_BYTES_MAX) {
        if (body != NULL)
            buffer_close(body);
        aws_fault_respond(plan->request, 429, "LimitExceededException",
                          "The API with its deployments is too large. Delete deployments.");
        return;
    }
    change = check_calloc(1, sizeof(*change));
    change->view = plan->view;
    change->request = plan->request;
    change->key = record.key;
    change->stamp = plan->is_delete ? NULL : plan->api->stamp;
    change->success_status = plan->success_status;
    if (body != NULL)
        change->body = buffer_take(body);
    list_append(changes, &change->link);
    view_update_start(plan->view, &change->update, &record, 1, COMMIT_DEADLINE_MS, on_committed);
}
