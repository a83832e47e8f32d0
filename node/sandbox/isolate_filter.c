#include "node/sandbox/isolate_filter.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What Landlock learned after Debian 12's headers. */

struct ruleset_attributes {
    uint64_t handled_access_fs;
    uint64_t handled_access_net; /* from version 4 on */
    uint64_t scoped;             /* from version 6 on */
};

struct port_attributes {
    uint64_t allowed_access;
    uint64_t port;
};

#define RULE_NET_PORT 2
#define ACCESS_NET_CONNECT_TCP (1ull << 1)
#define SCOPES 3ull /* abstract sockets and signals */
#define VERSION_WITH_PORTS 4
#define VERSION_WITH_SCOPES 6

/* Calls that change the machine, look into other processes, or open large kernel surfaces that a
 * function has no use for. They fail with EPERM. */
static const char *const denied_calls[] = {"acct",
                                           "add_key",
                                           "adjtimex",
                                           "bpf",
                                           "chroot",
                                           "clock_adjtime",
                                           "clock_settime",
                                           "delete_module",
                                           "fanotify_init",
                                           "finit_module",
                                           "fsconfig",
                                           "fsmount",
                                           "fsopen",
                                           "fspick",
                                           "init_module",
                                           "io_uring_enter",
                                           "io_uring_register",
                                           "io_uring_setup",
                                           "ioperm",
                                           "iopl",
                                           "kcmp",
                                           "kexec_file_load",
                                           "kexec_load",
                                           "keyctl",
                                           "lookup_dcookie",
                                           "mbind",
                                           "migrate_pages",
                                           "modify_ldt",
                                           "mount",
                                           "mount_setattr",
                                           "move_mount",
                                           "move_pages",
                                           "name_to_handle_at",
                                           "nfsservctl",
                                           "open_by_handle_at",
                                           "open_tree",
                                           "perf_event_open",
                                           "personality",
                                           "pidfd_getfd",
                                           "pivot_root",
                                           "process_madvise",
                                           "process_vm_readv",
                                           "process_vm_writev",
                                           "ptrace",
                                           "quotactl",
                                           "quotactl_fd",
                                           "reboot",
                                           "request_key",
                                           "set_mempolicy",
                                           "setdomainname",
                                           "sethostname",
                                           "setns",
                                           "settimeofday",
                                           "swapoff",
                                           "swapon",
                                           "syslog",
                                           "umount2",
                                           "unshare",
                                           "userfaultfd",
                                           "vhangup"};

/* Where there is no pid namespace: a process stays in its group, by which it is found again, and
 * signals nobody else (unless Landlock sees to that). */
static const char *const session_calls[] = {"setsid", "setpgid"};
static const char *const signal_calls[] = {"kill", "tkill", "pidfd_send_signal", "rt_sigqueueinfo",
                                           "rt_tgsigqueueinfo"};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static bool deny_calls(scmp_filter_ctx filter, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int call = seccomp_syscall_resolve_name(names[i]);

        if (call != __NR_SCMP_ERROR &&
            seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), call, 0) != 0)
            return false;
    }
    return true;
}

/* Refuse a call with `code` when its first argument compares so. */
static bool deny_argument(scmp_filter_ctx filter, int call, int code, enum scmp_compare compare,
                          scmp_datum_t a, scmp_datum_t b)
{
    struct scmp_arg_cmp argument = {0, compare, a, b};

    return seccomp_rule_add_array(filter, SCMP_ACT_ERRNO((uint32_t)code), call, 1, &argument) == 0;
}

/* Only local, IPv4, IPv6 and netlink (name resolution asks it) sockets: others, AF_VSOCK above all,
 * do not stop at the network namespace. */
static bool deny_sockets(scmp_filter_ctx filter)
{
    for (scmp_datum_t family = 0; family < AF_NETLINK; family++) {
        if (family == AF_UNIX || family == AF_INET || family == AF_INET6)
            continue;
        if (!deny_argument(filter, SCMP_SYS(socket), EAFNOSUPPORT, SCMP_CMP_EQ, family, 0))
            return false;
    }
    return deny_argument(filter, SCMP_SYS(socket), EAFNOSUPPORT, SCMP_CMP_GT, AF_NETLINK, 0);
}

static bool add_rules(scmp_filter_ctx filter, bool hold_session)
{
    if (!deny_calls(filter, denied_calls, COUNT(denied_calls)) || !deny_sockets(filter))
        return false;
    if (hold_session && !deny_calls(filter, session_calls, COUNT(session_calls)))
        return false;
    if (hold_session && isolate_filter_landlock_version() < VERSION_WITH_SCOPES &&
        !deny_calls(filter, signal_calls, COUNT(signal_calls)))
        return false;
    if (!deny_argument(filter, SCMP_SYS(clone), EPERM, SCMP_CMP_MASKED_EQ, CLONE_NEWUSER,
                       CLONE_NEWUSER))
        return false;
    /* its flags are behind a pointer; ENOSYS makes libc fall back to clone */
    if (seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0) != 0)
        return false;
    /* or a function could outlive the node */
    return deny_argument(filter, SCMP_SYS(prctl), EPERM, SCMP_CMP_EQ, PR_SET_PDEATHSIG, 0);
}

static bool export_program(scmp_filter_ctx filter, struct sock_fprog *program)
{
    int fd = memfd_create("filter", MFD_CLOEXEC);
    struct stat status;
    void *code;
    bool is_read;

    if (fd < 0)
        return false;
    if (seccomp_export_bpf(filter, fd) != 0 || fstat(fd, &status) != 0 ||
        (code = malloc((size_t)status.st_size)) == NULL) {
        close(fd);
        return false;
    }
    is_read = pread(fd, code, (size_t)status.st_size, 0) == (ssize_t)status.st_size;
    close(fd);
    if (!is_read) {
        free(code);
        return false;
    }
    program->len = (unsigned short)((size_t)status.st_size / sizeof(struct sock_filter));
    program->filter = code;
    return true;
}

bool isolate_filter_build(bool hold_session, struct sock_fprog *program)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    bool is_built;

    if (filter == NULL)
        return false;
    (void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree: only faster */
    is_built = add_rules(filter, hold_session) && export_program(filter, program);
    seccomp_release(filter);
    return is_built;
}

bool isolate_filter_install(const struct sock_fprog *program)
{
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0) == 0;
}

/* ---- Landlock ----------------------------------------------------------------------------- */

#define READ_ACCESS                                                                                \
    (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define ALL_ACCESS ((LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1)
#define FILE_ACCESS                                                                                \
    (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE)

int isolate_filter_landlock_version(void)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

    return version > 0 ? (int)version : 0;
}

static bool allow_path(int ruleset, const char *path, uint64_t access)
{
    struct landlock_path_beneath_attr rule = {.allowed_access = access};
    struct stat status;
    bool is_added;

    rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
    if (rule.parent_fd < 0)
        return errno == ENOENT;
    if (fstat(rule.parent_fd, &status) == 0 && !S_ISDIR(status.st_mode))
        rule.allowed_access &= FILE_ACCESS;
    is_added = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0;
    close(rule.parent_fd);
    return is_added;
}

static bool allow_port(int ruleset, uint16_t port)
{
    struct port_attributes rule = {ACCESS_NET_CONNECT_TCP, port};

    return port == 0 || syscall(SYS_landlock_add_rule, ruleset, RULE_NET_PORT, &rule, 0) == 0;
}

static bool add_landlock_rules(int ruleset, const struct isolate_filter_rules *rules,
                               bool has_ports)
{
    static const char *const devices[] = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random",
                                          "/dev/urandom"};

    for (size_t i = 0; i < rules->readable_count; i++)
        if (!allow_path(ruleset, rules->readable[i], READ_ACCESS))
            return false;
    for (size_t i = 0; i < COUNT(devices); i++)
        if (!allow_path(ruleset, devices[i], FILE_ACCESS))
            return false;
    if (!allow_path(ruleset, rules->writable, ALL_ACCESS))
        return false;
    return !has_ports ||
           (allow_port(ruleset, rules->ports[0]) && allow_port(ruleset, rules->ports[1]));
}

bool isolate_filter_landlock(const struct isolate_filter_rules *rules)
{
    int version = isolate_filter_landlock_version();
    bool has_ports = version >= VERSION_WITH_PORTS;
    bool has_scopes = version >= VERSION_WITH_SCOPES;
    struct ruleset_attributes attributes = {ALL_ACCESS, has_ports ? ACCESS_NET_CONNECT_TCP : 0,
                                            has_scopes ? SCOPES : 0};
    size_t bytes = has_scopes  ? sizeof(attributes)
                   : has_ports ? offsetof(struct ruleset_attributes, scoped)
                               : offsetof(struct ruleset_attributes, handled_access_net);
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attributes, bytes, 0);
    bool is_restricted;

    if (ruleset < 0)
        return false;
    is_restricted = add_landlock_rules(ruleset, rules, has_ports) &&
                    syscall(SYS_landlock_restrict_self, ruleset, 0) == 0;
    close(ruleset);
    return is_restricted;
}
