/*
 * Judges whether transparent pools can work here: the right to connect from clients' addresses, and
 * the way back of what backends send there. Pure. In sluicectl.
 *
 * How packets for addresses that are not this machine's are delivered on it is from the kernel's
 * documentation, networking/tproxy.rst; the settings from networking/ip-sysctl.rst.
 */
#include <inttypes.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sluicectl/doctor_judge.h"
#include "sluicectl/doctor_rules.h"

#define USUAL_MARK  1 /* and table: as tproxy.rst has them */
#define USUAL_TABLE 100

static const char *const versions[DOCTOR_FAMILY_COUNT] = {"IPv4", "IPv6"};

/* --- marks --- */

struct mark {
    bool is_set;
    bool is_known; /* its number is */
    uint32_t number;
};

static void take_table(const char *line, bool is_seen[static DOCTOR_FAMILY_COUNT])
{
    char family[16];

    if (sscanf(line, "table %15s", family) == 1) {
        is_seen[DOCTOR_IPV4] = strcmp(family, "inet") == 0 || strcmp(family, "ip") == 0;
        is_seen[DOCTOR_IPV6] = strcmp(family, "inet") == 0 || strcmp(family, "ip6") == 0;
    }
}

/* "socket transparent 1 meta mark set 0x00000001", in a chain of prerouting or one that may be
 * jumped to from there. */
static void find_marks(const char *ruleset, struct mark marks[static DOCTOR_FAMILY_COUNT])
{
    bool is_seen[DOCTOR_FAMILY_COUNT] = {false};
    bool is_early = false;
    char line[512];

    while (doctor_tool_line(&ruleset, line, sizeof(line))) {
        const char *set = strstr(line, "mark set ");
        const char *hook = strstr(line, " hook ");
        char *end = NULL;

        take_table(line, is_seen);
        if (strstr(line, "chain "))
            is_early = true;
        if (hook)
            is_early = strstr(hook, "prerouting") != NULL;
        if (!is_early || !set || !strstr(line, "socket transparent 1"))
            continue;
        uint32_t number = (uint32_t)strtoul(set + strlen("mark set "), &end, 0);
        for (size_t i = 0; i < DOCTOR_FAMILY_COUNT; i++)
            if (is_seen[i])
                marks[i] = (struct mark){true, end != set + strlen("mark set "), number};
    }
}

static void append_mark_command(uint32_t mark, struct str *out)
{
    str_printf(out,
               "nft 'table inet sluice_transparent { chain replies { type filter hook prerouting "
               "priority mangle; meta l4proto tcp socket transparent 1 meta mark set %" PRIu32
               "; }; }'",
               mark);
}

/* Legacy tables, and rules of iptables in new ones, are not understood here. */
static bool is_hidden(const struct doctor_firewall *firewall)
{
    return firewall->has_iptables || strstr(str_text(&firewall->ruleset), "xt match \"socket\"");
}

static const char *name_missing(const struct doctor_return *facts, const struct mark *marks)
{
    bool lacks4 = facts->is_wanted[DOCTOR_IPV4] && !marks[DOCTOR_IPV4].is_set;
    bool lacks6 = facts->is_wanted[DOCTOR_IPV6] && !marks[DOCTOR_IPV6].is_set;

    if (lacks4 && lacks6)
        return "IPv4 and IPv6";
    return lacks4 ? "IPv4" : lacks6 ? "IPv6" : NULL;
}

static void unknown(struct doctor_row *row, const char *why)
{
    row->state = DOCTOR_UNKNOWN;
    str_append(&row->now, "unknown");
    str_append(&row->why, why);
}

static bool judge_mark(const struct machine *machine, const struct doctor_plan *plan,
                       struct doctor_row *row)
{
    const struct doctor_return *facts = plan->way_back;
    struct mark marks[DOCTOR_FAMILY_COUNT] = {0};
    enum doctor_family family = DOCTOR_IPV4;
    uint32_t wanted = USUAL_MARK;
    const char *missing;

    (void)machine;
    if (!facts)
        return false;
    family = facts->is_wanted[DOCTOR_IPV4] ? DOCTOR_IPV4 : DOCTOR_IPV6;
    find_marks(str_text(&plan->firewall->ruleset), marks);
    missing = name_missing(facts, marks);
    str_append(&row->needed, "set");
    if (missing && plan->firewall->ruleset.len == 0) {
        unknown(row, "nft is not installed, or does not answer this user: ask as root");
        return true;
    }
    if (missing && is_hidden(plan->firewall)) {
        unknown(row, "rules of iptables are not looked at; one in mangle PREROUTING with -p tcp -m "
                     "socket --transparent should set a mark");
        return true;
    }
    str_append(&row->now, missing ? "not set" : "set");
    str_append(&row->why, "what backends answer is addressed to clients: packets of our own "
                          "connections get a mark, to be routed by");
    if (!missing)
        return true;
    str_printf(&row->why, "; no rule does it for %s", missing);
    row->state = DOCTOR_SHORT;
    (void)doctor_rules_find(str_text(&facts->rules[family]), str_text(&facts->routes[family]),
                            &wanted);
    append_mark_command(wanted, &row->remedy);
    return true;
}

/* --- routes --- */

/* Where the mark is not known, the one that leads here, if there is one. */
static uint32_t choose_mark(const struct doctor_plan *plan, enum doctor_family family)
{
    const struct doctor_return *facts = plan->way_back;
    struct mark marks[DOCTOR_FAMILY_COUNT] = {0};
    uint32_t mark = USUAL_MARK;

    find_marks(str_text(&plan->firewall->ruleset), marks);
    if (marks[family].is_known)
        return marks[family].number;
    (void)doctor_rules_find(str_text(&facts->rules[family]), str_text(&facts->routes[family]),
                            &mark);
    return mark;
}

static void tell_elsewhere(const struct doctor_way *way, enum doctor_family family, uint32_t mark,
                           struct doctor_row *row)
{
    const char *ip = family == DOCTOR_IPV4 ? "ip" : "ip -6";

    row->state = DOCTOR_SHORT;
    str_append(&row->now, "elsewhere");
    str_printf(&row->why,
               "packets with mark %#" PRIx32 " must be delivered on this machine, whatever %s "
               "address they are for; else the backends' answers never reach the daemon",
               mark, versions[family]);
    if (way->taker[0] != '\0')
        str_printf(&row->why, "; the rule \"%s\" takes them", way->taker);
    /* Without a priority it comes before all but the first (net/core/fib_rules.c). */
    str_printf(&row->remedy,
               "%s rule add fwmark %" PRIu32 " lookup %d; %s route add local default dev lo table "
               "%d",
               ip, mark, USUAL_TABLE, ip, USUAL_TABLE);
}

static bool judge_route(const struct doctor_plan *plan, enum doctor_family family,
                        struct doctor_row *row)
{
    const struct doctor_return *facts = plan->way_back;
    struct doctor_way way;
    uint32_t mark;

    if (!facts || !facts->is_wanted[family])
        return false;
    str_append(&row->needed, "local");
    if (facts->rules[family].len == 0) {
        unknown(row, "ip is not installed, or does not answer");
        return true;
    }
    mark = choose_mark(plan, family);
    doctor_rules_follow(str_text(&facts->rules[family]), str_text(&facts->routes[family]), mark,
                        &way);
    if (way.is_local ? way.doubt[0] != '\0' : way.may_be_local) {
        unknown(row, "");
        str_printf(&row->why,
                   "the rule \"%s\" decides first for some packets with mark %#" PRIx32
                   ", and it cannot be told whether answers of backends are among them",
                   way.doubt, mark);
    } else if (way.is_local) {
        str_append(&row->now, "local");
        str_printf(&row->why, "packets with mark %#" PRIx32 " are delivered on this machine", mark);
    } else {
        tell_elsewhere(&way, family, mark, row);
    }
    return true;
}

static bool judge_route4(const struct machine *machine, const struct doctor_plan *plan,
                         struct doctor_row *row)
{
    (void)machine;
    return judge_route(plan, DOCTOR_IPV4, row);
}

static bool judge_route6(const struct machine *machine, const struct doctor_plan *plan,
                         struct doctor_row *row)
{
    (void)machine;
    return judge_route(plan, DOCTOR_IPV6, row);
}

/* --- the right to --- */

/* systemd.exec(5): what is ambient must be in the bounding set, too, which the packaged unit
 * narrows; in a drop-in both add to what is there. */
static bool judge_capability(const struct machine *machine, const struct doctor_plan *plan,
                             struct doctor_row *row)
{
    const uint64_t either = UINT64_C(1) << CAP_NET_RAW | UINT64_C(1) << CAP_NET_ADMIN;
    const struct doctor_return *facts = plan->way_back;

    (void)machine;
    if (!facts)
        return false;
    str_append(&row->needed, "CAP_NET_RAW");
    row->directives[0] = "AmbientCapabilities";
    row->directives[1] = "CapabilityBoundingSet";
    str_append(&row->value, "CAP_NET_RAW");
    if (!doctor_is_known(facts->capabilities, row))
        return true;
    bool is_there = (facts->capabilities & either) != 0;

    str_append(&row->now, is_there ? "there" : "missing");
    str_printf(&row->why, "to connect from clients' addresses; of %s", plan->whose);
    if (is_there)
        return true;
    str_append(&row->remedy,
               "start the daemon as root, or with AmbientCapabilities=CAP_NET_RAW and "
               "CapabilityBoundingSet=CAP_NET_RAW in a drop-in for the unit (which "
               "--systemd prints), with transparent in the file");
    row->state = facts->is_of_daemon ? DOCTOR_SHORT : DOCTOR_UNKNOWN;
    return true;
}

/* --- settings --- */

/* With it the kernel looks for the way to a reply's sender by the reply's mark, finds it local, and
 * takes the packet for forged: so measured on Linux 6.18, whatever rp_filter says. */
static bool judge_valid_mark(const struct machine *machine, const struct doctor_plan *plan,
                             struct doctor_row *row)
{
    const struct doctor_return *facts = plan->way_back;

    (void)machine;
    if (!facts || !facts->is_wanted[DOCTOR_IPV4])
        return false;
    str_append(&row->needed, "0");
    if (!doctor_is_known(facts->src_valid_mark, row))
        return true;
    str_printf(&row->now, "%" PRIu64, facts->src_valid_mark);
    str_append(&row->why, "1, as wg-quick sets it, has marked replies dropped");
    if (facts->src_valid_mark == 0)
        return true;
    row->state = DOCTOR_SHORT;
    if (strcmp(facts->valid_mark_at, "all") == 0)
        str_append(&row->value, "0");
    else
        str_printf(&row->remedy, "sysctl -w net.ipv4.conf.%s.src_valid_mark=0",
                   facts->valid_mark_at);
    return true;
}

/* A setting that may be as it likes: told because it is often changed in vain. */
static bool tell(const struct doctor_plan *plan, uint64_t fact, const char *why,
                 struct doctor_row *row)
{
    if (!plan->way_back->is_wanted[DOCTOR_IPV4])
        return false;
    str_append(&row->needed, "any");
    if (!doctor_is_known(fact, row))
        return true;
    str_printf(&row->now, "%" PRIu64, fact);
    str_append(&row->why, why);
    return true;
}

static bool judge_rp_filter(const struct machine *machine, const struct doctor_plan *plan,
                            struct doctor_row *row)
{
    (void)machine;
    return plan->way_back &&
           tell(plan, plan->way_back->rp_filter,
                "the highest of all interfaces; with 1 a reply must come in by the interface that "
                "leads to its backend, 2 does not mind",
                row);
}

static bool judge_nonlocal_bind(const struct machine *machine, const struct doctor_plan *plan,
                                struct doctor_row *row)
{
    (void)machine;
    return plan->way_back && tell(plan, plan->way_back->nonlocal_bind,
                                  "not needed: the daemon says for each socket that its address is "
                                  "another's",
                                  row);
}

static bool judge_forward(const struct machine *machine, const struct doctor_plan *plan,
                          struct doctor_row *row)
{
    (void)machine;
    return plan->way_back && tell(plan, plan->way_back->ip_forward,
                                  "replies end here; 1 is for what else backends send through this "
                                  "machine when it is their gateway",
                                  row);
}

static bool judge_backends(const struct machine *machine, const struct doctor_plan *plan,
                           struct doctor_row *row)
{
    (void)machine;
    if (!plan->way_back)
        return false;
    str_append(&row->needed, "through here");
    unknown(row, "what backends send to clients must come through this machine, which cannot be "
                 "seen from here");
    str_append(&row->remedy,
               "on each backend: ip route replace default via an address of this machine");
    return true;
}

const struct doctor_judge doctor_transparent_judges[] = {
    {"transparent: capability", false, judge_capability},
    {"transparent: mark of replies", false, judge_mark},
    {"transparent: IPv4 route", false, judge_route4},
    {"transparent: IPv6 route", false, judge_route6},
    {"transparent: backends' routes", false, judge_backends},
    {"net.ipv4.conf.all.src_valid_mark", true, judge_valid_mark},
    {"net.ipv4.conf.all.rp_filter", true, judge_rp_filter},
    {"net.ipv4.ip_nonlocal_bind", true, judge_nonlocal_bind},
    {"net.ipv4.ip_forward", true, judge_forward},
    {0},
};
