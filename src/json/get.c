#include "json/json.h"

const struct json_value *json_get_view(const struct json_value *object, struct view name)
{
    if (!json_is(object, JSON_OBJECT))
        return NULL;
    JSON_EACH(member, object) {
        if (view_eq(member->name, name))
            return member;
    }
    return NULL;
}

const struct json_value *json_get(const struct json_value *object, const char *name)
{
    return json_get_view(object, view_str(name));
}

bool json_get_string(const struct json_value *object, const char *name, struct view *out)
{
    const struct json_value *value = json_get(object, name);
    if (!json_is(value, JSON_STRING))
        return false;
    *out = value->text;
    return true;
}

bool json_get_bool(const struct json_value *object, const char *name, bool *out)
{
    return json_to_bool(json_get(object, name), out);
}

bool json_get_i64(const struct json_value *object, const char *name, int64_t *out)
{
    return json_to_i64(json_get(object, name), out);
}

bool json_get_seconds(const struct json_value *object, const char *name, int64_t *out)
{
    return json_to_seconds(json_get(object, name), out);
}

bool json_to_bool(const struct json_value *value, bool *out)
{
    if (!json_is(value, JSON_BOOL))
        return false;
    *out = value->text.data[0] == 't';
    return true;
}

/* The number of that sign and magnitude, when it fits. */
static bool signed_of(bool negative, uint64_t magnitude, int64_t *out)
{
    if (magnitude > (uint64_t)INT64_MAX + (negative ? 1 : 0))
        return false;
    *out = negative ? (int64_t)(0 - magnitude) : (int64_t)magnitude;
    return true;
}

bool json_to_i64(const struct json_value *value, int64_t *out)
{
    uint64_t magnitude;
    if (!json_is(value, JSON_NUMBER))
        return false;
    bool negative = value->text.data[0] == '-';
    return view_to_u64(view_from(value->text, negative ? 1 : 0), UINT64_MAX, &magnitude) &&
           signed_of(negative, magnitude, out);
}

/* A number by its decimal digits, taken apart. */
struct decimal {
    struct view whole;
    struct view fraction;
    int64_t exponent; /* held within a range that decides the result all the same */
};

enum { EXPONENT_BOUND = 1000000 };

static struct decimal decimal_of(struct view unsigned_number)
{
    struct decimal d = {.exponent = 0};
    struct view mantissa = unsigned_number, exponent = {NULL, 0};

    for (size_t i = 0; i < unsigned_number.len; i++) {
        if ((unsigned_number.data[i] | 0x20) == 'e') {
            mantissa = view_upto(unsigned_number, i);
            exponent = view_from(unsigned_number, i + 1);
            break;
        }
    }
    d.fraction = view_cut(mantissa, '.', &d.whole);
    bool down = view_starts_with(exponent, VIEW("-"));
    if (down || view_starts_with(exponent, VIEW("+")))
        exponent = view_from(exponent, 1);
    for (size_t i = 0; i < exponent.len && d.exponent < EXPONENT_BOUND; i++)
        d.exponent = d.exponent * 10 + (exponent.data[i] - '0');
    if (down)
        d.exponent = -d.exponent;
    return d;
}

/* Digit i of whole and fraction written as one, then zeros without end. */
static unsigned digit_at(const struct decimal *d, size_t i)
{
    if (i < d->whole.len)
        return (unsigned)(d->whole.data[i] - '0');
    i -= d->whole.len;
    return i < d->fraction.len ? (unsigned)(d->fraction.data[i] - '0') : 0;
}

bool json_to_seconds(const struct json_value *value, int64_t *out)
{
    uint64_t magnitude = 0;
    bool rest = false;

    if (!json_is(value, JSON_NUMBER))
        return false;
    bool negative = value->text.data[0] == '-';
    struct decimal d = decimal_of(view_from(value->text, negative ? 1 : 0));
    /* Where the decimal point stands among the digits. */
    int64_t point = (int64_t)d.whole.len + d.exponent;
    size_t digits = d.whole.len + d.fraction.len;
    for (size_t i = 0; (int64_t)i < point; i++) {
        if (i >= digits && magnitude == 0)
            break; /* nothing but zeros */
        if (magnitude > (UINT64_MAX - 9) / 10)
            return false;
        magnitude = magnitude * 10 + digit_at(&d, i);
    }
    for (size_t i = point > 0 ? (size_t)point : 0; i < digits; i++)
        rest = rest || digit_at(&d, i) != 0;
    return signed_of(negative, magnitude + (negative && rest ? 1 : 0), out);
}
