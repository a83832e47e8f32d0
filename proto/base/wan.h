/* Distances between regions, for clusters on one machine that shall feel like several:
 *
 *   us-east-1:eu-west-1=80ms,us-east-1:ap-southeast-1=160ms
 *
 * The time is a round trip, in milliseconds; each direction gets half of it. */

#ifndef PROTO_BASE_WAN_H
#define PROTO_BASE_WAN_H

#include "proto/base/error.h"

#include <stdint.h>

#define WAN_ROUND_TRIP_MS_MAX 10000u

/* ERR_INVALID: `why` says which part is wrong. The empty text is fine. */
enum error wan_check(const char *wan, char why[ERROR_WHY_BYTES]);

/* One way between two regions, in either order, by a text that wan_check took; 0 when it does not
 * name them. */
uint64_t wan_delay_us(const char *wan, const char *region, const char *other);

#endif
