/*
 * How commands build their replies: one description of columns gives a table for people or an array
 * of objects for programs, from the same rows; likewise records of single values. Commands never
 * ask which form is wanted. In master.
 *
 * Rows are plain structs; a column says where in the struct its value is and what kind it is:
 *
 *     static const struct column columns[] = {
 *         {"name", "NAME", COLUMN_TEXT, offsetof(struct row, name)},
 *         {"bytes_in", "IN", COLUMN_BYTES, offsetof(struct row, bytes_in)},
 *         {0},
 *     };
 *     reply_table_begin(reply, "pools", columns);
 *     reply_row(reply, &row);
 *     reply_table_end(reply);
 */
#ifndef SLUICE_CTL_REPLY_H
#define SLUICE_CTL_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/errlist.h"
#include "base/json.h"
#include "base/str.h"

#define REPLY_COLUMNS_MAX 48
#define REPLY_NONE        UINT64_MAX /* as a number: unknown; "-" in text, null in JSON */

/* Kinds and the type of the struct's field. All numbers are uint64_t, whatever their range. */
enum column_kind {
    COLUMN_TEXT,     /* const char *; NULL or "" is "-" in text, NULL is null in JSON */
    COLUMN_UINT,     /* uint64_t */
    COLUMN_BYTES,    /* uint64_t */
    COLUMN_SECONDS,  /* uint64_t, a duration */
    COLUMN_MS,       /* uint64_t, a duration */
    COLUMN_US,       /* uint64_t, a latency */
    COLUMN_WALL_MS,  /* uint64_t, since 1970 */
    COLUMN_BOOL,     /* uint64_t; yes or no, true or false */
    COLUMN_LIST,     /* const char *const *, ends with NULL; NULL is the empty list */
    COLUMN_UINTS,    /* struct reply_uints */
    COLUMN_COUNTERS, /* const uint64_t *, one per name in the column's names; text leaves out 0 */
    COLUMN_ROWS,     /* struct reply_rows, an array of objects; JSON only: without title */
    COLUMN_KIND_COUNT
};

struct column {
    const char *key;   /* in JSON; NULL ends the list */
    const char *title; /* in text; NULL: JSON only */
    enum column_kind kind;
    size_t offset;
    const char *const *names; /* COLUMN_COUNTERS: members of the object */
    size_t n_names;
};

struct reply_uints {
    const uint64_t *items;
    size_t count;
};

struct reply_rows {
    const void *items; /* structs of size, which columns describe */
    size_t count, size;
    const struct column *columns;
};

struct reply {
    bool as_json;
    bool is_error;
    struct str error; /* why, for events; empty while is_error is not set */
    struct str body;
    struct json json; /* within the top object; for members that fit no column */
    /* The table being built. */
    const struct column *columns;
    size_t n_rows;
    struct str cells; /* texts of all cells, row by row, each with its NUL */
    size_t width[REPLY_COLUMNS_MAX];
};

/* limit: most bytes of the finished reply. */
void reply_init(struct reply *reply, bool as_json, size_t limit);
void reply_free(struct reply *reply);
/* Closes the document; reply->body is complete. A reply over its limit becomes an error. */
void reply_finish(struct reply *reply);

/* key names the array in JSON. columns ends with a NULL key. */
void reply_table_begin(struct reply *reply, const char *key, const struct column *columns);
void reply_row(struct reply *reply, const void *row);
void reply_table_end(struct reply *reply);

/* Single values: "title  value" lines, or members of the top object. */
void reply_record(struct reply *reply, const struct column *columns, const void *record);
/* The same as members of whatever object reply->json is in; nothing in text. */
void reply_members(struct reply *reply, const struct column *columns, const void *record);

/* A line for people; nothing in JSON. The newline is added. */
__attribute__((format(printf, 2, 3))) void reply_line(struct reply *reply, const char *format, ...);
/* Lines of text as a string member of the top object; in text as they are. */
void reply_document(struct reply *reply, const char *key, const char *text);
/* An array of strings under key; in text a line each. */
void reply_lines(struct reply *reply, const char *key, char *const *lines, size_t count);

/* Drops what was built: the request is refused, and format says why and what would be right. */
__attribute__((format(printf, 2, 3))) void reply_error(struct reply *reply, const char *format,
                                                       ...);
/* The same for words that are no command: unknown, too few, too many. The text begins with
 * CODEC_USAGE, and JSON has CODEC_USAGE_JSON, too. */
__attribute__((format(printf, 2, 3))) void reply_bad_usage(struct reply *reply, const char *format,
                                                           ...);
/*
 * The same with a list of faults: the headline, then a line each; in JSON {"error": …, "errors":
 * [{"severity", "file", "line", "section", "text"}], "errors_dropped": N}.
 */
void reply_refuse(struct reply *reply, const char *headline, const struct errlist *errors);
/* Warnings of a request that was done: lines, or the array "warnings" (always there). */
void reply_warnings(struct reply *reply, const struct errlist *errors);

#endif
