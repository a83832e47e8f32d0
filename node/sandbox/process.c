#include "node/sandbox/process_impl.h"

#include "node/sandbox/package.h"
#include "proto/base/check.h"
#include "proto/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define PYTHON_DEFAULT "/usr/bin/python3"
#define NODE_JS_DEFAULT "/usr/bin/node"
#define ENDPOINT_DEFAULT "http://127.0.0.1:4566"
#define UID_BASE_DEFAULT 700000u
#define STEMS_DEFAULT 2
#define STEMS_MAX_DEFAULT 4
#define BOOT_MS_DEFAULT 1000
#define UPKEEP_MS 250
#define CALM_TICKS 40 /* upkeeps without a miss, then fewer stems are kept */

const char *const process_tier_texts[] = {
    "root: namespaces, control groups, a user id per sandbox, no capabilities, seccomp",
    "user namespaces: no control groups, memory watched by the node, seccomp",
    "no namespaces: Landlock, seccomp and resource limits on the node's own network",
    "resource limits only: functions can read what the node can read",
    "nothing: functions cannot run"};

void process_count_closed(struct process *process)
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

/* Loading a runtime takes longer than all else in a first call, so it is done before there is one:
 * once, and with little priority. */
static void boot_early(struct process *process)
{
    if (process->has_booted || uv_now(process->loop) < process->boot_at_ms)
        return;
    process->has_booted = true;
    if (process_launcher_start(&process->launchers[PROCESS_LAUNCHER_PYTHON].link, true) != OK)
        log_warn("process.launcher why=\"cannot start early\"");
}

static void on_upkeep(uv_timer_t *timer)
{
    struct process *process = timer->data;

    boot_early(process);
    for (size_t i = 0; i < PROCESS_LAUNCHER_COUNT; i++) {
        struct launcher *launcher = &process->launchers[i];

        LIST_EACH(&launcher->instances, link)
        {
            process_instance_resume_aws(container_of(link, struct instance, link));
            process_limit_watch(container_of(link, struct instance, link));
        }
        if (++launcher->calm_ticks >= CALM_TICKS) {
            launcher->calm_ticks = 0;
            if (launcher->stems_wanted > process->options.stems)
                launcher->stems_wanted--;
        }
        process_stem_refill(launcher);
        process_stem_drop_surplus(launcher);
    }
}

struct process *process_of_env(struct env *env)
{
    return container_of(env->sandbox, struct process, seam);
}

/* NULL = not a runtime of ours, or one that is not on this machine. */
static struct launcher *find_launcher(struct process *process, const char *runtime)
{
    if (strncmp(runtime, "python3.", strlen("python3.")) == 0)
        return &process->launchers[PROCESS_LAUNCHER_PYTHON];
    if (strncmp(runtime, "nodejs", strlen("nodejs")) == 0)
        return access(process->options.node_js, X_OK) == 0
                   ? &process->launchers[PROCESS_LAUNCHER_NODE]
                   : NULL;
    if (strcmp(runtime, "provided") == 0 || strncmp(runtime, "provided.", 9) == 0)
        return &process->launchers[PROCESS_LAUNCHER_NATIVE];
    return NULL;
}

static bool seam_supports(struct env *env, const char *runtime)
{
    return find_launcher(process_of_env(env), runtime) != NULL;
}

static void seam_prepare(struct env *env, const char *runtime)
{
    struct launcher *launcher = find_launcher(process_of_env(env), runtime);

    if (launcher != NULL && process_stem_make_ready(launcher) == OK)
        process_stem_refill(launcher);
}

static bool seam_is_booting(struct env *env, const char *runtime)
{
    const struct launcher *launcher = find_launcher(process_of_env(env), runtime);

    return launcher != NULL && !launcher->is_serving && process_launcher_is_coming(&launcher->link);
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
    struct launcher *launcher = find_launcher(process_of_env(env), spec->function->runtime);
    struct instance *instance;

    if (launcher == NULL)
        return ERR_VERSION;
    if (process_stem_make_ready(launcher) != OK)
        return ERR_NO_CAPACITY;
    instance = process_stem_take(launcher);
    if (instance == NULL)
        return ERR_NO_CAPACITY;
    copy_spec(instance, spec);
    sandbox->handler = handler;
    sandbox->impl = instance;
    instance->sandbox = sandbox;
    launcher->sandbox_count++;
    if (instance->is_started)
        process_instance_order(instance);
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
    process_instance_kill(sandbox->impl);
}

static enum error seam_code_find(struct env *env, struct slice sha256,
                                 char folder[SANDBOX_PATH_BYTES])
{
    return package_store_find(&process_of_env(env)->packages, sha256, folder);
}

static void packages_on_settled(struct package_store *packages)
{
    process_count_closed(container_of(packages, struct process, packages));
}

static void seam_code_store(struct env *env, struct sandbox_code *code, struct slice sha256,
                            struct buffer *zip, sandbox_code_cb cb)
{
    struct process *process = process_of_env(env);

    process->open_count++;
    package_store_put(&process->packages, code, sha256, zip, cb);
}

static enum error open_folders(struct process *process)
{
    char path[SANDBOX_PATH_BYTES];

    for (int kind = 0; kind < PROCESS_LAUNCHER_COUNT; kind++) {
        snprintf(path, sizeof(path), "%s/sandbox-%s", process->options.data,
                 process_launcher_kind_name((enum process_launcher_kind)kind));
        if (access(path, F_OK) == 0 && package_remove(path) != OK)
            return ERR_IO;
        if (mkdir(path, 0755) != 0)
            return ERR_IO;
    }
    snprintf(path, sizeof(path), "%s/code", process->options.data);
    return package_store_open(&process->packages, process->env, path, packages_on_settled);
}

static const struct env_sandbox process_seam = {.supports = seam_supports,
                                                .prepare = seam_prepare,
                                                .is_booting = seam_is_booting,
                                                .start = seam_start,
                                                .invoke = seam_invoke,
                                                .kill = seam_kill,
                                                .memory_mb = process_limit_memory_mb,
                                                .has_spare = process_limit_has_spare,
                                                .code_find = seam_code_find,
                                                .code_store = seam_code_store};

static void set_defaults(struct process_options *options)
{
    options->python = options->python != NULL ? options->python : PYTHON_DEFAULT;
    options->node_js = options->node_js != NULL ? options->node_js : NODE_JS_DEFAULT;
    options->endpoint = options->endpoint != NULL ? options->endpoint : ENDPOINT_DEFAULT;
    options->access_key_id = options->access_key_id != NULL ? options->access_key_id : "none";
    options->secret_access_key =
        options->secret_access_key != NULL ? options->secret_access_key : "none";
    options->uid_base = options->uid_base != 0 ? options->uid_base : UID_BASE_DEFAULT;
    options->boot_ms = options->boot_ms != 0 ? options->boot_ms : BOOT_MS_DEFAULT;
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
    process->boot_at_ms = uv_now(loop) + process->options.boot_ms;
    map_init(&process->instances);
    for (int kind = 0; kind < PROCESS_LAUNCHER_COUNT; kind++)
        process_stem_open(process, (enum process_launcher_kind)kind);
    CHECK(uv_timer_init(loop, &process->upkeep) == 0);
    process->upkeep.data = process;
    process->open_count++;
    CHECK(uv_timer_start(&process->upkeep, on_upkeep, UPKEEP_MS, UPKEEP_MS) == 0);
    env->sandbox = &process->seam;
    /* small, and tells at once what isolation there is; the zygotes come a little later */
    if (process_launcher_start(&process->launchers[PROCESS_LAUNCHER_NATIVE].link, false) != OK)
        log_warn("process.launcher why=\"cannot start\"");
    *opened = process;
    return OK;
}

static void launcher_on_closed(struct process_launcher *link)
{
    process_count_closed(container_of(link, struct launcher, link)->process);
}

static void upkeep_on_closed(uv_handle_t *handle)
{
    process_count_closed(handle->data);
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
        process_instance_close(container_of(link, struct instance, link));
        process_launcher_close(&launcher->link, launcher_on_closed);
    }
    uv_close((uv_handle_t *)&process->upkeep, upkeep_on_closed);
}

void process_status(struct process *process, struct process_status *status)
{
    const char *node_js = process->options.node_js;
    bool is_known = false;

    process->runtimes[0] = '\0';
    if (access(node_js, X_OK) != 0)
        snprintf(process->runtimes, sizeof(process->runtimes), "nodejs: %s: %s", node_js,
                 strerror(errno));

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
    status->runtimes = process->runtimes;
    status->tier_text = process_tier_texts[status->tier];
}
