/*
 * What a commit makes of a slot beside its health: slow start, fullness, what checks ask for.
 */
#include "test_model_fixture.h"

#include "model/registry.h"

static struct scoreboard sb;
static struct registry *registry;
static uint32_t generation;
static uint32_t a, b; /* slots of the first two backends in the model in force */

static void setup(void)
{
    ck_assert_int_eq(scoreboard_create(&sb, 1, 1, 1), 0);
    registry = registry_create(&sb);
    ck_assert_ptr_nonnull(registry);
    generation = 0;
}

static void teardown(void)
{
    registry_destroy(registry);
    scoreboard_destroy(&sb);
}

#define TCP     "check \"tcp\" { }\n"
#define A(with) "backend \"a\" { address = \"10.0.0.1:80\" " with " }\n"
#define B(with) "backend \"b\" { address = \"10.0.0.2:80\" " with " }\n"

/* Brings a pool that holds text into force. */
static void load(const char *text, uint64_t now_ms)
{
    STR_AUTO whole = {0};
    STR_AUTO printed = {0};
    struct errlist errors = {0};
    struct model *model;

    str_printf(&whole, SERVICE "pool \"web\" {\n%s}\n", text);
    model = read_model(str_text(&whole), &printed);
    ck_assert_msg(model != NULL, "%s", str_text(&printed));
    ck_assert_int_eq(registry_plan(registry, model, now_ms, &errors), 0);
    model->generation = ++generation;
    registry_commit(registry, model);
    a = model->pools[0].backends[0].slot;
    b = model->pools[0].n_backends > 1 ? model->pools[0].backends[1].slot : UINT32_MAX;
    model_free(model);
}

static void find_up(uint32_t slot, uint64_t now_ms)
{
    scoreboard_set_health(&sb, slot, SB_HEALTH_UP, "passed", now_ms);
}

static void find_down(uint32_t slot, uint64_t now_ms)
{
    scoreboard_set_health(&sb, slot, SB_HEALTH_DOWN, "refused", now_ms);
}

static void expect_slow_from(uint32_t slot, uint64_t since_ms)
{
    ck_assert_uint_eq(atomic_load(&sb.slots[slot].slow_from_ms), since_ms);
}

/* --- slow start --- */

START_TEST(the_daemons_start_is_not_slow)
{
    load(A("") TCP "start = \"up\"\n" B("checks = \"none\""), 10);
    expect_slow_from(a, 0);
    expect_slow_from(b, 0);
    find_down(a, 20);
    find_up(a, 30);
    expect_slow_from(a, 30); /* but a recovery is */
}
END_TEST

START_TEST(nor_is_the_first_check_result)
{
    load(A("") TCP, 10);
    load(A("") TCP B(""), 15); /* nothing about a */
    find_up(a, 20);
    expect_slow_from(a, 0);
    find_down(a, 30);
    find_up(a, 40);
    expect_slow_from(a, 40);
    find_up(b, 50); /* came later */
    expect_slow_from(b, 50);
}
END_TEST

START_TEST(what_is_added_later_is_slow)
{
    load(A(""), 10);
    load(A("") B(""), 20);
    expect_slow_from(a, 0);
    expect_slow_from(b, 20);
    load(A("") B(""), 30);
    expect_slow_from(b, 20);
    load("backend \"a\" { address = \"10.0.0.9:80\" }\n" B(""), 40);
    expect_slow_from(a, 40); /* another address is another server */
}
END_TEST

START_TEST(what_comes_back_is_slow)
{
    load(A("") B(""), 10);
    load(A(""), 20);
    load(A("") B(""), 30);
    expect_slow_from(a, 0);
    expect_slow_from(b, 30);
}
END_TEST

START_TEST(what_is_made_ready_is_slow)
{
    static const char *const unready[] = {"admin = \"drain\"", "admin = \"maintenance\"",
                                          "weight = 0"};

    load(A("weight = 2") B(""), 10);
    for (uint64_t i = 0; i < 3; i++) {
        STR_AUTO text = {0};

        str_printf(&text, A("%s") B(""), unready[i]);
        load(str_text(&text), 100 * i + 20);
        expect_slow_from(a, i == 0 ? 0 : 100 * (i - 1) + 30);
        load(A("weight = 2") B(""), 100 * i + 30);
        expect_slow_from(a, 100 * i + 30);
        load(A("weight = 3") B(""), 100 * i + 40); /* only another weight */
        expect_slow_from(a, 100 * i + 30);
    }
    expect_slow_from(b, 0);
    load(A("weight = 0") B(""), 400);
    load(A("weight = 3 admin = \"drain\"") B(""), 410); /* still not */
    expect_slow_from(a, 230);
}
END_TEST

START_TEST(ready_before_it_is_up)
{
    load(A("admin = \"drain\"") TCP B("admin = \"drain\""), 10);
    find_up(b, 15);
    load(A("") TCP B(""), 20);
    expect_slow_from(b, 20);
    find_up(a, 30); /* its first result, but not since the start */
    expect_slow_from(a, 30);
}
END_TEST

/* --- fullness --- */

static bool is_full(uint32_t slot)
{
    return atomic_load(&sb.slot_full[slot]) != 0;
}

START_TEST(an_edited_limit_is_judged_at_once)
{
    load(A("max_connections = 10"), 10);
    atomic_store(&sb.slot_active[a], 8);
    load(A("max_connections = 8"), 20);
    ck_assert(is_full(a));
    load(A("max_connections = 9"), 30);
    ck_assert(!is_full(a));
    load(A("max_connections = 3"), 40);
    ck_assert(is_full(a));
    load(A("max_connections = 0"), 50);
    ck_assert(!is_full(a));
}
END_TEST

START_TEST(so_is_the_limit_of_one_that_comes_back)
{
    load(A("") B("max_connections = 10"), 10);
    atomic_store(&sb.slot_active[b], 5);
    load(A(""), 20);
    load(A("") B("max_connections = 5"), 30);
    ck_assert(is_full(b));
    load(A(""), 40);
    load(A("") B(""), 50);
    ck_assert(!is_full(b));
}
END_TEST

START_TEST(other_edits_leave_it_full)
{
    load(A("max_connections = 10"), 10);
    atomic_store(&sb.slot_active[a], 9); /* it was at 10, and 8 is where it resumes */
    atomic_store(&sb.slot_full[a], 1);
    load(A("max_connections = 10 weight = 3") B(""), 20);
    ck_assert(is_full(a));
    load(A("max_connections = 10 resume_connections = 8"), 30); /* which it is anyway */
    ck_assert(is_full(a));
    load(A("max_connections = 10 resume_connections = 9"), 40);
    ck_assert(!is_full(a));
}
END_TEST

/* --- what checks ask for --- */

#define AGENT       "check \"agent\" { port = 9 }\n"
#define NAMED(name) "backend \"" name "\" { address = \"10.0.0.1:80\" }\n"

/* The checks of a slot have had a result, and have asked for something. */
static void ask(uint32_t slot, uint32_t permille, uint32_t admin, uint32_t limit, uint64_t now_ms)
{
    struct sb_slot *record = &sb.slots[slot];

    atomic_store(&record->last_check_ms, now_ms);
    atomic_store(&record->asked_permille, permille);
    atomic_store(&record->asked_admin, admin);
    atomic_store(&record->asked_limit, limit);
    atomic_store(&record->asked_since_ms, now_ms);
}

static void expect_asked(uint32_t slot, uint32_t permille, uint32_t admin, uint32_t limit,
                         uint64_t since_ms)
{
    const struct sb_slot *record = &sb.slots[slot];

    ck_assert_uint_eq(atomic_load(&record->asked_permille), permille);
    ck_assert_uint_eq(atomic_load(&record->asked_admin), admin);
    ck_assert_uint_eq(atomic_load(&record->asked_limit), limit);
    ck_assert_uint_eq(atomic_load(&record->asked_since_ms), since_ms);
}

START_TEST(under_another_name_the_same_is_asked)
{
    uint32_t before;

    load(AGENT NAMED("a"), 10);
    find_up(a, 20);
    ask(a, 501, ADMIN_DRAIN, 31, 25);
    before = a;
    load(AGENT NAMED("z"), 30);
    ck_assert_uint_ne(a, before);
    expect_asked(a, 501, ADMIN_DRAIN, 31, 25);
    load(AGENT NAMED("z"), 40); /* it stays, and is not looked for again */
    expect_asked(a, 501, ADMIN_DRAIN, 31, 25);
}
END_TEST

START_TEST(by_other_checks_or_elsewhere_nothing_is_asked)
{
    static const char *const others[] = {
        "check \"agent\" { port = 8 }\n" NAMED("z"),
        NAMED("z"),
        AGENT "backend \"z\" { address = \"10.0.0.2:80\" }\n",
        AGENT "backend \"a\" { address = \"10.0.0.3:80\" }\n",
    };

    for (uint64_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        load(AGENT NAMED("a"), 100 * i + 10);
        find_up(a, 100 * i + 20);
        ask(a, 501, ADMIN_DRAIN, 31, 100 * i + 25);
        load(others[i], 100 * i + 30);
        expect_asked(a, 0, ADMIN_READY, 0, 0);
    }
}
END_TEST

/* Its last sessions have kept the slot; what it was asked for is as old as its health. */
START_TEST(nor_is_it_of_one_that_comes_back)
{
    load(A("") AGENT B(""), 10);
    find_up(b, 20);
    ask(b, 501, ADMIN_DRAIN, 31, 25);
    uint32_t before = b;
    load(A("") AGENT, 30);
    load(A("") AGENT B(""), 40);
    ck_assert_uint_eq(b, before);
    expect_asked(b, 0, ADMIN_READY, 0, 0);
}
END_TEST

int main(void)
{
    return RUN_SUITE_WITH(
        "model slot", setup, teardown, the_daemons_start_is_not_slow, nor_is_the_first_check_result,
        what_is_added_later_is_slow, what_comes_back_is_slow, what_is_made_ready_is_slow,
        ready_before_it_is_up, an_edited_limit_is_judged_at_once,
        so_is_the_limit_of_one_that_comes_back, other_edits_leave_it_full,
        under_another_name_the_same_is_asked, by_other_checks_or_elsewhere_nothing_is_asked,
        nor_is_it_of_one_that_comes_back);
}
