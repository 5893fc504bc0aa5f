/*
 * Reads what doctor judges transparent pools by: settings from /proc, routes and rules from ip(8),
 * which prints them alike since long before Debian 12. Changes nothing. In sluicectl.
 */
#include "sluicectl/doctor_return.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sluicectl/doctor_firewall.h"

#define INTERFACES "/proc/sys/net/ipv4/conf"

/* --- tools --- */

static void ask_all(struct doctor_return *out)
{
    doctor_tool_ask("ip -4 rule show", &out->rules[DOCTOR_IPV4]);
    doctor_tool_ask("ip -6 rule show", &out->rules[DOCTOR_IPV6]);
    doctor_tool_ask("ip -4 route show table all", &out->routes[DOCTOR_IPV4]);
    doctor_tool_ask("ip -6 route show table all", &out->routes[DOCTOR_IPV6]);
}

/* --- /proc --- */

static uint64_t read_number(const char *path)
{
    FILE *file = fopen(path, "re");
    unsigned long long number;
    uint64_t found = MACHINE_UNKNOWN;

    if (!file)
        return found;
    if (fscanf(file, "%llu", &number) == 1)
        found = number;
    fclose(file);
    return found;
}

static uint64_t read_capabilities(pid_t pid)
{
    char path[64] = "/proc/self/status", line[256];
    unsigned long long bits;
    uint64_t found = MACHINE_UNKNOWN;
    FILE *file;

    if (pid != 0)
        snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    file = fopen(path, "re");
    while (file && fgets(line, sizeof(line), file))
        if (sscanf(line, "CapEff: %llx", &bits) == 1)
            found = bits;
    if (file)
        fclose(file);
    return found;
}

static void note_interface(const char *name, struct doctor_return *out)
{
    char path[sizeof(INTERFACES) + NAME_MAX + sizeof("//src_valid_mark")];
    uint64_t number;

    snprintf(path, sizeof(path), INTERFACES "/%s/rp_filter", name);
    number = read_number(path);
    if (number != MACHINE_UNKNOWN && (out->rp_filter == MACHINE_UNKNOWN || number > out->rp_filter))
        out->rp_filter = number;
    snprintf(path, sizeof(path), INTERFACES "/%s/src_valid_mark", name);
    number = read_number(path);
    if (number != MACHINE_UNKNOWN &&
        (out->src_valid_mark == MACHINE_UNKNOWN || number > out->src_valid_mark)) {
        out->src_valid_mark = number;
        snprintf(out->valid_mark_at, sizeof(out->valid_mark_at), "%.*s", IF_NAMESIZE - 1, name);
    }
}

/* What "all" says holds for each interface too; "default" is for those that are yet to come. */
static void read_interfaces(struct doctor_return *out)
{
    DIR *dir = opendir(INTERFACES);
    const struct dirent *entry;

    while (dir && (entry = readdir(dir)))
        if (entry->d_name[0] != '.' && strcmp(entry->d_name, "default") != 0)
            note_interface(entry->d_name, out);
    if (dir)
        closedir(dir);
}

/* --- all --- */

static void note_pool(const struct model_pool *pool, struct doctor_return *out)
{
    for (size_t i = 0; pool->transparent && i < pool->n_backends; i++) {
        out->is_wanted[DOCTOR_IPV4] |= pool->backends[i].address.ip.family == ADDR_IPV4;
        out->is_wanted[DOCTOR_IPV6] |= pool->backends[i].address.ip.family == ADDR_IPV6;
    }
}

bool doctor_return_wanted(const struct doctor_return *facts)
{
    return facts->is_wanted[DOCTOR_IPV4] || facts->is_wanted[DOCTOR_IPV6];
}

void doctor_return_read(const struct model *model, pid_t pid, struct doctor_return *out)
{
    *out = (struct doctor_return){.src_valid_mark = MACHINE_UNKNOWN, .rp_filter = MACHINE_UNKNOWN};
    for (size_t i = 0; i < model->n_pools; i++)
        note_pool(&model->pools[i], out);
    if (!doctor_return_wanted(out))
        return;
    out->is_of_daemon = pid != 0;
    out->capabilities = read_capabilities(pid);
    out->nonlocal_bind = read_number("/proc/sys/net/ipv4/ip_nonlocal_bind");
    out->ip_forward = read_number("/proc/sys/net/ipv4/ip_forward");
    read_interfaces(out);
    ask_all(out);
}

void doctor_return_free(struct doctor_return *facts)
{
    for (size_t i = 0; i < DOCTOR_FAMILY_COUNT; i++) {
        str_free(&facts->rules[i]);
        str_free(&facts->routes[i]);
    }
}
