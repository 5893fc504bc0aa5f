/*
 * How many client connections the daemon can carry here, and what stands in the way: descriptors,
 * ports towards backends, memory. Pure: works on what machine.h has read and what a model asks for.
 * In master, which makes its limit of it, and in sluicectl doctor.
 */
#ifndef SLUICE_PROC_CAPACITY_H
#define SLUICE_PROC_CAPACITY_H

#include "base/errlist.h"
#include "machine.h"
#include "model/model.h"

/* Of a figure that bounds nothing. */
#define CAPACITY_UNBOUNDED UINT64_MAX

/* Memory of a proxied connection at rest, as measured with a million of them on Linux 6.18 (README,
 * "How fast"): ours, and the kernel's, for two sockets with their files, entries of directories and
 * of epoll, which was 8,570 to 8,704. */
#define CAPACITY_OWN_BYTES    600
#define CAPACITY_KERNEL_BYTES 8704
#define CAPACITY_EACH_BYTES   (CAPACITY_OWN_BYTES + CAPACITY_KERNEL_BYTES)
/* Of the memory that is left so much goes to connections at rest; the kernel lets data under way
 * take about a tenth of all memory (tcp_mem, net/ipv4/tcp.c: tcp_init_mem). */
#define CAPACITY_SHARE 7
#define CAPACITY_OF    8

/* Of the memory that is left, what slow peers may have in buffers of ours unless the file says
 * otherwise. With the two shares above that is all of it. */
#define CAPACITY_BUFFERS_OF   32
#define CAPACITY_BUFFERS_MIN  (UINT64_C(16) << 20)
#define CAPACITY_BUFFERS_MAX  (UINT64_C(512) << 20)
#define CAPACITY_BUFFERS_EACH (UINT64_C(256) << 10) /* at least, of a worker */

/* One descriptor for each leg. */
#define CAPACITY_DESCRIPTORS_EACH 2

/* The widest range of ports that can be asked for without the privileged ones. */
#define CAPACITY_PORT_FIRST 1024
#define CAPACITY_PORT_LAST  65535

/* The machine's bounds, of which "auto" is the least, then those that the file sets elsewhere,
 * which only say that a number cannot be reached. */
enum capacity_bound {
    CAPACITY_DESCRIPTORS,
    CAPACITY_PORTS,
    CAPACITY_MEMORY,
    CAPACITY_MACHINE_COUNT,
    CAPACITY_SERVICES = CAPACITY_MACHINE_COUNT,
    CAPACITY_BACKENDS,
    CAPACITY_BOUND_COUNT
};

extern const char *const capacity_bound_names[CAPACITY_BOUND_COUNT];

/*
 * What connections to backends need of ports: pairs of an address to connect from and one to
 * connect to, each of which has the ports once, and connections beside them: those to backends
 * whose max_connections ends before their ports do, and those that wait in pools that have only
 * such backends.
 */
struct capacity_ports {
    uint64_t pairs; /* CAPACITY_UNBOUNDED where some connections need no port of their own */
    uint64_t beside;
};

/* What a model asks for. */
struct capacity_demand {
    uint32_t workers;
    uint32_t max_connections;    /* 0: auto */
    struct model_place place;    /* of max_connections */
    uint64_t listeners;          /* addresses that are listened on … */
    uint64_t unix_listeners;     /* … of which so many have one socket for all workers */
    struct capacity_ports ports; /* all services together; one that is unbounded makes it so */
    /* What max_connections of all services allow together, and those of all backends with the
     * queues of their pools; CAPACITY_UNBOUNDED where one has none. */
    uint64_t services, backends;
    /* Addresses of source_addresses, each pool's counted by itself, and those of them that are not
     * here, of which absent is the first. */
    uint64_t sources, sources_absent;
    struct addr_ip absent;
};

struct capacity {
    uint64_t by[CAPACITY_BOUND_COUNT]; /* connections; CAPACITY_UNBOUNDED also where not known */
};

/* How many ports of a range connections of one pair may have: workers leave the last 32nd of those
 * that the kernel may choose alone (pool/ports.h). */
uint64_t capacity_pair_ports(const struct machine *machine, uint64_t first, uint64_t last);

/* How many workers the model means on a machine with so many CPUs. */
uint32_t capacity_workers(const struct model *model, uint64_t cpus);
/* Whether the machine has an address. */
typedef bool capacity_here_fn(const struct addr_ip *ip);
/* is_here NULL: every source address counts, as if it were there. */
void capacity_ask(const struct model *model, const struct machine *machine, uint32_t workers,
                  capacity_here_fn *is_here, struct capacity_demand *out);
/* Its part that is about ports: fills those fields only. */
void capacity_ports_ask(const struct model *model, const struct machine *machine,
                        capacity_here_fn *is_here, struct capacity_demand *out);
/* Likewise, of what the file limits. */
void capacity_limits_ask(const struct model *model, struct capacity_demand *out);
/* What max_connections of the backends of a service's pool, and its queue, allow. */
uint64_t capacity_service_limits(const struct model *model, const struct model_service *service);
/* How many connections that is, where a pair has so many ports; CAPACITY_UNBOUNDED where ports are
 * not what ends it. */
uint64_t capacity_ports_hold(const struct capacity_ports *ports, uint64_t each);

/* A service by itself. */
struct capacity_service {
    uint64_t holds; /* by ports, as above */
    uint64_t asked; /* of it alone; 0: nothing */
};
/* connections: what is asked of the daemon, 0 for nothing. The service's own max_connections goes
 * before it where that is less. */
void capacity_service_ask(const struct model *model, const struct model_service *service,
                          const struct machine *machine, capacity_here_fn *is_here,
                          uint64_t connections, struct capacity_service *out);

void capacity_judge(const struct machine *machine, const struct capacity_demand *demand,
                    struct capacity *out);
/* The least of what bounds; CAPACITY_UNBOUNDED when nothing does. */
uint64_t capacity_least(const struct capacity *capacity);
/* The limit in force: max_connections if it is not 0, else the least bound of the machine's (at
 * least 1); 0 when nothing is known. */
uint32_t capacity_limit(const struct capacity *capacity, uint32_t max_connections);
/* What ends the growth first: "max_connections", a bound's name, or "nothing". */
const char *capacity_limited_by(const struct capacity *capacity, uint32_t max_connections);

/* Bytes of buffers for slow peers: what is asked for, if it is not 0. */
uint64_t capacity_buffers(const struct machine *machine, uint32_t workers, uint64_t asked);

/* Descriptors that master needs, however many connections there are: for its listening sockets. */
uint64_t capacity_master_descriptors(const struct capacity_demand *demand);
/* Descriptors that one process needs for so many connections: the busiest worker, or master,
 * whichever needs more. */
uint64_t capacity_descriptors(const struct capacity_demand *demand, uint64_t connections);
/* Of all processes together. */
uint64_t capacity_files(const struct capacity_demand *demand, uint64_t connections);
/* With how many workers these descriptors are enough, rather more than asked for than fewer; 0:
 * with none that are allowed. */
uint32_t capacity_workers_for(const struct machine *machine, const struct capacity_demand *demand,
                              uint64_t connections);
uint64_t capacity_memory_bytes(uint64_t connections);

/* A warning for each bound that max_connections is beyond, with what would allow it. Nothing where
 * it is auto, nor of descriptors where master has too few to start: that is among the settings. */
void capacity_warn(const struct machine *machine, const struct capacity_demand *demand,
                   const struct capacity *capacity, struct errlist *errors);
/* The same for each service that ports keep from what is asked of it: by its own max_connections,
 * or, where another service is unbounded and hides it from the sum, by the daemon's; and for one
 * whose max_connections its backends' do not allow. */
void capacity_warn_services(const struct model *model, const struct machine *machine,
                            capacity_here_fn *is_here, const struct capacity_demand *demand,
                            struct errlist *errors);
/* The same for what else the file sets that this machine does not have, or cuts. */
void capacity_warn_settings(const struct model *model, const struct machine *machine,
                            const struct capacity_demand *demand, struct errlist *errors);
/* All of these. */
void capacity_warn_all(const struct model *model, const struct machine *machine, uint32_t workers,
                       capacity_here_fn *is_here, struct errlist *errors);

#endif
