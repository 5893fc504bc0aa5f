/*
 * From model to snapshot: valid for every reader, and every value in its place; hash tables made,
 * or taken over from the one before.
 */
#include "test_model_fixture.h"

#include <xxhash.h>

#include "model/args.h"
#include "sched/maglev.h"
#include "sched/sched.h"
#include "sluice/scoreboard.h"

static const char text[] =
    "global { max_connections = 77 }\n"
    "service \"one\" { listen = { \"127.0.0.1:80\", \"[::1]:80\" } pool = \"second\"\n"
    "  idle_timeout = \"1s\" half_close_timeout = \"2s\" keepalive = \"3s\"\n"
    "  user_timeout = \"4s\" max_connections = 5 fallback_pool = \"first\"\n"
    "  accept_rate = \"999999/s:20\" persistence = \"21s\" persistence_mask = 22\n"
    "  persistence_mask6 = 23 }\n"
    "service \"two\" { listen = { \"unix:/run/two\" } pool = \"first\" }\n"
    "pool \"first\" { backend \"x\" { address = \"h.example:80\" } }\n"
    "pool \"second\" {\n"
    "  scheduler = \"rr\" connect_timeout = \"6s\" retries = 7 keepalive = \"8s\"\n"
    "  user_timeout = \"9s\" start = \"down\" hash_key = \"source_port\" queue = 24\n"
    "  queue_timeout = \"25s\" slow_start = \"26s\" panic_threshold = 27 min_healthy = 2\n"
    "  backup_use = \"all\" on_return = \"close\" on_down = \"close\" send_proxy = \"v2\"\n"
    "  check \"tcp\" { interval = \"10s\" fast_interval = \"11s\" down_interval = \"12s\"\n"
    "    timeout = \"13s\" rise = 14 fall = 15 port = 16 }\n"
    "  check \"http:q\" { headers = { \"A: b\", \"C: d\" } tls = true host = \"h\" }\n"
    "  require = \"any\" outlier { on = { \"reset\", \"first_byte\" } consecutive_failures = 31\n"
    "    first_byte_timeout = \"32s\" eject_time = \"33s\" max_ejected = 34 }\n"
    "  backend \"a\" { address = \"10.0.0.1:80\" weight = 17 max_connections = 18\n"
    "    admin = \"maintenance\" }\n"
    "  backend \"b\" { address = \"10.0.0.2:80\" check \"tcp:own\" { fall = 19 }\n"
    "    check \"http\" { headers = { \"A: b\", \"C: d\" } tls = true host = \"h\" port = 35 }\n"
    "    check_address = \"[::1]:36\"\n"
    "    max_connections = 30 resume_connections = 28 connect_rate = \"7/m\" backup = yes }\n"
    "  backend \"c\" { address = \"10.0.0.3:80\" checks = \"none\" }\n"
    "  backend \"d\" { address = \"10.0.0.4:80\" check_address = \"10.0.0.5\" }\n"
    "}\n";

static struct model *model;
static struct snapshot_header *snapshot;
static size_t size;

static void setup(void)
{
    STR_AUTO warnings = {0}; /* rr does not hash */

    model = read_model(text, &warnings);
    ck_assert_ptr_nonnull(model);
    model->pools[1].row = 99;
    model->services[0].row = 100;
    model->services[0].listeners[1].id = 101;
    for (uint32_t i = 0; i < 4; i++) {
        model->pools[1].backends[i].slot = 200 + i;
        model->pools[1].backends[i].row = 300 + i;
    }
    snapshot = make_snapshot(model, 42, 43, NULL, &size);
    ck_assert_ptr_nonnull(snapshot);
}

static void teardown(void)
{
    free(snapshot);
    model_free(model);
}

START_TEST(header)
{
    ck_assert_int_eq(snapshot_check(snapshot, size), 0);
    ck_assert_uint_eq(snapshot->generation, 42);
    ck_assert_uint_eq(snapshot->size_bytes, size);
    ck_assert_uint_eq(snapshot->max_connections, 77);
    ck_assert_uint_eq(snapshot->hash_seed, 43);
    ck_assert_uint_eq(snapshot->n_entries, 0);
    ck_assert_uint_eq(snapshot->n_services, 2);
    ck_assert_uint_eq(snapshot->n_listeners, 3);
    ck_assert_uint_eq(snapshot->n_pools, 2);
    ck_assert_uint_eq(snapshot->n_backends, 5);
    ck_assert_uint_eq(snapshot->n_checks, 4);
    ck_assert_uint_eq(snapshot->n_args, 2 * 8);
}
END_TEST

START_TEST(services_and_listeners)
{
    const struct snapshot_service *service = snapshot_services(snapshot);
    const struct snapshot_listener *listener = snapshot_listeners(snapshot);

    ck_assert_str_eq(service[0].name, "one");
    ck_assert_uint_eq(service[0].row, 100);
    ck_assert_uint_eq(service[0].pool, 1);
    ck_assert_uint_eq(service[0].first_listener, 0);
    ck_assert_uint_eq(service[0].n_listeners, 2);
    ck_assert_uint_eq(service[0].idle_timeout_ms, 1000);
    ck_assert_uint_eq(service[0].half_close_timeout_ms, 2000);
    ck_assert_uint_eq(service[0].keepalive_ms, 3000);
    ck_assert_uint_eq(service[0].user_timeout_ms, 4000);
    ck_assert_uint_eq(service[0].max_connections, 5);
    ck_assert_uint_eq(service[0].fallback_pool, 0);
    ck_assert_uint_eq(service[0].accept_rate.interval_ns, 1001);
    ck_assert_uint_eq(service[0].accept_rate.burst, 5000);
    ck_assert_uint_eq(service[0].persistence_ms, 21000);
    ck_assert_uint_eq(service[0].persistence_mask, 22);
    ck_assert_uint_eq(service[0].persistence_mask6, 23);
    ck_assert_uint_eq(service[1].fallback_pool, SNAPSHOT_NONE);
    ck_assert_uint_eq(service[1].accept_rate.interval_ns, 0);
    ck_assert_str_eq(service[1].name, "two");
    ck_assert_uint_eq(service[1].pool, 0);
    ck_assert_uint_eq(service[1].first_listener, 2);
    ck_assert_uint_eq(service[1].n_listeners, 1);
    ck_assert_uint_eq(listener[1].id, 101);
    ck_assert_uint_eq(listener[1].service, 0);
    ck_assert_uint_eq(listener[1].address.ip.family, ADDR_IPV6);
    ck_assert_uint_eq(listener[2].service, 1);
    ck_assert_str_eq(listener[2].address.path, "/run/two");
}
END_TEST

START_TEST(pools)
{
    const struct snapshot_pool *pool = snapshot_pools(snapshot);

    ck_assert_str_eq(pool[0].name, "first");
    ck_assert_uint_eq(pool[0].scheduler, sched_find("wlc"));
    ck_assert_uint_eq(pool[0].first_backend, 0);
    ck_assert_uint_eq(pool[0].n_backends, 1);
    ck_assert_str_eq(pool[1].name, "second");
    ck_assert_uint_eq(pool[1].scheduler, sched_find("rr"));
    ck_assert_uint_eq(pool[1].first_backend, 1);
    ck_assert_uint_eq(pool[1].n_backends, 4);
    ck_assert_uint_eq(pool[1].connect_timeout_ms, 6000);
    ck_assert_uint_eq(pool[1].retries, 7);
    ck_assert_uint_eq(pool[1].keepalive_ms, 8000);
    ck_assert_uint_eq(pool[1].user_timeout_ms, 9000);
    ck_assert_uint_eq(pool[1].start, START_DOWN);
    ck_assert_uint_eq(pool[1].row, 99);
    ck_assert_uint_eq(pool[1].hash_key, HASH_KEY_SOURCE_PORT);
    ck_assert_uint_eq(pool[1].queue, 24);
    ck_assert_uint_eq(pool[1].queue_timeout_ms, 25000);
    ck_assert_uint_eq(pool[1].slow_start_ms, 26000);
    ck_assert_uint_eq(pool[1].panic_threshold, 27);
    ck_assert_uint_eq(pool[1].min_healthy, 2);
    ck_assert_uint_eq(pool[1].backup_use, BACKUP_USE_ALL);
    ck_assert_uint_eq(pool[1].on_return, SESSIONS_CLOSE);
    ck_assert_uint_eq(pool[1].on_down, SESSIONS_CLOSE);
    ck_assert_uint_eq(pool[1].n_entries, 0);
    ck_assert_uint_eq(pool[1].table_inputs, 0);
    ck_assert_uint_eq(pool[0].backup_use, BACKUP_USE_FIRST);
    ck_assert_uint_eq(pool[0].on_return, SESSIONS_KEEP);
    ck_assert_uint_eq(pool[0].on_down, SESSIONS_KEEP);
    ck_assert_uint_eq(pool[0].require_any, 0);
    ck_assert_uint_eq(pool[0].send_proxy, SEND_PROXY_OFF);
    ck_assert_uint_eq(pool[1].send_proxy, SEND_PROXY_V2);
    ck_assert_uint_eq(pool[0].outlier.signals, 0);
    ck_assert_uint_eq(pool[0].outlier.consecutive_failures, 0); /* off */
    ck_assert_uint_eq(pool[1].require_any, 1);
    ck_assert_uint_eq(pool[1].outlier.signals, OUTLIER_RESET | OUTLIER_FIRST_BYTE);
    ck_assert_uint_eq(pool[1].outlier.consecutive_failures, 31);
    ck_assert_uint_eq(pool[1].outlier.first_byte_timeout_ms, 32000);
    ck_assert_uint_eq(pool[1].outlier.eject_time_ms, 33000);
    ck_assert_uint_eq(pool[1].outlier.max_ejected, 34);
}
END_TEST

START_TEST(backends)
{
    const struct snapshot_backend *backend = snapshot_backends(snapshot);

    ck_assert_str_eq(backend[0].name, "x");
    ck_assert_uint_eq(backend[0].address.ip.family, ADDR_NONE);
    ck_assert_uint_eq(backend[0].n_checks, 0);
    ck_assert_str_eq(backend[1].name, "a");
    ck_assert_uint_eq(backend[1].address.ip.port, 80);
    ck_assert_uint_eq(backend[1].slot, 200);
    ck_assert_uint_eq(backend[1].row, 300);
    ck_assert_uint_eq(backend[1].weight, 17);
    ck_assert_uint_eq(backend[1].max_connections, 18);
    ck_assert_uint_eq(backend[1].admin, ADMIN_MAINTENANCE);
    ck_assert_uint_eq(backend[1].resume_connections, 14); /* 3/4 of 18, rounded up */
    ck_assert_uint_eq(backend[1].backup, 0);
    ck_assert_uint_eq(backend[1].connect_rate.interval_ns, 0);
    ck_assert_uint_eq(backend[2].resume_connections, 28);
    ck_assert_uint_eq(backend[2].backup, 1);
    ck_assert_uint_eq(backend[2].connect_rate.interval_ns, UINT64_C(8571428572));
    ck_assert_uint_eq(backend[2].connect_rate.burst, 1);
    ck_assert_uint_eq(backend[3].resume_connections, 0); /* no limit */
    ck_assert_uint_eq(backend[4].slot, 203);
    ck_assert_uint_eq(backend[1].check_address.ip.family, ADDR_NONE);
    ck_assert_uint_eq(backend[2].check_address.ip.family, ADDR_IPV6);
    ck_assert_uint_eq(backend[2].check_address.ip.port, 36);
    ck_assert_uint_eq(backend[4].check_address.ip.bytes[3], 5);
    ck_assert_uint_eq(backend[4].check_address.ip.port, 80);
}
END_TEST

START_TEST(checks)
{
    const struct snapshot_backend *backend = snapshot_backends(snapshot);
    const struct snapshot_check *check = snapshot_checks(snapshot);
    const struct snapshot_check *first = &check[backend[1].first_check];

    ck_assert_uint_eq(backend[1].n_checks, 2);
    ck_assert_str_eq(first->kind, "tcp");
    ck_assert_uint_eq(first->interval_ms, 10000);
    ck_assert_uint_eq(first->fast_interval_ms, 11000);
    ck_assert_uint_eq(first->down_interval_ms, 12000);
    ck_assert_uint_eq(first->timeout_ms, 13000);
    ck_assert_uint_eq(first->rise, 14);
    ck_assert_uint_eq(first->fall, 15);
    ck_assert_uint_eq(first->port, 16);
    ck_assert_str_eq(first->title, "tcp");
    ck_assert_str_eq(first[1].kind, "http");
    ck_assert_str_eq(first[1].title, "http:q");
    ck_assert_uint_eq(backend[2].n_checks, 2);
    ck_assert_str_eq(check[backend[2].first_check].kind, "tcp");
    ck_assert_uint_eq(check[backend[2].first_check].fall, 19);
    ck_assert_uint_eq(backend[3].n_checks, 0);
    ck_assert_uint_eq(backend[4].n_checks, 2);
    ck_assert_uint_eq(backend[4].first_check, backend[1].first_check);
}
END_TEST

/* The args of a check as one text. */
static void append_args(const struct snapshot_check *check, struct str *out)
{
    const struct snapshot_arg *args = snapshot_args(snapshot) + check->first_arg;

    for (uint32_t i = 0; i < check->n_args; i++) {
        str_printf(out, "%s%s=%s", i == 0 ? "" : ", ", snapshot_text(snapshot, args[i].name),
                   snapshot_text(snapshot, args[i].value));
    }
}

START_TEST(args_of_checks)
{
    const struct snapshot_check *check = snapshot_checks(snapshot);
    const struct snapshot_check *pools_http = NULL;
    const struct snapshot_check *own_http = NULL;

    for (uint32_t i = 0; i < snapshot->n_checks; i++) {
        STR_AUTO found = {0};
        bool is_http = strcmp(check[i].kind, "http") == 0;

        append_args(&check[i], &found);
        ck_assert_str_eq(str_text(&found), is_http ? "method=GET, path=/, host=h, headers=A: b, "
                                                     "headers=C: d, status=200-399, tls=true, "
                                                     "verify=false"
                                                   : "");
        pools_http = is_http && check[i].port == 0 ? &check[i] : pools_http;
        own_http = is_http && check[i].port == 35 ? &check[i] : own_http;
    }
    ck_assert(pools_http != NULL && own_http != NULL);
    ck_assert_uint_eq(pools_http->args_hash, own_http->args_hash);
    ck_assert_uint_ne(pools_http->args_hash,
                      check[snapshot_backends(snapshot)[1].first_check].args_hash);
    ck_assert_int_eq(snapshot_text(snapshot, snapshot->n_text_bytes - 1)[0], '\0');
}
END_TEST

START_TEST(no_args_no_texts)
{
    struct model *plain = read_good(SERVICE POOL);
    struct snapshot_header *built = make_snapshot(plain, 1, 0, NULL, &size);

    ck_assert_int_eq(snapshot_check(built, size), 0);
    ck_assert_uint_eq(built->n_args, 0);
    ck_assert_uint_eq(built->n_text_bytes, 0);
    free(built);
    model_free(plain);
}
END_TEST

/* What is given is what is meant, not how it is shown. */
START_TEST(secrets_are_expanded)
{
    char path[] = "/tmp/sluice-test-snapshot-XXXXXX";
    int fd = mkstemp(path);
    STR_AUTO of = {0};
    STR_AUTO found = {0};
    struct model *secret;

    ck_assert_int_eq(write(fd, "Token: x", 8), 8);
    close(fd);
    str_printf(&of,
               SERVICE "pool \"web\" { check \"http\" { headers = { \"${file:%s}\" } }\n"
                       "backend \"a\" { address = \"10.0.0.1:80\" } }",
               path);
    secret = read_good(str_text(&of));
    unlink(path);
    free(snapshot);
    snapshot = make_snapshot(secret, 1, 0, NULL, &size);
    ck_assert_int_eq(snapshot_check(snapshot, size), 0);
    append_args(snapshot_checks(snapshot), &found);
    ck_assert_ptr_nonnull(strstr(str_text(&found), "headers=Token: x,"));
    model_free(secret);
}
END_TEST

START_TEST(more_text_than_allowed)
{
    struct model large = *model;
    struct model_pool pool = {.name = model->pools[0].name, .scheduler = model->pools[0].scheduler};
    struct model_check check = {.kind = (char[]){"agent"}, .title = (char[]){"agent"}};
    struct model_check *all = calloc(CHECKS_MAX, sizeof(*all));
    size_t bytes = ARGS_BYTES_MAX / CHECKS_MAX - sizeof("send");

    check.send = calloc(1, bytes + 1);
    ck_assert(check.send != NULL && all != NULL);
    memset(check.send, 'x', bytes);
    for (int i = 0; i < CHECKS_MAX; i++) {
        all[i] = check;
    }
    pool.checks = all;
    pool.n_checks = CHECKS_MAX;
    large.pools = &pool;
    large.n_pools = 1;
    large.n_services = 0;
    ck_assert_ptr_null(make_snapshot(&large, 1, 0, NULL, &size));
    check.send[bytes - 1] = '\0'; /* of all of them */
    free(snapshot);
    snapshot = make_snapshot(&large, 1, 0, NULL, &size);
    ck_assert_int_eq(snapshot_check(snapshot, size), 0);
    ck_assert_uint_eq(snapshot->n_text_bytes, ARGS_BYTES_MAX);
    free(check.send);
    free(all);
}
END_TEST

START_TEST(beyond_a_bound)
{
    struct model large = *model;
    struct model_pool pool = model->pools[1];

    pool.n_backends = BACKENDS_MAX + 1;
    pool.backends = calloc(pool.n_backends, sizeof(*pool.backends));
    large.pools = &pool;
    large.n_pools = 1;
    ck_assert_ptr_null(make_snapshot(&large, 1, 0, NULL, &size));
    free(pool.backends);
}
END_TEST

START_TEST(as_large_as_allowed)
{
    STR_AUTO many = {0};
    struct model *large;
    void *bytes;

    str_append(&many, SERVICE "pool \"web\" {\n");
    for (unsigned i = 0; i < BACKENDS_MAX; i++) {
        str_printf(&many, "backend \"b%u\" { address = \"h%u:80\"", i, i);
        for (unsigned j = 0; i < 100 && j < CHECKS_MAX; j++) {
            str_printf(&many, " check \"http:%u\" { path = \"/%u\" }", j, i);
        }
        str_append(&many, " }\n");
    }
    str_append(&many, "}\n");
    large = read_good(str_text(&many));
    bytes = make_snapshot(large, 1, 0, NULL, &size);
    ck_assert_ptr_nonnull(bytes);
    ck_assert_int_eq(snapshot_check(bytes, size), 0);
    free(bytes);
    model_free(large);
}
END_TEST

/* --- rates --- */

START_TEST(rates_are_never_exceeded)
{
    static const struct {
        struct units_rate rate;
        struct snapshot_rate result;
    } cases[] = {
        {{0, 0, 0}, {0, 0, 0}},
        {{1, 1000, 0}, {1000000000, 1, 0}},
        {{3, 1000, 0}, {333333334, 1, 0}},
        {{19, 1000, 0}, {52631579, 1, 0}},
        {{20, 1000, 0}, {50000000, 2, 0}}, /* a tenth of a second's worth */
        {{100, 1000, 0}, {10000000, 10, 0}},
        {{100, 1000, 500}, {10000000, 500, 0}},
        {{5000, 1000, 1}, {200000, 25, 0}}, /* what comes in 5 ms at least */
        {{1000000, 1000, 0}, {1000, 100000, 0}},
        {{60, 60000, 0}, {1000000000, 1, 0}},
        {{60000000, 60000, 0}, {1000, 100000, 0}},
        {{1, 3600000, 1000000}, {UINT64_C(3600000000000), 1000000, 0}},
        {{UINT32_C(3600000000), 3600000, 0}, {1000, 100000, 0}},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct snapshot_rate *rate;

        free(snapshot);
        model->services[0].accept_rate = cases[i].rate;
        snapshot = make_snapshot(model, 1, 0, NULL, &size);
        ck_assert_int_eq(snapshot_check(snapshot, size), 0);
        rate = &snapshot_services(snapshot)[0].accept_rate;
        ck_assert_uint_eq(rate->interval_ns, cases[i].result.interval_ns);
        ck_assert_uint_eq(rate->burst, cases[i].result.burst);
    }
}
END_TEST

/* --- hash tables --- */

#define SEED 4711

#define HASHED(backends) SERVICE "pool \"web\" { scheduler = \"mh\"\n" backends "}\n"
#define A                "backend \"a\" { address = \"10.0.0.1:80\" }\n"
#define B                "backend \"b\" { address = \"10.0.0.2:80\" weight = 3 }\n"
#define C                "backend \"c\" { address = \"10.0.0.3:80\" weight = 0 }\n"
#define SPARE            "backend \"d\" { address = \"10.0.0.4:80\" weight = 2 backup = yes }\n"

static struct snapshot_header *build(const char *of, uint64_t seed,
                                     const struct snapshot_header *previous)
{
    STR_AUTO warnings = {0};
    struct model *from = read_model(of, &warnings);
    struct snapshot_header *built;

    ck_assert_msg(from != NULL, "%s", str_text(&warnings));
    built = make_snapshot(from, 2, seed, previous, &size);
    ck_assert_ptr_nonnull(built);
    ck_assert_int_eq(snapshot_check(built, size), 0);
    model_free(from);
    return built;
}

/* The table of pool i, for reading or doctoring. */
static uint16_t *table(const struct snapshot_header *of, uint32_t i)
{
    uint16_t *entries = (void *)((char *)(uintptr_t)of + of->entries_offset);

    ck_assert_uint_gt(snapshot_pools(of)[i].n_entries, 0);
    return entries + snapshot_pools(of)[i].first_entry;
}

/* all: in the order of their names; places: where each is in the file. */
static void expect_table(const struct snapshot_header *of, uint32_t i,
                         const struct maglev_backend *all, const uint16_t *places, uint32_t n)
{
    uint16_t *expected = calloc(MAGLEV_SIZE, sizeof(*expected));

    ck_assert_uint_eq(snapshot_pools(of)[i].n_entries, MAGLEV_SIZE);
    ck_assert_int_eq(maglev_build(all, n, MAGLEV_SIZE, expected), 0);
    for (uint32_t e = 0; e < MAGLEV_SIZE; e++) {
        expected[e] = places[expected[e]];
    }
    ck_assert_int_eq(memcmp(table(of, i), expected, MAGLEV_SIZE * sizeof(*expected)), 0);
    free(expected);
}

START_TEST(tables_are_maglev)
{
    struct snapshot_header *built =
        build(HASHED(A B C SPARE) "pool \"plain\" { " A "}\n"
                                  "pool \"idle\" { scheduler = \"mh\" " C "}\n"
                                  "pool \"empty\" { scheduler = \"mh\" }\n"
                                  "pool \"more\" { scheduler = \"maglev_bounded\" " B A "}\n",
              SEED, NULL);
    const struct snapshot_pool *built_pools = snapshot_pools(built);

    expect_table(built, 0,
                 (const struct maglev_backend[]){maglev_backend("a", 1, SEED, MAGLEV_SIZE),
                                                 maglev_backend("b", 3, SEED, MAGLEV_SIZE),
                                                 maglev_backend("c", 0, SEED, MAGLEV_SIZE),
                                                 maglev_backend("d", 2, SEED, MAGLEV_SIZE)},
                 (const uint16_t[]){0, 1, 2, 3}, 4);
    for (uint32_t i = 1; i < 4; i++) {
        ck_assert_uint_eq(built_pools[i].n_entries, 0);
    }
    expect_table(built, 4,
                 (const struct maglev_backend[]){maglev_backend("a", 1, SEED, MAGLEV_SIZE),
                                                 maglev_backend("b", 3, SEED, MAGLEV_SIZE)},
                 (const uint16_t[]){1, 0}, 2);
    ck_assert_uint_eq(built_pools[4].first_entry, MAGLEV_SIZE);
    ck_assert_uint_eq(built->n_entries, 2 * MAGLEV_SIZE);
    free(built);
}
END_TEST

START_TEST(large_pools_have_large_tables)
{
    STR_AUTO many = {0};
    struct snapshot_header *built;

    str_append(&many, SERVICE "pool \"web\" { scheduler = \"mh\"\n");
    for (unsigned i = 0; i <= MAGLEV_LARGE_FROM; i++) {
        str_printf(&many, "backend \"b%u\" { address = \"h%u:80\" }\n", i, i);
    }
    str_append(&many, "}\n");
    built = build(str_text(&many), SEED, NULL);
    ck_assert_uint_eq(snapshot_pools(built)[0].n_entries, MAGLEV_SIZE_LARGE);
    free(built);
}
END_TEST

/* Whether the table of the last pool in text is the one of that name in a doctored HASHED(A B). */
static bool is_taken_over(const char *of, uint64_t seed)
{
    struct snapshot_header *before = build(HASHED(A B), SEED, NULL);
    struct snapshot_header *after;
    uint16_t *doctored = table(before, 0);
    uint32_t last;
    bool taken;

    doctored[7] = doctored[7] == 0;
    after = build(of, seed, before);
    last = after->n_pools - 1;
    taken = memcmp(table(after, last), doctored, MAGLEV_SIZE * sizeof(*doctored)) == 0;
    free(before);
    free(after);
    return taken;
}

START_TEST(tables_are_taken_over)
{
    ck_assert(is_taken_over(HASHED(A B), SEED));
    /* What a table does not follow from. */
    ck_assert(is_taken_over(HASHED("retries = 1 " A "backend \"b\" { address = \"10.0.0.9:80\"\n"
                                   "weight = 3 admin = \"drain\" }\n"),
                            SEED));
    ck_assert(
        is_taken_over(SERVICE "pool \"web\" { scheduler = \"maglev_bounded\" " A B "}\n", SEED));
    ck_assert(is_taken_over("pool \"x\" { scheduler = \"mh\" " A "}\n" HASHED(A B), SEED));
}
END_TEST

/* What snapshot_put_tables() puts, and where the second one is refused. */
struct seen {
    const void *bytes[2];
    size_t n[2];
    int calls;
};

static int see(void *arg, const void *bytes, size_t n)
{
    struct seen *seen = arg;

    ck_assert_int_lt(seen->calls, 2);
    seen->bytes[seen->calls] = bytes;
    seen->n[seen->calls++] = n;
    return seen->calls == 2 ? -ENOSPC : 0;
}

START_TEST(tables_are_put_one_by_one)
{
    STR_AUTO warnings = {0};
    struct snapshot_header *before = build(HASHED(A B), SEED, NULL);
    struct model *from = read_model(HASHED(A B) "pool \"plain\" { " A "}\n"
                                                "pool \"more\" { scheduler = \"mh\" " A "}\n"
                                                "pool \"never\" { scheduler = \"mh\" " B "}\n",
                                    &warnings);
    struct snapshot_header *built = snapshot_build(from, 2, SEED, &size);
    struct seen seen = {0};

    ck_assert_ptr_nonnull(built);
    ck_assert_uint_eq(size, built->entries_offset);
    ck_assert_int_eq(snapshot_put_tables(from, built, before, see, &seen), -ENOSPC);
    ck_assert_int_eq(seen.calls, 2);
    ck_assert_ptr_eq(seen.bytes[0], table(before, 0)); /* as it stands there, not a copy */
    ck_assert_uint_eq(seen.n[0], MAGLEV_SIZE * sizeof(uint16_t));
    ck_assert_uint_eq(seen.n[1], MAGLEV_SIZE * sizeof(uint16_t));
    free(before);
    free(built);
    model_free(from);
}
END_TEST

START_TEST(other_tables_are_made_anew)
{
    ck_assert(!is_taken_over(HASHED(A B), SEED + 1));
    ck_assert(!is_taken_over(HASHED(A B C), SEED));
    ck_assert(!is_taken_over(HASHED(B A), SEED));
    ck_assert(
        !is_taken_over(HASHED(A "backend \"b\" { address = \"10.0.0.2:80\" weight = 4 }\n"), SEED));
    ck_assert(!is_taken_over(HASHED(A "backend \"bb\" { address = \"10.0.0.2:80\" weight = 3 }\n"),
                             SEED));
    ck_assert(!is_taken_over("global { hash_seed = \"ours\" }\n" HASHED(A B), SEED));
}
END_TEST

START_TEST(pools_of_the_same_servers_share_a_table)
{
    struct snapshot_header *built =
        build(HASHED(A B) "pool \"x\" { scheduler = \"dh\" retries = 1 " A B "}\n"
                          "pool \"y\" { scheduler = \"mh\" " B A "}\n"
                          "pool \"z\" { scheduler = \"mh\" " B A "}\n",
              SEED, NULL);
    const struct snapshot_pool *built_pools = snapshot_pools(built);

    ck_assert_uint_eq(built->n_entries, 2 * MAGLEV_SIZE);
    ck_assert_ptr_eq(table(built, 1), table(built, 0));
    ck_assert_ptr_eq(table(built, 2), table(built, 0) + MAGLEV_SIZE);
    ck_assert_ptr_eq(table(built, 3), table(built, 2));
    ck_assert_uint_eq(built_pools[3].n_entries, MAGLEV_SIZE);
    for (uint32_t i = 0; i < 4; i++) {
        expect_table(built, i,
                     (const struct maglev_backend[]){maglev_backend("a", 1, SEED, MAGLEV_SIZE),
                                                     maglev_backend("b", 3, SEED, MAGLEV_SIZE)},
                     i >= 2 ? (const uint16_t[]){1, 0} : (const uint16_t[]){0, 1}, 2);
    }
    free(built);
    /* And with one that was another's before. */
    ck_assert(is_taken_over(SERVICE "pool \"web\" { " A "}\n"
                                    "pool \"x\" { scheduler = \"mh\" " A B "}\n",
                            SEED));
}
END_TEST

START_TEST(a_given_seed_is_the_key)
{
    struct snapshot_header *built =
        build("global { hash_seed = \"ours\" }\n" HASHED(A B), SEED, NULL);
    uint64_t seed = XXH3_64bits("ours", 4);

    ck_assert_uint_eq(built->hash_seed, seed);
    expect_table(built, 0,
                 (const struct maglev_backend[]){maglev_backend("a", 1, seed, MAGLEV_SIZE),
                                                 maglev_backend("b", 3, seed, MAGLEV_SIZE)},
                 (const uint16_t[]){0, 1}, 2);
    free(built);
}
END_TEST

int main(void)
{
    return RUN_SUITE_WITH("model snapshot", setup, teardown, header, services_and_listeners, pools,
                          backends, checks, args_of_checks, no_args_no_texts, secrets_are_expanded,
                          more_text_than_allowed, beyond_a_bound, as_large_as_allowed,
                          rates_are_never_exceeded, tables_are_maglev,
                          large_pools_have_large_tables, tables_are_taken_over,
                          tables_are_put_one_by_one, pools_of_the_same_servers_share_a_table,
                          other_tables_are_made_anew, a_given_seed_is_the_key);
}
