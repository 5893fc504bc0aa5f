/* What master does once it can serve: the control socket, and saying so. In master. */
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "folder.h"
#include "master.h"
#include "succession.h"

static void log_control_failure(const char *path, int error)
{
    char folder[PATH_MAX];
    STR_AUTO problem = {0};
    (void)strlcpy(folder, path, sizeof(folder));
    const char *hint = "set control_socket in global to a writable place";
    if (error == -EADDRINUSE) {
        hint = "another sluiced is running with it";
    } else if (folder_judge(path, true, &problem) != 0) {
        hint = str_text(&problem);
    }
    log_error("cannot open the control socket", LOG_STR("control_socket", path),
              LOG_STR("folder", dirname(folder)), LOG_STR("error", strerror(-error)),
              LOG_INT("errno", -error), LOG_STR("hint", hint));
}

/* The folder of the control socket is made if only its last part is missing (/run/sluice). */
int master_open_control(struct master *master)
{
    const struct model_global *global = &master->model->global;
    char folder[PATH_MAX];
    snprintf(folder, sizeof(folder), "%s", global->control_socket);
    mkdir(dirname(folder), 0755);
    struct addr address = {.ip.family = ADDR_UNIX};
    (void)strlcpy(address.path, global->control_socket, sizeof(address.path));
    int fd = succession_take(master, &address, "");
    if (fd < 0) {
        fd = ctl_listen(global->control_socket, global->control_mode);
    }
    if (fd < 0) {
        log_control_failure(global->control_socket, fd);
        return fd;
    }
    if (master->privileges.drop) {
        (void)!chown(global->control_socket, (uid_t)-1, master->privileges.gid);
    }
    struct ctl_host host = {
        .ops = &master_host_ops, .self = master, .sb = &master->sb, .events = master->events};
    master->control = ctl_server_create(master->base, fd, &host);
    return master->control != NULL ? 0 : -ENOMEM;
}

void master_announce(struct master *master)
{
    for (size_t i = 0; i < master->model->n_services; i++) {
        const struct model_service *service = &master->model->services[i];
        for (size_t j = 0; j < service->n_listeners; j++) {
            char text[ADDR_TEXT_MAX];
            log_info("listening", LOG_STR("service", service->name),
                     LOG_STR("address", addr_format(&service->listeners[j].address, text)));
        }
    }
    if (master->status_fd >= 0) {
        log_info("status address", LOG_STR("address", master->status_text));
    }
    log_info("ready", LOG_INT("workers", master->n_workers),
             LOG_INT("connections_limit", master->connections_limit),
             LOG_STR("connections_limited_by", limits_reason(master)),
             LOG_STR("control", master->model->global.control_socket), LOG_INT("pid", getpid()));
    master_event(master, "start", NULL, NULL, "master", NULL, "started");
}
