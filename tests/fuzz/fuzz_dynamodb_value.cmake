skein_fuzz(dynamodb_value SOURCES fuzz_dynamodb_value.c LIBS node_aws node_table)
