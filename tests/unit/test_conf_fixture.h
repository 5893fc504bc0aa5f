/*
 * What the configuration's tests share: a schema like the real one, files in a directory of their
 * own, and comparing all messages at once. Included by test_conf*.c.
 */
#ifndef TEST_CONF_FIXTURE_H
#define TEST_CONF_FIXTURE_H

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/conf.h"
#include "conf/read.h"

#define UNUSED  __attribute__((unused))
#define WAIT_MS 20000

static const struct conf_option_schema global_options[] = {
    {"workers", false}, {"max_connections", false}, {"log", false}, {"status_allow", true},
    {NULL, false},
};
static const struct conf_option_schema service_options[] = {
    {"listen", true}, {"pool", false}, {"idle_timeout", false}, {"allow", true}, {NULL, false},
};
static const struct conf_option_schema route_options[] = {{"pool", false}, {NULL, false}};
static const struct conf_option_schema pool_options[] = {
    {"scheduler", false},
    {"retries", false},
    {"connect_timeout", false},
    {NULL, false},
};
static const struct conf_option_schema backend_options[] = {
    {"address", false}, {"weight", false}, {"max_connections", false},
    {"backup", false},  {NULL, false},
};
static const struct conf_option_schema check_options[] = {
    {"interval", false}, {"timeout", false}, {"path", false}, {"steps", true}, {NULL, false},
};
static const struct conf_option_schema reuse_options[] = {{"mode", false}, {NULL, false}};

static const struct conf_section_schema global_schema = {"global", false, false, global_options,
                                                         NULL};
static const struct conf_section_schema route_schema = {"route", true, true, route_options, NULL};
static const struct conf_section_schema check_schema = {"check", true, true, check_options, NULL};
static const struct conf_section_schema reuse_schema = {"reuse", false, false, reuse_options, NULL};
static const struct conf_section_schema *const service_sections[] = {&route_schema, NULL};
static const struct conf_section_schema *const backend_sections[] = {&check_schema, NULL};
static const struct conf_section_schema service_schema = {"service", true, false, service_options,
                                                          service_sections};
static const struct conf_section_schema backend_schema = {"backend", true, false, backend_options,
                                                          backend_sections};
static const struct conf_section_schema *const pool_sections[] = {&backend_schema, &check_schema,
                                                                  &reuse_schema, NULL};
static const struct conf_section_schema pool_schema = {"pool", true, false, pool_options,
                                                       pool_sections};
static const struct conf_section_schema *const root_sections[] = {&global_schema, &service_schema,
                                                                  &pool_schema, NULL};
static const struct conf_section_schema root_schema = {NULL, false, false, NULL, root_sections};

/* Reads a text in this process; all messages must be as expected, and a tree must be there when
 * there is no error. The tree, to be freed. */
UNUSED static struct conf_tree *read_expecting(const char *text, size_t len, const char *expected)
{
    struct errlist errors = {0};
    STR_AUTO printed = {0};
    struct conf_tree *tree = conf_read_text("f", text, len, &root_schema, &errors);

    errlist_print(&errors, &printed);
    ck_assert_str_eq(str_text(&printed), expected);
    ck_assert(tree != NULL || errors.errors > 0);
    ck_assert(tree == NULL || errors.errors == tree->name_faults);
    if (errors.errors > 0) { /* only for finding more faults */
        conf_tree_free(tree);
        tree = NULL;
    }
    errlist_free(&errors);
    return tree;
}

UNUSED static struct conf_tree *read_good(const char *text)
{
    return read_expecting(text, strlen(text), "");
}

UNUSED static void expect_errors(const char *text, const char *expected)
{
    conf_tree_free(read_expecting(text, strlen(text), expected));
}

/* The section reached by kinds and titles: "pool", "web", "backend", "a", NULL. An empty title
 * stands for none. */
UNUSED static const struct conf_section *find_section(const struct conf_tree *tree,
                                                      const char *const *path)
{
    const struct conf_section *section = &tree->root;

    for (; *path; path += 2) {
        const struct conf_section *found = NULL;
        for (size_t i = 0; i < section->n_sections; i++) {
            const struct conf_section *sub = section->sections[i];
            if (strcmp(sub->schema->name, path[0]) == 0 &&
                strcmp(sub->title ? sub->title : "", path[1]) == 0)
                found = sub;
        }
        ck_assert_msg(found != NULL, "no %s \"%s\"", path[0], path[1]);
        section = found;
    }
    return section;
}
#define SECTION(tree, ...) find_section(tree, (const char *const[]){__VA_ARGS__, NULL})

UNUSED static const struct conf_value *find_value(const struct conf_section *section,
                                                  const char *name, size_t n)
{
    const struct conf_option *option = conf_find(section, name);

    ck_assert_msg(option != NULL, "no option %s", name);
    ck_assert_msg(n < option->n_values, "%s has %zu values", name, option->n_values);
    return &option->values[n];
}

/* A directory for the test's files; the working directory from then on. */
UNUSED static char fixture_dir[64];

UNUSED static void enter_directory(void)
{
    strcpy(fixture_dir, "/tmp/sluice-test-conf-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(fixture_dir));
    ck_assert_int_eq(chdir(fixture_dir), 0);
}

UNUSED static void leave_directory(void)
{
    char command[128];

    ck_assert_int_eq(chdir("/"), 0);
    snprintf(command, sizeof command, "rm -rf '%s'", fixture_dir);
    ck_assert_int_eq(system(command), 0);
}

UNUSED static void write_bytes(const char *path, const char *bytes, size_t len)
{
    FILE *file = fopen(path, "we");

    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes, 1, len, file), len);
    ck_assert_int_eq(fclose(file), 0);
}

UNUSED static void write_text(const char *path, const char *text)
{
    write_bytes(path, text, strlen(text));
}

/* Loads a file through a reading child; all messages must be as expected. */
UNUSED static struct conf_tree *load_expecting(const char *path, const char *expected)
{
    struct errlist errors = {0};
    STR_AUTO printed = {0};
    struct conf_tree *tree = NULL;

    conf_load_wait(path, &root_schema, WAIT_MS, &errors, &tree);
    errlist_print(&errors, &printed);
    ck_assert_str_eq(str_text(&printed), expected);
    ck_assert(tree != NULL || errors.errors > 0);
    if (errors.errors > 0) {
        conf_tree_free(tree);
        tree = NULL;
    }
    errlist_free(&errors);
    return tree;
}

/* Runs a suite of one case, with or without a directory for each test. */
UNUSED static int run_suite(const char *name, const TTest *const *tests, size_t n_tests,
                            bool with_directory)
{
    Suite *suite = suite_create(name);
    TCase *tc = tcase_create("all");
    SRunner *runner;
    int failed;

    if (with_directory)
        tcase_add_checked_fixture(tc, enter_directory, leave_directory);
    tcase_set_timeout(tc, 60);
    for (size_t i = 0; i < n_tests; i++)
        tcase_add_test(tc, tests[i]);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
#define RUN_SUITE(name, tests, with_directory)                                                     \
    run_suite(name, tests, sizeof(tests) / sizeof(*(tests)), with_directory)

#endif
