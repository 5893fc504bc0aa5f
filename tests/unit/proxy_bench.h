/*
 * The bench on which the data path is tested: proxies of one or two workers on a real event base
 * and one scoreboard, between real sockets on the loopback device, of which the test plays all
 * other ends. The proxies sleep and wake as in a worker: nothing happens in them without an event,
 * or before they have said that it would. Their clock stands still unless the test moves it.
 */
#ifndef SLUICE_TESTS_PROXY_BENCH_H
#define SLUICE_TESTS_PROXY_BENCH_H

#include <check.h>
#include <poll.h>

#include "proxy/proxy.h"

#define BENCH_WORKERS_MAX 2
#define BENCH_SOURCES     8 /* that a backend has room for */
#define BENCH_LISTENER    3 /* id of worker 0's; worker 1 has the next */

/* What bench_apply() hands out next; tests change it at will. */
struct bench_image {
    struct snapshot_header header;
    struct snapshot_service service; /* on pool 0 */
    struct snapshot_listener listeners[BENCH_WORKERS_MAX];
    struct snapshot_pool pools[2];       /* with backends 0 and 1, of which 1 does not count until
                                            n_backends is 2; with backend 2 */
    struct snapshot_backend backends[3]; /* the test listens at all of them */
    /* Each backend's from BENCH_SOURCES * b on, of which one counts, the kernel's choice, until
     * n_sources is more; their pairs are counted from BENCH_PAIR(b). */
    struct snapshot_source sources[3 * BENCH_SOURCES];
    struct snapshot_check check; /* of nobody until bench_check() */
    char texts[64];
};

#define BENCH_BACKENDS 3
#define BENCH_SLOT(b)  (5 + 2 * (b))
#define BENCH_ROW(b)   (6 + 2 * (b))
#define BENCH_PAIR(b)  (1 + BENCH_SOURCES * (b))

extern struct bench_image image;
extern struct scoreboard sb;
extern struct proxy *proxies[BENCH_WORKERS_MAX];

/* Fixtures. The last one closes what the test has opened, destroys the proxies, and finds that of
 * all that was ever taken nothing is left: no place, no descriptor, no gauge above 0. */
void bench_setup_one(void);
void bench_setup_two(void);
void bench_teardown(void);
/* A test case with one of those set-ups and the teardown. */
TCase *bench_case(Suite *suite, const char *name, void (*setup_bench)(void));
int bench_run(Suite *suite); /* Returns main()'s result. */

/* Pool 0 reuses, under policy always, up to 64 idle ones, and without any time limit. */
struct snapshot_reuse *bench_reuse(enum reuse_mode mode, enum framing_kind framing);
/* Pool 0 reuses session by session, with this exchange between them. */
void bench_reset_exchange(const char *send, const char *expect);
/* It is not known of backend b, as it is at first of all others, that it does not speak first. */
void bench_make_unheard(uint32_t b);
/* Health counts for backend b. */
void bench_check(uint32_t b);
void bench_set_health(uint32_t b, enum sb_health health);

void bench_apply(void); /* the image, to all proxies, as a new generation */
void bench_start(void); /* the first time: accepting begins too */

/* --- time --- */

void bench_turn(void); /* one of each worker that would be awake */
/* Some turns: whatever is on its way arrives. For what is to be seen not to happen. */
void bench_settle(void);
/* The proxies' clock goes on, and they do what is due. */
void bench_pass(uint32_t ms);
uint64_t bench_now_ms(void);

#define BENCH_LOOPS_MAX   20000
#define BENCH_QUIET_TURNS 20

#define UNTIL(condition)                                                                           \
    do {                                                                                           \
        int loops_ = 0;                                                                            \
        while (!(condition)) {                                                                     \
            bench_turn();                                                                          \
            if (++loops_ > BENCH_LOOPS_MAX) {                                                      \
                ck_abort_msg("never: %s", #condition);                                             \
            }                                                                                      \
            if (loops_ > 100) {                                                                    \
                poll(NULL, 0, 1);                                                                  \
            }                                                                                      \
        }                                                                                          \
    } while (0)

/* --- the test's ends (proxy_bench_ends.c). All are non-blocking, and closed by the teardown if not
 * before. --- */

int bench_client(void);               /* a new one of worker 0, on its way or connected */
int bench_client_of(uint32_t worker); /* of another */
/* receive_bytes: of its buffer, before it connects. */
int bench_client_with(uint32_t worker, int receive_bytes);
/* Before bench_start(): the kernel takes next to nothing from the proxies for clients. */
void bench_shrink(void);
/* The next connection that comes to backend b; waits for it. */
int bench_accept(uint32_t b);
bool bench_is_called(uint32_t b); /* whether one is there */
/* Nobody listens there any more. */
void bench_stop_listening(uint32_t b);

int bench_remember(int fd); /* to be closed; returns it */
void bench_close_all(void);

/* Completes the handshake of what the proxies are connecting to backend b: they wait with it for
 * something to say, but the kernel not for ever. */
void bench_acknowledge(uint32_t b);

void bench_say(int fd, const char *text);
void bench_say_bytes(int fd, const void *bytes, size_t n);
/* Waits for exactly these bytes; more may follow. */
void bench_hear(int fd, const char *text);
void bench_hear_end(int fd);     /* waits for an orderly end, with nothing before */
void bench_hear_reset(int fd);   /* for a reset, with nothing before */
void bench_hear_silence(int fd); /* finds that nothing has come, nor comes */
void bench_end(int fd);          /* its sending */
void bench_close(int fd);        /* in an orderly way */
void bench_reset(int fd);        /* with a reset */
int bench_other_side(int fd);    /* the proxy's socket */
int bench_unsent(int fd);        /* what the kernel has of the proxy's for it */
/* Makes the proxy's socket at the other side of fd take no more, without the proxy being told. */
void bench_break(int fd);
/* One line and its answer, through an upstream of backend 0 that is there, or (-1) comes to be.
 * Returns that. */
int bench_serve(int client, int upstream);
/* Sends bytes of a pattern until neither the proxies nor the kernel take more, at most n_max.
 * Returns how many. */
size_t bench_stuff(int fd, size_t n_max);
/* Sends the pattern from its first byte on until n of them have come to the proxies' socket to, or
 * more, before these get a turn. Returns how many are sent. */
size_t bench_flood(int fd, int to, size_t n);
/* Sends the pattern's first n bytes from one to the other, of which so many are sent already, and
 * so many heard, and finds that they all arrive as they are. */
void bench_carry(int from, size_t sent, int to, size_t heard, size_t n);
void bench_hear_pattern(int fd, size_t heard, size_t n); /* all of them are sent */

/* --- what is counted --- */

struct sb_upstream_cell *bench_cell_of(uint32_t worker, uint32_t b);
static inline struct sb_upstream_cell *bench_cell(uint32_t b)
{
    return bench_cell_of(0, b);
}
struct sb_upstream_row *bench_row(uint32_t b); /* of all workers together */
uint64_t bench_ended(enum ending reason);
uint64_t bench_refused(enum refusal reason);
/* Waits for the end of one more upstream of backend b, and finds that it was for this reason. */
void bench_hear_discard(uint32_t b, enum discard reason);
uint64_t bench_discards(uint32_t b); /* for all reasons */

#endif
