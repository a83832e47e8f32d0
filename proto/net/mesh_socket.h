/* ZeroMQ sockets on a uv loop.
 *
 * A socket's descriptor tells of changes, not of states (it is edge-triggered): after it became
 * readable, and after each call on the socket, the socket itself has to be asked. Watchers of this
 * room are called when there may be news, and read until there is none. */

#ifndef PROTO_NET_MESH_SOCKET_H
#define PROTO_NET_MESH_SOCKET_H

#include "proto/base/buffer.h"

#include <uv.h>
#include <zmq.h>

struct mesh_watch;

/* Call `on_news` whenever something may have changed on `socket`, which must have been read until
 * there was nothing once before. */
struct mesh_watch *mesh_watch_new(uv_loop_t *loop, void *socket, void *user,
                                  void (*on_news)(void *user));
void mesh_watch_pause(struct mesh_watch *watch);
void mesh_watch_resume(struct mesh_watch *watch);
/* Before the socket is closed. Frees it in the loop's next turn. NULL is fine. */
void mesh_watch_close(struct mesh_watch *watch);

void *mesh_socket_new(void *context, int type); /* aborts when descriptors are exhausted */
void mesh_socket_set_int(void *socket, int option, int value);
/* ERR_INVALID when ZeroMQ does not take the value. */
enum error mesh_socket_set_text(void *socket, int option, const char *value);
bool mesh_socket_is_writable(void *socket);
/* One part of a message, without waiting; false when there is none. `message` is initialised. */
bool mesh_socket_receive(void *socket, zmq_msg_t *message);

#endif
