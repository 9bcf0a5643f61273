#include "aws/region.h"

#include "base/attr.h"

static bool is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Words of letters and at last a number: eu-west-1, us-gov-west-1, us-isob-east-1. */
bool aws_region_is_valid(struct view region)
{
    struct view word;
    size_t words = 0;

    if (region.len > 32)
        return false;
    while (true) {
        struct view rest = view_cut(region, '-', &word);
        bool last = rest.data == NULL;
        if (word.len == 0)
            return false;
        for (size_t i = 0; i < word.len; i++) {
            if (last ? !is_digit(word.data[i]) : !is_lower(word.data[i]))
                return false;
        }
        if (last)
            return words >= 2;
        words++;
        region = rest;
    }
}

/* Cuts the last label, and the dot before it, off the host. */
static struct view last_label(struct view *host)
{
    size_t at = host->len;

    while (at > 0 && host->data[at - 1] != '.')
        at--;
    struct view label = view_from(*host, at);
    *host = view_upto(*host, at > 0 ? at - 1 : 0);
    return label;
}

static bool cut_suffix(struct view *host, struct view suffix)
{
    if (host->len < suffix.len ||
        !view_eq_nocase(view_from(*host, host->len - suffix.len), suffix))
        return false;
    host->len -= suffix.len;
    return true;
}

/* The domains of the partitions under which RDS endpoints stand (the AWS SDKs' partitions.json). */
static const struct view rds_suffixes[] = {
    {".amazonaws.com", 14},    {".amazonaws.com.cn", 17}, {".c2s.ic.gov", 11},
    {".sc2s.sgov.gov", 14},    {".cloud.adc-e.uk", 15},   {".csp.hci.ic.gov", 15},
    {".amazonaws.eu", 13},
};

/* A region in capitals is none: it goes into the signature as it stands. */
static struct view rds_region(struct view host)
{
    struct view last = last_label(&host);
    struct view before = last_label(&host);

    if (host.len == 0)
        return (struct view){NULL, 0};
    if (view_eq_nocase(last, VIEW("rds")) && aws_region_is_valid(before))
        return before;
    if (view_eq_nocase(before, VIEW("rds")) && aws_region_is_valid(last))
        return last;
    return (struct view){NULL, 0};
}

struct view aws_region_of_host(struct view host)
{
    if (host.len > 0 && host.data[host.len - 1] == '.')
        host.len--;
    if (cut_suffix(&host, VIEW(".on.aws"))) {
        struct view region = last_label(&host);
        struct view service = last_label(&host);
        bool dsql = view_eq_nocase(service, VIEW("dsql")) ||
                    /* Private endpoints: ID.dsql-SUFFIX.REGION.on.aws. */
                    (service.len > 5 && view_eq_nocase(view_upto(service, 5), VIEW("dsql-")));
        return dsql && host.len > 0 && aws_region_is_valid(region) ? region
                                                                   : (struct view){NULL, 0};
    }
    for (size_t i = 0; i < COUNT_OF(rds_suffixes); i++) {
        struct view rest = host;
        if (cut_suffix(&rest, rds_suffixes[i]))
            return rds_region(rest);
    }
    return (struct view){NULL, 0};
}

struct view aws_partition_of_region(struct view region)
{
    static const struct {
        struct view prefix;
        struct view partition;
    } rows[] = {
        {{"cn-", 3}, {"aws-cn", 6}},          {{"us-gov-", 7}, {"aws-us-gov", 10}},
        {{"us-iso-", 7}, {"aws-iso", 7}},     {{"us-isob-", 8}, {"aws-iso-b", 9}},
        {{"eu-isoe-", 8}, {"aws-iso-e", 9}},  {{"us-isof-", 8}, {"aws-iso-f", 9}},
        {{"eusc-", 5}, {"aws-eusc", 8}},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if (view_starts_with(region, rows[i].prefix))
            return rows[i].partition;
    }
    return VIEW("aws");
}
