#include "node/sandbox/package.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>

#define CHUNK_BYTES 65536
#define UNIX_TYPE_SHIFT 16

static const struct package_limits default_limits = {PACKAGE_BYTES_MAX, PACKAGE_ENTRIES_MAX};

/* One pass over an archive. `root` -1 = only look. */
struct unpacking {
    zip_t *archive;
    const struct package_limits *limits;
    int root;
    uint64_t bytes;
    char *why;
};

static enum error refuse(const struct unpacking *unpacking, enum error rc, const char *what,
                         const char *name)
{
    snprintf(unpacking->why, ERROR_WHY_BYTES, "%s: %.100s", what, name);
    return rc;
}

/* ---- names --------------------------------------------------------------------------------- */

static bool is_safe_part(const char *part, size_t size)
{
    if (size == 0 || size > 255)
        return false;
    return !(size == 1 && part[0] == '.') && !(size == 2 && part[0] == '.' && part[1] == '.');
}

/* Relative, normal, and made of plain bytes. A folder's name ends with one slash. */
static bool is_safe_name(const char *name)
{
    size_t size = strlen(name);
    const char *part = name;

    if (size == 0 || size >= PACKAGE_PATH_BYTES || strchr(name, '\\') != NULL)
        return false;
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)name[i] < ' ' || name[i] == 0x7f)
            return false;
    for (const char *slash = strchr(part, '/'); slash != NULL; slash = strchr(part, '/')) {
        if (!is_safe_part(part, (size_t)(slash - part)))
            return false;
        part = slash + 1;
    }
    return part[0] == '\0' || is_safe_part(part, strlen(part));
}

/* ---- writing below the root ---------------------------------------------------------------- */

/* Make the folders of `name` up to its last slash. */
static bool make_folders(int root, const char *name)
{
    char path[PACKAGE_PATH_BYTES];

    for (const char *slash = strchr(name, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        size_t size = (size_t)(slash - name);

        memcpy(path, name, size);
        path[size] = '\0';
        if (mkdirat(root, path, 0755) != 0 && errno != EEXIST)
            return false;
    }
    return true;
}

static bool write_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t written = write(fd, bytes, size);

        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        bytes += written;
        size -= (size_t)written;
    }
    return true;
}

/* The content of an entry, to `fd` (-1 = nowhere), counting what really comes out. */
static enum error copy_content(struct unpacking *unpacking, zip_file_t *file, int fd,
                               const char *name)
{
    char chunk[CHUNK_BYTES];
    zip_int64_t size;

    while ((size = zip_fread(file, chunk, sizeof(chunk))) > 0) {
        unpacking->bytes += (uint64_t)size;
        if (unpacking->bytes > unpacking->limits->bytes_max)
            return refuse(unpacking, ERR_TOO_LARGE, "unzipped size is over the limit", name);
        if (fd >= 0 && !write_all(fd, chunk, (size_t)size))
            return refuse(unpacking, ERR_IO, strerror(errno), name);
    }
    return size == 0 ? OK : refuse(unpacking, ERR_INVALID, "damaged content", name);
}

static enum error unpack_file(struct unpacking *unpacking, zip_uint64_t index, const char *name,
                              mode_t mode)
{
    zip_file_t *file = zip_fopen_index(unpacking->archive, index, 0);
    int fd = -1;
    enum error rc;

    if (file == NULL)
        return refuse(unpacking, ERR_INVALID, "cannot be read (encrypted or damaged)", name);
    if (unpacking->root >= 0) {
        if (make_folders(unpacking->root, name))
            fd = openat(unpacking->root, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC,
                        mode);
        if (fd < 0) {
            rc = errno == EEXIST || errno == ENOTDIR || errno == EISDIR
                     ? refuse(unpacking, ERR_INVALID, "named twice", name)
                     : refuse(unpacking, ERR_IO, strerror(errno), name);
            (void)zip_fclose(file);
            return rc;
        }
    }
    rc = copy_content(unpacking, file, fd, name);
    if (fd >= 0) {
        if (rc == OK && fchmod(fd, mode) != 0) /* whatever the umask */
            rc = refuse(unpacking, ERR_IO, strerror(errno), name);
        close(fd);
    }
    if (zip_fclose(file) != 0 && rc == OK)
        rc = refuse(unpacking, ERR_INVALID, "checksum does not match", name);
    return rc;
}

/* ---- entries ------------------------------------------------------------------------------- */

/* Mode bits of an entry made on Unix, else 0. */
static mode_t unix_mode(zip_t *archive, zip_uint64_t index)
{
    zip_uint8_t system = ZIP_OPSYS_DOS;
    zip_uint32_t attributes = 0;

    if (zip_file_get_external_attributes(archive, index, 0, &system, &attributes) != 0 ||
        system != ZIP_OPSYS_UNIX)
        return 0;
    return (mode_t)(attributes >> UNIX_TYPE_SHIFT);
}

static enum error unpack_entry(struct unpacking *unpacking, zip_uint64_t index)
{
    const char *name = zip_get_name(unpacking->archive, index, ZIP_FL_ENC_RAW);
    mode_t mode = unix_mode(unpacking->archive, index);
    mode_t type = mode & S_IFMT;
    bool is_folder;

    if (name == NULL || !is_safe_name(name))
        return refuse(unpacking, ERR_INVALID, "unsafe path in the archive",
                      name != NULL ? name : "?");
    is_folder = name[strlen(name) - 1] == '/';
    if (type != 0 && type != (is_folder ? S_IFDIR : S_IFREG))
        return refuse(unpacking, ERR_INVALID, "links and special files are not supported", name);
    if (!is_folder)
        return unpack_file(unpacking, index, name, (mode & S_IXUSR) != 0 ? 0755 : 0644);
    if (unpacking->root >= 0 && !make_folders(unpacking->root, name))
        return errno == ENOTDIR ? refuse(unpacking, ERR_INVALID, "named twice", name)
                                : refuse(unpacking, ERR_IO, strerror(errno), name);
    return OK;
}

static enum error unpack_all(struct unpacking *unpacking)
{
    zip_int64_t count = zip_get_num_entries(unpacking->archive, 0);

    if (count <= 0)
        return refuse(unpacking, ERR_INVALID, "the archive is empty", "zip");
    if (count > (zip_int64_t)unpacking->limits->entries_max)
        return refuse(unpacking, ERR_TOO_LARGE, "too many entries", "zip");
    for (zip_int64_t index = 0; index < count; index++) {
        enum error rc = unpack_entry(unpacking, (zip_uint64_t)index);

        if (rc != OK)
            return rc;
    }
    return OK;
}

static enum error unpack(struct slice zip, const struct package_limits *limits, int root, char *why)
{
    struct unpacking unpacking = {
        .limits = limits != NULL ? limits : &default_limits, .root = root, .why = why};
    zip_error_t error;
    zip_source_t *source;
    enum error rc;

    why[0] = '\0';
    if (zip.size == 0)
        return refuse(&unpacking, ERR_INVALID, "not a zip archive", "empty");
    zip_error_init(&error);
    source = zip_source_buffer_create(zip.data, zip.size, 0, &error);
    if (source != NULL)
        unpacking.archive = zip_open_from_source(source, ZIP_RDONLY, &error);
    if (unpacking.archive == NULL) {
        rc = refuse(&unpacking, ERR_INVALID, "not a zip archive", zip_error_strerror(&error));
        if (source != NULL)
            zip_source_free(source);
        zip_error_fini(&error);
        return rc;
    }
    rc = unpack_all(&unpacking);
    zip_discard(unpacking.archive);
    zip_error_fini(&error);
    return rc;
}

/* ---- the interface ------------------------------------------------------------------------- */

enum error package_check(struct slice zip, const struct package_limits *limits,
                         char why[ERROR_WHY_BYTES])
{
    return unpack(zip, limits, -1, why);
}

enum error package_unpack(struct slice zip, const char *folder, const struct package_limits *limits,
                          char why[ERROR_WHY_BYTES])
{
    enum error rc;
    int root;

    if (mkdir(folder, 0755) != 0) {
        snprintf(why, ERROR_WHY_BYTES, "%.100s: %s", folder, strerror(errno));
        return errno == EEXIST ? ERR_EXISTS : ERR_IO;
    }
    root = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0 || chmod(folder, 0755) != 0) {
        snprintf(why, ERROR_WHY_BYTES, "%.100s: %s", folder, strerror(errno));
        rc = ERR_IO;
    } else {
        rc = unpack(zip, limits, root, why);
    }
    if (root >= 0)
        close(root);
    if (rc != OK && package_remove(folder) != OK)
        return rc; /* the first error is the one to tell */
    return rc;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

enum error package_remove(const char *folder)
{
    return nftw(folder, remove_one, 32, FTW_DEPTH | FTW_PHYS) == 0 ? OK : ERR_IO;
}
