/*
 * How much memory there is: the machine's, and that of the control groups that the process is in
 * (cgroup v2 and v1), of which the tightest counts. In master and in sluicectl doctor.
 */
#include "machine_memory.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "machine_file.h"

/* Where a version keeps its files, and what they are called.
 * Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst; the file pages of memory.stat
 * are given back when memory is short, so they do not count as used. */
struct version {
    const char *mount;
    const char *max, *used;
    const char *inactive_file, *active_file; /* in memory.stat */
};

static const struct version v2 = {"/sys/fs/cgroup", "memory.max", "memory.current",
                                  "inactive_file ", "active_file "};
/* Where version 1 has the memory controller, version 2 may be mounted beside it without it. */
static const struct version v1 = {"/sys/fs/cgroup/memory", "memory.limit_in_bytes",
                                  "memory.usage_in_bytes", "total_inactive_file ",
                                  "total_active_file "};

/* Version 1 says "none" by the largest number of pages that fits in 63 bits. */
#define NO_LIMIT_FROM ((uint64_t)1 << 60)

static uint64_t read_one(const char *root, const char *folder, const char *name)
{
    STR_AUTO path = {0};
    uint64_t number;
    str_printf(&path, "%s/%s", folder, name);
    machine_file_numbers(root, str_text(&path), &number, 1); /* "max" is no number */
    return number;
}

static uint64_t read_used(const char *root, const struct version *version, const char *folder)
{
    uint64_t used = read_one(root, folder, version->used);
    STR_AUTO path = {0};
    STR_AUTO stat = {0};

    str_printf(&path, "%s/memory.stat", folder);
    if (used == MACHINE_UNKNOWN || !machine_file_read(root, str_text(&path), &stat)) {
        return used;
    }
    uint64_t inactive = machine_text_find(str_text(&stat), version->inactive_file);
    uint64_t active = machine_text_find(str_text(&stat), version->active_file);
    uint64_t pages =
        (inactive != MACHINE_UNKNOWN ? inactive : 0) + (active != MACHINE_UNKNOWN ? active : 0);
    return used > pages ? used - pages : 0;
}

/* MACHINE_UNKNOWN without a limit. */
static uint64_t left_of(uint64_t max, uint64_t used)
{
    if (max == MACHINE_UNKNOWN || max >= NO_LIMIT_FROM || used == MACHINE_UNKNOWN) {
        return MACHINE_UNKNOWN;
    }
    return max > used ? max - used : 0;
}

static void take_if_tighter(struct machine *out, uint64_t max, uint64_t used)
{
    if (left_of(max, used) < left_of(out->group_max_bytes, out->group_used_bytes)) {
        out->group_max_bytes = max;
        out->group_used_bytes = used;
    }
}

/* The group and all that it is in. In a container the path may be one of the outside: then only the
 * mount itself is there, which is the container's own group. */
static void read_groups(const char *root, const struct version *version, const char *path,
                        struct machine *out)
{
    char folder[PATH_MAX];
    if (snprintf(folder, sizeof(folder), "%s%s", version->mount, path) >= (int)sizeof(folder)) {
        return;
    }
    for (;;) {
        take_if_tighter(out, read_one(root, folder, version->max),
                        read_used(root, version, folder));
        char *slash = strrchr(folder, '/');
        if (slash == NULL || strlen(folder) <= strlen(version->mount)) {
            return;
        }
        *slash = '\0';
    }
}

static bool has_controller(const char *list, const char *name)
{
    size_t len = strlen(name);
    for (; *list != '\0'; list += *list == ',') {
        size_t n = strcspn(list, ",");
        if (n == len && strncmp(list, name, len) == 0) {
            return true;
        }
        list += n;
    }
    return false;
}

/* A line is "ID:CONTROLLERS:PATH"; version 2 has ID 0 and no controllers. */
static void read_line(const char *root, char *line, struct machine *out)
{
    char *controllers = strchr(line, ':');
    char *path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
    if (path == NULL) {
        return;
    }
    *path++ = '\0';
    controllers++;
    if (*controllers == '\0') {
        read_groups(root, &v2, path, out);
    } else if (has_controller(controllers, "memory")) {
        read_groups(root, &v1, path, out);
    }
}

static void read_group_of(const char *root, pid_t pid, struct machine *out)
{
    char path[64] = "/proc/self/cgroup";
    STR_AUTO text = {0};

    out->group_max_bytes = out->group_used_bytes = MACHINE_UNKNOWN;
    if (pid != 0) {
        snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
    }
    if (!machine_file_read(root, path, &text)) {
        return;
    }
    char *rest = text.data;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        read_line(root, line, out);
    }
}

static uint64_t find_bytes(const char *meminfo, const char *key)
{
    uint64_t kib = machine_text_find(meminfo, key);
    return kib != MACHINE_UNKNOWN ? kib * 1024 : MACHINE_UNKNOWN;
}

void machine_memory_read(const char *root, pid_t pid, struct machine *out)
{
    STR_AUTO text = {0};
    (void)machine_file_read(root, "/proc/meminfo", &text);
    out->memory_total_bytes = find_bytes(str_text(&text), "MemTotal:");
    out->memory_available_bytes = find_bytes(str_text(&text), "MemAvailable:");
    read_group_of(root, pid, out);
}

uint64_t machine_memory_left(const struct machine *machine)
{
    uint64_t group = left_of(machine->group_max_bytes, machine->group_used_bytes);
    return group < machine->memory_available_bytes ? group : machine->memory_available_bytes;
}

uint64_t machine_memory_most(const struct machine *machine)
{
    uint64_t group = left_of(machine->group_max_bytes, 0);
    return group < machine->memory_total_bytes ? group : machine->memory_total_bytes;
}
