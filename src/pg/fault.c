#include "pg/login.h"
#include "pg/value.h"

/* What a database did wrong is nothing a caller can mend or should read: 502 and the status's own
 * phrase. */
#define DATABASE_FAULT(variable, text)                                                             \
    const struct fault variable = {#variable, text, NULL, 502}

DATABASE_FAULT(pg_message_malformed, "the database sent a message that breaks the protocol");
DATABASE_FAULT(pg_message_too_large, "the database sent a message larger than allowed");
DATABASE_FAULT(pg_message_unexpected, "the database sent a message out of turn");
DATABASE_FAULT(pg_tls_refused, "the database does not speak TLS");
DATABASE_FAULT(pg_bytes_before_tls, "the database sent bytes in clear before the TLS handshake");

DATABASE_FAULT(pg_login_refused, "the database refused the login");
DATABASE_FAULT(pg_auth_unsupported, "the database wants an authentication that is not supported");
DATABASE_FAULT(pg_cleartext_refused,
               "the database wants the password in clear on a connection that is not verified TLS");
DATABASE_FAULT(pg_trust_refused, "the database let the login in without asking for the password");
DATABASE_FAULT(pg_password_missing, "the database wants a password and none is configured");
DATABASE_FAULT(pg_channel_binding_missing, "the database does not offer SCRAM channel binding");
DATABASE_FAULT(pg_scram_malformed, "the database sent a malformed SCRAM message");
DATABASE_FAULT(pg_scram_nonce, "the database's SCRAM nonce does not continue ours");
DATABASE_FAULT(pg_scram_iterations, "the database's SCRAM iteration count is out of range");
DATABASE_FAULT(pg_scram_signature, "the database could not prove that it knows the password");
DATABASE_FAULT(pg_scram_refused, "the database refused the SCRAM exchange");
DATABASE_FAULT(pg_login_encoding, "the database ignored client_encoding UTF8 or DateStyle ISO");

DATABASE_FAULT(pg_value_malformed, "the database sent a value that is not of its type");
DATABASE_FAULT(pg_value_not_utf8, "the database sent text that is not UTF-8");
const struct fault pg_parameter_malformed = {
    "pg_parameter_malformed", "a parameter is not of its type", "a parameter is not of its type",
    400};
