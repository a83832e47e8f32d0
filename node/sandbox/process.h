/* Sandboxes as real processes: the production side of the seam in sandbox.h.
 *
 * Launchers fork them: the Python zygote, one for Node.js and one for custom runtimes. Each keeps a
 * few stems, children that are forked, isolated and have their runtime loaded but belong to no
 * function yet; a start specialises one.
 * All processes die with the node, however it ends. How far a sandbox is kept from the machine
 * depends on what the node may do: see enum launcher_tier and process_status. */

#ifndef NODE_SANDBOX_PROCESS_H
#define NODE_SANDBOX_PROCESS_H

#include "node/sandbox/launcher_message.h"
#include "node/sandbox/sandbox.h"

#include <uv.h>

struct process;

struct process_options { /* 0 or NULL = the default; strings are borrowed */
    const char *data;    /* the node's data folder, absolute; required */
    const char *python;  /* default /usr/bin/python3 */
    const char *node_js; /* default /usr/bin/node; below /usr, which is what sandboxes see */
    const char *access_key_id;
    const char *secret_access_key;
    /* Where functions reach the node when they share its network (tier LANDLOCK and below). */
    const char *endpoint;     /* default "http://127.0.0.1:4566" */
    const char *const *extra; /* more variables for every function, ends with NULL */
    uint32_t uid_base;        /* sandboxes run as uid_base .. + 4095; default 700000. Nodes of one
                                 machine need ranges of their own */
    uint32_t boot_ms;         /* after so long the zygotes start, in the background, if nobody
                                 needed them before; default 1000 */
    uint32_t stems;           /* kept ready per runtime; default 2 */
    uint32_t stems_max;       /* kept ready in a burst; default 4, at least `stems` */
    enum launcher_tier tier_best;
    bool allow_unisolated; /* run functions even where only resource limits are left */
    void *user;
    /* A function connected to the AWS endpoint inside its sandbox; `fd` is taken. */
    void (*on_aws_connection)(void *user, int fd);
};

/* Also sets env->sandbox. Removes what an earlier life left in the data folder. ERR_IO. */
enum error process_open(struct env *env, uv_loop_t *loop, const struct process_options *options,
                        struct process **process);

/* Kills everything; calls no sandbox's handler any more, only `closed`, in a later turn. Free the
 * pool after this was called. */
void process_close(struct process *process, void *user, void (*closed)(void *user));

struct process_status {
    enum launcher_tier tier; /* the worse of the launchers that have said something */
    const char *tier_text;   /* "root: namespaces, ..." */
    const char *missing;     /* what is not there and why; "" = nothing */
    const char *runtimes; /* that cannot run, and why: "nodejs: ... is not there"; "" = all can */
    uint32_t stems;
    uint32_t sandboxes;
};

/* Strings lent until the next call. */
void process_status(struct process *process, struct process_status *status);

#endif
