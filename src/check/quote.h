/*
 * What others said, made fit for a reason that people read: one line, nothing that could drive a
 * terminal or look like a line of somebody else's. Pure. In the monitor.
 */
#ifndef SLUICE_CHECK_QUOTE_H
#define SLUICE_CHECK_QUOTE_H

#include <stddef.h>

#define QUOTE_BYTES_MAX 1024 /* no more than that is looked at */

/*
 * Writes the first line of bytes in which anything stands, without the blanks around it. Control
 * characters and what is not UTF-8 become '?', tabs blanks. Cut to size (at least 1, with the NUL)
 * between characters; empty when no line holds anything.
 */
void quote_line(char *out, size_t size, const char *bytes, size_t n);

#endif
