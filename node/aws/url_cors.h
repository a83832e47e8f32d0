/* Cross-origin requests to function URLs: what browsers are told, without asking the function. */

#ifndef NODE_AWS_URL_CORS_H
#define NODE_AWS_URL_CORS_H

#include "node/http/http.h"
#include "proto/wire/function.pb-c.h"

#define URL_CORS_HEADERS_MAX 8

/* Is it a question of a browser whether it may send a request? */
bool url_cors_is_preflight(const Skein__Wire__FunctionUrl *url,
                           const struct http_exchange *exchange);

/* The headers for an answer, texts in the exchange's arena: how many there are, 0 when the origin
 * is not allowed. */
size_t url_cors_headers(const Skein__Wire__FunctionUrl *url, struct http_exchange *exchange,
                        bool is_preflight, struct http_header headers[URL_CORS_HEADERS_MAX]);

#endif
