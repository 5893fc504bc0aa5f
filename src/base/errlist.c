/*
 * The bounded list of faults. A list owns copies of all its texts. Runs in the master, in the
 * configuration test and in sluicectl.
 */
#include "errlist.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX_BYTES 1024 /* of one text; what a user wrote may be long, a message is not */

static void free_item(struct errlist_item *item)
{
    free(item->file);
    free(item->section);
    free(item->text);
}

/* False without memory. */
static bool grow(struct errlist *list)
{
    size_t cap = list->cap > 0 ? list->cap * 2 : 8;
    struct errlist_item *items;

    if (list->count < list->cap) {
        return true;
    }
    items = reallocarray(list->items, cap, sizeof(*items));
    if (items == NULL) {
        return false;
    }
    list->items = items;
    list->cap = cap;
    return true;
}

/* Cuts to TEXT_MAX_BYTES, between characters, with "…" to say so. */
static void cut_text(struct str *text)
{
    size_t end = TEXT_MAX_BYTES;

    if (text->len <= TEXT_MAX_BYTES) {
        return;
    }
    while (end > 0 && ((unsigned char)text->data[end] & 0xC0) == 0x80) {
        end--;
    }
    text->len = end;
    str_append(text, "…");
}

void errlist_add(struct errlist *list, enum errlist_severity severity, const char *file, int line,
                 const char *section, const char *format, ...)
{
    struct errlist_item item = {.severity = severity, .line = line};
    struct str text = {0};
    va_list args;

    list->errors += severity == ERRLIST_ERROR ? 1 : 0;
    if (list->count >= ERRLIST_MAX || !grow(list)) {
        list->dropped++;
        return;
    }
    va_start(args, format);
    str_vprintf(&text, format, args);
    va_end(args);
    cut_text(&text);
    item.file = strdup(file != NULL ? file : "");
    item.section = strdup(section != NULL ? section : "");
    item.text = str_take(&text);
    if (item.file == NULL || item.section == NULL || item.text == NULL) {
        free_item(&item);
        list->dropped++;
        return;
    }
    list->items[list->count++] = item;
}

/* The place of the first item with the same file stands for the file's rank. */
static size_t file_rank(const struct errlist *list, const char *file)
{
    size_t i = 0;

    while (strcmp(list->items[i].file, file) != 0) {
        i++;
    }
    return i;
}

void errlist_sort(struct errlist *list)
{
    size_t ranks[ERRLIST_MAX];

    for (size_t i = 0; i < list->count; i++) {
        ranks[i] = file_rank(list, list->items[i].file);
    }
    /* By insertion: stable, and the list is short and mostly in order. */
    for (size_t i = 1; i < list->count; i++) {
        struct errlist_item item = list->items[i];
        size_t rank = ranks[i];
        size_t j = i;

        while (j > 0 && (ranks[j - 1] > rank ||
                         (ranks[j - 1] == rank && list->items[j - 1].line > item.line))) {
            list->items[j] = list->items[j - 1];
            ranks[j] = ranks[j - 1];
            j--;
        }
        list->items[j] = item;
        ranks[j] = rank;
    }
}

/* A quoted piece of the input may hold anything; it must not break the line or the terminal. */
static void append_printable(struct str *out, const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;

        if (c < 0x20 || c == 0x7F) {
            str_printf(out, "\\x%02x", c);
        } else {
            str_append_char(out, *text);
        }
    }
}

void errlist_print_item(const struct errlist_item *item, struct str *out)
{
    if (item->file[0] != '\0') {
        append_printable(out, item->file);
        str_append(out, item->line > 0 ? ":" : ": ");
    } else if (item->line > 0) {
        str_append(out, "line ");
    }
    if (item->line > 0) {
        str_printf(out, "%d: ", item->line);
    }
    if (item->section[0] != '\0') {
        append_printable(out, item->section);
        str_append(out, ": ");
    }
    if (item->severity == ERRLIST_WARNING) {
        str_append(out, "warning: ");
    }
    append_printable(out, item->text);
}

const struct errlist_item *errlist_first_error(const struct errlist *list)
{
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i].severity == ERRLIST_ERROR) {
            return &list->items[i];
        }
    }
    return NULL;
}

static bool is_shortage(const struct errlist_item *item)
{
    static const int shortages[] = {ENOMEM, EMFILE, ENFILE, EAGAIN};

    for (size_t i = 0; i < sizeof(shortages) / sizeof(shortages[0]); i++) {
        if (strstr(item->text, strerror(shortages[i])) != NULL) {
            return true;
        }
    }
    return strstr(item->text, "out of memory") != NULL;
}

const struct errlist_item *errlist_first_fault(const struct errlist *list)
{
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i].severity == ERRLIST_ERROR && !is_shortage(&list->items[i])) {
            return &list->items[i];
        }
    }
    return NULL;
}

void errlist_print(const struct errlist *list, struct str *out)
{
    for (size_t i = 0; i < list->count; i++) {
        errlist_print_item(&list->items[i], out);
        str_append_char(out, '\n');
    }
    if (list->dropped > 0) {
        str_printf(out, "… and %zu more\n", list->dropped);
    }
}

void errlist_free(struct errlist *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free_item(&list->items[i]);
    }
    free(list->items);
    *list = (struct errlist){0};
}
