/*
 * What mode http answers, by method and path. A new path is a line in the table of routes.
 */
#include <inttypes.h>
#include <string.h>

#include "monotonic.h"
#include "origin_http.h"

#define BYTES_DIGITS 18
#define SLOW_MS_MAX  3600000

struct route {
    const char *path; /* with a final slash: a number follows */
    const char *argument;
    uint64_t max;
    void (*answer)(struct origin_conn *conn, uint64_t number);
};

static void answer_hello(struct origin_conn *conn, uint64_t number)
{
    (void)number;
    http_answer(conn, 200, "hello from %s\n", conn->listener->name);
}

static void answer_healthz(struct origin_conn *conn, uint64_t number)
{
    (void)number;
    http_answer(conn, 200, "ok\n");
}

static void answer_bytes(struct origin_conn *conn, uint64_t number)
{
    http_stream(conn, HTTP_COUNTED, number);
}

static void answer_chunked(struct origin_conn *conn, uint64_t number)
{
    http_stream(conn, HTTP_CHUNKED, number);
}

static void answer_close(struct origin_conn *conn, uint64_t number)
{
    http_stream(conn, HTTP_UNTIL_CLOSE, number);
}

static void answer_slow(struct origin_conn *conn, uint64_t number)
{
    if (number == 0)
        answer_hello(conn, 0);
    else
        http_sleep(conn, number * NS_PER_MS);
}

static void answer_status(struct origin_conn *conn, uint64_t number)
{
    if (number < 200)
        http_answer(conn, 400, "/status/CODE takes 200 to 599\n");
    else
        http_answer(conn, (unsigned)number, "status %" PRIu64 "\n", number);
}

static const struct route routes[] = {
    {"/", NULL, 0, answer_hello},
    {"/healthz", NULL, 0, answer_healthz},
    {"/bytes/", "COUNT", UINT64_MAX, answer_bytes},
    {"/chunked/", "COUNT", UINT64_MAX, answer_chunked},
    {"/close/", "COUNT", UINT64_MAX, answer_close},
    {"/slow/", "MILLISECONDS", SLOW_MS_MAX, answer_slow},
    {"/status/", "CODE", 599, answer_status},
};

static bool parse_number(const char *text, uint64_t max, uint64_t *out)
{
    size_t length = strlen(text);
    uint64_t number = 0;

    if (length == 0 || length > BYTES_DIGITS || strspn(text, "0123456789") != length)
        return false;
    for (size_t i = 0; i < length; i++)
        number = number * 10 + (uint64_t)(text[i] - '0');
    *out = number;
    return number <= max;
}

static void route_path(struct origin_conn *conn, const char *path)
{
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        const struct route *route = &routes[i];
        size_t length = strlen(route->path);
        uint64_t number = 0;

        if (!route->argument && strcmp(path, route->path) != 0)
            continue;
        if (route->argument && strncmp(path, route->path, length) != 0)
            continue;
        if (route->argument && !parse_number(path + length, route->max, &number))
            http_answer(conn, 400, "%s%s takes a decimal number, at most %" PRIu64 "\n",
                        route->path, route->argument, route->max);
        else
            route->answer(conn, number);
        return;
    }
    http_answer(conn, 404,
                "try /, /healthz, /bytes/COUNT, /chunked/COUNT, /close/COUNT, /slow/MS, "
                "/status/CODE\n");
}

void http_route(struct origin_conn *conn)
{
    struct http_conn *http = (struct http_conn *)conn->state;

    switch (http->request.method) {
    case REQUEST_GET:
    case REQUEST_HEAD:
        route_path(conn, http->request.path);
        return;
    case REQUEST_POST:
    case REQUEST_PUT:
        http_answer(conn, 200, "%" PRIu64 "\n", http->body_bytes);
        return;
    case REQUEST_OTHER:
    case REQUEST_METHOD_COUNT:
        break;
    }
    http_answer(conn, 405, "GET, HEAD, POST and PUT are answered\n");
}

void http_route_awake(struct origin_conn *conn)
{
    answer_hello(conn, 0);
}
