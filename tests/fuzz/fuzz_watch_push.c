/* A push of the catalogue to a node that has two records: it ends with a readable copy. */

#include "node/view/view.h"
#include "proto/base/check.h"
#include "proto/base/log.h"
#include "proto/env/env_sim.h"
#include "proto/wire/catalogue.pb-c.h"

#define NODE 1
#define CONTROLLER (ENV_CONTROLLER_ID_MIN + 1)
#define MS 1000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_record(void *user, const char *key, struct slice value, uint64_t revision)
{
    size_t *bytes = user;

    (void)revision;
    *bytes += strlen(key);
    for (size_t i = 0; i < value.size; i++)
        *bytes += value.data[i];
}

static struct view *open_view(struct env *env, struct calls *calls)
{
    const uint64_t controller = CONTROLLER;
    Skein__Wire__Node node = SKEIN__WIRE__NODE__INIT;
    uint8_t registration[64];
    struct view_options options = {.folder = "view",
                                   .controller_ids = &controller,
                                   .controller_count = 1,
                                   .heartbeat_ms = 1000};
    struct view *view;

    node.id = NODE;
    options.registration = slice_of(registration, skein__wire__node__pack(&node, registration));
    CHECK(view_open(env, calls, &options, &view) == OK);
    return view;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sim_options options = sim_options_default(1);
    struct sim *sim = sim_new(&options);
    struct env *node = sim_process_start(sim, NODE);
    struct env *controller = sim_process_start(sim, CONTROLLER);
    struct calls *calls = calls_new(node);
    struct view *view = open_view(node, calls);
    size_t bytes = 0;

    log_set_level(LOG_LEVEL_OFF);
    node->link->peer_set(node, CONTROLLER, "sim", "sim");
    controller->link->peer_set(controller, NODE, "sim", "sim");
    sim_run_until(sim, 50 * MS);
    (void)!env_send(controller, NODE, ENV_CHANNEL_WATCH, slice_of(data, size));
    (void)!env_send(controller, NODE, ENV_CHANNEL_WATCH, slice_of(data, size));
    sim_run_until(sim, 100 * MS);
    view_each(view, "", &bytes, read_record);
    view_free(view);
    calls_free(calls);
    sim_free(sim);
    return 0;
}
