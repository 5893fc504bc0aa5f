/*
 * The control socket over real Unix sockets: order, half-closed clients, and everything a client
 * can do wrong. The server's loop runs in the test; clients are non-blocking descriptors beside it.
 */
#include "test_ctl_fixture.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "ctl/auth.h"
#include "ctl/server.h"

#define WAIT_MS 20000 /* a test that is not done by then has failed */

static char folder[64], path[108];
static struct event_base *base;
static struct ctl_server *server;

static void open_server(void)
{
    int fd;

    fake_start();
    strcpy(folder, "/tmp/test_ctl_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(chmod(folder, 0755), 0);
    snprintf(path, sizeof(path), "%s/control.sock", folder);
    base = event_base_new();
    fd = ctl_listen(path, 0666);
    ck_assert_int_ge(fd, 0);
    server = ctl_server_create(base, fd, &fake.host);
    ck_assert_ptr_nonnull(server);
}

static void close_server(void)
{
    ctl_server_destroy(server);
    event_base_free(base);
    unlink(path);
    rmdir(folder);
    fake_end();
}

static void turn(void)
{
    event_base_loop(base, EVLOOP_NONBLOCK);
}

static void turn_for(uint64_t ms)
{
    uint64_t end_ms = clock_now_ms() + ms;

    do {
        turn();
        poll(NULL, 0, 1);
    } while (clock_now_ms() < end_ms);
}

static struct sockaddr_un address_of(const char *socket_path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    strcpy(address.sun_path, socket_path);
    return address;
}

static int dial(void)
{
    struct sockaddr_un address = address_of(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/* Sends all of it, however often that takes. False when the server has closed. */
static bool put_n(int fd, const char *data, size_t len)
{
    uint64_t end_ms = clock_now_ms() + WAIT_MS;

    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

        if (n < 0 && errno != EAGAIN)
            return false;
        if (n > 0) {
            data += n;
            len -= (size_t)n;
        }
        turn();
        ck_assert_uint_lt(clock_now_ms(), end_ms);
    }
    return true;
}

static bool put(int fd, const char *text)
{
    return put_n(fd, text, strlen(text));
}

/* Reads until so many replies are there or the server closes; returns what came. Leaves what is
 * behind them unread. */
static const char *get_replies(int fd, unsigned replies, struct str *out)
{
    struct codec_scan scan = {0};
    uint64_t end_ms = clock_now_ms() + WAIT_MS;
    static char bytes[65536];

    str_reset(out);
    while (replies > 0) {
        ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_PEEK);
        size_t taken;

        ck_assert_uint_lt(clock_now_ms(), end_ms);
        if (n == 0 || (n < 0 && errno == ECONNRESET))
            break;
        if (n < 0) {
            turn();
            continue;
        }
        taken = codec_scan_reply(&scan, bytes, (size_t)n) + scan.done;
        str_append_n(out, bytes, taken);
        ck_assert_int_eq(recv(fd, bytes, taken, 0), (ssize_t)taken);
        if (scan.done) {
            scan = (struct codec_scan){0};
            replies--;
        }
    }
    return str_text(out);
}

static bool is_closed(int fd)
{
    uint64_t end_ms = clock_now_ms() + WAIT_MS;
    char bytes[4096];

    while (clock_now_ms() < end_ms) {
        ssize_t n = recv(fd, bytes, sizeof(bytes), 0);

        if (n == 0 || (n < 0 && errno != EAGAIN))
            return true;
        if (n < 0)
            turn();
    }
    return false;
}

static bool is_open(int fd)
{
    char byte;

    turn_for(20);
    return recv(fd, &byte, 1, MSG_PEEK) < 0 && errno == EAGAIN;
}

#define says(text, part)                                                                           \
    ck_assert_msg(strstr(text, part) != NULL, "\"%s\" is not in: %s", part, text)

static void limits(const struct ctl_limits *changed)
{
    ctl_server_set_limits(server, changed);
}

/* Nothing is left of the clients before: one more is served. */
static void still_serves(void)
{
    STR_AUTO text = {0};
    int fd = dial();

    ck_assert(put(fd, "show pools\n"));
    says(get_replies(fd, 1, &text), "web");
    close(fd);
    turn_for(5);
}

/* --- requests and replies --- */

START_TEST(a_request_and_its_reply)
{
    STR_AUTO text = {0};
    int fd = dial();

    put(fd, "show pools\n");
    get_replies(fd, 1, &text);
    says(str_text(&text), "NAME  SCHEDULER");
    ck_assert_str_eq(str_text(&text) + text.len - 2, "\n\n");
    ck_assert(is_open(fd));
    put(fd, "show pools json\r\n");
    get_replies(fd, 1, &text);
    ck_assert_int_eq(strncmp(str_text(&text), "{\"pools\":[", 10), 0);
    close(fd);
}
END_TEST

START_TEST(several_requests_in_order)
{
    STR_AUTO text = {0};
    int fd = dial();

    put(fd, "show pools\n\n   \nshow services json\nnonsense\nshow wor");
    get_replies(fd, 3, &text);
    says(str_text(&text), "NAME");
    ck_assert(strstr(str_text(&text), "SCHEDULER") < strstr(str_text(&text), "{\"services\""));
    ck_assert(strstr(str_text(&text), "{\"services\"") < strstr(str_text(&text), "error: "));
    ck_assert(is_open(fd)); /* empty lines had no reply */
    put(fd, "kers\n");
    says(get_replies(fd, 1, &text), "LOOP_LAG");
    close(fd);
}
END_TEST

START_TEST(thousands_of_requests_at_once)
{
    STR_AUTO text = {0};
    STR_AUTO lines = {0};
    int fd = dial();

    for (int i = 0; i < 3000; i++)
        str_printf(&lines, "help no-such-%d\n", i);
    /* Replies that nobody takes stop the reading, so writing has to be interleaved with it. */
    for (size_t sent = 0, i = 0; i < 3000; i++) {
        ssize_t n = send(fd, lines.data + sent, lines.len - sent, MSG_NOSIGNAL);
        char expected[64];

        if (n > 0)
            sent += (size_t)n;
        get_replies(fd, 1, &text);
        snprintf(expected, sizeof(expected), "error: ");
        says(str_text(&text), expected);
    }
    ck_assert(is_open(fd));
    close(fd);
}
END_TEST

START_TEST(a_half_closed_client_gets_all)
{
    STR_AUTO text = {0};
    int fd = dial();

    put(fd, "show pools\nshow info json\nshow stats");
    shutdown(fd, SHUT_WR);
    get_replies(fd, 4, &text); /* the last line's end is the end */
    says(str_text(&text), "SCHEDULER");
    says(str_text(&text), "{\"version\"");
    says(str_text(&text), "\nworkers\n");
    ck_assert(is_closed(fd));
    close(fd);
}
END_TEST

START_TEST(half_closed_while_the_host_thinks)
{
    STR_AUTO text = {0};
    int fd = dial();

    fake.holds = true;
    put(fd, "reload\nshow pools\n");
    shutdown(fd, SHUT_WR);
    turn_for(20);
    fake_answer();
    get_replies(fd, 3, &text);
    says(str_text(&text), "generation 4");
    ck_assert(strstr(str_text(&text), "generation 4") < strstr(str_text(&text), "SCHEDULER"));
    ck_assert(is_closed(fd));
    close(fd);
}
END_TEST

START_TEST(a_line_a_byte_at_a_time)
{
    STR_AUTO text = {0};
    int fd = dial();

    for (const char *c = "show pools json\n"; *c; c++) {
        put_n(fd, c, 1);
        turn_for(2);
    }
    says(get_replies(fd, 1, &text), "{\"pools\"");
    close(fd);
}
END_TEST

START_TEST(bad_lines_are_answered)
{
    STR_AUTO text = {0};
    int fd = dial();

    put(fd, "show \"pools\n");
    says(get_replies(fd, 1, &text), "error: a double quote is not closed");
    put(fd, "show \"pools json\n");
    says(get_replies(fd, 1, &text), "{\"error\":\"a double quote");
    put_n(fd, "show\0pools\n", 11);
    says(get_replies(fd, 1, &text), "error: control characters");
    put(fd, "show \xff pools\n");
    says(get_replies(fd, 1, &text), "error: the request is not UTF-8");
    ck_assert(is_open(fd));
    close(fd);
    still_serves();
}
END_TEST

START_TEST(a_large_reply_is_whole)
{
    STR_AUTO text = {0};
    int fd = dial();

    fake.n_sessions = 30000;
    put(fd, "show sessions limit=30000 json\n");
    get_replies(fd, 1, &text);
    ck_assert_uint_gt(text.len, 30000 * 100);
    ck_assert_str_eq(str_text(&text) + text.len - 4, "0}\n\n");
    close(fd);
}
END_TEST

/* --- answers that come later --- */

START_TEST(further_lines_wait_for_the_answer)
{
    STR_AUTO text = {0};
    int fd = dial(), other = dial();

    fake.holds = true;
    put(fd, "show sessions\nshow pools\n");
    turn_for(30);
    ck_assert(is_open(fd));
    put(other, "show pools\n"); /* nobody else waits */
    says(get_replies(other, 1, &text), "SCHEDULER");
    fake.n_sessions = 1;
    fake_answer();
    get_replies(fd, 2, &text);
    ck_assert(strstr(str_text(&text), "10.1.2.3") < strstr(str_text(&text), "SCHEDULER"));
    close(fd);
    close(other);
}
END_TEST

START_TEST(a_client_that_leaves_meanwhile)
{
    static const char *const lines[] = {"show sessions\n", "reload\n", "drain backend web a\n",
                                        "check config\nshow pools\nreload\n"};
    int fd = dial();

    fake.holds = true;
    fake.n_sessions = 100;
    put(fd, lines[_i]);
    turn_for(10);
    close(fd);
    turn_for(10);
    fake_answer();
    turn_for(10);
    fake.holds = false;
    still_serves();
}
END_TEST

START_TEST(a_server_that_leaves_meanwhile)
{
    int fd = dial(), second = dial();

    fake.holds = true;
    put(fd, _i ? "show sessions\n" : "reload\n");
    put(second, "show po");
    turn_for(10);
    ctl_server_destroy(server);
    server = NULL;
    fake_answer();
    turn_for(10);
    ck_assert(is_closed(fd));
    ck_assert(is_closed(second));
    close(fd);
    close(second);
}
END_TEST

START_TEST(stop_replies_first)
{
    STR_AUTO text = {0};
    int fd = dial();

    put(fd, "stop within=3s\n");
    says(get_replies(fd, 1, &text), "stopping");
    ck_assert_uint_eq(fake.n_stopped, 1);
    ck_assert_uint_eq(fake.stop_within_ms, 3000);
    close(fd);
}
END_TEST

START_TEST(stop_without_waiting_for_the_reply)
{
    int fd = dial();

    put(fd, "stop\n");
    close(fd);
    turn_for(10);
    ck_assert_uint_eq(fake.n_stopped, 1);
}
END_TEST

/* --- abuse --- */

START_TEST(an_endless_line)
{
    STR_AUTO text = {0};
    int fd = dial();
    char *line = malloc(200000);

    memset(line, 'x', 200000);
    (void)put_n(fd, line, 200000); /* it need not take it all */
    says(get_replies(fd, 1, &text), "error: the request is longer than 65536 bytes");
    ck_assert(is_closed(fd));
    close(fd);
    still_serves();
    free(line);
}
END_TEST

START_TEST(the_longest_line)
{
    STR_AUTO text = {0};
    int fd = dial();
    char *line = malloc(CTL_LINE_MAX + 2);

    memset(line, 'x', CTL_LINE_MAX + 1);
    memcpy(line, "help ", 5);
    line[CTL_LINE_MAX] = '\n';
    put_n(fd, line, CTL_LINE_MAX + 1);
    says(get_replies(fd, 1, &text), "error: there is no such command");
    line[CTL_LINE_MAX] = 'x';
    line[CTL_LINE_MAX + 1] = '\n';
    put_n(fd, line, CTL_LINE_MAX + 2);
    says(get_replies(fd, 1, &text), "error: the request is longer");
    free(line);
    close(fd);
}
END_TEST

START_TEST(a_line_never_ended)
{
    struct ctl_limits short_ones = ctl_limits_default;
    STR_AUTO text = {0};
    uint64_t begun_ms;
    int fd = dial();

    short_ones.partial_ms = 100;
    limits(&short_ones);
    begun_ms = clock_now_ms();
    for (int i = 0; i < 100 && put_n(fd, "x", 1); i++)
        turn_for(5);
    ck_assert_uint_ge(clock_now_ms() - begun_ms, 100);
    says(get_replies(fd, 1, &text), "error: the request was not complete in time");
    ck_assert(is_closed(fd));
    close(fd);
    still_serves();
}
END_TEST

START_TEST(a_silent_client)
{
    struct ctl_limits short_ones = ctl_limits_default;
    int fd;

    short_ones.idle_ms = 50;
    limits(&short_ones);
    fd = dial();
    ck_assert(is_closed(fd));
    close(fd);
    still_serves();
}
END_TEST

START_TEST(a_reader_that_never_reads)
{
    struct ctl_limits short_ones = ctl_limits_default;
    STR_AUTO text = {0};
    int fd = dial();

    short_ones.write_ms = 200;
    limits(&short_ones);
    fake.n_sessions = 20000;
    put(fd, "show sessions limit=20000\nshow pools\n");
    turn_for(100);
    still_serves(); /* meanwhile */
    turn_for(300);
    get_replies(fd, 1, &text); /* closed within its reply */
    ck_assert(strstr(str_text(&text), "\n\n") == NULL);
    close(fd);
    still_serves();
}
END_TEST

START_TEST(output_that_nobody_takes_is_bounded)
{
    struct ctl_limits short_ones = ctl_limits_default;
    STR_AUTO text = {0};
    int first = dial(), second = dial();

    short_ones.pending_bytes = 3 * 1000 * 1000;
    limits(&short_ones);
    fake.n_sessions = 20000; /* some 2 MB */
    put(first, "show sessions limit=20000\n");
    turn_for(30);
    put(second, "show sessions limit=20000\n");
    turn_for(30);
    get_replies(second, 1, &text);
    ck_assert_str_eq(str_text(&text) + text.len - 2, "\n\n");
    get_replies(first, 1, &text); /* it stalled longest */
    ck_assert(strstr(str_text(&text), "\n\n") == NULL);
    close(first);
    close(second);
}
END_TEST

START_TEST(output_that_was_taken_does_not_count)
{
    struct ctl_limits short_ones = ctl_limits_default;
    STR_AUTO text = {0};
    int first = dial(), second = dial();

    short_ones.pending_bytes = 5 * 1000 * 1000;
    limits(&short_ones);
    fake.n_sessions = 20000;
    put(first, "show sessions limit=20000\n");
    turn_for(30);
    for (int i = 0; i < 3; i++) {
        put(second, "show sessions limit=20000\n");
        get_replies(second, 1, &text);
        ck_assert_str_eq(str_text(&text) + text.len - 2, "\n\n");
    }
    get_replies(first, 1, &text);
    ck_assert_str_eq(str_text(&text) + text.len - 2, "\n\n");
    close(first);
    close(second);
}
END_TEST

/* A byte now and then does not keep a place for ever, but reasonable time is given. */
START_TEST(a_reader_that_trickles_gives_way)
{
    struct ctl_limits short_ones = ctl_limits_default;
    STR_AUTO text = {0};
    int slow = dial(), next;
    uint64_t begun_ms;
    char bytes[4096];
    ssize_t n;

    short_ones.clients = 1;
    short_ones.spare_ms = 10;
    short_ones.write_ms = 400;
    limits(&short_ones);
    fake.n_sessions = 20000;
    put(slow, "show sessions limit=20000\n");
    begun_ms = clock_now_ms();
    next = dial();
    ck_assert_int_eq(send(next, "show pools\n", 11, MSG_NOSIGNAL), 11);
    while (recv(next, bytes, 1, MSG_PEEK) < 0) {
        ck_assert_uint_lt(clock_now_ms() - begun_ms, WAIT_MS);
        turn_for(2);
        n = recv(slow, bytes, sizeof(bytes), 0);
        ck_assert(n < 2 || memcmp(bytes + n - 2, "\n\n", 2) != 0);
    }
    ck_assert_uint_ge(clock_now_ms() - begun_ms, 350);
    says(get_replies(next, 1, &text), "SCHEDULER");
    close(slow);
    close(next);
}
END_TEST

START_TEST(a_thousand_clients_at_once)
{
    enum { CLIENTS = 1000 };
    static int fds[CLIENTS];
    STR_AUTO text = {0};

    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = dial();
        ck_assert_int_eq(send(fds[i], "show pools\n", 11, MSG_NOSIGNAL), 11);
    }
    for (int i = 0; i < CLIENTS; i++) {
        says(get_replies(fds[i], 1, &text), "SCHEDULER");
        close(fds[i]);
    }
    still_serves();
}
END_TEST

START_TEST(a_thousand_clients_that_say_nothing)
{
    enum { CLIENTS = 1000 };
    struct ctl_limits short_ones = ctl_limits_default;
    static int fds[CLIENTS];
    STR_AUTO text = {0};
    int fd;

    short_ones.spare_ms = 20;
    limits(&short_ones);
    for (int i = 0; i < CLIENTS; i++)
        fds[i] = dial();
    fd = dial();
    ck_assert_int_eq(send(fd, "show pools\n", 11, MSG_NOSIGNAL), 11);
    says(get_replies(fd, 1, &text), "SCHEDULER"); /* they give way */
    for (int i = 0; i < CLIENTS; i++)
        close(fds[i]);
    close(fd);
    still_serves();
}
END_TEST

/* Whose request runs keeps its place, whoever waits. */
START_TEST(no_place_is_taken_from_who_uses_it)
{
    struct ctl_limits short_ones = ctl_limits_default;
    STR_AUTO text = {0};
    int busy, next;

    short_ones.clients = 1;
    short_ones.spare_ms = 10;
    limits(&short_ones);
    fake.holds = true;
    busy = dial();
    put(busy, "reload\n");
    turn_for(10);
    next = dial();
    ck_assert_int_eq(send(next, "show pools\n", 11, MSG_NOSIGNAL), 11);
    turn_for(250);
    ck_assert(is_open(busy));
    fake.holds = false;
    fake_answer();
    says(get_replies(busy, 1, &text), "generation 4");
    says(get_replies(next, 1, &text), "SCHEDULER");
    close(busy);
    close(next);
}
END_TEST

START_TEST(no_descriptor_left)
{
    struct rlimit old, low;
    STR_AUTO text = {0};
    int fd = dial();

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
    low = old;
    low.rlim_cur = (rlim_t)fd + 1;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
    turn_for(50);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
    put(fd, "show pools\n");
    says(get_replies(fd, 1, &text), "SCHEDULER");
    close(fd);
}
END_TEST

/* --- who may --- */

/* Sends line as uid with gid; returns the reply. The child only talks; the loop runs here. */
static const char *ask_as(uid_t uid, gid_t gid, const char *line, struct str *out)
{
    int pipe_fds[2];
    pid_t pid;

    ck_assert_int_eq(pipe(pipe_fds), 0);
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        struct sockaddr_un address = address_of(path);
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        char bytes[65536];
        ssize_t n;

        if (setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0 ||
            connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
            write(fd, line, strlen(line)) < 0 || shutdown(fd, SHUT_WR) != 0)
            _exit(1);
        while ((n = read(fd, bytes, sizeof(bytes))) > 0)
            if (write(pipe_fds[1], bytes, (size_t)n) != n)
                _exit(1);
        _exit(0);
    }
    close(pipe_fds[1]);
    fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK);
    str_reset(out);
    for (;;) {
        char byte;
        ssize_t n = read(pipe_fds[0], &byte, 1);

        if (n == 0)
            break;
        if (n == 1)
            str_append_char(out, byte);
        else
            turn();
    }
    close(pipe_fds[0]);
    waitpid(pid, NULL, 0);
    return str_text(out);
}

START_TEST(levels_by_the_peers_credentials)
{
    char reader[] = "54321", operators[] = "@54399";
    char *read_list[] = {reader, NULL}, *operate_list[] = {operators, NULL};
    STR_AUTO text = {0};

    if (geteuid() != 0)
        return; /* only root can be somebody else */
    fake.model.global.control_read = read_list;
    fake.model.global.control_operate = operate_list;
    says(ask_as(54321, 1, "show pools\n", &text), "SCHEDULER");
    says(ask_as(54321, 1, "drain backend web a\n", &text), "error: not allowed");
    says(ask_as(54322, 1, "show pools\n", &text), "needs level read, and uid 54322 has none");
    says(ask_as(54322, 54399, "show pools\n", &text), "SCHEDULER");
    says(ask_as(54322, 54399, "drain backend web a\n", &text), "generation 4");
    says(ask_as(54322, 54399, "stop json\n", &text), "{\"error\":\"not allowed");
    ck_assert_uint_eq(fake.n_asked, 1);
    ck_assert_uint_eq(fake.n_stopped, 0);
}
END_TEST

static const struct event_record *last_event(void)
{
    ck_assert_uint_gt(events_count(fake.host.events), 0);
    return events_get(fake.host.events, events_count(fake.host.events) - 1);
}

START_TEST(what_is_denied_is_an_event)
{
    STR_AUTO text = {0};

    if (geteuid() != 0)
        return;
    ask_as(54322, 1, "drain backend web a why=x\n", &text);
    ck_assert_str_eq(last_event()->kind, "refused");
    says(last_event()->text, "drain backend web a why=x: not allowed");
    says(last_event()->by, "uid 54322");
    ask_as(54323, 1, "show pools\n", &text);
    says(last_event()->by, "uid 54323");
    ck_assert_uint_eq(events_count(fake.host.events), 2);
}
END_TEST

START_TEST(what_failed_is_an_event)
{
    STR_AUTO text = {0};
    int fd = dial();

    fake.refuses = "not now";
    put(fd, "drain backend web a why=\"two words\"\n");
    says(get_replies(fd, 1, &text), "error: not now");
    ck_assert_uint_eq(events_count(fake.host.events), 1);
    ck_assert_str_eq(last_event()->kind, "refused");
    ck_assert_str_eq(last_event()->text, "drain backend web a \"why=two words\": not now");
    ck_assert_str_eq(last_event()->pool, "web");
    ck_assert_str_eq(last_event()->backend, "a");
    ck_assert_str_eq(last_event()->why, "two words");
    says(last_event()->by, "uid ");
    put(fd, "show poolz\nshow pools x\n"); /* mistakes that change nothing are none */
    get_replies(fd, 2, &text);
    ck_assert_uint_eq(events_count(fake.host.events), 1);
    close(fd);
}
END_TEST

START_TEST(refusals_cannot_flush_the_ring)
{
    STR_AUTO text = {0};
    int fd = dial();

    fake.refuses = "not now";
    for (int i = 0; i < 200; i++) {
        put(fd, "reload\n");
        get_replies(fd, 1, &text);
    }
    ck_assert_uint_ge(events_count(fake.host.events), 20);
    ck_assert_uint_le(events_count(fake.host.events), 30);
    turn_for(1100);
    put(fd, "reload\n");
    get_replies(fd, 1, &text);
    says(last_event()->text, "refusals before it that are not listed");
    close(fd);
}
END_TEST

/* --- opening --- */

START_TEST(a_live_socket_is_refused)
{
    struct stat status;

    ck_assert_int_eq(ctl_listen(path, 0600), -EADDRINUSE);
    ck_assert_int_eq(stat(path, &status), 0);
    ck_assert_uint_eq(status.st_mode & 0777, 0666);
    still_serves();
}
END_TEST

START_TEST(a_stale_socket_is_replaced)
{
    mode_t old = umask(0);
    struct stat status;
    int fd;

    ctl_server_destroy(server);
    server = NULL;
    ck_assert_int_eq(access(path, F_OK), 0);
    fd = ctl_listen(path, 0640);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(stat(path, &status), 0);
    ck_assert_uint_eq(status.st_mode & 0777, 0640);
    ck_assert_uint_eq(umask(old), 0);
    ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
    close(fd);
}
END_TEST

START_TEST(what_is_no_socket_stays)
{
    char other[128], long_one[200];
    int fd;

    snprintf(other, sizeof(other), "%s/file", folder);
    fd = open(other, O_CREAT | O_WRONLY, 0600);
    close(fd);
    ck_assert_int_eq(ctl_listen(other, 0600), -ENOTSOCK);
    ck_assert_int_eq(access(other, F_OK), 0);
    unlink(other);
    snprintf(other, sizeof(other), "%s/none/control.sock", folder);
    ck_assert_int_eq(ctl_listen(other, 0600), -ENOENT);
    memset(long_one, 'x', sizeof(long_one));
    long_one[sizeof(long_one) - 1] = '\0';
    ck_assert_int_eq(ctl_listen(long_one, 0600), -ENAMETOOLONG);
}
END_TEST

static void add_service(TCase *tc)
{
    tcase_add_test(tc, a_request_and_its_reply);
    tcase_add_test(tc, several_requests_in_order);
    tcase_add_test(tc, thousands_of_requests_at_once);
    tcase_add_test(tc, a_half_closed_client_gets_all);
    tcase_add_test(tc, half_closed_while_the_host_thinks);
    tcase_add_test(tc, a_line_a_byte_at_a_time);
    tcase_add_test(tc, bad_lines_are_answered);
    tcase_add_test(tc, a_large_reply_is_whole);
    tcase_add_test(tc, further_lines_wait_for_the_answer);
    tcase_add_loop_test(tc, a_client_that_leaves_meanwhile, 0, 4);
    tcase_add_loop_test(tc, a_server_that_leaves_meanwhile, 0, 2);
    tcase_add_test(tc, stop_replies_first);
    tcase_add_test(tc, stop_without_waiting_for_the_reply);
}

static void add_abuse(TCase *tc)
{
    tcase_add_test(tc, an_endless_line);
    tcase_add_test(tc, the_longest_line);
    tcase_add_test(tc, a_line_never_ended);
    tcase_add_test(tc, a_silent_client);
    tcase_add_test(tc, a_reader_that_never_reads);
    tcase_add_test(tc, output_that_nobody_takes_is_bounded);
    tcase_add_test(tc, output_that_was_taken_does_not_count);
    tcase_add_test(tc, a_reader_that_trickles_gives_way);
    tcase_add_test(tc, a_thousand_clients_at_once);
    tcase_add_test(tc, a_thousand_clients_that_say_nothing);
    tcase_add_test(tc, no_place_is_taken_from_who_uses_it);
    tcase_add_test(tc, no_descriptor_left);
}

static void add_rights(TCase *tc)
{
    tcase_add_test(tc, levels_by_the_peers_credentials);
    tcase_add_test(tc, what_is_denied_is_an_event);
    tcase_add_test(tc, what_failed_is_an_event);
    tcase_add_test(tc, refusals_cannot_flush_the_ring);
    tcase_add_test(tc, a_live_socket_is_refused);
    tcase_add_test(tc, a_stale_socket_is_replaced);
    tcase_add_test(tc, what_is_no_socket_stays);
}

int main(void)
{
    static void (*const adders[])(TCase *tc) = {add_service, add_abuse, add_rights};
    static const char *const names[] = {"service", "abuse", "rights"};
    Suite *suite = suite_create("ctl/server");
    struct rlimit files;
    SRunner *runner;
    int failed;

    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max < 4096 ? files.rlim_max : 4096;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    for (int i = 0; i < COUNT(adders); i++) {
        TCase *tc = tcase_create(names[i]);

        tcase_add_checked_fixture(tc, open_server, close_server);
        adders[i](tc);
        tcase_set_timeout(tc, 60);
        suite_add_tcase(suite, tc);
    }
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
