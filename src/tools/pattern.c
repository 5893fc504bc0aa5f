/*
 * The table behind the pattern: one period followed by enough of the next ones that any chunk can
 * be sent or compared in one piece, without copying.
 */
#include "pattern.h"

#include <string.h>

static char table[PATTERN_PERIOD + PATTERN_CHUNK];

void pattern_init(void)
{
    for (size_t i = 0; i < sizeof(table); i++) {
        uint32_t mixed = (uint32_t)(i % PATTERN_PERIOD) * 2654435761U;
        table[i] = (char)(mixed >> 24);
    }
}

const char *pattern_at(uint64_t offset)
{
    return table + offset % PATTERN_PERIOD;
}

bool pattern_matches(uint64_t offset, const char *data, size_t length)
{
    while (length > 0) {
        size_t piece = length < PATTERN_CHUNK ? length : PATTERN_CHUNK;
        if (memcmp(data, pattern_at(offset), piece) != 0)
            return false;
        data += piece;
        offset += piece;
        length -= piece;
    }
    return true;
}
