/* The native launcher: its children become the `bootstrap` program of a custom runtime. */

#include "node/sandbox/launcher.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define ENVIRONMENT_MAX 1024

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

/* launcher CONTROL-FD FOLDER INSTANCE UID-BASE TIER-BEST TIER-WORST */
int main(int argc, char **argv)
{
    struct launcher *launcher;
    const char *block;
    size_t bytes;

    if (argc != 7)
        return 2;
    (void)prctl(PR_SET_NAME, "skein-launcher", 0, 0, 0); /* else its name would be a number */
    launcher =
        launcher_open(atoi(argv[1]), argv[2], argv[3], (uint32_t)strtoul(argv[4], NULL, 10),
                      (uint32_t)strtoul(argv[5], NULL, 10), (uint32_t)strtoul(argv[6], NULL, 10));
    if (launcher == NULL)
        return 1;
    launcher_serve(launcher, fork);
    block = launcher_await(launcher, &bytes);
    run_bootstrap(block, bytes);
    return 126;
}
