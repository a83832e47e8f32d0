/* Putting a cluster right again, whatever broke it: `skein heal`, the end of every run, and the
 * guard that waits for runners that were killed. */

#ifndef CHAOS_RUN_HEAL_H
#define CHAOS_RUN_HEAL_H

#include "deploy/cluster.h"

/* `skein heal`: tells a runner that is at work to stop, says what was open, mends everything, waits
 * until all is healthy and equal. Prints. ERR_TIMEOUT: it is mended, and not healthy yet. */
enum error heal(struct cluster *cluster, bool is_json, char why[ERROR_WHY_BYTES]);

/* Every shard led, whole and equal, every process there, every replica with a vote. Blocking; one
 * look. */
bool heal_is_healthy(struct cluster *cluster);

/* A process beside the runner that mends everything should the runner end without having dismissed
 * it and nobody else have mended it within a few seconds: the dead man's switch of faults of
 * processes. Call before there are threads. -1: there is none. */
int heal_guard_start(struct cluster *cluster);
void heal_guard_dismiss(int guard);

#endif
