/*
 * Reservations seen between any two machine instructions: a child is stepped through one call, and
 * its parent looks, or interferes, in between. Skipped (77) where tracing is not permitted.
 */
#include "sluice/scoreboard.h"

#include <check.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKERS 3
#define SLOT    11
#define SERVICE 12
#define POOL    13

/* More than any call takes. Also ends the stepping of processors whose exclusive loads never meet
 * their stores when stepped. */
#define STEPS_MAX 20000

static struct scoreboard sb;

/* Stepping */

/* Starts a child that stops before call(argument), and ends after it. */
static pid_t start_traced(void (*call)(int), int argument)
{
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
            _exit(77);
        raise(SIGSTOP);
        call(argument);
        _exit(0);
    }
    int status;
    if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
        return -1;
    return pid;
}

/* One instruction. False when the child has ended. */
static bool step(pid_t pid)
{
    int status;
    if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) != 0)
        return false;
    return waitpid(pid, &status, 0) == pid && WIFSTOPPED(status);
}

static void finish(pid_t pid)
{
    ptrace(PTRACE_CONT, pid, NULL, NULL);
    waitpid(pid, NULL, 0);
}

/* Parent and child take turns: on one processor that is several times faster. */
static void stay_on_one_cpu(void)
{
    int cpu = sched_getcpu();
    cpu_set_t set;

    if (cpu < 0)
        return;
    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    sched_setaffinity(0, sizeof(set), &set);
}

static void nothing(int argument)
{
    (void)argument;
}

static bool can_step(void)
{
    pid_t pid = start_traced(nothing, 0);
    if (pid < 0)
        return false;
    int steps = 0;
    while (steps < STEPS_MAX && step(pid))
        steps++;
    if (steps < STEPS_MAX)
        return true;
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return false;
}

/* Places */

static const struct {
    enum sb_place place;
    uint32_t index;
} places[] = {
    {SB_SLOT, SLOT}, {SB_SERVICE, SERVICE}, {SB_DAEMON, 0}, {SB_QUEUE, POOL}, {SB_BUFFER, 0}};

#define N_PLACES 5

static size_t place; /* of this test */

struct words {
    _Atomic uint32_t *count, *share, *turns;
    _Atomic uint64_t *intent;
};

static struct words words_of(struct scoreboard *of, uint32_t worker)
{
    struct sb_slot_cell *slot = scoreboard_slot_cell(of, worker, SLOT);
    struct sb_service_cell *service = scoreboard_service_cell(of, worker, SERVICE);
    struct sb_pool_cell *pool = scoreboard_pool_cell(of, worker, POOL);
    struct sb_worker *row = &of->workers[worker];
    struct words words[N_PLACES] = {
        {&of->slot_active[SLOT], &slot->active, &slot->turns, &row->intent},
        {&of->services[SERVICE].active, &service->active, &service->turns, &row->intent},
        {&of->header->active, &row->active, &row->turns, &row->intent},
        {&of->pools[POOL].queued, &pool->queued, &pool->turns, &row->intent},
        {&of->header->buffer_parts, &row->buffer_parts, &row->buffer_turns, &row->intent},
    };
    return words[place];
}

static uint64_t intent_word(void)
{
    return (uint64_t)places[place].place << 32 | (places[place].index + 1);
}

static bool reserve(uint32_t worker, uint32_t limit)
{
    return scoreboard_reserve(&sb, worker, places[place].place, places[place].index, limit);
}

static void release(uint32_t worker)
{
    scoreboard_release(&sb, worker, places[place].place, places[place].index);
}

/* Death after each instruction: what the parent sees there is repaired in a copy. */

enum call { CALL_RESERVE, CALL_RESERVE_LIMITED, CALL_REFUSED, CALL_RELEASE, CALL_COUNT };

static void do_call(int call)
{
    if (call == CALL_RELEASE)
        release(1);
    else
        reserve(1, call == CALL_RESERVE ? 0 : call == CALL_REFUSED ? 3 : 10);
}

static void copy_state(struct scoreboard *to)
{
    *to->header = *sb.header;
    memcpy(to->workers, sb.workers, WORKERS * sizeof(*sb.workers));
    atomic_store(&to->slot_active[SLOT], atomic_load(&sb.slot_active[SLOT]));
    to->services[SERVICE] = sb.services[SERVICE];
    to->pools[POOL] = sb.pools[POOL];
    for (uint32_t w = 0; w < WORKERS; w++) {
        *scoreboard_slot_cell(to, w, SLOT) = *scoreboard_slot_cell(&sb, w, SLOT);
        *scoreboard_service_cell(to, w, SERVICE) = *scoreboard_service_cell(&sb, w, SERVICE);
        *scoreboard_pool_cell(to, w, POOL) = *scoreboard_pool_cell(&sb, w, POOL);
    }
}

/* The words of worker 1 and the count, to tell whether an instruction changed any. */
struct image {
    uint64_t intent;
    uint32_t count, share, turns;
};

static bool image_changed(struct image *image)
{
    struct words words = words_of(&sb, 1);
    struct image old = *image;

    image->intent = atomic_load(words.intent);
    image->count = atomic_load(words.count);
    image->share = atomic_load(words.share);
    image->turns = atomic_load(words.turns);
    return image->intent != old.intent || image->count != old.count || image->share != old.share ||
           image->turns != old.turns;
}

static uint32_t repaired_count(struct scoreboard *copy)
{
    copy_state(copy);
    scoreboard_repair(copy, 1);
    ck_assert_uint_eq(copy->header->n_unsettled, 0);
    return atomic_load(words_of(copy, 0).count);
}

START_TEST(death_after_each_instruction)
{
    struct scoreboard copy;
    struct image image = {0};
    int wrong = 0, steps = 0, states = 0, halfway = 0;

    place = (size_t)_i % N_PLACES;
    ck_assert_int_eq(scoreboard_create(&sb, WORKERS, 1, 1), 0);
    ck_assert_int_eq(scoreboard_create(&copy, WORKERS, 1, 1), 0);
    reserve(0, 0);
    reserve(1, 0);
    reserve(1, 0);
    pid_t pid = start_traced(do_call, _i / N_PLACES);
    do {
        steps++;
        if (!image_changed(&image))
            continue;
        states++;
        halfway += image.count != image.share + 1; /* one of the places is worker 0's */
        wrong += repaired_count(&copy) != 1;
    } while (steps < STEPS_MAX && step(pid));
    ck_assert_int_lt(steps, STEPS_MAX);
    ck_assert_int_eq(wrong, 0);
    bool refused = _i / N_PLACES == CALL_REFUSED;
    ck_assert_int_eq(states, refused ? 3 : 6);
    ck_assert_int_eq(halfway, refused ? 0 : 1);
    scoreboard_destroy(&sb);
    scoreboard_destroy(&copy);
}
END_TEST

/*
 * Settling while others go on: the child settles, and at moments drawn beforehand the parent does
 * steps of reservations and releases by hand, in the order that reservation.c states.
 */

#define SCRIPT_STEPS 10 /* five of each of two calls */

#define INSTRUCTIONS 100000 /* to step in all */

struct script {
    bool releasing[2];           /* what worker 0, what worker 1 does */
    int at[2][SCRIPT_STEPS / 2]; /* after which instruction of the child; rising */
    int done[2];
};

static void add(_Atomic uint32_t *word, uint32_t by)
{
    atomic_fetch_add(word, by);
}

static void do_step(uint32_t worker, bool releasing, int number)
{
    struct words words = words_of(&sb, worker);
    switch (number) {
    case 0:
        atomic_store(words.intent, intent_word());
        break;
    case 1:
        add(releasing ? words.share : words.count, releasing ? UINT32_MAX : 1);
        break;
    case 2:
        add(releasing ? words.count : words.share, releasing ? UINT32_MAX : 1);
        break;
    case 3:
        add(words.turns, 1);
        break;
    case 4:
        atomic_store(words.intent, 0);
        break;
    }
}

static void do_steps_until(struct script *script, int now)
{
    for (uint32_t w = 0; w < 2; w++) {
        while (script->done[w] < SCRIPT_STEPS / 2 && script->at[w][script->done[w]] <= now)
            do_step(w, script->releasing[w], script->done[w]++);
    }
}

/*
 * Worker 0 does some steps of its call at one moment and the rest at another, often after all is
 * over; worker 1 does its whole call at one moment.
 */
static void draw_script(struct script *script, int steps)
{
    int first = (int)(random() % steps);
    int second = random() % 2 == 0 ? steps : first + (int)(random() % (steps - first));
    int whole = (int)(random() % steps);
    int cut = (int)(random() % (SCRIPT_STEPS / 2));

    *script = (struct script){.releasing = {random() % 2 == 0, random() % 2 == 0}};
    for (int i = 0; i < SCRIPT_STEPS / 2; i++) {
        script->at[0][i] = i < cut ? first : second;
        script->at[1][i] = whole;
    }
}

static void do_settle(int argument)
{
    (void)argument;
    scoreboard_settle(&sb);
}

/* Two live workers with one place each, and what a dead one may have left. */
static void prepare(bool excess)
{
    for (uint32_t w = 0; w < WORKERS; w++) {
        atomic_store(words_of(&sb, w).share, w < 2 ? 1 : 0);
        atomic_store(words_of(&sb, w).intent, 0);
    }
    atomic_store(words_of(&sb, 0).count, excess ? 3 : 2);
    sb.header->unsettled[0] = intent_word();
    sb.header->n_unsettled = 1;
}

/* How many instructions settling takes when nothing is in the way. */
static int measure_settling(void)
{
    int steps = 0;
    prepare(true);
    pid_t pid = start_traced(do_settle, 0);
    while (steps < STEPS_MAX && step(pid))
        steps++;
    return steps;
}

static bool settles_right(struct script *script, int steps, bool excess)
{
    prepare(excess);
    pid_t pid = start_traced(do_settle, 0);
    bool running = true;
    for (int now = 0; now < steps && running; now++) {
        do_steps_until(script, now);
        running = step(pid);
    }
    if (running)
        finish(pid);
    do_steps_until(script, STEPS_MAX);
    scoreboard_settle(&sb);
    uint32_t shares = atomic_load(words_of(&sb, 0).share) + atomic_load(words_of(&sb, 1).share);
    return sb.header->n_unsettled == 0 && atomic_load(words_of(&sb, 0).count) == shares;
}

START_TEST(settling_while_others_go_on)
{
    int wrong = 0;
    struct script script;

    place = 0;
    srandom(7);
    ck_assert_int_eq(scoreboard_create(&sb, WORKERS, 1, 1), 0);
    int steps = measure_settling();
    ck_assert_int_lt(steps, STEPS_MAX);
    /* some hundred runs, fewer where the compiler has put checks everywhere */
    for (int i = 0; i < INSTRUCTIONS / steps; i++) {
        draw_script(&script, steps);
        wrong += !settles_right(&script, steps, i % 2 == 0);
    }
    ck_assert_int_eq(wrong, 0);
    scoreboard_destroy(&sb);
}
END_TEST

int main(void)
{
    stay_on_one_cpu();
    if (!can_step()) {
        puts("skipped: processes cannot be stepped here");
        return 77;
    }

    Suite *suite = suite_create("pool reservation by instruction");
    TCase *tcase = tcase_create("steps");

    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, death_after_each_instruction, 0, CALL_COUNT * N_PLACES);
    tcase_add_test(tcase, settling_while_others_go_on);
    suite_add_tcase(suite, tcase);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
