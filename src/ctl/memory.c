/*
 * How much memory a process uses, by the kernel's account. In master.
 */
#include "ctl/memory.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"

static void name_account(pid_t pid, const char *name, char path[static 64])
{
    snprintf(path, 64, "/proc/%d/%s", (int)pid, name);
}

int memory_open(pid_t pid)
{
    char path[64];

    name_account(pid, "smaps_rollup", path);
    return open(path, O_RDONLY | O_CLOEXEC);
}

static uint64_t read_proportional(int account)
{
    char text[1024];
    ssize_t n = account < 0 ? -1 : pread(account, text, sizeof(text) - 1, 0);
    uint64_t kib;

    if (n <= 0)
        return UINT64_MAX;
    text[n] = '\0';
    const char *line = strstr(text, "\nPss:");

    return line && sscanf(line, "\nPss: %" SCNu64 " kB", &kib) == 1 ? kib * 1024 : UINT64_MAX;
}

static uint64_t read_unshared(pid_t pid)
{
    uint64_t resident, shared, bytes = UINT64_MAX;
    char path[64];

    name_account(pid, "statm", path);
    FILE *file = fopen(path, "re");

    if (!file)
        return UINT64_MAX;
    if (fscanf(file, "%*u %" SCNu64 " %" SCNu64, &resident, &shared) == 2 && resident >= shared)
        bytes = (resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE);
    fclose(file);
    return bytes;
}

uint64_t memory_read(int account, pid_t pid)
{
    uint64_t bytes = read_proportional(account);

    return bytes != UINT64_MAX ? bytes : read_unshared(pid);
}

uint64_t memory_of_process(pid_t pid)
{
    FD_AUTO account = memory_open(pid);

    return memory_read(account, pid);
}
