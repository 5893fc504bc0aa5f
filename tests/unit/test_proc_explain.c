/*
 * Questions to workers: who is asked, which answer belongs to which question, and that each
 * question is answered exactly once whatever becomes of the worker.
 */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proc/master.h"

#define WORKERS 2

static struct master *master;
static struct model model;
static struct child children[WORKERS + 1];
static int workers[WORKERS]; /* their ends of the channels */
static struct message got;

static struct asker { /* who is told */
    unsigned n_done;
    bool answered;
    uint32_t backend;
} one, two;

static void on_done(void *arg, const struct explanation *explanation)
{
    struct asker *asker = arg;

    asker->n_done++;
    asker->answered = explanation != NULL;
    asker->backend = explanation != NULL ? explanation->backend : 0;
}

static void setup(void)
{
    master = calloc(1, sizeof(*master));
    ck_assert_ptr_nonnull(master);
    ck_assert_int_eq(scoreboard_create(&master->sb, WORKERS, 1, 1), 0);
    master->base = event_base_new();
    model.generation = 3;
    master->model = &model;
    master->n_workers = WORKERS;
    master->children = children;
    memset(&one, 0, sizeof(one));
    memset(&two, 0, sizeof(two));
    for (int i = 0; i < WORKERS; i++) {
        int pair[2];

        ck_assert_int_eq(
            socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
        children[i] = (struct child){.master = master, .pid = 1, .channel = pair[0]};
        workers[i] = pair[1];
        atomic_store(&master->sb.workers[i].state, SB_WORKER_RUNNING);
    }
}

static void teardown(void)
{
    explain_cancel_all(master);
    for (int i = 0; i < WORKERS; i++) {
        close(children[i].channel);
        close(workers[i]);
    }
    event_base_free(master->base);
    scoreboard_destroy(&master->sb);
    free(master);
}

static void ask(struct asker *asker, const char *service)
{
    struct explanation_question question = {.client = {.family = ADDR_UNIX}};

    strcpy(question.service, service);
    explain_start(master, &question, on_done, asker);
}

/* The question that worker has got; its number. */
static uint32_t take(int worker, const char *service)
{
    int fd;

    ck_assert_int_eq(message_receive(workers[worker], &got, &fd), 1);
    ck_assert_uint_eq(got.type, MESSAGE_EXPLAIN);
    ck_assert_str_eq(got.question.service, service);
    ck_assert_uint_eq(got.question.client.family, ADDR_UNIX);
    return got.number;
}

static bool has_none(int worker)
{
    int fd;
    return message_receive(workers[worker], &got, &fd) == -EAGAIN;
}

/* As it comes: in master's own message. */
static void answer(uint32_t worker, uint32_t number, uint32_t generation, uint32_t backend)
{
    master->message.type = MESSAGE_EXPLANATION;
    master->message.explanation =
        (struct explanation){.generation = generation, .backend = backend};
    explain_answered(master, worker, number, &master->message.explanation);
}

START_TEST(one_worker_is_asked)
{
    ask(&one, "web");
    uint32_t number = take(0, "web");
    ck_assert(has_none(1));
    ck_assert_uint_eq(one.n_done, 0);
    answer(0, number, 3, 7);
    ck_assert_uint_eq(one.n_done, 1);
    ck_assert(one.answered);
    ck_assert_uint_eq(one.backend, 7);
    answer(0, number, 3, 8); /* once more: to nobody */
    ck_assert_uint_eq(one.n_done, 1);
}
END_TEST

START_TEST(only_a_running_worker_is_asked)
{
    atomic_store(&master->sb.workers[0].state, SB_WORKER_STARTING);
    ask(&one, "web");
    ck_assert(has_none(0));
    take(1, "web");
    children[1].pid = 0;
    ask(&two, "web");
    ck_assert_uint_eq(two.n_done, 1);
    ck_assert(!two.answered);
    ck_assert_uint_eq(one.n_done, 0);
}
END_TEST

START_TEST(one_that_takes_nothing_is_passed_over)
{
    close(workers[0]);
    workers[0] = -1;
    ask(&one, "web");
    answer(1, take(1, "web"), 3, 4);
    ck_assert_uint_eq(one.backend, 4);
}
END_TEST

START_TEST(answers_find_their_questions)
{
    ask(&one, "web");
    ask(&two, "db");
    uint32_t first = take(0, "web"), second = take(0, "db");
    ck_assert_uint_ne(first, second);
    answer(1, first, 3, 9);       /* not the one that was asked */
    answer(WORKERS, first, 3, 9); /* the monitor */
    answer(0, second + 1, 3, 9);  /* nobody's */
    ck_assert_uint_eq(one.n_done + two.n_done, 0);
    answer(0, second, 3, 2);
    ck_assert_uint_eq(one.n_done, 0);
    ck_assert_uint_eq(two.backend, 2);
    answer(0, first, 3, 1);
    ck_assert_uint_eq(one.backend, 1);
    ck_assert_uint_eq(one.n_done + two.n_done, 2);
}
END_TEST

START_TEST(a_reload_in_between_asks_again)
{
    ask(&one, "web");
    uint32_t number = take(0, "web");
    model.generation = 4;
    answer(0, number, 3, 7);
    ck_assert_uint_eq(one.n_done, 0);
    uint32_t again = take(0, "web");
    answer(0, number, 4, 7); /* the question is another one now */
    ck_assert_uint_eq(one.n_done, 0);
    answer(0, again, 4, 5);
    ck_assert_uint_eq(one.n_done, 1);
    ck_assert_uint_eq(one.backend, 5);
}
END_TEST

START_TEST(but_only_once)
{
    ask(&one, "web");
    uint32_t number = take(0, "web");
    model.generation = 4;
    answer(0, number, 3, 7);
    model.generation = 5;
    answer(0, take(0, "web"), 4, 7);
    ck_assert_uint_eq(one.n_done, 1);
    ck_assert(!one.answered);
    ck_assert(has_none(0));
}
END_TEST

START_TEST(a_worker_that_dies_answers_nothing)
{
    ask(&one, "web");
    atomic_store(&master->sb.workers[0].state, SB_WORKER_DEAD);
    ask(&two, "web");
    explain_worker_gone(master, 0);
    ck_assert_uint_eq(one.n_done, 1);
    ck_assert(!one.answered);
    ck_assert_uint_eq(two.n_done, 0);
}
END_TEST

START_TEST(all_are_cancelled_at_the_end)
{
    ask(&one, "web");
    ask(&two, "web");
    explain_cancel_all(master);
    ck_assert_uint_eq(one.n_done + two.n_done, 2);
    ck_assert(!one.answered && !two.answered);
    explain_cancel_all(master);
    ck_assert_uint_eq(one.n_done + two.n_done, 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proc/explain");
    TCase *tc = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, one_worker_is_asked);
    tcase_add_test(tc, only_a_running_worker_is_asked);
    tcase_add_test(tc, one_that_takes_nothing_is_passed_over);
    tcase_add_test(tc, answers_find_their_questions);
    tcase_add_test(tc, a_reload_in_between_asks_again);
    tcase_add_test(tc, but_only_once);
    tcase_add_test(tc, a_worker_that_dies_answers_nothing);
    tcase_add_test(tc, all_are_cancelled_at_the_end);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
