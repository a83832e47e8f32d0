#include "node/aws/aws_wire.h"

static void *wire_alloc(void *arena, size_t bytes)
{
    return arena_alloc(arena, bytes);
}

static void wire_free(void *arena, void *pointer)
{
    (void)arena;
    (void)pointer;
}

ProtobufCAllocator aws_wire_allocator(struct arena *arena)
{
    return (ProtobufCAllocator){wire_alloc, wire_free, arena};
}

struct slice aws_wire_pack(struct arena *arena, const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = arena_alloc(arena, size + 1);

    return slice_of(bytes, protobuf_c_message_pack(message, bytes));
}
