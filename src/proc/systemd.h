/*
 * Telling the supervisor how the daemon is, by systemd's protocol (sd_notify(3)), without its
 * library. Everything is nothing without NOTIFY_SOCKET, and nothing ever waits: what the
 * supervisor does not take at once is lost, or said again where that matters. In master.
 */
#ifndef SLUICE_PROC_SYSTEMD_H
#define SLUICE_PROC_SYSTEMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct systemd;

/* From the environment, which says nothing of it afterwards, so that no program the daemon runs
 * speaks in its name. NULL without memory. */
struct systemd *systemd_create(void);
void systemd_destroy(struct systemd *systemd); /* NULL is allowed */
/* In a child that is to take over: puts back what it needs to do the same under its own pid. */
void systemd_pass_on(const struct systemd *systemd);

/* How often to call systemd_feed(); 0: never, nobody watches. */
uint64_t systemd_watchdog_ms(const struct systemd *systemd);
void systemd_feed(struct systemd *systemd);

void systemd_ready(struct systemd *systemd);
void systemd_reloading(struct systemd *systemd, uint64_t now_us);
void systemd_stopping(struct systemd *systemd);
/* Sent only when it differs from the last one. */
void systemd_status(struct systemd *systemd, const char *text);
/* The end takes longer: not to be killed for that long. */
void systemd_extend(struct systemd *systemd, uint64_t ms);
/* The main process is another from now on, and this one has nothing more to say. */
void systemd_hand_over(struct systemd *systemd, pid_t pid);
/* Keeps descriptors (a copy) for the next process, under name. False: not taken just now. */
bool systemd_store(struct systemd *systemd, const char *name, const int *fds, size_t n);
void systemd_forget(struct systemd *systemd, const char *name);

#endif
