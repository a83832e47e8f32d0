/* skein-sim-planted BUG [options of skein-sim-cluster]: the same clusters with a bug (planted.py);
 * BUG `none` is the sound code. */

#include "tests/sim/cluster_command.h"
#include "tests/sim/planted.h"

#include <stdio.h>
#include <string.h>

int main(int count, char **words)
{
    const char *bug = count > 1 ? words[1] : "";

    if (strcmp(bug, "none") != 0 && !planted_choose(bug)) {
        (void)fprintf(stderr, "skein-sim-planted: not planted: '%s'; there are: none", bug);
        for (size_t i = 0; planted_names[i] != NULL; i++)
            (void)fprintf(stderr, " %s", planted_names[i]);
        (void)fputc('\n', stderr);
        return 2;
    }
    words[1] = words[0];
    return cluster_command(count - 1, words + 1);
}
