#include "chaos/run/link_faults.h"

#include "deploy/api.h"
#include "proto/base/check.h"

#include <inttypes.h>
#include <stdio.h>

#define TIMEOUT_MS 2500u
#define BODY_BYTES_MAX (1u << 20)
#define GRACE_MS 5000u /* past a fault's end, before a process heals itself */

void link_faults_init(struct link_faults *faults, const struct cluster *cluster)
{
    *faults = (struct link_faults){.cluster = cluster};
}

void link_faults_close(struct link_faults *faults)
{
    free(faults->edges);
    faults->edges = NULL;
    faults->count = 0;
}

void link_faults_add(struct link_faults *faults, const struct link_edge *edge)
{
    if (faults->count % 64 == 0)
        faults->edges = check_realloc(faults->edges, (faults->count + 64) * sizeof(*faults->edges));
    faults->edges[faults->count++] = *edge;
}

void link_faults_remove(struct link_faults *faults, unsigned fault)
{
    for (size_t i = 0; i < faults->count; i++)
        faults->edges[i].is_over |= faults->edges[i].fault == fault;
}

void link_faults_forget(struct link_faults *faults)
{
    size_t kept = 0;

    for (size_t i = 0; i < faults->count; i++)
        if (!faults->edges[i].is_over)
            faults->edges[kept++] = faults->edges[i];
    faults->count = kept;
}

/* ---- what one process is told ---- */

static const struct cluster_process *process_of(const struct cluster *cluster, size_t index)
{
    return index < cluster->controller_count
               ? &cluster->file.controllers[index]
               : &cluster->file.nodes[index - cluster->controller_count];
}

/* All edges between two processes as one. False: there are none. */
static bool sum_up(const struct link_faults *faults, size_t from, size_t to, struct link_edge *sum)
{
    bool is_any = false;

    *sum = (struct link_edge){0};
    for (size_t i = 0; i < faults->count; i++) {
        const struct link_edge *edge = &faults->edges[i];

        if (edge->from != from || edge->to != to || edge->is_over)
            continue;
        is_any = true;
        sum->delay_ms += edge->delay_ms;
        sum->is_cut |= edge->is_cut;
        if (edge->drop_permille > sum->drop_permille)
            sum->drop_permille = edge->drop_permille;
        if (edge->until_ms > sum->until_ms)
            sum->until_ms = edge->until_ms;
    }
    return is_any;
}

static void put_rules(const struct link_faults *faults, size_t process, uint64_t now_ms,
                      struct buffer *body)
{
    const struct cluster *cluster = faults->cluster;
    uint64_t until_ms = now_ms;
    const char *comma = "";
    struct link_edge sum;

    buffer_putf(body, "{\"process\":%" PRIu64 ",\"rules\":[", process_of(cluster, process)->id);
    for (size_t to = 0; to < cluster->daemon_count; to++) {
        if (!sum_up(faults, process, to, &sum))
            continue;
        buffer_putf(body,
                    "%s{\"peer\":%" PRIu64 ",\"delay_ms\":%u,\"drop_permille\":%u,\"cut\":%s}",
                    comma, process_of(cluster, to)->id, sum.delay_ms, sum.drop_permille,
                    sum.is_cut ? "true" : "false");
        comma = ",";
        if (sum.until_ms > until_ms)
            until_ms = sum.until_ms;
    }
    buffer_putf(body, "],\"for_ms\":%" PRIu64 "}", until_ms - now_ms + GRACE_MS);
}

/* ---- telling ---- */

static bool hears(const struct cluster *cluster, size_t process)
{
    return daemon_pid(&cluster->daemons[process]) != 0 &&
           !daemon_is_paused(&cluster->daemons[process]);
}

static bool post(const struct cluster *cluster, size_t node, struct slice body)
{
    AUTO(buffer) answer = BUFFER_INIT(BODY_BYTES_MAX);
    const struct api_call call = {.region = cluster->regions[0],
                                  .service = "skein",
                                  .method = "POST",
                                  .address = process_of(cluster, node)->http_address,
                                  .path = "/_skein/links",
                                  .body = body,
                                  .timeout_ms = TIMEOUT_MS};
    int status = 0;

    return api_call(cluster, &call, &status, &answer) == OK && status == 200;
}

static bool is_doubtful(const struct link_faults *faults, size_t a, size_t b)
{
    for (size_t i = 0; i < faults->count; i++) {
        const struct link_edge *edge = &faults->edges[i];

        if ((edge->from == a && edge->to == b) || (edge->from == b && edge->to == a))
            return true;
    }
    return false;
}

/* A controller hears it from a node: those whose link to it nobody has touched are tried first. */
static bool post_by_any(const struct link_faults *faults, size_t controller, struct slice body)
{
    const struct cluster *cluster = faults->cluster;

    for (int doubtful = 0; doubtful < 2; doubtful++)
        for (size_t node = cluster->controller_count; node < cluster->daemon_count; node++)
            if ((int)is_doubtful(faults, node, controller) == doubtful && hears(cluster, node) &&
                post(cluster, node, body))
                return true;
    return false;
}

static bool tell(const struct link_faults *faults, size_t process, uint64_t now_ms)
{
    AUTO(buffer) body = BUFFER_INIT(BODY_BYTES_MAX);

    put_rules(faults, process, now_ms, &body);
    if (process < faults->cluster->controller_count)
        return post_by_any(faults, process, buffer_slice(&body));
    return post(faults->cluster, process, buffer_slice(&body));
}

/* Controllers first: they are told over links that the nodes may cut next, and last once more when
 * they could not be reached: by then the nodes' side may be healed. */
enum error link_faults_tell(const struct link_faults *faults, const bool *who, uint64_t now_ms,
                            char why[ERROR_WHY_BYTES])
{
    const struct cluster *cluster = faults->cluster;
    bool *is_told = check_calloc(cluster->daemon_count + 1, sizeof(*is_told));
    enum error rc = OK;

    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < cluster->daemon_count; i++)
            if (!is_told[i] && (who == NULL || who[i]))
                is_told[i] = !hears(cluster, i) || tell(faults, i, now_ms);
    for (size_t i = 0; i < cluster->daemon_count && rc == OK; i++)
        if (!is_told[i] && (who == NULL || who[i])) {
            (void)snprintf(why, ERROR_WHY_BYTES, "%s could not be told about its links",
                           cluster->daemons[i].name);
            rc = ERR_UNREACHABLE;
        }
    free(is_told);
    return rc;
}
