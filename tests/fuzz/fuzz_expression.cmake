skein_fuzz(expression SOURCES fuzz_expression.c LIBS node_table)
