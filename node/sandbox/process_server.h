/* The Runtime API of one sandbox on sockets: a listener that was made inside the sandbox, and the
 * connections to it. libuv stays in here. */

#ifndef NODE_SANDBOX_PROCESS_SERVER_H
#define NODE_SANDBOX_PROCESS_SERVER_H

#include "node/sandbox/runtime_api.h"
#include "proto/base/list.h"

#include <uv.h>

#define PROCESS_SERVER_CONNECTIONS_MAX 16

struct process_server;
typedef void (*process_server_closed_cb)(struct process_server *server);

struct process_server { /* embedded */
    struct runtime_api api;
    uv_loop_t *loop;
    uv_tcp_t listener;
    struct list connections;
    uint32_t open_count; /* handles libuv has not let go of */
    uint32_t connection_count;
    bool is_closing;
    process_server_closed_cb closed;
};

/* Takes `listener`, a listening socket, on success. The api is to be initialised already. ERR_IO.
 */
enum error process_server_open(struct process_server *server, uv_loop_t *loop, int listener);

/* The client has ended: hear what it said before. Afterwards api.event is what it never saw. */
void process_server_drain(struct process_server *server);

/* Nothing is called any more but `closed`, in a later turn; the struct is then the caller's. */
void process_server_close(struct process_server *server, process_server_closed_cb closed);

#endif
