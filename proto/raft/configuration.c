#include "proto/raft/configuration.h"

#include "proto/base/check.h"
#include "proto/raft/group.h"

#include <inttypes.h>
#include <stdio.h>

#define FORMAT 1

static struct slice read_address(struct reader *reader)
{
    const uint8_t *end =
        reader->rest.size > 0 ? memchr(reader->rest.data, 0, reader->rest.size) : NULL;

    if (end == NULL) {
        reader->ok = false;
        return slice_of(NULL, 0);
    }
    return reader_bytes(reader, (size_t)(end - reader->rest.data) + 1);
}

enum error configuration_read(struct slice bytes, struct raft_configuration *configuration)
{
    struct raft_configuration read;
    struct reader reader = reader_of(bytes);
    uint8_t format = reader_u8(&reader);
    uint64_t count = reader_u64(&reader);
    enum error rc = ERR_INVALID;

    if (!reader.ok || format != FORMAT || count == 0 || count > GROUP_MEMBERS_MAX)
        return ERR_INVALID;
    raft_configuration_init(&read);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t id = reader_u64(&reader);
        struct slice address = read_address(&reader);
        uint8_t role = reader_u8(&reader);

        if (!reader.ok || id == 0 || address.size > CONFIGURATION_ADDRESS_BYTES ||
            raft_configuration_add(&read, id, (const char *)address.data, role) != 0)
            goto out;
    }
    if (reader.rest.size >= 8) /* it is padded to 8 bytes */
        goto out;
    rc = OK;
    if (configuration != NULL) {
        *configuration = read;
        return OK;
    }
out:
    raft_configuration_close(&read);
    return rc;
}

void configuration_put(struct buffer *to, const struct raft_configuration *configuration)
{
    struct raft_buffer bytes;

    CHECK(raft_configuration_encode(configuration, &bytes) == 0);
    buffer_put(to, bytes.base, bytes.len);
    raft_free(bytes.base);
}

void configuration_address(uint64_t id, char address[CONFIGURATION_ADDRESS_BYTES])
{
    snprintf(address, CONFIGURATION_ADDRESS_BYTES, "%" PRIu64, id);
}

unsigned configuration_voters(const struct raft_configuration *configuration)
{
    unsigned count = 0;

    for (unsigned i = 0; i < configuration->n; i++)
        count += configuration->servers[i].role == RAFT_VOTER;
    return count;
}

const struct raft_server *configuration_find(const struct raft_configuration *configuration,
                                             uint64_t id)
{
    for (unsigned i = 0; i < configuration->n; i++)
        if (configuration->servers[i].id == id)
            return &configuration->servers[i];
    return NULL;
}
