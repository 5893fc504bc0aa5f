/*
 * One line of the log, put together in a buffer of fixed size, in one of the forms that sinks take.
 * Needs no memory and no system call. Private to the log.
 */
#ifndef SLUICE_BASE_LOG_LINE_H
#define SLUICE_BASE_LOG_LINE_H

#include "log.h"

#define LOG_LINE_MAX    4096 /* with a line end in front of it, and one behind */
#define LOG_JOURNAL_MAX 8192 /* of the journal: everything is in it twice */

struct log_head {
    enum log_format format;
    enum log_level level;
    const char *time; /* NULL: whoever takes the lines stamps them */
    const char *role; /* "": none */
};

/* "time=… level=… msg=… key=value\n", or the same as JSON. Returns its bytes. */
size_t log_line_write(char buf[static LOG_LINE_MAX], const struct log_head *head,
                      const char *message, const struct log_field *fields);

/*
 * An entry in the journal's native form, https://systemd.io/JOURNAL_NATIVE_PROTOCOL/: a line
 * FIELD=value for each field, where a value with a control character has its length in front
 * instead (FIELD, line end, 64 bits little-endian, value). MESSAGE is the message and all fields as
 * logfmt; each field is there once more by itself, as SLUICE_KEY. Returns its bytes.
 */
size_t log_line_write_journal(char buf[static LOG_JOURNAL_MAX], const struct log_head *head,
                              const char *message, const struct log_field *fields);

#endif
