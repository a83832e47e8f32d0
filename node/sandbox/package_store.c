#include "node/sandbox/package_store.h"

#include "node/sandbox/package.h"
#include "proto/base/check.h"
#include "proto/base/encode.h"
#include "proto/base/log.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* One package on its way. */
struct unpack {
    struct env_work work;
    struct package_store *store;
    struct sandbox_code *code;
    struct buffer zip;
    uint8_t sha256[SANDBOX_SHA256_BYTES];
    char folder[SANDBOX_PATH_BYTES];
    char temporary[SANDBOX_PATH_BYTES + 32];
    char why[ERROR_WHY_BYTES];
    enum error rc;
};

enum error package_store_open(struct package_store *store, struct env *env, const char *folder,
                              void (*on_settled)(struct package_store *store))
{
    *store = (struct package_store){.env = env, .on_settled = on_settled};
    if (strlen(folder) + 2 * SANDBOX_SHA256_BYTES + 2 > sizeof(store->folder))
        return ERR_IO;
    snprintf(store->folder, sizeof(store->folder), "%s", folder);
    if (access(folder, F_OK) == 0 && package_remove(folder) != OK)
        return ERR_IO;
    return mkdir(folder, 0755) == 0 ? OK : ERR_IO;
}

void package_store_close(struct package_store *store)
{
    store->is_closed = true;
}

static void name_folder(const struct package_store *store, struct slice sha256,
                        char folder[SANDBOX_PATH_BYTES])
{
    char hex[2 * SANDBOX_SHA256_BYTES + 1] = "none";

    if (sha256.size == SANDBOX_SHA256_BYTES)
        encode_hex(sha256, hex);
    snprintf(folder, SANDBOX_PATH_BYTES, "%.*s/%s",
             SANDBOX_PATH_BYTES - 2 * SANDBOX_SHA256_BYTES - 2, store->folder, hex);
}

enum error package_store_find(const struct package_store *store, struct slice sha256,
                              char folder[SANDBOX_PATH_BYTES])
{
    char path[SANDBOX_PATH_BYTES];

    name_folder(store, sha256, path);
    if (access(path, F_OK) != 0)
        return ERR_NOT_FOUND;
    memcpy(folder, path, sizeof(path));
    return OK;
}

static void unpack_on_worker(struct env_work *work)
{
    struct unpack *unpack = container_of(work, struct unpack, work);
    uint8_t sha256[EVP_MAX_MD_SIZE];
    unsigned size = 0;

    CHECK(EVP_Digest(unpack->zip.data, unpack->zip.size, sha256, &size, EVP_sha256(), NULL) == 1);
    if (memcmp(sha256, unpack->sha256, SANDBOX_SHA256_BYTES) != 0) {
        snprintf(unpack->why, sizeof(unpack->why), "hash does not match");
        unpack->rc = ERR_CORRUPT;
        return;
    }
    unpack->rc = package_unpack(buffer_slice(&unpack->zip), unpack->temporary, NULL, unpack->why);
    if (unpack->rc != OK || rename(unpack->temporary, unpack->folder) == 0)
        return;
    /* somebody else may have been quicker with the same package */
    unpack->rc = access(unpack->folder, F_OK) == 0 ? OK : ERR_IO;
    if (package_remove(unpack->temporary) != OK)
        snprintf(unpack->why, sizeof(unpack->why), "cannot remove the temporary folder");
}

static void unpack_on_done(struct env_work *work)
{
    struct unpack *unpack = container_of(work, struct unpack, work);
    struct package_store *store = unpack->store;

    if (unpack->rc != OK)
        log_warn("package_store.unpack rc=%s why=\"%s\"", error_name(unpack->rc), unpack->why);
    if (!store->is_closed)
        unpack->code->cb(unpack->code, unpack->rc, unpack->folder);
    buffer_close(&unpack->zip);
    free(unpack);
    store->on_settled(store);
}

void package_store_put(struct package_store *store, struct sandbox_code *code, struct slice sha256,
                       struct buffer *zip, sandbox_code_cb cb)
{
    struct unpack *unpack = check_calloc(1, sizeof(*unpack));

    code->cb = cb;
    unpack->store = store;
    unpack->code = code;
    unpack->zip = buffer_take(zip);
    if (sha256.size == sizeof(unpack->sha256))
        memcpy(unpack->sha256, sha256.data, sizeof(unpack->sha256));
    name_folder(store, sha256, unpack->folder);
    snprintf(unpack->temporary, sizeof(unpack->temporary), "%s.%" PRIu64, unpack->folder,
             ++store->count);
    unpack->work.run = unpack_on_worker;
    unpack->work.done = unpack_on_done;
    store->env->worker->queue(store->env, &unpack->work);
}
