/*
 * A backend that speaks TLS, for the tests of checks that talk: with each connection it waits until
 * it has heard something, if so told, and answers with one text. Has a certificate of its own. To
 * be included behind test_check_peer.h, whose address and listener it takes.
 */
#ifndef TEST_CHECK_TLS_H
#define TEST_CHECK_TLS_H

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>

static struct tls_peer {
    SSL_CTX *context;
    struct bufferevent *connection;
    struct event *accepting;
    char name[128]; /* that the client asked for */
    const char *awaited, *answer;
    bool saw_farewell, saw_end;
    char certificate[64]; /* path of its PEM */
} tls_peer;

static void add_extension(X509 *certificate, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

    ck_assert_ptr_nonnull(extension);
    ck_assert_int_eq(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

/* Signed by itself, for backend.test and 127.0.0.1. */
static void make_certificate(void)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    FILE *file;
    int fd;

    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
    X509_set_pubkey(certificate, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                               (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
    add_extension(certificate, NID_subject_alt_name, "DNS:backend.test,IP:127.0.0.1");
    add_extension(certificate, NID_basic_constraints, "critical,CA:TRUE");
    ck_assert_int_gt(X509_sign(certificate, key, EVP_sha256()), 0);
    ck_assert_int_eq(SSL_CTX_use_certificate(tls_peer.context, certificate), 1);
    ck_assert_int_eq(SSL_CTX_use_PrivateKey(tls_peer.context, key), 1);

    strcpy(tls_peer.certificate, "/tmp/check-test-XXXXXX");
    fd = mkstemp(tls_peer.certificate);
    file = fdopen(fd, "w");
    ck_assert_int_eq(PEM_write_X509(file, certificate), 1);
    fclose(file);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

static void tls_answer(void)
{
    bufferevent_write(tls_peer.connection, tls_peer.answer, strlen(tls_peer.answer));
}

static void tls_on_data(struct bufferevent *connection, void *arg)
{
    struct evbuffer *input = bufferevent_get_input(connection);

    (void)arg;
    if (tls_peer.awaited[0] != '\0' &&
        evbuffer_search(input, tls_peer.awaited, strlen(tls_peer.awaited), NULL).pos >= 0) {
        evbuffer_drain(input, evbuffer_get_length(input));
        tls_answer();
    }
}

static void tls_on_event(struct bufferevent *connection, short what, void *arg)
{
    SSL *ssl = bufferevent_openssl_get_ssl(connection);
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

    (void)arg;
    if (what & BEV_EVENT_CONNECTED) {
        (void)snprintf(tls_peer.name, sizeof(tls_peer.name), "%s", name != NULL ? name : "");
        if (tls_peer.awaited[0] == '\0') {
            tls_answer();
        }
    } else {
        tls_peer.saw_end = true;
        tls_peer.saw_farewell = (SSL_get_shutdown(ssl) & SSL_RECEIVED_SHUTDOWN) != 0;
    }
}

static void tls_on_connection(evutil_socket_t listener, short what, void *arg)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    (void)what;
    (void)arg;
    tls_peer.connection = bufferevent_openssl_socket_new(
        base, fd, SSL_new(tls_peer.context), BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
    bufferevent_setcb(tls_peer.connection, tls_on_data, NULL, tls_on_event, NULL);
    bufferevent_enable(tls_peer.connection, EV_READ | EV_WRITE);
}

/* awaited: "" to answer at once. Both live on. */
static void tls_start(const char *awaited, const char *answer)
{
    (void)peer_start("127.0.0.1:0", SCRIPT(HEAR_END));
    event_del(peer.accepting);
    tls_peer.context = SSL_CTX_new(TLS_server_method());
    make_certificate();
    tls_peer.awaited = awaited;
    tls_peer.answer = answer;
    tls_peer.accepting =
        event_new(base, peer.listener, EV_READ | EV_PERSIST, tls_on_connection, NULL);
    event_add(tls_peer.accepting, NULL);
}

static void tls_stop(void)
{
    if (tls_peer.context == NULL) {
        return;
    }
    if (tls_peer.connection != NULL) {
        bufferevent_free(tls_peer.connection);
    }
    event_free(tls_peer.accepting);
    SSL_CTX_free(tls_peer.context);
    unlink(tls_peer.certificate);
}

#endif
