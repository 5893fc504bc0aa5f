/*
 * The request that an http check sends, and what its options may say. Pure; judged in master, built
 * in the monitor.
 */
#ifndef SLUICE_CHECK_HTTP_REQUEST_H
#define SLUICE_CHECK_HTTP_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "check/check.h"

#define HTTP_STATUS_MIN 100
#define HTTP_STATUS_MAX 599

/* Which statuses pass. */
struct http_statuses {
    uint64_t bits[(HTTP_STATUS_MAX - HTTP_STATUS_MIN) / 64 + 1];
};

/* "200-399", "200,204,301-303". 0, or -EINVAL with *out_problem. */
int http_statuses_parse(const char *text, struct http_statuses *out, struct str *out_problem);
bool http_statuses_include(const struct http_statuses *statuses, uint32_t status);

/* As check_kind's functions of these names. */
bool http_judge(const char *option, const char *value, struct str *out_problem);
bool http_judge_all(const struct check_arg *args, uint32_t n_args, struct str *out_problem);

/* Appends the whole request. tls: to know which port goes without saying. */
void http_request_build(const struct check_probe *probe, bool tls, struct str *out);

#endif
