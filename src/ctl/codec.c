/*
 * The control protocol as bytes. Pure; in master and in sluicectl.
 */
#include "ctl/codec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PROBLEM_UNCLOSED "a double quote is not closed"
#define PROBLEM_ESCAPE   "in double quotes a backslash goes before \" or \\ only"
#define PROBLEM_CONTROL  "control characters are not allowed in a request"
#define PROBLEM_UTF8     "the request is not UTF-8"
#define PROBLEM_LONG     "the request is longer than 65536 bytes"
#define PROBLEM_WORDS    "the request has more than 256 words"
#define PROBLEM_MEMORY   "out of memory"

_Static_assert(CODEC_LINE_MAX == 65536 && CODEC_WORDS_MAX == 256, "named in the messages above");

static bool is_continuation(const unsigned char *s, size_t n, size_t at)
{
    return at < n && (s[at] & 0xc0) == 0x80;
}

/* Bytes of the character at s by RFC 3629 (no overlong forms, no surrogates), 0 when it is none. */
static size_t utf8_bytes(const unsigned char *s, size_t n)
{
    if (s[0] < 0x80)
        return 1;
    if (s[0] >= 0xc2 && s[0] <= 0xdf)
        return is_continuation(s, n, 1) ? 2 : 0;
    if ((s[0] & 0xf0) == 0xe0) {
        bool good = is_continuation(s, n, 1) && is_continuation(s, n, 2) &&
                    !(s[0] == 0xe0 && s[1] < 0xa0) && !(s[0] == 0xed && s[1] > 0x9f);
        return good ? 3 : 0;
    }
    if (s[0] >= 0xf0 && s[0] <= 0xf4) {
        bool good = is_continuation(s, n, 1) && is_continuation(s, n, 2) &&
                    is_continuation(s, n, 3) && !(s[0] == 0xf0 && s[1] < 0x90) &&
                    !(s[0] == 0xf4 && s[1] > 0x8f);
        return good ? 4 : 0;
    }
    return 0;
}

/* C0, DEL and C1 (which UTF-8 writes as C2 80 to C2 9F); a tab and a newline are none here. */
static bool is_control(const unsigned char *s, size_t bytes)
{
    if (bytes == 1)
        return (s[0] < 0x20 && s[0] != '\t' && s[0] != '\n') || s[0] == 0x7f;
    return bytes == 2 && s[0] == 0xc2 && s[1] < 0xa0;
}

/* NULL when the line may be split. */
static const char *find_bad_character(const char *line, size_t len)
{
    const unsigned char *s = (const unsigned char *)line;

    for (size_t i = 0; i < len;) {
        size_t bytes = utf8_bytes(s + i, len - i);

        if (bytes == 0)
            return PROBLEM_UTF8;
        if (s[i] == '\n' || is_control(s + i, bytes))
            return PROBLEM_CONTROL;
        i += bytes;
    }
    return NULL;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static size_t without_return(const char *line, size_t len)
{
    return len > 0 && line[len - 1] == '\r' ? len - 1 : len;
}

/*
 * Copies one word from line[*at] on to out with its NUL, and leaves *at behind it. A word never
 * gets longer by this, and its NUL takes the place of the blank behind it.
 */
static const char *copy_word(const char *line, size_t len, size_t *at, char **out)
{
    bool quoted = false;
    size_t i = *at;

    for (; i < len && (quoted || !is_blank(line[i])); i++) {
        if (line[i] == '"') {
            quoted = !quoted;
            continue;
        }
        if (quoted && line[i] == '\\') {
            i++;
            if (i >= len)
                return PROBLEM_UNCLOSED;
            if (line[i] != '"' && line[i] != '\\')
                return PROBLEM_ESCAPE;
        }
        *(*out)++ = line[i];
    }
    if (quoted)
        return PROBLEM_UNCLOSED;
    *(*out)++ = '\0';
    *at = i;
    return NULL;
}

static const char *fill_words(const char *line, size_t len, struct codec_words *words)
{
    char *out = words->text;

    for (size_t at = 0;;) {
        const char *problem;

        while (at < len && is_blank(line[at]))
            at++;
        if (at == len)
            return NULL;
        if (words->count == CODEC_WORDS_MAX)
            return PROBLEM_WORDS;
        words->words[words->count++] = out;
        problem = copy_word(line, len, &at, &out);
        if (problem)
            return problem;
    }
}

int codec_split(const char *line, size_t len, struct codec_words *out, const char **out_problem)
{
    struct codec_words words = {0};
    const char *problem;

    len = without_return(line, len);
    problem = len > CODEC_LINE_MAX ? PROBLEM_LONG : find_bad_character(line, len);
    if (problem) {
        *out_problem = problem;
        return -EINVAL;
    }
    words.text = malloc(len + 1);
    words.words = calloc(CODEC_WORDS_MAX, sizeof(*words.words));
    if (!words.text || !words.words) {
        codec_words_free(&words);
        *out_problem = PROBLEM_MEMORY;
        return -ENOMEM;
    }
    problem = fill_words(line, len, &words);
    if (problem) {
        codec_words_free(&words);
        *out_problem = problem;
        return -EINVAL;
    }
    *out = words;
    return 0;
}

void codec_words_free(struct codec_words *words)
{
    free(words->text);
    free(words->words);
    *words = (struct codec_words){0};
}

bool codec_wants_json(const char *line, size_t len)
{
    static const char last[] = "json";
    const size_t bytes = sizeof(last) - 1;

    len = without_return(line, len);
    while (len > 0 && is_blank(line[len - 1]))
        len--;
    if (len < bytes || memcmp(line + len - bytes, last, bytes) != 0)
        return false;
    return len == bytes || is_blank(line[len - bytes - 1]);
}

void codec_quote(struct str *out, const char *word)
{
    if (*word && !strpbrk(word, " \t\"")) {
        str_append(out, word);
        return;
    }
    str_append_char(out, '"');
    for (; *word; word++) {
        if (*word == '"' || *word == '\\')
            str_append_char(out, '\\');
        str_append_char(out, *word);
    }
    str_append_char(out, '"');
}

void codec_join(struct str *out, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            str_append_char(out, ' ');
        codec_quote(out, words[i]);
    }
}

/* Appends one line's bytes, those that a terminal might obey replaced. */
static void append_clean(struct str *out, const char *line, size_t len)
{
    const unsigned char *s = (const unsigned char *)line;
    size_t clean = 0;

    for (size_t i = 0; i < len;) {
        size_t bytes = utf8_bytes(s + i, len - i);

        if (bytes > 0 && !is_control(s + i, bytes)) {
            i += bytes;
            continue;
        }
        str_append_n(out, line + clean, i - clean);
        str_append_char(out, '?');
        i += bytes > 0 ? bytes : 1;
        clean = i;
    }
    str_append_n(out, line + clean, len - clean);
}

void codec_frame(struct str *out, const char *text, size_t len)
{
    while (len > 0 && text[len - 1] == '\n')
        len--;
    for (size_t at = 0; at < len;) {
        const char *end = memchr(text + at, '\n', len - at);
        size_t bytes = end ? (size_t)(end - text) - at : len - at;

        if (bytes == 0)
            str_append_char(out, ' ');
        else
            append_clean(out, text + at, bytes);
        str_append_char(out, '\n');
        at += bytes + 1;
    }
    str_append_char(out, '\n');
}

size_t codec_scan_reply(struct codec_scan *scan, const char *data, size_t len)
{
    size_t at = 0;

    while (at < len && !scan->done) {
        const char *end;

        if (!scan->inside_line && data[at] == '\n') {
            scan->done = true;
            break;
        }
        end = memchr(data + at, '\n', len - at);
        scan->inside_line = !end;
        at = end ? (size_t)(end - data) + 1 : len;
    }
    return at;
}
