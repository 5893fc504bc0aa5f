/* The messages between processes: every type passes whole, nothing else does. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proc/message.h"

static int pair[2];
static struct message sent, got;

static void setup(void)
{
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair),
                     0);
    memset(&sent, 0, sizeof(sent));
    memset(&got, 0xee, sizeof(got));
}

static void teardown(void)
{
    close(pair[0]);
    close(pair[1]);
}

static const uint32_t types[] = {MESSAGE_SNAPSHOT, MESSAGE_LISTENER, MESSAGE_DRAIN,
                                 MESSAGE_LIST,     MESSAGE_LOG,      MESSAGE_READY,
                                 MESSAGE_HEALTH,   MESSAGE_NOTIFY,   MESSAGE_NOTIFIED,
                                 MESSAGE_LOST,     MESSAGE_CLOSE,    MESSAGE_CLOSING};

START_TEST(every_type_arrives)
{
    int fd;
    sent.type = types[_i];
    sent.number = 7;
    ck_assert_int_eq(message_send(pair[0], &sent, -1), 0);
    ck_assert_int_eq(message_receive(pair[1], &got, &fd), 1);
    ck_assert_uint_eq(got.type, types[_i]);
    ck_assert_uint_eq(got.number, 7);
    ck_assert_int_eq(fd, -1);
    ck_assert_int_eq(message_receive(pair[1], &got, &fd), -EAGAIN);
}
END_TEST

START_TEST(a_descriptor_rides_along)
{
    int fd, null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    sent.type = MESSAGE_LISTENER;
    ck_assert_int_eq(message_send(pair[0], &sent, null), 0);
    ck_assert_int_eq(message_receive(pair[1], &got, &fd), 1);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_ne(fd, null);
    ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    close(fd);
    close(null);
}
END_TEST

START_TEST(a_page_is_as_long_as_its_count)
{
    int fd;
    sent.type = MESSAGE_SESSIONS;
    sent.sessions.count = MESSAGE_PAGE;
    sent.sessions.items[MESSAGE_PAGE - 1].id = 99;
    ck_assert_int_eq(message_send(pair[0], &sent, -1), 0);
    ck_assert_int_eq(message_receive(pair[1], &got, &fd), 1);
    ck_assert_uint_eq(got.sessions.count, MESSAGE_PAGE);
    ck_assert_uint_eq(got.sessions.items[MESSAGE_PAGE - 1].id, 99);
    sent.sessions.count = 0;
    ck_assert_int_eq(message_send(pair[0], &sent, -1), 0);
    ck_assert_int_eq(message_receive(pair[1], &got, &fd), 1);
    ck_assert_uint_eq(got.sessions.count, 0);
}
END_TEST

START_TEST(what_is_not_well_formed_is_refused)
{
    int fd;
    char bytes[512] = {0};
    /* too short for a head */
    ck_assert_int_eq(send(pair[0], bytes, 3, 0), 3);
    ck_assert_int_eq(message_receive(pair[1], &got, &fd), -EPROTO);
    /* an unknown type */
    bytes[0] = 77;
    ck_assert_int_eq(send(pair[0], bytes, MESSAGE_HEAD_BYTES, 0), MESSAGE_HEAD_BYTES);
    ck_assert_int_eq(message_receive(pair[1], &got, &fd), -EPROTO);
    /* a body that is too short for its type */
    bytes[0] = MESSAGE_DRAIN;
    ck_assert_int_eq(send(pair[0], bytes, MESSAGE_HEAD_BYTES + 1, 0), MESSAGE_HEAD_BYTES + 1);
    ck_assert_int_eq(message_receive(pair[1], &got, &fd), -EPROTO);
    /* a page that claims more than it holds */
    bytes[0] = MESSAGE_SESSIONS;
    memset(bytes + MESSAGE_HEAD_BYTES, 0xff, 4);
    ck_assert_int_eq(send(pair[0], bytes, sizeof(bytes), 0), sizeof(bytes));
    ck_assert_int_eq(message_receive(pair[1], &got, &fd), -EPROTO);
}
END_TEST

START_TEST(a_full_channel_says_so_and_recovers)
{
    int fd, n = 0;
    sent.type = MESSAGE_HEALTH;
    while (message_send(pair[0], &sent, -1) == 0) {
        n++;
        ck_assert_int_lt(n, 100000);
    }
    ck_assert_int_eq(message_send(pair[0], &sent, -1), -EAGAIN);
    ck_assert_int_eq(message_receive(pair[1], &got, &fd), 1);
    ck_assert_int_eq(message_send(pair[0], &sent, -1), 0);
}
END_TEST

START_TEST(the_other_end_gone_is_zero)
{
    int fd;
    close(pair[0]);
    ck_assert_int_eq(message_receive(pair[1], &got, &fd), 0);
    pair[0] = -1;
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proc/message");
    TCase *tc = tcase_create("all");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, every_type_arrives, 0, (int)(sizeof(types) / sizeof(types[0])));
    tcase_add_test(tc, a_descriptor_rides_along);
    tcase_add_test(tc, a_page_is_as_long_as_its_count);
    tcase_add_test(tc, what_is_not_well_formed_is_refused);
    tcase_add_test(tc, a_full_channel_says_so_and_recovers);
    tcase_add_test(tc, the_other_end_gone_is_zero);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
