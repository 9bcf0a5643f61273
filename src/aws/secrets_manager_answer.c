/* What Secrets Manager answers: AWS JSON 1.1, read strictly, and its errors by their names. */
#include <stdio.h>

#include "aws/secrets_manager.h"
#include "base/secret.h"
#include "crypto/base64.h"
#include "json/json.h"

enum { ERROR_ARENA_MAX = 1024 * 1024 };

const struct fault sm_malformed = {
    "secrets_manager_malformed", "the answer of Secrets Manager does not hold what it must", NULL,
    502};
const struct fault sm_not_found = {
    "secret_not_found", "Secrets Manager does not have this secret, or this version of it", NULL,
    503};
const struct fault sm_access_denied = {
    "secret_access_denied", "Secrets Manager does not let these credentials do this", NULL, 503};
const struct fault sm_decryption_failure = {
    "secret_decryption_failure", "Secrets Manager cannot decrypt the secret with its KMS key", NULL,
    503};
const struct fault sm_encryption_failure = {
    "secret_encryption_failure", "Secrets Manager cannot encrypt the secret with its KMS key", NULL,
    503};
const struct fault sm_invalid_parameter = {
    "secret_invalid_parameter", "Secrets Manager refuses a parameter of the request", NULL, 503};
const struct fault sm_invalid_request = {
    "secret_invalid_request", "Secrets Manager refuses the request in the secret's present state",
    NULL, 503};
const struct fault sm_exists = {
    "secret_version_exists", "a version of this id with another value is there already", NULL, 503};
const struct fault sm_limit = {
    "secret_limit_exceeded", "a quota of Secrets Manager is used up", NULL, 503};
const struct fault sm_throttled = {
    "secrets_manager_throttled", "Secrets Manager asks for fewer requests", NULL, 503};
const struct fault sm_bad_credentials = {
    "secrets_manager_bad_credentials",
    "Secrets Manager refuses the signature, its key or its session token", NULL, 503};
const struct fault sm_unavailable = {
    "secrets_manager_unavailable", "Secrets Manager has an error of its own", NULL, 503};
const struct fault sm_refused = {
    "secrets_manager_refused", "Secrets Manager refuses the request", NULL, 503};

/* ---- Answers of 200 ---- */

bool sm_version_has(const struct sm_version *v, const char *stage)
{
    for (size_t i = 0; i < v->stage_count; i++) {
        if (view_is(v->stages[i], stage))
            return true;
    }
    return false;
}

/* An absent member is no mistake; one of another type is. */
static bool text_member(const struct json_value *o, const char *name, struct view *out)
{
    const struct json_value *v = json_get(o, name);

    *out = json_is(v, JSON_STRING) ? v->text : (struct view){NULL, 0};
    return v == NULL || json_is(v, JSON_STRING) || json_is(v, JSON_NULL);
}

static bool time_member(const struct json_value *o, const char *name, int64_t *out)
{
    const struct json_value *v = json_get(o, name);

    *out = 0;
    return v == NULL || json_is(v, JSON_NULL) || json_to_seconds(v, out);
}

/* Labels beyond the API's own limit would be cut, so they are refused. */
static bool read_stages(const struct json_value *list, struct sm_version *out)
{
    if (list == NULL || json_is(list, JSON_NULL))
        return true;
    if (!json_is(list, JSON_ARRAY) || list->count > SM_STAGES_MAX)
        return false;
    JSON_EACH(item, list)
    {
        if (!json_is(item, JSON_STRING))
            return false;
        out->stages[out->stage_count++] = item->text;
    }
    return true;
}

static bool read_version(const struct json_value *o, struct sm_version *out)
{
    return json_get_string(o, "VersionId", &out->id) && out->id.len > 0 &&
           out->id.len <= SM_VERSION_ID_MAX && read_stages(json_get(o, "VersionStages"), out);
}

static err read_binary(struct view text, struct arena *arena, struct sm_answer *out)
{
    size_t room = base64_room(text.len), len = 0;
    uint8_t *bytes = arena_alloc(arena, room);

    if (bytes == NULL)
        return fail(&fault_out_of_memory);
    if (!base64_decode(text, bytes, room, &len))
        return fail(&sm_malformed);
    out->binary = view_of(bytes, len);
    return OK;
}

static err read_value(const struct json_value *o, struct arena *arena, struct sm_answer *out)
{
    struct view binary;

    if (!read_version(o, &out->version) || !text_member(o, "SecretString", &out->string) ||
        !text_member(o, "SecretBinary", &binary) ||
        !time_member(o, "CreatedDate", &out->created_s))
        return fail(&sm_malformed);
    out->has_string = out->string.data != NULL;
    if (out->has_string == (binary.data != NULL))
        return fail(&sm_malformed);
    return out->has_string ? OK : read_binary(binary, arena, out);
}

static err read_versions(const struct json_value *map, struct arena *arena, struct sm_answer *out)
{
    if (map == NULL || json_is(map, JSON_NULL))
        return OK;
    if (!json_is(map, JSON_OBJECT))
        return fail(&sm_malformed);
    struct sm_version *versions = ARENA_ARRAY(arena, map->count + 1, struct sm_version);
    if (versions == NULL)
        return fail(&fault_out_of_memory);
    JSON_EACH(item, map)
    {
        struct sm_version *v = &versions[out->version_count++];
        v->id = item->name;
        if (v->id.len == 0 || v->id.len > SM_VERSION_ID_MAX || !read_stages(item, v))
            return fail(&sm_malformed);
    }
    out->versions = versions;
    return OK;
}

static err read_description(const struct json_value *o, struct arena *arena, struct sm_answer *out)
{
    const struct json_value *rules = json_get(o, "RotationRules");

    if (!text_member(o, "RotationLambdaARN", &out->rotation_lambda) ||
        !text_member(o, "OwningService", &out->owning_service) ||
        !time_member(o, "LastRotatedDate", &out->last_rotated_s) ||
        !time_member(o, "LastChangedDate", &out->last_changed_s) ||
        !time_member(o, "DeletedDate", &out->deleted_s))
        return fail(&sm_malformed);
    (void)json_get_bool(o, "RotationEnabled", &out->rotation_enabled);
    (void)json_get_i64(rules, "AutomaticallyAfterDays", &out->rotate_after_days);
    return read_versions(json_get(o, "VersionIdsToStages"), arena, out);
}

static err read_members(const struct json_value *o, struct arena *arena, struct sm_answer *out)
{
    if (out->action == SM_GET_RANDOM_PASSWORD)
        return json_get_string(o, "RandomPassword", &out->random_password) &&
                       out->random_password.len > 0
                   ? OK
                   : fail(&sm_malformed);
    if (!json_get_string(o, "ARN", &out->arn) || out->arn.len == 0 ||
        !json_get_string(o, "Name", &out->name) || out->name.len == 0)
        return fail(&sm_malformed);
    switch (out->action) {
    case SM_GET_SECRET_VALUE:
        return read_value(o, arena, out);
    case SM_DESCRIBE_SECRET:
        return read_description(o, arena, out);
    case SM_PUT_SECRET_VALUE:
        return read_version(o, &out->version) ? OK : fail(&sm_malformed);
    default:
        return OK;
    }
}

err sm_read_answer(enum sm_action action, struct view body, struct arena *arena,
                   struct sm_answer *out)
{
    const struct json_value *o;

    *out = (struct sm_answer){.action = action};
    err e = json_parse(arena, body, NULL, &o, NULL);
    if (failed(e))
        return is_fault(e, &fault_out_of_memory) ? e : fail(&sm_malformed);
    return json_is(o, JSON_OBJECT) ? read_members(o, arena, out) : fail(&sm_malformed);
}

static void wipe(struct view v)
{
    if (v.data != NULL)
        secret_wipe((char *)(uintptr_t)v.data, v.len);
}

void sm_answer_wipe(struct sm_answer *answer)
{
    wipe(answer->string);
    wipe(answer->binary);
    wipe(answer->random_password);
}

/* ---- Errors ---- */

/* "Common error types" of the API reference, the service's own, and those of the AWS SDKs' lists
 * of throttling and of expired credentials. */
static const struct {
    const char *name;
    const struct fault *fault;
} errors[] = {
    {"ResourceNotFoundException", &sm_not_found},
    {"AccessDeniedException", &sm_access_denied},
    {"AccessDenied", &sm_access_denied},
    {"NotAuthorized", &sm_access_denied},
    {"OptInRequired", &sm_access_denied},
    {"DecryptionFailure", &sm_decryption_failure},
    {"EncryptionFailure", &sm_encryption_failure},
    {"InvalidParameterException", &sm_invalid_parameter},
    {"ValidationException", &sm_invalid_parameter},
    {"ValidationError", &sm_invalid_parameter},
    {"InvalidRequestException", &sm_invalid_request},
    {"ResourceExistsException", &sm_exists},
    {"LimitExceededException", &sm_limit},
    {"ThrottlingException", &sm_throttled},
    {"Throttling", &sm_throttled},
    {"ThrottledException", &sm_throttled},
    {"TooManyRequestsException", &sm_throttled},
    {"RequestLimitExceeded", &sm_throttled},
    {"RequestThrottled", &sm_throttled},
    {"RequestThrottledException", &sm_throttled},
    {"SlowDown", &sm_throttled},
    {"ExpiredTokenException", &sm_bad_credentials},
    {"ExpiredToken", &sm_bad_credentials},
    {"RequestExpired", &sm_bad_credentials},
    {"UnrecognizedClientException", &sm_bad_credentials},
    {"InvalidClientTokenId", &sm_bad_credentials},
    {"InvalidSignatureException", &sm_bad_credentials},
    {"SignatureDoesNotMatch", &sm_bad_credentials},
    {"IncompleteSignature", &sm_bad_credentials},
    {"IncompleteSignatureException", &sm_bad_credentials},
    {"MissingAuthenticationToken", &sm_bad_credentials},
    {"MissingAuthenticationTokenException", &sm_bad_credentials},
    {"InternalServiceError", &sm_unavailable},
    {"InternalFailure", &sm_unavailable},
    {"ServiceUnavailable", &sm_unavailable},
    {"ServiceUnavailableException", &sm_unavailable},
    {"RequestTimeout", &sm_unavailable},
};

static const struct fault *fault_of(int status, struct view type)
{
    for (size_t i = 0; i < COUNT_OF(errors); i++) {
        if (view_is(type, errors[i].name))
            return errors[i].fault;
    }
    if (status == 429)
        return &sm_throttled;
    return status >= 500 ? &sm_unavailable : &sm_refused;
}

/* "com.amazonaws.secretsmanager#ResourceNotFoundException:http://…": the name in the middle
 * (Smithy, "AWS JSON 1.1 protocol", operation error serialization). */
static struct view plain_name(struct view type)
{
    size_t hash = view_find(type, '#');

    if (hash < type.len)
        type = view_from(type, hash + 1);
    return view_upto(type, view_find(type, ':'));
}

err sm_read_error(int status, struct view body, char *detail, size_t size)
{
    struct view type = {NULL, 0}, text = {NULL, 0};
    const struct json_value *o;
    struct arena arena;

    arena_init(&arena, 4 * 1024, ERROR_ARENA_MAX);
    if (!failed(json_parse(&arena, body, NULL, &o, NULL)) && json_is(o, JSON_OBJECT)) {
        if (json_get_string(o, "__type", &type) || json_get_string(o, "code", &type))
            type = plain_name(type);
        if (!json_get_string(o, "Message", &text))
            (void)json_get_string(o, "message", &text);
    }
    const struct fault *fault = fault_of(status, type);
    if (type.len > 0)
        snprintf(detail, size, "%.*s%s%.*s", VIEW_ARG(type), text.len > 0 ? ": " : "",
                 VIEW_ARG(text));
    else
        snprintf(detail, size, "status %d", status);
    arena_clear(&arena);
    for (char *c = detail; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = ' ';
    }
    return fail(fault);
}

bool sm_is_transient(err e)
{
    static const struct fault *const lasting[] = {
        &sm_not_found,         &sm_access_denied,   &sm_decryption_failure, &sm_encryption_failure,
        &sm_invalid_parameter, &sm_invalid_request, &sm_exists,             &sm_limit,
        &sm_refused,           &sm_bad_endpoint,    &sm_no_region,
    };
    for (size_t i = 0; i < COUNT_OF(lasting); i++) {
        if (is_fault(e, lasting[i]))
            return false;
    }
    return failed(e);
}
