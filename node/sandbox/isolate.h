/* Keeping a process from the machine: the sequence of namespaces, mounts, credentials, limits and
 * system-call filter that a launcher puts each sandbox through.
 *
 * Runs in the launcher and its children only, never in the node: every call changes the calling
 * process. Single-threaded. Linux words stay in here and in isolate_cgroup.h.
 *
 *   launcher:  isolate_open -> (isolate_before_fork, fork, isolate_after_fork)* ; isolate_attach
 *   child:     isolate_enter, then isolate_seal right before foreign code runs */

#ifndef NODE_SANDBOX_ISOLATE_H
#define NODE_SANDBOX_ISOLATE_H

#include "node/sandbox/isolate_cgroup.h"
#include "node/sandbox/launcher_message.h"

#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define ISOLATE_PATH_BYTES 512
#define ISOLATE_PIDS_MAX 64
#define ISOLATE_FILES_MAX 1024
#define ISOLATE_EPHEMERAL_MB 512

struct isolate_failure {
    const char *step; /* static words */
    int code;         /* errno */
};

struct isolate {
    enum launcher_tier tier;
    char root[ISOLATE_PATH_BYTES]; /* the sandboxes' root file system, in this mount namespace */
    uint32_t uid_base;             /* tier FULL: a sandbox runs as uid_base + its slot */
    uid_t uid;                     /* who the launcher itself is */
    gid_t gid;
    int own_pid_namespace;
    int own_mount_namespace;
    struct isolate_cgroup cgroup;
    struct sock_fprog filter;
    uint32_t address_slack_mb; /* address space a child maps without using it */
};

/* What a child has for the node once it is isolated; -1 where there is none. */
struct isolate_channels {
    int runtime_listener;
    int aws_listener;
    int memory_file;
    uint16_t runtime_port;
};

/* Find the best tier, `best` or below, by trying it whole in a child process, and enter it: from
 * then on the caller may be another process than before (the first of a new pid namespace; the
 * original only waits for it). `folder` is an empty folder, used as a mount point; `instance` names
 * the control groups. `missing` gets words for each tier that did not work ("" = none).
 * Returns the tier; LAUNCHER_TIER_NONE when even `worst` failed. */
enum launcher_tier isolate_open(struct isolate *isolate, const char *folder, const char *instance,
                                uint32_t uid_base, enum launcher_tier best,
                                enum launcher_tier worst, char *missing, size_t missing_bytes);

/* Around each fork of a sandbox. False with errno set. */
bool isolate_before_fork(struct isolate *isolate);
void isolate_after_fork(struct isolate *isolate);

/* In the child. On failure nothing foreign may run: exit. */
bool isolate_enter(struct isolate *isolate, uint32_t slot, struct isolate_channels *channels,
                   struct isolate_failure *failure);

/* In the child, last: gives up what remains. `task_root` is the code folder as the child sees it
 * (tier LANDLOCK restricts itself to it). */
bool isolate_seal(struct isolate *isolate, const char *task_root, uint16_t runtime_port,
                  uint16_t aws_port, struct isolate_failure *failure);

/* In the launcher: put the code folder into the isolated child, and set its limits. */
bool isolate_attach(struct isolate *isolate, uint32_t slot, pid_t child, const char *code_folder,
                    uint32_t memory_mb, uint32_t ephemeral_mb, struct isolate_failure *failure);

#endif
