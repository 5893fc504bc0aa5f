/*
 * The reuse section of a pool: what it takes and refuses, how it prints, what a reload says of it.
 */
#include "test_model_reuse.h"

#include "frame/framer.h"
#include "model/options.h"
#include "sluice/limits.h"

/* The section as it is printed, without its first line, its last and what it is indented by. */
static void print_section(const struct model *model, bool all, struct str *out)
{
    static const char opening[] = "    reuse {\n";
    STR_AUTO printed = {0};
    const char *at;

    model_print(model, all, &printed);
    at = strstr(str_text(&printed), opening);
    ck_assert_ptr_nonnull(at);
    at += strlen(opening);
    while (strncmp(at, "    }", 5) != 0) {
        size_t n = strcspn(at, "\n") + 1;

        ck_assert_uint_gt(n, 8);
        str_append_n(out, at + 8, n - 8);
        at += n;
    }
}

/* --- what is taken --- */

static const char *const accepted[][2] = {
    /* options, as they are printed */
    {"", "mode = \"off\"\n"},
    {"mode = off", "mode = \"off\"\n"},
    {"mode = warm", "mode = \"warm\"\n"},
    {"mode = warm warm_min = auto", "mode = \"warm\"\n"},
    {"mode = warm warm_min = 1", "mode = \"warm\"\nwarm_min = 1\n"},
    {"mode = warm warm_min = 4096 max_idle = 4096",
     "mode = \"warm\"\nwarm_min = 4096\nmax_idle = 4096\n"},
    {"mode = warm max_idle = 1 idle_max = \"0s\" max_age = 0",
     "mode = \"warm\"\nidle_max = \"0s\"\nmax_age = \"0s\"\nmax_idle = 1\n"},
    {"mode = warm idle_max = \"40d\" max_age = \"40d\"",
     "mode = \"warm\"\nidle_max = \"40d\"\nmax_age = \"40d\"\n"},
    {"mode = session framing = http1 warm_min = 64 max_uses = 2147483647",
     "mode = \"session\"\nframing = \"http1\"\nwarm_min = 64\nmax_uses = 2147483647\n"},
    {"mode = session framing = resp handshake = key scripts = yes",
     "mode = \"session\"\nframing = \"resp\"\nhandshake = \"key\"\nscripts = true\n"},
    {"mode = session reset_send = \"RESET {nonce}\\r\\n\" reset_expect = \"+{nonce}\\\\x00\"",
     "mode = \"session\"\nreset_send = \"RESET {nonce}\\r\\n\"\n"
     "reset_expect = \"+{nonce}\\\\x00\"\n"},
    {"mode = request framing = http1", "mode = \"request\"\nframing = \"http1\"\n"},
    {"mode = request framing = http1 warm_min = 0", "mode = \"request\"\nframing = \"http1\"\n"},
    {"mode = request framing = resp policy = always",
     "mode = \"request\"\nframing = \"resp\"\npolicy = \"always\"\n"},
    {"mode = request framing = memcached", "mode = \"request\"\nframing = \"memcached\"\n"},
    {"mode = request framing = line", "mode = \"request\"\nframing = \"line\"\n"},
    {"mode = request framing = length length_bytes = 8 length_endian = little\n"
     "length_includes_header = on",
     "mode = \"request\"\nframing = \"length\"\nlength_bytes = 8\nlength_endian = \"little\"\n"
     "length_includes_header = true\n"},
    {"mode = request framing = length length_bytes = 1",
     "mode = \"request\"\nframing = \"length\"\nlength_bytes = 1\n"},
    /* Switched off by one word, whatever the mode was. */
    {"mode = off framing = http1 warm_min = 0 policy = always max_uses = 9",
     "mode = \"off\"\nframing = \"http1\"\nmax_uses = 9\npolicy = \"always\"\n"},
    {"mode = off reset_send = a reset_expect = b",
     "mode = \"off\"\nreset_send = \"a\"\nreset_expect = \"b\"\n"},
    {"mode = off framing = length length_bytes = 2",
     "mode = \"off\"\nframing = \"length\"\nlength_bytes = 2\n"},
    /* What is at its default means nothing and may stand anywhere: it is printed so. */
    {"mode = warm framing = none policy = safe max_uses = 0 reset_send = \"\"\n"
     "reset_expect = '' length_endian = big length_includes_header = no handshake = own\n"
     "scripts = false",
     "mode = \"warm\"\n"},
};

START_TEST(good_sections_are_taken_and_printed)
{
    for (size_t i = 0; i < sizeof(accepted) / sizeof(accepted[0]); i++) {
        struct model *model = read_section("", accepted[i][0]);
        STR_AUTO printed = {0};

        print_section(model, false, &printed);
        ck_assert_str_eq(str_text(&printed), accepted[i][1]);
        expect_back(model, false);
        expect_back(model, true);
        model_free(model);
    }
}
END_TEST

static void expect_defaults(const struct model_reuse *reuse, bool given)
{
    ck_assert(reuse->given == given);
    ck_assert_uint_eq(reuse->mode, REUSE_OFF);
    ck_assert_uint_eq(reuse->framing, FRAMING_NONE);
    ck_assert_uint_eq(reuse->warm_min, 0);
    ck_assert_uint_eq(reuse->idle_max_ms, 5000);
    ck_assert_uint_eq(reuse->max_age_ms, 600000);
    ck_assert_uint_eq(reuse->max_uses, 0);
    ck_assert_uint_eq(reuse->max_idle, 64);
    ck_assert_str_eq(reuse->reset_send, "");
    ck_assert_str_eq(reuse->reset_expect, "");
    ck_assert_uint_eq(reuse->policy, REUSE_SAFE);
    ck_assert_uint_eq(reuse->length_bytes, 0);
    ck_assert_uint_eq(reuse->length_endian, LENGTH_BIG_ENDIAN);
    ck_assert(!reuse->length_includes_header);
    ck_assert_uint_eq(reuse->handshake, HANDSHAKE_OWN);
    ck_assert(!reuse->scripts);
}

START_TEST(defaults)
{
    struct model *model = read_good(SERVICE POOL);
    STR_AUTO printed = {0};

    expect_defaults(&model->pools[0].reuse, false);
    model_print(model, true, &printed);
    ck_assert_ptr_null(strstr(str_text(&printed), "reuse"));
    model_free(model);
    model = read_section("", "");
    expect_defaults(&model->pools[0].reuse, true);
    str_reset(&printed);
    print_section(model, true, &printed);
    ck_assert_str_eq(str_text(&printed),
                     "mode = \"off\"\nframing = \"none\"\nwarm_min = \"auto\"\n"
                     "idle_max = \"5s\"\nmax_age = \"10m\"\nmax_uses = 0\nmax_idle = 64\n"
                     "reset_send = \"\"\nreset_expect = \"\"\npolicy = \"safe\"\n"
                     "length_endian = \"big\"\nlength_includes_header = false\n"
                     "handshake = \"own\"\nscripts = false\n");
    model_free(model);
}
END_TEST

START_TEST(framings_are_the_framers)
{
    const char *const *words = options_find(SECTION_REUSE, "framing")->words;

    ck_assert_ptr_null(words[FRAMING_KIND_COUNT]);
    ck_assert_str_eq(words[FRAMING_NONE], "none");
    for (int kind = FRAMING_NONE + 1; kind < FRAMING_KIND_COUNT; kind++) {
        ck_assert_str_eq(words[kind], framer_table[kind]->name);
    }
}
END_TEST

/* --- what is refused --- */

#define TOO_SHORT                                                                                  \
    "connections would be closed nearly as soon as they are open; write at least 100ms, or 0s "    \
    "for "                                                                                         \
    "no limit"
#define NEVER_TWICE                                                                                \
    "each connection serves once, so that none is reused; write at least 2, or 0 for no limit"
#define A_MESSAGE(text) "f:3: pool \"web\" / reuse: " text "\n"
#define MODES           "write \"off\", \"warm\", \"session\" or \"request\""
#define FRAMINGS        "write \"none\", \"http1\", \"resp\", \"memcached\", \"line\" or \"length\""
#define ESCAPES         "the known ones are \\r \\n \\t \\0 \\xHH, and \\\\ for a backslash"
#define NEEDS_FRAMING                                                                              \
    "mode: \"request\" needs to know where requests and answers end; write framing = \"http1\", "  \
    "say"
#define NEEDS_PROOF                                                                                \
    "mode: \"session\" needs to know that a session leaves nothing behind; write framing = "       \
    "\"http1\", say, or reset_send and reset_expect"
#define IN_WARM(modes)                                                                             \
    "means nothing in mode \"warm\", where each connection serves a single session; leave it "     \
    "out, or write mode = " modes
#define IN_REQUEST                                                                                 \
    "means nothing in mode \"request\", where the framing tells when a connection is free; leave " \
    "it out, or write mode = \"session\""
#define ONLY_FOR(framing)                                                                          \
    "means something to framing \"" framing "\" only; write framing = \"" framing                  \
    "\", or leave it out"
#define BOTH_PROOFS                                                                                \
    "reset_send: framing \"resp\" tells already when a connection is as good as new; leave "       \
    "reset_send and reset_expect out, or framing"
#define NONCE_LOST                                                                                 \
    "reset_expect: without the {nonce} of reset_send, so that it proves nothing; write it where "  \
    "the backend answers with it, or leave it out of reset_send"
#define NONCE_UNSENT                                                                               \
    "reset_expect: the backend cannot answer with a {nonce} that it was never sent; write it in "  \
    "reset_send, too, where the backend sends it back"
#define NO_NONCE                                                                                   \
    "reset_expect: a client's data that ends like this passes for the answer, and the next "       \
    "client gets the rest of it; write {nonce} here and in reset_send, which is new digits each "  \
    "time, where the backend sends it back: for Redis reset_send = \"RESET\\r\\nPING "             \
    "{nonce}\\r\\n\" and reset_expect = \"+RESET\\r\\n$16\\r\\n{nonce}\\r\\n\""
#define NO_MODE                                                                                    \
    "mode is missing, so nothing would be reused; write mode = \"request\", say, or mode = "       \
    "\"off\" to keep the rest for later"

static const char *const refused[][2] = {
    /* options, all that is said */
    {"mode = on", "mode: \"on\": unknown; " MODES},
    {"mode = sessions", "mode: \"sessions\": unknown; did you mean \"session\"?"},
    {"mode = \"\"", "mode: \"\": unknown; " MODES},
    {"mode = request framing = http2", "framing: \"http2\": unknown; did you mean \"http1\"?"},
    {"mode = request framing = tls", "framing: \"tls\": unknown; " FRAMINGS},
    {"mode = session framing = redis scripts = true", "framing: \"redis\": unknown; " FRAMINGS},
    {"mode = off max_idle = 0",
     "max_idle: \"0\": out of range; write a whole number from 1 to 4096"},
    {"mode = off max_idle = 4097",
     "max_idle: \"4097\": out of range; write a whole number from 1 to 4096"},
    {"mode = warm warm_min = 4097",
     "warm_min: \"4097\": out of range; write \"auto\" or a whole number from 0 to 4096"},
    {"mode = warm warm_min = none",
     "warm_min: \"none\": not a whole number; write \"auto\" or a whole number from 0 to 4096"},
    {"mode = off idle_max = \"41d\"",
     "idle_max: \"41d\": out of range; write a time from 0s to 40d"},
    {"mode = off max_age = 5",
     "max_age: \"5\": no unit; write ms, s, m, h or d after the number, such as \"5s\""},
    {"mode = off max_uses = 2147483648",
     "max_uses: \"2147483648\": out of range; write a whole number from 0 to 2147483647"},
    {"mode = off policy = never", "policy: \"never\": unknown; write \"safe\" or \"always\""},
    {"mode = off length_endian = network",
     "length_endian: \"network\": unknown; write \"big\" or \"little\""},
    {"mode = off handshake = shared", "handshake: \"shared\": unknown; write \"own\" or \"key\""},
    {"mode = off scripts = some", "scripts: \"some\": neither true nor false; write true or false"},
    {"mode = request framing = length length_bytes = 0",
     "length_bytes: \"0\": out of range; write a whole number from 1 to 8"},
    {"mode = request framing = length length_bytes = 9",
     "length_bytes: \"9\": out of range; write a whole number from 1 to 8"},
    /* Not known from any option by itself. */
    {"framing = http1", NO_MODE},
    {"max_idle = 64", NO_MODE},
    {"mode = request", NEEDS_FRAMING},
    {"mode = request framing = none", NEEDS_FRAMING},
    {"mode = session", NEEDS_PROOF},
    {"mode = session reset_send = \"\" reset_expect = \"\"", NEEDS_PROOF},
    {"mode = session reset_send = a",
     "reset_send: nothing would tell whether the backend has heeded it; write reset_expect, too"},
    {"mode = off reset_send = a",
     "reset_send: nothing would tell whether the backend has heeded it; write reset_expect, too"},
    {"mode = session reset_expect = a",
     "reset_expect: nothing would be sent that a backend could answer so; write reset_send, too"},
    {"mode = session framing = resp reset_send = a reset_expect = b", BOTH_PROOFS},
    {"mode = off framing = resp reset_send = a reset_expect = b", BOTH_PROOFS},
    {FRAMED "reset_send = a", "reset_send: \"a\": " IN_REQUEST},
    {"mode = warm reset_expect = a", "reset_expect: \"a\": " IN_WARM("\"session\"")},
    {"mode = session reset_send = \"a\\\\q\" reset_expect = b",
     "reset_send: \"a\\q\": unknown escape \"q\"; " ESCAPES},
    {"mode = off reset_send = a reset_expect = \"\\\\x0\"",
     "reset_expect: \"\\x0\": unknown escape \"x\"; " ESCAPES},
    {"mode = warm framing = http1", "framing: \"http1\": " IN_WARM("\"session\" or \"request\"")},
    {"mode = warm max_uses = 1", "max_uses: \"1\": " IN_WARM("\"session\" or \"request\"")},
    {"mode = warm policy = always", "policy: \"always\": " IN_WARM("\"request\"")},
    {"mode = session framing = http1 policy = always",
     "policy: \"always\": means nothing in mode \"session\", where connections change hands "
     "between sessions only; leave it out, or write mode = \"request\""},
    {FRAMED "length_bytes = 4", "length_bytes: \"4\": " ONLY_FOR("length")},
    {FRAMED "length_endian = little", "length_endian: \"little\": " ONLY_FOR("length")},
    {FRAMED "length_includes_header = 1", "length_includes_header: \"1\": " ONLY_FOR("length")},
    {FRAMED "handshake = key", "handshake: \"key\": " ONLY_FOR("resp")},
    {FRAMED "scripts = true", "scripts: \"true\": " ONLY_FOR("resp")},
    {"mode = warm scripts = true", "scripts: \"true\": " ONLY_FOR("resp")},
    {"mode = off length_bytes = 4", "length_bytes: \"4\": " ONLY_FOR("length")},
    {"mode = request framing = length",
     "framing: \"length\" needs to know how many bytes the length of a message has; write "
     "length_bytes = 4, say"},
    {"mode = request framing = length length_bytes = 3",
     "length_bytes: \"3\": no length has so many bytes; write 1, 2, 4 or 8"},
    {"mode = session framing = length length_bytes = 6",
     "length_bytes: \"6\": no length has so many bytes; write 1, 2, 4 or 8"},
    {FRAMED "warm_min = 65",
     "warm_min: \"65\": more than max_idle, which is 64; write at most that, or a larger max_idle"},
    {"mode = warm warm_min = 2 max_idle = 1",
     "warm_min: \"2\": more than max_idle, which is 1; write at most that, or a larger max_idle"},
    {"mode = warm warm_min = 0",
     "warm_min: \"0\": mode \"warm\" does nothing else than keep connections ready; write at least "
     "1, or mode = \"off\""},
    {"mode = session reset_send = \"a{nonce}\" reset_expect = b", NONCE_LOST},
    {"mode = off reset_send = \"a{nonce}\" reset_expect = b", NONCE_LOST},
    {"mode = session reset_send = a reset_expect = \"b{nonce}\"", NONCE_UNSENT},
    {"mode = off reset_send = \"a{Nonce}\" reset_expect = \"b{nonce}\"", NONCE_UNSENT},
    {"mode = session reset_send = \"a{nonce}{nonce}\" reset_expect = \"{{nonce}\"", NULL},
    {"mode = session reset_send = \"\\\\x7bnonce}\" reset_expect = \"{nonce}\"", NULL},
    {"mode = warm idle_max = \"99ms\"", "idle_max: \"99ms\": " TOO_SHORT},
    {"mode = warm idle_max = \"100ms\"", NULL},
    {FRAMED "max_age = \"1ms\"", "max_age: \"1ms\": " TOO_SHORT},
    {"mode = off max_age = \"1ms\"", "max_age: \"1ms\": " TOO_SHORT},
    /* Warnings. */
    {FRAMED "max_uses = 1", "warning: max_uses: \"1\": " NEVER_TWICE},
    {"mode = session framing = http1 max_uses = 1", "warning: max_uses: \"1\": " NEVER_TWICE},
    {"mode = off max_uses = 1", NULL},
    {"mode = session reset_send = a reset_expect = b", "warning: " NO_NONCE},
    {"mode = session reset_send = \"{nonce\" reset_expect = \"{Nonce}\"", "warning: " NO_NONCE},
    {"mode = off reset_send = a reset_expect = b", NULL},
};

START_TEST(bad_sections_are_refused)
{
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        STR_AUTO text = {0};
        STR_AUTO expected = {0};

        wrap("", refused[i][0], &text);
        if (refused[i][1] != NULL) {
            str_printf(&expected, A_MESSAGE("%s"), refused[i][1]);
        }
        expect_messages(str_text(&text), str_text(&expected));
    }
}
END_TEST

START_TEST(all_faults_are_said_at_once)
{
    STR_AUTO text = {0};

    wrap("", "mode = request reset_send = a reset_expect = b handshake = key warm_min = 99", &text);
    expect_messages(
        str_text(&text),
        A_MESSAGE("reset_send: \"a\": " IN_REQUEST) A_MESSAGE("reset_expect: \"b\": " IN_REQUEST)
            A_MESSAGE("handshake: \"key\": " ONLY_FOR("resp")) A_MESSAGE(NEEDS_FRAMING)
                A_MESSAGE("warm_min: \"99\": more than max_idle, which is 64; "
                          "write at most that, or a larger max_idle"));
}
END_TEST

/* warm_min counts per worker, and any worker may be the first. */
START_TEST(no_more_is_kept_ready_than_the_backend_takes)
{
    static const char *const cases[][3] = {
        {"mode = warm warm_min = 5", "max_connections = 4",
         A_MESSAGE("warning: warm_min: \"5\": more than backend \"b\" takes by its "
                   "max_connections, which is 4; write at most that")},
        {"mode = warm warm_min = 4", "max_connections = 4", ""},
        {"mode = warm warm_min = 5", "max_connections = 0", ""},
        {"mode = off warm_min = 5", "max_connections = 4", ""},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        STR_AUTO text = {0};

        str_printf(&text,
                   SERVICE "pool \"web\" {\nreuse { %s }\n" BACKEND
                           "backend \"b\" { address = \"10.0.0.2:80\" %s }\n}\n",
                   cases[i][0], cases[i][1]);
        expect_messages(str_text(&text), cases[i][2]);
    }
}
END_TEST

#define ONE_CLIENT(mode)                                                                           \
    A_MESSAGE("mode: \"" mode "\" hands connections on from client to client, but the PROXY "      \
              "header that the pool's send_proxy asks for names one; write mode = \"warm\", or "   \
              "send_proxy = \"off\"")

START_TEST(a_proxy_header_names_one_client)
{
    static const char *const cases[][3] = {
        {"v1", "mode = session framing = http1", ONE_CLIENT("session")},
        {"v2", "mode = request framing = http1", ONE_CLIENT("request")},
        {"v2", "mode = session reset_send = \"{nonce}\" reset_expect = \"{nonce}\"",
         ONE_CLIENT("session")},
        {"v1", "mode = warm", ""},
        {"v2", "mode = off framing = http1", ""},
        {"off", "mode = request framing = http1", ""},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        STR_AUTO of_pool = {0};
        STR_AUTO text = {0};

        str_printf(&of_pool, "send_proxy = \"%s\"", cases[i][0]);
        wrap(str_text(&of_pool), cases[i][1], &text);
        expect_messages(str_text(&text), cases[i][2]);
    }
}
END_TEST

static void write_reset(size_t n, const char *unit, struct str *out)
{
    STR_AUTO bytes = {0};
    STR_AUTO options = {0};

    for (size_t i = 0; i < n; i++) {
        str_append(&bytes, unit);
    }
    str_printf(&options, "mode = off reset_send = \"%s\" reset_expect = x", str_text(&bytes));
    wrap("", str_text(&options), out);
}

/* Bytes count, not what they are written in. */
START_TEST(reset_texts_are_bounded)
{
    static const char *const units[] = {"a", "\\\\xff"};

    for (size_t i = 0; i < 2; i++) {
        STR_AUTO text = {0};
        STR_AUTO messages = {0};

        write_reset(REUSE_RESET_BYTES_MAX, units[i], &text);
        model_free(read_good(str_text(&text)));
        str_reset(&text);
        write_reset(REUSE_RESET_BYTES_MAX + 1, units[i], &text);
        ck_assert_ptr_null(read_model(str_text(&text), &messages));
        ck_assert_ptr_nonnull(
            strstr(str_text(&messages), "…\": 4097 bytes long; write at most 4096\n"));
    }
}
END_TEST

/* A nonce is longer than its mark. */
START_TEST(reset_texts_are_bounded_with_their_nonces)
{
    STR_AUTO text = {0};
    STR_AUTO messages = {0};

    write_reset(REUSE_RESET_BYTES_MAX / 16 + 1, "{nonce}", &text);
    ck_assert_ptr_null(read_model(str_text(&text), &messages));
    ck_assert_ptr_nonnull(strstr(str_text(&messages),
                                 "…\": 4112 bytes long with the digits of each "
                                 "{nonce}; write at most 4096\n"));
    str_reset(&text);
    str_reset(&messages);
    write_reset(REUSE_RESET_BYTES_MAX / 16, "{nonce}", &text);
    ck_assert_ptr_null(read_model(str_text(&text), &messages));
    ck_assert_ptr_null(strstr(str_text(&messages), "bytes long"));
    ck_assert_ptr_nonnull(strstr(str_text(&messages), NONCE_LOST));
}
END_TEST

static void write_file(char *path, const char *text)
{
    int fd = mkstemp(path);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

START_TEST(secrets_are_not_shown)
{
    char good[] = "/tmp/sluice-test-reuse-XXXXXX";
    char bad[] = "/tmp/sluice-test-reuse-XXXXXX";
    STR_AUTO options = {0};
    STR_AUTO text = {0};
    STR_AUTO printed = {0};
    struct model *model;

    write_file(good, "LOGIN \\x41{nonce}");
    write_file(bad, "LOGIN \\secret");
    str_printf(&options, "mode = session reset_send = \"${file:%s}\" reset_expect = \"{nonce}\"",
               good);
    model = read_section("", str_text(&options));
    ck_assert_str_eq(model->pools[0].reuse.reset_send, "LOGIN \\x41{nonce}");
    print_section(model, false, &printed);
    ck_assert_ptr_nonnull(strstr(str_text(&printed), "reset_send = \"${file:"));
    model_free(model);
    str_reset(&options);
    str_printf(&options, "mode = session reset_send = \"${file:%s}\" reset_expect = ok", bad);
    wrap("", str_text(&options), &text);
    str_reset(&printed);
    ck_assert_ptr_null(read_model(str_text(&text), &printed));
    ck_assert_ptr_null(strstr(str_text(&printed), "secret"));
    ck_assert_ptr_nonnull(strstr(str_text(&printed), "reset_send: \"${file:"));
    ck_assert_ptr_nonnull(strstr(str_text(&printed),
                                 "an unknown escape is in what it stands for; write a backslash "
                                 "as \\\\ there\n"));
    unlink(good);
    unlink(bad);
}
END_TEST

/* --- what a reload says --- */

static void expect_diff(const char *from, const char *to, const char *expected)
{
    struct model *was = from != NULL ? read_section("", from) : read_good(SERVICE POOL);
    struct model *now = to != NULL ? read_section("", to) : read_good(SERVICE POOL);
    struct change_list changes = {0};

    model_diff(was, now, &changes);
    expect_changes(&changes, expected);
    ck_assert(!changes.needs_restart);
    change_list_free(&changes);
    model_free(was);
    model_free(now);
}

START_TEST(changes)
{
    expect_diff(NULL, "mode = warm", "pool web: reuse added\n");
    expect_diff("mode = warm", NULL, "pool web: reuse removed\n");
    expect_diff("mode = warm", "mode = warm warm_min = auto max_idle = 64", "");
    expect_diff(FRAMED, "mode = off framing = http1", "pool web: reuse: mode request -> off\n");
    expect_diff(FRAMED "warm_min = 2 idle_max = \"1s\"",
                "mode = session reset_send = \"{nonce}\\r\\n\" reset_expect = \"{nonce}\"\n"
                "max_uses = 9",
                "pool web: reuse: mode request -> session\n"
                "pool web: reuse: framing http1 -> none\n"
                "pool web: reuse: warm_min 2 -> auto\n"
                "pool web: reuse: idle_max 1s -> 5s\n"
                "pool web: reuse: max_uses 0 -> 9\n"
                "pool web: reuse: reset_send \"\" -> \"{nonce}\\r\\n\"\n"
                "pool web: reuse: reset_expect \"\" -> {nonce}\n");
    expect_diff("mode = request framing = length length_bytes = 4",
                "mode = request framing = resp handshake = key scripts = yes policy = always\n"
                "max_age = \"0s\" max_idle = 9",
                "pool web: reuse: framing length -> resp\n"
                "pool web: reuse: max_age 10m -> 0s\n"
                "pool web: reuse: max_idle 64 -> 9\n"
                "pool web: reuse: policy safe -> always\n"
                "pool web: reuse: length_bytes 4 -> unset\n"
                "pool web: reuse: handshake own -> key\n"
                "pool web: reuse: scripts false -> true\n");
}
END_TEST

int main(void)
{
    return RUN_SUITE("model reuse", good_sections_are_taken_and_printed, defaults,
                     framings_are_the_framers, bad_sections_are_refused,
                     all_faults_are_said_at_once, no_more_is_kept_ready_than_the_backend_takes,
                     a_proxy_header_names_one_client, reset_texts_are_bounded,
                     reset_texts_are_bounded_with_their_nonces, secrets_are_not_shown, changes);
}
