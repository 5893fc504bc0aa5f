/*
 * sluicectl: the operator's command. Sends its words as one request to the running daemon and
 * prints the reply. Knows no verbs of its own: they are the daemon's ("sluicectl help").
 */
#include <errno.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "ctl/codec.h"
#include "sluicectl/talk.h"

#define DEFAULT_SOCKET "/run/sluice/control.sock"

enum exit_code { EXIT_DONE, EXIT_REFUSED, EXIT_USAGE, EXIT_NO_DAEMON };

static const char usage_text[] =
    "Usage: sluicectl [-s SOCKET] [--json] WORDS...\n"
    "       sluicectl help            all commands of the running daemon\n"
    "\n"
    "  -s, --socket SOCKET  control socket (else $SLUICE_SOCKET, else " DEFAULT_SOCKET ")\n"
    "      --json           the reply as one line of JSON\n"
    "  -h, --help           this text\n"
    "  -V, --version        the version of sluicectl\n"
    "\n"
    "Exit status: 0 done, 1 refused by the daemon, 2 usage, 3 no daemon.\n";

struct options {
    const char *socket;
    bool json;
    char **words;
    size_t n_words;
};

enum parsed { PARSED_GO, PARSED_EXIT_DONE, PARSED_EXIT_USAGE };

static enum parsed parse_options(int argc, char **argv, struct options *options)
{
    static const struct option longs[] = {
        {"socket", required_argument, NULL, 's'},
        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {NULL, 0, NULL, 0},
    };
    int c;

    /* "+": what follows the first word belongs to the request. */
    while ((c = getopt_long(argc, argv, "+s:hV", longs, NULL)) != -1) {
        switch (c) {
        case 's':
            options->socket = optarg;
            break;
        case 'j':
            options->json = true;
            break;
        case 'h':
            fputs(usage_text, stdout);
            return PARSED_EXIT_DONE;
        case 'V':
            puts("sluicectl " SLUICE_VERSION);
            return PARSED_EXIT_DONE;
        default:
            fputs(usage_text, stderr);
            return PARSED_EXIT_USAGE;
        }
    }
    options->words = argv + optind;
    options->n_words = (size_t)(argc - optind);
    if (options->n_words > 0)
        return PARSED_GO;
    fputs(usage_text, stderr);
    return PARSED_EXIT_USAGE;
}

static const char *choose_socket(const struct options *options)
{
    const char *from_environment = getenv("SLUICE_SOCKET");

    if (options->socket)
        return options->socket;
    return from_environment && *from_environment ? from_environment : DEFAULT_SOCKET;
}

/* Whether the word at index is the FILE of "check config FILE": relative to our folder, not to the
 * daemon's. */
static bool is_file(const struct options *options, size_t index)
{
    return index == 2 && strcmp(options->words[0], "check") == 0 &&
           strcmp(options->words[1], "config") == 0 && strcmp(options->words[2], "json") != 0;
}

/* Appends the request. Returns 0, or -EINVAL or -ENOMEM having said what is wrong. */
static int build_line(const struct options *options, struct str *line)
{
    for (size_t i = 0; i < options->n_words; i++) {
        char *absolute = NULL;

        if (is_file(options, i)) {
            absolute = realpath(options->words[i], NULL);
            if (!absolute) {
                fprintf(stderr, "sluicectl: %s: %m\n", options->words[i]);
                return -EINVAL;
            }
        }
        if (i > 0)
            str_append_char(line, ' ');
        codec_quote(line, absolute ? absolute : options->words[i]);
        free(absolute);
    }
    if (options->json && strcmp(options->words[options->n_words - 1], "json") != 0)
        str_append(line, " json");
    if (line->failed) {
        fputs("sluicectl: out of memory\n", stderr);
        return -ENOMEM;
    }
    return 0;
}

/* What the daemon would not take as one request is not sent. */
static bool is_sendable(const struct str *line)
{
    struct codec_words words = {0};
    const char *problem;

    if (codec_split(str_text(line), line->len, &words, &problem) == 0) {
        codec_words_free(&words);
        return true;
    }
    fprintf(stderr, "sluicectl: %s\n", problem);
    return false;
}

static const char *advice_for(int error)
{
    switch (error) {
    case ENOENT:
    case ECONNREFUSED:
        return "sluiced is not running there; start it, or name its socket with -s or "
               "SLUICE_SOCKET";
    case EACCES:
        return "your user may not open it; use sudo, or join the group that the socket belongs to";
    case ETIMEDOUT:
        return "sluiced is there but does not answer; look at its log";
    case ECONNRESET:
        return "sluiced closed the connection before its reply was complete; look at its log";
    default:
        return "name the daemon's socket with -s or SLUICE_SOCKET";
    }
}

static int report_no_daemon(const char *socket, int error)
{
    fprintf(stderr, "sluicectl: no answer from the daemon at %s: %s; %s\n", socket, strerror(error),
            advice_for(error));
    return EXIT_NO_DAEMON;
}

static bool begins_with(const struct str *text, const char *start)
{
    return strncmp(str_text(text), start, strlen(start)) == 0;
}

static int print_reply(const struct str *reply)
{
    bool refused = begins_with(reply, CODEC_ERROR) || begins_with(reply, CODEC_ERROR_JSON);
    FILE *stream = refused ? stderr : stdout;

    fwrite(str_text(reply), 1, reply->len, stream);
    if (fflush(stream) != 0) {
        fprintf(stderr, "sluicectl: cannot write the reply: %m\n");
        return EXIT_REFUSED;
    }
    return refused ? EXIT_REFUSED : EXIT_DONE;
}

static int talk(const char *socket, const struct str *line)
{
    FD_AUTO fd = talk_connect(socket);
    STR_AUTO reply = {0};
    int result;

    if (fd < 0)
        return report_no_daemon(socket, -fd);
    result = talk_send(fd, str_text(line), line->len);
    /* A daemon that refuses to read on may have said why. */
    if (result == 0 || result == -EPIPE)
        result = talk_receive(fd, &reply);
    if (result != 0)
        return report_no_daemon(socket, -result);
    return print_reply(&reply);
}

int main(int argc, char **argv)
{
    struct options options = {0};
    STR_AUTO line = {0};

    switch (parse_options(argc, argv, &options)) {
    case PARSED_EXIT_DONE:
        return EXIT_DONE;
    case PARSED_EXIT_USAGE:
        return EXIT_USAGE;
    default:
        break;
    }
    if (build_line(&options, &line) != 0 || !is_sendable(&line))
        return EXIT_USAGE;
    return talk(choose_socket(&options), &line);
}
