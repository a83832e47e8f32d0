#include "node/node_code.h"

#include "node/object/blob.h"
#include "proto/base/check.h"
#include "proto/base/log.h"

#include <stdio.h>

/* One request:  [found in the cache] -> ANSWERING
 *               FETCHING -> UNPACKING -> callback */
struct fetch {
    struct list link;
    struct node_code *code;
    struct pool_code *request;
    struct blob_transfer transfer;
    struct sandbox_code unpack;
    struct env_timer timer;
    char folder[SANDBOX_PATH_BYTES];
};

struct node_code {
    struct env *env;
    struct shard_router *router;
    struct list fetches;
};

struct node_code *node_code_new(struct env *env, struct shard_router *router)
{
    struct node_code *code = check_calloc(1, sizeof(*code));

    code->env = env;
    code->router = router;
    list_init(&code->fetches);
    return code;
}

static void fetch_free(struct fetch *fetch)
{
    list_remove(&fetch->link);
    env_timer_stop(fetch->code->env, &fetch->timer);
    blob_cancel(&fetch->transfer);
    free(fetch);
}

void node_code_free(struct node_code *code)
{
    if (code == NULL)
        return;
    while (!list_is_empty(&code->fetches))
        fetch_free(container_of(code->fetches.next, struct fetch, link));
    free(code);
}

static void finish(struct fetch *fetch, enum error rc, const char *folder)
{
    struct pool_code *request = fetch->request;

    if (rc != OK)
        log_warn("node_code.fetch_failed function=%s error=%s", request->function->name,
                 error_name(rc));
    request->cb(request, rc, folder);
    fetch_free(fetch);
}

static void on_unpacked(struct sandbox_code *unpack, enum error rc, const char *folder)
{
    finish(container_of(unpack, struct fetch, unpack), rc, folder);
}

static struct slice sha256_of(const struct fetch *fetch)
{
    const ProtobufCBinaryData *sha256 = &fetch->request->function->code_sha256;

    return slice_of(sha256->data, sha256->len);
}

static void on_fetched(struct blob_transfer *transfer, enum error rc, struct buffer *content)
{
    struct fetch *fetch = container_of(transfer, struct fetch, transfer);
    struct env *env = fetch->code->env;

    if (rc != OK)
        finish(fetch, rc, NULL);
    else
        env->sandbox->code_store(env, &fetch->unpack, sha256_of(fetch), content, on_unpacked);
}

static void on_found(struct env_timer *timer)
{
    struct fetch *fetch = container_of(timer, struct fetch, timer);

    finish(fetch, OK, fetch->folder);
}

void node_code_fetch(void *user, struct pool_code *request, pool_code_cb cb)
{
    struct node_code *code = user;
    struct fetch *fetch = check_calloc(1, sizeof(*fetch));

    request->cb = cb;
    fetch->code = code;
    fetch->request = request;
    list_append(&code->fetches, &fetch->link);
    if (code->env->sandbox->code_find(code->env, sha256_of(fetch), fetch->folder) == OK)
        env_timer_start(code->env, &fetch->timer, 0, on_found);
    else
        blob_get(code->router, &fetch->transfer, request->function->code_sha256.data,
                 request->function->code_chunk_count, on_fetched);
}
