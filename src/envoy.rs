//! The Envoy adapter: the only module that knows Envoy's wire types and status codes.
