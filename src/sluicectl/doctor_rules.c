/*
 * Follows a packet through the rules of policy routing: the first that fits, and whose table has a
 * route for it, decides (ip-rule(8), net/core/fib_rules.c: fib_rules_lookup). Pure. In sluicectl.
 */
#include "sluicectl/doctor_rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sluicectl/doctor_firewall.h"

#define TABLE_BYTES 32

/* --- routes --- */

/* For which addresses of clients a table has a route. */
enum reach { REACH_NONE, REACH_SOME, REACH_ALL, REACH_LOCAL /* all, delivered here */ };

static bool begins(const char *line, const char *word)
{
    return strncmp(line, word, strlen(word)) == 0;
}

/* "default via 10.1.0.1 dev eth0", "unreachable default dev lo" */
static bool is_default(const char *line)
{
    static const char *const kinds[] = {"unicast ", "unreachable ", "blackhole ", "prohibit "};

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (begins(line, kinds[i]))
            line += strlen(kinds[i]);
    return begins(line, "default ");
}

/* Of a line such as "local default dev lo table 100 scope host"; without a table's name it is of
 * main. Those of single addresses and the like are for this machine itself. */
static enum reach reach_of_route(const char *line, const char *table)
{
    const char *at = strstr(line, " table ");
    char name[TABLE_BYTES] = "main";

    if (at)
        (void)sscanf(at, " table %31s", name);
    if (strcmp(name, table) != 0)
        return REACH_NONE;
    if (begins(line, "local default "))
        return REACH_LOCAL;
    if (begins(line, "local ") || begins(line, "broadcast ") || begins(line, "multicast ") ||
        begins(line, "anycast ") || begins(line, "throw "))
        return REACH_NONE;
    return is_default(line) ? REACH_ALL : REACH_SOME;
}

static enum reach reach_of_table(const char *routes, const char *table, bool without_default)
{
    enum reach most = REACH_NONE;
    char line[512];

    while (doctor_tool_line(&routes, line, sizeof(line))) {
        enum reach reach = reach_of_route(line, table);

        if (reach > most && !(without_default && reach > REACH_SOME))
            most = reach;
    }
    return most;
}

/* --- rules --- */

/* Which of the packets with the mark a rule is for. */
enum fits { FITS_NONE, FITS_SOME, FITS_ALL };

struct rule {
    unsigned long priority, target; /* target: of goto, else 0 */
    enum fits fits;
    bool is_inverse, is_refusal;
    bool has_mark;
    uint32_t mark;
    bool without_default; /* suppress_prefixlength */
    char table[TABLE_BYTES];
};

static void take_mark(const char *value, uint32_t mark, struct rule *out)
{
    char *end;
    uint32_t wanted = (uint32_t)strtoul(value, &end, 0);
    uint32_t mask = *end == '/' ? (uint32_t)strtoul(end + 1, NULL, 0) : UINT32_MAX;

    out->has_mark = true;
    out->mark = wanted;
    if ((mark & mask) != wanted)
        out->fits = FITS_NONE;
}

static void narrow(struct rule *out, enum fits fits)
{
    out->fits = fits < out->fits ? fits : out->fits;
}

/* Packets come from another machine, by TCP: none is from this one, a socket or a user. */
static void take_condition(const char *key, const char *value, uint32_t mark, struct rule *out)
{
    static const char *const some[] = {"tos", "dsfield", "sport", "dport", "tun_id", "iif"};

    if (strcmp(key, "fwmark") == 0)
        take_mark(value, mark, out);
    else if (strcmp(key, "from") == 0 || strcmp(key, "to") == 0)
        narrow(out, strcmp(value, "all") == 0 ? FITS_ALL : FITS_SOME);
    else if (strcmp(key, "ipproto") == 0)
        narrow(out, strcmp(value, "tcp") == 0 || strcmp(value, "6") == 0 ? FITS_ALL : FITS_NONE);
    else if (strcmp(key, "oif") == 0 || strcmp(key, "uidrange") == 0 ||
             (strcmp(key, "iif") == 0 && strcmp(value, "lo") == 0))
        narrow(out, FITS_NONE);
    for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++)
        if (strcmp(key, some[i]) == 0)
            narrow(out, FITS_SOME);
}

static void take_action(const char *key, const char *value, struct rule *out)
{
    if (strcmp(key, "lookup") == 0)
        snprintf(out->table, sizeof(out->table), "%.*s", TABLE_BYTES - 1, value);
    else if (strcmp(key, "goto") == 0)
        out->target = strtoul(value, NULL, 10);
    else if (strcmp(key, "suppress_prefixlength") == 0)
        out->without_default = true;
    else if (strcmp(key, "blackhole") == 0 || strcmp(key, "unreachable") == 0 ||
             strcmp(key, "prohibit") == 0)
        out->is_refusal = true;
    else if (strcmp(key, "not") == 0)
        out->is_inverse = true;
}

/* "32765:\tfrom all fwmark 0x1/0xff lookup 100". */
static struct rule read_rule(const char *line, uint32_t mark)
{
    struct rule rule = {.fits = FITS_ALL};
    char words[DOCTOR_RULE_BYTES], *at = words, *key, *value = NULL;

    rule.priority = strtoul(line, NULL, 10);
    snprintf(words, sizeof(words), "%s", strchr(line, ':') ? strchr(line, ':') + 1 : line);
    for (key = strsep(&at, " \t"); key; key = value) {
        value = strsep(&at, " \t");
        take_condition(key, value ? value : "", mark, &rule);
        take_action(key, value ? value : "", &rule);
    }
    if (rule.is_inverse)
        rule.fits = rule.fits == FITS_SOME  ? FITS_SOME
                    : rule.fits == FITS_ALL ? FITS_NONE
                                            : FITS_ALL;
    return rule;
}

/* The table local has addresses of this machine only, and no client's. */
static enum reach reach_of_rule(const struct rule *rule, const char *routes)
{
    if (rule->is_refusal)
        return REACH_ALL;
    if (rule->table[0] == '\0' || strcmp(rule->table, "local") == 0)
        return REACH_NONE;
    return reach_of_table(routes, rule->table, rule->without_default);
}

static void note(char out[static DOCTOR_RULE_BYTES], const char *line)
{
    snprintf(out, DOCTOR_RULE_BYTES, "%s", line);
    for (char *at = out; *at; at++)
        *at = *at == '\t' ? ' ' : *at;
}

void doctor_rules_follow(const char *rules, const char *routes, uint32_t mark,
                         struct doctor_way *out)
{
    char line[DOCTOR_RULE_BYTES];
    unsigned long from = 0;

    *out = (struct doctor_way){0};
    while (doctor_tool_line(&rules, line, sizeof(line))) {
        struct rule rule = read_rule(line, mark);
        enum reach reach = reach_of_rule(&rule, routes);

        if (rule.fits == FITS_NONE || rule.priority < from)
            continue;
        if (rule.fits == FITS_ALL && rule.target > 0) {
            from = rule.target;
        } else if (rule.fits == FITS_ALL && reach >= REACH_ALL) {
            out->is_local = reach == REACH_LOCAL;
            if (!out->is_local)
                note(out->taker, line);
            return;
        } else if (reach != REACH_NONE || rule.target > 0) {
            out->may_be_local |= reach == REACH_LOCAL;
            if (out->doubt[0] == '\0')
                note(out->doubt, line);
        }
    }
}

bool doctor_rules_find(const char *rules, const char *routes, uint32_t *out_mark)
{
    const char *at = rules;
    char line[DOCTOR_RULE_BYTES];

    while (doctor_tool_line(&at, line, sizeof(line))) {
        struct rule rule = read_rule(line, 0);
        struct doctor_way way;

        if (!rule.has_mark || rule.is_inverse)
            continue;
        doctor_rules_follow(rules, routes, rule.mark, &way);
        if (way.is_local) {
            *out_mark = rule.mark;
            return true;
        }
    }
    return false;
}
