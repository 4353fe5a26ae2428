//! What ties a log line of a call to its request.

use claimgate_core::{credential::Credential, text::visible};

/// The ids of a request; calls outlive it, so they are copies.
pub(crate) struct RequestIds {
    pub(crate) request_id: Option<String>,
    pub(crate) trace_id: Option<String>,
}

impl RequestIds {
    /// Those of the request that carried this credential.
    pub(crate) fn of(credential: &Credential<'_>) -> Self {
        let request = credential.request();
        Self {
            request_id: request.request_id().map(|id| visible(id).into_owned()),
            trace_id: request.traceparent().map(|parent| parent.trace_id.to_owned()),
        }
    }
}
