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
    uint32_t n_returning; /* of those lent: as far as is known they will be idle again */
    uint64_t open_again_ms;
    SLIST_ENTRY(shelf) short_link;
    uint32_t n_first_strays; /* on upstreams that had served once at most */
    bool has_proven;         /* some upstream served again after it had lain idle */
    bool keeps;    /* some upstream has lain open and quiet for a while behind an answer */
    bool is_short; /* may lack idle ones: linked into proxy->short_shelves */
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
/* Whether the backend is known to keep idle connections, for a while. */
static inline bool shelf_is_proven(const struct shelf *shelf)
{
    return shelf->has_proven || shelf->keeps;
}
/* Why one more is not to be kept yet, for want of knowledge; DISCARD_COUNT: it is. is_retriable: it
 * has served such a request. */
enum discard shelf_doubt(const struct proxy *proxy, const struct shelf *shelf, bool is_retriable);
/* Its idle ones have become fewer. */
void shelf_note_taken(struct proxy *proxy, struct shelf *shelf);
/* Some shelf has one more: it is to be looked at now and then. */
void shelf_note_idle(struct proxy *proxy);

/* --- upstream.c --- */

/* A record with nothing opened yet, in no list, whose age has begun. NULL: out of memory. */
struct upstream *upstream_new(struct proxy *proxy, struct shelf *shelf);
/* Takes it out of its list and count, to be put into another. */
void upstream_unlist(struct upstream *u);
/* Its end, uncounted; and counted. */
void upstream_end(struct upstream *u, bool orderly);
void upstream_drop(struct upstream *u, enum discard reason, bool orderly);
/* What an idle one would be closed for by its age, uses, settings; DISCARD_COUNT: nothing. */
enum discard upstream_fault(const struct upstream *u);
/* Opening ahead came to nothing. */
void upstream_opening_failed(struct upstream *u);

/* --- room.c --- */

/* A place under max_connections for it. */
bool upstream_take_place(struct upstream *u, uint32_t limit);
/* The same, at the cost of idle ones. False: another worker has been asked. */
bool upstream_make_room(struct upstream *u, uint32_t limit);
/* Lets an idle one go if another worker has asked for it. */
void shelf_let_go(struct proxy *proxy, struct shelf *shelf);

/* --- trouble.c --- */

/* Something has come on an idle one: counts what nobody had asked for. */
void upstream_note_stray(struct upstream *u);
/* How long a backend is listened to before it is known whether it greets. */
uint32_t shelf_listen_ms(const struct proxy *proxy, const struct shelf *shelf);
/* Of those that were opened ahead, and not in mode warm: something has come. Ends it, or listens
 * on. */
void upstream_ahead_spoke(struct upstream *u);
/* One has spoken some time ago: that was a greeting if nothing came of it. */
void upstream_listen_on(struct upstream *u);
/* The end of one has come (in mode warm, too). */
void upstream_ahead_ended(struct upstream *u);

#endif
