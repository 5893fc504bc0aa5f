/*
 * What the tests of the reuse section share. Included by test_model_reuse*.c.
 */
#ifndef TEST_MODEL_REUSE_H
#define TEST_MODEL_REUSE_H

#include "test_model_fixture.h"

#define FRAMED  "mode = request framing = http1 "
#define BACKEND "backend \"a\" { address = \"10.0.0.1:80\" }\n"

/* A configuration whose pool has the section with these options, and the pool's own before it. */
UNUSED static void wrap(const char *of_pool, const char *options, struct str *out)
{
    str_printf(out, SERVICE "pool \"web\" { %s\nreuse { %s }\n" BACKEND "}\n", of_pool, options);
}

UNUSED static struct model *read_section(const char *of_pool, const char *options)
{
    STR_AUTO text = {0};

    wrap(of_pool, options, &text);
    return read_good(str_text(&text));
}

/* Printed, it reads back to the same, and nothing is said of it; all: with every default. */
UNUSED static void expect_back(const struct model *model, bool all)
{
    STR_AUTO printed = {0};
    STR_AUTO messages = {0};
    STR_AUTO again = {0};
    struct change_list changes = {0};
    struct model *back;

    model_print(model, all, &printed);
    back = read_model(str_text(&printed), &messages);
    ck_assert_msg(back != NULL && strstr(str_text(&messages), "reuse") == NULL, "%s%s",
                  str_text(&printed), str_text(&messages));
    model_diff(model, back, &changes);
    expect_changes(&changes, "");
    ck_assert(back->pools[0].reuse.given);
    model_print(back, all, &again);
    ck_assert_str_eq(str_text(&again), str_text(&printed));
    change_list_free(&changes);
    model_free(back);
}

#endif
