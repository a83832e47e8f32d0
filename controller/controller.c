#include "controller/controller.h"

#include "controller/leader.h"
#include "proto/base/check.h"
#include "proto/base/log.h"
#include "proto/raft/host.h"
#include "proto/wire/catalogue.pb-c.h"

#include <inttypes.h>

#define STATUS_BYTES_MAX (1u << 20)

struct controller {
    struct env *env;
    struct controller_options options;
    struct calls *calls;
    struct host *host;
    struct group *group;
    struct catalogue *catalogue;
    struct watch *watch;
    struct updates *updates;
    struct leader *leader;
    struct env_link_watcher link_watcher;
    bool has_failed;
    bool is_permit_left; /* to be removed */
};

void controller_options_init(struct controller_options *options)
{
    *options = (struct controller_options){
        .lease_ms = 1000,
        .heartbeat_ms = 100,
        .election_ms = 1000,
        .planner = {.shard_count = 12,
                    .replica_count = 3,
                    .function_nodes = 8,
                    .expected_nodes = 6,
                    .birth_wait_ms = 30000,
                    .repair_after_ms = 60000},
    };
}

static void fail(struct controller *controller, enum error rc, const char *why)
{
    if (controller->has_failed)
        return;
    controller->has_failed = true;
    log_error("controller.failed rc=%s why=\"%s\"", error_name(rc), why);
    if (controller->options.on_fatal != NULL)
        controller->options.on_fatal(controller->options.user, rc, why);
}

/* ---- the catalogue changes ---- */

/* The link learns the address of a node. */
static void learn_node(struct controller *controller, const struct record *record)
{
    Skein__Wire__Node *node =
        skein__wire__node__unpack(NULL, record->value.size, record->value.data);

    if (node == NULL)
        return;
    if (node->mesh_endpoint[0] != '\0' && node->id != 0 && node->id < ENV_CONTROLLER_ID_MIN)
        controller->env->link->peer_set(controller->env, node->id, node->mesh_endpoint,
                                        node->public_key);
    skein__wire__node__free_unpacked(node, NULL);
}

static void learn_all_nodes(struct controller *controller)
{
    const struct records *records = catalogue_records(controller->catalogue);
    const struct record *record;
    size_t place = records_seek(records, "node/");

    while ((record = records_next(records, "node/", &place)) != NULL)
        learn_node(controller, record);
}

static void on_change(void *user, const char *key)
{
    struct controller *controller = user;
    const struct record *record =
        key != NULL ? records_find(catalogue_records(controller->catalogue), key) : NULL;

    if (key == NULL)
        learn_all_nodes(controller);
    else if (record != NULL && strncmp(key, "node/", strlen("node/")) == 0)
        learn_node(controller, record);
    leader_on_change(controller->leader, key);
}

/* ---- the state machine, as the group sees it ---- */

static uint64_t machine_applied(void *user)
{
    struct controller *controller = user;

    return catalogue_applied(controller->catalogue);
}

/* Whoever has applied something was born. */
static void remove_permit(struct controller *controller)
{
    struct env *env = controller->env;
    enum error rc = env->disk->remove(env, controller->options.birth_file);

    controller->is_permit_left = false;
    if (rc != OK && rc != ERR_NOT_FOUND)
        log_warn("controller.birth_file_left rc=%s", error_name(rc));
}

static void machine_apply(void *user, uint64_t index, uint64_t term, struct slice entry)
{
    struct controller *controller = user;
    uint64_t revision = 0;

    (void)term;
    if (controller->has_failed)
        return;
    if (controller->is_permit_left)
        remove_permit(controller);
    enum error rc = catalogue_apply(controller->catalogue, index, entry, &revision);

    updates_on_applied(controller->updates, index, rc, revision);
    if (rc == ERR_IO)
        fail(controller, rc, "cannot write the catalogue");
}

static void machine_make_durable(void *user, struct env_disk_op *op, env_disk_cb cb)
{
    struct controller *controller = user;

    catalogue_make_durable(controller->catalogue, op, cb);
}

static void *machine_snapshot_pin(void *user)
{
    struct controller *controller = user;

    return catalogue_pin(controller->catalogue);
}

static enum error machine_snapshot_read(void *user, void *pin, struct buffer *position,
                                        size_t chunk_bytes, struct buffer *chunk, bool *is_last)
{
    (void)user;
    return records_pin_dump(pin, position, chunk_bytes, chunk, is_last);
}

static void machine_snapshot_unpin(void *user, void *pin)
{
    (void)user;
    records_unpin(pin);
}

static enum error machine_snapshot_begin(void *user)
{
    struct controller *controller = user;

    catalogue_snapshot_begin(controller->catalogue);
    return OK;
}

static enum error machine_snapshot_chunk(void *user, struct slice chunk)
{
    struct controller *controller = user;

    return catalogue_snapshot_chunk(controller->catalogue, chunk);
}

static enum error machine_snapshot_install(void *user, uint64_t index)
{
    struct controller *controller = user;

    return catalogue_snapshot_install(controller->catalogue, index);
}

static void machine_on_role(void *user, enum group_role role, uint64_t term, uint64_t leader)
{
    struct controller *controller = user;

    log_debug("controller.role role=%d term=%" PRIu64 " leader=%" PRIu64, (int)role, term, leader);
    if (role == GROUP_LEADER)
        leader_start(controller->leader, term);
    else
        leader_stop(controller->leader);
}

/* ---- the others ---- */

static void on_register(void *user, struct call_request *request)
{
    struct controller *controller = user;

    leader_on_register(controller->leader, request);
}

static void on_update(void *user, struct call_request *request)
{
    struct controller *controller = user;

    updates_on_request(controller->updates, request);
}

static bool is_everywhere(void *user, uint64_t revision)
{
    struct controller *controller = user;

    return leader_is_everywhere(controller->leader, revision);
}

static void watch_on_ack(void *user, uint64_t node)
{
    struct controller *controller = user;

    (void)node;
    updates_check(controller->updates);
}

static void link_on_up(void *user, uint64_t peer)
{
    (void)user;
    (void)peer;
}

/* Refused means that nobody listens there any more. */
static void link_on_down(void *user, uint64_t peer, enum env_down_reason reason)
{
    struct controller *controller = user;

    if (reason == ENV_DOWN_REFUSED)
        leader_on_refused(controller->leader, peer);
}

static void on_admin(void *user, struct call_request *request)
{
    struct controller *controller = user;
    AUTO(buffer) json = BUFFER_INIT(STATUS_BYTES_MAX);

    if (!slice_equal_text(request->body, "status")) {
        call_answer(request, ERR_INVALID, slice_of(NULL, 0));
        return;
    }
    controller_status(controller, &json);
    call_answer(request, OK, buffer_slice(&json));
}

static void host_on_fatal(void *user, enum error rc, const char *why)
{
    fail(user, rc, why);
}

/* ---- life ---- */

static enum error open_catalogue(struct controller *controller)
{
    struct env *env = controller->env;
    enum error rc = catalogue_open(env, "catalogue", &controller->catalogue);

    if (rc != ERR_CORRUPT)
        return rc;
    log_error("controller.catalogue_damaged action=\"removed, to be fetched from the others\"");
    rc = env->disk->remove(env, "catalogue");
    return rc == OK ? catalogue_open(env, "catalogue", &controller->catalogue) : rc;
}

/* A controller with nothing on its disk is new, or has lost all it knew and has voted before. Only
 * who made the cluster can tell, by a file; without it the others must bring it up to date before
 * it votes. */
static enum error check_birth(struct controller *controller, bool *may_be_born)
{
    struct env *env = controller->env;
    struct env_file *file;
    enum error rc;

    *may_be_born = true;
    if (controller->options.birth_file == NULL)
        return OK;
    rc = env->disk->open(env, controller->options.birth_file, false, &file);
    *may_be_born = controller->is_permit_left = rc == OK;
    if (rc != OK)
        return rc == ERR_NOT_FOUND ? OK : rc;
    env->disk->close(env, file);
    return OK;
}

static enum error open_group(struct controller *controller)
{
    const struct controller_options *options = &controller->options;
    struct host_options host = {.folder = "journal",
                                .heartbeat_ms = options->heartbeat_ms,
                                .election_ms = options->election_ms,
                                .snapshot_entries = 4096,
                                .snapshot_bytes = 16u << 20,
                                .trailing_entries = 2048,
                                .segment_bytes = 16u << 20,
                                .user = controller,
                                .on_fatal = host_on_fatal};
    struct group_options group = {.id = CONTROLLER_GROUP_ID,
                                  .born_with = options->controller_ids,
                                  .born_with_count = options->controller_count,
                                  .machine = {.user = controller,
                                              .applied = machine_applied,
                                              .apply = machine_apply,
                                              .make_durable = machine_make_durable,
                                              .snapshot_pin = machine_snapshot_pin,
                                              .snapshot_read = machine_snapshot_read,
                                              .snapshot_unpin = machine_snapshot_unpin,
                                              .snapshot_begin = machine_snapshot_begin,
                                              .snapshot_chunk = machine_snapshot_chunk,
                                              .snapshot_install = machine_snapshot_install,
                                              .on_role = machine_on_role}};
    bool may_be_born;
    enum error rc = check_birth(controller, &may_be_born);

    if (rc == OK)
        rc = host_open(controller->env, &host, &controller->host);
    if (rc != OK)
        return rc;
    if (!may_be_born && !host_group_is_known(controller->host, group.id)) {
        log_warn("controller.rejoins why=\"no data, and no file %s\" action=\"no vote until the "
                 "others have brought it up to date\"",
                 options->birth_file);
        group.born_with_count = 0;
    }
    return host_group_start(controller->host, &group, &controller->group);
}

static void listen_to_others(struct controller *controller)
{
    struct env *env = controller->env;

    calls_handle(controller->calls, CALL_REGISTER, controller, on_register);
    calls_handle(controller->calls, CALL_CATALOGUE_UPDATE, controller, on_update);
    calls_handle(controller->calls, CALL_ADMIN, controller, on_admin);
    if (controller->options.links != NULL)
        link_rules_serve(controller->options.links, controller->calls);
    controller->link_watcher =
        (struct env_link_watcher){.user = controller, .on_up = link_on_up, .on_down = link_on_down};
    env->link->watch(env, &controller->link_watcher);
}

static void make_parts(struct controller *controller)
{
    struct env *env = controller->env;

    controller->watch = watch_new(env, controller->catalogue, controller, watch_on_ack);
    controller->updates = updates_new(env, controller, is_everywhere);
    controller->leader =
        leader_new(&(struct leader_options){.env = env,
                                            .catalogue = controller->catalogue,
                                            .watch = controller->watch,
                                            .updates = controller->updates,
                                            .lease_ms = controller->options.lease_ms,
                                            .planner = controller->options.planner});
    catalogue_listen(controller->catalogue, controller, on_change);
    learn_all_nodes(controller);
}

struct controller *controller_new(struct env *env, const struct controller_options *options)
{
    struct controller *controller = check_calloc(1, sizeof(*controller));

    controller->env = env;
    controller->options = *options;
    controller->calls = calls_new(env);
    enum error rc = open_catalogue(controller);

    if (rc == OK) {
        make_parts(controller);
        rc = open_group(controller);
    }
    if (rc != OK) {
        log_error("controller.start_failed rc=%s", error_name(rc));
        controller_free(controller);
        return NULL;
    }
    updates_attach(controller->updates, controller->group);
    leader_attach(controller->leader, controller->group);
    listen_to_others(controller);
    return controller;
}

void controller_free(struct controller *controller)
{
    if (controller == NULL)
        return;
    if (controller->link_watcher.user != NULL)
        controller->env->link->unwatch(controller->env, &controller->link_watcher);
    if (controller->host != NULL)
        host_free(controller->host);
    leader_free(controller->leader);
    updates_free(controller->updates);
    watch_free(controller->watch);
    catalogue_free(controller->catalogue);
    calls_free(controller->calls);
    free(controller);
}

void controller_drain(struct controller *controller, void *user, void (*done)(void *user))
{
    host_drain(controller->host, user, done);
}

bool controller_is_leader(const struct controller *controller)
{
    return leader_is_leading(controller->leader);
}

/* ---- status ---- */

static void node_status(const Skein__Wire__Node *node, struct json_write *json)
{
    json_begin_object(json);
    json_member_u64(json, "id", node->id);
    json_member_text(json, "name", node->name);
    json_member_text(json, "region", node->region);
    json_member_text(json, "host", node->host);
    json_member_text(json, "http_address", node->http_address);
    json_member_bool(json, "is_alive", node->is_alive);
    json_member_u64(json, "incarnation", node->incarnation);
    json_end_object(json);
}

static void nodes_status(const struct controller *controller, struct json_write *json)
{
    const struct records *records = catalogue_records(controller->catalogue);
    const struct record *record;
    size_t place = records_seek(records, "node/");

    json_key(json, "nodes");
    json_begin_array(json);
    while ((record = records_next(records, "node/", &place)) != NULL) {
        Skein__Wire__Node *node =
            skein__wire__node__unpack(NULL, record->value.size, record->value.data);

        if (node == NULL)
            continue;
        node_status(node, json);
        skein__wire__node__free_unpacked(node, NULL);
    }
    json_end_array(json);
}

void controller_status(const struct controller *controller, struct buffer *json)
{
    struct json_write out = json_write_to(json);
    const struct records *records = catalogue_records(controller->catalogue);

    json_begin_object(&out);
    json_member_u64(&out, "id", env_self(controller->env));
    json_member_bool(&out, "is_leader", leader_is_leading(controller->leader));
    json_member_u64(&out, "leader", group_leader(controller->group));
    json_member_u64(&out, "term", group_term(controller->group));
    json_member_u64(&out, "applied", catalogue_applied(controller->catalogue));
    json_member_u64(&out, "revision", catalogue_revision(controller->catalogue));
    json_member_u64(&out, "records", records_count(records));
    json_member_u64(&out, "bytes", records_bytes(records));
    json_member_bool(&out, "is_born", records_find(records, "cluster") != NULL);
    nodes_status(controller, &out);
    leader_status(controller->leader, &out);
    json_end_object(&out);
    if (out.rc != OK)
        log_warn("controller.status_too_large limit=%zu", json->limit);
}
