/* A cluster on this machine: its folder, its daemons, its keys.
 *
 *   DATA/cluster.conf    who is in it (proto/base/cluster_file.h)
 *   DATA/credentials     the access key pair, for people and tools (0600)
 *   DATA/NAME/           one daemon (daemon.h)
 *
 * Or, for one that spans several: with a network in its plan every process has an address of its
 * own. Whoever makes those addresses says with DATA/NAME/launch how to start a process there. */

#ifndef DEPLOY_CLUSTER_H
#define DEPLOY_CLUSTER_H

#include "deploy/daemon.h"
#include "deploy/keys.h"
#include "proto/base/cluster_file.h"

#define CLUSTER_PATH_BYTES 400
#define CLUSTER_REGIONS_MAX 16

struct cluster {
    char data[CLUSTER_PATH_BYTES];
    struct cluster_file file;
    struct daemon *daemons; /* controllers first, in the file's order */
    size_t daemon_count;
    size_t controller_count;
    char access_key[KEYS_ACCESS_TEXT_BYTES];
    char secret[KEYS_SECRET_TEXT_BYTES];
    const char *regions[CLUSTER_REGIONS_MAX]; /* in order of first appearance */
    size_t region_count;
};

struct cluster_plan { /* of a new one */
    unsigned nodes;
    unsigned regions;
    unsigned controllers;
    unsigned shards;
    unsigned replicas;
    uint16_t port;
    bool any_key;
    const char *wan; /* "us-east-1:eu-west-1=80ms,..." or NULL */
    /* "10.77": node N of region R (from 0) has the address 10.77.R.N, controller N 10.77.R.(100+N),
     * and all of them the same ports; NULL: everything is on 127.0.0.1. */
    const char *network;
};

/* With parents; OK when it is there. */
enum error cluster_make_folder(const char *path);

/* DATA from --data, else the user's state folder. */
void cluster_default_data(char data[CLUSTER_PATH_BYTES]);

/* ERR_NOT_FOUND: there is none in that folder. ERR_INVALID: `why` says what is wrong with its
 * files. */
enum error cluster_load(const char *data, struct cluster *cluster, char why[ERROR_WHY_BYTES]);
/* Writes the files of a new one. ERR_EXISTS. ERR_NO_CAPACITY: no free ports.
 * ERR_DENIED: the port that all nodes share is somebody else's. */
enum error cluster_make(const char *data, const struct cluster_plan *plan,
                        char why[ERROR_WHY_BYTES]);
void cluster_close(struct cluster *cluster);

struct daemon *cluster_find(struct cluster *cluster, const char *name); /* NULL */
/* "us-east-1" of "node-1". */
const char *cluster_region_of(const struct cluster *cluster, const struct daemon *daemon);

#endif
