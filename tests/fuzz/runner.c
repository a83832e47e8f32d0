/* Runs a fuzz target without libFuzzer: every file of a corpus folder, then seeded mutations.
 *
 * usage: fuzz_NAME CORPUS [SEED [MUTATIONS]]
 *
 * The same seed gives the same inputs. When the target dies, the input that killed it is the last
 * one: its number is printed and its bytes are left in fuzz-crash.bin. */

#include "proto/base/buffer.h"
#include "proto/base/check.h"
#include "proto/base/rng.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define INPUT_BYTES_MAX (1u << 20)
#define CORPUS_MAX 4096
#define MUTATIONS 20000
#define CRASH_FILE "fuzz-crash.bin"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
__attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)(void));

static struct buffer corpus[CORPUS_MAX];
static size_t corpus_count;
static struct buffer input; /* the one that is running */
static unsigned long input_number;

static void on_death(void)
{
    int file = open(CRASH_FILE, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    (void)fprintf(stderr, "input %lu kills the target; kept in " CRASH_FILE "\n", input_number);
    if (file < 0 || write(file, input.data, input.size) < 0)
        perror(CRASH_FILE);
}

static void on_signal(int number)
{
    on_death();
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

/* A copy of exactly its size, so that the sanitizers see a read past its end. */
static void run_input(void)
{
    uint8_t *exact = check_malloc(input.size);

    if (input.size > 0)
        memcpy(exact, input.data, input.size);
    input_number++;
    (void)LLVMFuzzerTestOneInput(exact, input.size);
    free(exact);
}

static void load(const char *folder, const char *name)
{
    char path[4096];
    char chunk[4096];
    size_t size;

    CHECK(corpus_count < CORPUS_MAX);
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "rbe");
    struct buffer *to = &corpus[corpus_count++];

    CHECK(file != NULL);
    buffer_init(to, INPUT_BYTES_MAX);
    while ((size = fread(chunk, 1, sizeof(chunk), file)) > 0)
        buffer_put(to, chunk, size);
    (void)fclose(file);
}

static int is_input(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void load_corpus(const char *folder)
{
    struct dirent **entries = NULL;
    int count = scandir(folder, &entries, is_input, alphasort);

    for (int i = 0; i < count; i++) {
        load(folder, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    if (corpus_count == 0)
        buffer_init(&corpus[corpus_count++], INPUT_BYTES_MAX);
}

/* One small change: flip a bit, set a byte, cut, repeat a stretch, or splice in another input. */
static void mutate(struct rng *rng)
{
    static const uint8_t special[] = {0, 1, 0x7f, 0x80, 0xff, '\n', '"', '{', ' ', '%'};
    size_t at = input.size > 0 ? rng_below(rng, input.size) : 0;
    const struct buffer *other = &corpus[rng_below(rng, corpus_count)];

    switch (rng_below(rng, 6)) {
    case 0:
        if (input.size > 0)
            input.data[at] ^= (uint8_t)(1u << rng_below(rng, 8));
        break;
    case 1:
        if (input.size > 0)
            input.data[at] = special[rng_below(rng, ARRAY_COUNT(special))];
        break;
    case 2:
        if (input.size > 0)
            input.data[at] = (uint8_t)rng_next(rng);
        break;
    case 3:
        input.size = at;
        break;
    case 4:
        if (input.size > 0 && buffer_reserve(&input, input.size) == OK)
            buffer_put(&input, input.data + at, 1 + rng_below(rng, input.size - at));
        break;
    default:
        if (other->size > 0) {
            size_t from = rng_below(rng, other->size);

            if (buffer_reserve(&input, other->size) == OK)
                buffer_put(&input, other->data + from, other->size - from);
        }
        break;
    }
}

int main(int argc, char **argv)
{
    CHECK(argc >= 2);
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    uint64_t mutations = argc > 3 ? strtoull(argv[3], NULL, 10) : MUTATIONS;
    struct rng rng;

    if (__sanitizer_set_death_callback != NULL)
        __sanitizer_set_death_callback(on_death);
    (void)signal(SIGABRT, on_signal);
    (void)signal(SIGSEGV, on_signal);
    buffer_init(&input, INPUT_BYTES_MAX);
    load_corpus(argv[1]);
    printf("replay: %s %s %llu %llu\n", argv[0], argv[1], (unsigned long long)seed,
           (unsigned long long)mutations);
    (void)fflush(stdout);
    for (size_t i = 0; i < corpus_count; i++) {
        buffer_clear(&input);
        buffer_put_slice(&input, buffer_slice(&corpus[i]));
        run_input();
    }
    rng_init(&rng, seed);
    for (uint64_t i = 0; i < mutations; i++) {
        const struct buffer *base = &corpus[rng_below(&rng, corpus_count)];

        buffer_clear(&input);
        buffer_put_slice(&input, buffer_slice(base));
        for (uint64_t changes = 1 + rng_below(&rng, 4); changes > 0; changes--)
            mutate(&rng);
        run_input();
    }
    printf("%lu inputs\n", input_number);
    for (size_t i = 0; i < corpus_count; i++)
        buffer_close(&corpus[i]);
    buffer_close(&input);
    return 0;
}
