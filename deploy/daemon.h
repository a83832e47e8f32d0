/* The daemons of a laptop cluster: started in the background, found again, signalled.
 *
 * Each has a folder DATA/NAME with its configuration (daemon.conf), its log (log), its process id
 * (pid) and its own data (data/). A pid is believed only while /proc says that the process runs
 * with this folder's configuration, so a recycled number is never signalled.
 *
 * Where there is an executable file DATA/NAME/launch, it is started instead, with the command line
 * as its arguments, and has to become that process: it is where a namespace is entered, or a
 * processor chosen. */

#ifndef DEPLOY_DAEMON_H
#define DEPLOY_DAEMON_H

#include "proto/base/error.h"

#include <stdbool.h>
#include <sys/types.h>

struct daemon {
    char name[32];    /* "node-3" */
    char folder[512]; /* DATA/node-3 */
    bool is_controller;
};

/* Start it, detached from this terminal, its output appended to its log. OK also when it runs
 * already. ERR_NOT_FOUND: no such program beside this one. ERR_IO. */
enum error daemon_start(const struct daemon *daemon);

/* 0 when it does not run. */
pid_t daemon_pid(const struct daemon *daemon);

/* It runs, and was stopped with SIGSTOP. */
bool daemon_is_paused(const struct daemon *daemon);

/* ERR_NOT_FOUND when it does not run. */
enum error daemon_signal(const struct daemon *daemon, int signal);

/* The last line of its log. */
void daemon_last_words(const struct daemon *daemon, char *words, size_t bytes);

/* Wait until it has ended, `timeout_ms` at most. ERR_TIMEOUT. */
enum error daemon_wait(const struct daemon *daemon, unsigned timeout_ms);

#endif
