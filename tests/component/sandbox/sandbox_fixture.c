#include "tests/component/sandbox/sandbox_fixture.h"

#include "proto/base/check.h"
#include "proto/base/log.h"

#include <fcntl.h>
#include <sys/stat.h>

#define REQUEST_ID "8476a536-e9f4-11e8-9739-2dfe598c3fcd"
#define REQUEST_BYTES_MAX 65536

/* ---- the AWS endpoint ---------------------------------------------------------------------- */

struct connection {
    struct sandbox_fixture *fixture;
    struct list link;
    uv_tcp_t handle;
    struct buffer received;
    char chunk[8192];
};

static void connection_on_closed(uv_handle_t *handle)
{
    struct connection *connection = handle->data;

    list_remove(&connection->link);
    buffer_close(&connection->received);
    free(connection);
}

static void connection_on_allocate(uv_handle_t *handle, size_t size, uv_buf_t *buffer)
{
    struct connection *connection = handle->data;

    (void)size;
    *buffer = uv_buf_init(connection->chunk, sizeof(connection->chunk));
}

static bool is_whole(struct buffer *received)
{
    const char *text = buffer_text(received);
    const char *body = strstr(text, "\r\n\r\n");
    const char *length = strstr(text, "Content-Length: ");
    size_t expected = length != NULL ? strtoul(length + 16, NULL, 10) : 0;

    return body != NULL && received->size >= (size_t)(body + 4 - text) + expected;
}

static void connection_on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\n"
                                 "Content-Length: 2\r\n\r\n{}";
    struct connection *connection = stream->data;
    uv_buf_t out = uv_buf_init((char *)answer, sizeof(answer) - 1);

    if (size < 0) {
        uv_close((uv_handle_t *)stream, connection_on_closed);
        return;
    }
    buffer_put(&connection->received, buffer->base, (size_t)size);
    if (!is_whole(&connection->received))
        return;
    buffer_clear(&connection->fixture->last_request);
    buffer_put_slice(&connection->fixture->last_request, buffer_slice(&connection->received));
    buffer_clear(&connection->received);
    assert_int_equal(uv_try_write(stream, &out, 1), sizeof(answer) - 1);
}

static struct connection *connection_new(struct sandbox_fixture *fixture)
{
    struct connection *connection = check_calloc(1, sizeof(*connection));

    connection->fixture = fixture;
    buffer_init(&connection->received, REQUEST_BYTES_MAX);
    list_append(&fixture->connections, &connection->link);
    assert_int_equal(uv_tcp_init(&fixture->base.loop, &connection->handle), 0);
    connection->handle.data = connection;
    return connection;
}

static void connection_read(struct connection *connection)
{
    assert_int_equal(uv_read_start((uv_stream_t *)&connection->handle, connection_on_allocate,
                                   connection_on_read),
                     0);
}

static void on_aws_connection(void *user, int fd)
{
    struct connection *connection = connection_new(user);

    assert_int_equal(uv_tcp_open(&connection->handle, fd), 0);
    connection_read(connection);
}

static void endpoint_on_connection(uv_stream_t *listener, int status)
{
    struct connection *connection = connection_new(listener->data);

    assert_int_equal(status, 0);
    assert_int_equal(uv_accept(listener, (uv_stream_t *)&connection->handle), 0);
    connection_read(connection);
}

static void endpoint_open(struct sandbox_fixture *fixture)
{
    struct sockaddr_in address;
    int size = sizeof(address);

    assert_int_equal(uv_ip4_addr("127.0.0.1", 0, &address), 0);
    assert_int_equal(uv_tcp_init(&fixture->base.loop, &fixture->endpoint_listener), 0);
    fixture->endpoint_listener.data = fixture;
    assert_int_equal(uv_tcp_bind(&fixture->endpoint_listener, (const struct sockaddr *)&address, 0),
                     0);
    assert_int_equal(
        uv_listen((uv_stream_t *)&fixture->endpoint_listener, 16, endpoint_on_connection), 0);
    assert_int_equal(
        uv_tcp_getsockname(&fixture->endpoint_listener, (struct sockaddr *)&address, &size), 0);
    (void)snprintf(fixture->endpoint, sizeof(fixture->endpoint), "http://127.0.0.1:%d",
                   ntohs(address.sin_port));
}

/* ---- code: there already, but told in a later turn ----------------------------------------- */

static void on_fetched(uv_timer_t *timer)
{
    struct sandbox_fixture *fixture = timer->data;
    struct list *link;

    while ((link = list_pop(&fixture->fetches)) != NULL) {
        struct pool_code *code = container_of(link, struct pool_code, link);
        char folder[300];

        (void)snprintf(folder, sizeof(folder), "%s/%s-%u", fixture->code, code->function->name,
                       code->function->generation);
        code->cb(code, OK, folder);
    }
}

static void code_fetch(void *user, struct pool_code *code, pool_code_cb cb)
{
    struct sandbox_fixture *fixture = user;

    (void)cb;
    list_append(&fixture->fetches, &code->link);
    assert_int_equal(uv_timer_start(&fixture->fetched, on_fetched, 0, 0), 0);
}

/* ---- the fixture --------------------------------------------------------------------------- */

void sandbox_fixture_open(struct sandbox_fixture *fixture, enum launcher_tier best)
{
    struct pool_options pool = {.user = fixture, .code_fetch = code_fetch};
    struct process_options process = {.data = fixture->data,
                                      .access_key_id = "AKIDTEST",
                                      .secret_access_key = "secret",
                                      .endpoint = fixture->endpoint,
                                      .tier_best = best,
                                      .user = fixture,
                                      .on_aws_connection = on_aws_connection};

    memset(fixture, 0, sizeof(*fixture));
    log_set_level(getenv("VERBOSE") != NULL ? LOG_LEVEL_DEBUG : LOG_LEVEL_OFF);
    fixture_open(&fixture->base);
    list_init(&fixture->connections);
    list_init(&fixture->fetches);
    buffer_init(&fixture->last_request, REQUEST_BYTES_MAX);
    fixture->env = fixture_env(&fixture->base, 1);
    (void)snprintf(fixture->data, sizeof(fixture->data), "%s/1", fixture->base.folder);
    (void)snprintf(fixture->code, sizeof(fixture->code), "%s/functions", fixture->base.folder);
    assert_int_equal(mkdir(fixture->code, 0755), 0);
    sandbox_fixture_write(fixture->data, "secret", "key", 3, 0644);
    assert_int_equal(uv_timer_init(&fixture->base.loop, &fixture->fetched), 0);
    fixture->fetched.data = fixture;
    endpoint_open(fixture);
    assert_int_equal(process_open(fixture->env, &fixture->base.loop, &process, &fixture->process),
                     OK);
    fixture->pool = pool_new(fixture->env, &pool);
}

static void on_process_closed(void *user)
{
    struct sandbox_fixture *fixture = user;

    fixture->is_process_closed = true;
}

void sandbox_fixture_close(struct sandbox_fixture *fixture)
{
    process_close(fixture->process, fixture, on_process_closed);
    pool_free(fixture->pool);
    fixture_until(&fixture->base, fixture_is_set, &fixture->is_process_closed);
    LIST_EACH(&fixture->connections, link)
    {
        uv_handle_t *handle = (uv_handle_t *)&container_of(link, struct connection, link)->handle;

        if (!uv_is_closing(handle))
            uv_close(handle, connection_on_closed);
    }
    uv_close((uv_handle_t *)&fixture->endpoint_listener, NULL);
    uv_close((uv_handle_t *)&fixture->fetched, NULL);
    env_uv_close(fixture->env);
    buffer_close(&fixture->last_request);
    fixture_close(&fixture->base);
}

void sandbox_fixture_write(const char *folder, const char *name, const void *bytes, size_t size,
                           unsigned mode)
{
    char path[400];
    int fd;

    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, mode);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, size), size);
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static void set_function(struct sandbox_fixture *fixture, const char *name, const char *runtime,
                         const char *handler, uint32_t timeout_ms, uint32_t memory_mb)
{
    Skein__Wire__EnvironmentVariable variable = SKEIN__WIRE__ENVIRONMENT_VARIABLE__INIT;
    Skein__Wire__EnvironmentVariable *variables[] = {&variable};
    Skein__Wire__Function function = SKEIN__WIRE__FUNCTION__INIT;

    variable.name = (char *)"STAGE";
    variable.value = (char *)"test";
    function.name = (char *)name;
    function.runtime = (char *)runtime;
    function.handler = (char *)handler;
    function.timeout_ms = timeout_ms;
    function.memory_mb = memory_mb;
    function.generation = fixture->generation;
    function.n_environment = 1;
    function.environment = variables;
    pool_function_set(fixture->pool, &function);
}

static void make_code_folder(struct sandbox_fixture *fixture, const char *name, char folder[300])
{
    fixture->generation++;
    (void)snprintf(folder, 300, "%s/%s-%u", fixture->code, name, fixture->generation);
    assert_int_equal(mkdir(folder, 0755), 0);
}

void sandbox_fixture_python(struct sandbox_fixture *fixture, const char *name, const char *source,
                            uint32_t timeout_ms, uint32_t memory_mb)
{
    char folder[300];

    make_code_folder(fixture, name, folder);
    sandbox_fixture_write(folder, "app.py", source, strlen(source), 0644);
    set_function(fixture, name, "python3.9", "app.lambda_handler", timeout_ms, memory_mb);
}

void sandbox_fixture_node(struct sandbox_fixture *fixture, const char *name, const char *file,
                          const char *source, uint32_t timeout_ms, uint32_t memory_mb)
{
    char folder[300];

    make_code_folder(fixture, name, folder);
    sandbox_fixture_write(folder, file, source, strlen(source), 0644);
    set_function(fixture, name, "nodejs20.x", "index.handler", timeout_ms, memory_mb);
}

void sandbox_fixture_bootstrap(struct sandbox_fixture *fixture, const char *name, const char *file)
{
    AUTO(buffer) bytes = BUFFER_INIT(BUFFER_UNLIMITED);
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    char folder[300];
    char chunk[8192];
    ssize_t size;

    assert_true(fd >= 0);
    while ((size = read(fd, chunk, sizeof(chunk))) > 0)
        buffer_put(&bytes, chunk, (size_t)size);
    close(fd);
    make_code_folder(fixture, name, folder);
    sandbox_fixture_write(folder, "bootstrap", bytes.data, bytes.size, 0755);
    set_function(fixture, name, "provided.al2023", "none", 3000, 128);
}

/* ---- invocations --------------------------------------------------------------------------- */

static char *copy_text(struct slice text)
{
    return text.size > 0 ? slice_strdup(text) : check_strdup("");
}

static void on_answer(struct invoke *invoke, const struct invoke_result *result)
{
    struct answer *answer = container_of(invoke, struct answer, invoke);

    answer->is_there = true;
    answer->outcome = result->outcome;
    answer->payload = copy_text(result->payload);
    answer->log = copy_text(result->log_tail);
    answer->duration_us = result->duration_us;
    answer->init_us = result->init_us;
    answer->memory_used_mb = result->memory_used_mb;
}

void sandbox_fixture_start(struct sandbox_fixture *fixture, const char *name, const char *payload,
                           struct answer *answer)
{
    *answer = (struct answer){.invoke = {.function = name,
                                         .request_id = REQUEST_ID,
                                         .payload = slice_text(payload),
                                         .region = "eu-west-1"}};
    pool_invoke(fixture->pool, &answer->invoke, on_answer);
}

void sandbox_fixture_call(struct sandbox_fixture *fixture, struct answer *answer)
{
    pool_invoke(fixture->pool, &answer->invoke, on_answer);
    sandbox_fixture_await(fixture, answer);
}

void sandbox_fixture_await(struct sandbox_fixture *fixture, struct answer *answer)
{
    fixture_until(&fixture->base, fixture_is_set, &answer->is_there);
    if (getenv("VERBOSE") != NULL)
        printf("outcome %d payload %.300s\nlog %s\n", answer->outcome, answer->payload,
               answer->log);
}

void sandbox_fixture_invoke(struct sandbox_fixture *fixture, const char *name, const char *payload,
                            struct answer *answer)
{
    sandbox_fixture_start(fixture, name, payload, answer);
    sandbox_fixture_await(fixture, answer);
}

void answer_close(struct answer *answer)
{
    free(answer->payload);
    free(answer->log);
}
