/* Assertions about our own code. Always on: the cluster survives a crashed process, not a wrong
 * one. Bad input is never a CHECK; it is an `enum error`. */

#ifndef PROTO_BASE_CHECK_H
#define PROTO_BASE_CHECK_H

#include <stddef.h>

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (__builtin_expect(!(condition), 0))                                                     \
            check_failed(#condition, __FILE__, __LINE__);                                          \
    } while (0)

#define container_of(pointer, type, member)                                                        \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#define ARRAY_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Prints the condition and its place to standard error, then aborts. */
void check_failed(const char *condition, const char *file, int line) __attribute__((noreturn));

/* malloc, calloc, realloc and strdup that abort when memory is exhausted (see docs/decisions/0001).
 * Freed with free(). */
void *check_malloc(size_t bytes) __attribute__((malloc, returns_nonnull));
void *check_calloc(size_t count, size_t bytes) __attribute__((malloc, returns_nonnull));
void *check_realloc(void *old, size_t bytes) __attribute__((returns_nonnull));
char *check_strdup(const char *text) __attribute__((malloc, returns_nonnull));
char *check_strndup(const char *text, size_t bytes) __attribute__((malloc, returns_nonnull));

#endif
