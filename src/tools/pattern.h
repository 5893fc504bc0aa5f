/*
 * The bytes that the tools send where content matters, so that a receiver can tell lost, doubled
 * and shifted data from good data at any offset:
 *
 *     byte(i) = ((j * 2654435761 mod 2^32) >> 24)   with j = i mod 65521
 *
 * The period is a prime just under 64 KiB, so a buffer of any power of two lost or repeated shows.
 * In Python: bytes((j * 2654435761 & 0xffffffff) >> 24 for j in range(65521)), repeated.
 */
#ifndef SLUICE_TOOLS_PATTERN_H
#define SLUICE_TOOLS_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PATTERN_PERIOD 65521
#define PATTERN_CHUNK  (256 * 1024)

/* Fills the table; call once before any other function here. */
void pattern_init(void);

/* The pattern from this offset on: PATTERN_CHUNK bytes may be read there. Never NULL. */
const char *pattern_at(uint64_t offset);

/* Whether these bytes are the pattern at this offset. */
bool pattern_matches(uint64_t offset, const char *data, size_t length);

#endif
