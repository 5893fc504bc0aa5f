/*
 * What name servers say, in master: the monitor looks names up (name_watch.c) and tells what is new
 * of them; here that becomes the running model, by the one way that every change takes. What could
 * not be learned changes nothing: the last good addresses hold. Owns what was heard and is not in
 * force yet, and what is wrong with names. In master.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "edit.h"
#include "expiry.h"
#include "master.h"
#include "registries.h"
#include "restore.h"

#define EVENT_KIND "names"

/* Several names change at once, and a model is made anew for all of them … */
#define SETTLE_MS 50
/* … not more often than this, whatever servers say. */
#define REBUILD_EVERY_MS 500
#define LOG_EVERY_MS     1000

struct name_trouble {
    LIST_ENTRY(name_trouble) link;
    enum dns_outcome outcome; /* the last one */
    uint64_t since_ms;
    char name[];
};

static void tell(struct master *master, const char *text)
{
    master_event(master, EVENT_KIND, NULL, NULL, "monitor", NULL, text);
}

/* --- names that do not resolve --- */

static struct name_trouble *find_trouble(const struct master *master, const char *name)
{
    struct name_trouble *trouble;
    LIST_FOREACH (trouble, &master->name_news.troubles, link) {
        if (strcmp(trouble->name, name) == 0) {
            break;
        }
    }
    return trouble;
}

static void end_trouble(struct name_trouble *trouble)
{
    LIST_REMOVE(trouble, link);
    free(trouble);
}

/* Each is an event; the log hears of one a second, and how many there were. */
static void log_failure(struct name_news *news, const char *text)
{
    uint64_t now_ms = clock_now_ms();
    if (news->logged_ms != 0 && now_ms - news->logged_ms < LOG_EVERY_MS) {
        news->unlogged++;
        return;
    }
    log_warning(text, LOG_INT("more_before", news->unlogged));
    news->logged_ms = now_ms;
    news->unlogged = 0;
}

static void note_failure(struct master *master, const char *name, enum dns_outcome outcome,
                         size_t n_kept)
{
    struct name_trouble *trouble = find_trouble(master, name);
    STR_AUTO text = {0};
    if (trouble != NULL) {
        trouble->outcome = outcome;
        return;
    }
    trouble = calloc(1, sizeof(*trouble) + strlen(name) + 1);
    if (trouble == NULL) {
        return; /* it is told the next time */
    }
    trouble->outcome = outcome;
    trouble->since_ms = clock_now_ms();
    memcpy(trouble->name, name, strlen(name) + 1);
    LIST_INSERT_HEAD(&master->name_news.troubles, trouble, link);
    str_printf(&text, "%s does not resolve: %s; ", name, dns_outcome_texts[outcome]);
    if (n_kept > 0) {
        str_printf(&text, "its last good addresses hold (%zu)", n_kept);
    } else {
        str_append(&text, "what is addressed by it is down until it does");
    }
    log_failure(&master->name_news, str_text(&text));
    tell(master, str_text(&text));
}

static void note_success(struct master *master, const char *name, const struct dns_result *result)
{
    struct name_trouble *trouble = find_trouble(master, name);
    STR_AUTO text = {0};
    if (trouble != NULL) {
        end_trouble(trouble);
        str_printf(&text, "%s resolves again", name);
        log_info(str_text(&text));
        tell(master, str_text(&text));
    }
    if (result->n_left_out > 0) {
        str_reset(&text);
        str_printf(&text, "%s has more addresses than the %d that are taken: %u are left out", name,
                   DNS_ANSWERS_MAX, result->n_left_out);
        log_failure(&master->name_news, str_text(&text));
        tell(master, str_text(&text));
    }
}

const char *names_trouble(const struct master *master, const char *name, uint64_t *out_since_ms)
{
    const struct name_trouble *trouble = find_trouble(master, name);
    if (trouble == NULL) {
        return NULL;
    }
    *out_since_ms = trouble->since_ms;
    return dns_outcome_texts[trouble->outcome];
}

/* --- what was heard --- */

static void settle(struct master *master)
{
    struct name_news *news = &master->name_news;
    uint64_t now_ms = clock_now_ms();
    uint64_t next_ms = news->rebuilt_ms + REBUILD_EVERY_MS;
    uint64_t in_ms =
        news->rebuilt_ms != 0 && next_ms > now_ms + SETTLE_MS ? next_ms - now_ms : SETTLE_MS;
    struct timeval in = {.tv_usec = (suseconds_t)in_ms * 1000};
    if (news->timer != NULL && !evtimer_pending(news->timer, NULL)) {
        (void)evtimer_add(news->timer, &in);
    }
}

static const struct names_entry *find_known(const struct master *master, const char *name)
{
    const struct names_entry *known = names_find(&master->name_news.pending, name);
    return known != NULL ? known : names_find(&master->names, name);
}

/* Of a family that a look-up could not learn about, what was known holds. */
static size_t merge(const struct dns_result *result, const struct names_entry *known,
                    struct names_answer out[static DNS_ANSWERS_MAX])
{
    size_t n = 0;
    for (; n < result->n; n++) {
        out[n] = (struct names_answer){.ip = result->answers[n].ip,
                                       .port = result->answers[n].ip.port,
                                       .weight = result->answers[n].weight};
        out[n].ip.port = 0;
    }
    for (size_t i = 0; known != NULL && i < known->n && n < DNS_ANSWERS_MAX; i++) {
        bool lacks =
            known->answers[i].ip.family == ADDR_IPV4 ? result->lacks_ipv4 : result->lacks_ipv6;
        if (lacks) {
            out[n++] = known->answers[i]; /* one that is there twice counts once */
        }
    }
    return n;
}

/* Whether all that the monitor is asked for is still asked for: an answer may cross with a change.
 */
static bool is_wanted(const struct master *master, const char *name)
{
    const struct str *list = &master->name_news.list;
    const char *end = str_text(list) + list->len;
    for (const char *at = str_text(list); at < end; at += strlen(at) + 1) {
        if (strcmp(at, name) == 0) {
            return true;
        }
    }
    return false;
}

void names_heard(struct master *master, struct message_name *heard)
{
    const struct dns_result *result = &heard->result;
    struct names_answer answers[DNS_ANSWERS_MAX];
    heard->name[sizeof(heard->name) - 1] = '\0';
    if (!is_wanted(master, heard->name)) {
        return;
    }
    const struct names_entry *known = find_known(master, heard->name);
    if (result->outcome != DNS_OK) {
        note_failure(master, heard->name, (enum dns_outcome)result->outcome,
                     known != NULL ? known->n : 0);
        return;
    }
    note_success(master, heard->name, result);
    struct names now = {0};
    size_t n = merge(result, known, answers);
    int rc = known != NULL ? names_set(&now, heard->name, known->answers, known->n) : 0;
    if (rc >= 0) {
        rc = names_set(&now, heard->name, answers, n);
    }
    names_free(&now);
    if (rc != 0 && names_set(&master->name_news.pending, heard->name, answers, n) >= 0) {
        settle(master);
    }
}

/* --- into force --- */

/* to gets what from says, of names that to has. 0 or -ENOMEM. */
static int overlay(struct names *to, const struct names *from)
{
    int rc = 0;
    for (size_t i = 0; i < from->count && rc >= 0; i++) {
        const struct names_entry *entry = &from->items[i];
        rc = names_set(to, entry->name, entry->answers, entry->n);
    }
    return rc < 0 ? rc : 0;
}

static void tell_changes(struct master *master, const struct change_list *changes)
{
    for (size_t i = 0; i < changes->count; i++) {
        const char *pool, *backend;
        log_info(changes->lines[i], LOG_STR("by", EVENT_KIND));
        edit_find_subject(master->model, changes->lines[i], &pool, &backend);
        master_event(master, EVENT_KIND, pool, backend, "monitor", NULL, changes->lines[i]);
    }
}

static void tell_errors(struct master *master, const struct errlist *errors)
{
    for (size_t i = 0; i < errors->count; i++) {
        STR_AUTO text = {0};
        errlist_print_item(&errors->items[i], &text);
        log_failure(&master->name_news, str_text(&text));
        tell(master, str_text(&text));
    }
}

static struct model *build(struct master *master, const struct names *names, struct overrides *kept,
                           struct errlist *errors)
{
    struct errlist told = {0}; /* when the file was read */
    struct model *file_model = model_build(master->tree, &daemon_registries, &told);
    struct model *model = NULL;
    errlist_free(&told);
    if (file_model != NULL) {
        model = overrides_rebuild(&master->overrides, master->tree, names, file_model,
                                  &daemon_registries, kept, errors);
    }
    model_free(file_model);
    if (model != NULL && model_keep_fixed(master->model, model) != 0) {
        model_free(model);
        model = NULL;
    }
    return model;
}

/* model is owned from now on. */
static void put_into_force(struct master *master, struct model *model, struct names *names,
                           struct overrides *kept, struct errlist *errors)
{
    struct change_list changes = {0};
    model_diff(master->model, model, &changes);
    if (publish(master, model, errors, &changes)) {
        names_free(&master->names);
        master->names = *names;
        *names = (struct names){0};
        overrides_free(&master->overrides);
        master->overrides = *kept;
        *kept = (struct overrides){0};
        names_free(&master->name_news.pending);
        tell_changes(master, &changes);
        names_follow(master);
        expiry_renew(master);
        restore_save(master, errors);
        pools_watch(master);
    }
    change_list_free(&changes);
}

void names_rebuild(struct master *master)
{
    struct names names = {0};
    struct overrides kept = {0};
    struct errlist errors = {0};
    struct model *model = NULL;
    if (names_copy(&names, &master->names) == 0 &&
        overlay(&names, &master->name_news.pending) == 0) {
        model = build(master, &names, &kept, &errors);
    }
    if (model != NULL) {
        put_into_force(master, model, &names, &kept, &errors);
    }
    tell_errors(master, &errors);
    errlist_free(&errors);
    overrides_free(&kept);
    names_free(&names);
}

static void on_settled(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct master *master = arg;
    if (!master->stopping && master->name_news.pending.count > 0) {
        master->name_news.rebuilt_ms = clock_now_ms();
        names_rebuild(master);
    }
}

/* --- what the monitor watches --- */

static void list_names(const struct names *wanted, struct str *out)
{
    for (size_t i = 0; i < wanted->count; i++) {
        size_t bytes = strlen(wanted->items[i].name) + 1;
        if (bytes <= MESSAGE_NAME_MAX) {
            str_append_n(out, wanted->items[i].name, bytes);
        }
    }
}

static int write_list(const struct str *list)
{
    FD_AUTO fd = memfd_create("sluice-names", MFD_CLOEXEC);
    if (fd < 0 || (list->len > 0 && write(fd, list->data, list->len) != (ssize_t)list->len)) {
        return -1;
    }
    int kept = fd;
    fd = -1;
    return kept;
}

/* Forgets what nobody asks for any more. */
static void prune(struct master *master, struct names *wanted)
{
    struct name_trouble *trouble, *next;
    int rc = 0;
    LIST_FOREACH_SAFE (trouble, &master->name_news.troubles, link, next) {
        if (names_find(wanted, trouble->name) == NULL) {
            end_trouble(trouble);
        }
    }
    for (size_t i = 0; i < wanted->count && rc >= 0; i++) {
        const struct names_entry *known = names_find(&master->names, wanted->items[i].name);
        rc = known != NULL ? names_set(wanted, known->name, known->answers, known->n) : 0;
    }
    if (rc >= 0) {
        names_free(&master->names);
        master->names = *wanted;
        *wanted = (struct names){0};
    }
}

void names_follow(struct master *master)
{
    struct name_news *news = &master->name_news;
    struct names wanted = {0};
    struct str list = {0};
    if (news->timer == NULL) {
        news->timer = evtimer_new(master->base, on_settled, master);
    }
    if (overrides_wanted(&master->overrides, master->tree, &wanted) == 0) {
        list_names(&wanted, &list);
        bool is_same = list.len == news->list.len &&
                       memcmp(str_text(&list), str_text(&news->list), list.len) == 0;
        int fd = is_same || list.failed ? -1 : write_list(&list);
        if (fd >= 0) {
            fd_close(&news->list_fd);
            news->list_fd = fd;
            news->turn++;
            str_free(&news->list);
            news->list = list;
            list = (struct str){0};
            prune(master, &wanted);
            children_sync(master);
        }
    }
    str_free(&list);
    names_free(&wanted);
    if (news->pending.count > 0) {
        settle(master);
    }
}

void names_end(struct master *master)
{
    struct name_news *news = &master->name_news;
    while (!LIST_EMPTY(&news->troubles)) {
        end_trouble(LIST_FIRST(&news->troubles));
    }
    if (news->timer != NULL) {
        event_free(news->timer);
        news->timer = NULL;
    }
    names_free(&news->pending);
    str_free(&news->list);
    fd_close(&news->list_fd);
}
