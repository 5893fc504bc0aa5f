/*
 * Sessions that may not stay where they are: their backend was found down and the pool's on_down is
 * close, or it is a backup, no longer needed, and on_return is close. Looked for whenever health or
 * the configuration has changed. In a worker.
 */
#include "session.h"

/* Closing one costs some microseconds, and the others' bytes wait meanwhile. */
#define ENDINGS_A_TURN 256

void endings_work(struct proxy *proxy)
{
    if (!proxy->endings_due || proxy->snapshot == NULL) {
        return;
    }
    proxy->endings_due = false;
    uint8_t endings[SB_SLOTS_MAX] = {0};
    struct session *s, *next;
    uint32_t n = 0;
    if (!chooser_find_endings(proxy->chooser, proxy->now_ms, endings)) {
        return;
    }
    TAILQ_FOREACH_SAFE (s, &proxy->sessions, all_link, next) {
        if (s->attempt != NULL || s->slot == SNAPSHOT_NONE || endings[s->slot] == 0) {
            continue;
        }
        if (n++ == ENDINGS_A_TURN) {
            proxy->endings_due = true;
            return;
        }
        session_finish(s, (enum ending)endings[s->slot]);
    }
}
