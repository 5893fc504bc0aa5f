/* Watching names, see watch.h. Owns them, their last results and the look-ups under way. In the
 * monitor. */
#include "watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/tree.h>

#define LOOK_AT_FILES_S 1
#define NEXT_MIN_MS     1000
#define RETRY_MAX_MS    30000

struct item {
    RB_ENTRY(item) node;
    TAILQ_ENTRY(item) turn, untold;
    struct dns_watch *watch;
    struct event *timer;
    struct dns_look *look; /* or NULL */
    bool waits;            /* for its turn */
    bool is_untold;
    bool is_stale; /* a file has changed since the look-up under way began */
    bool is_wanted;
    uint32_t failures;         /* in a row */
    struct dns_result *result; /* the last one, cut after its answers; NULL: none yet */
    char name[];
};

RB_HEAD(items, item);
TAILQ_HEAD(item_list, item);

struct dns_watch {
    struct event_base *base;
    struct dns_files *files;
    struct dns_asker *asker;
    struct event *files_timer;
    struct items items;
    struct item_list waiting, news;
    size_t n_looks;
    dns_watch_fn *tell;
    void *arg;
};

static int compare(const struct item *a, const struct item *b)
{
    return strcmp(a->name, b->name);
}

/* libbsd's RB_GENERATE_STATIC wants a word that this C library does not know. */
RB_GENERATE_INTERNAL(items, item, node, compare, static __attribute__((unused)))

static bool is_whole(const struct dns_result *result)
{
    return result->outcome == DNS_OK && !result->lacks_ipv4 && !result->lacks_ipv6;
}

uint32_t dns_watch_next_ms(const struct dns_result *result, uint32_t failures)
{
    uint32_t ttl_s = result->ttl_s > DNS_TTL_MAX_S ? DNS_TTL_MAX_S : result->ttl_s;
    uint32_t ms = RETRY_MAX_MS;
    if (failures > 0) {
        uint32_t doublings = failures - 1;
        ms = doublings < 5 ? (uint32_t)NEXT_MIN_MS << doublings : RETRY_MAX_MS;
        ms = ms > RETRY_MAX_MS ? RETRY_MAX_MS : ms;
    }
    if (result->outcome == DNS_OK) {
        ms = failures == 0 || ttl_s * 1000 < ms ? ttl_s * 1000 : ms;
    }
    return ms < NEXT_MIN_MS ? NEXT_MIN_MS : ms;
}

/* --- looking --- */

static void start_looks(struct dns_watch *watch);

static void look_in(struct item *item, uint32_t ms)
{
    struct timeval in = {.tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000};
    (void)evtimer_add(item->timer, &in);
}

static bool is_same(const struct dns_result *a, const struct dns_result *b)
{
    return a->outcome == b->outcome && a->lacks_ipv4 == b->lacks_ipv4 &&
           a->lacks_ipv6 == b->lacks_ipv6 && a->n == b->n && a->n_left_out == b->n_left_out &&
           memcmp(a->answers, b->answers, a->n * sizeof(a->answers[0])) == 0;
}

static void keep_result(struct item *item, const struct dns_result *result)
{
    struct dns_watch *watch = item->watch;
    if (item->result != NULL && is_same(item->result, result)) {
        return;
    }
    struct dns_result *kept = malloc(DNS_RESULT_BYTES(result->n));
    if (kept == NULL) {
        return; /* the next look brings it */
    }
    memcpy(kept, result, DNS_RESULT_BYTES(result->n));
    free(item->result);
    item->result = kept;
    if (!item->is_untold) {
        item->is_untold = true;
        TAILQ_INSERT_TAIL(&watch->news, item, untold);
    }
    watch->tell(watch->arg);
}

static void on_looked(void *arg, const struct dns_result *result)
{
    struct item *item = arg;
    struct dns_watch *watch = item->watch;
    item->look = NULL;
    watch->n_looks--;
    item->failures = is_whole(result) ? 0 : item->failures + (item->failures < UINT32_MAX);
    look_in(item, item->is_stale ? NEXT_MIN_MS : dns_watch_next_ms(result, item->failures));
    item->is_stale = false;
    keep_result(item, result);
    start_looks(watch);
}

static void start_looks(struct dns_watch *watch)
{
    while (watch->n_looks < DNS_WATCH_LOOKS_MAX && !TAILQ_EMPTY(&watch->waiting)) {
        struct item *item = TAILQ_FIRST(&watch->waiting);
        TAILQ_REMOVE(&watch->waiting, item, turn);
        item->waits = false;
        item->look = dns_look_start(watch->base, watch->asker, watch->files, item->name,
                                    DNS_WATCH_LIMIT_MS, on_looked, item);
        if (item->look == NULL) {
            look_in(item, RETRY_MAX_MS);
        } else {
            watch->n_looks++;
        }
    }
}

static void look_soon(struct item *item)
{
    if (item->look == NULL && !item->waits) {
        item->waits = true;
        TAILQ_INSERT_TAIL(&item->watch->waiting, item, turn);
    }
    start_looks(item->watch);
}

static void on_time(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    look_soon(arg);
}

static void on_files_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct dns_watch *watch = arg;
    struct item *item;
    if (!dns_files_look(watch->files)) {
        return;
    }
    RB_FOREACH (item, items, &watch->items) {
        item->is_stale = item->look != NULL;
        event_del(item->timer);
        look_soon(item);
    }
}

/* --- the names --- */

static void item_free(struct item *item)
{
    struct dns_watch *watch = item->watch;
    RB_REMOVE(items, &watch->items, item);
    if (item->waits) {
        TAILQ_REMOVE(&watch->waiting, item, turn);
    }
    if (item->is_untold) {
        TAILQ_REMOVE(&watch->news, item, untold);
    }
    if (item->look != NULL) {
        dns_look_cancel(item->look);
        watch->n_looks--;
    }
    event_free(item->timer);
    free(item->result);
    free(item);
}

static struct item *item_new(struct dns_watch *watch, const char *name)
{
    size_t bytes = strlen(name) + 1;
    struct item *item = calloc(1, sizeof(*item) + bytes);
    if (item == NULL) {
        return NULL;
    }
    item->watch = watch;
    memcpy(item->name, name, bytes);
    item->timer = evtimer_new(watch->base, on_time, item);
    if (item->timer == NULL) {
        free(item);
        return NULL;
    }
    RB_INSERT(items, &watch->items, item);
    return item;
}

static struct item *item_find(struct dns_watch *watch, const char *name)
{
    struct item *at = RB_ROOT(&watch->items);
    int order;
    while (at != NULL && (order = strcmp(name, at->name)) != 0) {
        at = order < 0 ? RB_LEFT(at, node) : RB_RIGHT(at, node);
    }
    return at;
}

int dns_watch_set(struct dns_watch *watch, const char *text, size_t bytes)
{
    struct item *item, *next;
    int error = 0;
    RB_FOREACH (item, items, &watch->items) {
        item->is_wanted = false;
    }
    for (const char *name = text; name < text + bytes; name += strlen(name) + 1) {
        item = item_find(watch, name);
        if (item == NULL) {
            item = item_new(watch, name);
            if (item == NULL) {
                error = -ENOMEM;
                break;
            }
            look_soon(item);
        }
        item->is_wanted = true;
    }
    RB_FOREACH_SAFE(item, items, &watch->items, next)
    {
        if (!item->is_wanted && error == 0) {
            item_free(item);
        }
    }
    start_looks(watch);
    return error;
}

const char *dns_watch_news(const struct dns_watch *watch, const struct dns_result **out_result)
{
    const struct item *item = TAILQ_FIRST(&watch->news);
    if (item == NULL) {
        return NULL;
    }
    *out_result = item->result;
    return item->name;
}

void dns_watch_told(struct dns_watch *watch)
{
    struct item *item = TAILQ_FIRST(&watch->news);
    TAILQ_REMOVE(&watch->news, item, untold);
    item->is_untold = false;
}

/* --- the whole --- */

struct dns_watch *dns_watch_create(struct event_base *base, const char *hosts_path,
                                   const char *resolv_path, dns_watch_fn *news, void *arg)
{
    struct dns_watch *watch = calloc(1, sizeof(*watch));
    if (watch == NULL) {
        return NULL;
    }
    watch->base = base;
    watch->tell = news;
    watch->arg = arg;
    RB_INIT(&watch->items);
    TAILQ_INIT(&watch->waiting);
    TAILQ_INIT(&watch->news);
    watch->files = dns_files_create(hosts_path, resolv_path);
    watch->asker = watch->files != NULL ? dns_asker_create(base, watch->files) : NULL;
    watch->files_timer = event_new(base, -1, EV_PERSIST, on_files_timer, watch);
    struct timeval every = {.tv_sec = LOOK_AT_FILES_S};
    if (watch->asker == NULL || watch->files_timer == NULL ||
        event_add(watch->files_timer, &every) != 0) {
        dns_watch_destroy(watch);
        return NULL;
    }
    return watch;
}

void dns_watch_destroy(struct dns_watch *watch)
{
    struct item *item, *next;
    if (watch == NULL) {
        return;
    }
    RB_FOREACH_SAFE(item, items, &watch->items, next)
    {
        item_free(item);
    }
    if (watch->files_timer != NULL) {
        event_free(watch->files_timer);
    }
    dns_asker_destroy(watch->asker);
    dns_files_destroy(watch->files);
    free(watch);
}
