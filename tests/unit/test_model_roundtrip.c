/*
 * What is saved loads back to the same: configurations made at random from the option table, as
 * printed from the model (save) and from the tree (what is kept for a rollback).
 */
#include <fcntl.h>

#include "model/backends_file.h"
#include "model/options.h"
#include "model/override.h"
#include "test_model_fixture.h"

#define SEEDS 24
#define TRIES 60 /* options of one configuration; about half fit */
#define LINES 128

static const char *const texts[] = {
    "10.0.0.1:80",
    "unix:/run/a b.sock",
    "[::1]:81",
    "h.example:80",
    "127.0.0.9",
    "web",
    "two",
    "/bin/x",
    "a\"b\\c$d",
    "$${HOME}",
    "größer\t",
    "",
    "\\r\\nPING",
    "none",
    "rr",
    "mh",
    "GET",
    "200-299",
    "PING\r\n",
    "$$$x",
    "'; }#/*",
    "send a",
    "expect b",
    "reset",
    "connect",
    "/s",
    NULL /* a secret */,
};
static const char *const times[] = {"0s", "250ms", "1s", "90s", "2m", "1h", "3d"};
static const char *const numbers[] = {"0", "1", "2", "3", "10", "24", "64", "1000", "65535"};
static const char *const words_of_others[] = {"auto",  "1m",        "64k",  "0600", "true",
                                              "false", "100/s:500", "60/m", "none"};

static uint32_t state;

static uint32_t draw(uint32_t n)
{
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state % n;
}

#define PICK(list) (list)[draw(sizeof(list) / sizeof((list)[0]))]

static const char *pick_value(const struct option_def *option)
{
    if (option->words != NULL) {
        size_t n = 0;

        while (option->words[n] != NULL) {
            n++;
        }
        return option->words[draw((uint32_t)n)];
    }
    switch (option->type) {
    case OPTION_TIME:
        return PICK(times);
    case OPTION_UINT:
    case OPTION_AUTO:
        return PICK(numbers);
    case OPTION_TEXT:
    case OPTION_LIST:
        return PICK(texts);
    default:
        return PICK(words_of_others);
    }
}

struct place {
    const char *head, *tail;
    enum section_kind kind;
};

static const struct place places[] = {
    {"global {\n", "}\n", SECTION_GLOBAL},
    {"service \"web\" {\n", "}\n", SECTION_SERVICE},
    {"service \"two\" {\n", "}\n", SECTION_SERVICE},
    {"pool \"web\" {\n", "", SECTION_POOL},
    {"outlier {\n", "}\n", SECTION_OUTLIER},
    {"reuse {\n", "}\n", SECTION_REUSE},
    {"check \"tcp\" {\n", "}\n", SECTION_CHECK},
    {"check \"http:a_b\" {\n", "}\n", SECTION_CHECK},
    {"check \"expect\" {\n", "}\n", SECTION_CHECK},
    {"backend \"a\" {\n", "}\n", SECTION_BACKEND},
    {"backend \"b\" {\n", "", SECTION_BACKEND},
    {"check \"exec:x\" {\n", "}}}\n", SECTION_CHECK},
    {"pool \"two\" { backend \"a\" { address = \"10.0.0.3:1\" }\n", "}\n", SECTION_POOL},
};
#define PLACES (sizeof(places) / sizeof(places[0]))

struct config {
    char *lines[PLACES][LINES];
    const struct option_def *options[PLACES][LINES];
    size_t n[PLACES];
};

static char secret[] = "/tmp/sluice-secret-XXXXXX";
static char backends[] = "/tmp/sluice-backends-XXXXXX";

static void put_value(const char *value, struct str *out)
{
    STR_AUTO name = {0};

    str_printf(&name, "x${file:%s}", secret);
    conf_quote(out, value != NULL ? value : str_text(&name));
}

static char *make_line(const struct option_def *option)
{
    STR_AUTO line = {0};

    str_printf(&line, "%s = ", option->name);
    if (option->type != OPTION_LIST) {
        put_value(pick_value(option), &line);
        return str_take(&line);
    }
    str_append(&line, "{ ");
    for (uint32_t i = 0, n = 1 + draw(3); i < n; i++) {
        str_append(&line, i > 0 ? ", " : "");
        put_value(pick_value(option), &line);
    }
    str_append(&line, " }");
    return str_take(&line);
}

static void print_config(const struct config *config, struct str *out)
{
    for (size_t p = 0; p < PLACES; p++) {
        str_append(out, places[p].head);
        for (size_t i = 0; i < config->n[p]; i++) {
            str_printf(out, "%s\n", config->lines[p][i]);
        }
        str_append(out, places[p].tail);
    }
}

static void add_line(struct config *config, size_t p, const struct option_def *option, char *line)
{
    config->options[p][config->n[p]] = option;
    config->lines[p][config->n[p]++] = line;
}

static bool has_option(const struct config *config, size_t p, const struct option_def *option)
{
    for (size_t i = 0; i < config->n[p]; i++) {
        if (config->options[p][i] == option) {
            return true;
        }
    }
    return false;
}

/* The model of it, or NULL where it is not sound. */
static struct model *build(const struct config *config, struct str *text)
{
    STR_AUTO printed = {0};

    str_reset(text);
    print_config(config, text);
    return read_model(str_text(text), &printed);
}

static void add_required(struct config *config)
{
    add_line(config, 1, options_find(SECTION_SERVICE, "listen"),
             strdup("listen = \"127.0.0.1:1\""));
    add_line(config, 1, options_find(SECTION_SERVICE, "pool"), strdup("pool = \"web\""));
    add_line(config, 2, options_find(SECTION_SERVICE, "listen"),
             strdup("listen = { \"127.0.0.1:2\", \"unix:/run/a b\" }"));
    add_line(config, 2, options_find(SECTION_SERVICE, "pool"), strdup("pool = \"web\""));
    add_line(config, 5, options_find(SECTION_REUSE, "mode"), strdup("mode = \"off\""));
    add_line(config, 8, options_find(SECTION_CHECK, "steps"), strdup("steps = \"expect x\""));
    add_line(config, 9, options_find(SECTION_BACKEND, "address"),
             strdup("address = \"10.0.0.1:80\""));
    add_line(config, 10, options_find(SECTION_BACKEND, "address"),
             strdup("address = \"unix:/run/$$x\""));
    add_line(config, 11, options_find(SECTION_CHECK, "command"), strdup("command = \"/bin/x\""));
}

static size_t grow(struct config *config)
{
    size_t kept = 0;

    add_required(config);
    for (int i = 0; i < TRIES; i++) {
        size_t p = draw(PLACES);
        const struct section_info *info = options_section(places[p].kind);
        const struct option_def *option = &info->options[draw((uint32_t)info->n_options)];
        STR_AUTO text = {0};

        if (has_option(config, p, option)) {
            continue;
        }
        add_line(config, p, option, make_line(option));
        struct model *model = build(config, &text);
        if (model == NULL) {
            free(config->lines[p][--config->n[p]]);
        }
        kept += model != NULL;
        model_free(model);
    }
    return kept;
}

/* Neither way a difference, and printed the same. */
static void expect_same(const struct model *a, const struct model *b, const char *text)
{
    struct change_list there = {0};
    struct change_list back = {0};
    STR_AUTO first = {0};
    STR_AUTO second = {0};

    model_diff(a, b, &there);
    model_diff(b, a, &back);
    ck_assert_msg(there.count + back.count == 0, "%s: %s",
                  there.count > 0 ? there.lines[0] : back.lines[0], text);
    model_print(a, true, &first);
    model_print(b, true, &second);
    ck_assert_str_eq(str_text(&first), str_text(&second));
    change_list_free(&there);
    change_list_free(&back);
}

/* Warnings are fine. */
static struct model *read_loosely(const char *text)
{
    STR_AUTO printed = {0};
    struct model *model = read_model(text, &printed);

    ck_assert_msg(model != NULL, "%s: %s", str_text(&printed), text);
    return model;
}

/* As save does: printed from the model, overrides and all. */
static void expect_saved(const struct model *model)
{
    STR_AUTO text = {0};

    model_print(model, false, &text);
    struct model *again = read_loosely(str_text(&text));
    expect_same(model, again, str_text(&text));
    model_free(again);
}

/* As it is kept for a rollback: printed from the tree. */
static void expect_kept(const struct model *model, const struct conf_tree *tree)
{
    STR_AUTO text = {0};

    conf_tree_print(tree, NULL, &text);
    struct model *again = read_loosely(str_text(&text));
    expect_same(model, again, str_text(&text));
    ck_assert_ptr_null(strstr(str_text(&text), "the secret"));
    model_free(again);
}

static void override_some(const struct conf_tree *tree)
{
    struct overrides list = {0};
    struct errlist errors = {0};
    struct override_setting settings[] = {{(char *)"address", (char *)"unix:/run/\"q\" ${x}"},
                                          {(char *)"weight", (char *)"9"}};

    overrides_set(&list, &(struct override){.kind = OVERRIDE_SET,
                                            .pool = (char *)"web",
                                            .backend = (char *)"a",
                                            .option = (char *)"weight",
                                            .value = (char *)"77",
                                            .by = (char *)"me"});
    overrides_set(&list, &(struct override){.kind = OVERRIDE_REMOVED,
                                            .pool = (char *)"web",
                                            .backend = (char *)"b",
                                            .by = (char *)"me"});
    overrides_set(&list, &(struct override){.kind = OVERRIDE_ADDED,
                                            .pool = (char *)"web",
                                            .backend = (char *)"c",
                                            .settings = settings,
                                            .n_settings = 2,
                                            .by = (char *)"me"});
    struct model *model = overrides_build(&list, tree, NULL, &fixture_registries, &errors);
    if (model != NULL) { /* some options do not go with them */
        expect_saved(model);
    }
    model_free(model);
    errlist_free(&errors);
    overrides_free(&list);
}

static void free_config(struct config *config)
{
    for (size_t p = 0; p < PLACES; p++) {
        for (size_t i = 0; i < config->n[p]; i++) {
            free(config->lines[p][i]);
        }
    }
    free(config);
}

START_TEST(what_is_saved_loads_back_to_the_same)
{
    struct config *config = calloc(1, sizeof(*config));
    STR_AUTO text = {0};
    struct errlist errors = {0};

    state = 2463534242u + (uint32_t)_i * 7919;
    size_t kept = grow(config);
    struct model *model = build(config, &text);
    model_free(model);
    model = read_loosely(str_text(&text));
    struct conf_tree *tree =
        conf_read_text("f", str_text(&text), text.len, model_schema(), &errors);

    ck_assert_uint_ge(kept, 5);
    ck_assert_ptr_nonnull(model);
    expect_saved(model);
    expect_kept(model, tree);
    override_some(tree);
    model_free(model);
    conf_tree_free(tree);
    free_config(config);
}
END_TEST

/* --- with names and a file of backends --- */

static void put_line(struct config *config, size_t p, const char *name, const char *value)
{
    const struct option_def *option = options_find(places[p].kind, name);
    STR_AUTO line = {0};

    str_printf(&line, "%s = \"%s\"", name, value);
    for (size_t i = 0; i < config->n[p]; i++) {
        if (config->options[p][i] == option) {
            free(config->lines[p][i]);
            config->lines[p][i] = str_take(&line);
            return;
        }
    }
    add_line(config, p, option, str_take(&line));
}

static struct conf_tree *read_whole(const char *text)
{
    struct errlist errors = {0};
    struct conf_tree *tree = conf_read_text("f", text, strlen(text), model_schema(), &errors);
    STR_AUTO printed = {0};

    conf_complete(tree, &errors);
    errlist_print(&errors, &printed);
    ck_assert_msg(tree != NULL && errors.errors == 0, "%s: %s", str_text(&printed), text);
    errlist_free(&errors);
    return tree;
}

static struct model *build_with(const struct overrides *list, const struct conf_tree *tree,
                                const struct names *names)
{
    struct errlist errors = {0};
    struct model *model = overrides_build(list, tree, names, &fixture_registries, &errors);

    errlist_free(&errors);
    return model;
}

/* But that backends of the file come last, also after those that were added. */
static void expect_no_change(const struct model *from, const struct model *to, const char *text)
{
    static const char order[] = "pool web: order of backends changed";
    struct change_list changes = {0};

    model_diff(from, to, &changes);
    for (size_t i = 0; i < changes.count; i++) {
        ck_assert_msg(strcmp(changes.lines[i], order) == 0, "%s: %s", text, changes.lines[i]);
    }
    change_list_free(&changes);
}

/* The text, read with its backends_file, is that model without any override. */
static void expect_text_is(const char *text, const struct model *model, const struct names *names)
{
    static const struct overrides none;
    struct conf_tree *tree = read_whole(text);
    struct model *again = build_with(&none, tree, names);

    ck_assert_msg(again != NULL, "%s", text);
    expect_no_change(model, again, text);
    expect_no_change(again, model, text);
    model_free(again);
    conf_tree_free(tree);
}

static void set(struct overrides *list, enum override_kind kind, const char *backend,
                const char *option, const char *value)
{
    struct override_setting address = {(char *)"address", (char *)"c.example:80"};
    bool is_added = kind == OVERRIDE_ADDED;

    overrides_set(list, &(struct override){.kind = kind,
                                           .pool = (char *)"web",
                                           .backend = (char *)(uintptr_t)backend,
                                           .option = (char *)(uintptr_t)option,
                                           .value = (char *)(uintptr_t)value,
                                           .settings = is_added ? &address : NULL,
                                           .n_settings = is_added,
                                           .by = (char *)"me"});
}

static void say_much(struct overrides *list)
{
    set(list, OVERRIDE_SET, "a", "weight", "78");
    set(list, OVERRIDE_SET, "b", "weight", "77");
    set(list, OVERRIDE_SET, "b@10.0.0.5", "weight", "3");
    set(list, OVERRIDE_REMOVED, "b@10.0.0.6", NULL, NULL);
    set(list, OVERRIDE_ADDED, "c", NULL, NULL);
    set(list, OVERRIDE_SET, "c", "admin", "drain");
    set(list, OVERRIDE_SET, "c@10.0.0.7", "admin", "maintenance");
    set(list, OVERRIDE_SET, "f1", "weight", "4");
    set(list, OVERRIDE_SET, "g", "weight", "5");
    set(list, OVERRIDE_REMOVED, "f2", NULL, NULL);
}
#define UNSAID 6 /* of them: about b@…, c@…, f1, f2, g */

static void look_up(struct names *names, const char *name, const uint8_t *lasts, size_t n)
{
    struct names_answer answers[2] = {0};

    for (size_t i = 0; i < n; i++) {
        answers[i].ip = (struct addr_ip){.family = ADDR_IPV4, .bytes = {10, 0, 0, lasts[i]}};
    }
    ck_assert_int_eq(names_set(names, name, answers, n), 1);
}

static size_t drop_unsaid(struct overrides *list, const struct conf_tree *tree)
{
    struct overrides all = {0};
    size_t n = 0;

    overrides_copy(&all, list);
    for (size_t i = 0; i < all.count; i++) {
        if (override_unsaid(&all, tree, &all.items[i]) != NULL) {
            overrides_drop(list, &all.items[i]);
            n++;
        }
    }
    overrides_free(&all);
    return n;
}

static void expect_all_ways(const struct conf_tree *tree, const struct names *names)
{
    static const struct overrides none;
    struct overrides list = {0};
    STR_AUTO saved = {0};
    STR_AUTO effective = {0};
    STR_AUTO kept = {0};

    say_much(&list);
    struct model *running = build_with(&list, tree, names);
    struct model *bare = build_with(&none, tree, names);
    struct model *file = overrides_build_file(&list, tree, running, &fixture_registries);
    model_print_names(file, running, false, &saved);
    model_print_names(file, running, true, &effective);
    conf_tree_print(tree, backends_file_has, &kept);
    ck_assert_uint_eq(drop_unsaid(&list, tree), UNSAID);
    struct model *said = build_with(&list, tree, names);

    ck_assert_ptr_nonnull(strstr(str_text(&saved), "# now 10.0.0.5:80\n"));
    ck_assert_ptr_nonnull(strstr(str_text(&saved), "# from backends_file: backend \"f1\""));
    expect_text_is(str_text(&saved), said, names);
    expect_text_is(str_text(&effective), said, names);
    expect_text_is(str_text(&kept), bare, names);
    model_free(said);
    model_free(file);
    model_free(bare);
    model_free(running);
    overrides_free(&list);
}

/* What is not said in the file is all that is missing in it; names and the file go on. */
START_TEST(names_and_files_stay_alive)
{
    static const struct overrides none;
    struct names names = {0};
    size_t fitting = 0;

    look_up(&names, "b.example", (const uint8_t[]){5, 6}, 2);
    look_up(&names, "c.example", (const uint8_t[]){7, 8}, 2);
    look_up(&names, "g.example", (const uint8_t[]){9}, 1);
    for (uint32_t seed = 0; seed < SEEDS; seed++) {
        struct config *config = calloc(1, sizeof(*config));
        STR_AUTO text = {0};

        state = 88172645u + seed * 7919;
        grow(config);
        put_line(config, 3, "backends_file", backends);
        put_line(config, 10, "address", "b.example:80");
        print_config(config, &text);
        struct conf_tree *tree = read_whole(str_text(&text));
        struct overrides list = {0};
        say_much(&list);
        struct model *bare = build_with(&none, tree, &names);
        struct model *running = build_with(&list, tree, &names);
        if (bare != NULL && running != NULL) { /* some options do not go with them */
            expect_all_ways(tree, &names);
            fitting++;
        }
        model_free(bare);
        model_free(running);
        overrides_free(&list);
        conf_tree_free(tree);
        free_config(config);
    }
    ck_assert_uint_ge(fitting, SEEDS / 2);
    names_free(&names);
}
END_TEST

static bool make_file(char *path, const char *text)
{
    int fd = mkstemp(path);
    bool is_made = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

    close(fd);
    return is_made;
}

int main(void)
{
    Suite *suite = suite_create("model_roundtrip");
    TCase *tcase = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed = 1;

    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, what_is_saved_loads_back_to_the_same, 0, SEEDS);
    tcase_add_test(tcase, names_and_files_stay_alive);
    suite_add_tcase(suite, tcase);
    if (make_file(secret, "the secret\n") &&
        make_file(backends, "f1 10.0.0.11:80 weight=3\nf2 10.0.0.12:80\ng g.example:81\n")) {
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
    }
    unlink(secret);
    unlink(backends);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
