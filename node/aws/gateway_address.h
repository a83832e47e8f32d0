/* Which API, stage and path a caller means: the three forms of gateway.h. */

#ifndef NODE_AWS_GATEWAY_ADDRESS_H
#define NODE_AWS_GATEWAY_ADDRESS_H

#include "node/http/http.h"

struct gateway_address {
    char *api_id; /* in the exchange's arena, decoded */
    char *stage;
    struct slice path; /* without the stage, as sent; starts with a slash */
};

/* ERR_NOT_FOUND: none of the forms. */
enum error gateway_address_read(struct http_exchange *exchange, struct gateway_address *address);

#endif
