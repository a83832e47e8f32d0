#include "chaos/checker/judge.h"

#include "chaos/checker/model.h"
#include "chaos/checker/search.h"
#include "proto/base/check.h"

#include <time.h>

#define NS_PER_S 1000000000u

struct part {
    const struct operation **operations; /* of one key, by line of call */
    size_t count;
    uint32_t key;
};

static uint64_t now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static int part_compare(const void *left, const void *right)
{
    const struct part *a = left;
    const struct part *b = right;

    if (a->count != b->count)
        return a->count < b->count ? -1 : 1;
    return a->key < b->key ? -1 : a->key > b->key;
}

/* Operations that did not happen are left out. `all` holds the pointers of every part. */
static struct part *split(const struct history *history, size_t key_count,
                          const struct operation **all)
{
    struct part *parts = check_calloc(key_count + 1, sizeof(*parts));
    size_t begin = 0;

    for (size_t i = 0; i < history->count; i++)
        parts[history->operations[i].key].count += history->operations[i].outcome != OUTCOME_VOID;
    for (size_t key = 0; key < key_count; key++) {
        parts[key].key = (uint32_t)key;
        parts[key].operations = all + begin;
        begin += parts[key].count;
        parts[key].count = 0;
    }
    for (size_t i = 0; i < history->count; i++) {
        struct part *part = &parts[history->operations[i].key];

        if (history->operations[i].outcome != OUTCOME_VOID)
            part->operations[part->count++] = &history->operations[i];
    }
    qsort(parts, key_count, sizeof(*parts), part_compare);
    return parts;
}

static void judge_part(const struct history *history, const struct part *part,
                       const struct judge_options *options, const struct search_limits *limits,
                       struct verdict *verdict)
{
    const struct model *model = history->model;

    verdict->kind = VERDICT_UNDECIDED;
    if (model->quick != NULL && (!options->no_quick || model->search == NULL))
        model->quick(history, part->operations, part->count, verdict);
    if (verdict->kind == VERDICT_UNDECIDED)
        search_run(model->search, history, part->operations, part->count, limits, verdict);
}

static void judge_parts(const struct history *history, const struct part *parts, size_t count,
                        const struct judge_options *options, const struct search_limits *limits,
                        struct verdict *verdict)
{
    uint32_t undecided_key = 0;

    for (size_t i = 0; i < count; i++) {
        judge_part(history, &parts[i], options, limits, verdict);
        verdict->key_valid_count += verdict->kind == VERDICT_VALID;
        if (verdict->kind == VERDICT_UNDECIDED && verdict->key_undecided_count++ == 0)
            undecided_key = parts[i].key;
        if (verdict->kind == VERDICT_INVALID) {
            verdict->key = parts[i].key;
            return;
        }
    }
    verdict->kind = verdict->key_undecided_count > 0 ? VERDICT_UNDECIDED : VERDICT_VALID;
    verdict->key = undecided_key;
}

void judge_history(const struct history *history, const struct judge_options *options,
                   struct verdict *verdict)
{
    uint64_t begin_ns = now_ns();
    const struct search_limits limits = {
        .until_ns = begin_ns + (uint64_t)(options->timeout_s * NS_PER_S),
        .memory_bytes = options->memory_bytes,
    };
    const struct operation **all =
        check_malloc((history->count + 1) * sizeof(const struct operation *));

    verdict->key_count = intern_count(&history->keys);
    struct part *parts = split(history, verdict->key_count, all);

    judge_parts(history, parts, verdict->key_count, options, &limits, verdict);
    verdict->seconds = (double)(now_ns() - begin_ns) / NS_PER_S;
    free(parts);
    free(all);
}
