/* Addresses: what is accepted, what is refused and why, and the way to the kernel and back. */
#include "base/addr.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))
#define PATH_START   (offsetof(struct sockaddr_un, sun_path))
/* 107 characters, the most */
#define LONG_PATH                                                                                  \
    "/234567890123456789012345678901234567890123456789012345678901234567890"                       \
    "1234567890123456789012345678901234567"

static const struct {
    const char *text;
    const char *printed; /* NULL: the same */
    enum addr_family family;
    uint16_t port;
} good[] = {
    {"127.0.0.1:80", NULL, ADDR_IPV4, 80},
    {"0.0.0.0:1", NULL, ADDR_IPV4, 1},
    {"255.255.255.255:65535", NULL, ADDR_IPV4, 65535},
    {"[::]:80", NULL, ADDR_IPV6, 80},
    {"[::1]:8080", NULL, ADDR_IPV6, 8080},
    {"[2001:DB8:0:0:0:0:0:1]:443", "[2001:db8::1]:443", ADDR_IPV6, 443},
    {"[::ffff:1.2.3.4]:5", NULL, ADDR_IPV6, 5},
    {"[fe80::1]:1", NULL, ADDR_IPV6, 1},
    {"[fe80::1%7]:1", NULL, ADDR_IPV6, 1},
    {"[febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff%4294967295]:65535", NULL, ADDR_IPV6, 65535},
    {"unix:/run/x.sock", NULL, ADDR_UNIX, 0},
    {"unix:@abstract", NULL, ADDR_UNIX, 0},
    {"unix:relative:80", NULL, ADDR_UNIX, 0},
    {"unix:" LONG_PATH, NULL, ADDR_UNIX, 0},
};

START_TEST(good_addresses_parse_and_print)
{
    struct addr addr;
    struct addr again;
    const char *problem = NULL;
    char buf[ADDR_TEXT_MAX];

    memset(&addr, 0xEE, sizeof(addr));
    ck_assert_int_eq(addr_parse(good[_i].text, false, &addr, &problem), 0);
    ck_assert_uint_eq(addr.ip.family, good[_i].family);
    ck_assert_uint_eq(addr.ip.port, good[_i].port);
    ck_assert_ptr_eq(addr_format(&addr, buf), buf);
    ck_assert_str_eq(buf, good[_i].printed != NULL ? good[_i].printed : good[_i].text);
    memset(&again, 0x11, sizeof(again));
    ck_assert_int_eq(addr_parse(buf, false, &again, &problem), 0);
    ck_assert(addr_equal(&addr, &again));
    ck_assert_ptr_null(problem);
}
END_TEST

static const struct {
    const char *text;
    const char *part; /* of the problem */
} bad[] = {
    {"", "no address"},
    {"127.0.0.1", "no port; write HOST:PORT"},
    {"host", "no port; write HOST:PORT"},
    {"127.0.0.1:", "no port after the colon"},
    {":80", "no host"},
    {":", "no host"},
    {"127.0.0.1:0", "port out of range; 1 to 65535"},
    {"127.0.0.1:65536", "port out of range; 1 to 65535"},
    {"127.0.0.1:99999999999999999999999999", "port out of range; 1 to 65535"},
    {"127.0.0.1:080", "starts with a zero"},
    {"127.0.0.1:00", "starts with a zero"},
    {"127.0.0.1:+80", "not a number"},
    {"127.0.0.1:-1", "not a number"},
    {"127.0.0.1: 80", "not a number"},
    {"127.0.0.1:80 ", "not a number"},
    {"127.0.0.1:http", "not a number"},
    {"127.0.0.1:0x50", "not a number"},
    {"1.2.3:80", "not an IPv4 address"},
    {"1.2.3.256:80", "not an IPv4 address"},
    {"1.2.3.4.5:80", "not an IPv4 address"},
    {"01.2.3.4:80", "not an IPv4 address"},
    {"1.2.3.04:80", "not an IPv4 address"},
    {"2130706433:80", "not an IPv4 address"},
    {"0x7f000001:80", "not an IPv4 address"},
    {"0x7f.0.0.0x1:80", "not an IPv4 address"},
    {"1.2.3.4%1:80", "not a host name"},
    {" 1.2.3.4:80", "not a host name"},
    {"127.0.0.1:80/path", "a path after the port"},
    {"host:80/", "a path after the port"},
    {"http://host:80", "a URL, with a scheme; write HOST:PORT alone"},
    {"http://[::1]:80/", "a URL, with a scheme"},
    {"tcp://127.0.0.1", "a URL, with a scheme"},
    {"::1:80", "too many colons"},
    {"::1", "too many colons"},
    {"2001:db8::1:80", "too many colons"},
    {"[::1", "no closing bracket"},
    {"[::1]", "no port; write [ADDRESS]:PORT"},
    {"[::1]80", "no colon after the bracket"},
    {"[::1]:", "no port after the colon"},
    {"[::1]:0", "out of range"},
    {"[]:80", "not an IPv6 address"},
    {"[1.2.3.4]:80", "not an IPv6 address"},
    {"[host]:80", "not an IPv6 address"},
    {"[[::1]]:80", "no colon after the bracket"},
    {"[::1::2]:80", "not an IPv6 address"},
    {"[::1%1]:80", "link-local"},
    {"[fec0::1%1]:80", "link-local"},
    {"[fe80::1%]:80", "link-local"},
    {"[fe80::1%0]:80", "link-local"},
    {"[fe80::1%4294967296]:80", "link-local"},
    {"[fe80::1%no-such-interface-here]:80", "link-local"},
    {"[fe80::1%nosuch0]:80", "link-local"},
    {"host name:80", "not a host name"},
    {"host/path:80", "not a host name"},
    {"a..b:80", "not a host name"},
    {".a:80", "not a host name"},
    {".:80", "not a host name"},
    {"caf\xC3\xA9:80", "not a host name"},
    {"*:80", "not a host name"},
    {"unix:", "no path"},
    {"unix:@", "no path"},
    {"unix:" LONG_PATH "x", "path too long"},
    {"unix:/a\nb", "control character"},
};

START_TEST(bad_addresses_are_refused)
{
    struct addr addr;
    struct addr untouched;
    const char *problem = NULL;

    memset(&addr, 0xEE, sizeof(addr));
    memset(&untouched, 0xEE, sizeof(untouched));
    ck_assert_int_eq(addr_parse(bad[_i].text, false, &addr, &problem), -EINVAL);
    ck_assert_ptr_nonnull(problem);
    ck_assert_msg(strstr(problem, bad[_i].part) != NULL, "%s: %s", bad[_i].text, problem);
    ck_assert_mem_eq(&addr, &untouched, sizeof(addr));
}
END_TEST

static const struct {
    const char *ip;
    const char *part; /* of the problem; NULL: none */
} peers[] = {
    {"0.0.0.0", "127.0.0.1 for this machine"},
    {"::", "[::1] for this machine"},
    {"::ffff:0.0.0.0", "stands for any address"},
    {"255.255.255.255", "broadcast"},
    {"::ffff:255.255.255.255", "broadcast"},
    {"224.0.0.1", "multicast"},
    {"239.255.255.255", "multicast"},
    {"::ffff:224.0.0.1", "multicast"},
    {"ff02::1", "multicast"},
    {"223.255.255.255", NULL},
    {"127.0.0.1", NULL},
    {"10.0.0.255", NULL},
    {"::1", NULL},
    {"::ffff:10.0.0.1", NULL},
    {"fe80::1", NULL},
};

START_TEST(who_can_be_connected_to)
{
    struct addr_ip ip;
    const char *problem;

    ck_assert_int_eq(addr_parse_ip(peers[_i].ip, &ip), 0);
    problem = addr_ip_judge_peer(&ip);
    ck_assert_int_eq(problem != NULL, peers[_i].part != NULL);
    ck_assert(problem == NULL || strstr(problem, peers[_i].part) != NULL);
}
END_TEST

static const char *const names[] = {
    "localhost:80", "web-1.example.com:443", "a:1",          "example.com.:80", "_srv.x:1",
    "1a:80",        "1.2.3.4a:80",           "10.example:80"};

START_TEST(names_are_left_to_the_resolver)
{
    struct addr addr;
    struct addr untouched;
    const char *problem = NULL;

    memset(&addr, 0xEE, sizeof(addr));
    memset(&untouched, 0xEE, sizeof(untouched));
    ck_assert_int_eq(addr_parse(names[_i], false, &addr, &problem), 1);
    ck_assert_mem_eq(&addr, &untouched, sizeof(addr));
    ck_assert_ptr_null(problem);
}
END_TEST

START_TEST(the_length_of_names_is_bounded)
{
    char text[400];
    struct addr addr;
    const char *problem;

    memset(text, 'a', sizeof(text));
    strcpy(text + 63, ":80");
    ck_assert_int_eq(addr_parse(text, false, &addr, &problem), 1);
    memset(text, 'a', 64);
    strcpy(text + 64, ":80");
    ck_assert_int_eq(addr_parse(text, false, &addr, &problem), -EINVAL);
    for (int i = 0; i < 390; i++) {
        text[i] = i % 2 == 0 ? 'a' : '.';
    }
    strcpy(text + 253, ":80");
    ck_assert_int_eq(addr_parse(text, false, &addr, &problem), 1);
    strcpy(text + 253, "a.a:80");
    text[253] = '.';
    ck_assert_int_eq(addr_parse(text, false, &addr, &problem), -EINVAL);
    ck_assert_ptr_nonnull(strstr(problem, "too long"));
}
END_TEST

START_TEST(port_zero_where_allowed)
{
    struct addr addr;
    const char *problem = NULL;

    ck_assert_int_eq(addr_parse("127.0.0.1:0", true, &addr, &problem), 0);
    ck_assert_uint_eq(addr.ip.port, 0);
    ck_assert_int_eq(addr_parse("name:0", true, &addr, &problem), 1);
    ck_assert_int_eq(addr_parse("name:0", false, &addr, &problem), -EINVAL);
    ck_assert_int_eq(addr_parse("[::1]:00", true, &addr, &problem), -EINVAL);
}
END_TEST

START_TEST(split_parts)
{
    char host[ADDR_TEXT_MAX];
    const char *problem = NULL;
    uint16_t port = 9;
    bool is_unix = true;

    ck_assert_int_eq(addr_split("web.example:80", host, sizeof(host), &port, &is_unix, &problem),
                     0);
    ck_assert_str_eq(host, "web.example");
    ck_assert_uint_eq(port, 80);
    ck_assert(!is_unix);
    ck_assert_int_eq(addr_split("[::1]:443", host, sizeof(host), &port, &is_unix, &problem), 0);
    ck_assert_str_eq(host, "::1");
    ck_assert_uint_eq(port, 443);
    ck_assert_int_eq(addr_split("unix:/a:1", host, sizeof(host), &port, &is_unix, &problem), 0);
    ck_assert_str_eq(host, "/a:1");
    ck_assert_uint_eq(port, 0);
    ck_assert(is_unix);
}
END_TEST

START_TEST(split_respects_the_room)
{
    char host[8] = "keep";
    const char *problem = NULL;
    uint16_t port = 9;
    bool is_unix = false;

    ck_assert_int_eq(addr_split("12345678:80", host, sizeof(host), &port, &is_unix, &problem),
                     -EINVAL);
    ck_assert_ptr_nonnull(problem);
    ck_assert_str_eq(host, "keep");
    ck_assert_uint_eq(port, 9);
    ck_assert_int_eq(addr_split("1234567:80", host, sizeof(host), &port, &is_unix, &problem), 0);
    ck_assert_str_eq(host, "1234567");
}
END_TEST

START_TEST(bare_ips)
{
    static const char *const refused[] = {
        "",          "1.2.3.4:80",
        "[::1]",     "host",
        "1.2.3",     "::1%1",
        "1.2.3.4%1", "fe80::1%",
        "unix:/x",   "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb"};
    struct addr_ip ip;
    char buf[ADDR_TEXT_MAX];

    ck_assert_int_eq(addr_parse_ip("192.0.2.1", &ip), 0);
    ck_assert_uint_eq(ip.family, ADDR_IPV4);
    ck_assert_mem_eq(ip.bytes, "\xC0\x00\x02\x01\0\0\0\0\0\0\0\0\0\0\0\0", 16);
    ck_assert_str_eq(addr_ip_format(&ip, false, buf), "192.0.2.1");
    ck_assert_int_eq(addr_parse_ip("fe80::2%3", &ip), 0);
    ck_assert_uint_eq(ip.scope, 3);
    ck_assert_str_eq(addr_ip_format(&ip, false, buf), "fe80::2%3");
    ip.port = 80;
    ck_assert_str_eq(addr_ip_format(&ip, true, buf), "[fe80::2%3]:80");
    for (int i = 0; i < COUNT(refused); i++) {
        struct addr_ip before = ip;

        ck_assert_msg(addr_parse_ip(refused[i], &ip) == -EINVAL, "%s", refused[i]);
        ck_assert_mem_eq(&ip, &before, sizeof(ip));
    }
}
END_TEST

START_TEST(an_interface_by_name)
{
    struct addr_ip ip;
    char name[IF_NAMESIZE];
    char text[64];

    if (if_indextoname(1, name) == NULL) {
        return; /* nothing here to name */
    }
    (void)snprintf(text, sizeof(text), "fe80::1%%%s", name);
    ck_assert_int_eq(addr_parse_ip(text, &ip), 0);
    ck_assert_uint_eq(ip.scope, 1);
}
END_TEST

START_TEST(none_prints_a_dash)
{
    struct addr none = {0};
    struct addr_ip unix_peer = {.family = ADDR_UNIX};
    struct sockaddr_storage ss;
    char buf[ADDR_TEXT_MAX];

    ck_assert_str_eq(addr_format(&none, buf), "-");
    ck_assert_str_eq(addr_ip_format(&none.ip, false, buf), "-");
    ck_assert_str_eq(addr_ip_format(&unix_peer, true, buf), "unix");
    ck_assert_uint_eq(addr_to_sockaddr(&none, &ss), 0);
    ck_assert_uint_eq(addr_ip_to_sockaddr(&unix_peer, &ss), 0);
}
END_TEST

START_TEST(every_printed_form_fits)
{
    struct addr addr = {.ip = {.family = ADDR_IPV6, .scope = UINT32_MAX, .port = 65535}};
    char buf[ADDR_TEXT_MAX];

    memset(addr.ip.bytes, 0xFE, sizeof(addr.ip.bytes));
    addr.ip.bytes[1] = 0x80;
    ck_assert_str_eq(addr_format(&addr, buf),
                     "[fe80:fefe:fefe:fefe:fefe:fefe:fefe:fefe%4294967295]:65535");
}
END_TEST

START_TEST(to_the_kernel_and_back)
{
    struct addr addr;
    struct addr back;
    struct sockaddr_storage ss;
    const char *problem;
    socklen_t len;

    ck_assert_int_eq(addr_parse(good[_i].text, false, &addr, &problem), 0);
    memset(&ss, 0xEE, sizeof(ss));
    memset(&back, 0xEE, sizeof(back));
    len = addr_to_sockaddr(&addr, &ss);
    ck_assert_uint_gt(len, sizeof(sa_family_t));
    addr_from_sockaddr((const struct sockaddr *)&ss, len, &back);
    ck_assert(addr_equal(&addr, &back));
    if (addr.ip.family != ADDR_UNIX) {
        struct addr_ip ip;

        addr_ip_from_sockaddr((const struct sockaddr *)&ss, &ip);
        ck_assert_mem_eq(&ip, &addr.ip, sizeof(ip));
        ck_assert_uint_eq(addr_ip_to_sockaddr(&ip, &ss), len);
    }
}
END_TEST

START_TEST(sockaddr_fields)
{
    struct addr addr;
    struct sockaddr_storage ss;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    const char *problem;

    ck_assert_int_eq(addr_parse("192.0.2.7:258", false, &addr, &problem), 0);
    ck_assert_uint_eq(addr_to_sockaddr(&addr, &ss), sizeof(v4));
    memcpy(&v4, &ss, sizeof(v4));
    ck_assert_int_eq(v4.sin_family, AF_INET);
    ck_assert_uint_eq(ntohs(v4.sin_port), 258);
    ck_assert_uint_eq(ntohl(v4.sin_addr.s_addr), 0xC0000207);
    ck_assert_int_eq(addr_parse("[fe80::1%9]:258", false, &addr, &problem), 0);
    ck_assert_uint_eq(addr_to_sockaddr(&addr, &ss), sizeof(v6));
    memcpy(&v6, &ss, sizeof(v6));
    ck_assert_int_eq(v6.sin6_family, AF_INET6);
    ck_assert_uint_eq(ntohs(v6.sin6_port), 258);
    ck_assert_uint_eq(v6.sin6_scope_id, 9);
}
END_TEST

START_TEST(unix_forms)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct sockaddr_storage ss;
    struct addr addr;
    const char *problem;

    addr_from_sockaddr((const struct sockaddr *)&un, PATH_START, &addr); /* unnamed */
    ck_assert_uint_eq(addr.ip.family, ADDR_UNIX);
    ck_assert_str_eq(addr.path, "");
    ck_assert_uint_eq(addr_to_sockaddr(&addr, &ss), 0);
    memset(un.sun_path, 'p', sizeof(un.sun_path)); /* without its NUL, as the kernel allows */
    addr_from_sockaddr((const struct sockaddr *)&un, sizeof(un), &addr);
    ck_assert_uint_eq(strlen(addr.path), ADDR_UNIX_MAX - 1);
    memcpy(un.sun_path, "\0name-and-junk", 14); /* the length ends an abstract name */
    addr_from_sockaddr((const struct sockaddr *)&un, PATH_START + 5, &addr);
    ck_assert_str_eq(addr.path, "@name");
    ck_assert_uint_eq(addr_to_sockaddr(&addr, &ss), PATH_START + 5);
    ck_assert_mem_eq(((struct sockaddr_un *)(void *)&ss)->sun_path, "\0name", 5);
    ck_assert_int_eq(addr_parse("unix:/x", false, &addr, &problem), 0);
    ck_assert_uint_eq(addr_to_sockaddr(&addr, &ss), PATH_START + 3);
}
END_TEST

START_TEST(the_kernel_agrees)
{
    struct sockaddr_storage ss;
    struct addr addr;
    struct addr bound;
    const char *problem;
    char text[64];
    socklen_t len;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)snprintf(text, sizeof(text), "unix:@sluice-test-%d", (int)getpid());
    ck_assert_int_eq(addr_parse(text, false, &addr, &problem), 0);
    len = addr_to_sockaddr(&addr, &ss);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *)&ss, len), 0);
    memset(&ss, 0xEE, sizeof(ss));
    len = sizeof(ss);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&ss, &len), 0);
    addr_from_sockaddr((const struct sockaddr *)&ss, len, &bound);
    ck_assert(addr_equal(&addr, &bound));
    (void)close(fd);
}
END_TEST

START_TEST(unknown_families_are_none)
{
    struct sockaddr_storage ss = {.ss_family = AF_PACKET};
    struct addr addr;
    struct addr none = {0};
    struct addr_ip ip;

    memset(&addr, 0xEE, sizeof(addr));
    addr_from_sockaddr((const struct sockaddr *)&ss, sizeof(ss), &addr);
    ck_assert(addr_equal(&addr, &none));
    memset(&ip, 0xEE, sizeof(ip));
    addr_ip_from_sockaddr((const struct sockaddr *)&ss, &ip);
    ck_assert_mem_eq(&ip, &none.ip, sizeof(ip));
    ss.ss_family = AF_INET;
    addr_from_sockaddr((const struct sockaddr *)&ss, 0, &addr);
    ck_assert(addr_equal(&addr, &none));
}
END_TEST

START_TEST(a_scope_only_where_it_means_something)
{
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_scope_id = 4};
    struct addr_ip ip;

    ck_assert_int_eq(inet_pton(AF_INET6, "2001:db8::1", &v6.sin6_addr), 1);
    addr_ip_from_sockaddr((const struct sockaddr *)&v6, &ip);
    ck_assert_uint_eq(ip.scope, 0);
    ck_assert_int_eq(inet_pton(AF_INET6, "fe80::1", &v6.sin6_addr), 1);
    addr_ip_from_sockaddr((const struct sockaddr *)&v6, &ip);
    ck_assert_uint_eq(ip.scope, 4);
}
END_TEST

START_TEST(equality)
{
    struct addr a;
    struct addr b;
    const char *problem;

    ck_assert_int_eq(addr_parse("1.2.3.4:5", false, &a, &problem), 0);
    ck_assert_int_eq(addr_parse("1.2.3.4:5", false, &b, &problem), 0);
    ck_assert(addr_equal(&a, &b));
    ck_assert_int_eq(addr_parse("1.2.3.4:6", false, &b, &problem), 0);
    ck_assert(!addr_equal(&a, &b));
    ck_assert_int_eq(addr_parse("[::ffff:1.2.3.4]:5", false, &b, &problem), 0);
    ck_assert(!addr_equal(&a, &b));
    ck_assert_int_eq(addr_parse("unix:/x", false, &a, &problem), 0);
    ck_assert_int_eq(addr_parse("unix:/y", false, &b, &problem), 0);
    ck_assert(!addr_equal(&a, &b));
}
END_TEST

static const struct {
    const char *cidr;
    const char *ip;
    bool inside;
} networks[] = {
    {"10.0.0.0/8", "10.255.255.255", true},
    {"10.0.0.0/8", "11.0.0.0", false},
    {"10.1.2.3/8", "10.9.9.9", true},
    {"192.0.2.128/25", "192.0.2.128", true},
    {"192.0.2.128/25", "192.0.2.127", false},
    {"192.0.2.252/30", "192.0.2.255", true},
    {"192.0.2.252/30", "192.0.2.251", false},
    {"192.0.2.1", "192.0.2.1", true},
    {"192.0.2.1", "192.0.2.0", false},
    {"192.0.2.1/32", "192.0.2.3", false},
    {"192.0.2.1/31", "192.0.2.0", true},
    {"0.0.0.0/0", "255.1.2.3", true},
    {"0.0.0.0/0", "::1", false},
    {"::/0", "2001:db8::1", true},
    {"::/0", "1.2.3.4", false},
    {"2001:db8::/33", "2001:db8:7fff::1", true},
    {"2001:db8::/33", "2001:db8:8000::1", false},
    {"2001:db8::/127", "2001:db8::1", true},
    {"2001:db8::/127", "2001:db8::2", false},
    {"::1", "::1", true},
    {"::1", "::", false},
    {"::ffff:0:0/96", "::ffff:1.2.3.4", true},
    {"1.2.3.4", "::ffff:1.2.3.4", false},
    {"fe80::/10", "fe80::1%5", true},
};

START_TEST(networks_contain)
{
    struct addr_cidr cidr;
    struct addr_ip ip;
    const char *problem = NULL;

    memset(&cidr, 0xEE, sizeof(cidr));
    ck_assert_int_eq(addr_cidr_parse(networks[_i].cidr, &cidr, &problem), 0);
    ck_assert_int_eq(addr_parse_ip(networks[_i].ip, &ip), 0);
    ip.port = 1234; /* of no account */
    ck_assert_int_eq(addr_cidr_contains(&cidr, &ip), networks[_i].inside);
    ck_assert_uint_eq(cidr.ip.port, 0);
}
END_TEST

START_TEST(bits_beyond_the_prefix_are_zero)
{
    struct addr_cidr cidr;
    const char *problem;
    char buf[ADDR_TEXT_MAX];

    ck_assert_int_eq(addr_cidr_parse("255.255.255.255/13", &cidr, &problem), 0);
    ck_assert_str_eq(addr_ip_format(&cidr.ip, false, buf), "255.248.0.0");
    ck_assert_uint_eq(cidr.prefix, 13);
    ck_assert_int_eq(addr_cidr_parse("ffff:ffff:ffff::/40", &cidr, &problem), 0);
    ck_assert_str_eq(addr_ip_format(&cidr.ip, false, buf), "ffff:ffff:ff00::");
    ck_assert_int_eq(addr_cidr_parse("1.2.3.4/0", &cidr, &problem), 0);
    ck_assert_str_eq(addr_ip_format(&cidr.ip, false, buf), "0.0.0.0");
}
END_TEST

START_TEST(no_one_else_is_inside)
{
    struct addr_cidr cidr = {0};
    struct addr_ip none = {0};
    struct addr_ip unix_peer = {.family = ADDR_UNIX};

    ck_assert(!addr_cidr_contains(&cidr, &none));
    cidr.ip.family = ADDR_UNIX;
    ck_assert(!addr_cidr_contains(&cidr, &unix_peer));
}
END_TEST

START_TEST(bad_networks_are_refused)
{
    static const char *const refused[] = {
        "",
        "/8",
        "10.0.0.0/",
        "10.0.0.0/33",
        "10.0.0.0/-1",
        "10.0.0.0/08",
        "10.0.0.0/+8",
        "10.0.0.0/8 ",
        "10.0.0.0/8/8",
        "10/8",
        "host/8",
        "[::1]/128",
        "::1/129",
        "fe80::1%1",
        "fe80::%1/64",
        "::/",
        "10.0.0.0/0x8",
        "::/99999999999",
    };
    struct addr_cidr cidr;
    struct addr_cidr untouched;

    memset(&cidr, 0xEE, sizeof(cidr));
    memset(&untouched, 0xEE, sizeof(untouched));
    for (int i = 0; i < COUNT(refused); i++) {
        const char *problem = NULL;

        ck_assert_msg(addr_cidr_parse(refused[i], &cidr, &problem) == -EINVAL, "%s", refused[i]);
        ck_assert_ptr_nonnull(problem);
        ck_assert_mem_eq(&cidr, &untouched, sizeof(cidr));
    }
}
END_TEST

static void fill_random(uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bytes[i] = random() % 3 == 0 ? 0 : (uint8_t)random();
    }
}

START_TEST(what_is_printed_parses_back)
{
    srandom(3);
    for (int round = 0; round < 100000; round++) {
        struct addr addr = {0};
        struct addr back;
        struct addr_ip ip;
        const char *problem;
        char buf[ADDR_TEXT_MAX];
        bool is_v6 = random() % 2 == 0;

        addr.ip.family = is_v6 ? ADDR_IPV6 : ADDR_IPV4;
        addr.ip.port = (uint16_t)random();
        fill_random(addr.ip.bytes, is_v6 ? 16 : 4);
        if (is_v6 && random() % 4 == 0) {
            addr.ip.bytes[0] = 0xFE;
            addr.ip.bytes[1] = (uint8_t)(0x80 | (addr.ip.bytes[1] & 0x3F));
            addr.ip.scope = (uint32_t)random();
        }
        ck_assert_int_eq(addr_parse(addr_format(&addr, buf), true, &back, &problem), 0);
        ck_assert_msg(addr_equal(&addr, &back), "%s", buf);
        ck_assert_int_eq(addr_parse_ip(addr_ip_format(&addr.ip, false, buf), &ip), 0);
        ip.port = addr.ip.port;
        ck_assert_mem_eq(&ip, &addr.ip, sizeof(ip));
    }
}
END_TEST

START_TEST(networks_against_arithmetic)
{
    srandom(4);
    for (int round = 0; round < 100000; round++) {
        char text[32];
        char buf[ADDR_TEXT_MAX];
        struct addr_ip a = {.family = ADDR_IPV4};
        struct addr_ip b;
        struct addr_cidr cidr;
        const char *problem;
        unsigned prefix = (unsigned)random() % 33;
        uint32_t x;
        uint32_t y;
        uint32_t mask = prefix == 0 ? 0 : ~UINT32_C(0) << (32 - prefix);

        fill_random(a.bytes, 4);
        b = a;
        if (random() % 8 != 0) {
            b.bytes[random() % 4] ^= (uint8_t)(1 << random() % 8);
        }
        memcpy(&x, a.bytes, 4);
        memcpy(&y, b.bytes, 4);
        (void)snprintf(text, sizeof(text), "%.20s/%u", addr_ip_format(&a, false, buf), prefix);
        ck_assert_int_eq(addr_cidr_parse(text, &cidr, &problem), 0);
        ck_assert_msg(addr_cidr_contains(&cidr, &b) == ((ntohl(x ^ y) & mask) == 0), "%s", text);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("base/addr");
    TCase *tc = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_loop_test(tc, good_addresses_parse_and_print, 0, COUNT(good));
    tcase_add_loop_test(tc, bad_addresses_are_refused, 0, COUNT(bad));
    tcase_add_loop_test(tc, who_can_be_connected_to, 0, COUNT(peers));
    tcase_add_loop_test(tc, names_are_left_to_the_resolver, 0, COUNT(names));
    tcase_add_test(tc, the_length_of_names_is_bounded);
    tcase_add_test(tc, port_zero_where_allowed);
    tcase_add_test(tc, split_parts);
    tcase_add_test(tc, split_respects_the_room);
    tcase_add_test(tc, bare_ips);
    tcase_add_test(tc, an_interface_by_name);
    tcase_add_test(tc, none_prints_a_dash);
    tcase_add_test(tc, every_printed_form_fits);
    tcase_add_loop_test(tc, to_the_kernel_and_back, 0, COUNT(good));
    tcase_add_test(tc, sockaddr_fields);
    tcase_add_test(tc, unix_forms);
    tcase_add_test(tc, the_kernel_agrees);
    tcase_add_test(tc, unknown_families_are_none);
    tcase_add_test(tc, a_scope_only_where_it_means_something);
    tcase_add_test(tc, equality);
    tcase_add_loop_test(tc, networks_contain, 0, COUNT(networks));
    tcase_add_test(tc, bits_beyond_the_prefix_are_zero);
    tcase_add_test(tc, no_one_else_is_inside);
    tcase_add_test(tc, bad_networks_are_refused);
    tcase_add_test(tc, what_is_printed_parses_back);
    tcase_add_test(tc, networks_against_arithmetic);
    tcase_set_timeout(tc, 60);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
