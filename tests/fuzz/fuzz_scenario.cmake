skein_fuzz(scenario SOURCES fuzz_scenario.c LIBS chaos_scenario)
