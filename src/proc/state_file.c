/* Reading and replacing the state file. Owns its lock. In master. */
#include "state_file.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"

#define OWN_MODE 0600

int state_file_init(struct state_file *file, const char *path)
{
    const char *slash = strrchr(path, '/');
    *file = (struct state_file){.lock = -1};
    file->folder = strndup(path, slash == path ? 1 : (size_t)(slash - path));
    file->name = strdup(slash + 1);
    if (file->folder == NULL || file->name == NULL) {
        state_file_free(file);
        return -ENOMEM;
    }
    return 0;
}

void state_file_free(struct state_file *file)
{
    if (file->name != NULL) {
        fd_close(&file->lock);
    }
    free(file->folder);
    free(file->name);
    *file = (struct state_file){.lock = -1};
}

static int open_folder(const struct state_file *file)
{
    int fd = open(file->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 ? fd : -errno;
}

/* "NAME" with what follows it. */
static int open_beside(int folder, const struct state_file *file, const char *suffix, int flags)
{
    STR_AUTO name = {0};
    str_printf(&name, "%s%s", file->name, suffix);
    int fd = name.failed
                 ? -1
                 : openat(folder, str_text(&name), flags | O_CLOEXEC | O_NOFOLLOW, OWN_MODE);
    if (name.failed) {
        return -ENOMEM;
    }
    return fd >= 0 ? fd : -errno;
}

/* A lock of the process and not of the open file (flock): children that outlive a master that was
 * killed must not keep it. */
int state_file_lock(struct state_file *file, pid_t *out_holder)
{
    struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    *out_holder = 0;
    if (file->lock >= 0) {
        return 0;
    }
    FD_AUTO folder = open_folder(file);
    if (folder < 0) {
        return folder;
    }
    FD_AUTO fd = open_beside(folder, file, ".lock", O_RDWR | O_CREAT);
    if (fd < 0) {
        return fd;
    }
    if (fcntl(fd, F_SETLK, &all) != 0) {
        int error = errno;
        if (error != EAGAIN && error != EACCES) {
            return -error;
        }
        if (fcntl(fd, F_GETLK, &all) == 0 && all.l_type != F_UNLCK) {
            *out_holder = all.l_pid;
        }
        return 1;
    }
    file->lock = fd;
    fd = -1;
    return 0;
}

void state_file_unlock(struct state_file *file)
{
    if (file->name != NULL) {
        fd_close(&file->lock);
    }
}

/* --- reading --- */

static int judge(int fd, size_t max, struct str *out_problem)
{
    struct stat status;
    if (fstat(fd, &status) != 0) {
        return -errno;
    }
    if (!S_ISREG(status.st_mode)) {
        str_append(out_problem, "it is no regular file");
    } else if (status.st_uid != 0 && status.st_uid != geteuid()) {
        const struct passwd *owner = getpwuid(status.st_uid);
        str_printf(
            out_problem,
            "it belongs to user %s (uid %u), who could change in it what this daemon, of uid "
            "%u, does; chown it, or start the daemon as that user",
            owner != NULL ? owner->pw_name : "?", status.st_uid, geteuid());
    } else if ((status.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        str_append(out_problem, "others may write it");
    } else if ((uint64_t)status.st_size > max) {
        str_append(out_problem, "it is too large");
    } else {
        return 0;
    }
    return 1;
}

static int read_all(int fd, size_t max, struct str *out)
{
    char bytes[4096];
    ssize_t n;
    while ((n = read(fd, bytes, sizeof(bytes))) != 0) {
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        if (n > 0) {
            str_append_n(out, bytes, (size_t)n);
        }
        if (out->failed || out->len > max) {
            return out->failed ? -ENOMEM : -EFBIG;
        }
    }
    return 0;
}

int state_file_read(const struct state_file *file, size_t max, struct str *out,
                    struct str *out_problem)
{
    FD_AUTO folder = open_folder(file);
    if (folder < 0) {
        return folder;
    }
    FD_AUTO fd = open_beside(folder, file, "", O_RDONLY | O_NONBLOCK);
    if (fd < 0) {
        return fd;
    }
    int result = judge(fd, max, out_problem);
    return result == 0 ? read_all(fd, max, out) : result;
}

int state_file_put_aside(const struct state_file *file, uint64_t wall_ms, struct str *out_name)
{
    char when[32] = "";
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm parts;
    if (gmtime_r(&seconds, &parts) != NULL) {
        (void)strftime(when, sizeof(when), "%Y%m%dT%H%M%SZ", &parts);
    }
    FD_AUTO folder = open_folder(file);
    if (folder < 0) {
        return folder;
    }
    str_printf(out_name, "%s.bad-%s", file->name, when);
    return !out_name->failed && renameat(folder, file->name, folder, str_text(out_name)) == 0
               ? 0
               : -errno;
}

/* --- writing --- */

static int write_all(int fd, const char *text, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, text, len);
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        if (n > 0) {
            text += n;
            len -= (size_t)n;
        }
    }
    return fsync(fd) == 0 ? 0 : -errno;
}

int state_file_write(const struct state_file *file, const char *text, size_t len)
{
    STR_AUTO fresh = {0};
    str_printf(&fresh, "%s.new", file->name);
    FD_AUTO folder = open_folder(file);
    if (folder < 0 || fresh.failed) {
        return folder < 0 ? folder : -ENOMEM;
    }
    (void)unlinkat(folder, str_text(&fresh), 0); /* of a master that was killed */
    FD_AUTO fd = open_beside(folder, file, ".new", O_WRONLY | O_CREAT | O_EXCL);
    if (fd < 0) {
        return fd;
    }
    int error = write_all(fd, text, len);
    if (error == 0 && renameat(folder, str_text(&fresh), folder, file->name) != 0) {
        error = -errno;
    }
    if (error != 0) {
        (void)unlinkat(folder, str_text(&fresh), 0);
        return error;
    }
    return fsync(folder) == 0 ? 0 : -errno;
}

/* --- what went wrong --- */

void state_file_explain(const struct state_file *file, int error, struct str *out)
{
    FD_AUTO folder = open_folder(file);
    if (error == -ENOTDIR && folder == -ENOTDIR) {
        str_printf(out, "%s is no directory", file->folder);
    } else if (error == -ENOTDIR || error == -EISDIR) {
        str_printf(out, "%s/%s is a directory", file->folder, file->name);
    } else {
        str_append(out, strerror(-error));
    }
}
