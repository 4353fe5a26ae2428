//! A provider of the program's own: the sessions of a web site.

use std::sync::Arc;

use claimgate_core::{Answer, Answering, Credential, Principal, Provider, Reason, time::UnixTime};

/// Recognises tokens that are `sess_` and the name of a user.
pub(crate) struct Sessions;

impl Provider for Sessions {
    fn name(&self) -> &str {
        "sessions"
    }

    fn method(&self) -> &str {
        "session"
    }

    fn authenticate<'a>(&'a self, credential: &'a Credential<'a>) -> Answering<'a> {
        let Some(user) = credential.token().strip_prefix("sess_") else {
            return Answering::Now(Answer::NotMine);
        };
        Answering::Now(match end_of_session(user) {
            None => Answer::Refused(Reason::UnknownKey),
            Some(end) if end <= credential.now() => Answer::Refused(Reason::Expired),
            Some(end) => Answer::Authenticated(Arc::new(
                Principal::new(Some(user.to_owned()))
                    .with_scopes(vec!["invoke".to_owned()])
                    .with_expires_at(Some(end)),
            )),
        })
    }
}

/// Your program looks into its own store. If that needs I/O, return
/// `Answering::later` with a future, and await `Engine::check_until`.
fn end_of_session(user: &str) -> Option<UnixTime> {
    match user {
        // In the years 2096 and 2001.
        "bob" => Some(UnixTime::from_seconds(4e9)),
        "carol" => Some(UnixTime::from_seconds(1e9)),
        _ => None,
    }
}
