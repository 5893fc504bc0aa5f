/* The framer memcached. What answers look like is from memcached 1.6.18. */
#include "frame_run.h"

#include <check.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

#define STARTS    "request starts key \"\" next \"\"\n"
#define RETRIABLE "request starts retriable key \"\" next \"\"\n"
#define CLEAN     "reply ends clean\n"

struct dialogue {
    const char *client, *backend;
    const char *transcript;
    bool backend_ends;
};

static void check_dialogue(const struct dialogue *d)
{
    struct frame_input input = {
        .client = d->client,
        .n_client = strlen(d->client),
        .backend = d->backend,
        .n_backend = strlen(d->backend),
        .backend_ends = d->backend_ends,
    };

    ck_assert_str_eq(frame_run(&framer_memcached, NULL, &input), d->transcript);
    ck_assert(frame_run_alike(&framer_memcached, NULL, &input, 12));
    input.again = true;
    ck_assert_str_eq(frame_run(&framer_memcached, NULL, &input), d->transcript);
    ck_assert(frame_run_alike(&framer_memcached, NULL, &input, 12));
}

/* One command and its whole answer, of commands that are for sharing. */
static const struct {
    const char *client, *backend;
    bool retriable;
} shared[] = {
    {"get a\r\n", "VALUE a 1 5\r\nhello\r\nEND\r\n", true},
    {"get a b a\r\n", "VALUE a 1 5\r\nEND\r\n\r\nVALUE b 0 0\r\n\r\nEND\r\n", true},
    {"gets a\r\n", "VALUE a 1 5 18446744073709551615\r\nhello\r\nEND\r\n", true},
    {"get  a \r\n", "END\r\n", true},
    {"get noreply\r\n", "END\r\n", true},
    {"gat 0 a\r\n", "VALUE a 1 5\r\nhello\r\nEND\r\n", false},
    {"gats -1 a zz\r\n", "END\r\n", false},
    {"get a\r\n", "ERROR\r\n", true},
    {"get a\r\n", "CLIENT_ERROR bad command line format\r\n", true},
    {"set a 1 0 5\r\nhello\r\n", "STORED\r\n", false},
    {"set noreply 1 0 7\r\nget a\r\n\r\n", "STORED\r\n", false},
    {"set a 1 -1 0\r\n\r\n", "STORED\r\n", false},
    {"add a 0 0 1\r\nx\r\n", "NOT_STORED\r\n", false},
    {"replace a 0 0 2\r\n\r\n\r\n", "STORED\r\n", false},
    {"append a 0 0 1\r\n!\r\n", "STORED\r\n", false},
    {"prepend a 0 0 1\r\n!\r\n", "NOT_STORED\r\n", false},
    {"cas a 0 0 1 99999\r\nx\r\n", "EXISTS\r\n", false},
    {"cas z 0 0 1 5\r\nx\r\n", "NOT_FOUND\r\n", false},
    {"incr n 5\r\n", "10\r\n", false},
    {"decr n 18446744073709551615\r\n", "0 \r\n", false},
    {"incr a 1\r\n", "CLIENT_ERROR cannot increment or decrement non-numeric value\r\n", false},
    {"touch a 0\r\n", "TOUCHED\r\n", false},
    {"touch a -1\r\n", "NOT_FOUND\r\n", false},
    {"delete a\r\n", "DELETED\r\n", false},
    {"delete a 0\r\n", "NOT_FOUND\r\n", false},
    {"delete noreply\r\n", "NOT_FOUND\r\n", false},
    {"mg a v\r\n", "VA 5\r\nEN\r\n\n\r\n", true},
    {"mg a v k t f s c O123 u\r\n", "VA 0 ka t-1 f0 s0 c6 O123\r\n\r\n", true},
    {"mg a\r\n", "HD\r\n", true},
    {"mg zz b v\r\n", "EN\r\n", true},
    {"mg a N30 v\r\n", "VA 0 W\r\n\r\n", false},
    {"mg a R30\r\n", "HD W\r\n", false},
    {"mg a v T30\r\n", "EN\r\n", false},
    {"ms m 3 T0 c\r\nabc\r\n", "HD c7\r\n", false},
    {"ms m 1 ME\r\nz\r\n", "NS\r\n", false},
    {"md m C5\r\n", "EX\r\n", false},
    {"md zz k I T5\r\n", "NF kzz\r\n", false},
    {"ma cnt N0 J10 v\r\n", "VA 2\r\n10\r\n", false},
    {"ma cnt D2 M-\r\n", "HD\r\n", false},
    {"mn\r\n", "MN\r\n", false},
    {"version\r\n", "VERSION 1.6.18\r\n", false},
    {"verbosity 0\r\n", "OK\r\n", false},
    {"flush_all\r\n", "OK\r\n", false},
    {"flush_all 10\r\n", "OK\r\n", false},
    {"flush_all\r\n", "CLIENT_ERROR flush_all not allowed\r\n", false},
    {"stats\r\n", "STAT pid 686\r\nSTAT version 1.6.18\r\nEND\r\n", false},
};

static void quote(struct str *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\r' || *text == '\n') {
            str_append(out, *text == '\r' ? "\\r" : "\\n");
        } else {
            str_append_char(out, *text);
        }
    }
}

static void append_exchange(struct str *out, const char *client, const char *backend,
                            bool retriable)
{
    str_printf(out, "%sto backend \"", retriable ? RETRIABLE : STARTS);
    quote(out, client);
    str_append(out, "\"\nrequest ends\nto client \"");
    quote(out, backend);
    str_append(out, "\"\n" CLEAN);
}

START_TEST(shares)
{
    STR_AUTO client = {0};
    STR_AUTO backend = {0};
    STR_AUTO transcript = {0};

    /* With another behind it, to see that it ends where it should. */
    str_printf(&client, "%smn\r\n", shared[_i].client);
    str_printf(&backend, "%sMN\r\n", shared[_i].backend);
    append_exchange(&transcript, shared[_i].client, shared[_i].backend, shared[_i].retriable);
    append_exchange(&transcript, "mn\r\n", "MN\r\n", false);
    check_dialogue(&(struct dialogue){client.data, backend.data, transcript.data, false});
}
END_TEST

/* Lines that own their upstream, and what is said for why. */
static const struct {
    const char *line, *why;
} owning[] = {
    {"watch mutations\r\n", "watch"},
    {"lru_crawler metadump all\r\n", "lru_crawler"},
    {"cache_memlimit 100\r\n", "cache_memlimit"},
    {"shutdown\r\n", "shutdown"},
    {"me a\r\n", "me"},
    {"stats items\r\n", "stats"},
    {"stats reset\r\n", "stats"},
    {"version noreply\r\n", "version"},
    {"nonsense\r\n", "unknown command"},
    {"GET a\r\n", "unknown command"},
    {" get a\r\n", "unknown command"},
    {"\r\n", "unknown command"},
    {"get a\n", "line ended by a bare newline"},
    {"\n", "line ended by a bare newline"},
    {"get\r\n", "get"},
    {"get a\rb\r\n", "get"},
    {"get a\tb\r\n", "get"},
    {"get a\x7f\r\n", "get"},
    {"gat a\r\n", "gat"},
    {"gat x a\r\n", "gat"},
    {"set a 0 0\r\n", "set"},
    {"set a 0 0 -1\r\n", "set"},
    {"set a 0 0 +1\r\n", "set"},
    {"set a 0 0 0x1\r\n", "set"},
    {"set a 0 0 2147483646\r\n", "set"},
    {"set a 0 0 18446744073709551617\r\n", "set"},
    {"set a 0 0 99999999999999999999999999\r\n", "set"},
    {"set a 0 0 noreply\r\n", "set"},
    {"set a 0 0 1 noreply noreply\r\n", "set"},
    {"set a 0 0 1 NOREPLY\r\n", "set"},
    {"cas a 0 0 1\r\n", "cas"},
    {"cas a 0 0 1 noreply\r\n", "cas"},
    {"incr a\r\n", "incr"},
    {"incr a -1\r\n", "incr"},
    {"incr a noreply\r\n", "incr"},
    {"incr a 100000000000000000000\r\n", "incr"},
    {"touch a noreply\r\n", "touch"},
    {"delete a 5\r\n", "delete"},
    {"delete a b c\r\n", "delete"},
    {"flush_all -1\r\n", "flush_all"},
    {"flush_all 0 0\r\n", "flush_all"},
    {"mg a v q\r\n", "mg"},
    {"mg a q\r\n", "mg"},
    {"mg a v v\r\n", "mg"},
    {"mg a Z\r\n", "mg"},
    {"mg\r\n", "mg"},
    {"ms a S5\r\n", "ms"},
    {"ms a 5 q\r\n", "ms"},
    {"md a q\r\n", "md"},
    {"ma a q v\r\n", "ma"},
    {"mn a\r\n", "mn"},
};

START_TEST(owns)
{
    STR_AUTO client = {0};
    STR_AUTO transcript = {0};

    str_printf(&client, "%squit\r\n", owning[_i].line);
    str_append(&transcript, STARTS "to backend \"");
    for (const char *c = client.data; *c != '\0'; c++) {
        static const char *const escapes[] = {
            ['\t'] = "\\t", ['\n'] = "\\n", ['\r'] = "\\r", ['\x7f'] = "\\x7f"};
        if (c == client.data + strlen(owning[_i].line)) {
            str_printf(&transcript, "\"\nown \"%s\"\nto backend \"", owning[_i].why);
        }
        if (escapes[(int)*c] != NULL) {
            str_append(&transcript, escapes[(int)*c]);
        } else {
            str_append_char(&transcript, *c);
        }
    }
    str_append(&transcript, "\"\nto client \"any\"\n");
    check_dialogue(&(struct dialogue){client.data, "any", transcript.data, false});
}
END_TEST

#define REFUSED(why)   "refuse \"" why "\"\n"
#define BAD_ANSWER     REFUSED("unexpected answer") "to client \"SERVER_ERROR bad answer\\r\\n\"\n"
#define SENT(line)     STARTS "to backend \"" line "\"\nrequest ends\n"
#define GET            RETRIABLE "to backend \"get a\\r\\n\"\nrequest ends\n"
#define SET            SENT("set a 0 0 1\\r\\nx\\r\\n")
#define QUIET          SENT("delete a noreply\\r\\nversion\\r\\n")
#define NOT_CLEAN(why) "reply ends not clean why \"" why "\"\n"

static const struct dialogue dialogues[] = {
    {"quit\r\nget a\r\n", "", "answered closes\nuntaken of client 7\n", false},
    {"get a\r\nquit\r\n", "END\r\n", GET "to client \"END\\r\\n\"\n" CLEAN "answered closes\n",
     true},
    {"\x80\x01", "", REFUSED("binary protocol"), false},
    {"get a\r\n\x80\x01", "END\r\n",
     GET "to client \"END\\r\\n\"\n" CLEAN REFUSED("binary protocol"), false},

    /* noreply: VERSION is the proof, and nobody is told. */
    {"delete a noreply\r\nget a\r\n", "VERSION 1.6.18\r\nEND\r\n",
     QUIET CLEAN GET "to client \"END\\r\\n\"\n" CLEAN, false},
    {"set a 0 0 1 noreply\r\nx\r\n", "VERSION 1\r\n",
     SENT("set a 0 0 1 noreply\\r\\nx\\r\\nversion\\r\\n") CLEAN, false},
    {"cas a 0 0 0 7 noreply\r\n\r\n", "VERSION 1\r\n",
     SENT("cas a 0 0 0 7 noreply\\r\\n\\r\\nversion\\r\\n") CLEAN, false},
    {"delete a 0 noreply\r\n", "VERSION 1\r\n", SENT("delete a 0 noreply\\r\\nversion\\r\\n") CLEAN,
     false},
    {"flush_all noreply\r\n", "VERSION 1\r\n", SENT("flush_all noreply\\r\\nversion\\r\\n") CLEAN,
     false},
    {"flush_all 9 noreply\r\n", "VERSION 1\r\n",
     SENT("flush_all 9 noreply\\r\\nversion\\r\\n") CLEAN, false},
    {"incr a 1 noreply\r\n", "VERSION 1\r\n", SENT("incr a 1 noreply\\r\\nversion\\r\\n") CLEAN,
     false},
    {"touch a 1 noreply\r\n", "VERSION 1\r\n", SENT("touch a 1 noreply\\r\\nversion\\r\\n") CLEAN,
     false},
    {"delete a noreply\r\n", "DELETED\r\nVERSION 1.6.18\r\n",
     QUIET NOT_CLEAN("answer to noreply") "untaken of backend 16\n", false},
    {"delete a noreply\r\n", "ERROR\r\n", QUIET NOT_CLEAN("answer to noreply"), false},
    {"delete a noreply\r\n", "VERSION 1\n", QUIET NOT_CLEAN("answer to noreply"), false},
    {"delete a noreply\r\n", "VERS", QUIET "untaken of backend 4\n", false},
    {"delete a noreply\r\n", "", QUIET "backend ends\n" REFUSED("answer cut short"), true},

    /* Errors that leave the upstream in doubt. */
    {"set a 0 0 1\r\nx\r\n", "SERVER_ERROR object too large for cache\r\n",
     SET "to client \"SERVER_ERROR object too large for cache\\r\\n\"\n" NOT_CLEAN(
         "error to a storage command"),
     false},
    {"set a 0 0 1\r\nx\r\n", "CLIENT_ERROR bad data chunk\r\nERROR\r\n",
     SET "to client \"CLIENT_ERROR bad data chunk\\r\\n\"\n" NOT_CLEAN(
         "error to a storage command") "untaken of backend 7\n",
     false},
    {"set a 0 0 1\r\nx\r\n", "ERROR\r\n",
     SET "to client \"ERROR\\r\\n\"\n" NOT_CLEAN("error to a storage command"), false},
    {"ms a 1\r\nx\r\n", "CLIENT_ERROR invalid flag\r\n",
     SENT("ms a 1\\r\\nx\\r\\n") "to client \"CLIENT_ERROR invalid flag\\r\\n\"\n" NOT_CLEAN(
         "error to a storage command"),
     false},
    {"get a\r\n", "VALUE a 0 1\r\nx\r\nSERVER_ERROR out of memory\r\n",
     GET "to client \"VALUE a 0 1\\r\\nx\\r\\nSERVER_ERROR out of memory\\r\\n\"\n" NOT_CLEAN(
         "server error"),
     false},
    {"set a 0 0 100\r\nx", "SERVER_ERROR object too large for cache\r\n",
     STARTS "to backend \"set a 0 0 100\\r\\nx\"\n"
            "to client \"SERVER_ERROR object too large for cache\\r\\n\"\n"
            "reply ends not clean closes why \"answer before the request ended\"\n",
     false},
    {"set a 0 0 100 noreply\r\nx", "VERSION 1\r\n",
     STARTS "to backend \"set a 0 0 100 noreply\\r\\nx\"\n"
            "reply ends not clean closes why \"answer before the request ended\"\n",
     false},

    /* Data that do not end as they should. */
    {"set a 0 0 1\r\nxyz\r\n", "",
     STARTS "to backend \"set a 0 0 1\\r\\nx\"\n" REFUSED(
         "bad end of data") "to client \"CLIENT_ERROR bad data chunk\\r\\n\"\n",
     false},
    {"set a 0 0 1\r\nx\rz", "",
     STARTS "to backend \"set a 0 0 1\\r\\nx\"\n" REFUSED(
         "bad end of data") "to client \"CLIENT_ERROR bad data chunk\\r\\n\"\n",
     false},
    {"set a 0 0 30\r\n012345678901234567890123456789yz", "",
     STARTS "to backend \"set a 0 0 30\\r\\n012345678901234567890123456789\"\n" REFUSED(
         "bad end of data") "to client \"CLIENT_ERROR bad data chunk\\r\\n\"\n",
     false},
    {"set a 0 0 0\r\nget a\r\n", "",
     STARTS "to backend \"set a 0 0 0\\r\\n\"\n" REFUSED(
         "bad end of data") "to client \"CLIENT_ERROR bad data chunk\\r\\n\"\n",
     false},
    {"set a 0 0 1\r\nx\r", "", STARTS "to backend \"set a 0 0 1\\r\\nx\"\nuntaken of client 1\n",
     false},

    /* Answers that are none of what was asked. */
    {"get a\r\n", "STORED\r\n", GET BAD_ANSWER, false},
    {"get a\r\n", "VALUE a 0 1\r\nx\r\nVALUE a 0 x\r\n",
     GET "to client \"VALUE a 0 1\\r\\nx\\r\\n\"\n" BAD_ANSWER, false},
    {"get a\r\n", "VALUE a 0\r\n", GET BAD_ANSWER, false},
    {"get a\r\n", "VALUE a 0 -1\r\n", GET BAD_ANSWER, false},
    {"get a\r\n", "VALUE a 0 18446744073709551615\r\n", GET BAD_ANSWER, false},
    {"get a\r\n", "VALUE a 0 1\r\nxyz",
     GET "to client \"VALUE a 0 1\\r\\nx\"\n" REFUSED("unexpected answer"), false},
    {"get a\r\n", "END\n", GET BAD_ANSWER, false},
    {"get a\r\n", "ENDx\n", GET BAD_ANSWER, false},
    {"get a\r\n", "\r\n", GET BAD_ANSWER, false},
    {"get a\r\n", "10\r\n", GET BAD_ANSWER, false},
    {"set a 0 0 1\r\nx\r\n", "END\r\n", SET BAD_ANSWER, false},
    {"set a 0 0 1\r\nx\r\n", "STOREDX\r\n", SET BAD_ANSWER, false},
    {"incr a 1\r\n", "1x\r\n", SENT("incr a 1\\r\\n") BAD_ANSWER, false},
    {"mg a v\r\n", "VA x\r\n", RETRIABLE "to backend \"mg a v\\r\\n\"\nrequest ends\n" BAD_ANSWER,
     false},
    {"get a\r\n", "EN", GET "untaken of backend 2\n", false},
    {"get a\r\n", "EN", GET "backend ends\n" REFUSED("answer cut short"), true},
    {"get a\r\n", "VALUE a 0 9\r\nx",
     GET "to client \"VALUE a 0 9\\r\\nx\"\nbackend ends\n" REFUSED("answer cut short"), true},
};

START_TEST(says)
{
    check_dialogue(&dialogues[_i]);
}
END_TEST

/* The proof that is asked for behind it is not the client's. */
START_TEST(only_silence_must_be_read)
{
    static const unsigned char loud[] = "delete a\r\n", silent[] = "delete a noreply\r\n";
    max_align_t state[2][FRAMER_STATE_MAX / sizeof(max_align_t)] = {0};

    ck_assert(!framer_memcached.request(state[0], loud, sizeof(loud) - 1, NULL).must_read);
    ck_assert(framer_memcached.request(state[1], silent, sizeof(silent) - 1, NULL).must_read);
}
END_TEST

START_TEST(again_forgets_the_answer)
{
    static const unsigned char get[] = "get a\r\n", value[] = "VALUE a 0 9\r\n", end[] = "END\r\n";
    max_align_t state[FRAMER_STATE_MAX / sizeof(max_align_t)] = {0};

    framer_memcached.init(state, NULL);
    struct framing f = framer_memcached.request(state, get, sizeof(get) - 1, NULL);
    ck_assert(f.starts && f.ends && f.retriable);
    f = framer_memcached.reply(state, value, sizeof(value) - 1, NULL);
    ck_assert(f.verb == FRAMING_FORWARD && !f.ends);
    framer_memcached.again(state);
    f = framer_memcached.reply(state, end, sizeof(end) - 1, NULL);
    ck_assert(f.verb == FRAMING_FORWARD && f.ends && f.clean);
}
END_TEST

/* The transcript of one line of n bytes that begins so and is filled up with c. */
static const char *run_line(const char *begin, char c, size_t n, bool is_whole)
{
    char *line = malloc(n);
    ck_assert_ptr_nonnull(line);
    memset(line, c, n);
    memcpy(line, begin, strlen(begin));
    if (is_whole) {
        memcpy(line + n - 2, "\r\n", 2);
    }
    const struct frame_input input = {.client = line, .n_client = n, .seed = n};
    ck_assert(frame_run_alike(&framer_memcached, NULL, &input, 3));
    const char *transcript = frame_run(&framer_memcached, NULL, &input);
    free(line);
    return transcript;
}

#define TOO_LONG REFUSED("line too long") "to client \"CLIENT_ERROR line too long\\r\\n\"\n"
#define BAD_KEY  REFUSED("key too long") "to client \"CLIENT_ERROR bad command line format\\r\\n\"\n"

START_TEST(lines_have_a_limit)
{
    /* As long as memcached takes them, but for gets of many keys. */
    ck_assert_str_eq(run_line("stats ", 'x', 2047, false), "untaken of client 2047\n");
    ck_assert_str_eq(run_line("stats ", 'x', 2048, false), TOO_LONG);
    ck_assert_str_eq(run_line("stats ", 'x', 2049, true), TOO_LONG);
    ck_assert_ptr_nonnull(strstr(run_line("stats ", 'x', 2048, true), "own \"stats\"\n"));
    ck_assert_str_eq(run_line("gat ", 'x', 2048, false), TOO_LONG);
    ck_assert_str_eq(run_line("get ", ' ', FRAMER_HOLD_MAX - 1, false),
                     "untaken of client 65535\n");
    ck_assert_str_eq(run_line("get ", ' ', FRAMER_HOLD_MAX, false), TOO_LONG);
    ck_assert_str_eq(run_line("gets a", ' ', FRAMER_HOLD_MAX + 1, true), TOO_LONG);
    ck_assert_int_eq(
        0, strncmp(run_line("gets a", ' ', FRAMER_HOLD_MAX, true), RETRIABLE, strlen(RETRIABLE)));
}
END_TEST

START_TEST(keys_have_a_limit)
{
    static const struct {
        const char *before, *behind;
    } lines[] = {
        {"get ", ""},       {"get a ", " b"},     {"gats 0 ", ""},
        {"set ", " 0 0 1"}, {"cas ", " 0 0 1 5"}, {"incr ", " 1"},
        {"mg ", " v"},      {"ms ", " 2"},        {"delete ", " noreply"},
        {"touch ", " 0"},
    };

    for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
        for (int n = 250; n <= 251; n++) {
            char text[400];
            snprintf(text, sizeof(text), "%s%0*d%s\r\n", lines[i].before, n, 0, lines[i].behind);
            const struct frame_input input = {.client = text, .n_client = strlen(text)};
            bool refused = strcmp(frame_run(&framer_memcached, NULL, &input), BAD_KEY) == 0;
            ck_assert_msg(refused == (n > 250), "%s of %d", lines[i].before, n);
            ck_assert(frame_run_alike(&framer_memcached, NULL, &input, 3));
        }
    }
}
END_TEST

START_TEST(answers_lines_have_a_limit)
{
    char answer[2049];
    struct frame_input input = {.client = "version\r\ndelete a noreply\r\n",
                                .n_client = 9,
                                .backend = answer,
                                .n_backend = 2047};

    memset(answer, 'x', sizeof(answer));
    memcpy(answer, "VERSION ", 8);
    ck_assert_ptr_nonnull(
        strstr(frame_run(&framer_memcached, NULL, &input), "untaken of backend 2047\n"));
    input.n_backend = 2048;
    ck_assert_ptr_nonnull(strstr(frame_run(&framer_memcached, NULL, &input), BAD_ANSWER));
    ck_assert(frame_run_alike(&framer_memcached, NULL, &input, 5));
    input.client = "delete a noreply\r\n";
    input.n_client = strlen(input.client);
    ck_assert_ptr_nonnull(
        strstr(frame_run(&framer_memcached, NULL, &input), NOT_CLEAN("answer to noreply")));
    ck_assert(frame_run_alike(&framer_memcached, NULL, &input, 5));
}
END_TEST

/* Data go through as they come, however many. */
START_TEST(large_data_pass)
{
    size_t n = 200000;
    STR_AUTO data = {0};
    for (size_t i = 0; i < n; i++) {
        str_append_char(&data, "END\r\n"[i % 5]);
    }
    STR_AUTO client = {0};
    STR_AUTO backend = {0};
    str_printf(&client, "set a 0 0 %zu\r\n%s\r\nget a\r\nmg a v\r\n", n, data.data);
    str_printf(&backend, "STORED\r\nVALUE a 0 %zu\r\n%s\r\nEND\r\nVA %zu\r\n%s\r\n", n, data.data,
               n, data.data);
    const struct frame_input input = {.client = client.data,
                                      .n_client = client.len,
                                      .backend = backend.data,
                                      .n_backend = backend.len,
                                      .seed = 2};
    ck_assert(frame_run_alike(&framer_memcached, NULL, &input, 4));
    const char *at = frame_run(&framer_memcached, NULL, &input);
    for (int i = 0; i < 3; i++) {
        at = strstr(at, CLEAN);
        ck_assert_ptr_nonnull(at);
        at += strlen(CLEAN);
    }
    ck_assert_str_eq(at, "");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("frame/memcached");
    TCase *tc = tcase_create("all");

    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, shares, 0, sizeof(shared) / sizeof(*shared));
    tcase_add_loop_test(tc, owns, 0, sizeof(owning) / sizeof(*owning));
    tcase_add_loop_test(tc, says, 0, sizeof(dialogues) / sizeof(*dialogues));
    tcase_add_test(tc, only_silence_must_be_read);
    tcase_add_test(tc, again_forgets_the_answer);
    tcase_add_test(tc, lines_have_a_limit);
    tcase_add_test(tc, keys_have_a_limit);
    tcase_add_test(tc, answers_lines_have_a_limit);
    tcase_add_test(tc, large_data_pass);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
