/*
 * Check kinds made of steps that are built in: "redis", "smtp", "ssh", "memcached". Each knows what
 * its server says when it is alive, and what it says when it is of no use though it answers. In the
 * monitor.
 */
#include "check/check.h"
#include "check/expect.h"

#define PRESET(kind, end)                                                                          \
    {                                                                                              \
        .steps = kind##_steps, .n_steps = sizeof(kind##_steps) / sizeof(kind##_steps[0]),          \
        .ending = end                                                                              \
    }

#define PRESET_KIND(kind, text)                                                                    \
    static int kind##_prepare(struct check_probe *probe)                                           \
    {                                                                                              \
        return expect_prepare_preset(probe, &kind##_preset);                                       \
    }                                                                                              \
    const struct check_kind check_kind_##kind = {                                                  \
        .name = #kind,                                                                             \
        .help = text,                                                                              \
        .state_bytes = sizeof(struct expect_state),                                                \
        .begins_as_sessions = true,                                                                \
        .prepare = kind##_prepare,                                                                 \
        .release = expect_release,                                                                 \
        .start = expect_start,                                                                     \
        .explain_late = expect_explain_late,                                                       \
        .cancel = expect_cancel,                                                                   \
    }

#define ANY_LINE "^[^\n]*\n"

/* Who wants a password is alive; -LOADING, -MASTERDOWN, -DENIED, … are not. A reset costs neither
 * side anything, and Redis does not mention it. */
static const struct expect_preset_step redis_steps[] = {
    {"send PING\r\n", NULL},
    {"expect-regex ^(?:\\+PONG|-NOAUTH)[^\n]*\n", ANY_LINE},
};
static const struct expect_preset redis_preset = PRESET(redis, TALK_RESET);
PRESET_KIND(redis, "passes when Redis answers a PING, or wants a password first");

static const struct expect_preset_step memcached_steps[] = {
    {"send version\r\n", NULL},
    {"expect-regex ^(?:VERSION |CLIENT_ERROR unauthenticated)[^\n]*\n", ANY_LINE},
    {"send quit\r\n", NULL},
};
static const struct expect_preset memcached_preset = PRESET(memcached, TALK_AWAIT);
PRESET_KIND(memcached, "passes when memcached tells its version, or wants a password first");

/* A reply is lines "250-…" and a last one "250 …" (RFC 5321, 4.2.1); any other code is a refusal.
 */
#define SMTP_REPLY(code) "^(?:" code "-[^\n]*\n)*" code "(?!-)[^\n]*\n"
#define SMTP_OTHER(code) "^(?:" code "-[^\n]*\n)*(?!" code ")[^\n]*\n"

static const struct expect_preset_step smtp_steps[] = {
    {"expect-regex " SMTP_REPLY("220"), SMTP_OTHER("220")}, {"send EHLO [127.0.0.1]\r\n", NULL},
    {"expect-regex " SMTP_REPLY("250"), SMTP_OTHER("250")}, {"send QUIT\r\n", NULL},
    {"expect-regex " SMTP_REPLY("221"), SMTP_OTHER("221")},
};
static const struct expect_preset smtp_preset = PRESET(smtp, TALK_AWAIT);
PRESET_KIND(smtp, "passes when a mail server greets, takes an EHLO, and says goodbye");

/* Lines before the version are allowed (RFC 4253, 4.2), 1.99 means 2.0 and older. With our own
 * version the server knows a client that has left from one that is broken. */
static const struct expect_preset_step ssh_steps[] = {
    {"expect-regex (?:^|\n)SSH-(?:2\\.0|1\\.99)-[^\n]*\n", NULL},
    {"send SSH-2.0-Sluice\r\n", NULL},
};
static const struct expect_preset ssh_preset = PRESET(ssh, TALK_FAREWELL);
PRESET_KIND(ssh, "passes when an SSH server tells its version");
