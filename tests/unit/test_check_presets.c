/*
 * The checks that know a protocol: redis, memcached, smtp, ssh, postgresql, mysql. What their
 * servers say, word by word as the real ones do, what is answered, and what it means.
 */
#include "test_check_run.h"

#include <signal.h>

#include "check/database_answer.h"
#include "test_check_peer.h"

static void begin(void)
{
    signal(SIGPIPE, SIG_IGN); /* as in the monitor */
    setup();
}

static void end(void)
{
    peer_stop();
    teardown();
}

static void run_with(const char *name, const struct act *script, const struct check_arg *args,
                     int n_args)
{
    (void)peer_start("127.0.0.1:0", script);
    address = peer.address;
    probe_once(check_kind_find(name), args, n_args);
}

static void expect_pass(const char *name, const struct act *script, const char *start)
{
    run_with(name, script, NULL, 0);
    ck_assert_msg(result.passed, "%s", result.reason);
    ck_assert_msg(strncmp(result.reason, start, strlen(start)) == 0, "%s", result.reason);
}

static void expect_fail(const char *name, const struct act *script, const char *reason)
{
    run_with(name, script, NULL, 0);
    ck_assert(!result.passed && !result.timed_out);
    ck_assert_str_eq(result.reason, reason);
}

/* The last words of a pass. */
static void expect_detail(const char *detail)
{
    const char *colon = strchr(result.reason, ':');

    ck_assert_ptr_nonnull(colon);
    ck_assert_str_eq(colon + 2, detail);
}

START_TEST(every_kind_has_a_name_and_a_line_of_help)
{
    static const char *const names[] = {"expect",     "http",  "redis", "memcached",
                                        "postgresql", "mysql", "smtp",  "ssh"};

    for (int i = 0; i < COUNT(names); i++) {
        const struct check_kind *of = check_kind_find(names[i]);

        ck_assert_ptr_nonnull(of);
        ck_assert_str_eq(of->name, names[i]);
        ck_assert_uint_gt(strlen(of->help), 20);
    }
}
END_TEST

/* --- redis --- */

START_TEST(redis_that_answers)
{
    expect_pass("redis", SCRIPT(HEAR("PING\r\n"), SAY("+PONG\r\n")), "answered in ");
}
END_TEST

START_TEST(redis_that_wants_a_password)
{
    expect_pass("redis", SCRIPT(HEAR("PING\r\n"), SAY("-NOAUTH Authentication required.\r\n")),
                "answered in ");
}
END_TEST

/* At once, not when the time is over. */
START_TEST(redis_that_is_loading)
{
    expect_fail("redis",
                SCRIPT(HEAR("PING\r\n"), SAY("-LOADING Redis is loading the dataset in memory\r\n"),
                       HEAR_END),
                "got \"-LOADING Redis is loading the dataset in memory\"");
}
END_TEST

START_TEST(redis_that_has_lost_its_master)
{
    expect_fail("redis",
                SCRIPT(HEAR("PING\r\n"), SAY("-MASTERDOWN Link with MASTER is down and "
                                             "replica-serve-stale-data is set to 'no'.\r\n")),
                "got \"-MASTERDOWN Link with MASTER is down and replica-serve-stale…\"");
}
END_TEST

START_TEST(redis_that_is_full)
{
    expect_fail("redis", SCRIPT(SAY("-ERR max number of clients reached\r\n"), CLOSE),
                "got \"-ERR max number of clients reached\"");
}
END_TEST

START_TEST(redis_that_speaks_slowly_is_heard_out)
{
    expect_pass("redis", SCRIPT(HEAR("PING\r\n"), SAY_SLOWLY("+PONG\r\n")), "answered in ");
}
END_TEST

/* --- memcached --- */

START_TEST(memcached_that_answers)
{
    expect_pass("memcached",
                SCRIPT(HEAR("version\r\n"), SAY("VERSION 1.6.18\r\n"), HEAR("quit\r\n"), CLOSE),
                "answered in ");
    ck_assert(peer_parts_well());
}
END_TEST

START_TEST(memcached_that_wants_a_password)
{
    expect_pass("memcached",
                SCRIPT(HEAR("version\r\n"), SAY("CLIENT_ERROR unauthenticated\r\n"), CLOSE),
                "answered in ");
}
END_TEST

START_TEST(memcached_that_is_not)
{
    expect_fail("memcached",
                SCRIPT(HEAR("version\r\n"), SAY("ERROR Too many open connections\r\n")),
                "got \"ERROR Too many open connections\"");
}
END_TEST

/* --- smtp --- */

START_TEST(smtp_that_answers)
{
    expect_pass("smtp",
                SCRIPT(SAY("220-mail.example.net\r\n"), PAUSE(1), SAY("220 ESMTP\r\n"),
                       HEAR("EHLO [127.0.0.1]\r\n"),
                       SAY("250-mail.example.net\r\n250-PIPELINING\r\n"), PAUSE(1),
                       SAY("250 SMTPUTF8\r\n"), HEAR("QUIT\r\n"), SAY("221 2.0.0 Bye\r\n"),
                       PAUSE(2), CLOSE),
                "answered in ");
    ck_assert(peer_parts_well());
}
END_TEST

START_TEST(smtp_replies_may_be_bare)
{
    expect_pass(
        "smtp",
        SCRIPT(SAY("220\r\n"), HEAR("EHLO"), SAY("250\r\n"), HEAR("QUIT"), SAY("221\r\n"), CLOSE),
        "answered in ");
}
END_TEST

START_TEST(smtp_that_serves_nobody)
{
    expect_fail("smtp", SCRIPT(SAY("421 4.3.2 All server ports are busy\r\n"), HEAR_END),
                "got \"421 4.3.2 All server ports are busy\"");
}
END_TEST

START_TEST(smtp_that_changes_its_mind)
{
    expect_fail("smtp", SCRIPT(SAY("220-hello\r\n"), PAUSE(1), SAY("554 no\r\n"), HEAR_END),
                "got \"220-hello…\"");
}
END_TEST

START_TEST(smtp_that_knows_no_ehlo)
{
    expect_fail("smtp",
                SCRIPT(SAY("220 x\r\n"), HEAR("EHLO"), SAY("502 5.5.2 Error\r\n"), HEAR_END),
                "got \"502 5.5.2 Error\"");
}
END_TEST

/* --- ssh --- */

/* It waits for the client's part of the key exchange: to be left, it has to be told. */
START_TEST(ssh_that_answers)
{
    expect_pass("ssh",
                SCRIPT(SAY("SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u10\r\n"),
                       HEAR("SSH-2.0-Sluice\r\n"), FLOOD(1080), HEAR_END, CLOSE),
                "answered in ");
    ck_assert(peer_parts_well() && peer.saw_end);
}
END_TEST

START_TEST(ssh_may_say_something_before)
{
    expect_pass("ssh",
                SCRIPT(SAY("Welcome.\r\nSSH-1.99-OpenSSH_3\r\n"), HEAR("\n"), HEAR_END, CLOSE),
                "answered in ");
}
END_TEST

START_TEST(ssh_that_takes_nobody)
{
    expect_fail("ssh", SCRIPT(SAY("Exceeded MaxStartups\r\n"), CLOSE),
                "got \"Exceeded MaxStartups\", then closed");
}
END_TEST

/* --- postgresql --- */

#define PG_STARTUP                                                                                 \
    "\0\0\0\x3f\0\x03\0\0user\0sluice\0database\0postgres\0application_name\0sluice\0\0"
#define PG_WELCOME "R\0\0\0\x08\0\0\0\0"
#define PG_SASL    "R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0"

START_TEST(postgresql_that_lets_in)
{
    expect_pass("postgresql",
                SCRIPT(HEAR(PG_STARTUP), SAY(PG_WELCOME), SAY("K\0\0\0\x0c\0\0\0\1\0\0\0\2"),
                       SAY("Z\0\0\0\5I"), HEAR("X\0\0\0\4"), CLOSE),
                "answered in ");
    expect_detail("logged in");
    ck_assert(peer_parts_well());
}
END_TEST

/* It lets the user in before it looks for a place. */
START_TEST(postgresql_that_is_full)
{
    expect_fail("postgresql",
                SCRIPT(HEAR(PG_STARTUP), SAY(PG_WELCOME), SAY("S\0\0\0\x0dlc\0value\0"),
                       SAY_SLOWLY("E\0\0\0\x25SFATAL\0C53300\0Mtoo many clients\0\0"), CLOSE),
                "error 53300 \"too many clients\"");
    ck_assert(peer_parts_well());
}
END_TEST

START_TEST(postgresql_that_lets_in_and_leaves)
{
    expect_fail("postgresql", SCRIPT(HEAR(PG_STARTUP), SAY(PG_WELCOME), CLOSE),
                "closed within the answer");
}
END_TEST

START_TEST(postgresql_that_lacks_the_database)
{
    expect_pass("postgresql",
                SCRIPT(HEAR(PG_STARTUP), SAY(PG_WELCOME),
                       SAY("E\0\0\0\x22SFATAL\0C3D000\0Mno such thing\0\0"), CLOSE),
                "answered in ");
    expect_detail("refuses the user, error 3D000 \"no such thing\"");
}
END_TEST

START_TEST(postgresql_that_wants_a_password)
{
    expect_pass("postgresql", SCRIPT(HEAR(PG_STARTUP), SAY_SLOWLY(PG_SASL), HEAR_END, CLOSE),
                "answered in ");
    expect_detail("asks for a password");
    ck_assert(peer_parts_well() && peer.saw_end); /* not a word more: else it logs that */
    ck_assert_uint_eq(peer.n_heard, sizeof(PG_STARTUP) - 1);
}
END_TEST

START_TEST(postgresql_that_has_something_to_say_before)
{
    expect_pass("postgresql", SCRIPT(HEAR(PG_STARTUP), SAY("N\0\0\0\x0dSNOTICE\0\0"), SAY(PG_SASL)),
                "answered in ");
}
END_TEST

START_TEST(postgresql_that_knows_not_this_user)
{
    expect_pass(
        "postgresql",
        SCRIPT(HEAR(PG_STARTUP),
               SAY("E\0\0\0\x38SFATAL\0VFATAL\0C28000\0Mrole \"sluice\" does not exist\0\0"),
               CLOSE),
        "answered in ");
    expect_detail("refuses the user, error 28000 \"role \\\"sluice\\\" does not exist\"");
}
END_TEST

START_TEST(postgresql_that_is_starting)
{
    expect_fail("postgresql",
                SCRIPT(HEAR(PG_STARTUP),
                       SAY("E\0\0\0\x37SFATAL\0C57P03\0Mthe database system is starting up\0\0"),
                       CLOSE),
                "error 57P03 \"the database system is starting up\"");
    ck_assert(peer_parts_well());
}
END_TEST

START_TEST(postgresql_that_cannot_even_start_to)
{
    expect_fail("postgresql",
                SCRIPT(HEAR(PG_STARTUP),
                       SAY("Ecould not fork new process for connection: Cannot allocate memory\n"),
                       CLOSE),
                "error \"could not fork new process for connection: Cannot allocate m…\"");
}
END_TEST

START_TEST(postgresql_that_is_not)
{
    expect_fail("postgresql", SCRIPT(SAY("HTTP/1.1 400 Bad Request\r\n")),
                "no PostgreSQL answer: got \"HTTP/1.1 400 Bad Request\"");
}
END_TEST

START_TEST(postgresql_that_leaves)
{
    expect_fail("postgresql", SCRIPT(HEAR(PG_STARTUP), CLOSE), "closed by the backend");
}
END_TEST

START_TEST(postgresql_that_leaves_in_the_middle)
{
    expect_fail("postgresql", SCRIPT(HEAR(PG_STARTUP), SAY("R\0\0"), CLOSE),
                "closed within the answer");
}
END_TEST

/* A flood of notices is no answer. */
START_TEST(postgresql_that_does_not_come_to_the_point)
{
    static char notices[70000];

    for (size_t at = 0; at + 9 <= sizeof(notices); at += 9) {
        memcpy(notices + at, "N\0\0\0\x08xxxx", 9);
    }
    run_with("postgresql",
             (const struct act[]){
                 HEAR(PG_STARTUP), {ACT_SAY, notices, 69993}, HEAR_END, {ACT_NOTHING, "", 0}},
             NULL, 0);
    ck_assert_str_eq(result.reason, "64 KiB without an answer");
}
END_TEST

START_TEST(users_can_be_chosen)
{
    const struct check_arg user = {"user", "monitor"};

    run_with("postgresql", SCRIPT(HEAR("\0user\0monitor\0database\0"), SAY(PG_SASL)), &user, 1);
    ck_assert_msg(result.passed, "%s", result.reason);
    peer_stop();
    run_with("mysql",
             SCRIPT(SAY("\x3b\0\0\0\x0a"
                        "8.0.36\0\7\0\0\0"
                        "12345678\0\xff\xff\x21\2\0\xff\xff\x15\0\0\0\0\0\0\0\0\0\0"
                        "abcdefghijkl\0plugin\0"),
                    HEAR("monitor\0\0plugin\0"), SAY("\7\0\0\2\0\0\0\2\0\0\0"), HEAR_END),
             &user, 1);
    ck_assert_msg(result.passed, "%s", result.reason);
}
END_TEST

START_TEST(users_are_judged)
{
    static const char long_name[] =
        "1234567890123456789012345678901234567890123456789012345678901234";
    STR_AUTO problem = {0}, other = {0};

    ck_assert(check_judge("mysql", "user", "sluice-check", &problem));
    ck_assert(check_judge("postgresql", "user", long_name + 1, &problem));
    ck_assert(!check_judge("postgresql", "user", "", &problem));
    ck_assert_str_eq(str_text(&problem),
                     "\"\" is no user's name; write 1 to 63 printable characters");
    ck_assert(!check_judge("mysql", "user", "a\nb", &other));
    ck_assert_str_eq(str_text(&other),
                     "\"a…\" is no user's name; write 1 to 63 printable characters");
    ck_assert(!check_judge("mysql", "user", long_name, &other));
}
END_TEST

/* --- mysql --- */

/* MySQL 8's greeting. */
#define MY_GREETING                                                                                \
    "\x4a\0\0\0\x0a"                                                                               \
    "8.0.36\0\7\0\0\0"                                                                             \
    "12345678\0\xff\xff\x21\2\0\xff\xdf\x15\0\0\0\0\0\0\0\0\0\0"                                   \
    "abcdefghijkl\0caching_sha2_password\0"
#define MY_ASK       "\x3e\0\0\1\1\x82\x08\0\xff\xff\xff\0\x21"
#define MY_OK(n)     "\7\0\0" n "\0\0\0\2\0\0\0"
#define MY_SWITCH    "\x1c\0\0\2\xfemysql_native_password\0salt\0"
#define MY_DENIED(n) "\x2c\0\0" n "\xff\x15\4#28000Access denied for user 'sluice'@'x'"

START_TEST(mysql_that_lets_in)
{
    expect_pass("mysql",
                SCRIPT(SAY(MY_GREETING), HEAR(MY_ASK), HEAR("sluice\0\0caching_sha2_password\0"),
                       SAY(MY_OK("\2")), HEAR("\1\0\0\0\1"), CLOSE),
                "answered in ");
    expect_detail("logged in");
    ck_assert(peer_parts_well());
}
END_TEST

START_TEST(mysql_that_denies)
{
    expect_pass("mysql", SCRIPT(SAY(MY_GREETING), HEAR("sluice"), SAY(MY_DENIED("\2")), CLOSE),
                "answered in ");
    expect_detail("refuses the user, error 1045 \"Access denied for user 'sluice'@'x'\"");
}
END_TEST

/* To leave here would count as a failure to connect. */
START_TEST(mysql_that_wants_another_password)
{
    expect_pass("mysql",
                SCRIPT(SAY_SLOWLY(MY_GREETING), HEAR("sluice"), SAY_SLOWLY(MY_SWITCH),
                       HEAR("\0\0\0\3"), SAY(MY_DENIED("\4")), CLOSE),
                "answered in ");
    expect_detail("refuses the user, error 1045 \"Access denied for user 'sluice'@'x'\"");
    ck_assert(peer_parts_well());
}
END_TEST

/* MariaDB blocks whoever answers the first of these in another length. */
START_TEST(mysql_that_wants_one_of_two_passwords)
{
    static const char signature[4 + 64 + 1] = "\x40\0\0\3"; /* and its NUL */

    expect_pass("mysql",
                SCRIPT(SAY(MY_GREETING), HEAR("sluice"),
                       SAY_SLOWLY("\x30\0\0\2\xfe"
                                  "client_ed25519\0"
                                  "0123456789abcdef0123456789abcdef"),
                       HEAR(signature), SAY("\x17\0\0\4\xfemysql_native_password\0"),
                       HEAR("\0\0\0\5"), SAY(MY_DENIED("\6")), CLOSE),
                "answered in ");
    expect_detail("refuses the user, error 1045 \"Access denied for user 'sluice'@'x'\"");
    ck_assert(peer_parts_well());
}
END_TEST

#define MY_AGAIN SAY(MY_SWITCH), HEAR("\0\0\0\3")

START_TEST(mysql_that_never_has_enough)
{
    expect_pass("mysql",
                SCRIPT(SAY(MY_GREETING), HEAR("sluice"), MY_AGAIN, MY_AGAIN, MY_AGAIN, MY_AGAIN,
                       MY_AGAIN, MY_AGAIN, MY_AGAIN, MY_AGAIN, SAY(MY_SWITCH), HEAR_END, CLOSE),
                "answered in ");
    expect_detail("asks for a password");
    ck_assert(peer_parts_well());
}
END_TEST

START_TEST(mysql_that_lets_in_after_all)
{
    expect_pass("mysql",
                SCRIPT(SAY(MY_GREETING), HEAR("sluice"), SAY(MY_SWITCH), HEAR("\0\0\0\3"),
                       SAY(MY_OK("\4")), HEAR("\1\0\0\0\1"), CLOSE),
                "answered in ");
    expect_detail("logged in");
}
END_TEST

START_TEST(mysql_that_asks_and_leaves)
{
    expect_pass("mysql",
                SCRIPT(SAY(MY_GREETING), HEAR("sluice"), SAY(MY_SWITCH), HEAR("\0\0\0\3"), CLOSE),
                "answered in ");
    expect_detail("asks for a password");
}
END_TEST

START_TEST(mysql_that_goes_on_asking)
{
    expect_pass("mysql",
                SCRIPT(SAY(MY_GREETING), HEAR("sluice"), SAY(MY_SWITCH), HEAR("\0\0\0\3"),
                       SAY("\2\0\0\4\1\4"), HEAR_END, CLOSE),
                "answered in ");
    expect_detail("asks for a password");
    ck_assert(peer_parts_well());
}
END_TEST

START_TEST(mysql_that_is_full)
{
    expect_fail("mysql", SCRIPT(SAY("\x17\0\0\0\xff\x10\4Too many connections"), CLOSE),
                "error 1040 \"Too many connections\"");
}
END_TEST

START_TEST(mysql_that_has_blocked_us)
{
    expect_fail("mysql", SCRIPT(SAY("\x16\0\0\0\xff\x69\4Host 'x' is blocked"), CLOSE),
                "error 1129 \"Host 'x' is blocked\"");
}
END_TEST

START_TEST(mysql_that_is_old)
{
    expect_pass("mysql",
                SCRIPT(SAY("\x17\0\0\0\x0a"
                           "5.0\0\7\0\0\0"
                           "12345678\0\x2c\xa2\x08\2\0"),
                       HEAR("\x28\0\0\1\1\x82\0\0"), HEAR("sluice\0\0"), SAY(MY_DENIED("\2"))),
                "answered in ");
}
END_TEST

START_TEST(mysql_that_is_not)
{
    expect_fail("mysql", SCRIPT(SAY("SSH-2.0-OpenSSH\r\n")),
                "no MySQL answer: got \"SSH-2.0-OpenSSH\"");
}
END_TEST

START_TEST(mysql_that_says_nothing_known)
{
    expect_fail("mysql", SCRIPT(SAY(MY_GREETING), HEAR("sluice"), SAY("\1\0\0\2\x55")),
                "no MySQL answer: got \"\\x01\\x00\\x00\\x02U\"");
}
END_TEST

START_TEST(mysql_that_leaves)
{
    expect_fail("mysql", SCRIPT(SAY(MY_GREETING), HEAR("sluice"), CLOSE), "closed by the backend");
}
END_TEST

/* --- readers, on bytes that were cut or made up --- */

START_TEST(no_part_of_an_answer_is_one)
{
    int n_wrong = 0;

    for (size_t n = 0; n < sizeof(PG_SASL) - 1; n++) {
        n_wrong += postgresql_read(PG_SASL, n).verdict != DATABASE_MORE;
    }
    for (size_t n = 0; n < sizeof(MY_GREETING) - 1; n++) {
        n_wrong += mysql_read_greeting(MY_GREETING, n).verdict != DATABASE_MORE;
    }
    for (size_t n = 0; n < sizeof(MY_SWITCH) - 1; n++) {
        n_wrong += mysql_read_reply(MY_SWITCH, n).verdict != DATABASE_MORE;
    }
    ck_assert_int_eq(n_wrong, 0);
}
END_TEST

START_TEST(answers_say_how_long_they_are)
{
    ck_assert_uint_eq(postgresql_read(PG_SASL "more", sizeof(PG_SASL) + 3).used,
                      sizeof(PG_SASL) - 1);
    ck_assert_uint_eq(mysql_read_greeting(MY_GREETING "more", sizeof(MY_GREETING) + 3).used,
                      sizeof(MY_GREETING) - 1);
    ck_assert_str_eq(mysql_read_greeting(MY_GREETING, sizeof(MY_GREETING) - 1).plugin,
                     "caching_sha2_password");
}
END_TEST

START_TEST(strange_lengths_are_strange)
{
    ck_assert_int_eq(postgresql_read("R\0\0\0\7xxx", 8).verdict, DATABASE_STRANGE);
    ck_assert_int_eq(postgresql_read("N\0\0\0\0", 5).verdict, DATABASE_STRANGE);
    ck_assert_int_eq(postgresql_read("E\0\0\0\3", 5).verdict, DATABASE_DOWN);
    ck_assert_int_eq(postgresql_read("R\x7f\xff\xff\xff", 5).verdict, DATABASE_STRANGE);
    ck_assert_int_eq(mysql_read_reply("\0\0\0\2", 4).verdict, DATABASE_STRANGE);
    ck_assert_int_eq(mysql_read_greeting("\xff\xff\xff\0", 4).verdict, DATABASE_STRANGE);
    ck_assert_int_eq(mysql_read_greeting("\3\0\0\0\x0a"
                                         "55",
                                         7)
                         .verdict,
                     DATABASE_STRANGE); /* its version does not end */
}
END_TEST

START_TEST(errors_without_a_code_are_failures)
{
    struct database_answer answer = postgresql_read("E\0\0\0\x0bMoops\0", 12);

    ck_assert_int_eq(answer.verdict, DATABASE_DOWN);
    ck_assert_str_eq(answer.text, "error \"oops\"");
    ck_assert_int_eq(mysql_read_reply("\1\0\0\2\xff", 5).verdict, DATABASE_DOWN);
}
END_TEST

int main(void)
{
    const TTest *tests[] = {
        every_kind_has_a_name_and_a_line_of_help,
        redis_that_answers,
        redis_that_wants_a_password,
        redis_that_is_loading,
        redis_that_has_lost_its_master,
        redis_that_is_full,
        redis_that_speaks_slowly_is_heard_out,
        memcached_that_answers,
        memcached_that_wants_a_password,
        memcached_that_is_not,
        smtp_that_answers,
        smtp_replies_may_be_bare,
        smtp_that_serves_nobody,
        smtp_that_changes_its_mind,
        smtp_that_knows_no_ehlo,
        ssh_that_answers,
        ssh_may_say_something_before,
        ssh_that_takes_nobody,
        postgresql_that_lets_in,
        postgresql_that_is_full,
        postgresql_that_lets_in_and_leaves,
        postgresql_that_lacks_the_database,
        postgresql_that_wants_a_password,
        postgresql_that_has_something_to_say_before,
        postgresql_that_knows_not_this_user,
        postgresql_that_is_starting,
        postgresql_that_cannot_even_start_to,
        postgresql_that_is_not,
        postgresql_that_leaves,
        postgresql_that_leaves_in_the_middle,
        postgresql_that_does_not_come_to_the_point,
        users_can_be_chosen,
        users_are_judged,
        mysql_that_lets_in,
        mysql_that_denies,
        mysql_that_wants_another_password,
        mysql_that_wants_one_of_two_passwords,
        mysql_that_never_has_enough,
        mysql_that_lets_in_after_all,
        mysql_that_asks_and_leaves,
        mysql_that_goes_on_asking,
        mysql_that_is_full,
        mysql_that_has_blocked_us,
        mysql_that_is_old,
        mysql_that_is_not,
        mysql_that_says_nothing_known,
        mysql_that_leaves,
        no_part_of_an_answer_is_one,
        answers_say_how_long_they_are,
        strange_lengths_are_strange,
        errors_without_a_code_are_failures,
    };

    return run_suite("check/presets", begin, end, tests, COUNT(tests));
}
