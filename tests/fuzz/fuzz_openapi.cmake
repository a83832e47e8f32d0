skein_fuzz(openapi SOURCES fuzz_openapi.c LIBS node_aws)
