/* What the parts of the pool share: pool.c (its life, admission), pool_function.c (functions and
 * their versions), pool_call.c (invocations that wait or end), pool_limit.c (how many there may
 * be), pool_pump.c (what is started when), pool_unit.c (one sandbox) and pool_outcome.c (what
 * sandboxes say). Nobody else includes it. */

#ifndef NODE_SANDBOX_POOL_IMPL_H
#define NODE_SANDBOX_POOL_IMPL_H

#include "node/sandbox/pool.h"
#include "node/sandbox/sandbox_report.h"
#include "proto/base/map.h"

/* A start that takes longer waits for something else than a processor. */
#define PACED_US 1000000

#define TEXT_BYTES 192
#define VERSION_BYTES 24
#define ARN_BYTES 320 /* with a name of 64 and a qualifier of 128 */

enum code_state { CODE_ABSENT, CODE_FETCHING, CODE_READY };

/* One generation of a function: its code and the sandboxes that run it. */
struct pool_version {
    struct pool_function *function;
    struct list link; /* in function->versions, the current one first */
    Skein__Wire__Function *spec;
    struct pool_code code;
    enum code_state code_state;
    char *folder;
    struct list idle;        /* units, the latest used first */
    struct list units;       /* all of them */
    uint32_t starting_count; /* of them */
};

struct pool_function {
    struct pool *pool;
    struct list link; /* in pool->all */
    char *name;
    char version[VERSION_BYTES]; /* published, as text: "$LATEST", "7" */
    struct list versions;
    struct list waiting; /* calls without a sandbox, oldest first */
    uint32_t waiting_count;
    struct list stalled_link; /* in pool->stalled while it waits for room */
    uint32_t failures;        /* crashes since the last answer */
    struct env_timer backoff;
    uint64_t start_us;         /* how long a start takes, a moving average; 0 = not known */
    uint64_t run_us;           /* how long a call takes, likewise */
    struct env_timer patience; /* looks again at calls that wait for a busy sandbox */
    uint32_t keep_count;       /* sandboxes to have at least */
    uint32_t planned_count;    /* the same, of the plan that is being said */
    bool is_removed;
};

enum unit_state {
    UNIT_NEW,
    UNIT_STARTING,
    UNIT_IDLE,
    UNIT_BUSY,
    UNIT_ENDING /* killed, or about to exit; on_exit will come */
};

/* A sandbox of the pool. */
struct pool_unit {
    struct sandbox sandbox;
    struct pool_version *version;
    enum unit_state state;
    struct list link;        /* in version->units */
    struct list idle_link;   /* in version->idle while idle */
    struct list oldest_link; /* in pool->idle while idle */
    struct pool_call *call;  /* while busy */
    struct env_timer timer;  /* initialisation, then each invocation */
    bool is_paced;           /* counted in pool->starting_count */
    uint64_t since_us;       /* when the state began */
    uint64_t init_us;        /* > 0 until the first invocation was answered */
    char log_stream[TEXT_BYTES];
    struct buffer tail; /* the latest output, cut to its last bytes when taken */
};

/* How many calls of a function there may be. It goes with the last call when it is not set. */
struct pool_limit {
    char *name;
    uint32_t max;
    uint32_t count;
    bool is_set;
    bool is_planned; /* set by the plan that is being said */
};

/* An admitted invocation. */
struct pool_call {
    struct pool *pool;
    struct invoke *invoke;
    struct pool_function *function; /* NULL once it is finished early */
    struct list link;               /* in function->waiting, or pool->refused */
    struct env_timer timer;         /* how long it may wait */
    uint64_t since_us;              /* when it came */
    bool is_boot_waiter;            /* its runtime was being loaded when last looked at */
    bool is_waiting;                /* in function->waiting */
    bool is_cancelled;              /* nobody waits for the answer */
    enum invoke_outcome refusal;
    enum invoke_limit refused_by;
    bool is_admitted;         /* counted, in `limit` or in the rest */
    struct pool_limit *limit; /* NULL: the rest */
    char version[VERSION_BYTES];
    char arn[ARN_BYTES];
};

struct pool {
    struct env *env;
    struct pool_options options;
    struct map functions; /* name -> struct pool_function */
    struct list all;      /* functions, removed ones too while something of them runs */
    struct list idle;     /* units of all functions, the longest idle first */
    struct list stalled;  /* functions that wait for room on this node */
    struct list refused;  /* calls that end this turn */
    struct env_task refuse_task;
    struct env_timer reap_timer;
    uint32_t call_count; /* admitted and not ended */
    uint32_t unit_count;
    uint32_t busy_count;     /* units with a call, of all functions */
    uint32_t starting_count; /* units being started, of all functions, for less than PACED_US */
    uint64_t stream_number;
    struct map limits;        /* by name -> struct pool_limit */
    uint32_t rest_max;        /* calls of functions without a limit of their own */
    uint32_t rest_count;      /* of them, admitted and not ended */
    struct pool_stats totals; /* only its counters */
};

/* ---- functions and versions ----------------------------------------------------------------- */

/* "$LATEST", "7". */
void pool_function_version_text(uint64_t version, char text[VERSION_BYTES]);
/* NULL: not here. */
struct pool_function *pool_function_find(const struct pool *pool, const char *name,
                                         uint64_t version);
struct pool_version *pool_function_current(const struct pool_function *function);
bool pool_function_is_current(const struct pool_version *version);
/* Free a version that nothing uses any more, and its function with the last one. */
void pool_function_release(struct pool_version *version);
void pool_function_free_version(struct pool_version *version);
void pool_function_free(struct pool_function *function);

/* ---- calls ---------------------------------------------------------------------------------- */

/* Takes the call. The callback is the last thing done. */
void pool_call_finish(struct pool_call *call, struct invoke_result *result);
/* End a call at the end of this turn: callers are never called back from within their call. */
void pool_call_refuse(struct pool_call *call, enum invoke_outcome outcome);
/* Let it wait for a sandbox behind the others, then be throttled. */
void pool_call_wait(struct pool_function *function, struct pool_call *call, uint64_t wait_us);
/* It waits no longer: refuse it. */
void pool_call_give_up(struct pool_call *call, enum invoke_outcome outcome);
/* The oldest one that waits; NULL when none does. */
struct pool_call *pool_call_take(struct pool_function *function);
void pool_call_refuse_all(struct pool_function *function, enum invoke_outcome outcome);
void pool_call_on_waited_enough(struct env_timer *timer);
void pool_call_free(struct pool *pool, struct pool_call *call);
void pool_call_free_all(struct pool *pool, struct list *calls);

/* ---- limits --------------------------------------------------------------------------------- */

/* False: `refused_by` says which limit was reached. */
bool pool_limit_admit(struct pool_call *call);
/* The call ended, if it was admitted. */
void pool_limit_release(struct pool_call *call);
void pool_limit_free_all(struct pool *pool);

/* ---- what waits meets what is there --------------------------------------------------------- */

void pool_pump(struct pool_function *function);
/* Sandboxes of the function that are not on their way out. */
uint32_t pool_pump_unit_count(const struct pool_function *function);
/* The runtime is being loaded: a sandbox started now would only wait for it. */
bool pool_pump_is_booting(const struct pool_function *function);
void pool_pump_stalled(struct pool *pool);
/* A sandbox of the function ended that should not have. */
void pool_pump_note_failure(struct pool_function *function);

/* ---- units ---------------------------------------------------------------------------------- */

extern const struct sandbox_handler pool_unit_handler;

enum error pool_unit_start(struct pool_version *version);
void pool_unit_free(struct pool_unit *unit);
void pool_unit_set(struct pool_unit *unit, enum unit_state state);
void pool_unit_set_paced(struct pool_unit *unit, bool is_paced);
void pool_unit_end(struct pool_unit *unit);
void pool_unit_end_idle(struct pool_version *version);
/* Is it one of those that its function shall have at least? */
bool pool_unit_is_kept(const struct pool_unit *unit);
/* Look for idle units to end, if nobody does yet. */
void pool_unit_reap_later(struct pool *pool);
/* It has nothing to do any more: keep it, unless its function has moved on. */
void pool_unit_rest(struct pool_unit *unit);
void pool_unit_deliver(struct pool_unit *unit, struct pool_call *call);
/* The unit's call ends: `payload` is the document where the platform has to make one, `line` what
 * the log gets after the report. The unit has a new state already. Last statement of its caller. */
void pool_unit_answer(struct pool_unit *unit, enum invoke_outcome outcome, struct slice payload,
                      struct sandbox_report *report, struct slice line);
void pool_unit_log(struct pool_unit *unit, struct slice text);
struct slice pool_unit_tail(const struct buffer *tail);
struct sandbox_report pool_unit_report(const struct pool_unit *unit);
/* Where the caller is, or else the node. `call` may be NULL. */
const char *pool_unit_region(const struct pool *pool, const struct pool_call *call);
/* It no longer holds up the starts of others. */
void pool_unit_on_init_slow(struct env_timer *timer);

#endif
