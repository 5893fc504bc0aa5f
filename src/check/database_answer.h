/*
 * What PostgreSQL and MySQL servers say to somebody who wants to log in: how to ask, and what an
 * answer means for their health. A server that turns the login away for what it is (no such user,
 * wrong password) is alive; one that is starting, full or has locked us out is not of use. Pure;
 * the bytes are a stranger's.
 *
 * Sources: PostgreSQL documentation, "Frontend/Backend Protocol" and "Error Codes"; MariaDB
 * knowledge base and MySQL internals manual, "Connection Phase"; MariaDB's
 * plugin/auth_ed25519/server_ed25519.c.
 */
#ifndef SLUICE_CHECK_DATABASE_ANSWER_H
#define SLUICE_CHECK_DATABASE_ANSWER_H

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

enum database_verdict {
    DATABASE_MORE,     /* the answer is not whole yet */
    DATABASE_GREETS,   /* MySQL only: now it is asked */
    DATABASE_ASKS,     /* alive: wants a password, or another way to log in */
    DATABASE_WELCOMES, /* alive: logged in */
    DATABASE_REFUSES,  /* alive: not this login */
    DATABASE_DOWN,     /* says so itself */
    DATABASE_STRANGE,  /* this is no such server */
    DATABASE_VERDICT_COUNT
};

#define DATABASE_TEXT_MAX   112
#define DATABASE_PLUGIN_MAX 64

struct database_answer {
    enum database_verdict verdict;
    size_t used;                  /* bytes of the input that it took; 0 for DATABASE_MORE */
    char text[DATABASE_TEXT_MAX]; /* for people, printable: what it refuses, why it is down, what
                                   * came instead */
    uint8_t sequence;             /* MySQL: of this packet */
    char plugin[DATABASE_PLUGIN_MAX]; /* MySQL: how it wants passwords; "" unless it says */
};

/* Asks to log in. */
void postgresql_ask(const char *user, struct str *out);
/* To that, or to nothing yet. */
struct database_answer postgresql_read(const char *bytes, size_t n);

/* What the server says first, before it is asked. */
struct database_answer mysql_read_greeting(const char *bytes, size_t n);
/* Asks to log in, without a password. */
void mysql_ask(const char *user, const struct database_answer *greeting, struct str *out);
struct database_answer mysql_read_reply(const char *bytes, size_t n);
/* Answers DATABASE_ASKS: there is no password. */
void mysql_answer(const struct database_answer *asked, struct str *out);

#endif
