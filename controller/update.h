/* Updates: requests of nodes to change the catalogue (CALL_CATALOGUE_UPDATE).
 *
 *   asked -> PROPOSED -> COMMITTED -> answered
 *
 * An update is answered once it is committed and every node whose lease holds has the change, so
 * that whoever made a table may use it through any node. Nodes that do not acknowledge are waited
 * for until their lease lapses, two seconds at the most. */

#ifndef CONTROLLER_UPDATE_H
#define CONTROLLER_UPDATE_H

#include "controller/catalogue.h"
#include "proto/net/call.h"
#include "proto/raft/group.h"

#define UPDATE_WAIT_MS_MAX 2000
#define UPDATES_IN_FLIGHT_MAX 512

struct updates;

/* `is_everywhere`: does every node whose lease holds have that revision? */
struct updates *updates_new(struct env *env, void *user,
                            bool (*is_everywhere)(void *user, uint64_t revision));
/* As a crash would: free the group's host before. */
void updates_free(struct updates *updates);

void updates_attach(struct updates *updates, struct group *group); /* before anything below */

void updates_on_request(struct updates *updates, struct call_request *request);
/* What the entry at `index` came to; told before its proposal's callback. */
void updates_on_applied(struct updates *updates, uint64_t index, enum error rc, uint64_t revision);
/* The same for anybody's proposal; ERR_LOST when it is too long ago. */
enum error updates_outcome(const struct updates *updates, uint64_t index, uint64_t *revision);
/* Acknowledgements came or time passed. */
void updates_check(struct updates *updates);
/* Leadership is over: what waits for acknowledgements is to be asked elsewhere. */
void updates_give_up(struct updates *updates);
size_t updates_count(const struct updates *updates);

#endif
