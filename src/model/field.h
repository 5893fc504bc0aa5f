/*
 * Reaching an option's field in its section's struct, by type. Private to option*.c.
 */
#ifndef SLUICE_MODEL_FIELD_H
#define SLUICE_MODEL_FIELD_H

#include "options.h"

static inline void *field_at(const struct option_def *option, void *section)
{
    return (char *)section + option->offset;
}

static inline const void *field_of(const struct option_def *option, const void *section)
{
    return (const char *)section + option->offset;
}

static inline char **text_field(const struct option_def *option, void *section)
{
    return field_at(option, section);
}

static inline const char *text_of(const struct option_def *option, const void *section)
{
    return *(char *const *)field_of(option, section);
}

static inline char ***list_field(const struct option_def *option, void *section)
{
    return field_at(option, section);
}

static inline char *const *list_of(const struct option_def *option, const void *section)
{
    return *(char **const *)field_of(option, section);
}

static inline uint64_t number_of(const struct option_def *option, const void *section)
{
    if (option->type == OPTION_SIZE) {
        return *(const uint64_t *)field_of(option, section);
    }
    return *(const uint32_t *)field_of(option, section);
}

static inline void set_number(const struct option_def *option, void *section, uint64_t number)
{
    if (option->type == OPTION_SIZE) {
        *(uint64_t *)field_at(option, section) = number;
    } else {
        *(uint32_t *)field_at(option, section) = (uint32_t)number;
    }
}

static inline bool bool_of(const struct option_def *option, const void *section)
{
    return *(const bool *)field_of(option, section);
}

static inline const struct units_rate *rate_of(const struct option_def *option, const void *section)
{
    return field_of(option, section);
}

static inline bool rate_equal(const struct units_rate *a, const struct units_rate *b)
{
    return a->count == b->count && a->per_ms == b->per_ms && a->burst == b->burst;
}

#endif
