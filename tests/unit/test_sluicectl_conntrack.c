/*
 * Doctor's judgement of tracked connections: what nft prints and the kernel counts in, a row out.
 * Nothing of this machine is read.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "sluicectl/doctor_judge.h"

static struct machine machine;
static struct doctor_firewall firewall;
static struct doctor_plan plan;
static struct doctor_report report;

static void setup(void)
{
    machine = (struct machine){.somaxconn = 4096};
    plan = (struct doctor_plan){.connections = 20000,
                                .whose = "this process",
                                .demand = {.workers = 2, .listeners = 2},
                                .ports = {80, 8080},
                                .n_ports = 2,
                                .firewall = &firewall,
                                .dials_tcp = true};
}

static void teardown(void)
{
    doctor_report_free(&report);
    doctor_firewall_free(&firewall);
    firewall.has_iptables = false;
}

static const struct doctor_row *judge(void)
{
    doctor_report_free(&report);
    doctor_judge(&machine, &plan, &report);
    for (size_t i = 0; i < report.n_rows; i++)
        if (strcmp(report.rows[i].setting, "net.netfilter.nf_conntrack_max") == 0)
            return &report.rows[i];
    ck_abort_msg("no row");
}

static void is(enum doctor_state state, const char *value)
{
    const struct doctor_row *found = judge();

    ck_assert_msg(found->state == state, "it is %s", doctor_state_names[found->state]);
    ck_assert_str_eq(str_text(&found->value), value);
}

#define says(text, part) ck_assert_msg(strstr(text, part) != NULL, "no \"%s\" in: %s", part, text)

#define CHAIN(family, hook, inside)                                                                \
    "table " family " t {\n\tchain c {\n\t\ttype filter hook " hook                                \
    " priority raw; policy accept;\n\t\t" inside "\n\t}\n}\n"
#define STATEFUL CHAIN("inet", "input", "ct state established accept")
#define NO_IN    CHAIN("inet", "prerouting", "tcp dport { 80, 8000-8100 } counter notrack")
#define NO_OUT   CHAIN("inet", "output", "tcp sport { 80, 8080 } notrack")

static const struct doctor_row *judge_with(const char *ruleset)
{
    str_free(&firewall.ruleset);
    str_append(&firewall.ruleset, ruleset);
    return judge();
}

/* Whether, and how much of a session: each of its two connections has an entry. */
START_TEST(tracked_connections)
{
    static const struct {
        const char *ruleset; /* "\n": there are none */
        uint64_t count, max;
        enum doctor_state state;
        const char *needed;
    } cases[] = {
        {"\n", 0, 10, DOCTOR_GOOD, "0"},
        {CHAIN("inet", "input", "tcp dport 80 accept"), 0, 10, DOCTOR_GOOD, "0"},
        {STATEFUL, 0, 40000, DOCTOR_GOOD, "40000"},
        {STATEFUL, 0, 39999, DOCTOR_SHORT, "40000"},
        {"table ip n {\n\tchain p {\n\t\ttype nat hook postrouting priority srcnat;\n\t}\n}\n", 0,
         10, DOCTOR_SHORT, "40000"},
        {"\n", 7, 40007, DOCTOR_GOOD, "40007"}, /* somebody has it so */
        {"\n", 7, 40006, DOCTOR_SHORT, "40007"},
        {STATEFUL NO_IN NO_OUT, 0, 19999, DOCTOR_SHORT, "20000"}, /* those of the backends */
        {STATEFUL NO_IN NO_OUT, 0, 20000, DOCTOR_GOOD, "20000"},
        {STATEFUL NO_IN, 0, 39999, DOCTOR_SHORT, "40000"}, /* what answers is tracked */
        {STATEFUL NO_OUT CHAIN("inet", "prerouting", "tcp dport 80 notrack"), 0, 39999,
         DOCTOR_SHORT, "40000"},
        {STATEFUL CHAIN("inet", "prerouting", "notrack") CHAIN("inet", "output", "notrack"), 0, 10,
         DOCTOR_GOOD, "0"},
        /* Of what is not understood nothing is claimed. */
        {STATEFUL NO_IN NO_OUT CHAIN("inet", "output", "ip daddr 10.0.0.1 notrack"), 0, 10,
         DOCTOR_ADVICE, "20000"},
        {STATEFUL CHAIN("ip", "prerouting", "tcp dport 80 notrack"), 0, 10, DOCTOR_ADVICE, "40000"},
        {STATEFUL CHAIN("inet", "prerouting", "tcp dport @web notrack"), 0, 10, DOCTOR_ADVICE,
         "40000"},
        {"", 5, 10, DOCTOR_ADVICE, "40005"},
        {"", 0, 10, DOCTOR_UNKNOWN, "40000"},
        {"", 0, 40000, DOCTOR_GOOD, "40000"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        machine.conntrack_count = cases[i].count;
        machine.conntrack_max = cases[i].max;
        const struct doctor_row *found = judge_with(cases[i].ruleset);
        ck_assert_msg(found->state == cases[i].state, "case %zu: %s", i,
                      doctor_state_names[found->state]);
        ck_assert_msg(strcmp(str_text(&found->needed), cases[i].needed) == 0, "case %zu: %s", i,
                      str_text(&found->needed));
    }
}
END_TEST

START_TEST(the_table_of_tracked_connections)
{
    machine.conntrack_max = 39999;
    machine.conntrack_count = 50;
    plan.active = 20; /* of which 40 are ours */
    is(DOCTOR_ADVICE, "40010");
    judge_with("\n");
    is(DOCTOR_SHORT, "40010");
    says(str_text(&judge()->remedy), "{ 80, 8080 } notrack");
    ck_assert_ptr_null(strstr(str_text(&judge_with(STATEFUL NO_IN NO_OUT)->remedy), "notrack"));
    plan.dials_tcp = false; /* to Unix sockets */
    ck_assert_str_eq(str_text(&judge_with(STATEFUL)->needed), "20030");
    machine.conntrack_is_fixed = true; /* then there is nothing to set here */
    machine.conntrack_max = 10;
    is(DOCTOR_SHORT, "");
    says(str_text(&judge()->remedy), "sysctl -w net.netfilter.nf_conntrack_max=20030 in "
                                     "the first network namespace");
    firewall.has_iptables = true;
    machine.conntrack_count = 0;
    is(DOCTOR_UNKNOWN, "");
    machine.conntrack_max = MACHINE_UNKNOWN;
    is(DOCTOR_GOOD, "");
    says(str_text(&judge()->why), "is not loaded");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sluicectl_conntrack");
    TCase *tcase = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, tracked_connections);
    tcase_add_test(tcase, the_table_of_tracked_connections);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
