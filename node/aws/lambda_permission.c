#include "node/aws/lambda_permission.h"

#include "node/aws/aws_wire.h"
#include "node/aws/lambda_qualifier.h"
#include "node/aws/lambda_settings.h"
#include "proto/base/check.h"

#define STATEMENT_ID_BYTES_MAX 100
#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

static const char validation_code[] = "ValidationException";

/* ---- the documents -------------------------------------------------------------------------- */

static bool is_account(const char *principal)
{
    return strlen(principal) == 12 && strspn(principal, DIGITS) == 12;
}

static bool is_service(const char *principal)
{
    static const char *const ends[] = {".amazonaws.com", ".amazon.com", ".amazonaws.com.cn"};
    size_t size = strlen(principal);

    for (size_t i = 0; i < ARRAY_COUNT(ends); i++)
        if (size > strlen(ends[i]) && strcmp(principal + size - strlen(ends[i]), ends[i]) == 0)
            return true;
    return false;
}

static void write_principal(struct json_write *json, const char *principal)
{
    struct arena arena;

    arena_init(&arena);
    json_key(json, "Principal");
    if (strcmp(principal, "*") == 0) {
        json_text(json, principal);
    } else {
        json_begin_object(json);
        if (is_account(principal))
            json_member_text(json, "AWS", arena_printf(&arena, "arn:aws:iam::%s:root", principal));
        else
            json_member_text(json, is_service(principal) ? "Service" : "AWS", principal);
        json_end_object(json);
    }
    arena_close(&arena);
}

struct condition {
    const char *kind;
    const char *key;
    const char *value; /* "" = not set */
};

/* Conditions of one kind stand together. */
static void write_conditions(struct json_write *json, const Skein__Wire__FunctionPermission *from)
{
    const struct condition conditions[] = {
        {"StringEquals", "AWS:SourceAccount", from->source_account},
        {"StringEquals", "lambda:EventSourceToken", from->event_source_token},
        {"StringEquals", "aws:PrincipalOrgID", from->organisation_id},
        {"StringEquals", "lambda:FunctionUrlAuthType", from->url_auth_type},
        {"Bool", "lambda:InvokedViaFunctionUrl", from->is_via_url ? "true" : ""},
        {"ArnLike", "AWS:SourceArn", from->source_arn},
    };
    const char *kind = NULL;

    for (size_t i = 0; i < ARRAY_COUNT(conditions); i++) {
        if (conditions[i].value[0] == '\0')
            continue;
        if (kind == NULL) {
            json_key(json, "Condition");
            json_begin_object(json);
        }
        if (kind == NULL || strcmp(kind, conditions[i].kind) != 0) {
            if (kind != NULL)
                json_end_object(json);
            json_key(json, conditions[i].kind);
            json_begin_object(json);
            kind = conditions[i].kind;
        }
        json_member_text(json, conditions[i].key, conditions[i].value);
    }
    if (kind != NULL) {
        json_end_object(json);
        json_end_object(json);
    }
}

static void write_statement(const struct lambda_call *call, struct json_write *json,
                            const Skein__Wire__FunctionPermission *from)
{
    json_begin_object(json);
    json_member_text(json, "Sid", from->statement_id);
    json_member_text(json, "Effect", "Allow");
    write_principal(json, from->principal);
    json_member_text(json, "Action", from->action);
    json_member_text(json, "Resource", lambda_call_arn(call));
    write_conditions(json, from);
    json_end_object(json);
}

static void write_policy(const struct lambda_call *call, struct json_write *json,
                         const Skein__Wire__FunctionQualifierSettings *part)
{
    json_begin_object(json);
    json_member_text(json, "Version", "2012-10-17");
    json_member_text(json, "Id", "default");
    json_key(json, "Statement");
    json_begin_array(json);
    for (size_t i = 0; i < part->n_permissions; i++)
        write_statement(call, json, part->permissions[i]);
    json_end_array(json);
    json_end_object(json);
}

/* ---- whose RevisionId a policy has ----------------------------------------------------------- */

/* Of the function, the version or the alias: a change of its policy is one of it. `renewed`: with
 * another RevisionId; the function's own record is written anyway. */
static const char *revision_id_of(struct lambda_call *call, struct view_change *renewed,
                                  size_t *count)
{
    const char *qualifier = lambda_settings_qualifier(call);
    char *fresh = renewed == NULL ? NULL : lambda_call_new_id(call->arena, call->lambda->with.env);
    Skein__Wire__Function *function = call->function;
    Skein__Wire__FunctionAlias *alias = NULL;
    struct view_change change = {0};
    const char *current;
    uint64_t version = 0;

    if (qualifier[0] != '\0' && lambda_qualifier_parse(qualifier, &version) != OK)
        alias = lambda_call_find_alias(call, qualifier, &change.expected_revision);
    else if (version != 0)
        function = lambda_call_find(call, version, &change.expected_revision);
    current = alias != NULL ? alias->revision_id : function->revision_id;
    if (renewed == NULL)
        return current;
    if (alias != NULL) {
        alias->revision_id = fresh;
        change.key = lambda_call_alias_key(call->arena, call->name.name, qualifier);
        change.value = aws_wire_pack(call->arena, &alias->base);
    } else {
        function->revision_id = fresh;
        if (version != 0) {
            change.key = lambda_call_version_key(call->arena, call->name.name, version);
            change.value = aws_wire_pack(call->arena, &function->base);
        }
    }
    *count = change.key != NULL;
    *renewed = change;
    return current;
}

static bool check_revision(struct lambda_call *call, struct aws_input *input, const char *wanted)
{
    if (wanted == NULL || strcmp(wanted, revision_id_of(call, NULL, NULL)) == 0)
        return true;
    return aws_input_refuse(input, 412, "PreconditionFailedException",
                            "The Revision Id provided does not match the latest Revision Id. Call "
                            "the GetPolicy API to retrieve the latest Revision Id");
}

static void commit(struct lambda_call *call, const struct lambda_settings *settings,
                   struct buffer *answer, int success_status)
{
    struct view_change renewed;
    size_t count = 0;

    (void)revision_id_of(call, &renewed, &count);
    lambda_settings_commit(call, settings, &renewed, count, answer, success_status);
}

/* ---- the members of a request ---------------------------------------------------------------- */

static bool refuse_pattern(struct aws_input *input, const char *value, const char *member,
                           const char *pattern)
{
    return aws_input_refuse(input, 400, validation_code,
                            "1 validation error detected: Value '%s' at '%s' failed to satisfy "
                            "constraint: Member must satisfy regular expression pattern: %s",
                            value, member, pattern);
}

/* Letters and digits, and what else is allowed. */
static bool is_of(const char *text, const char *allowed)
{
    return text[0] != '\0' && strspn(text, allowed) == strlen(text);
}

static bool is_action(const char *action)
{
    if (strcmp(action, "*") == 0 || strcmp(action, "lambda:*") == 0)
        return true;
    return strncmp(action, "lambda:", 7) == 0 && is_of(action + 7, LETTERS);
}

static bool check_mandatory(struct aws_input *input, const char *value, const char *member)
{
    return value != NULL ||
           aws_input_refuse(input, 400, validation_code,
                            "1 validation error detected: Value null at '%s' failed to satisfy "
                            "constraint: Member must not be null",
                            member);
}

static bool check_permission(struct aws_input *input, const Skein__Wire__FunctionPermission *from)
{
    if (strlen(from->statement_id) > STATEMENT_ID_BYTES_MAX ||
        !is_of(from->statement_id, LETTERS DIGITS "-_"))
        return refuse_pattern(input, from->statement_id, "statementId", "([a-zA-Z0-9-_]+)");
    if (!is_action(from->action))
        return refuse_pattern(input, from->action, "action", "(lambda:[*]|lambda:[a-zA-Z]+|[*])");
    if (from->source_account[0] != '\0' && !is_account(from->source_account))
        return refuse_pattern(input, from->source_account, "sourceAccount", "\\d{12}");
    if (from->source_arn[0] != '\0' && strncmp(from->source_arn, "arn:", 4) != 0)
        return refuse_pattern(input, from->source_arn, "sourceArn",
                              "arn:(aws[a-zA-Z0-9-]*):([a-zA-Z0-9\\-])+:([a-z]{2}(-gov)?-[a-z]+-"
                              "\\d{1})?:(\\d{12})?:(.*)");
    if (from->event_source_token[0] != '\0' &&
        !is_of(from->event_source_token, LETTERS DIGITS "._-"))
        return refuse_pattern(input, from->event_source_token, "eventSourceToken",
                              "[a-zA-Z0-9._\\-]+");
    if (from->url_auth_type[0] != '\0' && strcmp(from->url_auth_type, "NONE") != 0 &&
        strcmp(from->url_auth_type, "AWS_IAM") != 0)
        return aws_input_refuse(input, 400, validation_code,
                                "1 validation error detected: Value '%s' at 'functionUrlAuthType' "
                                "failed to satisfy constraint: Member must satisfy enum value set: "
                                "[NONE, AWS_IAM]",
                                from->url_auth_type);
    if (from->url_auth_type[0] != '\0' && strcmp(from->action, "lambda:InvokeFunctionUrl") != 0)
        return aws_input_refuse(input, 400, "InvalidParameterValueException",
                                "FunctionUrlAuthType is only supported for "
                                "lambda:InvokeFunctionUrl action");
    return strcmp(from->principal, "*") == 0 || is_account(from->principal) ||
           is_service(from->principal) || strncmp(from->principal, "arn:", 4) == 0 ||
           aws_input_refuse(input, 400, "InvalidParameterValueException",
                            "The provided principal was invalid. Please check the principal and "
                            "try again.");
}

/* A text of the request, kept in the arena; "" when absent. */
static char *take(struct aws_input *input, const char *key)
{
    const char *text = aws_input_text(input, input->root, key);

    return text != NULL ? arena_text(input->arena, slice_text(text)) : (char *)"";
}

static bool read_permission(struct aws_input *input, Skein__Wire__FunctionPermission *permission)
{
    if (aws_input_has_fault(input) ||
        !check_mandatory(input, aws_input_text(input, input->root, "StatementId"), "statementId") ||
        !check_mandatory(input, aws_input_text(input, input->root, "Action"), "action") ||
        !check_mandatory(input, aws_input_text(input, input->root, "Principal"), "principal"))
        return false;
    permission->statement_id = take(input, "StatementId");
    permission->action = take(input, "Action");
    permission->principal = take(input, "Principal");
    permission->source_arn = take(input, "SourceArn");
    permission->source_account = take(input, "SourceAccount");
    permission->event_source_token = take(input, "EventSourceToken");
    permission->organisation_id = take(input, "PrincipalOrgID");
    permission->url_auth_type = take(input, "FunctionUrlAuthType");
    permission->is_via_url = aws_input_bool(input, input->root, "InvokedViaFunctionUrl", false);
    return !aws_input_has_fault(input) && check_permission(input, permission);
}

/* ---- adding ---------------------------------------------------------------------------------- */

static size_t find_statement(const Skein__Wire__FunctionQualifierSettings *part, const char *id)
{
    size_t i = 0;

    while (i < part->n_permissions && strcmp(part->permissions[i]->statement_id, id) != 0)
        i++;
    return i;
}

static void append(struct arena *arena, Skein__Wire__FunctionQualifierSettings *part,
                   Skein__Wire__FunctionPermission *permission)
{
    Skein__Wire__FunctionPermission **all =
        arena_alloc(arena, (part->n_permissions + 1) * sizeof(Skein__Wire__FunctionPermission *));

    for (size_t i = 0; i < part->n_permissions; i++)
        all[i] = part->permissions[i];
    all[part->n_permissions++] = permission;
    part->permissions = all;
}

static bool check_length(const struct lambda_call *call, struct aws_input *input,
                         const Skein__Wire__FunctionQualifierSettings *part)
{
    AUTO(buffer) policy = BUFFER_INIT(LAMBDA_DOCUMENT_BYTES_MAX);
    struct json_write json = json_write_to(&policy);

    write_policy(call, &json, part);
    return policy.size <= LAMBDA_POLICY_BYTES_MAX ||
           aws_input_refuse(input, 400, "PolicyLengthExceededException",
                            "The final policy size (%zu) is bigger than the limit (%d).",
                            policy.size, LAMBDA_POLICY_BYTES_MAX);
}

/* $LATEST by name has no policy of its own. */
static bool check_qualifier(const struct lambda_call *call, struct aws_input *input)
{
    return strcmp(call->name.qualifier, LAMBDA_LATEST) != 0 ||
           aws_input_refuse(input, 400, "InvalidParameterValueException",
                            "We currently do not support adding policies for $LATEST.");
}

static bool add_to(struct lambda_call *call, struct aws_input *input,
                   Skein__Wire__FunctionQualifierSettings *part,
                   Skein__Wire__FunctionPermission *permission)
{
    if (!read_permission(input, permission) || !check_qualifier(call, input) ||
        !check_revision(call, input, aws_input_text(input, input->root, "RevisionId")))
        return false;
    if (find_statement(part, permission->statement_id) < part->n_permissions)
        return aws_input_refuse(input, 409, "ResourceConflictException",
                                "The statement id (%s) provided already exists. Please provide a "
                                "new statement id, or remove the existing statement.",
                                permission->statement_id);
    append(call->arena, part, permission);
    return check_length(call, input, part);
}

void lambda_permission_add(struct lambda_call *call)
{
    struct aws_input input = lambda_call_read(call);
    struct lambda_settings settings = lambda_settings_load(call);
    Skein__Wire__FunctionQualifierSettings *part =
        lambda_settings_need(call->arena, settings.record, lambda_settings_qualifier(call));
    Skein__Wire__FunctionPermission *permission = arena_alloc(call->arena, sizeof(*permission));
    AUTO(buffer) statement = BUFFER_INIT(LAMBDA_DOCUMENT_BYTES_MAX);
    struct json_write inner = json_write_to(&statement);
    struct buffer answer = BUFFER_INIT(LAMBDA_DOCUMENT_BYTES_MAX);
    struct json_write json = json_write_to(&answer);
    bool is_good;

    skein__wire__function_permission__init(permission);
    is_good = !aws_input_has_fault(&input) && add_to(call, &input, part, permission);
    aws_input_close(&input);
    if (!is_good) {
        aws_fault_send(call->request, &input.fault);
        return;
    }
    write_statement(call, &inner, permission);
    json_begin_object(&json);
    json_key(&json, "Statement");
    json_slice(&json, buffer_slice(&statement));
    json_end_object(&json);
    commit(call, &settings, &answer, 201);
}

/* ---- removing, reading ------------------------------------------------------------------------
 */

static void refuse_missing(struct lambda_call *call, const char *message)
{
    if (view_is_current(call->lambda->with.view))
        lambda_call_refuse(call, 404, "ResourceNotFoundException", message);
    else /* it may have been added meanwhile */
        aws_fault_respond_error(call->request, ERR_UNREACHABLE);
}

void lambda_permission_remove(struct lambda_call *call)
{
    struct slice wanted = http_query_find(call->request->exchange, "RevisionId");
    struct aws_input input = {.arena = call->arena};
    struct lambda_settings settings = lambda_settings_load(call);
    Skein__Wire__FunctionQualifierSettings *part =
        lambda_settings_find(settings.record, lambda_settings_qualifier(call));
    size_t at;

    if (part == NULL || part->n_permissions == 0) {
        refuse_missing(call, "No policy is associated with the given resource.");
        return;
    }
    at = find_statement(part, call->item);
    if (at == part->n_permissions) {
        refuse_missing(
            call,
            arena_printf(call->arena, "Statement %s is not found in resource policy.", call->item));
        return;
    }
    if (!check_revision(call, &input, wanted.size > 0 ? arena_text(call->arena, wanted) : NULL)) {
        aws_fault_send(call->request, &input.fault);
        return;
    }
    part->n_permissions--;
    for (; at < part->n_permissions; at++)
        part->permissions[at] = part->permissions[at + 1];
    commit(call, &settings, NULL, 204);
}

void lambda_permission_get(struct lambda_call *call)
{
    const struct lambda_settings settings = lambda_settings_load(call);
    const Skein__Wire__FunctionQualifierSettings *part =
        lambda_settings_find(settings.record, lambda_settings_qualifier(call));
    AUTO(buffer) policy = BUFFER_INIT(LAMBDA_DOCUMENT_BYTES_MAX);
    struct json_write inner = json_write_to(&policy);
    struct buffer body = BUFFER_INIT(LAMBDA_DOCUMENT_BYTES_MAX);
    struct json_write json = json_write_to(&body);

    if (part == NULL || part->n_permissions == 0) {
        refuse_missing(call, "The resource you requested does not exist.");
        return;
    }
    write_policy(call, &inner, part);
    json_begin_object(&json);
    json_key(&json, "Policy");
    json_slice(&json, buffer_slice(&policy));
    json_member_text(&json, "RevisionId", revision_id_of(call, NULL, NULL));
    json_end_object(&json);
    lambda_call_reply(call, &body, &json);
}
