#include "node/node_reset.h"

#include "node/aws/dynamodb_drop.h"
#include "proto/base/check.h"

#define DEADLINE_MS 10000u
#define CHANGES_MAX 200 /* in one update; the rest follow */

/* Updates follow each other until nothing is left to remove. */
struct reset {
    struct list link;
    struct view_update update;
    struct env *env;
    struct view *view;
    struct http_exchange *exchange;
    struct arena arena; /* of the changes of one update */
    struct view_change changes[2 * CHANGES_MAX];
    size_t change_count;
    size_t removed;
};

static void remove_all(struct reset *reset);

void node_resets_init(struct node_resets *resets)
{
    list_init(&resets->resets);
}

static void reset_free(struct reset *reset)
{
    list_remove(&reset->link);
    arena_close(&reset->arena);
    free(reset);
}

void node_resets_close(struct node_resets *resets)
{
    while (!list_is_empty(&resets->resets))
        reset_free(container_of(resets->resets.next, struct reset, link));
}

static void add_removal(struct reset *reset, const char *key)
{
    reset->changes[reset->change_count++] =
        (struct view_change){.key = arena_text(&reset->arena, slice_text(key)),
                             .is_delete = true,
                             .expected_revision = VIEW_REVISION_ANY};
    reset->removed++;
}

static void on_record(void *user, const char *key, struct slice value, uint64_t revision)
{
    (void)value;
    (void)revision;
    struct reset *reset = user;

    if (reset->change_count < CHANGES_MAX)
        add_removal(reset, key);
}

/* A table's rows are dropped as DeleteTable has it done. */
static void on_table(void *user, const char *key, struct slice value, uint64_t revision)
{
    struct reset *reset = user;
    Skein__Wire__Table *table;

    (void)revision;
    if (reset->change_count >= CHANGES_MAX)
        return;
    add_removal(reset, key);
    table = skein__wire__table__unpack(NULL, value.size, value.data);
    if (table == NULL)
        return;
    reset->changes[reset->change_count++] = (struct view_change){
        .key = dynamodb_drop_key(&reset->arena, table->id.data),
        .value = dynamodb_drop_record(&reset->arena, table, env_wall_ms(reset->env)),
        .expected_revision = VIEW_REVISION_ANY,
    };
    skein__wire__table__free_unpacked(table, NULL);
}

static void answer(struct reset *reset, int status)
{
    struct http_exchange *exchange = reset->exchange;
    struct buffer body = BUFFER_INIT(100);

    if (status == 200)
        buffer_putf(&body, "{\"removed\":%zu}\n", reset->removed);
    else
        buffer_put_text(&body, "{\"message\":\"no controller could be asked; try again\"}\n");
    reset_free(reset);
    http_respond_text(exchange, status, "application/json", buffer_slice(&body));
    buffer_close(&body);
}

static void on_updated(struct view_update *update, enum error rc)
{
    struct reset *reset = container_of(update, struct reset, update);

    if (rc != OK)
        answer(reset, 503);
    else
        remove_all(reset);
}

static void remove_all(struct reset *reset)
{
    arena_close(&reset->arena);
    reset->change_count = 0;
    view_each(reset->view, "table/", reset, on_table);
    view_each(reset->view, "function/", reset, on_record);
    view_each(reset->view, "version/", reset, on_record);
    view_each(reset->view, "alias/", reset, on_record);
    view_each(reset->view, "api/", reset, on_record);
    if (reset->change_count == 0) {
        answer(reset, 200);
        return;
    }
    reset->update = (struct view_update){0};
    view_update_start(reset->view, &reset->update, reset->changes, reset->change_count, DEADLINE_MS,
                      on_updated);
}

void node_reset_start(struct node_resets *resets, struct env *env, struct view *view,
                      struct http_exchange *exchange)
{
    struct reset *reset = check_calloc(1, sizeof(*reset));

    reset->env = env;
    reset->view = view;
    reset->exchange = exchange;
    list_append(&resets->resets, &reset->link);
    remove_all(reset);
}
