#include "node/sandbox/process.h"

#include "node/sandbox/package.h"
#include "node/sandbox/package_store.h"
#include "node/sandbox/process_environment.h"
#include "node/sandbox/process_launcher.h"
#include "node/sandbox/process_server.h"
#include "proto/base/arena.h"
#include "proto/base/check.h"
#include "proto/base/encode.h"
#include "proto/base/log.h"
#include "proto/base/map.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PYTHON_DEFAULT "/usr/bin/python3"
#define ENDPOINT_DEFAULT "http://127.0.0.1:4566"
#define UID_BASE_DEFAULT 700000u
#define STEMS_DEFAULT 2
#define STEMS_MAX_DEFAULT 4
#define UPKEEP_MS 250
#define CALM_TICKS 40 /* upkeeps without a miss, then fewer stems are kept */
#define OUTPUT_BYTES_PER_TURN 65536
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
    enum launcher_tier tier;
    char missing[512];
    char folder[SANDBOX_PATH_BYTES];
    char instance[INSTANCE_BYTES + 8];
    uint32_t sandbox_count;
};

/* has_spare looks at the machine so often, and finds it full at so many runnable tasks. */
#define SPARE_LOOK_US 1000u
#define SPARE_RUNNING_PER_PROCESSOR 4u

struct process {
    struct env_sandbox seam;
    struct env *env;
    uv_loop_t *loop;
    struct process_options options;
    struct package_store packages;
    struct launcher launchers[PROCESS_LAUNCHER_COUNT];
    struct map instances; /* id -> instance, until it is gone */
    uv_timer_t upkeep;
    uint64_t id_last;
    uint32_t open_count; /* launchers, instances and the timer that are still open */
    int loadavg;         /* descriptor */
    unsigned processors;
    uint64_t looked_us; /* when has_spare was found out */
    bool has_spare;
    bool is_closing;
    void *close_user;
    void (*closed)(void *user);
};

static const char *const tier_texts[] = {
    "root: namespaces, control groups, a user id per sandbox, no capabilities, seccomp",
    "user namespaces: no control groups, memory watched by the node, seccomp",
    "no namespaces: Landlock, seccomp and resource limits on the node's own network",
    "resource limits only: functions can read what the node can read",
    "nothing: functions cannot run"};

static void refill(struct launcher *launcher);

/* ---- closing ------------------------------------------------------------------------------- */

static void count_closed(struct process *process)
{
    process->open_count--;
    if (process->is_closing && process->open_count == 0) {
        void (*closed)(void *user) = process->closed;
        void *user = process->close_user;

        map_close(&process->instances);
        if (process->loadavg >= 0)
            (void)close(process->loadavg);
        free(process);
        closed(user);
    }
}

static void instance_count_closed(struct instance *instance)
{
    struct process *process = instance->process;

    instance->open_count--;
    if (instance->open_count > 0)
        return;
    if (instance->function != NULL)
        skein__wire__function__free_unpacked(instance->function, NULL);
    arena_close(&instance->order);
    free(instance);
    count_closed(process);
}

static void output_on_closed(uv_handle_t *handle)
{
    struct instance *instance = handle->data;

    close(instance->output);
    instance_count_closed(instance);
}

static void aws_on_closed(uv_handle_t *handle)
{
    struct instance *instance = handle->data;

    close(instance->aws_listener);
    instance_count_closed(instance);
}

static void server_on_closed(struct process_server *server)
{
    instance_count_closed(container_of(server, struct instance, server));
}

/* It is gone, or we are. The sandbox was told before, or never will be. */
static void instance_close(struct instance *instance)
{
    struct launcher *launcher = instance->launcher;

    if (instance->is_closing)
        return;
    instance->is_closing = true;
    (void)map_remove_u64(&instance->process->instances, instance->id);
    list_remove(&instance->link);
    if (!list_is_empty(&instance->stem_link)) {
        list_remove(&instance->stem_link);
        launcher->stem_count--;
    }
    if (instance->memory_file >= 0)
        close(instance->memory_file);
    uv_close((uv_handle_t *)&instance->output_ready, output_on_closed);
    if (instance->aws_listener >= 0)
        uv_close((uv_handle_t *)&instance->aws_ready, aws_on_closed);
    if (instance->has_server)
        process_server_close(&instance->server, server_on_closed);
}

/* ---- output -------------------------------------------------------------------------------- */

/* What is in the pipe now, up to a bound; false at its end. */
static bool read_output(struct instance *instance)
{
    char text[8192];

    for (size_t total = 0; total < OUTPUT_BYTES_PER_TURN;) {
        ssize_t size = read(instance->output, text, sizeof(text));

        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0)
            return errno == EAGAIN;
        if (size == 0)
            return false;
        total += (size_t)size;
        if (instance->sandbox != NULL)
            instance->sandbox->handler->on_output(instance->sandbox, slice_of(text, (size_t)size));
        else
            log_warn("process.stem_output text=\"%.*s\"", (int)(size > 200 ? 200 : size), text);
    }
    return true;
}

static void output_on_ready(uv_poll_t *poll, int status, int events)
{
    struct instance *instance = poll->data;

    (void)events;
    if (status != 0 || !read_output(instance))
        (void)uv_poll_stop(poll); /* never fails */
}

/* ---- the end of an instance ---------------------------------------------------------------- */

static void instance_end(struct instance *instance, struct sandbox_exit exit)
{
    struct sandbox *sandbox;

    if (instance->is_closing)
        return;
    if (instance->has_server) { /* it may have answered before it ended */
        process_server_drain(&instance->server);
        exit.is_event_unseen = instance->server.api.event.size > 0;
    }
    (void)read_output(instance);
    sandbox = instance->sandbox;
    instance->sandbox = NULL;
    if (sandbox != NULL)
        instance->launcher->sandbox_count--;
    else if (exit.end == SANDBOX_FAILED)
        log_warn("process.stem_failed why=\"%s\"", exit.why);
    instance_close(instance);
    if (sandbox != NULL)
        sandbox->handler->on_exit(sandbox, &exit);
}

static void instance_on_exited(struct instance *instance, const struct launcher_message *message)
{
    int status = (int)message->code;
    struct sandbox_exit exit = {.end = SANDBOX_EXITED, .code = WEXITSTATUS(status)};

    if (instance->why[0] != '\0') {
        exit = (struct sandbox_exit){.end = SANDBOX_FAILED, .why = instance->why};
    } else if (WIFSIGNALED(status)) {
        exit = (struct sandbox_exit){.end = SANDBOX_SIGNALLED, .code = WTERMSIG(status)};
        if (exit.code == SIGKILL &&
            (instance->is_over_memory || (message->flags & LAUNCHER_OUT_OF_MEMORY) != 0))
            exit.end = SANDBOX_OUT_OF_MEMORY;
    }
    exit.memory_mb = message->memory_mb;
    instance_end(instance, exit);
}

static void instance_kill(struct instance *instance)
{
    struct launcher_message message = {.kind = LAUNCHER_KILL, .id = instance->id};

    process_launcher_send(&instance->launcher->link, &message, NULL, (struct slice){0}, -1);
}

/* ---- the Runtime API ----------------------------------------------------------------------- */

static void api_on_ready(void *user)
{
    struct instance *instance = user;

    if (instance->sandbox == NULL)
        return;
    (void)read_output(instance);
    process_launcher_is_well(&instance->launcher->link);
    refill(instance->launcher);
    instance->sandbox->handler->on_ready(instance->sandbox);
}

static void api_on_init_error(void *user, struct slice payload)
{
    struct instance *instance = user;

    if (instance->sandbox == NULL)
        return;
    (void)read_output(instance);
    instance->sandbox->handler->on_init_error(instance->sandbox, payload);
}

static void api_on_result(void *user, enum sandbox_result result, struct slice payload)
{
    struct instance *instance = user;

    if (instance->sandbox == NULL)
        return;
    (void)read_output(instance); /* what it wrote before it answered */
    instance->sandbox->handler->on_result(instance->sandbox, result, payload);
}

static const struct runtime_api_handler api_handler = {
    .on_ready = api_on_ready, .on_init_error = api_on_init_error, .on_result = api_on_result};

static void aws_on_ready(uv_poll_t *poll, int status, int events)
{
    struct instance *instance = poll->data;
    const struct process_options *options = &instance->process->options;
    int fd;

    (void)events;
    if (status != 0)
        return;
    fd = accept4(instance->aws_listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) {
        instance->is_aws_full = errno == EMFILE || errno == ENFILE;
        if (instance->is_aws_full)
            (void)uv_poll_stop(poll); /* until the next upkeep; never fails */
        return;
    }
    if (options->on_aws_connection != NULL && instance->is_ordered)
        options->on_aws_connection(options->user, fd);
    else
        close(fd);
}

/* ---- orders -------------------------------------------------------------------------------- */

static bool shares_network(const struct launcher *launcher)
{
    return launcher->tier > LAUNCHER_TIER_USER;
}

/* Sandboxes that share a network must not answer for each other. */
static void make_token(struct instance *instance)
{
    struct env *env = instance->process->env;
    uint8_t random[(RUNTIME_API_TOKEN_BYTES - 1) / 2];

    if (!shares_network(instance->launcher))
        return;
    env->dice->random_bytes(env, random, sizeof(random));
    encode_hex(slice_of(random, sizeof(random)), instance->server.api.token);
}

/* The instance is isolated and has a sandbox: it becomes that function. */
static void order(struct instance *instance)
{
    const struct process_options *options = &instance->process->options;
    bool is_shared = shares_network(instance->launcher);
    char address[64];
    struct process_environment environment = {
        .spec = &instance->spec,
        .runtime_address = address,
        .task_root = is_shared ? instance->spec.code_folder : "/var/task",
        .endpoint = is_shared ? options->endpoint : ENDPOINT_DEFAULT,
        .access_key_id = options->access_key_id,
        .secret_access_key = options->secret_access_key,
        .extra = options->extra};
    const Skein__Wire__Function *function = instance->spec.function;
    struct launcher_message message = {.kind = LAUNCHER_SPECIALISE,
                                       .id = instance->id,
                                       .memory_mb = function->memory_mb,
                                       .ephemeral_mb = function->ephemeral_mb};
    AUTO(buffer) block = BUFFER_INIT(BUFFER_UNLIMITED);

    make_token(instance);
    snprintf(address, sizeof(address), "127.0.0.1:%u%s%s", instance->port, is_shared ? "/" : "",
             instance->server.api.token);
    process_environment_put(&environment, &block);
    instance->is_ordered = true;
    if (block.size > LAUNCHER_MESSAGE_BYTES_MAX - SANDBOX_PATH_BYTES) {
        snprintf(instance->why, sizeof(instance->why), "environment of %zu bytes", block.size);
        instance_kill(instance);
        return;
    }
    process_launcher_send(&instance->launcher->link, &message, instance->spec.code_folder,
                          buffer_slice(&block), -1);
}

static void instance_on_started(struct instance *instance, const struct launcher_message *message,
                                const int *descriptors, size_t count)
{
    size_t next = 0;
    int listener = count > next ? descriptors[next++] : -1;

    instance->port = (uint16_t)message->port;
    if ((message->flags & LAUNCHER_HAS_AWS) != 0 && count > next)
        instance->aws_listener = descriptors[next++];
    if ((message->flags & LAUNCHER_HAS_MEMORY) != 0 && count > next)
        instance->memory_file = descriptors[next++];
    instance->is_memory_of_group = (message->flags & LAUNCHER_HAS_CGROUP) != 0;
    runtime_api_init(&instance->server.api, &api_handler, instance);
    instance->has_server = true;
    instance->open_count++;
    if (instance->aws_listener >= 0) {
        instance->open_count++;
        CHECK(uv_poll_init(instance->process->loop, &instance->aws_ready, instance->aws_listener) ==
              0);
        instance->aws_ready.data = instance;
        CHECK(uv_poll_start(&instance->aws_ready, UV_READABLE, aws_on_ready) == 0);
    }
    if (process_server_open(&instance->server, instance->process->loop, listener) != OK) {
        snprintf(instance->why, sizeof(instance->why), "runtime listener");
        instance_kill(instance);
        return;
    }
    instance->is_started = true;
    if (instance->sandbox != NULL)
        order(instance);
}

/* ---- launchers ----------------------------------------------------------------------------- */

static struct launcher *launcher_of(struct process_launcher *link)
{
    return container_of(link, struct launcher, link);
}

static void on_hello(struct launcher *launcher, const struct launcher_message *message,
                     const char *text)
{
    const char *kind = launcher->link.kind == PROCESS_LAUNCHER_PYTHON ? "python" : "native";

    launcher->has_said_hello = true;
    launcher->tier = message->code <= LAUNCHER_TIER_NONE ? (enum launcher_tier)message->code
                                                         : LAUNCHER_TIER_NONE;
    snprintf(launcher->missing, sizeof(launcher->missing), "%s", text);
    if (launcher->tier == LAUNCHER_TIER_NONE) {
        log_error("process.no_isolation kind=%s missing=\"%s\"", kind, text);
        process_launcher_refuse(&launcher->link);
    } else if (text[0] != '\0') {
        log_warn("process.isolation kind=%s tier=\"%s\" missing=\"%s\"", kind,
                 tier_texts[launcher->tier], text);
    } else {
        log_info("process.isolation kind=%s tier=\"%s\"", kind, tier_texts[launcher->tier]);
    }
}

static void launcher_on_message(struct process_launcher *link,
                                const struct launcher_message *message, const char *text,
                                const int *descriptors, size_t descriptor_count)
{
    struct launcher *launcher = launcher_of(link);
    struct instance *instance = map_find_u64(&launcher->process->instances, message->id);

    if (message->kind == LAUNCHER_HELLO) {
        on_hello(launcher, message, text);
    } else if (instance == NULL) {
        for (size_t i = 0; i < descriptor_count; i++)
            close(descriptors[i]);
    } else if (message->kind == LAUNCHER_STARTED) {
        instance_on_started(instance, message, descriptors, descriptor_count);
    } else if (message->kind == LAUNCHER_FAILED) {
        snprintf(instance->why, sizeof(instance->why), "%.60s: %s", text,
                 strerror((int)message->code));
    } else if (message->kind == LAUNCHER_EXITED) {
        instance_on_exited(instance, message);
    }
}

static void launcher_on_gone(struct process_launcher *link)
{
    struct launcher *launcher = launcher_of(link);
    struct sandbox_exit exit = {.end = SANDBOX_FAILED, .why = "its launcher ended"};
    struct list gone;
    struct list *instance_link;

    list_move(&gone, &launcher->instances);
    while ((instance_link = list_pop(&gone)) != NULL)
        instance_end(container_of(instance_link, struct instance, link), exit);
}

static const struct process_launcher_handler launcher_handler = {.on_message = launcher_on_message,
                                                                 .on_gone = launcher_on_gone};

/* A child to come. NULL when there are no descriptors left. */
static struct instance *spawn(struct launcher *launcher)
{
    struct process *process = launcher->process;
    struct launcher_message message = {.kind = LAUNCHER_SPAWN, .id = ++process->id_last};
    struct instance *instance;
    int output[2];

    if (pipe2(output, O_CLOEXEC) != 0)
        return NULL;
    CHECK(fcntl(output[0], F_SETFL, O_NONBLOCK) == 0);
    instance = check_calloc(1, sizeof(*instance));
    instance->process = process;
    instance->launcher = launcher;
    instance->id = message.id;
    instance->output = output[0];
    instance->aws_listener = -1;
    instance->memory_file = -1;
    instance->open_count = 1;
    arena_init(&instance->order);
    list_init(&instance->stem_link);
    CHECK(uv_poll_init(process->loop, &instance->output_ready, instance->output) == 0);
    instance->output_ready.data = instance;
    CHECK(uv_poll_start(&instance->output_ready, UV_READABLE, output_on_ready) == 0);
    process->open_count++;
    list_append(&launcher->instances, &instance->link);
    map_set_u64(&process->instances, instance->id, instance);
    process_launcher_send(&launcher->link, &message, NULL, (struct slice){0}, output[1]);
    return instance;
}

/* Keep as many stems as are wanted. */
static void refill(struct launcher *launcher)
{
    while (launcher->stem_count < launcher->stems_wanted &&
           process_launcher_is_running(&launcher->link)) {
        struct instance *stem = spawn(launcher);

        if (stem == NULL)
            return;
        list_append(&launcher->stems, &stem->stem_link);
        launcher->stem_count++;
    }
}

static void drop_surplus(struct launcher *launcher)
{
    while (launcher->stem_count > launcher->stems_wanted) {
        struct instance *stem = container_of(launcher->stems.next, struct instance, stem_link);

        list_remove(&stem->stem_link);
        launcher->stem_count--;
        instance_kill(stem);
    }
}

/* The oldest stem, or a new child when there is none: then more are kept from now on. */
static struct instance *take_child(struct launcher *launcher)
{
    uint32_t stems_max = launcher->process->options.stems_max;
    struct list *link = list_pop(&launcher->stems);

    if (link != NULL) {
        launcher->stem_count--;
        return container_of(link, struct instance, stem_link);
    }
    launcher->calm_ticks = 0;
    launcher->stems_wanted =
        2 * launcher->stems_wanted < stems_max ? 2 * launcher->stems_wanted : stems_max;
    return spawn(launcher);
}

/* ---- upkeep -------------------------------------------------------------------------------- */

static void resume_aws(struct instance *instance)
{
    if (!instance->is_aws_full)
        return;
    instance->is_aws_full = false;
    CHECK(uv_poll_start(&instance->aws_ready, UV_READABLE, aws_on_ready) == 0);
}

/* The number behind `name` in a status file, in kB. */
static uint64_t status_kb(const char *status, const char *name)
{
    const char *at = strstr(status, name);

    return at != NULL ? strtoull(at + strlen(name), NULL, 10) : 0;
}

static bool read_memory_file(const struct instance *instance, char *text, size_t bytes)
{
    ssize_t size =
        instance->memory_file >= 0 ? pread(instance->memory_file, text, bytes - 1, 0) : -1;

    text[size > 0 ? size : 0] = '\0';
    return size > 0;
}

/* Without a control group the node itself looks. */
static void watch_memory(struct instance *instance)
{
    char text[4096];
    uint64_t used_kb;

    if (instance->is_memory_of_group || !instance->is_ordered || instance->is_over_memory ||
        instance->sandbox == NULL || !read_memory_file(instance, text, sizeof(text)))
        return;
    used_kb = status_kb(text, "RssAnon:") + status_kb(text, "RssShmem:");
    if (used_kb > (uint64_t)instance->spec.function->memory_mb * 1024) {
        instance->is_over_memory = true;
        instance_kill(instance);
    }
}

static void on_upkeep(uv_timer_t *timer)
{
    struct process *process = timer->data;

    for (size_t i = 0; i < PROCESS_LAUNCHER_COUNT; i++) {
        struct launcher *launcher = &process->launchers[i];

        LIST_EACH(&launcher->instances, link)
        {
            resume_aws(container_of(link, struct instance, link));
            watch_memory(container_of(link, struct instance, link));
        }
        if (++launcher->calm_ticks >= CALM_TICKS) {
            launcher->calm_ticks = 0;
            if (launcher->stems_wanted > process->options.stems)
                launcher->stems_wanted--;
        }
        refill(launcher);
        drop_surplus(launcher);
    }
}

/* ---- the seam ------------------------------------------------------------------------------ */

static struct process *process_of(struct env *env)
{
    return container_of(env->sandbox, struct process, seam);
}

/* NULL = not a runtime of ours. */
static struct launcher *find_launcher(struct process *process, const char *runtime)
{
    if (strncmp(runtime, "python3.", strlen("python3.")) == 0)
        return &process->launchers[PROCESS_LAUNCHER_PYTHON];
    if (strcmp(runtime, "provided") == 0 || strncmp(runtime, "provided.", 9) == 0)
        return &process->launchers[PROCESS_LAUNCHER_NATIVE];
    return NULL;
}

static bool seam_supports(struct env *env, const char *runtime)
{
    return find_launcher(process_of(env), runtime) != NULL;
}

static enum error make_ready(struct launcher *launcher)
{
    enum error rc = process_launcher_start(&launcher->link);

    if (launcher->stems_wanted == 0)
        launcher->stems_wanted = launcher->process->options.stems;
    return rc;
}

static void seam_prepare(struct env *env, const char *runtime)
{
    struct launcher *launcher = find_launcher(process_of(env), runtime);

    if (launcher != NULL && make_ready(launcher) == OK)
        refill(launcher);
}

static void copy_spec(struct instance *instance, const struct sandbox_spec *spec)
{
    struct arena *arena = &instance->order;
    size_t size = skein__wire__function__get_packed_size(spec->function);
    uint8_t *bytes = arena_alloc(arena, size + 1);

    skein__wire__function__pack(spec->function, bytes);
    instance->function = skein__wire__function__unpack(NULL, size, bytes);
    CHECK(instance->function != NULL);
    instance->spec =
        (struct sandbox_spec){.function = instance->function,
                              .code_folder = arena_text(arena, slice_text(spec->code_folder)),
                              .region = arena_text(arena, slice_text(spec->region)),
                              .log_group = arena_text(arena, slice_text(spec->log_group)),
                              .log_stream = arena_text(arena, slice_text(spec->log_stream))};
}

static enum error seam_start(struct env *env, struct sandbox *sandbox,
                             const struct sandbox_spec *spec, const struct sandbox_handler *handler)
{
    struct launcher *launcher = find_launcher(process_of(env), spec->function->runtime);
    struct instance *instance;

    if (launcher == NULL)
        return ERR_VERSION;
    if (make_ready(launcher) != OK)
        return ERR_NO_CAPACITY;
    instance = take_child(launcher);
    if (instance == NULL)
        return ERR_NO_CAPACITY;
    copy_spec(instance, spec);
    sandbox->handler = handler;
    sandbox->impl = instance;
    instance->sandbox = sandbox;
    launcher->sandbox_count++;
    if (instance->is_started)
        order(instance);
    return OK;
}

static void seam_invoke(struct env *env, struct sandbox *sandbox, const struct sandbox_event *event)
{
    struct instance *instance = sandbox->impl;

    (void)env;
    runtime_api_deliver(&instance->server.api, event);
}

static void seam_kill(struct env *env, struct sandbox *sandbox)
{
    (void)env;
    instance_kill(sandbox->impl);
}

/* Runnable tasks of the whole machine, from the fourth word of /proc/loadavg ("3/375"). Other nodes
 * and other programs count as they should: they want the same processors. */
static bool seam_has_spare(struct env *env)
{
    struct process *process = process_of(env);
    uint64_t now_us = env_now_us(env);
    char text[128];
    unsigned running = 0;

    if (now_us < process->looked_us + SPARE_LOOK_US)
        return process->has_spare;
    process->looked_us = now_us;
    ssize_t size = process->loadavg >= 0 ? pread(process->loadavg, text, sizeof(text) - 1, 0) : -1;

    text[size > 0 ? size : 0] = '\0';
    process->has_spare = sscanf(text, "%*s %*s %*s %u/", &running) != 1 ||
                         running <= process->processors * SPARE_RUNNING_PER_PROCESSOR;
    return process->has_spare;
}

static uint32_t seam_memory_mb(struct env *env, struct sandbox *sandbox)
{
    const struct instance *instance = sandbox->impl;
    char text[4096];

    (void)env;
    if (instance == NULL || !read_memory_file(instance, text, sizeof(text)))
        return 0;
    return instance->is_memory_of_group
               ? (uint32_t)((strtoull(text, NULL, 10) + (1 << 20) - 1) >> 20)
               : (uint32_t)(status_kb(text, "VmHWM:") >> 10);
}

/* ---- code ---------------------------------------------------------------------------------- */

static enum error seam_code_find(struct env *env, struct slice sha256,
                                 char folder[SANDBOX_PATH_BYTES])
{
    return package_store_find(&process_of(env)->packages, sha256, folder);
}

static void packages_on_settled(struct package_store *packages)
{
    count_closed(container_of(packages, struct process, packages));
}

static void seam_code_store(struct env *env, struct sandbox_code *code, struct slice sha256,
                            struct buffer *zip, sandbox_code_cb cb)
{
    struct process *process = process_of(env);

    process->open_count++;
    package_store_put(&process->packages, code, sha256, zip, cb);
}

/* ---- opening and closing ------------------------------------------------------------------- */

/* The same for every life of a node, different for different nodes of a machine (FNV-1a). */
static uint64_t hash_path(const char *path)
{
    uint64_t hash = 0xcbf29ce484222325u;

    for (; *path != '\0'; path++)
        hash = (hash ^ (uint8_t)*path) * 0x100000001b3u;
    return hash;
}

static enum error open_folders(struct process *process)
{
    static const char *const names[] = {"sandbox-python", "sandbox-native"};
    char path[SANDBOX_PATH_BYTES];

    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", process->options.data, names[i]);
        if (access(path, F_OK) == 0 && package_remove(path) != OK)
            return ERR_IO;
        if (mkdir(path, 0755) != 0)
            return ERR_IO;
    }
    snprintf(path, sizeof(path), "%s/code", process->options.data);
    return package_store_open(&process->packages, process->env, path, packages_on_settled);
}

static void open_launcher(struct process *process, enum process_launcher_kind kind)
{
    struct launcher *launcher = &process->launchers[kind];
    const char *name = kind == PROCESS_LAUNCHER_PYTHON ? "python" : "native";
    const struct process_options *options = &process->options;
    struct process_launcher_options link = {
        .python = options->python,
        .folder = launcher->folder,
        .instance = launcher->instance,
        .uid_base = options->uid_base + (uint32_t)kind * (LAUNCHER_SANDBOXES_MAX / 2),
        .tier_best = options->tier_best,
        .tier_worst = options->allow_unisolated ? LAUNCHER_TIER_LIMITS : LAUNCHER_TIER_LANDLOCK};

    launcher->process = process;
    launcher->tier = LAUNCHER_TIER_NONE;
    list_init(&launcher->instances);
    list_init(&launcher->stems);
    snprintf(launcher->folder, sizeof(launcher->folder), "%s/sandbox-%s", options->data, name);
    snprintf(launcher->instance, sizeof(launcher->instance), "%016" PRIx64 "-%s",
             hash_path(options->data), name);
    process_launcher_init(&launcher->link, kind, process->loop, &link, &launcher_handler);
    process->open_count++;
}

static const struct env_sandbox process_seam = {.supports = seam_supports,
                                                .prepare = seam_prepare,
                                                .start = seam_start,
                                                .invoke = seam_invoke,
                                                .kill = seam_kill,
                                                .memory_mb = seam_memory_mb,
                                                .has_spare = seam_has_spare,
                                                .code_find = seam_code_find,
                                                .code_store = seam_code_store};

static void set_defaults(struct process_options *options)
{
    options->python = options->python != NULL ? options->python : PYTHON_DEFAULT;
    options->endpoint = options->endpoint != NULL ? options->endpoint : ENDPOINT_DEFAULT;
    options->access_key_id = options->access_key_id != NULL ? options->access_key_id : "none";
    options->secret_access_key =
        options->secret_access_key != NULL ? options->secret_access_key : "none";
    options->uid_base = options->uid_base != 0 ? options->uid_base : UID_BASE_DEFAULT;
    options->stems = options->stems != 0 ? options->stems : STEMS_DEFAULT;
    options->stems_max = options->stems_max != 0 ? options->stems_max : STEMS_MAX_DEFAULT;
    if (options->stems_max < options->stems)
        options->stems_max = options->stems;
}

enum error process_open(struct env *env, uv_loop_t *loop, const struct process_options *options,
                        struct process **opened)
{
    struct process *process = check_calloc(1, sizeof(*process));

    process->seam = process_seam;
    process->env = env;
    process->loop = loop;
    process->options = *options;
    set_defaults(&process->options);
    if (options->data[0] != '/' || strlen(options->data) > SANDBOX_PATH_BYTES / 2 ||
        open_folders(process) != OK) {
        free(process);
        return ERR_IO;
    }
    process->loadavg = open("/proc/loadavg", O_RDONLY | O_CLOEXEC);
    process->processors = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    process->has_spare = true;
    map_init(&process->instances);
    open_launcher(process, PROCESS_LAUNCHER_PYTHON);
    open_launcher(process, PROCESS_LAUNCHER_NATIVE);
    CHECK(uv_timer_init(loop, &process->upkeep) == 0);
    process->upkeep.data = process;
    process->open_count++;
    CHECK(uv_timer_start(&process->upkeep, on_upkeep, UPKEEP_MS, UPKEEP_MS) == 0);
    env->sandbox = &process->seam;
    /* small, and tells at once what isolation there is; the zygote waits until it is needed */
    if (process_launcher_start(&process->launchers[PROCESS_LAUNCHER_NATIVE].link) != OK)
        log_warn("process.launcher why=\"cannot start\"");
    *opened = process;
    return OK;
}

static void launcher_on_closed(struct process_launcher *link)
{
    count_closed(launcher_of(link)->process);
}

static void upkeep_on_closed(uv_handle_t *handle)
{
    count_closed(handle->data);
}

void process_close(struct process *process, void *user, void (*closed)(void *user))
{
    process->is_closing = true;
    package_store_close(&process->packages);
    process->close_user = user;
    process->closed = closed;
    for (size_t i = 0; i < PROCESS_LAUNCHER_COUNT; i++) {
        struct launcher *launcher = &process->launchers[i];

        LIST_EACH_SAFE(&launcher->instances, link)
        instance_close(container_of(link, struct instance, link));
        process_launcher_close(&launcher->link, launcher_on_closed);
    }
    uv_close((uv_handle_t *)&process->upkeep, upkeep_on_closed);
}

void process_status(const struct process *process, struct process_status *status)
{
    bool is_known = false;

    *status = (struct process_status){.tier = LAUNCHER_TIER_NONE, .missing = "not started yet"};
    for (size_t i = 0; i < PROCESS_LAUNCHER_COUNT; i++) {
        const struct launcher *launcher = &process->launchers[i];

        status->stems += launcher->stem_count;
        status->sandboxes += launcher->sandbox_count;
        if (launcher->has_said_hello && (!is_known || launcher->tier > status->tier)) {
            is_known = true;
            status->tier = launcher->tier;
            status->missing = launcher->missing;
        }
    }
    status->tier_text = tier_texts[status->tier];
}
