/*
 * How much memory a process uses. In master.
 */
#ifndef SLUICE_CTL_MEMORY_H
#define SLUICE_CTL_MEMORY_H

#include <stdint.h>
#include <sys/types.h>

/*
 * Bytes: the proportional set size of /proc/PID/smaps_rollup (shared pages count by their share);
 * for a process that may not be looked into, its resident pages without the shared ones, of
 * /proc/PID/statm. UINT64_MAX when neither can be read. Walks the process's page tables: not for
 * frequent use.
 */
uint64_t memory_of_process(pid_t pid);

#endif
