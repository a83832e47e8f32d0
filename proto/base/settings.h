/* Settings of a daemon from one table: defaults < file < environment < flags.
 *
 * The table is a file of rows, `node/settings.def`:
 *
 *   SETTING(lease_ms, u32, "1500", 100, 60000, "How long a lease lasts.")
 *
 * of which the daemon makes a struct and the table:
 *
 *   struct node_settings {
 *   #define SETTING SETTING_FIELD
 *   #include "node/settings.def"
 *   #undef SETTING
 *   };
 *   static const struct setting rows[] = {
 *   #define SETTING(...) SETTING_ROW(struct node_settings, __VA_ARGS__)
 *   #include "node/settings.def"
 *   #undef SETTING
 *   };
 *
 * Types: u32, u64, bool; text, path and secret are `char *`. Minimum and maximum bound the number,
 * or the length of the text. In a file it is `lease_ms = 1500` (# begins a comment line), in the
 * environment SKEIN_LEASE_MS, as a flag --lease-ms 1500 or --lease-ms=1500; a bool's flag may stand
 * alone. Names in the environment that no row has are other programs'. */

#ifndef PROTO_BASE_SETTINGS_H
#define PROTO_BASE_SETTINGS_H

#include "proto/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum setting_type {
    SETTING_TYPE_u32,
    SETTING_TYPE_u64,
    SETTING_TYPE_bool,
    SETTING_TYPE_text,
    SETTING_TYPE_path,
    SETTING_TYPE_secret /* text that is never shown */
};

struct setting {
    const char *name; /* with underscores */
    enum setting_type type;
    const char *initial;
    uint64_t min;
    uint64_t max;
    const char *help; /* one sentence */
    size_t offset;    /* of its field in the daemon's struct */
};

struct settings_table {
    const char *program;
    const char *purpose; /* one sentence */
    const struct setting *rows;
    size_t count;
};

typedef uint32_t setting_field_u32;
typedef uint64_t setting_field_u64;
typedef bool setting_field_bool;
typedef char *setting_field_text;
typedef char *setting_field_path;
typedef char *setting_field_secret;

/* Where <stdbool.h> makes `bool` a macro, it is expanded before it is pasted. */
#define SETTING_TYPE__Bool SETTING_TYPE_bool
#define setting_field__Bool setting_field_bool

#define SETTING_FIELD(name, type, initial, min, max, help) setting_field_##type name;
#define SETTING_ROW(owner, name, type, initial, min, max, help)                                    \
    {#name, SETTING_TYPE_##type, initial, min, max, help, offsetof(owner, name)},

/* Fill `values`. `environment` is NULL or a list of NAME=value that ends with NULL. The flag
 * --config PATH names the file. ERR_END: --help was asked for and printed, nothing is filled.
 * ERR_INVALID: an unknown name or an impossible value; ERR_NOT_FOUND: no such file; `why` says
 * which, and the nearest good name. On failure there is nothing to close. */
enum error settings_load(const struct settings_table *table, int argc, char *const *argv,
                         char *const *environment, void *values, char why[ERROR_WHY_BYTES]);
/* Frees the texts. */
void settings_close(const struct settings_table *table, void *values);

/* The effective settings as one line at level info; secrets masked. */
void settings_log(const struct settings_table *table, const void *values);

#endif
