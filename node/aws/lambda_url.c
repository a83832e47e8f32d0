#include "node/aws/lambda_url.h"

#include "node/aws/lambda_config.h"
#include "node/aws/lambda_qualifier.h"
#include "node/aws/lambda_settings.h"
#include "proto/base/encode.h"

#include <inttypes.h>

#define NAMES_MAX 100
#define MAX_AGE_MAX 86400

static const char validation_code[] = "ValidationException";

/* ---- the document -----------------------------------------------------------------------------
 */

/* Under the very address that the client used for this request. */
static const char *address_of(const struct lambda_call *call, const char *id)
{
    const struct http_exchange *exchange = call->request->exchange;
    struct slice host = http_header_find(exchange, "Host");

    return arena_printf(call->arena, "%s://%.*s" LAMBDA_URL_PATH "%s/",
                        exchange->is_tls ? "https" : "http", (int)host.size,
                        host.size > 0 ? (const char *)host.data : "", id);
}

static void write_names(struct json_write *json, const char *key, char *const *names, size_t count)
{
    if (count == 0)
        return;
    json_key(json, key);
    json_begin_array(json);
    for (size_t i = 0; i < count; i++)
        json_text(json, names[i]);
    json_end_array(json);
}

static void write_cors(struct json_write *json, const Skein__Wire__FunctionUrl *url)
{
    json_key(json, "Cors");
    json_begin_object(json);
    if (url->allows_credentials)
        json_member_bool(json, "AllowCredentials", true);
    write_names(json, "AllowHeaders", url->allow_headers, url->n_allow_headers);
    write_names(json, "AllowMethods", url->allow_methods, url->n_allow_methods);
    write_names(json, "AllowOrigins", url->allow_origins, url->n_allow_origins);
    write_names(json, "ExposeHeaders", url->expose_headers, url->n_expose_headers);
    if (url->has_max_age)
        json_member_u64(json, "MaxAge", url->max_age_seconds);
    json_end_object(json);
}

static void write_time(struct json_write *json, const char *key, uint64_t wall_ms)
{
    char text[TIME_TEXT_BYTES];

    encode_time(wall_ms, text);
    json_member_text(json, key, text);
}

/* CreateFunctionUrlConfig alone does not say when it was changed. */
static void write_url(const struct lambda_call *call, struct json_write *json,
                      const Skein__Wire__FunctionQualifierSettings *part, bool is_created)
{
    const Skein__Wire__FunctionUrl *url = part->url;

    json_begin_object(json);
    json_member_text(json, "FunctionUrl", address_of(call, url->id));
    json_member_text(
        json, "FunctionArn",
        lambda_config_arn(call->arena, call->request->region, call->name.name, part->qualifier));
    json_member_text(json, "AuthType", url->auth_type);
    if (url->has_cors)
        write_cors(json, url);
    write_time(json, "CreationTime", url->created_ms);
    if (!is_created)
        write_time(json, "LastModifiedTime", url->modified_ms);
    json_member_text(json, "InvokeMode", url->invoke_mode);
    json_end_object(json);
}

/* ---- the members of a request -----------------------------------------------------------------
 */

static bool read_choice(struct aws_input *input, const char *key, const char *member,
                        const char *one, const char *other, char **to)
{
    const char *text = aws_input_text(input, input->root, key);

    if (text == NULL || aws_input_has_fault(input))
        return !aws_input_has_fault(input);
    if (strcmp(text, one) != 0 && strcmp(text, other) != 0)
        return aws_input_refuse(input, 400, validation_code,
                                "1 validation error detected: Value '%s' at '%s' failed to satisfy "
                                "constraint: Member must satisfy enum value set: [%s, %s]",
                                text, member, one, other);
    *to = arena_text(input->arena, slice_text(text));
    return true;
}

static bool read_names(struct aws_input *input, const json_t *cors, const char *key,
                       const char *member, size_t *count, char ***names)
{
    *count = 0;
    return aws_input_texts(input, cors, key, count, names) &&
           (*count <= NAMES_MAX ||
            aws_input_refuse(input, 400, validation_code,
                             "1 validation error detected: Value at 'cors.%s' failed to satisfy "
                             "constraint: Member must have length less than or equal to %d",
                             member, NAMES_MAX));
}

/* What Cors says replaces all that was said before. */
static bool read_cors(struct aws_input *input, Skein__Wire__FunctionUrl *url)
{
    const json_t *cors = aws_input_object(input, input->root, "Cors");
    int64_t max_age = aws_input_integer(input, cors, "MaxAge", -1);

    if (cors == NULL || aws_input_has_fault(input))
        return !aws_input_has_fault(input);
    if (json_object_get(cors, "MaxAge") != NULL && (max_age < 0 || max_age > MAX_AGE_MAX))
        return aws_input_refuse(input, 400, validation_code,
                                "1 validation error detected: Value '%" PRId64 "' at 'cors.maxAge' "
                                "failed to satisfy constraint: Member must have value %s than or "
                                "equal to %d",
                                max_age, max_age < 0 ? "greater" : "less",
                                max_age < 0 ? 0 : MAX_AGE_MAX);
    url->has_cors = json_object_size(cors) > 0;
    url->allows_credentials = aws_input_bool(input, cors, "AllowCredentials", false);
    url->has_max_age = max_age >= 0;
    url->max_age_seconds = max_age >= 0 ? (uint32_t)max_age : 0;
    return read_names(input, cors, "AllowHeaders", "allowHeaders", &url->n_allow_headers,
                      &url->allow_headers) &&
           read_names(input, cors, "AllowMethods", "allowMethods", &url->n_allow_methods,
                      &url->allow_methods) &&
           read_names(input, cors, "AllowOrigins", "allowOrigins", &url->n_allow_origins,
                      &url->allow_origins) &&
           read_names(input, cors, "ExposeHeaders", "exposeHeaders", &url->n_expose_headers,
                      &url->expose_headers);
}

static bool read_url(struct aws_input *input, Skein__Wire__FunctionUrl *url)
{
    return !aws_input_has_fault(input) &&
           read_choice(input, "AuthType", "authType", "NONE", "AWS_IAM", &url->auth_type) &&
           read_choice(input, "InvokeMode", "invokeMode", "BUFFERED", "RESPONSE_STREAM",
                       &url->invoke_mode) &&
           read_cors(input, url) &&
           (url->auth_type[0] != '\0' ||
            aws_input_refuse(input, 400, validation_code,
                             "1 validation error detected: Value null at 'authType' failed to "
                             "satisfy constraint: Member must not be null"));
}

/* Of the function or an alias. */
static bool is_good_qualifier(struct lambda_call *call)
{
    const char *qualifier = call->name.qualifier;
    uint64_t version;

    if (qualifier[0] == '\0' || lambda_qualifier_parse(qualifier, &version) != OK)
        return true;
    lambda_call_refuse(call, 400, validation_code,
                       arena_printf(call->arena,
                                    "1 validation error detected: Value '%s' at 'qualifier' failed "
                                    "to satisfy constraint: Member must satisfy regular expression "
                                    "pattern: ((?!^\\d+$)^[0-9a-zA-Z-_]+$)",
                                    qualifier));
    return false;
}

/* ---- operations -------------------------------------------------------------------------------
 */

/* 160 bits, in letters and digits as a host name has them. */
static char *new_id(const struct lambda_call *call)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz234567";
    struct env *env = call->lambda->with.env;
    uint8_t random[LAMBDA_URL_ID_BYTES];
    char *id = arena_alloc(call->arena, LAMBDA_URL_ID_BYTES + 1);

    env->dice->random_bytes(env, random, sizeof(random));
    for (size_t i = 0; i < LAMBDA_URL_ID_BYTES; i++)
        id[i] = letters[random[i] % 32];
    return id;
}

/* Puts what the request says into the URL of `part` and commits. */
static void set_url(struct lambda_call *call, const struct lambda_settings *settings,
                    Skein__Wire__FunctionQualifierSettings *part, bool is_created)
{
    struct aws_input input = lambda_call_read(call);
    struct buffer answer = BUFFER_INIT(LAMBDA_DOCUMENT_BYTES_MAX);
    struct json_write json = json_write_to(&answer);
    bool is_good = read_url(&input, part->url);

    aws_input_close(&input);
    if (!is_good) {
        aws_fault_send(call->request, &input.fault);
        return;
    }
    part->url->modified_ms = env_wall_ms(call->lambda->with.env);
    if (is_created)
        part->url->created_ms = part->url->modified_ms;
    write_url(call, &json, part, is_created);
    lambda_settings_commit(call, settings, NULL, 0, &answer, is_created ? 201 : 200);
}

void lambda_url_create(struct lambda_call *call)
{
    const struct lambda_settings settings = lambda_settings_load(call);
    Skein__Wire__FunctionQualifierSettings *part =
        lambda_settings_need(call->arena, settings.record, lambda_settings_qualifier(call));

    if (!is_good_qualifier(call))
        return;
    if (part->url != NULL) {
        lambda_call_refuse(call, 409, "ResourceConflictException",
                           arena_printf(call->arena,
                                        "Failed to create function url config for [functionArn = "
                                        "%s]. Error message:  FunctionUrlConfig exists for this "
                                        "Lambda function",
                                        lambda_call_arn(call)));
        return;
    }
    part->url = arena_alloc(call->arena, sizeof(*part->url));
    skein__wire__function_url__init(part->url);
    part->url->id = new_id(call);
    part->url->invoke_mode = (char *)"BUFFERED";
    set_url(call, &settings, part, true);
}

/* The part that has a URL; NULL: the request was answered. */
static Skein__Wire__FunctionQualifierSettings *find_url(struct lambda_call *call,
                                                        const struct lambda_settings *settings)
{
    Skein__Wire__FunctionQualifierSettings *part =
        lambda_settings_find(settings->record, lambda_settings_qualifier(call));

    if (!is_good_qualifier(call))
        return NULL;
    if (part != NULL && part->url != NULL)
        return part;
    if (view_is_current(call->lambda->with.view))
        lambda_call_refuse(call, 404, "ResourceNotFoundException",
                           "The resource you requested does not exist.");
    else
        aws_fault_respond_error(call->request, ERR_UNREACHABLE);
    return NULL;
}

void lambda_url_get(struct lambda_call *call)
{
    const struct lambda_settings settings = lambda_settings_load(call);
    const Skein__Wire__FunctionQualifierSettings *part = find_url(call, &settings);
    struct buffer body = BUFFER_INIT(LAMBDA_DOCUMENT_BYTES_MAX);
    struct json_write json = json_write_to(&body);

    if (part == NULL)
        return;
    write_url(call, &json, part, false);
    lambda_call_reply(call, &body, &json);
}

void lambda_url_update(struct lambda_call *call)
{
    const struct lambda_settings settings = lambda_settings_load(call);
    Skein__Wire__FunctionQualifierSettings *part = find_url(call, &settings);

    if (part != NULL)
        set_url(call, &settings, part, false);
}

void lambda_url_delete(struct lambda_call *call)
{
    const struct lambda_settings settings = lambda_settings_load(call);
    Skein__Wire__FunctionQualifierSettings *part = find_url(call, &settings);

    if (part == NULL)
        return;
    part->url = NULL;
    lambda_settings_commit(call, &settings, NULL, 0, NULL, 204);
}

static bool has_url(const Skein__Wire__FunctionQualifierSettings *part)
{
    return part->url != NULL;
}

static void write_listed(const struct lambda_call *call, struct json_write *json,
                         const Skein__Wire__FunctionQualifierSettings *part)
{
    write_url(call, json, part, false);
}

void lambda_url_list(struct lambda_call *call)
{
    static const struct lambda_settings_kind kind = {"FunctionUrlConfigs", has_url, write_listed};

    lambda_settings_list(call, &kind);
}
