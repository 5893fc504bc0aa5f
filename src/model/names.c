/*
 * What names stand for, sorted by name. In master.
 */
#include "names.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SRV           "srv:"
#define NAME_MAX_LEN  253
#define LABEL_MAX_LEN 63
#define HOST_BYTES    256

/* --- one name --- */

const char *names_judge_srv(const char *text)
{
    const char *name = text + strlen(SRV);
    size_t len = strlen(name);
    const char *label = name;

    if (len == 0 || len > NAME_MAX_LEN || *name == '.') {
        return "no name; write srv:_SERVICE._tcp.DOMAIN";
    }
    while (*label != '\0') {
        size_t n = strcspn(label, ".");

        for (size_t i = 0; i < n; i++) {
            if (!isalnum((unsigned char)label[i]) && label[i] != '-' && label[i] != '_') {
                return "not a name; write srv:_SERVICE._tcp.DOMAIN, with letters, digits, hyphens, "
                       "underscores and dots only (ports come with the answer)";
            }
        }
        if (n == 0 || n > LABEL_MAX_LEN) {
            return "not a name; each part between two dots has 1 to 63 characters";
        }
        label += n + (label[n] == '.' ? 1 : 0);
    }
    return NULL;
}

static bool is_srv(const char *text)
{
    return strncmp(text, SRV, strlen(SRV)) == 0;
}

bool names_take(const char *text, struct str *out)
{
    char host[HOST_BYTES];
    struct addr address;
    const char *problem;
    uint16_t port;
    bool is_unix;

    if (is_srv(text)) {
        if (names_judge_srv(text) != NULL) {
            return false;
        }
        str_append(out, text);
        return true;
    }
    if (addr_parse(text, false, &address, &problem) != 1 ||
        addr_split(text, host, sizeof(host), &port, &is_unix, &problem) != 0) {
        return false;
    }
    str_append(out, host);
    return true;
}

static bool is_ip(const char *text, size_t len)
{
    char ip[ADDR_TEXT_MAX];
    struct addr_ip parsed;

    if (len == 0 || len >= sizeof(ip)) {
        return false;
    }
    memcpy(ip, text, len);
    ip[len] = '\0';
    return addr_parse_ip(ip, &parsed) == 0;
}

size_t names_template_length(const char *backend)
{
    const char *at = strrchr(backend, '@');
    const char *ip = at != NULL ? at + 1 : "";
    const char *port = strrchr(ip, ':');
    bool matches = is_ip(ip, strlen(ip));

    if (!matches && port != NULL && port[1] != '\0' &&
        port[1 + strspn(port + 1, "0123456789")] == '\0') {
        matches = is_ip(ip, (size_t)(port - ip));
    }
    return matches ? (size_t)(at - backend) : 0;
}

bool names_is_of(const char *backend, const char *template)
{
    size_t len = names_template_length(backend);

    return len > 0 && strlen(template) == len && strncmp(backend, template, len) == 0;
}

/* --- what they stand for --- */

/* Where name is, or would be. */
static size_t place_of(const struct names *names, const char *name)
{
    size_t low = 0;
    size_t high = names->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (strcmp(names->items[middle].name, name) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static struct names_entry *find_entry(const struct names *names, const char *name)
{
    size_t at = place_of(names, name);

    return at < names->count && strcmp(names->items[at].name, name) == 0 ? &names->items[at] : NULL;
}

const struct names_entry *names_find(const struct names *names, const char *name)
{
    return find_entry(names, name);
}

static struct names_entry *add_entry(struct names *names, const char *name)
{
    size_t at = place_of(names, name);
    char *copy;

    if (names->count == names->cap) {
        size_t cap = names->cap > 0 ? names->cap * 2 : 16;
        struct names_entry *items = reallocarray(names->items, cap, sizeof(*items));

        if (items == NULL) {
            return NULL;
        }
        names->items = items;
        names->cap = cap;
    }
    copy = strdup(name);
    if (copy == NULL) {
        return NULL;
    }
    memmove(&names->items[at + 1], &names->items[at], (names->count - at) * sizeof(*names->items));
    names->count++;
    names->items[at] = (struct names_entry){.name = copy};
    return &names->items[at];
}

static int compare_places(const struct names_answer *a, const struct names_answer *b)
{
    int by_bytes = memcmp(a->ip.bytes, b->ip.bytes, sizeof(a->ip.bytes));

    if (a->ip.family != b->ip.family) {
        return a->ip.family < b->ip.family ? -1 : 1;
    }
    if (by_bytes != 0) {
        return by_bytes;
    }
    return a->port == b->port ? 0 : a->port < b->port ? -1 : 1;
}

static int compare_answers(const void *one, const void *other)
{
    const struct names_answer *a = one;
    const struct names_answer *b = other;
    int by_place = compare_places(a, b);

    if (by_place != 0) {
        return by_place;
    }
    return a->weight == b->weight ? 0 : a->weight > b->weight ? -1 : 1;
}

static bool is_same_answer(const struct names_answer *a, const struct names_answer *b)
{
    return compare_answers(a, b) == 0 && a->ip.scope == b->ip.scope;
}

/* Returns how many are left. */
static size_t sort_answers(struct names_answer *answers, size_t n)
{
    size_t kept = 0;

    for (size_t i = 0; i < n; i++) {
        answers[i].ip.port = 0;
    }
    if (n > 0) {
        qsort(answers, n, sizeof(*answers), compare_answers);
    }
    for (size_t i = 0; i < n; i++) {
        if (kept == 0 || compare_places(&answers[kept - 1], &answers[i]) != 0) {
            answers[kept++] = answers[i];
        }
    }
    return kept < NAMES_ANSWERS_MAX ? kept : NAMES_ANSWERS_MAX;
}

static bool holds(const struct names_entry *entry, const struct names_answer *answers, size_t n)
{
    bool same = entry->n == n;

    for (size_t i = 0; same && i < n; i++) {
        same = is_same_answer(&entry->answers[i], &answers[i]);
    }
    return same;
}

int names_set(struct names *names, const char *name, const struct names_answer *answers, size_t n)
{
    struct names_entry *entry = find_entry(names, name);
    struct names_answer *copy = calloc(n + 1, sizeof(*copy));

    if (copy == NULL) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        copy[i] = answers[i];
    }
    n = sort_answers(copy, n);
    if (entry != NULL && holds(entry, copy, n)) {
        free(copy);
        return 0;
    }
    entry = entry != NULL ? entry : add_entry(names, name);
    if (entry == NULL) {
        free(copy);
        return -ENOMEM;
    }
    free(entry->answers);
    entry->answers = copy;
    entry->n = n;
    return 1;
}

void names_note(struct names *names, const char *name, const char *trouble)
{
    struct names_entry *entry = find_entry(names, name);

    if (entry != NULL) {
        entry->trouble = trouble;
    }
}

int names_copy(struct names *to, const struct names *from)
{
    for (size_t i = 0; i < from->count; i++) {
        const struct names_entry *entry = &from->items[i];

        if (names_set(to, entry->name, entry->answers, entry->n) < 0) {
            names_free(to);
            return -ENOMEM;
        }
    }
    return 0;
}

int names_hold(struct names *to, const struct names *from)
{
    for (size_t i = 0; i < to->count; i++) {
        const struct names_entry *known = names_find(from, to->items[i].name);

        if (to->items[i].n == 0 && known != NULL &&
            names_set(to, known->name, known->answers, known->n) < 0) {
            return -ENOMEM;
        }
    }
    return 0;
}

void names_free(struct names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        free(names->items[i].name);
        free(names->items[i].answers);
    }
    free(names->items);
    *names = (struct names){0};
}
