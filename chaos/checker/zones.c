#include "chaos/checker/zones.h"

#include "proto/base/check.h"

struct cluster {
    const struct operation *write;      /* NULL: the value the register is born with */
    const struct operation *first_back; /* of the members; NULL: before everything */
    const struct operation *last_call;  /* likewise */
    bool is_read;
};

struct zone {
    uint32_t begin, end; /* lines */
    const struct cluster *cluster;
};

struct zones {
    const struct history *history;
    struct map clusters; /* value -> struct cluster */
    struct cluster *all;
    size_t count;
};

static struct cluster *cluster_of(struct zones *zones, int64_t value)
{
    struct cluster *cluster = map_find_u64(&zones->clusters, (uint64_t)value);

    if (cluster == NULL) {
        cluster = &zones->all[zones->count++];
        *cluster = (struct cluster){0};
        (void)map_set_u64(&zones->clusters, (uint64_t)value, cluster);
    }
    return cluster;
}

static uint32_t first_back(const struct cluster *cluster)
{
    return cluster->first_back != NULL ? cluster->first_back->back : 0;
}

static uint32_t last_call(const struct cluster *cluster)
{
    return cluster->last_call != NULL ? cluster->last_call->call : 0;
}

static void add(struct cluster *cluster, const struct operation *operation)
{
    bool is_initial = cluster->write == NULL; /* was written before everything: back is 0 */

    if (!is_initial && (cluster->first_back == NULL || operation->back < first_back(cluster)))
        cluster->first_back = operation;
    if (cluster->last_call == NULL || operation->call > last_call(cluster))
        cluster->last_call = operation;
}

/* False: it takes a search. */
static bool add_writes(struct zones *zones, const struct operation *const *operations, size_t count)
{
    (void)cluster_of(zones, 0); /* null */
    for (size_t i = 0; i < count; i++) {
        const struct operation *operation = operations[i];

        if (operation->function == ZONES_READ)
            continue;
        if (operation->function != ZONES_WRITE ||
            map_find_u64(&zones->clusters, (uint64_t)operation->a) != NULL)
            return false;
        struct cluster *cluster = cluster_of(zones, operation->a);

        cluster->write = operation;
        add(cluster, operation);
    }
    return true;
}

static bool add_reads(struct zones *zones, const struct operation *const *operations, size_t count,
                      struct verdict *verdict)
{
    for (size_t i = 0; i < count; i++) {
        const struct operation *operation = operations[i];
        struct cluster *cluster;

        if (operation->function != ZONES_READ)
            continue;
        cluster = map_find_u64(&zones->clusters, (uint64_t)operation->a);
        if (cluster == NULL) {
            verdict_fail(verdict, operation, "it returned a value that nobody ever wrote");
            return false;
        }
        if (cluster->write != NULL && operation->back < cluster->write->call) {
            verdict_fail(verdict, operation,
                         "it returned a value whose write began only after it, in line %u",
                         cluster->write->call);
            verdict_show(verdict, cluster->write);
            return false;
        }
        cluster->is_read = true;
        add(cluster, operation);
    }
    return true;
}

static int zone_compare(const void *left, const void *right)
{
    const struct zone *a = left;
    const struct zone *b = right;

    return a->begin < b->begin ? -1 : a->begin > b->begin;
}

static void show_cluster(struct verdict *verdict, const struct cluster *cluster)
{
    const struct operation *members[] = {cluster->write, cluster->first_back, cluster->last_call};

    for (size_t i = 0; i < ARRAY_COUNT(members); i++)
        if (members[i] != NULL)
            verdict_show(verdict, members[i]);
}

static void put_value(const struct zones *zones, const struct cluster *cluster, char text[64])
{
    uint32_t id = cluster->write != NULL ? (uint32_t)cluster->write->a : 0;
    struct slice value = intern_get(&zones->history->values, id);

    (void)snprintf(text, 64, "%.*s", value.size < 40 ? (int)value.size : 40,
                   (const char *)value.data);
}

/* The value of `holding` was there from before `begin` to after `end`, and that of `other` too at
 * some instant in between. The operation that proves it last is the one to look at. */
static void tell(const struct zones *zones, const struct zone *holding, const struct zone *other,
                 struct verdict *verdict)
{
    const struct operation *last = holding->cluster->last_call;
    char held[64];
    char between[64];

    if (last_call(other->cluster) > last->call)
        last = other->cluster->last_call;
    put_value(zones, holding->cluster, held);
    put_value(zones, other->cluster, between);
    verdict_fail(verdict, last,
                 "%s was the value by line %u and still in line %u, but %s must have been there "
                 "between lines %u and %u",
                 held, holding->begin, holding->end, between, other->begin, other->end);
    show_cluster(verdict, holding->cluster);
    show_cluster(verdict, other->cluster);
}

/* The zones by their begin: a holding one must have ended when the next of any kind begins,
 * unless that is a brief one that outlasts it. */
static void sweep(const struct zones *zones, const struct zone *all, size_t count,
                  struct verdict *verdict)
{
    const struct zone *holding = NULL; /* the last one */

    verdict->kind = VERDICT_VALID;
    for (size_t i = 0; i < count && verdict->kind == VERDICT_VALID; i++) {
        const struct zone *zone = &all[i];
        bool is_holding = first_back(zone->cluster) < last_call(zone->cluster);

        if (holding != NULL && zone->begin < holding->end &&
            (is_holding || zone->end < holding->end))
            tell(zones, holding, zone, verdict);
        if (is_holding)
            holding = zone;
    }
}

static void check_zones(const struct zones *zones, struct verdict *verdict)
{
    struct zone *all = check_malloc((zones->count + 1) * sizeof(*all));
    size_t count = 0;

    for (size_t i = 0; i < zones->count; i++) {
        const struct cluster *cluster = &zones->all[i];
        uint32_t back = first_back(cluster);
        uint32_t call = last_call(cluster);

        if (!cluster->is_read && (cluster->write == NULL || back == HISTORY_NEVER))
            continue; /* nobody saw it, and nobody promised it */
        all[count++] = (struct zone){.begin = back < call ? back : call,
                                     .end = back < call ? call : back,
                                     .cluster = cluster};
    }
    qsort(all, count, sizeof(*all), zone_compare);
    sweep(zones, all, count, verdict);
    free(all);
}

void zones_check(const struct history *history, const struct operation *const *operations,
                 size_t count, struct verdict *verdict)
{
    struct zones zones = {.history = history};

    zones.all = check_malloc((count + 1) * sizeof(*zones.all));
    verdict->kind = VERDICT_UNDECIDED;
    if (add_writes(&zones, operations, count) && add_reads(&zones, operations, count, verdict))
        check_zones(&zones, verdict);
    map_close(&zones.clusters);
    free(zones.all);
}
