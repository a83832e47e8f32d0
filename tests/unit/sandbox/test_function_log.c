/* What functions print, in files: whole lines, bounded, and no harm from a disk that refuses. */

#include "node/sandbox/function_log.h"
#include "proto/base/check.h"
#include "proto/env/env_sim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#define SECOND 1000000u

struct fixture {
    struct sim *sim;
    struct env *env;
    struct function_log *log;
    struct buffer text; /* what `content` gave */
};

static void fixture_open(struct fixture *f)
{
    struct sim_options options = sim_options_default(1);

    *f = (struct fixture){.sim = sim_new(&options)};
    f->env = sim_process_start(f->sim, 1);
    f->log = function_log_new(f->env, "logs");
    buffer_init(&f->text, BUFFER_UNLIMITED);
}

static void fixture_close(struct fixture *f)
{
    function_log_free(f->log);
    buffer_close(&f->text);
    sim_free(f->sim);
}

static void put(struct fixture *f, const char *stream, const char *text)
{
    function_log_put(f->log, "orders", stream, "request-1", slice_text(text));
}

static void settle(struct fixture *f)
{
    sim_run_until(f->sim, sim_now_us(f->sim) + SECOND);
}

/* The file without the times. */
static const char *content(struct fixture *f, const char *path)
{
    struct slice bytes;
    bool is_time = true;

    buffer_clear(&f->text);
    if (sim_disk_content(f->sim, 1, path, &bytes) != OK)
        return "";
    for (size_t i = 0; i < bytes.size; i++) {
        if (!is_time)
            buffer_put(&f->text, &bytes.data[i], 1);
        is_time = bytes.data[i] == '\n' || (is_time && bytes.data[i] != '\t');
    }
    return buffer_text(&f->text);
}

static void function_log__lines_of_two_streams_in_pieces__are_whole_lines(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);

    put(&f, "a", "hel");
    put(&f, "b", "other\n");
    put(&f, "a", "lo\nsecond");
    put(&f, "a", "\n\n");
    settle(&f);

    assert_string_equal(content(&f, "logs/orders"), "b\tother\na\thello\na\tsecond\n");
    fixture_close(&f);
}

static void function_log__output_without_an_end__ends_where_the_platform_speaks(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);

    put(&f, "a", "no newline");
    put(&f, "a", "END RequestId: request-1\n");
    settle(&f);

    assert_string_equal(content(&f, "logs/orders"), "a\tno newline\na\tEND RequestId: request-1\n");
    fixture_close(&f);
}

static void function_log__more_than_a_file_holds__the_one_before_is_kept(void **state)
{
    struct fixture f;
    struct slice bytes;
    char line[1001] = "";

    (void)state;
    fixture_open(&f);
    (void)memset(line, 'x', 999);
    line[999] = '\n';

    for (int moment = 0; moment < 60; moment++) {
        for (int i = 0; i < 50; i++)
            put(&f, "a", line);
        settle(&f);
    }

    assert_int_equal(sim_disk_content(f.sim, 1, "logs/orders", &bytes), OK);
    assert_in_range(bytes.size, 1, FUNCTION_LOG_FILE_BYTES);
    assert_int_equal(sim_disk_content(f.sim, 1, "logs/orders.1", &bytes), OK);
    assert_in_range(bytes.size, FUNCTION_LOG_FILE_BYTES / 2, FUNCTION_LOG_FILE_BYTES);
    fixture_close(&f);
}

static void function_log__a_flood__is_cut_and_says_so(void **state)
{
    struct fixture f;
    struct slice bytes;

    (void)state;
    fixture_open(&f);

    for (int i = 0; i < 100000; i++)
        put(&f, "a", "a line of a function that prints without end\n");
    settle(&f);

    assert_int_equal(sim_disk_content(f.sim, 1, "logs/orders", &bytes), OK);
    assert_in_range(bytes.size, 1000, FUNCTION_LOG_GATHERED_BYTES + 200);
    assert_non_null(strstr(content(&f, "logs/orders"), "lines left out"));
    fixture_close(&f);
}

static void function_log__one_endless_line__is_cut_into_lines(void **state)
{
    struct fixture f;
    char piece[1000];

    (void)state;
    fixture_open(&f);
    (void)memset(piece, 'y', sizeof(piece));

    for (int i = 0; i < 40; i++)
        function_log_put(f.log, "orders", "a", NULL, slice_of(piece, sizeof(piece)));
    settle(&f);

    assert_non_null(strstr(content(&f, "logs/orders"), "y\na\ty"));
    fixture_close(&f);
}

static void function_log__the_disk_refuses__later_lines_are_written(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    put(&f, "a", "first\n");
    settle(&f);

    sim_disk_space(f.sim, 1, 0);
    put(&f, "a", "lost\n");
    settle(&f);
    sim_disk_space(f.sim, 1, UINT64_MAX);
    put(&f, "a", "third\n");
    settle(&f);

    assert_string_equal(content(&f, "logs/orders"), "a\tfirst\na\tthird\n");
    fixture_close(&f);
}

static void function_log__freed_with_lines_gathered__writes_nothing(void **state)
{
    struct fixture f;

    (void)state;
    fixture_open(&f);
    put(&f, "a", "gathered\nand begun");
    for (int i = 0; i < 200; i++) { /* sandboxes that ended in the middle of a line */
        char stream[16];

        (void)snprintf(stream, sizeof(stream), "s%d", i);
        put(&f, stream, "begun");
    }

    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(function_log__lines_of_two_streams_in_pieces__are_whole_lines),
        cmocka_unit_test(function_log__output_without_an_end__ends_where_the_platform_speaks),
        cmocka_unit_test(function_log__more_than_a_file_holds__the_one_before_is_kept),
        cmocka_unit_test(function_log__a_flood__is_cut_and_says_so),
        cmocka_unit_test(function_log__one_endless_line__is_cut_into_lines),
        cmocka_unit_test(function_log__the_disk_refuses__later_lines_are_written),
        cmocka_unit_test(function_log__freed_with_lines_gathered__writes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
