/*
 * The check of snapshots: a good one passes, each fault in it is found, and nothing that passes
 * leads a reader out of the mapping (to be run with AddressSanitizer too). And the mapping.
 */
#include "sluice/snapshot.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sluice/scoreboard.h"

/* Two services, three listeners, two pools, four backends, two checks, a hash table and a reset
 * exchange of the second pool; nothing between the arrays. */
struct sample {
    struct snapshot_header header;
    struct snapshot_service services[2];
    struct snapshot_listener listeners[3];
    struct snapshot_pool pools[2];
    struct snapshot_backend backends[4];
    struct snapshot_check checks[2];
    struct snapshot_source sources[4];
    uint16_t entries[8];
    char texts[16];
};

static struct sample sample;

static struct addr ipv4(uint16_t port)
{
    return (struct addr){.ip = {.bytes = {127, 0, 0, 1}, .port = port, .family = ADDR_IPV4}};
}

static void fill_header(void)
{
    sample.header = (struct snapshot_header){
        .magic = SNAPSHOT_MAGIC,
        .layout = SNAPSHOT_LAYOUT,
        .generation = 1,
        .size_bytes = sizeof(sample),
        .n_services = 2,
        .n_listeners = 3,
        .n_pools = 2,
        .n_backends = 4,
        .n_checks = 2,
        .services_offset = offsetof(struct sample, services),
        .listeners_offset = offsetof(struct sample, listeners),
        .pools_offset = offsetof(struct sample, pools),
        .backends_offset = offsetof(struct sample, backends),
        .checks_offset = offsetof(struct sample, checks),
        .n_status_allow = 2,
        .status_allow = {{.ip.family = ADDR_IPV4, .prefix = 32},
                         {.ip.family = ADDR_IPV6, .prefix = 128}},
        .n_sources = 4,
        .sources_offset = offsetof(struct sample, sources),
        .n_entries = 8,
        .entries_offset = offsetof(struct sample, entries),
        .args_offset = offsetof(struct sample, texts),
        .n_text_bytes = sizeof(sample.texts),
        .texts_offset = offsetof(struct sample, texts),
    };
}

static void fill_services(void)
{
    for (uint32_t i = 0; i < 3; i++) {
        sample.listeners[i].address = ipv4((uint16_t)(8000 + i));
        sample.listeners[i].id = i;
        sample.listeners[i].service = i == 2;
    }
    for (uint32_t i = 0; i < 2; i++) {
        strcpy(sample.services[i].name, i == 0 ? "web" : "mail");
        sample.services[i].row = i;
        sample.services[i].pool = i;
        sample.services[i].fallback_pool = i == 0 ? 1 : SNAPSHOT_NONE;
        sample.services[i].persistence_mask = 24;
        sample.services[i].persistence_mask6 = 64;
        sample.services[i].accept_rate =
            (struct snapshot_rate){.interval_ns = 1000000, .burst = 10};
    }
    sample.services[0].n_listeners = 2;
    sample.services[1].first_listener = 2;
    sample.services[1].n_listeners = 1;
}

static void fill_pools(void)
{
    for (uint32_t i = 0; i < 2; i++) {
        strcpy(sample.pools[i].name, i == 0 ? "web" : "mail");
        sample.pools[i].first_backend = 2 * i;
        sample.pools[i].n_backends = 2;
        sample.pools[i].row = i;
        sample.pools[i].panic_threshold = 50;
        strcpy(sample.checks[i].kind, "tcp");
        strcpy(sample.checks[i].title, "tcp");
    }
    sample.pools[1].first_entry = 1;
    sample.pools[1].n_entries = 7;
    for (uint32_t i = 0; i < 8; i++)
        sample.entries[i] = i == 0 ? UINT16_MAX : i % 2; /* the first is no pool's */
    for (uint32_t i = 0; i < 4; i++) {
        memset(sample.backends[i].name, 'b', i + 1);
        sample.backends[i].address = ipv4(9000);
        sample.backends[i].slot = i;
        sample.backends[i].row = i;
        sample.backends[i].weight = 1;
        sample.backends[i].max_connections = 100;
        sample.backends[i].resume_connections = 75;
        sample.backends[i].connect_rate =
            (struct snapshot_rate){.interval_ns = 1000000, .burst = 10};
        sample.backends[i].n_checks = i / 2;
        sample.backends[i].first_check = i / 2;
    }
    /* Two of its own, and the kernel's choice; a Unix socket has none. */
    sample.backends[0].n_sources = 2;
    sample.backends[1].first_source = 2;
    sample.backends[1].n_sources = 1;
    for (uint32_t i = 0; i < 2; i++)
        sample.sources[i] = (struct snapshot_source){.ip = ipv4(0).ip, .pair = 1 + i};
    sample.backends[3].address = (struct addr){.ip.family = ADDR_UNIX, .path = "/run/x"};
}

static void fill_reuse(void)
{
    strcpy(sample.texts, "..RESET\nRESETOK");
    sample.pools[1].reuse = (struct snapshot_reuse){.mode = REUSE_SESSION,
                                                    .max_idle = 1,
                                                    .reset_send = 2,
                                                    .reset_send_bytes = 6,
                                                    .reset_expect = 8,
                                                    .reset_expect_bytes = 7};
}

static void setup(void)
{
    memset(&sample, 0, sizeof(sample));
    fill_header();
    fill_services();
    fill_pools();
    fill_reuse();
}

static int check_sample(void)
{
    return snapshot_check(&sample, sizeof(sample));
}

START_TEST(a_good_one_passes)
{
    ck_assert_int_eq(check_sample(), 0);
    ck_assert_ptr_eq(snapshot_services(&sample.header), sample.services);
    ck_assert_ptr_eq(snapshot_listeners(&sample.header), sample.listeners);
    ck_assert_ptr_eq(snapshot_pools(&sample.header), sample.pools);
    ck_assert_ptr_eq(snapshot_backends(&sample.header), sample.backends);
    ck_assert_ptr_eq(snapshot_checks(&sample.header), sample.checks);
    ck_assert_ptr_eq(snapshot_entries(&sample.header), sample.entries);
}
END_TEST

START_TEST(an_empty_one_passes)
{
    struct snapshot_header *header = &sample.header;
    uint32_t end = sizeof(*header);

    header->n_services = header->n_listeners = header->n_pools = 0;
    header->n_backends = header->n_checks = header->n_entries = 0;
    header->services_offset = header->listeners_offset = header->pools_offset = end;
    header->backends_offset = header->checks_offset = header->entries_offset = end;
    header->n_text_bytes = 0;
    header->args_offset = header->texts_offset = header->sources_offset = end;
    header->n_sources = 0;
    header->size_bytes = end;
    ck_assert_int_eq(snapshot_check(&sample, end), 0);
    header->checks_offset = 0; /* not even nothing may be there */
    ck_assert_int_eq(snapshot_check(&sample, end), -EINVAL);
}
END_TEST

START_TEST(extremes_pass)
{
    sample.services[0].row = SERVICES_MAX - 1;
    sample.backends[0].row = BACKENDS_MAX - 1;
    sample.backends[0].slot = SB_SLOTS_MAX - 1;
    sample.backends[0].weight = 65535;
    sample.backends[0].admin = ADMIN_MAINTENANCE;
    sample.backends[0].address = (struct addr){0};
    sample.backends[0].n_sources = 0;
    sample.backends[0].n_checks = 2;
    sample.backends[1].first_check = 2;
    sample.checks[0].port = 65535;
    sample.pools[0].start = START_DOWN;
    sample.pools[1].first_backend = 4;
    sample.pools[1].n_backends = 0;
    sample.pools[1].first_entry = 8;
    sample.pools[1].n_entries = 0;
    sample.pools[1].row = POOLS_MAX - 1;
    sample.pools[0].panic_threshold = 100;
    sample.pools[0].hash_key = HASH_KEY_SOURCE_PORT;
    sample.pools[0].backup_use = BACKUP_USE_ALL;
    sample.pools[0].send_proxy = SEND_PROXY_V2;
    sample.pools[0].on_return = sample.pools[0].on_down = SESSIONS_CLOSE;
    sample.pools[0].reuse.mode = REUSE_WARM; /* which is what goes with a PROXY header */
    sample.pools[0].reuse.warm_min = sample.pools[0].reuse.max_idle = REUSE_IDLE_MAX;
    sample.pools[0].reuse.max_uses = sample.pools[0].reuse.max_age_ms = UINT32_MAX;
    sample.pools[1].reuse.reset_expect_bytes = 8;
    sample.services[0].fallback_pool = 0; /* odd, and harmless */
    sample.services[0].persistence_mask = 32;
    sample.services[0].persistence_mask6 = 128;
    sample.services[0].accept_rate = (struct snapshot_rate){0};
    sample.services[1].accept_rate =
        (struct snapshot_rate){.interval_ns = UINT64_MAX / 4 / UINT32_MAX, .burst = UINT32_MAX};
    sample.backends[1].connect_rate =
        (struct snapshot_rate){.interval_ns = UINT64_MAX / 4, .burst = 1};
    sample.backends[1].backup = 1;
    sample.backends[1].max_connections = sample.backends[1].resume_connections = UINT32_MAX;
    sample.backends[2].max_connections = sample.backends[2].resume_connections = 0;
    sample.backends[3].max_connections = sample.backends[3].resume_connections = 1;
    memset(sample.services[0].name, 'n', NAME_BYTES_MAX - 1);
    sample.header.generation = UINT32_MAX;
    ck_assert_int_eq(check_sample(), 0);
}
END_TEST

START_TEST(odd_sizes_are_refused)
{
    ck_assert_int_eq(snapshot_check(NULL, sizeof(sample)), -EINVAL);
    for (uint64_t size = 0; size < sizeof(sample); size++)
        ck_assert_int_eq(snapshot_check(&sample, size), -EINVAL);
    ck_assert_int_eq(snapshot_check(&sample, sizeof(sample) + 1), -EINVAL);

    char *unaligned = malloc(sizeof(sample) + 8);
    memcpy(unaligned + 4, &sample, sizeof(sample));
    ck_assert_int_eq(snapshot_check(unaligned + 4, sizeof(sample)), -EINVAL);
    free(unaligned);
}
END_TEST

/* One number of the sample that makes it bad. */
struct fault {
    size_t offset, width; /* bytes */
    uint64_t value;
};

#define FAULT(member, value)                                                                       \
    {                                                                                              \
        offsetof(struct sample, member), sizeof(sample.member), value                              \
    }

static const struct fault faults[] = {
    FAULT(header.magic, SNAPSHOT_MAGIC + 1),
    FAULT(header.layout, SNAPSHOT_LAYOUT + 1),
    FAULT(header.n_status_allow, STATUS_ALLOW_MAX + 1),
    FAULT(header.status_allow[0].prefix, 33),
    FAULT(header.status_allow[1].prefix, 129),
    FAULT(header.status_allow[1].ip.family, ADDR_UNIX),
    FAULT(header.n_status_allow, 3), /* without a family */
    FAULT(header.generation, 0),
    FAULT(header.size_bytes, sizeof(struct sample) - 1),
    FAULT(header.size_bytes, sizeof(struct sample) + 8),
    FAULT(header.size_bytes, UINT64_MAX),
    FAULT(header.n_services, 3),
    FAULT(header.n_services, UINT32_MAX),
    FAULT(header.n_services, 1),
    FAULT(header.n_listeners, 2),
    FAULT(header.n_listeners, 4),
    FAULT(header.n_listeners, UINT32_MAX),
    FAULT(header.n_pools, 1),
    FAULT(header.n_pools, 3),
    FAULT(header.n_pools, UINT32_MAX),
    FAULT(header.n_backends, 3),
    FAULT(header.n_backends, 5),
    FAULT(header.n_backends, UINT32_MAX),
    FAULT(header.n_checks, 1),
    FAULT(header.n_checks, 3),
    FAULT(header.n_checks, UINT32_MAX),
    FAULT(header.services_offset, 0),
    FAULT(header.services_offset, sizeof(struct snapshot_header) - 8),
    FAULT(header.services_offset, offsetof(struct sample, services) + 2),
    FAULT(header.services_offset, offsetof(struct sample, listeners)),
    FAULT(header.services_offset, sizeof(struct sample)),
    FAULT(header.services_offset, UINT32_MAX - 7),
    FAULT(header.listeners_offset, offsetof(struct sample, services)),
    FAULT(header.listeners_offset, UINT32_MAX - 7),
    FAULT(header.pools_offset, offsetof(struct sample, pools) + 1),
    FAULT(header.pools_offset, UINT32_MAX - 7),
    FAULT(header.backends_offset, offsetof(struct sample, backends) + 8),
    FAULT(header.backends_offset, offsetof(struct sample, backends) - 8),
    FAULT(header.backends_offset, UINT32_MAX - 7),
    FAULT(header.checks_offset, offsetof(struct sample, checks) + 8),
    FAULT(header.checks_offset, offsetof(struct sample, backends)),
    FAULT(header.checks_offset, UINT32_MAX - 7),
    FAULT(header.n_entries, 7),
    FAULT(header.n_entries, 9),
    FAULT(header.n_entries, UINT32_MAX),
    FAULT(header.entries_offset, 0),
    FAULT(header.entries_offset, offsetof(struct sample, entries) + 1),
    FAULT(header.entries_offset, offsetof(struct sample, entries) + 2),
    FAULT(header.entries_offset, offsetof(struct sample, checks)),
    FAULT(header.entries_offset, UINT32_MAX - 1),
    FAULT(services[0].name[0], 0),
    FAULT(services[0].row, SERVICES_MAX),
    FAULT(services[0].pool, 2),
    FAULT(services[0].pool, SNAPSHOT_NONE),
    FAULT(services[0].fallback_pool, 2),
    FAULT(services[0].fallback_pool, SNAPSHOT_NONE - 1),
    FAULT(services[0].persistence_mask, 33),
    FAULT(services[0].persistence_mask6, 129),
    FAULT(services[0].accept_rate.burst, 0),
    FAULT(services[0].accept_rate.interval_ns, UINT64_MAX),
    FAULT(services[0].accept_rate.interval_ns, UINT64_MAX / 40 + 1),
    FAULT(services[0].first_listener, 1),
    FAULT(services[0].first_listener, UINT32_MAX),
    FAULT(services[0].n_listeners, 1),
    FAULT(services[0].n_listeners, 3),
    FAULT(services[0].n_listeners, 4),
    FAULT(services[0].n_listeners, UINT32_MAX),
    FAULT(services[1].first_listener, 3),
    FAULT(listeners[0].service, 1),
    FAULT(listeners[0].service, 2),
    FAULT(listeners[0].service, UINT32_MAX),
    FAULT(listeners[0].address.ip.family, ADDR_NONE),
    FAULT(listeners[0].address.ip.family, ADDR_UNIX), /* with an empty path */
    FAULT(listeners[0].address.ip.family, ADDR_FAMILY_COUNT),
    FAULT(pools[0].name[0], 0),
    FAULT(pools[0].first_backend, 3),
    FAULT(pools[0].first_backend, UINT32_MAX),
    FAULT(pools[0].n_backends, 5),
    FAULT(pools[0].n_backends, UINT32_MAX),
    FAULT(pools[0].start, START_COUNT),
    FAULT(pools[0].row, POOLS_MAX),
    FAULT(pools[0].hash_key, HASH_KEY_COUNT),
    FAULT(pools[0].backup_use, BACKUP_USE_COUNT),
    FAULT(pools[0].send_proxy, SEND_PROXY_COUNT),
    FAULT(pools[0].transparent, 2),
    FAULT(pools[1].transparent, 1), /* it reuses */
    FAULT(pools[0].on_return, SESSIONS_COUNT),
    FAULT(pools[0].on_down, SESSIONS_COUNT),
    FAULT(pools[0].panic_threshold, 101),
    FAULT(pools[1].first_entry, 2),
    FAULT(pools[1].first_entry, 0), /* an entry that is no backend of it */
    FAULT(pools[1].first_entry, UINT32_MAX),
    FAULT(pools[1].n_entries, 8),
    FAULT(pools[1].n_entries, UINT32_MAX),
    FAULT(pools[0].n_entries, 2),
    FAULT(pools[1].n_backends, 1),
    FAULT(entries[1], 2),
    FAULT(entries[7], 2),
    FAULT(entries[7], UINT16_MAX),
    FAULT(backends[0].name[0], 0),
    FAULT(backends[0].address.ip.family, ADDR_FAMILY_COUNT),
    FAULT(backends[0].address.ip.family, UINT8_MAX),
    FAULT(backends[0].address.ip.family, ADDR_UNIX),
    FAULT(backends[0].slot, SB_SLOTS_MAX),
    FAULT(backends[0].slot, UINT32_MAX),
    FAULT(backends[0].row, BACKENDS_MAX),
    FAULT(backends[0].weight, 65536),
    FAULT(backends[0].first_check, 3),
    FAULT(backends[0].first_check, UINT32_MAX),
    FAULT(backends[0].n_checks, 3),
    FAULT(backends[0].n_checks, UINT32_MAX),
    FAULT(backends[0].admin, ADMIN_COUNT),
    FAULT(backends[0].backup, 2),
    FAULT(backends[0].max_connections, 0),
    FAULT(backends[0].max_connections, 74),
    FAULT(backends[0].resume_connections, 0),
    FAULT(backends[0].resume_connections, 101),
    FAULT(backends[0].connect_rate.burst, 0),
    FAULT(backends[0].connect_rate.interval_ns, UINT64_MAX / 40 + 1),
    FAULT(checks[0].kind[0], 0),
    FAULT(checks[0].port, 65536),
    FAULT(header.n_text_bytes, 14),
    FAULT(header.n_text_bytes, 17),
    FAULT(header.texts_offset, offsetof(struct sample, entries)),
    FAULT(texts[15], 'x'),
    FAULT(pools[1].send_proxy, SEND_PROXY_V1),
    FAULT(header.n_sources, 5),
    FAULT(header.n_sources, 2),
    FAULT(header.sources_offset, offsetof(struct sample, checks)),
    FAULT(header.sources_offset, offsetof(struct sample, sources) + 2),
    FAULT(header.sources_offset, UINT32_MAX - 3),
    FAULT(backends[0].first_source, 1), /* the kernel's choice beside another */
    FAULT(backends[0].first_source, UINT32_MAX),
    FAULT(backends[0].n_sources, 5),
    FAULT(backends[0].n_sources, UINT32_MAX),
    FAULT(backends[2].n_sources, 3),
    FAULT(backends[3].n_sources, 1),
    FAULT(sources[0].ip.family, ADDR_IPV6),
    FAULT(sources[0].ip.family, ADDR_NONE),
    FAULT(sources[1].ip.family, ADDR_FAMILY_COUNT),
    FAULT(sources[1].pair, SB_PAIRS_MAX),
};

START_TEST(each_fault_is_found)
{
    const struct fault *fault = &faults[_i];

    memcpy((char *)&sample + fault->offset, &fault->value, fault->width); /* little-endian */
    ck_assert_int_eq(check_sample(), -EINVAL);
}
END_TEST

/* Texts that go on to the end of their room. */
START_TEST(endless_texts_are_found)
{
    char *const texts[] = {sample.services[1].name, sample.pools[1].name, sample.backends[1].name,
                           sample.checks[1].kind};

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        memset(texts[i], 'x', NAME_BYTES_MAX);
        ck_assert_int_eq(check_sample(), -EINVAL);
        texts[i][NAME_BYTES_MAX - 1] = '\0';
        ck_assert_int_eq(check_sample(), 0);
    }
    memset(sample.backends[3].address.path, 'x', ADDR_UNIX_MAX);
    ck_assert_int_eq(check_sample(), -EINVAL);
    sample.backends[3].address.path[ADDR_UNIX_MAX - 1] = '\0';
    memset(sample.listeners[0].address.path, 'x', ADDR_UNIX_MAX);
    ck_assert_int_eq(check_sample(), -EINVAL);
}
END_TEST

START_TEST(more_checks_than_a_pool_may_have)
{
    enum { N = CHECKS_MAX + 1 };
    size_t size = sizeof(sample) + N * sizeof(struct snapshot_check);
    struct sample *large = calloc(1, size);

    memcpy(large, &sample, sizeof(sample));
    struct snapshot_check *checks = (struct snapshot_check *)(large + 1);
    for (int i = 0; i < N; i++) {
        strcpy(checks[i].kind, "tcp");
        strcpy(checks[i].title, "tcp");
    }
    large->header.size_bytes = size;
    large->header.checks_offset = sizeof(sample);
    large->header.n_checks = N;
    large->backends[0].n_checks = N - 1;
    ck_assert_int_eq(snapshot_check(large, size), 0);
    large->backends[0].n_checks = N;
    ck_assert_int_eq(snapshot_check(large, size), -EINVAL);
    free(large);
}
END_TEST

/* More of anything than limits.h allows, though there would be room for it. */
START_TEST(counts_are_bounded)
{
    static const struct {
        size_t n_offset;
        size_t offset_offset;
        size_t item_bytes;
        uint32_t max;
    } arrays[] = {
        {offsetof(struct snapshot_header, n_services),
         offsetof(struct snapshot_header, services_offset), sizeof(struct snapshot_service),
         SERVICES_MAX},
        {offsetof(struct snapshot_header, n_pools), offsetof(struct snapshot_header, pools_offset),
         sizeof(struct snapshot_pool), POOLS_MAX},
        {offsetof(struct snapshot_header, n_backends),
         offsetof(struct snapshot_header, backends_offset), sizeof(struct snapshot_backend),
         BACKENDS_MAX},
        {offsetof(struct snapshot_header, n_checks),
         offsetof(struct snapshot_header, checks_offset), sizeof(struct snapshot_check),
         (POOLS_MAX + BACKENDS_MAX) * CHECKS_MAX},
    };
    size_t item = arrays[_i].item_bytes;
    size_t size = sizeof(sample) + (arrays[_i].max + 1) * item;
    char *large = calloc(1, size);

    for (size_t i = 0; i < 2; i++)
        sample.services[i].first_listener = sample.services[i].n_listeners = 0;
    sample.header.n_listeners = 0;
    memcpy(large, &sample, sizeof(sample));
    bool are_checks = item == sizeof(struct snapshot_check);
    for (size_t i = 0; i <= arrays[_i].max; i++) {
        char *at = large + sizeof(sample) + i * item;
        *at = 'n'; /* all have the name first */
        if (are_checks)
            at[offsetof(struct snapshot_check, title)] = 'n';
    }
    struct snapshot_header *header = (struct snapshot_header *)large;
    header->size_bytes = size;
    memcpy(large + arrays[_i].offset_offset, &(uint32_t){sizeof(sample)}, 4);
    memcpy(large + arrays[_i].n_offset, &arrays[_i].max, 4);
    ck_assert_int_eq(snapshot_check(large, size), 0);
    memcpy(large + arrays[_i].n_offset, &(uint32_t){arrays[_i].max + 1}, 4);
    ck_assert_int_eq(snapshot_check(large, size), -EINVAL);
    free(large);
}
END_TEST

START_TEST(listeners_are_bounded)
{
    size_t size = sizeof(sample) + (LISTENERS_MAX + 1) * sizeof(struct snapshot_listener);
    struct sample *large = calloc(1, size);

    sample.header.listeners_offset = sizeof(sample);
    sample.header.n_listeners = LISTENERS_MAX;
    sample.header.size_bytes = size;
    sample.services[0].n_listeners = LISTENERS_MAX;
    sample.services[1].n_listeners = 0;
    memcpy(large, &sample, sizeof(sample));
    struct snapshot_listener *listeners = (struct snapshot_listener *)(large + 1);
    for (size_t i = 0; i <= LISTENERS_MAX; i++)
        listeners[i].address = ipv4(1);
    ck_assert_int_eq(snapshot_check(large, size), 0);
    large->header.n_listeners++;
    large->services[0].n_listeners++;
    ck_assert_int_eq(snapshot_check(large, size), -EINVAL);
    free(large);
}
END_TEST

/* Reads as a reader would, on every path that the check has promised. Returns something to be used.
 */
static uint64_t walk(const struct snapshot_header *s)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < s->n_services; i++) {
        const struct snapshot_service *service = &snapshot_services(s)[i];
        sum += strlen(service->name) + snapshot_pools(s)[service->pool].n_backends;
        if (service->fallback_pool != SNAPSHOT_NONE)
            sum += snapshot_pools(s)[service->fallback_pool].n_backends;
        for (uint32_t l = 0; l < service->n_listeners; l++)
            sum += strlen(snapshot_listeners(s)[service->first_listener + l].address.path);
    }
    for (uint32_t i = 0; i < s->n_listeners; i++)
        sum += snapshot_services(s)[snapshot_listeners(s)[i].service].row;
    for (uint32_t p = 0; p < s->n_pools; p++) {
        const struct snapshot_pool *pool = &snapshot_pools(s)[p];
        for (uint32_t b = 0; b < pool->reuse.reset_send_bytes; b++)
            sum += (unsigned char)*snapshot_text(s, pool->reuse.reset_send + b);
        for (uint32_t b = 0; b < pool->reuse.reset_expect_bytes; b++)
            sum += (unsigned char)*snapshot_text(s, pool->reuse.reset_expect + b);
        for (uint32_t e = 0; e < pool->n_entries; e++) {
            uint32_t index = snapshot_entries(s)[pool->first_entry + e];
            sum += snapshot_backends(s)[pool->first_backend + index].row;
        }
        for (uint32_t b = 0; b < pool->n_backends; b++) {
            const struct snapshot_backend *backend = &snapshot_backends(s)[pool->first_backend + b];
            sum += strlen(backend->name) + strlen(backend->address.path);
            for (uint32_t c = 0; c < backend->n_checks; c++)
                sum += strlen(snapshot_checks(s)[backend->first_check + c].kind);
        }
    }
    return sum;
}

/* On the heap, exactly as large as it says, so that a step outside is noticed. */
START_TEST(noise_is_survived)
{
    struct sample *noisy = malloc(sizeof(sample));
    volatile uint64_t used = 0;
    int passed = 0;

    srandom(3);
    for (int i = 0; i < 50000; i++) {
        memcpy(noisy, &sample, sizeof(sample));
        for (int n = 1 + (int)(random() % 3); n > 0; n--) {
            /* half of it in the header, where it matters most */
            size_t room = random() % 2 == 0 ? sizeof(sample.header) : sizeof(sample);
            ((unsigned char *)noisy)[(size_t)random() % room] = (unsigned char)random();
        }
        if (snapshot_check(noisy, sizeof(sample)) == 0) {
            used = used + walk(&noisy->header);
            passed++;
        }
    }
    ck_assert_int_gt(passed, 0);
    free(noisy);
}
END_TEST

START_TEST(random_bytes_are_refused)
{
    srandom(4);
    for (int i = 0; i < 5000; i++) {
        size_t size = (size_t)random() % 600;
        unsigned char *bytes = malloc(size + 1);
        for (size_t b = 0; b < size; b++)
            bytes[b] = (unsigned char)random();
        ck_assert_int_eq(snapshot_check(bytes, size), -EINVAL);
        if (size >= sizeof(struct snapshot_header)) {
            struct snapshot_header *header = (struct snapshot_header *)bytes;
            header->magic = SNAPSHOT_MAGIC;
            header->layout = SNAPSHOT_LAYOUT;
            header->size_bytes = size;
            ck_assert_int_eq(snapshot_check(bytes, size), -EINVAL);
        }
        free(bytes);
    }
}
END_TEST

/* A memfd with the sample in it. */
static int make_file(int seals)
{
    int fd = memfd_create("snapshot", MFD_ALLOW_SEALING | MFD_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, &sample, sizeof(sample)), sizeof(sample));
    if (seals != 0)
        ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, seals), 0);
    return fd;
}

START_TEST(a_sealed_one_is_mapped)
{
    int fd = make_file(F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    const struct snapshot_header *snapshot = snapshot_map(fd);

    ck_assert_ptr_nonnull(snapshot);
    close(fd); /* the mapping does not need it */
    ck_assert_str_eq(snapshot_services(snapshot)[1].name, "mail");
    snapshot_unmap(snapshot);
    snapshot_unmap(NULL);
}
END_TEST

/* Left to whoever made it: see snapshot_map(). */
START_TEST(entries_are_not_looked_at_when_it_is_mapped)
{
    sample.entries[7] = UINT16_MAX;
    int fd = make_file(F_SEAL_WRITE | F_SEAL_SHRINK);
    const struct snapshot_header *snapshot = snapshot_map(fd);

    ck_assert_ptr_nonnull(snapshot);
    ck_assert_int_eq(snapshot_check(snapshot, sizeof(sample)), -EINVAL);
    snapshot_unmap(snapshot);
    close(fd);
}
END_TEST

/* Every place of a table is looked at by the check. */
START_TEST(each_entry_is_looked_at)
{
    for (uint32_t e = 0; e < 7; e++) {
        uint16_t *entry = &sample.entries[sample.pools[1].first_entry + e];
        uint16_t good = *entry;
        *entry = (uint16_t)sample.pools[1].n_backends;
        ck_assert_int_eq(snapshot_check(&sample, sizeof(sample)), -EINVAL);
        *entry = good;
    }
    ck_assert_int_eq(snapshot_check(&sample, sizeof(sample)), 0);
}
END_TEST

START_TEST(unsealed_ones_are_refused)
{
    static const int seals[] = {0, F_SEAL_WRITE, F_SEAL_SHRINK, F_SEAL_GROW};

    for (size_t i = 0; i < sizeof(seals) / sizeof(seals[0]); i++) {
        int fd = make_file(seals[i]);
        errno = 0;
        ck_assert_ptr_null(snapshot_map(fd));
        ck_assert_int_eq(errno, EINVAL);
        close(fd);
    }
}
END_TEST

START_TEST(files_on_disk_are_refused)
{
    FILE *file = tmpfile();

    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(&sample, sizeof(sample), 1, file), 1);
    ck_assert_int_eq(fflush(file), 0);
    ck_assert_ptr_null(snapshot_map(fileno(file)));
    ck_assert_int_eq(errno, EINVAL);
    fclose(file);
}
END_TEST

START_TEST(bad_files_are_refused)
{
    ck_assert_ptr_null(snapshot_map(-1));
    ck_assert_int_eq(errno, EBADF);

    int pipes[2];
    ck_assert_int_eq(pipe(pipes), 0);
    ck_assert_ptr_null(snapshot_map(pipes[0]));
    ck_assert_int_eq(errno, EINVAL);
    close(pipes[0]);
    close(pipes[1]);

    sample.backends[0].slot = SB_SLOTS_MAX;
    int fd = make_file(F_SEAL_WRITE | F_SEAL_SHRINK);
    ck_assert_ptr_null(snapshot_map(fd));
    ck_assert_int_eq(errno, EINVAL);
    close(fd);

    fd = memfd_create("empty", MFD_ALLOW_SEALING | MFD_CLOEXEC);
    ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK), 0);
    ck_assert_ptr_null(snapshot_map(fd));
    ck_assert_int_eq(errno, EINVAL);
    close(fd);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pool snapshot");
    TCase *check = tcase_create("check");
    TCase *map = tcase_create("map");

    tcase_set_timeout(check, 60);
    tcase_add_checked_fixture(check, setup, NULL);
    tcase_add_test(check, a_good_one_passes);
    tcase_add_test(check, an_empty_one_passes);
    tcase_add_test(check, extremes_pass);
    tcase_add_test(check, odd_sizes_are_refused);
    tcase_add_loop_test(check, each_fault_is_found, 0, sizeof(faults) / sizeof(faults[0]));
    tcase_add_test(check, endless_texts_are_found);
    tcase_add_test(check, more_checks_than_a_pool_may_have);
    tcase_add_loop_test(check, counts_are_bounded, 0, 4);
    tcase_add_test(check, listeners_are_bounded);
    tcase_add_test(check, each_entry_is_looked_at);
    tcase_add_test(check, noise_is_survived);
    tcase_add_test(check, random_bytes_are_refused);
    suite_add_tcase(suite, check);

    tcase_add_checked_fixture(map, setup, NULL);
    tcase_add_test(map, a_sealed_one_is_mapped);
    tcase_add_test(map, entries_are_not_looked_at_when_it_is_mapped);
    tcase_add_test(map, unsealed_ones_are_refused);
    tcase_add_test(map, files_on_disk_are_refused);
    tcase_add_test(map, bad_files_are_refused);
    suite_add_tcase(suite, map);

    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
