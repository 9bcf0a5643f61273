/*
 * Base64 and hex, strict: one text for one sequence of bytes.
 *
 * Decoding refuses any character outside the alphabet (blanks and line ends too), a length that no
 * encoder gives, and trailing bits that are not zero (RFC 4648 section 3.5), so that two texts
 * never stand for the same token.  Pure; not in constant time: for text that is not secret.
 */
#ifndef SALLYPORT_CRYPTO_BASE64_H
#define SALLYPORT_CRYPTO_BASE64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/view.h"

/* Enough room for the decoding of a text of len characters. */
static inline size_t base64_room(size_t len)
{
    return len / 4 * 3 + 3;
}

/* Writes at most room bytes and sets *len; false, with *len untouched, when the text is not
 * canonical or does not fit. */
bool base64url_decode(struct view text, uint8_t *out, size_t room, size_t *len) MUST_USE;
/* The alphabet with + and /, with padding. */
bool base64_decode(struct view text, uint8_t *out, size_t room, size_t *len) MUST_USE;
/* Upper or lower case, an even number of digits. */
bool hex_decode(struct view text, uint8_t *out, size_t room, size_t *len) MUST_USE;

void base64url_encode(struct buf *out, struct view data); /* without padding */
void base64_encode(struct buf *out, struct view data);    /* with padding */

#endif
