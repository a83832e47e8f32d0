/* Inside the simulated environment; only the env_sim files include this. */

#ifndef PROTO_ENV_ENV_SIM_IMPL_H
#define PROTO_ENV_ENV_SIM_IMPL_H

#include "proto/base/check.h"
#include "proto/base/log.h"
#include "proto/base/map.h"
#include "proto/env/env_sim.h"

enum sim_kind {
    SIM_KIND_ACTION,
    SIM_KIND_START,
    SIM_KIND_CRASH,
    SIM_KIND_PAUSE,
    SIM_KIND_RESUME,
    SIM_KIND_TIMER,
    SIM_KIND_TURN,
    SIM_KIND_MESSAGE,
    SIM_KIND_UP,
    SIM_KIND_DOWN,
    SIM_KIND_CONNECT,
    SIM_KIND_DISK,
    SIM_KIND_WORK,
    SIM_KIND_FACT
};

/* Something that will happen. Embedded by its owner, zeroed at first. */
struct sim_event {
    struct heap_node node;       /* in sim.events */
    struct list link;            /* in its process's events, or held */
    struct sim_process *process; /* NULL: the world's own */
    /* What the world does at that time, even when the process is paused: NULL if nothing. */
    void (*effect)(struct sim_event *event);
    void (*fire)(struct sim_event *event);
    /* Called instead of `fire` when the process crashed or the simulation ends; NULL if nothing. */
    void (*discard)(struct sim_event *event);
    enum sim_kind kind;
    bool is_pending;
};

/* One life of a process, from start to crash. Kept until sim_free, since its objects may be freed
 * after the crash and call timer_stop, close and so on. */
struct sim_process {
    struct env env;
    struct sim *sim;
    struct sim_machine *machine;
    struct list link; /* in sim.processes */
    bool is_alive;
    bool is_paused;
    struct rng dice;

    struct list events; /* pending, of this process */
    struct list held;   /* due while paused */
    struct heap timers;
    struct sim_event wake; /* at the first timer */
    struct sim_event turn; /* for tasks deferred outside a turn */
    struct list tasks;

    struct env_link_handler handlers[ENV_CHANNEL_COUNT];
    struct list watchers;
    struct list files;  /* open env_file */
    struct list stores; /* open kv */
};

/* What outlives a process: its place in the network, its disk. */
struct sim_machine {
    struct sim *sim;
    uint64_t id;
    size_t index;                /* in sim.machines */
    struct sim_process *process; /* NULL while it is down */
    bool is_silent;              /* it went down without a word */
    int64_t skew_ms;
    uint64_t lives;
    struct sim_pair **pairs; /* by the other machine's index; NULL until they met */
    size_t pair_count;
    struct sim_way *self; /* messages to oneself */
    struct sim_disk *disk;
};

struct sim {
    struct sim_options options;
    struct rng rng;
    uint64_t now;
    struct heap events;
    struct sim_process *current; /* whose turn it is; NULL outside a turn */
    struct map machines_by_id;
    struct sim_machine **machines;
    size_t machine_count;
    struct list processes;
    struct list pairs;
    uint64_t trace;
    uint64_t event_count;
    uint64_t turn_count;
    enum log_level log_level_before;
};

static inline struct sim_process *sim_process_of(struct env *env)
{
    return env->impl;
}

uint64_t sim_draw(struct sim *sim, struct sim_range range);
bool sim_chance(struct sim *sim, uint32_t parts_in_million);

/* Schedule an event whose owner filled process, fire and kind; a pending one is moved. */
void sim_schedule(struct sim *sim, struct sim_event *event, uint64_t time);
void sim_cancel(struct sim *sim, struct sim_event *event);
/* Something a process was told or had done to it: into the trace, and printed when verbose. `peer`
 * may be 0; `detail` is a size or a reason. */
void sim_note(struct sim *sim, const struct sim_process *process, enum sim_kind kind, uint64_t peer,
              uint64_t detail);
struct sim_machine *sim_machine_get(struct sim *sim, uint64_t id); /* makes it */

/* env_sim_link.c */
extern const struct env_link sim_link;
void sim_link_machine_init(struct sim_machine *machine);
void sim_link_machine_close(struct sim_machine *machine);
void sim_link_pairs_free(struct sim *sim);
void sim_link_on_start(struct sim_machine *machine);
/* The process is down already (machine->process NULL). */
void sim_link_on_crash(struct sim_machine *machine);
void sim_link_on_pause_changed(struct sim_machine *machine);

/* env_sim_disk.c */
extern const struct env_disk sim_disk;
struct sim_disk *sim_disk_new(struct sim_machine *machine);
void sim_disk_free(struct sim_disk *disk);
void sim_disk_on_crash(struct sim_disk *disk, unsigned how);
void sim_disk_close_all(struct sim_process *process); /* frees what it left open */
/* Counts a call that the disk may be told to fail; `bytes` it would write. */
bool sim_disk_call_fails(struct sim_process *process, uint64_t bytes);
/* The store at `path`, made when it is not there. ERR_NOT_FOUND without the folder it is in,
 * ERR_EXISTS if a file or folder has the name. */
struct sim_store;
enum error sim_disk_store_get(struct sim_disk *disk, const char *path, struct sim_store **store);

/* env_sim_kv.c */
extern const struct env_kv sim_kv;
struct sim_store *sim_store_new(void);
void sim_store_free(struct sim_store *store);
void sim_store_on_crash(struct sim_store *store, struct rng *rng, unsigned how);
void sim_store_spoil(struct sim_store *store);
bool sim_store_is_open(const struct sim_store *store);
void sim_kv_on_crash(struct sim_process *process);
void sim_kv_close_all(struct sim_process *process);

#endif
