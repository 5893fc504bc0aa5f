/*
 * Explanations: that they foretell the choice, that asking changes nothing, and what is said of
 * each backend.
 */
#include "pool/ewma.h"
#include "pool/ports.h"
#include "test_sched_fixture.h"

#define KEEP_MS (100 * LEASE_UNIT_MS)

static struct chooser *choosers[BED_WORKERS];
static struct chosen chosen;
static struct explanation explanation;

static void close_choosers(void)
{
    for (uint32_t w = 0; w < BED_WORKERS; w++) {
        chooser_destroy(choosers[w]);
        choosers[w] = NULL;
    }
}

static void teardown(void)
{
    close_choosers();
    bed_teardown();
}

static void explain_to(uint32_t worker, uint32_t client, struct explanation *out)
{
    struct addr_ip address = bed_client(client);
    struct choose_request request = {.client = &address, .destination = &address, .now_us = now_us};
    memset(out, 0xff, sizeof(*out));
    chooser_explain(choosers[worker], &request, out);
}

static void explain(uint32_t client)
{
    explain_to(0, client, &explanation);
}

static void start(void)
{
    choosers[0] = bed_open(0, NULL);
}

/* --- random pools and what happens to them --- */

static uint32_t below(uint32_t limit)
{
    return (uint32_t)random() % limit;
}

static bool now_and_then(uint32_t percent)
{
    return below(100) < percent;
}

#define SESSIONS_MAX 64

static struct session {
    bool open;
    uint32_t worker, slot, row;
    struct lease_hold hold;
} sessions[SESSIONS_MAX];

static void end_session(uint32_t s)
{
    if (!sessions[s].open)
        return;
    scoreboard_release(&sb, sessions[s].worker, SB_SLOT, sessions[s].slot);
    lease_release(&sb, &sessions[s].hold, sessions[s].row, bed_now_ms(), KEEP_MS);
    sessions[s].open = false;
}

/* Keeps a session that was chosen, in the place of an older one. */
static void keep_session(uint32_t worker)
{
    const struct snapshot_backend *backend = bed_backend(chosen.pool, chosen.index);
    uint32_t s = below(SESSIONS_MAX);

    end_session(s);
    sessions[s] = (struct session){.open = true,
                                   .worker = worker,
                                   .slot = backend->slot,
                                   .row = backend->row,
                                   .hold = chosen.hold};
}

static void randomize_backend(struct snapshot_backend *backend)
{
    backend->weight = below(9);
    backend->backup = now_and_then(20);
    if (now_and_then(20))
        backend->admin = below(ADMIN_COUNT);
    if (now_and_then(5))
        backend->address = (struct addr){0};
    if (now_and_then(30)) {
        backend->max_connections = 1 + below(8);
        backend->resume_connections = 1 + below(backend->max_connections);
    }
    if (now_and_then(20))
        backend->connect_rate =
            (struct snapshot_rate){.interval_ns = 50000000, .burst = 1 + below(3)};
}

/* Small enough that one may have tried all but one, and for maglev_bounded to count exactly. */
static void randomize(const char *scheduler)
{
    bed_add_service(0);
    bed_add_pool(scheduler, 1 + below(TRIED_MAX + 1));
    bed_add_pool(scheduler, 1 + below(4));
    if (now_and_then(50))
        bed.services[0].persistence_ms = KEEP_MS;
    if (now_and_then(50))
        bed.services[0].fallback_pool = 1;
    for (uint32_t p = 0; p < 2; p++) {
        struct snapshot_pool *pool = &bed.pools[p];
        pool->slow_start_ms = now_and_then(50) ? 5000 : 0;
        pool->min_healthy = below(3);
        pool->backup_use = below(BACKUP_USE_COUNT);
        pool->panic_threshold = now_and_then(30) ? 50 : 0;
        pool->on_return = below(SESSIONS_COUNT);
    }
    for (uint32_t i = 0; i < bed.header.n_backends; i++)
        randomize_backend(&bed.backends[i]);
    bed_set_all_health(SB_HEALTH_UP);
    memset(sessions, 0, sizeof(sessions));
}

static void stir(void)
{
    uint32_t i = below(bed.header.n_backends);

    switch (below(4)) {
    case 0:
        (void)scoreboard_set_health(&sb, bed.backends[i].slot,
                                    now_and_then(60) ? SB_HEALTH_UP : below(SB_HEALTH_COUNT), "",
                                    bed_now_ms());
        break;
    case 1:
        end_session(below(SESSIONS_MAX));
        break;
    case 2:
        now_us += below(200000);
        break;
    default:
        ewma_add(&sb.slot_time[bed.backends[i].slot], 1 + below(1000000), bed_now_ms());
        break;
    }
}

/* --- explanations foretell choices --- */

static bool is_same(const struct explanation *a, const struct explanation *b)
{
    return a->choice == b->choice && a->pool == b->pool && a->backend == b->backend;
}

static bool comes_true(uint32_t worker, uint32_t client)
{
    enum choice choice = bed_choose(choosers[worker], 0, client, &chosen);

    if (choice != (enum choice)explanation.choice || chosen.pool != explanation.pool)
        return false;
    if (choice != CHOICE_MADE)
        return explanation.rule == EXPLAINED_BY_NOTHING && explanation.backend == SNAPSHOT_NONE;
    keep_session(worker);
    return chosen.index == explanation.backend;
}

/* What is certain is so in every worker. */
static bool is_certain(uint32_t client)
{
    static struct explanation others;

    for (uint32_t w = 0; w < BED_WORKERS; w++) {
        explain_to(w, client, &others);
        if (!is_same(&others, &explanation) || !others.certain)
            return false;
    }
    return true;
}

static void open_choosers(void)
{
    for (uint32_t w = 0; w < BED_WORKERS; w++)
        choosers[w] = bed_open(w, NULL);
}

static void renew_world(unsigned seed, const char *scheduler)
{
    teardown();
    bed_setup();
    srandom(seed);
    randomize(scheduler);
    open_choosers();
}

START_TEST(what_is_explained_comes_true)
{
    uint32_t made = 0, certain = 0, steps = 0;

    for (unsigned seed = 1; seed <= 12; seed++) {
        renew_world(seed, sched_table[_i]->name);
        for (int step = 0; step < 120; step++, steps++) {
            uint32_t worker = below(BED_WORKERS), client = below(30);
            stir();
            explain_to(worker, client, &explanation);
            if (explanation.certain)
                ck_assert_msg(is_certain(client), "seed %u, step %d: not certain", seed, step);
            ck_assert_msg(comes_true(worker, client), "seed %u, step %d: %u in pool %u, %u", seed,
                          step, explanation.backend, explanation.pool, explanation.choice);
            made += explanation.choice == CHOICE_MADE;
            certain += explanation.certain != 0 && explanation.rule == EXPLAINED_BY_SCHEDULER;
        }
    }
    /* or the test has seen nothing */
    ck_assert_uint_gt(made, steps / 3);
    ck_assert_uint_gt(certain, steps / 100);
}
END_TEST

/* Whether a client who has tried all but i comes to i. */
static bool is_possible(uint32_t pool, uint32_t i, uint32_t n, uint32_t client)
{
    struct choose_tried tried[TRIED_MAX];
    uint32_t n_tried = 0;

    for (uint32_t other = 0; other < n; other++) {
        if (other != i)
            tried[n_tried++] = (struct choose_tried){(uint16_t)pool, (uint16_t)other};
    }
    if (bed_retry(choosers[0], client, tried, n_tried, true, &chosen) != CHOICE_MADE)
        return false;
    keep_session(0);
    return chosen.pool == pool && chosen.index == i;
}

static bool might_have_been(enum why_not why)
{
    return why == WHY_NOT_IT_IS || why == WHY_NOT_LOADED || why == WHY_NOT_PREFERRED ||
           why == WHY_NOT_LEASE || why == WHY_NOT_SLOW_START;
}

/* A backend of which a state, or its rate, is said to be in the way cannot be chosen; any other
 * can, when there is nobody else. */
START_TEST(reasons_are_true)
{
    for (unsigned seed = 100; seed < 112; seed++) {
        renew_world(seed, sched_table[_i]->name);
        for (int step = 0; step < 80; step++) {
            uint32_t client = below(30);
            stir();
            explain(client);
            uint32_t n = bed.pools[explanation.pool].n_backends, i = below(n), its = 0;
            ck_assert_uint_eq(explanation.n_others - explanation.n_own, n);
            for (uint32_t other = 0; other < n; other++)
                its += explanation.others[other].why == WHY_NOT_IT_IS;
            ck_assert_uint_eq(its, explanation.choice == CHOICE_MADE);
            enum why_not why = explanation.others[i].why;
            ck_assert_msg(is_possible(explanation.pool, i, n, client) == might_have_been(why),
                          "seed %u, step %d: %u of pool %u, why %d", seed, step, i,
                          explanation.pool, why);
        }
    }
}
END_TEST

/* --- and change nothing --- */

#define CHOICES_MAX 400

/* Whatever happens is decided by seed alone; explanations, asked for at odd moments by odd clients,
 * may make no difference. */
static void run(unsigned seed, const char *scheduler, bool explained, uint32_t *choices)
{
    renew_world(seed, scheduler);
    for (uint32_t step = 0; step < CHOICES_MAX; step++) {
        uint32_t worker = below(BED_WORKERS), client = below(30);
        stir();
        for (uint32_t n = 0; n < step % 4; n++) {
            now_us += 7000; /* between steps of slow start, too */
            if (explained)
                explain_to((worker + n) % BED_WORKERS, step * n % 40, &explanation);
        }
        enum choice choice = bed_choose(choosers[worker], 0, client, &chosen);
        choices[step] = (uint32_t)choice << 24 | chosen.pool << 16 | (chosen.index & 0xffff);
        if (choice == CHOICE_MADE)
            keep_session(worker);
    }
}

START_TEST(asking_changes_nothing)
{
    static uint32_t without[CHOICES_MAX], with[CHOICES_MAX];

    for (unsigned seed = 200; seed < 206; seed++) {
        run(seed, sched_table[_i]->name, false, without);
        run(seed, sched_table[_i]->name, true, with);
        ck_assert_mem_eq(without, with, sizeof(with));
    }
}
END_TEST

/* --- what is said --- */

static void expect_whys(const enum why_not *whys, uint32_t n)
{
    ck_assert_uint_eq(explanation.n_others, n);
    for (uint32_t i = 0; i < n; i++)
        ck_assert_msg(explanation.others[i].why == whys[i], "%u: %u, not %d", i,
                      explanation.others[i].why, whys[i]);
}

/* A pool of n under wlc for service 0, all up, each with 10 sessions of others. */
static void make_pool(const char *scheduler, uint32_t n)
{
    bed_setup();
    bed_add_service(0);
    bed_add_pool(scheduler, n);
    bed_set_all_health(SB_HEALTH_UP);
    for (uint32_t i = 0; i < n; i++)
        atomic_store(&sb.slot_active[bed_slot(0, i)], 10);
}

static void set_active(uint32_t i, uint32_t active)
{
    atomic_store(&sb.slot_active[bed_slot(0, i)], active);
}

START_TEST(each_ones_state_is_said)
{
    static const enum why_not whys[] = {
        WHY_NOT_LOADED,   WHY_NOT_MAINTENANCE, WHY_NOT_DOWN,      WHY_NOT_DRAINING,
        WHY_NOT_DRAINING, WHY_NOT_STARTING,    WHY_NOT_FULL,      WHY_NOT_STANDBY,
        WHY_NOT_RATE,     WHY_NOT_SLOW_START,  WHY_NOT_PREFERRED, WHY_NOT_IT_IS,
        WHY_NOT_DOWN,
    };

    make_pool("wlc", COUNT(whys));
    bed.pools[0].slow_start_ms = 100000;
    bed_backend(0, 1)->admin = ADMIN_MAINTENANCE;
    bed_set_health(0, 2, SB_HEALTH_DOWN);
    bed_backend(0, 3)->admin = ADMIN_DRAIN;
    bed_backend(0, 4)->weight = 0;
    bed_set_health(0, 5, SB_HEALTH_UNKNOWN);
    bed_set_limit(0, 6, 10, 5);
    bed_backend(0, 7)->backup = 1;
    bed_backend(0, 8)->connect_rate =
        (struct snapshot_rate){.interval_ns = UINT64_C(1) << 40, .burst = 1};
    ck_assert(
        rate_take(&sb.slot_rate[bed_slot(0, 8)], &bed_backend(0, 8)->connect_rate, now_us * 1000));
    bed_set_health(0, 9, SB_HEALTH_DOWN);
    bed_set_health(0, 9, SB_HEALTH_UP);
    bed_backend(0, 9)->weight = 8; /* less loaded than any: 1 / 0.8 */
    set_active(9, 0);
    bed_backend(0, 10)->weight = 2; /* 11 / 2 = 5.5 / 1 */
    set_active(10, 10);
    bed_backend(0, 11)->weight = 2;
    bed_backend(0, 12)->address = (struct addr){0};
    start();
    explain(1);
    if (explanation.backend == 10) { /* they tie: it was the other's turn */
        ck_assert_int_eq(bed_choose(choosers[0], 0, 1, &chosen), CHOICE_MADE);
        set_active(10, 10);
        explain(1);
    }
    expect_whys(whys, COUNT(whys));
    ck_assert_uint_eq(explanation.rule, EXPLAINED_BY_SCHEDULER);
    ck_assert_uint_eq(explanation.ties, 1);
    ck_assert_uint_eq(explanation.certain, 0);
    ck_assert_uint_eq(explanation.others[6].active, 10);
    ck_assert_uint_eq(explanation.others[11].weight, 2000);
    ck_assert_uint_eq(explanation.others[9].weight, 800);
    ck_assert_uint_eq(explanation.others[2].weight, 0);
    ck_assert_uint_eq(explanation.generation, 1);
}
END_TEST

/* Health is overlooked: so what is said is what is in the way. */
START_TEST(reasons_in_panic)
{
    static const enum why_not whys[] = {WHY_NOT_IT_IS,    WHY_NOT_LOADED, WHY_NOT_FULL,
                                        WHY_NOT_DRAINING, WHY_NOT_DOWN,   WHY_NOT_STARTING};

    make_pool("wlc", COUNT(whys));
    bed.pools[0].panic_threshold = 100;
    bed_set_all_health(SB_HEALTH_DOWN);
    set_active(0, 9);
    bed_set_limit(0, 2, 10, 10);
    bed_backend(0, 3)->admin = ADMIN_DRAIN;
    bed_set_health(0, 3, SB_HEALTH_UP);
    bed_backend(0, 4)->address = (struct addr){0};
    bed_set_health(0, 5, SB_HEALTH_UNKNOWN);
    start();
    explain(1);
    ck_assert_uint_eq(explanation.panic, 1);
    expect_whys(whys, COUNT(whys));
}
END_TEST

START_TEST(nobody_can_be_had)
{
    static const enum why_not all_full[] = {WHY_NOT_FULL, WHY_NOT_DOWN},
                              all_start[] = {WHY_NOT_STARTING, WHY_NOT_DOWN};

    make_pool("wlc", 2);
    bed_set_limit(0, 0, 10, 10);
    bed_set_health(0, 1, SB_HEALTH_DOWN);
    start();
    explain(1);
    ck_assert_uint_eq(explanation.choice, CHOICE_FULL);
    ck_assert_uint_eq(explanation.rule, EXPLAINED_BY_NOTHING);
    ck_assert_uint_eq(explanation.backend, SNAPSHOT_NONE);
    expect_whys(all_full, 2);
    bed_set_health(0, 0, SB_HEALTH_UNKNOWN);
    explain(1);
    ck_assert_uint_eq(explanation.choice, CHOICE_STARTING);
    expect_whys(all_start, 2);
}
END_TEST

/* One after the other is passed over, as a session does it. */
START_TEST(who_has_no_port_is_passed_over)
{
    static const enum why_not some[] = {WHY_NOT_PORTS, WHY_NOT_IT_IS, WHY_NOT_DOWN},
                              none[] = {WHY_NOT_PORTS, WHY_NOT_PORTS, WHY_NOT_DOWN},
                              one_full[] = {WHY_NOT_PORTS, WHY_NOT_FULL, WHY_NOT_DOWN};

    make_pool("wlc", 3);
    bed_set_health(0, 2, SB_HEALTH_DOWN);
    for (uint32_t i = 0; i < 3; i++)
        bed_set_ports(i, 16, i == 0 ? 16 : 15);
    set_active(0, 1);
    start();
    explain(1);
    ck_assert_uint_eq(explanation.rule, EXPLAINED_BY_SCHEDULER);
    ck_assert_uint_eq(explanation.certain, 1);
    expect_whys(some, 3);
    bed_set_ports(1, 16, 16);
    explain(1);
    ck_assert_uint_eq(explanation.choice, CHOICE_TRIED);
    ck_assert_uint_eq(explanation.rule, EXPLAINED_BY_NOTHING);
    ck_assert_uint_eq(explanation.backend, SNAPSHOT_NONE);
    expect_whys(none, 3);
    bed_set_limit(0, 1, 10, 10);
    close_choosers();
    start();
    explain(1);
    ck_assert_uint_eq(explanation.choice, CHOICE_FULL);
    expect_whys(one_full, 3);
}
END_TEST

START_TEST(a_source_that_is_shut_has_no_port)
{
    make_pool("rr", 1);
    bed_set_ports(0, 16, 0);
    ports_fail(&sb, 1, SB_PAIR_ABSENT, EADDRNOTAVAIL, bed_now_ms());
    start();
    explain(1);
    ck_assert_uint_eq(explanation.choice, CHOICE_TRIED);
    bed_wait(1000);
    explain(1);
    ck_assert_uint_eq(explanation.choice, CHOICE_MADE);
}
END_TEST

/* Beyond that many a session is refused. */
START_TEST(only_so_many_are_passed_over)
{
    make_pool("first", TRIED_MAX + 2);
    for (uint32_t i = 0; i < TRIED_MAX + 1; i++)
        bed_set_ports(i, 16, i < TRIED_MAX ? 16 : 15);
    start();
    explain(1);
    ck_assert_uint_eq(explanation.backend, TRIED_MAX);
    bed_set_ports(TRIED_MAX, 16, 16);
    explain(1);
    ck_assert_uint_eq(explanation.choice, CHOICE_TRIED);
    ck_assert_uint_eq(explanation.backend, SNAPSHOT_NONE);
}
END_TEST

START_TEST(a_lease_has_no_port_either)
{
    make_pool("wlc", 2);
    bed.services[0].persistence_ms = KEEP_MS;
    for (uint32_t i = 0; i < 2; i++)
        bed_set_ports(i, 16, 0);
    start();
    ck_assert_int_eq(bed_choose(choosers[0], 0, 1, &chosen), CHOICE_MADE);
    explain(1);
    ck_assert_uint_eq(explanation.rule, EXPLAINED_BY_LEASE);
    bed_set_ports(chosen.index, 16, 16);
    explain(1);
    ck_assert_uint_eq(explanation.rule, EXPLAINED_BY_SCHEDULER);
    ck_assert_uint_eq(explanation.backend, 1 - chosen.index);
}
END_TEST

/* A client may be lent one that is kept. */
START_TEST(kept_connections_need_no_port)
{
    make_pool("rr", 1);
    bed.pools[0].reuse = (struct snapshot_reuse){.mode = REUSE_WARM, .max_idle = 1};
    bed_set_ports(0, 16, 16);
    start();
    explain(1);
    ck_assert_uint_eq(explanation.choice, CHOICE_MADE);
}
END_TEST

START_TEST(the_fallback_has_ports)
{
    make_pool("wlc", 1);
    bed_add_pool("rr", 1);
    bed_set_all_health(SB_HEALTH_UP);
    bed.services[0].fallback_pool = 1;
    bed_set_ports(0, 16, 16);
    start();
    explain(1);
    ck_assert_uint_eq(explanation.is_fallback, 1);
    ck_assert_uint_eq(explanation.choice, CHOICE_MADE);
    ck_assert_uint_eq(explanation.others[1].why, WHY_NOT_PORTS);
}
END_TEST

START_TEST(what_was_tried_does_not_count)
{
    static const struct choose_tried tried[] = {{.index = 0}, {.index = 1}};
    struct addr_ip address = bed_client(1);
    struct choose_request request = {.client = &address,
                                     .destination = &address,
                                     .tried = tried,
                                     .n_tried = COUNT(tried),
                                     .now_us = now_us};

    make_pool("wlc", 2);
    set_active(1, 3);
    start();
    chooser_explain(choosers[0], &request, &explanation);
    ck_assert_uint_eq(explanation.choice, CHOICE_MADE);
    ck_assert_uint_eq(explanation.backend, 1);
}
END_TEST

START_TEST(leases_are_named)
{
    static const enum why_not whys[] = {WHY_NOT_LEASE, WHY_NOT_LEASE, WHY_NOT_IT_IS, WHY_NOT_DOWN};

    make_pool("wlc", 4);
    bed.services[0].persistence_ms = KEEP_MS;
    set_active(2, 0);
    bed_set_health(0, 3, SB_HEALTH_DOWN);
    start();
    ck_assert_int_eq(bed_choose(choosers[0], 0, 1, &chosen), CHOICE_MADE);
    ck_assert_int_eq(bed_choose(choosers[0], 0, 1, &chosen), CHOICE_MADE);
    set_active(2, 100);
    explain(1);
    ck_assert_uint_eq(explanation.rule, EXPLAINED_BY_LEASE);
    ck_assert_uint_eq(explanation.certain, 1);
    ck_assert_uint_eq(explanation.lease_sessions, 2);
    expect_whys(whys, 4);

    lease_release(&sb, &chosen.hold, bed_backend(0, 2)->row, bed_now_ms(), KEEP_MS);
    bed_wait(LEASE_UNIT_MS);
    explain(1);
    ck_assert_uint_eq(explanation.lease_sessions, 1);
    ck_assert_uint_eq(explanation.lease_ends_in_ms, KEEP_MS - LEASE_UNIT_MS);
    explain(2);
    ck_assert_uint_eq(explanation.rule, EXPLAINED_BY_SCHEDULER);
    ck_assert_uint_ne(explanation.backend, 2);
}
END_TEST

START_TEST(the_fallback_is_named)
{
    make_pool("wlc", 2);
    bed_add_pool("rr", 3);
    bed_set_all_health(SB_HEALTH_UP);
    bed.services[0].fallback_pool = 1;
    start();
    explain(1);
    ck_assert_uint_eq(explanation.is_fallback, 0);
    bed_set_health(0, 0, SB_HEALTH_DOWN);
    bed_set_health(0, 1, SB_HEALTH_DOWN);
    explain(1);
    ck_assert_uint_eq(explanation.is_fallback, 1);
    ck_assert_uint_eq(explanation.pool, 1);
    ck_assert_uint_eq(explanation.choice, CHOICE_MADE);
    ck_assert_uint_eq(explanation.n_others, 5);
    ck_assert_uint_eq(explanation.n_own, 2);
    ck_assert_uint_eq(explanation.others[3].why, WHY_NOT_DOWN);
    ck_assert_uint_eq(explanation.others[4].why, WHY_NOT_DOWN);
    for (uint32_t i = 0; i < 3; i++)
        bed_set_health(1, i, SB_HEALTH_DOWN);
    explain(1); /* of the pool itself */
    ck_assert_uint_eq(explanation.is_fallback, 0);
    ck_assert_uint_eq(explanation.pool, 0);
    ck_assert_uint_eq(explanation.choice, CHOICE_NONE);
    ck_assert_uint_eq(explanation.n_others, 2);
    ck_assert_uint_eq(explanation.n_own, 0);
}
END_TEST

/* Loads of three backends of weights 1, 2, 4; the chosen one, how many tie with it, certainty. */
START_TEST(ties_are_counted)
{
    static const struct {
        const char *scheduler;
        uint32_t active[3], backend, ties, certain;
    } cases[] = {
        {"lc", {1, 2, 3}, 0, 0, 1},  {"lc", {2, 1, 2}, 1, 0, 1},  {"lc", {1, 1, 2}, 0, 1, 0},
        {"lc", {7, 7, 7}, 0, 2, 0},  {"wlc", {0, 1, 3}, 0, 2, 0}, {"wlc", {0, 2, 3}, 0, 1, 0},
        {"wlc", {1, 2, 3}, 2, 0, 1}, {"nq", {0, 1, 0}, 2, 0, 1},  {"nq", {0, 0, 1}, 1, 0, 1},
        {"nq", {1, 3, 7}, 0, 2, 0},  {"nq", {0, 1, 1}, 0, 0, 1},  {"first", {1, 1, 1}, 2, 0, 1},
        {"ovf", {1, 1, 4}, 1, 0, 1},
    };

    make_pool(cases[_i].scheduler, 3);
    for (uint32_t i = 0; i < 3; i++) {
        bed_backend(0, i)->weight = UINT32_C(1) << i;
        set_active(i, cases[_i].active[i]);
    }
    start();
    explain(1);
    ck_assert_uint_eq(explanation.backend, cases[_i].backend);
    ck_assert_uint_eq(explanation.ties, cases[_i].ties);
    ck_assert_uint_eq(explanation.certain, cases[_i].certain);
}
END_TEST

/* Turns and chance leave open who comes, unless there is only one. */
START_TEST(certainty_of_each_kind)
{
    enum sched_kind kind = sched_table[_i]->kind;

    make_pool(sched_table[_i]->name, 3);
    set_active(1, 4);
    start();
    explain(1);
    ck_assert_uint_eq(explanation.certain, kind != SCHED_BY_TURN && kind != SCHED_BY_CHANCE);
    bed_set_health(0, 0, SB_HEALTH_DOWN);
    bed_set_health(0, 1, SB_HEALTH_DOWN);
    explain(1);
    ck_assert_uint_eq(explanation.backend, 2);
    ck_assert_uint_eq(explanation.certain, 1);
}
END_TEST

static void add_random(Suite *suite, int n_schedulers)
{
    TCase *tcase = tcase_create("random");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, bed_setup, teardown);
    tcase_add_loop_test(tcase, what_is_explained_comes_true, 0, n_schedulers);
    tcase_add_loop_test(tcase, reasons_are_true, 0, n_schedulers);
    tcase_add_loop_test(tcase, asking_changes_nothing, 0, n_schedulers);
    suite_add_tcase(suite, tcase);
}

static void add_words(Suite *suite, int n_schedulers)
{
    TCase *tcase = tcase_create("words");

    tcase_add_checked_fixture(tcase, NULL, teardown);
    tcase_add_test(tcase, each_ones_state_is_said);
    tcase_add_test(tcase, reasons_in_panic);
    tcase_add_test(tcase, nobody_can_be_had);
    tcase_add_test(tcase, who_has_no_port_is_passed_over);
    tcase_add_test(tcase, a_source_that_is_shut_has_no_port);
    tcase_add_test(tcase, only_so_many_are_passed_over);
    tcase_add_test(tcase, a_lease_has_no_port_either);
    tcase_add_test(tcase, kept_connections_need_no_port);
    tcase_add_test(tcase, the_fallback_has_ports);
    tcase_add_test(tcase, what_was_tried_does_not_count);
    tcase_add_test(tcase, leases_are_named);
    tcase_add_test(tcase, the_fallback_is_named);
    tcase_add_loop_test(tcase, ties_are_counted, 0, 13);
    tcase_add_loop_test(tcase, certainty_of_each_kind, 0, n_schedulers);
    suite_add_tcase(suite, tcase);
}

int main(void)
{
    Suite *suite = suite_create("sched explain");
    int n_schedulers = 0;

    while (sched_table[n_schedulers] != NULL)
        n_schedulers++;
    add_random(suite, n_schedulers);
    add_words(suite, n_schedulers);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
