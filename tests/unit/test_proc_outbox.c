/* What waits for an end that does not read: in order, bounded, and what is lost is told. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proc/outbox.h"

#define LIMIT 50

static int pair[2]; /* ours, the other end */
static struct event_base *base;
static struct outbox *outbox;
static struct message sent, got;

static void setup(void)
{
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair),
                     0);
    base = event_base_new();
    outbox = outbox_create(base, pair[0], LIMIT);
    ck_assert_ptr_nonnull(outbox);
}

static void teardown(void)
{
    outbox_destroy(outbox);
    event_base_free(base);
    close(pair[0]);
    close(pair[1]);
}

static void send_health(uint32_t number)
{
    sent.type = MESSAGE_HEALTH;
    sent.number = number;
    sent.health.next_check_ms = number;
    outbox_send(outbox, &sent);
}

/* Fills the channel by itself. Returns how many it took. */
static uint32_t fill_channel(void)
{
    uint32_t n = 0;
    sent.type = MESSAGE_HEALTH;
    for (; sent.number = n, message_send(pair[0], &sent, -1) == 0; n++)
        ck_assert_uint_lt(n, 100000);
    return n;
}

static bool receive(void)
{
    int fd;
    int error = message_receive(pair[1], &got, &fd);
    ck_assert(error == 1 || error == -EAGAIN);
    return error == 1;
}

/* The next one, after as many turns of the loop as it may need. */
static void expect(uint32_t type, uint32_t number)
{
    bool is_there = receive();
    if (!is_there) {
        event_base_loop(base, EVLOOP_NONBLOCK);
        is_there = receive();
    }
    ck_assert(is_there);
    ck_assert_uint_eq(got.type, type);
    ck_assert_uint_eq(got.number, number);
}

START_TEST(an_open_channel_takes_it_at_once)
{
    send_health(1);
    outbox_send_number(outbox, MESSAGE_READY, 2);
    expect(MESSAGE_HEALTH, 1);
    expect(MESSAGE_READY, 2);
    ck_assert(!receive());
    ck_assert_int_eq(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED), 0);
}
END_TEST

START_TEST(a_full_one_takes_it_later_in_order)
{
    uint32_t n = fill_channel();
    send_health(n);
    outbox_send_number(outbox, MESSAGE_NOTIFIED, n + 1);
    send_health(n + 2);
    for (uint32_t i = 0; i <= n; i++)
        expect(MESSAGE_HEALTH, i);
    ck_assert_uint_eq(got.health.next_check_ms, n); /* all of it has come */
    expect(MESSAGE_NOTIFIED, n + 1);
    expect(MESSAGE_HEALTH, n + 2);
    event_base_loop(base, EVLOOP_NONBLOCK);
    ck_assert(!receive());
    ck_assert_int_eq(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED), 0);
}
END_TEST

/* Whoever sends after the channel is free again does not overtake. */
START_TEST(what_comes_later_waits_its_turn)
{
    uint32_t n = fill_channel();
    send_health(n);
    for (uint32_t i = 0; i < n; i++)
        expect(MESSAGE_HEALTH, i);
    send_health(n + 1); /* no turn of the loop in between */
    ck_assert(receive());
    ck_assert_uint_eq(got.number, n);
    ck_assert(receive());
    ck_assert_uint_eq(got.number, n + 1);
}
END_TEST

START_TEST(beyond_the_limit_the_oldest_stay)
{
    uint32_t n = fill_channel();
    for (uint32_t i = 0; i < LIMIT + 7; i++)
        send_health(n + i);
    outbox_send_number(outbox, MESSAGE_READY, 1); /* never lost */
    for (uint32_t i = 0; i < n + LIMIT; i++)
        expect(MESSAGE_HEALTH, i);
    expect(MESSAGE_READY, 1);
    expect(MESSAGE_LOST, 7);
    send_health(5);
    expect(MESSAGE_HEALTH, 5);
    ck_assert(!receive());
}
END_TEST

START_TEST(a_broken_channel_is_no_end)
{
    close(pair[1]);
    pair[1] = -1;
    send_health(1);
    outbox_send_number(outbox, MESSAGE_READY, 1);
    ck_assert_int_eq(event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proc/outbox");
    TCase *tc = tcase_create("outbox");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, an_open_channel_takes_it_at_once);
    tcase_add_test(tc, a_full_one_takes_it_later_in_order);
    tcase_add_test(tc, what_comes_later_waits_its_turn);
    tcase_add_test(tc, beyond_the_limit_the_oldest_stay);
    tcase_add_test(tc, a_broken_channel_is_no_end);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
