/* The node's end of a launcher: starts it, sends orders, hands over what it says, and starts it
 * again when it dies. */

#ifndef NODE_SANDBOX_PROCESS_LAUNCHER_H
#define NODE_SANDBOX_PROCESS_LAUNCHER_H

#include "node/sandbox/launcher_message.h"
#include "proto/base/buffer.h"
#include "proto/base/list.h"

#include <uv.h>

enum process_launcher_kind {
    PROCESS_LAUNCHER_PYTHON,
    PROCESS_LAUNCHER_NATIVE,
    PROCESS_LAUNCHER_NODE,
    PROCESS_LAUNCHER_COUNT
};

struct process_launcher_options { /* strings borrowed for the launcher's life */
    const char *python;           /* the interpreters */
    const char *node;
    const char *folder;   /* absolute; the launcher's own, made here */
    const char *instance; /* names its control groups; unique on the machine */
    uint32_t uid_base;
    enum launcher_tier tier_best;
    enum launcher_tier tier_worst;
};

struct process_launcher;

struct process_launcher_handler {
    /* `descriptors` are the handler's to close. */
    void (*on_message)(struct process_launcher *launcher, const struct launcher_message *message,
                       const char *text, const int *descriptors, size_t descriptor_count);
    /* It is gone and with it all its sandboxes; it will be started again in a moment. */
    void (*on_gone)(struct process_launcher *launcher);
};

struct process_launcher { /* embedded */
    enum process_launcher_kind kind;
    struct process_launcher_options options;
    const struct process_launcher_handler *handler;
    uv_loop_t *loop;
    uv_process_t process;
    uv_poll_t control_ready;
    uv_timer_t restart;
    int control; /* -1 = not running */
    bool is_process_open;
    bool is_closing;
    bool is_refused;     /* not to be started again */
    bool is_background;  /* started so, and nobody has hurried it */
    struct list queue;   /* messages the socket would not take yet */
    uint32_t open_count; /* handles libuv has not let go of */
    uint32_t restarts;   /* in a row */
    void (*closed)(struct process_launcher *launcher);
};

/* "python", "native", "node". */
const char *process_launcher_kind_name(enum process_launcher_kind kind);

void process_launcher_init(struct process_launcher *launcher, enum process_launcher_kind kind,
                           uv_loop_t *loop, const struct process_launcher_options *options,
                           const struct process_launcher_handler *handler);

bool process_launcher_is_running(const struct process_launcher *launcher);

/* It runs, or is about to be started again after a death that was no habit yet. */
bool process_launcher_is_coming(const struct process_launcher *launcher);

/* Nothing when it runs already. In the background: it loads its runtime with little priority.
 * ERR_NO_CAPACITY: just dying, or refused. ERR_IO. */
enum error process_launcher_start(struct process_launcher *launcher, bool in_background);

/* Somebody waits for what was started in the background. Where the node may not raise priorities
 * nothing happens, and it is only as quick as the machine is idle. */
void process_launcher_hurry(struct process_launcher *launcher);

/* It said something good: a later death is a new misfortune, not the same one again. */
void process_launcher_is_well(struct process_launcher *launcher);

/* There is no isolation here that we would accept: once it is gone, leave it so. */
void process_launcher_refuse(struct process_launcher *launcher);

/* Takes `descriptor` (-1 = none). Lost when the launcher dies, which on_gone tells. */
void process_launcher_send(struct process_launcher *launcher, struct launcher_message *message,
                           const char *text, struct slice command, int descriptor);

/* Ends it and everything it started; nothing is called any more but `closed`, in a later turn. */
void process_launcher_close(struct process_launcher *launcher,
                            void (*closed)(struct process_launcher *launcher));

#endif
