skein_fuzz(cluster_file SOURCES fuzz_cluster_file.c LIBS proto_base)
