/*
 * Shelves: where the idle upstreams of a slot lie, and what the files about upstreams have in
 * common. Private to them.
 */
#ifndef SLUICE_PROXY_SHELF_H
#define SLUICE_PROXY_SHELF_H

#include "upstream.h"

struct shelf {
    LIST_ENTRY(shelf) link;
    uint32_t slot, row;
    uint32_t pool, index; /* in the present snapshot; SNAPSHOT_NONE: not there any more */
    struct upstream_list idle, opening;
    uint32_t n_idle, n_opening, n_lent;
    uint64_t open_again_ms;
    SLIST_ENTRY(shelf) short_link;
    uint32_t n_first_strays; /* on upstreams that had served once at most */
    bool has_proven;         /* some upstream served again after it had lain idle */
    bool is_short;           /* may lack idle ones: linked into proxy->short_shelves */
};

static inline const struct snapshot_pool *shelf_pool(const struct proxy *proxy,
                                                     const struct shelf *shelf)
{
    return &snapshot_pools(proxy->snapshot)[shelf->pool];
}

static inline const struct snapshot_backend *shelf_backend(const struct proxy *proxy,
                                                           const struct shelf *shelf)
{
    return &snapshot_backends(
        proxy->snapshot)[shelf_pool(proxy, shelf)->first_backend + shelf->index];
}

/* --- shelf.c --- */

/* The slot's; made if there is none. NULL: out of memory. */
struct shelf *shelf_get(struct proxy *proxy, uint32_t slot, uint32_t row);
/* Whether nothing may be kept yet, because the framing would take a greeting for an answer. */
bool shelf_is_unheard(const struct proxy *proxy, const struct shelf *shelf);
/* Whether the backend may have idle upstreams at all; and if not, why. */
bool shelf_may_keep(const struct proxy *proxy, const struct shelf *shelf);
enum discard shelf_fault(const struct proxy *proxy, const struct shelf *shelf);
/* Its idle ones have become fewer. */
void shelf_note_taken(struct proxy *proxy, struct shelf *shelf);
/* Some shelf has one more: it is to be looked at now and then. */
void shelf_note_idle(struct proxy *proxy);

/* --- upstream.c --- */

/* A record with nothing opened yet, in no list, whose age has begun. NULL: out of memory. */
struct upstream *upstream_new(struct proxy *proxy, struct shelf *shelf);
/* A place under max_connections for it. */
bool upstream_take_place(struct upstream *u, uint32_t limit);
/* Takes it out of its list and count, to be put into another. */
void upstream_unlist(struct upstream *u);
/* Its end, uncounted; and counted. */
void upstream_end(struct upstream *u, bool orderly);
void upstream_drop(struct upstream *u, enum discard reason, bool orderly);
/* What an idle one would be closed for by its age, uses, settings; DISCARD_COUNT: nothing. */
enum discard upstream_fault(const struct upstream *u);
/* Opening ahead came to nothing. */
void upstream_opening_failed(struct upstream *u);

#endif
