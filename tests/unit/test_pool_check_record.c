/* Records of single checks: whose they are, what they keep, and that nobody reads a mixture. */
#include "pool/check_record.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

#define SLOT 5

static struct scoreboard sb;
static struct snapshot_check checks[CHECKS_MAX];
static struct sb_check *records[SB_CHECKS_MAX];
static struct check_record seen;

static void setup(void)
{
    ck_assert_int_eq(scoreboard_create(&sb, 1, 111, 222), 0);
}

static void teardown(void)
{
    scoreboard_destroy(&sb);
}

/* The slot has these checks now. */
static void assign(const char *const *titles, uint32_t n)
{
    uint64_t keys[SB_CHECKS_MAX];

    for (uint32_t i = 0; i < n; i++)
        (void)snprintf(checks[i].title, sizeof(checks[i].title), "%s", titles[i]);
    for (uint32_t i = 0; i < n; i++)
        keys[i] = check_record_key(checks, i);
    check_record_assign(&sb, SLOT, keys, n, records);
}

static void note(uint32_t i, enum sb_check_result result, const char *reason, uint64_t now_ms)
{
    const struct check_record_run run = {result, reason, 1000 + i, now_ms};

    check_record_note(records[i], &run);
}

/* The reason of check i by the present titles, "" where nothing is known. */
static const char *reason_of(uint32_t i)
{
    check_record_read(&sb, SLOT, check_record_key(checks, i), 10000, &seen);
    return seen.reason;
}

START_TEST(names)
{
    ck_assert_str_eq(sb_check_state_names[SB_CHECK_UNKNOWN], "unknown");
    ck_assert_str_eq(sb_check_state_names[SB_CHECK_ADVISORY], "advisory");
    ck_assert_str_eq(sb_check_result_names[SB_RESULT_NONE], "none");
    ck_assert_str_eq(sb_check_result_names[SB_RESULT_NOTHING], "nothing");
}
END_TEST

START_TEST(each_check_has_its_own)
{
    assign((const char *const[]){"postgresql", "http:patroni"}, 2);
    check_record_stand(records[0], SB_CHECK_UP, 2, 7000);
    check_record_stand(records[1], SB_CHECK_DOWN, 1, 8000);
    note(0, SB_RESULT_PASSED, "ready", 5000);
    note(1, SB_RESULT_FAILED, "HTTP 503", 6000);
    note(0, SB_RESULT_PASSED, "ready again", 7000);

    ck_assert_str_eq(reason_of(0), "ready again");
    ck_assert_int_eq(seen.state, SB_CHECK_UP);
    ck_assert_int_eq(seen.result, SB_RESULT_PASSED);
    ck_assert(seen.passed == 2 && seen.failed == 0 && seen.streak == 2);
    ck_assert(seen.last_ms == 7000 && seen.next_ms == 7000 && seen.last_latency_us == 1000);
    ck_assert(seen.n_history == 2 && seen.history[0].passed && seen.history[0].age_s == 3);

    ck_assert_str_eq(reason_of(1), "HTTP 503");
    ck_assert_int_eq(seen.state, SB_CHECK_DOWN);
    ck_assert_int_eq(seen.result, SB_RESULT_FAILED);
    ck_assert(seen.passed == 0 && seen.failed == 1 && seen.next_ms == 8000);
    ck_assert(seen.n_history == 1 && !seen.history[0].passed);
    ck_assert_uint_eq(atomic_load(&sb.slots[SLOT].checks_passed), 0); /* totals are others' */
}
END_TEST

START_TEST(saying_nothing_is_no_result)
{
    assign((const char *const[]){"agent"}, 1);
    note(0, SB_RESULT_NOTHING, "no answer", 5000);
    ck_assert_str_eq(reason_of(0), "no answer");
    ck_assert_int_eq(seen.result, SB_RESULT_NOTHING);
    ck_assert(seen.passed + seen.failed + seen.n_history == 0 && seen.last_ms == 5000);
}
END_TEST

START_TEST(long_reasons_and_latencies_are_cut)
{
    const struct check_record_run run = {SB_RESULT_FAILED, "", UINT64_MAX, 1};
    char text[SB_REASON_MAX + 50];

    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    assign((const char *const[]){"tcp"}, 1);
    check_record_note(records[0], &run);
    (void)reason_of(0);
    ck_assert_uint_eq(seen.last_latency_us, UINT32_MAX);
    note(0, SB_RESULT_PASSED, text, 1);
    ck_assert_uint_eq(strlen(reason_of(0)), SB_REASON_MAX - 1);
}
END_TEST

START_TEST(a_reload_keeps_what_stays)
{
    assign((const char *const[]){"a", "b", "c"}, 3);
    for (uint32_t i = 0; i < 3; i++)
        note(i, SB_RESULT_PASSED, checks[i].title, 5000);
    assign((const char *const[]){"c", "d", "a", "e"}, 4); /* another order, b is gone */
    ck_assert_str_eq(reason_of(0), "c");
    ck_assert_str_eq(reason_of(2), "a");
    ck_assert_str_eq(reason_of(1), "");
    ck_assert(seen.result == SB_RESULT_NONE && seen.passed == 0 && seen.n_history == 0);
    ck_assert_str_eq(reason_of(3), "");
    assign((const char *const[]){"b", "a"}, 2); /* b begins anew */
    ck_assert_str_eq(reason_of(0), "");
    ck_assert_str_eq(reason_of(1), "a");
    note(0, SB_RESULT_FAILED, "new b", 6000);
    ck_assert_str_eq(reason_of(0), "new b");
    ck_assert_uint_eq(seen.passed, 0);
}
END_TEST

START_TEST(alike_titles_are_told_apart)
{
    assign((const char *const[]){"tcp", "tcp", "http"}, 3);
    note(0, SB_RESULT_PASSED, "first", 1);
    note(1, SB_RESULT_FAILED, "second", 1);
    note(2, SB_RESULT_PASSED, "third", 1);
    assign((const char *const[]){"http", "tcp", "tcp"}, 3);
    ck_assert_str_eq(reason_of(0), "third");
    ck_assert_str_eq(reason_of(1), "first");
    ck_assert_str_eq(reason_of(2), "second");
}
END_TEST

START_TEST(those_beyond_share_the_last)
{
    for (uint32_t i = 0; i < CHECKS_MAX; i++)
        (void)snprintf(checks[i].title, sizeof(checks[i].title), "tcp:%u", i);
    for (uint32_t i = 0; i < CHECKS_MAX; i++) {
        uint32_t last = SB_CHECKS_MAX - 1;

        ck_assert_int_eq(check_record_key(checks, i) == check_record_key(checks, last), i >= last);
    }
}
END_TEST

/* The slot's next owner finds nothing, even with a check of the same name. */
START_TEST(a_cleared_slot_knows_nothing)
{
    assign((const char *const[]){"tcp"}, 1);
    note(0, SB_RESULT_FAILED, "refused", 1);
    scoreboard_clear_slot(&sb, SLOT);
    ck_assert_str_eq(reason_of(0), "");
    ck_assert_int_eq(seen.result, SB_RESULT_NONE);
    assign((const char *const[]){"tcp"}, 1);
    ck_assert_str_eq(reason_of(0), "");
    ck_assert_uint_eq(seen.failed, 0);
}
END_TEST

static size_t resident_pages(void)
{
    size_t size = (size_t)SB_CHECKS_MAX * SB_SLOTS_MAX * sizeof(*sb.checks), n = 0;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *from = (char *)((uintptr_t)sb.checks / page * page + page);
    unsigned char *in = calloc(size / page + 1, 1);

    ck_assert_int_eq(mincore(from, size - page, in), 0);
    for (size_t i = 0; i < size / page; i++)
        n += in[i] & 1;
    free(in);
    return n;
}

/* Looking and clearing cost no memory where nobody writes. */
START_TEST(what_is_not_written_takes_no_memory)
{
    (void)snprintf(checks[0].title, sizeof(checks[0].title), "tcp");
    for (uint32_t slot = 0; slot < SB_SLOTS_MAX; slot++) {
        check_record_read(&sb, slot, check_record_key(checks, 0), 1, &seen);
        scoreboard_clear_slot(&sb, slot);
    }
    ck_assert_uint_eq(resident_pages(), 0);
    assign((const char *const[]){"tcp"}, 1);
    ck_assert_uint_le(resident_pages(), 1);
}
END_TEST

/* A write that was begun is not seen before it is whole. */
START_TEST(half_a_write_is_not_seen)
{
    assign((const char *const[]){"tcp"}, 1);
    for (uint32_t n = 0; n < 4; n++) {
        char text[] = {(char)('a' + n), '\0'};
        struct sb_check_text *next;

        note(0, n % 2 ? SB_RESULT_PASSED : SB_RESULT_FAILED, text, 1);
        next = &records[0]->text[(atomic_load(&records[0]->version) + 1) % 2];
        atomic_store(&next->result, SB_RESULT_NOTHING);
        memcpy(next->reason, "half", 5);
        ck_assert_str_eq(reason_of(0), text);
        ck_assert_int_eq(seen.result, n % 2 ? SB_RESULT_PASSED : SB_RESULT_FAILED);
    }
    atomic_store(&records[0]->key, 0); /* it is changing hands */
    ck_assert_str_eq(reason_of(0), "");
    ck_assert_uint_eq(seen.passed + seen.failed, 0);
}
END_TEST

/* As fast as it can: result, reason and whose they are go together, and change each time. */
static void write_for_ever(void)
{
    const struct snapshot_check named[2] = {{.title = "one"}, {.title = "two"}};
    uint64_t keys[2] = {check_record_key(&named[0], 0), check_record_key(&named[1], 0)};
    char texts[4][SB_REASON_MAX];

    for (uint32_t i = 0; i < 4; i++) {
        memset(texts[i], i / 2 ? 'p' : 'f', sizeof(texts[i]));
        memset(texts[i], i % 2 ? '2' : '1', 3);
        texts[i][60 + i * 15] = '\0';
    }
    for (uint32_t n = 0;; n++) {
        check_record_assign(&sb, SLOT, &keys[n % 2], 1, records);
        note(0, n / 2 % 2 ? SB_RESULT_PASSED : SB_RESULT_FAILED, texts[n % 4], n + 1);
    }
}

static bool is_torn(char who)
{
    char expected = seen.result == SB_RESULT_PASSED ? 'p' : 'f';

    if (seen.result == SB_RESULT_NONE)
        return seen.reason[0] != '\0';
    return seen.reason[0] != who ||
           strspn(seen.reason + 3, (char[]){expected, '\0'}) != strlen(seen.reason + 3);
}

START_TEST(readers_see_no_mixture)
{
    uint32_t torn = 0, n_news = 0;
    uint64_t last_ms = 0;
    struct snapshot_check named[2] = {{.title = "one"}, {.title = "two"}};
    pid_t writer = fork();
    uint64_t end_ms = clock_now_ms() + 20000;

    if (writer == 0)
        write_for_ever();
    while (n_news < 40000 && clock_now_ms() < end_ms) {
        for (uint32_t i = 0; i < 2; i++) {
            check_record_read(&sb, SLOT, check_record_key(&named[i], 0), 1, &seen);
            n_news += seen.last_ms != 0 && seen.last_ms != last_ms;
            last_ms = seen.last_ms != 0 ? seen.last_ms : last_ms;
            torn += is_torn(i == 0 ? '1' : '2');
        }
    }
    kill(writer, SIGKILL);
    waitpid(writer, NULL, 0);
    ck_assert_uint_eq(torn, 0);
    ck_assert_uint_ge(n_news, 100); /* on a machine however busy */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pool/check_record");
    TCase *tc = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, names);
    tcase_add_test(tc, each_check_has_its_own);
    tcase_add_test(tc, saying_nothing_is_no_result);
    tcase_add_test(tc, long_reasons_and_latencies_are_cut);
    tcase_add_test(tc, a_reload_keeps_what_stays);
    tcase_add_test(tc, alike_titles_are_told_apart);
    tcase_add_test(tc, those_beyond_share_the_last);
    tcase_add_test(tc, a_cleared_slot_knows_nothing);
    tcase_add_test(tc, what_is_not_written_takes_no_memory);
    tcase_add_test(tc, half_a_write_is_not_seen);
    tcase_add_test(tc, readers_see_no_mixture);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
