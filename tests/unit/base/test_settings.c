#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/base/buffer.h"
#include "proto/base/check.h"
#include "proto/base/log.h"
#include "proto/base/settings.h"

#include <stdio.h>
#include <unistd.h>

struct example {
#define SETTING SETTING_FIELD
#include "tests/unit/base/example_settings.def"
#undef SETTING
};

static const struct setting rows[] = {
#define SETTING(...) SETTING_ROW(struct example, __VA_ARGS__)
#include "tests/unit/base/example_settings.def"
#undef SETTING
};

static const struct settings_table table = {
    .program = "skein-example", .purpose = "Shows.", .rows = rows, .count = ARRAY_COUNT(rows)};

struct fixture {
    struct example values;
    char why[ERROR_WHY_BYTES];
    char path[64]; /* of the settings file; "" = none */
};

static int fixture_setup(void **state)
{
    *state = check_calloc(1, sizeof(struct fixture));
    return 0;
}

static int fixture_teardown(void **state)
{
    struct fixture *f = *state;

    settings_close(&table, &f->values);
    if (f->path[0] != '\0')
        (void)unlink(f->path);
    free(f);
    return 0;
}

static void write_file(struct fixture *f, const char *content)
{
    (void)snprintf(f->path, sizeof(f->path), "/tmp/skein-settings-XXXXXX");
    int fd = mkstemp(f->path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), strlen(content));
    assert_int_equal(close(fd), 0);
}

#define LOAD(f, environment, ...) load(f, environment, (char *[]){"x", __VA_ARGS__, NULL})

static enum error load(struct fixture *f, char *const *environment, char **argv)
{
    int argc = 0;

    while (argv[argc] != NULL)
        argc++;
    return settings_load(&table, argc, argv, environment, &f->values, f->why);
}

static void settings__nothing_given__defaults(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(load(f, NULL, (char *[]){"x", NULL}), OK);

    assert_int_equal(f->values.lease_ms, 1500);
    assert_int_equal(f->values.queue_bytes, 33554432);
    assert_false(f->values.is_verbose);
    assert_string_equal(f->values.region, "us-east-1");
    assert_string_equal(f->values.secret_key, "");
}

static void settings__file_environment_flags__the_later_wins(void **state)
{
    struct fixture *f = *state;
    char *environment[] = {
        "PATH=/bin", "SKEIN_REGION=eu-west-1", "SKEIN_LEASE_MS=300", "SKEIN_ENDPOINT=who", "SKEIN",
        NULL};

    write_file(f, "# a comment\n\n  lease_ms = 200\nregion=ap-southeast-1\r\n"
                  "queue-bytes =  77  \ndata_folder = /var/with space\n");
    assert_int_equal(LOAD(f, environment, "--config", f->path, "--lease-ms", "400", "--is-verbose"),
                     OK);

    assert_int_equal(f->values.lease_ms, 400);
    assert_string_equal(f->values.region, "eu-west-1");
    assert_int_equal(f->values.queue_bytes, 77);
    assert_string_equal(f->values.data_folder, "/var/with space");
    assert_true(f->values.is_verbose);
}

static void settings__flags_with_equals__taken(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(
        LOAD(f, NULL, "--is-verbose=on", "--region=a=b", "--data_folder=", "--is-verbose=no"), OK);

    assert_false(f->values.is_verbose);
    assert_string_equal(f->values.region, "a=b");
    assert_string_equal(f->values.data_folder, "");
}

static void settings__unknown_name__refused_with_the_nearest(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(LOAD(f, NULL, "--leese-m", "5"), ERR_INVALID);
    assert_string_equal(f->why, "--leese_m: unknown setting leese_m; the nearest is lease_ms");

    write_file(f, "region = x\nregoin = y\n");
    assert_int_equal(LOAD(f, NULL, "--config", f->path), ERR_INVALID);
    assert_non_null(strstr(f->why, ":2: unknown setting regoin; the nearest is region"));
}

static void settings__impossible_values__refused_with_the_rule(void **state)
{
    static const struct {
        const char *flag;
        const char *rule;
    } cases[] = {
        {"--lease-ms=99", "must be from 100 to 60000"},
        {"--lease-ms=60001", "must be from 100 to 60000"},
        {"--lease-ms=", "not a whole number"},
        {"--lease-ms=-5", "not a whole number"},
        {"--lease-ms= 500", "not a whole number"},
        {"--lease-ms=500ms", "not a whole number"},
        {"--lease-ms=99999999999999999999999", "not a whole number"},
        {"--is-verbose=maybe", "must be true or false"},
        {"--region=", "must be from 1 to 32 characters"},
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        assert_int_equal(LOAD(f, NULL, (char *)(uintptr_t)cases[i].flag), ERR_INVALID);
        assert_non_null(strstr(f->why, cases[i].rule));
    }
}

static void settings__malformed__refused(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(LOAD(f, NULL, "--lease-ms"), ERR_INVALID);
    assert_non_null(strstr(f->why, "needs a value"));
    assert_int_equal(LOAD(f, NULL, "--config"), ERR_INVALID);
    assert_int_equal(LOAD(f, NULL, "lease_ms=5"), ERR_INVALID);
    assert_non_null(strstr(f->why, "unexpected argument lease_ms=5"));
    assert_int_equal(LOAD(f, NULL, "--"), ERR_INVALID);
    assert_int_equal(LOAD(f, NULL, "--config", "/no/such/file"), ERR_NOT_FOUND);
    assert_non_null(strstr(f->why, "/no/such/file"));
    write_file(f, "just words\n");
    assert_int_equal(LOAD(f, NULL, "--config", f->path), ERR_INVALID);
    assert_non_null(strstr(f->why, "name = value"));
}

static void settings__secret_refused__is_not_shown(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(
        LOAD(f, NULL, "--secret-key=0123456789012345678901234567890123456789-too-long"),
        ERR_INVALID);

    assert_null(strstr(f->why, "0123"));
}

static void settings__help__is_an_end(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(LOAD(f, NULL, "--region", "x", "--help"), ERR_END);
}

static char logged[1024];

static void on_line(enum log_level level, const char *line)
{
    (void)level;
    (void)snprintf(logged, sizeof(logged), "%s", line);
}

static void settings_log__a_secret__masked(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(LOAD(f, NULL, "--secret-key", "hush"), OK);
    log_set_sink(on_line);
    settings_log(&table, &f->values);
    log_set_sink(NULL);

    assert_string_equal(logged, "settings.effective lease_ms=1500 queue_bytes=33554432 "
                                "is_verbose=false region=us-east-1 data_folder= secret_key=***");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(settings__nothing_given__defaults),
        TEST(settings__file_environment_flags__the_later_wins),
        TEST(settings__flags_with_equals__taken),
        TEST(settings__unknown_name__refused_with_the_nearest),
        TEST(settings__impossible_values__refused_with_the_rule),
        TEST(settings__malformed__refused),
        TEST(settings__secret_refused__is_not_shown),
        TEST(settings__help__is_an_end),
        TEST(settings_log__a_secret__masked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
