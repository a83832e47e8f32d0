/* The words and signs an expression is made of. */

#ifndef NODE_TABLE_EXPRESSION_TOKEN_H
#define NODE_TABLE_EXPRESSION_TOKEN_H

#include "proto/base/arena.h"

enum token_kind {
    TOKEN_END,
    TOKEN_WORD,   /* attribute, AND, size */
    TOKEN_NAME,   /* #name */
    TOKEN_VALUE,  /* :value */
    TOKEN_NUMBER, /* 12 */
    TOKEN_SIGN,   /* = <> < <= > >= ( ) [ ] , . + - */
    TOKEN_UNKNOWN /* anything else */
};

struct token {
    enum token_kind kind;
    struct slice text; /* of TOKEN_END: empty, at the end */
};

struct tokens { /* a cursor over them */
    struct slice text;
    struct token previous; /* text.data NULL before the first */
    struct token at;
};

struct tokens tokens_of(struct slice text);
void tokens_next(struct tokens *tokens);

/* The one behind `at`. */
struct token tokens_peek(const struct tokens *tokens);
bool tokens_at_sign(const struct tokens *tokens, const char *sign);
/* A word in any case; `keyword` in upper case. */
bool token_is_keyword(const struct token *token, const char *keyword);

/* `Syntax error; token: "b", near: "a b c"` about the token at hand. */
const char *tokens_syntax_error(const struct tokens *tokens, struct arena *arena);

#endif
