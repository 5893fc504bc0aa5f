/*
 * The check of snapshots, for what pools say of reuse: every way that a configuration can ask for
 * passes, each fault in one is found.
 */
#include "sluice/snapshot.h"

#include <check.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* A pool and texts, with nothing between them. */
struct sample {
    struct snapshot_header header;
    struct snapshot_pool pool;
    char texts[16];
};

static struct sample sample;

/* Ways to reuse connections. */
static const struct snapshot_reuse by_reset = {.mode = REUSE_SESSION,
                                               .warm_min = 3,
                                               .max_idle = 7,
                                               .idle_max_ms = 5000,
                                               .max_age_ms = 600000,
                                               .reset_send = 2,
                                               .reset_send_bytes = 6,
                                               .reset_expect = 8,
                                               .reset_expect_bytes = 7,
                                               .settings = 99};
static const struct snapshot_reuse by_length = {
    .mode = REUSE_REQUEST, .framing = FRAMING_LENGTH, .max_idle = 1, .length_bytes = 4};
static const struct snapshot_reuse by_resp = {
    .mode = REUSE_SESSION, .framing = FRAMING_RESP, .max_idle = 1};
static const struct snapshot_reuse warm = {.mode = REUSE_WARM, .warm_min = 4, .max_idle = 64};

static void setup(void)
{
    memset(&sample, 0, sizeof(sample));
    sample.header = (struct snapshot_header){
        .magic = SNAPSHOT_MAGIC,
        .layout = SNAPSHOT_LAYOUT,
        .generation = 1,
        .size_bytes = sizeof(sample),
        .n_pools = 1,
        .services_offset = offsetof(struct sample, pool),
        .listeners_offset = offsetof(struct sample, pool),
        .pools_offset = offsetof(struct sample, pool),
        .backends_offset = offsetof(struct sample, texts),
        .checks_offset = offsetof(struct sample, texts),
        .entries_offset = offsetof(struct sample, texts),
        .sources_offset = offsetof(struct sample, texts),
        .args_offset = offsetof(struct sample, texts),
        .n_text_bytes = sizeof(sample.texts),
        .texts_offset = offsetof(struct sample, texts),
    };
    strcpy(sample.pool.name, "web");
    strcpy(sample.texts, "..RESET\nRESETOK");
}

static int check_sample(void)
{
    return snapshot_check(&sample, sizeof(sample));
}

START_TEST(every_way_of_reuse_passes)
{
    static const struct snapshot_reuse *const ways[] = {&by_reset, &by_length, &by_resp, &warm};

    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        sample.pool.reuse = *ways[i];
        ck_assert_int_eq(check_sample(), 0);
    }
    for (uint32_t n = 0; n <= 9; n++) {
        sample.pool.reuse = by_length;
        sample.pool.reuse.length_bytes = n;
        ck_assert_int_eq(check_sample(), n == 1 || n == 2 || n == 4 || n == 8 ? 0 : -EINVAL);
    }
    sample.pool.reuse = by_length;
    sample.pool.reuse.length_little_endian = 1;
    sample.pool.reuse.length_includes_header = 1;
    ck_assert_int_eq(check_sample(), 0);
    sample.pool.reuse = by_resp;
    sample.pool.reuse.handshake_key = sample.pool.reuse.scripts = 1;
    ck_assert_int_eq(check_sample(), 0);
}
END_TEST

#define FAULT(way, member, value)                                                                  \
    {                                                                                              \
        &(way), offsetof(struct snapshot_reuse, member), value                                     \
    }

/* One number of a way that makes it bad. */
static const struct fault {
    const struct snapshot_reuse *way;
    size_t offset;
    uint32_t value;
} faults[] = {
    FAULT(by_reset, mode, REUSE_OFF),
    FAULT(by_reset, mode, REUSE_WARM),
    FAULT(by_reset, mode, REUSE_REQUEST),
    FAULT(by_reset, mode, REUSE_MODE_COUNT),
    FAULT(by_reset, mode, UINT32_MAX),
    FAULT(by_reset, framing, FRAMING_HTTP1),
    FAULT(by_reset, policy, REUSE_POLICY_COUNT),
    FAULT(by_reset, warm_min, 8),
    FAULT(by_reset, warm_min, UINT32_MAX),
    FAULT(by_reset, max_idle, 0),
    FAULT(by_reset, max_idle, 2),
    FAULT(by_reset, max_idle, REUSE_IDLE_MAX + 1),
    FAULT(by_reset, length_bytes, 4),
    FAULT(by_reset, length_little_endian, 1),
    FAULT(by_reset, length_includes_header, 1),
    FAULT(by_reset, handshake_key, 1),
    FAULT(by_reset, scripts, 1),
    FAULT(by_reset, reset_send, 11),
    FAULT(by_reset, reset_send, UINT32_MAX - 5),
    FAULT(by_reset, reset_send_bytes, 0),
    FAULT(by_reset, reset_send_bytes, 15),
    FAULT(by_reset, reset_send_bytes, UINT32_MAX),
    FAULT(by_reset, reset_expect, 10),
    FAULT(by_reset, reset_expect, UINT32_MAX - 6),
    FAULT(by_reset, reset_expect_bytes, 0),
    FAULT(by_reset, reset_expect_bytes, 9),
    FAULT(by_reset, reset_expect_bytes, UINT32_MAX),
    FAULT(by_length, mode, REUSE_OFF),
    FAULT(by_length, mode, REUSE_WARM),
    FAULT(by_length, framing, FRAMING_NONE),
    FAULT(by_length, framing, FRAMING_LINE),
    FAULT(by_length, framing, FRAMING_KIND_COUNT),
    FAULT(by_length, length_bytes, UINT32_MAX),
    FAULT(by_length, length_little_endian, 2),
    FAULT(by_length, length_includes_header, 2),
    FAULT(by_length, handshake_key, 1),
    FAULT(by_length, scripts, 1),
    FAULT(by_length, reset_send_bytes, 1),
    FAULT(by_resp, framing, FRAMING_NONE),
    FAULT(by_resp, framing, FRAMING_LENGTH),
    FAULT(by_resp, framing, FRAMING_KIND_COUNT),
    FAULT(by_resp, handshake_key, 2),
    FAULT(by_resp, scripts, 2),
    FAULT(by_resp, length_bytes, 1),
    FAULT(warm, mode, REUSE_OFF),
    FAULT(warm, mode, REUSE_SESSION),
    FAULT(warm, mode, REUSE_REQUEST),
    FAULT(warm, mode, REUSE_MODE_COUNT),
    FAULT(warm, framing, FRAMING_HTTP1),
    FAULT(warm, warm_min, 65),
};

START_TEST(each_fault_is_found)
{
    const struct fault *fault = &faults[_i];

    sample.pool.reuse = *fault->way;
    ck_assert_int_eq(check_sample(), 0);
    memcpy((char *)&sample.pool.reuse + fault->offset, &fault->value, sizeof(fault->value));
    ck_assert_int_eq(check_sample(), -EINVAL);
}
END_TEST

/* Where the mode is off, nothing else may be there. */
START_TEST(off_is_all_zero)
{
    for (size_t i = 0; i < sizeof(struct snapshot_reuse) / sizeof(uint32_t); i++) {
        memset(&sample.pool.reuse, 0, sizeof(sample.pool.reuse));
        ck_assert_int_eq(check_sample(), 0);
        memset((char *)&sample.pool.reuse + i * sizeof(uint32_t), 1, 1);
        ck_assert_int_eq(check_sample(), -EINVAL);
    }
}
END_TEST

START_TEST(reset_exchanges_are_bounded)
{
    size_t size = sizeof(sample) + 2 * (REUSE_RESET_BYTES_MAX + 1);
    struct sample *large = calloc(1, size);
    struct snapshot_reuse *reuse = &large->pool.reuse;

    sample.pool.reuse = by_reset;
    memcpy(large, &sample, sizeof(sample));
    large->header.size_bytes = size;
    large->header.n_text_bytes = (uint32_t)(size - offsetof(struct sample, texts));
    reuse->reset_send_bytes = reuse->reset_expect_bytes = REUSE_RESET_BYTES_MAX;
    ck_assert_int_eq(snapshot_check(large, size), 0);
    reuse->reset_send_bytes++;
    ck_assert_int_eq(snapshot_check(large, size), -EINVAL);
    reuse->reset_send_bytes--;
    reuse->reset_expect_bytes++;
    ck_assert_int_eq(snapshot_check(large, size), -EINVAL);
    free(large);
}
END_TEST

/* What counts is how long they are when they are used. */
START_TEST(reset_exchanges_are_bounded_with_their_nonces)
{
    enum { N = REUSE_RESET_BYTES_MAX / 16 };
    size_t size = sizeof(sample) + 7 * (N + 1);
    struct sample *large = calloc(1, size);
    struct snapshot_reuse *reuse = &large->pool.reuse;

    sample.pool.reuse = by_reset;
    memcpy(large, &sample, sizeof(sample));
    large->header.size_bytes = size;
    large->header.n_text_bytes = (uint32_t)(size - offsetof(struct sample, texts));
    for (size_t i = 0; i <= N; i++) {
        memcpy(large->texts + 2 + i * 7, "{nonce}", 7);
    }
    reuse->reset_send = reuse->reset_expect = 2;
    reuse->reset_send_bytes = reuse->reset_expect_bytes = 7 * N;
    ck_assert_int_eq(snapshot_check(large, size), 0);
    reuse->reset_send_bytes++;
    ck_assert_int_eq(snapshot_check(large, size), -EINVAL);
    reuse->reset_send_bytes--;
    reuse->reset_expect_bytes += 7;
    ck_assert_int_eq(snapshot_check(large, size), -EINVAL);
    free(large);
}
END_TEST

START_TEST(only_warm_goes_with_a_proxy_header)
{
    static const struct snapshot_reuse *const ways[] = {&by_reset, &by_length, &by_resp, &warm};

    sample.pool.send_proxy = SEND_PROXY_V1;
    ck_assert_int_eq(check_sample(), 0);
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        sample.pool.reuse = *ways[i];
        ck_assert_int_eq(check_sample(), ways[i] == &warm ? 0 : -EINVAL);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pool snapshot reuse");
    TCase *tcase = tcase_create("check");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, every_way_of_reuse_passes);
    tcase_add_loop_test(tcase, each_fault_is_found, 0, sizeof(faults) / sizeof(faults[0]));
    tcase_add_test(tcase, off_is_all_zero);
    tcase_add_test(tcase, reset_exchanges_are_bounded);
    tcase_add_test(tcase, reset_exchanges_are_bounded_with_their_nonces);
    tcase_add_test(tcase, only_warm_goes_with_a_proxy_header);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
