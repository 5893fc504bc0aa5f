/*
 * The words in which explain is answered: by which rule a backend is chosen, and why not each of
 * the others. Only appends text, made of the figures that a worker has sent and of what its
 * configuration says. In master.
 */
#ifndef SLUICE_CTL_EXPLAIN_WORDS_H
#define SLUICE_CTL_EXPLAIN_WORDS_H

#include <stdbool.h>

#include "base/str.h"
#include "ctl/view.h"
#include "sluice/explanation.h"

struct sched_ops;

/* What the answer is told from. */
struct told {
    struct view view;
    struct standing standing; /* of the pool that was chosen from */
    const struct snapshot_service *service;
    const struct sched_ops *ops; /* of that pool */
    const struct explanation *explanation;
    struct explanation_question question;
    bool certain;
    char client[ADDR_TEXT_MAX];
};

/* Where a client connects to when it was not said: what the service listens on first. *out stays as
 * it is where it listens on nothing. */
void explain_first_listener(const struct snapshot_header *snapshot,
                            const struct snapshot_service *service, struct addr_ip *out);
/* How many of the others are of the pool that was chosen from. */
uint32_t explain_count_of_pool(const struct explanation *explanation);
/* Under a fallback: whether a port is what some of the service's own pool lack. */
bool explain_own_lack_ports(const struct explanation *explanation);
/* The backend that the client would get; NULL: none. */
const char *explain_chosen_name(const struct told *told);
/* Whether the rule goes by something that was neither said nor is it known. */
bool explain_presumes(const struct told *told);

/* Append: the rule; why the chosen pool's backend of that index is not the one; and, under a
 * fallback, why one of the service's own pool is not, of which own is told. */
void explain_rule(const struct told *told, struct str *out);
void explain_why_not(const struct told *told, uint32_t index, struct str *out);
void explain_why_not_own(const struct told *own, uint32_t index, enum why_not why, struct str *out);

#endif
