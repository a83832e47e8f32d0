/* Links that are cut, slow or lossy, and telling every process its part of it (POST /_skein/links).
 *
 * What each fault wants is kept as edges, and a process is always told all its rules at once: so
 * faults may overlap, and telling it once more does no harm. Blocking. */

#ifndef CHAOS_RUN_LINK_FAULTS_H
#define CHAOS_RUN_LINK_FAULTS_H

#include "deploy/target.h"

struct link_edge { /* of what `from` sends to `to`, indices of cluster.daemons */
    unsigned fault;
    size_t from, to;
    uint32_t delay_ms;
    uint32_t drop_permille;
    bool is_cut;  /* in both directions */
    bool is_over; /* no longer wanted; whoever is concerned may not have heard of it */
    uint64_t until_ms;
};

struct link_faults {
    const struct cluster *cluster;
    struct link_edge *edges; /* owned */
    size_t count;
};

void link_faults_init(struct link_faults *faults, const struct cluster *cluster);
void link_faults_close(struct link_faults *faults);

void link_faults_add(struct link_faults *faults, const struct link_edge *edge);
/* Over, but not forgotten before link_faults_forget: until then its links are not relied on. */
void link_faults_remove(struct link_faults *faults, unsigned fault);
void link_faults_forget(struct link_faults *faults);

/* Tell those processes (all: `who` NULL) what holds now. The first that could not be told is named
 * in `why`; ones that do not run have nothing to be told. After `now_ms` plus what is left of its
 * edges, and a little, each goes back to normal by itself. */
enum error link_faults_tell(const struct link_faults *faults, const bool *who, uint64_t now_ms,
                            char why[ERROR_WHY_BYTES]);

#endif
