/* The scoreboard's mapping, health records, sums and clearing; the names of reasons. */
#include "sluice/scoreboard.h"

#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static struct scoreboard sb;

static void setup(void)
{
    ck_assert_int_eq(scoreboard_create(&sb, 3, 111, 222), 0);
}

static void teardown(void)
{
    scoreboard_destroy(&sb);
}

START_TEST(create_says_what_it_is)
{
    ck_assert_uint_eq(sb.header->magic, SCOREBOARD_MAGIC);
    ck_assert_uint_eq(sb.header->layout, SCOREBOARD_LAYOUT);
    ck_assert_uint_eq(sb.header->n_workers, 3);
    ck_assert_uint_eq(sb.header->started_ms, 111);
    ck_assert_uint_eq(sb.header->started_wall_ms, 222);
    ck_assert_uint_eq(atomic_load(&sb.header->active), 0);
    ck_assert_uint_eq((uintptr_t)sb.workers % 128, 0);
    ck_assert_uint_eq((uintptr_t)&sb.workers[1] % 128, 0);
}
END_TEST

START_TEST(create_refuses_odd_sizes)
{
    struct scoreboard other = {0};

    ck_assert_int_eq(scoreboard_create(&other, 0, 1, 1), -EINVAL);
    ck_assert_int_eq(scoreboard_create(&other, WORKERS_MAX + 1, 1, 1), -EINVAL);
    ck_assert_ptr_null(other.header);
    ck_assert_int_eq(scoreboard_create(&other, WORKERS_MAX, 1, 1), 0);
    scoreboard_destroy(&other);
    ck_assert_ptr_null(other.header);
    scoreboard_destroy(&other);
}
END_TEST

/* Writes into the last item of every part: each stays within the mapping and apart from the rest.
 */
START_TEST(parts_do_not_overlap)
{
    uint32_t last = sb.header->n_workers - 1;

    atomic_store(&sb.workers[last].buffered_bytes, 1);
    atomic_store(&sb.slot_active[SB_SLOTS_MAX - 1], 2);
    atomic_store(&sb.slot_health[SB_SLOTS_MAX - 1], 3);
    atomic_store(&sb.slots[SB_SLOTS_MAX - 1].next_check_ms, 4);
    atomic_store(&sb.rows[BACKENDS_MAX - 1].connect_time_us.count[SB_HIST_WINDOWS - 1][0], 5);
    atomic_store(&sb.services[SERVICES_MAX - 1].peak, 6);
    atomic_store(&scoreboard_slot_cell(&sb, last, SB_SLOTS_MAX - 1)->turns, 7);
    atomic_store(&scoreboard_row_cell(&sb, last, BACKENDS_MAX - 1)->bytes_out, 8);
    atomic_store(&scoreboard_service_cell(&sb, last, SERVICES_MAX - 1)->turns, 9);
    atomic_store(&sb.slot_full[SB_SLOTS_MAX - 1], 10);
    atomic_store(&sb.slot_rate[SB_SLOTS_MAX - 1], 11);
    atomic_store(&sb.slot_time[SB_SLOTS_MAX - 1], 12);
    atomic_store(&sb.pools[POOLS_MAX - 1].queued_peak, 13);
    atomic_store(&scoreboard_pool_cell(&sb, last, POOLS_MAX - 1)->turns, 14);
    atomic_store(&sb.leases[SB_LEASES_MAX - 1].held, 15);
    atomic_store(&scoreboard_check(&sb, SB_SLOTS_MAX - 1, SB_CHECKS_MAX - 1)->next_ms, 16);

    ck_assert_uint_eq(atomic_load(&sb.slot_active[0]), 0);
    ck_assert_uint_eq(atomic_load(&sb.slot_health[0]), 0);
    ck_assert_uint_eq(atomic_load(&sb.slots[0].version), 0);
    ck_assert_uint_eq(atomic_load(&sb.rows[0].connections_total), 0);
    ck_assert_uint_eq(atomic_load(&sb.services[0].active), 0);
    ck_assert_uint_eq(atomic_load(&scoreboard_check(&sb, 0, 0)->key), 0);
    ck_assert_uint_eq(atomic_load(&sb.leases[0].key), 0);
    ck_assert_uint_eq(atomic_load(&scoreboard_slot_cell(&sb, 0, 0)->active), 0);
    ck_assert_uint_eq(atomic_load(&scoreboard_row_cell(&sb, 0, 0)->bytes_in), 0);
    ck_assert_uint_eq(atomic_load(&scoreboard_service_cell(&sb, 0, 0)->connections_total), 0);
    ck_assert_uint_eq(atomic_load(&sb.slot_active[SB_SLOTS_MAX - 1]), 2);
    ck_assert_uint_eq(atomic_load(&sb.slot_health[SB_SLOTS_MAX - 1]), 3);
    char *end = (char *)scoreboard_service_cell(&sb, last, SERVICES_MAX);
    ck_assert_uint_le((uint64_t)(end - (char *)sb.header), sb.header->size_bytes);
}
END_TEST

START_TEST(children_share_it)
{
    pid_t pid = fork();
    if (pid == 0) {
        scoreboard_reserve(&sb, 1, SB_DAEMON, 0, 0);
        _exit(0);
    }
    waitpid(pid, NULL, 0);
    ck_assert_uint_eq(atomic_load(&sb.header->active), 1);
}
END_TEST

START_TEST(names_of_everything)
{
    ck_assert_str_eq(sb_health_names[SB_HEALTH_UNKNOWN], "unknown");
    ck_assert_str_eq(sb_health_names[SB_HEALTH_UP], "up");
    ck_assert_str_eq(sb_health_names[SB_HEALTH_DOWN], "down");
    ck_assert_str_eq(sb_worker_state_names[SB_WORKER_STARTING], "starting");
    ck_assert_str_eq(sb_worker_state_names[SB_WORKER_RUNNING], "running");
    ck_assert_str_eq(sb_worker_state_names[SB_WORKER_DRAINING], "draining");
    ck_assert_str_eq(sb_worker_state_names[SB_WORKER_DEAD], "dead");
    ck_assert_str_eq(refusal_names[REFUSAL_NO_BACKEND], "no_backend");
    ck_assert_str_eq(refusal_names[REFUSAL_QUEUE_FULL], "queue_full");
    ck_assert_str_eq(refusal_names[REFUSAL_COUNT - 1], "stopping");
    ck_assert_str_eq(ending_names[ENDING_CLIENT_FIN], "client_fin");
    ck_assert_str_eq(ending_names[ENDING_PRIMARIES_BACK], "primaries_back");
    ck_assert_str_eq(ending_names[ENDING_WORKER_DIED], "worker_died");
    ck_assert_str_eq(ending_names[ENDING_COUNT - 1], "error");
}
END_TEST

START_TEST(sums_over_workers)
{
    struct sb_row_sum row;
    struct sb_service_sum service;

    for (uint32_t w = 0; w < 3; w++) {
        struct sb_row_cell *cell = scoreboard_row_cell(&sb, w, 5);
        scoreboard_bump(&cell->bytes_in, 10 + w);
        scoreboard_bump(&cell->bytes_out, 20 + w);
        struct sb_service_cell *of = scoreboard_service_cell(&sb, w, 6);
        scoreboard_bump(&of->connections_total, 100);
        scoreboard_bump(&of->bytes_in, 1);
        scoreboard_bump(&of->bytes_out, 2);
        scoreboard_bump(&of->refused_by[REFUSAL_FULL], w);
        scoreboard_bump(&of->refused_by[REFUSAL_STOPPING], 1);
        scoreboard_bump(&of->ended_by[ENDING_CLIENT_FIN], 5);
        scoreboard_bump(&of->ended_by[ENDING_ERROR], 7);
    }
    scoreboard_sum_row(&sb, 5, &row);
    ck_assert_uint_eq(row.bytes_in, 33);
    ck_assert_uint_eq(row.bytes_out, 63);
    scoreboard_sum_service(&sb, 6, &service);
    ck_assert_uint_eq(service.connections_total, 300);
    ck_assert_uint_eq(service.bytes_in, 3);
    ck_assert_uint_eq(service.bytes_out, 6);
    ck_assert_uint_eq(service.refused_by[REFUSAL_FULL], 3);
    ck_assert_uint_eq(service.refused_by[REFUSAL_STOPPING], 3);
    ck_assert_uint_eq(service.refused, 6);
    ck_assert_uint_eq(service.ended_by[ENDING_CLIENT_FIN], 15);
    ck_assert_uint_eq(service.ended_by[ENDING_ERROR], 21);
    ck_assert_uint_eq(service.ended, 36);
    scoreboard_sum_service(&sb, 7, &service);
    ck_assert_uint_eq(service.connections_total + service.refused + service.ended, 0);
}
END_TEST

START_TEST(peaks_only_rise)
{
    _Atomic uint32_t peak = 0;

    scoreboard_note_peak(&peak, 3);
    ck_assert_uint_eq(atomic_load(&peak), 3);
    scoreboard_note_peak(&peak, 2);
    ck_assert_uint_eq(atomic_load(&peak), 3);
    scoreboard_note_peak(&peak, UINT32_MAX);
    ck_assert_uint_eq(atomic_load(&peak), UINT32_MAX);
}
END_TEST

START_TEST(health_carries_since_and_reason)
{
    char reason[SB_REASON_MAX];
    uint64_t since;

    ck_assert_int_eq(scoreboard_get_health(&sb, 9, &since, reason), SB_HEALTH_UNKNOWN);
    ck_assert_uint_eq(since, 0);
    ck_assert_str_eq(reason, "");

    ck_assert(!scoreboard_set_health(&sb, 9, SB_HEALTH_UNKNOWN, "not checked yet", 50));
    ck_assert_uint_eq(atomic_load(&sb.header->health_epoch), 0);
    scoreboard_get_health(&sb, 9, &since, reason);
    ck_assert_uint_eq(since, 50);
    ck_assert_str_eq(reason, "not checked yet");

    ck_assert(scoreboard_set_health(&sb, 9, SB_HEALTH_DOWN, "refused", 60));
    ck_assert_uint_eq(atomic_load(&sb.header->health_epoch), 1);
    ck_assert_int_eq(scoreboard_get_health(&sb, 9, &since, reason), SB_HEALTH_DOWN);
    ck_assert_uint_eq(since, 60);
    ck_assert_str_eq(reason, "refused");
    ck_assert_uint_eq(atomic_load(&sb.slot_health[9]), SB_HEALTH_DOWN);

    ck_assert(!scoreboard_set_health(&sb, 9, SB_HEALTH_DOWN, "timeout", 70));
    ck_assert_uint_eq(atomic_load(&sb.header->health_epoch), 1);
    scoreboard_get_health(&sb, 9, &since, reason);
    ck_assert_uint_eq(since, 60);
    ck_assert_str_eq(reason, "timeout");
}
END_TEST

START_TEST(long_reasons_are_cut)
{
    char text[3 * SB_REASON_MAX], reason[SB_REASON_MAX];
    uint64_t since;

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    scoreboard_set_health(&sb, 1, SB_HEALTH_UP, text, 1);
    scoreboard_get_health(&sb, 1, &since, reason);
    ck_assert_uint_eq(strlen(reason), SB_REASON_MAX - 1);
    /* what stands beside the text is whole */
    ck_assert_uint_eq(atomic_load(&sb.slots[1].checks_passed), 0);
}
END_TEST

START_TEST(a_record_left_half_written)
{
    char reason[SB_REASON_MAX];
    uint64_t since;

    scoreboard_set_health(&sb, 1, SB_HEALTH_UP, "fine", 1);
    struct sb_slot *slot = &sb.slots[1];
    struct sb_health_record *other = &slot->record[(atomic_load(&slot->version) + 1) % 2];
    atomic_store(&other->health, SB_HEALTH_DOWN);
    memset(other->reason, 'z', SB_REASON_MAX); /* its writer died here */
    ck_assert_int_eq(scoreboard_get_health(&sb, 1, &since, reason), SB_HEALTH_UP);
    ck_assert_uint_eq(since, 1);
    ck_assert_str_eq(reason, "fine");

    scoreboard_set_health(&sb, 1, SB_HEALTH_DOWN, "gone", 2);
    ck_assert_int_eq(scoreboard_get_health(&sb, 1, &since, reason), SB_HEALTH_DOWN);
    ck_assert_str_eq(reason, "gone");
}
END_TEST

static uint64_t slow_from(uint32_t slot)
{
    return atomic_load(&sb.slots[slot].slow_from_ms);
}

START_TEST(slow_start_begins_with_being_up)
{
    ck_assert_uint_eq(slow_from(9), 0);
    scoreboard_set_health(&sb, 9, SB_HEALTH_UP, "", 50);
    ck_assert_uint_eq(slow_from(9), 50);
    scoreboard_set_health(&sb, 9, SB_HEALTH_UP, "still", 60);
    scoreboard_set_health(&sb, 9, SB_HEALTH_DOWN, "", 70);
    ck_assert_uint_eq(slow_from(9), 50);
    scoreboard_set_health(&sb, 9, SB_HEALTH_UP, "", 80);
    ck_assert_uint_eq(slow_from(9), 80);
    scoreboard_set_health(&sb, 9, SB_HEALTH_UNKNOWN, "", 90);
    scoreboard_set_health(&sb, 9, SB_HEALTH_UP, "", 100);
    ck_assert_uint_eq(slow_from(9), 100);
    ck_assert_uint_eq(slow_from(8) + slow_from(10), 0);
}
END_TEST

/* What stood there at the start is not slowed for having come up with the daemon, whatever it was
 * assumed to be until its first check. */
START_TEST(fresh_ones_start_fast)
{
    enum sb_health assumed = (enum sb_health)_i;

    atomic_store(&sb.slots[9].fresh, 1);
    scoreboard_set_health(&sb, 9, assumed, "assumed", 40);
    scoreboard_bump(&sb.slots[9].checks_passed, 1);
    scoreboard_set_health(&sb, 9, SB_HEALTH_UP, "", 50);
    ck_assert_uint_eq(slow_from(9), 0);
    ck_assert_uint_eq(atomic_load(&sb.slots[9].fresh), 0);
    scoreboard_set_health(&sb, 9, SB_HEALTH_DOWN, "", 60);
    scoreboard_set_health(&sb, 9, SB_HEALTH_UP, "", 70);
    ck_assert_uint_eq(slow_from(9), 70);
}
END_TEST

/* Found down by its first check, also where that changes nothing: it recovers later. */
START_TEST(fresh_ones_that_were_down_start_slowly)
{
    atomic_store(&sb.slots[9].fresh, 1);
    if (_i == 1)
        scoreboard_set_health(&sb, 9, SB_HEALTH_DOWN, "assumed", 40);
    scoreboard_bump(&sb.slots[9].checks_failed, 1);
    scoreboard_set_health(&sb, 9, SB_HEALTH_DOWN, "refused", 50);
    ck_assert_uint_eq(atomic_load(&sb.slots[9].fresh), 0);
    scoreboard_set_health(&sb, 9, SB_HEALTH_UP, "", 60);
    ck_assert_uint_eq(slow_from(9), 60);
}
END_TEST

static const char letters[SB_HEALTH_COUNT + 1] = "nud";

/*
 * What must fit together: health h, since 1000 + h, and a long text of one letter. Three in turn,
 * so that neither of the two records always gets the same.
 */
static void write_records(void)
{
    for (uint32_t i = 0;; i++) {
        enum sb_health health = (enum sb_health)(i % SB_HEALTH_COUNT);
        char text[SB_REASON_MAX] = {0};
        memset(text, letters[health], sizeof(text) - 1);
        scoreboard_set_health(&sb, 2, health, text, 1000 + (uint64_t)health);
        /* Longer than a copy takes: a reader tries a bounded number of times, and a writer without
         * any pause could disturb all of them. */
        for (volatile int pause = 0; pause < 4000; pause++)
            ;
    }
}

/* Returns how many copies did not fit together. */
static int read_records(void)
{
    int torn = 0;
    while (atomic_load(&sb.header->health_epoch) < 200000) {
        char reason[SB_REASON_MAX];
        uint64_t since;
        enum sb_health health = scoreboard_get_health(&sb, 2, &since, reason);
        const char letter[] = {letters[health], '\0'};
        torn += since != 1000 + (uint64_t)health || strspn(reason, letter) != SB_REASON_MAX - 1;
    }
    return torn;
}

/* A child that does not outlive the test; 0 in the child. */
static pid_t fork_bound(void)
{
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
    }
    return pid;
}

/* More readers than processors, so that they are interrupted while they copy. */
START_TEST(reads_are_consistent)
{
    enum { READERS = 4 };
    pid_t readers[READERS];

    pid_t writer = fork_bound();
    if (writer == 0)
        write_records();
    while (atomic_load(&sb.header->health_epoch) < 3)
        ; /* the first has set nothing new, and no text is there before it */
    for (int i = 0; i < READERS; i++) {
        readers[i] = fork_bound();
        if (readers[i] == 0)
            _exit(read_records() != 0);
    }
    int torn = 0;
    for (int i = 0; i < READERS; i++) {
        int status;
        ck_assert_int_eq(waitpid(readers[i], &status, 0), readers[i]);
        torn += status != 0;
    }
    kill(writer, SIGKILL);
    waitpid(writer, NULL, 0);
    ck_assert_int_eq(torn, 0);
}
END_TEST

START_TEST(clear_slot)
{
    struct sb_slot *slot = &sb.slots[4];
    char reason[SB_REASON_MAX];
    uint64_t since;

    scoreboard_set_health(&sb, 4, SB_HEALTH_UP, "fine", 77);
    uint32_t epoch = atomic_load(&sb.header->health_epoch);
    atomic_store(&slot->checks_passed, 1);
    atomic_store(&slot->checks_failed, 1);
    atomic_store(&slot->last_check_ms, 1);
    atomic_store(&slot->last_latency_us, 1);
    atomic_store(&slot->streak, 1);
    atomic_store(&slot->next_check_ms, 1);
    atomic_store(&slot->history.n, 1);
    atomic_store(&slot->check_records, 1);
    atomic_store(&slot->fresh, 1);
    atomic_store(&slot->pool, 1);
    atomic_store(&slot->asked_permille, 1);
    atomic_store(&slot->asked_admin, 1);
    atomic_store(&slot->asked_limit, 1);
    atomic_store(&slot->asked_since_ms, 1);
    atomic_store(&slot->close_by_ms, 1);
    atomic_store(&sb.slot_full[4], 1);
    atomic_store(&sb.slot_rate[4], 1);
    atomic_store(&sb.slot_time[4], 1);
    for (uint32_t w = 0; w < 3; w++)
        scoreboard_reserve(&sb, w, SB_SLOT, 4, 0);
    scoreboard_reserve(&sb, 2, SB_SLOT, 5, 0);
    scoreboard_clear_slot(&sb, 4);

    ck_assert_int_eq(scoreboard_get_health(&sb, 4, &since, reason), SB_HEALTH_UNKNOWN);
    ck_assert_uint_ne(atomic_load(&sb.header->health_epoch), epoch);
    ck_assert_uint_eq(since, 0);
    ck_assert_str_eq(reason, "");
    ck_assert_uint_eq(atomic_load(&slot->checks_passed) + atomic_load(&slot->checks_failed), 0);
    ck_assert_uint_eq(atomic_load(&slot->last_check_ms) + atomic_load(&slot->next_check_ms), 0);
    ck_assert_uint_eq(atomic_load(&slot->last_latency_us) + atomic_load(&slot->streak), 0);
    ck_assert_uint_eq(atomic_load(&slot->history.n) + atomic_load(&slot->check_records), 0);
    ck_assert_uint_eq(atomic_load(&slot->slow_from_ms), 0);
    ck_assert_uint_eq(atomic_load(&slot->fresh) + atomic_load(&slot->pool), 0);
    ck_assert_uint_eq(atomic_load(&slot->asked_permille) + atomic_load(&slot->asked_admin), 0);
    ck_assert_uint_eq(atomic_load(&slot->asked_limit) + atomic_load(&slot->asked_since_ms), 0);
    ck_assert_uint_eq(atomic_load(&slot->close_by_ms), 0);
    ck_assert_uint_eq(atomic_load(&sb.slot_active[4]), 0);
    ck_assert_uint_eq(atomic_load(&sb.slot_full[4]), 0);
    ck_assert_uint_eq(atomic_load(&sb.slot_rate[4]) + atomic_load(&sb.slot_time[4]), 0);
    for (uint32_t w = 0; w < 3; w++) {
        ck_assert_uint_eq(atomic_load(&scoreboard_slot_cell(&sb, w, 4)->active), 0);
        ck_assert_uint_eq(atomic_load(&scoreboard_slot_cell(&sb, w, 4)->turns), 0);
    }
    ck_assert_uint_eq(atomic_load(&sb.slot_active[5]), 1);
}
END_TEST

/* Resident once every worker has met every backend: 1,000 of them and 110 workers. Services and
 * pools take the pages of a few. */
START_TEST(much_of_everything_fits_16_mib)
{
    const size_t backends = 1000, workers = 110, pages = 4 * 4096;
    size_t cells =
        sizeof(struct sb_slot_cell) + sizeof(struct sb_row_cell) + sizeof(struct sb_upstream_cell);
    size_t rows = sizeof(struct sb_slot) + sizeof(struct sb_check) + sizeof(struct sb_row) +
                  sizeof(struct sb_upstream_row) + 64 /* the dense arrays */;

    ck_assert_uint_le(backends * workers * cells + backends * rows + workers * pages,
                      (size_t)16 << 20);
}
END_TEST

START_TEST(clear_row)
{
    struct sb_row_sum sum;
    struct sb_upstream_sum upstreams;

    atomic_store(&sb.header->upstreams_used, 1);
    for (uint32_t row = 4; row <= 6; row++) {
        scoreboard_bump(&scoreboard_upstream_cell(&sb, 1, row)->reused, row);
        scoreboard_bump(&scoreboard_upstream_cell(&sb, 2, row)->reused, row);
        scoreboard_add(&sb.upstream_rows[row].discarded[DISCARD_OWNED], row);
        scoreboard_add(&sb.upstream_rows[row].discarded[DISCARD_EVICTED], 1);
        scoreboard_add(&sb.upstream_rows[row].pins, row);
        atomic_store(&sb.rows[row].connections_total, row);
        atomic_store(&sb.rows[row].connections_peak, row);
        sb_hist_add(&sb.rows[row].connect_time_us, row, 0);
        scoreboard_bump(&scoreboard_row_cell(&sb, 2, row)->bytes_in, row);
    }
    scoreboard_clear_row(&sb, 5);
    for (uint32_t row = 4; row <= 6; row++) {
        uint32_t left = row == 5 ? 0 : row;
        scoreboard_sum_row(&sb, row, &sum);
        ck_assert_uint_eq(sum.bytes_in, left);
        scoreboard_sum_upstreams(&sb, row, &upstreams);
        ck_assert_uint_eq(upstreams.reused, 2 * left);
        ck_assert_uint_eq(upstreams.discarded, left == 0 ? 0 : left + 1);
        ck_assert_uint_eq(upstreams.discarded_by[DISCARD_OWNED], left);
        ck_assert_uint_eq(upstreams.pins, left);
        ck_assert_uint_eq(atomic_load(&sb.rows[row].connections_total), left);
        ck_assert_uint_eq(atomic_load(&sb.rows[row].connections_peak), left);
        ck_assert((sb_hist_percentile(&sb.rows[row].connect_time_us, 500, 0) == 0) == (row == 5));
    }
}
END_TEST

START_TEST(clear_service)
{
    struct sb_service_sum sum;

    for (uint32_t service = 4; service <= 6; service++) {
        for (uint32_t w = 0; w < 3; w++) {
            scoreboard_reserve(&sb, w, SB_SERVICE, service, 0);
            scoreboard_bump(&scoreboard_service_cell(&sb, w, service)->connections_total, 1);
        }
    }
    scoreboard_clear_service(&sb, 5);
    for (uint32_t service = 4; service <= 6; service++) {
        uint32_t left = service == 5 ? 0 : 3;
        scoreboard_sum_service(&sb, service, &sum);
        ck_assert_uint_eq(sum.connections_total, left);
        ck_assert_uint_eq(atomic_load(&sb.services[service].active), left);
        ck_assert_uint_eq(atomic_load(&sb.services[service].peak), left);
        ck_assert_uint_eq(atomic_load(&scoreboard_service_cell(&sb, 1, service)->active),
                          left == 0 ? 0 : 1);
    }
}
END_TEST

START_TEST(clear_pool)
{
    for (uint32_t pool = 4; pool <= 6; pool++) {
        for (uint32_t w = 0; w < 3; w++) {
            scoreboard_reserve(&sb, w, SB_QUEUE, pool, 0);
            atomic_store(&scoreboard_pool_cell(&sb, w, pool)->oldest_us, 1);
        }
    }
    scoreboard_clear_pool(&sb, 5);
    for (uint32_t pool = 4; pool <= 6; pool++) {
        uint32_t left = pool == 5 ? 0 : 3;
        const struct sb_pool_cell *cell = scoreboard_pool_cell(&sb, 2, pool);
        ck_assert_uint_eq(atomic_load(&sb.pools[pool].queued), left);
        ck_assert_uint_eq(atomic_load(&sb.pools[pool].queued_peak), left);
        ck_assert_uint_eq(atomic_load(&cell->queued), left / 3);
        ck_assert_uint_eq(atomic_load(&cell->turns), left / 3);
        ck_assert_uint_eq(atomic_load(&cell->oldest_us), left / 3);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pool scoreboard");
    TCase *tcase = tcase_create("scoreboard");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, create_says_what_it_is);
    tcase_add_test(tcase, create_refuses_odd_sizes);
    tcase_add_test(tcase, parts_do_not_overlap);
    tcase_add_test(tcase, children_share_it);
    tcase_add_test(tcase, names_of_everything);
    tcase_add_test(tcase, sums_over_workers);
    tcase_add_test(tcase, peaks_only_rise);
    tcase_add_test(tcase, health_carries_since_and_reason);
    tcase_add_test(tcase, slow_start_begins_with_being_up);
    tcase_add_loop_test(tcase, fresh_ones_start_fast, 0, SB_HEALTH_COUNT);
    tcase_add_loop_test(tcase, fresh_ones_that_were_down_start_slowly, 0, 2);
    tcase_add_test(tcase, long_reasons_are_cut);
    tcase_add_test(tcase, a_record_left_half_written);
    tcase_add_test(tcase, reads_are_consistent);
    tcase_add_test(tcase, clear_slot);
    tcase_add_test(tcase, much_of_everything_fits_16_mib);
    tcase_add_test(tcase, clear_row);
    tcase_add_test(tcase, clear_service);
    tcase_add_test(tcase, clear_pool);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
