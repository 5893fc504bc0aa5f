/* Hosts and resolv.conf as they were at the last look, see files.h. Owns both. In the monitor and
 * in the short-lived child that looks names up for master. */
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

#define HOSTS_BYTES_MAX  (4 * 1024 * 1024)
#define RESOLV_BYTES_MAX (64 * 1024)

/* A file is the same as long as these are. */
struct stamp {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec mtime, ctime;
};

struct file {
    const char *path;
    struct stamp stamp; /* zeroed: it is not there */
    bool was_read;      /* what stamp is of; else it is tried again */
};

struct dns_files {
    struct file hosts_file, resolv_file;
    struct dns_hosts *hosts;
    struct dns_resolv resolv;
};

static void stamp_of(const char *path, struct stamp *out)
{
    struct stat st;
    memset(out, 0, sizeof(*out));
    if (stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
        out->dev = st.st_dev;
        out->ino = st.st_ino;
        out->size = st.st_size;
        out->mtime = st.st_mtim;
        out->ctime = st.st_ctim;
    }
}

static bool read_text(const char *path, size_t limit, struct str *out)
{
    FD_AUTO fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    char chunk[4096];
    ssize_t n = 0;
    out->limit = limit;
    if (fd < 0) {
        return errno == ENOENT;
    }
    while (!out->failed && (n = read(fd, chunk, sizeof(chunk))) > 0) {
        str_append_n(out, chunk, (size_t)n);
    }
    return !out->failed && n == 0;
}

/* True when there is a new text in *out. */
static bool look(struct file *file, size_t limit, struct str *out)
{
    struct stamp now;
    stamp_of(file->path, &now);
    if (file->was_read && memcmp(&now, &file->stamp, sizeof(now)) == 0) {
        return false;
    }
    file->stamp = now; /* of before the reading: what changes meanwhile is seen the next time */
    bool is_regular = now.ino != 0;
    file->was_read = !is_regular || read_text(file->path, limit, out);
    return file->was_read;
}

static bool look_at_hosts(struct dns_files *files)
{
    STR_AUTO text = {0};
    if (!look(&files->hosts_file, HOSTS_BYTES_MAX, &text)) {
        return false;
    }
    struct dns_hosts *hosts = dns_hosts_parse(str_text(&text));
    if (hosts == NULL) {
        files->hosts_file.was_read = false;
        return false;
    }
    dns_hosts_free(files->hosts);
    files->hosts = hosts;
    return true;
}

static bool look_at_resolv(struct dns_files *files)
{
    STR_AUTO text = {0};
    if (!look(&files->resolv_file, RESOLV_BYTES_MAX, &text)) {
        return false;
    }
    dns_resolv_parse(str_text(&text), &files->resolv);
    return true;
}

bool dns_files_look(struct dns_files *files)
{
    bool hosts_changed = look_at_hosts(files);
    bool resolv_changed = look_at_resolv(files);
    return hosts_changed || resolv_changed;
}

struct dns_files *dns_files_create(const char *hosts_path, const char *resolv_path)
{
    struct dns_files *files = calloc(1, sizeof(*files));
    if (files != NULL) {
        files->hosts_file.path = hosts_path;
        files->resolv_file.path = resolv_path;
        dns_resolv_parse("", &files->resolv);
        (void)dns_files_look(files);
    }
    return files;
}

void dns_files_destroy(struct dns_files *files)
{
    if (files != NULL) {
        dns_hosts_free(files->hosts);
        free(files);
    }
}

const struct dns_resolv *dns_files_resolv(const struct dns_files *files)
{
    return &files->resolv;
}

const struct dns_hosts *dns_files_hosts(const struct dns_files *files)
{
    return files->hosts;
}
