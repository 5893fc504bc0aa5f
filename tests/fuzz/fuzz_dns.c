/*
 * What name servers say, and what stands in the two files: no bytes may crash a reader, and what is
 * taken of them is bounded and sound. The first byte chooses the type asked for, or a file.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dns/files.h"
#include "dns/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void check_reply(enum dns_type type, const struct dns_reply *reply)
{
    expect(reply->n >= 1 && reply->n <= DNS_ANSWERS_MAX && reply->ttl_s <= INT32_MAX);
    for (size_t i = 0; i < reply->n; i++) {
        if (type == DNS_SRV) {
            size_t len = strnlen(reply->targets[i].name, DNS_NAME_MAX);
            expect(len > 0 && len < DNS_NAME_MAX && reply->targets[i].port > 0);
        } else {
            expect(reply->ips[i].family == (type == DNS_A ? ADDR_IPV4 : ADDR_IPV6));
        }
    }
}

/* The question has the id of the answer, and its name as far as that can be read: mutations then
 * get behind both. */
static void read_answer(enum dns_type type, const uint8_t *bytes, size_t n)
{
    struct dns_question question = {.name = "www.example.net", .type = type};
    struct dns_reply reply;
    uint8_t query[DNS_QUERY_MAX];
    question.id = n >= 2 ? (uint16_t)(bytes[0] << 8 | bytes[1]) : 0;
    enum dns_outcome outcome = dns_parse(&question, bytes, n, &reply);
    expect(outcome < DNS_OUTCOME_COUNT);
    if (outcome == DNS_OK) {
        check_reply(type, &reply);
    }
    size_t len = n < DNS_NAME_MAX ? n : DNS_NAME_MAX - 1;
    memcpy(question.name, bytes, len);
    question.name[len] = '\0';
    int built = dns_build(&question, query);
    expect(built < 0 || (built > 16 && built <= 12 + 255 + 4));
}

static void read_files(const char *text)
{
    struct addr_ip found[DNS_ANSWERS_MAX];
    struct dns_resolv resolv;
    dns_resolv_parse(text, &resolv);
    expect(resolv.n_servers >= 1 && resolv.n_servers <= DNS_SERVERS_MAX);
    expect(resolv.n_search <= DNS_SEARCH_MAX && resolv.timeout_ms >= 1000 && resolv.attempts >= 1);
    struct dns_hosts *hosts = dns_hosts_parse(text);
    expect(hosts != NULL);
    for (size_t i = 0; i < dns_hosts_find(hosts, "b", found) && i < DNS_ANSWERS_MAX; i++) {
        expect(found[i].family == ADDR_IPV4 || found[i].family == ADDR_IPV6);
    }
    dns_hosts_free(hosts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t n = size > 0 ? size - 1 : 0;
    char *bytes = malloc(n + 1); /* a copy, so that a byte too many is seen */
    expect(bytes != NULL);
    if (n > 0) {
        memcpy(bytes, data + 1, n);
    }
    unsigned choice = size > 0 ? data[0] % (DNS_TYPE_COUNT + 1) : 0;
    if (choice < DNS_TYPE_COUNT) {
        bytes = realloc(bytes, n > 0 ? n : 1);
        expect(bytes != NULL);
        read_answer((enum dns_type)choice, (const uint8_t *)bytes, n);
    } else {
        bytes[n] = '\0';
        read_files(bytes);
    }
    free(bytes);
    return 0;
}
