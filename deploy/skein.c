/* skein: the operator's command. Starts and stops a cluster on this machine, breaks parts of it and
 * puts them back, shows how it is, loads it. `skein help` says how. */

#include "chaos/run/chaos_command.h"
#include "deploy/cluster.h"
#include "deploy/function_logs.h"
#include "deploy/load.h"
#include "deploy/status.h"
#include "deploy/target.h"
#include "proto/base/check.h"

#include <errno.h>
#include <ftw.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define READY_MS 60000u
#define STOP_MS 15000u
#define POLL_MS 100u
#define SECOND_LOOK_MS 300u
#define LAST_WORDS_BYTES 400
#define DEAD_MS 1000u /* a daemon that is not there after so long did not start */

enum exit_code { EXIT_OK = 0, EXIT_BAD = 1, EXIT_USAGE = 2 };

struct options { /* of every command; each uses what concerns it */
    char data[CLUSTER_PATH_BYTES];
    struct cluster_plan plan;
    struct load_options load;
    struct chaos_command_options chaos;
    bool is_json;
    bool is_forced;
    bool is_following;
    bool is_kept;
    unsigned lines;
};

static const char help[] =
    "skein - a serverless cloud that survives its machines\n"
    "\n"
    "  skein up [--nodes 6] [--regions 3] [--controllers 3] [--shards NODES] [--port 4566]\n"
    "           [--wan us-east-1:eu-west-1=80ms,...] [--insecure-any-key]\n"
    "                          make a cluster, or start the one that is there; waits until it "
    "answers\n"
    "  skein make --network 10.77 [as up]\n"
    "                          write the files of a new one whose processes have addresses of "
    "their own;\n"
    "                          start nothing\n"
    "  skein env               what to export: eval \"$(skein env)\"\n"
    "  skein status            regions, nodes, leaders, lag, and what is wrong if anything is\n"
    "  skein kill TARGET       SIGKILL, as a power switch would\n"
    "  skein pause TARGET      SIGSTOP: it is there and says nothing\n"
    "  skein resume TARGET     SIGCONT\n"
    "  skein start TARGET      start what is down\n"
    "  skein stop TARGET       SIGTERM: hands its leaderships over, then ends\n"
    "  skein load checkout [--rate 300] [--seconds 60] [--kill-every 5s]\n"
    "                          place orders at a fixed rate, then read each back from every "
    "region;\n"
    "                          exit 1 if one was lost, duplicated or failed\n"
    "  skein chaos list        scenarios, and which of them can run here\n"
    "  skein chaos run NAME...|all|--file FILE [--seconds N] [--seed N] [--times N] [--rate "
    "PERCENT]\n"
    "                          break things under load, mend them, judge; exit 1 failed, 3 "
    "undecided\n"
    "  skein chaos demo [--seconds-each 40]\n"
    "                          five minutes of orders while parts fail, told line by line\n"
    "  skein heal              undo whatever is broken, and wait until all is well\n"
    "  skein logs NAME [--follow] [--lines 100]\n"
    "                          of a process (node-3), or what a function printed, on all nodes\n"
    "  skein down [--keep]     stop everything and remove its data; --keep: leave the data\n"
    "\n"
    "TARGET is a name (node-3, controller-1), several of them, 'region NAME', 'nodes', "
    "'controllers',\n"
    "'all', 'controller-leader', or 'leader-of TABLE': the node that leads most of the shards that "
    "hold\n"
    "rows of the table. resume and start want names or groups: a role has moved on by then.\n"
    "Everywhere: --data DIR (default: the user's state folder), --json for scripts.\n"
    "Exit codes: 0 done, 1 not done, 2 not understood.\n";

/* ---- small things
 * -------------------------------------------------------------------------------- */

static int complain(const char *why)
{
    (void)fprintf(stderr, "skein: %s\n", why);
    return EXIT_BAD;
}

static void pause_ms(unsigned milliseconds)
{
    const struct timespec pause = {.tv_sec = milliseconds / 1000,
                                   .tv_nsec = (milliseconds % 1000) * 1000000L};

    (void)nanosleep(&pause, NULL);
}

static int with_cluster(const struct options *options,
                        int (*run)(struct cluster *, const struct options *, int, char **),
                        int count, char **words)
{
    char why[ERROR_WHY_BYTES] = "";
    struct cluster cluster;

    if (cluster_load(options->data, &cluster, why) != OK)
        return complain(why);
    int code = run(&cluster, options, count, words);

    cluster_close(&cluster);
    return code;
}

/* ---- up, down
 * ------------------------------------------------------------------------------------- */

static enum error start_daemon(const struct daemon *daemon)
{
    enum error rc = daemon_start(daemon);

    if (rc != OK)
        (void)fprintf(stderr, "skein: cannot start %s: %s\n", daemon->name,
                      rc == ERR_NOT_FOUND ? "its program is not beside skein; build it first"
                                          : error_text(rc));
    return rc;
}

static const struct daemon *first_dead(const struct cluster *cluster)
{
    for (size_t i = 0; i < cluster->daemon_count; i++)
        if (daemon_pid(&cluster->daemons[i]) == 0)
            return &cluster->daemons[i];
    return NULL;
}

/* Wait until every shard is led. Says what it waits for once a second. */
static enum error wait_until_serving(struct cluster *cluster, const struct options *options)
{
    for (unsigned waited = 0; waited < READY_MS; waited += POLL_MS) {
        struct status status;

        status_gather(cluster, 1000, &status);
        bool is_serving = status_is_serving(&status) && status.nodes_up == status.node_count;

        if (waited % 1000 == 0 && waited > 0 && !is_serving && !options->is_json)
            (void)printf("waiting: %u of %zu nodes answer, %u of %u shards have a leader\n",
                         status.nodes_up, status.node_count, status.shards_led, status.shard_count);
        status_close(&status);
        if (is_serving)
            return OK;
        const struct daemon *dead = waited >= DEAD_MS ? first_dead(cluster) : NULL;

        if (dead != NULL) {
            char words[LAST_WORDS_BYTES];

            daemon_last_words(dead, words, sizeof(words));
            (void)fprintf(stderr, "skein: %s has ended; its last words:\n  %s\n", dead->name,
                          words);
            return ERR_LOST;
        }
        pause_ms(POLL_MS);
    }
    return ERR_TIMEOUT;
}

static void print_ready(const struct cluster *cluster)
{
    char data[CLUSTER_PATH_BYTES];
    bool is_default;

    cluster_default_data(data);
    is_default = strcmp(data, cluster->data) == 0;
    (void)printf("ready: http://127.0.0.1:%u  (data in %s)\n"
                 "next:  eval \"$(skein env%s%s)\"   then use aws, boto3, any AWS SDK\n",
                 cluster->file.port, cluster->data, is_default ? "" : " --data ",
                 is_default ? "" : cluster->data);
}

static int up_started(struct cluster *cluster, const struct options *options, int count,
                      char **words)
{
    enum error rc = OK;

    (void)count;
    (void)words;
    if (!options->is_json)
        (void)printf("starting %zu nodes and %zu controllers in %zu regions\n",
                     cluster->file.node_count, cluster->controller_count, cluster->region_count);
    for (size_t i = 0; i < cluster->daemon_count && rc == OK; i++)
        rc = start_daemon(&cluster->daemons[i]);
    if (rc != OK)
        return EXIT_BAD;
    rc = wait_until_serving(cluster, options);
    if (rc != OK)
        return complain("the cluster does not answer; see: skein status, skein logs node-1");
    if (options->is_json)
        (void)printf("{\"endpoint\":\"http://127.0.0.1:%u\",\"data\":\"%s\"}\n", cluster->file.port,
                     cluster->data);
    else
        print_ready(cluster);
    return EXIT_OK;
}

static int up(const struct options *options)
{
    char why[ERROR_WHY_BYTES] = "";
    enum error rc = cluster_make(options->data, &options->plan, why);

    if (rc != OK && rc != ERR_EXISTS)
        return complain(why);
    if (options->plan.any_key)
        (void)fprintf(stderr,
                      "skein: WARNING: --insecure-any-key: anybody who reaches the port may do "
                      "anything, and POST /_skein/reset empties everything\n");
    return with_cluster(options, up_started, 0, NULL);
}

/* The files only: for who brings the addresses, and starts the processes there. */
static int make(const struct options *options)
{
    char why[ERROR_WHY_BYTES] = "";

    return cluster_make(options->data, &options->plan, why) == OK ? EXIT_OK : complain(why);
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)status;
    (void)kind;
    (void)place;
    return remove(path);
}

/* Stop all at once: there is nobody left to hand leaderships to. */
static int down_stopped(struct cluster *cluster, const struct options *options, int count,
                        char **words)
{
    char path[CLUSTER_PATH_BYTES + 64];
    int code = EXIT_OK;

    (void)count;
    (void)words;
    for (size_t i = 0; i < cluster->daemon_count; i++) {
        (void)!daemon_signal(&cluster->daemons[i], SIGCONT);
        (void)!daemon_signal(&cluster->daemons[i], options->is_kept ? SIGTERM : SIGKILL);
    }
    for (size_t i = 0; i < cluster->daemon_count; i++) {
        if (daemon_wait(&cluster->daemons[i], STOP_MS) == OK)
            continue;
        (void)!daemon_signal(&cluster->daemons[i], SIGKILL);
        if (daemon_wait(&cluster->daemons[i], STOP_MS) != OK)
            code = complain("a process does not end");
    }
    if (options->is_kept || code != EXIT_OK)
        return code;
    /* Only what skein made: each daemon's folder, and the two files. */
    for (size_t i = 0; i < cluster->daemon_count; i++) {
        if (nftw(cluster->daemons[i].folder, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0)
            code = complain("a data folder cannot be removed");
    }
    (void)snprintf(path, sizeof(path), "%.390s/credentials", cluster->data);
    (void)unlink(path);
    (void)snprintf(path, sizeof(path), "%.390s/cluster.conf", cluster->data);
    (void)unlink(path);
    if (!options->is_json)
        (void)printf("down; the data in %s is gone\n", cluster->data);
    return code;
}

/* ---- breaking and mending
 * ---------------------------------------------------------------------------------------- */

static void print_done(const struct cluster *cluster, const struct target *target, size_t i,
                       const char *past)
{
    const struct daemon *daemon = target->daemons[i];

    (void)printf("%s %s (%s)%s%s\n", past, daemon->name, cluster_region_of(cluster, daemon),
                 target->why[0] != '\0' ? ": " : "", target->why);
}

/* Of a group, whoever does not run is as good as done. */
static int signal_target(struct cluster *cluster, const struct options *options, int count,
                         char **words, int number, const char *past)
{
    struct target target;
    size_t done = 0;
    int code = EXIT_OK;

    if (target_find(cluster, number == SIGCONT ? TARGET_STOPPED : TARGET_ANY, count, words,
                    &target) != OK)
        return EXIT_BAD;
    for (size_t i = 0; i < target.count; i++) {
        enum error rc = daemon_signal(target.daemons[i], number);

        if (rc == OK && number == SIGTERM) /* a paused one could not hear it */
            (void)!daemon_signal(target.daemons[i], SIGCONT);
        if (rc == OK && (number == SIGKILL || number == SIGTERM))
            rc = daemon_wait(target.daemons[i], STOP_MS);
        done += rc == OK;
        if (rc == OK && !options->is_json)
            print_done(cluster, &target, i, past);
        if (rc == ERR_NOT_FOUND)
            (void)fprintf(stderr, "skein: %s does not run\n", target.daemons[i]->name);
        else if (rc != OK)
            (void)fprintf(stderr, "skein: %s: %s\n", target.daemons[i]->name, error_text(rc));
        if (rc != OK && (rc != ERR_NOT_FOUND || !target.is_group))
            code = EXIT_BAD;
    }
    return done > 0 ? code : EXIT_BAD;
}

static int kill_target(struct cluster *cluster, const struct options *options, int count,
                       char **words)
{
    return signal_target(cluster, options, count, words, SIGKILL, "killed");
}

static int pause_target(struct cluster *cluster, const struct options *options, int count,
                        char **words)
{
    return signal_target(cluster, options, count, words, SIGSTOP, "paused");
}

static int resume_target(struct cluster *cluster, const struct options *options, int count,
                         char **words)
{
    return signal_target(cluster, options, count, words, SIGCONT, "resumed");
}

static int stop_target(struct cluster *cluster, const struct options *options, int count,
                       char **words)
{
    return signal_target(cluster, options, count, words, SIGTERM, "stopped");
}

static int start_target(struct cluster *cluster, const struct options *options, int count,
                        char **words)
{
    struct target target;
    int code = EXIT_OK;

    if (target_find(cluster, TARGET_STOPPED, count, words, &target) != OK)
        return EXIT_BAD;
    for (size_t i = 0; i < target.count; i++) {
        if (start_daemon(target.daemons[i]) != OK)
            code = EXIT_BAD;
        else if (!options->is_json)
            print_done(cluster, &target, i, "started");
    }
    return code;
}

/* ---- the rest
 * ------------------------------------------------------------------------------------------ */

static int show_status(struct cluster *cluster, const struct options *options, int count,
                       char **words)
{
    struct status status;

    (void)count;
    (void)words;
    status_gather(cluster, 2000, &status);
    if (status.shards_equal < status.shard_count) {
        pause_ms(SECOND_LOOK_MS);
        status_look_again(cluster, 2000, &status);
    }
    status_gather_tables(cluster, 2000, &status);
    if (options->is_json)
        status_print_json(cluster, &status);
    else
        status_print(cluster, &status, isatty(STDOUT_FILENO) == 1);
    int code = status_is_serving(&status) ? EXIT_OK : EXIT_BAD;

    status_close(&status);
    return code;
}

static int show_env(struct cluster *cluster, const struct options *options, int count, char **words)
{
    (void)options;
    (void)count;
    (void)words;
    (void)printf("export AWS_ENDPOINT_URL=http://127.0.0.1:%u\n"
                 "export AWS_ACCESS_KEY_ID=%s\n"
                 "export AWS_SECRET_ACCESS_KEY=%s\n"
                 "export AWS_DEFAULT_REGION=%s\n"
                 "export AWS_REGION=%s\n"
                 "export SKEIN_ENDPOINT=http://127.0.0.1:%u\n",
                 cluster->file.port, cluster->access_key, cluster->secret, cluster->regions[0],
                 cluster->regions[0], cluster->file.port);
    return EXIT_OK;
}

static int show_function_logs(struct cluster *cluster, const struct options *options,
                              const char *name)
{
    const struct function_logs_options logs = {.lines = options->lines,
                                               .is_following = options->is_following,
                                               .is_json = options->is_json};

    if (name[0] != '\0' && function_logs_show(cluster, name, &logs) == OK)
        return EXIT_OK;
    (void)fprintf(stderr, "skein: logs of whom? '%s' is no process, and no function that has run\n",
                  name);
    (void)fprintf(stderr, "  processes:");
    for (size_t i = 0; i < cluster->daemon_count; i++)
        (void)fprintf(stderr, " %s", cluster->daemons[i].name);
    (void)fprintf(stderr, "\n  functions:");
    function_logs_tell_names(cluster);
    (void)fprintf(stderr, "\n");
    return EXIT_BAD;
}

static int show_logs(struct cluster *cluster, const struct options *options, int count,
                     char **words)
{
    const struct daemon *daemon = count > 0 ? cluster_find(cluster, words[0]) : NULL;
    char path[600];
    char lines[32];

    if (daemon == NULL)
        return show_function_logs(cluster, options, count > 0 ? words[0] : "");
    (void)snprintf(path, sizeof(path), "%s/log", daemon->folder);
    (void)snprintf(lines, sizeof(lines), "-n%u", options->lines);
    (void)fflush(stdout);
    if (options->is_following)
        (void)execlp("tail", "tail", lines, "-F", path, (char *)NULL);
    else
        (void)execlp("tail", "tail", lines, path, (char *)NULL);
    return complain("tail cannot be run");
}

static void print_load_json(const struct load_result *result)
{
    (void)printf("{\"sent\":%" PRIu64 ",\"acknowledged\":%" PRIu64 ",\"lost\":%" PRIu64
                 ",\"duplicated\":%" PRIu64 ",\"failed\":%" PRIu64 ",\"retries\":%" PRIu64
                 ",\"kills\":%" PRIu64 ",\"gap_ms\":%" PRIu64 ",\"unanswered\":%" PRIu64
                 ",\"interrupted\":%s"
                 ",\"p50_ms\":%.2f,\"p90_ms\":%.2f,\"p99_ms\":%.2f,\"max_ms\":%.2f}\n",
                 result->sent, result->acknowledged, result->lost, result->duplicated,
                 result->failed, result->retries, result->kills, result->gap_ms, result->unanswered,
                 result->is_interrupted ? "true" : "false", result->p50_ms, result->p90_ms,
                 result->p99_ms, result->max_ms);
}

static void print_load(const struct load_result *result)
{
    if (result->is_interrupted)
        (void)printf("interrupted: %" PRIu64 " orders sent, %" PRIu64 " not answered by then\n",
                     result->sent, result->unanswered);
    (void)printf("latency p50 %.1f ms, p90 %.1f ms, p99 %.1f ms, max %.1f ms; %" PRIu64
                 " kills, %" PRIu64 " retries\n"
                 "acknowledged %" PRIu64 ", lost %" PRIu64 ", duplicated %" PRIu64
                 ", failed requests %" PRIu64 ", longest gap %" PRIu64 " ms\n",
                 result->p50_ms, result->p90_ms, result->p99_ms, result->max_ms, result->kills,
                 result->retries, result->acknowledged, result->lost, result->duplicated,
                 result->failed, result->gap_ms);
}

static int load(struct cluster *cluster, const struct options *options, int count, char **words)
{
    struct load_options load = options->load;
    struct load_result result;
    char why[ERROR_WHY_BYTES] = "";

    if (count != 1 || strcmp(words[0], "checkout") != 0)
        return complain("the only load is: skein load checkout");
    load.is_json = options->is_json;
    if (load_checkout(cluster, &load, &result, why) != OK)
        return complain(why);
    if (options->is_json)
        print_load_json(&result);
    else
        print_load(&result);
    return result.lost == 0 && result.duplicated == 0 && result.failed == 0 ? EXIT_OK : EXIT_BAD;
}

static int heal_all(struct cluster *cluster, const struct options *options, int count, char **words)
{
    (void)count;
    (void)words;
    return chaos_command_heal(cluster, options->is_json);
}

static int chaos(const struct options *options, int count, char **words)
{
    struct chaos_command_options chaos = options->chaos;

    chaos.data = options->data;
    chaos.is_json = options->is_json;
    chaos.seed = options->load.seed;
    chaos.api = options->load.api;
    chaos.stage = options->load.stage;
    chaos.table = options->load.table;
    return chaos_command(&chaos, count, words);
}

/* ---- arguments
 * ----------------------------------------------------------------------------------------- */

struct command {
    const char *name;
    int (*run)(struct cluster *, const struct options *, int, char **);
};

static const struct command commands[] = {
    {"down", down_stopped},  {"status", show_status}, {"env", show_env},
    {"kill", kill_target},   {"pause", pause_target}, {"resume", resume_target},
    {"start", start_target}, {"stop", stop_target},   {"logs", show_logs},
    {"load", load},          {"heal", heal_all},
};

enum option_letter {
    OPTION_DATA = 256,
    OPTION_NODES,
    OPTION_REGIONS,
    OPTION_CONTROLLERS,
    OPTION_SHARDS,
    OPTION_REPLICAS,
    OPTION_PORT,
    OPTION_WAN,
    OPTION_NETWORK,
    OPTION_ANY_KEY,
    OPTION_RATE,
    OPTION_SECONDS,
    OPTION_KILL_EVERY,
    OPTION_SEED,
    OPTION_API,
    OPTION_STAGE,
    OPTION_TABLE,
    OPTION_FOLLOW,
    OPTION_LINES,
    OPTION_KEEP,
    OPTION_TIMES,
    OPTION_SECONDS_EACH,
    OPTION_FILE,
    OPTION_OUT,
    OPTION_JSON,
    OPTION_HELP
};

static const struct option long_options[] = {
    {"data", required_argument, NULL, OPTION_DATA},
    {"nodes", required_argument, NULL, OPTION_NODES},
    {"regions", required_argument, NULL, OPTION_REGIONS},
    {"controllers", required_argument, NULL, OPTION_CONTROLLERS},
    {"shards", required_argument, NULL, OPTION_SHARDS},
    {"replicas", required_argument, NULL, OPTION_REPLICAS},
    {"port", required_argument, NULL, OPTION_PORT},
    {"wan", required_argument, NULL, OPTION_WAN},
    {"network", required_argument, NULL, OPTION_NETWORK},
    {"insecure-any-key", no_argument, NULL, OPTION_ANY_KEY},
    {"rate", required_argument, NULL, OPTION_RATE},
    {"seconds", required_argument, NULL, OPTION_SECONDS},
    {"kill-every", required_argument, NULL, OPTION_KILL_EVERY},
    {"seed", required_argument, NULL, OPTION_SEED},
    {"api", required_argument, NULL, OPTION_API},
    {"stage", required_argument, NULL, OPTION_STAGE},
    {"table", required_argument, NULL, OPTION_TABLE},
    {"follow", no_argument, NULL, OPTION_FOLLOW},
    {"lines", required_argument, NULL, OPTION_LINES},
    {"keep", no_argument, NULL, OPTION_KEEP},
    {"times", required_argument, NULL, OPTION_TIMES},
    {"seconds-each", required_argument, NULL, OPTION_SECONDS_EACH},
    {"file", required_argument, NULL, OPTION_FILE},
    {"out", required_argument, NULL, OPTION_OUT},
    {"json", no_argument, NULL, OPTION_JSON},
    {"help", no_argument, NULL, OPTION_HELP},
    {NULL, 0, NULL, 0},
};

/* A whole number within its range, `unit` allowed behind it ("5s"). Ends the program otherwise. */
static unsigned number(const char *text, const char *unit, unsigned min, unsigned max)
{
    char *end;

    errno = 0;
    unsigned long value = strtoul(text, &end, 10);

    if (errno != 0 || end == text || (*end != '\0' && strcmp(end, unit) != 0) || value < min ||
        value > max) {
        (void)fprintf(stderr, "skein: '%s' is not a number from %u to %u\n", text, min, max);
        exit(EXIT_USAGE);
    }
    return (unsigned)value;
}

static void take_option(struct options *options, int letter)
{
    switch (letter) {
    case OPTION_DATA: {
        char *absolute = realpath(optarg, NULL);

        if (absolute != NULL || optarg[0] == '/')
            (void)snprintf(options->data, sizeof(options->data), "%s",
                           absolute != NULL ? absolute : optarg);
        else if (getcwd(options->data, sizeof(options->data)) != NULL)
            (void)snprintf(options->data + strlen(options->data),
                           sizeof(options->data) - strlen(options->data), "/%s", optarg);
        free(absolute);
        break;
    }
    case OPTION_NODES:
        options->plan.nodes = number(optarg, "", 1, 64);
        break;
    case OPTION_REGIONS:
        options->plan.regions = number(optarg, "", 1, 10);
        break;
    case OPTION_CONTROLLERS:
        options->plan.controllers = number(optarg, "", 1, 9);
        break;
    case OPTION_SHARDS:
        options->plan.shards = number(optarg, "", 1, CLUSTER_FILE_SHARDS_MAX);
        break;
    case OPTION_REPLICAS:
        options->plan.replicas = number(optarg, "", 1, 5);
        break;
    case OPTION_PORT:
        options->plan.port = (uint16_t)number(optarg, "", 1, 65535);
        break;
    case OPTION_WAN:
        options->plan.wan = optarg;
        break;
    case OPTION_NETWORK:
        options->plan.network = optarg;
        break;
    case OPTION_ANY_KEY:
        options->plan.any_key = true;
        break;
    case OPTION_RATE:
        options->load.rate = number(optarg, "", 1, 100000);
        options->chaos.rate_percent = options->load.rate;
        break;
    case OPTION_SECONDS:
        options->load.seconds = number(optarg, "s", 1, 3600);
        options->chaos.seconds = options->load.seconds;
        break;
    case OPTION_KILL_EVERY:
        options->load.kill_every_ms = number(optarg, "s", 1, 3600) * 1000;
        break;
    case OPTION_SEED:
        options->load.seed = number(optarg, "", 0, UINT32_MAX);
        break;
    case OPTION_API:
        options->load.api = optarg;
        break;
    case OPTION_STAGE:
        options->load.stage = optarg;
        break;
    case OPTION_TABLE:
        options->load.table = optarg;
        break;
    case OPTION_FOLLOW:
        options->is_following = true;
        break;
    case OPTION_LINES:
        options->lines = number(optarg, "", 1, 1000000);
        break;
    case OPTION_KEEP:
        options->is_kept = true;
        break;
    case OPTION_TIMES:
        options->chaos.times = number(optarg, "", 1, 1000);
        break;
    case OPTION_SECONDS_EACH:
        options->chaos.seconds_each = number(optarg, "s", 2, 600);
        break;
    case OPTION_FILE:
        options->chaos.file = optarg;
        break;
    case OPTION_OUT:
        options->chaos.folder = optarg;
        break;
    case OPTION_JSON:
        options->is_json = true;
        break;
    case OPTION_HELP:
        (void)fputs(help, stdout);
        exit(EXIT_OK);
    default:
        (void)fprintf(stderr, "skein: see skein help\n");
        exit(EXIT_USAGE);
    }
}

int main(int count, char **words)
{
    struct options options = {
        .plan =
            {.nodes = 6, .regions = 3, .controllers = 3, .shards = 0, .replicas = 3, .port = 4566},
        .load = {.rate = 300,
                 .seconds = 60,
                 .restart_after_ms = 3000,
                 .seed = (uint64_t)time(NULL),
                 .stage = "prod",
                 .table = "Orders"},
        .chaos = {.times = 1, .rate_percent = 100, .seconds_each = 40},
        .lines = 100,
    };
    int letter;

    (void)signal(SIGPIPE, SIG_IGN);
    cluster_default_data(options.data);
    while ((letter = getopt_long(count, words, "h", long_options, NULL)) != -1)
        take_option(&options, letter);
    const char *name = optind < count ? words[optind++] : "help";

    if (options.plan.replicas > options.plan.nodes)
        options.plan.replicas = options.plan.nodes;
    if (options.plan.shards == 0)
        options.plan.shards = options.plan.nodes;
    if (strcmp(name, "help") == 0) {
        (void)fputs(help, stdout);
        return EXIT_OK;
    }
    if (strcmp(name, "up") == 0)
        return up(&options);
    if (strcmp(name, "make") == 0)
        return make(&options);
    if (strcmp(name, "chaos") == 0)
        return chaos(&options, count - optind, words + optind);
    for (size_t i = 0; i < ARRAY_COUNT(commands); i++)
        if (strcmp(name, commands[i].name) == 0)
            return with_cluster(&options, commands[i].run, count - optind, words + optind);
    (void)fprintf(stderr, "skein: there is no command '%s'; see skein help\n", name);
    return EXIT_USAGE;
}
