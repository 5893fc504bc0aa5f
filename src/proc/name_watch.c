/* See name_watch.h. What master does not read yet waits with the name, the newest in the place of
 * older news, so that nothing grows while master is slow, and it hears of all that is so in the
 * end. Owns the watching. In the monitor. */
#include "name_watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/log.h"
#include "dns/watch.h"
#include "message.h"

struct name_watch {
    int channel;
    struct event *writable;
    struct dns_watch *names;
    struct message message;
};

static void send_news(struct name_watch *watch)
{
    struct message *message = &watch->message;
    const struct dns_result *result;
    const char *name;
    int error = 0;
    while (error == 0 && (name = dns_watch_news(watch->names, &result)) != NULL) {
        message->type = MESSAGE_NAME;
        message->number = 0;
        (void)strlcpy(message->name.name, name, sizeof(message->name.name));
        memcpy(&message->name.result, result, DNS_RESULT_BYTES(result->n));
        error = message_send(watch->channel, message, -1);
        if (error == 0) {
            dns_watch_told(watch->names);
        }
    }
    if (error == -EAGAIN) {
        event_add(watch->writable, NULL);
    }
}

static void on_writable(evutil_socket_t channel, short what, void *arg)
{
    (void)channel;
    (void)what;
    send_news(arg);
}

static void on_news(void *arg)
{
    send_news(arg);
}

void name_watch_take(struct name_watch *watch, int list)
{
    FD_AUTO fd = list;
    struct stat st;
    int error = 0;
    if (fd < 0 || fstat(fd, &st) != 0) {
        return;
    }
    size_t n = (size_t)st.st_size;
    char *text = n > 0 ? mmap(NULL, n, PROT_READ, MAP_PRIVATE, fd, 0) : NULL;
    if (text == MAP_FAILED) {
        error = -errno;
    } else {
        error = dns_watch_set(watch->names, text, n);
        if (text != NULL) {
            munmap(text, n);
        }
    }
    if (error != 0) {
        log_error("not all names can be watched", LOG_STR("error", strerror(-error)));
    }
}

struct name_watch *name_watch_create(struct event_base *base, int channel)
{
    struct name_watch *watch = calloc(1, sizeof(*watch));
    if (watch == NULL) {
        return NULL;
    }
    watch->channel = channel;
    watch->writable = event_new(base, channel, EV_WRITE, on_writable, watch);
    watch->names = dns_watch_create(base, DNS_HOSTS_PATH, DNS_RESOLV_PATH, on_news, watch);
    if (watch->writable == NULL || watch->names == NULL) {
        name_watch_destroy(watch);
        return NULL;
    }
    return watch;
}

void name_watch_destroy(struct name_watch *watch)
{
    if (watch != NULL) {
        dns_watch_destroy(watch->names);
        if (watch->writable != NULL) {
            event_free(watch->writable);
        }
        free(watch);
    }
}
