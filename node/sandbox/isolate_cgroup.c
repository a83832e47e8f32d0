#include "node/sandbox/isolate_cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CGROUP_ROOT "/sys/fs/cgroup"
#define CPU_SHARES_PER_CPU 1024
#define MEMORY_MB_PER_CPU 1769

static const char *const v1_controllers[] = {"memory", "pids", "cpu"};
#define V1_CONTROLLER_COUNT (sizeof(v1_controllers) / sizeof(v1_controllers[0]))

static bool write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ssize_t written;

    if (fd < 0)
        return false;
    written = write(fd, text, strlen(text));
    close(fd);
    return written == (ssize_t)strlen(text);
}

static bool read_text(const char *path, char *text, size_t bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size;

    if (fd < 0)
        return false;
    size = read(fd, text, bytes - 1);
    close(fd);
    text[size > 0 ? size : 0] = '\0';
    return size >= 0;
}

/* The folder of `controller` (ignored in version 2), then `tail`. */
static void path_of(const struct isolate_cgroup *cgroup, const char *controller, const char *tail,
                    char path[ISOLATE_CGROUP_PATH_BYTES])
{
    if (cgroup->version == ISOLATE_CGROUP_V2)
        snprintf(path, ISOLATE_CGROUP_PATH_BYTES, CGROUP_ROOT "/skein%s", tail);
    else
        snprintf(path, ISOLATE_CGROUP_PATH_BYTES, CGROUP_ROOT "/%s/skein%s", controller, tail);
}

__attribute__((format(printf, 5, 6))) static void slot_path(const struct isolate_cgroup *cgroup,
                                                            const char *controller, uint32_t slot,
                                                            char path[ISOLATE_CGROUP_PATH_BYTES],
                                                            const char *file, ...)
{
    char tail[ISOLATE_CGROUP_PATH_BYTES / 2];
    int size = snprintf(tail, sizeof(tail), "/%s/%" PRIu32, cgroup->instance, slot);
    va_list arguments;

    va_start(arguments, file);
    vsnprintf(tail + size, sizeof(tail) - (size_t)size, file, arguments);
    va_end(arguments);
    path_of(cgroup, controller, tail, path);
}

static bool make_folder(const char *path)
{
    return mkdir(path, 0755) == 0 || errno == EEXIST;
}

/* Kill what a predecessor left in a group, and remove the group. */
static void remove_stale(const char *folder)
{
    char path[ISOLATE_CGROUP_PATH_BYTES + 300];
    char pids[4096];

    for (int round = 0; round < 100; round++) {
        snprintf(path, sizeof(path), "%s/cgroup.procs", folder);
        if (read_text(path, pids, sizeof(pids))) {
            for (char *pid = strtok(pids, "\n"); pid != NULL; pid = strtok(NULL, "\n"))
                if (atoi(pid) > 1)
                    kill((pid_t)atoi(pid), SIGKILL);
        }
        if (rmdir(folder) == 0 || errno != EBUSY)
            return;
        usleep(10000);
    }
}

static void remove_all_stale(const char *instance_folder)
{
    char path[ISOLATE_CGROUP_PATH_BYTES + 256]; /* a name has at most 255 bytes */
    DIR *folder = opendir(instance_folder);
    struct dirent *entry;

    if (folder == NULL)
        return;
    while ((entry = readdir(folder)) != NULL) {
        if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%s", instance_folder, entry->d_name);
        remove_stale(path);
    }
    closedir(folder);
}

/* In version 1 all functions together would weigh as much as a single process outside of any
 * group. They get what as many busy processes as there are processors would. */
static void set_cpu_shares_of_all(const struct isolate_cgroup *cgroup)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    char path[ISOLATE_CGROUP_PATH_BYTES];
    char text[32];

    path_of(cgroup, "cpu", "/cpu.shares", path);
    snprintf(text, sizeof(text), "%ld", CPU_SHARES_PER_CPU * (processors > 0 ? processors : 1));
    (void)write_text(path, text); /* a share, not a limit */
}

static bool open_v1(struct isolate_cgroup *cgroup)
{
    char path[ISOLATE_CGROUP_PATH_BYTES];
    char tail[128];

    cgroup->version = ISOLATE_CGROUP_V1;
    snprintf(tail, sizeof(tail), "/%s", cgroup->instance);
    for (size_t i = 0; i < V1_CONTROLLER_COUNT; i++) {
        path_of(cgroup, v1_controllers[i], "", path);
        if (!make_folder(path))
            return false;
        path_of(cgroup, v1_controllers[i], tail, path);
        if (!make_folder(path))
            return false;
        remove_all_stale(path);
    }
    set_cpu_shares_of_all(cgroup);
    return true;
}

static bool open_v2(struct isolate_cgroup *cgroup)
{
    char path[ISOLATE_CGROUP_PATH_BYTES];
    char text[256];
    char tail[128];

    cgroup->version = ISOLATE_CGROUP_V2;
    if (!read_text(CGROUP_ROOT "/cgroup.controllers", text, sizeof(text)) ||
        strstr(text, "memory") == NULL || strstr(text, "pids") == NULL)
        return false;
    if (!write_text(CGROUP_ROOT "/cgroup.subtree_control", "+memory +pids +cpu"))
        return false;
    path_of(cgroup, "", "", path);
    if (!make_folder(path))
        return false;
    path_of(cgroup, "", "/cgroup.subtree_control", path);
    if (!write_text(path, "+memory +pids +cpu"))
        return false;
    snprintf(tail, sizeof(tail), "/%s", cgroup->instance);
    path_of(cgroup, "", tail, path);
    if (!make_folder(path))
        return false;
    remove_all_stale(path);
    snprintf(tail, sizeof(tail), "/%s/cgroup.subtree_control", cgroup->instance);
    path_of(cgroup, "", tail, path);
    return write_text(path, "+memory +pids +cpu");
}

bool isolate_cgroup_open(struct isolate_cgroup *cgroup, const char *instance, char *why,
                         size_t why_bytes)
{
    int code;

    snprintf(cgroup->instance, sizeof(cgroup->instance), "%s", instance);
    if (open_v2(cgroup) || open_v1(cgroup))
        return true;
    code = errno;
    cgroup->version = ISOLATE_CGROUP_NONE;
    snprintf(why, why_bytes, "no usable control groups: %s", strerror(code));
    return false;
}

static bool enter_group(const struct isolate_cgroup *cgroup, const char *controller, uint32_t slot)
{
    char path[ISOLATE_CGROUP_PATH_BYTES];

    slot_path(cgroup, controller, slot, path, "%s", "");
    if (!make_folder(path))
        return false;
    slot_path(cgroup, controller, slot, path, "/cgroup.procs");
    return write_text(path, "0");
}

bool isolate_cgroup_enter(struct isolate_cgroup *cgroup, uint32_t slot, uint32_t pids_max)
{
    char path[ISOLATE_CGROUP_PATH_BYTES];
    char text[16];

    if (cgroup->version == ISOLATE_CGROUP_V2) {
        if (!enter_group(cgroup, "", slot))
            return false;
    } else {
        /* a real-time process may not enter a cpu group; its priority is inherited then */
        (void)enter_group(cgroup, "cpu", slot);
        if (!enter_group(cgroup, "memory", slot) || !enter_group(cgroup, "pids", slot))
            return false;
    }
    slot_path(cgroup, "pids", slot, path, "/pids.max");
    snprintf(text, sizeof(text), "%" PRIu32, pids_max);
    return write_text(path, text);
}

int isolate_cgroup_memory_file(struct isolate_cgroup *cgroup, uint32_t slot)
{
    char path[ISOLATE_CGROUP_PATH_BYTES];

    slot_path(cgroup, "memory", slot, path, "/%s",
              cgroup->version == ISOLATE_CGROUP_V2 ? "memory.peak" : "memory.max_usage_in_bytes");
    return open(path, O_RDONLY | O_CLOEXEC);
}

bool isolate_cgroup_limit(struct isolate_cgroup *cgroup, uint32_t slot, uint32_t memory_mb)
{
    uint64_t shares = (uint64_t)memory_mb * CPU_SHARES_PER_CPU / MEMORY_MB_PER_CPU;
    char path[ISOLATE_CGROUP_PATH_BYTES];
    char bytes[32];
    char text[32];

    shares = shares < 64 ? 64 : shares;
    snprintf(bytes, sizeof(bytes), "%" PRIu64, (uint64_t)memory_mb << 20);
    if (cgroup->version == ISOLATE_CGROUP_V2) {
        snprintf(text, sizeof(text), "%" PRIu64, shares * 100 / CPU_SHARES_PER_CPU + 1);
        slot_path(cgroup, "", slot, path, "/cpu.weight");
        (void)write_text(path, text); /* a share, not a limit: its absence isolates no less */
        slot_path(cgroup, "", slot, path, "/memory.swap.max");
        (void)write_text(path, "0"); /* absent where the kernel has no swap accounting */
        slot_path(cgroup, "", slot, path, "/memory.max");
        return write_text(path, bytes);
    }
    snprintf(text, sizeof(text), "%" PRIu64, shares);
    slot_path(cgroup, "cpu", slot, path, "/cpu.shares");
    (void)write_text(path, text);
    slot_path(cgroup, "memory", slot, path, "/memory.limit_in_bytes");
    if (!write_text(path, bytes))
        return false;
    slot_path(cgroup, "memory", slot, path, "/memory.memsw.limit_in_bytes");
    (void)write_text(path, bytes);
    return true;
}

void isolate_cgroup_usage(struct isolate_cgroup *cgroup, uint32_t slot,
                          struct isolate_cgroup_usage *usage)
{
    bool is_v2 = cgroup->version == ISOLATE_CGROUP_V2;
    char path[ISOLATE_CGROUP_PATH_BYTES];
    char text[512];
    const char *kills;

    *usage = (struct isolate_cgroup_usage){0};
    slot_path(cgroup, "memory", slot, path, "/%s",
              is_v2 ? "memory.peak" : "memory.max_usage_in_bytes");
    if (read_text(path, text, sizeof(text)))
        usage->memory_bytes_max = strtoull(text, NULL, 10);
    slot_path(cgroup, "memory", slot, path, "/%s", is_v2 ? "memory.events" : "memory.oom_control");
    if (read_text(path, text, sizeof(text)) && (kills = strstr(text, "oom_kill ")) != NULL)
        usage->out_of_memory = strtoull(kills + strlen("oom_kill "), NULL, 10) > 0;
}

void isolate_cgroup_close(struct isolate_cgroup *cgroup)
{
    char path[ISOLATE_CGROUP_PATH_BYTES];
    char tail[128];

    snprintf(tail, sizeof(tail), "/%s", cgroup->instance);
    for (size_t i = 0; i < (cgroup->version == ISOLATE_CGROUP_V1 ? V1_CONTROLLER_COUNT : 1); i++) {
        path_of(cgroup, v1_controllers[i], tail, path);
        remove_all_stale(path);
        (void)rmdir(path); /* what is busy still is removed by our successor */
    }
}

bool isolate_cgroup_remove(struct isolate_cgroup *cgroup, uint32_t slot)
{
    char path[ISOLATE_CGROUP_PATH_BYTES];
    bool is_gone = true;

    if (cgroup->version == ISOLATE_CGROUP_V2) {
        slot_path(cgroup, "", slot, path, "%s", "");
        return rmdir(path) == 0 || errno == ENOENT;
    }
    for (size_t i = 0; i < V1_CONTROLLER_COUNT; i++) {
        slot_path(cgroup, v1_controllers[i], slot, path, "%s", "");
        if (rmdir(path) != 0 && errno != ENOENT)
            is_gone = false;
    }
    return is_gone;
}
