/* Catalogue records in an arena: messages are unpacked into it and die with it, so their members
 * may be replaced by pointers into the same arena, and nothing is freed one by one. */

#ifndef NODE_AWS_AWS_WIRE_H
#define NODE_AWS_AWS_WIRE_H

#include "proto/base/arena.h"

#include <protobuf-c/protobuf-c.h>

/* For the allocator argument of the generated unpack functions. */
ProtobufCAllocator aws_wire_allocator(struct arena *arena);

/* The packed message, in the arena. */
struct slice aws_wire_pack(struct arena *arena, const ProtobufCMessage *message);

#endif
