/* The two kernel filters of a sandbox: system calls (seccomp) and, where there are no namespaces,
 * files and ports (Landlock). */

#ifndef NODE_SANDBOX_ISOLATE_FILTER_H
#define NODE_SANDBOX_ISOLATE_FILTER_H

#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Compile the system-call filter once; `program` lives as long as the process. With
 * `hold_session` a process cannot leave its process group (tiers without a pid namespace, where
 * the group is how it is found again). False with errno set. */
bool isolate_filter_build(bool hold_session, struct sock_fprog *program);

/* Needs no_new_privs. */
bool isolate_filter_install(const struct sock_fprog *program);

/* 0 = the kernel has no Landlock. */
int isolate_filter_landlock_version(void);

struct isolate_filter_rules {
    const char *const *readable; /* readable and executable; those absent are skipped */
    size_t readable_count;
    const char *writable; /* one private folder */
    uint16_t ports[2];    /* the only TCP ports that may be connected to (kernel 6.7 on) */
};

/* Restrict this process and all it starts. Needs no_new_privs. */
bool isolate_filter_landlock(const struct isolate_filter_rules *rules);

#endif
