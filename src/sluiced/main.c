/*
 * sluiced: command line, reading the configuration once, and either checking or running it.
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "model/model.h"
#include "proc/configuration.h"
#include "proc/master.h"
#include "proc/succession.h"

enum { EXIT_USAGE = 2 };

struct options {
    const char *file;
    bool test, strict, print;
};

static void print_usage(FILE *out)
{
    fprintf(out, "usage: sluiced [-c FILE] [-t [--strict]] [-T] [-V] [-h]\n"
                 "\n"
                 "Runs the load balancer in the foreground.\n"
                 "\n"
                 "  -c FILE     configuration (default " CONFIGURATION_FILE ")\n"
                 "  -t          check the configuration and exit: 0 good, 1 bad\n"
                 "  --strict    with -t: what only the target machine can know (names that do not\n"
                 "              resolve, users, folders, addresses, programs) is an error, not a\n"
                 "              warning\n"
                 "  -T          like -t, and print the effective configuration\n"
                 "  -V          print the version\n"
                 "  -h          print this\n"
                 "\n"
                 "Signals: HUP reloads, TERM drains and ends, a second TERM or INT ends at once,\n"
                 "USR1 reopens the log, USR2 upgrades. See sluicectl for everything else.\n");
}

/* Returns -1 to go on, else the exit status. */
static int parse(int argc, char **argv, struct options *options)
{
    static const struct option longs[] = {{"strict", no_argument, NULL, 's'},
                                          {"help", no_argument, NULL, 'h'},
                                          {"version", no_argument, NULL, 'V'},
                                          {0}};
    int c;
    while ((c = getopt_long(argc, argv, "c:tTVh", longs, NULL)) != -1) {
        switch (c) {
        case 'c':
            options->file = optarg;
            break;
        case 't':
            options->test = true;
            break;
        case 's':
            options->strict = true;
            break;
        case 'T':
            options->test = true;
            options->print = true;
            break;
        case 'V':
            printf("sluiced " SLUICE_VERSION "\n");
            return EXIT_SUCCESS;
        case 'h':
            print_usage(stdout);
            return EXIT_SUCCESS;
        default:
            print_usage(stderr);
            return EXIT_USAGE;
        }
    }
    if (optind < argc || (options->strict && !options->test)) {
        fprintf(stderr, "sluiced: %s\n",
                optind < argc ? "no further words are expected; name the file with -c"
                              : "--strict goes with -t");
        print_usage(stderr);
        return EXIT_USAGE;
    }
    return -1;
}

static int report(const struct options *options, const struct conf_tree *tree,
                  const struct model *model)
{
    if (options->print) {
        STR_AUTO text = {0};
        configuration_print(tree, model, &text);
        if (text.failed) {
            fprintf(stderr, "sluiced: out of memory\n");
            return EXIT_FAILURE;
        }
        fputs(str_text(&text), stdout);
    } else {
        printf("%s: good: %zu service%s, %zu pool%s\n", options->file, model->n_services,
               model->n_services == 1 ? "" : "s", model->n_pools, model->n_pools == 1 ? "" : "s");
    }
    return EXIT_SUCCESS;
}

/* As it is now: once a package has replaced it, only the path still leads to a program. */
static const char *own_program(char path[static PATH_MAX])
{
    ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 1);
    path[n > 0 ? n : 0] = '\0';
    return path;
}

int main(int argc, char **argv, char **envp)
{
    struct options options = {.file = CONFIGURATION_FILE};
    log_share_stderr();
    int status = parse(argc, argv, &options);
    if (status >= 0) {
        return status;
    }
    struct inherited *inherited = options.test ? NULL : succession_receive();
    struct conf_tree *tree = NULL;
    struct names names = {0};
    struct model *model = configuration_read(options.file, options.strict, &tree, &names);
    if (model == NULL) {
        fprintf(stderr, "sluiced: %s is not usable\n", options.file);
        inherited_free(inherited);
        return EXIT_FAILURE;
    }
    if (options.test) {
        configuration_weigh(model);
        status = report(&options, tree, model);
        model_free(model);
        conf_tree_free(tree);
        names_free(&names);
        return status;
    }
    char path[PATH_MAX], program[PATH_MAX];
    if (inherited == NULL || realpath(options.file, path) == NULL) {
        fprintf(stderr, "sluiced: %s: %s\n", options.file, strerror(errno));
        inherited_free(inherited);
        model_free(model);
        conf_tree_free(tree);
        names_free(&names);
        return EXIT_FAILURE;
    }
    setproctitle_init(argc, argv, envp);
    log_set_role("master");
    log_set_format((enum log_format)model->global.log_format);
    log_set_level((enum log_level)model->global.log_level);
    inherited_restore_stderr(inherited);
    int error = log_open(model->global.log);
    if (error != 0) {
        fprintf(stderr,
                "sluiced: cannot open log \"%s\": %s; choose a writable path, a daemon that runs "
                "(syslog, journal) or \"stderr\"\n",
                model->global.log, strerror(-error));
        inherited_free(inherited);
        model_free(model);
        conf_tree_free(tree);
        names_free(&names);
        return EXIT_FAILURE;
    }
    return master_run(path, own_program(program), model, tree, &names, inherited);
}
