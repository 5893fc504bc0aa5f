/*
 * Asks the running daemon who it is. In sluicectl; blocking, for a short time.
 */
#include "sluicectl/doctor_daemon.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/str.h"
#include "sluicectl/talk.h"

#define QUESTION   "show info json"
#define SILENCE_MS 2000

/* Keys stand nowhere else with their quotes as they are: in strings these are escaped. */
static uint64_t find_number(const char *json, const char *key)
{
    const char *at = strstr(json, key);

    return at ? strtoull(at + strlen(key) + strspn(at + strlen(key), ": "), NULL, 10) : 0;
}

/* In a container of its own its pid is that of something else here. */
static bool is_daemon(pid_t pid)
{
    char path[64], name[32] = "";
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
    file = fopen(path, "re");
    if (!file)
        return false;
    (void)!fgets(name, sizeof(name), file);
    fclose(file);
    return strncmp(name, "sluiced", strlen("sluiced")) == 0;
}

static int ask(const char *socket, struct str *reply)
{
    FD_AUTO fd = talk_connect(socket, SILENCE_MS);
    int result;

    if (fd < 0)
        return fd;
    result = talk_send_line(fd, QUESTION, strlen(QUESTION));
    return result == 0 ? talk_receive(fd, reply) : result;
}

void doctor_ask_daemon(const char *socket, struct doctor_daemon *out)
{
    STR_AUTO reply = {0};
    uint64_t pid;

    *out = (struct doctor_daemon){.error = -ask(socket, &reply)};
    if (out->error != 0)
        return;
    pid = find_number(str_text(&reply), "\"pid\"");
    out->active = find_number(str_text(&reply), "\"connections_active\"");
    if (pid > 0 && pid <= INT32_MAX && is_daemon((pid_t)pid))
        out->pid = (pid_t)pid;
}
