/* Chaos scenarios: whatever is accepted is written and read again as the same, and can be put into
 * a schedule that keeps to its time. */

#include "chaos/scenario/schedule.h"
#include "proto/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_schedule(const struct scenario *scenario)
{
    struct schedule schedule;
    unsigned seconds = scenario->seconds < 20 ? scenario->seconds : 20;

    schedule_make(scenario, seconds, 7, &schedule);
    for (size_t i = 0; i < schedule.count; i++) {
        CHECK(schedule.actions[i].at_ms < seconds * 1000);
        CHECK(schedule.actions[i].end_ms <= seconds * 1000);
        CHECK(schedule.actions[i].at_ms <= schedule.actions[i].end_ms);
        CHECK(schedule.actions[i].fault < scenario->fault_count);
        CHECK(i == 0 || schedule.actions[i - 1].at_ms <= schedule.actions[i].at_ms);
    }
    schedule_close(&schedule);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct scenario *scenario = check_calloc(2, sizeof(*scenario));
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) text_again = BUFFER_INIT(BUFFER_UNLIMITED);
    char why[ERROR_WHY_BYTES] = "";

    if (scenario_parse(slice_of(data, size), &scenario[0], why) != OK) {
        CHECK(why[0] != '\0');
    } else {
        scenario_write(&scenario[0], &text);
        CHECK(scenario_parse(buffer_slice(&text), &scenario[1], why) == OK);
        scenario_write(&scenario[1], &text_again);
        CHECK(slice_equal(buffer_slice(&text), buffer_slice(&text_again)));
        check_schedule(&scenario[0]);
    }
    free(scenario);
    return 0;
}
