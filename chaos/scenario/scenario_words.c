#include "chaos/scenario/scenario_words.h"

#include "proto/base/check.h"

#include <string.h>

#define SIM (1u << SCENARIO_SIM)
#define HOSTS (1u << SCENARIO_HOSTS)
#define LAPTOP (1u << SCENARIO_LAPTOP)

static const struct scenario_verb verbs[] = {
    {"kill", ACTION_KILL, SIM | HOSTS | LAPTOP, 1, 4, "kill TARGET", "killed"},
    {"pause", ACTION_PAUSE, SIM | HOSTS | LAPTOP, 1, 4, "pause TARGET", "paused"},
    {"stop", ACTION_STOP, SIM | HOSTS | LAPTOP, 1, 4, "stop TARGET", "stopped"},
    {"wipe", ACTION_WIPE, SIM | HOSTS | LAPTOP, 1, 4, "wipe TARGET", "killed and emptied"},
    {"flip", ACTION_FLIP, SIM | HOSTS | LAPTOP, 2, 5, "flip FILE TARGET", "killed and spoiled"},
    {"truncate", ACTION_TRUNCATE, SIM | HOSTS | LAPTOP, 2, 5, "truncate FILE TARGET",
     "killed and spoiled"},
    {"cut", ACTION_CUT, SIM | HOSTS | LAPTOP, 1, 9, "cut TARGET [from TARGET]", "cut off"},
    {"mute", ACTION_MUTE, SIM | HOSTS | LAPTOP, 1, 4, "mute TARGET", "made mute"},
    {"deafen", ACTION_DEAFEN, SIM | HOSTS | LAPTOP, 1, 4, "deafen TARGET", "made deaf"},
    {"delay", ACTION_DELAY, SIM | HOSTS | LAPTOP, 2, 10, "delay MS TARGET [from TARGET]",
     "slowed down"},
    {"lose", ACTION_LOSE, SIM | HOSTS | LAPTOP, 2, 10, "lose PERCENT TARGET [from TARGET]",
     "made lossy"},
    {"reset", ACTION_ELSEWHERE, HOSTS, 1, 4, "reset TARGET", "connections reset"},
    {"starve", ACTION_ELSEWHERE, HOSTS, 2, 5, "starve PERCENT TARGET", "starved"},
    {"slow-disk", ACTION_ELSEWHERE, SIM | HOSTS, 2, 5, "slow-disk MS TARGET", "slowed"},
    {"fill-disk", ACTION_ELSEWHERE, SIM | HOSTS, 1, 4, "fill-disk TARGET", "filled up"},
    {"fail-sync", ACTION_ELSEWHERE, SIM | HOSTS, 1, 4, "fail-sync TARGET", "unable to sync"},
    {"lose-power", ACTION_ELSEWHERE, SIM | HOSTS, 1, 4, "lose-power TARGET", "without power"},
    {"jump-clock", ACTION_ELSEWHERE, SIM | HOSTS, 2, 5, "jump-clock MS TARGET", "moved in time"},
    {"exhaust-memory", ACTION_ELSEWHERE, HOSTS, 1, 4, "exhaust-memory TARGET", "out of memory"},
    {"upgrade", ACTION_ELSEWHERE, HOSTS, 1, 4, "upgrade TARGET", "upgraded"},
    {"replace", ACTION_ELSEWHERE, SIM | HOSTS, 1, 4, "replace TARGET", "replaced"},
    {"surge", ACTION_ELSEWHERE, SIM | HOSTS, 1, 1, "surge TIMES", "loaded"},
    {"cut-clients", ACTION_ELSEWHERE, HOSTS, 1, 4, "cut-clients TARGET", "cut off from clients"},
};

static const char *const layer_names[] = {
#define X(name, text, meaning) [name] = text,
    SCENARIO_LAYERS(X)
#undef X
};

static const char *const workload_names[] = {
#define X(name, text, meaning) [name] = text,
    SCENARIO_WORKLOADS(X)
#undef X
};

static const char *const measure_names[] = {
#define X(name, text, meaning) [name] = text,
    SCENARIO_MEASURES(X)
#undef X
};

static const char *const measure_meanings[] = {
#define X(name, text, meaning) [name] = meaning,
    SCENARIO_MEASURES(X)
#undef X
};

static const char *const relation_texts[] = {
    [RELATION_EQUAL] = "=", [RELATION_AT_MOST] = "<=", [RELATION_AT_LEAST] = ">="};

static bool find(const char *const *names, size_t count, const char *name, size_t *place)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0) {
            *place = i;
            return true;
        }
    return false;
}

const char *scenario_layer_name(enum scenario_layer layer)
{
    return layer_names[layer];
}

const char *scenario_workload_name(enum scenario_workload workload)
{
    return workload_names[workload];
}

const char *scenario_measure_name(enum scenario_measure measure)
{
    return measure_names[measure];
}

const char *scenario_measure_meaning(enum scenario_measure measure)
{
    return measure_meanings[measure];
}

const char *scenario_relation_text(enum scenario_relation relation)
{
    return relation_texts[relation];
}

bool scenario_layer_find(const char *name, enum scenario_layer *layer)
{
    size_t place = 0;
    bool is_found = find(layer_names, ARRAY_COUNT(layer_names), name, &place);

    *layer = (enum scenario_layer)place;
    return is_found;
}

bool scenario_workload_find(const char *name, enum scenario_workload *workload)
{
    size_t place = 0;
    bool is_found = find(workload_names, ARRAY_COUNT(workload_names), name, &place);

    *workload = (enum scenario_workload)place;
    return is_found;
}

bool scenario_measure_find(const char *name, enum scenario_measure *measure)
{
    size_t place = 0;
    bool is_found = find(measure_names, ARRAY_COUNT(measure_names), name, &place);

    *measure = (enum scenario_measure)place;
    return is_found;
}

bool scenario_relation_find(const char *text, enum scenario_relation *relation)
{
    size_t place = 0;
    bool is_found = find(relation_texts, ARRAY_COUNT(relation_texts), text, &place);

    *relation = (enum scenario_relation)place;
    return is_found;
}

const struct scenario_verb *scenario_verb_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_COUNT(verbs); i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

/* A feature that lands is added here, and the scenarios that waited for it run. */
bool scenario_need_is_met(const char *need)
{
    static const char *const met[] = {"tables", "functions"};
    size_t place;

    return find(met, ARRAY_COUNT(met), need, &place);
}
