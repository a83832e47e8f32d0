#include "node/sandbox/process_impl.h"

#include "node/sandbox/process_environment.h"
#include "proto/base/check.h"
#include "proto/base/encode.h"
#include "proto/base/log.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define ENDPOINT_DEFAULT "http://127.0.0.1:4566"
#define OUTPUT_BYTES_PER_TURN 65536

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
    process_count_closed(process);
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
void process_instance_close(struct instance *instance)
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

void process_instance_on_output(uv_poll_t *poll, int status, int events)
{
    struct instance *instance = poll->data;

    (void)events;
    if (status != 0 || !read_output(instance))
        (void)uv_poll_stop(poll); /* never fails */
}

void process_instance_end(struct instance *instance, struct sandbox_exit exit)
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
    process_instance_close(instance);
    if (sandbox != NULL)
        sandbox->handler->on_exit(sandbox, &exit);
}

void process_instance_on_exited(struct instance *instance, const struct launcher_message *message)
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
    process_instance_end(instance, exit);
}

void process_instance_kill(struct instance *instance)
{
    struct launcher_message message = {.kind = LAUNCHER_KILL, .id = instance->id};

    process_launcher_send(&instance->launcher->link, &message, NULL, (struct slice){0}, -1);
}

static void api_on_ready(void *user)
{
    struct instance *instance = user;

    if (instance->sandbox == NULL)
        return;
    (void)read_output(instance);
    process_launcher_is_well(&instance->launcher->link);
    process_stem_refill(instance->launcher);
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

void process_instance_resume_aws(struct instance *instance)
{
    if (!instance->is_aws_full)
        return;
    instance->is_aws_full = false;
    CHECK(uv_poll_start(&instance->aws_ready, UV_READABLE, aws_on_ready) == 0);
}

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
void process_instance_order(struct instance *instance)
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
        process_instance_kill(instance);
        return;
    }
    process_launcher_send(&instance->launcher->link, &message, instance->spec.code_folder,
                          buffer_slice(&block), -1);
}

void process_instance_on_started(struct instance *instance, const struct launcher_message *message,
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
        process_instance_kill(instance);
        return;
    }
    instance->is_started = true;
    if (instance->sandbox != NULL)
        process_instance_order(instance);
}
