/*
 * What a configuration asks of the machine, in figures that need no model any more. Pure.
 */
#ifndef SLUICE_SLUICECTL_DOCTOR_PLAN_H
#define SLUICE_SLUICECTL_DOCTOR_PLAN_H

#include "proc/capacity.h"
#include "sluicectl/doctor_firewall.h"
#include "sluicectl/doctor_return.h"

#define DOCTOR_PORTS_MAX (LISTENERS_MAX + 1)

struct doctor_plan {
    uint64_t connections; /* the scale */
    bool is_possible;     /* nothing asked for a scale: it is what is possible now */
    bool is_of_daemon;    /* nobody named the file: the running daemon did */
    const char *whose;    /* whose descriptors and control group the facts are of; never NULL */
    const char *note;     /* of the facts, to be told beside them; NULL or "": nothing */
    struct capacity_demand demand;
    struct capacity capacity;
    uint64_t buffer_bytes; /* that the file asks for; 0: auto */
    uint32_t backlog;      /* the longest queue of new connections … */
    char backlog_service[NAME_BYTES_MAX];
    uint16_t ports[DOCTOR_PORTS_MAX]; /* listened on by TCP, status included; rising, each once */
    size_t n_ports;
    /* Of several services, the one that ports let hold the fewest of what is asked of it. "": they
     * all hold it. */
    char narrow_service[NAME_BYTES_MAX];
    uint64_t narrow_holds, narrow_asked;
    /* The service whose own max_connections the limits of its backends allow the least of;
     * likewise. */
    char limited_service[NAME_BYTES_MAX];
    uint64_t limited_allows, limited_asked;
    bool is_far; /* its network namespace cannot be entered: whose addresses are where is not known
                  */
    const struct doctor_return *way_back;   /* NULL: no pool is transparent, or it cannot be seen */
    const struct doctor_firewall *firewall; /* NULL: it cannot be seen, and neither is way_back */
    uint64_t active;                        /* connections of the running daemon */
    bool backends_are_local;                /* all on this machine: Unix sockets, 127/8, ::1 */
    bool dials_tcp;                         /* not all of them are Unix sockets */
};

/* Takes out of the facts what a running daemon's connections use, as if there were none. */
void doctor_discount(struct machine *machine, uint64_t connections);

/*
 * is_here: of source addresses, NULL: all are. connections: the scale, 0 for what the model says,
 * which may be: what is possible now. model's names have been looked up.
 */
void doctor_plan(const struct model *model, const struct machine *machine,
                 capacity_here_fn *is_here, uint64_t connections, struct doctor_plan *out);

#endif
