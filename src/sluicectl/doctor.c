/*
 * sluicectl doctor: reads the configuration as the daemon does, looks at the machine, and tells
 * what is missing for the configured scale. Changes nothing.
 */
#include "sluicectl/doctor.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "proc/configuration.h"
#include "proc/machine.h"
#include "sluicectl/doctor_daemon.h"
#include "sluicectl/doctor_namespace.h"
#include "sluicectl/doctor_print.h"
#include "sluicectl/talk.h"

enum { EXIT_READY, EXIT_NOT_READY, EXIT_USAGE };

static const char usage_text[] =
    "Usage: sluicectl doctor [-c FILE] [--connections N] [--json | --sysctl | --systemd]\n"
    "\n"
    "Tells what this machine lacks for the number of connections that the configuration asks for.\n"
    "\n"
    "  -c, --config FILE    configuration (else the running daemon's, else\n"
    "                       " CONFIGURATION_FILE ")\n"
    "      --connections N  instead of its max_connections\n"
    "      --json           as one line of JSON\n"
    "      --sysctl         what to change, as a file for /etc/sysctl.d\n"
    "      --systemd        the limits, as a drop-in for the daemon's unit\n"
    "  -s, --socket SOCKET  of a running daemon (else $SLUICE_SOCKET, else the file's)\n"
    "  -h, --help           this text\n"
    "\n"
    "Exit status: 0 ready, 1 not ready or the file is not usable, 2 usage.\n";

struct options {
    const char *file, *socket;
    bool is_of_daemon; /* the file is: it told */
    uint64_t connections;
    doctor_print_fn *print; /* NULL: none was asked for yet */
};

static int fail_usage(const char *what)
{
    if (what)
        fprintf(stderr, "sluicectl: %s\n", what);
    fputs(usage_text, stderr);
    return EXIT_USAGE;
}

/* Returns -1 to go on, else the exit status. */
static int take_form(struct options *options, doctor_print_fn *print)
{
    if (options->print && options->print != print)
        return fail_usage("--json, --sysctl and --systemd do not go together");
    options->print = print;
    return -1;
}

static int take_connections(struct options *options, const char *text)
{
    const char *problem;

    if (units_parse_uint(text, 1, UINT32_MAX, &options->connections, &problem) == 0)
        return -1;
    fprintf(stderr, "sluicectl: --connections %s: %s\n", text, problem);
    return fail_usage(NULL);
}

static int take_option(struct options *options, int c)
{
    switch (c) {
    case 'c':
        options->file = optarg;
        return -1;
    case 's':
        options->socket = optarg;
        return -1;
    case 'n':
        return take_connections(options, optarg);
    case 'j':
        return take_form(options, doctor_print_json);
    case 'k':
        return take_form(options, doctor_print_sysctl);
    case 'u':
        return take_form(options, doctor_print_systemd);
    case 'h':
        fputs(usage_text, stdout);
        return EXIT_READY;
    default:
        return fail_usage(NULL);
    }
}

static int parse(int argc, char **argv, struct options *options)
{
    static const struct option longs[] = {
        {"config", required_argument, NULL, 'c'}, {"connections", required_argument, NULL, 'n'},
        {"json", no_argument, NULL, 'j'},         {"sysctl", no_argument, NULL, 'k'},
        {"systemd", no_argument, NULL, 'u'},      {"socket", required_argument, NULL, 's'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0},
    };
    int c, status = -1;

    optind = 0; /* begins anew, in another argv */
    while (status < 0 && (c = getopt_long(argc, argv, "c:s:h", longs, NULL)) != -1)
        status = take_option(options, c);
    if (status < 0 && optind < argc)
        return fail_usage("doctor takes no further words; name the file with -c");
    return status;
}

/* What was seen, and how. */
struct examination {
    const struct options *options;
    const char *socket; /* of the daemon; the file's may be it */
    struct doctor_daemon daemon;
    struct machine machine;
    struct doctor_return way_back;
    struct doctor_firewall firewall;
    struct str whose, note;
    bool is_near; /* in the daemon's network namespace, or there is none */
};

static void examination_free(struct examination *seen)
{
    doctor_return_free(&seen->way_back);
    doctor_firewall_free(&seen->firewall);
    str_free(&seen->whose);
    str_free(&seen->note);
}

static void append_whose(const struct doctor_daemon *daemon, const char *socket, struct str *out)
{
    if (daemon->pid != 0)
        str_printf(out, "the running daemon (pid %d)", (int)daemon->pid);
    else if (daemon->error == 0)
        str_append(out, "this process (the daemon's own cannot be seen from here)");
    else
        str_printf(out, "this process (no daemon answers at %s: %s)", socket,
                   strerror(daemon->error));
}

/* From here on everything is as the daemon, or else this process, sees it. */
static bool go_there(const struct model *model, void *arg)
{
    struct examination *seen = arg;

    seen->socket = talk_choose_socket(seen->options->socket, model->global.control_socket);
    doctor_ask_daemon(seen->socket, &seen->daemon);
    seen->is_near = doctor_namespace_enter(seen->daemon.pid, &seen->note) != DOCTOR_NAMESPACE_SHUT;
    return seen->is_near;
}

static void examine(const struct model *model, struct examination *seen)
{
    machine_read("", seen->daemon.pid, &seen->machine);
    if (!seen->is_near)
        doctor_namespace_forget(&seen->machine);
    doctor_discount(&seen->machine, seen->daemon.active);
    doctor_firewall_read(&seen->firewall);
    doctor_return_read(model, seen->daemon.pid, &seen->way_back);
    append_whose(&seen->daemon, seen->socket, &seen->whose);
}

static int report(const struct options *options, const struct model *model,
                  struct examination *seen)
{
    doctor_print_fn *print = options->print ? options->print : doctor_print_text;
    struct doctor_report report;
    struct doctor_plan plan;
    STR_AUTO text = {0};
    int status;

    examine(model, seen);
    doctor_plan(model, &seen->machine, seen->is_near ? machine_may_come_from : NULL,
                options->connections, &plan);
    plan.whose = str_text(&seen->whose);
    plan.note = str_text(&seen->note);
    plan.is_of_daemon = options->is_of_daemon;
    plan.is_far = !seen->is_near;
    plan.way_back = seen->is_near && doctor_return_wanted(&seen->way_back) ? &seen->way_back : NULL;
    plan.firewall = seen->is_near ? &seen->firewall : NULL;
    plan.active = seen->daemon.active;
    doctor_judge(&seen->machine, &plan, &report);
    print(options->file, &plan, &report, &text);
    status = doctor_is_ready(&report) ? EXIT_READY : EXIT_NOT_READY;
    doctor_report_free(&report);
    if (fputs(str_text(&text), stdout) < 0 || fflush(stdout) != 0) {
        fprintf(stderr, "sluicectl: cannot write the report: %m\n");
        status = EXIT_NOT_READY;
    }
    return status;
}

/* Nobody named one: what the running daemon was started with, if there is one. */
static void choose_file(struct options *options, struct doctor_daemon *daemon)
{
    const char *socket = talk_choose_socket(options->socket, TALK_SOCKET);

    options->file = CONFIGURATION_FILE;
    doctor_ask_daemon(socket, daemon);
    if (daemon->file[0] == '\0')
        return;
    options->file = daemon->file;
    options->socket = socket; /* of the same, whatever the file says by now */
    options->is_of_daemon = true;
}

int doctor_run(int argc, char **argv, const char *socket, bool json)
{
    struct options options = {.socket = socket};
    struct examination seen = {.options = &options};
    struct doctor_daemon daemon;
    struct model *model;
    int status;

    if (json)
        options.print = doctor_print_json;
    status = parse(argc, argv, &options);
    if (status >= 0)
        return status;
    if (!options.file)
        choose_file(&options, &daemon);
    model = configuration_read_at(options.file, go_there, &seen);
    if (model) {
        status = report(&options, model, &seen);
    } else {
        fprintf(stderr, "sluicectl: %s is not usable\n", options.file);
        status = EXIT_NOT_READY;
    }
    examination_free(&seen);
    model_free(model);
    return status;
}
