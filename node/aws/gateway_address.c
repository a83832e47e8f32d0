#include "node/aws/gateway_address.h"

#include "proto/base/encode.h"

/* Cut a segment off a path that starts with a slash; ERR_NOT_FOUND when there is none. */
static enum error cut(struct http_exchange *exchange, struct slice *path, char **text)
{
    AUTO(buffer) decoded = BUFFER_INIT(path->size);
    const uint8_t *slash;
    size_t size;

    if (path->size < 2 || path->data[0] != '/')
        return ERR_NOT_FOUND;
    slash = memchr(path->data + 1, '/', path->size - 1);
    size = slash != NULL ? (size_t)(slash - path->data) : path->size;
    if (size == 1 || decode_percent(slice_of(path->data + 1, size - 1), false, &decoded) != OK)
        return ERR_NOT_FOUND;
    *text = arena_text(&exchange->arena, buffer_slice(&decoded));
    *path = slice_of(path->data + size, path->size - size);
    return OK;
}

/* The label in front of ".execute-api."; NULL when the host is of no API. */
static char *api_of_host(struct http_exchange *exchange)
{
    static const char mark[] = ".execute-api.";
    struct slice host = http_header_find(exchange, "Host");
    const uint8_t *found =
        host.size > 0 ? memmem(host.data, host.size, mark, sizeof(mark) - 1) : NULL;

    if (found == NULL || found == host.data)
        return NULL;
    return arena_text(&exchange->arena, slice_of(host.data, (size_t)(found - host.data)));
}

/* Cut a fixed prefix off. */
static bool skip(struct slice *path, const char *prefix)
{
    if (!slice_starts_with(*path, slice_text(prefix)))
        return false;
    *path = slice_of(path->data + strlen(prefix), path->size - strlen(prefix));
    return true;
}

/* The forms that name the API in the path. */
static enum error read_long_path(struct http_exchange *exchange, struct slice *path,
                                 struct gateway_address *address)
{
    bool is_older = !skip(path, "/_aws/execute-api");
    char *mark = NULL;
    enum error rc;

    if (is_older && !skip(path, "/restapis"))
        return ERR_NOT_FOUND;
    rc = cut(exchange, path, &address->api_id);
    if (rc == OK)
        rc = cut(exchange, path, &address->stage);
    if (rc == OK && is_older)
        rc = cut(exchange, path, &mark);
    return rc == OK && is_older && strcmp(mark, "_user_request_") != 0 ? ERR_NOT_FOUND : rc;
}

enum error gateway_address_read(struct http_exchange *exchange, struct gateway_address *address)
{
    struct gateway_address found = {.api_id = api_of_host(exchange)};
    struct slice path = exchange->path;
    enum error rc = found.api_id != NULL ? cut(exchange, &path, &found.stage)
                                         : read_long_path(exchange, &path, &found);

    if (rc != OK)
        return rc;
    found.path = path.size > 0 ? path : SLICE_LITERAL("/");
    *address = found;
    return OK;
}
