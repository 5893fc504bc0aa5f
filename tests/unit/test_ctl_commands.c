/*
 * Every command of the control socket without the socket: levels, arguments, what the host is
 * asked, replies in both forms, and the pinned shape of show stats.
 */
#include "test_ctl_run.h"

/* --- levels --- */

static const struct {
    const char *words;
    enum ctl_level level;
    const char *sample; /* a good request */
} pinned[] = {
    {"show info", CTL_LEVEL_READ, "show info"},
    {"show services", CTL_LEVEL_READ, "show services"},
    {"show pools", CTL_LEVEL_READ, "show pools"},
    {"show backends", CTL_LEVEL_READ, "show backends web"},
    {"show workers", CTL_LEVEL_READ, "show workers"},
    {"show sessions", CTL_LEVEL_READ, "show sessions limit=5"},
    {"show events", CTL_LEVEL_READ, "show events since=1h"},
    {"show errors", CTL_LEVEL_READ, "show errors"},
    {"show checks", CTL_LEVEL_READ, "show checks web"},
    {"show upstreams", CTL_LEVEL_READ, "show upstreams web"},
    {"show source-ports", CTL_LEVEL_READ, "show source-ports web a"},
    {"show names", CTL_LEVEL_READ, "show names"},
    {"show stats", CTL_LEVEL_READ, "show stats"},
    {"show config", CTL_LEVEL_READ, "show config"},
    {"show diff", CTL_LEVEL_READ, "show diff"},
    {"explain", CTL_LEVEL_READ, "explain web 10.1.2.3"},
    {"health", CTL_LEVEL_READ, "health web"},
    {"help", CTL_LEVEL_READ, "help show"},
    {"add backend", CTL_LEVEL_OPERATE, "add backend web x 10.0.0.9:80"},
    {"remove backend", CTL_LEVEL_OPERATE, "remove backend web a"},
    {"set backend", CTL_LEVEL_OPERATE, "set backend web a weight=4"},
    {"drain backend", CTL_LEVEL_OPERATE, "drain backend web a"},
    {"ready backend", CTL_LEVEL_OPERATE, "ready backend web a"},
    {"maintain backend", CTL_LEVEL_OPERATE, "maintain backend web a"},
    {"set pool", CTL_LEVEL_OPERATE, "set pool web retries=1"},
    {"set service", CTL_LEVEL_OPERATE, "set service web pool=db"},
    {"reset backend", CTL_LEVEL_OPERATE, "reset backend web a"},
    {"pause pool", CTL_LEVEL_OPERATE, "pause pool web within=5s"},
    {"resume pool", CTL_LEVEL_OPERATE, "resume pool web"},
    {"reset service", CTL_LEVEL_OPERATE, "reset service web"},
    {"reset pool", CTL_LEVEL_OPERATE, "reset pool web"},
    {"reset all", CTL_LEVEL_OPERATE, "reset all"},
    {"close session", CTL_LEVEL_OPERATE, "close session 7"},
    {"close sessions", CTL_LEVEL_OPERATE, "close sessions client=10.0.0.0/8"},
    {"set global", CTL_LEVEL_OPERATE, "set global health=fail"},
    {"check config", CTL_LEVEL_ADMINISTER, "check config /tmp/x=y.conf"},
    {"reload", CTL_LEVEL_ADMINISTER, "reload why=\"new file\""},
    {"confirm", CTL_LEVEL_ADMINISTER, "confirm"},
    {"show configs", CTL_LEVEL_ADMINISTER, "show configs"},
    {"rollback", CTL_LEVEL_ADMINISTER, "rollback 3"},
    {"save", CTL_LEVEL_ADMINISTER, "save /tmp/x.conf"},
    {"upgrade", CTL_LEVEL_ADMINISTER, "upgrade why=\"new package\""},
    {"stop", CTL_LEVEL_ADMINISTER, "stop within=5s"},
};

START_TEST(the_table_is_the_pinned_one)
{
    size_t n = 0;

    while (command_table[n])
        n++;
    ck_assert_uint_eq(n, (size_t)COUNT(pinned));
    for (int i = 0; i < COUNT(pinned); i++) {
        size_t k = 0;

        while (command_table[k] && strcmp(command_table[k]->words, pinned[i].words) != 0)
            k++;
        ck_assert_msg(command_table[k] != NULL, "%s", pinned[i].words);
        ck_assert_int_eq(command_table[k]->level, pinned[i].level);
        ck_assert_uint_gt(strlen(command_table[k]->help), 0);
    }
}
END_TEST

START_TEST(every_command_at_every_level)
{
    const char *sample = pinned[_i].sample;

    for (enum ctl_level level = CTL_LEVEL_NONE; level < CTL_LEVEL_COUNT; level++) {
        unsigned asked = fake.n_asked;

        fake.n_stopped = 0;
        start(sample, level);
        ck_assert_uint_eq(result.n_done, 1);
        ck_assert_int_eq(result.denied, level < pinned[_i].level);
        ck_assert_int_eq(result.is_error, level < pinned[_i].level);
        if (level >= pinned[_i].level)
            continue;
        ck_assert_uint_eq(fake.n_asked, asked);
        ck_assert_uint_eq(fake.n_stopped, 0);
        says(str_text(&result.text), "error: not allowed");
        says(str_text(&result.text), ctl_level_names[pinned[_i].level]);
        says(str_text(&result.text), "control_administer");
        says(str_text(&result.text), "uid 1001");
    }
}
END_TEST

START_TEST(denied_before_arguments_are_looked_at)
{
    start("drain backend nonsense for=ever x y z json", CTL_LEVEL_READ);
    ck_assert(result.denied);
    says(str_text(&result.text), "{\"error\":\"not allowed");
}
END_TEST

START_TEST(every_command_in_json)
{
    char line[256];
    json_t *json;

    snprintf(line, sizeof(line), "%s json", pinned[_i].sample);
    json = run_json(line);
    ck_assert(!result.is_error);
    ck_assert_ptr_null(json_object_get(json, "error"));
    ck_assert_ptr_null(strchr(str_text(&result.text), '\n'));
    json_decref(json);
    start(line, CTL_LEVEL_NONE);
    ck_assert_int_eq(strncmp(str_text(&result.text), CODEC_ERROR_JSON, strlen(CODEC_ERROR_JSON)),
                     0);
}
END_TEST

/* --- words and arguments --- */

static const struct {
    const char *line;
    const char *says[3];
} refused[] = {
    {"shwo pools", {"unknown command: shwo pools", "did you mean \"show pools\""}},
    {"show poolz", {"did you mean \"show pools\""}},
    {"hlep", {"did you mean \"help\""}},
    {"show", {"unknown command: show; \"help show\" lists those that begin with show"}},
    {"drain web a", {"unknown command: drain web; \"help drain\" lists"}},
    {"xyzzy \"a b\"", {"unknown command: xyzzy \"a b\"", "help"}},
    {"show sources", {"unknown command"}},
    {"show upstreams wev", {"no pool wev", "did you mean web"}},
    {"show upstreams web a", {"too many words", "usage: show upstreams [POOL]"}},
    {"show upstreams pool=web", {"unknown option pool="}},
    {"show source-ports wev", {"no pool wev", "did you mean web"}},
    {"show source-ports web x", {"pool web has no backend \"x\"", "see show backends web"}},
    {"upgrade bin/false", {"PATH must be an absolute path"}},
    {"upgrade /bin/false /bin/true", {"too many words"}},
    {"explain", {"something is missing", "usage: explain SERVICE CLIENT[:PORT] [to=ADDRESS]"}},
    {"explain web", {"something is missing"}},
    {"explain web 10.0.0.1 10.0.0.2", {"too many words"}},
    {"explain wbe 10.0.0.1", {"no service wbe", "did you mean web"}},
    {"explain web nonsense", {"client nonsense is no address", "[2001:db8::1]:40000"}},
    {"explain web 10.0.0.300", {"client 10.0.0.300 is no address"}},
    {"explain web 10.0.0.1:", {"client 10.0.0.1: is no address: no port"}},
    {"explain web 10.0.0.1:99999", {"port out of range"}},
    {"explain web [::1", {"client [::1 is no address", "]"}},
    {"explain web 1::2::3", {"client 1::2::3 is no address"}},
    {"explain web client.example.net:80", {"client client.example.net:80 is no address"}},
    {"explain web unix:/run/x", {"client unix:/run/x is no address"}},
    {"explain web \"\"", {"client \"\" is no address"}},
    {"explain web 10.0.0.1 to=x", {"to x is no address"}},
    {"explain web 10.0.0.1 to=unix", {"to unix is no address"}},
    {"explain web 10.0.0.1 to=10.0.0.2:81",
     {"service web does not listen on 10.0.0.2:81; it listens on 0.0.0.0:80, [::]:4711"}},
    {"explain web 10.0.0.1 sni=x.org", {"unknown option sni="}},
    {"show pools x", {"too many words", "usage: show pools"}},
    {"show pools x=y", {"unknown option x="}},
    {"show backends wev", {"no pool wev", "did you mean web"}},
    {"show backends web/a", {"no pool web/a"}},
    {"show checks nosuchpool", {"no pool nosuchpool"}},
    {"drain backend web", {"something is missing", "drain backend POOL NAME [within=TIME]"}},
    {"drain backend web a b", {"too many words"}},
    {"drain backend web q", {"no backend in pool web called q"}},
    {"drain backend * q", {"no backend in any pool called q"}},
    {"ready backend * mian", {"no backend in any pool called mian", "did you mean main"}},
    {"set backend * a weight=3", {"no pool *"}},
    {"remove backend * a", {"no pool *"}},
    {"reset backend * a", {"no pool *"}},
    {"drain backend web a within=5", {"within=5:"}},
    {"drain backend web a for=5s", {"unknown option for="}},
    {"pause pool wbe", {"no pool wbe", "did you mean web"}},
    {"pause pool web within=soon", {"within=soon:"}},
    {"pause pool web for=0s", {"for=0s: it would end at once"}},
    {"pause pool web force", {"too many words"}},
    {"resume pool web within=5s", {"unknown option within="}},
    {"reset service wbe", {"no service wbe", "did you mean web"}},
    {"maintain backend web a close=yes", {"close=yes:", "true or false"}},
    {"maintain backend web a within=1m", {"within=", "close=true"}},
    {"maintain backend web a close=false within=1m", {"within=", "close=true"}},
    {"maintain backend web a close=true within=1", {"within=1:"}},
    {"maintain backend web x close=true", {"no backend in pool web called x"}},
    {"maintain backend * x close=true", {"no backend in any pool called x"}},
    {"ready backend web a for=5s", {"unknown option for="}},
    {"drain backend web a why=x why=y", {"why= is given twice"}},
    {"drain backend web a force force", {"too many words"}},
    {"set backend web a", {"no option=value"}},
    {"set backend web a why=x", {"no option=value"}},
    {"set backend web a wieght=3", {"unknown option wieght=", "did you mean weight="}},
    {"set backend web a backup=true", {"backup= cannot be given by command; change it in the"}},
    {"set backend web a weight=1 weight=2", {"weight= is given twice"}},
    {"add backend web x", {"something is missing", "usage: add backend POOL NAME ADDRESS"}},
    {"add backend wbe x 10.0.0.9:80", {"no pool wbe", "did you mean web"}},
    {"add backend web x 10.0.0.9:80 address=y", {"unknown option address="}},
    {"set backend web a address=10.0.0.9:80",
     {"address= cannot be given by command; change it in the file", "or add backend with that"}},
    {"add backend web x 10.0.0.9:80 bakcup=true", {"did you mean backup="}},
    {"add backend web x 10.0.0.9:80 force", {"too many words"}},
    {"reset al", {"unknown command", "reset all"}},
    {"set pool web", {"no option=value"}},
    {"set pool web for=5s", {"no option=value", "[for=TIME]"}},
    {"set backend web a weight=1 for=0s", {"for=0s: it would end at once"}},
    {"set backend web a weight=1 for=soon", {"for=soon:"}},
    {"set backend web a weight=1 for=1s for=2s", {"for= is given twice"}},
    {"set backend web a weight=1 fro=1s", {"unknown option fro="}},
    {"set pool wbe retries=1", {"no pool wbe", "did you mean web"}},
    {"set pool web retires=1", {"unknown option retires=", "did you mean retries="}},
    {"set pool web source_addresses=10.0.0.1",
     {"source_addresses= cannot be given by command, as it is a list"}},
    {"set service wbe pool=db", {"no service wbe", "did you mean web"}},
    {"set service web listen=0.0.0.0:1", {"listen= cannot be given by command, as it is a list"}},
    {"set service web", {"no option=value"}},
    {"reset all web", {"too many words"}},
    {"reset pool wbe", {"no pool wbe", "did you mean web"}},
    {"reset backend web x", {"no backend in pool web called x"}},
    {"remove backend web x", {"no backend in pool web called x"}},
    {"remove backend web a within=x", {"within=x:"}},
    {"remove backend web a weight=3", {"unknown option weight="}},
    {"health wbe", {"no service wbe", "did you mean web"}},
    {"health web db", {"too many words", "usage: health [SERVICE]"}},
    {"health --exit-code", {"no service --exit-code"}},
    {"set global", {"no option=value", "health=fail"}},
    {"set global why=x", {"no option=value"}},
    {"set global health=down", {"health=down:", "fail", "auto"}},
    {"set global health=fail health=auto", {"health= is given twice"}},
    {"set global log_levl=debug", {"unknown option log_levl=", "did you mean log_level="}},
    {"set global log=stderr", {"unknown option log="}},
    {"set global log_level=debug for=0s", {"for=0s:"}},
    {"set global health=fail log_level=debug", {"health=fail goes alone"}},
    {"set global healht=fail", {"unknown option healht=", "did you mean health="}},
    {"set global health=fail for=5m", {"health=fail goes alone"}},
    {"set global for=5m", {"no option=value"}},
    {"set global health=fail force", {"too many words"}},
    {"reload force", {"too many words"}},
    {"reload confirm=5", {"confirm=5:"}},
    {"reload confirm=0s", {"confirm=0s: write a time from 1s to 1d"}},
    {"reload confirm=2d", {"confirm=2d: write a time from 1s to 1d"}},
    {"confirm 3", {"too many words"}},
    {"rollback 0", {"GENERATION 0:"}},
    {"rollback x", {"GENERATION x:"}},
    {"show configs 7", {"no configuration of generation 7 is kept"}},
    {"save", {"something is missing"}},
    {"stop within=5", {"within=5:"}},
    {"stop now", {"too many words"}},
    {"show pools force", {"too many words"}},
    {"show pools why=x", {"unknown option why="}},
    {"check config some.conf", {"absolute"}},
    {"show sessions limit=0", {"limit=0:"}},
    {"show sessions limit=100001", {"limit=100001:"}},
    {"show sessions idle=x", {"idle=x:"}},
    {"show sessions client=10.0.0.0/99", {"client=10.0.0.0/99:"}},
    {"show sessions service=wb", {"no service wb", "did you mean web"}},
    {"show sessions backend=web", {"POOL/NAME"}},
    {"show sessions backend=web/zzzz", {"no backend in pool web called zzzz"}},
    {"show sessions backend=/a", {"no pool \"\""}},
    {"show sessions sort=age", {"unknown option sort="}},
    {"close session", {"something is missing", "usage: close session ID"}},
    {"close session 0", {"0:", "show sessions"}},
    {"close session web", {"web:", "show sessions"}},
    {"close session 7 8", {"too many words"}},
    {"close session 7 over=2s", {"unknown option over="}},
    {"close sessions", {"all would be closed", "backend=POOL/NAME", "client=CIDR"}},
    {"close sessions over=2s", {"all would be closed"}},
    {"close sessions 7", {"too many words"}},
    {"close sessions service=web", {"unknown option service="}},
    {"close sessions backend=web", {"POOL/NAME"}},
    {"close sessions backend=web/zzzz", {"no backend in pool web called zzzz"}},
    {"close sessions client=10.0.0.0/99", {"client=10.0.0.0/99:"}},
    {"close sessions client=10.0.0.0/8 over=2", {"over=2:"}},
    {"show events backend=a", {"POOL/NAME"}},
    {"show events limit=x", {"limit=x:"}},
    {"show events since=yesterday", {"since=yesterday:"}},
    {"show events kind=zz", {"kind=zz: there is no such kind", "admin, asked, backends_file,"}},
    {"show events kind=refussed", {"did you mean refused?", "; kinds are admin, "}},
    {"show events kind=", {"kind=: there is no such kind"}},
    {"help shw", {"no such command"}},
};

START_TEST(json_alone_is_no_command)
{
    says(run("json"), "{\"error\":\"bad usage: no command");
}
END_TEST

START_TEST(what_waits_to_be_confirmed)
{
    fake.configs.until_ms = 1700000000000;
    says(run("reload"), "not confirmed: generation 3 returns at 2023-11-14T22:13:20");
    says(run("reload json"), "\"returns\":3,\"until_ms\":1700000000000");
    says(run("rollback"), "not confirmed");
    says(run("confirm json"), "\"changes\":[\"global: the running");
    fake.configs.returns = 0;
    says(run("confirm"), "error: nothing waits to be confirmed; reload confirm=TIME");
    ck_assert_ptr_null(strstr(run("reload"), "not confirmed"));
}
END_TEST

START_TEST(kept_configurations)
{
    fake.kept = (struct kept_configs){
        .items = {{.generation = 2, .text = (char *)"old", .by = (char *)"me"},
                  {.generation = 3, .text = (char *)"file", .by = (char *)"me"},
                  {.generation = 7, .text = (char *)"runs", .by = (char *)"me"}},
        .count = 3};
    fake.configs.running = 7;
    fake.configs.file_text = "file";
    says(run("show configs"), "returns unless confirmed");
    fake.configs.returns = 0;
    fake.configs.file_runs = false;
    says(run("show configs"), "in the file ");
    says(run("show configs"), "what runs is not what the file said");
    says(run("show diff"), "what runs is not what the file said");
    says(run("show info json"), "\"file_runs\":false");
    says(run("show info json"), "\"file_refused\":false,\"file_refused_wall_ms\":null,"
                                "\"file_refused_error\":null");
    fake.configs.refused_wall_ms = 1000;
    fake.configs.refused = "f:1: not closed";
    says(run("show info json"), "\"file_refused\":true,\"file_refused_wall_ms\":1000,"
                                "\"file_refused_error\":\"f:1: not closed\"");
    says(run("show configs json"), "\"file_refused\":true,\"file_refused_wall_ms\":1000,"
                                   "\"file_refused_error\":\"f:1: not closed\"");
    says(run("show configs"), "the file was refused at 1970-01-01T00:00:01");
    says(run("show diff"), "so what runs is not what it says; first error: f:1: not closed");
    fake.configs.refused_wall_ms = 0;
    says(run("show configs json"), "\"runs\":true,\"file\":false");
    says(run("show configs 2"), "old");
    says(run("save /x"), "# not saved: the daemon writes no files for others");
    says(run("save /x json"), "\"loaded_files\":[");
}
END_TEST

START_TEST(bad_requests_are_refused)
{
    const char *text = run(refused[_i].line);
    char line[256];

    ck_assert(result.is_error);
    ck_assert(!result.denied);
    ck_assert_int_eq(strncmp(text, "error: ", 7), 0);
    for (int i = 0; i < 3 && refused[_i].says[i]; i++)
        says(text, refused[_i].says[i]);
    ck_assert_uint_eq(fake.n_asked + fake.n_stopped, 0);
    snprintf(line, sizeof(line), "%s json", refused[_i].line);
    json_decref(run_json(line));
    ck_assert_int_eq(strncmp(str_text(&result.text), "{\"error\":", 9), 0);
}
END_TEST

static const struct {
    const char *line, *asked;
} asks[] = {
    {"set backend web a weight=4", "set web/a weight=4 why=-"},
    {"set backend web a weight=4 max_connections=9 why=\"more room\"",
     "set web/a weight=4 max_connections=9 why=more room"},
    {"set backend why=x web admin=drain b force", "set web/b admin=drain force why=x"},
    {"drain backend web a", "set web/a admin=drain why=-"},
    {"drain backend * a within=1m", "set */a admin=drain within 60000 ms why=-"},
    {"drain backend web a within=0s", "set web/a admin=drain within 0 ms why=-"},
    {"remove backend web a within=2s force", "remove web/a within 2000 ms force why=-"},
    {"pause pool web within=1s for=10m", "set web/ paused=true for 600000 ms within 1000 ms why=-"},
    {"resume pool web why=done", "set web/ paused=false why=done"},
    {"reset service web force", "reset web:/ force why=-"},
    {"drain backend web a why=\"x=y z\" force json", "set web/a admin=drain force why=x=y z"},
    {"ready backend db main", "set db/main admin=ready why=-"},
    {"maintain backend db main force", "set db/main admin=maintenance force why=-"},
    {"add backend web x 10.0.0.9:80 backup=true why=y weight=2",
     "add web/x address=10.0.0.9:80 backup=true weight=2 why=y"},
    {"remove backend web a force", "remove web/a force why=-"},
    {"set pool web retries=1 queue=5 why=y force", "set web/ retries=1 queue=5 force why=y"},
    {"set service web pool=db", "set web:/ pool=db why=-"},
    {"drain backend * main", "set */main admin=drain why=-"},
    {"maintain backend web a close=false", "set web/a admin=maintenance why=-"},
    {"maintain backend * a force", "set */a admin=maintenance force why=-"},
    {"ready backend * b why=y", "set */b admin=ready why=y"},
    {"set backend web a weight=4 for=10m admin=drain",
     "set web/a weight=4 admin=drain for 600000 ms why=-"},
    {"set pool web for=5s retries=1", "set web/ retries=1 for 5000 ms why=-"},
    {"set service web pool=db for=1s", "set web:/ pool=db for 1000 ms why=-"},
    {"reset backend web c", "reset web/c why=-"},
    {"reset pool db force", "reset db/ force why=-"},
    {"reset all why=x", "reset / why=x"},
    {"set global health=fail why=\"new site\"", "health fail by uid 1001 pid 42 why=new site"},
    {"set global health=auto", "health auto by uid 1001 pid 42 why=-"},
    {"check config", "check - as 1001"},
    {"check config /tmp/a=b.conf", "check /tmp/a=b.conf as 1001"},
    {"reload why=x", "reload by uid 1001 pid 42"},
    {"reload confirm=5m", "reload confirm=300000"},
    {"rollback", "rollback 0 by uid 1001 pid 42"},
    {"rollback 12 why=x", "rollback 12 by uid 1001 pid 42"},
    {"upgrade", "upgrade to its own by uid 1001 pid 42"},
    {"explain web 10.1.2.3", "explain web 10.1.2.3 to 0.0.0.0:80"},
    {"show sessions", "sessions service=-1 row=-1 client=-/0 idle=0 limit=100"},
    {"close session 281474976710657 why=stuck",
     "close session 281474976710657: id=281474976710657 row=-1 client=-/0 of -/- over 0 ms "
     "why=stuck"},
    {"close sessions backend=web/b over=2s",
     "close pool web, backend b: id=0 row=4 client=-/0 of web/b over 2000 ms why=-"},
    {"close sessions client=10.0.0.0/8 backend=web/b",
     "close pool web, backend b, clients in 10.0.0.0/8: id=0 row=4 client=10.0.0.0/8 of web/b over "
     "0 ms why=-"},
    {"close sessions client=10.1.2.3",
     "close clients in 10.1.2.3: id=0 row=-1 client=10.1.2.3/32 of -/- over 0 ms why=-"},
    {"show sessions service=web backend=web/b client=10.0.0.0/8 idle=2m limit=7",
     "sessions service=6 row=4 client=10.0.0.0/8 idle=120000 limit=7"},
};

START_TEST(the_host_is_asked)
{
    run(asks[_i].line);
    ck_assert(!result.is_error);
    ck_assert_str_eq(fake.asked, asks[_i].asked);
    ck_assert_uint_eq(fake.n_asked, 1);
}
END_TEST

/* --- changes --- */

START_TEST(a_change_is_told_with_standing_overrides)
{
    const char *text = run("set backend web a weight=4");
    json_t *json;

    says(text, "pool web: backend a weight 3 -> 4\n");
    says(text, "generation 4\n");
    says(text, "override: pool web, backend c: admin = maintenance; the file says ready "
               "(by uid 0 pid 42, 2023-11-14T22:13:20.000Z: new disks)\n");
    json = run_json("set backend web a weight=4 json");
    ck_assert_int_eq(json_integer_value(json_object_get(json, "generation")), 4);
    ck_assert_str_eq(json_string_value(json_array_get(json_object_get(json, "changes"), 0)),
                     "pool web: backend a weight 3 -> 4");
    ck_assert_uint_eq(json_array_size(json_object_get(json, "overrides")), 1);
    json_decref(json);
}
END_TEST

START_TEST(what_was_added_and_removed_is_told)
{
    struct override items[] = {
        {.kind = OVERRIDE_ADDED,
         .pool = (char *)"web",
         .backend = (char *)"x",
         .value = (char *)"10.0.0.9:80 weight=2",
         .by = (char *)"uid 0"},
        {.kind = OVERRIDE_SET,
         .pool = (char *)"web",
         .backend = (char *)"x",
         .option = (char *)"weight",
         .value = (char *)"5",
         .file_value = (char *)"2",
         .by = (char *)"uid 0",
         .until_ms = 5,
         .until_wall_ms = 60000},
        {.kind = OVERRIDE_REMOVED,
         .pool = (char *)"web",
         .backend = (char *)"y",
         .file_value = (char *)"10.0.0.8:80",
         .by = (char *)"uid 0"},
        {.pool = (char *)"web",
         .option = (char *)"retries",
         .value = (char *)"1",
         .file_value = (char *)"3",
         .by = (char *)"uid 0"},
        {.service = (char *)"web",
         .option = (char *)"fallback_pool",
         .value = (char *)"db",
         .file_value = (char *)"",
         .by = (char *)"uid 0"},
    };
    const char *text;

    fake.overrides = (struct overrides){.items = items, .count = COUNT(items)};
    text = run("reload");
    says(text, "override: pool web, backend x: added, 10.0.0.9:80 weight=2; the file has none of "
               "that name (by uid 0, 1970-");
    says(text, "override: pool web, backend x: weight = 5; it was added with 2 (by uid 0, "
               "1970-01-01T00:00:00.000Z, until 1970-01-01T00:01:00.000Z)");
    says(text, "override: pool web, backend y: removed; the file has it at 10.0.0.8:80 (by");
    says(text, "override: pool web: retries = 1; the file says 3 (by");
    says(text, "override: service web: fallback_pool = db; the file says nothing (by");
    text = run("reload json");
    says(text, "\"until_wall_ms\":60000");
    says(text, "\"until_wall_ms\":null");
    says(text, "{\"kind\":\"set\",\"service\":\"web\",\"pool\":null,\"backend\":null");
    says(text,
         "{\"kind\":\"added\",\"service\":null,\"pool\":\"web\",\"backend\":\"x\",\"option\":null,"
         "\"value\":\"10.0.0.9:80 weight=2\",\"file_value\":null");
    says(text, "{\"kind\":\"removed\",\"service\":null,\"pool\":\"web\",\"backend\":\"y\"");
}
END_TEST

START_TEST(what_stands_against_the_file)
{
    const char *text = run("show diff");

    says(text, "pool \"web\" {\n    backend \"c\" {\n        # ready in the file; by uid 0 pid 42, "
               "2023-11-14T22:13:20.000Z: new disks\n        admin = \"maintenance\"\n    }\n}\n");
    text = run("show diff json");
    says(text, "\"diff\":\"pool");
    says(text, "\"overrides\":[{\"kind\":\"set\"");
    fake.overrides.count = 0;
    says(run("show diff"), "nothing stands against the file");
    says(run("show diff json"), "\"overrides\":[],\"health\":\"auto\",\"diff\":\"\"");
}
END_TEST

START_TEST(a_change_refused_by_the_host)
{
    fake.refuses = "this would take away the last eligible backend of pool web; say force";
    ck_assert_str_eq(run("drain backend web a"),
                     "error: this would take away the last eligible backend of pool web; say "
                     "force\n");
    says(run("reload json"), "{\"error\":\"this would take");
    ck_assert(result.is_error);
}
END_TEST

START_TEST(an_answer_that_comes_later)
{
    fake.holds = true;
    start("reload", CTL_LEVEL_ADMINISTER);
    ck_assert_uint_eq(result.n_done, 0);
    fake_answer();
    ck_assert_uint_eq(result.n_done, 1);
    ck_assert(!result.is_error);
}
END_TEST

/* Which comes first, so that nobody comes back to it. */
START_TEST(maintenance_closes_when_told_to)
{
    json_t *json;

    fake.n_closed = 1;
    fake.holds = true;
    start("maintain backend web b close=true within=5s why=disk json", CTL_LEVEL_ADMINISTER);
    ck_assert_str_eq(fake.asked, "set web/b admin=maintenance why=disk");
    fake_answer();
    ck_assert_str_eq(fake.asked, "close pool web, backend b: id=0 row=4 client=-/0 of web/b over "
                                 "5000 ms why=disk");
    ck_assert_uint_eq(result.n_done, 0);
    fake_answer();
    ck_assert_uint_eq(result.n_done, 1);
    ck_assert_uint_eq(fake.n_asked, 2);
    json = json_loads(str_text(&result.text), 0, NULL);
    ck_assert_ptr_nonnull(json);
    is_number(json, "generation", 4);
    ck_assert_uint_eq(json_array_size(json_object_get(json, "changes")), 2);
    json_decref(json);
}
END_TEST

START_TEST(maintenance_of_all_pools_closes_in_each)
{
    run("maintain backend * main close=true");
    says(fake.asked, "close pool db, backend main: id=0 row=8");
    ck_assert_uint_eq(fake.n_asked, 2);
    ck_assert(!result.is_error);
    fake.holds = true;
    start("maintain backend web b close=true", CTL_LEVEL_ADMINISTER);
    fake.refuses = "no";
    fake_answer();
    ck_assert_uint_eq(result.n_done, 1);
    ck_assert(result.is_error);
    ck_assert_uint_eq(fake.n_asked, 3);
}
END_TEST

START_TEST(maintenance_stays_where_closing_fails)
{
    fake.holds = true;
    start("maintain backend web b close=true", CTL_LEVEL_ADMINISTER);
    fake_answer();
    fake.refuses = "a worker did not answer";
    fake_answer();
    ck_assert(!result.is_error);
    says(str_text(&result.text), "warning: a worker did not answer");
}
END_TEST

START_TEST(maintenance_ends_without_its_server)
{
    fake.holds = true;
    start("maintain backend web b close=true", CTL_LEVEL_ADMINISTER);
    pending->owner = NULL;
    pending->host.ops = NULL;
    fake_answer();
    ck_assert_uint_eq(result.n_done, 1);
    ck_assert_uint_eq(fake.n_asked, 1);
}
END_TEST

START_TEST(a_close_says_what_it_will_do)
{
    json_t *json;

    fake.n_closed = 1;
    ck_assert_str_eq(run("close session 7"), "session 7: closing 1 session at once\n");
    json = run_json("close session 7 json");
    is_number(json, "generation", 3);
    is_number(json, "sessions", 1);
    is_number(json, "until_wall_ms", 1700000000000);
    ck_assert_uint_eq(json_array_size(json_object_get(json, "changes")), 1);
    json_decref(json);
    fake.n_closed = 0;
    says(run("close sessions client=::/0"), "no session matches; nothing is closed");
    ck_assert(!result.is_error);
    json = run_json("close sessions client=::/0 json");
    is_number(json, "sessions", 0);
    ck_assert_uint_eq(json_array_size(json_object_get(json, "changes")), 0);
    json_decref(json);
    fake.refuses = "there is no session 7";
    ck_assert_str_eq(run("close session 7"), "error: there is no session 7\n");
    ck_assert(result.is_error);
}
END_TEST

/* The server is gone: the request ends without touching the host. */
START_TEST(an_answer_to_nobody)
{
    static const char *const lines[] = {"reload",           "drain backend web a",
                                        "show sessions",    "check config json",
                                        "explain web unix", "close session 7"};

    fake.holds = true;
    fake.n_sessions = 3;
    start(lines[_i], CTL_LEVEL_ADMINISTER);
    pending->owner = NULL;
    pending->host.ops = NULL;
    pending->host.sb = NULL;
    fake_answer();
    ck_assert_uint_eq(result.n_done, 1);
}
END_TEST

START_TEST(stop_comes_after_its_reply)
{
    run("stop");
    ck_assert_uint_eq(fake.n_stopped, 1);
    ck_assert_uint_eq(fake.stop_within_ms, UINT64_MAX);
    says(str_text(&result.text), "30s");
    run("stop within=5s json");
    ck_assert_uint_eq(fake.n_stopped, 2);
    ck_assert_uint_eq(fake.stop_within_ms, 5000);
    fake.model.global.stop_delay_ms = 10000;
    ck_assert_str_eq(run("stop"),
                     "stopping: health answers say no, clients are accepted for 10s more\n"
                     "then: sessions may go on for 30s at most\n");
    fake.is_stopping = true;
    ck_assert_str_eq(run("stop within=1h"), "it was stopping already: ending at once\n");
}
END_TEST

/* --- figures --- */

static void fill_counters(void)
{
    struct scoreboard *sb = &fake.sb;

    for (uint32_t w = 0; w < FAKE_WORKERS; w++) {
        struct sb_service_cell *cell = scoreboard_service_cell(sb, w, 6);

        atomic_store(&scoreboard_row_cell(sb, w, FAKE_ROW)->bytes_in, 100 + w);
        atomic_store(&scoreboard_row_cell(sb, w, FAKE_ROW)->bytes_out, 1000);
        atomic_store(&cell->connections_total, 50);
        atomic_store(&cell->refused_by[REFUSAL_FULL], 2);
        atomic_store(&cell->ended_by[ENDING_CLIENT_FIN], 30);
        atomic_store(&cell->ended_by[ENDING_IDLE_TIMEOUT], 1);
        atomic_store(&sb->workers[w].connections_total, 60);
        atomic_store(&sb->workers[w].accept_errors, w);
    }
    atomic_store(&sb->rows[FAKE_ROW].connections_total, 90);
    atomic_store(&sb->rows[FAKE_ROW].connect_failures, 7);
    atomic_store(&sb->rows[FAKE_ROW].retries, 5);
    atomic_store(&sb->header->active, 4);
    atomic_store(&sb->header->peak, 40);
    sb_hist_add(&sb->rows[FAKE_ROW].connect_time_us, 1000, clock_now_ms());
}

START_TEST(figures_are_summed)
{
    json_t *json, *service, *backend;

    fill_counters();
    json = run_json("show stats json");
    is_number(json, "connections_active", 4);
    is_number(json, "connections_peak", 40);
    is_number(json, "connections_total", 120);
    is_number(json, "connections_limit", 500);
    is_about(json, "uptime_seconds", 12);
    service = named(json, "services", "web");
    is_number(service, "connections_total", 100);
    is_number(service, "connections_refused", 4);
    is_number(json_object_get(service, "refused_by"), "full", 4);
    is_number(json_object_get(service, "ended_by"), "client_fin", 60);
    is_number(named(json, "pools", "web"), "overrides", 1);
    is_number(named(json, "pools", "db"), "overrides", 0);
    backend = named(named(json, "pools", "web"), "backends", "a");
    is_number(backend, "bytes_in", 201);
    is_number(backend, "bytes_out", 2000);
    is_number(backend, "connections_total", 90);
    is_number(backend, "upstreams_opened", 0); /* none is kept */
    is_number(backend, "connect_failures", 7);
    is_number(backend, "retries", 5);
    is_at_least(json_object_get(backend, "connect_time_us"), "p50", 1000);
    json_decref(json);
}
END_TEST

START_TEST(services_listen_where_they_are_bound)
{
    says(run("show services json"), "\"listen\":[\"0.0.0.0:80\",\"[::]:4711\"]");
    says(run("show services"), "0.0.0.0:80, [::]:4711\n");
}
END_TEST

START_TEST(errors_list_what_failed)
{
    const char *text;

    fill_counters();
    text = run("show errors");
    says(text, "refused  web");
    says(text, "idle_timeout");
    says(text, "web/a");
    says(text, "worker 1");
    ck_assert_ptr_null(strstr(text, "worker 0"));
    ck_assert_ptr_null(strstr(text, "client_fin"));
}
END_TEST

START_TEST(checks_of_those_that_have_some)
{
    const char *text = run("show checks");

    says(text, "tcp");
    ck_assert_ptr_null(strstr(text, "main"));
    says(run("show checks json"), "\"last_age_ms\":null");
}
END_TEST

START_TEST(config_with_overrides_as_comments)
{
    const char *text = run("show config");

    says(text, "# override: pool web, backend c: admin = maintenance");
    says(text, "pool \"web\"");
    says(run("show config json"), "\"config\":\"# override");
    fake.unsaid = "it is about one address of a name";
    says(run("show config"), "# override that is not below, for it is about one address of a name: "
                             "pool web, backend c: admin = maintenance");
    fake.unsaid = NULL;
}
END_TEST

START_TEST(names_have_states)
{
    const char *text = run("show names json");

    says(text, "{\"name\":\"b.test\",\"state\":\"ok\",\"reason\":null,\"since_seconds\":null,"
               "\"addresses\":[\"10.0.0.5\"]}");
    says(text, "{\"name\":\"none.test\",\"state\":\"unresolved\",\"reason\":\"no answer in "
               "time\",\"since_seconds\":90,\"addresses\":[]}");
    says(text, "\"state\":\"held\"");
    says(text, "\"addresses\":[\"10.0.0.5\",\"10.0.0.6:8080\"]");
    says(run("show names"), "NAME");
}
END_TEST

START_TEST(sessions_are_named)
{
    json_t *json, *session;

    fake.n_sessions = 8;
    fake.silent_workers = 1;
    json = run_json("show sessions json");
    is_number(json, "silent_workers", 1);
    ck_assert_uint_eq(json_array_size(json_object_get(json, "sessions")), 8);
    session = json_array_get(json_object_get(json, "sessions"), 0);
    is_text(session, "id", "281474976710656");
    is_text(session, "service", "web");
    is_text(session, "client", "10.1.2.3:40000");
    is_text(session, "pool", "web");
    is_text(session, "backend", "a");
    session = json_array_get(json_object_get(json, "sessions"), 5);
    ck_assert(json_is_null(json_object_get(session, "service")));
    ck_assert(json_is_null(json_object_get(session, "backend")));
    json_decref(json);
    says(run("show sessions"), "1 worker did not answer");
    says(str_text(&result.text), "1h2m");
}
END_TEST

START_TEST(events_are_filtered)
{
    uint64_t now_ms = clock_now_ms();

    events_add(fake.host.events,
               &(struct event_record){
                   .kind = "old", .mono_ms = now_ms - 60000, .pool = "web", .backend = "a"});
    events_add(fake.host.events,
               &(struct event_record){.kind = "one", .pool = "web", .backend = "a"});
    events_add(fake.host.events,
               &(struct event_record){.kind = "two", .pool = "web", .backend = "ab"});
    events_add(fake.host.events, &(struct event_record){.kind = "three"});
    says(run("show events"), "old");
    ck_assert(strstr(str_text(&result.text), "one") < strstr(str_text(&result.text), "three"));
    run("show events since=30s");
    ck_assert_ptr_null(strstr(str_text(&result.text), "old"));
    says(str_text(&result.text), "three");
    run("show events backend=web/a limit=1");
    says(str_text(&result.text), "one");
    ck_assert_ptr_null(strstr(str_text(&result.text), "old"));
    ck_assert_ptr_null(strstr(str_text(&result.text), "two"));
    ck_assert_ptr_null(strstr(str_text(&result.text), "three"));
    says(run("show events kind=two"), "two"); /* of another version, perhaps */
    ck_assert_ptr_null(strstr(str_text(&result.text), "three"));
    ck_assert_ptr_null(strstr(run("show events kind=drain"), "error"));
}
END_TEST

START_TEST(help_knows_every_command)
{
    const char *text = run("help");

    for (const struct command *const *c = command_table; *c; c++) {
        says(text, (*c)->words);
        says(text, (*c)->help);
    }
    text = run("help show sessions");
    says(text, "client=CIDR");
    ck_assert_ptr_null(strstr(text, "show pools"));
    says(run("help drain"), "drain backend POOL NAME [within=TIME] [why=\"TEXT\"] [force]");
}
END_TEST

/* --- the pinned shape of show stats json --- */

enum shape_kind {
    TEXT,
    NUMBER,
    BOOL,
    TEXTS,
    COUNTS_REFUSED,
    COUNTS_ENDED,
    COUNTS_DISCARDED,
    OBJECT,
    OBJECTS
};

struct shape {
    const char *name;
    enum shape_kind kind;
    const struct shape *inner;
    bool added; /* beside the pinned ones */
};

static const struct shape percentiles[] = {{"p50", NUMBER}, {"p90", NUMBER}, {"p99", NUMBER}, {0}};

static const struct shape backend_shape[] = {
    {"name", TEXT},
    {"address", TEXT},
    {"weight", NUMBER},
    {"effective_weight_permille", NUMBER},
    {"backup", BOOL, NULL, true},
    {"state", TEXT},
    {"admin", TEXT},
    {"health", TEXT},
    {"checked_health", TEXT, NULL, true},
    {"reason", TEXT},
    {"since_seconds", NUMBER},
    {"connections_active", NUMBER},
    {"connections_peak", NUMBER},
    {"connections_total", NUMBER},
    {"requests_total", NUMBER},
    {"connect_failures", NUMBER},
    {"retries", NUMBER},
    {"bytes_in", NUMBER},
    {"bytes_out", NUMBER},
    {"source_ports_used", NUMBER, NULL, true},
    {"source_ports_limit", NUMBER, NULL, true},
    {"source_ports_out", NUMBER, NULL, true},
    {"upstreams_opened", NUMBER},
    {"upstreams_reused", NUMBER},
    {"upstreams_idle", NUMBER},
    {"upstreams_pinned", NUMBER},
    {"upstreams_warm", NUMBER, NULL, true},
    {"upstreams_lent", NUMBER, NULL, true},
    {"upstreams_reused_percent", NUMBER, NULL, true},
    {"upstreams_discarded_by", COUNTS_DISCARDED, NULL, true},
    {"stray_bytes", NUMBER, NULL, true},
    {"stale", NUMBER, NULL, true},
    {"ambiguous", NUMBER, NULL, true},
    {"retries_unsent", NUMBER, NULL, true},
    {"retries_resent", NUMBER, NULL, true},
    {"open_failures", NUMBER, NULL, true},
    {"pins", NUMBER, NULL, true},
    {"reuse_trouble", TEXT, NULL, true},
    {"checks_passed", NUMBER},
    {"checks_failed", NUMBER},
    {"connect_time_us", OBJECT, percentiles},
    {0},
};

static const struct shape pool_shape[] = {
    {"name", TEXT},
    {"scheduler", TEXT},
    {"queued", NUMBER},
    {"queued_peak", NUMBER},
    {"overrides", NUMBER},
    {"backends", OBJECTS, backend_shape},
    {"panic", BOOL, NULL, true},
    {"paused", BOOL, NULL, true},
    {"backups_used", BOOL, NULL, true},
    {0},
};

static const struct shape service_shape[] = {
    {"name", TEXT},
    {"listen", TEXTS},
    {"pool", TEXT},
    {"fallback_pool", TEXT, NULL, true},
    {"uses", TEXT, NULL, true},
    {"admin", TEXT, NULL, true},
    {"connections_active", NUMBER},
    {"connections_peak", NUMBER},
    {"connections_total", NUMBER},
    {"connections_refused", NUMBER},
    {"refused_by", COUNTS_REFUSED},
    {"ended_by", COUNTS_ENDED},
    {"bytes_in", NUMBER},
    {"bytes_out", NUMBER},
    {0},
};

static const struct shape worker_shape[] = {
    {"id", NUMBER},
    {"pid", NUMBER},
    {"state", TEXT},
    {"connections_active", NUMBER},
    {"connections_total", NUMBER},
    {"restarts", NUMBER},
    {"busy_permille", NUMBER},
    {"loop_lag_us", NUMBER},
    {"generation", NUMBER, NULL, true},
    {"waiting", NUMBER, NULL, true},
    {"heartbeat_age_ms", NUMBER, NULL, true},
    {"accept_errors", NUMBER, NULL, true},
    {"buffered_bytes", NUMBER, NULL, true},
    {"throttled", NUMBER, NULL, true},
    {"spliced_bytes", NUMBER, NULL, true},
    {"pipes", NUMBER, NULL, true},
    {"log_dropped", NUMBER, NULL, true},
    {0},
};

static const struct shape stats_shape[] = {
    {"version", TEXT},
    {"generation", NUMBER},
    {"uptime_seconds", NUMBER},
    {"connections_active", NUMBER},
    {"connections_peak", NUMBER},
    {"connections_total", NUMBER},
    {"connections_limit", NUMBER},
    {"buffer_memory_bytes", NUMBER, NULL, true},
    {"buffered_bytes", NUMBER, NULL, true},
    {"buffered_peak_bytes", NUMBER, NULL, true},
    {"throttled", NUMBER, NULL, true},
    {"workers", OBJECTS, worker_shape},
    {"services", OBJECTS, service_shape},
    {"pools", OBJECTS, pool_shape},
    {0},
};

static void check_object(json_t *json, const struct shape *shape);

static void check_counts(json_t *json, const char *const *names, size_t count)
{
    ck_assert_uint_eq(json_object_size(json), count);
    for (size_t i = 0; i < count; i++)
        ck_assert_msg(json_is_integer(json_object_get(json, names[i])), "%s", names[i]);
}

static void check_value(json_t *json, const struct shape *shape)
{
    json_t *item;
    size_t i;

    ck_assert_msg(json != NULL, "%s is missing", shape->name);
    switch (shape->kind) {
    case TEXT:
        ck_assert_msg(json_is_string(json), "%s", shape->name);
        break;
    case NUMBER:
        ck_assert_msg(json_is_integer(json), "%s", shape->name);
        break;
    case BOOL:
        ck_assert_msg(json_is_boolean(json), "%s", shape->name);
        break;
    case TEXTS:
        ck_assert_uint_gt(json_array_size(json), 0);
        json_array_foreach(json, i, item) ck_assert(json_is_string(item));
        break;
    case COUNTS_REFUSED:
        check_counts(json, refusal_names, REFUSAL_COUNT);
        break;
    case COUNTS_ENDED:
        check_counts(json, ending_names, ENDING_COUNT);
        break;
    case COUNTS_DISCARDED:
        check_counts(json, discard_names, DISCARD_COUNT);
        break;
    case OBJECT:
        check_object(json, shape->inner);
        break;
    case OBJECTS:
        ck_assert_uint_gt(json_array_size(json), 0);
        json_array_foreach(json, i, item) check_object(item, shape->inner);
        break;
    }
}

static void check_object(json_t *json, const struct shape *shape)
{
    size_t n = 0;

    ck_assert(json_is_object(json));
    for (; shape[n].name; n++)
        check_value(json_object_get(json, shape[n].name), &shape[n]);
    ck_assert_uint_eq(json_object_size(json), n);
}

START_TEST(stats_have_the_pinned_shape)
{
    json_t *json = run_json("show stats json");

    check_object(json, stats_shape);
    json_decref(json);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ctl/commands");
    TCase *tc = tcase_create("all");
    SRunner *runner;
    int failed;

    tcase_add_checked_fixture(tc, fake_start, fake_end);
    tcase_add_test(tc, the_table_is_the_pinned_one);
    tcase_add_loop_test(tc, every_command_at_every_level, 0, COUNT(pinned));
    tcase_add_test(tc, denied_before_arguments_are_looked_at);
    tcase_add_loop_test(tc, every_command_in_json, 0, COUNT(pinned));
    tcase_add_loop_test(tc, bad_requests_are_refused, 0, COUNT(refused));
    tcase_add_test(tc, what_waits_to_be_confirmed);
    tcase_add_test(tc, kept_configurations);
    tcase_add_test(tc, json_alone_is_no_command);
    tcase_add_loop_test(tc, the_host_is_asked, 0, COUNT(asks));
    tcase_add_test(tc, a_change_is_told_with_standing_overrides);
    tcase_add_test(tc, what_was_added_and_removed_is_told);
    tcase_add_test(tc, what_stands_against_the_file);
    tcase_add_test(tc, a_change_refused_by_the_host);
    tcase_add_test(tc, an_answer_that_comes_later);
    tcase_add_test(tc, a_close_says_what_it_will_do);
    tcase_add_test(tc, maintenance_closes_when_told_to);
    tcase_add_test(tc, maintenance_of_all_pools_closes_in_each);
    tcase_add_test(tc, maintenance_stays_where_closing_fails);
    tcase_add_test(tc, maintenance_ends_without_its_server);
    tcase_add_loop_test(tc, an_answer_to_nobody, 0, 6);
    tcase_add_test(tc, stop_comes_after_its_reply);
    tcase_add_test(tc, figures_are_summed);
    tcase_add_test(tc, services_listen_where_they_are_bound);
    tcase_add_test(tc, errors_list_what_failed);
    tcase_add_test(tc, checks_of_those_that_have_some);
    tcase_add_test(tc, names_have_states);
    tcase_add_test(tc, config_with_overrides_as_comments);
    tcase_add_test(tc, sessions_are_named);
    tcase_add_test(tc, events_are_filtered);
    tcase_add_test(tc, help_knows_every_command);
    tcase_add_test(tc, stats_have_the_pinned_shape);
    tcase_set_timeout(tc, 60);
    suite_add_tcase(suite, tc);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
