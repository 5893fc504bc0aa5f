/*
 * The map of a handshake, and its key. In workers; pure.
 *
 * AUTH comes first, as nothing else is allowed before it where a password is set; but behind a
 * HELLO that carries an older one. A HELLO that carries a user or a name takes the place of older
 * AUTH or CLIENT SETNAME; one that carries less than the one before it cannot stand in for it, and
 * is no part of a handshake. https://redis.io/docs/latest/commands/hello/ and its neighbours.
 *
 * A client that goes over to a user who may not run what it ran before gives a key that cannot be
 * replayed; preparing a fresh upstream for it then fails.
 */
#include "resp_handshake.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "resp_request.h"

#define ARGUMENTS_MAX 8 /* HELLO 3 AUTH user password SETNAME name, and one too many */

/* In the order of the key. */
enum place {
    PLACE_AUTH,
    PLACE_HELLO,
    PLACE_LATER_AUTH, /* than that of HELLO */
    PLACE_SELECT,
    PLACE_SETNAME,
    PLACE_LIB_NAME,
    PLACE_LIB_VER,
    PLACE_NO_EVICT,
    PLACE_NO_TOUCH,
    PLACE_COUNT,
    PLACE_NONE, /* a command that changes nothing */
};

struct map {
    unsigned char key[FRAMER_KEY_MAX];
    uint16_t lengths[PLACE_COUNT]; /* of the commands that key is made of; 0: none */
    bool hello_has_auth, hello_has_name;
};

struct resp_handshake {
    struct map maps[2]; /* the present one and the proposed one */
    unsigned char present;
};

struct command {
    struct resp_argument args[ARGUMENTS_MAX];
    size_t count;
    const unsigned char *bytes;
    size_t n;
    enum place place;
    bool has_auth, has_name; /* a HELLO that carries them */
};

static bool is_word(const struct resp_argument *argument, const char *word)
{
    return argument->n == strlen(word) &&
           strncasecmp((const char *)argument->at, word, argument->n) == 0;
}

/* HELLO [version [AUTH user password] [SETNAME name]]: without a version it only asks. */
static bool read_hello(struct command *command)
{
    size_t at = 2;

    command->place = command->count > 1 ? PLACE_HELLO : PLACE_NONE;
    while (at < command->count) {
        size_t left = command->count - at;
        if (is_word(&command->args[at], "AUTH") && left >= 3 && !command->has_auth) {
            command->has_auth = true;
            at += 3;
        } else if (is_word(&command->args[at], "SETNAME") && left >= 2 && !command->has_name) {
            command->has_name = true;
            at += 2;
        } else {
            return false;
        }
    }
    return true;
}

static bool read_client(struct command *command)
{
    static const struct {
        const char *subcommand, *attribute;
        enum place place;
    } known[] = {
        {"SETNAME", NULL, PLACE_SETNAME},      {"SETINFO", "LIB-NAME", PLACE_LIB_NAME},
        {"SETINFO", "LIB-VER", PLACE_LIB_VER}, {"NO-EVICT", NULL, PLACE_NO_EVICT},
        {"NO-TOUCH", NULL, PLACE_NO_TOUCH},
    };

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        size_t count = known[i].attribute != NULL ? 4 : 3;
        if (command->count == count && is_word(&command->args[1], known[i].subcommand) &&
            (known[i].attribute == NULL || is_word(&command->args[2], known[i].attribute))) {
            command->place = known[i].place;
            return true;
        }
    }
    return false;
}

static bool read_command(struct command *command)
{
    const struct resp_argument *name = &command->args[0];

    command->count =
        resp_request_arguments(command->bytes, command->n, command->args, ARGUMENTS_MAX);
    if (command->count > ARGUMENTS_MAX) {
        return false;
    }
    if (is_word(name, "HELLO")) {
        return read_hello(command);
    }
    if (is_word(name, "AUTH")) {
        command->place = PLACE_AUTH;
        return command->count == 2 || command->count == 3;
    }
    if (is_word(name, "SELECT")) {
        command->place = PLACE_SELECT;
        return command->count == 2;
    }
    return is_word(name, "CLIENT") && read_client(command);
}

static size_t key_length(const struct map *map)
{
    size_t length = 0;

    for (size_t i = 0; i < PLACE_COUNT; i++) {
        length += map->lengths[i];
    }
    return length;
}

/* Which of a map's commands are no longer of account beside a new one. */
static void mark_outdone(const struct command *command, bool outdone[PLACE_COUNT])
{
    outdone[command->place] = true;
    if (command->place == PLACE_HELLO && command->has_auth) {
        outdone[PLACE_AUTH] = outdone[PLACE_LATER_AUTH] = true;
    }
    if (command->place == PLACE_HELLO && command->has_name) {
        outdone[PLACE_SETNAME] = true;
    }
}

/* out is another map. False: it would be too long. */
static bool put(const struct map *map, const struct command *command, struct map *out)
{
    bool outdone[PLACE_COUNT] = {false};
    size_t from = 0, to = 0;

    mark_outdone(command, outdone);
    out->hello_has_auth = map->hello_has_auth;
    out->hello_has_name = map->hello_has_name;
    if (command->place == PLACE_HELLO) {
        out->hello_has_auth = command->has_auth;
        out->hello_has_name = command->has_name;
    }
    for (size_t i = 0; i < PLACE_COUNT; i++) {
        const unsigned char *bytes = outdone[i] ? command->bytes : map->key + from;
        size_t n = i == command->place ? command->n : outdone[i] ? 0 : map->lengths[i];
        if (n > sizeof(out->key) - to) {
            return false;
        }
        memcpy(out->key + to, bytes, n);
        out->lengths[i] = (uint16_t)n;
        from += map->lengths[i];
        to += n;
    }
    return true;
}

bool resp_handshake_propose(struct resp_handshake **handshake, const unsigned char *bytes, size_t n)
{
    struct command command = {.bytes = bytes, .n = n};

    if (!read_command(&command)) {
        return false;
    }
    if (*handshake == NULL) {
        *handshake = calloc(1, sizeof(**handshake));
    }
    if (*handshake == NULL) {
        return false;
    }
    const struct map *map = &(*handshake)->maps[(*handshake)->present];
    struct map *next = &(*handshake)->maps[!(*handshake)->present];
    if (command.place == PLACE_NONE) {
        *next = *map;
        return true;
    }
    if (command.place == PLACE_HELLO && ((map->hello_has_auth && !command.has_auth) ||
                                         (map->hello_has_name && !command.has_name))) {
        return false;
    }
    if (command.place == PLACE_AUTH && map->hello_has_auth) {
        command.place = PLACE_LATER_AUTH;
    }
    return put(map, &command, next);
}

void resp_handshake_accept(struct resp_handshake *handshake)
{
    handshake->present = !handshake->present;
}

static struct framing_bytes key_of(const struct map *map)
{
    return (struct framing_bytes){.at = map->key, .n = key_length(map)};
}

struct framing_bytes resp_handshake_key(const struct resp_handshake *handshake)
{
    return handshake != NULL ? key_of(&handshake->maps[handshake->present])
                             : (struct framing_bytes){NULL, 0};
}

struct framing_bytes resp_handshake_next_key(const struct resp_handshake *handshake)
{
    return key_of(&handshake->maps[!handshake->present]);
}

unsigned resp_handshake_commands(const struct resp_handshake *handshake)
{
    unsigned count = 0;

    for (size_t i = 0; i < PLACE_COUNT; i++) {
        count += handshake->maps[handshake->present].lengths[i] > 0;
    }
    return count;
}

void resp_handshake_free(struct resp_handshake *handshake)
{
    if (handshake != NULL) {
        explicit_bzero(handshake, sizeof(*handshake));
        free(handshake);
    }
}
