#include "proto/base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void check_failed(const char *condition, const char *file, int line)
{
    (void)fprintf(stderr, "check failed: %s at %s:%d\n", condition, file, line);
    abort();
}

void *check_malloc(size_t bytes)
{
    void *memory = malloc(bytes > 0 ? bytes : 1);

    CHECK(memory != NULL);
    return memory;
}

void *check_calloc(size_t count, size_t bytes)
{
    void *memory = calloc(count > 0 ? count : 1, bytes > 0 ? bytes : 1);

    CHECK(memory != NULL);
    return memory;
}

void *check_realloc(void *old, size_t bytes)
{
    void *memory = realloc(old, bytes > 0 ? bytes : 1);

    CHECK(memory != NULL);
    return memory;
}

char *check_strdup(const char *text)
{
    return check_strndup(text, strlen(text));
}

char *check_strndup(const char *text, size_t bytes)
{
    char *copy = check_malloc(bytes + 1);

    if (bytes > 0)
        memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    return copy;
}
