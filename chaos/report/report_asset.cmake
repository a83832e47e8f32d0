# Writes a C file with the text of FILE, NUL-terminated, in an array SYMBOL.
file(READ ${FILE} bytes HEX)
string(REGEX REPLACE "(................................)" "\\1\n" bytes "${bytes}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
file(WRITE ${OUTPUT} "/* Generated from ${FILE}. */
#include \"chaos/report/report_asset.h\"

const unsigned char ${SYMBOL}[] = {
${bytes}0};
")
