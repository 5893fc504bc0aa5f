/* Fields of HTTP/1 heads. In workers; pure. */
#include "http1_field.h"

#include <string.h>
#include <strings.h>

/* 18 digits are under 2^63; no body is longer. */
#define LENGTH_DIGITS_MAX 18

/* tchar of RFC 9110 5.6.2. */
const bool http1_is_token[256] = {
    ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true, ['!'] = true,  ['#'] = true,
    ['$'] = true,         ['%'] = true,         ['&'] = true,         ['\''] = true, ['*'] = true,
    ['+'] = true,         ['-'] = true,         ['.'] = true,         ['^'] = true,  ['_'] = true,
    ['`'] = true,         ['|'] = true,         ['~'] = true,
};

/* --- values --- */

static struct framing_bytes trim(const unsigned char *at, const unsigned char *end)
{
    while (at < end && (*at == ' ' || *at == '\t')) {
        at++;
    }
    while (end > at && (end[-1] == ' ' || end[-1] == '\t')) {
        end--;
    }
    return (struct framing_bytes){at, (size_t)(end - at)};
}

static bool is_word(struct framing_bytes bytes, const char *word)
{
    return bytes.n == strlen(word) && strncasecmp((const char *)bytes.at, word, bytes.n) == 0;
}

/* Takes the next element of a comma-separated list; false: there is none left. Elements may be
 * empty (RFC 9110 5.6.1). */
static bool next_element(struct framing_bytes *list, struct framing_bytes *out_element)
{
    const unsigned char *comma;
    size_t n;

    if (list->n == 0) {
        return false;
    }
    comma = memchr(list->at, ',', list->n);
    n = comma != NULL ? (size_t)(comma - list->at) : list->n;
    *out_element = trim(list->at, list->at + n);
    n += comma != NULL;
    list->at += n;
    list->n -= n;
    return true;
}

/* One number, and nothing else: signs, lists and a second field are where readers differ. */
static enum http1_fault note_length(struct http1_head *head, struct framing_bytes value)
{
    uint64_t length = 0;

    if (head->has_length || value.n == 0 || value.n > LENGTH_DIGITS_MAX) {
        return HTTP1_LENGTH;
    }
    for (size_t i = 0; i < value.n; i++) {
        if (value.at[i] < '0' || value.at[i] > '9') {
            return HTTP1_LENGTH;
        }
        length = length * 10 + (uint64_t)(value.at[i] - '0');
    }
    head->has_length = true;
    head->length = length;
    return HTTP1_FINE;
}

/* HTTP/1.0 knows no codings (RFC 9112 6.1). Blanks other than one before the value, though allowed,
 * are what makes some readers overlook the field. */
static enum http1_fault note_coding(struct http1_head *head, const unsigned char *at,
                                    const unsigned char *end)
{
    struct framing_bytes value = {at, (size_t)(end - at)};

    if (value.n > 0 && *at == ' ') {
        value.at++;
        value.n--;
    }
    if (head->is_chunked || head->is_1_0 || !is_word(value, "chunked")) {
        return HTTP1_CODING;
    }
    head->is_chunked = true;
    return HTTP1_FINE;
}

/* Loose, since only the backend knows its names; but nothing that could be read as more than one
 * host, or as a user or a path with it. */
static enum http1_fault note_host(struct http1_head *head, struct framing_bytes value)
{
    for (size_t i = 0; i < value.n; i++) {
        if (strchr(" \t/?#@\\\"<>", value.at[i]) != NULL) {
            return HTTP1_HOST;
        }
    }
    return head->n_hosts++ == 0 ? HTTP1_FINE : HTTP1_HOST;
}

/* Schemes that authenticate a connection (RFC 4559 6; MS-NTHT). They may stand anywhere in a list
 * of challenges; a word that only looks like one costs no more than the reuse. */
static void note_credentials(struct http1_head *head, struct framing_bytes value)
{
    struct framing_bytes element;

    while (next_element(&value, &element)) {
        size_t n = 0;

        while (n < element.n && http1_is_token[element.at[n]]) {
            n++;
        }
        element.n = n;
        head->is_bound |= is_word(element, "ntlm") || is_word(element, "negotiate");
    }
}

static bool is_name(struct framing_bytes bytes)
{
    for (size_t i = 0; i < bytes.n; i++) {
        if (!http1_is_token[bytes.at[i]]) {
            return false;
        }
    }
    return true;
}

static uint8_t option_of(struct framing_bytes name)
{
    static const struct {
        const char *name;
        uint8_t option;
    } known[] = {
        {"keep-alive", HTTP1_KEEP_ALIVE},   {"close", HTTP1_CLOSE},
        {"upgrade", HTTP1_UPGRADE},         {"te", HTTP1_TE},
        {"http2-settings", HTTP1_SETTINGS},
    };

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (is_word(name, known[i].name)) {
            return known[i].option;
        }
    }
    return HTTP1_OTHER;
}

static enum http1_fault note_connection(struct http1_head *head, struct framing_bytes value)
{
    struct framing_bytes option;

    while (next_element(&value, &option)) {
        if (option.n == 0) {
            continue;
        }
        if (!is_name(option)) {
            return HTTP1_CONNECTION;
        }
        head->options |= option_of(option);
    }
    return HTTP1_FINE;
}

/* --- names --- */

enum http1_field http1_classify(const unsigned char *name, size_t n)
{
#define NAME(text) text, sizeof(text) - 1
    static const struct {
        const char *name;
        uint8_t n;
        uint8_t field;
    } known[] = {
        {NAME("host"), HTTP1_FIELD_HOST},
        {NAME("connection"), HTTP1_FIELD_CONNECTION},
        {NAME("content-length"), HTTP1_FIELD_LENGTH},
        {NAME("transfer-encoding"), HTTP1_FIELD_CODING},
        {NAME("keep-alive"), HTTP1_FIELD_KEEP_ALIVE},
        {NAME("upgrade"), HTTP1_FIELD_UPGRADE},
        {NAME("expect"), HTTP1_FIELD_EXPECT},
        {NAME("authorization"), HTTP1_FIELD_CREDENTIALS},
        {NAME("www-authenticate"), HTTP1_FIELD_CREDENTIALS},
        {NAME("proxy-authorization"), HTTP1_FIELD_CREDENTIALS},
        {NAME("proxy-authenticate"), HTTP1_FIELD_CREDENTIALS},
        {NAME("proxy-connection"), HTTP1_FIELD_PROXY_CONNECTION},
    };
#undef NAME

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (known[i].n == n && (name[0] | 0x20) == known[i].name[0] &&
            strncasecmp((const char *)name, known[i].name, n) == 0) {
            return known[i].field;
        }
    }
    return HTTP1_FIELD_OTHER;
}

enum http1_fault http1_note_field(struct http1_head *head, enum http1_field field,
                                  const unsigned char *at, const unsigned char *end)
{
    struct framing_bytes value = trim(at, end);

    switch (field) {
    case HTTP1_FIELD_CONNECTION:
        return note_connection(head, value);
    case HTTP1_FIELD_CREDENTIALS:
        note_credentials(head, value);
        break;
    case HTTP1_FIELD_EXPECT:
        head->has_expect = true;
        break;
    case HTTP1_FIELD_HOST:
        return note_host(head, value);
    case HTTP1_FIELD_LENGTH:
        return note_length(head, value);
    case HTTP1_FIELD_CODING:
        return note_coding(head, at, end);
    case HTTP1_FIELD_PROXY_CONNECTION:
        head->has_proxy_connection = true;
        break;
    case HTTP1_FIELD_UPGRADE:
        head->has_upgrade = true;
        break;
    case HTTP1_FIELD_KEEP_ALIVE:
    case HTTP1_FIELD_OTHER:
        break;
    }
    return HTTP1_FINE;
}
