/* Control groups of sandboxes, version 2 where its controllers are usable, else version 1.
 *
 * One group per sandbox slot, below /skein/<instance>. Memory, processes and CPU share are
 * limited; without control groups the caller falls back to resource limits. */

#ifndef NODE_SANDBOX_ISOLATE_CGROUP_H
#define NODE_SANDBOX_ISOLATE_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ISOLATE_CGROUP_PATH_BYTES 256

enum isolate_cgroup_version { ISOLATE_CGROUP_NONE, ISOLATE_CGROUP_V1, ISOLATE_CGROUP_V2 };

struct isolate_cgroup {
    enum isolate_cgroup_version version;
    char instance[64];
};

struct isolate_cgroup_usage {
    uint64_t memory_bytes_max; /* 0 = not known */
    bool out_of_memory;        /* the kernel killed something in the group */
};

/* Finds a usable version and removes the groups a killed predecessor left, with what runs in them.
 * False: none usable; `why` then says so. */
bool isolate_cgroup_open(struct isolate_cgroup *cgroup, const char *instance, char *why,
                         size_t why_bytes);

/* Make the slot's group and move the calling process into it. */
bool isolate_cgroup_enter(struct isolate_cgroup *cgroup, uint32_t slot, uint32_t pids_max);

/* A descriptor of the file that tells the peak memory of the slot in bytes; -1 if none. */
int isolate_cgroup_memory_file(struct isolate_cgroup *cgroup, uint32_t slot);

/* CPU follows memory as in Lambda: 1769 MB are worth one CPU, and nobody gets less than a share
 * that still starts an interpreter. */
bool isolate_cgroup_limit(struct isolate_cgroup *cgroup, uint32_t slot, uint32_t memory_mb);

void isolate_cgroup_usage(struct isolate_cgroup *cgroup, uint32_t slot,
                          struct isolate_cgroup_usage *usage);

/* Remove the instance's groups, which must be empty but for a moment. */
void isolate_cgroup_close(struct isolate_cgroup *cgroup);

/* False while something still lives in it; try again later. */
bool isolate_cgroup_remove(struct isolate_cgroup *cgroup, uint32_t slot);

#endif
