/*
 * Address and network texts: no input may crash a parser, an accepted one must survive being
 * printed and parsed again, and its way to the kernel's form and back.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void check_addr(const char *text)
{
    struct addr addr;
    struct addr back;
    struct sockaddr_storage ss;
    const char *problem = NULL;
    char buf[ADDR_TEXT_MAX];
    int rc = addr_parse(text, true, &addr, &problem);

    expect((rc < 0) == (problem != NULL));
    if (rc != 0) {
        return;
    }
    expect(addr_parse(addr_format(&addr, buf), true, &back, &problem) == 0);
    expect(addr_equal(&addr, &back));
    addr_from_sockaddr((const struct sockaddr *)&ss, addr_to_sockaddr(&addr, &ss), &back);
    expect(addr_equal(&addr, &back));
}

static void check_split(const char *text)
{
    char host[32];
    const char *problem = NULL;
    uint16_t port;
    bool is_unix;
    int rc = addr_split(text, host, sizeof(host), &port, &is_unix, &problem);

    expect((rc != 0) == (problem != NULL));
    expect(rc != 0 || strlen(host) < sizeof(host));
}

static void check_cidr(const char *text)
{
    struct addr_cidr cidr;
    const char *problem = NULL;

    if (addr_cidr_parse(text, &cidr, &problem) == 0) {
        expect(addr_cidr_contains(&cidr, &cidr.ip));
    } else {
        expect(problem != NULL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1); /* of just this size, for the sanitizer to see an overrun */

    expect(text != NULL);
    if (size > 0) {
        memcpy(text, data, size);
    }
    text[size] = '\0';
    check_addr(text);
    check_split(text);
    check_cidr(text);
    free(text);
    return 0;
}
