skein_fuzz(history SOURCES fuzz_history.c LIBS chaos_checker)
