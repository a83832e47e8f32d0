skein_fuzz(package SOURCES fuzz_package.c LIBS node_sandbox)
