/* What master's children say, and what master makes of it. Owns nothing. In master. */
#include <inttypes.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "check/engine.h"
#include "children.h"
#include "ctl/format.h"
#include "master.h"

/* Whole seconds from one second on: that is what people plan by. */
static char *format_about(uint64_t ms, char buf[static FORMAT_TEXT_MAX])
{
    return format_duration(ms >= 1000 ? (ms + 500) / 1000 * 1000 : ms, buf);
}

/* "up -> down: connect refused (after 3m12s up; next check in 2s)" */
static void word_health(const struct message_health *health, struct str *out)
{
    char lasted[FORMAT_TEXT_MAX], next[FORMAT_TEXT_MAX];
    const char *separator = " (";
    str_printf(out, "%s -> %s: %s", sb_health_names[health->from], sb_health_names[health->to],
               health->reason);
    if (health->lasted_ms != 0) {
        str_printf(out, "%safter %s %s", separator, format_about(health->lasted_ms, lasted),
                   sb_health_names[health->from]);
        separator = "; ";
    }
    if (health->next_check_ms != 0) {
        str_printf(out, "%snext check in %s", separator, format_about(health->next_check_ms, next));
        separator = "; ";
    }
    str_append(out, separator[0] == ';' ? ")" : "");
}

/* What follows from a change of health by the pool's options. */
static void word_consequence(const struct master *master, const struct message_health *health,
                             struct str *out)
{
    const struct model_pool *pool = model_find_pool(master->model, health->pool);
    const struct model_backend *backend =
        pool == NULL ? NULL : model_find_backend(pool, health->backend);
    char period[FORMAT_TEXT_MAX];
    if (backend == NULL) {
        return;
    }
    if (health->to == SB_HEALTH_DOWN && pool->on_down == SESSIONS_CLOSE) {
        str_append(out, "; its sessions are being closed (on_down)");
    } else if (health->to == SB_HEALTH_UP && pool->slow_start_ms != 0 &&
               atomic_load(&master->sb.slots[backend->slot].slow_from_ms) != 0) {
        str_printf(out, "; slow start over %s", format_duration(pool->slow_start_ms, period));
    }
}

static void heard_health(struct master *master)
{
    struct message_health *health = &master->message.health;
    health->pool[NAME_BYTES_MAX - 1] = '\0';
    health->backend[NAME_BYTES_MAX - 1] = '\0';
    health->reason[SB_REASON_MAX - 1] = '\0';
    bool is_asked = health->news == CHECK_NEWS_ASKED;
    uint32_t n_states = is_asked ? ADMIN_COUNT : SB_HEALTH_COUNT;
    if (health->from >= n_states || health->to >= n_states) {
        return;
    }
    STR_AUTO text = {0};
    const char *kind = is_asked ? "asked" : "ejection";
    if (is_asked) {
        str_printf(&text, "%s -> %s: its checks ask for %s", admin_state_names[health->from],
                   admin_state_names[health->to], health->reason);
    } else if (health->news == CHECK_NEWS_HEALTH) {
        kind = "health";
        word_health(health, &text);
        word_consequence(master, health, &text);
    } else {
        str_printf(&text, "%s: %s", health->news == CHECK_NEWS_EJECTED ? "ejected" : "back",
                   health->reason);
    }
    master_event(master, kind, health->pool, health->backend, "monitor", NULL, str_text(&text));
    pools_notify_health(master, health); /* last: it takes master's message */
}

/* The scoreboard has it all, so decisions are sound; only the record has a gap. */
static void heard_lost(struct master *master)
{
    STR_AUTO text = {0};
    str_printf(&text,
               "%" PRIu32 " changes of backends are missing here, and no program was run for "
               "them: master did not listen to the monitor for too long",
               master->message.number);
    log_warning("changes of backends were lost", LOG_INT("count", master->message.number));
    master_event(master, "lost", NULL, NULL, "monitor", NULL, str_text(&text));
}

/* When it does not fit into the channel the monitor asks again. */
static void heard_page_wanted(struct child *child)
{
    uint32_t page = child->master->message.number;
    FD_AUTO fd = child_is_monitor(child) ? status_make_page(child->master, page) : -1;
    (void)!child_tell(child, MESSAGE_PAGE_MADE, page, fd);
}

void child_heard(struct child *child, int fd)
{
    struct master *master = child->master;
    fd_close(&fd);
    switch (master->message.type) {
    case MESSAGE_HEALTH:
        heard_health(master);
        pools_watch_soon(master);
        break;
    case MESSAGE_NAME:
        names_heard(master, &master->message.name);
        break;
    case MESSAGE_LOST:
        heard_lost(master);
        break;
    case MESSAGE_PAGE_WANTED:
        heard_page_wanted(child);
        break;
    case MESSAGE_NOTIFIED:
        notices_done(master, master->message.number);
        break;
    case MESSAGE_READY:
        child->ready_generation = master->message.number;
        acks_check(master);
        break;
    case MESSAGE_RESYNC:
        /* The next sweep sends it all again; at once would only fail again. */
        child->sent_generation = 0;
        child->next_listener = 0;
        child->log_sent = false;
        break;
    case MESSAGE_SESSIONS:
        sessions_page(master, child->id, master->message.number, &master->message.sessions);
        break;
    case MESSAGE_CLOSING:
        closings_answered(master, child->id, master->message.number, &master->message.closing);
        break;
    case MESSAGE_EXPLANATION:
        explain_answered(master, child->id, master->message.number, &master->message.explanation);
        break;
    default:
        break;
    }
}
