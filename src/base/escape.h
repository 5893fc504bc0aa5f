/*
 * Escapes in a text that stands for bytes, as a check's steps and a reset exchange have them:
 * \r \n \t \0 \xHH, and \\ for a backslash. Every other byte means itself. Pure.
 */
#ifndef SLUICE_BASE_ESCAPE_H
#define SLUICE_BASE_ESCAPE_H

#include <stddef.h>

#include "str.h"

/* The byte that text, which is not empty, begins with, and in *out_len how many characters it is
 * written in; -1 for an escape that is none of these. */
int escape_read(const char *text, size_t *out_len);
/* Appends what is wrong with the escape at text, and which ones there are. */
void escape_explain(const char *text, struct str *out_problem);
/* 0 to 15, or -1. */
int escape_hex_digit(char c);

#endif
