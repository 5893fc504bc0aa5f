/*
 * The process's log. Owns the sink's descriptor and the counts of dropped lines; runs in every
 * process of the daemon.
 *
 * A line is put together in a buffer of fixed size, so logging needs no memory, and handed to the
 * kernel in one call that does not wait. At 4096 bytes (PIPE_BUF) a pipe takes a line whole or not
 * at all. Whatever else breaks off in mid-line (a full disk, a stream socket) is remembered, and
 * the next line starts with a line end, so that no two lines ever run together.
 */
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "fd.h"
#include "json.h"
#include "str.h"

#define LINE_MAX_BYTES 4096 /* with its line end */
#define TAIL_BYTES     32 /* kept free for what closes a line: quote, cut=true, brace, line ends */
#define FIELD_BYTES    1024
#define ROLE_MAX       32

const char *const log_level_names[LOG_LEVEL_COUNT + 1] = {"error", "warning", "info", "debug",
                                                          NULL};
const char *const log_format_names[LOG_FORMAT_COUNT + 1] = {"logfmt", "json", NULL};

enum sink_kind {
    SINK_WRITE,  /* a file, or a description that does not block */
    SINK_SEND,   /* a socket, which can be told per call not to wait */
    SINK_POLLED, /* shared with others and blocking: written only when it is ready */
    SINK_KIND_COUNT
};

static struct {
    int fd;
    enum sink_kind kind;
    enum log_level level;
    enum log_format format;
    char role[ROLE_MAX];
    bool in_midline;     /* the last write broke off */
    uint64_t dropped;    /* by this process */
    uint64_t unreported; /* of these, since the last line that told the number */
    pid_t pid;           /* whose counts these are */
    char last_error[512];
} state = {.fd = -1, .level = LOG_LEVEL_INFO};

/* A line under construction. */
struct line {
    char buf[LINE_MAX_BYTES];
    struct str text; /* on buf, with a limit below its size, so it never asks for memory */
    bool is_json;
    bool is_cut;
};

static enum sink_kind kind_of(int fd)
{
    struct stat st;
    int flags = fcntl(fd, F_GETFL);

    if (fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode)) {
        return SINK_SEND;
    }
    if (S_ISREG(st.st_mode) || (flags >= 0 && (flags & O_NONBLOCK) != 0)) {
        return SINK_WRITE;
    }
    return SINK_POLLED;
}

void log_adopt_fd(int fd)
{
    int old = state.fd;

    state.fd = fd;
    state.kind = kind_of(fd);
    state.in_midline = false;
    if (old != fd) {
        fd_close(&old);
    }
}

/*
 * Standard error is shared with whoever started us: to make it non-blocking for us alone it is
 * opened once more. Sockets cannot be, and another user's pipe or terminal may not be; then a
 * duplicate has to do.
 */
static int open_stderr(void)
{
    int fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_APPEND | O_CLOEXEC | O_NOCTTY);

    if (fd < 0) {
        fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    }
    return fd;
}

int log_open(const char *target)
{
    int fd;

    if (strcmp(target, "stderr") == 0) {
        fd = open_stderr();
    } else if (target[0] == '/') {
        fd = open(target, O_WRONLY | O_CREAT | O_NONBLOCK | O_APPEND | O_CLOEXEC | O_NOCTTY, 0640);
    } else {
        return -EINVAL;
    }
    if (fd < 0) {
        return -errno;
    }
    log_adopt_fd(fd);
    return 0;
}

void log_set_format(enum log_format format)
{
    state.format = format;
}

void log_set_level(enum log_level level)
{
    state.level = level;
}

void log_set_role(const char *role)
{
    (void)snprintf(state.role, sizeof(state.role), "%s", role);
}

bool log_enabled(enum log_level level)
{
    return level <= state.level;
}

int log_fd(void)
{
    return state.fd;
}

/* After a fork the parent's drops are the parent's to tell. */
static void claim_counts(void)
{
    pid_t pid = getpid();

    if (state.pid != pid) {
        if (state.pid != 0) {
            state.dropped = 0;
            state.unreported = 0;
        }
        state.pid = pid;
    }
}

uint64_t log_dropped(void)
{
    claim_counts();
    return state.dropped;
}

/*
 * Appends text escaped, at most max_bytes of it and no more than leaves the tail free; cuts between
 * characters. Keeps *line marked as cut if anything was left out.
 */
static void append_escaped(struct line *line, const char *text, size_t max_bytes)
{
    size_t room = LINE_MAX_BYTES - TAIL_BYTES - line->text.len;
    size_t end = line->text.len + (room < max_bytes ? room : max_bytes);
    char unit[JSON_UNIT_MAX];

    while (*text != '\0') {
        size_t taken = json_escape_next(text, unit);

        if (line->text.len + strlen(unit) > end) {
            line->is_cut = true;
            return;
        }
        str_append(&line->text, unit);
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
static bool append_key(struct line *line, const char *key)
{
    static const size_t least_value = 24; /* any number, or a few characters and their quotes */

    if (line->text.len + strlen(key) + least_value + TAIL_BYTES > LINE_MAX_BYTES) {
        line->is_cut = true;
        return false;
    }
    if (line->is_json) {
        str_append(&line->text, line->text.data[line->text.len - 1] == '{' ? "\"" : ",\"");
        str_append(&line->text, key);
        str_append(&line->text, "\":");
    } else {
        str_append(&line->text, line->text.data[line->text.len - 1] == '\n' ? "" : " ");
        str_append(&line->text, key);
        str_append(&line->text, "=");
    }
    return true;
}

static void append_text(struct line *line, const char *key, const char *value, size_t max_bytes)
{
    bool quoted = line->is_json || needs_quotes(value);

    if (!append_key(line, key)) {
        return;
    }
    if (quoted) {
        str_append_char(&line->text, '"');
    }
    append_escaped(line, value, max_bytes);
    if (quoted) {
        str_append_char(&line->text, '"');
    }
}

static void append_number(struct line *line, const char *key, int64_t value)
{
    if (append_key(line, key)) {
        str_printf(&line->text, "%" PRId64, value);
    }
}

/* The whole line. It starts with a line end that is left out unless the last write broke off. */
static void build_line(struct line *line, enum log_level level, const char *message,
                       const struct log_field *fields)
{
    char time_text[CLOCK_TEXT_MAX];

    line->text =
        (struct str){.data = line->buf, .cap = sizeof(line->buf), .limit = sizeof(line->buf) - 1};
    line->is_json = state.format == LOG_FORMAT_JSON;
    line->is_cut = false;
    str_append(&line->text, line->is_json ? "\n{" : "\n");
    append_text(line, "time", clock_format_wall(clock_wall_ms(), time_text), FIELD_BYTES);
    append_text(line, "level", log_level_names[level], FIELD_BYTES);
    if (state.role[0] != '\0') {
        append_text(line, "proc", state.role, FIELD_BYTES);
    }
    append_text(line, "msg", message, LINE_MAX_BYTES / 2);
    for (; fields != NULL && fields->key != NULL; fields++) {
        if (fields->text != NULL) {
            append_text(line, fields->key, fields->text, FIELD_BYTES);
        } else {
            append_number(line, fields->key, fields->number);
        }
    }
    if (line->is_cut) {
        str_append(&line->text, line->is_json ? ",\"cut\":true" : " cut=true");
    }
    str_append(&line->text, line->is_json ? "}\n" : "\n");
}

/* Hands bytes to the sink without ever waiting. Returns how many it took. */
static size_t offer(const char *bytes, size_t len)
{
    struct pollfd ready = {.fd = state.fd, .events = POLLOUT};
    ssize_t n;

    if (state.fd < 0) {
        return 0;
    }
    if (state.kind == SINK_POLLED && (poll(&ready, 1, 0) != 1 || (ready.revents & POLLOUT) == 0)) {
        return 0;
    }
    do {
        n = state.kind == SINK_SEND ? send(state.fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL)
                                    : write(state.fd, bytes, len);
    } while (n < 0 && errno == EINTR);
    return n > 0 ? (size_t)n : 0;
}

/* Writes a built line. False when the sink did not take it whole. */
static bool emit(const struct line *line)
{
    size_t skip = state.in_midline ? 0 : 1; /* the line end in front */
    const char *bytes = line->buf + skip;
    size_t len = line->text.len - skip;
    size_t taken = offer(bytes, len);

    if (taken > 0) {
        state.in_midline = bytes[taken - 1] != '\n';
    }
    return taken == len;
}

static bool emit_message(enum log_level level, const char *message, const struct log_field *fields)
{
    struct line line;

    build_line(&line, level, message, fields);
    return emit(&line);
}

/* The lines lost so far, told before the next that gets through. */
static bool emit_drops(void)
{
    if (!emit_message(LOG_LEVEL_WARNING, "log lines were dropped",
                      (const struct log_field[]){LOG_INT("count", state.unreported), LOG_END})) {
        return false;
    }
    state.unreported = 0;
    return true;
}

const char *log_last_error(void)
{
    return state.last_error;
}

void log_write(enum log_level level, const char *message, const struct log_field *fields)
{
    int saved = errno;

    if (!log_enabled(level)) {
        return;
    }
    claim_counts();
    if (level == LOG_LEVEL_ERROR) {
        (void)snprintf(state.last_error, sizeof(state.last_error), "%s", message);
    }
    if ((state.unreported > 0 && !emit_drops()) || !emit_message(level, message, fields)) {
        state.dropped++;
        state.unreported++;
    }
    errno = saved;
}
