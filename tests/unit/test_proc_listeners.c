/* The set of listening sockets: groups, plans that are committed or aborted whole, refusals. */
#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proc/listeners.h"

#define WORKERS 3

static struct listeners *set;
static struct model model;
static struct model_service service;
static struct model_listener addresses[4];
static struct errlist errors;
static char folder[] = "/tmp/listeners-XXXXXX";

static void setup(void)
{
    set = listeners_create(WORKERS);
    ck_assert_ptr_nonnull(set);
    ck_assert_ptr_nonnull(mkdtemp(folder));
    model = (struct model){.services = &service, .n_services = 1};
    service = (struct model_service){
        .name = "web", .listeners = addresses, .backlog = 8, .file = "f", .line = 3};
    memset(addresses, 0, sizeof(addresses));
}

static void teardown(void)
{
    listeners_destroy(set);
    errlist_free(&errors);
    rmdir(folder);
}

static void add(uint32_t id, const char *text)
{
    const char *problem;
    struct model_listener *listener = &addresses[service.n_listeners++];
    ck_assert_int_eq(addr_parse(text, true, &listener->address, &problem), 0);
    listener->id = id;
}

static int fd_of(size_t index, uint32_t worker)
{
    uint32_t id;
    int fd;
    return listeners_get(set, index, worker, 0, &id, &fd) ? fd : -1;
}

static bool reaches(const struct addr *address)
{
    struct sockaddr_storage sa;
    socklen_t len = addr_to_sockaddr(address, &sa);
    int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool reached = connect(fd, (struct sockaddr *)&sa, len) == 0;
    close(fd);
    return reached;
}

static size_t open_descriptors(void)
{
    size_t n = 0;
    for (int fd = 0; fd < 256; fd++) {
        n += fcntl(fd, F_GETFD) >= 0;
    }
    return n;
}

START_TEST(one_socket_a_worker_on_the_port_the_kernel_chose)
{
    add(1, "127.0.0.1:0");
    ck_assert_int_eq(listeners_plan(set, &model, &errors), 0);
    listeners_commit(set, &model);
    ck_assert_uint_ne(addresses[0].address.ip.port, 0);
    ck_assert(reaches(&addresses[0].address));
    ck_assert_int_ge(fd_of(0, 0), 0);
    ck_assert_int_ne(fd_of(0, 0), fd_of(0, 1));
    ck_assert_int_ne(fd_of(0, 1), fd_of(0, 2));
    ck_assert_int_eq(fd_of(1, 0), -1);
}
END_TEST

START_TEST(a_second_daemon_is_refused)
{
    add(1, "127.0.0.1:0");
    ck_assert_int_eq(listeners_plan(set, &model, &errors), 0);
    listeners_commit(set, &model);
    struct listeners *other = listeners_create(WORKERS);
    ck_assert_int_ne(listeners_plan(other, &model, &errors), 0);
    ck_assert_uint_eq(errors.errors, 1);
    ck_assert_ptr_nonnull(strstr(errors.items[0].text, "another process listens there"));
    ck_assert_int_eq(errors.items[0].line, 3);
    listeners_destroy(other);
}
END_TEST

START_TEST(what_stays_keeps_its_sockets_and_what_goes_is_closed)
{
    add(1, "127.0.0.1:0");
    add(2, "127.0.0.1:0");
    ck_assert_int_eq(listeners_plan(set, &model, &errors), 0);
    listeners_commit(set, &model);
    int kept = fd_of(0, 1);
    struct addr gone = addresses[1].address;
    service.n_listeners = 1;
    ck_assert_int_eq(listeners_plan(set, &model, &errors), 0);
    listeners_commit(set, &model);
    ck_assert_int_eq(fd_of(0, 1), kept);
    ck_assert_int_eq(fd_of(1, 0), -1);
    ck_assert(!reaches(&gone));
}
END_TEST

START_TEST(a_failed_plan_leaves_nothing)
{
    add(1, "127.0.0.1:0");
    ck_assert_int_eq(listeners_plan(set, &model, &errors), 0);
    listeners_commit(set, &model);
    size_t before = open_descriptors();
    add(2, "127.0.0.1:0");
    add(3, "unix:/nowhere/at/all.sock");
    ck_assert_int_ne(listeners_plan(set, &model, &errors), 0);
    ck_assert_uint_eq(open_descriptors(), before);
    ck_assert_int_eq(fd_of(1, 0), -1);
    ck_assert_int_ge(fd_of(0, 0), 0);
}
END_TEST

START_TEST(a_port_that_the_kernel_chose_is_not_shared)
{
    static const char *const wanted[] = {"127.0.0.1", "0.0.0.0"};
    add(1, "127.0.0.1:0");
    ck_assert_int_eq(listeners_plan(set, &model, &errors), 0);
    listeners_commit(set, &model);
    uint16_t port = addresses[0].address.ip.port;
    for (size_t i = 0; i < 2; i++) {
        char text[32];
        snprintf(text, sizeof(text), "%s:%u", wanted[i], (unsigned)port);
        service.n_listeners = 1;
        add(2, text);
        ck_assert_int_ne(listeners_plan(set, &model, &errors), 0);
        ck_assert_uint_eq(errors.errors, i + 1);
        ck_assert_ptr_nonnull(strstr(errors.items[i].text, "which the kernel gave to"));
        ck_assert_int_eq(fd_of(1, 0), -1);
    }
    /* in place of it, it may be */
    addresses[0] = addresses[1];
    service.n_listeners = 1;
    ck_assert_int_eq(listeners_plan(set, &model, &errors), 0);
    listeners_commit(set, &model);
    ck_assert(reaches(&addresses[0].address));
    ck_assert_int_eq(fd_of(1, 0), -1);
}
END_TEST

START_TEST(an_aborted_plan_leaves_nothing)
{
    size_t before = open_descriptors();
    add(1, "127.0.0.1:0");
    ck_assert_int_eq(listeners_plan(set, &model, &errors), 0);
    listeners_abort(set);
    ck_assert_uint_eq(open_descriptors(), before);
    ck_assert_int_eq(fd_of(0, 0), -1);
}
END_TEST

static void unix_path(char text[static 64])
{
    snprintf(text, 64, "unix:%s/l.sock", folder);
}

START_TEST(unix_listeners_are_shared_and_removed)
{
    char text[64];
    unix_path(text);
    add(1, text);
    ck_assert_int_eq(listeners_plan(set, &model, &errors), 0);
    listeners_commit(set, &model);
    ck_assert_int_eq(fd_of(0, 0), fd_of(0, 2));
    ck_assert(reaches(&addresses[0].address));
    service.n_listeners = 0;
    listeners_commit(set, &model);
    ck_assert_int_ne(access(text + 5, F_OK), 0);
}
END_TEST

START_TEST(a_stale_path_is_replaced_a_live_one_and_a_file_are_not)
{
    char text[64];
    unix_path(text);
    add(1, text);
    /* stale: bound, and its owner gone */
    struct sockaddr_storage sa;
    socklen_t len = addr_to_sockaddr(&addresses[0].address, &sa);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&sa, len), 0);
    close(fd);
    ck_assert_int_eq(listeners_plan(set, &model, &errors), 0);
    listeners_commit(set, &model);
    /* live */
    struct listeners *other = listeners_create(WORKERS);
    ck_assert_int_ne(listeners_plan(other, &model, &errors), 0);
    listeners_destroy(other);
    ck_assert(reaches(&addresses[0].address));
    /* a file */
    service.n_listeners = 0;
    listeners_commit(set, &model);
    close(open(text + 5, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    service.n_listeners = 1;
    ck_assert_int_ne(listeners_plan(set, &model, &errors), 0);
    ck_assert_ptr_nonnull(strstr(errors.items[errors.count - 1].text, "no socket"));
    ck_assert_int_eq(unlink(text + 5), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proc/listeners");
    TCase *tc = tcase_create("all");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, one_socket_a_worker_on_the_port_the_kernel_chose);
    tcase_add_test(tc, a_second_daemon_is_refused);
    tcase_add_test(tc, what_stays_keeps_its_sockets_and_what_goes_is_closed);
    tcase_add_test(tc, a_failed_plan_leaves_nothing);
    tcase_add_test(tc, a_port_that_the_kernel_chose_is_not_shared);
    tcase_add_test(tc, an_aborted_plan_leaves_nothing);
    tcase_add_test(tc, unix_listeners_are_shared_and_removed);
    tcase_add_test(tc, a_stale_path_is_replaced_a_live_one_and_a_file_are_not);
    suite_add_tcase(suite, tc);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
