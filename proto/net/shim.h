/* A decorator on a link that makes it worse on purpose: delay, loss and cuts per peer, switched at
 * run time. It puts the ocean between two regions on a laptop, and is the chaos tests' scissors.
 *
 * Works over any link with nothing but the environment's timers and dice. Without a rule for a
 * peer everything passes straight through.
 *
 *   delay  what we send arrives that much later, in order. News of the peer travel as slowly: a
 *          closed connection one way, a refusal three ways (closed, then there and back).
 *   loss   a message sent is dropped, silently, as no TCP link would: for what claims to bear it.
 *   cut    nothing passes in either direction. A short cut only delays, as with TCP; after
 *          silent_ms the peer is down (SILENT) and what was under way is lost. Up again once
 * healed. */

#ifndef PROTO_NET_SHIM_H
#define PROTO_NET_SHIM_H

#include "proto/env/env.h"

struct shim;

/* Decorates env->link as it is now. The caller puts shim_table into env->link, before anybody
 * watches or handles the link. `silent_ms` 0 = 1000. */
struct shim *shim_new(struct env *env, uint32_t silent_ms);
void shim_free(struct shim *shim); /* NULL is fine */
const struct env_link *shim_table(struct shim *shim);

/* All zero: back to normal. One process's rules affect what it sends and, when cut, what it hears:
 * a symmetric fault needs a rule on both sides, a cut works from one. */
void shim_set(struct shim *shim, uint64_t peer, uint64_t delay_us, uint32_t drop_permille,
              bool is_cut);

#endif
