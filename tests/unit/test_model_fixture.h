/*
 * What the model's tests share: models from texts, and comparing all messages at once. Included by
 * test_model_*.c.
 */
#ifndef TEST_MODEL_FIXTURE_H
#define TEST_MODEL_FIXTURE_H

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/read.h"
#include "model/model.h"
#include "model/snapshot_build.h"

#define UNUSED __attribute__((unused))

/* What the fake judges think of: a value with "bad" in it, and one with "odd" among all. */
UNUSED static bool fixture_judge(const char *kind, const char *option, const char *value,
                                 struct str *out_problem)
{
    if (strstr(value, "bad") == NULL) {
        return true;
    }
    str_printf(out_problem, "\"%s\" will not do as %s of %s; write a good one", value, option,
               kind);
    return false;
}

UNUSED static bool fixture_judge_all(const char *kind, const struct model_arg *args, size_t n_args,
                                     struct str *out_problem)
{
    for (size_t i = 0; i < n_args; i++) {
        if (strstr(args[i].value, "odd") != NULL) {
            str_printf(out_problem, "%s is odd for %s; write something even", args[i].value, kind);
            return false;
        }
    }
    return true;
}

static const char *const fixture_kinds[] = {"tcp",   "http",  "expect", "exec",
                                            "agent", "mysql", NULL};
static const struct model_registries fixture_registries = {.check_kinds = fixture_kinds,
                                                           .judge_check = fixture_judge,
                                                           .judge_check_all = fixture_judge_all};

/* A service and a pool that need nothing more. */
#define SERVICE "service \"web\" { listen = { \"127.0.0.1:80\" } pool = \"web\" }\n"
#define POOL    "pool \"web\" { backend \"a\" { address = \"10.0.0.1:80\" } }\n"

/* Bytes that snapshot_put_tables() puts. */
struct fixture_bytes {
    char *at, *end;
};

UNUSED static int fixture_put(void *arg, const void *bytes, size_t n)
{
    struct fixture_bytes *room = arg;

    ck_assert_uint_le(n, (size_t)(room->end - room->at));
    memcpy(room->at, bytes, n);
    room->at += n;
    return 0;
}

/* The whole snapshot of a model in memory of its own, or NULL beyond a bound. */
UNUSED static struct snapshot_header *make_snapshot(const struct model *model, uint32_t generation,
                                                    uint64_t seed,
                                                    const struct snapshot_header *previous,
                                                    size_t *out_bytes)
{
    size_t bytes;
    struct snapshot_header *built = snapshot_build(model, generation, seed, &bytes);
    struct snapshot_header *made;

    if (built == NULL) {
        return NULL;
    }
    made = calloc(1, built->size_bytes);
    ck_assert_ptr_nonnull(made);
    memcpy(made, built, bytes);
    struct fixture_bytes room = {(char *)made + bytes, (char *)made + built->size_bytes};
    ck_assert_int_eq(snapshot_put_tables(model, built, previous, fixture_put, &room), 0);
    *out_bytes = built->size_bytes;
    free(built);
    return made;
}

/* The model of text called "f", or NULL; printed gets every message. */
UNUSED static struct model *read_with(const char *text, const struct model_registries *registries,
                                      struct str *printed)
{
    struct errlist errors = {0};
    struct conf_tree *tree = conf_read_text("f", text, strlen(text), model_schema(), &errors);
    struct model *model = NULL;

    if (tree != NULL) {
        model = model_build(tree, registries, &errors);
    }
    ck_assert(model != NULL || errors.errors > 0);
    if (errors.errors > 0) { /* of names, found by the reader: the model is sound but not for use */
        model_free(model);
        model = NULL;
    }
    conf_tree_free(tree);
    errlist_print(&errors, printed);
    errlist_free(&errors);
    return model;
}

UNUSED static struct model *read_model(const char *text, struct str *printed)
{
    return read_with(text, &fixture_registries, printed);
}

/* The messages must be as expected; "" for none at all. */
UNUSED static struct model *read_expecting(const char *text, const char *expected)
{
    STR_AUTO printed = {0};
    struct model *model = read_model(text, &printed);

    ck_assert_str_eq(str_text(&printed), expected);
    return model;
}

UNUSED static struct model *read_good(const char *text)
{
    return read_expecting(text, "");
}

UNUSED static void expect_messages(const char *text, const char *expected)
{
    model_free(read_expecting(text, expected));
}

UNUSED static void expect_printed(const struct model *model, bool all, const char *expected)
{
    STR_AUTO printed = {0};

    model_print(model, all, &printed);
    ck_assert(!printed.failed);
    ck_assert_str_eq(str_text(&printed), expected);
}

/* The lines of a change list, joined by newlines, must be as expected. */
UNUSED static void expect_changes(const struct change_list *list, const char *expected)
{
    STR_AUTO lines = {0};

    for (size_t i = 0; i < list->count; i++) {
        str_printf(&lines, "%s\n", list->lines[i]);
    }
    ck_assert_str_eq(str_text(&lines), expected);
}

UNUSED static int run_suite(const char *name, SFun setup, SFun teardown, const TTest *const *tests,
                            size_t n)
{
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tcase, 120);
    if (setup != NULL) {
        tcase_add_checked_fixture(tcase, setup, teardown);
    }
    for (size_t i = 0; i < n; i++) {
        tcase_add_test(tcase, tests[i]);
    }
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
#define RUN_SUITE_WITH(name, setup, teardown, ...)                                                 \
    run_suite(name, setup, teardown, (const TTest *const[]){__VA_ARGS__},                          \
              sizeof((const TTest *const[]){__VA_ARGS__}) / sizeof(const TTest *))
#define RUN_SUITE(name, ...) RUN_SUITE_WITH(name, NULL, NULL, __VA_ARGS__)

#endif
