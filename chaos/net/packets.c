/* skein-packets FIRST_QUEUE QUEUES DELAY_MS JITTER_MS LOSS_PERCENT REORDER_PERCENT: makes real
 * packets late, lost and out of order, where the kernel has no netem.
 *
 * iptables gives it the packets of one direction in one queue (NFQUEUE --queue-bypass: when it is
 * gone, they pass). Each is held for DELAY_MS and a random part of JITTER_MS, in order; one in so
 * many is not held at all and so overtakes the others (REORDER_PERCENT), one in so many is dropped.
 * Prints "ready" when it has its queues; at SIGTERM lets everything go and ends. */

#include "proto/base/check.h"
#include "proto/base/heap.h"
#include "proto/base/rng.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libnetfilter_queue/libnetfilter_queue.h>
#include <linux/netfilter.h>
#include <linux/netlink.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define QUEUES_MAX 8
#define PACKETS_MAX 65536 /* held in each queue; the kernel drops what comes then */
#define MESSAGE_BYTES 65536
#define SOCKET_BYTES (8 << 20)

struct direction {
    struct packets *packets;
    struct nfq_q_handle *queue;
    int64_t last_due_us; /* of the packets that keep their order */
};

struct held {
    struct heap_node node; /* by the time when it is due */
    struct direction *direction;
    uint32_t id;
};

struct packets {
    struct nfq_handle *netlink;
    struct direction directions[QUEUES_MAX];
    unsigned direction_count;
    struct heap held;
    struct rng rng;
    int64_t delay_us;
    int64_t jitter_us;
    double loss_percent;
    double reorder_percent;
    unsigned long passed;
    unsigned long dropped;
};

static int64_t now_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

static bool happens(struct packets *packets, double percent)
{
    return (double)rng_below(&packets->rng, 1000000) < percent * 10000;
}

static void pass(struct direction *direction, uint32_t id)
{
    direction->packets->passed++;
    (void)nfq_set_verdict(direction->queue, id, NF_ACCEPT, 0, NULL);
}

static void hold(struct direction *direction, uint32_t id)
{
    struct packets *packets = direction->packets;
    int64_t due_us = now_us() + packets->delay_us;
    struct held *held = check_calloc(1, sizeof(*held));

    if (packets->jitter_us > 0)
        due_us += (int64_t)rng_below(&packets->rng, (uint64_t)packets->jitter_us);
    if (due_us < direction->last_due_us)
        due_us = direction->last_due_us;
    direction->last_due_us = due_us;
    held->direction = direction;
    held->id = id;
    heap_insert(&packets->held, &held->node, (uint64_t)due_us);
}

static int on_packet(struct nfq_q_handle *queue, struct nfgenmsg *message, struct nfq_data *data,
                     void *user)
{
    const struct nfqnl_msg_packet_hdr *header = nfq_get_msg_packet_hdr(data);
    struct direction *direction = user;
    struct packets *packets = direction->packets;
    uint32_t id = ntohl(header->packet_id);

    (void)message;
    if (happens(packets, packets->loss_percent)) {
        packets->dropped++;
        return nfq_set_verdict(queue, id, NF_DROP, 0, NULL);
    }
    if (happens(packets, packets->reorder_percent))
        pass(direction, id);
    else
        hold(direction, id);
    return 0;
}

/* All that is due by then, in order. */
static void release(struct packets *packets, int64_t until_us)
{
    struct heap_node *first;

    while ((first = heap_first(&packets->held)) != NULL && (int64_t)first->key <= until_us) {
        struct held *held = container_of(first, struct held, node);

        heap_remove(&packets->held, first);
        pass(held->direction, held->id);
        free(held);
    }
}

static void receive(struct packets *packets)
{
    char message[MESSAGE_BYTES];
    ssize_t size;

    while ((size = recv(nfq_fd(packets->netlink), message, sizeof(message), MSG_DONTWAIT)) > 0)
        (void)nfq_handle_packet(packets->netlink, message, (int)size);
}

static struct timespec until_next(const struct packets *packets)
{
    const struct heap_node *first = heap_first(&packets->held);
    int64_t wait_us = first != NULL ? (int64_t)first->key - now_us() : INT64_C(1000000);

    if (wait_us < 0)
        wait_us = 0;
    return (struct timespec){wait_us / 1000000, wait_us % 1000000 * 1000};
}

static void serve(struct packets *packets, int signals)
{
    struct pollfd polled[] = {{.fd = nfq_fd(packets->netlink), .events = POLLIN},
                              {.fd = signals, .events = POLLIN}};

    while (polled[1].revents == 0) {
        struct timespec wait = until_next(packets);

        if (ppoll(polled, ARRAY_COUNT(polled), &wait, NULL) > 0 && polled[0].revents != 0)
            receive(packets);
        release(packets, now_us());
    }
    receive(packets);
    release(packets, INT64_MAX);
}

static bool open_queues(struct packets *packets, unsigned first)
{
    int size = SOCKET_BYTES;
    int one = 1;

    packets->netlink = nfq_open();
    if (packets->netlink == NULL)
        return false;
    for (unsigned i = 0; i < packets->direction_count; i++) {
        struct direction *direction = &packets->directions[i];

        direction->packets = packets;
        direction->queue =
            nfq_create_queue(packets->netlink, (uint16_t)(first + i), on_packet, direction);
        if (direction->queue == NULL || nfq_set_mode(direction->queue, NFQNL_COPY_META, 0) < 0 ||
            nfq_set_queue_maxlen(direction->queue, PACKETS_MAX) < 0)
            return false;
    }
    int fd = nfq_fd(packets->netlink);

    (void)setsockopt(fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, &one, sizeof(one));
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
    return true;
}

static int watch_signals(void)
{
    sigset_t signals;

    (void)sigemptyset(&signals);
    (void)sigaddset(&signals, SIGTERM);
    (void)sigaddset(&signals, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &signals, NULL);
    return signalfd(-1, &signals, SFD_CLOEXEC);
}

int main(int count, char **words)
{
    static struct packets packets;
    unsigned first;

    if (count != 7) {
        (void)fprintf(stderr, "usage: skein-packets FIRST_QUEUE QUEUES DELAY_MS JITTER_MS "
                              "LOSS_PERCENT REORDER_PERCENT\n");
        return 2;
    }
    first = (unsigned)strtoul(words[1], NULL, 10);
    packets.direction_count = (unsigned)strtoul(words[2], NULL, 10) % (QUEUES_MAX + 1);
    packets.delay_us = (int64_t)(strtod(words[3], NULL) * 1000);
    packets.jitter_us = (int64_t)(strtod(words[4], NULL) * 1000);
    packets.loss_percent = strtod(words[5], NULL);
    packets.reorder_percent = strtod(words[6], NULL);
    rng_init(&packets.rng, first);
    heap_init(&packets.held);
    if (!open_queues(&packets, first)) {
        perror("skein-packets: no queue");
        return 1;
    }
    int signals = watch_signals();

    (void)puts("ready");
    (void)fclose(stdout); /* whoever waits for that line has it, and no more to come */
    serve(&packets, signals);
    (void)fprintf(stderr, "packets: %lu passed, %lu dropped\n", packets.passed, packets.dropped);
    (void)nfq_close(packets.netlink);
    heap_close(&packets.held);
    return 0;
}
