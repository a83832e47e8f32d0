#include "tests/unit/report/made_run.h"

#include "proto/base/check.h"

#include <stdio.h>
#include <sys/stat.h>

void made_run_init(struct made_run *made, double seconds)
{
    *made = (struct made_run){0};
    for (size_t i = 0; i < REPORT_FILE_COUNT; i++)
        buffer_init(&made->files[i], BUFFER_UNLIMITED);
    buffer_putf(&made->files[REPORT_FILE_RUN],
                "{\"scenario\": \"S01\", \"title\": \"Kill a leader\", \"layer\": \"demo\", "
                "\"seed\": 7, \"started\": \"2026-11-24T03:00:00Z\", \"seconds\": %f, "
                "\"verdict\": \"PASS\", \"why\": \"nothing was lost\", \"invariants\": "
                "[{\"name\": \"lost writes\", \"threshold\": \"0\", \"measured\": 0, \"ok\": "
                "true}], \"cluster\": {\"nodes\": 6, \"controllers\": 3, \"regions\": "
                "[\"us-east-1\", \"eu-west-1\"]}}",
                seconds);
}

void made_run_close(struct made_run *made)
{
    for (size_t i = 0; i < REPORT_FILE_COUNT; i++)
        buffer_close(&made->files[i]);
}

void made_run_set(struct made_run *made, const char *run_json)
{
    buffer_clear(&made->files[REPORT_FILE_RUN]);
    buffer_put_text(&made->files[REPORT_FILE_RUN], run_json);
}

void made_run_samples(struct made_run *made, unsigned count, unsigned ok, unsigned failed)
{
    struct buffer *to = &made->files[REPORT_FILE_SAMPLES];

    for (unsigned i = 0; i < count; i++) {
        made->at_s += 0.1;
        buffer_putf(to, "{\"t\": %.3f, \"ok\": %u, \"failed\": %u", made->at_s, ok, failed);
        if (ok > 0)
            buffer_put_text(to, ", \"p50_ms\": 3, \"p99_ms\": 11.5, \"max_ms\": 20");
        buffer_put_text(to, "}\n");
    }
}

void made_run_fault(struct made_run *made, unsigned id, double at_s)
{
    buffer_putf(&made->files[REPORT_FILE_EVENTS],
                "{\"t\": %.3f, \"kind\": \"fault\", \"id\": %u, \"what\": \"kill\", \"target\": "
                "\"node-%u\", \"text\": \"SIGKILL\"}\n",
                at_s, id, id);
}

void made_run_undo(struct made_run *made, unsigned id, double at_s)
{
    buffer_putf(&made->files[REPORT_FILE_EVENTS],
                "{\"t\": %.3f, \"kind\": \"undo\", \"id\": %u, \"what\": \"start\", \"target\": "
                "\"\", \"text\": \"it is back\"}\n",
                at_s, id);
}

void made_run_lead(struct made_run *made, double at_s, unsigned shard, const char *leader)
{
    const char *quote = leader != NULL ? "\"" : "";

    buffer_putf(&made->files[REPORT_FILE_LEADERS],
                "{\"t\": %.3f, \"shard\": %u, \"leader\": %s%s%s}\n", at_s, shard, quote,
                leader != NULL ? leader : "null", quote);
}

void made_run_line(struct made_run *made, enum report_file file, const char *line)
{
    buffer_putf(&made->files[file], "%s\n", line);
}

void made_run_minute(struct made_run *made)
{
    made_run_init(made, 60);
    made_run_lead(made, 0, 0, "node-1");
    made_run_lead(made, 0, 1, "node-10");
    for (unsigned i = 1; i <= 6; i++) {
        made_run_samples(made, 90, 20, 0);
        made_run_samples(made, 2, 0, 1);
        made_run_samples(made, 8, 21, 0);
        made_run_fault(made, i, 10 * i - 1);
        made_run_undo(made, i, 10 * i - 0.5);
        made_run_lead(made, 10 * i - 0.99, 0, NULL);
        made_run_lead(made, 10 * i - 0.8, 0, i % 2 == 0 ? "node-1" : "node-2");
    }
}

enum error made_run_parse(const struct made_run *made, struct report_run *run,
                          char why[ERROR_WHY_BYTES])
{
    enum error rc = OK;

    for (size_t i = 0; i < REPORT_FILE_COUNT && rc == OK; i++)
        rc = report_run_parse(run, (enum report_file)i, buffer_slice(&made->files[i]), why);
    return rc == OK ? report_run_end(run, why) : rc;
}

void made_run_write(const struct made_run *made, const char *folder)
{
    CHECK(mkdir(folder, 0700) == 0);
    for (size_t i = 0; i < REPORT_FILE_COUNT; i++) {
        AUTO(buffer) path = BUFFER_INIT(BUFFER_UNLIMITED);
        FILE *file;

        buffer_putf(&path, "%s/%s", folder, report_run_file_name((enum report_file)i));
        file = fopen(buffer_text(&path), "we");
        CHECK(file != NULL);
        CHECK(fwrite(made->files[i].data, 1, made->files[i].size, file) == made->files[i].size);
        CHECK(fclose(file) == 0);
    }
}
