/*
 * Forms of the log's lines. Owns nothing; runs in every process. A session's line is written for
 * each connection, so what is plain is copied as it is and numbers are spelled here.
 */
#include "log_line.h"

#include <stdbool.h>
#include <string.h>

#include "json.h"

#define TAIL_BYTES  32 /* kept free for what closes a line: quote, cut=true, brace, line ends */
#define FIELD_BYTES 1024
#define LEAST_VALUE 24 /* any number, or a few characters and their quotes */
#define KEY_MAX     48
/* The journal's fields by themselves, when MESSAGE has had its part. */
#define JOURNAL_KEY_PREFIX "SLUICE_"

enum { FACILITY_DAEMON = 3 };

struct line {
    char *buf;
    size_t len, max; /* max: without the tail */
    bool is_json;
    bool is_cut;
};

static void put(struct line *line, const char *bytes, size_t n)
{
    memcpy(line->buf + line->len, bytes, n);
    line->len += n;
}

static void put_text(struct line *line, const char *text)
{
    put(line, text, strlen(text));
}

/* What stands for itself in all forms, and parts nothing. */
static bool is_plain(unsigned char c)
{
    return c > ' ' && c < 0x7f && c != '"' && c != '\\' && c != '=';
}

static size_t count_plain(const char *text)
{
    size_t n = 0;

    while (is_plain((unsigned char)text[n])) {
        n++;
    }
    return n;
}

/*
 * Appends text escaped, at most max_bytes of it and no more than leaves the tail free; cuts between
 * characters. Keeps *line marked as cut if anything was left out.
 */
static void put_escaped(struct line *line, const char *text, size_t max_bytes)
{
    size_t room = line->max - line->len;
    size_t end = line->len + (room < max_bytes ? room : max_bytes);
    char unit[JSON_UNIT_MAX];

    while (*text != '\0') {
        size_t taken = json_escape_next(text, unit);

        if (line->len + strlen(unit) > end) {
            line->is_cut = true;
            return;
        }
        put_text(line, unit);
        text += taken;
    }
}

/* Does logfmt need quotes: for what would be escaped, and for what separates. */
static bool needs_quotes(const char *text)
{
    char unit[JSON_UNIT_MAX];

    if (*text == '\0') {
        return true;
    }
    while (*text != '\0') {
        size_t taken = json_escape_next(text, unit);

        if (*text == ' ' || *text == '=' || strlen(unit) != taken ||
            memcmp(text, unit, taken) != 0) {
            return true;
        }
        text += taken;
    }
    return false;
}

/* Separator and key. False, and the line marked as cut, when there is no room for it and a value.
 */
static bool put_key(struct line *line, const char *key)
{
    size_t n = strlen(key);
    char last = line->len > 0 ? line->buf[line->len - 1] : '\n';

    if (line->len + n + LEAST_VALUE > line->max) {
        line->is_cut = true;
        return false;
    }
    if (line->is_json) {
        put_text(line, last == '{' ? "\"" : ",\"");
        put(line, key, n);
        put_text(line, "\":");
    } else {
        put_text(line, last == '\n' ? "" : " ");
        put(line, key, n);
        put_text(line, "=");
    }
    return true;
}

static void put_member(struct line *line, const char *key, const char *value, size_t max_bytes)
{
    size_t n = count_plain(value);
    bool is_all = value[n] == '\0' && n > 0;
    bool quoted = line->is_json || (!is_all && needs_quotes(value));

    if (!put_key(line, key)) {
        return;
    }
    if (quoted) {
        put_text(line, "\"");
    }
    if (is_all && n <= max_bytes && line->len + n <= line->max) {
        put(line, value, n);
    } else {
        put_escaped(line, value, max_bytes);
    }
    if (quoted) {
        put_text(line, "\"");
    }
}

static void put_digits(struct line *line, int64_t value)
{
    char digits[LEAST_VALUE];
    size_t at = sizeof(digits);
    uint64_t left = value < 0 ? -(uint64_t)value : (uint64_t)value;

    do {
        digits[--at] = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (value < 0) {
        digits[--at] = '-';
    }
    put(line, digits + at, sizeof(digits) - at);
}

static void put_fields(struct line *line, const struct log_field *fields)
{
    for (; fields != NULL && fields->key != NULL; fields++) {
        if (fields->text != NULL) {
            put_member(line, fields->key, fields->text, FIELD_BYTES);
        } else if (put_key(line, fields->key)) {
            put_digits(line, fields->number);
        }
    }
}

size_t log_line_write(char buf[static LOG_LINE_MAX], const struct log_head *head,
                      const char *message, const struct log_field *fields)
{
    struct line line = {
        .buf = buf,
        .max = LOG_LINE_MAX - 1 - TAIL_BYTES, /* one more for a line end in front */
        .is_json = head->format == LOG_FORMAT_JSON,
    };

    if (line.is_json) {
        put_text(&line, "{");
    }
    if (head->time != NULL) {
        put_member(&line, "time", head->time, FIELD_BYTES);
    }
    put_member(&line, "level", log_level_names[head->level], FIELD_BYTES);
    if (head->role[0] != '\0') {
        put_member(&line, "proc", head->role, FIELD_BYTES);
    }
    put_member(&line, "msg", message, LOG_LINE_MAX / 2);
    put_fields(&line, fields);
    if (line.is_cut) {
        put_text(&line, line.is_json ? ",\"cut\":true" : " cut=true");
    }
    put_text(&line, line.is_json ? "}\n" : "\n");
    return line.len;
}

/* --- the journal --- */

static void put_journal_key(struct line *line, const char *key)
{
    put_text(line, JOURNAL_KEY_PREFIX);
    for (; *key != '\0'; key++) {
        char c = *key;

        c = (char)(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
        put(line, &c, 1);
    }
}

static size_t cut_at(const char *text, size_t max_bytes)
{
    size_t n = strnlen(text, max_bytes + 1);

    if (n <= max_bytes) {
        return n;
    }
    n = max_bytes;
    while (n > 0 && ((unsigned char)text[n] & 0xC0) == 0x80) { /* within a character of UTF-8 */
        n--;
    }
    return n;
}

static bool has_control(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)text[i] < ' ') {
            return true;
        }
    }
    return false;
}

static void put_journal_field(struct line *line, const struct log_field *field)
{
    size_t n = field->text != NULL ? cut_at(field->text, FIELD_BYTES) : LEAST_VALUE;
    unsigned char size[8];

    if (line->len + strlen(JOURNAL_KEY_PREFIX) + KEY_MAX + sizeof(size) + n > line->max ||
        strlen(field->key) > KEY_MAX) {
        line->is_cut = true;
        return;
    }
    put_journal_key(line, field->key);
    if (field->text == NULL) {
        put_text(line, "=");
        put_digits(line, field->number);
    } else if (!has_control(field->text, n)) {
        put_text(line, "=");
        put(line, field->text, n);
    } else {
        for (size_t i = 0; i < sizeof(size); i++) {
            size[i] = (unsigned char)((uint64_t)n >> (8 * i));
        }
        put_text(line, "\n");
        put(line, (const char *)size, sizeof(size));
        put(line, field->text, n);
    }
    put_text(line, "\n");
}

static void put_journal_number(struct line *line, const char *name, int64_t number)
{
    put_text(line, name);
    put_digits(line, number);
    put_text(line, "\n");
}

size_t log_line_write_journal(char buf[static LOG_JOURNAL_MAX], const struct log_head *head,
                              const char *message, const struct log_field *fields)
{
    struct line line = {.buf = buf, .max = LOG_LINE_MAX};

    put_journal_number(&line, "PRIORITY=", log_priority(head->level));
    put_journal_number(&line, "SYSLOG_FACILITY=", FACILITY_DAEMON);
    put_text(&line, "SYSLOG_IDENTIFIER=sluiced\nMESSAGE=");
    put_escaped(&line, message, LOG_LINE_MAX / 2);
    put_fields(&line, fields);
    put_text(&line, "\n");
    line.max = LOG_JOURNAL_MAX - TAIL_BYTES;
    if (head->role[0] != '\0') {
        put_journal_field(&line, &LOG_STR("proc", head->role));
    }
    put_journal_field(&line, &LOG_STR("level", log_level_names[head->level]));
    for (; fields != NULL && fields->key != NULL; fields++) {
        put_journal_field(&line, fields);
    }
    if (line.is_cut) {
        put_journal_field(&line, &LOG_STR("cut", "true"));
    }
    return line.len;
}
