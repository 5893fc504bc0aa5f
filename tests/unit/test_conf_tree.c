/*
 * Trees beside the files: copies, and what is added, set and removed in them.
 */
#include "test_conf_fixture.h"

static const char text[] =
    "global { workers = 2 status_allow = { \"a\", \"b\" } }\n"
    "pool \"web\" {\n"
    "    backend \"a\" { address = \"${X:-1.2.3.4:80}\" weight = 3 }\n"
    "    backend \"b\" { address = \"b\" check \"http:x\" { path = \"/\" } }\n"
    "}\n"
    "pool \"mail\" { }\n";

static void print_section(const struct conf_section *section, unsigned depth, struct str *out)
{
    for (size_t i = 0; i < section->n_options; i++) {
        const struct conf_option *option = &section->options[i];

        str_printf(out, "%*s%s %s:%d", (int)depth, "", option->name, option->file, option->line);
        for (size_t j = 0; j < option->n_values; j++)
            str_printf(out, " %s=%s:%d%s", option->values[j].raw, option->values[j].text,
                       option->values[j].line, option->values[j].secret ? "!" : "");
        str_append_char(out, '\n');
    }
    for (size_t i = 0; i < section->n_sections; i++) {
        const struct conf_section *inner = section->sections[i];

        ck_assert_ptr_eq(inner->parent, section);
        str_printf(out, "%*s%s \"%s\" %s:%d\n", (int)depth, "", inner->schema->name,
                   inner->title ? inner->title : "", inner->file, inner->line);
        print_section(inner, depth + 1, out);
    }
}

static void expect_same(const struct conf_tree *a, const struct conf_tree *b)
{
    STR_AUTO one = {0}, other = {0};

    print_section(&a->root, 0, &one);
    print_section(&b->root, 0, &other);
    ck_assert_str_eq(str_text(&one), str_text(&other));
}

START_TEST(a_copy_is_the_same_and_its_own)
{
    struct conf_tree *again = read_expecting(text, strlen(text), "");
    struct conf_tree *tree = read_expecting(text, strlen(text), "");
    struct conf_tree *copy;

    tree->root.sections[1]->sections[0]->options[1].values[0].secret = true;
    again->root.sections[1]->sections[0]->options[1].values[0].secret = true;
    copy = conf_tree_copy(tree);
    ck_assert_ptr_nonnull(copy);
    conf_tree_free(tree);
    expect_same(copy, again);
    ck_assert_str_eq(copy->files[0], "f");
    ck_assert_ptr_eq(copy->root.sections[1]->file, copy->files[0]);
    conf_tree_free(copy);
    conf_tree_free(again);
}
END_TEST

static void expect_tree(const struct conf_tree *tree, const char *expected)
{
    STR_AUTO printed = {0};

    print_section(&tree->root, 0, &printed);
    ck_assert_str_eq(str_text(&printed), expected);
}

START_TEST(changing)
{
    struct conf_tree *tree = read_expecting(text, strlen(text), "");
    struct conf_section *web = conf_find_section(&tree->root, "pool", "web");
    struct conf_section *mail = conf_find_section(&tree->root, "pool", "mail");
    struct conf_section *a = conf_find_section(web, "backend", "a");
    struct conf_section *c = conf_add_section(mail, "backend", "c");

    ck_assert_ptr_null(conf_find_section(web, "backend", "c"));
    ck_assert_ptr_null(conf_find_section(&tree->root, "service", "web"));
    ck_assert_int_eq(conf_set(c, "address", "${Y}"), 0); /* nothing is expanded */
    ck_assert_int_eq(conf_set(a, "weight", "9"), 0);
    ck_assert_int_eq(conf_set(a, "address", "x"), 0);
    ck_assert_int_eq(conf_set(a, "backup", "true"), 0);
    ck_assert_int_eq(conf_set(a, "colour", "red"), -ENOENT);
    conf_remove_section(conf_find_section(web, "backend", "b"));
    conf_remove_section(tree->root.sections[0]);
    expect_tree(tree, "pool \"web\" f:2\n"
                      " backend \"a\" f:3\n"
                      "  address :0 x=x:0\n"
                      "  weight :0 9=9:0\n"
                      "  backup :0 true=true:0\n"
                      "pool \"mail\" f:6\n"
                      " backend \"c\" :0\n"
                      "  address :0 ${Y}=${Y}:0\n");
    conf_tree_free(tree);
}
END_TEST

/* Arrays grow by doubling: what was removed must not make them forget how large they are. */
START_TEST(adding_after_removing)
{
    struct conf_tree *tree = read_expecting(text, strlen(text), "");
    struct conf_section *mail = conf_find_section(&tree->root, "pool", "mail");
    unsigned n = 0;

    for (unsigned round = 0; round < 100; round++) {
        char name[16];

        snprintf(name, sizeof(name), "b%u", round);
        ck_assert_ptr_nonnull(conf_add_section(mail, "backend", name));
        n++;
        if (round % 3 == 2) {
            conf_remove_section(mail->sections[round % n]);
            n--;
        }
        ck_assert_uint_eq(mail->n_sections, n);
    }
    conf_tree_free(tree);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("conf tree");
    TCase *tcase = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, tcase);
    tcase_add_test(tcase, a_copy_is_the_same_and_its_own);
    tcase_add_test(tcase, changing);
    tcase_add_test(tcase, adding_after_removing);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
