/* Hosts and resolv.conf: what is taken of their texts, that they are read again, and when a name is
 * looked up again. */
#include "dns/files.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dns/watch.h"

static void check_ip(const struct addr_ip *ip, const char *expected)
{
    char text[ADDR_TEXT_MAX];
    ck_assert_str_eq(addr_ip_format(ip, ip->port != 0, text), expected);
}

/* --- resolv.conf --- */

START_TEST(resolv_says_whom_to_ask)
{
    struct dns_resolv resolv;
    dns_resolv_parse("# a comment\n"
                     "; another\n"
                     "nameserver 10.0.0.53\r\n"
                     "  nameserver\t2001:db8::53  more\n"
                     "nameserver not.an.address\n"
                     "nameserver 10.0.0.54\n"
                     "nameserver 10.0.0.55\n"
                     "domain first.example\n"
                     "search a.example. b.example\n"
                     "options ndots:3 timeout:2 rotate attempts:4\n"
                     "nonsense\n",
                     &resolv);
    ck_assert_uint_eq(resolv.n_servers, 3);
    check_ip(&resolv.servers[0], "10.0.0.53:53");
    check_ip(&resolv.servers[1], "[2001:db8::53]:53");
    check_ip(&resolv.servers[2], "10.0.0.54:53");
    ck_assert_uint_eq(resolv.n_search, 2);
    ck_assert_str_eq(resolv.search[0], "a.example");
    ck_assert_str_eq(resolv.search[1], "b.example");
    ck_assert_uint_eq(resolv.ndots, 3);
    ck_assert_uint_eq(resolv.timeout_ms, 2000);
    ck_assert_uint_eq(resolv.attempts, 4);
}
END_TEST

START_TEST(resolv_without_words_means_this_machine)
{
    struct dns_resolv resolv;
    dns_resolv_parse("", &resolv);
    ck_assert_uint_eq(resolv.n_servers, 1);
    check_ip(&resolv.servers[0], "127.0.0.1:53");
    ck_assert_uint_eq(resolv.ndots, 1);
    ck_assert_uint_eq(resolv.timeout_ms, 5000);
    ck_assert_uint_eq(resolv.attempts, 2);
}
END_TEST

START_TEST(resolv_out_of_range_is_moved_into_it)
{
    struct dns_resolv resolv;
    dns_resolv_parse("options timeout:0 attempts:999999999999 ndots:-3", &resolv);
    ck_assert_uint_eq(resolv.timeout_ms, 1000);
    ck_assert_uint_eq(resolv.attempts, 5);
    ck_assert_uint_eq(resolv.ndots, 15);
    dns_resolv_parse("search .\n", &resolv);
    ck_assert_uint_eq(resolv.n_search, 0);
}
END_TEST

/* --- hosts --- */

START_TEST(hosts_have_addresses)
{
    static const char text[] = "127.0.0.1 localhost\n"
                               "10.0.0.2\tB.example b # 10.0.0.9 b\n"
                               "rubbish b\n"
                               "10.0.0.1 b b\n"
                               "\n#\n"
                               "fd00::1 b";
    struct dns_hosts *hosts = dns_hosts_parse(text);
    struct addr_ip found[DNS_ANSWERS_MAX];
    ck_assert_uint_eq(dns_hosts_find(hosts, "b", found), 3);
    check_ip(&found[0], "10.0.0.2");
    check_ip(&found[1], "10.0.0.1");
    check_ip(&found[2], "fd00::1");
    ck_assert_uint_eq(dns_hosts_find(hosts, "b.EXAMPLE.", found), 1);
    ck_assert_uint_eq(dns_hosts_find(hosts, "c", found), 0);
    ck_assert_uint_eq(dns_hosts_find(hosts, "", found), 0);
    ck_assert_uint_eq(dns_hosts_find(hosts, "10.0.0.1", found), 0);
    ck_assert_uint_eq(dns_hosts_find(NULL, "b", found), 0);
    dns_hosts_free(hosts);
}
END_TEST

START_TEST(hosts_may_have_more_than_is_taken)
{
    char text[8192] = "";
    struct addr_ip found[DNS_ANSWERS_MAX];
    for (int i = 1; i <= DNS_ANSWERS_MAX + 3; i++) {
        snprintf(text + strlen(text), 32, "10.0.0.%d many\n", i);
    }
    struct dns_hosts *hosts = dns_hosts_parse(text);
    ck_assert_uint_eq(dns_hosts_find(hosts, "many", found), DNS_ANSWERS_MAX + 3);
    check_ip(&found[DNS_ANSWERS_MAX - 1], "10.0.0.64");
    dns_hosts_free(hosts);
}
END_TEST

/* --- both, again --- */

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
}

START_TEST(files_are_read_again_when_they_change)
{
    char folder[] = "/tmp/dns_files_XXXXXX", hosts[64], resolv[64];
    struct addr_ip found[DNS_ANSWERS_MAX];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(hosts, sizeof(hosts), "%s/hosts", folder);
    snprintf(resolv, sizeof(resolv), "%s/resolv.conf", folder);
    struct dns_files *files = dns_files_create(hosts, resolv);
    ck_assert(!dns_files_look(files));
    write_file(hosts, "10.0.0.1 b\n");
    ck_assert(dns_files_look(files));
    ck_assert(!dns_files_look(files));
    ck_assert_uint_eq(dns_hosts_find(dns_files_hosts(files), "b", found), 1);
    write_file(resolv, "nameserver 10.0.0.53\n");
    ck_assert(dns_files_look(files));
    check_ip(&dns_files_resolv(files)->servers[0], "10.0.0.53:53");
    ck_assert_int_eq(unlink(hosts), 0);
    ck_assert(dns_files_look(files));
    ck_assert_uint_eq(dns_hosts_find(dns_files_hosts(files), "b", found), 0);
    ck_assert_int_eq(mkdir(hosts, 0755), 0); /* no file: as if there were none */
    (void)dns_files_look(files);
    ck_assert_uint_eq(dns_hosts_find(dns_files_hosts(files), "b", found), 0);
    dns_files_destroy(files);
    ck_assert_int_eq(rmdir(hosts) + unlink(resolv) + rmdir(folder), 0);
}
END_TEST

START_TEST(what_could_not_be_read_is_tried_again)
{
    char folder[] = "/tmp/dns_files_XXXXXX", hosts[64];
    struct addr_ip found[DNS_ANSWERS_MAX];
    struct rlimit before, none;
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(hosts, sizeof(hosts), "%s/hosts", folder);
    write_file(hosts, "10.0.0.1 b\n");
    struct dns_files *files = dns_files_create(hosts, "/nowhere");
    write_file(hosts, "10.0.0.1 b\n10.0.0.2 b\n");
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    bool changed = dns_files_look(files);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    ck_assert(!changed);
    ck_assert_uint_eq(dns_hosts_find(dns_files_hosts(files), "b", found), 1);
    ck_assert(dns_files_look(files));
    ck_assert_uint_eq(dns_hosts_find(dns_files_hosts(files), "b", found), 2);
    dns_files_destroy(files);
    ck_assert_int_eq(unlink(hosts) + rmdir(folder), 0);
}
END_TEST

/* --- when a name is looked up again --- */

START_TEST(a_name_is_looked_up_when_its_time_is_over)
{
    struct dns_result result = {.outcome = DNS_OK, .ttl_s = 300, .n = 1};
    ck_assert_uint_eq(dns_watch_next_ms(&result, 0), 300000);
    result.ttl_s = 0;
    ck_assert_uint_eq(dns_watch_next_ms(&result, 0), 1000);
    result.ttl_s = UINT32_MAX;
    ck_assert_uint_eq(dns_watch_next_ms(&result, 0), DNS_TTL_MAX_S * 1000u);
}
END_TEST

START_TEST(failures_are_tried_again_less_and_less)
{
    static const uint32_t expected[] = {1000, 2000, 4000, 8000, 16000, 30000, 30000};
    struct dns_result failed = {.outcome = DNS_TIMEOUT, .ttl_s = 300};
    struct dns_result half = {.outcome = DNS_OK, .ttl_s = 3, .n = 1, .lacks_ipv6 = true};
    for (uint32_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        ck_assert_uint_eq(dns_watch_next_ms(&failed, i + 1), expected[i]);
        ck_assert_uint_eq(dns_watch_next_ms(&half, i + 1), expected[i] < 3000 ? expected[i] : 3000);
    }
    ck_assert_uint_eq(dns_watch_next_ms(&failed, UINT32_MAX), 30000);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("dns/files");
    TCase *tcase = tcase_create("all");
    tcase_add_test(tcase, resolv_says_whom_to_ask);
    tcase_add_test(tcase, resolv_without_words_means_this_machine);
    tcase_add_test(tcase, resolv_out_of_range_is_moved_into_it);
    tcase_add_test(tcase, hosts_have_addresses);
    tcase_add_test(tcase, hosts_may_have_more_than_is_taken);
    tcase_add_test(tcase, files_are_read_again_when_they_change);
    tcase_add_test(tcase, what_could_not_be_read_is_tried_again);
    tcase_add_test(tcase, a_name_is_looked_up_when_its_time_is_over);
    tcase_add_test(tcase, failures_are_tried_again_less_and_less);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
