/*
 * The operator's settings beside the file: setting, listing, and what a reload makes of them.
 */
#include "test_model_fixture.h"

static const char two[] = SERVICE "pool \"web\" {\n"
                                  "  backend \"a\" { address = \"10.0.0.1:80\" weight = 2 }\n"
                                  "  backend \"b\" { address = \"h.example:80\" }\n"
                                  "}\n";

static struct model *model;
static struct model_backend *a;

static void setup(void)
{
    model = read_good(two);
    a = &model->pools[0].backends[0];
}

static void teardown(void)
{
    model_free(model);
}

static void expect_set(const char *option, const char *value, const char *expected_problem)
{
    STR_AUTO problem = {0};
    int rc = model_set_backend(model, a, option, value, &problem);

    ck_assert_str_eq(str_text(&problem), expected_problem);
    ck_assert_int_eq(rc, *expected_problem == '\0' ? 0 : -EINVAL);
}

static void expect_get(const char *option, const char *expected)
{
    STR_AUTO value = {0};

    ck_assert(model_get_backend(a, option, &value) == (expected != NULL));
    ck_assert_str_eq(str_text(&value), expected != NULL ? expected : "");
}

START_TEST(setting)
{
    expect_set("weight", "9", "");
    ck_assert_uint_eq(a->weight, 9);
    expect_set("max_connections", "100", "");
    ck_assert_uint_eq(a->max_connections, 100);
    expect_set("resume_connections", "100", "");
    ck_assert_uint_eq(a->resume_connections, 100);
    expect_set("resume_connections", "auto", "");
    ck_assert_uint_eq(a->resume_connections, 0);
    expect_set("connect_rate", "30/m:4", "");
    ck_assert_uint_eq(a->connect_rate.burst, 4);
    expect_set("admin", "maintenance", "");
    ck_assert_uint_eq(a->admin, ADMIN_MAINTENANCE);
    expect_get("weight", "9");
    expect_get("max_connections", "100");
    expect_get("resume_connections", "auto");
    expect_get("connect_rate", "30/m:4");
    expect_get("admin", "maintenance");
    expect_set("connect_rate", "none", "");
    expect_get("connect_rate", "none");
}
END_TEST

START_TEST(refusing)
{
    expect_set("weight", "65536",
               "weight: \"65536\": out of range; write a whole number from 0 to 65535");
    expect_set("weight", "",
               "weight: \"\": not a whole number; write a whole number from 0 to 65535");
    expect_set("admin", "drian", "admin: \"drian\": unknown; did you mean \"drain\"?");
    expect_set("wieght", "1", "\"wieght\": no option that can be set; did you mean \"weight\"?");
    expect_set("address", "h:1",
               "\"address\": no option that can be set; write one of weight, max_connections, "
               "resume_connections, connect_rate, admin");
    expect_set("connect_rate", "5",
               "connect_rate: \"5\": not a rate; write a whole number with /s, /m or /h, such as "
               "\"100/s\", with a burst \"100/s:500\", or \"none\"");
    ck_assert_uint_eq(a->weight, 2);
    ck_assert_uint_eq(a->admin, ADMIN_READY);
}
END_TEST

START_TEST(limits_that_do_not_go_together)
{
    expect_set("resume_connections", "3",
               "resume_connections: \"3\": there is no max_connections to be under again; write "
               "max_connections as well, or \"auto\" here");
    ck_assert_uint_eq(a->resume_connections, 0);
    expect_set("max_connections", "8", "");
    expect_set("resume_connections", "9",
               "resume_connections: \"9\": above max_connections = 8; write at most that, or "
               "\"auto\" for 3/4 of it");
    ck_assert_uint_eq(a->resume_connections, 0);
    expect_set("resume_connections", "7", "");
    expect_set("max_connections", "6",
               "max_connections: \"6\": resume_connections = 7 lies above it; write at least that, "
               "or set resume_connections to \"auto\" first");
    expect_set("max_connections", "0",
               "max_connections: \"0\": resume_connections = 7 needs a limit; write at least that, "
               "or set resume_connections to \"auto\" first");
    ck_assert_uint_eq(a->max_connections, 8);
    ck_assert_uint_eq(a->resume_connections, 7);
    expect_set("max_connections", "7", "");
}
END_TEST

START_TEST(getting)
{
    expect_get("weight", "2");
    expect_get("address", "10.0.0.1:80");
    expect_get("checks", NULL);
    expect_get("nonsense", NULL);
}
END_TEST

START_TEST(settable)
{
    const char *const *names = model_backend_settable();

    ck_assert_str_eq(names[0], "weight");
    ck_assert_str_eq(names[1], "max_connections");
    ck_assert_str_eq(names[2], "resume_connections");
    ck_assert_str_eq(names[3], "connect_rate");
    ck_assert_str_eq(names[4], "admin");
    ck_assert_ptr_null(names[5]);
    ck_assert_ptr_eq(model_backend_settable(), names);
}
END_TEST

/* Strings that are gone after the call, as a command's are. */
static void set_override(struct overrides *list, const char *backend, const char *option,
                         const char *value, const char *file_value)
{
    char pool[] = "web";
    char by[] = "uid 0";
    char *copies[4] = {strdup(backend), strdup(option), strdup(value),
                       file_value != NULL ? strdup(file_value) : NULL};
    struct override item = {.pool = pool,
                            .backend = copies[0],
                            .option = copies[1],
                            .value = copies[2],
                            .file_value = copies[3],
                            .by = by,
                            .wall_ms = 5};

    ck_assert_int_eq(overrides_set(list, &item), 0);
    for (size_t i = 0; i < 4; i++) {
        free(copies[i]);
    }
}

static void expect_list(const struct overrides *list, const char *expected)
{
    STR_AUTO lines = {0};

    for (size_t i = 0; i < list->count; i++) {
        const struct override *item = &list->items[i];

        str_printf(&lines, "%s/%s %s=%s (%s) by %s\n", item->pool, item->backend, item->option,
                   item->value, item->file_value != NULL ? item->file_value : "-", item->by);
        ck_assert_uint_eq(item->wall_ms, 5);
        ck_assert_ptr_null(item->why);
    }
    ck_assert_str_eq(str_text(&lines), expected);
}

START_TEST(a_list_replaces_and_keeps_order)
{
    struct overrides list = {0};

    set_override(&list, "a", "weight", "9", "2");
    set_override(&list, "b", "weight", "8", "1");
    set_override(&list, "a", "admin", "drain", "ready");
    set_override(&list, "a", "weight", "7", "2");
    expect_list(&list, "web/a weight=7 (2) by uid 0\nweb/b weight=8 (1) by uid 0\n"
                       "web/a admin=drain (ready) by uid 0\n");
    overrides_free(&list);
    ck_assert_uint_eq(list.count, 0);
    overrides_free(&list);
}
END_TEST

static void expect_reapply(const struct overrides *list, const char *kept_expected,
                           const char *dropped_expected)
{
    struct overrides kept = {0};
    struct errlist dropped = {0};
    STR_AUTO printed = {0};

    ck_assert_int_eq(overrides_reapply(list, model, &kept, &dropped), 0);
    expect_list(&kept, kept_expected);
    errlist_print(&dropped, &printed);
    ck_assert_str_eq(str_text(&printed), dropped_expected);
    ck_assert_uint_eq(dropped.errors, 0);
    overrides_free(&kept);
    errlist_free(&dropped);
}

START_TEST(reapply_keeps_what_stands)
{
    struct overrides list = {0};

    expect_reapply(&list, "", "");
    set_override(&list, "a", "weight", "9", "2");
    set_override(&list, "b", "admin", "maintenance", "ready");
    expect_reapply(&list, "web/a weight=9 (2) by uid 0\nweb/b admin=maintenance (ready) by uid 0\n",
                   "");
    ck_assert_uint_eq(a->weight, 9);
    ck_assert_uint_eq(model->pools[0].backends[1].admin, ADMIN_MAINTENANCE);
    overrides_free(&list);
}
END_TEST

START_TEST(reapply_lets_the_file_win)
{
    struct overrides list = {0};

    set_override(&list, "a", "weight", "9", "1"); /* the file said 1 then, and says 2 now */
    set_override(&list, "a", "max_connections", "5", "0");
    set_override(&list, "b", "weight", "4", NULL);
    expect_reapply(
        &list, "web/a max_connections=5 (0) by uid 0\n",
        "f:3: pool \"web\" / backend \"a\": warning: the file now says 2 instead of 1; the "
        "override weight=9 by uid 0 no longer holds\n"
        "f:4: pool \"web\" / backend \"b\": warning: the file now says 1 instead of "
        "nothing; the override weight=4 by uid 0 no longer holds\n");
    ck_assert_uint_eq(a->weight, 2);
    ck_assert_uint_eq(a->max_connections, 5);
    overrides_free(&list);
}
END_TEST

START_TEST(reapply_drops_what_is_gone)
{
    struct overrides list = {0};
    struct override elsewhere = {.pool = (char[]){"mail"},
                                 .backend = (char[]){"a"},
                                 .option = (char[]){"weight"},
                                 .value = (char[]){"3"}};

    set_override(&list, "c", "weight", "9", "1");
    set_override(&list, "a", "weight", "70000", "2"); /* of another release, say */
    set_override(&list, "a", "colour", "red", NULL);
    ck_assert_int_eq(overrides_set(&list, &elsewhere), 0);
    expect_reapply(
        &list, "",
        "pool \"web\" / backend \"c\": warning: the backend is gone; the override weight=9 by uid "
        "0 no longer holds\n"
        "f:3: pool \"web\" / backend \"a\": warning: weight: \"70000\": out of range; "
        "write a whole number from 0 to 65535; the override weight=70000 by uid 0 no longer holds\n"
        "f:3: pool \"web\" / backend \"a\": warning: \"colour\": no option that can be "
        "set; write one of weight, max_connections, resume_connections, connect_rate, admin; the "
        "override colour=red by uid 0 no longer holds\n"
        "pool \"mail\" / backend \"a\": warning: the backend is gone; the override weight=3 by "
        "somebody no longer holds\n");
    ck_assert_uint_eq(a->weight, 2);
    overrides_free(&list);
}
END_TEST

/* Whichever stands first in the list: what matters is where all of them lead. */
START_TEST(reapply_does_not_mind_the_order)
{
    static const char *const options[] = {"resume_connections", "max_connections",
                                          "resume_connections"};
    static const char *const values[] = {"50", "100", "50"};

    for (size_t first = 0; first < 2; first++) {
        struct overrides list = {0};
        STR_AUTO kept = {0};

        a->max_connections = 10;
        a->resume_connections = 8;
        for (size_t i = first; i < first + 2; i++) {
            const char *was = strcmp(options[i], "max_connections") == 0 ? "10" : "8";

            set_override(&list, "a", options[i], values[i], was);
            str_printf(&kept, "web/a %s=%s (%s) by uid 0\n", options[i], values[i], was);
        }
        expect_reapply(&list, str_text(&kept), "");
        ck_assert_uint_eq(a->max_connections, 100);
        ck_assert_uint_eq(a->resume_connections, 50);
        overrides_free(&list);
    }
}
END_TEST

START_TEST(reapply_judges_limits)
{
    struct overrides list = {0};

    a->max_connections = 40; /* the file was edited */
    set_override(&list, "a", "resume_connections", "50", "auto");
    set_override(&list, "a", "connect_rate", "5/s", "none");
    expect_reapply(
        &list, "web/a connect_rate=5/s (none) by uid 0\n",
        "f:3: pool \"web\" / backend \"a\": warning: resume_connections: \"50\": above "
        "max_connections = 40; write at most that, or \"auto\" for 3/4 of it; the override "
        "resume_connections=50 by uid 0 no longer holds\n");
    ck_assert_uint_eq(a->resume_connections, 0);
    ck_assert_uint_eq(a->connect_rate.count, 5);
    overrides_free(&list);
}
END_TEST

int main(void)
{
    return RUN_SUITE_WITH("model override", setup, teardown, setting, refusing,
                          limits_that_do_not_go_together, getting, settable,
                          a_list_replaces_and_keeps_order, reapply_keeps_what_stands,
                          reapply_lets_the_file_win, reapply_drops_what_is_gone,
                          reapply_does_not_mind_the_order, reapply_judges_limits);
}
