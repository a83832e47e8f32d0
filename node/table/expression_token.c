#include "node/table/expression_token.h"

static bool is_letter(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static size_t word_size(struct slice text, size_t from)
{
    size_t at = from;

    while (at < text.size && (is_letter(text.data[at]) || is_digit(text.data[at])))
        at++;
    return at - from;
}

static size_t sign_size(struct slice text)
{
    if (text.data[0] == '<' && text.size > 1 && (text.data[1] == '>' || text.data[1] == '='))
        return 2;
    if (text.data[0] == '>' && text.size > 1 && text.data[1] == '=')
        return 2;
    return memchr("=<>()[],.+-", text.data[0], 11) != NULL;
}

/* The first token of `text`, which starts with no space. */
static struct token read_token(struct slice text)
{
    struct token token = {TOKEN_UNKNOWN, slice_of(text.data, text.size > 0)};
    size_t size;

    if (text.size == 0) {
        token.kind = TOKEN_END;
    } else if (is_letter(text.data[0]) && text.data[0] != '_') {
        token.kind = TOKEN_WORD;
        token.text.size = word_size(text, 0);
    } else if (text.data[0] == '#' || text.data[0] == ':') {
        token.text.size = 1 + word_size(text, 1);
        if (token.text.size > 1)
            token.kind = text.data[0] == '#' ? TOKEN_NAME : TOKEN_VALUE;
    } else if (is_digit(text.data[0])) {
        bool is_number = true;

        token.text.size = word_size(text, 0);
        for (size_t i = 0; i < token.text.size; i++)
            is_number = is_number && is_digit(text.data[i]);
        if (is_number)
            token.kind = TOKEN_NUMBER;
    } else if ((size = sign_size(text)) > 0) {
        token.kind = TOKEN_SIGN;
        token.text.size = size;
    }
    return token;
}

static struct token token_from(struct slice text, const uint8_t *at)
{
    const uint8_t *end = text.data + text.size;

    while (at < end && is_space(*at))
        at++;
    return read_token(slice_of(at, (size_t)(end - at)));
}

struct tokens tokens_of(struct slice text)
{
    struct tokens tokens = {.text = text};

    tokens.at = token_from(text, text.data);
    return tokens;
}

struct token tokens_peek(const struct tokens *tokens)
{
    return token_from(tokens->text, tokens->at.text.data + tokens->at.text.size);
}

void tokens_next(struct tokens *tokens)
{
    struct token next = tokens_peek(tokens);

    tokens->previous = tokens->at;
    tokens->at = next;
}

bool tokens_at_sign(const struct tokens *tokens, const char *sign)
{
    return tokens->at.kind == TOKEN_SIGN && slice_equal_text(tokens->at.text, sign);
}

bool token_is_keyword(const struct token *token, const char *keyword)
{
    if (token->kind != TOKEN_WORD || token->text.size != strlen(keyword))
        return false;
    for (size_t i = 0; i < token->text.size; i++)
        if ((token->text.data[i] & ~0x20) != keyword[i])
            return false;
    return true;
}

const char *tokens_syntax_error(const struct tokens *tokens, struct arena *arena)
{
    struct token next = tokens_peek(tokens);
    const uint8_t *from =
        tokens->previous.text.data != NULL ? tokens->previous.text.data : tokens->at.text.data;
    const uint8_t *to = next.text.data + next.text.size;
    bool is_end = tokens->at.kind == TOKEN_END;

    while (to > from && is_space(to[-1]))
        to--;
    return arena_printf(arena, "Syntax error; token: \"%.*s\", near: \"%.*s\"",
                        is_end ? 5 : (int)tokens->at.text.size,
                        is_end ? "<EOF>" : (const char *)tokens->at.text.data, (int)(to - from),
                        (const char *)from);
}
