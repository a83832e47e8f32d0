skein_fuzz(catalogue SOURCES fuzz_catalogue.c LIBS controller proto_env_sim)
