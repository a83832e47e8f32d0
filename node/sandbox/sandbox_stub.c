#include "node/sandbox/sandbox_stub.h"

#include "proto/base/check.h"
#include "proto/base/encode.h"
#include "proto/base/map.h"

#include <signal.h>
#include <stdio.h>

#define INIT_US 5000
#define DURATION_US 1000
#define MEMORY_MB 32

struct registration {
    sandbox_stub_function run;
    void *user;
};

/* Names what its timer is for. */
enum instance_state { INSTANCE_STARTING, INSTANCE_READY, INSTANCE_RUNNING, INSTANCE_EXITING };

struct instance {
    struct sandbox_stub *stub;
    struct sandbox *sandbox;
    struct list link;
    struct env_timer timer;
    enum instance_state state;
    struct registration run;
    Skein__Wire__Function *function;
    struct sandbox_stub_behaviour behaviour;
    struct buffer payload;
};

struct stored {
    struct sandbox_stub *stub;
    struct sandbox_code *code;
    struct list link;
    struct env_task task;
    char folder[SANDBOX_PATH_BYTES];
};

struct sandbox_stub {
    struct env_sandbox seam;
    struct env *env;
    struct map functions; /* name -> registration */
    struct map packages;  /* sha256 -> the stub: was stored */
    struct list instances;
    struct list stored; /* callbacks to come */
    uint32_t count;
    bool is_booting;
};

static struct sandbox_stub *stub_of(struct env *env)
{
    return container_of(env->sandbox, struct sandbox_stub, seam);
}

static void instance_free(struct instance *instance)
{
    env_timer_stop(instance->stub->env, &instance->timer);
    list_remove(&instance->link);
    skein__wire__function__free_unpacked(instance->function, NULL);
    buffer_close(&instance->payload);
    free(instance);
}

static void instance_exit(struct instance *instance)
{
    struct sandbox *sandbox = instance->sandbox;
    struct sandbox_exit exit = instance->behaviour.exit;

    exit.memory_mb = MEMORY_MB;
    instance->stub->count--;
    instance_free(instance);
    sandbox->handler->on_exit(sandbox, &exit);
}

static void write_output(const struct instance *instance)
{
    if (instance->behaviour.output.size > 0)
        instance->sandbox->handler->on_output(instance->sandbox, instance->behaviour.output);
}

static void end_start(struct instance *instance)
{
    const struct sandbox_handler *handler = instance->sandbox->handler;

    write_output(instance);
    if (instance->behaviour.fate == SANDBOX_STUB_FAILS_INIT) {
        handler->on_init_error(instance->sandbox, buffer_slice(&instance->payload));
    } else if (instance->behaviour.fate == SANDBOX_STUB_EXITS_EARLY) {
        instance_exit(instance);
    } else if (instance->behaviour.fate != SANDBOX_STUB_HANGS) {
        instance->state = INSTANCE_READY;
        handler->on_ready(instance->sandbox);
    }
}

static void end_run(struct instance *instance)
{
    const struct sandbox_handler *handler = instance->sandbox->handler;
    AUTO(buffer) payload = buffer_take(&instance->payload);

    write_output(instance);
    if (instance->behaviour.fate == SANDBOX_STUB_EXITS) {
        instance_exit(instance);
        return;
    }
    if (instance->behaviour.fate == SANDBOX_STUB_HANGS)
        return;
    instance->state = INSTANCE_READY;
    switch (instance->behaviour.fate) {
    case SANDBOX_STUB_RAISES:
        handler->on_result(instance->sandbox, SANDBOX_ERROR, buffer_slice(&payload));
        break;
    case SANDBOX_STUB_TOO_LARGE:
        handler->on_result(instance->sandbox, SANDBOX_TOO_LARGE, (struct slice){0});
        break;
    case SANDBOX_STUB_RESPONDS:
    case SANDBOX_STUB_FAILS_INIT:
    case SANDBOX_STUB_EXITS:
    case SANDBOX_STUB_EXITS_EARLY:
    case SANDBOX_STUB_HANGS:
        handler->on_result(instance->sandbox, SANDBOX_RESPONSE, buffer_slice(&payload));
        break;
    }
}

static void instance_on_timer(struct env_timer *timer)
{
    struct instance *instance = container_of(timer, struct instance, timer);

    switch (instance->state) {
    case INSTANCE_STARTING:
        end_start(instance);
        break;
    case INSTANCE_RUNNING:
        end_run(instance);
        break;
    case INSTANCE_EXITING:
        instance_exit(instance);
        break;
    case INSTANCE_READY:
        break;
    }
}

static void behave(struct instance *instance, const struct sandbox_spec *spec,
                   const struct sandbox_event *event)
{
    instance->behaviour =
        (struct sandbox_stub_behaviour){.init_us = INIT_US, .duration_us = DURATION_US};
    buffer_clear(&instance->payload);
    if (instance->run.run != NULL)
        instance->run.run(instance->run.user, spec, event, &instance->behaviour,
                          &instance->payload);
    else if (event != NULL)
        buffer_put_slice(&instance->payload, event->payload);
}

/* ---- the seam ------------------------------------------------------------------------------ */

static bool stub_supports(struct env *env, const char *runtime)
{
    (void)env;
    return strncmp(runtime, "python3.", 8) == 0 || strncmp(runtime, "nodejs", 6) == 0 ||
           strncmp(runtime, "provided", 8) == 0;
}

static void stub_prepare(struct env *env, const char *runtime)
{
    (void)env;
    (void)runtime;
}

static bool stub_is_booting(struct env *env, const char *runtime)
{
    (void)runtime;
    return stub_of(env)->is_booting;
}

static Skein__Wire__Function *copy_function(const Skein__Wire__Function *function)
{
    size_t size = skein__wire__function__get_packed_size(function);
    uint8_t *bytes = check_malloc(size + 1);
    Skein__Wire__Function *copy;

    skein__wire__function__pack(function, bytes);
    copy = skein__wire__function__unpack(NULL, size, bytes);
    CHECK(copy != NULL);
    free(bytes);
    return copy;
}

static enum error stub_start(struct env *env, struct sandbox *sandbox,
                             const struct sandbox_spec *spec, const struct sandbox_handler *handler)
{
    struct sandbox_stub *stub = stub_of(env);
    const struct registration *registration =
        map_find(&stub->functions, slice_text(spec->function->name));
    struct instance *instance;

    if (!stub_supports(env, spec->function->runtime))
        return ERR_VERSION;
    instance = check_calloc(1, sizeof(*instance));
    instance->stub = stub;
    instance->sandbox = sandbox;
    instance->function = copy_function(spec->function);
    buffer_init(&instance->payload, BUFFER_UNLIMITED);
    if (registration != NULL)
        instance->run = *registration;
    sandbox->handler = handler;
    sandbox->impl = instance;
    list_append(&stub->instances, &instance->link);
    stub->count++;
    behave(instance, spec, NULL);
    env_timer_start(env, &instance->timer, instance->behaviour.init_us, instance_on_timer);
    return OK;
}

static void stub_invoke(struct env *env, struct sandbox *sandbox, const struct sandbox_event *event)
{
    struct instance *instance = sandbox->impl;
    struct sandbox_spec spec = {.function = instance->function};

    CHECK(instance->state == INSTANCE_READY);
    instance->state = INSTANCE_RUNNING;
    behave(instance, &spec, event);
    env_timer_start(env, &instance->timer, instance->behaviour.duration_us, instance_on_timer);
}

static void stub_kill(struct env *env, struct sandbox *sandbox)
{
    struct instance *instance = sandbox->impl;

    instance->state = INSTANCE_EXITING;
    instance->behaviour.exit = (struct sandbox_exit){.end = SANDBOX_SIGNALLED, .code = SIGKILL};
    env_timer_start(env, &instance->timer, 0, instance_on_timer);
}

static bool stub_has_spare(struct env *env)
{
    (void)env;
    return true;
}

static uint32_t stub_memory_mb(struct env *env, struct sandbox *sandbox)
{
    (void)env;
    (void)sandbox;
    return MEMORY_MB;
}

static void name_folder(struct slice sha256, char folder[SANDBOX_PATH_BYTES])
{
    char hex[2 * SANDBOX_SHA256_BYTES + 1] = "";

    if (sha256.size == SANDBOX_SHA256_BYTES)
        encode_hex(sha256, hex);
    snprintf(folder, SANDBOX_PATH_BYTES, "stub/%s", hex);
}

static enum error stub_code_find(struct env *env, struct slice sha256,
                                 char folder[SANDBOX_PATH_BYTES])
{
    if (map_find(&stub_of(env)->packages, sha256) == NULL)
        return ERR_NOT_FOUND;
    name_folder(sha256, folder);
    return OK;
}

static void stored_on_task(struct env_task *task)
{
    struct stored *stored = container_of(task, struct stored, task);
    struct sandbox_code *code = stored->code;
    char folder[SANDBOX_PATH_BYTES];

    memcpy(folder, stored->folder, sizeof(folder));
    list_remove(&stored->link);
    free(stored);
    code->cb(code, OK, folder);
}

static void stub_code_store(struct env *env, struct sandbox_code *code, struct slice sha256,
                            struct buffer *zip, sandbox_code_cb cb)
{
    struct sandbox_stub *stub = stub_of(env);
    struct stored *stored = check_calloc(1, sizeof(*stored));

    buffer_close(zip);
    code->cb = cb;
    stored->code = code;
    name_folder(sha256, stored->folder);
    list_append(&stub->stored, &stored->link);
    map_set(&stub->packages, sha256, stub);
    env_defer(env, &stored->task, stored_on_task);
}

static const struct env_sandbox stub_seam = {.supports = stub_supports,
                                             .prepare = stub_prepare,
                                             .is_booting = stub_is_booting,
                                             .start = stub_start,
                                             .invoke = stub_invoke,
                                             .kill = stub_kill,
                                             .memory_mb = stub_memory_mb,
                                             .has_spare = stub_has_spare,
                                             .code_find = stub_code_find,
                                             .code_store = stub_code_store};

struct sandbox_stub *sandbox_stub_new(struct env *env)
{
    struct sandbox_stub *stub = check_calloc(1, sizeof(*stub));

    stub->seam = stub_seam;
    stub->env = env;
    map_init(&stub->functions);
    map_init(&stub->packages);
    list_init(&stub->instances);
    list_init(&stub->stored);
    env->sandbox = &stub->seam;
    return stub;
}

void sandbox_stub_free(struct sandbox_stub *stub)
{
    struct map_entry *entry;
    struct list *link;
    size_t position = 0;

    if (stub == NULL)
        return;
    LIST_EACH_SAFE(&stub->instances, instance_link)
    instance_free(container_of(instance_link, struct instance, link));
    while ((link = list_pop(&stub->stored)) != NULL) {
        struct stored *stored = container_of(link, struct stored, link);

        env_defer_cancel(stub->env, &stored->task);
        free(stored);
    }
    while ((entry = map_next(&stub->functions, &position)) != NULL)
        free(entry->value);
    map_close(&stub->functions);
    map_close(&stub->packages);
    free(stub);
}

void sandbox_stub_register(struct sandbox_stub *stub, const char *function,
                           sandbox_stub_function run, void *user)
{
    struct registration *registration = check_calloc(1, sizeof(*registration));

    *registration = (struct registration){run, user};
    free(map_set(&stub->functions, slice_text(function), registration));
}

void sandbox_stub_set_booting(struct sandbox_stub *stub, bool is_booting)
{
    stub->is_booting = is_booting;
}

uint32_t sandbox_stub_count(const struct sandbox_stub *stub)
{
    return stub->count;
}
