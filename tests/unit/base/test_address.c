/* What CIDR texts mean; the oracle of most rows is Python's ipaddress module. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/address.h"
#include "base/attr.h"

#include <cmocka.h> /* last: its fail() would hide ours */

static struct address_range range(const char *text)
{
    struct address_range r;

    if (!address_range_parse(view_str(text), &r))
        fail_msg("'%s' is no range", text);
    return r;
}

static struct address one(const char *text)
{
    struct address_range r = range(text);

    assert_memory_equal(&r.first, &r.last, sizeof r.first);
    return r.first;
}

static void a_range_holds_its_ends_and_nothing_beyond(void **state)
{
    static const struct {
        const char *range, *before, *first, *last, *after; /* NULL: there is none */
    } cases[] = {
        {"10.0.0.0/8", "9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"},
        {"10.1.2.3/8", "9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0"},
        {"192.0.2.0/24", "192.0.1.255", "192.0.2.0", "192.0.2.255", "192.0.3.0"},
        {"192.0.2.77/31", "192.0.2.75", "192.0.2.76", "192.0.2.77", "192.0.2.78"},
        {"192.0.2.77/30", "192.0.2.75", "192.0.2.76", "192.0.2.79", "192.0.2.80"},
        {"172.16.0.0/12", "172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0"},
        {"192.0.2.77", "192.0.2.76", "192.0.2.77", "192.0.2.77", "192.0.2.78"},
        {"192.0.2.77/32", "192.0.2.76", "192.0.2.77", "192.0.2.77", "192.0.2.78"},
        {"0.0.0.0/0", NULL, "0.0.0.0", "255.255.255.255", NULL},
        {"128.0.0.0/1", "127.255.255.255", "128.0.0.0", "255.255.255.255", NULL},
        {"2001:db8::/32", "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db8::",
         "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::"},
        {"2001:db8::1", "2001:db8::", "2001:db8::1", "2001:db8::1", "2001:db8::2"},
        {"2001:db8::8000/113", "2001:db8::7fff", "2001:db8::8000", "2001:db8::ffff",
         "2001:db8::1:0"},
        {"fe80::/10", "fe7f:ffff::", "fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
         "fec0::"},
        {"::1/128", "::", "::1", "::1", "::2"},
        /* As IPv6 it is the same IPv4 address. */
        {"::ffff:192.0.2.0/120", "192.0.1.255", "192.0.2.0", "::ffff:192.0.2.255", "192.0.3.0"},
        {"::ffff:192.0.2.1/95", "::fffd:ffff:ffff", "::fffe:0:0", "::fffe:ffff:ffff", "192.0.2.1"},
        {"::ffff:0:0/96", "::fffe:ffff:ffff", "0.0.0.0", "255.255.255.255", "::1:0:0:0"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const struct address_range r = range(cases[i].range);
        const struct {
            const char *text;
            bool within;
        } asked[] = {{cases[i].before, false}, {cases[i].first, true}, {cases[i].last, true},
                     {cases[i].after, false}};
        for (size_t k = 0; k < COUNT_OF(asked); k++) {
            if (asked[k].text == NULL)
                continue;
            struct address a = one(asked[k].text);
            if (address_ranges_have(&r, 1, &a) != asked[k].within)
                fail_msg("%s and %s", cases[i].range, asked[k].text);
        }
    }
}

static void the_families_never_meet(void **state)
{
    struct address_range all4 = range("0.0.0.0/0"), all6 = range("::/0");
    struct address_range wide = range("::ffff:0:0/95");
    struct address four = one("192.0.2.1"), six = one("2001:db8::1");
    const struct address none = address_of(0, NULL);

    (void)state;
    assert_false(address_ranges_have(&all4, 1, &six));
    assert_false(address_ranges_have(&all6, 1, &four));
    assert_true(address_ranges_have(&all6, 1, &six));
    assert_false(address_ranges_have(&wide, 1, &four));
    assert_false(address_ranges_have(&all4, 1, &none));
    assert_false(address_ranges_have(&all6, 1, &none));
    assert_false(address_ranges_have(NULL, 0, &four));
}

static void anything_else_is_no_range(void **state)
{
    static const struct view bad[] = {
        VIEW(""), VIEW("/8"), VIEW("10.0.0.0/"), VIEW("10.0.0.0/33"), VIEW("10.0.0.0/-1"),
        VIEW("10.0.0.0/08"), VIEW("10.0.0.0/8/8"), VIEW("10.0.0.0/ 8"), VIEW(" 10.0.0.0"),
        VIEW("10.0.0"), VIEW("10"), VIEW("10.0.0.256"), VIEW("010.0.0.1"), VIEW("10.0.0.0.0"),
        VIEW("0x0a.0.0.1"), VIEW("10.0.0.0/255.0.0.0"), VIEW("::/129"), VIEW("::/"), VIEW(":::"),
        VIEW("1::2::3"), VIEW("fe80::1%eth0"), VIEW("[::1]"), VIEW("12345::"), VIEW("localhost"),
        VIEW("10.0.0.1\0"), VIEW("10.0.0.1\0/8"), VIEW("::ffff:10.0.0.256"),
        VIEW("10.0.0.0/99999999999999999999"), VIEW("10.0.0.0/8\n"),
        VIEW("0000000000000000000000000000000000000000000000000000000000000000000000000000000001"),
    };
    struct address_range r;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        if (address_range_parse(bad[i], &r))
            fail_msg("'%.*s' is taken", VIEW_ARG(bad[i]));
    }
}

static void ranges_that_meet_are_joined(void **state)
{
    struct address_range r[] = {range("10.2.0.0/16"), range("192.0.2.5"), range("10.0.0.0/8"),
                                range("10.255.255.255"), range("2001:db8::/32"), range("192.0.2.5"),
                                range("10.3.0.0/24"), range("2001:db8::1")};
    static const char *const within[] = {"10.0.0.0", "10.2.3.4", "10.255.255.255", "192.0.2.5",
                                         "2001:db8::1", "2001:db8:1::"};
    static const char *const without[] = {"9.255.255.255", "11.0.0.0", "192.0.2.4", "192.0.2.6",
                                          "2001:db7::", "2001:db9::", "::"};

    (void)state;
    size_t n = address_ranges_join(r, COUNT_OF(r));
    assert_int_equal(n, 3);
    for (size_t i = 0; i < COUNT_OF(within); i++) {
        struct address a = one(within[i]);
        assert_true(address_ranges_have(r, n, &a));
    }
    for (size_t i = 0; i < COUNT_OF(without); i++) {
        struct address a = one(without[i]);
        assert_false(address_ranges_have(r, n, &a));
    }
    assert_int_equal(address_ranges_join(r, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_range_holds_its_ends_and_nothing_beyond),
        cmocka_unit_test(the_families_never_meet),
        cmocka_unit_test(anything_else_is_no_range),
        cmocka_unit_test(ranges_that_meet_are_joined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
