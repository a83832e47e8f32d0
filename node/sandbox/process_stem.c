#include "node/sandbox/process_impl.h"

#include "proto/base/check.h"
#include "proto/base/log.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

static struct launcher *launcher_of(struct process_launcher *link)
{
    return container_of(link, struct launcher, link);
}

static void on_hello(struct launcher *launcher, const struct launcher_message *message,
                     const char *text)
{
    const char *kind = process_launcher_kind_name(launcher->link.kind);

    launcher->has_said_hello = true;
    launcher->is_serving = true;
    launcher->tier = message->code <= LAUNCHER_TIER_NONE ? (enum launcher_tier)message->code
                                                         : LAUNCHER_TIER_NONE;
    snprintf(launcher->missing, sizeof(launcher->missing), "%s", text);
    if (launcher->tier == LAUNCHER_TIER_NONE) {
        log_error("process.no_isolation kind=%s missing=\"%s\"", kind, text);
        process_launcher_refuse(&launcher->link);
    } else if (text[0] != '\0') {
        log_warn("process.isolation kind=%s tier=\"%s\" missing=\"%s\"", kind,
                 process_tier_texts[launcher->tier], text);
    } else {
        log_info("process.isolation kind=%s tier=\"%s\"", kind, process_tier_texts[launcher->tier]);
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
        process_instance_on_started(instance, message, descriptors, descriptor_count);
    } else if (message->kind == LAUNCHER_FAILED) {
        snprintf(instance->why, sizeof(instance->why), "%.60s: %s", text,
                 strerror((int)message->code));
    } else if (message->kind == LAUNCHER_EXITED) {
        process_instance_on_exited(instance, message);
    }
}

static void launcher_on_gone(struct process_launcher *link)
{
    struct launcher *launcher = launcher_of(link);
    struct sandbox_exit exit = {.end = SANDBOX_FAILED, .why = "its launcher ended"};
    struct list gone;
    struct list *instance_link;

    launcher->is_serving = false;
    list_move(&gone, &launcher->instances);
    while ((instance_link = list_pop(&gone)) != NULL)
        process_instance_end(container_of(instance_link, struct instance, link), exit);
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
    CHECK(uv_poll_start(&instance->output_ready, UV_READABLE, process_instance_on_output) == 0);
    process->open_count++;
    list_append(&launcher->instances, &instance->link);
    map_set_u64(&process->instances, instance->id, instance);
    process_launcher_send(&launcher->link, &message, NULL, (struct slice){0}, output[1]);
    return instance;
}

/* Keep as many stems as are wanted. */
void process_stem_refill(struct launcher *launcher)
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

void process_stem_drop_surplus(struct launcher *launcher)
{
    while (launcher->stem_count > launcher->stems_wanted) {
        struct instance *stem = container_of(launcher->stems.next, struct instance, stem_link);

        list_remove(&stem->stem_link);
        launcher->stem_count--;
        process_instance_kill(stem);
    }
}

/* The oldest stem, or a new child when there is none: then more are kept from now on. */
struct instance *process_stem_take(struct launcher *launcher)
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

enum error process_stem_make_ready(struct launcher *launcher)
{
    enum error rc = process_launcher_start(&launcher->link, false);

    if (!launcher->is_serving)
        process_launcher_hurry(&launcher->link);
    if (launcher->stems_wanted == 0)
        launcher->stems_wanted = launcher->process->options.stems;
    return rc;
}

/* The same for every life of a node, different for different nodes of a machine (FNV-1a). */
static uint64_t hash_path(const char *path)
{
    uint64_t hash = 0xcbf29ce484222325u;

    for (; *path != '\0'; path++)
        hash = (hash ^ (uint8_t)*path) * 0x100000001b3u;
    return hash;
}

void process_stem_open(struct process *process, enum process_launcher_kind kind)
{
    struct launcher *launcher = &process->launchers[kind];
    const char *name = process_launcher_kind_name(kind);
    const struct process_options *options = &process->options;
    struct process_launcher_options link = {
        .python = options->python,
        .node = options->node_js,
        .folder = launcher->folder,
        .instance = launcher->instance,
        .uid_base =
            options->uid_base + (uint32_t)kind * (LAUNCHER_SANDBOXES_MAX / PROCESS_LAUNCHER_COUNT),
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
