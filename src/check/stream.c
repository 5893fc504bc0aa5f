/*
 * Connections of checks, on libevent's bufferevents: plain, or TLS by OpenSSL. The socket is opened
 * and connected here, so that what is missing on our side is told apart from what is wrong with the
 * backend; a bufferevent gets it once it is connected. In the monitor.
 */
#include "check/stream.h"

#include <errno.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event_struct.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "check/preamble.h"

#define LINGER_BYTES_MAX (64 * 1024) /* that a lingering peer may still say */

/* Deferred, because OpenSSL's kind reads on, and would call back within a call, as soon as input is
 * taken. */
#define WRAP_OPTIONS (BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS)

struct check_stream {
    struct event event; /* connecting: the socket's, or a failed connect's; lingering: time is up */
    struct bufferevent *bufferevent; /* NULL while connecting */
    int fd;                          /* valid while connecting */
    SSL *ssl;                        /* likewise, NULL without TLS */
    int error;                       /* of connect(), when it failed at once */
    struct addr address;
    enum send_proxy send_proxy;
    size_t input_max;
    stream_fn *fn;
    void *arg;
    size_t dropped_bytes; /* while lingering */
    bool is_tls, is_open, is_lingering, half_close;
    bool is_full; /* input_max bytes are in the input, and reading is off */
};

bool stream_meets_itself(int fd, const struct addr *address)
{
    struct sockaddr_storage storage;
    socklen_t len = sizeof(storage);
    struct addr_ip own;

    if (address->ip.family == ADDR_UNIX ||
        getsockname(fd, (struct sockaddr *)&storage, &len) != 0) {
        return false;
    }
    addr_ip_from_sockaddr((const struct sockaddr *)&storage, &own);
    return memcmp(&own, &address->ip, sizeof(own)) == 0;
}

/* --- events --- */

/* "TLS: self-signed certificate" and the like. */
static void report_tls_error(struct check_stream *stream, unsigned long code)
{
    SSL *ssl = bufferevent_openssl_get_ssl(stream->bufferevent);
    long verified = SSL_get_verify_result(ssl);
    const char *why = ERR_reason_error_string(code);
    char text[160];

    if (ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED && verified != X509_V_OK) {
        why = X509_verify_cert_error_string(verified);
    } else if (ERR_GET_REASON(code) == SSL_R_WRONG_VERSION_NUMBER) {
        why = "the backend does not speak it"; /* its first bytes are no TLS record */
    }
    (void)snprintf(text, sizeof(text), "TLS: %s", why != NULL ? why : "failed");
    stream->fn(stream->arg, STREAM_ERROR, text);
}

static void on_failure(struct check_stream *stream, int error)
{
    unsigned long code = stream->is_tls ? bufferevent_get_openssl_error(stream->bufferevent) : 0;

    ERR_clear_error();
    if (ERR_SYSTEM_ERROR(code)) {
        error = ERR_GET_REASON(code);
    } else if (ERR_GET_LIB(code) != 0) { /* else it is an SSL_ERROR_…, which says nothing */
        report_tls_error(stream, code);
        return;
    }
    stream->fn(stream->arg, STREAM_ERROR, stream_error_text(error != 0 ? error : ECONNRESET));
}

static void on_event(struct bufferevent *bufferevent, short what, void *arg)
{
    struct check_stream *stream = arg;
    int error = EVUTIL_SOCKET_ERROR();

    (void)bufferevent;
    if (what & BEV_EVENT_CONNECTED) {
        stream->is_open = true;
        stream->fn(stream->arg, STREAM_OPEN, NULL);
    } else if (what & BEV_EVENT_ERROR) {
        on_failure(stream, error);
    } else if (what & BEV_EVENT_EOF) {
        if (stream->is_open) {
            stream->fn(stream->arg, STREAM_END, NULL);
        } else {
            stream->fn(stream->arg, STREAM_ERROR, "TLS: closed by the backend in the handshake");
        }
    }
}

static void on_data(struct bufferevent *bufferevent, void *arg)
{
    struct check_stream *stream = arg;
    struct evbuffer *input = bufferevent_get_input(bufferevent);

    if (!stream->is_lingering) {
        if (evbuffer_get_length(input) >= stream->input_max) {
            /* At its watermark libevent reads no more, but calls back for ever. */
            stream->is_full = bufferevent_disable(bufferevent, EV_READ) == 0;
        }
        stream->fn(stream->arg, STREAM_DATA, NULL);
        return;
    }
    stream->dropped_bytes += evbuffer_get_length(input);
    (void)evbuffer_drain(input, evbuffer_get_length(input));
    if (stream->dropped_bytes > LINGER_BYTES_MAX) {
        stream->fn(stream->arg, STREAM_ERROR, "it goes on talking");
    }
}

static void on_input_change(struct evbuffer *input, const struct evbuffer_cb_info *info, void *arg)
{
    struct check_stream *stream = arg;

    if (stream->is_full && info->n_deleted > 0 && evbuffer_get_length(input) < stream->input_max) {
        stream->is_full = false;
        (void)bufferevent_enable(stream->bufferevent, EV_READ);
    }
}

/* Nothing was queued, or all is with the kernel. The call may have been due before more was queued.
 */
static void on_sent(struct bufferevent *bufferevent, void *arg)
{
    struct check_stream *stream = arg;

    if (stream->half_close && evbuffer_get_length(bufferevent_get_output(bufferevent)) == 0) {
        (void)shutdown(bufferevent_getfd(bufferevent), SHUT_WR);
        stream->half_close = false;
    }
}

/* --- connecting --- */

static struct bufferevent *wrap(struct check_stream *stream, struct event_base *base)
{
    struct bufferevent *bufferevent;

    if (!stream->is_tls) {
        return bufferevent_socket_new(base, stream->fd, WRAP_OPTIONS);
    }
    bufferevent = bufferevent_openssl_socket_new(base, stream->fd, stream->ssl,
                                                 BUFFEREVENT_SSL_CONNECTING, WRAP_OPTIONS);
    if (bufferevent != NULL) {
        stream->ssl = NULL; /* is its own now, like the descriptor */
    }
    return bufferevent;
}

static void on_connected(struct check_stream *stream)
{
    stream->bufferevent = wrap(stream, event_get_base(&stream->event));
    if (stream->bufferevent == NULL) {
        stream->fn(stream->arg, STREAM_ERROR, stream_error_text(ENOMEM));
        return;
    }
    stream->fd = -1;
    bufferevent_setwatermark(stream->bufferevent, EV_READ, 0, stream->input_max);
    bufferevent_setcb(stream->bufferevent, on_data, on_sent, on_event, stream);
    if (evbuffer_add_cb(bufferevent_get_input(stream->bufferevent), on_input_change, stream) ==
            NULL ||
        bufferevent_enable(stream->bufferevent, EV_READ | EV_WRITE) != 0) {
        stream->fn(stream->arg, STREAM_ERROR, stream_error_text(ENOMEM));
    } else if (!stream->is_tls) {
        stream->is_open = true;
        stream->fn(stream->arg, STREAM_OPEN, NULL);
    }
}

static void on_connect(evutil_socket_t fd, short what, void *arg)
{
    struct check_stream *stream = arg;
    int error = stream->error;
    socklen_t len = sizeof(error);

    (void)what;
    if (error == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0) {
        error = errno;
    }
    if (error == 0 && stream_meets_itself(fd, &stream->address)) {
        error = ECONNREFUSED;
    }
    if (error == 0) {
        error = preamble_send(fd, stream->send_proxy);
    }
    if (error != 0) {
        stream->fn(stream->arg, STREAM_ERROR, stream_error_text(error));
    } else {
        on_connected(stream);
    }
}

int stream_bind(int fd, const char *source)
{
    const int on = 1;
    struct addr_ip ip;
    struct sockaddr_storage storage;
    socklen_t len;

    if (source == NULL || addr_parse_ip(source, &ip) != 0) {
        return 0;
    }
    /* The port is chosen with the destination known, so that the same one can serve many. */
    (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    len = addr_ip_to_sockaddr(&ip, &storage);
    return bind(fd, (struct sockaddr *)&storage, len) == 0 ? 0 : errno;
}

/* Returns the socket with its connect under way or done, or -1 with *out_error. */
static int open_socket(const struct stream_options *options, int *out_error)
{
    const int on = 1;
    struct sockaddr_storage storage;
    socklen_t len = addr_to_sockaddr(options->address, &storage);
    FD_AUTO fd = socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int kept;

    *out_error = fd < 0 ? errno : 0;
    if (*out_error == 0 && storage.ss_family != AF_UNIX) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        *out_error = stream_bind(fd, options->source);
    }
    if (*out_error == 0 && connect(fd, (struct sockaddr *)&storage, len) != 0 &&
        errno != EINPROGRESS) {
        *out_error = errno;
    }
    if (*out_error != 0) {
        return -1;
    }
    kept = fd;
    fd = -1;
    return kept;
}

/* --- TLS --- */

/* One for all that verify, one for all that do not: the certificates to trust are read once, and
 * only if somebody asks for them. NULL without memory. */
static SSL_CTX *tls_context(bool verify)
{
    static SSL_CTX *contexts[2];
    SSL_CTX *context = contexts[verify];

    if (context == NULL && (context = SSL_CTX_new(TLS_client_method())) != NULL) {
        (void)SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
        /* A peer that ends without a farewell has ended: what was said tells whether it is whole.
         */
        (void)SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_RENEGOTIATION);
        SSL_CTX_set_verify(context, verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
        if (verify) {
            (void)SSL_CTX_set_default_verify_paths(context);
        }
        contexts[verify] = context;
    }
    return context;
}

/* Makes the name be sent, and the certificate be asked for it. */
static bool tls_set_name(SSL *ssl, const char *name, bool verify)
{
    struct addr_ip ip;

    if (name == NULL) {
        return true;
    }
    if (addr_parse_ip(name, &ip) == 0) {
        return !verify || X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) == 1;
    }
    return SSL_set_tlsext_host_name(ssl, name) == 1 && (!verify || SSL_set1_host(ssl, name) == 1);
}

static SSL *tls_new(const struct stream_options *options)
{
    SSL_CTX *context = tls_context(options->verify);
    SSL *ssl = context != NULL ? SSL_new(context) : NULL;

    if (ssl != NULL && !tls_set_name(ssl, options->server_name, options->verify)) {
        SSL_free(ssl);
        ssl = NULL;
    }
    ERR_clear_error();
    return ssl;
}

/* --- life --- */

/* Waits for the socket, or for the next turn where connect() has failed already. */
static int await_connect(struct check_stream *stream, struct event_base *base)
{
    const struct timeval now = {0};
    bool failed = stream->error != 0;

    if (event_assign(&stream->event, base, stream->fd, failed ? 0 : EV_WRITE, on_connect, stream) !=
            0 ||
        event_add(&stream->event, failed ? &now : NULL) != 0) {
        return -ENOMEM;
    }
    return 0;
}

static void stream_free(struct check_stream *stream)
{
    SSL_free(stream->ssl);
    fd_close(&stream->fd);
    free(stream);
}

int stream_open(struct event_base *base, const struct stream_options *options, stream_fn *fn,
                void *arg, struct check_stream **out)
{
    struct check_stream *stream = calloc(1, sizeof(*stream));
    int error;

    if (stream == NULL) {
        return -ENOMEM;
    }
    *stream = (struct check_stream){.fd = -1,
                                    .address = *options->address,
                                    .send_proxy = options->send_proxy,
                                    .input_max = options->input_max,
                                    .fn = fn,
                                    .arg = arg,
                                    .is_tls = options->tls};
    stream->fd = open_socket(options, &stream->error);
    error = stream->fd < 0 && stream_error_is_ours(stream->error, options->address) ? -stream->error
                                                                                    : 0;
    if (error == 0 && options->tls && (stream->ssl = tls_new(options)) == NULL) {
        error = -ENOMEM;
    }
    if (error == 0) {
        error = await_connect(stream, base);
    }
    if (error != 0) {
        stream_free(stream);
        return error;
    }
    *out = stream;
    return 0;
}

bool stream_is_connected(const struct check_stream *stream)
{
    return stream->bufferevent != NULL;
}

int stream_send(struct check_stream *stream, const void *bytes, size_t n)
{
    ssize_t sent = 0;

    /* A connection that has just been opened takes a request at once. To have libevent wait for
     * that costs more than all the rest of a check. */
    if (!stream->is_tls && evbuffer_get_length(bufferevent_get_output(stream->bufferevent)) == 0) {
        sent = send(bufferevent_getfd(stream->bufferevent), bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        sent = sent < 0 ? 0 : sent; /* an error is told when libevent meets it */
    }
    if ((size_t)sent == n) {
        return 0;
    }
    return bufferevent_write(stream->bufferevent, (const char *)bytes + sent, n - (size_t)sent) == 0
               ? 0
               : -ENOMEM;
}

struct evbuffer *stream_input(struct check_stream *stream)
{
    return bufferevent_get_input(stream->bufferevent);
}

static void on_linger_over(evutil_socket_t fd, short what, void *arg)
{
    struct check_stream *stream = arg;

    (void)fd;
    (void)what;
    stream->fn(stream->arg, STREAM_ERROR, "it does not end");
}

int stream_linger(struct check_stream *stream, bool half_close, uint32_t max_ms)
{
    const struct timeval max = {.tv_sec = max_ms / 1000,
                                .tv_usec = (suseconds_t)(max_ms % 1000) * 1000};
    struct event_base *base = bufferevent_get_base(stream->bufferevent);
    struct evbuffer *input = bufferevent_get_input(stream->bufferevent);

    if (evtimer_assign(&stream->event, base, on_linger_over, stream) != 0 ||
        evtimer_add(&stream->event, &max) != 0) {
        return -ENOMEM;
    }
    stream->is_lingering = true;
    stream->half_close = half_close;
    (void)evbuffer_drain(input, evbuffer_get_length(input));
    on_sent(stream->bufferevent, stream);
    return 0;
}

static void set_reset(struct check_stream *stream)
{
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    int fd = stream->bufferevent != NULL ? bufferevent_getfd(stream->bufferevent) : stream->fd;

    if (fd >= 0 && stream->address.ip.family != ADDR_UNIX) {
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    }
}

void stream_close(struct check_stream *stream, bool clean)
{
    if (stream == NULL) {
        return;
    }
    (void)event_del(&stream->event);
    if (!clean) {
        set_reset(stream);
    } else if (stream->is_tls && stream->is_open) {
        (void)SSL_shutdown(bufferevent_openssl_get_ssl(stream->bufferevent));
        ERR_clear_error();
    }
    if (stream->bufferevent != NULL) {
        (void)evbuffer_remove_cb(stream_input(stream), on_input_change, stream);
        bufferevent_free(stream->bufferevent); /* closes the descriptor, frees the SSL */
    }
    stream_free(stream);
}
