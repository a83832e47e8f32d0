/* Membership: which nodes are alive, by leases that heartbeats renew.
 *
 * Pure: the time is an argument, monotonic, in milliseconds. Kept by the leading controller only
 * and made anew by each new leader, which gives every node that was alive a full fresh lease
 * before it may call any of them lost. */

#ifndef CONTROLLER_MEMBERSHIP_H
#define CONTROLLER_MEMBERSHIP_H

#include "proto/base/buffer.h"

struct member {
    uint64_t id;
    bool is_alive;
    uint64_t lease_until_ms;
    uint64_t lost_ms; /* when it was found lost; meaningless while alive */
};

struct membership {
    struct member *members; /* in order of id */
    size_t count;
    size_t capacity;
    uint32_t lease_ms;
};

void membership_init(struct membership *membership, uint32_t lease_ms);
void membership_close(struct membership *membership);

/* A node that the catalogue knows: alive with a fresh lease, or lost as of now. */
void membership_add(struct membership *membership, uint64_t id, bool is_alive, uint64_t now_ms);
/* A heartbeat. True when the node was not alive before (new, or back). */
bool membership_renew(struct membership *membership, uint64_t id, uint64_t now_ms);
/* Its process is known to be gone. True when it was alive. */
bool membership_lose(struct membership *membership, uint64_t id, uint64_t now_ms);
/* Find lapsed leases. True when a node was newly lost. */
bool membership_tick(struct membership *membership, uint64_t now_ms);
void membership_remove(struct membership *membership, uint64_t id);

const struct member *membership_find(const struct membership *membership, uint64_t id); /* NULL */
size_t membership_alive(const struct membership *membership); /* how many */

#endif
