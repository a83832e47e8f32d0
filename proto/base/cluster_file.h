/* The cluster file: who belongs to a cluster and how to reach it. Plain text, the same file for
 * every process:
 *
 *   # NAME is of letters, digits, '-', '_' and '.'; a line's words are separated by blanks
 *   shards 12
 *   replicas 3
 *   port 4566
 *   controller 100001 controller-1 us-east-1 tcp://127.0.0.1:7101 PUBLICKEY
 *   node 1 node-1 us-east-1 tcp://127.0.0.1:7001 PUBLICKEY 127.0.0.1:4571
 *
 * PUBLICKEY is the process's CURVE key, 40 characters of Z85. `port` is the one all nodes share;
 * the last word of a node is its own HTTP address. Strict: whatever is not understood is an error
 * with its line number. */

#ifndef PROTO_BASE_CLUSTER_FILE_H
#define PROTO_BASE_CLUSTER_FILE_H

#include "proto/base/buffer.h"

#define CLUSTER_FILE_BYTES_MAX (1u << 20)
#define CLUSTER_FILE_NAME_MAX 32
#define CLUSTER_FILE_CONTROLLERS_MAX 9
#define CLUSTER_FILE_NODES_MAX 4096
#define CLUSTER_FILE_SHARDS_MAX 1000
#define CLUSTER_FILE_CONTROLLER_ID_MIN 100000u /* as ENV_CONTROLLER_ID_MIN */

struct cluster_process {
    uint64_t id;
    char name[CLUSTER_FILE_NAME_MAX + 1];
    char region[CLUSTER_FILE_NAME_MAX + 1];
    char endpoint[128];
    char public_key[41];
    char http_address[128]; /* empty for controllers */
};

struct cluster_file {
    uint32_t shards;                     /* 12 unless the file says otherwise */
    uint32_t replicas;                   /* 3 */
    uint16_t port;                       /* 4566 */
    struct cluster_process *controllers; /* in the file's order */
    size_t controller_count;
    struct cluster_process *nodes;
    size_t node_count;
};

void cluster_file_init(struct cluster_file *file); /* empty, with the defaults */
void cluster_file_close(struct cluster_file *file);

/* Fills an empty `file`. ERR_INVALID, ERR_TOO_LARGE: it is still empty, and `why` says what is
 * wrong, beginning with "line N: " when it is a line. */
enum error cluster_file_parse(struct slice text, struct cluster_file *file,
                              char why[ERROR_WHY_BYTES]);

/* Appends the text that parses to the same file. */
void cluster_file_write(const struct cluster_file *file, struct buffer *text);

/* Copies a process in; controllers and nodes are told apart by id. ERR_EXISTS: id, name or endpoint
 * is taken. ERR_INVALID: a field has not the form above. ERR_TOO_LARGE: too many. */
enum error cluster_file_add(struct cluster_file *file, const struct cluster_process *process);

const struct cluster_process *cluster_file_find(const struct cluster_file *file, uint64_t id);
const struct cluster_process *cluster_file_find_name(const struct cluster_file *file,
                                                     const char *name);

/* The machine a process runs on, as far as the file tells: the host part of its endpoint. */
struct slice cluster_process_host(const struct cluster_process *process);

#endif
