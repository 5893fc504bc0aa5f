/*
 * Doctor's judgement of transparent pools: what ip and nft print in, rows out. Nothing of this
 * machine is read.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "sluicectl/doctor_judge.h"

#define CHAIN(family, hook)                                                                        \
    "table " family " x {\n\tchain y {\n\t\ttype filter hook " hook                                \
    " priority mangle; policy accept;\n"
#define RULE "\t\tmeta l4proto tcp socket transparent 1 meta mark set 0x00000007 accept\n\t}\n}\n"
#define RULES                                                                                      \
    "0:\tfrom all lookup local\n32765:\tfrom all fwmark 0x7 lookup 100\n32766:\tfrom all lookup "  \
    "main\n"
#define ROUTES                                                                                     \
    "local default dev lo table 100 scope host\ndefault via 10.1.0.1 dev eth0\nlocal 127.0.0.0/8 " \
    "dev lo table local proto kernel scope host src 127.0.0.1\n"

#define WG_QUICK                                                                                   \
    "1:\tfrom all lookup main suppress_prefixlength 0\n2:\tfrom all fwmark 0x7 lookup 100\n"

static struct doctor_return facts;
static struct doctor_firewall firewall;
static struct doctor_report report;

static void setup(void)
{
    facts = (struct doctor_return){.is_wanted = {true, false},
                                   .is_of_daemon = true,
                                   .capabilities = UINT64_C(1) << 13,
                                   .rp_filter = 1};
}

static void teardown(void)
{
    doctor_report_free(&report);
    doctor_return_free(&facts);
    doctor_firewall_free(&firewall);
    firewall = (struct doctor_firewall){0};
}

static const struct doctor_row *judge(const char *setting)
{
    static const struct machine machine;
    struct doctor_plan plan = {.whose = "me",
                               .demand = {.workers = 1,
                                          .ports.pairs = 1,
                                          .services = CAPACITY_UNBOUNDED,
                                          .backends = CAPACITY_UNBOUNDED},
                               .way_back = &facts,
                               .firewall = &firewall};

    doctor_report_free(&report);
    doctor_judge(&machine, &plan, &report);
    for (size_t i = 0; i < report.n_rows; i++) {
        if (strcmp(report.rows[i].setting, setting) == 0) {
            return &report.rows[i];
        }
    }
    return NULL;
}

static void set(struct str *text, const char *to)
{
    str_free(text);
    str_append(text, to);
}

START_TEST(marks)
{
    static const struct {
        const char *ruleset;
        enum doctor_state state;
    } cases[] = {
        {"", DOCTOR_UNKNOWN},
        {"\n", DOCTOR_SHORT},
        {CHAIN("inet", "prerouting") RULE, DOCTOR_GOOD},
        {CHAIN("ip", "prerouting") RULE, DOCTOR_GOOD},
        {CHAIN("ip6", "prerouting") RULE, DOCTOR_SHORT},
        {CHAIN("inet", "input") RULE, DOCTOR_SHORT},
        {CHAIN("inet", "input") "\t}\n\tchain jumped {\n" RULE, DOCTOR_GOOD},
        {CHAIN("inet", "prerouting") "\t\tsocket transparent 1 accept\n\t}\n}\n", DOCTOR_SHORT},
        {CHAIN("ip", "prerouting") "\t\tip protocol tcp xt match \"socket\" counter\n\t}\n}\n",
         DOCTOR_UNKNOWN},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        set(&firewall.ruleset, cases[i].ruleset);
        ck_assert_msg(judge("transparent: mark of replies")->state == cases[i].state, "%zu", i);
    }
    set(&firewall.ruleset, "\n");
    firewall.has_iptables = true;
    ck_assert_int_eq(judge("transparent: mark of replies")->state, DOCTOR_UNKNOWN);
}
END_TEST

START_TEST(routes)
{
    static const struct {
        const char *rules, *routes;
        enum doctor_state state;
    } cases[] = {
        {RULES, ROUTES, DOCTOR_GOOD},
        {"", ROUTES, DOCTOR_UNKNOWN},
        {"0:\tfrom all lookup local\n", ROUTES, DOCTOR_SHORT},
        {RULES, "default via 10.1.0.1 dev eth0\n", DOCTOR_SHORT},
        {RULES, "local default dev lo table 101 scope host\n", DOCTOR_SHORT},
        {RULES, "default dev lo table 100 scope link\n", DOCTOR_SHORT},
        {"1:\tfrom all fwmark 0x8 lookup 100\n", ROUTES, DOCTOR_SHORT},
        {"1:\tfrom all fwmark 0x3/0x3 lookup 100\n", ROUTES, DOCTOR_GOOD},
        {"1:\tnot from all fwmark 0x7 lookup 100\n", ROUTES, DOCTOR_SHORT},
        /* The first that fits and has a route decides. */
        {"1:\tfrom all lookup main\n2:\tfrom all fwmark 0x7 lookup 100\n", ROUTES, DOCTOR_SHORT},
        {"1:\tnot from all fwmark 0x8 lookup main\n2:\tfrom all fwmark 0x7 lookup 100\n", ROUTES,
         DOCTOR_SHORT},
        {"1:\tnot from all fwmark 0x7 lookup main\n2:\tfrom all fwmark 0x7 lookup 100\n", ROUTES,
         DOCTOR_GOOD},
        {"1:\tfrom all fwmark 0x7 lookup 9\n2:\tfrom all fwmark 0x7 lookup 100\n", ROUTES,
         DOCTOR_GOOD},
        {"1:\tfrom all fwmark 0x7 blackhole\n2:\tfrom all fwmark 0x7 lookup 100\n", ROUTES,
         DOCTOR_SHORT},
        {"1:\tfrom all iif lo lookup main\n2:\tfrom all fwmark 0x7 lookup 100\n", ROUTES,
         DOCTOR_GOOD},
        {"1:\tfrom all ipproto udp lookup main\n2:\tfrom all fwmark 0x7 lookup 100\n", ROUTES,
         DOCTOR_GOOD},
        {"1:\tfrom all uidrange 1-2 lookup main\n2:\tfrom all fwmark 0x7 lookup 100\n", ROUTES,
         DOCTOR_GOOD},
        {"1:\tfrom all goto 3\n2:\tfrom all fwmark 0x7 lookup 100\n3:\tfrom all lookup main\n",
         ROUTES, DOCTOR_SHORT},
        {"1:\tfrom all goto 3\n2:\tfrom all lookup main\n3:\tfrom all fwmark 0x7 lookup 100\n",
         ROUTES, DOCTOR_GOOD},
        {"1:\tfrom 10.2.0.0/16 lookup main\n2:\tfrom all fwmark 0x7 lookup 100\n", ROUTES,
         DOCTOR_UNKNOWN},
        {WG_QUICK, ROUTES, DOCTOR_GOOD},
        {WG_QUICK, ROUTES "10.1.0.0/16 dev eth0\n", DOCTOR_UNKNOWN},
        {"1:\tfrom all lookup main\n2:\tfrom all fwmark 0x7 lookup 100\n",
         "local default dev lo table 100 scope host\n10.1.0.0/16 dev eth0\n", DOCTOR_UNKNOWN},
        {"1:\tfrom all fwmark 0x7 iif eth0 lookup 100\n2:\tfrom all lookup main\n", ROUTES,
         DOCTOR_UNKNOWN},
        {"1:\tfrom all lookup 5\n2:\tfrom all fwmark 0x7 lookup 100\n",
         ROUTES "unreachable default dev lo table 5\n", DOCTOR_SHORT},
        {"1:\tfrom all fwmark 0x8 lookup 9\n2:\tfrom all fwmark 0x7 lookup 100\n", ROUTES,
         DOCTOR_GOOD},
    };

    set(&firewall.ruleset, CHAIN("inet", "prerouting") RULE);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        set(&facts.rules[DOCTOR_IPV4], cases[i].rules);
        set(&facts.routes[DOCTOR_IPV4], cases[i].routes);
        ck_assert_msg(judge("transparent: IPv4 route")->state == cases[i].state, "%zu", i);
    }
    ck_assert_ptr_null(judge("transparent: IPv6 route"));
    facts.is_wanted[DOCTOR_IPV6] = true;
    set(&facts.rules[DOCTOR_IPV6], "0:\tfrom all lookup local\n");
    ck_assert_str_eq(str_text(&judge("transparent: IPv6 route")->remedy),
                     "ip -6 rule add fwmark 7 lookup 100; ip -6 route add local default dev lo "
                     "table 100");
}
END_TEST

START_TEST(who_takes_them_is_told)
{
    set(&firewall.ruleset, CHAIN("inet", "prerouting") RULE);
    set(&facts.rules[DOCTOR_IPV4], "1:\tfrom all lookup main\n" RULES);
    set(&facts.routes[DOCTOR_IPV4], ROUTES);
    ck_assert_ptr_nonnull(strstr(str_text(&judge("transparent: IPv4 route")->why),
                                 "packets with mark 0x7 must be delivered"));
    ck_assert_ptr_nonnull(strstr(str_text(&judge("transparent: IPv4 route")->why),
                                 "; the rule \"1: from all lookup main\" takes them"));
    set(&facts.rules[DOCTOR_IPV4], "1:\tfrom 10.2.0.0/16 lookup main\n" RULES);
    ck_assert_ptr_nonnull(strstr(str_text(&judge("transparent: IPv4 route")->why),
                                 "the rule \"1: from 10.2.0.0/16 lookup main\" decides first"));
}
END_TEST

/* What is there already is built on. */
START_TEST(a_mark_that_is_routed_is_taken)
{
    set(&firewall.ruleset, "\n");
    set(&facts.rules[DOCTOR_IPV4], RULES);
    set(&facts.routes[DOCTOR_IPV4], ROUTES);
    ck_assert_int_eq(judge("transparent: IPv4 route")->state, DOCTOR_GOOD);
    ck_assert_ptr_nonnull(
        strstr(str_text(&judge("transparent: mark of replies")->remedy), "meta mark set 7;"));
}
END_TEST

START_TEST(the_right_to)
{
    facts.capabilities = 0;
    ck_assert_int_eq(judge("transparent: capability")->state, DOCTOR_SHORT);
    facts.is_of_daemon = false;
    ck_assert_int_eq(judge("transparent: capability")->state, DOCTOR_UNKNOWN);
    facts.capabilities = UINT64_C(1) << 12;
    ck_assert_int_eq(judge("transparent: capability")->state, DOCTOR_GOOD);
}
END_TEST

START_TEST(settings)
{
    ck_assert_int_eq(judge("net.ipv4.conf.all.src_valid_mark")->state, DOCTOR_GOOD);
    ck_assert_int_eq(judge("net.ipv4.conf.all.rp_filter")->state, DOCTOR_GOOD);
    ck_assert_int_eq(judge("net.ipv4.ip_nonlocal_bind")->state, DOCTOR_GOOD);
    ck_assert_int_eq(judge("net.ipv4.ip_forward")->state, DOCTOR_GOOD);
    facts.src_valid_mark = 1;
    strcpy(facts.valid_mark_at, "all");
    ck_assert_str_eq(str_text(&judge("net.ipv4.conf.all.src_valid_mark")->value), "0");
    strcpy(facts.valid_mark_at, "wg0");
    ck_assert_int_eq(judge("net.ipv4.conf.all.src_valid_mark")->state, DOCTOR_SHORT);
    ck_assert_uint_eq(judge("net.ipv4.conf.all.src_valid_mark")->value.len, 0);
    facts.is_wanted[DOCTOR_IPV4] = false;
    facts.is_wanted[DOCTOR_IPV6] = true;
    ck_assert_ptr_null(judge("net.ipv4.conf.all.src_valid_mark"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sluicectl_transparent");
    TCase *tcase = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, marks);
    tcase_add_test(tcase, routes);
    tcase_add_test(tcase, who_takes_them_is_told);
    tcase_add_test(tcase, a_mark_that_is_routed_is_taken);
    tcase_add_test(tcase, the_right_to);
    tcase_add_test(tcase, settings);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
