/*
 * The process's log. One line per call, as logfmt or JSON, to one descriptor. Never blocks: a line
 * that the sink does not take at once is dropped and counted. Safe after fork; each process sets
 * its own role. Only proxy, check, ctl and proc log; everything below returns errors.
 */
#ifndef SLUICE_BASE_LOG_H
#define SLUICE_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARNING,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG,
    LOG_LEVEL_COUNT
};
enum log_format { LOG_FORMAT_LOGFMT, LOG_FORMAT_JSON, LOG_FORMAT_COUNT };

extern const char *const log_level_names[LOG_LEVEL_COUNT + 1]; /* "error", … NULL at the end */
extern const char *const log_format_names[LOG_FORMAT_COUNT + 1];

struct log_field {
    const char *key;  /* NULL ends the list */
    const char *text; /* NULL: number is the value */
    int64_t number;
};

#define LOG_STR(k, v) ((struct log_field){.key = (k), .text = (v)})
#define LOG_INT(k, v) ((struct log_field){.key = (k), .number = (int64_t)(v)})
#define LOG_END       ((struct log_field){0})

/* What the sink's descriptor is. */
enum log_target {
    LOG_TARGET_STREAM, /* lines one after the other: a file, a pipe, a terminal */
    LOG_TARGET_SYSLOG,
    LOG_TARGET_JOURNAL,
    LOG_TARGET_COUNT
};

/*
 * Opens the sink: "stderr", "syslog", "journal" or an absolute path (created 0640, appended to). On
 * failure returns -errno and the old sink stays. Calling it again with the same path reopens it
 * (rotation).
 */
__attribute__((warn_unused_result)) int log_open(const char *target);
/*
 * Before anything is written to standard error: where that is a file, everybody who has it from the
 * same redirection appends from now on. log_open("stderr") appends, and whoever wrote at the offset
 * that the others share would write over its lines.
 */
void log_share_stderr(void);
/* Whether log_open() would find the daemon that target ("syslog", "journal") stands for, or could
 * write to the file that is there: 0 or -errno, -ENOENT where it would have to make one. */
int log_probe(const char *target);
void log_set_format(enum log_format format);
void log_set_level(enum log_level level);
/* "master", "monitor", "worker 3"; appears as the field "proc". Copied. First thing in a new
 * process.
 */
void log_set_role(const char *role);
bool log_enabled(enum log_level level);
uint64_t log_dropped(void); /* lines this process could not write */
/* What the last error of this process said, "" before the first; for whoever has no log to read. */
const char *log_last_error(void);
/* The descriptor in use, to be kept over a close_range(). -1 before log_open. */
int log_fd(void);
enum log_target log_target(void); /* what that is */
/* Makes fd (owned from now on) the sink, for processes that get their reopened file from master. */
void log_adopt_fd(int fd, enum log_target target);
int log_priority(enum log_level level); /* syslog's */

/*
 * A line is at most 4096 bytes: the message is cut after half of that, each text field after 1024
 * bytes, and what still does not fit is left out; "cut=true" at the end says so. Texts may hold
 * anything: line ends, quotes and control characters are escaped, bytes that are not UTF-8 become
 * U+FFFD. Keys are the program's own words. With a pipe as the sink the process must ignore
 * SIGPIPE.
 */
void log_write(enum log_level level, const char *message, const struct log_field *fields);
/*
 * The same for what may come by the thousand, whatever the level is set to: the line is kept until
 * log_flush(), which hands all of them over in one system call or a few, or until there is no room
 * for more.
 */
void log_keep(enum log_level level, const char *message, const struct log_field *fields);
void log_flush(void);

#define log_at(level, message, ...)                                                                \
    do {                                                                                           \
        if (log_enabled(level)) {                                                                  \
            log_write(level, message,                                                              \
                      (const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ) LOG_END});             \
        }                                                                                          \
    } while (0)
#define log_error(message, ...)   log_at(LOG_LEVEL_ERROR, message __VA_OPT__(, ) __VA_ARGS__)
#define log_warning(message, ...) log_at(LOG_LEVEL_WARNING, message __VA_OPT__(, ) __VA_ARGS__)
#define log_info(message, ...)    log_at(LOG_LEVEL_INFO, message __VA_OPT__(, ) __VA_ARGS__)
#define log_debug(message, ...)   log_at(LOG_LEVEL_DEBUG, message __VA_OPT__(, ) __VA_ARGS__)

#endif
