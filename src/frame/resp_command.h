/*
 * What Redis' commands mean to who shares connections. In workers; pure.
 */
#ifndef SLUICE_FRAME_RESP_COMMAND_H
#define SLUICE_FRAME_RESP_COMMAND_H

#include <stddef.h>

/* The longest name of the table. */
#define RESP_NAME_MAX 20

enum resp_class {
    RESP_OWN,         /* leaves something on the connection or depends on what was left there, has
                         not just one reply, or nobody knows */
    RESP_SHARE,       /* stateless, with one reply */
    RESP_READ,        /* as well, and changes nothing: may be sent twice */
    RESP_WAIT,        /* as RESP_SHARE, but may be answered only once others have done something */
    RESP_SCRIPT,      /* as RESP_SHARE, if scripts are declared stateless; else as RESP_OWN */
    RESP_SCRIPT_READ, /* as RESP_READ, likewise */
    RESP_HANDSHAKE,   /* perhaps part of a handshake */
    RESP_MULTI,
    RESP_EXEC,
    RESP_DISCARD,
    RESP_WATCH,
    RESP_UNWATCH,
    RESP_QUIT,
    RESP_CLASS_COUNT
};

struct resp_command {
    char name[RESP_NAME_MAX + 4]; /* upper case, filled up with NUL */
    unsigned char class;          /* enum resp_class */
};

/* In any case of letters. Never NULL: what is not in the table is RESP_OWN, and its name says that
 * it is unknown. */
const struct resp_command *resp_command_find(const unsigned char *name, size_t n);

/* The table, in order of names, for tests. */
extern const struct resp_command resp_commands[];
extern const size_t resp_command_count;

#endif
