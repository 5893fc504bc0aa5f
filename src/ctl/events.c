/*
 * The ring of the last events. In master.
 */
#include "ctl/events.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define TEXT_MAX 500

const char *const event_kinds[] = {
    "admin", "asked", "backends_file", "drain",   "ejection", "health", "healthz", "limit",
    "lost",  "names", "pool",          "ports",   "refused",  "reload", "reuse",   "service",
    "start", "state", "stop",          "upgrade", "worker",   NULL,
};

struct events {
    uint64_t next_id;
    size_t first; /* place of the oldest */
    size_t count;
    events_sink_fn *sink; /* NULL: none */
    void *sink_arg;
    struct event_record records[EVENTS_MAX]; /* texts of one record are one block, at kind */
};

struct events *events_create(void)
{
    struct events *events = calloc(1, sizeof(*events));

    if (events)
        events->next_id = 1;
    return events;
}

static void record_free(struct event_record *record)
{
    free((char *)(uintptr_t)record->kind);
    *record = (struct event_record){0};
}

void events_destroy(struct events *events)
{
    if (!events)
        return;
    for (size_t i = 0; i < EVENTS_MAX; i++)
        record_free(&events->records[i]);
    free(events);
}

/* Length of text within TEXT_MAX, not cutting a UTF-8 character in two. */
static size_t cut_length(const char *text)
{
    size_t len = text ? strnlen(text, TEXT_MAX + 1) : 0;

    if (len <= TEXT_MAX)
        return len;
    len = TEXT_MAX;
    while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
        len--;
    return len;
}

/* Fills copy with texts in one block. False without memory. */
static bool record_copy(const struct event_record *record, struct event_record *copy)
{
    const char *const sources[] = {record->kind, record->pool, record->backend,
                                   record->text, record->by,   record->why};
    const char **const targets[] = {&copy->kind, &copy->pool, &copy->backend,
                                    &copy->text, &copy->by,   &copy->why};
    const size_t n = sizeof(sources) / sizeof(*sources);
    size_t bytes = 0;
    char *block;

    for (size_t i = 0; i < n; i++)
        bytes += cut_length(sources[i]) + 1;
    block = malloc(bytes);
    if (!block)
        return false;
    *copy = *record;
    for (size_t i = 0; i < n; i++) {
        size_t len = cut_length(sources[i]);

        if (len > 0)
            memcpy(block, sources[i], len);
        block[len] = '\0';
        *targets[i] = block;
        block += len + 1;
    }
    return true;
}

/* Takes copy and its texts over. */
static void append(struct events *events, const struct event_record *copy)
{
    size_t place = (events->first + events->count) % EVENTS_MAX;

    if (events->count == EVENTS_MAX) {
        record_free(&events->records[place]);
        events->first = (events->first + 1) % EVENTS_MAX;
    } else {
        events->count++;
    }
    events->records[place] = *copy;
}

void events_add(struct events *events, const struct event_record *record)
{
    struct event_record copy;

    if (!record_copy(record, &copy))
        return;
    copy.id = events->next_id++;
    if (copy.wall_ms == 0)
        copy.wall_ms = clock_wall_ms();
    if (copy.mono_ms == 0)
        copy.mono_ms = clock_now_ms();
    append(events, &copy);
    if (events->sink)
        events->sink(events->sink_arg, &copy);
}

void events_restore(struct events *events, const struct event_record *record)
{
    struct event_record copy;

    if (record->id < events->next_id || !record_copy(record, &copy))
        return;
    copy.mono_ms = 0;
    events->next_id = copy.id + 1;
    append(events, &copy);
}

void events_set_sink(struct events *events, events_sink_fn *sink, void *arg)
{
    events->sink = sink;
    events->sink_arg = arg;
}

size_t events_count(const struct events *events)
{
    return events->count;
}

const struct event_record *events_get(const struct events *events, size_t index)
{
    return &events->records[(events->first + index) % EVENTS_MAX];
}
