/* The cluster file: whatever is accepted is written and read again as the same. */

#include "proto/base/check.h"
#include "proto/base/cluster_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cluster_file file;
    struct cluster_file again;
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) text_again = BUFFER_INIT(BUFFER_UNLIMITED);
    char why[ERROR_WHY_BYTES] = "";

    cluster_file_init(&file);
    cluster_file_init(&again);
    if (cluster_file_parse(slice_of(data, size), &file, why) != OK) {
        CHECK(why[0] != '\0');
        return 0;
    }
    cluster_file_write(&file, &text);
    CHECK(cluster_file_parse(buffer_slice(&text), &again, why) == OK);
    cluster_file_write(&again, &text_again);
    CHECK(slice_equal(buffer_slice(&text), buffer_slice(&text_again)));
    cluster_file_close(&file);
    cluster_file_close(&again);
    return 0;
}
