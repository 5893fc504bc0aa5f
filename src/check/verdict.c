/*
 * What all checks of one slot say together: its health with the reason, and what they ask for. Pure
 * but for what is inherited. In the monitor.
 */
#include <stdio.h>
#include <string.h>

#include "check/probe.h"
#include "pool/eligibility.h"

/* --- health --- */

enum sb_health verdict_health(const struct watched *watched)
{
    enum sb_health health = watched->require_any ? SB_HEALTH_DOWN : SB_HEALTH_UP;
    bool is_silent = true;

    for (uint32_t i = 0; i < watched->n_links; i++) {
        const struct link *link = &watched->links[i];

        if (link->is_mute) {
            continue;
        }
        is_silent = false;
        health = watched->require_any ? health_combine_any(health, link->health.state)
                                      : health_combine(health, link->health.state);
    }
    return is_silent ? SB_HEALTH_UP : health;
}

/* --- its reason --- */

static const char *title_of(const struct link *link)
{
    return link->title[0] != '\0' ? link->title : link->probe->kind->name;
}

static bool is_labelled(const struct link *link)
{
    return strcmp(title_of(link), link->probe->kind->name) != 0;
}

/* "http:login: connect refused"; without a label "tcp check 2 of 3 (port 9000): connect refused";
 * of a single check the last part only. */
static void reason_of_check(const struct watched *watched, uint32_t i, const char *text,
                            char reason[static SB_REASON_MAX])
{
    const struct link *link = &watched->links[i];
    const struct addr *address = &link->probe->key.address;
    char port[16] = "";

    if (watched->n_links == 1) {
        (void)snprintf(reason, SB_REASON_MAX, "%s", text);
        return;
    }
    if (is_labelled(link)) {
        (void)snprintf(reason, SB_REASON_MAX, "%s: %s", link->title, text);
        return;
    }
    if (address->ip.family != ADDR_UNIX) {
        (void)snprintf(port, sizeof(port), " (port %u)", address->ip.port);
    }
    (void)snprintf(reason, SB_REASON_MAX, "%.16s check %u of %u%s: %s", link->probe->kind->name,
                   i + 1, watched->n_links, port, text);
}

/* Why a check that is down has not come up: its failure, or that its passes are not yet enough. */
static void text_of_down(const struct link *link, char text[static SB_REASON_MAX])
{
    uint32_t needed = health_rise(&link->health, link->probe->key.check.rise);

    if (link->health.passed && link->health.doublings > 0) {
        (void)snprintf(text, SB_REASON_MAX, "%u of %u passes needed after flapping; before: %.56s",
                       link->health.streak, needed, link->probe->fail_reason);
    } else {
        (void)snprintf(text, SB_REASON_MAX, "%s", link->probe->fail_reason);
    }
}

/* The first check in that state about which there is something to say; n_links: none. */
static uint32_t find_link(const struct watched *watched, enum sb_health health)
{
    uint32_t i = 0;

    for (; i < watched->n_links; i++) {
        const struct link *link = &watched->links[i];
        bool is_clear = health == SB_HEALTH_UNKNOWN ||
                        (health == SB_HEALTH_UP ? link->health.passed : link->has_failed);

        if (!link->is_mute && link->health.state == health && is_clear) {
            break;
        }
    }
    return i;
}

/* "none of 2 checks passes: tcp: connect refused; http: HTTP 503" */
static void list_failures(const struct watched *watched, char reason[static SB_REASON_MAX])
{
    size_t used =
        (size_t)snprintf(reason, SB_REASON_MAX, "none of %u checks passes", watched->n_links);
    const char *separator = ": ";

    for (uint32_t i = 0; i < watched->n_links && used < SB_REASON_MAX; i++) {
        const struct link *link = &watched->links[i];
        char text[SB_REASON_MAX];

        if (link->has_failed) {
            text_of_down(link, text);
            used += (size_t)snprintf(reason + used, SB_REASON_MAX - used, "%s%s: %s", separator,
                                     title_of(link), text);
            separator = "; ";
        }
    }
}

static bool reason_of_down(const struct watched *watched, char reason[static SB_REASON_MAX])
{
    uint32_t i = find_link(watched, SB_HEALTH_DOWN);
    char text[SB_REASON_MAX];

    if (i == watched->n_links) {
        return false;
    }
    if (watched->require_any && watched->n_links > 1) {
        list_failures(watched, reason);
        return true;
    }
    text_of_down(&watched->links[i], text);
    reason_of_check(watched, i, text, reason);
    return true;
}

static bool reason_of_up(const struct watched *watched, char reason[static SB_REASON_MAX])
{
    const struct link *links = watched->links;
    uint32_t i = find_link(watched, SB_HEALTH_UP);
    uint32_t n_mute = 0;

    for (uint32_t k = 0; k < watched->n_links; k++) {
        n_mute += links[k].is_mute;
    }
    if (watched->n_links == 1) {
        if ((n_mute == 0 && i == watched->n_links) || links[0].probe->reason[0] == '\0') {
            return false;
        }
        reason_of_check(watched, 0, links[0].probe->reason, reason);
    } else if (!watched->require_any || n_mute == watched->n_links) {
        (void)snprintf(reason, SB_REASON_MAX,
                       n_mute == 0 ? "all %u checks pass"
                                   : "%u of %u checks pass, the rest says nothing",
                       watched->n_links - n_mute, watched->n_links);
    } else if (i < watched->n_links) {
        (void)snprintf(reason, SB_REASON_MAX, "any of %u: %s passes", watched->n_links,
                       title_of(&links[i]));
    } else {
        return false;
    }
    return true;
}

bool verdict_reason(const struct watched *watched, enum sb_health health,
                    char reason[static SB_REASON_MAX])
{
    uint32_t unknown = find_link(watched, SB_HEALTH_UNKNOWN);

    if (health == SB_HEALTH_UP) {
        return reason_of_up(watched, reason);
    }
    if (health == SB_HEALTH_DOWN) {
        return reason_of_down(watched, reason);
    }
    if (unknown == watched->n_links) {
        return false;
    }
    reason_of_check(watched, unknown, "no result yet", reason);
    return true;
}

/* --- what they ask for --- */

static uint32_t least(uint32_t a, uint32_t b)
{
    return a < b ? a : b; /* CHECK_NOT_SAID is the largest */
}

static uint32_t severest(uint32_t a, uint32_t b)
{
    if (a == CHECK_NOT_SAID || b == CHECK_NOT_SAID) {
        return least(a, b);
    }
    return a > b ? a : b;
}

/* 0 is no limit, which is more than any. */
static uint32_t least_limit(uint32_t a, uint32_t b)
{
    if (a == 0 || b == 0) {
        uint32_t other = a == 0 ? b : a;

        return other == CHECK_NOT_SAID ? 0 : other;
    }
    return least(a, b);
}

/* Whether what was asked before this engine was there may still come from one of the checks. */
static bool may_be_inherited(const struct watched *watched)
{
    for (uint32_t i = 0; i < watched->n_links; i++) {
        const struct link *link = &watched->links[i];

        if (link->probe->kind->is_advisory || link->health.streak == 0) {
            return true;
        }
    }
    return false;
}

static uint32_t said_or(uint32_t *inherited, uint32_t said)
{
    if (said != CHECK_NOT_SAID) {
        *inherited = CHECK_NOT_SAID;
    }
    return said != CHECK_NOT_SAID ? said : *inherited;
}

struct asked verdict_asked(struct watched *watched)
{
    struct asked *inherited = &watched->inherited;
    struct asked all = ASKED_NOTHING;

    for (uint32_t i = 0; i < watched->n_links; i++) {
        const struct asked *one = &watched->links[i].probe->asked;

        all.weight_permille = least(all.weight_permille, one->weight_permille);
        all.admin = severest(all.admin, one->admin);
        all.max_connections = least_limit(all.max_connections, one->max_connections);
    }
    if (!may_be_inherited(watched)) {
        *inherited = ASKED_NOTHING;
    }
    all.weight_permille = said_or(&inherited->weight_permille, all.weight_permille);
    all.admin = said_or(&inherited->admin, all.admin);
    all.max_connections = said_or(&inherited->max_connections, all.max_connections);
    return all;
}

void verdict_asked_text(const struct asked *asked, char text[static SB_REASON_MAX])
{
    char weight[32] = "", limit[48] = "";
    const char *admin = asked->admin < ADMIN_COUNT ? admin_state_names[asked->admin] : "";
    const char *parts[] = {weight, admin, limit};
    size_t used = 0;

    if (asked->weight_permille != CHECK_NOT_SAID) {
        (void)snprintf(weight, sizeof(weight), "weight %g%%", asked->weight_permille / 10.0);
    }
    if (asked->max_connections != CHECK_NOT_SAID) {
        (void)snprintf(limit, sizeof(limit),
                       asked->max_connections != 0 ? "at most %u connections" : "no limit",
                       asked->max_connections);
    }
    (void)snprintf(text, SB_REASON_MAX, "nothing");
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        if (parts[i][0] != '\0') {
            used += (size_t)snprintf(text + used, SB_REASON_MAX - used, "%s%s",
                                     used > 0 ? ", " : "", parts[i]);
        }
    }
}
