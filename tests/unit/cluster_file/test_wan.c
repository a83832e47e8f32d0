#include "proto/base/wan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define WAN "us-east-1:eu-west-1=80ms,us-east-1:ap-southeast-1=161ms"

static void delay__named_pair__half_the_round_trip_in_either_order(void **state)
{
    (void)state;
    assert_int_equal(wan_delay_us(WAN, "us-east-1", "eu-west-1"), 40000);
    assert_int_equal(wan_delay_us(WAN, "eu-west-1", "us-east-1"), 40000);
    assert_int_equal(wan_delay_us(WAN, "ap-southeast-1", "us-east-1"), 80500);
    assert_int_equal(wan_delay_us(WAN, "ap-southeast-1", "eu-west-1"), 0);
    assert_int_equal(wan_delay_us(WAN, "us-east-1", "us-east-1"), 0);
    assert_int_equal(wan_delay_us("", "us-east-1", "eu-west-1"), 0);
}

static void check__well_formed__ok(void **state)
{
    char why[ERROR_WHY_BYTES] = "";

    (void)state;
    assert_int_equal(wan_check("", why), OK);
    assert_int_equal(wan_check(WAN, why), OK);
    assert_int_equal(wan_check("a:b=0ms", why), OK);
    assert_int_equal(wan_check("a:b=10000ms", why), OK);
}

static void check__malformed__says_which_part(void **state)
{
    static const char *const wrong[] = {
        "a",        "a:b",    "a:b=",        "a:b=5",     "a:b=5s",    ":b=5ms",    "a:=5ms",
        "a:b=-5ms", "a:b=ms", "a:b=10001ms", "a:b=5ms,,", "a:b=5ms x", "a:b=1.5ms", "a=b:5ms"};
    char why[ERROR_WHY_BYTES];

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        why[0] = '\0';
        if (wan_check(wrong[i], why) != ERR_INVALID)
            fail_msg("\"%s\" was taken", wrong[i]);
        assert_non_null(strstr(why, "is not REGION:REGION=MILLISECONDSms"));
    }
    assert_int_equal(wan_check("a:b=5ms,c:d=x", why), ERR_INVALID);
    assert_non_null(strstr(why, "\"c:d=x\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(delay__named_pair__half_the_round_trip_in_either_order),
        cmocka_unit_test(check__well_formed__ok),
        cmocka_unit_test(check__malformed__says_which_part),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
