/* The text of resolv.conf, see files.h. Owns nothing. In the monitor and in the short-lived child
 * that looks names up for master. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "files.h"

#define BLANKS      " \t\r"
#define LINE_BYTES  1024
#define SERVER_PORT 53
/* The bounds of the C library, resolv.conf(5). */
#define NDOTS_MAX    15
#define TIMEOUT_S    5
#define TIMEOUT_MAX  30
#define ATTEMPTS     2
#define ATTEMPTS_MAX 5

static void take_server(const char *word, struct dns_resolv *out)
{
    struct addr_ip ip;
    if (word != NULL && out->n_servers < DNS_SERVERS_MAX && addr_parse_ip(word, &ip) == 0) {
        ip.port = SERVER_PORT;
        out->servers[out->n_servers++] = ip;
    }
}

/* The last such line holds. */
static void take_search(char *rest, bool is_one, struct dns_resolv *out)
{
    char *at = NULL;
    out->n_search = 0;
    for (char *word = strtok_r(rest, BLANKS, &at);
         word != NULL && out->n_search < (is_one ? 1 : DNS_SEARCH_MAX);
         word = strtok_r(NULL, BLANKS, &at)) {
        size_t len = strlen(word);
        if (len > 1 && word[len - 1] == '.') {
            word[len - 1] = '\0';
        }
        if (strcmp(word, ".") != 0 && len < DNS_NAME_MAX) {
            (void)strlcpy(out->search[out->n_search++], word, DNS_NAME_MAX);
        }
    }
}

static bool take_number(const char *word, const char *key, uint32_t least, uint32_t most,
                        uint32_t *out)
{
    size_t len = strlen(key);
    if (strncmp(word, key, len) != 0) {
        return false;
    }
    unsigned long number = strtoul(word + len, NULL, 10);
    *out = number < least ? least : number > most ? most : (uint32_t)number;
    return true;
}

static void take_options(char *rest, struct dns_resolv *out)
{
    char *at = NULL;
    uint32_t seconds;
    for (char *word = strtok_r(rest, BLANKS, &at); word != NULL;
         word = strtok_r(NULL, BLANKS, &at)) {
        if (take_number(word, "timeout:", 1, TIMEOUT_MAX, &seconds)) {
            out->timeout_ms = seconds * 1000;
        } else if (!take_number(word, "attempts:", 1, ATTEMPTS_MAX, &out->attempts)) {
            (void)take_number(word, "ndots:", 0, NDOTS_MAX, &out->ndots);
        }
    }
}

static void take_line(char *line, struct dns_resolv *out)
{
    char *rest = NULL, *more = NULL;
    const char *key = strtok_r(line, BLANKS, &rest);
    if (key == NULL || key[0] == '#' || key[0] == ';') {
        return;
    }
    if (strcmp(key, "nameserver") == 0) {
        take_server(strtok_r(rest, BLANKS, &more), out);
    } else if (strcmp(key, "search") == 0 || strcmp(key, "domain") == 0) {
        take_search(rest, key[0] == 'd', out);
    } else if (strcmp(key, "options") == 0) {
        take_options(rest, out);
    }
}

/* What is behind the first dot of this machine's name, unless the file says anything. */
static void search_own_domain(struct dns_resolv *out)
{
    char name[DNS_NAME_MAX] = "";
    (void)gethostname(name, sizeof(name) - 1);
    char *dot = strchr(name, '.');
    if (dot != NULL && dot[1] != '\0') {
        (void)strlcpy(out->search[0], dot + 1, DNS_NAME_MAX);
        out->n_search = 1;
    }
}

void dns_resolv_parse(const char *text, struct dns_resolv *out)
{
    char line[LINE_BYTES];
    *out = (struct dns_resolv){.ndots = 1, .timeout_ms = TIMEOUT_S * 1000, .attempts = ATTEMPTS};
    search_own_domain(out);
    while (*text != '\0') {
        size_t len = strcspn(text, "\n");
        if (len < sizeof(line)) {
            memcpy(line, text, len);
            line[len] = '\0';
            take_line(line, out);
        }
        text += len + (text[len] == '\n');
    }
    if (out->n_servers == 0) {
        take_server("127.0.0.1", out);
    }
}
