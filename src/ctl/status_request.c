/*
 * Parsing requests to the status address: no state but the bytes so far, which are looked through
 * anew with each more of them; they are few. Pure; in the monitor.
 */
#include "ctl/status_request.h"

#include <string.h>
#include <strings.h>

/* A stretch of the head. */
struct span {
    const char *at;
    size_t len;
};

static bool is_token(struct span text)
{
    static const char others[] = "!#$%&'*+-.^_`|~";

    for (size_t i = 0; i < text.len; i++) {
        char c = text.at[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');

        if (!is_letter && !(c >= '0' && c <= '9') && (c == '\0' || !strchr(others, c)))
            return false;
    }
    return text.len > 0;
}

static bool is_word(struct span text, const char *word)
{
    return text.len == strlen(word) && strncasecmp(text.at, word, text.len) == 0;
}

static bool is_exactly(struct span text, const char *word)
{
    return text.len == strlen(word) && memcmp(text.at, word, text.len) == 0;
}

static struct span trimmed(struct span text)
{
    while (text.len > 0 && (text.at[0] == ' ' || text.at[0] == '\t')) {
        text.at++;
        text.len--;
    }
    while (text.len > 0 && (text.at[text.len - 1] == ' ' || text.at[text.len - 1] == '\t'))
        text.len--;
    return text;
}

/* Takes what stands before the separator off *rest; all of it where there is none. */
static struct span take(struct span *rest, char separator)
{
    const char *end = memchr(rest->at, separator, rest->len);
    struct span part = {rest->at, end ? (size_t)(end - rest->at) : rest->len};
    size_t used = part.len + (end != NULL);

    rest->at += used;
    rest->len -= used;
    return part;
}

static void refuse(struct status_request *out, uint16_t error, const char *problem)
{
    if (out->error != 0)
        return;
    out->error = error;
    out->problem = problem;
    out->keep_alive = false;
}

/* --- the request line --- */

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Returns false when it cannot be one of ours. */
static bool decode_path(struct span target, char path[static STATUS_TARGET_MAX + 1])
{
    size_t used = 0;

    for (size_t i = 0; i < target.len; i++) {
        char c = target.at[i];

        if (c <= ' ' || c == 0x7f)
            return false;
        if (c == '%') {
            int high = i + 2 < target.len ? hex(target.at[i + 1]) : -1;
            int low = i + 2 < target.len ? hex(target.at[i + 2]) : -1;

            if (high < 0 || low < 0 || high * 16 + low == 0)
                return false;
            c = (char)(high * 16 + low);
            i += 2;
        }
        path[used++] = c;
    }
    path[used] = '\0';
    return path[0] == '/';
}

/* http://HOST/PATH is as good as /PATH. */
static struct span without_host(struct span target)
{
    static const char scheme[] = "http://";
    size_t n = sizeof(scheme) - 1;

    if (target.len < n || strncasecmp(target.at, scheme, n) != 0)
        return target;
    target.at += n;
    target.len -= n;
    const char *slash = memchr(target.at, '/', target.len);
    if (!slash)
        return (struct span){"/", 1};
    return (struct span){slash, target.len - (size_t)(slash - target.at)};
}

static void parse_line(struct span line, struct status_request *out, bool *out_is_old)
{
    struct span method = take(&line, ' ');
    struct span target = take(&line, ' ');
    bool is_old = is_exactly(line, "HTTP/1.0");

    *out_is_old = is_old;
    if (!is_token(method) || (!is_old && !is_exactly(line, "HTTP/1.1"))) {
        refuse(out, 400, "this is no request; write GET PATH HTTP/1.1");
        return;
    }
    out->keep_alive = !is_old;
    out->is_head = is_exactly(method, "HEAD");
    if (!out->is_head && !is_exactly(method, "GET")) {
        refuse(out, 405, "nothing can be changed here; write GET or HEAD");
        return;
    }
    if (target.len > STATUS_TARGET_MAX) {
        refuse(out, 414, "the path is too long for any that there is");
        return;
    }
    target = without_host(target);
    if (!decode_path(take(&target, '?'), out->path))
        refuse(out, 400, "this is no path; begin it with /");
}

/* --- fields --- */

static void parse_connection(struct span value, struct status_request *out)
{
    while (value.len > 0) {
        struct span word = trimmed(take(&value, ','));

        if (is_word(word, "close"))
            out->keep_alive = false;
        else if (is_word(word, "keep-alive") && out->error == 0)
            out->keep_alive = true;
    }
}

static void parse_field(struct span line, struct status_request *out, unsigned *n_hosts)
{
    bool has_colon = memchr(line.at, ':', line.len) != NULL;
    struct span name = take(&line, ':');
    struct span value = trimmed(line);

    if (!has_colon || !is_token(name) || memchr(value.at, '\0', value.len)) {
        refuse(out, 400, "a line of the head is no NAME: VALUE");
        return;
    }
    *n_hosts += is_word(name, "Host");
    if (is_word(name, "Connection"))
        parse_connection(value, out);
    else if (is_word(name, "Transfer-Encoding") ||
             (is_word(name, "Content-Length") && !is_exactly(value, "0")))
        refuse(out, 400, "requests have no body here; leave it out");
}

/* The next line without its end; false when it is not complete. */
static bool take_line(struct span *rest, struct span *out)
{
    if (!memchr(rest->at, '\n', rest->len))
        return false;
    *out = take(rest, '\n');
    if (out->len > 0 && out->at[out->len - 1] == '\r')
        out->len--;
    return true;
}

/* Whether the empty line that ends the head is there. */
static bool is_complete(struct span rest)
{
    struct span line;

    while (take_line(&rest, &line))
        if (line.len == 0)
            return true;
    return false;
}

size_t status_request_parse(const char *bytes, size_t size, struct status_request *out)
{
    struct span rest = {bytes, size}, line = {0};
    struct status_request request = {0};
    unsigned n_hosts = 0;
    bool is_old = false;

    /* Empty lines before a request are left over from the one before (RFC 9112 2.2). */
    while (rest.len > 0 && (rest.at[0] == '\r' || rest.at[0] == '\n')) {
        rest.at++;
        rest.len--;
    }
    if (!is_complete(rest)) {
        if (size < STATUS_HEAD_MAX)
            return 0;
        bool in_line = !memchr(rest.at, '\n', rest.len);
        refuse(&request, in_line ? 414 : 431, "the head of the request is longer than 8 KiB");
        *out = request;
        return size;
    }
    (void)take_line(&rest, &line);
    parse_line(line, &request, &is_old);
    while (take_line(&rest, &line) && line.len > 0)
        parse_field(line, &request, &n_hosts);
    if (n_hosts > 1 || (n_hosts == 0 && !is_old))
        refuse(&request, 400, "a request has one Host field");
    *out = request;
    return request.error != 0 ? size : size - rest.len;
}
