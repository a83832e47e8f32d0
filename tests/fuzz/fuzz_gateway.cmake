skein_fuzz(gateway SOURCES fuzz_gateway.c LIBS node_aws)
