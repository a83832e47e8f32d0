/* The vectors are real requests of aws-cli and boto3, with the signatures those computed. */

#include "node/auth/sigv4.h"
#include "node/auth/sigv4_canonical.h"
#include "proto/base/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define HEADERS_MAX 14
#define MINUTE_MS (60 * 1000)

struct vector {
    const char *method;
    const char *target;
    const char *headers[2 * HEADERS_MAX]; /* name, value, ..., NULL */
    const char *body;
    const char *service;
    const char *signed_headers;
    const char *signature;
    uint64_t wall_ms; /* when it was signed */
};

#define HOST "Host", "127.0.0.1:4566"

static const struct vector put_item = {
    "POST",
    "/",
    {HOST, "Content-Type", "application/x-amz-json-1.0", "X-Amz-Date", "20261123T130451Z",
     "X-Amz-Target", "DynamoDB_20120810.PutItem"},
    "{\"TableName\": \"Orders\", \"Item\": {\"order_id\": {\"S\": \"o1\"}, \"total\": {\"N\": "
    "\"12.5\"}}}",
    "dynamodb",
    "content-type;host;x-amz-date;x-amz-target",
    "fa787abe86fa0d302f2cdf1361885b563ff33bba0683c872c2fe08c70333bb61",
    1795439091000u};

static const struct vector invoke_alias = {
    "POST",
    "/2015-03-31/functions/ProcessOrder%3Alive/invocations",
    {HOST, "x-amz-date", "20261123T130627Z", "x-amz-invocation-type", "DryRun"},
    "",
    "lambda",
    "host;x-amz-date;x-amz-invocation-type",
    "b9e080aa75b600a9c3976a2b7964114860aec7b58335f6f30a6984803ff86e8b",
    1795439187000u};

static const struct vector list_objects = {
    "GET",
    "/bkt?list-type=2&prefix=fn%2F&encoding-type=url",
    {HOST, "x-amz-date", "20261123T130744Z", "x-amz-content-sha256",
     "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    "",
    "s3",
    "host;x-amz-content-sha256;x-amz-date",
    "df6ad705fd8d5000ea70facd313e69da26d5640d2a58076d5eb8b8912186b922",
    1795439264000u};

static const struct vector put_object = {
    "PUT",
    "/bkt/dir/a%20b%2Bc%28%C3%BC%29%3D%26.txt",
    {HOST, "x-amz-sdk-checksum-algorithm", "CRC32", "content-type", "text/plain",
     "x-amz-checksum-crc32", "rwg7LQ==", "x-amz-date", "20261123T135256Z", "x-amz-content-sha256",
     "a948904f2f0f479b8f8197694b30184b0d2ed1c1cd2a1ec0fb85d299a192a447"},
    "hello world\n",
    "s3",
    "content-type;host;x-amz-checksum-crc32;x-amz-content-sha256;x-amz-date;x-amz-sdk-checksum-"
    "algorithm",
    "8ee10e5dff53e84baa49f842661fb2b01c38799df072fa8d673cd34b63a719cb",
    1795441976000u};

static const struct vector presigned = {
    "GET",
    "/bkt/a.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20261123%2Fus-east-"
    "1%2Fs3%2Faws4_request&X-Amz-Date=20261123T135257Z&X-Amz-Expires=600&X-Amz-SignedHeaders=host&"
    "X-Amz-Signature=aac8bdbee6e3ec3da413c3c69258aca20b654d56bb3ef10b0ea526ff11924151",
    {HOST},
    "",
    NULL,
    NULL,
    NULL,
    1795441977000u};

struct fixture {
    struct sigv4 *sigv4;
    struct arena arena;
    struct sigv4_request request;
    struct sigv4_header headers[HEADERS_MAX];
    struct sigv4_identity identity;
    const char *secret; /* of AKIDEXAMPLE; NULL: unknown */
    int asked;
    uint64_t wall_ms;
};

static enum error find_secret(void *user, struct slice access_key, struct slice *secret)
{
    struct fixture *f = user;

    f->asked++;
    if (f->secret == NULL || !slice_equal_text(access_key, "AKIDEXAMPLE"))
        return ERR_NOT_FOUND;
    *secret = slice_text(f->secret);
    return OK;
}

static void add_header(struct fixture *f, const char *name, const char *value)
{
    assert_true(f->request.header_count < ARRAY_COUNT(f->headers));
    f->headers[f->request.header_count++] =
        (struct sigv4_header){slice_text(name), slice_text(value)};
}

static struct sigv4_header *header_of(struct fixture *f, const char *name)
{
    for (size_t i = 0; i < f->request.header_count; i++)
        if (sigv4_is_header(&f->headers[i], slice_text(name)))
            return &f->headers[i];
    fail_msg("no header %s", name);
    return NULL;
}

static void set_header(struct fixture *f, const char *name, const char *value)
{
    header_of(f, name)->value = slice_text(value);
}

static void set_target(struct fixture *f, const char *target)
{
    size_t path_size = strcspn(target, "?");

    f->request.path = slice_of(target, path_size);
    f->request.query = slice_text(target + path_size + (target[path_size] == '?'));
}

static void fixture_open(struct fixture *f, const struct vector *vector)
{
    *f = (struct fixture){.secret = "secret", .wall_ms = vector->wall_ms};
    f->sigv4 = sigv4_new(find_secret, f);
    f->request.method = slice_text(vector->method);
    f->request.headers = f->headers;
    f->request.body = slice_text(vector->body);
    set_target(f, vector->target);
    for (size_t i = 0; i < ARRAY_COUNT(vector->headers) && vector->headers[i] != NULL; i += 2)
        add_header(f, vector->headers[i], vector->headers[i + 1]);
    if (vector->service != NULL)
        add_header(f, "Authorization",
                   arena_printf(&f->arena,
                                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261123/us-east-1/%s/"
                                "aws4_request, SignedHeaders=%s, Signature=%s",
                                vector->service, vector->signed_headers, vector->signature));
}

static void fixture_close(struct fixture *f)
{
    sigv4_free(f->sigv4);
    arena_close(&f->arena);
}

static enum sigv4_result verify(struct fixture *f)
{
    enum sigv4_result result = sigv4_parse(&f->request, &f->arena, &f->identity);

    return result != SIGV4_OK ? result
                              : sigv4_verify(f->sigv4, &f->request, f->wall_ms, &f->identity);
}

/* ---- the recorded requests ------------------------------------------------------------------ */

static void sigv4__recorded_requests__verified(void **state)
{
    const struct vector *const vectors[] = {&put_item, &invoke_alias, &list_objects, &put_object,
                                            &presigned};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(vectors); i++) {
        struct fixture f;

        fixture_open(&f, vectors[i]);
        assert_int_equal(verify(&f), SIGV4_OK);
        assert_true(slice_equal_text(f.identity.access_key, "AKIDEXAMPLE"));
        assert_true(slice_equal_text(f.identity.region, "us-east-1"));
        assert_true(
            slice_equal_text(f.identity.service, vectors[i]->service ? vectors[i]->service : "s3"));
        assert_int_equal(f.identity.is_presigned, vectors[i] == &presigned);
        assert_int_equal(f.identity.payload_hash_checked, vectors[i] != &presigned);
        assert_int_equal(verify(&f), SIGV4_OK); /* now with the cached key */
        fixture_close(&f);
    }
}

static void sigv4__presigned_version_2__unsupported(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, &presigned);
    set_target(&f, "/bkt/"
                   "a.txt?AWSAccessKeyId=AKIDEXAMPLE&Signature=mDZzhE%2BuDddHrZYNwyaXMdOHufo%3D&"
                   "Expires=1795442860");
    assert_int_equal(verify(&f), SIGV4_UNSUPPORTED);
    fixture_close(&f);
}

/* ---- tampering ------------------------------------------------------------------------------ */

static void sigv4__any_part_changed__mismatch(void **state)
{
    struct fixture f;

    (void)state;
#define TAMPER(vector, change)                                                                     \
    do {                                                                                           \
        fixture_open(&f, vector);                                                                  \
        change;                                                                                    \
        assert_int_equal(verify(&f), SIGV4_MISMATCH);                                              \
        fixture_close(&f);                                                                         \
    } while (0)
    TAMPER(&put_item, f.request.method = SLICE_LITERAL("PUT"));
    TAMPER(&put_item, set_target(&f, "/x"));
    TAMPER(&put_item, set_target(&f, "/?x=1"));
    TAMPER(&put_item, set_header(&f, "Host", "127.0.0.1:4567"));
    TAMPER(&put_item, set_header(&f, "X-Amz-Target", "DynamoDB_20120810.DeleteItem"));
    TAMPER(&put_item, set_header(&f, "X-Amz-Date", "20261123T130452Z"));
    TAMPER(&put_item, add_header(&f, "X-Amz-Target", "another"));
    TAMPER(&put_item, f.request.body = SLICE_LITERAL("{}"));
    TAMPER(&put_item, f.secret = "Secret");
    TAMPER(&put_item, f.secret = "");
    TAMPER(&invoke_alias, set_target(&f, "/2015-03-31/functions/ProcessOrder:live/invocations"));
    TAMPER(&invoke_alias, f.request.body = SLICE_LITERAL("x"));
    TAMPER(&list_objects, set_target(&f, "/bkt?list-type=2&prefix=fn%2F"));
    TAMPER(&list_objects, set_target(&f, "/bkt?list-type=2&prefix=fn%2Fx&encoding-type=url"));
    TAMPER(&put_object, set_target(&f, "/bkt/dir/a%20b%2bc%28%C3%BC%29%3D%26.txt"));
    TAMPER(&put_object, set_header(&f, "x-amz-content-sha256", "UNSIGNED-PAYLOAD"));
    TAMPER(&presigned, set_header(&f, "Host", "elsewhere"));
    TAMPER(&presigned, f.request.method = SLICE_LITERAL("PUT"));
    TAMPER(&presigned, f.request.path = SLICE_LITERAL("/bkt/b.txt"));
    TAMPER(&presigned, f.request.query = slice_text(arena_printf(
                           &f.arena, "%s&versionId=1", (const char *)f.request.query.data)));
#undef TAMPER
}

static void sigv4__every_signature_digit_changed__mismatch(void **state)
{
    struct fixture f;

    (void)state;
    for (size_t i = 0; i < SIGV4_HEX_BYTES; i++) {
        fixture_open(&f, &put_item);

        struct slice value = header_of(&f, "authorization")->value;
        char *copy = arena_text(&f.arena, value);
        char *digit = copy + value.size - SIGV4_HEX_BYTES + i;

        *digit = *digit == '0' ? '1' : '0';
        set_header(&f, "authorization", copy);
        assert_int_equal(verify(&f), SIGV4_MISMATCH);
        fixture_close(&f);
    }
}

static void sigv4__scope_changed__mismatch(void **state)
{
    static const char *const scopes[] = {
        "AKIDEXAMPLE/20261123/us-east-2/dynamodb/aws4_request",
        "AKIDEXAMPLE/20261123/us-east-1/lambda/aws4_request",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(scopes); i++) {
        struct fixture f;

        fixture_open(&f, &put_item);
        set_header(&f, "authorization",
                   arena_printf(&f.arena,
                                "AWS4-HMAC-SHA256 Credential=%s, SignedHeaders=%s, Signature=%s",
                                scopes[i], put_item.signed_headers, put_item.signature));
        assert_int_equal(verify(&f), SIGV4_MISMATCH);
        fixture_close(&f);
    }
}

/* S3 names a digest in a header: the signature is then right, the body is not. */
static void sigv4__body_is_not_the_one_named__payload_mismatch(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, &put_object);
    f.request.body = SLICE_LITERAL("hello World\n");
    assert_int_equal(verify(&f), SIGV4_PAYLOAD_MISMATCH);
    assert_false(f.identity.payload_hash_checked);
    fixture_close(&f);
}

static void sigv4__header_that_matters_not_signed__refused(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, &invoke_alias);
    add_header(&f, "X-AMZ-Target", "DynamoDB_20120810.DeleteTable");
    assert_int_equal(verify(&f), SIGV4_UNSIGNED_HEADER);
    fixture_close(&f);

    fixture_open(&f, &invoke_alias);
    add_header(&f, "User-Agent", "may come unsigned");
    assert_int_equal(verify(&f), SIGV4_OK);
    fixture_close(&f);

    fixture_open(&f, &invoke_alias);
    header_of(&f, "host")->name = SLICE_LITERAL("hots");
    assert_int_equal(verify(&f), SIGV4_UNSIGNED_HEADER);
    fixture_close(&f);
}

/* ---- keys and time -------------------------------------------------------------------------- */

static void sigv4__unknown_key__said_so(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, &put_item);
    f.secret = NULL;
    assert_int_equal(verify(&f), SIGV4_UNKNOWN_KEY);
    fixture_close(&f);
}

static void sigv4__secret_changed_after_a_success__cached_key_not_used(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, &put_item);
    assert_int_equal(verify(&f), SIGV4_OK);
    f.secret = "another";
    assert_int_equal(verify(&f), SIGV4_MISMATCH);
    f.secret = NULL;
    assert_int_equal(verify(&f), SIGV4_UNKNOWN_KEY);
    f.secret = "secret";
    assert_int_equal(verify(&f), SIGV4_OK);
    fixture_close(&f);
}

static void sigv4__clocks_apart__five_minutes_allowed_fifteen_for_s3(void **state)
{
    static const struct {
        const struct vector *vector;
        int64_t minutes;
        int64_t ms;
        enum sigv4_result result;
    } cases[] = {
        {&put_item, 5, 0, SIGV4_OK},       {&put_item, 5, 1, SIGV4_SKEWED},
        {&put_item, -5, 0, SIGV4_OK},      {&put_item, -5, -1, SIGV4_SKEWED},
        {&list_objects, 15, 0, SIGV4_OK},  {&list_objects, 15, 1, SIGV4_SKEWED},
        {&list_objects, -15, 0, SIGV4_OK}, {&list_objects, -15, -1, SIGV4_SKEWED},
        {&presigned, 10, 0, SIGV4_OK},     {&presigned, 10, 1, SIGV4_EXPIRED},
        {&presigned, -15, 0, SIGV4_OK},    {&presigned, -15, -1, SIGV4_SKEWED},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct fixture f;

        fixture_open(&f, cases[i].vector);
        f.wall_ms = (uint64_t)((int64_t)f.wall_ms + cases[i].minutes * MINUTE_MS + cases[i].ms);
        assert_int_equal(verify(&f), cases[i].result);
        fixture_close(&f);
    }
}

/* ---- the form ------------------------------------------------------------------------------- */

#define CREDENTIAL "Credential=AKIDEXAMPLE/20261123/us-east-1/dynamodb/aws4_request"
#define SIGNED "SignedHeaders=content-type;host;x-amz-date;x-amz-target"
#define SIGNATURE "Signature=fa787abe86fa0d302f2cdf1361885b563ff33bba0683c872c2fe08c70333bb61"

static void sigv4__authorization_in_any_spelling__as_the_rules_say(void **state)
{
    static const struct {
        enum sigv4_result result;
        const char *value;
    } cases[] = {
        {SIGV4_OK, "AWS4-HMAC-SHA256 " CREDENTIAL "," SIGNED "," SIGNATURE},
        {SIGV4_OK, "AWS4-HMAC-SHA256   " SIGNATURE " , " CREDENTIAL " ,  " SIGNED},
        {SIGV4_MISSING, "Bearer abc"},
        {SIGV4_MISSING, "Basic abc"},
        {SIGV4_MISSING, ""},
        {SIGV4_MISSING, "AWS4-HMAC-SHA256"},
        {SIGV4_UNSUPPORTED, "AWS AKID:signature"},
        {SIGV4_UNSUPPORTED, "AWS4-ECDSA-P256-SHA256 " CREDENTIAL "," SIGNED "," SIGNATURE},
        {SIGV4_MALFORMED, "AWS4-HMAC-SHA256 "},
        {SIGV4_MALFORMED, "AWS4-HMAC-SHA256 " CREDENTIAL "," SIGNED},
        {SIGV4_MALFORMED, "AWS4-HMAC-SHA256 " SIGNED "," SIGNATURE},
        {SIGV4_MALFORMED, "AWS4-HMAC-SHA256 " CREDENTIAL "," SIGNATURE},
        {SIGV4_MALFORMED, "AWS4-HMAC-SHA256 " CREDENTIAL "," SIGNED "," SIGNATURE "0"},
        {SIGV4_MALFORMED, "AWS4-HMAC-SHA256 " CREDENTIAL "," SIGNED "," SIGNATURE ",junk"},
        {SIGV4_MALFORMED, "AWS4-HMAC-SHA256 " CREDENTIAL "x," SIGNED "," SIGNATURE},
        {SIGV4_MALFORMED,
         "AWS4-HMAC-SHA256 Credential=/20261123/r/s/aws4_request," SIGNED "," SIGNATURE},
        {SIGV4_MALFORMED,
         "AWS4-HMAC-SHA256 Credential=A/2026112/r/s/aws4_request," SIGNED "," SIGNATURE},
        {SIGV4_MALFORMED, "AWS4-HMAC-SHA256 Credential=A/20261124/r/s/aws4_request," SIGNED
                          "," SIGNATURE}, /* not the day of X-Amz-Date */
        {SIGV4_MALFORMED,
         "AWS4-HMAC-SHA256 Credential=A/20261123/r//aws4_request," SIGNED "," SIGNATURE},
        {SIGV4_MALFORMED, "AWS4-HMAC-SHA256 Credential=aws4_request," SIGNED "," SIGNATURE},
        {SIGV4_MALFORMED, "AWS4-HMAC-SHA256 " CREDENTIAL ",SignedHeaders=host;host," SIGNATURE},
        {SIGV4_MALFORMED, "AWS4-HMAC-SHA256 " CREDENTIAL ",SignedHeaders=x;host," SIGNATURE},
        {SIGV4_MALFORMED, "AWS4-HMAC-SHA256 " CREDENTIAL ",SignedHeaders=Host," SIGNATURE},
        {SIGV4_MALFORMED, "AWS4-HMAC-SHA256 " CREDENTIAL ",SignedHeaders=host;," SIGNATURE},
        {SIGV4_MALFORMED, "AWS4-HMAC-SHA256 " CREDENTIAL ",SignedHeaders=a;b;c;d;e;f," SIGNATURE},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct fixture f;

        fixture_open(&f, &put_item);
        set_header(&f, "authorization", cases[i].value);

        enum sigv4_result result = verify(&f);

        if (result != cases[i].result)
            fail_msg("%d instead of %d: %s", (int)result, (int)cases[i].result, cases[i].value);
        fixture_close(&f);
    }
}

static void sigv4__bad_dates__malformed(void **state)
{
    static const char *const dates[] = {
        "20261123T130451",  "20261123 130451Z", "20261123T250451Z",  "20261123T136051Z",
        "20261123T1304510", "2026112xT130451Z", "20261123T130451Z0", ""};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(dates); i++) {
        struct fixture f;

        fixture_open(&f, &put_item);
        set_header(&f, "x-amz-date", dates[i]);
        assert_int_equal(verify(&f), SIGV4_MALFORMED);
        fixture_close(&f);
    }
}

static void sigv4__two_claims__malformed(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, &put_item);
    add_header(&f, "authorization", "Bearer x");
    assert_int_equal(verify(&f), SIGV4_MALFORMED);
    fixture_close(&f);

    fixture_open(&f, &presigned);
    add_header(&f, "authorization", "Bearer x");
    assert_int_equal(verify(&f), SIGV4_MALFORMED);
    fixture_close(&f);
}

static void sigv4__unsigned__missing(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, &put_item);
    f.request.header_count--;
    assert_int_equal(verify(&f), SIGV4_MISSING);
    assert_int_equal(f.asked, 0);
    fixture_close(&f);
}

static void sigv4__presigned_with_bad_parameters__malformed(void **state)
{
    static const char *const queries[] = {
        "X-Amz-Signature=",
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=%zz&X-Amz-Signature=1",
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20261123%2Fus-east-1%2Fs3%"
        "2Faws4_request&X-Amz-Date=20261123T135257Z&X-Amz-Expires=604801&X-Amz-SignedHeaders=host&"
        "X-Amz-Signature=aac8bdbee6e3ec3da413c3c69258aca20b654d56bb3ef10b0ea526ff11924151",
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20261123%2Fus-east-1%2Fs3%"
        "2Faws4_request&X-Amz-Date=20261123T135257Z&X-Amz-Expires=0&X-Amz-SignedHeaders=host&"
        "X-Amz-Signature=aac8bdbee6e3ec3da413c3c69258aca20b654d56bb3ef10b0ea526ff11924151",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(queries); i++) {
        struct fixture f;

        fixture_open(&f, &presigned);
        f.request.query = slice_text(queries[i]);
        assert_int_equal(verify(&f), SIGV4_MALFORMED);
        fixture_close(&f);
    }
}

/* ---- the canonical form --------------------------------------------------------------------- */

static void assert_canonical(const char *service, const char *target, const char *expected)
{
    struct fixture f;
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);

    fixture_open(&f, &put_item);
    f.request.header_count = 0;
    add_header(&f, "B", "  two   words\t here  ");
    add_header(&f, "a", "1");
    add_header(&f, "A", "");
    add_header(&f, "a", " 3 ");
    set_target(&f, target);
    f.identity = (struct sigv4_identity){.service = slice_text(service),
                                         .signed_headers = SLICE_LITERAL("a;b;c")};
    assert_int_equal(sigv4_canonical_request(&f.request, &f.identity, SLICE_LITERAL("HASH"), &text),
                     OK);
    buffer_put_u8(&text, '\0');

    AUTO(buffer) wanted = BUFFER_INIT(BUFFER_UNLIMITED);

    buffer_putf(&wanted, "POST\n%s\na:1,,3\nb:two words here\nc:\n\na;b;c\nHASH", expected);
    assert_string_equal((const char *)text.data, buffer_text(&wanted));
    fixture_close(&f);
}

static void sigv4_canonical__paths_and_queries__one_form(void **state)
{
    (void)state;
    assert_canonical("lambda", "/a%3Ab/~c:d", "/a%253Ab/~c%3Ad\n");
    assert_canonical("s3", "/a%3Ab/~c:d//./x", "/a%3Ab/~c:d//./x\n");
    assert_canonical("lambda", "//a/./b/../c//", "/a/c/\n");
    assert_canonical("lambda", "/../..", "/\n");
    assert_canonical("lambda", "/a/b/..", "/a\n");
    assert_canonical("lambda", "/.well-known/x", "/.well-known/x\n");
    assert_canonical("s3", "/k?uploads", "/k\nuploads=");
    assert_canonical("s3", "/k?b=2&a=2&a=1&&B=3&a", "/k\nB=3&a=&a=1&a=2&b=2");
    assert_canonical("s3", "/k?x=%7e%2f+%c3%bc/", "/k\nx=~%2F%2B%C3%BC%2F");
    assert_canonical("s3", "/k?a-b=1&a=2&aB=3", "/k\na=2&a-b=1&aB=3");
    assert_canonical("s3", "/k?x=a=b", "/k\nx=a%3Db");
}

static void sigv4_canonical__broken_or_endless_query__invalid(void **state)
{
    struct fixture f;
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) query = BUFFER_INIT(BUFFER_UNLIMITED);

    (void)state;
    fixture_open(&f, &put_item);
    set_target(&f, "/?a=%4");
    assert_int_equal(sigv4_canonical_request(&f.request, &f.identity, SLICE_LITERAL(""), &text),
                     ERR_INVALID);
    for (int i = 0; i <= SIGV4_PARAMETERS_MAX; i++)
        buffer_put_text(&query, "a&");
    f.request.query = buffer_slice(&query);
    assert_int_equal(sigv4_canonical_request(&f.request, &f.identity, SLICE_LITERAL(""), &text),
                     ERR_INVALID);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sigv4__recorded_requests__verified),
        cmocka_unit_test(sigv4__presigned_version_2__unsupported),
        cmocka_unit_test(sigv4__any_part_changed__mismatch),
        cmocka_unit_test(sigv4__every_signature_digit_changed__mismatch),
        cmocka_unit_test(sigv4__scope_changed__mismatch),
        cmocka_unit_test(sigv4__body_is_not_the_one_named__payload_mismatch),
        cmocka_unit_test(sigv4__header_that_matters_not_signed__refused),
        cmocka_unit_test(sigv4__unknown_key__said_so),
        cmocka_unit_test(sigv4__secret_changed_after_a_success__cached_key_not_used),
        cmocka_unit_test(sigv4__clocks_apart__five_minutes_allowed_fifteen_for_s3),
        cmocka_unit_test(sigv4__authorization_in_any_spelling__as_the_rules_say),
        cmocka_unit_test(sigv4__bad_dates__malformed),
        cmocka_unit_test(sigv4__two_claims__malformed),
        cmocka_unit_test(sigv4__unsigned__missing),
        cmocka_unit_test(sigv4__presigned_with_bad_parameters__malformed),
        cmocka_unit_test(sigv4_canonical__paths_and_queries__one_form),
        cmocka_unit_test(sigv4_canonical__broken_or_endless_query__invalid),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
