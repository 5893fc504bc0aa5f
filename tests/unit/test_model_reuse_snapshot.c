/*
 * The reuse section of a pool, as workers are told of it: every value in its place, the reset
 * exchange as bytes, and when open upstreams are as good as before.
 */
#include "test_model_reuse.h"

/* A reset exchange; without nonces it would be warned of. */
#define RESET(send, expect) "reset_send = \"" send "{nonce}\"\nreset_expect = \"" expect "{nonce}\""

static struct snapshot_header *build(const char *of_pool, const char *options)
{
    struct model *model = read_section(of_pool, options);
    size_t size;
    struct snapshot_header *snapshot = make_snapshot(model, 1, 2, NULL, &size);

    ck_assert_ptr_nonnull(snapshot);
    ck_assert_int_eq(snapshot_check(snapshot, size), 0);
    model_free(model);
    return snapshot;
}

/* *out lives by itself, but for what it says of texts. */
static void build_reuse(const char *of_pool, const char *options, struct snapshot_reuse *out)
{
    struct snapshot_header *snapshot = build(of_pool, options);

    *out = snapshot_pools(snapshot)[0].reuse;
    free(snapshot);
}

START_TEST(numbers_arrive)
{
    static const struct snapshot_reuse off;
    struct snapshot_reuse reuse;

    build_reuse("",
                "mode = request framing = length length_bytes = 2 length_endian = little\n"
                "length_includes_header = true warm_min = 3 max_idle = 4 max_uses = 5\n"
                "idle_max = \"6s\" max_age = \"7s\" policy = always",
                &reuse);
    ck_assert_uint_eq(reuse.mode, REUSE_REQUEST);
    ck_assert_uint_eq(reuse.framing, FRAMING_LENGTH);
    ck_assert_uint_eq(reuse.policy, REUSE_ALWAYS);
    ck_assert_uint_eq(reuse.warm_min, 3);
    ck_assert_uint_eq(reuse.max_idle, 4);
    ck_assert_uint_eq(reuse.max_uses, 5);
    ck_assert_uint_eq(reuse.idle_max_ms, 6000);
    ck_assert_uint_eq(reuse.max_age_ms, 7000);
    ck_assert_uint_eq(reuse.length_bytes, 2);
    ck_assert_uint_eq(reuse.length_little_endian, 1);
    ck_assert_uint_eq(reuse.length_includes_header, 1);
    ck_assert_uint_eq(reuse.handshake_key, 0);
    ck_assert_uint_eq(reuse.scripts, 0);
    ck_assert_uint_eq(reuse.reset_send_bytes, 0);
    ck_assert_uint_eq(reuse.reset_expect_bytes, 0);
    ck_assert_uint_ne(reuse.settings, 0);
    build_reuse("", "mode = session framing = resp handshake = key", &reuse);
    ck_assert_uint_eq(reuse.mode, REUSE_SESSION);
    ck_assert_uint_eq(reuse.framing, FRAMING_RESP);
    ck_assert_uint_eq(reuse.handshake_key, 1);
    ck_assert_uint_eq(reuse.scripts, 0);
    ck_assert_uint_eq(reuse.policy, REUSE_SAFE);
    build_reuse("", "mode = session framing = resp scripts = yes", &reuse);
    ck_assert_uint_eq(reuse.handshake_key, 0);
    ck_assert_uint_eq(reuse.scripts, 1);
    build_reuse("", "mode = off framing = resp handshake = key warm_min = 9 policy = always",
                &reuse);
    ck_assert_mem_eq(&reuse, &off, sizeof(off));
    build_reuse("", "mode = off reset_send = a reset_expect = b", &reuse);
    ck_assert_mem_eq(&reuse, &off, sizeof(off));
}
END_TEST

START_TEST(how_many_are_kept_ready)
{
    static const struct {
        const char *options;
        uint32_t warm_min;
    } cases[] = {
        {"mode = warm", 4},
        {"mode = warm warm_min = auto max_idle = 4", 4},
        {"mode = warm max_idle = 3", 3},
        {"mode = warm max_idle = 1", 1},
        {"mode = warm warm_min = 1", 1},
        {"mode = warm warm_min = 64", 64},
        {FRAMED, 0},
        {FRAMED "warm_min = auto", 0},
        {FRAMED "warm_min = 0", 0},
        {FRAMED "warm_min = 7", 7},
        {"mode = session framing = line", 0},
        {"mode = session framing = line warm_min = 2", 2},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct snapshot_reuse reuse;

        build_reuse("", cases[i].options, &reuse);
        ck_assert_uint_eq(reuse.warm_min, cases[i].warm_min);
    }
}
END_TEST

static void expect_bytes(const struct snapshot_header *snapshot, uint32_t at, uint32_t n,
                         const char *expected, size_t n_expected)
{
    ck_assert_uint_eq(n, n_expected);
    ck_assert_mem_eq(snapshot_text(snapshot, at), expected, n_expected);
}

#define EXPECT_BYTES(at, n, text) expect_bytes(snapshot, at, n, text, sizeof(text) - 1)

/* Beside those of checks, and of other pools. */
START_TEST(reset_exchanges_arrive)
{
    struct model *model = read_good(
        SERVICE "pool \"web\" { check \"http\" { path = \"/first\" }\n" BACKEND
                "reuse { mode = session reset_send = \"a\\\\0\\\\x00\\\\xfe{nonce}\\r\\n\"\n"
                "reset_expect = \"\\\\\\\\ok{nonce}\\\\n\" } }\n"
                "service \"two\" { listen = { \"127.0.0.1:81\" } pool = \"two\" }\n"
                "pool \"two\" { reuse { mode = session reset_send = \"{nonce}\\\\n\"\n"
                "reset_expect = \"\\\\0{nonce}\" }\n"
                "backend \"b\" { address = \"10.0.0.2:80\" check \"http\" { path = \"/own\" } } }");
    size_t size;
    struct snapshot_header *snapshot = make_snapshot(model, 1, 2, NULL, &size);
    const struct snapshot_reuse *first = &snapshot_pools(snapshot)[0].reuse;
    const struct snapshot_reuse *second = &snapshot_pools(snapshot)[1].reuse;
    const struct snapshot_check *checks = snapshot_checks(snapshot);
    const struct snapshot_arg *args = snapshot_args(snapshot);

    ck_assert_int_eq(snapshot_check(snapshot, size), 0);
    EXPECT_BYTES(first->reset_send, first->reset_send_bytes, "a\0\0\xfe{nonce}\r\n");
    EXPECT_BYTES(first->reset_expect, first->reset_expect_bytes, "\\ok{nonce}\n");
    EXPECT_BYTES(second->reset_send, second->reset_send_bytes, "{nonce}\n");
    EXPECT_BYTES(second->reset_expect, second->reset_expect_bytes, "\0{nonce}");
    ck_assert_str_eq(snapshot_text(snapshot, args[checks[0].first_arg + 1].value), "/first");
    ck_assert_str_eq(snapshot_text(snapshot, args[checks[1].first_arg + 1].value), "/own");
    free(snapshot);
    model_free(model);
}
END_TEST

START_TEST(reset_exchanges_without_checks)
{
    struct snapshot_header *snapshot = build("", "mode = session " RESET("ab", "c"));
    const struct snapshot_reuse *reuse = &snapshot_pools(snapshot)[0].reuse;

    ck_assert_uint_eq(snapshot->n_args, 0);
    ck_assert_uint_eq(snapshot->n_text_bytes, sizeof("ab{nonce}") + sizeof("c{nonce}"));
    EXPECT_BYTES(reuse->reset_send, reuse->reset_send_bytes, "ab{nonce}");
    EXPECT_BYTES(reuse->reset_expect, reuse->reset_expect_bytes, "c{nonce}");
    ck_assert_uint_eq(reuse->reset_expect, reuse->reset_send + sizeof("ab{nonce}"));
    free(snapshot);
    snapshot = build("", "mode = off reset_send = ab reset_expect = c");
    ck_assert_uint_eq(snapshot->n_text_bytes, 0);
    free(snapshot);
}
END_TEST

/* --- when upstreams are as before --- */

static uint64_t settings_of(const char *of_pool, const char *options)
{
    struct snapshot_reuse reuse;

    build_reuse(of_pool, options, &reuse);
    return reuse.settings;
}

START_TEST(what_makes_open_upstreams_unfit)
{
    /* Of the pool, of the section: each pair of rows differs. */
    static const char *const cases[][2] = {
        {"", "mode = warm"},
        {"keepalive = \"61s\"", "mode = warm"},
        {"user_timeout = \"31s\"", "mode = warm"},
        {"keepalive = \"61s\" user_timeout = \"31s\"", "mode = warm"},
        {"send_proxy = v1", "mode = warm"},
        {"send_proxy = v2", "mode = warm"},
        {"", "mode = session framing = http1"},
        {"", "mode = request framing = http1"},
        {"", "mode = request framing = memcached"},
        {"", "mode = request framing = line"},
        {"", "mode = request framing = resp"},
        {"", "mode = request framing = resp handshake = key"},
        {"", "mode = request framing = resp scripts = yes"},
        {"", "mode = request framing = length length_bytes = 1"},
        {"", "mode = request framing = length length_bytes = 2"},
        {"", "mode = request framing = length length_bytes = 1 length_endian = little"},
        {"", "mode = request framing = length length_bytes = 1 length_includes_header = yes"},
        {"", "mode = session " RESET("ab", "c")},
        {"", "mode = session " RESET("a", "bc")},
        {"", "mode = session " RESET("ab", "c\\\\0")},
        {"", "mode = session " RESET("c", "ab")},
        {"", "mode = session " RESET("ac", "c")},
    };
    enum { N = sizeof(cases) / sizeof(cases[0]) };
    uint64_t settings[N];

    for (size_t i = 0; i < N; i++) {
        settings[i] = settings_of(cases[i][0], cases[i][1]);
        ck_assert_uint_ne(settings[i], 0);
        for (size_t j = 0; j < i; j++) {
            ck_assert_msg(settings[i] != settings[j], "%s, %s", cases[i][1], cases[j][1]);
        }
    }
}
END_TEST

START_TEST(what_leaves_open_upstreams_as_they_are)
{
    static const char *const same[] = {"warm_min = 9", "max_idle = 9",    "idle_max = \"9s\"",
                                       "max_age = 0",  "policy = always", "max_uses = 9"};
    uint64_t settings = settings_of("", FRAMED);

    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        STR_AUTO options = {0};

        str_printf(&options, FRAMED "%s", same[i]);
        ck_assert_uint_eq(settings_of("", str_text(&options)), settings);
    }
    ck_assert_uint_eq(settings_of("scheduler = rr retries = 1 connect_timeout = \"9s\"", FRAMED),
                      settings);
    /* The same bytes, written in another way. */
    ck_assert_uint_eq(settings_of("", "mode = session " RESET("a\\n", "b")),
                      settings_of("", "mode = session " RESET("\\\\x61\\\\n", "\\\\x62")));
    ck_assert_uint_eq(settings_of("keepalive = \"60s\"", FRAMED), settings);
}
END_TEST

/* --- whatever is written --- */

#define SOME(...)                                                                                  \
    ((const char *const[]){                                                                        \
        __VA_ARGS__}[(unsigned long)random() %                                                     \
                     (sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))])

static void write_at_random(struct str *out)
{
    str_append(out, SOME("mode = off ", "mode = warm ", "mode = session ", "mode = request "));
    str_append(out, SOME("", "framing = http1 ", "framing = resp ", "framing = length "));
    str_append(out, SOME("", "", "", "", "length_bytes = 2 ", "length_bytes = 4 "));
    str_append(out, SOME("", "", "", "", "", "", "length_endian = little "));
    str_append(out, SOME("", "", "", "", "", "handshake = key ", "handshake = own "));
    str_append(out, SOME("", "", "", "", "", "", "scripts = true "));
    str_append(out, SOME("", "", RESET("a\\\\0", "b") " ", "reset_send = a "));
    str_append(out, SOME("", "warm_min = 0 ", "warm_min = 5 ", "warm_min = auto "));
    str_append(out, SOME("", "max_idle = 1 ", "max_idle = 5 "));
    str_append(out, SOME("", "", "", "", "", "", "max_uses = 3 "));
    str_append(out, SOME("", "", "", "", "", "", "policy = always "));
}

/* What is accepted, every worker accepts too, and it prints; off, it stays accepted. */
START_TEST(what_is_accepted_is_good_everywhere)
{
    unsigned n_by_mode[REUSE_MODE_COUNT] = {0};
    unsigned n_refused = 0;

    srandom(1);
    for (unsigned i = 0; i < 3000; i++) {
        STR_AUTO options = {0};
        STR_AUTO text = {0};
        STR_AUTO messages = {0};
        struct model *model;

        write_at_random(&options);
        wrap(SOME("", "", "send_proxy = v1"), str_text(&options), &text);
        model = read_model(str_text(&text), &messages);
        if (model != NULL) {
            size_t size;
            void *snapshot = make_snapshot(model, 1, 2, NULL, &size);

            ck_assert_msg(snapshot_check(snapshot, size) == 0, "%s", str_text(&text));
            n_by_mode[model->pools[0].reuse.mode]++;
            free(snapshot);
            expect_back(model, i % 2 == 0);
            model->pools[0].reuse.mode = REUSE_OFF;
            expect_back(model, i % 2 == 0);
        }
        n_refused += model == NULL;
        model_free(model);
    }
    ck_assert_uint_gt(n_refused, 100);
    for (unsigned mode = 0; mode < REUSE_MODE_COUNT; mode++) {
        ck_assert_uint_gt(n_by_mode[mode], 10);
    }
}
END_TEST

int main(void)
{
    return RUN_SUITE("model reuse snapshot", numbers_arrive, how_many_are_kept_ready,
                     reset_exchanges_arrive, reset_exchanges_without_checks,
                     what_makes_open_upstreams_unfit, what_leaves_open_upstreams_as_they_are,
                     what_is_accepted_is_good_everywhere);
}
