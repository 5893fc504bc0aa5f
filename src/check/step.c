/* Steps of a conversation: from text to what is sent and looked for. Pure. */
#include "check/step.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/escape.h"
#include "base/units.h"

#define DEADLINE_MS_MAX 3600000

enum step_form { FORM_NOTHING, FORM_TEXT, FORM_HEX, FORM_REGEX, FORM_COUNT };

static const struct step_word {
    const char *word;
    enum step_kind kind;
    enum step_form form;
    const char *usage;
} step_words[] = {
    {"send", STEP_SEND, FORM_TEXT, "send TEXT"},
    {"send-hex", STEP_SEND, FORM_HEX, "send-hex 50494e47"},
    {"expect", STEP_EXPECT, FORM_TEXT, "expect TEXT"},
    {"expect-hex", STEP_EXPECT, FORM_HEX, "expect-hex 2b504f4e47"},
    {"expect-regex", STEP_EXPECT, FORM_REGEX, "expect-regex EXPRESSION"},
    {"expect-close", STEP_EXPECT_CLOSE, FORM_NOTHING, "expect-close"},
};
#define STEP_WORDS (sizeof(step_words) / sizeof(step_words[0]))

/* A step's text in its parts. */
struct parts {
    const char *word;
    size_t word_len;
    const char *deadline; /* NULL: none */
    size_t deadline_len;
    const char *rest; /* after one blank; "" without */
    bool unclosed;    /* a deadline without ")" */
};

static struct parts split(const char *text)
{
    struct parts parts = {.word = text + strspn(text, " \t")};
    const char *p = parts.word + strcspn(parts.word, " \t(");

    parts.word_len = (size_t)(p - parts.word);
    if (*p == '(') {
        parts.deadline = p + 1;
        parts.deadline_len = strcspn(parts.deadline, ")");
        p = parts.deadline + parts.deadline_len;
        parts.unclosed = *p != ')' || (p[1] != ' ' && p[1] != '\t' && p[1] != '\0');
        p += *p == ')';
    }
    parts.rest = *p != '\0' ? p + 1 : p;
    return parts;
}

static const struct step_word *find_word(const char *word, size_t len)
{
    for (size_t i = 0; i < STEP_WORDS; i++) {
        if (strlen(step_words[i].word) == len && memcmp(step_words[i].word, word, len) == 0) {
            return &step_words[i];
        }
    }
    return NULL;
}

static int fault_unknown_word(const struct parts *parts, struct str *out_problem)
{
    const char *known[STEP_WORDS + 1] = {NULL};
    char word[32], shown[MATCH_SHOWN_MAX];
    size_t len = parts->word_len < sizeof(word) ? parts->word_len : sizeof(word) - 1;
    const char *nearest;

    if (parts->word_len == 0) {
        str_append(out_problem, "empty; write \"send TEXT\" or \"expect TEXT\"");
        return -EINVAL;
    }
    memcpy(word, parts->word, len);
    word[len] = '\0';
    for (size_t i = 0; i < STEP_WORDS; i++) {
        known[i] = step_words[i].word;
    }
    nearest = units_nearest(word, known);
    str_printf(out_problem, "unknown step %s; ", match_show(parts->word, parts->word_len, shown));
    if (nearest != NULL) {
        str_printf(out_problem, "did you mean \"%s\"?", nearest);
        return -EINVAL;
    }
    for (size_t i = 0; i < STEP_WORDS; i++) {
        str_printf(out_problem, "%s%s", i == 0 ? "write one of " : ", ", known[i]);
    }
    return -EINVAL;
}

static int parse_deadline(const struct parts *parts, const struct step_word *word, uint32_t *out_ms,
                          struct str *out_problem)
{
    char text[UNITS_TEXT_MAX], shown[MATCH_SHOWN_MAX];
    size_t len = parts->deadline_len < sizeof(text) ? parts->deadline_len : sizeof(text) - 1;
    const char *problem = NULL;
    uint64_t ms = 0;

    if (parts->deadline == NULL) {
        *out_ms = 0;
        return 0;
    }
    if (word->kind == STEP_SEND) {
        str_printf(out_problem, "a send has no deadline; write \"%s\"", word->usage);
        return -EINVAL;
    }
    if (parts->unclosed) {
        str_printf(out_problem, "its deadline has no end; write \"%s(500ms)%s\"", word->word,
                   word->usage + strlen(word->word));
        return -EINVAL;
    }
    memcpy(text, parts->deadline, len);
    text[len] = '\0';
    if (units_parse_time(text, &ms, &problem) != 0 || ms == 0 || ms > DEADLINE_MS_MAX) {
        str_printf(out_problem, "bad deadline %s: %s",
                   match_show(parts->deadline, parts->deadline_len, shown),
                   problem != NULL ? problem : "write a time from \"1ms\" to \"1h\"");
        return -EINVAL;
    }
    *out_ms = (uint32_t)ms;
    return 0;
}

static int parse_hex(const char *text, struct str *out, struct str *out_problem)
{
    char shown[MATCH_SHOWN_MAX];
    int high = -1;

    for (; *text != '\0'; text++) {
        int digit = escape_hex_digit(*text);

        if (*text == ' ' && high < 0) {
            continue;
        }
        if (digit < 0) {
            str_printf(out_problem, "%s is no hex digit; write two for each byte, as in 0d0a",
                       match_show(text, 1, shown));
            return -EINVAL;
        }
        if (high < 0) {
            high = digit;
        } else {
            str_append_char(out, (char)(high << 4 | digit));
            high = -1;
        }
    }
    if (high >= 0) {
        str_append(out_problem, "odd number of hex digits; write two for each byte, as in 0d0a");
        return -EINVAL;
    }
    return 0;
}

static int parse_text(const char *text, struct str *out, struct str *out_problem)
{
    size_t len;

    for (; *text != '\0'; text += len) {
        int byte = escape_read(text, &len);

        if (byte < 0) {
            escape_explain(text, out_problem);
            return -EINVAL;
        }
        str_append_char(out, (char)byte);
    }
    return 0;
}

static bool is_printable(char c)
{
    return (unsigned char)c >= 0x20 && (unsigned char)c < 0x7f;
}

/* As it was written, printable and cut: a text in quotes, an expression between slashes. */
static void note_wanted(struct step *step, enum step_form form, const char *rest)
{
    const char *mark = form == FORM_TEXT ? "\"" : form == FORM_REGEX ? "/" : "";
    STR_AUTO shown = {0};

    while (*rest != '\0' && shown.len < STEP_WANTED_WIDTH) {
        char c = *rest++;

        str_printf(&shown, is_printable(c) ? "%c" : "\\x%02x", (unsigned char)c);
        if (c == '\\' && is_printable(*rest)) {
            str_append_char(&shown, *rest++); /* an escape is not cut in two */
        }
    }
    if (form == FORM_NOTHING) {
        (void)snprintf(step->wanted, sizeof(step->wanted), "a close");
        return;
    }
    (void)snprintf(step->wanted, sizeof(step->wanted), "%s%s%s%s", mark, str_text(&shown),
                   *rest != '\0' ? "…" : "", mark);
}

static int parse_bytes(const struct step_word *word, const char *rest, struct step *out,
                       struct str *out_problem)
{
    STR_AUTO bytes = {0};
    int error = word->form == FORM_HEX ? parse_hex(rest, &bytes, out_problem)
                                       : parse_text(rest, &bytes, out_problem);

    if (error != 0 || bytes.failed) {
        return error != 0 ? error : -ENOMEM;
    }
    if (word->kind == STEP_SEND) {
        out->bytes = bytes;
        bytes = (struct str){0};
        return 0;
    }
    out->match = match_create_bytes(bytes.data, bytes.len);
    return out->match != NULL ? 0 : -ENOMEM;
}

static int parse_regex(const char *rest, struct step *out, struct str *out_problem)
{
    size_t before = out_problem->len;

    out->match = match_create_regex(rest, out_problem);
    if (out->match != NULL) {
        return 0;
    }
    return out_problem->len > before ? -EINVAL : -ENOMEM;
}

int step_parse(const char *text, struct step *out, struct str *out_problem)
{
    struct parts parts = split(text);
    const struct step_word *word = find_word(parts.word, parts.word_len);
    bool is_empty;
    struct step step = {0};
    int error;

    if (word == NULL) {
        return fault_unknown_word(&parts, out_problem);
    }
    is_empty = parts.rest[word->form == FORM_HEX ? strspn(parts.rest, " ") : 0] == '\0';
    step.kind = word->kind;
    error = parse_deadline(&parts, word, &step.deadline_ms, out_problem);
    if (error != 0) {
        return error;
    }
    if ((word->form == FORM_NOTHING) != is_empty) {
        str_printf(out_problem, "%s; write \"%s\"",
                   is_empty ? "nothing stands after it" : "takes nothing after it", word->usage);
        return -EINVAL;
    }
    if (word->form != FORM_NOTHING) {
        error = word->form == FORM_REGEX ? parse_regex(parts.rest, &step, out_problem)
                                         : parse_bytes(word, parts.rest, &step, out_problem);
    }
    if (error == 0) {
        note_wanted(&step, word->form, parts.rest);
        *out = step;
    }
    return error;
}

void step_clear(struct step *step)
{
    str_free(&step->bytes);
    match_free(step->match);
    *step = (struct step){0};
}
