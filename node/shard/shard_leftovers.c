#include "node/shard/shard_leftovers.h"

#include "proto/base/log.h"

#include <stdio.h>
#include <stdlib.h>

#define PATH_BYTES 80

static void note_store(void *user, const char *name)
{
    struct shard_leftovers *leftovers = user;
    char *end;
    unsigned long shard = strtoul(name, &end, 10);

    if (end != name && *end == '\0')
        (void)map_set_u64(&leftovers->stores, shard, leftovers);
}

void shard_leftovers_find(struct shard_leftovers *leftovers, struct env *env, const char *folder)
{
    enum error rc;

    *leftovers = (struct shard_leftovers){.env = env, .folder = folder};
    map_init(&leftovers->stores);
    rc = env->disk->list(env, folder, leftovers, note_store);
    if (rc != OK && rc != ERR_NOT_FOUND)
        log_warn("shard.folder_unreadable folder=%s error=%s", folder, error_name(rc));
}

void shard_leftovers_close(struct shard_leftovers *leftovers)
{
    map_close(&leftovers->stores);
}

bool shard_leftovers_take(struct shard_leftovers *leftovers, uint32_t shard)
{
    return map_remove_u64(&leftovers->stores, shard) != NULL;
}

static enum error open_mark(const struct shard_leftovers *leftovers, uint32_t shard, bool create,
                            struct env_file **file)
{
    char path[PATH_BYTES];

    (void)snprintf(path, sizeof(path), "%s/%04u.forgotten", leftovers->folder, shard);
    return leftovers->env->disk->open(leftovers->env, path, create, file);
}

enum error shard_leftovers_mark(const struct shard_leftovers *leftovers, uint32_t shard)
{
    struct env *env = leftovers->env;
    struct env_file *file;
    enum error rc = open_mark(leftovers, shard, true, &file);

    if (rc != OK)
        return rc;
    rc = env->disk->resize(env, file, 1); /* what makes it durable */
    env->disk->close(env, file);
    return rc;
}

bool shard_leftovers_is_marked(const struct shard_leftovers *leftovers, uint32_t shard)
{
    struct env *env = leftovers->env;
    struct env_file *file;
    enum error rc = open_mark(leftovers, shard, false, &file);

    if (rc == OK)
        env->disk->close(env, file);
    return rc != ERR_NOT_FOUND;
}
