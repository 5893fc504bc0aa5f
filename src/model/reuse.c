/*
 * Handing connections to backends on, as configured: what its options need of each other, and as
 * workers get it. A section whose mode is off is judged but for what its mode would ask of it, so
 * that one word switches reuse off and on again. In master.
 */
#include "reuse.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/escape.h"
#include "base/nonce.h"
#include "sluice/limits.h"
#include "sources.h"

#define WARM_AUTO   4   /* warm_min = "auto" in mode warm */
#define TIME_MIN_MS 100 /* of times that end connections: how often workers look at them */

/* A section under judgement. */
struct judge {
    struct build *build;
    const struct conf_section *section;
    const struct model_pool *pool;
    const struct model_reuse *reuse;
};

static const char *word_of(const char *option, uint32_t value)
{
    return options_find(SECTION_REUSE, option)->words[value];
}

/* Whether the section gives it another value than its default: one that is printed may come back.
 */
static bool is_set(const struct judge *judge, const char *option)
{
    return conf_find(judge->section, option) != NULL &&
           !option_is_default(options_find(SECTION_REUSE, option), judge->reuse);
}

/* The text of a single value, or NULL where none is written. */
static const char *written(const struct judge *judge, const char *option)
{
    const struct conf_option *given = conf_find(judge->section, option);

    return given != NULL ? given->values[0].text : NULL;
}

static bool is_lending(const struct model_reuse *reuse)
{
    return reuse->mode == REUSE_SESSION || reuse->mode == REUSE_REQUEST;
}

/* --- options that mean something to some modes or framings only --- */

#define MODE(mode) (1U << (mode))

static const struct mode_option {
    const char *option;
    unsigned modes; /* MODE() of those that have use of it */
    const char *right;
} mode_options[] = {
    {"framing", MODE(REUSE_SESSION) | MODE(REUSE_REQUEST), "\"session\" or \"request\""},
    {"max_uses", MODE(REUSE_SESSION) | MODE(REUSE_REQUEST), "\"session\" or \"request\""},
    {"reset_send", MODE(REUSE_SESSION), "\"session\""},
    {"reset_expect", MODE(REUSE_SESSION), "\"session\""},
    {"policy", MODE(REUSE_REQUEST), "\"request\""},
};

static const char *const mode_ways[REUSE_MODE_COUNT] = {
    [REUSE_WARM] = "each connection serves a single session",
    [REUSE_SESSION] = "connections change hands between sessions only",
    [REUSE_REQUEST] = "the framing tells when a connection is free",
};

static void judge_modes(const struct judge *judge)
{
    uint32_t mode = judge->reuse->mode;
    char shown[SHOW_MAX];

    for (size_t i = 0; i < sizeof(mode_options) / sizeof(mode_options[0]); i++) {
        const struct mode_option *use = &mode_options[i];

        if (mode != REUSE_OFF && (use->modes & MODE(mode)) == 0 && is_set(judge, use->option)) {
            build_fault(judge->build, ERRLIST_ERROR, judge->section, use->option, 0,
                        "%s: means nothing in mode \"%s\", where %s; leave it out, or write "
                        "mode = %s",
                        build_show(judge->section, use->option, 0, shown), word_of("mode", mode),
                        mode_ways[mode], use->right);
        }
    }
}

static const struct framing_option {
    const char *option;
    enum framing_kind framing;
} framing_options[] = {
    {"length_bytes", FRAMING_LENGTH},
    {"length_endian", FRAMING_LENGTH},
    {"length_includes_header", FRAMING_LENGTH},
    {"handshake", FRAMING_RESP},
    {"scripts", FRAMING_RESP},
};

static void judge_framing_options(const struct judge *judge)
{
    char shown[SHOW_MAX];

    for (size_t i = 0; i < sizeof(framing_options) / sizeof(framing_options[0]); i++) {
        const struct framing_option *use = &framing_options[i];

        if (judge->reuse->framing != use->framing && is_set(judge, use->option)) {
            build_fault(judge->build, ERRLIST_ERROR, judge->section, use->option, 0,
                        "%s: means something to framing \"%s\" only; write framing = \"%s\", or "
                        "leave it out",
                        build_show(judge->section, use->option, 0, shown),
                        word_of("framing", use->framing), word_of("framing", use->framing));
        }
    }
}

/* --- framing --- */

/* Whether what was written is no framing at all, which is reported already. */
static bool framing_is_unknown(const struct judge *judge)
{
    const char *text = written(judge, "framing");

    return text != NULL && judge->reuse->framing == FRAMING_NONE &&
           strcmp(text, word_of("framing", FRAMING_NONE)) != 0;
}

static void judge_length(const struct judge *judge)
{
    uint32_t n = judge->reuse->length_bytes;
    char shown[SHOW_MAX];

    if (n != 0 && (n & (n - 1)) != 0) {
        build_fault(judge->build, ERRLIST_ERROR, judge->section, "length_bytes", 0,
                    "%s: no length has so many bytes; write 1, 2, 4 or 8",
                    build_show(judge->section, "length_bytes", 0, shown));
    } else if (judge->reuse->framing == FRAMING_LENGTH && written(judge, "length_bytes") == NULL) {
        build_fault(judge->build, ERRLIST_ERROR, judge->section, "framing", 0,
                    "\"length\" needs to know how many bytes the length of a message has; write "
                    "length_bytes = 4, say");
    }
}

/* --- the reset exchange --- */

/* Returns how many bytes the text stands for, and writes them to out unless that is NULL; -1 with
 * what is wrong with it. */
static int decode(const char *text, char *out, struct str *out_problem)
{
    int n = 0;
    size_t len;

    for (; *text != '\0'; text += len, n++) {
        int byte = escape_read(text, &len);

        if (byte < 0) {
            escape_explain(text, out_problem);
            return -1;
        }
        if (out != NULL) {
            out[n] = (char)byte;
        }
    }
    return n;
}

/* Returns whether the bytes that it stands for hold a nonce, -1 where it stands for none. */
static int judge_reset_text(const struct judge *judge, const char *option, const char *text)
{
    STR_AUTO problem = {0};
    char *bytes = malloc(strlen(text) + 1);
    int n = bytes != NULL ? decode(text, bytes, &problem) : 0;
    size_t length = n > 0 ? nonce_put(bytes, (size_t)n, NULL, NULL) : 0;
    bool has_nonce = n > 0 && nonce_is_in(bytes, (size_t)n);

    judge->build->no_memory |= bytes == NULL;
    free(bytes);
    if (n < 0 && conf_find(judge->section, option)->values[0].secret) {
        str_reset(&problem);
        str_append(&problem, "an unknown escape is in what it stands for; write a backslash as "
                             "\\\\ there");
    }
    if (length > REUSE_RESET_BYTES_MAX) {
        str_printf(&problem, "%zu bytes long%s; write at most %d", length,
                   has_nonce ? " with the digits of each " NONCE_MARK : "", REUSE_RESET_BYTES_MAX);
    }
    if (problem.len > 0) {
        char shown[SHOW_MAX];

        build_fault(judge->build, ERRLIST_ERROR, judge->section, option, 0, "%s: %s",
                    build_show(judge->section, option, 0, shown), str_text(&problem));
    }
    return n < 0 ? -1 : has_nonce;
}

/* Only what nobody could have prepared tells the answer to the reset from a client's data. */
static void judge_nonce(const struct judge *judge, bool is_sent, bool is_expected)
{
    if (is_sent && !is_expected) {
        build_fault(judge->build, ERRLIST_ERROR, judge->section, "reset_expect", 0,
                    "without the " NONCE_MARK " of reset_send, so that it proves nothing; write it "
                    "where the backend answers with it, or leave it out of reset_send");
    } else if (is_expected && !is_sent) {
        build_fault(judge->build, ERRLIST_ERROR, judge->section, "reset_expect", 0,
                    "the backend cannot answer with a " NONCE_MARK " that it was never sent; write "
                    "it in reset_send, too, where the backend sends it back");
    } else if (!is_sent && judge->reuse->mode == REUSE_SESSION) {
        build_fault(judge->build, ERRLIST_WARNING, judge->section, "reset_expect", 0,
                    "a client's data that ends like this passes for the answer, and the next "
                    "client gets the rest of it; write " NONCE_MARK " here and in reset_send, "
                    "which is new digits each time, where the backend sends it back: for Redis "
                    "reset_send = \"RESET\\r\\nPING " NONCE_MARK "\\r\\n\" and reset_expect = "
                    "\"+RESET\\r\\n$16\\r\\n" NONCE_MARK "\\r\\n\"");
    }
}

/* Modes that have no use of it say so in judge_modes(). */
static void judge_reset(const struct judge *judge)
{
    const struct model_reuse *reuse = judge->reuse;
    bool sends = reuse->reset_send[0] != '\0';
    bool expects = reuse->reset_expect[0] != '\0';

    int nonce_sent = judge_reset_text(judge, "reset_send", reuse->reset_send);
    int nonce_expected = judge_reset_text(judge, "reset_expect", reuse->reset_expect);

    if (reuse->mode != REUSE_OFF && reuse->mode != REUSE_SESSION) {
        return;
    }
    if (sends && !expects) {
        build_fault(judge->build, ERRLIST_ERROR, judge->section, "reset_send", 0,
                    "nothing would tell whether the backend has heeded it; write reset_expect, "
                    "too");
    } else if (expects && !sends) {
        build_fault(judge->build, ERRLIST_ERROR, judge->section, "reset_expect", 0,
                    "nothing would be sent that a backend could answer so; write reset_send, too");
    } else if (sends && reuse->framing != FRAMING_NONE) {
        build_fault(judge->build, ERRLIST_ERROR, judge->section, "reset_send", 0,
                    "framing \"%s\" tells already when a connection is as good as new; leave "
                    "reset_send and reset_expect out, or framing",
                    word_of("framing", reuse->framing));
    } else if (sends && nonce_sent >= 0 && nonce_expected >= 0) {
        judge_nonce(judge, nonce_sent > 0, nonce_expected > 0);
    }
}

/* --- the mode --- */

static void judge_needs(const struct judge *judge)
{
    const struct model_reuse *reuse = judge->reuse;
    bool is_framed = reuse->framing != FRAMING_NONE || framing_is_unknown(judge);
    bool is_reset = reuse->reset_send[0] != '\0' || reuse->reset_expect[0] != '\0';

    if (reuse->mode == REUSE_REQUEST && !is_framed) {
        build_fault(judge->build, ERRLIST_ERROR, judge->section, "mode", 0,
                    "\"request\" needs to know where requests and answers end; write framing = "
                    "\"http1\", say");
    } else if (reuse->mode == REUSE_SESSION && !is_framed && !is_reset) {
        build_fault(judge->build, ERRLIST_ERROR, judge->section, "mode", 0,
                    "\"session\" needs to know that a session leaves nothing behind; write "
                    "framing = \"http1\", say, or reset_send and reset_expect");
    }
    if (is_lending(reuse) && judge->pool->send_proxy != SEND_PROXY_OFF) {
        build_fault(judge->build, ERRLIST_ERROR, judge->section, "mode", 0,
                    "\"%s\" hands connections on from client to client, but the PROXY header that "
                    "the pool's send_proxy asks for names one; write mode = \"warm\", or "
                    "send_proxy = \"off\"",
                    word_of("mode", reuse->mode));
    }
}

static void judge_numbers(const struct judge *judge)
{
    const struct model_reuse *reuse = judge->reuse;
    const char *text = written(judge, "warm_min");
    char shown[SHOW_MAX];

    if (reuse->warm_min > reuse->max_idle) {
        build_fault(judge->build, ERRLIST_ERROR, judge->section, "warm_min", 0,
                    "%s: more than max_idle, which is %u; write at most that, or a larger "
                    "max_idle",
                    build_show(judge->section, "warm_min", 0, shown), reuse->max_idle);
    } else if (reuse->mode == REUSE_WARM && text != NULL && text[strspn(text, "0")] == '\0') {
        build_fault(judge->build, ERRLIST_ERROR, judge->section, "warm_min", 0,
                    "%s: mode \"warm\" does nothing else than keep connections ready; write at "
                    "least 1, or mode = \"off\"",
                    build_show(judge->section, "warm_min", 0, shown));
    }
}

static void judge_time(const struct judge *judge, const char *option, uint32_t time_ms)
{
    char shown[SHOW_MAX];

    if (time_ms != 0 && time_ms < TIME_MIN_MS) {
        build_fault(judge->build, ERRLIST_ERROR, judge->section, option, 0,
                    "%s: connections would be closed nearly as soon as they are open; write at "
                    "least %dms, or 0s for no limit",
                    build_show(judge->section, option, 0, shown), TIME_MIN_MS);
    }
}

/* What can be done, but is of no use. */
static void judge_use(const struct judge *judge)
{
    const struct model_reuse *reuse = judge->reuse;
    const struct model_pool *pool = judge->pool;
    char shown[SHOW_MAX];

    if (is_lending(reuse) && reuse->max_uses == 1) {
        build_fault(judge->build, ERRLIST_WARNING, judge->section, "max_uses", 0,
                    "%s: each connection serves once, so that none is reused; write at least 2, "
                    "or 0 for no limit",
                    build_show(judge->section, "max_uses", 0, shown));
    }
    for (uint32_t i = 0; reuse->mode != REUSE_OFF && i < pool->n_backends; i++) {
        const struct model_backend *backend = &pool->backends[i];

        if (backend->max_connections != 0 && reuse->warm_min > backend->max_connections) {
            build_fault(judge->build, ERRLIST_WARNING, judge->section, "warm_min", 0,
                        "%s: more than backend \"%s\" takes by its max_connections, which is %u; "
                        "write at most that",
                        build_show(judge->section, "warm_min", 0, shown), backend->name,
                        backend->max_connections);
            return;
        }
    }
}

void reuse_validate(struct build *build, const struct conf_section *pool_section,
                    const struct model_pool *pool)
{
    size_t cursor = 0;
    const struct judge judge = {
        .build = build,
        .section = build_next(pool_section, "reuse", &cursor),
        .pool = pool,
        .reuse = &pool->reuse,
    };

    if (judge.section == NULL || build->no_memory) {
        return;
    }
    if (judge.section->n_options > 0 && written(&judge, "mode") == NULL) {
        build_fault(build, ERRLIST_ERROR, judge.section, NULL, 0,
                    "mode is missing, so nothing would be reused; write mode = \"request\", say, "
                    "or mode = \"off\" to keep the rest for later");
    }
    judge_modes(&judge);
    if (!framing_is_unknown(&judge)) {
        judge_framing_options(&judge);
    }
    judge_length(&judge);
    judge_reset(&judge);
    judge_needs(&judge);
    judge_numbers(&judge);
    judge_time(&judge, "idle_max", pool->reuse.idle_max_ms);
    judge_time(&judge, "max_age", pool->reuse.max_age_ms);
    judge_use(&judge);
}

/* --- for workers --- */

/* With a NUL behind it, so that the texts end with one. 0 for no text. */
static size_t room_for(const char *text)
{
    STR_AUTO problem = {0};

    return *text == '\0' ? 0 : (size_t)decode(text, NULL, &problem) + 1;
}

size_t reuse_text_bytes(const struct model_reuse *reuse)
{
    return reuse->mode == REUSE_OFF ? 0
                                    : room_for(reuse->reset_send) + room_for(reuse->reset_expect);
}

/* Returns where it begins, 0 for no text. */
static uint32_t put_text(const char *from, char *texts, uint32_t *text, uint32_t *out_bytes)
{
    STR_AUTO problem = {0};
    uint32_t offset = *text;

    *out_bytes = 0;
    if (*from == '\0') {
        return 0;
    }
    *out_bytes = (uint32_t)decode(from, texts + offset, &problem);
    texts[offset + *out_bytes] = '\0';
    *text += *out_bytes + 1;
    return offset;
}

static uint32_t warm_min(const struct model_reuse *reuse)
{
    if (reuse->mode != REUSE_WARM || reuse->warm_min > 0) {
        return reuse->warm_min;
    }
    return reuse->max_idle < WARM_AUTO ? reuse->max_idle : WARM_AUTO;
}

/* Not of what only says how many upstreams are kept and for how long: one that is open already is
 * as good after such a change. */
static uint64_t hash_settings(const struct model_pool *pool, const struct snapshot_reuse *reuse,
                              const char *texts)
{
    const uint32_t numbers[] = {
        reuse->mode,
        reuse->framing,
        reuse->length_bytes,
        reuse->length_little_endian,
        reuse->length_includes_header,
        reuse->handshake_key,
        reuse->scripts,
        pool->send_proxy,
        pool->keepalive_ms,
        pool->user_timeout_ms,
    };
    uint64_t hash = XXH3_64bits(numbers, sizeof(numbers)) ^ sources_hash(pool);

    hash = XXH3_64bits_withSeed(texts + reuse->reset_send, reuse->reset_send_bytes, hash);
    return XXH3_64bits_withSeed(texts + reuse->reset_expect, reuse->reset_expect_bytes, hash);
}

struct snapshot_reuse reuse_snapshot(const struct model_pool *pool, char *texts, uint32_t *text)
{
    const struct model_reuse *from = &pool->reuse;
    struct snapshot_reuse to = {0};

    if (from->mode == REUSE_OFF) {
        return to;
    }
    to = (struct snapshot_reuse){
        .mode = from->mode,
        .framing = from->framing,
        .policy = from->policy,
        .warm_min = warm_min(from),
        .max_idle = from->max_idle,
        .max_uses = from->max_uses,
        .idle_max_ms = from->idle_max_ms,
        .max_age_ms = from->max_age_ms,
        .length_bytes = from->length_bytes,
        .length_little_endian = from->length_endian == LENGTH_LITTLE_ENDIAN,
        .length_includes_header = from->length_includes_header,
        .handshake_key = from->handshake == HANDSHAKE_KEY,
        .scripts = from->scripts,
    };
    to.reset_send = put_text(from->reset_send, texts, text, &to.reset_send_bytes);
    to.reset_expect = put_text(from->reset_expect, texts, text, &to.reset_expect_bytes);
    to.settings = hash_settings(pool, &to, texts);
    return to;
}
