/*
 * The tree with templates replaced by what their names stand for. In master.
 */
#include "names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sluice/limits.h"

#define SRV "srv:"

/* --- in a tree --- */

static bool is_a(const struct conf_section *section, const char *kind)
{
    return strcmp(section->schema->name, kind) == 0;
}

/* As names_take() says of the backend's address. */
static bool take_of(const struct conf_section *backend, struct str *out)
{
    const struct conf_option *address = conf_find(backend, "address");

    return is_a(backend, "backend") && address != NULL && address->n_values == 1 &&
           names_take(address->values[0].text, out);
}

static int want_in(const struct conf_section *pool, struct names *out)
{
    for (size_t i = 0; i < pool->n_sections; i++) {
        STR_AUTO name = {0};

        if (take_of(pool->sections[i], &name) &&
            (name.failed || (names_find(out, str_text(&name)) == NULL &&
                             names_set(out, str_text(&name), NULL, 0) < 0))) {
            return -ENOMEM;
        }
    }
    return 0;
}

int names_wanted(const struct conf_tree *tree, struct names *out)
{
    int rc = 0;

    for (size_t i = 0; i < tree->root.n_sections && rc == 0; i++) {
        if (is_a(tree->root.sections[i], "pool")) {
            rc = want_in(tree->root.sections[i], out);
        }
    }
    return rc;
}

/* --- expanding --- */

static bool is_srv(const char *text)
{
    return strncmp(text, SRV, strlen(SRV)) == 0;
}

static void tell(const struct conf_section *section, enum errlist_severity severity,
                 const char *text, struct errlist *errors)
{
    STR_AUTO path = {0};

    conf_section_path(section, &path);
    errlist_add(errors, severity, section->file, section->line, str_text(&path), "%s", text);
}

/* How an address of the template is called. False when that is no name. */
static bool name_address(const struct conf_section *backend, const struct names_answer *answer,
                         struct str *out)
{
    struct addr_ip ip = answer->ip;
    char text[ADDR_TEXT_MAX];

    ip.scope = 0; /* "%" is in no name */
    str_printf(out, "%s@%s", backend->title, addr_ip_format(&ip, false, text));
    if (answer->port != 0) {
        str_printf(out, ":%u", answer->port);
    }
    return out->failed || conf_name_valid(str_text(out));
}

/* The address of an answer in file syntax; false when it has no port. */
static bool write_address(const struct conf_section *backend, const struct names_answer *answer,
                          struct str *out)
{
    const char *written = conf_find(backend, "address")->values[0].text;
    struct addr_ip ip = answer->ip;
    char text[ADDR_TEXT_MAX];
    bool has_port = is_srv(written) ? answer->port != 0 : strrchr(written, ':') != NULL;

    ip.port =
        is_srv(written) ? answer->port : (uint16_t)strtoul(strrchr(written, ':') + 1, NULL, 10);
    str_append(out, addr_ip_format(&ip, true, text));
    return has_port;
}

/* Without memory -1; 0 when the answer is of no use, and 1. */
static int add_address(struct conf_section *backend, const struct conf_section *origin,
                       const struct names_answer *answer, struct errlist *errors)
{
    struct conf_section *copy;
    STR_AUTO name = {0};
    STR_AUTO address = {0};
    STR_AUTO weight = {0};

    if (!write_address(backend, answer, &address)) {
        return 0;
    }
    if (addr_ip_judge_peer(&answer->ip) != NULL) {
        STR_AUTO text = {0};

        str_printf(&text, "its address %s is not used: %s", str_text(&address),
                   addr_ip_judge_peer(&answer->ip));
        tell(origin, ERRLIST_WARNING, str_text(&text), errors);
        return 0;
    }
    if (!name_address(backend, answer, &name)) {
        STR_AUTO text = {0};

        str_printf(&text,
                   "its address %s is not used, for \"%s\" is too long for a name; give the "
                   "backend a shorter one",
                   str_text(&address), str_text(&name));
        tell(origin, ERRLIST_WARNING, str_text(&text), errors);
        return 0;
    }
    copy = name.failed ? NULL : conf_copy_section(backend, str_text(&name));
    if (copy == NULL || address.failed || conf_change(copy, "address", str_text(&address)) != 0) {
        return -1;
    }
    copy->origin = origin;
    if (answer->weight != 0 && conf_find(backend, "weight") == NULL) {
        str_printf(&weight, "%u", answer->weight);
        return conf_set(copy, "weight", str_text(&weight)) == 0 ? 1 : -1;
    }
    return 1;
}

static bool refuses(const struct conf_section *pool)
{
    const struct conf_option *option = conf_find(pool, "on_unresolved");

    return option != NULL && option->n_values == 1 && strcmp(option->values[0].text, "refuse") == 0;
}

static void tell_unresolved(const struct conf_section *backend, const struct names_entry *entry,
                            struct errlist *errors)
{
    const char *trouble = entry != NULL ? entry->trouble : NULL;
    const struct conf_value *value = &conf_find(backend, "address")->values[0];
    STR_AUTO text = {0};

    str_printf(
        &text,
        "the name in address \"%s\" does not resolve%s%s%s; mend the name or the resolver, or "
        "write an IP address",
        value->secret ? value->raw : value->text, trouble != NULL ? " (" : "",
        trouble != NULL ? trouble : "", trouble != NULL ? ")" : "");
    tell(backend, ERRLIST_ERROR, str_text(&text), errors);
}

/* The last answer first, as each copy goes right behind the template. False without memory. */
static bool expand_backend(struct conf_section *backend, const struct conf_section *origin,
                           const struct names *names, struct errlist *errors)
{
    const struct names_entry *entry;
    size_t added = 0;
    STR_AUTO name = {0};

    if (!take_of(backend, &name)) {
        return true;
    }
    entry = names_find(names, str_text(&name));
    for (size_t i = entry != NULL ? entry->n : 0; i-- > 0;) {
        int rc = add_address(backend, origin, &entry->answers[i], errors);

        if (rc < 0) {
            return false;
        }
        added += (size_t)rc;
    }
    if (added > 0) {
        conf_remove_section(backend);
    } else if (refuses(origin->parent)) {
        tell_unresolved(origin, entry, errors);
    }
    return !name.failed;
}

/* Names that addresses of templates may get are nobody else's. */
static void check_names(const struct conf_section *pool, struct errlist *errors)
{
    for (size_t i = 0; i < pool->n_sections; i++) {
        const struct conf_section *backend = pool->sections[i];
        size_t len = is_a(backend, "backend") ? names_template_length(backend->title) : 0;
        const struct conf_section *template;
        char title[NAME_BYTES_MAX];
        STR_AUTO name = {0};
        STR_AUTO text = {0};

        if (len == 0 || len >= sizeof(title)) {
            continue;
        }
        memcpy(title, backend->title, len);
        title[len] = '\0';
        template = conf_find_section(pool, "backend", title);
        if (template != NULL && take_of(template, &name)) {
            str_printf(&text,
                       "an address of backend \"%s\", whose address is a name, may be called that; "
                       "choose another name",
                       title);
            tell(backend, ERRLIST_ERROR, str_text(&text), errors);
        }
    }
}

/* to is a copy of from so far. */
static bool expand_pool(struct conf_section *to, const struct conf_section *from,
                        const struct names *names, struct errlist *errors)
{
    bool done = true;

    check_names(from, errors);
    /* From the end, so that places before are the same in both. */
    for (size_t i = from->n_sections; i-- > 0 && done;) {
        done = expand_backend(to->sections[i], from->sections[i], names, errors);
    }
    return done;
}

struct conf_tree *names_expand(const struct conf_tree *tree, const struct names *names,
                               struct errlist *errors)
{
    struct conf_tree *copy = conf_tree_copy(tree);
    bool done = copy != NULL;

    for (size_t i = 0; done && i < tree->root.n_sections; i++) {
        if (is_a(tree->root.sections[i], "pool")) {
            done = expand_pool(copy->root.sections[i], tree->root.sections[i], names, errors);
        }
    }
    if (!done) {
        conf_tree_free(copy);
        return NULL;
    }
    return copy;
}
