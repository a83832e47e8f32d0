/* HTTP exchanges and AWS requests made by hand, and what was answered to them. */

#ifndef TESTS_LIB_FAKE_EXCHANGE_H
#define TESTS_LIB_FAKE_EXCHANGE_H

#include "node/aws/aws_request.h"
#include "node/http/http.h"

struct fake_answer {
    struct http_exchange *exchange; /* not answered yet; owned */
    int count;                      /* answers: must be one in the end */
    int status;
    struct http_header headers[HTTP_HEADERS_MAX]; /* in `arena` */
    size_t header_count;
    struct buffer body;
    struct arena arena;
};

/* An exchange that answers into `answer`, which is zeroed or was used before. From 127.0.0.1, on
 * port 4566, with the request id FAKE_REQUEST_ID. Everything is copied. */
#define FAKE_REQUEST_ID "11111111-2222-4333-8444-555555555555"
struct http_exchange *fake_exchange_new(struct fake_answer *answer, const char *method,
                                        const char *target, struct slice body);
void fake_exchange_add_header(struct http_exchange *exchange, const char *name, const char *value);

/* The same for a service: in us-east-1, signed by nobody. */
struct aws_request *fake_exchange_request(struct http_exchange *exchange, enum aws_service service);

/* NULL when the answer has no such header. Ends with a NUL. */
const char *fake_answer_header(const struct fake_answer *answer, const char *name);
const char *fake_answer_text(struct fake_answer *answer); /* the body */
void fake_answer_close(struct fake_answer *answer);

#endif
