#include "node/aws/gateway_route.h"

#include "proto/base/encode.h"

struct gateway_node {
    struct slice part;             /* literal, or the name of the variable */
    struct gateway_node *literals; /* children, as a chain */
    struct gateway_node *next;
    struct gateway_node *variable;
    struct gateway_node *greedy;
    const Skein__Wire__ApiResource *resource; /* NULL: only on the way to one */
};

struct search {
    struct arena *arena;
    struct slice method;
    struct slice segments[GATEWAY_SEGMENTS_MAX]; /* decoded */
    struct slice rests[GATEWAY_SEGMENTS_MAX];    /* the path from there on, as sent */
    size_t count;
    struct gateway_match *match;
};

/* ---- compile ---- */

static struct gateway_node *node_new(struct arena *arena, struct slice part)
{
    struct gateway_node *node = arena_alloc(arena, sizeof(*node));

    node->part = part;
    return node;
}

static struct gateway_node *child_of(struct arena *arena, struct gateway_node *parent,
                                     struct slice part)
{
    bool is_variable = part.size > 2 && part.data[0] == '{';
    bool is_greedy = is_variable && part.data[part.size - 2] == '+';
    struct gateway_node **place = is_greedy ? &parent->greedy : &parent->variable;

    if (is_variable) {
        if (*place == NULL)
            *place = node_new(arena, slice_of(part.data + 1, part.size - (is_greedy ? 3 : 2)));
        return *place;
    }
    for (struct gateway_node *node = parent->literals; node != NULL; node = node->next) {
        if (slice_equal(node->part, part))
            return node;
    }
    struct gateway_node *node = node_new(arena, part);

    node->next = parent->literals;
    parent->literals = node;
    return node;
}

/* Cut the first segment off a path that starts with a slash. */
static struct slice cut_segment(struct slice *path)
{
    struct slice rest = slice_of(path->data + 1, path->size - 1);
    const uint8_t *slash = rest.size > 0 ? memchr(rest.data, '/', rest.size) : NULL;
    size_t size = slash != NULL ? (size_t)(slash - rest.data) : rest.size;

    *path = slice_of(rest.data + size, rest.size - size);
    return slice_of(rest.data, size);
}

static struct slice without_last_slash(struct slice path)
{
    return path.size > 0 && path.data[path.size - 1] == '/' ? slice_of(path.data, path.size - 1)
                                                            : path;
}

struct gateway_node *gateway_route_compile(struct arena *arena,
                                           Skein__Wire__ApiResource *const *resources, size_t count)
{
    struct gateway_node *root = node_new(arena, slice_of(NULL, 0));

    for (size_t i = 0; i < count; i++) {
        struct slice path = without_last_slash(slice_text(resources[i]->path));
        struct gateway_node *node = root;

        while (path.size > 0)
            node = child_of(arena, node, cut_segment(&path));
        node->resource = resources[i];
    }
    return root;
}

/* ---- find ---- */

static const Skein__Wire__ApiMethod *method_of(const Skein__Wire__ApiResource *resource,
                                               struct slice method)
{
    const Skein__Wire__ApiMethod *any = NULL;

    for (size_t i = 0; resource != NULL && i < resource->n_methods; i++) {
        if (slice_equal_text(method, resource->methods[i]->http_method))
            return resource->methods[i];
        if (strcmp(resource->methods[i]->http_method, "ANY") == 0)
            any = resource->methods[i];
    }
    return any;
}

static bool take(struct search *search, const struct gateway_node *node)
{
    const Skein__Wire__ApiMethod *method = method_of(node->resource, search->method);

    if (method == NULL)
        return false;
    search->match->resource = node->resource;
    search->match->method = method;
    return true;
}

static struct slice decode(struct arena *arena, struct slice text)
{
    AUTO(buffer) decoded = BUFFER_INIT(text.size);

    if (decode_percent(text, false, &decoded) != OK)
        return slice_of(NULL, 0);
    return arena_copy(arena, buffer_slice(&decoded));
}

static void push_parameter(struct search *search, struct slice name, struct slice value)
{
    struct gateway_match *match = search->match;

    match->parameters[match->parameter_count++] = (struct gateway_parameter){name, value};
}

/* Search below `node` for what is left from segment `depth` on. Each node is visited at most once:
 * there is one way to it. */
static bool descend(struct search *search, const struct gateway_node *node, size_t depth)
{
    size_t parameter_count = search->match->parameter_count;

    if (depth == search->count)
        return take(search, node);
    for (const struct gateway_node *child = node->literals; child != NULL; child = child->next) {
        if (slice_equal(child->part, search->segments[depth]))
            if (descend(search, child, depth + 1))
                return true;
    }
    if (node->variable != NULL && search->segments[depth].size > 0) {
        push_parameter(search, node->variable->part, search->segments[depth]);
        if (descend(search, node->variable, depth + 1))
            return true;
        search->match->parameter_count = parameter_count;
    }
    if (node->greedy != NULL && take(search, node->greedy)) {
        push_parameter(search, node->greedy->part, decode(search->arena, search->rests[depth]));
        return true;
    }
    return false;
}

static enum error split(struct search *search, struct slice path)
{
    path = without_last_slash(path);
    while (path.size > 0) {
        struct slice rest = slice_of(path.data + 1, path.size - 1);
        AUTO(buffer) decoded = BUFFER_INIT(path.size);

        if (search->count == GATEWAY_SEGMENTS_MAX ||
            decode_percent(cut_segment(&path), false, &decoded) != OK)
            return ERR_INVALID;
        search->segments[search->count] = arena_copy(search->arena, buffer_slice(&decoded));
        search->rests[search->count++] = rest;
    }
    return OK;
}

enum error gateway_route_find(const struct gateway_node *root, struct arena *arena,
                              struct slice path, struct slice method, struct gateway_match *match)
{
    struct search search = {.arena = arena, .method = method, .match = match};
    enum error rc = split(&search, path);

    match->parameter_count = 0;
    if (rc != OK)
        return rc;
    return descend(&search, root, 0) ? OK : ERR_NOT_FOUND;
}
