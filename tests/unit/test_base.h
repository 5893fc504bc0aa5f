/* An event base whose timers are never early: libevent's usual clock is behind by up to a tick. */
#ifndef TEST_BASE_H
#define TEST_BASE_H

#include <check.h>
#include <event2/event.h>

static struct event_base *precise_base(void)
{
    struct event_config *config = event_config_new();
    struct event_base *made;

    event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
    made = event_base_new_with_config(config);
    event_config_free(config);
    ck_assert_ptr_nonnull(made);
    return made;
}

#endif
