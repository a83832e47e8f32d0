#include "proto/base/error.h"

static const struct {
    const char *name;
    const char *text;
    enum error_effect effect;
} errors[] = {
#define X(name, effect, text) [name] = {#name, text, ERROR_EFFECT_##effect},
    ERROR_MAP(X)
#undef X
};

const char *error_name(enum error rc)
{
    return (unsigned)rc < ERROR_COUNT ? errors[rc].name : "ERR_UNKNOWN";
}

const char *error_text(enum error rc)
{
    return (unsigned)rc < ERROR_COUNT ? errors[rc].text : "unknown error";
}

enum error_effect error_effect(enum error rc)
{
    return (unsigned)rc < ERROR_COUNT ? errors[rc].effect : ERROR_EFFECT_MAYBE;
}
