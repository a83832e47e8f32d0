#include "node/node_limit.h"

#include "node/aws/aws_wire.h"
#include "node/aws/lambda_qualifier.h"
#include "node/aws/lambda_settings.h"
#include "proto/base/check.h"
#include "proto/wire/catalogue.pb-c.h"

#define ASK_DEADLINE_MS 2000
#define ACCOUNT_DEFAULT 1000

static const char *const prefixes[] = {"settings/", "placement/", "alias/", "version/", "node/"};

struct node_limit {
    struct env *env;
    struct calls *calls;
    struct view *view;
    struct pool *pool;
    uint32_t account;
    struct view_listener listeners[ARRAY_COUNT(prefixes)];
    struct env_task task;
    struct list questions;
};

uint32_t node_limit_part(uint64_t whole, size_t index, size_t count)
{
    uint64_t part = whole / count + (index < whole % count);

    return part < POOL_UNLIMITED ? (uint32_t)part : POOL_UNLIMITED - 1;
}

/* ---- this node's part ------------------------------------------------------------------------ */

struct nodes { /* that share something; in an arena */
    const uint64_t *ids;
    size_t count; /* 0: it is not placed yet, and everyone has all of it */
};

static struct nodes placed_nodes(const struct node_limit *limit, struct arena *arena,
                                 const char *function)
{
    ProtobufCAllocator allocator = aws_wire_allocator(arena);
    const Skein__Wire__FunctionPlacement *placement = NULL;
    struct slice value;

    if (view_get(limit->view, arena_printf(arena, "placement/%s", function), &value, NULL) == OK)
        placement = skein__wire__function_placement__unpack(&allocator, value.size, value.data);
    return placement == NULL ? (struct nodes){0}
                             : (struct nodes){placement->node_ids, placement->n_node_ids};
}

static uint32_t own_part(const struct node_limit *limit, const struct nodes *nodes, uint64_t whole)
{
    if (nodes->count == 0)
        return node_limit_part(whole, 0, 1);
    for (size_t i = 0; i < nodes->count; i++)
        if (nodes->ids[i] == env_self(limit->env))
            return node_limit_part(whole, i, nodes->count);
    return 0;
}

struct census { /* of the nodes that are alive; this one always is */
    struct arena *arena;
    uint64_t self;
    size_t before; /* alive nodes with a smaller key */
    size_t count;
};

static void count_node(void *user, const char *key, struct slice value, uint64_t revision)
{
    struct census *census = user;
    ProtobufCAllocator allocator = aws_wire_allocator(census->arena);
    const Skein__Wire__Node *node = skein__wire__node__unpack(&allocator, value.size, value.data);

    (void)key;
    (void)revision;
    if (node == NULL || !node->is_alive || node->id == census->self)
        return;
    census->count++;
    census->before += node->id < census->self;
}

static uint32_t own_part_of_rest(const struct node_limit *limit, struct arena *arena, uint64_t rest)
{
    struct census census = {.arena = arena, .self = env_self(limit->env), .count = 1};

    view_each(limit->view, "node/", &census, count_node);
    return node_limit_part(rest, census.before, census.count);
}

/* ---- the plan -------------------------------------------------------------------------------- */

struct work {
    const struct node_limit *limit;
    struct arena arena;
    uint64_t reserved; /* of all functions */
};

/* 0: none, or gone. */
static uint64_t version_of(struct work *work, const char *function, const char *qualifier)
{
    ProtobufCAllocator allocator = aws_wire_allocator(&work->arena);
    const Skein__Wire__FunctionAlias *alias = NULL;
    struct slice value;
    uint64_t version = 0;

    if (lambda_qualifier_parse(qualifier, &version) == OK)
        return version;
    if (view_get(work->limit->view, lambda_call_alias_key(&work->arena, function, qualifier),
                 &value, NULL) == OK)
        alias = skein__wire__function_alias__unpack(&allocator, value.size, value.data);
    return alias != NULL ? alias->version : 0;
}

static void plan_function(void *user, const Skein__Wire__FunctionSettings *record)
{
    struct work *work = user;
    struct pool *pool = work->limit->pool;
    struct nodes nodes = placed_nodes(work->limit, &work->arena, record->function);

    if (record->has_reserved) {
        work->reserved += record->reserved;
        pool_plan_limit(pool, record->function, own_part(work->limit, &nodes, record->reserved));
    }
    for (size_t i = 0; i < record->n_qualifiers; i++) {
        const Skein__Wire__FunctionQualifierSettings *part = record->qualifiers[i];

        if (part->provisioned > 0)
            pool_plan_keep(pool, record->function,
                           version_of(work, record->function, part->qualifier),
                           own_part(work->limit, &nodes, part->provisioned));
    }
}

static void plan(struct env_task *task)
{
    struct node_limit *limit = container_of(task, struct node_limit, task);
    struct work work = {.limit = limit};
    uint64_t rest;

    arena_init(&work.arena);
    pool_plan_begin(limit->pool);
    lambda_settings_each(limit->view, &work.arena, &work, plan_function);
    rest = limit->account > work.reserved ? limit->account - work.reserved : 0;
    pool_plan_end(limit->pool, own_part_of_rest(limit, &work.arena, rest));
    arena_close(&work.arena);
}

static void on_change(void *user, const char *key, struct slice value, uint64_t revision,
                      bool is_delete)
{
    struct node_limit *limit = user;

    (void)key;
    (void)value;
    (void)revision;
    (void)is_delete;
    env_defer(limit->env, &limit->task, plan);
}

/* ---- how many are ready -----------------------------------------------------------------------
 */

struct ask {
    struct call call;
    struct question *question;
};

struct question {
    struct list link;
    struct lambda_ready *asked;
    struct node_limit *limit;
    struct env_task task; /* when there is nobody to ask */
    struct ask *asks;
    size_t ask_count;
    size_t unanswered;
    uint32_t ready;
};

static void question_free(struct question *question)
{
    list_remove(&question->link);
    env_defer_cancel(question->limit->env, &question->task);
    for (size_t i = 0; i < question->ask_count; i++)
        call_cancel(&question->asks[i].call);
    free(question->asks);
    free(question);
}

static void question_finish(struct question *question)
{
    struct lambda_ready *asked = question->asked;
    uint32_t ready = question->ready;

    question_free(question);
    asked->cb(asked, ready);
}

static void on_nobody(struct env_task *task)
{
    question_finish(container_of(task, struct question, task));
}

static void on_answer(struct call *call, enum error rc, struct slice body)
{
    struct question *question = container_of(call, struct ask, call)->question;
    Skein__Wire__ProvisionedAnswer *message =
        rc == OK ? skein__wire__provisioned_answer__unpack(NULL, body.size, body.data) : NULL;

    if (message != NULL) {
        question->ready += message->ready;
        skein__wire__provisioned_answer__free_unpacked(message, NULL);
    }
    if (--question->unanswered == 0)
        question_finish(question);
}

static void ask_node(struct question *question, uint64_t peer, struct slice body)
{
    struct ask *ask = &question->asks[question->ask_count++];

    ask->question = question;
    question->unanswered++;
    call_start(question->limit->calls, &ask->call, peer, CALL_PROVISIONED, body, ASK_DEADLINE_MS,
               on_answer);
}

static void start(void *user, struct lambda_ready *asked, const char *function, uint64_t version,
                  lambda_ready_cb cb)
{
    struct node_limit *limit = user;
    struct question *question = check_calloc(1, sizeof(*question));
    Skein__Wire__ProvisionedRequest message = SKEIN__WIRE__PROVISIONED_REQUEST__INIT;
    uint64_t self = env_self(limit->env);
    struct arena arena;
    struct nodes nodes;

    arena_init(&arena);
    asked->cb = cb;
    question->asked = asked;
    question->limit = limit;
    question->ready = pool_ready_count(limit->pool, function, version);
    list_append(&limit->questions, &question->link);
    message.function = (char *)(uintptr_t)function;
    message.version = version;
    nodes = placed_nodes(limit, &arena, function);
    question->asks = check_calloc(nodes.count + 1, sizeof(*question->asks));
    for (size_t i = 0; i < nodes.count; i++)
        if (nodes.ids[i] != self)
            ask_node(question, nodes.ids[i], aws_wire_pack(&arena, &message.base));
    if (question->unanswered == 0)
        env_defer(limit->env, &question->task, on_nobody);
    arena_close(&arena);
}

static void on_provisioned(void *user, struct call_request *request)
{
    const struct node_limit *limit = user;
    Skein__Wire__ProvisionedRequest *message =
        skein__wire__provisioned_request__unpack(NULL, request->body.size, request->body.data);
    Skein__Wire__ProvisionedAnswer answer = SKEIN__WIRE__PROVISIONED_ANSWER__INIT;
    struct arena arena;

    if (message == NULL) {
        call_answer(request, ERR_INVALID, slice_of(NULL, 0));
        return;
    }
    arena_init(&arena);
    answer.ready = pool_ready_count(limit->pool, message->function, message->version);
    skein__wire__provisioned_request__free_unpacked(message, NULL);
    call_answer(request, OK, aws_wire_pack(&arena, &answer.base));
    arena_close(&arena);
}

struct lambda_ready_counter node_limit_ready_counter(struct node_limit *limit)
{
    return (struct lambda_ready_counter){.user = limit, .start = start};
}

/* ---- life -------------------------------------------------------------------------------------
 */

struct node_limit *node_limit_new(struct env *env, struct calls *calls, struct view *view,
                                  struct pool *pool, uint32_t account)
{
    struct node_limit *limit = check_calloc(1, sizeof(*limit));

    *limit = (struct node_limit){.env = env, .calls = calls, .view = view, .pool = pool};
    limit->account = account != 0 ? account : ACCOUNT_DEFAULT;
    list_init(&limit->questions);
    for (size_t i = 0; i < ARRAY_COUNT(prefixes); i++) {
        limit->listeners[i] =
            (struct view_listener){.prefix = prefixes[i], .user = limit, .on_change = on_change};
        view_listen(view, &limit->listeners[i]);
    }
    calls_handle(calls, CALL_PROVISIONED, limit, on_provisioned);
    return limit;
}

void node_limit_free(struct node_limit *limit)
{
    if (limit == NULL)
        return;
    env_defer_cancel(limit->env, &limit->task);
    while (!list_is_empty(&limit->questions))
        question_free(container_of(limit->questions.next, struct question, link));
    for (size_t i = 0; i < ARRAY_COUNT(prefixes); i++)
        view_unlisten(limit->view, &limit->listeners[i]);
    free(limit);
}
