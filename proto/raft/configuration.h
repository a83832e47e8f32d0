/* The bytes of a group's configuration, as libraft writes them, read with care: they come from
 * other processes and from the disk. */

#ifndef PROTO_RAFT_CONFIGURATION_H
#define PROTO_RAFT_CONFIGURATION_H

#include "proto/base/buffer.h"

#include <raft.h>

#define CONFIGURATION_BYTES_MAX 2048u
#define CONFIGURATION_ADDRESS_BYTES 24 /* an id in decimal */

/* Reads it into a new configuration, to be closed with raft_configuration_close; NULL only checks.
 * ERR_INVALID. */
enum error configuration_read(struct slice bytes, struct raft_configuration *configuration);

/* Appends the bytes. */
void configuration_put(struct buffer *to, const struct raft_configuration *configuration);

/* Members have no other address than their id. */
void configuration_address(uint64_t id, char address[CONFIGURATION_ADDRESS_BYTES]);

unsigned configuration_voters(const struct raft_configuration *configuration);

/* NULL when it is no member. */
const struct raft_server *configuration_find(const struct raft_configuration *configuration,
                                             uint64_t id);

#endif
