/* The framer resp: what clients send first, the keys that come of it, and the table of commands. */
#include "test_frame_resp_run.h"

#include "frame/resp_command.h"
#include "frame/resp_handshake.h"

#define AUTH     "*2\\r\\n$4\\r\\nAUTH\\r\\n$2\\r\\npw\\r\\n"
#define SELECT_5 "*2\\r\\n$6\\r\\nSELECT\\r\\n$1\\r\\n5\\r\\n"
#define HELLO_3  "*2\\r\\n$5\\r\\nHELLO\\r\\n$1\\r\\n3\\r\\n"

static void setup_key(void)
{
    setup();
    options.handshake_key = true;
}

START_TEST(without_the_option_it_owns)
{
    options.handshake_key = false;
    SEND("HELLO", "3");
    ck_assert_str_eq(run_outcome(), "own \"HELLO\"\n");
    SEND("CLIENT", "SETNAME", "a");
    ck_assert_str_eq(run_outcome(), "own \"CLIENT\"\n");
}
END_TEST

START_TEST(a_command_that_succeeds_is_in_the_key_from_then_on)
{
    SEND("SELECT", "5");
    SEND("GET", "k");
    SEND("AUTH", "pw");
    SEND("PING");
    str_append(&backend, "+OK\r\n$-1\r\n+OK\r\n+PONG\r\n");
    ck_assert_str_eq(run_verdicts(),
                     "request starts retriable key \"\" next \"" SELECT_5 "\"\n"
                     "reply ends clean key \"" SELECT_5 "\"\n"
                     "request starts retriable key \"" SELECT_5 "\" next \"" SELECT_5 "\"\n"
                     "reply ends clean key \"" SELECT_5 "\"\n"
                     "request starts retriable key \"" SELECT_5 "\" next \"" AUTH SELECT_5 "\"\n"
                     "reply ends clean key \"" AUTH SELECT_5 "\"\n"
                     "request starts key \"" AUTH SELECT_5 "\" next \"" AUTH SELECT_5 "\"\n"
                     "reply ends clean key \"" AUTH SELECT_5 "\"\n");
}
END_TEST

START_TEST(a_command_that_fails_is_not)
{
    SEND("AUTH", "pw");
    SEND("SELECT", "5");
    SEND("PING");
    str_append(&backend, "-WRONGPASS\r\n-ERR DB index is out of range\r\n+PONG\r\n");
    ck_assert_str_eq(run_verdicts(), "request starts retriable key \"\" next \"" AUTH "\"\n"
                                     "reply ends not clean why \"a refused handshake\"\n"
                                     "request starts retriable key \"\" next \"" SELECT_5 "\"\n"
                                     "reply ends not clean why \"a refused handshake\"\n"
                                     "request starts key \"\" next \"\"\n"
                                     "reply ends clean\n");
}
END_TEST

START_TEST(an_answer_that_does_not_fit_is_no_success)
{
    SEND("AUTH", "pw");
    SEND("PING");
    str_append(&backend, "+QUEUED\r\n+PONG\r\n");
    ck_assert_str_eq(run_verdicts(), "request starts retriable key \"\" next \"" AUTH "\"\n"
                                     "reply ends not clean why \"an answer that does not fit\"\n"
                                     "request starts key \"\" next \"\"\n"
                                     "reply ends clean\n");
}
END_TEST

START_TEST(a_setting_the_server_does_not_know_changes_nothing)
{
    SEND("SELECT", "5");
    SEND("CLIENT", "SETINFO", "LIB-NAME", "x");
    str_append(&backend, "+OK\r\n-ERR unknown subcommand 'SETINFO'. Try CLIENT HELP.\r\n");
    ck_assert_str_eq(run_outcome(), "reply ends clean key \"" SELECT_5 "\"\n");
    SEND("CLIENT", "SETINFO", "LIB-NAME", "x");
    str_append(&backend, "-ERR Unknown subcommand or wrong number of arguments for 'SETINFO'\r\n");
    ck_assert_str_eq(run_outcome(), "reply ends clean\n");
    SEND("CLIENT", "SETINFO", "LIB-NAME", "x y");
    str_append(&backend, "-ERR lib-name cannot contain spaces\r\n");
    ck_assert_str_eq(run_outcome(), "reply ends not clean why \"a refused handshake\"\n");
    SEND("HELLO", "3");
    str_append(&backend, "-ERR unknown command 'HELLO'\r\n");
    ck_assert_str_eq(run_outcome(), "reply ends not clean why \"a refused handshake\"\n");
}
END_TEST

/* What all commands so far, answered well, make of the key: its commands as words. */
static void expect_key(const char *const *commands, size_t count)
{
    STR_AUTO expected = {0}, got = {0};
    static const char mark[] = " key \"", end[] = "\\r\\n";

    for (size_t i = 0; i < count; i++) {
        str_append(&backend, "+OK\r\n");
    }
    for (size_t i = 0; commands[i] != NULL; i++) {
        str_printf(&expected, "%s; ", commands[i]);
    }
    const char *at = strstr(run_outcome(), mark);
    ck_assert_ptr_nonnull(at);
    at += strlen(mark);
    for (const char *to; (to = strstr(at, end)) != NULL; at = to + strlen(end)) {
        if (*at == '*') {
            str_append(&got, got.len > 0 ? "; " : "");
        } else if (*at != '$') {
            bool is_first = got.len == 0 || got.data[got.len - 1] == ' ';
            str_printf(&got, "%s%.*s", is_first ? "" : " ", (int)(to - at), at);
        }
    }
    str_append(&got, "; ");
    ck_assert_str_eq(str_text(&got), str_text(&expected));
}

#define EXPECT_KEY(count, ...) expect_key((const char *const[]){__VA_ARGS__, NULL}, count)

START_TEST(keys_are_in_an_order_to_be_replayed)
{
    SEND("CLIENT", "no-touch", "O");
    SEND("CLIENT", "NO-EVICT", "O");
    SEND("CLIENT", "SETINFO", "lib-VER", "1");
    SEND("CLIENT", "SETINFO", "LIB-NAME", "x");
    SEND("CLIENT", "SETNAME", "a");
    SEND("SELECT", "1");
    SEND("HELLO", "3");
    SEND("AUTH", "u", "p");
    EXPECT_KEY(8, "AUTH u p", "HELLO 3", "SELECT 1", "CLIENT SETNAME a",
               "CLIENT SETINFO LIB-NAME x", "CLIENT SETINFO lib-VER 1", "CLIENT NO-EVICT O",
               "CLIENT no-touch O");
}
END_TEST

START_TEST(the_last_of_a_kind_stays)
{
    SEND("SELECT", "1");
    SEND("AUTH", "p");
    SEND("SELECT", "2");
    SEND("AUTH", "u", "q");
    SEND("SELECT", "345");
    EXPECT_KEY(5, "AUTH u q", "SELECT 345");
}
END_TEST

START_TEST(a_hello_may_carry_more)
{
    SEND("AUTH", "p");
    SEND("CLIENT", "SETNAME", "a");
    SEND("HELLO", "3", "SETNAME", "b", "auth", "u", "q");
    EXPECT_KEY(3, "HELLO 3 SETNAME b auth u q");
    SEND("HELLO", "3", "AUTH", "u", "q");
    SEND("CLIENT", "SETNAME", "a");
    SEND("AUTH", "later");
    EXPECT_KEY(3, "HELLO 3 AUTH u q", "AUTH later", "CLIENT SETNAME a");
    SEND("HELLO", "3", "AUTH", "u", "q");
    SEND("AUTH", "later");
    SEND("HELLO", "2", "AUTH", "u", "z");
    EXPECT_KEY(3, "HELLO 2 AUTH u z");
}
END_TEST

START_TEST(a_hello_that_carries_less_owns)
{
    SEND("HELLO", "3", "AUTH", "u", "p");
    SEND("HELLO", "3");
    str_append(&backend, "%0\r\n");
    ck_assert_str_eq(run_outcome(), "own \"HELLO\"\n");
    SEND("HELLO", "3", "SETNAME", "a");
    SEND("HELLO", "3", "AUTH", "u", "p");
    str_append(&backend, "*0\r\n");
    ck_assert_str_eq(run_outcome(), "own \"HELLO\"\n");
}
END_TEST

START_TEST(a_hello_may_only_ask)
{
    SEND("SELECT", "5");
    SEND("HELLO");
    str_append(&backend, "+OK\r\n%1\r\n+proto\r\n:2\r\n");
    ck_assert_str_eq(run_outcome(), "reply ends clean key \"" SELECT_5 "\"\n");
}
END_TEST

START_TEST(other_commands_own)
{
    static const char *const requests[][6] = {
        {"CLIENT", "ID"},
        {"CLIENT", "TRACKING", "ON"},
        {"CLIENT", "REPLY", "OFF"},
        {"CLIENT", "SETINFO", "LIB-OTHER", "x"},
        {"CLIENT", "SETINFO", "LIB-NAME"},
        {"CLIENT", "SETNAME"},
        {"CLIENT"},
        {"HELLO", "3", "OTHER"},
        {"HELLO", "3", "AUTH", "u"},
        {"HELLO", "3", "SETNAME"},
        {"SELECT"},
        {"SELECT", "1", "2"},
        {"AUTH"},
        {"AUTH", "a", "b", "c"},
    };
    char expected[64];

    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        append_words(&client, requests[i]);
        snprintf(expected, sizeof(expected), "own \"%s\"\n", requests[i][0]);
        ck_assert_str_eq(run_outcome(), expected);
    }
    SEND("HELLO", "3", "SETNAME", "a", "SETNAME", "b");
    ck_assert_str_eq(run_outcome(), "own \"HELLO\"\n");
    SEND("HELLO", "3", "AUTH", "a", "b", "SETNAME", "b", "SETNAME", "c", "SETNAME", "c");
    ck_assert_str_eq(run_outcome(), "own \"HELLO\"\n");
    str_append(&client, "AUTH pw\r\n");
    ck_assert_str_eq(run_outcome(), "own \"AUTH\"\n");
}
END_TEST

START_TEST(what_owns_is_brought_to_the_key)
{
    SEND("AUTH", "pw");
    SEND("SUBSCRIBE", "c");
    str_append(&backend, "+OK\r\n");
    ck_assert_str_eq(run_verdicts(), "request starts retriable key \"\" next \"" AUTH "\"\n"
                                     "reply ends clean key \"" AUTH "\"\n"
                                     "request starts key \"" AUTH "\" next \"" AUTH "\"\n"
                                     "own \"SUBSCRIBE\"\n");
}
END_TEST

START_TEST(a_transaction_takes_no_handshake)
{
    SEND("MULTI");
    SEND("SELECT", "1");
    str_append(&backend, "+OK\r\n");
    ck_assert_str_eq(run_outcome(), "own \"SELECT\"\n");
    SEND("WATCH", "k");
    SEND("SELECT", "1");
    str_append(&backend, "+OK\r\n");
    ck_assert_str_eq(run_outcome(), "own \"SELECT\"\n");
}
END_TEST

START_TEST(keys_have_their_limit)
{
    char password[FRAMER_KEY_MAX + 1] = {0};
    size_t most = FRAMER_KEY_MAX - strlen("*2\r\n$4\r\nAUTH\r\n$1001\r\n\r\n");

    memset(password, 'p', most);
    SEND("AUTH", password);
    str_append(&backend, "+OK\r\n");
    const char *outcome = run_outcome();
    ck_assert(strncmp(outcome, "reply ends clean key", 20) == 0);
    SEND("AUTH", password);
    SEND("SELECT", "1");
    str_append(&backend, "+OK\r\n");
    ck_assert_str_eq(run_outcome(), "own \"SELECT\"\n");
    password[most] = 'p';
    SEND("AUTH", password);
    ck_assert_str_eq(run_outcome(), "own \"AUTH\"\n");
}
END_TEST

/* --- fresh upstreams --- */

START_TEST(a_fresh_upstream_is_prepared)
{
    input.fresh = true;
    SEND("HELLO", "3");
    SEND("AUTH", "pw");
    SEND("GET", "k");
    str_append(&backend, "%1\r\n+proto\r\n:3\r\n"        /* to the client */
                         "%1\r\n+proto\r\n:3\r\n+OK\r\n" /* once prepared, the same */
                         "+OK\r\n%1\r\n+proto\r\n:3\r\n$1\r\nv\r\n");
    ck_assert_str_eq(run(),
                     "request starts retriable key \"\" next \"" HELLO_3 "\"\n"
                     "to backend \"" HELLO_3 "\"\nrequest ends\n"
                     "to client \"%1\\r\\n+proto\\r\\n:3\\r\\n\"\n"
                     "reply ends clean key \"" HELLO_3 "\"\n"
                     "request starts retriable key \"" HELLO_3 "\" next \"" AUTH HELLO_3 "\"\n"
                     "prepare \"" HELLO_3 "\"\nprepared clean key \"" HELLO_3 "\"\n"
                     "to backend \"" AUTH "\"\nrequest ends\n"
                     "to client \"+OK\\r\\n\"\n"
                     "reply ends clean key \"" AUTH HELLO_3 "\"\n"
                     "request starts retriable key \"" AUTH HELLO_3 "\" next \"" AUTH HELLO_3 "\"\n"
                     "prepare \"" AUTH HELLO_3 "\"\nprepared clean key \"" AUTH HELLO_3 "\"\n"
                     "to backend \"*2\\r\\n$3\\r\\nGET\\r\\n$1\\r\\nk\\r\\n\"\nrequest ends\n"
                     "to client \"$1\\r\\nv\\r\\n\"\n"
                     "reply ends clean key \"" AUTH HELLO_3 "\"\n");
}
END_TEST

static void expect_unprepared(const char *answers)
{
    input.fresh = true;
    SEND("SELECT", "5");
    SEND("AUTH", "pw");
    SEND("GET", "k");
    str_append(&backend, "+OK\r\n+OK\r\n+OK\r\n");
    str_append(&backend, answers);
    const char *got = run();
    const char *end = "prepared not clean key \"" AUTH SELECT_5 "\" why \"a refused handshake\"\n";
    ck_assert_msg(strstr(got, end) != NULL, "%s", got);
    ck_assert_ptr_null(strstr(got, "GET"));
}

START_TEST(a_fresh_upstream_may_refuse)
{
    expect_unprepared("-NOAUTH\r\n");
    expect_unprepared("+OK\r\n-ERR DB index is out of range\r\n");
    expect_unprepared("+OK\r\n!4\r\nOOPS\r\n");
    expect_unprepared(">0\r\n");
    expect_unprepared("+OK\r\nHTTP\r\n");
}
END_TEST

START_TEST(preparing_begins_anew_elsewhere)
{
    static unsigned char room[FRAMER_ROOM_BYTES];
    void *state = calloc(1, framer_resp.state_bytes);
    const unsigned char *ok = (const unsigned char *)"+OK\r\n";
    struct framing f;

    framer_resp.init(state, &options);
    ck_assert_uint_eq(framer_resp.prepare(state).n, 0);
    SEND("SELECT", "5");
    (void)framer_resp.request(state, (const unsigned char *)client.data, client.len, room);
    (void)framer_resp.reply(state, ok, 5, room);
    (void)framer_resp.request(state, (const unsigned char *)"GET k\r\n", 7, room);
    for (int i = 0; i < 2; i++) {
        ck_assert_uint_eq(framer_resp.prepare(state).n, client.len);
        f = framer_resp.reply(state, ok, 3, room);
        ck_assert(f.verb == FRAMING_FORWARD && f.used == 3 && f.send.n == 0 && !f.ends);
        framer_resp.again(state);
    }
    f = framer_resp.reply(state, ok, 3, room); /* of an upstream that needs no preparing */
    ck_assert(f.used == 3 && f.send.n == 3 && !f.ends);
    framer_resp.again(state);
    (void)framer_resp.prepare(state);
    f = framer_resp.reply(state, (const unsigned char *)"+OK\r\n+STRAY\r\n", 13, room);
    ck_assert(f.used == 5 && f.send.n == 0 && f.ends && f.clean);
    f = framer_resp.reply(state, (const unsigned char *)"$-1\r\n", 5, room);
    ck_assert(f.used == 5 && f.send.n == 5 && f.ends && f.clean);
    framer_resp.fini(state);
    framer_resp.fini(state); /* releasing twice is safe */
    free(state);
}
END_TEST

/* --- the map by itself --- */

START_TEST(what_is_refused_changes_nothing)
{
    struct resp_handshake *handshake = NULL;

    ck_assert_uint_eq(resp_handshake_key(NULL).n, 0);
    SEND("SELECT", "5");
    ck_assert(resp_handshake_propose(&handshake, (unsigned char *)client.data, client.len));
    ck_assert_uint_eq(resp_handshake_key(handshake).n, 0);
    resp_handshake_accept(handshake);
    size_t n = resp_handshake_key(handshake).n;
    ck_assert_uint_eq(n, client.len);
    str_reset(&client);
    SEND("SELECT", "66");
    ck_assert(resp_handshake_propose(&handshake, (unsigned char *)client.data, client.len));
    str_reset(&client);
    SEND("SELECT", "7", "8");
    ck_assert(!resp_handshake_propose(&handshake, (unsigned char *)client.data, client.len));
    ck_assert_uint_eq(resp_handshake_key(handshake).n, n);
    ck_assert_uint_eq(resp_handshake_commands(handshake), 1);
    resp_handshake_free(handshake);
    resp_handshake_free(NULL);
}
END_TEST

/* --- the table of commands --- */

START_TEST(the_table_is_in_order_and_found)
{
    size_t longest = 0, wrong = 0, seen[RESP_CLASS_COUNT] = {0};

    for (size_t i = 0; i < resp_command_count; i++) {
        const struct resp_command *command = &resp_commands[i];
        size_t n = strlen(command->name);
        unsigned char lower[RESP_NAME_MAX + 1] = {0};

        longest = n > longest ? n : longest;
        wrong += i > 0 && strcmp(resp_commands[i - 1].name, command->name) >= 0;
        for (size_t j = 0; j < n && j < RESP_NAME_MAX; j++) {
            char letter = command->name[j];
            wrong += letter >= 'a' && letter <= 'z';
            lower[j] = (unsigned char)(letter >= 'A' && letter <= 'Z' ? letter | ' ' : letter);
        }
        wrong += resp_command_find(lower, n) != command;
        wrong += resp_command_find((const unsigned char *)command->name, n) != command;
        wrong += resp_command_find((const unsigned char *)command->name, n - 1) == command;
        wrong += resp_command_find((const unsigned char *)command->name, n + 1) == command;
        seen[command->class]++;
    }
    for (size_t i = 0; i < RESP_CLASS_COUNT; i++) {
        wrong += seen[i] == 0;
    }
    ck_assert_uint_eq(wrong, 0);
    ck_assert_uint_eq(longest, RESP_NAME_MAX);
}
END_TEST

START_TEST(what_is_not_in_the_table_is_unknown)
{
    const unsigned char *name = (const unsigned char *)"GEORADIUSBYMEMBER_ROX";

    ck_assert_str_eq(resp_command_find(name, 21)->name, "unknown command");
    ck_assert_str_eq(resp_command_find(name, 3)->name, "unknown command");
    ck_assert_str_eq(resp_command_find(name, 0)->name, "unknown command");
    ck_assert_int_eq(resp_command_find(name, 3)->class, RESP_OWN);
}
END_TEST

int main(void)
{
    const TTest *const cases[] = {
        without_the_option_it_owns,
        a_command_that_succeeds_is_in_the_key_from_then_on,
        a_command_that_fails_is_not,
        an_answer_that_does_not_fit_is_no_success,
        a_setting_the_server_does_not_know_changes_nothing,
        keys_are_in_an_order_to_be_replayed,
        the_last_of_a_kind_stays,
        a_hello_may_carry_more,
        a_hello_that_carries_less_owns,
        a_hello_may_only_ask,
        other_commands_own,
        what_owns_is_brought_to_the_key,
        a_transaction_takes_no_handshake,
        keys_have_their_limit,
        a_fresh_upstream_is_prepared,
        a_fresh_upstream_may_refuse,
        preparing_begins_anew_elsewhere,
        what_is_refused_changes_nothing,
        the_table_is_in_order_and_found,
        what_is_not_in_the_table_is_unknown,
    };

    return run_cases("frame/resp_handshake", setup_key, cases, sizeof(cases) / sizeof(cases[0]));
}
