/* Events on shards: accepted once they are on a majority, claimed by whoever runs them, gone after
 * they were handled.
 *
 * A claim is a lease: while it lasts nobody else may claim the event, on whatever node the shard is
 * led meanwhile. Whoever runs the event renews it; when that stops, the event is due again. */

#ifndef NODE_EVENT_EVENT_ENGINE_H
#define NODE_EVENT_EVENT_ENGINE_H

#include "node/shard/shard_engine.h"
#include "proto/wire/event.pb-c.h"

#define EVENT_PAYLOAD_BYTES_MAX (256u << 10)
#define EVENT_ID_BYTES_MAX 64
#define EVENT_REPLY_BYTES_MAX (1u << 20)
#define EVENT_DUE_MAX 1024u /* of one query */

enum event_command_kind {                /* on the wire: never renumber */
                          EVENT_PUT = 1, /* an id that is there already changes nothing */
                          EVENT_CLAIM,   /* ERR_NOT_FOUND; ERR_CONFLICT: not due. The reply has the
                                            state */
                          EVENT_RENEW,   /* ERR_NOT_FOUND; ERR_CONFLICT: the lease is another's */
                          EVENT_DEFER,   /* give the lease back. Errors as above */
                          EVENT_REMOVE   /* whoever holds it: it was handled */
};

extern const struct shard_engine event_engine;

/* The shard's resource, of which the id is the partition key. */
#define EVENT_RESOURCE SLICE_LITERAL("events")

void event_engine_put_command(struct buffer *to, const Skein__Wire__EventCommand *command);
void event_engine_put_query(struct buffer *to, const Skein__Wire__EventQuery *query);
/* Free it with skein__wire__event_reply__free_unpacked. NULL: no reply of the engine's. */
Skein__Wire__EventReply *event_engine_reply(struct slice reply);
/* The verdict alone; ERR_INVALID: no reply. */
enum error event_engine_verdict(struct slice reply);

#endif
