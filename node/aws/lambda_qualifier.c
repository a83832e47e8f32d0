#include "node/aws/lambda_qualifier.h"

#include "node/aws/aws_wire.h"
#include "node/aws/lambda_call.h"

#include <stdlib.h>

#define DIGITS_MAX 18

enum error lambda_qualifier_parse(const char *text, uint64_t *version)
{
    size_t size = strlen(text);

    if (strcmp(text, LAMBDA_LATEST) == 0) {
        *version = 0;
        return OK;
    }
    if (size == 0 || size > DIGITS_MAX || text[0] == '0' || strspn(text, "0123456789") != size)
        return ERR_INVALID;
    *version = strtoull(text, NULL, 10);
    return OK;
}

/* `env` decides between the two versions of an alias. */
static uint64_t choose(const Skein__Wire__FunctionAlias *alias, struct env *env)
{
    /* 53 random bits make every double from 0 to below 1 */
    double dice = (double)(env_random(env) >> 11) / (double)(1ull << 53);

    return alias->other_version != 0 && dice < alias->other_weight ? alias->other_version
                                                                   : alias->version;
}

static bool is_there(const struct lambda_options *with, const char *key)
{
    struct slice value;

    return view_get(with->view, key, &value, NULL) == OK;
}

enum error lambda_qualifier_resolve(const struct lambda_options *with, struct arena *arena,
                                    const struct lambda_name *name, uint64_t *version)
{
    ProtobufCAllocator allocator = aws_wire_allocator(arena);
    const Skein__Wire__FunctionAlias *alias;
    uint64_t found = 0;
    struct slice value;

    if (name->qualifier[0] != '\0' && lambda_qualifier_parse(name->qualifier, &found) != OK) {
        if (view_get(with->view, lambda_call_alias_key(arena, name->name, name->qualifier), &value,
                     NULL) != OK)
            return ERR_NOT_FOUND;
        alias = skein__wire__function_alias__unpack(&allocator, value.size, value.data);
        if (alias == NULL)
            return ERR_NOT_FOUND;
        found = choose(alias, with->env);
    }
    if (!is_there(with, found == 0 ? lambda_call_function_key(arena, name->name)
                                   : lambda_call_version_key(arena, name->name, found)))
        return ERR_NOT_FOUND;
    *version = found;
    return OK;
}
