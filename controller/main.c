/* skein-controller: settings, the cluster file, the loop, signals. */

#include "controller/controller.h"
#include "proto/base/check.h"
#include "proto/base/cluster_file.h"
#include "proto/base/log.h"
#include "proto/base/settings.h"
#include "proto/base/wan.h"
#include "proto/env/env_uv.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
#include <uv.h>

#define DISK_FULL_BYTES (1u << 20) /* the first log segment alone needs more */

enum exit_code { EXIT_SETTINGS = 2, EXIT_START = 3, EXIT_DISK = 4 };

struct controller_settings {
#define SETTING SETTING_FIELD
#include "controller/settings.def"
#undef SETTING
};

static const struct setting rows[] = {
#define SETTING(...) SETTING_ROW(struct controller_settings, __VA_ARGS__)
#include "controller/settings.def"
#undef SETTING
};

static const struct settings_table table = {
    .program = "skein-controller",
    .purpose = "One member of the group that decides where everything in a skein cluster runs.",
    .rows = rows,
    .count = ARRAY_COUNT(rows),
};

struct daemon {
    struct controller_settings settings;
    struct cluster_file cluster;
    const struct cluster_process *self; /* in `cluster` */
    uv_loop_t loop;
    struct env *env;
    struct link_rules *links;
    struct controller *controller;
    uv_signal_t terminate;
    uv_signal_t interrupt;
    uv_signal_t hangup;
    bool is_draining;
};

/* ---- the cluster file ---- */

static enum error read_file(const char *path, struct buffer *text)
{
    char chunk[4096];
    FILE *file = fopen(path, "re");
    enum error rc = OK;
    size_t size;

    if (file == NULL)
        return ERR_NOT_FOUND;
    while (rc == OK && (size = fread(chunk, 1, sizeof(chunk), file)) > 0)
        rc = buffer_append(text, chunk, size);
    if (rc == OK && ferror(file) != 0)
        rc = ERR_IO;
    (void)fclose(file);
    return rc;
}

static enum error cluster_load(const char *path, struct cluster_file *cluster,
                               char why[ERROR_WHY_BYTES])
{
    AUTO(buffer) text = BUFFER_INIT(CLUSTER_FILE_BYTES_MAX);
    char wrong[ERROR_WHY_BYTES] = "";
    enum error rc = read_file(path, &text);

    cluster_file_init(cluster);
    if (rc != OK)
        (void)snprintf(wrong, sizeof(wrong), "%s", error_text(rc));
    else
        rc = cluster_file_parse(buffer_slice(&text), cluster, wrong);
    if (rc != OK)
        (void)snprintf(why, ERROR_WHY_BYTES, "%.60s: %.90s", path, wrong);
    return rc;
}

static void know(struct daemon *daemon, const struct cluster_process *process)
{
    struct env *env = daemon->env;
    uint64_t delay_us = wan_delay_us(daemon->settings.wan, daemon->self->region, process->region);

    if (process->id == daemon->self->id)
        return;
    env->link->peer_set(env, process->id, process->endpoint, process->public_key);
    if (delay_us > 0)
        link_rules_base(daemon->links, process->id, delay_us);
}

static void know_all(struct daemon *daemon, const struct cluster_file *cluster)
{
    for (size_t i = 0; i < cluster->controller_count; i++)
        know(daemon, &cluster->controllers[i]);
    for (size_t i = 0; i < cluster->node_count; i++)
        know(daemon, &cluster->nodes[i]);
}

/* ---- signals ---- */

static void on_drained(void *user)
{
    struct daemon *daemon = user;

    uv_stop(&daemon->loop);
}

/* The first one hands leadership over, a second one does not wait for that. */
static void on_stop_signal(uv_signal_t *handle, int number)
{
    struct daemon *daemon = handle->data;

    log_info("main.stopping signal=%d", number);
    if (daemon->is_draining) {
        uv_stop(&daemon->loop);
        return;
    }
    daemon->is_draining = true;
    controller_drain(daemon->controller, daemon, on_drained);
}

/* The cluster file may name new processes. What it says of this one counts from the next start. */
static void on_hangup(uv_signal_t *handle, int number)
{
    struct daemon *daemon = handle->data;
    struct cluster_file cluster;
    char why[ERROR_WHY_BYTES] = "";

    (void)number;
    if (cluster_load(daemon->settings.cluster, &cluster, why) != OK) {
        log_error("main.reload_failed why=\"%s\"", why);
        return;
    }
    know_all(daemon, &cluster);
    log_info("main.reloaded controllers=%zu nodes=%zu", cluster.controller_count,
             cluster.node_count);
    cluster_file_close(&cluster);
}

static void watch_signal(struct daemon *daemon, uv_signal_t *handle, int number, uv_signal_cb cb)
{
    CHECK(uv_signal_init(&daemon->loop, handle) == 0);
    handle->data = daemon;
    CHECK(uv_signal_start(handle, cb, number) == 0);
}

static void watch_signals(struct daemon *daemon)
{
    (void)signal(SIGPIPE, SIG_IGN);
    watch_signal(daemon, &daemon->terminate, SIGTERM, on_stop_signal);
    watch_signal(daemon, &daemon->interrupt, SIGINT, on_stop_signal);
    watch_signal(daemon, &daemon->hangup, SIGHUP, on_hangup);
}

/* ---- start ---- */

static enum error check_log_level(const char *text)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};

    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        if (strcmp(text, names[i]) == 0) {
            log_set_level((enum log_level)i);
            return OK;
        }
    }
    return ERR_INVALID;
}

/* What the table of settings cannot check by itself. */
static enum error check_settings(struct daemon *daemon, char why[ERROR_WHY_BYTES])
{
    const struct controller_settings *settings = &daemon->settings;
    enum error rc = wan_check(settings->wan, why);

    if (rc == OK && check_log_level(settings->log_level) != OK) {
        (void)snprintf(why, ERROR_WHY_BYTES, "log_level: debug, info, warn or error is wanted");
        rc = ERR_INVALID;
    }
    if (rc == OK)
        rc = cluster_load(settings->cluster, &daemon->cluster, why);
    if (rc != OK)
        return rc;
    daemon->self = cluster_file_find(&daemon->cluster, settings->id);
    if (daemon->self != NULL && settings->id >= CLUSTER_FILE_CONTROLLER_ID_MIN)
        return OK;
    (void)snprintf(why, ERROR_WHY_BYTES, "id: %.60s has no controller %" PRIu64, settings->cluster,
                   settings->id);
    cluster_file_close(&daemon->cluster);
    return ERR_INVALID;
}

static void on_fatal(void *user, enum error rc, const char *why)
{
    const struct daemon *daemon = user;

    log_error("main.fatal rc=%s why=\"%s\" disk_free_bytes=%" PRIu64, error_name(rc), why,
              env_uv_disk_free_bytes(daemon->settings.data));
    _exit(EXIT_DISK); /* at once: nothing more may be promised to anybody */
}

static enum error open_env(struct daemon *daemon, char why[ERROR_WHY_BYTES])
{
    struct env_uv_options options = {.data_folder = daemon->settings.data,
                                     .self = daemon->self->id,
                                     .kv_cache_bytes = 4u << 20,
                                     .mesh = {.listen = daemon->self->endpoint,
                                              .public_key = daemon->self->public_key,
                                              .secret_key = daemon->settings.curve_secret}};

    enum error rc = env_uv_open(&daemon->loop, &options, &daemon->env, why);

    if (rc == OK)
        daemon->links = link_rules_new(daemon->env, env_uv_shim(daemon->env));
    return rc;
}

static struct controller *start_controller(struct daemon *daemon)
{
    const struct controller_settings *settings = &daemon->settings;
    uint64_t ids[CLUSTER_FILE_CONTROLLERS_MAX];
    struct controller_options options;

    for (size_t i = 0; i < daemon->cluster.controller_count; i++)
        ids[i] = daemon->cluster.controllers[i].id;
    controller_options_init(&options);
    options.controller_ids = ids;
    options.controller_count = daemon->cluster.controller_count;
    options.birth_file = "birth";
    options.lease_ms = settings->lease_ms;
    options.heartbeat_ms = settings->heartbeat_ms;
    options.election_ms = settings->election_ms;
    options.planner.shard_count = daemon->cluster.shards;
    options.planner.replica_count = daemon->cluster.replicas;
    options.planner.function_nodes = settings->function_nodes;
    options.planner.expected_nodes = settings->expected_nodes > 0
                                         ? settings->expected_nodes
                                         : (uint32_t)daemon->cluster.node_count;
    options.planner.birth_wait_ms = settings->birth_wait_ms;
    options.planner.repair_after_ms = settings->repair_after_ms;
    options.links = daemon->links;
    options.user = daemon;
    options.on_fatal = on_fatal;
    return controller_new(daemon->env, &options);
}

static int fail(const char *why, int code)
{
    (void)fprintf(stderr, "skein-controller: %s\n", why);
    return code;
}

static void close_handle(uv_handle_t *handle, void *unused)
{
    (void)unused;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void close_all(struct daemon *daemon)
{
    if (daemon->env != NULL)
        env_uv_stop(daemon->env);
    controller_free(daemon->controller);
    link_rules_free(daemon->links);
    env_uv_close(daemon->env);
    uv_walk(&daemon->loop, close_handle, NULL);
    (void)uv_run(&daemon->loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&daemon->loop) == 0);
    cluster_file_close(&daemon->cluster);
    settings_close(&table, &daemon->settings);
}

static int run(struct daemon *daemon)
{
    char why[ERROR_WHY_BYTES] = "";

    CHECK(uv_loop_init(&daemon->loop) == 0);
    if (open_env(daemon, why) != OK) {
        close_all(daemon);
        return fail(why, EXIT_START);
    }
    know_all(daemon, &daemon->cluster);
    daemon->controller = start_controller(daemon);
    if (daemon->controller == NULL) {
        bool is_full = env_uv_disk_free_bytes(daemon->settings.data) < DISK_FULL_BYTES;

        close_all(daemon);
        return fail(is_full ? "cannot start: the disk of its data folder is full"
                            : "cannot start; the log says why",
                    EXIT_START);
    }
    watch_signals(daemon);
    log_info("main.started version=" SKEIN_VERSION " name=%s id=%" PRIu64 " region=%s endpoint=%s",
             daemon->self->name, daemon->self->id, daemon->self->region, daemon->self->endpoint);
    (void)uv_run(&daemon->loop, UV_RUN_DEFAULT);
    log_info("main.stopped");
    close_all(daemon);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    static struct daemon daemon;
    char why[ERROR_WHY_BYTES] = "";
    enum error rc = settings_load(&table, argc, argv, environ, &daemon.settings, why);

    if (rc == ERR_END)
        return EXIT_SUCCESS;
    if (rc != OK)
        return fail(why, EXIT_SETTINGS);
    if (check_settings(&daemon, why) != OK) {
        settings_close(&table, &daemon.settings);
        return fail(why, EXIT_SETTINGS);
    }
    log_set_name(daemon.self->name);
    settings_log(&table, &daemon.settings);
    return run(&daemon);
}
