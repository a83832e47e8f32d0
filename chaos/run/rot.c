#include "chaos/run/rot.h"

#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES 800

static void path_of(const struct daemon *daemon, const char *file, char path[PATH_BYTES])
{
    (void)snprintf(path, PATH_BYTES, "%s/data/%s", daemon->folder, file);
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)status;
    (void)kind;
    return place->level == 0 ? 0 : remove(path);
}

enum error rot_empty(const struct daemon *daemon)
{
    char path[PATH_BYTES];

    path_of(daemon, "", path);
    return nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0 ? OK : ERR_IO;
}

/* ---- one place in one file ---- */

struct place {
    int fd;
    char name[100]; /* in the data folder */
    off_t used;     /* up to the last byte that is not 0 */
};

static off_t find_used(int fd)
{
    uint8_t bytes[4096];
    off_t used = 0;
    off_t at = 0;
    ssize_t size;

    while ((size = pread(fd, bytes, sizeof(bytes), at)) > 0) {
        for (ssize_t i = 0; i < size; i++)
            if (bytes[i] != 0)
                used = at + i + 1;
        at += size;
    }
    return used;
}

static bool place_open(struct place *place, const char *path, size_t folder_size)
{
    struct stat status;

    place->fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (place->fd < 0)
        return false;
    place->used =
        fstat(place->fd, &status) == 0 && S_ISREG(status.st_mode) ? find_used(place->fd) : 0;
    (void)snprintf(place->name, sizeof(place->name), "%s", path + folder_size);
    if (place->used > 0)
        return true;
    (void)close(place->fd);
    return false;
}

static enum error place_find(const struct daemon *daemon, const char *pattern, struct rng *rng,
                             struct place *place)
{
    char path[PATH_BYTES];
    char folder[PATH_BYTES];
    enum error rc = ERR_NOT_FOUND;
    glob_t found;

    path_of(daemon, "", folder);
    path_of(daemon, pattern, path);
    if (strstr(pattern, "..") != NULL || glob(path, GLOB_NOSORT, NULL, &found) != 0)
        return ERR_NOT_FOUND;
    size_t first = found.gl_pathc > 0 ? rng_below(rng, found.gl_pathc) : 0;

    for (size_t i = 0; i < found.gl_pathc && rc != OK; i++)
        if (place_open(place, found.gl_pathv[(first + i) % found.gl_pathc], strlen(folder)))
            rc = OK;
    globfree(&found);
    return rc;
}

enum error rot_flip(const struct daemon *daemon, const char *pattern, struct rng *rng,
                    char text[ROT_TEXT_BYTES])
{
    struct place place;
    enum error rc = place_find(daemon, pattern, rng, &place);
    uint8_t byte = 0;

    if (rc != OK)
        return rc;
    off_t at = (off_t)rng_below(rng, (uint64_t)place.used);
    unsigned bit = (unsigned)rng_below(rng, 8);

    if (pread(place.fd, &byte, 1, at) != 1)
        rc = ERR_IO;
    byte ^= (uint8_t)(1u << bit);
    if (rc == OK && pwrite(place.fd, &byte, 1, at) != 1)
        rc = ERR_IO;
    (void)close(place.fd);
    (void)snprintf(text, ROT_TEXT_BYTES, "bit %u of byte %lld of %s flipped", bit, (long long)at,
                   place.name);
    return rc;
}

enum error rot_truncate(const struct daemon *daemon, const char *pattern, struct rng *rng,
                        char text[ROT_TEXT_BYTES])
{
    struct place place;
    enum error rc = place_find(daemon, pattern, rng, &place);

    if (rc != OK)
        return rc;
    off_t at = (off_t)rng_below(rng, (uint64_t)place.used);

    if (ftruncate(place.fd, at) != 0)
        rc = ERR_IO;
    (void)close(place.fd);
    (void)snprintf(text, ROT_TEXT_BYTES, "%s cut after %lld of %lld bytes", place.name,
                   (long long)at, (long long)place.used);
    return rc;
}
