/* The agent check: what it understands, what it makes of it, and what silence means. */
#include "test_check_run.h"

#include <sys/socket.h>

#include "check/agent_answer.h"

#define SAID CHECK_NOT_SAID

/* --- the language --- */

static const struct line_case {
    const char *line;
    enum agent_health health;
    uint32_t weight_permille, admin, max_connections;
    uint32_t n_known, n_unknown;
} line_cases[] = {
    {"up", AGENT_SAYS_UP, SAID, SAID, SAID, 1, 0},
    {"UP", AGENT_SAYS_UP, SAID, SAID, SAID, 1, 0},
    {"down", AGENT_SAYS_DOWN, SAID, SAID, SAID, 1, 0},
    {"Fail", AGENT_SAYS_DOWN, SAID, SAID, SAID, 1, 0},
    {"failed", AGENT_SAYS_DOWN, SAID, SAID, SAID, 1, 0},
    {"stopped", AGENT_SAYS_DOWN, SAID, SAID, SAID, 1, 0},
    {"ready", AGENT_SAYS_NOTHING, SAID, ADMIN_READY, SAID, 1, 0},
    {"drain", AGENT_SAYS_NOTHING, SAID, ADMIN_DRAIN, SAID, 1, 0},
    {"MAINT", AGENT_SAYS_NOTHING, SAID, ADMIN_MAINTENANCE, SAID, 1, 0},
    {"0%", AGENT_SAYS_NOTHING, 0, SAID, SAID, 1, 0},
    {"75%", AGENT_SAYS_NOTHING, 750, SAID, SAID, 1, 0},
    {"0075%", AGENT_SAYS_NOTHING, 750, SAID, SAID, 1, 0},
    {"100%", AGENT_SAYS_NOTHING, 1000, SAID, SAID, 1, 0},
    {"101%", AGENT_SAYS_NOTHING, 1000, SAID, SAID, 1, 0},
    {"99999999999999999999999999%", AGENT_SAYS_NOTHING, 1000, SAID, SAID, 1, 0},
    {"maxconn:30", AGENT_SAYS_NOTHING, SAID, SAID, 30, 1, 0},
    {"MaxConn:0", AGENT_SAYS_NOTHING, SAID, SAID, 0, 1, 0},
    {"maxconn:99999999999999999999", AGENT_SAYS_NOTHING, SAID, SAID, UINT32_MAX - 1, 1, 0},
    {"up ready 50% maxconn:7", AGENT_SAYS_UP, 500, ADMIN_READY, 7, 4, 0},
    {",up,\t50%  ,drain,", AGENT_SAYS_UP, 500, ADMIN_DRAIN, SAID, 3, 0},
    {"up down", AGENT_SAYS_DOWN, SAID, SAID, SAID, 2, 0},
    {"down up 1% 2% drain ready", AGENT_SAYS_UP, 20, ADMIN_READY, SAID, 6, 0},
    {"up strange", AGENT_SAYS_UP, SAID, SAID, SAID, 1, 1},
    {"down # up 3%", AGENT_SAYS_DOWN, SAID, SAID, SAID, 1, 0},
    {"down#up", AGENT_SAYS_DOWN, SAID, SAID, SAID, 1, 0},
    {"#up", AGENT_SAYS_NOTHING, SAID, SAID, SAID, 0, 0},
    {"", AGENT_SAYS_NOTHING, SAID, SAID, SAID, 0, 0},
    {" ,\t", AGENT_SAYS_NOTHING, SAID, SAID, SAID, 0, 0},
    {"%", AGENT_SAYS_NOTHING, SAID, SAID, SAID, 0, 1},
    {"-5%", AGENT_SAYS_NOTHING, SAID, SAID, SAID, 0, 1},
    {"7.5%", AGENT_SAYS_NOTHING, SAID, SAID, SAID, 0, 1},
    {"5%%", AGENT_SAYS_NOTHING, SAID, SAID, SAID, 0, 1},
    {"75", AGENT_SAYS_NOTHING, SAID, SAID, SAID, 0, 1},
    {"75 %", AGENT_SAYS_NOTHING, SAID, SAID, SAID, 0, 2},
    {"maxconn:", AGENT_SAYS_NOTHING, SAID, SAID, SAID, 0, 1},
    {"maxconn:-1", AGENT_SAYS_NOTHING, SAID, SAID, SAID, 0, 1},
    {"maxconn", AGENT_SAYS_NOTHING, SAID, SAID, SAID, 0, 1},
    {"ups u uppity", AGENT_SAYS_NOTHING, SAID, SAID, SAID, 0, 3},
    {"HTTP/1.1 400 Bad Request", AGENT_SAYS_NOTHING, SAID, SAID, SAID, 0, 4},
};

START_TEST(lines)
{
    for (int i = 0; i < COUNT(line_cases); i++) {
        const struct line_case *expected = &line_cases[i];
        struct agent_answer got;

        agent_answer_read(expected->line, strlen(expected->line), &got);
        ck_assert_msg(
            got.health == expected->health && got.weight_permille == expected->weight_permille &&
                got.admin == expected->admin && got.max_connections == expected->max_connections &&
                got.n_known == expected->n_known && got.n_unknown == expected->n_unknown,
            "%s", expected->line);
    }
}
END_TEST

START_TEST(a_nul_is_a_byte_like_others)
{
    struct agent_answer got;

    agent_answer_read("up\0down", 7, &got);
    ck_assert(got.n_unknown == 1 && got.n_known == 0 && got.health == AGENT_SAYS_NOTHING);
}
END_TEST

START_TEST(parts_of_a_line)
{
    struct agent_answer got;

    ck_assert_uint_eq(agent_line_length("up\nx", 4), 2);
    ck_assert_uint_eq(agent_line_length("up\r\n", 4), 2);
    ck_assert_uint_eq(agent_line_length("up", 2), 2);
    ck_assert_uint_eq(agent_line_length("\n", 1), 0);
    agent_answer_read("down # why", 10, &got);
    ck_assert_uint_eq(got.words_end, 5);
    ck_assert_uint_eq(got.why, 6);
    agent_answer_read("down", 4, &got);
    ck_assert_uint_eq(got.words_end, 4);
    ck_assert_uint_eq(got.why, 4);
}
END_TEST

/* --- an agent --- */

static struct {
    int listener;
    struct event *accepted, *heard;
    int fd;             /* of its last client */
    const char *answer; /* NULL: none */
    size_t bytes;
    enum { AGENT_ENDS, AGENT_RESETS, AGENT_STAYS } then;
    size_t wants; /* so many bytes before it answers */
    char got[64]; /* what it was sent */
    size_t n_got;
    bool saw_end, saw_reset;
    int n_clients;
} agent;

static void agent_reply(void)
{
    const struct linger reset = {.l_onoff = 1};

    if (agent.answer != NULL) { /* fails when the client has gone */
        (void)!send(agent.fd, agent.answer, agent.bytes, MSG_NOSIGNAL);
    }
    if (agent.then == AGENT_ENDS) {
        (void)shutdown(agent.fd, SHUT_WR);
    } else if (agent.then == AGENT_RESETS) {
        event_del(agent.heard);
        (void)setsockopt(agent.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
        close(agent.fd);
    }
}

static void on_heard(evutil_socket_t fd, short what, void *arg)
{
    ssize_t n = recv((int)fd, agent.got + agent.n_got, sizeof(agent.got) - agent.n_got, 0);

    (void)what;
    (void)arg;
    if (n <= 0) {
        agent.saw_end = n == 0;
        agent.saw_reset = n < 0 && errno == ECONNRESET;
        event_del(agent.heard);
        close((int)fd);
        return;
    }
    agent.n_got += (size_t)n;
    if (agent.wants > 0 && agent.n_got >= agent.wants) {
        agent.wants = 0;
        agent_reply();
    }
}

static void on_accepted(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    (void)arg;
    agent.fd = accept4((int)fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    ck_assert_int_ge(agent.fd, 0);
    agent.n_clients++;
    if (agent.heard != NULL) {
        event_free(agent.heard);
    }
    agent.heard = event_new(base, agent.fd, EV_READ | EV_PERSIST, on_heard, NULL);
    event_add(agent.heard, NULL);
    if (agent.wants == 0) {
        agent_reply();
    }
}

static void agent_setup(void)
{
    struct sockaddr_storage sa;
    socklen_t len;

    setup();
    ck_assert_int_eq(addr_parse_ip("127.0.0.1", &address.ip), 0);
    len = addr_to_sockaddr(&address, &sa);
    agent.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(bind(agent.listener, (struct sockaddr *)&sa, len), 0);
    ck_assert_int_eq(listen(agent.listener, 16), 0);
    ck_assert_int_eq(getsockname(agent.listener, (struct sockaddr *)&sa, &len), 0);
    addr_from_sockaddr((struct sockaddr *)&sa, len, &address);
    agent.accepted = event_new(base, agent.listener, EV_READ | EV_PERSIST, on_accepted, NULL);
    event_add(agent.accepted, NULL);
}

static void agent_teardown(void)
{
    if (agent.heard != NULL) {
        event_free(agent.heard);
    }
    event_free(agent.accepted);
    close(agent.listener);
    teardown();
}

static void ask(const char *answer)
{
    agent.answer = answer;
    agent.bytes = answer != NULL ? strlen(answer) : 0;
    probe_once(&check_kind_agent, NULL, 0);
}

static void expect_result(bool passed, bool nothing, const char *reason)
{
    ck_assert_str_eq(result.reason, reason);
    ck_assert(result.passed == passed && result.nothing == nothing && !result.timed_out);
}

static void expect_unchanged(void)
{
    ck_assert(result.weight_permille == SAID && result.admin == SAID &&
              result.max_connections == SAID);
}

START_TEST(it_says_up_or_down)
{
    ask("up\n");
    expect_result(true, false, "agent says up");
    expect_unchanged();
    ask("DOWN # disk full\nup\n");
    expect_result(false, false, "agent says DOWN: disk full");
    expect_unchanged();
    ask("failed\r\n");
    expect_result(false, false, "agent says failed");
}
END_TEST

/* Words that say nothing of health leave it as it is. */
START_TEST(it_says_other_things)
{
    ask("75% maxconn:30\n");
    ck_assert(result.nothing && result.weight_permille == 750 && result.max_connections == 30 &&
              result.admin == SAID);
    ck_assert_str_eq(result.reason, "agent says 75% maxconn:30");
    ask("drain\n");
    ck_assert(result.nothing && result.admin == ADMIN_DRAIN && result.weight_permille == SAID);
    ask("up,ready,100%\n");
    expect_result(true, false, "agent says up,ready,100%");
    ck_assert(result.admin == ADMIN_READY && result.weight_permille == 1000);
    ask("stopped 0% maint strange # by hand\n");
    expect_result(false, false, "agent says stopped 0% maint strange: by hand");
    ck_assert(result.admin == ADMIN_MAINTENANCE && result.weight_permille == 0);
}
END_TEST

START_TEST(an_orderly_end_ends_the_line)
{
    ask("up 5%");
    expect_result(true, false, "agent says up 5%");
    ck_assert_uint_eq(result.weight_permille, 50);
}
END_TEST

START_TEST(a_whole_line_is_enough)
{
    agent.then = AGENT_STAYS;
    ask("up\n");
    expect_result(true, false, "agent says up");
    WAIT_FOR(agent.saw_end); /* orderly */
}
END_TEST

START_TEST(silence_changes_nothing)
{
    ask(NULL);
    expect_result(false, true, "the agent does not answer");
    expect_unchanged();
    ask("\n");
    expect_result(false, true, "agent says nothing");
    expect_unchanged();
    ask("# just saying\n");
    expect_result(false, true, "agent says nothing: just saying");
    expect_unchanged();
}
END_TEST

START_TEST(a_reset_changes_nothing)
{
    agent.then = AGENT_RESETS;
    agent.wants = 1;
    agent.answer = "down";
    agent.bytes = 4;
    probe_once(&check_kind_agent, &(struct check_arg){"send", "x"}, 1);
    ck_assert_int_eq(agent.n_clients, 1);
    expect_result(false, true, "the agent does not answer: connection reset");
    expect_unchanged();
}
END_TEST

START_TEST(absence_changes_nothing)
{
    event_del(agent.accepted);
    close(agent.listener);
    agent.listener = -1;
    ask("down\n");
    expect_result(false, true, "the agent does not answer: connect refused");
    expect_unchanged();
    address = (struct addr){.ip.family = ADDR_UNIX, .path = "/no/such/agent"};
    ask("down\n");
    expect_result(false, true, "the agent does not answer: no such socket");
}
END_TEST

/* Something else answers: that is told, but it is no word of health. */
START_TEST(an_answer_without_a_known_word_changes_nothing)
{
    ask("HTTP/1.1 400 Bad Request\r\nServer: \033[1mx\r\n");
    expect_result(false, true, "agent says nothing known: HTTP/1.1 400 Bad Request");
    expect_unchanged();
    ask("\033]0;title\a\377 # \001\n");
    expect_unchanged();
    expect_result(false, true, "agent says nothing known: ?]0;title??: ?");
}
END_TEST

START_TEST(a_line_without_end_changes_nothing)
{
    static char endless[8 * AGENT_ANSWER_MAX], last[AGENT_ANSWER_MAX + 1];

    memset(endless, 'u', sizeof(endless) - 1);
    agent.then = AGENT_STAYS;
    ask(endless);
    expect_result(false, true, "the agent's line does not end");
    expect_unchanged();
    memset(last, ' ', AGENT_ANSWER_MAX); /* the longest that is one */
    memcpy(last, "up", 2);
    last[AGENT_ANSWER_MAX - 1] = '\n';
    ask(last);
    expect_result(true, false, "agent says up");
}
END_TEST

START_TEST(no_answer_in_time)
{
    params.timeout_ms = 20;
    agent.then = AGENT_STAYS;
    ask("up"); /* and no more */
    ck_assert(result.timed_out);
    WAIT_FOR(agent.saw_reset);
    ck_assert_int_eq(n_results, 0);
}
END_TEST

START_TEST(it_is_asked_with_what_was_configured)
{
    agent.wants = 7;
    agent.answer = "up\n";
    agent.bytes = 3;
    probe_once(&check_kind_agent, &(struct check_arg){"send", "a \\x00\\\\b\\r\\n"}, 1);
    expect_result(true, false, "agent says up");
    ck_assert_uint_eq(agent.n_got, 7);
    ck_assert_int_eq(memcmp(agent.got, "a \0\\b\r\n", 7), 0);
}
END_TEST

START_TEST(runs_leave_nothing_behind)
{
    int before;

    ask("up\n");
    WAIT_FOR(agent.saw_end);
    before = count_descriptors();
    probe_begin(&check_kind_agent, NULL, 0);
    for (int i = 0; i < 20; i++) {
        agent.saw_end = false;
        ck_assert_int_eq(probe_run(), 0);
        WAIT_FOR(agent.saw_end);
    }
    ck_assert_int_eq(kind->start(&probe), 0);
    kind->cancel(&probe);
    agent.saw_end = agent.saw_reset = false;
    turn_loop();
    kind->release(&probe);
    ck_assert_int_eq(n_results, 1); /* of the last that ran to its end */
    WAIT_FOR(count_descriptors() == before);
}
END_TEST

START_TEST(options_are_judged)
{
    STR_AUTO problem = {0};

    ck_assert(check_kind_agent.judge("send", "", &problem));
    ck_assert(check_kind_agent.judge("send", "state\\n", &problem));
    ck_assert(check_kind_agent.judge("port", "\\q", &problem)); /* not its own */
    ck_assert_str_eq(str_text(&problem), "");
    ck_assert(!check_kind_agent.judge("send", "state\\q", &problem));
    ck_assert_ptr_nonnull(strstr(str_text(&problem), "escape"));
}
END_TEST

int main(void)
{
    const TTest *tests[] = {
        lines,
        a_nul_is_a_byte_like_others,
        parts_of_a_line,
        it_says_up_or_down,
        it_says_other_things,
        an_orderly_end_ends_the_line,
        a_whole_line_is_enough,
        silence_changes_nothing,
        a_reset_changes_nothing,
        absence_changes_nothing,
        an_answer_without_a_known_word_changes_nothing,
        a_line_without_end_changes_nothing,
        no_answer_in_time,
        it_is_asked_with_what_was_configured,
        runs_leave_nothing_behind,
        options_are_judged,
    };

    return run_suite("check/agent", agent_setup, agent_teardown, tests, COUNT(tests));
}
