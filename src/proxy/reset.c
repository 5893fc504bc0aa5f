/*
 * The reset exchange of pools with reuse mode session and no framing: once the client has ended,
 * the backend is sent what makes it forget the client, and must answer with exactly what the pool
 * expects and nothing behind it. Until then the last bytes that came are held back, so that the
 * client gets all of its answer and none of this one. In a worker.
 *
 * That answer is told from the client's bytes by nothing but what it is and where it ends. With a
 * nonce in it that is a proof; without one, whoever can have the backend say the same at the end of
 * a segment passes for it.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/nonce.h"
#include "splice.h"
#include "throttle.h"
#include "upstream.h"

static_assert(REUSE_RESET_BYTES_MAX <= RELAY_SCRATCH_BYTES, "what is sent has to fit");

/* The backend must have spoken last, after everything of the client's was written to it: then, in a
 * protocol of questions and answers, nothing more is to be expected of it but the answer to the
 * reset. */
bool reset_is_due(const struct session *s)
{
    if (s->upstream == NULL || s->upstream->private || upstream_is_switched_off(s->upstream)) {
        return false;
    }
    const struct snapshot_reuse *reuse = upstream_reuse(s->upstream);
    if (reuse == NULL || reuse->mode != REUSE_SESSION || reuse->reset_send_bytes == 0) {
        return false;
    }
    if (s->was_greeted) {
        upstream_switch_off(s->upstream, REUSE_SPEAKS_FIRST);
        return false;
    }
    return !s->backend->ended && !s->backend->closing && (s->backend_spoke || s->bytes_in == 0);
}

/* The answer that is waited for: as it was when the reset was sent, whatever has been configured
 * since. */
static const unsigned char *expected(const struct upstream *u)
{
    return u->tail + u->n_expected;
}

/* How many of the bytes held back are the client's, now that they are not the expected answer: all
 * but those at the end that may be its beginning. */
static size_t count_own(const struct upstream *u)
{
    size_t n = 0;
    while (n < u->n_tail && memcmp(u->tail + n, expected(u), u->n_tail - n) != 0) {
        n++;
    }
    return n;
}

/* The client, who has taken all that came before, still gets what is its own. */
static void fail(struct session *s)
{
    size_t n = count_own(s->upstream);
    if (n > 0) {
        relay_account(s, s->backend, n);
        if (!relay_deliver(s, &s->client, s->upstream->tail, n)) {
            return;
        }
    }
    upstream_discard(s, DISCARD_RESET_FAILED, true);
    if (s->client.pending == NULL) {
        session_finish(s, ENDING_CLIENT_FIN);
    }
}

/* Notes what to wait for, and writes what is to be sent to out. Returns how many bytes that is; 0:
 * without memory or randomness it cannot be done. */
static size_t prepare(struct upstream *u, char *out)
{
    const struct snapshot_header *snapshot = u->proxy->snapshot;
    const struct snapshot_reuse *reuse = upstream_reuse(u);
    const char *expect = snapshot_text(snapshot, reuse->reset_expect);
    size_t n_expected = nonce_put(expect, reuse->reset_expect_bytes, NULL, NULL);
    char nonce[NONCE_BYTES];
    if (nonce_make(nonce) < 0) {
        return 0;
    }
    u->tail = malloc(2 * n_expected);
    if (u->tail == NULL) {
        return 0;
    }
    u->n_expected = (uint32_t)n_expected;
    nonce_put(expect, reuse->reset_expect_bytes, nonce, (char *)u->tail + n_expected);
    return nonce_put(snapshot_text(snapshot, reuse->reset_send), reuse->reset_send_bytes, nonce,
                     out);
}

bool reset_begin(struct session *s)
{
    struct proxy *proxy = s->proxy;
    struct upstream *u = s->upstream;
    size_t n = prepare(u, (char *)proxy->scratch);
    if (n == 0) {
        return false;
    }
    relay_hurry(&u->leg, n);
    ssize_t sent = send(u->leg.fd, proxy->scratch, n, MSG_NOSIGNAL);
    if (sent <= 0) {
        return false;
    }
    if (sent != (ssize_t)n) {
        session_finish(s, ENDING_BACKEND_RESET); /* it is being told nonsense */
        return true;
    }
    s->is_resetting = true;
    splice_stop(s);
    s->state = SESSION_CLIENT_ENDED;
    s->active_ms = proxy->now_ms;
    wheel_set(&proxy->wheel, &s->timer, proxy->now_ms + RESET_TIMEOUT_MS);
    if (s->client.registered || relay_register(s, &s->client)) {
        (void)(s->backend->registered || relay_register(s, s->backend));
    }
    return true;
}

/* The backend has so long from the last byte on; where the client takes its time, that is as in any
 * session. */
void reset_timed_out(struct session *s)
{
    struct proxy *proxy = s->proxy;
    bool waits_for_client = s->client.pending != NULL || s->client.starved;
    uint64_t limit_ms = waits_for_client ? s->half_close_timeout_ms : RESET_TIMEOUT_MS;
    if (limit_ms == 0 || proxy->now_ms - s->active_ms < limit_ms) {
        uint64_t from_ms = waits_for_client ? proxy->now_ms : s->active_ms;
        wheel_set(&proxy->wheel, &s->timer, from_ms + RESET_TIMEOUT_MS);
    } else if (waits_for_client && session_is_draining(s)) {
        s->active_ms = proxy->now_ms;
        wheel_set(&proxy->wheel, &s->timer, proxy->now_ms + RESET_TIMEOUT_MS);
    } else if (waits_for_client) {
        session_finish(s, ENDING_HALF_CLOSE_TIMEOUT);
    } else {
        fail(s);
    }
}

/* Passes on all but the last bytes that there may be of the expected answer. */
static bool take(struct session *s, size_t n)
{
    struct upstream *u = s->upstream;
    const unsigned char *bytes = s->proxy->scratch;
    size_t n_tail = n < u->n_expected ? n : u->n_expected;
    memcpy(u->tail, bytes + n - n_tail, n_tail);
    u->n_tail = (uint32_t)n_tail;
    s->active_ms = s->proxy->now_ms;
    if (n == n_tail) {
        return true;
    }
    relay_account(s, s->backend, n - n_tail);
    return relay_deliver(s, &s->client, bytes, n - n_tail);
}

void reset_work(struct session *s)
{
    struct upstream *u = s->upstream;
    if (!relay_flush(s, &s->client) || s->client.pending != NULL) {
        return;
    }
    if (u == NULL) { /* it has failed: only the client's last bytes were waited for */
        session_finish(s, ENDING_CLIENT_FIN);
        return;
    }
    for (size_t left = RELAY_BUDGET_BYTES;
         s->backend->readable && s->client.pending == NULL && !throttle_holds_back(s, &s->client);
         left -= RELAY_SCRATCH_BYTES) {
        if (left == 0) {
            session_make_ready(s);
            return;
        }
        memcpy(s->proxy->scratch, u->tail, u->n_tail);
        size_t room = throttle_room(s->proxy, u->n_tail);
        ssize_t n = recv(s->backend->fd, s->proxy->scratch + u->n_tail, room, 0);
        if (n < 0 && errno == EAGAIN) {
            s->backend->readable = false;
            s->backend->suspect = false;
        } else if (n <= 0) {
            fail(s);
            return;
        } else if (!take(s, (size_t)n + u->n_tail)) {
            return;
        }
    }
    if (s->client.pending == NULL && u->n_tail == u->n_expected &&
        memcmp(u->tail, expected(u), u->n_tail) == 0) {
        upstream_give_back(s, (struct framing_bytes){0});
        session_finish(s, ENDING_CLIENT_FIN);
    }
}
