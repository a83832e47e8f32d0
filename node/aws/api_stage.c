#include "node/aws/api_stage.h"

#include "node/aws/api_document.h"
#include "node/aws/api_model.h"

/* Put the member `variables` into the stage. */
static void read_variables(struct api_request *call, Skein__Wire__ApiStage *stage)
{
    json_t *variables = aws_input_object(&call->input, call->input.root, "variables");
    size_t count = json_object_size(variables);
    const char *name;
    json_t *value;

    if (variables == NULL)
        return;
    stage->variables = arena_alloc(call->arena, (count + 1) * sizeof(*stage->variables));
    stage->n_variables = 0;
    json_object_foreach(variables, name, value)
    {
        Skein__Wire__ApiStageVariable *variable = arena_alloc(call->arena, sizeof(*variable));
        const char *text = aws_input_text(&call->input, variables, name);

        skein__wire__api_stage_variable__init(variable);
        variable->name = arena_text(call->arena, slice_text(name));
        variable->value = arena_text(call->arena, slice_text(text != NULL ? text : ""));
        stage->variables[stage->n_variables++] = variable;
    }
}

/* The stage a new deployment goes to, made when it is not there. NULL: refused with `why`. */
static Skein__Wire__ApiStage *stage_for(struct api_request *call, const char *name,
                                        const char **why)
{
    Skein__Wire__ApiStage *stage = api_model_find_stage(call->api, name);

    return stage != NULL ? stage
                         : api_model_add_stage(call->arena, call->env, call->api, name, why);
}

void api_stage_create_deployment(struct api_request *call)
{
    Skein__Wire__ApiDeployment *deployment;
    Skein__Wire__ApiStage *stage = NULL;
    const char *stage_name;
    const char *why = NULL;

    if (!api_request_read(call))
        return;
    stage_name = api_request_text(call, "stageName");
    if (stage_name[0] != 0) {
        stage = stage_for(call, stage_name, &why);
        if (stage == NULL) {
            api_request_refuse(call, why);
            return;
        }
        read_variables(call, stage);
    }
    deployment = api_model_deploy(call->arena, call->env, call->api,
                                  api_request_text(call, "description"), stage, &why);
    if (!api_request_is_good(call))
        return;
    if (deployment == NULL) {
        api_request_refuse(call, why);
        return;
    }
    api_document_write_deployment(&call->json, deployment);
    api_request_commit(call, 201, false);
}

void api_stage_list_deployments(struct api_request *call)
{
    json_begin_object(&call->json);
    json_key(&call->json, "item");
    json_begin_array(&call->json);
    for (size_t i = 0; i < call->api->n_deployments; i++)
        api_document_write_deployment(&call->json, call->api->deployments[i]);
    json_end_array(&call->json);
    json_end_object(&call->json);
    api_request_reply(call);
}

void api_stage_get_deployment(struct api_request *call)
{
    api_document_write_deployment(&call->json, call->deployment);
    api_request_reply(call);
}

void api_stage_delete_deployment(struct api_request *call)
{
    if (api_model_is_deployed(call->api, call->deployment->id)) {
        api_request_refuse(call,
                           "Active stages pointing to this deployment must be moved or deleted");
        return;
    }
    api_model_remove_deployment(call->api, call->deployment);
    api_request_commit(call, 202, false);
}

void api_stage_create(struct api_request *call)
{
    Skein__Wire__ApiStage *stage;
    const char *name;
    const char *deployment_id;
    const char *why = NULL;

    if (!api_request_read(call))
        return;
    name = api_request_text(call, "stageName");
    deployment_id = api_request_text(call, "deploymentId");
    if (api_model_find_deployment(call->api, deployment_id) == NULL) {
        api_request_refuse(call, "Deployment id does not exist");
        return;
    }
    if (api_model_find_stage(call->api, name) != NULL) {
        api_request_refuse_conflict(call, "Stage already exists");
        return;
    }
    stage = api_model_add_stage(call->arena, call->env, call->api, name, &why);
    if (stage == NULL) {
        api_request_refuse(call, why);
        return;
    }
    stage->deployment_id = (char *)deployment_id;
    stage->description = api_request_text(call, "description");
    read_variables(call, stage);
    if (!api_request_is_good(call))
        return;
    api_document_write_stage(&call->json, stage);
    api_request_commit(call, 201, false);
}

void api_stage_list(struct api_request *call)
{
    struct slice wanted = http_query_find(call->request->exchange, "deploymentId");

    json_begin_object(&call->json);
    json_key(&call->json, "item");
    json_begin_array(&call->json);
    for (size_t i = 0; i < call->api->n_stages; i++) {
        if (wanted.size == 0 || slice_equal_text(wanted, call->api->stages[i]->deployment_id))
            api_document_write_stage(&call->json, call->api->stages[i]);
    }
    json_end_array(&call->json);
    json_end_object(&call->json);
    api_request_reply(call);
}

void api_stage_get(struct api_request *call)
{
    api_document_write_stage(&call->json, call->stage);
    api_request_reply(call);
}

void api_stage_delete(struct api_request *call)
{
    api_model_remove_stage(call->api, call->stage);
    api_request_commit(call, 202, false);
}
