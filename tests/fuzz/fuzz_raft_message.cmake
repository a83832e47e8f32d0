skein_fuzz(raft_message SOURCES fuzz_raft_message.c LIBS proto_raft)
