#include "proto/raft/group_message.h"

#include "proto/base/check.h"
#include "proto/raft/configuration.h"
#include "proto/raft/group.h"

#define VERSION 1
#define ENTRY_ITEM_BYTES 16u
#define PROBE_ITEM_BYTES 16u

struct shape { /* of a type */
    uint8_t numbers;
    uint8_t item_bytes;
    uint32_t count_max;
    uint16_t flags;
    bool has_payload;
};

static bool shape_of(uint8_t type, struct shape *shape)
{
    *shape = (struct shape){0};
    switch ((enum group_message_type)type) {
    case GROUP_MESSAGE_APPEND:
        *shape = (struct shape){3, ENTRY_ITEM_BYTES, GROUP_MESSAGE_ENTRIES_MAX,
                                GROUP_MESSAGE_CONFIRMED, true};
        return true;
    case GROUP_MESSAGE_APPEND_RESULT:
        *shape = (struct shape){2, 0, 0, GROUP_MESSAGE_EMPTY_LOG | GROUP_MESSAGE_VOTELESS, false};
        return true;
    case GROUP_MESSAGE_VOTE:
        *shape = (struct shape){2, 0, 0, GROUP_MESSAGE_DISRUPT | GROUP_MESSAGE_PREVOTE, false};
        return true;
    case GROUP_MESSAGE_VOTE_RESULT:
        *shape = (struct shape){0, 0, 0, GROUP_MESSAGE_GRANTED | GROUP_MESSAGE_PREVOTE, false};
        return true;
    case GROUP_MESSAGE_INSTALL:
        *shape = (struct shape){4, 0, 0, 0, true};
        return true;
    case GROUP_MESSAGE_TIMEOUT_NOW:
        *shape = (struct shape){2, 0, 0, 0, false};
        return true;
    case GROUP_MESSAGE_PROBE:
    case GROUP_MESSAGE_PROBE_RESULT:
        *shape = (struct shape){0, PROBE_ITEM_BYTES, GROUP_MESSAGE_PROBES_MAX, 0, false};
        return true;
    case GROUP_MESSAGE_HELLO:
        return true;
    case GROUP_MESSAGE_CHUNK:
        *shape = (struct shape){3, 0, 0, GROUP_MESSAGE_LAST_CHUNK, true};
        return true;
    case GROUP_MESSAGE_CHUNK_RESULT:
        *shape = (struct shape){2, 0, 0, GROUP_MESSAGE_ABORT, false};
        return true;
    }
    return false;
}

/* ---- reading ---- */

static void read_item(const struct group_message *message, uint32_t i, struct raft_entry *entry)
{
    struct reader reader =
        reader_of(slice_of(message->items.data + (size_t)i * ENTRY_ITEM_BYTES, ENTRY_ITEM_BYTES));

    entry->term = reader_u64(&reader);
    entry->buf.len = reader_u32(&reader);
    entry->type = reader_u8(&reader);
}

static bool entries_are_valid(const struct group_message *message)
{
    struct slice rest = message->payload;

    for (uint32_t i = 0; i < message->count; i++) {
        struct raft_entry entry;

        read_item(message, i, &entry);
        if (entry.term == 0 || entry.term > message->term || entry.buf.len > rest.size ||
            entry.buf.len > GROUP_ENTRY_BYTES_MAX)
            return false;
        if (entry.type != RAFT_COMMAND && entry.type != RAFT_BARRIER && entry.type != RAFT_CHANGE)
            return false;
        if (entry.type == RAFT_CHANGE &&
            configuration_read(slice_of(rest.data, entry.buf.len), NULL) != OK)
            return false;
        rest = slice_of(rest.data + entry.buf.len, rest.size - entry.buf.len);
    }
    return rest.size == 0;
}

/* No index or term comes near the end of its range: sums of two never wrap. */
static bool numbers_are_valid(const struct group_message *message)
{
    if (message->term > UINT64_MAX / 4)
        return false;
    if (message->type == GROUP_MESSAGE_CHUNK)
        return true; /* its checksum may be any */
    for (size_t i = 0; i < 3; i++)
        if (message->numbers[i] > UINT64_MAX / 4)
            return false;
    return true;
}

static bool content_is_valid(const struct group_message *message)
{
    const uint64_t *numbers = message->numbers;

    switch ((enum group_message_type)message->type) {
    case GROUP_MESSAGE_APPEND: /* the first entry has nothing before it */
        return message->term > 0 && (numbers[0] == 0) == (numbers[1] == 0) &&
               entries_are_valid(message);
    case GROUP_MESSAGE_VOTE:
        return message->term > 0;
    case GROUP_MESSAGE_INSTALL:
        return message->term > 0 && numbers[0] > 0 && numbers[1] > 0 && numbers[2] > 0 &&
               numbers[2] <= numbers[0] && configuration_read(message->payload, NULL) == OK;
    case GROUP_MESSAGE_APPEND_RESULT:
    case GROUP_MESSAGE_VOTE_RESULT:
    case GROUP_MESSAGE_TIMEOUT_NOW:
    case GROUP_MESSAGE_PROBE:
    case GROUP_MESSAGE_PROBE_RESULT:
    case GROUP_MESSAGE_HELLO:
    case GROUP_MESSAGE_CHUNK:
    case GROUP_MESSAGE_CHUNK_RESULT:
        break;
    }
    return true;
}

enum error group_message_read(struct slice bytes, struct group_message *message)
{
    struct reader reader = reader_of(bytes);
    struct group_message read = {0};
    struct shape shape;

    if (reader_u8(&reader) != VERSION)
        return ERR_VERSION;
    read.type = reader_u8(&reader);
    read.flags = reader_u8(&reader);
    read.flags = (uint16_t)(read.flags | reader_u8(&reader) << 8);
    read.count = reader_u32(&reader);
    read.group = reader_u64(&reader);
    read.term = reader_u64(&reader);
    read.from = reader_u32(&reader);
    read.to = reader_u32(&reader);
    if (!reader.ok || !shape_of(read.type, &shape) || read.count > shape.count_max ||
        (read.flags & ~shape.flags) != 0)
        return ERR_INVALID;
    for (uint8_t i = 0; i < shape.numbers; i++)
        read.numbers[i] = reader_u64(&reader);
    read.items = reader_bytes(&reader, (size_t)read.count * shape.item_bytes);
    read.payload = reader.rest;
    if (!reader.ok || (!shape.has_payload && reader.rest.size > 0) || !numbers_are_valid(&read) ||
        !content_is_valid(&read))
        return ERR_INVALID;
    *message = read;
    return OK;
}

/* ---- writing ---- */

static void put_header(struct buffer *to, const struct group_message *message)
{
    buffer_put_u8(to, VERSION);
    buffer_put_u8(to, message->type);
    buffer_put_u8(to, (uint8_t)message->flags);
    buffer_put_u8(to, (uint8_t)(message->flags >> 8));
    buffer_put_u32(to, message->count);
    buffer_put_u64(to, message->group);
    buffer_put_u64(to, message->term);
    buffer_put_u32(to, message->from);
    buffer_put_u32(to, message->to);
}

void group_message_put(struct buffer *to, const struct group_message *message)
{
    struct shape shape;

    CHECK(shape_of(message->type, &shape));
    put_header(to, message);
    for (uint8_t i = 0; i < shape.numbers; i++)
        buffer_put_u64(to, message->numbers[i]);
    buffer_put_slice(to, message->items);
    buffer_put_slice(to, message->payload);
}

void group_message_readdress(struct buffer *bytes, uint16_t flags, uint32_t to)
{
    CHECK(bytes->size >= GROUP_MESSAGE_HEADER_BYTES);
    bytes->data[2] = (uint8_t)flags;
    bytes->data[3] = (uint8_t)(flags >> 8);
    for (size_t i = 0; i < 4; i++)
        bytes->data[GROUP_MESSAGE_HEADER_BYTES - 4 + i] = (uint8_t)(to >> (8 * i));
}

static void put_append(struct buffer *to, struct group_message *message,
                       const struct raft_append_entries *append, unsigned first, unsigned count)
{
    message->term = append->term;
    message->count = count;
    put_header(to, message);
    buffer_put_u64(to, append->prev_log_index + first);
    buffer_put_u64(to, first > 0 ? append->entries[first - 1].term : append->prev_log_term);
    buffer_put_u64(to, append->leader_commit);
    for (unsigned i = first; i < first + count; i++) {
        buffer_put_u64(to, append->entries[i].term);
        buffer_put_u32(to, (uint32_t)append->entries[i].buf.len);
        buffer_put_u32(to, append->entries[i].type);
    }
    for (unsigned i = first; i < first + count; i++)
        buffer_put(to, append->entries[i].buf.base, append->entries[i].buf.len);
}

void group_message_put_raft(struct buffer *to, const struct group_message *header,
                            const struct raft_message *raft, unsigned first, unsigned count)
{
    struct group_message message = *header;

    message.type = (uint8_t)raft->type;
    switch (raft->type) {
    case RAFT_IO_APPEND_ENTRIES:
        put_append(to, &message, &raft->append_entries, first, count);
        return;
    case RAFT_IO_APPEND_ENTRIES_RESULT:
        message.term = raft->append_entries_result.term;
        message.numbers[0] = raft->append_entries_result.rejected;
        message.numbers[1] = raft->append_entries_result.last_log_index;
        break;
    case RAFT_IO_REQUEST_VOTE:
        message.term = raft->request_vote.term;
        message.flags = (uint16_t)((raft->request_vote.disrupt_leader ? GROUP_MESSAGE_DISRUPT : 0) |
                                   (raft->request_vote.pre_vote ? GROUP_MESSAGE_PREVOTE : 0));
        message.numbers[0] = raft->request_vote.last_log_index;
        message.numbers[1] = raft->request_vote.last_log_term;
        break;
    case RAFT_IO_REQUEST_VOTE_RESULT:
        message.term = raft->request_vote_result.term;
        message.flags =
            (uint16_t)((raft->request_vote_result.vote_granted ? GROUP_MESSAGE_GRANTED : 0) |
                       (raft->request_vote_result.pre_vote == raft_tribool_true
                            ? GROUP_MESSAGE_PREVOTE
                            : 0));
        break;
    case RAFT_IO_TIMEOUT_NOW:
        message.term = raft->timeout_now.term;
        message.numbers[0] = raft->timeout_now.last_log_index;
        message.numbers[1] = raft->timeout_now.last_log_term;
        break;
    default:
        CHECK(false); /* snapshots have their own way */
    }
    group_message_put(to, &message);
}

/* ---- to libraft ---- */

static void to_append(const struct group_message *message, struct raft_append_entries *append)
{
    size_t payload = message->payload.size;
    struct raft_entry *entries;
    uint8_t *batch;

    *append = (struct raft_append_entries){
        .term = message->term,
        .prev_log_index = message->numbers[0],
        .prev_log_term = message->numbers[1],
        .leader_commit = message->numbers[2],
        .n_entries = message->count,
    };
    if (message->count == 0)
        return;
    entries = raft_calloc(message->count, sizeof(*entries));
    batch = raft_malloc(payload > 0 ? payload : 1);
    CHECK(entries != NULL && batch != NULL);
    if (payload > 0)
        memcpy(batch, message->payload.data, payload);
    append->entries = entries;
    for (uint32_t i = 0, at = 0; i < message->count; i++) {
        read_item(message, i, &entries[i]);
        entries[i].buf.base = batch + at;
        entries[i].batch = batch;
        at += (uint32_t)entries[i].buf.len;
    }
}

static void to_install(const struct group_message *message, struct raft_install_snapshot *install)
{
    install->term = message->term;
    install->last_index = message->numbers[0];
    install->last_term = message->numbers[1];
    install->conf_index = message->numbers[2];
    CHECK(configuration_read(message->payload, &install->conf) == OK);
    install->data = (struct raft_buffer){raft_malloc(8), 8}; /* the state itself is in staging */
    CHECK(install->data.base != NULL);
    memset(install->data.base, 0, 8);
}

void group_message_to_raft(const struct group_message *message, uint64_t peer, const char *address,
                           struct raft_message *raft)
{
    *raft = (struct raft_message){
        .type = message->type,
        .server_id = peer,
        .server_address = address,
    };
    switch (message->type) {
    case GROUP_MESSAGE_APPEND:
        to_append(message, &raft->append_entries);
        break;
    case GROUP_MESSAGE_APPEND_RESULT:
        raft->append_entries_result = (struct raft_append_entries_result){
            message->term, message->numbers[0], message->numbers[1]};
        break;
    case GROUP_MESSAGE_VOTE:
        raft->request_vote = (struct raft_request_vote){
            .term = message->term,
            .candidate_id = peer,
            .last_log_index = message->numbers[0],
            .last_log_term = message->numbers[1],
            .disrupt_leader = (message->flags & GROUP_MESSAGE_DISRUPT) != 0,
            .pre_vote = (message->flags & GROUP_MESSAGE_PREVOTE) != 0,
        };
        break;
    case GROUP_MESSAGE_VOTE_RESULT:
        raft->request_vote_result = (struct raft_request_vote_result){
            .term = message->term,
            .vote_granted = (message->flags & GROUP_MESSAGE_GRANTED) != 0,
            .pre_vote = TO_RAFT_TRIBOOL((message->flags & GROUP_MESSAGE_PREVOTE) != 0),
        };
        break;
    case GROUP_MESSAGE_INSTALL:
        to_install(message, &raft->install_snapshot);
        break;
    case GROUP_MESSAGE_TIMEOUT_NOW:
        raft->timeout_now =
            (struct raft_timeout_now){message->term, message->numbers[0], message->numbers[1]};
        break;
    default:
        CHECK(false);
    }
}
