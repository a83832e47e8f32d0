/* What a hostile function may say to its Runtime API, in pieces of a size that the first byte
 * tells, with an event waiting for it now and then. */

#include "node/sandbox/runtime_api.h"
#include "proto/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void send_nothing(struct runtime_connection *connection, struct buffer *bytes)
{
    (void)connection;
    CHECK(bytes->size > 0);
    buffer_close(bytes);
}

static void deliver(void *user)
{
    struct sandbox_event event = {
        .request_id = "id", .function_arn = "arn", .payload = SLICE_LITERAL("{}")};

    runtime_api_deliver(user, &event);
}

static void on_init_error(void *user, struct slice payload)
{
    (void)user;
    (void)payload;
}

static void on_result(void *user, enum sandbox_result result, struct slice payload)
{
    CHECK(result != SANDBOX_TOO_LARGE || payload.size == 0);
    deliver(user);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct runtime_api_handler handler = {deliver, on_init_error, on_result};
    struct runtime_connection connection = {0};
    size_t step = size > 0 ? 1 + data[0] : 1;
    struct runtime_api api;

    runtime_api_init(&api, &handler, &api);
    runtime_connection_init(&connection, &api);
    connection.send = send_nothing;
    for (size_t at = 1; at < size; at += step) {
        size_t part = size - at < step ? size - at : step;

        if (!runtime_connection_receive(&connection, slice_of(data + at, part)))
            break;
    }
    runtime_connection_close(&connection);
    runtime_api_close(&api);
    return 0;
}
