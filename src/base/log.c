/*
 * The process's log. Owns what is set of it, the lines that are kept for a moment and the counts of
 * dropped ones; runs in every process of the daemon. Forms are log_line.c's, sinks log_sink.c's.
 */
#include "log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "log_line.h"
#include "log_sink.h"

#define ROLE_MAX   32
#define STAMP_MAX  64
#define KEPT_BYTES (128 * 1024)
#define KEPT_MAX   1024

const char *const log_level_names[LOG_LEVEL_COUNT + 1] = {"error", "warning", "info", "debug",
                                                          NULL};
const char *const log_format_names[LOG_FORMAT_COUNT + 1] = {"logfmt", "json", NULL};

static struct {
    struct log_sink sink;
    enum log_level level;
    enum log_format format;
    char role[ROLE_MAX];
    uint64_t dropped;    /* by this process */
    uint64_t unreported; /* of these, since the last line that told the number */
    pid_t pid;           /* whose counts these are */
    uint64_t stamped_s;  /* the second that stamp is of; 0: none */
    char stamp[STAMP_MAX];
    char last_error[512];
} state = {.sink = {.fd = -1}, .level = LOG_LEVEL_INFO};

/* Lines that wait for log_flush(). Not touched, and so no memory, in who has none. */
static struct {
    size_t n;
    uint32_t ends[KEPT_MAX];   /* where each one ends */
    char room[1 + KEPT_BYTES]; /* the first byte is the sink's: log_sink_put() */
} kept;

void log_adopt_fd(int fd, enum log_target target)
{
    log_flush();
    log_sink_adopt(&state.sink, fd, target);
    state.stamped_s = 0;
}

int log_open(const char *target)
{
    enum log_target kind;
    int fd = log_sink_open(target, &kind);

    if (fd < 0) {
        return fd;
    }
    log_adopt_fd(fd, kind);
    return 0;
}

int log_probe(const char *target)
{
    int fd;

    if (strcmp(target, "stderr") == 0) {
        return 0;
    }
    fd = log_sink_open_present(target);
    if (fd < 0) {
        return fd;
    }
    close(fd);
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

bool log_enabled(enum log_level level)
{
    return level <= state.level;
}

int log_fd(void)
{
    return state.sink.fd;
}

enum log_target log_target(void)
{
    return state.sink.target;
}

int log_priority(enum log_level level)
{
    static const int priorities[LOG_LEVEL_COUNT] = {[LOG_LEVEL_ERROR] = LOG_ERR,
                                                    [LOG_LEVEL_WARNING] = LOG_WARNING,
                                                    [LOG_LEVEL_INFO] = LOG_INFO,
                                                    [LOG_LEVEL_DEBUG] = LOG_DEBUG};

    return priorities[level];
}

/* After a fork the parent's drops are the parent's to tell, and its kept lines its to write. */
static void claim_counts(void)
{
    pid_t pid = getpid();

    if (state.pid != pid) {
        if (state.pid != 0) {
            state.dropped = 0;
            state.unreported = 0;
            state.stamped_s = 0;
            kept.n = 0;
        }
        state.pid = pid;
    }
}

void log_set_role(const char *role)
{
    claim_counts();
    (void)snprintf(state.role, sizeof(state.role), "%s", role);
}

uint64_t log_dropped(void)
{
    claim_counts();
    return state.dropped;
}

/* --- putting a line together --- */

/* The time as the line has it. Only its last digits change within a second. */
static const char *stamp_line(void)
{
    uint64_t wall_ms = clock_wall_ms();
    unsigned ms = (unsigned)(wall_ms % 1000);
    char *digits;

    if (state.stamped_s != wall_ms / 1000) {
        state.stamped_s = wall_ms / 1000;
        (void)clock_format_wall(wall_ms, state.stamp);
    }
    digits = strchr(state.stamp, '.');
    if (digits != NULL) {
        digits[1] = (char)('0' + ms / 100);
        digits[2] = (char)('0' + ms / 10 % 10);
        digits[3] = (char)('0' + ms % 10);
    }
    return state.stamp;
}

/*
 * What syslog() of the C library puts in front, which every daemon behind /dev/log knows (RFC 3164
 * without the host): "<30>Jan  2 03:04:05 sluiced[42]: ", the time local. Returns its bytes.
 */
static size_t stamp_syslog(char *buf, size_t size, enum log_level level)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t now = (time_t)(clock_wall_ms() / 1000);
    struct tm tm = {0};
    int n;

    if (state.stamped_s != (uint64_t)now) {
        state.stamped_s = (uint64_t)now;
        (void)localtime_r(&now, &tm);
        (void)snprintf(state.stamp, sizeof(state.stamp), "%.3s %2d %02d:%02d:%02d",
                       &months[3 * (tm.tm_mon % 12)], tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
    }
    n = snprintf(buf, size, "<%d>%s sluiced[%d]: ", LOG_DAEMON | log_priority(level), state.stamp,
                 (int)state.pid);
    return n > 0 && (size_t)n < size ? (size_t)n : 0;
}

#define SYSLOG_HEAD_MAX 64
#define ROOM_FOR_ONE    LOG_JOURNAL_MAX

_Static_assert(SYSLOG_HEAD_MAX + LOG_LINE_MAX <= ROOM_FOR_ONE, "a syslog line must fit");

/* The line as the sink takes it. Returns its bytes. */
static size_t build(char buf[static ROOM_FOR_ONE], enum log_level level, const char *message,
                    const struct log_field *fields)
{
    struct log_head head = {.format = state.format, .level = level, .role = state.role};
    size_t n = 0;

    switch (state.sink.target) {
    case LOG_TARGET_JOURNAL:
        return log_line_write_journal(buf, &head, message, fields);
    case LOG_TARGET_SYSLOG:
        n = stamp_syslog(buf, SYSLOG_HEAD_MAX, level);
        return n + log_line_write(buf + n, &head, message, fields) - 1; /* without its line end */
    default:
        head.time = stamp_line();
        return log_line_write(buf, &head, message, fields);
    }
}

/* --- handing lines over --- */

static void count_dropped(uint64_t n)
{
    state.dropped += n;
    state.unreported += n;
}

static bool emit(enum log_level level, const char *message, const struct log_field *fields)
{
    char room[1 + ROOM_FOR_ONE];
    uint32_t end = (uint32_t)build(room + 1, level, message, fields);

    return log_sink_put(&state.sink, room + 1, &end, 1) == 1;
}

/* The lines lost so far, told before the next that gets through. True: there is nothing to tell any
 * more. */
static bool emit_drops(void)
{
    if (state.unreported == 0) {
        return true;
    }
    if (!emit(LOG_LEVEL_WARNING, "log lines were dropped",
              (const struct log_field[]){LOG_INT("count", state.unreported), LOG_END})) {
        return false;
    }
    state.unreported = 0;
    return true;
}

void log_flush(void)
{
    int saved = errno;
    size_t taken = 0;

    if (kept.n == 0) {
        return;
    }
    claim_counts();
    if (emit_drops()) {
        taken = log_sink_put(&state.sink, kept.room + 1, kept.ends, kept.n);
    }
    count_dropped(kept.n - taken);
    kept.n = 0;
    errno = saved;
}

void log_keep(enum log_level level, const char *message, const struct log_field *fields)
{
    uint32_t from = kept.n > 0 ? kept.ends[kept.n - 1] : 0;

    if (kept.n == KEPT_MAX || from + ROOM_FOR_ONE > KEPT_BYTES) {
        log_flush();
        from = 0;
    }
    kept.ends[kept.n++] = from + (uint32_t)build(kept.room + 1 + from, level, message, fields);
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
    log_flush();
    claim_counts();
    if (level == LOG_LEVEL_ERROR) {
        (void)snprintf(state.last_error, sizeof(state.last_error), "%s", message);
    }
    if (!emit_drops() || !emit(level, message, fields)) {
        count_dropped(1);
    }
    errno = saved;
}
