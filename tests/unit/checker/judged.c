#include "tests/unit/checker/judged.h"

#include "chaos/checker/model.h"
#include "proto/base/check.h"

const struct judge_options judged_options = {.timeout_s = 100, .memory_bytes = (size_t)1 << 30};

static enum error read_lines(struct history *history, struct slice text)
{
    while (text.size > 0) {
        const uint8_t *end = memchr(text.data, '\n', text.size);
        size_t size = end != NULL ? (size_t)(end - text.data) : text.size;
        enum error rc = history_read_line(history, slice_of(text.data, size));

        if (rc != OK)
            return rc;
        size += end != NULL;
        text = slice_of(text.data + size, text.size - size);
    }
    return history_end(history);
}

void judged_open(struct judged *judged, const char *model, struct slice text,
                 const struct judge_options *options)
{
    const struct model *found = model_find(model);

    CHECK(found != NULL);
    history_init(&judged->history, found);
    verdict_init(&judged->verdict);
    judged->rc = read_lines(&judged->history, text);
    if (judged->rc == OK)
        judge_history(&judged->history, options, &judged->verdict);
}

void judged_close(struct judged *judged)
{
    verdict_close(&judged->verdict);
    history_close(&judged->history);
}

enum verdict_kind judged_kind(const char *model, struct slice text,
                              const struct judge_options *options)
{
    struct judged judged;
    enum verdict_kind kind;

    judged_open(&judged, model, text, options);
    CHECK(judged.rc == OK);
    kind = judged.verdict.kind;
    judged_close(&judged);
    return kind;
}
