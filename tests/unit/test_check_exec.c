/* The exec check: what it makes of each end of a program, what the program finds, what is left. */
#include "test_check_run.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "check/quote.h"

#define RUN(...) run_command((const char *[]){__VA_ARGS__, NULL})

static char folder[64];    /* of this test */
static bool is_unkillable; /* programs do not end, as if the kernel could not end them */
static int descriptors_before;

/* Takes the place of the library's. */
int waitid(idtype_t type, id_t id, siginfo_t *info, int options)
{
    if (is_unkillable) {
        info->si_pid = 0;
        return 0;
    }
    return (int)syscall(SYS_waitid, type, id, info, options, NULL);
}

static void exec_setup(void)
{
    setup();
    (void)snprintf(folder, sizeof(folder), "/tmp/check-exec-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    ck_assert_int_eq(chmod(folder, 0777), 0);
    descriptors_before = count_descriptors();
}

static const char *in_folder(const char *name)
{
    static char path[96];

    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

/* Nothing may be left of any program, in no test. */
static void exec_teardown(void)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;

    WAIT_FOR(!has_child());
    turn_loop(); /* hears of an end that was reaped before */
    ck_assert_int_eq(count_descriptors() - descriptors_before, 1 /* dir */);
    while ((entry = readdir(dir))) {
        (void)unlinkat(dirfd(dir), entry->d_name, 0);
    }
    closedir(dir);
    ck_assert_int_eq(rmdir(folder), 0);
    teardown();
}

static struct check_arg args[16];

static int fill_args(const char *const *command)
{
    int n = 0;

    for (; command[n] != NULL; n++) {
        args[n] = (struct check_arg){"command", command[n]};
    }
    return n;
}

static void run_command(const char *const *command)
{
    probe_once(&check_kind_exec, args, fill_args(command));
}

/* Runs a line of shell; $1 is this test's folder. */
static void run_shell(const char *line)
{
    RUN("/bin/sh", "-c", line, "sh", folder);
}

static void begin_shell(const char *line)
{
    probe_begin(&check_kind_exec, args,
                fill_args((const char *[]){"/bin/sh", "-c", line, "sh", folder, NULL}));
}

/* Runs that, and compares the first line of its output. */
static void expect_output(const char *line, const char *expected)
{
    char reason[SB_REASON_MAX];

    run_shell(line);
    (void)snprintf(reason, sizeof(reason), "exit status 0: %s", expected);
    ck_assert_str_eq(result.reason, reason);
}

/* A FIFO "alive" in the folder, opened for reading: at its end when nobody writes to it any more.
 */
static int open_alive(void)
{
    int fd;

    ck_assert_int_eq(mkfifo(in_folder("alive"), 0666), 0);
    fd = open(in_folder("alive"), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    return fd;
}

/* Whether a byte has come, which is what programs here say first. */
static bool has_started(int alive)
{
    char byte;

    return read(alive, &byte, 1) == 1;
}

static bool all_are_dead(int alive)
{
    char byte;

    return read(alive, &byte, 1) == 0;
}

/* --- exit statuses --- */

static const struct status_case {
    int status;
    bool passed;
    uint32_t weight_permille;
    const char *reason;
} status_cases[] = {
    {0, true, CHECK_NOT_SAID, "exit status 0"},
    {1, false, CHECK_NOT_SAID, "exit status 1, expected 0 or from 2 on"},
    {2, true, 0, "exit status 2, weight 0%"},
    {3, true, 10, "exit status 3, weight 1%"},
    {52, true, 500, "exit status 52, weight 50%"},
    {102, true, 1000, "exit status 102, weight 100%"},
    {103, true, 1000, "exit status 103, weight 100%"},
    {127, true, 1000, "exit status 127, weight 100%"},
    {255, true, 1000, "exit status 255, weight 100%"},
};

START_TEST(exit_statuses)
{
    char status[8];

    for (int i = 0; i < COUNT(status_cases); i++) {
        const struct status_case *expected = &status_cases[i];

        (void)snprintf(status, sizeof(status), "%d", expected->status);
        RUN("/bin/sh", "-c", "exit $0", status);
        ck_assert_str_eq(result.reason, expected->reason);
        ck_assert(result.passed == expected->passed && !result.nothing &&
                  result.weight_permille == expected->weight_permille &&
                  result.admin == CHECK_NOT_SAID && result.max_connections == CHECK_NOT_SAID);
    }
}
END_TEST

START_TEST(without_dynamic_only_0_passes)
{
    int n = fill_args((const char *[]){"/bin/sh", "-c", "exit 52", NULL});

    args[n] = (struct check_arg){"dynamic", "false"};
    probe_once(&check_kind_exec, args, n + 1);
    ck_assert(!result.passed && result.weight_permille == CHECK_NOT_SAID);
    ck_assert_str_eq(result.reason, "exit status 52, expected 0");
    args[2].value = "exit 0";
    probe_once(&check_kind_exec, args, n + 1);
    ck_assert(result.passed);
}
END_TEST

START_TEST(a_signal_is_a_failure)
{
    run_shell("echo about to fall; kill -SEGV $$");
    ck_assert(!result.passed && !result.nothing);
    ck_assert_str_eq(result.reason, "ended by signal 11: about to fall");
}
END_TEST

static void write_file(const char *name, const char *text, mode_t mode)
{
    int fd = open(in_folder(name), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    ck_assert_int_eq(fchmod(fd, mode), 0);
    close(fd);
}

static void expect_cannot_run(const char *path, const char *why)
{
    char reason[SB_REASON_MAX];

    RUN(path);
    (void)snprintf(reason, sizeof(reason), "cannot run %s: %s", path, why);
    ck_assert_str_eq(result.reason, reason);
    ck_assert(!result.passed && !result.nothing && result.weight_permille == CHECK_NOT_SAID);
}

START_TEST(what_cannot_be_run_is_a_failure)
{
    write_file("plain", "#!/bin/sh\n", 0644);
    write_file("odd", "odd\n", 0755);
    write_file("orphan", "#!/no/such/shell\n", 0755);
    expect_cannot_run("/no/such/program", "No such file or directory");
    expect_cannot_run(in_folder("plain"), "Permission denied");
    expect_cannot_run(in_folder("odd"), "Exec format error");
    expect_cannot_run(in_folder("orphan"), "No such file or directory");
    expect_cannot_run("/tmp", "Permission denied");
}
END_TEST

START_TEST(a_script_runs_with_its_arguments)
{
    write_file("script", "#!/bin/sh\necho \"$#:$1:$2\"\n", 0755);
    RUN(in_folder("script"), "a b", "$HOME;*");
    ck_assert_str_eq(result.reason, "exit status 0: 2:a b:$HOME;*");
}
END_TEST

START_TEST(no_command_at_all)
{
    probe_once(&check_kind_exec, args, 0);
    ck_assert(!result.passed && !result.nothing);
    ck_assert_str_eq(result.reason, "no command to run");
}
END_TEST

/* Somebody who reaps before us must not make a failure look like success. */
START_TEST(an_end_that_nobody_saw_is_no_success)
{
    (void)signal(SIGCHLD, SIG_IGN); /* the kernel reaps */
    run_shell("exit 1");
    ck_assert(!result.passed);
    ck_assert_str_eq(result.reason, "cannot run /bin/sh: No child processes");
}
END_TEST

/* --- output --- */

START_TEST(the_first_line_is_the_reason)
{
    expect_output("echo; echo '  disk is full  '; echo second", "disk is full");
    expect_output("echo complaint >&2; echo more", "complaint");
    expect_output("printf 'no end'", "no end");
    expect_output("printf '\\033[31mred\\tand \\377 f\\303\\274ll\\000.\\r\\n'",
                  "?[31mred and ? f\303\274ll?.");
    run_shell("printf '\\n\\n \\n'");
    ck_assert_str_eq(result.reason, "exit status 0");
}
END_TEST

START_TEST(a_long_line_is_cut)
{
    run_shell("head -c 100000 /dev/zero | tr '\\0' x");
    ck_assert(result.passed);
    ck_assert_uint_eq(strlen(result.reason), SB_REASON_MAX - 1);
}
END_TEST

/* Never in the middle of a character, whatever the room. */
START_TEST(quoting_cuts_between_characters)
{
    const char text[] = "a\303\274\342\202\254\360\237\230\200z";
    const char *const expected[] = {
        "", "a", "a", "a\303\274", "a\303\274", "a\303\274", "a\303\274\342\202\254"};
    char out[16];

    for (size_t size = 1; size <= 7; size++) {
        quote_line(out, size, text, sizeof(text) - 1);
        ck_assert_str_eq(out, expected[size - 1]);
    }
    quote_line(out, sizeof(out), "\302\205\342\200\250\177\360\237\230", 9);
    ck_assert_str_eq(out, "????"); /* NEL, line separator, DEL, part of a character */
}
END_TEST

static long resident_kib(void)
{
    struct rusage usage;

    ck_assert_int_eq(getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_maxrss;
}

START_TEST(a_gigabyte_of_output_is_dropped)
{
    long before;

    run_shell("exit 0");
    before = resident_kib();
    run_shell("echo much; head -c 1G /dev/zero");
    ck_assert_str_eq(result.reason, "exit status 0: much");
    ck_assert_int_lt(resident_kib() - before, 4096);
}
END_TEST

START_TEST(closed_output_is_no_end)
{
    run_shell("exec >&- 2>&-; sleep 0.2; exit 4");
    ck_assert_str_eq(result.reason, "exit status 4, weight 2%");
    ck_assert_int_lt(n_turns, 1000); /* nor keeps it the loop busy */
}
END_TEST

/* --- what the program finds --- */

static void expect_environment(const char *backend, const char *host, const char *port)
{
    char expected[1024], got[1024] = "";
    const char *problem;
    FILE *file;

    ck_assert_int_eq(addr_parse(backend, false, &address, &problem), 0);
    run_shell("tr '\\0' '\\n' </proc/$$/environ >$1/environ");
    file = fopen(in_folder("environ"), "re");
    ck_assert_ptr_nonnull(file);
    got[fread(got, 1, sizeof(got) - 1, file)] = '\0';
    fclose(file);
    (void)snprintf(expected, sizeof(expected),
                   "PATH=/usr/sbin:/usr/bin:/sbin:/bin\nSLUICE_POOL=web\nSLUICE_BACKEND=a\n"
                   "SLUICE_ADDRESS=%s\nSLUICE_PORT=%s\nSLUICE_TIMEOUT_MS=20000\n",
                   host, port);
    ck_assert_str_eq(got, expected);
}

START_TEST(the_environment_is_clean)
{
    ck_assert_int_eq(setenv("SECRET", "x", 1), 0);
    expect_environment("10.1.2.3:8080", "10.1.2.3", "8080");
    expect_environment("[2001:db8::1]:443", "2001:db8::1", "443");
    expect_environment("unix:/run/a.sock", "unix:/run/a.sock", "");
}
END_TEST

START_TEST(no_descriptor_is_inherited)
{
    int pipe_fds[2];

    ck_assert_int_eq(pipe(pipe_fds), 0); /* not CLOEXEC */
    expect_output("readlink /proc/$$/fd/0", "/dev/null");
    RUN("/bin/ls", "-m", "/proc/self/fd"); /* 3 is the folder itself */
    ck_assert_str_eq(result.reason, "exit status 0: 0, 1, 2, 3");
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}
END_TEST

/* A daemon may have been started without them; then its own descriptors have their numbers. */
START_TEST(standard_descriptors_may_be_missing)
{
    int kept[3];

    for (int i = 0; i < 3; i++) {
        kept[i] = fcntl(i, F_DUPFD_CLOEXEC, 20);
        close(i);
    }
    run_shell("echo err >&2; echo out && [ $(readlink /proc/$$/fd/0) = /dev/null ]");
    for (int i = 0; i < 3; i++) {
        if (kept[i] >= 0) {
            (void)dup2(kept[i], i);
            close(kept[i]);
        }
    }
    ck_assert_str_eq(result.reason, "exit status 0: err");
}
END_TEST

START_TEST(signals_are_the_usual_ones)
{
    sigset_t blocked;

    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGUSR1, SIG_IGN);
    (void)sigfillset(&blocked);
    (void)sigdelset(&blocked, SIGUSR1);
    (void)sigprocmask(SIG_SETMASK, &blocked, NULL);
    expect_output("grep -E '^Sig(Blk|Ign)' /proc/self/status | tr -d '\\n\\t'",
                  "SigBlk:0000000000000000SigIgn:0000000000000000");
    (void)sigprocmask(SIG_SETMASK, NULL, &blocked);
    ck_assert(sigismember(&blocked, SIGUSR2) && !sigismember(&blocked, SIGUSR1)); /* as before */
    (void)sigemptyset(&blocked);
    (void)sigprocmask(SIG_SETMASK, &blocked, NULL);
}
END_TEST

START_TEST(limits_and_place)
{
    char line[128];

    params.timeout_ms = 2500;
    expect_output("echo $(ulimit -Sc) $(ulimit -Hc) $(ulimit -Sn) $(ulimit -Hn) "
                  "$(ulimit -St) $(ulimit -Ht)",
                  "0 0 256 256 4 5");
    (void)snprintf(line, sizeof(line),
                   "set -- $$ $(cut -d' ' -f5,6 /proc/$$/stat); [ $1 = $2 ] && [ $3 = %d ] && pwd",
                   (int)getsid(0));
    expect_output(line, "/");
}
END_TEST

/* --- time-outs and descendants --- */

START_TEST(cancel_kills_all_of_the_group)
{
    int alive = open_alive();

    begin_shell("exec 9>$1/alive; (trap '' TERM HUP; printf x >&9; sleep 1000) & sleep 1000");
    ck_assert_int_eq(kind->start(&probe), 0);
    WAIT_FOR(has_started(alive));
    kind->cancel(&probe);
    WAIT_FOR(all_are_dead(alive));
    kind->release(&probe);
    ck_assert_int_eq(n_results, 0);
    close(alive);
}
END_TEST

START_TEST(a_flood_ends_with_its_time)
{
    begin_shell("yes");
    params.timeout_ms = 30;
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(probe_run(), 0);
        ck_assert(result.timed_out);
        WAIT_FOR(!has_child());
    }
    kind->release(&probe);
}
END_TEST

START_TEST(cancelled_before_it_runs)
{
    int alive = open_alive();

    begin_shell("exec 9>$1/alive; sleep 1000");
    for (int i = 0; i < 20; i++) {
        ck_assert_int_eq(kind->start(&probe), 0);
        kind->cancel(&probe);
        WAIT_FOR(!has_child());
    }
    ck_assert_int_eq(n_results, 0);
    WAIT_FOR(all_are_dead(alive));
    kind->release(&probe);
    close(alive);
}
END_TEST

START_TEST(a_grandchild_with_the_pipe_holds_up_nobody)
{
    int alive = open_alive();
    uint64_t start_ms = clock_now_ms();

    run_shell("exec 9>$1/alive; sleep 1000 & echo left one behind");
    ck_assert_str_eq(result.reason, "exit status 0: left one behind");
    ck_assert_uint_lt(clock_now_ms() - start_ms, WAIT_MS / 2);
    WAIT_FOR(all_are_dead(alive));
    close(alive);
}
END_TEST

/* Who leaves the group is not followed, and holds up nobody either. */
START_TEST(a_grandchild_may_leave)
{
    int alive = open_alive();
    char text[32];
    FILE *file;

    run_shell("exec 9>$1/alive; setsid sh -c 'echo $$ >$0/pid.new; mv $0/pid.new $0/pid; "
              "exec sleep 1000' $1 & while ! [ -e $1/pid ]; do sleep 0.01; done; exit 5");
    ck_assert_str_eq(result.reason, "exit status 5, weight 3%");
    ck_assert(!all_are_dead(alive));
    file = fopen(in_folder("pid"), "re");
    ck_assert_ptr_nonnull(fgets(text, sizeof(text), file));
    fclose(file);
    ck_assert_int_eq(kill((pid_t)strtol(text, NULL, 10), SIGKILL), 0);
    WAIT_FOR(all_are_dead(alive));
    close(alive);
}
END_TEST

START_TEST(it_dies_with_the_monitor)
{
    int alive = open_alive();
    pid_t pid = fork();

    if (pid == 0) {
        event_reinit(base);
        begin_shell("exec 9>$1/alive; printf x >&9; exec sleep 1000");
        n_results = kind->start(&probe);
        while (!has_started(alive)) {
            usleep(1000);
        }
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    WAIT_FOR(all_are_dead(alive));
    close(alive);
}
END_TEST

/* --- what the kernel cannot end --- */

START_TEST(one_that_cannot_be_ended_is_not_joined_by_another)
{
    begin_shell("[ -e $1/again ] || sleep 1000");
    params.timeout_ms = 10;
    is_unkillable = true;
    ck_assert_int_eq(probe_run(), 0);
    ck_assert_str_eq(result.reason, "");
    for (int i = 0; i < 5; i++) {
        turn_loop();
        ck_assert_int_eq(probe_run(), 0);
        ck_assert(result.timed_out);
        ck_assert_str_eq(result.reason,
                         "the program of an earlier run was killed and has not ended yet");
    }
    is_unkillable = false;
    params.timeout_ms = WAIT_MS;
    write_file("again", "", 0644);
    ck_assert_int_eq(probe_run(), 0);
    ck_assert(result.passed);
    kind->release(&probe);
}
END_TEST

/* To be killed takes a moment, and the next run may begin at once: it waits, and then is a run like
 * any other. */
START_TEST(the_end_of_a_killed_one_is_awaited)
{
    begin_shell("sleep 1000");
    params.timeout_ms = 20;
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(probe_run(), 0);
        ck_assert(result.timed_out);
        ck_assert_str_eq(result.reason, "");
    }
    kind->release(&probe);
}
END_TEST

/* What it waits for may never come, and nobody may want it any more. */
START_TEST(to_await_an_end_can_be_given_up)
{
    begin_shell("sleep 1000");
    is_unkillable = true;
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(kind->start(&probe), 0);
        turn_loop();
        kind->cancel(&probe);
    }
    ck_assert_int_eq(kind->start(&probe), 0);
    kind->cancel(&probe);
    kind->release(&probe);
    is_unkillable = false;
    for (int i = 0; i < 10; i++) {
        turn_loop();
    }
    ck_assert_int_eq(n_results, 0);
    run_shell("exit 0"); /* looks after those that were forgotten */
}
END_TEST

START_TEST(to_await_an_end_and_lack_descriptors_is_no_result)
{
    struct rlimit before, none;

    begin_shell("sleep 1000");
    is_unkillable = true;
    ck_assert_int_eq(kind->start(&probe), 0);
    kind->cancel(&probe);
    ck_assert_int_eq(kind->start(&probe), 0); /* awaits */
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    is_unkillable = false;
    WAIT_FOR(n_results > 0);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    ck_assert(n_results == 1 && result.nothing);
    ck_assert_str_eq(result.reason, "cannot run /bin/sh: Too many open files");
    kind->release(&probe);
}
END_TEST

START_TEST(one_that_nobody_wants_is_reaped_later)
{
    begin_shell("sleep 1000");
    is_unkillable = true;
    ck_assert_int_eq(kind->start(&probe), 0);
    kind->cancel(&probe);
    kind->release(&probe);
    for (int i = 0; i < 5; i++) {
        turn_loop();
    }
    is_unkillable = false;
    ck_assert(has_child());
    run_shell("exit 0"); /* the next start looks after it */
    ck_assert(!has_child());
}
END_TEST

/* --- want of something of our own --- */

START_TEST(lack_of_descriptors_is_no_result)
{
    struct rlimit before, limit;
    int n_refused = 0, n_nothing = 0, n_passed = 0;
    int lowest = dup(0);

    close(lowest);
    begin_shell("exit 0");
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    for (int more = 0; more < 12; more++) {
        int error;

        limit = before;
        limit.rlim_cur = (rlim_t)(lowest + more);
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        error = probe_run();
        ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
        ck_assert(error == 0 || error == -EMFILE);
        ck_assert(error != 0 || result.passed || result.nothing);
        n_refused += error != 0;
        n_nothing += error == 0 && result.nothing;
        n_passed += error == 0 && result.passed;
        ck_assert_int_eq(count_descriptors(), descriptors_before);
    }
    ck_assert(n_refused >= 4 && n_nothing > 0 && n_passed > 0);
    kind->release(&probe);
}
END_TEST

START_TEST(lack_of_processes_is_no_result)
{
    struct rlimit before, limit;
    bool root = geteuid() == 0;

    if (root) { /* whom that limit does not concern */
        ck_assert_int_eq(setresuid(65534, 65534, 0), 0);
        ck_assert_int_eq(prctl(PR_SET_DUMPABLE, 1), 0); /* or the sanitizer could not look */
    }
    begin_shell("exit 0");
    ck_assert_int_eq(getrlimit(RLIMIT_NPROC, &before), 0);
    limit = before;
    limit.rlim_cur = 0;
    ck_assert_int_eq(setrlimit(RLIMIT_NPROC, &limit), 0);
    ck_assert_int_eq(probe_run(), -EAGAIN);
    ck_assert_int_eq(setrlimit(RLIMIT_NPROC, &before), 0);
    ck_assert_int_eq(probe_run(), 0);
    ck_assert(result.passed);
    kind->release(&probe);
    ck_assert_int_eq(root ? setresuid(0, 0, 0) : 0, 0);
}
END_TEST

/* --- options --- */

static void expect_problem(const char *command, const char *expected)
{
    const struct check_arg arg = {"command", command};
    STR_AUTO problem = {0};
    bool is_right = check_kind_exec.judge_all(&arg, command != NULL, &problem);

    ck_assert_int_eq(is_right, expected[0] == '\0');
    ck_assert_str_eq(str_text(&problem), expected);
}

START_TEST(options_are_judged)
{
    expect_problem("/bin/true", "");
    expect_problem(NULL, "no command; write command = { \"/path/to/program\", \"argument\" }");
    expect_problem("true", "command begins with \"true\"; write the program's absolute path (there "
                           "is no shell and no search)");
}
END_TEST

int main(void)
{
    const TTest *tests[] = {
        exit_statuses,
        without_dynamic_only_0_passes,
        a_signal_is_a_failure,
        what_cannot_be_run_is_a_failure,
        a_script_runs_with_its_arguments,
        no_command_at_all,
        an_end_that_nobody_saw_is_no_success,
        the_first_line_is_the_reason,
        a_long_line_is_cut,
        quoting_cuts_between_characters,
        a_gigabyte_of_output_is_dropped,
        closed_output_is_no_end,
        the_environment_is_clean,
        no_descriptor_is_inherited,
        standard_descriptors_may_be_missing,
        signals_are_the_usual_ones,
        limits_and_place,
        cancel_kills_all_of_the_group,
        a_flood_ends_with_its_time,
        cancelled_before_it_runs,
        a_grandchild_with_the_pipe_holds_up_nobody,
        a_grandchild_may_leave,
        it_dies_with_the_monitor,
        one_that_cannot_be_ended_is_not_joined_by_another,
        the_end_of_a_killed_one_is_awaited,
        to_await_an_end_can_be_given_up,
        to_await_an_end_and_lack_descriptors_is_no_result,
        one_that_nobody_wants_is_reaped_later,
        lack_of_descriptors_is_no_result,
        lack_of_processes_is_no_result,
        options_are_judged,
    };

    return run_suite("check/exec", exec_setup, exec_teardown, tests, COUNT(tests));
}
