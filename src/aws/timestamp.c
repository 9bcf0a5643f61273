#include "aws/timestamp.h"

/* The next `digits` digits as a number of at least `min` and at most `max`. */
static bool take_number(struct view *text, size_t digits, int64_t min, int64_t max, int64_t *out)
{
    uint64_t n;

    if (text->len < digits || !view_to_u64(view_upto(*text, digits), (uint64_t)max, &n) ||
        (int64_t)n < min)
        return false;
    *text = view_from(*text, digits);
    *out = (int64_t)n;
    return true;
}

static bool take_char(struct view *text, char c)
{
    if (text->len == 0 || text->data[0] != c)
        return false;
    *text = view_from(*text, 1);
    return true;
}

static bool is_leap(int64_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static bool take_day(struct view *text, int64_t *days)
{
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t year, month, day;

    if (!take_number(text, 4, 1970, 9999, &year) || !take_char(text, '-') ||
        !take_number(text, 2, 1, 12, &month) || !take_char(text, '-') ||
        !take_number(text, 2, 1, 31, &day))
        return false;
    if (day > lengths[month - 1] + (month == 2 && is_leap(year) ? 1 : 0))
        return false;
    int64_t before = year - 1;
    *days = year * 365 + before / 4 - before / 100 + before / 400;
    *days -= INT64_C(1970) * 365 + 1969 / 4 - 1969 / 100 + 1969 / 400;
    for (int64_t m = 0; m < month - 1; m++)
        *days += lengths[m] + (m == 1 && is_leap(year) ? 1 : 0);
    *days += day - 1;
    return true;
}

static bool take_time(struct view *text, int64_t *seconds)
{
    int64_t hour, minute, second;

    if (!take_number(text, 2, 0, 23, &hour) || !take_char(text, ':') ||
        !take_number(text, 2, 0, 59, &minute) || !take_char(text, ':') ||
        !take_number(text, 2, 0, 60, &second)) /* 60: a leap second */
        return false;
    *seconds = hour * 3600 + minute * 60 + second;
    return true;
}

static bool take_fraction(struct view *text, int64_t *us)
{
    int64_t unit = 100000;
    size_t digits = 0;

    *us = 0;
    if (!take_char(text, '.'))
        return true;
    for (; text->len > 0 && text->data[0] >= '0' && text->data[0] <= '9'; digits++) {
        *us += (text->data[0] - '0') * unit;
        unit /= 10;
        *text = view_from(*text, 1);
    }
    return digits > 0;
}

static bool take_offset(struct view *text, int64_t *seconds)
{
    int64_t hours, minutes;

    *seconds = 0;
    if (take_char(text, 'Z') || take_char(text, 'z'))
        return true;
    int64_t sign = take_char(text, '+') ? 1 : take_char(text, '-') ? -1 : 0;
    if (sign == 0 || !take_number(text, 2, 0, 23, &hours) || !take_char(text, ':') ||
        !take_number(text, 2, 0, 59, &minutes))
        return false;
    *seconds = sign * (hours * 3600 + minutes * 60);
    return true;
}

bool aws_timestamp_parse(struct view text, int64_t *wall_us)
{
    int64_t days, seconds, us, offset;

    if (!take_day(&text, &days) || !(take_char(&text, 'T') || take_char(&text, 't')) ||
        !take_time(&text, &seconds) || !take_fraction(&text, &us) ||
        !take_offset(&text, &offset) || text.len != 0)
        return false;
    int64_t at = (days * 86400 + seconds - offset) * 1000000 + us;
    if (at < 0)
        return false;
    *wall_us = at;
    return true;
}
