/* skein-node: settings, the loop, signals. Everything else is node.c's. */

#include "node/http/http_server.h"
#include "node/node.h"
#include "node/sandbox/process.h"
#include "proto/base/check.h"
#include "proto/base/cluster_file.h"
#include "proto/base/log.h"
#include "proto/base/settings.h"
#include "proto/base/wan.h"
#include "proto/env/env_uv.h"

#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

/* The process found its own data doubtful and ended; see docs/operations.md. */
#define EXIT_FATAL 70
#define DRAIN_MS_MAX 10000u
#define DISK_FULL_BYTES (1u << 20) /* the first log segment alone needs more */
#define SANDBOX_UIDS 4096u
#define SANDBOXES_PER_PROCESSOR 16u
#define SANDBOX_UID_FIRST 700000u

struct node_settings {
#define SETTING SETTING_FIELD
#include "node/settings.def"
#undef SETTING
};

static const struct setting rows[] = {
#define SETTING(...) SETTING_ROW(struct node_settings, __VA_ARGS__)
#include "node/settings.def"
#undef SETTING
};

static const struct settings_table table = {
    .program = "skein-node",
    .purpose = "One node of a skein cluster: HTTP front, services, sandboxes, replicas.",
    .rows = rows,
    .count = ARRAY_COUNT(rows),
};

struct program {
    uv_loop_t loop;
    struct node_settings settings;
    struct cluster_file file;
    const struct cluster_process *self;
    uint64_t controller_ids[CLUSTER_FILE_CONTROLLERS_MAX];
    struct env *env;
    struct link_rules *links;
    struct process *sandboxes;
    char functions_endpoint[160]; /* where those that share the node's network reach it */
    char functions[1024];         /* what the status says of them */
    struct node *node;
    struct http_server *server;
    uv_signal_t terminate;
    uv_signal_t interrupt;
    uv_timer_t deadline;
    int drains_left;
    bool is_stopping;
};

/* ---- what goes wrong
 * ----------------------------------------------------------------------------- */

static int refuse(const char *why)
{
    (void)fprintf(stderr, "skein-node: %s\n", why);
    return 1;
}

/* What the system calls an input or output error often is one thing. */
static void blame_full_disk(const struct program *program, enum error rc, char why[ERROR_WHY_BYTES])
{
    if (rc == ERR_IO && env_uv_disk_free_bytes(program->settings.data) < DISK_FULL_BYTES)
        (void)snprintf(why, ERROR_WHY_BYTES, "cannot start: the disk of %.100s is full",
                       program->settings.data);
}

static void on_fatal(void *user, enum error rc, const char *why)
{
    const struct program *program = user;

    log_error("node.fatal error=%s why=%s disk_free_bytes=%" PRIu64, error_name(rc), why,
              env_uv_disk_free_bytes(program->settings.data));
    _exit(EXIT_FATAL);
}

/* ---- stopping
 * ------------------------------------------------------------------------------------ */

static void stop_when_drained(void *user)
{
    struct program *program = user;

    if (--program->drains_left == 0)
        uv_stop(&program->loop);
}

static void on_deadline(uv_timer_t *timer)
{
    log_warn("node.drain_gave_up after_ms=%u", DRAIN_MS_MAX);
    uv_stop(timer->loop);
}

/* The first signal hands leaderships over and finishes what is in flight; the second ends at once.
 */
static void on_signal(uv_signal_t *handle, int number)
{
    struct program *program = handle->data;

    (void)number;
    if (program->is_stopping) {
        uv_stop(&program->loop);
        return;
    }
    program->is_stopping = true;
    program->drains_left = 2;
    (void)uv_timer_start(&program->deadline, on_deadline, DRAIN_MS_MAX, 0);
    node_drain(program->node, program, stop_when_drained);
    http_server_drain(program->server, stop_when_drained, program);
}

static void on_sandboxes_closed(void *user)
{
    uv_stop(&((struct program *)user)->loop);
}

static void close_all(struct program *program)
{
    uv_handle_t *const handles[] = {(uv_handle_t *)&program->terminate,
                                    (uv_handle_t *)&program->interrupt,
                                    (uv_handle_t *)&program->deadline};

    for (size_t i = 0; i < ARRAY_COUNT(handles); i++)
        if (handles[i]->type != UV_UNKNOWN_HANDLE)
            uv_close(handles[i], NULL);
    if (program->sandboxes != NULL) {
        process_close(program->sandboxes, program, on_sandboxes_closed);
        (void)uv_run(&program->loop, UV_RUN_DEFAULT);
    }
    if (program->env != NULL)
        env_uv_stop(program->env);
    if (program->server != NULL)
        http_server_free(program->server);
    node_free(program->node);
    link_rules_free(program->links);
    env_uv_close(program->env);
    (void)uv_run(&program->loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&program->loop);
    cluster_file_close(&program->file);
    settings_close(&table, &program->settings);
}

/* ---- starting
 * ------------------------------------------------------------------------------------ */

static enum error load_cluster_file(struct program *program, char why[ERROR_WHY_BYTES])
{
    struct buffer text = BUFFER_INIT(CLUSTER_FILE_BYTES_MAX);
    char part[4096];
    size_t size;
    enum error rc = OK;
    FILE *file = fopen(program->settings.cluster, "re");

    if (file == NULL) {
        (void)snprintf(why, ERROR_WHY_BYTES, "cluster file %.120s cannot be opened",
                       program->settings.cluster);
        return ERR_NOT_FOUND;
    }
    while (rc == OK && (size = fread(part, 1, sizeof(part), file)) > 0)
        rc = buffer_append(&text, part, size);
    (void)fclose(file);
    if (rc == OK)
        rc = cluster_file_parse(buffer_slice(&text), &program->file, why);
    buffer_close(&text);
    if (rc != OK)
        return rc;
    program->self = cluster_file_find(&program->file, program->settings.id);
    if (program->self == NULL || program->settings.id >= ENV_CONTROLLER_ID_MIN) {
        (void)snprintf(why, ERROR_WHY_BYTES, "the cluster file has no node with id %" PRIu64,
                       program->settings.id);
        return ERR_INVALID;
    }
    for (size_t i = 0; i < program->file.controller_count; i++)
        program->controller_ids[i] = program->file.controllers[i].id;
    return OK;
}

static void know_peers(struct program *program, const struct cluster_process *processes,
                       size_t count)
{
    struct env *env = program->env;

    for (size_t i = 0; i < count; i++) {
        uint64_t delay_us =
            wan_delay_us(program->settings.wan, program->self->region, processes[i].region);

        if (processes[i].id == env_self(env))
            continue;
        env->link->peer_set(env, processes[i].id, processes[i].endpoint, processes[i].public_key);
        if (delay_us > 0)
            link_rules_base(program->links, processes[i].id, delay_us);
    }
}

/* A node that the cluster file did not name when this one read it. */
static void on_peer(void *user, uint64_t id, const char *region)
{
    struct program *program = user;
    uint64_t delay_us = wan_delay_us(program->settings.wan, program->self->region, region);

    if (delay_us > 0 && cluster_file_find(&program->file, id) == NULL)
        link_rules_base(program->links, id, delay_us);
}

static enum error open_env(struct program *program, char why[ERROR_WHY_BYTES])
{
    const struct env_uv_options options = {
        .data_folder = program->settings.data,
        .self = program->settings.id,
        .kv_cache_bytes = program->settings.kv_cache_bytes,
        .mesh = {.listen = program->self->endpoint,
                 .public_key = program->self->public_key,
                 .secret_key = program->settings.curve_secret},
    };
    enum error rc = env_uv_open(&program->loop, &options, &program->env, why);

    if (rc != OK)
        return rc;
    program->links = link_rules_new(program->env, env_uv_shim(program->env));
    know_peers(program, program->file.nodes, program->file.node_count);
    know_peers(program, program->file.controllers, program->file.controller_count);
    return OK;
}

static void on_aws_connection(void *user, int fd)
{
    struct program *program = user;

    http_server_adopt(program->server, fd);
}

static enum error open_sandboxes(struct program *program, char why[ERROR_WHY_BYTES])
{
    const struct process_options options = {
        .data = program->settings.data,
        .python = program->settings.python,
        .node_js = program->settings.node_js,
        .access_key_id = program->settings.access_key,
        .secret_access_key = program->settings.secret_key,
        .endpoint = program->functions_endpoint,
        .uid_base = SANDBOX_UID_FIRST + (uint32_t)(program->settings.id % 1000) * SANDBOX_UIDS,
        .stems = program->settings.stems,
        .allow_unisolated = program->settings.allow_unisolated,
        .user = program,
        .on_aws_connection = on_aws_connection,
    };
    (void)snprintf(program->functions_endpoint, sizeof(program->functions_endpoint), "http://%s",
                   program->self->http_address);

    enum error rc = process_open(program->env, &program->loop, &options, &program->sandboxes);

    if (rc != OK)
        (void)snprintf(why, ERROR_WHY_BYTES, "sandboxes cannot be prepared in the data folder");
    return rc;
}

static const char *sandbox_tier(void *user)
{
    struct program *program = user;
    struct process_status status;

    process_status(program->sandboxes, &status);
    (void)snprintf(program->functions, sizeof(program->functions), "%s%s%s", status.tier_text,
                   status.runtimes[0] != '\0' ? "; cannot run " : "", status.runtimes);
    return program->functions;
}

static enum error open_node(struct program *program, char why[ERROR_WHY_BYTES])
{
    const struct node_settings *settings = &program->settings;
    uint32_t processors = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
    const struct node_options options = {
        .name = program->self->name,
        .region = program->self->region,
        .host = program->self->name,
        .mesh_endpoint = program->self->endpoint,
        .public_key = program->self->public_key,
        .http_address = program->self->http_address,
        .controller_ids = program->controller_ids,
        .controller_count = program->file.controller_count,
        .key = {settings->access_key, settings->secret_key},
        .any_key = settings->insecure_any_key,
        .heartbeat_ms = settings->heartbeat_ms,
        .election_ms = settings->election_ms,
        .snapshot_entries = settings->snapshot_entries,
        .snapshot_bytes = settings->snapshot_bytes,
        .sandboxes_max = settings->sandboxes_max > 0 ? settings->sandboxes_max
                                                     : SANDBOXES_PER_PROCESSOR * processors,
        .sandboxes_starting_max =
            settings->sandboxes_starting_max > 0 ? settings->sandboxes_starting_max : processors,
        .account_concurrency = settings->account_concurrency,
        .event_retry_ms = settings->event_retry_ms,
        .event_lease_ms = settings->event_lease_ms,
        .function_log_folder = "logs",
        .user = program,
        .on_peer = on_peer,
        .sandbox_tier = sandbox_tier,
        .links = program->links,
        .on_fatal = on_fatal,
    };

    if (settings->insecure_any_key)
        log_warn("node.insecure any_key=true meaning=every_request_is_believed");
    return node_open(program->env, &options, why, &program->node);
}

static enum error open_server(struct program *program, char why[ERROR_WHY_BYTES])
{
    const struct http_server_options options = {
        .body_bytes_max = program->settings.body_bytes_max,
        .connections_max = program->settings.connections_max,
    };
    const char *colon = strrchr(program->self->http_address, ':');
    char host[64];
    enum error rc;

    program->server =
        http_server_new(&program->loop, program->env, &options, node_on_exchange, program->node);
    if (colon == NULL)
        return ERR_INVALID;
    (void)snprintf(host, sizeof(host), "%.*s", (int)(colon - program->self->http_address),
                   program->self->http_address);
    rc = http_server_listen(program->server, host, (uint16_t)strtoul(colon + 1, NULL, 10), false,
                            NULL);
    if (rc == OK)
        rc = http_server_listen(program->server, program->settings.listen, program->file.port, true,
                                NULL);
    if (rc != OK)
        (void)snprintf(why, ERROR_WHY_BYTES, "cannot listen on %.60s or on port %u: %s",
                       program->self->http_address, program->file.port, error_text(rc));
    return rc;
}

static void watch_signals(struct program *program)
{
    CHECK(uv_signal_init(&program->loop, &program->terminate) == 0);
    CHECK(uv_signal_init(&program->loop, &program->interrupt) == 0);
    CHECK(uv_timer_init(&program->loop, &program->deadline) == 0);
    program->terminate.data = program;
    program->interrupt.data = program;
    (void)uv_signal_start(&program->terminate, on_signal, SIGTERM);
    (void)uv_signal_start(&program->interrupt, on_signal, SIGINT);
}

static enum error set_log_level(const char *name, char why[ERROR_WHY_BYTES])
{
    static const char *const names[] = {"debug", "info", "warn", "error"};

    for (size_t i = 0; i < ARRAY_COUNT(names); i++)
        if (strcmp(name, names[i]) == 0) {
            log_set_level((enum log_level)i);
            return OK;
        }
    (void)snprintf(why, ERROR_WHY_BYTES, "log_level must be debug, info, warn or error");
    return ERR_INVALID;
}

static enum error check_keys(const struct node_settings *settings, char why[ERROR_WHY_BYTES])
{
    if (strlen(settings->curve_secret) == 40 && settings->access_key[0] != '\0' &&
        settings->secret_key[0] != '\0')
        return OK;
    (void)snprintf(why, ERROR_WHY_BYTES,
                   "curve_secret, access_key and secret_key are needed; skein up makes them");
    return ERR_INVALID;
}

int main(int argc, char **argv)
{
    static struct program program;
    char why[ERROR_WHY_BYTES] = "";
    enum error rc;

    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGHUP, SIG_IGN); /* new peers come with the catalogue */
    (void)mallopt(M_ARENA_MAX, 2); /* worker threads share one: memory stays small */
    rc = settings_load(&table, argc, argv, environ, &program.settings, why);
    if (rc == ERR_END)
        return 0;
    if (rc != OK)
        return refuse(why);
    cluster_file_init(&program.file);
    CHECK(uv_loop_init(&program.loop) == 0);
    rc = set_log_level(program.settings.log_level, why);
    if (rc == OK)
        rc = wan_check(program.settings.wan, why);
    if (rc == OK)
        rc = check_keys(&program.settings, why);
    if (rc == OK)
        rc = load_cluster_file(&program, why);
    if (rc == OK) {
        log_set_name(program.self->name);
        settings_log(&table, &program.settings);
        rc = open_env(&program, why);
    }
    if (rc == OK)
        rc = open_sandboxes(&program, why);
    if (rc == OK)
        rc = open_node(&program, why);
    if (rc == OK)
        rc = open_server(&program, why);
    if (rc == OK) {
        watch_signals(&program);
        (void)uv_run(&program.loop, UV_RUN_DEFAULT);
        log_info("node.stopped id=%" PRIu64, program.settings.id);
    }
    blame_full_disk(&program, rc, why);
    close_all(&program);
    return rc == OK ? 0 : refuse(why);
}
