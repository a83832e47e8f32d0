#include "chaos/run/key_request.h"

#include "deploy/api.h"
#include "node/auth/sigv4.h"
#include "proto/base/check.h"

#include <stdio.h>
#include <time.h>

#define BODY_BYTES_MAX 4096
#define PATIENCE_MS 20000u

struct key_request_signer {
    const struct cluster *cluster;
    struct sigv4 *sigv4;
    char date[16]; /* of the key */
    uint8_t key[SIGV4_KEY_BYTES];
};

struct key_request_signer *key_request_signer_new(const struct cluster *cluster)
{
    struct key_request_signer *signer = check_calloc(1, sizeof(*signer));

    signer->cluster = cluster;
    signer->sigv4 = sigv4_new(NULL, NULL); /* it signs; it looks nobody up */
    return signer;
}

void key_request_signer_free(struct key_request_signer *signer)
{
    if (signer == NULL)
        return;
    sigv4_free(signer->sigv4);
    free(signer);
}

static void know_day(struct key_request_signer *signer, const char *date)
{
    if (strcmp(signer->date, date) == 0)
        return;
    (void)snprintf(signer->date, sizeof(signer->date), "%s", date);
    sigv4_derive_key(signer->sigv4, slice_text(signer->cluster->secret), slice_text(date),
                     slice_text(signer->cluster->regions[0]), SLICE_LITERAL("dynamodb"),
                     signer->key);
}

void key_request_put(struct key_request_signer *signer, const char *operation, struct slice body,
                     struct buffer *bytes)
{
    AUTO(buffer) text = BUFFER_INIT(BODY_BYTES_MAX);
    const struct cluster *cluster = signer->cluster;
    char digest[SIGV4_HEX_BYTES + 1];
    char signature[SIGV4_HEX_BYTES + 1];
    char stamp[20];
    char date[16];
    time_t now = time(NULL);
    struct tm parts;

    (void)gmtime_r(&now, &parts);
    (void)strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &parts);
    (void)strftime(date, sizeof(date), "%Y%m%d", &parts);
    know_day(signer, date);
    sigv4_hash(signer->sigv4, body, digest);
    buffer_putf(&text,
                "POST\n/\n\nhost:127.0.0.1:%u\nx-amz-date:%s\nx-amz-target:DynamoDB_20120810.%s\n\n"
                "host;x-amz-date;x-amz-target\n%s",
                cluster->file.port, stamp, operation, digest);
    sigv4_hash(signer->sigv4, buffer_slice(&text), digest);
    buffer_clear(&text);
    buffer_putf(&text, "AWS4-HMAC-SHA256\n%s\n%s/%s/dynamodb/aws4_request\n%s", stamp, date,
                cluster->regions[0], digest);
    sigv4_sign(signer->sigv4, signer->key, buffer_slice(&text), signature);
    buffer_putf(bytes,
                "POST / HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nX-Amz-Date: %s\r\n"
                "X-Amz-Target: DynamoDB_20120810.%s\r\nContent-Type: application/x-amz-json-1.0\r\n"
                "Authorization: AWS4-HMAC-SHA256 Credential=%s/%s/%s/dynamodb/aws4_request, "
                "SignedHeaders=host;x-amz-date;x-amz-target, Signature=%s\r\n"
                "Content-Length: %zu\r\n\r\n",
                cluster->file.port, stamp, operation, cluster->access_key, date,
                cluster->regions[0], signature, body.size);
    buffer_put_slice(bytes, body);
}

/* ---- the table ---- */

static enum error ask(const struct cluster *cluster, const char *target, const char *body,
                      int *status)
{
    AUTO(buffer) answer = BUFFER_INIT(1u << 20);
    char address[64];
    const struct api_call call = {.region = cluster->regions[0],
                                  .service = "dynamodb",
                                  .method = "POST",
                                  .address = address,
                                  .path = "/",
                                  .target = target,
                                  .body = slice_text(body),
                                  .timeout_ms = 5000};

    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", cluster->file.port);
    return api_call_patiently(cluster, &call, PATIENCE_MS, status, &answer);
}

enum error key_request_make_table(const struct cluster *cluster, char why[ERROR_WHY_BYTES])
{
    int status = 0;
    enum error rc = ask(cluster, "DynamoDB_20120810.DescribeTable",
                        "{\"TableName\":\"" KEY_REQUEST_TABLE "\"}", &status);

    if (rc == OK && status == 200)
        return OK;
    rc = ask(cluster, "DynamoDB_20120810.CreateTable",
             "{\"TableName\":\"" KEY_REQUEST_TABLE "\",\"BillingMode\":\"PAY_PER_REQUEST\","
             "\"AttributeDefinitions\":[{\"AttributeName\":\"k\",\"AttributeType\":\"S\"}],"
             "\"KeySchema\":[{\"AttributeName\":\"k\",\"KeyType\":\"HASH\"}]}",
             &status);
    if (rc == OK && status == 200)
        return OK;
    (void)snprintf(why, ERROR_WHY_BYTES,
                   "the table " KEY_REQUEST_TABLE " cannot be made (status %d, %s)", status,
                   error_text(rc));
    return ERR_TIMEOUT;
}

void key_request_drop_table(const struct cluster *cluster)
{
    int status = 0;

    if (ask(cluster, "DynamoDB_20120810.DeleteTable", "{\"TableName\":\"" KEY_REQUEST_TABLE "\"}",
            &status) != OK ||
        status >= 500)
        (void)fprintf(stderr, "skein: the table " KEY_REQUEST_TABLE " is left over\n");
}
