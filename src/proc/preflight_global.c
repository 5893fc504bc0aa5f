/*
 * What global says, against this machine: users, groups, and the folders of what the daemon writes.
 * Owns nothing. In master and in sluiced -t.
 */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "folder.h"
#include "preflight.h"

struct subject {
    const struct model *model;
    bool strict;
    struct errlist *errors;
};

enum errlist_severity preflight_grade(bool strict)
{
    return strict ? ERRLIST_ERROR : ERRLIST_WARNING;
}

/* text begins with the option. */
__attribute__((format(printf, 3, 4))) static void tell(const struct subject *subject,
                                                       const char *option, const char *format, ...)
{
    struct model_place place = model_global_place(subject->model, option);
    STR_AUTO text = {0};
    va_list args;

    va_start(args, format);
    str_vprintf(&text, format, args);
    va_end(args);
    errlist_add(subject->errors, preflight_grade(subject->strict), place.file, place.line, "global",
                "%s", str_text(&text));
}

/* --- who --- */

static void check_account(const struct subject *subject)
{
    const struct model_global *global = &subject->model->global;

    if (global->user != NULL && getpwnam(global->user) == NULL) {
        tell(subject, "user", "user \"%s\" does not exist; create it or name another",
             global->user);
    }
    if (global->group != NULL && getgrnam(global->group) == NULL) {
        tell(subject, "group", "group \"%s\" does not exist; create it or name another",
             global->group);
    }
}

static void check_members(const struct subject *subject, const char *option, char *const *members)
{
    for (; members != NULL && *members != NULL; members++) {
        const char *name = *members;
        bool is_group = name[0] == '@';
        if (strspn(name + is_group, "0123456789") == strlen(name + is_group)) {
            continue;
        }
        if (is_group ? getgrnam(name + 1) == NULL : getpwnam(name) == NULL) {
            tell(subject, option,
                 "%s names the %s \"%s\", which does not exist; create it or name another", option,
                 is_group ? "group" : "user", name + is_group);
        }
    }
}

/* --- where to --- */

/* NULL and the default are what there is. */
static void check_state_file(const struct subject *subject, const char *path)
{
    STR_AUTO problem = {0};

    if (path != NULL && strcmp(path, "none") != 0 && folder_judge(path, false, &problem) != 0) {
        tell(subject, "state_file", "state_file: %s, or nothing is kept over a restart",
             str_text(&problem));
    }
}

static void check_log(const struct subject *subject, const char *log)
{
    int error = log_probe(log);
    bool is_file = log[0] == '/';
    STR_AUTO problem = {0};

    if (is_file && error == -ENOENT) { /* it is made, where there is a folder for it */
        if (folder_judge(log, false, &problem) != 0) {
            tell(subject, "log", "log: %s, or choose another place", str_text(&problem));
        }
    } else if (is_file && error != 0) {
        tell(subject, "log", "log \"%s\": cannot be opened: %s; choose another place", log,
             strerror(-error));
    } else if (error != 0) {
        tell(subject, "log",
             "log \"%s\": nobody takes it here (%s); start that daemon, or choose another place",
             log, strerror(-error));
    }
}

static void check_control_socket(const struct subject *subject, const char *path)
{
    STR_AUTO problem = {0};
    struct stat status;

    if (folder_judge(path, true, &problem) != 0) {
        tell(subject, "control_socket",
             "control_socket: %s, or write another place; without it the daemon does not start",
             str_text(&problem));
    } else if (lstat(path, &status) == 0 && !S_ISSOCK(status.st_mode)) {
        tell(subject, "control_socket",
             "control_socket: %s is something else than a socket; take it away, or write another "
             "place; without it the daemon does not start",
             path);
    }
}

static void check_status(const struct subject *subject, const char *status)
{
    STR_AUTO problem = {0};

    if (status != NULL && strncmp(status, "unix:/", strlen("unix:/")) == 0 &&
        folder_judge(status + strlen("unix:"), false, &problem) != 0) {
        tell(subject, "status",
             "status: %s, or write another address; without it the daemon does not start",
             str_text(&problem));
    }
}

void preflight_global_sockets(const struct model *model, bool strict, struct errlist *errors)
{
    const struct subject subject = {.model = model, .strict = strict, .errors = errors};

    check_control_socket(&subject, model->global.control_socket);
    check_status(&subject, model->global.status);
}

void preflight_global(const struct model *model, bool strict, struct errlist *errors)
{
    const struct subject subject = {.model = model, .strict = strict, .errors = errors};
    const struct model_global *global = &model->global;

    check_account(&subject);
    check_log(&subject, global->log);
    check_state_file(&subject, global->state_file);
    check_members(&subject, "control_read", global->control_read);
    check_members(&subject, "control_operate", global->control_operate);
    check_members(&subject, "control_administer", global->control_administer);
}
