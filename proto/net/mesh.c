#include "proto/net/mesh.h"

#include "proto/base/check.h"
#include "proto/base/log.h"
#include "proto/base/map.h"
#include "proto/net/frame.h"
#include "proto/net/mesh_auth.h"
#include "proto/net/mesh_peer.h"
#include "proto/net/mesh_socket.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define FRAMES_PER_TURN_MAX 64
#define FRAME_OVERHEAD_BYTES_MAX 4096 /* its header, its message's, and CURVE's */
#define SOCKETS_MAX 16000
#define ENDPOINT_BYTES 256

struct mesh {
    struct env_link table; /* first: the env's link points here; how its functions find us */
    struct mesh_ground ground;
    uint64_t self;
    void *receiver; /* PULL; NULL when we do not listen */
    struct mesh_watch *receiver_watch;
    struct mesh_auth *auth;
    struct env_timer receive_more;
    char endpoint[ENDPOINT_BYTES];
    struct map peers;      /* id -> struct mesh_peer */
    struct map keys;       /* 40 characters of Z85 -> struct mesh_peer, the one it belongs to */
    struct buffer to_self; /* messages, in the form they have in a frame */
    struct env_timer deliver_to_self;
    struct env_link_handler handlers[ENV_CHANNEL_COUNT];
    struct list watchers;
    struct list notices; /* struct notice: ups and downs not told yet */
    struct env_task tell;
};

struct notice {
    struct list link;
    uint64_t peer;
    bool is_up;
    enum env_down_reason reason;
};

static struct mesh *mesh_of(struct env *env)
{
    return container_of(env->link, struct mesh, table);
}

void mesh_make_keys(char public_key[MESH_KEY_BYTES], char secret_key[MESH_KEY_BYTES])
{
    CHECK(zmq_curve_keypair(public_key, secret_key) == 0);
}

/* ---- ups and downs, told at the end of the turn ---- */

/* Watchers may come and go meanwhile. */
static void tell_watchers(struct mesh *mesh, const struct notice *notice)
{
    struct mesh_peer *peer = map_find_u64(&mesh->peers, notice->peer);
    struct list todo;
    struct list *link;

    if (peer != NULL)
        mesh_peer_told(peer, notice->is_up);
    list_move(&todo, &mesh->watchers);
    while ((link = list_pop(&todo)) != NULL) {
        struct env_link_watcher *watcher = container_of(link, struct env_link_watcher, link);

        list_append(&mesh->watchers, link);
        if (notice->is_up)
            watcher->on_up(watcher->user, notice->peer);
        else
            watcher->on_down(watcher->user, notice->peer, notice->reason);
    }
}

static void on_tell(struct env_task *task)
{
    struct mesh *mesh = container_of(task, struct mesh, tell);
    struct list *link;

    while ((link = list_pop(&mesh->notices)) != NULL) {
        struct notice *notice = container_of(link, struct notice, link);

        tell_watchers(mesh, notice);
        free(notice);
    }
}

static void note(struct mesh *mesh, uint64_t peer, bool is_up, enum env_down_reason reason)
{
    struct notice *notice = check_malloc(sizeof(*notice));

    *notice = (struct notice){.peer = peer, .is_up = is_up, .reason = reason};
    list_append(&mesh->notices, &notice->link);
    env_defer(mesh->ground.env, &mesh->tell, on_tell);
}

static void on_peer_up(void *user, uint64_t peer)
{
    note(user, peer, true, ENV_DOWN_CLOSED);
}

static void on_peer_down(void *user, uint64_t peer, enum env_down_reason reason)
{
    note(user, peer, false, reason);
}

/* ---- who may come in ---- */

static bool is_key_known(void *user, const char *key)
{
    return map_find(&((struct mesh *)user)->keys, slice_text(key)) != NULL;
}

static struct mesh_peer *find_speaker(struct mesh *mesh, zmq_msg_t *message, uint64_t *connection)
{
    const char *key = mesh_auth_key_of(message, connection);

    return key != NULL ? map_find(&mesh->keys, slice_text(key)) : NULL;
}

/* ---- what comes in ---- */

static void deliver(struct mesh *mesh, uint64_t peer, struct frame *frame)
{
    enum env_channel channel;
    struct slice message;

    while (!mesh->ground.is_stopped && frame_next(frame, &channel, &message))
        if (mesh->handlers[channel].on_message != NULL)
            mesh->handlers[channel].on_message(mesh->handlers[channel].user, peer, message);
}

static void receive_frame(struct mesh *mesh, zmq_msg_t *message)
{
    uint64_t connection = 0;
    struct mesh_peer *speaker = find_speaker(mesh, message, &connection);
    struct frame frame;

    if (speaker == NULL) /* removed since it came in */
        return;
    uint64_t peer = mesh_peer_id(speaker);
    enum error rc = frame_read(slice_of(zmq_msg_data(message), zmq_msg_size(message)), &frame);

    if (rc != OK) {
        log_warn("mesh.bad_frame peer=%" PRIu64 " error=%s", peer, error_name(rc));
        return;
    }
    if (mesh_peer_accepts(speaker, connection, &frame))
        deliver(mesh, peer, &frame);
}

static void on_receiver_news(void *user);

static void on_receive_more(struct env_timer *timer)
{
    on_receiver_news(container_of(timer, struct mesh, receive_more));
}

/* Not more than so many frames in one turn, that others get theirs; the rest in the next. */
static void on_receiver_news(void *user)
{
    struct mesh *mesh = user;
    int frames = 0;
    zmq_msg_t message;

    (void)zmq_msg_init(&message);
    while (frames < FRAMES_PER_TURN_MAX && mesh_socket_receive(mesh->receiver, &message)) {
        receive_frame(mesh, &message);
        frames++;
    }
    (void)zmq_msg_close(&message);
    if (frames == FRAMES_PER_TURN_MAX)
        env_timer_start(mesh->ground.env, &mesh->receive_more, 0, on_receive_more);
}

static void on_deliver_to_self(struct env_timer *timer)
{
    struct mesh *mesh = container_of(timer, struct mesh, deliver_to_self);
    struct buffer messages = buffer_take(&mesh->to_self);
    struct frame frame = {.messages = buffer_slice(&messages)};

    deliver(mesh, mesh->self, &frame);
    buffer_close(&messages);
}

static enum error send_to_self(struct mesh *mesh, enum env_channel channel, struct slice message)
{
    const struct mesh_options *options = &mesh->ground.options;

    if (message.size > options->message_bytes_max)
        return ERR_TOO_LARGE;
    if (channel != ENV_CHANNEL_RAFT && mesh->to_self.size > 0 &&
        mesh->to_self.size + message.size > options->queue_bytes_max)
        return ERR_OVERLOADED;
    enum error rc = frame_append_message(&mesh->to_self, channel, message);

    if (rc == OK && !env_timer_is_running(&mesh->deliver_to_self))
        env_timer_start(mesh->ground.env, &mesh->deliver_to_self, 0, on_deliver_to_self);
    return rc;
}

/* ---- the link's functions ---- */

static enum error link_send(struct env *env, uint64_t peer, enum env_channel channel,
                            struct slice message)
{
    struct mesh *mesh = mesh_of(env);

    if (mesh->ground.is_stopped)
        return ERR_UNREACHABLE;
    if (peer == mesh->self)
        return send_to_self(mesh, channel, message);
    struct mesh_peer *to = map_find_u64(&mesh->peers, peer);

    return to != NULL ? mesh_peer_send(to, channel, message) : ERR_UNREACHABLE;
}

static bool link_is_up(struct env *env, uint64_t peer)
{
    struct mesh *mesh = mesh_of(env);
    struct mesh_peer *found = map_find_u64(&mesh->peers, peer);

    return peer == mesh->self || (found != NULL && mesh_peer_is_up(found));
}

static uint64_t link_self(struct env *env)
{
    return mesh_of(env)->self;
}

static void forget_key(struct mesh *mesh, struct mesh_peer *peer)
{
    struct slice key = slice_text(mesh_peer_public_key(peer));

    if (map_find(&mesh->keys, key) == peer) /* else another id has claimed it since */
        (void)map_remove(&mesh->keys, key);
}

static void link_peer_set(struct env *env, uint64_t peer, const char *endpoint,
                          const char *public_key)
{
    struct mesh *mesh = mesh_of(env);
    struct mesh_peer *found = map_find_u64(&mesh->peers, peer);

    if (peer == mesh->self || mesh->receiver == NULL || mesh->ground.is_stopped)
        return;
    if (found == NULL) {
        found = mesh_peer_new(&mesh->ground, peer, endpoint, public_key);
        (void)map_set_u64(&mesh->peers, peer, found);
    } else if (strcmp(mesh_peer_endpoint(found), endpoint) != 0 ||
               strcmp(mesh_peer_public_key(found), public_key) != 0) {
        forget_key(mesh, found);
        mesh_peer_move(found, endpoint, public_key);
    }
    (void)map_set(&mesh->keys, slice_text(public_key), found);
}

static void link_peer_remove(struct env *env, uint64_t peer)
{
    struct mesh *mesh = mesh_of(env);
    struct mesh_peer *found = map_remove_u64(&mesh->peers, peer);

    if (found == NULL)
        return;
    if (mesh_peer_is_connected(found))
        note(mesh, peer, false, ENV_DOWN_CLOSED);
    forget_key(mesh, found);
    mesh_peer_free(found);
}

static void link_handle(struct env *env, enum env_channel channel, struct env_link_handler handler)
{
    mesh_of(env)->handlers[channel] = handler;
}

static void link_watch(struct env *env, struct env_link_watcher *watcher)
{
    list_append(&mesh_of(env)->watchers, &watcher->link);
}

static void link_unwatch(struct env *env, struct env_link_watcher *watcher)
{
    (void)env;
    list_remove(&watcher->link);
}

/* ---- life ---- */

static void set_defaults(struct mesh_options *options)
{
    if (options->heartbeat_ms == 0)
        options->heartbeat_ms = 250;
    if (options->silent_ms == 0)
        options->silent_ms = MESH_SILENT_MS;
    if (options->reconnect_ms_min == 0)
        options->reconnect_ms_min = 5;
    if (options->reconnect_ms_max == 0)
        options->reconnect_ms_max = 100;
    if (options->queue_bytes_max == 0)
        options->queue_bytes_max = 32u << 20;
    if (options->message_bytes_max == 0)
        options->message_bytes_max = 64u << 20;
}

static enum error open_receiver(struct mesh *mesh, char *why)
{
    const struct mesh_options *options = &mesh->ground.options;
    size_t size = sizeof(mesh->endpoint);
    int64_t bytes_max = (int64_t)options->message_bytes_max + FRAME_OVERHEAD_BYTES_MAX;

    mesh->receiver = mesh_socket_new(mesh->ground.context, ZMQ_PULL);
    mesh_socket_set_int(mesh->receiver, ZMQ_RCVHWM, 0); /* bounded by the senders' windows */
    mesh_socket_set_int(mesh->receiver, ZMQ_CURVE_SERVER, 1);
    mesh_socket_set_int(mesh->receiver, ZMQ_HANDSHAKE_IVL, (int)options->silent_ms * 2);
    mesh_socket_set_int(mesh->receiver, ZMQ_IPV6, strchr(options->listen, '[') != NULL);
    CHECK(zmq_setsockopt(mesh->receiver, ZMQ_MAXMSGSIZE, &bytes_max, sizeof(bytes_max)) == 0);
    if (mesh_socket_set_text(mesh->receiver, ZMQ_CURVE_SECRETKEY, options->secret_key) != OK) {
        (void)snprintf(why, ERROR_WHY_BYTES, "the secret key is not 40 characters of Z85");
        return ERR_INVALID;
    }
    if (zmq_bind(mesh->receiver, options->listen) != 0) {
        (void)snprintf(why, ERROR_WHY_BYTES, "listen on %s: %s", options->listen,
                       zmq_strerror(errno));
        return errno == EINVAL ? ERR_INVALID : ERR_IO;
    }
    CHECK(zmq_getsockopt(mesh->receiver, ZMQ_LAST_ENDPOINT, mesh->endpoint, &size) == 0);
    mesh->receiver_watch =
        mesh_watch_new(mesh->ground.loop, mesh->receiver, mesh, on_receiver_news);
    return OK;
}

static enum error open_sockets(struct mesh *mesh, char *why)
{
    if (mesh->ground.options.listen == NULL)
        return OK;
    mesh->ground.context = zmq_ctx_new();
    CHECK(mesh->ground.context != NULL);
    CHECK(zmq_ctx_set(mesh->ground.context, ZMQ_MAX_SOCKETS, SOCKETS_MAX) == 0);
    /* First: without it, everybody would be let in. */
    mesh->auth = mesh_auth_new(mesh->ground.loop, mesh->ground.context, mesh, is_key_known);
    return open_receiver(mesh, why);
}

enum error mesh_open(uv_loop_t *loop, struct env *env, uint64_t self,
                     const struct mesh_options *options, struct mesh **mesh,
                     char why[ERROR_WHY_BYTES])
{
    struct mesh *opened = check_calloc(1, sizeof(*opened));

    opened->table = (struct env_link){.send = link_send,
                                      .is_up = link_is_up,
                                      .self = link_self,
                                      .peer_set = link_peer_set,
                                      .peer_remove = link_peer_remove,
                                      .handle = link_handle,
                                      .watch = link_watch,
                                      .unwatch = link_unwatch};
    opened->self = self;
    opened->ground.loop = loop;
    opened->ground.env = env;
    opened->ground.options = *options;
    opened->ground.user = opened;
    opened->ground.on_up = on_peer_up;
    opened->ground.on_down = on_peer_down;
    set_defaults(&opened->ground.options);
    map_init(&opened->peers);
    map_init(&opened->keys);
    buffer_init(&opened->to_self, BUFFER_UNLIMITED);
    list_init(&opened->watchers);
    list_init(&opened->notices);
    enum error rc = open_sockets(opened, why);

    if (rc != OK) {
        mesh_free(opened);
        return rc;
    }
    *mesh = opened;
    return OK;
}

void mesh_stop(struct mesh *mesh)
{
    struct map_entry *entry;
    size_t i = 0;

    if (mesh == NULL || mesh->ground.is_stopped)
        return;
    mesh->ground.is_stopped = true;
    while ((entry = map_next(&mesh->peers, &i)) != NULL)
        mesh_peer_stop(entry->value);
    mesh_watch_close(mesh->receiver_watch);
    mesh_auth_stop(mesh->auth);
}

void mesh_free(struct mesh *mesh)
{
    struct map_entry *entry;
    struct list *link;
    size_t i = 0;

    if (mesh == NULL)
        return;
    mesh_stop(mesh);
    while ((entry = map_next(&mesh->peers, &i)) != NULL)
        mesh_peer_free(entry->value);
    while ((link = list_pop(&mesh->notices)) != NULL)
        free(container_of(link, struct notice, link));
    env_timer_stop(mesh->ground.env, &mesh->receive_more);
    env_timer_stop(mesh->ground.env, &mesh->deliver_to_self);
    env_defer_cancel(mesh->ground.env, &mesh->tell);
    map_close(&mesh->peers);
    map_close(&mesh->keys);
    buffer_close(&mesh->to_self);
    if (mesh->receiver != NULL)
        CHECK(zmq_close(mesh->receiver) == 0);
    mesh_auth_free(mesh->auth);
    if (mesh->ground.context != NULL)
        CHECK(zmq_ctx_term(mesh->ground.context) == 0);
    free(mesh);
}

const struct env_link *mesh_table(struct mesh *mesh)
{
    return &mesh->table;
}

const char *mesh_endpoint(const struct mesh *mesh)
{
    return mesh->receiver != NULL ? mesh->endpoint : NULL;
}
