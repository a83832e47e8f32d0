/* Sandboxes for simulations: a function is a C callback that says how long it takes and what it
 * answers. Nothing is forked and nothing is written; time is the environment's.
 *
 * A function without a registered callback echoes its payload after 1 ms. */

#ifndef NODE_SANDBOX_SANDBOX_STUB_H
#define NODE_SANDBOX_SANDBOX_STUB_H

#include "node/sandbox/sandbox.h"

struct sandbox_stub;

enum sandbox_stub_fate {
    SANDBOX_STUB_RESPONDS,
    SANDBOX_STUB_RAISES,      /* payload = the error document */
    SANDBOX_STUB_FAILS_INIT,  /* instead of becoming ready; payload = the error document */
    SANDBOX_STUB_EXITS,       /* with `exit` */
    SANDBOX_STUB_EXITS_EARLY, /* with `exit`, instead of becoming ready */
    SANDBOX_STUB_HANGS,       /* until it is killed */
    SANDBOX_STUB_TOO_LARGE
};

struct sandbox_stub_behaviour {
    enum sandbox_stub_fate fate;
    uint64_t init_us;
    uint64_t duration_us;
    struct sandbox_exit exit;
    struct slice output; /* written before the end; borrowed until the callback is called again */
};

/* Called at each start (`event` NULL) and each invocation. `payload` is the answer's, empty. */
typedef void (*sandbox_stub_function)(void *user, const struct sandbox_spec *spec,
                                      const struct sandbox_event *event,
                                      struct sandbox_stub_behaviour *behaviour,
                                      struct buffer *payload);

/* Sets env->sandbox. */
struct sandbox_stub *sandbox_stub_new(struct env *env);
/* Calls nobody; works after the pool was freed, too. */
void sandbox_stub_free(struct sandbox_stub *stub);

void sandbox_stub_register(struct sandbox_stub *stub, const char *function,
                           sandbox_stub_function run, void *user);

/* Runtimes are being loaded; nothing tells when that is over but asking. */
void sandbox_stub_set_booting(struct sandbox_stub *stub, bool is_booting);

uint32_t sandbox_stub_count(const struct sandbox_stub *stub); /* sandboxes alive */

#endif
