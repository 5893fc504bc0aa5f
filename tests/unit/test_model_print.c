/*
 * Printing a model as a file, reading it back, and copying it.
 */
#include "test_model_fixture.h"

#include "model/args.h"
#include "model/options.h"

static const char full[] = "global {\n"
                           "    workers = 3\n"
                           "    control_read = { \"alice\", \"@ops\" }\n"
                           "    log_level = \"debug\"\n"
                           "    state_file = \"/s/s.json\"\n"
                           "    hash_seed = \"ours\"\n"
                           "    stop_delay = \"4s\"\n"
                           "}\n"
                           "service \"web\" {\n"
                           "    listen = { \"127.0.0.1:80\", \"unix:/run/w\" }\n"
                           "    freebind = false\n"
                           "    pool = \"p\"\n"
                           "    fallback_pool = \"sorry\"\n"
                           "    idle_timeout = \"90s\"\n"
                           "    accept_rate = \"999999/s:500\"\n"
                           "}\n"
                           "service \"two\" {\n"
                           "    listen = { \"[::1]:81\" }\n"
                           "    pool = \"p\"\n"
                           "    persistence = \"10m\"\n"
                           "    healthz = false\n"
                           "}\n"
                           "pool \"p\" {\n"
                           "    scheduler = \"rr\"\n"
                           "    panic_threshold = 50\n"
                           "    on_down = \"close\"\n"
                           "    start = \"up\"\n"
                           "    require = \"any\"\n"
                           "    notify = \"/bin/n\"\n"
                           "    outlier {\n"
                           "        on = { \"reset\", \"connect\" }\n"
                           "        eject_time = \"5m\"\n"
                           "    }\n"
                           "    check \"tcp:x\" {\n"
                           "        interval = \"5s\"\n"
                           "        down_interval = \"7s\"\n"
                           "    }\n"
                           "    backend \"b\" {\n"
                           "        address = \"h.example:80\"\n"
                           "        weight = 7\n"
                           "        max_connections = 9\n"
                           "        resume_connections = 8\n"
                           "        connect_rate = \"60/m\"\n"
                           "        backup = true\n"
                           "        admin = \"drain\"\n"
                           "        check_address = \"10.0.0.7\"\n"
                           "        check \"http\" {\n"
                           "            rise = 9\n"
                           "            port = 99\n"
                           "            source = \"10.0.0.8\"\n"
                           "            headers = { \"A: b\", \"C: $${d}\" }\n"
                           "            tls = true\n"
                           "        }\n"
                           "        check \"exec\" {\n"
                           "            command = { \"/bin/c\" }\n"
                           "            dynamic = false\n"
                           "        }\n"
                           "    }\n"
                           "    backend \"a\" {\n"
                           "        address = \"10.0.0.1:80\"\n"
                           "        checks = \"none\"\n"
                           "    }\n"
                           "}\n"
                           "pool \"sorry\" {\n"
                           "    backend \"z\" {\n"
                           "        address = \"10.0.0.9:80\"\n"
                           "    }\n"
                           "}\n";

START_TEST(what_was_given_comes_back)
{
    struct model *model = read_good(full);

    expect_printed(model, false, full);
    model_free(model);
}
END_TEST

START_TEST(defaults_only_on_request)
{
    struct model *model = read_good(SERVICE POOL);

    expect_printed(model, false,
                   "service \"web\" {\n    listen = { \"127.0.0.1:80\" }\n    pool = \"web\"\n}\n"
                   "pool \"web\" {\n    backend \"a\" {\n        address = \"10.0.0.1:80\"\n"
                   "    }\n}\n");
    expect_printed(
        model, true,
        "global {\n    workers = \"auto\"\n    max_connections = \"auto\"\n"
        "    buffer_memory = \"auto\"\n"
        "    control_socket = \"/run/sluice/control.sock\"\n    control_mode = \"0660\"\n"
        "    control_read = { }\n    control_operate = { }\n"
        "    control_administer = { }\n"
        "    status_allow = { \"127.0.0.0/8\", \"::1/128\" }\n    log = \"stderr\"\n"
        "    log_format = \"logfmt\"\n    log_level = \"info\"\n"
        "    stop_delay = \"0s\"\n    drain_timeout = \"30s\"\n    close_over = \"1m\"\n    upgrade_timeout = \"0s\"\n}\n"
        "service \"web\" {\n    listen = { \"127.0.0.1:80\" }\n    freebind = true\n"
        "    backlog = 4096\n    pool = \"web\"\n    idle_timeout = \"1h\"\n"
        "    half_close_timeout = \"30s\"\n    keepalive = \"1m\"\n"
        "    user_timeout = \"30s\"\n    max_connections = 0\n"
        "    accept_rate = \"none\"\n    persistence = \"0s\"\n"
        "    persistence_mask = 32\n    persistence_mask6 = 128\n"
        "    session_log = \"errors\"\n    admin = \"ready\"\n    healthz = true\n}\n"
        "pool \"web\" {\n    scheduler = \"wlc\"\n    hash_key = \"source\"\n"
        "    connect_timeout = \"3s\"\n"
        "    retries = 3\n    keepalive = \"1m\"\n    user_timeout = \"30s\"\n"
        "    send_proxy = \"off\"\n    source_addresses = { }\n    transparent = false\n    queue "
        "= 0\n    queue_timeout = \"5s\"\n    slow_start = "
        "\"0s\"\n"
        "    drain_within = \"0s\"\n    paused = false\n    panic_threshold = 0\n    min_healthy = "
        "1\n    backup_use = \"first\"\n"
        "    on_return = \"keep\"\n    on_down = \"keep\"\n"
        "    start = \"unknown\"\n    on_unresolved = \"down\"\n"
        "    require = \"all\"\n    backend \"a\" {\n"
        "        address = \"10.0.0.1:80\"\n        weight = 1\n"
        "        max_connections = 0\n        resume_connections = \"auto\"\n"
        "        connect_rate = \"none\"\n        backup = false\n        admin = \"ready\"\n"
        "        health = \"auto\"\n    }\n}\n");
    model_free(model);
}
END_TEST

#define OWN_CHECK(kind, options)                                                                   \
    SERVICE "pool \"web\" {\noutlier { }\ncheck \"" kind "\" { " options                           \
            " }\nbackend \"a\" { address = \"10.0.0.1:80\" } }"

/* What -T shows of a pool with one check: what is its kind's, and nothing else's. */
static void expect_all_of(const char *of, const char *expected)
{
    struct model *model = read_good(of);
    STR_AUTO printed = {0};
    STR_AUTO whole = {0};

    model_print(model, true, &printed);
    str_printf(&whole, "fall = 3\n%s    }\n    backend", expected);
    ck_assert_msg(strstr(str_text(&printed), str_text(&whole)) != NULL, "%s", str_text(&printed));
    ck_assert_ptr_nonnull(strstr(str_text(&printed),
                                 "    outlier {\n        on = { \"connect\" }\n"
                                 "        consecutive_failures = 5\n        eject_time = \"30s\"\n"
                                 "        max_ejected = 10\n    }\n    check"));
    model_free(model);
}

START_TEST(defaults_of_one_kind_only)
{
    expect_all_of(OWN_CHECK("tcp", ""), "");
    expect_all_of(OWN_CHECK("http:x", ""),
                  "        method = \"GET\"\n        path = \"/\"\n        headers = { }\n"
                  "        status = \"200-399\"\n        tls = false\n        verify = false\n");
    expect_all_of(OWN_CHECK("exec", "command = { \"/x\" }"),
                  "        command = { \"/x\" }\n        dynamic = true\n");
    expect_all_of(OWN_CHECK("mysql", "source = \"10.0.0.1\""),
                  "        source = \"10.0.0.1\"\n        user = \"sluice\"\n");
}
END_TEST

/* --- random configurations --- */

static unsigned pick(unsigned n)
{
    return (unsigned)(random() % n);
}

#define SOME(...)                                                                                  \
    ((const char *const[]){__VA_ARGS__}[pick(                                                      \
        (unsigned)(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *)))])

/* The option with one of the values, or nothing. */
#define MAYBE(out, name, ...)                                                                      \
    do {                                                                                           \
        if (pick(2) == 0) {                                                                        \
            str_printf(out, "%s = %s\n", name, SOME(__VA_ARGS__));                                 \
        }                                                                                          \
    } while (0)

static void write_http(struct str *out)
{
    MAYBE(out, "method", "GET", "\"HEAD\"");
    MAYBE(out, "path", "\"/\"", "\"/a b\"", "\"/$${x}\"");
    MAYBE(out, "host", "h", "\"h:80\"");
    MAYBE(out, "headers", "{ }", "{ \"A: b\" }", "{ \"A: \\\"b\", \"C: \\t$\" }");
    MAYBE(out, "status", "200", "\"200-399\"", "\"200,204\"");
    MAYBE(out, "body", "\"^a\\\\d+$\"", "\"# }\"");
    MAYBE(out, "tls", "true", "no");
    MAYBE(out, "sni", "h");
    MAYBE(out, "verify", "on", "off");
}

static void write_other(const char *kind, struct str *out)
{
    if (strcmp(kind, "expect") == 0) {
        str_printf(out, "steps = %s\n", SOME("{ \"send a\\r\\n\", \"expect b\" }", "\"expect b\""));
    } else if (strcmp(kind, "exec") == 0) {
        str_printf(out, "command = %s\n", SOME("{ \"/a b\", \"-\\\"\" }", "/x"));
        MAYBE(out, "dynamic", "true", "false");
    } else if (strcmp(kind, "mysql") == 0) {
        MAYBE(out, "user", "sluice", "\"monitor\"");
    }
}

static void write_outlier(struct str *out)
{
    str_append(out, "outlier {\n");
    MAYBE(out, "on", "connect", "{ \"reset\" }", "{ \"connect\", \"reset\" }",
          "{ \"first_byte\" }\nfirst_byte_timeout = \"5s\"");
    MAYBE(out, "consecutive_failures", "5", "1");
    MAYBE(out, "eject_time", "\"30s\"", "\"1d\"");
    MAYBE(out, "max_ejected", "0", "10");
    str_append(out, "}\n");
}

static void write_checks(struct str *out)
{
    unsigned n = pick(3);

    for (unsigned i = 0; i < n; i++) {
        const char *kind = SOME("tcp", "http", "http", "expect", "exec", "mysql");

        str_printf(out, "check \"%s:%u\" {\n", kind, i);
        if (strcmp(kind, "http") == 0) {
            write_http(out);
        }
        write_other(kind, out);
        MAYBE(out, "interval", "\"10ms\"", "\"2s\"", "\"1500ms\"", "\"3m\"");
        MAYBE(out, "fast_interval", "\"2s\"", "\"40d\"");
        MAYBE(out, "down_interval", "\"2s\"", "\"77s\"");
        MAYBE(out, "timeout", "\"1s\"", "\"1ms\"");
        MAYBE(out, "rise", "1", "2", "100");
        MAYBE(out, "fall", "3", "9");
        str_append(out, "}\n");
    }
}

static void write_pool(struct str *out, unsigned index)
{
    unsigned n = pick(6);

    str_printf(out, "pool \"p%u\" {\n", index);
    MAYBE(out, "scheduler", "\"rr\"", "\"wlc\"", "lc");
    MAYBE(out, "connect_timeout", "\"3s\"", "\"3000ms\"", "\"1d\"");
    MAYBE(out, "retries", "0", "3", "\"10\"");
    MAYBE(out, "keepalive", "\"0s\"", "\"61s\"");
    MAYBE(out, "hash_key", "source", "\"source_port\"");
    MAYBE(out, "queue", "0", "7");
    MAYBE(out, "queue_timeout", "\"0s\"", "\"5s\"", "\"1m\"");
    MAYBE(out, "slow_start", "\"0s\"", "\"90s\"");
    MAYBE(out, "panic_threshold", "0", "50");
    MAYBE(out, "min_healthy", "1", "2");
    MAYBE(out, "backup_use", "first", "\"all\"");
    MAYBE(out, "on_return", "keep", "close");
    MAYBE(out, "on_down", "\"keep\"", "\"close\"");
    MAYBE(out, "start", "up", "\"down\"", "\"unknown\"");
    MAYBE(out, "on_unresolved", "\"refuse\"", "down");
    MAYBE(out, "send_proxy", "off", "v1", "\"v2\"");
    MAYBE(out, "require", "all", "\"any\"");
    MAYBE(out, "notify", "/bin/n", "\"/a b\"");
    if (pick(2) == 0) {
        write_outlier(out);
    }
    write_checks(out);
    for (unsigned i = 0; i < n; i++) {
        str_printf(out, "backend \"b%u\" {\naddress = \"", i);
        str_printf(out, SOME("10.0.0.%u:80", "h%u.example:80", "[2001:db8::%u]:80", "unix:/b%u"),
                   i);
        str_append(out, "\"\n");
        MAYBE(out, "weight", "0", "1", "65535");
        MAYBE(out, "max_connections", "0", "500", "500\nresume_connections = 1",
              "9\nresume_connections = \"9\"");
        MAYBE(out, "connect_rate", "none", "\"1/h\"", "\"999999/s\"", "\"60/m:1000000\"");
        MAYBE(out, "backup", "yes", "no");
        MAYBE(out, "admin", "ready", "\"drain\"", "maintenance");
        MAYBE(out, "check_address", "10.0.0.7:80", "\"[::1]:80\"", "\"unix:/c d\"");
        if (pick(3) == 0) {
            str_append(out, "checks = none\n");
        } else {
            write_checks(out);
        }
        str_append(out, "}\n");
    }
    str_append(out, "}\n");
}

static void write_configuration(struct str *out)
{
    unsigned n_pools = 1 + pick(4);
    unsigned n_services = 1 + pick(4);

    str_append(out, "global {\n");
    MAYBE(out, "workers", "auto", "1", "256");
    MAYBE(out, "user", "\"u\"", "root");
    MAYBE(out, "control_read", "{ }", "{ \"a\" }", "{ \"a\", \"@b\", \"c\" }");
    MAYBE(out, "control_mode", "\"0600\"", "660");
    MAYBE(out, "log", "stderr", "\"/var/log/a b\\\"c\"", "\"/x$${y}\"", "\"/a\\tb\\\\c$\"");
    MAYBE(out, "log_format", "json");
    MAYBE(out, "state_file", "none", "\"/a b\"");
    MAYBE(out, "hash_seed", "x", "\"a\\\"b\"");
    MAYBE(out, "stop_delay", "\"0s\"", "\"10s\"");
    MAYBE(out, "drain_timeout", "\"0s\"", "0", "\"30s\"");
    MAYBE(out, "upgrade_timeout", "\"0s\"", "\"1h\"");
    str_append(out, "}\n");
    for (unsigned i = 0; i < n_services; i++) {
        str_printf(out, "service \"s%u\" {\nlisten = { \"127.0.0.1:%u\"%s }\n", i, i + 1,
                   i == 0 ? SOME("", ", \"unix:/a b\"", ", \"[::]:0\"") : "");
        str_printf(out, "pool = \"p%u\"\n", pick(n_pools));
        MAYBE(out, "freebind", "true", "false", "off");
        MAYBE(out, "backlog", "1", "4096");
        MAYBE(out, "idle_timeout", "\"1h\"", "\"60m\"", "\"0s\"");
        MAYBE(out, "max_connections", "0", "9");
        MAYBE(out, "fallback_pool", "spare");
        MAYBE(out, "accept_rate", "none", "\"7/s\"", "\"1000001/m\"", "\"7/s:1\"");
        MAYBE(out, "persistence", "\"0s\"", "\"10m\"");
        MAYBE(out, "persistence_mask", "0", "24");
        MAYBE(out, "persistence_mask6", "64", "128");
        MAYBE(out, "session_log", "off", "1/10");
        MAYBE(out, "healthz", "true", "no");
        str_append(out, "}\n");
    }
    for (unsigned i = 0; i < n_pools; i++) {
        write_pool(out, i);
    }
    str_append(out, "pool \"spare\" { }\n");
}

static void expect_same_checks(const struct model_check *a, size_t n_a, const struct model_check *b,
                               size_t n_b)
{
    ck_assert_uint_eq(n_a, n_b);
    for (size_t i = 0; i < n_a; i++) {
        ck_assert_str_eq(a[i].title, b[i].title);
        ck_assert_str_eq(a[i].kind, b[i].kind);
        ck_assert_uint_eq(a[i].interval_ms, b[i].interval_ms);
        ck_assert_uint_eq(a[i].fast_interval_ms, b[i].fast_interval_ms);
        ck_assert_uint_eq(a[i].down_interval_ms, b[i].down_interval_ms);
        ck_assert_uint_eq(a[i].timeout_ms, b[i].timeout_ms);
        ck_assert_uint_eq(a[i].rise, b[i].rise);
        ck_assert_uint_eq(a[i].fall, b[i].fall);
        ck_assert_uint_eq(a[i].port, b[i].port);
        ck_assert_uint_eq(args_hash(&a[i]), args_hash(&b[i]));
    }
}

static bool same_rate(const struct units_rate *a, const struct units_rate *b)
{
    return a->count == b->count && a->per_ms == b->per_ms && a->burst == b->burst;
}

static void expect_same_pool(const struct model_pool *a, const struct model_pool *b)
{
    ck_assert_str_eq(a->name, b->name);
    ck_assert_uint_eq(a->n_backends, b->n_backends);
    ck_assert(a->outlier.given == b->outlier.given);
    expect_same_checks(a->checks, a->n_checks, b->checks, b->n_checks);
    for (size_t i = 0; i < a->n_backends; i++) {
        const struct model_backend *x = &a->backends[i];
        const struct model_backend *y = &b->backends[i];

        ck_assert_str_eq(x->name, y->name);
        ck_assert(addr_equal(&x->address, &y->address));
        ck_assert(addr_equal(&x->check_address, &y->check_address));
        ck_assert(x->named == y->named);
        ck_assert(same_rate(&x->connect_rate, &y->connect_rate));
        expect_same_checks(x->own_checks, x->n_own_checks, y->own_checks, y->n_own_checks);
    }
}

/* Independent of model_diff where names and order are concerned; options through it. */
static void expect_same(const struct model *a, const struct model *b)
{
    struct change_list changes = {0};

    model_diff(a, b, &changes);
    expect_changes(&changes, "");
    change_list_free(&changes);
    ck_assert_uint_eq(a->n_services, b->n_services);
    ck_assert_uint_eq(a->n_pools, b->n_pools);
    for (size_t i = 0; i < a->n_services; i++) {
        const struct model_service *x = &a->services[i];
        const struct model_service *y = &b->services[i];

        ck_assert_str_eq(x->name, y->name);
        ck_assert_uint_eq(x->pool_index, y->pool_index);
        ck_assert_uint_eq(x->fallback_index, y->fallback_index);
        ck_assert(same_rate(&x->accept_rate, &y->accept_rate));
        ck_assert_uint_eq(x->n_listeners, y->n_listeners);
        for (size_t j = 0; j < x->n_listeners; j++) {
            ck_assert(addr_equal(&x->listeners[j].address, &y->listeners[j].address));
        }
    }
    for (size_t i = 0; i < a->n_pools; i++) {
        expect_same_pool(&a->pools[i], &b->pools[i]);
    }
}

START_TEST(random_configurations_survive_printing)
{
    for (unsigned seed = 0; seed < 200; seed++) {
        STR_AUTO text = {0};
        STR_AUTO messages = {0};
        struct model *model;

        srandom(seed);
        write_configuration(&text);
        model = read_model(str_text(&text), &messages);
        ck_assert_msg(model != NULL, "seed %u: %s", seed, str_text(&messages));
        for (int all = 0; all < 2; all++) {
            STR_AUTO printed = {0};
            STR_AUTO again = {0};
            struct model *back;

            str_reset(&messages);
            model_print(model, all != 0, &printed);
            back = read_model(str_text(&printed), &messages);
            ck_assert_msg(back != NULL, "seed %u: %s\n%s", seed, str_text(&messages),
                          str_text(&printed));
            expect_same(model, back);
            model_print(back, all != 0, &again);
            ck_assert_str_eq(str_text(&printed), str_text(&again));
            model_free(back);
        }
        model_free(model);
    }
}
END_TEST

START_TEST(any_text_survives_printing)
{
    static const char alphabet[] = "$$${{}}\"\\'# \n\t\r\x01\x7f/ax";
    struct model *model = read_good(SERVICE POOL);
    const struct option_def *log = options_find(SECTION_GLOBAL, "log");

    srandom(1);
    for (unsigned i = 0; i < 2000; i++) {
        char text[12] = "/";
        unsigned len = pick(sizeof(text) - 1);
        STR_AUTO problem = {0};
        STR_AUTO printed = {0};
        struct model *back;

        for (unsigned j = 1; j < len; j++) {
            text[j] = alphabet[pick(sizeof(alphabet) - 1)];
        }
        ck_assert_int_eq(option_set(log, &model->global, text, &problem), 0);
        model_print(model, false, &printed);
        back = read_good(str_text(&printed));
        ck_assert_str_eq(back->global.log, text);
        model_free(back);
    }
    model_free(model);
}
END_TEST

/* --- copies --- */

START_TEST(finding)
{
    struct model *model = read_good(full);
    struct model_pool *pool = model_find_pool(model, "p");
    size_t n;

    ck_assert_ptr_eq(pool, &model->pools[0]);
    ck_assert_ptr_null(model_find_pool(model, "web"));
    ck_assert_ptr_eq(model_find_service(model, "two"), &model->services[1]);
    ck_assert_ptr_null(model_find_service(model, "p"));
    ck_assert_ptr_eq(model_find_backend(pool, "a"), &pool->backends[1]);
    ck_assert_ptr_null(model_find_backend(pool, "web"));
    ck_assert_ptr_eq(model_backend_checks(pool, &pool->backends[0], &n),
                     pool->backends[0].own_checks);
    ck_assert_uint_eq(n, 2);
    ck_assert_ptr_null(model_backend_checks(pool, &pool->backends[1], &n));
    ck_assert_uint_eq(n, 0);
    free(pool->backends[1].checks);
    pool->backends[1].checks = NULL;
    ck_assert_ptr_eq(model_backend_checks(pool, &pool->backends[1], &n), pool->checks);
    ck_assert_uint_eq(n, 1);
    model_free(model);
}
END_TEST

/* --- secrets --- */

START_TEST(a_copied_list_takes_no_secrets_over)
{
    struct model *from = read_good("global { control_read = { \"x\" } }\n" SERVICE POOL);
    struct model *to = read_good("global { control_read = { \"a\", \"b\" } }\n" SERVICE POOL);
    const struct option_def *option = options_find(SECTION_GLOBAL, "control_read");

    for (size_t i = 0; i < 2; i++) {
        ck_assert_int_eq(option_set_secret(option, &to->global, i, "${file:/s}"), 0);
    }
    ck_assert_int_eq(option_copy(option, &to->global, &from->global), 0);
    ck_assert_uint_eq(to->global.secrets.count, 0);
    ck_assert_str_eq(to->global.control_read[0], "x");
    model_free(from);
    model_free(to);
}
END_TEST

START_TEST(a_rate_is_copied_whole)
{
    struct model_service from = {.accept_rate = {.count = 1, .per_ms = 2, .burst = 3}};
    struct model_service to = {0};
    const struct option_def *option = options_find(SECTION_SERVICE, "accept_rate");

    ck_assert(!option_equal(option, &to, &from));
    ck_assert_int_eq(option_copy(option, &to, &from), 0);
    ck_assert(same_rate(&to.accept_rate, &from.accept_rate));
    ck_assert(option_equal(option, &to, &from));
    to.accept_rate.burst = 4;
    ck_assert(!option_equal(option, &to, &from));
}
END_TEST

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");

    ck_assert_ptr_nonnull(file);
    ck_assert_int_ge(fputs(text, file), 0);
    ck_assert_int_eq(fclose(file), 0);
}

START_TEST(secrets_stay_unexpanded)
{
    char path[] = "/tmp/sluice-test-model-XXXXXX";
    STR_AUTO text = {0};
    struct change_list changes = {0};
    struct model *model;
    struct model *later;

    close(mkstemp(path));
    write_file(path, "7");
    str_printf(&text,
               "global {\n    user = \"${file:%s}\"\n    control_read = { \"a\", \"${file:%s}\" }\n"
               "}\n"
               "service \"web\" {\n    listen = { \"127.0.0.1:80\" }\n    pool = \"web\"\n}\n"
               "pool \"web\" {\n    backend \"a\" {\n        address = \"10.0.0.1:80\"\n"
               "        weight = \"${file:%s}\"\n    }\n}\n",
               path, path, path);
    model = read_good(str_text(&text));
    ck_assert_uint_eq(model->pools[0].backends[0].weight, 7);
    ck_assert_str_eq(model->global.user, "7");
    expect_printed(model, false, str_text(&text));

    write_file(path, "1"); /* as the default, and yet shown */
    later = read_good(str_text(&text));
    expect_printed(later, false, str_text(&text));
    model_diff(model, later, &changes);
    ck_assert_uint_eq(changes.count, 4);
    for (size_t i = 0; i < changes.count; i++) {
        ck_assert_msg(strstr(changes.lines[i], "${file:") != NULL, "%s", changes.lines[i]);
    }
    ck_assert_int_eq(model_keep_fixed(model, later), 0);
    ck_assert_str_eq(later->global.user, "7");
    expect_printed(later, false, str_text(&text));

    unlink(path);
    change_list_free(&changes);
    model_free(later);
    model_free(model);
}
END_TEST

int main(void)
{
    return RUN_SUITE("model print", what_was_given_comes_back, defaults_only_on_request,
                     defaults_of_one_kind_only, random_configurations_survive_printing,
                     any_text_survives_printing, finding, a_copied_list_takes_no_secrets_over,
                     a_rate_is_copied_whole, secrets_stay_unexpanded);
}
