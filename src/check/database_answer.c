/* PostgreSQL's and MySQL's words at the door. Pure. */
#include "check/database_answer.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "check/match.h"

static struct database_answer answer_of(enum database_verdict verdict, size_t used)
{
    return (struct database_answer){.verdict = verdict, .used = used};
}

static struct database_answer strange(const char *bytes, size_t n)
{
    struct database_answer answer = answer_of(DATABASE_STRANGE, n);
    char shown[MATCH_SHOWN_MAX];

    (void)snprintf(answer.text, sizeof(answer.text), "got %s", match_show(bytes, n, shown));
    return answer;
}

/* --- PostgreSQL --- */

#define PG_PROTOCOL_3    196608
#define PG_HEADER        5     /* type, then the length of the rest with itself */
#define PG_ERROR_MAX     30000 /* what libpq takes, too */
#define PG_AUTH_WELCOMES 0     /* AuthenticationOk */

static uint32_t read_be32(const char *bytes)
{
    const unsigned char *b = (const unsigned char *)bytes;

    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static void append_be32(struct str *out, uint32_t value)
{
    const char bytes[] = {(char)(value >> 24), (char)(value >> 16), (char)(value >> 8),
                          (char)value};

    str_append_n(out, bytes, sizeof(bytes));
}

/* With its NUL. */
static void append_string(struct str *out, const char *text)
{
    str_append_n(out, text, strlen(text) + 1);
}

void postgresql_ask(const char *user, struct str *out)
{
    STR_AUTO body = {0};

    append_be32(&body, PG_PROTOCOL_3);
    append_string(&body, "user");
    append_string(&body, user);
    append_string(&body, "database");
    append_string(&body, "postgres");
    append_string(&body, "application_name");
    append_string(&body, "sluice");
    append_string(&body, "");
    append_be32(out, (uint32_t)body.len + 4);
    str_append_n(out, body.data, body.len);
    out->failed |= body.failed;
}

/* The field of that type among those of an error; "" without. It ends within n bytes. */
static const char *find_field(const char *fields, size_t n, char type, size_t *out_len)
{
    for (size_t i = 0; i < n && fields[i] != '\0';) {
        const char *end = memchr(fields + i, '\0', n - i);

        if (end == NULL) {
            break;
        }
        if (fields[i] == type) {
            *out_len = (size_t)(end - fields) - i - 1;
            return fields + i + 1;
        }
        i = (size_t)(end - fields) + 1;
    }
    *out_len = 0;
    return "";
}

static bool is_code(const char *code, size_t n)
{
    return n == 5 && strspn(code, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") >= 5;
}

/* Errors about the login, not about the server: class 28 (authorization), no such database, no
 * right to connect to it, a database that takes nobody. */
static bool is_login_code(const char *code)
{
    static const char *const codes[] = {"28", "3D000", "42501", "55000"};

    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (memcmp(code, codes[i], strlen(codes[i])) == 0) {
            return true;
        }
    }
    return false;
}

static struct database_answer read_error(const char *fields, size_t n)
{
    size_t code_len, text_len;
    const char *code = find_field(fields, n, 'C', &code_len);
    const char *text = find_field(fields, n, 'M', &text_len);
    bool has_code = is_code(code, code_len);
    bool refuses = has_code && is_login_code(code);
    struct database_answer answer = answer_of(refuses ? DATABASE_REFUSES : DATABASE_DOWN, n);
    char shown[MATCH_SHOWN_MAX];

    (void)snprintf(answer.text, sizeof(answer.text), "error%s%.5s %s", has_code ? " " : "",
                   has_code ? code : "", match_show(text, text_len, shown));
    return answer;
}

/* A whole message without its header. It may still turn away, for want of a place for one, whom it
 * has let in (*is_in), until it is ready for him. */
static struct database_answer read_message(char type, const char *body, size_t n, bool *is_in)
{
    switch (type) {
    case 'E':
        return read_error(body, n);
    case 'R':
        *is_in = n >= 4 && read_be32(body) == PG_AUTH_WELCOMES;
        return answer_of(n < 4 ? DATABASE_STRANGE : *is_in ? DATABASE_MORE : DATABASE_ASKS, n);
    case 'Z':
        return answer_of(DATABASE_WELCOMES, n);
    default:
        return answer_of(DATABASE_MORE, n);
    }
}

/* One that could not even start to serve us says so without a length: "Ecould not fork\n". */
static struct database_answer read_old_error(const char *bytes, size_t n)
{
    struct database_answer answer = answer_of(DATABASE_DOWN, n);
    char shown[MATCH_SHOWN_MAX];

    (void)snprintf(answer.text, sizeof(answer.text), "error %s",
                   match_show(bytes + 1, strnlen(bytes + 1, n - 1), shown));
    return answer;
}

struct database_answer postgresql_read(const char *bytes, size_t n)
{
    /* N: a notice, v: about the protocol; K, S: what a client may want to know; Z: ready */
    static const char *const known[] = {[false] = "RENv", [true] = "ENKSZ"};
    bool is_in = false;
    size_t at = 0;

    while (n - at >= PG_HEADER) {
        const char *message = bytes + at;
        uint32_t len = read_be32(message + 1);
        struct database_answer answer;

        if (memchr(known[is_in], message[0], strlen(known[is_in])) == NULL) {
            return strange(message, n - at);
        }
        if (len < (is_in ? 5 : 8) || len > PG_ERROR_MAX) {
            return message[0] == 'E' ? read_old_error(message, n - at) : strange(message, n - at);
        }
        if (n - at - 1 < len) {
            break;
        }
        answer = read_message(message[0], message + PG_HEADER, len - 4, &is_in);
        if (answer.verdict == DATABASE_STRANGE) {
            return strange(message, n - at);
        }
        at += 1 + (size_t)len;
        if (answer.verdict != DATABASE_MORE) {
            answer.used = at;
            return answer;
        }
    }
    return answer_of(DATABASE_MORE, 0);
}

/* --- MySQL --- */

#define MYSQL_HEADER        4 /* length, sequence */
#define MYSQL_PACKET_MAX    4096
#define MYSQL_PROTOCOL      10
#define MYSQL_OK            0x00
#define MYSQL_MORE_DATA     0x01
#define MYSQL_SWITCH        0xfe
#define MYSQL_ERROR         0xff
#define MYSQL_LONG_PASSWORD 0x00000001U
#define MYSQL_PROTOCOL_41   0x00000200U
#define MYSQL_SECURE        0x00008000U
#define MYSQL_PLUGIN_AUTH   0x00080000U
#define MYSQL_UTF8          33
#define MYSQL_ANSWER_MAX    0x00ffffffU /* bytes of a packet that we would take */
#define MYSQL_SIGNATURE     64          /* bytes, Ed25519 */

/* Errors about the login, not about the server: access denied (1045; 1698 by the plugin), no common
 * way to log in (1251), password expired (1862), account locked (MySQL 3118, MariaDB 4151), TLS
 * required (3159). */
static const uint32_t mysql_refusals[] = {1045, 1251, 1698, 1862, 3118, 3159, 4151};

static uint32_t read_le(const char *bytes, size_t n)
{
    uint32_t value = 0;

    while (n-- > 0) {
        value = value << 8 | (unsigned char)bytes[n];
    }
    return value;
}

static void append_le(struct str *out, uint32_t value, size_t n)
{
    for (; n > 0; n--, value >>= 8) {
        str_append_char(out, (char)(value & 0xff));
    }
}

static bool is_refusal(uint32_t code)
{
    for (size_t i = 0; i < sizeof(mysql_refusals) / sizeof(mysql_refusals[0]); i++) {
        if (mysql_refusals[i] == code) {
            return true;
        }
    }
    return false;
}

/* "\xff", code, perhaps "#" and an SQLSTATE, text. */
static struct database_answer read_mysql_error(const char *payload, size_t n)
{
    uint32_t code = n >= 3 ? read_le(payload + 1, 2) : 0;
    struct database_answer answer =
        answer_of(is_refusal(code) ? DATABASE_REFUSES : DATABASE_DOWN, 0);
    size_t skip = n >= 9 && payload[3] == '#' ? 9 : n < 3 ? n : 3;
    char shown[MATCH_SHOWN_MAX];

    (void)snprintf(answer.text, sizeof(answer.text), "error %u %s", code,
                   match_show(payload + skip, n - skip, shown));
    return answer;
}

/* The packet that bytes begin with. False: it is not whole yet, or none; then *out says so. */
static bool read_packet(const char *bytes, size_t n, size_t *out_len, struct database_answer *out)
{
    *out = answer_of(DATABASE_MORE, 0);
    if (n < MYSQL_HEADER) {
        return false;
    }
    *out_len = read_le(bytes, 3);
    if (*out_len == 0 || *out_len > MYSQL_PACKET_MAX) {
        *out = strange(bytes, n);
        return false;
    }
    return n - MYSQL_HEADER >= *out_len;
}

static struct database_answer finish_packet(struct database_answer answer, const char *bytes,
                                            size_t len)
{
    answer.used = MYSQL_HEADER + len;
    answer.sequence = (uint8_t)bytes[3];
    return answer;
}

/* A name up to its NUL, or to the end of the packet; too long a one is none. */
static void copy_plugin(const char *name, size_t n, char plugin[static DATABASE_PLUGIN_MAX])
{
    size_t len = strnlen(name, n);

    if (len < DATABASE_PLUGIN_MAX) {
        memcpy(plugin, name, len);
        plugin[len] = '\0';
    }
}

/* Behind the version: thread, 8 bytes of a challenge, filler, flags, …; the name of the plugin is
 * last. Servers without PLUGIN_AUTH end before. */
static void read_plugin(const char *rest, size_t n, char plugin[static DATABASE_PLUGIN_MAX])
{
    enum { FLAGS = 13, FLAGS_HIGH = 18, CHALLENGE_LEN = 20, CHALLENGE = 31 };
    size_t second, at;

    if (n <= CHALLENGE || ((read_le(rest + FLAGS, 2) | read_le(rest + FLAGS_HIGH, 2) << 16) &
                           MYSQL_PLUGIN_AUTH) == 0) {
        return;
    }
    second = (unsigned char)rest[CHALLENGE_LEN];
    second = second > 8 + 13 ? second - 8 : 13;
    at = CHALLENGE + second;
    if (at < n) {
        copy_plugin(rest + at, n - at, plugin);
    }
}

struct database_answer mysql_read_greeting(const char *bytes, size_t n)
{
    const char *payload, *version_end;
    struct database_answer answer;
    size_t len;

    if (!read_packet(bytes, n, &len, &answer)) {
        return answer;
    }
    payload = bytes + MYSQL_HEADER;
    if ((unsigned char)payload[0] == MYSQL_ERROR) {
        return finish_packet(read_mysql_error(payload, len), bytes, len);
    }
    version_end = memchr(payload, '\0', len);
    if (payload[0] != MYSQL_PROTOCOL || version_end == NULL) {
        return strange(bytes, n);
    }
    answer.verdict = DATABASE_GREETS;
    read_plugin(version_end + 1, len - (size_t)(version_end + 1 - payload), answer.plugin);
    return finish_packet(answer, bytes, len);
}

void mysql_ask(const char *user, const struct database_answer *greeting, struct str *out)
{
    static const char reserved[23];
    uint32_t flags = MYSQL_LONG_PASSWORD | MYSQL_PROTOCOL_41 | MYSQL_SECURE;
    STR_AUTO body = {0};

    append_le(&body, greeting->plugin[0] != '\0' ? flags | MYSQL_PLUGIN_AUTH : flags, 4);
    append_le(&body, MYSQL_ANSWER_MAX, 4);
    append_le(&body, MYSQL_UTF8, 1);
    str_append_n(&body, reserved, sizeof(reserved));
    append_string(&body, user);
    append_le(&body, 0, 1); /* length of the password's proof */
    if (greeting->plugin[0] != '\0') {
        append_string(&body, greeting->plugin);
    }
    append_le(out, (uint32_t)body.len, 3);
    append_le(out, greeting->sequence + 1U, 1);
    str_append_n(out, body.data, body.len);
    out->failed |= body.failed;
}

struct database_answer mysql_read_reply(const char *bytes, size_t n)
{
    struct database_answer answer;
    size_t len;

    if (!read_packet(bytes, n, &len, &answer)) {
        return answer;
    }
    switch ((unsigned char)bytes[MYSQL_HEADER]) {
    case MYSQL_OK:
        answer.verdict = DATABASE_WELCOMES;
        break;
    case MYSQL_MORE_DATA:
        answer.verdict = DATABASE_ASKS;
        break;
    case MYSQL_SWITCH:
        answer.verdict = DATABASE_ASKS;
        copy_plugin(bytes + MYSQL_HEADER + 1, len - 1, answer.plugin);
        break;
    case MYSQL_ERROR:
        answer = read_mysql_error(bytes + MYSQL_HEADER, len);
        break;
    default:
        return strange(bytes, n);
    }
    return finish_packet(answer, bytes, len);
}

void mysql_answer(const struct database_answer *asked, struct str *out)
{
    /* What has no signature's length is taken for a broken client, and those are blocked in the
     * end; this one is only wrong. */
    static const char wrong[MYSQL_SIGNATURE];
    size_t n = strcmp(asked->plugin, "client_ed25519") == 0 ? sizeof(wrong) : 0;

    append_le(out, (uint32_t)n, 3);
    append_le(out, asked->sequence + 1U, 1);
    str_append_n(out, wrong, n);
}
