/* skein-check: is this history one that a correct service could have produced? */

#include "chaos/checker/judge.h"
#include "chaos/checker/model.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>

enum exit_code { EXIT_VALID, EXIT_INVALID, EXIT_UNDECIDED, EXIT_UNREADABLE };

static const char help[] =
    "usage: skein-check [options] MODEL FILE\n"
    "\n"
    "Judges what clients saw of a service: is there an order of their operations, in agreement\n"
    "with real time, in which each one did what MODEL says? FILE holds one JSON event a line, in\n"
    "the order of time (- is standard input):\n"
    "\n"
    "  {\"p\": 1, \"t\": \"invoke\", \"f\": \"write\", \"k\": \"x\", \"v\": 3}\n"
    "  {\"p\": 1, \"t\": \"ok\", \"f\": \"write\", \"k\": \"x\", \"v\": 3}\n"
    "\n"
    "  p  process, a number or a text; it has one operation at a time\n"
    "  t  invoke, then one of ok, fail (it did not happen) and info (nobody knows: it may take\n"
    "     effect at any later time, or never); an invoke that nothing completes counts as info\n"
    "  f  operation, see below\n"
    "  k  key, any JSON value; absent = all operations share one\n"
    "  v  value; of an invoke the arguments, of an ok the result\n"
    "\n"
    "Other members are ignored, but a fail with a member \"error\" was never tried by the "
    "service:\n"
    "without it, a failed cas or put says what the service held. Lines of the process \"nemesis\"\n"
    "are skipped.\n"
    "\n"
    "MODEL is one of\n"
    "  register       read, write, cas with v = [from, to]; born null; a cas fails when the value\n"
    "                 is not `from`\n"
    "  kv             get, put, append of texts; born \"\" (or null)\n"
    "  counter        read, add (or inc) v, 1 without v; add-and-get, whose ok has the sum; born "
    "0\n"
    "  put-if-absent  put, which fails when the key is there; get (or read), null when it is not\n"
    "  bank           transfer with v = {\"from\", \"to\", \"amount\"}, read of all balances as "
    "an\n"
    "                 object; money is neither made nor lost, no balance is ever negative;\n"
    "                 keys are ignored\n"
    "\n"
    "  --timeout SECONDS  give up after so long (120)\n"
    "  --memory MB        give up when a key's search remembers more (1024)\n"
    "  --json             print the verdict as one JSON object\n"
    "  --help             this text\n"
    "\n"
    "Exit status: 0 VALID; 1 INVALID, with the operation that cannot be explained, those around\n"
    "it, and the states the service could have been in; 2 UNDECIDED, a limit was reached (never\n"
    "take it for VALID); 3 wrong usage, or FILE cannot be read or is no history.\n";

struct arguments {
    struct judge_options judge;
    bool is_json;
    const struct model *model;
    const char *path;
};

static int wrong(const char *what, const char *which)
{
    (void)fprintf(stderr, "skein-check: %s: %s (see --help)\n", what, which);
    return EXIT_UNREADABLE;
}

static bool number_of(const char *text, double most, double *number)
{
    char *end;

    errno = 0;
    *number = strtod(text, &end);
    return errno == 0 && end != text && *end == '\0' && isfinite(*number) && *number >= 0 &&
           *number <= most;
}

/* False: it was said what is wrong. */
static bool take_options(struct arguments *arguments, int count, char *words[])
{
    static const struct option known[] = {
        {"timeout", required_argument, NULL, 't'},
        {"memory", required_argument, NULL, 'm'},
        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    double number;
    int option;

    while ((option = getopt_long(count, words, "h", known, NULL)) != -1) {
        switch (option) {
        case 't':
            if (!number_of(optarg, 1e6, &arguments->judge.timeout_s))
                return wrong("not a number of seconds", optarg), false;
            break;
        case 'm':
            if (!number_of(optarg, 1e6, &number))
                return wrong("not a number of megabytes", optarg), false;
            arguments->judge.memory_bytes = (size_t)(number * (1 << 20));
            break;
        case 'j':
            arguments->is_json = true;
            break;
        case 'h':
            (void)fputs(help, stdout);
            exit(EXIT_VALID);
        default:
            return false; /* getopt has said it */
        }
    }
    if (optind + 2 != count)
        return wrong("a model and a file are wanted, got", optind < count ? "other" : "none"),
               false;
    arguments->model = model_find(words[optind]);
    arguments->path = words[optind + 1];
    if (arguments->model == NULL)
        return wrong("unknown model", words[optind]), false;
    return true;
}

static bool read_file(struct history *history, const char *path)
{
    bool is_standard = strcmp(path, "-") == 0;
    FILE *file = is_standard ? stdin : fopen(path, "re");
    enum error rc;

    if (file == NULL) {
        (void)fprintf(stderr, "skein-check: %s: %s\n", path, strerror(errno));
        return false;
    }
    rc = history_read(history, file);
    if (rc != OK)
        (void)fprintf(stderr, "skein-check: %s: %s\n", path, history->why);
    if (!is_standard)
        (void)fclose(file);
    return rc == OK;
}

int main(int count, char *words[])
{
    static const enum exit_code codes[] = {
        [VERDICT_VALID] = EXIT_VALID,
        [VERDICT_INVALID] = EXIT_INVALID,
        [VERDICT_UNDECIDED] = EXIT_UNDECIDED,
    };
    struct arguments arguments = {.judge = {.timeout_s = 120, .memory_bytes = (size_t)1 << 30}};
    enum exit_code code = EXIT_UNREADABLE;
    struct history history;

    if (!take_options(&arguments, count, words))
        return EXIT_UNREADABLE;
    history_init(&history, arguments.model);
    if (read_file(&history, arguments.path)) {
        struct verdict verdict;

        verdict_init(&verdict);
        judge_history(&history, &arguments.judge, &verdict);
        (arguments.is_json ? verdict_print_json : verdict_print_text)(&verdict, &history, stdout);
        code = codes[verdict.kind];
        verdict_close(&verdict);
    }
    history_close(&history);
    return (int)code;
}
