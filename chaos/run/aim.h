/* Whom a fault of a scenario means, at the moment it happens: the targets of deploy/target.h and
 *
 *   busiest-leader     the node that leads most shards
 *   random-node, random-controller, random      any one that runs
 *   random-region      all processes of any region
 *   region:1           all processes of the first region of the cluster file
 *   each-node          one node after the other, each time the fault happens
 *   half               half of all processes, another one each time */

#ifndef CHAOS_RUN_AIM_H
#define CHAOS_RUN_AIM_H

#include "deploy/target.h"
#include "proto/base/rng.h"

/* `words` like "leader-of", "Orders". `number`: how often the fault has happened before. Blocking.
 * ERR_NOT_FOUND: nobody; `why` says so. */
enum error aim(struct cluster *cluster, const char *const *words, size_t count, unsigned number,
               struct rng *rng, struct target *target, char why[ERROR_WHY_BYTES]);

#endif
