#include "aws/rotation.h"

#include <stdio.h>
#include <string.h>


const struct fault rotation_no_value = {
    "rotation_no_value", "the secret has no version AWSCURRENT with a value", NULL, 0};
const struct fault rotation_no_login = {
    "rotation_no_login", "the database takes none of the secret's passwords", NULL, 0};
const struct fault rotation_master_refused = {
    "rotation_master_refused", "the database does not let the master secret's user in", NULL, 0};
const struct fault rotation_current_refused = {
    "rotation_current_refused", "the database does not take the secret's current password", NULL,
    0};
const struct fault rotation_test_failed = {
    "rotation_test_failed", "the database does not take the new password", NULL, 0};
const struct fault rotation_deleted = {
    "rotation_deleted", "the secret is scheduled for deletion", NULL, 0};
const struct fault rotation_managed = {
    "rotation_managed", "another service manages the secret and rotates it: it is only followed",
    NULL, 0};
const struct fault rotation_by_other = {
    "rotation_by_other",
    "AWS Secrets Manager has the secret rotated by a function: it is only followed", NULL, 0};

static bool has(const char *version)
{
    return version[0] != '\0';
}

static enum rotation_action refuse(struct rotation_machine *r, const struct fault *fault)
{
    r->fault = fault;
    return ROTATION_REFUSED;
}

static enum rotation_action look_again(struct rotation_machine *r, const struct fault *fault)
{
    if (++r->rounds >= ROTATION_ROUNDS)
        return refuse(r, fault);
    r->looked = false;
    r->pending_login = r->current_login = r->previous_login = ROTATION_UNKNOWN;
    return ROTATION_LOOK;
}

/* The order in which AWS's single-user function tries them. */
static enum rotation_action find_own_login(struct rotation_machine *r)
{
    if (r->pending_value == ROTATION_YES && r->pending_login == ROTATION_UNKNOWN)
        return ROTATION_LOGIN_PENDING;
    if (r->pending_login == ROTATION_YES)
        return ROTATION_LOCK;
    if (r->current_login == ROTATION_UNKNOWN)
        return ROTATION_LOGIN_CURRENT;
    if (r->current_login == ROTATION_YES)
        return ROTATION_LOCK;
    if (has(r->previous) && r->previous_value == ROTATION_UNKNOWN)
        return ROTATION_READ_PREVIOUS;
    if (r->previous_value == ROTATION_YES && r->previous_login == ROTATION_UNKNOWN)
        return ROTATION_LOGIN_PREVIOUS;
    return r->previous_login == ROTATION_YES ? ROTATION_LOCK : look_again(r, &rotation_no_login);
}

static enum rotation_action find_master_login(struct rotation_machine *r)
{
    if (r->current_login == ROTATION_UNKNOWN)
        return ROTATION_LOGIN_CURRENT;
    if (r->current_login == ROTATION_NO)
        return refuse(r, &rotation_current_refused);
    if (r->master_login == ROTATION_UNKNOWN)
        return ROTATION_LOGIN_MASTER;
    return r->master_login == ROTATION_YES ? ROTATION_LOCK : refuse(r, &rotation_master_refused);
}

static enum rotation_action under_lock(struct rotation_machine *r)
{
    if (r->pending_value != ROTATION_YES)
        return ROTATION_CREATE;
    if (r->pending_login == ROTATION_UNKNOWN)
        return ROTATION_LOGIN_PENDING;
    if (r->pending_login == ROTATION_NO && !r->set)
        return ROTATION_SET;
    if (r->tested == ROTATION_UNKNOWN)
        return ROTATION_TEST;
    return r->tested == ROTATION_YES ? ROTATION_FINISH : refuse(r, &rotation_test_failed);
}

enum rotation_action rotation_next(struct rotation_machine *r)
{
    if (r->finished)
        return ROTATION_DONE;
    if (!r->looked)
        return ROTATION_LOOK;
    if (!has(r->current) || r->current_value == ROTATION_NO)
        return refuse(r, &rotation_no_value);
    if (r->locked && strcmp(r->current, r->first_current) != 0)
        return ROTATION_ELSEWHERE;
    if (r->current_value == ROTATION_UNKNOWN)
        return ROTATION_READ_CURRENT;
    if (has(r->pending) && r->pending_value == ROTATION_UNKNOWN)
        return ROTATION_READ_PENDING;
    if (r->locked)
        return under_lock(r);
    return r->alternating ? find_master_login(r) : find_own_login(r);
}

static void keep_id(char out[SM_VERSION_ID_MAX + 1], struct view id)
{
    snprintf(out, SM_VERSION_ID_MAX + 1, "%.*s", VIEW_ARG(id));
}

static void take_version(struct rotation_machine *r, const struct sm_version *v)
{
    if (sm_version_has(v, "AWSCURRENT"))
        keep_id(r->current, v->id);
    if (sm_version_has(v, "AWSPENDING") && !sm_version_has(v, "AWSCURRENT"))
        keep_id(r->pending, v->id);
    if (sm_version_has(v, "AWSPREVIOUS"))
        keep_id(r->previous, v->id);
}

err rotation_saw(struct rotation_machine *r, const struct sm_answer *described)
{
    const struct rotation_machine before = *r;

    if (described->deleted_s != 0)
        return fail(&rotation_deleted);
    if (described->owning_service.len > 0)
        return fail(&rotation_managed);
    if (described->rotation_enabled)
        return fail(&rotation_by_other);
    r->current[0] = r->pending[0] = r->previous[0] = '\0';
    for (size_t i = 0; i < described->version_count; i++)
        take_version(r, &described->versions[i]);
    /* Read again what is another version now. */
    if (strcmp(before.current, r->current) != 0) {
        r->current_value = ROTATION_UNKNOWN;
        r->current_login = ROTATION_UNKNOWN;
    }
    if (strcmp(before.previous, r->previous) != 0) {
        r->previous_value = ROTATION_UNKNOWN;
        r->previous_login = ROTATION_UNKNOWN;
    }
    if (strcmp(before.pending, r->pending) != 0) {
        r->pending_value = ROTATION_UNKNOWN;
        r->pending_login = ROTATION_UNKNOWN;
    }
    if (r->first_current[0] == '\0')
        memcpy(r->first_current, r->current, sizeof r->first_current);
    r->looked = true;
    return OK;
}

void rotation_locked(struct rotation_machine *r)
{
    r->locked = true;
    r->looked = false;
    /* Whoever held the lock before may have set it since it was tried; yes stays yes. */
    if (r->pending_login == ROTATION_NO)
        r->pending_login = ROTATION_UNKNOWN;
}

void rotation_created(struct rotation_machine *r, struct view version_id)
{
    keep_id(r->pending, version_id);
    r->pending_value = ROTATION_YES;
    r->pending_login = ROTATION_NO;
}
