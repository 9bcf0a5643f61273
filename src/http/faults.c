#include "http/http.h"

#define BAD_REQUEST(fault_name, what)                                                              \
    const struct fault fault_name = {#fault_name, what, what, 400}

BAD_REQUEST(http_bare_lf, "a line ends in LF without CR");
BAD_REQUEST(http_bare_cr, "a CR stands where no line ends");
BAD_REQUEST(http_bad_request_line, "the request line is malformed");
BAD_REQUEST(http_bad_method, "the method is not a token");
BAD_REQUEST(http_bad_target, "the request target holds a character that must be percent-encoded");
BAD_REQUEST(http_target_form, "the request target is not a path or an http URL");
const struct fault http_target_too_long = {
    "http_target_too_long", "the request line is longer than the limit",
    "the request target is too long", 414};
const struct fault http_version_unsupported = {
    "http_version_unsupported", "the HTTP version is neither 1.0 nor 1.1",
    "the HTTP version is not supported", 505};
BAD_REQUEST(http_bad_header_name, "a header line has no valid name");
BAD_REQUEST(http_space_before_colon, "a blank stands between a header's name and its colon");
BAD_REQUEST(http_obs_fold, "a header line begins with a blank");
BAD_REQUEST(http_bad_header_value, "a header's value holds a control character");
const struct fault http_head_too_large = {
    "http_head_too_large", "the request's head is larger than the limit",
    "the request's headers are too large", 431};
const struct fault http_too_many_headers = {
    "http_too_many_headers", "the request has more headers than the limit",
    "the request has too many headers", 431};
BAD_REQUEST(http_host_missing, "the Host header is missing");
BAD_REQUEST(http_host_duplicate, "there is more than one Host header");
BAD_REQUEST(http_host_bad, "the Host header is not a host and port");
BAD_REQUEST(http_host_mismatch, "the request target and the Host header name different hosts");
BAD_REQUEST(http_content_length_bad, "the Content-Length is not a plain decimal number");
BAD_REQUEST(http_content_length_duplicate, "there is more than one Content-Length");
BAD_REQUEST(http_length_and_encoding, "there are both Content-Length and Transfer-Encoding");
BAD_REQUEST(http_transfer_encoding_duplicate, "there is more than one Transfer-Encoding");
BAD_REQUEST(http_transfer_encoding_old, "Transfer-Encoding in an HTTP/1.0 request");
const struct fault http_transfer_encoding_unsupported = {
    "http_transfer_encoding_unsupported", "the Transfer-Encoding is not exactly chunked",
    "the Transfer-Encoding is not supported", 501};
const struct fault http_expectation_failed = {
    "http_expectation_failed", "the Expect header is not 100-continue",
    "the Expect header is not 100-continue", 417};
const struct fault http_body_too_large = {
    "http_body_too_large", "the request's body is larger than the limit",
    "the request's body is too large", 413};
BAD_REQUEST(http_bad_chunk, "the chunked body is malformed");
BAD_REQUEST(http_bad_chunk_extension, "a chunk extension is malformed or too long");
BAD_REQUEST(http_bad_trailer, "the trailers are malformed or too long");
const struct fault http_bad_response = {
    "http_bad_response", "a response was to carry a header that is not one", NULL, 500};
