/* Messages that wait for a channel, see outbox.h. Owns them. In the monitor. */
#include "outbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/log.h"

struct letter {
    STAILQ_ENTRY(letter) link;
    struct message message; /* cut after what its type uses */
};

struct outbox {
    int channel;
    struct event *writable;
    STAILQ_HEAD(, letter) letters;
    uint32_t limit, n_health;
    uint32_t lost; /* not told to the other end yet */
    struct message scratch;
};

static void drop_first(struct outbox *outbox)
{
    struct letter *letter = STAILQ_FIRST(&outbox->letters);
    STAILQ_REMOVE_HEAD(&outbox->letters, link);
    outbox->n_health -= letter->message.type == MESSAGE_HEALTH;
    free(letter);
}

static int send_lost(struct outbox *outbox)
{
    if (outbox->lost == 0) {
        return 0;
    }
    outbox->scratch.type = MESSAGE_LOST;
    outbox->scratch.number = outbox->lost;
    int error = message_send(outbox->channel, &outbox->scratch, -1);
    if (error == 0) {
        outbox->lost = 0;
    }
    return error;
}

/* Returns 0 when nothing waits any more. */
static int flush(struct outbox *outbox)
{
    int error = 0;
    while (error == 0 && !STAILQ_EMPTY(&outbox->letters)) {
        error = message_send(outbox->channel, &STAILQ_FIRST(&outbox->letters)->message, -1);
        if (error == 0) {
            drop_first(outbox);
        }
    }
    if (error == 0) {
        error = send_lost(outbox);
    }
    if (error == -EAGAIN) {
        event_add(outbox->writable, NULL);
    }
    return error;
}

static void on_writable(evutil_socket_t channel, short what, void *arg)
{
    (void)channel;
    (void)what;
    (void)flush(arg); /* a broken channel is seen by who reads from it */
}

static void lose(struct outbox *outbox, const char *why)
{
    if (outbox->lost++ == 0) {
        log_warning("what has changed is not told to master any more", LOG_STR("why", why));
    }
}

static void enqueue(struct outbox *outbox, const struct message *message)
{
    bool is_health = message->type == MESSAGE_HEALTH;
    if (is_health && outbox->n_health == outbox->limit) {
        lose(outbox, "it does not read, and too much waits");
        return;
    }
    struct letter *letter = malloc(offsetof(struct letter, message) + message_bytes(message));
    if (letter == NULL) {
        lose(outbox, strerror(ENOMEM));
        return;
    }
    memcpy(&letter->message, message, message_bytes(message));
    STAILQ_INSERT_TAIL(&outbox->letters, letter, link);
    outbox->n_health += is_health;
}

/* error: of the flush before it, which uses scratch: message may be there. */
static void send_after(struct outbox *outbox, int error, const struct message *message)
{
    if (error == 0) {
        error = message_send(outbox->channel, message, -1);
    }
    if (error == -EAGAIN) {
        enqueue(outbox, message);
        event_add(outbox->writable, NULL);
    }
}

void outbox_send(struct outbox *outbox, const struct message *message)
{
    send_after(outbox, flush(outbox), message);
}

void outbox_send_number(struct outbox *outbox, uint32_t type, uint32_t number)
{
    int error = flush(outbox);
    outbox->scratch.type = type;
    outbox->scratch.number = number;
    send_after(outbox, error, &outbox->scratch);
}

struct outbox *outbox_create(struct event_base *base, int channel, uint32_t limit)
{
    struct outbox *outbox = calloc(1, sizeof(*outbox));
    if (outbox == NULL) {
        return NULL;
    }
    outbox->channel = channel;
    outbox->limit = limit;
    STAILQ_INIT(&outbox->letters);
    outbox->writable = event_new(base, channel, EV_WRITE, on_writable, outbox);
    if (outbox->writable == NULL) {
        free(outbox);
        return NULL;
    }
    return outbox;
}

void outbox_destroy(struct outbox *outbox)
{
    if (outbox == NULL) {
        return;
    }
    (void)flush(outbox);
    event_free(outbox->writable);
    while (!STAILQ_EMPTY(&outbox->letters)) {
        drop_first(outbox);
    }
    free(outbox);
}
