/* Frames as they come from a peer. The checksum would keep mutations out: each input is tried as it
 * is, and once more as the content of a frame that is sealed well. */

#include "proto/base/check.h"
#include "proto/net/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_all(struct slice bytes)
{
    struct frame frame;
    enum env_channel channel;
    struct slice message;
    size_t left = bytes.size;

    if (frame_read(bytes, &frame) != OK)
        return;
    while (frame_next(&frame, &channel, &message)) {
        CHECK(channel < ENV_CHANNEL_COUNT);
        CHECK(frame.messages.size < left);
        CHECK(message.size == 0 || message.data + message.size <= bytes.data + bytes.size);
        left = frame.messages.size;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *sealed = check_malloc(FRAME_HEADER_BYTES + size);

    read_all(slice_of(data, size));
    frame_write(sealed, &(struct frame_header){0}, slice_of(data, size), slice_of(NULL, 0));
    read_all(slice_of(sealed, FRAME_HEADER_BYTES + size));
    free(sealed);
    return 0;
}
