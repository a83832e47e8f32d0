/* Function URLs: the configurations. Serving them is lambda_url_serve.h. */

#ifndef NODE_AWS_LAMBDA_URL_H
#define NODE_AWS_LAMBDA_URL_H

#include "node/aws/lambda_call.h"

#define LAMBDA_URL_ID_BYTES 32
/* The path form: works wherever the endpoint itself does. */
#define LAMBDA_URL_PATH "/_aws/lambda-url/"

/* Operations; what the name says is there. */
void lambda_url_create(struct lambda_call *call);
void lambda_url_get(struct lambda_call *call);
void lambda_url_update(struct lambda_call *call);
void lambda_url_delete(struct lambda_call *call);
void lambda_url_list(struct lambda_call *call);

#endif
