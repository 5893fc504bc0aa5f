/* Memory of the machine and of control groups. Private to machine*.c. */
#ifndef SLUICE_PROC_MACHINE_MEMORY_H
#define SLUICE_PROC_MACHINE_MEMORY_H

#include "machine.h"

/* Fills the fields about memory. */
void machine_memory_read(const char *root, pid_t pid, struct machine *out);

#endif
