/* Damage to the files of a process that does not run: emptied folders, flipped bits, cut ends. */

#ifndef CHAOS_RUN_ROT_H
#define CHAOS_RUN_ROT_H

#include "deploy/daemon.h"
#include "proto/base/rng.h"

#define ROT_TEXT_BYTES 160

/* Everything in its data folder is gone. */
enum error rot_empty(const struct daemon *daemon);

/* In one of the files of its data folder that match (glob(7)), somewhere before its last byte that
 * is not 0. `text` says what was done. ERR_NOT_FOUND: no file matches, or all are empty. */
enum error rot_flip(const struct daemon *daemon, const char *pattern, struct rng *rng,
                    char text[ROT_TEXT_BYTES]);
enum error rot_truncate(const struct daemon *daemon, const char *pattern, struct rng *rng,
                        char text[ROT_TEXT_BYTES]);

#endif
