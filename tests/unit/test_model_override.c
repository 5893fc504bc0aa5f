/*
 * What the operator says beside the file: the list of records, the model with them, and what of
 * them a reload leaves.
 */
#include "model/override.h"
#include "sluice/limits.h"
#include "test_model_fixture.h"

static const char two[] = SERVICE "pool \"web\" {\n"
                                  "  backend \"a\" { address = \"10.0.0.1:80\" weight = 2 }\n"
                                  "  backend \"b\" { address = \"h.example:80\" }\n"
                                  "}\n";

static struct overrides list;

static void teardown(void)
{
    overrides_free(&list);
}

static struct conf_tree *read_tree(const char *text)
{
    struct errlist errors = {0};
    struct conf_tree *tree = conf_read_text("f", text, strlen(text), model_schema(), &errors);

    ck_assert_ptr_nonnull(tree);
    ck_assert_uint_eq(errors.count, 0);
    return tree;
}

/* A record from strings that are gone after the call, as a command's are. value: of what was
 * added, its address. */
static void record(enum override_kind kind, const char *pool, const char *backend,
                   const char *option, const char *value, const char *file_value)
{
    const char *texts[] = {pool, backend, option, value, file_value, "uid 0"};
    char *copies[6];
    struct override_setting setting;
    struct override item = {.kind = kind, .wall_ms = 5};

    for (size_t i = 0; i < 6; i++) {
        copies[i] = texts[i] != NULL ? strdup(texts[i]) : NULL;
    }
    item.pool = copies[0];
    item.backend = copies[1];
    item.option = copies[2];
    item.value = copies[3];
    item.file_value = copies[4];
    item.by = copies[5];
    if (kind == OVERRIDE_ADDED) {
        setting = (struct override_setting){(char *)"address", copies[3]};
        item.settings = &setting;
        item.n_settings = 1;
    }
    ck_assert_int_eq(overrides_set(&list, &item), 0);
    for (size_t i = 0; i < 6; i++) {
        free(copies[i]);
    }
}

static void set(const char *backend, const char *option, const char *value, const char *file_value)
{
    record(OVERRIDE_SET, "web", backend, option, value, file_value);
}

static void add(const char *backend, const char *address)
{
    record(OVERRIDE_ADDED, "web", backend, NULL, address, NULL);
}

static void take_away(const char *backend, const char *address)
{
    record(OVERRIDE_REMOVED, "web", backend, NULL, NULL, address);
}

static void expect_list(const struct overrides *records, const char *expected)
{
    static const char *const signs[] = {"", "+", "-"};
    STR_AUTO lines = {0};

    for (size_t i = 0; i < records->count; i++) {
        const struct override *item = &records->items[i];

        str_printf(&lines, "%s%s/%s", signs[item->kind], item->pool,
                   item->backend != NULL ? item->backend : "");
        if (item->option != NULL) {
            str_printf(&lines, " %s=%s (%s)", item->option, item->value,
                       item->file_value != NULL ? item->file_value : "-");
        }
        str_append_char(&lines, '\n');
        ck_assert_str_eq(item->by, "uid 0");
        ck_assert_uint_eq(item->wall_ms, 5);
    }
    ck_assert_str_eq(str_text(&lines), expected);
}

/* The model of text with the list, whose faults must be as expected. */
static struct model *build(const char *text, const char *faults)
{
    struct conf_tree *tree = read_tree(text);
    struct errlist errors = {0};
    STR_AUTO printed = {0};
    struct model *model = overrides_build(&list, tree, NULL, &fixture_registries, &errors);

    errlist_print(&errors, &printed);
    ck_assert_str_eq(str_text(&printed), faults);
    errlist_free(&errors);
    conf_tree_free(tree);
    return model;
}

/* --- the list --- */

START_TEST(a_list_replaces_and_keeps_order)
{
    struct overrides copy = {0};

    set("a", "weight", "9", "2");
    set("b", "weight", "8", "1");
    take_away("c", "10.0.0.3:80");
    set("a", "admin", "drain", "ready");
    set("a", "weight", "7", "2");
    add("a", "10.0.0.9:80"); /* another kind is another record */
    expect_list(&list, "web/a weight=7 (2)\nweb/b weight=8 (1)\n-web/c\n"
                       "web/a admin=drain (ready)\n+web/a\n");
    ck_assert_int_eq(overrides_copy(&copy, &list), 0);
    overrides_drop(&list, &list.items[1]);
    overrides_drop(&list, &copy.items[1]); /* is gone already */
    expect_list(&list, "web/a weight=7 (2)\n-web/c\nweb/a admin=drain (ready)\n+web/a\n");
    ck_assert_uint_eq(copy.count, 5);
    ck_assert_str_eq(copy.items[4].settings[0].value, "10.0.0.9:80");
    ck_assert_ptr_eq(overrides_find(&list, &copy.items[2]), &list.items[1]);
    ck_assert_ptr_null(overrides_find(&list, &copy.items[1]));
    overrides_free(&copy);
    ck_assert_uint_eq(copy.count, 0);
    overrides_free(&copy);
}
END_TEST

START_TEST(forgetting)
{
    struct override other = {
        .service = (char[]){"web"}, .option = (char[]){"pool"}, .by = (char[]){"uid 0"}};

    set("a", "weight", "9", "2");
    set("a", "admin", "drain", "ready");
    record(OVERRIDE_SET, "web", NULL, "retries", "1", "3");
    record(OVERRIDE_SET, "mail", "a", "weight", "1", "3");
    add("b", "10.0.0.2:80");
    ck_assert_int_eq(overrides_set(&list, &other), 0);
    ck_assert_uint_eq(overrides_forget(&list, "web", "c"), 0);
    ck_assert_uint_eq(overrides_forget(&list, "web", "a"), 2);
    ck_assert_uint_eq(list.count, 4);
    ck_assert_uint_eq(overrides_forget(&list, "web", NULL), 2);
    ck_assert_uint_eq(list.count, 2);
    ck_assert_str_eq(list.items[0].pool, "mail");
    ck_assert_uint_eq(overrides_forget(&list, NULL, NULL), 2);
}
END_TEST

/* Sets weight of a for a time, over what is there. */
static void set_until(const char *value, uint64_t until_ms, const struct override *before)
{
    struct override item = {.pool = (char[]){"web"},
                            .backend = (char[]){"a"},
                            .option = (char[]){"weight"},
                            .value = (char *)(uintptr_t)value,
                            .by = (char[]){"uid 0"},
                            .wall_ms = 5,
                            .until_ms = until_ms,
                            .before = (struct override *)(uintptr_t)before};

    ck_assert_int_eq(overrides_set(&list, &item), 0);
}

START_TEST(ending)
{
    struct overrides copy = {0};

    ck_assert_ptr_null(overrides_next_end(&list));
    set("a", "weight", "9", NULL);
    ck_assert_ptr_null(overrides_next_end(&list));
    set_until("7", 2000, &list.items[0]); /* which it replaces */
    set("a", "admin", "drain", "ready");
    record(OVERRIDE_SET, "mail", "a", "weight", "1", "3");
    list.items[2].until_ms = 1000;
    ck_assert_ptr_eq(overrides_next_end(&list), &list.items[2]);
    ck_assert_int_eq(overrides_copy(&copy, &list), 0);
    overrides_free(&list);
    list = copy;
    ck_assert_int_eq(overrides_expire(&list, 999), 0);
    ck_assert_uint_eq(list.count, 3);
    ck_assert_int_eq(overrides_expire(&list, 1000), 0);
    expect_list(&list, "web/a weight=7 (-)\nweb/a admin=drain (ready)\n");
    ck_assert_uint_eq(overrides_next_end(&list)->until_ms, 2000);
    ck_assert_int_eq(overrides_expire(&list, 5000), 0);
    expect_list(&list, "web/a weight=9 (-)\nweb/a admin=drain (ready)\n");
    ck_assert_ptr_null(overrides_next_end(&list));
    ck_assert_int_eq(overrides_expire(&list, UINT64_MAX), 0);
    ck_assert_uint_eq(list.count, 2);
}
END_TEST

static void expect_names(const char *const *names, const char *expected)
{
    STR_AUTO all = {0};

    for (; *names != NULL; names++) {
        str_printf(&all, " %s", *names);
    }
    ck_assert_str_eq(str_text(&all), expected);
}

START_TEST(which_options)
{
    expect_names(override_settable_of_backend(),
                 " weight max_connections resume_connections connect_rate admin health");
    expect_names(override_settable_of_pool(),
                 " scheduler hash_key connect_timeout retries keepalive user_timeout send_proxy "
                 "transparent queue queue_timeout slow_start drain_within paused panic_threshold "
                 "min_healthy backup_use on_return "
                 "on_down start on_unresolved require notify");
    expect_names(override_settable_of_service(),
                 " freebind backlog pool fallback_pool idle_timeout half_close_timeout keepalive "
                 "user_timeout max_connections accept_rate persistence persistence_mask "
                 "persistence_mask6 session_log admin healthz");
    expect_names(override_addable(), " weight max_connections resume_connections connect_rate "
                                     "backup admin health check_address checks");
}
END_TEST

/* --- the model --- */

START_TEST(building)
{
    static const char expected[] = "service \"web\" {\n"
                                   "    listen = { \"127.0.0.1:80\" }\n"
                                   "    pool = \"web\"\n"
                                   "}\n"
                                   "pool \"web\" {\n"
                                   "    retries = 1\n"
                                   "    backend \"a\" {\n"
                                   "        address = \"10.0.0.1:80\"\n"
                                   "        admin = \"drain\"\n"
                                   "    }\n"
                                   "    backend \"c\" {\n"
                                   "        address = \"10.0.0.3:80\"\n"
                                   "        weight = 4\n"
                                   "    }\n"
                                   "}\n";
    struct model *model;

    set("c", "weight", "4", "1"); /* before what it is about */
    set("a", "admin", "drain", "ready");
    set("a", "weight", "1", "2");
    record(OVERRIDE_SET, "web", NULL, "retries", "1", "3");
    add("c", "10.0.0.3:80");
    take_away("b", "h.example:80");
    set("gone", "weight", "1", "2");
    record(OVERRIDE_SET, "gone", "a", "weight", "1", "2");
    record(OVERRIDE_ADDED, "gone", "a", NULL, "10.0.0.1:80", NULL);
    model = build(two, "");
    expect_printed(model, false, expected);
    ck_assert_str_eq(model->pools[0].backends[1].file, "");
    ck_assert_ptr_null(model->files[1]);
    model_free(model);
}
END_TEST

START_TEST(of_a_service)
{
    static const char text[] =
        SERVICE POOL "pool \"other\" { backend \"x\" { address = "
                     "\"10.0.0.2:80\" } }\n"
                     "service \"two\" { listen = { \"127.0.0.1:81\" } pool = "
                     "\"other\" }\n";
    struct override item = {.service = (char[]){"web"},
                            .option = (char[]){"pool"},
                            .value = (char[]){"other"},
                            .file_value = (char[]){"web"},
                            .by = (char[]){"uid 0"}};
    struct conf_tree *tree = read_tree(text);
    struct errlist errors = {0};
    struct model *model;

    ck_assert_int_eq(overrides_set(&list, &item), 0);
    model = overrides_build(&list, tree, NULL, &fixture_registries, &errors);
    ck_assert_ptr_nonnull(model);
    ck_assert_str_eq(model->services[0].pool, "other");
    ck_assert_uint_eq(model->services[0].pool_index, 1);
    model_free(model);
    item.value = (char[]){"othre"};
    ck_assert_int_eq(overrides_set(&list, &item), 0);
    errlist_free(&errors);
    ck_assert_ptr_null(overrides_build(&list, tree, NULL, &fixture_registries, &errors));
    ck_assert_str_eq(errlist_first_error(&errors)->text,
                     "pool: \"othre\": no such pool; did you mean \"other\"?");
    ck_assert_str_eq(errlist_first_error(&errors)->section, "service \"web\"");
    errlist_free(&errors);
    conf_tree_free(tree);
}
END_TEST

START_TEST(printing)
{
    static const char expected[] =
        "pool \"web\" {\n"
        "    # 3 in the file; by uid 0, 1970-01-01T00:00:00.005Z\n"
        "    retries = 1\n"
        "    # nothing in the file; by uid 0, 1970-01-01T00:00:00.005Z\n"
        "    notify = \"/bin/\\\"x y\"\n"
        "    backend \"a\" {\n"
        "        # ready in the file; by uid 0, 1970-01-01T00:00:00.005Z, until "
        "1970-01-01T00:01:00.000Z: disk\n"
        "        admin = \"drain\"\n"
        "        # 2 in the file; by uid 0, 1970-01-01T00:00:00.005Z\n"
        "        weight = 7\n"
        "    }\n"
        "    # added by uid 0, 1970-01-01T00:00:00.005Z\n"
        "    backend \"c\" {\n"
        "        address = \"10.0.0.3:80\"\n"
        "        weight = 4\n"
        "    }\n"
        "    # removed by uid 0, 1970-01-01T00:00:00.005Z\n"
        "    # backend \"b\" { address = \"h.example:80\" … }: leave this section (or its "
        "line in backends_file) out\n"
        "}\n";
    struct override drained = {.pool = (char[]){"web"},
                               .backend = (char[]){"a"},
                               .option = (char[]){"admin"},
                               .value = (char[]){"drain"},
                               .file_value = (char[]){"ready"},
                               .by = (char[]){"uid 0"},
                               .why = (char[]){"disk"},
                               .wall_ms = 5,
                               .until_ms = 1,
                               .until_wall_ms = 60000};
    struct model *model;
    STR_AUTO printed = {0};

    set("c", "weight", "4", "1");
    ck_assert_int_eq(overrides_set(&list, &drained), 0);
    set("a", "weight", "007", "2");
    record(OVERRIDE_SET, "web", NULL, "retries", "1", "3");
    record(OVERRIDE_SET, "web", NULL, "notify", "/bin/\"x y", NULL);
    add("c", "10.0.0.3:80");
    take_away("b", "h.example:80");
    model = build(two, "");
    overrides_print(&list, model, &printed);
    ck_assert_str_eq(str_text(&printed), expected);
    model_free(model);
}
END_TEST

START_TEST(faults_are_a_file_s)
{
    set("a", "weight", "65536", "2");
    set("a", "resume_connections", "3", "auto");
    add("c", "10.0.0.3");
    add("b", "10.0.0.4:80");
    ck_assert_ptr_null(build(
        two, "pool \"web\" / backend \"a\": weight: \"65536\": out of range; write a whole number "
             "from 0 to 65535\n"
             "pool \"web\" / backend \"a\": resume_connections: \"3\": there is no max_connections "
             "to be under again; write max_connections as well, or \"auto\" here\n"
             "pool \"web\" / backend \"c\": address: \"10.0.0.3\": no port; write HOST:PORT\n"));
}
END_TEST

static void expect_get(const struct model *model, const char *backend, const char *option,
                       const char *expected)
{
    struct override key = {.pool = (char[]){"web"},
                           .backend = (char *)(uintptr_t)backend,
                           .option = (char *)(uintptr_t)option};
    STR_AUTO value = {0};

    ck_assert(override_get(model, &key, &value) == (expected != NULL));
    ck_assert_str_eq(str_text(&value), expected != NULL ? expected : "");
}

START_TEST(getting)
{
    struct model *model = build(two, "");
    struct override key = {.service = (char[]){"web"}, .option = (char[]){"pool"}};
    STR_AUTO value = {0};

    expect_get(model, "a", "weight", "2");
    expect_get(model, "a", "address", "10.0.0.1:80");
    expect_get(model, "a", "resume_connections", "auto");
    expect_get(model, "a", "checks", NULL);
    expect_get(model, "a", "nonsense", NULL);
    expect_get(model, "c", "weight", NULL);
    expect_get(model, NULL, "retries", "3");
    ck_assert(override_get(model, &key, &value));
    ck_assert_str_eq(str_text(&value), "web");
    key.service = (char[]){"wbe"};
    ck_assert(!override_get(model, &key, &value));
    model_free(model);
}
END_TEST

START_TEST(agreeing)
{
    struct conf_tree *tree = read_tree(two);
    struct override_setting given[] = {{(char[]){"address"}, (char[]){"10.0.0.1:80"}},
                                       {(char[]){"weight"}, (char[]){"02"}},
                                       {(char[]){"backup"}, (char[]){"no"}}};

    ck_assert(override_agrees(tree, "web", "a", given, 2));
    given[2].value = (char[]){"false"}; /* the default */
    ck_assert(override_agrees(tree, "web", "a", given, 3));
    given[2].value = (char[]){"true"};
    ck_assert(!override_agrees(tree, "web", "a", given, 3));
    given[1].value = (char[]){"many"};
    ck_assert(!override_agrees(tree, "web", "a", given, 2));
    ck_assert(!override_agrees(tree, "web", "b", given, 1));
    ck_assert(!override_agrees(tree, "web", "c", given, 0));
    ck_assert(!override_agrees(tree, "mail", "a", given, 0));
    conf_tree_free(tree);
}
END_TEST

/* --- after a reload --- */

static struct model *rebuild(const char *text, const char *kept_expected,
                             const char *dropped_expected)
{
    struct conf_tree *tree = read_tree(text);
    struct errlist faults = {0};
    struct model *file_model = model_build(tree, &fixture_registries, &faults);
    struct overrides kept = {0};
    struct errlist dropped = {0};
    STR_AUTO printed = {0};
    struct model *model =
        overrides_rebuild(&list, tree, NULL, file_model, &fixture_registries, &kept, &dropped);

    ck_assert_ptr_nonnull(model);
    expect_list(&kept, kept_expected);
    errlist_print(&dropped, &printed);
    ck_assert_str_eq(str_text(&printed), dropped_expected);
    ck_assert_uint_eq(dropped.errors, 0);
    overrides_free(&kept);
    errlist_free(&dropped);
    errlist_free(&faults);
    model_free(file_model);
    conf_tree_free(tree);
    return model;
}

START_TEST(a_reload_keeps_what_stands)
{
    struct model *model = rebuild(two, "", "");

    model_free(model);
    set("a", "weight", "9", "2");
    set("c", "weight", "9", "1");
    take_away("b", "h.example:80");
    add("c", "10.0.0.3:80");
    record(OVERRIDE_SET, "web", NULL, "retries", "1", "3");
    model = rebuild(two,
                    "web/a weight=9 (2)\nweb/c weight=9 (1)\n-web/b\n+web/c\n"
                    "web/ retries=1 (3)\n",
                    "");
    ck_assert_uint_eq(model->pools[0].n_backends, 2);
    ck_assert_uint_eq(model->pools[0].backends[0].weight, 9);
    ck_assert_uint_eq(model->pools[0].backends[1].weight, 9);
    ck_assert_uint_eq(model->pools[0].retries, 1);
    model_free(model);
}
END_TEST

START_TEST(a_reload_lets_the_file_win)
{
    struct model *model;

    set("a", "weight", "9", "1"); /* the file said 1 then, and says 2 now */
    set("a", "max_connections", "5", "0");
    set("b", "weight", "4", NULL);
    add("b", "10.0.0.2:80");
    take_away("a", "10.0.0.7:80");
    model = rebuild(
        two, "web/a max_connections=5 (0)\n",
        "f:3: pool \"web\" / backend \"a\": warning: the file now gives it the address 10.0.0.1:80 "
        "instead of 10.0.0.7:80; that it was removed by uid 0 no longer holds\n"
        "f:4: pool \"web\" / backend \"b\": warning: the file now has a backend of that name "
        "itself, and its word counts; that it was added by uid 0 no longer holds\n"
        "f:3: pool \"web\" / backend \"a\": warning: the file now says 2 instead of 1; the "
        "override weight=9 by uid 0 no longer holds\n"
        "f:4: pool \"web\" / backend \"b\": warning: the file now says 1 instead of "
        "nothing; the override weight=4 by uid 0 no longer holds\n");
    ck_assert_uint_eq(model->pools[0].backends[0].weight, 2);
    ck_assert_uint_eq(model->pools[0].backends[0].max_connections, 5);
    model_free(model);
}
END_TEST

START_TEST(a_reload_drops_what_is_gone)
{
    set("c", "weight", "9", "1");
    set("a", "colour", "red", NULL);
    take_away("c", "10.0.0.3:80");
    record(OVERRIDE_ADDED, "mail", "a", NULL, "10.0.0.1:80", NULL);
    record(OVERRIDE_SET, "mail", "a", "weight", "3", "1");
    record(OVERRIDE_SET, "mail", NULL, "retries", "1", "3");
    model_free(rebuild(
        two, "",
        "pool \"web\" / backend \"c\": warning: the file does not have it any more; that it was "
        "removed by uid 0 no longer holds\n"
        "pool \"mail\" / backend \"a\": warning: the pool is gone; that it was added by uid 0 no "
        "longer holds\n"
        "pool \"web\" / backend \"c\": warning: the backend is gone; the override weight=9 by uid "
        "0 no longer holds\n"
        "f:3: pool \"web\" / backend \"a\": warning: there is no such option; the override "
        "colour=red by uid 0 no longer holds\n"
        "pool \"mail\" / backend \"a\": warning: the backend is gone; the override weight=3 by "
        "uid 0 no longer holds\n"
        "pool \"mail\": warning: the pool is gone; the override retries=1 by uid 0 no longer "
        "holds\n"));
}
END_TEST

/* The whole is sound however little of it stands: first goes what is at fault itself. */
START_TEST(a_reload_drops_what_does_not_go_together)
{
    static const char text[] =
        SERVICE "pool \"web\" {\n"
                "  backend \"a\" { address = \"10.0.0.1:80\" max_connections = 40 }\n"
                "  backend \"b\" { address = \"h.example:80\" max_connections = 9 "
                "resume_connections = 8 }\n"
                "}\n";
    struct model *model;

    set("a", "resume_connections", "50", "auto");
    set("a", "connect_rate", "5/s", "none");
    set("b", "max_connections", "5", "9");
    add("c", "10.0.0.3"); /* of another release, say */
    set("c", "weight", "3", "1");
    model = rebuild(
        text, "web/a connect_rate=5/s (none)\n",
        "f:3: pool \"web\" / backend \"a\": warning: resume_connections: \"50\": above "
        "max_connections = 40; write at most that, or \"auto\" for 3/4 of it; the override "
        "resume_connections=50 by uid 0 no longer holds\n"
        "f:4: pool \"web\" / backend \"b\": warning: resume_connections: \"8\": above "
        "max_connections = 5; write at most that, or \"auto\" for 3/4 of it; the override "
        "max_connections=5 by uid 0 no longer holds\n"
        "pool \"web\" / backend \"c\": warning: address: \"10.0.0.3\": no port; write HOST:PORT; "
        "that it was added by uid 0 no longer holds\n"
        "pool \"web\" / backend \"c\": warning: the backend is gone; the override weight=3 by uid "
        "0 no longer holds\n");
    ck_assert_uint_eq(model->pools[0].n_backends, 2);
    ck_assert_uint_eq(model->pools[0].backends[1].max_connections, 9);
    model_free(model);
}
END_TEST

int main(void)
{
    return RUN_SUITE_WITH("model override", NULL, teardown, a_list_replaces_and_keeps_order,
                          forgetting, ending, which_options, building, of_a_service, printing,
                          faults_are_a_file_s, getting, agreeing, a_reload_keeps_what_stands,
                          a_reload_lets_the_file_win, a_reload_drops_what_is_gone,
                          a_reload_drops_what_does_not_go_together);
}
