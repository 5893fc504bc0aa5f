/*
 * Reading the small text files of /proc and /sys. Private to machine*.c.
 */
#ifndef SLUICE_PROC_MACHINE_FILE_H
#define SLUICE_PROC_MACHINE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/* Appends the file's text. False when it cannot be read. */
bool machine_file_read(const char *root, const char *path, struct str *out);
/* The first n numbers of a text, decimal and with blanks between them; all MACHINE_UNKNOWN unless
 * there are so many and none is negative. */
void machine_text_numbers(const char *text, uint64_t *out, size_t n);
/* The same of a file. */
void machine_file_numbers(const char *root, const char *path, uint64_t *out, size_t n);
/* The number that follows key, which stands at the beginning of a line; else MACHINE_UNKNOWN. */
uint64_t machine_text_find(const char *text, const char *key);

#endif
