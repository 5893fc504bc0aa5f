/*
 * Asks the running daemon who it is. In sluicectl; blocking, for a short time.
 */
#include "sluicectl/doctor_daemon.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "sluicectl/talk.h"

#define QUESTION   "show info json"
#define SILENCE_MS 2000

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

/* A path that does not begin at the root begins where the daemon is. */
static void find_file(const char *file, struct doctor_daemon *out)
{
    char link[64], folder[PATH_MAX];
    int len;

    if (file[0] == '/') {
        len = snprintf(out->file, sizeof(out->file), "%s", file);
    } else {
        snprintf(link, sizeof(link), "/proc/%d/cwd", (int)out->pid);
        ssize_t n = out->pid != 0 ? readlink(link, folder, sizeof(folder)) : -1;
        if (n < 0)
            return;
        len = snprintf(out->file, sizeof(out->file), "%.*s/%s", (int)n, folder, file);
    }
    if (len >= (int)sizeof(out->file))
        out->file[0] = '\0';
}

void doctor_ask_daemon(const char *socket, struct doctor_daemon *out)
{
    STR_AUTO reply = {0};

    *out = (struct doctor_daemon){.error = -ask(socket, &reply)};
    if (out->error != 0)
        return;
    json_t *info = json_loads(str_text(&reply), 0, NULL);
    json_int_t pid = json_integer_value(json_object_get(info, "pid"));
    json_int_t active = json_integer_value(json_object_get(info, "connections_active"));
    const char *file = json_string_value(json_object_get(info, "config_file"));

    out->active = active > 0 ? (uint64_t)active : 0;
    if (pid > 0 && pid <= INT32_MAX && is_daemon((pid_t)pid))
        out->pid = (pid_t)pid;
    if (file)
        find_file(file, out);
    json_decref(info);
}
