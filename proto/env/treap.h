/* A persistent ordered map from bytes to bytes: every change gives a new root and leaves the old
 * one as it was, so a snapshot is one more reference.
 *
 * A treap (Seidel and Aragon 1996) whose priorities are hashes of the keys: its shape depends on
 * its content only. NULL is the empty map. */

#ifndef PROTO_ENV_TREAP_H
#define PROTO_ENV_TREAP_H

#include "proto/base/buffer.h"

struct treap;

struct treap *treap_retain(struct treap *root);
void treap_release(struct treap *root);

/* Both give a new root, which the caller releases; `root` stays the caller's. */
struct treap *treap_set(struct treap *root, struct slice key, struct slice value);
struct treap *treap_remove(struct treap *root, struct slice key);

/* One entry of the map, lent for as long as the root is held; NULL = there is none. */
const struct treap *treap_find(const struct treap *root, struct slice key);
const struct treap *treap_at_least(const struct treap *root, struct slice key);
const struct treap *treap_at_most(const struct treap *root, struct slice key);
const struct treap *treap_above(const struct treap *root, struct slice key);
const struct treap *treap_below(const struct treap *root, struct slice key);
struct slice treap_key(const struct treap *entry);
struct slice treap_value(const struct treap *entry);

#endif
