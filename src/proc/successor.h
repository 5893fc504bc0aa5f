/* Starting the program that is to take over. In master. */
#ifndef SLUICE_PROC_SUCCESSOR_H
#define SLUICE_PROC_SUCCESSOR_H

#include <sys/types.h>

struct master;

struct successor { /* nurse 0, descriptors -1: none */
    pid_t nurse;   /* our child, whose only child is the new program: see successor.c */
    int channel;   /* to the new program; what it says is in handover.h */
    int errors;    /* what it says to standard error until it has read its configuration */
};

/*
 * Starts program with the daemon's file, and gives it every listening socket, control_fd (-1: none)
 * and handover; all stay the caller's. Returns 0 or -errno.
 */
int successor_start(struct master *master, const char *program, int control_fd, int handover,
                    struct successor *out);

/* Ends the new program and waits for that; harmless when it has ended. child_end() of the nurse
 * sets it free instead. */
void successor_end(struct successor *successor);

#endif
