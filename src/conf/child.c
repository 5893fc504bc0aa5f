/*
 * The reading child. It is forked without exec from a process that may hold listeners, sockets and
 * privileges, so the first thing it does is to let go of all of them: signals as at the start of a
 * program, no descriptor but the answer's and standard error, the reading user's id, limits on time
 * and memory. It always ends by _exit, so that nothing of the parent's is flushed or run twice.
 */
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "read.h"
#include "wire.h"

#define ANSWER_FD    3
#define MEMORY_BYTES ((size_t)2 * 1024 * 1024 * 1024) /* on top of what the parent had mapped */
#define CPU_SECONDS  30

/* Its shadow memory alone is beyond any sensible limit. */
#if defined(__SANITIZE_ADDRESS__)
static const bool limit_memory = false;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
static const bool limit_memory = false;
#else
static const bool limit_memory = true;
#endif
#else
static const bool limit_memory = true;
#endif

static void reset_signals(void)
{
    struct sigaction action = {.sa_handler = SIG_DFL};
    for (int signal = 1; signal < NSIG; signal++)
        sigaction(signal, &action, NULL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void keep_descriptors(int answer_fd)
{
    if (answer_fd != ANSWER_FD && dup2(answer_fd, ANSWER_FD) < 0)
        _exit(1);
    closefrom(ANSWER_FD + 1);
    /* Files opened later must not become 0 or 1. */
    int null = open("/dev/null", O_RDWR);
    if (null > STDERR_FILENO) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
        close(null);
    }
}

static size_t read_mapped_bytes(void)
{
    unsigned long pages = 0;
    FILE *statm = fopen("/proc/self/statm", "re");
    if (!statm)
        return 0;
    if (fscanf(statm, "%lu", &pages) != 1)
        pages = 0;
    fclose(statm);
    return (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* Never above a limit that is there already. */
static void set_limit(__rlimit_resource_t resource, rlim_t value)
{
    struct rlimit limit;
    if (getrlimit(resource, &limit) < 0)
        return;
    if (limit.rlim_max == RLIM_INFINITY || limit.rlim_max > value)
        limit.rlim_max = value;
    if (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur > limit.rlim_max)
        limit.rlim_cur = limit.rlim_max;
    setrlimit(resource, &limit);
}

static void limit_resources(void)
{
    alarm(CONF_CHILD_SECONDS_MAX);
    set_limit(RLIMIT_CPU, CPU_SECONDS);
    set_limit(RLIMIT_CORE, 0); /* it would hold secrets */
    size_t mapped = read_mapped_bytes();
    if (limit_memory && mapped > 0)
        set_limit(RLIMIT_AS, mapped + MEMORY_BYTES);
}

/* Returns 0, or -1 with an error in errors. */
static int switch_user(uid_t user, const char *path, struct errlist *errors)
{
    if (user == CONF_UID_SELF || (user == getuid() && user == geteuid()))
        return 0;
    errno = 0;
    const struct passwd *entry = getpwuid(user);
    if (!entry) {
        errlist_add(errors, ERRLIST_ERROR, path, 0, NULL, "cannot read it as user id %u: %s",
                    (unsigned)user, errno ? strerror(errno) : "no such user");
        return -1;
    }
    gid_t group = entry->pw_gid;
    if (initgroups(entry->pw_name, group) < 0 || setresgid(group, group, group) < 0 ||
        setresuid(user, user, user) < 0) {
        errlist_add(errors, ERRLIST_ERROR, path, 0, NULL, "cannot read it as user %s: %s",
                    entry->pw_name, strerror(errno));
        return -1;
    }
    return 0;
}

static int write_all(const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = write(ANSWER_FD, bytes, len);
        if (n < 0 && errno != EINTR)
            return -1;
        if (n > 0) {
            bytes += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

/* A tree with faults may hold what the parent would not believe: then only the faults are told. */
static bool believable(const struct str *out, const struct conf_section_schema *schema)
{
    struct errlist errors = {0};
    struct conf_tree *tree = NULL;
    int result = conf_wire_decode(str_text(out), out->len, schema, &errors, &tree);
    conf_tree_free(tree);
    errlist_free(&errors);
    return result == 0;
}

static int answer(const char *path, const struct errlist *errors, const struct conf_tree *tree,
                  const struct conf_section_schema *schema)
{
    struct str out = {.limit = CONF_WIRE_BYTES_MAX};
    conf_wire_encode(errors, tree, &out);
    if (errors->errors > 0 && !out.failed && !believable(&out, schema)) {
        str_reset(&out);
        conf_wire_encode(errors, NULL, &out);
    }
    if (out.failed) {
        struct errlist too_large = {0};
        errlist_add(&too_large, ERRLIST_ERROR, path, 0, NULL,
                    "the configuration is too large: it takes more than %zu bytes",
                    CONF_WIRE_BYTES_MAX);
        str_free(&out);
        out.limit = CONF_WIRE_BYTES_MAX;
        conf_wire_encode(&too_large, NULL, &out);
    }
    return out.failed ? -1 : write_all(str_text(&out), out.len);
}

void conf_child_run(int answer_fd, const char *path, const char *text,
                    const struct conf_tree *again, const struct conf_section_schema *schema,
                    uid_t as_user)
{
    struct errlist errors = {0};
    struct conf_tree *tree = NULL;
    reset_signals();
    keep_descriptors(answer_fd);
    limit_resources();
    if (switch_user(as_user, path, &errors) == 0) {
        /* After the switch, which clears it. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (again != NULL) {
            tree = conf_read_again(again, &errors);
        } else {
            tree = text ? conf_read_text(path, text, strlen(text), schema, &errors)
                        : conf_read_file(path, schema, &errors);
            if (text != NULL) {
                conf_complete(tree, &errors);
            }
        }
    }
    _exit(answer(path, &errors, tree, schema) == 0 ? 0 : 1);
}
