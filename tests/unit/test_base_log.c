/*
 * The log: the form of a line whatever a peer puts into it, the limit of its length, and that a
 * sink that takes nothing costs lines and never time.
 */
#include "base/log.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <regex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"

#include <jansson.h>

#define TIME_LOGFMT "time=[0-9-]{10}T[0-9:]{8}\\.[0-9]{3}Z "

static int ends[2]; /* a pipe; the log owns ends[1] */
static char dir[] = "/tmp/test_base_log.XXXXXX";
static char path[64];
static char buf[1 << 20];

/* Only in tests that make files. */
static void make_dir(void)
{
    ck_assert_ptr_nonnull(mkdtemp(dir));
    (void)snprintf(path, sizeof(path), "%s/log", dir);
}

static void setup(void)
{
    ck_assert_int_eq(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
    log_adopt_fd(ends[1], LOG_TARGET_STREAM);
}

static void teardown(void)
{
    if (path[0] != '\0') {
        (void)unlink(path);
        (void)rmdir(dir);
    }
}

/* Everything the sink got since; "" for nothing. */
static const char *drain(void)
{
    size_t len = 0;
    ssize_t n;

    while ((n = read(ends[0], buf + len, sizeof(buf) - 1 - len)) > 0) {
        len += (size_t)n;
    }
    buf[len] = '\0';
    return buf;
}

static void assert_matches(const char *text, const char *pattern)
{
    regex_t regex;

    ck_assert_int_eq(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    ck_assert_msg(regexec(&regex, text, 0, NULL, 0) == 0, "%s\ndoes not match %s", text, pattern);
    regfree(&regex);
}

static int count_lines(const char *text)
{
    int lines = 0;

    for (; *text != '\0'; text++) {
        lines += *text == '\n' ? 1 : 0;
    }
    return lines;
}

START_TEST(a_plain_line)
{
    log_set_role("master");
    log_info("worker started", LOG_INT("id", 0), LOG_INT("pid", 12));
    assert_matches(drain(), "^" TIME_LOGFMT "level=info proc=master msg=\"worker started\" "
                            "id=0 pid=12\n$");
}
END_TEST

START_TEST(without_fields_without_role)
{
    log_error("stop");
    assert_matches(drain(), "^" TIME_LOGFMT "level=error msg=stop\n$");
}
END_TEST

START_TEST(a_role_with_a_space)
{
    log_set_role("worker 3");
    log_warning("x");
    assert_matches(drain(), "level=warning proc=\"worker 3\" msg=x\n$");
}
END_TEST

START_TEST(levels_filter)
{
    log_debug("no");
    ck_assert_str_eq(drain(), "");
    log_write(LOG_LEVEL_DEBUG, "no", NULL);
    ck_assert_str_eq(drain(), "");
    log_set_level(LOG_LEVEL_DEBUG);
    log_debug("yes");
    assert_matches(drain(), "level=debug msg=yes\n$");
    log_set_level(LOG_LEVEL_ERROR);
    log_warning("no");
    ck_assert_str_eq(drain(), "");
    ck_assert_uint_eq(log_dropped(), 0);
    ck_assert(log_enabled(LOG_LEVEL_ERROR));
    ck_assert(!log_enabled(LOG_LEVEL_WARNING));
}
END_TEST

static const struct {
    const char *value;
    const char *logfmt;
} values[] = {
    {"plain", "v=plain\n"},
    {"10.0.0.1:80", "v=10.0.0.1:80\n"},
    {"caf\xC3\xA9", "v=caf\xC3\xA9\n"},
    {"", "v=\"\"\n"},
    {"two words", "v=\"two words\"\n"},
    {"a=b", "v=\"a=b\"\n"},
    {"say \"hi\"", "v=\"say \\\"hi\\\"\"\n"},
    {"back\\slash", "v=\"back\\\\slash\"\n"},
    {"x\nlevel=error msg=forged", "v=\"x\\nlevel=error msg=forged\"\n"},
    {"x\r", "v=\"x\\r\"\n"},
    {"\x1b[2J", "v=\"\\u001b[2J\"\n"},
    {"\x7f", "v=\"\\u007f\"\n"},
    {"\xC2\x85", "v=\"\\u0085\"\n"},
    {"\xE2\x80\xA8", "v=\"\\u2028\"\n"},
    {"\xC0\x8A", "v=\"\xEF\xBF\xBD\xEF\xBF\xBD\"\n"},
};

START_TEST(values_are_quoted_where_needed)
{
    const char *line;

    log_info("m", LOG_STR("v", values[_i].value));
    line = drain();
    ck_assert_ptr_nonnull(strstr(line, " v="));
    ck_assert_str_eq(strstr(line, " v=") + 1, values[_i].logfmt);
}
END_TEST

START_TEST(json_says_the_same)
{
    json_t *parsed;

    log_set_format(LOG_FORMAT_JSON);
    log_set_role("worker 3");
    log_info("m", LOG_STR("v", values[_i].value), LOG_INT("n", INT64_MIN), LOG_STR("w", "end"));
    ck_assert_int_eq(count_lines(drain()), 1);
    parsed = json_loads(buf, JSON_REJECT_DUPLICATES, NULL);
    ck_assert_ptr_nonnull(parsed);
    ck_assert_str_eq(json_string_value(json_object_get(parsed, "level")), "info");
    ck_assert_str_eq(json_string_value(json_object_get(parsed, "proc")), "worker 3");
    ck_assert_str_eq(json_string_value(json_object_get(parsed, "msg")), "m");
    if ((unsigned char)values[_i].value[0] != 0xC0) {
        ck_assert_str_eq(json_string_value(json_object_get(parsed, "v")), values[_i].value);
    }
    ck_assert_int_eq(json_integer_value(json_object_get(parsed, "n")), INT64_MIN);
    ck_assert_str_eq(json_string_value(json_object_get(parsed, "w")), "end");
    json_decref(parsed);
}
END_TEST

/* A text of n bytes in which every kind of character comes. */
static char *make_text(size_t n)
{
    static const char motif[] = "ab \"\n\x01\xC3\xA9\xE2\x82\xAC\xFF=";
    char *text = malloc(n + 1);

    for (size_t i = 0; i < n; i++) {
        text[i] = motif[i % (sizeof(motif) - 1)];
    }
    text[n] = '\0';
    return text;
}

START_TEST(no_line_is_too_long_and_json_stays_valid)
{
    log_set_format(_i == 0 ? LOG_FORMAT_LOGFMT : LOG_FORMAT_JSON);
    for (size_t n = 0; n < 9000; n += n < 5000 ? 13 : 500) {
        char *text = make_text(n);

        log_info(n % 2 == 0 ? text : "short", LOG_STR("a", text), LOG_STR("b", text),
                 LOG_INT("num", INT64_MIN), LOG_STR("c", text), LOG_STR("d", text),
                 LOG_INT("last", 1));
        ck_assert_int_eq(count_lines(drain()), 1);
        ck_assert_uint_le(strlen(buf), 4096);
        ck_assert_uint_eq(log_dropped(), 0);
        if (_i == 1) {
            json_t *parsed = json_loads(buf, JSON_REJECT_DUPLICATES, NULL);

            ck_assert_msg(parsed != NULL, "%zu: %s", n, buf);
            ck_assert_int_eq(json_is_true(json_object_get(parsed, "cut")),
                             json_object_get(parsed, "last") == NULL || n > 1024);
            json_decref(parsed);
        } else if (n > 2000) {
            assert_matches(buf, " cut=true\n$");
        }
        free(text);
    }
}
END_TEST

START_TEST(a_long_value_leaves_room_for_the_others)
{
    char *text = make_text(100000);

    log_info(text, LOG_STR("peer", text), LOG_STR("reason", "client closed"), LOG_INT("id", 7));
    assert_matches(drain(), "reason=\"client closed\" id=7 cut=true\n$");
    ck_assert_ptr_nonnull(strstr(buf, " peer=\""));
    ck_assert_int_le(strstr(buf, "\" reason=") - strstr(buf, " peer=\""), 1024 + 7);
    free(text);
}
END_TEST

START_TEST(many_fields_end_somewhere)
{
    struct log_field fields[401];

    for (int i = 0; i < 400; i++) {
        fields[i] = i % 2 == 0 ? LOG_INT("number", i) : LOG_STR("text", "some words");
    }
    fields[400] = LOG_END;
    log_write(LOG_LEVEL_INFO, "m", fields);
    assert_matches(drain(), "^[^\n]* cut=true\n$");
    ck_assert_uint_le(strlen(buf), 4096);
    ck_assert_uint_ge(strlen(buf), 3900);
}
END_TEST

START_TEST(a_full_pipe_costs_lines_and_is_told)
{
    uint64_t dropped;
    int lines = 0;

    while (log_dropped() == 0) {
        log_info("fill", LOG_STR("text", "some words to fill the pipe with"));
        lines++;
        ck_assert_int_lt(lines, 100000);
    }
    log_info("lost");
    log_info("lost");
    dropped = log_dropped();
    ck_assert_uint_eq(dropped, 3);
    ck_assert_int_eq(count_lines(drain()), lines - 1);
    ck_assert(buf[strlen(buf) - 1] == '\n'); /* no half line */
    log_info("next");
    assert_matches(drain(),
                   "^" TIME_LOGFMT "level=warning msg=\"log lines were dropped\" count=3\n" //
                   TIME_LOGFMT "level=info msg=next\n$");
    log_info("after");
    assert_matches(drain(), "^" TIME_LOGFMT "level=info msg=after\n$");
    ck_assert_uint_eq(log_dropped(), 3);
}
END_TEST

START_TEST(a_blocking_pipe_is_not_waited_for)
{
    int blocking[2];

    ck_assert_int_eq(pipe(blocking), 0);
    log_adopt_fd(blocking[1], LOG_TARGET_STREAM);
    for (int i = 0; i < 20000; i++) { /* would hang; the test's time-out would tell */
        log_info("fill");
    }
    ck_assert_uint_gt(log_dropped(), 0);
}
END_TEST

START_TEST(a_socket_is_not_waited_for)
{
    int pair[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    log_adopt_fd(pair[1], LOG_TARGET_STREAM);
    for (int i = 0; i < 20000; i++) {
        log_info("fill", LOG_INT("i", i));
    }
    ck_assert_uint_gt(log_dropped(), 0);
    ends[0] = pair[0];
    ck_assert_int_eq(fcntl(pair[0], F_SETFL, O_NONBLOCK), 0);
    (void)drain();
    log_info("next");
    /* a line that broke off is ended before the next begins */
    assert_matches(drain(), "(^|\n)" TIME_LOGFMT "level=warning msg=\"log lines were dropped\" "
                            "count=[0-9]+\n" TIME_LOGFMT "level=info msg=next\n$");
    fd_close(&pair[0]);
    log_info("gone"); /* and no SIGPIPE */
}
END_TEST

/* As on a full disk that gets room again: what is left of a line must not swallow the next. */
START_TEST(a_line_that_broke_off_is_ended)
{
    struct rlimit limit = {.rlim_cur = 100, .rlim_max = RLIM_INFINITY};
    char *text = make_text(900);
    FD_AUTO in = -1;

    make_dir();
    ck_assert(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    ck_assert_int_eq(log_open(path), 0);
    in = open(path, O_RDONLY);
    ends[0] = in;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    log_info("broken", LOG_STR("text", text));
    log_info("lost");
    limit.rlim_cur = RLIM_INFINITY;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    log_info("next");
    assert_matches(drain(), "^" TIME_LOGFMT "level=info msg=broken [^\n]*\n" TIME_LOGFMT
                            "level=warning msg=\"log lines were dropped\" count=2\n" TIME_LOGFMT
                            "level=info msg=next\n$");
    free(text);
}
END_TEST

/* Lines that are kept come out in order, before what is written at once. */
START_TEST(kept_lines_come_out_together)
{
    log_set_level(LOG_LEVEL_ERROR); /* which they do not go by */
    log_keep(LOG_LEVEL_INFO, "one", (const struct log_field[]){LOG_INT("n", -7), LOG_END});
    log_keep(LOG_LEVEL_INFO, "two", NULL);
    ck_assert_str_eq(drain(), "");
    log_error("three");
    assert_matches(drain(), "^" TIME_LOGFMT "level=info msg=one n=-7\n" TIME_LOGFMT
                            "level=info msg=two\n" TIME_LOGFMT "level=error msg=three\n$");
    log_flush();
    ck_assert_str_eq(drain(), "");
    ck_assert_uint_eq(log_dropped(), 0);
}
END_TEST

/* More than there is room for: what a pipe does not take is dropped, whole lines, and counted. */
START_TEST(kept_lines_are_bounded)
{
    uint64_t dropped;
    int written;

    for (int i = 0; i < 5000; i++) {
        log_keep(LOG_LEVEL_INFO, "a line of some length that fills the pipe", NULL);
    }
    log_flush();
    dropped = log_dropped();
    ck_assert_uint_gt(dropped, 0);
    written = count_lines(drain());
    ck_assert_uint_eq((uint64_t)written + dropped, 5000);
    log_keep(LOG_LEVEL_INFO, "next", NULL);
    log_flush();
    (void)drain();
    ck_assert_ptr_nonnull(strstr(buf, "log lines were dropped\" count="));
    ck_assert_ptr_nonnull(strstr(buf, "msg=next\n"));
    ck_assert_uint_eq(log_dropped(), dropped);
}
END_TEST

START_TEST(kept_lines_go_line_by_line_where_the_pipe_is_shared)
{
    int blocking[2];
    int lines;

    ck_assert_int_eq(pipe2(blocking, O_CLOEXEC), 0);
    ck_assert_int_eq(fcntl(blocking[0], F_SETFL, O_NONBLOCK), 0);
    log_adopt_fd(blocking[1], LOG_TARGET_STREAM);
    for (int i = 0; i < 3000; i++) {
        log_keep(LOG_LEVEL_INFO, "a line of some length that fills the pipe", NULL);
    }
    log_flush();
    ends[0] = blocking[0];
    lines = count_lines(drain());
    ck_assert_int_gt(lines, 100);
    ck_assert_uint_eq((uint64_t)lines + log_dropped(), 3000);
}
END_TEST

/* One datagram of a daemon's socket; "" when there is none. *out_n gets its bytes. */
static const char *receive(int socket, size_t *out_n)
{
    ssize_t n = recv(socket, buf, sizeof(buf) - 1, MSG_DONTWAIT);

    *out_n = n > 0 ? (size_t)n : 0;
    buf[*out_n] = '\0';
    return buf;
}

static int adopt_datagrams(enum log_target target)
{
    int pair[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, pair), 0);
    log_adopt_fd(pair[1], target);
    return pair[0];
}

START_TEST(a_syslog_line)
{
    FD_AUTO in = adopt_datagrams(LOG_TARGET_SYSLOG);
    char pattern[160];
    size_t n;

    log_set_role("worker 3");
    (void)snprintf(pattern, sizeof(pattern),
                   "^<28>[A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8} sluiced\\[%d\\]: level=warning "
                   "proc=\"worker 3\" msg=\"a b\" evil=\"x\\\\ny\"$",
                   (int)getpid());
    log_warning("a b", LOG_STR("evil", "x\ny"));
    assert_matches(receive(in, &n), pattern);
    log_keep(LOG_LEVEL_INFO, "one", NULL);
    log_keep(LOG_LEVEL_ERROR, "two", NULL);
    log_flush();
    assert_matches(receive(in, &n), "^<30>.* level=info proc=\"worker 3\" msg=one$");
    assert_matches(receive(in, &n), "^<27>.* level=error proc=\"worker 3\" msg=two$");
}
END_TEST

START_TEST(a_journal_entry)
{
    static const char expected[] = "PRIORITY=6\nSYSLOG_FACILITY=3\nSYSLOG_IDENTIFIER=sluiced\n"
                                   "MESSAGE=a b n=7 plain=x evil=\"x\\ny\"\n"
                                   "SLUICE_LEVEL=info\nSLUICE_N=7\nSLUICE_PLAIN=x\n"
                                   "SLUICE_EVIL\n\3\0\0\0\0\0\0\0x\ny\n";
    FD_AUTO in = adopt_datagrams(LOG_TARGET_JOURNAL);
    size_t n;

    log_info("a b", LOG_INT("n", 7), LOG_STR("plain", "x"), LOG_STR("evil", "x\ny"));
    (void)receive(in, &n);
    ck_assert_uint_eq(n, sizeof(expected) - 1);
    ck_assert_int_eq(memcmp(buf, expected, n), 0);
}
END_TEST

/* However much there is to say, an entry has its limit, and no field is half there. */
START_TEST(a_journal_entry_is_bounded)
{
    struct log_field fields[40] = {0};
    FD_AUTO in = adopt_datagrams(LOG_TARGET_JOURNAL);
    char text[3000];
    size_t n;

    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    text[5] = '\n';
    for (size_t i = 0; i < 39; i++) {
        fields[i] = LOG_STR("key", text);
    }
    log_write(LOG_LEVEL_INFO, text, fields);
    (void)receive(in, &n);
    ck_assert_uint_gt(n, 4096);
    ck_assert_uint_le(n, 8192);
    ck_assert_int_eq(memcmp(buf + n - 16, "SLUICE_CUT=true\n", 16), 0);
    ck_assert_uint_eq(log_dropped(), 0);
}
END_TEST

/* Nobody reads: lines are lost and counted, and told when there is room again. */
START_TEST(datagrams_are_not_waited_for)
{
    FD_AUTO in = adopt_datagrams(LOG_TARGET_SYSLOG);
    uint64_t lost;
    size_t n;

    for (int i = 0; i < 3000; i++) {
        log_keep(LOG_LEVEL_INFO, "more", NULL);
    }
    log_flush();
    lost = log_dropped();
    ck_assert_uint_gt(lost, 0);
    do {
        (void)receive(in, &n);
    } while (n > 0);
    log_info("again");
    assert_matches(receive(in, &n), "level=warning msg=\"log lines were dropped\" count=");
    assert_matches(receive(in, &n), "msg=again$");
    ck_assert_uint_eq(log_dropped(), lost);
}
END_TEST

START_TEST(a_full_disk_costs_lines)
{
    int full = open("/dev/full", O_WRONLY | O_NONBLOCK);

    ck_assert_int_ge(full, 0);
    errno = ENOENT;
    log_adopt_fd(full, LOG_TARGET_STREAM);
    errno = ENOENT;
    log_info("lost");
    ck_assert_int_eq(errno, ENOENT);
    ck_assert_uint_eq(log_dropped(), 1);
}
END_TEST

START_TEST(a_file_is_appended_to_and_reopened)
{
    char moved[80];
    struct stat st;
    FD_AUTO in = -1;

    make_dir();
    (void)umask(0);
    (void)snprintf(moved, sizeof(moved), "%s.1", path);
    ck_assert_int_eq(log_open(path), 0);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0640);
    ck_assert_int_ne(fcntl(log_fd(), F_GETFD) & FD_CLOEXEC, 0);
    log_info("first");
    ck_assert_int_eq(rename(path, moved), 0);
    log_info("second");
    ck_assert_int_eq(log_open(path), 0);
    log_info("third");
    in = open(moved, O_RDONLY);
    ck_assert_int_ge(in, 0);
    ends[0] = in;
    assert_matches(drain(),
                   "^" TIME_LOGFMT "level=info msg=first\n" TIME_LOGFMT "level=info msg=second\n$");
    fd_close(&in);
    ck_assert_int_eq(log_open(path), 0); /* the same file */
    log_info("fourth");
    in = open(path, O_RDONLY);
    ends[0] = in;
    assert_matches(drain(),
                   "^" TIME_LOGFMT "level=info msg=third\n" TIME_LOGFMT "level=info msg=fourth\n$");
    ck_assert_int_eq(unlink(moved), 0);
}
END_TEST

START_TEST(a_failed_open_keeps_the_old_sink)
{
    int before = log_fd();

    ck_assert_int_eq(before, ends[1]);
    ck_assert_int_eq(log_open("/nonexistent/log"), -ENOENT);
    ck_assert_int_eq(log_open("relative"), -EINVAL);
    ck_assert_int_eq(log_open(""), -EINVAL);
    ck_assert_int_eq(log_fd(), before);
    log_info("still");
    assert_matches(drain(), "msg=still\n$");
}
END_TEST

START_TEST(adopting_closes_the_old)
{
    int old = log_fd();
    int next = dup(old);

    log_adopt_fd(next, LOG_TARGET_STREAM);
    ck_assert_int_eq(log_fd(), next);
    ck_assert_int_eq(fcntl(old, F_GETFD), -1);
    log_adopt_fd(next, LOG_TARGET_STREAM); /* harmless */
    ck_assert_int_ge(fcntl(next, F_GETFD), 0);
}
END_TEST

START_TEST(standard_error_as_a_pipe_stays_blocking_for_others)
{
    int shared[2];

    ck_assert_int_eq(pipe(shared), 0);
    ck_assert_int_eq(dup2(shared[1], STDERR_FILENO), STDERR_FILENO);
    ck_assert_int_eq(log_open("stderr"), 0);
    ck_assert_int_gt(log_fd(), 2);
    ck_assert_int_eq(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0);
    ck_assert_int_ne(fcntl(log_fd(), F_GETFL) & O_NONBLOCK, 0);
    ends[0] = shared[0];
    ck_assert_int_eq(fcntl(shared[0], F_SETFL, O_NONBLOCK), 0);
    log_info("hello");
    assert_matches(drain(), "msg=hello\n$");
}
END_TEST

START_TEST(standard_error_as_a_socket)
{
    int pair[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    ck_assert_int_eq(dup2(pair[1], STDERR_FILENO), STDERR_FILENO);
    ck_assert_int_eq(log_open("stderr"), 0);
    ck_assert_int_eq(fcntl(pair[1], F_GETFL) & O_NONBLOCK, 0);
    ends[0] = pair[0];
    ck_assert_int_eq(fcntl(pair[0], F_SETFL, O_NONBLOCK), 0);
    log_info("hello");
    assert_matches(drain(), "msg=hello\n$");
    for (int i = 0; i < 20000; i++) {
        log_info("fill");
    }
    ck_assert_uint_gt(log_dropped(), 0);
}
END_TEST

START_TEST(standard_error_as_a_file_is_appended_to)
{
    FD_AUTO file = -1;

    make_dir();
    file = open(path, O_RDWR | O_CREAT, 0600);
    ck_assert_int_ge(file, 0);
    ck_assert_int_eq(dup2(file, STDERR_FILENO), STDERR_FILENO);
    ck_assert_int_eq(log_open("stderr"), 0);
    log_info("one");
    ck_assert_int_eq(dprintf(STDERR_FILENO, "%s", ""), 0);
    log_info("two");
    ends[0] = file;
    assert_matches(drain(), "msg=one\ntime=.*msg=two\n$");
}
END_TEST

START_TEST(no_standard_error)
{
    int before = log_fd();

    (void)close(STDERR_FILENO);
    ck_assert_int_eq(log_open("stderr"), -EBADF);
    ck_assert_int_eq(log_fd(), before);
}
END_TEST

START_TEST(a_child_counts_its_own)
{
    pid_t pid;
    int status;

    log_adopt_fd(open("/dev/full", O_WRONLY | O_NONBLOCK), LOG_TARGET_STREAM);
    log_info("lost");
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        _exit((int)log_dropped());
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    ck_assert_uint_eq(log_dropped(), 1);
}
END_TEST

START_TEST(a_child_leaves_kept_lines_to_its_parent)
{
    pid_t pid;
    int status;

    log_set_role("worker 1");
    log_keep(LOG_LEVEL_INFO, "one", NULL);
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        log_set_role("another");
        log_flush();
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_str_eq(drain(), "");
    log_flush();
    assert_matches(drain(), "^" TIME_LOGFMT "level=info proc=\"worker 1\" msg=one\n$");
}
END_TEST

START_TEST(before_open_lines_are_counted)
{
    ck_assert_int_eq(log_fd(), -1);
    log_info("lost");
    ck_assert_uint_eq(log_dropped(), 1);
}
END_TEST

START_TEST(names)
{
    ck_assert_str_eq(log_level_names[LOG_LEVEL_ERROR], "error");
    ck_assert_str_eq(log_level_names[LOG_LEVEL_DEBUG], "debug");
    ck_assert_ptr_null(log_level_names[LOG_LEVEL_COUNT]);
    ck_assert_str_eq(log_format_names[LOG_FORMAT_LOGFMT], "logfmt");
    ck_assert_str_eq(log_format_names[LOG_FORMAT_JSON], "json");
    ck_assert_ptr_null(log_format_names[LOG_FORMAT_COUNT]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("base/log");
    TCase *tc = tcase_create("lines");
    TCase *bare = tcase_create("bare");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_plain_line);
    tcase_add_test(tc, without_fields_without_role);
    tcase_add_test(tc, a_role_with_a_space);
    tcase_add_test(tc, levels_filter);
    tcase_add_loop_test(tc, values_are_quoted_where_needed, 0,
                        (int)(sizeof(values) / sizeof(values[0])));
    tcase_add_loop_test(tc, json_says_the_same, 0, (int)(sizeof(values) / sizeof(values[0])));
    tcase_add_loop_test(tc, no_line_is_too_long_and_json_stays_valid, 0, 2);
    tcase_add_test(tc, a_long_value_leaves_room_for_the_others);
    tcase_add_test(tc, many_fields_end_somewhere);
    tcase_add_test(tc, a_full_pipe_costs_lines_and_is_told);
    tcase_add_test(tc, a_blocking_pipe_is_not_waited_for);
    tcase_add_test(tc, a_socket_is_not_waited_for);
    tcase_add_test(tc, a_line_that_broke_off_is_ended);
    tcase_add_test(tc, kept_lines_come_out_together);
    tcase_add_test(tc, kept_lines_are_bounded);
    tcase_add_test(tc, kept_lines_go_line_by_line_where_the_pipe_is_shared);
    tcase_add_test(tc, a_syslog_line);
    tcase_add_test(tc, a_journal_entry);
    tcase_add_test(tc, a_journal_entry_is_bounded);
    tcase_add_test(tc, datagrams_are_not_waited_for);
    tcase_add_test(tc, a_full_disk_costs_lines);
    tcase_add_test(tc, a_file_is_appended_to_and_reopened);
    tcase_add_test(tc, a_failed_open_keeps_the_old_sink);
    tcase_add_test(tc, adopting_closes_the_old);
    tcase_add_test(tc, standard_error_as_a_pipe_stays_blocking_for_others);
    tcase_add_test(tc, standard_error_as_a_socket);
    tcase_add_test(tc, standard_error_as_a_file_is_appended_to);
    tcase_add_test(tc, no_standard_error);
    tcase_add_test(tc, a_child_counts_its_own);
    tcase_add_test(tc, a_child_leaves_kept_lines_to_its_parent);
    tcase_set_timeout(tc, 60);
    suite_add_tcase(suite, tc);
    tcase_add_test(bare, before_open_lines_are_counted);
    tcase_add_test(bare, names);
    suite_add_tcase(suite, bare);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
