skein_fuzz(item SOURCES fuzz_item.c LIBS node_table)
