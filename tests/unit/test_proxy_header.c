/* PROXY headers: byte for byte as the specification has them, and never more than there is room. */
#include "proxy/proxy_header.h"

#include <arpa/inet.h>
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))
#define SIGNATURE    "\r\n\r\n\0\r\nQUIT\n"
#define FULL         "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
#define ROUNDS       20000

/* Bytes that are no text: both are string literals. */
#define BYTES(literal) (literal), sizeof(literal) - 1

/* An address as in a configuration, and "unix:" and "" for the two that are none. */
static struct addr_ip ip_of(const char *text)
{
    struct addr addr = {0};
    const char *problem = NULL;

    if (strcmp(text, "unix:") == 0) {
        addr.ip.family = ADDR_UNIX;
    } else if (text[0] != '\0') {
        ck_assert_int_eq(addr_parse(text, true, &addr, &problem), 0);
    }
    return addr.ip;
}

static const struct {
    const char *client, *destination;
    const char *text;  /* version 1 */
    const char *bytes; /* version 2, after the signature */
    size_t n_bytes;
} headers[] = {
    /* section 2.1's example */
    {"192.168.0.1:56324", "192.168.0.11:443", "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n",
     BYTES("\x21\x11\x00\x0c\xc0\xa8\x00\x01\xc0\xa8\x00\x0b\xdc\x04\x01\xbb")},
    /* the longest of each, with the lengths of section 2.1 */
    {"255.255.255.255:65535", "255.255.255.255:65535",
     "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
     BYTES("\x21\x11\x00\x0c\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")},
    {"[" FULL "]:65535", "[" FULL "]:65535", "PROXY TCP6 " FULL " " FULL " 65535 65535\r\n",
     BYTES("\x21\x21\x00\x24\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
           "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")},
    {"0.0.0.0:0", "127.0.0.1:1", "PROXY TCP4 0.0.0.0 127.0.0.1 0 1\r\n",
     BYTES("\x21\x11\x00\x0c\0\0\0\0\x7f\0\0\x01\0\0\0\x01")},
    {"[2001:db8::1]:4660", "[::1]:80", "PROXY TCP6 2001:db8::1 ::1 4660 80\r\n",
     BYTES("\x21\x21\x00\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
           "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\x12\x34\x00\x50")},
    /* the interface of a link-local address is nobody else's business */
    {"[fe80::1%3]:5", "[fe80::2%3]:6", "PROXY TCP6 fe80::1 fe80::2 5 6\r\n",
     BYTES("\x21\x21\x00\x24\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"
           "\xfe\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\x02\0\x05\0\x06")},
    /* both IPv4, mapped or not */
    {"[::ffff:10.1.2.3]:7", "[::ffff:10.4.5.6]:8", "PROXY TCP4 10.1.2.3 10.4.5.6 7 8\r\n",
     BYTES("\x21\x11\x00\x0c\x0a\x01\x02\x03\x0a\x04\x05\x06\0\x07\0\x08")},
    {"10.1.2.3:7", "[::ffff:10.4.5.6]:8", "PROXY TCP4 10.1.2.3 10.4.5.6 7 8\r\n",
     BYTES("\x21\x11\x00\x0c\x0a\x01\x02\x03\x0a\x04\x05\x06\0\x07\0\x08")},
    /* mixed: IPv6, and no address with dots in it */
    {"[::ffff:10.1.2.3]:7", "[2001:db8::1]:8", "PROXY TCP6 ::ffff:a01:203 2001:db8::1 7 8\r\n",
     BYTES("\x21\x21\x00\x24\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\x01\x02\x03"
           "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\0\x07\0\x08")},
    {"[2001:db8::1]:8", "0.0.0.9:7", "PROXY TCP6 2001:db8::1 ::ffff:0:9 8 7\r\n",
     BYTES("\x21\x21\x00\x24\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
           "\0\0\0\0\0\0\0\0\0\0\xff\xff\0\0\0\x09\0\x08\0\x07")},
    {"[::1.2.3.4]:1", "[::1]:2", "PROXY TCP6 ::102:304 ::1 1 2\r\n",
     BYTES("\x21\x21\x00\x24\0\0\0\0\0\0\0\0\0\0\0\0\x01\x02\x03\x04"
           "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\x01\0\x02")},
    /* no addresses */
    {"unix:", "unix:", "PROXY UNKNOWN\r\n", BYTES("\x20\x00\x00\x00")},
    {"unix:", "127.0.0.1:1", "PROXY UNKNOWN\r\n", BYTES("\x20\x00\x00\x00")},
    {"127.0.0.1:1", "", "PROXY UNKNOWN\r\n", BYTES("\x20\x00\x00\x00")},
    {"", "", "PROXY UNKNOWN\r\n", BYTES("\x20\x00\x00\x00")},
};

START_TEST(headers_are_as_specified)
{
    struct addr_ip client = ip_of(headers[_i].client);
    struct addr_ip destination = ip_of(headers[_i].destination);
    const char *text = headers[_i].text;
    uint8_t got[PROXY_HEADER_MAX];
    size_t n = proxy_header_write(SEND_PROXY_V1, &client, &destination, got, sizeof(got));

    ck_assert_uint_eq(n, strlen(text));
    ck_assert_mem_eq(got, text, n);
    n = proxy_header_write(SEND_PROXY_V2, &client, &destination, got, sizeof(got));
    ck_assert_uint_eq(n, 12 + headers[_i].n_bytes);
    ck_assert_mem_eq(got, SIGNATURE, 12);
    ck_assert_mem_eq(got + 12, headers[_i].bytes, headers[_i].n_bytes);
    n = proxy_header_write(SEND_PROXY_OFF, &client, &destination, got, sizeof(got));
    ck_assert_uint_eq(n, 0);
}
END_TEST

/* Whole, or not a byte: for every version and every room, the memory ending with the room. */
START_TEST(no_room_is_overrun)
{
    struct addr_ip client = ip_of(headers[_i].client);
    struct addr_ip destination = ip_of(headers[_i].destination);
    size_t wrong = 0, longest = 0;

    for (int version = SEND_PROXY_OFF; version < SEND_PROXY_COUNT; version++) {
        uint8_t whole[PROXY_HEADER_MAX];
        size_t n = proxy_header_write((enum send_proxy)version, &client, &destination, whole,
                                      sizeof(whole));

        longest = n > longest ? n : longest;
        for (size_t room = 0; room <= PROXY_HEADER_MAX; room++) {
            uint8_t *out = malloc(room + 1), untouched[PROXY_HEADER_MAX + 1];
            size_t got;

            memset(out, 0xa5, room + 1);
            memset(untouched, 0xa5, sizeof(untouched));
            got = proxy_header_write((enum send_proxy)version, &client, &destination, out, room);
            wrong += got != (n <= room ? n : 0);
            wrong += memcmp(out, whole, got) != 0;
            wrong += memcmp(out + got, untouched, room + 1 - got) != 0;
            free(out);
        }
    }
    ck_assert_uint_eq(wrong, 0);
    ck_assert_uint_gt(longest, 0);
    ck_assert_uint_le(longest, PROXY_HEADER_MAX);
}
END_TEST

/* --- any addresses, read back --- */

static uint64_t random_state = 1;

/* xorshift64: Marsaglia, "Xorshift RNGs", 2003 */
static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* Zeros are frequent, and so are mapped addresses. */
static struct addr_ip random_ip(void)
{
    static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};
    struct addr_ip ip = {.family = next_random() % 2 ? ADDR_IPV4 : ADDR_IPV6,
                         .port = (uint16_t)next_random()};
    size_t n = ip.family == ADDR_IPV4 ? 4 : 16;

    for (size_t i = 0; i < n; i++) {
        ip.bytes[i] = next_random() % 2 ? (uint8_t)next_random() : 0;
    }
    if (n == 16 && next_random() % 3 == 0) {
        memcpy(ip.bytes, prefix, sizeof(prefix));
    }
    return ip;
}

/* As 16 bytes of IPv6, so that both families compare. */
static void as_ipv6(const struct addr_ip *ip, uint8_t out[16])
{
    static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};

    memcpy(out, prefix, sizeof(prefix));
    memcpy(out + 12, ip->bytes, 4);
    if (ip->family == ADDR_IPV6) {
        memcpy(out, ip->bytes, 16);
    }
}

static bool is_same(const struct addr_ip *ip, bool is_ipv4, const void *bytes, unsigned port)
{
    struct addr_ip read = {.family = is_ipv4 ? ADDR_IPV4 : ADDR_IPV6};
    uint8_t a[16], b[16];

    memcpy(read.bytes, bytes, is_ipv4 ? 4 : 16);
    as_ipv6(ip, a);
    as_ipv6(&read, b);
    return memcmp(a, b, 16) == 0 && ip->port == port;
}

static bool reads_back_v1(const struct addr_ip *client, const struct addr_ip *destination)
{
    char text[PROXY_HEADER_MAX + 1], family, from[40], to[40], again[PROXY_HEADER_MAX + 1];
    uint8_t bytes[2][16];
    unsigned ports[2];
    size_t n = proxy_header_write(SEND_PROXY_V1, client, destination, text, PROXY_HEADER_MAX);
    int domain;

    text[n] = '\0';
    if (sscanf(text, "PROXY TCP%c %39s %39s %u %u", &family, from, to, &ports[0], &ports[1]) != 5) {
        return false;
    }
    (void)snprintf(again, sizeof(again), "PROXY TCP%c %s %s %u %u\r\n", family, from, to, ports[0],
                   ports[1]);
    domain = family == '4' ? AF_INET : AF_INET6;
    return strcmp(again, text) == 0 && (family == '4' || strchr(text, '.') == NULL) &&
           inet_pton(domain, from, bytes[0]) == 1 && inet_pton(domain, to, bytes[1]) == 1 &&
           is_same(client, family == '4', bytes[0], ports[0]) &&
           is_same(destination, family == '4', bytes[1], ports[1]);
}

static bool reads_back_v2(const struct addr_ip *client, const struct addr_ip *destination)
{
    uint8_t bytes[PROXY_HEADER_MAX];
    size_t n = proxy_header_write(SEND_PROXY_V2, client, destination, bytes, sizeof(bytes));
    bool is_ipv4 = n == 16 + 12;
    size_t size = is_ipv4 ? 4 : 16;
    const uint8_t *ports = bytes + 16 + 2 * size;

    return (is_ipv4 || n == 16 + 36) && bytes[12] == 0x21 && bytes[13] == (is_ipv4 ? 0x11 : 0x21) &&
           (size_t)(bytes[14] << 8 | bytes[15]) == n - 16 &&
           is_same(client, is_ipv4, bytes + 16, (unsigned)(ports[0] << 8 | ports[1])) &&
           is_same(destination, is_ipv4, bytes + 16 + size, (unsigned)(ports[2] << 8 | ports[3]));
}

START_TEST(any_addresses_read_back)
{
    int wrong = 0;

    for (int i = 0; i < ROUNDS; i++) {
        struct addr_ip client = random_ip(), destination = random_ip();

        wrong += !reads_back_v1(&client, &destination);
        wrong += !reads_back_v2(&client, &destination);
    }
    ck_assert_int_eq(wrong, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("proxy/proxy_header");
    TCase *tc = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_loop_test(tc, headers_are_as_specified, 0, COUNT(headers));
    tcase_add_loop_test(tc, no_room_is_overrun, 0, COUNT(headers));
    tcase_add_test(tc, any_addresses_read_back);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
