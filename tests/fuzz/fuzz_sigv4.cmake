skein_fuzz(sigv4 SOURCES fuzz_sigv4.c LIBS node_auth)
