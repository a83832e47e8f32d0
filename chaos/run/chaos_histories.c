#include "chaos/run/chaos_histories.h"

#include "chaos/checker/judge.h"
#include "chaos/checker/model.h"
#include "proto/base/check.h"

#include <stdio.h>

#define JUDGE_SECONDS 60
#define JUDGE_BYTES ((size_t)1 << 30)

struct one {
    bool is_used;
    struct history history;
    enum error rc; /* of what was read so far */
};

struct chaos_histories {
    struct one all[SCENARIO_WORKLOAD_COUNT];
};

static const struct model *const models[SCENARIO_WORKLOAD_COUNT] = {
    [SCENARIO_REGISTER] = &model_register,
    [SCENARIO_COUNTER] = &model_counter,
    [SCENARIO_ORDERS] = &model_once,
};

struct chaos_histories *chaos_histories_new(const struct scenario *scenario)
{
    struct chaos_histories *histories = check_calloc(1, sizeof(*histories));

    for (size_t i = 0; i < SCENARIO_WORKLOAD_COUNT; i++) {
        struct one *one = &histories->all[i];

        one->is_used = models[i] != NULL && scenario->is_used[i];
        if (one->is_used)
            history_init(&one->history, models[i]);
    }
    return histories;
}

void chaos_histories_free(struct chaos_histories *histories)
{
    for (size_t i = 0; histories != NULL && i < SCENARIO_WORKLOAD_COUNT; i++)
        if (histories->all[i].is_used)
            history_close(&histories->all[i].history);
    free(histories);
}

void chaos_histories_take(struct chaos_histories *histories, enum scenario_workload workload,
                          struct slice line)
{
    struct one *one = &histories->all[workload];

    if (one->rc == OK)
        one->rc = history_read_line(&one->history, line);
}

static void keep(const struct one *one, const struct verdict *verdict, const char *folder)
{
    char path[700];
    FILE *file;

    (void)snprintf(path, sizeof(path), "%s/verdict-%s.txt", folder, one->history.model->name);
    file = fopen(path, "we");
    if (file == NULL)
        return;
    verdict_print_text(verdict, &one->history, file);
    (void)fclose(file);
}

static enum verdict_kind judge(struct one *one, const char *folder, bool is_told)
{
    const struct judge_options options = {.timeout_s = JUDGE_SECONDS, .memory_bytes = JUDGE_BYTES};
    enum verdict_kind kind = VERDICT_UNDECIDED;
    struct verdict verdict;

    if (one->rc == OK)
        one->rc = history_end(&one->history);
    if (one->rc != OK) {
        if (is_told)
            (void)printf("  %-14s cannot be judged: %s\n", one->history.model->name,
                         one->history.why);
        return kind;
    }
    verdict_init(&verdict);
    judge_history(&one->history, &options, &verdict);
    kind = verdict.kind;
    if (is_told)
        (void)printf("  %-14s %zu operations on %zu keys: %s%s%s\n", one->history.model->name,
                     one->history.count, verdict.key_count, verdict_name(kind),
                     verdict.why[0] != '\0' ? ": " : "", verdict.why);
    if (kind != VERDICT_VALID)
        keep(one, &verdict, folder);
    verdict_close(&verdict);
    return kind;
}

struct assess_figure chaos_histories_judge(struct chaos_histories *histories, const char *folder,
                                           bool is_told)
{
    struct assess_figure wrong = {.is_known = true};
    bool is_undecided = false;

    for (size_t i = 0; i < SCENARIO_WORKLOAD_COUNT; i++) {
        if (!histories->all[i].is_used)
            continue;
        enum verdict_kind kind = judge(&histories->all[i], folder, is_told);

        wrong.value += kind == VERDICT_INVALID;
        is_undecided |= kind == VERDICT_UNDECIDED;
    }
    wrong.is_known = wrong.value > 0 || !is_undecided;
    return wrong;
}
