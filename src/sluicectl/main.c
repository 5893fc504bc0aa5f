/*
 * sluicectl: the operator's command. Sends its words as one request to the running daemon and
 * prints the reply. Knows no verbs of its own: they are the daemon's ("sluicectl help"); only what
 * "save" is answered it writes to the file. Of health
 * it can also make its exit status, for those who watch by running a command; doctor needs no
 * daemon.
 */
#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "ctl/codec.h"
#include "sluicectl/doctor.h"
#include "sluicectl/save.h"
#include "sluicectl/talk.h"

#define HEALTH_MS 2000 /* who watches health wants an answer soon, or none counts as a no */

enum exit_code { EXIT_DONE, EXIT_REFUSED, EXIT_USAGE, EXIT_NO_DAEMON, EXIT_UNHEALTHY = 1 };

static const char usage_text[] =
    "Usage: sluicectl [-s SOCKET] [--json] WORDS...\n"
    "       sluicectl help            all commands of the running daemon\n"
    "       sluicectl health [SERVICE] [--exit-code]\n"
    "       sluicectl save FILE       the running configuration, written as you\n"
    "       sluicectl doctor [--help]  is this machine ready for the configured scale\n"
    "\n"
    "  -s, --socket SOCKET  control socket (else $SLUICE_SOCKET, else " TALK_SOCKET ")\n"
    "      --json           the reply as one line of JSON\n"
    "      --exit-code      of health only, for keepalived and its like: exit status 0 healthy,\n"
    "                       1 unhealthy, 3 no daemon or no answer within 2 s\n"
    "  -h, --help           this text\n"
    "  -V, --version        the version of sluicectl\n"
    "\n"
    "Options stand before the words; --json also after them, and with health all.\n"
    "Exit status: 0 done, 1 refused by the daemon, 2 bad usage, 3 no daemon.\n";

struct options {
    const char *socket;
    bool json;
    bool exit_code;
    bool save; /* "save FILE": its reply is written to the file */
    char **words;
    size_t n_words;
};

enum parsed { PARSED_GO, PARSED_EXIT_DONE, PARSED_EXIT_USAGE };

/* In the daemon's own form, as if it had been asked. */
__attribute__((format(printf, 2, 3))) static enum parsed fail_usage(const struct options *options,
                                                                    const char *format, ...)
{
    STR_AUTO text = {0};
    STR_AUTO out = {0};
    struct json json;
    va_list args;

    str_append(&text, CODEC_USAGE);
    va_start(args, format);
    str_vprintf(&text, format, args);
    va_end(args);
    if (!options->json) {
        fprintf(stderr, CODEC_ERROR "%s\n%s", str_text(&text), usage_text);
        return PARSED_EXIT_USAGE;
    }
    json_init(&json, &out);
    json_begin_object(&json, NULL);
    json_put_string(&json, "error", str_text(&text));
    json_put_string(&json, "code", "usage");
    json_end_object(&json);
    fprintf(stderr, "%s\n", str_text(&out));
    return PARSED_EXIT_USAGE;
}

static enum parsed take_options(int argc, char **argv, const char *shorts, struct options *options)
{
    static const struct option longs[] = {
        {"socket", required_argument, NULL, 's'}, {"json", no_argument, NULL, 'j'},
        {"exit-code", no_argument, NULL, 'e'},    {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},      {NULL, 0, NULL, 0},
    };
    int c;

    optind = 0; /* begins anew, in another argv perhaps */
    opterr = 0;
    while ((c = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
        switch (c) {
        case 's':
            options->socket = optarg;
            break;
        case 'j':
            options->json = true;
            break;
        case 'e':
            options->exit_code = true;
            break;
        case 'h':
            fputs(usage_text, stdout);
            return PARSED_EXIT_DONE;
        case 'V':
            puts("sluicectl " SLUICE_VERSION);
            return PARSED_EXIT_DONE;
        case ':':
            return fail_usage(options, "-s needs the path of a SOCKET");
        default:
            return fail_usage(options, "unknown option %s; see sluicectl --help", argv[optind - 1]);
        }
    }
    return PARSED_GO;
}

/* Those among and after the words, which are left without them. */
static enum parsed take_later_options(char *program, struct options *options)
{
    char *first = options->words[0];
    enum parsed parsed;

    options->words[0] = program; /* getopt wants it there */
    parsed = take_options((int)options->n_words, options->words, ":s:hV", options);
    if (parsed != PARSED_GO)
        return parsed;
    options->words += optind - 1;
    options->n_words -= (size_t)optind - 1;
    options->words[0] = first;
    return PARSED_GO;
}

static enum parsed parse_options(int argc, char **argv, struct options *options)
{
    /* "+": what follows the first word belongs to the request. */
    enum parsed parsed = take_options(argc, argv, "+:s:hV", options);
    bool is_health;

    if (parsed != PARSED_GO)
        return parsed;
    options->words = argv + optind;
    options->n_words = (size_t)(argc - optind);
    if (options->n_words == 0)
        return fail_usage(options, "which command? sluicectl help lists all");
    if (options->n_words > 1 && strcmp(options->words[0], "doctor") != 0 &&
        strcmp(options->words[options->n_words - 1], "--json") == 0) {
        options->json = true;
        options->n_words--;
    }
    is_health = strcmp(options->words[0], "health") == 0;
    if (options->exit_code && !is_health)
        return fail_usage(options, "--exit-code goes with health only");
    return is_health ? take_later_options(argv[0], options) : PARSED_GO;
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
    if ((options->json || options->save) &&
        strcmp(options->words[options->n_words - 1], "json") != 0)
        str_append(line, " json");
    if (line->failed) {
        fputs("sluicectl: out of memory\n", stderr);
        return -ENOMEM;
    }
    return 0;
}

/* What the daemon would not take as one request is not sent. */
static bool is_sendable(const struct options *options, const struct str *line)
{
    struct codec_words words = {0};
    const char *problem;

    if (codec_split(str_text(line), line->len, &words, &problem) == 0) {
        codec_words_free(&words);
        return true;
    }
    (void)fail_usage(options, "%s", problem);
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
        return "sluiced is there but does not answer in time; look at its log";
    case ECONNRESET:
        return "sluiced closed the connection before its reply was complete; look at its log";
    default:
        return "name the daemon's socket with -s or SLUICE_SOCKET";
    }
}

static int report_no_daemon(const struct options *options, const char *socket, int error)
{
    fprintf(stderr, "sluicectl: no answer from the daemon at %s: %s; %s\n", socket, strerror(error),
            advice_for(error));
    if (strcmp(options->words[0], "help") == 0)
        fputs("sluicectl: the commands are in the manual, too: man sluicectl\n", stderr);
    return EXIT_NO_DAEMON;
}

static bool begins_with(const struct str *text, const char *start)
{
    return strncmp(str_text(text), start, strlen(start)) == 0;
}

static bool is_refusal(const struct str *reply)
{
    return begins_with(reply, CODEC_ERROR) || begins_with(reply, CODEC_ERROR_JSON);
}

static int judge_refusal(const struct str *reply)
{
    bool is_usage =
        begins_with(reply, CODEC_ERROR CODEC_USAGE) ||
        (begins_with(reply, CODEC_ERROR_JSON) && strstr(str_text(reply), CODEC_USAGE_JSON) != NULL);

    return is_usage ? EXIT_USAGE : EXIT_REFUSED;
}

/* The exit status that the reply stands for. */
static int judge_reply(const struct options *options, const struct str *reply, bool refused)
{
    if (refused)
        return judge_refusal(reply);
    if (options->exit_code && !begins_with(reply, CODEC_HEALTHY) &&
        !begins_with(reply, CODEC_HEALTHY_JSON))
        return EXIT_UNHEALTHY;
    return EXIT_DONE;
}

static int print_reply(const struct options *options, const struct str *reply)
{
    bool refused = is_refusal(reply);
    int result = judge_reply(options, reply, refused);

    fwrite(str_text(reply), 1, reply->len, refused ? stderr : stdout);
    if (fflush(refused ? stderr : stdout) != 0) {
        fprintf(stderr, "sluicectl: cannot write the reply: %m\n");
        /* Who goes by the exit status may not care for the text. */
        return options->exit_code ? result : EXIT_REFUSED;
    }
    return result;
}

/* What is left of the time that there is for everything; at least 1. */
static uint32_t left_of(uint32_t limit_ms, uint64_t since_ms)
{
    uint64_t spent_ms = clock_now_ms() - since_ms;

    return spent_ms < limit_ms ? limit_ms - (uint32_t)spent_ms : 1;
}

/* Sends the line, and receives the whole reply. Returns 0 or -errno. */
static int exchange(const struct options *options, const char *socket, const struct str *line,
                    struct str *reply)
{
    uint64_t since_ms = clock_now_ms();
    uint32_t limit_ms = options->exit_code ? HEALTH_MS : TALK_SILENCE_MS;
    FD_AUTO fd = talk_connect(socket, limit_ms);
    int result;

    if (fd < 0)
        return fd;
    if (options->exit_code) {
        result = talk_limit_silence(fd, left_of(limit_ms, since_ms));
        if (result != 0)
            return result;
    }
    result = talk_send_line(fd, str_text(line), line->len);
    /* A daemon that refuses to read on may have said why. */
    return result == 0 || result == -EPIPE ? talk_receive(fd, reply) : result;
}

static int talk(const struct options *options, const char *socket, const struct str *line)
{
    STR_AUTO reply = {0};
    int result = exchange(options, socket, line, &reply);

    if (result != 0)
        return report_no_daemon(options, socket, -result);
    /* Of a save the reply is JSON in any case; a refusal is shown as it was asked for. */
    if (options->save && !(options->json && is_refusal(&reply)))
        return save_file(&reply, options->words[1], options->json) == 0 ? EXIT_DONE
                                                                        : judge_refusal(&reply);
    return print_reply(options, &reply);
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
    if (strcmp(options.words[0], "doctor") == 0)
        return doctor_run((int)options.n_words, options.words, options.socket, options.json);
    options.save = options.n_words >= 2 && strcmp(options.words[0], "save") == 0 &&
                   strcmp(options.words[1], "json") != 0;
    if (build_line(&options, &line) != 0 || !is_sendable(&options, &line))
        return EXIT_USAGE;
    return talk(&options, talk_choose_socket(options.socket, TALK_SOCKET), &line);
}
