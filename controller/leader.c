#include "controller/leader.h"

#include "proto/base/check.h"
#include "proto/base/encode.h"
#include "proto/base/log.h"
#include "proto/wire/watch.pb-c.h"

#include <inttypes.h>

#define TICK_MS 100
#define PLAN_RETRY_MS 1000
#define REGISTRATION_BYTES_MAX 4096

struct registration {   /* what a node last said of itself */
    struct buffer node; /* packed, is_alive set; first, because the planner reads it as a buffer */
    uint64_t incarnation;
};

struct leader {
    struct leader_options options;
    struct group *group;
    bool is_leading;
    uint64_t since_ms;
    struct membership membership;
    struct map registrations; /* node id -> struct registration */
    struct map shard_changes; /* shard id -> uint64_t, when it changed */
    struct env_timer tick;
    struct env_task task;
    struct group_proposal proposal;
    struct planner_plan plan; /* the one proposed */
    bool is_proposing;
    bool with_functions; /* the next plan looks at them */
    uint64_t plan_after_ms;
};

static uint64_t now_ms(const struct leader *leader)
{
    return env_now_ms(leader->options.env);
}

/* ---- planning ---- */

static void plan_now(struct env_task *task);

static void plan_soon(struct leader *leader)
{
    if (leader->is_leading)
        env_defer(leader->options.env, &leader->task, plan_now);
}

static void log_plan(const struct planner_plan *plan, uint64_t revision)
{
    if (plan->is_birth)
        log_info("leader.cluster_born shards=%zu revision=%" PRIu64, plan->shards, revision);
    else
        log_info("leader.planned nodes=%zu shards=%zu functions=%zu revision=%" PRIu64, plan->nodes,
                 plan->shards, plan->functions, revision);
}

static void on_planned(struct group_proposal *proposal, enum error rc, uint64_t index)
{
    struct leader *leader = container_of(proposal, struct leader, proposal);
    uint64_t revision = 0;

    leader->is_proposing = false;
    if (rc == OK)
        rc = updates_outcome(leader->options.updates, index, &revision);
    if (rc == OK) {
        log_plan(&leader->plan, revision);
    } else {
        leader->with_functions = true; /* whatever it was to change is still to be done */
        if (rc != ERR_CONFLICT && rc != ERR_NOT_LEADER && rc != ERR_LOST && rc != ERR_OVERLOADED) {
            log_warn("leader.plan_failed rc=%s retry_ms=%d", error_name(rc), PLAN_RETRY_MS);
            leader->plan_after_ms = now_ms(leader) + PLAN_RETRY_MS;
        }
    }
    if (rc == ERR_OVERLOADED)
        return; /* the next tick tries again */
    plan_soon(leader);
}

static void plan_now(struct env_task *task)
{
    struct leader *leader = container_of(task, struct leader, task);
    AUTO(buffer) command = BUFFER_INIT(CATALOGUE_COMMAND_BYTES_MAX);
    char cluster_id[17];
    uint64_t random = env_random(leader->options.env);
    struct planner_input input = {.options = &leader->options.planner,
                                  .records = catalogue_records(leader->options.catalogue),
                                  .membership = &leader->membership,
                                  .registrations = &leader->registrations,
                                  .shard_changes = &leader->shard_changes,
                                  .leader_since_ms = leader->since_ms,
                                  .now_ms = now_ms(leader),
                                  .wall_ms = env_wall_ms(leader->options.env),
                                  .cluster_id = cluster_id,
                                  .with_functions = leader->with_functions};

    if (!leader->is_leading || leader->is_proposing || now_ms(leader) < leader->plan_after_ms)
        return;
    encode_hex(slice_of(&random, sizeof(random)), cluster_id);
    planner_plan(&input, &command, &leader->plan);
    leader->with_functions = leader->with_functions && leader->plan.is_cut_short;
    if (leader->plan.changes == 0)
        return;
    leader->is_proposing = true;
    group_propose(leader->group, &leader->proposal, buffer_slice(&command), on_planned);
}

/* Some nodes have just been found lost. */
static void on_lost(struct leader *leader)
{
    const struct membership *membership = &leader->membership;

    leader->with_functions = true;
    for (size_t i = 0; i < membership->count; i++) {
        const struct member *member = &membership->members[i];

        if (!member->is_alive && member->lost_ms == now_ms(leader))
            log_info("leader.node_lost id=%" PRIu64 " alive=%zu of=%zu", member->id,
                     membership_alive(membership), membership->count);
    }
}

static void on_tick(struct env_timer *timer)
{
    struct leader *leader = container_of(timer, struct leader, tick);

    env_timer_start(leader->options.env, &leader->tick, TICK_MS * 1000, on_tick);
    if (membership_tick(&leader->membership, now_ms(leader)))
        on_lost(leader);
    updates_check(leader->options.updates);
    plan_soon(leader);
}

/* ---- the catalogue changes ---- */

static bool starts_with(const char *key, const char *prefix)
{
    return strncmp(key, prefix, strlen(prefix)) == 0;
}

static void forget_node(struct leader *leader, uint64_t id)
{
    struct registration *registration = map_remove_u64(&leader->registrations, id);

    if (registration != NULL)
        buffer_close(&registration->node);
    free(registration);
    membership_remove(&leader->membership, id);
    watch_forget(leader->options.watch, id);
}

/* A node that the catalogue knows, to the membership if it is new to this leader. */
static void learn_node(struct leader *leader, const struct record *record)
{
    Skein__Wire__Node *node =
        skein__wire__node__unpack(NULL, record->value.size, record->value.data);

    if (node == NULL)
        return;
    if (membership_find(&leader->membership, node->id) == NULL)
        membership_add(&leader->membership, node->id, node->is_alive, now_ms(leader));
    skein__wire__node__free_unpacked(node, NULL);
}

static void learn_all_nodes(struct leader *leader)
{
    const struct records *records = catalogue_records(leader->options.catalogue);
    const struct record *record;
    size_t place = records_seek(records, "node/");

    while ((record = records_next(records, "node/", &place)) != NULL)
        learn_node(leader, record);
}

static void note_shard_change(struct leader *leader, uint64_t shard)
{
    uint64_t *changed_ms = map_find_u64(&leader->shard_changes, shard);

    if (changed_ms == NULL) {
        changed_ms = check_malloc(sizeof(*changed_ms));
        (void)map_set_u64(&leader->shard_changes, shard, changed_ms);
    }
    *changed_ms = now_ms(leader);
}

static void on_node_change(struct leader *leader, const char *key)
{
    const struct record *record = records_find(catalogue_records(leader->options.catalogue), key);

    leader->with_functions = true;
    if (record != NULL)
        learn_node(leader, record);
    else
        forget_node(leader, strtoull(key + strlen("node/"), NULL, 10));
}

void leader_on_change(struct leader *leader, const char *key)
{
    if (!leader->is_leading || key == NULL) /* a snapshot: whoever gets one leads no longer */
        return;
    if (starts_with(key, "node/"))
        on_node_change(leader, key);
    else if (starts_with(key, "shard/"))
        note_shard_change(leader, strtoull(key + strlen("shard/"), NULL, 10));
    else if (starts_with(key, "function/") || starts_with(key, "placement/"))
        leader->with_functions = true;
    watch_wake(leader->options.watch);
    plan_soon(leader);
}

/* ---- leading ---- */

static void free_shard_changes(struct leader *leader)
{
    struct map_entry *entry;
    size_t i = 0;

    while ((entry = map_next(&leader->shard_changes, &i)) != NULL)
        free(entry->value);
    map_close(&leader->shard_changes);
}

static void free_registrations(struct leader *leader)
{
    struct map_entry *entry;
    size_t i = 0;

    while ((entry = map_next(&leader->registrations, &i)) != NULL) {
        struct registration *registration = entry->value;

        buffer_close(&registration->node);
        free(registration);
    }
    map_close(&leader->registrations);
}

static void forget_leading(struct leader *leader)
{
    membership_close(&leader->membership);
    free_registrations(leader);
    free_shard_changes(leader);
}

void leader_start(struct leader *leader, uint64_t term)
{
    log_info("leader.started term=%" PRIu64 " revision=%" PRIu64, term,
             catalogue_revision(leader->options.catalogue));
    forget_leading(leader);
    leader->is_leading = true;
    leader->since_ms = now_ms(leader);
    leader->with_functions = true;
    leader->plan_after_ms = 0;
    learn_all_nodes(leader);
    watch_start(leader->options.watch, term);
    env_timer_start(leader->options.env, &leader->tick, TICK_MS * 1000, on_tick);
    plan_soon(leader);
}

void leader_stop(struct leader *leader)
{
    if (!leader->is_leading)
        return;
    log_info("leader.stopped revision=%" PRIu64, catalogue_revision(leader->options.catalogue));
    leader->is_leading = false;
    env_timer_stop(leader->options.env, &leader->tick);
    env_defer_cancel(leader->options.env, &leader->task);
    watch_stop(leader->options.watch);
    updates_give_up(leader->options.updates);
    forget_leading(leader);
}

bool leader_is_leading(const struct leader *leader)
{
    return leader->is_leading;
}

/* ---- registration ---- */

static void answer_registration(struct leader *leader, struct call_request *request, enum error rc,
                                uint64_t incarnation)
{
    Skein__Wire__RegisterAnswer message = SKEIN__WIRE__REGISTER_ANSWER__INIT;
    uint8_t bytes[64];

    message.outcome = (uint32_t)rc;
    message.leader = group_leader(leader->group);
    message.revision = catalogue_revision(leader->options.catalogue);
    message.incarnation = incarnation;
    CHECK(skein__wire__register_answer__get_packed_size(&message) <= sizeof(bytes));
    size_t size = skein__wire__register_answer__pack(&message, bytes);

    call_answer(request, OK, slice_of(bytes, size));
}

static bool is_plain(const char *text, size_t bytes_max)
{
    return records_key_is_valid(slice_text(text)) && strlen(text) <= bytes_max;
}

static enum error check_registration(const struct leader *leader,
                                     const struct call_request *request,
                                     const Skein__Wire__RegisterRequest *message)
{
    const Skein__Wire__Node *node = message->node;

    if (node == NULL || request->body.size > REGISTRATION_BYTES_MAX)
        return ERR_INVALID;
    if (node->id != request->peer || node->id == 0 || node->id >= ENV_CONTROLLER_ID_MIN)
        return ERR_DENIED;
    if (!is_plain(node->name, 64) || !is_plain(node->region, 64) || !is_plain(node->host, 255))
        return ERR_INVALID;
    if (message->revision > catalogue_revision(leader->options.catalogue))
        return ERR_CONFLICT;
    return OK;
}

static uint64_t recorded_incarnation(const struct leader *leader, uint64_t id)
{
    char key[32];
    AUTO(buffer) text = BUFFER_INIT(sizeof(key));
    const struct registration *registration = map_find_u64(&leader->registrations, id);
    const struct record *record;
    uint64_t incarnation = 0;

    if (registration != NULL)
        return registration->incarnation;
    buffer_putf(&text, "node/%" PRIu64, id);
    record = records_find(catalogue_records(leader->options.catalogue), buffer_text(&text));
    if (record == NULL)
        return 0;
    Skein__Wire__Node *node =
        skein__wire__node__unpack(NULL, record->value.size, record->value.data);

    if (node != NULL) {
        incarnation = node->incarnation;
        skein__wire__node__free_unpacked(node, NULL);
    }
    return incarnation;
}

/* Keep what the node says of itself. True when it is something new. */
static bool note_registration(struct leader *leader, Skein__Wire__Node *node)
{
    struct registration *registration = map_find_u64(&leader->registrations, node->id);
    struct buffer packed = BUFFER_INIT(2 * REGISTRATION_BYTES_MAX);
    size_t size;

    node->is_alive = true;
    size = skein__wire__node__get_packed_size(node);
    CHECK(buffer_reserve(&packed, size) == OK);
    packed.size = skein__wire__node__pack(node, packed.data);
    if (registration == NULL) {
        registration = check_calloc(1, sizeof(*registration));
        (void)map_set_u64(&leader->registrations, node->id, registration);
    }
    registration->incarnation = node->incarnation;
    if (slice_equal(buffer_slice(&registration->node), buffer_slice(&packed))) {
        buffer_close(&packed);
        return false;
    }
    buffer_close(&registration->node);
    registration->node = packed;
    return true;
}

/* A heartbeat of a node, with everything in order. */
static void heard_node(struct leader *leader, Skein__Wire__RegisterRequest *message)
{
    Skein__Wire__Node *node = message->node;
    bool is_news = note_registration(leader, node);

    if (membership_renew(&leader->membership, node->id, now_ms(leader))) {
        log_info("leader.node_alive id=%" PRIu64 " name=%s region=%s incarnation=%" PRIu64,
                 node->id, node->name, node->region, node->incarnation);
        leader->with_functions = true;
        is_news = true;
    }
    watch_heard(leader->options.watch, node->id, node->incarnation, message->revision);
    if (is_news)
        plan_soon(leader);
}

void leader_on_register(struct leader *leader, struct call_request *request)
{
    Skein__Wire__RegisterRequest *message =
        skein__wire__register_request__unpack(NULL, request->body.size, request->body.data);
    uint64_t incarnation = 0;
    enum error rc = ERR_INVALID;

    if (!leader->is_leading)
        rc = ERR_NOT_LEADER;
    else if (message != NULL)
        rc = check_registration(leader, request, message);
    if (rc == OK) {
        incarnation = recorded_incarnation(leader, message->node->id);
        if (message->node->incarnation < incarnation)
            rc = ERR_STALE_EPOCH;
    }
    if (rc == OK)
        heard_node(leader, message);
    if (message != NULL)
        skein__wire__register_request__free_unpacked(message, NULL);
    answer_registration(leader, request, rc, incarnation);
}

/* ---- other events ---- */

void leader_on_refused(struct leader *leader, uint64_t node)
{
    if (!leader->is_leading || !membership_lose(&leader->membership, node, now_ms(leader)))
        return;
    on_lost(leader);
    updates_check(leader->options.updates);
    plan_soon(leader);
}

bool leader_is_everywhere(const struct leader *leader, uint64_t revision)
{
    const struct membership *membership = &leader->membership;

    for (size_t i = 0; i < membership->count; i++) {
        const struct member *member = &membership->members[i];

        if (member->is_alive && watch_acked(leader->options.watch, member->id) < revision)
            return false;
    }
    return true;
}

static void member_status(const struct leader *leader, const struct member *member,
                          struct json_write *json)
{
    uint64_t now = now_ms(leader);

    json_begin_object(json);
    json_member_u64(json, "id", member->id);
    json_member_bool(json, "is_alive", member->is_alive);
    if (member->is_alive)
        json_member_u64(json, "lease_left_ms",
                        member->lease_until_ms > now ? member->lease_until_ms - now : 0);
    else
        json_member_u64(json, "lost_for_ms", now - member->lost_ms);
    json_member_u64(json, "revision", watch_acked(leader->options.watch, member->id));
    json_end_object(json);
}

void leader_status(const struct leader *leader, struct json_write *json)
{
    json_key(json, "leases");
    json_begin_array(json);
    for (size_t i = 0; i < leader->membership.count; i++)
        member_status(leader, &leader->membership.members[i], json);
    json_end_array(json);
    json_member_u64(json, "plans_pending", leader->is_proposing ? leader->plan.changes : 0);
    json_member_u64(json, "updates_pending", updates_count(leader->options.updates));
}

/* ---- life ---- */

struct leader *leader_new(const struct leader_options *options)
{
    struct leader *leader = check_calloc(1, sizeof(*leader));

    leader->options = *options;
    membership_init(&leader->membership, options->lease_ms);
    return leader;
}

void leader_attach(struct leader *leader, struct group *group)
{
    leader->group = group;
}

void leader_free(struct leader *leader)
{
    if (leader == NULL)
        return;
    env_timer_stop(leader->options.env, &leader->tick);
    env_defer_cancel(leader->options.env, &leader->task);
    forget_leading(leader);
    free(leader);
}
