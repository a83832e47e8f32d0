skein_fuzz(number SOURCES fuzz_number.c LIBS node_table)
