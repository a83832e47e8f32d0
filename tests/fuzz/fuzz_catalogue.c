/* What nodes send as commands and controllers as snapshots: refused or applied, and in either case
 * the catalogue can be opened again as it was. The first byte chooses. */

#include "controller/catalogue.h"
#include "proto/base/check.h"
#include "proto/env/env_sim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void install(struct catalogue *catalogue, struct slice bytes)
{
    catalogue_snapshot_begin(catalogue);
    if (catalogue_snapshot_chunk(catalogue, bytes) == OK)
        (void)!catalogue_snapshot_install(catalogue, 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sim_options options = sim_options_default(1);
    struct sim *sim = sim_new(&options);
    struct env *env = sim_process_start(sim, 1);
    struct catalogue *catalogue;
    uint64_t revision = 0;

    CHECK(catalogue_open(env, "catalogue", &catalogue) == OK);
    (void)!catalogue_apply(catalogue, 1, slice_of(data, size), &revision);
    if (size > 0 && data[0] == 'i')
        install(catalogue, slice_of(data + 1, size - 1));
    revision = catalogue_revision(catalogue);
    uint64_t applied = catalogue_applied(catalogue);
    size_t records = records_count(catalogue_records(catalogue));

    catalogue_free(catalogue);
    if (catalogue_open(env, "catalogue", &catalogue) == OK) {
        CHECK(catalogue_revision(catalogue) == revision);
        CHECK(catalogue_applied(catalogue) == applied);
        CHECK(records_count(catalogue_records(catalogue)) == records);
        catalogue_free(catalogue);
    }
    sim_free(sim);
    return 0;
}
