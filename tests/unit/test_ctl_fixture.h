/*
 * What the control tests share: a host made by hand (model, snapshot, overrides, scoreboard,
 * events) that notes what it is asked, answers at once or when told to, and refuses when told to.
 * Included by test_ctl_*.c, each of which forks per test.
 */
#ifndef TEST_CTL_FIXTURE_H
#define TEST_CTL_FIXTURE_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "ctl/host.h"
#include "ctl/request.h"
#include "sched/sched.h"

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))
#define UNUSED       __attribute__((unused))

#define FAKE_WORKERS 2
#define FAKE_SLOT    7 /* of the first backend; rows and slots differ on purpose */
#define FAKE_ROW     3

/* Room for all the fake model has; tests may change what it says. */
struct fake_snapshot {
    struct snapshot_header header;
    struct snapshot_service services[2];
    struct snapshot_listener listeners[2];
    struct snapshot_pool pools[2];
    struct snapshot_backend backends[4];
    struct snapshot_check checks[2];   /* of pool web; backends have the first of them */
    struct snapshot_source sources[1]; /* of no backend yet */
};

static struct {
    struct model model;
    struct fake_snapshot snapshot;
    struct overrides overrides;
    const char *unsaid;
    struct scoreboard sb;
    struct ctl_host host;
    /* What it was asked last. */
    char asked[2048];
    unsigned n_asked, n_stopped;
    uint64_t stop_within_ms;
    /* How it answers. */
    bool holds;          /* not before fake_answer() */
    const char *refuses; /* with this error */
    uint32_t n_sessions, silent_workers;
    struct explanation explanation;
    bool is_silent; /* no worker explains anything */
    bool is_stopping;
    struct kept_configs kept;
    struct ctl_configs configs;
    const char *unhealthy;         /* why the whole is; NULL: it is healthy */
    const char *unhealthy_service; /* likewise service web */
    ctl_change_fn *change_done;
    ctl_sessions_fn *sessions_done;
    ctl_explain_fn *explain_done;
    ctl_close_fn *close_done;
    uint64_t n_closed; /* what a close says */
    struct ctl_drain drain;
    uint32_t drain_slot; /* 0: nobody drains */
    void *arg;
} fake;

static struct model_check fake_check = {.title = (char *)"tcp", .kind = (char *)"tcp"};

static struct model_backend fake_web[] = {
    {.name = (char *)"a",
     .address_text = (char *)"10.0.0.11:8080",
     .weight = 3,
     .address = {.ip = {.family = ADDR_IPV4, .port = 8080}},
     .slot = FAKE_SLOT,
     .row = FAKE_ROW},
    {.name = (char *)"b",
     .address_text = (char *)"b.example.net:8080",
     .weight = 1,
     .max_connections = 2,
     .address = {.ip = {.family = ADDR_IPV4, .port = 8080}},
     .slot = 9,
     .row = 4},
    {.name = (char *)"c",
     .address_text = (char *)"unix:/run/c.sock",
     .weight = 1,
     .admin = ADMIN_MAINTENANCE,
     .address = {.ip = {.family = ADDR_UNIX}},
     .slot = 11,
     .row = 5},
};

static struct model_backend fake_db[] = {
    {.name = (char *)"main",
     .address_text = (char *)"10.0.0.21:5432",
     .weight = 1,
     .address = {.ip = {.family = ADDR_IPV4, .port = 5432}},
     .slot = 20,
     .row = 8,
     .checks = (char *)"none"},
};

static struct model_pool fake_pools[] = {
    {.name = (char *)"web",
     .scheduler = (char *)"wlc",
     .checks = &fake_check,
     .n_checks = 1,
     .backends = fake_web,
     .n_backends = COUNT(fake_web)},
    {.name = (char *)"db",
     .scheduler = (char *)"rr",
     .backends = fake_db,
     .n_backends = COUNT(fake_db)},
};

static char *fake_listen[] = {(char *)"0.0.0.0:80", (char *)"[::]:0", NULL};

static struct model_listener fake_listeners[] = {
    {.address = {.ip = {.family = ADDR_IPV4, .port = 80}}},
    {.address = {.ip = {.family = ADDR_IPV6, .port = 4711}}}, /* the kernel's choice */
};

static char *fake_nobody[] = {NULL};

static struct model_service fake_services[] = {
    {.name = (char *)"web",
     .listen = fake_listen,
     .listeners = fake_listeners,
     .n_listeners = COUNT(fake_listeners),
     .pool = (char *)"web",
     .healthz = true,
     .row = 6},
};

static struct override fake_override = {.pool = (char *)"web",
                                        .backend = (char *)"c",
                                        .option = (char *)"admin",
                                        .value = (char *)"maintenance",
                                        .file_value = (char *)"ready",
                                        .by = (char *)"uid 0 pid 42",
                                        .why = (char *)"new disks",
                                        .wall_ms = 1700000000000};

/* --- its answers --- */

UNUSED static void fake_answer_change(ctl_change_fn *done, void *arg)
{
    char *lines[] = {(char *)"pool web: backend a weight 3 -> 4"};
    struct change_list changes = {.lines = lines, .count = 1};
    struct errlist errors = {0};

    if (fake.refuses) {
        errlist_add(&errors, ERRLIST_ERROR, NULL, 0, NULL, "%s", fake.refuses);
        done(arg, &errors, &(struct change_list){0}, 3);
    } else {
        done(arg, &errors, &changes, 4);
    }
    errlist_free(&errors);
}

UNUSED static void fake_answer_sessions(ctl_sessions_fn *done, void *arg)
{
    static struct session_info sessions[100000];

    for (uint32_t i = 0; i < fake.n_sessions; i++)
        sessions[i] = (struct session_info){
            .id = (UINT64_C(1) << 48) + i,
            .client = {.bytes = {10, 1, 2, 3}, .port = 40000, .family = ADDR_IPV4},
            .service_row = i % 3 == 2 ? UINT32_MAX : 6,
            .slot = FAKE_SLOT,
            .row = i % 2 ? UINT32_MAX : FAKE_ROW,
            .state = i % 7, /* also ones that do not exist */
            .age_ms = 3723000,
            .bytes_in = 1536,
        };
    done(arg, sessions, fake.n_sessions, fake.silent_workers);
}

UNUSED static void fake_answer_close(ctl_close_fn *done, void *arg)
{
    char *lines[] = {(char *)"session 7: closing 1 session at once"};
    struct change_list changes = {.lines = lines, .count = fake.n_closed > 0};
    struct errlist errors = {0};

    if (fake.refuses)
        errlist_add(&errors, ERRLIST_ERROR, NULL, 0, NULL, "%s", fake.refuses);
    done(arg, &errors, &changes, 3, fake.n_closed, 1700000000000);
    errlist_free(&errors);
}

/* Gives the answer that was held back. */
UNUSED static void fake_answer(void)
{
    ctl_change_fn *change_done = fake.change_done;
    ctl_sessions_fn *sessions_done = fake.sessions_done;
    ctl_explain_fn *explain_done = fake.explain_done;
    ctl_close_fn *close_done = fake.close_done;

    fake.change_done = NULL;
    fake.sessions_done = NULL;
    fake.explain_done = NULL;
    fake.close_done = NULL;
    if (close_done)
        fake_answer_close(close_done, fake.arg);
    if (change_done)
        fake_answer_change(change_done, fake.arg);
    if (sessions_done)
        fake_answer_sessions(sessions_done, fake.arg);
    if (explain_done)
        explain_done(fake.arg, fake.is_silent ? NULL : &fake.explanation);
}

static void fake_answer_or_hold(ctl_change_fn *done, void *arg)
{
    fake.change_done = done;
    fake.arg = arg;
    if (!fake.holds)
        fake_answer();
}

static bool fake_drain(void *host, uint32_t slot, struct ctl_drain *out)
{
    ck_assert_ptr_eq(host, &fake);
    if (slot != fake.drain_slot || slot == 0)
        return false;
    *out = fake.drain;
    return true;
}

static void fake_info(void *host, struct ctl_host_info *out)
{
    ck_assert_ptr_eq(host, &fake);
    *out = (struct ctl_host_info){.version = "9.8.7",
                                  .config_file = "/etc/sluice/sluice.conf",
                                  .pid = getpid(),
                                  .descriptors_limit = 1024,
                                  .connections_limit = 500,
                                  .stopping = fake.is_stopping};
}

static const struct model *fake_model(void *host)
{
    ck_assert_ptr_eq(host, &fake);
    return &fake.model;
}

static const struct snapshot_header *fake_snapshot(void *host)
{
    ck_assert_ptr_eq(host, &fake);
    return &fake.snapshot.header;
}

static const struct overrides *fake_overrides(void *host)
{
    ck_assert_ptr_eq(host, &fake);
    return &fake.overrides;
}

static void fake_print(void *host, struct str *out)
{
    ck_assert_ptr_eq(host, &fake);
    model_print(&fake.model, false, out);
}

static const char *fake_unsaid(void *host, const struct override *override)
{
    ck_assert_ptr_eq(host, &fake);
    ck_assert_ptr_nonnull(override);
    return fake.unsaid;
}

static uint64_t fake_backends_files(void *host, const char **out_refused)
{
    ck_assert_ptr_eq(host, &fake);
    *out_refused = "/b:1: no address";
    return 1700000000000;
}

static struct names_answer fake_answers[] = {
    {.ip = {.family = ADDR_IPV4, .bytes = {10, 0, 0, 5}}},
    {.ip = {.family = ADDR_IPV4, .bytes = {10, 0, 0, 6}}, .port = 8080},
};
static struct names_entry fake_entries[] = {
    {(char[]){"b.test"}, fake_answers, 1},
    {(char[]){"none.test"}, NULL, 0},
    {(char[]){"srv:_b._tcp.test"}, fake_answers, 2},
};
static const struct names fake_all_names = {fake_entries, COUNT(fake_entries), 0};

static const struct names *fake_names(void *host)
{
    ck_assert_ptr_eq(host, &fake);
    return &fake_all_names;
}

static const char *fake_name_trouble(void *host, const char *name, uint64_t *out_since_ms)
{
    ck_assert_ptr_eq(host, &fake);
    if (strcmp(name, "b.test") == 0) {
        return NULL;
    }
    *out_since_ms -= 90000;
    return "no answer in time";
}

static void fake_health(void *host, const struct model_service *service, struct ctl_health *out)
{
    const char *why = service ? fake.unhealthy_service : fake.unhealthy;

    ck_assert_ptr_eq(host, &fake);
    out->healthy = why == NULL;
    snprintf(out->reason, sizeof(out->reason), "%s",
             why       ? why
             : service ? "2 of 3 backends up"
                       : "1 service is healthy");
}

static void fake_set_health(void *host, bool fail, const struct ctl_who *who, ctl_change_fn *done,
                            void *arg)
{
    ck_assert_ptr_eq(host, &fake);
    snprintf(fake.asked, sizeof(fake.asked), "health %s by %s why=%s", fail ? "fail" : "auto",
             who->text, who->why ? who->why : "-");
    fake.n_asked++;
    fake_answer_or_hold(done, arg);
}

static void fake_edit(void *host, const struct ctl_edit *edit, const struct ctl_who *who,
                      bool force, ctl_change_fn *done, void *arg)
{
    static const char *const verbs[CTL_EDIT_COUNT] = {[CTL_EDIT_SET] = "set",
                                                      [CTL_EDIT_ADD] = "add",
                                                      [CTL_EDIT_REMOVE] = "remove",
                                                      [CTL_EDIT_RESET] = "reset"};
    size_t used;

    ck_assert_ptr_eq(host, &fake);
    snprintf(fake.asked, sizeof(fake.asked), "%s %s%s%s/%s", verbs[edit->verb],
             edit->service ? edit->service : "", edit->service ? ":" : "",
             edit->pool ? edit->pool : "", edit->backend ? edit->backend : "");
    for (size_t i = 0; i < edit->n_settings; i++) {
        used = strlen(fake.asked);
        snprintf(fake.asked + used, sizeof(fake.asked) - used, " %s=%s", edit->settings[i].option,
                 edit->settings[i].value);
    }
    used = strlen(fake.asked);
    if (edit->for_ms != 0)
        snprintf(fake.asked + used, sizeof(fake.asked) - used, " for %u ms",
                 (unsigned)edit->for_ms);
    used = strlen(fake.asked);
    if (edit->has_within)
        snprintf(fake.asked + used, sizeof(fake.asked) - used, " within %u ms",
                 (unsigned)edit->within_ms);
    used = strlen(fake.asked);
    snprintf(fake.asked + used, sizeof(fake.asked) - used, "%s why=%s", force ? " force" : "",
             who->why ? who->why : "-");
    fake.n_asked++;
    fake_answer_or_hold(done, arg);
}

static void fake_upgrade(void *host, const char *program, const struct ctl_who *who,
                         ctl_change_fn *done, void *arg)
{
    ck_assert_ptr_eq(host, &fake);
    snprintf(fake.asked, sizeof(fake.asked), "upgrade to %s by %s",
             program != NULL ? program : "its own", who->text);
    fake.n_asked++;
    fake_answer_or_hold(done, arg);
}

static void fake_reload(void *host, uint64_t confirm_ms, const struct ctl_who *who,
                        ctl_change_fn *done, void *arg)
{
    ck_assert_ptr_eq(host, &fake);
    snprintf(fake.asked, sizeof(fake.asked), "reload by %s", who->text);
    if (confirm_ms != 0)
        snprintf(fake.asked, sizeof(fake.asked), "reload confirm=%llu",
                 (unsigned long long)confirm_ms);
    fake.n_asked++;
    fake_answer_or_hold(done, arg);
}

static void fake_rollback(void *host, uint32_t generation, const struct ctl_who *who,
                          ctl_change_fn *done, void *arg)
{
    ck_assert_ptr_eq(host, &fake);
    snprintf(fake.asked, sizeof(fake.asked), "rollback %u by %s", generation, who->text);
    fake.n_asked++;
    fake_answer_or_hold(done, arg);
}

static bool fake_confirm(void *host, const struct ctl_who *who, struct errlist *warnings)
{
    (void)warnings;
    ck_assert_ptr_eq(host, &fake);
    snprintf(fake.asked, sizeof(fake.asked), "confirm by %s", who->text);
    fake.n_asked++;
    return fake.configs.returns != 0;
}

static const struct ctl_configs *fake_give_configs(void *host)
{
    ck_assert_ptr_eq(host, &fake);
    fake.configs.kept = &fake.kept;
    return &fake.configs;
}

static void fake_check_config(void *host, const char *path, const struct ctl_who *who,
                              ctl_change_fn *done, void *arg)
{
    ck_assert_ptr_eq(host, &fake);
    snprintf(fake.asked, sizeof(fake.asked), "check %s as %u", path ? path : "-",
             (unsigned)who->uid);
    fake.n_asked++;
    fake_answer_or_hold(done, arg);
}

static void fake_sessions(void *host, const struct session_filter *filter, ctl_sessions_fn *done,
                          void *arg)
{
    char client[ADDR_TEXT_MAX];

    ck_assert_ptr_eq(host, &fake);
    snprintf(fake.asked, sizeof(fake.asked),
             "sessions service=%d row=%d client=%s/%u idle=%llu "
             "limit=%u",
             (int)filter->service_row, (int)filter->row,
             addr_ip_format(&filter->client.ip, false, client), filter->client.prefix,
             (unsigned long long)filter->idle_ms, filter->limit);
    fake.n_asked++;
    fake.sessions_done = done;
    fake.arg = arg;
    if (!fake.holds)
        fake_answer();
}

static uint64_t fake_memory(void *host, pid_t pid)
{
    ck_assert_ptr_eq(host, &fake);
    ck_assert_int_gt(pid, 0);
    return 1 << 20;
}

static void fake_close(void *host, const struct ctl_closing *asked, const struct ctl_who *who,
                       ctl_close_fn *done, void *arg)
{
    char client[ADDR_TEXT_MAX];

    ck_assert_ptr_eq(host, &fake);
    snprintf(fake.asked, sizeof(fake.asked),
             "close %s: id=%llu row=%d client=%s/%u of %s/%s over "
             "%llu ms why=%s",
             asked->what, (unsigned long long)asked->filter.id, (int)asked->filter.row,
             addr_ip_format(&asked->filter.client.ip, false, client), asked->filter.client.prefix,
             asked->pool ? asked->pool : "-", asked->backend ? asked->backend : "-",
             (unsigned long long)asked->over_ms, who->why ? who->why : "-");
    fake.n_asked++;
    fake.close_done = done;
    fake.arg = arg;
    if (!fake.holds)
        fake_answer();
}

static void fake_explain(void *host, const struct explanation_question *question,
                         ctl_explain_fn *done, void *arg)
{
    char client[ADDR_TEXT_MAX], to[ADDR_TEXT_MAX];

    ck_assert_ptr_eq(host, &fake);
    snprintf(fake.asked, sizeof(fake.asked), "explain %s %s to %s", question->service,
             question->client.family == ADDR_UNIX
                 ? "unix"
                 : addr_ip_format(&question->client, question->client.port != 0, client),
             addr_ip_format(&question->destination, question->destination.port != 0, to));
    fake.n_asked++;
    fake.explain_done = done;
    fake.arg = arg;
    if (!fake.holds)
        fake_answer();
}

static void fake_stop(void *host, const struct ctl_who *who, uint64_t within_ms)
{
    ck_assert_ptr_eq(host, &fake);
    ck_assert_ptr_nonnull(who->text);
    fake.n_stopped++;
    fake.stop_within_ms = within_ms;
}

static const struct ctl_host_ops fake_ops = {
    .info = fake_info,
    .memory = fake_memory,
    .model = fake_model,
    .snapshot = fake_snapshot,
    .overrides = fake_overrides,
    .drain = fake_drain,
    .print = fake_print,
    .backends_files = fake_backends_files,
    .unsaid = fake_unsaid,
    .names = fake_names,
    .name_trouble = fake_name_trouble,
    .health = fake_health,
    .edit = fake_edit,
    .set_health = fake_set_health,
    .reload = fake_reload,
    .rollback = fake_rollback,
    .confirm = fake_confirm,
    .configs = fake_give_configs,
    .upgrade = fake_upgrade,
    .check_config = fake_check_config,
    .sessions = fake_sessions,
    .close = fake_close,
    .explain = fake_explain,
    .stop = fake_stop,
};

static void fake_fill_backend(const struct model_pool *pool, const struct model_backend *from,
                              struct snapshot_backend *to)
{
    size_t n_checks = 0;

    model_backend_checks(pool, from, &n_checks);
    *to = (struct snapshot_backend){
        .address = from->address,
        .slot = from->slot,
        .row = from->row,
        .weight = from->weight,
        .max_connections = from->max_connections,
        .resume_connections = from->max_connections / 2,
        .n_checks = (uint32_t)n_checks,
        .admin = from->admin,
    };
    snprintf(to->name, sizeof(to->name), "%s", from->name);
}

/* The fake model as workers would see it. */
static void fake_fill_snapshot(struct fake_snapshot *out)
{
    uint32_t n = 0;

    out->header = (struct snapshot_header){
        .generation = 3,
        .n_services = COUNT(fake_services),
        .n_listeners = COUNT(fake_listeners),
        .n_pools = COUNT(fake_pools),
        .services_offset = offsetof(struct fake_snapshot, services),
        .listeners_offset = offsetof(struct fake_snapshot, listeners),
        .pools_offset = offsetof(struct fake_snapshot, pools),
        .n_checks = COUNT(out->checks),
        .backends_offset = offsetof(struct fake_snapshot, backends),
        .checks_offset = offsetof(struct fake_snapshot, checks),
        .sources_offset = offsetof(struct fake_snapshot, sources),
    };
    out->checks[0] = (struct snapshot_check){.kind = "tcp", .title = "tcp"};
    out->checks[1] = (struct snapshot_check){.kind = "agent", .title = "agent:load"};
    out->services[0] = (struct snapshot_service){
        .name = "web", .row = 6, .n_listeners = 2, .fallback_pool = SNAPSHOT_NONE};
    for (int i = 0; i < COUNT(fake_listeners); i++)
        out->listeners[i].address = fake_listeners[i].address;
    for (uint32_t p = 0; p < out->header.n_pools; p++) {
        const struct model_pool *pool = &fake_pools[p];

        out->pools[p] = (struct snapshot_pool){.row = p + 10,
                                               .scheduler = sched_find(pool->scheduler),
                                               .first_backend = n,
                                               .n_backends = (uint32_t)pool->n_backends,
                                               .min_healthy = 1};
        snprintf(out->pools[p].name, sizeof(out->pools[p].name), "%s", pool->name);
        for (size_t i = 0; i < pool->n_backends; i++)
            fake_fill_backend(pool, &pool->backends[i], &out->backends[n++]);
    }
    out->header.n_backends = n;
}

static void fake_start(void)
{
    uint64_t now_ms = clock_now_ms();

    memset(&fake, 0, sizeof(fake));
    fake.configs = (struct ctl_configs){.file_runs = true, .returns = 3};
    fake.model.generation = 3;
    fake.model.pools = fake_pools;
    fake.model.n_pools = COUNT(fake_pools);
    fake.model.services = fake_services;
    fake.model.n_services = COUNT(fake_services);
    fake.model.global.drain_timeout_ms = 30000;
    fake.model.global.control_read = fake_nobody;
    fake.model.global.control_operate = fake_nobody;
    fake.model.global.control_administer = fake_nobody;
    fake_fill_snapshot(&fake.snapshot);
    fake.explanation = (struct explanation){.generation = 3};
    fake.overrides.items = &fake_override;
    fake.overrides.count = 1;
    ck_assert_int_eq(scoreboard_create(&fake.sb, FAKE_WORKERS, now_ms - 12000, clock_wall_ms()), 0);
    fake.host = (struct ctl_host){
        .ops = &fake_ops, .self = &fake, .sb = &fake.sb, .events = events_create()};
    ck_assert_ptr_nonnull(fake.host.events);
    scoreboard_set_health(&fake.sb, FAKE_SLOT, SB_HEALTH_UP, "connected", now_ms - 4000);
}

static void fake_end(void)
{
    events_destroy(fake.host.events);
    scoreboard_destroy(&fake.sb);
}

#endif
