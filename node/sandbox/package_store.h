/* Packages unpacked once per node, each in a folder named after its hash. */

#ifndef NODE_SANDBOX_PACKAGE_STORE_H
#define NODE_SANDBOX_PACKAGE_STORE_H

#include "node/sandbox/sandbox.h"

struct package_store { /* embedded */
    struct env *env;
    char folder[SANDBOX_PATH_BYTES]; /* absolute */
    uint64_t count;                  /* of packages ever put */
    bool is_closed;
    void (*on_settled)(struct package_store *store); /* once for each put, last */
};

/* Empties the folder first: what was unpacked in an earlier life was never synced to disk, so after
 * a power loss it might be holes. It comes again from where it is safe. ERR_IO. */
enum error package_store_open(struct package_store *store, struct env *env, const char *folder,
                              void (*on_settled)(struct package_store *store));

/* No callback but on_settled comes any more. */
void package_store_close(struct package_store *store);

/* As env_sandbox.code_find and code_store. */
enum error package_store_find(const struct package_store *store, struct slice sha256,
                              char folder[SANDBOX_PATH_BYTES]);
void package_store_put(struct package_store *store, struct sandbox_code *code, struct slice sha256,
                       struct buffer *zip, sandbox_code_cb cb);

#endif
