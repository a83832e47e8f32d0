/* skein-chaos-report: writes the report of a chaos run anew, or of a folder of runs. Exit status:
 * 0, 1 for a folder with something unreadable, 2 for wrong usage. */

#include "chaos/report/chaos_report.h"

#include <stdio.h>

int main(int count, char *words[])
{
    char why[ERROR_WHY_BYTES] = "";
    enum error rc;

    if (count != 2) {
        (void)fprintf(stderr, "usage: skein-chaos-report FOLDER\n");
        return 2;
    }
    rc = chaos_report_write(words[1], why);
    if (rc != OK)
        (void)fprintf(stderr, "skein-chaos-report: %s: %s\n", words[1], why);
    return rc == OK ? 0 : 1;
}
