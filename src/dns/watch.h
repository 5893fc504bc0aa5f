/*
 * Names that are looked up again and again: when their time to live is over, but not faster than
 * once a second; after a failure a second later, then less and less often; and all of them once the
 * hosts file or resolv.conf has changed. On an event loop.
 */
#ifndef SLUICE_DNS_WATCH_H
#define SLUICE_DNS_WATCH_H

#include "look.h"

/* A look-up may take this long, whatever resolv.conf says. */
#define DNS_WATCH_LIMIT_MS 10000
/* So many names are being looked up at once; others wait for their turn. */
#define DNS_WATCH_LOOKS_MAX 64

struct dns_watch;

/* There is something for dns_watch_news(). */
typedef void dns_watch_fn(void *arg);

/* How long until a name is looked up again after that result, which was the failures-th one in a
 * row of which something was not to be had (0: it was whole). */
uint32_t dns_watch_next_ms(const struct dns_result *result, uint32_t failures);

/* base and the paths outlive it. NULL without memory. */
struct dns_watch *dns_watch_create(struct event_base *base, const char *hosts_path,
                                   const char *resolv_path, dns_watch_fn *news, void *arg);
void dns_watch_destroy(struct dns_watch *watch); /* NULL is allowed */
/*
 * Sets the names that are watched: n of them, each with its NUL, in the bytes of text. One that was
 * watched before goes on as it is; a new one is looked up at once. Returns 0 or -ENOMEM: then some
 * are missing.
 */
int dns_watch_set(struct dns_watch *watch, const char *text, size_t bytes);
/* The oldest name whose last result is another than the one before, or NULL; *out_result (cut after
 * its last answer) stays until the loop runs on. It is told of until … */
const char *dns_watch_news(const struct dns_watch *watch, const struct dns_result **out_result);
/* … this. */
void dns_watch_told(struct dns_watch *watch);

#endif
