/*
 * The firewall's rules, as nft(8) tells them.
 */
#ifndef SLUICE_SLUICECTL_DOCTOR_FIREWALL_H
#define SLUICE_SLUICECTL_DOCTOR_FIREWALL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

struct doctor_firewall {
    bool has_iptables;  /* tables of the old kind are there, which nft does not show */
    struct str ruleset; /* as nft prints it; "" where it cannot be asked */
};

/* *out is to be released by doctor_firewall_free(). */
void doctor_firewall_read(struct doctor_firewall *out);
void doctor_firewall_free(struct doctor_firewall *firewall); /* twice is harmless */

/* Appends what a tool's command line prints; nothing where it fails, or is not installed. */
void doctor_tool_ask(const char *command, struct str *out);
/* A line of a tool's answer. Moves *at behind it; false at the end. */
bool doctor_tool_line(const char **at, char *line, size_t size);

#endif
