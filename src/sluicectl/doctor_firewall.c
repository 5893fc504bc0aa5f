/*
 * Asks nft(8), which prints rules alike since long before Debian 12. Changes nothing. In sluicectl.
 */
#include "sluicectl/doctor_firewall.h"

#include <stdio.h>
#include <string.h>

void doctor_tool_ask(const char *command, struct str *out)
{
    char line[512], all[128];
    STR_AUTO text = {0};
    FILE *pipe;

    /* They are in folders that not every user looks into. What they complain of is told in our
     * words. */
    snprintf(all, sizeof(all), "exec 2>/dev/null; PATH=\"$PATH:/usr/sbin:/sbin\"; %s", command);
    pipe = popen(all, "re");
    if (!pipe)
        return;
    while (fgets(line, sizeof(line), pipe))
        str_append(&text, line);
    if (pclose(pipe) == 0)
        str_append(out, str_text(&text));
}

bool doctor_tool_line(const char **at, char *line, size_t size)
{
    const char *from = *at;
    size_t len = strcspn(from, "\n");

    if (*from == '\0')
        return false;
    *at = from + len + (from[len] == '\n');
    len = len < size ? len : size - 1;
    memcpy(line, from, len);
    line[len] = '\0';
    return true;
}

static bool is_there(const char *path)
{
    FILE *file = fopen(path, "re");
    int first = file ? fgetc(file) : EOF;

    if (file)
        fclose(file);
    return first != EOF;
}

void doctor_firewall_read(struct doctor_firewall *out)
{
    *out = (struct doctor_firewall){.has_iptables = is_there("/proc/net/ip_tables_names") ||
                                                    is_there("/proc/net/ip6_tables_names")};
    doctor_tool_ask("nft list ruleset && echo", &out->ruleset); /* an empty answer is one, too */
}

void doctor_firewall_free(struct doctor_firewall *firewall)
{
    str_free(&firewall->ruleset);
}
