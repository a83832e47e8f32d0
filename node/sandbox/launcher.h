/* A launcher: the process that forks sandboxes for its node.
 *
 * There is one per kind of runtime: the Python zygote (zygote.py calls this through ctypes, so that
 * its children have the interpreter and boto3 loaded), and the ones whose children become another
 * program (launcher_main.c): node, or a function's own. It is
 * single-threaded, takes orders over the control socket, and dies with the node, as do all its
 * children. The protocol is launcher_message.h, the isolation isolate.h.
 *
 * A child is forked and isolated without knowing its function: a stem. It waits in launcher_await
 * until the node specialises it. */

#ifndef NODE_SANDBOX_LAUNCHER_H
#define NODE_SANDBOX_LAUNCHER_H

#include <stddef.h>
#include <stdint.h>

struct launcher;

/* `control` is the SOCK_SEQPACKET end; taken. Closes every descriptor above the standard ones, so
 * it comes first of all. May go on in another process (isolate.h). Sends
 * HELLO later, with launcher_serve, when all is loaded. NULL: nothing can be run; the node was
 * told. */
struct launcher *launcher_open(int control, const char *folder, const char *instance,
                               uint32_t uid_base, uint32_t tier_best, uint32_t tier_worst);

/* Where address space is what bounds memory, children may map so much beyond their limit; without
 * this call, what an interpreter needs. */
void launcher_allow_addresses(struct launcher *launcher, uint32_t slack_mb);

/* Serve until the control socket closes, then kill everything and exit. Returns only in children,
 * isolated. `fork_process` is fork, or the interpreter's own way of doing so. */
void launcher_serve(struct launcher *launcher, int (*fork_process)(void));

/* In a child: has the order come already? Then there is no time to rehearse. */
int launcher_is_ordered(struct launcher *launcher);

/* In a child: wait for the order and seal the sandbox. Gives the environment block ("NAME=value"
 * strings, each with a NUL behind it), which lives as long as the process. Exits when the order
 * never comes. */
const char *launcher_await(struct launcher *launcher, size_t *bytes);

/* In a child, instead of the above: seal the sandbox now, so that a program which starts at once
 * may wait for the order itself. Gives the descriptor the environment block comes from, up to its
 * end. -1: here a sandbox is sealed to what is in the order, so that has to come first. */
int launcher_seal_early(struct launcher *launcher);

#endif
