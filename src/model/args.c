/*
 * From a check's fields to what its kind is told, by the option table: listed, counted, as one
 * number. Pure. In master.
 */
#include "args.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "field.h"

static void each_of_option(const struct option_def *option, const struct model_check *check,
                           args_fn *fn, void *data)
{
    if (option->type == OPTION_BOOL) {
        fn(data, option->name, bool_of(option, check) ? "true" : "false");
    } else if (option->type == OPTION_TEXT && text_of(option, check) != NULL) {
        fn(data, option->name, text_of(option, check));
    } else if (option->type == OPTION_LIST) {
        for (char *const *item = list_of(option, check); *item != NULL; item++) {
            fn(data, option->name, *item);
        }
    }
}

void args_each(const struct model_check *check, args_fn *fn, void *data)
{
    const struct section_info *info = options_section(SECTION_CHECK);

    for (size_t i = 0; i < info->n_options; i++) {
        if (info->options[i].kinds != NULL && option_is_for(&info->options[i], check->kind)) {
            each_of_option(&info->options[i], check, fn, data);
        }
    }
}

struct args_sum {
    size_t n_args, n_bytes;
};

static void add_to_sum(void *data, const char *name, const char *value)
{
    struct args_sum *sum = data;

    sum->n_args++;
    sum->n_bytes += strlen(name) + strlen(value) + 2;
}

void args_count(const struct model_check *check, size_t *n_args, size_t *n_bytes)
{
    struct args_sum sum = {0};

    args_each(check, add_to_sum, &sum);
    *n_args += sum.n_args;
    *n_bytes += sum.n_bytes;
}

/* With their NULs, so that no two sequences of texts run together the same. */
static void add_to_hash(void *data, const char *name, const char *value)
{
    uint64_t *hash = data;

    *hash = XXH3_64bits_withSeed(name, strlen(name) + 1, *hash);
    *hash = XXH3_64bits_withSeed(value, strlen(value) + 1, *hash);
}

uint64_t args_hash(const struct model_check *check)
{
    uint64_t hash = 0;

    args_each(check, add_to_hash, &hash);
    return hash;
}

static void add_to_list(void *data, const char *name, const char *value)
{
    struct model_arg **next = data;

    *(*next)++ = (struct model_arg){.name = name, .value = value};
}

struct model_arg *args_list(const struct model_check *check, size_t *out_n)
{
    size_t n_bytes = 0;
    struct model_arg *list;
    struct model_arg *next;

    *out_n = 0;
    args_count(check, out_n, &n_bytes);
    list = calloc(*out_n + 1, sizeof(*list));
    next = list;
    if (list != NULL) {
        args_each(check, add_to_list, &next);
    }
    return list;
}
