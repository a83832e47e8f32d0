#include "node/aws/api_request.h"

#include "node/aws/api_change.h"
#include "node/aws/aws_reply.h"

void api_request_refuse(struct api_request *call, const char *why)
{
    aws_fault_respond(call->request, 400, "BadRequestException", why);
}

void api_request_refuse_missing(struct api_request *call, const char *what)
{
    aws_fault_respond(call->request, 404, "NotFoundException",
                      arena_printf(call->arena, "Invalid %s identifier specified", what));
}

void api_request_refuse_conflict(struct api_request *call, const char *why)
{
    aws_fault_respond(call->request, 409, "ConflictException", why);
}

void api_request_reply(struct api_request *call)
{
    if (call->json.rc != OK) {
        aws_fault_respond_error(call->request, ERR_INTERNAL);
        return;
    }
    aws_reply(call->request, 200, &call->body);
}

void api_request_commit(struct api_request *call, int success_status, bool is_delete)
{
    const struct api_change_plan plan = {
        .env = call->env,
        .view = call->view,
        .request = call->request,
        .api = call->api,
        .expected_revision = call->revision,
        .success_status = success_status,
        .is_delete = is_delete,
    };

    if (call->json.rc != OK)
        aws_fault_respond_error(call->request, ERR_INTERNAL);
    else
        api_change_start(call->changes, &plan, call->body.size > 0 ? &call->body : NULL);
}

bool api_request_read(struct api_request *call)
{
    call->input = aws_input_read(call->arena, call->request->exchange->body, "BadRequestException");
    if (!aws_input_has_fault(&call->input))
        return true;
    aws_fault_send(call->request, &call->input.fault);
    return false;
}

bool api_request_is_good(struct api_request *call)
{
    if (!aws_input_has_fault(&call->input))
        return true;
    aws_fault_send(call->request, &call->input.fault);
    return false;
}

char *api_request_text(struct api_request *call, const char *key)
{
    const char *text = aws_input_text(&call->input, call->input.root, key);

    return arena_text(call->arena, slice_text(text));
}
