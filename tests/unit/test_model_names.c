/*
 * Names as addresses: what they stand for, the tree with it, and what commands say about templates
 * and about their addresses.
 */
#include "model/names.h"
#include "model/override.h"
#include "test_model_fixture.h"

static const char text[] = SERVICE "pool \"web\" {\n"
                                   "  backend \"a\" { address = \"10.0.0.1:80\" weight = 2 }\n"
                                   "  backend \"b\" {\n"
                                   "    address = \"h.example:80\"\n"
                                   "    max_connections = 9\n"
                                   "    check \"tcp\" { }\n"
                                   "  }\n"
                                   "  backend \"s\" { address = \"srv:_x._tcp.example\" }\n"
                                   "  backend \"z\" { address = \"10.0.0.2:80\" }\n"
                                   "}\n";

static struct names names;
static struct overrides list;

static void teardown(void)
{
    names_free(&names);
    overrides_free(&list);
}

static struct names_answer answer(const char *ip, uint16_t port, uint32_t weight)
{
    struct names_answer made = {.port = port, .weight = weight};

    ck_assert_int_eq(addr_parse_ip(ip, &made.ip), 0);
    return made;
}

/* The name stands for these addresses, up to a NULL. */
static int stands_for(const char *name, const char *one, const char *other)
{
    struct names_answer answers[2];
    size_t n = 0;

    if (one != NULL) {
        answers[n++] = answer(one, 0, 0);
    }
    if (other != NULL) {
        answers[n++] = answer(other, 0, 0);
    }
    return names_set(&names, name, answers, n);
}

static struct conf_tree *read_tree(const char *from)
{
    struct errlist errors = {0};
    struct conf_tree *tree = conf_read_text("f", from, strlen(from), model_schema(), &errors);

    ck_assert_ptr_nonnull(tree);
    ck_assert_uint_eq(errors.count, 0);
    return tree;
}

/* Each backend of the pool with its address, weight and admin, and whose address it is. */
static void expect_backends(const struct model *model, const char *expected)
{
    STR_AUTO lines = {0};

    ck_assert_ptr_nonnull(model);
    for (size_t i = 0; i < model->pools[0].n_backends; i++) {
        const struct model_backend *backend = &model->pools[0].backends[i];

        str_printf(&lines, "%s %s %u %u %s\n", backend->name, backend->address_text,
                   backend->weight, backend->admin, backend->of != NULL ? backend->of : "-");
    }
    ck_assert_str_eq(str_text(&lines), expected);
}

static void expect_built(const char *from, const char *expected, const char *faults)
{
    struct conf_tree *tree = read_tree(from);
    struct errlist errors = {0};
    STR_AUTO printed = {0};
    struct model *model = overrides_build(&list, tree, &names, &fixture_registries, &errors);

    errlist_print(&errors, &printed);
    ck_assert_str_eq(str_text(&printed), faults);
    if (expected != NULL) {
        expect_backends(model, expected);
    } else {
        ck_assert_ptr_null(model);
    }
    model_free(model);
    errlist_free(&errors);
    conf_tree_free(tree);
}

/* --- what they stand for --- */

START_TEST(setting_answers)
{
    struct names copy = {0};
    const struct names_entry *entry;
    struct names_answer some[] = {answer("10.0.0.3", 81, 1), answer("10.0.0.3", 80, 2),
                                  answer("::1", 80, 0), answer("10.0.0.3", 80, 7)};

    ck_assert_ptr_null(names_find(&names, "h"));
    ck_assert_int_eq(names_set(&names, "h", some, 4), 1);
    ck_assert_int_eq(stands_for("g", NULL, NULL), 1);
    ck_assert_int_eq(stands_for("g", NULL, NULL), 0);
    ck_assert_int_eq(stands_for("i", "10.0.0.1", "10.0.0.2"), 1);
    ck_assert_int_eq(stands_for("i", "10.0.0.2", "10.0.0.1"), 0);
    ck_assert_int_eq(stands_for("i", "10.0.0.2", NULL), 1);
    entry = names_find(&names, "h");
    ck_assert_uint_eq(entry->n, 3);
    ck_assert_uint_eq(entry->answers[0].port, 80);
    ck_assert_uint_eq(entry->answers[0].weight, 7);
    ck_assert_uint_eq(entry->answers[1].port, 81);
    ck_assert_uint_eq(entry->answers[2].ip.family, ADDR_IPV6);
    ck_assert_int_eq(names_copy(&copy, &names), 0);
    teardown();
    ck_assert_uint_eq(copy.count, 3);
    ck_assert_uint_eq(names_find(&copy, "i")->n, 1);
    ck_assert_int_eq(stands_for("g", "10.0.0.9", NULL), 1);
    ck_assert_int_eq(stands_for("i", NULL, NULL), 1);
    ck_assert_int_eq(names_hold(&names, &copy), 0);
    ck_assert_uint_eq(names_find(&names, "g")->n, 1); /* it has one itself */
    ck_assert_uint_eq(names_find(&names, "i")->n, 1);
    ck_assert_ptr_null(names_find(&names, "h"));
    names_free(&copy);
}
END_TEST

START_TEST(too_many_answers)
{
    static struct names_answer many[NAMES_ANSWERS_MAX + 9];

    for (size_t i = 0; i < NAMES_ANSWERS_MAX + 9; i++) {
        many[i] = answer("10.0.0.1", (uint16_t)(1000 + i), 0);
    }
    ck_assert_int_eq(names_set(&names, "h", many, NAMES_ANSWERS_MAX + 9), 1);
    ck_assert_uint_eq(names_find(&names, "h")->n, NAMES_ANSWERS_MAX);
    ck_assert_int_eq(names_set(&names, "h", many, NAMES_ANSWERS_MAX), 0);
}
END_TEST

START_TEST(wanted)
{
    struct conf_tree *tree = read_tree(text);

    ck_assert_int_eq(stands_for("h.example", "10.0.0.1", NULL), 1);
    ck_assert_int_eq(names_wanted(tree, &names), 0);
    ck_assert_uint_eq(names.count, 2);
    ck_assert_uint_eq(names_find(&names, "h.example")->n, 1);
    ck_assert_uint_eq(names_find(&names, "srv:_x._tcp.example")->n, 0);
    conf_tree_free(tree);
}
END_TEST

START_TEST(whose_address)
{
    static const struct {
        const char *backend;
        size_t len;
    } cases[] = {{"b", 0},           {"b@", 0},           {"b@10.0.0.1", 1},  {"b@10.0.0.1:80", 1},
                 {"b@c@::1", 3},     {"b@::1:80", 1},     {"b@10.0.0.1:", 0}, {"b@10.0.0.1:8x", 0},
                 {"b@10.0.0.1@", 0}, {"b@10.0.0.300", 0}, {"b@h.example", 0}, {"@10.0.0.1", 0}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_msg(names_template_length(cases[i].backend) == cases[i].len, "%s",
                      cases[i].backend);
    }
    ck_assert(names_is_of("b@10.0.0.1", "b"));
    ck_assert(!names_is_of("b@10.0.0.1", "b@10.0.0.1"));
    ck_assert(!names_is_of("bb@10.0.0.1", "b"));
}
END_TEST

/* --- the tree --- */

START_TEST(expanding)
{
    struct names_answer some[] = {answer("10.0.1.2", 82, 5), answer("2001:db8::2", 82, 0),
                                  answer("10.0.1.2", 81, 0), answer("10.0.1.9", 0, 0)};
    struct model *model;
    struct conf_tree *tree = read_tree(text);
    struct errlist errors = {0};

    ck_assert_int_eq(stands_for("h.example", "10.0.0.5", "::5"), 1);
    ck_assert_int_eq(names_set(&names, "srv:_x._tcp.example", some, 4), 1);
    expect_built(text,
                 "a 10.0.0.1:80 2 0 -\n"
                 "b@10.0.0.5 10.0.0.5:80 1 0 b\n"
                 "b@::5 [::5]:80 1 0 b\n"
                 "s@10.0.1.2:81 10.0.1.2:81 1 0 s\n"
                 "s@10.0.1.2:82 10.0.1.2:82 5 0 s\n"
                 "s@2001:db8::2:82 [2001:db8::2]:82 1 0 s\n"
                 "z 10.0.0.2:80 1 0 -\n",
                 "");
    model = overrides_build(&list, tree, &names, &fixture_registries, &errors);
    ck_assert_uint_eq(model->pools[0].backends[2].max_connections, 9);
    ck_assert_uint_eq(model->pools[0].backends[2].n_own_checks, 1);
    ck_assert_str_eq(model->pools[0].backends[2].file, "f");
    ck_assert_int_eq(model->pools[0].backends[2].line, 4);
    ck_assert(model_has_backend(&model->pools[0], "b"));
    ck_assert(model_has_backend(&model->pools[0], "b@::5"));
    ck_assert(!model_has_backend(&model->pools[0], "b@::6"));
    model_free(model);
    conf_tree_free(tree);
}
END_TEST

START_TEST(without_answers)
{
    static const char refusing[] = SERVICE "pool \"web\" {\n on_unresolved = \"refuse\"\n backend "
                                           "\"b\" { address = \"h.example:80\" }\n"
                                           "}\n";

    expect_built(text,
                 "a 10.0.0.1:80 2 0 -\nb h.example:80 1 0 -\ns srv:_x._tcp.example 1 0 -\n"
                 "z 10.0.0.2:80 1 0 -\n",
                 "");
    expect_built(refusing, NULL,
                 "f:4: pool \"web\" / backend \"b\": the name in address \"h.example:80\" does not "
                 "resolve; mend the name or the resolver, or write an IP address\n");
    ck_assert_int_eq(stands_for("h.example", "10.0.0.5", NULL), 1);
    expect_built(refusing, "b@10.0.0.5 10.0.0.5:80 1 0 b\n", "");
}
END_TEST

START_TEST(names_that_collide)
{
    static const char both[] = SERVICE "pool \"web\" {\n"
                                       " backend \"b\" { address = \"h.example:80\" }\n"
                                       " backend \"b@10.0.0.5\" { address = \"10.0.0.1:80\" }\n"
                                       " backend \"c\" { address = \"10.0.0.3:80\" }\n"
                                       " backend \"c@10.0.0.5\" { address = \"10.0.0.2:80\" }\n"
                                       "}\n";

    expect_built(both, NULL,
                 "f:4: pool \"web\" / backend \"b@10.0.0.5\": an address of backend \"b\", whose "
                 "address is a name, may be called that; choose another name\n");
}
END_TEST

START_TEST(names_that_get_too_long)
{
    static const char longest[] =
        SERVICE "pool \"web\" {\n"
                " backend \"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\" { address = "
                "\"h.example:80\" }\n"
                "}\n";

    ck_assert_int_eq(stands_for("h.example", "10.0.0.5", "2001:db8::5"), 1);
    expect_built(longest,
                 "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb@10.0.0.5 10.0.0.5:80 1 0 "
                 "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\n",
                 "f:3: pool \"web\" / backend "
                 "\"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\": warning: its address "
                 "[2001:db8::5]:80 is not used, for "
                 "\"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb@2001:db8::5\" is too long "
                 "for a name; give the backend a shorter one\n");
}
END_TEST

/* --- with what commands say --- */

static void record(enum override_kind kind, const char *backend, const char *option,
                   const char *value, const char *file_value)
{
    struct override_setting address = {(char *)"address", (char *)(uintptr_t)value};
    struct override item = {.kind = kind,
                            .pool = (char *)"web",
                            .backend = (char *)(uintptr_t)backend,
                            .option = (char *)(uintptr_t)option,
                            .value = (char *)(uintptr_t)value,
                            .file_value = (char *)(uintptr_t)file_value,
                            .settings = &address,
                            .n_settings = kind == OVERRIDE_ADDED ? 1 : 0};

    ck_assert_int_eq(overrides_set(&list, &item), 0);
}

START_TEST(of_templates_and_of_addresses)
{
    ck_assert_int_eq(stands_for("h.example", "10.0.0.5", "10.0.0.6"), 1);
    ck_assert_int_eq(stands_for("g.example", "10.0.0.7", "10.0.0.8"), 1);
    record(OVERRIDE_SET, "b@10.0.0.5", "weight", "7", "1");
    record(OVERRIDE_SET, "b", "weight", "5", "1");
    record(OVERRIDE_SET, "b", "admin", "drain", "ready");
    record(OVERRIDE_SET, "b@10.0.0.9", "weight", "8", "1");
    record(OVERRIDE_ADDED, "c", NULL, "g.example:81", NULL);
    record(OVERRIDE_REMOVED, "c@10.0.0.7", NULL, NULL, "g.example:81");
    record(OVERRIDE_REMOVED, "s", NULL, NULL, "srv:_x._tcp.example");
    expect_built(text,
                 "a 10.0.0.1:80 2 0 -\nb@10.0.0.5 10.0.0.5:80 7 1 b\nb@10.0.0.6 10.0.0.6:80 5 1 b\n"
                 "z 10.0.0.2:80 1 0 -\nc@10.0.0.8 10.0.0.8:81 1 0 c\n",
                 "");
    ck_assert_int_eq(stands_for("h.example", "10.0.0.6", "10.0.0.9"), 1);
    expect_built(text,
                 "a 10.0.0.1:80 2 0 -\nb@10.0.0.6 10.0.0.6:80 5 1 b\nb@10.0.0.9 10.0.0.9:80 8 1 b\n"
                 "z 10.0.0.2:80 1 0 -\nc@10.0.0.8 10.0.0.8:81 1 0 c\n",
                 "");
    ck_assert_uint_eq(overrides_forget(&list, "web", "b"), 4);
    ck_assert_uint_eq(overrides_forget(&list, "web", "c"), 2);
    names_free(&names);
    record(OVERRIDE_ADDED, "c", NULL, "g.example:81", NULL);
    struct conf_tree *tree = read_tree(text);
    ck_assert_int_eq(overrides_wanted(&list, tree, &names), 0);
    conf_tree_free(tree);
    ck_assert_uint_eq(names.count, 2); /* s is removed, c added */
    ck_assert_ptr_nonnull(names_find(&names, "g.example"));
}
END_TEST

START_TEST(printing_what_stands)
{
    static const char expected[] =
        "pool \"web\" {\n"
        "    backend \"b\" {\n"
        "        # 1 in the file; by somebody, 1970-01-01T00:00:00.000Z\n"
        "        weight = 5\n"
        "    }\n"
        "    # by somebody, 1970-01-01T00:00:00.000Z\n"
        "    # backend \"b@10.0.0.6\": weight = 7, for one address of a name\n"
        "    # added by somebody, 1970-01-01T00:00:00.000Z\n"
        "    backend \"c\" {\n"
        "        address = \"g.example:81\"\n"
        "        weight = 3\n"
        "    }\n"
        "}\n";
    struct conf_tree *tree = read_tree(text);
    struct errlist errors = {0};
    struct model *model;
    STR_AUTO printed = {0};

    ck_assert_int_eq(stands_for("h.example", "10.0.0.5", "10.0.0.6"), 1);
    ck_assert_int_eq(stands_for("g.example", "10.0.0.7", "10.0.0.8"), 1);
    record(OVERRIDE_SET, "b@10.0.0.6", "weight", "7", "1");
    record(OVERRIDE_SET, "b", "weight", "5", "1");
    record(OVERRIDE_ADDED, "c", NULL, "g.example:81", NULL);
    record(OVERRIDE_SET, "c", "weight", "3", "1");
    model = overrides_build(&list, tree, &names, &fixture_registries, &errors);
    overrides_print(&list, model, &printed);
    ck_assert_str_eq(str_text(&printed), expected);
    model_free(model);
    errlist_free(&errors);
    conf_tree_free(tree);
}
END_TEST

static void expect_kept(const char *from, size_t n, const char *backends, const char *dropped)
{
    struct conf_tree *tree = read_tree(from);
    struct errlist errors = {0};
    struct errlist found = {0};
    struct overrides kept = {0};
    STR_AUTO printed = {0};
    struct model *file_model = model_build(tree, &fixture_registries, &found);
    struct model *model =
        overrides_rebuild(&list, tree, &names, file_model, &fixture_registries, &kept, &errors);

    errlist_print(&errors, &printed);
    ck_assert_str_eq(str_text(&printed), dropped);
    ck_assert_uint_eq(kept.count, n);
    if (backends != NULL) {
        expect_backends(model, backends);
    } else {
        ck_assert_ptr_null(model);
    }
    overrides_free(&list);
    list = kept;
    model_free(model);
    model_free(file_model);
    errlist_free(&errors);
    errlist_free(&found);
    conf_tree_free(tree);
}

#define ONE(weight)                                                                                \
    SERVICE "pool \"web\" {\n backend \"b\" { address = \"h.example:80\" weight = " weight " }\n}" \
            "\n"

START_TEST(after_a_reload)
{
    ck_assert_int_eq(stands_for("h.example", "10.0.0.5", NULL), 1);
    ck_assert_int_eq(stands_for("g.example", "10.0.0.7", NULL), 1);
    record(OVERRIDE_SET, "b", "admin", "drain", "ready");
    record(OVERRIDE_SET, "b@10.0.0.5", "weight", "7", "2");
    record(OVERRIDE_SET, "b@10.0.0.9", "weight", "8", "2");
    record(OVERRIDE_REMOVED, "b@10.0.0.8", NULL, NULL, "h.example:80");
    record(OVERRIDE_ADDED, "c", NULL, "g.example:80", NULL);
    record(OVERRIDE_REMOVED, "c@10.0.0.2", NULL, NULL, "g.example:80");
    record(OVERRIDE_SET, "c@10.0.0.7", "weight", "3", "1");
    expect_kept(ONE("2"), 7, "b@10.0.0.5 10.0.0.5:80 7 1 b\nc@10.0.0.7 10.0.0.7:80 3 0 c\n", "");
    expect_kept(ONE("4"), 5, "b@10.0.0.5 10.0.0.5:80 4 1 b\nc@10.0.0.7 10.0.0.7:80 3 0 c\n",
                "f:3: pool \"web\" / backend \"b@10.0.0.5\": warning: the file now says 4 instead "
                "of 2; the override weight=7 by somebody no longer holds\n"
                "f:3: pool \"web\" / backend \"b@10.0.0.9\": warning: the file now says 4 instead "
                "of 2; the override weight=8 by somebody no longer holds\n");
    expect_kept(SERVICE POOL, 3, "a 10.0.0.1:80 1 0 -\nc@10.0.0.7 10.0.0.7:80 3 0 c\n",
                "pool \"web\" / backend \"b@10.0.0.8\": warning: the file does not have it any "
                "more; that it was removed by somebody no longer holds\n"
                "pool \"web\" / backend \"b\": warning: the backend is gone; the override "
                "admin=drain by somebody no longer holds\n");
}
END_TEST

START_TEST(what_does_not_go_with_the_names)
{
    static const char from[] = SERVICE "pool \"web\" {\n check \"tcp\" { source = \"10.9.9.9\" }\n"
                                       " backend \"b\" { address = \"h.example:80\" }\n}\n";

    ck_assert_int_eq(stands_for("h.example", "::5", NULL), 1);
    record(OVERRIDE_SET, "b", "weight", "7", "1");
    expect_kept(from, 0, NULL,
                "f:4: pool \"web\" / backend \"b@::5\": address: an IPv6 address cannot be reached "
                "from 10.9.9.9, the source of check \"tcp\"; write the backend a check with "
                "another one\n");
}
END_TEST

START_TEST(addresses_that_nobody_is_at_are_left_out)
{
    static const char from[] = SERVICE "pool \"web\" {\n"
                                       " backend \"b\" { address = \"h.example:80\" }\n}\n";

    ck_assert_int_eq(stands_for("h.example", "0.0.0.0", "10.0.0.5"), 1);
    expect_built(from, "b@10.0.0.5 10.0.0.5:80 1 0 b\n",
                 "f:3: pool \"web\" / backend \"b\": warning: its address 0.0.0.0:80 is not used: "
                 "stands for any address, which nobody can be reached at; write the server's own, "
                 "or 127.0.0.1 for this machine\n");
    ck_assert_int_eq(stands_for("h.example", "224.0.0.1", NULL), 1);
    expect_built(
        from, "b h.example:80 1 0 -\n",
        "f:3: pool \"web\" / backend \"b\": warning: its address 224.0.0.1:80 is not "
        "used: a multicast address, which no connection goes to; write the server's own\n");
}
END_TEST

START_TEST(what_the_file_says)
{
    static const struct {
        const char *backend, *option, *value;
    } cases[] = {{"b", "max_connections", "9"},
                 {"b@10.0.0.5", "max_connections", "9"},
                 {"b@10.0.0.5", "weight", "1"},
                 {"b@10.0.0.5", "address", "h.example:80"},
                 {"c@10.0.0.7", "address", "g.example:80"},
                 {"b", "admin", "ready"},
                 {"q", "admin", NULL},
                 {"b", "nonsense", NULL}};
    struct conf_tree *tree = read_tree(text);

    record(OVERRIDE_ADDED, "c", NULL, "g.example:80", NULL);
    record(OVERRIDE_SET, "b", "weight", "7", "1");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct override key = {.pool = (char *)"web",
                               .backend = (char *)(uintptr_t)cases[i].backend,
                               .option = (char *)(uintptr_t)cases[i].option};
        STR_AUTO found = {0};
        bool is_there = override_get_in_file(&list, tree, &key, &found);

        ck_assert_int_eq(is_there, cases[i].value != NULL);
        ck_assert_str_eq(str_text(&found), is_there ? cases[i].value : "");
    }
    ck_assert(!override_means_file(&list.items[1]));
    record(OVERRIDE_SET, "b", "weight", "01", "1");
    ck_assert(override_means_file(&list.items[1]));
    conf_tree_free(tree);
}
END_TEST

int main(void)
{
    return RUN_SUITE_WITH("model names", NULL, teardown, setting_answers, too_many_answers, wanted,
                          whose_address, expanding, without_answers, names_that_collide,
                          names_that_get_too_long, of_templates_and_of_addresses,
                          printing_what_stands, after_a_reload, what_does_not_go_with_the_names,
                          addresses_that_nobody_is_at_are_left_out, what_the_file_says);
}
