/*
 * Commands of memcached's text protocol that leave nothing behind on a connection, and how each is
 * answered. In workers; pure.
 *
 * After doc/protocol.txt of memcached 1.6, and its proto_text.c where that leaves things open. What
 * is not understood to the last byte is nobody's command here: memcached takes, for instance,
 * "touch key noreply" to ask for silence about its own malformedness.
 */
#ifndef SLUICE_FRAME_MEMCACHED_COMMAND_H
#define SLUICE_FRAME_MEMCACHED_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* memcached's own limits: KEY_MAX_LENGTH of memcached.h; what try_read_command_ascii() of
 * proto_text.c reads without a newline, unless it is of a get or a gets. */
#define MEMCACHED_KEY_MAX  250
#define MEMCACHED_LINE_MAX 2048
/* The largest block of data, INT_MAX - 2 in process_update_command() of proto_text.c. */
#define MEMCACHED_DATA_MAX (INT32_MAX - 2)

/* Lines of an answer that do not end it. */
enum memcached_item {
    MEMCACHED_NO_ITEM,
    MEMCACHED_VALUE, /* "VALUE key flags bytes [cas]" and data, any number of them */
    MEMCACHED_STAT,  /* "STAT …", any number of them */
    MEMCACHED_VA,    /* "VA bytes …" and data, which is all of the answer */
};

struct memcached_command {
    const char *name;
    /* A letter each: k key, K at least one key, n number, i number that may be negative, o number
     * or nothing, z "0" or nothing, r "noreply" or nothing, d length of the data that follows, F
     * meta flags. */
    const char *args;
    /* First words of lines that end the answer, but for errors; # is a number. NULL: the command
     * owns its upstream. */
    const char *answers;
    enum memcached_item item;
    bool is_read; /* changes nothing, unless its flags say otherwise */
};

struct memcached_request {
    const struct memcached_command *command;
    uint64_t data_bytes; /* of the data that follow, with their CRLF; 0: none follow */
    bool noreply;
    bool is_read;
};

enum memcached_parse {
    MEMCACHED_SHARED,  /* understood: out_request is all that there is to know */
    MEMCACHED_OWNS,    /* not understood, or not for sharing */
    MEMCACHED_REFUSED, /* a key that memcached does not take: what it makes of the data behind such
                          a line, it would take for commands */
};

/* Reads a command's line, n bytes with its line's end. out_why: which command, or what, owns or is
 * refused; static. */
enum memcached_parse memcached_parse(const unsigned char *line, size_t n,
                                     struct memcached_request *out_request, const char **out_why);

/* A word of a line. */
struct memcached_word {
    const unsigned char *at;
    size_t n;
};

/* Cuts the next word off the bytes between *at and end; n is 0 behind the last. */
struct memcached_word memcached_next_word(const unsigned char **at, const unsigned char *end);
bool memcached_word_is(struct memcached_word word, const char *text);
/* Whether it is one of words, which are separated by a space. */
bool memcached_word_in(struct memcached_word word, const char *words);
/* A decimal number of at most 20 digits, -1: it is none, or above max. */
int64_t memcached_read_number(struct memcached_word word, int64_t max);
/* Whether it is a decimal number of at most 20 digits. */
bool memcached_is_number(struct memcached_word word);

#endif
