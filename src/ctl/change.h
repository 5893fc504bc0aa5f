/*
 * Answers to commands that change something or would: what changed, a line each, and which
 * overrides of the operator still stand against the file. In master.
 */
#ifndef SLUICE_CTL_CHANGE_H
#define SLUICE_CTL_CHANGE_H

#include "ctl/host.h"
#include "ctl/request.h"

/* Sets the options that are given of the global section. In cmd_change.c. */
enum command_outcome change_set_global(struct request *request);

/* A ctl_change_fn whose arg is the request: builds its reply and finishes it. */
void change_answer(void *arg, const struct errlist *errors, const struct change_list *changes,
                   uint32_t generation);
/* Likewise for what would change: nothing did. */
void change_answer_check(void *arg, const struct errlist *errors, const struct change_list *changes,
                         uint32_t generation);

/* True when errors hold one that refuses; the reply says so then, and what became of it. */
bool change_refuse(struct request *request, const struct errlist *errors, const char *outcome);

/* Adds an answer to what the request has gathered; errors count as warnings there. */
void change_gather(struct request *request, const struct errlist *errors,
                   const struct change_list *changes);

/* The array "overrides" of the reply as JSON, and nothing as text. */
void change_put_overrides(struct request *request);
/* "pool web, backend a: weight = 3; the file says 1 (by uid 0 pid 42, 2026-…: why)", appended.
 * override is one of list. */
void change_describe_override(const struct overrides *list, const struct override *override,
                              struct str *out);

/* Appends the running configuration in file syntax, overrides included, and as comments before it.
 */
void change_print_config(struct request *request, struct str *out);
/* What is to be known of the running configuration: that it waits to be confirmed, that the file
 * says something else, or was refused. Lines; as JSON "file_runs", "file_refused" with when and the
 * first error, "returns" and "until_ms". */
void change_put_standing(struct request *request);

#endif
