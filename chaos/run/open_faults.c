#include "chaos/run/open_faults.h"

#include "proto/base/check.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define LINE_BYTES 400

static void path_of(const struct cluster *cluster, const char *file, char *path, size_t bytes)
{
    (void)snprintf(path, bytes, "%s/chaos%s%s", cluster->data, file[0] != '\0' ? "/" : "", file);
}

/* Replaced whole, so that nobody ever reads half of it. */
static enum error save(const struct open_faults *faults)
{
    char temporary[600];
    FILE *file;
    bool is_written = true;

    if (faults->count == 0)
        return unlink(faults->path) == 0 || errno == ENOENT ? OK : ERR_IO;
    (void)snprintf(temporary, sizeof(temporary), "%s.new", faults->path);
    file = fopen(temporary, "we");
    if (file == NULL)
        return ERR_IO;
    for (size_t i = 0; i < faults->count; i++) {
        const struct open_fault *fault = &faults->list[i];

        is_written &= fprintf(file, "%u %" PRIu64 " %s %s %s\n", fault->id, fault->until_ms,
                              fault->what, fault->scenario, fault->names) > 0;
    }
    is_written &= fclose(file) == 0;
    return is_written && rename(temporary, faults->path) == 0 ? OK : ERR_IO;
}

void open_faults_load(const struct cluster *cluster, struct open_faults *faults)
{
    char line[LINE_BYTES];
    FILE *file;

    *faults = (struct open_faults){0};
    path_of(cluster, "open", faults->path, sizeof(faults->path));
    file = fopen(faults->path, "re");
    while (file != NULL && faults->count < OPEN_FAULTS_MAX &&
           fgets(line, sizeof(line), file) != NULL) {
        struct open_fault *fault = &faults->list[faults->count];

        if (sscanf(line, "%u %" SCNu64 " %31s %63s %199[^\n]", &fault->id, &fault->until_ms,
                   fault->what, fault->scenario, fault->names) == 5)
            faults->count++;
    }
    if (file != NULL)
        (void)fclose(file);
}

bool open_faults_exist(const struct cluster *cluster)
{
    char path[500];

    path_of(cluster, "open", path, sizeof(path));
    return access(path, F_OK) == 0;
}

enum error open_faults_add(struct open_faults *faults, const struct open_fault *fault)
{
    if (faults->count == OPEN_FAULTS_MAX)
        return ERR_TOO_LARGE;
    faults->list[faults->count++] = *fault;
    enum error rc = save(faults);

    if (rc != OK)
        faults->count--;
    return rc;
}

void open_faults_remove(struct open_faults *faults, unsigned id)
{
    size_t kept = 0;

    for (size_t i = 0; i < faults->count; i++)
        if (faults->list[i].id != id)
            faults->list[kept++] = faults->list[i];
    faults->count = kept;
    if (save(faults) != OK)
        (void)fprintf(stderr, "skein: %s cannot be written\n", faults->path);
}

void open_faults_clear(struct open_faults *faults)
{
    faults->count = 0;
    if (save(faults) != OK)
        (void)fprintf(stderr, "skein: %s cannot be removed\n", faults->path);
}

int open_faults_lock(const struct cluster *cluster, pid_t *holder)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char path[500];
    int fd;

    *holder = 0;
    path_of(cluster, "", path, sizeof(path));
    if (cluster_make_folder(path) != OK)
        return -2;
    path_of(cluster, "lock", path, sizeof(path));
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return -2;
    if (fcntl(fd, F_SETLK, &lock) == 0)
        return fd;
    if (fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK)
        *holder = lock.l_pid;
    (void)close(fd);
    return -1;
}
