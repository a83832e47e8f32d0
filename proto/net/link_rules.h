/* Faults of this process's links that somebody sets at run time: delay, loss and cuts by peer, put
 * into the shim, and taken out again after a while whatever became of who asked for them.
 *
 * A set of rules replaces the one before it, so setting it twice is as good as once, and the empty
 * set heals. On top of them stays what the process was started with (--wan). */

#ifndef PROTO_NET_LINK_RULES_H
#define PROTO_NET_LINK_RULES_H

#include "proto/net/call.h"
#include "proto/net/shim.h"

#define LINK_RULES_MAX 5000u
#define LINK_RULES_FOR_MS_MAX (60u * 60u * 1000u)
#define LINK_RULES_DELAY_US_MAX (10u * 1000u * 1000u)

struct link_rules; /* one per process */

struct link_rule {
    uint64_t peer;
    uint64_t delay_us; /* added to the one of link_rules_base */
    uint32_t drop_permille;
    bool is_cut;
};

/* Borrows both. */
struct link_rules *link_rules_new(struct env *env, struct shim *shim);
void link_rules_free(struct link_rules *rules); /* leaves the shim as it is; NULL is fine */

/* The delay that belongs to a link when nobody breaks anything. */
void link_rules_base(struct link_rules *rules, uint64_t peer, uint64_t delay_us);

/* These instead of all earlier ones, for so long. ERR_INVALID, and nothing has changed: a rule for
 * ourselves, a value past its maximum, rules without an end. */
enum error link_rules_set(struct link_rules *rules, const struct link_rule *list, size_t count,
                          uint32_t for_ms);

/* Those in force, in the order they were given; lent until the next change. */
size_t link_rules_list(const struct link_rules *rules, const struct link_rule **list);
uint64_t link_rules_left_ms(const struct link_rules *rules); /* 0 = none are in force */

/* Let other processes set them: CALL_LINKS. */
void link_rules_serve(struct link_rules *rules, struct calls *calls);
/* The body of such a call. */
void link_rules_put_call(struct buffer *body, const struct link_rule *list, size_t count,
                         uint32_t for_ms);

#endif
