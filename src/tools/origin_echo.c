/*
 * The modes that send back what they get: echo at once, slow at a limited rate. What the client
 * does not take is held here, at most one read of it, and nothing more is read meanwhile.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "monotonic.h"
#include "origin.h"

#define READ_SIZE        (64 * 1024)
#define ECHO_TURN_BYTES  (4 * READ_SIZE)
#define SLOW_TICK_MIN_NS (20 * NS_PER_MS)

struct echo {
    char *held; /* NULL: nothing is */
    size_t held_length;
    size_t held_sent;
    bool eof;
    uint64_t credit_ns;  /* slow: time that has not been spent on bytes yet */
    uint64_t counted_ns; /* slow: up to when time was added to the credit */
};

enum outcome { PUMP_DRAINED, PUMP_BLOCKED, PUMP_SPENT, PUMP_CLOSED };

static int hold(struct echo *echo, const char *data, size_t length)
{
    if (length == 0)
        return 0;
    echo->held = malloc(length);
    if (!echo->held)
        return -ENOMEM;
    memcpy(echo->held, data, length);
    echo->held_length = length;
    echo->held_sent = 0;
    return 0;
}

/* Returns 0 when nothing is held any more, or a negative errno. */
static int send_held(struct origin_conn *conn, struct echo *echo)
{
    while (echo->held_sent < echo->held_length) {
        ssize_t n = origin_conn_write(conn, echo->held + echo->held_sent,
                                      echo->held_length - echo->held_sent, false);
        if (n < 0)
            return (int)n;
        echo->held_sent += (size_t)n;
    }
    free(echo->held);
    echo->held = NULL;
    echo->held_length = echo->held_sent = 0;
    return 0;
}

static int send_or_hold(struct origin_conn *conn, struct echo *echo, const char *data,
                        size_t length)
{
    ssize_t n = origin_conn_write(conn, data, length, false);

    if (n < 0 && n != -EAGAIN)
        return (int)n;
    size_t sent = n < 0 ? 0 : (size_t)n;
    return hold(echo, data + sent, length - sent);
}

/* Reads and sends back at most so many bytes; *out_read says how many it read. */
static enum outcome pump(struct origin_conn *conn, size_t budget, size_t *out_read)
{
    struct echo *echo = (struct echo *)conn->state;
    char *scratch = origin_of(conn)->scratch;

    *out_read = 0;
    for (;;) {
        int rc = send_held(conn, echo);
        if (rc == -EAGAIN)
            return PUMP_BLOCKED;
        if (rc != 0 || echo->eof) {
            origin_conn_close(conn, rc != 0 ? "client gone" : "echoed all");
            return PUMP_CLOSED;
        }
        if (*out_read >= budget)
            return PUMP_SPENT;
        size_t size = budget - *out_read < READ_SIZE ? budget - *out_read : READ_SIZE;
        ssize_t n = origin_conn_read(conn, scratch, size);
        if (n == -EAGAIN)
            return PUMP_DRAINED;
        echo->eof = n == 0;
        if (n > 0)
            *out_read += (size_t)n;
        if (n < 0 || (n > 0 && send_or_hold(conn, echo, scratch, (size_t)n) != 0)) {
            origin_conn_close(conn, "client gone");
            return PUMP_CLOSED;
        }
    }
}

static void echo_advance(struct origin_conn *conn)
{
    size_t used;
    enum outcome outcome = pump(conn, ECHO_TURN_BYTES, &used);

    if (outcome != PUMP_CLOSED)
        origin_conn_want(conn, outcome != PUMP_BLOCKED, outcome == PUMP_BLOCKED);
}

static void echo_opened(struct origin_conn *conn)
{
    origin_conn_want(conn, true, false);
}

static void echo_closed(struct origin_conn *conn)
{
    struct echo *echo = (struct echo *)conn->state;

    free(echo->held);
    echo->held = NULL;
}

/* The interval in which the rate is spent: never shorter than what one byte takes. */
static uint64_t tick_ns(uint64_t rate)
{
    uint64_t byte_ns = NS_PER_SECOND / rate + 1;
    return byte_ns > SLOW_TICK_MIN_NS ? byte_ns : SLOW_TICK_MIN_NS;
}

/*
 * A token bucket counted in time: waiting earns credit, up to two ticks of it, and each byte spends
 * 1/rate of a second. Bytes not read yet stay in the kernel and press back on the client.
 */
static void slow_advance(struct origin_conn *conn)
{
    struct echo *echo = (struct echo *)conn->state;
    uint64_t rate = origin_config_of(conn)->rate;
    uint64_t now_ns = monotonic_ns();
    size_t used;

    echo->credit_ns += now_ns - echo->counted_ns;
    echo->counted_ns = now_ns;
    if (echo->credit_ns > 2 * tick_ns(rate))
        echo->credit_ns = 2 * tick_ns(rate);
    uint64_t budget = (uint64_t)((unsigned __int128)echo->credit_ns * rate / NS_PER_SECOND);
    enum outcome outcome = pump(conn, budget < SIZE_MAX ? (size_t)budget : SIZE_MAX, &used);
    if (outcome == PUMP_CLOSED)
        return;
    echo->credit_ns -= (uint64_t)((unsigned __int128)used * NS_PER_SECOND / rate);
    origin_conn_want(conn, outcome == PUMP_DRAINED, outcome == PUMP_BLOCKED);
    if (outcome == PUMP_SPENT)
        origin_conn_wait(conn, tick_ns(rate));
}

static void slow_opened(struct origin_conn *conn)
{
    struct echo *echo = (struct echo *)conn->state;

    echo->counted_ns = monotonic_ns();
    origin_conn_want(conn, true, false);
}

const struct origin_mode origin_mode_echo = {
    .name = "echo",
    .help = "sends back every byte; closes its side after the client's end",
    .state_size = sizeof(struct echo),
    .opened = echo_opened,
    .readable = echo_advance,
    .writable = echo_advance,
    .closed = echo_closed,
};

const struct origin_mode origin_mode_slow = {
    .name = "slow",
    .help = "echo, reading and answering --rate bytes per second",
    .state_size = sizeof(struct echo),
    .opened = slow_opened,
    .readable = slow_advance,
    .writable = slow_advance,
    .timed = slow_advance,
    .closed = echo_closed,
};
