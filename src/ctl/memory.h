/*
 * How much memory a process uses. In master.
 */
#ifndef SLUICE_CTL_MEMORY_H
#define SLUICE_CTL_MEMORY_H

#include <stdint.h>
#include <sys/types.h>

/*
 * Opens the account that the kernel keeps of a process, the caller's from then on; -1: it may not
 * be looked into. Who has it open may read it whatever user the process becomes afterwards.
 */
int memory_open(pid_t pid);
/*
 * Bytes: the proportional set size of /proc/PID/smaps_rollup (shared pages count by their share),
 * from what memory_open() returned; where that was -1, its resident pages without the shared ones,
 * of /proc/PID/statm, among which are those that it has had of its parent ever since the fork.
 * UINT64_MAX when neither can be read. Walks the process's page tables: not for frequent use.
 */
uint64_t memory_read(int account, pid_t pid);
/* The same for a process of which no account is kept open. */
uint64_t memory_of_process(pid_t pid);

#endif
