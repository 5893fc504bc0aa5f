/*
 * How many connections a machine carries with a configuration, what decides, and what is said of a
 * max_connections that is out of reach. The machine is a struct, the model is from a text.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/read.h"
#include "proc/capacity.h"
#include "proc/registries.h"

#define GIB  (UINT64_C(1) << 30)
#define EACH 9304 /* 600 and 8704 */

static struct machine machine;
static struct model *model;
static struct capacity_demand demand;
static struct capacity capacity;
static capacity_here_fn *is_here;

static void setup(void)
{
    memset(&machine, 0, sizeof(machine));
    is_here = NULL;
    machine.nr_open = 1048576;
    machine.somaxconn = 4096;
    machine.nofile_soft = 1024;
    machine.nofile_hard = 20000;
    machine.cpus = 2;
    machine.file_max = 1000000;
    machine.file_used = 1000;
    machine.memory_available_bytes = 4 * GIB;
    machine.group_max_bytes = machine.group_used_bytes = MACHINE_UNKNOWN;
    machine.port_first = 32768;
    machine.port_last = 60999;
}

static void teardown(void)
{
    model_free(model);
    model = NULL;
}

static void judge_with(const char *text, uint32_t workers)
{
    struct errlist errors = {0};
    struct conf_tree *tree = conf_read_text("f", text, strlen(text), model_schema(), &errors);
    STR_AUTO said = {0};

    model_free(model);
    model = tree != NULL ? model_build(tree, &daemon_registries, &errors) : NULL;
    conf_tree_free(tree);
    errlist_print(&errors, &said);
    errlist_free(&errors);
    ck_assert_msg(model != NULL, "%s", str_text(&said));
    capacity_ask(model, &machine, workers, is_here, &demand);
    capacity_judge(&machine, &demand, &capacity);
}

#define SERVICE                "service \"s\" { listen = { \"127.0.0.1:80\", \"[::1]:80\" } pool = \"p\" }\n"
#define BACKEND(name, address) "backend \"" name "\" { address = \"" address "\" }\n"
#define POOL(name, inside)     "pool \"" name "\" { " inside " }\n"

static uint64_t pairs_with(const char *text)
{
    judge_with(text, 1);
    return demand.ports.pairs;
}

/* --- what is asked for --- */

START_TEST(pairs_are_of_different_addresses)
{
    ck_assert_uint_eq(pairs_with(SERVICE POOL("p", BACKEND("a", "10.0.0.1:80"))), 1);
    ck_assert_uint_eq(
        pairs_with(SERVICE POOL("p", BACKEND("a", "10.0.0.1:80") BACKEND("b", "10.0.0.1:81")
                                         BACKEND("c", "[::1]:80") BACKEND("d", "10.0.0.2:80"))),
        4);
    ck_assert_uint_eq(demand.listeners, 2);
    /* The same address in two pools that are in use; a third pool is used by nobody. */
    ck_assert_uint_eq(
        pairs_with(
            "service \"s\" { listen = \"127.0.0.1:80\" pool = \"p\" fallback_pool = \"q\" }\n" POOL(
                "p", BACKEND("a", "10.0.0.1:80") BACKEND("b", "10.0.0.2:80"))
                POOL("q", BACKEND("a", "10.0.0.1:80") BACKEND("b", "10.0.0.3:80"))
                    POOL("r", BACKEND("a", "10.0.0.9:80"))),
        3);
    /* Names that are not looked up yet: each other text may be another address. */
    ck_assert_uint_eq(pairs_with(SERVICE POOL("p", BACKEND("a", "a.example.net:80")
                                                       BACKEND("b", "b.example.net:80"))),
                      2);
}
END_TEST

START_TEST(some_need_no_port)
{
    ck_assert(pairs_with(SERVICE POOL("p", BACKEND("a", "unix:/run/a.sock"))) ==
              CAPACITY_UNBOUNDED);
    ck_assert(pairs_with(SERVICE POOL("p", BACKEND("a", "10.0.0.1:80") BACKEND(
                                               "b", "unix:/run/b.sock"))) == CAPACITY_UNBOUNDED);
    ck_assert(capacity.by[CAPACITY_PORTS] == CAPACITY_UNBOUNDED);
    ck_assert(
        pairs_with(SERVICE POOL("p", "reuse { mode = \"request\" framing = \"line\" }\n" BACKEND(
                                         "a", "10.0.0.1:80"))) == CAPACITY_UNBOUNDED);
    ck_assert_uint_eq(
        pairs_with(SERVICE POOL("p", "reuse { mode = \"warm\" }\n" BACKEND("a", "10.0.0.1:80"))),
        1);
    /* An unused pool changes nothing. */
    ck_assert_uint_eq(pairs_with(SERVICE POOL("p", BACKEND("a", "10.0.0.1:80"))
                                     POOL("q", BACKEND("a", "unix:/run/a.sock"))),
                      1);
}
END_TEST

#define SMALL SERVICE POOL("p", BACKEND("a", "10.0.0.1:80") BACKEND("b", "10.0.0.2:80"))

/* What load cannot be given to has no ports to count. */
START_TEST(only_what_load_can_be_given_to)
{
    static const struct {
        const char *inside;
        uint64_t pairs, beside;
    } cases[] = {
        {BACKEND("a", "10.0.0.1:80") "backend \"b\" { address = \"10.0.0.2:80\" backup = true }", 1,
         0},
        {BACKEND("a", "10.0.0.1:80") "backend \"b\" { address = \"unix:/b\" backup = true }", 1, 0},
        {BACKEND("a", "10.0.0.1:80") "backend \"b\" { address = \"unix:/b\" weight = 0 }", 1, 0},
        {BACKEND("a", "10.0.0.1:80") "backend \"b\" { address = \"10.0.0.2:80\" weight = 0 }", 1,
         0},
        {BACKEND("a",
                 "10.0.0.1:80") "backend \"b\" { address = \"10.0.0.2:80\" max_connections = 10 }",
         1, 10},
        {BACKEND("a", "10.0.0.1:80") "backend \"b\" { address = \"unix:/b\" max_connections = 10 }",
         1, 10},
        /* More than its ports: they are what ends it. */
        {BACKEND(
             "a",
             "10.0.0.1:80") "backend \"b\" { address = \"10.0.0.2:80\" max_connections = 100000 }",
         2, 0},
        /* Too few without backups: the first of them, or all. */
        {"backend \"a\" { address = \"10.0.0.1:80\" backup = true }\n"
         "backend \"b\" { address = \"10.0.0.2:80\" backup = true }",
         1, 0},
        {"backup_use = \"all\" backend \"a\" { address = \"10.0.0.1:80\" backup = true }\n"
         "backend \"b\" { address = \"10.0.0.2:80\" backup = true }",
         2, 0},
        {"min_healthy = 2 backend \"a\" { address = \"10.0.0.1:80\" }\n"
         "backend \"b\" { address = \"10.0.0.2:80\" backup = true }",
         2, 0},
        /* Those that wait need no port. */
        {"queue = 7 backend \"a\" { address = \"10.0.0.1:80\" max_connections = 3 }", 0, 10},
        {"queue = 7 backend \"a\" { address = \"unix:/a\" max_connections = 3 }", 0, 10},
        /* Nobody waits for a backend that has no port left, nor for one that is not there. */
        {"queue = 7 backend \"a\" { address = \"10.0.0.1:80\" max_connections = 40000 }", 1, 0},
        {"queue = 7 backend \"a\" { address = \"10.0.0.1:80\" max_connections = 3 }\n"
         "backend \"b\" { address = \"10.0.0.2:80\" max_connections = 40000 }",
         1, 3},
        {"queue = 7 backend \"a\" { address = \"10.0.0.1:80\" weight = 0 }", CAPACITY_UNBOUNDED, 0},
    };
    char bad[64] = "";

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[1024];
        snprintf(text, sizeof(text), SERVICE "pool \"p\" { %s }\n", cases[i].inside);
        judge_with(text, 1);
        if (demand.ports.pairs != cases[i].pairs || demand.ports.beside != cases[i].beside)
            snprintf(bad, sizeof(bad), "case %zu: %lu pairs, %lu beside", i,
                     (unsigned long)demand.ports.pairs, (unsigned long)demand.ports.beside);
    }
    ck_assert_str_eq(bad, "");
    /* Limits of the backends alone are no limit by ports: those who wait and fail are told of. */
    judge_with(SERVICE "pool \"p\" { queue = 7\n"
                       "backend \"a\" { address = \"10.0.0.1:80\" max_connections = 3 } }",
               1);
    ck_assert(capacity.by[CAPACITY_PORTS] == CAPACITY_UNBOUNDED);
}
END_TEST

#define UNIX_BESIDE                                                                                \
    SERVICE POOL("p", BACKEND("a", "10.0.0.1:80")) POOL(                                           \
        "q",                                                                                       \
        BACKEND("u",                                                                               \
                "unix:/run/u.sock")) "service \"t\" { listen = \"127.0.0.1:81\" pool = \"q\" }\n"

/* One that needs no port makes the sum unbounded, and the others no wider. */
START_TEST(each_service_is_bounded_by_itself)
{
    struct capacity_service alone;

    judge_with(UNIX_BESIDE, 1);
    ck_assert(capacity.by[CAPACITY_PORTS] == CAPACITY_UNBOUNDED);
    capacity_service_ask(model, &model->services[0], &machine, NULL, 500000, &alone);
    ck_assert_uint_eq(alone.holds, 27350);
    ck_assert_uint_eq(alone.asked, 500000);
    capacity_service_ask(model, &model->services[1], &machine, NULL, 0, &alone);
    ck_assert(alone.holds == CAPACITY_UNBOUNDED);
    ck_assert_uint_eq(alone.asked, 0);
}
END_TEST

START_TEST(workers)
{
    judge_with("global { workers = 7 }\n" SMALL, 7);
    ck_assert_uint_eq(capacity_workers(model, 2), 7);
    judge_with(SMALL, 2);
    ck_assert_uint_eq(capacity_workers(model, 2), 2);
    ck_assert_uint_eq(capacity_workers(model, 1000), WORKERS_MAX);
    ck_assert_uint_eq(capacity_workers(model, MACHINE_UNKNOWN), 1);
}
END_TEST

/* --- the three bounds --- */

START_TEST(descriptors)
{
    judge_with(SMALL, 1);
    /* 32 beside, one to wake each worker, two listeners. */
    ck_assert_uint_eq(capacity.by[CAPACITY_DESCRIPTORS], (20000 - 128 - 32 - 1 - 2) / 2);
    /* 9504 + 6 sqrt(9504 / 2) <= 9918, 9363 + 6 sqrt(9363 * 9 / 10) <= 9914 */
    judge_with(SMALL, 2);
    ck_assert_uint_eq(capacity.by[CAPACITY_DESCRIPTORS], 9504 * 2);
    judge_with(SMALL, 10);
    ck_assert_uint_eq(capacity.by[CAPACITY_DESCRIPTORS], 9363 * 10);
    machine.nofile_hard = 100; /* 33 for connections of each */
    judge_with(SMALL, 1);
    ck_assert_uint_eq(capacity.by[CAPACITY_DESCRIPTORS], 32);
    judge_with(SMALL, 2);
    ck_assert_uint_eq(capacity.by[CAPACITY_DESCRIPTORS], 15 * 2);
    machine.nofile_hard = 20000;
    machine.file_max = 21000;
    judge_with(SMALL, 10);
    ck_assert_uint_lt(capacity.by[CAPACITY_DESCRIPTORS], (21000 - 1000) / 2);
    ck_assert_uint_gt(capacity.by[CAPACITY_DESCRIPTORS],
                      (21000 - 1000 - 1000 - 20 * PIPES_MAX) / 2);
    machine.file_max = 10;
    judge_with(SMALL, 10);
    ck_assert_uint_eq(capacity.by[CAPACITY_DESCRIPTORS], 0);
    ck_assert_uint_eq(capacity_limit(&capacity, 0), 1); /* 0 would be no limit */
    machine.file_max = machine.nofile_hard = MACHINE_UNKNOWN;
    judge_with(SMALL, 10);
    ck_assert(capacity.by[CAPACITY_DESCRIPTORS] == CAPACITY_UNBOUNDED);
}
END_TEST

/* What is said to be needed for what is possible is what there is. */
START_TEST(needs_match_bounds)
{
    char bad[256] = "";

    for (uint32_t n = 1; n <= 40; n++) {
        judge_with(SMALL, n);
        uint64_t most = capacity.by[CAPACITY_DESCRIPTORS];
        uint64_t memory = capacity.by[CAPACITY_MEMORY];
        if (capacity_descriptors(&demand, most) > machine.nofile_hard ||
            capacity_descriptors(&demand, most + 2 * n) <= machine.nofile_hard ||
            capacity_files(&demand, most) > machine.file_max ||
            capacity_memory_bytes(memory) > machine.memory_available_bytes ||
            capacity_memory_bytes(memory + 8) <= machine.memory_available_bytes)
            snprintf(bad, sizeof(bad), "%u workers", n);
    }
    ck_assert_str_eq(bad, "");
}
END_TEST

/* The kernel's choice of a worker is a throw of dice: as many as are promised find room. */
START_TEST(uneven_shares_have_room)
{
    uint64_t state = 1;
    uint32_t fullest = 0, of[8] = {0};

    judge_with(SMALL, 8);
    for (uint64_t i = 0; i < capacity.by[CAPACITY_DESCRIPTORS]; i++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        uint32_t *count = &of[state >> 61];
        fullest = ++*count > fullest ? *count : fullest;
    }
    ck_assert_uint_gt(fullest, capacity.by[CAPACITY_DESCRIPTORS] / 8);
    ck_assert_uint_le(fullest, (20000 - 128 - 32 - 8 - 2) / 2);
    /* A million with the same descriptors. */
    ck_assert_uint_eq(capacity_workers_for(&machine, &demand, 1000000), 108);
}
END_TEST

/* Limits that are tight but enough are not said to be too low. */
START_TEST(few_descriptors)
{
    machine.nofile_hard = 40;
    judge_with("service \"s\" { listen = \"127.0.0.1:80\" pool = \"p\" }" POOL(
                   "p", BACKEND("a", "10.0.0.1:80")),
               1);
    ck_assert_uint_eq(capacity.by[CAPACITY_DESCRIPTORS], 3);
    ck_assert_uint_le(capacity_descriptors(&demand, 3), 40);
    ck_assert_uint_gt(capacity_descriptors(&demand, 4), 40);
}
END_TEST

START_TEST(ports)
{
    judge_with(SMALL, 2);
    ck_assert_uint_eq(capacity.by[CAPACITY_PORTS], 2 * (28232 - 882)); /* less a 32nd */
    memset(machine.reserved_ports + 40000 / 8, 0xff, 10);
    judge_with(SMALL, 2);
    ck_assert_uint_eq(capacity.by[CAPACITY_PORTS], 2 * (28152 - 879));
    machine.port_first = machine.port_last = MACHINE_UNKNOWN;
    judge_with(SMALL, 2);
    ck_assert(capacity.by[CAPACITY_PORTS] == CAPACITY_UNBOUNDED);
}
END_TEST

START_TEST(ports_of_sources)
{
    judge_with(SERVICE POOL("p", "source_addresses = { \"10.0.1.0/30\", \"fd00::1\" } " BACKEND(
                                     "a", "10.0.0.1:80") BACKEND("b", "[fd00::2]:80")
                                     BACKEND("c", "10.0.0.1:81")),
               2);
    ck_assert_uint_eq(demand.ports.pairs, 4 + 1 + 4);
    /* The kernel's choice for a family that is not there; of an address in two pools, the more. */
    judge_with(SERVICE POOL("p", "source_addresses = { \"10.0.1.0/30\" } " BACKEND(
                                     "a", "10.0.0.1:80") BACKEND("b", "[fd00::2]:80")),
               2);
    ck_assert_uint_eq(demand.ports.pairs, 4 + 1);
    ck_assert_uint_eq(capacity.by[CAPACITY_PORTS], 5 * 27350);
}
END_TEST

#define SOURCES(inside) "source_addresses = { " inside " } "
#define TWO                                                                                        \
    "service \"s\" { listen = \"127.0.0.1:80\" pool = \"p\" }\n"                                   \
    "service \"t\" { listen = \"127.0.0.1:81\" pool = \"q\" }\n"
#define LIMITED(name, address, most)                                                               \
    "backend \"" name "\" { address = \"" address "\" max_connections = " most " }\n"

/* A source and a destination have the ports once, in however many pools they are. */
START_TEST(ports_of_an_address_in_two_pools)
{
    static const struct {
        const char *p, *q;
        uint64_t pairs, beside;
    } cases[] = {
        /* The same sources, some of them, others, and the kernel's choice, which may be one. */
        {"source_addresses = { \"10.0.1.1\", \"10.0.1.2\" } " BACKEND("a", "10.0.0.1:80"),
         "source_addresses = { \"10.0.1.2\", \"10.0.1.1\" } " BACKEND("a", "10.0.0.1:80"), 2, 0},
        {"source_addresses = { \"10.0.1.1\", \"10.0.1.2\" } " BACKEND("a", "10.0.0.1:80"),
         "source_addresses = { \"10.0.1.2\", \"10.0.1.3\" } " BACKEND("a", "10.0.0.1:80"), 3, 0},
        {"source_addresses = { \"10.0.1.0/30\" } " BACKEND("a", "10.0.0.1:80"),
         "source_addresses = { \"10.0.1.4\" } " BACKEND("a", "10.0.0.1:80"), 5, 0},
        {"source_addresses = { \"10.0.1.1\", \"10.0.1.2\" } " BACKEND("a", "10.0.0.1:80"),
         BACKEND("a", "10.0.0.1:80"), 2, 0},
        {BACKEND("a", "10.0.0.1:80"), BACKEND("a", "10.0.0.1:80"), 1, 0},
        /* Another port is another destination. */
        {BACKEND("a", "10.0.0.1:80"), BACKEND("a", "10.0.0.1:81"), 2, 0},
        {BACKEND("a", "a.example.net:80"), BACKEND("b", "a.example.net:80"), 1, 0},
        /* Limits: of one, from an address of its own; of both, together beyond the ports. */
        {SOURCES("\"10.0.1.1\"") LIMITED("a", "10.0.0.1:80", "100"),
         SOURCES("\"10.0.1.2\"") BACKEND("a", "10.0.0.1:80"), 1, 100},
        {SOURCES("\"10.0.1.1\"") LIMITED("a", "10.0.0.1:80", "100"),
         SOURCES("\"10.0.1.1\"") BACKEND("a", "10.0.0.1:80"), 1, 0},
        {LIMITED("a", "10.0.0.1:80", "20000"), LIMITED("a", "10.0.0.1:80", "20000"), 1, 0},
        {LIMITED("a", "10.0.0.1:80", "2000"), LIMITED("a", "10.0.0.1:80", "3000"), 0, 5000},
        /* Who waits: for limits that end before the ports that are shared do. */
        {"queue = 7 " LIMITED("a", "10.0.0.1:80", "20000"),
         "queue = 7 " LIMITED("a", "10.0.0.1:80", "20000"), 1, 0},
        {"queue = 7 " LIMITED("a", "10.0.0.1:80", "2000"),
         "queue = 8 " LIMITED("a", "10.0.0.1:80", "3000"), 0, 5015},
        {"queue = 7 " LIMITED("a", "10.0.0.1:80", "2000"),
         "queue = 8 " LIMITED("a", "10.0.0.2:80", "30000"), 1, 2007},
    };
    char bad[64] = "";

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[1024];
        snprintf(text, sizeof(text), TWO "pool \"p\" { %s }\npool \"q\" { %s }\n", cases[i].p,
                 cases[i].q);
        judge_with(text, 1);
        if (demand.ports.pairs != cases[i].pairs || demand.ports.beside != cases[i].beside)
            snprintf(bad, sizeof(bad), "case %zu: %lu pairs, %lu beside", i,
                     (unsigned long)demand.ports.pairs, (unsigned long)demand.ports.beside);
    }
    ck_assert_str_eq(bad, "");
}
END_TEST

static bool is_even(const struct addr_ip *ip)
{
    return ip->family == ADDR_IPV4 && ip->bytes[3] % 2 == 0;
}

static bool is_nowhere(const struct addr_ip *ip)
{
    (void)ip;
    return false;
}

START_TEST(absent_sources_do_not_count)
{
    is_here = is_even;
    judge_with(SERVICE POOL("p", SOURCES("\"10.0.1.1-10.0.1.5\"") BACKEND("a", "10.0.0.1:80")), 2);
    ck_assert_uint_eq(demand.ports.pairs, 2);
    ck_assert_uint_eq(demand.sources, 5);
    ck_assert_uint_eq(demand.sources_absent, 3);
    ck_assert_uint_eq(demand.absent.bytes[3], 1);
    /* A backend of the other family is connected to from wherever the kernel likes, unless such an
     * address is asked for. */
    ck_assert_uint_eq(
        pairs_with(SERVICE POOL("p", SOURCES("\"10.0.1.1\"") BACKEND("a", "[fd00::2]:80"))), 1);
    ck_assert_uint_eq(pairs_with(SERVICE POOL("p", SOURCES("\"10.0.1.2\", \"fd00::1\"")
                                                       BACKEND("a", "[fd00::2]:80"))),
                      0);
    ck_assert_uint_eq(
        pairs_with(SERVICE POOL("p", SOURCES("\"10.0.1.2\"") BACKEND("a", "a.example.net:80"))), 1);
    is_here = is_nowhere;
    judge_with(SERVICE POOL("p", SOURCES("\"10.0.1.1\"") BACKEND("a", "10.0.0.1:80")), 2);
    ck_assert_uint_eq(demand.ports.pairs, 0);
    ck_assert_uint_eq(capacity.by[CAPACITY_PORTS], 0);
}
END_TEST

START_TEST(memory)
{
    judge_with(SMALL, 2);
    ck_assert_uint_eq(capacity.by[CAPACITY_MEMORY], 4 * GIB / 8 * 7 / EACH);
    machine.group_max_bytes = GIB;
    machine.group_used_bytes = GIB / 2;
    judge_with(SMALL, 2);
    ck_assert_uint_eq(capacity.by[CAPACITY_MEMORY], GIB / 2 / 8 * 7 / EACH);
    machine.group_used_bytes = 2 * GIB;
    judge_with(SMALL, 2);
    ck_assert_uint_eq(capacity.by[CAPACITY_MEMORY], 0);
    machine.memory_available_bytes = machine.group_max_bytes = MACHINE_UNKNOWN;
    judge_with(SMALL, 2);
    ck_assert(capacity.by[CAPACITY_MEMORY] == CAPACITY_UNBOUNDED);
}
END_TEST

START_TEST(buffers)
{
    machine = (struct machine){.memory_available_bytes = 4 * GIB,
                               .group_max_bytes = MACHINE_UNKNOWN,
                               .group_used_bytes = MACHINE_UNKNOWN};
    ck_assert_uint_eq(capacity_buffers(&machine, 2, 0), 4 * GIB / 32);
    ck_assert_uint_eq(capacity_buffers(&machine, 2, 12345), 12345);
    machine.group_max_bytes = GIB;
    machine.group_used_bytes = 0;
    ck_assert_uint_eq(capacity_buffers(&machine, 2, 0), GIB / 32);
    machine.group_used_bytes = GIB;
    ck_assert_uint_eq(capacity_buffers(&machine, 2, 0), UINT64_C(16) << 20);
    ck_assert_uint_eq(capacity_buffers(&machine, 110, 0), 110 * (UINT64_C(256) << 10));
    machine.group_max_bytes = MACHINE_UNKNOWN;
    machine.memory_available_bytes = 1000 * GIB;
    ck_assert_uint_eq(capacity_buffers(&machine, 2, 0), UINT64_C(512) << 20);
    machine.memory_available_bytes = MACHINE_UNKNOWN;
    ck_assert_uint_eq(capacity_buffers(&machine, 2, 0), UINT64_C(16) << 20);
}
END_TEST

/* --- the limit --- */

#define NONE CAPACITY_UNBOUNDED

START_TEST(the_smallest_decides)
{
    static const struct {
        uint64_t by[CAPACITY_BOUND_COUNT];
        uint32_t max_connections, limit;
        const char *limited_by;
    } cases[] = {
        {{10, 20, 30, NONE, NONE}, 0, 10, "descriptors"},
        {{30, 10, 20, NONE, NONE}, 0, 10, "ports"},
        {{30, 20, 10, NONE, NONE}, 0, 10, "memory"},
        /* The file's own limits decide, and lower nothing. */
        {{10, 20, 30, 5, NONE}, 0, 10, "services"},
        {{10, 20, 30, 6, 5}, 0, 10, "backends"},
        {{10, 20, 30, NONE, 5}, 7, 7, "backends"},
        {{NONE, NONE, NONE, NONE, 5}, 0, 0, "backends"},
        {{30, NONE, NONE, NONE, NONE}, 0, 30, "descriptors"},
        {{NONE, NONE, NONE, NONE, NONE}, 0, 0, "nothing"},
        {{NONE, NONE, NONE, NONE, NONE}, 5, 5, "max_connections"},
        {{UINT64_C(1) << 40, UINT64_C(1) << 41, UINT64_C(1) << 42, NONE, NONE},
         0,
         UINT32_MAX,
         "descriptors"},
        {{10, 20, 30, NONE, NONE}, 9, 9, "max_connections"},
        {{10, 20, 30, NONE, NONE}, 10, 10, "max_connections"},
        {{10, 20, 30, NONE, NONE}, 11, 11, "descriptors"}, /* not lowered, but told */
    };
    char bad[64] = "";

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        memcpy(capacity.by, cases[i].by, sizeof(capacity.by));
        if (capacity_limit(&capacity, cases[i].max_connections) != cases[i].limit ||
            strcmp(capacity_limited_by(&capacity, cases[i].max_connections), cases[i].limited_by) !=
                0)
            snprintf(bad, sizeof(bad), "case %zu", i);
    }
    ck_assert_str_eq(bad, "");
}
END_TEST

/* --- warnings --- */

static struct str said;

static const char *warnings(uint32_t max_connections)
{
    struct errlist errors = {0};

    demand.max_connections = max_connections;
    capacity_warn(&machine, &demand, &capacity, &errors);
    ck_assert_uint_eq(errors.errors, 0);
    str_free(&said);
    errlist_print(&errors, &said);
    errlist_free(&errors);
    return str_text(&said);
}

#define says(text, part) ck_assert_msg(strstr(text, part) != NULL, "no \"%s\" in: %s", part, text)

START_TEST(within_reach_nothing_is_said)
{
    judge_with(SMALL, 2);
    ck_assert_str_eq(warnings(0), "");
    ck_assert_str_eq(warnings(1), "");
    ck_assert_str_eq(warnings((uint32_t)capacity_least(&capacity)), "");
}
END_TEST

START_TEST(beyond_descriptors)
{
    judge_with(SMALL, 2);
    const char *text = warnings(50000);
    says(text,
         "global: warning: max_connections = 50000 cannot be reached: descriptors allow 19008");
    says(text, "LimitNOFILE=51506");
    says(text, "ulimit -Hn 51506");
    says(text, "workers = 6");
    ck_assert_ptr_null(strstr(text, "fs.file-max"));
    ck_assert_ptr_null(strstr(text, "ports allow"));

    ck_assert_ptr_null(strstr(text, "fs.nr_open"));

    /* A limit that the kernel would not let anyone set. */
    judge_with(SMALL, 2);
    says(warnings(3000000), "LimitNOFILE=3010558 in its unit, or after ulimit -Hn 3010558, and "
                            "before that sysctl -w fs.nr_open=3010558, which allows no limit "
                            "beyond 1048576 now");

    /* Its advice is good. */
    judge_with(SMALL, 6);
    ck_assert_str_eq(warnings(50000), "");
    machine.nofile_hard = 51506;
    judge_with(SMALL, 2);
    ck_assert_str_eq(warnings(50000), "");
}
END_TEST

START_TEST(beyond_all_files)
{
    machine.nofile_hard = 1000000;
    machine.file_max = 30000;
    judge_with(SMALL, 2);
    says(warnings(50000), "sysctl -w fs.file-max=101");
    ck_assert_ptr_null(strstr(str_text(&said), "LimitNOFILE"));
    machine.file_max = machine.file_used + capacity_files(&demand, 50000);
    judge_with(SMALL, 2);
    ck_assert_str_eq(warnings(50000), "");
}
END_TEST

START_TEST(beyond_ports)
{
    machine.nofile_hard = 1000000;
    judge_with(SMALL, 2);
    const char *text = warnings(100000);
    says(text, "ports allow 54700; 27350 for each pair of a source and a backend address, here 2");
    says(text, "net.ipv4.ip_local_port_range=\"1024 65535\" allows 124992 in all");
    machine.port_first = 1024;
    machine.port_last = 65535;
    judge_with(SMALL, 2);
    ck_assert_str_eq(warnings(100000), "");
    is_here = is_nowhere;
    judge_with(SERVICE POOL("p", SOURCES("\"10.0.1.1\"") BACKEND("a", "10.0.0.1:80")), 2);
    says(warnings(100), "ports allow 0; this machine has none of the source_addresses");
    is_here = NULL;
    judge_with(SMALL, 2);
    text = warnings(200000);
    says(text, "give pools source_addresses, or add backends");
    ck_assert_ptr_null(strstr(text, "sysctl"));
}
END_TEST

static const char *warnings_of_services(uint32_t max_connections)
{
    struct errlist errors = {0};

    demand.max_connections = max_connections;
    capacity_warn_services(model, &machine, is_here, &demand, &errors);
    str_free(&said);
    errlist_print(&errors, &said);
    errlist_free(&errors);
    return str_text(&said);
}

START_TEST(beyond_ports_of_a_service)
{
    judge_with(UNIX_BESIDE, 1);
    ck_assert_str_eq(warnings_of_services(0), "");
    ck_assert_str_eq(warnings_of_services(27350), "");
    says(warnings_of_services(27351),
         "f:1: service \"s\": warning: this service cannot have max_connections = "
         "27351: ports towards its backends allow 27350; give its "
         "pool source_addresses, add backends, or");
    /* The sum tells of it. */
    judge_with(SMALL, 1);
    ck_assert_str_eq(warnings_of_services(500000), "");
    judge_with(
        "service \"s\" { listen = \"127.0.0.1:80\" pool = \"p\" max_connections = 60000 }" POOL(
            "p", BACKEND("a", "10.0.0.1:80")),
        1);
    says(warnings_of_services(0), "cannot have max_connections = 60000");
    ck_assert_str_eq(warnings_of_services(20000), "");
}
END_TEST

/* Of every service or backend, or there is none. */
START_TEST(limits_of_the_file)
{
    static const struct {
        const char *text;
        uint64_t services, backends;
    } cases[] = {
        {TWO POOL("p", BACKEND("a", "10.0.0.1:80")) POOL("q", LIMITED("a", "10.0.0.1:80", "5")),
         NONE, NONE},
        {TWO POOL("p", "queue = 3 " LIMITED("a", "10.0.0.1:80", "5"))
             POOL("q", LIMITED("a", "unix:/run/a", "7") LIMITED("b", "10.0.0.1:80", "6")),
         NONE, 21},
        /* One pool of two services; a fallback is no help to what is full. */
        {"service \"s\" { listen = \"127.0.0.1:80\" pool = \"p\" max_connections = 10 }\n"
         "service \"t\" { listen = \"127.0.0.1:81\" pool = \"p\" max_connections = 20 "
         "fallback_pool = \"q\" }\n" POOL("p", LIMITED("a", "10.0.0.1:80", "5"))
             POOL("q", BACKEND("a", "10.0.0.1:81")),
         30, 5},
        /* Backups, a drained backend, names, requests of clients that hold nothing at rest. */
        {SERVICE "pool \"p\" { backend \"a\" { address = \"10.0.0.1:80\" max_connections = 5 }\n"
                 "backend \"b\" { address = \"10.0.0.2:80\" backup = true }\n"
                 "backend \"c\" { address = \"10.0.0.2:80\" weight = 0 } }\n",
         NONE, 5},
        {SERVICE "pool \"p\" { backend \"c\" { address = \"10.0.0.2:80\" weight = 0 } }\n", NONE,
         NONE},
        {SERVICE POOL("p", LIMITED("a", "a.example.net:80", "5")), NONE, NONE},
        {SERVICE POOL("p", "reuse { mode = \"request\" framing = \"line\" }\n" LIMITED(
                               "a", "10.0.0.1:80", "5")),
         NONE, NONE},
    };
    char bad[64] = "";

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        judge_with(cases[i].text, 1);
        if (demand.services != cases[i].services || demand.backends != cases[i].backends)
            snprintf(bad, sizeof(bad), "case %zu: %lu services, %lu backends", i,
                     (unsigned long)demand.services, (unsigned long)demand.backends);
    }
    ck_assert_str_eq(bad, "");
}
END_TEST

START_TEST(beyond_limits_of_the_file)
{
    judge_with(
        "service \"s\" { listen = \"127.0.0.1:80\" pool = \"p\" max_connections = 30 }\n" POOL(
            "p", "queue = 5 " LIMITED("a", "10.0.0.1:80", "15")),
        1);
    ck_assert_str_eq(warnings(0), "");
    ck_assert_str_eq(warnings(20), "");
    says(warnings(31),
         "global: warning: max_connections = 31 cannot be reached: services allow 30; "
         "that is what max_connections of all services come to; raise those");
    says(str_text(&said), "backends allow 20; that is what max_connections of all backends");
    says(warnings_of_services(0),
         "f:1: service \"s\": warning: this service cannot have max_connections = 30: "
         "max_connections of its pool's backends, and the pool's queue, "
         "allow 20; raise those");
    judge_with(
        "service \"s\" { listen = \"127.0.0.1:80\" pool = \"p\" max_connections = 20 }\n" POOL(
            "p", "queue = 5 " LIMITED("a", "10.0.0.1:80", "15")),
        1);
    ck_assert_str_eq(warnings_of_services(20), "");
}
END_TEST

START_TEST(beyond_memory)
{
    machine.nofile_hard = 10000000;
    machine.file_max = MACHINE_UNKNOWN;
    machine.port_first = MACHINE_UNKNOWN;
    judge_with(SMALL, 2);
    says(warnings(1000000), "memory allows 403922");
    says(str_text(&said), "10140 MiB would be needed and 4096 are left: add memory\n");
    machine.group_max_bytes = GIB;
    machine.group_used_bytes = 0;
    judge_with(SMALL, 2);
    says(warnings(1000000), "1024 are left to its control group");
    says(str_text(&said), "MemoryMax=");
    ck_assert_ptr_null(strchr(str_text(&said), '\n')[1] ? "more than one warning" : NULL);
}
END_TEST

static const char *warnings_of_settings(void)
{
    struct errlist errors = {0};

    capacity_warn_settings(model, &machine, &demand, &errors);
    str_free(&said);
    errlist_print(&errors, &said);
    errlist_free(&errors);
    return str_text(&said);
}

START_TEST(beyond_memory_with_buffers)
{
    machine.memory_total_bytes = 8 * GIB;
    judge_with("global { buffer_memory = \"8g\" }\n" SMALL, 1);
    ck_assert_str_eq(warnings_of_settings(), "");
    judge_with("global {\n  buffer_memory = \"9g\"\n}\n" SMALL, 1);
    says(warnings_of_settings(),
         "f:2: global: warning: buffer_memory is 9216 MiB, and this machine has 8192 MiB of memory "
         "in all, which slow peers could use up: lower it, or leave it at \"auto\"\n");
    machine.group_max_bytes = GIB;
    machine.group_used_bytes = 0;
    says(warnings_of_settings(), "the control group has 1024 MiB");
    says(str_text(&said), "MemoryMax=");
    machine.memory_total_bytes = machine.group_max_bytes = MACHINE_UNKNOWN;
    ck_assert_str_eq(warnings_of_settings(), "");
    judge_with(SMALL, 1);
    ck_assert_str_eq(warnings_of_settings(), "");
}
END_TEST

/* A socket for each address and worker; no number of connections is possible then. */
START_TEST(too_few_to_listen)
{
    machine.nofile_hard = 300; /* 32 beside, and four for each worker */
    judge_with("global {\n  workers = 67\n}\n" SMALL, 67);
    ck_assert_str_eq(warnings_of_settings(), "");
    ck_assert_uint_gt(capacity.by[CAPACITY_DESCRIPTORS], 0);
    judge_with("global {\n  workers = 68\n}\n" SMALL, 68);
    ck_assert_uint_eq(capacity.by[CAPACITY_DESCRIPTORS], 0);
    says(warnings_of_settings(),
         "f:2: global: warning: master needs 304 descriptors to listen on "
         "2 addresses for 68 workers, and may have 300: start it with LimitNOFILE=304 in its unit, "
         "or after ulimit -Hn 304, or with workers = 67\n");
    ck_assert_str_eq(warnings(100), ""); /* it is said once */
    machine.nofile_hard = MACHINE_UNKNOWN;
    ck_assert_str_eq(warnings_of_settings(), "");

    /* One socket for all workers. */
    machine.nofile_hard = 300;
    judge_with(
        "service \"s\" { listen = { \"unix:/run/s.sock\", \"[::1]:80\" } pool = \"p\" }\n" POOL(
            "p", BACKEND("a", "10.0.0.1:80")),
        80);
    ck_assert_uint_eq(capacity_master_descriptors(&demand), 32 + 80 * 3 + 1);
    ck_assert_str_eq(warnings_of_settings(), "");
}
END_TEST

#define BACKLOG(name, port, most)                                                                  \
    "service \"" name "\" { listen = \"127.0.0.1:" port "\" pool = \"p\" backlog = " most " }\n"

START_TEST(beyond_the_kernels_queue)
{
    judge_with(SMALL, 1); /* 4096 */
    ck_assert_str_eq(warnings_of_settings(), "");
    judge_with(BACKLOG("s", "80", "5000") BACKLOG("t", "81", "60000") BACKLOG("u", "82", "5000")
                   POOL("p", BACKEND("a", "10.0.0.1:80")),
               1);
    ck_assert_str_eq(warnings_of_settings(),
                     "f:2: service \"t\": warning: the kernel cuts backlog = 60000 to 4096: sysctl "
                     "-w net.core.somaxconn=60000 before the daemon is started, or lower it\n");
    machine.somaxconn = 60000;
    ck_assert_str_eq(warnings_of_settings(), "");
    machine.somaxconn = MACHINE_UNKNOWN;
    ck_assert_str_eq(warnings_of_settings(), "");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proc_capacity");
    TCase *tcase = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, pairs_are_of_different_addresses);
    tcase_add_test(tcase, some_need_no_port);
    tcase_add_test(tcase, only_what_load_can_be_given_to);
    tcase_add_test(tcase, each_service_is_bounded_by_itself);
    tcase_add_test(tcase, workers);
    tcase_add_test(tcase, descriptors);
    tcase_add_test(tcase, needs_match_bounds);
    tcase_add_test(tcase, uneven_shares_have_room);
    tcase_add_test(tcase, few_descriptors);
    tcase_add_test(tcase, ports);
    tcase_add_test(tcase, ports_of_sources);
    tcase_add_test(tcase, ports_of_an_address_in_two_pools);
    tcase_add_test(tcase, absent_sources_do_not_count);
    tcase_add_test(tcase, memory);
    tcase_add_test(tcase, buffers);
    tcase_add_test(tcase, the_smallest_decides);
    tcase_add_test(tcase, within_reach_nothing_is_said);
    tcase_add_test(tcase, beyond_descriptors);
    tcase_add_test(tcase, beyond_all_files);
    tcase_add_test(tcase, beyond_ports);
    tcase_add_test(tcase, beyond_ports_of_a_service);
    tcase_add_test(tcase, limits_of_the_file);
    tcase_add_test(tcase, beyond_limits_of_the_file);
    tcase_add_test(tcase, beyond_memory);
    tcase_add_test(tcase, beyond_memory_with_buffers);
    tcase_add_test(tcase, too_few_to_listen);
    tcase_add_test(tcase, beyond_the_kernels_queue);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
