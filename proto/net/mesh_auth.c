#include "proto/net/mesh_auth.h"

#include "proto/base/check.h"
#include "proto/base/log.h"

#include <inttypes.h>
#include <stdio.h>

#define ENDPOINT "inproc://zeromq.zap.01" /* ZeroMQ asks there, in each context */
#define REQUEST_ID_BYTES_MAX 64
#define CURVE_KEY_BYTES 32
#define KEY_TEXT_BYTES 41
#define USER_ID_BYTES 64 /* a number, a space, a key */

struct mesh_auth {
    void *socket; /* REP */
    struct mesh_watch *watch;
    void *user;
    mesh_auth_is_known is_known;
    uint64_t connections; /* asked about so far */
};

struct request {
    char id[REQUEST_ID_BYTES_MAX];
    size_t id_size;
    bool is_curve;
    char key[KEY_TEXT_BYTES]; /* "" = none */
};

/* Version, request id, domain, address, routing id, mechanism, then the mechanism's own: the key.
 */
static void read_part(struct request *request, int number, struct slice part)
{
    if (number == 2 && part.size <= sizeof(request->id)) {
        memcpy(request->id, part.data, part.size);
        request->id_size = part.size;
    }
    if (number == 6)
        request->is_curve = slice_equal_text(part, "CURVE");
    if (number == 7 && request->is_curve && part.size == CURVE_KEY_BYTES)
        (void)zmq_z85_encode(request->key, part.data, part.size);
}

/* False when there is none. */
static bool read_request(void *socket, struct request *request)
{
    zmq_msg_t part;
    bool is_whole = false;

    *request = (struct request){0};
    (void)zmq_msg_init(&part);
    for (int number = 1; !is_whole && mesh_socket_receive(socket, &part); number++) {
        read_part(request, number, slice_of(zmq_msg_data(&part), zmq_msg_size(&part)));
        is_whole = zmq_msg_more(&part) == 0;
    }
    (void)zmq_msg_close(&part);
    return is_whole;
}

static void answer(void *socket, const struct request *request, bool is_known, const char *user_id)
{
    const struct slice parts[] = {SLICE_LITERAL("1.0"),
                                  slice_of(request->id, request->id_size),
                                  slice_text(is_known ? "200" : "400"),
                                  slice_text(is_known ? "OK" : "unknown key"),
                                  slice_text(is_known ? user_id : ""),
                                  SLICE_LITERAL("")};

    for (size_t i = 0; i < ARRAY_COUNT(parts); i++) {
        int more = i + 1 < ARRAY_COUNT(parts) ? ZMQ_SNDMORE : 0;

        CHECK(zmq_send(socket, parts[i].data, parts[i].size, more) >= 0);
    }
}

/* ZeroMQ attaches the user id to every message of the connection. */
static void on_news(void *user)
{
    struct mesh_auth *auth = user;
    struct request request;
    char user_id[USER_ID_BYTES];

    while (read_request(auth->socket, &request)) {
        bool is_known = request.key[0] != '\0' && auth->is_known(auth->user, request.key);

        (void)snprintf(user_id, sizeof(user_id), "%" PRIu64 " %s", ++auth->connections,
                       request.key);
        answer(auth->socket, &request, is_known, user_id);
        if (!is_known)
            log_debug("mesh_auth.unknown_key key=%s", request.key);
    }
}

const char *mesh_auth_key_of(zmq_msg_t *message, uint64_t *connection)
{
    const char *user_id = zmq_msg_gets(message, "User-Id");
    char *end;

    if (user_id == NULL)
        return NULL;
    *connection = strtoull(user_id, &end, 10);
    return *end == ' ' ? end + 1 : NULL;
}

struct mesh_auth *mesh_auth_new(uv_loop_t *loop, void *context, void *user,
                                mesh_auth_is_known is_known)
{
    struct mesh_auth *auth = check_calloc(1, sizeof(*auth));

    auth->user = user;
    auth->is_known = is_known;
    auth->socket = mesh_socket_new(context, ZMQ_REP);
    CHECK(zmq_bind(auth->socket, ENDPOINT) == 0);
    auth->watch = mesh_watch_new(loop, auth->socket, auth, on_news);
    return auth;
}

void mesh_auth_stop(struct mesh_auth *auth)
{
    if (auth == NULL)
        return;
    mesh_watch_close(auth->watch);
    auth->watch = NULL;
}

void mesh_auth_free(struct mesh_auth *auth)
{
    if (auth == NULL)
        return;
    CHECK(zmq_close(auth->socket) == 0);
    free(auth);
}
