#include "proto/base/cluster_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define KEY_A "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
#define KEY_B "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6"
#define CONTROLLER "controller 100001 controller-1 us-east-1 tcp://127.0.0.1:7101 " KEY_A "\n"
#define NODE "node 1 node-1 us-east-1 tcp://127.0.0.1:7001 " KEY_B " 127.0.0.1:4571\n"

static void assert_refused(const char *text, const char *why_wanted)
{
    struct cluster_file file;
    char why[ERROR_WHY_BYTES] = "";

    cluster_file_init(&file);
    assert_int_equal(cluster_file_parse(slice_text(text), &file, why), ERR_INVALID);
    assert_string_equal(why, why_wanted);
    assert_int_equal(file.controller_count, 0);
    assert_null(file.controllers);
}

static void parse__whole_file__everything_there(void **state)
{
    struct cluster_file file;
    char why[ERROR_WHY_BYTES];

    (void)state;
    cluster_file_init(&file);
    assert_int_equal(cluster_file_parse(slice_text("# a laptop\r\n\n  shards\t24\r\nport 4600\n"
                                                   "replicas 5\n" CONTROLLER NODE),
                                        &file, why),
                     OK);

    assert_int_equal(file.shards, 24);
    assert_int_equal(file.replicas, 5);
    assert_int_equal(file.port, 4600);
    assert_int_equal(file.controller_count, 1);
    assert_int_equal(file.node_count, 1);
    const struct cluster_process *node = cluster_file_find(&file, 1);

    assert_ptr_equal(node, cluster_file_find_name(&file, "node-1"));
    assert_string_equal(node->region, "us-east-1");
    assert_string_equal(node->endpoint, "tcp://127.0.0.1:7001");
    assert_string_equal(node->public_key, KEY_B);
    assert_string_equal(node->http_address, "127.0.0.1:4571");
    assert_true(slice_equal_text(cluster_process_host(node), "127.0.0.1"));
    assert_string_equal(cluster_file_find(&file, 100001)->http_address, "");
    assert_null(cluster_file_find(&file, 2));
    cluster_file_close(&file);
}

static void parse__only_controllers__defaults(void **state)
{
    struct cluster_file file;
    char why[ERROR_WHY_BYTES];

    (void)state;
    cluster_file_init(&file);
    assert_int_equal(cluster_file_parse(slice_text(CONTROLLER), &file, why), OK);

    assert_int_equal(file.shards, 12);
    assert_int_equal(file.replicas, 3);
    assert_int_equal(file.port, 4566);
    cluster_file_close(&file);
}

static void write__parsed_again__same_text(void **state)
{
    struct cluster_file file;
    struct cluster_file again;
    AUTO(buffer) text = BUFFER_INIT(BUFFER_UNLIMITED);
    AUTO(buffer) text_again = BUFFER_INIT(BUFFER_UNLIMITED);
    char why[ERROR_WHY_BYTES];

    (void)state;
    cluster_file_init(&file);
    cluster_file_init(&again);
    assert_int_equal(cluster_file_parse(slice_text(NODE CONTROLLER "shards 3\n"), &file, why), OK);

    cluster_file_write(&file, &text);
    assert_int_equal(cluster_file_parse(buffer_slice(&text), &again, why), OK);
    cluster_file_write(&again, &text_again);

    assert_string_equal(buffer_text(&text), "shards 3\nreplicas 3\nport 4566\n" CONTROLLER NODE);
    assert_true(slice_equal(buffer_slice(&text), buffer_slice(&text_again)));
    cluster_file_close(&file);
    cluster_file_close(&again);
}

static void parse__something_wrong__line_and_reason(void **state)
{
    (void)state;
    assert_refused("", "no controller");
    assert_refused(NODE, "no controller");
    assert_refused("\n# x\nshard 12\n",
                   "line 3: \"shard\" is none of controller, node, shards, replicas, port");
    assert_refused("shards 0\n", "line 1: a number from 1 to 1000 is wanted");
    assert_refused("shards 012\n", "line 1: a number from 1 to 1000 is wanted");
    assert_refused("shards 1 2\n", "line 1: one number is wanted");
    assert_refused("port 70000\n", "line 1: a number from 1 to 65535 is wanted");
    assert_refused("port 1\nport 1\n", "line 2: said before");
    assert_refused("replicas -1\n", "line 1: a number from 1 to 9 is wanted");
    assert_refused("controller 100001 controller-1 us-east-1 tcp://127.0.0.1:7101\n",
                   "line 1: 6 words are wanted, here are 5");
    assert_refused("controller 1 controller-1 us-east-1 tcp://127.0.0.1:7101 " KEY_A "\n",
                   "line 1: the id of a controller is a number from 100000");
    assert_refused("node 100000 n us-east-1 tcp://127.0.0.1:7101 " KEY_A " a:1\n",
                   "line 1: the id of a node is a number below 100000");
    assert_refused("node 0 n us-east-1 tcp://127.0.0.1:7101 " KEY_A " a:1\n",
                   "line 1: id must not be 0");
    assert_refused("node 1 n/1 us-east-1 tcp://127.0.0.1:7101 " KEY_A " a:1\n",
                   "line 1: not a name");
    assert_refused("node 1 n us-east-1 udp://127.0.0.1:7101 " KEY_A " a:1\n",
                   "line 1: not an endpoint (tcp://HOST:PORT)");
    assert_refused("node 1 n us-east-1 tcp://127.0.0.1:0 " KEY_A " a:1\n",
                   "line 1: not an endpoint (tcp://HOST:PORT)");
    assert_refused("node 1 n us-east-1 tcp://h:1 short a:1\n",
                   "line 1: not a public key (40 characters of Z85)");
    assert_refused("node 1 n us-east-1 tcp://h:1 " KEY_A " 4571\n",
                   "line 1: not an address (HOST:PORT)");
    assert_refused(CONTROLLER NODE NODE, "line 3: id, name or endpoint is another's");
    assert_refused("port\x01 1\n", "line 1: a byte that is not plain text");
    assert_refused("a b c d e f g h i\n", "line 1: too many words");
}

static void parse__every_prefix__refused_or_whole_lines(void **state)
{
    const char text[] = "shards 2\n" CONTROLLER NODE;

    (void)state;
    for (size_t size = 0; size < sizeof(text) - 1; size++) {
        struct cluster_file file;
        char why[ERROR_WHY_BYTES];
        char *copy = slice_strdup(slice_of(text, size)); /* so that reading past it is seen */

        cluster_file_init(&file);
        enum error rc = cluster_file_parse(slice_of(copy, size), &file, why);

        assert_true(rc == OK || rc == ERR_INVALID);
        cluster_file_close(&file);
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parse__whole_file__everything_there),
        cmocka_unit_test(parse__only_controllers__defaults),
        cmocka_unit_test(write__parsed_again__same_text),
        cmocka_unit_test(parse__something_wrong__line_and_reason),
        cmocka_unit_test(parse__every_prefix__refused_or_whole_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
