/*
 * The table of schedulers and what all of them share. Pure; picks run in workers, names are looked
 * up in master.
 */
#include "sched.h"

#include <string.h>

#define NAMES_MAX 64 /* names and aliases of the whole table, and NULL */

#define AS_POINTER(name) &sched_##name,

const struct sched_ops *const sched_table[] = {SCHED_LIST(AS_POINTER) NULL};

bool sched_was_tried(const struct sched_request *request, uint32_t i)
{
    for (uint32_t t = 0; t < request->n_tried; t++) {
        if (request->tried[t] == i)
            return true;
    }
    return false;
}

bool sched_has_room(const struct sched_view *view, const struct sched_request *request, uint32_t i)
{
    uint32_t slot = view->slot[i];

    if (view->held != NULL && view->held[i] != 0)
        return false;
    if (view->limit[i] != 0 &&
        eligibility_is_full(
            sched_active(view, i), view->limit[i], view->resume[i],
            atomic_load_explicit(&view->sb->slot_full[slot], memory_order_relaxed) != 0))
        return false;
    return rate_allows(&view->sb->slot_rate[slot], &view->rate[i], request->now_us * 1000);
}

uint64_t sched_mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static bool is_called(const struct sched_ops *ops, const char *name)
{
    if (strcmp(ops->name, name) == 0)
        return true;
    for (const char *const *alias = ops->aliases; alias != NULL && *alias != NULL; alias++) {
        if (strcmp(*alias, name) == 0)
            return true;
    }
    return false;
}

uint32_t sched_find(const char *name)
{
    for (uint32_t i = 0; sched_table[i] != NULL; i++) {
        if (is_called(sched_table[i], name))
            return i;
    }
    return SCHED_NONE;
}

static void add_name(const char **names, size_t *n, const char *name)
{
    if (*n < NAMES_MAX - 1)
        names[(*n)++] = name;
}

const char *const *sched_names(void)
{
    static const char *names[NAMES_MAX]; /* made anew each time, always the same */
    size_t n = 0;

    for (uint32_t i = 0; sched_table[i] != NULL; i++) {
        add_name(names, &n, sched_table[i]->name);
        for (const char *const *alias = sched_table[i]->aliases; alias != NULL && *alias != NULL;
             alias++)
            add_name(names, &n, *alias);
    }
    names[n] = NULL;
    return names;
}
