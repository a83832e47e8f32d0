/* Error codes, each with its effect: may the failed operation have happened all the same?
 *
 * ERROR_EFFECT_NONE: nothing happened, retry freely. ERROR_EFFECT_MAYBE: it may have happened;
 * read before you retry, or retry with an idempotency key. */

#ifndef PROTO_BASE_ERROR_H
#define PROTO_BASE_ERROR_H

#define ERROR_WHY_BYTES 160

#define ERROR_MAP(X)                                                                               \
    X(OK, NONE, "ok")                                                                              \
    X(ERR_INVALID, NONE, "invalid argument or malformed input")                                    \
    X(ERR_TOO_LARGE, NONE, "larger than its limit")                                                \
    X(ERR_NOT_FOUND, NONE, "not found")                                                            \
    X(ERR_EXISTS, NONE, "exists already")                                                          \
    X(ERR_CONFLICT, NONE, "changed meanwhile")                                                     \
    X(ERR_CONDITION, NONE, "condition not met")                                                    \
    X(ERR_DENIED, NONE, "not allowed")                                                             \
    X(ERR_OVERLOADED, NONE, "a queue is full")                                                     \
    X(ERR_NO_CAPACITY, NONE, "not enough nodes")                                                   \
    X(ERR_NOT_LEADER, NONE, "not the leader")                                                      \
    X(ERR_UNREACHABLE, NONE, "peer not connected; nothing was sent")                               \
    X(ERR_STALE_EPOCH, NONE, "older epoch")                                                        \
    X(ERR_CANCELLED, MAYBE, "cancelled")                                                           \
    X(ERR_TIMEOUT, MAYBE, "deadline passed")                                                       \
    X(ERR_LOST, MAYBE, "connection or leadership lost while in flight")                            \
    X(ERR_IO, MAYBE, "input/output error")                                                         \
    X(ERR_CORRUPT, NONE, "stored bytes are damaged")                                               \
    X(ERR_VERSION, NONE, "version not supported")                                                  \
    X(ERR_INTERNAL, MAYBE, "internal error")                                                       \
    X(ERR_END, NONE, "no more")

enum [[nodiscard]] error{
#define X(name, effect, text) name,
    ERROR_MAP(X)
#undef X
        ERROR_COUNT};

enum error_effect { ERROR_EFFECT_NONE, ERROR_EFFECT_MAYBE };

/* Static strings, never NULL; unknown codes give "ERR_UNKNOWN". */
const char *error_name(enum error rc);
const char *error_text(enum error rc);
enum error_effect error_effect(enum error rc);

#endif
