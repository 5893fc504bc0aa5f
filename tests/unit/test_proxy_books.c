/*
 * Clients and backends that do as they please, in a random order that is the same each time:
 * whatever they do, what is counted of upstreams agrees with itself at every step.
 */
#include "proxy_bench.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define CLIENTS   6
#define UPSTREAMS 64
#define STEPS     400
#define LIMIT     5

static int clients[CLIENTS];
static bool asks[CLIENTS];
static int ups[UPSTREAMS]; /* -1: none */
static uint64_t seed;

/* Knuth's MMIX generator, its upper half. */
static uint32_t dice(uint32_t n)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(seed >> 33) % n;
}

static bool is_balanced(const struct sb_upstream_sum *all)
{
    uint64_t open = all->idle + all->lent;
    struct sb_service_sum sum;
    scoreboard_sum_service(&sb, 0, &sum);
    uint64_t again = all->unsent_retries + all->resent_retries;
    return all->requests + all->lent + again == all->opened + all->reused &&
           all->opened == all->discarded + open && sb.slot_upstreams[BENCH_SLOT(0)] == open &&
           open <= LIMIT && sb.slot_active[BENCH_SLOT(0)] == all->lent && all->pinned == 0 &&
           sum.connections_total == sum.refused + sum.ended + sb.services[0].active;
}

/* Not while a connection is only on its way. */
static void find_balance(void)
{
    struct sb_upstream_sum sum;
    scoreboard_sum_upstreams(&sb, BENCH_ROW(0), &sum);
    for (int i = 0; i < 20 && !is_balanced(&sum); i++) {
        bench_settle();
        scoreboard_sum_upstreams(&sb, BENCH_ROW(0), &sum);
    }
    if (!is_balanced(&sum)) {
        ck_abort_msg(
            "%u requests: %u opened, %u reused; %u idle, %u lent, %u discarded; %u counted",
            (unsigned)sum.requests, (unsigned)sum.opened, (unsigned)sum.reused, (unsigned)sum.idle,
            (unsigned)sum.lent, (unsigned)sum.discarded, sb.slot_upstreams[BENCH_SLOT(0)]);
    }
}

/* Which of those that the backend has accepted, from a random one on; -1: none. */
static int some_upstream(void)
{
    uint32_t first = dice(UPSTREAMS);
    for (uint32_t i = 0; i < UPSTREAMS; i++) {
        if (ups[(first + i) % UPSTREAMS] >= 0) {
            return (int)((first + i) % UPSTREAMS);
        }
    }
    return -1;
}

static void accept_all(void)
{
    for (int i = 0; i < UPSTREAMS && bench_is_called(0); i++) {
        if (ups[i] < 0) {
            ups[i] = bench_accept(0);
        }
    }
}

static int new_client(uint32_t i)
{
    return bench_client_of(i % sb.header->n_workers);
}

static void act_as_client(uint32_t i)
{
    char heard[256];
    ssize_t n = recv(clients[i], heard, sizeof(heard), 0);
    asks[i] &= n <= 0;
    if (n == 0 || (n < 0 && errno != EAGAIN) || dice(10) == 0) {
        (dice(2) == 0 ? bench_reset : bench_close)(clients[i]);
        clients[i] = new_client(i);
        asks[i] = false;
    } else if (!asks[i]) {
        asks[i] = send(clients[i], "ask\n", 4, MSG_NOSIGNAL) == 4;
    }
}

static void act_as_backend(int i)
{
    char heard[256];
    ssize_t n = recv(ups[i], heard, sizeof(heard), 0);
    uint32_t what = dice(20);
    if (n == 0 || (n < 0 && errno != EAGAIN) || what < 2) {
        (what == 0 ? bench_reset : bench_close)(ups[i]);
        ups[i] = -1;
    } else if (n > 0 || what == 2) { /* asked, or not */
        (void)!send(ups[i], "answer\n", what == 3 ? 3 : 7, MSG_NOSIGNAL);
    }
}

static void configure(int variant)
{
    struct snapshot_reuse *reuse = bench_reuse(REUSE_REQUEST, FRAMING_LINE);
    reuse->max_uses = 7;
    reuse->max_idle = 3;
    reuse->idle_max_ms = 3000;
    reuse->max_age_ms = 20000;
    reuse->policy = variant % 2 == 0 ? REUSE_ALWAYS : REUSE_SAFE;
    image.backends[0].max_connections = image.backends[0].resume_connections = LIMIT;
    image.pools[0].queue = variant % 4 < 2 ? 0 : 10;
    seed = (uint64_t)variant + 1;
}

START_TEST(the_books_balance_at_every_step)
{
    struct sb_upstream_sum sum;
    configure(_i);
    memset(ups, 0xff, sizeof(ups));
    bench_start();
    for (uint32_t i = 0; i < CLIENTS; i++) {
        clients[i] = new_client(i);
    }
    for (int step = 0; step < STEPS; step++) {
        int up = some_upstream();
        if (dice(3) == 0 || up < 0) {
            act_as_client(dice(CLIENTS));
        } else {
            act_as_backend(up);
        }
        bench_pass(dice(30) == 0 ? dice(2000) : 1);
        bench_turn();
        bench_turn();
        accept_all();
        find_balance();
    }
    scoreboard_sum_upstreams(&sb, BENCH_ROW(0), &sum);
    ck_assert_uint_gt(sum.reused, 10);
    ck_assert_uint_gt(sum.discarded, 10);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proxy/books");
    TCase *tc = bench_case(suite, "one worker", bench_setup_one);
    tcase_add_loop_test(tc, the_books_balance_at_every_step, 0, 8);
    tc = bench_case(suite, "two workers", bench_setup_two);
    tcase_add_loop_test(tc, the_books_balance_at_every_step, 0, 8);
    return bench_run(suite);
}
