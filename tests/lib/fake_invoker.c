#include "tests/lib/fake_invoker.h"

#include "proto/base/check.h"

static void on_start(void *user, struct invoke *invoke, invoke_cb cb)
{
    struct fake_invoker *fake = user;

    CHECK(fake->waiting_count < FAKE_INVOKER_WAITING_MAX);
    invoke->cb = cb;
    fake->waiting[fake->waiting_count++] = invoke;
    fake->started++;
}

static void on_cancel(void *user, struct invoke *invoke)
{
    struct fake_invoker *fake = user;

    fake->cancelled = invoke;
}

struct invoker fake_invoker_as_invoker(struct fake_invoker *fake)
{
    return (struct invoker){.user = fake, .start = on_start, .cancel = on_cancel};
}

struct invoke *fake_invoker_first(const struct fake_invoker *fake)
{
    return fake->waiting_count > 0 ? fake->waiting[0] : NULL;
}

void fake_invoker_finish(struct fake_invoker *fake, enum invoke_outcome outcome,
                         const char *payload)
{
    const struct invoke_result result = {
        .outcome = outcome,
        .payload = slice_text(payload),
        .log_tail = SLICE_LITERAL("START\nREPORT\n"),
        .version = "$LATEST",
    };
    struct invoke *invoke = fake_invoker_first(fake);

    CHECK(invoke != NULL);
    fake->waiting_count--;
    memmove(&fake->waiting[0], &fake->waiting[1], fake->waiting_count * sizeof(invoke));
    invoke->cb(invoke, &result);
}
