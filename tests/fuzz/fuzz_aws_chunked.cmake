skein_fuzz(aws_chunked SOURCES fuzz_aws_chunked.c LIBS node_auth)
