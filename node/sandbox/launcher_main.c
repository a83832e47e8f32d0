/* The launcher of programs: its children become node, or the `bootstrap` of a custom runtime.
 *
 * bootstrap is the function's own and starts when there is a function. node starts before and waits
 * in bootstrap.js, where the sandbox can be sealed that early. */

#include "node/sandbox/launcher.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENVIRONMENT_MAX 1024
#define SOURCE_BYTES_MAX (1u << 20)

/* Descriptors of node's process (bootstrap.js), and where the node puts the source for us. */
#define ORDER_FD 3
#define SOURCE_FD 4
#define GIVEN_SOURCE_FD 5

/* It reserves far more than it ever uses. */
#define NODE_ADDRESS_SLACK_MB 16384u

struct source { /* of bootstrap.js; the launcher has no descriptors open that a child could find */
    char *bytes;
    size_t size;
};

static void run_bootstrap(const char *block, size_t bytes)
{
    char *arguments[] = {(char *)"bootstrap", NULL};
    char *environment[ENVIRONMENT_MAX + 1];
    size_t count = 0;

    for (const char *at = block; at < block + bytes && count < ENVIRONMENT_MAX;
         at += strlen(at) + 1)
        environment[count++] = (char *)at;
    environment[count] = NULL;
    execve("bootstrap", arguments, environment);
    perror("cannot run bootstrap");
}

static bool read_source(struct source *source)
{
    struct stat status;

    if (fstat(GIVEN_SOURCE_FD, &status) != 0 || status.st_size > SOURCE_BYTES_MAX)
        return false;
    source->size = (size_t)status.st_size;
    source->bytes = malloc(source->size);
    return source->bytes != NULL &&
           pread(GIVEN_SOURCE_FD, source->bytes, source->size, 0) == (ssize_t)source->size;
}

/* A file in memory, at its start; -1 if there is none to be had. */
static int open_memory(const char *name, const char *bytes, size_t size)
{
    int fd = memfd_create(name, 0);

    if (fd >= 0 && (write(fd, bytes, size) != (ssize_t)size || lseek(fd, 0, SEEK_SET) != 0))
        return -1;
    return fd;
}

/* V8 cannot be told a function's memory once it runs. So its own limit is the most a function can
 * have, and the sandbox's is what counts; the early first collection keeps garbage below it. */
static void run_node(struct launcher *launcher, const char *node, const struct source *source)
{
    char *arguments[] = {(char *)"node",
                         (char *)"--max-old-space-size=10240",
                         (char *)"--initial-old-space-size=32",
                         (char *)"--max-semi-space-size=4",
                         (char *)"-e",
                         (char *)"new(require('vm').Script)(require('fs').readFileSync(4,'utf8'),"
                                 "{filename:'/var/runtime/index.mjs'})"
                                 ".runInThisContext()(require,(url)=>import(url))",
                         NULL};
    /* as functions have it (process_environment.c) unless they ask for something else */
    char *environment[] = {(char *)"LD_LIBRARY_PATH=/var/task:/var/task/lib:/opt/lib", NULL};
    int order = launcher_seal_early(launcher);
    int script;

    if (order < 0) {
        size_t bytes;
        const char *block = launcher_await(launcher, &bytes);

        order = open_memory("order", block, bytes);
    }
    script = open_memory("source", source->bytes, source->size);
    if (order < 0 || script < 0 || dup2(script, GIVEN_SOURCE_FD) < 0 || dup2(order, ORDER_FD) < 0 ||
        dup2(GIVEN_SOURCE_FD, SOURCE_FD) < 0 || close_range(SOURCE_FD + 1, ~0u, 0) != 0) {
        perror("sandbox: descriptors");
        return;
    }
    execve(node, arguments, environment);
    perror("cannot run node");
}

/* launcher CONTROL-FD FOLDER INSTANCE UID-BASE TIER-BEST TIER-WORST [NODE] */
int main(int argc, char **argv)
{
    struct source source = {0};
    struct launcher *launcher;
    const char *block;
    size_t bytes;

    if (argc != 7 && argc != 8)
        return 2;
    (void)prctl(PR_SET_NAME, "skein-launcher", 0, 0, 0); /* else its name would be a number */
    if (argc == 8 && !read_source(&source))
        return 1;
    launcher =
        launcher_open(atoi(argv[1]), argv[2], argv[3], (uint32_t)strtoul(argv[4], NULL, 10),
                      (uint32_t)strtoul(argv[5], NULL, 10), (uint32_t)strtoul(argv[6], NULL, 10));
    if (launcher == NULL)
        return 1;
    if (argc == 8)
        launcher_allow_addresses(launcher, NODE_ADDRESS_SLACK_MB);
    launcher_serve(launcher, fork);
    if (argc == 8) {
        run_node(launcher, argv[7], &source);
        return 126;
    }
    block = launcher_await(launcher, &bytes);
    run_bootstrap(block, bytes);
    return 126;
}
