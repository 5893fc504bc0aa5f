/* Values: escapes as libconfuse reads them, expansion, and writing values so that reading gives
 * them back, also for random ones. Every value read here has passed the comparison with libconfuse.
 */
#include "test_conf_fixture.h"

#include <stdint.h>

/* What a spelled value must become. */
struct spelled {
    const char *spelled;
    const char *raw;
    const char *text;
};

static void expect_value(const struct spelled *expected)
{
    struct conf_tree *tree;
    const struct conf_value *value;
    STR_AUTO text = {0};

    str_printf(&text, "pool p { retries = 1 scheduler = %s }", expected->spelled);
    tree = read_good(str_text(&text));
    value = find_value(SECTION(tree, "pool", "p"), "scheduler", 0);
    ck_assert_str_eq(value->raw, expected->raw);
    ck_assert_str_eq(value->text, expected->text);
    ck_assert(!value->secret);
    conf_tree_free(tree);
}

#define EXPECT_VALUES(table)                                                                       \
    for (size_t i_ = 0; i_ < sizeof(table) / sizeof(*(table)); i_++)                               \
    expect_value(&(table)[i_])

START_TEST(spellings)
{
    static const struct spelled table[] = {
        {"rr", "rr", "rr"},
        {"010", "010", "010"},
        {"0x10", "0x10", "0x10"},
        {"-1.5e3", "-1.5e3", "-1.5e3"},
        {"http://x/y//z", "http://x/y//z", "http://x/y//z"},
        {"/a/b/", "/a/b/", "/a/b/"},
        {"a\\b", "a\\b", "a\\b"},
        {"$x", "$x", "$x"},
        {"~@:-_.%^&|!?<>[]`", "~@:-_.%^&|!?<>[]`", "~@:-_.%^&|!?<>[]`"},
        {"\"\"", "", ""},
        {"''", "", ""},
        {"\"a#b//c/*d*/{}=;,\"", "a#b//c/*d*/{}=;,", "a#b//c/*d*/{}=;,"},
        {"\"\\n\\r\\t\\b\\f\\a\\e\\v\"", "\n\r\t\b\f\a\033\v", "\n\r\t\b\f\a\033\v"},
        {"\"\\x41\\x4a\\x4Ag\\101\\60\\7z\"", "AJJgA0\az", "AJJgA0\az"},
        {"\"\\xc3\\xa9\"", "\xc3\xa9", "\xc3\xa9"},
        {"\"a\\\"b\\\\c\\'d\\/\"", "a\"b\\c'd/", "a\"b\\c'd/"},
        {"'a\"b\\'c\\\\d\\ne\\x41'", "a\"b'c\\d\\ne\\x41", "a\"b'c\\d\\ne\\x41"},
        {"\"a\\\nb\\\n  c\"", "ab  c", "ab  c"},
        {"'a\\\nb'", "ab", "ab"},
        {"\"a\tb\"", "a\tb", "a\tb"},
        {"\"$ $x $$ x$\"", "$ $x $$ x$", "$ $x $$ x$"},
        {"\"\\{\\}\"", "{}", "{}"},
        {"\"\xe2\x82\xac \xf0\x9f\x98\x80\"", "\xe2\x82\xac \xf0\x9f\x98\x80",
         "\xe2\x82\xac \xf0\x9f\x98\x80"},
    };

    EXPECT_VALUES(table);
}
END_TEST

START_TEST(expansions)
{
    static const struct spelled table[] = {
        {"\"${T_SET}\"", "${T_SET}", "value"},
        {"${T_SET}", "${T_SET}", "value"},
        {"\"a${T_SET}b${T_SET}\"", "a${T_SET}b${T_SET}", "avaluebvalue"},
        {"\"${T_SET:-x}\"", "${T_SET:-x}", "value"},
        {"\"${T_EMPTY}\"", "${T_EMPTY}", ""},
        {"\"${T_EMPTY:-x}\"", "${T_EMPTY:-x}", "x"},
        {"\"${T_UNSET:-x y}\"", "${T_UNSET:-x y}", "x y"},
        {"\"${T_UNSET:-}\"", "${T_UNSET:-}", ""},
        {"${T_UNSET:-10}", "${T_UNSET:-10}", "10"},
        {"\"${T_QUOTES}\"", "${T_QUOTES}", "a\"b\\c${T_SET}"},
        /* A $ that means itself. */
        {"'${T_SET}'", "$${T_SET}", "${T_SET}"},
        {"'$${T_SET}'", "$$$${T_SET}", "$${T_SET}"},
        {"\"\\${T_SET}\"", "$${T_SET}", "${T_SET}"},
        {"\"$\\{T_SET}\"", "$${T_SET}", "${T_SET}"},
        {"\"$\\x7bT_SET}\"", "$${T_SET}", "${T_SET}"},
        {"\"\\x24{T_SET}\"", "$${T_SET}", "${T_SET}"},
        {"\"$${T_SET}\"", "$${T_SET}", "${T_SET}"},
        {"\"$$${T_SET}\"", "$$${T_SET}", "$value"},
        {"\"\\$${T_SET}\"", "$$${T_SET}", "$value"},
        {"\"$\\${T_SET}\"", "$$$${T_SET}", "$${T_SET}"},
    };

    setenv("T_SET", "value", 1);
    setenv("T_EMPTY", "", 1);
    setenv("T_QUOTES", "a\"b\\c${T_SET}", 1); /* is not expanded again */
    unsetenv("T_UNSET");
    EXPECT_VALUES(table);
}
END_TEST

START_TEST(bad_expansions)
{
    unsetenv("T_UNSET");
    setenv("T_LATIN", "\xe9", 1);
    expect_errors(
        "pool \"p\" {\n"
        " scheduler = \"${T_UNSET} ${ALSO_UNSET_1}\"\n"
        " retries = \"${file:relative}\"\n"
        " connect_timeout = \"${T_LATIN}\"\n"
        " backend \"b\" {\n"
        "  address = \"${T_UNSET\"\n"
        "  weight = \"${1X}\"\n"
        "  backup = \"${T_UNSET:-${T_SET}}\"\n"
        "  max_connections = \"${file:/nonexistent/x}\"\n"
        " }\n"
        " check \"a\" { path = \"${}\" }\n"
        "}\n",
        "f:2: pool \"p\": scheduler: the environment variable T_UNSET is not set; set it, or "
        "write ${T_UNSET:-default}; the environment variable ALSO_UNSET_1 is not set; set "
        "it, or write ${ALSO_UNSET_1:-default}\n"
        "f:3: pool \"p\": retries: ${file:relative}: the path must begin with /\n"
        "f:4: pool \"p\": connect_timeout: ${T_LATIN} is not UTF-8\n"
        "f:6: pool \"p\" / backend \"b\": address: a \"${\" without \"}\"; $${ is a \"${\" "
        "that means itself\n"
        "f:7: pool \"p\" / backend \"b\": weight: ${1X} is no variable; write ${NAME}, "
        "${NAME:-default} or ${file:/path}, and $${ for a \"${\" that means itself\n"
        "f:8: pool \"p\" / backend \"b\": backup: the default of ${T_UNSET} holds another "
        "${; they cannot be nested\n"
        "f:9: pool \"p\" / backend \"b\": max_connections: ${file:/nonexistent/x}: the file "
        "cannot be read: No such file or directory\n"
        "f:11: pool \"p\" / check \"a\": path: ${} is no variable; write ${NAME}, "
        "${NAME:-default} or ${file:/path}, and $${ for a \"${\" that means itself\n");
}
END_TEST

START_TEST(bad_escapes)
{
    static const char *const octal[] = {"\\8", "\\18", "\\400", "\\1234", "\\00018", "\\0001"};
    static const char *const nul[] = {"\\0", "\\x0", "\\x00", "a\\000b"};
    STR_AUTO text = {0};
    STR_AUTO expected = {0};

    for (size_t i = 0; i < sizeof octal / sizeof *octal; i++) {
        str_reset(&text);
        str_reset(&expected);
        str_printf(&text, "pool p { scheduler = \"%s\" }", octal[i]);
        str_printf(&expected,
                   "f:1: pool \"p\": scheduler: bad escape \"%s\"; an octal one is \\0 to \\377\n",
                   octal[i]);
        expect_errors(str_text(&text), str_text(&expected));
    }
    for (size_t i = 0; i < sizeof nul / sizeof *nul; i++) {
        str_reset(&text);
        str_printf(&text, "pool p { scheduler = \"%s\" }", nul[i]);
        expect_errors(str_text(&text),
                      "f:1: pool \"p\": scheduler: a value cannot hold a NUL byte\n");
    }
}
END_TEST

START_TEST(not_utf8)
{
    static const char *const bad[] = {
        "\\xff",
        "\xff",
        "\xc3",
        "\xc3(",
        "\x80",
        "\xc0\xaf",
        "\xc1\xbf",
        "\xe0\x9f\xbf",
        "\xed\xa0\x80",
        "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80",
        "\xe2\x82",
        "\xf0\x9f\x98",
    };
    static const char *const good[] = {"\xc2\x80",        "\xdf\xbf",     "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",    "\xee\x80\x80", "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf"};
    STR_AUTO text = {0};

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        str_reset(&text);
        str_printf(&text, "pool p { scheduler = \"%s\" }", bad[i]);
        expect_errors(str_text(&text),
                      "f:1: pool \"p\": scheduler: a value that is not UTF-8; save "
                      "the file in that encoding\n");
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        str_reset(&text);
        str_printf(&text, "pool p { scheduler = \"%s\" }", good[i]);
        conf_tree_free(read_good(str_text(&text)));
    }
}
END_TEST

START_TEST(unknown_escapes_are_warned_of)
{
    static const char text[] = "pool p { scheduler = \"\\d\\w\" retries = \"\\xz\" }";
    struct conf_tree *tree = read_expecting(
        text, sizeof text - 1,
        "f:1: pool \"p\": warning: \"\\d\" is no known escape and means just \"d\"; a backslash is "
        "written \\\\\n"
        "f:1: pool \"p\": warning: \"\\x\" is no known escape and means just \"x\"; a backslash is "
        "written \\\\\n");

    ck_assert_str_eq(find_value(SECTION(tree, "pool", "p"), "scheduler", 0)->text, "dw");
    ck_assert_str_eq(find_value(SECTION(tree, "pool", "p"), "retries", 0)->text, "xz");
    conf_tree_free(tree);
}
END_TEST

START_TEST(long_values)
{
    STR_AUTO text = {0};

    str_append(&text, "pool p { scheduler = \"");
    for (size_t i = 0; i < CONF_VALUE_BYTES_MAX; i++)
        str_append_char(&text, 'x');
    str_append(&text, "\" }");
    conf_tree_free(read_good(str_text(&text)));
    text.len -= 3;
    str_append(&text, "x\" }");
    expect_errors(str_text(&text), "f:1: pool \"p\": scheduler: a value of 65537 bytes; at most "
                                   "65536 are allowed\n");
}
END_TEST

START_TEST(expanded_values_are_bounded)
{
    STR_AUTO value = {0};

    for (int i = 0; i < 30000; i++)
        str_append_char(&value, 'y');
    setenv("T_LONG", str_text(&value), 1);
    conf_tree_free(read_good("pool p { scheduler = \"${T_LONG}${T_LONG}\" }"));
    expect_errors("pool p { scheduler = \"${T_LONG}${T_LONG}${T_LONG}\" }",
                  "f:1: pool \"p\": scheduler: too long after expansion; at most 65536 bytes are "
                  "allowed\n");
}
END_TEST

/* Random configurations. A fixed generator, so that a failure can be repeated. */

static uint64_t random_state;

static unsigned random_below(unsigned n)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(random_state >> 33) % n;
}

/* Raw values that expand to something: all that may stand in one, in unlucky neighbourhoods. */
static char *random_raw(void)
{
    static const char *const pieces[] = {
        "$",
        "${T_SET}",
        "${T_UNSET:-d \"}",
        "$${",
        "{",
        "}",
        "\"",
        "'",
        "\\",
        "\\n",
        "\n",
        "\r",
        "\t",
        "\x01",
        "\x7f",
        "\x1b",
        "#",
        "//",
        "/*",
        "*/",
        " ",
        "=",
        "+=",
        ",",
        ";",
        "(",
        ")",
        "a",
        "0",
        "7",
        "9",
        "f",
        "x",
        "n",
        "\xc3\xa9",
        "\xe2\x82\xac",
        "\xf0\x9f\x98\x80",
        "include(\"x\")",
    };
    STR_AUTO raw = {0};

    for (unsigned n = random_below(12); n > 0; n--) {
        const char *piece = pieces[random_below(sizeof pieces / sizeof *pieces)];
        /* Not where it would begin a reference without an end. */
        if (strchr(piece, '{') && !strchr(piece, '}') && raw.len > 0 &&
            raw.data[raw.len - 1] == '$')
            continue;
        str_append(&raw, piece);
    }
    return str_take(&raw);
}

static void random_name(char name[32])
{
    static const char allowed[] = "abcXYZ019_.@:-";
    size_t len = 1 + random_below(12);

    for (size_t i = 0; i < len; i++)
        name[i] = allowed[random_below(sizeof allowed - 1)];
    /* Makes it unique among those of one configuration. */
    snprintf(name + len, 32 - len, "%u", random_below(1000000000));
}

static void write_blank(struct str *out)
{
    static const char *const blanks[] = {" ",          "\n",      "\t",  " # }{\"\n",
                                         "/* \" { */", " // '\n", "\r\n"};

    str_append(out, " ");
    str_append(out, blanks[random_below(sizeof blanks / sizeof *blanks)]);
}

/* One written option and what it must be read as. */
struct written {
    char pool[32];
    char backend[32];
    bool list;
    size_t n;
    char *raw[4];
};

static void write_values(struct str *out, struct written *w)
{
    if (w->list)
        str_append(out, "{");
    for (size_t i = 0; i < w->n; i++) {
        w->raw[i] = random_raw();
        if (i > 0)
            str_append(out, ",");
        write_blank(out);
        conf_quote(out, w->raw[i]);
        write_blank(out);
    }
    if (w->list)
        str_append(out, random_below(2) && w->n > 0 ? ", }" : "}");
}

static void write_random(struct str *out, struct written *w)
{
    random_name(w->pool);
    random_name(w->backend);
    w->list = random_below(2) == 0;
    w->n = w->list ? random_below(5) : 1;
    str_append(out, "pool");
    write_blank(out);
    conf_quote(out, w->pool);
    write_blank(out);
    str_append(out, "{ backend ");
    str_append(out, w->backend);
    str_append(out, " {");
    write_blank(out);
    if (w->list) {
        str_append(out, "check \"c\" { steps =");
        write_values(out, w);
        str_append(out, "}");
    } else {
        str_append(out, "address =");
        write_values(out, w);
    }
    str_append(out, "} }");
    write_blank(out);
}

static void compare_written(const struct conf_tree *tree, struct written *w)
{
    const struct conf_section *backend = SECTION(tree, "pool", w->pool, "backend", w->backend);
    const struct conf_section *holder =
        w->list ? SECTION(tree, "pool", w->pool, "backend", w->backend, "check", "c") : backend;
    const char *name = w->list ? "steps" : "address";

    ck_assert_ptr_nonnull(conf_find(holder, name));
    ck_assert_uint_eq(conf_find(holder, name)->n_values, w->n);
    for (size_t i = 0; i < w->n; i++) {
        ck_assert_str_eq(find_value(holder, name, i)->raw, w->raw[i]);
        free(w->raw[i]);
    }
}

START_TEST(random_configurations_read_back)
{
    struct written written[20];

    setenv("T_SET", "value", 1);
    unsetenv("T_UNSET");
    random_state = (uint64_t)_i + 1;
    for (int round = 0; round < 50; round++) {
        STR_AUTO text = {0};
        struct conf_tree *tree;

        for (size_t i = 0; i < 20; i++)
            write_random(&text, &written[i]);
        tree = read_good(str_text(&text));
        ck_assert_uint_eq(tree->root.n_sections, 20);
        for (size_t i = 0; i < 20; i++)
            compare_written(tree, &written[i]);
        conf_tree_free(tree);
    }
}
END_TEST

/* Any bytes at all between quotes: the scan and libconfuse either both take them for the same, or
 * there is an error that is none of ours. */
START_TEST(random_spellings_agree)
{
    static const char bytes[] = "\\\\\\\\$$${{}}\"'x8170n \t\n#/*a\xc3\xa9";

    setenv("T_SET", "value", 1);
    random_state = (uint64_t)_i + 100;
    for (int round = 0; round < 3000; round++) {
        STR_AUTO text = {0};
        struct errlist errors = {0};
        char quote = random_below(2) ? '"' : '\'';

        str_printf(&text, "pool p { scheduler = %c", quote);
        for (unsigned n = random_below(10); n > 0; n--)
            str_append_char(&text, bytes[random_below(sizeof bytes - 1)]);
        str_printf(&text, "%c retries = 1 }", quote);
        conf_tree_free(conf_read_text("f", str_text(&text), text.len, &root_schema, &errors));
        for (size_t i = 0; i < errors.count; i++)
            ck_assert_msg(strncmp(errors.items[i].text, "internal error", 14) != 0, "%s: %s",
                          str_text(&text), errors.items[i].text);
        errlist_free(&errors);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("conf/value");
    TCase *tc = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, spellings);
    tcase_add_test(tc, expansions);
    tcase_add_test(tc, bad_expansions);
    tcase_add_test(tc, bad_escapes);
    tcase_add_test(tc, not_utf8);
    tcase_add_test(tc, unknown_escapes_are_warned_of);
    tcase_add_test(tc, long_values);
    tcase_add_test(tc, expanded_values_are_bounded);
    tcase_add_loop_test(tc, random_configurations_read_back, 0, 4);
    tcase_add_loop_test(tc, random_spellings_agree, 0, 4);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
