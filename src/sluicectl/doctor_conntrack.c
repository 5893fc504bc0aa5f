/*
 * Judges the table of tracked connections. Pure. In sluicectl.
 *
 * The kernel tracks where a rule asks for it (net/netfilter/nf_conntrack_proto.c,
 * nf_ct_netns_get), what no rule exempts by notrack before (nft(8)); the table's size is from
 * networking/nf_conntrack-sysctl.rst.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sluicectl/doctor_judge.h"

/* --- rules --- */

enum hook { HOOK_NONE, HOOK_PREROUTING, HOOK_OUTPUT };

/* What the rules exempt. */
struct exemptions {
    uint8_t in[MACHINE_PORTS / 8], out[MACHINE_PORTS / 8]; /* services' ports: to them, from them */
    bool all_in, all_out;
    bool is_odd; /* there are others, of which it cannot be told what they mean */
};

/* Whether a rule of nft, or of iptables in its tables, needs what is tracked. */
static bool asks_for_tracking(const char *ruleset)
{
    static const char *const words[] = {"\tct ",
                                        " ct ",
                                        "type nat ",
                                        "masquerade",
                                        "synproxy",
                                        "xt match \"conntrack\"",
                                        "xt match \"state\""};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strstr(ruleset, words[i]))
            return true;
    return false;
}

/* "80", or "{ 80, 8000-8010 }"; false where it is something else. */
static bool take_ports(const char *text, uint8_t ports[static MACHINE_PORTS / 8])
{
    unsigned first, last;
    int used;

    text += strspn(text, "{ ");
    while (sscanf(text, "%5u%n", &first, &used) == 1) {
        text += used;
        last = first;
        if (sscanf(text, "-%5u%n", &last, &used) == 1)
            text += used;
        for (unsigned port = first; port <= last && port < MACHINE_PORTS; port++)
            ports[port / 8] |= (uint8_t)(1U << port % 8);
        if (*text != ',')
            return true;
        text += strspn(text, ", ");
    }
    return false;
}

/* By addresses, interfaces, sets and the like. */
static bool has_conditions(const char *line)
{
    static const char *const words[] = {"addr", "if", "@", "mark", "!=", "fib", "vmap", "th "};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (strstr(line, words[i]))
            return true;
    return false;
}

/* A line with "notrack". */
static void take_exemption(const char *line, enum hook hook, struct exemptions *out)
{
    const char *key = hook == HOOK_PREROUTING ? "tcp dport " : "tcp sport ";
    const char *at = strstr(line, key);

    if (hook == HOOK_NONE || has_conditions(line))
        out->is_odd = true;
    else if (at)
        out->is_odd |= !take_ports(at + strlen(key), hook == HOOK_PREROUTING ? out->in : out->out);
    else if (strstr(line, "port "))
        out->is_odd = true;
    else if (hook == HOOK_PREROUTING)
        out->all_in = true;
    else
        out->all_out = true;
}

/* Only those of tables for both versions of IP are sure to mean all. */
static void find_exemptions(const char *ruleset, struct exemptions *out)
{
    enum hook hook = HOOK_NONE;
    bool is_inet = false;
    char line[2048];

    while (doctor_tool_line(&ruleset, line, sizeof(line))) {
        if (strncmp(line, "table ", strlen("table ")) == 0)
            is_inet = strncmp(line, "table inet ", strlen("table inet ")) == 0;
        if (strstr(line, "chain "))
            hook = HOOK_NONE;
        if (is_inet && strstr(line, " hook prerouting "))
            hook = HOOK_PREROUTING;
        if (is_inet && strstr(line, " hook output "))
            hook = HOOK_OUTPUT;
        if (strstr(line, "notrack"))
            take_exemption(line, hook, out);
        out->is_odd |= strstr(line, "xt target \"CT\"") != NULL;
    }
}

static bool has(const uint8_t ports[static MACHINE_PORTS / 8], uint16_t port)
{
    return ports[port / 8] >> port % 8 & 1;
}

static bool exempts_services(const struct exemptions *exempt, const struct doctor_plan *plan)
{
    bool all = true;

    for (size_t i = 0; i < plan->n_ports; i++)
        all &= (exempt->all_in || has(exempt->in, plan->ports[i])) &&
               (exempt->all_out || has(exempt->out, plan->ports[i]));
    return all;
}

/* --- the table --- */

enum tracking { TRACKS, TRACKS_NOT, MAY_TRACK };

static enum tracking find_tracking(const struct machine *machine, const struct doctor_plan *plan)
{
    const struct doctor_firewall *firewall = plan->firewall;

    if (machine->conntrack_count != MACHINE_UNKNOWN && machine->conntrack_count > 0)
        return TRACKS;
    if (!firewall || firewall->ruleset.len == 0 || firewall->has_iptables)
        return MAY_TRACK;
    return asks_for_tracking(str_text(&firewall->ruleset)) ? TRACKS : TRACKS_NOT;
}

static void append_notrack(const struct doctor_plan *plan, struct str *out)
{
    str_append(out,
               "or track nothing of the services: nft 'table inet sluice { chain in { type filter "
               "hook prerouting priority raw; tcp dport {");
    for (size_t i = 0; i < plan->n_ports; i++)
        str_printf(out, "%s%u", i > 0 ? ", " : " ", plan->ports[i]);
    str_append(out, " } notrack; }; chain out { type filter hook output priority raw; tcp sport {");
    for (size_t i = 0; i < plan->n_ports; i++)
        str_printf(out, "%s%u", i > 0 ? ", " : " ", plan->ports[i]);
    str_append(out, " } notrack; }; }', and the like for the backends' addresses");
}

static void advise(const struct machine *machine, const struct doctor_plan *plan, uint64_t needed,
                   bool services_are_exempt, struct doctor_row *row)
{
    bool with_notrack = plan->n_ports > 0 && !services_are_exempt;

    if (machine->conntrack_is_fixed)
        str_printf(&row->remedy,
                   "sysctl -w net.netfilter.nf_conntrack_max=%" PRIu64
                   " in the first network namespace (in this one it cannot be set)%s",
                   needed, with_notrack ? "; " : "");
    else
        str_printf(&row->value, "%" PRIu64, needed);
    if (with_notrack)
        append_notrack(plan, &row->remedy);
}

static bool judge_absent(const struct machine *machine, struct doctor_row *row)
{
    row->is_key = false;
    str_append(&row->needed, "-");
    if (!doctor_is_known(machine->somaxconn, row)) /* which every namespace shows */
        return true;
    str_append(&row->now, "-");
    str_append(&row->why, "connection tracking is not loaded");
    return true;
}

/* What is in the table beside the running daemon's. */
static uint64_t count_others(const struct machine *machine, const struct doctor_plan *plan,
                             uint64_t each)
{
    uint64_t ours = plan->active * each;

    if (machine->conntrack_count == MACHINE_UNKNOWN)
        return 0;
    return machine->conntrack_count > ours ? machine->conntrack_count - ours : 0;
}

static const char *explain_silence(const struct doctor_firewall *firewall)
{
    return firewall && firewall->ruleset.len == 0
               ? ": nft is not installed, or does not answer this user (ask as root)"
               : "";
}

static const char *explain(enum tracking tracking, bool services_are_exempt)
{
    if (tracking == TRACKS_NOT)
        return "no rule has connections tracked here";
    if (tracking == MAY_TRACK)
        return "nothing is tracked at present; whether a rule would have it so cannot be told";
    return services_are_exempt ? "rules exempt the services' ports"
                               : "connections are tracked here";
}

/* Entries of a session: one for each of its two connections, if that is TCP and tracked. */
static uint64_t count_each(const struct exemptions *exempt, const struct doctor_plan *plan)
{
    uint64_t clients = plan->n_ports > 0 && !exempts_services(exempt, plan);
    uint64_t backends = plan->dials_tcp && !(exempt->all_in && exempt->all_out);

    return clients + backends;
}

static void read_rules(const struct doctor_firewall *firewall, struct exemptions *out)
{
    if (firewall)
        find_exemptions(str_text(&firewall->ruleset), out);
    out->is_odd |= !firewall || firewall->ruleset.len == 0 || firewall->has_iptables;
}

/* A full table drops packets. */
static bool judge_conntrack(const struct machine *machine, const struct doctor_plan *plan,
                            struct doctor_row *row)
{
    struct exemptions exempt = {0};
    enum tracking tracking = find_tracking(machine, plan);

    if (machine->conntrack_max == MACHINE_UNKNOWN)
        return judge_absent(machine, row);
    read_rules(plan->firewall, &exempt);
    bool services_are_exempt = exempts_services(&exempt, plan);
    uint64_t each = tracking == TRACKS_NOT ? 0 : count_each(&exempt, plan);
    uint64_t needed = plan->connections * each + count_others(machine, plan, each);

    str_printf(&row->now, "%" PRIu64, machine->conntrack_max);
    str_printf(&row->needed, "%" PRIu64, needed);
    str_printf(&row->why,
               "%" PRIu64 " for each session, and packets are dropped when it is full; %s%s", each,
               explain(tracking, services_are_exempt),
               tracking == MAY_TRACK ? explain_silence(plan->firewall) : "");
    if (machine->conntrack_max >= needed)
        return true;
    row->state = tracking == MAY_TRACK ? DOCTOR_UNKNOWN
                 : exempt.is_odd       ? DOCTOR_ADVICE
                                       : DOCTOR_SHORT;
    if (tracking == TRACKS)
        advise(machine, plan, needed, services_are_exempt, row);
    if (row->state == DOCTOR_ADVICE)
        str_printf(&row->why, ", unless rules exempt them (notrack) that cannot be read here%s",
                   explain_silence(plan->firewall));
    return true;
}

const struct doctor_judge doctor_conntrack_judges[] = {
    {"net.netfilter.nf_conntrack_max", true, judge_conntrack},
    {0},
};
