/*
 * Owns the worker's pipes: those in use and the few that wait for the next bulk flow. What they
 * are for is in the header. In a worker.
 *
 * A flow that has been fast for a while also has its socket wake us less often: not for every
 * packet, but when LOW_WATER_BYTES have come (SO_RCVLOWAT). What is less than that would then never
 * be told of, so such a flow is looked at every other millisecond, and loses the mark at its first
 * pause. An end or an error is told at once all the same.
 */
#include "splice.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "buffer.h"
#include "sluice/limits.h"

/* A pipe holds one piece of a packet in each of its pages, often 4 KiB, often less. The larger it
 * is the fewer system calls, but all pipes of a user together may have fs.pipe-user-pages-soft (64
 * MiB unless set), so only a worker's first ones are large. */
#define PIPE_BYTES       (1 << 20)
#define PIPES_LARGE      8
#define PIPE_FEWER_BYTES (1 << 18)
/* Below the size of a copying read a pipe does not pay. */
#define PIPE_LEAST_BYTES RELAY_SCRATCH_BYTES

/* Reads that would have been cheaper by copying, and how many in a row end the splicing. */
#define SHORT_BYTES (16 * 1024)
#define SHORT_READS 4
/* A flow that has not moved for so long gives its pipe back. */
#define IDLE_MS 500
/* A pipe that nobody has wanted for so long is closed. */
#define SPARE_MS 2000

#define LOW_WATER_BYTES (512 * 1024)
/* What a flow has to move in each millisecond, for so long, before its low-water mark is raised:
 * then the pause at which it is lowered again is of no weight. */
#define FAST_BYTES LOW_WATER_BYTES
#define FAST_MS    8
#define PAUSE_MS   2

struct pipe {
    LIST_ENTRY(pipe) link;   /* in use or spare */
    struct session *session; /* NULL: spare */
    SLIST_ENTRY(pipe) of_session;
    int in, out;
    uint32_t capacity;
    bool to_client;
    bool is_raised;    /* the sender's low-water mark */
    uint8_t n_short;   /* short reads in a row */
    uint64_t moved_ms; /* last filled; while spare: when it was put there */
    uint64_t since_ms; /* when window_bytes began */
    uint64_t window_bytes;
    uint32_t n_counted; /* bytes in it that count as held for a slow peer */
    struct buffer held;
};

void splice_init(struct proxy *proxy)
{
    struct pipes *pipes = &proxy->pipes;
    struct rlimit limit = {0};
    getrlimit(RLIMIT_NOFILE, &limit);
    uint64_t max = limit.rlim_cur / PIPES_DESCRIPTORS;
    pipes->max = max < PIPES_MAX ? (uint32_t)max : PIPES_MAX;
    pipes->due_ms = UINT64_MAX;
    LIST_INIT(&pipes->used);
    LIST_INIT(&pipes->spare);
}

static void pipe_close(struct proxy *proxy, struct pipe *pipe)
{
    close(pipe->in);
    close(pipe->out);
    free(pipe);
    proxy->pipes.n--;
    scoreboard_bump(&proxy->row->pipes, (uint64_t)-1);
}

void splice_fini(struct proxy *proxy)
{
    struct pipe *pipe;
    buffer_give_up_claim(proxy);
    while ((pipe = LIST_FIRST(&proxy->pipes.spare)) != NULL) {
        LIST_REMOVE(pipe, link);
        pipe_close(proxy, pipe);
    }
}

/* How many bytes the pipe comes to hold. */
static int widen(int fd, bool much)
{
    int bytes = much ? fcntl(fd, F_SETPIPE_SZ, PIPE_BYTES) : -1;
    if (bytes < 0) {
        bytes = fcntl(fd, F_SETPIPE_SZ, PIPE_FEWER_BYTES);
    }
    return bytes < 0 ? fcntl(fd, F_GETPIPE_SZ) : bytes;
}

static struct pipe *pipe_open(struct proxy *proxy)
{
    int fds[2];
    if (proxy->pipes.n >= proxy->pipes.max || pipe2(fds, O_NONBLOCK | O_CLOEXEC) != 0) {
        return NULL;
    }
    int bytes = widen(fds[1], proxy->pipes.n < PIPES_LARGE);
    struct pipe *pipe = bytes < PIPE_LEAST_BYTES ? NULL : calloc(1, sizeof(*pipe));
    if (pipe == NULL) {
        close(fds[0]);
        close(fds[1]);
        return NULL;
    }
    pipe->out = fds[0];
    pipe->in = fds[1];
    pipe->capacity = (uint32_t)bytes;
    pipe->held.slab = BUFFER_PIPE;
    proxy->pipes.n++;
    scoreboard_bump(&proxy->row->pipes, 1);
    return pipe;
}

static struct pipe *find(const struct session *s, bool to_client)
{
    struct pipe *pipe;
    SLIST_FOREACH (pipe, &s->pipes, of_session) {
        if (pipe->to_client == to_client) {
            return pipe;
        }
    }
    return NULL;
}

bool splice_is_used(const struct session *s, bool to_client)
{
    return find(s, to_client) != NULL;
}

static struct leg *sender(const struct pipe *pipe)
{
    return pipe->to_client ? pipe->session->backend : &pipe->session->client;
}

static void set_low_water(struct pipe *pipe, bool raise)
{
    if (pipe->is_raised != raise) {
        pipe->is_raised = raise;
        setsockopt(sender(pipe)->fd, SOL_SOCKET, SO_RCVLOWAT, &(int){raise ? LOW_WATER_BYTES : 1},
                   sizeof(int));
    }
}

static void begin_window(struct pipe *pipe)
{
    pipe->since_ms = pipe->session->proxy->now_ms;
    pipe->window_bytes = 0;
}

static void be_looked_at(struct proxy *proxy, uint64_t in_ms)
{
    if (proxy->now_ms + in_ms < proxy->pipes.due_ms) {
        proxy->pipes.due_ms = proxy->now_ms + in_ms;
    }
}

static struct pipe *take(struct session *s, bool to_client)
{
    struct proxy *proxy = s->proxy;
    struct pipe *pipe = LIST_FIRST(&proxy->pipes.spare);
    if (pipe != NULL) {
        LIST_REMOVE(pipe, link);
    } else if ((pipe = pipe_open(proxy)) == NULL) {
        return NULL;
    }
    LIST_INSERT_HEAD(&proxy->pipes.used, pipe, link);
    SLIST_INSERT_HEAD(&s->pipes, pipe, of_session);
    pipe->session = s;
    pipe->to_client = to_client;
    pipe->n_short = 0;
    pipe->moved_ms = proxy->now_ms;
    begin_window(pipe);
    be_looked_at(proxy, IDLE_MS);
    return pipe;
}

static bool is_empty(const struct pipe *pipe)
{
    return pipe->held.at == pipe->held.end;
}

static void count(struct pipe *pipe, uint32_t n)
{
    if (n != pipe->n_counted) {
        buffer_count_piped(pipe->session->proxy, (int64_t)n - pipe->n_counted);
        pipe->n_counted = n;
    }
}

/* Takes it from its session: empty, to wait for another; with bytes in it, to be closed. */
static void give_back(struct pipe *pipe)
{
    struct session *s = pipe->session;
    struct proxy *proxy = s->proxy;
    if (sender(pipe)->fd >= 0) {
        set_low_water(pipe, false);
    }
    pipe->is_raised = false;
    count(pipe, 0);
    sender(pipe)->full_reads = 0;
    SLIST_REMOVE(&s->pipes, pipe, pipe, of_session);
    LIST_REMOVE(pipe, link);
    pipe->session = NULL;
    if (!is_empty(pipe)) {
        pipe_close(proxy, pipe);
        return;
    }
    pipe->moved_ms = proxy->now_ms;
    LIST_INSERT_HEAD(&proxy->pipes.spare, pipe, link);
    be_looked_at(proxy, SPARE_MS);
}

/* The room is there before a pipe is. */
static bool may_splice(struct proxy *proxy, const struct leg *from)
{
    if (from->copied || proxy->pipes.max == 0) {
        return false;
    }
    be_looked_at(proxy, IDLE_MS);
    return buffer_claim(proxy, PIPE_LEAST_BYTES) == PIPE_LEAST_BYTES;
}

struct pipe *splice_pipe(struct session *s, struct leg *from)
{
    bool to_client = from == s->backend;
    struct pipe *pipe = find(s, to_client);
    if (pipe != NULL &&
        (pipe->n_short >= SHORT_READS || s->proxy->now_ms - pipe->moved_ms >= IDLE_MS)) {
        give_back(pipe);
        pipe = NULL;
    } else if (!may_splice(s->proxy, from)) {
        pipe = NULL;
    } else if (pipe == NULL) {
        pipe = take(s, to_client);
    }
    if (pipe == NULL) {
        from->full_reads = 0;
    }
    return pipe;
}

static void note_moved(struct pipe *pipe, size_t n)
{
    struct proxy *proxy = pipe->session->proxy;
    scoreboard_bump(&proxy->row->spliced_bytes, n);
    pipe->n_short = n < SHORT_BYTES ? (uint8_t)(pipe->n_short + 1) : 0;
    pipe->moved_ms = proxy->now_ms;
    pipe->window_bytes += n;
    uint64_t window_ms = proxy->now_ms - pipe->since_ms;
    if (window_ms >= FAST_MS) {
        set_low_water(pipe, pipe->window_bytes >= window_ms * FAST_BYTES);
        begin_window(pipe);
    }
    if (pipe->is_raised) {
        be_looked_at(proxy, PAUSE_MS);
    }
}

ssize_t splice_fill(struct pipe *pipe, struct leg *from, struct leg *to, size_t n)
{
    n = buffer_claim(pipe->session->proxy, n < pipe->capacity ? n : pipe->capacity);
    ssize_t got = splice(from->fd, NULL, pipe->in, NULL, n, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (got > 0) {
        pipe->held.at = 0;
        pipe->held.end = (uint32_t)got;
        to->pending = &pipe->held;
        note_moved(pipe, (size_t)got);
        if (!to->writable) {
            count(pipe, (uint32_t)got); /* it will not be drained at once */
        }
    }
    return got;
}

/* EINVAL and EOPNOTSUPP: one of these sockets cannot be spliced; ENOSYS and EPERM: the worker may
 * not splice at all; ENOMEM: not now. */
static bool is_of_splicing(int error)
{
    return error == EINVAL || error == EOPNOTSUPP || error == ENOSYS || error == EPERM ||
           error == ENOMEM;
}

static void stop(struct pipe *pipe, int error)
{
    struct proxy *proxy = pipe->session->proxy;
    sender(pipe)->copied |= error == EINVAL || error == EOPNOTSUPP;
    give_back(pipe);
    if (error == ENOSYS || error == EPERM) {
        proxy->pipes.max = 0;
    }
}

bool splice_gives_way(struct pipe *pipe, int error)
{
    if (is_of_splicing(error)) {
        stop(pipe, error);
        return true;
    }
    return false;
}

static struct pipe *pipe_of(struct buffer *held)
{
    return (struct pipe *)((char *)held - offsetof(struct pipe, held));
}

ssize_t splice_drain(struct buffer *held, int fd)
{
    struct pipe *pipe = pipe_of(held);
    uint32_t n = held->end - held->at;
    ssize_t sent = splice(pipe->out, NULL, fd, NULL, n, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    count(pipe, n - (sent > 0 ? (uint32_t)sent : 0));
    return sent;
}

bool splice_takes_back(struct leg *to, int error)
{
    struct pipe *pipe = pipe_of(to->pending);
    struct proxy *proxy = pipe->session->proxy;
    if (!is_of_splicing(error)) {
        return false;
    }
    count(pipe, 0);
    struct buffer *bytes = buffer_read(proxy, pipe->out, pipe->held.end - pipe->held.at);
    if (bytes == NULL) {
        return false;
    }
    pipe->held.at = pipe->held.end;
    to->pending = bytes;
    stop(pipe, error);
    return true;
}

void splice_stop(struct session *s)
{
    struct pipe *pipe, *next;
    SLIST_FOREACH_SAFE(pipe, &s->pipes, of_session, next)
    {
        set_low_water(pipe, false);
        if (is_empty(pipe)) {
            give_back(pipe);
        }
    }
    s->backend->copied = false; /* the next client's socket may be another kind */
}

void splice_end(struct session *s)
{
    struct pipe *pipe;
    while ((pipe = SLIST_FIRST(&s->pipes)) != NULL) {
        struct leg *to = pipe->to_client ? &s->client : s->backend;
        if (to->pending == &pipe->held) {
            to->pending = NULL;
        }
        give_back(pipe);
    }
}

static void close_unwanted(struct proxy *proxy)
{
    struct pipe *pipe, *next;
    LIST_FOREACH_SAFE (pipe, &proxy->pipes.spare, link, next) {
        if (proxy->now_ms - pipe->moved_ms >= SPARE_MS) {
            LIST_REMOVE(pipe, link);
            pipe_close(proxy, pipe);
        }
    }
}

void splice_work(struct proxy *proxy)
{
    struct pipes *pipes = &proxy->pipes;
    if (proxy->now_ms < pipes->due_ms) {
        return;
    }
    pipes->due_ms = UINT64_MAX;
    close_unwanted(proxy);
    bool moves = false;
    struct pipe *pipe, *next;
    LIST_FOREACH_SAFE (pipe, &pipes->used, link, next) {
        uint64_t pause_ms = proxy->now_ms - pipe->moved_ms;
        moves |= pause_ms < IDLE_MS;
        if (pipe->is_raised && pause_ms >= PAUSE_MS) {
            set_low_water(pipe, false);
            begin_window(pipe);
        }
        if (pause_ms >= IDLE_MS && is_empty(pipe)) {
            give_back(pipe);
        } else {
            be_looked_at(proxy, pipe->is_raised ? PAUSE_MS : IDLE_MS);
        }
    }
    if (!moves) {
        buffer_give_up_claim(proxy);
    }
    if (!LIST_EMPTY(&pipes->spare)) {
        be_looked_at(proxy, SPARE_MS);
    }
}

uint64_t splice_due_ms(const struct proxy *proxy)
{
    return proxy->pipes.due_ms;
}
