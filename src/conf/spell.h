/*
 * How values are spelled in a file: decoding what was read, respelling it for libconfuse, showing
 * pieces of a file in messages.
 */
#ifndef SLUICE_CONF_SPELL_H
#define SLUICE_CONF_SPELL_H

#include "base/str.h"

#include "lex.h"

struct spelling {       /* zeroed is empty */
    struct str raw;     /* as in conf.h */
    struct str merged;  /* spelled so that libconfuse makes raw of it, expanding nothing */
    struct str problem; /* what is wrong */
    struct str note;    /* what deserves a warning */
};

/* Decodes a word, string or variable into an empty spelling. Returns 0, or -1 with a problem. */
int spell_decode(const struct lex_token *token, struct spelling *out);
void spell_free(struct spelling *spelling);
#define SPELLING_AUTO __attribute__((cleanup(spell_free))) struct spelling

bool spell_utf8_valid(const char *text, size_t len);

#define SPELL_SHOWN_MAX 80
/* A piece of a file for a message: cut to some 60 bytes, \xNN for what is not printable UTF-8. */
const char *spell_show(const char *text, size_t len, char buf[static SPELL_SHOWN_MAX]);

#endif
