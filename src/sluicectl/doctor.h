/*
 * sluicectl doctor: is this machine ready for as many connections as the configuration asks for?
 */
#ifndef SLUICE_SLUICECTL_DOCTOR_H
#define SLUICE_SLUICECTL_DOCTOR_H

#include <stdbool.h>

/*
 * argv[0] is the word "doctor" itself. socket: of the daemon, NULL to take the file's. json: was
 * asked for before the word. Prints everything. Returns the exit status: 0 ready, 1 not ready or no
 * usable file, 2 usage.
 */
int doctor_run(int argc, char **argv, const char *socket, bool json);

#endif
