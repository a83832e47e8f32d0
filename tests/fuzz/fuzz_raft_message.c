/* What another process says about consensus: whatever the bytes, it is refused, or it becomes a
 * message that libraft can take and that reads the same when written again. */

#include "proto/base/check.h"
#include "proto/raft/group_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void raft_message_free(struct raft_message *raft)
{
    if (raft->type == RAFT_IO_APPEND_ENTRIES && raft->append_entries.n_entries > 0) {
        raft_free(raft->append_entries.entries[0].batch);
        raft_free(raft->append_entries.entries);
    }
    if (raft->type == RAFT_IO_INSTALL_SNAPSHOT) {
        raft_configuration_close(&raft->install_snapshot.conf);
        raft_free(raft->install_snapshot.data.base);
    }
}

static void touch_entries(const struct raft_append_entries *append)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < append->n_entries; i++)
        for (size_t at = 0; at < append->entries[i].buf.len; at++)
            sum += ((const uint8_t *)append->entries[i].buf.base)[at];
    CHECK(sum < UINT64_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer again = BUFFER_INIT(BUFFER_UNLIMITED);
    struct group_message message;
    struct raft_message raft;

    if (group_message_read(slice_of(data, size), &message) != OK)
        return 0;
    group_message_put(&again, &message);
    CHECK(slice_equal(buffer_slice(&again), slice_of(data, size)));
    buffer_close(&again);
    if (message.type > GROUP_MESSAGE_TIMEOUT_NOW) {
        for (uint32_t i = 0; i < message.count; i++) {
            uint64_t group;
            uint64_t term;

            group_message_probe(&message, i, &group, &term);
        }
        return 0;
    }
    group_message_to_raft(&message, 3, "3", &raft);
    if (raft.type == RAFT_IO_APPEND_ENTRIES)
        touch_entries(&raft.append_entries);
    raft_message_free(&raft);
    return 0;
}
