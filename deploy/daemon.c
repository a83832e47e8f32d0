#include "deploy/daemon.h"

#include "proto/base/buffer.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PATH_BYTES 768
#define POLL_MS 10

static void path_of(const struct daemon *daemon, const char *file, char path[PATH_BYTES])
{
    (void)snprintf(path, PATH_BYTES, "%s/%s", daemon->folder, file);
}

/* Does process `pid` run with this daemon's configuration? */
static bool is_ours(const struct daemon *daemon, pid_t pid)
{
    char path[64];
    char wanted[PATH_BYTES];
    char command[4096];
    bool is_found = false;
    int fd;

    (void)snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
    path_of(daemon, "daemon.conf", wanted);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t size = read(fd, command, sizeof(command) - 1);

    (void)close(fd);
    command[size > 0 ? size : 0] = '\0';
    for (ssize_t i = 0; i < size && !is_found; i += (ssize_t)strlen(command + i) + 1)
        is_found = strcmp(command + i, wanted) == 0;
    return is_found;
}

pid_t daemon_pid(const struct daemon *daemon)
{
    char path[PATH_BYTES];
    int pid = 0;
    FILE *file;

    path_of(daemon, "pid", path);
    file = fopen(path, "re");
    if (file == NULL)
        return 0;
    if (fscanf(file, "%d", &pid) != 1)
        pid = 0;
    (void)fclose(file);
    return pid > 0 && is_ours(daemon, pid) ? pid : 0;
}

bool daemon_is_paused(const struct daemon *daemon)
{
    char path[64];
    char state = '?';
    pid_t pid = daemon_pid(daemon);
    FILE *file;

    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    file = pid != 0 ? fopen(path, "re") : NULL;
    if (file == NULL)
        return false;
    /* "PID (NAME) STATE ...": our names hold no parenthesis. */
    if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
        state = '?';
    (void)fclose(file);
    return state == 'T';
}

/* The program beside the one that runs now. */
static enum error program_path(const struct daemon *daemon, char path[PATH_BYTES])
{
    char self[PATH_MAX];
    ssize_t size = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (size <= 0)
        return ERR_IO;
    self[size] = '\0';
    if (snprintf(path, PATH_BYTES, "%s/%s", dirname(self),
                 daemon->is_controller ? "skein-controller" : "skein-node") >= PATH_BYTES)
        return ERR_TOO_LARGE;
    return access(path, X_OK) == 0 ? OK : ERR_NOT_FOUND;
}

/* In the child: write the process id, become the daemon. Never returns. `told` closes when it has
 * become it; a byte there first says that it could not. */
static void become(const struct daemon *daemon, const char *program, int pid_file, int told)
{
    char conf[PATH_BYTES];
    char launch[PATH_BYTES];
    char log[PATH_BYTES];
    char pid[16];
    int size = snprintf(pid, sizeof(pid), "%-10d\n", (int)getpid());
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int out;

    path_of(daemon, "daemon.conf", conf);
    path_of(daemon, "launch", launch);
    path_of(daemon, "log", log);
    out = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (setsid() >= 0 && null >= 0 && out >= 0 && pwrite(pid_file, pid, (size_t)size, 0) == size &&
        dup2(null, 0) == 0 && dup2(out, 1) == 1 && dup2(out, 2) == 2 &&
        close_range(3, ~0u, CLOSE_RANGE_CLOEXEC) == 0) {
        /* Who it is stands in its file; what the caller's environment says is about something
         * else. */
        (void)unsetenv("SKEIN_ID");
        (void)unsetenv("SKEIN_DATA");
        (void)unsetenv("SKEIN_CLUSTER");
        if (access(launch, X_OK) == 0)
            (void)execl(launch, launch, program, "--config", conf, (char *)NULL);
        (void)execl(program, program, "--config", conf, (char *)NULL);
    }
    (void)!write(told, "", 1);
    _exit(127);
}

/* Forked twice: the daemon is nobody's child, so nobody has to reap it. */
static enum error spawn(const struct daemon *daemon, const char *program, int pid_file)
{
    enum error rc = OK;
    int status = 1;
    int told[2];
    char byte;

    if (pipe2(told, O_CLOEXEC) < 0)
        return ERR_IO;
    pid_t child = fork();

    if (child == 0) {
        pid_t grandchild = fork();

        if (grandchild == 0)
            become(daemon, program, pid_file, told[1]);
        _exit(grandchild > 0 ? 0 : 1);
    }
    (void)close(told[1]);
    if (child > 0)
        (void)waitpid(child, &status, 0);
    if (status != 0 || read(told[0], &byte, 1) != 0)
        rc = ERR_IO;
    (void)close(told[0]);
    return rc;
}

/* The lock on the pid file is held until the new process has its own name: until then nobody can
 * tell that it runs, and a second one, started meanwhile, would put its id in the file and end. */
enum error daemon_start(const struct daemon *daemon)
{
    char program[PATH_BYTES];
    char path[PATH_BYTES];
    enum error rc = program_path(daemon, program);
    int pid_file;

    if (rc != OK)
        return rc;
    path_of(daemon, "pid", path);
    pid_file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (pid_file < 0)
        return ERR_IO;
    if (flock(pid_file, LOCK_EX) < 0)
        rc = ERR_IO;
    else if (daemon_pid(daemon) == 0)
        rc = spawn(daemon, program, pid_file);
    (void)close(pid_file);
    return rc;
}

enum error daemon_signal(const struct daemon *daemon, int signal)
{
    pid_t pid = daemon_pid(daemon);

    if (pid == 0)
        return ERR_NOT_FOUND;
    return kill(pid, signal) == 0 ? OK : errno == ESRCH ? ERR_NOT_FOUND : ERR_DENIED;
}

void daemon_last_words(const struct daemon *daemon, char *words, size_t bytes)
{
    char path[PATH_BYTES];
    ssize_t size = 0;
    int fd;

    path_of(daemon, "log", path);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        (void)lseek(fd, -(off_t)(bytes - 1), SEEK_END); /* a shorter file: from its start */
        size = read(fd, words, bytes - 1);
        (void)close(fd);
    }
    while (size > 0 && words[size - 1] == '\n')
        size--;
    words[size > 0 ? size : 0] = '\0';

    const char *line = strrchr(words, '\n');

    if (line != NULL)
        memmove(words, line + 1, strlen(line));
}

enum error daemon_wait(const struct daemon *daemon, unsigned timeout_ms)
{
    const struct timespec pause = {.tv_nsec = POLL_MS * 1000000L};

    for (unsigned waited = 0; daemon_pid(daemon) != 0; waited += POLL_MS) {
        if (waited >= timeout_ms)
            return ERR_TIMEOUT;
        (void)nanosleep(&pause, NULL);
    }
    return OK;
}
