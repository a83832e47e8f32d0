/* report.css and report.js, put into the binary at build time (report_asset.cmake);
 * NUL-terminated. */

#ifndef CHAOS_REPORT_REPORT_ASSET_H
#define CHAOS_REPORT_REPORT_ASSET_H

extern const unsigned char report_css[];
extern const unsigned char report_js[];

#endif
