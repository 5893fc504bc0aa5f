/* Levels from lists of users and groups, and the kernel's word about a peer. */
#include "ctl/auth.h"

#include <check.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))
#define OWN_UID      4000000001

static gid_t more_groups[] = {5001, 5002};

static enum ctl_level level_with(char **read, char **operate, char **administer, uid_t uid,
                                 gid_t gid)
{
    struct model model = {.generation = 1};
    struct auth_peer peer = {.uid = uid, .gid = gid, .groups = more_groups,
                             .n_groups = COUNT(more_groups)};
    struct auth *auth = auth_create();
    enum ctl_level level;

    model.global.control_read = read;
    model.global.control_operate = operate;
    model.global.control_administer = administer;
    level = auth_level(auth, &model, OWN_UID, &peer, 1000);
    auth_destroy(auth);
    return level;
}

#define LIST(...) (char *[]){__VA_ARGS__, NULL}

START_TEST(root_and_the_owner_may_do_all)
{
    ck_assert_int_eq(level_with(NULL, NULL, NULL, 0, 0), CTL_LEVEL_ADMINISTER);
    ck_assert_int_eq(level_with(NULL, NULL, NULL, OWN_UID, 5), CTL_LEVEL_ADMINISTER);
    ck_assert_int_eq(level_with(NULL, NULL, NULL, 4000000002, 0), CTL_LEVEL_NONE);
}
END_TEST

START_TEST(levels_come_from_the_lists)
{
    char user[] = "4000000002", other[] = "4000000003", group[] = "@5002", primary[] = "@5000";

    ck_assert_int_eq(level_with(LIST(user), NULL, NULL, 4000000002, 1), CTL_LEVEL_READ);
    ck_assert_int_eq(level_with(NULL, LIST(user), NULL, 4000000002, 1), CTL_LEVEL_OPERATE);
    ck_assert_int_eq(level_with(NULL, NULL, LIST(other, user), 4000000002, 1),
                     CTL_LEVEL_ADMINISTER);
    ck_assert_int_eq(level_with(LIST(user), LIST(user), NULL, 4000000002, 1), CTL_LEVEL_OPERATE);
    ck_assert_int_eq(level_with(LIST(other), LIST(other), NULL, 4000000002, 1), CTL_LEVEL_NONE);
    ck_assert_int_eq(level_with(LIST(group), NULL, NULL, 4000000002, 1), CTL_LEVEL_READ);
    ck_assert_int_eq(level_with(LIST(primary), NULL, NULL, 4000000002, 5000), CTL_LEVEL_READ);
    ck_assert_int_eq(level_with(LIST(primary), NULL, NULL, 4000000002, 1), CTL_LEVEL_NONE);
}
END_TEST

START_TEST(a_uid_is_no_gid)
{
    char as_user[] = "5002", as_group[] = "@4000000002";

    ck_assert_int_eq(level_with(LIST(as_user), NULL, NULL, 4000000002, 5002), CTL_LEVEL_NONE);
    ck_assert_int_eq(level_with(LIST(as_group), NULL, NULL, 4000000002, 1), CTL_LEVEL_NONE);
}
END_TEST

START_TEST(names_are_looked_up)
{
    char user[] = "daemon", group[] = "@daemon", nobody_known[] = "no-such-user-here",
         none_known[] = "@no-such-group-here", empty[] = "", at[] = "@";
    const struct passwd *daemon_user = getpwnam("daemon");
    const struct group *daemon_group = getgrnam("daemon");

    if (!daemon_user || !daemon_group)
        return;
    ck_assert_int_eq(level_with(LIST(user), NULL, NULL, daemon_user->pw_uid, 7777),
                     CTL_LEVEL_READ);
    ck_assert_int_eq(level_with(LIST(group), NULL, NULL, 7777, daemon_group->gr_gid),
                     CTL_LEVEL_READ);
    ck_assert_int_eq(level_with(LIST(nobody_known, none_known, empty, at), NULL, NULL, 7777, 7777),
                     CTL_LEVEL_NONE);
}
END_TEST

START_TEST(a_new_generation_has_new_lists)
{
    char user[] = "4000000002";
    struct model model = {.generation = 1};
    struct auth_peer peer = {.uid = 4000000002, .gid = 1};
    struct auth *auth = auth_create();

    ck_assert_int_eq(auth_level(auth, &model, OWN_UID, &peer, 1000), CTL_LEVEL_NONE);
    model.global.control_operate = LIST(user);
    ck_assert_int_eq(auth_level(auth, &model, OWN_UID, &peer, 1001), CTL_LEVEL_NONE);
    model.generation = 2;
    ck_assert_int_eq(auth_level(auth, &model, OWN_UID, &peer, 1002), CTL_LEVEL_OPERATE);
    model.global.control_operate = NULL; /* as if the machine's users had changed */
    ck_assert_int_eq(auth_level(auth, &model, OWN_UID, &peer, 1002 + AUTH_CACHE_MS),
                     CTL_LEVEL_OPERATE);
    ck_assert_int_eq(auth_level(auth, &model, OWN_UID, &peer, 1003 + AUTH_CACHE_MS),
                     CTL_LEVEL_NONE);
    auth_destroy(auth);
    auth_destroy(NULL);
}
END_TEST

START_TEST(the_kernel_names_the_peer)
{
    struct auth_peer peer = {0};
    gid_t groups[256];
    int pair[2], n = getgroups(256, groups);

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    ck_assert_int_eq(auth_peer_of(pair[0], &peer), 0);
    ck_assert_uint_eq(peer.uid, geteuid());
    ck_assert_uint_eq(peer.gid, getegid());
    ck_assert_int_eq(peer.pid, getpid());
    ck_assert_int_eq((int)peer.n_groups, n);
    for (int i = 0; i < n; i++)
        ck_assert_uint_eq(peer.groups[i], groups[i]);
    auth_peer_free(&peer);
    auth_peer_free(&peer);
    ck_assert_int_lt(auth_peer_of(-1, &peer), 0);
}
END_TEST

START_TEST(messages_name_the_options)
{
    STR_AUTO text = {0};

    auth_options_text(CTL_LEVEL_OPERATE, &text);
    ck_assert_str_eq(str_text(&text), "control_operate or control_administer");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ctl/auth");
    TCase *tc = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_test(tc, root_and_the_owner_may_do_all);
    tcase_add_test(tc, levels_come_from_the_lists);
    tcase_add_test(tc, a_uid_is_no_gid);
    tcase_add_test(tc, names_are_looked_up);
    tcase_add_test(tc, a_new_generation_has_new_lists);
    tcase_add_test(tc, the_kernel_names_the_peer);
    tcase_add_test(tc, messages_name_the_options);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
