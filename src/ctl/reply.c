/*
 * Replies in text and JSON from one description. In master; a reply belongs to its request.
 */
#include "ctl/reply.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "ctl/codec.h"
#include "ctl/format.h"

#define COLUMN_GAP         2
#define RECORD_TITLE_WIDTH 25 /* at least, so that records that follow each other line up */

_Static_assert(FORMAT_TEXT_MAX <= 64 && CLOCK_TEXT_MAX <= 64, "number_text's buffer");

void reply_init(struct reply *reply, bool as_json, size_t limit)
{
    *reply = (struct reply){.as_json = as_json};
    reply->body.limit = limit;
    reply->cells.limit = limit;
    json_init(&reply->json, &reply->body);
    if (as_json)
        json_begin_object(&reply->json, NULL);
}

void reply_free(struct reply *reply)
{
    str_free(&reply->error);
    str_free(&reply->body);
    str_free(&reply->cells);
}

void reply_finish(struct reply *reply)
{
    if (reply->cells.failed || reply->body.failed)
        reply_error(reply,
                    "the reply would be longer than %zu bytes or there is no memory for it; "
                    "ask for less of it",
                    reply->body.limit);
    if (reply->as_json)
        json_end_object(&reply->json);
}

/* --- one value --- */

static const void *field(const struct column *column, const void *row)
{
    return (const char *)row + column->offset;
}

static uint64_t field_number(const struct column *column, const void *row)
{
    uint64_t number;

    memcpy(&number, field(column, row), sizeof(number));
    return number;
}

static const void *field_pointer(const struct column *column, const void *row)
{
    const void *pointer;

    memcpy(&pointer, field(column, row), sizeof(pointer));
    return pointer;
}

static void json_uints(struct json *json, const char *key, const struct reply_uints *list)
{
    json_begin_array(json, key);
    for (size_t i = 0; i < list->count; i++)
        json_put_uint(json, NULL, list->items[i]);
    json_end_array(json);
}

static void json_list(struct json *json, const char *key, const char *const *list)
{
    json_begin_array(json, key);
    for (; list && *list; list++)
        json_put_string(json, NULL, *list);
    json_end_array(json);
}

static void json_number(struct json *json, const char *key, enum column_kind kind, uint64_t number)
{
    if (number == REPLY_NONE)
        json_put_null(json, key);
    else if (kind == COLUMN_BOOL)
        json_put_bool(json, key, number != 0);
    else
        json_put_uint(json, key, number);
}

static void json_counters(struct json *json, const struct column *column, const uint64_t *counters)
{
    json_begin_object(json, column->key);
    for (size_t i = 0; i < column->n_names; i++)
        json_number(json, column->names[i], COLUMN_UINT, counters[i]);
    json_end_object(json);
}

static void json_column(struct json *json, const struct column *column, const void *row);

static void json_rows(struct json *json, const char *key, const struct reply_rows *rows)
{
    json_begin_array(json, key);
    for (size_t i = 0; i < rows->count; i++) {
        json_begin_object(json, NULL);
        for (const struct column *c = rows->columns; c->key; c++)
            json_column(json, c, (const char *)rows->items + i * rows->size);
        json_end_object(json);
    }
    json_end_array(json);
}

static void json_column(struct json *json, const struct column *column, const void *row)
{
    switch (column->kind) {
    case COLUMN_TEXT:
        json_put_string(json, column->key, field_pointer(column, row));
        break;
    case COLUMN_LIST:
        json_list(json, column->key, field_pointer(column, row));
        break;
    case COLUMN_UINTS:
        json_uints(json, column->key, field(column, row));
        break;
    case COLUMN_ROWS:
        json_rows(json, column->key, field(column, row));
        break;
    case COLUMN_COUNTERS:
        json_counters(json, column, field_pointer(column, row));
        break;
    default:
        json_number(json, column->key, column->kind, field_number(column, row));
        break;
    }
}

static void text_number(struct str *out, enum column_kind kind, uint64_t number)
{
    char buf[64];

    if (number == REPLY_NONE)
        str_append_char(out, '-');
    else if (kind == COLUMN_BOOL)
        str_append(out, number ? "yes" : "no");
    else if (kind == COLUMN_BYTES)
        str_append(out, format_bytes(number, buf));
    else if (kind == COLUMN_SECONDS)
        str_append(out, format_duration(number * 1000, buf));
    else if (kind == COLUMN_MS)
        str_append(out, format_duration(number, buf));
    else if (kind == COLUMN_US)
        str_append(out, format_latency(number, buf));
    else if (kind == COLUMN_WALL_MS)
        str_append(out, clock_format_wall(number, buf));
    else
        str_printf(out, "%" PRIu64, number);
}

/* A cell is one line: what would break it becomes a space. */
static void text_word(struct str *out, const char *text)
{
    for (; *text; text++)
        str_append_char(out, *text == '\n' || *text == '\t' || *text == '\r' ? ' ' : *text);
}

/* Appends the value, nothing where there is none. */
static void text_value(struct str *out, const struct column *column, const void *row)
{
    const struct reply_uints *uints = field(column, row);
    const char *const *list;
    const uint64_t *counters;
    const char *separator = "";

    switch (column->kind) {
    case COLUMN_TEXT:
        if (field_pointer(column, row))
            text_word(out, field_pointer(column, row));
        break;
    case COLUMN_LIST:
        for (list = field_pointer(column, row); list && *list; list++, separator = ", ")
            str_printf(out, "%s%s", separator, *list);
        break;
    case COLUMN_UINTS:
        for (size_t i = 0; i < uints->count; i++)
            str_printf(out, "%s%" PRIu64, i > 0 ? ", " : "", uints->items[i]);
        break;
    case COLUMN_COUNTERS:
        counters = field_pointer(column, row);
        for (size_t i = 0; i < column->n_names; i++) {
            if (counters[i] == 0 || counters[i] == REPLY_NONE)
                continue;
            str_printf(out, "%s%s=%" PRIu64, separator, column->names[i], counters[i]);
            separator = " ";
        }
        break;
    case COLUMN_ROWS:
        break;
    default:
        text_number(out, column->kind, field_number(column, row));
        break;
    }
}

static void text_column(struct str *out, const struct column *column, const void *row)
{
    size_t before = out->len;

    text_value(out, column, row);
    if (out->len == before)
        str_append_char(out, '-');
}

static bool is_right_aligned(enum column_kind kind)
{
    return kind >= COLUMN_UINT && kind <= COLUMN_US;
}

/* Columns that a terminal takes for text: its characters, not its bytes. */
static size_t text_width(const char *text)
{
    size_t width = 0;

    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static void append_spaces(struct str *out, size_t count)
{
    str_printf(out, "%*s", (int)count, "");
}

/* --- tables --- */

static void note_width(struct reply *reply, size_t index, const char *text)
{
    size_t width = text_width(text);

    if (width > reply->width[index])
        reply->width[index] = width;
}

void reply_table_begin(struct reply *reply, const char *key, const struct column *columns)
{
    size_t index = 0;

    reply->columns = columns;
    if (reply->as_json) {
        json_begin_array(&reply->json, key);
        return;
    }
    reply->n_rows = 0;
    str_reset(&reply->cells);
    memset(reply->width, 0, sizeof(reply->width));
    for (const struct column *c = columns; c->key; c++)
        if (c->title && index < REPLY_COLUMNS_MAX)
            note_width(reply, index++, c->title);
}

void reply_row(struct reply *reply, const void *row)
{
    size_t index = 0;

    if (reply->as_json) {
        json_begin_object(&reply->json, NULL);
        reply_members(reply, reply->columns, row);
        json_end_object(&reply->json);
        return;
    }
    for (const struct column *c = reply->columns; c->key; c++) {
        size_t start = reply->cells.len;

        if (!c->title || index >= REPLY_COLUMNS_MAX)
            continue;
        text_column(&reply->cells, c, row);
        str_append_n(&reply->cells, "", 1);
        if (reply->cells.failed)
            return;
        note_width(reply, index++, reply->cells.data + start);
    }
    reply->n_rows++;
}

static bool has_further_title(const struct column *column)
{
    for (column++; column->key; column++)
        if (column->title)
            return true;
    return false;
}

/* One line of the table; cells are the texts of its titled columns one after the other. Returns
 * what is behind them. NULL cells: the titles. */
static const char *table_line(struct reply *reply, const char *cells)
{
    size_t index = 0;

    for (const struct column *c = reply->columns; c->key; c++) {
        if (!c->title || index >= REPLY_COLUMNS_MAX)
            continue;
        const char *text = cells ? cells : c->title;
        size_t padding = reply->width[index++] - text_width(text);
        bool is_right = is_right_aligned(c->kind);
        bool is_last = !has_further_title(c);

        if (is_right)
            append_spaces(&reply->body, padding);
        str_append(&reply->body, text);
        if (!is_last)
            append_spaces(&reply->body, (is_right ? 0 : padding) + COLUMN_GAP);
        if (cells)
            cells += strlen(cells) + 1;
    }
    str_append_char(&reply->body, '\n');
    return cells;
}

void reply_table_end(struct reply *reply)
{
    const char *cells = str_text(&reply->cells);

    if (reply->as_json) {
        json_end_array(&reply->json);
        return;
    }
    if (reply->cells.failed)
        return;
    table_line(reply, NULL);
    for (size_t i = 0; i < reply->n_rows; i++)
        cells = table_line(reply, cells);
    str_reset(&reply->cells);
}

/* --- records and lines --- */

void reply_members(struct reply *reply, const struct column *columns, const void *record)
{
    if (!reply->as_json)
        return;
    for (const struct column *c = columns; c->key; c++)
        json_column(&reply->json, c, record);
}

void reply_record(struct reply *reply, const struct column *columns, const void *record)
{
    size_t width = RECORD_TITLE_WIDTH;

    if (reply->as_json) {
        reply_members(reply, columns, record);
        return;
    }
    for (const struct column *c = columns; c->key; c++)
        if (c->title && text_width(c->title) > width)
            width = text_width(c->title);
    for (const struct column *c = columns; c->key; c++) {
        if (!c->title)
            continue;
        str_append(&reply->body, c->title);
        append_spaces(&reply->body, width - text_width(c->title) + COLUMN_GAP);
        text_column(&reply->body, c, record);
        str_append_char(&reply->body, '\n');
    }
}

void reply_line(struct reply *reply, const char *format, ...)
{
    va_list args;

    if (reply->as_json)
        return;
    va_start(args, format);
    str_vprintf(&reply->body, format, args);
    va_end(args);
    str_append_char(&reply->body, '\n');
}

void reply_document(struct reply *reply, const char *key, const char *text)
{
    if (reply->as_json)
        json_put_string(&reply->json, key, text);
    else
        str_append(&reply->body, text);
}

void reply_lines(struct reply *reply, const char *key, char *const *lines, size_t count)
{
    if (reply->as_json)
        json_begin_array(&reply->json, key);
    for (size_t i = 0; i < count; i++) {
        if (reply->as_json)
            json_put_string(&reply->json, NULL, lines[i]);
        else
            reply_line(reply, "%s", lines[i]);
    }
    if (reply->as_json)
        json_end_array(&reply->json);
}

/* --- refusals --- */

/* Starts the reply anew as an error; its text follows. */
static void begin_error(struct reply *reply)
{
    str_reset(&reply->body);
    str_reset(&reply->cells);
    reply->is_error = true;
    if (reply->as_json) {
        json_init(&reply->json, &reply->body);
        json_begin_object(&reply->json, NULL);
    }
}

static void put_error_text(struct reply *reply, const char *text)
{
    begin_error(reply);
    str_reset(&reply->error);
    str_append(&reply->error, text);
    if (reply->as_json)
        json_put_string(&reply->json, "error", text);
    else
        reply_line(reply, CODEC_ERROR "%s", text);
}

void reply_error(struct reply *reply, const char *format, ...)
{
    STR_AUTO text = {0};
    va_list args;

    va_start(args, format);
    str_vprintf(&text, format, args);
    va_end(args);
    put_error_text(reply, text.failed ? "out of memory" : str_text(&text));
}

void reply_bad_usage(struct reply *reply, const char *format, ...)
{
    STR_AUTO text = {0};
    va_list args;

    str_append(&text, CODEC_USAGE);
    va_start(args, format);
    str_vprintf(&text, format, args);
    va_end(args);
    put_error_text(reply, text.failed ? "out of memory" : str_text(&text));
    if (reply->as_json)
        json_put_string(&reply->json, "code", "usage");
}

static void json_fault(struct json *json, const struct errlist_item *item)
{
    json_begin_object(json, NULL);
    json_put_string(json, "severity", item->severity == ERRLIST_ERROR ? "error" : "warning");
    json_put_string(json, "file", item->file);
    json_put_int(json, "line", item->line);
    json_put_string(json, "section", item->section);
    json_put_string(json, "text", item->text);
    json_end_object(json);
}

static void json_faults(struct json *json, const char *key, const struct errlist *errors)
{
    json_begin_array(json, key);
    for (size_t i = 0; i < errors->count; i++)
        json_fault(json, &errors->items[i]);
    json_end_array(json);
}

void reply_refuse(struct reply *reply, const char *headline, const struct errlist *errors)
{
    put_error_text(reply, headline);
    const struct errlist_item *first = errlist_first_error(errors);
    if (first) { /* for the events, which have room for one */
        str_append(&reply->error, "; first: ");
        errlist_print_item(first, &reply->error);
    }
    if (reply->as_json) {
        json_faults(&reply->json, "errors", errors);
        json_put_uint(&reply->json, "errors_dropped", errors->dropped);
    } else {
        errlist_print(errors, &reply->body);
    }
}

void reply_warnings(struct reply *reply, const struct errlist *errors)
{
    if (reply->as_json)
        json_faults(&reply->json, "warnings", errors);
    else
        errlist_print(errors, &reply->body);
}
