#include "controller/planner.h"

#include "proto/base/check.h"
#include "proto/env/env_sim.h"
#include "proto/wire/catalogue.pb-c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define LEASE_MS 1000
#define REPAIR_MS 60000

static const struct planner_options options = {.shard_count = 12,
                                               .replica_count = 3,
                                               .function_nodes = 8,
                                               .expected_nodes = 6,
                                               .birth_wait_ms = 5000,
                                               .repair_after_ms = REPAIR_MS};

/* The records are applied here as the catalogue would, so that plans can be followed through. */
struct fixture {
    struct sim *sim;
    struct env *env;
    struct records *records;
    struct membership membership;
    struct map registrations;
    struct map shard_changes;
    uint64_t now_ms;
    struct planner_plan plan;
};

static void fixture_open(struct fixture *f)
{
    struct sim_options sim = sim_options_default(1);

    *f = (struct fixture){.sim = sim_new(&sim), .now_ms = 1000};
    f->env = sim_process_start(f->sim, 100001);
    assert_int_equal(records_open(f->env, "catalogue", &f->records), OK);
    membership_init(&f->membership, LEASE_MS);
    map_init(&f->registrations);
    map_init(&f->shard_changes);
}

static void fixture_close(struct fixture *f)
{
    struct map_entry *entry;
    size_t i = 0;

    while ((entry = map_next(&f->registrations, &i)) != NULL) {
        buffer_close(entry->value);
        free(entry->value);
    }
    map_close(&f->registrations);
    map_close(&f->shard_changes);
    membership_close(&f->membership);
    records_free(f->records);
    sim_free(f->sim);
}

static void node_register(struct fixture *f, uint64_t id, uint64_t incarnation)
{
    static const char *const regions[] = {"us-east-1", "eu-west-1", "ap-southeast-1"};
    Skein__Wire__Node node = SKEIN__WIRE__NODE__INIT;
    struct buffer *packed = map_find_u64(&f->registrations, id);
    char name[16];

    (void)snprintf(name, sizeof(name), "node-%u", (unsigned)id);
    node.id = id;
    node.name = name;
    node.region = (char *)(uintptr_t)regions[(id - 1) / 2 % 3];
    node.host = name;
    node.is_alive = true;
    node.incarnation = incarnation;
    node.disk_id = 1000 + id;
    if (packed == NULL) {
        packed = check_calloc(1, sizeof(*packed));
        buffer_init(packed, 4096);
        (void)map_set_u64(&f->registrations, id, packed);
    }
    buffer_clear(packed);
    assert_int_equal(buffer_reserve(packed, skein__wire__node__get_packed_size(&node)), OK);
    packed->size = skein__wire__node__pack(&node, packed->data);
    (void)membership_renew(&f->membership, id, f->now_ms);
}

static void all_register(struct fixture *f)
{
    for (uint64_t id = 1; id <= 6; id++)
        node_register(f, id, 1);
}

/* Makes the planned changes, and says how many there were. */
static size_t plan(struct fixture *f)
{
    AUTO(buffer) command = BUFFER_INIT(BUFFER_UNLIMITED);
    const struct planner_input input = {.options = &options,
                                        .records = f->records,
                                        .membership = &f->membership,
                                        .registrations = &f->registrations,
                                        .shard_changes = &f->shard_changes,
                                        .leader_since_ms = 1000,
                                        .now_ms = f->now_ms,
                                        .wall_ms = 5,
                                        .cluster_id = "c1",
                                        .with_functions = true};

    planner_plan(&input, &command, &f->plan);
    if (f->plan.changes == 0)
        return 0;
    Skein__Wire__CatalogueCommand *message =
        skein__wire__catalogue_command__unpack(NULL, command.size, command.data);
    uint64_t revision = records_revision(f->records) + 1;

    assert_non_null(message);
    assert_int_equal(message->n_operations, f->plan.changes);
    for (size_t i = 0; i < message->n_operations; i++) {
        const Skein__Wire__CatalogueOperation *operation = message->operations[i];
        const struct record *record = records_find(f->records, operation->key);
        struct record_change change = {operation->key,
                                       slice_of(operation->value.data, operation->value.len),
                                       revision, operation->is_delete};

        assert_true(operation->has_expectation);
        assert_int_equal(operation->expected_revision, record != NULL ? record->revision : 0);
        assert_int_equal(records_write(f->records, revision, &change, 1, NULL, 0), OK);
    }
    skein__wire__catalogue_command__free_unpacked(message, NULL);
    return f->plan.changes;
}

static void put(struct fixture *f, const char *key, const char *value)
{
    uint64_t revision = records_revision(f->records) + 1;
    struct record_change change = {key, slice_text(value), revision, false};

    assert_int_equal(records_write(f->records, revision, &change, 1, NULL, 0), OK);
}

static void be_born(struct fixture *f)
{
    fixture_open(f);
    all_register(f);
    while (plan(f) > 0) {
        /* until there is nothing left to do */
    }
    assert_non_null(records_find(f->records, "cluster"));
}

static Skein__Wire__Node *get_node(struct fixture *f, const char *key)
{
    const struct record *record = records_find(f->records, key);
    Skein__Wire__Node *node;

    assert_non_null(record);
    node = skein__wire__node__unpack(NULL, record->value.size, record->value.data);
    assert_non_null(node);
    return node;
}

static Skein__Wire__Shard *get_shard(struct fixture *f, const char *key)
{
    const struct record *record = records_find(f->records, key);
    Skein__Wire__Shard *shard;

    assert_non_null(record);
    shard = skein__wire__shard__unpack(NULL, record->value.size, record->value.data);
    assert_non_null(shard);
    return shard;
}

static bool holds(const Skein__Wire__Shard *shard, uint64_t id)
{
    for (size_t i = 0; i < shard->n_node_ids; i++)
        if (shard->node_ids[i] == id)
            return true;
    return false;
}

/* ---- birth ---- */

static void birth__all_expected_nodes__cluster_and_shards_at_once(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    all_register(&f);

    assert_int_equal(plan(&f), 6); /* first the nodes */
    assert_int_equal(f.plan.nodes, 6);
    assert_int_equal(plan(&f), 13); /* then the cluster and its shards, in one change */
    assert_true(f.plan.is_birth);
    assert_int_equal(plan(&f), 0);

    Skein__Wire__Shard *shard = get_shard(&f, "shard/0011");

    assert_int_equal(shard->id, 11);
    assert_int_equal(shard->epoch, 1);
    assert_int_equal(shard->n_node_ids, 3);
    assert_int_equal(shard->n_born_with, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(shard->born_with[i], shard->node_ids[i]);
        assert_int_equal(shard->born_disks[i], 1000 + shard->node_ids[i]);
    }
    skein__wire__shard__free_unpacked(shard, NULL);
    fixture_close(&f);
}

static void birth__some_nodes_missing__after_the_wait(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    node_register(&f, 1, 1);
    node_register(&f, 3, 1);
    assert_int_equal(plan(&f), 2);
    assert_int_equal(plan(&f), 0);

    f.now_ms += options.birth_wait_ms - 1;
    node_register(&f, 1, 1);
    assert_int_equal(plan(&f), 0);
    f.now_ms += 1;
    assert_int_equal(plan(&f), 13);

    Skein__Wire__Shard *shard = get_shard(&f, "shard/0000");

    assert_int_equal(shard->n_node_ids, 2);
    skein__wire__shard__free_unpacked(shard, NULL);
    fixture_close(&f);
}

static void birth__a_node_is_just_registering__waits_for_its_record(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    all_register(&f);
    assert_int_equal(plan(&f), 6);
    node_register(&f, 7, 1);

    assert_int_equal(plan(&f), 1);
    assert_int_equal(f.plan.nodes, 1);
    assert_int_equal(plan(&f), 13);
    fixture_close(&f);
}

static void birth__nobody__waits(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    f.now_ms += 10 * options.birth_wait_ms;

    assert_int_equal(plan(&f), 0);
    fixture_close(&f);
}

/* ---- nodes ---- */

static void node__lease_lost_and_back__record_says_so(void **state)
{
    struct fixture f;

    (void)state;
    be_born(&f);
    (void)membership_lose(&f.membership, 2, f.now_ms);

    assert_int_equal(plan(&f), 1);
    Skein__Wire__Node *node = get_node(&f, "node/2");

    assert_false(node->is_alive);
    assert_string_equal(node->name, "node-2");
    skein__wire__node__free_unpacked(node, NULL);
    assert_int_equal(plan(&f), 0);

    node_register(&f, 2, 9);
    assert_int_equal(plan(&f), 1);
    node = get_node(&f, "node/2");
    assert_true(node->is_alive);
    assert_int_equal(node->incarnation, 9);
    skein__wire__node__free_unpacked(node, NULL);
    assert_int_equal(plan(&f), 0);
    fixture_close(&f);
}

static void node__alive_but_not_heard_by_this_leader__record_kept(void **state)
{
    struct fixture f;
    struct buffer *packed;

    (void)state;
    be_born(&f);
    packed = map_remove_u64(&f.registrations, 2); /* a fresh lease, no registration yet */
    buffer_close(packed);
    free(packed);

    assert_int_equal(plan(&f), 0);
    fixture_close(&f);
}

/* ---- functions ---- */

static void function__made_and_deleted__placement_follows(void **state)
{
    struct fixture f;
    const struct record *record;
    struct record_change gone = {.key = "function/checkout", .revision = 99, .is_delete = true};

    (void)state;
    be_born(&f);
    put(&f, "function/checkout", "code");

    assert_int_equal(plan(&f), 1);
    record = records_find(f.records, "placement/checkout");
    assert_non_null(record);
    Skein__Wire__FunctionPlacement *placement =
        skein__wire__function_placement__unpack(NULL, record->value.size, record->value.data);

    assert_string_equal(placement->function, "checkout");
    assert_int_equal(placement->epoch, 1);
    assert_int_equal(placement->n_node_ids, 6);
    skein__wire__function_placement__free_unpacked(placement, NULL);
    assert_int_equal(plan(&f), 0);

    assert_int_equal(records_write(f.records, 99, &gone, 1, NULL, 0), OK);
    assert_int_equal(plan(&f), 1);
    assert_null(records_find(f.records, "placement/checkout"));
    fixture_close(&f);
}

static void function__node_lost__moved_in_the_same_change(void **state)
{
    struct fixture f;

    (void)state;
    be_born(&f);
    put(&f, "function/checkout", "code");
    put(&f, "function/search", "code");
    (void)plan(&f);
    (void)membership_lose(&f.membership, 2, f.now_ms);

    assert_int_equal(plan(&f), 3);
    assert_int_equal(f.plan.nodes, 1);
    assert_int_equal(f.plan.functions, 2);
    const struct record *record = records_find(f.records, "placement/search");
    Skein__Wire__FunctionPlacement *placement =
        skein__wire__function_placement__unpack(NULL, record->value.size, record->value.data);

    assert_int_equal(placement->epoch, 2);
    assert_int_equal(placement->n_node_ids, 5);
    for (size_t i = 0; i < 5; i++)
        assert_int_not_equal(placement->node_ids[i], 2);
    skein__wire__function_placement__free_unpacked(placement, NULL);
    fixture_close(&f);
}

/* ---- repair ---- */

static void repair__node_lost_for_long__its_shards_move_one_by_one_epoch(void **state)
{
    struct fixture f;
    size_t moved = 0;
    char key[16];

    (void)state;
    be_born(&f);
    (void)membership_lose(&f.membership, 2, f.now_ms);
    (void)plan(&f);

    f.now_ms += REPAIR_MS - 1;
    assert_int_equal(plan(&f), 0);
    f.now_ms += 1;
    assert_int_equal(plan(&f), 6); /* it held half of the twelve */
    for (unsigned i = 0; i < 12; i++) {
        (void)snprintf(key, sizeof(key), "shard/%04u", i);
        Skein__Wire__Shard *shard = get_shard(&f, key);

        assert_false(holds(shard, 2));
        assert_int_equal(shard->n_node_ids, 3);
        if (shard->epoch == 2) {
            assert_true(holds(shard, 1)); /* the other node of the region */
            moved++;
        }
        skein__wire__shard__free_unpacked(shard, NULL);
    }
    assert_int_equal(moved, 6);
    assert_int_equal(plan(&f), 0);
    fixture_close(&f);
}

static size_t replicas_on(struct fixture *f, uint64_t id)
{
    size_t count = 0;
    char key[16];

    for (unsigned i = 0; i < 12; i++) {
        (void)snprintf(key, sizeof(key), "shard/%04u", i);
        Skein__Wire__Shard *shard = get_shard(f, key);

        count += holds(shard, id);
        skein__wire__shard__free_unpacked(shard, NULL);
    }
    return count;
}

static void repair__nodes_joined_later__they_take_over(void **state)
{
    struct fixture f;

    (void)state;
    be_born(&f);
    node_register(&f, 7, 1); /* of the region of nodes 1 and 2 */
    node_register(&f, 8, 1);
    (void)membership_lose(&f.membership, 2, f.now_ms);
    assert_int_equal(plan(&f), 3);
    f.now_ms += REPAIR_MS;
    assert_int_equal(plan(&f), 6);

    assert_int_equal(replicas_on(&f, 1), 6); /* as busy as before */
    assert_int_equal(replicas_on(&f, 2), 0);
    assert_int_equal(replicas_on(&f, 7), 3);
    assert_int_equal(replicas_on(&f, 8), 3);
    fixture_close(&f);
}

static void repair__shard_changed_a_moment_ago__left_alone(void **state)
{
    struct fixture f;
    uint64_t changed_ms;

    (void)state;
    be_born(&f);
    (void)membership_lose(&f.membership, 2, f.now_ms);
    (void)plan(&f);
    f.now_ms += 2 * REPAIR_MS;
    changed_ms = f.now_ms - 10;
    for (uint64_t i = 0; i < 11; i++)
        (void)map_set_u64(&f.shard_changes, i, &changed_ms);

    assert_true(plan(&f) <= 1); /* only shard 11 may be moved */
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(birth__all_expected_nodes__cluster_and_shards_at_once),
        cmocka_unit_test(birth__some_nodes_missing__after_the_wait),
        cmocka_unit_test(birth__a_node_is_just_registering__waits_for_its_record),
        cmocka_unit_test(birth__nobody__waits),
        cmocka_unit_test(node__lease_lost_and_back__record_says_so),
        cmocka_unit_test(node__alive_but_not_heard_by_this_leader__record_kept),
        cmocka_unit_test(function__made_and_deleted__placement_follows),
        cmocka_unit_test(function__node_lost__moved_in_the_same_change),
        cmocka_unit_test(repair__node_lost_for_long__its_shards_move_one_by_one_epoch),
        cmocka_unit_test(repair__nodes_joined_later__they_take_over),
        cmocka_unit_test(repair__shard_changed_a_moment_ago__left_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
