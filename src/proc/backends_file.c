/*
 * Files of backends (backends_file), watched: the folder of each is, so that a rename over it, a
 * file that comes again and a link that is switched are seen. When one has changed and nobody is
 * writing to it any more, all are read again by the reading child (load.c). Owns the inotify
 * descriptor and its timer. In master.
 */
#include "backends_file.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "edit.h"
#include "model/backends_file.h"

#define LINES_TOLD    50 /* of one file, as events: they are to hold more than one */
#define EVENT_KIND    "backends_file"
#define QUIET_MS      200   /* after the last sign of a change … */
#define QUIET_MOST_MS 2000  /* … but from the first one on no longer */
#define GONE_MS       1000  /* the same where it is gone: editors put another one in its place */
#define WRITING_MS    10000 /* where it is written to and not closed */
#define LOST_MS       10000 /* until a folder that cannot be watched is tried, and read, again */
#define REFUSED_MS    5000  /* until what was refused is read again: health may permit it by then */
#define TOLD_MAX      10    /* faults of one file in events; the log has all */
#define MASK                                                                                       \
    (IN_CLOSE_WRITE | IN_MODIFY | IN_MOVED_TO | IN_MOVED_FROM | IN_CREATE | IN_DELETE |            \
     IN_ATTRIB | IN_MOVE_SELF)

struct file {
    char path[PATH_MAX];
    char name[NAME_MAX + 1]; /* in its folder */
    int folder;              /* watch descriptor; -1: it cannot be watched */
    bool is_link;            /* then any rename in the folder may switch it … */
    char target[PATH_MAX];   /* … and what it leads to is watched, too; "" without one */
    int target_folder;
    bool is_written; /* and not closed yet */
};

struct backends_files {
    struct master *master;
    struct file *files;
    size_t n;
    int inotify;
    struct event *readable, *timer;
    uint64_t first_ms;       /* of the first sign that was not followed up yet; 0: there is none */
    bool is_lost;            /* a folder cannot be watched, and that was told */
    bool is_loading, is_due; /* due: something has changed meanwhile */
    char *refused;           /* what was told of faults last; NULL: all is well */
    uint64_t taken_wall_ms;  /* what runs was read then */
};

/* --- following up --- */

static void arm(struct backends_files *files, uint64_t in_ms)
{
    uint64_t now_ms = clock_now_ms();
    uint64_t most_ms = in_ms > QUIET_MOST_MS ? in_ms : QUIET_MOST_MS;
    files->first_ms = files->first_ms != 0 ? files->first_ms : now_ms;
    if (now_ms + in_ms > files->first_ms + most_ms) {
        in_ms = files->first_ms + most_ms > now_ms ? files->first_ms + most_ms - now_ms : 0;
    }
    struct timeval in = {.tv_sec = (time_t)(in_ms / 1000),
                         .tv_usec = (suseconds_t)(in_ms % 1000) * 1000};
    evtimer_add(files->timer, &in);
}

/* Not in the way of anybody who writes meanwhile. */
static void try_again(struct backends_files *files)
{
    struct timeval in = {.tv_sec = REFUSED_MS / 1000};
    if (files->first_ms == 0) {
        evtimer_add(files->timer, &in);
    }
}

static void tell(struct master *master, const char *pool, const char *text)
{
    log_warning(text);
    master_event(master, EVENT_KIND, pool, NULL, "master", NULL, text);
}

/* The pool whose file a fault is in; NULL: none's, or that of several. */
static const char *find_pool(const struct backends_files *files, const struct errlist_item *item)
{
    const struct conf_section *root = &files->master->tree->root;
    const char *found = NULL;
    size_t n = 0;
    for (size_t i = 0; i < root->n_sections; i++) {
        const struct conf_section *pool = root->sections[i];
        const char *path = backends_file_of(pool);
        STR_AUTO section = {0};
        if (path == NULL) {
            continue;
        }
        conf_section_path(pool, &section);
        if (strncmp(item->section, str_text(&section), section.len) == 0) {
            return pool->title;
        }
        if (strcmp(path, item->file) == 0) {
            found = pool->title;
            n++;
        }
    }
    return n == 1 ? found : NULL;
}

/* The one that all of them are about, beginning with the first; NULL: there is none. */
static const char *common_pool(bool is_first, const char *so_far, const char *pool)
{
    bool is_same = so_far != NULL && pool != NULL && strcmp(so_far, pool) == 0;
    return is_first || is_same ? pool : NULL;
}

/* Once as long as it says the same. */
static void tell_refused(struct backends_files *files, const struct errlist *errors)
{
    STR_AUTO all = {0};
    errlist_print(errors, &all);
    if (files->refused != NULL && strcmp(files->refused, str_text(&all)) == 0) {
        return;
    }
    free(files->refused);
    files->refused = str_take(&all);
    const char *of_all = NULL;
    size_t told = 0;
    for (size_t i = 0; i < errors->count; i++) {
        STR_AUTO text = {0};
        if (errors->items[i].severity == ERRLIST_ERROR) {
            errlist_print_item(&errors->items[i], &text);
            log_warning(str_text(&text));
            const char *pool = find_pool(files, &errors->items[i]);
            of_all = common_pool(told == 0, of_all, pool);
            if (told++ < TOLD_MAX) {
                master_event(files->master, EVENT_KIND, pool, NULL, "master", NULL,
                             str_text(&text));
            }
        }
    }
    STR_AUTO text = {0};
    str_printf(&text, "backends_file: refused for %zu fault%s; the backends stay as they were",
               errors->errors, errors->errors == 1 ? "" : "s");
    tell(files->master, of_all, str_text(&text));
}

static bool is_watched(const struct backends_files *files, const char *path)
{
    for (size_t i = 0; i < files->n; i++) {
        if (strcmp(files->files[i].path, path) == 0) {
            return true;
        }
    }
    return false;
}

/* What else is there to say was said when the whole configuration was read. */
static void tell_warnings(struct backends_files *files, const struct errlist *errors)
{
    for (size_t i = 0; i < errors->count; i++) {
        const struct errlist_item *item = &errors->items[i];
        STR_AUTO text = {0};
        if (item->file[0] == '\0' || is_watched(files, item->file)) {
            errlist_print_item(item, &text);
            tell(files->master, find_pool(files, item), str_text(&text));
        }
    }
}

/* One alone is in the summary. */
static void tell_changes(const struct backends_files *files, const struct change_list *changes)
{
    for (size_t i = 0; changes->count > 1 && i < changes->count && i < LINES_TOLD; i++) {
        const char *pool;
        const char *backend;
        edit_find_subject(files->master->model, changes->lines[i], &pool, &backend);
        master_event(files->master, EVENT_KIND, pool, backend, "master", NULL, changes->lines[i]);
    }
}

/* Of one change alone the backend, too. */
static void tell_taken(const struct backends_files *files, const struct change_list *changes,
                       uint32_t generation)
{
    const char *pool = NULL, *backend = NULL, *of_all = NULL;
    STR_AUTO text = {0};
    for (size_t i = 0; i < changes->count; i++) {
        edit_find_subject(files->master->model, changes->lines[i], &pool, &backend);
        of_all = common_pool(i == 0, of_all, pool);
    }
    str_printf(&text, "backends_file: taken over, generation %u, %zu change%s: %s%s", generation,
               changes->count, changes->count == 1 ? "" : "s", changes->lines[0],
               changes->count > 1 ? " …" : "");
    log_info(str_text(&text));
    master_event(files->master, EVENT_KIND, of_all, changes->count == 1 ? backend : NULL, "master",
                 NULL, str_text(&text));
}

static void on_loaded(void *arg, const struct errlist *errors, const struct change_list *changes,
                      uint32_t generation)
{
    struct backends_files *files = ((struct master *)arg)->backends_files;
    if (files == NULL) {
        return;
    }
    files->is_loading = false;
    if (errors->errors > 0) {
        tell_refused(files, errors);
    } else {
        backends_files_taken(files->master); /* it may be as it was */
        for (size_t i = 0; i < changes->count; i++) {
            log_info(changes->lines[i], LOG_STR("by", EVENT_KIND));
        }
    }
    if (errors->errors == 0 && changes->count > 0) {
        tell_changes(files, changes);
        tell_taken(files, changes, generation);
        tell_warnings(files, errors);
    }
    backends_files_renew(files->master); /* links may lead elsewhere now */
    if (files->is_due) {
        files->is_due = false;
        arm(files, QUIET_MS);
    } else if (files->refused != NULL) {
        try_again(files);
    }
}

static void on_time(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct backends_files *files = arg;
    files->first_ms = 0;
    for (size_t i = 0; i < files->n; i++) {
        files->files[i].is_written = false;
    }
    if (files->master->leaving || files->master->stopping) {
        return;
    }
    if (files->is_loading) {
        files->is_due = true;
        return;
    }
    files->is_loading = true;
    load_backends_files(files->master, on_loaded, files->master);
}

/* --- what happens to files --- */

/* A file that is made by opening it is empty at first, and is closed later; a link is whole. */
static bool is_whole_when_made(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0 && (!S_ISREG(status.st_mode) || status.st_nlink > 1);
}

static void judge_named(struct backends_files *files, struct file *file, const char *path,
                        uint32_t mask)
{
    if ((mask & IN_MODIFY) != 0) {
        file->is_written = true;
        arm(files, WRITING_MS);
    } else if ((mask & (IN_DELETE | IN_MOVED_FROM)) != 0) {
        file->is_written = false;
        arm(files, GONE_MS);
    } else if ((mask & IN_CREATE) == 0 || is_whole_when_made(path)) {
        file->is_written = file->is_written && (mask & (IN_CLOSE_WRITE | IN_MOVED_TO)) == 0;
        arm(files, file->is_written ? WRITING_MS : QUIET_MS);
    }
}

static void judge(struct backends_files *files, const struct inotify_event *event)
{
    const char *name = event->len > 0 ? event->name : "";
    for (size_t i = 0; i < files->n; i++) {
        struct file *file = &files->files[i];
        if (event->wd == file->folder && strcmp(name, file->name) == 0) {
            judge_named(files, file, file->path, event->mask);
        } else if (file->is_link && event->wd == file->target_folder &&
                   strcmp(name, strrchr(file->target, '/') + 1) == 0) {
            judge_named(files, file, file->target, event->mask);
        } else if (file->is_link && event->wd == file->folder &&
                   (event->mask & (IN_MOVED_TO | IN_CREATE)) != 0) {
            arm(files, QUIET_MS);
        }
        if ((event->mask & (IN_IGNORED | IN_MOVE_SELF)) != 0 &&
            (event->wd == file->folder || event->wd == file->target_folder)) {
            file->folder = -1; /* the folder is gone, perhaps for another one */
            arm(files, GONE_MS);
        }
    }
    if ((event->mask & IN_Q_OVERFLOW) != 0) {
        arm(files, QUIET_MS);
    }
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct backends_files *files = arg;
    _Alignas(struct inotify_event) char bytes[4096];
    ssize_t n = read(fd, bytes, sizeof(bytes));
    for (ssize_t at = 0; at < n;) {
        const struct inotify_event *event = (const struct inotify_event *)(const void *)&bytes[at];
        judge(files, event);
        at += (ssize_t)(sizeof(*event) + event->len);
    }
}

/* --- what is watched --- */

static int watch_folder(const struct backends_files *files, const char *path)
{
    char copy[PATH_MAX];
    (void)strlcpy(copy, path, sizeof(copy));
    return inotify_add_watch(files->inotify, dirname(copy), MASK | IN_ONLYDIR);
}

/* What the path leads to when it is a link, else "". */
static void find_target(const char *path, char target[static PATH_MAX])
{
    struct stat status;
    if (lstat(path, &status) != 0 || !S_ISLNK(status.st_mode) || realpath(path, target) == NULL) {
        target[0] = '\0';
    }
}

static void watch(struct backends_files *files, struct file *file, const char *path)
{
    (void)strlcpy(file->path, path, sizeof(file->path));
    (void)strlcpy(file->name, strrchr(path, '/') + 1, sizeof(file->name));
    find_target(path, file->target);
    file->is_link = file->target[0] != '\0';
    file->target_folder = file->is_link ? watch_folder(files, file->target) : -1;
    file->folder = watch_folder(files, path);
    if (file->folder < 0 && !files->is_lost) {
        log_warning("the folder of a backends_file cannot be watched, so it is read every 10 s",
                    LOG_STR("path", path), LOG_STR("error", strerror(errno)));
    }
}

/* Whether all is watched that is to be, where it leads to now. */
static bool is_as_wanted(const struct backends_files *files)
{
    const struct model *model = files->master->model;
    size_t at = 0;
    for (size_t i = 0; i < model->n_pools; i++) {
        const char *path = model->pools[i].backends_file;
        char target[PATH_MAX];
        if (path == NULL) {
            continue;
        }
        if (at == files->n || strcmp(files->files[at].path, path) != 0 ||
            files->files[at].folder < 0) {
            return false;
        }
        find_target(path, target);
        if (strcmp(target, files->files[at++].target) != 0) {
            return false;
        }
    }
    return at == files->n;
}

static size_t count_wanted(const struct model *model)
{
    size_t n = 0;
    for (size_t i = 0; i < model->n_pools; i++) {
        n += model->pools[i].backends_file != NULL ? 1 : 0;
    }
    return n;
}

static void stop_watching(struct backends_files *files)
{
    if (files->readable != NULL) {
        event_free(files->readable);
        files->readable = NULL;
    }
    fd_close(&files->inotify);
    free(files->files);
    files->files = NULL;
    files->n = 0;
}

/* What changed before it is watched was not seen, so it is looked at once. */
static bool watch_all(struct backends_files *files)
{
    const struct model *model = files->master->model;
    size_t n = count_wanted(model);
    bool is_lost = false;
    stop_watching(files);
    if (n == 0) {
        return true;
    }
    files->files = calloc(n, sizeof(*files->files));
    files->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (files->files != NULL && files->inotify >= 0) {
        files->readable = event_new(files->master->base, files->inotify, EV_READ | EV_PERSIST,
                                    on_readable, files);
    }
    if (files->readable == NULL || event_add(files->readable, NULL) != 0) {
        return false;
    }
    for (size_t i = 0; i < model->n_pools; i++) {
        if (model->pools[i].backends_file != NULL) {
            watch(files, &files->files[files->n], model->pools[i].backends_file);
            is_lost = files->files[files->n++].folder < 0 || is_lost;
        }
    }
    files->is_lost = is_lost;
    arm(files, is_lost ? LOST_MS : QUIET_MS);
    return true;
}

static struct backends_files *create(struct master *master)
{
    struct backends_files *files = calloc(1, sizeof(*files));
    if (files == NULL) {
        return NULL;
    }
    *files =
        (struct backends_files){.master = master, .inotify = -1, .taken_wall_ms = clock_wall_ms()};
    files->timer = evtimer_new(master->base, on_time, files);
    if (files->timer == NULL) {
        free(files);
        return NULL;
    }
    return files;
}

void backends_files_renew(struct master *master)
{
    if (master->backends_files == NULL && count_wanted(master->model) > 0) {
        master->backends_files = create(master);
    }
    struct backends_files *files = master->backends_files;
    if (count_wanted(master->model) > 0 && files == NULL) {
        log_error("out of memory: files of backends are not watched until the next change");
    } else if (files != NULL && !is_as_wanted(files) && !watch_all(files)) {
        log_error("files of backends cannot be watched until the next change; is "
                  "fs.inotify.max_user_instances too small?",
                  LOG_STR("error", strerror(errno)));
    }
}

void backends_files_taken(struct master *master)
{
    struct backends_files *files = master->backends_files;
    if (files != NULL) {
        free(files->refused);
        files->refused = NULL;
        files->taken_wall_ms = clock_wall_ms();
    }
}

uint64_t backends_files_taken_ms(const struct master *master, const char **out_refused)
{
    const struct backends_files *files = master->backends_files;
    *out_refused = files != NULL ? files->refused : NULL;
    return files != NULL ? files->taken_wall_ms : 0;
}

void backends_files_end(struct master *master)
{
    struct backends_files *files = master->backends_files;
    if (files != NULL) {
        stop_watching(files);
        event_free(files->timer);
        free(files->refused);
        free(files);
        master->backends_files = NULL;
    }
}
