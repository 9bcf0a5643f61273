#include "database/database.h"

const struct fault db_pool_full = {"pool_full", "as many calls wait for a connection as may",
                                   "the database is busy; try again later", 503};
const struct fault db_wait_timeout = {"wait_timeout", "no connection came free in time",
                                      "the database is busy; try again later", 503};
const struct fault db_unreachable = {"database_unreachable",
                                     "no connection to the database could be made",
                                     "the database cannot be reached", 503};
const struct fault db_refused = {"database_error", "the database answered with an error", NULL,
                                 500};
const struct fault db_identity_refused = {
    "identity_refused", "the database refused to take on the caller's role", NULL, 500};
const struct fault db_lost = {"connection_lost", "the connection to the database broke",
                              "the connection to the database broke", 503};
const struct fault db_outcome_unknown = {
    "outcome_unknown", "the connection broke before the database confirmed a write",
    "the outcome is unknown: the connection to the database broke before it confirmed", 502};
const struct fault db_unsent = {"unsent", "the call was given up before a byte of it was sent",
                                "the call was not run; try again", 503};
const struct fault db_timeout = {"database_timeout", "the database did not answer in time",
                                 "the database did not answer in time", 504};
const struct fault db_too_many_rows = {"too_many_rows", "the result has more rows than allowed",
                                       "the result has more rows than allowed", 422};
const struct fault db_result_too_large = {"result_too_large",
                                          "the result has more bytes than allowed",
                                          "the result is larger than allowed", 422};
const struct fault db_result_withheld = {
    "result_withheld",
    "the write was carried out, but its result exceeds max_rows (1 for result: one) or"
    " max_response_bytes",
    "the statement was carried out, but its result is larger than allowed: do not repeat it", 500};
const struct fault db_protocol = {"database_protocol", "the database broke the protocol", NULL,
                                  502};
const struct fault db_not_clean = {
    "connection_not_clean", "a connection could not be reset after a call and is closed", NULL,
    502};
const struct fault db_abandoned = {"abandoned", "the caller left before the statement began", NULL,
                                   499};
const struct fault db_shutdown = {"shutdown", "the gateway is stopping",
                                  "the gateway is stopping; try again", 503};
const struct fault db_login_unfit = {
    "login_unfit", "the database login has rights of its own and is not used", NULL, 503};
const struct fault db_tls_missing = {"tls_missing", "the database server has no TLS", NULL, 503};
