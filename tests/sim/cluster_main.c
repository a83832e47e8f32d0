/* skein-sim-cluster: whole clusters under faults, each from one seed (cluster.h). */

#include "tests/sim/cluster_command.h"

int main(int count, char **words)
{
    return cluster_command(count, words);
}
