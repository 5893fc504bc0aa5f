/* The commands of memcached that are for sharing, and the reading of their lines. In workers;
 * pure. */
#include "memcached_command.h"

#include <string.h>

#define STORE_ANSWERS "STORED NOT_STORED EXISTS NOT_FOUND"

/* cas, append and their kin last: most that come are at the front. */
static const struct memcached_command commands[] = {
    {"get", "K", "END", MEMCACHED_VALUE, true},
    {"mg", "kF", "HD EN OK", MEMCACHED_VA, true},
    {"set", "knidr", STORE_ANSWERS, MEMCACHED_NO_ITEM, false},
    {"gets", "K", "END", MEMCACHED_VALUE, true},
    {"ms", "kdF", "HD NS EX NF OK", MEMCACHED_NO_ITEM, false},
    {"delete", "kzr", "DELETED NOT_FOUND", MEMCACHED_NO_ITEM, false},
    {"incr", "knr", "# NOT_FOUND", MEMCACHED_NO_ITEM, false},
    {"decr", "knr", "# NOT_FOUND", MEMCACHED_NO_ITEM, false},
    {"touch", "kir", "TOUCHED NOT_FOUND", MEMCACHED_NO_ITEM, false},
    {"gat", "iK", "END", MEMCACHED_VALUE, false},
    {"gats", "iK", "END", MEMCACHED_VALUE, false},
    {"add", "knidr", STORE_ANSWERS, MEMCACHED_NO_ITEM, false},
    {"replace", "knidr", STORE_ANSWERS, MEMCACHED_NO_ITEM, false},
    {"append", "knidr", STORE_ANSWERS, MEMCACHED_NO_ITEM, false},
    {"prepend", "knidr", STORE_ANSWERS, MEMCACHED_NO_ITEM, false},
    {"cas", "knidnr", STORE_ANSWERS, MEMCACHED_NO_ITEM, false},
    {"md", "kF", "HD NF EX OK", MEMCACHED_NO_ITEM, false},
    {"ma", "kF", "HD NF NS EX OK", MEMCACHED_VA, false},
    {"mn", "", "MN", MEMCACHED_NO_ITEM, false},
    {"version", "", "VERSION", MEMCACHED_NO_ITEM, false},
    {"stats", "", "END", MEMCACHED_STAT, false},
    {"flush_all", "or", "OK", MEMCACHED_NO_ITEM, false},
    {"verbosity", "nr", "OK", MEMCACHED_NO_ITEM, false},
    /* Named to say who owns. */
    {"watch", "", NULL, MEMCACHED_NO_ITEM, false},
    {"lru_crawler", "", NULL, MEMCACHED_NO_ITEM, false},
    {"lru", "", NULL, MEMCACHED_NO_ITEM, false},
    {"slabs", "", NULL, MEMCACHED_NO_ITEM, false},
    {"me", "", NULL, MEMCACHED_NO_ITEM, false},
    {"cache_memlimit", "", NULL, MEMCACHED_NO_ITEM, false},
    {"shutdown", "", NULL, MEMCACHED_NO_ITEM, false},
};

struct memcached_word memcached_next_word(const unsigned char **at, const unsigned char *end)
{
    while (*at < end && **at == ' ') {
        (*at)++;
    }
    struct memcached_word word = {*at, 0};
    while (*at < end && **at != ' ') {
        (*at)++;
    }
    word.n = (size_t)(*at - word.at);
    return word;
}

bool memcached_word_is(struct memcached_word word, const char *text)
{
    return word.n == strlen(text) && memcmp(word.at, text, word.n) == 0;
}

bool memcached_word_in(struct memcached_word word, const char *words)
{
    while (*words != '\0') {
        size_t n = strcspn(words, " ");
        if (n == word.n && memcmp(words, word.at, n) == 0) {
            return true;
        }
        words += n + (words[n] == ' ');
    }
    return false;
}

bool memcached_is_number(struct memcached_word word)
{
    for (size_t i = 0; i < word.n; i++) {
        if (word.at[i] < '0' || word.at[i] > '9') {
            return false;
        }
    }
    return word.n > 0 && word.n <= 20; /* digits of 2^64 */
}

int64_t memcached_read_number(struct memcached_word word, int64_t max)
{
    int64_t number = 0;

    if (!memcached_is_number(word)) {
        return -1;
    }
    for (size_t i = 0; i < word.n; i++) {
        number = number * 10 + (word.at[i] - '0');
        if (number > max) {
            return -1;
        }
    }
    return number;
}

static bool is_signed_number(struct memcached_word word)
{
    if (word.n > 0 && *word.at == '-') {
        word.at++;
        word.n--;
    }
    return memcached_is_number(word);
}

/* Flags that are known, once each at most. With q an answer need not come. */
static bool read_flag(struct memcached_word word, uint64_t *seen, struct memcached_request *request)
{
    static const char flags[] = "bcfhklOstuvIFCMJDELPNRTx", changing[] = "EINRTx";
    const char *found = strchr(flags, *word.at);

    if (*word.at == '\0' || found == NULL || (*seen & UINT64_C(1) << (found - flags)) != 0) {
        return false;
    }
    *seen |= UINT64_C(1) << (found - flags);
    if (strchr(changing, *word.at) != NULL) {
        request->is_read = false;
    }
    return true;
}

static bool read_flags(const unsigned char **at, const unsigned char *end,
                       struct memcached_request *request)
{
    uint64_t seen = 0;

    for (;;) {
        struct memcached_word word = memcached_next_word(at, end);
        if (word.n == 0) {
            return true;
        }
        if (!read_flag(word, &seen, request)) {
            return false;
        }
    }
}

/* Keys of any length, at least one; longest is that of the longest. */
static bool read_keys(const unsigned char **at, const unsigned char *end, size_t *longest)
{
    struct memcached_word word = memcached_next_word(at, end);
    bool has_any = word.n > 0;

    for (; word.n > 0; word = memcached_next_word(at, end)) {
        *longest = word.n > *longest ? word.n : *longest;
    }
    return has_any;
}

/* One argument, by its letter. */
static bool read_arg(char letter, const unsigned char **at, const unsigned char *end,
                     struct memcached_request *request, size_t *longest_key)
{
    const unsigned char *start = *at;

    if (letter == 'K') {
        return read_keys(at, end, longest_key);
    }
    if (letter == 'F') {
        return read_flags(at, end, request);
    }
    struct memcached_word word = memcached_next_word(at, end);
    int64_t number;
    switch (letter) {
    case 'k':
        *longest_key = word.n;
        return word.n > 0;
    case 'n':
        return memcached_is_number(word);
    case 'i':
        return is_signed_number(word);
    case 'd':
        number = memcached_read_number(word, MEMCACHED_DATA_MAX);
        request->data_bytes = (uint64_t)number + 2;
        return number >= 0;
    case 'r':
        request->noreply = memcached_word_is(word, "noreply");
        return request->noreply || word.n == 0;
    default: /* z and o: what does not fit is for the next letter */
        if (letter == 'z' ? !memcached_word_is(word, "0") : !memcached_is_number(word)) {
            *at = start;
        }
        return true;
    }
}

static const struct memcached_command *find_command(struct memcached_word word)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++) {
        if (memcached_word_is(word, commands[i].name)) {
            return &commands[i];
        }
    }
    return NULL;
}

static bool is_plain(const unsigned char *at, const unsigned char *end)
{
    for (; at < end; at++) {
        if (*at < ' ' || *at == 0x7f) {
            return false;
        }
    }
    return true;
}

enum memcached_parse memcached_parse(const unsigned char *line, size_t n,
                                     struct memcached_request *out_request, const char **out_why)
{
    if (n < 2 || memcmp(line + n - 2, "\r\n", 2) != 0) {
        *out_why = "line ended by a bare newline";
        return MEMCACHED_OWNS;
    }
    const unsigned char *at = line, *end = line + n - 2;
    size_t longest_key = 0;
    const struct memcached_command *command = find_command(memcached_next_word(&at, end));
    if (command == NULL || *line == ' ') {
        *out_why = "unknown command";
        return MEMCACHED_OWNS;
    }
    *out_why = command->name;
    *out_request = (struct memcached_request){.command = command, .is_read = command->is_read};
    if (command->answers == NULL || !is_plain(line, end)) {
        return MEMCACHED_OWNS;
    }
    for (const char *letter = command->args; *letter != '\0'; letter++) {
        if (!read_arg(*letter, &at, end, out_request, &longest_key)) {
            return MEMCACHED_OWNS;
        }
    }
    if (memcached_next_word(&at, end).n > 0) {
        return MEMCACHED_OWNS;
    }
    if (longest_key > MEMCACHED_KEY_MAX) {
        *out_why = "key too long";
        return MEMCACHED_REFUSED;
    }
    return MEMCACHED_SHARED;
}
