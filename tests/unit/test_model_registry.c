/*
 * Places in the scoreboard over the life of several models, and the health a slot begins with.
 */
#include "test_model_fixture.h"

#include "model/registry.h"

#define N_WORKERS 2

static struct scoreboard sb;
static struct registry *registry;
static uint32_t generation;

static void setup(void)
{
    ck_assert_int_eq(scoreboard_create(&sb, N_WORKERS, 1, 1), 0);
    registry = registry_create(&sb);
    ck_assert_ptr_nonnull(registry);
    generation = 0;
}

static void teardown(void)
{
    registry_destroy(registry);
    registry_destroy(NULL);
    scoreboard_destroy(&sb);
}

static struct model *read_any(const char *text)
{
    STR_AUTO printed = {0};
    struct model *model = read_model(text, &printed);

    ck_assert_msg(model != NULL, "%s", str_text(&printed));
    return model;
}

static void plan(struct model *model, uint64_t now_ms)
{
    struct errlist errors = {0};

    ck_assert_int_eq(registry_plan(registry, model, now_ms, &errors), 0);
    ck_assert_uint_eq(errors.count, 0);
}

static void commit(struct model *model)
{
    model->generation = ++generation;
    registry_commit(registry, model);
}

/* The model in force from now on. */
static struct model *load(const char *text, uint64_t now_ms)
{
    struct model *model = read_any(text);

    plan(model, now_ms);
    commit(model);
    return model;
}

static struct model_backend *backend(const struct model *model, const char *name)
{
    struct model_backend *found = model_find_backend(&model->pools[0], name);

    ck_assert_ptr_nonnull(found);
    return found;
}

static void expect_health(const struct model_backend *of, enum sb_health health, const char *reason,
                          uint64_t since_ms)
{
    char text[SB_REASON_MAX];
    uint64_t since;

    ck_assert_int_eq(scoreboard_get_health(&sb, of->slot, &since, text), health);
    ck_assert_str_eq(text, reason);
    ck_assert_uint_eq(since, since_ms);
    ck_assert_uint_eq(atomic_load(&sb.slot_health[of->slot]), health);
}

/* As the monitor does. */
static void find_out(const struct model_backend *of, enum sb_health health, const char *reason)
{
    scoreboard_set_health(&sb, of->slot, health, reason, 500);
    atomic_store(&sb.slots[of->slot].last_check_ms, 500);
}

#define WITH(backends) SERVICE "pool \"web\" {\n" backends "\n}\n"
#define A              "backend \"a\" { address = \"10.0.0.1:80\" }\n"
#define B              "backend \"b\" { address = \"10.0.0.2:80\" }\n"
#define A_ELSEWHERE    "backend \"a\" { address = \"10.0.0.9:80\" }\n"
#define TCP            "check \"tcp\" { }\n"

/* --- places --- */

START_TEST(everything_gets_a_place_of_its_own)
{
    struct model *model = load("service \"s\" { listen = { \"127.0.0.1:80\", \"unix:/x\" } "
                               "pool = \"p\" }\n"
                               "service \"t\" { listen = { \"127.0.0.1:81\" } pool = \"q\" }\n"
                               "pool \"p\" { " A B "}\npool \"q\" { " A "}\n",
                               10);
    const struct model_backend *pa = &model->pools[0].backends[0];
    const struct model_backend *pb = &model->pools[0].backends[1];
    const struct model_backend *qa = &model->pools[1].backends[0];

    ck_assert_uint_ne(model->services[0].row, model->services[1].row);
    ck_assert_uint_ne(model->services[0].listeners[0].id, model->services[0].listeners[1].id);
    ck_assert_uint_ne(model->services[0].listeners[0].id, model->services[1].listeners[0].id);
    ck_assert_uint_ne(model->services[0].listeners[1].id, model->services[1].listeners[0].id);
    ck_assert(pa->slot != pb->slot && pb->slot != qa->slot && pa->slot != qa->slot);
    ck_assert(pa->row != pb->row && pb->row != qa->row && pa->row != qa->row);
    ck_assert_uint_lt(pa->slot, SB_SLOTS_MAX);
    ck_assert_uint_lt(pa->row, BACKENDS_MAX);
    ck_assert_uint_ne(model->pools[0].row, model->pools[1].row);
    ck_assert_uint_lt(model->pools[0].row, POOLS_MAX);
    ck_assert_uint_eq(atomic_load(&sb.slots[pa->slot].pool), model->pools[0].row);
    ck_assert_uint_eq(atomic_load(&sb.slots[pb->slot].pool), model->pools[0].row);
    ck_assert_uint_eq(atomic_load(&sb.slots[qa->slot].pool), model->pools[1].row);
    model_free(model);
}
END_TEST

START_TEST(places_stay_over_reloads)
{
    struct model *first = load(WITH(A B), 10);
    struct model *second = load(WITH("backend \"new\" { address = \"10.0.0.3:80\" }" B A), 20);

    ck_assert_uint_eq(backend(first, "a")->slot, backend(second, "a")->slot);
    ck_assert_uint_eq(backend(first, "a")->row, backend(second, "a")->row);
    ck_assert_uint_eq(backend(first, "b")->slot, backend(second, "b")->slot);
    ck_assert_uint_eq(first->services[0].row, second->services[0].row);
    ck_assert_uint_eq(first->pools[0].row, second->pools[0].row);
    ck_assert_uint_eq(first->services[0].listeners[0].id, second->services[0].listeners[0].id);
    ck_assert_uint_ne(backend(second, "new")->slot, backend(second, "a")->slot);
    model_free(first);
    model_free(second);
}
END_TEST

START_TEST(a_changed_address_gets_a_slot_and_keeps_the_row)
{
    struct model *first = load(WITH(A), 10);
    struct model *second = load(WITH(A_ELSEWHERE), 20);

    ck_assert_uint_eq(backend(first, "a")->row, backend(second, "a")->row);
    ck_assert_uint_ne(backend(first, "a")->slot, backend(second, "a")->slot);
    model_free(first);
    model_free(second);
}
END_TEST

START_TEST(a_retired_slot_is_handed_back)
{
    struct model *first = load(WITH(A B), 10);
    struct model *second;
    struct model *third;

    atomic_store(&sb.slot_active[backend(first, "b")->slot], 3);
    second = load(WITH(A), 20);
    registry_sweep(registry, generation);
    third = load(WITH(A B), 30);
    ck_assert_uint_eq(backend(third, "b")->slot, backend(first, "b")->slot);
    ck_assert_uint_eq(backend(third, "b")->row, backend(first, "b")->row);
    ck_assert_uint_eq(atomic_load(&sb.slot_active[backend(third, "b")->slot]), 3);
    model_free(first);
    model_free(second);
    model_free(third);
}
END_TEST

/* --- listeners --- */

static uint32_t listener_id(const struct model *model, size_t service, size_t listener)
{
    return model->services[service].listeners[listener].id;
}

START_TEST(an_address_keeps_its_id_in_another_service)
{
    struct model *first = load("service \"s\" { listen = { \"127.0.0.1:80\", \"127.0.0.1:81\" } "
                               "pool = \"web\" }\n" POOL,
                               10);
    struct model *second = load("service \"t\" { listen = { \"127.0.0.1:82\", \"127.0.0.1:81\" } "
                                "pool = \"web\" }\n" POOL,
                                20);

    ck_assert_uint_eq(listener_id(first, 0, 1), listener_id(second, 0, 1));
    ck_assert_uint_gt(listener_id(second, 0, 0), listener_id(first, 0, 1));
    ck_assert_uint_ne(first->services[0].row, second->services[0].row);
    model_free(first);
    model_free(second);
}
END_TEST

START_TEST(an_id_never_comes_back)
{
    struct model *first = load(SERVICE POOL, 10);
    struct model *second =
        load("service \"web\" { listen = { \"127.0.0.1:81\" } pool = \"web\" }\n" POOL, 20);
    struct model *third = load(SERVICE POOL, 30);

    ck_assert_uint_eq(listener_id(first, 0, 0), 0);
    ck_assert_uint_eq(listener_id(second, 0, 0), 1);
    ck_assert_uint_eq(listener_id(third, 0, 0), 2);
    model_free(first);
    model_free(second);
    model_free(third);
}
END_TEST

START_TEST(port_zero_belongs_to_the_service)
{
    static const char text[] =
        "service \"s\" { listen = { \"127.0.0.1:0\", \"127.0.0.2:0\" } pool = \"web\" }\n"
        "service \"t\" { listen = { \"127.0.0.1:0\" } pool = \"web\" }\n" POOL;
    struct model *first = load(text, 10);
    struct model *second;

    ck_assert_uint_ne(listener_id(first, 0, 0), listener_id(first, 1, 0));
    /* The master notes which port the kernel chose; the next model has 0 again. */
    first->services[0].listeners[0].address.ip.port = 40000;
    second = load(text, 20);
    for (size_t i = 0; i < 2; i++) {
        ck_assert_uint_eq(listener_id(first, 0, i), listener_id(second, 0, i));
    }
    ck_assert_uint_eq(listener_id(first, 1, 0), listener_id(second, 1, 0));
    model_free(first);
    model_free(second);
}
END_TEST

/* --- all or nothing --- */

START_TEST(abort_leaves_all_as_it_was)
{
    struct model *first = load(WITH(TCP A B), 10);
    struct model *other =
        read_any("service \"new\" { listen = { \"127.0.0.1:99\" } pool = \"web\" }\n"
                 "pool \"web\" { " A_ELSEWHERE "backend \"c\" { address = \"10.0.0.3:80\" } }\n");
    struct model *again = read_any(WITH(A B));
    struct model *later = read_any(WITH(TCP A B "backend \"d\" { address = \"10.0.0.4:80\" }"));
    uint32_t epoch = atomic_load(&sb.header->health_epoch);
    uint32_t slot = backend(first, "a")->slot;

    find_out(backend(first, "a"), SB_HEALTH_DOWN, "refused");
    epoch = atomic_load(&sb.header->health_epoch);
    registry_abort(registry); /* without a plan */
    for (int i = 0; i < 3; i++) {
        plan(other, 20);
        registry_abort(registry);
        plan(again, 20); /* would say "no check configured" */
        registry_abort(registry);
    }
    expect_health(backend(first, "a"), SB_HEALTH_DOWN, "refused", 500);
    ck_assert_uint_eq(atomic_load(&sb.header->health_epoch), epoch);
    plan(later, 30);
    commit(later);
    ck_assert_uint_eq(backend(later, "a")->slot, slot);
    ck_assert_uint_eq(backend(later, "d")->slot, 2); /* the next one that was never used */
    ck_assert_uint_eq(backend(later, "d")->row, 2);
    ck_assert_uint_eq(listener_id(later, 0, 0), listener_id(first, 0, 0));
    expect_health(backend(later, "a"), SB_HEALTH_DOWN, "refused", 500);
    model_free(first);
    model_free(other);
    model_free(again);
    model_free(later);
}
END_TEST

/* A pool of n backends whose names and addresses begin at first. */
static struct model *many(unsigned first, unsigned n)
{
    STR_AUTO text = {0};

    str_append(&text, SERVICE "pool \"web\" {\n");
    for (unsigned i = first; i < first + n; i++) {
        str_printf(&text, "backend \"b%u\" { address = \"10.%u.%u.%u:80\" }\n", i, i >> 16,
                   i >> 8 & 255, i & 255);
    }
    str_append(&text, "}\n");
    return read_any(str_text(&text));
}

static void expect_no_place(struct model *model, const char *what)
{
    struct errlist errors = {0};
    STR_AUTO printed = {0};
    STR_AUTO expected = {0};

    str_printf(&expected,
               "no place left for more %s at a time, removed ones count until their last session "
               "has ended; wait for that, or remove fewer at once\n",
               what);
    ck_assert_int_eq(registry_plan(registry, model, 20, &errors), -ENOSPC);
    errlist_print(&errors, &printed);
    ck_assert_str_eq(str_text(&printed), str_text(&expected));
    errlist_free(&errors);
}

START_TEST(exhaustion)
{
    struct model *first = many(0, BACKENDS_MAX);
    struct model *second = many(BACKENDS_MAX - 100, 200); /* 100 of them new */
    struct model *third = many(0, BACKENDS_MAX);
    uint32_t busy;

    plan(first, 10);
    commit(first);
    expect_no_place(second, "backends: at most 8192");
    expect_no_place(second, "backends: at most 8192");
    plan(third, 20); /* the same once more: nothing is needed */
    commit(third);
    /* Room comes with fewer, and when what is gone is gone. */
    model_free(third);
    third = many(BACKENDS_MAX - 100, 100);
    plan(third, 30);
    commit(third);
    expect_no_place(second, "backends: at most 8192");
    busy = first->pools[0].backends[7].slot;
    atomic_store(&sb.slot_active[busy], 1);
    registry_sweep(registry, generation);
    plan(second, 40);
    commit(second);
    for (size_t i = 0; i < second->pools[0].n_backends; i++) {
        ck_assert_uint_ne(second->pools[0].backends[i].slot, busy);
    }
    model_free(first);
    model_free(second);
    model_free(third);
}
END_TEST

/* As many pools as there may be, without backends but for the first. */
static struct model *many_pools(const char *prefix)
{
    STR_AUTO text = {0};

    str_append(&text, SERVICE "pool \"web\" { " A "}\n");
    for (unsigned i = 1; i < POOLS_MAX; i++) {
        str_printf(&text, "pool \"%s%u\" { }\n", prefix, i);
    }
    return read_any(str_text(&text));
}

START_TEST(exhaustion_of_pools)
{
    struct model *first = many_pools("p");
    struct model *second = many_pools("q");
    struct model *third = read_any(WITH(A));

    plan(first, 10);
    commit(first);
    expect_no_place(second, "pools: at most 1024");
    plan(third, 20);
    commit(third);
    expect_no_place(second, "pools: at most 1024");
    registry_sweep(registry, generation);
    plan(second, 30);
    model_free(first);
    model_free(second);
    model_free(third);
}
END_TEST

/* --- giving back --- */

START_TEST(sweep_waits_for_sessions_and_generations)
{
    struct model *first = load(WITH(A B), 10);
    uint32_t slot = backend(first, "b")->slot;
    uint32_t row = backend(first, "b")->row;
    struct model *second;
    struct model *probe = read_any(WITH(A "backend \"c\" { address = \"10.0.0.3:80\" }"));

    atomic_store(&sb.slot_active[slot], 1);
    atomic_store(&sb.rows[row].connections_total, 7);
    scoreboard_row_cell(&sb, 1, row)->bytes_in = 9;
    second = load(WITH(A), 20); /* generation 2 */

    registry_sweep(registry, 2);
    plan(probe, 30);
    ck_assert_uint_eq(backend(probe, "c")->slot, 2); /* busy: not b's */
    registry_abort(registry);

    atomic_store(&sb.slot_active[slot], 0);
    registry_sweep(registry, 1);
    plan(probe, 30);
    ck_assert_uint_eq(backend(probe, "c")->slot, 2); /* somebody may still pick it */
    registry_sweep(registry, 2);                     /* not during a plan */
    registry_abort(registry);
    plan(probe, 30);
    ck_assert_uint_eq(backend(probe, "c")->slot, 2);
    registry_abort(registry);

    registry_sweep(registry, 2);
    plan(probe, 30);
    registry_abort(registry);
    plan(probe, 30);
    ck_assert_uint_eq(backend(probe, "c")->slot, slot);
    ck_assert_uint_eq(backend(probe, "c")->row, row);
    commit(probe);
    ck_assert_uint_eq(atomic_load(&sb.rows[row].connections_total), 0);
    ck_assert_uint_eq(scoreboard_row_cell(&sb, 1, row)->bytes_in, 0);
    expect_health(backend(probe, "c"), SB_HEALTH_UP, "no check configured", 30);
    model_free(first);
    model_free(second);
    model_free(probe);
}
END_TEST

START_TEST(a_row_outlives_its_slots)
{
    struct model *first = load(WITH(A B), 10);
    struct model *second = load(WITH(A_ELSEWHERE B), 20);
    struct model *third;
    struct model *probe = read_any(WITH(B "backend \"c\" { address = \"10.0.0.3:80\" }"));

    atomic_store(&sb.slot_active[backend(first, "a")->slot], 1); /* on the old address */
    third = load(WITH(B), 30);
    registry_sweep(registry, generation);
    plan(probe, 40);
    ck_assert_uint_eq(backend(probe, "c")->slot, backend(second, "a")->slot);
    ck_assert_uint_ne(backend(probe, "c")->row, backend(first, "a")->row);
    registry_abort(registry);
    atomic_store(&sb.slot_active[backend(first, "a")->slot], 0);
    registry_sweep(registry, generation);
    plan(probe, 40);
    ck_assert_uint_eq(backend(probe, "c")->row, backend(first, "a")->row);
    model_free(first);
    model_free(second);
    model_free(third);
    model_free(probe);
}
END_TEST

START_TEST(services_drain_too)
{
    static const char other[] =
        "service \"other\" { listen = { \"127.0.0.1:80\" } pool = \"web\" }\n" POOL;
    static const char third_text[] =
        "service \"third\" { listen = { \"127.0.0.1:80\" } pool = \"web\" }\n" POOL;
    struct model *first = load(SERVICE POOL, 10);
    uint32_t row = first->services[0].row;
    struct model *second;
    struct model *third;

    atomic_store(&sb.services[row].active, 1);
    scoreboard_service_cell(&sb, 1, row)->connections_total = 4;
    second = load(other, 20);
    ck_assert_uint_ne(second->services[0].row, row);
    registry_sweep(registry, generation);
    third = load(third_text, 30);
    ck_assert_uint_ne(third->services[0].row, row);
    model_free(third);
    model_free(second);
    second = load(other, 40);
    atomic_store(&sb.services[row].active, 0);
    registry_sweep(registry, generation);
    third = load(third_text, 50);
    ck_assert_uint_eq(scoreboard_service_cell(&sb, 1, third->services[0].row)->connections_total,
                      0);
    model_free(first);
    model_free(second);
    model_free(third);
}
END_TEST

/* A pool of that name with one backend of its own address. */
static struct model *one_pool(const char *name)
{
    STR_AUTO text = {0};

    str_printf(&text,
               "service \"web\" { listen = { \"127.0.0.1:80\" } pool = \"%s\" }\n"
               "pool \"%s\" { " A "}\n",
               name, name);
    return read_any(str_text(&text));
}

static uint32_t probe_pool(const char *name)
{
    struct model *model = one_pool(name);
    uint32_t row;

    plan(model, 30);
    row = model->pools[0].row;
    registry_abort(registry);
    model_free(model);
    return row;
}

START_TEST(a_pool_waits_for_its_slots_and_its_queue)
{
    struct model *first = one_pool("old");
    struct model *second = one_pool("new");
    struct model *third = one_pool("newer");
    uint32_t slot;
    uint32_t row;

    plan(first, 10);
    commit(first);
    slot = first->pools[0].backends[0].slot;
    row = first->pools[0].row;
    plan(second, 20);
    commit(second);
    ck_assert_uint_ne(second->pools[0].row, row);

    atomic_store(&sb.slot_active[slot], 1);
    registry_sweep(registry, generation);
    ck_assert_uint_ne(probe_pool("newer"), row);
    ck_assert_uint_eq(probe_pool("old"), row); /* handed back */
    atomic_store(&sb.slot_active[slot], 0);
    atomic_store(&sb.pools[row].queued, 1);
    registry_sweep(registry, generation);
    ck_assert_uint_ne(probe_pool("newer"), row);
    atomic_store(&sb.pools[row].queued, 0);
    atomic_store(&sb.pools[row].queued_peak, 4);
    scoreboard_pool_cell(&sb, 1, row)->turns = 3;
    registry_sweep(registry, generation);

    plan(third, 40);
    ck_assert_uint_eq(third->pools[0].row, row);
    ck_assert_uint_eq(atomic_load(&sb.pools[row].queued_peak), 4); /* the plan touches nothing */
    commit(third);
    ck_assert_uint_eq(atomic_load(&sb.pools[row].queued_peak), 0);
    ck_assert_uint_eq(scoreboard_pool_cell(&sb, 1, row)->turns, 0);
    model_free(first);
    model_free(second);
    model_free(third);
}
END_TEST

START_TEST(places_do_not_leak)
{
    /* Every reload has other names and addresses: without giving back, 8192 would be used up. */
    for (unsigned i = 0; i < 30; i++) {
        struct model *model = many(i * 1000, 1000);

        plan(model, 10);
        commit(model);
        registry_sweep(registry, generation);
        model_free(model);
    }
}
END_TEST

/* --- health --- */

START_TEST(without_checks_it_is_up)
{
    struct model *model =
        load(WITH("start = \"down\"\n" A
                  "backend \"b\" { address = \"10.0.0.2:80\" checks = \"none\" }"),
             10);

    expect_health(backend(model, "a"), SB_HEALTH_UP, "no check configured", 10);
    expect_health(backend(model, "b"), SB_HEALTH_UP, "no check configured", 10);
    model_free(model);
}
END_TEST

START_TEST(with_checks_the_pool_says_how_it_starts)
{
    struct model *model = load(WITH(TCP A), 10);

    expect_health(backend(model, "a"), SB_HEALTH_UNKNOWN, "no check result yet", 10);
    model_free(model);
    model = load(WITH(TCP "start = \"up\"\n" B), 20);
    expect_health(backend(model, "b"), SB_HEALTH_UP, "assumed up until the first check", 20);
    model_free(model);
    model = load(WITH(TCP "start = \"down\"\nbackend \"c\" { address = \"10.0.0.3:80\" }"), 30);
    expect_health(backend(model, "c"), SB_HEALTH_DOWN, "assumed down until the first check", 30);
    model_free(model);
}
END_TEST

START_TEST(a_kept_slot_keeps_its_health)
{
    struct model *first = load(WITH(TCP A B), 10);
    struct model *second;

    find_out(backend(first, "a"), SB_HEALTH_DOWN, "refused");
    find_out(backend(first, "b"), SB_HEALTH_UP, "2 checks passed");
    second = load(WITH("check \"tcp\" { interval = \"9s\" port = 81 }\nstart = \"up\"\n" A B), 20);
    expect_health(backend(second, "a"), SB_HEALTH_DOWN, "refused", 500);
    expect_health(backend(second, "b"), SB_HEALTH_UP, "2 checks passed", 500);
    model_free(first);
    model_free(second);
}
END_TEST

START_TEST(checks_that_come_and_go)
{
    struct model *first = load(WITH(A), 10);
    struct model *second = load(WITH(TCP A), 20);
    struct model *third;

    expect_health(backend(second, "a"), SB_HEALTH_UP, "no check configured", 10);
    find_out(backend(second, "a"), SB_HEALTH_DOWN, "refused");
    third = load(WITH(A), 30);
    expect_health(backend(third, "a"), SB_HEALTH_UP, "no check configured", 30);
    model_free(first);
    model_free(second);
    model_free(third);
}
END_TEST

START_TEST(a_new_slot_inherits_what_is_known)
{
    struct model *first = load(WITH(TCP A B "backend \"c\" { address = \"10.0.0.3:80\" }"), 10);
    struct model *second;
    const struct model_backend *found;

    find_out(backend(first, "a"), SB_HEALTH_DOWN, "refused");
    scoreboard_set_health(&sb, backend(first, "b")->slot, SB_HEALTH_UP, "only assumed", 11);
    second =
        load("service \"web\" { listen = { \"127.0.0.1:80\" } pool = \"q\" }\n"
             "service \"w\" { listen = { \"127.0.0.1:81\" } pool = \"r\" }\n"
             "pool \"q\" { " TCP "start = \"up\"\n"
             "  backend \"renamed\" { address = \"10.0.0.1:80\" }\n"
             "  backend \"never\" { address = \"10.0.0.2:80\" }\n"
             "  backend \"port\" { address = \"10.0.0.1:81\" }\n"
             "  backend \"kind\" { address = \"10.0.0.1:80\" check \"http\" { } }\n"
             "  backend \"also\" { address = \"10.0.0.1:80\" check \"tcp:x\" { fall = 9 } } }\n"
             "pool \"r\" { check \"tcp\" { port = 80 }\n"
             "  backend \"a\" { address = \"10.0.0.1:80\" } }\n",
             20);
    found = second->pools[0].backends;
    expect_health(&found[0], SB_HEALTH_DOWN, "refused", 20);
    expect_health(&found[1], SB_HEALTH_UP, "assumed up until the first check", 20);
    expect_health(&found[2], SB_HEALTH_UP, "assumed up until the first check", 20);
    expect_health(&found[3], SB_HEALTH_UP, "assumed up until the first check", 20);
    expect_health(&found[4], SB_HEALTH_DOWN, "refused", 20);
    expect_health(&second->pools[1].backends[0], SB_HEALTH_UNKNOWN, "no check result yet", 20);
    model_free(first);
    model_free(second);
}
END_TEST

/* Whether a slot with that in its pool and in itself inherits from one with the other. */
static bool inherits(const char *from_pool, const char *from_backend, const char *to_pool,
                     const char *to_backend)
{
    static const char form[] = SERVICE "pool \"web\" { %s\n"
                                       "backend \"%s\" { address = \"10.0.0.1:80\" %s } }\n";
    STR_AUTO from = {0};
    STR_AUTO to = {0};
    struct model *first;
    struct model *second;
    uint64_t since_ms;
    char reason[SB_REASON_MAX];
    enum sb_health health;

    str_printf(&from, form, from_pool, "a", from_backend);
    str_printf(&to, form, to_pool, "b", to_backend);
    first = load(str_text(&from), 10);
    find_out(backend(first, "a"), SB_HEALTH_DOWN, "refused");
    second = load(str_text(&to), 20);
    health = scoreboard_get_health(&sb, backend(second, "b")->slot, &since_ms, reason);
    model_free(first);
    model_free(second);
    return health == SB_HEALTH_DOWN;
}

START_TEST(health_is_inherited_from_the_same_checks)
{
    static const char http[] = "check \"http\" { path = \"/a\" headers = { \"b\", \"c\" } }";
    static const char two[] = "check \"tcp\" { } check \"http\" { }";
    static const char elsewhere[] = "check_address = \"10.0.0.9\"";

    ck_assert(inherits(http, "", http, ""));
    ck_assert(inherits(http, "", "", http));
    ck_assert(inherits(http, "",
                       "check \"http:x\" { headers = { \"b\", \"c\" } path = \"/a\" fall = 9\n"
                       "interval = \"9s\" verify = no }",
                       ""));
    ck_assert(!inherits(http, "", "check \"http\" { path = \"/a\" headers = { \"b\" } }", ""));
    ck_assert(
        !inherits(http, "", "check \"http\" { path = \"/\" headers = { \"b\", \"c\" } }", ""));
    ck_assert(!inherits("check \"tcp\" { }", "", "check \"tcp\" { source = \"10.0.0.8\" }", ""));
    ck_assert(inherits(two, "", "check \"http:x\" { } check \"tcp:y\" { }", ""));
    ck_assert(!inherits(two, "", two, "check \"tcp\" { }"));
    /* Ports and arguments belong to their check. */
    ck_assert(!inherits("check \"tcp\" { port = 1 } check \"http\" { port = 2 }", "",
                        "check \"tcp\" { port = 2 } check \"http\" { port = 1 }", ""));
    ck_assert(inherits(two, elsewhere, two, elsewhere));
    ck_assert(!inherits(two, elsewhere, two, ""));
    ck_assert(!inherits(two, elsewhere, two, "check_address = \"10.0.0.9:81\""));
    /* What all must pass is something else than what any may; of one check it is the same. */
    ck_assert(!inherits(two, "", "require = \"any\" check \"tcp\" { } check \"http\" { }", ""));
    ck_assert(inherits("check \"tcp\" { }", "", "require = \"any\" check \"tcp\" { }", ""));
    /* Who understands a PROXY header need not understand anything without one. */
    ck_assert(!inherits("check \"tcp\" { }", "", "send_proxy = v1 check \"tcp\" { }", ""));
    ck_assert(!inherits("send_proxy = v2 check \"tcp\" { }", "",
                        "send_proxy = v1 check \"tcp\" { }", ""));
}
END_TEST

START_TEST(it_inherits_what_the_plan_saw)
{
    struct model *first = load(WITH(TCP A), 10);
    struct model *second;

    find_out(backend(first, "a"), SB_HEALTH_DOWN, "refused");
    /* a itself loses its checks in the same reload, and is named before the heir. */
    second = load(WITH("backend \"a\" { address = \"10.0.0.1:80\" checks = \"none\" }\n"
                       "backend \"heir\" { address = \"10.0.0.1:80\" check \"tcp\" { } }"),
                  20);
    expect_health(backend(second, "a"), SB_HEALTH_UP, "no check configured", 20);
    expect_health(backend(second, "heir"), SB_HEALTH_DOWN, "refused", 20);
    model_free(first);
    model_free(second);
}
END_TEST

START_TEST(a_handed_back_slot_starts_anew)
{
    struct model *first = load(WITH(TCP A B), 10);
    struct model *second;
    struct model *third;

    find_out(backend(first, "b"), SB_HEALTH_DOWN, "refused");
    second = load(WITH(TCP A), 20);
    third = load(WITH(TCP A B), 30); /* meanwhile nobody looked at b */
    ck_assert_uint_eq(backend(third, "b")->slot, backend(first, "b")->slot);
    expect_health(backend(third, "b"), SB_HEALTH_UNKNOWN, "no check result yet", 30);
    model_free(first);
    model_free(second);
    model_free(third);
}
END_TEST

START_TEST(names_that_do_not_resolve)
{
    static const char text[] = WITH(TCP "start = \"up\"\n"
                                        "backend \"a\" { address = \"h.example:80\" }");
    struct model *first = load(text, 10);
    struct model *second = read_any(text);
    struct model *third;
    const char *problem;

    expect_health(backend(first, "a"), SB_HEALTH_DOWN, "the name h.example does not resolve", 10);
    ck_assert_int_eq(addr_parse("10.0.0.1:80", false, &backend(second, "a")->address, &problem), 0);
    plan(second, 20);
    commit(second);
    ck_assert_uint_ne(backend(second, "a")->slot, backend(first, "a")->slot);
    ck_assert_uint_eq(backend(second, "a")->row, backend(first, "a")->row);
    expect_health(backend(second, "a"), SB_HEALTH_UP, "assumed up until the first check", 20);
    registry_sweep(registry, generation);
    third = load(WITH("backend \"a\" { address = \"g.example:80\" }"), 30); /* no checks */
    expect_health(backend(third, "a"), SB_HEALTH_DOWN, "the name g.example does not resolve", 30);
    model_free(first);
    first = load(WITH("backend \"a\" { address = \"i.example:80\" }"), 40);
    expect_health(backend(first, "a"), SB_HEALTH_DOWN, "the name i.example does not resolve", 30);
    model_free(first);
    model_free(second);
    model_free(third);
}
END_TEST

int main(void)
{
    return RUN_SUITE_WITH(
        "model registry", setup, teardown, everything_gets_a_place_of_its_own,
        places_stay_over_reloads, a_changed_address_gets_a_slot_and_keeps_the_row,
        a_retired_slot_is_handed_back, an_address_keeps_its_id_in_another_service,
        an_id_never_comes_back, port_zero_belongs_to_the_service, abort_leaves_all_as_it_was,
        exhaustion, exhaustion_of_pools, sweep_waits_for_sessions_and_generations,
        a_row_outlives_its_slots, services_drain_too, a_pool_waits_for_its_slots_and_its_queue,
        places_do_not_leak, without_checks_it_is_up, with_checks_the_pool_says_how_it_starts,
        a_kept_slot_keeps_its_health, checks_that_come_and_go, a_new_slot_inherits_what_is_known,
        health_is_inherited_from_the_same_checks, it_inherits_what_the_plan_saw,
        a_handed_back_slot_starts_anew, names_that_do_not_resolve);
}
