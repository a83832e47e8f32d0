#include "chaos/run/leader_watch.h"

#include "deploy/load_client.h"
#include "proto/base/check.h"

#include <jansson.h>
#include <stdio.h>

#define LOOK_MS 150u
#define TIMEOUT_MS 600u
#define SHARDS_MAX CLUSTER_FILE_SHARDS_MAX
#define STATES 64u /* of a shard that are remembered, by index */

struct replica { /* of one shard, as its node told it last */
    uint64_t term;
    bool is_leader;
};

struct state {
    uint64_t applied;
    uint64_t hash;
};

struct shard {
    struct replica *replicas; /* by node */
    size_t leader;            /* node index + 1; 0 = none */
    size_t last_leader;       /* the last there was */
    uint64_t term;            /* the highest seen */
    uint64_t term_first;
    size_t term_leader; /* of `term`, + 1 */
    struct state states[STATES];
};

struct eye { /* on one node */
    struct leader_watch *watch;
    size_t node;
    struct load_client *client; /* NULL: it has no address we can read */
    struct load_client_request request;
    struct buffer bytes;
    bool is_asking;
};

struct leader_watch {
    const struct cluster *cluster;
    void *user;
    leader_watch_cb on_change;
    uv_timer_t timer;
    struct eye *eyes;
    size_t node_count;
    struct shard *shards;
    size_t shard_count;
    struct leader_watch_counts counts;
    bool is_closed;
};

/* ---- judging ---- */

static void note_term(struct leader_watch *watch, struct shard *shard, size_t node, uint64_t term,
                      bool is_leader)
{
    struct replica *replica = &shard->replicas[node];

    watch->counts.terms_back += term < replica->term;
    replica->term = term;
    replica->is_leader = is_leader;
    if (shard->term_first == 0)
        shard->term_first = term;
    if (term > shard->term) {
        shard->term = term;
        shard->term_leader = 0;
    }
    if (shard->term - shard->term_first > watch->counts.terms)
        watch->counts.terms = shard->term - shard->term_first;
    if (!is_leader || term != shard->term)
        return;
    watch->counts.two_leaders += shard->term_leader != 0 && shard->term_leader != node + 1;
    shard->term_leader = node + 1;
}

static void note_state(struct leader_watch *watch, struct shard *shard, uint64_t applied,
                       const char *hash_text)
{
    struct state *state = &shard->states[applied % STATES];
    uint64_t hash = hash_text != NULL ? strtoull(hash_text, NULL, 16) : 0;

    if (hash_text == NULL || applied == 0)
        return;
    watch->counts.unequal_states += state->applied == applied && state->hash != hash;
    *state = (struct state){applied, hash};
}

static void choose_leader(struct leader_watch *watch, unsigned number)
{
    struct shard *shard = &watch->shards[number];
    size_t leader = 0;

    for (size_t i = 0; i < watch->node_count; i++)
        if (shard->replicas[i].is_leader &&
            (leader == 0 || shard->replicas[i].term > shard->replicas[leader - 1].term))
            leader = i + 1;
    if (leader == shard->leader)
        return;
    watch->counts.changes += leader != 0 && shard->last_leader != 0 && leader != shard->last_leader;
    shard->leader = leader;
    shard->last_leader = leader != 0 ? leader : shard->last_leader;
    if (watch->on_change != NULL && !watch->is_closed)
        watch->on_change(watch->user, number,
                         leader != 0 ? watch->cluster->file.nodes[leader - 1].name : NULL);
}

void leader_watch_take(struct leader_watch *watch, size_t node, struct slice status)
{
    json_t *root =
        status.size > 0 ? json_loadb((const char *)status.data, status.size, 0, NULL) : NULL;
    json_t *replica;
    size_t i;

    watch->counts.looks += root != NULL;
    for (size_t s = 0; s < watch->shard_count; s++)
        watch->shards[s].replicas[node].is_leader = false;
    json_array_foreach(json_object_get(root, "shards"), i, replica)
    {
        const char *role = json_string_value(json_object_get(replica, "role"));
        json_int_t number = json_integer_value(json_object_get(replica, "shard"));

        if (number < 0 || (size_t)number >= watch->shard_count || role == NULL)
            continue;
        note_term(watch, &watch->shards[number], node,
                  (uint64_t)json_integer_value(json_object_get(replica, "term")),
                  strcmp(role, "leader") == 0);
        /* One that lost what it had stored is being rebuilt, and nobody counts on it meanwhile. */
        if (json_is_true(json_object_get(replica, "damaged")) ||
            json_is_false(json_object_get(replica, "votes")))
            continue;
        note_state(watch, &watch->shards[number],
                   (uint64_t)json_integer_value(json_object_get(replica, "applied")),
                   json_string_value(json_object_get(replica, "hash")));
    }
    json_decref(root);
    for (size_t s = 0; s < watch->shard_count; s++)
        choose_leader(watch, (unsigned)s);
}

void leader_watch_forget(struct leader_watch *watch, const char *node)
{
    for (size_t i = 0; i < watch->node_count; i++)
        for (size_t s = 0; s < watch->shard_count; s++)
            if (strcmp(watch->cluster->file.nodes[i].name, node) == 0)
                watch->shards[s].replicas[i].term = 0;
}

/* ---- looking ---- */

static void on_answer(struct load_client_request *request, enum error rc, int status,
                      struct slice body)
{
    struct eye *eye = container_of(request, struct eye, request);

    eye->is_asking = false;
    if (rc != ERR_CANCELLED)
        leader_watch_take(eye->watch, eye->node,
                          rc == OK && status == 200 ? body : slice_of(NULL, 0));
}

static void on_look(uv_timer_t *timer)
{
    struct leader_watch *watch = timer->data;

    for (size_t i = 0; i < watch->node_count; i++) {
        struct eye *eye = &watch->eyes[i];

        if (eye->client == NULL || eye->is_asking)
            continue;
        eye->is_asking = true;
        load_client_start(eye->client, &eye->request, buffer_slice(&eye->bytes), TIMEOUT_MS,
                          on_answer);
    }
}

static void eye_open(struct leader_watch *watch, size_t node, uv_loop_t *loop)
{
    struct eye *eye = &watch->eyes[node];
    const char *address = watch->cluster->file.nodes[node].http_address;
    const char *colon = strrchr(address, ':');
    struct sockaddr_in parsed;
    char host[64];

    *eye = (struct eye){.watch = watch, .node = node, .bytes = BUFFER_INIT(1000)};
    if (loop == NULL || colon == NULL)
        return;
    (void)snprintf(host, sizeof(host), "%.*s", (int)(colon - address), address);
    if (uv_ip4_addr(host, 1, &parsed) != 0)
        return;
    buffer_putf(&eye->bytes, "GET /_skein/status HTTP/1.1\r\nHost: %s\r\n\r\n", address);
    eye->client = load_client_new(loop, host, (uint16_t)strtoul(colon + 1, NULL, 10), 1);
}

struct leader_watch *leader_watch_new(uv_loop_t *loop, const struct cluster *cluster, void *user,
                                      leader_watch_cb on_change)
{
    struct leader_watch *watch = check_calloc(1, sizeof(*watch));

    watch->cluster = cluster;
    watch->user = user;
    watch->on_change = on_change;
    watch->node_count = cluster->file.node_count;
    watch->shard_count = cluster->file.shards < SHARDS_MAX ? cluster->file.shards : SHARDS_MAX;
    watch->eyes = check_calloc(watch->node_count + 1, sizeof(*watch->eyes));
    watch->shards = check_calloc(watch->shard_count + 1, sizeof(*watch->shards));
    for (size_t s = 0; s < watch->shard_count; s++)
        watch->shards[s].replicas =
            check_calloc(watch->node_count + 1, sizeof(*watch->shards[s].replicas));
    for (size_t i = 0; i < watch->node_count; i++)
        eye_open(watch, i, loop);
    if (loop == NULL)
        return watch;
    CHECK(uv_timer_init(loop, &watch->timer) == 0);
    watch->timer.data = watch;
    (void)uv_timer_start(&watch->timer, on_look, 0, LOOK_MS);
    return watch;
}

void leader_watch_close(struct leader_watch *watch)
{
    watch->is_closed = true;
    uv_close((uv_handle_t *)&watch->timer, NULL);
    for (size_t i = 0; i < watch->node_count; i++)
        if (watch->eyes[i].client != NULL)
            load_client_free(watch->eyes[i].client);
}

void leader_watch_free(struct leader_watch *watch)
{
    if (watch == NULL)
        return;
    for (size_t i = 0; i < watch->node_count; i++)
        buffer_close(&watch->eyes[i].bytes);
    for (size_t s = 0; s < watch->shard_count; s++)
        free(watch->shards[s].replicas);
    free(watch->shards);
    free(watch->eyes);
    free(watch);
}

const struct leader_watch_counts *leader_watch_counts(const struct leader_watch *watch)
{
    return &watch->counts;
}
