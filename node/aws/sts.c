#include "node/aws/sts.h"

#include "node/aws/aws_fault.h"
#include "node/aws/aws_reply.h"
#include "node/aws/aws_xml.h"
#include "proto/base/encode.h"

#define DURATION_MIN_S 900
#define TOKEN_BYTES 48

static struct slice find_parameter(struct aws_request *request, const char *name)
{
    struct http_exchange *exchange = request->exchange;

    return exchange->body.size > 0 ? http_form_find(&exchange->arena, exchange->body, name)
                                   : http_form_find(&exchange->arena, exchange->query, name);
}

static void reply(struct aws_request *request, struct buffer *inner)
{
    aws_reply_query(request, AWS_STS_NAMESPACE, buffer_slice(inner));
}

static void get_caller_identity(struct aws_request *request)
{
    AUTO(buffer) inner = BUFFER_INIT(BUFFER_UNLIMITED);

    buffer_putf(&inner, "<Arn>arn:aws:iam::%s:root</Arn>", request->account_id);
    aws_xml_element(&inner, "UserId", request->access_key);
    aws_xml_element_text(&inner, "Account", request->account_id);
    reply(request, &inner);
}

/* DurationSeconds, or 0 when it is out of bounds. */
static uint64_t duration_of(struct aws_request *request, uint64_t otherwise_s, uint64_t max_s)
{
    struct slice text = find_parameter(request, "DurationSeconds");
    uint64_t value = 0;

    if (text.data == NULL)
        return otherwise_s;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || i == 6)
            return 0;
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    }
    return value >= DURATION_MIN_S && value <= max_s ? value : 0;
}

static void put_credentials(struct sts *sts, struct aws_request *request, uint64_t duration_s,
                            struct buffer *to)
{
    AUTO(buffer) token = BUFFER_INIT(BUFFER_UNLIMITED);
    struct slice secret = SLICE_LITERAL("any"); /* when nothing is verified, any will do */
    uint8_t random[TOKEN_BYTES];
    char expiration[TIME_TEXT_BYTES];

    if (aws_router_find_secret(sts->router, request->access_key, &secret) != OK)
        secret = SLICE_LITERAL("any");
    sts->env->dice->random_bytes(sts->env, random, sizeof(random));
    if (encode_base64(slice_of(random, sizeof(random)), &token) != OK)
        return;
    encode_time(env_wall_ms(sts->env) + duration_s * 1000, expiration);
    aws_xml_open(to, "Credentials");
    aws_xml_element(to, "AccessKeyId", request->access_key);
    aws_xml_element(to, "SecretAccessKey", secret);
    aws_xml_element(to, "SessionToken", buffer_slice(&token));
    aws_xml_element_text(to, "Expiration", expiration);
    aws_xml_close(to, "Credentials");
}

static void refuse(struct aws_request *request, const char *message)
{
    aws_fault_respond(request, 400, "ValidationError", message);
}

static void get_session_token(struct sts *sts, struct aws_request *request)
{
    AUTO(buffer) inner = BUFFER_INIT(BUFFER_UNLIMITED);
    uint64_t duration_s = duration_of(request, 43200, 129600);

    if (duration_s == 0) {
        refuse(request, "DurationSeconds must lie between 900 and 129600.");
        return;
    }
    put_credentials(sts, request, duration_s, &inner);
    reply(request, &inner);
}

/* NAME of arn:aws:iam::ACCOUNT:role/path/NAME; data NULL when it is no such ARN. */
static struct slice role_of(struct slice arn)
{
    struct slice rest = arn;

    if (!slice_starts_with(arn, SLICE_LITERAL("arn:")))
        return (struct slice){NULL, 0};
    for (int parts = 0; parts < 5; parts++) {
        const uint8_t *colon = rest.size > 0 ? memchr(rest.data, ':', rest.size) : NULL;

        if (colon == NULL)
            return (struct slice){NULL, 0};
        rest = slice_of(colon + 1, rest.size - (size_t)(colon - rest.data) - 1);
    }
    if (!slice_starts_with(rest, SLICE_LITERAL("role/")))
        return (struct slice){NULL, 0};
    const uint8_t *slash = memrchr(rest.data, '/', rest.size);
    struct slice name = slice_of(slash + 1, rest.size - (size_t)(slash - rest.data) - 1);

    return name.size > 0 ? name : (struct slice){NULL, 0};
}

/* Real ids are random and kept; ours follow from the name. */
static uint64_t role_id(struct slice name)
{
    uint64_t hash = 0xcbf29ce484222325u;

    for (size_t i = 0; i < name.size; i++)
        hash = (hash ^ name.data[i]) * 0x100000001b3u;
    return hash;
}

static void assume_role(struct sts *sts, struct aws_request *request)
{
    AUTO(buffer) inner = BUFFER_INIT(BUFFER_UNLIMITED);
    struct arena *arena = &request->exchange->arena;
    struct slice role = role_of(find_parameter(request, "RoleArn"));
    struct slice session = find_parameter(request, "RoleSessionName");
    uint64_t duration_s = duration_of(request, 3600, 43200);

    if (role.data == NULL || session.size < 2 || session.size > 64 || duration_s == 0) {
        refuse(request, "RoleArn must be the ARN of a role, RoleSessionName must have 2 to 64 "
                        "characters, DurationSeconds must lie between 900 and 43200.");
        return;
    }
    char *id = arena_printf(arena, "AROA%016llX:%.*s", (unsigned long long)role_id(role),
                            (int)session.size, (const char *)session.data);
    char *arn = arena_printf(arena, "arn:aws:sts::%s:assumed-role/%.*s/%.*s", request->account_id,
                             (int)role.size, (const char *)role.data, (int)session.size,
                             (const char *)session.data);

    put_credentials(sts, request, duration_s, &inner);
    aws_xml_open(&inner, "AssumedRoleUser");
    aws_xml_element_text(&inner, "AssumedRoleId", id);
    aws_xml_element_text(&inner, "Arn", arn);
    aws_xml_close(&inner, "AssumedRoleUser");
    reply(request, &inner);
}

void sts_on_request(void *user, struct aws_request *request)
{
    struct sts *sts = user;

    if (slice_equal_text(request->operation, "GetCallerIdentity"))
        get_caller_identity(request);
    else if (slice_equal_text(request->operation, "GetSessionToken"))
        get_session_token(sts, request);
    else if (slice_equal_text(request->operation, "AssumeRole"))
        assume_role(sts, request);
    else
        aws_fault_respond_unknown_operation(request);
}
