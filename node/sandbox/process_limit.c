#include "node/sandbox/process_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* has_spare looks at the machine so often, and finds it full at so many runnable tasks. */
#define SPARE_LOOK_US 1000u
#define SPARE_RUNNING_PER_PROCESSOR 4u

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
void process_limit_watch(struct instance *instance)
{
    char text[4096];
    uint64_t used_kb;

    if (instance->is_memory_of_group || !instance->is_ordered || instance->is_over_memory ||
        instance->sandbox == NULL || !read_memory_file(instance, text, sizeof(text)))
        return;
    used_kb = status_kb(text, "RssAnon:") + status_kb(text, "RssShmem:");
    if (used_kb > (uint64_t)instance->spec.function->memory_mb * 1024) {
        instance->is_over_memory = true;
        process_instance_kill(instance);
    }
}

/* Runnable tasks of the whole machine, from the fourth word of /proc/loadavg ("3/375"). Other nodes
 * and other programs count as they should: they want the same processors. */
bool process_limit_has_spare(struct env *env)
{
    struct process *process = process_of_env(env);
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

uint32_t process_limit_memory_mb(struct env *env, struct sandbox *sandbox)
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
