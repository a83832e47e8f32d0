#include "node/table/table_memory.h"

#include "node/table/table_global.h"
#include "node/table/table_outbox.h"
#include "proto/base/check.h"

struct table_memory *table_memory_of(struct shard_state *state)
{
    void **slot = shard_memory(state);

    if (*slot == NULL)
        *slot = check_calloc(1, sizeof(struct table_memory));
    return *slot;
}

void table_memory_forget(void *memory)
{
    table_global_forget(memory);
    table_outbox_forget(memory);
    free(memory);
}
