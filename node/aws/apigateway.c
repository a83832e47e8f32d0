#include "node/aws/apigateway.h"

#include "node/aws/api_control.h"
#include "node/aws/gateway.h"
#include "proto/base/check.h"

struct apigateway {
    struct api_control *control;
    struct gateway *gateway;
};

struct apigateway *apigateway_new(const struct apigateway_options *options)
{
    struct apigateway *apigateway = check_calloc(1, sizeof(*apigateway));

    apigateway->control = api_control_new(options->env, options->view);
    apigateway->gateway = gateway_new(options->env, options->view, options->invoker);
    return apigateway;
}

void apigateway_free(struct apigateway *apigateway)
{
    if (apigateway == NULL)
        return;
    api_control_free(apigateway->control);
    gateway_free(apigateway->gateway);
    free(apigateway);
}

void apigateway_on_request(void *apigateway, struct aws_request *request)
{
    api_control_on_request(((struct apigateway *)apigateway)->control, request);
}

void apigateway_on_invocation(void *apigateway, struct aws_request *request)
{
    gateway_on_request(((struct apigateway *)apigateway)->gateway, request);
}
