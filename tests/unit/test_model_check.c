/*
 * Checks as the file has them: which options belong to which kind, who judges them, where checks
 * look, and what is handed on to the kinds.
 */
#include "test_model_fixture.h"

#include "model/args.h"

#define BACKEND "backend \"a\" { address = \"10.0.0.1:80\" }\n"

/* text stands from line 3 on in the pool. */
static void expect_pool(const char *text, const char *expected)
{
    STR_AUTO whole = {0};

    str_printf(&whole, SERVICE "pool \"web\" {\n%s\n}\n", text);
    expect_messages(str_text(&whole), expected);
}

static struct model *read_pool(const char *text)
{
    STR_AUTO whole = {0};

    str_printf(&whole, SERVICE "pool \"web\" {\n%s\n" BACKEND "}\n", text);
    return read_good(str_text(&whole));
}

/* --- which kinds have which options --- */

START_TEST(options_of_other_kinds)
{
    expect_pool("check \"tcp\" {\npath = \"/\" }\n" BACKEND,
                "f:4: pool \"web\" / check \"tcp\": path: check \"tcp\" has no such option; leave "
                "it out, or write one of the checks that have it: \"http\"\n");
    expect_pool("check \"exec:x\" { command = { \"/x\" }\nsource = \"10.0.0.1\"\n"
                "headers = { } }\n" BACKEND,
                "f:4: pool \"web\" / check \"exec:x\": source: check \"exec\" has no such option; "
                "leave it out, or write one of the checks that have it: \"tcp\", \"http\", "
                "\"expect\", \"agent\", \"mysql\"\n"
                "f:5: pool \"web\" / check \"exec:x\": headers: check \"exec\" has no such option; "
                "leave it out, or write one of the checks that have it: \"http\"\n");
    /* Neither typed nor judged then. */
    expect_pool("check \"http\" { dynamic = bad }\n" BACKEND,
                "f:3: pool \"web\" / check \"http\": dynamic: check \"http\" has no such option; "
                "leave it out, or write one of the checks that have it: \"exec\"\n");
    /* Of a kind that is unknown nobody knows which it has. */
    expect_pool("check \"htpp\" { path = \"bad\" steps = { \"bad\" } }\n" BACKEND,
                "f:3: pool \"web\" / check \"htpp\": \"htpp\": unknown kind of check; did you mean "
                "\"http\"?\n");
}
END_TEST

START_TEST(options_that_nobody_has_here)
{
    static const char *const kinds[] = {"tcp", NULL};
    static const struct model_registries few = {.check_kinds = kinds};
    STR_AUTO printed = {0};

    ck_assert_ptr_null(read_with(
        SERVICE "pool \"web\" { check \"tcp\" { path = \"/\" }\n" BACKEND "}\n", &few, &printed));
    ck_assert_str_eq(str_text(&printed), "f:2: pool \"web\" / check \"tcp\": path: check \"tcp\" "
                                         "has no such option; leave it out\n");
}
END_TEST

START_TEST(options_that_a_kind_needs)
{
    expect_pool(
        "check \"expect\" { }\n" BACKEND,
        "f:3: pool \"web\" / check \"expect\": steps is missing; write steps = { \"…\" }\n");
    expect_pool("check \"exec\" { }\n" BACKEND, "f:3: pool \"web\" / check \"exec\": command is "
                                                "missing; write command = { \"…\" }\n");
    expect_pool("check \"agent\" { }\n" BACKEND,
                "f:3: pool \"web\" / check \"agent\": port is missing; write port = NUMBER\n");
    expect_pool("check \"expect\" {\nsteps = { } }\n" BACKEND,
                "f:4: pool \"web\" / check \"expect\": steps: the list is empty; write at least "
                "one\n");
    expect_pool("check \"http\" { headers = { } }\n" BACKEND, "");
}
END_TEST

/* --- judging --- */

START_TEST(each_value_is_judged)
{
    expect_pool("check \"http\" {\npath = \"/bad\"\nheaders = { \"A: b\",\n\"bad: b\",\n"
                "\"c: bad\" } }\n" BACKEND,
                "f:4: pool \"web\" / check \"http\": path: \"/bad\" will not do as path of http; "
                "write a good one\n"
                "f:6: pool \"web\" / check \"http\": headers: \"bad: b\" will not do as headers of "
                "http; write a good one\n"
                "f:7: pool \"web\" / check \"http\": headers: \"c: bad\" will not do as headers of "
                "http; write a good one\n");
    expect_pool("backend \"a\" { address = \"10.0.0.1:80\"\n"
                "check \"agent:x\" { port = 1 send = \"bad\" } }\n",
                "f:4: pool \"web\" / backend \"a\" / check \"agent:x\": send: \"bad\" will not do "
                "as send of agent; write a good one\n");
    /* What is nobody's own is not. */
    expect_pool("check \"tcp:bad\" { source = \"::1\" }\n"
                "backend \"a\" { address = \"[::2]:80\" }\n",
                "");
    expect_pool("check \"tcp\" { source = \"bad\" }\n" BACKEND,
                "f:3: pool \"web\" / check \"tcp\": source: \"bad\": not an IP address; write one "
                "of this machine's, without a port, such as 192.0.2.1 or 2001:db8::1\n");
}
END_TEST

START_TEST(all_values_are_judged_together)
{
    expect_pool("check \"http\" {\npath = \"/odd\" }\n" BACKEND,
                "f:3: pool \"web\" / check \"http\": /odd is odd for http; write something even\n");
    /* But not when one is bad, empty, or lacking. */
    expect_pool("check \"http\" {\npath = \"/odd\" host = \"bad\" }\n" BACKEND,
                "f:4: pool \"web\" / check \"http\": host: \"bad\" will not do as host of http; "
                "write a good one\n");
    expect_pool("check \"http\" {\npath = \"/odd\" headers = { \"\" } }\n" BACKEND,
                "f:4: pool \"web\" / check \"http\": headers: \"\": empty; write a value, or leave "
                "it out\n");
    expect_pool("check \"agent\" { send = \"odd\" }\n" BACKEND,
                "f:3: pool \"web\" / check \"agent\": port is missing; write port = NUMBER\n");
}
END_TEST

static struct str seen; /* by the judge below */

static bool look(const char *kind, const struct model_arg *args, size_t n_args,
                 struct str *out_problem)
{
    (void)out_problem;
    str_printf(&seen, "%s:", kind);
    for (size_t i = 0; i < n_args; i++) {
        str_printf(&seen, " %s=%s", args[i].name, args[i].value);
    }
    return true;
}

START_TEST(judges_may_be_missing_and_see_defaults)
{
    static const char *const kinds[] = {"tcp", "http", NULL};
    static const struct model_registries blind = {.check_kinds = kinds};
    static const struct model_registries looking = {.check_kinds = kinds, .judge_check_all = look};
    static const char of[] = SERVICE "pool \"web\" { check \"http\" { path = \"/bad\" sni = \"s\"\n"
                                     "headers = { \"x\", \"odd\" } }\n" BACKEND "}\n";
    STR_AUTO printed = {0};
    struct model *model = read_with(of, &blind, &printed);

    ck_assert_msg(model != NULL, "%s", str_text(&printed));
    model_free(model);
    model = read_with(of, &looking, &printed);
    ck_assert_ptr_nonnull(model);
    ck_assert_str_eq(str_text(&seen), "http: method=GET path=/bad headers=x headers=odd "
                                      "status=200-399 tls=false sni=s verify=false");
    str_free(&seen);
    model_free(model);
}
END_TEST

/* The messages for text, in which every %s is a file that holds secret. */
static void read_secret(const char *secret, const char *format, struct str *printed)
{
    char path[] = "/tmp/sluice-test-check-XXXXXX";
    int fd = mkstemp(path);
    STR_AUTO text = {0};
    ssize_t n = write(fd, secret, strlen(secret));

    ck_assert_int_eq(n, (ssize_t)strlen(secret));
    close(fd);
    for (const char *p = format; *p != '\0'; p++) {
        if (*p == '@') {
            str_printf(&text, "${file:%s}", path);
        } else {
            str_append_char(&text, *p);
        }
    }
    model_free(read_model(str_text(&text), printed));
    unlink(path);
}

START_TEST(secrets_are_not_shown)
{
    static const char *const texts[] = {
        "check \"http\" { path = \"@\" }\n" BACKEND,
        "check \"http\" { headers = { \"A: b\", \"C: @\" } }\n" BACKEND,
        "check \"http\" { source = \"@\" }\n" BACKEND,
        "check \"tcp\" { source = \"10.0.0.1\" }\nbackend \"a\" { address = \"x:1\"\n"
        "check_address = \"@\" }\n",
        "notify = \"@\"\n" BACKEND,
        "outlier { on = { \"@\" } }\n" BACKEND,
        "outlier { eject_time = \"@\" }\n" BACKEND,
        "require = \"@\"\n" BACKEND,
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        STR_AUTO whole = {0};
        STR_AUTO printed = {0};

        str_printf(&whole, SERVICE "pool \"web\" { %s }\n", texts[i]);
        read_secret("bad hush", str_text(&whole), &printed);
        ck_assert_msg(strstr(str_text(&printed), "hush") == NULL, "%s", str_text(&printed));
        ck_assert_msg(strstr(str_text(&printed), "${file:/tmp/sluice-test-check") != NULL, "%s",
                      str_text(&printed));
    }
}
END_TEST

START_TEST(secrets_are_not_shown_when_odd)
{
    STR_AUTO printed = {0};

    read_secret("odd hush",
                SERVICE "pool \"web\" { check \"http\" { path = \"@\" }\n" BACKEND "}\n", &printed);
    ck_assert_str_eq(str_text(&printed),
                     "f:2: pool \"web\" / check \"http\": its options will not do together; write "
                     "other values in place of ${file:…} and test those\n");
}
END_TEST

/* --- outlier --- */

START_TEST(a_time_for_the_first_byte)
{
    expect_pool("outlier {\nfirst_byte_timeout = \"5s\" }\n" BACKEND,
                "f:4: pool \"web\" / outlier: warning: first_byte_timeout: \"5s\": has no effect "
                "without \"first_byte\" in the list on; add it, or leave this out\n");
    expect_pool("outlier { on = { \"reset\",\n\"first_byte\" } }\n" BACKEND,
                "f:3: pool \"web\" / outlier: on: \"first_byte\" needs to know in which time; "
                "write first_byte_timeout = \"5s\", say\n");
    expect_pool(
        "outlier { on = { \"reset\", \"first_byte\" } first_byte_timeout = \"5s\" }\n" BACKEND, "");
    expect_pool("outlier { }\noutlier { }\n" BACKEND,
                "f:4: pool \"web\": outlier is given twice; first at f:3\n");
}
END_TEST

/* --- where checks look --- */

#define CHECKED(address, with)                                                                     \
    "backend \"a\" { address = \"10.0.0.1:80\" check \"tcp\" { }\ncheck_address = \"" address      \
    "\" " with " }\n"
#define AT "f:4: pool \"web\" / backend \"a\": "

START_TEST(check_addresses)
{
    expect_pool(CHECKED("h.example:80", ""),
                AT "check_address: \"h.example:80\": a name, and names are not looked up here; "
                   "write a numeric address, such as 192.0.2.1 or 192.0.2.1:80, or unix:/PATH\n");
    expect_pool(CHECKED("localhost", ""),
                AT "check_address: \"localhost\": a name, and names are not looked up here; write "
                   "a numeric address, such as 192.0.2.1 or 192.0.2.1:80, or unix:/PATH\n");
    expect_pool(CHECKED("10.0.0", ""),
                AT "check_address: \"10.0.0\": not an IPv4 address; four numbers from 0 to 255 "
                   "without leading zeros, such as 192.0.2.1\n");
    expect_pool(CHECKED("10.0.0.2:0", ""),
                AT "check_address: \"10.0.0.2:0\": port out of range; 1 to 65535\n");
    expect_pool(CHECKED("10.0.0.2:", ""),
                AT "check_address: \"10.0.0.2:\": no port after the colon; write HOST:PORT\n");
    expect_pool(CHECKED("::1", ""), AT "check_address: \"::1\": too many colons; write an IPv6 "
                                       "address in brackets, such as [2001:db8::1]:80\n");
    expect_pool(CHECKED("[::1", ""),
                AT "check_address: \"[::1\": no closing bracket; write [ADDRESS]:PORT\n");
    expect_pool(CHECKED("unix:c", ""),
                AT "check_address: \"unix:c\": a relative path; write unix:/PATH or unix:@NAME\n");
    expect_pool(CHECKED("[::1]", ""), "");
}
END_TEST

START_TEST(check_addresses_for_nothing)
{
    expect_pool("backend \"a\" { address = \"10.0.0.1:80\"\ncheck_address = \"10.0.0.2\" }\n",
                AT "warning: check_address: \"10.0.0.2\": nothing looks there, for the backend has "
                   "no checks; write a check, or leave this out\n");
    expect_pool("check \"tcp\" { } backend \"a\" { address = \"10.0.0.1:80\"\n"
                "check_address = \"10.0.0.2\" checks = \"none\" }\n",
                AT "warning: check_address: \"10.0.0.2\": nothing looks there, for the backend has "
                   "no checks; write a check, or leave this out\n");
}
END_TEST

START_TEST(ports_of_check_addresses)
{
    /* A port is for the address that is checked, whatever sessions use. */
    expect_pool("backend \"a\" { address = \"unix:/x\" check \"tcp\" { port = 81 }\n"
                "check_address = \"10.0.0.1\" }\n",
                "");
    expect_pool("backend \"a\" { address = \"10.0.0.1:80\" check \"tcp:q\" { port = 81 }\n"
                "check_address = \"unix:/x\" }\n",
                AT "check_address: a Unix socket has no ports, but check \"tcp:q\" wants port 81; "
                   "write the backend a check without port, or checks = \"none\"\n");
    expect_pool("check \"tcp\" { }\ncheck \"exec\" { command = \"/x\" }\n"
                "check \"http\" { port = 81 }\n"
                "backend \"a\" { address = \"unix:/x\" check_address = \"10.0.0.1\" }\n",
                "f:6: pool \"web\" / backend \"a\": check_address: no port, and the backend's Unix "
                "socket has none either for check \"tcp\"; write one after the address\n");
    expect_pool("check \"tcp\" { }\n"
                "backend \"a\" { address = \"unix:/x\" check_address = \"10.0.0.1:80\" }\n"
                "backend \"b\" { address = \"h:1\" check_address = \"10.0.0.1\" }\n",
                "");
}
END_TEST

START_TEST(sources_that_cannot_reach)
{
    expect_pool("check \"tcp\" { source = \"10.0.0.9\" }\n"
                "backend \"a\" { address = \"[::1]:80\" }\n" /* 4 */
                "backend \"b\" { address = \"10.0.0.1:80\" }\n"
                "backend \"c\" { address = \"h.example:80\" }\n"
                "backend \"d\" { address = \"unix:/d\" }\n"
                "backend \"e\" { address = \"[::1]:81\" check_address = \"10.0.0.1\" }\n",
                AT "address: an IPv6 address cannot be reached from 10.0.0.9, the source of check "
                   "\"tcp\"; write the backend a check with another one\n");
    expect_pool("check \"tcp:x\" { source = \"::9\" }\n"
                "backend \"a\" { address = \"[::1]:80\" check_address = \"10.0.0.1\" }\n",
                AT "check_address: an IPv4 address cannot be reached from ::9, the source of check "
                   "\"tcp:x\"; write the backend a check with another one\n");
}
END_TEST

START_TEST(check_addresses_take_the_backends_port)
{
    static const char *const cases[][2] = {{"10.0.0.2", "10.0.0.2:80"},
                                           {"10.0.0.2:7", "10.0.0.2:7"},
                                           {"[::2]", "[::2]:80"},
                                           {"unix:/c", "unix:/c"}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        STR_AUTO text = {0};
        struct model *model;
        struct addr address;
        char shown[ADDR_TEXT_MAX];

        str_printf(&text,
                   SERVICE "pool \"web\" { check \"tcp\" { }\nbackend \"a\" {\n"
                           "address = \"10.0.0.1:80\" check_address = \"%s\" } }\n",
                   cases[i][0]);
        model = read_good(str_text(&text));
        address = model_backend_check_address(&model->pools[0].backends[0]);
        ck_assert_str_eq(addr_format(&address, shown), cases[i][1]);
        model_free(model);
    }
}
END_TEST

/* --- what is handed on --- */

static uint64_t hash_of(const char *check)
{
    struct model *model = read_pool(check);
    uint64_t hash = args_hash(&model->pools[0].checks[0]);

    model_free(model);
    return hash;
}

START_TEST(equal_args_equal_hash)
{
    uint64_t hash =
        hash_of("check \"http\" { path = \"/a\" host = \"b\" headers = { \"c\", \"d\" } }");

    ck_assert_uint_eq(hash, hash_of("check \"http:other\" { interval = \"9s\" port = 81\n"
                                    "headers = { \"c\", \"d\" } host = \"b\" path = \"/a\" }"));
    ck_assert_uint_eq(hash, hash_of("check \"http\" { path = \"/a\" host = \"b\" tls = no\n"
                                    "headers = { \"c\", \"d\" } method = \"GET\" }"));
    ck_assert_uint_ne(hash, hash_of("check \"http\" { path = \"/ab\" host = \"b\"\n"
                                    "headers = { \"c\", \"d\" } }"));
    ck_assert_uint_ne(hash, hash_of("check \"http\" { path = \"/a\" host = \"b\"\n"
                                    "headers = { \"d\", \"c\" } }"));
    ck_assert_uint_ne(hash, hash_of("check \"http\" { path = \"/a\" host = \"b\"\n"
                                    "headers = { \"cd\" } }"));
    ck_assert_uint_ne(hash, hash_of("check \"http\" { path = \"/a\" sni = \"b\"\n"
                                    "headers = { \"c\", \"d\" } }"));
    ck_assert_uint_ne(hash, hash_of("check \"http\" { path = \"/a\" host = \"b\" tls = yes\n"
                                    "headers = { \"c\", \"d\" } }"));
    ck_assert_uint_eq(hash_of("check \"tcp\" { }"), hash_of("check \"tcp:x\" { port = 3 }"));
}
END_TEST

START_TEST(text_has_a_bound)
{
    STR_AUTO text = {0};
    STR_AUTO printed = {0};
    char *step = calloc(1, CONF_VALUE_BYTES_MAX - 8);
    unsigned n = ARGS_BYTES_MAX / CONF_VALUE_BYTES_MAX;

    ck_assert_ptr_nonnull(step);
    memset(step, 'x', CONF_VALUE_BYTES_MAX - 9);
    str_append(&text, SERVICE "pool \"web\" {\n" BACKEND "check \"expect\" { steps = {\n");
    for (unsigned i = 0; i <= n; i++) {
        str_printf(&text, "\"%s\"%s\n", step, i < n ? "," : "} }\n}");
    }
    ck_assert_ptr_null(read_model(str_text(&text), &printed));
    ck_assert_str_eq(str_text(&printed),
                     "f:4: pool \"web\" / check \"expect\": more than 16 MiB of text in the checks "
                     "so far; write less, or let backends share the checks of their pool\n");
    free(step);
}
END_TEST

int main(void)
{
    return RUN_SUITE(
        "model check", options_of_other_kinds, options_that_nobody_has_here,
        options_that_a_kind_needs, each_value_is_judged, all_values_are_judged_together,
        judges_may_be_missing_and_see_defaults, secrets_are_not_shown,
        secrets_are_not_shown_when_odd, a_time_for_the_first_byte, check_addresses,
        check_addresses_for_nothing, ports_of_check_addresses, sources_that_cannot_reach,
        check_addresses_take_the_backends_port, equal_args_equal_hash, text_has_a_bound);
}
