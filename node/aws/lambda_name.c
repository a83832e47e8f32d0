#include "node/aws/lambda_name.h"

#define PARTS_MAX 8 /* "arn" "aws" "lambda" region account "function" name qualifier */

static bool is_digits(struct slice text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
    }
    return text.size > 0;
}

static bool is_word(struct slice text)
{
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];

        if (!(c >= '0' && c <= '9') && !(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z') &&
            c != '-' && c != '_')
            return false;
    }
    return text.size > 0;
}

/* Parts between colons; 0 when there are too many. */
static size_t split(struct slice text, struct slice parts[PARTS_MAX])
{
    size_t count = 0;

    for (;;) {
        const uint8_t *colon = text.size > 0 ? memchr(text.data, ':', text.size) : NULL;
        size_t size = colon != NULL ? (size_t)(colon - text.data) : text.size;

        if (count == PARTS_MAX)
            return 0;
        parts[count++] = slice_of(text.data, size);
        if (colon == NULL)
            return count;
        text = slice_of(colon + 1, text.size - size - 1);
    }
}

/* How many parts come before the name; PARTS_MAX when they are not what may stand there. */
static size_t prefix_count(const struct slice parts[PARTS_MAX], size_t count)
{
    if (count >= 7 && slice_equal_text(parts[0], "arn"))
        return slice_starts_with(parts[1], SLICE_LITERAL("aws")) && is_word(parts[1]) &&
                       slice_equal_text(parts[2], "lambda") && is_word(parts[3]) &&
                       parts[4].size == 12 && is_digits(parts[4]) &&
                       slice_equal_text(parts[5], "function")
                   ? 6
                   : PARTS_MAX;
    if (count >= 3 && slice_equal_text(parts[1], "function"))
        return parts[0].size == 12 && is_digits(parts[0]) ? 2 : PARTS_MAX;
    if (count >= 2 && count <= 3 && slice_equal_text(parts[0], "function"))
        return 1;
    return 0;
}

static void copy_text(struct slice from, char *to)
{
    memcpy(to, from.data, from.size);
    to[from.size] = 0;
}

enum error lambda_name_parse(struct slice text, struct lambda_name *name)
{
    struct slice parts[PARTS_MAX];
    size_t count = split(text, parts);
    size_t skipped = prefix_count(parts, count);
    struct slice found;
    struct slice qualifier = {0};

    if (count <= skipped || count - skipped > 2)
        return ERR_INVALID;
    found = parts[skipped];
    if (!is_word(found) || found.size > LAMBDA_NAME_BYTES_MAX)
        return ERR_INVALID;
    if (count - skipped == 2) {
        qualifier = parts[skipped + 1];
        if ((!is_word(qualifier) && !slice_equal_text(qualifier, LAMBDA_LATEST)) ||
            qualifier.size > LAMBDA_QUALIFIER_BYTES_MAX)
            return ERR_INVALID;
    }
    *name = (struct lambda_name){0};
    copy_text(found, name->name);
    if (qualifier.size > 0)
        copy_text(qualifier, name->qualifier);
    return OK;
}

enum error lambda_name_parse_integration(struct slice uri, struct lambda_name *name)
{
    static const char path[] = ":lambda:path/";
    static const char functions[] = "/functions/";
    static const char invocations[] = "/invocations";
    const uint8_t *start;

    if (!slice_starts_with(uri, SLICE_LITERAL("arn:aws")))
        return ERR_INVALID;
    if (memmem(uri.data, uri.size, path, sizeof(path) - 1) == NULL)
        return lambda_name_parse(uri, name);
    start = memmem(uri.data, uri.size, functions, sizeof(functions) - 1);
    if (start == NULL || uri.size < sizeof(invocations) ||
        memcmp(uri.data + uri.size - (sizeof(invocations) - 1), invocations,
               sizeof(invocations) - 1) != 0)
        return ERR_INVALID;
    start += sizeof(functions) - 1;
    if (start > uri.data + uri.size - (sizeof(invocations) - 1))
        return ERR_INVALID;
    return lambda_name_parse(
        slice_of(start, (size_t)(uri.data + uri.size - (sizeof(invocations) - 1) - start)), name);
}
