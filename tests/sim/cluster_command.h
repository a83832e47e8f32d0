/* The command line of skein-sim-cluster: many seeds, a summary, the exit code. */

#ifndef TESTS_SIM_CLUSTER_COMMAND_H
#define TESTS_SIM_CLUSTER_COMMAND_H

int cluster_command(int count, char **words);

#endif
