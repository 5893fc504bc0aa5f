/*
 * Every option by itself: its default, what it takes, what it refuses and with which words.
 */
#include "test_model_fixture.h"

#include "base/log.h"
#include "model/options.h"
#include "sluice/limits.h"

/* A configuration in which the option of that section is text ("weight = 3"). Of a check other than
 * tcp the section is "check KIND". */
static void wrap(const char *section, const char *text, struct str *out)
{
    bool in_check = strncmp(section, "check", 5) == 0;
    bool in_outlier = strcmp(section, "outlier") == 0;
    const char *kind = in_check && section[5] == ' ' ? section + 6 : "tcp";
    bool in_backend = strcmp(section, "backend") == 0;
    bool in_pool = strcmp(section, "pool") == 0;
    bool in_service = strcmp(section, "service") == 0;
    bool is_listen = in_service && strncmp(text, "listen", 6) == 0;
    bool is_pool = in_service && strncmp(text, "pool", 4) == 0;
    bool is_address = in_backend && strncmp(text, "address", 7) == 0;

    str_printf(out, "global { %s }\n", strcmp(section, "global") == 0 ? text : "");
    str_printf(out, "service \"web\" { %s %s %s }\n",
               is_listen ? "" : "listen = { \"127.0.0.1:80\" }", is_pool ? "" : "pool = \"web\"",
               in_service ? text : "");
    if (is_pool) { /* so that the pool has a user all the same */
        str_append(out, "service \"other\" { listen = { \"127.0.0.2:80\" } pool = \"web\" }\n");
    }
    if (strstr(text, "spare") != NULL) {
        str_append(out, "pool \"spare\" { backend \"z\" { address = \"10.9.9.9:80\" } }\n");
    }
    str_printf(out, "pool \"web\" { %s check \"%s\" { %s }\n", in_pool ? text : "", kind,
               in_check ? text : "");
    if (in_outlier) {
        str_printf(out, "outlier { %s }\n", text);
    }
    str_printf(out, "backend \"a\" { %s %s } }\n", is_address ? "" : "address = \"10.0.0.1:80\"",
               in_backend ? text : "");
}

/* The section's struct in a model of wrap(). */
static const void *section_of(const struct model *model, const char *section)
{
    if (strcmp(section, "global") == 0) {
        return &model->global;
    }
    if (strcmp(section, "service") == 0) {
        return &model->services[0];
    }
    if (strcmp(section, "pool") == 0) {
        return &model->pools[0];
    }
    if (strcmp(section, "outlier") == 0) {
        return &model->pools[0].outlier;
    }
    return strcmp(section, "backend") == 0 ? (const void *)&model->pools[0].backends[0]
                                           : (const void *)&model->pools[0].checks[0];
}

static const struct option_def *find(const char *section, const char *name)
{
    const struct option_def *option = option_table;
    size_t len = strcspn(section, " ");

    while (option->name != NULL &&
           (strlen(option->section) != len || memcmp(option->section, section, len) != 0 ||
            strcmp(option->name, name) != 0)) {
        option++;
    }
    ck_assert_msg(option->name != NULL, "no option %s in %s", name, section);
    return option;
}

struct accepted {
    const char *section, *text;
    const char *shown; /* option = value, as it is printed; NULL: as the text */
};

static const struct accepted accepted[] = {
    {"global", "workers = auto", "workers = \"auto\""},
    {"global", "workers = 1", NULL},
    {"global", "workers = \"256\"", "workers = 256"},
    {"global", "max_connections = \"auto\"", NULL},
    {"global", "max_connections = 1", NULL},
    {"global", "max_connections = 2147483647", NULL},
    {"global", "buffer_memory = \"auto\"", NULL},
    {"global", "buffer_memory = \"256k\"", NULL},
    {"global", "buffer_memory = \"1000001\"", NULL},
    {"global", "buffer_memory = \"8192m\"", "buffer_memory = \"8g\""},
    {"global", "buffer_memory = 1048576", "buffer_memory = \"1m\""},
    {"global", "buffer_memory = \"1024g\"", NULL},
    {"global", "user = \"sluice\"", NULL},
    {"global", "user = \"host$\"", NULL},
    {"global", "group = \"www-data\"", NULL},
    {"global", "control_socket = \"/tmp/s\"", NULL},
    {"global", "control_mode = \"0600\"", NULL},
    {"global", "control_mode = 666", "control_mode = \"0666\""},
    {"global", "control_mode = \"0777\"", NULL},
    {"global", "control_mode = \"000\"", "control_mode = \"0000\""},
    {"global", "control_read = { }", NULL},
    {"global", "control_read = { \"alice\", \"@ops\" }", NULL},
    {"global", "control_read = \"alice\"", "control_read = { \"alice\" }"},
    {"global", "control_operate = { \"@ops\" }", NULL},
    {"global", "control_administer = { \"1000\" }", NULL},
    {"global", "log = \"stderr\"", NULL},
    {"global", "log = \"/var/log/s.log\"", NULL},
    {"global", "log = \"syslog\"", NULL},
    {"global", "log = \"journal\"", NULL},
    {"global", "log_format = \"json\"", NULL},
    {"global", "log_format = \"logfmt\"", NULL},
    {"global", "log_level = \"error\"", NULL},
    {"global", "log_level = \"debug\"", NULL},
    {"global", "state_file = \"none\"", NULL},
    {"global", "state_file = \"/s.json\"", NULL},
    {"global", "hash_seed = \"a b\"", NULL},
    {"global", "stop_delay = \"0s\"", NULL},
    {"global", "stop_delay = \"40d\"", NULL},
    {"global", "drain_timeout = \"0s\"", NULL},
    {"global", "upgrade_timeout = \"1h\"", NULL},
    {"global", "drain_timeout = \"40d\"", NULL},
    {"service", "listen = { \"0.0.0.0:80\", \"[::]:80\" }", NULL},
    {"service", "listen = \"unix:/run/x\"", "listen = { \"unix:/run/x\" }"},
    {"service", "listen = { \"unix:@x\" }", NULL},
    {"service", "listen = { \"127.0.0.1:0\" }", NULL},
    {"service", "freebind = false", NULL},
    {"service", "freebind = yes", "freebind = true"},
    {"service", "backlog = 1", NULL},
    {"service", "backlog = 1000000", NULL},
    {"service", "pool = \"web\"", NULL},
    {"service", "idle_timeout = \"0s\"", NULL},
    {"service", "idle_timeout = 0", "idle_timeout = \"0s\""},
    {"service", "idle_timeout = \"40d\"", NULL},
    {"service", "half_close_timeout = \"1ms\"", NULL},
    {"service", "keepalive = \"0s\"", NULL},
    {"service", "keepalive = \"1s\"", NULL},
    {"service", "keepalive = \"9h\"", NULL},
    {"service", "user_timeout = \"0s\"", NULL},
    {"service", "user_timeout = \"24d\"", NULL},
    {"service", "max_connections = 0", NULL},
    {"service", "max_connections = 2147483647", NULL},
    {"service", "fallback_pool = \"spare\"", NULL},
    {"service", "accept_rate = \"none\"", NULL},
    {"service", "accept_rate = \"100/s\"", NULL},
    {"service", "accept_rate = \"999999/s:500\"", NULL},
    {"service", "accept_rate = \"010/m:05\"", "accept_rate = \"10/m:5\""},
    {"service", "accept_rate = \"1/h\"", NULL},
    {"service", "persistence = \"0s\"", NULL},
    {"service", "persistence = \"40d\"", NULL},
    {"service", "persistence_mask = 0", NULL},
    {"service", "persistence_mask = 32", NULL},
    {"service", "persistence_mask6 = 0", NULL},
    {"service", "persistence_mask6 = 128", NULL},
    {"service", "healthz = false", NULL},
    {"service", "session_log = \"off\"", NULL},
    {"service", "session_log = \"all\"", NULL},
    {"service", "session_log = \"1/1000\"", NULL},
    {"service", "session_log = \"1/1\"", "session_log = \"all\""},
    {"service", "healthz = on", "healthz = true"},
    {"pool", "scheduler = \"rr\"", NULL},
    {"pool", "scheduler = \"mh\" hash_key = \"source\"", "hash_key = \"source\""},
    {"pool", "scheduler = \"mh\" hash_key = \"source_port\"", "hash_key = \"source_port\""},
    {"pool", "connect_timeout = \"1ms\"", NULL},
    {"pool", "connect_timeout = \"40d\"", NULL},
    {"pool", "retries = 0", NULL},
    {"pool", "retries = 10", NULL},
    {"pool", "keepalive = \"1500ms\"", NULL},
    {"pool", "user_timeout = \"1ms\"", NULL},
    {"pool", "queue = 0", NULL},
    {"pool", "queue = 1000000", NULL},
    {"pool", "queue_timeout = \"0s\"", NULL},
    {"pool", "queue_timeout = \"40d\"", NULL},
    {"pool", "slow_start = \"1ms\"", NULL},
    {"pool", "slow_start = \"40d\"", NULL},
    {"pool", "panic_threshold = 0", NULL},
    {"pool", "panic_threshold = 100", NULL},
    {"pool", "min_healthy = 1", NULL},
    {"pool", "min_healthy = 8192", NULL},
    {"pool", "backup_use = \"first\"", NULL},
    {"pool", "backup_use = \"all\"", NULL},
    {"pool", "on_return = \"keep\"", NULL},
    {"pool", "on_return = \"close\"", NULL},
    {"pool", "on_down = \"keep\"", NULL},
    {"pool", "on_down = \"close\"", NULL},
    {"pool", "start = \"up\"", NULL},
    {"pool", "start = \"down\"", NULL},
    {"pool", "start = \"unknown\"", NULL},
    {"pool", "on_unresolved = \"refuse\"", NULL},
    {"pool", "on_unresolved = \"down\"", NULL},
    {"pool", "send_proxy = \"off\"", NULL},
    {"pool", "send_proxy = \"v1\"", "send_proxy = \"v1\""},
    {"pool", "send_proxy = v2", "send_proxy = \"v2\""},
    {"pool", "require = \"all\"", NULL},
    {"pool", "require = any", "require = \"any\""},
    {"pool", "notify = \"/bin/true\"", NULL},
    {"outlier", "on = connect", "on = { \"connect\" }"},
    {"outlier", "on = { \"reset\", \"connect\" }", NULL},
    {"outlier", "on = { \"first_byte\" } first_byte_timeout = \"1ms\"", "on = { \"first_byte\" }"},
    {"outlier", "first_byte_timeout = \"40d\" on = { \"first_byte\" }",
     "first_byte_timeout = \"40d\""},
    {"outlier", "consecutive_failures = 1", NULL},
    {"outlier", "consecutive_failures = 1000", NULL},
    {"outlier", "eject_time = \"1s\"", NULL},
    {"outlier", "eject_time = \"24h\"", "eject_time = \"1d\""},
    {"outlier", "max_ejected = 0", NULL},
    {"outlier", "max_ejected = 100", NULL},
    {"backend", "address = \"[2001:db8::1]:443\"", NULL},
    {"backend", "address = \"b.example.net:80\"", NULL},
    {"backend", "address = \"unix:/run/b\"", NULL},
    {"backend", "weight = 0", NULL},
    {"backend", "weight = 65535", NULL},
    {"backend", "max_connections = 7", NULL},
    {"backend", "resume_connections = \"auto\"", NULL},
    {"backend", "max_connections = 7 resume_connections = 1", "resume_connections = 1"},
    {"backend", "max_connections = 7 resume_connections = 7", "resume_connections = 7"},
    {"backend", "connect_rate = \"none\"", NULL},
    {"backend", "connect_rate = \"1000000/s:1000000\"", NULL},
    {"backend", "backup = true", NULL},
    {"backend", "backup = no", "backup = false"},
    {"backend", "admin = \"ready\"", NULL},
    {"backend", "admin = \"drain\"", NULL},
    {"backend", "admin = \"maintenance\"", NULL},
    {"backend", "check_address = \"10.0.0.2\"", NULL},
    {"backend", "check_address = \"10.0.0.2:1\"", NULL},
    {"backend", "check_address = \"[::1]\"", NULL},
    {"backend", "check_address = \"[2001:db8::1]:65535\"", NULL},
    {"backend", "check_address = \"unix:/run/c\"", NULL},
    {"backend", "check_address = \"unix:@c\"", NULL},
    {"backend", "checks = \"none\"", NULL},
    {"check", "interval = \"10ms\"", NULL},
    {"check", "interval = \"40d\"", NULL},
    {"check", "fast_interval = \"10ms\"", NULL},
    {"check", "down_interval = \"1h\"", NULL},
    {"check", "timeout = \"1ms\"", NULL},
    {"check", "timeout = \"1d\"", NULL},
    {"check", "rise = 1", NULL},
    {"check", "rise = 100", NULL},
    {"check", "fall = 1", NULL},
    {"check", "fall = 100", NULL},
    {"check", "port = 1", NULL},
    {"check", "port = 65535", NULL},
    {"check", "source = \"10.0.0.9\"", NULL},
    {"check agent", "source = \"10.0.0.9\" port = 1", "source = \"10.0.0.9\""},
    {"check http", "method = \"HEAD\"", NULL},
    {"check http", "path = \"/a?b\"", NULL},
    {"check http", "host = \"h\"", NULL},
    {"check http", "headers = { }", NULL},
    {"check http", "headers = { \"A: b\", \"C: d\" }", NULL},
    {"check http", "status = 200", "status = \"200\""},
    {"check http", "body = \"^a.*$\"", NULL},
    {"check http", "tls = yes", "tls = true"},
    {"check http", "sni = \"h\"", NULL},
    {"check http", "verify = true", NULL},
    {"check expect", "steps = { \"send PING\\r\\n\", \"expect +PONG\" }", NULL},
    {"check expect", "steps = \"expect x\"", "steps = { \"expect x\" }"},
    {"check exec", "command = { \"/bin/true\", \"-x\" }", NULL},
    {"check exec", "command = \"/bin/true\" dynamic = off", "dynamic = false"},
    {"check agent", "port = 1 send = \"hello\\n\"", "send = \"hello\\n\""},
    {"check mysql", "user = \"monitor\"", NULL},
};

START_TEST(each_option_takes_what_it_should)
{
    for (size_t i = 0; i < sizeof(accepted) / sizeof(accepted[0]); i++) {
        const struct accepted *item = &accepted[i];
        const char *shown = item->shown != NULL ? item->shown : item->text;
        STR_AUTO text = {0};
        STR_AUTO messages = {0};
        STR_AUTO printed = {0};
        struct model *model;
        char name[64] = {0};

        wrap(item->section, item->text, &text);
        model = read_model(str_text(&text), &messages);
        ck_assert_msg(model != NULL, "%s: %s", item->text, str_text(&messages));
        memcpy(name, shown, strcspn(shown, " "));
        str_printf(&printed, "%s = ", name);
        option_print(find(item->section, name), section_of(model, item->section), &printed);
        ck_assert_str_eq(str_text(&printed), shown);
        model_free(model);
    }
}
END_TEST

struct refused {
    const char *section, *text, *message;
};

#define SIZES       "write \"auto\" or a size from 256k to 1024g"
#define CONNECTIONS "2147483647"
#define A_RATE                                                                                     \
    "not a rate; write a whole number with /s, /m or /h, such as \"100/s\", with a burst "         \
    "\"100/s:500\", or \"none\""

static const struct refused refused[] = {
    {"global", "workers = 0",
     "workers: \"0\": out of range; write \"auto\" or a whole number from 1 to 256"},
    {"global", "workers = 257",
     "workers: \"257\": out of range; write \"auto\" or a whole number from 1 to 256"},
    {"global", "workers = many",
     "workers: \"many\": not a whole number; write \"auto\" or a whole number from 1 to 256"},
    {"global", "workers = \"\"",
     "workers: \"\": not a whole number; write \"auto\" or a whole number from 1 to 256"},
    {"global", "workers = -1",
     "workers: \"-1\": not a whole number; write \"auto\" or a whole number from 1 to 256"},
    {"global", "max_connections = 0",
     "max_connections: \"0\": out of range; write \"auto\" or a whole number from 1 "
     "to " CONNECTIONS},
    {"global", "max_connections = 99999999999999999999999",
     "max_connections: \"99999999999999999999999\": out of range; write \"auto\" or a whole number "
     "from 1 to " CONNECTIONS},
    {"global", "buffer_memory = \"255k\"", "buffer_memory: \"255k\": out of range; " SIZES},
    {"global", "buffer_memory = 0", "buffer_memory: \"0\": out of range; " SIZES},
    {"global", "buffer_memory = \"1025g\"", "buffer_memory: \"1025g\": out of range; " SIZES},
    {"global", "buffer_memory = \"1.5m\"", "buffer_memory: \"1.5m\": not a size; " SIZES},
    {"global", "buffer_memory = \"lots\"", "buffer_memory: \"lots\": not a size; " SIZES},
    {"global", "user = \"\"", "user: \"\": empty; write a value, or leave the option out"},
    {"global", "user = \"@ops\"",
     "user: \"@ops\": not the name of a user; write it without @ or spaces"},
    {"global", "user = \"-a\"",
     "user: \"-a\": not the name of a user; write it without @ or spaces"},
    {"global", "group = \"a b\"",
     "group: \"a b\": not the name of a group; write it without @ or spaces"},
    {"global", "control_socket = \"s.sock\"",
     "control_socket: \"s.sock\": not an absolute path; begin it with /"},
    {"global", "control_mode = \"888\"",
     "control_mode: \"888\": not a file mode; write an octal file mode up to \"0777\", such as "
     "\"0660\""},
    {"global", "control_mode = \"1777\"",
     "control_mode: \"1777\": out of range; write an octal file mode up to \"0777\", such as "
     "\"0660\""},
    {"global", "control_mode = \"66\"",
     "control_mode: \"66\": not a file mode; write an octal file mode up to \"0777\", such as "
     "\"0660\""},
    {"global", "control_mode = \"00660\"",
     "control_mode: \"00660\": not a file mode; write an octal file mode up to \"0777\", such as "
     "\"0660\""},
    {"global", "control_read = { \"\" }",
     "control_read: \"\": empty; write a value, or leave it out"},
    {"global", "control_read = { \"a b\" }",
     "control_read: \"a b\": not the name of a user; write a user, or a @group"},
    {"global", "control_operate = { \"@\" }",
     "control_operate: \"@\": not the name of a user; write a user, or a @group"},
    {"global", "control_administer = { \"@@ops\" }",
     "control_administer: \"@@ops\": not the name of a user; write a user, or a @group"},
    {"global", "control_administer = { \"a234567890b234567890c234567890d23\" }",
     "control_administer: \"a234567890b234567890c234567890d23\": not the name of a user; write a "
     "user, or a @group"},
    {"global", "log = \"sysloq\"",
     "log: \"sysloq\": no place for a log; write \"stderr\", \"syslog\", \"journal\" or the "
     "absolute "
     "path of a file"},
    {"global", "log_format = \"xml\"",
     "log_format: \"xml\": unknown; write \"logfmt\" or \"json\""},
    {"global", "log_level = \"inf\"", "log_level: \"inf\": unknown; did you mean \"info\"?"},
    {"global", "log_level = \"loud\"",
     "log_level: \"loud\": unknown; write \"error\", \"warning\", \"info\" or \"debug\""},
    {"global", "state_file = \"s.json\"",
     "state_file: \"s.json\": no place for a file; write \"none\" or the absolute path of a file"},
    {"global", "state_file = \"/var/lib/\"",
     "state_file: \"/var/lib/\": no place for a file; write \"none\" or the absolute path of a "
     "file"},
    {"global", "hash_seed = \"\"",
     "hash_seed: \"\": empty; write a value, or leave the option out"},
    {"global", "drain_timeout = \"5\"",
     "drain_timeout: \"5\": no unit; write ms, s, m, h or d after the number, such as \"5s\""},
    {"global", "drain_timeout = \"soon\"",
     "drain_timeout: \"soon\": not a time; write a number with ms, s, m, h or d, such as \"5s\""},
    {"global", "drain_timeout = \"41d\"",
     "drain_timeout: \"41d\": out of range; write a time from 0s to 40d"},
    {"global", "drain_timeout = \"4000d\"",
     "drain_timeout: \"4000d\": out of range; write a time from 0s to 40d"},
    {"global", "drain_timeout = \"999999999999999999999s\"",
     "drain_timeout: \"999999999999999999999s\": out of range; write a time from 0s to 40d"},
    {"service", "freebind = \"maybe\"",
     "freebind: \"maybe\": neither true nor false; write true or false"},
    {"service", "backlog = 0",
     "backlog: \"0\": out of range; write a whole number from 1 to 1000000"},
    {"service", "backlog = 1000001",
     "backlog: \"1000001\": out of range; write a whole number from 1 to 1000000"},
    {"service", "pool = \"\"", "pool: \"\": empty; write a value, or leave the option out"},
    {"service", "idle_timeout = \"960h1s\"",
     "idle_timeout: \"960h1s\": not a time; write a whole number with ms, s, m, h or d, such as "
     "\"5s\""},
    {"service", "idle_timeout = \"961h\"",
     "idle_timeout: \"961h\": out of range; write a time from 0s to 40d"},
    {"service", "half_close_timeout = \"1.5s\"",
     "half_close_timeout: \"1.5s\": not a time; write a whole number with ms, s, m, h or d, such "
     "as \"5s\""},
    {"service", "keepalive = \"999ms\"",
     "keepalive: \"999ms\": out of range; write at least 1s, or 0s for none"},
    {"service", "keepalive = \"10h\"",
     "keepalive: \"10h\": out of range; write a time from 0s to 9h"},
    {"service", "user_timeout = \"25d\"",
     "user_timeout: \"25d\": out of range; write a time from 0s to 24d"},
    {"service", "max_connections = 2147483648",
     "max_connections: \"2147483648\": out of range; write a whole number from 0 to " CONNECTIONS},
    {"service", "fallback_pool = \"\"",
     "fallback_pool: \"\": empty; write a value, or leave the option out"},
    {"service", "accept_rate = \"\"", "accept_rate: \"\": " A_RATE},
    {"service", "accept_rate = 100", "accept_rate: \"100\": " A_RATE},
    {"service", "accept_rate = \"0/s\"",
     "accept_rate: \"0/s\": rate out of range; at least \"1/h\", at most \"1000000/s\""},
    {"service", "accept_rate = \"1/s:0\"",
     "accept_rate: \"1/s:0\": burst out of range; 1 to 1000000"},
    {"global", "stop_delay = \"41d\"",
     "stop_delay: \"41d\": out of range; write a time from 0s to 40d"},
    {"service", "session_log = \"error\"",
     "session_log: \"error\": unknown; did you mean \"errors\"?"},
    {"service", "session_log = \"1/0\"",
     "session_log: \"1/0\": not one of a number; write \"off\", \"errors\" or \"all\", or \"1/N\" "
     "with a whole number from 1 to 1000000"},
    {"service", "session_log = \"2/3\"",
     "session_log: \"2/3\": unknown; write \"off\", \"errors\" or \"all\", or \"1/N\" "
     "with a whole number from 1 to 1000000"},
    {"service", "healthz = 2", "healthz: \"2\": neither true nor false; write true or false"},
    {"service", "persistence = \"41d\"",
     "persistence: \"41d\": out of range; write a time from 0s to 40d"},
    {"service", "persistence_mask = 33",
     "persistence_mask: \"33\": out of range; write a whole number from 0 to 32"},
    {"service", "persistence_mask6 = 129",
     "persistence_mask6: \"129\": out of range; write a whole number from 0 to 128"},
    {"pool", "scheduler = \"\"", "scheduler: \"\": empty; write a value, or leave the option out"},
    {"pool", "connect_timeout = \"0s\"",
     "connect_timeout: \"0s\": out of range; write a time from 1ms to 40d"},
    {"pool", "retries = 11", "retries: \"11\": out of range; write a whole number from 0 to 10"},
    {"pool", "keepalive = \"1ms\"",
     "keepalive: \"1ms\": out of range; write at least 1s, or 0s for none"},
    {"pool", "user_timeout = \"600h\"",
     "user_timeout: \"600h\": out of range; write a time from 0s to 24d"},
    {"pool", "scheduler = \"mh\" hash_key = \"port\"",
     "hash_key: \"port\": unknown; write \"source\" or \"source_port\""},
    {"pool", "queue = 1000001",
     "queue: \"1000001\": out of range; write a whole number from 0 to 1000000"},
    {"pool", "queue_timeout = \"41d\"",
     "queue_timeout: \"41d\": out of range; write a time from 0s to 40d"},
    {"pool", "slow_start = \"41d\"",
     "slow_start: \"41d\": out of range; write a time from 0s to 40d"},
    {"pool", "panic_threshold = 101",
     "panic_threshold: \"101\": out of range; write a whole number from 0 to 100"},
    {"pool", "min_healthy = 0",
     "min_healthy: \"0\": out of range; write a whole number from 1 to 8192"},
    {"pool", "min_healthy = 8193",
     "min_healthy: \"8193\": out of range; write a whole number from 1 to 8192"},
    {"pool", "backup_use = \"some\"", "backup_use: \"some\": unknown; write \"first\" or \"all\""},
    {"pool", "on_return = \"closed\"", "on_return: \"closed\": unknown; did you mean \"close\"?"},
    {"pool", "on_down = \"reset\"", "on_down: \"reset\": unknown; write \"keep\" or \"close\""},
    {"pool", "start = \"Up\"", "start: \"Up\": unknown; did you mean \"up\"?"},
    {"pool", "start = \"maybe\"",
     "start: \"maybe\": unknown; write \"unknown\", \"up\" or \"down\""},
    {"pool", "on_unresolved = \"keep\"",
     "on_unresolved: \"keep\": unknown; write \"down\" or \"refuse\""},
    {"pool", "send_proxy = \"on\"", "send_proxy: \"on\": unknown; write \"off\", \"v1\" or \"v2\""},
    {"pool", "require = \"some\"", "require: \"some\": unknown; write \"all\" or \"any\""},
    {"pool", "notify = \"\"", "notify: \"\": empty; write a value, or leave the option out"},
    {"pool", "notify = \"run\"",
     "notify: \"run\": not an absolute path; begin it with / (there is no shell, and no search)"},
    {"outlier", "on = { \"conect\" }", "on: \"conect\": unknown; did you mean \"connect\"?"},
    {"outlier", "on = { \"connect\", \"timeout\" }",
     "on: \"timeout\": unknown; write \"connect\", \"reset\" or \"first_byte\""},
    {"outlier", "on = { \"reset\", \"\" }", "on: \"\": empty; write a value, or leave it out"},
    {"outlier", "on = { }", "on: the list is empty; write at least one, or leave the section out"},
    {"outlier", "on = { \"first_byte\" }",
     "on: \"first_byte\" needs to know in which time; write first_byte_timeout = \"5s\", say"},
    {"outlier", "on = { \"first_byte\" } first_byte_timeout = \"0s\"",
     "first_byte_timeout: \"0s\": out of range; write a time from 1ms to 40d"},
    {"outlier", "consecutive_failures = 0",
     "consecutive_failures: \"0\": out of range; write a whole number from 1 to 1000"},
    {"outlier", "consecutive_failures = 1001",
     "consecutive_failures: \"1001\": out of range; write a whole number from 1 to 1000"},
    {"outlier", "eject_time = \"999ms\"",
     "eject_time: \"999ms\": out of range; write a time from 1s to 1d"},
    {"outlier", "eject_time = \"2d\"",
     "eject_time: \"2d\": out of range; write a time from 1s to 1d"},
    {"outlier", "max_ejected = 101",
     "max_ejected: \"101\": out of range; write a whole number from 0 to 100"},
    {"backend", "address = \"\"", "address: \"\": empty; write a value, or leave the option out"},
    {"backend", "weight = 65536",
     "weight: \"65536\": out of range; write a whole number from 0 to 65535"},
    {"backend", "weight = \"3x\"",
     "weight: \"3x\": not a whole number; write a whole number from 0 to 65535"},
    {"backend", "max_connections = \"1k\"",
     "max_connections: \"1k\": not a whole number; write a whole number from 0 to " CONNECTIONS},
    {"backend", "resume_connections = 0",
     "resume_connections: \"0\": out of range; write \"auto\" or a whole number from 1 "
     "to " CONNECTIONS},
    {"backend", "connect_rate = \"100/d\"", "connect_rate: \"100/d\": " A_RATE},
    {"backend", "backup = \"maybe\"",
     "backup: \"maybe\": neither true nor false; write true or false"},
    {"backend", "admin = \"drian\"", "admin: \"drian\": unknown; did you mean \"drain\"?"},
    {"backend", "admin = \"off\"",
     "admin: \"off\": unknown; write \"ready\", \"drain\" or \"maintenance\""},
    {"backend", "checks = \"some\"", "checks: \"some\": unknown; write \"none\", or leave it out"},
    {"check", "interval = \"9ms\"",
     "interval: \"9ms\": out of range; write a time from 10ms to 40d"},
    {"check", "fast_interval = \"0s\"",
     "fast_interval: \"0s\": out of range; write a time from 10ms to 40d"},
    {"check", "down_interval = \"41d\"",
     "down_interval: \"41d\": out of range; write a time from 10ms to 40d"},
    {"check", "timeout = \"0s\"", "timeout: \"0s\": out of range; write a time from 1ms to 40d"},
    {"check", "rise = 0", "rise: \"0\": out of range; write a whole number from 1 to 100"},
    {"check", "fall = 101", "fall: \"101\": out of range; write a whole number from 1 to 100"},
    {"check", "port = 0", "port: \"0\": out of range; write a whole number from 1 to 65535"},
    {"check", "port = 65536",
     "port: \"65536\": out of range; write a whole number from 1 to 65535"},
    {"check", "source = \"lo\"",
     "source: \"lo\": not an IP address; write one of this machine's, without a port, such as "
     "192.0.2.1 or 2001:db8::1"},
    {"check", "source = \"10.0.0.1:80\"", "source: \"10.0.0.1:80\": not an IP address; write one"},
    {"check http", "path = \"\"", "path: \"\": empty; write a value, or leave the option out"},
    {"check http", "headers = { \"A: b\", \"\" }",
     "headers: \"\": empty; write a value, or leave it out"},
    {"check http", "tls = maybe", "tls: \"maybe\": neither true nor false; write true or false"},
    {"check http", "verify = \"\"", "verify: \"\": neither true nor false; write true or false"},
    {"check exec", "command = \"/a\" dynamic = 2",
     "dynamic: \"2\": neither true nor false; write true or false"},
};

START_TEST(each_option_refuses_what_it_should)
{
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        const struct refused *item = &refused[i];
        STR_AUTO text = {0};
        STR_AUTO messages = {0};

        wrap(item->section, item->text, &text);
        ck_assert_ptr_null(read_model(str_text(&text), &messages));
        ck_assert_msg(strstr(str_text(&messages), item->message) != NULL &&
                          strchr(str_text(&messages), '\n') ==
                              str_text(&messages) + messages.len - 1,
                      "%s: %s, not only %s", item->text, str_text(&messages), item->message);
    }
}
END_TEST

/* At run time it has to fit into a message to the monitor. */
START_TEST(long_notify_paths)
{
    char path[NOTIFY_PROGRAM_MAX + 1] = "/";

    memset(path + 1, 'x', sizeof(path) - 2);
    for (size_t len = sizeof(path) - 1; len >= sizeof(path) - 2; len--) {
        STR_AUTO text = {0};
        STR_AUTO messages = {0};
        struct model *model;

        path[len] = '\0';
        str_printf(&text, SERVICE "pool \"web\" { notify = \"%s\"\n%s }\n", path,
                   "backend \"a\" { address = \"10.0.0.1:80\" }");
        model = read_model(str_text(&text), &messages);
        if (len < NOTIFY_PROGRAM_MAX) {
            ck_assert_msg(model != NULL, "%s", str_text(&messages));
            ck_assert_str_eq(model->pools[0].notify, path);
        } else {
            ck_assert_ptr_null(model);
            ck_assert_ptr_nonnull(strstr(str_text(&messages),
                                         "256 bytes long; at most 255 are possible, so give the "
                                         "program a shorter path, with a link for instance\n"));
            ck_assert_ptr_eq(strstr(str_text(&messages), "f:2: pool \"web\": notify: \"/xxx"),
                             str_text(&messages));
        }
        model_free(model);
    }
}
END_TEST

static void expect_service_defaults(const struct model_service *service)
{
    ck_assert(service->freebind);
    ck_assert_uint_eq(service->backlog, 4096);
    ck_assert_uint_eq(service->idle_timeout_ms, 3600000);
    ck_assert_uint_eq(service->half_close_timeout_ms, 30000);
    ck_assert_uint_eq(service->keepalive_ms, 60000);
    ck_assert_uint_eq(service->user_timeout_ms, 30000);
    ck_assert_uint_eq(service->max_connections, 0);
    ck_assert_ptr_null(service->fallback_pool);
    ck_assert_uint_eq(service->fallback_index, SNAPSHOT_NONE);
    ck_assert_uint_eq(service->accept_rate.count, 0);
    ck_assert_uint_eq(service->persistence_ms, 0);
    ck_assert_uint_eq(service->persistence_mask, 32);
    ck_assert_uint_eq(service->persistence_mask6, 128);
    ck_assert(service->healthz);
}

static void expect_pool_defaults(const struct model_pool *pool)
{
    ck_assert_str_eq(pool->scheduler, "wlc");
    ck_assert_uint_eq(pool->connect_timeout_ms, 3000);
    ck_assert_uint_eq(pool->retries, 3);
    ck_assert_uint_eq(pool->keepalive_ms, 60000);
    ck_assert_uint_eq(pool->user_timeout_ms, 30000);
    ck_assert_uint_eq(pool->start, START_UNKNOWN);
    ck_assert_uint_eq(pool->on_unresolved, UNRESOLVED_DOWN);
    ck_assert_uint_eq(pool->hash_key, HASH_KEY_SOURCE);
    ck_assert_uint_eq(pool->queue, 0);
    ck_assert_uint_eq(pool->queue_timeout_ms, 5000);
    ck_assert_uint_eq(pool->slow_start_ms, 0);
    ck_assert_uint_eq(pool->panic_threshold, 0);
    ck_assert_uint_eq(pool->min_healthy, 1);
    ck_assert_uint_eq(pool->backup_use, BACKUP_USE_FIRST);
    ck_assert_uint_eq(pool->on_return, SESSIONS_KEEP);
    ck_assert_uint_eq(pool->on_down, SESSIONS_KEEP);
    ck_assert_uint_eq(pool->send_proxy, SEND_PROXY_OFF);
    ck_assert_uint_eq(pool->require, REQUIRE_ALL);
    ck_assert_ptr_null(pool->notify);
}

static void expect_outlier_defaults(const struct model_outlier *outlier, bool given)
{
    ck_assert(outlier->given == given);
    ck_assert_str_eq(outlier->on[0], "connect");
    ck_assert_ptr_null(outlier->on[1]);
    ck_assert_uint_eq(outlier->consecutive_failures, 5);
    ck_assert_uint_eq(outlier->first_byte_timeout_ms, 0);
    ck_assert_uint_eq(outlier->eject_time_ms, 30000);
    ck_assert_uint_eq(outlier->max_ejected, 10);
}

static void expect_backend_defaults(const struct model_backend *backend)
{
    ck_assert_uint_eq(backend->weight, 1);
    ck_assert_uint_eq(backend->max_connections, 0);
    ck_assert_uint_eq(backend->resume_connections, 0);
    ck_assert_uint_eq(backend->connect_rate.count, 0);
    ck_assert(!backend->backup);
    ck_assert_uint_eq(backend->admin, ADMIN_READY);
    ck_assert_ptr_null(backend->checks);
    ck_assert_ptr_null(backend->check_address_text);
    ck_assert_uint_eq(backend->check_address.ip.family, ADDR_NONE);
}

static void expect_global_defaults(const struct model_global *global)
{
    ck_assert_uint_eq(global->workers, 0);
    ck_assert_uint_eq(global->max_connections, 0);
    ck_assert_uint_eq(global->buffer_bytes, 0);
    ck_assert_ptr_null(global->user);
    ck_assert_ptr_null(global->group);
    ck_assert_str_eq(global->control_socket, "/run/sluice/control.sock");
    ck_assert_uint_eq(global->control_mode, 0660);
    ck_assert_ptr_null(global->control_read[0]);
    ck_assert_ptr_null(global->control_operate[0]);
    ck_assert_ptr_null(global->control_administer[0]);
    ck_assert_str_eq(global->log, "stderr");
    ck_assert_uint_eq(global->log_format, LOG_FORMAT_LOGFMT);
    ck_assert_uint_eq(global->log_level, LOG_LEVEL_INFO);
    ck_assert_uint_eq(global->stop_delay_ms, 0);
    ck_assert_uint_eq(global->drain_timeout_ms, 30000);
    ck_assert_ptr_null(global->state_file);
    ck_assert_ptr_null(global->hash_seed);
}

START_TEST(defaults)
{
    struct model *model = read_good(SERVICE "pool \"web\" { check \"tcp\" { }\n"
                                            "backend \"a\" { address = \"10.0.0.1:80\" } }");
    const struct model_check *check = &model->pools[0].checks[0];

    expect_global_defaults(&model->global);
    expect_service_defaults(&model->services[0]);
    expect_pool_defaults(&model->pools[0]);
    expect_outlier_defaults(&model->pools[0].outlier, false);
    expect_backend_defaults(&model->pools[0].backends[0]);
    ck_assert_uint_eq(check->interval_ms, 2000);
    ck_assert_uint_eq(check->fast_interval_ms, 2000);
    ck_assert_uint_eq(check->down_interval_ms, 2000);
    ck_assert_uint_eq(check->timeout_ms, 1000);
    ck_assert_uint_eq(check->rise, 2);
    ck_assert_uint_eq(check->fall, 3);
    ck_assert_uint_eq(check->port, 0);
    ck_assert_ptr_null(check->source);
    model_free(model);
    model = read_good(SERVICE "pool \"web\" { outlier { }\n"
                              "backend \"a\" { address = \"10.0.0.1:80\" } }");
    expect_outlier_defaults(&model->pools[0].outlier, true);
    model_free(model);
}
END_TEST

START_TEST(defaults_of_check_kinds)
{
    struct model *model =
        read_good(SERVICE "pool \"web\" { check \"tcp\" { }\ncheck \"http\" { }\n"
                          "check \"expect\" { steps = { \"expect x\" } }\n"
                          "check \"exec\" { command = { \"/x\" } }\ncheck \"agent\" { port = 1 }\n"
                          "check \"mysql\" { }\nbackend \"a\" { address = \"10.0.0.1:80\" } }");
    const struct model_check *tcp = &model->pools[0].checks[0];
    const struct model_check *http = tcp + 1;

    ck_assert_ptr_null(tcp->method); /* belongs to others, so it is nothing */
    ck_assert_ptr_null(tcp->user);
    ck_assert(!tcp->dynamic);
    ck_assert_str_eq(http->method, "GET");
    ck_assert_str_eq(http->path, "/");
    ck_assert_str_eq(http->status, "200-399");
    ck_assert_ptr_null(http->host);
    ck_assert_ptr_null(http->body);
    ck_assert_ptr_null(http->sni);
    ck_assert_ptr_null(http->headers[0]);
    ck_assert(!http->tls && !http->verify);
    ck_assert_str_eq(http[1].steps[0], "expect x");
    ck_assert_str_eq(http[2].command[0], "/x");
    ck_assert(http[2].dynamic);
    ck_assert_uint_eq(http[3].port, 1);
    ck_assert_ptr_null(http[3].send);
    ck_assert_str_eq(http[4].user, "sluice");
    model_free(model);
}
END_TEST

START_TEST(values_and_places_arrive)
{
    struct model *model = read_good(
        "global { workers = 3 user = \"u\" log_level = \"debug\" control_mode = \"0600\" }\n"
        "service \"s\" { listen = { \"127.0.0.1:80\", \"unix:@x\" } pool = \"p\"\n"
        "  freebind = no backlog = 9 idle_timeout = \"90s\" }\n"
        "pool \"p\" { scheduler = \"rr\" retries = 1 start = \"down\"\n"
        "  check \"tcp:one\" { down_interval = \"7s\" interval = \"5s\" port = 81 }\n"
        "  backend \"b\" { address = \"H.example:80\" weight = 7 admin = \"drain\"\n"
        "    check \"http\" { rise = 9 } }\n"
        "  backend \"other\" { address = \"10.0.0.1:80\" }\n}\n");
    const struct model_service *service = &model->services[0];
    const struct model_pool *pool = &model->pools[0];
    const struct model_backend *backend = &pool->backends[0];

    ck_assert_uint_eq(model->global.workers, 3);
    ck_assert_str_eq(model->global.user, "u");
    ck_assert_uint_eq(model->global.log_level, LOG_LEVEL_DEBUG);
    ck_assert_uint_eq(model->global.control_mode, 0600);
    ck_assert_str_eq(service->name, "s");
    ck_assert(!service->freebind);
    ck_assert_uint_eq(service->backlog, 9);
    ck_assert_uint_eq(service->idle_timeout_ms, 90000);
    ck_assert_uint_eq(service->n_listeners, 2);
    ck_assert_uint_eq(service->listeners[0].address.ip.port, 80);
    ck_assert_uint_eq(service->listeners[1].address.ip.family, ADDR_UNIX);
    ck_assert_uint_eq(service->pool_index, 0);
    ck_assert_int_eq(service->line, 2);
    ck_assert_ptr_eq(service->file, model->files[0]);
    ck_assert_str_eq(model->files[0], "f");
    ck_assert_uint_eq(pool->start, START_DOWN);
    ck_assert_int_eq(pool->line, 4);
    ck_assert_str_eq(pool->checks[0].title, "tcp:one");
    ck_assert_str_eq(pool->checks[0].kind, "tcp");
    ck_assert_uint_eq(pool->checks[0].interval_ms, 5000);
    ck_assert_uint_eq(pool->checks[0].fast_interval_ms, 5000);
    ck_assert_uint_eq(pool->checks[0].down_interval_ms, 7000);
    ck_assert_uint_eq(pool->checks[0].port, 81);
    ck_assert_str_eq(backend->address_text, "H.example:80");
    ck_assert(backend->named);
    ck_assert_uint_eq(backend->address.ip.family, ADDR_NONE);
    ck_assert_uint_eq(backend->admin, ADMIN_DRAIN);
    ck_assert_uint_eq(backend->own_checks[0].rise, 9);
    ck_assert_int_eq(backend->own_checks[0].line, 7);
    model_free(model);
}
END_TEST

START_TEST(new_sessions_options_arrive)
{
    struct model *model = read_good(
        "global { hash_seed = \"s\" }\n"
        "service \"s\" { listen = { \"127.0.0.1:80\" } pool = \"p\" fallback_pool = \"sorry\"\n"
        "  accept_rate = \"6/m:7\" persistence = \"8s\" persistence_mask = 9\n"
        "  persistence_mask6 = 10 }\n"
        "pool \"sorry\" { backend \"z\" { address = \"10.0.0.9:80\" } }\n"
        "pool \"p\" { scheduler = \"mh\" hash_key = \"source_port\" queue = 11\n"
        "  queue_timeout = \"12s\" slow_start = \"13s\" panic_threshold = 14 min_healthy = 1\n"
        "  backup_use = \"all\" on_return = \"close\" on_down = \"close\"\n"
        "  backend \"a\" { address = \"10.0.0.1:80\" max_connections = 16\n"
        "    resume_connections = 15 connect_rate = \"17/h\" }\n"
        "  backend \"b\" { address = \"10.0.0.2:80\" backup = true } }\n");
    const struct model_service *service = &model->services[0];
    const struct model_pool *pool = &model->pools[1];
    const struct model_backend *backend = &pool->backends[0];

    ck_assert_str_eq(model->global.hash_seed, "s");
    ck_assert_uint_eq(service->pool_index, 1);
    ck_assert_uint_eq(service->fallback_index, 0);
    ck_assert_uint_eq(service->accept_rate.count, 6);
    ck_assert_uint_eq(service->accept_rate.per_ms, 60000);
    ck_assert_uint_eq(service->accept_rate.burst, 7);
    ck_assert_uint_eq(service->persistence_ms, 8000);
    ck_assert_uint_eq(service->persistence_mask, 9);
    ck_assert_uint_eq(service->persistence_mask6, 10);
    ck_assert_uint_eq(pool->hash_key, HASH_KEY_SOURCE_PORT);
    ck_assert_uint_eq(pool->queue, 11);
    ck_assert_uint_eq(pool->queue_timeout_ms, 12000);
    ck_assert_uint_eq(pool->slow_start_ms, 13000);
    ck_assert_uint_eq(pool->panic_threshold, 14);
    ck_assert_uint_eq(pool->backup_use, BACKUP_USE_ALL);
    ck_assert_uint_eq(pool->on_return, SESSIONS_CLOSE);
    ck_assert_uint_eq(pool->on_down, SESSIONS_CLOSE);
    ck_assert_uint_eq(backend->max_connections, 16);
    ck_assert_uint_eq(backend->resume_connections, 15);
    ck_assert_uint_eq(backend->connect_rate.count, 17);
    ck_assert_uint_eq(backend->connect_rate.per_ms, 3600000);
    ck_assert_uint_eq(backend->connect_rate.burst, 0);
    ck_assert(!backend->backup);
    ck_assert(pool->backends[1].backup);
    model_free(model);
}
END_TEST

START_TEST(when_a_full_backend_resumes)
{
    static const uint32_t cases[][3] = {
        /* max_connections, resume_connections, result */
        {0, 0, 0},   {1, 0, 1},      {2, 0, 2},    {3, 0, 3},
        {4, 0, 3},   {5, 0, 4},      {100, 0, 75}, {INT32_MAX, 0, 1610612736},
        {100, 1, 1}, {100, 100, 100}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct model_backend backend = {.max_connections = cases[i][0],
                                        .resume_connections = cases[i][1]};

        ck_assert_uint_eq(model_backend_resume(&backend), cases[i][2]);
    }
}
END_TEST

/* What this release has, in the table's order. */
static const char known[] =
    "global: workers max_connections buffer_memory user group control_socket control_mode "
    "control_read control_operate control_administer status status_allow log log_format "
    "log_level state_file hash_seed stop_delay drain_timeout close_over upgrade_timeout\n"
    "service: listen freebind backlog pool fallback_pool idle_timeout half_close_timeout keepalive "
    "user_timeout max_connections accept_rate persistence persistence_mask persistence_mask6 "
    "session_log admin healthz\n"
    "pool: scheduler hash_key connect_timeout retries keepalive user_timeout send_proxy "
    "source_addresses transparent queue "
    "queue_timeout slow_start drain_within paused panic_threshold min_healthy backup_use on_return "
    "on_down start "
    "on_unresolved "
    "require backends_file notify\n"
    "outlier: on consecutive_failures first_byte_timeout eject_time max_ejected\n"
    "reuse: mode framing warm_min idle_max max_age max_uses max_idle reset_send reset_expect "
    "policy length_bytes length_endian length_includes_header handshake scripts\n"
    "backend: address weight max_connections resume_connections connect_rate backup admin "
    "health check_address checks\n"
    "check: interval fast_interval down_interval timeout rise fall port source method path host "
    "headers status body tls sni verify steps command dynamic send user\n";

START_TEST(the_table_holds_exactly_these)
{
    STR_AUTO found = {0};
    const char *section = "";

    for (const struct option_def *option = option_table; option->name != NULL; option++) {
        if (strcmp(section, option->section) != 0) {
            str_printf(&found, "%s%s:", *section != '\0' ? "\n" : "", option->section);
            section = option->section;
        }
        str_printf(&found, " %s", option->name);
    }
    str_append_char(&found, '\n');
    ck_assert_str_eq(str_text(&found), known);
}
END_TEST

START_TEST(the_table_is_sound)
{
    for (const struct option_def *option = option_table; option->name != NULL; option++) {
        bool fixed = strstr(" workers user group control_socket status state_file hash_seed ",
                            option->name) != NULL;
        bool is_of_backend =
            strcmp(option->section, "backend") == 0 &&
            strstr(" weight max_connections resume_connections connect_rate admin health ",
                   option->name) != NULL;
        bool settable = is_of_backend || strcmp(option->name, "log_level") == 0;

        ck_assert_msg(strlen(option->help) > 20, "%s", option->name);
        ck_assert_msg(option->reloadable == !(fixed && strcmp(option->section, "global") == 0),
                      "%s", option->name);
        ck_assert_msg(option->settable == settable, "%s", option->name);
        ck_assert(option->type == OPTION_LIST ||
                  (option->type == OPTION_WORD || option->type == OPTION_SAMPLE) ==
                      (option->words != NULL));
        ck_assert(!option->settable || option->type != OPTION_LIST);
        ck_assert(option->type == OPTION_SIZE || option->max <= UINT32_MAX);
        ck_assert(!option->required || option->default_text == NULL);
    }
}
END_TEST

START_TEST(what_kinds_of_checks_have_can_be_handed_on)
{
    for (const struct option_def *option = option_table; option->name != NULL; option++) {
        bool is_check = strcmp(option->section, "check") == 0;

        ck_assert(is_check || (option->kinds == NULL && option->required_for == NULL));
        ck_assert(option->kinds == NULL || option->type == OPTION_TEXT ||
                  option->type == OPTION_LIST || option->type == OPTION_BOOL);
        ck_assert(option->required_for == NULL || option->kinds == NULL ||
                  option_is_for(option, option->required_for));
    }
    ck_assert(option_is_for(find("check", "source"), "tcp"));
    ck_assert(option_is_for(find("check", "source"), "memcached"));
    ck_assert(!option_is_for(find("check", "source"), "exec"));
    ck_assert(!option_is_for(find("check", "source"), "http expect"));
    ck_assert(!option_is_for(find("check", "source"), "memcache"));
    ck_assert(!option_is_for(find("check", "source"), ""));
    ck_assert(option_is_for(find("check", "interval"), "exec"));
    ck_assert(option_is_required_for(find("check", "port"), "agent"));
    ck_assert(!option_is_required_for(find("check", "port"), "tcp"));
}
END_TEST

START_TEST(the_schema_is_the_table)
{
    const struct conf_section_schema *root = model_schema();
    const struct conf_section_schema *pool = root->sections[2];
    size_t n = 0;

    ck_assert_ptr_eq(model_schema(), root);
    ck_assert_str_eq(root->sections[0]->name, "global");
    ck_assert_str_eq(root->sections[1]->name, "service");
    ck_assert_str_eq(pool->name, "pool");
    ck_assert_ptr_null(root->sections[3]);
    ck_assert_str_eq(pool->sections[0]->name, "outlier");
    ck_assert(!pool->sections[0]->titled);
    ck_assert_str_eq(pool->sections[1]->name, "reuse");
    ck_assert(!pool->sections[1]->titled);
    ck_assert_str_eq(pool->sections[2]->name, "check");
    ck_assert(pool->sections[2]->titled_any);
    ck_assert_str_eq(pool->sections[3]->name, "backend");
    ck_assert_str_eq(pool->sections[3]->sections[0]->name, "check");
    for (size_t i = 0; root->sections[i] != NULL; i++) {
        for (const struct conf_option_schema *o = root->sections[i]->options; o->name; o++) {
            ck_assert(o->list == (find(root->sections[i]->name, o->name)->type == OPTION_LIST));
            n++;
        }
    }
    ck_assert_uint_eq(n, 21 + 17 + 24);
}
END_TEST

START_TEST(options_of_later_releases_are_unknown)
{
    static const char *const later[][2] = {
        {"global", "metrics = \"[::1]:80\""}, {"service", "per_source_connections = 1"},
        {"service", "accept_proxy = \"v1\""}, {"pool", "drain_by = \"1s\""},
        {"check", "expect = \"x\""},          {"outlier", "base_eject_time = \"1s\""},
        {"pool", "reuse { shares = 3 }"},
    };

    for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++) {
        STR_AUTO text = {0};
        STR_AUTO messages = {0};

        wrap(later[i][0], later[i][1], &text);
        ck_assert_ptr_null(read_model(str_text(&text), &messages));
        ck_assert_msg(strstr(str_text(&messages), "unknown") != NULL, "%s", str_text(&messages));
    }
}
END_TEST

START_TEST(values_in_messages_are_harmless)
{
    char shown[SHOW_MAX];
    char text[200];

    ck_assert_str_eq(option_show("a\nb\x7f\x1b", shown), "\"a?b??\"");
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    ck_assert_uint_lt(strlen(option_show(text, shown)), SHOW_MAX);
    ck_assert_str_eq(shown + strlen(shown) - 5, "x…\"");
    /* Cut between characters, wherever the first of them begins. */
    for (size_t i = 0; i < 4; i++) {
        memset(text, 'x', i);
        for (size_t j = i; j + 2 < sizeof(text); j += 2) {
            memcpy(text + j, "ä", 2);
            text[j + 2] = '\0';
        }
        option_show(text, shown);
        ck_assert_uint_lt(strlen(shown), SHOW_MAX);
        ck_assert_str_eq(shown + strlen(shown) - 6, "ä…\"");
    }
}
END_TEST

int main(void)
{
    return RUN_SUITE("model options", each_option_takes_what_it_should,
                     each_option_refuses_what_it_should, long_notify_paths, defaults,
                     defaults_of_check_kinds, values_and_places_arrive, new_sessions_options_arrive,
                     when_a_full_backend_resumes, the_table_holds_exactly_these, the_table_is_sound,
                     what_kinds_of_checks_have_can_be_handed_on, the_schema_is_the_table,
                     options_of_later_releases_are_unknown, values_in_messages_are_harmless);
}
