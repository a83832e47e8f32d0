#include "controller/membership.h"

#include "proto/base/check.h"

void membership_init(struct membership *membership, uint32_t lease_ms)
{
    *membership = (struct membership){.lease_ms = lease_ms};
}

void membership_close(struct membership *membership)
{
    free(membership->members);
    *membership = (struct membership){.lease_ms = membership->lease_ms};
}

/* Where `id` is or belongs. */
static size_t place_of(const struct membership *membership, uint64_t id)
{
    size_t place = 0;

    while (place < membership->count && membership->members[place].id < id)
        place++;
    return place;
}

static struct member *find(const struct membership *membership, uint64_t id)
{
    size_t place = place_of(membership, id);

    return place < membership->count && membership->members[place].id == id
               ? &membership->members[place]
               : NULL;
}

const struct member *membership_find(const struct membership *membership, uint64_t id)
{
    return find(membership, id);
}

static struct member *find_or_add(struct membership *membership, uint64_t id)
{
    size_t place = place_of(membership, id);
    struct member *member;

    if (place < membership->count && membership->members[place].id == id)
        return &membership->members[place];
    if (membership->count == membership->capacity) {
        membership->capacity = membership->capacity == 0 ? 16 : membership->capacity * 2;
        membership->members =
            check_realloc(membership->members, membership->capacity * sizeof(*member));
    }
    member = &membership->members[place];
    memmove(member + 1, member, (membership->count - place) * sizeof(*member));
    membership->count++;
    *member = (struct member){.id = id};
    return member;
}

void membership_add(struct membership *membership, uint64_t id, bool is_alive, uint64_t now_ms)
{
    *find_or_add(membership, id) = (struct member){.id = id,
                                                   .is_alive = is_alive,
                                                   .lease_until_ms = now_ms + membership->lease_ms,
                                                   .lost_ms = now_ms};
}

bool membership_renew(struct membership *membership, uint64_t id, uint64_t now_ms)
{
    struct member *member = find_or_add(membership, id);
    bool is_news = !member->is_alive;

    member->is_alive = true;
    member->lease_until_ms = now_ms + membership->lease_ms;
    return is_news;
}

static bool lose(struct member *member, uint64_t now_ms)
{
    if (!member->is_alive)
        return false;
    member->is_alive = false;
    member->lost_ms = now_ms;
    return true;
}

bool membership_lose(struct membership *membership, uint64_t id, uint64_t now_ms)
{
    struct member *member = find(membership, id);

    return member != NULL && lose(member, now_ms);
}

bool membership_tick(struct membership *membership, uint64_t now_ms)
{
    bool is_news = false;

    for (size_t i = 0; i < membership->count; i++)
        if (now_ms >= membership->members[i].lease_until_ms)
            is_news = lose(&membership->members[i], now_ms) || is_news;
    return is_news;
}

void membership_remove(struct membership *membership, uint64_t id)
{
    struct member *member = find(membership, id);

    if (member == NULL)
        return;
    membership->count--;
    memmove(member, member + 1,
            (size_t)(membership->members + membership->count - member) * sizeof(*member));
}

size_t membership_alive(const struct membership *membership)
{
    size_t count = 0;

    for (size_t i = 0; i < membership->count; i++)
        count += membership->members[i].is_alive;
    return count;
}
