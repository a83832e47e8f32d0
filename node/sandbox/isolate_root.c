#include "node/sandbox/isolate_root.h"

#include "node/sandbox/isolate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PATH_BYTES (ISOLATE_PATH_BYTES + 64)

static const char *const folders[] = {"/etc",      "/dev",         "/proc", "/tmp", "/var",
                                      "/var/task", "/var/runtime", "/opt",  "/root"};

/* In today's distributions these are links into /usr; where they are folders they are mounted. */
static const char *const usr_links[] = {"/bin", "/sbin", "/lib", "/lib32", "/lib64"};

static const char *const etc_entries[] = {"/etc/ld.so.cache", "/etc/ssl", "/etc/alternatives",
                                          "/etc/mime.types", "/etc/localtime"};

static const char *const devices[] = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random",
                                      "/dev/urandom"};

static const char *const links[][2] = {{"/proc/self/fd", "/dev/fd"},
                                       {"/proc/self/fd/0", "/dev/stdin"},
                                       {"/proc/self/fd/1", "/dev/stdout"},
                                       {"/proc/self/fd/2", "/dev/stderr"}};

static const char *const files[][2] = {
    {"/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nsandbox:x:65534:65534::/tmp:/bin/sh\n"},
    {"/etc/group", "root:x:0:\nsandbox:x:65534:\n"},
    {"/etc/hosts", "127.0.0.1 localhost\n"},
    {"/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"},
    {"/etc/resolv.conf", ""}};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static bool fail(struct isolate_failure *failure, const char *step)
{
    *failure = (struct isolate_failure){step, errno};
    return false;
}

bool isolate_root_protect(int fd, bool has_devices)
{
    struct mount_attr attributes = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID |
                                                (has_devices ? 0 : MOUNT_ATTR_NODEV)};

    return mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes, sizeof(attributes)) ==
           0;
}

/* A read-only view of `source` at `target`, which exists. */
static bool mount_view(const char *source, const char *target, bool has_devices)
{
    int fd = open_tree(AT_FDCWD, source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
    bool is_mounted;

    if (fd < 0)
        return false;
    is_mounted = isolate_root_protect(fd, has_devices) &&
                 move_mount(fd, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) == 0;
    close(fd);
    return is_mounted;
}

static bool make_file(const char *path, const char *content)
{
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0644);
    bool is_written;

    if (fd < 0)
        return false;
    is_written = write(fd, content, strlen(content)) == (ssize_t)strlen(content);
    close(fd);
    return is_written;
}

/* The same kind of entry as on the machine, if it is there: a link, or a view. */
static bool mirror(const char *folder, const char *path, bool follow)
{
    char target[PATH_BYTES];
    char link[256];
    struct stat status;
    ssize_t size;

    snprintf(target, sizeof(target), "%s%s", folder, path);
    size = follow ? -1 : readlink(path, link, sizeof(link) - 1);
    if (size > 0) {
        link[size] = '\0';
        return symlink(link, target) == 0;
    }
    if (stat(path, &status) != 0)
        return errno == ENOENT;
    if (S_ISDIR(status.st_mode) ? mkdir(target, 0755) != 0 : !make_file(target, ""))
        return false;
    return mount_view(path, target, S_ISCHR(status.st_mode));
}

static bool fill(const char *folder, struct isolate_failure *failure)
{
    char path[PATH_BYTES];

    for (size_t i = 0; i < COUNT(folders); i++) {
        snprintf(path, sizeof(path), "%s%s", folder, folders[i]);
        if (mkdir(path, 0755) != 0)
            return fail(failure, "folder of the root");
    }
    if (!mirror(folder, "/usr", true))
        return fail(failure, "view of /usr");
    for (size_t i = 0; i < COUNT(usr_links); i++)
        if (!mirror(folder, usr_links[i], false))
            return fail(failure, "links into /usr");
    for (size_t i = 0; i < COUNT(etc_entries); i++)
        if (!mirror(folder, etc_entries[i], true))
            return fail(failure, "views of /etc");
    for (size_t i = 0; i < COUNT(devices); i++)
        if (!mirror(folder, devices[i], true))
            return fail(failure, "devices");
    for (size_t i = 0; i < COUNT(links); i++) {
        snprintf(path, sizeof(path), "%s%s", folder, links[i][1]);
        if (symlink(links[i][0], path) != 0)
            return fail(failure, "links of /dev");
    }
    for (size_t i = 0; i < COUNT(files); i++) {
        snprintf(path, sizeof(path), "%s%s", folder, files[i][0]);
        if (!make_file(path, files[i][1]))
            return fail(failure, "files of /etc");
    }
    return true;
}

bool isolate_root_build(const char *folder, struct isolate_failure *failure)
{
    if (mount("tmpfs", folder, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=755") != 0)
        return fail(failure, "tmpfs for the root");
    if (!fill(folder, failure))
        return false;
    if (mount(NULL, folder, NULL, MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV,
              "size=1m,mode=755") != 0)
        return fail(failure, "read-only root");
    return true;
}

static bool mount_own(const char *folder, const char *name, const char *type, unsigned long flags,
                      const char *options)
{
    char path[PATH_BYTES];

    snprintf(path, sizeof(path), "%s%s", folder, name);
    return mount(type, path, type, MS_NOSUID | MS_NODEV | flags, options) == 0;
}

bool isolate_root_enter(const char *folder, struct isolate_failure *failure)
{
    char size[64];

    snprintf(size, sizeof(size), "size=%dm,mode=1777", ISOLATE_EPHEMERAL_MB);
    if (!mount_own(folder, "/tmp", "tmpfs", 0, size))
        return fail(failure, "private /tmp");
    if (!mount_own(folder, "/proc", "proc", MS_NOEXEC, NULL))
        return fail(failure, "private /proc");
    if (chdir(folder) != 0 || syscall(SYS_pivot_root, ".", ".") != 0)
        return fail(failure, "pivot_root");
    if (umount2(".", MNT_DETACH) != 0 || chdir("/") != 0)
        return fail(failure, "leaving the old root");
    return true;
}
