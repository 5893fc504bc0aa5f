/* The memory and the messages between a daemon and its successor. In both masters. */
#include "handover.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

#define MAGIC   UINT64_C(0x314f444e41484c53)
#define VERSION 1
#define NO_SLOT UINT32_MAX

struct record {
    char pool[NAME_BYTES_MAX], backend[NAME_BYTES_MAX], address[ADDR_TEXT_MAX];
    char reason[SB_REASON_MAX];
    uint32_t health; /* enum sb_health */
    uint32_t slot;   /* the predecessor's own */
    _Atomic uint32_t active;
    uint32_t pad;
};

/* Then the records, then the text of the state. */
struct handover_header {
    uint64_t magic;
    uint32_t version, record_bytes;
    uint32_t n_records, state_bytes;
    _Atomic uint32_t sessions; /* clients that the predecessor still has */
    uint32_t pad;
};

_Static_assert(sizeof(struct handover_message) == 512, "both builds must agree");

/* --- messages --- */

void handover_tell(int channel, enum handover_type type, uint64_t number, const char *text)
{
    struct handover_message message = {.type = type, .number = number};
    if (channel < 0) {
        return;
    }
    if (text != NULL) {
        (void)strlcpy(message.text, text, sizeof(message.text));
    }
    (void)fd_send(channel, &message, sizeof(message), NULL, 0); /* the pair holds hundreds */
}

int handover_hear(int channel, struct handover_message *out)
{
    ssize_t got = recv(channel, out, sizeof(*out), MSG_DONTWAIT);
    if (got < 0) {
        return errno == EAGAIN || errno == EINTR ? -EAGAIN : 0;
    }
    if (got != sizeof(*out)) {
        return 0;
    }
    out->text[sizeof(out->text) - 1] = '\0';
    return 1;
}

/* --- making --- */

static struct record *records_of(const struct handover *handover)
{
    return (struct record *)(handover->header + 1);
}

static void fill(struct record *record, const struct model_pool *pool,
                 const struct model_backend *backend, const struct scoreboard *sb)
{
    uint64_t since_ms;
    (void)strlcpy(record->pool, pool->name, sizeof(record->pool));
    (void)strlcpy(record->backend, backend->name, sizeof(record->backend));
    addr_format(&backend->address, record->address);
    record->slot = backend->slot;
    record->health = scoreboard_get_health(sb, backend->slot, &since_ms, record->reason);
}

static size_t count_backends(const struct model *model)
{
    size_t n = 0;
    for (size_t i = 0; i < model->n_pools; i++) {
        n += model->pools[i].n_backends;
    }
    return n;
}

int handover_create(const struct model *model, const struct scoreboard *sb, const struct str *state,
                    struct handover *out)
{
    size_t n = count_backends(model);
    size_t bytes = sizeof(struct handover_header) + n * sizeof(struct record) + state->len;
    FD_AUTO fd = memfd_create("sluice-handover", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)bytes) != 0) {
        return -errno;
    }
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED) {
        return -errno;
    }
    *out = (struct handover){.header = base, .bytes = bytes};
    *out->header = (struct handover_header){.magic = MAGIC,
                                            .version = VERSION,
                                            .record_bytes = sizeof(struct record),
                                            .n_records = (uint32_t)n,
                                            .state_bytes = (uint32_t)state->len};
    struct record *record = records_of(out);
    for (size_t i = 0; i < model->n_pools; i++) {
        for (size_t j = 0; j < model->pools[i].n_backends; j++) {
            fill(record++, &model->pools[i], &model->pools[i].backends[j], sb);
        }
    }
    memcpy(record, str_text(state), state->len);
    handover_renew(out, sb);
    int kept = fd;
    fd = -1;
    return kept;
}

void handover_renew(struct handover *handover, const struct scoreboard *sb)
{
    struct record *records = records_of(handover);
    for (uint32_t i = 0; i < handover->header->n_records; i++) {
        atomic_store(&records[i].active, atomic_load(&sb->slot_active[records[i].slot]));
    }
    atomic_store(&handover->header->sessions, atomic_load(&sb->header->active));
}

/* --- reading --- */

int handover_open(int fd, struct handover *out)
{
    struct stat status;
    if (fstat(fd, &status) != 0) {
        return -errno;
    }
    size_t bytes = (size_t)status.st_size;
    if (bytes < sizeof(struct handover_header)) {
        return -EINVAL;
    }
    void *base = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED) {
        return -errno;
    }
    const struct handover_header *header = base;
    if (header->magic != MAGIC || header->version != VERSION ||
        header->record_bytes != sizeof(struct record) ||
        sizeof(*header) + (uint64_t)header->n_records * sizeof(struct record) +
                header->state_bytes !=
            bytes) {
        munmap(base, bytes);
        return -EPROTO;
    }
    *out = (struct handover){.header = base, .bytes = bytes};
    return 0;
}

const char *handover_state(const struct handover *handover, size_t *out_len)
{
    *out_len = handover->header->state_bytes;
    return (const char *)(records_of(handover) + handover->header->n_records);
}

uint32_t handover_sessions(const struct handover *handover)
{
    return handover->header == NULL ? 0 : atomic_load(&handover->header->sessions);
}

/* The slot of the same backend; one whose address has changed is another. */
static uint32_t find_slot(const struct record *record, const struct model *model)
{
    char address[ADDR_TEXT_MAX];
    const struct model_pool *pool = model_find_pool(model, record->pool);
    const struct model_backend *backend =
        pool == NULL ? NULL : model_find_backend(pool, record->backend);
    return backend != NULL && strcmp(addr_format(&backend->address, address), record->address) == 0
               ? backend->slot
               : NO_SLOT;
}

void handover_apply_health(const struct handover *handover, const struct model *model,
                           struct scoreboard *sb, uint64_t now_ms)
{
    const struct record *records = records_of(handover);
    for (uint32_t i = 0; i < handover->header->n_records; i++) {
        uint32_t slot = find_slot(&records[i], model);
        if (slot != NO_SLOT && records[i].health != SB_HEALTH_UNKNOWN &&
            records[i].health < SB_HEALTH_COUNT) {
            scoreboard_set_health(sb, slot, (enum sb_health)records[i].health, records[i].reason,
                                  now_ms);
        }
    }
}

/* --- counting --- */

static void count_at(struct scoreboard *sb, uint32_t slot, uint32_t before, uint32_t now)
{
    if (slot != NO_SLOT && before != now) {
        atomic_fetch_add(&sb->slot_active[slot], now - before); /* wraps where it sinks */
    }
}

void handover_carry(const struct handover *handover, struct handover_load *load,
                    const struct model *model, struct scoreboard *sb)
{
    const struct record *records = records_of(handover);
    uint32_t n = handover->header->n_records;
    if (load->items == NULL) {
        load->items = calloc(n + 1, sizeof(*load->items));
        load->generation = 0;
    }
    for (uint32_t i = 0; load->items != NULL && i < n; i++) {
        uint32_t before = load->items[i].count;
        uint32_t slot = load->items[i].slot;
        if (load->generation != model->generation) {
            slot = find_slot(&records[i], model);
        }
        if (slot != load->items[i].slot) {
            count_at(sb, load->items[i].slot, before, 0);
            before = 0;
        }
        load->items[i].slot = slot;
        load->items[i].count = slot == NO_SLOT ? 0 : atomic_load(&records[i].active);
        count_at(sb, slot, before, load->items[i].count);
    }
    load->generation = model->generation;
}

void handover_uncarry(const struct handover *handover, struct handover_load *load,
                      struct scoreboard *sb)
{
    for (uint32_t i = 0; load->items != NULL && i < handover->header->n_records; i++) {
        count_at(sb, load->items[i].slot, load->items[i].count, 0);
    }
    free(load->items);
    *load = (struct handover_load){0};
}

void handover_close(struct handover *handover)
{
    if (handover->header != NULL) {
        munmap(handover->header, handover->bytes);
    }
    *handover = (struct handover){0};
}
