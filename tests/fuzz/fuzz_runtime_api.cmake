skein_fuzz(runtime_api SOURCES fuzz_runtime_api.c LIBS node_sandbox)
