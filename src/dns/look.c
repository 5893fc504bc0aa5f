/* Looking names up, see look.h. Owns the questions that a look has under way. In the monitor and in
 * the short-lived child that looks names up for master. */
#include "look.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

/* A host whose addresses are wanted: the name itself, or a target of SRV. */
struct part {
    struct dns_look *look;
    char name[DNS_NAME_MAX];
    uint16_t port;
    uint32_t weight;
    struct dns_ask *asks[2]; /* DNS_A, DNS_AAAA; NULL: has ended */
    enum dns_outcome outcomes[2];
};

struct dns_look {
    struct event_base *base;
    struct dns_asker *asker;
    const struct dns_files *files;
    char name[DNS_NAME_MAX]; /* without srv: */
    bool is_srv, is_begun;
    size_t candidate; /* the next one */
    uint64_t until_ms;
    uint32_t limit_ms;
    struct event *timer; /* the beginning, then the end */
    struct dns_ask *srv; /* or NULL */
    struct part *parts;
    size_t n_parts;
    size_t n_asks; /* of parts, under way */
    struct dns_result result;
    dns_look_fn *done;
    void *arg;
};

static void cancel_asks(struct dns_look *look)
{
    dns_ask_cancel(look->srv);
    look->srv = NULL;
    for (size_t i = 0; i < look->n_parts; i++) {
        for (int type = DNS_A; type <= DNS_AAAA; type++) {
            dns_ask_cancel(look->parts[i].asks[type]);
            look->parts[i].asks[type] = NULL;
        }
    }
    look->n_asks = 0;
}

void dns_look_cancel(struct dns_look *look)
{
    if (look != NULL) {
        cancel_asks(look);
        if (look->timer != NULL) {
            event_free(look->timer);
        }
        free(look->parts);
        free(look);
    }
}

/* --- the result --- */

static int compare_answers(const void *a, const void *b)
{
    const struct dns_answer *x = a, *y = b;
    int order = (int)x->ip.family - (int)y->ip.family;
    order = order != 0 ? order : memcmp(x->ip.bytes, y->ip.bytes, sizeof(x->ip.bytes));
    return order != 0 ? order : (int)x->ip.port - (int)y->ip.port;
}

/* Whether that is how it is, and not what could not be learned. */
static bool is_definite(enum dns_outcome outcome)
{
    return outcome == DNS_OK || outcome == DNS_NXDOMAIN || outcome == DNS_EMPTY ||
           outcome == DNS_BAD_NAME;
}

/* Of two ways to fail the one that says more: what is wrong with a server, before what it says. */
static enum dns_outcome graver(enum dns_outcome a, enum dns_outcome b)
{
    if (is_definite(a) != is_definite(b)) {
        return is_definite(a) ? b : a;
    }
    return a == DNS_NXDOMAIN ? b : a;
}

static void sum_up(struct dns_look *look)
{
    struct dns_result *result = &look->result;
    for (size_t i = 0; i < look->n_parts; i++) {
        const struct part *part = &look->parts[i];
        result->lacks_ipv4 |= !is_definite(part->outcomes[DNS_A]);
        result->lacks_ipv6 |= !is_definite(part->outcomes[DNS_AAAA]);
        enum dns_outcome outcome = graver(part->outcomes[DNS_A], part->outcomes[DNS_AAAA]);
        result->outcome = i == 0 ? outcome : graver(result->outcome, outcome);
    }
    qsort(result->answers, result->n, sizeof(result->answers[0]), compare_answers);
    uint32_t n = 0;
    for (uint32_t i = 0; i < result->n; i++) {
        if (n == 0 || compare_answers(&result->answers[n - 1], &result->answers[i]) != 0) {
            result->answers[n++] = result->answers[i];
        }
    }
    result->n = n;
    result->outcome = n > 0 ? DNS_OK : result->outcome;
}

static void finish(struct dns_look *look)
{
    sum_up(look);
    struct dns_result result = look->result;
    dns_look_fn *done = look->done;
    void *arg = look->arg;
    dns_look_cancel(look);
    done(arg, &result);
}

static void fail(struct dns_look *look, enum dns_outcome outcome)
{
    look->result.outcome = outcome;
    look->result.lacks_ipv4 |= !is_definite(outcome);
    look->result.lacks_ipv6 |= !is_definite(outcome);
    look->n_parts = 0;
    look->result.n = 0;
    finish(look);
}

/* Of too many the least stay, as in messages. */
static void add_answer(struct dns_look *look, const struct part *part, const struct addr_ip *ip)
{
    struct dns_result *result = &look->result;
    struct dns_answer answer = {.ip = *ip, .weight = part->weight};
    uint32_t at = result->n;
    answer.ip.port = part->port;
    if (result->n < DNS_ANSWERS_MAX) {
        result->n++;
    } else {
        result->n_left_out++;
        at = 0;
        for (uint32_t i = 1; i < result->n; i++) {
            at = compare_answers(&result->answers[at], &result->answers[i]) < 0 ? i : at;
        }
        if (compare_answers(&answer, &result->answers[at]) >= 0) {
            return;
        }
    }
    result->answers[at] = answer;
}

static void note_ttl(struct dns_look *look, uint32_t ttl_s)
{
    look->result.ttl_s = ttl_s < look->result.ttl_s ? ttl_s : look->result.ttl_s;
}

/* --- hosts --- */

static void begin_candidate(struct dns_look *look);

static void parts_ended(struct dns_look *look)
{
    const struct part *part = &look->parts[0];
    enum dns_outcome outcome = graver(part->outcomes[DNS_A], part->outcomes[DNS_AAAA]);
    /* Only "there is none" leads on to the next domain of the search list. A failure does not: a
     * lost answer must not make the name mean another host. */
    if (!look->is_srv && look->result.n == 0 && is_definite(outcome)) {
        look->result.outcome = outcome;
        begin_candidate(look);
    } else {
        finish(look);
    }
}

static void ask_ended(struct part *part, enum dns_type type, enum dns_outcome outcome,
                      const struct dns_reply *reply)
{
    struct dns_look *look = part->look;
    part->asks[type] = NULL;
    part->outcomes[type] = outcome;
    if (outcome == DNS_OK) {
        note_ttl(look, reply->ttl_s);
        look->result.n_left_out += (uint32_t)reply->n_left_out;
        for (size_t i = 0; i < reply->n; i++) {
            add_answer(look, part, &reply->ips[i]);
        }
    }
    if (--look->n_asks == 0) {
        parts_ended(look);
    }
}

static void on_ipv4(void *arg, enum dns_outcome outcome, const struct dns_reply *reply)
{
    ask_ended(arg, DNS_A, outcome, reply);
}

static void on_ipv6(void *arg, enum dns_outcome outcome, const struct dns_reply *reply)
{
    ask_ended(arg, DNS_AAAA, outcome, reply);
}

/* A little less than there is, so that a question says itself how it ended. */
static uint32_t time_left(const struct dns_look *look)
{
    uint64_t now_ms = clock_now_ms();
    return look->until_ms > now_ms ? (uint32_t)(look->until_ms - now_ms) / 16 * 15 : 0;
}

static bool take_from_hosts(struct part *part)
{
    struct addr_ip ips[DNS_ANSWERS_MAX];
    size_t n = dns_hosts_find(dns_files_hosts(part->look->files), part->name, ips);
    for (size_t i = 0; i < n && i < DNS_ANSWERS_MAX; i++) {
        add_answer(part->look, part, &ips[i]);
    }
    part->look->result.n_left_out += n > DNS_ANSWERS_MAX ? (uint32_t)(n - DNS_ANSWERS_MAX) : 0;
    return n > 0;
}

static void ask_part(struct part *part)
{
    static dns_ask_fn *const done[2] = {[DNS_A] = on_ipv4, [DNS_AAAA] = on_ipv6};
    struct dns_look *look = part->look;
    for (int type = DNS_A; type <= DNS_AAAA; type++) {
        part->asks[type] = dns_ask_start(look->asker, part->name, (enum dns_type)type,
                                         time_left(look), done[type], part);
        part->outcomes[type] = part->asks[type] != NULL ? DNS_TIMEOUT : DNS_BAD_NAME;
        look->n_asks += part->asks[type] != NULL;
    }
}

static bool make_parts(struct dns_look *look, size_t n)
{
    free(look->parts);
    look->n_parts = 0;
    look->parts = calloc(n, sizeof(*look->parts));
    if (look->parts == NULL) {
        return false;
    }
    look->n_parts = n;
    for (size_t i = 0; i < n; i++) {
        look->parts[i].look = look;
    }
    return true;
}

/* All parts have their names. */
static void ask_parts(struct dns_look *look, bool may_be_in_hosts)
{
    for (size_t i = 0; i < look->n_parts; i++) {
        if (!may_be_in_hosts || !take_from_hosts(&look->parts[i])) {
            ask_part(&look->parts[i]);
        }
    }
    if (look->n_asks == 0) {
        parts_ended(look);
    }
}

static void begin_host(struct dns_look *look, const char *name)
{
    if (!make_parts(look, 1)) {
        fail(look, DNS_RESOURCES);
        return;
    }
    (void)strlcpy(look->parts[0].name, name, DNS_NAME_MAX);
    ask_parts(look, false);
}

/* --- SRV --- */

static void on_srv(void *arg, enum dns_outcome outcome, const struct dns_reply *reply)
{
    struct dns_look *look = arg;
    uint16_t priority = UINT16_MAX;
    size_t n = 0;
    look->srv = NULL;
    if (outcome != DNS_OK) {
        look->result.outcome = outcome;
        if (is_definite(outcome)) {
            begin_candidate(look);
        } else {
            fail(look, outcome);
        }
        return;
    }
    note_ttl(look, reply->ttl_s);
    look->result.n_left_out += (uint32_t)reply->n_left_out;
    for (size_t i = 0; i < reply->n; i++) {
        priority = reply->targets[i].priority < priority ? reply->targets[i].priority : priority;
    }
    if (!make_parts(look, reply->n)) {
        fail(look, DNS_RESOURCES);
        return;
    }
    for (size_t i = 0; i < reply->n; i++) {
        const struct dns_target *target = &reply->targets[i];
        if (target->priority == priority) {
            struct part *part = &look->parts[n++];
            (void)strlcpy(part->name, target->name, sizeof(part->name));
            part->port = target->port;
            part->weight = target->weight > 0 ? target->weight : 1;
        }
    }
    look->n_parts = n;
    ask_parts(look, true);
}

static void begin_srv(struct dns_look *look, const char *name)
{
    look->srv = dns_ask_start(look->asker, name, DNS_SRV, time_left(look), on_srv, look);
    if (look->srv == NULL) {
        look->result.outcome = DNS_BAD_NAME;
        begin_candidate(look);
    }
}

/* --- the search list --- */

static size_t count_dots(const char *name)
{
    size_t n = 0;
    for (; *name != '\0'; name++) {
        n += *name == '.';
    }
    return n;
}

/* What the name may stand for, in the order of resolv.conf(5). False: nothing more. */
static bool find_candidate(const struct dns_look *look, size_t i, char out[static DNS_NAME_MAX])
{
    const struct dns_resolv *resolv = dns_files_resolv(look->files);
    const char *name = look->name;
    size_t len = strlen(name);
    bool is_absolute = len > 0 && name[len - 1] == '.';
    size_t n_search = is_absolute ? 0 : resolv->n_search;
    size_t as_is = is_absolute || count_dots(name) >= resolv->ndots ? 0 : n_search;
    if (i > n_search) {
        return false;
    }
    (void)strlcpy(out, name, DNS_NAME_MAX);
    if (i != as_is) {
        (void)strlcat(out, ".", DNS_NAME_MAX);
        if (strlcat(out, resolv->search[i - (as_is == 0)], DNS_NAME_MAX) >= DNS_NAME_MAX) {
            out[0] = '\0'; /* half of it would be another name; this one cannot be asked for */
        }
    } else if (is_absolute) {
        out[len - 1] = '\0';
    }
    return true;
}

static void begin_candidate(struct dns_look *look)
{
    char name[DNS_NAME_MAX];
    if (!find_candidate(look, look->candidate, name)) {
        fail(look, look->result.outcome);
        return;
    }
    look->candidate++;
    if (look->is_srv) {
        begin_srv(look, name);
    } else {
        begin_host(look, name);
    }
}

/* --- the whole --- */

static void begin(struct dns_look *look)
{
    look->until_ms = clock_now_ms() + look->limit_ms;
    struct timeval most = {.tv_sec = look->limit_ms / 1000,
                           .tv_usec = (suseconds_t)(look->limit_ms % 1000) * 1000};
    if (evtimer_add(look->timer, &most) != 0 || !make_parts(look, 1)) {
        fail(look, DNS_RESOURCES);
        return;
    }
    (void)strlcpy(look->parts[0].name, look->name, DNS_NAME_MAX);
    if (!look->is_srv && take_from_hosts(&look->parts[0])) {
        finish(look);
        return;
    }
    look->n_parts = 0;
    begin_candidate(look);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct dns_look *look = arg;
    if (!look->is_begun) {
        look->is_begun = true;
        begin(look);
    } else if (look->n_parts == 0 || look->srv != NULL) {
        fail(look, DNS_TIMEOUT);
    } else {
        cancel_asks(look); /* their outcomes say DNS_TIMEOUT from the beginning */
        finish(look);
    }
}

struct dns_look *dns_look_start(struct event_base *base, struct dns_asker *asker,
                                const struct dns_files *files, const char *name, uint32_t limit_ms,
                                dns_look_fn *done, void *arg)
{
    struct dns_look *look = calloc(1, sizeof(*look));
    size_t prefix = strlen(DNS_SRV_PREFIX);
    if (look == NULL || (look->timer = evtimer_new(base, on_timer, look)) == NULL) {
        free(look);
        return NULL;
    }
    look->base = base;
    look->asker = asker;
    look->files = files;
    look->limit_ms = limit_ms;
    look->done = done;
    look->arg = arg;
    look->result.ttl_s = DNS_TTL_MAX_S;
    look->result.outcome = DNS_BAD_NAME;
    look->is_srv = strncmp(name, DNS_SRV_PREFIX, prefix) == 0;
    /* One that is too long becomes empty, and so cannot be asked for. */
    if (strlcpy(look->name, name + (look->is_srv ? prefix : 0), DNS_NAME_MAX) >= DNS_NAME_MAX) {
        look->name[0] = '\0';
    }
    struct timeval at_once = {0};
    (void)evtimer_add(look->timer, &at_once);
    return look;
}
