//! What either side gets of a decision, read back from the answer that Envoy
//! would be sent: the upstream's headers, or the client's response.

use envoy_types::pb::envoy::{
    config::core::v3::HeaderValueOption,
    service::auth::v3::{CheckResponse, check_response::HttpResponse},
};
use prost::Message;
use prost_types::Struct;
use serde_json::{Map, Value};

use super::answer::{self, Encoded};
use crate::{decision::Decision, engine::Engine, provider::grpc::object, request::Request};

/// An answer in plain words.
#[derive(Clone, Debug, PartialEq)]
pub struct Sides {
    /// What happens to the request.
    pub outcome: Outcome,
    /// The dynamic metadata, for Envoy's access log and other filters.
    pub metadata: Map<String, Value>,
}

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on, changed like this.
    Upstream {
        /// Headers that are set, whatever the client sent.
        set: Vec<(String, String)>,
        /// Headers that are removed.
        remove: Vec<String>,
        /// Query parameters that are removed.
        remove_query: Vec<String>,
    },
    /// The client gets a response.
    Client {
        /// The HTTP status.
        status: u16,
        /// Its headers.
        headers: Vec<(String, String)>,
        /// Its body.
        body: String,
    },
}

impl Sides {
    /// What `decision` on `request` comes to; `None` if the answer can't be
    /// read back, which would be a defect.
    pub fn of(engine: &Engine, request: &Request<'_>, decision: &Decision<'_>) -> Option<Self> {
        Self::read(&answer::encode(engine, request, decision))
    }

    fn read(answer: &Encoded) -> Option<Self> {
        let response = CheckResponse::decode(answer.as_ref()).ok()?;
        let metadata = response.dynamic_metadata.unwrap_or_default();
        // envoy-types has a Struct of its own.
        let metadata = Struct::decode(&*metadata.encode_to_vec()).ok()?;
        let outcome = match response.http_response? {
            HttpResponse::OkResponse(ok) => Outcome::Upstream {
                set: headers(ok.headers),
                remove: ok.headers_to_remove,
                remove_query: ok.query_parameters_to_remove,
            },
            HttpResponse::DeniedResponse(denied) => Outcome::Client {
                status: denied.status.and_then(|status| u16::try_from(status.code).ok())?,
                headers: headers(denied.headers),
                body: denied.body,
            },
            HttpResponse::ErrorResponse(_) => return None,
        };
        Some(Self { outcome, metadata: object(metadata) })
    }
}

fn headers(options: Vec<HeaderValueOption>) -> Vec<(String, String)> {
    let headers = options.into_iter().filter_map(|option| option.header);
    headers.map(|header| (header.key, header.value)).collect()
}
