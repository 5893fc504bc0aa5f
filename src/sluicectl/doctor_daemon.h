/*
 * What the running daemon says of itself to doctor.
 */
#ifndef SLUICE_SLUICECTL_DOCTOR_DAEMON_H
#define SLUICE_SLUICECTL_DOCTOR_DAEMON_H

#include <limits.h>
#include <stdint.h>
#include <sys/types.h>

struct doctor_daemon {
    pid_t pid;       /* of master; 0: no answer, or it lives where its pid means another process */
    uint64_t active; /* connections; 0 without an answer */
    int error;       /* errno why there was no answer, 0: there was */
    char file[PATH_MAX]; /* that it was started with; "": it is not known where that is */
};

/* Asks at the control socket; gives up soon. */
void doctor_ask_daemon(const char *socket, struct doctor_daemon *out);

#endif
