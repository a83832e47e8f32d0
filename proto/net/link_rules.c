#include "proto/net/link_rules.h"

#include "proto/base/check.h"
#include "proto/base/log.h"
#include "proto/wire/links.pb-c.h"

#include <inttypes.h>

struct base {
    uint64_t peer;
    uint64_t delay_us;
};

struct link_rules {
    struct env *env;
    struct shim *shim;
    struct base *bases;
    size_t base_count;
    struct link_rule *list;
    size_t count;
    uint64_t until_ms;
    struct env_timer end;
};

static uint64_t base_delay_us(const struct link_rules *rules, uint64_t peer)
{
    for (size_t i = 0; i < rules->base_count; i++)
        if (rules->bases[i].peer == peer)
            return rules->bases[i].delay_us;
    return 0;
}

static void put_back(struct link_rules *rules)
{
    for (size_t i = 0; i < rules->count; i++)
        shim_set(rules->shim, rules->list[i].peer, base_delay_us(rules, rules->list[i].peer), 0,
                 false);
    free(rules->list);
    rules->list = NULL;
    rules->count = 0;
    env_timer_stop(rules->env, &rules->end);
}

/* Who asked for them has not come back: the dead man's switch. */
static void on_end(struct env_timer *timer)
{
    struct link_rules *rules = container_of(timer, struct link_rules, end);

    log_info("link_rules.ended rules=%zu why=time", rules->count);
    put_back(rules);
}

static bool is_sensible(const struct link_rules *rules, const struct link_rule *list, size_t count,
                        uint32_t for_ms)
{
    if (count > LINK_RULES_MAX || for_ms > LINK_RULES_FOR_MS_MAX || (count > 0 && for_ms == 0))
        return false;
    for (size_t i = 0; i < count; i++)
        if (list[i].peer == 0 || list[i].peer == env_self(rules->env) ||
            list[i].drop_permille > 1000 || list[i].delay_us > LINK_RULES_DELAY_US_MAX)
            return false;
    return true;
}

static bool is_named(const struct link_rule *list, size_t count, uint64_t peer)
{
    for (size_t i = 0; i < count; i++)
        if (list[i].peer == peer)
            return true;
    return false;
}

enum error link_rules_set(struct link_rules *rules, const struct link_rule *list, size_t count,
                          uint32_t for_ms)
{
    if (!is_sensible(rules, list, count, for_ms))
        return ERR_INVALID;
    /* A link that stays cut must not be whole for a moment between the two sets. */
    for (size_t i = 0; i < rules->count; i++)
        if (!is_named(list, count, rules->list[i].peer))
            shim_set(rules->shim, rules->list[i].peer, base_delay_us(rules, rules->list[i].peer), 0,
                     false);
    for (size_t i = 0; i < count; i++)
        shim_set(rules->shim, list[i].peer, base_delay_us(rules, list[i].peer) + list[i].delay_us,
                 list[i].drop_permille, list[i].is_cut);
    free(rules->list);
    rules->list = NULL;
    if (count > 0) {
        rules->list = check_malloc(count * sizeof(*list));
        memcpy(rules->list, list, count * sizeof(*list));
    }
    rules->count = count;
    env_timer_stop(rules->env, &rules->end);
    rules->until_ms = env_now_ms(rules->env) + for_ms;
    if (count > 0)
        env_timer_start(rules->env, &rules->end, (uint64_t)for_ms * 1000, on_end);
    log_info("link_rules.set rules=%zu for_ms=%u", count, for_ms);
    return OK;
}

size_t link_rules_list(const struct link_rules *rules, const struct link_rule **list)
{
    *list = rules->list;
    return rules->count;
}

uint64_t link_rules_left_ms(const struct link_rules *rules)
{
    uint64_t now_ms = env_now_ms(rules->env);

    return rules->count > 0 && rules->until_ms > now_ms ? rules->until_ms - now_ms : 0;
}

void link_rules_base(struct link_rules *rules, uint64_t peer, uint64_t delay_us)
{
    size_t i = 0;

    while (i < rules->base_count && rules->bases[i].peer != peer)
        i++;
    if (i == rules->base_count)
        rules->bases = check_realloc(rules->bases, ++rules->base_count * sizeof(*rules->bases));
    rules->bases[i] = (struct base){peer, delay_us};
    if (!is_named(rules->list, rules->count, peer))
        shim_set(rules->shim, peer, delay_us, 0, false);
}

/* ---- calls ---- */

static void on_call(void *user, struct call_request *request)
{
    struct link_rules *rules = user;
    Skein__Wire__LinkRules *message =
        skein__wire__link_rules__unpack(NULL, request->body.size, request->body.data);
    struct link_rule *list;
    enum error rc;

    if (message == NULL) {
        call_answer(request, ERR_INVALID, slice_of(NULL, 0));
        return;
    }
    list = check_calloc(message->n_rules + 1, sizeof(*list));
    for (size_t i = 0; i < message->n_rules; i++)
        list[i] = (struct link_rule){.peer = message->rules[i]->peer,
                                     .delay_us = message->rules[i]->delay_us,
                                     .drop_permille = message->rules[i]->drop_permille,
                                     .is_cut = message->rules[i]->is_cut};
    rc = link_rules_set(rules, list, message->n_rules, message->for_ms);
    free(list);
    skein__wire__link_rules__free_unpacked(message, NULL);
    call_answer(request, rc, slice_of(NULL, 0));
}

void link_rules_serve(struct link_rules *rules, struct calls *calls)
{
    calls_handle(calls, CALL_LINKS, rules, on_call);
}

void link_rules_put_call(struct buffer *body, const struct link_rule *list, size_t count,
                         uint32_t for_ms)
{
    Skein__Wire__LinkRules message = SKEIN__WIRE__LINK_RULES__INIT;
    Skein__Wire__LinkRule *rules = check_calloc(count + 1, sizeof(*rules));
    Skein__Wire__LinkRule **pointers = check_calloc(count + 1, sizeof(*pointers));

    for (size_t i = 0; i < count; i++) {
        skein__wire__link_rule__init(&rules[i]);
        rules[i].peer = list[i].peer;
        rules[i].delay_us = list[i].delay_us;
        rules[i].drop_permille = list[i].drop_permille;
        rules[i].is_cut = list[i].is_cut;
        pointers[i] = &rules[i];
    }
    message.rules = pointers;
    message.n_rules = count;
    message.for_ms = for_ms;
    CHECK(buffer_reserve(body, skein__wire__link_rules__get_packed_size(&message)) == OK);
    body->size += skein__wire__link_rules__pack(&message, body->data + body->size);
    free(pointers);
    free(rules);
}

/* ---- life ---- */

struct link_rules *link_rules_new(struct env *env, struct shim *shim)
{
    struct link_rules *rules = check_calloc(1, sizeof(*rules));

    rules->env = env;
    rules->shim = shim;
    return rules;
}

void link_rules_free(struct link_rules *rules)
{
    if (rules == NULL)
        return;
    env_timer_stop(rules->env, &rules->end);
    free(rules->list);
    free(rules->bases);
    free(rules);
}
