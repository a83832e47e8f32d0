/* A pool over real sandboxes, and an AWS endpoint that says yes to everything. */

#ifndef TESTS_COMPONENT_SANDBOX_SANDBOX_FIXTURE_H
#define TESTS_COMPONENT_SANDBOX_SANDBOX_FIXTURE_H

#include "tests/lib/loop_fixture.h"

#include "node/sandbox/pool.h"
#include "node/sandbox/process.h"

struct sandbox_fixture {
    struct fixture base;
    struct env *env;
    struct process *process;
    struct pool *pool;
    char data[160];
    char code[200]; /* folder with a folder per function */
    char endpoint[64];
    uv_tcp_t endpoint_listener; /* for the tiers that share the node's network */
    struct list connections;
    struct list fetches;
    uv_timer_t fetched;
    struct buffer last_request; /* of the AWS endpoint */
    uint32_t generation;
    bool is_process_closed;
};

struct answer { /* of one invocation */
    struct invoke invoke;
    bool is_there;
    enum invoke_outcome outcome;
    char *payload;
    char *log;
    uint64_t duration_us;
    uint64_t init_us;
    uint32_t memory_used_mb;
};

void sandbox_fixture_open(struct sandbox_fixture *fixture, enum launcher_tier best);
void sandbox_fixture_close(struct sandbox_fixture *fixture);

/* Make function `name` of one source file app.py; of `file`, with index.handler in it; or of a file
 * copied to `bootstrap`. */
void sandbox_fixture_python(struct sandbox_fixture *fixture, const char *name, const char *source,
                            uint32_t timeout_ms, uint32_t memory_mb);
void sandbox_fixture_node(struct sandbox_fixture *fixture, const char *name, const char *file,
                          const char *source, uint32_t timeout_ms, uint32_t memory_mb);
void sandbox_fixture_bootstrap(struct sandbox_fixture *fixture, const char *name, const char *file);

void sandbox_fixture_start(struct sandbox_fixture *fixture, const char *name, const char *payload,
                           struct answer *answer);
void sandbox_fixture_await(struct sandbox_fixture *fixture, struct answer *answer);
/* With everything in `answer->invoke` filled in. */
void sandbox_fixture_call(struct sandbox_fixture *fixture, struct answer *answer);
/* Start and await. */
void sandbox_fixture_invoke(struct sandbox_fixture *fixture, const char *name, const char *payload,
                            struct answer *answer);
void answer_close(struct answer *answer);

/* A folder `name` in the fixture's folder. */
void sandbox_fixture_write(const char *folder, const char *name, const void *bytes, size_t size,
                           unsigned mode);

#endif
