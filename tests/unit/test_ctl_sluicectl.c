/*
 * sluicectl against the real server with a host made by hand: exit codes, what goes where, what is
 * sent. The server runs in a child; sluicectl's main() in another, its outputs in files.
 */
#include "test_ctl_fixture.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "ctl/server.h"

int sluicectl_main(int argc, char **argv);
#define main sluicectl_main
#include "sluicectl/main.c"
#undef main
#include "sluicectl/talk.c"

#define OUTPUT_MAX (8 * 1024 * 1024) /* /dev/full reads for ever */

static char folder[64], path[108];
static pid_t server_pid;
static struct str standard_out, standard_error;

static void in_folder(char file[static 128], const char *name)
{
    snprintf(file, 128, "%s/%s", folder, name);
}

/* Serves until killed. */
static void serve(int fd)
{
    struct event_base *base = event_base_new();

    fake.n_sessions = 20000;
    ck_assert_ptr_nonnull(ctl_server_create(base, fd, &fake.host));
    event_base_dispatch(base);
    _exit(1);
}

static void open_fake(void)
{
    int fd;

    strcpy(folder, "/tmp/test_sluicectl_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/control.sock", folder);
    fd = ctl_listen(path, 0600);
    ck_assert_int_ge(fd, 0);
    fflush(NULL);
    server_pid = fork();
    if (server_pid == 0)
        serve(fd);
    close(fd);
}

static void open_server(void)
{
    fake_start();
    open_fake();
}

static void open_unhealthy_server(void)
{
    fake_start();
    fake.unhealthy = "1 of 2 services is unhealthy: db";
    open_fake();
}

static void close_server(void)
{
    static const char *const names[] = {"control.sock", "out", "err", "some.conf", "link.conf"};

    kill(server_pid, SIGKILL);
    waitpid(server_pid, NULL, 0);
    for (int i = 0; i < COUNT(names); i++) {
        char file[128];

        in_folder(file, names[i]);
        unlink(file);
    }
    rmdir(folder);
    str_free(&standard_out);
    str_free(&standard_error);
    fake_end();
}

static void take_file(const char *name, struct str *out)
{
    char file[128], bytes[4096];
    FILE *stream;
    size_t n;

    in_folder(file, name);
    str_reset(out);
    stream = fopen(file, "r");
    ck_assert_ptr_nonnull(stream);
    while (out->len < OUTPUT_MAX && (n = fread(bytes, 1, sizeof(bytes), stream)) > 0)
        str_append_n(out, bytes, n);
    fclose(stream);
}

static void redirect(const char *name, int fd)
{
    char file[128];
    int opened;

    in_folder(file, name);
    opened = open(file, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    if (opened < 0 || dup2(opened, fd) != fd)
        _exit(99);
}

/* Runs sluicectl with the words, ending with NULL; returns its exit status. */
static int ctl(const char *first, ...)
{
    char *argv[32] = {(char *)"sluicectl", (char *)(uintptr_t)first};
    int argc = first ? 2 : 1, status;
    va_list args;
    pid_t pid;

    va_start(args, first);
    while (first && (argv[argc] = va_arg(args, char *)) != NULL)
        argc++;
    va_end(args);
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        redirect("out", 1);
        redirect("err", 2);
        exit(sluicectl_main(argc, argv));
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status));
    take_file("out", &standard_out);
    take_file("err", &standard_error);
    return WEXITSTATUS(status);
}

#define says(text, part)                                                                           \
    ck_assert_msg(strstr(str_text(text), part) != NULL, "\"%s\" is not in: %s", part,              \
                  str_text(text))

START_TEST(a_reply_goes_to_standard_output)
{
    ck_assert_int_eq(ctl("-s", path, "show", "pools", NULL), 0);
    says(&standard_out, "NAME  SCHEDULER");
    ck_assert_ptr_null(strstr(str_text(&standard_out), "\n\n"));
    ck_assert_str_eq(str_text(&standard_error), "");
}
END_TEST

START_TEST(the_socket_from_the_environment)
{
    setenv("SLUICE_SOCKET", path, 1);
    ck_assert_int_eq(ctl("show pools", NULL), 2); /* one word with a space is another word */
    ck_assert_int_eq(ctl("show", "pools", NULL), 0);
    ck_assert_int_eq(ctl("-s", "/nonexistent/socket", "show", "pools", NULL), 3);
}
END_TEST

START_TEST(json_by_option_or_word)
{
    ck_assert_int_eq(ctl("-s", path, "--json", "show", "pools", NULL), 0);
    ck_assert_int_eq(strncmp(str_text(&standard_out), "{\"pools\":[", 10), 0);
    ck_assert_str_eq(str_text(&standard_out) + standard_out.len - 2, "}\n");
    ck_assert_int_eq(ctl("--json", "-s", path, "show", "pools", "json", NULL), 0);
    ck_assert_int_eq(strncmp(str_text(&standard_out), "{\"pools\":[", 10), 0);
}
END_TEST

START_TEST(a_refusal_goes_to_standard_error)
{
    ck_assert_int_eq(ctl("-s", path, "show", "backends", "wev", NULL), 1);
    ck_assert_int_eq(strncmp(str_text(&standard_error), "error: ", 7), 0);
    ck_assert_str_eq(str_text(&standard_out), "");
    ck_assert_int_eq(ctl("-s", path, "--json", "show", "backends", "wev", NULL), 1);
    ck_assert_int_eq(strncmp(str_text(&standard_error), "{\"error\":", 9), 0);
    ck_assert_int_eq(ctl("-s", path, "--json", "show", "errors", NULL), 0); /* no refusal */
}
END_TEST

START_TEST(usage)
{
    ck_assert_int_eq(ctl(NULL), 2);
    says(&standard_error, "Usage: sluicectl");
    ck_assert_int_eq(ctl("--frobnicate", NULL), 2);
    ck_assert_int_eq(ctl("-s", NULL), 2);
    ck_assert_int_eq(ctl("-h", NULL), 0);
    says(&standard_out, "Usage: sluicectl");
    ck_assert_int_eq(ctl("-V", NULL), 0);
    says(&standard_out, "sluicectl ");
    ck_assert_int_eq(ctl("-s", path, "show", "pools\nstop", NULL), 2); /* would be two requests */
    says(&standard_error, "control characters");
    ck_assert_int_eq(ctl("-s", path, "show", "\xff", NULL), 2);
    ck_assert_int_eq(ctl("--json", "--frobnicate", NULL), 2);
    ck_assert_str_eq(str_text(&standard_error),
                     "{\"error\":\"bad usage: unknown option --frobnicate; see sluicectl --help\","
                     "\"code\":\"usage\"}\n");
    ck_assert_int_eq(ctl("-s", path, "show", "poolz", NULL), 2);
    says(&standard_error, "error: bad usage: unknown command: show poolz; did you mean");
    ck_assert_int_eq(ctl("-s", path, "--json", "show", "poolz", NULL), 2);
    says(&standard_error, "\"code\":\"usage\"");
    ck_assert_int_eq(ctl("-s", path, "--json", "show", "backends", "\"code\":\"usage\"", NULL), 1);
}
END_TEST

START_TEST(no_daemon)
{
    ck_assert_int_eq(ctl("-s", "/nonexistent/socket", "show", "pools", NULL), 3);
    says(&standard_error, "/nonexistent/socket");
    says(&standard_error, "No such file or directory");
    says(&standard_error, "sluiced is not running");
    kill(server_pid, SIGKILL);
    waitpid(server_pid, NULL, 0);
    ck_assert_int_eq(ctl("-s", path, "show", "pools", NULL), 3);
    says(&standard_error, "Connection refused");
}
END_TEST

START_TEST(words_with_spaces_arrive_whole)
{
    ck_assert_int_eq(
        ctl("-s", path, "drain", "backend", "web", "a", "why=new \"disks\" \\o/", "force", NULL),
        0);
    ck_assert_int_eq(ctl("-s", path, "help", "a b", NULL), 1);
    ck_assert_int_eq(ctl("-s", path, "show", "backends", "we b", NULL), 1);
    says(&standard_error, "no pool \"we b\"");
}
END_TEST

START_TEST(files_are_found_from_here)
{
    char file[128], link[128];

    in_folder(file, "some.conf");
    in_folder(link, "link.conf");
    close(open(file, O_CREAT | O_WRONLY, 0600));
    ck_assert_int_eq(symlink("some.conf", link), 0);
    ck_assert_int_eq(chdir(folder), 0);
    ck_assert_int_eq(ctl("-s", path, "check", "config", "link.conf", NULL), 0);
    says(&standard_out, "valid");
    ck_assert_int_eq(ctl("-s", path, "check", "config", NULL), 0);
    ck_assert_int_eq(ctl("-s", path, "check", "config", "json", NULL), 0);
    ck_assert_int_eq(ctl("-s", path, "check", "config", "none.conf", NULL), 2);
    says(&standard_error, "none.conf: No such file");
    ck_assert_int_eq(chdir("/"), 0);
}
END_TEST

START_TEST(a_large_reply)
{
    ck_assert_int_eq(ctl("-s", path, "--json", "show", "sessions", "limit=20000", NULL), 0);
    ck_assert_uint_gt(standard_out.len, 20000 * 100);
}
END_TEST

START_TEST(output_that_cannot_be_written)
{
    char file[128];

    in_folder(file, "out");
    ck_assert_int_eq(symlink("/dev/full", file), 0);
    ck_assert_int_eq(ctl("-s", path, "show", "pools", NULL), 1);
    says(&standard_error, "cannot write the reply");
}
END_TEST

/* --- health --- */

START_TEST(health_as_exit_status)
{
    ck_assert_int_eq(ctl("-s", path, "health", "--exit-code", NULL), 0);
    ck_assert_str_eq(str_text(&standard_out), "healthy: 1 service is healthy\n"
                                              "web healthy: 2 of 3 backends up\n");
    ck_assert_int_eq(ctl("-s", path, "health", NULL), 0);
    ck_assert_int_eq(ctl("-s", path, "health", "--exit-code", "wbe", NULL), 1);
    says(&standard_error, "no service wbe");
    ck_assert_int_eq(ctl("-s", "/nonexistent/socket", "health", "--exit-code", NULL), 3);
}
END_TEST

START_TEST(no_health_as_exit_status)
{
    ck_assert_int_eq(ctl("-s", path, "health", "--exit-code", NULL), 1);
    says(&standard_out, "unhealthy: 1 of 2 services is unhealthy: db\n");
    ck_assert_str_eq(str_text(&standard_error), "");
    ck_assert_int_eq(ctl("-s", path, "health", "--exit-code", "--json", NULL), 1);
    says(&standard_out, "{\"healthy\":false,");
    ck_assert_int_eq(ctl("-s", path, "health", NULL), 0); /* an answer was got */
    ck_assert_int_eq(ctl("-s", path, "health", "web", "--exit-code", NULL), 0);
}
END_TEST

START_TEST(options_of_health_stand_anywhere)
{
    ck_assert_int_eq(ctl("health", "--exit-code", "-s", path, NULL), 0);
    ck_assert_int_eq(ctl("--exit-code", "-s", path, "health", NULL), 0);
    ck_assert_int_eq(ctl("-s", path, "health", "--json", "web", "--exit-code", NULL), 0);
    ck_assert_int_eq(strncmp(str_text(&standard_out), "{\"healthy\":true", 15), 0);
    ck_assert_int_eq(ctl("health", "web", "json", "-s", path, NULL), 0);
    ck_assert_int_eq(strncmp(str_text(&standard_out), "{\"healthy\":true", 15), 0);
    ck_assert_int_eq(ctl("-s", path, "health", "--", "--exit-code", NULL), 1);
    says(&standard_error, "no service --exit-code");
    ck_assert_int_eq(ctl("-s", path, "health", "--exit-cod3", NULL), 2);
    ck_assert_int_eq(ctl("-s", path, "health", "web", "db", NULL), 2);
    /* Of other verbs only --json, as the last word. */
    ck_assert_int_eq(ctl("-s", path, "--exit-code", "show", "pools", NULL), 2);
    says(&standard_error, "--exit-code goes with health only");
    ck_assert_int_eq(ctl("-s", path, "show", "pools", "--json", NULL), 0);
    ck_assert_int_eq(strncmp(str_text(&standard_out), "{\"pools\":", 9), 0);
    ck_assert_int_eq(ctl("-s", path, "show", "--json", "pools", NULL), 2);
}
END_TEST

START_TEST(a_status_needs_no_reader)
{
    char file[128];

    in_folder(file, "out");
    ck_assert_int_eq(symlink("/dev/full", file), 0);
    ck_assert_int_eq(ctl("-s", path, "health", "--exit-code", NULL), 0);
    ck_assert_int_eq(ctl("-s", path, "health", NULL), 1);
    says(&standard_error, "cannot write the reply");
}
END_TEST

START_TEST(a_daemon_that_hangs_is_none)
{
    uint64_t from_ms = clock_now_ms();

    kill(server_pid, SIGSTOP);
    ck_assert_int_eq(ctl("-s", path, "health", "--exit-code", NULL), 3);
    says(&standard_error, "does not answer in time");
    ck_assert_uint_ge(clock_now_ms() - from_ms, 1900);
    ck_assert_uint_lt(clock_now_ms() - from_ms, 10000);
}
END_TEST

/* A daemon that goes away in the middle. */
START_TEST(a_reply_cut_short)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int listen_fd, fd;
    char bytes[256];
    pid_t pid;

    unlink(path);
    strcpy(address.sun_path, path);
    listen_fd = socket(AF_UNIX, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(listen_fd, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(listen_fd, 1), 0);
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        fd = accept(listen_fd, NULL, NULL);
        if (read(fd, bytes, sizeof(bytes)) < 0 || write(fd, "half a line\nand", 15) != 15)
            _exit(1);
        _exit(0);
    }
    close(listen_fd);
    ck_assert_int_eq(ctl("-s", path, "show", "pools", NULL), 3);
    says(&standard_error, "before its reply was complete");
    ck_assert_str_eq(str_text(&standard_out), "");
    waitpid(pid, NULL, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sluicectl");
    TCase *tc = tcase_create("all"), *unhealthy = tcase_create("unhealthy");
    SRunner *runner;
    int failed;

    unsetenv("SLUICE_SOCKET");
    tcase_add_checked_fixture(tc, open_server, close_server);
    tcase_add_test(tc, a_reply_goes_to_standard_output);
    tcase_add_test(tc, the_socket_from_the_environment);
    tcase_add_test(tc, json_by_option_or_word);
    tcase_add_test(tc, a_refusal_goes_to_standard_error);
    tcase_add_test(tc, usage);
    tcase_add_test(tc, no_daemon);
    tcase_add_test(tc, words_with_spaces_arrive_whole);
    tcase_add_test(tc, files_are_found_from_here);
    tcase_add_test(tc, a_large_reply);
    tcase_add_test(tc, output_that_cannot_be_written);
    tcase_add_test(tc, a_reply_cut_short);
    tcase_add_test(tc, health_as_exit_status);
    tcase_add_test(tc, options_of_health_stand_anywhere);
    tcase_add_test(tc, a_status_needs_no_reader);
    tcase_add_test(tc, a_daemon_that_hangs_is_none);
    tcase_set_timeout(tc, 60);
    suite_add_tcase(suite, tc);
    tcase_add_checked_fixture(unhealthy, open_unhealthy_server, close_server);
    tcase_add_test(unhealthy, no_health_as_exit_status);
    tcase_set_timeout(unhealthy, 60);
    suite_add_tcase(suite, unhealthy);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
