/*
 * How much memory a process uses, by the kernel's account. In master.
 */
#include "ctl/memory.h"

#include <inttypes.h>
#include <stdio.h>

uint64_t memory_of_process(pid_t pid)
{
    char path[64], line[256];
    uint64_t kib, bytes = UINT64_MAX;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
    file = fopen(path, "re");
    if (!file)
        return UINT64_MAX;
    while (bytes == UINT64_MAX && fgets(line, sizeof(line), file))
        if (sscanf(line, "Pss: %" SCNu64 " kB", &kib) == 1)
            bytes = kib * 1024;
    fclose(file);
    return bytes;
}
