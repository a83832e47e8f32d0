#include "proto/net/mesh_probe.h"

#include "proto/base/check.h"

#include <netdb.h>
#include <stdio.h>

#define SCHEME "tcp://"

/*   LOOKING_UP -> CONNECTING -> closing, then freed
 *
 * Numeric addresses skip the first. Cancelled, `cb` is NULL and the rest happens all the same. */
struct mesh_probe {
    uv_loop_t *loop;
    struct env_work lookup;
    uv_tcp_t tcp;
    uv_connect_t connect;
    char host[256];
    char port[8];
    struct sockaddr_storage address;
    bool has_address;
    bool is_looking_up;
    void *user;
    mesh_probe_cb cb;
};

/* "tcp://[::1]:7000" and "tcp://host:7000" to host and port. */
static bool split(const char *endpoint, struct mesh_probe *probe)
{
    const char *host = endpoint + strlen(SCHEME);
    const char *colon = strrchr(endpoint, ':');

    if (strncmp(endpoint, SCHEME, strlen(SCHEME)) != 0 || colon < host)
        return false;
    size_t size = (size_t)(colon - host);

    if (size >= 2 && host[0] == '[' && host[size - 1] == ']') {
        host++;
        size -= 2;
    }
    if (size >= sizeof(probe->host) || strlen(colon + 1) >= sizeof(probe->port))
        return false;
    (void)snprintf(probe->host, sizeof(probe->host), "%.*s", (int)size, host);
    (void)snprintf(probe->port, sizeof(probe->port), "%s", colon + 1);
    return true;
}

static void resolve(struct mesh_probe *probe, int flags)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV};
    struct addrinfo *found = NULL;

    if (getaddrinfo(probe->host, probe->port, &hints, &found) != 0)
        return;
    memcpy(&probe->address, found->ai_addr, found->ai_addrlen);
    probe->has_address = true;
    freeaddrinfo(found);
}

static void finish(struct mesh_probe *probe, bool is_refused)
{
    mesh_probe_cb cb = probe->cb;
    void *user = probe->user;

    probe->cb = NULL;
    if (cb != NULL)
        cb(user, is_refused);
}

static void on_closed(uv_handle_t *handle)
{
    free(container_of(handle, struct mesh_probe, tcp));
}

static void on_connect(uv_connect_t *connect, int status)
{
    struct mesh_probe *probe = container_of(connect, struct mesh_probe, connect);

    if (uv_is_closing((uv_handle_t *)&probe->tcp) == 0)
        uv_close((uv_handle_t *)&probe->tcp, on_closed);
    finish(probe, status == UV_ECONNREFUSED);
}

static void on_failed_at_once(uv_handle_t *handle)
{
    struct mesh_probe *probe = container_of(handle, struct mesh_probe, tcp);

    finish(probe, false);
    free(probe);
}

static void connect_to(struct mesh_probe *probe)
{
    CHECK(uv_tcp_init(probe->loop, &probe->tcp) == 0);
    if (!probe->has_address ||
        uv_tcp_connect(&probe->connect, &probe->tcp, (const struct sockaddr *)&probe->address,
                       on_connect) != 0)
        uv_close((uv_handle_t *)&probe->tcp, on_failed_at_once);
}

static void run_lookup(struct env_work *work)
{
    resolve(container_of(work, struct mesh_probe, lookup), 0);
}

static void on_lookup_done(struct env_work *work)
{
    struct mesh_probe *probe = container_of(work, struct mesh_probe, lookup);

    probe->is_looking_up = false;
    if (probe->cb == NULL)
        free(probe);
    else
        connect_to(probe);
}

struct mesh_probe *mesh_probe_start(uv_loop_t *loop, struct env *env, const char *endpoint,
                                    void *user, mesh_probe_cb cb)
{
    struct mesh_probe *probe = check_calloc(1, sizeof(*probe));
    bool is_split = split(endpoint, probe);

    probe->loop = loop;
    probe->user = user;
    probe->cb = cb;
    if (is_split)
        resolve(probe, AI_NUMERICHOST);
    if (is_split && !probe->has_address) {
        probe->is_looking_up = true;
        probe->lookup.run = run_lookup;
        probe->lookup.done = on_lookup_done;
        env->worker->queue(env, &probe->lookup);
    } else {
        connect_to(probe);
    }
    return probe;
}

void mesh_probe_cancel(struct mesh_probe *probe, bool is_stopped)
{
    if (probe == NULL)
        return;
    probe->cb = NULL;
    if (!probe->is_looking_up && uv_is_closing((uv_handle_t *)&probe->tcp) == 0)
        uv_close((uv_handle_t *)&probe->tcp, on_closed);
    else if (probe->is_looking_up && is_stopped)
        free(probe);
}
