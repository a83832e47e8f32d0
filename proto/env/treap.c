#include "proto/env/treap.h"

#include "proto/base/check.h"

struct item { /* shared by every version that has it */
    uint32_t references;
    uint64_t priority;
    size_t key_size;
    size_t value_size;
    uint8_t bytes[]; /* key, value */
};

struct treap {
    uint32_t references;
    struct item *item;
    struct treap *left;
    struct treap *right;
};

static uint64_t hash_of(struct slice key)
{
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a, then mixed so that the high bits are good too */

    for (size_t i = 0; i < key.size; i++)
        hash = (hash ^ key.data[i]) * 0x100000001b3u;
    hash = (hash ^ (hash >> 32)) * 0xd6e8feb86659fd93u;
    return hash ^ (hash >> 32);
}

static struct item *item_new(struct slice key, struct slice value)
{
    struct item *item = check_malloc(sizeof(*item) + key.size + value.size);

    item->references = 1;
    item->priority = hash_of(key);
    item->key_size = key.size;
    item->value_size = value.size;
    if (key.size > 0)
        memcpy(item->bytes, key.data, key.size);
    if (value.size > 0)
        memcpy(item->bytes + key.size, value.data, value.size);
    return item;
}

static struct item *item_retain(struct item *item)
{
    item->references++;
    return item;
}

struct slice treap_key(const struct treap *entry)
{
    return slice_of(entry->item->bytes, entry->item->key_size);
}

struct slice treap_value(const struct treap *entry)
{
    return slice_of(entry->item->bytes + entry->item->key_size, entry->item->value_size);
}

/* Takes all three references. */
static struct treap *node_new(struct item *item, struct treap *left, struct treap *right)
{
    struct treap *node = check_malloc(sizeof(*node));

    *node = (struct treap){1, item, left, right};
    return node;
}

struct treap *treap_retain(struct treap *root)
{
    if (root != NULL)
        root->references++;
    return root;
}

void treap_release(struct treap *root)
{
    if (root == NULL || --root->references > 0)
        return;
    treap_release(root->left);
    treap_release(root->right);
    if (--root->item->references == 0)
        free(root->item);
    free(root);
}

/* The node is fresh, and so is the child that may have to move above it. */
static struct treap *lift_left(struct treap *node)
{
    struct treap *child = node->left;

    if (child->item->priority <= node->item->priority)
        return node;
    node->left = child->right;
    child->right = node;
    return child;
}

static struct treap *lift_right(struct treap *node)
{
    struct treap *child = node->right;

    if (child->item->priority <= node->item->priority)
        return node;
    node->right = child->left;
    child->left = node;
    return child;
}

static struct treap *set_item(struct treap *node, struct slice key, struct item *item)
{
    int order;

    if (node == NULL)
        return node_new(item_retain(item), NULL, NULL);
    order = slice_compare(key, treap_key(node));
    if (order == 0)
        return node_new(item_retain(item), treap_retain(node->left), treap_retain(node->right));
    if (order < 0)
        return lift_left(node_new(item_retain(node->item), set_item(node->left, key, item),
                                  treap_retain(node->right)));
    return lift_right(node_new(item_retain(node->item), treap_retain(node->left),
                               set_item(node->right, key, item)));
}

struct treap *treap_set(struct treap *root, struct slice key, struct slice value)
{
    struct item *item = item_new(key, value);
    struct treap *changed = set_item(root, key, item);

    item->references--; /* ours; the tree has its own */
    return changed;
}

/* Every key of `a` is below every key of `b`. */
static struct treap *merge(struct treap *a, struct treap *b)
{
    if (a == NULL)
        return treap_retain(b);
    if (b == NULL)
        return treap_retain(a);
    if (a->item->priority >= b->item->priority)
        return node_new(item_retain(a->item), treap_retain(a->left), merge(a->right, b));
    return node_new(item_retain(b->item), merge(a, b->left), treap_retain(b->right));
}

static struct treap *remove_present(struct treap *node, struct slice key)
{
    int order = slice_compare(key, treap_key(node));

    if (order == 0)
        return merge(node->left, node->right);
    if (order < 0)
        return node_new(item_retain(node->item), remove_present(node->left, key),
                        treap_retain(node->right));
    return node_new(item_retain(node->item), treap_retain(node->left),
                    remove_present(node->right, key));
}

struct treap *treap_remove(struct treap *root, struct slice key)
{
    return treap_find(root, key) != NULL ? remove_present(root, key) : treap_retain(root);
}

const struct treap *treap_find(const struct treap *root, struct slice key)
{
    const struct treap *entry = treap_at_least(root, key);

    return entry != NULL && slice_equal(treap_key(entry), key) ? entry : NULL;
}

/* The first entry that compares to `key` as at least `order_min` (0: equal counts; 1: not). */
static const struct treap *first_from(const struct treap *root, struct slice key, int order_min)
{
    const struct treap *best = NULL;

    while (root != NULL) {
        int order = slice_compare(treap_key(root), key);

        if (order > 0 || (order == 0 && order_min == 0)) {
            best = root;
            root = root->left;
        } else {
            root = root->right;
        }
    }
    return best;
}

static const struct treap *last_to(const struct treap *root, struct slice key, int order_min)
{
    const struct treap *best = NULL;

    while (root != NULL) {
        int order = slice_compare(key, treap_key(root));

        if (order > 0 || (order == 0 && order_min == 0)) {
            best = root;
            root = root->right;
        } else {
            root = root->left;
        }
    }
    return best;
}

const struct treap *treap_at_least(const struct treap *root, struct slice key)
{
    return first_from(root, key, 0);
}

const struct treap *treap_above(const struct treap *root, struct slice key)
{
    return first_from(root, key, 1);
}

const struct treap *treap_at_most(const struct treap *root, struct slice key)
{
    return last_to(root, key, 0);
}

const struct treap *treap_below(const struct treap *root, struct slice key)
{
    return last_to(root, key, 1);
}
