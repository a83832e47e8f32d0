/* Zip archives from strangers: checked, never written. */

#include "node/sandbox/package.h"
#include "proto/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct package_limits limits = {1 << 20, 100};
    char why[ERROR_WHY_BYTES];

    if (package_check(slice_of(data, size), &limits, why) != OK)
        CHECK(why[0] != '\0'); /* whoever sent it is told what is wrong */
    return 0;
}
