#include "node/node_links.h"

#include "proto/base/check.h"
#include "proto/base/json_write.h"

#include <jansson.h>

#define RELAY_MS 2000u
#define BODY_BYTES_MAX (1u << 20)

struct order { /* a request, read */
    uint64_t process;
    uint32_t for_ms;
    struct link_rule *rules; /* owned */
    size_t count;
};

struct relay {
    struct list link;
    struct call call;
    struct http_exchange *exchange;
    struct buffer body;
};

static void refuse(struct http_exchange *exchange, int status, const char *why)
{
    AUTO(buffer) body = BUFFER_INIT(BODY_BYTES_MAX);
    struct json_write json = json_write_to(&body);

    json_begin_object(&json);
    json_member_text(&json, "message", why);
    json_end_object(&json);
    http_respond_text(exchange, status, "application/json", buffer_slice(&body));
}

/* ---- reading ---- */

static bool read_number(const json_t *object, const char *name, uint64_t max, uint64_t *value)
{
    const json_t *member = json_object_get(object, name);

    *value = 0;
    if (member == NULL)
        return true;
    if (!json_is_integer(member) || json_integer_value(member) < 0 ||
        (uint64_t)json_integer_value(member) > max)
        return false;
    *value = (uint64_t)json_integer_value(member);
    return true;
}

static bool read_rule(const json_t *object, struct link_rule *rule)
{
    const json_t *cut = json_object_get(object, "cut");
    uint64_t delay_ms;
    uint64_t drop;

    if (!json_is_object(object) || (cut != NULL && !json_is_boolean(cut)) ||
        !read_number(object, "peer", INT64_MAX, &rule->peer) ||
        !read_number(object, "delay_ms", LINK_RULES_DELAY_US_MAX / 1000, &delay_ms) ||
        !read_number(object, "drop_permille", 1000, &drop))
        return false;
    rule->delay_us = delay_ms * 1000;
    rule->drop_permille = (uint32_t)drop;
    rule->is_cut = json_is_true(cut);
    return true;
}

static bool read_order(struct slice body, struct order *order)
{
    json_t *root = json_loadb((const char *)body.data, body.size, 0, NULL);
    const json_t *rules = json_object_get(root, "rules");
    uint64_t for_ms = 0;
    bool is_good = json_is_array(rules) && json_array_size(rules) <= LINK_RULES_MAX &&
                   read_number(root, "process", INT64_MAX, &order->process) &&
                   read_number(root, "for_ms", LINK_RULES_FOR_MS_MAX, &for_ms);

    if (is_good) {
        order->for_ms = (uint32_t)for_ms;
        order->count = json_array_size(rules);
        order->rules = check_calloc(order->count + 1, sizeof(*order->rules));
        for (size_t i = 0; i < order->count && is_good; i++)
            is_good = read_rule(json_array_get(rules, i), &order->rules[i]);
    }
    json_decref(root);
    return is_good;
}

/* ---- answering ---- */

static void show(const struct node_links *links, struct http_exchange *exchange)
{
    AUTO(buffer) body = BUFFER_INIT(BODY_BYTES_MAX);
    struct json_write json = json_write_to(&body);
    const struct link_rule *list;
    size_t count = link_rules_list(links->rules, &list);

    json_begin_object(&json);
    json_member_u64(&json, "left_ms", link_rules_left_ms(links->rules));
    json_key(&json, "rules");
    json_begin_array(&json);
    for (size_t i = 0; i < count; i++) {
        json_begin_object(&json);
        json_member_u64(&json, "peer", list[i].peer);
        json_member_u64(&json, "delay_ms", list[i].delay_us / 1000);
        json_member_u64(&json, "drop_permille", list[i].drop_permille);
        json_member_bool(&json, "cut", list[i].is_cut);
        json_end_object(&json);
    }
    json_end_array(&json);
    json_end_object(&json);
    buffer_put_text(&body, "\n");
    http_respond_text(exchange, 200, "application/json", buffer_slice(&body));
}

static void answer(struct http_exchange *exchange, enum error rc)
{
    if (rc == OK)
        http_respond_text(exchange, 200, "application/json", SLICE_LITERAL("{}\n"));
    else if (rc == ERR_INVALID)
        refuse(exchange, 400,
               "a rule is past its limits, is for the process itself, or there are "
               "rules without for_ms");
    else
        refuse(exchange, 503, "the process could not be told");
}

static void relay_free(struct relay *relay)
{
    list_remove(&relay->link);
    buffer_close(&relay->body);
    free(relay);
}

static void on_relayed(struct call *call, enum error rc, struct slice body)
{
    struct relay *relay = container_of(call, struct relay, call);
    struct http_exchange *exchange = relay->exchange;

    (void)body;
    relay_free(relay);
    answer(exchange, rc);
}

static void relay_start(struct node_links *links, const struct order *order,
                        struct http_exchange *exchange)
{
    struct relay *relay = check_calloc(1, sizeof(*relay));

    relay->exchange = exchange;
    relay->body = BUFFER_INIT(BODY_BYTES_MAX);
    list_append(&links->relays, &relay->link);
    link_rules_put_call(&relay->body, order->rules, order->count, order->for_ms);
    call_start(links->calls, &relay->call, order->process, CALL_LINKS, buffer_slice(&relay->body),
               RELAY_MS, on_relayed);
}

void node_links_on_request(struct node_links *links, bool is_operator,
                           struct http_exchange *exchange)
{
    struct order order = {0};

    if (links->rules == NULL) {
        refuse(exchange, 404, "this process has no links that could be broken");
    } else if (slice_equal_text(exchange->method, "GET")) {
        show(links, exchange);
    } else if (!slice_equal_text(exchange->method, "POST")) {
        refuse(exchange, 405, "GET or POST");
    } else if (!is_operator) {
        refuse(exchange, 403, "sign the request with the cluster's key");
    } else if (!read_order(exchange->body, &order)) {
        refuse(exchange, 400,
               "wanted: {\"for_ms\":N, \"process\":ID, \"rules\":[{\"peer\":ID, \"delay_ms\":N, "
               "\"drop_permille\":N, \"cut\":true}]}");
    } else if (order.process != 0 && order.process != env_self(links->env)) {
        relay_start(links, &order, exchange);
    } else {
        answer(exchange, link_rules_set(links->rules, order.rules, order.count, order.for_ms));
    }
    free(order.rules);
}

/* ---- life ---- */

void node_links_init(struct node_links *links, struct env *env, struct link_rules *rules)
{
    *links = (struct node_links){.env = env, .rules = rules};
    list_init(&links->relays);
}

void node_links_serve(struct node_links *links, struct calls *calls)
{
    links->calls = calls;
    if (links->rules != NULL)
        link_rules_serve(links->rules, calls);
}

void node_links_close(struct node_links *links)
{
    while (!list_is_empty(&links->relays)) {
        struct relay *relay = container_of(links->relays.next, struct relay, link);

        call_cancel(&relay->call);
        relay_free(relay);
    }
}
