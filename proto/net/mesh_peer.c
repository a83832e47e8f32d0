#include "proto/net/mesh_peer.h"

#include "proto/base/check.h"
#include "proto/base/log.h"
#include "proto/net/frame.h"
#include "proto/net/mesh_probe.h"
#include "proto/net/mesh_socket.h"

#include <inttypes.h>
#include <stdio.h>

/* What may be inside ZeroMQ for one peer: enough to keep its thread busy, little enough that a Raft
 * message put in behind it does not wait. More waits here, where Raft goes first. */
#define FRAMES_IN_SOCKET_MAX 16
#define FRAME_BYTES_WANTED (64u * 1024)

/* What may be under way, not counting Raft: sent, and not taken out of ZeroMQ by the peer's loop.
 * It is what bounds a slow peer's memory, for its socket takes everything: libzmq 4.3 aborts the
 * process when a connection whose input was stopped by a full socket ends (issues 3937, 4767). */
#define WINDOW_BYTES (8u << 20)
#define WINDOW_TOLD_BYTES (WINDOW_BYTES / 4) /* taken, until the sender is told */

/* A queue keeps its memory up to here once it is empty. */
#define IDLE_BYTES_MAX (256u * 1024)

#define CONNECT_TIMEOUT_MS 3000
#define MONITORED (ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_CLOSED)

struct queue {
    struct buffer messages; /* in the form they have in a frame */
    size_t sent;            /* bytes at its start that have left */
};

/*            handshake            connection ends            a probe is refused
 *   STRANGER ---------> UP ---------------------------> LOST ------------------> REFUSED
 *                        ^------------ handshake --------'----------------------'
 *
 * Probes run in LOST only, after the loss and after each failed attempt to reconnect. */
enum peer_state { PEER_STRANGER, PEER_UP, PEER_LOST, PEER_REFUSED };

struct mesh_peer {
    struct mesh_ground *ground;
    uint64_t id;
    char *endpoint;
    char *public_key;
    enum peer_state state;
    bool is_told_up; /* what the watchers know; lags behind the state within a turn */
    void *sender;    /* PUSH; NULL when the address or key is impossible */
    void *monitor;   /* PAIR: what happens to the sender's connection */
    struct mesh_watch *sender_watch; /* awake only while is_blocked */
    struct mesh_watch *monitor_watch;
    struct mesh_probe *probe; /* NULL = none in flight */
    struct env_timer retry;
    uint32_t pause_ms;   /* before the next retry */
    struct queue urgent; /* Raft */
    struct queue ordinary;
    uint64_t stream;         /* what we say since the link came up */
    uint64_t position;       /* in it, of the next frame */
    uint64_t heard_position; /* so far the peer's loop took it */
    struct frame_order order_in;
    uint64_t told_position; /* of order_in, that we have told the peer */
    bool must_tell;         /* with the next frame, even one without messages */
    struct env_task flush;
    bool is_blocked;   /* the sender takes no more for now */
    uint64_t heard_us; /* when a frame came in, or the link came up */
};

/* ---- what waits to be sent ---- */

static struct slice queue_rest(const struct queue *queue)
{
    if (queue->messages.size == 0)
        return slice_of(NULL, 0);
    return slice_of(queue->messages.data + queue->sent, queue->messages.size - queue->sent);
}

static void queue_clear(struct queue *queue)
{
    queue->sent = 0;
    buffer_clear(&queue->messages);
    if (queue->messages.capacity > IDLE_BYTES_MAX)
        buffer_close(&queue->messages);
}

static void queue_drop(struct queue *queue, size_t bytes)
{
    queue->sent += bytes;
    if (queue->sent == queue->messages.size) {
        queue_clear(queue);
    } else if (queue->sent > queue->messages.size / 2) {
        buffer_consume(&queue->messages, queue->sent);
        queue->sent = 0;
    }
}

static bool is_window_open(const struct mesh_peer *peer)
{
    return peer->position - peer->heard_position < WINDOW_BYTES;
}

static bool has_something_to_send(const struct mesh_peer *peer)
{
    return peer->must_tell || peer->urgent.messages.size > 0 ||
           (peer->ordinary.messages.size > 0 && is_window_open(peer));
}

/* Ordinary messages fill what urgent ones leave of a frame. One that is too big for that gets a
 * frame of its own, later, so that nothing urgent waits for its bytes. */
static void choose_messages(const struct mesh_peer *peer, struct slice *urgent,
                            struct slice *ordinary)
{
    *urgent = queue_rest(&peer->urgent);
    *ordinary = queue_rest(&peer->ordinary);
    urgent->size = frame_messages_bytes(*urgent, FRAME_BYTES_WANTED);
    if (urgent->size < FRAME_BYTES_WANTED && is_window_open(peer))
        ordinary->size = frame_messages_bytes(*ordinary, FRAME_BYTES_WANTED - urgent->size);
    else
        ordinary->size = 0;
    if (urgent->size > 0 && urgent->size + ordinary->size > FRAME_BYTES_WANTED)
        ordinary->size = 0;
}

static bool send_frame(struct mesh_peer *peer)
{
    const struct frame_header header = {.stream = peer->stream,
                                        .position = peer->position,
                                        .heard_stream = peer->order_in.stream,
                                        .heard_position = peer->order_in.position};
    struct slice urgent;
    struct slice ordinary;
    zmq_msg_t message;

    choose_messages(peer, &urgent, &ordinary);
    size_t size = FRAME_HEADER_BYTES + urgent.size + ordinary.size;

    CHECK(zmq_msg_init_size(&message, size) == 0);
    frame_write(zmq_msg_data(&message), &header, urgent, ordinary);
    if (zmq_msg_send(&message, peer->sender, ZMQ_DONTWAIT) < 0) {
        (void)zmq_msg_close(&message);
        return false;
    }
    peer->position += size;
    peer->told_position = header.heard_position;
    peer->must_tell = false;
    queue_drop(&peer->urgent, urgent.size);
    queue_drop(&peer->ordinary, ordinary.size);
    return true;
}

static void flush(struct mesh_peer *peer)
{
    bool was_blocked = peer->is_blocked;

    peer->is_blocked = false;
    /* Asking makes ZeroMQ look at its news, which costs: only once it took no more. */
    while (has_something_to_send(peer) && !peer->is_blocked)
        peer->is_blocked =
            !send_frame(peer) && (!mesh_socket_is_writable(peer->sender) || !send_frame(peer));
    if (peer->is_blocked && !was_blocked)
        mesh_watch_resume(peer->sender_watch);
    else if (!peer->is_blocked && was_blocked)
        mesh_watch_pause(peer->sender_watch);
}

static void on_flush(struct env_task *task)
{
    struct mesh_peer *peer = container_of(task, struct mesh_peer, flush);

    if (peer->state == PEER_UP)
        flush(peer);
}

static void on_sender_news(void *user)
{
    flush(user);
}

enum error mesh_peer_send(struct mesh_peer *peer, enum env_channel channel, struct slice message)
{
    bool is_urgent = channel == ENV_CHANNEL_RAFT;
    struct queue *queue = is_urgent ? &peer->urgent : &peer->ordinary;
    size_t waiting = queue_rest(queue).size;

    if (!mesh_peer_is_up(peer))
        return ERR_UNREACHABLE;
    if (message.size > peer->ground->options.message_bytes_max)
        return ERR_TOO_LARGE;
    if (!is_urgent && waiting > 0 && waiting + message.size > peer->ground->options.queue_bytes_max)
        return ERR_OVERLOADED;
    enum error rc = frame_append_message(&queue->messages, channel, message);

    if (rc == OK)
        env_defer(peer->ground->env, &peer->flush, on_flush);
    return rc;
}

/* ---- up and down ---- */

static void drop_waiting(struct mesh_peer *peer)
{
    queue_clear(&peer->urgent);
    queue_clear(&peer->ordinary);
    env_defer_cancel(peer->ground->env, &peer->flush);
    if (peer->is_blocked)
        mesh_watch_pause(peer->sender_watch);
    peer->is_blocked = false;
}

static void go_up(struct mesh_peer *peer)
{
    peer->state = PEER_UP;
    peer->pause_ms = peer->ground->options.reconnect_ms_min;
    peer->stream = env_random(peer->ground->env);
    peer->position = 0;
    peer->heard_position = 0;
    peer->must_tell = peer->order_in.connection != 0; /* it may wait for that to go on */
    if (peer->must_tell)
        env_defer(peer->ground->env, &peer->flush, on_flush);
    peer->heard_us = env_now_us(peer->ground->env);
    peer->ground->on_up(peer->ground->user, peer->id);
}

static void go_down(struct mesh_peer *peer)
{
    uint64_t quiet_us = env_now_us(peer->ground->env) - peer->heard_us;
    bool is_silent = quiet_us >= (uint64_t)peer->ground->options.silent_ms * 900;

    peer->state = PEER_LOST;
    drop_waiting(peer);
    peer->ground->on_down(peer->ground->user, peer->id,
                          is_silent ? ENV_DOWN_SILENT : ENV_DOWN_CLOSED);
}

static void on_probed(void *user, bool is_refused)
{
    struct mesh_peer *peer = user;

    peer->probe = NULL;
    if (peer->ground->is_stopped || peer->state != PEER_LOST || !is_refused)
        return;
    peer->state = PEER_REFUSED;
    peer->ground->on_down(peer->ground->user, peer->id, ENV_DOWN_REFUSED);
}

static void ask_whether_gone(struct mesh_peer *peer)
{
    if (peer->state == PEER_LOST && peer->probe == NULL)
        peer->probe = mesh_probe_start(peer->ground->loop, peer->ground->env, peer->endpoint, peer,
                                       on_probed);
}

/* The next event of the sender's connection; 0 when there is none. */
static int next_event(void *monitor)
{
    zmq_msg_t part;
    uint16_t event = 0;

    (void)zmq_msg_init(&part);
    if (mesh_socket_receive(monitor, &part)) { /* event u16, value u32, in our byte order */
        CHECK(zmq_msg_size(&part) >= sizeof(event));
        memcpy(&event, zmq_msg_data(&part), sizeof(event));
        CHECK(mesh_socket_receive(monitor, &part)); /* the address: known */
    }
    (void)zmq_msg_close(&part);
    return event;
}

static void connect_sender(struct mesh_peer *peer)
{
    if (zmq_connect(peer->sender, peer->endpoint) != 0)
        log_warn("mesh.bad_endpoint peer=%" PRIu64 " endpoint=%s", peer->id, peer->endpoint);
}

static void on_retry(struct env_timer *timer)
{
    connect_sender(container_of(timer, struct mesh_peer, retry));
}

/* Somebody took the connection and ended it before the handshake: it does not know our key (yet),
 * or is not who we take it for. ZeroMQ would try again every few milliseconds for ever. */
static void pause_connecting(struct mesh_peer *peer)
{
    uint32_t pause_ms_max = peer->ground->options.reconnect_ms_max;

    log_debug("mesh.handshake_failed peer=%" PRIu64 " endpoint=%s", peer->id, peer->endpoint);
    (void)zmq_disconnect(peer->sender, peer->endpoint); /* may have ended by itself */
    env_timer_start(peer->ground->env, &peer->retry, (uint64_t)peer->pause_ms * 1000, on_retry);
    peer->pause_ms = peer->pause_ms < pause_ms_max / 2 ? peer->pause_ms * 2 : pause_ms_max;
}

static void on_monitor_news(void *user)
{
    struct mesh_peer *peer = user;

    for (int event = next_event(peer->monitor); event != 0; event = next_event(peer->monitor)) {
        if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED) {
            go_up(peer);
            continue;
        }
        if (peer->state == PEER_UP && event == ZMQ_EVENT_DISCONNECTED)
            go_down(peer);
        else if (event == ZMQ_EVENT_DISCONNECTED)
            pause_connecting(peer);
        ask_whether_gone(peer);
    }
    /* Asking is what makes ZeroMQ take its connection's news in, on a socket that seldom speaks. */
    (void)mesh_socket_is_writable(peer->sender);
}

/* ---- what comes in ---- */

static void note_heard(struct mesh_peer *peer, const struct frame_header *header)
{
    bool was_open = is_window_open(peer);

    if (header->heard_stream != peer->stream || header->heard_position <= peer->heard_position ||
        header->heard_position > peer->position)
        return;
    peer->heard_position = header->heard_position;
    if (!was_open && is_window_open(peer) && peer->state == PEER_UP)
        env_defer(peer->ground->env, &peer->flush, on_flush);
}

bool mesh_peer_accepts(struct mesh_peer *peer, uint64_t connection, const struct frame *frame)
{
    uint64_t stream_before = peer->order_in.stream;

    peer->heard_us = env_now_us(peer->ground->env);
    note_heard(peer, &frame->header);
    if (!frame_order_accepts(&peer->order_in, connection, frame))
        return false;
    if (peer->order_in.stream != stream_before)
        peer->told_position = frame->header.position;
    if (peer->order_in.position - peer->told_position < WINDOW_TOLD_BYTES)
        return true;
    peer->must_tell = true;
    if (peer->state == PEER_UP)
        env_defer(peer->ground->env, &peer->flush, on_flush);
    return true;
}

/* ---- life ---- */

static void *sender_new(const struct mesh_ground *ground, const char *public_key)
{
    const struct mesh_options *options = &ground->options;
    void *sender = mesh_socket_new(ground->context, ZMQ_PUSH);

    mesh_socket_set_int(sender, ZMQ_IMMEDIATE,
                        1); /* nothing is kept for a peer that is not there */
    mesh_socket_set_int(sender, ZMQ_SNDHWM, FRAMES_IN_SOCKET_MAX);
    mesh_socket_set_int(sender, ZMQ_RECONNECT_IVL, (int)options->reconnect_ms_min);
    mesh_socket_set_int(sender, ZMQ_RECONNECT_IVL_MAX, (int)options->reconnect_ms_max);
    mesh_socket_set_int(sender, ZMQ_CONNECT_TIMEOUT, CONNECT_TIMEOUT_MS);
    mesh_socket_set_int(sender, ZMQ_HANDSHAKE_IVL, (int)options->silent_ms * 2);
    mesh_socket_set_int(sender, ZMQ_HEARTBEAT_IVL, (int)options->heartbeat_ms);
    mesh_socket_set_int(sender, ZMQ_HEARTBEAT_TIMEOUT, (int)options->silent_ms);
    mesh_socket_set_int(sender, ZMQ_HEARTBEAT_TTL, (int)options->silent_ms * 2);
    if (mesh_socket_set_text(sender, ZMQ_CURVE_PUBLICKEY, options->public_key) == OK &&
        mesh_socket_set_text(sender, ZMQ_CURVE_SECRETKEY, options->secret_key) == OK &&
        mesh_socket_set_text(sender, ZMQ_CURVE_SERVERKEY, public_key) == OK)
        return sender;
    (void)zmq_close(sender);
    return NULL;
}

static void *monitor_new(struct mesh_ground *ground, void *sender)
{
    void *monitor = mesh_socket_new(ground->context, ZMQ_PAIR);
    char name[64];

    (void)snprintf(name, sizeof(name), "inproc://monitor-%" PRIu64, ground->sockets_made++);
    mesh_socket_set_int(monitor, ZMQ_RCVHWM, 0);
    CHECK(zmq_socket_monitor(sender, name, MONITORED) == 0);
    CHECK(zmq_connect(monitor, name) == 0);
    return monitor;
}

static void open_sockets(struct mesh_peer *peer)
{
    struct mesh_ground *ground = peer->ground;

    peer->state = PEER_STRANGER;
    peer->pause_ms = ground->options.reconnect_ms_min;
    peer->sender = sender_new(ground, peer->public_key);
    if (peer->sender == NULL) {
        log_warn("mesh.bad_key peer=%" PRIu64, peer->id);
        return;
    }
    if (strchr(peer->endpoint, '[') != NULL)
        mesh_socket_set_int(peer->sender, ZMQ_IPV6, 1);
    peer->monitor = monitor_new(ground, peer->sender);
    peer->sender_watch = mesh_watch_new(ground->loop, peer->sender, peer, on_sender_news);
    mesh_watch_pause(peer->sender_watch);
    peer->monitor_watch = mesh_watch_new(ground->loop, peer->monitor, peer, on_monitor_news);
    on_monitor_news(peer); /* news are announced only to who found none before */
    connect_sender(peer);
}

void mesh_peer_stop(struct mesh_peer *peer)
{
    drop_waiting(peer);
    env_timer_stop(peer->ground->env, &peer->retry);
    mesh_probe_cancel(peer->probe, peer->ground->is_stopped);
    mesh_watch_close(peer->sender_watch);
    mesh_watch_close(peer->monitor_watch);
    peer->probe = NULL;
    peer->sender_watch = NULL;
    peer->monitor_watch = NULL;
}

static void close_sockets(struct mesh_peer *peer)
{
    mesh_peer_stop(peer);
    if (peer->sender == NULL)
        return;
    CHECK(zmq_socket_monitor(peer->sender, NULL, 0) == 0);
    CHECK(zmq_close(peer->monitor) == 0);
    CHECK(zmq_close(peer->sender) == 0);
    peer->sender = NULL;
}

struct mesh_peer *mesh_peer_new(struct mesh_ground *ground, uint64_t id, const char *endpoint,
                                const char *public_key)
{
    struct mesh_peer *peer = check_calloc(1, sizeof(*peer));

    peer->ground = ground;
    peer->id = id;
    peer->endpoint = check_strdup(endpoint);
    peer->public_key = check_strdup(public_key);
    buffer_init(&peer->urgent.messages, BUFFER_UNLIMITED);
    buffer_init(&peer->ordinary.messages, BUFFER_UNLIMITED);
    open_sockets(peer);
    return peer;
}

void mesh_peer_free(struct mesh_peer *peer)
{
    close_sockets(peer);
    buffer_close(&peer->urgent.messages);
    buffer_close(&peer->ordinary.messages);
    free(peer->endpoint);
    free(peer->public_key);
    free(peer);
}

void mesh_peer_move(struct mesh_peer *peer, const char *endpoint, const char *public_key)
{
    if (peer->state == PEER_UP)
        go_down(peer);
    close_sockets(peer);
    free(peer->endpoint);
    free(peer->public_key);
    peer->endpoint = check_strdup(endpoint);
    peer->public_key = check_strdup(public_key);
    open_sockets(peer);
}

uint64_t mesh_peer_id(const struct mesh_peer *peer)
{
    return peer->id;
}

bool mesh_peer_is_connected(const struct mesh_peer *peer)
{
    return peer->state == PEER_UP;
}

void mesh_peer_told(struct mesh_peer *peer, bool is_up)
{
    peer->is_told_up = is_up;
}

bool mesh_peer_is_up(const struct mesh_peer *peer)
{
    return peer->state == PEER_UP && peer->is_told_up;
}

const char *mesh_peer_endpoint(const struct mesh_peer *peer)
{
    return peer->endpoint;
}

const char *mesh_peer_public_key(const struct mesh_peer *peer)
{
    return peer->public_key;
}
