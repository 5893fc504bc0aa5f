/*
 * A streaming JSON writer: what is written goes straight into a str (json_put_…, apart from the
 * names of the jansson library). It keeps track of commas and nesting only; the caller balances
 * begin and end. Strings are escaped; bytes that are not UTF-8 become U+FFFD.
 */
#ifndef SLUICE_BASE_JSON_H
#define SLUICE_BASE_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "str.h"

#define JSON_DEPTH_MAX 16

struct json {
    struct str *out;
    uint32_t depth;
    bool has_item[JSON_DEPTH_MAX];
};

void json_init(struct json *j, struct str *out);
/* key is NULL inside arrays and at the top. */
void json_begin_object(struct json *j, const char *key);
void json_end_object(struct json *j);
void json_begin_array(struct json *j, const char *key);
void json_end_array(struct json *j);
void json_put_string(struct json *j, const char *key, const char *value); /* NULL value: null */
void json_put_int(struct json *j, const char *key, int64_t value);
void json_put_uint(struct json *j, const char *key, uint64_t value);
void json_put_bool(struct json *j, const char *key, bool value);
void json_put_null(struct json *j, const char *key);
/* The escaped form with its quotes, appended to out. */
void json_escape(struct str *out, const char *text);

#define JSON_UNIT_MAX 8
/*
 * One step of it, for who has to cut between characters: the escaped form of the character that
 * text (not at its end) starts with, NUL-terminated. Returns how many bytes of text that took.
 */
size_t json_escape_next(const char *text, char unit[static JSON_UNIT_MAX]);

#endif
