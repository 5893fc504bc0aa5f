/*
 * Reasons in shared memory: byte by byte as relaxed atomics, since one may change while it is read.
 * A reader that must not see two of them mixed looks at a version before and after. Pure.
 */
#ifndef SLUICE_POOL_SHARED_TEXT_H
#define SLUICE_POOL_SHARED_TEXT_H

#include <stddef.h>

#include "sluice/scoreboard.h"

#define SHARED_READ_TRIES 1000 /* each takes a writer faster than the one before */

/* Both go up to and with the NUL, which the last byte always is. */
static inline void shared_text_store(char to[static SB_REASON_MAX], const char *text)
{
    size_t i = 0;
    for (; i < SB_REASON_MAX - 1 && text[i] != '\0'; i++)
        __atomic_store_n(&to[i], text[i], __ATOMIC_RELAXED);
    __atomic_store_n(&to[i], '\0', __ATOMIC_RELAXED);
}

static inline void shared_text_load(char to[static SB_REASON_MAX],
                                    const char from[static SB_REASON_MAX])
{
    size_t i = 0;
    for (; i < SB_REASON_MAX - 1; i++) {
        to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
        if (to[i] == '\0')
            return;
    }
    to[i] = '\0';
}

#endif
