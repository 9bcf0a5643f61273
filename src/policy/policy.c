#include "policy/policy.h"

static bool empty_or_has(struct strings wanted, struct view word)
{
    return wanted.count == 0 || (word.data != NULL && strings_have(wanted, word));
}

static bool empty_or_shares(struct strings wanted, struct strings held)
{
    if (wanted.count == 0)
        return true;
    for (size_t i = 0; i < held.count; i++) {
        if (strings_have(wanted, held.items[i]))
            return true;
    }
    return false;
}

/* A compound claim has no text of its own and null is no value: neither ever matches. */
static bool claim_holds(const struct claim_condition *condition, const struct principal *principal)
{
    const struct claim *claim = principal_claim(principal, condition->name);
    if (claim == NULL || claim->kind == CLAIM_NULL || claim->kind == CLAIM_COMPOUND)
        return false;
    return strings_have(condition->values, claim->text);
}

/* Absent for a caller who is no consumer. */
static struct view consumer_id(const struct principal *principal)
{
    return principal->consumer != NULL ? principal->consumer->meta.id : (struct view){NULL, 0};
}

/* ROLE_CHOSEN when the condition holds, else the first reason why not. */
static enum role_verdict condition_verdict(const struct condition *when,
                                           const struct principal *principal)
{
    if (!empty_or_has(when->issuer, principal->issuer_name))
        return ROLE_WRONG_ISSUER;
    if (!empty_or_has(when->subject, principal->subject))
        return ROLE_WRONG_SUBJECT;
    if (!empty_or_has(when->client, principal->client))
        return ROLE_WRONG_CLIENT;
    if (!empty_or_has(when->consumers, consumer_id(principal)))
        return ROLE_WRONG_CONSUMER;
    if (!empty_or_shares(when->groups, principal->groups))
        return ROLE_MISSING_GROUP;
    if (!empty_or_shares(when->scopes, principal->scopes))
        return ROLE_MISSING_SCOPE;
    for (size_t i = 0; i < when->claim_count; i++) {
        if (!claim_holds(&when->claims[i], principal))
            return ROLE_WRONG_CLAIM;
    }
    return ROLE_CHOSEN;
}

static bool rule_names_route(const struct allow_rule *rule, struct view route)
{
    return strings_have(rule->routes, VIEW("*")) || strings_have(rule->routes, route);
}

static bool rule_has_method(const struct allow_rule *rule, struct view method)
{
    if (rule->methods.count == 0 || strings_have(rule->methods, method))
        return true;
    return view_is(method, "HEAD") && strings_have(rule->methods, VIEW("GET"));
}

static bool role_allows(const struct role *role, const struct policy_subject *subject)
{
    for (size_t i = 0; i < role->allow_count; i++) {
        if (rule_names_route(&role->allow[i], subject->route) &&
            rule_has_method(&role->allow[i], subject->method))
            return true;
    }
    return false;
}

/* As if the role stood alone: ROLE_CHOSEN when it serves. */
static enum role_verdict role_verdict_alone(const struct role *role,
                                            const struct principal *principal,
                                            const struct policy_subject *subject)
{
    enum role_verdict verdict = condition_verdict(&role->when, principal);
    if (verdict != ROLE_CHOSEN)
        return verdict;
    if (!strings_have(role->services, subject->service))
        return ROLE_OTHER_SERVICE;
    return role_allows(role, subject) ? ROLE_CHOSEN : ROLE_NOT_ALLOWED;
}

err policy_decide(struct arena *arena, const struct role *roles, size_t count,
                  const struct principal *principal, const struct policy_subject *subject,
                  struct decision *out)
{
    *out = (struct decision){.reason = VIEW("no_decision")};
    struct role_finding *findings = ARENA_ARRAY(arena, count > 0 ? count : 1, struct role_finding);
    if (findings == NULL)
        return fail(&fault_out_of_memory);

    /* Absent is "none was named"; an empty name is a name, and no role has it. */
    const bool named = subject->named_role.data != NULL;
    bool name_known = false;
    for (size_t i = 0; i < count; i++) {
        const struct role *role = &roles[i];
        enum role_verdict verdict;
        if (named && !view_eq(role->name, subject->named_role)) {
            verdict = ROLE_NOT_NAMED;
        } else {
            name_known = true;
            verdict = role_verdict_alone(role, principal, subject);
            if (verdict == ROLE_CHOSEN && out->role != NULL)
                verdict = ROLE_LOWER_PRIORITY;
        }
        if (verdict == ROLE_CHOSEN)
            out->role = role;
        findings[i] = (struct role_finding){role, verdict};
    }
    out->findings = findings;
    out->finding_count = count;
    out->allowed = out->role != NULL;
    if (out->allowed)
        out->reason = VIEW("allowed");
    else if (!named)
        out->reason = VIEW("no_role");
    else
        out->reason = name_known ? VIEW("named_role_not_held") : VIEW("named_role_unknown");
    return OK;
}

bool policy_may_see(const struct role *roles, size_t count, const struct principal *principal,
                    struct view service, struct view route)
{
    for (size_t i = 0; i < count; i++) {
        const struct role *role = &roles[i];
        if (condition_verdict(&role->when, principal) != ROLE_CHOSEN ||
            !strings_have(role->services, service))
            continue;
        for (size_t j = 0; j < role->allow_count; j++) {
            if (rule_names_route(&role->allow[j], route))
                return true;
        }
    }
    return false;
}

static const struct {
    const char *name;
    const char *text;
} verdicts[] = {
    [ROLE_CHOSEN] = {"chosen", "holds and covers the call"},
    [ROLE_NOT_NAMED] = {"not_named", "the caller named another role"},
    [ROLE_WRONG_ISSUER] = {"wrong_issuer", "the token is of another issuer"},
    [ROLE_WRONG_SUBJECT] = {"wrong_subject", "the role is for other subjects"},
    [ROLE_WRONG_CLIENT] = {"wrong_client", "the role is for other clients"},
    [ROLE_WRONG_CONSUMER] = {"wrong_consumer", "the role is for other consumers"},
    [ROLE_MISSING_GROUP] = {"missing_group", "the caller is in none of the role's groups"},
    [ROLE_MISSING_SCOPE] = {"missing_scope", "the token has none of the role's scopes"},
    [ROLE_WRONG_CLAIM] = {"wrong_claim", "a claim is missing or has another value"},
    [ROLE_OTHER_SERVICE] = {"other_service", "holds, but not on this service"},
    [ROLE_NOT_ALLOWED] = {"not_allowed", "holds, but does not allow this route and method"},
    [ROLE_LOWER_PRIORITY] = {"lower_priority", "would have served, but another came first"},
};

const char *policy_verdict_name(enum role_verdict verdict)
{
    return (size_t)verdict < COUNT_OF(verdicts) ? verdicts[verdict].name : "unknown";
}

const char *policy_verdict_text(enum role_verdict verdict)
{
    return (size_t)verdict < COUNT_OF(verdicts) ? verdicts[verdict].text : "unknown";
}
