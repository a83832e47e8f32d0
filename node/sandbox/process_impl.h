/* What the parts of the production sandboxes share: process.c (the seam, opening and closing),
 * process_stem.c (launchers, and children that belong to no function yet), process_instance.c (one
 * child: its output, its Runtime API, its order, its end) and process_limit.c (memory, processors).
 * Nobody else includes it. */

#ifndef NODE_SANDBOX_PROCESS_IMPL_H
#define NODE_SANDBOX_PROCESS_IMPL_H

#include "node/sandbox/package_store.h"
#include "node/sandbox/process.h"
#include "node/sandbox/process_launcher.h"
#include "node/sandbox/process_server.h"
#include "proto/base/arena.h"
#include "proto/base/map.h"

#define INSTANCE_BYTES 17

/* One child of a launcher: a stem, then somebody's sandbox.
 *
 *   spawned -> started -> (ordered, once there is a sandbox) -> gone */
struct instance {
    struct process *process;
    struct launcher *launcher;
    struct list link;      /* in launcher->instances */
    struct list stem_link; /* in launcher->stems while it is one */
    uint64_t id;
    struct sandbox *sandbox;  /* NULL = a stem, or let go */
    struct sandbox_spec spec; /* of the sandbox: points to the next two */
    struct arena order;
    Skein__Wire__Function *function;
    bool is_started;
    bool is_ordered;
    bool is_over_memory; /* we killed it for that */
    bool is_closing;
    uint16_t port;
    char why[128]; /* FAILED */
    int output;
    uv_poll_t output_ready;
    bool has_server;
    struct process_server server;
    int aws_listener;
    uv_poll_t aws_ready;
    int memory_file;
    bool is_memory_of_group; /* a number, not a status file */
    bool is_aws_full;        /* no descriptors were left for its connections */
    uint32_t open_count;     /* of the above that libuv has not let go of */
};

struct launcher {
    struct process_launcher link;
    struct process *process;
    struct list instances;
    struct list stems; /* oldest first */
    uint32_t stem_count;
    uint32_t stems_wanted; /* 0 until a function needs the runtime */
    uint32_t calm_ticks;
    bool has_said_hello;
    bool is_serving; /* it has said so in this life */
    enum launcher_tier tier;
    char missing[512];
    char folder[SANDBOX_PATH_BYTES];
    char instance[INSTANCE_BYTES + 8];
    uint32_t sandbox_count;
};

struct process {
    struct env_sandbox seam;
    struct env *env;
    uv_loop_t *loop;
    struct process_options options;
    struct package_store packages;
    struct launcher launchers[PROCESS_LAUNCHER_COUNT];
    char runtimes[SANDBOX_PATH_BYTES]; /* what process_status says of them */
    struct map instances;              /* id -> instance, until it is gone */
    uv_timer_t upkeep;
    uint64_t id_last;
    uint32_t open_count; /* launchers, instances and the timer that are still open */
    int loadavg;         /* descriptor */
    unsigned processors;
    uint64_t looked_us; /* when has_spare was found out */
    bool has_spare;
    uint64_t boot_at_ms; /* loop time at which runtimes are loaded unasked */
    bool has_booted;
    bool is_closing;
    void *close_user;
    void (*closed)(void *user);
};

extern const char *const process_tier_texts[];

struct process *process_of_env(struct env *env);
/* One of the handles that `open_count` counts is gone. The process may be, too. */
void process_count_closed(struct process *process);

/* ---- launchers and stems -------------------------------------------------------------------- */

void process_stem_open(struct process *process, enum process_launcher_kind kind);
/* The launcher runs, or will in a moment, and keeps stems. */
enum error process_stem_make_ready(struct launcher *launcher);
/* Keep as many stems as are wanted. */
void process_stem_refill(struct launcher *launcher);
void process_stem_drop_surplus(struct launcher *launcher);
/* The oldest stem, or a new child when there is none: then more are kept from now on. NULL when
 * there are no descriptors left. */
struct instance *process_stem_take(struct launcher *launcher);

/* ---- one child ------------------------------------------------------------------------------ */

void process_instance_on_output(uv_poll_t *poll, int status, int events);
void process_instance_on_started(struct instance *instance, const struct launcher_message *message,
                                 const int *descriptors, size_t count);
void process_instance_on_exited(struct instance *instance, const struct launcher_message *message);
/* The instance is isolated and has a sandbox: it becomes that function. */
void process_instance_order(struct instance *instance);
void process_instance_kill(struct instance *instance);
void process_instance_end(struct instance *instance, struct sandbox_exit exit);
/* It is gone, or we are. The sandbox was told before, or never will be. */
void process_instance_close(struct instance *instance);
/* Descriptors may be free again: accept its connections to the AWS endpoint. */
void process_instance_resume_aws(struct instance *instance);

/* ---- limits --------------------------------------------------------------------------------- */

/* Without a control group the node itself looks at the memory. */
void process_limit_watch(struct instance *instance);
/* Both are of the seam (sandbox.h). */
uint32_t process_limit_memory_mb(struct env *env, struct sandbox *sandbox);
bool process_limit_has_spare(struct env *env);

#endif
