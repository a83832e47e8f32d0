#include "proto/base/settings.h"

#include "proto/base/buffer.h"
#include "proto/base/check.h"
#include "proto/base/log.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define NAME_BYTES_MAX 64
#define LINE_BYTES_MAX 4096
#define ENVIRONMENT_PREFIX "SKEIN_"

/* ---- names ---- */

/* lease-ms, LEASE_MS and lease_ms are one name. Cut when too long, then it fits none. */
static void normalise(char to[NAME_BYTES_MAX], const char *name, size_t size)
{
    size_t used = 0;

    for (; used < size && used < NAME_BYTES_MAX - 1; used++)
        to[used] = name[used] == '-' ? '_' : (char)tolower((unsigned char)name[used]);
    to[used] = '\0';
}

static const struct setting *find(const struct settings_table *table, const char *name)
{
    for (size_t i = 0; i < table->count; i++)
        if (strcmp(table->rows[i].name, name) == 0)
            return &table->rows[i];
    return NULL;
}

static size_t least(size_t a, size_t b, size_t c)
{
    size_t less = a < b ? a : b;

    return less < c ? less : c;
}

/* How many letters have to be put in, taken out or changed (Levenshtein). */
static size_t edit_distance(const char *a, const char *b)
{
    size_t row[NAME_BYTES_MAX + 1];
    size_t width = strlen(b);

    CHECK(width < NAME_BYTES_MAX);
    for (size_t k = 0; k <= width; k++)
        row[k] = k;
    for (size_t i = 0; a[i] != '\0'; i++) {
        size_t diagonal = row[0];

        row[0] = i + 1;
        for (size_t k = 0; k < width; k++) {
            size_t above = row[k + 1];

            row[k + 1] = least(above + 1, row[k] + 1, diagonal + (a[i] != b[k]));
            diagonal = above;
        }
    }
    return row[width];
}

static const struct setting *find_nearest(const struct settings_table *table, const char *name)
{
    const struct setting *nearest = &table->rows[0];
    size_t least_distance = SIZE_MAX;

    for (size_t i = 0; i < table->count; i++) {
        size_t distance = edit_distance(name, table->rows[i].name);

        if (distance < least_distance) {
            least_distance = distance;
            nearest = &table->rows[i];
        }
    }
    return nearest;
}

/* ---- values ---- */

static void *field_of(const struct setting *row, void *values)
{
    return (char *)values + row->offset;
}

static const void *const_field_of(const struct setting *row, const void *values)
{
    return (const char *)values + row->offset;
}

static bool is_text(const struct setting *row)
{
    return row->type == SETTING_TYPE_text || row->type == SETTING_TYPE_path ||
           row->type == SETTING_TYPE_secret;
}

static bool parse_number(const char *text, uint64_t *number)
{
    char *end;

    if (!isdigit((unsigned char)text[0]))
        return false;
    errno = 0;
    *number = strtoull(text, &end, 10);
    return *end == '\0' && errno == 0;
}

static bool parse_bool(const char *text, uint64_t *number)
{
    static const char *const names[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};

    for (size_t i = 0; i < ARRAY_COUNT(names); i++)
        if (strcmp(text, names[i]) == 0) {
            *number = i % 2;
            return true;
        }
    return false;
}

static enum error refuse(char *why, const char *source, const struct setting *row, const char *text,
                         const char *rule)
{
    bool is_secret = row->type == SETTING_TYPE_secret;

    (void)snprintf(why, ERROR_WHY_BYTES, "%s: %s = %.40s: %s", source, row->name,
                   is_secret ? "***" : text, rule);
    return ERR_INVALID;
}

static enum error set(const struct setting *row, const char *source, const char *text, void *values,
                      char *why)
{
    char rule[80];
    uint64_t number = 0;
    void *field = field_of(row, values);

    if (row->type == SETTING_TYPE_bool && !parse_bool(text, &number))
        return refuse(why, source, row, text, "must be true or false");
    if (!is_text(row) && row->type != SETTING_TYPE_bool && !parse_number(text, &number))
        return refuse(why, source, row, text, "not a whole number");
    if (is_text(row))
        number = strlen(text);
    if (row->type != SETTING_TYPE_bool && (number < row->min || number > row->max)) {
        (void)snprintf(rule, sizeof(rule), "must be from %" PRIu64 " to %" PRIu64 "%s", row->min,
                       row->max, is_text(row) ? " characters" : "");
        return refuse(why, source, row, text, rule);
    }
    switch (row->type) {
    case SETTING_TYPE_u32:
        CHECK(row->max <= UINT32_MAX);
        *(uint32_t *)field = (uint32_t)number;
        break;
    case SETTING_TYPE_u64:
        *(uint64_t *)field = number;
        break;
    case SETTING_TYPE_bool:
        *(bool *)field = number != 0;
        break;
    case SETTING_TYPE_text:
    case SETTING_TYPE_path:
    case SETTING_TYPE_secret:
        free(*(char **)field);
        *(char **)field = check_strdup(text);
        break;
    }
    return OK;
}

static enum error set_by_name(const struct settings_table *table, const char *source,
                              const char *name, const char *text, void *values, char *why)
{
    const struct setting *row = find(table, name);

    if (row != NULL)
        return set(row, source, text, values, why);
    (void)snprintf(why, ERROR_WHY_BYTES, "%s: unknown setting %.40s; the nearest is %s", source,
                   name, find_nearest(table, name)->name);
    return ERR_INVALID;
}

static enum error set_defaults(const struct settings_table *table, void *values, char *why)
{
    enum error rc = OK;

    for (size_t i = 0; i < table->count; i++)
        if (is_text(&table->rows[i]))
            *(char **)field_of(&table->rows[i], values) = NULL;
    for (size_t i = 0; i < table->count && rc == OK; i++)
        rc = set(&table->rows[i], "default", table->rows[i].initial, values, why);
    return rc;
}

/* ---- the file ---- */

static char *trim(char *text)
{
    size_t size;

    while (isspace((unsigned char)*text))
        text++;
    size = strlen(text);
    while (size > 0 && isspace((unsigned char)text[size - 1]))
        size--;
    text[size] = '\0';
    return text;
}

static enum error read_line(const struct settings_table *table, const char *source, char *line,
                            void *values, char *why)
{
    char name[NAME_BYTES_MAX];
    char *text = trim(line);
    char *equals = strchr(text, '=');

    if (*text == '\0' || *text == '#')
        return OK;
    if (equals == NULL) {
        (void)snprintf(why, ERROR_WHY_BYTES, "%s: not of the form name = value", source);
        return ERR_INVALID;
    }
    *equals = '\0';
    char *key = trim(text);

    normalise(name, key, strlen(key));
    return set_by_name(table, source, name, trim(equals + 1), values, why);
}

static enum error read_file(const struct settings_table *table, const char *path, void *values,
                            char *why)
{
    char line[LINE_BYTES_MAX];
    char source[80];
    enum error rc = OK;
    FILE *file = fopen(path, "re");

    if (file == NULL) {
        (void)snprintf(why, ERROR_WHY_BYTES, "%.80s: %s", path, strerror(errno));
        return ERR_NOT_FOUND;
    }
    for (int number = 1; rc == OK && fgets(line, sizeof(line), file) != NULL; number++) {
        (void)snprintf(source, sizeof(source), "%.60s:%d", path, number);
        rc = read_line(table, source, line, values, why);
    }
    (void)fclose(file);
    return rc;
}

/* ---- the environment ---- */

static enum error read_environment(const struct settings_table *table, char *const *environment,
                                   void *values, char *why)
{
    const size_t prefix = strlen(ENVIRONMENT_PREFIX);
    enum error rc = OK;

    for (; environment != NULL && *environment != NULL && rc == OK; environment++) {
        const char *equals = strchr(*environment, '=');
        char name[NAME_BYTES_MAX];

        if (equals == NULL || strncmp(*environment, ENVIRONMENT_PREFIX, prefix) != 0)
            continue;
        normalise(name, *environment + prefix, (size_t)(equals - *environment) - prefix);
        const struct setting *row = find(table, name);

        if (row != NULL)
            rc = set(row, "environment", equals + 1, values, why);
    }
    return rc;
}

/* ---- flags ---- */

struct flag {
    char name[NAME_BYTES_MAX];
    const char *text; /* NULL: none was given */
};

/* Takes one flag, and its value if that is an argument of its own. False: not a flag. */
static bool next_flag(const struct settings_table *table, int argc, char *const *argv, int *at,
                      struct flag *flag)
{
    const char *argument = argv[(*at)++];

    if (strncmp(argument, "--", 2) != 0)
        return false;
    size_t size = strcspn(argument + 2, "=");

    normalise(flag->name, argument + 2, size);
    const struct setting *row = find(table, flag->name);

    if (argument[2 + size] == '=')
        flag->text = argument + 2 + size + 1;
    else if (row != NULL && row->type == SETTING_TYPE_bool)
        flag->text = "true";
    else if (strcmp(flag->name, "help") != 0 && *at < argc)
        flag->text = argv[(*at)++];
    else
        flag->text = NULL;
    return true;
}

static enum error read_flag(const struct settings_table *table, const struct flag *flag,
                            void *values, char *why)
{
    char source[NAME_BYTES_MAX + 2];

    if (strcmp(flag->name, "config") == 0)
        return OK; /* read before */
    (void)snprintf(source, sizeof(source), "--%s", flag->name);
    if (flag->text == NULL && find(table, flag->name) != NULL) {
        (void)snprintf(why, ERROR_WHY_BYTES, "%s: needs a value", source);
        return ERR_INVALID;
    }
    return set_by_name(table, source, flag->name, flag->text, values, why);
}

static enum error read_flags(const struct settings_table *table, int argc, char *const *argv,
                             void *values, char *why)
{
    enum error rc = OK;
    struct flag flag;

    for (int at = 1; at < argc && rc == OK;) {
        const char *argument = argv[at];

        if (next_flag(table, argc, argv, &at, &flag)) {
            rc = read_flag(table, &flag, values, why);
        } else {
            (void)snprintf(why, ERROR_WHY_BYTES, "unexpected argument %.60s; see --help", argument);
            rc = ERR_INVALID;
        }
    }
    return rc;
}

/* The last value of a flag that is not a row. */
static bool find_flag(const struct settings_table *table, int argc, char *const *argv,
                      const char *name, const char **text)
{
    bool is_found = false;
    struct flag flag;

    for (int at = 1; at < argc;)
        if (next_flag(table, argc, argv, &at, &flag) && strcmp(flag.name, name) == 0) {
            is_found = true;
            *text = flag.text;
        }
    return is_found;
}

static void print_help(const struct settings_table *table)
{
    printf("usage: %s [--config FILE] [--SETTING VALUE]...\n\n%s\n\n"
           "Each setting is also a line `name = value` of the file, and SKEIN_NAME in the\n"
           "environment. Flags win over the environment, that over the file.\n\n",
           table->program, table->purpose);
    for (size_t i = 0; i < table->count; i++) {
        const struct setting *row = &table->rows[i];

        printf("  --");
        for (const char *letter = row->name; *letter != '\0'; letter++)
            (void)putchar(*letter == '_' ? '-' : *letter);
        printf(" [%s]\n      %s", row->initial, row->help);
        if (row->type == SETTING_TYPE_u32 || row->type == SETTING_TYPE_u64)
            printf(" From %" PRIu64 " to %" PRIu64 ".", row->min, row->max);
        printf("\n");
    }
}

/* ---- */

enum error settings_load(const struct settings_table *table, int argc, char *const *argv,
                         char *const *environment, void *values, char why[ERROR_WHY_BYTES])
{
    const char *path = NULL;
    const char *ignored;

    if (find_flag(table, argc, argv, "help", &ignored)) {
        print_help(table);
        return ERR_END;
    }
    if (find_flag(table, argc, argv, "config", &path) && path == NULL) {
        (void)snprintf(why, ERROR_WHY_BYTES, "--config: needs a value");
        return ERR_INVALID;
    }
    enum error rc = set_defaults(table, values, why);

    CHECK(rc == OK); /* the table breaks its own rules */
    if (path != NULL)
        rc = read_file(table, path, values, why);
    if (rc == OK)
        rc = read_environment(table, environment, values, why);
    if (rc == OK)
        rc = read_flags(table, argc, argv, values, why);
    if (rc != OK)
        settings_close(table, values);
    return rc;
}

void settings_close(const struct settings_table *table, void *values)
{
    for (size_t i = 0; i < table->count; i++)
        if (is_text(&table->rows[i])) {
            char **field = field_of(&table->rows[i], values);

            free(*field);
            *field = NULL;
        }
}

static void show(struct buffer *line, const struct setting *row, const void *values)
{
    const void *field = const_field_of(row, values);

    switch (row->type) {
    case SETTING_TYPE_u32:
        buffer_putf(line, " %s=%" PRIu32, row->name, *(const uint32_t *)field);
        break;
    case SETTING_TYPE_u64:
        buffer_putf(line, " %s=%" PRIu64, row->name, *(const uint64_t *)field);
        break;
    case SETTING_TYPE_bool:
        buffer_putf(line, " %s=%s", row->name, *(const bool *)field ? "true" : "false");
        break;
    case SETTING_TYPE_text:
    case SETTING_TYPE_path:
        buffer_putf(line, " %s=%s", row->name, *(char *const *)field);
        break;
    case SETTING_TYPE_secret:
        buffer_putf(line, " %s=%s", row->name, **(char *const *)field != '\0' ? "***" : "");
        break;
    }
}

void settings_log(const struct settings_table *table, const void *values)
{
    AUTO(buffer) line = BUFFER_INIT(BUFFER_UNLIMITED);

    for (size_t i = 0; i < table->count; i++)
        show(&line, &table->rows[i], values);
    log_info("settings.effective%s", buffer_text(&line));
}
