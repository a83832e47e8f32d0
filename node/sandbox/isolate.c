#include "node/sandbox/isolate.h"

#include "node/sandbox/isolate_filter.h"
#include "node/sandbox/isolate_root.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define LISTEN_BACKLOG 64
#define PROBE_SLOT LAUNCHER_SANDBOXES_MAX
/* Address space an interpreter maps without using it. */
#define ADDRESS_SPACE_SLACK_MB 1024u

static const char *const tier_names[] = {"root", "user namespaces", "Landlock", "limits"};

static bool fail(struct isolate_failure *failure, const char *step)
{
    *failure = (struct isolate_failure){step, errno};
    return false;
}

static bool has_namespaces(const struct isolate *isolate)
{
    return isolate->tier <= LAUNCHER_TIER_USER;
}

/* ---- the launcher's side ------------------------------------------------------------------- */

static bool write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool is_written;

    if (fd < 0)
        return false;
    is_written = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    close(fd);
    return is_written;
}

/* A new user namespace in which we keep our ids. */
static bool enter_user_namespace(uid_t uid, gid_t gid, int other_namespaces)
{
    char map[64];

    if (unshare(CLONE_NEWUSER | other_namespaces) != 0)
        return false;
    if (!write_file("/proc/self/setgroups", "deny"))
        return false;
    snprintf(map, sizeof(map), "%u %u 1", uid, uid);
    if (!write_file("/proc/self/uid_map", map))
        return false;
    snprintf(map, sizeof(map), "%u %u 1", gid, gid);
    return write_file("/proc/self/gid_map", map);
}

static void relay_exit(pid_t child) __attribute__((noreturn));
static void relay_exit(pid_t child)
{
    int status = 0;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0); /* else the child sees the node's end itself */
    close_range(0, ~0u, 0);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

/* Go on as the first process of a new pid namespace: when it dies, however, the kernel kills
 * everything it started. The caller's process stays behind and waits. */
static bool become_first_process(struct isolate_failure *failure)
{
    pid_t child = fork();

    if (child < 0)
        return fail(failure, "fork of the first process");
    if (child > 0)
        relay_exit(child);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
        return fail(failure, "death signal");
    return true;
}

static bool enter_namespaces(struct isolate *isolate, struct isolate_failure *failure)
{
    int namespaces = CLONE_NEWNS | CLONE_NEWPID;

    if (isolate->tier == LAUNCHER_TIER_FULL) {
        if (unshare(namespaces) != 0)
            return fail(failure, "new mount and pid namespaces");
    } else if (!enter_user_namespace(isolate->uid, isolate->gid, namespaces)) {
        return fail(failure, "new user namespace");
    }
    if (!become_first_process(failure))
        return false;
    if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) != 0)
        return fail(failure, "own mounts");
    if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) != 0)
        return fail(failure, "own /proc");
    if (!isolate_root_build(isolate->root, failure))
        return false;
    isolate->own_pid_namespace = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
    isolate->own_mount_namespace = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    if (isolate->own_pid_namespace < 0 || isolate->own_mount_namespace < 0)
        return fail(failure, "own namespaces");
    return true;
}

static bool enter_tier(struct isolate *isolate, enum launcher_tier tier, const char *folder,
                       struct isolate_failure *failure)
{
    isolate->tier = tier;
    isolate->uid = geteuid();
    isolate->gid = getegid();
    snprintf(isolate->root, sizeof(isolate->root), "%s", folder);
    if (tier == LAUNCHER_TIER_FULL && isolate->uid != 0) {
        errno = EPERM;
        return fail(failure, "not root");
    }
    if (tier != LAUNCHER_TIER_FULL)
        isolate->cgroup.version = ISOLATE_CGROUP_NONE;
    if (tier == LAUNCHER_TIER_LANDLOCK && isolate_filter_landlock_version() == 0) {
        errno = ENOSYS;
        return fail(failure, "no Landlock in this kernel");
    }
    if (tier != LAUNCHER_TIER_LIMITS &&
        !isolate_filter_build(tier == LAUNCHER_TIER_LANDLOCK, &isolate->filter))
        return fail(failure, "system-call filter");
    return !has_namespaces(isolate) || enter_namespaces(isolate, failure);
}

/* In a process of its own: the whole sequence up to where foreign code would start. */
static void probe_child(struct isolate *isolate, enum launcher_tier tier, const char *folder,
                        int report) __attribute__((noreturn));
static void probe_child(struct isolate *isolate, enum launcher_tier tier, const char *folder,
                        int report)
{
    struct isolate_failure failure = {NULL, 0};
    struct isolate_channels channels;
    bool is_entered = enter_tier(isolate, tier, folder, &failure);
    int status = 1;
    pid_t child;

    if (is_entered && !isolate_before_fork(isolate))
        is_entered = fail(&failure, "new pid namespace");
    if (is_entered) {
        child = fork();
        if (child == 0) {
            if (isolate_enter(isolate, PROBE_SLOT, &channels, &failure) &&
                isolate_seal(isolate, "/usr", 0, 0, &failure))
                _exit(0);
        } else if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
            (void)isolate_cgroup_remove(&isolate->cgroup, PROBE_SLOT);
            _exit(1); /* the grandchild has reported */
        } else {
            if (isolate->cgroup.version != ISOLATE_CGROUP_NONE)
                (void)isolate_cgroup_remove(&isolate->cgroup, PROBE_SLOT);
            _exit(0);
        }
    }
    dprintf(report, "%s: %s", failure.step, strerror(failure.code));
    _exit(1);
}

static bool probe(const struct isolate *isolate, enum launcher_tier tier, const char *folder,
                  char *why, size_t why_bytes)
{
    struct isolate copy = *isolate;
    int report[2];
    int status = 1;
    ssize_t size;
    pid_t child;

    why[0] = '\0';
    if (pipe2(report, O_CLOEXEC) != 0)
        return false;
    child = fork();
    if (child == 0)
        probe_child(&copy, tier, folder, report[1]);
    close(report[1]);
    size = read(report[0], why, why_bytes - 1);
    why[size > 0 ? size : 0] = '\0';
    close(report[0]);
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

enum launcher_tier isolate_open(struct isolate *isolate, const char *folder, const char *instance,
                                uint32_t uid_base, enum launcher_tier best,
                                enum launcher_tier worst, char *missing, size_t missing_bytes)
{
    struct isolate_failure failure;
    size_t used = 0;
    char why[160];

    *isolate = (struct isolate){.uid_base = uid_base,
                                .own_pid_namespace = -1,
                                .own_mount_namespace = -1,
                                .address_slack_mb = ADDRESS_SPACE_SLACK_MB};
    missing[0] = '\0';
    if (best == LAUNCHER_TIER_FULL && geteuid() == 0 &&
        !isolate_cgroup_open(&isolate->cgroup, instance, why, sizeof(why)))
        used += (size_t)snprintf(missing, missing_bytes, "%s; ", why);
    for (enum launcher_tier tier = best; tier <= worst; tier++) {
        if (probe(isolate, tier, folder, why, sizeof(why))) {
            if (enter_tier(isolate, tier, folder, &failure))
                return tier;
            return LAUNCHER_TIER_NONE; /* it worked a moment ago; the node will start us again */
        }
        if (used < missing_bytes)
            used += (size_t)snprintf(missing + used, missing_bytes - used, "no %s (%s); ",
                                     tier_names[tier], why);
    }
    return LAUNCHER_TIER_NONE;
}

bool isolate_before_fork(struct isolate *isolate)
{
    return !has_namespaces(isolate) || unshare(CLONE_NEWPID) == 0;
}

void isolate_after_fork(struct isolate *isolate)
{
    if (has_namespaces(isolate) && setns(isolate->own_pid_namespace, CLONE_NEWPID) != 0)
        _exit(1); /* the next sandbox would share this one's namespace */
}

/* ---- the child's side ---------------------------------------------------------------------- */

static bool raise_loopback(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = {.ifr_name = "lo"};
    bool is_up;

    if (fd < 0)
        return false;
    request.ifr_flags = IFF_UP | IFF_RUNNING;
    is_up = ioctl(fd, SIOCSIFFLAGS, &request) == 0;
    close(fd);
    return is_up;
}

/* Port 0 = any; `bound` gets which. -1 on failure. */
static int listen_on(uint16_t port, uint16_t *bound)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -1;
    if (bind(fd, (struct sockaddr *)&address, size) != 0 || listen(fd, LISTEN_BACKLOG) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
        close(fd);
        return -1;
    }
    *bound = ntohs(address.sin_port);
    return fd;
}

static bool open_channels(const struct isolate *isolate, struct isolate_channels *channels,
                          struct isolate_failure *failure)
{
    uint16_t port;

    if (!has_namespaces(isolate)) {
        channels->runtime_listener = listen_on(0, &channels->runtime_port);
        return channels->runtime_listener >= 0 || fail(failure, "runtime listener");
    }
    channels->runtime_listener = listen_on(LAUNCHER_RUNTIME_PORT, &channels->runtime_port);
    channels->aws_listener = listen_on(LAUNCHER_AWS_PORT, &port);
    return (channels->runtime_listener >= 0 && channels->aws_listener >= 0) ||
           fail(failure, "listeners");
}

static bool drop_capabilities(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[2] = {{0}, {0}};

    return syscall(SYS_capset, &header, none) == 0;
}

/* The bounding set goes first: after the change of uid the call would fail. */
static bool drop_privileges(const struct isolate *isolate, uint32_t slot,
                            struct isolate_failure *failure)
{
    uid_t uid = isolate->uid_base + slot;
    bool is_privileged = isolate->uid == 0 || isolate->tier == LAUNCHER_TIER_USER;

    if (!is_privileged)
        return true;
    if (isolate->tier == LAUNCHER_TIER_USER &&
        !enter_user_namespace(isolate->uid, isolate->gid, 0)) /* so that processes are counted */
        return fail(failure, "nested user namespace");
    for (int capability = 0; prctl(PR_CAPBSET_READ, capability, 0, 0, 0) >= 0; capability++)
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0)
            return fail(failure, "capability bounding set");
    if (isolate->tier == LAUNCHER_TIER_FULL &&
        (setgroups(0, NULL) != 0 || setresgid(uid, uid, uid) != 0 || setresuid(uid, uid, uid) != 0))
        return fail(failure, "own uid");
    if (!drop_capabilities())
        return fail(failure, "capabilities");
    return true;
}

static bool limit(int resource, rlim_t value)
{
    struct rlimit limits = {value, value};

    return setrlimit((__rlimit_resource_t)resource, &limits) == 0;
}

static bool limit_resources(const struct isolate *isolate)
{
    if (!limit(RLIMIT_NOFILE, ISOLATE_FILES_MAX) || !limit(RLIMIT_CORE, 0) ||
        !limit(RLIMIT_MEMLOCK, 65536))
        return false;
    /* counted per uid and user namespace: without namespaces it would count the user's own */
    return !has_namespaces(isolate) || limit(RLIMIT_NPROC, ISOLATE_PIDS_MAX);
}

static bool make_private_folder(const struct isolate *isolate, uint32_t slot,
                                struct isolate_failure *failure)
{
    char path[ISOLATE_PATH_BYTES + 32];

    snprintf(path, sizeof(path), "%s/tmp-%u", isolate->root, slot);
    if ((mkdir(path, 0700) != 0 && errno != EEXIST) || setenv("TMPDIR", path, 1) != 0)
        return fail(failure, "private folder");
    return true;
}

static bool enter_namespaces_of_child(struct isolate *isolate, uint32_t slot,
                                      struct isolate_channels *channels,
                                      struct isolate_failure *failure)
{
    if (isolate->cgroup.version != ISOLATE_CGROUP_NONE) {
        if (!isolate_cgroup_enter(&isolate->cgroup, slot, ISOLATE_PIDS_MAX))
            return fail(failure, "control groups");
        channels->memory_file = isolate_cgroup_memory_file(&isolate->cgroup, slot);
    }
    if (unshare(CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET) != 0)
        return fail(failure, "new namespaces");
    if (sethostname("sandbox", strlen("sandbox")) != 0)
        return fail(failure, "host name");
    if (!raise_loopback())
        return fail(failure, "loopback");
    return true;
}

bool isolate_enter(struct isolate *isolate, uint32_t slot, struct isolate_channels *channels,
                   struct isolate_failure *failure)
{
    *channels = (struct isolate_channels){-1, -1, -1, 0};
    if (setsid() < 0)
        return fail(failure, "own session");
    umask(022);
    if (has_namespaces(isolate) && !enter_namespaces_of_child(isolate, slot, channels, failure))
        return false;
    if (!open_channels(isolate, channels, failure))
        return false;
    if (has_namespaces(isolate) && !isolate_root_enter(isolate->root, failure))
        return false;
    close(isolate->own_pid_namespace); /* the launcher's; nothing may lead back */
    close(isolate->own_mount_namespace);
    if (channels->memory_file < 0)
        channels->memory_file = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    if (!has_namespaces(isolate) && !make_private_folder(isolate, slot, failure))
        return false;
    if (!drop_privileges(isolate, slot, failure))
        return false;
    if (!limit_resources(isolate))
        return fail(failure, "resource limits");
    /* dumpable: its own files in /proc are its own again; the signal was cleared with the uid */
    if (prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) != 0 || prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
        return fail(failure, "process settings");
    return true;
}

static bool restrict_files(const char *task_root, uint16_t runtime_port, uint16_t aws_port)
{
    const char *const readable[] = {"/usr",
                                    "/bin",
                                    "/lib",
                                    "/lib64",
                                    "/proc",
                                    "/etc/ld.so.cache",
                                    "/etc/ssl",
                                    "/etc/alternatives",
                                    "/etc/mime.types",
                                    "/etc/localtime",
                                    "/etc/passwd",
                                    "/etc/group",
                                    "/etc/hosts",
                                    "/etc/nsswitch.conf",
                                    task_root};
    struct isolate_filter_rules rules = {.readable = readable,
                                         .readable_count = sizeof(readable) / sizeof(readable[0]),
                                         .writable = getenv("TMPDIR"),
                                         .ports = {runtime_port, aws_port}};

    return isolate_filter_landlock(&rules);
}

bool isolate_seal(struct isolate *isolate, const char *task_root, uint16_t runtime_port,
                  uint16_t aws_port, struct isolate_failure *failure)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return fail(failure, "no_new_privs");
    if (isolate->tier == LAUNCHER_TIER_LANDLOCK &&
        !restrict_files(task_root, runtime_port, aws_port))
        return fail(failure, "Landlock");
    if (isolate->tier != LAUNCHER_TIER_LIMITS && !isolate_filter_install(&isolate->filter))
        return fail(failure, "system-call filter");
    return true;
}

/* ---- the launcher's side, later ------------------------------------------------------------ */

static bool mount_code(int child_namespace, int own_namespace, int code, uint32_t ephemeral_mb,
                       struct isolate_failure *failure)
{
    char size[32];
    bool is_mounted;

    if (setns(child_namespace, CLONE_NEWNS) != 0)
        return fail(failure, "mount namespace of the sandbox");
    is_mounted = move_mount(code, "", AT_FDCWD, "/var/task", MOVE_MOUNT_F_EMPTY_PATH) == 0 ||
                 fail(failure, "mount of the code folder");
    snprintf(size, sizeof(size), "size=%um", ephemeral_mb);
    if (is_mounted && ephemeral_mb != 0 && ephemeral_mb != ISOLATE_EPHEMERAL_MB &&
        mount(NULL, "/tmp", NULL, MS_REMOUNT | MS_NOSUID | MS_NODEV, size) != 0)
        is_mounted = fail(failure, "size of /tmp");
    if (setns(own_namespace, CLONE_NEWNS) != 0)
        _exit(1); /* we would see the machine through the sandbox's eyes */
    return is_mounted;
}

static bool attach_code(struct isolate *isolate, pid_t child, const char *code_folder,
                        uint32_t ephemeral_mb, struct isolate_failure *failure)
{
    int code = open_tree(AT_FDCWD, code_folder, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
    char path[64];
    int namespace;
    bool is_mounted;

    if (code < 0)
        return fail(failure, "code folder");
    snprintf(path, sizeof(path), "/proc/%d/ns/mnt", child);
    namespace = open(path, O_RDONLY | O_CLOEXEC);
    if (namespace < 0) {
        close(code);
        return fail(failure, "namespaces of the sandbox");
    }
    is_mounted =
        isolate_root_protect(code, false)
            ? mount_code(namespace, isolate->own_mount_namespace, code, ephemeral_mb, failure)
            : fail(failure, "read-only code folder");
    close(namespace);
    close(code);
    return is_mounted;
}

bool isolate_attach(struct isolate *isolate, uint32_t slot, pid_t child, const char *code_folder,
                    uint32_t memory_mb, uint32_t ephemeral_mb, struct isolate_failure *failure)
{
    rlim_t bytes = ((rlim_t)memory_mb + isolate->address_slack_mb) << 20;
    struct rlimit limits = {bytes, bytes};

    if (isolate->cgroup.version != ISOLATE_CGROUP_NONE) {
        if (!isolate_cgroup_limit(&isolate->cgroup, slot, memory_mb))
            return fail(failure, "memory limit");
    } else if (prlimit(child, RLIMIT_AS, &limits, NULL) != 0) {
        return fail(failure, "address space limit");
    }
    return !has_namespaces(isolate) ||
           attach_code(isolate, child, code_folder, ephemeral_mb, failure);
}
