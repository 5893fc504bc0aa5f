/* What several checks of one backend say together, what they ask for, and what a probe is told. */
#include "test_check_fixture.h"

#include "pool/history.h"

/* --- agents: each says what its line is to whoever comes, and counts them --- */

static struct agent {
    struct addr address;
    struct event *event;
    const char *line; /* NULL: it ends without one */
} agents[3];

static void on_client(evutil_socket_t fd, short what, void *arg)
{
    const struct agent *agent = arg;
    int client = accept4((int)fd, NULL, NULL, SOCK_CLOEXEC);

    (void)what;
    if (client >= 0 && agent->line) {
        (void)!send(client, agent->line, strlen(agent->line), MSG_NOSIGNAL);
    }
    close(client);
}

static void start_agent(struct agent *agent, const char *line)
{
    int fd = listen_tcp("127.0.0.1", &agent->address);

    agent->line = line;
    agent->event = event_new(base, fd, EV_READ | EV_PERSIST, on_client, agent);
    ck_assert_int_eq(event_add(agent->event, NULL), 0);
}

static void stop_agents(void)
{
    for (int i = 0; i < COUNT(agents); i++) {
        if (agents[i].event) {
            close(event_get_fd(agents[i].event));
            event_free(agents[i].event);
        }
    }
}

static struct snapshot_check *draft_kind(const char *kind, const char *title, uint32_t interval_ms)
{
    struct snapshot_check *check = draft_check(interval_ms, 1, 1);

    memset(check->kind, 0, sizeof(check->kind));
    memset(check->title, 0, sizeof(check->title));
    (void)snprintf(check->kind, sizeof(check->kind), "%s", kind);
    (void)snprintf(check->title, sizeof(check->title), "%s", title);
    return check;
}

/* Backend "a" in slot 1 of pool "web", asked by the first n agents every 5 ms. */
static void draft_agents(uint32_t n)
{
    draft_begin();
    draft_pool("web");
    for (uint32_t i = 0; i < n; i++) {
        draft_kind("agent", "agent", 5)->port = agents[i].address.ip.port;
    }
    draft_backend("a", 1, &agents[0].address, n);
}

static uint32_t permille(void)
{
    return atomic_load(&sb.slots[1].asked_permille);
}

static uint32_t admin(void)
{
    return atomic_load(&sb.slots[1].asked_admin);
}

static uint32_t limit(void)
{
    return atomic_load(&sb.slots[1].asked_limit);
}

static void wait_for_runs(int n)
{
    for (int i = 0; i < n; i++) {
        uint64_t next_ms = atomic_load(&sb.slots[1].next_check_ms);

        WAIT_FOR(atomic_load(&sb.slots[1].next_check_ms) != next_ms);
    }
}

static void restart_engine(void)
{
    check_engine_destroy(engine);
    engine = check_engine_create(base, &sb, 54321, note_change, &sb);
    ck_assert_ptr_nonnull(engine);
}

/* --- what is asked --- */

START_TEST(what_an_agent_says_is_written_and_told)
{
    uint32_t epoch;

    start_agent(&agents[0], "up\n");
    draft_agents(1);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(health_of(1) == SB_HEALTH_UP);
    ck_assert_uint_eq(permille() + admin() + limit(), 0);
    epoch = atomic_load(&sb.header->health_epoch);
    agents[0].line = "up 75% maxconn:30 drain\n";
    WAIT_FOR(permille() != 0);
    ck_assert_uint_eq(permille(), 751);
    ck_assert_uint_eq(admin(), ADMIN_DRAIN);
    ck_assert_uint_eq(limit(), 31);
    ck_assert_uint_eq(atomic_load(&sb.header->health_epoch), epoch + 1);
    ck_assert_int_eq(n_news[CHECK_NEWS_ASKED], 1);
    ck_assert_str_eq(last_news[CHECK_NEWS_ASKED].pool, "web");
    ck_assert_str_eq(last_news[CHECK_NEWS_ASKED].backend, "a");
    ck_assert_str_eq(last_news[CHECK_NEWS_ASKED].reason,
                     "weight 75%, drain, at most 30 connections");
    wait_for_runs(3); /* the same again is no news */
    ck_assert_int_eq(n_news[CHECK_NEWS_ASKED], 1);
    ck_assert_uint_eq(atomic_load(&sb.header->health_epoch), epoch + 1);
    stop_agents();
}
END_TEST

/* Of what counts for the state: another weight, or another word beside it, is no beginning. */
START_TEST(since_when_it_is_asked)
{
    const _Atomic uint64_t *since_ms = &sb.slots[1].asked_since_ms;
    uint64_t drained_ms, before_ms = clock_now_ms();

    start_agent(&agents[0], "up 50%\n");
    draft_agents(1);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(permille() == 501);
    ck_assert_uint_eq(atomic_load(since_ms), 0);
    agents[0].line = "up drain\n";
    WAIT_FOR(admin() == ADMIN_DRAIN);
    drained_ms = atomic_load(since_ms);
    ck_assert(drained_ms >= before_ms && drained_ms <= clock_now_ms());
    ck_assert_uint_eq(last_news[CHECK_NEWS_ASKED].admin_from, ADMIN_READY);
    ck_assert_uint_eq(last_news[CHECK_NEWS_ASKED].admin_to, ADMIN_DRAIN);
    agents[0].line = "up 0% maxconn:5\n";
    WAIT_FOR(limit() == 6);
    agents[0].line = "up ready 0%\n"; /* drained still, by its weight */
    WAIT_FOR(admin() == ADMIN_READY);
    ck_assert_uint_eq(last_news[CHECK_NEWS_ASKED].admin_from, ADMIN_DRAIN);
    ck_assert_uint_eq(last_news[CHECK_NEWS_ASKED].admin_to, ADMIN_DRAIN);
    restart_engine();
    ck_assert_int_eq(draft_apply(), 0);
    wait_for_runs(2);
    ck_assert_uint_eq(atomic_load(since_ms), drained_ms);
    agents[0].line = "up maint\n";
    WAIT_FOR(admin() == ADMIN_MAINTENANCE);
    ck_assert_uint_gt(atomic_load(since_ms), drained_ms);
    ck_assert_uint_eq(last_news[CHECK_NEWS_ASKED].admin_from, ADMIN_DRAIN);
    ck_assert_uint_eq(last_news[CHECK_NEWS_ASKED].admin_to, ADMIN_MAINTENANCE);
    drained_ms = atomic_load(since_ms);
    agents[0].line = "up ready 100%\n";
    WAIT_FOR(admin() == ADMIN_READY);
    ck_assert_uint_gt(atomic_load(since_ms), drained_ms);
    stop_agents();
}
END_TEST

START_TEST(what_is_not_said_again_stands)
{
    start_agent(&agents[0], "up 0% maint maxconn:0\n");
    draft_agents(1);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(permille() == 1);
    ck_assert_uint_eq(admin(), ADMIN_MAINTENANCE);
    ck_assert_uint_eq(limit(), 1);
    ck_assert_str_eq(last_news[CHECK_NEWS_ASKED].reason, "weight 0%, maintenance, no limit");
    agents[0].line = "down\n";
    WAIT_FOR(health_of(1) == SB_HEALTH_DOWN);
    agents[0].line = NULL;
    wait_for_runs(3);
    ck_assert_int_eq(draft_apply(), 0);
    wait_for_runs(2);
    ck_assert_uint_eq(permille(), 1);
    ck_assert_uint_eq(admin(), ADMIN_MAINTENANCE);
    agents[0].line = "ready\n"; /* no result, but a word */
    WAIT_FOR(admin() == ADMIN_READY);
    ck_assert_int_eq(health_of(1), SB_HEALTH_DOWN);
    ck_assert_uint_eq(permille(), 1);
    stop_agents();
}
END_TEST

START_TEST(of_several_the_strictest_counts)
{
    start_agent(&agents[0], "up 80% ready maxconn:0\n");
    start_agent(&agents[1], "up 50% drain maxconn:70\n");
    start_agent(&agents[2], "up maxconn:90\n");
    draft_agents(3);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(permille() == 501 && admin() == ADMIN_DRAIN && limit() == 71);
    agents[1].line = "up 100% maint maxconn:0\n";
    WAIT_FOR(permille() == 801 && admin() == ADMIN_MAINTENANCE && limit() == 91);
    agents[1].line = "up ready\n";
    agents[2].line = "up maxconn:0\n";
    WAIT_FOR(admin() == ADMIN_READY && limit() == 1);
    stop_agents();
}
END_TEST

START_TEST(without_the_check_nothing_is_asked)
{
    struct addr address;

    (void)listen_tcp("127.0.0.1", &address);
    start_agent(&agents[0], "up 50% drain maxconn:5\n");
    for (int round = 0; round < 2; round++) {
        draft_agents(1);
        draft_kind("tcp", "tcp", HOUR_MS)->port = address.ip.port;
        drafted_backend()->n_checks = 2;
        ck_assert_int_eq(draft_apply(), 0);
        WAIT_FOR(permille() == 501 && admin() == ADMIN_DRAIN && limit() == 6);
        draft_begin();
        draft_pool("web");
        draft_kind("tcp", "tcp", HOUR_MS)->port = address.ip.port;
        draft_backend("a", 1, &agents[0].address, round == 0 ? 1 : 0);
        ck_assert_int_eq(draft_apply(), 0);
        ck_assert_uint_eq(permille() + admin() + limit(), 0);
        ck_assert_str_eq(last_news[CHECK_NEWS_ASKED].reason, "nothing");
    }
    stop_agents();
}
END_TEST

/* New numbers make a new probe, which has not heard anything yet. */
START_TEST(new_numbers_leave_what_is_asked)
{
    start_agent(&agents[0], "up 50%\n");
    draft_agents(1);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(permille() == 501);
    agents[0].line = NULL;
    wait_for_runs(2);
    draft_agents(1);
    draft.checks[0].interval_ms = 6;
    ck_assert_int_eq(draft_apply(), 0);
    wait_for_runs(3);
    ck_assert_uint_eq(permille(), 501);
    ck_assert_int_eq(n_news[CHECK_NEWS_ASKED], 1);
    stop_agents();
}
END_TEST

START_TEST(a_slot_that_joins_a_probe_gets_what_it_said)
{
    start_agent(&agents[0], "up 50%\n");
    draft_agents(1);
    draft.checks[0].interval_ms = HOUR_MS;
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(permille() == 501);
    draft_backend("b", 2, &agents[0].address, 1);
    ck_assert_int_eq(draft_apply(), 0);
    ck_assert_uint_eq(check_engine_stats(engine).probes, 1);
    ck_assert_uint_eq(atomic_load(&sb.slots[2].asked_permille), 501);
    ck_assert_str_eq(last_news[CHECK_NEWS_ASKED].backend, "b");
    stop_agents();
}
END_TEST

/* --- a new engine takes over --- */

static void ask_before(void)
{
    atomic_store(&sb.slots[1].asked_permille, 301);
    atomic_store(&sb.slots[1].asked_admin, ADMIN_DRAIN);
    (void)scoreboard_set_health(&sb, 1, SB_HEALTH_UP, "as before", clock_now_ms());
}

START_TEST(what_was_asked_stands_until_they_say_otherwise)
{
    ask_before();
    start_agent(&agents[0], NULL);
    draft_agents(1);
    ck_assert_int_eq(draft_apply(), 0);
    wait_for_runs(3);
    ck_assert_int_eq(draft_apply(), 0);
    wait_for_runs(2);
    agents[0].line = "up\n"; /* a result, but not a word of weight */
    WAIT_FOR(passed_of(1) > 1);
    ck_assert_uint_eq(permille(), 301);
    ck_assert_uint_eq(admin(), ADMIN_DRAIN);
    agents[0].line = "60%\n";
    WAIT_FOR(permille() == 601);
    ck_assert_uint_eq(admin(), ADMIN_DRAIN);
    restart_engine();
    ck_assert_int_eq(draft_apply(), 0);
    agents[0].line = "ready\n";
    WAIT_FOR(admin() == ADMIN_READY);
    ck_assert_uint_eq(permille(), 601);
    stop_agents();
}
END_TEST

START_TEST(what_was_taken_over_and_changed_does_not_return)
{
    ask_before();
    start_agent(&agents[0], NULL);
    start_agent(&agents[1], "60%\n");
    draft_agents(2);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(permille() == 601);
    draft_agents(1); /* who never said a word of weight */
    ck_assert_int_eq(draft_apply(), 0);
    ck_assert_uint_eq(permille(), 0);
    ck_assert_uint_eq(admin(), ADMIN_DRAIN);
    stop_agents();
}
END_TEST

/* The one that asked has been taken from the configuration meanwhile. */
START_TEST(what_nobody_can_have_asked_ends_with_the_first_result)
{
    struct addr address;

    ask_before();
    (void)listen_tcp("127.0.0.1", &address);
    (void)draft_single(&address, HOUR_MS, 1, 1);
    ck_assert_int_eq(draft_apply(), 0);
    ck_assert_uint_eq(permille(), 301);
    WAIT_FOR(passed_of(1) == 1);
    ck_assert_uint_eq(permille() + admin(), 0);
    ck_assert_int_eq(n_news[CHECK_NEWS_ASKED], 1);
}
END_TEST

/* --- one check is enough --- */

/* Two tcp checks of slot 1, at the ports of a and b, of which one is enough. */
static void draft_any(const struct addr *a, const struct addr *b)
{
    draft_begin();
    draft_pool("web");
    drafted_pool()->require_any = 1;
    draft_kind("tcp", "tcp:main", 5)->port = a->ip.port;
    draft_kind("tcp", "tcp", 5)->port = b->ip.port;
    draft_backend("a", 1, a, 2);
}

START_TEST(any_one_keeps_it_up)
{
    struct addr a, b;
    int fd_a = bind_tcp("127.0.0.1", &a), fd_b = bind_tcp("127.0.0.1", &b);

    draft_any(&a, &b);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(health_of(1) == SB_HEALTH_DOWN);
    ck_assert_int_eq(n_changes, 1);
    ck_assert_str_eq(reason_of(1),
                     "none of 2 checks passes: tcp:main: connect refused; tcp: connect refused");
    ck_assert_int_eq(listen(fd_b, 16), 0);
    WAIT_FOR(health_of(1) == SB_HEALTH_UP);
    ck_assert_str_eq(reason_of(1), "any of 2: tcp passes");
    ck_assert_int_eq(listen(fd_a, 16), 0);
    WAIT_FOR(strcmp(reason_of(1), "any of 2: tcp:main passes") == 0);
    close(fd_b);
    wait_for_runs(10);
    ck_assert_int_eq(health_of(1), SB_HEALTH_UP);
    close(fd_a);
    WAIT_FOR(health_of(1) == SB_HEALTH_DOWN);
    ck_assert_int_eq(n_changes, 3);
}
END_TEST

START_TEST(any_is_unknown_while_one_may_still_pass)
{
    struct addr refusing, silent;

    (void)bind_tcp("127.0.0.1", &refusing);
    (void)listen_silent(&silent);
    draft_any(&refusing, &silent);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(failed_of(1) > 2);
    ck_assert_int_eq(health_of(1), SB_HEALTH_UNKNOWN);
    ck_assert_ptr_nonnull(strstr(reason_of(1), "no result yet"));
    ck_assert_int_eq(n_changes, 0);
}
END_TEST

/* An agent that says nothing is no check that passes. */
START_TEST(any_goes_by_those_that_say_something)
{
    struct addr a;

    (void)bind_tcp("127.0.0.1", &a);
    start_agent(&agents[0], NULL);
    draft_any(&a, &a);
    draft.checks[1] = *draft_kind("agent", "agent", 5);
    draft.checks[1].port = agents[0].address.ip.port;
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(health_of(1) == SB_HEALTH_DOWN);
    ck_assert_str_eq(reason_of(1), "none of 2 checks passes: tcp:main: connect refused");
    agents[0].line = "up\n";
    WAIT_FOR(health_of(1) == SB_HEALTH_UP);
    ck_assert_str_eq(reason_of(1), "any of 2: agent passes");
    stop_agents();
}
END_TEST

START_TEST(any_of_silent_ones_holds_up_nobody)
{
    start_agent(&agents[0], NULL);
    start_agent(&agents[1], NULL);
    draft_agents(2);
    draft.pools[0].require_any = 1;
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(health_of(1) != SB_HEALTH_UNKNOWN);
    ck_assert_int_eq(health_of(1), SB_HEALTH_UP);
    ck_assert_str_eq(reason_of(1), "0 of 2 checks pass, the rest says nothing");
    stop_agents();
}
END_TEST

START_TEST(a_reload_can_ask_for_all_instead)
{
    struct addr a, b;

    (void)listen_tcp("127.0.0.1", &a);
    (void)bind_tcp("127.0.0.1", &b);
    draft_any(&a, &b);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(failed_of(1) > 2);
    ck_assert_int_eq(health_of(1), SB_HEALTH_UP);
    draft.pools[0].require_any = 0;
    ck_assert_int_eq(draft_apply(), 0);
    ck_assert_int_eq(health_of(1), SB_HEALTH_DOWN);
}
END_TEST

/* --- reasons --- */

START_TEST(a_label_tells_which_check_it_is)
{
    struct addr a, b;

    (void)listen_tcp("127.0.0.1", &a);
    (void)bind_tcp("127.0.0.1", &b);
    draft_any(&a, &b);
    draft.pools[0].require_any = 0;
    (void)snprintf(draft.checks[1].title, NAME_BYTES_MAX, "tcp:side");
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(health_of(1) == SB_HEALTH_DOWN);
    ck_assert_str_eq(reason_of(1), "tcp:side: connect refused");
}
END_TEST

/* Down again long before ten intervals are over. */
START_TEST(who_flaps_has_to_pass_more_often_and_is_told)
{
    struct addr address;
    struct snapshot_check *check;
    int fd = listen_tcp("127.0.0.1", &address);

    (void)scoreboard_set_health(&sb, 1, SB_HEALTH_DOWN, "as before", clock_now_ms());
    check = draft_single(&address, 400, 2, 1);
    check->fast_interval_ms = check->down_interval_ms = 5;
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(health_of(1) == SB_HEALTH_UP);
    ck_assert_uint_eq(passed_of(1), 2);
    close(fd);
    WAIT_FOR(health_of(1) == SB_HEALTH_DOWN);
    ck_assert_str_eq(reason_of(1), "connect refused");
    (void)listen(bind_address(&address), 16);
    WAIT_FOR(strstr(reason_of(1), " of 4 passes needed after flapping; before: connect refused"));
    ck_assert_int_eq(health_of(1), SB_HEALTH_DOWN);
    WAIT_FOR(health_of(1) == SB_HEALTH_UP);
    ck_assert_uint_eq(atomic_load(&sb.slots[1].streak), 4);
}
END_TEST

START_TEST(a_change_tells_how_long_it_was_and_what_is_next)
{
    struct addr address;

    (void)listen_tcp("127.0.0.1", &address);
    (void)scoreboard_set_health(&sb, 1, SB_HEALTH_DOWN, "as before", clock_now_ms() - 5000);
    draft_single(&address, HOUR_MS, 1, 1)->fast_interval_ms = 5;
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(n_changes == 1);
    ck_assert_uint_ge(changes[0].lasted_ms, 5000);
    ck_assert_uint_lt(changes[0].lasted_ms, 5000 + WAIT_MS);
    ck_assert_uint_gt(changes[0].next_check_ms, 0);
    ck_assert_uint_lt(changes[0].next_check_ms, HOUR_MS * 106 / 100);
}
END_TEST

START_TEST(the_last_results_are_kept)
{
    struct history_result results[SB_HISTORY_MAX];
    struct addr address;
    int fd = listen_tcp("127.0.0.1", &address);

    (void)draft_single(&address, 5, 1, 2);
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(passed_of(1) == 3);
    close(fd);
    WAIT_FOR(failed_of(1) == 2);
    ck_assert_uint_eq(history_read(&sb.slots[1].history, clock_now_ms(), results), 5);
    ck_assert(!results[0].passed && !results[1].passed);
    ck_assert(results[2].passed && results[3].passed && results[4].passed);
    ck_assert_uint_lt(results[0].age_s, WAIT_MS / 1000);
    scoreboard_clear_slot(&sb, 1);
    ck_assert_uint_eq(history_read(&sb.slots[1].history, clock_now_ms(), results), 0);
}
END_TEST

/* --- what a probe is told --- */

/* Backend name of pool, checked by a program that tells what it was told. */
static void draft_teller(const char *pool, const char *backend, uint32_t slot, const char *word)
{
    const struct addr address = address_of("127.0.0.1:9");

    draft_pool(pool);
    (void)draft_kind("exec", "exec", 50);
    draft_arg("command", "/bin/sh");
    draft_arg("command", "-c");
    draft_arg("command", "echo \"$SLUICE_POOL/$SLUICE_BACKEND $1\"");
    draft_arg("command", "sh");
    draft_arg("command", word);
    draft_backend(backend, slot, &address, 1);
}

/* Names are part of it, so that pools that share a backend do not share its program. */
START_TEST(a_probe_keeps_its_options_and_names)
{
    draft_begin();
    draft_teller("one", "a", 1, "hello");
    draft_teller("two", "b", 2, "hello");
    draft_teller("three", "c", 3, "other");
    ck_assert_int_eq(draft_apply(), 0);
    ck_assert_uint_eq(check_engine_stats(engine).probes, 3);
    WAIT_FOR(passed_of(1) > 1 && passed_of(2) > 1 && passed_of(3) > 1);
    ck_assert_str_eq(reason_of(1), "exit status 0: one/a hello");
    ck_assert_str_eq(reason_of(2), "exit status 0: two/b hello");
    ck_assert_str_eq(reason_of(3), "exit status 0: three/c other");
    draft_begin();
    draft_teller("three", "c", 3, "other");
    draft_teller("two", "b", 2, "hello");
    ck_assert_int_eq(draft_apply(), 0);
    ck_assert_uint_eq(check_engine_stats(engine).probes, 2);
    draft_begin();
    draft_teller("two", "d", 2, "hello");
    ck_assert_int_eq(draft_apply(), 0);
    ck_assert_uint_eq(check_engine_stats(engine).probes, 1);
    WAIT_FOR(strcmp(reason_of(2), "exit status 0: two/d hello") == 0);
}
END_TEST

START_TEST(a_title_or_a_port_without_meaning_makes_no_probe_of_its_own)
{
    const struct addr address = address_of("unix:/nowhere");

    draft_begin();
    draft_pool("web");
    (void)draft_kind("tcp", "tcp:one", HOUR_MS);
    draft_backend("a", 1, &address, 1);
    draft_kind("tcp", "tcp:two", HOUR_MS)->port = 80;
    draft_backend("b", 2, &address, 1);
    ck_assert_int_eq(draft_apply(), 0);
    ck_assert_uint_eq(check_engine_stats(engine).probes, 1);
}
END_TEST

/* Of the address to check, its own port, and the check's port, in each mix that there is. */
START_TEST(another_address_can_be_checked)
{
    struct addr good, refusing, without_port;
    struct addr unix_good;
    const struct addr none = {0};
    struct {
        const struct addr *address, *check_address;
        uint16_t port;
    } cases[] = {{&refusing, &good, 0},         {&good, &without_port, 0},
                 {&refusing, &without_port, 0}, {&refusing, &unix_good, 0},
                 {&refusing, &refusing, 0},     {&unix_good, &refusing, 0},
                 {&unix_good, &good, 0},        {&good, &none, 0}};
    static const enum sb_health expected[] = {SB_HEALTH_UP, SB_HEALTH_UP, SB_HEALTH_DOWN,
                                              SB_HEALTH_UP, SB_HEALTH_UP, SB_HEALTH_DOWN,
                                              SB_HEALTH_UP, SB_HEALTH_UP};

    (void)listen_tcp("127.0.0.1", &good);
    (void)bind_tcp("127.0.0.1", &refusing);
    (void)listen_unix("checked", 16, &unix_good);
    without_port = good;
    without_port.ip.port = 0;
    cases[4].port = good.ip.port;
    draft_begin();
    draft_pool("web");
    for (uint32_t i = 0; i < (uint32_t)COUNT(cases); i++) {
        draft_check(HOUR_MS, 1, 1)->port = cases[i].port;
        draft_backend("a", i, cases[i].address, 1);
        drafted_backend()->check_address = *cases[i].check_address;
    }
    ck_assert_int_eq(draft_apply(), 0);
    WAIT_FOR(n_changes == COUNT(cases));
    for (uint32_t i = 0; i < (uint32_t)COUNT(cases); i++) {
        ck_assert_msg(health_of(i) == expected[i], "case %u: %s", i, reason_of(i));
    }
}
END_TEST

int main(void)
{
    const TTest *tests[] = {
        what_an_agent_says_is_written_and_told,
        since_when_it_is_asked,
        what_is_not_said_again_stands,
        of_several_the_strictest_counts,
        without_the_check_nothing_is_asked,
        new_numbers_leave_what_is_asked,
        a_slot_that_joins_a_probe_gets_what_it_said,
        what_was_asked_stands_until_they_say_otherwise,
        what_was_taken_over_and_changed_does_not_return,
        what_nobody_can_have_asked_ends_with_the_first_result,
        any_one_keeps_it_up,
        any_is_unknown_while_one_may_still_pass,
        any_goes_by_those_that_say_something,
        any_of_silent_ones_holds_up_nobody,
        a_reload_can_ask_for_all_instead,
        a_label_tells_which_check_it_is,
        who_flaps_has_to_pass_more_often_and_is_told,
        a_change_tells_how_long_it_was_and_what_is_next,
        the_last_results_are_kept,
        a_probe_keeps_its_options_and_names,
        a_title_or_a_port_without_meaning_makes_no_probe_of_its_own,
        another_address_can_be_checked,
    };

    return run_suite("check/verdict", tests, COUNT(tests));
}
