/* Histories from strangers: the first byte picks the model, the rest are lines. Whatever can be
 * read must get a verdict within its limits, and the verdict must print. */

#include "chaos/checker/judge.h"
#include "chaos/checker/model.h"
#include "proto/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void judge_and_print(const struct history *history)
{
    const struct judge_options options = {.timeout_s = 0.01, .memory_bytes = 1 << 20};
    struct verdict verdict;
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);

    CHECK(to != NULL);
    verdict_init(&verdict);
    judge_history(history, &options, &verdict);
    verdict_print_text(&verdict, history, to);
    verdict_print_json(&verdict, history, to);
    (void)fclose(to);
    free(text);
    verdict_close(&verdict);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct model *const models[] = {&model_register, &model_kv, &model_counter,
                                                 &model_once, &model_bank};
    struct history history;
    enum error rc = OK;

    if (size == 0)
        return 0;
    history_init(&history, models[data[0] % ARRAY_COUNT(models)]);
    for (size_t at = 1; at < size && rc == OK;) {
        const uint8_t *end = memchr(data + at, '\n', size - at);
        size_t bytes = end != NULL ? (size_t)(end - data) - at : size - at;

        rc = history_read_line(&history, slice_of(data + at, bytes));
        at += bytes + 1;
    }
    if (rc == OK)
        rc = history_end(&history);
    CHECK(rc == OK || history.why[0] != '\0');
    if (rc == OK)
        judge_and_print(&history);
    history_close(&history);
    return 0;
}
