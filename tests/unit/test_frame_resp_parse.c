/* The framer resp: where requests and replies end, what is malformed, what is too big to be held.
 */
#include "test_frame_resp_run.h"

#define PLAIN     "request starts key \"\" next \"\"\n"
#define RETRIABLE "request starts retriable key \"\" next \"\"\n"
#define CLEAN     "reply ends clean\n"

/* --- requests --- */

START_TEST(malformed_requests_are_refused_as_redis_does)
{
    static const struct {
        const char *request, *problem;
    } cases[] = {
        {"*-1\r\n", "invalid multibulk length"},
        {"*x\r\n", "invalid multibulk length"},
        {"*\r\n", "invalid multibulk length"},
        {"*+1\r\n", "invalid multibulk length"},
        {"*01\r\n", "invalid multibulk length"},
        {"*1 \r\n", "invalid multibulk length"},
        {"*1\n", "invalid multibulk length"},
        {"*1\rx", "invalid multibulk length"},
        {"*1048577\r\n", "invalid multibulk length"},
        {"*99999999999999999999\r\n", "invalid multibulk length"},
        {"*1\r\nGET\r\n", "expected '$'"},
        {"*1\r\n*1\r\n", "expected '$'"},
        {"*2\r\n$3\r\nGET\r\n\r\n", "expected '$'"},
        {"*1\r\n$-1\r\n", "invalid bulk length"},
        {"*1\r\n$x\r\n", "invalid bulk length"},
        {"*1\r\n$\r\n", "invalid bulk length"},
        {"*1\r\n$03\r\nGET\r\n", "invalid bulk length"},
        {"*1\r\n$3\nGET\r\n", "invalid bulk length"},
        {"*2\r\n$3\r\nGET\r\n$536870913\r\n", "invalid bulk length"},
        {"*2\r\n$3\r\nGET\r\n$4294967297\r\n", "invalid bulk length"},
        {"*1\r\n$3\r\nGETS\r\n", "a bulk string goes beyond its length"},
        {"*1\r\n$3\r\nGET\n\n", "a bulk string goes beyond its length"},
        {"*1\r\n$3\r\nGET\rx", "a bulk string goes beyond its length"},
        {"GET\rk\r\n", "a control byte in an inline request"},
        {"GET k\r\r\n", "a control byte in an inline request"},
    };
    char expected[200];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        snprintf(expected, sizeof(expected),
                 "refuse \"a malformed request\"\nto client \"-ERR Protocol error: %s\\r\\n\"\n",
                 cases[i].problem);
        str_append(&client, cases[i].request);
        const char *got = run();
        ck_assert_msg(strcmp(got, expected) == 0, "%s\n%s", cases[i].request, got);
    }
    str_append_n(&client, "\x16\x03\x01\0\x01", 5);
    ck_assert_str_eq(run(), "refuse \"a malformed request\"\nto client \"-ERR Protocol error: a "
                            "control byte in an inline request\\r\\n\"\n");
}
END_TEST

START_TEST(what_follows_a_request_is_looked_at_in_its_turn)
{
    expect("GET k\r\n*-1\r\n", "$-1\r\n", RETRIABLE CLEAN "refuse \"a malformed request\"\n");
    expect("SET k v\r\n*-1\r\n", "", PLAIN "untaken of client 5\n");
}
END_TEST

START_TEST(a_line_has_its_limit)
{
    str_append(&client, "GET ");
    append_many(&client, 'k', FRAMER_HOLD_MAX - 6);
    str_append(&client, "\r\n");
    ck_assert_uint_eq(client.len, FRAMER_HOLD_MAX);
    ck_assert_str_eq(run_verdicts(), RETRIABLE);
    str_append(&client, "GET ");
    append_many(&client, 'k', FRAMER_HOLD_MAX - 5);
    str_append(&client, "\r\n");
    ck_assert_str_eq(run(), "refuse \"a malformed request\"\n"
                            "to client \"-ERR Protocol error: too big inline request\\r\\n\"\n");
}
END_TEST

/* SET k with a value so that the whole request has that many bytes. */
static void send_set(size_t total)
{
    size_t value = total - strlen("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$12345\r\n\r\n");

    str_printf(&client, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%zu\r\n", value);
    append_many(&client, 'v', value);
    str_append(&client, "\r\n");
}

/* One call with all of it: whether it is passed on whole. */
static struct framing look_once(size_t n)
{
    static unsigned char room[FRAMER_ROOM_BYTES];
    void *state = calloc(1, framer_resp.state_bytes);
    struct framing f;

    framer_resp.init(state, &options);
    f = framer_resp.request(state, (const unsigned char *)client.data, n, room);
    framer_resp.fini(state);
    free(state);
    return f;
}

START_TEST(requests_are_held_up_to_the_limit)
{
    struct framing f;

    send_set(FRAMER_HOLD_MAX);
    ck_assert_uint_eq(client.len, FRAMER_HOLD_MAX);
    f = look_once(FRAMER_HOLD_MAX - 1);
    ck_assert(f.verb == FRAMING_HOLD);
    f = look_once(FRAMER_HOLD_MAX);
    ck_assert(f.verb == FRAMING_FORWARD && f.starts && f.ends && f.used == FRAMER_HOLD_MAX);
    str_reset(&client);
    send_set(FRAMER_HOLD_MAX + 1);
    f = look_once(1000);
    ck_assert(f.verb == FRAMING_FORWARD && f.starts && !f.ends && f.used == 1000);
    f = look_once(client.len);
    ck_assert(f.verb == FRAMING_FORWARD && f.starts && f.ends && f.used == FRAMER_HOLD_MAX + 1);
}
END_TEST

START_TEST(big_requests_pass_in_parts)
{
    for (size_t more = 0; more < 3; more++) {
        send_set(FRAMER_HOLD_MAX + more);
        str_append(&client, "GET k\r\n");
        str_append(&backend, "+OK\r\n:1\r\n");
        ck_assert_str_eq(run_verdicts(), PLAIN CLEAN RETRIABLE CLEAN);
    }
    send_set(90000);
    str_append(&backend, "+OK\r\n");
    const char *start = "request starts key \"\" next \"\"\n"
                        "to backend \"*3\\r\\n$3\\r\\nSET\\r\\n$1\\r\\nk\\r\\n$89970\\r\\nvvvv";
    ck_assert(strncmp(run(), start, strlen(start)) == 0);
}
END_TEST

START_TEST(many_small_arguments_are_big_too)
{
    size_t count = 8000;

    str_printf(&client, "*%zu\r\n$4\r\nMGET\r\n", count + 1);
    for (size_t i = 0; i < count; i++) {
        str_append(&client, i % 3 == 0 ? "$0\r\n\r\n" : "$10\r\n0123456789\r\n");
    }
    str_append(&backend, "*0\r\n");
    ck_assert_str_eq(run_verdicts(), PLAIN CLEAN);
}
END_TEST

START_TEST(the_limit_may_fall_anywhere)
{
    /* The last argument's header begins at every place around the limit. */
    static const char header[] = "*3\r\n$3\r\nSET\r\n$12345\r\n\r\n";
    size_t first = FRAMER_HOLD_MAX - strlen(header) - 14;

    for (size_t value = first; value < first + 18; value++) {
        str_printf(&client, "*3\r\n$3\r\nSET\r\n$%zu\r\n", value);
        append_many(&client, 'k', value);
        str_append(&client, value % 2 == 0 ? "\r\n$1\r\nv\r\n*-1\r\n" : "\r\n$123456\r\nvv");
        str_append(&backend, value % 2 == 0 ? "+OK\r\n" : "");
        const char *transcript = run_split(1);
        ck_assert(strncmp(transcript, PLAIN, strlen(PLAIN)) == 0);
        ck_assert((strstr(transcript, CLEAN "refuse") != NULL) == (value % 2 == 0));
    }
}
END_TEST

START_TEST(a_big_request_may_turn_out_malformed)
{
    str_append(&client, "*4\r\n$3\r\nSET\r\n$65536\r\n");
    append_many(&client, 'k', 65536);
    str_append(&client, "\r\n$1\r\nv\r\n$-1\r\n");
    const char *outcome = run();
    ck_assert(strstr(outcome, "\\r\\n$1\\r\\nv\\r\\n\"\nrefuse \"a malformed request\"\nto client "
                              "\"-ERR Protocol error: invalid bulk length\\r\\n\"\n") != NULL);
    str_append(&client, "*3\r\n$3\r\nSET\r\n$65536\r\n");
    append_many(&client, 'k', 65536);
    str_append(&client, "kk\r\n$1\r\nv\r\n");
    ck_assert(strstr(run(), "goes beyond its length") != NULL);
}
END_TEST

START_TEST(what_must_be_seen_whole_owns_when_big)
{
    expect("*2\r\n$4\r\nQUIT\r\n$65536\r\n", "", PLAIN "own \"QUIT\"\n");
    options.handshake_key = true;
    expect("*2\r\n$4\r\nAUTH\r\n$65536\r\n", "", PLAIN "own \"AUTH\"\n");
}
END_TEST

START_TEST(nothing_is_looked_at_twice)
{
    static unsigned char room[FRAMER_ROOM_BYTES];
    void *state = calloc(1, framer_resp.state_bytes);
    unsigned char *bytes;
    unsigned held = 0;
    struct framing f = {0};

    send_set(60000);
    bytes = (unsigned char *)client.data;
    framer_resp.init(state, &options);
    for (size_t n = 1; n <= 60000; n++) {
        f = framer_resp.request(state, bytes, n, room);
        held += f.verb == FRAMING_HOLD && f.used == 0;
        if (n > 40 && n < 59000) {
            bytes[n - 1] = '\r'; /* would be an error, had it not been understood */
        }
    }
    ck_assert_uint_eq(held, 59999);
    ck_assert(f.ends && f.used == 60000);
    framer_resp.fini(state);
    free(state);
}
END_TEST

/* --- replies --- */

START_TEST(replies_of_every_type_end)
{
    static const char *const replies[] = {
        "+OK\r\n",
        "+\r\n",
        "-ERR some words\r\n",
        ":-42\r\n",
        "$0\r\n\r\n",
        "$2\r\n\r\n\r\n",
        "$-1\r\n",
        "*0\r\n",
        "*-1\r\n",
        "*3\r\n:1\r\n$1\r\na\r\n*1\r\n+b\r\n",
        "*2\r\n*-1\r\n$-1\r\n",
        "_\r\n",
        "#t\r\n",
        ",3.25\r\n",
        ",inf\r\n",
        "(3492890328409238509324850943850943825024385\r\n",
        "!5\r\nWRONG\r\n",
        "=15\r\ntxt:Some string\r\n",
        "%2\r\n+a\r\n:1\r\n+b\r\n%0\r\n",
        "%1\r\n*1\r\n:1\r\n%1\r\n+x\r\n_\r\n",
        "~3\r\n:1\r\n#f\r\n~0\r\n",
        "|1\r\n+ttl\r\n:3600\r\n$1\r\nv\r\n",
        "|0\r\n:1\r\n",
        "|1\r\n*1\r\n:1\r\n|1\r\n+a\r\n+b\r\n:2\r\n*2\r\n:1\r\n|1\r\n+c\r\n:1\r\n:2\r\n",
        "*1\r\n|1\r\n+a\r\n:1\r\n*1\r\n:1\r\n",
    };
    for (size_t i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
        str_append(&backend, replies[i]);
        expect("GET k\r\nPING\r\n", "+PONG\r\n", RETRIABLE CLEAN PLAIN CLEAN);
    }
}
END_TEST

START_TEST(a_reply_says_what_its_own_value_is)
{
    /* Not what its attributes, or values within it, are. */
    expect("MULTI\r\n", "|1\r\n+a\r\n-ERR b\r\n+OK\r\n",
           PLAIN "reply ends not clean pinned why \"MULTI\"\n");
    expect("MULTI\r\n", "|1\r\n+OK\r\n+OK\r\n-ERR b\r\n", PLAIN CLEAN);
    expect("GET k\r\n", "*2\r\n+QUEUED\r\n+QUEUED\r\n", RETRIABLE CLEAN);
    expect("GET k\r\n", "*1\r\n-ERR Protocol error\r\n", RETRIABLE CLEAN);
    expect("GET k\r\n", "+QUEUEDUP\r\n", RETRIABLE CLEAN);
    expect("GET k\r\n", "+a line longer than what is kept of it, by far\r\n", RETRIABLE CLEAN);
}
END_TEST

START_TEST(replies_may_be_as_deep_as_they_like)
{
    for (size_t i = 0; i < 5000; i++) {
        str_append(&backend, i % 2 == 0 ? "*2\r\n:1\r\n" : "%1\r\n+k\r\n");
    }
    str_append(&backend, ":1\r\n+PONG\r\n");
    expect("GET k\r\nPING\r\n", "", RETRIABLE CLEAN PLAIN CLEAN);
}
END_TEST

START_TEST(big_replies_pass_as_they_come)
{
    static unsigned char room[FRAMER_ROOM_BYTES];
    void *state = calloc(1, framer_resp.state_bytes);
    struct framing f;

    str_append(&client, "GET k\r\n");
    framer_resp.init(state, &options);
    (void)framer_resp.request(state, (const unsigned char *)client.data, client.len, room);
    str_append(&backend, "$1000000000000\r\n");
    for (int i = 0; i < 3; i++) {
        f = framer_resp.reply(state, (const unsigned char *)backend.data, backend.len, room);
        ck_assert(f.verb == FRAMING_FORWARD && f.used == backend.len && !f.ends);
        ck_assert(f.send.n == backend.len && f.send.at == (const unsigned char *)backend.data);
    }
    framer_resp.fini(state);
    free(state);
}
END_TEST

START_TEST(replies_that_are_not_understood_own)
{
    static const struct {
        const char *reply, *why;
    } cases[] = {
        {">2\r\n+invalidate\r\n*0\r\n+OK\r\n", "a push message"},
        {"*1\r\n>0\r\n", "a push message"},
        {"$?\r\n;4\r\nabcd\r\n;0\r\n", "a streamed answer"},
        {"*?\r\n:1\r\n.\r\n", "a streamed answer"},
        {"%?\r\n", "a streamed answer"},
        {"HTTP/1.1 400\r\n", "an answer that is not understood"},
        {"\r\n", "an answer that is not understood"},
        {";1\r\n", "an answer that is not understood"},
        {"+OK\nmore\r\n", "an answer that is not understood"},
        {"+OK\rmore\r\n", "an answer that is not understood"},
        {"$1\r\nvv\r\n", "an answer that is not understood"},
        {"$1\r\nv\rx", "an answer that is not understood"},
        {"$1\nv\r\n", "an answer that is not understood"},
        {"$\r\n", "an answer that is not understood"},
        {"$-\r\n", "an answer that is not understood"},
        {"$--1\r\n", "an answer that is not understood"},
        {"$-2\r\n", "an answer that is not understood"},
        {"$-10\r\n", "an answer that is not understood"},
        {"$1-\r\n", "an answer that is not understood"},
        {"$1?\r\n", "an answer that is not understood"},
        {"$01\r\n", "an answer that is not understood"},
        {"$9999999999999999\r\n", "an answer that is not understood"},
        {"%-1\r\n", "an answer that is not understood"},
        {"|-1\r\n", "an answer that is not understood"},
        {"=-1\r\n", "an answer that is not understood"},
        {"~-1\r\n", "an answer that is not understood"},
    };
    char expected[200];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        snprintf(expected, sizeof(expected), PLAIN "own \"%s\"\n", cases[i].why);
        expect("PING\r\nGET k\r\n", cases[i].reply, expected);
    }
}
END_TEST

START_TEST(counts_of_replies_do_not_overflow)
{
    for (int i = 0; i < 20000; i++) {
        str_append(&backend, "*1000000000000000\r\n");
    }
    str_append(&client, "PING\r\n");
    const char *transcript = run_split(2);
    ck_assert(strstr(transcript, "own \"an answer that is not understood\"\n") != NULL);
}
END_TEST

START_TEST(owning_begins_where_a_reply_is_lost)
{
    str_append(&client, "PING\r\nGET k\r\n");
    str_append(&backend, "*2\r\n:1\r\n>1\r\n+x\r\n");
    ck_assert_str_eq(run(), PLAIN "to backend \"PING\\r\\n\"\nrequest ends\n"
                                  "to client \"*2\\r\\n:1\\r\\n>\"\nown \"a push message\"\n"
                                  "to backend \"GET k\\r\\n\"\n"
                                  "to client \"1\\r\\n+x\\r\\n\"\n");
}
END_TEST

int main(void)
{
    const TTest *const cases[] = {
        malformed_requests_are_refused_as_redis_does,
        what_follows_a_request_is_looked_at_in_its_turn,
        a_line_has_its_limit,
        requests_are_held_up_to_the_limit,
        big_requests_pass_in_parts,
        many_small_arguments_are_big_too,
        the_limit_may_fall_anywhere,
        a_big_request_may_turn_out_malformed,
        what_must_be_seen_whole_owns_when_big,
        nothing_is_looked_at_twice,
        replies_of_every_type_end,
        a_reply_says_what_its_own_value_is,
        replies_may_be_as_deep_as_they_like,
        big_replies_pass_as_they_come,
        replies_that_are_not_understood_own,
        counts_of_replies_do_not_overflow,
        owning_begins_where_a_reply_is_lost,
    };

    return run_cases("frame/resp_parse", setup, cases, sizeof(cases) / sizeof(cases[0]));
}
