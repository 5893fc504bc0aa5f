/*
 * What must hold whatever happens: random pools under every scheduler, with health, configuration,
 * limits and sessions changing at random, several workers on one scoreboard; after each step the
 * choice is compared with a reference written from the truth table of pool/eligibility.h and the
 * words of sched/choose.h, which shares no code with the chooser. Then shares over many choices,
 * and real processes.
 */
#include <math.h>

#include "test_sched_fixture.h"

#define POOLS        2
#define BACKENDS     40 /* of one pool */
#define CLIENTS      20
#define SESSIONS_MAX 150
#define UNIT_MS      LEASE_UNIT_MS /* time goes on in these, so that leases end when they should */
#define KEEP_MS      (30 * UNIT_MS)

static struct chooser *choosers[BED_WORKERS];

static void teardown(void)
{
    for (uint32_t w = 0; w < BED_WORKERS; w++) {
        chooser_destroy(choosers[w]);
        choosers[w] = NULL;
    }
    bed_teardown();
}

static uint32_t below(uint32_t limit)
{
    return (uint32_t)random() % limit;
}

static bool now_and_then(uint32_t percent)
{
    return below(100) < percent;
}

/* --- the reference: what is known of each slot, and of each client's lease --- */

struct ref_slot {
    enum sb_health health;
    uint32_t active;
    bool full;           /* has been at its limit, and not under resume since */
    uint64_t arrival_ns; /* connect_rate: when the next event would be due by the interval alone */
};

struct ref_lease {
    bool known;
    uint32_t row, sessions;
    uint32_t moves; /* of which a lease keeps two bits */
    uint64_t end_ms;
};

static struct ref_slot slots[SB_SLOTS_MAX];
static struct ref_lease leases[CLIENTS];

struct ref_survey {
    uint32_t ready, up, starting, first_backup;
    bool needs_backups, panic;
};

static enum sb_health health_of(const struct snapshot_backend *backend)
{
    if (backend->address.ip.family == ADDR_NONE)
        return SB_HEALTH_DOWN;
    return backend->n_checks == 0 ? SB_HEALTH_UP : slots[backend->slot].health;
}

static bool is_ready(const struct snapshot_backend *backend)
{
    return backend->admin == ADMIN_READY && backend->weight > 0;
}

static struct ref_survey survey(uint32_t p)
{
    const struct snapshot_pool *pool = &bed.pools[p];
    struct ref_survey out = {.first_backup = SNAPSHOT_NONE};
    uint32_t primaries = 0;

    for (uint32_t i = pool->n_backends; i-- > 0;) {
        const struct snapshot_backend *backend = bed_backend(p, i);
        if (!is_ready(backend))
            continue;
        out.ready++;
        out.starting += health_of(backend) == SB_HEALTH_UNKNOWN;
        if (health_of(backend) != SB_HEALTH_UP)
            continue;
        out.up++;
        primaries += !backend->backup;
        if (backend->backup)
            out.first_backup = i;
    }
    out.needs_backups = primaries < pool->min_healthy;
    out.panic = (out.up + out.starting) * 100 < out.ready * pool->panic_threshold;
    return out;
}

static bool is_standby(uint32_t p, uint32_t i, const struct ref_survey *s)
{
    if (!bed_backend(p, i)->backup || s->panic)
        return false;
    if (!s->needs_backups)
        return true;
    return bed.pools[p].backup_use == BACKUP_USE_FIRST && s->first_backup != i;
}

/* Columns "new" and "returning" of the truth table, without load. */
static bool takes_new(uint32_t p, uint32_t i, const struct ref_survey *s)
{
    const struct snapshot_backend *backend = bed_backend(p, i);

    if (!is_ready(backend) || health_of(backend) == SB_HEALTH_UNKNOWN)
        return false;
    if (health_of(backend) == SB_HEALTH_DOWN)
        return s->panic && backend->address.ip.family != ADDR_NONE;
    return !is_standby(p, i, s);
}

static bool takes_returning(uint32_t p, uint32_t i, const struct ref_survey *s)
{
    const struct snapshot_backend *backend = bed_backend(p, i);
    bool is_up = health_of(backend) == SB_HEALTH_UP;

    if (backend->admin == ADMIN_DRAIN || (backend->admin == ADMIN_READY && backend->weight == 0))
        return is_up;
    if (is_ready(backend) && is_up && is_standby(p, i, s))
        return bed.pools[p].on_return == SESSIONS_KEEP;
    return takes_new(p, i, s);
}

static bool has_room(const struct snapshot_backend *backend)
{
    const struct ref_slot *slot = &slots[backend->slot];
    const struct snapshot_rate *rate = &backend->connect_rate;
    bool full = backend->max_connections != 0 && slot->full;
    bool allowed = rate->interval_ns == 0 ||
                   slot->arrival_ns <= now_us * 1000 + (rate->burst - 1) * rate->interval_ns;

    return !full && allowed;
}

static void note_active(const struct snapshot_backend *backend)
{
    struct ref_slot *slot = &slots[backend->slot];

    if (slot->active >= backend->max_connections)
        slot->full = true;
    if (slot->active < backend->resume_connections)
        slot->full = false;
}

/* --- the reference: what a choice must come to --- */

struct question {
    uint32_t client;
    struct choose_tried tried[TRIED_MAX];
    uint32_t n_tried;
    bool again;
};

struct expected {
    enum choice choice;
    uint32_t pool;
    uint32_t leased;       /* index, or SNAPSHOT_NONE: not by a lease */
    bool usable[BACKENDS]; /* otherwise: one of these */
};

static bool was_tried(const struct question *q, uint32_t p, uint32_t i)
{
    for (uint32_t t = 0; t < q->n_tried; t++) {
        if (q->tried[t].pool == p && q->tried[t].index == i)
            return true;
    }
    return false;
}

static uint32_t find_leased(uint32_t p, const struct question *q, const struct ref_survey *s)
{
    const struct ref_lease *lease = &leases[q->client];

    if (bed.services[0].persistence_ms == 0 || !lease->known ||
        (lease->sessions == 0 && lease->end_ms <= bed_now_ms()))
        return SNAPSHOT_NONE;
    for (uint32_t i = 0; i < bed.pools[p].n_backends; i++) {
        const struct snapshot_backend *backend = bed_backend(p, i);
        if (backend->row == lease->row)
            return takes_returning(p, i, s) && has_room(backend) && !was_tried(q, p, i)
                       ? i
                       : SNAPSHOT_NONE;
    }
    return SNAPSHOT_NONE;
}

static struct expected expect_in(uint32_t p, const struct question *q)
{
    struct ref_survey s = survey(p);
    struct expected out = {.pool = p, .leased = find_leased(p, q, &s)};
    uint32_t usable = 0, untried = 0, eligible = 0;

    for (uint32_t i = 0; i < bed.pools[p].n_backends; i++) {
        bool is_untried = takes_new(p, i, &s) && !was_tried(q, p, i);
        out.usable[i] = is_untried && has_room(bed_backend(p, i));
        eligible += takes_new(p, i, &s);
        untried += is_untried;
        usable += out.usable[i];
    }
    if (out.leased != SNAPSHOT_NONE || usable > 0)
        out.choice = CHOICE_MADE;
    else if (untried > 0)
        out.choice = CHOICE_FULL;
    else if (eligible > 0)
        out.choice = CHOICE_TRIED;
    else
        out.choice = s.starting > 0 ? CHOICE_STARTING : CHOICE_NONE;
    return out;
}

static struct expected expect(const struct question *q)
{
    const struct snapshot_service *service = &bed.services[0];
    struct expected out = expect_in(service->pool, q);

    if (service->fallback_pool == SNAPSHOT_NONE ||
        (out.choice != CHOICE_NONE && (out.choice != CHOICE_TRIED || q->again)))
        return out;
    struct expected fallback = expect_in(service->fallback_pool, q);
    return fallback.choice == CHOICE_NONE ? out : fallback;
}

static bool is_as_expected(const struct expected *expected, enum choice choice,
                           const struct chosen *chosen)
{
    if (choice != expected->choice || chosen->pool != expected->pool)
        return false;
    if (choice != CHOICE_MADE)
        return chosen->hold.place == 0;
    if (chosen->index >= bed.pools[chosen->pool].n_backends)
        return false;
    return expected->leased == SNAPSHOT_NONE ? expected->usable[chosen->index]
                                             : expected->leased == chosen->index;
}

/* --- sessions --- */

static struct session {
    bool open;
    uint32_t worker, client, slot, row, moves;
    struct lease_hold hold;
} sessions[SESSIONS_MAX];

static const struct snapshot_backend *find_slot(uint32_t slot)
{
    for (uint32_t p = 0; p < POOLS; p++) {
        for (uint32_t i = 0; i < bed.pools[p].n_backends; i++) {
            if (bed_slot(p, i) == slot)
                return bed_backend(p, i);
        }
    }
    return NULL;
}

static void begin(struct session *session, uint32_t worker, uint32_t client,
                  const struct chosen *chosen)
{
    const struct snapshot_backend *backend = bed_backend(chosen->pool, chosen->index);
    struct ref_lease *lease = &leases[client];
    struct ref_slot *slot = &slots[backend->slot];
    uint64_t now_ns = now_us * 1000;

    slot->active++;
    note_active(backend);
    if (backend->connect_rate.interval_ns != 0)
        slot->arrival_ns = (slot->arrival_ns > now_ns ? slot->arrival_ns : now_ns) +
                           backend->connect_rate.interval_ns;
    *session = (struct session){.open = true,
                                .worker = worker,
                                .client = client,
                                .slot = backend->slot,
                                .row = backend->row,
                                .hold = chosen->hold};
    if (bed.services[0].persistence_ms == 0)
        return;
    if (!lease->known || lease->row != backend->row)
        *lease = (struct ref_lease){
            .known = true, .row = backend->row, .moves = lease->moves + 1, .end_ms = bed_now_ms()};
    lease->sessions++;
    session->moves = lease->moves;
}

static void end(struct session *session, uint64_t keep_ms)
{
    struct ref_lease *lease = &leases[session->client];
    const struct snapshot_backend *backend = find_slot(session->slot);

    if (!session->open)
        return;
    bool is_its = session->hold.place != 0 && lease->row == session->row &&
                  (lease->moves - session->moves) % 4 == 0 && lease->sessions > 0;
    if (is_its) {
        lease->sessions--;
        lease->end_ms = bed_now_ms() + keep_ms;
    }
    scoreboard_release(&sb, session->worker, SB_SLOT, session->slot);
    lease_release(&sb, &session->hold, session->row, bed_now_ms(), keep_ms);
    slots[session->slot].active--;
    if (backend != NULL)
        note_active(backend);
    session->open = false;
}

/* --- what happens --- */

static void set_health(const struct snapshot_backend *backend, enum sb_health health)
{
    (void)scoreboard_set_health(&sb, backend->slot, health, "", bed_now_ms());
    slots[backend->slot].health = health;
}

static void set_limit(uint32_t p, uint32_t i, uint32_t limit, uint32_t resume)
{
    bed_set_limit(p, i, limit, resume);
    struct ref_slot *slot = &slots[bed_slot(p, i)];
    slot->full = limit != 0 && slot->active >= limit;
}

static void randomize_backend(uint32_t p, uint32_t i)
{
    struct snapshot_backend *backend = bed_backend(p, i);
    uint32_t limit = now_and_then(50) ? 1 + below(6) : 0;

    backend->weight = below(9);
    backend->admin = now_and_then(20) ? below(ADMIN_COUNT) : ADMIN_READY;
    backend->backup = now_and_then(25);
    backend->n_checks = !now_and_then(10);
    backend->address.ip.family = now_and_then(5) ? ADDR_NONE : ADDR_IPV4;
    backend->connect_rate = (struct snapshot_rate){0};
    if (now_and_then(15))
        backend->connect_rate =
            (struct snapshot_rate){.interval_ns = 1 + below(1000000000), .burst = 1 + below(4)};
    set_limit(p, i, limit, limit == 0 ? 0 : 1 + below(limit));
}

/* A new one in the place of, or after, others. */
static void make_backend(uint32_t p, uint32_t i)
{
    static uint32_t n_made;
    struct snapshot_backend *backend = bed_backend(p, i);

    n_made = (n_made + 1) % 8000;
    *backend = (struct snapshot_backend){
        .slot = 100 + n_made, .row = 100 + n_made, .address.ip.port = 1, .weight = 1};
    (void)snprintf(backend->name, NAME_BYTES_MAX, "n%u", n_made);
    memset(&slots[backend->slot], 0, sizeof(slots[0]));
    randomize_backend(p, i);
    set_health(backend, now_and_then(70) ? SB_HEALTH_UP : SB_HEALTH_UNKNOWN);
}

static void randomize_pool(uint32_t p)
{
    struct snapshot_pool *pool = &bed.pools[p];

    pool->min_healthy = now_and_then(50) ? 1 : below(4);
    pool->panic_threshold = now_and_then(30) ? below(101) : 0;
    pool->backup_use = below(BACKUP_USE_COUNT);
    pool->on_return = below(SESSIONS_COUNT);
    pool->slow_start_ms = now_and_then(50) ? 1 + below(5000) : 0;
    pool->hash_key = below(HASH_KEY_COUNT);
}

static void remove_backend(uint32_t p, uint32_t i)
{
    struct snapshot_pool *pool = &bed.pools[p];
    struct snapshot_backend removed = *bed_backend(p, i);

    pool->n_backends--;
    memmove(bed_backend(p, i), bed_backend(p, i + 1), (pool->n_backends - i) * sizeof(removed));
    *bed_backend(p, pool->n_backends) = removed; /* not in the pool, but a good record */
}

static void swap_backends(uint32_t p, uint32_t i, uint32_t j)
{
    struct snapshot_backend one = *bed_backend(p, i);
    *bed_backend(p, i) = *bed_backend(p, j);
    *bed_backend(p, j) = one;
}

static void edit(void)
{
    uint32_t p = below(POOLS), n = bed.pools[p].n_backends;

    switch (below(6)) {
    case 0:
        if (n < BACKENDS) {
            bed.pools[p].n_backends++;
            make_backend(p, n);
        }
        break;
    case 1:
        if (n > 1)
            remove_backend(p, below(n));
        break;
    case 2:
        swap_backends(p, below(n), below(n));
        break;
    case 3:
        randomize_pool(p);
        break;
    default:
        randomize_backend(p, below(n));
        break;
    }
}

/* All workers at once. */
static void next_generation(void)
{
    const struct snapshot_header *snapshot = bed_publish();

    for (uint32_t w = 0; w < BED_WORKERS; w++) {
        struct chooser *next = chooser_create(snapshot, &sb, w, bed_now_ms(), choosers[w]);
        ck_assert_ptr_nonnull(next);
        chooser_destroy(choosers[w]);
        choosers[w] = next;
    }
}

static void pass_time(void)
{
    bed_wait(below(20) * UNIT_MS);
    for (uint32_t s = 0; s < SESSIONS_MAX; s++) {
        if (sessions[s].open)
            lease_renew(&sb, &sessions[s].hold, sessions[s].row, bed_now_ms());
    }
}

static void stir(void)
{
    uint32_t p = below(POOLS);
    uint32_t event = below(20);

    if (event < 5) {
        set_health(bed_backend(p, below(bed.pools[p].n_backends)),
                   now_and_then(60) ? SB_HEALTH_UP : below(SB_HEALTH_COUNT));
    } else if (event < 8) {
        pass_time();
    } else if (event < 10) {
        for (uint32_t edits = 1 + below(4); edits > 0; edits--)
            edit();
        next_generation();
    } else if (event < 16) {
        for (uint32_t s = below(SESSIONS_MAX); s < SESSIONS_MAX; s++)
            end(&sessions[s], KEEP_MS);
    }
}

/* --- the test --- */

/* A client's tries, of which some connects fail. Returns whether all was as expected. */
static bool serve(struct session *session, uint32_t *made)
{
    struct question q = {.client = below(CLIENTS), .again = now_and_then(20)};
    uint32_t worker = below(BED_WORKERS);
    struct chosen chosen;

    for (;;) {
        struct addr_ip address = bed_client(q.client);
        struct choose_request request = {.client = &address,
                                         .destination = &address,
                                         .tried = q.tried,
                                         .n_tried = q.n_tried,
                                         .now_us = now_us,
                                         .again = q.again};
        struct expected expected = expect(&q);
        enum choice choice = chooser_choose(choosers[worker], &request, &chosen);
        if (!is_as_expected(&expected, choice, &chosen))
            return false;
        if (choice != CHOICE_MADE)
            return true;
        (*made)++;
        begin(session, worker, q.client, &chosen);
        if (!now_and_then(30) || q.n_tried == TRIED_MAX)
            return true;
        end(session, 0);
        q.tried[q.n_tried++] = (struct choose_tried){(uint16_t)chosen.pool, (uint16_t)chosen.index};
    }
}

/* Counts are what they should be, and no limit was passed by a choice. */
static bool counts_are_good(const struct session *last)
{
    uint32_t wrong = 0;

    for (uint32_t p = 0; p < POOLS; p++) {
        for (uint32_t i = 0; i < bed.pools[p].n_backends; i++) {
            const struct snapshot_backend *backend = bed_backend(p, i);
            uint32_t active = atomic_load(&sb.slot_active[backend->slot]);
            wrong += active != slots[backend->slot].active;
            wrong += last->open && last->slot == backend->slot && backend->max_connections != 0 &&
                     active > backend->max_connections;
        }
    }
    return wrong == 0;
}

static void make_world(unsigned seed, uint32_t scheduler)
{
    teardown();
    bed_setup();
    memset(slots, 0, sizeof(slots));
    memset(leases, 0, sizeof(leases));
    memset(sessions, 0, sizeof(sessions));
    srandom(seed);
    bed_add_service(0);
    for (uint32_t p = 0; p < POOLS; p++) {
        bed_add_pool(sched_table[scheduler]->name, BACKENDS);
        for (uint32_t i = 0; i < BACKENDS; i++)
            make_backend(p, i);
        bed.pools[p].n_backends = 1 + below(now_and_then(50) ? 4 : BACKENDS);
        randomize_pool(p);
    }
    if (now_and_then(50))
        bed.services[0].fallback_pool = 1;
    if (now_and_then(50))
        bed.services[0].persistence_ms = KEEP_MS;
    next_generation();
}

static void expect_emptiness(void)
{
    uint32_t left = 0;

    for (uint32_t s = 0; s < SESSIONS_MAX; s++)
        end(&sessions[s], 0);
    for (uint32_t slot = 0; slot < SB_SLOTS_MAX; slot++) {
        left += atomic_load(&sb.slot_active[slot]);
        for (uint32_t w = 0; w < BED_WORKERS && slot < 8200; w++)
            left += atomic_load(&scoreboard_slot_cell(&sb, w, slot)->active);
    }
    for (uint32_t w = 0; w < BED_WORKERS; w++)
        left += atomic_load(&sb.workers[w].intent) != 0;
    ck_assert_uint_eq(left, 0);
}

START_TEST(choices_are_as_the_reference_says)
{
    uint32_t made = 0, steps = 0;

    for (unsigned seed = 1; seed <= 10; seed++) {
        make_world(seed, (uint32_t)_i);
        for (uint32_t step = 0; step < 250; step++, steps++) {
            struct session *session = &sessions[below(SESSIONS_MAX)];
            end(session, KEEP_MS);
            stir();
            ck_assert_msg(serve(session, &made), "seed %u, step %u: unexpected", seed, step);
            ck_assert_msg(counts_are_good(session), "seed %u, step %u: counts", seed, step);
        }
        expect_emptiness();
    }
    ck_assert_uint_gt(made, steps / 3); /* or the test has seen nothing */
}
END_TEST

/* --- shares --- */

#define PICKS 4000

/*
 * By turn or load, from the least (A + 1) / w: when i got its last session, A_i / w_i was at most
 * (A_j + 1) / w_j of every j, so summed over all j, A_i <= p_i (N + n) with i's share p_i of the
 * weights. Seen from i, of every other, N <= A_i + (A_i + 1) (1 - p_i) / p_i, so A_i >= p_i N - 1,
 * or, where a first session is given whatever the weight (nq), n p_i less. wrr keeps nearer.
 */
static double worst_lag(const uint32_t *counts, uint32_t n, double weight_sum)
{
    double worst = 0;

    for (uint32_t i = 0; i < n; i++) {
        double p = bed_backend(0, i)->weight / weight_sum;
        double lag = fabs(counts[i] - PICKS * p) - (n * p + 2);
        worst = lag > worst ? lag : worst;
    }
    return worst;
}

/*
 * By chance: Pearson's chi-square over the backends with a weight, and of how many standard
 * deviations it is (Wilson and Hilferty's approximation). Independent draws go over six once in
 * 10^9 times; who takes the less loaded of two draws stays nearer to the weights than that.
 */
static double deviation(const uint32_t *counts, uint32_t n, double weight_sum)
{
    double chi_square = 0, freedom = -1;

    for (uint32_t i = 0; i < n; i++) {
        double due = PICKS * bed_backend(0, i)->weight / weight_sum;
        if (due == 0)
            continue;
        chi_square += (counts[i] - due) * (counts[i] - due) / due;
        freedom++;
    }
    if (freedom < 1)
        return 0;
    double spread = 2 / (9 * freedom);
    return (cbrt(chi_square / freedom) - (1 - spread)) / sqrt(spread);
}

static void make_plain_pool(const char *scheduler, uint32_t n)
{
    bed_add_service(0);
    bed_add_pool(scheduler, n);
    bed_set_all_health(SB_HEALTH_UP);
}

/* What .weighted promises: while sessions last, shares of them follow weights. */
START_TEST(shares_follow_weights)
{
    const struct sched_ops *ops = sched_table[_i];

    for (unsigned seed = 1; ops->weighted && seed <= 8; seed++) {
        uint32_t counts[BACKENDS] = {0}, none = 0, n;
        double weight_sum = 0;
        struct chosen chosen;

        teardown();
        bed_setup();
        srandom(seed);
        n = seed <= 2 ? seed : 1 + below(BACKENDS);
        make_plain_pool(ops->name, n);
        for (uint32_t i = 0; i < n; i++) {
            bed_backend(0, i)->weight = i == 0 ? 1 + below(8) : below(9);
            weight_sum += bed_backend(0, i)->weight;
        }
        choosers[0] = bed_open(0, NULL);
        for (uint32_t client = 0; client < PICKS; client++) {
            if (bed_choose(choosers[0], 0, client, &chosen) == CHOICE_MADE)
                counts[chosen.index]++;
            else
                none++;
        }
        ck_assert_uint_eq(none, 0);
        if (ops->kind == SCHED_BY_CHANCE)
            ck_assert_double_lt(deviation(counts, n, weight_sum), 6);
        else
            ck_assert_double_le(worst_lag(counts, n, weight_sum), 0);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sched property");
    TCase *tcase = tcase_create("property");
    int n_schedulers = 0;

    while (sched_table[n_schedulers] != NULL)
        n_schedulers++;
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, NULL, teardown);
    tcase_add_loop_test(tcase, choices_are_as_the_reference_says, 0, n_schedulers);
    tcase_add_loop_test(tcase, shares_follow_weights, 0, n_schedulers);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
