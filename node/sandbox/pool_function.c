#include "node/sandbox/pool_impl.h"

#include "proto/base/check.h"

#include <inttypes.h>
#include <stdio.h>

#define KEY_BYTES 128

/* A name has no colon. */
static struct slice make_key(const char *name, uint64_t version, char key[KEY_BYTES])
{
    (void)snprintf(key, KEY_BYTES, "%.100s:%" PRIu64, name, version);
    return slice_text(key);
}

void pool_function_version_text(uint64_t version, char text[VERSION_BYTES])
{
    if (version == 0)
        (void)snprintf(text, VERSION_BYTES, "$LATEST");
    else
        (void)snprintf(text, VERSION_BYTES, "%" PRIu64, version);
}

struct pool_function *pool_function_find(const struct pool *pool, const char *name,
                                         uint64_t version)
{
    char key[KEY_BYTES];

    return map_find(&pool->functions, make_key(name, version, key));
}

static Skein__Wire__Function *copy_spec(const Skein__Wire__Function *spec)
{
    size_t size = skein__wire__function__get_packed_size(spec);
    uint8_t *bytes = check_malloc(size + 1);
    Skein__Wire__Function *copy;

    skein__wire__function__pack(spec, bytes);
    copy = skein__wire__function__unpack(NULL, size, bytes);
    CHECK(copy != NULL);
    free(bytes);
    return copy;
}

struct pool_version *pool_function_current(const struct pool_function *function)
{
    return container_of(function->versions.next, struct pool_version, link);
}

bool pool_function_is_current(const struct pool_version *version)
{
    return !version->function->is_removed && pool_function_current(version->function) == version;
}

static struct pool_version *version_new(struct pool_function *function,
                                        const Skein__Wire__Function *spec)
{
    struct pool_version *version = check_calloc(1, sizeof(*version));

    version->function = function;
    version->spec = copy_spec(spec);
    list_init(&version->idle);
    list_init(&version->units);
    list_prepend(&function->versions, &version->link);
    return version;
}

void pool_function_free_version(struct pool_version *version)
{
    list_remove(&version->link);
    skein__wire__function__free_unpacked(version->spec, NULL);
    free(version->folder);
    free(version);
}

void pool_function_free(struct pool_function *function)
{
    list_remove(&function->link);
    list_remove(&function->stalled_link);
    free(function->name);
    free(function);
}

/* Free a version that nothing uses any more, and its function with the last one. */
void pool_function_release(struct pool_version *version)
{
    struct pool_function *function = version->function;

    if (pool_function_is_current(version) || !list_is_empty(&version->units) ||
        version->code_state == CODE_FETCHING)
        return;
    pool_function_free_version(version);
    if (function->is_removed && list_is_empty(&function->versions))
        pool_function_free(function);
}

/* The version was overtaken, or its function removed. */
static void retire_version(struct pool_version *version)
{
    pool_unit_end_idle(version);
    LIST_EACH(&version->units, link)
    {
        struct pool_unit *unit = container_of(link, struct pool_unit, link);

        if (unit->state == UNIT_STARTING)
            pool_unit_end(unit);
    }
    pool_function_release(version);
}

static struct pool_function *function_new(struct pool *pool, const char *name, uint64_t version)
{
    struct pool_function *function = check_calloc(1, sizeof(*function));
    char key[KEY_BYTES];

    function->pool = pool;
    function->name = check_strdup(name);
    pool_function_version_text(version, function->version);
    list_init(&function->versions);
    list_init(&function->waiting);
    list_init(&function->stalled_link);
    list_append(&pool->all, &function->link);
    map_set(&pool->functions, make_key(name, version, key), function);
    return function;
}

/* A function that was deleted and made again begins with its first generation anew. */
static bool is_newer(const Skein__Wire__Function *spec, const Skein__Wire__Function *old)
{
    return spec->generation > old->generation ||
           !slice_equal(slice_of(spec->code_owner.data, spec->code_owner.len),
                        slice_of(old->code_owner.data, old->code_owner.len));
}

void pool_function_set(struct pool *pool, const Skein__Wire__Function *spec)
{
    struct pool_function *function = pool_function_find(pool, spec->name, spec->version);
    struct pool_version *old = NULL;

    if (function == NULL) {
        function = function_new(pool, spec->name, spec->version);
    } else {
        old = pool_function_current(function);
        if (!is_newer(spec, old->spec))
            return;
    }
    version_new(function, spec);
    pool->env->sandbox->prepare(pool->env, spec->runtime);
    if (old == NULL)
        return;
    function->failures = 0;
    env_timer_stop(pool->env, &function->backoff);
    env_timer_stop(pool->env, &function->patience);
    function->start_us = 0; /* the new code may be nothing like the old */
    function->run_us = 0;
    retire_version(old);
    pool_pump(function);
}

void pool_function_remove(struct pool *pool, const char *name, uint64_t version)
{
    char key[KEY_BYTES];
    struct pool_function *function = map_remove(&pool->functions, make_key(name, version, key));

    if (function == NULL)
        return;
    function->is_removed = true;
    env_timer_stop(pool->env, &function->backoff);
    env_timer_stop(pool->env, &function->patience);
    list_remove(&function->stalled_link);
    pool_call_refuse_all(function, INVOKE_NOT_FOUND);
    /* the older versions are retired already, and the last one takes the function with it */
    retire_version(pool_function_current(function));
}
