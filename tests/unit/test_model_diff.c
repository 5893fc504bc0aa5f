/*
 * What a reload says it changes, and what it leaves until a restart.
 */
#include "test_model_fixture.h"

static struct model *read_quietly(const char *text)
{
    STR_AUTO printed = {0};
    struct model *model = read_model(text, &printed);

    ck_assert_msg(model != NULL, "%s", str_text(&printed));
    return model;
}

/* Lines from one text to the other; needs_restart must be what a line says. */
static void expect_diff(const char *from, const char *to, const char *expected)
{
    struct model *old_model = read_quietly(from);
    struct model *new_model = read_quietly(to);
    struct change_list changes = {0};

    model_diff(old_model, new_model, &changes);
    expect_changes(&changes, expected);
    ck_assert(changes.needs_restart == (strstr(expected, ": needs a restart\n") != NULL));
    change_list_free(&changes);
    model_free(old_model);
    model_free(new_model);
}

#define TWO "backend \"a\" { address = \"h:1\" }\n"

START_TEST(no_changes)
{
    expect_diff(SERVICE POOL, SERVICE POOL, "");
    expect_diff(SERVICE POOL, POOL "# elsewhere\n" SERVICE, "");
    expect_diff(SERVICE "pool \"web\" { keepalive = \"60s\" backend \"a\" { address = \"h:1\" } }",
                SERVICE "pool \"web\" { keepalive = \"1m\" backend \"a\" { address = \"h:1\" } }",
                "");
}
END_TEST

START_TEST(services)
{
    expect_diff(SERVICE POOL,
                SERVICE POOL "service \"b\" { listen = { \"127.0.0.1:81\" } pool = \"web\" }",
                "service b added\n");
    expect_diff("service \"b\" { listen = { \"127.0.0.1:81\" } pool = \"web\" }" SERVICE POOL,
                SERVICE POOL, "service b removed\n");
    expect_diff("service \"b\" { listen = { \"127.0.0.1:80\" } pool = \"web\" }" POOL, SERVICE POOL,
                "service web added\nservice b removed\n");
    expect_diff("service \"web\" { listen = { \"127.0.0.1:80\", \"127.0.0.1:81\" } "
                "pool = \"web\" }" POOL,
                "service \"web\" { listen = { \"127.0.0.1:82\", \"127.0.0.1:80\" } "
                "pool = \"web\" idle_timeout = \"0s\" freebind = no }" POOL,
                "service web: listen 127.0.0.1:82 added\n"
                "service web: listen 127.0.0.1:81 removed\n"
                "service web: freebind true -> false\n"
                "service web: idle_timeout 1h -> 0s\n");
}
END_TEST

START_TEST(pools_and_backends)
{
    expect_diff(SERVICE POOL, SERVICE POOL "pool \"b\" { }", "pool b added\n");
    expect_diff(SERVICE POOL "pool \"b\" { }", SERVICE POOL, "pool b removed\n");
    expect_diff(SERVICE "pool \"web\" { backend \"a\" { address = \"h:1\" }\n"
                        "backend \"b\" { address = \"h:2\" } }",
                SERVICE "pool \"web\" { scheduler = \"rr\" backend \"a\" { address = \"h:1\" "
                        "weight = 3 max_connections = 5 checks = \"none\" }\n"
                        "backend \"c\" { address = \"h:3\" } }",
                "pool web: scheduler wlc -> rr\n"
                "pool web: backend a: weight 1 -> 3\n"
                "pool web: backend a: max_connections 0 -> 5\n"
                "pool web: backend a: checks unset -> none\n"
                "pool web: backend c added\n"
                "pool web: backend b removed\n");
    expect_diff(SERVICE "pool \"web\" { backend \"a\" { address = \"h:1\" }\n"
                        "backend \"b\" { address = \"h:2\" } }",
                SERVICE "pool \"web\" { backend \"b\" { address = \"h:2\" }\n"
                        "backend \"a\" { address = \"h:1\" admin = \"drain\" } }",
                "pool web: backend a: admin ready -> drain\n"
                "pool web: order of backends changed\n");
}
END_TEST

START_TEST(rates)
{
    expect_diff("service \"web\" { listen = { \"127.0.0.1:80\" } pool = \"web\"\n"
                "accept_rate = \"100/s\" }" POOL,
                "service \"web\" { listen = { \"127.0.0.1:80\" } pool = \"web\"\n"
                "accept_rate = \"100/s:500\" }" POOL,
                "service web: accept_rate 100/s -> 100/s:500\n");
    expect_diff(SERVICE "pool \"web\" { backend \"a\" { address = \"h:1\" } }",
                SERVICE "pool \"web\" { backend \"a\" { address = \"h:1\"\n"
                        "connect_rate = \"5/m\" } }",
                "pool web: backend a: connect_rate none -> 5/m\n");
    expect_diff(SERVICE "pool \"web\" { backend \"a\" { address = \"h:1\"\n"
                        "connect_rate = \"5/m\" } }",
                SERVICE "pool \"web\" { backend \"a\" { address = \"h:1\"\n"
                        "connect_rate = \"05/m\" } }",
                "");
    expect_diff(SERVICE "pool \"web\" { backend \"a\" { address = \"h:1\"\n"
                        "connect_rate = \"5/m\" } }",
                SERVICE "pool \"web\" { backend \"a\" { address = \"h:1\"\n"
                        "connect_rate = \"5/h\" } }",
                "pool web: backend a: connect_rate 5/m -> 5/h\n");
}
END_TEST

START_TEST(what_backups_and_full_ones_do)
{
    expect_diff(SERVICE "pool \"web\" { " TWO "backend \"b\" { address = \"h:2\" } }",
                SERVICE "pool \"web\" { " TWO "backend \"b\" { address = \"h:2\" backup = true\n"
                        "max_connections = 9 resume_connections = 3 }\n"
                        "queue = 5 min_healthy = 1 on_return = \"close\" }",
                "pool web: queue 0 -> 5\n"
                "pool web: on_return keep -> close\n"
                "pool web: backend b: max_connections 0 -> 9\n"
                "pool web: backend b: resume_connections auto -> 3\n"
                "pool web: backend b: backup false -> true\n");
    expect_diff(SERVICE POOL "pool \"x\" { }",
                "service \"web\" { listen = { \"127.0.0.1:80\" } pool = \"web\"\n"
                "fallback_pool = \"x\" persistence = \"1m\" }" POOL "pool \"x\" { }",
                "service web: fallback_pool unset -> x\n"
                "service web: persistence 0s -> 1m\n");
}
END_TEST

START_TEST(checks)
{
    expect_diff(SERVICE "pool \"web\" { check \"tcp\" { }\ncheck \"http:a\" { port = 81 }\n"
                        "backend \"a\" { address = \"h:1\" } }",
                SERVICE "pool \"web\" { check \"tcp\" { interval = \"1s\" }\ncheck \"http:b\" { }\n"
                        "backend \"a\" { address = \"h:1\" check \"tcp:own\" { } } }",
                "pool web: check tcp: interval 2s -> 1s\n"
                "pool web: check http:b added\n"
                "pool web: check http:a removed\n"
                "pool web: backend a: check tcp:own added\n");
    expect_diff(SERVICE "pool \"web\" { check \"tcp\" { interval = \"1s\" port = 81 }\n"
                        "backend \"a\" { address = \"h:1\" } }",
                SERVICE
                "pool \"web\" { check \"tcp\" { interval = \"1s\" down_interval = \"5s\" }\n"
                "backend \"a\" { address = \"h:1\" } }",
                "pool web: check tcp: down_interval 1s -> 5s\n"
                "pool web: check tcp: port 81 -> unset\n");
}
END_TEST

START_TEST(options_of_check_kinds)
{
    expect_diff(
        SERVICE "pool \"web\" { check \"http\" { headers = { \"a: b\", \"c: d\" } }\n" TWO "}",
        SERVICE "pool \"web\" { check \"http\" { headers = { \"c: d\", \"e: f\" } tls = yes\n"
                "path = \"/x\" host = \"h\" source = \"10.0.0.9\" }\n"
                "backend \"a\" { address = \"h:1\" check_address = \"10.0.0.1\" } }",
        "pool web: check http: source unset -> 10.0.0.9\n"
        "pool web: check http: path / -> /x\n"
        "pool web: check http: host unset -> h\n"
        "pool web: check http: headers \"e: f\" added\n"
        "pool web: check http: headers \"a: b\" removed\n"
        "pool web: check http: tls false -> true\n"
        "pool web: backend a: check_address unset -> 10.0.0.1\n");
    expect_diff(
        SERVICE "pool \"web\" { check \"tcp\" { }\ncheck \"exec\" { command = \"/x\" }\n" TWO "}",
        SERVICE "pool \"web\" { check \"tcp\" { }\ncheck \"exec\" { command = \"/y\" }\n" TWO "}",
        "pool web: check exec: command /y added\n"
        "pool web: check exec: command /x removed\n");
}
END_TEST

START_TEST(outlier)
{
    static const char without[] = SERVICE "pool \"web\" { " TWO "}";
    static const char with[] = SERVICE "pool \"web\" { outlier { } " TWO "}";

    expect_diff(without, with, "pool web: outlier added\n");
    expect_diff(with, without, "pool web: outlier removed\n");
    expect_diff(with, SERVICE "pool \"web\" { outlier { on = { \"connect\" } } " TWO "}", "");
    expect_diff(with,
                SERVICE "pool \"web\" { send_proxy = \"v2\" require = \"any\" notify = \"/n\" " TWO
                        "outlier { on = \"first_byte\" first_byte_timeout = \"5s\"\n"
                        "max_ejected = 50 } }",
                "pool web: send_proxy off -> v2\n"
                "pool web: require all -> any\n"
                "pool web: notify unset -> /n\n"
                "pool web: outlier: on first_byte added\n"
                "pool web: outlier: on connect removed\n"
                "pool web: outlier: first_byte_timeout unset -> 5s\n"
                "pool web: outlier: max_ejected 10 -> 50\n");
}
END_TEST

START_TEST(stopping_and_health)
{
    expect_diff(SERVICE POOL,
                "global { stop_delay = \"5s\" }\n"
                "service \"web\" { listen = { \"127.0.0.1:80\" } pool = \"web\"\n"
                "healthz = false }\n" POOL,
                "global: stop_delay 0s -> 5s\n"
                "service web: healthz true -> false\n");
}
END_TEST

START_TEST(what_needs_a_restart)
{
    expect_diff("global { workers = 2 log = \"stderr\" }" SERVICE POOL,
                "global { workers = 4 log = \"/tmp/a b\" user = \"u\" group = \"g\"\n"
                "control_socket = \"/s\" control_read = { \"x\" } hash_seed = \"q\" }" SERVICE POOL,
                "global: workers 2 -> 4: needs a restart\n"
                "global: user unset -> u: needs a restart\n"
                "global: group unset -> g: needs a restart\n"
                "global: control_socket /run/sluice/control.sock -> /s: needs a restart\n"
                "global: control_read x added\n"
                "global: log stderr -> \"/tmp/a b\"\n"
                "global: hash_seed unset -> q: needs a restart\n");
    expect_diff("global { workers = 2 }" SERVICE POOL, SERVICE POOL,
                "global: workers 2 -> auto: needs a restart\n");
    expect_diff("global { max_connections = 2 }" SERVICE POOL, SERVICE POOL,
                "global: max_connections 2 -> auto\n");
}
END_TEST

START_TEST(what_is_fixed_is_kept)
{
    struct model *running = read_good(
        "global { workers = 2 user = \"u\" log = \"/a\" hash_seed = \"h\" }" SERVICE POOL);
    struct model *later = read_good("global { workers = 4 group = \"g\" log = \"/b\" "
                                    "control_socket = \"/s\" }" SERVICE POOL);

    ck_assert_int_eq(model_keep_fixed(running, later), 0);
    ck_assert_uint_eq(later->global.workers, 2);
    ck_assert_str_eq(later->global.user, "u");
    ck_assert_ptr_null(later->global.group);
    ck_assert_str_eq(later->global.hash_seed, "h");
    ck_assert_str_eq(later->global.control_socket, "/run/sluice/control.sock");
    ck_assert_str_eq(later->global.log, "/b");
    model_free(running);
    model_free(later);
}
END_TEST

START_TEST(only_global_has_fixed_options)
{
    for (const struct option_def *option = option_table; option->name != NULL; option++) {
        ck_assert_msg(option->reloadable || strcmp(option->section, "global") == 0,
                      "model_keep_fixed does not know %s of %s", option->name, option->section);
    }
}
END_TEST

START_TEST(many_lines)
{
    struct change_list changes = {0};

    for (int i = 0; i < 1000; i++) {
        change_add(&changes, "%d%s", i, "x");
    }
    ck_assert_uint_eq(changes.count, 1000);
    ck_assert_str_eq(changes.lines[999], "999x");
    change_list_free(&changes);
    ck_assert_uint_eq(changes.count, 0);
    change_list_free(&changes);
}
END_TEST

int main(void)
{
    return RUN_SUITE("model diff", no_changes, services, pools_and_backends, rates,
                     what_backups_and_full_ones_do, checks, options_of_check_kinds, outlier,
                     stopping_and_health, what_needs_a_restart, what_is_fixed_is_kept,
                     only_global_has_fixed_options, many_lines);
}
