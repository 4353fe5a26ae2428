//! The comments of a config file: about the file as a whole, and about each rule
//! that it was made from.

use super::{
    alb::{Action, Listener, Rule},
    matcher::Matcher,
    outcome::Outcome,
};

/// The paragraphs at the top of the file.
pub(super) fn introduction(listener: &Listener, others: &[&Listener]) -> Vec<String> {
    let mut paragraphs = vec![
        format!(
            "Made by `claimgate import-alb` for the listener {}. Read the comments before you use \
             it: they say what ALB did not check, and what could not be carried over.",
            listener.label
        ),
        "Certificates, target groups and their weights, stickiness, timeouts, the web application \
         firewall and access logs are Envoy's to configure and not in here."
            .into(),
        "ALB compared paths and methods as they were sent, and hosts without case. Claimgate reads \
         them so, too (`match_as_sent`), and a path in every way besides that servers are known \
         for (escapes, //, \\, parameters, the case of letters, a slash at the end). Where \
         this would lead to different rules, or the path has a dot segment, the request is refused \
         with 400. So another spelling is asked no less than ALB asked of it, and no less than \
         the path itself is asked. An Envoy that normalises paths does so before either looks."
            .into(),
        "ALB added no headers about the caller and passed on those that a client had made up. \
         Claimgate sets x-auth-subject, x-auth-scopes, x-auth-method and x-auth-provider and \
         removes forged ones (`headers`). Both pass the token on as it is (`forward_token`)."
            .into(),
        "ALB could not limit what a caller asks for (AWS WAF's rate-based rules count addresses). \
         `auth.plans` does, for each verified caller: `plans: {standard: {requests: {per_minute: \
         600}}}`, `default_plan: standard`, and first `limits: shadow`, which only records who \
         would be limited (docs/plans.md)."
            .into(),
        "A bad or missing token is answered with 401, a good one that lacks what its route wants \
         with 403, both with a challenge (RFC 6750)."
            .into(),
        "Where ALB was told several values of a claim, AWS does not say whether a token needs one \
         or all of them; here it needs all. A claim that is an array with the value in it holds, \
         whether ALB was told single-string or string-array."
            .into(),
    ];
    if listener.is_plaintext() {
        paragraphs.push(
            "This listener speaks plain HTTP: tokens crossed the network readable. Let Envoy \
             redirect to https."
                .into(),
        );
    }
    for other in others {
        let what = match (other.forwards(), other.validates()) {
            (false, _) => "passes nothing on to targets",
            (true, true) => "checks tokens by rules of its own: import it by `--listener`",
            (true, false) => {
                "passes requests on without checking tokens; through an Envoy that asks \
                 Claimgate they need them"
            }
        };
        paragraphs.push(format!("Not in this file: the listener {}, which {what}.", other.label));
    }
    paragraphs
}

/// Which rule this is, and what it matches.
pub(super) fn headline(rule: &Rule) -> String {
    let label = capitalised(&rule.label());
    match rule.conditions_text() {
        empty if empty.is_empty() => format!("{label}."),
        conditions => format!("{label}: {conditions}."),
    }
}

/// What ALB did with what the rule matched, as far as it is not carried over.
pub(super) fn actions(rule: &Rule) -> Vec<String> {
    let mut notes = Vec::new();
    if rule.outcome() == Outcome::Public {
        notes.push("ALB passed these on without a token.".into());
    }
    for action in &rule.actions {
        notes.push(match action {
            Action::Forward | Action::Validate(_) => continue,
            Action::Answer(how) => format!(
                "ALB answered these itself ({how}), and no target saw them. Let Envoy answer them: \
                 a redirect or direct_response on a route without ext_authz."
            ),
            Action::Missing(why) => format!("What ALB did with these is not in the document{why}."),
            Action::Login(kind) => format!(
                "ALB sent these to a login ({kind}). Claimgate checks bearer tokens and has no \
                 login, so every request is denied; Envoy's oauth2 filter does logins."
            ),
            Action::Unknown(kind) => format!(
                "ALB had an action {kind:?} here, which this command does not know, so every \
                 request is denied."
            ),
        });
    }
    let mut validations = rule.validations();
    if validations.next().is_some() && validations.next().is_some() {
        notes.push("ALB had more than one token check here; all of them are asked for.".into());
    }
    if !rule.transforms.is_empty() {
        notes.push(format!(
            "Not carried over: ALB changed what it matched before the target saw it ({}). Write \
             that in Envoy's route; Claimgate sees the request as the client sent it.",
            rule.transforms.join(", ")
        ));
    }
    notes
}

/// The conditions of the rule that can't be expressed, and what follows; `route` is
/// the one that Envoy can name.
pub(super) fn vague(rule: &Rule, matcher: &Matcher, route: Option<&str>) -> String {
    let what = matcher.reasons.join("; ");
    let by_name = route.map_or(String::new(), |route| {
        format!(
            " Envoy's own route can match it and name this one: `context_extensions: \
             {{claimgate_route: {route}}}`."
        )
    });
    let start = format!("Not carried over exactly: {what}. Claimgate's routes can't say this.");
    match rule.outcome() {
        Outcome::Public if matcher.exact.is_empty() => format!(
            "{start} No request gets here by itself: what the rule matched is asked for what comes \
             later.{by_name}"
        ),
        Outcome::Public => format!(
            "{start} Only what is written here is public; the rest of what the rule matched is \
             asked for what comes later. Write more public routes for what you serve there.{by_name}"
        ),
        Outcome::Token(..) => format!(
            "{start} So that nothing it protected is left open, the routes that such requests \
             reach instead ask for as much.{by_name}"
        ),
        Outcome::Closed => format!(
            "{start} So that nothing it kept from the targets gets there, the routes that such \
             requests reach instead are closed, too."
        ),
    }
}

/// For the beginning of a sentence.
pub(super) fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| first.to_uppercase().chain(chars).collect())
}
