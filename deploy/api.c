#include "deploy/api.h"

#include "proto/base/check.h"

#include <curl/curl.h>
#include <stdio.h>
#include <time.h>

#define PAUSE_MS 100

static size_t on_bytes(char *bytes, size_t size, size_t count, void *user)
{
    struct buffer *answer = user;

    return buffer_append(answer, bytes, size * count) == OK ? size * count : 0;
}

static enum error error_from_curl(CURLcode code)
{
    switch ((int)code) {
    case CURLE_OK:
        return OK;
    case CURLE_COULDNT_CONNECT:
        return ERR_UNREACHABLE;
    case CURLE_OPERATION_TIMEDOUT:
        return ERR_TIMEOUT;
    case CURLE_WRITE_ERROR:
        return ERR_TOO_LARGE;
    default:
        return ERR_LOST;
    }
}

static struct curl_slist *headers_of(const struct api_call *call)
{
    struct curl_slist *headers = NULL;
    char line[256];

    headers = curl_slist_append(headers, "Content-Type: application/x-amz-json-1.0");
    headers = curl_slist_append(headers, "Expect:");
    if (call->target != NULL) {
        (void)snprintf(line, sizeof(line), "X-Amz-Target: %s", call->target);
        headers = curl_slist_append(headers, line);
    }
    return headers;
}

enum error api_call(const struct cluster *cluster, const struct api_call *call, int *status,
                    struct buffer *answer)
{
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = headers_of(call);
    char url[1024];
    char scope[128];
    char user[128];
    long code = 0;

    CHECK(curl != NULL);
    (void)snprintf(url, sizeof(url), "http://%s%s", call->address, call->path);
    (void)curl_easy_setopt(curl, CURLOPT_URL, url);
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, call->method);
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)call->timeout_ms);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_bytes);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(curl, CURLOPT_PROXY, "");
    if (call->body.size > 0) {
        (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, (const char *)call->body.data);
        (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)call->body.size);
    }
    if (call->service != NULL) {
        (void)snprintf(scope, sizeof(scope), "aws:amz:%s:%s", call->region, call->service);
        (void)snprintf(user, sizeof(user), "%s:%s", cluster->access_key, cluster->secret);
        (void)curl_easy_setopt(curl, CURLOPT_AWS_SIGV4, scope);
        (void)curl_easy_setopt(curl, CURLOPT_USERPWD, user);
    }
    CURLcode result = curl_easy_perform(curl);

    if (result == CURLE_OK)
        (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &code);
    *status = (int)code;
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    return error_from_curl(result);
}

enum error api_call_patiently(const struct cluster *cluster, const struct api_call *call,
                              unsigned patience_ms, int *status, struct buffer *answer)
{
    const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};

    for (unsigned waited = 0;; waited += PAUSE_MS) {
        size_t before = answer->size;
        enum error rc = api_call(cluster, call, status, answer);

        if ((rc == OK && *status < 500) || waited >= patience_ms)
            return rc;
        answer->size = before;
        (void)nanosleep(&pause, NULL);
    }
}
