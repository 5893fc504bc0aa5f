/*
 * From model to snapshot: valid for every reader, and every value in its place.
 */
#include "test_model_fixture.h"

#include "model/snapshot_build.h"
#include "sched/sched.h"
#include "sluice/scoreboard.h"

static const char text[] =
    "global { max_connections = 77 }\n"
    "service \"one\" { listen = { \"127.0.0.1:80\", \"[::1]:80\" } pool = \"second\"\n"
    "  idle_timeout = \"1s\" half_close_timeout = \"2s\" keepalive = \"3s\"\n"
    "  user_timeout = \"4s\" max_connections = 5 }\n"
    "service \"two\" { listen = { \"unix:/run/two\" } pool = \"first\" }\n"
    "pool \"first\" { backend \"x\" { address = \"h.example:80\" } }\n"
    "pool \"second\" {\n"
    "  scheduler = \"rr\" connect_timeout = \"6s\" retries = 7 keepalive = \"8s\"\n"
    "  user_timeout = \"9s\" start = \"down\"\n"
    "  check \"tcp\" { interval = \"10s\" fast_interval = \"11s\" down_interval = \"12s\"\n"
    "    timeout = \"13s\" rise = 14 fall = 15 port = 16 }\n"
    "  check \"http:q\" { }\n"
    "  backend \"a\" { address = \"10.0.0.1:80\" weight = 17 max_connections = 18\n"
    "    admin = \"maintenance\" }\n"
    "  backend \"b\" { address = \"10.0.0.2:80\" check \"tcp:own\" { fall = 19 } }\n"
    "  backend \"c\" { address = \"10.0.0.3:80\" checks = \"none\" }\n"
    "  backend \"d\" { address = \"10.0.0.4:80\" }\n"
    "}\n";

static struct model *model;
static struct snapshot_header *snapshot;
static size_t size;

static void setup(void)
{
    model = read_good(text);
    model->services[0].row = 100;
    model->services[0].listeners[1].id = 101;
    for (uint32_t i = 0; i < 4; i++) {
        model->pools[1].backends[i].slot = 200 + i;
        model->pools[1].backends[i].row = 300 + i;
    }
    snapshot = snapshot_build(model, 42, &size);
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
    ck_assert_uint_eq(snapshot->n_services, 2);
    ck_assert_uint_eq(snapshot->n_listeners, 3);
    ck_assert_uint_eq(snapshot->n_pools, 2);
    ck_assert_uint_eq(snapshot->n_backends, 5);
    ck_assert_uint_eq(snapshot->n_checks, 3);
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
    ck_assert_uint_eq(backend[4].slot, 203);
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
    ck_assert_str_eq(first[1].kind, "http");
    ck_assert_uint_eq(backend[2].n_checks, 1);
    ck_assert_str_eq(check[backend[2].first_check].kind, "tcp");
    ck_assert_uint_eq(check[backend[2].first_check].fall, 19);
    ck_assert_uint_eq(backend[3].n_checks, 0);
    ck_assert_uint_eq(backend[4].n_checks, 2);
    ck_assert_uint_eq(backend[4].first_check, backend[1].first_check);
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
    ck_assert_ptr_null(snapshot_build(&large, 1, &size));
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
            str_printf(&many, " check \"tcp:%u\" { }", j);
        }
        str_append(&many, " }\n");
    }
    str_append(&many, "}\n");
    large = read_good(str_text(&many));
    bytes = snapshot_build(large, 1, &size);
    ck_assert_ptr_nonnull(bytes);
    ck_assert_int_eq(snapshot_check(bytes, size), 0);
    free(bytes);
    model_free(large);
}
END_TEST

int main(void)
{
    return RUN_SUITE_WITH("model snapshot", setup, teardown, header, services_and_listeners, pools,
                          backends, checks, beyond_a_bound, as_large_as_allowed);
}
