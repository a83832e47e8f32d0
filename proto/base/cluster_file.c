#include "proto/base/cluster_file.h"

#include "proto/base/check.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#define WORDS_MAX 8
#define KEY_CHARACTERS 40
#define ENDPOINT_SCHEME "tcp://"

void cluster_file_init(struct cluster_file *file)
{
    *file = (struct cluster_file){.shards = 12, .replicas = 3, .port = 4566};
}

void cluster_file_close(struct cluster_file *file)
{
    free(file->controllers);
    free(file->nodes);
    cluster_file_init(file);
}

/* ---- the form of each field ---- */

static bool is_name(const char *text)
{
    size_t size = strlen(text);

    if (size == 0 || size > CLUSTER_FILE_NAME_MAX)
        return false;
    for (size_t i = 0; i < size; i++)
        if (!isalnum((unsigned char)text[i]) && strchr("-_.", text[i]) == NULL)
            return false;
    return true;
}

/* Digits only, no sign, no leading zero but for 0 itself. */
static bool parse_number(struct slice text, uint64_t max, uint64_t *number)
{
    uint64_t value = 0;

    if (text.size == 0 || text.size > 19 || (text.size > 1 && text.data[0] == '0'))
        return false;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        value = value * 10 + (uint64_t)(text.data[i] - '0');
    }
    if (value > max)
        return false;
    *number = value;
    return true;
}

/* The host of HOST:PORT; empty when it has not that form. */
static struct slice host_of(const char *address)
{
    const char *colon = strrchr(address, ':');
    uint64_t port;

    if (colon == NULL || colon == address || !parse_number(slice_text(colon + 1), 65535, &port) ||
        port == 0)
        return slice_of(NULL, 0);
    for (const char *p = address; p < colon; p++)
        if (!isalnum((unsigned char)*p) && strchr("-_.:[]", *p) == NULL)
            return slice_of(NULL, 0);
    return slice_of(address, (size_t)(colon - address));
}

static bool is_endpoint(const char *text)
{
    return strncmp(text, ENDPOINT_SCHEME, strlen(ENDPOINT_SCHEME)) == 0 &&
           host_of(text + strlen(ENDPOINT_SCHEME)).size > 0;
}

/* Z85, ZeroMQ RFC 32. */
static bool is_key(const char *text)
{
    if (strlen(text) != KEY_CHARACTERS)
        return false;
    for (const char *p = text; *p != '\0'; p++)
        if (!isalnum((unsigned char)*p) && strchr(".-:+=^!/*?&<>()[]{}@%$#", *p) == NULL)
            return false;
    return true;
}

static bool is_controller_id(uint64_t id)
{
    return id >= CLUSTER_FILE_CONTROLLER_ID_MIN;
}

static const char *wrong_field(const struct cluster_process *process)
{
    if (process->id == 0)
        return "id must not be 0";
    if (!is_name(process->name))
        return "not a name";
    if (!is_name(process->region))
        return "not a region";
    if (!is_endpoint(process->endpoint))
        return "not an endpoint (tcp://HOST:PORT)";
    if (!is_key(process->public_key))
        return "not a public key (40 characters of Z85)";
    if (is_controller_id(process->id) ? process->http_address[0] != '\0'
                                      : host_of(process->http_address).size == 0)
        return "not an address (HOST:PORT)";
    return NULL;
}

/* ---- processes ---- */

static bool is_same(const struct cluster_process *a, const struct cluster_process *b)
{
    return a->id == b->id || strcmp(a->name, b->name) == 0 || strcmp(a->endpoint, b->endpoint) == 0;
}

static bool is_taken(const struct cluster_file *file, const struct cluster_process *process)
{
    for (size_t i = 0; i < file->controller_count; i++)
        if (is_same(&file->controllers[i], process))
            return true;
    for (size_t i = 0; i < file->node_count; i++)
        if (is_same(&file->nodes[i], process))
            return true;
    return false;
}

enum error cluster_file_add(struct cluster_file *file, const struct cluster_process *process)
{
    bool is_controller = is_controller_id(process->id);
    struct cluster_process **list = is_controller ? &file->controllers : &file->nodes;
    size_t *count = is_controller ? &file->controller_count : &file->node_count;

    if (wrong_field(process) != NULL)
        return ERR_INVALID;
    if (is_taken(file, process))
        return ERR_EXISTS;
    if (*count >= (is_controller ? CLUSTER_FILE_CONTROLLERS_MAX : CLUSTER_FILE_NODES_MAX))
        return ERR_TOO_LARGE;
    *list = check_realloc(*list, (*count + 1) * sizeof(**list));
    (*list)[(*count)++] = *process;
    return OK;
}

const struct cluster_process *cluster_file_find(const struct cluster_file *file, uint64_t id)
{
    for (size_t i = 0; i < file->controller_count; i++)
        if (file->controllers[i].id == id)
            return &file->controllers[i];
    for (size_t i = 0; i < file->node_count; i++)
        if (file->nodes[i].id == id)
            return &file->nodes[i];
    return NULL;
}

const struct cluster_process *cluster_file_find_name(const struct cluster_file *file,
                                                     const char *name)
{
    for (size_t i = 0; i < file->controller_count; i++)
        if (strcmp(file->controllers[i].name, name) == 0)
            return &file->controllers[i];
    for (size_t i = 0; i < file->node_count; i++)
        if (strcmp(file->nodes[i].name, name) == 0)
            return &file->nodes[i];
    return NULL;
}

struct slice cluster_process_host(const struct cluster_process *process)
{
    return host_of(process->endpoint + strlen(ENDPOINT_SCHEME));
}

/* ---- parsing ---- */

struct parser {
    struct cluster_file *file;
    char *why;
    size_t line;
    struct slice words[WORDS_MAX];
    size_t word_count;
    bool has_shards;
    bool has_replicas;
    bool has_port;
};

static enum error __attribute__((format(printf, 2, 3)))
wrong(struct parser *parser, const char *format, ...)
{
    va_list arguments;
    int head = snprintf(parser->why, ERROR_WHY_BYTES, "line %zu: ", parser->line);

    va_start(arguments, format);
    (void)vsnprintf(parser->why + head, ERROR_WHY_BYTES - (size_t)head, format, arguments);
    va_end(arguments);
    return ERR_INVALID;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

/* Splits a line at blanks, up to a '#' that begins a word. */
static enum error split(struct parser *parser, struct slice line)
{
    size_t i = 0;

    parser->word_count = 0;
    for (;;) {
        while (i < line.size && is_blank(line.data[i]))
            i++;
        if (i == line.size || (line.data[i] == '#' && parser->word_count == 0))
            return OK;
        if (parser->word_count == WORDS_MAX)
            return wrong(parser, "too many words");
        size_t from = i;

        while (i < line.size && !is_blank(line.data[i])) {
            if (line.data[i] < ' ' || line.data[i] > '~')
                return wrong(parser, "a byte that is not plain text");
            i++;
        }
        parser->words[parser->word_count++] = slice_of(line.data + from, i - from);
    }
}

static enum error parse_setting(struct parser *parser, bool *is_set, uint64_t min, uint64_t max,
                                uint64_t *value)
{
    if (parser->word_count != 2)
        return wrong(parser, "one number is wanted");
    if (*is_set)
        return wrong(parser, "said before");
    if (!parse_number(parser->words[1], max, value) || *value < min)
        return wrong(parser, "a number from %" PRIu64 " to %" PRIu64 " is wanted", min, max);
    *is_set = true;
    return OK;
}

/* False when the word does not fit. */
static bool copy_word(struct slice word, char *to, size_t bytes)
{
    if (word.size >= bytes)
        return false;
    memcpy(to, word.data, word.size);
    to[word.size] = '\0';
    return true;
}

static enum error parse_process(struct parser *parser, bool is_controller)
{
    struct cluster_process process = {0};
    const struct slice *words = parser->words;
    size_t wanted = is_controller ? 6 : 7;

    if (parser->word_count != wanted)
        return wrong(parser, "%zu words are wanted, here are %zu", wanted, parser->word_count);
    if (!parse_number(words[1], UINT64_MAX, &process.id) ||
        is_controller != is_controller_id(process.id))
        return wrong(parser, "the id of a %s is a number %s %u",
                     is_controller ? "controller" : "node", is_controller ? "from" : "below",
                     CLUSTER_FILE_CONTROLLER_ID_MIN);
    if (!copy_word(words[2], process.name, sizeof(process.name)) ||
        !copy_word(words[3], process.region, sizeof(process.region)) ||
        !copy_word(words[4], process.endpoint, sizeof(process.endpoint)) ||
        !copy_word(words[5], process.public_key, sizeof(process.public_key)) ||
        (!is_controller &&
         !copy_word(words[6], process.http_address, sizeof(process.http_address))))
        return wrong(parser, "a word is too long");
    enum error rc = cluster_file_add(parser->file, &process);

    if (rc == ERR_EXISTS)
        return wrong(parser, "id, name or endpoint is another's");
    if (rc == ERR_TOO_LARGE)
        return wrong(parser, "too many processes");
    return rc == OK ? OK : wrong(parser, "%s", wrong_field(&process));
}

static enum error parse_words(struct parser *parser)
{
    struct cluster_file *file = parser->file;
    struct slice word = parser->words[0];
    uint64_t value = 0;
    enum error rc;

    if (slice_equal_text(word, "controller"))
        return parse_process(parser, true);
    if (slice_equal_text(word, "node"))
        return parse_process(parser, false);
    if (slice_equal_text(word, "shards")) {
        rc = parse_setting(parser, &parser->has_shards, 1, CLUSTER_FILE_SHARDS_MAX, &value);
        file->shards = rc == OK ? (uint32_t)value : file->shards;
        return rc;
    }
    if (slice_equal_text(word, "replicas")) {
        rc = parse_setting(parser, &parser->has_replicas, 1, 9, &value);
        file->replicas = rc == OK ? (uint32_t)value : file->replicas;
        return rc;
    }
    if (slice_equal_text(word, "port")) {
        rc = parse_setting(parser, &parser->has_port, 1, 65535, &value);
        file->port = rc == OK ? (uint16_t)value : file->port;
        return rc;
    }
    return wrong(parser, "\"%.*s\" is none of controller, node, shards, replicas, port",
                 (int)(word.size < 32 ? word.size : 32), (const char *)word.data);
}

/* The next line without its end; `rest` moves past it. */
static struct slice next_line(struct slice *rest)
{
    const uint8_t *end = memchr(rest->data, '\n', rest->size);
    size_t size = end != NULL ? (size_t)(end - rest->data) : rest->size;
    struct slice line = slice_of(rest->data, size);
    size_t used = size + (end != NULL);

    *rest = slice_of(rest->data + used, rest->size - used);
    if (line.size > 0 && line.data[line.size - 1] == '\r')
        line.size--;
    return line;
}

enum error cluster_file_parse(struct slice text, struct cluster_file *file,
                              char why[ERROR_WHY_BYTES])
{
    struct parser parser = {.file = file, .why = why};
    enum error rc = OK;

    if (text.size > CLUSTER_FILE_BYTES_MAX) {
        (void)snprintf(why, ERROR_WHY_BYTES, "larger than %u bytes", CLUSTER_FILE_BYTES_MAX);
        return ERR_TOO_LARGE;
    }
    while (rc == OK && text.size > 0) {
        parser.line++;
        rc = split(&parser, next_line(&text));
        if (rc == OK && parser.word_count > 0)
            rc = parse_words(&parser);
    }
    if (rc == OK && file->controller_count == 0) {
        (void)snprintf(why, ERROR_WHY_BYTES, "no controller");
        rc = ERR_INVALID;
    }
    if (rc != OK)
        cluster_file_close(file);
    return rc;
}

/* ---- writing ---- */

static void write_process(const struct cluster_process *process, const char *kind,
                          struct buffer *text)
{
    buffer_putf(text, "%s %" PRIu64 " %s %s %s %s", kind, process->id, process->name,
                process->region, process->endpoint, process->public_key);
    if (process->http_address[0] != '\0')
        buffer_putf(text, " %s", process->http_address);
    buffer_put_text(text, "\n");
}

void cluster_file_write(const struct cluster_file *file, struct buffer *text)
{
    buffer_putf(text, "shards %" PRIu32 "\nreplicas %" PRIu32 "\nport %u\n", file->shards,
                file->replicas, (unsigned)file->port);
    for (size_t i = 0; i < file->controller_count; i++)
        write_process(&file->controllers[i], "controller", text);
    for (size_t i = 0; i < file->node_count; i++)
        write_process(&file->nodes[i], "node", text);
}
