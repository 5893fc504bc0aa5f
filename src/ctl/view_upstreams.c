/*
 * Live figures of connections to backends that are kept. In master.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl/reuse_advice.h"
#include "ctl/view.h"

#define LOAD(field) atomic_load_explicit(&(field), memory_order_relaxed)

#define MOSTLY 3 /* reasons that are named in a table */

uint64_t view_reused_percent(const struct sb_upstream_sum *sum)
{
    uint64_t lent = sum->opened + sum->warm + sum->reused;

    return lent == 0 ? 0 : sum->reused * 100 / lent;
}

static enum reuse_trouble trouble_of(const struct sb_slot *slot)
{
    uint32_t trouble = LOAD(slot->reuse_trouble);

    return trouble < REUSE_TROUBLE_COUNT ? (enum reuse_trouble)trouble : REUSE_FINE;
}

const char *view_reuse_trouble(const struct sb_slot *slot)
{
    return reuse_trouble_names[trouble_of(slot)];
}

static const struct snapshot_pool *record_of(const struct view *view, const struct model_pool *pool)
{
    return &snapshot_pools(view->snapshot)[pool - view->model->pools];
}

bool view_has_reuse(const struct view *view, const struct model_pool *pool)
{
    return record_of(view, pool)->reuse.mode != REUSE_OFF;
}

/* The word for an option's value in the file. */
static const char *word_of(const char *name, uint32_t value)
{
    for (const struct option_def *option = option_table; option->name != NULL; option++)
        if (strcmp(option->section, "reuse") == 0 && strcmp(option->name, name) == 0)
            return option->words[value];
    return "unknown";
}

/* The commonest first, of alike ones the first of the list. */
static void list_reasons(const struct sb_upstream_sum *sum, char buf[static VIEW_REASON_MAX])
{
    bool is_named[DISCARD_COUNT] = {false};
    size_t used = 0;

    buf[0] = '\0';
    for (size_t n = 0; n < MOSTLY; n++) {
        enum discard top = DISCARD_COUNT;

        for (enum discard reason = 0; reason < DISCARD_COUNT; reason++)
            if (!is_named[reason] && sum->discarded_by[reason] > 0 &&
                (top == DISCARD_COUNT || sum->discarded_by[reason] > sum->discarded_by[top]))
                top = reason;
        if (top == DISCARD_COUNT)
            return;
        is_named[top] = true;
        used += (size_t)snprintf(buf + used, VIEW_REASON_MAX - used, "%s%s %" PRIu64,
                                 used > 0 ? ", " : "", discard_names[top], sum->discarded_by[top]);
    }
}

static void fill_why_not(const struct view *view, const struct standing *standing, size_t index,
                         struct view_upstreams *out)
{
    STR_AUTO text = {0};
    char command[SB_PIN_COMMAND_MAX];
    const struct backend_facts facts = eligibility_facts(
        standing->pool, standing->backends, (uint32_t)index, &standing->survey, view->sb);
    const struct reuse_case about = {
        .reuse = &standing->pool->reuse,
        .sum = &out->sum,
        .trouble = trouble_of(&view->sb->slots[standing->backends[index].slot]),
        .state = eligibility_judge(&facts),
        .pin_command = reuse_pin_command(&view->sb->pools[standing->pool->row], command),
    };

    reuse_explain(&about, &text);
    if (text.len > 0) {
        snprintf(out->why_not_text, sizeof(out->why_not_text), "%s", str_text(&text));
        out->why_not = out->why_not_text;
    }
}

void view_upstreams(const struct view *view, const struct model_pool *pool,
                    const struct standing *standing, size_t index, struct view_upstreams *out)
{
    const struct snapshot_reuse *reuse = &standing->pool->reuse;
    const struct snapshot_backend *backend = &standing->backends[index];
    const struct sb_upstream_sum *sum = &out->sum;

    *out = (struct view_upstreams){
        .pool = pool->name,
        .name = backend->name,
        .mode = word_of("mode", reuse->mode),
        .framing = reuse->framing == FRAMING_NONE ? NULL : word_of("framing", reuse->framing),
        .discarded_by = out->sum.discarded_by,
        .discarded_mostly = out->mostly_text,
        .trouble = view_reuse_trouble(&view->sb->slots[backend->slot]),
    };
    scoreboard_sum_upstreams(view->sb, backend->row, &out->sum);
    bool is_lent = sum->opened + sum->warm + sum->reused > 0;
    out->reused_percent =
        is_lent && reuse->mode != REUSE_WARM ? view_reused_percent(sum) : REPLY_NONE;
    list_reasons(sum, out->mostly_text);
    fill_why_not(view, standing, index, out);
}
