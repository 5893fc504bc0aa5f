/*
 * What is saved loads back to the same: configurations made at random from the option table, as
 * printed from the model (save) and from the tree (what is kept for a rollback).
 */
#include <fcntl.h>

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
    for (size_t p = 0; p < PLACES; p++) {
        for (size_t i = 0; i < config->n[p]; i++) {
            free(config->lines[p][i]);
        }
    }
    free(config);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("model_roundtrip");
    TCase *tcase = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int fd = mkstemp(secret);
    int failed = 1;

    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, what_is_saved_loads_back_to_the_same, 0, SEEDS);
    suite_add_tcase(suite, tcase);
    if (fd >= 0 && write(fd, "the secret\n", 11) == 11) {
        srunner_run_all(runner, CK_ENV);
        failed = srunner_ntests_failed(runner);
    }
    close(fd);
    unlink(secret);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
