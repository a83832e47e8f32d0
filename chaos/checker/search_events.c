#include "chaos/checker/search_impl.h"
#include "proto/base/check.h"

static int event_compare(const void *left, const void *right)
{
    const uint64_t *a = left;
    const uint64_t *b = right;

    if (a[0] != b[0])
        return a[0] < b[0] ? -1 : 1;
    return a[1] < b[1] ? -1 : a[1] > b[1];
}

/* Two operations never share a line, unless it is the last use of both. */
static void make_events(struct search *search)
{
    size_t count = 0;
    uint64_t(*keys)[2] = check_malloc(2 * search->count * sizeof(*keys));

    for (size_t i = 0; i < search->count; i++) {
        const struct search_op *op = &search->ops[i];

        if (op->back < op->call)
            continue; /* a free one without a use */
        keys[count][0] = (uint64_t)op->call << 1;
        keys[count++][1] = (uint64_t)i << 1;
        keys[count][0] = (uint64_t)op->back << 1 | op->is_free;
        keys[count++][1] = (uint64_t)i << 1 | 1;
    }
    qsort(keys, count, sizeof(*keys), event_compare);
    search->events = check_malloc(count * sizeof(*search->events));
    search->event_count = (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        search->events[i] = (struct event){(uint32_t)(keys[i][1] >> 1), (keys[i][1] & 1) != 0};
        if (search->events[i].is_return)
            search->ops[search->events[i].op].returns_at = (uint32_t)i;
    }
    free(keys);
}

/* A slot is free again once its operation returned: the sets stay as small as the history's
 * concurrency. */
static void give_slots(struct search *search)
{
    uint32_t *unused = check_malloc((search->count + 1) * sizeof(*unused));
    uint32_t unused_count = 0;
    uint32_t slot_count = IDLE_SLOT + 1;

    for (uint32_t i = 0; i < search->event_count; i++) {
        struct search_op *op = &search->ops[search->events[i].op];

        if (search->events[i].is_return)
            unused[unused_count++] = op->slot;
        else
            op->slot = unused_count > 0 ? unused[--unused_count] : slot_count++;
    }
    free(unused);
    search->set_words = (slot_count + 63) / 64;
    search->open = check_calloc(search->set_words, sizeof(*search->open));
    search->slot_op = check_calloc(search->set_words * 64, sizeof(*search->slot_op));
    search->candidates = check_calloc(slot_count + 1, sizeof(*search->candidates));
}

static void find_producers(struct search *search)
{
    struct map last; /* topic -> event of the last producer's call, + 1 */

    map_init(&last);
    for (uint32_t i = 0; i < search->event_count; i++) {
        struct search_op *op = &search->ops[search->events[i].op];

        if (!search->events[i].is_return && op->produces != SEARCH_NO_TOPIC) {
            (void)map_set_u64(&last, (uint64_t)op->produces, (void *)(uintptr_t)(i + 1));
            (void)map_set_u64(&last, (uint64_t)SEARCH_ANY_TOPIC, (void *)(uintptr_t)(i + 1));
        }
        if (search->events[i].is_return && op->wants != SEARCH_NO_TOPIC) {
            uintptr_t at = (uintptr_t)map_find_u64(&last, (uint64_t)op->wants);

            op->producer_at = at == 0 ? 0 : (uint32_t)at - 1;
        }
    }
    map_close(&last);
}

static void sort_ops(struct search *search)
{
    struct intern sorts;

    intern_init(&sorts);
    for (size_t i = 0; i < search->count; i++) {
        struct search_op *op = &search->ops[i];
        const int64_t effect[] = {op->function, op->a, op->b, op->c, op->result};

        op->sort = intern_put(&sorts, slice_of(effect, sizeof(effect)));
    }
    search->sort_count = (uint32_t)intern_count(&sorts);
    search->sort_seen = check_calloc(2 * (size_t)search->sort_count + 1, sizeof(uint64_t));
    intern_close(&sorts);
}

void search_events_make(struct search *search)
{
    make_events(search);
    give_slots(search);
    find_producers(search);
    sort_ops(search);
}
