/*
 * Addresses to connect to backends from: what the list says, what is wrong with it, what workers
 * get of it, and the numbers of the pairs.
 */
#include "test_model_fixture.h"

#include "model/pairs.h"
#include "model/sources.h"

#define OF_POOL "f:2: pool \"web\": source_addresses: "
#define FORMS                                                                                      \
    "write an address such as 10.0.0.1, a range such as 10.0.0.16-10.0.0.31, or 10.1.0.0/28\n"
#define BACKENDS "backend \"a\" { address = \"10.9.0.1:80\" }"

static char *with_list(const char *list, const char *backends)
{
    STR_AUTO text = {0};

    str_printf(&text, SERVICE "pool \"web\" { source_addresses = %s %s }\n", list, backends);
    return strdup(str_text(&text));
}

static void expect_list(const char *list, const char *expected)
{
    char *text = with_list(list, BACKENDS);
    struct model *model = read_good(text);
    struct source_list sources;
    STR_AUTO shown = {0};

    sources_of(&model->pools[0], &sources);
    for (size_t i = 0; i < sources.n; i++) {
        char address[ADDR_TEXT_MAX];

        str_printf(&shown, "%s%s", i == 0 ? "" : " ",
                   addr_ip_format(&sources.items[i], false, address));
    }
    ck_assert_str_eq(str_text(&shown), expected);
    model_free(model);
    free(text);
}

START_TEST(lists)
{
    expect_list("{ }", "");
    expect_list("{ \"10.0.0.1\" }", "10.0.0.1");
    expect_list("{ \"10.0.0.254-10.0.1.1\" }", "10.0.0.254 10.0.0.255 10.0.1.0 10.0.1.1");
    expect_list("{ \"10.0.0.7-10.0.0.7\" }", "10.0.0.7");
    expect_list("{ \"10.1.0.0/30\", \"10.0.0.1\" }",
                "10.1.0.0 10.1.0.1 10.1.0.2 10.1.0.3 10.0.0.1");
    expect_list("{ \"10.1.0.9/32\" }", "10.1.0.9");
    expect_list("{ \"10.0.0.1\", \"fd00::fffe-fd00::1:1\" }",
                "10.0.0.1 fd00::fffe fd00::ffff fd00::1:0 fd00::1:1");
    expect_list("{ \"10.0.0.1\", \"fd00::8/127\" }", "10.0.0.1 fd00::8 fd00::9");
}
END_TEST

static const struct {
    const char *item, *problem;
} wrong[] = {
    {"10.0.0", "\"10.0.0\": not an address; " FORMS},
    {"10.0.0.1:80", "\"10.0.0.1:80\": not an address; " FORMS},
    {"host", "\"host\": not an address; " FORMS},
    {"10.0.0.1-", "\"10.0.0.1-\": not a range of addresses; " FORMS},
    {"10.0.0.1-9", "\"10.0.0.1-9\": not a range of addresses; " FORMS},
    {"10.0.0.1 - 10.0.0.2", "\"10.0.0.1 - 10.0.0.2\": not a range of addresses; " FORMS},
    {"10.0.0.9-10.0.0.1",
     "\"10.0.0.9-10.0.0.1\": the range ends before it begins; write 10.0.0.1-10.0.0.9\n"},
    {"10.0.0.1-fd00::1", "\"10.0.0.1-fd00::1\": from an IPv4 to an IPv6 address or the other way "
                         "round; write a range for each\n"},
    {"10.0.0.0/8", "\"10.0.0.0/8\": more addresses than the 1024 that a pool may have together; "
                   "write fewer, each has all ports for every backend\n"},
    {"fd00::-fdff::", "\"fd00::-fdff::\": more addresses than the 1024 that a pool may have "
                      "together; write fewer, each has all ports for every backend\n"},
    {"10.0.0.1/33", "\"10.0.0.1/33\": not a prefix length after the slash; 0 to 32 for IPv4\n"},
    {"0.0.0.0", "\"0.0.0.0\": stands for any address; leave it out to let the kernel choose\n"},
    {"::", "\"::\": stands for any address; leave it out to let the kernel choose\n"},
    {"224.0.0.1", "\"224.0.0.1\": no address of one machine; write one that this machine has\n"},
    {"223.255.255.255-224.0.0.0", "\"223.255.255.255-224.0.0.0\": no address of one machine; "
                                  "write one that this machine has\n"},
    {"ff02::1", "\"ff02::1\": no address of one machine; write one that this machine has\n"},
    {"::ffff:10.0.0.1", "\"::ffff:10.0.0.1\": an IPv4 address in an IPv6 one; write it as IPv4, "
                        "such as 10.0.0.1\n"},
};

START_TEST(each_fault_is_told)
{
    STR_AUTO list = {0};
    STR_AUTO expected = {0};

    str_printf(&list, "{ \"%s\" }", wrong[_i].item);
    str_printf(&expected, OF_POOL "%s", wrong[_i].problem);
    char *text = with_list(str_text(&list), BACKENDS);
    expect_messages(text, str_text(&expected));
    free(text);
}
END_TEST

START_TEST(what_is_there_twice)
{
    char *text = with_list("{ \"10.0.0.1-10.0.0.5\",\n\"10.0.0.9\", \"10.0.0.4/31\" }", BACKENDS);

    expect_messages(text,
                    "f:3: pool \"web\": source_addresses: \"10.0.0.4/31\": 10.0.0.4 is in the "
                    "list before; write each address once\n");
    free(text);
}
END_TEST

START_TEST(a_network_with_a_hosts_address)
{
    char *text = with_list("{ \"10.0.1.3/24\", \"fd00::1/120\", \"10.0.0.1/32\" }", BACKENDS);

    model_free(read_expecting(
        text, "f:2: pool \"web\": warning: source_addresses: \"10.0.1.3/24\": stands for all of "
              "10.0.1.0/24; write that, or 10.0.1.3 alone\n"
              "f:2: pool \"web\": warning: source_addresses: \"fd00::1/120\": stands for all of "
              "fd00::/120; write that, or fd00::1 alone\n"));
    free(text);
}
END_TEST

START_TEST(exactly_as_many_as_may_be)
{
    struct source_list list = {.n = 0};
    STR_AUTO problem = {0};

    ck_assert_int_eq(sources_add(&list, "10.0.0.0/22", &problem), 0);
    ck_assert_uint_eq(list.n, SOURCES_MAX);
    ck_assert_int_eq(sources_add(&list, "10.1.0.0", &problem), -EINVAL);
    ck_assert_uint_eq(list.n, SOURCES_MAX);
}
END_TEST

START_TEST(a_family_that_is_not_there)
{
    char *text = with_list("{ \"10.0.0.1\" }", "backend \"a\" { address = \"10.9.0.1:80\" }\n"
                                               "backend \"u\" { address = \"unix:/u\" }\n"
                                               "backend \"b\" { address = \"[fd00::1]:80\" }\n"
                                               "backend \"c\" { address = \"[fd00::2]:80\" }");

    model_free(read_expecting(
        text,
        "f:2: pool \"web\": warning: source_addresses: no IPv6 address, and backend \"b\" has "
        "one: the kernel chooses where connections to it come from; add one\n"));
    free(text);
}
END_TEST

START_TEST(one_that_does_not_leave_the_machine)
{
    char *text = with_list("{ \"10.0.0.1\", \"127.0.0.5\", \"127.0.0.6\" }",
                           "backend \"a\" { address = \"127.0.0.1:80\" }\n"
                           "backend \"b\" { address = \"10.9.0.1:80\" }\n"
                           "backend \"c\" { address = \"10.9.0.2:80\" }");

    model_free(read_expecting(
        text, "f:2: pool \"web\": warning: source_addresses: 127.0.0.5 reaches this machine only, "
              "and backend \"b\" is at 10.9.0.1: leave it out, unless that is here, too\n"));
    free(text);
}
END_TEST

/* --- snapshots and numbers --- */

#define MIXED                                                                                      \
    "backend \"a\" { address = \"10.9.0.1:80\" }\nbackend \"u\" { address = \"unix:/u\" }\n"       \
    "backend \"b\" { address = \"[fd00::1]:80\" }\nbackend \"c\" { address = \"10.9.0.2:80\" }"

static struct snapshot_header *build(const char *list, const char *backends)
{
    char *text = with_list(list, backends);
    STR_AUTO warnings = {0};
    struct model *model = read_model(text, &warnings);
    size_t size = 0;

    ck_assert_ptr_nonnull(model);
    for (uint32_t i = 0; i < model->pools[0].n_backends; i++) {
        model->pools[0].backends[i].slot = i;
        model->pools[0].backends[i].row = i;
    }
    struct snapshot_header *snapshot = make_snapshot(model, 1, 2, NULL, &size);
    ck_assert_ptr_nonnull(snapshot);
    ck_assert_int_eq(snapshot_check(snapshot, size), 0);
    model_free(model);
    free(text);
    return snapshot;
}

/* Of all backends: "10.0.0.1=1,10.0.0.2=2 -=3 …". */
static void expect_pairs(const struct snapshot_header *snapshot, const char *expected)
{
    STR_AUTO shown = {0};

    for (uint32_t i = 0; i < snapshot->n_backends; i++) {
        const struct snapshot_backend *backend = &snapshot_backends(snapshot)[i];

        str_printf(&shown, "%s%s:", i == 0 ? "" : " ", backend->name);
        for (uint32_t j = 0; j < backend->n_sources; j++) {
            const struct snapshot_source *source =
                &snapshot_sources(snapshot)[backend->first_source + j];
            char address[ADDR_TEXT_MAX];

            str_printf(&shown, "%s%s=%u", j == 0 ? "" : ",",
                       addr_ip_format(&source->ip, false, address), source->pair);
        }
    }
    ck_assert_str_eq(str_text(&shown), expected);
}

static struct scoreboard sb;
static struct pairs *pairs;

static void setup(void)
{
    ck_assert_int_eq(scoreboard_create(&sb, 1, 1, 1), 0);
    pairs = pairs_create(&sb);
    ck_assert_ptr_nonnull(pairs);
}

static void teardown(void)
{
    pairs_destroy(pairs);
    scoreboard_destroy(&sb);
}

static void expect_numbered(const char *list, const char *backends, const char *expected)
{
    struct snapshot_header *snapshot = build(list, backends);

    ck_assert_int_eq(pairs_number(pairs, snapshot), 0);
    expect_pairs(snapshot, expected);
    free(snapshot);
}

START_TEST(pairs_are_numbered)
{
    expect_numbered("{ \"10.0.0.1-10.0.0.2\" }", MIXED,
                    "a:10.0.0.1=1,10.0.0.2=2 u: b:-=3 c:10.0.0.1=4,10.0.0.2=5");
    ck_assert_uint_eq(sb.header->pairs_end, 6);
    /* The same again, in another order. */
    expect_numbered("{ \"10.0.0.2\", \"10.0.0.1\" }", MIXED,
                    "a:10.0.0.2=2,10.0.0.1=1 u: b:-=3 c:10.0.0.2=5,10.0.0.1=4");
}
END_TEST

START_TEST(numbers_come_back_when_nobody_uses_them)
{
    expect_numbered("{ \"10.0.0.1-10.0.0.3\" }", BACKENDS, "a:10.0.0.1=1,10.0.0.2=2,10.0.0.3=3");
    sb.pairs[1].used = 7;
    sb.pairs[2].failures = 5;
    sb.pairs[2].trouble = SB_PAIR_ABSENT;
    sb.pairs[2].in_a_row = 6;
    expect_numbered("{ \"10.0.0.3\", \"10.0.0.8\" }", BACKENDS, "a:10.0.0.3=3,10.0.0.8=2");
    ck_assert_uint_eq(sb.pairs[2].failures, 0);
    ck_assert_uint_eq(sb.pairs[2].trouble, SB_PAIR_FINE);
    ck_assert_uint_eq(sb.pairs[2].in_a_row, 0);
    expect_numbered("{ \"10.0.0.9\", \"10.0.0.1\" }", BACKENDS, "a:10.0.0.9=2,10.0.0.1=1");
    sb.pairs[1].used = 0;
    expect_numbered("{ }", BACKENDS, "a:-=1");
    expect_numbered("{ \"10.0.0.9\" }", BACKENDS, "a:10.0.0.9=1");
}
END_TEST

/* The kernel counts by addresses, whatever pools they belong to. */
START_TEST(two_backends_of_one_address_share)
{
    struct snapshot_header *snapshot =
        build("{ \"10.0.0.1\" }", "backend \"a\" { address = \"10.9.0.1:80\" }\n"
                                  "backend \"b\" { address = \"10.9.0.1:80\" }\n"
                                  "backend \"c\" { address = \"10.9.0.1:81\" }");

    ck_assert_int_eq(pairs_number(pairs, snapshot), 0);
    expect_pairs(snapshot, "a:10.0.0.1=1 b:10.0.0.1=1 c:10.0.0.1=2");
    free(snapshot);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("model sources");
    TCase *lists_case = tcase_create("lists"), *pairs_case = tcase_create("pairs");

    tcase_add_test(lists_case, lists);
    tcase_add_loop_test(lists_case, each_fault_is_told, 0, sizeof(wrong) / sizeof(wrong[0]));
    tcase_add_test(lists_case, what_is_there_twice);
    tcase_add_test(lists_case, a_network_with_a_hosts_address);
    tcase_add_test(lists_case, exactly_as_many_as_may_be);
    tcase_add_test(lists_case, a_family_that_is_not_there);
    tcase_add_test(lists_case, one_that_does_not_leave_the_machine);
    tcase_add_checked_fixture(pairs_case, setup, teardown);
    tcase_add_test(pairs_case, pairs_are_numbered);
    tcase_add_test(pairs_case, numbers_come_back_when_nobody_uses_them);
    tcase_add_test(pairs_case, two_backends_of_one_address_share);
    suite_add_tcase(suite, lists_case);
    suite_add_tcase(suite, pairs_case);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
