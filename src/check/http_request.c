/* Options of the http check: what each may say, and the request that is made of them. Pure. */
#include "check/http_request.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/units.h"
#include "check/match.h"

#define METHOD_LEN_MAX 32
#define HOST_LEN_MAX   253 /* RFC 1035 */

/* --- statuses --- */

static void statuses_add(struct http_statuses *statuses, uint32_t from, uint32_t to)
{
    for (uint32_t i = from - HTTP_STATUS_MIN; i <= to - HTTP_STATUS_MIN; i++) {
        statuses->bits[i / 64] |= UINT64_C(1) << i % 64;
    }
}

bool http_statuses_include(const struct http_statuses *statuses, uint32_t status)
{
    uint32_t i = status - HTTP_STATUS_MIN;

    return status >= HTTP_STATUS_MIN && status <= HTTP_STATUS_MAX &&
           (statuses->bits[i / 64] >> i % 64 & 1) != 0;
}

/* A status of three digits at *text, which moves behind it; 0: none. */
static uint32_t read_status(const char **text)
{
    uint32_t status = 0;

    if (strspn(*text, "0123456789") != 3) {
        return 0;
    }
    for (int i = 0; i < 3; i++) {
        status = status * 10 + (uint32_t)(*(*text)++ - '0');
    }
    return status >= HTTP_STATUS_MIN && status <= HTTP_STATUS_MAX ? status : 0;
}

int http_statuses_parse(const char *text, struct http_statuses *out, struct str *out_problem)
{
    struct http_statuses statuses = {0};
    const char *p = text;
    char shown[MATCH_SHOWN_MAX];

    for (;;) {
        uint32_t from = read_status(&p), to = from;

        if (from != 0 && *p == '-') {
            p++;
            to = read_status(&p);
        }
        if (from == 0 || to == 0 || to < from || (*p != ',' && *p != '\0')) {
            str_printf(
                out_problem,
                "bad list of statuses %s; write statuses from 100 to 599 and ranges of them, "
                "as in \"200,204,301-303\"",
                match_show(text, strlen(text), shown));
            return -EINVAL;
        }
        statuses_add(&statuses, from, to);
        if (*p == '\0') {
            *out = statuses;
            return 0;
        }
        p++;
        p += strspn(p, " ");
    }
}

/* --- judging --- */

static bool is_graph(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text <= 0x20 || *text >= 0x7f) { /* a char that is negative is below too */
            return false;
        }
    }
    return true;
}

static bool is_token(const char *text, size_t n)
{
    static const char marks[] = "!#$%&'*+-.^_`|~";

    for (size_t i = 0; i < n; i++) {
        if (!isalnum((unsigned char)text[i]) && strchr(marks, text[i]) == NULL) {
            return false;
        }
    }
    return n > 0;
}

static bool judge_method(const char *value, struct str *out_problem)
{
    char shown[MATCH_SHOWN_MAX];

    if (is_token(value, strlen(value)) && strlen(value) <= METHOD_LEN_MAX) {
        return true;
    }
    str_printf(out_problem, "%s is no method; write one word, as in \"GET\" or \"HEAD\"",
               match_show(value, strlen(value), shown));
    return false;
}

static bool judge_path(const char *value, struct str *out_problem)
{
    char shown[MATCH_SHOWN_MAX];

    if (value[0] != '/' && strcmp(value, "*") != 0) {
        str_printf(out_problem, "%s is no path; write one that begins with \"/\"",
                   match_show(value, strlen(value), shown));
        return false;
    }
    if (!is_graph(value)) {
        str_printf(out_problem,
                   "%s has bytes that no path may have; write %%20 for a blank, and so on",
                   match_show(value, strlen(value), shown));
        return false;
    }
    return true;
}

static bool judge_host(const char *value, struct str *out_problem)
{
    char shown[MATCH_SHOWN_MAX];

    if (is_graph(value) && value[0] != '\0' && strpbrk(value, "/@?#\\") == NULL) {
        return true;
    }
    str_printf(out_problem, "%s is no host; write it as in \"www.example.net\" or \"[::1]:8080\"",
               match_show(value, strlen(value), shown));
    return false;
}

static bool judge_sni(const char *value, struct str *out_problem)
{
    static const char known[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
    struct addr_ip ip;
    char shown[MATCH_SHOWN_MAX];

    if (value[0] != '\0' && strlen(value) <= HOST_LEN_MAX && value[strspn(value, known)] == '\0' &&
        addr_parse_ip(value, &ip) != 0) {
        return true;
    }
    str_printf(out_problem, "%s is no server name; write it as in \"www.example.net\"",
               match_show(value, strlen(value), shown));
    return false;
}

/* Headers that say how the message is framed, or that have an option: not to be said twice. */
static const char *const own_headers[][2] = {
    {"Host", "write host = \"…\""},
    {"Connection", "it is always \"close\""},
    {"Content-Length", "no body is sent"},
    {"Transfer-Encoding", "no body is sent"},
};

static bool is_header(const char *line, const char *name)
{
    size_t len = strlen(name);

    return strncasecmp(line, name, len) == 0 && line[len] == ':';
}

static bool judge_header(const char *value, struct str *out_problem)
{
    const char *colon = strchr(value, ':');
    char shown[MATCH_SHOWN_MAX];

    (void)match_show(value, strlen(value), shown);
    if (colon == NULL || !is_token(value, (size_t)(colon - value))) {
        str_printf(out_problem, "%s is no header; write it as in \"Accept: text/plain\"", shown);
        return false;
    }
    for (const char *p = colon + 1; *p != '\0'; p++) {
        if (((unsigned char)*p < 0x20 && *p != '\t') || *p == 0x7f) {
            str_printf(out_problem, "%s has control characters; write a header without", shown);
            return false;
        }
    }
    for (size_t i = 0; i < sizeof(own_headers) / sizeof(own_headers[0]); i++) {
        if (is_header(value, own_headers[i][0])) {
            str_printf(out_problem, "%s: the check sends a header %s itself; %s", shown,
                       own_headers[i][0], own_headers[i][1]);
            return false;
        }
    }
    return true;
}

static bool judge_status(const char *value, struct str *out_problem)
{
    struct http_statuses statuses;

    return http_statuses_parse(value, &statuses, out_problem) == 0;
}

static bool judge_body(const char *value, struct str *out_problem)
{
    char shown[MATCH_SHOWN_MAX];
    STR_AUTO problem = {0};
    struct match *match = value[0] != '\0' ? match_create_regex(value, &problem) : NULL;

    if (match != NULL) {
        match_free(match);
        return true;
    }
    str_printf(out_problem, "bad expression %s: %s", match_show(value, strlen(value), shown),
               value[0] == '\0' ? "it is empty; write what the body must contain"
                                : str_text(&problem));
    return false;
}

static bool judge_bool(const char *value, struct str *out_problem)
{
    const char *problem;
    bool ignored;
    char shown[MATCH_SHOWN_MAX];

    if (units_parse_bool(value, &ignored, &problem) == 0) {
        return true;
    }
    str_printf(out_problem, "bad value %s: %s", match_show(value, strlen(value), shown), problem);
    return false;
}

static const struct {
    const char *option;
    bool (*judge)(const char *value, struct str *out_problem);
} judges[] = {
    {"method", judge_method},  {"path", judge_path},     {"host", judge_host},
    {"headers", judge_header}, {"status", judge_status}, {"body", judge_body},
    {"tls", judge_bool},       {"sni", judge_sni},       {"verify", judge_bool},
};

bool http_judge(const char *option, const char *value, struct str *out_problem)
{
    for (size_t i = 0; i < sizeof(judges) / sizeof(judges[0]); i++) {
        if (strcmp(judges[i].option, option) == 0) {
            return judges[i].judge(value, out_problem);
        }
    }
    return true;
}

static const char *find_arg(const struct check_arg *args, uint32_t n_args, const char *name)
{
    for (uint32_t i = 0; i < n_args; i++) {
        if (strcmp(args[i].name, name) == 0) {
            return args[i].value;
        }
    }
    return NULL;
}

static bool arg_is_true(const struct check_arg *args, uint32_t n_args, const char *name)
{
    const char *value = find_arg(args, n_args, name);
    const char *problem;
    bool is_true = false;

    return value != NULL && units_parse_bool(value, &is_true, &problem) == 0 && is_true;
}

bool http_judge_all(const struct check_arg *args, uint32_t n_args, struct str *out_problem)
{
    const char *method = find_arg(args, n_args, "method");

    if (!arg_is_true(args, n_args, "tls") &&
        (find_arg(args, n_args, "sni") || arg_is_true(args, n_args, "verify"))) {
        str_append(out_problem, "sni and verify are about TLS; write tls = true as well");
        return false;
    }
    if (method != NULL && strcmp(method, "HEAD") == 0 && find_arg(args, n_args, "body")) {
        str_append(out_problem, "the answer to HEAD has no body; write method = \"GET\"");
        return false;
    }
    return true;
}

/* --- building --- */

static void append_host(const struct check_probe *probe, bool tls, struct str *out)
{
    const char *host = check_arg(probe, "host", NULL);
    struct addr_ip ip = probe->address->ip;
    char text[ADDR_TEXT_MAX];

    ip.scope = 0; /* says something here only */
    if (host == NULL && ip.family == ADDR_UNIX) {
        host = "localhost";
    }
    if (host != NULL) {
        str_append(out, host);
        return;
    }
    (void)addr_ip_format(&ip, true, text);
    if (ip.port == (tls ? 443 : 80)) {
        *strrchr(text, ':') = '\0';
    }
    str_append(out, text);
}

void http_request_build(const struct check_probe *probe, bool tls, struct str *out)
{
    const char *method = check_arg(probe, "method", "GET");
    bool has_agent = false;

    str_printf(out, "%s %s HTTP/1.1\r\nHost: ", method, check_arg(probe, "path", "/"));
    append_host(probe, tls, out);
    str_append(out, "\r\nConnection: close\r\n");
    /* Those that usually have a body want to be told that there is none. */
    if (strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 || strcmp(method, "PATCH") == 0) {
        str_append(out, "Content-Length: 0\r\n");
    }
    for (uint32_t i = 0; i < probe->n_args; i++) {
        if (strcmp(probe->args[i].name, "headers") == 0) {
            str_printf(out, "%s\r\n", probe->args[i].value);
            has_agent |= is_header(probe->args[i].value, "User-Agent");
        }
    }
    str_append(out, has_agent ? "\r\n" : "User-Agent: Sluice\r\n\r\n");
}
