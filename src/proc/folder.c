/* Judges folders of files that are yet to be made. In master and in sluiced -t. */
#include "folder.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int may_write(const char *folder)
{
    struct stat status;

    if (stat(folder, &status) != 0) {
        return -errno;
    }
    if (!S_ISDIR(status.st_mode)) {
        return -ENOTDIR;
    }
    return access(folder, W_OK | X_OK) == 0 ? 0 : -errno;
}

static void describe(const char *folder, int error, struct str *out)
{
    str_printf(out, "%s: ", folder);
    if (error == -ENOENT) {
        str_printf(out, "%s; make the folder", strerror(ENOENT));
    } else if (error == -EACCES) {
        str_printf(out, "this user (uid %u) may not write there: %s; let it", (unsigned)geteuid(),
                   strerror(EACCES));
    } else {
        str_printf(out, "%s; name another folder", strerror(-error));
    }
}

int folder_judge(const char *path, bool makes, struct str *out_problem)
{
    char here[PATH_MAX], above[PATH_MAX];
    const char *folder;
    int error;

    if (strlcpy(here, path, sizeof(here)) >= sizeof(here)) {
        str_printf(out_problem, "%s; write a shorter path", strerror(ENAMETOOLONG));
        return -ENAMETOOLONG;
    }
    folder = dirname(here);
    error = may_write(folder);
    if (error == -ENOENT && makes) {
        (void)strlcpy(above, folder, sizeof(above));
        folder = dirname(above);
        error = may_write(folder);
    }
    if (error != 0) {
        describe(folder, error, out_problem);
    }
    return error;
}
