/* What does not go with transparent pools, and what does. */
#include "test_model_fixture.h"

#define BACKEND "backend \"a\" { address = \"10.0.0.1:80\" }\n"
#define END     "; write HOST:PORT, or transparent = false in the pool\n"

/* Options of the service, of the pool, its backend, and what is said. */
static const struct {
    const char *listen, *of_pool, *backend, *message;
} cases[] = {
    {"127.0.0.1:80", "transparent = true", BACKEND, ""},
    {"127.0.0.1:80", "transparent = true send_proxy = \"v2\"\nreuse { mode = off }", BACKEND, ""},
    {"127.0.0.1:80", "transparent = true source_addresses = { }", BACKEND, ""},
    {"127.0.0.1:80",
     "transparent = false source_addresses = { \"10.1.0.1\" }\n"
     "reuse { mode = warm }",
     BACKEND, ""},
    {"127.0.0.1:80", "transparent = true source_addresses = { \"10.1.0.1\" }", BACKEND,
     "f:2: pool \"web\": source_addresses: the pool is transparent, so it connects from clients' "
     "addresses; leave source_addresses out, or write transparent = false\n"},
    {"127.0.0.1:80", "transparent = true reuse { mode = warm }", BACKEND,
     "f:2: pool \"web\" / reuse: mode: the pool is transparent: a connection from one client's "
     "address is no other client's; write mode = \"off\", or transparent = false in the pool\n"},
    {"127.0.0.1:80", "transparent = true reuse { mode = request framing = http1 }", BACKEND,
     "f:2: pool \"web\" / reuse: mode: the pool is transparent: a connection from one client's "
     "address is no other client's; write mode = \"off\", or transparent = false in the pool\n"},
    {"127.0.0.1:80", "transparent = true", "backend \"a\" { address = \"unix:/a\" }\n",
     "f:3: pool \"web\" / backend \"a\": address: \"unix:/a\": the pool is transparent, and "
     "nothing "
     "is connected to a Unix socket from an address" END},
    {"unix:/s", "transparent = false", BACKEND, ""},
    {"unix:/s", "transparent = true", BACKEND,
     "f:1: service \"web\": listen: \"unix:/s\": clients of a Unix socket have no address that "
     "pool "
     "\"web\", which is transparent, could connect from; let a service with another pool listen "
     "there, or write transparent = false in the pool\n"},
};

static void write_case(size_t i, struct str *out)
{
    str_printf(out,
               "service \"web\" { listen = { \"%s\" } pool = \"web\" }\n"
               "pool \"web\" { %s\n%s}\n",
               cases[i].listen, cases[i].of_pool, cases[i].backend);
}

START_TEST(what_goes_with_it)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        STR_AUTO text = {0};
        STR_AUTO messages = {0};

        write_case(i, &text);
        struct model *model = read_model(str_text(&text), &messages);
        ck_assert_str_eq(str_text(&messages), cases[i].message);
        ck_assert((model != NULL) == (cases[i].message[0] == '\0'));
        model_free(model);
    }
}
END_TEST

/* By a fallback pool as by the first one. */
START_TEST(unix_clients_of_a_fallback_pool)
{
    STR_AUTO messages = {0};

    ck_assert_ptr_null(read_model("service \"web\" { listen = { \"unix:/s\" } pool = \"web\"\n"
                                  "fallback_pool = \"far\" }\npool \"web\" { " BACKEND "}\n"
                                  "pool \"far\" { transparent = true\n" BACKEND "}\n",
                                  &messages));
    ck_assert_ptr_nonnull(strstr(str_text(&messages), "no address that pool \"far\","));
}
END_TEST

/* Each client has its ports: there is nothing that could be counted. */
START_TEST(sources_are_not_counted)
{
    for (uint32_t transparent = 0; transparent < 2; transparent++) {
        STR_AUTO text = {0};
        size_t bytes;

        write_case(transparent ? 0 : 8, &text);
        struct model *model = read_good(str_text(&text));
        struct snapshot_header *made = make_snapshot(model, 1, 0, NULL, &bytes);
        ck_assert_ptr_nonnull(made);
        ck_assert_uint_eq(snapshot_pools(made)->transparent, transparent);
        ck_assert_uint_eq(snapshot_backends(made)->n_sources, 1 - transparent);
        free(made);
        model_free(model);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("model_transparent");
    TCase *tcase = tcase_create("all");
    SRunner *runner = srunner_create(suite);
    int failed;

    tcase_add_test(tcase, what_goes_with_it);
    tcase_add_test(tcase, unix_clients_of_a_fallback_pool);
    tcase_add_test(tcase, sources_are_not_counted);
    suite_add_tcase(suite, tcase);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
