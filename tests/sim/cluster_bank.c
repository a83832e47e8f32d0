#include "tests/sim/cluster_impl.h"

/* A bank in the table: transfers between accounts that are in several shards, and readers of all of
 * them at once. Every transfer has a token and is asked again until its outcome is told, so what
 * each account holds in the end is known exactly. */

#define BALANCE 100

static const char account_form[] =
    "{\"%s\":{\"TableName\":\"Tab\",\"Key\":{\"id\":{\"S\":\"account%d\"}}";

/* ---- opening --------------------------------------------------------------------------------- */

static void bank_open(void *user)
{
    struct bank *bank = user;
    struct buffer body = BUFFER_INIT(4000);

    if (bank->opening.world->is_stopping)
        return;
    buffer_put_text(&body, "{\"TransactItems\":[");
    for (int i = 0; i < ACCOUNTS; i++)
        buffer_putf(&body,
                    "%s{\"Put\":{\"TableName\":\"Tab\",\"Item\":{\"id\":{\"S\":\"account%d\"},"
                    "\"n\":{\"N\":\"%d\"}},\"ConditionExpression\":\"attribute_not_exists(id)\"}}",
                    i > 0 ? "," : "", i, BALANCE);
    buffer_put_text(&body, "]}");
    cluster_ask_start(&bank->opening, NULL, CLUSTER_TARGET("TransactWriteItems"),
                      buffer_text(&body));
    buffer_close(&body);
}

/* ---- transfers ------------------------------------------------------------------------------- */

static void teller_go(void *user)
{
    struct teller *teller = user;
    struct world *world = teller->ask.world;
    struct buffer body = BUFFER_INIT(4000);

    if (world->is_stopping && !teller->is_open)
        return;
    if (!teller->is_open) {
        teller->is_open = true;
        teller->transfers++;
        teller->from = (int)cluster_dice(world, ACCOUNTS);
        teller->to = (teller->from + 1 + (int)cluster_dice(world, ACCOUNTS - 1)) % ACCOUNTS;
        teller->amount = 1 + (int)cluster_dice(world, 50);
    }
    buffer_put_text(&body, "{\"TransactItems\":[");
    buffer_putf(&body, account_form, "Update", teller->from);
    buffer_putf(&body,
                ",\"UpdateExpression\":\"SET n = n - :a\",\"ConditionExpression\":\"n >= :a\","
                "\"ExpressionAttributeValues\":{\":a\":{\"N\":\"%d\"}}}},",
                teller->amount);
    buffer_putf(&body, account_form, "Update", teller->to);
    buffer_putf(&body,
                ",\"UpdateExpression\":\"SET n = n + :a\","
                "\"ExpressionAttributeValues\":{\":a\":{\"N\":\"%d\"}}}}],"
                "\"ClientRequestToken\":\"teller%d-%" PRIu64 "\"}",
                teller->amount, teller->number, teller->transfers);
    cluster_ask_start(&teller->ask, NULL, CLUSTER_TARGET("TransactWriteItems"), buffer_text(&body));
    buffer_close(&body);
}

static void teller_on_done(struct ask *ask, int status, const char *body)
{
    struct teller *teller = container_of(ask, struct teller, ask);
    struct world *world = ask->world;

    if (status == 200) {
        world->bank.balances[teller->from] -= teller->amount;
        world->bank.balances[teller->to] += teller->amount;
        world->result->acknowledged++;
        sim_trace(world->sim, teller->transfers);
        teller->is_open = false;
    } else if (strstr(body, "\"Code\":\"ConditionalCheckFailed\"") != NULL) {
        teller->is_open = false;
    } else if (!cluster_is_retryable(status, body) &&
               strstr(body, "\"Code\":\"TransactionConflict\"") == NULL &&
               strstr(body, "TransactionInProgress") == NULL) {
        cluster_fail(world, "TransactWriteItems answered %d %.120s", status, body);
    }
    sim_after(world->sim, 10000 + cluster_dice(world, 60000), teller_go, teller);
}

/* ---- reads of all accounts ------------------------------------------------------------------- */

static void auditor_go(void *user)
{
    struct auditor *auditor = user;
    struct buffer body = BUFFER_INIT(4000);

    if (auditor->ask.world->is_stopping)
        return;
    buffer_put_text(&body, "{\"TransactItems\":[");
    for (int i = 0; i < ACCOUNTS; i++) {
        buffer_put_text(&body, i > 0 ? "," : "");
        buffer_putf(&body, account_form, "Get", i);
        buffer_put_text(&body, "}}");
    }
    buffer_put_text(&body, "]}");
    cluster_ask_start(&auditor->ask, NULL, CLUSTER_TARGET("TransactGetItems"), buffer_text(&body));
    buffer_close(&body);
}

static void auditor_on_done(struct ask *ask, int status, const char *body)
{
    struct auditor *auditor = container_of(ask, struct auditor, ask);
    struct world *world = ask->world;
    const char *at = body;
    uint64_t sum = 0;

    if (status == 200) {
        while ((at = strstr(at, "\"n\":")) != NULL)
            sum += cluster_number_in(at++);
        world->result->reads++;
        sim_trace(world->sim, sum);
        if (sum != ACCOUNTS * BALANCE)
            cluster_fail(world, "all accounts together hold %" PRIu64 ": %.150s", sum, body);
    } else if (!cluster_is_retryable(status, body) &&
               strstr(body, "\"Code\":\"TransactionConflict\"") == NULL) {
        cluster_fail(world, "TransactGetItems answered %d %.120s", status, body);
    }
    sim_after(world->sim, 10000 + cluster_dice(world, 60000), auditor_go, auditor);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void bank_on_open(struct ask *ask, int status, const char *body)
{
    struct bank *bank = container_of(ask, struct bank, opening);
    struct world *world = ask->world;

    if (status != 200 && strstr(body, "\"Code\":\"ConditionalCheckFailed\"") == NULL) {
        if (!cluster_is_retryable(status, body) &&
            strstr(body, "\"Code\":\"TransactionConflict\"") == NULL)
            cluster_fail(world, "opening accounts answered %d %.120s", status, body);
        sim_after(world->sim, 100000, bank_open, bank);
        return;
    }
    bank->is_open = true;
    for (int i = 0; i < TELLERS; i++)
        teller_go(&bank->tellers[i]);
    auditor_go(&bank->auditor);
}

void cluster_bank_start(struct world *world)
{
    struct bank *bank = &world->bank;

    bank->opening = (struct ask){.world = world, .on_done = bank_on_open};
    bank->auditor = (struct auditor){.ask = {.world = world, .on_done = auditor_on_done}};
    for (int i = 0; i < TELLERS; i++)
        bank->tellers[i] =
            (struct teller){.ask = {.world = world, .on_done = teller_on_done}, .number = i};
    for (int i = 0; i < ACCOUNTS; i++)
        bank->balances[i] = BALANCE;
    bank_open(bank);
}

bool cluster_bank_is_settled(const struct world *world)
{
    for (int i = 0; i < TELLERS; i++)
        if (world->bank.tellers[i].is_open)
            return false;
    return world->bank.is_open;
}
