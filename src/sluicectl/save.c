/*
 * Writing the running configuration beside its place and renaming it there. In sluicectl, as its
 * user: the daemon writes no files for others.
 */
#include "sluicectl/save.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"

#define OWN_MODE 0600

struct saving {
    const char *path; /* as given */
    bool as_json;
    char real[PATH_MAX]; /* the file itself, where path is a link; it need not exist */
    struct stat status;  /* of it */
    bool exists;
    const char *text;
    long long generation;
};

__attribute__((format(printf, 2, 3))) static int fail(const struct saving *saving,
                                                      const char *format, ...)
{
    STR_AUTO text = {0};
    STR_AUTO out = {0};
    va_list args;

    va_start(args, format);
    str_vprintf(&text, format, args);
    va_end(args);
    if (saving->as_json) {
        struct json json;

        json_init(&json, &out);
        json_begin_object(&json, NULL);
        json_put_string(&json, "error", str_text(&text));
        json_end_object(&json);
        fprintf(stderr, "%s\n", str_text(&out));
    } else {
        fprintf(stderr, "error: %s\n", str_text(&text));
    }
    return -1;
}

/* Follows links: the file that is replaced is the one behind them. */
static int find_file(struct saving *saving)
{
    char copy[PATH_MAX], folder[PATH_MAX], name[PATH_MAX];

    if (strlen(saving->path) >= sizeof(copy) - 16)
        return fail(saving, "%s: %s", saving->path, strerror(ENAMETOOLONG));
    saving->exists = stat(saving->path, &saving->status) == 0;
    if (saving->exists && !S_ISREG(saving->status.st_mode))
        return fail(saving, "%s is no regular file; name another", saving->path);
    if (saving->exists && realpath(saving->path, saving->real))
        return 0;
    if (saving->exists || errno != ENOENT)
        return fail(saving, "%s: %s", saving->path, strerror(errno));
    strcpy(copy, saving->path);
    strcpy(name, basename(copy));
    strcpy(copy, saving->path);
    if (!realpath(dirname(copy), folder) || strlen(folder) + strlen(name) + 16 > PATH_MAX)
        return fail(saving, "%s: %s", saving->path, strerror(errno));
    snprintf(saving->real, sizeof(saving->real), "%s%s%.*s", folder,
             strcmp(folder, "/") == 0 ? "" : "/", (int)(PATH_MAX - strlen(folder) - 2), name);
    return 0;
}

/* Whether it is that file, by another name too (a link of either kind, a path with dots); and one
 * that is just not there, by its name. */
static bool is_same(const struct saving *saving, const char *loaded)
{
    struct stat status;

    if (strcmp(saving->real, loaded) == 0)
        return true;
    return saving->exists && stat(loaded, &status) == 0 && status.st_dev == saving->status.st_dev &&
           status.st_ino == saving->status.st_ino;
}

static int write_all(int fd, const char *text)
{
    size_t len = strlen(text);

    while (len > 0) {
        ssize_t n = write(fd, text, len);

        if (n < 0 && errno != EINTR)
            return -1;
        if (n > 0) {
            text += n;
            len -= (size_t)n;
        }
    }
    return fsync(fd);
}

static int fill(const struct saving *saving, int fd)
{
    mode_t mode = saving->exists ? saving->status.st_mode & 07777 : OWN_MODE;

    return fchmod(fd, mode) == 0 ? write_all(fd, saving->text) : -1;
}

static int replace(const struct saving *saving)
{
    STR_AUTO fresh = {0};
    FD_AUTO fd = -1;

    str_printf(&fresh, "%s.XXXXXX", saving->real);
    if (fresh.failed)
        return fail(saving, "out of memory");
    fd = mkostemp(fresh.data, O_CLOEXEC);
    if (fd < 0)
        return fail(saving, "cannot write beside %s: %s", saving->path, strerror(errno));
    if (fill(saving, fd) != 0 || rename(fresh.data, saving->real) != 0) {
        int error = errno;

        (void)unlink(fresh.data);
        return fail(saving, "%s: %s; it is as it was", saving->path, strerror(error));
    }
    return 0;
}

static void report(const struct saving *saving)
{
    STR_AUTO out = {0};
    struct json json;

    if (!saving->as_json) {
        printf("generation %lld is saved in %s\n", saving->generation, saving->path);
        return;
    }
    json_init(&json, &out);
    json_begin_object(&json, NULL);
    json_put_int(&json, "generation", saving->generation);
    json_put_string(&json, "saved", saving->path);
    json_end_object(&json);
    puts(str_text(&out));
}

static int save(struct saving *saving, const json_t *reply)
{
    const json_t *files = json_object_get(reply, "loaded_files");
    const char *text = json_string_value(json_object_get(reply, "config"));
    const char *refusal = json_string_value(json_object_get(reply, "error"));

    if (refusal)
        return fail(saving, "%s", refusal);
    if (!text || !json_is_array(files))
        return fail(saving, "the daemon's reply makes no sense; is it of another release?");
    saving->text = text;
    saving->generation = json_integer_value(json_object_get(reply, "generation"));
    if (find_file(saving) != 0)
        return -1;
    for (size_t i = 0; i < json_array_size(files); i++) {
        const char *loaded = json_string_value(json_array_get(files, i));

        if (loaded && is_same(saving, loaded))
            return fail(saving,
                        "%s is loaded by the daemon (%s); save elsewhere, look at it, and "
                        "move it there yourself",
                        saving->path, loaded);
    }
    if (replace(saving) != 0)
        return -1;
    report(saving);
    return 0;
}

int save_file(const struct str *reply, const char *path, bool as_json)
{
    struct saving saving = {.path = path, .as_json = as_json};
    json_t *json = json_loadb(str_text(reply), reply->len, 0, NULL);
    int result = save(&saving, json);

    json_decref(json);
    return result;
}
