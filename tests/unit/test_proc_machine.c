/*
 * What is read of the machine, from a /proc and /sys made by hand: every field, all that may be
 * missing or odd, and the control groups of both versions.
 */
#include <check.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proc/machine.h"

#define MIB (UINT64_C(1) << 20)

static char root[64];
static struct machine machine;

static void setup(void)
{
    strcpy(root, "/tmp/test_machine_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root));
    memset(&machine, 0xa5, sizeof(machine));
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *at)
{
    (void)status;
    (void)kind;
    (void)at;
    return remove(path);
}

static void teardown(void)
{
    nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void put(const char *path, const char *text)
{
    char full[256];
    snprintf(full, sizeof(full), "%s%s", root, path);
    for (char *slash = full + strlen(root) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
        *slash = '\0';
        mkdir(full, 0755);
        *slash = '/';
    }
    FILE *file = fopen(full, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

/* As in all network namespaces but the first. */
START_TEST(a_maximum_that_cannot_be_set)
{
    char full[256];

    machine_read(root, 0, &machine);
    ck_assert(!machine.conntrack_is_fixed);
    put("/proc/sys/net/netfilter/nf_conntrack_max", "262143\n");
    machine_read(root, 0, &machine);
    ck_assert(!machine.conntrack_is_fixed);
    snprintf(full, sizeof(full), "%s/proc/sys/net/netfilter/nf_conntrack_max", root);
    ck_assert_int_eq(chmod(full, 0444), 0);
    machine_read(root, 0, &machine);
    ck_assert(machine.conntrack_is_fixed);
    ck_assert_uint_eq(machine.conntrack_max, 262143);
}
END_TEST

/* Nothing but what bounds connections counts, and what cannot be read is as it was. */
START_TEST(settings_that_change)
{
    put("/proc/sys/fs/file-max", "1000\n");
    put("/proc/sys/net/core/somaxconn", "4096\n");
    put("/proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n");
    machine_read(root, 0, &machine);
    ck_assert(!machine_renew(root, &machine));
    put("/proc/sys/net/core/somaxconn", "128\n");
    ck_assert(!machine_renew(root, &machine));
    put("/proc/sys/net/ipv4/ip_local_port_range", "1024\t65535\n");
    ck_assert(machine_renew(root, &machine));
    ck_assert_uint_eq(machine.port_first, 1024);
    put("/proc/sys/net/ipv4/ip_local_reserved_ports", "8080\n");
    ck_assert(machine_renew(root, &machine));
    ck_assert(machine_is_reserved(&machine, 8080));
    put("/proc/sys/fs/file-max", "2000\n");
    ck_assert(machine_renew(root, &machine));
    ck_assert_uint_eq(machine.file_max, 2000);
    ck_assert(!machine_renew(root, &machine));
    ck_assert(!machine_renew("/nowhere", &machine));
    ck_assert_uint_eq(machine.file_max, 2000);
    ck_assert_uint_eq(machine.port_last, 65535);
    ck_assert(machine_is_reserved(&machine, 8080));
}
END_TEST

START_TEST(every_setting)
{
    put("/proc/self/limits",
        "Limit                     Soft Limit           Hard Limit  Units\n"
        "Max processes             7                    8           processes\n"
        "Max open files            1024                 524288      files\n");
    put("/proc/sys/fs/nr_open", "1048576\n");
    put("/proc/sys/fs/file-max", "9223372036854775807\n");
    put("/proc/sys/fs/file-nr", "1101\t0\t2466177\n");
    put("/proc/sys/fs/epoll/max_user_watches", "5491511\n");
    put("/proc/sys/net/core/somaxconn", "4096\n");
    put("/proc/sys/net/core/netdev_max_backlog", "1000\n");
    put("/proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n");
    put("/proc/sys/net/ipv4/ip_unprivileged_port_start", "80\n");
    put("/proc/sys/net/ipv4/tcp_max_syn_backlog", "2048\n");
    put("/proc/sys/net/ipv4/tcp_syncookies", "1\n");
    put("/proc/sys/net/ipv4/tcp_mem", "287901\t383868\t575802\n");
    put("/proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n");
    put("/proc/sys/net/ipv4/tcp_wmem", "4096\t16384\t4194304\n");
    put("/proc/sys/net/ipv4/tcp_tw_reuse", "2\n");
    put("/proc/sys/kernel/osrelease", "6.1.0-18-amd64\n");
    put("/proc/sys/net/ipv4/tcp_migrate_req", "0\n");
    put("/proc/sys/net/ipv4/tcp_ehash_entries", "262144\n");
    put("/proc/sys/net/netfilter/nf_conntrack_count", "12\n");
    put("/proc/sys/net/netfilter/nf_conntrack_max", "262143\n");
    put("/proc/net/softnet_stat", "0ca67693 00000003 00000006\n0d802e4d 0000001f 0000000f\n");
    put("/proc/net/sockstat", "sockets: used 9\nTCP: inuse 5 orphan 0 tw 1 alloc 7 mem 3\n"
                              "UDP: inuse 0 mem 0\n");
    put("/proc/meminfo", "MemTotal:       24684092 kB\nMemAvailable:   1024 kB\n");
    machine_read(root, 0, &machine);
    ck_assert_uint_eq(machine.kernel, MACHINE_LINUX(6, 1));

    const uint64_t found[] = {machine.nofile_soft,
                              machine.nofile_hard,
                              machine.nr_open,
                              machine.file_max,
                              machine.file_used,
                              machine.epoll_watches,
                              machine.somaxconn,
                              machine.netdev_max_backlog,
                              machine.port_first,
                              machine.port_last,
                              machine.unprivileged_port_start,
                              machine.max_syn_backlog,
                              machine.syncookies,
                              machine.tcp_mem[0],
                              machine.tcp_mem[1],
                              machine.tcp_mem[2],
                              machine.tcp_rmem[2],
                              machine.tcp_wmem[1],
                              machine.tw_reuse,
                              machine.migrate_req,
                              machine.ehash_entries,
                              machine.conntrack_count,
                              machine.conntrack_max,
                              machine.backlog_drops,
                              machine.tcp_sockets,
                              machine.memory_available_bytes,
                              machine.group_max_bytes,
                              machine.memory_total_bytes,
                              machine_memory_most(&machine)};
    const uint64_t expected[] = {1024,
                                 524288,
                                 1048576,
                                 INT64_MAX,
                                 1101,
                                 5491511,
                                 4096,
                                 1000,
                                 32768,
                                 60999,
                                 80,
                                 2048,
                                 1,
                                 287901,
                                 383868,
                                 575802,
                                 6291456,
                                 16384,
                                 2,
                                 0,
                                 262144,
                                 12,
                                 262143,
                                 34,
                                 7,
                                 MIB,
                                 MACHINE_UNKNOWN,
                                 UINT64_C(24684092) * 1024,
                                 UINT64_C(24684092) * 1024};
    for (size_t i = 0; i < sizeof(found) / sizeof(found[0]); i++)
        ck_assert_msg(found[i] == expected[i], "%zu: %llu", i, (unsigned long long)found[i]);
    ck_assert_uint_ge(machine.cpus, 1);
    ck_assert_uint_eq(machine.page_bytes, (uint64_t)sysconf(_SC_PAGESIZE));
}
END_TEST

START_TEST(what_is_not_there_is_unknown)
{
    machine_read(root, 0, &machine);
    const uint64_t found[] = {machine.nofile_hard,
                              machine.nr_open,
                              machine.file_max,
                              machine.file_used,
                              machine.epoll_watches,
                              machine.somaxconn,
                              machine.port_first,
                              machine.port_last,
                              machine.tcp_mem[0],
                              machine.tcp_mem[2],
                              machine.ehash_entries,
                              machine.conntrack_max,
                              machine.backlog_drops,
                              machine.tcp_sockets,
                              machine.memory_available_bytes,
                              machine.group_max_bytes,
                              machine.group_used_bytes,
                              machine_memory_left(&machine),
                              machine.memory_total_bytes,
                              machine_memory_most(&machine)};
    for (size_t i = 0; i < sizeof(found) / sizeof(found[0]); i++)
        ck_assert_msg(found[i] == MACHINE_UNKNOWN, "%zu: %llu", i, (unsigned long long)found[i]);
    ck_assert_uint_eq(machine_count_ports(&machine, 1, 65535), 65535);
}
END_TEST

/* A negative size: the table is another namespace's. Too few numbers, or none. */
START_TEST(odd_numbers_are_unknown)
{
    put("/proc/sys/net/ipv4/tcp_ehash_entries", "-262144\n");
    put("/proc/sys/net/ipv4/tcp_mem", "1 2\n");
    put("/proc/sys/fs/nr_open", "\n");
    put("/proc/sys/fs/file-max", "99999999999999999999999\n");
    put("/proc/self/limits", "Max open files            unlimited   unlimited   files\n");
    machine_read(root, 0, &machine);
    ck_assert(machine.ehash_entries == MACHINE_UNKNOWN);
    ck_assert(machine.tcp_mem[0] == MACHINE_UNKNOWN && machine.tcp_mem[2] == MACHINE_UNKNOWN);
    ck_assert(machine.kernel == MACHINE_UNKNOWN);
    ck_assert(machine.nr_open == MACHINE_UNKNOWN && machine.file_max == MACHINE_UNKNOWN);
    ck_assert(machine.nofile_hard == MACHINE_UNKNOWN);
}
END_TEST

START_TEST(reserved_ports)
{
    put("/proc/sys/net/ipv4/ip_local_port_range", "100\t199\n");
    put("/proc/sys/net/ipv4/ip_local_reserved_ports", "80,100-109,150,190-300,65535\n");
    machine_read(root, 0, &machine);
    ck_assert_uint_eq(machine_count_ports(&machine, 100, 199), 100 - 10 - 1 - 10);
    ck_assert_uint_eq(machine_count_ports(&machine, 0, 70000), 65536 - 1 - 10 - 1 - 111 - 1);
    ck_assert_uint_eq(machine_count_ports(&machine, 200, 100), 0);
    ck_assert(machine_is_reserved(&machine, 80) && machine_is_reserved(&machine, 300));
    ck_assert(!machine_is_reserved(&machine, 81) && !machine_is_reserved(&machine, 301));
    ck_assert(!machine_is_reserved(&machine, 1 << 20));
}
END_TEST

START_TEST(another_process)
{
    put("/proc/self/limits", "Max open files            10                 20     files\n");
    put("/proc/4000000/limits", "Max open files            30                 40     files\n");
    machine_read(root, 4000000, &machine);
    ck_assert_uint_eq(machine.nofile_soft, 30);
    ck_assert_uint_eq(machine.nofile_hard, 40);
}
END_TEST

/* --- control groups --- */

/* The tightest of the group and all around it counts, less what can be taken back. */
START_TEST(groups_of_version_2)
{
    put("/proc/meminfo", "MemAvailable:   1048576 kB\n");
    put("/proc/self/cgroup", "0::/system.slice/sluice.service\n");
    put("/sys/fs/cgroup/system.slice/sluice.service/memory.max", "max\n");
    put("/sys/fs/cgroup/system.slice/sluice.service/memory.current", "1048576\n");
    put("/sys/fs/cgroup/system.slice/memory.max", "536870912\n"); /* 512 MiB, 112 of them in use */
    put("/sys/fs/cgroup/system.slice/memory.current", "134217728\n");
    put("/sys/fs/cgroup/system.slice/memory.stat",
        "anon 9\ninactive_file 8388608\nactive_file 8388608\n");
    machine_read(root, 0, &machine);
    ck_assert_uint_eq(machine.group_max_bytes, 512 * MIB);
    ck_assert_uint_eq(machine.group_used_bytes, 112 * MIB);
    ck_assert_uint_eq(machine_memory_left(&machine), 400 * MIB);

    put("/sys/fs/cgroup/system.slice/sluice.service/memory.max", "4194304\n");
    machine_read(root, 0, &machine);
    ck_assert_uint_eq(machine_memory_left(&machine), 3 * MIB);
    put("/sys/fs/cgroup/system.slice/sluice.service/memory.current", "5242880\n");
    machine_read(root, 0, &machine);
    ck_assert_uint_eq(machine_memory_left(&machine), 0);
}
END_TEST

/* In a container: the path is of the outside, the mount its own group. */
START_TEST(group_of_version_1)
{
    put("/proc/meminfo", "MemAvailable:   1048576 kB\n");
    put("/proc/self/cgroup", "5:cpu,cpuacct:/x\n4:name=memory:/y\n3:hugetlb,memory:/docker/abc\n"
                             "0::/\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "209715200\n");
    put("/sys/fs/cgroup/memory/memory.usage_in_bytes", "104857600\n");
    put("/sys/fs/cgroup/memory/memory.stat", "inactive_file 1\ntotal_inactive_file 4194304\n");
    machine_read(root, 0, &machine);
    ck_assert_uint_eq(machine_memory_left(&machine), 104 * MIB);

    /* What it says when there is no limit. */
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    machine_read(root, 0, &machine);
    ck_assert(machine.group_max_bytes == MACHINE_UNKNOWN);
    ck_assert_uint_eq(machine_memory_left(&machine), 1024 * MIB);
}
END_TEST

START_TEST(usage_is_kept)
{
    struct machine before = {
        .memory_available_bytes = 7, .group_used_bytes = 8, .file_used = 9, .somaxconn = 10};

    put("/proc/meminfo", "MemAvailable:   1048576 kB\n");
    put("/proc/sys/fs/file-nr", "1101\t0\t2466177\n");
    put("/proc/sys/net/core/somaxconn", "4096\n");
    machine_read(root, 0, &machine);
    machine_keep_usage(&machine, &before);
    ck_assert_uint_eq(machine.memory_available_bytes, 7);
    ck_assert_uint_eq(machine.group_used_bytes, 8);
    ck_assert_uint_eq(machine.file_used, 9);
    ck_assert_uint_eq(machine.somaxconn, 4096);
}
END_TEST

/* Wherever this runs: it ends, and knows at least its own limits. */
START_TEST(this_machine)
{
    machine_read("", 0, &machine);
    ck_assert(machine.nofile_hard != MACHINE_UNKNOWN && machine.nofile_hard >= machine.nofile_soft);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proc_machine");
    TCase *tcase = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, settings_that_change);
    tcase_add_test(tcase, every_setting);
    tcase_add_test(tcase, a_maximum_that_cannot_be_set);
    tcase_add_test(tcase, what_is_not_there_is_unknown);
    tcase_add_test(tcase, odd_numbers_are_unknown);
    tcase_add_test(tcase, reserved_ports);
    tcase_add_test(tcase, another_process);
    tcase_add_test(tcase, groups_of_version_2);
    tcase_add_test(tcase, group_of_version_1);
    tcase_add_test(tcase, usage_is_kept);
    tcase_add_test(tcase, this_machine);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
