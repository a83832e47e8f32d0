#include "node/sandbox/process_launcher.h"

#include "node/sandbox/process_image.h"
#include "proto/base/check.h"
#include "proto/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define RESTART_MS_MIN 100
#define RESTART_DOUBLINGS_MAX 7
#define RESTARTS_HOPEFUL 3 /* after so many in a row nobody waits for the next */

/* Descriptors of the launcher's process. */
#define CONTROL_FD 3
#define FIRST_FILE_FD 4
#define FILES_MAX 3

struct message {
    struct list link;
    struct buffer bytes;
    int descriptor;
};

static void on_control(uv_poll_t *poll, int status, int events);

const char *process_launcher_kind_name(enum process_launcher_kind kind)
{
    static const char *const names[] = {"python", "native", "node"};

    return names[kind];
}

void process_launcher_init(struct process_launcher *launcher, enum process_launcher_kind kind,
                           uv_loop_t *loop, const struct process_launcher_options *options,
                           const struct process_launcher_handler *handler)
{
    *launcher = (struct process_launcher){
        .kind = kind, .options = *options, .handler = handler, .loop = loop, .control = -1};
    list_init(&launcher->queue);
    CHECK(uv_timer_init(loop, &launcher->restart) == 0);
    launcher->restart.data = launcher;
    launcher->open_count = 1;
}

bool process_launcher_is_running(const struct process_launcher *launcher)
{
    return launcher->control >= 0;
}

bool process_launcher_is_coming(const struct process_launcher *launcher)
{
    return process_launcher_is_running(launcher) ||
           (!launcher->is_closing && !launcher->is_refused && launcher->restarts > 0 &&
            launcher->restarts <= RESTARTS_HOPEFUL);
}

void process_launcher_hurry(struct process_launcher *launcher)
{
    if (!launcher->is_background || !launcher->is_process_open)
        return;
    launcher->is_background = false;
    /* it leads a group of its own, in which its threads and its second process are */
    if (setpriority(PRIO_PGRP, (id_t)launcher->process.pid, 0) != 0)
        log_debug("process_launcher.hurry why=\"%s\"", strerror(errno));
}

void process_launcher_is_well(struct process_launcher *launcher)
{
    launcher->restarts = 0;
}

void process_launcher_refuse(struct process_launcher *launcher)
{
    launcher->is_refused = true;
}

/* ---- closing ------------------------------------------------------------------------------- */

static void count_closed(struct process_launcher *launcher)
{
    launcher->open_count--;
    if (launcher->is_closing && launcher->open_count == 0)
        launcher->closed(launcher);
}

static void restart_on_closed(uv_handle_t *handle)
{
    count_closed(handle->data);
}

static void process_on_closed(uv_handle_t *handle)
{
    struct process_launcher *launcher = handle->data;

    launcher->is_process_open = false;
    count_closed(launcher);
}

static void control_on_closed(uv_handle_t *handle)
{
    struct process_launcher *launcher = handle->data;

    close(launcher->control);
    launcher->control = -1;
    count_closed(launcher);
}

static void drop_queue(struct process_launcher *launcher)
{
    struct list *link;

    while ((link = list_pop(&launcher->queue)) != NULL) {
        struct message *message = container_of(link, struct message, link);

        if (message->descriptor >= 0)
            close(message->descriptor);
        buffer_close(&message->bytes);
        free(message);
    }
}

static void close_control(struct process_launcher *launcher)
{
    if (launcher->control < 0 || uv_is_closing((uv_handle_t *)&launcher->control_ready))
        return;
    (void)shutdown(launcher->control, SHUT_RDWR); /* it ends when it sees this */
    drop_queue(launcher);
    uv_close((uv_handle_t *)&launcher->control_ready, control_on_closed);
}

void process_launcher_close(struct process_launcher *launcher,
                            void (*closed)(struct process_launcher *launcher))
{
    launcher->is_closing = true;
    launcher->closed = closed;
    close_control(launcher);
    uv_close((uv_handle_t *)&launcher->restart, restart_on_closed);
}

/* ---- starting ------------------------------------------------------------------------------ */

/* A file that exists in memory only: works wherever the data folder is, and leaves nothing. */
static int open_image(const char *name, const unsigned char *bytes, size_t size)
{
    int fd = memfd_create(name, MFD_CLOEXEC);

    if (fd < 0)
        return -1;
    if (write(fd, bytes, size) != (ssize_t)size || lseek(fd, 0, SEEK_SET) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static size_t open_images(enum process_launcher_kind kind, int files[FILES_MAX])
{
    if (kind != PROCESS_LAUNCHER_PYTHON)
        files[0] = open_image("launcher", process_image_launcher, process_image_launcher_bytes);
    if (kind == PROCESS_LAUNCHER_NATIVE)
        return 1;
    if (kind == PROCESS_LAUNCHER_NODE) {
        files[1] = open_image("bootstrap.js", process_image_node, process_image_node_bytes);
        return 2;
    }
    files[0] = open_image("zygote.py", process_image_zygote, process_image_zygote_bytes);
    files[1] = open_image("launcher.so", process_image_library, process_image_library_bytes);
    files[2] = open_image("bootstrap.py", process_image_bootstrap, process_image_bootstrap_bytes);
    return 3;
}

static void schedule_restart(struct process_launcher *launcher);

static void process_on_exit(uv_process_t *process, int64_t status, int signal)
{
    struct process_launcher *launcher = process->data;

    if (!launcher->is_closing)
        log_warn("process_launcher.exited kind=%s status=%d signal=%d",
                 process_launcher_kind_name(launcher->kind), (int)status, signal);
    uv_close((uv_handle_t *)process, process_on_closed);
    schedule_restart(launcher);
}

static int spawn(struct process_launcher *launcher, int control, const int files[], size_t count)
{
    const struct process_launcher_options *options = &launcher->options;
    uv_stdio_container_t stdio[FIRST_FILE_FD + FILES_MAX];
    bool is_python = launcher->kind == PROCESS_LAUNCHER_PYTHON;
    char *environment[] = {(char *)"PATH=/usr/bin:/bin", (char *)"LANG=C.UTF-8", NULL};
    char *arguments[16];
    char numbers[3][16];
    size_t used = 0;
    uv_process_options_t process = {.exit_cb = process_on_exit,
                                    .flags = UV_PROCESS_DETACHED,
                                    .env = environment,
                                    .args = arguments,
                                    .stdio = stdio,
                                    .stdio_count = FIRST_FILE_FD + (int)count};

    stdio[0].flags = UV_IGNORE;
    stdio[1] = stdio[2] = (uv_stdio_container_t){.flags = UV_INHERIT_FD, .data.fd = 2};
    stdio[CONTROL_FD] = (uv_stdio_container_t){.flags = UV_INHERIT_FD, .data.fd = control};
    for (size_t i = 0; i < count; i++)
        stdio[FIRST_FILE_FD + i] =
            (uv_stdio_container_t){.flags = UV_INHERIT_FD, .data.fd = files[i]};
    process.file = is_python ? options->python : "/proc/self/fd/4";
    arguments[used++] = (char *)(is_python ? options->python : "skein-launcher");
    if (is_python) {
        arguments[used++] = (char *)"-I";
        arguments[used++] = (char *)"-B";
        arguments[used++] = (char *)"/proc/self/fd/4";
    }
    arguments[used++] = (char *)"3";
    if (is_python) {
        arguments[used++] = (char *)"5";
        arguments[used++] = (char *)"6";
        arguments[used++] = (char *)(launcher->is_background ? "background" : "now");
    }
    arguments[used++] = (char *)options->folder;
    arguments[used++] = (char *)options->instance;
    snprintf(numbers[0], sizeof(numbers[0]), "%u", options->uid_base);
    snprintf(numbers[1], sizeof(numbers[1]), "%u", (unsigned)options->tier_best);
    snprintf(numbers[2], sizeof(numbers[2]), "%u", (unsigned)options->tier_worst);
    for (size_t i = 0; i < 3; i++)
        arguments[used++] = numbers[i];
    if (launcher->kind == PROCESS_LAUNCHER_NODE)
        arguments[used++] = (char *)options->node;
    arguments[used] = NULL;
    return uv_spawn(launcher->loop, &launcher->process, &process);
}

static bool make_folder(const char *path)
{
    return mkdir(path, 0755) == 0 || errno == EEXIST;
}

enum error process_launcher_start(struct process_launcher *launcher, bool in_background)
{
    int files[FILES_MAX] = {-1, -1, -1};
    int pair[2] = {-1, -1};
    size_t file_count = 0;
    int rc = UV_EIO;

    if (process_launcher_is_running(launcher))
        return OK;
    if (launcher->is_process_open || launcher->is_closing || launcher->is_refused)
        return ERR_NO_CAPACITY;
    if (!make_folder(launcher->options.folder))
        return ERR_IO;
    file_count = open_images(launcher->kind, files);
    for (size_t i = 0; i < file_count; i++)
        if (files[i] < 0)
            goto out;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        goto out;
    launcher->process.data = launcher;
    launcher->is_background = in_background;
    rc = spawn(launcher, pair[1], files, file_count);
    if (rc != 0) { /* libuv has the handle even so */
        launcher->open_count++;
        launcher->is_process_open = true;
        uv_close((uv_handle_t *)&launcher->process, process_on_closed);
        log_error("process_launcher.spawn file=%s why=\"%s\"",
                  launcher->kind == PROCESS_LAUNCHER_PYTHON ? launcher->options.python : "launcher",
                  uv_strerror(rc));
        close(pair[0]);
        goto out;
    }
    launcher->is_process_open = true;
    (void)uv_timer_stop(&launcher->restart); /* never fails */
    launcher->control = pair[0];
    launcher->open_count += 2;
    CHECK(uv_poll_init(launcher->loop, &launcher->control_ready, launcher->control) == 0);
    launcher->control_ready.data = launcher;
    CHECK(uv_poll_start(&launcher->control_ready, UV_READABLE, on_control) == 0);
out:
    for (size_t i = 0; i < file_count; i++)
        if (files[i] >= 0)
            close(files[i]);
    if (pair[1] >= 0)
        close(pair[1]);
    return rc == 0 ? OK : ERR_IO;
}

static void on_restart(uv_timer_t *timer)
{
    struct process_launcher *launcher = timer->data;

    /* running: that is the old one, whose end has been heard of but not been read yet */
    if (process_launcher_is_running(launcher) || process_launcher_start(launcher, false) != OK)
        schedule_restart(launcher);
}

static void schedule_restart(struct process_launcher *launcher)
{
    uint32_t doublings =
        launcher->restarts < RESTART_DOUBLINGS_MAX ? launcher->restarts : RESTART_DOUBLINGS_MAX;

    if (launcher->is_closing || launcher->is_refused)
        return;
    launcher->restarts++;
    CHECK(uv_timer_start(&launcher->restart, on_restart, (uint64_t)RESTART_MS_MIN << doublings,
                         0) == 0);
}

/* ---- receiving ----------------------------------------------------------------------------- */

static void take_descriptors(struct msghdr *datagram, int descriptors[LAUNCHER_DESCRIPTORS_MAX],
                             size_t *count)
{
    *count = 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(datagram); header != NULL;
         header = CMSG_NXTHDR(datagram, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        *count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        CHECK(*count <= LAUNCHER_DESCRIPTORS_MAX);
        memcpy(descriptors, CMSG_DATA(header), *count * sizeof(int));
    }
}

/* One message. False when there is none now, or none any more. */
static bool receive(struct process_launcher *launcher)
{
    struct launcher_message message;
    char text[1024];
    struct iovec parts[2] = {{&message, sizeof(message)}, {text, sizeof(text) - 1}};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int) * LAUNCHER_DESCRIPTORS_MAX)];
    } ancillary;
    struct msghdr datagram = {.msg_iov = parts,
                              .msg_iovlen = 2,
                              .msg_control = &ancillary,
                              .msg_controllen = sizeof(ancillary)};
    int descriptors[LAUNCHER_DESCRIPTORS_MAX];
    size_t descriptor_count;
    ssize_t size = recvmsg(launcher->control, &datagram, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (size < (ssize_t)sizeof(message)) {
        close_control(launcher);
        launcher->handler->on_gone(launcher);
        return false;
    }
    text[(size_t)size - sizeof(message)] = '\0';
    take_descriptors(&datagram, descriptors, &descriptor_count);
    launcher->handler->on_message(launcher, &message, text, descriptors, descriptor_count);
    return true;
}

/* ---- sending ------------------------------------------------------------------------------- */

/* False when the socket is full: try again when it says so. */
static bool send_now(const struct process_launcher *launcher, const struct message *message)
{
    struct iovec part = {message->bytes.data, message->bytes.size};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } ancillary = {0};
    struct msghdr datagram = {.msg_iov = &part, .msg_iovlen = 1};

    if (message->descriptor >= 0) {
        datagram.msg_control = &ancillary;
        datagram.msg_controllen = sizeof(ancillary);
        ancillary.header.cmsg_level = SOL_SOCKET;
        ancillary.header.cmsg_type = SCM_RIGHTS;
        ancillary.header.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&ancillary.header), &message->descriptor, sizeof(int));
    }
    return sendmsg(launcher->control, &datagram, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 ||
           (errno != EAGAIN && errno != EINTR); /* other errors: it is dead, which reading tells */
}

static void send_queue(struct process_launcher *launcher)
{
    while (!list_is_empty(&launcher->queue)) {
        struct message *message = container_of(launcher->queue.next, struct message, link);

        if (!send_now(launcher, message))
            break;
        list_remove(&message->link);
        if (message->descriptor >= 0)
            close(message->descriptor);
        buffer_close(&message->bytes);
        free(message);
    }
    CHECK(uv_poll_start(&launcher->control_ready,
                        list_is_empty(&launcher->queue) ? UV_READABLE : UV_READABLE | UV_WRITABLE,
                        on_control) == 0);
}

static void on_control(uv_poll_t *poll, int status, int events)
{
    struct process_launcher *launcher = poll->data;

    (void)events;
    if (status != 0) {
        close_control(launcher);
        launcher->handler->on_gone(launcher);
        return;
    }
    while (receive(launcher))
        ;
    if (!uv_is_closing((uv_handle_t *)poll))
        send_queue(launcher);
}

void process_launcher_send(struct process_launcher *launcher, struct launcher_message *message,
                           const char *text, struct slice command, int descriptor)
{
    struct message *queued = check_calloc(1, sizeof(*queued));

    message->text_bytes = text != NULL ? (uint32_t)strlen(text) + 1 : 0; /* with its NUL */
    message->command_bytes = (uint32_t)command.size;
    buffer_init(&queued->bytes, BUFFER_UNLIMITED);
    buffer_put(&queued->bytes, message, sizeof(*message));
    buffer_put(&queued->bytes, text, message->text_bytes);
    buffer_put_slice(&queued->bytes, command);
    queued->descriptor = descriptor;
    list_append(&launcher->queue, &queued->link);
    if (!process_launcher_is_running(launcher) ||
        uv_is_closing((uv_handle_t *)&launcher->control_ready)) {
        drop_queue(launcher);
        return;
    }
    send_queue(launcher);
}
