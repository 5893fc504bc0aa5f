/* Ejecting backends, as configured: what its options need of each other, and as workers get it. In
 * master. */
#include "outlier.h"

#include <string.h>

/* enum outlier_signal, together; words that are not known (reported by build.c) count as none. */
static uint32_t find_signals(const struct model_outlier *outlier)
{
    const char *const *words = options_find(SECTION_OUTLIER, "on")->words;
    uint32_t signals = 0;

    for (char *const *item = outlier->on; *item != NULL; item++) {
        for (unsigned i = 0; words[i] != NULL; i++) {
            signals |= strcmp(*item, words[i]) == 0 ? 1U << i : 0;
        }
    }
    return signals;
}

void outlier_validate(struct build *build, const struct conf_section *pool_section,
                      const struct model_outlier *outlier)
{
    size_t cursor = 0;
    const struct conf_section *section = build_next(pool_section, "outlier", &cursor);
    bool is_timed = outlier->first_byte_timeout_ms != 0;
    bool wants_time = (find_signals(outlier) & OUTLIER_FIRST_BYTE) != 0;
    char shown[SHOW_MAX];

    if (section == NULL) {
        return;
    }
    if (outlier->on[0] == NULL) {
        build_fault(build, ERRLIST_ERROR, section, "on", 0,
                    "the list is empty; write at least one, or leave the section out");
    } else if (wants_time && conf_find(section, "first_byte_timeout") == NULL) {
        build_fault(build, ERRLIST_ERROR, section, "on", 0,
                    "\"first_byte\" needs to know in which time; write first_byte_timeout = "
                    "\"5s\", say");
    } else if (!wants_time && is_timed) {
        build_fault(build, ERRLIST_WARNING, section, "first_byte_timeout", 0,
                    "%s: has no effect without \"first_byte\" in the list on; add it, or leave "
                    "this out",
                    build_show(section, "first_byte_timeout", 0, shown));
    }
}

struct snapshot_outlier outlier_snapshot(const struct model_outlier *outlier)
{
    if (!outlier->given) {
        return (struct snapshot_outlier){0};
    }
    return (struct snapshot_outlier){
        .signals = find_signals(outlier),
        .consecutive_failures = outlier->consecutive_failures,
        .first_byte_timeout_ms = outlier->first_byte_timeout_ms,
        .eject_time_ms = outlier->eject_time_ms,
        .max_ejected = outlier->max_ejected,
    };
}
