/* The signed vectors are those of the S3 documentation ("Signature calculations: transferring
 * payload in multiple chunks", with and without trailing headers). */

#include "node/auth/aws_chunked.h"
#include "proto/base/check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define SECRET "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
#define SEED "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
#define CHUNK_1 "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"
#define CHUNK_2 "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"
#define CHUNK_3 "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"
#define TRAILER_SEED "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e"
#define TRAILER_CHUNK_1 "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2"
#define TRAILER_CHUNK_2 "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7"
#define TRAILER_CHUNK_3 "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992"
#define TRAILER_SIGNATURE "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435"
#define DATA_BYTES (65536 + 1024)

struct fixture {
    struct sigv4 *sigv4;
    struct sigv4_identity identity;
    struct aws_chunked chunked;
    struct buffer encoded;
    struct buffer decoded;
};

static enum error find_nothing(void *user, struct slice access_key, struct slice *secret)
{
    (void)user, (void)access_key, (void)secret;
    return ERR_NOT_FOUND;
}

static void fixture_open(struct fixture *f, enum sigv4_payload payload, const char *seed)
{
    *f = (struct fixture){.sigv4 = sigv4_new(find_nothing, NULL),
                          .encoded = BUFFER_INIT(BUFFER_UNLIMITED),
                          .decoded = BUFFER_INIT(BUFFER_UNLIMITED)};
    f->identity =
        (struct sigv4_identity){.payload = payload,
                                .amz_date = SLICE_LITERAL("20130524T000000Z"),
                                .scope = SLICE_LITERAL("20130524/us-east-1/s3/aws4_request"),
                                .signature = slice_text(seed)};
    sigv4_derive_key(f->sigv4, SLICE_LITERAL(SECRET), SLICE_LITERAL("20130524"),
                     SLICE_LITERAL("us-east-1"), SLICE_LITERAL("s3"), f->identity.key);
    aws_chunked_init(&f->chunked, f->sigv4, &f->identity, 100000);
}

static void fixture_close(struct fixture *f)
{
    aws_chunked_close(&f->chunked);
    sigv4_free(f->sigv4);
    buffer_close(&f->encoded);
    buffer_close(&f->decoded);
}

static void put_signed_chunk(struct fixture *f, size_t size, const char *signature)
{
    buffer_putf(&f->encoded, "%zx;chunk-signature=%s\r\n", size, signature);
    for (size_t i = 0; i < size; i++)
        buffer_put_u8(&f->encoded, 'a');
    if (size > 0)
        buffer_put_text(&f->encoded, "\r\n");
}

static void open_signed(struct fixture *f)
{
    fixture_open(f, SIGV4_PAYLOAD_CHUNKS_SIGNED, SEED);
    put_signed_chunk(f, 65536, CHUNK_1);
    put_signed_chunk(f, 1024, CHUNK_2);
    put_signed_chunk(f, 0, CHUNK_3);
    buffer_put_text(&f->encoded, "\r\n");
}

static void open_signed_trailer(struct fixture *f)
{
    fixture_open(f, SIGV4_PAYLOAD_CHUNKS_SIGNED_TRAILER, TRAILER_SEED);
    put_signed_chunk(f, 65536, TRAILER_CHUNK_1);
    put_signed_chunk(f, 1024, TRAILER_CHUNK_2);
    put_signed_chunk(f, 0, TRAILER_CHUNK_3);
    buffer_put_text(&f->encoded, "X-Amz-Checksum-Crc32c: sOO8/Q==\n\r\n"
                                 "x-amz-trailer-signature:" TRAILER_SIGNATURE "\r\n\r\n");
}

static enum error decode(struct fixture *f)
{
    return aws_chunked_decode(&f->chunked, buffer_slice(&f->encoded), &f->decoded);
}

/* Change the first occurrence of `text` in the encoded bytes at `offset` from its start. */
static void tamper(struct fixture *f, const char *text, size_t offset, char to)
{
    uint8_t *found = memmem(f->encoded.data, f->encoded.size, text, strlen(text));

    assert_non_null(found);
    found[offset] = (uint8_t)to;
}

static void aws_chunked__documented_signed_upload__verified(void **state)
{
    struct fixture f;

    (void)state;
    open_signed(&f);
    assert_int_equal(decode(&f), ERR_END);
    assert_int_equal(f.decoded.size, DATA_BYTES);
    fixture_close(&f);
}

static void aws_chunked__documented_trailer_upload__verified(void **state)
{
    struct fixture f;

    (void)state;
    open_signed_trailer(&f);
    assert_int_equal(decode(&f), ERR_END);
    assert_int_equal(f.decoded.size, DATA_BYTES);
    assert_true(
        slice_equal_text(aws_chunked_trailer(&f.chunked, "x-amz-checksum-crc32c"), "sOO8/Q=="));
    assert_null(aws_chunked_trailer(&f.chunked, "x-amz-trailer-signature").data);
    fixture_close(&f);
}

static void aws_chunked__signed_byte_by_byte__verified(void **state)
{
    struct fixture f;
    enum error rc = OK;

    (void)state;
    open_signed_trailer(&f);
    for (size_t i = 0; i < f.encoded.size; i++) {
        assert_int_equal(rc, OK);
        rc = aws_chunked_decode(&f.chunked, slice_of(f.encoded.data + i, 1), &f.decoded);
    }
    assert_int_equal(rc, ERR_END);
    assert_int_equal(f.decoded.size, DATA_BYTES);
    fixture_close(&f);
}

static void aws_chunked__signed_upload_changed__denied(void **state)
{
    struct fixture f;

    (void)state;
#define TAMPER(open, text, offset, to)                                                             \
    do {                                                                                           \
        open(&f);                                                                                  \
        tamper(&f, text, offset, to);                                                              \
        assert_int_equal(decode(&f), ERR_DENIED);                                                  \
        fixture_close(&f);                                                                         \
    } while (0)
    TAMPER(open_signed, "aaaa", 0, 'b');
    TAMPER(open_signed, CHUNK_1, 0, '0');
    TAMPER(open_signed, CHUNK_2, 63, '0');
    TAMPER(open_signed, CHUNK_3, 5, '0');
    TAMPER(open_signed, "chunk-signature", 0, 'C'); /* no signature */
    TAMPER(open_signed_trailer, "sOO8", 0, 'x');
    TAMPER(open_signed_trailer, "Crc32c", 5, 'd');
    TAMPER(open_signed_trailer, TRAILER_SIGNATURE, 0, '0');
    TAMPER(open_signed_trailer, "trailer-signature", 0, 'u'); /* none */
#undef TAMPER
}

static void aws_chunked__signed_chunk_left_out__denied(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, SIGV4_PAYLOAD_CHUNKS_SIGNED, SEED);
    put_signed_chunk(&f, 65536, CHUNK_1);
    put_signed_chunk(&f, 0, CHUNK_3);
    buffer_put_text(&f.encoded, "\r\n");
    assert_int_equal(decode(&f), ERR_DENIED);
    fixture_close(&f);
}

static void aws_chunked__trailers_that_nothing_signs__invalid(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, SIGV4_PAYLOAD_CHUNKS_SIGNED, SEED);
    put_signed_chunk(&f, 65536, CHUNK_1);
    put_signed_chunk(&f, 1024, CHUNK_2);
    put_signed_chunk(&f, 0, CHUNK_3);
    buffer_put_text(&f.encoded, "x-amz-checksum-crc32:rwg7LQ==\r\n\r\n");
    assert_int_equal(decode(&f), ERR_INVALID);
    fixture_close(&f);
}

static void aws_chunked__not_verifying__signatures_ignored(void **state)
{
    struct fixture f;

    (void)state;
    open_signed(&f);
    aws_chunked_close(&f.chunked);
    aws_chunked_init(&f.chunked, NULL, &f.identity, 100000);
    tamper(&f, CHUNK_1, 0, '0');
    assert_int_equal(decode(&f), ERR_END);
    assert_int_equal(f.decoded.size, DATA_BYTES);
    fixture_close(&f);
}

/* As boto3 over https and the JavaScript SDK send it. */
static void aws_chunked__unsigned_with_trailer_in_any_pieces__decoded(void **state)
{
    static const char text[] =
        "c\r\nhello world\n\r\n5;x=y\r\nagain\r\n0\r\nx-amz-checksum-crc32:rwg7LQ==\r\n\r\n";

    (void)state;
    for (size_t split = 0; split < sizeof(text) - 1; split++) {
        const struct slice first = slice_of(text, split);
        const struct slice rest = slice_of(text + split, sizeof(text) - 1 - split);
        struct fixture f;

        fixture_open(&f, SIGV4_PAYLOAD_CHUNKS_UNSIGNED, SEED);
        assert_int_equal(aws_chunked_decode(&f.chunked, first, &f.decoded), OK);
        assert_int_equal(aws_chunked_decode(&f.chunked, rest, &f.decoded), ERR_END);
        assert_true(slice_equal_text(buffer_slice(&f.decoded), "hello world\nagain"));
        assert_true(
            slice_equal_text(aws_chunked_trailer(&f.chunked, "x-amz-checksum-crc32"), "rwg7LQ=="));
        fixture_close(&f);
    }
}

static void aws_chunked__malformed__refused(void **state)
{
    static const struct {
        enum error rc;
        const char *text;
    } cases[] = {
        {ERR_INVALID, "\r\n"},
        {ERR_INVALID, "x\r\n"},
        {ERR_INVALID, "-1\r\n"},
        {ERR_INVALID, "5 \r\nhello\r\n"},
        {ERR_INVALID, "5\r\nhelloX\r\n"},
        {ERR_INVALID, "5\nhello\r\n0\r\n\r\n"},
        {ERR_INVALID, "00000000000000001\r\n"},
        {ERR_INVALID, "0\r\nnocolon\r\n"},
        {ERR_INVALID, "0\r\n:v\r\n"},
        {ERR_INVALID, "0\r\na:b\nc:d\r\n"},
        {ERR_INVALID, "0\r\na\nb:c\r\n"},
        {ERR_INVALID, "0\r\n\r\nX"},
        {ERR_INVALID, "5;chunk-signature=short\r\n"},
        {ERR_TOO_LARGE, "ffffffffffffffff\r\n"},
        {ERR_TOO_LARGE, "186a1\r\n"},
        {OK, "0\r\n"},
        {OK, "5\r\nhell"},
        {ERR_END, "0\r\n\r\n"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct fixture f;

        fixture_open(&f, SIGV4_PAYLOAD_CHUNKS_UNSIGNED, SEED);
        buffer_put_text(&f.encoded, cases[i].text);

        enum error rc = decode(&f);

        if (rc != cases[i].rc)
            fail_msg("%s instead of %s: %s", error_name(rc), error_name(cases[i].rc),
                     cases[i].text);
        fixture_close(&f);
    }
}

static void aws_chunked__endless_line_or_trailers__invalid(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f, SIGV4_PAYLOAD_CHUNKS_UNSIGNED, SEED);
    for (int i = 0; i < 2000; i++)
        buffer_put_u8(&f.encoded, '0');
    assert_int_equal(decode(&f), ERR_INVALID);
    fixture_close(&f);

    fixture_open(&f, SIGV4_PAYLOAD_CHUNKS_UNSIGNED, SEED);
    buffer_put_text(&f.encoded, "0\r\n");
    for (int i = 0; i < 2000; i++)
        buffer_put_text(&f.encoded, "name:value\r\n");
    assert_int_equal(decode(&f), ERR_TOO_LARGE);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(aws_chunked__documented_signed_upload__verified),
        cmocka_unit_test(aws_chunked__documented_trailer_upload__verified),
        cmocka_unit_test(aws_chunked__signed_byte_by_byte__verified),
        cmocka_unit_test(aws_chunked__signed_upload_changed__denied),
        cmocka_unit_test(aws_chunked__signed_chunk_left_out__denied),
        cmocka_unit_test(aws_chunked__trailers_that_nothing_signs__invalid),
        cmocka_unit_test(aws_chunked__not_verifying__signatures_ignored),
        cmocka_unit_test(aws_chunked__unsigned_with_trailer_in_any_pieces__decoded),
        cmocka_unit_test(aws_chunked__malformed__refused),
        cmocka_unit_test(aws_chunked__endless_line_or_trailers__invalid),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
