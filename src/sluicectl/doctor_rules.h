/*
 * What policy routing does with a packet that has a mark: ip(8)'s rules, in their order.
 */
#ifndef SLUICE_SLUICECTL_DOCTOR_RULES_H
#define SLUICE_SLUICECTL_DOCTOR_RULES_H

#include <stdbool.h>
#include <stdint.h>

#define DOCTOR_RULE_BYTES 192

/* Where a packet ends that comes in with the mark, from some backend to some client. */
struct doctor_way {
    bool is_local; /* it is delivered on this machine */
    /* The rule that sends all of them elsewhere, where they are not; "": none takes them. */
    char taker[DOCTOR_RULE_BYTES];
    /* The first one before that decides for some, of which it cannot be told which; "": none. */
    char doubt[DOCTOR_RULE_BYTES];
    bool may_be_local; /* one of these delivers them here */
};

/* rules and routes: as ip rule show and ip route show table all print them. */
void doctor_rules_follow(const char *rules, const char *routes, uint32_t mark,
                         struct doctor_way *out);
/* Whether some mark has packets delivered here; then which. */
bool doctor_rules_find(const char *rules, const char *routes, uint32_t *out_mark);

#endif
