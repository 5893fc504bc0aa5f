/*
 * The modes of sluice-origin that need a few lines each, and the table of all modes. A new mode is
 * a struct origin_mode and a line in that table.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* For an embedded state of known size; only the library's stable functions are called. */
#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>

#include "origin.h"

static void want_input(struct origin_conn *conn)
{
    origin_conn_want(conn, true, false);
}

/*
 * Reads within one turn's budget, handing each piece to take (which may be NULL). Returns 0 while
 * the client may send more, 1 at its end, or a negative errno.
 */
static int read_turn(struct origin_conn *conn, void (*take)(struct origin_conn *, size_t))
{
    struct origin *origin = origin_of(conn);

    for (size_t taken = 0; taken < ORIGIN_TURN_BYTES;) {
        ssize_t n = origin_conn_read(conn, origin->scratch, sizeof(origin->scratch));
        if (n == -EAGAIN)
            return 0;
        if (n <= 0)
            return n == 0 ? 1 : (int)n;
        if (take)
            take(conn, (size_t)n);
        taken += (size_t)n;
    }
    return 0;
}

/* silent: reads, says nothing. */

static void silent_readable(struct origin_conn *conn)
{
    int rc = read_turn(conn, NULL);

    if (rc != 0)
        origin_conn_close(conn, rc > 0 ? "client ended" : "client gone");
}

const struct origin_mode origin_mode_silent = {
    .name = "silent",
    .help = "reads everything, never answers",
    .opened = want_input,
    .readable = silent_readable,
};

/* hang: reads nothing, so all it can learn is that the connection is dead. */

static void hang_readable(struct origin_conn *conn)
{
    if (origin_conn_is_dead(conn))
        origin_conn_close(conn, "client gone");
}

const struct origin_mode origin_mode_hang = {
    .name = "hang",
    .help = "accepts, never reads, answers or closes",
    .opened = origin_conn_watch,
    .readable = hang_readable,
};

/* discard: counts and hashes, tells both at the end. */

static void discard_take(struct origin_conn *conn, size_t length)
{
    XXH64_update((XXH64_state_t *)conn->state, origin_of(conn)->scratch, length);
}

static void discard_opened(struct origin_conn *conn)
{
    XXH64_reset((XXH64_state_t *)conn->state, 0);
    want_input(conn);
}

static void discard_readable(struct origin_conn *conn)
{
    char answer[64];
    int rc = read_turn(conn, discard_take);

    if (rc == 0)
        return;
    if (rc > 0) {
        int length = snprintf(answer, sizeof(answer), "%" PRIu64 " %016" PRIx64 "\n",
                              conn->in_bytes, XXH64_digest((XXH64_state_t *)conn->state));
        /* The first bytes on this connection: they fit, or the client is gone. */
        origin_conn_write(conn, answer, (size_t)length, false);
    }
    origin_conn_close(conn, rc > 0 ? "answered" : "client gone");
}

const struct origin_mode origin_mode_discard = {
    .name = "discard",
    .help = "reads everything; at the end answers \"COUNT XXH64\\n\" (hash in hex, seed 0)",
    .state_size = sizeof(XXH64_state_t),
    .opened = discard_opened,
    .readable = discard_readable,
};

/* chargen, halfclose, reset: send --send bytes of the pattern, then each its own end. */

struct sender {
    uint64_t sent_bytes;
    bool sending;
    bool client_ended;
};

/* Returns 0 once all is sent (nothing is wanted then), 1 later, -1 when the connection is closed.
 */
static int send_all(struct origin_conn *conn, struct sender *sender, bool read_meanwhile)
{
    int rc =
        origin_conn_send_pattern(conn, &sender->sent_bytes, origin_config_of(conn)->send_bytes);

    sender->sending = rc > 0;
    if (rc < 0) {
        origin_conn_close(conn, "client gone");
        return -1;
    }
    origin_conn_want(conn, read_meanwhile, rc > 0);
    return rc;
}

static void chargen_advance(struct origin_conn *conn)
{
    if (send_all(conn, (struct sender *)conn->state, false) == 0)
        origin_conn_finish(conn, ORIGIN_END_DELIVERED);
}

const struct origin_mode origin_mode_chargen = {
    .name = "chargen",
    .help = "sends --send bytes of the pattern, closes when they are delivered",
    .state_size = sizeof(struct sender),
    .opened = chargen_advance,
    .writable = chargen_advance,
};

static void halfclose_advance(struct origin_conn *conn)
{
    struct sender *sender = (struct sender *)conn->state;

    if (send_all(conn, sender, !sender->client_ended) != 0)
        return;
    if (sender->client_ended)
        origin_conn_close(conn, "both sides ended");
    else
        shutdown(conn->fd, SHUT_WR);
}

static void halfclose_readable(struct origin_conn *conn)
{
    struct sender *sender = (struct sender *)conn->state;
    int rc = read_turn(conn, NULL);

    if (rc == 0)
        return;
    sender->client_ended = true;
    if (rc < 0 || !sender->sending)
        origin_conn_close(conn, rc > 0 ? "both sides ended" : "client gone");
    else
        origin_conn_want(conn, false, true);
}

const struct origin_mode origin_mode_halfclose = {
    .name = "halfclose",
    .help = "sends --send bytes, ends its side, reads on until the client's end",
    .state_size = sizeof(struct sender),
    .opened = halfclose_advance,
    .readable = halfclose_readable,
    .writable = halfclose_advance,
};

static void reset_advance(struct origin_conn *conn)
{
    if (send_all(conn, (struct sender *)conn->state, false) == 0)
        origin_conn_finish(conn, ORIGIN_END_RESET);
}

static void reset_opened(struct origin_conn *conn)
{
    if (origin_config_of(conn)->after_bytes == 0)
        reset_advance(conn);
    else
        want_input(conn);
}

static void reset_readable(struct origin_conn *conn)
{
    int rc = read_turn(conn, NULL);

    if (rc < 0)
        origin_conn_close(conn, "client gone");
    else if (rc > 0 || conn->in_bytes >= origin_config_of(conn)->after_bytes)
        reset_advance(conn);
}

const struct origin_mode origin_mode_reset = {
    .name = "reset",
    .help = "reads --after bytes, sends --send bytes, then resets (a Unix socket: closes)",
    .state_size = sizeof(struct sender),
    .opened = reset_opened,
    .readable = reset_readable,
    .writable = reset_advance,
};

const struct origin_mode *const origin_modes[] = {
    &origin_mode_echo,  &origin_mode_http,      &origin_mode_slow,
    &origin_mode_reset, &origin_mode_halfclose, &origin_mode_silent,
    &origin_mode_hang,  &origin_mode_discard,   &origin_mode_chargen,
};

const size_t origin_mode_count = sizeof(origin_modes) / sizeof(origin_modes[0]);
