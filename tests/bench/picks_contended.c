/*
 * Whole choices by several workers at once on one pool. This file owns their processes: each takes
 * a core in turn and its part of the sessions, waits at the gate, and chooses until the common end.
 */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "picks.h"

#define WORKERS 4
#define BATCH   64 /* choices between two looks at the clock */
#define LENGTH  4  /* times options.ms: workers that share a core take turns of milliseconds */

static const uint32_t sizes[] = {32, 1000};
static const uint32_t crowds[] = {1, WORKERS}; /* one worker alone is what to compare with */

/* Shared between the workers and their parent. */
struct field {
    _Atomic int64_t end_ns; /* 0: the gate is shut */
    _Atomic uint32_t ready;
    struct result {
        _Alignas(64) uint64_t choices;
        uint64_t failures;
        int64_t cpu_ns;
    } results[WORKERS];
};

static int64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000 * NS_PER_MS + time.tv_nsec;
}

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = NS_PER_MS / 10}, NULL);
}

static void work(struct pool *pool, struct field *field, uint32_t worker, uint32_t n_workers,
                 uint64_t seed)
{
    struct result *result = &field->results[worker];
    struct whole whole;
    int64_t end_ns;

    whole_open(&whole, pool, worker, pool->n * POOL_SESSIONS / n_workers, seed);
    atomic_fetch_add(&field->ready, 1);
    while ((end_ns = atomic_load(&field->end_ns)) == 0)
        nap();
    int64_t cpu_ns = cpu_now_ns();
    do {
        whole_step(&whole, BATCH);
        result->choices += BATCH;
    } while (now_ns() < end_ns);
    result->cpu_ns = cpu_now_ns() - cpu_ns;
    result->failures = whole.seats.failures;
    whole_close(&whole);
}

/* Else they may all be on one core until the kernel moves them, and never meet. */
static void take_core(uint32_t worker)
{
    cpu_set_t allowed, own;
    size_t cpu = 0;

    if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
        give_up("no list of cores: %s", strerror(errno));
    for (uint32_t left = worker % (uint32_t)CPU_COUNT(&allowed);; left--) {
        while (!CPU_ISSET(cpu, &allowed))
            cpu++;
        if (left == 0)
            break;
        cpu++;
    }
    CPU_ZERO(&own);
    CPU_SET(cpu, &own);
    if (sched_setaffinity(0, sizeof(own), &own) != 0)
        give_up("cannot take core %zu: %s", cpu, strerror(errno));
}

static pid_t start_worker(struct pool *pool, struct field *field, uint32_t worker,
                          uint32_t n_workers, uint64_t seed)
{
    pid_t pid = fork();
    if (pid < 0)
        give_up("no process for a worker: %s", strerror(errno));
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* at the gate it would wait for ever */
        take_core(worker);
        work(pool, field, worker, n_workers, seed);
        _exit(0);
    }
    return pid;
}

static void open_gate(struct field *field, uint32_t n_workers, uint32_t ms)
{
    while (atomic_load(&field->ready) < n_workers) {
        siginfo_t info = {0};
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid != 0)
            give_up("a worker ended before the start");
        nap();
    }
    atomic_store(&field->end_ns, now_ns() + ms * NS_PER_MS);
}

static void run_crowd(struct pool *pool, struct field *field, uint32_t n_workers,
                      const struct options *options)
{
    pid_t pids[WORKERS];

    memset((void *)field, 0, sizeof(*field));
    for (uint32_t w = 0; w < n_workers; w++)
        pids[w] = start_worker(pool, field, w, n_workers, (uint64_t)options->round * WORKERS + w);
    open_gate(field, n_workers, LENGTH * options->ms);
    for (uint32_t w = 0; w < n_workers; w++) {
        int status;
        if (waitpid(pids[w], &status, 0) < 0 || status != 0)
            give_up("a worker failed");
    }
}

static void print_crowd(const char *row, const char *contender, const struct field *field,
                        uint32_t n_workers, uint32_t ms)
{
    double wall_s = ms / 1e3, cpu_ns = 0;
    uint64_t choices = 0, failures = 0;

    for (uint32_t w = 0; w < n_workers; w++) {
        choices += field->results[w].choices;
        failures += field->results[w].failures;
        cpu_ns += (double)field->results[w].cpu_ns;
    }
    const struct {
        const char *name;
        double value;
    } metrics[] = {{"rate", (double)choices / wall_s},
                   {"cpu", cpu_ns / (double)choices},
                   {"cores", cpu_ns / 1e9 / wall_s},
                   {"wall", wall_s * 1e9 * n_workers / (double)choices}};

    for (size_t m = 0; m < sizeof(metrics) / sizeof(metrics[0]); m++) {
        char metric[32];
        snprintf(metric, sizeof(metric), "%s-%" PRIu32, metrics[m].name, n_workers);
        sample_print(&(struct sample){.row = row,
                                      .contender = contender,
                                      .metric = metric,
                                      .value = metrics[m].value,
                                      /* counted once */
                                      .operations = m == 0 ? choices : 0,
                                      .seconds = m == 0 ? wall_s : 0,
                                      .failures = m == 0 ? failures : 0});
    }
}

static void measure_pool(struct pool *pool, struct field *field, const char *row,
                         const struct options *options)
{
    for (uint32_t s = 0; sched_table[s] != NULL; s++) {
        for (size_t c = 0; c < sizeof(crowds) / sizeof(crowds[0]); c++) {
            pool_enter(pool, s, WORKERS);
            run_crowd(pool, field, crowds[c], options);
            pool_leave(pool);
            print_crowd(row, sched_table[s]->name, field, crowds[c], LENGTH * options->ms);
        }
    }
}

void measure_contended(const struct options *options)
{
    struct field *field =
        mmap(NULL, sizeof(*field), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (field == MAP_FAILED)
        give_up("no shared memory: %s", strerror(errno));

    for (size_t i = 0; i < 2 * sizeof(sizes) / sizeof(sizes[0]); i++) {
        uint32_t n = sizes[i / 2];
        bool limited = i % 2 != 0;
        struct pool pool;
        char row[64];

        snprintf(row, sizeof(row), "contended-%s-%" PRIu32, limited ? "limited" : "unlimited", n);
        pool_open(&pool, n, limited);
        measure_pool(&pool, field, row, options);
        pool_close(&pool);
    }
    munmap((void *)field, sizeof(*field));
}
