/*
 * Sessions with a framing that come to own their upstream: from then on bytes flow both ways unread
 * until its end, as they would without reuse. Framers say so of what clients ask; and here it is
 * said of clients that ask on without reading. One that reads its answers only when it has sent all
 * its questions would wait for ever for us, who take no question before the answers to the last
 * one are taken. How much may be on its way like that is between it and the server. In a worker.
 */
#include <sys/socket.h>

#include "buffer.h"
#include "exchange.h"

/* So long a client may take nothing of what is there for it, while it has more to ask, and still
 * counts as one that is about to read. */
#define PATIENCE_MS 250

void exchange_own(struct session *s, const char *why)
{
    s->exchange->phase = PHASE_OWNED;
    upstream_pin(s, why);
}

/* --- passing on what is in hand --- */

static enum step pass_held(struct session *s, struct held *held, struct leg *to)
{
    struct buffer *buffer = held->buffer;
    if (buffer == NULL || to->pending != NULL) {
        return buffer == NULL ? STEP_ON : STEP_WAIT;
    }
    held->buffer = NULL;
    if (to == s->backend) {
        relay_account(s, &s->client, buffer->end - buffer->at);
    }
    bool is_sent = relay_deliver(s, to, buffer->bytes + buffer->at, buffer->end - buffer->at);
    buffer_free(s->proxy, buffer);
    return is_sent ? STEP_ON : STEP_OVER;
}

/* Then leaves the session to the relay. A peer that does not take what is in hand for it keeps
 * nobody else waiting. */
enum step exchange_work_owned(struct session *s)
{
    struct exchange *ex = s->exchange;
    enum step to_backend = pass_held(s, &ex->client, s->backend);
    if (to_backend == STEP_OVER) {
        return STEP_OVER;
    }
    enum step to_client = pass_held(s, &ex->backend, &s->client);
    if (to_client == STEP_OVER) {
        return STEP_OVER;
    }
    if (to_client == STEP_ON && to_backend == STEP_ON) {
        exchange_free(s);
        s->state = SESSION_OPEN;
        session_set_timer(s);
        relay_work(s);
        return STEP_OVER;
    }
    bool is_sound = (to_backend == STEP_WAIT || relay_pump(s, &s->client, s->backend)) &&
                    (to_client == STEP_WAIT || relay_pump(s, s->backend, &s->client));
    return is_sound ? STEP_WAIT : STEP_OVER;
}

/* --- clients that ask on without reading --- */

/* Whether something is there for the client that it does not take, and something of it is not read
 * for that reason. One that has ended its sending is not kept from reading. */
static bool is_blocked(const struct session *s)
{
    const struct exchange *ex = s->exchange;
    const struct leg *client = &s->client;
    bool is_full = client->pending != NULL || client->starved;
    bool has_more = ex->client.buffer != NULL || client->readable;
    bool is_asking = ex->phase == PHASE_ASKING && ex->asked && !ex->must_read && !ex->is_deaf;
    return is_full && has_more && (is_asking || ex->phase == PHASE_BETWEEN) && !client->ended &&
           !client->closing;
}

uint64_t exchange_due_ms(const struct session *s)
{
    const struct exchange *ex = s->exchange;
    if (ex == NULL) {
        return UINT64_MAX;
    }
    if (ex->phase == PHASE_LEAVING && ex->is_cut && s->client.pending == NULL) {
        return ex->linger_until_ms;
    }
    return is_blocked(s) ? s->active_ms + PATIENCE_MS : UINT64_MAX;
}

enum step exchange_unblock_client(struct session *s)
{
    static const char why[] = "sending without reading";
    struct proxy *proxy = s->proxy;
    char byte;
    if (!is_blocked(s)) {
        return STEP_WAIT;
    }
    uint64_t due_ms = s->active_ms + PATIENCE_MS;
    if (proxy->now_ms < due_ms) {
        if (!wheel_fires_by(&s->timer, due_ms)) {
            wheel_set(&proxy->wheel, &s->timer, due_ms);
        }
        return STEP_WAIT;
    }
    if (s->exchange->client.buffer == NULL) {
        ssize_t n = recv(s->client.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
        if (n <= 0) {
            return relay_read_nothing(s, &s->client, n) ? STEP_WAIT : STEP_OVER;
        }
    }
    if (s->exchange->phase == PHASE_BETWEEN) {
        return exchange_ask_unread(s, why);
    }
    exchange_own(s, why);
    return STEP_ON;
}
