/*
 * explain: what the host is asked, and how a worker's answer is put into words and JSON.
 */
#include <errno.h>

#include "test_ctl_run.h"

#include "pool/ports.h"
#include "sched/choose.h"

enum { A, B, C }; /* of pool web */

static struct snapshot_pool *web(void)
{
    return &fake.snapshot.pools[0];
}

static struct explanation_other *other(int index)
{
    return &fake.explanation.others[index];
}

/* A worker's answer: pool web's scheduler has chosen a. */
static void choose_a(void)
{
    fake.explanation = (struct explanation){
        .generation = 3,
        .rule = EXPLAINED_BY_SCHEDULER,
        .choice = CHOICE_MADE,
        .certain = 1,
        .n_others = 3,
        .others = {{.why = WHY_NOT_IT_IS, .active = 3, .weight = 2000},
                   {.why = WHY_NOT_LOADED, .active = 5, .weight = 1000},
                   {.why = WHY_NOT_MAINTENANCE}},
    };
}

static void start_each(void)
{
    fake_start();
    choose_a();
}

static void schedule_by(const char *name)
{
    web()->scheduler = sched_find(name);
    ck_assert_msg(web()->scheduler != SCHED_NONE, "%s", name);
}

/* The text of a member of the JSON answer, or "null". */
static const char *member(const char *key)
{
    static char text[1024];
    json_t *json = run_json("explain web 10.1.2.3:40000 json");
    json_t *value = json_object_get(json, key);

    ck_assert_ptr_nonnull(value);
    snprintf(text, sizeof(text), "%s", json_is_null(value) ? "null" : json_string_value(value));
    json_decref(json);
    return text;
}

static const char *why_not(const char *name)
{
    static char text[1024];
    json_t *json = run_json("explain web 10.1.2.3:40000 json");

    snprintf(text, sizeof(text), "%s",
             json_string_value(json_object_get(named(json, "others", name), "why_not")));
    json_decref(json);
    return text;
}

static bool is_certain(const char *line)
{
    json_t *json = run_json(line);
    bool certain = json_is_true(json_object_get(json, "certain"));

    json_decref(json);
    return certain;
}

/* --- what is asked --- */

static const struct {
    const char *line, *asked;
} asks[] = {
    {"explain web 10.1.2.3", "explain web 10.1.2.3 to 0.0.0.0:80"},
    {"explain web 10.1.2.3:40000 json", "explain web 10.1.2.3:40000 to 0.0.0.0:80"},
    {"explain web 2001:db8::1", "explain web 2001:db8::1 to 0.0.0.0:80"},
    {"explain web [2001:db8::1]:7", "explain web [2001:db8::1]:7 to 0.0.0.0:80"},
    {"explain web unix", "explain web unix to 0.0.0.0:80"},
    {"explain web 10.1.2.3 to=192.0.2.7", "explain web 10.1.2.3 to 192.0.2.7"},
    {"explain web to=[2001:db8::2]:4711 10.1.2.3", "explain web 10.1.2.3 to [2001:db8::2]:4711"},
};

START_TEST(the_worker_is_asked)
{
    run(asks[_i].line);
    ck_assert(!result.is_error);
    ck_assert_str_eq(fake.asked, asks[_i].asked);
}
END_TEST

/* --- the whole answer --- */

START_TEST(the_answer_in_json)
{
    ck_assert_str_eq(
        run("explain web 10.1.2.3:40000 json"),
        "{\"service\":\"web\",\"client\":\"10.1.2.3:40000\",\"pool\":\"web\",\"backend\":\"a\","
        "\"certain\":true,\"rule\":\"wlc: least sessions for its weight: (3+1)/2\","
        "\"listens\":[\"0.0.0.0:80\",\"[::]:4711\"],\"others\":["
        "{\"name\":\"b\",\"pool\":\"web\",\"why_not\":\"more loaded: (5+1)/1 against (3+1)/2\"},"
        "{\"name\":\"c\",\"pool\":\"web\",\"why_not\":\"maintenance: admin=maintenance by uid 0 "
        "pid 42: new "
        "disks\"}],\"fallback\":false,\"choice\":\"made\",\"waiting_before\":0,"
        "\"others_omitted\":0}");
}
END_TEST

START_TEST(the_answer_for_people)
{
    fake.explanation.certain = 0;
    ck_assert_str_eq(run("explain web 10.1.2.3"),
                     "10.1.2.3 of service web would get backend a of pool web\n"
                     "wlc: least sessions for its weight: (3+1)/2\n"
                     "not certain: the next one like it may get another\n"
                     "comes in on 0.0.0.0:80, [::]:4711\n"
                     "NAME  POOL  WHY_NOT\n"
                     "b     web   more loaded: (5+1)/1 against (3+1)/2\n"
                     "c     web   maintenance: admin=maintenance by uid 0 pid 42: new disks\n");
    ck_assert(!is_certain("explain web 10.1.2.3 json"));
}
END_TEST

START_TEST(others_come_first)
{
    fake.explanation.behind = 3;
    fake.explanation.certain = 0;
    says(run("explain web 10.1.2.3"), "waits behind 3 in the queue, then wlc: least sessions");
    says(run("explain web 10.1.2.3 json"), "\"waiting_before\":3");
}
END_TEST

/* Whoever would be chosen: nobody is let in. */
START_TEST(a_limit_is_told)
{
    struct snapshot_header *snapshot = &fake.snapshot.header;
    struct snapshot_service *service = &fake.snapshot.services[0];

    service->max_connections = 7;
    atomic_store(&fake.sb.services[service->row].active, 7);
    says(run("explain web 10.1.2.3"), "would get no backend");
    says(run("explain web 10.1.2.3"),
         "the service is at its max_connections, 7 of 7: new clients are refused");
    says(run("explain web 10.1.2.3 json"), "\"backend\":null");
    service->max_connections = 8;
    snapshot->max_connections = 9;
    atomic_store(&fake.sb.header->active, 9);
    says(run("explain web 10.1.2.3"), "the daemon is at its max_connections, 9 of 9");
}
END_TEST

START_TEST(clients_are_named_as_asked)
{
    says(run("explain web unix json"), "\"client\":\"unix\"");
    says(run("explain web 2001:db8::1 json"), "\"client\":\"2001:db8::1\"");
    says(run("explain web [2001:db8::1]:7"), "[2001:db8::1]:7 of service web");
}
END_TEST

/* --- rules --- */

static const struct {
    const char *scheduler, *rule;
} rules[] = {
    {"rr", "rr: by turn"},
    {"wrr", "wrr: by turn and weight"},
    {"lc", "lc: least sessions: 3 sessions"},
    {"wlc", "wlc: least sessions for its weight: (3+1)/2"},
    {"sed", "wlc: least sessions for its weight: (3+1)/2"},
    {"random", "random: by chance, one drawn by weight"},
    {"first", "first: the highest weight until it is full, then the next; of equals the first in "
              "the file"},
};

START_TEST(rules_of_schedulers)
{
    schedule_by(rules[_i].scheduler);
    ck_assert_str_eq(member("rule"), rules[_i].rule);
}
END_TEST

START_TEST(every_scheduler_has_a_rule)
{
    for (uint32_t i = 0; sched_table[i]; i++) {
        size_t name = strlen(sched_table[i]->name);

        web()->scheduler = i;
        const char *rule = member("rule");
        ck_assert(strncmp(rule, sched_table[i]->name, name) == 0 && strlen(rule) > name + 5);
    }
}
END_TEST

START_TEST(hashes_say_of_what)
{
    schedule_by("mh");
    ck_assert_str_eq(member("rule"), "mh: hash of the client's address");
    web()->hash_key = HASH_KEY_SOURCE_PORT;
    ck_assert_str_eq(member("rule"), "mh: hash of the client's address and port");
    ck_assert(is_certain("explain web 10.1.2.3:40000 json"));
    ck_assert(!is_certain("explain web 10.1.2.3 json"));
    says(run("explain web 10.1.2.3"), "address and port (the port was not said)");
    schedule_by("sh"); /* whatever hash_key says */
    ck_assert_str_eq(member("rule"), "sh: hash of the client's address");
    ck_assert(is_certain("explain web 10.1.2.3 json"));
}
END_TEST

START_TEST(destinations_are_presumed)
{
    schedule_by("dh");
    ck_assert_str_eq(member("rule"),
                     "dh: by the address that the client connects to (not said: 0.0.0.0, where "
                     "the service listens; to=ADDRESS says it)");
    ck_assert(!is_certain("explain web 10.1.2.3 json"));
    ck_assert(is_certain("explain web 10.1.2.3 to=192.0.2.1 json"));
    says(run("explain web 10.1.2.3 to=192.0.2.1"),
         "dh: by the address that the client connects to\n");
}
END_TEST

START_TEST(idle_ones_go_first_under_nq)
{
    schedule_by("nq");
    ck_assert_str_eq(member("rule"), "nq: least sessions for its weight: (3+1)/2");
    ck_assert_str_eq(why_not("b"), "more loaded: (5+1)/1 against (3+1)/2");
    other(A)->active = 0;
    ck_assert_str_eq(member("rule"), "nq: an idle one goes first: (0+1)/2");
    ck_assert_str_eq(why_not("b"), "not idle: 5 sessions");
    other(B)->active = 0;
    ck_assert_str_eq(why_not("b"), "more loaded: (0+1)/1 against (0+1)/2");
}
END_TEST

START_TEST(ties_are_told)
{
    fake.explanation.ties = 1;
    ck_assert_str_eq(member("rule"), "wlc: least sessions for its weight: (3+1)/2 (1 other is as "
                                     "little loaded: by turn)");
    fake.explanation.ties = 2;
    ck_assert_str_eq(member("rule"), "wlc: least sessions for its weight: (3+1)/2 (2 others are "
                                     "as little loaded: by turn)");
}
END_TEST

START_TEST(weights_are_as_effective)
{
    other(A)->weight = 340;
    other(B)->weight = 1050;
    ck_assert_str_eq(member("rule"), "wlc: least sessions for its weight: (3+1)/0.34");
    ck_assert_str_eq(why_not("b"), "more loaded: (5+1)/1.05 against (3+1)/0.34");
    schedule_by("lc");
    other(A)->active = 1;
    ck_assert_str_eq(member("rule"), "lc: least sessions: 1 session");
    ck_assert_str_eq(why_not("b"), "more loaded: 5 sessions against 1 session");
}
END_TEST

START_TEST(persistence_is_told)
{
    struct snapshot_service *service = &fake.snapshot.services[0];

    service->persistence_mask = 24;
    service->persistence_mask6 = 64;
    fake.explanation.rule = EXPLAINED_BY_LEASE;
    fake.explanation.lease_sessions = 2;
    ck_assert_str_eq(member("rule"), "persistence: lease of 10.1.2.0/24, 2 sessions live");
    fake.explanation.lease_sessions = 1;
    ck_assert_str_eq(member("rule"), "persistence: lease of 10.1.2.0/24, 1 session live");
    fake.explanation.lease_sessions = 0;
    fake.explanation.lease_ends_in_ms = 239001;
    ck_assert_str_eq(member("rule"), "persistence: lease ends in 240 s (10.1.2.0/24)");
    says(run("explain web 2001:db8:1:2:3::4"), "lease ends in 240 s (2001:db8:1:2::/64)");
    says(run("explain web unix"), "lease ends in 240 s (unix)");
    other(B)->why = WHY_NOT_LEASE;
    ck_assert_str_eq(why_not("b"), "the client has a lease on a");
}
END_TEST

START_TEST(nobody_is_told_with_why)
{
    fake.explanation.rule = EXPLAINED_BY_NOTHING;
    fake.explanation.backend = SNAPSHOT_NONE;
    fake.explanation.choice = CHOICE_NONE;
    other(A)->why = WHY_NOT_PREFERRED;
    ck_assert_str_eq(member("backend"), "null");
    ck_assert_str_eq(member("rule"), "no backend is eligible");
    ck_assert_str_eq(member("choice"), "none");
    ck_assert_str_eq(why_not("a"), "the scheduler has passed it over");
    says(run("explain web unix"), "unix of service web would get no backend of pool web\n");
    fake.explanation.choice = CHOICE_STARTING;
    ck_assert_str_eq(member("rule"), "health of some is not known yet");
    ck_assert_str_eq(member("choice"), "starting");
    fake.explanation.choice = CHOICE_FULL;
    ck_assert_str_eq(member("rule"), "every eligible backend is full");
    web()->queue = 100;
    atomic_store(&fake.sb.pools[web()->row].queued, 3);
    ck_assert_str_eq(member("rule"),
                     "every eligible backend is full; of 100 places in the queue 3 are taken");
    ck_assert_str_eq(member("choice"), "full");
}
END_TEST

START_TEST(panic_and_fallback_are_told)
{
    fake.explanation.panic = 1;
    ck_assert_str_eq(member("rule"), "wlc: least sessions for its weight: (3+1)/2; panic, 1 of 2 "
                                     "up: health is ignored");
    fake.snapshot.services[0].fallback_pool = 1;
    fake.explanation.panic = 0;
    fake.explanation.pool = 1;
    fake.explanation.is_fallback = 1;
    fake.explanation.n_others = 1;
    ck_assert_str_eq(member("backend"), "main");
    ck_assert_str_eq(member("pool"), "db");
    ck_assert_str_eq(run("explain web unix"),
                     "unix of service web would get backend main of pool db\n"
                     "the fallback pool, as pool web has no eligible backend\n"
                     "rr: by turn\n"
                     "comes in on 0.0.0.0:80, [::]:4711\n");
    says(run("explain web unix to=192.0.2.1 json"), "\"listens\":[\"0.0.0.0:80\"]");
    says(run("explain web unix to=[2001:db8::1] json"), "\"listens\":[\"[::]:4711\"]");
    says(run("explain web unix json"), "\"others\":[],\"fallback\":true");
}
END_TEST

/* --- why not the others --- */

START_TEST(states_are_told_with_figures)
{
    scoreboard_set_health(&fake.sb, 9, SB_HEALTH_DOWN, "connect: refused", 1);
    atomic_store(&fake.sb.slot_active[9], 2);
    other(B)->why = WHY_NOT_DOWN;
    ck_assert_str_eq(why_not("b"), "down: connect: refused");
    other(B)->why = WHY_NOT_STARTING;
    scoreboard_set_health(&fake.sb, 9, SB_HEALTH_UNKNOWN, "", 1);
    ck_assert_str_eq(why_not("b"), "starting");
    other(B)->why = WHY_NOT_FULL;
    ck_assert_str_eq(why_not("b"), "full: 2 of 2 connections, again under 1");
    other(B)->why = WHY_NOT_STANDBY;
    ck_assert_str_eq(why_not("b"), "backup: 1 primary is up, 1 needed");
    other(B)->why = WHY_NOT_DRAINING;
    fake.snapshot.backends[B].weight = 0;
    ck_assert_str_eq(why_not("b"), "draining: weight 0 in the file; 2 sessions remain");
    other(B)->why = WHY_NOT_EJECTED;
    ck_assert_str_eq(why_not("b"), "ejected");
}
END_TEST

START_TEST(other_whys)
{
    other(B)->why = WHY_NOT_RATE;
    ck_assert_str_eq(why_not("b"), "its connect_rate is used up for the moment");
    other(B)->why = WHY_NOT_SLOW_START;
    ck_assert_str_eq(why_not("b"), "slow start: has had its share for the moment");
    other(B)->why = WHY_NOT_PREFERRED;
    ck_assert_str_eq(why_not("b"), "the scheduler prefers a");
}
END_TEST

START_TEST(ports_are_told_with_figures)
{
    fake.explanation.rule = EXPLAINED_BY_NOTHING;
    fake.explanation.backend = SNAPSHOT_NONE;
    fake.explanation.choice = CHOICE_TRIED;
    other(A)->why = other(B)->why = WHY_NOT_PORTS;
    ck_assert_str_eq(member("rule"), "no source port is left towards any eligible backend: new "
                                     "clients are refused until one is free; see show "
                                     "source-ports");
    ck_assert_str_eq(why_not("b"), "no source port towards it is left"); /* it has no sources */
    fake.snapshot.sources[0].pair = 1;
    fake.snapshot.backends[A].n_sources = 1;
    atomic_store(&fake.sb.header->ports, 64);
    atomic_store(&fake.sb.pairs[1].used, 62);
    ck_assert_str_eq(why_not("a"), "no source port towards it is left: 62 of 62 in use");
    ports_fail(&fake.sb, 1, SB_PAIR_ABSENT, EADDRNOTAVAIL, 1);
    ck_assert_str_eq(why_not("a"), "no source port towards it is left: 62 of 62 in use, unusable: "
                                   "Cannot assign requested address");
    fake.explanation.choice = CHOICE_FULL;
    other(B)->why = WHY_NOT_FULL;
    ck_assert_str_eq(member("rule"), "every eligible backend is full or has no source port left");
}
END_TEST

START_TEST(a_fallback_for_want_of_ports)
{
    fake.snapshot.services[0].fallback_pool = 1;
    fake.explanation.pool = 1;
    fake.explanation.is_fallback = 1;
    fake.explanation.n_others = 4;
    fake.explanation.n_own = 3;
    other(1)->why = WHY_NOT_PORTS;
    says(run("explain web unix"), "the fallback pool, as pool web has no eligible backend with a "
                                  "source port left\n");
    says(run("explain web unix"), "a     web   no source port towards it is left\n");
}
END_TEST

/* --- when it does not work out --- */

START_TEST(no_answer_is_an_error)
{
    fake.is_silent = true;
    says(run("explain web unix"), "error: no worker answered in time");
    says(run("explain web unix json"), "{\"error\":\"no worker answered in time");
}
END_TEST

START_TEST(an_answer_that_does_not_fit_is_an_error)
{
    struct explanation *e = &fake.explanation;

    switch (_i) {
    case 0:
        e->generation = 2;
        break;
    case 1:
        e->service = SNAPSHOT_NONE;
        break;
    case 2:
        e->pool = 2;
        break;
    case 3:
        e->backend = 3;
        break;
    case 4:
        e->n_others = 4;
        break;
    default:
        other(C)->why = WHY_NOT_COUNT;
        break;
    }
    says(run("explain web unix"), "error: the configuration is changing just now");
}
END_TEST

START_TEST(an_answer_that_comes_later)
{
    fake.holds = true;
    start("explain web unix", CTL_LEVEL_READ);
    ck_assert_uint_eq(result.n_done, 0);
    fake_answer();
    ck_assert_uint_eq(result.n_done, 1);
    says(str_text(&result.text), "would get backend a");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ctl/explain");
    TCase *tc = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, start_each, fake_end);
    tcase_add_loop_test(tc, the_worker_is_asked, 0, COUNT(asks));
    tcase_add_test(tc, the_answer_in_json);
    tcase_add_test(tc, the_answer_for_people);
    tcase_add_test(tc, clients_are_named_as_asked);
    tcase_add_test(tc, others_come_first);
    tcase_add_test(tc, a_limit_is_told);
    tcase_add_loop_test(tc, rules_of_schedulers, 0, COUNT(rules));
    tcase_add_test(tc, every_scheduler_has_a_rule);
    tcase_add_test(tc, hashes_say_of_what);
    tcase_add_test(tc, destinations_are_presumed);
    tcase_add_test(tc, idle_ones_go_first_under_nq);
    tcase_add_test(tc, ties_are_told);
    tcase_add_test(tc, weights_are_as_effective);
    tcase_add_test(tc, persistence_is_told);
    tcase_add_test(tc, nobody_is_told_with_why);
    tcase_add_test(tc, panic_and_fallback_are_told);
    tcase_add_test(tc, states_are_told_with_figures);
    tcase_add_test(tc, other_whys);
    tcase_add_test(tc, ports_are_told_with_figures);
    tcase_add_test(tc, a_fallback_for_want_of_ports);
    tcase_add_test(tc, no_answer_is_an_error);
    tcase_add_loop_test(tc, an_answer_that_does_not_fit_is_an_error, 0, 6);
    tcase_add_test(tc, an_answer_that_comes_later);
    tcase_set_timeout(tc, 60);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
