/*
 * Answers that begin before their request has ended: the client gets them, but nobody else gets
 * that upstream, however late they end. What the backend has not read of the request it might take
 * for the next one.
 */
#include "proxy_bench.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define LONG 65535 /* with its header over what is held */

struct dialogue {
    enum framing_kind framing;
    const char *head;
    size_t filling; /* x behind it */
    const char *end;
    const char *early, *late; /* of the answer */
    const char *told;         /* what the client gets of the early part */
};

static const struct dialogue dialogues[] = {
    {FRAMING_HTTP1, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n", 4, "xxxxx",
     "HTTP/1.1 413 Too\r\nContent-Length: 4\r\n\r\nab", "cd",
     "HTTP/1.1 413 Too\r\nContent-Length: 4\r\nConnection: close\r\n\r\nab"},
    {FRAMING_RESP, "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$65535\r\n", LONG, "\r\n", "+O", "K\r\n", "+O"},
    {FRAMING_MEMCACHED, "set a 0 0 5\r\n", 4, "x\r\n", "STO", "RED\r\n", ""},
    {FRAMING_LINE, "", LONG + 1, "\n", "ye", "s\n", "ye"},
    {FRAMING_LENGTH, "\xff\xff", LONG - 1, "x", "\1\1", "", "\1\1"},
};

static char *filled(const char *head, size_t filling)
{
    char *text = malloc(strlen(head) + filling + 1);
    ck_assert_ptr_nonnull(text);
    strcpy(text, head);
    memset(text + strlen(head), 'x', filling);
    text[strlen(head) + filling] = '\0';
    return text;
}

/* As bench_hear(), of a text of any length. */
static void hear_long(int fd, const char *text)
{
    char part[1001];
    for (size_t left = strlen(text); left > 0; left = strlen(text)) {
        size_t n = left < sizeof(part) - 1 ? left : sizeof(part) - 1;
        memcpy(part, text, n);
        part[n] = '\0';
        bench_hear(fd, part);
        text += n;
    }
}

/* In both modes: another client's request, and the same one's, if it is not closed, go elsewhere.
 */
START_TEST(an_upstream_that_answered_early_is_nobody_elses)
{
    const struct dialogue *d = &dialogues[_i / 4];
    bool meets = (_i & 2) != 0; /* the rest is on its way when the answer begins, both unseen */
    char *first = filled(d->head, d->filling), *rest = filled("", 257);
    const char *late = d->late[0] != '\0' ? d->late : rest;
    bench_reuse(_i % 2 == 0 ? REUSE_REQUEST : REUSE_SESSION, d->framing)->length_bytes =
        d->framing == FRAMING_LENGTH ? 2 : 0;
    bench_start();
    int client = bench_client();
    bench_say(client, first);
    int up = bench_accept(0);
    hear_long(up, first);
    bench_settle();
    if (meets) {
        bench_say(client, d->end);
    }
    bench_say(up, d->early);
    if (!meets) {
        bench_hear(client, d->told);
        bench_settle();
        bench_say(client, d->end);
    }
    bench_hear(up, d->end);
    bench_hear(client, meets ? d->told : "");
    bench_say(up, late);
    if (d->told[0] == '\0') {
        bench_hear(client, d->early);
    }
    bench_hear(client, late);
    bench_hear_discard(0, DISCARD_NOT_CLEAN);
    bench_hear_end(up);
    ck_assert_uint_eq(bench_cell(0)->idle, 0);
    ck_assert_uint_eq(bench_cell(0)->requests, 1);
    int other = bench_client();
    bench_say(other, first);
    hear_long(bench_accept(0), first);
    free(first);
    free(rest);
}
END_TEST

/* --- a request that was read, but could not be sent yet --- */

/* Whether the proxy has read all that the client has sent. */
static bool is_read(int client)
{
    struct sockaddr_in own = {0}, peer;
    socklen_t len = sizeof(own);
    int unread = 0;
    ck_assert_int_eq(getsockname(client, (struct sockaddr *)&own, &len), 0);
    for (int fd = 3; fd < 1000; fd++) {
        len = sizeof(peer);
        if (getpeername(fd, (struct sockaddr *)&peer, &len) == 0 && peer.sin_family == AF_INET &&
            peer.sin_port == own.sin_port) {
            ck_assert_int_eq(ioctl(fd, FIONREAD, &unread), 0);
            return unread == 0;
        }
    }
    return false;
}

/* A client posts so much that the last of it waits in the proxy for the backend, which has read
 * none of it: how much that is, is between the kernel and its buffers. Returns the upstream. */
static int post_too_much(int *out_client, char **out_body)
{
    char head[100];
    for (size_t n = 50000; n < 2000000; n += 10000) {
        snprintf(head, sizeof(head), "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %zu\r\n\r\n",
                 n);
        *out_client = bench_client();
        bench_say(*out_client, head);
        int up = bench_accept(0);
        bench_hear(up, head);
        ck_assert_int_eq(
            setsockopt(bench_other_side(up), SOL_SOCKET, SO_SNDBUF, &(int){1}, sizeof(int)), 0);
        *out_body = filled("", n);
        size_t sent = 0;
        for (ssize_t done = 1; done > 0 && sent<n; sent += done> 0 ? (size_t)done : 0) {
            done = send(*out_client, *out_body + sent, n - sent, MSG_NOSIGNAL);
            bench_settle();
        }
        if (sent == n && sb.workers[0].buffered_bytes > 0 && is_read(*out_client)) {
            return up;
        }
        free(*out_body);
        bench_reset(*out_client);
        bench_hear_discard(0, DISCARD_SESSION_END);
        bench_close(up);
    }
    ck_abort_msg("the kernel takes everything");
}

/* Before the proxy gets a turn, all that waits in it can go out. Returns how much the backend has
 * read for that. */
static size_t make_room(int up)
{
    static char bytes[1 << 16];
    int socket = bench_other_side(up);
    size_t n_read = 0;
    ck_assert_int_eq(setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &(int){1 << 20}, sizeof(int)), 0);
    for (ssize_t n = 1; n > 0; n_read += n > 0 ? (size_t)n : 0) {
        n = recv(up, bytes, sizeof(bytes), MSG_DONTWAIT);
    }
    return n_read;
}

/* Whether the proxy finds the answer before it can send on, or both at once. */
START_TEST(a_request_that_waits_to_be_sent_has_not_ended)
{
    char *body;
    int client;
    bench_reuse(_i % 2 == 0 ? REUSE_REQUEST : REUSE_SESSION, FRAMING_HTTP1);
    bench_start();
    int up = post_too_much(&client, &body);
    bench_say(up, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
    size_t n_read = _i < 2 ? 0 : make_room(up);
    bench_hear(client, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab");
    hear_long(up, body + n_read);
    bench_say(up, "cd");
    bench_hear(client, "cd");
    bench_hear_discard(0, DISCARD_NOT_CLEAN);
    bench_hear_end(up);
    free(body);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proxy/early");
    TCase *tc = bench_case(suite, "all", bench_setup_one);
    tcase_add_loop_test(tc, an_upstream_that_answered_early_is_nobody_elses, 0,
                        4 * (int)(sizeof(dialogues) / sizeof(dialogues[0])));
    tcase_add_loop_test(tc, a_request_that_waits_to_be_sent_has_not_ended, 0, 4);
    return bench_run(suite);
}
