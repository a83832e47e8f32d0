/* The catalogue for unit tests: compile fake_view.c into the test instead of linking node_view.
 *
 * Updates are answered at the end of the turn (fake_env_run); listeners hear of them first. */

#ifndef TESTS_LIB_FAKE_VIEW_H
#define TESTS_LIB_FAKE_VIEW_H

#include "node/view/view.h"

struct view *fake_view_new(struct env *env); /* view_free frees it */

/* Change a record directly, as if another node had. An empty value deletes. */
void fake_view_set(struct view *view, const char *key, struct slice value);
size_t fake_view_count(const struct view *view);

/* The next update fails with `rc`; when `is_applied`, it happens all the same. */
void fake_view_fail(struct view *view, enum error rc, bool is_applied);
/* Called once, before the next update is decided: the moment for a concurrent change. */
void fake_view_before_update(struct view *view, void *user,
                             void (*hook)(void *user, struct view *view));
/* Hold answers back until it is called with false. */
void fake_view_hold(struct view *view, bool is_held);

#endif
