#include "deploy/cluster.h"

#include "deploy/ports.h"
#include "proto/base/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_BYTES_MAX (1u << 20)
#define PATH_BYTES 768
#define NODE_MESH_PORT_FIRST 7001
#define CONTROLLER_MESH_PORT_FIRST 7501
#define HTTP_PORT_FIRST 4571
#define PORTS_TRIED 400
#define CONTROLLER_ADDRESS_FIRST 101
#define HOST_BYTES 32

static const char *const region_names[] = {
    "us-east-1", "eu-west-1",      "ap-southeast-1", "us-west-2",  "eu-central-1",
    "sa-east-1", "ap-northeast-1", "ca-central-1",   "af-south-1", "me-south-1",
};

/* ---- small files --------------------------------------------------------------------------------
 */

static enum error file_load(const char *path, struct buffer *content)
{
    uint8_t bytes[4096];
    ssize_t size;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    enum error rc = OK;

    if (fd < 0)
        return errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
    while (rc == OK && (size = read(fd, bytes, sizeof(bytes))) != 0)
        rc = size > 0 ? buffer_append(content, bytes, (size_t)size) : ERR_IO;
    (void)close(fd);
    return rc;
}

static enum error file_save(const char *path, struct slice content)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    if (fd < 0)
        return ERR_IO;
    bool is_written = write(fd, content.data, content.size) == (ssize_t)content.size;

    return close(fd) == 0 && is_written ? OK : ERR_IO;
}

enum error cluster_make_folder(const char *path)
{
    char part[PATH_BYTES];

    for (size_t i = 1; i <= strlen(path); i++) {
        if (path[i] != '/' && path[i] != '\0')
            continue;
        (void)snprintf(part, sizeof(part), "%.*s", (int)i, path);
        if (mkdir(part, 0700) < 0 && errno != EEXIST)
            return ERR_IO;
    }
    return OK;
}

void cluster_default_data(char data[CLUSTER_PATH_BYTES])
{
    const char *state = getenv("XDG_STATE_HOME");
    const char *home = getenv("HOME");

    if (state != NULL && state[0] == '/')
        (void)snprintf(data, CLUSTER_PATH_BYTES, "%s/skein", state);
    else
        (void)snprintf(data, CLUSTER_PATH_BYTES, "%s/.local/state/skein",
                       home != NULL ? home : "/var/lib");
}

/* ---- loading ------------------------------------------------------------------------------------
 */

static enum error load_credentials(struct cluster *cluster)
{
    struct buffer content = BUFFER_INIT(FILE_BYTES_MAX);
    char path[PATH_BYTES];
    enum error rc;

    (void)snprintf(path, sizeof(path), "%s/credentials", cluster->data);
    rc = file_load(path, &content);
    if (rc == OK && sscanf(buffer_text(&content), "access_key_id = %20s secret_access_key = %40s",
                           cluster->access_key, cluster->secret) != 2)
        rc = ERR_INVALID;
    buffer_close(&content);
    return rc;
}

static void add_daemon(struct cluster *cluster, const struct cluster_process *process,
                       bool is_controller)
{
    struct daemon *daemon = &cluster->daemons[cluster->daemon_count++];

    daemon->is_controller = is_controller;
    (void)snprintf(daemon->name, sizeof(daemon->name), "%.31s", process->name);
    (void)snprintf(daemon->folder, sizeof(daemon->folder), "%s/%s", cluster->data, process->name);
    for (size_t i = 0; i < cluster->region_count; i++)
        if (strcmp(cluster->regions[i], process->region) == 0)
            return;
    if (cluster->region_count < CLUSTER_REGIONS_MAX)
        cluster->regions[cluster->region_count++] = process->region;
}

enum error cluster_load(const char *data, struct cluster *cluster, char why[ERROR_WHY_BYTES])
{
    struct buffer text = BUFFER_INIT(CLUSTER_FILE_BYTES_MAX);
    char path[PATH_BYTES];
    enum error rc;

    *cluster = (struct cluster){0};
    (void)snprintf(cluster->data, sizeof(cluster->data), "%s", data);
    (void)snprintf(path, sizeof(path), "%s/cluster.conf", data);
    cluster_file_init(&cluster->file);
    rc = file_load(path, &text);
    if (rc == OK)
        rc = cluster_file_parse(buffer_slice(&text), &cluster->file, why);
    else
        (void)snprintf(why, ERROR_WHY_BYTES, "no cluster in %.100s; make one with: skein up", data);
    buffer_close(&text);
    if (rc != OK)
        return rc;
    rc = load_credentials(cluster);
    if (rc != OK) {
        (void)snprintf(why, ERROR_WHY_BYTES, "%.100s/credentials cannot be read", data);
        cluster_file_close(&cluster->file);
        return rc;
    }
    cluster->controller_count = cluster->file.controller_count;
    cluster->daemons = check_calloc(cluster->file.controller_count + cluster->file.node_count,
                                    sizeof(*cluster->daemons));
    for (size_t i = 0; i < cluster->file.controller_count; i++)
        add_daemon(cluster, &cluster->file.controllers[i], true);
    for (size_t i = 0; i < cluster->file.node_count; i++)
        add_daemon(cluster, &cluster->file.nodes[i], false);
    return OK;
}

void cluster_close(struct cluster *cluster)
{
    free(cluster->daemons);
    cluster_file_close(&cluster->file);
    *cluster = (struct cluster){0};
}

struct daemon *cluster_find(struct cluster *cluster, const char *name)
{
    for (size_t i = 0; i < cluster->daemon_count; i++)
        if (strcmp(cluster->daemons[i].name, name) == 0)
            return &cluster->daemons[i];
    return NULL;
}

const char *cluster_region_of(const struct cluster *cluster, const struct daemon *daemon)
{
    const struct cluster_process *process = cluster_file_find_name(&cluster->file, daemon->name);

    return process != NULL ? process->region : "";
}

/* ---- making -------------------------------------------------------------------------------------
 */

/* The next free port, moving *next past it; 0 when there is none. */
static unsigned take_port(const struct ports *ports, unsigned *next)
{
    for (unsigned tried = 0; tried < PORTS_TRIED; tried++) {
        unsigned port = (*next)++;

        if (ports_is_free(ports, port))
            return port;
    }
    return 0;
}

struct making {
    const char *data;
    const struct cluster_plan *plan;
    struct cluster_file file;
    struct ports ports;
    unsigned mesh_port;
    unsigned http_port;
    char secret[KEYS_CURVE_TEXT_BYTES]; /* of the process at hand */
    char access_key[KEYS_ACCESS_TEXT_BYTES];
    char access_secret[KEYS_SECRET_TEXT_BYTES];
};

/* What lets a controller found the cluster (controller.h). */
static enum error write_birth(const char *folder)
{
    char path[PATH_BYTES + 8];

    (void)snprintf(path, sizeof(path), "%s/birth", folder);
    return file_save(path, SLICE_LITERAL("a new member; see docs/operations.md\n"));
}

/* The daemon's own settings; who the others are stands in the cluster file. */
static enum error write_daemon(const struct making *making, const struct cluster_process *process,
                               bool is_controller)
{
    struct buffer text = BUFFER_INIT(FILE_BYTES_MAX);
    char path[PATH_BYTES];
    enum error rc;

    (void)snprintf(path, sizeof(path), "%s/%s/data", making->data, process->name);
    rc = cluster_make_folder(path);
    if (rc == OK && is_controller)
        rc = write_birth(path);
    buffer_putf(&text,
                "# Made by skein up. Holds secrets: keep it to yourself.\n"
                "id = %llu\ncluster = %s/cluster.conf\ndata = %s\ncurve_secret = %s\n",
                (unsigned long long)process->id, making->data, path, making->secret);
    if (!is_controller)
        buffer_putf(&text, "access_key = %s\nsecret_key = %s\n", making->access_key,
                    making->access_secret);
    if (!is_controller && making->plan->network != NULL)
        buffer_putf(&text, "listen = %.*s\n", (int)strcspn(process->http_address, ":"),
                    process->http_address);
    if (!is_controller && making->plan->any_key)
        buffer_put_text(&text, "insecure_any_key = true\n");
    if (making->plan->wan != NULL)
        buffer_putf(&text, "wan = %s\n", making->plan->wan);
    (void)snprintf(path, sizeof(path), "%s/%s/daemon.conf", making->data, process->name);
    if (rc == OK)
        rc = file_save(path, buffer_slice(&text));
    buffer_close(&text);
    return rc;
}

/* The ports of one machine are shared out; a machine of one's own has them all free. */
static unsigned choose_port(const struct making *making, unsigned *next)
{
    return making->plan->network != NULL ? *next : take_port(&making->ports, next);
}

static void write_host(const struct making *making, unsigned region, unsigned last,
                       char host[HOST_BYTES])
{
    if (making->plan->network != NULL)
        (void)snprintf(host, HOST_BYTES, "%.7s.%u.%u", making->plan->network, region, last);
    else
        (void)snprintf(host, HOST_BYTES, "127.0.0.1");
}

static enum error add_process(struct making *making, unsigned number, unsigned count,
                              bool is_controller)
{
    unsigned region = number * making->plan->regions / count;
    unsigned port = choose_port(making, &making->mesh_port);
    char host[HOST_BYTES];
    struct cluster_process process = {
        .id = is_controller ? CLUSTER_FILE_CONTROLLER_ID_MIN + 1 + number : 1 + number};
    enum error rc = keys_make_curve(process.public_key, making->secret);

    if (port == 0)
        rc = ERR_NO_CAPACITY;
    (void)snprintf(process.name, sizeof(process.name), "%s-%u",
                   is_controller ? "controller" : "node", number + 1);
    (void)snprintf(process.region, sizeof(process.region), "%s", region_names[region]);
    write_host(making, region, (is_controller ? CONTROLLER_ADDRESS_FIRST : 1) + number, host);
    (void)snprintf(process.endpoint, sizeof(process.endpoint), "tcp://%s:%u", host, port);
    if (!is_controller) {
        unsigned http_port = choose_port(making, &making->http_port);

        if (http_port == 0)
            rc = ERR_NO_CAPACITY;
        (void)snprintf(process.http_address, sizeof(process.http_address), "%s:%u", host,
                       http_port);
    }
    if (rc == OK)
        rc = cluster_file_add(&making->file, &process);
    return rc == OK ? write_daemon(making, &process, is_controller) : rc;
}

static enum error write_shared(struct making *making)
{
    struct buffer text = BUFFER_INIT(CLUSTER_FILE_BYTES_MAX);
    char path[PATH_BYTES];
    enum error rc;

    buffer_putf(&text, "access_key_id = %s\nsecret_access_key = %s\n", making->access_key,
                making->access_secret);
    (void)snprintf(path, sizeof(path), "%s/credentials", making->data);
    rc = file_save(path, buffer_slice(&text));
    buffer_clear(&text);
    cluster_file_write(&making->file, &text);
    /* Written last: a folder without it holds no cluster. */
    (void)snprintf(path, sizeof(path), "%s/cluster.conf", making->data);
    if (rc == OK)
        rc = file_save(path, buffer_slice(&text));
    buffer_close(&text);
    return rc;
}

/* "10.77" */
static bool is_network(const char *text)
{
    unsigned high;
    unsigned low;
    char rest;

    return strlen(text) <= 7 && sscanf(text, "%3u.%3u%c", &high, &low, &rest) == 2 && high > 0 &&
           high < 224 && low < 256;
}

static enum error check_plan(const struct cluster_plan *plan, char why[ERROR_WHY_BYTES])
{
    const char *complaint = NULL;

    if (plan->regions == 0 || plan->regions > ARRAY_COUNT(region_names))
        complaint = "--regions must be 1 to 10";
    else if (plan->nodes < plan->regions || plan->nodes > 64)
        complaint = "--nodes must be at least the number of regions, and at most 64";
    else if (plan->controllers % 2 == 0 || plan->controllers > CLUSTER_FILE_CONTROLLERS_MAX)
        complaint = "--controllers must be odd, 1 to 9: an even number survives no more losses";
    else if (plan->replicas > plan->nodes)
        complaint = "--replicas must not be more than the nodes";
    else if (plan->network != NULL && !is_network(plan->network))
        complaint = "--network must be two numbers, as 10.77";
    if (complaint == NULL)
        return OK;
    (void)snprintf(why, ERROR_WHY_BYTES, "%s", complaint);
    return ERR_INVALID;
}

/* All nodes listen on it, and let each other: the kernel would let those of two clusters, too. */
static enum error check_port(const struct making *making, char why[ERROR_WHY_BYTES])
{
    unsigned port = making->plan->port;
    const char *owner = ports_owner(&making->ports, port);

    if (making->plan->network != NULL)
        return OK;
    if (owner != NULL)
        (void)snprintf(why, ERROR_WHY_BYTES,
                       "port %u belongs to the cluster in %.70s: give another --port, or take "
                       "that one down",
                       port, owner);
    else if (!ports_is_free(&making->ports, port))
        (void)snprintf(why, ERROR_WHY_BYTES,
                       "another program listens on port %u: give another --port", port);
    else
        return OK;
    return ERR_DENIED;
}

static enum error make_files(struct making *making)
{
    const struct cluster_plan *plan = making->plan;
    enum error rc = keys_make_access(making->access_key, making->access_secret);

    making->mesh_port = CONTROLLER_MESH_PORT_FIRST;
    for (unsigned i = 0; i < plan->controllers && rc == OK; i++)
        rc = add_process(making, i, plan->controllers, true);
    making->mesh_port = NODE_MESH_PORT_FIRST;
    for (unsigned i = 0; i < plan->nodes && rc == OK; i++)
        rc = add_process(making, i, plan->nodes, false);
    return rc == OK ? write_shared(making) : rc;
}

enum error cluster_make(const char *data, const struct cluster_plan *plan,
                        char why[ERROR_WHY_BYTES])
{
    struct making making = {.data = data, .plan = plan, .http_port = HTTP_PORT_FIRST};
    char path[PATH_BYTES];
    enum error rc = check_plan(plan, why);

    if (rc != OK)
        return rc;
    (void)snprintf(path, sizeof(path), "%s/cluster.conf", data);
    if (access(path, F_OK) == 0) {
        ports_open(&making.ports, data); /* should the list have been lost meanwhile */
        ports_close(&making.ports, data, true);
        (void)snprintf(why, ERROR_WHY_BYTES, "there is a cluster in %.100s already", data);
        return ERR_EXISTS;
    }
    rc = cluster_make_folder(data);
    if (rc != OK) {
        (void)snprintf(why, ERROR_WHY_BYTES, "cannot make the folder %.100s", data);
        return rc;
    }
    cluster_file_init(&making.file);
    making.file.shards = plan->shards;
    making.file.replicas = plan->replicas;
    making.file.port = plan->port;
    ports_open(&making.ports, data);
    rc = check_port(&making, why);
    if (rc == OK) {
        rc = make_files(&making);
        if (rc != OK)
            (void)snprintf(why, ERROR_WHY_BYTES, "cannot make a cluster in %.80s: %s", data,
                           error_text(rc));
    }
    ports_close(&making.ports, data, rc == OK && plan->network == NULL);
    cluster_file_close(&making.file);
    return rc;
}
