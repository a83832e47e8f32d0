#include "deploy/ports.h"

#include "deploy/cluster.h"
#include "proto/base/check.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATH_BYTES 768
#define CLUSTERS_MAX 1000

/* ---- what a cluster has ---- */

static void add_owner(struct ports *ports, unsigned port)
{
    if (port == 0 || port > UINT16_MAX)
        return;
    ports->owners = check_realloc(ports->owners, (ports->owner_count + 1) * sizeof(*ports->owners));
    ports->owners[ports->owner_count++] =
        (struct port_owner){(uint16_t)port, ports->cluster_count - 1};
}

/* "tcp://127.0.0.1:7001", "127.0.0.1:4571" */
static void add_address(struct ports *ports, const char *address)
{
    const char *colon = strrchr(address, ':');

    if (colon != NULL)
        add_owner(ports, (unsigned)strtoul(colon + 1, NULL, 10));
}

/* Forgets it when its folder holds no cluster any more. */
static void add_cluster(struct ports *ports, const char *data)
{
    char why[ERROR_WHY_BYTES];
    struct cluster cluster;

    if (ports->cluster_count == CLUSTERS_MAX || cluster_load(data, &cluster, why) != OK)
        return;
    ports->clusters =
        check_realloc(ports->clusters, (ports->cluster_count + 1) * sizeof(*ports->clusters));
    ports->clusters[ports->cluster_count++] = check_strdup(data);
    add_owner(ports, cluster.file.port);
    for (size_t i = 0; i < cluster.file.controller_count; i++)
        add_address(ports, cluster.file.controllers[i].endpoint);
    for (size_t i = 0; i < cluster.file.node_count; i++) {
        add_address(ports, cluster.file.nodes[i].endpoint);
        add_address(ports, cluster.file.nodes[i].http_address);
    }
    cluster_close(&cluster);
}

/* ---- the list ---- */

static void list_path(char path[PATH_BYTES])
{
    char data[CLUSTER_PATH_BYTES];

    cluster_default_data(data); /* STATE/skein */
    (void)snprintf(path, PATH_BYTES, "%s-clusters", data);
}

static void read_list(struct ports *ports, const char *own_data)
{
    int copy = dup(ports->lock);
    FILE *file = copy >= 0 ? fdopen(copy, "r") : NULL;
    char line[PATH_BYTES];

    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (strcmp(line, own_data) != 0)
            add_cluster(ports, line);
    }
    if (file != NULL)
        (void)fclose(file);
    else if (copy >= 0)
        (void)close(copy);
}

static void write_list(const struct ports *ports, const char *own_data)
{
    if (ftruncate(ports->lock, 0) < 0 || lseek(ports->lock, 0, SEEK_SET) < 0)
        return;
    for (size_t i = 0; i < ports->cluster_count; i++)
        (void)dprintf(ports->lock, "%s\n", ports->clusters[i]);
    (void)dprintf(ports->lock, "%s\n", own_data);
}

void ports_open(struct ports *ports, const char *own_data)
{
    char path[PATH_BYTES];
    char parent[PATH_BYTES];

    *ports = (struct ports){0};
    list_path(path);
    (void)snprintf(parent, sizeof(parent), "%s", path);
    *strrchr(parent, '/') = '\0';
    ports->lock = -1;
    if (cluster_make_folder(parent) != OK)
        return;
    ports->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (ports->lock < 0)
        return;
    (void)flock(ports->lock, LOCK_EX);
    read_list(ports, own_data);
}

void ports_close(struct ports *ports, const char *own_data, bool is_new)
{
    if (ports->lock >= 0 && is_new)
        write_list(ports, own_data);
    if (ports->lock >= 0)
        (void)close(ports->lock);
    for (size_t i = 0; i < ports->cluster_count; i++)
        free(ports->clusters[i]);
    free(ports->clusters);
    free(ports->owners);
    *ports = (struct ports){.lock = -1};
}

/* ---- asking ---- */

const char *ports_owner(const struct ports *ports, unsigned port)
{
    for (size_t i = 0; i < ports->owner_count; i++)
        if (ports->owners[i].port == port)
            return ports->clusters[ports->owners[i].cluster];
    return NULL;
}

static bool can_bind(unsigned port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is_free;

    if (fd < 0)
        return false;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    is_free = bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0;
    (void)close(fd);
    return is_free;
}

bool ports_is_free(const struct ports *ports, unsigned port)
{
    return ports_owner(ports, port) == NULL && can_bind(port);
}
