/* What is wrong with a configuration's structure and names: each fault told once, at its place,
 * with what would be right, and what follows it still read. */
#include "test_conf_fixture.h"

#include "sluice/limits.h"

START_TEST(nothing_is_fine)
{
    conf_tree_free(read_good(""));
    conf_tree_free(read_good("\n \t\n"));
    conf_tree_free(read_good("# only a comment"));
    conf_tree_free(read_good("/* and */ // others"));
    conf_tree_free(
        read_good("pool a {\n scheduler = rr\n reuse { }\n retries = 3\n}\nglobal\n{\n}\n"));
    /* Not a section "2", although it looks like the title of one. */
    conf_tree_free(read_good("pool a { retries = 2 reuse { } }"));
    conf_tree_free(read_good("pool a { scheduler = on reuse { } }"));
}
END_TEST

START_TEST(places_and_shapes)
{
    struct conf_tree *tree = read_good("global {\n"
                                       "    workers = 010\n"
                                       "}\n"
                                       "service web {\n"
                                       "    listen = { \"a:1\", # comments may stand here\n"
                                       "               b:2 /* and here */, }\n"
                                       "    allow = { }\n"
                                       "    pool\n"
                                       "        = 'web'  idle_timeout = \"5s\"\n"
                                       "    route \"*.example.net\" { pool = \"web\" }\n"
                                       "}\n"
                                       "pool \"web\" { backend \"a\" { weight = 3 check \"tcp:x\" "
                                       "{ steps = one } } reuse { } }");
    const struct conf_section *web = SECTION(tree, "service", "web");
    const struct conf_option *allow = conf_find(web, "allow");
    STR_AUTO path = {0};

    ck_assert_uint_eq(tree->n_files, 1);
    ck_assert_str_eq(tree->files[0], "f");
    ck_assert_str_eq(find_value(SECTION(tree, "global", ""), "workers", 0)->text, "010");
    ck_assert_int_eq(web->line, 4);
    ck_assert_ptr_eq(web->file, tree->files[0]);
    ck_assert_int_eq(conf_find(web, "listen")->line, 5);
    ck_assert_str_eq(find_value(web, "listen", 0)->text, "a:1");
    ck_assert_int_eq(find_value(web, "listen", 0)->line, 5);
    ck_assert_str_eq(find_value(web, "listen", 1)->text, "b:2");
    ck_assert_int_eq(find_value(web, "listen", 1)->line, 6);
    ck_assert_uint_eq(conf_find(web, "listen")->n_values, 2);
    ck_assert_ptr_nonnull(allow);
    ck_assert_uint_eq(allow->n_values, 0);
    ck_assert_int_eq(conf_find(web, "pool")->line, 8);
    ck_assert_int_eq(find_value(web, "pool", 0)->line, 9);
    ck_assert_str_eq(find_value(web, "idle_timeout", 0)->raw, "5s");
    ck_assert_ptr_null(conf_find(web, "nothing"));
    ck_assert_ptr_nonnull(SECTION(tree, "service", "web", "route", "*.example.net"));
    ck_assert_ptr_nonnull(SECTION(tree, "pool", "web", "reuse", ""));
    conf_section_path(SECTION(tree, "pool", "web", "backend", "a", "check", "tcp:x"), &path);
    ck_assert_str_eq(str_text(&path), "pool \"web\" / backend \"a\" / check \"tcp:x\"");
    str_reset(&path);
    conf_section_path(&tree->root, &path);
    ck_assert_str_eq(str_text(&path), "");
    conf_tree_free(tree);
}
END_TEST

START_TEST(truncated_files)
{
    expect_errors(
        "pool \"a\" { retries = 1",
        "f:1: pool \"a\": this section is not closed; a \"}\" is missing before the end of "
        "the file\n");
    expect_errors("pool \"a\" {\n backend \"b\" {\n weight = 1\n",
                  "f:2: pool \"a\" / backend \"b\": this section is not closed, nor the one around "
                  "it; a \"}\" is missing before the end of the file\n");
    expect_errors(
        "pool \"a\" {\n retries =",
        "f:1: pool \"a\": this section is not closed; a \"}\" is missing before the end of "
        "the file\n"
        "f:2: pool \"a\": missing value after \"retries =\"\n");
    expect_errors(
        "pool \"a\" {\n retries",
        "f:1: pool \"a\": this section is not closed; a \"}\" is missing before the end of "
        "the file\n"
        "f:2: pool \"a\": missing \"=\" and a value after \"retries\"\n");
    expect_errors(
        "service \"a\" {\n listen = { \"x\",\n",
        "f:1: service \"a\": this section is not closed; a \"}\" is missing before the end "
        "of the file\n"
        "f:2: service \"a\": the list of \"listen\" is not closed; a \"}\" is missing\n");
    expect_errors("pool", "f:1: missing \"{\" after \"pool\"; write pool \"NAME\" { … }\n");
    expect_errors("pool \"x\"", "f:1: missing \"{\" after \"pool\"; write pool \"NAME\" { … }\n");
}
END_TEST

START_TEST(unclosed_comment)
{
    expect_errors("pool \"a\" {\n  /* never\n closed\n}\nx y z",
                  "f:2: pool \"a\": the comment that begins here is never closed; */ is missing\n");
    expect_errors("pool \"a\" { retries = 1 /* * ",
                  "f:1: pool \"a\": the comment that begins here is "
                  "never closed; */ is missing\n");
    expect_errors(
        "service \"a\" { listen = { /*",
        "f:1: service \"a\": the comment that begins here is never closed; */ is missing\n");
}
END_TEST

#define UNCLOSED                                                                                   \
    "missing closing \"; a string ends on its line, a line break in it is written \\n\n"

START_TEST(unclosed_quotes)
{
    expect_errors("pool \"a\" {\n scheduler = \"rr\n retries = 3\n}\n",
                  "f:2: pool \"a\": " UNCLOSED);
    expect_errors(
        "pool \"a\" { scheduler = 'rr",
        "f:1: pool \"a\": missing closing '; a string ends on its line, a line break in it "
        "is written \\n\n");
    /* Braces that such a string swallows still count. */
    expect_errors("pool \"a\" { backend \"b\" { address = \"x } }\npool \"c\" { bad = 1 }\n",
                  "f:1: pool \"a\" / backend \"b\": " UNCLOSED
                  "f:2: pool \"c\": unknown option \"bad\"; known here: scheduler, retries, "
                  "connect_timeout\n");
    expect_errors("pool \"a {\n retries = 1\n}\npool \"c\" { bad = 1 }\n",
                  "f:1: " UNCLOSED
                  "f:4: pool \"c\": unknown option \"bad\"; known here: scheduler, retries, "
                  "connect_timeout\n");
    expect_errors("service \"s\" {\n listen = { \"a, \"b\" }\n pool = \"x\"\n}\n",
                  "f:2: service \"s\": missing \",\" in the list of \"listen\"\n");
    expect_errors("service \"s\" {\n listen = { \"a\", \"b }\n pool = \"x\"\n}\n",
                  "f:2: service \"s\": " UNCLOSED);
    expect_errors("pool \"a\" { scheduler = rr\" }\n",
                  "f:1: pool \"a\": a quote in the middle of an unquoted word; is the opening one "
                  "missing?\n");
    expect_errors("pool \xe2\x80\x9c"
                  "a\xe2\x80\x9d { }",
                  "f:1: typographic quotes; write \" instead\n"
                  "f:1: the name \"\xe2\x80\x9c"
                  "a\xe2\x80\x9d\" is not allowed; a name is made of "
                  "letters, digits and _ . @ : -\n");
}
END_TEST

START_TEST(braces)
{
    expect_errors("pool \"a\" { }\n}\n",
                  "f:2: \"}\" closes nothing; is a \"{\" missing before it?\n");
    expect_errors("}", "f:1: \"}\" closes nothing; is a \"{\" missing before it?\n");
    expect_errors("{\n retries = 1\n}\nbool = 1",
                  "f:1: \"{\" without a section's name before it\n"
                  "f:4: unknown option \"bool\"; did you mean \"pool\"?\n");
}
END_TEST

START_TEST(missing_brace_is_seen_where_it_is_missing)
{
    expect_errors(
        "pool \"a\" {\n"
        "    check \"http\" { path = \"/x\"\n"
        "    backend \"b\" { address = \"x\" }\n"
        "    retries = 1\n"
        "}\n"
        "pool \"c\" { }\n",
        "f:3: pool \"a\" / check \"http\": a section \"backend\" cannot stand in \"check\"; "
        "is a \"}\" missing before it? (\"check\" begins in line 2)\n");
    expect_errors(
        "pool \"a\" {\n"
        "    backend \"b\" {\n"
        "        check \"http\" { path = \"/x\"\n"
        "pool \"c\" { retrys = 1 }\n",
        "f:4: pool \"a\" / backend \"b\" / check \"http\": a section \"pool\" cannot stand "
        "in \"check\"; is a \"}\" missing before it? (\"check\" begins in line 3)\n"
        "f:4: pool \"c\": unknown option \"retrys\"; did you mean \"retries\"?\n");
    /* And when it was no missing brace after all, that is one message too. */
    expect_errors("service \"a\" {\n"
                  "    pool \"c\" { }\n"
                  "}\n"
                  "pool \"d\" { }\n",
                  "f:2: service \"a\": a section \"pool\" cannot stand in \"service\"; is a \"}\" "
                  "missing before it? (\"service\" begins in line 1)\n");
}
END_TEST

START_TEST(signs)
{
    expect_errors("pool \"a\" {\n retries 3\n scheduler \"rr\"\n}\n",
                  "f:2: pool \"a\": missing \"=\" after \"retries\"\n"
                  "f:3: pool \"a\": missing \"=\" after \"scheduler\"\n");
    expect_errors("pool \"a\" {\n retries =\n scheduler = \"rr\"\n}\n",
                  "f:2: pool \"a\": missing value after \"retries =\"\n");
    expect_errors("pool \"a\" {\n retries =\n backend \"b\" { }\n}\n",
                  "f:2: pool \"a\": missing value after \"retries =\"\n");
    expect_errors("pool \"a\" { retries = }\npool \"b\" { retries = = 3 }\n",
                  "f:1: pool \"a\": missing value after \"retries =\"\n"
                  "f:2: pool \"b\": missing value after \"retries =\"\n");
    expect_errors("pool \"a\" { retries = 3; scheduler = rr; }\n",
                  "f:1: pool \"a\": \";\" is not used; a statement ends by itself\n");
    expect_errors(
        "pool \"a\" {\n retries = 3, scheduler = rr\n}\n",
        "f:2: pool \"a\": \",\" between statements; it belongs only between the values of a "
        "list: { …, … }\n");
    expect_errors("pool \"a\" {\n connect_timeout = 5 s\n}\n",
                  "f:2: pool \"a\": unexpected \"s\" after the value of \"connect_timeout\"; put a "
                  "value with spaces in quotes\n");
    expect_errors("pool \"a\" {\n scheduler = a*b\n retries = a+b\n}\n",
                  "f:2: pool \"a\": unexpected \"*\"; put a value that holds it in quotes\n"
                  "f:3: pool \"a\": unexpected \"+\"; put a value that holds it in quotes\n");
    expect_errors("pool \"a\" {\n \"retries\" = 3\n}\n",
                  "f:2: pool \"a\": names are written without quotes: retries\n");
    expect_errors(
        "pool \"a\" {\n \"stray\"\n}\n",
        "f:2: pool \"a\": unexpected \"stray\"; an option (NAME = VALUE) or a section (NAME "
        "{ … }) can stand here\n");
    expect_errors("check(\"x\")\n",
                  "f:1: \"check(\": only include(\"FILE\") is written like this\n");
    expect_errors("pool \"a\" { retries = ${X }\n",
                  "f:1: pool \"a\": a \"${\" without \"}\"; put the value in double quotes\n"
                  "f:1: pool \"a\": retries: a \"${\" without \"}\"; $${ is a \"${\" that means "
                  "itself\n");
}
END_TEST

START_TEST(lists)
{
    expect_errors(
        "service \"a\" {\n listen = { \"x\" \"y\" }\n allow += { \"z\" }\n}\n",
        "f:2: service \"a\": missing \",\" in the list of \"listen\"\n"
        "f:3: service \"a\": \"+=\" is not used here; write one list: allow = { …, … }\n");
    expect_errors("service \"a\" {\n listen = { , }\n allow = { a,, b }\n}\n",
                  "f:2: service \"a\": a \",\" too many in the list of \"listen\"\n"
                  "f:3: service \"a\": a \",\" too many in the list of \"allow\"\n");
    expect_errors("service \"a\" {\n listen = { \"x\", \n pool = \"p\"\n}\n",
                  "f:2: service \"a\": the list of \"listen\" is not closed; a \"}\" is missing\n");
    expect_errors("service \"a\" {\n listen = { \"x\"\n pool \"p\"\n}\n",
                  "f:2: service \"a\": the list of \"listen\" is not closed; a \"}\" is missing\n"
                  "f:3: service \"a\": missing \"=\" after \"pool\"\n");
    expect_errors("service \"a\" {\n listen = { \"x\", { \"y\" }, = }\n}\n",
                  "f:2: service \"a\": a list cannot stand in the list of \"listen\"\n");
    expect_errors("service \"a\" {\n listen = a, b, c\n pool = { x }\n}\n",
                  "f:2: service \"a\": several values need braces around them: listen = { …, … }\n"
                  "f:3: service \"a\": \"pool\" takes one value, no list\n");
    expect_errors("service \"a\" {\n listen { a }\n}\n",
                  "f:2: service \"a\": missing \"=\" after \"listen\"\n");
}
END_TEST

START_TEST(unknown_names)
{
    expect_errors("pool \"web\" {\n schedular = \"rr\"\n Retries = 3\n zzz = 1\n}\n",
                  "f:2: pool \"web\": unknown option \"schedular\"; did you mean \"scheduler\"?\n"
                  "f:3: pool \"web\": unknown option \"Retries\"; did you mean \"retries\"?\n"
                  "f:4: pool \"web\": unknown option \"zzz\"; known here: scheduler, retries, "
                  "connect_timeout\n");
    expect_errors(
        "workers = 4\n"
        "pool \"web\" {\n"
        "    interval = 2s\n"
        "    max_connections = 1\n"
        "    backend \"a\" { check \"tcp\" { weight = 2 } }\n"
        "    route \"x\" { }\n"
        "}\n",
        "f:1: unknown option \"workers\"; it belongs in global\n"
        "f:3: pool \"web\": unknown option \"interval\"; it belongs in pool / check\n"
        "f:4: pool \"web\": unknown option \"max_connections\"; it belongs in global or in "
        "pool / backend\n"
        "f:5: pool \"web\" / backend \"a\" / check \"tcp\": unknown option \"weight\"; it "
        "belongs in pool / backend\n"
        "f:6: pool \"web\": unknown section \"route\"; it belongs in service\n");
    expect_errors("frontend web\n", "f:1: unknown option \"frontend\"; only sections stand here: "
                                    "global, service, pool\n");
    /* What is in a section whose name is nearly right is looked at too; in others only structure.
     */
    expect_errors("pol \"x\" {\n bakend \"y\" {\n wieght = 1\n }\n}\n"
                  "nonsense {\n anything = \"goes\"\n { } }\n",
                  "f:1: unknown section \"pol\"; did you mean \"pool\"?\n"
                  "f:2: pool \"x\": unknown section \"bakend\"; did you mean \"backend\"?\n"
                  "f:3: pool \"x\" / backend \"y\": unknown option \"wieght\"; did you mean "
                  "\"weight\"?\n"
                  "f:6: unknown section \"nonsense\"; known here: global, service, pool\n"
                  "f:8: unknown section \"nonsense\": \"{\" without a section's name before it\n");
    expect_errors(
        "global {\n backend \"x\" { }\n check { }\n}\nbackend \"x\" { }\n",
        "f:2: global: unknown section \"backend\"; it belongs in pool\n"
        "f:3: global: unknown section \"check\"; it belongs in pool or in pool / backend\n"
        "f:5: unknown section \"backend\"; it belongs in pool\n");
    expect_errors(
        "global {\n \xff\x01 = 1\n}\n",
        "f:2: global: unknown option \"\\xff\"; known here: workers, max_connections, log, "
        "status_allow\n"
        "f:2: global: unexpected \"\\x01\"; put a value that holds it in quotes\n");
}
END_TEST

START_TEST(option_or_section)
{
    expect_errors("pool = \"web\"\n"
                  "pool \"web\" {\n"
                  "    retries { }\n"
                  "    check = { interval = 1s }\n"
                  "    check = \"tcp\" { interval = 1s }\n"
                  "    reuse = { mode = off }\n"
                  "    include \"x\"\n"
                  "    include = x\n"
                  "}\n",
                  "f:1: \"pool\" is a section here, no option; write pool \"NAME\" { … }\n"
                  "f:3: pool \"web\": missing \"=\" after \"retries\"\n"
                  "f:4: pool \"web\": \"check\" is a section; there is no \"=\" before its \"{\"\n"
                  "f:4: pool \"web\": a section \"check\" needs a name: check \"NAME\" { … }\n"
                  "f:5: pool \"web\": \"check\" is a section; there is no \"=\" before its name\n"
                  "f:6: pool \"web\": \"reuse\" is a section; there is no \"=\" before its \"{\"\n"
                  "f:7: pool \"web\": a file is included by include(\"FILE\")\n"
                  "f:8: pool \"web\": a file is included by include(\"FILE\")\n");
    expect_errors(
        "pool \"web\" {\n retries \"x\" { mode = 1 }\n}\n",
        "f:2: pool \"web\": \"retries\" is an option here, no section; write retries = …\n");
}
END_TEST

START_TEST(duplicates)
{
    expect_errors(
        "service \"a\" {\n"
        "    pool = x\n"
        "    pool = y\n"
        "    listen = { a }\n"
        "    listen = { b }\n"
        "}\n"
        "service \"a\" { }\n"
        "global { }\n"
        "global { }\n"
        "pool \"a\" {\n"
        "    backend \"x\" { }\n"
        "    backend \"x\" { }\n"
        "    check \"tcp\" { }\n"
        "    check \"tcp\" { }\n"
        "    reuse { }\n"
        "    reuse { }\n"
        "}\n"
        "pool \"b\" { backend \"x\" { } }\n",
        "f:3: service \"a\": \"pool\" is given twice; first at f:2\n"
        "f:5: service \"a\": \"listen\" is given twice; first at f:4. Write one list: { …, "
        "… }\n"
        "f:7: service \"a\" is given twice; first at f:1\n"
        "f:9: global is given twice; first at f:8\n"
        "f:12: pool \"a\": backend \"x\" is given twice; first at f:11\n"
        "f:14: pool \"a\": check \"tcp\" is given twice; first at f:13\n"
        "f:16: pool \"a\": reuse is given twice; first at f:15\n");
}
END_TEST

START_TEST(titles)
{
    char text[512];
    char name[NAME_BYTES_MAX + 1];

    expect_errors(
        "pool { }\nglobal \"x\" { }\npool \"\" { }\npool \"json\" { }\npool '*' { }\n"
        "pool \"a b\" { }\npool \"${X}\" { }\npool \"w\" { check \"a\\tb\" { } }\n",
        "f:1: a section \"pool\" needs a name: pool \"NAME\" { … }\n"
        "f:2: a section \"global\" takes no name: global { … }\n"
        "f:3: the name \"\" is empty\n"
        "f:4: the name \"json\" is reserved; choose another\n"
        "f:5: the name \"*\" is reserved; choose another\n"
        "f:6: the name \"a b\" is not allowed; a name is made of letters, digits and _ . @ "
        ": -\n"
        "f:7: the name \"${X}\" holds ${; names are not expanded\n"
        "f:8: pool \"w\": the name \"a\\x09b\" holds control characters\n");
    memset(name, 'n', sizeof name);
    name[NAME_BYTES_MAX] = '\0';
    snprintf(text, sizeof text, "pool \"%s\" { }", name + 1);
    conf_tree_free(read_good(text));
    ck_assert(conf_name_valid(name + 1));
    ck_assert(!conf_name_valid(name));
    ck_assert(conf_name_valid("a_B.9@x:-"));
    ck_assert(!conf_name_valid("a/b"));
    ck_assert(!conf_name_valid(""));
    ck_assert(!conf_name_valid("json"));
    ck_assert(!conf_name_valid("*"));
}
END_TEST

START_TEST(encodings)
{
    static const char bom[] = "\xef\xbb\xbfpool \"a\" { bad = 1 }\n";
    static const char nul[] = "pool \"a\" {\n retries = \0 1\n}\n";
    static const char utf16[] = "\xff\xfep\0o\0";

    conf_tree_free(
        read_expecting(bom, sizeof bom - 1,
                       "f:1: the file begins with a byte-order mark; save it as UTF-8 without one\n"
                       "f:1: pool \"a\": unknown option \"bad\"; known here: scheduler, retries, "
                       "connect_timeout\n"));
    conf_tree_free(read_expecting(nul, sizeof nul - 1,
                                  "f:2: the file holds a NUL byte; is it a text file?\n"));
    conf_tree_free(
        read_expecting(utf16, sizeof utf16 - 1,
                       "f:1: the file is UTF-16; save it as UTF-8 without a byte-order mark\n"));
    expect_errors("pool \"a\" {\n scheduler = \"\xe9t\xe9\"\n retries = \"\xff\"\n}\n# \xe9\n",
                  "f:2: pool \"a\": scheduler: a value that is not UTF-8; save the file in that "
                  "encoding\n"
                  "f:3: pool \"a\": retries: a value that is not UTF-8; save the file in that "
                  "encoding\n");
    expect_errors("pool \"a\" { scheduler = \"a\x01\" }\n",
                  "f:1: pool \"a\": scheduler: control character 0x01; write it as \\x01 in double "
                  "quotes\n");
    conf_tree_free(read_good("pool \"a\" {\r\n scheduler = \"x\"\r\n retries = 3\r\n}\r\n"));
    expect_errors("pool \"a\" {\r\n bad = 1\r\n}\r\n",
                  "f:2: pool \"a\": unknown option \"bad\"; known here: scheduler, retries, "
                  "connect_timeout\n");
}
END_TEST

START_TEST(many_faults_in_one_file_in_its_order)
{
    expect_errors(
        "global {\n"
        "    wrokers = 3\n"
        "    log = \"${SLUICE_TEST_UNSET}\"\n"
        "}\n"
        "service \"web\" {\n"
        "    listen = { \"a\" \"b\" }\n"
        "    pool \"web\"\n"
        "}\n"
        "pool \"web\" {\n"
        "    backend \"a\" { weight = 1 weight = 2 }\n"
        "    backend \"a\" { }\n"
        "    scheduler = \"\\18\"\n"
        "}\n",
        "f:2: global: unknown option \"wrokers\"; did you mean \"workers\"?\n"
        "f:3: global: log: the environment variable SLUICE_TEST_UNSET is not set; set it, "
        "or write ${SLUICE_TEST_UNSET:-default}\n"
        "f:6: service \"web\": missing \",\" in the list of \"listen\"\n"
        "f:7: service \"web\": missing \"=\" after \"pool\"\n"
        "f:10: pool \"web\" / backend \"a\": \"weight\" is given twice; first at f:10\n"
        "f:11: pool \"web\": backend \"a\" is given twice; first at f:10\n"
        "f:12: pool \"web\": scheduler: bad escape \"\\18\"; an octal one is \\0 to "
        "\\377\n");
}
END_TEST

START_TEST(deep_nesting)
{
    STR_AUTO text = {0};
    struct errlist errors = {0};

    for (int i = 0; i < 100000; i++)
        str_append(&text, "a {\n");
    ck_assert_ptr_null(conf_read_text("f", str_text(&text), text.len, &root_schema, &errors));
    ck_assert_uint_eq(errors.errors, 2);
    ck_assert_str_eq(errors.items[1].text, "sections are nested more than 32 deep");
    ck_assert_int_eq(errors.items[1].line, CONF_DEPTH_MAX + 1);
    errlist_free(&errors);
}
END_TEST

START_TEST(too_many_sections)
{
    STR_AUTO text = {0};
    struct errlist errors = {0};

    str_append(&text, "pool \"p\" {\n");
    for (int i = 0; i <= CONF_SUBSECTIONS_MAX; i++)
        str_printf(&text, "backend b%d {}\n", i);
    ck_assert_ptr_null(conf_read_text("f", str_text(&text), text.len, &root_schema, &errors));
    ck_assert_str_eq(errors.items[0].text, "more than 16384 sections in one place");
    errlist_free(&errors);
}
END_TEST

START_TEST(more_faults_than_are_kept)
{
    STR_AUTO text = {0};
    struct errlist errors = {0};

    for (int i = 0; i < 5000; i++)
        str_append(&text, "}\n");
    ck_assert_ptr_null(conf_read_text("f", str_text(&text), text.len, &root_schema, &errors));
    ck_assert_uint_eq(errors.errors, 5000);
    ck_assert_uint_eq(errors.count, ERRLIST_MAX);
    errlist_free(&errors);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        nothing_is_fine,
        places_and_shapes,
        truncated_files,
        unclosed_comment,
        unclosed_quotes,
        braces,
        missing_brace_is_seen_where_it_is_missing,
        signs,
        lists,
        unknown_names,
        option_or_section,
        duplicates,
        titles,
        encodings,
        many_faults_in_one_file_in_its_order,
        deep_nesting,
        too_many_sections,
        more_faults_than_are_kept,
    };

    return RUN_SUITE("conf/scan", tests, false);
}
