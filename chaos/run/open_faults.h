/* What is broken at the moment, on disk: DATA/chaos/open, one line for each fault, written before
 * the fault and taken out after its undo. Whoever comes later, whatever became of the runner,
 * finds there what to undo (heal.h).
 *
 * And the lock that only one may break things at a time: DATA/chaos/lock. */

#ifndef CHAOS_RUN_OPEN_FAULTS_H
#define CHAOS_RUN_OPEN_FAULTS_H

#include "deploy/target.h"

#define OPEN_FAULTS_MAX 128

struct open_fault {
    unsigned id;
    uint64_t until_ms; /* wall clock; when its undo is due */
    char what[32];     /* "kill" */
    char scenario[64];
    char names[200]; /* of processes, with blanks between */
};

struct open_faults {
    char path[500];
    struct open_fault list[OPEN_FAULTS_MAX];
    size_t count;
};

/* What the file of that cluster says; none when there is no file. */
void open_faults_load(const struct cluster *cluster, struct open_faults *faults);
bool open_faults_exist(const struct cluster *cluster);

/* Written when this returns. ERR_TOO_LARGE, ERR_IO: then nothing may be broken. */
enum error open_faults_add(struct open_faults *faults, const struct open_fault *fault);
void open_faults_remove(struct open_faults *faults, unsigned id);
void open_faults_clear(struct open_faults *faults);

/* A descriptor that holds the lock until it is closed, or the process ends. -1: process *holder
 * has it. -2: it cannot be had at all. */
int open_faults_lock(const struct cluster *cluster, pid_t *holder);

#endif
