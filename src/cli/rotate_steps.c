/* The driver of src/aws/rotation.h: does what the machine says, and tells of it. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/secret.h"
#include "base/time.h"
#include "cli/rotate.h"

enum { STEPS_MAX = 40 /* the machine takes about fifteen */, SECRET_ARENA_MAX = 1 << 20 };

/* A version's value, and what it says. */
struct value {
    struct secret text;
    struct rotation_login login; /* views into the text, or into the work's arena */
    int64_t created_s;
};

struct work {
    const struct rotate_options *o;
    const struct rotate_service *service;
    struct rotate_aws *aws;
    struct rotation_machine machine;
    struct arena arena;
    struct sm_call call;
    char arn[SM_SECRET_ID_MAX + 1];
    int64_t last_rotated_s;
    struct value current, pending, previous, master;
    struct value *taking; /* where the answer of GetSecretValue goes */
    bool took;
    err seen; /* of rotation_saw */
    struct pg_conn *session; /* of the user, or of the master: holds the lock */
    int code;                /* once the work is over */
    bool over;
    char why[ROTATE_WHY_BYTES];
};

/* ---- What is said ---- */

static void say(const struct work *w, const char *step, const char *format, ...) PRINTF_LIKE(3, 4);
static void say(const struct work *w, const char *step, const char *format, ...)
{
    va_list args;

    printf("%s%s: ", w->o->dry_run ? "(dry run) " : "", step);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    fflush(stdout); /* each step is told before the next is tried */
}

static void end(struct work *w, int code, const char *step, const char *text, const char *more)
{
    fflush(stdout);
    fprintf(stderr, "%s: %s: %s%s%s\n", code == ROTATE_FOLLOWED ? "Refused" : "Error", step, text,
            more[0] != '\0' ? ": " : "", more);
    w->code = code;
    w->over = true;
}

static void end_by_fault(struct work *w, const char *step, err e)
{
    bool followed = is_fault(e, &rotation_managed) || is_fault(e, &rotation_by_other);

    end(w, followed ? ROTATE_FOLLOWED : ROTATE_FAILED, step, e.fault->text, w->aws->detail);
}

/* A refusal of ours: what Secrets Manager said last is not about it. */
static void end_by_rule(struct work *w, const char *step, err e)
{
    end(w, ROTATE_FAILED, step, e.fault->text, "");
}

/* ---- Secrets Manager ---- */

static void take_description(void *arg, const struct sm_answer *answer)
{
    struct work *w = arg;

    snprintf(w->arn, sizeof w->arn, "%.*s", VIEW_ARG(answer->arn));
    w->last_rotated_s = answer->last_rotated_s;
    w->seen = rotation_saw(&w->machine, answer);
}

static void look(struct work *w)
{
    const struct sm_call call = {.action = SM_DESCRIBE_SECRET,
                                 .secret_id = view_str(w->o->secret_id)};
    err e = rotate_aws_ask(w->aws, &call, take_description, w);

    if (!failed(e))
        e = w->seen;
    if (failed(e))
        end_by_fault(w, "look", e);
}

static void take_value(void *arg, const struct sm_answer *answer)
{
    struct work *w = arg;

    secret_clear(&w->taking->text);
    w->taking->created_s = answer->created_s;
    w->took = answer->has_string && secret_init(&w->taking->text, answer->string);
}

/* rotation_no_value when the version has none. */
static err read_version(struct work *w, const char *secret_id, const char *version,
                        struct value *out)
{
    struct sm_call call = {.action = SM_GET_SECRET_VALUE, .secret_id = view_str(secret_id)};

    if (version != NULL)
        call.version_id = view_str(version);
    w->taking = out;
    w->took = false;
    err e = rotate_aws_ask(w->aws, &call, take_value, w);
    if (is_fault(e, &sm_not_found) && version != NULL)
        return fail(&rotation_no_value);
    TRY(e);
    if (!w->took)
        return fail(&rotation_not_json);
    return rotation_login_read(secret_view(&out->text), &w->arena, &out->login);
}

static const char *service_mistake(const struct work *w)
{
    const struct rotate_service *s = w->service;

    if (!s->found || (view_eq_nocase(s->host, w->current.login.host) &&
                      s->port == w->current.login.port))
        return NULL;
    return "the secret is for another host or port than the service of the configuration that "
           "logs in with it: the password would be set where nobody uses it";
}

static bool is_due(struct work *w)
{
    int64_t last_s = w->current.created_s > w->last_rotated_s ? w->current.created_s
                                                              : w->last_rotated_s;
    char when[TIME_TEXT_BYTES];

    /* What was begun is ended, whenever it was. */
    if (w->o->if_older_than_s == 0 || w->machine.pending[0] != '\0' ||
        time_wall_us() / 1000000 - last_s >= w->o->if_older_than_s)
        return true;
    time_format((last_s + w->o->if_older_than_s) * 1000000, when);
    say(w, "look", "nothing to do: the next rotation is due at %.19sZ", when);
    w->over = true;
    return false;
}

static void read_current(struct work *w)
{
    err e = read_version(w, w->o->secret_id, w->machine.current, &w->current);

    if (failed(e)) {
        end_by_fault(w, "look", e);
        return;
    }
    w->machine.current_value = ROTATION_YES;
    const char *mistake = service_mistake(w);
    if (mistake != NULL)
        end(w, ROTATE_FAILED, "look", mistake, "");
    else if (is_due(w))
        say(w, "look", "user %.*s at %.*s:%u, AWSCURRENT is version %s",
            VIEW_ARG(w->current.login.username), VIEW_ARG(w->current.login.host),
            w->current.login.port, w->machine.current);
}

static void read_pending(struct work *w)
{
    err e = read_version(w, w->o->secret_id, w->machine.pending, &w->pending);

    if (is_fault(e, &rotation_no_value)) {
        w->machine.pending_value = ROTATION_NO;
        say(w, "look", "version %s is AWSPENDING and has no value yet", w->machine.pending);
        return;
    }
    if (!failed(e))
        e = rotation_check_pending(&w->current.login, &w->pending.login, w->machine.alternating,
                                   &w->arena);
    if (failed(e)) {
        end(w, ROTATE_FAILED, "look", e.fault->text,
            "take the label AWSPENDING off that version to begin anew");
        return;
    }
    w->machine.pending_value = ROTATION_YES;
    say(w, "look", "goes on with version %s, which is AWSPENDING", w->machine.pending);
}

/* AWSPREVIOUS helps when it is of the same user and place; else it is as if it were not there. */
static void read_previous(struct work *w)
{
    err e = read_version(w, w->o->secret_id, w->machine.previous, &w->previous);
    bool good = !failed(e) &&
                view_eq(w->previous.login.username, w->current.login.username) &&
                rotation_same_place(&w->previous.login, &w->current.login);

    w->previous.login.dbname = w->current.login.dbname; /* where the lock is */
    w->machine.previous_value = good ? ROTATION_YES : ROTATION_NO;
}

/* ---- Logins ---- */

static enum rotation_answer login(struct work *w, const char *stage,
                                  const struct rotation_login *as, bool keep)
{
    struct pg_conn *c;
    enum rotation_answer answer = rotate_db_open(&w->o->db, as, &c, w->why);

    if (answer == ROTATION_UNKNOWN)
        end(w, ROTATE_FAILED, "login", "the database cannot be asked", w->why);
    else
        say(w, "login", "%.*s with %s: %s", VIEW_ARG(as->username), stage,
            answer == ROTATION_YES ? "let in" : "the password is not taken");
    if (keep && answer == ROTATION_YES) {
        rotate_db_close(w->session);
        w->session = c;
    } else {
        rotate_db_close(c);
    }
    return answer;
}

static void login_master(struct work *w)
{
    struct view id = w->o->master_id;
    char text[SM_SECRET_ID_MAX + 1];

    if (id.len == 0)
        id = w->service->master_id;
    if (id.len == 0)
        id = w->current.login.master_arn;
    if (id.len == 0) {
        end(w, ROTATE_FAILED, "login",
            "alternating-users needs a master: give --master-secret, or masterarn in the secret",
            "");
        return;
    }
    snprintf(text, sizeof text, "%.*s", VIEW_ARG(id));
    err e = read_version(w, text, NULL, &w->master);
    if (failed(e)) {
        end(w, ROTATE_FAILED, "master secret", e.fault->text, w->aws->detail);
        return;
    }
    if (!rotation_same_place(&w->master.login, &w->current.login)) {
        end(w, ROTATE_FAILED, "master secret", "it is for another host or port than the secret",
            "");
        return;
    }
    w->master.login.dbname = w->current.login.dbname;
    w->machine.master_login = login(w, "the master secret", &w->master.login, true);
}

/* ---- The steps ---- */

static void lock(struct work *w)
{
    if (!w->o->dry_run && !rotate_db_lock(w->session, view_str(w->arn), w->why)) {
        end(w, ROTATE_FAILED, "lock", "another rotation of this secret goes on", w->why);
        return;
    }
    rotation_locked(&w->machine);
}

/* Into w->pending, as if it had been read. */
static err make_pending(struct work *w)
{
    char password[ROTATION_PASSWORD_LENGTH + 1];
    struct view user = w->current.login.username;
    struct buf text;

    if (w->machine.alternating)
        TRY(rotation_other_name(user, &w->arena, &user));
    buf_init(&text, SM_SECRET_MAX_BYTES);
    rotation_make_password(password);
    err e = rotation_add_secret(secret_view(&w->current.text), user, view_str(password), &w->arena,
                                &text);
    secret_wipe(password, sizeof password);
    secret_clear(&w->pending.text);
    if (!failed(e) && !secret_init(&w->pending.text, buf_view(&text)))
        e = fail(&fault_out_of_memory);
    buf_clear_secure(&text);
    return failed(e) ? e
                     : rotation_login_read(secret_view(&w->pending.text), &w->arena,
                                           &w->pending.login);
}

static void create(struct work *w)
{
    const struct view stages[] = {VIEW("AWSPENDING")};
    char id[SM_VERSION_ID_MAX + 1];

    /* One that AWS has labelled already gets its value; a repeated request is the same request. */
    snprintf(id, sizeof id, "%s", w->machine.pending);
    if (id[0] == '\0')
        rotation_make_version_id(id);
    err e = make_pending(w);
    if (failed(e)) {
        end_by_rule(w, "create", e);
        return;
    }
    const struct sm_call call = {
        .action = SM_PUT_SECRET_VALUE,
        .secret_id = view_str(w->o->secret_id),
        .client_request_token = view_str(id),
        .secret_string = secret_view(&w->pending.text),
        .stages = stages,
        .stage_count = 1,
    };
    if (!w->o->dry_run)
        e = rotate_aws_ask(w->aws, &call, NULL, NULL);
    if (failed(e)) {
        end_by_fault(w, "create", e);
        return;
    }
    rotation_created(&w->machine, view_str(id));
    if (w->o->dry_run)
        say(w, "create", "would put a new version AWSPENDING for %.*s",
            VIEW_ARG(w->pending.login.username));
    else
        say(w, "create", "version %s is AWSPENDING, for %.*s", id,
            VIEW_ARG(w->pending.login.username));
}

static bool would_set(struct work *w, const char *user, const char *original)
{
    bool there = true;

    if (w->machine.alternating &&
        !rotate_db_look_alike(w->session, original, user, &there, w->why))
        return false;
    if (!w->machine.alternating)
        say(w, "set", "would change the password of %s", user);
    else
        say(w, "set", "would %s %s like %s, with the new password", there ? "make" : "create",
            user, original);
    return true;
}

static bool do_set(struct work *w, const char *user, const char *original)
{
    char password[SM_SECRET_MAX_BYTES / 64];
    struct view p = w->pending.login.password;
    bool done;

    if (w->o->dry_run)
        return would_set(w, user, original);
    if (p.len >= sizeof password) {
        snprintf(w->why, sizeof w->why, "the password of AWSPENDING is too long");
        return false;
    }
    snprintf(password, sizeof password, "%.*s", VIEW_ARG(p));
    if (w->machine.alternating)
        done = rotate_db_make_alike(w->session, original, user, password, w->why);
    else
        done = rotate_db_set_password(w->session, user, password, w->why);
    secret_wipe(password, sizeof password);
    if (done)
        say(w, "set", "%s has the new password%s%s", user,
            w->machine.alternating ? ", and is like " : "",
            w->machine.alternating ? original : "");
    return done;
}

static void set(struct work *w)
{
    char user[ROTATION_NAME_MAX + 1], original[ROTATION_NAME_MAX + 1];

    snprintf(user, sizeof user, "%.*s", VIEW_ARG(w->pending.login.username));
    snprintf(original, sizeof original, "%.*s", VIEW_ARG(w->current.login.username));
    if (do_set(w, user, original))
        w->machine.set = true;
    else
        end(w, ROTATE_FAILED, "set", "the database refused", w->why);
}

static void test(struct work *w)
{
    struct pg_conn *c;
    char user[ROTATION_NAME_MAX + 1];

    snprintf(user, sizeof user, "%.*s", VIEW_ARG(w->pending.login.username));
    if (w->o->dry_run) {
        say(w, "test", "would log in as %s with the new password", user);
        w->machine.tested = ROTATION_YES;
        return;
    }
    w->machine.tested = rotate_db_open(&w->o->db, &w->pending.login, &c, w->why);
    if (w->machine.tested == ROTATION_YES && !rotate_db_test(c, user, w->why))
        w->machine.tested = ROTATION_NO;
    rotate_db_close(c);
    if (w->machine.tested == ROTATION_YES)
        say(w, "test", "%s logs in with the new password", user);
    else
        end(w, ROTATE_FAILED, "test", rotation_test_failed.text, w->why);
}

/* A request whose answer was lost had its effect: the second finds the label moved. */
static bool is_finished(struct work *w)
{
    char wanted[SM_VERSION_ID_MAX + 1];

    memcpy(wanted, w->machine.pending, sizeof wanted);
    const struct sm_call call = {.action = SM_DESCRIBE_SECRET,
                                 .secret_id = view_str(w->o->secret_id)};
    return !failed(rotate_aws_ask(w->aws, &call, take_description, w)) && !failed(w->seen) &&
           strcmp(w->machine.current, wanted) == 0;
}

static void finish(struct work *w)
{
    const struct sm_call call = {
        .action = SM_UPDATE_SECRET_VERSION_STAGE,
        .secret_id = view_str(w->o->secret_id),
        .version_stage = VIEW("AWSCURRENT"),
        .move_to_version = view_str(w->machine.pending),
        .remove_from_version = view_str(w->machine.current),
    };
    char detail[ROTATE_DETAIL_BYTES];

    if (w->o->dry_run) {
        say(w, "finish", "would move AWSCURRENT to the new version");
        w->machine.finished = true;
        return;
    }
    err e = rotate_aws_ask(w->aws, &call, NULL, NULL);
    snprintf(detail, sizeof detail, "%s", w->aws->detail);
    if (failed(e) && !is_finished(w)) {
        end(w, ROTATE_FAILED, "finish", e.fault->text, detail);
        return;
    }
    w->machine.finished = true;
    say(w, "finish", "AWSCURRENT is version %s", failed(e) ? w->machine.current
                                                            : w->machine.pending);
}

/* ---- All of it ---- */

static void act(struct work *w, enum rotation_action action)
{
    struct rotation_machine *m = &w->machine;

    switch (action) {
    case ROTATION_LOOK:
        look(w);
        return;
    case ROTATION_READ_CURRENT:
        read_current(w);
        return;
    case ROTATION_READ_PENDING:
        read_pending(w);
        return;
    case ROTATION_READ_PREVIOUS:
        read_previous(w);
        return;
    case ROTATION_LOGIN_PENDING:
        m->pending_login = login(w, "AWSPENDING", &w->pending.login, !m->locked);
        return;
    case ROTATION_LOGIN_CURRENT:
        m->current_login = login(w, "AWSCURRENT", &w->current.login, !m->alternating);
        return;
    case ROTATION_LOGIN_PREVIOUS:
        m->previous_login = login(w, "AWSPREVIOUS", &w->previous.login, true);
        return;
    case ROTATION_LOGIN_MASTER:
        login_master(w);
        return;
    case ROTATION_LOCK:
        lock(w);
        return;
    case ROTATION_CREATE:
        create(w);
        return;
    case ROTATION_SET:
        set(w);
        return;
    case ROTATION_TEST:
        test(w);
        return;
    case ROTATION_FINISH:
        finish(w);
        return;
    case ROTATION_ELSEWHERE:
        say(w, "done", "another process has rotated the secret meanwhile");
        w->over = true;
        return;
    case ROTATION_REFUSED:
        end_by_rule(w, "login", fail(m->fault));
        return;
    case ROTATION_DONE:
        say(w, "done", w->o->dry_run ? "nothing was changed" : "the secret is rotated");
        w->over = true;
        return;
    }
}

static void clear(struct work *w)
{
    struct value *const all[] = {&w->current, &w->pending, &w->previous, &w->master};

    rotate_db_close(w->session);
    for (size_t i = 0; i < COUNT_OF(all); i++)
        secret_clear(&all[i]->text);
    arena_clear_secure(&w->arena); /* unescaped passwords stand in it */
}

int rotate_steps(const struct rotate_options *o, const struct rotate_service *service,
                 struct rotate_aws *aws)
{
    struct work w = {.o = o, .service = service, .aws = aws, .code = ROTATE_GOOD};

    w.machine.alternating = o->strategy == ROTATE_ALTERNATING ||
                            (o->strategy == ROTATE_UNSAID && service->alternating);
    arena_init(&w.arena, 4096, SECRET_ARENA_MAX);
    for (int i = 0; !w.over; i++) {
        ENSURE(i < STEPS_MAX);
        act(&w, rotation_next(&w.machine));
    }
    clear(&w);
    return w.code;
}
