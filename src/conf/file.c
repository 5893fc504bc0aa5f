/*
 * Opening and reading the files of a configuration. Runs in the reading child. A FIFO, a socket or
 * a device is refused before it is opened, since opening one may wait or do something; should it
 * take the file's place in between, O_NONBLOCK keeps the opening from waiting and fstat refuses it.
 */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/units.h"

static const char *describe_type(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFDIR:
        return "a directory";
    case S_IFIFO:
        return "a FIFO";
    case S_IFSOCK:
        return "a socket";
    case S_IFCHR:
    case S_IFBLK:
        return "a device";
    default:
        return "no regular file";
    }
}

static int check_status(const struct stat *status, size_t max_bytes, struct str *problem)
{
    if (!S_ISREG(status->st_mode)) {
        str_printf(problem, "is %s; it must be a regular file", describe_type(status->st_mode));
        return -1;
    }
    if (status->st_size > (off_t)max_bytes) {
        char limit[UNITS_TEXT_MAX];
        str_printf(problem, "is too large: %lld bytes, the limit is %s (%zu bytes)",
                   (long long)status->st_size, units_format_size(max_bytes, limit), max_bytes);
        return -1;
    }
    return 0;
}

/* The file may grow meanwhile, or say 0 bytes as those of /proc do: read to its end, but no more
 * than one byte past the limit. */
static int read_all(int fd, size_t max_bytes, struct str *contents, struct str *problem)
{
    char chunk[32768];
    for (;;) {
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n == 0)
            break;
        if (n < 0) {
            if (errno == EINTR)
                continue;
            str_printf(problem, "cannot be read: %s", strerror(errno));
            return -1;
        }
        str_append_n(contents, chunk, (size_t)n);
        if (contents->failed || contents->len > max_bytes) {
            str_printf(problem, "is too large: the limit is %zu bytes", max_bytes);
            return -1;
        }
    }
    return 0;
}

int conf_file_read(const char *path, size_t max_bytes, struct conf_file *out, struct str *problem)
{
    struct stat status;
    if (stat(path, &status) < 0) {
        str_printf(problem, "cannot be read: %s", strerror(errno));
        return -1;
    }
    if (check_status(&status, max_bytes, problem) < 0)
        return -1;
    FD_AUTO fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 || fstat(fd, &status) < 0) {
        str_printf(problem, "cannot be read: %s", strerror(errno));
        return -1;
    }
    if (check_status(&status, max_bytes, problem) < 0)
        return -1;

    STR_AUTO contents = {0};
    if (read_all(fd, max_bytes, &contents, problem) < 0)
        return -1;
    size_t len = contents.len;
    char *bytes = str_take(&contents);
    if (!bytes) {
        str_append(problem, "cannot be read: out of memory");
        return -1;
    }
    *out = (struct conf_file){bytes, len, status.st_dev, status.st_ino};
    return 0;
}

void conf_file_free(struct conf_file *file)
{
    free(file->bytes);
    *file = (struct conf_file){0};
}
