/* The simulated environment: every process of a cluster in one, on virtual time.
 *
 * One heap of events, ordered by time and then by the order they were scheduled in. One seed, one
 * run, one trace hash: nothing here asks the operating system. A process gets a `struct env` like
 * any other; the harness crashes, pauses, cuts and damages it from outside.
 *
 * A process's code runs in turns: one event's callbacks, then the tasks it deferred. Harness code
 * may call into a live process at any time (from a sim_after action, or between two steps); tasks
 * deferred in there run in a turn of their own at the same instant.
 *
 * Harsher than production on purpose: what a sync did not confirm may be lost, kept or torn. */

#ifndef PROTO_ENV_ENV_SIM_H
#define PROTO_ENV_ENV_SIM_H

#include "proto/base/rng.h"
#include "proto/env/env.h"

struct sim;

struct sim_range { /* drawn evenly, both ends included */
    uint64_t min_us;
    uint64_t max_us;
};

struct sim_options {
    uint64_t seed;
    bool verbose;                  /* events and log lines of processes go to standard error */
    struct sim_range latency;      /* of a message, one way */
    uint64_t heartbeat_timeout_us; /* a peer that is not heard for longer is SILENT */
    size_t queue_bytes_max;        /* on the way to one peer, before ERR_OVERLOADED */
    struct sim_range sync;         /* a write_sync or replace */
    struct sim_range durable;      /* a make_durable */
    struct sim_range work;         /* a piece of CPU work */
    uint64_t wall_ms;              /* wall clock at time 0 */
    /* Planted bugs, to see that a checker finds them: what was confirmed is not durable. */
    bool sync_lies;
    bool durable_lies;
};

/* A quick LAN with quick disks; change what you want to be otherwise. */
struct sim_options sim_options_default(uint64_t seed);

struct sim *sim_new(const struct sim_options *options);
/* Processes may still be alive; what they opened is freed. Their own objects (hosts, groups) are
 * the harness's and must be freed before. NULL is fine. */
void sim_free(struct sim *sim);

/* ---- running ---- */

uint64_t sim_now_us(const struct sim *sim);
struct rng *sim_rng(struct sim *sim); /* the world's dice, for the harness too */
bool sim_step(struct sim *sim);       /* one event; false when there is none */
void sim_run_until(struct sim *sim, uint64_t time_us);
/* Run a piece of the harness later. Forgotten at sim_free. */
void sim_after(struct sim *sim, uint64_t delay_us, void (*action)(void *user), void *user);

/* A rolling hash over every event so far: equal runs have equal hashes. */
uint64_t sim_trace_hash(const struct sim *sim);
void sim_trace(struct sim *sim, uint64_t fact); /* mix in a fact of the harness */
uint64_t sim_event_count(const struct sim *sim);

/* ---- processes ---- */

enum sim_crash {
    SIM_CRASH_KILL = 0,  /* SIGKILL: the page cache survives, so un-synced writes are still there */
    SIM_CRASH_LOSE = 1,  /* power loss: nothing un-synced survives */
    SIM_CRASH_TEAR = 2,  /* power loss: each sector of an un-synced write survives or does not */
    SIM_CRASH_SILENT = 4 /* or-ed in: peers see nothing until their heartbeats time out */
};

/* Starts a process, or restarts a crashed one on the same disk. The env is the simulator's and
 * stays valid until sim_free; after the crash its calls do nothing or fail. */
struct env *sim_process_start(struct sim *sim, uint64_t id);
struct env *sim_process_env(struct sim *sim, uint64_t id); /* NULL unless it is alive */
bool sim_is_alive(const struct sim *sim, uint64_t id);
bool sim_is_paused(const struct sim *sim, uint64_t id);

/* Stops everything of a process for good; nothing of it is called again. `how` is a mix of enum
 * sim_crash. Free its objects afterwards. May be called in one of its own callbacks. */
void sim_crash(struct sim *sim, uint64_t id, unsigned how);

/* SIGSTOP and SIGCONT: what happens meanwhile piles up and then happens at once. */
void sim_pause(struct sim *sim, uint64_t id);
void sim_resume(struct sim *sim, uint64_t id);

/* Its wall clock shows this much more (or less) than the true one from now on; a jump, that is. */
void sim_wall_skew(struct sim *sim, uint64_t id, int64_t skew_ms);

/* ---- links; each is about one direction ---- */

void sim_link_latency(struct sim *sim, uint64_t from, uint64_t to, struct sim_range latency);
/* Messages vanish, or come twice, inside a link that stays up. Parts in a million. */
void sim_link_loss(struct sim *sim, uint64_t from, uint64_t to, uint32_t parts);
void sim_link_duplicate(struct sim *sim, uint64_t from, uint64_t to, uint32_t parts);
/* Nothing gets through, though nobody is told. As with TCP, a short cut only delays; past the
 * heartbeat time-out both ends see the other as SILENT and what was on its way is lost. */
void sim_link_cut(struct sim *sim, uint64_t from, uint64_t to);
void sim_link_heal(struct sim *sim, uint64_t from, uint64_t to);
void sim_link_heal_all(struct sim *sim); /* no cuts, losses or duplicates any more */
/* A spurious reset: both ends see CLOSED, lose what is in flight and connect again. */
void sim_link_reset(struct sim *sim, uint64_t a, uint64_t b);

/* ---- disks; paths as the process gives them ---- */

void sim_disk_speed(struct sim *sim, uint64_t id, struct sim_range sync);
/* The n-th writing or reading call from now on (1 = the next) of files or stores fails with ERR_IO;
 * 0 = none. */
void sim_disk_fail_call(struct sim *sim, uint64_t id, uint64_t n);
bool sim_disk_fault_met(const struct sim *sim, uint64_t id); /* that call was made */
/* Room for so many bytes more, then ERR_IO until room is made. UINT64_MAX = endless. */
void sim_disk_space(struct sim *sim, uint64_t id, uint64_t bytes);
/* Is `offset` outside of what the last few write_syncs wrote? Damage elsewhere cannot be told from
 * a write that was never confirmed, by nobody. */
bool sim_disk_is_settled(struct sim *sim, uint64_t id, const char *path, uint64_t offset);
/* While the process is down. ERR_NOT_FOUND, ERR_INVALID past the end. */
enum error sim_disk_flip(struct sim *sim, uint64_t id, const char *path, uint64_t offset);
enum error sim_disk_truncate(struct sim *sim, uint64_t id, const char *path, uint64_t bytes);
/* Reads of this sector fail with ERR_IO until it is written again. */
enum error sim_disk_bad_sector(struct sim *sim, uint64_t id, const char *path, uint64_t offset);
/* The store's next open gives ERR_CORRUPT, until it is removed. ERR_NOT_FOUND. */
enum error sim_disk_spoil_store(struct sim *sim, uint64_t id, const char *path);
void sim_disk_wipe(struct sim *sim, uint64_t id); /* while it is down: an empty disk */
/* What a reader would see. ERR_NOT_FOUND. */
enum error sim_disk_content(struct sim *sim, uint64_t id, const char *path, struct slice *bytes);
void sim_disk_each_file(struct sim *sim, uint64_t id, void *user,
                        void (*on_file)(void *user, const char *path, uint64_t bytes));

#endif
