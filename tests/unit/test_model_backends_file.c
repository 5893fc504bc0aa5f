/*
 * Lines of a backends_file: what they become, and what is wrong with them.
 */
#include "model/backends_file.h"
#include "sluice/limits.h"
#include "test_model_fixture.h"

static const char own[] = SERVICE "pool \"web\" {\n"
                                  "  check \"tcp\" { }\n"
                                  "  backend \"a\" { address = \"10.0.0.1:80\" }\n"
                                  "  backends_file = \"/b\"\n"
                                  "}\n";

/* The tree of own with what text says, called "/b". */
static struct conf_tree *read_lines(const char *text, size_t len, struct errlist *errors)
{
    struct conf_tree *tree = conf_read_text("f", own, strlen(own), model_schema(), errors);

    ck_assert_ptr_nonnull(tree);
    backends_file_parse(conf_find_section(&tree->root, "pool", "web"), "/b", text, len, errors);
    return tree;
}

static void expect_lines(const char *text, const char *backends, const char *faults)
{
    struct errlist errors = {0};
    struct conf_tree *tree = read_lines(text, strlen(text), &errors);
    struct model *model = model_build(tree, &fixture_registries, &errors);
    STR_AUTO printed = {0};
    STR_AUTO found = {0};

    errlist_print(&errors, &printed);
    ck_assert_str_eq(str_text(&printed), faults);
    for (size_t i = 0; model != NULL && i < model->pools[0].n_backends; i++) {
        const struct model_backend *backend = &model->pools[0].backends[i];

        str_printf(&found, "%s %s %u %u %s:%d\n", backend->name, backend->address_text,
                   backend->weight, backend->backup, backend->file, backend->line);
    }
    if (faults[0] == '\0') {
        ck_assert_str_eq(str_text(&found), backends);
    }
    model_free(model);
    errlist_free(&errors);
    conf_tree_free(tree);
}

START_TEST(good_lines)
{
    expect_lines("", "a 10.0.0.1:80 1 0 f:4\n", "");
    expect_lines("# nothing\n\n \t\n  # \"unclosed\n", "a 10.0.0.1:80 1 0 f:4\n", "");
    expect_lines("b 10.0.0.2:80\r\n\n\t\"c\"  [::1]:80\tweight=3 \"backup=true\" \nd "
                 "unix:\"/x y\\\"\\\\\" weight=\"7\"",
                 "a 10.0.0.1:80 1 0 f:4\n"
                 "b 10.0.0.2:80 1 0 /b:1\n"
                 "c [::1]:80 3 1 /b:3\n"
                 "d unix:/x y\"\\ 7 0 /b:4\n",
                 "");
}
END_TEST

START_TEST(bad_lines)
{
    expect_lines("b\n", NULL,
                 "/b:1: pool \"web\" / backend \"b\": no address; write NAME ADDRESS [option=value "
                 "…]\n");
    expect_lines("x/y 10.0.0.2:80\njson 10.0.0.2:80\n", NULL,
                 "/b:1: pool \"web\": the name \"x/y\" is not allowed; a name is made of letters, "
                 "digits and _ . @ : -\n"
                 "/b:2: pool \"web\": the name \"json\" is reserved; choose another\n");
    expect_lines("a 10.0.0.2:80\nb 10.0.0.3:80\nb 10.0.0.4:80\n", NULL,
                 "/b:1: pool \"web\": \"a\" is given twice; first at f:4\n"
                 "/b:3: pool \"web\": \"b\" is given twice; first at /b:2\n");
    expect_lines("b 10.0.0.2:80 weight\n", NULL,
                 "/b:1: pool \"web\" / backend \"b\": \"weight\": no option; write option=value, "
                 "with double quotes around what holds blanks\n");
    expect_lines(
        "b 10.0.0.2:80 =3 wieght=3 zzzzzzzz=1 address=10.0.0.3:80\n", NULL,
        "/b:1: pool \"web\" / backend \"b\": \"=3\": no option; write option=value, with "
        "double quotes around what holds blanks\n"
        "/b:1: pool \"web\" / backend \"b\": unknown option \"wieght\"; did you mean "
        "\"weight\"?\n"
        "/b:1: pool \"web\" / backend \"b\": unknown option \"zzzzzzzz\"; write an option "
        "of a backend that is one value, such as weight=3\n"
        "/b:1: pool \"web\" / backend \"b\": unknown option \"address\"; write an option of "
        "a backend that is one value, such as weight=3\n");
    expect_lines("b 10.0.0.2:80 weight=3 weight=4\n", NULL,
                 "/b:1: pool \"web\" / backend \"b\": weight is given twice; write it once\n");
    expect_lines(
        "b \"10.0.0.2:80\nc 10.0.0.3:80 \"x\\n\"\n", NULL,
        "/b:1: pool \"web\": a double quote is not closed; close it on the same line\n"
        "/b:2: pool \"web\": in double quotes a backslash goes before \" or \\ only; write "
        "\\\\ for one that means itself\n");
    expect_lines("b 10.0.0.2:80\x01\nc \xff\n", NULL,
                 "/b:1: pool \"web\": a control character (byte 0x01); leave it out\n"
                 "/b:2: pool \"web\": not UTF-8; write the file in UTF-8\n");
    expect_lines(
        "b 10.0.0.2 weight=70000\n", NULL,
        "/b:1: pool \"web\" / backend \"b\": weight: \"70000\": out of range; write a whole number "
        "from 0 to 65535\n"
        "/b:1: pool \"web\" / backend \"b\": address: \"10.0.0.2\": no port; write "
        "HOST:PORT\n");
}
END_TEST

START_TEST(odd_bytes)
{
    struct errlist errors = {0};
    struct conf_tree *tree = read_lines("b 10.0.0.2:80\0c\n# \0\n", 20, &errors);
    STR_AUTO printed = {0};
    STR_AUTO many = {0};

    errlist_print(&errors, &printed);
    ck_assert_str_eq(str_text(&printed),
                     "/b:1: pool \"web\": a control character (byte 0x00); leave it out\n"
                     "/b:2: pool \"web\": a control character (byte 0x00); leave it out\n");
    errlist_free(&errors);
    conf_tree_free(tree);
    str_append(&many, "b 10.0.0.2:80");
    for (size_t i = 0; i < 63; i++) {
        str_append(&many, " x");
    }
    tree = read_lines(str_text(&many), many.len, &errors);
    ck_assert_str_eq(errlist_first_error(&errors)->text,
                     "more than 64 words; write a line for each backend");
    errlist_free(&errors);
    conf_tree_free(tree);
}
END_TEST

START_TEST(which_came_from_it)
{
    struct errlist errors = {0};
    static const char text[] = "b 10.0.0.2:80\nc 10.0.0.3:80\n";
    struct conf_tree *tree = read_lines(text, strlen(text), &errors);
    const struct conf_section *pool = conf_find_section(&tree->root, "pool", "web");

    ck_assert_str_eq(backends_file_of(pool), "/b");
    ck_assert_uint_eq(backends_file_count(pool), 2);
    ck_assert_ptr_null(backends_file_of(conf_find_section(&tree->root, "service", "web")));
    conf_tree_free(tree);
}
END_TEST

/* Reads /b, which is not there, and a file that is: again and again it is the same. */
START_TEST(completing)
{
    char path[] = "/tmp/test_model_backends_file.XXXXXX";
    int fd = mkstemp(path);
    struct errlist errors = {0};
    STR_AUTO text = {0};
    STR_AUTO printed = {0};
    struct conf_tree *tree = conf_read_text("f", own, strlen(own), model_schema(), &errors);

    ck_assert_int_eq((int)write(fd, "b 10.0.0.2:80\n", 14), 14);
    backends_file_complete(tree, &errors);
    errlist_print(&errors, &printed);
    ck_assert_str_eq(
        str_text(&printed),
        "f:5: pool \"web\": backends_file: \"/b\" cannot be read: No such file or "
        "directory; write a file that is there (it may be empty), or leave this out\n");
    ck_assert_uint_eq(tree->name_faults, 1);
    conf_tree_free(tree);
    errlist_free(&errors);
    str_printf(&text, SERVICE "pool \"web\" { backends_file = \"%s\" }\n", path);
    tree = conf_read_text("f", str_text(&text), text.len, model_schema(), &errors);
    for (size_t i = 0; i < 3; i++) {
        backends_file_complete(tree, &errors);
        ck_assert_uint_eq(errors.count, 0);
        ck_assert_uint_eq(backends_file_count(conf_find_section(&tree->root, "pool", "web")), 1);
        ck_assert_uint_eq(tree->n_files, 2);
    }
    conf_tree_free(tree);
    close(fd);
    unlink(path);
}
END_TEST

int main(void)
{
    return RUN_SUITE("model backends_file", good_lines, bad_lines, odd_bytes, which_came_from_it,
                     completing);
}
