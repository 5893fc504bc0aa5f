/*
 * Doctor's judgement: facts and a plan in, rows out; and the forms in which they are told. No file
 * of this machine is read.
 */
#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sluicectl/doctor_namespace.h"
#include "sluicectl/doctor_print.h"

#define GIB (UINT64_C(1) << 30)

static struct machine machine;
static struct doctor_plan plan;
static struct doctor_report report;

/* A machine and a plan with which all is well. */
static void setup(void)
{
    memset(&machine, 0, sizeof(machine));
    machine = (struct machine){.nofile_soft = 1024,
                               .nofile_hard = 524288,
                               .cpus = 2,
                               .kernel = MACHINE_LINUX(6, 1),
                               .nr_open = 1048576,
                               .file_max = 2000000,
                               .file_used = 1000,
                               .epoll_watches = 1000000,
                               .page_bytes = 4096,
                               .memory_total_bytes = 8 * GIB,
                               .memory_available_bytes = 4 * GIB,
                               .group_max_bytes = MACHINE_UNKNOWN,
                               .group_used_bytes = MACHINE_UNKNOWN,
                               .port_first = 32768,
                               .port_last = 60999,
                               .unprivileged_port_start = 1024,
                               .somaxconn = 4096,
                               .max_syn_backlog = 2048,
                               .syncookies = 1,
                               .netdev_max_backlog = 1000,
                               .tcp_mem = {30000, 40000, 60000},
                               .tcp_rmem = {4096, 131072, 6291456},
                               .tcp_wmem = {4096, 16384, 4194304},
                               .tcp_sockets = 10,
                               .tw_reuse = 1,
                               .migrate_req = 1,
                               .ehash_entries = 262144,
                               .conntrack_count = MACHINE_UNKNOWN,
                               .conntrack_max = MACHINE_UNKNOWN};
    plan = (struct doctor_plan){.connections = 20000,
                                .whose = "this process",
                                .demand = {.workers = 2,
                                           .listeners = 2,
                                           .ports.pairs = 2,
                                           .services = CAPACITY_UNBOUNDED,
                                           .backends = CAPACITY_UNBOUNDED},
                                .backlog = 4096,
                                .backlog_service = "web",
                                .ports = {80, 8080},
                                .n_ports = 2,
                                .dials_tcp = true};
}

static void teardown(void)
{
    doctor_report_free(&report);
}

static void judge(void)
{
    capacity_judge(&machine, &plan.demand, &plan.capacity);
    doctor_report_free(&report);
    doctor_judge(&machine, &plan, &report);
}

static const struct doctor_row *find(const char *setting)
{
    for (size_t i = 0; i < report.n_rows; i++)
        if (strcmp(report.rows[i].setting, setting) == 0)
            return &report.rows[i];
    return NULL;
}

/* Of what is judged now. */
static const struct doctor_row *row(const char *setting)
{
    judge();
    ck_assert_msg(find(setting) != NULL, "no row for %s", setting);
    return find(setting);
}

static void is(const char *setting, enum doctor_state state, const char *value)
{
    const struct doctor_row *found = row(setting);

    ck_assert_msg(found->state == state, "%s is %s", setting, doctor_state_names[found->state]);
    ck_assert_str_eq(str_text(&found->value), value);
}

#define says(text, part) ck_assert_msg(strstr(text, part) != NULL, "no \"%s\" in: %s", part, text)

START_TEST(all_is_well)
{
    judge();
    ck_assert_uint_eq(report.counts[DOCTOR_GOOD], report.n_rows);
    ck_assert_uint_ge(report.n_rows, 16);
    ck_assert(doctor_is_ready(&report));
    for (size_t i = 0; i < report.n_rows; i++) {
        ck_assert_msg(report.rows[i].why.len > 0, "%s", report.rows[i].setting);
        ck_assert_msg(report.rows[i].now.len > 0, "%s", report.rows[i].setting);
        ck_assert_msg(report.rows[i].needed.len > 0, "%s", report.rows[i].setting);
    }
}
END_TEST

START_TEST(nothing_is_known)
{
    memset(&machine, 0xff, sizeof(machine)); /* MACHINE_UNKNOWN in every field */
    memset(machine.reserved_ports, 0, sizeof(machine.reserved_ports));
    judge();
    ck_assert(doctor_is_ready(&report));
    ck_assert_uint_eq(report.counts[DOCTOR_SHORT] + report.counts[DOCTOR_ADVICE], 0);
    ck_assert_uint_ge(report.counts[DOCTOR_UNKNOWN], 15);
    ck_assert_uint_eq(report.counts[DOCTOR_UNKNOWN] + report.counts[DOCTOR_GOOD], report.n_rows);
}
END_TEST

/* What was read in another network namespace than the daemon's says nothing of it. */
START_TEST(nothing_is_known_of_the_network)
{
    machine.conntrack_max = 1;
    machine.tw_reuse = 0;
    machine.reserved_ports[3] = 7;
    plan.connections = 100000;
    doctor_namespace_forget(&machine);
    plan.note = "mind the gap";
    judge();
    for (size_t i = 0; i < report.n_rows; i++)
        if (strncmp(report.rows[i].setting, "net.ipv4.ip_", strlen("net.ipv4.ip_")) == 0 ||
            strstr(report.rows[i].setting, "tw_reuse"))
            ck_assert_msg(report.rows[i].state == DOCTOR_UNKNOWN, "%s", report.rows[i].setting);
    ck_assert_uint_eq(machine.reserved_ports[3], 0);
    is("net.netfilter.nf_conntrack_max", DOCTOR_UNKNOWN, "");
    struct str text = {0};
    doctor_print_text("f", &plan, &report, &text);
    says(str_text(&text), "\nmind the gap\n");
    str_free(&text);
    doctor_print_sysctl("f", &plan, &report, &text);
    says(str_text(&text), "\n# Mind: mind the gap.\n");
    str_free(&text);
}
END_TEST

/* --- descriptors --- */

START_TEST(descriptors_of_a_process)
{
    const struct doctor_row *found;

    machine.nofile_soft = machine.nofile_hard = 20035;
    is("descriptors of a process", DOCTOR_SHORT, "1048576"); /* as the unit has it */
    found = find("descriptors of a process");
    ck_assert_str_eq(str_text(&found->now), "20035/20035");
    ck_assert_str_eq(str_text(&found->needed), "21014");
    says(str_text(&found->remedy), "ulimit -Hn 21504");
    says(str_text(&found->remedy), "workers = 3");
    /* The daemon raises its soft limit by itself. */
    machine.nofile_hard = 21014;
    machine.nofile_soft = 10;
    is("descriptors of a process", DOCTOR_GOOD, "1048576");
    machine.nr_open = 20035;
    is("fs.nr_open", DOCTOR_SHORT, "21504");
}
END_TEST

START_TEST(files_of_all)
{
    machine.file_max = 41000;
    is("fs.file-max", DOCTOR_SHORT, "41984");
    machine.file_max = 42000;
    is("fs.file-max", DOCTOR_GOOD, "");
    machine.epoll_watches = 39999;
    is("fs.epoll.max_user_watches", DOCTOR_SHORT, "40960");
    machine.epoll_watches = 40000;
    is("fs.epoll.max_user_watches", DOCTOR_GOOD, "");
}
END_TEST

/* --- memory --- */

START_TEST(memory_of_the_machine)
{
    machine.memory_available_bytes = 150 << 20;
    is("memory", DOCTOR_SHORT, "");
    says(str_text(&find("memory")->remedy), "add memory, or max_connections = 147");
    ck_assert_ptr_null(find("memory")->directives[0]);
    machine.memory_available_bytes = 203 << 20;
    is("memory", DOCTOR_GOOD, "");
}
END_TEST

START_TEST(memory_of_the_group)
{
    machine.group_max_bytes = 300 << 20;
    machine.group_used_bytes = 200 << 20;
    is("memory", DOCTOR_SHORT, "403M");
    ck_assert_str_eq(find("memory")->directives[0], "MemoryMax");
    says(str_text(&find("memory")->why), "control group");
    machine.group_max_bytes = 410 << 20;
    is("memory", DOCTOR_GOOD, "");
}
END_TEST

/* Beside connections, for which 202 MiB are needed: a 32nd of that is for buffers anyway. */
START_TEST(memory_for_buffers)
{
    plan.buffer_bytes = 6 << 20;
    is("memory", DOCTOR_GOOD, "");
    ck_assert_str_eq(str_text(&find("memory")->needed), "202 MiB");
    plan.buffer_bytes = 2 * GIB;
    is("memory", DOCTOR_GOOD, "");
    ck_assert_str_eq(str_text(&find("memory")->needed), "2244 MiB");
    says(str_text(&find("memory")->why), "; with buffer_memory = 2048 MiB");
    plan.buffer_bytes = 5 * GIB; /* perhaps it is never used */
    is("memory", DOCTOR_ADVICE, "");
    says(str_text(&find("memory")->remedy), "add memory, lower buffer_memory in the file");
    plan.buffer_bytes = 9 * GIB;
    is("memory", DOCTOR_SHORT, "");
    machine.group_max_bytes = GIB;
    machine.group_used_bytes = 200 << 20;
    is("memory", DOCTOR_SHORT, "");
    ck_assert_ptr_null(find("memory")->directives[0]);
    plan.buffer_bytes = GIB;
    is("memory", DOCTOR_ADVICE, "1421M");
}
END_TEST

/* What a running daemon's connections use is there for them. */
START_TEST(running_connections_are_discounted)
{
    machine.group_max_bytes = GIB;
    machine.group_used_bytes = 1000000;
    doctor_discount(&machine, 100);
    ck_assert_uint_eq(machine.memory_available_bytes, 4 * GIB + 930400);
    ck_assert_uint_eq(machine.group_used_bytes, 69600);
    ck_assert_uint_eq(machine.file_used, 800);
    machine.memory_available_bytes = machine.file_used = MACHINE_UNKNOWN;
    doctor_discount(&machine, 100);
    ck_assert(machine.memory_available_bytes == MACHINE_UNKNOWN);
    ck_assert(machine.file_used == MACHINE_UNKNOWN);
}
END_TEST

/* --- ports --- */

START_TEST(ports_towards_backends)
{
    const char *key = "net.ipv4.ip_local_port_range";

    plan.connections = 28232; /* half of two ranges */
    is(key, DOCTOR_GOOD, "");
    plan.connections = 28233;
    is(key, DOCTOR_ADVICE, "1024 65535");
    ck_assert_uint_eq(find(key)->remedy.len, 0);
    plan.connections = 54700; /* 31/32 of them */
    is(key, DOCTOR_ADVICE, "1024 65535");
    ck_assert_str_eq(str_text(&find(key)->now), "27350 ports");
    plan.connections = 54701;
    is(key, DOCTOR_SHORT, "1024 65535");
    ck_assert_uint_eq(find(key)->remedy.len, 0);
    plan.connections = 200000; /* no range is as wide */
    is(key, DOCTOR_SHORT, "1024 65535");
    says(str_text(&find(key)->remedy), "4 pairs of a source and a backend address");
    says(str_text(&find(key)->remedy), "source_addresses");
    machine.port_first = 1024;
    machine.port_last = 65535;
    is(key, DOCTOR_SHORT, "");
    machine.unprivileged_port_start = 5000;
    machine.port_first = 6000;
    is(key, DOCTOR_SHORT, "5000 65535");
    plan.demand.ports.pairs = CAPACITY_UNBOUNDED;
    is(key, DOCTOR_GOOD, "");
    says(str_text(&find(key)->why), "Unix sockets");
}
END_TEST

START_TEST(reserved_ports)
{
    const char *key = "net.ipv4.ip_local_reserved_ports";

    judge();
    ck_assert_ptr_null(find(key));
    plan.ports[1] = 40000;
    is(key, DOCTOR_ADVICE, "40000");
    machine.reserved_ports[40000 / 8] = 0xff;
    machine.reserved_ports[50000 / 8] = 3;
    judge();
    ck_assert_ptr_null(find(key));
    /* Once the range is as advised, other ports of services are in it. */
    plan.ports[1] = 40008;
    plan.ports[2] = 8080;
    plan.n_ports = 3;
    is(key, DOCTOR_ADVICE, "40000-40008,50000-50001");
    plan.connections = 100000;
    is(key, DOCTOR_ADVICE, "8080,40000-40008,50000-50001");
}
END_TEST

START_TEST(ports_of_one_service)
{
    judge();
    ck_assert_ptr_null(find("ports of one service"));
    plan.narrow_holds = 27350;
    plan.narrow_asked = 27351;
    strcpy(plan.narrow_service, "db");
    is("ports of one service", DOCTOR_ADVICE, "");
    ck_assert_str_eq(str_text(&find("ports of one service")->now), "27350");
    ck_assert_str_eq(str_text(&find("ports of one service")->needed), "27351");
    says(str_text(&find("ports of one service")->why), "service db");
}
END_TEST

/* What the file itself keeps from the scale. */
START_TEST(limits_of_the_file)
{
    const char *services = "max_connections of services", *backends = "max_connections of backends";
    const char *one_service = "max_connections of one service";

    judge();
    ck_assert_ptr_null(find(services));
    ck_assert_ptr_null(find(backends));
    ck_assert_ptr_null(find(one_service));
    plan.demand.services = 20000;
    is(services, DOCTOR_GOOD, "");
    plan.demand.services = 19999;
    is(services, DOCTOR_SHORT, "");
    says(str_text(&find(services)->remedy), "raise max_connections of services");
    plan.demand.backends = 300;
    is(backends, DOCTOR_SHORT, "");
    ck_assert_str_eq(str_text(&find(backends)->now), "300");
    ck_assert_str_eq(str_text(&find(backends)->needed), "20000");
    ck_assert(!doctor_is_ready(&report));
    plan.limited_allows = 300;
    plan.limited_asked = 500;
    strcpy(plan.limited_service, "db");
    is(one_service, DOCTOR_ADVICE, "");
    says(str_text(&find(one_service)->why), "service db");
}
END_TEST

/* What backends with limits carry needs no more ports of the others. */
START_TEST(ports_beside)
{
    const char *key = "net.ipv4.ip_local_port_range";

    plan.connections = 54700 + 100;
    is(key, DOCTOR_SHORT, "1024 65535");
    plan.demand.ports.beside = 100;
    is(key, DOCTOR_ADVICE, "1024 65535");
    ck_assert_str_eq(str_text(&find(key)->needed), "27350 ports");
    says(str_text(&find(key)->why), "here 2, ");
    says(str_text(&find(key)->why), "; beside them 100 by max_connections of backends");
    plan.demand.ports.pairs = 0;
    is(key, DOCTOR_GOOD, "");
}
END_TEST

/* The whole range is as fast since Linux 6.3. */
START_TEST(ports_by_kernel)
{
    const char *key = "net.ipv4.ip_local_port_range";

    plan.connections = 54700;
    is(key, DOCTOR_ADVICE, "1024 65535");
    says(str_text(&find(key)->why), "before Linux 6.3");
    machine.kernel = MACHINE_LINUX(6, 3);
    is(key, DOCTOR_GOOD, "");
    ck_assert_ptr_null(strstr(str_text(&find(key)->why), "6.3"));
    plan.connections = 54701;
    is(key, DOCTOR_SHORT, "1024 65535");
    machine.kernel = MACHINE_UNKNOWN;
    plan.connections = 54700;
    is(key, DOCTOR_ADVICE, "1024 65535");
}
END_TEST

/* --- queues and TCP --- */

START_TEST(queues)
{
    machine.somaxconn = 128;
    is("net.core.somaxconn", DOCTOR_ADVICE, "4096");
    says(str_text(&find("net.core.somaxconn")->why), "web");
    is("net.ipv4.tcp_max_syn_backlog", DOCTOR_GOOD, "");
    machine.syncookies = 0;
    is("net.ipv4.tcp_syncookies", DOCTOR_ADVICE, "1");
    is("net.ipv4.tcp_max_syn_backlog", DOCTOR_ADVICE, "5462");
    machine.max_syn_backlog = 5462;
    is("net.ipv4.tcp_max_syn_backlog", DOCTOR_GOOD, "");
    machine.backlog_drops = 3;
    is("net.core.netdev_max_backlog", DOCTOR_ADVICE, "16384");
    says(str_text(&find("net.core.netdev_max_backlog")->why), "3 were dropped since boot");
    machine.netdev_max_backlog = 16384; /* as advised: it ends there */
    is("net.core.netdev_max_backlog", DOCTOR_GOOD, "");
    says(str_text(&find("net.core.netdev_max_backlog")->why),
         "3 were dropped since boot, before it was that long");
}
END_TEST

START_TEST(buffers)
{
    plan.connections = 200000;
    is("net.ipv4.tcp_mem", DOCTOR_GOOD, "");
    plan.connections = 240000;
    is("net.ipv4.tcp_mem", DOCTOR_ADVICE, "36000 48000 72000");
    machine.tcp_rmem[2] = 1 << 19;
    machine.tcp_wmem[2] = 1 << 19;
    is("net.ipv4.tcp_rmem", DOCTOR_ADVICE, "4096 131072 6291456");
    is("net.ipv4.tcp_wmem", DOCTOR_ADVICE, "4096 16384 4194304");
}
END_TEST

START_TEST(source_addresses)
{
    judge();
    ck_assert_ptr_null(find("source addresses"));
    plan.demand.sources = 4;
    is("source addresses", DOCTOR_GOOD, "");
    plan.demand.sources_absent = 3;
    plan.demand.absent = (struct addr_ip){.bytes = {10, 77, 0, 1}, .family = ADDR_IPV4};
    is("source addresses", DOCTOR_ADVICE, "");
    ck_assert_str_eq(str_text(&find("source addresses")->now), "1 here");
    ck_assert_str_eq(str_text(&find("source addresses")->needed), "4");
    says(str_text(&find("source addresses")->why),
         "10.77.0.1 and 2 more that this machine does not");
    ck_assert(doctor_is_ready(&report));
    /* Of one of several services all are absent. */
    strcpy(plan.narrow_service, "db");
    is("source addresses", DOCTOR_SHORT, "");
    ck_assert(!doctor_is_ready(&report));
    /* Of the only pool. */
    plan.narrow_service[0] = '\0';
    plan.demand.sources_absent = 4;
    plan.demand.ports.pairs = 0;
    is("source addresses", DOCTOR_SHORT, "");
    is("net.ipv4.ip_local_port_range", DOCTOR_SHORT, "");
}
END_TEST

START_TEST(ports_in_time_wait)
{
    machine.tw_reuse = 2;
    is("net.ipv4.tcp_tw_reuse", DOCTOR_ADVICE, "1");
    plan.backends_are_local = true;
    is("net.ipv4.tcp_tw_reuse", DOCTOR_GOOD, "");
    machine.tw_reuse = 0;
    is("net.ipv4.tcp_tw_reuse", DOCTOR_ADVICE, "1");
    plan.demand.ports.pairs = CAPACITY_UNBOUNDED;
    is("net.ipv4.tcp_tw_reuse", DOCTOR_GOOD, "");
}
END_TEST

START_TEST(handshakes)
{
    machine.migrate_req = 0;
    is("net.ipv4.tcp_migrate_req", DOCTOR_ADVICE, "1");
    plan.demand.workers = 1;
    judge();
    ck_assert_ptr_null(find("net.ipv4.tcp_migrate_req"));
    /* What this kernel does not have is not advised. */
    plan.demand.workers = 2;
    machine.migrate_req = machine.ehash_entries = MACHINE_UNKNOWN;
    is("net.ipv4.tcp_migrate_req", DOCTOR_UNKNOWN, "");
    machine.kernel = MACHINE_LINUX(5, 10);
    is("net.ipv4.tcp_migrate_req", DOCTOR_GOOD, "");
    says(str_text(&find("net.ipv4.tcp_migrate_req")->why),
         "not in this kernel: it came with Linux 5.14, and this is 5.10");
    is("net.ipv4.tcp_ehash_entries", DOCTOR_GOOD, "");
    says(str_text(&find("net.ipv4.tcp_ehash_entries")->why), "came with Linux 6.1");
    ck_assert_str_eq(str_text(&find("net.ipv4.tcp_ehash_entries")->now), "-");
}
END_TEST

START_TEST(tables)
{
    machine.ehash_entries = 9999;
    is("net.ipv4.tcp_ehash_entries", DOCTOR_ADVICE, "");
    says(str_text(&find("net.ipv4.tcp_ehash_entries")->remedy), "thash_entries=10000");
}
END_TEST

/* --- the plan --- */

static struct model_listener listeners[] = {
    {.address = {.ip = {.family = ADDR_IPV4, .port = 8080}}},
    {.address = {.ip = {.family = ADDR_IPV6, .port = 443}}},
    {.address = {.ip = {.family = ADDR_IPV6, .port = 8080}}},
    {.address = {.ip = {.family = ADDR_UNIX}}},
};
static struct model_backend three[] = {
    {.weight = 1, .address = {.ip = {.family = ADDR_IPV4, .bytes = {127, 0, 0, 1}, .port = 1}}},
    {.weight = 1, .address = {.ip = {.family = ADDR_IPV6, .bytes = {[15] = 1}, .port = 2}}},
    {.weight = 1, .address = {.ip = {.family = ADDR_IPV4, .bytes = {127, 9}, .port = 1}}},
};
static struct model_backend one[] = {
    {.weight = 1, .address = {.ip = {.family = ADDR_IPV4, .bytes = {127, 0, 0, 1}, .port = 9}}},
};
static struct model_pool pools[] = {
    {.name = (char *)"many", .backends = three, .n_backends = 3, .min_healthy = 1},
    {.name = (char *)"few", .backends = one, .n_backends = 1, .min_healthy = 1},
};
static struct model_service services[] = {
    {.name = (char *)"a",
     .listeners = listeners,
     .n_listeners = 2,
     .backlog = 100,
     .fallback_index = SNAPSHOT_NONE},
    {.name = (char *)"b",
     .listeners = listeners + 2,
     .n_listeners = 2,
     .backlog = 200,
     .pool_index = 1,
     .fallback_index = SNAPSHOT_NONE},
};

START_TEST(a_plan_of_a_model)
{
    struct model model = {.services = services,
                          .n_services = 2,
                          .pools = pools,
                          .n_pools = 2,
                          .global = {.workers = 3, .status = (char *)"127.0.0.1:9100"}};

    doctor_plan(&model, &machine, NULL, 0, &plan);
    ck_assert_uint_eq(plan.demand.ports.pairs, 4);
    ck_assert_uint_eq(plan.connections, capacity_least(&plan.capacity));
    ck_assert(plan.is_possible);
    ck_assert_uint_eq(plan.demand.workers, 3);
    ck_assert_uint_eq(plan.demand.listeners, 4);
    ck_assert_uint_eq(plan.n_ports, 3);
    ck_assert_uint_eq(plan.ports[0], 443);
    ck_assert_uint_eq(plan.ports[1], 8080);
    ck_assert_uint_eq(plan.ports[2], 9100);
    ck_assert_uint_eq(plan.backlog, 200);
    ck_assert_str_eq(plan.backlog_service, "b");
    ck_assert_str_eq(plan.narrow_service, "b");
    ck_assert_uint_eq(plan.narrow_asked, 4 * 27350);
    ck_assert(plan.backends_are_local);

    /* What is possible now never lacks anything that bounds it. */
    judge();
    ck_assert(doctor_is_ready(&report));

    model.global.max_connections = 77;
    doctor_plan(&model, &machine, NULL, 0, &plan);
    ck_assert_uint_eq(plan.connections, 77);
    ck_assert(!plan.is_possible);
    doctor_plan(&model, &machine, NULL, 60000, &plan);
    ck_assert_str_eq(plan.narrow_service, "b");
    ck_assert_uint_eq(plan.narrow_holds, 27350);
    ck_assert_uint_eq(plan.narrow_asked, 60000);
    doctor_plan(&model, &machine, NULL, 99, &plan);
    ck_assert_uint_eq(plan.connections, 99);
    /* The file's own limits are what is possible, too. */
    model.global.max_connections = 0;
    services[0].max_connections = 70;
    services[1].max_connections = 30;
    doctor_plan(&model, &machine, NULL, 0, &plan);
    ck_assert_uint_eq(plan.connections, 100);
    ck_assert_str_eq(plan.limited_service, "");
    one[0].max_connections = 20;
    doctor_plan(&model, &machine, NULL, 0, &plan);
    ck_assert_str_eq(plan.limited_service, "b");
    ck_assert_uint_eq(plan.limited_allows, 20);
    ck_assert_uint_eq(plan.limited_asked, 30);
    judge();
    ck_assert(doctor_is_ready(&report));
    services[0].max_connections = services[1].max_connections = one[0].max_connections = 0;
    three[1].address.ip.bytes[0] = 1;
    doctor_plan(&model, &machine, NULL, 99, &plan);
    ck_assert(!plan.backends_are_local);
}
END_TEST

/* --- how it is told --- */

static struct str text;

static const char *told(doctor_print_fn *print)
{
    judge();
    str_free(&text);
    print("x.conf", &plan, &report, &text);
    return str_text(&text);
}

static void spoil(void)
{
    machine.nofile_hard = 20000;
    machine.somaxconn = 128;
    machine.tcp_mem[0] = machine.tcp_mem[1] = machine.tcp_mem[2] = MACHINE_UNKNOWN;
}

START_TEST(as_text)
{
    says(told(doctor_print_text), "\nverdict: ready\n");
    ck_assert_ptr_null(strstr(str_text(&text), "needed:"));
    spoil();
    told(doctor_print_text);
    says(str_text(&text), "SETTING");
    says(str_text(&text), "\nneeded:\n  descriptors of a process: LimitNOFILE=21504");
    says(str_text(&text), "\nadvised:\n  net.core.somaxconn: sysctl -w "
                          "net.core.somaxconn=\"4096\"\n");
    says(str_text(&text), "x.conf, as asked: 20000 connections; this machine carries 19008 now, "
                          "limited by descriptors\n");
    says(str_text(&text), "\nverdict: not ready, 1 too low, 1 advised, 1 unknown\n");
}
END_TEST

START_TEST(as_json)
{
    json_error_t error;
    json_t *json, *first;

    spoil();
    json = json_loads(told(doctor_print_json), 0, &error);
    ck_assert_msg(json != NULL, "%s", error.text);
    ck_assert(json_is_false(json_object_get(json, "ready")));
    ck_assert_int_eq(json_integer_value(json_object_get(json, "connections")), 20000);
    ck_assert_int_eq(json_integer_value(json_object_get(json, "connections_possible")), 19008);
    ck_assert_uint_eq(json_array_size(json_object_get(json, "rows")), report.n_rows);
    first = json_array_get(json_object_get(json, "rows"), 0);
    ck_assert_str_eq(json_string_value(json_object_get(first, "state")), "too low");
    ck_assert_uint_eq(json_object_size(first), 6);
    json_decref(json);
}
END_TEST

START_TEST(as_files)
{
    says(told(doctor_print_sysctl), "\n# Nothing needs to be changed.\n");
    /* What is in force is not made less. */
    says(told(doctor_print_systemd), "\nLimitNOFILE=1048576\n");
    machine.nofile_hard = 1048577;
    machine.nr_open = 1048577;
    says(told(doctor_print_systemd), "\nLimitNOFILE=1048577\n");
    machine.nofile_hard = 10000;
    machine.nr_open = 1048576;
    says(told(doctor_print_systemd), "\nLimitNOFILE=1048576\n");
    ck_assert_ptr_null(strstr(str_text(&text), "fs.nr_open"));
    /* Beyond what the kernel allows to be set: before the line that needs it. */
    plan.connections = 3000000;
    says(told(doctor_print_systemd),
         "\n# First raise fs.nr_open to 3010560 (sysctl -w "
         "fs.nr_open=3010560, and in /etc/sysctl.d): it is 1048576, and "
         "no limit goes beyond it.\nLimitNOFILE=3010560\n");
    says(told(doctor_print_sysctl), "\nfs.nr_open = 3010560\n");
    plan.connections = 20000;
    ck_assert_ptr_null(strstr(str_text(&text), "MemoryMax"));
    spoil();
    says(told(doctor_print_sysctl), "\n# advised: ");
    says(str_text(&text), "\nnet.core.somaxconn = 4096\n");
    ck_assert_ptr_null(strstr(str_text(&text), "descriptors of a process"));
    ck_assert_ptr_null(strstr(str_text(&text), "tcp_mem ="));
    machine.group_max_bytes = machine.group_used_bytes = 1 << 20;
    says(told(doctor_print_systemd), "\nMemoryMax=204M\n");
    ck_assert_ptr_null(strstr(str_text(&text), "Capabilit"));
}
END_TEST

/* The bounding set of the packaged unit lets nothing else be ambient. */
START_TEST(a_unit_is_given_both)
{
    static const struct doctor_firewall firewall;
    const struct doctor_return way_back = {.is_wanted[DOCTOR_IPV4] = true};

    plan.way_back = &way_back;
    plan.firewall = &firewall;
    says(told(doctor_print_systemd),
         "\nAmbientCapabilities=CAP_NET_RAW\nCapabilityBoundingSet=CAP_NET_RAW\n");
    says(str_text(&row("transparent: capability")->remedy),
         "AmbientCapabilities=CAP_NET_RAW and CapabilityBoundingSet=CAP_NET_RAW in a drop-in");
    plan.way_back = NULL;
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sluicectl_doctor");
    TCase *tcase = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, all_is_well);
    tcase_add_test(tcase, nothing_is_known);
    tcase_add_test(tcase, nothing_is_known_of_the_network);
    tcase_add_test(tcase, descriptors_of_a_process);
    tcase_add_test(tcase, files_of_all);
    tcase_add_test(tcase, memory_of_the_machine);
    tcase_add_test(tcase, memory_of_the_group);
    tcase_add_test(tcase, memory_for_buffers);
    tcase_add_test(tcase, running_connections_are_discounted);
    tcase_add_test(tcase, ports_towards_backends);
    tcase_add_test(tcase, reserved_ports);
    tcase_add_test(tcase, ports_of_one_service);
    tcase_add_test(tcase, limits_of_the_file);
    tcase_add_test(tcase, ports_beside);
    tcase_add_test(tcase, ports_by_kernel);
    tcase_add_test(tcase, queues);
    tcase_add_test(tcase, buffers);
    tcase_add_test(tcase, source_addresses);
    tcase_add_test(tcase, ports_in_time_wait);
    tcase_add_test(tcase, handshakes);
    tcase_add_test(tcase, tables);
    tcase_add_test(tcase, a_plan_of_a_model);
    tcase_add_test(tcase, as_text);
    tcase_add_test(tcase, as_json);
    tcase_add_test(tcase, as_files);
    tcase_add_test(tcase, a_unit_is_given_both);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
