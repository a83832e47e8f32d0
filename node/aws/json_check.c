#include "node/aws/json_check.h"

#include "proto/base/check.h"
#include "proto/base/utf8.h"

struct parser {
    const uint8_t *at;
    const uint8_t *end;
    size_t depth;
    size_t depth_max;
    uint8_t open[JSON_CHECK_DEPTH_MAX]; /* '{' or '[' */
};

static void skip_space(struct parser *parser)
{
    while (parser->at < parser->end && (*parser->at == ' ' || *parser->at == '\t' ||
                                        *parser->at == '\n' || *parser->at == '\r'))
        parser->at++;
}

static bool take(struct parser *parser, uint8_t wanted)
{
    if (parser->at == parser->end || *parser->at != wanted)
        return false;
    parser->at++;
    return true;
}

static bool take_word(struct parser *parser, const char *word)
{
    size_t size = strlen(word);

    if ((size_t)(parser->end - parser->at) < size || memcmp(parser->at, word, size) != 0)
        return false;
    parser->at += size;
    return true;
}

static bool take_digits(struct parser *parser)
{
    const uint8_t *start = parser->at;

    while (parser->at < parser->end && *parser->at >= '0' && *parser->at <= '9')
        parser->at++;
    return parser->at > start;
}

static bool take_number(struct parser *parser)
{
    take(parser, '-');
    if (!take(parser, '0') && !take_digits(parser))
        return false;
    if (take(parser, '.') && !take_digits(parser))
        return false;
    if (!take(parser, 'e') && !take(parser, 'E'))
        return true;
    if (!take(parser, '+'))
        take(parser, '-');
    return take_digits(parser);
}

static bool is_hex(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool take_escape(struct parser *parser)
{
    uint8_t c = parser->at < parser->end ? *parser->at++ : 0;

    if (c != 'u')
        return c != 0 && strchr("\"\\/bfnrt", c) != NULL;
    for (size_t i = 0; i < 4; i++) {
        if (parser->at == parser->end || !is_hex(*parser->at))
            return false;
        parser->at++;
    }
    return true;
}

static bool take_string(struct parser *parser)
{
    if (!take(parser, '"'))
        return false;
    while (parser->at < parser->end) {
        uint8_t c = *parser->at++;

        if (c == '"')
            return true;
        if (c < 0x20 || (c == '\\' && !take_escape(parser)))
            return false;
    }
    return false;
}

/* The key and the colon before a member's value. */
static bool take_key(struct parser *parser)
{
    skip_space(parser);
    if (!take_string(parser))
        return false;
    skip_space(parser);
    return take(parser, ':');
}

/* A scalar. */
static bool take_scalar(struct parser *parser)
{
    if (parser->at == parser->end)
        return false;
    switch (*parser->at) {
    case '"':
        return take_string(parser);
    case 't':
        return take_word(parser, "true");
    case 'f':
        return take_word(parser, "false");
    case 'n':
        return take_word(parser, "null");
    default:
        return take_number(parser);
    }
}

/* After a value: close what ends here. Then either nothing is open, or a comma (and in an object a
 * key) leads to the next value. */
static bool take_end(struct parser *parser)
{
    while (parser->depth > 0) {
        uint8_t open = parser->open[parser->depth - 1];

        skip_space(parser);
        if (take(parser, ','))
            return open == '[' || take_key(parser);
        if (!take(parser, open == '[' ? ']' : '}'))
            return false;
        parser->depth--;
    }
    return true;
}

/* An opening bracket. `is_empty`: it was closed at once, so a whole value was read. */
static bool take_open(struct parser *parser, bool *is_empty)
{
    uint8_t open = *parser->at++;

    *is_empty = false;
    if (parser->depth == parser->depth_max)
        return false;
    skip_space(parser);
    if (take(parser, open == '[' ? ']' : '}')) {
        *is_empty = true;
        return true;
    }
    parser->open[parser->depth++] = open;
    return open == '[' || take_key(parser);
}

bool json_check(struct slice text, size_t depth_max)
{
    struct parser parser = {.at = text.data, .end = text.data + text.size, .depth_max = depth_max};
    bool is_whole;

    CHECK(depth_max <= JSON_CHECK_DEPTH_MAX);
    if (text.size == 0 || !utf8_is_valid(text))
        return false;
    do {
        is_whole = true;
        skip_space(&parser);
        if (parser.at < parser.end && (*parser.at == '[' || *parser.at == '{')) {
            if (!take_open(&parser, &is_whole))
                return false;
        } else if (!take_scalar(&parser)) {
            return false;
        }
        if (is_whole && !take_end(&parser))
            return false;
    } while (!is_whole || parser.depth > 0);
    skip_space(&parser);
    return parser.at == parser.end;
}
