/*
 * How much memory a process uses, by the kernel's account. In master.
 */
#include "ctl/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

static FILE *open_account(pid_t pid, const char *name)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    return fopen(path, "re");
}

static uint64_t read_proportional(pid_t pid)
{
    FILE *file = open_account(pid, "smaps_rollup");
    uint64_t kib, bytes = UINT64_MAX;
    char line[256];

    if (!file)
        return UINT64_MAX;
    while (bytes == UINT64_MAX && fgets(line, sizeof(line), file))
        if (sscanf(line, "Pss: %" SCNu64 " kB", &kib) == 1)
            bytes = kib * 1024;
    fclose(file);
    return bytes;
}

static uint64_t read_unshared(pid_t pid)
{
    FILE *file = open_account(pid, "statm");
    uint64_t resident, shared, bytes = UINT64_MAX;

    if (!file)
        return UINT64_MAX;
    if (fscanf(file, "%*u %" SCNu64 " %" SCNu64, &resident, &shared) == 2 && resident >= shared)
        bytes = (resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE);
    fclose(file);
    return bytes;
}

uint64_t memory_of_process(pid_t pid)
{
    uint64_t bytes = read_proportional(pid);

    return bytes != UINT64_MAX ? bytes : read_unshared(pid);
}
