/*
 * The control protocol as bytes: request lines from and to words, replies from and to their frame.
 * Pure; shared by the daemon (master) and sluicectl.
 *
 * A request is one line, at most CODEC_LINE_MAX bytes without its newline (a carriage return before
 * the newline is dropped): words separated by spaces or tabs. Double quotes, at a word's start or
 * inside it (why="two words"), keep spaces together; inside them \" is a quote and \\ a backslash,
 * any other backslash is an error. Outside of quotes a backslash is an ordinary character. Requests
 * are UTF-8 without control characters. A line without words is no request and gets no reply.
 *
 * A reply is text, closed by one empty line. An empty line inside the text goes over the wire as a
 * line with one space. With the last word json the text is one line of JSON, closed by an empty
 * line too, so that both are framed alike. A failed request's reply starts with CODEC_ERROR or, as
 * JSON, with CODEC_ERROR_JSON.
 */
#ifndef SLUICE_CTL_CODEC_H
#define SLUICE_CTL_CODEC_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

#define CODEC_LINE_MAX   (64 * 1024)
#define CODEC_WORDS_MAX  256
#define CODEC_ERROR      "error: "
#define CODEC_ERROR_JSON "{\"error\""
/* Of those, where the words are no command: how the text begins; and a member that no other has,
 * which can be found without parsing, as a string's quotes are escaped. */
#define CODEC_USAGE      "bad usage: "
#define CODEC_USAGE_JSON "\"code\":\"usage\""
/* How the reply to health begins when the answer is yes. */
#define CODEC_HEALTHY      "healthy: "
#define CODEC_HEALTHY_JSON "{\"healthy\":true"

struct codec_words { /* zeroed is empty */
    char *text;      /* owns what words point into */
    char **words;
    size_t count;
};

/*
 * Splits a line (without its newline) into words. Returns 0; -EINVAL with *out_problem set to a
 * constant text that says what is wrong and what would be right; or -ENOMEM with it set likewise.
 * On failure *out is untouched.
 */
int codec_split(const char *line, size_t len, struct codec_words *out, const char **out_problem);
void codec_words_free(struct codec_words *words); /* empty afterwards; empty is allowed */

/* Whether the line's last word is json, also for a line that codec_split refuses. */
bool codec_wants_json(const char *line, size_t len);

/* Appends the word so that codec_split gives it back: in quotes only where they are needed. */
void codec_quote(struct str *out, const char *word);
/* Appends all words, each quoted where needed, one space between two. */
void codec_join(struct str *out, const char *const *words, size_t count);

/*
 * Appends text as the frame of one reply: its closing newlines replaced by exactly one, no empty
 * line inside, the empty line at the end. Control characters other than newline and tab, and bytes
 * that are not UTF-8, become '?', so that nothing a peer said can drive the reader's terminal.
 */
void codec_frame(struct str *out, const char *text, size_t len);

/* Finds the end of a reply in a stream of bytes. Zeroed stands before a reply. */
struct codec_scan {
    bool inside_line;
    bool done;
};

/*
 * Takes the next len bytes. Returns how many of them, from the first on, are the reply's text;
 * done is set once the closing empty line was seen, which is one byte more and not part of the
 * text.
 */
size_t codec_scan_reply(struct codec_scan *scan, const char *data, size_t len);

#endif
