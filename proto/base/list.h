/* Intrusive doubly linked list: `struct list` is both the head and the link in an element.
 * Get the element back with container_of (check.h). */

#ifndef PROTO_BASE_LIST_H
#define PROTO_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next;
    struct list *previous;
};

static inline void list_init(struct list *head)
{
    head->next = head;
    head->previous = head;
}

static inline bool list_is_empty(const struct list *head)
{
    return head->next == head;
}

static inline void list_append(struct list *head, struct list *link)
{
    link->previous = head->previous;
    link->next = head;
    head->previous->next = link;
    head->previous = link;
}

static inline void list_prepend(struct list *head, struct list *link)
{
    list_append(head->next, link);
}

/* The link points to itself afterwards, so removing it once more does nothing. */
static inline void list_remove(struct list *link)
{
    link->previous->next = link->next;
    link->next->previous = link->previous;
    list_init(link);
}

/* The first link, removed; NULL when the list is empty. */
static inline struct list *list_pop(struct list *head)
{
    if (list_is_empty(head))
        return NULL;
    struct list *first = head->next;

    list_remove(first);
    return first;
}

/* Move all links of `from` to the empty head `to`. */
static inline void list_move(struct list *to, struct list *from)
{
    list_init(to);
    if (list_is_empty(from))
        return;
    *to = *from;
    to->next->previous = to;
    to->previous->next = to;
    list_init(from);
}

/* `link` must not be removed in the body; use list_pop for that. */
#define LIST_EACH(head, link)                                                                      \
    for (struct list *link = (head)->next; link != (head); link = link->next)

/* `link` may be removed in the body. */
#define LIST_EACH_SAFE(head, link)                                                                 \
    for (struct list *link = (head)->next, *link##_next = link->next; link != (head);              \
         link = link##_next, link##_next = link->next)

#endif
