skein_fuzz(frame SOURCES fuzz_frame.c LIBS proto_net)
