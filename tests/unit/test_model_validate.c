/*
 * What is wrong with a configuration as a whole, and the words for it, each with its place.
 */
#include "test_model_fixture.h"

#include "sluice/limits.h"

#define OTHER "backend \"z\" { address = \"10.9.9.9:80\" }\n"

START_TEST(a_good_one_has_no_messages)
{
    expect_messages(SERVICE POOL, "");
}
END_TEST

START_TEST(no_services)
{
    expect_messages("", "f: no service; write service \"NAME\" { listen = { \"ADDRESS:PORT\" } "
                        "pool = \"POOL\" }\n");
}
END_TEST

/* The messages for text where before is what runs. */
static void expect_next(const char *before, const char *text, const char *expected)
{
    struct errlist errors = {0};
    struct conf_tree *running =
        conf_read_text("b", before, strlen(before), model_schema(), &errors);
    struct conf_tree *tree = conf_read_text("f", text, strlen(text), model_schema(), &errors);
    STR_AUTO printed = {0};

    model_free(model_build_next(tree, running, &fixture_registries, &errors));
    errlist_print(&errors, &printed);
    ck_assert_str_eq(str_text(&printed), expected);
    errlist_free(&errors);
    conf_tree_free(running);
    conf_tree_free(tree);
}

#define SPARE "pool \"spare\" { " OTHER "}\n"
#define UNUSED_SPARE                                                                               \
    "f:3: pool \"spare\": warning: no service uses this pool; name it in a service, or remove "    \
    "it\n"

START_TEST(unused_pools_are_told_once)
{
    expect_messages(SERVICE POOL SPARE, UNUSED_SPARE);
    expect_next(SERVICE POOL SPARE, SERVICE POOL SPARE, "");
    expect_next(SERVICE POOL, SERVICE POOL SPARE, UNUSED_SPARE);
    expect_next("service \"t\" { listen = { \"127.0.0.1:1\" } pool = \"spare\" }\n" SPARE,
                SERVICE POOL SPARE, UNUSED_SPARE);
    expect_next("service \"t\" { listen = { \"127.0.0.1:1\" } pool = \"web\"\n"
                "fallback_pool = \"spare\" }\n" POOL SPARE,
                SERVICE POOL SPARE, UNUSED_SPARE);
}
END_TEST

START_TEST(places_of_global)
{
    struct model *model = read_good(SERVICE POOL "global {\n workers = 1\n\n log = \"stderr\" }\n");
    struct model *none = read_good(SERVICE POOL);

    ck_assert_int_eq(model_global_place(model, "workers").line, 4);
    ck_assert_int_eq(model_global_place(model, "log").line, 6);
    ck_assert_str_eq(model_global_place(model, "log").file, "f");
    ck_assert_int_eq(model_global_place(model, "user").line, 3); /* the section's */
    ck_assert_ptr_null(model_global_place(model, "no_such_option").file);
    ck_assert_ptr_null(model_global_place(none, "log").file);
    model_free(model);
    model_free(none);
}
END_TEST

START_TEST(what_is_required)
{
    expect_messages("service \"s\" { }\n" POOL,
                    "f:1: service \"s\": listen is missing; write listen = { \"…\" }\n"
                    "f:1: service \"s\": pool is missing; write pool = \"…\"\n"
                    "f:2: pool \"web\": warning: no service uses this pool; name it in a service, "
                    "or remove it\n");
    expect_messages(SERVICE "pool \"web\" { backend \"a\" { } }\n",
                    "f:2: pool \"web\" / backend \"a\": address is missing; write address = "
                    "\"…\"\n");
    expect_messages("service \"s\" { listen = { } pool = \"web\" }\n" POOL,
                    "f:1: service \"s\": listen: the list is empty; write at least one\n");
}
END_TEST

START_TEST(every_fault_at_once_in_file_order)
{
    expect_messages("pool \"web\" {\n"
                    "  retries = 11\n"
                    "  backend \"a\" {\n"
                    "    weight = 65536\n"
                    "    address = \"x\" } }\n"
                    "service \"web\" {\n"
                    "  listen = { \"127.0.0.1:80\",\n"
                    "    \"1.2.3:4\" }\n"
                    "  pool = \"wbe\"\n"
                    "}\n"
                    "global { workers = 0 }\n",
                    "f:2: pool \"web\": retries: \"11\": out of range; write a whole number from 0 "
                    "to 10\n"
                    "f:4: pool \"web\" / backend \"a\": weight: \"65536\": out of range; write a "
                    "whole number from 0 to 65535\n"
                    "f:5: pool \"web\" / backend \"a\": address: \"x\": no port; write HOST:PORT\n"
                    "f:8: service \"web\": listen: \"1.2.3:4\": not an IPv4 address; four numbers "
                    "from 0 to 255 without leading zeros, such as 192.0.2.1\n"
                    "f:9: service \"web\": pool: \"wbe\": no such pool; did you mean \"web\"?\n"
                    "f:11: global: workers: \"0\": out of range; write \"auto\" or a whole number "
                    "from 1 to 256\n");
}
END_TEST

START_TEST(unknown_pool)
{
    expect_messages("service \"s\" { listen = { \"127.0.0.1:80\" } pool = \"wbe\" }\n" POOL,
                    "f:1: service \"s\": pool: \"wbe\": no such pool; did you mean \"web\"?\n");
    expect_messages("service \"s\" { listen = { \"127.0.0.1:80\" } pool = \"mail\" }\n" POOL,
                    "f:1: service \"s\": pool: \"mail\": no such pool; write pool \"mail\" { … } "
                    "as well\n"
                    "f:2: pool \"web\": warning: no service uses this pool; name it in a service, "
                    "or remove it\n");
}
END_TEST

START_TEST(pools_for_nothing)
{
    expect_messages(SERVICE POOL "pool \"spare\" { " OTHER " }\n",
                    "f:3: pool \"spare\": warning: no service uses this pool; name it in a "
                    "service, or remove it\n");
    expect_messages(SERVICE "pool \"web\" { }\n",
                    "f:2: pool \"web\": warning: no backends; a service nobody can reach: every "
                    "client will be reset\n");
    expect_messages(SERVICE POOL "pool \"spare\" { }\n",
                    "f:3: pool \"spare\": warning: no service uses this pool; name it in a "
                    "service, or remove it\n"
                    "f:3: pool \"spare\": warning: no backends; write backend \"NAME\" { address = "
                    "\"HOST:PORT\" }\n");
}
END_TEST

START_TEST(services_for_nobody)
{
    static const char message[] =
        "f:1: service \"web\": warning: pool: \"web\": a service nobody can reach, every client "
        "will be reset: no backend of the pool has a weight and is ready; give one a weight and "
        "admin = \"ready\"\n";
    static const char *const unfit[] = {"weight = 0", "admin = \"maintenance\"",
                                        "admin = \"drain\""};

    for (size_t i = 0; i < 3; i++) {
        STR_AUTO text = {0};

        str_printf(&text, SERVICE "pool \"web\" { backend \"a\" { address = \"a:1\" %s } }",
                   unfit[i]);
        expect_messages(str_text(&text), message);
    }
    expect_messages(SERVICE "pool \"web\" { backend \"a\" { address = \"a:1\" weight = 0 }\n"
                            "backend \"b\" { address = \"b:1\" admin = \"drain\" } }",
                    message);
    expect_messages(
        SERVICE "pool \"web\" { backend \"a\" { address = \"a:1\" weight = 0 } " OTHER "}", "");
}
END_TEST

/* --- fallback pools --- */

static void expect_fallback(const char *options, const char *pools, const char *expected)
{
    STR_AUTO text = {0};

    str_printf(&text, "service \"web\" { listen = { \"127.0.0.1:80\" } pool = \"web\"\n%s }\n%s",
               options, pools);
    expect_messages(str_text(&text), expected);
}

#define SORRY "pool \"sorry\" { " OTHER "}\n"

START_TEST(fallback_pools)
{
    expect_fallback("fallback_pool = \"sorry\"", POOL SORRY, "");
    expect_fallback("fallback_pool = \"sory\"", POOL SORRY,
                    "f:2: service \"web\": fallback_pool: \"sory\": no such pool; did you mean "
                    "\"sorry\"?\n");
    expect_fallback(
        "fallback_pool = \"elsewhere\"", POOL SORRY,
        "f:2: service \"web\": fallback_pool: \"elsewhere\": no such pool; write pool "
        "\"elsewhere\" { … } as well\n"
        "f:4: pool \"sorry\": warning: no service uses this pool; name it in a service, "
        "or remove it\n");
    expect_fallback("fallback_pool = \"web\"", POOL,
                    "f:2: service \"web\": fallback_pool: \"web\": the same as pool; name another "
                    "one, or leave it out\n");
}
END_TEST

START_TEST(a_fallback_reaches_clients)
{
    static const char nobody[] =
        "pool \"web\" { backend \"a\" { address = \"a:1\" weight = 0 } }\n" SORRY;

    expect_fallback("fallback_pool = \"sorry\"", nobody, "");
    expect_fallback("fallback_pool = \"sory\"", nobody, /* nothing but the slip */
                    "f:2: service \"web\": fallback_pool: \"sory\": no such pool; did you mean "
                    "\"sorry\"?\n");
    expect_fallback("fallback_pool = \"sorry\"", "pool \"sorry\" { " OTHER " }\npool \"web\" { }\n",
                    "f:5: pool \"web\": warning: no backends; write backend \"NAME\" { address = "
                    "\"HOST:PORT\" }\n");
}
END_TEST

START_TEST(a_fallback_for_nobody)
{
    static const char drained[] =
        "pool \"web\" { backend \"a\" { address = \"a:1\" admin = \"drain\" } }\n"
        "pool \"sorry\" { backend \"a\" { address = \"a:1\" weight = 0 } }\n";

    expect_fallback(
        "fallback_pool = \"sorry\"", drained,
        "f:1: service \"web\": warning: pool: \"web\": a service nobody can reach, every "
        "client will be reset: no backend of the pool, nor of the fallback pool, has a "
        "weight and is ready; give one a weight and admin = \"ready\"\n");
    expect_fallback("fallback_pool = \"sorry\"", "pool \"web\" { }\npool \"sorry\" { }\n",
                    "f:3: pool \"web\": warning: no backends; a service nobody can reach: every "
                    "client will be reset\n"
                    "f:4: pool \"sorry\": warning: no backends; write backend \"NAME\" { address = "
                    "\"HOST:PORT\" }\n");
    /* One service has it beside another pool, the other has nothing else. */
    expect_fallback("fallback_pool = \"sorry\" }\n"
                    "service \"two\" { listen = { \"127.0.0.1:81\" } pool = \"web\"",
                    "pool \"web\" { }\n" SORRY,
                    "f:4: pool \"web\": warning: no backends; a service nobody can reach: every "
                    "client will be reset\n");
    expect_fallback("}\n"
                    "service \"two\" { listen = { \"127.0.0.1:81\" } pool = \"web\"\n"
                    "fallback_pool = \"sorry\"",
                    "pool \"web\" { }\n" SORRY,
                    "f:5: pool \"web\": warning: no backends; a service nobody can reach: every "
                    "client will be reset\n");
}
END_TEST

/* --- clients that cannot be told apart --- */

#define UNIX_CLIENTS "clients of a Unix socket have no address, so for "
#define COUNT_AS_ONE " all of them count as one; let another service listen there, or write "

static void expect_unix(const char *options, const char *scheduler, const char *expected)
{
    STR_AUTO text = {0};
    STR_AUTO message = {0};

    str_printf(&text,
               "service \"web\" { listen = { \"127.0.0.1:80\",\n\"unix:/x\", \"unix:/y\" }\n"
               "pool = \"web\" %s }\n"
               "pool \"web\" { scheduler = \"%s\" " OTHER "}\n" SORRY,
               options, scheduler);
    if (*expected != '\0') {
        str_printf(&message, "f:2: service \"web\": warning: listen: \"unix:/x\": %s\n", expected);
    }
    if (strstr(options, "sorry") == NULL) {
        str_append(&message,
                   "f:6: pool \"sorry\": warning: no service uses this pool; name it in a "
                   "service, or remove it\n");
    }
    expect_messages(str_text(&text), str_text(&message));
}

START_TEST(clients_of_unix_sockets)
{
    static const char hashed[] = UNIX_CLIENTS "the scheduler" COUNT_AS_ONE "another scheduler";
    static const char sticky[] = UNIX_CLIENTS "persistence" COUNT_AS_ONE "persistence = \"0s\"";

    expect_unix("", "wlc", "");
    expect_unix("fallback_pool = \"sorry\"", "wlc", "");
    expect_unix("", "mh", hashed);
    expect_unix("", "maglev_bounded", hashed);
    expect_unix("", "dh", ""); /* not the client's address */
    expect_unix("persistence = \"1s\"", "wlc", sticky);
    expect_unix("persistence = \"1s\"", "mh", sticky);
    expect_messages("service \"web\" { listen = { \"unix:/x\" } pool = \"web\"\n"
                    "fallback_pool = \"sorry\" }\n"
                    "pool \"sorry\" { scheduler = \"mh\" " OTHER "}\n" POOL,
                    "f:1: service \"web\": warning: listen: \"unix:/x\": " UNIX_CLIENTS
                    "the scheduler" COUNT_AS_ONE "another scheduler\n");
    expect_messages("service \"web\" { listen = { \"127.0.0.1:80\" } pool = \"web\"\n"
                    "persistence = \"1s\" }\n"
                    "pool \"web\" { scheduler = \"mh\" " OTHER "}\n",
                    "");
}
END_TEST

/* --- listening addresses --- */

static void expect_listen(const char *list, const char *expected)
{
    STR_AUTO text = {0};
    STR_AUTO with_place = {0};

    str_printf(&text, "service \"web\" {\nlisten = { %s }\npool = \"web\" }\n" POOL, list);
    if (*expected != '\0') {
        str_printf(&with_place, "f:2: service \"web\": listen: %s\n", expected);
    }
    expect_messages(str_text(&text), str_text(&with_place));
}

START_TEST(listen_must_be_numeric)
{
    expect_listen("\"localhost:80\"",
                  "\"localhost:80\": a name, and names are not looked up here; write a numeric "
                  "address, such as 127.0.0.1:80");
    expect_listen("\"*:80\"", "\"*:80\": not an address; write 0.0.0.0:PORT for all of IPv4, "
                              "[::]:PORT for all of IPv6");
    expect_listen("\"80\"", "\"80\": no port; write HOST:PORT");
    expect_listen("\"127.0.0.1:65536\"", "\"127.0.0.1:65536\": port out of range; 1 to 65535");
    expect_listen("\"[::ffff:1.2.3.4]:80\"",
                  "\"[::ffff:1.2.3.4]:80\": an IPv4 address in IPv6 form; write it as "
                  "ADDRESS:PORT");
    expect_listen("\"\"", "\"\": empty; write a value, or leave it out");
}
END_TEST

START_TEST(listen_on_unix_sockets)
{
    char path[ADDR_UNIX_MAX + 1];
    STR_AUTO list = {0};
    STR_AUTO expected = {0};

    expect_listen("\"unix:x\"", "\"unix:x\": a relative path; write unix:/PATH or unix:@NAME");
    expect_listen("\"unix:\"", "\"unix:\": no path; write unix:/PATH or unix:@NAME");
    memset(path, 'x', sizeof(path));
    path[0] = '/';
    path[ADDR_UNIX_MAX - 1] = '\0'; /* 107 bytes */
    str_printf(&list, "\"unix:%s\"", path);
    expect_listen(str_text(&list), "");
    path[ADDR_UNIX_MAX - 1] = 'x';
    path[ADDR_UNIX_MAX] = '\0';
    str_reset(&list);
    str_printf(&list, "\"unix:%s\"", path);
    str_printf(&expected, "\"unix:%.85s…\": path too long for a socket; at most 107 bytes", path);
    expect_listen(str_text(&list), str_text(&expected));
}
END_TEST

START_TEST(the_same_address_twice)
{
    expect_listen("\"127.0.0.1:80\", \"127.0.0.1:80\"",
                  "\"127.0.0.1:80\": the same address as \"127.0.0.1:80\" of f:2; remove one");
    expect_listen("\"[::1]:80\", \"[0::1]:80\"",
                  "\"[0::1]:80\": the same address as \"[::1]:80\" of f:2; remove one");
    expect_listen("\"unix:/x\", \"unix:/x\"",
                  "\"unix:/x\": the same address as \"unix:/x\" of f:2; remove one");
    expect_listen("\"127.0.0.1:0\", \"127.0.0.1:0\"",
                  "\"127.0.0.1:0\": the same address as \"127.0.0.1:0\" of f:2; remove one");
    expect_messages("service \"a\" { listen = { \"127.0.0.1:80\" } pool = \"web\" }\n"
                    "service \"b\" { pool = \"web\" listen = {\n\"127.0.0.1:81\",\n"
                    "\"127.0.0.1:80\" } }\n" POOL,
                    "f:4: service \"b\": listen: \"127.0.0.1:80\": the same address as "
                    "\"127.0.0.1:80\" of f:1; remove one\n");
}
END_TEST

START_TEST(overlapping_addresses)
{
    expect_listen("\"0.0.0.0:80\", \"127.0.0.1:80\"",
                  "\"127.0.0.1:80\": overlaps with \"0.0.0.0:80\" of f:2; remove one");
    expect_listen("\"127.0.0.1:80\", \"0.0.0.0:80\"",
                  "\"0.0.0.0:80\": overlaps with \"127.0.0.1:80\" of f:2; remove one");
    expect_listen("\"[::1]:80\", \"127.0.0.1:80\", \"[::]:80\"",
                  "\"[::]:80\": overlaps with \"[::1]:80\" of f:2; remove one");
    expect_messages("service \"a\" { listen = {\n\"0.0.0.0:80\" } pool = \"web\" }\n"
                    "service \"b\" { listen = { \"10.0.0.1:80\" } pool = \"web\" }\n" POOL,
                    "f:3: service \"b\": listen: \"10.0.0.1:80\": overlaps with \"0.0.0.0:80\" of "
                    "f:2; remove one\n");
}
END_TEST

START_TEST(addresses_that_only_look_alike)
{
    expect_listen("\"0.0.0.0:80\", \"[::]:80\", \"[::]:81\", \"0.0.0.0:81\"", "");
    expect_listen("\"127.0.0.1:80\", \"127.0.0.2:80\", \"127.0.0.1:81\"", "");
    expect_listen("\"0.0.0.0:0\", \"127.0.0.1:0\", \"[::]:0\"", "");
    expect_listen("\"unix:/a\", \"unix:/b\", \"unix:@a\"", "");
    expect_messages("service \"a\" { listen = { \"127.0.0.1:0\" } pool = \"web\" }\n"
                    "service \"b\" { listen = { \"127.0.0.1:0\" } pool = \"web\" }\n" POOL,
                    "");
}
END_TEST

/* --- backends --- */

static void expect_backends(const char *backends, const char *expected)
{
    STR_AUTO text = {0};

    str_printf(&text, SERVICE "pool \"web\" {\n%s\n}\n", backends);
    expect_messages(str_text(&text), expected);
}

START_TEST(backend_addresses)
{
    expect_backends("backend \"a\" { address = \"srv:_http._tcp.example.net\" }", "");
    expect_backends("backend \"a\" { address = \"srv:\" }",
                    "f:3: pool \"web\" / backend \"a\": address: \"srv:\": no name; write "
                    "srv:_SERVICE._tcp.DOMAIN\n");
    expect_backends("backend \"a\" { address = \"srv:_http..example\" }",
                    "f:3: pool \"web\" / backend \"a\": address: \"srv:_http..example\": not a "
                    "name; each part between two dots has 1 to 63 characters\n");
    expect_backends(
        "backend \"a\" { address = \"srv:h.example:80\" }",
        "f:3: pool \"web\" / backend \"a\": address: \"srv:h.example:80\": not a name; "
        "write srv:_SERVICE._tcp.DOMAIN, with letters, digits, hyphens, underscores and "
        "dots only (ports come with the answer)\n");
    expect_backends("backend \"a\" { address = \"0.0.0.0:80\" }",
                    "f:3: pool \"web\" / backend \"a\": address: \"0.0.0.0:80\": stands for any "
                    "address, which nobody can be reached at; write the server's own, or 127.0.0.1 "
                    "for this machine\n");
    expect_backends("backend \"a\" { address = \"10.0.0.1:80\" check_address = \"[ff02::1]\" "
                    "check \"tcp\" { } }",
                    "f:3: pool \"web\" / backend \"a\": check_address: \"[ff02::1]\": a multicast "
                    "address, which no connection goes to; write the server's own\n");
    expect_backends("backend \"a\" { address = \"10.0.0.1:0\" }",
                    "f:3: pool \"web\" / backend \"a\": address: \"10.0.0.1:0\": port out of "
                    "range; 1 to 65535\n");
    expect_backends(
        "backend \"a\" { address = \"unix:x\" }",
        "f:3: pool \"web\" / backend \"a\": address: \"unix:x\": a relative path; write "
        "unix:/PATH or unix:@NAME\n");
    expect_backends("backend \"a\" { address = \"a b:80\" }",
                    "f:3: pool \"web\" / backend \"a\": address: \"a b:80\": not a host name; "
                    "letters, digits, hyphens and dots only\n");
    expect_backends("backend \"a\" { address = \"2001:db8::1:80\" }",
                    "f:3: pool \"web\" / backend \"a\": address: \"2001:db8::1:80\": too many "
                    "colons; write an IPv6 address in brackets, such as [2001:db8::1]:80\n");
}
END_TEST

START_TEST(two_backends_at_one_address)
{
    expect_backends("backend \"a\" { address = \"10.0.0.1:80\" }\n"
                    "backend \"b\" { address = \"10.0.0.1:80\" }",
                    "f:4: pool \"web\" / backend \"b\": warning: address: \"10.0.0.1:80\": backend "
                    "\"a\" has the same one; it gets both shares of the sessions\n");
    expect_backends("backend \"a\" { address = \"h:80\" }\nbackend \"b\" { address = \"h:80\" }",
                    "f:4: pool \"web\" / backend \"b\": warning: address: \"h:80\": backend \"a\" "
                    "has the same one; it gets both shares of the sessions\n");
    expect_backends("backend \"a\" { address = \"h:80\" }\nbackend \"b\" { address = \"h:81\" }",
                    "");
    expect_messages("service \"web\" { listen = { \"127.0.0.1:80\" } pool = \"web\" }\n"
                    "service \"two\" { listen = { \"127.0.0.1:81\" } pool = \"two\" }\n" POOL
                    "pool \"two\" { backend \"a\" { address = \"10.0.0.1:80\" } }\n",
                    "");
}
END_TEST

/* --- checks --- */

START_TEST(check_kinds)
{
    expect_backends("check \"tpc\" { }\n" OTHER,
                    "f:3: pool \"web\" / check \"tpc\": \"tpc\": unknown kind of check; did you "
                    "mean \"tcp\"?\n");
    expect_backends("check \"postgresql\" { }\n" OTHER,
                    "f:3: pool \"web\" / check \"postgresql\": \"postgresql\": unknown kind of "
                    "check; write one of \"tcp\", \"http\", \"expect\", \"exec\", "
                    "\"agent\", \"mysql\", and :LABEL after it if you like\n");
    expect_backends("check \"tcp:\" { }\n" OTHER,
                    "f:3: pool \"web\" / check \"tcp:\": \"tcp:\": no usable label; write "
                    "KIND:LABEL with at most 63 letters, digits and _ . @ : -\n");
    expect_backends("check \"tcp:a b\" { }\n" OTHER,
                    "f:3: pool \"web\" / check \"tcp:a b\": \"tcp:a b\": no usable label; write "
                    "KIND:LABEL with at most 63 letters, digits and _ . @ : -\n");
    expect_backends("check \"tcp\" { }\ncheck \"tcp:x\" { port = 81 }\n"
                    "check \"http:y:z\" { timeout = \"9s\" }\n" OTHER,
                    "");
    expect_backends("backend \"a\" { address = \"h:80\"\ncheck \"no\" { } }",
                    "f:4: pool \"web\" / backend \"a\" / check \"no\": \"no\": unknown kind of "
                    "check; write one of \"tcp\", \"http\", \"expect\", \"exec\", "
                    "\"agent\", \"mysql\", and :LABEL after it if you like\n");
}
END_TEST

START_TEST(ports_that_unix_sockets_have_not)
{
    expect_backends("check \"tcp\" { port = 81 }\n"
                    "backend \"a\" { address = \"unix:/x\" }\n" OTHER,
                    "f:4: pool \"web\" / backend \"a\": address: a Unix socket has no ports, but "
                    "check \"tcp\" wants port 81; write the backend a check without port, or "
                    "checks = \"none\"\n");
    expect_backends("backend \"a\" { address = \"unix:/x\" check \"tcp:q\" { port = 82 } }\n" OTHER,
                    "f:3: pool \"web\" / backend \"a\": address: a Unix socket has no ports, but "
                    "check \"tcp:q\" wants port 82; write the backend a check without port, or "
                    "checks = \"none\"\n");
    expect_backends("check \"tcp\" { port = 81 }\n"
                    "backend \"a\" { address = \"unix:/x\" checks = \"none\" }\n"
                    "backend \"b\" { address = \"unix:/y\" check \"tcp\" { } }\n" OTHER,
                    "");
}
END_TEST

START_TEST(checks_none_and_checks)
{
    expect_backends("backend \"a\" { address = \"h:80\"\nchecks = \"none\"\ncheck \"tcp\" { } }",
                    "f:4: pool \"web\" / backend \"a\": checks: \"none\", but there are check "
                    "sections below; remove one or the other\n");
}
END_TEST

START_TEST(schedulers)
{
    expect_backends("scheduler = \"wcl\"\n" OTHER,
                    "f:3: pool \"web\": scheduler: \"wcl\": unknown; did you mean \"wlc\"?\n");
    STR_AUTO printed = {0};
    ck_assert_ptr_null(
        read_model(SERVICE "pool \"web\" { scheduler = \"hungarian\" " OTHER " }", &printed));
    ck_assert_ptr_nonnull(
        strstr(str_text(&printed), "scheduler: \"hungarian\": unknown; write one of \"rr\", "));
}
END_TEST

START_TEST(hash_keys)
{
    static const char *const idle[] = {"rr", "wlc", "dh", "sh"};
    static const char *const busy[] = {"mh", "maglev", "maglev_bounded"};

    for (size_t i = 0; i < sizeof(idle) / sizeof(idle[0]); i++) {
        STR_AUTO text = {0};
        STR_AUTO expected = {0};

        str_printf(&text, "hash_key = \"source_port\"\nscheduler = \"%s\"\n" OTHER, idle[i]);
        str_printf(
            &expected,
            "f:3: pool \"web\": warning: hash_key: \"source_port\": means nothing to scheduler "
            "\"%s\"; write scheduler = \"maglev\", or leave it out\n",
            idle[i]);
        expect_backends(str_text(&text), str_text(&expected));
    }
    for (size_t i = 0; i < sizeof(busy) / sizeof(busy[0]); i++) {
        STR_AUTO text = {0};

        str_printf(&text, "hash_key = \"source_port\"\nscheduler = \"%s\"\n" OTHER, busy[i]);
        expect_backends(str_text(&text), "");
    }
    expect_backends("hash_key = \"source\"\nscheduler = \"rr\"\n" OTHER, ""); /* as without it */
    expect_backends("hash_key = \"source\"\nscheduler = \"wcl\"\n" OTHER,
                    "f:4: pool \"web\": scheduler: \"wcl\": unknown; did you mean \"wlc\"?\n");
}
END_TEST

/* --- backups and limits --- */

#define BACKUP "backend \"b\" { address = \"10.9.9.8:80\" backup = true }\n"

START_TEST(backups_that_always_serve)
{
    expect_backends(OTHER BACKUP, "");
    expect_backends("min_healthy = 1\n" OTHER BACKUP, "");
    expect_backends("min_healthy = 2\n" OTHER BACKUP,
                    "f:3: pool \"web\": warning: min_healthy: 2, but only 1 of the backends are no "
                    "backups, so backups are in use all the time; write at most 1\n");
    expect_backends("min_healthy = 9\n" OTHER, ""); /* without backups it means nothing */
    expect_backends(BACKUP, "f:2: pool \"web\": warning: every backend is a backup, so backups are "
                            "in use all the time; let one of them be none\n");
    expect_backends("min_healthy = 2\n" BACKUP,
                    "f:2: pool \"web\": warning: every backend is a backup, so backups are in use "
                    "all the time; let one of them be none\n");
}
END_TEST

START_TEST(limits_that_do_not_go_together)
{
    expect_backends("backend \"a\" { address = \"h:80\"\nresume_connections = 9 }",
                    "f:4: pool \"web\" / backend \"a\": resume_connections: \"9\": there is no "
                    "max_connections to be under again; write max_connections as well, or \"auto\" "
                    "here\n");
    expect_backends("backend \"a\" { address = \"h:80\"\nresume_connections = 9\n"
                    "max_connections = 8 }",
                    "f:4: pool \"web\" / backend \"a\": resume_connections: \"9\": above "
                    "max_connections = 8; write at most that, or \"auto\" for 3/4 of it\n");
    expect_backends("backend \"a\" { address = \"h:80\" resume_connections = 8\n"
                    "max_connections = 8 }",
                    "");
    expect_backends("backend \"a\" { address = \"h:80\" resume_connections = \"auto\" }", "");
}
END_TEST

/* --- bounds --- */

/* n times a line with the number in it. */
static void repeat(struct str *out, const char *format, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        for (const char *p = format; *p != '\0'; p++) {
            if (*p == '#') {
                str_printf(out, "%u", i);
            } else {
                str_append_char(out, *p);
            }
        }
    }
}

static void expect_bound(const char *before, const char *line, const char *after, unsigned max,
                         const char *expected)
{
    STR_AUTO text = {0};
    STR_AUTO printed = {0};
    struct model *model;

    str_append(&text, before);
    repeat(&text, line, max);
    str_append(&text, after);
    model = read_model(str_text(&text), &printed);
    ck_assert_msg(model != NULL, "%s", str_text(&printed));
    model_free(model);
    str_reset(&printed);
    str_reset(&text);
    str_append(&text, before);
    repeat(&text, line, max + 1);
    str_append(&text, after);
    ck_assert_ptr_null(read_model(str_text(&text), &printed));
    ck_assert_msg(strstr(str_text(&printed), expected) != NULL, "%s", str_text(&printed));
}

START_TEST(bounds)
{
    expect_bound("", "service \"s#\" { listen = { \"unix:@#\" } pool = \"web\" }\n", POOL,
                 SERVICES_MAX, "service \"s512\": 513 services; at most 512 are possible\n");
    expect_bound("service \"s\" { pool = \"web\" listen = { \"unix:@x\"", ", \"unix:@#\"",
                 " } }\n" POOL, LISTENERS_MAX - 1,
                 "service \"s\": listen: more than 1024 addresses in all services together; "
                 "remove some\n");
    expect_bound(SERVICE POOL, "pool \"p#\" { backend \"b\" { address = \"h:80\" } }\n", "",
                 POOLS_MAX - 1, "pool \"p1023\": 1025 pools; at most 1024 are possible\n");
    expect_bound(SERVICE "pool \"web\" {\n", "backend \"b#\" { address = \"h#:80\" }\n", "}\n",
                 BACKENDS_MAX,
                 "pool \"web\": 8193 backends in the pools so far; at most 8192 are possible\n");
    expect_bound(SERVICE "pool \"web\" {\n" OTHER, "check \"tcp:#\" { }\n", "}\n", CHECKS_MAX,
                 "check \"tcp:8\": 9 checks in one section; at most 8 are possible\n");
    expect_bound(SERVICE "pool \"web\" { backend \"a\" { address = \"h:80\"\n",
                 "check \"tcp:#\" { }\n", "}}\n", CHECKS_MAX,
                 "check \"tcp:8\": 9 checks in one section; at most 8 are possible\n");
}
END_TEST

START_TEST(backends_of_all_pools_together)
{
    STR_AUTO text = {0};
    STR_AUTO printed = {0};

    str_append(&text, SERVICE);
    for (unsigned i = 0; i < 3; i++) {
        str_printf(&text, "pool \"%s\" {\n", i == 0 ? "web" : i == 1 ? "p1" : "p2");
        repeat(&text, "backend \"b#\" { address = \"h#:80\" }\n", BACKENDS_MAX / 2);
        str_append(&text, "}\n");
    }
    ck_assert_ptr_null(read_model(str_text(&text), &printed));
    ck_assert_ptr_nonnull(
        strstr(str_text(&printed),
               "pool \"p2\": 12288 backends in the pools so far; at most 8192 are possible\n"));
}
END_TEST

START_TEST(warnings_leave_room_for_errors)
{
    STR_AUTO text = {0};
    STR_AUTO printed = {0};

    repeat(&text, "pool \"p#\" { backend \"b\" { address = \"h:80\" } }\n", 300);
    str_append(&text, "service \"s\" { listen = { \"127.0.0.1:80\" } pool = \"none-such\" }\n");
    ck_assert_ptr_null(read_model(str_text(&text), &printed));
    ck_assert_ptr_nonnull(strstr(str_text(&printed), "pool: \"none-such\": no such pool"));
    ck_assert_ptr_nonnull(strstr(str_text(&printed), "… and 101 more"));
}
END_TEST

START_TEST(control_socket_path)
{
    char path[ADDR_UNIX_MAX + 1];
    STR_AUTO text = {0};
    STR_AUTO printed = {0};

    memset(path, 'x', sizeof(path));
    path[0] = '/';
    path[ADDR_UNIX_MAX] = '\0';
    str_printf(&text, "global { control_socket = \"%s\" }\n" SERVICE POOL, path);
    ck_assert_ptr_null(read_model(str_text(&text), &printed));
    ck_assert_ptr_nonnull(
        strstr(str_text(&printed), "path too long for a socket; at most 107 bytes\n"));
}
END_TEST

/* --- secrets in messages --- */

START_TEST(secrets_are_not_shown)
{
    char path[] = "/tmp/sluice-test-model-XXXXXX";
    int fd = mkstemp(path);
    STR_AUTO text = {0};
    STR_AUTO printed = {0};

    ck_assert_int_eq(write(fd, "hush hush", 9), 9);
    close(fd);
    str_printf(&text,
               "global { user = \"${file:%s}\" log = \"${file:%s}\" workers = \"${file:%s}\" }\n"
               "service \"web\" { listen = { \"${file:%s}\" } pool = \"${file:%s}\" }\n"
               "pool \"web\" { backend \"a\" { address = \"${file:%s}\" weight = \"${file:%s}\"\n"
               "  admin = \"${file:%s}\" } }",
               path, path, path, path, path, path, path, path);
    ck_assert_ptr_null(read_model(str_text(&text), &printed));
    unlink(path);
    ck_assert_msg(strstr(str_text(&printed), "hush") == NULL, "%s", str_text(&printed));
    ck_assert_ptr_nonnull(strstr(str_text(&printed), "weight: \"${file:/tmp/sluice-test"));
}
END_TEST

START_TEST(secret_limits_are_not_shown)
{
    char path[] = "/tmp/sluice-test-model-XXXXXX";
    int fd = mkstemp(path);
    STR_AUTO text = {0};
    STR_AUTO printed = {0};

    ck_assert_int_eq(write(fd, "77777", 5), 5);
    close(fd);
    str_printf(&text,
               SERVICE "pool \"web\" {\n"
                       "backend \"a\" { address = \"h:1\" max_connections = \"${file:%s}\"\n"
                       "  resume_connections = 88888 }\n"
                       "backend \"b\" { address = \"h:2\" max_connections = 66666\n"
                       "  resume_connections = \"${file:%s}\" } }\n",
               path, path);
    ck_assert_ptr_null(read_model(str_text(&text), &printed));
    unlink(path);
    ck_assert_msg(strstr(str_text(&printed), "7777") == NULL, "%s", str_text(&printed));
    ck_assert_ptr_nonnull(
        strstr(str_text(&printed), "\"88888\": above max_connections = \"${file:/tmp/sluice-test"));
    ck_assert_ptr_nonnull(
        strstr(str_text(&printed), "resume_connections: \"${file:/tmp/sluice-test"));
}
END_TEST

int main(void)
{
    return RUN_SUITE("model validate", a_good_one_has_no_messages, no_services, what_is_required,
                     every_fault_at_once_in_file_order, unknown_pool, pools_for_nothing,
                     services_for_nobody, fallback_pools, a_fallback_reaches_clients,
                     a_fallback_for_nobody, clients_of_unix_sockets, listen_must_be_numeric,
                     listen_on_unix_sockets, the_same_address_twice, overlapping_addresses,
                     addresses_that_only_look_alike, backend_addresses, two_backends_at_one_address,
                     check_kinds, ports_that_unix_sockets_have_not, checks_none_and_checks,
                     unused_pools_are_told_once, places_of_global, schedulers, hash_keys,
                     backups_that_always_serve, limits_that_do_not_go_together, bounds,
                     backends_of_all_pools_together, warnings_leave_room_for_errors,
                     control_socket_path, secrets_are_not_shown, secret_limits_are_not_shown);
}
