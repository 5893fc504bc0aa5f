/*
 * One request and its answer on a connection of sluice-load: sending, receiving, judging.
 */
#include <errno.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "load_engine.h"
#include "monotonic.h"
#include "pattern.h"

/* The next bytes to send; NULL when all are sent. */
static const char *next_piece(const struct load_conn *conn, size_t *out_length)
{
    const struct load_engine *engine = conn->engine;
    const struct load_options *options = engine->options;
    uint64_t end = options->upload ? options->upload_bytes : engine->request_lengths[conn->target];
    uint64_t left = end - conn->sent_bytes;

    if (left == 0)
        return NULL;
    if (!options->upload) {
        *out_length = (size_t)left;
        return engine->requests[conn->target] + conn->sent_bytes;
    }
    *out_length = left < PATTERN_CHUNK ? (size_t)left : PATTERN_CHUNK;
    return pattern_at(conn->sent_bytes);
}

static void end_sending(struct load_conn *conn)
{
    struct load_engine *engine = conn->engine;

    if (conn->state == LOAD_CONNECTING) {
        /* An upload of nothing: only an event can say that the connection stands. */
        load_conn_want_write(conn, true);
        return;
    }
    load_conn_want_write(conn, false);
    load_conn_set_state(conn, LOAD_RECEIVING);
    if (engine->options->upload)
        shutdown(conn->fd, SHUT_WR);
}

void load_exchange_begin(struct load_conn *conn)
{
    const struct load_options *options = conn->engine->options;

    conn->sent_bytes = 0;
    if (options->upload)
        answer_begin_raw(&conn->answer);
    else
        answer_begin(&conn->answer, options->verify);
    load_exchange_send(conn);
}

void load_exchange_send(struct load_conn *conn)
{
    struct load_engine *engine = conn->engine;
    const char *piece;
    size_t length;

    for (size_t sent = 0; (piece = next_piece(conn, &length)) != NULL;) {
        ssize_t n = sent < LOAD_TURN_BYTES ? send(conn->fd, piece, length, MSG_NOSIGNAL) : -1;
        if (n < 0 && (sent >= LOAD_TURN_BYTES || errno == EAGAIN || errno == EINTR)) {
            load_conn_want_write(conn, true);
            return;
        }
        if (n < 0) {
            load_conn_fail_errno(conn, errno);
            return;
        }
        if (conn->state == LOAD_CONNECTING)
            load_conn_established(conn);
        if (conn->state != LOAD_SENDING)
            return;
        sent += (size_t)n;
        conn->sent_bytes += (uint64_t)n;
        engine->stats->bytes_out += (uint64_t)n;
        if (engine->upload_hash)
            load_upload_hash_reach(engine->upload_hash, conn->sent_bytes);
        if (engine->options->upload)
            conn->active_ns = monotonic_ns();
    }
    end_sending(conn);
}

/* What is wrong with a whole answer; LOAD_ERROR_COUNT for nothing. */
static enum load_error judge(const struct load_conn *conn)
{
    const struct load_options *options = conn->engine->options;
    const struct answer *answer = &conn->answer;

    if (conn->state == LOAD_SENDING)
        return LOAD_BAD_ANSWER;
    if (options->upload)
        return load_upload_hash_matches(conn->engine->upload_hash, answer->line) ? LOAD_ERROR_COUNT
                                                                                 : LOAD_BAD_BODY;
    if (answer->status < 200 || answer->status >= 400)
        return LOAD_BAD_STATUS;
    if (options->verify && (answer->body_differs || answer->body_bytes != options->body_bytes))
        return LOAD_BAD_BODY;
    return LOAD_ERROR_COUNT;
}

/* After a good answer: what becomes of the connection. ended: the origin's end was seen already. */
static void go_on(struct load_conn *conn, bool ended)
{
    const struct load_options *options = conn->engine->options;

    switch (options->mode) {
    case LOAD_KEEPALIVE:
        if (ended || conn->answer.closes) {
            conn->engine->stats->reopened++;
            load_conn_retire(conn, LOAD_SPARE);
        } else {
            load_conn_set_state(conn, LOAD_READY);
        }
        return;
    case LOAD_HOLD:
        load_conn_set_state(conn, LOAD_HELD);
        return;
    case LOAD_CRC:
    case LOAD_BULK:
    case LOAD_MODE_COUNT:
        break;
    }
    if (ended || options->client_closes)
        load_conn_retire(conn, LOAD_SPARE);
    else
        load_conn_set_state(conn, LOAD_CLOSING);
}

static void complete(struct load_conn *conn, bool ended)
{
    struct load_stats *stats = conn->engine->stats;
    enum load_error error = judge(conn);

    if (error != LOAD_ERROR_COUNT) {
        load_conn_fail(conn, error);
        return;
    }
    stats->requests++;
    histogram_record(&stats->latency_ns, conn->active_ns - conn->job_ns);
    if (conn->answer.origin[0] != '\0')
        load_stats_count_origin(stats, conn->answer.origin);
    conn->has_job = false;
    go_on(conn, ended);
}

static void take_bytes(struct load_conn *conn, const char *data, size_t length)
{
    size_t used = 0;
    enum answer_verdict verdict = ANSWER_BAD;

    if (conn->state == LOAD_HELD)
        return;
    if (conn->state == LOAD_SENDING || conn->state == LOAD_RECEIVING)
        verdict = answer_feed(&conn->answer, data, length, &used);
    if (verdict == ANSWER_DONE && used == length)
        complete(conn, false);
    else if (verdict == ANSWER_DONE || conn->state == LOAD_CLOSING)
        load_conn_fail(conn, LOAD_BAD_BODY);
    else if (verdict == ANSWER_BAD)
        load_conn_fail(conn, LOAD_BAD_ANSWER);
}

static void take_end(struct load_conn *conn)
{
    if (conn->state == LOAD_CLOSING)
        load_conn_retire(conn, LOAD_SPARE);
    else if (conn->state == LOAD_READY || conn->state == LOAD_HELD)
        load_conn_fail(conn, LOAD_EOF_IDLE);
    else if (answer_end(&conn->answer) == ANSWER_DONE)
        complete(conn, true);
    else
        load_conn_fail(conn, LOAD_EOF_EARLY);
}

void load_exchange_receive(struct load_conn *conn)
{
    struct load_engine *engine = conn->engine;
    int fd = conn->fd;

    /* The state may change with each read; another socket may even stand in its place. */
    for (size_t taken = 0; taken < LOAD_TURN_BYTES && conn->fd == fd;) {
        ssize_t n = recv(fd, engine->scratch, sizeof(engine->scratch), 0);
        if (n < 0) {
            if (errno != EAGAIN && errno != EINTR)
                load_conn_fail_errno(conn, errno);
            return;
        }
        conn->active_ns = monotonic_ns();
        if (n == 0) {
            take_end(conn);
            return;
        }
        engine->stats->bytes_in += (uint64_t)n;
        taken += (size_t)n;
        take_bytes(conn, engine->scratch, (size_t)n);
        if ((size_t)n < sizeof(engine->scratch))
            return; /* level-triggered: what came meanwhile makes the next event */
    }
}
