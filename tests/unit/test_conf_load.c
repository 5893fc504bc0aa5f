/* Loading through the reading child: files that are none, include(), secrets, other users, and a
 * child that hangs or dies. */
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/clock.h"

#include "test_conf_fixture.h"

static size_t count_descriptors(void)
{
    size_t n = 0;
    DIR *dir = opendir("/proc/self/fd");

    ck_assert_ptr_nonnull(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

static void expect_load(const char *path, const char *expected)
{
    uint64_t start_ms = clock_now_ms();
    size_t descriptors = count_descriptors();

    conf_tree_free(load_expecting(path, expected));
    ck_assert_uint_lt(clock_now_ms() - start_ms, WAIT_MS / 2);
    ck_assert_uint_eq(count_descriptors(), descriptors);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    ck_assert_int_eq(errno, ECHILD);
}

/* Kinds of files */

START_TEST(a_good_file)
{
    struct conf_tree *tree;

    write_text("a.conf", "pool \"web\" { retries = 3 scheduler = \"\\d\" }\n");
    tree =
        load_expecting("a.conf", "a.conf:1: pool \"web\": warning: \"\\d\" is no known escape and "
                                 "means just \"d\"; a backslash is written \\\\\n");
    ck_assert_str_eq(find_value(SECTION(tree, "pool", "web"), "retries", 0)->text, "3");
    ck_assert_str_eq(tree->files[0], "a.conf");
    conf_tree_free(tree);
}
END_TEST

START_TEST(an_empty_file)
{
    struct conf_tree *tree;

    write_text("a.conf", "");
    tree = load_expecting("a.conf", "");
    ck_assert_uint_eq(tree->root.n_sections, 0);
    conf_tree_free(tree);
}
END_TEST

START_TEST(what_is_no_file)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "socket"};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    ck_assert_int_eq(mkdir("directory", 0700), 0);
    ck_assert_int_eq(mkfifo("fifo", 0600), 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(symlink("loop", "loop"), 0);
    expect_load("directory", "directory: the file is a directory; it must be a regular file\n");
    expect_load("fifo", "fifo: the file is a FIFO; it must be a regular file\n");
    expect_load("socket", "socket: the file is a socket; it must be a regular file\n");
    expect_load("/dev/zero", "/dev/zero: the file is a device; it must be a regular file\n");
    expect_load("missing", "missing: the file cannot be read: No such file or directory\n");
    expect_load("loop", "loop: the file cannot be read: Too many levels of symbolic links\n");
    expect_load("", "the file cannot be read: No such file or directory\n");
    close(fd);
}
END_TEST

START_TEST(a_file_that_is_too_large)
{
    int fd = open("large", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    ck_assert_int_eq(ftruncate(fd, 100 * 1024 * 1024), 0);
    close(fd);
    expect_load("large",
                "large: the file is too large: 104857600 bytes, the limit is 16m (16777216 "
                "bytes)\n");
}
END_TEST

/* include() */

START_TEST(includes_are_sorted_and_relative)
{
    struct conf_tree *tree;
    static const char *const names[] = {"main", "10", "2", "sub", "b"};

    ck_assert_int_eq(mkdir("d", 0700), 0);
    ck_assert_int_eq(mkdir("d/conf.d", 0700), 0);
    ck_assert_int_eq(mkdir("d/conf.d/sub", 0700), 0);
    write_text("d/main.conf",
               "pool main { }\ninclude(\"conf.d/*.conf\")\ninclude('conf.d/none-*')\n"
               "include(\"not-there/*.conf\")\npool b { }\n");
    write_text("d/conf.d/2.conf", "pool \"2\" { include(\"sub/inner\") }\ninclude(sub/x.conf)");
    write_text("d/conf.d/10.conf", "pool \"10\" { }\n");
    write_text("d/conf.d/.hidden.conf", "nonsense");
    write_text("d/conf.d/other", "nonsense");
    write_text("d/conf.d/sub/inner", "\nbackend \"i\" { }\n");
    write_text("d/conf.d/sub/x.conf", "pool sub { }");
    tree = load_expecting("d/main.conf", "");
    ck_assert_uint_eq(tree->root.n_sections, 5);
    for (size_t i = 0; i < 5; i++)
        ck_assert_str_eq(tree->root.sections[i]->title, names[i]);
    ck_assert_uint_eq(tree->n_files, 5);
    ck_assert_str_eq(tree->files[0], "d/main.conf");
    ck_assert_str_eq(tree->files[1], "d/conf.d/10.conf");
    ck_assert_str_eq(SECTION(tree, "pool", "2", "backend", "i")->file, "d/conf.d/sub/inner");
    ck_assert_int_eq(SECTION(tree, "pool", "2", "backend", "i")->line, 2);
    ck_assert_ptr_nonnull(SECTION(tree, "pool", "sub"));
    conf_tree_free(tree);
}
END_TEST

START_TEST(many_includes_are_sorted)
{
    struct conf_tree *tree;
    char text[32];
    char name[16];

    /* Made in an order that no directory listing is likely to have kept or reversed. */
    for (int i = 0; i < 50; i++) {
        snprintf(name, sizeof name, "%02d.inc", i * 37 % 50);
        snprintf(text, sizeof text, "pool p%02d { }", i * 37 % 50);
        write_text(name, text);
    }
    write_text("main", "include(\"*.inc\")");
    tree = load_expecting("main", "");
    ck_assert_uint_eq(tree->root.n_sections, 50);
    for (int i = 0; i < 50; i++) {
        snprintf(name, sizeof name, "p%02d", i);
        ck_assert_str_eq(tree->root.sections[i]->title, name);
    }
    conf_tree_free(tree);
}
END_TEST

START_TEST(the_including_directory_is_no_pattern)
{
    struct conf_tree *tree;

    ck_assert_int_eq(mkdir("a[b]*", 0700), 0);
    write_text("a[b]*/main", "include(\"*.conf\")");
    write_text("a[b]*/x.conf", "pool x { }");
    tree = load_expecting("a[b]*/main", "");
    ck_assert_ptr_nonnull(SECTION(tree, "pool", "x"));
    conf_tree_free(tree);
}
END_TEST

START_TEST(bad_includes)
{
    ck_assert_int_eq(mkdir("dir", 0700), 0);
    ck_assert_int_eq(mkfifo("fifo", 0600), 0);
    write_text("main", "include(\"missing\")\n"
                       "include(dir)\n"
                       "include(\"di*\")\n"
                       "include(\"fifo\")\n"
                       "include(\"\")\n"
                       "include()\n"
                       "include(\"a\", \"b\")\n"
                       "include(\"${SLUICE_TEST_UNSET}\")\n"
                       "pool p {\n"
                       "    include(\"part\")\n"
                       "}\n"
                       "pool q { }\n");
    write_text("part", "retrys = 1\n}\nbackend b {\n");
    expect_load(
        "main",
        "main:1: include: missing cannot be read: No such file or directory\n"
        "main:2: include: dir is a directory; it must be a regular file\n"
        "main:3: include: dir is a directory; it must be a regular file\n"
        "main:4: include: fifo is a FIFO; it must be a regular file\n"
        "main:5: include: the path is empty\n"
        "main:6: include takes one file or pattern: include(\"FILE\")\n"
        "main:7: include takes one file or pattern: include(\"FILE\")\n"
        "main:8: include: the environment variable SLUICE_TEST_UNSET is not set; set it, or "
        "write ${SLUICE_TEST_UNSET:-default}\n"
        "part:1: pool \"p\": unknown option \"retrys\"; did you mean \"retries\"?\n"
        "part:2: pool \"p\": \"}\" closes nothing; is a \"{\" missing before it?\n"
        "part:3: pool \"p\" / backend \"b\": this section is not closed; a \"}\" is missing "
        "before the end of the file\n");
}
END_TEST

START_TEST(cycles_and_depth)
{
    char name[16];
    char text[64];

    write_text("self", "include(\"self\")\npool p { }\n");
    expect_load("self", "self:1: include: self includes self again\n");
    write_text("a", "include(\"b\")");
    write_text("b", "\ninclude(\"c\")");
    ck_assert_int_eq(symlink("b", "c"), 0);
    expect_load("a", "b:2: include: b includes c again\n");
    write_text("x", "include(\"y\")");
    write_text("y", "include(\"z\")");
    write_text("z", "include(\"x\")");
    expect_load("x", "z:1: include: x includes y includes z includes x again\n");
    for (int i = 0; i <= CONF_INCLUDE_DEPTH_MAX + 1; i++) {
        snprintf(name, sizeof name, "n%d", i);
        snprintf(text, sizeof text, "include(\"n%d\")", i + 1);
        write_text(name, i <= CONF_INCLUDE_DEPTH_MAX ? text : "");
    }
    expect_load("n0", "n8:1: include: files are nested more than 8 deep\n");
    expect_load("n1", "");
}
END_TEST

START_TEST(the_same_file_twice)
{
    write_text("main", "include(\"x\")\ninclude(\"x\")\ninclude(\"y\")\ninclude(\"y\")\n");
    write_text("x", "pool p { }\n");
    write_text("y", "\n");
    expect_load("main", "x:1: pool \"p\" is given twice; first at x:1\n");
}
END_TEST

START_TEST(too_many_files_and_bytes)
{
    STR_AUTO text = {0};

    write_text("empty", "");
    for (int i = 0; i < CONF_FILES_MAX; i++)
        str_append(&text, "include(\"empty\")\n");
    write_text("main", str_text(&text));
    expect_load("main", "main:1000: include: more than 1000 files\n");

    int fd = open("blank", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    STR_AUTO blank = {0};
    for (int i = 0; i < 1024 * 1024; i++)
        str_append_char(&blank, '\n');
    for (int i = 0; i < 16; i++)
        ck_assert_int_eq(write(fd, str_text(&blank), blank.len), (ssize_t)blank.len);
    close(fd);
    write_text("main", "include(\"blank\")\ninclude(\"blank\")\n");
    expect_load("main", "main:2: include: all files together have more than 33554432 bytes\n");
}
END_TEST

/* Secrets */

START_TEST(secrets)
{
    struct conf_tree *tree;
    const struct conf_value *value;
    char text[512];

    write_text("s1", "hunter2\n");
    write_text("s2", "a\n\n");
    write_text("s3", "crlf\r\n");
    snprintf(text, sizeof text,
             "pool p { scheduler = \"x-${file:%1$s/s1}-y\" retries = ${file:%1$s/s2} "
             "connect_timeout = '${file:%1$s/s1}' check c { steps = { \"${file:%1$s/s3}\", z } } }",
             fixture_dir);
    write_text("main", text);
    tree = load_expecting("main", "");
    value = find_value(SECTION(tree, "pool", "p"), "scheduler", 0);
    snprintf(text, sizeof text, "x-${file:%s/s1}-y", fixture_dir);
    ck_assert_str_eq(value->raw, text);
    ck_assert_str_eq(value->text, "x-hunter2-y");
    ck_assert(value->secret);
    ck_assert_str_eq(find_value(SECTION(tree, "pool", "p"), "retries", 0)->text, "a\n");
    ck_assert(!find_value(SECTION(tree, "pool", "p"), "connect_timeout", 0)->secret);
    value = find_value(SECTION(tree, "pool", "p", "check", "c"), "steps", 0);
    ck_assert_str_eq(value->text, "crlf");
    ck_assert(value->secret && !(value + 1)->secret);
    conf_tree_free(tree);
}
END_TEST

START_TEST(bad_secrets)
{
    char text[512];
    char expected[1024];
    int fd = open("large", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    ck_assert_int_eq(ftruncate(fd, CONF_SECRET_BYTES_MAX + 1), 0);
    close(fd);
    ck_assert_int_eq(mkfifo("fifo", 0600), 0);
    write_bytes("nul", "a\0b", 3);
    write_bytes("latin", "\xe9", 1);
    snprintf(text, sizeof text,
             "include(\"${file:%1$s/nul}\")\n"
             "pool p {\n scheduler = \"${file:%1$s/fifo}\"\n retries = \"${file:%1$s/large}\"\n"
             " connect_timeout = \"${file:%1$s/nul}${file:%1$s/latin}\"\n}\n",
             fixture_dir);
    write_text("main", text);
    snprintf(expected, sizeof expected,
             "main:1: include: ${file:%1$s/nul} holds a NUL byte\n"
             "main:3: pool \"p\": scheduler: ${file:%1$s/fifo}: the file is a FIFO; it must be a "
             "regular file\n"
             "main:4: pool \"p\": retries: ${file:%1$s/large}: the file is too large: 16385 bytes, "
             "the limit is 16k (16384 bytes)\n"
             "main:5: pool \"p\": connect_timeout: ${file:%1$s/nul} holds a NUL byte; "
             "${file:%1$s/latin} is not UTF-8\n",
             fixture_dir);
    expect_load("main", expected);
    write_text("ok", "main");
    snprintf(text, sizeof text, "include(\"${file:%s/ok}\")", fixture_dir);
    write_text("main", text);
    expect_load("main", "main:1: include: ${file:…} cannot be part of the path\n");
}
END_TEST

/* Users */

static void load_as(const char *path, uid_t user, struct str *printed)
{
    struct errlist errors = {0};
    struct conf_tree *tree = NULL;
    struct conf_load *load = conf_load_start(path, &root_schema, user);
    struct pollfd poller;

    ck_assert_ptr_nonnull(load);
    poller = (struct pollfd){.fd = conf_load_fd(load), .events = POLLIN};
    do
        ck_assert_int_eq(poll(&poller, 1, WAIT_MS), 1);
    while (conf_load_continue(load) == 0);
    ck_assert_int_eq(conf_load_continue(load), 1);
    conf_load_finish(load, false, &errors, &tree);
    errlist_print(&errors, printed);
    ck_assert((tree != NULL) == (errors.errors == 0));
    errlist_free(&errors);
    conf_tree_free(tree);
}

START_TEST(another_user)
{
    STR_AUTO printed = {0};
    char path[128];

    if (geteuid() != 0)
        return;
    write_text("private", "pool p { }");
    write_text("public", "pool p { }");
    ck_assert_int_eq(chmod("private", 0600), 0);
    ck_assert_int_eq(chmod("public", 0644), 0);
    ck_assert_int_eq(chmod(fixture_dir, 0755), 0);
    snprintf(path, sizeof path, "%s/public", fixture_dir);
    load_as(path, 65534, &printed);
    ck_assert_str_eq(str_text(&printed), "");
    load_as("private", 65534, &printed);
    ck_assert_str_eq(str_text(&printed), "private: the file cannot be read: Permission denied\n");
    str_reset(&printed);
    load_as("private", 0, &printed);
    ck_assert_str_eq(str_text(&printed), "");
    load_as("private", 3999999999u, &printed);
    ck_assert_str_eq(str_text(&printed), "private: cannot read it as user id 3999999999: no such "
                                         "user\n");
    str_reset(&printed);
    /* The caller's groups are gone as well. */
    ck_assert_int_eq(chmod("private", 0640), 0);
    for (gid_t group = 0; group <= 12345; group += 12345) {
        ck_assert_int_eq(chown("private", 1, group), 0);
        ck_assert_int_eq(setgroups(1, &group), 0);
        str_reset(&printed);
        load_as("private", 65534, &printed);
        ck_assert_str_eq(str_text(&printed),
                         "private: the file cannot be read: Permission denied\n");
    }
}
END_TEST

START_TEST(another_user_without_root)
{
    STR_AUTO printed = {0};

    if (geteuid() != 0)
        return;
    /* The effective one only, so that the directory can be removed afterwards. */
    ck_assert_int_eq(seteuid(65534), 0);
    load_as("/dev/null", 1, &printed);
    ck_assert_int_eq(seteuid(0), 0);
    ck_assert_ptr_nonnull(strstr(str_text(&printed), "Operation not permitted"));
}
END_TEST

/* A child that hangs or dies. Only one that is busy can be met alive: this takes it a second. */

static void write_slow_file(void)
{
    STR_AUTO text = {0};

    for (int pool = 0; pool < 6; pool++) {
        str_printf(&text, "pool p%d {\n", pool);
        for (int i = 0; i < CONF_SUBSECTIONS_MAX; i++)
            str_printf(&text, "backend a-long-name-that-many-others-begin-with-%d {}\n", i);
        str_append(&text, "}\n");
    }
    write_text("slow", str_text(&text));
}

static pid_t find_child(void)
{
    char path[64];
    int pid = 0;
    FILE *file;

    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    file = fopen(path, "re");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%d", &pid), 1);
    fclose(file);
    return pid;
}

START_TEST(giving_up)
{
    struct errlist errors = {0};
    struct conf_tree *tree = NULL;
    uint64_t start_ms = clock_now_ms();

    write_slow_file();
    conf_load_wait("slow", &root_schema, 30, &errors, &tree);
    ck_assert_uint_lt(clock_now_ms() - start_ms, 5000);
    ck_assert_ptr_null(tree);
    ck_assert_uint_eq(errors.count, 1);
    ck_assert_str_eq(errors.items[0].file, "slow");
    ck_assert_ptr_nonnull(strstr(errors.items[0].text, "took too long"));
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    errlist_free(&errors);
}
END_TEST

static void expect_end(int signal, const char *how)
{
    struct errlist errors = {0};
    struct conf_tree *tree = NULL;
    struct conf_load *load = conf_load_start("slow", &root_schema, CONF_UID_SELF);
    struct pollfd poller = {.fd = conf_load_fd(load), .events = POLLIN};

    /* Not before the child has set its signals' actions. */
    ck_assert_int_eq(poll(&poller, 1, 100), 0);
    ck_assert_int_eq(kill(find_child(), signal), 0);
    ck_assert_int_eq(poll(&poller, 1, WAIT_MS), 1);
    ck_assert_int_eq(conf_load_continue(load), 1);
    conf_load_finish(load, false, &errors, &tree);
    ck_assert_ptr_null(tree);
    ck_assert_uint_eq(errors.count, 1);
    ck_assert_str_eq(errors.items[0].text, how);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    errlist_free(&errors);
}

START_TEST(a_child_that_dies)
{
    write_slow_file();
    expect_end(SIGKILL,
               "the configuration reader ended unexpectedly (signal 9) while reading slow");
    expect_end(SIGBUS, "the configuration reader ended unexpectedly (signal 7) while reading slow");
    expect_end(SIGALRM,
               "the configuration reader ended unexpectedly (after 60 seconds) while reading slow");
}
END_TEST

START_TEST(a_child_that_is_stopped)
{
    struct errlist errors = {0};
    struct conf_tree *tree = NULL;
    struct conf_load *load;

    write_slow_file();
    load = conf_load_start("slow", &root_schema, CONF_UID_SELF);
    ck_assert_int_eq(kill(find_child(), SIGSTOP), 0);
    ck_assert_int_eq(conf_load_continue(load), 0);
    conf_load_finish(load, true, &errors, &tree);
    ck_assert_uint_eq(errors.errors, 1);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    errlist_free(&errors);
}
END_TEST

static volatile sig_atomic_t handled;

static void handle(int signal)
{
    (void)signal;
    handled = handled + 1;
}

/* The parent's ways with signals are its own: the load neither uses nor changes them. */
START_TEST(signals_of_the_parent)
{
    struct sigaction action = {.sa_handler = handle};
    sigset_t blocked;
    sigset_t now;

    write_text("main", "pool p { }");
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    ck_assert_int_eq(sigprocmask(SIG_SETMASK, &blocked, NULL), 0);
    ck_assert_int_eq(sigaction(SIGCHLD, &action, NULL), 0);
    conf_tree_free(load_expecting("main", ""));
    ck_assert_int_eq(handled, 1);
    ck_assert_int_eq(sigprocmask(SIG_SETMASK, NULL, &now), 0);
    ck_assert(sigismember(&now, SIGUSR1) && !sigismember(&now, SIGUSR2));
    action.sa_handler = SIG_IGN;
    ck_assert_int_eq(sigaction(SIGCHLD, &action, NULL), 0);
    expect_load("main", "");
    expect_load("missing", "missing: the file cannot be read: No such file or directory\n");
    action.sa_handler = SIG_DFL;
    ck_assert_int_eq(sigaction(SIGCHLD, &action, NULL), 0);
}
END_TEST

/* Others of the parent's children are none of a load's. */
START_TEST(other_children)
{
    pid_t other = fork();

    if (other == 0)
        _exit(7);
    int status;
    write_text("main", "pool p { }");
    conf_tree_free(load_expecting("main", ""));
    ck_assert_int_eq(waitpid(other, &status, 0), other);
    ck_assert_int_eq(WEXITSTATUS(status), 7);
}
END_TEST

/* Nothing but the answer's descriptor and standard error goes to the child: a lock of the parent's
 * that ends with the last descriptor does end while the child lives. */
START_TEST(descriptors_stay_with_the_parent)
{
    struct errlist errors = {0};
    struct conf_tree *tree = NULL;
    struct conf_load *load;
    int ends[2];
    struct pollfd poller;

    write_slow_file();
    ck_assert_int_eq(pipe(ends), 0);
    load = conf_load_start("slow", &root_schema, CONF_UID_SELF);
    close(ends[1]);
    poller = (struct pollfd){.fd = ends[0], .events = POLLIN};
    ck_assert_int_eq(poll(&poller, 1, WAIT_MS), 1);
    ck_assert(poller.revents & POLLHUP);
    ck_assert_int_eq(conf_load_continue(load), 0);
    conf_load_finish(load, true, &errors, &tree);
    errlist_free(&errors);
    close(ends[0]);
}
END_TEST

START_TEST(a_thousand_backends_are_quick)
{
    STR_AUTO text = {0};
    struct conf_tree *tree;
    uint64_t start_ms;

    str_append(&text, "pool \"web\" {\n");
    for (int i = 0; i < 1000; i++)
        str_printf(&text, "    backend \"b%d\" { address = \"10.0.%d.%d:80\" weight = 3 }\n", i,
                   i / 250, i % 250);
    str_append(&text, "}\n");
    write_text("main", str_text(&text));
    start_ms = clock_now_ms();
    tree = load_expecting("main", "");
    ck_assert_uint_lt(clock_now_ms() - start_ms, 2000);
    ck_assert_uint_eq(SECTION(tree, "pool", "web")->n_sections, 1000);
    conf_tree_free(tree);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_good_file,
        an_empty_file,
        what_is_no_file,
        a_file_that_is_too_large,
        includes_are_sorted_and_relative,
        many_includes_are_sorted,
        the_including_directory_is_no_pattern,
        bad_includes,
        cycles_and_depth,
        the_same_file_twice,
        too_many_files_and_bytes,
        secrets,
        bad_secrets,
        another_user,
        another_user_without_root,
        giving_up,
        a_child_that_dies,
        a_child_that_is_stopped,
        signals_of_the_parent,
        other_children,
        descriptors_stay_with_the_parent,
        a_thousand_backends_are_quick,
    };

    return RUN_SUITE("conf/load", tests, true);
}
