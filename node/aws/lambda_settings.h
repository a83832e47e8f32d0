/* What is set for a function beside its code and configuration: one record, "settings/NAME", with a
 * part for each qualifier that has something. It is changed together with the function's own
 * record, so nothing is set for a function, a version or an alias that goes meanwhile. */

#ifndef NODE_AWS_LAMBDA_SETTINGS_H
#define NODE_AWS_LAMBDA_SETTINGS_H

#include "node/aws/lambda_call.h"
#include "node/view/view.h"

/* Of one record; the catalogue takes a change as a whole. */
#define LAMBDA_SETTINGS_BYTES_MAX (512u << 10)

struct lambda_settings { /* in the arena of the call */
    Skein__Wire__FunctionSettings *record;
    uint64_t revision; /* VIEW_REVISION_NONE: there is no record yet */
};

char *lambda_settings_key(struct arena *arena, const char *function);

/* An empty one when nothing is set. */
struct lambda_settings lambda_settings_load(const struct lambda_call *call);

/* "" for $LATEST, else the name as it is. */
const char *lambda_settings_qualifier(const struct lambda_call *call);

/* The part of a qualifier; NULL: there is none. */
Skein__Wire__FunctionQualifierSettings *
lambda_settings_find(const Skein__Wire__FunctionSettings *record, const char *qualifier);
/* The same; made when there is none. */
Skein__Wire__FunctionQualifierSettings *lambda_settings_need(struct arena *arena,
                                                             Skein__Wire__FunctionSettings *record,
                                                             const char *qualifier);

/* The change that brings the settings to the catalogue. Parts without content are left out, and a
 * record without content goes. False: too large. */
bool lambda_settings_change(const struct lambda_call *call, const struct lambda_settings *settings,
                            struct view_change *change);
/* The change that takes the part of a qualifier out; false: there is none. */
bool lambda_settings_forget(const struct lambda_call *call, const char *qualifier,
                            struct view_change *change);

/* Commits the settings and `more`, and answers with `answer` (taken; NULL: nothing). */
void lambda_settings_commit(struct lambda_call *call, const struct lambda_settings *settings,
                            const struct view_change *more, size_t more_count,
                            struct buffer *answer, int success_status);

/* Every function that has settings: `each` gets its record, which lives in `arena`. */
void lambda_settings_each(const struct view *view, struct arena *arena, void *user,
                          void (*each)(void *user, const Skein__Wire__FunctionSettings *record));

/* ---- lists of parts, page by page: the marker is how many items came before ---- */

struct lambda_page {
    struct arena *arena;
    uint64_t skip;
    uint64_t limit;
    uint64_t seen;
};

/* False: the request was answered. */
bool lambda_settings_page(struct lambda_call *call, struct lambda_page *page);
/* Is the next item on this page? */
bool lambda_settings_page_takes(struct lambda_page *page);
/* NextMarker, when more items came than fitted. */
void lambda_settings_page_end(const struct lambda_page *page, struct json_write *json);

struct lambda_settings_kind { /* something that a part may have */
    const char *list;         /* what the list of them is called in an answer */
    bool (*has)(const Skein__Wire__FunctionQualifierSettings *part);
    void (*write)(const struct lambda_call *call, struct json_write *json,
                  const Skein__Wire__FunctionQualifierSettings *part);
};

/* Answers with those that the function's qualifiers have. */
void lambda_settings_list(struct lambda_call *call, const struct lambda_settings_kind *kind);

#endif
