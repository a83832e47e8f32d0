#include "node/sandbox/launcher.h"

#include "node/sandbox/isolate.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Where the control socket is put at the start, before anything else is opened. */
#define CONTROL_FD 3

#define GROUP_RETRY_MS 20
#define COMMAND_BYTES_MAX LAUNCHER_MESSAGE_BYTES_MAX

struct child {
    uint64_t id;  /* the node's name for it */
    pid_t pid;    /* 0 = none */
    int command;  /* write end of its pipe; -1 = ordered already */
    bool is_left; /* gone, but its control group is not yet */
};

struct launcher {
    int control;
    int signals;
    struct isolate isolate;
    char missing[512];
    uint16_t runtime_port; /* in a child: where its listener is */
    int order_pipe;        /* in a child: where the order comes from */
    char text[LAUNCHER_MESSAGE_BYTES_MAX];
    char command[COMMAND_BYTES_MAX];
    struct child children[LAUNCHER_SANDBOXES_MAX];
    uint32_t slot_count; /* slots ever used: the rest of `children` is untouched memory */
    uint64_t gone_count; /* names the private folders that are being removed */
};

/* ---- messages to the node ------------------------------------------------------------------ */

static void send_message(const struct launcher *launcher, struct launcher_message *message,
                         const char *text, const int *descriptors, size_t descriptor_count)
{
    struct iovec parts[2] = {{message, sizeof(*message)}, {(char *)text, strlen(text)}};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int) * LAUNCHER_DESCRIPTORS_MAX)];
    } ancillary = {0};
    struct msghdr datagram = {.msg_iov = parts, .msg_iovlen = 2};

    message->text_bytes = (uint32_t)strlen(text);
    if (descriptor_count > 0) {
        datagram.msg_control = &ancillary;
        datagram.msg_controllen = CMSG_SPACE(sizeof(int) * descriptor_count);
        ancillary.header.cmsg_level = SOL_SOCKET;
        ancillary.header.cmsg_type = SCM_RIGHTS;
        ancillary.header.cmsg_len = CMSG_LEN(sizeof(int) * descriptor_count);
        memcpy(CMSG_DATA(&ancillary.header), descriptors, sizeof(int) * descriptor_count);
    }
    while (sendmsg(launcher->control, &datagram, MSG_NOSIGNAL) < 0)
        if (errno != EINTR)
            _exit(0); /* the node is gone */
}

static void send_failed(const struct launcher *launcher, uint64_t id,
                        const struct isolate_failure *failure)
{
    struct launcher_message message = {.kind = LAUNCHER_FAILED, .id = id};

    message.code = (uint32_t)failure->code;
    send_message(launcher, &message, failure->step, NULL, 0);
}

static void send_started(const struct launcher *launcher, uint64_t id,
                         const struct isolate_channels *channels)
{
    struct launcher_message message = {.kind = LAUNCHER_STARTED, .id = id};
    int descriptors[LAUNCHER_DESCRIPTORS_MAX];
    size_t count = 0;

    message.port = channels->runtime_port;
    descriptors[count++] = channels->runtime_listener;
    if (channels->aws_listener >= 0) {
        message.flags |= LAUNCHER_HAS_AWS;
        descriptors[count++] = channels->aws_listener;
    }
    if (channels->memory_file >= 0) {
        message.flags |= LAUNCHER_HAS_MEMORY;
        if (launcher->isolate.cgroup.version != ISOLATE_CGROUP_NONE)
            message.flags |= LAUNCHER_HAS_CGROUP;
        descriptors[count++] = channels->memory_file;
    }
    send_message(launcher, &message, "", descriptors, count);
    for (size_t i = 0; i < count; i++)
        close(descriptors[i]); /* a listener would pin the network namespace */
}

static void send_hello(const struct launcher *launcher, enum launcher_tier tier)
{
    struct launcher_message message = {.kind = LAUNCHER_HELLO, .code = tier};

    send_message(launcher, &message, launcher->missing, NULL, 0);
}

/* ---- opening ------------------------------------------------------------------------------- */

struct launcher *launcher_open(int control, const char *folder, const char *instance,
                               uint32_t uid_base, uint32_t tier_best, uint32_t tier_worst)
{
    struct launcher *launcher = calloc(1, sizeof(*launcher));
    enum launcher_tier tier;

    if (launcher == NULL)
        return NULL;
    launcher->control = CONTROL_FD;
    if ((control != CONTROL_FD && dup2(control, CONTROL_FD) < 0) ||
        close_range(CONTROL_FD + 1, ~0u, 0) != 0 || fcntl(CONTROL_FD, F_SETFD, FD_CLOEXEC) != 0)
        return NULL;
    tier =
        isolate_open(&launcher->isolate, folder, instance, uid_base, (enum launcher_tier)tier_best,
                     (enum launcher_tier)tier_worst, launcher->missing, sizeof(launcher->missing));
    if (tier != LAUNCHER_TIER_NONE)
        return launcher;
    send_hello(launcher, LAUNCHER_TIER_NONE);
    free(launcher);
    return NULL;
}

void launcher_allow_addresses(struct launcher *launcher, uint32_t slack_mb)
{
    launcher->isolate.address_slack_mb = slack_mb;
}

/* ---- children ------------------------------------------------------------------------------ */

static struct child *find_child(struct launcher *launcher, uint64_t id)
{
    for (uint32_t slot = 0; slot < launcher->slot_count; slot++)
        if (launcher->children[slot].pid != 0 && launcher->children[slot].id == id)
            return &launcher->children[slot];
    return NULL;
}

static uint32_t slot_of(const struct launcher *launcher, const struct child *child)
{
    return (uint32_t)(child - launcher->children);
}

static struct child *free_child(struct launcher *launcher)
{
    for (uint32_t slot = 0; slot < launcher->slot_count; slot++)
        if (launcher->children[slot].pid == 0 && !launcher->children[slot].is_left)
            return &launcher->children[slot];
    if (launcher->slot_count == LAUNCHER_SANDBOXES_MAX)
        return NULL;
    return &launcher->children[launcher->slot_count++];
}

/* In a child, at once: the launcher's descriptors go. What libraries have opened stays; some would
 * not survive losing theirs. */
static bool settle_descriptors(struct launcher *launcher, int output)
{
    int input = open("/dev/null", O_RDONLY | O_CLOEXEC);

    if (input < 0 || dup2(input, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0)
        return false;
    close(input);
    close(output);
    close(launcher->signals);
    for (uint32_t slot = 0; slot < launcher->slot_count; slot++)
        if (launcher->children[slot].pid != 0 && launcher->children[slot].command >= 0)
            close(launcher->children[slot].command);
    return true;
}

static void become_stem(struct launcher *launcher, uint32_t slot, uint64_t id, int output)
{
    struct isolate_failure failure = {"descriptors", EMFILE};
    struct isolate_channels channels;
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (!settle_descriptors(launcher, output) ||
        !isolate_enter(&launcher->isolate, slot, &channels, &failure)) {
        send_failed(launcher, id, &failure);
        _exit(1);
    }
    launcher->runtime_port = channels.runtime_port;
    send_started(launcher, id, &channels);
    close(launcher->control);
}

/* True in the child. */
static bool spawn(struct launcher *launcher, uint64_t id, int output, int (*fork_process)(void))
{
    struct launcher_message exited = {.kind = LAUNCHER_EXITED, .id = id, .code = 1 << 8};
    struct child *child = free_child(launcher);
    struct isolate_failure failure;
    int command[2] = {-1, -1};
    pid_t pid = -1;

    if (child == NULL)
        errno = EAGAIN;
    else if (pipe2(command, O_CLOEXEC) == 0 && isolate_before_fork(&launcher->isolate)) {
        pid = fork_process();
        if (pid == 0) {
            close(command[1]);
            launcher->order_pipe = command[0];
            become_stem(launcher, slot_of(launcher, child), id, output);
            return true;
        }
        isolate_after_fork(&launcher->isolate);
    }
    failure = (struct isolate_failure){"fork", errno};
    if (command[0] >= 0)
        close(command[0]);
    if (pid > 0) {
        *child = (struct child){.id = id, .pid = pid, .command = command[1]};
        return false;
    }
    if (command[1] >= 0)
        close(command[1]);
    send_failed(launcher, id, &failure);
    send_message(launcher, &exited, "", NULL, 0);
    return false;
}

/* What a child started; with a pid namespace the kernel does it. Works when the child itself is
 * gone: the group keeps its number taken. */
static void kill_group(const struct launcher *launcher, const struct child *child)
{
    if (launcher->isolate.tier > LAUNCHER_TIER_USER)
        kill(-child->pid, SIGKILL);
}

static void kill_child(const struct launcher *launcher, const struct child *child)
{
    kill_group(launcher, child);
    kill(child->pid, SIGKILL);
}

static void specialise(struct launcher *launcher, const struct launcher_message *message,
                       const char *code_folder, const char *command)
{
    struct child *child = find_child(launcher, message->id);
    struct isolate_failure failure = {"order to the sandbox", 0};

    if (child == NULL || child->command < 0)
        return; /* died meanwhile: the node hears of that */
    if (!isolate_attach(&launcher->isolate, slot_of(launcher, child), child->pid, code_folder,
                        message->memory_mb, message->ephemeral_mb, &failure)) {
        send_failed(launcher, child->id, &failure);
        kill_child(launcher, child);
    } else if (write(child->command, command, message->command_bytes) !=
               (ssize_t)message->command_bytes) {
        kill_child(launcher, child);
    }
    close(child->command);
    child->command = -1;
}

/* Returns whether a group is left that could not be removed yet. */
static bool remove_left(struct launcher *launcher)
{
    bool is_any_left = false;

    for (uint32_t slot = 0; slot < launcher->slot_count; slot++) {
        struct child *child = &launcher->children[slot];

        if (child->is_left)
            child->is_left = !isolate_cgroup_remove(&launcher->isolate.cgroup, slot);
        is_any_left |= child->is_left;
    }
    return is_any_left;
}

/* Out of the way at once, as the next one in this slot must not find it; gone a moment later. */
static void remove_private_folder(struct launcher *launcher, uint32_t slot)
{
    char folder[ISOLATE_PATH_BYTES + 32];
    char gone[ISOLATE_PATH_BYTES + 32];
    pid_t pid;

    if (launcher->isolate.tier <= LAUNCHER_TIER_USER)
        return; /* it was a mount */
    snprintf(folder, sizeof(folder), "%s/tmp-%u", launcher->isolate.root, slot);
    snprintf(gone, sizeof(gone), "%s/gone-%" PRIu64, launcher->isolate.root,
             launcher->gone_count++);
    if (rename(folder, gone) != 0)
        return; /* it ended before it had made one */
    pid = fork();
    if (pid == 0) {
        execl("/bin/rm", "rm", "-rf", "--", gone, (char *)NULL);
        _exit(1);
    }
}

static void bury(struct launcher *launcher, struct child *child, int status)
{
    struct launcher_message message = {.kind = LAUNCHER_EXITED, .id = child->id};
    uint32_t slot = slot_of(launcher, child);
    struct isolate_cgroup_usage usage = {0};

    kill_group(launcher, child);
    if (launcher->isolate.cgroup.version != ISOLATE_CGROUP_NONE) {
        isolate_cgroup_usage(&launcher->isolate.cgroup, slot, &usage);
        child->is_left = !isolate_cgroup_remove(&launcher->isolate.cgroup, slot);
    }
    message.code = (uint32_t)status;
    message.memory_mb = (uint32_t)(usage.memory_bytes_max >> 20);
    message.flags = usage.out_of_memory ? LAUNCHER_OUT_OF_MEMORY : 0;
    if (child->command >= 0)
        close(child->command);
    child->pid = 0;
    remove_private_folder(launcher, slot);
    send_message(launcher, &message, "", NULL, 0);
}

static void reap(struct launcher *launcher)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (uint32_t slot = 0; slot < launcher->slot_count; slot++)
            if (launcher->children[slot].pid == pid) {
                bury(launcher, &launcher->children[slot], status);
                break;
            }
}

/* ---- serving ------------------------------------------------------------------------------- */

static void end(struct launcher *launcher) __attribute__((noreturn));
static void end(struct launcher *launcher)
{
    for (uint32_t slot = 0; slot < launcher->slot_count; slot++)
        if (launcher->children[slot].pid != 0)
            kill_child(launcher, &launcher->children[slot]);
    for (uint32_t slot = 0; slot < launcher->slot_count; slot++) {
        struct child *child = &launcher->children[slot];

        if (child->pid != 0)
            (void)waitpid(child->pid, NULL, 0);
    }
    while (waitpid(-1, NULL, 0) > 0) /* what removes their folders */
        ;
    if (launcher->isolate.cgroup.version != ISOLATE_CGROUP_NONE)
        isolate_cgroup_close(&launcher->isolate.cgroup);
    _exit(0);
}

/* One order. True in a forked child. */
static bool take_order(struct launcher *launcher, int (*fork_process)(void))
{
    struct launcher_message message;
    struct iovec parts[2] = {{&message, sizeof(message)}, {launcher->text, sizeof(launcher->text)}};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } ancillary;
    struct msghdr datagram = {.msg_iov = parts,
                              .msg_iovlen = 2,
                              .msg_control = &ancillary,
                              .msg_controllen = sizeof(ancillary)};
    ssize_t size = recvmsg(launcher->control, &datagram, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    struct cmsghdr *header;
    struct child *child;
    char *command;
    int output = -1;
    bool is_child = false;

    if (size < 0 && (errno == EINTR || errno == EAGAIN))
        return false;
    if (size < (ssize_t)sizeof(message) ||
        (size_t)size != sizeof(message) + message.text_bytes + message.command_bytes)
        end(launcher);
    header = CMSG_FIRSTHDR(&datagram);
    if (header != NULL && header->cmsg_type == SCM_RIGHTS)
        memcpy(&output, CMSG_DATA(header), sizeof(output));
    switch ((enum launcher_message_kind)message.kind) {
    case LAUNCHER_SPAWN:
        is_child = spawn(launcher, message.id, output, fork_process);
        break;
    case LAUNCHER_SPECIALISE: /* the node ends the path with a NUL */
        command = launcher->text + message.text_bytes;
        specialise(launcher, &message, launcher->text, command);
        break;
    case LAUNCHER_KILL:
        child = find_child(launcher, message.id);
        if (child != NULL)
            kill_child(launcher, child);
        break;
    case LAUNCHER_HELLO:
    case LAUNCHER_STARTED:
    case LAUNCHER_FAILED:
    case LAUNCHER_EXITED:
        end(launcher);
    }
    if (output >= 0 && !is_child)
        close(output);
    return is_child;
}

void launcher_serve(struct launcher *launcher, int (*fork_process)(void))
{
    struct pollfd ready[2] = {{.events = POLLIN}, {.events = POLLIN}};
    struct signalfd_siginfo ignored;
    bool is_any_left = false;
    sigset_t child_signal;

    sigemptyset(&child_signal);
    sigaddset(&child_signal, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child_signal, NULL);
    launcher->signals = signalfd(-1, &child_signal, SFD_CLOEXEC | SFD_NONBLOCK);
    if (launcher->signals < 0)
        _exit(1);
    send_hello(launcher, launcher->isolate.tier);
    ready[0].fd = launcher->control;
    ready[1].fd = launcher->signals;
    for (;;) {
        (void)poll(ready, 2, is_any_left ? GROUP_RETRY_MS : -1);
        while (read(launcher->signals, &ignored, sizeof(ignored)) > 0)
            ;
        reap(launcher);
        is_any_left = remove_left(launcher);
        if ((ready[0].revents & (POLLIN | POLLHUP | POLLERR)) != 0 &&
            take_order(launcher, fork_process))
            return;
    }
}

/* ---- in a child ---------------------------------------------------------------------------- */

int launcher_is_ordered(struct launcher *launcher)
{
    struct pollfd ready = {.fd = launcher->order_pipe, .events = POLLIN};

    return poll(&ready, 1, 0) > 0;
}

static const char *find_variable(const char *block, size_t bytes, const char *name)
{
    size_t name_bytes = strlen(name);

    for (const char *at = block; at < block + bytes; at += strlen(at) + 1)
        if (strncmp(at, name, name_bytes) == 0 && at[name_bytes] == '=')
            return at + name_bytes + 1;
    return "";
}

/* The port at the end of "http://127.0.0.1:4566"; 0 if there is none. */
static uint16_t port_of(const char *endpoint)
{
    const char *colon = strrchr(endpoint, ':');

    return colon != NULL ? (uint16_t)atoi(colon + 1) : 0;
}

static void add_private_folder(struct launcher *launcher, size_t *bytes)
{
    const char *folder = getenv("TMPDIR");
    size_t room = sizeof(launcher->command) - *bytes;

    if (launcher->isolate.tier <= LAUNCHER_TIER_USER || folder == NULL)
        return;
    if (strlen(folder) + sizeof("TMPDIR=") <= room)
        *bytes += (size_t)snprintf(launcher->command + *bytes, room, "TMPDIR=%s", folder) + 1;
}

static void seal(struct launcher *launcher, const char *task_root, uint16_t aws_port)
{
    struct isolate_failure failure;

    if (!isolate_seal(&launcher->isolate, task_root, launcher->runtime_port, aws_port, &failure)) {
        dprintf(2, "sandbox: %s: %s\n", failure.step, strerror(failure.code));
        _exit(1);
    }
}

int launcher_seal_early(struct launcher *launcher)
{
    if (launcher->isolate.tier > LAUNCHER_TIER_USER)
        return -1;
    seal(launcher, "", 0); /* with namespaces neither matters */
    return launcher->order_pipe;
}

const char *launcher_await(struct launcher *launcher, size_t *bytes)
{
    const char *task_root;
    size_t size = 0;
    ssize_t got;

    while ((got = read(launcher->order_pipe, launcher->command + size,
                       sizeof(launcher->command) - size)) != 0) {
        if (got < 0 && errno != EINTR)
            _exit(1);
        size += got > 0 ? (size_t)got : 0;
    }
    close(launcher->order_pipe);
    if (size == 0 || launcher->command[size - 1] != '\0')
        _exit(1);
    add_private_folder(launcher, &size);
    task_root = find_variable(launcher->command, size, "LAMBDA_TASK_ROOT");
    seal(launcher, task_root, port_of(find_variable(launcher->command, size, "AWS_ENDPOINT_URL")));
    if (chdir(task_root) != 0)
        _exit(1);
    *bytes = size;
    return launcher->command;
}
