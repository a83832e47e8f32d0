# Writes a C file with the bytes of FILE in an array SYMBOL and their count in SYMBOL_bytes.
file(READ ${FILE} bytes HEX)
string(REGEX REPLACE "(................................)" "\\1\n" bytes "${bytes}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
file(WRITE ${OUTPUT} "/* Generated from ${FILE}. */
#include \"node/sandbox/process_image.h\"

const unsigned char ${SYMBOL}[] = {
${bytes}};
const size_t ${SYMBOL}_bytes = sizeof(${SYMBOL});
")
