/*
 * How much memory a process uses. In master.
 */
#ifndef SLUICE_CTL_MEMORY_H
#define SLUICE_CTL_MEMORY_H

#include <stdint.h>
#include <sys/types.h>

/* Proportional set size from /proc/PID/smaps_rollup: shared pages count by their share. UINT64_MAX
 * when it cannot be read. Walks the process's page tables: not for frequent use. */
uint64_t memory_of_process(pid_t pid);

#endif
