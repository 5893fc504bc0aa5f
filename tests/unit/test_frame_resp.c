/* The framer resp: what requests and their answers mean for who gets the upstream next. */
#include "test_frame_resp_run.h"

#define PLAIN     "request starts key \"\" next \"\"\n"
#define RETRIABLE "request starts retriable key \"\" next \"\"\n"
#define CLEAN     "reply ends clean\n"
#define IN_MULTI  "reply ends not clean pinned why \"MULTI\"\n"
#define IN_WATCH  "reply ends not clean pinned why \"WATCH\"\n"
#define UNFIT     "reply ends not clean why \"an answer that does not fit\"\n"
#define UNFIT_PIN "reply ends not clean pinned why \"an answer that does not fit\"\n"

/* --- requests that share --- */

START_TEST(a_request_and_its_answer_pass_unchanged)
{
    SEND("GET", "k");
    SEND("set", "k", "\r\n$1\r\n");
    str_append(&backend, "$1\r\nv\r\n+OK\r\n");
    ck_assert_str_eq(run(), RETRIABLE "to backend \"*2\\r\\n$3\\r\\nGET\\r\\n$1\\r\\nk\\r\\n\"\n"
                                      "request ends\n"
                                      "to client \"$1\\r\\nv\\r\\n\"\n" CLEAN PLAIN
                                      "to backend \"*3\\r\\n$3\\r\\nset\\r\\n$1\\r\\nk\\r\\n"
                                      "$6\\r\\n\\r\\n$1\\r\\n\\r\\n\"\n"
                                      "request ends\n"
                                      "to client \"+OK\\r\\n\"\n" CLEAN);
}
END_TEST

START_TEST(lines_are_requests_too)
{
    expect("PING\r\n", "+PONG\r\n", PLAIN CLEAN);
    expect(" \tget \t k\n", "_\r\n", RETRIABLE CLEAN);
    str_append(&client, "GET k\r\n");
    ck_assert_str_eq(run(), RETRIABLE "to backend \"GET k\\r\\n\"\nrequest ends\n");
}
END_TEST

START_TEST(a_half_request_is_held)
{
    expect("*2\r\n$3\r\nGET\r\n$1\r\nk\r", "", "untaken of client 19\n");
    expect("GET k", "", "untaken of client 5\n");
    expect("", "", "");
}
END_TEST

START_TEST(requests_that_say_nothing_are_dropped)
{
    expect("\r\n\n \t\r\n*0\r\n", "", "");
    expect("\r\nPING\r\n*0\r\nPING\r\n\r\n", "+PONG\r\n+PONG\r\n", PLAIN CLEAN PLAIN CLEAN);
}
END_TEST

START_TEST(only_what_changes_nothing_may_be_sent_twice)
{
    static const char *const may[] = {"GET k",        "mget a b",          "ZRANGE z 0 1", "SCAN 0",
                                      "XRANGE s - +", "OBJECT ENCODING k", "DBSIZE"};
    static const char *const may_not[] = {"SET k v", "INCR k", "PING",    "PUBLISH c m", "LPOP l",
                                          "GETEX k", "MULTI",  "WATCH k", "EXEC"};
    for (size_t i = 0; i < sizeof(may) / sizeof(may[0]); i++) {
        str_printf(&client, "%s\r\n", may[i]);
        expect("", "", RETRIABLE);
    }
    for (size_t i = 0; i < sizeof(may_not) / sizeof(may_not[0]); i++) {
        str_printf(&client, "%s\r\n", may_not[i]);
        expect("", "", PLAIN);
    }
}
END_TEST

/* For what others may never do. */
START_TEST(who_may_have_to_wait_is_told)
{
    static const char *const may[] = {"BLPOP l 0",
                                      "brpop l m 1",
                                      "BRPOPLPUSH l m 0",
                                      "BLMOVE l m LEFT LEFT 0",
                                      "BLMPOP 0 1 l LEFT",
                                      "BZPOPMIN z 0",
                                      "BZPOPMAX z 0",
                                      "BZMPOP 0 1 z MIN",
                                      "XREAD BLOCK 0 STREAMS s 0",
                                      "XREADGROUP GROUP g c STREAMS s >"};
    for (size_t i = 0; i < sizeof(may) / sizeof(may[0]); i++) {
        str_printf(&client, "%s\r\n", may[i]);
        expect("", "", "request starts waits key \"\" next \"\"\n");
    }
}
END_TEST

START_TEST(what_is_sent_twice_stays_the_same)
{
    input.again = true;
    expect("GET k\r\nSET k v\r\nGET k\r\n", "$1\r\nv\r\n+OK\r\n$-1\r\n",
           RETRIABLE CLEAN PLAIN CLEAN RETRIABLE CLEAN);
}
END_TEST

START_TEST(an_answer_may_be_forgotten_half_way)
{
    static unsigned char room[FRAMER_ROOM_BYTES];
    void *state = calloc(1, framer_resp.state_bytes);
    const unsigned char request[] = "GET k\r\n", half[] = "$10\r\nabc", whole[] = "+abc\r\n";
    struct framing f;

    framer_resp.init(state, &options);
    f = framer_resp.request(state, request, sizeof(request) - 1, room);
    ck_assert(f.retriable);
    f = framer_resp.reply(state, half, sizeof(half) - 1, room);
    ck_assert(f.used == sizeof(half) - 1 && !f.ends);
    framer_resp.again(state);
    f = framer_resp.reply(state, whole, sizeof(whole) - 1, room);
    ck_assert(f.ends && f.clean && f.why == NULL);
    framer_resp.fini(state);
    free(state);
}
END_TEST

START_TEST(quit_is_answered_here)
{
    str_append(&client, "GET k\r\nquit\r\nGET k\r\n");
    str_append(&backend, "$-1\r\n");
    ck_assert_str_eq(run(), RETRIABLE "to backend \"GET k\\r\\n\"\nrequest ends\n"
                                      "to client \"$-1\\r\\n\"\n" CLEAN
                                      "to client \"+OK\\r\\n\"\nanswered closes\n"
                                      "untaken of client 7\n");
    SEND("QUIT", "now");
    ck_assert_str_eq(run(), "to client \"+OK\\r\\n\"\nanswered closes\n");
    expect_outcome("MULTI\r\nQUIT\r\n", "+OK\r\n", "answered closes\n");
}
END_TEST

/* --- requests that own --- */

static void expect_own(const char *line, const char *why)
{
    char verdicts[200];

    snprintf(verdicts, sizeof(verdicts), PLAIN "own \"%s\"\n", why);
    str_append(&client, line);
    str_append(&client, "\r\n");
    expect("GET k\r\n", "$1\r\nv\r\n+more\r\n", verdicts);
}

START_TEST(whatever_may_leave_something_behind_owns)
{
    static const char *const names[] = {
        "SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "UNSUBSCRIBE",   "MONITOR",  "SYNC",     "PSYNC",
        "SELECT",    "CLIENT",     "READONLY",   "READWRITE",     "ASKING",   "RESET",    "WAIT",
        "WAITAOF",   "EVAL",       "EVALSHA",    "EVAL_RO",       "FCALL",    "FUNCTION", "SCRIPT",
        "HELLO",     "AUTH",       "CONFIG",     "DEBUG",         "FAILOVER", "SHUTDOWN", "CLUSTER",
        "ACL",       "MODULE",     "REPLICAOF",  "REPLCONF",      "LATENCY",  "SLOWLOG",  "MIGRATE",
        "SWAPDB",    "SAVE",       "BGSAVE",     "RESTORE-ASKING"};
    char line[64];

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        snprintf(line, sizeof(line), "%s a b", names[i]);
        expect_own(line, names[i]);
    }
    expect_own("subscribe c", "SUBSCRIBE");
}
END_TEST

START_TEST(what_is_not_known_owns)
{
    expect_own("NOVELTY k", "unknown command");
    expect_own("FT.SEARCH i q", "unknown command");
    expect_own("GETS k", "unknown command");
    expect_own("GET\x0bk", "unknown command");
    expect_own("AVERYLONGNAMEOFSOMECOMMAND k", "unknown command");
    expect_own("\"GET\" k", "unknown command");
    expect_own("GET 'k'", "a quoted inline command");
    expect_own("GET k\"", "a quoted inline command");
    str_append_n(&client, "*1\r\n$4\r\nGET\0\r\n", 14);
    expect("", "", PLAIN "own \"unknown command\"\n");
    expect("*2\r\n$0\r\n\r\n", "", PLAIN "own \"unknown command\"\n");
    expect("*2\r\n$30000\r\n", "", PLAIN "own \"unknown command\"\n");
}
END_TEST

START_TEST(owning_begins_where_the_name_ends)
{
    str_append(&client, "*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nc\r\nGET k\r\n");
    str_append(&backend, "*3\r\nand so on");
    ck_assert_str_eq(run(), PLAIN "to backend \"*2\\r\\n$9\\r\\nSUBSCRIBE\\r\\n\"\n"
                                  "own \"SUBSCRIBE\"\n"
                                  "to backend \"$1\\r\\nc\\r\\nGET k\\r\\n\"\n"
                                  "to client \"*3\\r\\nand so on\"\n");
}
END_TEST

START_TEST(scripts_share_if_they_may)
{
    options.scripts = true;
    expect("EVAL s 0\r\nEVALSHA s 0\r\nFCALL f 0\r\n", ":1\r\n+a\r\n-ERR b\r\n",
           PLAIN CLEAN PLAIN CLEAN PLAIN CLEAN);
    expect("EVAL_RO s 0\r\nEVALSHA_RO s 0\r\nFCALL_RO f 0\r\n", ":1\r\n+a\r\n-ERR b\r\n",
           RETRIABLE CLEAN RETRIABLE CLEAN RETRIABLE CLEAN);
    expect("SCRIPT LOAD s\r\n", "", PLAIN "own \"SCRIPT\"\n");
    expect("FUNCTION LOAD s\r\n", "", PLAIN "own \"FUNCTION\"\n");
}
END_TEST

/* --- transactions --- */

START_TEST(a_transaction_keeps_its_upstream)
{
    expect("MULTI\r\nSET k v\r\nGET k\r\nEXEC\r\nGET k\r\n",
           "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n$1\r\nv\r\n$1\r\nv\r\n",
           PLAIN IN_MULTI PLAIN IN_MULTI PLAIN IN_MULTI PLAIN CLEAN RETRIABLE CLEAN);
    expect("multi\r\ndiscard\r\n", "+OK\r\n+OK\r\n", PLAIN IN_MULTI PLAIN CLEAN);
}
END_TEST

START_TEST(aborted_transactions_are_over)
{
    expect_outcome("MULTI\r\nEXEC\r\n", "+OK\r\n*-1\r\n", CLEAN);
    expect_outcome("MULTI\r\nEXEC\r\n", "+OK\r\n_\r\n", CLEAN);
    expect_outcome("MULTI\r\nEXEC\r\n", "+OK\r\n*0\r\n", CLEAN);
    expect_outcome("MULTI\r\nGET\r\nEXEC\r\n", "+OK\r\n-ERR wrong number\r\n-EXECABORT Trans\r\n",
                   CLEAN);
    expect_outcome("WATCH k\r\nMULTI\r\nEXEC\r\n", "+OK\r\n+OK\r\n*-1\r\n", CLEAN);
}
END_TEST

START_TEST(errors_change_no_transaction)
{
    expect_outcome("MULTI\r\n", "-ERR no\r\n", CLEAN);
    expect_outcome("WATCH k\r\n", "-NOAUTH\r\n", CLEAN);
    expect_outcome("EXEC\r\n", "-ERR EXEC without MULTI\r\n", CLEAN);
    expect_outcome("DISCARD\r\n", "-ERR DISCARD without MULTI\r\n", CLEAN);
    expect_outcome("MULTI\r\nMULTI\r\n", "+OK\r\n-ERR MULTI calls can not be nested\r\n", IN_MULTI);
    expect_outcome("MULTI\r\nWATCH k\r\n", "+OK\r\n-ERR WATCH inside MULTI\r\n", IN_MULTI);
    expect_outcome("MULTI\r\nEXEC\r\n", "+OK\r\n-OOM command not allowed\r\n", IN_MULTI);
    expect_outcome("MULTI\r\nEXEC\r\n", "+OK\r\n!9\r\nEXECABORT\r\n", IN_MULTI);
    expect_outcome("MULTI\r\nDISCARD\r\n", "+OK\r\n-LOADING\r\n", IN_MULTI);
    expect_outcome("WATCH k\r\nEXEC\r\n", "+OK\r\n-ERR EXEC without MULTI\r\n", IN_WATCH);
    expect_outcome("WATCH k\r\nDISCARD\r\n", "+OK\r\n-ERR DISCARD without\r\n", IN_WATCH);
    expect_outcome("WATCH k\r\nUNWATCH\r\n", "+OK\r\n-NOPERM\r\n", IN_WATCH);
    expect_outcome("WATCH k\r\nWATCH l\r\n", "+OK\r\n-NOPERM\r\n", IN_WATCH);
}
END_TEST

START_TEST(a_watch_keeps_its_upstream)
{
    expect("WATCH k\r\nGET k\r\nUNWATCH\r\nUNWATCH\r\n", "+OK\r\n$1\r\nv\r\n+OK\r\n+OK\r\n",
           PLAIN IN_WATCH PLAIN IN_WATCH PLAIN CLEAN PLAIN CLEAN);
    expect("WATCH k\r\nMULTI\r\nUNWATCH\r\nEXEC\r\n", "+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n",
           PLAIN IN_WATCH PLAIN IN_MULTI PLAIN IN_MULTI PLAIN CLEAN);
    expect_outcome("WATCH k\r\nMULTI\r\nDISCARD\r\n", "+OK\r\n+OK\r\n+OK\r\n", CLEAN);
    expect_outcome("WATCH k\r\nWATCH l\r\nUNWATCH\r\n", "+OK\r\n+OK\r\n+OK\r\n", CLEAN);
}
END_TEST

START_TEST(a_pinned_upstream_can_become_owned)
{
    expect_outcome("MULTI\r\nSUBSCRIBE c\r\n", "+OK\r\n", "own \"SUBSCRIBE\"\n");
    expect_outcome("WATCH k\r\nCLIENT ID\r\n", "+OK\r\n", "own \"CLIENT\"\n");
}
END_TEST

START_TEST(answers_that_do_not_fit_spoil_the_upstream)
{
    expect_outcome("GET k\r\n", "+QUEUED\r\n", UNFIT);
    expect_outcome("MULTI\r\n", "+QUEUED\r\n", UNFIT);
    expect_outcome("MULTI\r\n", "$2\r\nOK\r\n", UNFIT);
    expect_outcome("WATCH k\r\n", ":1\r\n", UNFIT);
    expect_outcome("UNWATCH\r\n", "+QUEUED\r\n", UNFIT);
    expect_outcome("EXEC\r\n", "*0\r\n", UNFIT);
    expect_outcome("EXEC\r\n", "-EXECABORT\r\n", UNFIT);
    expect_outcome("DISCARD\r\n", "+OK\r\n", UNFIT);
    expect_outcome("MULTI\r\nGET k\r\n", "+OK\r\n$1\r\nv\r\n", UNFIT_PIN);
    expect_outcome("MULTI\r\nMULTI\r\n", "+OK\r\n+OK\r\n", UNFIT_PIN);
    expect_outcome("MULTI\r\nWATCH k\r\n", "+OK\r\n+OK\r\n", UNFIT_PIN);
    expect_outcome("MULTI\r\nUNWATCH\r\n", "+OK\r\n+OK\r\n", UNFIT_PIN);
    expect_outcome("MULTI\r\nEXEC\r\n", "+OK\r\n+QUEUED\r\n", UNFIT_PIN);
}
END_TEST

START_TEST(a_spoiled_upstream_is_spoiled_until_it_is_left)
{
    expect("MULTI\r\nGET k\r\nEXEC\r\nPING\r\n", "+OK\r\n:1\r\n*0\r\n+PONG\r\n",
           PLAIN IN_MULTI PLAIN UNFIT_PIN PLAIN UNFIT PLAIN CLEAN);
}
END_TEST

/* --- answers --- */

START_TEST(errors_leave_nothing_behind)
{
    expect("GET k\r\nGET k\r\nGET k\r\n", "-WRONGTYPE a\r\n-NOAUTH a\r\n!5\r\nOTHER\r\n",
           RETRIABLE CLEAN RETRIABLE CLEAN RETRIABLE CLEAN);
}
END_TEST

START_TEST(an_error_before_a_close_is_the_last_word)
{
    const char *end = "reply ends not clean why \"an error that ends the connection\"\n";

    expect_outcome("PING\r\n", "-ERR Protocol error: unauthenticated bulk length\r\n", end);
    expect_outcome("PING\r\n", "-ERR max number of clients reached\r\n", end);
    expect_outcome("PING\r\n", "-DENIED Redis is running in protected mode\r\n", end);
    expect_outcome("PING\r\n", "-ERR Protocol\r\n", CLEAN);
}
END_TEST

START_TEST(an_answer_may_be_cut_short)
{
    input.backend_ends = true;
    expect("GET k\r\n", "$10\r\nabc", RETRIABLE "backend ends\nrefuse \"an answer cut short\"\n");
    expect("GET k\r\n", "", RETRIABLE "backend ends\nrefuse \"an answer cut short\"\n");
}
END_TEST

START_TEST(bytes_behind_an_answer_are_nobodys)
{
    expect("GET k\r\n", "$1\r\nv\r\n+STRAY\r\n", RETRIABLE CLEAN "untaken of backend 8\n");
}
END_TEST

START_TEST(a_big_request_answered_early_ends_it_all)
{
    str_append(&client, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$70000\r\nabc");
    expect("", "-ERR Protocol error: invalid bulk length\r\n",
           PLAIN "reply ends not clean closes why \"an answer before the request ended\"\n");
}
END_TEST

/* A big request is half gone when the answer begins, on the same upstream or on one given up. */
static void begin_early(bool again, bool clean)
{
    static unsigned char room[FRAMER_ROOM_BYTES];
    void *state = calloc(1, framer_resp.state_bytes);
    struct framing f;

    framer_resp.init(state, &options);
    str_append(&client, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$70000\r\n");
    append_many(&client, 'x', 70000);
    str_append(&client, "\r\n");
    f = framer_resp.request(state, (const unsigned char *)client.data, 1000, room);
    ck_assert(f.verb == FRAMING_FORWARD && f.starts && !f.ends && f.used == 1000);
    f = framer_resp.reply(state, (const unsigned char *)"+O", 2, room);
    ck_assert(f.verb == FRAMING_FORWARD && f.used == 2 && !f.ends);
    if (again) {
        framer_resp.again(state);
        f = framer_resp.reply(state, NULL, 0, room);
        ck_assert(f.verb == FRAMING_HOLD);
    }
    f = framer_resp.request(state, (const unsigned char *)client.data + 1000, client.len - 1000,
                            room);
    ck_assert(f.ends && !f.starts && !f.retriable);
    const char *rest = again ? "+OK\r\n" : "K\r\n";
    f = framer_resp.reply(state, (const unsigned char *)rest, strlen(rest), room);
    ck_assert(f.ends && f.clean == clean && !f.pinned && !f.closes && (f.why == NULL) == clean);
    str_reset(&client);
    framer_resp.fini(state);
    free(state);
}

START_TEST(an_answer_begun_early_spoils)
{
    begin_early(false, false);
    begin_early(true, true);
}
END_TEST

int main(void)
{
    const TTest *const cases[] = {
        a_request_and_its_answer_pass_unchanged,
        lines_are_requests_too,
        a_half_request_is_held,
        requests_that_say_nothing_are_dropped,
        only_what_changes_nothing_may_be_sent_twice,
        who_may_have_to_wait_is_told,
        what_is_sent_twice_stays_the_same,
        an_answer_may_be_forgotten_half_way,
        quit_is_answered_here,
        whatever_may_leave_something_behind_owns,
        what_is_not_known_owns,
        owning_begins_where_the_name_ends,
        scripts_share_if_they_may,
        a_transaction_keeps_its_upstream,
        aborted_transactions_are_over,
        errors_change_no_transaction,
        a_watch_keeps_its_upstream,
        a_pinned_upstream_can_become_owned,
        answers_that_do_not_fit_spoil_the_upstream,
        a_spoiled_upstream_is_spoiled_until_it_is_left,
        errors_leave_nothing_behind,
        an_error_before_a_close_is_the_last_word,
        an_answer_may_be_cut_short,
        bytes_behind_an_answer_are_nobodys,
        a_big_request_answered_early_ends_it_all,
        an_answer_begun_early_spoils,
    };

    return run_cases("frame/resp", setup, cases, sizeof(cases) / sizeof(cases[0]));
}
