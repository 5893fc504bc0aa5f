/*
 * A program that is run beside the loop: started in a process group of its own, heard, and ended
 * together with everything of that group. Nothing here waits, and no process is left behind: what
 * was killed is reaped when it has ended, whoever has forgotten it by then. In the monitor.
 *
 *   running ──ends──────────────────► gone      fn is called on this way only
 *      │                               ▲
 *      └──killed or released──► killed ┘
 */
#ifndef SLUICE_CHECK_PROGRAM_H
#define SLUICE_CHECK_PROGRAM_H

#include <event2/event.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PROGRAM_OUTPUT_MAX 1024 /* bytes of output that are kept; more is read and dropped */

struct program;

/* How it ended. */
struct program_end {
    int error;          /* errno of what kept it from being run at all; else 0 */
    int signal;         /* that ended it; else 0 */
    int status;         /* its exit status, 0 to 255, when neither of these is set */
    const char *output; /* how its output (standard output and error alike) began; no string */
    size_t output_bytes;
};

/* May release the program. end is valid during the call. */
typedef void program_fn(void *arg, const struct program_end *end);

struct program_options {
    char *const *argv; /* argv[0] is the path; no search, no shell */
    char *const *environment;
    uint32_t cpu_seconds; /* of processor time, after that the kernel ends it */
};

/*
 * Starts one: standard input empty, no other descriptor of ours, the system's usual signals, in
 * the folder /. It is killed when this process dies; what it has started itself is for whoever
 * finds this process dead to kill, by the session, which is ours. fn comes from the loop, never
 * before the return. Returns 0 with *out, or -errno when something of our own was missing, with
 * nothing held. That the program does not exist or may not be run comes as its end. Options need
 * not live longer than the call.
 */
int program_start(struct event_base *base, const struct program_options *options, program_fn *fn,
                  void *arg, struct program **out);
/* Kills its whole process group; fn is not called any more. Twice is harmless. */
void program_kill(struct program *program);
/* Whether it has ended and was reaped. After a kill that takes a moment, and for ever where the
 * kernel cannot end it (a file system that does not answer). */
bool program_is_gone(struct program *program);
/* Lets go of it, killed if it has not ended yet. NULL is allowed. */
void program_release(struct program *program);

#endif
