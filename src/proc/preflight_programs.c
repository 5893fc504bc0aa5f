/*
 * Whether the programs that a configuration names can be run: those of notify and of exec checks.
 * Looked at in a child that becomes the user they would run as, because only that user's rights
 * count, and because a file system that does not answer must not hold up master. Owns the child
 * while it looks. In master and in sluiced -t.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "child.h"
#include "preflight.h"
#include "privileges.h"

#define LOOK_MS 2000 /* for all of them together */

/* One place that names a program; of a pool's own check or its notify backend or check is NULL. */
struct program {
    const struct model_pool *pool;
    const struct model_backend *backend;
    const struct model_check *check;
};

struct programs {
    struct program *items; /* NULL: only counted */
    size_t count;
};

enum look { LOOK_GOOD, LOOK_ABSENT, LOOK_UNREADABLE, LOOK_NO_FILE, LOOK_NOT_EXECUTABLE };

struct finding {
    uint32_t look;
    int32_t error; /* errno */
};

/* --- which --- */

static void add(struct programs *programs, struct program program)
{
    if (programs->items != NULL) {
        programs->items[programs->count] = program;
    }
    programs->count++;
}

static void add_checks(struct programs *programs, struct program of,
                       const struct model_check *checks, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (checks[i].command != NULL && checks[i].command[0] != NULL) {
            of.check = &checks[i];
            add(programs, of);
        }
    }
}

static void list_all(struct programs *programs, const struct model *model)
{
    programs->count = 0;
    for (size_t i = 0; i < model->n_pools; i++) {
        const struct model_pool *pool = &model->pools[i];
        if (pool->notify != NULL) {
            add(programs, (struct program){.pool = pool});
        }
        add_checks(programs, (struct program){.pool = pool}, pool->checks, pool->n_checks);
        for (size_t j = 0; j < pool->n_backends; j++) {
            const struct model_backend *backend = &pool->backends[j];
            add_checks(programs, (struct program){.pool = pool, .backend = backend},
                       backend->own_checks, backend->n_own_checks);
        }
    }
}

static const char *path_of(const struct program *program)
{
    return program->check != NULL ? program->check->command[0] : program->pool->notify;
}

/* --- in the child --- */

static struct finding look_at(const char *path)
{
    struct stat status;

    if (stat(path, &status) != 0) {
        bool is_absent = errno == ENOENT || errno == ENOTDIR;
        return (struct finding){is_absent ? LOOK_ABSENT : LOOK_UNREADABLE, errno};
    }
    if (!S_ISREG(status.st_mode)) {
        return (struct finding){.look = LOOK_NO_FILE};
    }
    if (access(path, X_OK) != 0) {
        return (struct finding){LOOK_NOT_EXECUTABLE, errno};
    }
    return (struct finding){.look = LOOK_GOOD};
}

static _Noreturn void look_at_all(const struct programs *programs,
                                  const struct privileges *privileges, int pipe)
{
    /* Else as whoever we are: better than nothing. */
    (void)!privileges_drop(privileges);
    for (size_t i = 0; i < programs->count; i++) {
        struct finding finding = look_at(path_of(&programs->items[i]));
        (void)!write(pipe, &finding, sizeof(finding)); /* under PIPE_BUF: whole */
    }
    _exit(0);
}

/* --- in the parent --- */

/* How it is written, where the file hides it. */
static const char *shown(const struct program *program)
{
    const struct model_secrets *secrets =
        program->check != NULL ? &program->check->secrets : &program->pool->secrets;
    const char *option = program->check != NULL ? "command" : "notify";

    for (size_t i = 0; i < secrets->count; i++) {
        const struct model_secret *secret = &secrets->items[i];
        if (secret->item == 0 && strcmp(secret->option->name, option) == 0) {
            return secret->raw;
        }
    }
    return path_of(program);
}

static void name_section(const struct program *program, struct str *out)
{
    str_printf(out, "pool \"%s\"", program->pool->name);
    if (program->backend != NULL) {
        str_printf(out, " / backend \"%s\"", program->backend->name);
    }
    if (program->check != NULL) {
        str_printf(out, " / check \"%s\"", program->check->title);
    }
}

static void name_user(uid_t uid, struct str *out)
{
    const struct passwd *user = getpwuid(uid);

    if (user != NULL) {
        str_append(out, user->pw_name);
    } else {
        str_printf(out, "%u", uid);
    }
}

static void describe(const struct finding *finding, uid_t uid, struct str *out)
{
    STR_AUTO name = {0};

    name_user(uid, &name);
    switch ((enum look)finding->look) {
    case LOOK_ABSENT:
        str_append(out, "does not exist; install it, or name another program");
        break;
    case LOOK_UNREADABLE:
        str_printf(out, "user %s cannot look at it: %s; let that user into all its folders",
                   str_text(&name), strerror(finding->error));
        break;
    case LOOK_NO_FILE:
        str_append(out, "not a regular file; name a program");
        break;
    case LOOK_NOT_EXECUTABLE:
        str_printf(out, "user %s may not execute it: %s; give it the x permission for that user",
                   str_text(&name), strerror(finding->error));
        break;
    case LOOK_GOOD:
        break;
    }
}

static void report(const struct program *program, const char *text, bool strict,
                   struct errlist *errors)
{
    const struct model_check *check = program->check;
    STR_AUTO section = {0};

    name_section(program, &section);
    errlist_add(errors, strict ? ERRLIST_ERROR : ERRLIST_WARNING,
                check != NULL ? check->file : program->pool->file,
                check != NULL ? check->line : program->pool->line, str_text(&section),
                "%s: \"%s\": %s", check != NULL ? "command" : "notify", shown(program), text);
}

/* Whether the next finding came before the deadline. */
static bool take(int pipe, uint64_t deadline_ms, struct finding *out)
{
    uint64_t now_ms = clock_now_ms();
    struct pollfd waiting = {.fd = pipe, .events = POLLIN};

    while (now_ms < deadline_ms && poll(&waiting, 1, (int)(deadline_ms - now_ms)) < 0) {
        now_ms = clock_now_ms();
    }
    return read(pipe, out, sizeof(*out)) == (ssize_t)sizeof(*out);
}

static void take_all(const struct programs *programs, int pipe, uid_t uid, bool strict,
                     struct errlist *errors)
{
    uint64_t deadline_ms = clock_now_ms() + LOOK_MS;
    struct finding finding;

    for (size_t i = 0; i < programs->count; i++) {
        STR_AUTO text = {0};
        if (!take(pipe, deadline_ms, &finding)) {
            report(&programs->items[i],
                   "could not be looked at in time; see whether its file system answers", strict,
                   errors);
            return;
        }
        if (finding.look != LOOK_GOOD) {
            describe(&finding, uid, &text);
            report(&programs->items[i], str_text(&text), strict, errors);
        }
    }
}

/* Returns 0 with the child and the end of the pipe that it answers to, or -errno. */
static int fork_child(const struct programs *programs, const struct privileges *privileges,
                      pid_t *out_child, int *out_pipe)
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) != 0) {
        return -errno;
    }
    *out_child = child_fork();
    if (*out_child == 0) {
        dup2(fds[1], 3);
        close_range(4, ~0U, 0);
        look_at_all(programs, privileges, 3);
    }
    int error = errno;
    close(fds[1]);
    if (*out_child < 0) {
        close(fds[0]);
        return -error;
    }
    *out_pipe = fds[0];
    (void)fcntl(fds[0], F_SETFL, O_NONBLOCK);
    return 0;
}

void preflight_programs(const struct model *model, bool strict, struct errlist *errors)
{
    struct programs programs = {0};
    struct privileges privileges;
    STR_AUTO problem = {0};
    FD_AUTO pipe = -1;
    pid_t child = 0;

    list_all(&programs, model);
    if (programs.count == 0) {
        return;
    }
    /* Of an unknown user preflight_machine() tells; the programs are looked at as ours then. */
    if (privileges_find(model->global.user, model->global.group, &privileges, &problem) != 0) {
        privileges.drop = false;
    }
    programs.items = calloc(programs.count, sizeof(*programs.items));
    list_all(&programs, model);
    int error =
        programs.items == NULL ? -ENOMEM : fork_child(&programs, &privileges, &child, &pipe);
    if (error != 0) {
        errlist_add(errors, ERRLIST_WARNING, NULL, 0, NULL,
                    "programs of notify and exec checks could not be looked at: %s; nothing is "
                    "known of them",
                    strerror(-error));
    } else {
        take_all(&programs, pipe, privileges.uid, strict, errors);
        child_end(&child);
    }
    free(programs.items);
}
