skein_fuzz(http_reader SOURCES fuzz_http_reader.c LIBS node_http)
