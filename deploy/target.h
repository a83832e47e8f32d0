/* Whom a command means: names, regions, and roles that are looked up at that moment.
 *
 *   node-3, controller-1      a process            nodes, controllers, all    every one of them
 *   region NAME               all in a region      controller-leader          who leads the
 * controllers leader-of TABLE           the node that leads most of the shards that hold the
 * table's rows */

#ifndef DEPLOY_TARGET_H
#define DEPLOY_TARGET_H

#include "deploy/cluster.h"

#define TARGET_MAX 128
#define TARGET_WHY_BYTES 160

struct target {
    struct daemon *daemons[TARGET_MAX];
    size_t count;
    bool is_group;              /* some of it may already be as wanted */
    char why[TARGET_WHY_BYTES]; /* of a role: why it is this one; else empty */
};

enum target_kind {
    TARGET_ANY,
    TARGET_STOPPED /* for who is down or paused: roles have moved on and are refused */
};

/* Several may be named. ERR_NOT_FOUND, ERR_INVALID: said on standard error, with what there is. */
enum error target_find(struct cluster *cluster, enum target_kind kind, int count, char **words,
                       struct target *target);

#endif
