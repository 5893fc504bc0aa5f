/* Messages of the domain name system, made by hand: what counts as an answer, and how every kind of
 * bad one is told. */
#include "dns/message.h"

#include <arpa/nameser.h>
#include <check.h>
#include <stdlib.h>
#include <string.h>

#define ID          0x1234
#define OK_FLAGS    0x8180 /* an answer, recursion asked for and there */
#define QUESTION    "\0\0\1\0\1"
#define NAME        "\3www\7example\3net"
#define POINTER     "\xc0\x0c" /* to the name of the question */
#define BYTES(text) (text), sizeof(text) - 1

struct wire {
    uint8_t bytes[4096];
    size_t len;
};

static void put(struct wire *wire, const char *bytes, size_t n)
{
    memcpy(wire->bytes + wire->len, bytes, n);
    wire->len += n;
}

static void put16(struct wire *wire, uint16_t number)
{
    ns_put16(number, wire->bytes + wire->len);
    wire->len += 2;
}

static void put_head(struct wire *wire, uint16_t id, uint16_t flags, uint16_t n_answers)
{
    *wire = (struct wire){0};
    put16(wire, id);
    put16(wire, flags);
    put16(wire, 1);
    put16(wire, n_answers);
    put16(wire, 0);
    put16(wire, 0);
}

static void begin(struct wire *wire, uint16_t flags, uint16_t n_answers, enum dns_type type)
{
    static const uint16_t types[] = {
        [DNS_A] = ns_t_a, [DNS_AAAA] = ns_t_aaaa, [DNS_SRV] = ns_t_srv};
    put_head(wire, ID, flags, n_answers);
    put(wire, BYTES(NAME));
    put(wire, "", 1);
    put16(wire, types[type]);
    put16(wire, ns_c_in);
}

static void put_record(struct wire *wire, const char *owner, size_t n_owner, uint16_t type,
                       uint32_t ttl, const char *data, size_t n)
{
    put(wire, owner, n_owner);
    put16(wire, type);
    put16(wire, ns_c_in);
    put16(wire, (uint16_t)(ttl >> 16));
    put16(wire, (uint16_t)ttl);
    put16(wire, (uint16_t)n);
    put(wire, data, n);
}

static struct dns_question question_of(enum dns_type type)
{
    return (struct dns_question){.name = "www.example.net", .type = type, .id = ID};
}

static enum dns_outcome parse(const struct wire *wire, enum dns_type type, struct dns_reply *out)
{
    struct dns_question question = question_of(type);
    uint8_t *exact = malloc(wire->len); /* so that a byte too many is seen */
    memcpy(exact, wire->bytes, wire->len);
    enum dns_outcome outcome = dns_parse(&question, exact, wire->len, out);
    free(exact);
    return outcome;
}

/* --- questions --- */

START_TEST(a_question_is_built)
{
    struct dns_question question = question_of(DNS_AAAA);
    uint8_t out[DNS_QUERY_MAX];
    static const char expected[] = "\x12\x34\1\0\0\1\0\0\0\0\0\0" NAME "\0\0\x1c\0\1";
    ck_assert_int_eq(dns_build(&question, out), sizeof(expected) - 1);
    ck_assert_mem_eq(out, expected, sizeof(expected) - 1);
}
END_TEST

START_TEST(names_that_cannot_be_asked_for)
{
    static const char *const names[] = {
        "", ".", "a..b", ".a",
        "a234567890123456789012345678901234567890123456789012345678901234.example.net"};
    uint8_t out[DNS_QUERY_MAX];
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct dns_question question = {.id = ID};
        strcpy(question.name, names[i]);
        ck_assert_msg(dns_build(&question, out) < 0, "%s", names[i]);
    }
}
END_TEST

/* --- answers --- */

START_TEST(addresses_are_taken)
{
    struct wire wire;
    struct dns_reply reply;
    begin(&wire, OK_FLAGS, 3, DNS_A);
    put_record(&wire, BYTES(POINTER), ns_t_a, 60, BYTES("\x0a\0\0\5"));
    put_record(&wire, BYTES(POINTER), ns_t_a, 30, BYTES("\x0a\0\0\6"));
    put_record(&wire, BYTES("\3foo\0"), ns_t_a, 1, BYTES("\x0a\0\0\7")); /* somebody else's */
    ck_assert_int_eq(parse(&wire, DNS_A, &reply), DNS_OK);
    ck_assert_uint_eq(reply.n, 2);
    ck_assert_uint_eq(reply.ttl_s, 30);
    ck_assert_int_eq(reply.ips[0].family, ADDR_IPV4);
    ck_assert_mem_eq(reply.ips[1].bytes, "\x0a\0\0\6", 4);
}
END_TEST

START_TEST(case_of_letters_is_nothing)
{
    struct wire wire;
    struct dns_reply reply;
    begin(&wire, OK_FLAGS, 1, DNS_A);
    memcpy(wire.bytes + 12, "\3WwW\7eXample\3NET", 16);
    put_record(&wire, BYTES("\3www\7EXAMPLE\3net\0"), ns_t_a, 60, BYTES("\x0a\0\0\5"));
    ck_assert_int_eq(parse(&wire, DNS_A, &reply), DNS_OK);
    ck_assert_uint_eq(reply.n, 1);
}
END_TEST

START_TEST(addresses_that_no_host_has_are_none)
{
    static const struct {
        enum dns_type type;
        const char *bytes;
    } cases[] = {
        {DNS_A, "\0\0\0\0"},
        {DNS_A, "\xe0\0\0\1"},
        {DNS_A, "\xff\xff\xff\xff"},
        {DNS_AAAA, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"},
        {DNS_AAAA, "\xff\2\0\0\0\0\0\0\0\0\0\0\0\0\0\1"},
        {DNS_AAAA, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\1"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bool is_ipv4 = cases[i].type == DNS_A;
        struct wire wire;
        struct dns_reply reply;
        begin(&wire, OK_FLAGS, 1, cases[i].type);
        put_record(&wire, BYTES(POINTER), is_ipv4 ? ns_t_a : ns_t_aaaa, 60, cases[i].bytes,
                   is_ipv4 ? 4 : 16);
        ck_assert_int_eq(parse(&wire, cases[i].type, &reply), DNS_EMPTY);
    }
}
END_TEST

START_TEST(aliases_are_followed)
{
    struct wire wire;
    struct dns_reply reply;
    begin(&wire, OK_FLAGS, 3, DNS_A); /* in no good order */
    put_record(&wire, BYTES("\1b\0"), ns_t_a, 60, BYTES("\x0a\0\0\5"));
    put_record(&wire, BYTES("\1a\0"), ns_t_cname, 5, BYTES("\1b\0"));
    put_record(&wire, BYTES(POINTER), ns_t_cname, 20, BYTES("\1a\0"));
    ck_assert_int_eq(parse(&wire, DNS_A, &reply), DNS_OK);
    ck_assert_uint_eq(reply.n, 1);
    ck_assert_uint_eq(reply.ttl_s, 5);
}
END_TEST

START_TEST(aliases_in_a_circle_end)
{
    struct wire wire;
    struct dns_reply reply;
    begin(&wire, OK_FLAGS, 2, DNS_A);
    put_record(&wire, BYTES(POINTER), ns_t_cname, 20, BYTES("\1a\0"));
    put_record(&wire, BYTES("\1a\0"), ns_t_cname, 20, BYTES(POINTER));
    ck_assert_int_eq(parse(&wire, DNS_A, &reply), DNS_LOOP);
}
END_TEST

START_TEST(no_more_than_there_is_room_for)
{
    struct wire wire;
    struct dns_reply reply;
    begin(&wire, OK_FLAGS, DNS_ANSWERS_MAX + 6, DNS_A);
    for (int i = 0; i < DNS_ANSWERS_MAX + 6; i++) {
        put_record(&wire, BYTES(POINTER), ns_t_a, 60, (char[]){10, 0, 0, (char)(i + 1)}, 4);
    }
    ck_assert_int_eq(parse(&wire, DNS_A, &reply), DNS_OK);
    ck_assert_uint_eq(reply.n, DNS_ANSWERS_MAX);
    ck_assert_uint_eq(reply.n_left_out, 6);
}
END_TEST

/* A server that turns its records round gives the same ones each time. */
START_TEST(which_ones_are_taken_does_not_depend_on_their_order)
{
    enum { N = DNS_ANSWERS_MAX + 6 };
    unsigned missing = 0;
    for (int first = 0; first < N; first += 7) {
        struct wire wire;
        struct dns_reply reply;
        bool is_in[N] = {false};
        begin(&wire, OK_FLAGS, N, DNS_A);
        for (int i = 0; i < N; i++) {
            put_record(&wire, BYTES(POINTER), ns_t_a, 60,
                       (char[]){10, 0, 0, (char)((first + i) % N)}, 4);
        }
        ck_assert_int_eq(parse(&wire, DNS_A, &reply), DNS_OK);
        for (size_t i = 0; i < reply.n; i++) {
            is_in[reply.ips[i].bytes[3]] = true;
        }
        for (int i = 0; i < DNS_ANSWERS_MAX; i++) {
            missing += !is_in[i];
        }
    }
    ck_assert_uint_eq(missing, 0);
}
END_TEST

START_TEST(services_are_taken)
{
    struct wire wire;
    struct dns_reply reply;
    begin(&wire, OK_FLAGS, 2, DNS_SRV);
    put_record(&wire, BYTES(POINTER), ns_t_srv, 9, BYTES("\0\1\0\5\x1f\x90\3web\xc0\x10"));
    put_record(&wire, BYTES(POINTER), ns_t_srv, 9, BYTES("\0\1\0\5\x1f\x90\0")); /* "." */
    ck_assert_int_eq(parse(&wire, DNS_SRV, &reply), DNS_OK);
    ck_assert_uint_eq(reply.n, 1);
    ck_assert_str_eq(reply.targets[0].name, "web.example.net");
    ck_assert_uint_eq(reply.targets[0].priority, 1);
    ck_assert_uint_eq(reply.targets[0].weight, 5);
    ck_assert_uint_eq(reply.targets[0].port, 8080);
}
END_TEST

/* --- bad ones --- */

START_TEST(codes_are_told)
{
    static const struct {
        uint16_t code;
        enum dns_outcome outcome;
    } cases[] = {{0, DNS_EMPTY}, {1, DNS_ERROR},   {2, DNS_SERVFAIL}, {3, DNS_NXDOMAIN},
                 {4, DNS_ERROR}, {5, DNS_REFUSED}, {15, DNS_ERROR}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct wire wire;
        struct dns_reply reply;
        begin(&wire, OK_FLAGS | cases[i].code, 0, DNS_A);
        ck_assert_int_eq(parse(&wire, DNS_A, &reply), cases[i].outcome);
        wire.len = 12; /* the same without the question */
        wire.bytes[5] = 0;
        ck_assert_int_eq(parse(&wire, DNS_A, &reply),
                         cases[i].code == 0 ? DNS_MISMATCH : cases[i].outcome);
    }
}
END_TEST

START_TEST(what_answers_something_else_is_no_answer)
{
    struct wire good, wire;
    struct dns_reply reply;
    begin(&good, OK_FLAGS, 1, DNS_A);
    put_record(&good, BYTES(POINTER), ns_t_a, 60, BYTES("\x0a\0\0\5"));
    ck_assert_int_eq(parse(&good, DNS_A, &reply), DNS_OK);
    ck_assert_int_eq(parse(&good, DNS_AAAA, &reply), DNS_MISMATCH);
    wire = good;
    wire.bytes[1] ^= 1; /* the id */
    ck_assert_int_eq(parse(&wire, DNS_A, &reply), DNS_MISMATCH);
    wire = good;
    wire.bytes[2] &= 0x7f; /* a question */
    ck_assert_int_eq(parse(&wire, DNS_A, &reply), DNS_MISMATCH);
    wire = good;
    wire.bytes[13] = 'x'; /* another name */
    ck_assert_int_eq(parse(&wire, DNS_A, &reply), DNS_MISMATCH);
    wire = good;
    wire.len = 11;
    ck_assert_int_eq(parse(&wire, DNS_A, &reply), DNS_MISMATCH);
}
END_TEST

START_TEST(what_is_cut_short_is_told)
{
    struct wire wire;
    struct dns_reply reply;
    begin(&wire, OK_FLAGS | 0x0200, 1, DNS_A);
    ck_assert_int_eq(parse(&wire, DNS_A, &reply), DNS_TRUNCATED);
    put_record(&wire, BYTES(POINTER), ns_t_a, 60, BYTES("\x0a\0\0\5"));
    ck_assert_int_eq(parse(&wire, DNS_A, &reply), DNS_TRUNCATED);
}
END_TEST

START_TEST(garbage_is_told)
{
    static const struct {
        enum dns_type type;
        const char *owner;
        size_t n_owner;
        uint16_t record;
        const char *data;
        size_t n;
    } cases[] = {
        {DNS_A, BYTES(POINTER), ns_t_a, BYTES("\x0a\0\0")},     /* too short … */
        {DNS_A, BYTES(POINTER), ns_t_a, BYTES("\x0a\0\0\5\6")}, /* … and too long */
        {DNS_AAAA, BYTES(POINTER), ns_t_aaaa, BYTES("\x0a\0\0\5")},
        {DNS_A, BYTES("\xc0\x21"), ns_t_a, BYTES("\x0a\0\0\5")},        /* points to itself */
        {DNS_A, BYTES("\xc3\xff"), ns_t_a, BYTES("\x0a\0\0\5")},        /* behind the end */
        {DNS_A, BYTES("\x80\x0c"), ns_t_a, BYTES("\x0a\0\0\5")},        /* no length, no pointer */
        {DNS_A, BYTES(POINTER), ns_t_cname, BYTES("\xc0\x2d")},         /* an alias to itself */
        {DNS_SRV, BYTES(POINTER), ns_t_srv, BYTES("\0\1\0\5\x1f\x90")}, /* no target */
        {DNS_SRV, BYTES(POINTER), ns_t_srv, BYTES("\0\1\0\5\x1f\x90\x3f")},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct wire wire;
        struct dns_reply reply;
        begin(&wire, OK_FLAGS, 1, cases[i].type);
        put_record(&wire, cases[i].owner, cases[i].n_owner, cases[i].record, 60, cases[i].data,
                   cases[i].n);
        ck_assert_msg(parse(&wire, cases[i].type, &reply) == DNS_GARBAGE, "case %zu", i);
    }
}
END_TEST

START_TEST(every_cut_is_borne)
{
    struct wire wire;
    struct dns_reply reply;
    unsigned wrong = 0;
    begin(&wire, OK_FLAGS, 1, DNS_SRV);
    put_record(&wire, BYTES(POINTER), ns_t_srv, 9, BYTES("\0\1\0\5\x1f\x90\3web\xc0\x10"));
    for (size_t len = wire.len; len-- > 0;) {
        struct wire cut = wire;
        cut.len = len;
        enum dns_outcome outcome = parse(&cut, DNS_SRV, &reply);
        wrong += outcome != (len < 12 ? DNS_MISMATCH : DNS_GARBAGE);
    }
    ck_assert_uint_eq(wrong, 0);
}
END_TEST

START_TEST(a_time_of_32_bits_is_none)
{
    struct wire wire;
    struct dns_reply reply;
    begin(&wire, OK_FLAGS, 1, DNS_A);
    put_record(&wire, BYTES(POINTER), ns_t_a, 0xfffffff0, BYTES("\x0a\0\0\5"));
    ck_assert_int_eq(parse(&wire, DNS_A, &reply), DNS_OK);
    ck_assert_uint_eq(reply.ttl_s, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("dns/message");
    TCase *tcase = tcase_create("all");
    tcase_add_test(tcase, a_question_is_built);
    tcase_add_test(tcase, names_that_cannot_be_asked_for);
    tcase_add_test(tcase, addresses_are_taken);
    tcase_add_test(tcase, case_of_letters_is_nothing);
    tcase_add_test(tcase, addresses_that_no_host_has_are_none);
    tcase_add_test(tcase, aliases_are_followed);
    tcase_add_test(tcase, aliases_in_a_circle_end);
    tcase_add_test(tcase, no_more_than_there_is_room_for);
    tcase_add_test(tcase, which_ones_are_taken_does_not_depend_on_their_order);
    tcase_add_test(tcase, services_are_taken);
    tcase_add_test(tcase, codes_are_told);
    tcase_add_test(tcase, what_answers_something_else_is_no_answer);
    tcase_add_test(tcase, what_is_cut_short_is_told);
    tcase_add_test(tcase, garbage_is_told);
    tcase_add_test(tcase, every_cut_is_borne);
    tcase_add_test(tcase, a_time_of_32_bits_is_none);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
