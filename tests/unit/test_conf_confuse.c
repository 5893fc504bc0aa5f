/* The second opinion: it agrees with the scan where nothing was tampered with, and tells each
 * difference, at its place, where something was. */
#include "test_conf_fixture.h"

#include "conf/confuse.h"

static const char text[] = "global { workers = 4 }\n"
                           "pool \"web\" {\n"
                           "    scheduler = \"a\\x62c\"\n"
                           "    check \"t\" { steps = { a,\n"
                           "        b } }\n"
                           "    check \"u\" { steps = { } }\n"
                           "    reuse { }\n"
                           "}\n";

/* Checks the text's tree against the merged text with one piece replaced. */
static void expect_opinion(const char *piece, const char *other, const char *expected)
{
    struct errlist errors = {0};
    struct scan_merged merged = {0};
    struct conf_tree *tree = scan_text("f", text, sizeof text - 1, &root_schema, &errors, &merged);
    const char *at;
    STR_AUTO printed = {0};
    STR_AUTO changed = {0};
    struct str kept = merged.text;

    ck_assert_uint_eq(errors.count, 0);
    at = strstr(str_text(&kept), piece);
    ck_assert_msg(at != NULL, "no %s in %s", piece, str_text(&kept));
    str_append_n(&changed, kept.data, (size_t)(at - kept.data));
    str_append(&changed, other);
    str_append(&changed, at + strlen(piece));
    merged.text = changed;
    conf_confuse_check(tree, &merged, &errors);
    errlist_print(&errors, &printed);
    ck_assert_str_eq(str_text(&printed), expected);
    merged.text = kept;
    scan_merged_free(&merged);
    errlist_free(&errors);
    conf_tree_free(tree);
}

#define DISAGREE "internal error: libconfuse and the scan disagree: "
#define REFUSED  "internal error: libconfuse refuses what the scan accepted: "

START_TEST(agreement)
{
    expect_opinion("4", "4", "");
}
END_TEST

START_TEST(other_values)
{
    expect_opinion("\"a\\x62c\"", "\"a\\x63c\"",
                   "f:3: pool \"web\": " DISAGREE "\"scheduler\": \"abc\", not \"acc\"\n");
    expect_opinion("b}", "c}",
                   "f:5: pool \"web\" / check \"t\": " DISAGREE "\"steps\": \"b\", not \"c\"\n");
    expect_opinion(",\nb", "",
                   "f:4: pool \"web\" / check \"t\": " DISAGREE "\"steps\" has 2 values, not 1\n");
}
END_TEST

START_TEST(other_statements)
{
    expect_opinion("workers", "log", "f:1: global: " DISAGREE "\"workers\" has 1 values, not 0\n");
    expect_opinion("workers = 4\n", "",
                   "f:1: global: " DISAGREE "1 statements, not 0\n"
                   "f:1: global: " DISAGREE "\"workers\" has 1 values, not 0\n");
    expect_opinion("workers", "log = x workers", "f:1: global: " DISAGREE "1 statements, not 2\n");
    expect_opinion("steps = {\n}", "",
                   "f:6: pool \"web\" / check \"u\": " DISAGREE "1 statements, not 0\n"
                   "f:6: pool \"web\" / check \"u\": " DISAGREE "\"steps\" has 0 values, not 0\n");
}
END_TEST

START_TEST(other_sections)
{
    expect_opinion("\"u\"", "\"v\"",
                   "f:6: pool \"web\" / check \"u\": " DISAGREE "its name is \"v\"\n");
    expect_opinion("reuse", "backend b {} reuse",
                   "f:2: pool \"web\": " DISAGREE "4 statements, not 5\n");
    expect_opinion("reuse  {\n}", "",
                   "f:2: pool \"web\": " DISAGREE "4 statements, not 3\n"
                   "f:7: pool \"web\" / reuse: " DISAGREE "it knows no such section\n");
}
END_TEST

START_TEST(refusals)
{
    expect_opinion("steps = {\na", "steps = {\n= a", "f:4: " REFUSED "unexpected token '='\n");
    expect_opinion("scheduler", "nonsense", "f:3: " REFUSED "no such option 'nonsense'\n");
    expect_opinion("\"u\"", "\"t\"", "f:6: " REFUSED "found duplicate title 't'\n");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        agreement, other_values, other_statements, other_sections, refusals,
    };

    return RUN_SUITE("conf/confuse", tests, false);
}
