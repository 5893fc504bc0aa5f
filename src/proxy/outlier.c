/* Counting failures of backends in a row: see the header. In a worker. */
#include "outlier.h"

#include <string.h>
#include <unistd.h>

#include "base/clock.h"

void outlier_apply(struct proxy *proxy)
{
    const struct snapshot_pool *pools = snapshot_pools(proxy->snapshot);
    memset(proxy->pool_of_row, 0xff, sizeof(proxy->pool_of_row));
    for (uint32_t p = 0; p < proxy->snapshot->n_pools; p++) {
        proxy->pool_of_row[pools[p].row] = (uint16_t)p;
    }
}

/* NULL: the pool is gone, or does not look any more. */
static const struct snapshot_outlier *outlier_of(const struct session *s)
{
    const struct proxy *proxy = s->proxy;
    uint32_t row = atomic_load_explicit(&proxy->sb->slots[s->slot].pool, memory_order_relaxed);
    uint16_t pool = row < POOLS_MAX ? proxy->pool_of_row[row] : UINT16_MAX;
    if (pool == UINT16_MAX) {
        return NULL;
    }
    const struct snapshot_outlier *outlier = &snapshot_pools(proxy->snapshot)[pool].outlier;
    return outlier->consecutive_failures == 0 ? NULL : outlier;
}

static enum outlier_signal success_of(const struct snapshot_outlier *outlier)
{
    if (outlier->signals & OUTLIER_RESET) {
        return OUTLIER_RESET;
    }
    return outlier->signals & OUTLIER_FIRST_BYTE ? OUTLIER_FIRST_BYTE : OUTLIER_CONNECT;
}

static void note_success(struct session *s, enum outlier_signal signal)
{
    const struct snapshot_outlier *outlier = s->watched ? outlier_of(s) : NULL;
    _Atomic uint32_t *failures = &s->proxy->sb->slots[s->slot].failures;
    if (outlier != NULL && success_of(outlier) == signal &&
        atomic_load_explicit(failures, memory_order_relaxed) != 0) {
        atomic_store_explicit(failures, 0, memory_order_relaxed);
    }
}

static void note_failure(struct session *s, enum outlier_signal signal)
{
    struct proxy *proxy = s->proxy;
    const struct snapshot_outlier *outlier = s->watched ? outlier_of(s) : NULL;
    if (outlier == NULL || (outlier->signals & signal) == 0) {
        return;
    }
    _Atomic uint32_t *failures = &proxy->sb->slots[s->slot].failures;
    uint32_t n = atomic_fetch_add_explicit(failures, 1, memory_order_release) + 1;
    if (n >= outlier->consecutive_failures && proxy->wakes != NULL) {
        /* Behind the workers' own comes the monitor's. */
        int alarm = proxy->wakes[proxy->sb->header->n_workers];
        (void)!write(alarm, &(uint64_t){1}, sizeof(uint64_t));
    }
}

void outlier_begin(struct session *s, uint32_t pool)
{
    const struct snapshot_outlier *outlier = &snapshot_pools(s->proxy->snapshot)[pool].outlier;
    s->watched = outlier->consecutive_failures != 0;
    s->timed |= s->watched && (outlier->signals & OUTLIER_FIRST_BYTE) != 0;
}

void outlier_connected(struct session *s)
{
    note_success(s, OUTLIER_CONNECT);
}

void outlier_connect_failed(struct session *s)
{
    note_failure(s, OUTLIER_CONNECT);
}

void outlier_answered(struct session *s, uint64_t answer_us)
{
    const struct snapshot_outlier *outlier = s->watched ? outlier_of(s) : NULL;
    if (outlier == NULL) {
        return;
    }
    if (answer_us > outlier->first_byte_timeout_ms * UINT64_C(1000)) {
        note_failure(s, OUTLIER_FIRST_BYTE);
    } else {
        note_success(s, OUTLIER_FIRST_BYTE);
    }
}

/* Only a backend that was asked something owes an answer. */
uint64_t outlier_due_ms(const struct session *s)
{
    const struct snapshot_outlier *outlier = s->watched && s->timed ? outlier_of(s) : NULL;
    if (outlier == NULL || (outlier->signals & OUTLIER_FIRST_BYTE) == 0) {
        return UINT64_MAX;
    }
    uint64_t since_ms = s->bytes_in > 0 ? s->active_ms : s->proxy->now_ms;
    return since_ms + outlier->first_byte_timeout_ms;
}

void outlier_look(struct session *s)
{
    if (s->bytes_in > 0 && s->bytes_out == 0 && s->proxy->now_ms >= outlier_due_ms(s)) {
        s->timed = false; /* counted once */
        note_failure(s, OUTLIER_FIRST_BYTE);
    }
}

void outlier_answer_complete(struct session *s)
{
    note_success(s, OUTLIER_RESET);
}

void outlier_ended(struct session *s, enum ending reason)
{
    if (!s->watched) {
        return;
    }
    if (reason == ENDING_BACKEND_RESET || reason == ENDING_BACKEND_TIMEOUT) {
        note_failure(s, OUTLIER_RESET);
    } else if (reason == ENDING_CLIENT_FIN || reason == ENDING_BACKEND_FIN) {
        note_success(s, OUTLIER_RESET);
    }
}
