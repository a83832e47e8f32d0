#include "controller/planner.h"

#include "controller/catalogue.h"
#include "controller/failover.h"
#include "proto/base/arena.h"
#include "proto/base/check.h"
#include "proto/wire/catalogue.pb-c.h"

#include <inttypes.h>

#define FUNCTION_PREFIX "function/"
#define PLACEMENT_PREFIX "placement/"

struct work {
    const struct planner_input *input;
    struct planner_plan *plan;
    struct arena arena;
    Skein__Wire__CatalogueOperation *operations[CATALOGUE_OPERATIONS_MAX];
    size_t count;
    size_t bytes;
    struct placement_node *nodes; /* those with a record */
    uint64_t *disk_ids;           /* of them */
    size_t node_count;
};

/* ---- writing down changes ---- */

static bool has_room(const struct work *work)
{
    return work->count < CATALOGUE_OPERATIONS_MAX && work->bytes < CATALOGUE_COMMAND_BYTES_MAX / 2;
}

static Skein__Wire__CatalogueOperation *add_operation(struct work *work, const char *key)
{
    const struct record *record = records_find(work->input->records, key);
    Skein__Wire__CatalogueOperation *operation = arena_alloc(&work->arena, sizeof(*operation));

    skein__wire__catalogue_operation__init(operation);
    operation->key = arena_text(&work->arena, slice_text(key));
    operation->has_expectation = true;
    operation->expected_revision = record != NULL ? record->revision : 0;
    work->operations[work->count++] = operation;
    return operation;
}

static void put(struct work *work, const char *key, const ProtobufCMessage *message)
{
    Skein__Wire__CatalogueOperation *operation = add_operation(work, key);
    size_t size = protobuf_c_message_get_packed_size(message);

    operation->value.data = arena_alloc(&work->arena, size);
    operation->value.len = protobuf_c_message_pack(message, operation->value.data);
    work->bytes += size;
}

static void put_bytes(struct work *work, const char *key, struct slice value)
{
    struct slice copy = arena_copy(&work->arena, value);
    Skein__Wire__CatalogueOperation *operation = add_operation(work, key);

    operation->value.data = (uint8_t *)(uintptr_t)copy.data;
    operation->value.len = copy.size;
    work->bytes += copy.size;
}

/* ---- nodes ---- */

static void plan_node(struct work *work, const struct record *record, Skein__Wire__Node *node,
                      bool is_alive)
{
    const struct buffer *registration = map_find_u64(work->input->registrations, node->id);

    if (!is_alive && node->is_alive) {
        node->is_alive = false;
        put(work, record->key, &node->base);
        node->is_alive = true;
        work->plan->nodes++;
    } else if (is_alive && registration != NULL &&
               !slice_equal(buffer_slice(registration), record->value)) {
        put_bytes(work, record->key, buffer_slice(registration));
        work->plan->nodes++;
    }
}

static void add_node(struct work *work, const Skein__Wire__Node *node, const struct member *member)
{
    bool is_alive = member != NULL && member->is_alive;
    uint64_t now_ms = work->input->now_ms;

    work->disk_ids[work->node_count] = node->disk_id;
    work->nodes[work->node_count++] = (struct placement_node){
        .id = node->id,
        .region = arena_text(&work->arena, slice_text(node->region)),
        .host = arena_text(&work->arena, slice_text(node->host)),
        .is_alive = is_alive,
        .lost_for_ms = is_alive || member == NULL ? 0 : now_ms - member->lost_ms};
}

static void plan_known_nodes(struct work *work)
{
    const struct records *records = work->input->records;
    const struct record *record;
    size_t place = records_seek(records, "node/");

    work->nodes = arena_alloc(&work->arena, (records_count(records) + 1) * sizeof(*work->nodes));
    work->disk_ids =
        arena_alloc(&work->arena, (records_count(records) + 1) * sizeof(*work->disk_ids));
    while ((record = records_next(records, "node/", &place)) != NULL) {
        Skein__Wire__Node *node =
            skein__wire__node__unpack(NULL, record->value.size, record->value.data);

        if (node == NULL)
            continue;
        const struct member *member = membership_find(work->input->membership, node->id);

        add_node(work, node, member);
        if (has_room(work))
            plan_node(work, record, node, member != NULL && member->is_alive);
        skein__wire__node__free_unpacked(node, NULL);
    }
}

/* Who has registered and has no record yet. */
static void plan_new_nodes(struct work *work)
{
    const struct membership *membership = work->input->membership;

    for (size_t i = 0; i < membership->count && has_room(work); i++) {
        const struct member *member = &membership->members[i];
        const struct buffer *registration = map_find_u64(work->input->registrations, member->id);
        const char *key = arena_printf(&work->arena, "node/%" PRIu64, member->id);

        if (!member->is_alive || registration == NULL ||
            records_find(work->input->records, key) != NULL)
            continue;
        put_bytes(work, key, buffer_slice(registration));
        work->plan->nodes++;
    }
}

/* ---- the birth ---- */

static size_t alive_nodes(const struct work *work)
{
    size_t alive = 0;

    for (size_t i = 0; i < work->node_count; i++)
        alive += work->nodes[i].is_alive;
    return alive;
}

static bool is_time_for_birth(const struct work *work)
{
    const struct planner_input *input = work->input;
    size_t alive = alive_nodes(work);

    if (alive == 0 || work->plan->nodes > 0)
        return false;
    return alive >= input->options->expected_nodes ||
           input->now_ms - input->leader_since_ms >= input->options->birth_wait_ms;
}

static uint64_t disk_of(const struct work *work, uint64_t node_id)
{
    for (size_t i = 0; i < work->node_count; i++)
        if (work->nodes[i].id == node_id)
            return work->disk_ids[i];
    return 0;
}

static void put_shard(struct work *work, uint32_t id, const struct placement_replicas *replicas)
{
    Skein__Wire__Shard shard = SKEIN__WIRE__SHARD__INIT;
    uint64_t node_ids[PLACEMENT_REPLICAS_MAX];
    uint64_t disk_ids[PLACEMENT_REPLICAS_MAX];

    for (size_t i = 0; i < replicas->count; i++) {
        node_ids[i] = replicas->node_ids[i];
        disk_ids[i] = disk_of(work, node_ids[i]);
    }
    shard.id = id;
    shard.epoch = 1;
    shard.n_node_ids = replicas->count;
    shard.node_ids = node_ids;
    shard.n_born_with = replicas->count;
    shard.born_with = node_ids;
    shard.n_born_disks = replicas->count;
    shard.born_disks = disk_ids;
    put(work, arena_printf(&work->arena, "shard/%04" PRIu32, id), &shard.base);
    work->plan->shards++;
}

static void plan_birth(struct work *work)
{
    const struct planner_options *options = work->input->options;
    Skein__Wire__Cluster cluster = SKEIN__WIRE__CLUSTER__INIT;
    struct placement_replicas *shards =
        arena_alloc(&work->arena, options->shard_count * sizeof(*shards));

    CHECK(options->shard_count <= PLANNER_SHARDS_MAX);
    CHECK(placement_birth(work->nodes, work->node_count, options->replica_count, shards,
                          options->shard_count) == OK);
    cluster.id = (char *)(uintptr_t)work->input->cluster_id;
    cluster.shard_count = options->shard_count;
    cluster.replica_count = options->replica_count;
    cluster.born_ms = work->input->wall_ms;
    put(work, "cluster", &cluster.base);
    for (uint32_t i = 0; i < options->shard_count; i++)
        put_shard(work, i, &shards[i]);
    work->plan->is_birth = true;
}

/* ---- shard repair ---- */

static struct placement_node *find_node(struct work *work, uint64_t id)
{
    for (size_t i = 0; i < work->node_count; i++)
        if (work->nodes[i].id == id)
            return &work->nodes[i];
    return NULL;
}

static struct placement_replicas replicas_of(const Skein__Wire__Shard *shard)
{
    struct placement_replicas replicas = {0};

    for (size_t i = 0; i < shard->n_node_ids && i < PLACEMENT_REPLICAS_MAX; i++)
        replicas.node_ids[replicas.count++] = shard->node_ids[i];
    return replicas;
}

static void count_replicas(struct work *work, const Skein__Wire__Shard *shard)
{
    for (size_t i = 0; i < shard->n_node_ids; i++) {
        struct placement_node *node = find_node(work, shard->node_ids[i]);

        if (node == NULL)
            continue;
        node->replicas++;
        node->leads += i == 0;
    }
}

static void plan_shard(struct work *work, const struct record *record, Skein__Wire__Shard *shard,
                       size_t replica_count)
{
    const struct planner_input *input = work->input;
    const uint64_t *changed_ms = map_find_u64(input->shard_changes, shard->id);
    struct placement_replicas replicas = replicas_of(shard);
    uint64_t *node_ids = shard->node_ids;
    size_t count = shard->n_node_ids;
    uint64_t settled_for_ms =
        input->now_ms - (changed_ms != NULL ? *changed_ms : input->leader_since_ms);

    if (!failover_repair(work->nodes, work->node_count, shard->id, replica_count, settled_for_ms,
                         input->options->repair_after_ms, &replicas))
        return;
    shard->epoch++;
    shard->node_ids = replicas.node_ids;
    shard->n_node_ids = replicas.count;
    put(work, record->key, &shard->base);
    shard->node_ids = node_ids; /* the message's own again, which frees it */
    shard->n_node_ids = count;
    work->plan->shards++;
}

static void each_shard(struct work *work,
                       void (*visit)(struct work *work, const struct record *record,
                                     Skein__Wire__Shard *shard, size_t replica_count),
                       size_t replica_count)
{
    const struct record *record;
    size_t place = records_seek(work->input->records, "shard/");

    while ((record = records_next(work->input->records, "shard/", &place)) != NULL) {
        Skein__Wire__Shard *shard =
            skein__wire__shard__unpack(NULL, record->value.size, record->value.data);

        if (shard == NULL)
            continue;
        if (visit != NULL && has_room(work))
            visit(work, record, shard, replica_count);
        else
            count_replicas(work, shard);
        skein__wire__shard__free_unpacked(shard, NULL);
    }
}

static void plan_repair(struct work *work, const struct record *cluster_record)
{
    Skein__Wire__Cluster *cluster =
        skein__wire__cluster__unpack(NULL, cluster_record->value.size, cluster_record->value.data);

    if (cluster == NULL)
        return;
    each_shard(work, NULL, 0);
    each_shard(work, plan_shard, cluster->replica_count);
    skein__wire__cluster__free_unpacked(cluster, NULL);
}

/* ---- functions ---- */

static Skein__Wire__FunctionPlacement *unpack_placement(const struct record *record)
{
    return record == NULL ? NULL
                          : skein__wire__function_placement__unpack(NULL, record->value.size,
                                                                    record->value.data);
}

static void plan_function(struct work *work, const char *name)
{
    const char *key = arena_printf(&work->arena, PLACEMENT_PREFIX "%s", name);
    Skein__Wire__FunctionPlacement *now = unpack_placement(records_find(work->input->records, key));
    Skein__Wire__FunctionPlacement wanted = SKEIN__WIRE__FUNCTION_PLACEMENT__INIT;
    uint64_t node_ids[PLACEMENT_FUNCTION_NODES_MAX];

    if (failover_function(work->nodes, work->node_count, name, work->input->options->function_nodes,
                          now != NULL ? now->node_ids : NULL, now != NULL ? now->n_node_ids : 0,
                          node_ids, &wanted.n_node_ids)) {
        wanted.function = (char *)(uintptr_t)name;
        wanted.epoch = now != NULL ? now->epoch + 1 : 1;
        wanted.node_ids = node_ids;
        put(work, key, &wanted.base);
        work->plan->functions++;
    }
    if (now != NULL)
        skein__wire__function_placement__free_unpacked(now, NULL);
}

static void plan_functions(struct work *work)
{
    const struct records *records = work->input->records;
    const struct record *record;
    size_t place = records_seek(records, FUNCTION_PREFIX);

    while (has_room(work) && (record = records_next(records, FUNCTION_PREFIX, &place)) != NULL)
        plan_function(work, record->key + strlen(FUNCTION_PREFIX));
    place = records_seek(records, PLACEMENT_PREFIX);
    while (has_room(work) && (record = records_next(records, PLACEMENT_PREFIX, &place)) != NULL) {
        const char *name = record->key + strlen(PLACEMENT_PREFIX);

        if (records_find(records, arena_printf(&work->arena, FUNCTION_PREFIX "%s", name)) != NULL)
            continue;
        add_operation(work, record->key)->is_delete = true;
        work->plan->functions++;
    }
}

/* ---- all of it ---- */

static void pack_command(struct work *work, struct buffer *command)
{
    Skein__Wire__CatalogueCommand message = SKEIN__WIRE__CATALOGUE_COMMAND__INIT;
    size_t size;

    message.operations = work->operations;
    message.n_operations = work->count;
    size = skein__wire__catalogue_command__get_packed_size(&message);
    CHECK(buffer_reserve(command, size) == OK);
    (void)skein__wire__catalogue_command__pack(&message, command->data + command->size);
    command->size += size;
}

void planner_plan(const struct planner_input *input, struct buffer *command,
                  struct planner_plan *plan)
{
    struct work *work = check_calloc(1, sizeof(*work));
    const struct record *cluster = records_find(input->records, "cluster");

    *plan = (struct planner_plan){0};
    work->input = input;
    work->plan = plan;
    arena_init(&work->arena);
    plan_known_nodes(work);
    plan_new_nodes(work);
    if (cluster != NULL)
        plan_repair(work, cluster);
    else if (is_time_for_birth(work))
        plan_birth(work);
    if (input->with_functions)
        plan_functions(work);
    plan->changes = work->count;
    plan->is_cut_short = !has_room(work);
    if (work->count > 0)
        pack_command(work, command);
    arena_close(&work->arena);
    free(work);
}
