#include "node/http/http_impl.h"

#include "proto/base/check.h"

#define BLOCK_BYTES 16384
#define BLOCKS_KEPT_MAX 64
#define REQUESTS_KEPT_MAX 128
#define HEAD_KEPT_BYTES_MAX 4096

void http_pool_init(struct http_pool *pool)
{
    *pool = (struct http_pool){0};
    list_init(&pool->blocks);
    list_init(&pool->requests);
}

static void request_free(struct http_request *request)
{
    buffer_close(&request->head);
    free(request);
}

void http_pool_close(struct http_pool *pool)
{
    LIST_EACH_SAFE(&pool->blocks, link)
    {
        free(container_of(link, struct http_block, link));
    }
    LIST_EACH_SAFE(&pool->requests, link)
    {
        request_free(container_of(link, struct http_request, link));
    }
}

struct http_block *http_pool_block(struct http_pool *pool, size_t bytes_min)
{
    struct http_block *block;

    if (bytes_min <= BLOCK_BYTES && !list_is_empty(&pool->blocks)) {
        block = container_of(list_pop(&pool->blocks), struct http_block, link);
        pool->block_count--;
    } else {
        size_t capacity = bytes_min > BLOCK_BYTES ? bytes_min : BLOCK_BYTES;

        block = check_malloc(sizeof(*block) + capacity);
        block->capacity = capacity;
        list_init(&block->link);
    }
    block->references = 1;
    block->size = 0;
    return block;
}

void http_pool_block_release(struct http_pool *pool, struct http_block *block)
{
    if (block == NULL || --block->references > 0)
        return;
    if (block->capacity != BLOCK_BYTES || pool->block_count == BLOCKS_KEPT_MAX) {
        free(block);
        return;
    }
    list_prepend(&pool->blocks, &block->link);
    pool->block_count++;
}

struct http_request *http_pool_request(struct http_pool *pool)
{
    struct http_request *request;

    if (list_is_empty(&pool->requests)) {
        request = check_malloc(sizeof(*request));
        buffer_init(&request->head, BUFFER_UNLIMITED);
        list_init(&request->link);
    } else {
        request = container_of(list_pop(&pool->requests), struct http_request, link);
        pool->request_count--;
    }
    request->state = HTTP_REQUEST_READING;
    request->block = NULL;
    request->wants_continue = false;
    buffer_clear(&request->head);
    buffer_init(&request->body, BUFFER_UNLIMITED);
    arena_init(&request->exchange.arena);
    return request;
}

void http_pool_request_release(struct http_pool *pool, struct http_request *request)
{
    list_remove(&request->link);
    arena_close(&request->exchange.arena);
    http_pool_block_release(pool, request->block);
    request->block = NULL;
    buffer_close(&request->body);
    if (pool->request_count == REQUESTS_KEPT_MAX) {
        request_free(request);
        return;
    }
    if (request->head.capacity > HEAD_KEPT_BYTES_MAX)
        buffer_close(&request->head);
    list_prepend(&pool->requests, &request->link);
    pool->request_count++;
}
