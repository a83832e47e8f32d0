skein_fuzz(watch_push SOURCES fuzz_watch_push.c LIBS node_view proto_env_sim)
