/* The scenarios that come with skein (chaos/scenarios), compiled in. */

#ifndef CHAOS_SCENARIO_SCENARIO_LIBRARY_H
#define CHAOS_SCENARIO_SCENARIO_LIBRARY_H

struct scenario_text {
    const char *name; /* of the file, without ".chaos" */
    const char *text;
};

/* In order of name; the last has the name NULL. */
extern const struct scenario_text scenario_library[];

#endif
