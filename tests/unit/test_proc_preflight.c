/*
 * Programs that a configuration names, against this machine: what is said of those that cannot be
 * run, where, and how severe it is. Real files; run as root they are looked at as another user.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/read.h"
#include "proc/preflight.h"
#include "proc/registries.h"

static char folder[64];

static void setup(void)
{
    strcpy(folder, "/tmp/test_preflight_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(chmod(folder, 0755), 0);
}

static void teardown(void)
{
    static const char *const names[] = {"good", "plain", "closed/hidden"};
    char closed[128], path[128];

    (void)snprintf(closed, sizeof(closed), "%s/closed", folder);
    (void)chmod(closed, 0700);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        (void)unlink(path);
    }
    (void)rmdir(closed);
    ck_assert_int_eq(rmdir(folder), 0);
}

static void make_file(const char *name, mode_t mode)
{
    char path[128];
    FILE *file;

    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs("#!/bin/sh\n", file);
    fclose(file);
    ck_assert_int_eq(chmod(path, mode), 0);
}

static void make_closed_folder(void)
{
    char path[128];

    (void)snprintf(path, sizeof(path), "%s/closed", folder);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    make_file("closed/hidden", 0755);
    ck_assert_int_eq(chmod(path, 0000), 0);
}

/* What is said of a pool that holds text, with the folder for each @ and without its name. */
static void look(const char *text, bool strict, struct str *out)
{
    STR_AUTO whole = {0};
    STR_AUTO printed = {0};
    struct errlist errors = {0};
    struct conf_tree *tree;
    struct model *model;

    str_append(&whole,
               "service \"s\" { listen = { \"127.0.0.1:1\" } pool = \"p\" }\npool \"p\" {\n");
    for (; *text != '\0'; text++) {
        str_printf(&whole, "%.*s", *text == '@' ? (int)sizeof(folder) : 1,
                   *text == '@' ? folder : text);
    }
    str_append(&whole, "}\n");
    tree = conf_read_text("f", str_text(&whole), whole.len, model_schema(), &errors);
    ck_assert_ptr_nonnull(tree);
    model = model_build(tree, &daemon_registries, &errors);
    ck_assert_ptr_nonnull(model);
    ck_assert_uint_eq(errors.count, 0);
    preflight_programs(model, strict, &errors);
    ck_assert_uint_eq(errors.errors, strict ? errors.count : 0);
    errlist_print(&errors, &printed);
    for (const char *at = str_text(&printed); *at != '\0'; at++) {
        bool is_folder = strncmp(at, folder, strlen(folder)) == 0;
        str_append_char(out, is_folder ? '@' : *at);
        at += is_folder ? strlen(folder) - 1 : 0;
    }
    model_free(model);
    conf_tree_free(tree);
    errlist_free(&errors);
}

static void expect(const char *text, bool strict, const char *expected)
{
    STR_AUTO said = {0};

    look(text, strict, &said);
    ck_assert_str_eq(str_text(&said), expected);
}

#define BACKEND       "backend \"a\" { address = \"127.0.0.1:2\" }\n"
#define NOTIFY(path)  "notify = \"" path "\"\n"
#define EXEC(command) "check \"exec:x\" { command = { " command " } }\n"

START_TEST(nothing_is_said_of_good_ones)
{
    make_file("good", 0755);
    expect(BACKEND, true, "");
    expect(NOTIFY("@/good") EXEC("\"@/good\", \"@/absent\"") BACKEND, true, "");
    expect("check \"http\" { path = \"/absent\" }\n" BACKEND, true, "");
}
END_TEST

START_TEST(absent_ones)
{
    make_file("plain", 0755);
    expect(NOTIFY("@/absent") BACKEND, false,
           "f:2: pool \"p\": warning: notify: \"@/absent\": does not exist; install it, or name "
           "another program\n");
    expect(NOTIFY("@/absent") BACKEND, true,
           "f:2: pool \"p\": notify: \"@/absent\": does not exist; install it, or name another "
           "program\n");
    expect(NOTIFY("@/plain/x") BACKEND, true,
           "f:2: pool \"p\": notify: \"@/plain/x\": does not exist; install it, or name another "
           "program\n");
}
END_TEST

START_TEST(no_files)
{
    expect(NOTIFY("@") EXEC("\"/dev/null\"") BACKEND, true,
           "f:2: pool \"p\": notify: \"@\": not a regular file; name a program\n"
           "f:4: pool \"p\" / check \"exec:x\": command: \"/dev/null\": not a regular file; name a "
           "program\n");
}
END_TEST

START_TEST(each_at_its_place)
{
    make_file("good", 0755);
    expect(EXEC("\"@/one\", \"-v\"") "check \"exec\" { command = { \"@/good\" } }\n"
                                     "backend \"a\" { address = \"127.0.0.1:2\"\n" EXEC(
                                         "\"@/two\"") "check \"exec:y\" { command = { \"@/good\" } "
                                                      "} }\n",
           false,
           "f:3: pool \"p\" / check \"exec:x\": warning: command: \"@/one\": does not exist; "
           "install it, or name another program\n"
           "f:6: pool \"p\" / backend \"a\" / check \"exec:x\": warning: command: \"@/two\": does "
           "not exist; install it, or name another program\n");
}
END_TEST

/* Of an unprivileged user's rights: an owner who is root here could do anything. */
START_TEST(not_for_that_user)
{
    STR_AUTO said = {0};
    const char *text;

    make_file("plain", 0644);
    make_closed_folder();
    look(NOTIFY("@/plain") EXEC("\"@/closed/hidden\"") BACKEND, true, &said);
    text = str_text(&said);
    ck_assert_msg(strstr(text, "f:2: pool \"p\": notify: \"@/plain\": user ") == text, "%s", text);
    ck_assert_ptr_nonnull(strstr(text, " may not execute it: Permission denied; give it the x "
                                       "permission for that user\nf:4: "));
    ck_assert_ptr_nonnull(strstr(text, "command: \"@/closed/hidden\": user "));
    ck_assert_ptr_nonnull(strstr(text, " cannot look at it: Permission denied; let that user into "
                                       "all its folders\n"));
}
END_TEST

/* What only root may run is of no use to the user that the monitor becomes. */
START_TEST(roots_own_are_not_enough)
{
    make_file("good", 0700);
    if (geteuid() == 0) {
        STR_AUTO said = {0};

        look(NOTIFY("@/good") BACKEND, false, &said);
        ck_assert_ptr_nonnull(strstr(str_text(&said), "may not execute it"));
    } else {
        expect(NOTIFY("@/good") BACKEND, false, "");
    }
}
END_TEST

START_TEST(a_secret_is_not_shown)
{
    char path[128];
    FILE *file;
    STR_AUTO said = {0};

    (void)snprintf(path, sizeof(path), "%s/plain", folder);
    file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs("/absent/hush\n", file);
    fclose(file);
    look("notify = \"${file:@/plain}\"\n" EXEC("\"${file:@/plain}\"") BACKEND, false, &said);
    ck_assert_ptr_null(strstr(str_text(&said), "hush"));
    ck_assert_ptr_nonnull(
        strstr(str_text(&said), "notify: \"${file:@/plain}\": does not exist; install"));
    ck_assert_ptr_nonnull(strstr(str_text(&said), "command: \"${file:@/plain}\": does not"));
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {nothing_is_said_of_good_ones,
                                  absent_ones,
                                  no_files,
                                  each_at_its_place,
                                  not_for_that_user,
                                  roots_own_are_not_enough,
                                  a_secret_is_not_shown};
    Suite *suite = suite_create("proc preflight");
    TCase *tcase = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tcase, setup, teardown);
    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
        tcase_add_test(tcase, tests[i]);
    }
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
