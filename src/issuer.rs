//! A development OAuth 2.0 issuer. Not for production.
