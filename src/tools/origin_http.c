/*
 * Mode http: HTTP/1.1 with keep-alive and pipelining, HTTP/1.0, bodies swallowed, answers made by
 * the routes in origin_routes.c. Per connection only a phase and counters live while it is idle;
 * the two buffers exist while there is something in them.
 */
#include "origin_http.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "monotonic.h"

#define STEPS_PER_TURN 64
#define CHUNK_BYTES    (64 * 1024)

enum step {
    STEP_ON,    /* something was done: go on with the phase as it is now */
    STEP_READ,  /* nothing to do before more input */
    STEP_WRITE, /* nothing to do before the client takes output */
    STEP_SLEEP, /* nothing to do before the timer */
    STEP_GONE,  /* the connection is closed or handed over: do not touch it */
};

static struct http_conn *http_of(struct origin_conn *conn)
{
    return (struct http_conn *)conn->state;
}

/* What is in the buffers. */

static bool ensure_buffers(struct http_conn *http)
{
    if (!http->buffers)
        http->buffers = malloc(sizeof(*http->buffers));
    return http->buffers != NULL;
}

static void release_idle_buffers(struct http_conn *http)
{
    if (http->in_length == 0 && http->out_length == 0) {
        free(http->buffers);
        http->buffers = NULL;
        http->in_used = http->out_sent = 0;
    }
}

static const char *input(const struct http_conn *http)
{
    return http->buffers->in + http->in_used;
}

static void consume(struct http_conn *http, size_t length)
{
    http->in_used += length;
    http->in_length -= length;
    http->scanned = 0;
    if (http->in_length == 0)
        http->in_used = 0;
}

static enum step gone(struct origin_conn *conn, const char *reason)
{
    origin_conn_close(conn, reason);
    return STEP_GONE;
}

/* Sends what is queued. STEP_ON: nothing is left. more: body follows at once. */
static enum step flush(struct origin_conn *conn, bool more)
{
    struct http_conn *http = http_of(conn);

    while (http->out_length > 0) {
        ssize_t n =
            origin_conn_write(conn, http->buffers->out + http->out_sent, http->out_length, more);
        if (n == -EAGAIN)
            return STEP_WRITE;
        if (n < 0)
            return gone(conn, "client gone");
        http->out_sent += (size_t)n;
        http->out_length -= (size_t)n;
    }
    http->out_sent = 0;
    return STEP_ON;
}

/* Reads more input behind what is there, having sent all that is queued. */
static enum step fill(struct origin_conn *conn)
{
    struct http_conn *http = http_of(conn);
    enum step flushed = flush(conn, false);

    if (flushed != STEP_ON)
        return flushed;
    if (!ensure_buffers(http))
        return gone(conn, "out of memory");
    if (http->in_used > 0) {
        memmove(http->buffers->in, input(http), http->in_length);
        http->in_used = 0;
    }
    ssize_t n = origin_conn_read(conn, http->buffers->in + http->in_length,
                                 HTTP_HEAD_MAX - http->in_length);
    if (n == -EAGAIN)
        return STEP_READ;
    if (n < 0)
        return gone(conn, "client gone");
    http->eof |= n == 0;
    http->in_length += (size_t)n;
    return STEP_ON;
}

/* Answers. */

/* The caller has seen to the room. */
__attribute__((format(printf, 2, 3))) static void queue(struct http_conn *http, const char *format,
                                                        ...)
{
    size_t at = http->out_sent + http->out_length;
    va_list args;

    va_start(args, format);
    int length = vsnprintf(http->buffers->out + at, HTTP_OUT_SIZE - at, format, args);
    va_end(args);
    assert(length >= 0 && (size_t)length < HTTP_OUT_SIZE - at);
    http->out_length += (size_t)length;
}

static const char *reason_phrase(unsigned status)
{
    static const struct {
        unsigned status;
        const char *phrase;
    } phrases[] = {
        {200, "OK"},
        {204, "No Content"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {414, "URI Too Long"},
        {431, "Request Header Fields Too Large"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
    };

    for (size_t i = 0; i < sizeof(phrases) / sizeof(phrases[0]); i++)
        if (phrases[i].status == status)
            return phrases[i].phrase;
    return "Status";
}

static void queue_head(struct origin_conn *conn, unsigned status, const char *type,
                       enum http_framing framing, uint64_t length)
{
    struct http_conn *http = http_of(conn);
    const struct request *request = &http->request;

    if (framing == HTTP_UNTIL_CLOSE || (framing == HTTP_CHUNKED && request->http10))
        http->request.keep_alive = false;
    queue(http, "HTTP/1.1 %u %s\r\nX-Origin: %s\r\n", status, reason_phrase(status),
          conn->listener->name);
    if (framing == HTTP_CHUNKED && !request->http10)
        queue(http, "Transfer-Encoding: chunked\r\n");
    else if (framing == HTTP_COUNTED)
        queue(http, "Content-Length: %" PRIu64 "\r\n", length);
    if (!request->keep_alive)
        queue(http, "Connection: close\r\n");
    else if (request->http10)
        queue(http, "Connection: keep-alive\r\n");
    queue(http, "Content-Type: %s\r\n\r\n", type);
}

void http_answer(struct origin_conn *conn, unsigned status, const char *format, ...)
{
    struct http_conn *http = http_of(conn);
    char body[HTTP_TEXT_MAX];
    va_list args;

    va_start(args, format);
    int length = vsnprintf(body, sizeof(body), format, args);
    va_end(args);
    if (length < 0 || (size_t)length >= sizeof(body))
        length = (int)strlen(body);
    bool bodiless = status == 204 || status == 304;
    queue_head(conn, status, "text/plain", bodiless ? HTTP_BODILESS : HTTP_COUNTED,
               (uint64_t)length);
    if (!bodiless && http->request.method != REQUEST_HEAD)
        queue(http, "%s", body);
    http->phase = http->request.keep_alive ? HTTP_READING_HEAD : HTTP_ENDING;
}

void http_stream(struct origin_conn *conn, enum http_framing framing, uint64_t length)
{
    struct http_conn *http = http_of(conn);

    queue_head(conn, 200, "application/octet-stream", framing, length);
    http->streaming = http->request.method != REQUEST_HEAD;
    http->chunking = framing == HTTP_CHUNKED && !http->request.http10;
    http->stream_offset = http->chunk_end = 0;
    http->stream_end = length;
    http->phase = HTTP_STREAMING;
}

void http_sleep(struct origin_conn *conn, uint64_t span_ns)
{
    struct http_conn *http = http_of(conn);

    http->awake = false;
    http->wake_ns = monotonic_ns() + span_ns;
    http->phase = HTTP_SLEEPING;
    origin_conn_wait(conn, span_ns);
}

/* An answer after which nothing that the client sent can be understood. */
static enum step refuse(struct origin_conn *conn, unsigned status, const char *problem)
{
    struct http_conn *http = http_of(conn);

    http->refused = true;
    http->request = (struct request){.method = REQUEST_GET};
    http_answer(conn, status, "%s\n", problem);
    return STEP_ON;
}

/* Phases. */

static void begin_body(struct http_conn *http)
{
    http->chunked = (struct chunked){0};
    http->body_left = http->request.content_length;
    http->body_bytes = 0;
    http->phase = HTTP_READING_BODY;
    if (http->request.expects_continue && http->in_length == 0 &&
        (http->body_left > 0 || http->request.chunked))
        queue(http, "HTTP/1.1 100 Continue\r\n\r\n");
}

static void skip_empty_lines(struct http_conn *http)
{
    while (http->in_length >= 2 && memcmp(input(http), "\r\n", 2) == 0)
        consume(http, 2);
}

/* Length of the head that is there in full, else 0; looks at each byte once. */
static size_t find_head(struct http_conn *http)
{
    size_t skip = http->scanned > 3 ? http->scanned - 3 : 0;
    size_t found = request_head_length(input(http) + skip, http->in_length - skip);

    http->scanned = http->in_length;
    return found > 0 ? found + skip : 0;
}

static enum step read_head(struct origin_conn *conn)
{
    struct http_conn *http = http_of(conn);
    const char *problem;
    size_t length = 0;

    if (http->buffers) {
        skip_empty_lines(http);
        length = find_head(http);
    }
    if (length == 0) {
        if (http->in_length >= HTTP_HEAD_MAX)
            return refuse(conn, 431, "request head over 8192 bytes");
        if (!http->eof)
            return fill(conn);
        http->phase = HTTP_ENDING;
        return STEP_ON;
    }
    /* Room for any answer, so that nothing below has to wait. */
    if (HTTP_OUT_SIZE - http->out_sent - http->out_length < HTTP_ANSWER_MAX) {
        enum step flushed = flush(conn, false);
        if (flushed != STEP_ON)
            return flushed;
    }
    unsigned status = request_parse(input(http), length, &http->request, &problem);
    consume(http, length);
    if (status != 0)
        return refuse(conn, status, problem);
    conn->listener->counters.requests++;
    begin_body(http);
    return STEP_ON;
}

static enum step swallow_chunked(struct origin_conn *conn)
{
    struct http_conn *http = http_of(conn);
    struct chunked_span span;
    size_t used;
    int rc = chunked_decode(&http->chunked, input(http), http->in_length, &used, &span);

    if (rc < 0)
        return refuse(conn, 400, "malformed chunked body");
    consume(http, used);
    http->body_bytes += span.length;
    if (rc == 1)
        http_route(conn);
    return STEP_ON;
}

/* A counted body: what is buffered, then straight from the socket, never past its end. */
static enum step swallow_counted(struct origin_conn *conn)
{
    struct http_conn *http = http_of(conn);
    struct origin *origin = origin_of(conn);
    uint64_t taken = http->in_length < http->body_left ? http->in_length : http->body_left;

    if (taken > 0) {
        consume(http, (size_t)taken);
    } else {
        enum step flushed = flush(conn, false);
        if (flushed != STEP_ON)
            return flushed;
        size_t size = sizeof(origin->scratch);
        if (http->body_left < size)
            size = (size_t)http->body_left;
        ssize_t n = origin_conn_read(conn, origin->scratch, size);
        if (n == -EAGAIN)
            return STEP_READ;
        if (n <= 0)
            return gone(conn, "client gone within a body");
        taken = (uint64_t)n;
    }
    http->body_left -= taken;
    http->body_bytes += taken;
    return STEP_ON;
}

static enum step read_body(struct origin_conn *conn)
{
    struct http_conn *http = http_of(conn);

    if (http->request.chunked) {
        if (http->in_length > 0)
            return swallow_chunked(conn);
        if (http->eof)
            return gone(conn, "client gone within a body");
        return fill(conn);
    }
    if (http->body_left > 0)
        return swallow_counted(conn);
    if (!ensure_buffers(http))
        return gone(conn, "out of memory");
    http_route(conn);
    return STEP_ON;
}

/* Starts the next chunk, or queues what closes the last one. Returns false when all is over. */
static bool next_chunk(struct http_conn *http)
{
    uint64_t left = http->stream_end - http->stream_offset;
    uint64_t piece = left < CHUNK_BYTES ? left : CHUNK_BYTES;

    if (http->stream_offset > 0)
        queue(http, "\r\n");
    if (left > 0)
        queue(http, "%" PRIx64 "\r\n", piece);
    else
        queue(http, "0\r\n\r\n");
    http->chunk_end = http->stream_offset + piece;
    return left > 0;
}

static enum step end_stream(struct http_conn *http)
{
    http->streaming = false;
    http->phase = http->request.keep_alive ? HTTP_READING_HEAD : HTTP_ENDING;
    return STEP_ON;
}

static enum step stream(struct origin_conn *conn)
{
    struct http_conn *http = http_of(conn);

    if (!http->streaming)
        return end_stream(http);
    if (http->chunking && http->stream_offset == http->chunk_end) {
        enum step flushed = flush(conn, true);
        if (flushed != STEP_ON)
            return flushed;
        if (!ensure_buffers(http))
            return gone(conn, "out of memory");
        if (!next_chunk(http))
            return end_stream(http);
    }
    uint64_t end = http->chunking ? http->chunk_end : http->stream_end;
    enum step flushed = flush(conn, end > http->stream_offset);
    if (flushed != STEP_ON)
        return flushed;
    int rc = origin_conn_send_pattern(conn, &http->stream_offset, end);
    if (rc < 0)
        return gone(conn, "client gone");
    if (rc > 0)
        return STEP_WRITE;
    return http->chunking ? STEP_ON : end_stream(http);
}

/* Input is read meanwhile as far as it fits, for only reading shows that the client is gone. */
static enum step sleep_on(struct origin_conn *conn)
{
    struct http_conn *http = http_of(conn);

    if (http->awake) {
        if (!ensure_buffers(http))
            return gone(conn, "out of memory");
        http_route_awake(conn);
        return STEP_ON;
    }
    enum step flushed = flush(conn, false);
    if (flushed != STEP_ON)
        return flushed;
    if (http->eof || http->in_length >= HTTP_HEAD_MAX)
        return STEP_SLEEP;
    return fill(conn);
}

static enum step end(struct origin_conn *conn)
{
    struct http_conn *http = http_of(conn);
    enum step flushed = flush(conn, false);
    int unread = 0;

    if (flushed != STEP_ON)
        return flushed;
    /* Closing over unread input would reset the connection and take our answer with it. After a
     * refusal there is no telling what is still on its way. */
    bool quiet = !http->refused && http->in_length == 0 &&
                 ioctl(conn->fd, FIONREAD, &unread) == 0 && unread == 0;
    if (http->eof || quiet)
        return gone(conn, "answered, closing");
    origin_conn_finish(conn, ORIGIN_END_LINGER);
    return STEP_GONE;
}

static void http_advance(struct origin_conn *conn)
{
    static enum step (*const phases[HTTP_PHASE_COUNT])(struct origin_conn *) = {
        [HTTP_READING_HEAD] = read_head,
        [HTTP_READING_BODY] = read_body,
        [HTTP_SLEEPING] = sleep_on,
        [HTTP_STREAMING] = stream,
        [HTTP_ENDING] = end,
    };
    struct http_conn *http = http_of(conn);
    enum step step = STEP_ON;

    for (unsigned i = 0; i < STEPS_PER_TURN && step == STEP_ON; i++)
        step = phases[http->phase](conn);
    if (step == STEP_GONE)
        return;
    release_idle_buffers(http);
    /* A spent turn waits for writability: it comes at once, after the others had theirs. */
    origin_conn_want(conn, step == STEP_READ, step == STEP_WRITE || step == STEP_ON);
}

static void http_timed(struct origin_conn *conn)
{
    struct http_conn *http = http_of(conn);
    uint64_t now_ns = monotonic_ns();

    /* The loop's clock is a coarse one: never answer early. */
    http->awake = now_ns >= http->wake_ns;
    if (http->awake)
        http_advance(conn);
    else
        origin_conn_wait(conn, http->wake_ns - now_ns);
}

static void http_opened(struct origin_conn *conn)
{
    origin_conn_want(conn, true, false);
}

static void http_closed(struct origin_conn *conn)
{
    struct http_conn *http = http_of(conn);

    free(http->buffers);
    http->buffers = NULL;
}

const struct origin_mode origin_mode_http = {
    .name = "http",
    .help = "HTTP/1.1 and HTTP/1.0, see below",
    .state_size = sizeof(struct http_conn),
    .opened = http_opened,
    .readable = http_advance,
    .writable = http_advance,
    .timed = http_timed,
    .closed = http_closed,
};
