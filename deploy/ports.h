/* Which ports of this machine are spoken for. A port is not free because nobody listens on it: the
 * cluster it belongs to may be down at the moment. So the clusters of a user are written down, in
 * "skein-clusters" in the user's state folder, and what their files name is left alone.
 *
 * The list is locked from ports_open to ports_close, so that two `skein up` at once do not choose
 * the same. Where there can be no such list, only what is bound counts. */

#ifndef DEPLOY_PORTS_H
#define DEPLOY_PORTS_H

#include "proto/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PORTS_OWNER_BYTES 400

struct port_owner {
    uint16_t port;
    size_t cluster; /* in `clusters` */
};

struct ports {
    int lock;        /* -1 = no list */
    char **clusters; /* data folders that hold one */
    size_t cluster_count;
    struct port_owner *owners;
    size_t owner_count;
};

/* Waits for the lock. The cluster in `own_data` does not count. */
void ports_open(struct ports *ports, const char *own_data);
/* Writes `own_data` down when `is_new`. */
void ports_close(struct ports *ports, const char *own_data, bool is_new);

/* The data folder of the cluster that has it; NULL = none that is known. */
const char *ports_owner(const struct ports *ports, unsigned port);
/* Nobody has it, and nobody listens on it. */
bool ports_is_free(const struct ports *ports, unsigned port);

#endif
