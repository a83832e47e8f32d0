#include "node/table/table_row.h"
#include "node/table/transaction_impl.h"
#include "proto/base/check.h"

/* All rows are looked at, then their versions once more: when nothing was locked and nothing has
 * changed, all had these values at the moment between. One shard is looked at once: its answer is
 * of one moment. Strong reads both times, so the second sees what was done before it began. */

struct transaction_read_part { /* of one shard */
    struct transaction_read *read;
    struct shard_request request;
    uint32_t shard;
    Skein__Wire__TableReply *reply;
    Skein__Wire__TableReply *again;
};

static void look(struct transaction_read *read);

static void forget_replies(struct transaction_read_part *part)
{
    skein__wire__table_reply__free_unpacked(part->reply, NULL);
    skein__wire__table_reply__free_unpacked(part->again, NULL);
    part->reply = NULL;
    part->again = NULL;
}

/* ---- after a look ---------------------------------------------------------------------------- */

/* Takes what the shard said of each get. Gives whether any conflicts. */
static bool take_replies(struct transaction_read *read, const struct transaction_read_part *part)
{
    bool has_conflict = false;
    size_t next = 0;

    for (size_t i = 0; i < read->count; i++) {
        struct transaction_get *get = &read->gets[i];

        if (get->shard != part->shard)
            continue;
        get->reply = part->reply->parts[next];
        get->is_conflict = get->reply->outcome == TABLE_LOCKED;
        if (part->again != NULL)
            get->is_conflict |= part->again->parts[next]->outcome == TABLE_LOCKED ||
                                part->again->parts[next]->changed != get->reply->changed;
        has_conflict |= get->is_conflict;
        next++;
    }
    return has_conflict;
}

static size_t gets_of(const struct transaction_read *read, uint32_t shard)
{
    size_t count = 0;

    for (size_t i = 0; i < read->count; i++)
        count += read->gets[i].shard == shard;
    return count;
}

static bool is_sound(const struct transaction_read *read, uint32_t shard,
                     const Skein__Wire__TableReply *reply)
{
    if (reply->outcome != TABLE_DONE || reply->n_parts != gets_of(read, shard))
        return false;
    for (size_t i = 0; i < reply->n_parts; i++)
        if (reply->parts[i]->outcome != TABLE_DONE && reply->parts[i]->outcome != TABLE_LOCKED)
            return false;
    return true;
}

static void on_waited(struct env_timer *timer)
{
    struct transaction_read *read = container_of(timer, struct transaction_read, timer);

    for (size_t i = 0; i < read->part_count; i++)
        forget_replies(&read->parts[i]);
    read->is_second = false;
    look(read);
}

static void on_looked(struct transaction_read *read)
{
    const struct transactions *transactions = read->transactions;
    bool has_conflict = false;

    if (read->failure != OK) {
        read->cb(read, TRANSACTION_FAILED, read->failure);
        return;
    }
    for (size_t i = 0; i < read->part_count; i++)
        has_conflict |= take_replies(read, &read->parts[i]);
    if (has_conflict && env_now_us(transactions->env) < read->patience_us) {
        env_timer_start(transactions->env, &read->timer,
                        transactions_pause_us(transactions, read->attempts++), on_waited);
    } else if (has_conflict) {
        read->cb(read, TRANSACTION_CANCELLED, OK);
    } else if (read->part_count > 1 && !read->is_second) {
        read->is_second = true;
        look(read);
    } else {
        read->cb(read, TRANSACTION_DONE, OK);
    }
}

static void on_reply(struct shard_request *request, enum error rc, struct slice bytes)
{
    struct transaction_read_part *part =
        container_of(request, struct transaction_read_part, request);
    struct transaction_read *read = part->read;
    Skein__Wire__TableReply *reply = transactions_reply_of(&rc, bytes);

    *(read->is_second ? &part->again : &part->reply) = reply;
    if (rc == OK && !is_sound(read, part->shard, reply))
        rc = ERR_CORRUPT;
    if (rc != OK)
        read->failure = rc;
    if (--read->in_flight == 0)
        on_looked(read);
}

/* ---- a look ---------------------------------------------------------------------------------- */

static void look_at(struct transaction_read_part *part)
{
    struct transaction_read *read = part->read;
    Skein__Wire__TableQuery query = SKEIN__WIRE__TABLE_QUERY__INIT;
    Skein__Wire__TableQuery *gets[TABLE_ACTIONS_MAX];
    struct buffer packed = BUFFER_INIT(BUFFER_UNLIMITED);

    query.kind = TABLE_GET_MANY;
    query.count_only = read->is_second;
    query.gets = gets;
    for (size_t i = 0; i < read->count; i++)
        if (read->gets[i].shard == part->shard)
            gets[query.n_gets++] = read->gets[i].query;
    CHECK(buffer_reserve(&packed, skein__wire__table_query__get_packed_size(&query)) == OK);
    packed.size = skein__wire__table_query__pack(&query, packed.data);
    shard_router_read(read->transactions->router, &part->request, part->shard, SHARD_ENGINE_TABLE,
                      buffer_slice(&packed), SHARD_STRONG, NULL,
                      transactions_left_ms(read->transactions, read->deadline_us), on_reply);
    buffer_close(&packed);
}

static void look(struct transaction_read *read)
{
    read->in_flight = read->part_count;
    for (size_t i = 0; i < read->part_count; i++)
        look_at(&read->parts[i]);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void add_part(struct transaction_read *read, uint32_t shard)
{
    struct transaction_read_part *part;

    for (size_t i = 0; i < read->part_count; i++)
        if (read->parts[i].shard == shard)
            return;
    part = &read->parts[read->part_count++];
    part->read = read;
    part->shard = shard;
}

void transaction_read_start(struct transactions *transactions, struct transaction_read *read,
                            uint32_t deadline_ms, transaction_read_cb cb)
{
    uint64_t now_us = env_now_us(transactions->env);

    CHECK(read->count > 0 && read->count <= TABLE_ACTIONS_MAX);
    read->transactions = transactions;
    read->cb = cb;
    read->deadline_us = now_us + deadline_ms * UINT64_C(1000);
    read->patience_us = now_us + TRANSACTION_PATIENCE_US;
    read->parts = check_calloc(read->count, sizeof(*read->parts));
    for (size_t i = 0; i < read->count; i++)
        add_part(read, read->gets[i].shard);
    look(read);
}

void transaction_read_close(struct transaction_read *read)
{
    if (read->transactions == NULL)
        return;
    env_timer_stop(read->transactions->env, &read->timer);
    for (size_t i = 0; i < read->part_count; i++) {
        shard_request_cancel(&read->parts[i].request);
        forget_replies(&read->parts[i]);
    }
    free(read->parts);
    read->transactions = NULL;
}
