/* Keeping events in a file. Owns it. In master. */
#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"

#define OWN_MODE   0600
#define AGAIN_MS   1000       /* a file that cannot be opened is tried no more often */
#define READ_BYTES (4U << 20) /* of a part; more is none of ours */

/* --- reading --- */

/* Only what nobody else could have written is believed. Returns a descriptor or -1. */
static int open_part(const char *path)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd >= 0 && (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode) ||
                    (status.st_uid != 0 && status.st_uid != geteuid()) ||
                    (status.st_mode & (S_IWGRP | S_IWOTH)) != 0)) {
        fd_close(&fd);
    }
    return fd;
}

static void read_part(const char *path, struct str *out)
{
    FD_AUTO fd = open_part(path);
    char bytes[16384];
    ssize_t n;
    while (fd >= 0 && (n = read(fd, bytes, sizeof(bytes))) != 0 && out->len < READ_BYTES) {
        if (n < 0 && errno != EINTR) {
            return;
        }
        if (n > 0) {
            str_append_n(out, bytes, (size_t)n);
        }
    }
}

/* Returns how many lines hold no event. */
static uint64_t restore_part(struct journal *journal, const char *path)
{
    STR_AUTO text = {0};
    uint64_t damaged = 0;
    read_part(path, &text);
    const char *line = str_text(&text);
    const char *end = line + text.len;
    while (line < end) { /* a disk that lost its power may have left NULs */
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        size_t len = (size_t)((stop != NULL ? stop : end) - line);
        if (len > 0 && !events_restore_line(journal->events, line, len)) {
            damaged++;
        }
        line += len + (stop != NULL);
    }
    return damaged;
}

/* --- writing --- */

static void open_to_append(struct journal *journal)
{
    struct stat status;
    journal->tried_ms = clock_now_ms();
    journal->fd =
        open(journal->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK,
             OWN_MODE);
    if (journal->fd < 0) {
        return;
    }
    if (fstat(journal->fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        fd_close(&journal->fd);
        return;
    }
    journal->bytes = (uint64_t)status.st_size;
    journal->is_cut = status.st_size > 0; /* perhaps: an empty line does no harm */
}

static void turn_over(struct journal *journal)
{
    fd_close(&journal->fd);
    if (rename(journal->path, journal->old_path) != 0) {
        (void)unlink(journal->path); /* bounded in any case */
    }
    open_to_append(journal);
}

static void write_line(struct journal *journal, const struct str *line)
{
    ssize_t n = line->failed ? -1 : write(journal->fd, line->data, line->len);
    if (n > 0) {
        journal->bytes += (uint64_t)n;
        journal->is_cut = (size_t)n < line->len;
    }
    if (n < 0 || journal->is_cut) {
        journal->dropped++;
    }
}

static void on_event(void *arg, const struct event_record *record)
{
    struct journal *journal = arg;
    STR_AUTO line = {0};
    if (journal->fd < 0 && clock_now_ms() - journal->tried_ms >= AGAIN_MS) {
        open_to_append(journal);
    }
    if (journal->fd >= 0 && journal->bytes >= JOURNAL_BYTES_MAX) {
        turn_over(journal);
    }
    if (journal->fd < 0) {
        journal->dropped++;
        return;
    }
    if (journal->is_cut) {
        str_append_char(&line, '\n');
    }
    events_format(record, &line);
    str_append_char(&line, '\n');
    write_line(journal, &line);
}

void journal_start(struct journal *journal, const char *folder, const char *name,
                   struct events *events)
{
    STR_AUTO path = {0};
    STR_AUTO old_path = {0};
    str_printf(&path, "%s/%s.events", folder, name);
    str_printf(&old_path, "%s/%s.events.1", folder, name);
    *journal = (struct journal){
        .path = str_take(&path), .old_path = str_take(&old_path), .events = events, .fd = -1};
    if (journal->path == NULL || journal->old_path == NULL) {
        return;
    }
    uint64_t damaged = restore_part(journal, journal->old_path);
    damaged += restore_part(journal, journal->path);
    if (damaged > 0) {
        log_warning("lines of kept events are damaged and were passed over",
                    LOG_INT("lines", damaged), LOG_STR("file", journal->path));
    }
    open_to_append(journal);
    events_set_sink(events, on_event, journal);
}

void journal_end(struct journal *journal)
{
    if (journal->events != NULL) {
        events_set_sink(journal->events, NULL, NULL);
        fd_close(&journal->fd);
    }
    free(journal->path);
    free(journal->old_path);
    *journal = (struct journal){0};
}
